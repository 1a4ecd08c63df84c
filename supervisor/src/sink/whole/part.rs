//! One file, whatever its format: takes records in the form that it is built from.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use shared::table::{Cells, Delimited, Table};

#[cfg(feature = "parquet")]
use super::parquet::ParquetFile;
use super::sqlite::Database;
use crate::format::Format;
use crate::side_file;
use crate::sink::packed::{MEMBER_BYTES, Packer};

/// A file while it is built.
#[derive(Debug)]
pub(super) enum Part {
    Text(Text),
    #[cfg(feature = "parquet")]
    Parquet(Box<ParquetFile>),
    Sqlite(Database),
}

/// Lines, or rows under a header.
#[derive(Debug)]
pub(super) struct Text {
    file: BufWriter<File>,
    packer: Option<Packer>,
    /// Whether nothing was written to the file.
    is_empty: bool,
}

impl Part {
    /// Creates a file that will become `output`, in place of one that an earlier run may have left.
    pub(super) fn create(path: &Path, output: &Path, format: Format, table: &Table) -> io::Result<Self> {
        super::remove_if_there(path)?;
        let file = side_file::create_for(path, output)?;
        Ok(match format {
            Format::JsonLines(_) | Format::Csv(_) | Format::Tsv(_) => {
                let rows = format.delimiter().map(|delimiter| Delimited { delimiter, table: table.clone() });
                Self::Text(Text::create(file, rows.as_ref(), format.packing().map(Packer::new))?)
            }
            #[cfg(feature = "parquet")]
            Format::Parquet => Self::Parquet(Box::new(ParquetFile::create(file, table)?)),
            Format::Sqlite => Self::Sqlite(Database::create(path, table)?),
            // Refused long before.
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => return Err(io::ErrorKind::Unsupported.into()),
            Format::Warc { .. } => return Err(io::ErrorKind::Unsupported.into()),
        })
    }

    /// Adds a record.
    pub(super) fn take(&mut self, record: &[u8]) -> io::Result<()> {
        match self {
            Self::Text(text) => text.write(record),
            #[cfg(feature = "parquet")]
            Self::Parquet(file) => file.take(Cells::of_row(record)),
            Self::Sqlite(database) => database.take(Cells::of_row(record)),
        }
    }

    /// Brings the file to the disk.
    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Text(text) => text.finish(),
            #[cfg(feature = "parquet")]
            Self::Parquet(file) => file.finish(),
            Self::Sqlite(database) => database.finish(),
        }
    }
}

impl Text {
    fn create(file: File, rows: Option<&Delimited>, packer: Option<Packer>) -> io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 18, file);
        let mut text = Self { file, packer, is_empty: true };
        if let Some(rows) = rows {
            let mut header = Vec::new();
            rows.header(&mut header);
            text.write(&header)?;
        }
        Ok(text)
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        match &mut self.packer {
            None => self.file.write_all(text),
            Some(packer) => {
                packer.write(text)?;
                if packer.open_bytes() < MEMBER_BYTES {
                    return Ok(());
                }
                self.is_empty = false;
                self.file.write_all(&packer.end()?)
            }
        }
    }

    fn finish(mut self) -> io::Result<()> {
        if let Some(packer) = &mut self.packer {
            self.file.write_all(&packer.end_file(self.is_empty)?)?;
        }
        self.file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }
}
