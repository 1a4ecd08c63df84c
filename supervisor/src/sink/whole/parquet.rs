//! Records as a Parquet file: a column for each, typed, in row groups that
//! are bounded in rows and in memory, packed with zstd.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{Type, TypePtr};
use shared::table::{Cell, Cells, Element, Kind, Table};

use super::cut::malformed;

/// Rows in a row group. Readers work on row groups in parallel, and this is how many most of them write.
const ROWS_MAX: usize = 128 * 1024;

/// Bytes of values that end a row group before: it is held in memory until it is written, and while it is
/// written, pages go on being fetched; the last group is what the user waits for.
const BYTES_MAX: usize = 16 << 20;

/// A file while it is built.
#[derive(Debug)]
pub(super) struct ParquetFile {
    writer: SerializedFileWriter<BufWriter<File>>,
    columns: Vec<Buffer>,
    rows: usize,
    bytes: usize,
}

/// The values of one column in the row group at hand.
#[derive(Debug)]
struct Buffer {
    values: Values,
    is_list: bool,
    /// How much of the path to each value is there; see [`levels`].
    definitions: Vec<i16>,
    /// Whether a value goes on with the list of the one before; empty where there are no lists.
    repetitions: Vec<i16>,
}

#[derive(Debug)]
enum Values {
    /// All texts behind each other, and where each ends: a record may hold hundreds.
    Text(Vec<u8>, Vec<usize>),
    Int(Vec<i64>),
    Float(Vec<f64>),
}

/// Definition levels, as the schema below has them.
mod levels {
    pub(super) const NULL: i16 = 0;
    /// Of a column with one value.
    pub(super) const VALUE: i16 = 1;
    pub(super) const EMPTY_LIST: i16 = 1;
    pub(super) const NULL_IN_LIST: i16 = 2;
    pub(super) const VALUE_IN_LIST: i16 = 3;
}

impl ParquetFile {
    pub(super) fn create(file: File, table: &Table) -> io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 18, file);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            // A smallest and a largest value for each column of a row group lets readers skip it. For each page as
            // well it would cost more than it saves: nobody looks for one link.
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_created_by(concat!("muster version ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let schema = schema(table).map_err(into_io)?;
        let writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).map_err(into_io)?;
        let columns = table.columns.iter().map(|column| Buffer::of(column.kind)).collect();
        Ok(Self { writer, columns, rows: 0, bytes: 0 })
    }

    pub(super) fn take(&mut self, mut row: Cells<'_>) -> io::Result<()> {
        for buffer in &mut self.columns {
            let cell = row.next().ok_or_else(malformed)?;
            self.bytes += if buffer.is_list { buffer.push_list(cell) } else { buffer.push(&cell) };
        }
        if row.next().is_some() {
            return Err(malformed());
        }
        self.rows += 1;
        if self.rows >= ROWS_MAX || self.bytes >= BYTES_MAX {
            self.end_group().map_err(into_io)
        } else {
            Ok(())
        }
    }

    fn end_group(&mut self) -> Result<(), ParquetError> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        for buffer in &mut self.columns {
            let Some(column) = group.next_column()? else { break };
            buffer.write(column)?;
        }
        group.close()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.end_group().map_err(into_io)?;
        let mut file = self.writer.into_inner().map_err(into_io)?;
        file.flush()?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }
}

impl Buffer {
    fn of(kind: Kind) -> Self {
        let (element, is_list) = match kind {
            Kind::One(element) => (element, false),
            Kind::List(element) => (element, true),
            Kind::Json => (Element::Text, false),
        };
        let values = match element {
            Element::Text => Values::Text(Vec::new(), Vec::new()),
            Element::Int => Values::Int(Vec::new()),
            Element::Float => Values::Float(Vec::new()),
        };
        Self { values, is_list, definitions: Vec::new(), repetitions: Vec::new() }
    }

    /// Adds one value; how many bytes it takes.
    fn push(&mut self, cell: &Cell<'_>) -> usize {
        let bytes = self.value(cell);
        self.definitions.push(if bytes.is_some() { levels::VALUE } else { levels::NULL });
        bytes.unwrap_or(0) + 2
    }

    /// Adds a list; how many bytes it takes.
    fn push_list(&mut self, list: Cell<'_>) -> usize {
        let before = self.definitions.len();
        let mut bytes = 0;
        if let Cell::List(cells) = list {
            for cell in cells {
                let there = self.value(&cell);
                bytes += there.unwrap_or(0);
                let level = if there.is_some() { levels::VALUE_IN_LIST } else { levels::NULL_IN_LIST };
                self.definitions.push(level);
            }
            if self.definitions.len() == before {
                self.definitions.push(levels::EMPTY_LIST);
            }
        } else {
            self.definitions.push(levels::NULL);
        }
        let added = self.definitions.len() - before;
        self.repetitions.push(0);
        self.repetitions.resize(self.definitions.len(), 1);
        bytes + added * 4
    }

