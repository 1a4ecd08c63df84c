//! The persistent state: `state.db` in the state directory, SQLite in write-ahead mode with one writer, and a
//! directory per job beside it.
//!
//! ```text
//! state.db              the jobs and their states
//! hosts.json            what was learned about hosts
//! lock                  locked while a service uses the directory
//! incoming/…            uploads of unanswered submissions, removed at the start
//! jobs/17/job.json      the submission of job 17
//! jobs/17/state.json    a copy of its row
//! jobs/17/0/urls.csv    its uploads
//! jobs/17/records.jsonl, records.jsonl.journal
//! trash/17              a removed job, whose files are deleted at the next start at the latest
//! set-aside/…           files that a start did not understand, never touched again
//! ```
//! Invariant: when a method returns, its change is on disk. Only `trash` and `incoming` are removed for lack
//! of a row; see `recovery`.

mod manifest;
mod recovery;
mod rows;
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
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::clock;
use shared::record::ErrorKind;

use self::manifest::JobFile;
pub(super) use self::recovery::named;
use self::rows::{COLUMNS, job_row, json};
use super::request::Idempotency;
use crate::summary::Summary;
use crate::view::{JobCounts, JobId, JobState};

/// How long to wait for the lock before reporting another service.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Time between two attempts to lock.
const LOCK_POLL: Duration = Duration::from_millis(10);

/// Where the kernel tells one start of the machine from another.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The name of the records file in a job's directory.
pub(super) const RECORDS: &str = "records.jsonl";

/// Why the state cannot be opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The state directory cannot be created, opened or written.
    #[error("cannot use the state directory {}: {cause}; for another directory, use --state-dir", path.display())]
    Directory {
        /// The directory, or a path in it.
        path: PathBuf,
        /// The system's error.
        cause: io::Error,
    },
    /// Another service uses the directory.
    #[error("another service uses the state directory {}; stop it, or use another directory with --state-dir", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The database has a newer schema.
    #[error("a newer version wrote {} (schema {found}; this version supports {known}); install that version", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// The schema of the database.
        found: i32,
        /// The newest schema that this version supports.
        known: i32,
    },
    /// The database belongs to another program.
    #[error("{} belongs to another program; use another directory with --state-dir", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// The database cannot be read or written.
    #[error("{}: {cause}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// SQLite's error.
        cause: rusqlite::Error,
    },
}

/// The row of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct JobRow {
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
    /// The committed bytes of its records.
    pub(super) committed: u64,
    /// Size of its directory in bytes, once the job has ended.
    pub(super) bytes: u64,
}

/// A new job.
#[derive(Debug)]
pub(super) struct NewJob<'a> {
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

/// The deaths of the service while a job ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Deaths {
    /// How many there were in a row in which no job had made a record.
    pub(super) silent: u32,
    /// How many there were in a row without a new record on disk between them.
    pub(super) stuck: u32,
    /// The inputs whose records were on disk at the last one.
    pub(super) done: u64,
    /// Whether the job has made a record since the last one, or has run for long.
    pub(super) cleared: bool,
}

impl Deaths {
    /// Deaths in a row after which a silent job is set aside. One may be the fault of another job, or of a person.
    const SILENT_MAX: u32 = 2;

    /// The same of a job that makes records, which are lost each time.
    const STUCK_MAX: u32 = 6;

    /// Counts another death, when the records of `done` inputs are on disk. If other jobs `got_on` before it, it says
    /// little about this one, which may just have been started. It is started alone next time.
    pub(super) const fn with(self, done: u64, got_on: bool) -> Self {
        let gets_on = done > self.done;
        let silent = match self.silent {
            _ if gets_on || self.cleared => 0,
            silent if got_on => silent,
            silent => silent.saturating_add(1),
        };
        let stuck = if gets_on { 1 } else { self.stuck.saturating_add(1) };
        Self { silent, stuck, done, cleared: false }
    }

    /// Whether the service seems to die of the job.
    pub(super) const fn is_fatal(self) -> bool {
        self.silent >= Self::SILENT_MAX || self.stuck >= Self::STUCK_MAX
    }
}

