//! One column of a Parquet file. Every row is one target, so that a record's id is the number of its row.
//!
//! Only the wanted columns are read, a page at a time and at most [`ROWS`] rows ahead. The file is the user's
//! own, but the library may panic on a damaged file. That becomes an error that names the file.

mod pages;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parquet::basic::{ConvertedType, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;
use parquet::schema::types::ColumnDescPtr;

use self::pages::CheckedPages;
use super::kept::KeptColumns;
use super::packed::ListFile;
use super::text::trimmed;
use super::{Candidate, SourceError};
use crate::nearest::nearest;
use crate::plan::Columns;

/// Rows decoded at a time.
const ROWS: usize = 1024;

/// Reads the column of the inputs and the kept columns.
pub(super) struct ParquetFeed {
    reader: SerializedFileReader<File>,
    /// The input column; `None` if inputs are made from other columns.
    column: Option<String>,
    /// The wanted columns: first the inputs, if they have one, then the kept ones.
    wanted: Vec<(usize, ColumnDescPtr)>,
    kept: KeptColumns,
    /// The current row group, with one reader per wanted column.
    group: Option<Vec<ColumnReader>>,
    next_group: usize,
    rows: VecDeque<Candidate>,
    /// Number of rows decoded.
    decoded: u64,
    rows_total: u64,
    file_bytes: u64,
}

impl ParquetFeed {
    /// Reads the file's footer and finds the columns in it.
    pub(super) fn open(list: ListFile, columns: &Columns) -> Result<Self, SourceError> {
        let ListFile { path, file } = list;
        let path = path.as_path();
        let refused = |error| SourceError::Open { path: path.to_owned(), error };
        let file_bytes = file.metadata().map_err(refused)?.len();
        let reader = guarded(|| SerializedFileReader::new(file)).map_err(refused)?;
        let metadata = reader.metadata().file_metadata();
        let find = |column: &String| find(path, metadata.schema_descr().columns(), column);
        let mut wanted = Vec::new();
        if let Some(column) = &columns.input {
            let input = find(column)?;
            if !holds_text(&input.1) {
                let why = format!("holds {}, but inputs must be text", input.1.physical_type());
                return Err(SourceError::Unfit { path: path.to_owned(), column: column.clone(), why });
            }
            wanted.push(input);
        }
        for column in columns.carried() {
            wanted.push(find(column)?);
        }
        let rows_total = u64::try_from(metadata.num_rows()).unwrap_or(0);
        Ok(Self {
            column: columns.input.clone(),
            wanted,
            kept: KeptColumns::new(columns),
            group: None,
            next_group: 0,
            rows: VecDeque::new(),
            decoded: 0,
            rows_total,
            file_bytes,
            reader,
        })
    }

    /// Number of the last returned row, from 1.
    pub(super) fn row(&self) -> u64 {
        self.decoded - self.rows.len() as u64
    }

