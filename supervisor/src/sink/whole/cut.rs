//! Where one record ends and the next begins, among records that are kept until files are built from them.

use std::io::{self, Read};

use shared::table::first_row;

use crate::format::Format;

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

/// How records are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// A record ends with its newline.
    Lines,
    /// A record ends with its newline; others stand in quotes, and quotes in texts are doubled.
    Rows,
    /// A record has its length before it.
    Typed,
}

impl Cut {
    /// How the records are told apart from which files of `format` are built.
    pub(crate) const fn of(format: Format) -> Self {
        match format {
            Format::JsonLines(_) | Format::Warc { .. } => Self::Lines,
            Format::Csv(_) | Format::Tsv(_) => Self::Rows,
            Format::Parquet | Format::Sqlite => Self::Typed,
        }
    }

    /// The name under which a journal remembers it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Rows => "rows",
            Self::Typed => "typed rows",
        }
    }

    /// The first record of `bytes` and what follows it; `None` if its end is not there.
    pub(crate) fn first(self, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
        let length = match self {
            Self::Lines => memchr::memchr(b'\n', bytes)? + 1,
            Self::Rows => {
                let mut is_quoted = false;
                let mut marks = memchr::memchr2_iter(b'"', b'\n', bytes);
                let end = marks.find(|at| {
                    let is_quote = bytes.get(*at) == Some(&b'"');
                    is_quoted ^= is_quote;
                    !is_quote && !is_quoted
                });
                end? + 1
            }
            Self::Typed => first_row(bytes)?,
        };
        bytes.split_at_checked(length)
    }

    /// Reads records and passes each to `take`.
    pub(crate) fn each<E: From<io::Error>>(
        self,
        mut records: impl Read,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut buffer = Vec::new();
        loop {
            // At least as much again as there is: a large record is looked at only a few times.
            let more = READ_BYTES.max(buffer.len()) as u64;
            let is_end = (&mut records).take(more).read_to_end(&mut buffer)? == 0;
            let mut rest = buffer.as_slice();
            while let Some((record, after)) = self.first(rest) {
                take(record)?;
                rest = after;
            }
            let taken = buffer.len() - rest.len();
            buffer.drain(..taken);
            if is_end {
                return if buffer.is_empty() { Ok(()) } else { Err(malformed().into()) };
            }
        }
    }
}

/// Records that were kept are not what was written.
pub(super) fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a record in it is malformed")
}

#[cfg(test)]
mod tests {
    use shared::record::Record;
    use shared::table::{Subject, Table, Typed};

    use super::*;

    fn check(cut: Cut, records: &[Vec<u8>]) {
        let whole = records.concat();
        let (mut found, mut rest) = (Vec::new(), whole.as_slice());
        while let Some((record, after)) = cut.first(rest) {
            found.push(record.to_vec());
            rest = after;
        }
        assert!(found == records && rest.is_empty(), "{cut:?}");
        let mut read = Vec::new();
        let mut take = |record: &[u8]| {
            read.push(record.to_vec());
            io::Result::Ok(())
        };
        cut.each(whole.as_slice(), &mut take).unwrap();
        assert!(read == records, "{cut:?}");
        let short = whole.get(..whole.len() - 1).unwrap();
        assert_eq!(cut.each(short, |_| io::Result::Ok(())).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn records_are_told_apart_by_their_ends() {
        let long = "x".repeat(2 * READ_BYTES);
        check(Cut::Lines, &[b"1\n".to_vec(), b"\n".to_vec(), format!("{long}\n").into_bytes()]);
        let rows = ["1,\"a\n\"\"\n\"\n", "\n", "2,\"\",\"\"\"\"\n", &format!("\"{long}\n\",\n"), "3\n"];
        check(Cut::Rows, &rows.map(|row| row.as_bytes().to_vec()));
        let typed = Typed { table: Table::of(Subject::Line, &[]) };
        let rows = ["1", "\"\n\"", &long, "2"].map(|value| {
            let mut row = Vec::new();
            typed.row(&Record { value: Some(value.as_bytes()), ..Record::default() }, &mut row);
            row
        });
        check(Cut::Typed, &rows);
    }
}
