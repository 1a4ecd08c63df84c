//! The tables of `state.db`, and the migrations from earlier versions.
//!
//! Each step migrates one schema to the next and never changes again, because databases of any earlier
//! version may still exist. `PRAGMA user_version` is the number of steps taken.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::StoreError;

/// Identifies the file in SQLite's header: `MUSS`.
const APPLICATION_ID: i32 = 0x4d55_5353;

/// The migrations, from an empty database to the newest schema.
const STEPS: [&str; 2] = [
    "
    CREATE TABLE jobs (
        -- Never used again, not even when its job is gone.
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT,
        command TEXT NOT NULL,
        priority INTEGER NOT NULL,
        -- As it was sent, and the paths of its uploads within its directory; JSON.
        document TEXT NOT NULL,
        uploads TEXT NOT NULL,
        -- JSON, as the API shows it. A job that drains is what it drains to.
        state TEXT NOT NULL,
        -- RFC 3339.
        submitted_at TEXT NOT NULL,
        started_at TEXT,
        finished_at TEXT,
        counts TEXT NOT NULL,
        errors TEXT NOT NULL,
        summary TEXT,
        exit_code INTEGER,
        error TEXT,
        retry_of INTEGER,
        idempotency_key TEXT UNIQUE,
        digest BLOB,
        sender TEXT NOT NULL,
        -- Bytes of its records that are certain, and of everything it has on the disk.
        committed INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0
    );",
    "
    -- How often in a row the service died while a job ran: before it made a record, and before a new one was on disk.
    -- What was on disk at the last death, and whether a record was made since.
    CREATE TABLE deaths (
        job INTEGER PRIMARY KEY, silent INTEGER NOT NULL, stuck INTEGER NOT NULL, done INTEGER NOT NULL,
        cleared INTEGER NOT NULL
    );
    -- One row: the boot of the machine in which the service started last, and whether a job has made a record since.
    CREATE TABLE started (
        one INTEGER PRIMARY KEY CHECK (one = 1), boot TEXT NOT NULL, got_on INTEGER NOT NULL
    );",
];

/// Opens the existing database at `path` and migrates it to the newest schema.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let database = |cause| StoreError::Database { path: path.to_owned(), cause };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(database)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(database)?;
    let number = |connection: &Connection, name: &str| {
        connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(database)
    };
    let known = i32::try_from(STEPS.len()).unwrap_or(i32::MAX);
    let found = number(&connection, "user_version")?;
    let whose = number(&connection, "application_id")?;
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    if whose != APPLICATION_ID && (whose, found) != (0, 0) {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    let sound: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(database)?;
    if sound != "ok" {
        let damage = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        return Err(database(rusqlite::Error::SqliteFailure(damage, Some(sound))));
    }
    connection.pragma_update(None, "journal_mode", "WAL").map_err(database)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(database)?;
    if found < known {
        let mut upgrade = || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(0)) {
                transaction.execute_batch(step)?;
            }
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", known)?;
            transaction.commit()
        };
        upgrade().map_err(database)?;
    }
    Ok(connection)
}
