//! The directory of the files that a job saves: made before the workers open it, and tidied up when the job is
//! complete. The workers write the files ([`shared::save`]).

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use shared::save::{SaveSpec, UNRECORDED, WORK_DIRECTORY};

use crate::plan::Output;

/// Mode of the directories for unfinished files, whose notes hold URLs.
const PRIVATE: u32 = 0o700;

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot save files to {}: {cause}", directory.display())]
pub(crate) struct SavingError {
    directory: PathBuf,
    pub(crate) cause: io::Error,
}

/// The directory of the files, prepared for a run.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The directory, for syncing its file system.
    pub(crate) directory: File,
    /// The directory for unfinished files, locked as long as it is open.
    pub(crate) work: File,
}

/// Prepares the directory of the files. Unfinished files are only of use to a run that goes on with `output`.
///
/// # Errors
/// If the directory cannot be made or changed.
pub(crate) fn prepare(save: &SaveSpec, output: &Output) -> Result<Prepared, SavingError> {
    let resumes = matches!(output, Output::File { resume: true, .. });
    let prepared = match enter(save, resumes) {
        // Another run has just removed the directory for unfinished files, which it was the last to need.
        Err(error) if error.kind() == io::ErrorKind::NotFound => enter(save, resumes),
        entered => entered,
    };
    prepared.map_err(|cause| SavingError { directory: save.directory.clone(), cause })
}

fn enter(save: &SaveSpec, resumes: bool) -> io::Result<Prepared> {
    make(&save.directory, None)?;
    let works = save.directory.join(WORK_DIRECTORY);
    make(&works, Some(PRIVATE))?;
    let _guard = lock(&works)?;
    sweep(&works)?;
    let work = work(save);
    if !resumes {
        remove(&work)?;
    }
    make(&work, Some(PRIVATE))?;
    Ok(Prepared { directory: open(&save.directory)?, work: lock(&work)? })
}

/// Removes what killed runs have left that no run goes on with, if this user may. A run that lives holds the lock of
/// its directory.
fn sweep(works: &Path) -> io::Result<()> {
    for entry in fs::read_dir(works)? {
        let entry = entry?;
        let is_of_no_use = entry.file_name().as_encoded_bytes().starts_with(UNRECORDED.as_bytes());
        if is_of_no_use && open(&entry.path()).is_ok_and(|work| work.try_lock().is_ok()) {
            // What stays is for the next run to remove.
            let _ = remove(&entry.path());
        }
    }
    Ok(())
}

/// Opens a directory and locks it. Some network file systems know no locks of directories; there, what killed runs
/// have left stays.
fn lock(directory: &Path) -> io::Result<File> {
    let file = open(directory)?;
    let _ = file.lock();
    Ok(file)
}

/// Opens a directory, and follows no link in its place.
fn open(directory: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(directory, flags, Mode::empty())?))
}

/// Removes what is left of unfinished files.
///
/// # Errors
/// If it cannot be removed.
pub(crate) fn clear(save: &SaveSpec) -> Result<(), SavingError> {
    let works = save.directory.join(WORK_DIRECTORY);
    let removed = lock(&works).and_then(|_guard| {
        let removed = remove(&work(save));
        // Another run may have unfinished files there.
        let _ = fs::remove_dir(&works);
        removed
    });
    removed.map_err(|cause| SavingError { directory: save.directory.clone(), cause })
}

fn work(save: &SaveSpec) -> PathBuf {
    save.directory.join(WORK_DIRECTORY).join(&save.work)
}

/// Makes a directory, unless it exists. A link in its place is an error when it is opened.
fn make(directory: &Path, mode: Option<u32>) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    if let Some(mode) = mode {
        builder.mode(mode);
    }
    match builder.create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Removes a directory with all that is in it, and follows no link.
fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
