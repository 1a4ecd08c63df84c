//! Reads and writes the rows of `state.db`.

use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::request::Idempotency;
use super::manifest::JobFile;
use super::{Deaths, JobRow, LastRun};
use crate::view::JobId;

/// The columns of a [`JobRow`].
pub(super) const COLUMNS: &str = "id, name, command, priority, state, submitted_at, started_at, finished_at, counts, \
                                  errors, summary, exit_code, error, retry_of, committed, bytes";

/// All rows.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) good: Vec<(JobFile, JobRow)>,
    /// Rows that cannot be read, and why.
    pub(super) bad: Vec<(JobId, String)>,
}

/// Reads all rows. One unreadable row does not affect the others.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Rows> {
    let mut found = Rows::default();
    read_into(&mut found, connection)?;
    Ok(found)
}

/// Reads rows into `found` until the database fails.
pub(super) fn read_into(found: &mut Rows, connection: &Connection) -> rusqlite::Result<()> {
    let statement =
        format!("SELECT {COLUMNS}, document, uploads, sender, idempotency_key, digest FROM jobs ORDER BY id");
    let mut statement = connection.prepare(&statement)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id = JobId(row.get::<_, i64>(0)?.cast_unsigned());
        match whole(row) {
            Ok(job) => found.good.push(job),
            Err(error) => found.bad.push((id, error.to_string())),
        }
    }
    Ok(())
}

fn whole(row: &Row<'_>) -> rusqlite::Result<(JobFile, JobRow)> {
    let stored = job_row(row)?;
    let key: Option<String> = row.get(19)?;
    let idempotency = key.map(|key| Ok::<_, rusqlite::Error>(Idempotency { key, digest: row.get(20)? }));
    let job = JobFile {
        id: stored.id,
        name: stored.name.clone(),
        command: stored.command.clone(),
        priority: stored.priority,
        submitted_at: stored.submitted_at.clone(),
        retry_of: stored.retry_of,
        sender: row.get(18)?,
        idempotency: idempotency.transpose()?,
        document: json(row, 16)?,
        uploads: json::<Vec<PathBuf>>(row, 17)?,
    };
    Ok((job, stored))
}

/// Reads [`COLUMNS`].
pub(super) fn job_row(row: &Row<'_>) -> rusqlite::Result<JobRow> {
    let number = |index| row.get::<_, i64>(index).map(i64::cast_unsigned);
    Ok(JobRow {
        id: JobId(number(0)?),
        name: row.get(1)?,
        command: row.get(2)?,
        priority: row.get(3)?,
        state: json(row, 4)?,
        submitted_at: row.get(5)?,
        started_at: row.get(6)?,
        finished_at: row.get(7)?,
        counts: json(row, 8)?,
        errors: json(row, 9)?,
        summary: row.get_ref(10)?.as_str_or_null()?.map(|text| parsed(10, text)).transpose()?,
        exit_code: row.get(11)?,
        error: row.get(12)?,
        retry_of: row.get::<_, Option<i64>>(13)?.map(|id| JobId(id.cast_unsigned())),
        committed: number(14)?,
        bytes: number(15)?,
    })
}

/// Inserts the row of a job that already has a number.
pub(super) fn insert(connection: &Connection, job: &JobFile, row: &JobRow) -> rusqlite::Result<()> {
    // If two directories have the same idempotency key, the first keeps it.
    let key = job.idempotency.as_ref().map(|idempotency| idempotency.key.as_str());
    let taken = connection
        .query_row("SELECT 1 FROM jobs WHERE idempotency_key = ?", [key], |_| Ok(()))
        .optional()?
        .is_some();
    let idempotency = job.idempotency.as_ref().filter(|_| !taken);
    connection.execute(
        "INSERT INTO jobs (id, name, command, priority, document, uploads, state, submitted_at, counts, errors, retry_of,
         idempotency_key, digest, sender) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            job.id.0.cast_signed(),
            job.name,
            job.command,
            job.priority,
            text(&job.document),
            text(&job.uploads),
            text(&row.state),
            job.submitted_at,
            text(&row.counts),
            text(&row.errors),
            job.retry_of.map(|id| id.0.cast_signed()),
            idempotency.map(|idempotency| idempotency.key.as_str()),
            idempotency.map(|idempotency| idempotency.digest),
            job.sender,
        ],
    )?;
    update(connection, row)
}

