//! What is kept on this machine of an output that becomes an object: the file with its journal, and
//! a note of the state of the upload.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::journal::beside;
use crate::objects::{Object, ObjectError};
use crate::whole_file::{self, Readers};

/// The name of the note in the directory.
const NOTE: &str = "upload.json";

/// The name of the lock file, which is locked while a supervisor uses the directory.
const LOCK: &str = "lock";

/// The locked directory. Dropping this removes it, unless it holds records that are not in the
/// store.
#[derive(Debug)]
pub(crate) struct Working {
    directory: PathBuf,
    output: PathBuf,
    _lock: Flock<File>,
}

/// What a later run must know about a killed one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UploadNote {
    /// The object, for a person who looks into the directory.
    pub(super) url: String,
    /// The endpoint, if one was given.
    pub(super) endpoint: Option<String>,
    /// Whether an existing object may be replaced.
    pub(super) replaces: bool,
    /// Whether the store may hold parts of a split output that are ours.
    #[serde(default)]
    pub(super) parts_begun: bool,
    /// Whether the store has everything.
    pub(super) uploaded: bool,
    /// Multipart uploads that were begun, and neither completed nor aborted.
    pub(super) begun: Vec<Multipart>,
}

/// A multipart upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Multipart {
    pub(super) key: String,
    pub(super) id: String,
}

/// The note, and its path.
#[derive(Debug)]
pub(super) struct NoteFile {
    path: PathBuf,
    pub(super) note: UploadNote,
}

impl Working {
    /// Creates the directory if necessary and locks it. `output` is the file or directory in it to
    /// upload.
    ///
    /// # Errors
    /// If it cannot be created, or another supervisor uses it.
    pub(super) fn open(object: &Object, output: &Path) -> Result<Self, ObjectError> {
        let directory = &object.directory;
        let path = directory.join(LOCK);
        let failed = |cause| ObjectError::Working { path: path.clone(), cause };
        loop {
            DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
            let mut file = OpenOptions::new();
            file.write(true).create(true).truncate(false).mode(0o600);
            let file = file.custom_flags(nix::libc::O_NOFOLLOW).open(&path);
            let file = match file {
                // Another supervisor has just removed it.
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

    /// Whether something of an unfinished run is left.
    pub(super) fn is_unfinished(&self) -> bool {
        self.output.exists() || beside(&self.output, ".journal").exists()
    }

    /// Whether the directory holds nothing but its lock and its note.
    fn holds_nothing(&self) -> bool {
        let is_ours = |entry: io::Result<fs::DirEntry>| {
            entry.is_ok_and(|entry| [LOCK, NOTE].iter().any(|name| entry.file_name() == *name))
        };
        fs::read_dir(&self.directory).is_ok_and(|mut entries| entries.all(is_ours))
    }

    /// Reads the note of the previous run, or returns an empty one.
    pub(super) fn note_file(&self) -> Result<NoteFile, ObjectError> {
        let path = self.directory.join(NOTE);
        let note = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(UploadNote::default()),
            Err(error) => Err(error),
        };
        match note {
            Ok(note) => Ok(NoteFile { path, note }),
            Err(cause) => Err(ObjectError::Working { path, cause }),
        }
    }

    /// Removes the remains of a run whose records are all in the store.
    pub(super) fn clear(&self) -> Result<(), ObjectError> {
        let failed = |cause| ObjectError::Working { path: self.directory.clone(), cause };
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            // Remove the note last: without it, the rest would look like records that were not
            // uploaded.
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
        let is_uploaded = self.note_file().is_ok_and(|note_file| note_file.note.uploaded);
        if is_uploaded && self.clear().is_err() {
            // The next run with this output removes it.
            return;
        }
        // Records may be there although their journal is lost.
        if !self.is_unfinished() && self.holds_nothing() {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

impl NoteFile {
    /// Writes the note to disk.
    pub(super) fn save(&self) -> Result<(), ObjectError> {
        let failed = |cause| ObjectError::Working { path: self.path.clone(), cause };
        let text = serde_json::to_vec_pretty(&self.note).map_err(|error| failed(error.into()))?;
        whole_file::replace(&self.path, Readers::Owner, &text).map_err(|error| failed(error.source))
    }

    /// Notes that a multipart upload was begun.
    pub(super) fn begun(&mut self, key: &str, id: &str) -> Result<(), ObjectError> {
        self.note.begun.push(Multipart { key: key.to_owned(), id: id.to_owned() });
        self.save()
    }

    /// Notes that a multipart upload is over.
    pub(super) fn ended(&mut self, id: &str) -> Result<(), ObjectError> {
        self.note.begun.retain(|upload| upload.id != id);
        self.save()
    }
}
