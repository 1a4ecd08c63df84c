//! Where the records go: standard output, or a file that a user opens afterwards.
//! [`Sink`] appends bytes; [`Outlet`] is what a run writes to, whichever format it is.
//!
//! The workers have encoded the records. This module only appends bytes, because it is
//! the part that does not scale with cores. `runtime` decides what is written and when;
//! `gather` helps where records are written in input order.
//!
//! Invariant: a regular file never keeps half a record, whatever failed.

mod open;
mod outlet;
mod packed;
pub(crate) mod whole;
pub use self::outlet::{Deliver, Outlet};
pub(crate) use self::packed::packed;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use open::Unused;

use crate::objects::ObjectError;

/// Bytes gathered before a system call: as much as a pipe holds.
const BUFFER_BYTES: usize = 64 * 1024;

/// Why records cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The output file exists, and the user did not ask to replace it.
    #[error("{} exists; name another output, or replace it with --overwrite", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The output is a directory.
    #[error("cannot write to {}: it is a directory", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// The directory that should hold the output does not exist.
    #[error("cannot create {}: there is no directory {}", path.display(), parent.display())]
    NoDirectory {
        /// The file that was asked for.
        path: PathBuf,
        /// The directory that is missing.
        parent: PathBuf,
    },
    /// The output cannot be opened for any other reason.
    #[error("cannot open {} for writing: {cause}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The output of an unfinished run was changed since.
    #[error("cannot resume {}, for it was changed: {why}; --overwrite starts anew", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// In which way.
        why: String,
    },
    /// The reader of a pipe has closed it (`| head`): the run ends, and this is not an error.
    #[error("the reader of {output} has gone away")]
    Closed {
        /// The output, as the user knows it.
        output: String,
    },
    /// There is no room for more: on the disk, in a quota, under the limit on a file's size.
    #[error("{limit}: {}", far(*records, output))]
    Full {
        /// What ran out.
        limit: Limit,
        /// Whole records that are in the output, if they can be told apart in it.
        records: Option<u64>,
        /// The output, as the user knows it.
        output: String,
    },
    /// The output is whole, but could not be delivered.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A write failed for any other reason.
    #[error("cannot write to {output}{}: {cause}", after(*records))]
    Write {
        /// Whole records that are in the output, if they can be told apart in it.
        records: Option<u64>,
        /// The output, as the user knows it.
        output: String,
        /// What the system said.
        cause: io::Error,
    },
}

/// What keeps an output from growing. Each limit can be raised, and the run resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `ENOSPC`.
    Disk,
    /// `EDQUOT`.
    Quota,
    /// `EFBIG`: the limit of the process (`ulimit -f`), or of the file system.
    FileSize,
}

impl Limit {
    fn of(kind: io::ErrorKind) -> Option<Self> {
        let limits = [
            (io::ErrorKind::StorageFull, Self::Disk),
            (io::ErrorKind::QuotaExceeded, Self::Quota),
            (io::ErrorKind::FileTooLarge, Self::FileSize),
        ];
        limits.into_iter().find(|(of, _)| *of == kind).map(|(_, limit)| limit)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disk => "disk full",
            Self::Quota => "disk quota exceeded",
            Self::FileSize => "file size limit reached (ulimit -f)",
        })
    }
}

fn far(records: Option<u64>, output: &str) -> String {
    records.map_or_else(
        || format!("no more can be written to {output}"),
        |records| format!("{records} records written to {output}"),
    )
}

fn after(records: Option<u64>) -> String {
    records.map_or_else(String::new, |records| format!(" after {records} records"))
}

/// Appends records to the output.
///
/// Nothing reaches the output before the first buffer is full, [`flush`](Self::flush) or
/// [`finish`](Self::finish). An existing file is emptied only then, and a new file is removed
/// if the sink is dropped before. So a run that never began leaves everything as it was.
/// After an error the sink cannot be used any more.
#[derive(Debug)]
pub struct Sink {
    file: File,
    /// The output, as the user knows it.
    name: String,
    /// A regular file can be emptied and cut back; a pipe, terminal or device is only written to.
    regular: bool,
    /// Whether records are lines, so that their ends can be seen.
    lines: bool,
    begun: bool,
    unused: Option<Unused>,
    buffer: Vec<u8>,
    committed_len: u64,
    records: u64,
}

impl Sink {
    fn new(file: File, name: String, regular: bool) -> Self {
        Self {
            file,
            name,
            regular,
            lines: true,
            begun: false,
            unused: None,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            committed_len: 0,
            records: 0,
        }
    }

    /// Writes to a file that is open already, and is ours alone.
    #[must_use]
    pub fn over(file: File, name: String) -> Self {
        Self::new(file, name, true)
    }

