//! Reads the first row of a CSV file: which columns it has, and where its data begins.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use csv_core::{ReadFieldResult, ReaderBuilder};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use shared::csv::{CsvFile, FIELDS_MAX, Packing, Text, is_split_safe};

/// Longest header. One that is longer is a quote that is never closed.
const HEADER_BYTES_MAX: usize = 16 << 20;

/// Read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Kinds of files that somebody may try, which are no CSV that can be read.
const NOT_READ: [&str; 11] =
    ["7z", "arrow", "br", "bz2", "feather", "lz4", "parquet", "xls", "xlsx", "xz", "zip"];

/// How files are to be read.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Between two cells.
    pub delimiter: u8,
    /// Whether the first row holds the names of the columns.
    pub header: bool,
    /// What the user says about the encoding.
    pub encoding: Option<&'static Encoding>,
}

/// Why a file cannot be read as CSV.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// It cannot be read at all.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is a directory, a pipe or a device.
    #[error("{} is {what}; csv takes files, which it can read from the middle", path.display())]
    NotAFile {
        /// Which.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Its name says that it is something else.
    #[error("{}: .{extension} files are not read; .gz and .zst are, and any other file is taken for CSV", path.display())]
    NotCsv {
        /// Which.
        path: PathBuf,
        /// Its extension.
        extension: String,
    },
    /// There is nothing in it.
    #[error("{} is empty: there is no {}", path.display(), if *header { "header" } else { "first row" })]
    Empty {
        /// Which.
        path: PathBuf,
        /// Whether a header was expected.
        header: bool,
    },
    /// Its first row has no end.
    #[error(
        "{}: the first row has more than {} cells or {} MiB: is it CSV, and is its first quote closed?",
        path.display(), FIELDS_MAX, HEADER_BYTES_MAX >> 20
    )]
    TooLong {
        /// Which.
        path: PathBuf,
    },
}

/// What the first row tells: the file without its positions, and its columns' names.
///
/// # Errors
/// [`HeaderError`] when it cannot be read, or is no CSV.
pub fn read(path: &Path, reading: Reading) -> Result<(CsvFile, Vec<String>), HeaderError> {
    let unreadable = |error| HeaderError::Unreadable { path: path.to_owned(), error };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "a directory" } else { "a pipe or a device" };
        return Err(HeaderError::NotAFile { path: path.to_owned(), what });
    }
    let mut file = CsvFile {
        path: path.to_owned(),
        fields: 0,
        positions: Vec::new(),
        data_start: 0,
        bytes: metadata.len(),
        packing: packing(path)?,
        decode: None,
    };
    let encoding = match reading.encoding {
        Some(encoding) => Some(encoding),
        None => utf16(&file).map_err(unreadable)?,
    };
    let decoded = encoding.filter(|encoding| !is_split_safe(encoding, reading.delimiter));
    file.decode = decoded.map(|encoding| encoding.name().to_owned());
    let first = first_row(&file, reading.delimiter).map_err(unreadable)?;
    let Some(First { cells, bytes, has_mark }) = first else {
        return Err(HeaderError::TooLong { path: path.to_owned() });
    };
    if cells.is_empty() {
        return Err(HeaderError::Empty { path: path.to_owned(), header: reading.header });
    }
    file.fields = u32::try_from(cells.len()).unwrap_or(u32::MAX);
    file.data_start = match (reading.header, has_mark) {
        (true, _) => bytes,
        (false, true) => 3,
        (false, false) => 0,
    };
    let text = if file.decode.is_some() { UTF_8 } else { encoding.unwrap_or(UTF_8) };
    let name = |(n, cell): (usize, &Vec<u8>)| match reading.header {
        true => text.decode_without_bom_handling(cell).0.into_owned(),
        false => (n + 1).to_string(),
    };
    let names = cells.iter().enumerate().map(name).collect();
    Ok((file, names))
}

/// How a file is packed, by its name.
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

/// UTF-16, if the text begins with its mark.
fn utf16(file: &CsvFile) -> io::Result<Option<&'static Encoding>> {
    let mut mark = Vec::new();
    Text::new(File::open(&file.path)?, file)?.take(2).read_to_end(&mut mark)?;
    Ok(match mark.as_slice() {
        [0xff, 0xfe] => Some(UTF_16LE),
        [0xfe, 0xff] => Some(UTF_16BE),
        _ => None,
    })
}

struct First {
    cells: Vec<Vec<u8>>,
    /// How much of the text it takes up, with what stands before it.
    bytes: u64,
    /// Whether the text begins with a UTF-8 byte order mark.
    has_mark: bool,
}

/// The first row; `None` if it has no end within what is allowed.
fn first_row(file: &CsvFile, delimiter: u8) -> io::Result<Option<First>> {
    let mut text = Text::new(File::open(&file.path)?, file)?;
    let mut reader = ReaderBuilder::new().delimiter(delimiter).build();
    let (mut cells, mut cell, mut bytes, mut has_mark) = (Vec::new(), Vec::new(), 0_usize, false);
    let (mut piece, mut out) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    loop {
        let count = text.read(&mut piece)?;
        let mut rest = piece.get(..count).unwrap_or_default();
        has_mark |= bytes == 0 && rest.starts_with(b"\xef\xbb\xbf");
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
            // To the reader, nothing is the end of the text.
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

    fn check(name: &str, contents: &[u8], header: bool, want: Result<(&[&str], u64), &str>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, contents).unwrap();
        let got = read(&path, Reading { delimiter: b',', header, encoding: None });
        match (got, want) {
            (Ok((file, names)), Ok((want, start))) => {
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
        check("a.csv", b"", true, Err("is empty: there is no header"));
        check("a.csv", b"\n\n", false, Err("is empty: there is no first row"));
        check("a.xlsx", b"PK", true, Err(".xlsx files are not read"));
        check("a.csv", &b",".repeat(FIELDS_MAX + 2), true, Err("more than 100000 cells"));
        check("a.gz", b"not gzip", true, Err("cannot read"));
        let dir = tempfile::tempdir().unwrap();
        let reading = Reading { delimiter: b',', header: true, encoding: None };
        assert!(read(dir.path(), reading).unwrap_err().to_string().contains("is a directory"));
        assert!(read(&dir.path().join("no.csv"), reading).unwrap_err().to_string().contains("cannot read"));
    }
}
