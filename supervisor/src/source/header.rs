//! Reads the first row of a CSV file: its columns, and where its data begins.

use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use csv_core::{ReadFieldResult, ReaderBuilder};
use encoding_rs::{Encoding, UTF_8};
use shared::csv::{CsvFile, FIELDS_MAX, Packing, Text, is_split_safe};
use shared::file_state::FileState;

use super::hold::{self, Held};
use super::remote::{self, HeaderReply, NoHeader, Patience, Request};
use crate::shortage;

/// Longest header: 100,000 columns with usual names. A longer one is most likely an unclosed quote.
const HEADER_BYTES_MAX: usize = 4 << 20;

/// Bytes read at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// The byte order mark of UTF-8.
const MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// Extensions of files that are not CSV. They are refused with a clear error.
const NOT_READ: [&str; 11] =
    ["7z", "arrow", "br", "bz2", "feather", "lz4", "parquet", "xls", "xlsx", "xz", "zip"];

/// How to read files.
#[derive(Debug, Clone, Copy)]
pub struct CsvReading {
    /// The character between two cells.
    pub delimiter: u8,
    /// Whether the first row holds the names of the columns.
    pub header: bool,
    /// The encoding given by the user. A byte order mark takes precedence.
    pub encoding: Option<&'static Encoding>,
    /// Whether to decode the text even if it could be split into cells undecoded.
    pub decodes: bool,
    /// How long a process of its own may take to read the file, if it comes from a stranger.
    pub isolated: Option<Patience>,
}

/// A named file.
#[derive(Debug)]
pub struct NamedFile {
    /// The path as given.
    path: PathBuf,
    /// The open file, if workers cannot open it by this path.
    pub held: Option<Held>,
}

impl NamedFile {
    /// Checks what `path` names. Reads a pipe to its end.
    ///
    /// # Errors
    /// [`HeaderError::Unreadable`].
    pub fn new(path: &Path) -> Result<Self, HeaderError> {
        let is_stdin = path == Path::new("-");
        let path = if is_stdin { PathBuf::from("standard input") } else { path.to_owned() };
        let held = if is_stdin { hold::stdin(u64::MAX).map(Some) } else { hold::stream(&path, u64::MAX) };
        match held {
            Ok(held) => Ok(Self { path, held }),
            Err(error) => Err(HeaderError::Unreadable { path, error }),
        }
    }

    fn open(&self) -> io::Result<File> {
        self.held.as_ref().map_or_else(|| File::open(&self.path), |held| held.file.try_clone())
    }
}

/// What the first row of a file shows.
#[derive(Debug)]
pub struct Header {
    /// The file, without the positions of its columns.
    pub file: CsvFile,
    /// The names of its columns.
    pub names: Vec<String>,
    /// The encoding of its text.
    pub encoding: &'static Encoding,
}

/// Why a file cannot be read as CSV.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The path is a directory or a device.
    #[error("{} is {what}; csv reads files and pipes", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The file has another format, by its extension.
    #[error("{}: cannot read .{extension} files; give CSV, with or without .gz or .zst", path.display())]
    NotCsv {
        /// The file.
        path: PathBuf,
        /// Its extension.
        extension: String,
    },
    /// The file is empty.
    #[error("{} is empty; it has no {}", path.display(), if *header { "header" } else { "first row" })]
    Empty {
        /// The file.
        path: PathBuf,
        /// Whether a header was expected.
        header: bool,
    },
    /// The process that reads the file says why it cannot, in the words of the other variants, or has ended.
    #[error("{0}")]
    Told(String),
    /// No process can be started that reads the file.
    #[error("cannot read {}: the process that reads it cannot be started: {error}", path.display())]
    NoReader {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The first row has no end.
    #[error(
        "{}: the first row has more than {} cells or {} MiB; check that the file is CSV and that its quotes are closed",
        path.display(), FIELDS_MAX, HEADER_BYTES_MAX >> 20
    )]
    TooLong {
        /// The file.
        path: PathBuf,
    },
}

