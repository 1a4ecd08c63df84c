//! Makes `state.db` and the job directories agree at the start.
//!
//! Either may be incomplete: the database may be missing, emptied or damaged, and rows may be lost with its
//! write-ahead file. A job without a row is recovered from its directory. What cannot be understood is moved
//! to a new directory below `set-aside`, and reported.
//!
//! Invariant: nothing is removed here except jobs that were removed before (`trash`), uploads of unanswered
//! submissions (`incoming`), and empty directories.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use shared::clock;

use super::manifest::{self, JobFile};
use super::rows::Rows;
use super::{JobRow, StoreError, entries, make_directory, remove, rows, schema};
use crate::view::JobId;

/// The directory for files that are not understood.
const SET_ASIDE: &str = "set-aside";

/// The files of the database.
const DATABASE: [&str; 3] = ["state.db", "state.db-wal", "state.db-shm"];

/// Most jobs to name in a message.
const NAMED_MAX: usize = 20;

/// Job numbers are below this.
const NUMBERS_END: u64 = 1 << 62;

/// A job as it was found in the database or its directory.
type Found = (JobFile, JobRow);

/// An open database, and what opening it found.
pub(super) struct OpenDatabase {
    connection: Connection,
    rows: Rows,
    place: StateDirectory,
    /// Jobs that could be read from a damaged database that was set aside.
    salvaged: BTreeMap<JobId, Found>,
    notes: Vec<String>,
}

/// Opens the database in `directory`, or creates a new one if it is damaged.
pub(super) fn open(directory: &Path) -> Result<OpenDatabase, StoreError> {
    let mut place = StateDirectory { directory: directory.to_owned(), aside: None };
    let (mut salvaged, mut notes) = (BTreeMap::new(), Vec::new());
    let path = directory.join("state.db");
    let length = |name: &str| fs::metadata(directory.join(name)).map_or(0, |found| found.len());
    if length("state.db") == 0 && length("state.db-wal") > 0 {
        // SQLite removes the write-ahead file of an empty database.
        let aside = place.set_database_aside()?;
        notes.push(format!(
            "{} is missing or empty; its other files were moved to {}",
            path.display(),
            aside.display()
        ));
    } else if length("state.db-wal") > 0 {
        // The service was killed. SQLite silently drops what follows a damaged frame, so keep a copy.
        place.copy_database()?;
    }
    let (connection, rows) = match read(&path) {
        Err(StoreError::Database { cause, .. }) if is_damage(&cause) => {
            let aside = place.set_database_aside()?;
            salvaged = salvage(&aside.join("state.db"));
            notes.push(format!(
                "{} is damaged ({cause}) and was moved to {}",
                path.display(),
                aside.display()
            ));
            read(&path)?
        }
        opened => opened?,
    };
    Ok(OpenDatabase { connection, rows, place, salvaged, notes })
}

/// Opens the database, or creates one, and reads all of it.
fn read(path: &Path) -> Result<(Connection, Rows), StoreError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(StoreError::Directory { path: path.to_owned(), cause: error });
        }
        Ok(_) | Err(_) => {}
    }
    let connection = schema::open(path)?;
    let rows = rows::all(&connection);
    let rows = rows.map_err(|cause| StoreError::Database { path: path.to_owned(), cause })?;
    Ok((connection, rows))
}

/// Whether the error shows a damaged file, rather than a problem of the system.
fn is_damage(cause: &rusqlite::Error) -> bool {
    match cause.sqlite_error_code() {
        Some(code) => {
            matches!(code, ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::Unknown)
        }
        None => true,
    }
}

/// Returns the jobs that can still be read from a damaged database.
fn salvage(path: &Path) -> BTreeMap<JobId, Found> {
    // Read-only, so that the file stays unchanged.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut found = Rows::default();
    if let Ok(connection) = Connection::open_with_flags(path, flags) {
        // Errors are expected in a damaged file.
        let _ = rows::read_into(&mut found, &connection);
    }
    found.good.into_iter().map(|(job, row)| (job.id, (job, row))).collect()
}

