//! The directory of the files that a job saves: made before the workers open it, and tidied up when the job is
//! complete. The workers write the files ([`shared::save`]).

use std::fs::{self, DirBuilder, File, TryLockError};
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
pub(crate) enum SavingError {
    #[error("cannot save files to {}: {cause}", directory.display())]
    Io { directory: PathBuf, cause: io::Error },
    #[error(
        "cannot save files to {}: another run, with the same output, saves to it; wait for its end, or name another \
         directory or output",
        directory.display()
    )]
    Taken { directory: PathBuf },
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
    let directory = || save.directory.clone();
    match prepared {
        Ok(Some(prepared)) => Ok(prepared),
        Ok(None) => Err(SavingError::Taken { directory: directory() }),
        Err(cause) => Err(SavingError::Io { directory: directory(), cause }),
    }
}

/// Returns nothing if another run has the directory for unfinished files.
fn enter(save: &SaveSpec, resumes: bool) -> io::Result<Option<Prepared>> {
    make(&save.directory, None)?;
    let works = save.directory.join(WORK_DIRECTORY);
    make(&works, Some(PRIVATE))?;
    let _guard = lock(&works)?;
    sweep(&works)?;
    let path = work(save);
    make(&path, Some(PRIVATE))?;
    let mut work = open(&path)?;
    if is_taken(&work) {
        return Ok(None);
    }
    if !resumes {
        remove(&path)?;
        make(&path, Some(PRIVATE))?;
        work = lock(&path)?;
    }
    Ok(Some(Prepared { directory: open(&save.directory)?, work }))
}

/// Locks a directory, unless another process has. Some network file systems know no locks of directories.
fn is_taken(directory: &File) -> bool {
    matches!(directory.try_lock(), Err(TryLockError::WouldBlock))
}

/// Removes the directories that killed runs have left and that no run can continue, as far as this user may. A run that
/// lives holds the lock of its directory.
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
    if !works.exists() {
        return Ok(());
    }
    let removed = lock(&works).and_then(|_guard| {
        let removed = remove(&work(save));
        // Another run may have unfinished files there.
        let _ = fs::remove_dir(&works);
        removed
    });
    removed.map_err(|cause| SavingError::Io { directory: save.directory.clone(), cause })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_another_run_uses_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let save = SaveSpec {
            directory: dir.path().to_owned(),
            name: "{id}".parse().unwrap(),
            bytes_max: 1,
            work: "job".to_owned(),
            boot: String::new(),
            held_max: 0,
        };
        let output = |resume| Output::File { path: "o".into(), overwrite: false, resume };
        let prepared = prepare(&save, &output(false)).unwrap();
        let part = work(&save).join("1.part");
        fs::write(&part, "begun").unwrap();
        for resume in [false, true] {
            let error = prepare(&save, &output(resume)).unwrap_err().to_string();
            assert!(error.contains("another run, with the same output"), "{error}");
        }
        drop(prepared);
        prepare(&save, &output(true)).unwrap();
        assert!(part.exists(), "it is continued");
        prepare(&save, &output(false)).unwrap();
        assert!(!part.exists());
    }
}
