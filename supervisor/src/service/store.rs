//! What survives: `state.db` in the state directory, SQLite in write-ahead mode with one writer, and
//! a directory for each job beside it.
//!
//! ```text
//! state.db            which jobs there are, and in which state
//! lock                held for as long as a service uses the directory
//! incoming/…          uploads that nobody has been answered for: removed at the start
//! jobs/17/0/urls.csv  uploads of job 17
//! jobs/17/records.jsonl, records.jsonl.journal
//! ```
//! Invariant: what a method has returned for is on the disk. A directory without its row is what a
//! crash left in the middle of taking in or removing a job, and is removed at the start.

mod schema;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use shared::clock;
use shared::record::ErrorKind;

use super::ask::Idempotency;
use crate::summary::Summary;
use crate::view::{JobCounts, JobId, JobState};

/// How long the state may be locked before that is taken for another service's doing.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Time between two looks meanwhile.
const LOCK_POLL: Duration = Duration::from_millis(10);

/// The records of a job, within its directory.
pub(super) const RECORDS: &str = "records.jsonl";

/// Why the state cannot be used, or not be changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The state directory cannot be made, opened or written to.
    #[error("cannot use the state directory {}: {cause}; --state-dir names another", path.display())]
    Directory {
        /// The directory, or what in it.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Another service has it.
    #[error("another service uses the state directory {}; stop it, or give this one another with --state-dir", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The database is of a later version.
    #[error("{} was written by a newer version (schema {found}, and this one knows {known}); install that one", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i32,
        /// The newest one known here.
        known: i32,
    },
    /// The database is another program's, or damaged.
    #[error("{}: {cause}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        cause: rusqlite::Error,
    },
}

/// A job, as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    pub(super) id: JobId,
    pub(super) name: Option<String>,
    pub(super) command: String,
    pub(super) priority: i32,
    pub(super) state: JobState,
    pub(super) submitted_at: String,
    pub(super) started_at: Option<String>,
    pub(super) finished_at: Option<String>,
    pub(super) counts: JobCounts,
    pub(super) errors: BTreeMap<ErrorKind, u64>,
    pub(super) summary: Option<Summary>,
    pub(super) exit_code: Option<u8>,
    pub(super) error: Option<String>,
    pub(super) retry_of: Option<JobId>,
    /// Bytes of its records that are certain.
    pub(super) committed: u64,
    /// Bytes of its directory, once it has ended.
    pub(super) bytes: u64,
}

/// A job that is new.
#[derive(Debug)]
pub(super) struct New<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) command: &'a str,
    pub(super) priority: i32,
    pub(super) document: &'a Map<String, Value>,
    /// Its uploads, as paths within its directory.
    pub(super) uploads: &'a [PathBuf],
    pub(super) submitted_at: &'a str,
    pub(super) retry_of: Option<JobId>,
    pub(super) idempotency: Option<&'a Idempotency>,
    pub(super) sender: &'a str,
}

/// What a job is to do.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) document: Map<String, Value>,
    pub(super) uploads: Vec<PathBuf>,
}

/// The state, open and locked.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    directory: PathBuf,
    _lock: Flock<File>,
}