/// What is known of the last time that the service ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LastRun {
    /// Whether the machine has started again since, or may have.
    rebooted: bool,
    /// Whether a job had made a record in it.
    got_on: bool,
}

/// The document and uploads of a job.
#[derive(Debug)]
pub(super) struct JobInput {
    pub(super) document: Map<String, Value>,
    pub(super) uploads: Vec<PathBuf>,
}

/// The opened and locked state.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    directory: PathBuf,
    /// Messages about what was missing or damaged.
    notes: Vec<String>,
    last: LastRun,
    _lock: Flock<File>,
}

impl Store {
    /// Opens or creates the state in `directory`, locks it, and repairs it if needed; see [`Self::notes`].
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
        for name in ["jobs", "incoming", "trash"] {
            let path = directory.join(name);
            make_directory(&path).map_err(wrong(&path))?;
        }
        let (connection, mut notes) = recovery::open(directory)?.reconcile()?;
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
        // That is no reason not to start.
        let last = rows::start(&connection, boot.trim()).unwrap_or_else(|error| {
            notes.push(format!(
                "{}: cannot read or store when the service was started ({error}); a job during which it died is \
                 started again without counting that",
                directory.join("state.db").display()
            ));
            None
        });
        let last = last.unwrap_or(LastRun { rebooted: true, got_on: false });
        Ok(Self { connection, directory: directory.to_owned(), notes, last, _lock: lock })
    }

    /// Whether the machine has started again since the service was started last, or may have.
    pub(super) const fn rebooted(&self) -> bool {
        self.last.rebooted
    }

    /// Counts a death of the service during a job of which `done` inputs are done.
    pub(super) fn count_death(&self, id: JobId, done: u64) -> Result<Deaths, StoreError> {
        let count = || {
            let deaths = rows::deaths(&self.connection, id)?.with(done, self.last.got_on);
            rows::set_deaths(&self.connection, id, deaths)?;
            Ok(deaths)
        };
        count().map_err(|error| self.wrong(error))
    }

    /// Notes that a job has made a record since the service was started.
    pub(super) fn set_got_on(&self) -> Result<(), StoreError> {
        rows::set_got_on(&self.connection).map_err(|error| self.wrong(error))
    }

    /// Notes that a job has made a record since the last death, or has run for long.
    pub(super) fn clear(&self, id: JobId) -> Result<(), StoreError> {
        rows::clear(&self.connection, id).map_err(|error| self.wrong(error))
    }

    /// Adds to [`Self::notes`].
    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Returns what was missing or damaged when the state was opened, and what was done about it.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns all jobs, by number.
    pub(super) fn all(&self) -> Result<Vec<JobRow>, StoreError> {
        let read = || {
            let mut statement =
                self.connection.prepare(&format!("SELECT {COLUMNS} FROM jobs ORDER BY id"))?;
            statement.query_map([], job_row)?.collect::<Result<Vec<_>, _>>()
        };
        read().map_err(|error| self.wrong(error))
    }

    /// Returns the job of an idempotency key, and the digest of its submission.
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

    /// Returns the document and uploads of a job. Its directory is asked first, because it is written once, and damage
    /// to it costs this job only.
    pub(super) fn input(&self, id: JobId) -> Result<JobInput, StoreError> {
        let directory = self.job_directory(id);
        if let Some(JobFile { document, uploads, .. }) = manifest::read_job(&directory) {
            let uploads = uploads.into_iter().map(|path| directory.join(path)).collect();
            return Ok(JobInput { document, uploads });
        }
        let read = || {
            let mut statement =
                self.connection.prepare_cached("SELECT document, uploads FROM jobs WHERE id = ?")?;
            statement.query_row([id.0.cast_signed()], |row| {
                let uploads: Vec<PathBuf> = json(row, 1)?;
                let uploads = uploads.into_iter().map(|path| directory.join(path)).collect();
                Ok(JobInput { document: json(row, 0)?, uploads })
            })
        };
        read().map_err(|error| self.wrong(error))
    }

    /// Inserts a job. `incoming` is the directory of its uploads, if any, and becomes the job's directory.
    pub(super) fn insert(&mut self, new: &NewJob<'_>, incoming: Option<&Path>) -> Result<JobRow, StoreError> {
        let directory = self.directory.join("jobs");
        let path = self.directory.join("state.db");
        let database = |cause| StoreError::Database { path: path.clone(), cause };
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(database)?;
        let id = rows::next(&transaction).map_err(database)?;
        let job = JobFile::of(id, new);
        rows::insert(&transaction, &job, &job.queued()).map_err(database)?;
        let own = directory.join(id.0.to_string());
        // Before the commit, because an answered job must have its files.
        place(&own, incoming, &job).map_err(|cause| StoreError::Directory { path: own.clone(), cause })?;
        let synced = File::open(&directory).and_then(|directory| directory.sync_all());
        let synced = synced.map_err(|cause| StoreError::Directory { path: directory.clone(), cause });
        if let Err(error) = synced.and_then(|()| transaction.commit().map_err(database)) {
            // The number will be reused, so its directory must not exist.
            let _ = fs::remove_dir_all(&own);
            return Err(error);
        }
        self.get(id)
    }

    /// Returns a job.
    pub(super) fn get(&self, id: JobId) -> Result<JobRow, StoreError> {
        let statement = format!("SELECT {COLUMNS} FROM jobs WHERE id = ?");
        let read = || self.connection.prepare_cached(&statement)?.query_row([id.0.cast_signed()], job_row);
        read().map_err(|error| self.wrong(error))
    }

    /// Stores the row of a job.
    pub(super) fn update(&self, job: &JobRow) -> Result<(), StoreError> {
        // Written first, so that the copy is never older than the row. A failure is harmless while the row
        // exists.
        if let Err(error) = manifest::write_state(&self.job_directory(job.id), job) {
            tracing::debug!(job = job.id.0, %error, "cannot write the copy of its row");
        }
        rows::update(&self.connection, job).map_err(|error| self.wrong(error))
    }

    /// Deletes a job. Returns the directory with its files; see [`remove`].
    pub(super) fn delete(&self, id: JobId) -> Result<PathBuf, StoreError> {
        let (own, trash) = (self.job_directory(id), self.directory.join("trash").join(id.0.to_string()));
        // Renamed first: a directory without a row would be recovered as a job whose row was lost.
        match fs::rename(&own, &trash) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::Directory { path: own, cause });
            }
            Ok(()) | Err(_) => {}
        }
        match rows::delete(&self.connection, id) {
            Ok(()) => Ok(trash),
            Err(error) => {
                // The row still exists, so restore its files.
                let _ = fs::rename(&trash, &own);
                Err(self.wrong(error))
            }
        }
    }

    /// Returns the directory of a job.
    pub(super) fn job_directory(&self, id: JobId) -> PathBuf {
        self.directory.join("jobs").join(id.0.to_string())
    }

    /// Returns the path of a job's records.
    pub(super) fn records(&self, id: JobId) -> PathBuf {
        self.job_directory(id).join(RECORDS)
    }

    /// Returns the path of what is known of robots.txt files.
    pub(super) fn robots(&self) -> PathBuf {
        self.directory.join("robots")
    }

    fn wrong(&self, cause: rusqlite::Error) -> StoreError {
        StoreError::Database { path: self.directory.join("state.db"), cause }
    }
}

/// Locks the state. Waits a little, because a service that was just killed holds the lock until its files are
/// closed.
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

/// Creates the directory of a job from the directory of its uploads, if any. An existing directory is not
/// touched.
fn place(own: &Path, incoming: Option<&Path>, job: &JobFile) -> io::Result<()> {
    let Some(incoming) = incoming else {
        DirBuilder::new().mode(0o700).create(own)?;
        // The number will be reused, so its directory must not exist.
        return manifest::write_job(own, job).inspect_err(|_| drop(fs::remove_dir_all(own)));
    };
    manifest::write_job(incoming, job)?;
    if own.exists() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(incoming, own)
}

fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let read = || fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    read().map_err(|cause| StoreError::Directory { path: directory.to_owned(), cause })
}

/// Removes a file, or a directory with its content. A missing one is not an error.
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

/// Returns the total size of the files in a directory.
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
