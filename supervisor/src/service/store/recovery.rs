//! Brings `state.db` and the directories of jobs together at the start.
//!
//! Neither is trusted to be whole: the database may be missing, emptied or damaged, and rows may
//! be lost with its write-ahead file. A job without a row is taken over from its directory. What
//! cannot be understood goes into a directory of its own under `set-aside`, and is named.
//!
//! Invariant: nothing is removed here but what was decided to be removed before (`trash`), uploads
//! that nobody was answered for (`incoming`), and directories with nothing in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use shared::clock;

use super::manifest::{self, JobFile};
use super::rows::Rows;
use super::{Kept, StoreError, entries, make_directory, remove, rows, schema};
use crate::view::JobId;

/// Where things are put that are not understood.
const SET_ASIDE: &str = "set-aside";

/// The database and what SQLite keeps beside it.
const DATABASE: [&str; 3] = ["state.db", "state.db-wal", "state.db-shm"];

/// Jobs that are named in one sentence.
const NAMED_MAX: usize = 20;

/// Numbers that jobs never reach.
const NUMBERS_END: u64 = 1 << 62;

/// A job from whatever it was found in.
type Found = (JobFile, Kept);

/// An open database, and what was found out on the way there.
pub(super) struct Opened {
    connection: Connection,
    rows: Rows,
    place: Place,
    /// What can be read of a database that was set aside.
    salvaged: BTreeMap<JobId, Found>,
    notes: Vec<String>,
}

/// Opens the database in `directory`, or a new one if what is there is damaged.
pub(super) fn open(directory: &Path) -> Result<Opened, StoreError> {
    let mut place = Place { directory: directory.to_owned(), aside: None };
    let (mut salvaged, mut notes) = (BTreeMap::new(), Vec::new());
    let path = directory.join("state.db");
    let length = |name: &str| fs::metadata(directory.join(name)).map_or(0, |found| found.len());
    if length("state.db") == 0 && length("state.db-wal") > 0 {
        // SQLite removes the write-ahead file of an empty database.
        let aside = place.set_database_aside()?;
        notes.push(format!(
            "{} is missing or empty; what was beside it is in {}",
            path.display(),
            aside.display()
        ));
    } else if length("state.db-wal") > 0 {
        // The service was killed. What follows a damaged frame is dropped without a word.
        place.copy_database()?;
    }
    let (connection, rows) = match read(&path) {
        Err(StoreError::Database { cause, .. }) if is_damage(&cause) => {
            let aside = place.set_database_aside()?;
            salvaged = salvage(&aside.join("state.db"));
            notes.push(format!("{} is damaged ({cause}); it is in {}", path.display(), aside.display()));
            read(&path)?
        }
        opened => opened?,
    };
    Ok(Opened { connection, rows, place, salvaged, notes })
}

/// Opens the database, a new one if there is none, and reads it whole.
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

/// Whether the file is at fault, and not the system around it.
fn is_damage(cause: &rusqlite::Error) -> bool {
    match cause.sqlite_error_code() {
        Some(code) => {
            matches!(code, ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::Unknown)
        }
        None => true,
    }
}

/// The jobs that can still be read in a damaged database.
fn salvage(path: &Path) -> BTreeMap<JobId, Found> {
    // It stays as it was found.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut found = Rows::default();
    if let Ok(connection) = Connection::open_with_flags(path, flags) {
        // It is known to be damaged.
        let _ = rows::read_into(&mut found, &connection);
    }
    found.good.into_iter().map(|(job, kept)| (job.id, (job, kept))).collect()
}