    /// Adds a value, if there is one.
    fn value(&mut self, cell: &Cell<'_>) -> Option<usize> {
        match &mut self.values {
            Values::Text(texts, ends) => {
                let before = texts.len();
                if !cell.write_text(texts) {
                    return None;
                }
                ends.push(texts.len());
                Some(texts.len() - before + size_of::<ByteArray>())
            }
            Values::Int(values) => {
                values.push(cell.whole()?);
                Some(size_of::<i64>())
            }
            Values::Float(values) => {
                values.push(cell.number()?);
                Some(size_of::<f64>())
            }
        }
    }

    /// Writes the column, and empties it.
    fn write(&mut self, mut column: SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let definitions = Some(self.definitions.as_slice());
        let repetitions = Some(self.repetitions.as_slice()).filter(|levels| !levels.is_empty());
        match &mut self.values {
            Values::Text(texts, ends) => {
                let texts = ByteArray::from(std::mem::take(texts));
                let begins = std::iter::once(0).chain(ends.iter().copied());
                let cut = |(begin, end): (usize, &usize)| texts.slice(begin, end - begin);
                let values: Vec<ByteArray> = begins.zip(ends.iter()).map(cut).collect();
                column.typed::<ByteArrayType>().write_batch(&values, definitions, repetitions)?;
                ends.clear();
            }
            Values::Int(values) => {
                column.typed::<Int64Type>().write_batch(values, definitions, repetitions)?;
                values.clear();
            }
            Values::Float(values) => {
                column.typed::<DoubleType>().write_batch(values, definitions, repetitions)?;
                values.clear();
            }
        }
        self.definitions.clear();
        self.repetitions.clear();
        column.close()
    }
}

fn schema(table: &Table) -> Result<TypePtr, ParquetError> {
    let mut fields = Vec::with_capacity(table.columns.len());
    for column in &table.columns {
        fields.push(Arc::new(match column.kind {
            Kind::One(element) => value(&column.name, element)?,
            Kind::Json => value(&column.name, Element::Text)?,
            Kind::List(element) => {
                let inner = Type::group_type_builder("list")
                    .with_repetition(Repetition::REPEATED)
                    .with_fields(vec![Arc::new(value("element", element)?)])
                    .build()?;
                Type::group_type_builder(&column.name)
                    .with_repetition(Repetition::OPTIONAL)
                    .with_converted_type(ConvertedType::LIST)
                    .with_logical_type(Some(LogicalType::List))
                    .with_fields(vec![Arc::new(inner)])
                    .build()?
            }
        }));
    }
    Type::group_type_builder("record").with_fields(fields).build().map(Arc::new)
}

fn value(name: &str, element: Element) -> Result<Type, ParquetError> {
    let builder =
        |physical| Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
    match element {
        Element::Text => builder(Physical::BYTE_ARRAY)
            .with_converted_type(ConvertedType::UTF8)
            .with_logical_type(Some(LogicalType::String))
            .build(),
        Element::Int => builder(Physical::INT64).build(),
        Element::Float => builder(Physical::DOUBLE).build(),
    }
}

/// How many records there are, and how many of them are errors.
///
/// # Errors
/// When it is no file with records of ours.
pub(crate) fn count(path: &Path) -> io::Result<(u64, u64)> {
    let reader = SerializedFileReader::new(File::open(path)?).map_err(into_io)?;
    let metadata = reader.metadata();
    let columns = metadata.file_metadata().schema_descr().columns();
    let Some(kind) = columns.iter().position(|column| column.path().string() == "error_kind") else {
        return Err(io::Error::other("it has no column error_kind"));
    };
    let (mut records, mut errors) = (0, 0);
    for group in metadata.row_groups() {
        let rows = u64::try_from(group.num_rows()).unwrap_or(0);
        let nulls = group.column(kind).statistics().and_then(|statistics| statistics.null_count_opt());
        records += rows;
        errors += rows.saturating_sub(nulls.unwrap_or(rows));
    }
    Ok((records, errors))
}

/// What the system said, if it was that which failed.
fn into_io(error: ParquetError) -> io::Error {
    let ParquetError::External(cause) = error else { return io::Error::other(error.to_string()) };
    cause.downcast::<io::Error>().map_or_else(|other| io::Error::other(other.to_string()), |error| *error)
}