    /// Bytes of the file, estimated by the share of returned rows, because pages of all columns are
    /// interleaved.
    pub(super) fn bytes_read(&self) -> u64 {
        let share = u128::from(self.file_bytes) * u128::from(self.row()) / u128::from(self.rows_total.max(1));
        u64::try_from(share).unwrap_or(self.file_bytes)
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Candidate>> {
        while self.rows.is_empty() {
            if self.group.is_none() && !self.next_group()? {
                return Ok(None);
            }
            let Some(group) = &mut self.group else { continue };
            let wanted = &self.wanted;
            let columns = guarded(|| {
                let read =
                    |(reader, (_, about)): (&mut ColumnReader, &(usize, ColumnDescPtr))| cells(reader, about);
                group.iter_mut().zip(wanted).map(read).collect::<Result<Vec<_>, _>>()
            })?;
            self.assemble(columns)?;
        }
        Ok(self.rows.pop_front())
    }

    fn next_group(&mut self) -> io::Result<bool> {
        if self.next_group >= self.reader.num_row_groups() {
            return Ok(false);
        }
        let (reader, wanted, number) = (&self.reader, &self.wanted, self.next_group);
        let group = guarded(|| {
            let group = reader.get_row_group(number)?;
            let open = |(index, about): &(usize, ColumnDescPtr)| {
                let pages = CheckedPages(group.get_column_page_reader(*index)?);
                Ok(get_column_reader(about.clone(), Box::new(pages)))
            };
            wanted.iter().map(open).collect::<Result<Vec<_>, ParquetError>>()
        })?;
        self.group = Some(group);
        self.next_group += 1;
        Ok(true)
    }

    /// Turns columns into rows. No values at all mean the end of the row group.
    fn assemble(&mut self, columns: Vec<Vec<Cell>>) -> io::Result<()> {
        let rows = columns.first().map_or(0, Vec::len);
        if columns.iter().any(|column| column.len() != rows) {
            return Err(io::Error::other("its columns have different lengths"));
        }
        if rows == 0 {
            self.group = None;
        }
        let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
        for _ in 0..rows {
            self.decoded += 1;
            let mut cells = columns.iter_mut().map(|column| column.next().unwrap_or(Cell::Null));
            let candidate = match &self.column {
                None => Candidate::good(Vec::new()),
                Some(column) => match cells.next() {
                    Some(Cell::Text(text)) => self.candidate(column, &text),
                    Some(Cell::Null | Cell::Json(_)) | None => self.candidate(column, b""),
                },
            };
            self.kept.begin();
            for (number, cell) in cells.enumerate() {
                match cell {
                    Cell::Null => {}
                    Cell::Text(text) => self.kept.set_text(number, &text, text.len() as u64),
                    Cell::Json(json) => self.kept.set_json(number, &json),
                }
            }
            let candidate = match self.kept.not_text() {
                Some(column) if candidate.refused.is_none() => {
                    let why = format!(
                        "row {}: \"{column}\" is not UTF-8, and --keep can only copy text",
                        self.decoded
                    );
                    Candidate::refused(&candidate.input, why)
                }
                Some(_) | None => candidate,
            };
            self.rows.push_back(candidate.with(self.kept.encode()));
        }
        Ok(())
    }

    fn candidate(&self, column: &str, text: &[u8]) -> Candidate {
        let empty = || format!("row {} has an empty \"{column}\"", self.decoded);
        Candidate::cell(trimmed(text), empty)
    }
}

fn find(
    path: &Path,
    columns: &[ColumnDescPtr],
    wanted: &String,
) -> Result<(usize, ColumnDescPtr), SourceError> {
    let names: Vec<String> = columns.iter().map(|column| column.path().string()).collect();
    let Some(index) = names.iter().position(|name| name == wanted) else {
        return Err(SourceError::NoColumn {
            path: path.to_owned(),
            place: "its schema",
            column: wanted.clone(),
            nearest: nearest(wanted, names.iter().map(String::as_str)).map(str::to_owned),
            names,
        });
    };
    match columns.get(index) {
        Some(column) if column.max_rep_level() == 0 => Ok((index, column.clone())),
        Some(_) | None => Err(SourceError::Unfit {
            path: path.to_owned(),
            column: wanted.clone(),
            why: "holds lists, but each row must have one value".to_owned(),
        }),
    }
}

fn holds_text(column: &ColumnDescPtr) -> bool {
    column.physical_type() == Physical::BYTE_ARRAY && column.converted_type() != ConvertedType::DECIMAL
}

/// Calls the library, and turns a panic into an error.
fn guarded<T>(work: impl FnOnce() -> Result<T, ParquetError>) -> io::Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|error| io::Error::other(error.to_string())),
        Err(_) => Err(io::Error::other("it is damaged, or uses an unsupported feature")),
    }
}