impl Opened {
    /// Makes rows and directories agree; what there is to say about it.
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
                "the row of job {id} cannot be read ({why}); the database as it was is in {copy}"
            ));
            rows::delete(&self.connection, id).map_err(|cause| self.wrong(cause))?;
        }
        let good = || found.good.iter().filter(|(job, _)| !trash.contains(&job.id));
        for (job, kept) in good() {
            self.compare(job, kept)?;
        }
        let known: BTreeSet<JobId> = good().map(|(job, _)| job.id).collect();
        let directories = directories(&self.place.directory.join("jobs"))?;
        rows::reserve(&self.connection, directories.keys().max().copied())
            .map_err(|cause| self.wrong(cause))?;
        for (&id, path) in directories.iter().filter(|(id, _)| !known.contains(*id)) {
            // A crash while a job was taken in leaves one with nothing in it.
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
                "the directories of these jobs are not in {}: {}",
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
                format!("; the database as it was is in {}", aside.display())
            });
            self.notes.push(format!("taken over from their directories: jobs {}{copy}", named(adopted)));
        }
        if let Some(place) = self.place.aside.as_ref().filter(|_| !aside.is_empty()) {
            let (jobs, place) = (named(aside), place.display());
            self.notes
                .push(format!("nothing says what these were to do: jobs {jobs}; their files are in {place}"));
        }
    }

    /// What is decided to be removed is removed for good, also if its row is still there.
    fn empty_trash(&self) -> Result<BTreeSet<JobId>, StoreError> {
        let trash = directories(&self.place.directory.join("trash"))?;
        for (id, path) in &trash {
            rows::delete(&self.connection, *id).map_err(|cause| self.wrong(cause))?;
            remove(path)?;
        }
        Ok(trash.into_keys().collect())
    }

    /// A row that is older than what its directory says, by a kill or by damage, is brought up to date;
    /// a directory of an earlier version is told what its row says.
    fn compare(&self, job: &JobFile, kept: &Kept) -> Result<(), StoreError> {
        let directory = self.place.directory.join("jobs").join(job.id.to_string());
        let ended = |kept: &Kept| kept.state.has_ended() && kept.finished_at.is_some();
        if let Some(state) = manifest::read_state(&directory).filter(|state| ended(state) && !ended(kept)) {
            rows::update(&self.connection, &Kept { id: job.id, ..state })
                .map_err(|cause| self.wrong(cause))?;
        }
        if directory.is_dir() && !manifest::has_job(&directory) {
            let wrong = |cause| StoreError::Directory { path: directory.clone(), cause };
            manifest::write_both(&directory, job, kept).map_err(wrong)?;
        }
        Ok(())
    }

    /// What a directory without a row holds.
    fn find(&mut self, id: JobId, path: &Path) -> Option<Found> {
        let (row, state) = self.salvaged.remove(&id).unzip();
        let job = JobFile { id, ..manifest::read_job(path).or(row)? };
        // What a row says is as good: a job that has ended must not begin again.
        let kept =
            manifest::read_state(path).or(state).map_or_else(|| job.queued(), |kept| Kept { id, ..kept });
        Some((job, kept))
    }

    fn insert(&mut self, path: &Path, (job, kept): &Found) -> Result<(), StoreError> {
        let database = self.place.directory.join("state.db");
        let wrong = |cause| StoreError::Database { path: database.clone(), cause };
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(wrong)?;
        rows::insert(&transaction, job, kept).map_err(wrong)?;
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

/// The state directory, and where in it things are set aside by this start.
struct Place {
    directory: PathBuf,
    aside: Option<PathBuf>,
}

impl Place {
    /// The directory for what this start sets aside, which is new.
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

    /// Moves the database away; a copy that was made before goes, for this is the same.
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

    /// Copies the database, unless that was done before.
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

    /// The copy is not needed.
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

/// Takes away uploads that nobody was answered for. What is not named as ours are stays.
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

/// The entries that are named by a job's number.
fn directories(parent: &Path) -> Result<BTreeMap<JobId, PathBuf>, StoreError> {
    let number = |path: &Path| {
        let name = path.file_name()?.to_str()?;
        // As they are written here: neither 007 nor a number that the database could not hold.
        let id = name.parse().ok().filter(|id: &u64| id.to_string() == name && *id < NUMBERS_END)?;
        Some(JobId(id))
    };
    Ok(entries(parent)?.into_iter().filter_map(|path| Some((number(&path)?, path))).collect())
}

/// `1, 2, 3 and 4 more`.
fn named(jobs: &[JobId]) -> String {
    let first: Vec<String> = jobs.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    let more = jobs.len().saturating_sub(NAMED_MAX);
    if more > 0 { format!("{} and {more} more", first.join(", ")) } else { first.join(", ") }
}