    /// Sets whether records are something else than lines. Such records cannot be told apart here, so that after a
    /// failure only what had been flushed before is kept.
    #[must_use]
    pub fn opaque(mut self, opaque: bool) -> Self {
        self.lines = !opaque;
        self
    }

    /// Appends `lines`: whole records, each with its newline.
    ///
    /// # Errors
    /// [`SinkError::Closed`], [`SinkError::Full`] or [`SinkError::Write`], also for earlier lines.
    pub fn write(&mut self, lines: &[u8]) -> Result<(), SinkError> {
        if self.buffer.len() + lines.len() > BUFFER_BYTES {
            self.flush()?;
        }
        if lines.len() >= BUFFER_BYTES {
            return self.append(lines);
        }
        self.buffer.extend_from_slice(lines);
        Ok(())
    }

    /// Hands everything written so far to the system, where it survives the end of this process.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn flush(&mut self) -> Result<(), SinkError> {
        let mut lines = std::mem::take(&mut self.buffer);
        let appended = self.append(&lines);
        lines.clear();
        self.buffer = lines;
        appended
    }

    /// Flushes and closes; a run without records leaves an empty file.
    ///
    /// Closed here and not on drop, because network file systems report a failed write only then.
    /// Not synced to the disk: with a journal that was done before, and without one nothing depends on it.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn finish(mut self) -> Result<(), SinkError> {
        self.flush()?;
        self.begin()?;
        let Self { file, name, records, lines, .. } = self;
        nix::unistd::close(file).map_err(|errno| failure(name, lines.then_some(records), errno.into()))
    }

    /// Waits until everything flushed is on the disk.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn sync(&self) -> Result<(), SinkError> {
        self.file.sync_data().map_err(|cause| self.unwritten(cause))
    }

    /// The output once more, to bring it to the disk from another thread.
    ///
    /// # Errors
    /// When there are too many open files.
    pub fn second_handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Bytes handed to the system: the output's length, had it been a file.
    #[must_use]
    pub fn committed_len(&self) -> u64 {
        self.committed_len
    }

    /// Whether nothing was written, by this run or one before.
    fn is_empty(&self) -> bool {
        self.committed_len == 0 && self.buffer.is_empty()
    }

    /// The error for records that could not be written.
    fn unwritten(&self, cause: io::Error) -> SinkError {
        failure(self.name.clone(), self.lines.then_some(self.records), cause)
    }

    /// The output is ours from here on.
    fn begin(&mut self) -> Result<(), SinkError> {
        if self.begun {
            return Ok(());
        }
        if self.regular {
            // Empties a file that is replaced; cuts off the last, uncertain records of an unfinished run.
            self.file.set_len(self.committed_len).map_err(|cause| self.failed(&[], cause))?;
        }
        self.begun = true;
        if let Some(unused) = self.unused.take() {
            unused.keep();
        }
        Ok(())
    }

    fn append(&mut self, lines: &[u8]) -> Result<(), SinkError> {
        if lines.is_empty() {
            return Ok(());
        }
        self.begin()?;
        let mut rest = lines;
        while !rest.is_empty() {
            match self.write_some(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(cause) => {
                    let written = lines.len() - rest.len();
                    return Err(self.failed(lines.get(..written).unwrap_or_default(), cause));
                }
            }
        }
        self.commit(lines);
        Ok(())
    }

    fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.file.write(bytes) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            // Another process that shares this terminal or pipe may have made it non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut writable = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
                match poll(&mut writable, PollTimeout::NONE) {
                    Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(0),
                    Err(errno) => Err(errno.into()),
                }
            }
            written => written,
        }
    }

    fn commit(&mut self, lines: &[u8]) {
        self.committed_len += lines.len() as u64;
        if self.lines {
            self.records += memchr::memchr_iter(b'\n', lines).count() as u64;
        }
    }

    /// Keeps the whole records of what was written before the failure.
    fn failed(&mut self, written: &[u8], cause: io::Error) -> SinkError {
        let end = if self.lines { memchr::memrchr(b'\n', written) } else { None };
        let whole = end.map_or(0, |newline| newline + 1);
        self.commit(written.get(..whole).unwrap_or_default());
        if self.regular && self.begun {
            // If even this fails there is nothing left to try; the user is told of `cause`.
            _ = self.file.set_len(self.committed_len);
        }
        self.unwritten(cause)
    }
}

fn failure(output: String, records: Option<u64>, cause: io::Error) -> SinkError {
    let kind = cause.kind();
    if matches!(kind, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) {
        SinkError::Closed { output }
    } else if let Some(limit) = Limit::of(kind) {
        SinkError::Full { limit, records, output }
    } else {
        SinkError::Write { records, output, cause }
    }
}
