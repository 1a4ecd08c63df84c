//! The directory of the files, opened before the sandbox is entered. All names are looked up below it, one component
//! at a time, and no link is followed.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, linkat, mkdirat, openat, renameat_with, unlinkat};
use rustix::io::Errno;
use shared::save::{FileName, SaveSpec, WORK_DIRECTORY};

use super::digest::{Digest, Sum};
use super::unfinished::{Notes, Unfinished};

/// A directory, whose entries are looked up. Where a way leads to a device or a link, the system says no.
const DIRECTORY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A file to write, which is created. The sandbox allows exactly this, with and without `TRUNC`.
const WRITTEN: OFlags = OFlags::RDWR.union(OFlags::CREATE).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Largest notes. They hold a URL and a header.
const NOTES_BYTES_MAX: u64 = 256 * 1024;

/// Bytes per read of an existing file.
const PIECE_BYTES: usize = 256 * 1024;

/// The directory of the files, and the one in it for those that are not complete.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) spec: SaveSpec,
    root: OwnedFd,
    work: OwnedFd,
}

impl Directory {
    pub(super) fn open(spec: &SaveSpec) -> io::Result<Self> {
        let root = openat(CWD, spec.directory.as_path(), DIRECTORY, Mode::empty())?;
        let works = openat(&root, WORK_DIRECTORY, DIRECTORY, Mode::empty())?;
        let work = openat(&works, spec.work.as_str(), DIRECTORY, Mode::empty())?;
        Ok(Self { spec: spec.clone(), root, work })
    }

    /// Opens the unfinished file of an input; `fresh` empties it.
    pub(super) fn open_part(&self, id: u64, fresh: bool) -> io::Result<File> {
        let truncate = if fresh { OFlags::TRUNC } else { OFlags::empty() };
        Ok(File::from(openat(&self.work, part(id), WRITTEN | truncate, Mode::from_raw_mode(0o666))?))
    }

    /// Removes the unfinished file of an input.
    pub(super) fn remove_part(&self, id: u64) -> io::Result<()> {
        missing_is_fine(unlinkat(&self.work, part(id), AtFlags::empty()))
    }

    /// Writes what makes it possible to continue an input's file.
    pub(super) fn write_notes(&self, id: u64, notes: &Notes) -> io::Result<()> {
        let flags = WRITTEN | OFlags::TRUNC;
        let file = File::from(openat(&self.work, notes_of(id), flags, Mode::from_raw_mode(0o600))?);
        Ok(serde_json::to_writer(file, notes)?)
    }

    pub(super) fn remove_notes(&self, id: u64) -> io::Result<()> {
        missing_is_fine(unlinkat(&self.work, notes_of(id), AtFlags::empty()))
    }

    /// Returns the file of an input that an earlier attempt left and that can be continued.
    pub(super) fn unfinished(&self, id: u64) -> Option<Unfinished> {
        let file = self.read(&self.work, &notes_of(id)).ok()?;
        let notes: Notes = serde_json::from_reader(file.take(NOTES_BYTES_MAX)).ok()?;
        if notes.boot != self.spec.boot {
            return None;
        }
        let part = self.read(&self.work, &part(id)).ok()?;
        Unfinished::new(notes, part.metadata().ok()?.len())
    }

    /// Moves the complete file of an input to its name, or to another one that only this input can have. Returns the
    /// name. A file that exists is never replaced by other content.
    pub(super) fn place(&self, id: u64, name: &FileName, sum: &Sum) -> io::Result<FileName> {
        let (directory, depth) = self.descend(name.directories())?;
        if depth == name.directories().len() {
            let is_named_by_content =
                self.spec.name.is_content_addressed() && name.to_string().contains(&sum.sha256);
            if self.settle(id, &directory, name.last(), sum, is_named_by_content)? {
                return Ok(name.clone());
            }
        }
        let name = name.of_input(id, depth);
        // Only an earlier attempt at the same input can have left a file of this name.
        if self.settle(id, &directory, name.last(), sum, true)? {
            return Ok(name);
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists))
    }

    /// Moves the file of an input to `name`. Returns false if something else has this name.
    fn settle(
        &self,
        id: u64,
        directory: &OwnedFd,
        name: &str,
        sum: &Sum,
        replaces: bool,
    ) -> io::Result<bool> {
        let part = part(id);
        if replaces {
            return match rustix::fs::renameat(&self.work, &part, directory, name) {
                Err(Errno::ISDIR | Errno::NAMETOOLONG) => Ok(false),
                renamed => Ok(renamed.map(|()| true)?),
            };
        }
        let renamed = match renameat_with(&self.work, &part, directory, name, RenameFlags::NOREPLACE) {
            // Network file systems know links, but no such flag.
            Err(Errno::INVAL) => linkat(&self.work, &part, directory, name, AtFlags::empty())
                .and_then(|()| unlinkat(&self.work, &part, AtFlags::empty())),
            renamed => renamed,
        };
        match renamed {
            Err(Errno::EXIST) if self.holds(directory, name, sum) => self.remove_part(id).map(|()| true),
            Err(Errno::EXIST | Errno::NAMETOOLONG) => Ok(false),
            renamed => Ok(renamed.map(|()| true)?),
        }
    }

    /// Whether a file has this content.
    fn holds(&self, directory: &OwnedFd, name: &str, sum: &Sum) -> bool {
        let same = || {
            let file = self.read(directory, name)?;
            if !file.metadata()?.is_file() || file.metadata()?.len() != sum.bytes {
                return Ok(false);
            }
            let mut digest = Digest::default();
            digest.add_file(file, sum.bytes)?;
            io::Result::Ok(digest.sum() == *sum)
        };
        same().unwrap_or(false)
    }

    fn read(&self, directory: &OwnedFd, name: &str) -> io::Result<File> {
        // A pipe of this name would wait for its writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(File::from(openat(directory, name, flags, Mode::empty())?))
    }

    /// Goes down the directories, and makes those that are missing. Returns the last one that can be entered, and how
    /// deep it is: where something else has the name of a directory, the way ends.
    fn descend(&self, directories: &[String]) -> io::Result<(OwnedFd, usize)> {
        let mut here = openat(&self.root, ".", DIRECTORY, Mode::empty())?;
        for (depth, name) in directories.iter().enumerate() {
            let mut next = openat(&here, name.as_str(), DIRECTORY, Mode::empty());
            if matches!(next, Err(Errno::NOENT)) {
                match mkdirat(&here, name.as_str(), Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(Errno::NAMETOOLONG) => return Ok((here, depth)),
                    Err(error) => return Err(error.into()),
                }
                next = openat(&here, name.as_str(), DIRECTORY, Mode::empty());
            }
            match next {
                Ok(next) => here = next,
                Err(Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => return Ok((here, depth)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok((here, directories.len()))
    }
}

impl Digest {
    /// Adds the first `bytes` bytes of a file, from its position on.
    pub(super) fn add_file(&mut self, file: impl io::Read, bytes: u64) -> io::Result<()> {
        let (mut file, mut piece) = (file.take(bytes), vec![0; PIECE_BYTES]);
        let mut left = bytes;
        while left > 0 {
            let read = match file.read(&mut piece) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.add(piece.get(..read).unwrap_or_default());
            left -= read as u64;
        }
        Ok(())
    }
}

fn part(id: u64) -> String {
    format!("{id}.part")
}

fn notes_of(id: u64) -> String {
    format!("{id}.json")
}

fn missing_is_fine(removed: Result<(), Errno>) -> io::Result<()> {
    match removed {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
