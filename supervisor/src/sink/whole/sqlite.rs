//! Records as a table of a SQLite database. Its file has another name until it
//! is whole and nobody reads it before, so it needs no journal of its own and
//! no transaction but one.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, ToSql, params_from_iter};
use shared::table::{Cell, Cells, Element, Kind, Origin, Table};

use super::cut::malformed;

/// Says in SQLite's own header who wrote it: `MUSR`.
const APPLICATION_ID: i32 = 0x4d55_5352;

/// A database while it is built.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    insert: String,
    columns: usize,
    path: PathBuf,
}

impl Database {
    /// Fills the empty file at `path`.
    pub(super) fn create(path: &Path, table: &Table) -> io::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(into_io)?;
        let setup = format!(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;
             PRAGMA application_id = {APPLICATION_ID}; {}; BEGIN",
            schema(table)
        );
        connection.execute_batch(&setup).map_err(into_io)?;
        Ok(Self { connection, insert: insert(table), columns: table.columns.len(), path: path.to_owned() })
    }

    pub(super) fn take(&mut self, row: Cells<'_>) -> io::Result<()> {
        let cells: Vec<Bound<'_>> = row.map(Bound).collect();
        if cells.len() != self.columns {
            return Err(malformed());
        }
        let insert = || self.connection.prepare_cached(&self.insert)?.execute(params_from_iter(cells));
        insert().map(drop).map_err(into_io)
    }

    pub(super) fn finish(self) -> io::Result<()> {
        self.connection.execute_batch("COMMIT").map_err(into_io)?;
        self.connection.close().map_err(|(_, error)| into_io(error))?;
        File::open(&self.path)?.sync_all()
    }
}

/// A cell as SQLite takes it.
struct Bound<'a>(Cell<'a>);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match &self.0 {
            Cell::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Cell::Text(text) | Cell::Json(text) => ToSqlOutput::Borrowed(ValueRef::Text(text)),
            Cell::Int(number) => ToSqlOutput::Borrowed(ValueRef::Integer(*number)),
            Cell::Float(number) => ToSqlOutput::Borrowed(ValueRef::Real(*number)),
            Cell::List(cells) => {
                let mut list = Vec::new();
                cells.clone().write_json(&mut list);
                ToSqlOutput::Owned(Value::Text(String::from_utf8_lossy(&list).into_owned()))
            }
        })
    }
}

fn schema(table: &Table) -> String {
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|column| {
            let kind = match (&column.origin, column.kind) {
                (Origin::Id, _) => "INTEGER PRIMARY KEY",
                (_, Kind::One(Element::Int)) => "INTEGER",
                (_, Kind::One(Element::Float)) => "REAL",
                (_, Kind::One(Element::Text) | Kind::List(_) | Kind::Json) => "TEXT",
            };
            format!("  {} {kind}", name(&column.name))
        })
        .collect();
    format!("CREATE TABLE records (\n{}\n)", columns.join(",\n"))
}

fn insert(table: &Table) -> String {
    let names: Vec<String> = table.columns.iter().map(|column| name(&column.name)).collect();
    let places = vec!["?"; names.len()].join(", ");
    let updates: Vec<String> = names
        .iter()
        .filter(|name| *name != "\"id\"")
        .map(|name| format!("{name} = excluded.{name}"))
        .collect();
    format!(
        "INSERT INTO records ({}) VALUES ({places}) ON CONFLICT (\"id\") DO UPDATE SET {}",
        names.join(", "),
        updates.join(", ")
    )
}

fn name(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// How many records there are, and how many of them are errors.
///
/// # Errors
/// When it is no database with records of ours.
pub(crate) fn count(path: &Path) -> io::Result<(u64, u64)> {
    let count = || {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.query_row("SELECT count(*), count(error_kind) FROM records", [], |row| {
            Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?.cast_unsigned()))
        })
    };
    count().map_err(into_io)
}

fn into_io(error: rusqlite::Error) -> io::Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => io::Error::new(io::ErrorKind::StorageFull, error),
        _ => io::Error::other(error),
    }
}