impl OpenDatabase {
    /// Makes rows and directories agree, and returns messages about the changes.
    pub(super) fn reconcile(mut self) -> Result<(Connection, Vec<String>), StoreError> {
        sweep(&self.place.directory)?;
        let trash = self.empty_trash()?;
        let found = std::mem::take(&mut self.rows);
        let (mut adopted, mut aside) = (Vec::new(), Vec::new());
        for (id, why) in found.bad {
            self.place.copy_database()?;
            let copy = self.place.aside()?;
            let copy = copy.display();
            self.notes.push(format!(
                "cannot read the row of job {id} ({why}); a copy of the old database is in {copy}"
            ));
            rows::delete(&self.connection, id).map_err(|cause| self.wrong(cause))?;
        }
        let good = || found.good.iter().filter(|(job, _)| !trash.contains(&job.id));
        let mut differ = Vec::new();
        for (job, row) in good() {
            if self.compare(job, row)? {
                differ.push(job.id);
            }
        }
        if !differ.is_empty() {
            self.notes.push(format!(
                "state.db and the directories of these jobs differ about what was submitted, and the directories count: {}",
                named(&differ)
            ));
        }
        let known: BTreeSet<JobId> = good().map(|(job, _)| job.id).collect();
        let directories = directories(&self.place.directory.join("jobs"))?;
        rows::reserve(&self.connection, directories.keys().max().copied())
            .map_err(|cause| self.wrong(cause))?;
        for (&id, path) in directories.iter().filter(|(id, _)| !known.contains(*id)) {
            // A crash during a submission leaves an empty directory.
            if fs::remove_dir(path).is_ok() {
                continue;
            }
            match self.find(id, path) {
                Some(found) => {
                    self.insert(path, &found)?;
                    adopted.push(id);
                }
                None => {
                    self.place.set_aside(path, &format!("jobs-{id}"))?;
                    aside.push(id);
                }
            }
        }
        self.say(&adopted, &aside);
        if self.notes.is_empty() {
            self.place.nothing_was_lost();
        }
        let gone: Vec<JobId> = known.difference(&directories.keys().copied().collect()).copied().collect();
        if !gone.is_empty() {
            let place = self.place.directory.join("jobs");
            self.notes.push(format!(
                "the directories of these jobs are missing in {}: {}",
                place.display(),
                named(&gone)
            ));
        }
        Ok((self.connection, self.notes))
    }

    fn say(&mut self, adopted: &[JobId], aside: &[JobId]) {
        if !adopted.is_empty() {
            let copy = self.place.aside.as_ref().filter(|aside| aside.join("state.db").exists());
            let copy = copy.map_or_else(String::new, |aside| {
                format!("; a copy of the old database is in {}", aside.display())
            });
            self.notes.push(format!("recovered from their directories: jobs {}{copy}", named(adopted)));
        }
        if let Some(place) = self.place.aside.as_ref().filter(|_| !aside.is_empty()) {
            let (jobs, place) = (named(aside), place.display());
            self.notes.push(format!(
                "cannot recover jobs {jobs}: their submission is lost; their files were moved to {place}"
            ));
        }
    }

    /// Deletes the removed jobs, including rows that still exist.
    fn empty_trash(&self) -> Result<BTreeSet<JobId>, StoreError> {
        let trash = directories(&self.place.directory.join("trash"))?;
        for (id, path) in &trash {
            rows::delete(&self.connection, *id).map_err(|cause| self.wrong(cause))?;
            remove(path)?;
        }
        Ok(trash.into_keys().collect())
    }

    /// Updates a row that is older than its directory after a kill or damage, and writes the files that a
    /// directory of an earlier version lacks. Returns whether they differ about an unfinished job's submission.
    fn compare(&self, job: &JobFile, row: &JobRow) -> Result<bool, StoreError> {
        let directory = self.place.directory.join("jobs").join(job.id.to_string());
        let ended = |row: &JobRow| row.state.has_ended() && row.finished_at.is_some();
        if let Some(state) = manifest::read_state(&directory).filter(|state| ended(state) && !ended(row)) {
            rows::update(&self.connection, &JobRow { id: job.id, ..state })
                .map_err(|cause| self.wrong(cause))?;
        }
        if directory.is_dir() && !manifest::has_job(&directory) {
            let wrong = |cause| StoreError::Directory { path: directory.clone(), cause };
            manifest::write_both(&directory, job, row).map_err(wrong)?;
        }
        if row.state.has_ended() {
            return Ok(false);
        }
        let same = |found: JobFile| (&found.document, &found.uploads) == (&job.document, &job.uploads);
        Ok(!manifest::read_job(&directory).is_none_or(same))
    }

    /// Reads the job of a directory without a row.
    fn find(&mut self, id: JobId, path: &Path) -> Option<Found> {
        let (salvaged, state) = self.salvaged.remove(&id).unzip();
        let job = JobFile { id, ..manifest::read_job(path).or(salvaged)? };
        // Fall back to a salvaged row, so that an ended job does not start again.
        let row =
            manifest::read_state(path).or(state).map_or_else(|| job.queued(), |row| JobRow { id, ..row });
        Some((job, row))
    }