/// One value of one row.
enum Cell {
    Null,
    Text(Vec<u8>),
    /// A number or boolean, encoded as JSON.
    Json(String),
}

/// Returns the next [`ROWS`] values of a column.
fn cells(reader: &mut ColumnReader, about: &ColumnDescPtr) -> Result<Vec<Cell>, ParquetError> {
    let text = |bytes: &[u8]| Cell::Text(bytes.to_vec());
    let is_decimal = about.converted_type() == ConvertedType::DECIMAL;
    match reader {
        ColumnReader::BoolColumnReader(reader) => {
            read(reader, about, |value| Ok(field(Field::convert_bool(about, value))))
        }
        ColumnReader::Int32ColumnReader(reader) => {
            read(reader, about, |value| Ok(field(Field::convert_int32(about, value))))
        }
        ColumnReader::Int64ColumnReader(reader) => {
            read(reader, about, |value| Ok(field(Field::convert_int64(about, value))))
        }
        ColumnReader::Int96ColumnReader(reader) => {
            read(reader, about, |value| Ok(field(Field::convert_int96(about, value))))
        }
        ColumnReader::FloatColumnReader(reader) => {
            read(reader, about, |value| Ok(field(Field::convert_float(about, value))))
        }
        ColumnReader::DoubleColumnReader(reader) => {
            read(reader, about, |value| Ok(field(Field::convert_double(about, value))))
        }
        ColumnReader::ByteArrayColumnReader(reader) if is_decimal => {
            read(reader, about, |value| Field::convert_byte_array(about, value).map(field))
        }
        ColumnReader::ByteArrayColumnReader(reader) => read(reader, about, |value| Ok(text(value.data()))),
        ColumnReader::FixedLenByteArrayColumnReader(reader) if is_decimal => {
            read(reader, about, |value| Field::convert_byte_array(about, value.into()).map(field))
        }
        ColumnReader::FixedLenByteArrayColumnReader(reader) => {
            read(reader, about, |value| Ok(text(value.data())))
        }
    }
}

fn read<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    about: &ColumnDescPtr,
    convert: impl Fn(T::T) -> Result<Cell, ParquetError>,
) -> Result<Vec<Cell>, ParquetError> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    reader.read_records(ROWS, Some(&mut levels), None, &mut values)?;
    if about.max_def_level() == 0 {
        return values.into_iter().map(convert).collect();
    }
    let mut values = values.into_iter();
    let there = |level: i16| level == about.max_def_level();
    levels
        .into_iter()
        .map(
            |level| {
                if there(level) { values.next().map_or(Ok(Cell::Null), &convert) } else { Ok(Cell::Null) }
            },
        )
        .collect()
}

/// Converts a value. Numbers stay numbers; types that JSON lacks become text.
fn field(field: Field) -> Cell {
    match field {
        Field::Null => Cell::Null,
        Field::Bool(_)
        | Field::Byte(_)
        | Field::Short(_)
        | Field::Int(_)
        | Field::Long(_)
        | Field::UByte(_)
        | Field::UShort(_)
        | Field::UInt(_)
        | Field::ULong(_) => Cell::Json(field.to_string()),
        // NaN and infinities become `null`.
        Field::Float(number) => Cell::Json(serde_json::to_string(&number).unwrap_or_default()),
        Field::Double(number) => Cell::Json(serde_json::to_string(&number).unwrap_or_default()),
        Field::Str(text) => Cell::Text(text.into_bytes()),
        Field::Float16(_)
        | Field::Decimal(_)
        | Field::Bytes(_)
        | Field::Date(_)
        | Field::TimeMillis(_)
        | Field::TimeMicros(_)
        | Field::TimestampMillis(_)
        | Field::TimestampMicros(_)
        | Field::Group(_)
        | Field::ListInternal(_)
        | Field::MapInternal(_) => Cell::Text(field.to_string().into_bytes()),
    }
}

#[cfg(test)]
pub(super) mod tests;
