//! The directory of the files, opened before the sandbox is entered. All names are looked up below it, one component
//! at a time, and no link is followed.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, linkat, mkdirat, openat, renameat, renameat_with, unlinkat,
};
use rustix::io::Errno;
use shared::save::{FileName, SaveSpec, WORK_DIRECTORY};

use super::digest::{Digest, Sum};
use super::unfinished::{Notes, Unfinished};

/// A directory, whose entries are looked up. It is an error if the name is that of a device or a link.
const DIRECTORY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A file to write, which is created. The sandbox allows exactly this, with and without `TRUNC`.
const WRITTEN: OFlags = OFlags::RDWR.union(OFlags::CREATE).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Largest notes. They hold a URL and a header.
const NOTES_BYTES_MAX: u64 = 256 * 1024;

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

    /// Removes the unfinished file of an input, and first its notes.
    pub(super) fn remove_unfinished(&self, id: u64) -> io::Result<()> {
        self.remove_notes(id)?;
        missing_is_fine(unlinkat(&self.work, part(id), AtFlags::empty()))
    }

    /// Writes what makes it possible to continue an input's file.
    pub(super) fn write_notes(&self, id: u64, notes: &Notes) -> io::Result<()> {
        let flags = WRITTEN | OFlags::TRUNC;
        let mut file = File::from(openat(&self.work, notes_of(id), flags, Mode::from_raw_mode(0o600))?);
        file.write_all(&serde_json::to_vec(notes)?)
    }

    pub(super) fn remove_notes(&self, id: u64) -> io::Result<()> {
        missing_is_fine(unlinkat(&self.work, notes_of(id), AtFlags::empty()))
    }

    /// Returns the file of an input that an earlier attempt left and that can be continued.
    pub(super) fn unfinished(&self, id: u64) -> Option<Unfinished> {
        let mut notes = Vec::new();
        self.read(&self.work, &notes_of(id)).ok()?.take(NOTES_BYTES_MAX).read_to_end(&mut notes).ok()?;
        let notes: Notes = serde_json::from_slice(&notes).ok()?;
        if notes.boot != self.spec.boot || notes.boot.is_empty() {
            return None;
        }
        let part = self.read(&self.work, &part(id)).ok()?.metadata().ok()?;
        // One with a second name is complete: it was about to lose this one.
        Unfinished::new(notes, part.len()).filter(|_| part.nlink() == 1)
    }

    /// Moves the complete file of an input to its name, and returns it. If other content has the name, or the system
    /// refuses it, the file gets another name, which no other content has. `step` is called again and again.
    pub(super) fn place(
        &self,
        id: u64,
        name: &FileName,
        sum: &Sum,
        extension: &str,
        step: &dyn Fn(),
    ) -> io::Result<FileName> {
        let is_content = self.spec.name.is_content_addressed() && name.to_string().contains(&sum.sha256);
        let last = FileName::of_content(&sum.sha256, extension);
        let tries = || {
            let (directory, depth) = self.descend(name.directories())?;
            if depth == name.directories().len()
                && self.settle(id, &directory, name.last(), sum, is_content, step)?
            {
                return Ok(Some(name.clone()));
            }
            let other = name.with_hash(&sum.sha256, depth);
            Ok(self.settle(id, &directory, other.last(), sum, false, step)?.then_some(other))
        };
        match tries() {
            Ok(Some(name)) => return Ok(name),
            Ok(None) => {}
            // The directory is another's, or of another file system, or knows only short names.
            Err(Errno::ACCESS | Errno::PERM | Errno::XDEV | Errno::NAMETOOLONG) => {}
            Err(error) => return Err(error.into()),
        }
        let root = openat(&self.root, ".", DIRECTORY, Mode::empty())?;
        if self.settle(id, &root, last.last(), sum, true, step)? {
            return Ok(last);
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Moves the file of an input to `name`. Returns false if something else has this name. If `is_content`, the name
    /// is of this content alone: what else has it was left by a failure of power, and is replaced.
    fn settle(
        &self,
        id: u64,
        directory: &OwnedFd,
        name: &str,
        sum: &Sum,
        is_content: bool,
        step: &dyn Fn(),
    ) -> Result<bool, Errno> {
        let part = part(id);
        let renamed = match renameat_with(&self.work, &part, directory, name, RenameFlags::NOREPLACE) {
            // Network file systems know links, but no such flag.
            Err(Errno::INVAL) => linkat(&self.work, &part, directory, name, AtFlags::empty())
                .and_then(|()| unlinkat(&self.work, &part, AtFlags::empty())),
            renamed => renamed,
        };
        match renamed {
            // The file that is there may be on disk, and this one is not.
            Err(Errno::EXIST) if self.holds(directory, name, sum, step)? => {
                unlinkat(&self.work, &part, AtFlags::empty())?;
                Ok(true)
            }
            Err(Errno::EXIST) if is_content => match renameat(&self.work, &part, directory, name) {
                Err(Errno::ISDIR) => Ok(false),
                renamed => renamed.map(|()| true),
            },
            Err(Errno::EXIST) => Ok(false),
            renamed => renamed.map(|()| true),
        }
    }

    /// Whether a file has this content. One that may not be read has other content.
    fn holds(&self, directory: &OwnedFd, name: &str, sum: &Sum, step: &dyn Fn()) -> Result<bool, Errno> {
        let same = || {
            let file = self.read(directory, name)?;
            let found = file.metadata()?;
            if !found.is_file() || found.len() != sum.bytes {
                return Ok(false);
            }
            io::Result::Ok(Digest::of(file, step)?.sum() == *sum)
        };
        match same().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)) {
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::ACCESS | Errno::PERM) => Ok(false),
            same => same,
        }
    }

    fn read(&self, directory: &OwnedFd, name: &str) -> io::Result<File> {
        // A pipe of this name would wait for its writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(File::from(openat(directory, name, flags, Mode::empty())?))
    }

    /// Goes down the directories, and makes those that are missing. Returns the last one that can be entered, and how
    /// deep it is: where something else has the name of a directory, the way ends.
    fn descend(&self, directories: &[String]) -> Result<(OwnedFd, usize), Errno> {
        let mut here = openat(&self.root, ".", DIRECTORY, Mode::empty())?;
        for (depth, name) in directories.iter().enumerate() {
            let mut next = openat(&here, name.as_str(), DIRECTORY, Mode::empty());
            if matches!(next, Err(Errno::NOENT)) {
                match mkdirat(&here, name.as_str(), Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error),
                }
                next = openat(&here, name.as_str(), DIRECTORY, Mode::empty());
            }
            match next {
                Ok(next) => here = next,
                Err(Errno::NOTDIR | Errno::LOOP) => return Ok((here, depth)),
                Err(error) => return Err(error),
            }
        }
        Ok((here, directories.len()))
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
