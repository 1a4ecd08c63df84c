//! One column of a CSV file with a header. Every row is one target, so that a record's id is the number of
//! its row.
//!
//! Only the wanted cells are held, and each only up to the size limit of a target. So an unclosed quote costs
//! time, but no memory.

use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use csv_core::{ReadFieldResult, ReaderBuilder};
use shared::csv::FIELDS_MAX;

use super::Bytes;
use super::kept::KeptColumns;
use super::packed::unpacked;
use super::text::trimmed;
use super::{Candidate, SourceError, TARGET_BYTES_MAX};
use crate::nearest::nearest;
use crate::plan::Columns;
use crate::units;

const BUFFER_BYTES: usize = 256 * 1024;

/// Longest header, for 100,000 columns with long names.
const HEADER_BYTES_MAX: usize = 4 << 20;

/// Reads the column of the inputs and the kept columns.
pub(super) struct CsvFeed {
    cells: Cells,
    /// The input column and its position; `None` if inputs are made from other columns.
    column: Option<(String, usize)>,
    kept: KeptColumns,
    /// The positions of the kept columns, in the order of their names.
    kept_at: Vec<usize>,
    /// Number of the last row read, without the header.
    row: u64,
}

impl CsvFeed {
    /// Reads the header and finds the columns in it. Without a `delimiter`, the file's name gives it.
    pub(super) fn open(
        path: &Path,
        bytes: Bytes,
        columns: &Columns,
        delimiter: Option<u8>,
    ) -> Result<Self, SourceError> {
        let name = unpacked(path);
        let tabs = name.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
        let mut cells = Cells::new(bytes, delimiter.unwrap_or(if tabs { b'\t' } else { b',' }));
        let names = cells.header().map_err(|error| SourceError::Read {
            path: path.to_owned(),
            unit: "line",
            number: 1,
            error,
        })?;
        let find = |column: &String| {
            names.iter().position(|name| name == column).ok_or_else(|| SourceError::NoColumn {
                path: path.to_owned(),
                place: "its header",
                column: column.clone(),
                nearest: nearest(column, names.iter().map(String::as_str)).map(str::to_owned),
                names: names.clone(),
            })
        };
        let column = match &columns.input {
            Some(name) => Some((name.clone(), find(name)?)),
            None => None,
        };
        let kept_at = columns.carried().map(find).collect::<Result<_, _>>()?;
        Ok(Self { cells, column, kept: KeptColumns::new(columns), kept_at, row: 0 })
    }

    pub(super) fn is_ready(&self) -> bool {
        memchr::memchr(b'\n', self.cells.reader.buffer()).is_some()
    }

    pub(super) const fn bytes_read(&self) -> u64 {
        self.cells.bytes_read
    }

    /// The current line, from 1.
    pub(super) fn line(&self) -> u64 {
        self.cells.parser.line()
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Candidate>> {
        let input_at = self.column.as_ref().map(|(_, index)| *index);
        let mut found = input_at.is_none().then(|| Candidate::good(Vec::new()));
        let mut index = 0;
        self.kept.begin();
        loop {
            let is_input = input_at == Some(index);
            let wanted = is_input || self.kept_at.contains(&index);
            let end = self.cells.next(wanted)?;
            if end == End::File {
                return Ok(None);
            }
            if is_input {
                found = Some(self.candidate(self.row + 1));
            }
            if wanted {
                self.keep(index);
            }
            index += 1;
            if end == End::Row {
                self.row += 1;
                let short = || {
                    let cells = units::counted(index as u64, "cell");
                    format!("row {} has no \"{}\", because it has only {cells}", self.row, self.column())
                };
                let mut candidate = found.unwrap_or_else(|| Candidate::refused(b"", short()));
                if let Some(column) = self.kept.not_text().filter(|_| candidate.refused.is_none()) {
                    let (row, line) = (self.row, self.line() - u64::from(self.cells.line_ended));
                    let why = format!(
                        "row {row} (line {line}): \"{column}\" is not UTF-8; give the encoding with --encoding, such as \
                                                 windows-1252"
                    );
                    candidate = Candidate::refused(&candidate.input, why);
                }
                return Ok(Some(candidate.with(self.kept.encode())));
            }
        }
    }

    /// Keeps the cell at `index` under each of its names.
    fn keep(&mut self, index: usize) {
        for (number, at) in self.kept_at.iter().enumerate() {
            if *at == index {
                self.kept.set_text(number, &self.cells.cell, self.cells.cell_bytes);
            }
        }
    }

    /// The name of the input column.
    fn column(&self) -> &str {
        self.column.as_ref().map_or("", |(name, _)| name)
    }

    fn candidate(&self, row: u64) -> Candidate {
        let cell = trimmed(&self.cells.cell);
        if self.cells.cell_bytes > TARGET_BYTES_MAX as u64 {
            return Candidate::too_long(cell, self.cells.cell_bytes);
        }
        Candidate::cell(cell, || format!("row {row} has an empty \"{}\"", self.column()))
    }
}

fn too_long() -> String {
    format!(
        "the header has more than {FIELDS_MAX} cells, {} MiB, or {} KiB in one cell; check that the file is CSV, with the \
         names of its columns first, and that its quotes are closed",
        HEADER_BYTES_MAX >> 20,
        TARGET_BYTES_MAX >> 10,
    )
}

/// What a cell ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Only the cell: the row continues.
    Cell,
    Row,
    /// The file: there was no more cell.
    File,
}