impl HeaderError {
    /// Whether descriptors are short, which others will close.
    #[must_use]
    pub fn lacks_descriptors(&self) -> bool {
        match self {
            Self::Unreadable { error, .. } | Self::NoReader { error, .. } => shortage::is_meant(error),
            Self::NotAFile { .. }
            | Self::NotCsv { .. }
            | Self::Empty { .. }
            | Self::Told(_)
            | Self::TooLong { .. } => false,
        }
    }
}

/// Reads the first row.
///
/// # Errors
/// [`HeaderError`] if the file cannot be read, or is not CSV.
pub fn read(given: &NamedFile, reading: CsvReading) -> Result<Header, HeaderError> {
    // What is held open has no name that another process could open. No job of a service names such a file.
    let Some(patience) = reading.isolated.filter(|_| given.held.is_none()) else {
        return OpenFile::open(given)?.first_row(reading);
    };
    check_kind(&given.path, given)?;
    let request = Request::Header {
        path: given.path.clone(),
        delimiter: reading.delimiter,
        header: reading.header,
        encoding: reading.encoding.map(|encoding| encoding.name().to_owned()),
        decodes: reading.decodes,
    };
    let HeaderReply { file, names, encoding } =
        remote::header(&given.path, &request, patience).map_err(|why| match why {
            NoHeader::NoReader(error) => HeaderError::NoReader { path: given.path.clone(), error },
            NoHeader::Told(why) => HeaderError::Told(why),
        })?;
    // Whatever the reader says, workers read the file that was named.
    let file = CsvFile { path: given.path.clone(), at: given.path.clone(), held: false, ..file };
    Ok(Header { file, names, encoding: Encoding::for_label(encoding.as_bytes()).unwrap_or(UTF_8) })
}

/// A file that is open, and of which nothing was read.
pub(super) struct OpenFile<'a> {
    given: &'a NamedFile,
    opened: File,
}

impl<'a> OpenFile<'a> {
    /// Opens a file that may be CSV.
    pub(super) fn open(given: &'a NamedFile) -> Result<Self, HeaderError> {
        check_kind(&given.path, given)?;
        let opened = given.open();
        let opened = opened.map_err(|error| HeaderError::Unreadable { path: given.path.clone(), error })?;
        Ok(Self { given, opened })
    }

    /// Reads the first row.
    pub(super) fn first_row(&self, reading: CsvReading) -> Result<Header, HeaderError> {
        header_of(self.given, &self.opened, reading)
    }
}

fn header_of(given: &NamedFile, opened: &File, reading: CsvReading) -> Result<Header, HeaderError> {
    let path = given.path.as_path();
    let unreadable = |error| HeaderError::Unreadable { path: path.to_owned(), error };
    // The file's state is taken from this handle, so workers notice if they open a different file.
    let metadata = opened.metadata().map_err(unreadable)?;
    let mut file = CsvFile {
        path: path.to_owned(),
        at: given.held.as_ref().map_or_else(|| path.to_owned(), |held| held.at.clone()),
        held: given.held.is_some(),
        state: FileState::from(&metadata),
        bytes: metadata.len(),
        delimiter: reading.delimiter,
        packing: packing(path)?,
        ..CsvFile::default()
    };
    if given.held.is_some() && file.packing == Packing::None {
        file.packing = packing_inside(opened).map_err(unreadable)?;
    }
    let marked = mark(opened, &file).map_err(unreadable)?;
    let encoding = marked.or(reading.encoding).unwrap_or(UTF_8);
    let is_decoded = encoding != UTF_8 && (reading.decodes || !is_split_safe(encoding, reading.delimiter));
    file.decode = is_decoded.then(|| encoding.name().to_owned());
    let first = first_row(opened, &file).map_err(unreadable)?;
    let Some(First { cells, bytes, has_mark }) = first else {
        return Err(HeaderError::TooLong { path: path.to_owned() });
    };
    if cells.is_empty() {
        return Err(HeaderError::Empty { path: path.to_owned(), header: reading.header });
    }
    file.fields = u32::try_from(cells.len()).unwrap_or(u32::MAX);
    file.data_start = match (reading.header, has_mark) {
        (true, _) => bytes,
        (false, true) => MARK.len() as u64,
        (false, false) => 0,
    };
    let text = if is_decoded { UTF_8 } else { encoding };
    let name = |(n, cell): (usize, &Vec<u8>)| match reading.header {
        true => text.decode_without_bom_handling(cell).0.into_owned(),
        false => (n + 1).to_string(),
    };
    let names = cells.iter().enumerate().map(name).collect();
    Ok(Header { file, names, encoding })
}

