//! Writes a small file atomically, so that a reader never sees half of it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::descriptor;

/// A summary or report could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", path.display())]
pub struct WriteError {
    /// The file to write.
    pub path: PathBuf,
    /// Error of the system.
    pub source: io::Error,
}

/// Replaces the file at `path` with `contents`, all or nothing.
///
/// # Errors
/// [`WriteError`] if any step fails. The old file is unchanged then.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> Result<(), WriteError> {
    try_replace(path, contents).map_err(|source| WriteError { path: path.to_owned(), source })
}

fn try_replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    if let Some(number) = descriptor::named(path) {
        return descriptor::inherited_for_writing(number)?.write_all(contents);
    }
    // Follow links, dangling ones too: renaming onto a link would replace it.
    let target = descriptor::through_links(path);
    if fs::metadata(&target).is_ok_and(|found| !found.is_file()) {
        // A pipe or a device cannot be renamed onto.
        return File::options().write(true).open(path)?.write_all(contents);
    }
    let name = target.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = target.with_file_name(temporary);
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(contents).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, &target));
    if written.is_err() {
        // Report the first error. A stray temporary file matters less.
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_replaces_follows_links_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("a.json"), dir.path().join("link.json"));
        std::os::unix::fs::symlink("a.json", &link).unwrap();
        for contents in [b"one".as_slice(), b"two"] {
            replace(&file, contents).unwrap();
            assert_eq!(fs::read(&file).unwrap(), contents);
        }
        // Also one to a link, and to a file that is not there.
        let chain = dir.path().join("chain.json");
        std::os::unix::fs::symlink("link.json", &chain).unwrap();
        for contents in [b"three".as_slice(), b"four"] {
            replace(&chain, contents).unwrap();
            assert_eq!(fs::read(&file).unwrap(), contents);
            for link in [&link, &chain] {
                assert!(fs::symlink_metadata(link).unwrap().is_symlink());
            }
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
            fs::remove_file(&file).unwrap();
        }
    }

    #[test]
    fn a_device_is_written_to_not_replaced() {
        replace(Path::new("/dev/null"), b"x").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn the_error_names_the_file() {
        let error = replace(Path::new("/nonexistent/s.json"), b"x").unwrap_err();
        assert!(error.to_string().starts_with("cannot write /nonexistent/s.json: No such file"), "{error}");
    }
}
