//! Keeps the notes of a run, on the thread that writes its output.
//!
//! Notes are committed before the journal is. So after a kill, a record that is certain has its note, and a page that
//! is fetched again is noted again: the later note counts.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rusqlite::{Connection, ErrorCode, OpenFlags, params};
use shared::since::url_of;

use super::earlier::Earlier;
use super::file::{APPLICATION_ID, Found, INDEX, SCHEMA, TABLES, checksum, key, open};
use super::recipe::{Recipe, differences};
use super::{PageNotes, SinceError, notes_of, part_of};
use crate::journal::beside;
use crate::side_file;

/// Keeps notes.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// `None` after a failure. Records are worth more than notes, so the run goes on.
    connection: Option<Connection>,
    path: PathBuf,
    /// What an earlier run knows, if that can be used.
    earlier: Option<Arc<Earlier>>,
    /// Whether a transaction is open.
    is_begun: bool,
    /// Why no more notes are kept.
    fault: Arc<OnceLock<String>>,
}

impl Keeper {
    /// Begins a file of notes, or goes on with that of a run that is resumed.
    ///
    /// # Errors
    /// If it cannot be written, or a file of another program has its name.
    pub(super) fn begin(
        output: &Path,
        recipe: &Recipe,
        resumes: bool,
        earlier: Option<Arc<Earlier>>,
    ) -> Result<Self, SinceError> {
        let (path, complete) = (part_of(output), notes_of(output));
        if let Found::Foreign = open(&complete, OpenFlags::SQLITE_OPEN_READ_ONLY) {
            return Err(SinceError::Foreign { path: complete });
        }
        let connection = match open(&path, OpenFlags::SQLITE_OPEN_READ_WRITE) {
            Found::Foreign => return Err(SinceError::Foreign { path }),
            Found::Unreadable(why) => {
                let cause = format!("{} cannot be read ({why})", path.display());
                return Err(SinceError::Keep { path: complete, cause });
            }
            Found::Ours { connection, recipe: then, .. }
                if resumes && differences(&then, recipe).is_none() =>
            {
                go_on(connection)
            }
            // A run that is resumed with a damaged one fetches more in the next run, and no less in this one.
            Found::Nothing | Found::OtherSchema | Found::Damaged(_) | Found::Ours { .. } => {
                remove(&path);
                create(&path, recipe)
            }
        };
        match connection {
            Ok(connection) => {
                let fault = Arc::default();
                Ok(Self { connection: Some(connection), path, earlier, is_begun: false, fault })
            }
            Err(cause) => Err(SinceError::Keep { path, cause }),
        }
    }

    /// Where it is said why no more notes are kept, once that is so.
    pub(super) fn fault(&self) -> Arc<OnceLock<String>> {
        Arc::clone(&self.fault)
    }

    /// Adds notes, which are certain after the next [`Self::commit`].
    pub(crate) fn add(&mut self, notes: &PageNotes) {
        if notes.is_empty() {
            return;
        }
        let (is_begun, earlier) = (self.is_begun, self.earlier.clone());
        let known = notes.passed_on.iter().filter_map(|input| earlier.as_ref()?.note(input)).map(Cow::Owned);
        // Last, because a later note counts.
        let all = known.chain(notes.made.iter().map(Cow::Borrowed));
        self.write(|connection| {
            if !is_begun {
                connection.execute_batch("BEGIN")?;
            }
            let mut insert =
                connection.prepare_cached("INSERT INTO page (key, checksum, note) VALUES (?, ?, ?)")?;
            for note in all {
                if let Some(url) = url_of(&note) {
                    insert.execute(params![key(url), checksum(&note), note.as_ref()])?;
                }
            }
            Ok(())
        });
        self.is_begun = true;
    }

    /// Writes all that was added.
    pub(crate) fn commit(&mut self) {
        if std::mem::take(&mut self.is_begun) {
            self.write(|connection| connection.execute_batch("COMMIT"));
        }
    }

    /// Closes the file, with its index if the run is complete.
    pub(crate) fn close(mut self, is_complete: bool) {
        self.commit();
        if is_complete {
            self.write(|connection| {
                connection.execute_batch(INDEX)?;
                connection.execute("UPDATE run SET complete = 1", [])?;
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
                // So that it is one file, which can be renamed.
                connection.pragma_update(None, "journal_mode", "DELETE")
            });
        }
    }

    fn write(&mut self, work: impl FnOnce(&Connection) -> rusqlite::Result<()>) {
        let Some(connection) = &self.connection else { return };
        if let Err(error) = work(connection) {
            self.fault.get_or_init(|| in_words(&error));
            self.connection = None;
            // What it has is of no use without the rest, and the disk may be full.
            remove(&self.path);
        }
    }
}

/// Gives the notes of a complete run their name, if it was killed before it could do that, or could not end. A run that
/// goes on with them must not do this.
///
/// # Errors
/// If they cannot be renamed, or a file of another program has the name.
pub(super) fn finish_earlier(output: &Path) -> Result<(), SinceError> {
    let (part, path) = (part_of(output), notes_of(output));
    let Found::Ours { connection, complete: true, .. } = open(&part, OpenFlags::SQLITE_OPEN_READ_WRITE)
    else {
        return Ok(());
    };
    if let Found::Foreign = open(&path, OpenFlags::SQLITE_OPEN_READ_ONLY) {
        return Err(SinceError::Foreign { path });
    }
    let keep = |cause| SinceError::Keep { path: path.clone(), cause };
    // So that it is one file.
    connection.pragma_update(None, "journal_mode", "DELETE").map_err(|error| keep(in_words(&error)))?;
    drop(connection);
    fs::rename(&part, &path).map_err(|error| keep(error.to_string()))
}

fn create(path: &Path, recipe: &Recipe) -> Result<Connection, String> {
    // Created here and not by SQLite, to be readable by its owner only: URLs may contain secrets.
    side_file::create(path).map_err(|error| error.to_string())?;
    let begin = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        set_up(&connection)?;
        connection.execute_batch("BEGIN")?;
        connection.execute_batch(TABLES)?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        connection.pragma_update(None, "user_version", SCHEMA)?;
        connection.execute("INSERT INTO run VALUES (?, 0)", [recipe.text()])?;
        connection.execute_batch("COMMIT")?;
        Ok(connection)
    };
    begin().map_err(|error| in_words(&error))
}

fn go_on(connection: Connection) -> Result<Connection, String> {
    let begin = || {
        set_up(&connection)?;
        connection.execute("UPDATE run SET complete = 0", [])
    };
    match begin() {
        Ok(_) => Ok(connection),
        Err(error) => Err(in_words(&error)),
    }
}

/// A power failure may cost the last notes, but not the file.
fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")
}

fn remove(path: &Path) {
    for suffix in ["-wal", "-shm", "-journal", ""] {
        let _ = fs::remove_file(beside(path, suffix));
    }
}

fn in_words(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full".to_owned(),
        _ => error.to_string(),
    }
}