impl Store {
    /// Opens or makes the state in `directory`, which nobody else may use meanwhile.
    pub(super) fn open(directory: &Path) -> Result<Self, StoreError> {
        let wrong = |path: &Path| {
            let path = path.to_owned();
            move |cause| StoreError::Directory { path, cause }
        };
        make_directory(directory).map_err(wrong(directory))?;
        let lock_path = directory.join("lock");
        let mut options = OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false).mode(0o600).open(&lock_path);
        let lock = lock.map_err(wrong(&lock_path))?;
        let lock = locked(lock).map_err(|errno| {
            if errno == Errno::EWOULDBLOCK {
                StoreError::Locked { path: directory.to_owned() }
            } else {
                StoreError::Directory { path: lock_path.clone(), cause: errno.into() }
            }
        })?;
        for name in ["jobs", "incoming"] {
            let path = directory.join(name);
            make_directory(&path).map_err(wrong(&path))?;
        }
        let path = directory.join("state.db");
        let created = options.create_new(true).open(&path);
        match created {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(cause) => return Err(StoreError::Directory { path, cause }),
        }
        let connection = schema::open(&path)?;
        Ok(Self { connection, directory: directory.to_owned(), _lock: lock })
    }

    /// Takes away what a crash left behind: uploads of jobs that were never answered for, and
    /// directories of jobs that are not there.
    pub(super) fn sweep(&self) -> Result<(), StoreError> {
        let incoming = self.directory.join("incoming");
        for path in entries(&incoming)? {
            remove(&path)?;
        }
        let known: std::collections::BTreeSet<JobId> = self.all()?.iter().map(|kept| kept.id).collect();
        for path in entries(&self.directory.join("jobs"))? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !name.parse().is_ok_and(|id| known.contains(&id)) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// All jobs, by number.
    pub(super) fn all(&self) -> Result<Vec<Kept>, StoreError> {
        let read = || {
            let mut statement =
                self.connection.prepare(&format!("SELECT {COLUMNS} FROM jobs ORDER BY id"))?;
            statement.query_map([], kept)?.collect::<Result<Vec<_>, _>>()
        };
        read().map_err(|error| self.wrong(error))
    }

    /// The job of an idempotency key, and the digest of what was sent under it.
    pub(super) fn by_key(&self, key: &str) -> Result<Option<(JobId, [u8; 32])>, StoreError> {
        let read = || {
            let mut statement =
                self.connection.prepare_cached("SELECT id, digest FROM jobs WHERE idempotency_key = ?")?;
            statement
                .query_row([key], |row| Ok((JobId(row.get::<_, i64>(0)?.cast_unsigned()), row.get(1)?)))
                .optional()
        };
        read().map_err(|error| self.wrong(error))
    }

    /// What a job is to do.
    pub(super) fn errand(&self, id: JobId) -> Result<Errand, StoreError> {
        let directory = self.job_directory(id);
        let read = || {
            let mut statement =
                self.connection.prepare_cached("SELECT document, uploads FROM jobs WHERE id = ?")?;
            statement.query_row([id.0.cast_signed()], |row| {
                let uploads: Vec<PathBuf> = json(row, 1)?;
                let uploads = uploads.into_iter().map(|path| directory.join(path)).collect();
                Ok(Errand { document: json(row, 0)?, uploads })
            })
        };
        read().map_err(|error| self.wrong(error))
    }

    /// Takes in a job; `incoming` is the directory with its uploads, if it has any, and becomes the job's.
    pub(super) fn insert(&mut self, new: &New<'_>, incoming: Option<&Path>) -> Result<Kept, StoreError> {
        let directory = self.directory.join("jobs");
        let path = self.directory.join("state.db");
        let database = |cause| StoreError::Database { path: path.clone(), cause };
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(database)?;
        let id = insert(&transaction, new).map_err(database)?;
        let own = directory.join(id.0.to_string());
        // Before the row is certain: what is answered for must have its files.
        let placed = match incoming {
            Some(incoming) => fs::rename(incoming, &own),
            None => DirBuilder::new().mode(0o700).create(&own),
        };
        let placed = placed.and_then(|()| File::open(&directory)?.sync_all());
        let placed = placed.map_err(|cause| StoreError::Directory { path: own.clone(), cause });
        if let Err(error) = placed.and_then(|()| transaction.commit().map_err(database)) {
            // The number will be used again, and the place must be free for it.
            let _ = fs::remove_dir_all(&own);
            return Err(error);
        }
        self.get(id)
    }

    /// One job.
    pub(super) fn get(&self, id: JobId) -> Result<Kept, StoreError> {
        let statement = format!("SELECT {COLUMNS} FROM jobs WHERE id = ?");
        let read = || self.connection.prepare_cached(&statement)?.query_row([id.0.cast_signed()], kept);
        read().map_err(|error| self.wrong(error))
    }

    /// Keeps a job as it is now.
    pub(super) fn update(&self, job: &Kept) -> Result<(), StoreError> {
        let write = || {
            let mut statement = self.connection.prepare_cached(
                "UPDATE jobs SET state = ?, started_at = ?, finished_at = ?, counts = ?, errors = ?, summary = ?,
                 exit_code = ?, error = ?, committed = ?, bytes = ? WHERE id = ?",
            )?;
            statement.execute(params![
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
        };
        write().map(drop).map_err(|error| self.wrong(error))
    }

    /// Forgets a job. Its directory is still there; see [`remove`].
    pub(super) fn delete(&self, id: JobId) -> Result<(), StoreError> {
        let write = || self.connection.execute("DELETE FROM jobs WHERE id = ?", [id.0.cast_signed()]);
        write().map(drop).map_err(|error| self.wrong(error))
    }

    /// Where the files of a job are.
    pub(super) fn job_directory(&self, id: JobId) -> PathBuf {
        self.directory.join("jobs").join(id.0.to_string())
    }

    /// Where the records of a job are.
    pub(super) fn records(&self, id: JobId) -> PathBuf {
        self.job_directory(id).join(RECORDS)
    }

    fn wrong(&self, cause: rusqlite::Error) -> StoreError {
        StoreError::Database { path: self.directory.join("state.db"), cause }
    }
}

/// Locks the state. A service that was killed a moment ago may hold it still: its files are closed while it dies.
fn locked(mut file: File) -> Result<Flock<File>, Errno> {
    let until = clock::now() + LOCK_PATIENCE;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((again, Errno::EWOULDBLOCK)) if clock::now() < until => file = again,
            Err((_, errno)) => return Err(errno),
        }
        thread::park_timeout(LOCK_POLL);
    }
}