/// Updates the row of a job.
pub(super) fn update(connection: &Connection, job: &JobRow) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "UPDATE jobs SET state = ?, started_at = ?, finished_at = ?, counts = ?, errors = ?, summary = ?,
         exit_code = ?, error = ?, committed = ?, bytes = ? WHERE id = ?",
    )?;
    statement
        .execute(params![
            text(&job.state),
            job.started_at,
            job.finished_at,
            text(&job.counts),
            text(&job.errors),
            job.summary.as_ref().map(text),
            job.exit_code,
            job.error,
            job.committed.cast_signed(),
            job.bytes.cast_signed(),
            job.id.0.cast_signed(),
        ])
        .map(drop)
}

/// Deletes a row, if it exists.
pub(super) fn delete(connection: &Connection, id: JobId) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM deaths WHERE job = ?", [id.0.cast_signed()])?;
    connection.execute("DELETE FROM jobs WHERE id = ?", [id.0.cast_signed()]).map(drop)
}

/// Returns how often the service died during a job.
pub(super) fn deaths(connection: &Connection, id: JobId) -> rusqlite::Result<Deaths> {
    let read = |row: &Row<'_>| {
        let done = row.get::<_, i64>(2)?.cast_unsigned();
        Ok(Deaths { silent: row.get(0)?, stuck: row.get(1)?, done, cleared: row.get(3)? })
    };
    let query = "SELECT silent, stuck, done, cleared FROM deaths WHERE job = ?";
    Ok(connection.query_row(query, [id.0.cast_signed()], read).optional()?.unwrap_or_default())
}

/// Stores how often the service died during a job.
pub(super) fn set_deaths(connection: &Connection, id: JobId, deaths: Deaths) -> rusqlite::Result<()> {
    let Deaths { silent, stuck, done, cleared } = deaths;
    let values = params![id.0.cast_signed(), silent, stuck, done.cast_signed(), cleared];
    let store = "INSERT OR REPLACE INTO deaths (job, silent, stuck, done, cleared) VALUES (?, ?, ?, ?, ?)";
    connection.execute(store, values).map(drop)
}

/// Notes that a job has made a record since the last death, or has run for long.
pub(super) fn clear(connection: &Connection, id: JobId) -> rusqlite::Result<()> {
    connection.execute("UPDATE deaths SET cleared = 1 WHERE job = ?", [id.0.cast_signed()]).map(drop)
}

/// Stores the boot of the machine in which the service starts. Returns what was stored of its last start.
pub(super) fn start(connection: &Connection, boot: &str) -> rusqlite::Result<Option<LastRun>> {
    let read =
        |row: &Row<'_>| Ok(LastRun { rebooted: row.get::<_, String>(0)? != boot, got_on: row.get(1)? });
    let last = connection.query_row("SELECT boot, got_on FROM started", [], read).optional()?;
    connection.execute("INSERT OR REPLACE INTO started (one, boot, got_on) VALUES (1, ?, 0)", [boot])?;
    Ok(last)
}

/// Notes that a job has made a record since the service was started.
pub(super) fn set_got_on(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("UPDATE started SET got_on = 1", []).map(drop)
}

/// Returns the number of the next job, as far as the table knows.
pub(super) fn next(connection: &Connection) -> rusqlite::Result<JobId> {
    let last = connection
        .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'", [], |row| row.get::<_, i64>(0))
        .optional()?;
    Ok(JobId(last.unwrap_or(0).cast_unsigned() + 1))
}

/// Reserves the numbers up to `last`, so that no new job gets them.
pub(super) fn reserve(connection: &Connection, last: Option<JobId>) -> rusqlite::Result<()> {
    let Some(last) = last.filter(|last| next(connection).is_ok_and(|next| next <= *last)) else {
        return Ok(());
    };
    let last = [last.0.cast_signed()];
    if connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'jobs'", last)? == 0 {
        connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('jobs', ?)", last)?;
    }
    Ok(())
}

pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
    parsed(index, row.get_ref(index)?.as_str()?)
}

fn parsed<T: DeserializeOwned>(index: usize, text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error))
    })
}

fn text(value: &impl Serialize) -> String {
    // Cannot fail: keys are strings, and numbers are finite.
    serde_json::to_string(value).unwrap_or_default()
}