/// Refuses directories and devices, whose opening may block or which contain no text.
fn check_kind(path: &Path, given: &NamedFile) -> Result<(), HeaderError> {
    if given.held.is_some() {
        return Ok(());
    }
    let metadata =
        std::fs::metadata(path).map_err(|error| HeaderError::Unreadable { path: path.to_owned(), error })?;
    if metadata.is_file() {
        return Ok(());
    }
    let what = if metadata.is_dir() { "a directory" } else { "a device" };
    Err(HeaderError::NotAFile { path: path.to_owned(), what })
}

/// Returns the compression of a file, by its name.
fn packing(path: &Path) -> Result<Packing, HeaderError> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let extension = extension.to_ascii_lowercase();
    match extension.as_str() {
        "gz" => Ok(Packing::Gzip),
        "zst" => Ok(Packing::Zstd),
        other if NOT_READ.contains(&other) => Err(HeaderError::NotCsv { path: path.to_owned(), extension }),
        _ => Ok(Packing::None),
    }
}

/// Returns the compression of a file without a name, by its first bytes, which cannot begin a text.
fn packing_inside(opened: &File) -> io::Result<Packing> {
    let mut begin = [0; 4];
    let count = opened.read_at(&mut begin, 0)?;
    Ok(match begin.get(..count).unwrap_or_default() {
        [0x1f, 0x8b, 8, _] => Packing::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] => Packing::Zstd,
        _ => Packing::None,
    })
}

/// Returns the text of a file, from its beginning.
fn text<'a>(mut opened: &'a File, file: &CsvFile) -> io::Result<Text<'a>> {
    opened.rewind()?;
    Text::new(opened, file)
}

/// Returns the encoding that a byte order mark at the beginning gives.
fn mark(opened: &File, file: &CsvFile) -> io::Result<Option<&'static Encoding>> {
    let mut begin = Vec::new();
    text(opened, file)?.take(MARK.len() as u64).read_to_end(&mut begin)?;
    Ok(Encoding::for_bom(&begin).map(|(encoding, _)| encoding))
}

struct First {
    cells: Vec<Vec<u8>>,
    /// Bytes of the text up to its end.
    bytes: u64,
    /// Whether the text begins with a UTF-8 byte order mark.
    has_mark: bool,
}

