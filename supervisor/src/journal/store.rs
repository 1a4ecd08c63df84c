//! The journal file: SQLite in write-ahead mode, with one writer.
//!
//! It is locked while it is open, so that two supervisors cannot write one output. The kernel releases the
//! lock when its holder dies. With an exclusive lock SQLite needs no shared-memory file, so it works on
//! network file systems. Each commit is a transaction that is on disk before the next begins (`synchronous =
//! FULL`). Only the first and last writes of a run are not synced, because a run of one target must not take
//! twice as long.
//!
//! Invariant: a file that this program did not write is never changed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};
use rustix::fs::syncfs;

use super::fingerprint::Fingerprint;
use super::identity::Fact;
use super::lists::{self, ListChanges};
use super::reading::{Wrong, read};
use super::state::Recorded;
use super::{Finished, HeldRecord, JournalError, Prefix, State, Tally, beside, held, started};
use crate::side_file;

/// Identifies the file in SQLite's header: `MUST`.
const APPLICATION_ID: i32 = 0x4d55_5354;

/// The version of the tables. Increases when their meaning changes.
const SCHEMA: i32 = 1;

/// Number of sets after which they are merged into one: four minutes of commits.
const SETS_MAX: u64 = 256;

/// One row: what was learned about hosts, as JSON.
const HOSTS: &str = "CREATE TABLE IF NOT EXISTS hosts (one INTEGER PRIMARY KEY, learned TEXT NOT NULL)";

/// One row: how much of the file of a crawl's pages counts. Journals of older versions have no such table.
const FOUND: &str = "CREATE TABLE IF NOT EXISTS found (one INTEGER PRIMARY KEY, bytes INTEGER NOT NULL)";

const TABLES: &str = "
    DROP TABLE IF EXISTS lists;
    DROP TABLE IF EXISTS job; DROP TABLE IF EXISTS finished; DROP TABLE IF EXISTS progress;
    DROP TABLE IF EXISTS hosts; DROP TABLE IF EXISTS held; DROP TABLE IF EXISTS started;
    DROP TABLE IF EXISTS found;
    -- What was asked for: flags and inputs, as JSON.
    CREATE TABLE job (flags TEXT NOT NULL, inputs TEXT NOT NULL);
    -- Ids whose records are in the output, a roaring bitmap for each commit.
    CREATE TABLE finished (number INTEGER PRIMARY KEY, ids BLOB NOT NULL);
    -- One row: how long the output is, which targets had been read, counts as JSON.
    CREATE TABLE progress (
        output_bytes INTEGER NOT NULL, targets INTEGER NOT NULL, digest BLOB NOT NULL,
        tally TEXT NOT NULL, complete INTEGER NOT NULL
    );";

/// The new records since the last commit, and the totals.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// Targets finished since the last commit.
    pub fresh: Finished,
    /// All counts.
    pub tally: Tally,
    /// All targets read.
    pub prefix: Prefix,
    /// The output's length.
    pub output_bytes: u64,
    /// What was learned about hosts, if that is news.
    pub hosts: Option<String>,
    /// Records that wait for an earlier one, at the end of a run. During a run, those of the run before
    /// stay.
    pub held: Vec<HeldRecord>,
    /// At the end of a run, when all that it sent has a record: what earlier runs may have sent, and has none.
    pub uncertain: Option<Finished>,
    /// The length of the file of a crawl's pages, if it is one. The file must be synced already.
    pub found_bytes: Option<u64>,
    /// What became of lists of pages since the last commit.
    pub lists: ListChanges,
}

/// The open journal.
#[derive(Debug)]
pub struct Store {
    /// `None` only during the removal.
    connection: Option<Connection>,
    path: PathBuf,
    /// Number of sets in the table.
    sets: u64,
    /// Whether the journal is new and the output untouched. Such a journal is removed if the run does not get
    /// further.
    newborn: bool,
    /// Receives the committed length of the output.
    committed: Option<Arc<AtomicU64>>,
    /// The directory of the files that records name.
    files: Option<File>,
}

impl Store {
    /// The suffix for records from which the output will be built.
    pub const RECORDS: &str = ".records";

    /// Returns the files of the journal at `path`, in the order of removal. The journal is last, so that an
    /// interrupted removal is found.
    pub(super) fn files(path: &Path) -> [PathBuf; 6] {
        [Self::RECORDS, ".part", "-wal", "-shm", "-journal", ""].map(|suffix| beside(path, suffix))
    }

    /// Opens or creates the journal at `path`, and locks it. Also returns its content if it is not new.
    ///
    /// # Errors
    /// If it cannot be opened, is damaged, belongs to another program, or is in use by another supervisor.
    pub fn open(path: &Path) -> Result<(Self, Option<Recorded>), JournalError> {
        // Created here and not by SQLite, to be readable by its owner only: URLs may contain secrets.
        let created = match side_file::create(path) {
            Ok(_) => true,
            // Not opened here, because closing it would release all locks of this process on it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(cause) => return Err(JournalError::Open { path: path.to_owned(), cause }),
        };
        let mut opened = Self::open_existing(path);
        match &mut opened {
            Ok((store, _)) => store.newborn = created,
            Err(JournalError::Locked { .. }) => {}
            Err(_) if created => drop(fs::remove_file(path)),
            Err(_) => {}
        }
        opened
    }

