//! Paths that mean an open descriptor of this process: `/dev/stdin`, `/dev/fd/63` (what a shell makes of
//! `<(…)`), `/proc/self/fd/3`, and links to them. In another process they mean something else.
//!
//! A descriptor is used as it is and never opened a second time. Opening it again would start a redirected
//! file from its beginning, and is impossible for a socket.

use std::fs::{self, File};
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};

use crate::inherited::check_stdout;

/// Most links to follow before a path is considered a loop: the kernel's limit.
const LINKS_MAX: usize = 40;

/// Standard output.
pub(crate) const STDOUT: RawFd = 1;

/// What a path resolves to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// An open descriptor of this process.
    Descriptor(RawFd),
    /// Another path below `/proc/self`.
    ProcSelf,
    /// Any other path, with final links resolved, whether or not it exists.
    Path(PathBuf),
}

/// Resolves the links at the end of `path`.
pub(crate) fn resolve(path: &Path) -> Resolved {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let (Some(name), Some(directory)) = (path.file_name(), directory(&path)) else { break };
        if let Ok(inside) = directory.strip_prefix(format!("/proc/{}", process::id())) {
            let number = name.to_str().and_then(|name| name.parse().ok());
            return match number.filter(|_| inside.ends_with("fd")) {
                Some(number) => Resolved::Descriptor(number),
                None => Resolved::ProcSelf,
            };
        }
        let Ok(target) = fs::read_link(&path) else { break };
        // If the target is absolute, `join` returns it alone.
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    Resolved::Path(path)
}

/// Returns the descriptor that `path` names, if it names one.
pub(crate) fn named(path: &Path) -> Option<RawFd> {
    match resolve(path) {
        Resolved::Descriptor(number) => Some(number),
        Resolved::ProcSelf | Resolved::Path(_) => None,
    }
}

/// Whether `path` names something else in each process. Cheap if the start of the path rules it out.
pub(crate) fn is_of_a_process(path: &Path) -> bool {
    let begin = path.as_os_str().as_bytes();
    let may_be = begin.starts_with(b"/dev/") || begin.starts_with(b"/proc/");
    may_be && !matches!(resolve(path), Resolved::Path(_))
}

/// Resolves final links, so that a replacement replaces the file and not the link to it.
pub(crate) fn through_links(path: &Path) -> PathBuf {
    match resolve(path) {
        Resolved::Path(target) => target,
        Resolved::Descriptor(_) | Resolved::ProcSelf => path.to_owned(),
    }
}

/// Returns the directory of a path, with links resolved.
fn directory(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?;
    fs::canonicalize(if parent.as_os_str().is_empty() { Path::new(".") } else { parent }).ok()
}

/// Returns a second handle of an inherited descriptor, which shares its file position.
///
/// # Errors
/// If the descriptor is not open, or was not open when this program started.
pub(crate) fn inherited(number: RawFd) -> io::Result<File> {
    // A borrowed descriptor must be open.
    fs::symlink_metadata(format!("/proc/self/fd/{number}")).map_err(|_| not_open(number))?;
    #[expect(unsafe_code, reason = "a descriptor that is named by its number has no owner here")]
    // SAFETY: it was open a moment ago, and is borrowed for two calls, which fail if it is not open any more.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    // Our own descriptors are close-on-exec; inherited ones are not.
    let flags = FdFlag::from_bits_truncate(fcntl(borrowed, FcntlArg::F_GETFD)?);
    if flags.contains(FdFlag::FD_CLOEXEC) {
        return Err(not_open(number));
    }
    borrowed.try_clone_to_owned().map(File::from)
}

/// Like [`inherited`], for writing.
///
/// # Errors
/// Also if the descriptor is open for reading only.
pub(crate) fn inherited_for_writing(number: RawFd) -> io::Result<File> {
    if number == STDOUT {
        check_stdout()?;
    }
    let file = inherited(number)?;
    let flags = OFlag::from_bits_truncate(fcntl(&file, FcntlArg::F_GETFL)?);
    if flags & OFlag::O_ACCMODE == OFlag::O_RDONLY {
        let why = format!("descriptor {number} is open for reading only");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(file)
}

fn not_open(number: RawFd) -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        format!("descriptor {number} was not open when the program started"),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn descriptors_are_known_by_all_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let link = |name: &str, target: &str| {
            symlink(target, dir.path().join(name)).unwrap();
            dir.path().join(name).to_str().unwrap().to_owned()
        };
        let (chain, out) = (link("chain", "out"), link("out", "/dev/stdout"));
        let (directory, gone) = (link("directory", "/proc/self/fd"), link("gone", "nowhere"));
        let own = format!("/proc/{}/fd/7", process::id());
        let table = [
            ("/dev/stdin", Resolved::Descriptor(0)),
            ("/dev/stdout", Resolved::Descriptor(1)),
            ("/dev/stderr", Resolved::Descriptor(2)),
            ("/dev/fd/63", Resolved::Descriptor(63)),
            ("/dev/../dev/fd/63", Resolved::Descriptor(63)),
            ("/proc/self/fd/5", Resolved::Descriptor(5)),
            ("/proc/thread-self/fd/5", Resolved::Descriptor(5)),
            (own.as_str(), Resolved::Descriptor(7)),
            (chain.as_str(), Resolved::Descriptor(1)),
            (out.as_str(), Resolved::Descriptor(1)),
            (&format!("{directory}/4"), Resolved::Descriptor(4)),
            ("/proc/self/status", Resolved::ProcSelf),
            ("/proc/self/fd/x", Resolved::ProcSelf),
            ("/dev/null", Resolved::Path("/dev/null".into())),
            ("/proc/meminfo", Resolved::Path("/proc/meminfo".into())),
            (gone.as_str(), Resolved::Path(dir.path().join("nowhere"))),
            ("fd/1", Resolved::Path("fd/1".into())),
            ("/nonexistent/x", Resolved::Path("/nonexistent/x".into())),
        ];
        for (path, want) in table {
            assert_eq!(resolve(Path::new(path)), want, "{path}");
        }
        let around = link("around", "around");
        assert!(matches!(resolve(Path::new(&around)), Resolved::Path(_)));
        assert!(is_of_a_process(Path::new("/dev/stdin")) && !is_of_a_process(Path::new("/dev/null")));
    }

    #[test]
    fn only_what_was_inherited_is_used() {
        use std::os::fd::AsRawFd as _;
        assert!(inherited(2).is_ok());
        let own = File::open("/dev/null").unwrap();
        for number in [own.as_raw_fd(), 99_999, -1] {
            let error = inherited(number).unwrap_err().to_string();
            assert!(error.contains("was not open when the program started"), "{error}");
        }
    }
}
