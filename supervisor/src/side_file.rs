//! Creates files that the user did not name: those beside an output, and those that are renamed to
//! a name that the user gave.
//!
//! Invariant: nothing that exists is opened or changed, also not through a link. Such a file is
//! somebody else's, and its name is easy to guess.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Mode of a file that may hold the user's URLs, which may contain secrets.
pub(crate) const PRIVATE: u32 = 0o600;

/// The bits that matter of a file that is not a program.
const READ_WRITE: u32 = 0o666;

/// Creates a file that only its owner can read.
///
/// # Errors
/// If it exists, even as a link that leads nowhere, or cannot be created.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(PRIVATE).open(path)
}

/// Creates a file that will become `output`: as readable as what it replaces, or as any new file.
///
/// # Errors
/// As [`create`].
pub(crate) fn create_for(path: &Path, output: &Path) -> io::Result<File> {
    let mode = mode(output);
    let options = |mode| OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path);
    let file = options(mode.unwrap_or(READ_WRITE))?;
    if let Some(mode) = mode {
        // The umask may have narrowed it.
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(file)
}

/// Returns who may read and write a file, if it exists.
pub(crate) fn mode(path: &Path) -> Option<u32> {
    let found = fs::metadata(path).ok().filter(|found| found.is_file() || found.is_dir())?;
    Some(found.permissions().mode() & READ_WRITE)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_exists_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("precious"), "data").unwrap();
        symlink(at("precious"), at("link")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        for name in ["precious", "link", "dangling"] {
            for created in [create(&at(name)), create_for(&at(name), &at("out"))] {
                assert_eq!(created.unwrap_err().kind(), io::ErrorKind::AlreadyExists, "{name}");
            }
        }
        assert_eq!(fs::read(at("precious")).unwrap(), b"data");
        assert!(!at("nowhere").exists());
    }

    #[test]
    fn a_file_is_as_readable_as_what_it_becomes() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        create(&at("a")).unwrap();
        assert_eq!(mode(&at("a")), Some(PRIVATE));
        for wanted in [0o600, 0o640, 0o666] {
            let (output, part) = (at(&format!("out-{wanted:o}")), at(&format!("part-{wanted:o}")));
            fs::write(&output, "").unwrap();
            fs::set_permissions(&output, Permissions::from_mode(wanted)).unwrap();
            create_for(&part, &output).unwrap();
            assert_eq!(mode(&part), Some(wanted));
        }
        fs::write(at("as-usual"), "").unwrap();
        create_for(&at("b"), &at("nothing")).unwrap();
        assert_eq!(mode(&at("b")), mode(&at("as-usual")));
    }
}