/// Splits a stream into cells.
struct Cells {
    reader: BufReader<Bytes>,
    parser: csv_core::Reader,
    /// The last kept cell, cut at [`TARGET_BYTES_MAX`] or slightly above.
    cell: Vec<u8>,
    /// The full length of the cell.
    cell_bytes: u64,
    bytes_read: u64,
    /// Whether the last byte ended a line, so that the parser is already on the next line.
    line_ended: bool,
}

impl Cells {
    fn new(bytes: Bytes, delimiter: u8) -> Self {
        Self {
            reader: BufReader::with_capacity(BUFFER_BYTES, bytes),
            parser: ReaderBuilder::new().delimiter(delimiter).build(),
            cell: Vec::new(),
            cell_bytes: 0,
            bytes_read: 0,
            line_ended: false,
        }
    }

    /// Reads the names of the columns. A header without end is no header, and its names are not held.
    fn header(&mut self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        let mut bytes = 0;
        loop {
            let end = self.next(true)?;
            bytes += self.cell.len();
            if names.len() >= FIELDS_MAX || bytes > HEADER_BYTES_MAX || self.cell.len() > TARGET_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, too_long()));
            }
            if end != End::File {
                names.push(String::from_utf8_lossy(trimmed(&self.cell)).into_owned());
            }
            if end != End::Cell {
                return Ok(names);
            }
        }
    }

    /// Reads a cell to its end, into `cell` if `keep` is set.
    fn next(&mut self, keep: bool) -> io::Result<End> {
        if keep {
            self.cell.clear();
            self.cell_bytes = 0;
        }
        let mut part = [0; 4096];
        loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let (result, used, written) = self.parser.read_field(buffer, &mut part);
            self.line_ended = buffer.get(..used).is_some_and(|used| used.ends_with(b"\n"));
            self.reader.consume(used);
            self.bytes_read += used as u64;
            if keep {
                self.cell_bytes += written as u64;
                if self.cell.len() <= TARGET_BYTES_MAX {
                    self.cell.extend_from_slice(part.get(..written).unwrap_or_default());
                }
            }
            match result {
                ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
                ReadFieldResult::Field { record_end: false } => return Ok(End::Cell),
                ReadFieldResult::Field { record_end: true } => return Ok(End::Row),
                ReadFieldResult::End => return Ok(End::File),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kept::shown;
    use super::*;

    fn open(name: &str, text: &str, columns: &Columns) -> Result<CsvFeed, SourceError> {
        open_as(name, text.as_bytes(), columns, None)
    }

    fn open_as(
        name: &str,
        text: &[u8],
        columns: &Columns,
        delimiter: Option<u8>,
    ) -> Result<CsvFeed, SourceError> {
        CsvFeed::open(Path::new(name), Box::new(io::Cursor::new(text.to_vec())), columns, delimiter)
    }

    #[test]
    fn a_delimiter_may_be_said_and_a_kept_cell_must_be_text() {
        let columns = Columns { keep: vec!["name".to_owned()], ..Columns::from("url") };
        let text = b"name;url;x\r\n\"Anne\";\xc2\xa0http://a/\xe2\x80\x8b;\xe9\r\nRen\xe9e;http://b/;1\r\n";
        let mut feed = open_as("a.csv", text, &columns, Some(b';')).unwrap();
        let one = feed.next().unwrap().unwrap();
        assert_eq!((one.input.as_slice(), one.refused), (b"http://a/".as_slice(), None));
        assert_eq!(shown(&one.kept), r#"{"name":"Anne"}"#);
        let two = feed.next().unwrap().unwrap();
        assert_eq!(
            (two.input.as_slice(), shown(&two.kept).as_str()),
            (b"http://b/".as_slice(), r#"{"name":null}"#)
        );
        let why = two.refused.unwrap();
        assert!(why.contains("row 2 (line 3): \"name\" is not UTF-8") && why.contains("--encoding"), "{why}");
        let error = open_as("a.csv", text, &columns, None).err().unwrap().to_string();
        assert!(error.contains("is --delimiter ';' missing?"), "{error}");
    }

    fn check(name: &str, text: &str, want: &[Result<&str, &str>]) {
        let mut feed = open(name, text, &"url".into()).unwrap();
        for want in want {
            let candidate = feed.next().unwrap().unwrap();
            let input = String::from_utf8(candidate.input).unwrap();
            match (want, candidate.refused) {
                (Ok(want), None) => assert_eq!(input, *want, "{text}"),
                (Err(want), Some(reason)) => assert!(reason.contains(want), "{text}: {reason}"),
                (want, refused) => panic!("{text}: wanted {want:?}, refused: {refused:?}"),
            }
        }
        assert_eq!(feed.next().unwrap(), None, "{text}");
        assert_eq!(feed.bytes_read(), text.len() as u64);
    }

    #[test]
    fn every_row_gives_its_cell() {
        check("a.csv", "url\nhttp://a/\nhttp://b/\n", &[Ok("http://a/"), Ok("http://b/")]);
        check(
            "a.csv",
            "\u{feff}id, url ,x\r\n1,http://a/,\r\n2,\"http://b/?q=1,2\",",
            &[Ok("http://a/"), Ok("http://b/?q=1,2")],
        );
        check("a.csv", "note,url\n\"two\nlines, \"\"quoted\"\"\",http://a/\n", &[Ok("http://a/")]);
        check("a.TSV", "x\turl\n1,2\thttp://a/\n", &[Ok("http://a/")]);
        check("a.csv", "url\n", &[]);
        check("a.csv", "url,url\na,b\n", &[Ok("a")]);
        check("a.csv", &format!("{0}url\n{0}a\n", "x,".repeat(5000)), &[Ok("a")]);
    }

    #[test]
    fn a_bad_row_is_refused_by_itself() {
        check(
            "a.csv",
            "id,url\n1\n2,\n3,http://a/,4,5\n",
            &[
                Err("row 1 has no \"url\", because it has only 1 cell"),
                Err("row 2 has an empty \"url\""),
                Ok("http://a/"),
            ],
        );
        let open_quote = format!("url\n\"{}\n", "x".repeat(3 * BUFFER_BYTES));
        check("a.csv", &open_quote, &[Err("786433 bytes")]);
    }

    #[test]
    fn kept_cells_come_along_whatever_becomes_of_the_row() {
        let keep = ["name", "n", "name"].map(str::to_owned).to_vec();
        let columns = Columns { keep, ..Columns::from("url") };
        let long = "y".repeat(TARGET_BYTES_MAX + 5000);
        let text = format!(
            "n,url,name\n1,http://a/,\" x \"\n2,,\"a\nb\"\n3\n4,http://b/,{long}\n5,,{long}\n6,http://c/,z\n"
        );
        let mut feed = open("a.csv", &text, &columns).unwrap();
        for (input, kept, refused) in [
            ("http://a/", r#"{"name":" x ","n":"1","name":" x "}"#, None),
            ("", r#"{"name":"a\nb","n":"2","name":"a\nb"}"#, Some("empty")),
            ("", r#"{"name":null,"n":"3","name":null}"#, Some("has no \"url\"")),
            ("http://b/", "", Some("with what is kept of its row it has 59")),
            ("", "", Some("empty")),
            ("http://c/", r#"{"name":"z","n":"6","name":"z"}"#, None),
        ] {
            let candidate = feed.next().unwrap().unwrap();
            assert_eq!(String::from_utf8_lossy(&candidate.input), input);
            assert_eq!(shown(&candidate.kept), kept);
            let why = candidate.refused.as_deref();
            assert_eq!(why.is_some(), refused.is_some(), "{why:?}");
            assert!(refused.is_none_or(|part| why.unwrap().contains(part)), "{why:?}");
        }
        assert_eq!(feed.next().unwrap(), None);
    }

    #[test]
    fn a_header_without_end_is_refused() {
        let quote = format!("url,\"{}", "x".repeat(3 * BUFFER_BYTES));
        for text in [",".repeat(FIELDS_MAX + 1), "x".repeat(TARGET_BYTES_MAX + 1), quote] {
            let error = open("a.csv", &text, &"url".into()).err().unwrap().to_string();
            assert!(error.contains("the header has more than 100000 cells, 4 MiB, or 24 KiB"), "{error}");
        }
    }

    #[test]
    fn a_missing_column_names_the_nearest() {
        for (text, column, want) in [
            ("id,urls\n", "url", "did you mean \"urls\"?"),
            ("id,link\n", "address", r#"its columns are: "id", "link""#),
            ("", "url", "it has no columns"),
        ] {
            let error = open("a.csv", text, &column.into()).err().unwrap().to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
