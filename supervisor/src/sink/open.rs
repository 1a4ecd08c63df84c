//! Opening the output: what may be written to, and what is refused before any work starts.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use super::whole::remove_if_there;
use super::{Sink, SinkError};
use crate::descriptor::{self, STDOUT};
use crate::plan::Output;
use crate::side_file;

/// A new file that nothing was written to yet; dropping this removes it.
#[derive(Debug)]
pub(super) struct Unused(Option<PathBuf>);

impl Unused {
    pub(super) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Unused {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // An empty file that stays does no harm.
            _ = fs::remove_file(path);
        }
    }
}

impl Sink {
    /// Opens the output without changing it. Opening a FIFO waits for its reader.
    ///
    /// # Errors
    /// [`SinkError::Exists`], [`SinkError::Directory`], [`SinkError::NoDirectory`] or [`SinkError::Open`].
    pub fn open(output: &Output) -> Result<Self, SinkError> {
        match output {
            Output::Stdout => inherited(STDOUT, Path::new("standard output")),
            Output::Discard => existing(Path::new("/dev/null"), true),
            Output::File { path, overwrite, .. } => {
                if let Some(number) = descriptor::named(path) {
                    return inherited(number, path);
                }
                match OpenOptions::new().write(true).create_new(true).open(path) {
                    Ok(file) => {
                        let mut sink = Self::new(file, path.display().to_string(), true);
                        sink.unused = Some(Unused(Some(path.clone())));
                        Ok(sink)
                    }
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => existing(path, *overwrite),
                    Err(error) => Err(refusal(path, error)),
                }
            }
        }
    }

    /// Creates the file that keeps records, in place of that of an earlier run.
    ///
    /// # Errors
    /// [`SinkError::Open`].
    pub fn create(path: &Path) -> Result<Self, SinkError> {
        let created = remove_if_there(path).and_then(|()| side_file::create(path));
        let file = created.map_err(|error| refusal(path, error))?;
        let mut sink = Self::new(file, path.display().to_string(), true);
        sink.unused = Some(Unused(Some(path.to_owned())));
        Ok(sink)
    }

    /// Opens the output of an unfinished run, of which `bytes` with `records` records are certain. The rest is cut
    /// off when the first record is written. `opaque` says that records are something else than lines.
    ///
    /// # Errors
    /// [`SinkError::Open`], or [`SinkError::Changed`] when it is not what that run left.
    pub fn resume(path: &Path, bytes: u64, records: u64, opaque: bool) -> Result<Self, SinkError> {
        let refused = |cause| SinkError::Open { path: path.to_owned(), cause };
        let changed = |why: String| SinkError::Changed { path: path.to_owned(), why };
        let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(refused)?;
        let length = file.metadata().map_err(refused)?.len();
        if length < bytes {
            return Err(changed(format!("it has {length} bytes, and had {bytes}")));
        }
        if let Some(last) = bytes.checked_sub(1).filter(|_| !opaque) {
            let mut byte = [0];
            file.seek(SeekFrom::Start(last)).and_then(|_| file.read_exact(&mut byte)).map_err(refused)?;
            if byte != *b"\n" {
                return Err(changed(format!("no record ends at byte {bytes}, where one did")));
            }
        }
        file.seek(SeekFrom::Start(bytes)).map_err(refused)?;
        let mut sink = Self::new(file, path.display().to_string(), true).opaque(opaque);
        (sink.committed_len, sink.records) = (bytes, records);
        Ok(sink)
    }
}

/// An inherited descriptor. It is a stream, whatever is behind it.
fn inherited(number: RawFd, shown: &Path) -> Result<Sink, SinkError> {
    // Not std's own handle of standard output: it looks for newlines and writes line by line.
    let file = descriptor::inherited_for_writing(number)
        .map_err(|cause| SinkError::Open { path: shown.to_owned(), cause })?;
    Ok(Sink::new(file, shown.display().to_string(), false))
}

/// Opens what exists at `path`, even if it is only a link that leads nowhere.
fn existing(path: &Path, overwrite: bool) -> Result<Sink, SinkError> {
    let regular = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            return Err(SinkError::Directory { path: path.to_owned() });
        }
        Ok(metadata) => metadata.is_file(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file =
                OpenOptions::new().write(true).create_new(false).create(true).truncate(false).open(path);
            let file = file.map_err(|error| refusal(path, error))?;
            return Ok(Sink::new(file, path.display().to_string(), true));
        }
        Err(error) => return Err(refusal(path, error)),
    };
    if regular && !overwrite {
        return Err(SinkError::Exists { path: path.to_owned() });
    }
    let file = OpenOptions::new().write(true).open(path).map_err(|error| refusal(path, error))?;
    Ok(Sink::new(file, path.display().to_string(), regular))
}

fn refusal(path: &Path, cause: io::Error) -> SinkError {
    let path = path.to_owned();
    if cause.kind() == io::ErrorKind::IsADirectory {
        return SinkError::Directory { path };
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match parent {
        Some(parent) if cause.kind() == io::ErrorKind::NotFound && !parent.exists() => {
            SinkError::NoDirectory { parent: parent.to_owned(), path }
        }
        _ => SinkError::Open { path, cause },
    }
}