    fn insert(&mut self, path: &Path, (job, row): &Found) -> Result<(), StoreError> {
        let database = self.place.directory.join("state.db");
        let wrong = |cause| StoreError::Database { path: database.clone(), cause };
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(wrong)?;
        rows::insert(&transaction, job, row).map_err(wrong)?;
        transaction.commit().map_err(wrong)?;
        if manifest::has_job(path) {
            return Ok(());
        }
        manifest::write_job(path, job).map_err(|cause| StoreError::Directory { path: path.to_owned(), cause })
    }

    fn wrong(&self, cause: rusqlite::Error) -> StoreError {
        StoreError::Database { path: self.place.directory.join("state.db"), cause }
    }
}

/// The state directory, and the `set-aside` directory of this start.
struct StateDirectory {
    directory: PathBuf,
    aside: Option<PathBuf>,
}

impl StateDirectory {
    /// Returns the new directory for what this start sets aside.
    fn aside(&mut self) -> Result<PathBuf, StoreError> {
        if let Some(aside) = &self.aside {
            return Ok(aside.clone());
        }
        let parent = self.directory.join(SET_ASIDE);
        let wrong = |path: &Path, cause| StoreError::Directory { path: path.to_owned(), cause };
        make_directory(&parent).map_err(|cause| wrong(&parent, cause))?;
        let now = humantime::format_rfc3339_seconds(clock::wall()).to_string().replace(':', "-");
        for number in 1_u32.. {
            let name = if number == 1 { now.clone() } else { format!("{now}.{number}") };
            let path = parent.join(name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(self.aside.insert(path).clone()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(wrong(&path, error)),
            }
        }
        Err(wrong(&parent, io::ErrorKind::AlreadyExists.into()))
    }

    fn set_aside(&mut self, path: &Path, name: &str) -> Result<(), StoreError> {
        let to = self.aside()?.join(name);
        fs::rename(path, &to).map_err(|cause| StoreError::Directory { path: path.to_owned(), cause })
    }

    /// Sets the database aside, and removes an earlier copy, which is the same.
    fn set_database_aside(&mut self) -> Result<PathBuf, StoreError> {
        let aside = self.aside()?;
        for name in DATABASE {
            let path = self.directory.join(name);
            if path.exists() {
                fs::rename(&path, aside.join(name))
                    .map_err(|cause| StoreError::Directory { path: path.clone(), cause })?;
            }
        }
        Ok(aside)
    }

    /// Copies the database, unless this start did so already.
    fn copy_database(&mut self) -> Result<(), StoreError> {
        if self.aside.is_some() {
            return Ok(());
        }
        let aside = self.aside()?;
        for name in DATABASE {
            let path = self.directory.join(name);
            if path.exists() {
                fs::copy(&path, aside.join(name))
                    .map_err(|cause| StoreError::Directory { path: path.clone(), cause })?;
            }
        }
        Ok(())
    }

    /// Removes the copy, which is not needed.
    fn nothing_was_lost(&mut self) {
        if let Some(aside) = self.aside.take() {
            for name in DATABASE {
                let _ = fs::remove_file(aside.join(name));
            }
            let _ = fs::remove_dir(&aside);
            let _ = fs::remove_dir(self.directory.join(SET_ASIDE));
        }
    }
}

/// Removes uploads of unanswered submissions. Entries with other names stay.
fn sweep(directory: &Path) -> Result<(), StoreError> {
    for path in entries(&directory.join("incoming"))? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_batch = name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_batch || name.starts_with("retry-") {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Returns the entries whose name is a job number.
fn directories(parent: &Path) -> Result<BTreeMap<JobId, PathBuf>, StoreError> {
    let number = |path: &Path| {
        let name = path.file_name()?.to_str()?;
        // Only the exact spelling: neither 007 nor a number that the database cannot hold.
        let id = name.parse().ok().filter(|id: &u64| id.to_string() == name && *id < NUMBERS_END)?;
        Some(JobId(id))
    };
    Ok(entries(parent)?.into_iter().filter_map(|path| Some((number(&path)?, path))).collect())
}

/// Lists job numbers, such as `1, 2, 3 and 4 more`.
pub(in crate::service) fn named(jobs: &[JobId]) -> String {
    let first: Vec<String> = jobs.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    let more = jobs.len().saturating_sub(NAMED_MAX);
    if more > 0 { format!("{} and {more} more", first.join(", ")) } else { first.join(", ") }
}