/// Reads until `piece` is full or the text ends, so that its beginning is never incomplete.
fn fill(text: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = piece.get_mut(filled..).filter(|room| !room.is_empty()) {
        match text.read(room) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads the first row; `None` if it does not end within the limits.
fn first_row(opened: &File, file: &CsvFile) -> io::Result<Option<First>> {
    let mut text = text(opened, file)?;
    let mut reader = ReaderBuilder::new().delimiter(file.delimiter).build();
    let (mut cells, mut cell, mut bytes, mut has_mark) = (Vec::new(), Vec::new(), 0_usize, false);
    let (mut piece, mut out) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    loop {
        let count = fill(&mut text, &mut piece)?;
        let mut rest = piece.get(..count).unwrap_or_default();
        has_mark |= bytes == 0 && rest.starts_with(&MARK);
        loop {
            let (result, read, written) = reader.read_field(rest, &mut out);
            bytes += read;
            rest = rest.get(read..).unwrap_or_default();
            cell.extend_from_slice(out.get(..written).unwrap_or_default());
            let ended = match result {
                ReadFieldResult::InputEmpty => break,
                ReadFieldResult::OutputFull => false,
                ReadFieldResult::Field { record_end } => {
                    cells.push(std::mem::take(&mut cell));
                    record_end
                }
                ReadFieldResult::End => true,
            };
            if bytes > HEADER_BYTES_MAX || cells.len() > FIELDS_MAX {
                return Ok(None);
            }
            if ended {
                return Ok(Some(First { cells, bytes: bytes as u64, has_mark }));
            }
            // The CSV parser takes empty input as the end of the text.
            if rest.is_empty() && count > 0 {
                break;
            }
        }
        if bytes > HEADER_BYTES_MAX {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV_READING: CsvReading =
        CsvReading { delimiter: b',', header: true, encoding: None, decodes: false, isolated: None };

    fn check(name: &str, contents: &[u8], header: bool, want: Result<(&[&str], u64), &str>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, contents).unwrap();
        let got = NamedFile::new(&path).and_then(|given| read(&given, CsvReading { header, ..CSV_READING }));
        match (got, want) {
            (Ok(Header { file, names, .. }), Ok((want, start))) => {
                assert_eq!(
                    (names, file.data_start),
                    (want.iter().map(|name| (*name).to_owned()).collect(), start)
                );
                assert_eq!(file.fields as usize, want.len());
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, want) => panic!("{name}: {got:?}, not {want:?}"),
        }
    }

    #[test]
    fn the_first_row_names_the_columns() {
        check("a.csv", b"id,name\n1,x\n", true, Ok((&["id", "name"], 8)));
        check("a.csv", b"id,name", true, Ok((&["id", "name"], 7)));
        check("a.csv", b"\xef\xbb\xbfid,\"a\nb\"\r\n1,x\n", true, Ok((&["id", "a\nb"], 12)));
        check("a.csv", b"\xef\xbb\xbf7,8\n", false, Ok((&["1", "2"], 3)));
        check("a.csv", b"7,8\n", false, Ok((&["1", "2"], 0)));
        check("a.csv", b"\xff\xfei\0d\0\n\x001\0\n\0", true, Ok((&["id"], 3)));
    }

    #[test]
    fn what_is_no_csv_is_refused() {
        check("a.csv", b"", true, Err("is empty; it has no header"));
        check("a.csv", b"\n\n", false, Err("is empty; it has no first row"));
        check("a.xlsx", b"PK", true, Err("cannot read .xlsx files"));
        check("a.csv", &b",".repeat(FIELDS_MAX + 2), true, Err("more than 100000 cells"));
        check("a.gz", b"not gzip", true, Err("cannot read"));
        let dir = tempfile::tempdir().unwrap();
        for (path, says) in [
            (dir.path().to_owned(), "is a directory"),
            (dir.path().join("no.csv"), "cannot read"),
            ("/dev/null".into(), "is a device"),
        ] {
            let error = read(&NamedFile::new(&path).unwrap(), CSV_READING).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_byte_order_mark_says_more_than_the_user() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        let utf16 =
            |bytes: fn(u16) -> [u8; 2]| "\u{feff}é\n1\n".encode_utf16().flat_map(bytes).collect::<Vec<_>>();
        let table = [
            ("utf-16le", utf16(u16::to_be_bytes), "UTF-16BE", true),
            ("utf-16be", utf16(u16::to_le_bytes), "UTF-16LE", true),
            ("windows-1252", utf16(u16::to_le_bytes), "UTF-16LE", true),
            ("windows-1252", "\u{feff}é\n1\n".as_bytes().to_vec(), "UTF-8", false),
            ("utf-16le", "\u{feff}é\n1\n".as_bytes().to_vec(), "UTF-8", false),
            ("windows-1252", b"\xe9\n1\n".to_vec(), "windows-1252", false),
        ];
        for (label, contents, want, is_decoded) in table {
            std::fs::write(&path, contents).unwrap();
            let given = NamedFile::new(&path).unwrap();
            let encoding = Encoding::for_label(label.as_bytes());
            let header = read(&given, CsvReading { encoding, ..CSV_READING }).unwrap();
            assert_eq!((header.encoding.name(), header.file.decode.is_some()), (want, is_decoded), "{label}");
            assert_eq!(header.names, ["é"], "{label}");
            let header = read(&given, CsvReading { encoding, decodes: true, ..CSV_READING }).unwrap();
            assert_eq!(
                (header.names[0].as_str(), header.file.decode.is_some()),
                ("é", want != "UTF-8"),
                "{label}"
            );
        }
    }
}
