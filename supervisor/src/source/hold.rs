//! Files that workers cannot open by name, held open for them: descriptors of this process, and streams,
//! which are copied to disk first.
//!
//! A copy has no name, so a kill leaves nothing behind. Workers open it as `/proc/PID/fd/N` of this process,
//! before they enter their sandbox.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;

use crate::descriptor::{self, Resolved};

/// A file that is held open for the workers.
#[derive(Debug, Clone)]
pub struct Held {
    /// The file. It is closed with its last clone.
    pub file: Arc<File>,
    /// The path by which workers open it.
    pub at: PathBuf,
}

impl Held {
    fn new(file: File) -> Self {
        let at = PathBuf::from(format!("/proc/{}/fd/{}", process::id(), file.as_raw_fd()));
        Self { file: Arc::new(file), at }
    }

    /// Copies at most `bytes_max` bytes of `stream`.
    fn copy_of(stream: impl Read, bytes_max: u64) -> io::Result<Self> {
        let mut copy = tempfile::tempfile().map_err(not_kept)?;
        io::copy(&mut stream.take(bytes_max), &mut copy).map_err(not_kept)?;
        Ok(Self::new(copy))
    }
}

fn not_kept(error: io::Error) -> io::Error {
    let place = tempfile::env::temp_dir();
    io::Error::new(error.kind(), format!("{error}, while copying it to {}", place.display()))
}

/// Holds standard input.
///
/// # Errors
/// If it cannot be read or copied.
pub(super) fn stdin(bytes_max: u64) -> io::Result<Held> {
    of_descriptor(0, bytes_max)
}

/// Holds what `path` names, if that is a descriptor of this process or a pipe. Reads a pipe to its end.
///
/// # Errors
/// As `stdin`.
pub fn descriptor_or_pipe(path: &Path, bytes_max: u64) -> io::Result<Option<Held>> {
    match descriptor::resolve(path) {
        Resolved::Descriptor(number) => return of_descriptor(number, bytes_max).map(Some),
        Resolved::ProcSelf => return Held::copy_of(File::open(path)?, bytes_max).map(Some),
        Resolved::Path(_) => {}
    }
    let is_pipe = fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo());
    if !is_pipe {
        return Ok(None);
    }
    Held::copy_of(File::open(path)?, bytes_max).map(Some)
}

/// Like [`descriptor_or_pipe`], but also copies files with a wrong size, as below `/proc` and in some FUSE
/// file systems.
///
/// # Errors
/// As [`stdin`].
pub(super) fn stream(path: &Path, bytes_max: u64) -> io::Result<Option<Held>> {
    if let Some(held) = descriptor_or_pipe(path, bytes_max)? {
        return Ok(Some(held));
    }
    let Some(metadata) = fs::metadata(path).ok().filter(Metadata::is_file) else { return Ok(None) };
    let file = File::open(path)?;
    if has_its_size(&file, &metadata)? { Ok(None) } else { Held::copy_of(file, bytes_max).map(Some) }
}

fn of_descriptor(number: i32, bytes_max: u64) -> io::Result<Held> {
    let mut file = descriptor::inherited(number)?;
    let metadata = file.metadata()?;
    if metadata.is_file() && has_its_size(&file, &metadata)? && file.stream_position()? == 0 {
        return Ok(Held::new(file));
    }
    Held::copy_of(file, bytes_max)
}

/// Whether the file has as many bytes as its metadata says.
fn has_its_size(file: &File, metadata: &Metadata) -> io::Result<bool> {
    match metadata.len().checked_sub(1) {
        None => Ok(false),
        Some(last) => Ok(file.read_at(&mut [0], last)? == 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(held: &Held) -> String {
        fs::read_to_string(&held.at).unwrap()
    }

    #[test]
    fn what_has_a_name_and_a_size_is_not_held() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "x").unwrap();
        for name in ["file", "missing", "."] {
            assert!(stream(&dir.path().join(name), 9).unwrap().is_none(), "{name}");
        }
        assert!(stream(Path::new("/dev/null"), 9).unwrap().is_none());
    }

    #[test]
    fn pipes_and_files_without_a_size_are_copied() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let writer = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::write(pipe, "from the pipe").unwrap()
        });
        let held = descriptor_or_pipe(&pipe, 1 << 20).unwrap().unwrap();
        writer.join().unwrap();
        assert_eq!(contents(&held), "from the pipe");
        let held = stream(Path::new("/proc/version"), 1 << 20).unwrap().unwrap();
        assert_eq!(contents(&held), fs::read_to_string("/proc/version").unwrap());
        let held = stream(Path::new("/proc/self/stat"), 5).unwrap().unwrap();
        assert_eq!(contents(&held).len(), 5);
        assert!(descriptor_or_pipe(Path::new("/proc/version"), 9).unwrap().is_none());
    }
}
