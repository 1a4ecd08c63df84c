//! What is kept on this machine of an output that becomes an object: the file
//! with its journal, and a note of what the store was told so far.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::{Object, ObjectError};
use crate::journal::beside;
use crate::summary;

/// The note's name in the directory.
const NOTE: &str = "upload.json";

/// The name of the file that is locked as long as a supervisor is at it.
const LOCK: &str = "lock";

/// The directory, while it is ours. Taken away when this is dropped, unless there are records in it
/// that are not in the store.
#[derive(Debug)]
pub(crate) struct Working {
    directory: PathBuf,
    output: PathBuf,
    _lock: Flock<File>,
}

/// What must be known of a run that was killed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// Of which object; for whoever looks into the directory.
    pub(super) url: String,
    /// At which endpoint, if it was said.
    pub(super) endpoint: Option<String>,
    /// Whether an object that is there may be replaced.
    pub(super) replaces: bool,
    /// Whether parts of a split output may be there that are ours.
    #[serde(default)]
    pub(super) parts_begun: bool,
    /// Whether the store has all of it.
    pub(super) uploaded: bool,
    /// Uploads in parts that were begun, and neither completed nor aborted.
    pub(super) begun: Vec<Multipart>,
}

/// An upload in parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Multipart {
    pub(super) key: String,
    pub(super) id: String,
}

/// The note, and where it is.
#[derive(Debug)]
pub(super) struct Notebook {
    path: PathBuf,
    pub(super) note: Note,
}

impl Working {
    /// Makes the directory if need be and locks it. `output` is the file or directory in it that is uploaded.
    ///
    /// # Errors
    /// When it cannot be made, or another supervisor has it.
    pub(super) fn open(object: &Object, output: &Path) -> Result<Self, ObjectError> {
        let directory = &object.directory;
        let path = directory.join(LOCK);
        let failed = |cause| ObjectError::Working { path: path.clone(), cause };
        loop {
            DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
            let file = match file {
                // Another supervisor took it away in this moment.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened.map_err(failed)?,
            };
            let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => lock,
                Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                    return Err(ObjectError::Locked { url: object.url.to_string(), path });
                }
                Err((_, errno)) => return Err(failed(errno.into())),
            };
            let inode = |found: io::Result<fs::Metadata>| found.map(|found| (found.dev(), found.ino())).ok();
            if inode(lock.metadata()) == inode(fs::metadata(&path)) {
                return Ok(Self { directory: directory.clone(), output: output.to_owned(), _lock: lock });
            }
        }
    }

    /// Whether there is something of a run that was not finished.
    pub(super) fn is_unfinished(&self) -> bool {
        self.output.exists() || beside(&self.output, ".journal").exists()
    }

    /// Whether nothing is kept here but what says so.
    fn holds_nothing(&self) -> bool {
        let is_ours = |entry: io::Result<fs::DirEntry>| {
            entry.is_ok_and(|entry| [LOCK, NOTE].iter().any(|name| entry.file_name() == *name))
        };
        fs::read_dir(&self.directory).is_ok_and(|mut entries| entries.all(is_ours))
    }

    /// The note of the run before, or an empty one.
    pub(super) fn notebook(&self) -> Result<Notebook, ObjectError> {
        let path = self.directory.join(NOTE);
        let note = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Note::default()),
            Err(error) => Err(error),
        };
        match note {
            Ok(note) => Ok(Notebook { path, note }),
            Err(cause) => Err(ObjectError::Working { path, cause }),
        }
    }

    /// Takes away what is left of a run whose records are all in the store.
    pub(super) fn clear(&self) -> Result<(), ObjectError> {
        let failed = |cause| ObjectError::Working { path: self.directory.clone(), cause };
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            // The note last: without it, the rest would be records that nobody has uploaded.
            if ![LOCK, NOTE].iter().any(|name| path.ends_with(name)) {
                let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                removed.map_err(failed)?;
            }
        }
        fs::remove_file(self.directory.join(NOTE)).map_err(failed)
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let is_uploaded = self.notebook().is_ok_and(|notebook| notebook.note.uploaded);
        if is_uploaded && self.clear().is_err() {
            // The next run with this output does it.
            return;
        }
        // Records may be there although their journal is lost.
        if !self.is_unfinished() && self.holds_nothing() {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

impl Notebook {
    /// Brings the note to the disk.
    pub(super) fn save(&self) -> Result<(), ObjectError> {
        let failed = |cause| ObjectError::Working { path: self.path.clone(), cause };
        let text = serde_json::to_vec_pretty(&self.note).map_err(|error| failed(error.into()))?;
        summary::replace(&self.path, &text).map_err(|error| failed(error.source))
    }

    /// An upload in parts was begun.
    pub(super) fn begun(&mut self, key: &str, id: &str) -> Result<(), ObjectError> {
        self.note.begun.push(Multipart { key: key.to_owned(), id: id.to_owned() });
        self.save()
    }

    /// It is over.
    pub(super) fn ended(&mut self, id: &str) -> Result<(), ObjectError> {
        self.note.begun.retain(|upload| upload.id != id);
        self.save()
    }
}
