//! Writes a small file atomically, so that a reader never sees half of it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::descriptor;
use crate::plan::Output;
use crate::side_file;

/// A summary or report could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", path.display())]
pub(crate) struct WriteError {
    /// The file to write.
    pub(crate) path: PathBuf,
    /// Error of the system.
    pub(crate) source: io::Error,
}

/// Who may read a new file. One that exists keeps its mode.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Readers<'a> {
    /// Whoever may read any new file of this user.
    Usual,
    /// Those of this output, if it exists, and else the owner. The file may name the user's URLs, in
    /// which there may be secrets.
    Of(&'a Path),
    /// The owner.
    Owner,
    /// The owner, even if others may read the old file: it holds secrets.
    OwnerAlone,
}

impl<'a> Readers<'a> {
    /// Of a file that describes the records in `output`.
    pub(crate) fn of(output: &'a Output) -> Self {
        match output {
            Output::File { path, .. } => Self::Of(path),
            Output::Stdout | Output::Discard => Self::Owner,
        }
    }
}

/// Replaces the file at `path` with `contents`, all or nothing.
///
/// # Errors
/// [`WriteError`] if any step fails. The old file is unchanged then.
pub(crate) fn replace(path: &Path, readers: Readers<'_>, contents: &[u8]) -> Result<(), WriteError> {
    try_replace(path, readers, contents).map_err(|source| WriteError { path: path.to_owned(), source })
}

/// Removes what runs that were killed have left of writing the file at `path`. Nobody may be writing it.
pub(crate) fn remove_unfinished(path: &Path) {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let found = entry.file_name();
        let middle = found.as_encoded_bytes().strip_prefix(b".").and_then(|rest| {
            rest.strip_prefix(name.as_encoded_bytes())?.strip_prefix(b".")?.strip_suffix(b".tmp")
        });
        if middle.is_some_and(|middle| middle.len() == 16 && middle.iter().all(u8::is_ascii_hexdigit)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn try_replace(path: &Path, readers: Readers<'_>, contents: &[u8]) -> io::Result<()> {
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
    temporary.push(format!(".{:016x}.tmp", fastrand::u64(..)));
    let temporary = target.with_file_name(temporary);
    let like = match readers {
        Readers::OwnerAlone => None,
        _ if side_file::mode(&target).is_some() => Some(target.as_path()),
        Readers::Usual => Some(target.as_path()),
        Readers::Of(output) => Some(output).filter(|output| side_file::mode(output).is_some()),
        Readers::Owner => None,
    };
    let mut file = match like {
        Some(like) => side_file::create_for(&temporary, like)?,
        None => side_file::create(&temporary)?,
    };
    let written = file
        .write_all(contents)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, &target));
    if written.is_err() {
        // Report the first error. A stray temporary file matters less.
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_replaces_follows_links_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("a.json"), dir.path().join("link.json"));
        std::os::unix::fs::symlink("a.json", &link).unwrap();
        for contents in [b"one".as_slice(), b"two"] {
            replace(&file, Readers::Usual, contents).unwrap();
            assert_eq!(fs::read(&file).unwrap(), contents);
        }
        // Also one to a link, and to a file that is not there.
        let chain = dir.path().join("chain.json");
        std::os::unix::fs::symlink("link.json", &chain).unwrap();
        for contents in [b"three".as_slice(), b"four"] {
            replace(&chain, Readers::Usual, contents).unwrap();
            assert_eq!(fs::read(&file).unwrap(), contents);
            for link in [&link, &chain] {
                assert!(fs::symlink_metadata(link).unwrap().is_symlink());
            }
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
            fs::remove_file(&file).unwrap();
        }
    }

    #[test]
    fn only_what_was_left_of_this_file_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let left = ".jar.0123456789abcdef.tmp";
        let others = ["jar", ".jar.tmp", ".jar2.0123456789abcdef.tmp", ".jar.0123456789abcdeg.tmp"];
        for name in others.into_iter().chain([left]) {
            fs::write(dir.path().join(name), "").unwrap();
        }
        remove_unfinished(&dir.path().join("jar"));
        assert!(!dir.path().join(left).exists());
        assert!(others.iter().all(|name| dir.path().join(name).exists()));
    }

    #[test]
    fn a_device_is_written_to_not_replaced() {
        replace(Path::new("/dev/null"), Readers::Owner, b"x").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn the_error_names_the_file() {
        let error = replace(Path::new("/nonexistent/s.json"), Readers::Owner, b"x").unwrap_err();
        assert!(error.to_string().starts_with("cannot write /nonexistent/s.json: No such file"), "{error}");
    }

    #[test]
    fn a_new_file_is_as_readable_as_the_output_and_an_old_one_as_before() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (output, mode) in [("narrow", 0o600), ("group", 0o640), ("wide", 0o644)] {
            fs::write(at(output), "").unwrap();
            fs::set_permissions(at(output), fs::Permissions::from_mode(mode)).unwrap();
            let report = at(&format!("{output}.html"));
            replace(&report, Readers::Of(&at(output)), b"x").unwrap();
            assert_eq!(side_file::mode(&report), Some(mode));
            replace(&report, Readers::Owner, b"y").unwrap();
            assert_eq!(side_file::mode(&report), Some(mode));
        }
        replace(&at("a"), Readers::Of(&at("nothing")), b"x").unwrap();
        replace(&at("b"), Readers::Owner, b"x").unwrap();
        replace(&at("c"), Readers::Usual, b"x").unwrap();
        fs::write(at("usual"), "").unwrap();
        let modes = ["a", "b", "c"].map(|name| side_file::mode(&at(name)));
        assert_eq!(modes, [Some(0o600), Some(0o600), side_file::mode(&at("usual"))]);
    }
}