    fn open_existing(path: &Path) -> Result<(Self, Option<Recorded>), JournalError> {
        let sqlite = |error| JournalError::from_sqlite(path, error);
        let connection = connect(path).map_err(sqlite)?;
        let mut store = Self {
            connection: None,
            path: path.to_owned(),
            sets: 0,
            newborn: false,
            committed: None,
            files: None,
        };
        let ours = is_ours(&connection, path)?;
        // This changes the file, so it comes after the checks. Nothing is synced before `settle`.
        connection.pragma_update(None, "synchronous", "OFF").map_err(sqlite)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(sqlite)?;
        let mut recorded = None;
        if ours {
            let (found, sets) = read(&connection).map_err(|wrong| match wrong {
                Wrong::Sqlite(error) => sqlite(error),
                Wrong::Content(why) => JournalError::Damaged { path: path.to_owned(), why },
            })?;
            store.sets = sets;
            recorded = Some(found);
        }
        store.connection = Some(connection);
        Ok((store, recorded))
    }

    /// Replaces the content of the journal with a job that has done nothing yet. Does not sync.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub fn begin(&mut self, flags: &[Fact], inputs: &[Fingerprint]) -> Result<(), JournalError> {
        let flags = serde_json::to_string(flags).map_err(|error| self.wrong(error.to_string()))?;
        let inputs = serde_json::to_string(inputs).map_err(|error| self.wrong(error.to_string()))?;
        let tally = tally_text(&Tally::default());
        self.write(|transaction| {
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", SCHEMA)?;
            transaction.execute("INSERT INTO job VALUES (?, ?)", params![flags, inputs])?;
            let digest = Prefix::default().digest.to_le_bytes();
            transaction.execute("INSERT INTO progress VALUES (0, 0, ?, ?, 0)", params![digest, tally])?;
            Ok(())
        })?;
        self.sets = 0;
        Ok(())
    }

    /// Writes and syncs `commit` atomically. The output must be synced already.
    ///
    /// # Errors
    /// If the journal cannot be written. Earlier commits stay.
    pub fn commit(&mut self, commit: &Commit) -> Result<(), JournalError> {
        let Commit { fresh, tally, prefix, output_bytes, hosts, held, uncertain, lists, found_bytes } =
            commit;
        let joined = self.sets + 1 >= SETS_MAX;
        self.write(|transaction| {
            transaction
                .prepare_cached("INSERT INTO finished (ids) VALUES (?)")?
                .execute([fresh.to_bytes()])?;
            if joined {
                join_sets(transaction)?;
            }
            if let Some(uncertain) = uncertain {
                started::replace(transaction, uncertain)?;
            }
            transaction
                .prepare_cached("UPDATE progress SET output_bytes = ?, targets = ?, digest = ?, tally = ?")?
                .execute(params![
                    output_bytes.cast_signed(),
                    prefix.targets.cast_signed(),
                    prefix.digest.to_le_bytes(),
                    tally_text(tally)
                ])?;
            if let Some(bytes) = found_bytes {
                transaction.prepare_cached(FOUND)?.execute([])?;
                let mut insert = transaction.prepare_cached("INSERT OR REPLACE INTO found VALUES (1, ?)")?;
                insert.execute([bytes.cast_signed()])?;
            }
            if !lists.is_empty() {
                lists::write(transaction, lists)?;
            }
            if let Some(hosts) = hosts {
                // The journal may be that of an older version.
                transaction.execute(HOSTS, [])?;
                transaction.prepare_cached("INSERT OR REPLACE INTO hosts VALUES (1, ?)")?.execute([hosts])?;
            }
            Ok(())
        })?;
        // A transaction of its own: they may be large, and the rest must not fail with them.
        if !held.is_empty() {
            self.write(|transaction| held::write(transaction, held))?;
        }
        self.sets = if joined { 1 } else { self.sets + 1 };
        if let Some(committed) = &self.committed {
            committed.store(*output_bytes, Ordering::Release);
        }
        Ok(())
    }

    /// Writes and syncs that these targets may have been sent.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub fn note(&mut self, ids: &[u64]) -> Result<(), JournalError> {
        self.write(|transaction| started::write(transaction, ids))
    }

    /// Reads the records that wait for an earlier one.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub fn held(&mut self, state: &State) -> Result<Vec<HeldRecord>, JournalError> {
        let path = self.path.clone();
        held::read(self.connection()?, &state.held).map_err(|error| JournalError::from_sqlite(&path, error))
    }

    /// Marks the job as complete, before the journal is removed: a process that has the file open must
    /// not find half a job in it. Does not sync: the output is on disk, and if the journal reappears
    /// after a power failure, only a little work is repeated.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub fn complete(&mut self) -> Result<(), JournalError> {
        let path = self.path.clone();
        let quick = self.connection()?.pragma_update(None, "synchronous", "OFF");
        quick.map_err(|error| JournalError::from_sqlite(&path, error))?;
        self.write(|transaction| transaction.execute("UPDATE progress SET complete = 1", []).map(drop))?;
        // The removal takes the write-ahead file away before the journal.
        let whole = self.connection()?.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        whole.map_err(|error| JournalError::from_sqlite(&path, error))
    }

    /// Sets `committed` to the length of the output after each commit.
    pub fn report_to(&mut self, committed: Arc<AtomicU64>) {
        self.committed = Some(committed);
    }

    /// Makes each commit sync the file system of this directory first, because the records name files in it.
    pub fn sync_files_of(&mut self, directory: File) {
        self.files = Some(directory);
    }

    /// Syncs the files that records name. One call for all of them costs less than one for each.
    ///
    /// # Errors
    /// If they cannot be synced.
    pub fn sync_files(&self) -> io::Result<()> {
        self.files.as_ref().map_or(Ok(()), |directory| Ok(syncfs(directory)?))
    }

    /// Keeps the journal from here on, because the output is being written.
    pub fn keep(&mut self) {
        self.newborn = false;
    }

    /// Syncs the journal, and from here on every commit.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub fn settle(&mut self) -> Result<(), JournalError> {
        let path = self.path.clone();
        let connection = self.connection()?;
        let settle = || {
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
        };
        settle().map_err(|error| JournalError::from_sqlite(&path, error))
    }

    /// Closes the journal and removes its files.
    pub fn remove(&mut self) {
        self.newborn = false;
        if let Some(connection) = self.connection.take() {
            // Otherwise, closing would first checkpoint and sync.
            let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
        for path in Self::files(&self.path) {
            let _ = fs::remove_file(path);
        }
    }

    /// Returns the path of the journal.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the output of the journal.
    #[must_use]
    pub fn output(&self) -> PathBuf {
        self.path.with_extension("")
    }

    fn connection(&mut self) -> Result<&mut Connection, JournalError> {
        let path = &self.path;
        self.connection.as_mut().ok_or_else(|| JournalError::Write {
            path: path.clone(),
            cause: "it is closed".to_owned(),
            full: false,
        })
    }

    fn write(
        &mut self,
        change: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), JournalError> {
        let path = self.path.clone();
        let connection = self.connection()?;
        let write = || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            change(&transaction)?;
            transaction.commit()
        };
        write().map_err(|error| JournalError::from_sqlite(&path, error))
    }

    fn wrong(&self, why: String) -> JournalError {
        JournalError::Damaged { path: self.path.clone(), why }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.newborn {
            self.remove();
        }
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    // The user may have named a directory through links; the journal itself is never one.
    let connection = Connection::open_with_flags(without_links(path), flags)?;
    // A lock is held until its run ends, so waiting would look like hanging.
    connection.busy_timeout(Duration::ZERO)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    Ok(connection)
}

