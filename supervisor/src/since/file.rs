//! The file of the notes: SQLite, with one row for each page. Rows are appended, and the index over them is built when
//! the run is complete, which costs far less than to keep it up to date.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use xxhash_rust::xxh3::xxh3_64;

/// Identifies the file in SQLite's header: `MUSV`.
pub(super) const APPLICATION_ID: i32 = 0x4d55_5356;

/// Where that is in the header.
const APPLICATION_ID_AT: u64 = 68;

/// The version of the tables. Increases when their meaning changes, or that of a note.
pub(super) const SCHEMA: i32 = 1;

/// One row: what decides the contents of a note, as JSON, and whether the run is complete.
pub(super) const TABLES: &str = "
    CREATE TABLE run (recipe TEXT NOT NULL, complete INTEGER NOT NULL);
    CREATE TABLE page (
        id INTEGER PRIMARY KEY, key INTEGER NOT NULL, checksum INTEGER NOT NULL, note BLOB NOT NULL
    );";

pub(super) const INDEX: &str = "CREATE INDEX IF NOT EXISTS page_key ON page (key)";

/// What the file at a path is.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    /// Written by another program.
    Foreign,
    /// Written by a version that other tables belong to.
    OtherSchema,
    /// Written by this program, and damaged: how.
    Damaged(String),
    /// Locked, or not readable: why.
    Unreadable(String),
    Ours {
        connection: Connection,
        recipe: String,
        complete: bool,
    },
}

/// The key of a page: a hash of its URL. Two pages with one key are told apart by their URLs.
pub(super) fn key(url: &str) -> i64 {
    xxh3_64(url.as_bytes()).cast_signed()
}

pub(super) fn checksum(note: &[u8]) -> i64 {
    xxh3_64(note).cast_signed()
}

/// Opens the file at `path`, if it is there. Changes nothing.
pub(super) fn open(path: &Path, flags: OpenFlags) -> Found {
    match path.symlink_metadata() {
        Err(_) => return Found::Nothing,
        Ok(found) if !found.is_file() => return Found::Foreign,
        Ok(_) => {}
    }
    match read(path, flags) {
        Ok(found) => found,
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::Unknown) | None
                if says_ours(path) =>
            {
                Found::Damaged(error.to_string())
            }
            Some(ErrorCode::NotADatabase) => Found::Foreign,
            _ => Found::Unreadable(error.to_string()),
        },
    }
}

/// Whether the header, which may be all that is left, says that this program wrote the file.
fn says_ours(path: &Path) -> bool {
    let mut id = [0; 4];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut id, APPLICATION_ID_AT));
    read.is_ok() && i32::from_be_bytes(id) == APPLICATION_ID
}

fn read(path: &Path, flags: OpenFlags) -> rusqlite::Result<Found> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let application = number("application_id")?;
    if application != APPLICATION_ID {
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
        // Left by a run that was killed while it created the file.
        let is_blank = application == 0 && tables == 0;
        return Ok(if is_blank { Found::Nothing } else { Found::Foreign });
    }
    if number("user_version")? != SCHEMA {
        return Ok(Found::OtherSchema);
    }
    let (recipe, complete) =
        connection.query_row("SELECT recipe, complete FROM run", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Found::Ours { connection, recipe, complete })
}