const COLUMNS: &str = "id, name, command, priority, state, submitted_at, started_at, finished_at, counts, errors, \
                       summary, exit_code, error, retry_of, committed, bytes";

fn insert(transaction: &rusqlite::Transaction<'_>, new: &New<'_>) -> rusqlite::Result<JobId> {
    transaction
        .prepare_cached(
            "INSERT INTO jobs (name, command, priority, document, uploads, state, submitted_at, counts, errors,
             retry_of, idempotency_key, digest, sender) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            new.name,
            new.command,
            new.priority,
            text(&new.document),
            text(&new.uploads),
            text(&JobState::Queued),
            new.submitted_at,
            text(&JobCounts::default()),
            "{}",
            new.retry_of.map(|id| id.0.cast_signed()),
            new.idempotency.map(|idempotency| idempotency.key.as_str()),
            new.idempotency.map(|idempotency| idempotency.digest),
            new.sender,
        ])?;
    Ok(JobId(transaction.last_insert_rowid().cast_unsigned()))
}

fn kept(row: &Row<'_>) -> rusqlite::Result<Kept> {
    let number = |index| row.get::<_, i64>(index).map(i64::cast_unsigned);
    Ok(Kept {
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

fn json<T: DeserializeOwned>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
    parsed(index, row.get_ref(index)?.as_str()?)
}

fn parsed<T: DeserializeOwned>(index: usize, text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error))
    })
}

fn text(value: &impl Serialize) -> String {
    // Keys are texts and numbers are finite: nothing here is what JSON could not hold.
    serde_json::to_string(value).unwrap_or_default()
}

fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let read = || fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    read().map_err(|cause| StoreError::Directory { path: directory.to_owned(), cause })
}

/// Removes a file or a directory with all that is in it; one that is not there is as good.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::Directory { path: path.to_owned(), cause: error })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Bytes of all files in a directory.
pub(super) fn size(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests;
