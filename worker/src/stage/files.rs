//! Opens the files that targets name. The sandbox decides which files may be opened at all.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read as _, Seek as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use extract::Body;
use shared::job::ParseSpec;

use crate::shortage::Shortages;

/// Bytes per read. Most pages arrive in one read, and a title never needs a second.
const FILE_BUFFER_BYTES: usize = 64 * 1024;

/// The files of one job.
#[derive(Debug, Default)]
pub(super) struct Files {
    body_bytes_max: u64,
    /// Makes inputs wait while no descriptor is free.
    shortages: Shortages,
    /// Files that the sandbox would hide, opened before it, with the names that targets use for them.
    held: Vec<(Box<OsStr>, io::Result<File>)>,
}

/// The result of opening a page.
pub(super) enum Opened {
    Page(Box<dyn Body>, u64),
    /// The page exceeds the limit. Holds its size, as far as it is known.
    TooLarge(u64),
}

impl Files {
    /// Opens the files that the sandbox would hide.
    pub(super) fn new(spec: &ParseSpec, shortages: Shortages) -> Self {
        let held = spec.held.iter().map(|held| (held.path.as_os_str().into(), File::open(&held.at)));
        Self { body_bytes_max: spec.body_bytes_max, shortages, held: held.collect() }
    }

    /// Returns the maximum size of a page.
    pub(super) const fn body_bytes_max(&self) -> u64 {
        self.body_bytes_max
    }

    /// Opens the page that a target names.
    pub(super) fn open(&self, target: &[u8]) -> Result<Opened, String> {
        let name = OsStr::from_bytes(target);
        let opened = match self.held.iter().find(|(held, _)| **held == *name) {
            None => self.shortages.until_met(|| open_regular(Path::new(name))),
            Some((_, Ok(file))) => self.shortages.until_met(|| again(file)),
            Some((_, Err(error))) => return Err(unreadable(error)),
        };
        let (file, bytes) = opened.map_err(|error| unreadable(&error))?;
        if bytes > self.body_bytes_max {
            return Ok(Opened::TooLarge(bytes));
        }
        if bytes > 0 {
            return Ok(Opened::Page(Box::new(BufReader::with_capacity(FILE_BUFFER_BYTES, file)), bytes));
        }
        self.without_size(file).map_err(|error| unreadable(&error))
    }

    /// Reads a file that reports size 0. On some file systems such files are not empty.
    fn without_size(&self, file: File) -> io::Result<Opened> {
        if is_of_this_process(&file) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "this path means something else in each process; name it on the command line, not in a list",
            ));
        }
        let mut page = Vec::new();
        file.take(self.body_bytes_max.saturating_add(1)).read_to_end(&mut page)?;
        let bytes = page.len() as u64;
        if bytes > self.body_bytes_max {
            return Ok(Opened::TooLarge(bytes));
        }
        Ok(Opened::Page(Box::new(Cursor::new(page)), bytes))
    }
}

/// Whether a file is below `/proc/self`, under any name or link. The user meant a file of another process.
fn is_of_this_process(file: &File) -> bool {
    let real = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
    real.is_ok_and(|real| real.starts_with(format!("/proc/{}", std::process::id())))
}

/// Opens a held file again, from its beginning.
pub(super) fn again(file: &File) -> io::Result<(File, u64)> {
    let mut file = file.try_clone()?;
    file.rewind()?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

/// Explains why a file cannot be read. A file that the sandbox hides looks like one without permission.
pub(super) fn unreadable(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::PermissionDenied {
        format!(
            "cannot read it: {error} (workers can read only the files that the job names, and links only as they were when the job started)"
        )
    } else {
        format!("cannot read it: {error}")
    }
}

/// Opens a regular file. Refuses others, because reading a pipe could block for ever.
pub(super) fn open_regular(path: &Path) -> io::Result<(File, u64)> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() {
        Ok((file, metadata.len()))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use shared::job::HeldFile;

    use super::*;

    #[test]
    fn a_file_that_is_not_regular_is_refused_without_blocking() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [pipe.as_path(), dir.path(), Path::new("/dev/null")] {
            assert!(open_regular(path).is_err(), "{}", path.display());
        }
    }

    #[test]
    fn files_without_a_size_are_read_and_held_files_can_be_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let page = dir.path().join("page");
        fs::write(&page, "12345").unwrap();
        let held = HeldFile { path: PathBuf::from("/dev/stdin"), at: page.clone() };
        let gone = HeldFile { path: PathBuf::from("/dev/fd/63"), at: dir.path().join("gone") };
        let check = |target: &[u8], max: u64, want: Result<(&str, u64), &str>| {
            let spec = ParseSpec { body_bytes_max: max, held: vec![held.clone(), gone.clone()] };
            let files = Files::new(&spec, Shortages::default());
            for _ in 0..2 {
                match (files.open(target), want) {
                    (Ok(Opened::Page(mut body, bytes)), Ok((text, want))) => {
                        let mut got = String::new();
                        body.read_to_string(&mut got).unwrap();
                        assert!(got.starts_with(text) && (want == 0 || bytes == want), "{got:?}, {bytes}");
                    }
                    (Ok(Opened::TooLarge(bytes)), Err(says)) => assert_eq!(bytes.to_string(), says),
                    (Err(why), Err(says)) => assert!(why.contains(says), "{why}"),
                    (got, want) => panic!("{}: {want:?}", got.is_ok()),
                }
            }
        };
        let name = page.to_str().unwrap().as_bytes();
        check(name, 5, Ok(("12345", 5)));
        check(name, 4, Err("5"));
        check(b"/dev/stdin", 9, Ok(("12345", 5)));
        check(b"/dev/stdin", 4, Err("5"));
        check(b"/dev/fd/63", 9, Err("No such file"));
        check(b"/proc/version", 1 << 20, Ok(("Linux", 0)));
        check(b"/proc/version", 4, Err("5"));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/proc/self/environ", &link).unwrap();
        for name in ["/proc/self/environ", "//proc/./self/status", link.to_str().unwrap()] {
            check(name.as_bytes(), 1 << 20, Err("something else in each process"));
        }
    }
}