/// Returns `path` with the links of its directory resolved.
fn without_links(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match (fs::canonicalize(parent.unwrap_or(Path::new("."))), path.file_name()) {
        (Ok(directory), Some(name)) => directory.join(name),
        // Opening it fails with the same error.
        (Err(_), _) | (_, None) => path.to_owned(),
    }
}

/// Whether the file contains a journal of a supported version; false if it is empty.
fn is_ours(connection: &Connection, path: &Path) -> Result<bool, JournalError> {
    let sqlite = |error| JournalError::from_sqlite(path, error);
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0)).map_err(sqlite)?;
    let application = number("application_id").map_err(sqlite)?;
    // Left by a run that was killed while it created the journal.
    if tables == 0 && application == 0 {
        return Ok(false);
    }
    if application != APPLICATION_ID {
        return Err(JournalError::Foreign { path: path.to_owned() });
    }
    match number("user_version").map_err(sqlite)? {
        SCHEMA => Ok(true),
        schema => Err(JournalError::OtherSchema { path: path.to_owned(), schema, known: SCHEMA }),
    }
}

fn tally_text(tally: &Tally) -> String {
    // Cannot fail: the value has only numbers under fixed keys.
    serde_json::to_string(tally).unwrap_or_default()
}

fn join_sets(transaction: &rusqlite::Transaction<'_>) -> rusqlite::Result<()> {
    let mut all = Finished::default();
    {
        let mut sets = transaction.prepare_cached("SELECT ids FROM finished")?;
        let mut rows = sets.query([])?;
        while let Some(row) = rows.next()? {
            let set = Finished::from_bytes(row.get_ref(0)?.as_blob()?).map_err(unreadable)?;
            all.merge(set);
        }
    }
    transaction.execute("DELETE FROM finished", [])?;
    transaction.execute("INSERT INTO finished (ids) VALUES (?)", [all.to_bytes()])?;
    started::join(transaction, &all)
}

fn unreadable(error: io::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(error))
}
