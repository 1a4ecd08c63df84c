//! A directory walked for `*.html` and `*.htm`, sorted by name, one directory
//! at a time: what is held is the names of the directories on the way down.
//!
//! Links to directories are not followed, so there are no loops.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::vec;

use super::Candidate;

/// A walk under way.
pub(super) struct Walk {
    /// Directories on the way down, the deepest last.
    open: Vec<Directory>,
}

/// What is left of one directory.
struct Directory {
    path: PathBuf,
    entries: vec::IntoIter<Entry>,
}

/// A page or a directory. Other files are dropped before they are sorted.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    name: Box<std::ffi::OsStr>,
    is_directory: bool,
}

impl Walk {
    /// A named file is itself a target, whatever its extension, and so is a path
    /// where nothing is: its record says that it could not be read.
    pub(super) fn begin(path: PathBuf) -> (Self, Option<Candidate>) {
        let mut walk = Self { open: Vec::new() };
        let first = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => walk.enter(path),
            Ok(_) | Err(_) => Some(target(path)),
        };
        (walk, first)
    }

    pub(super) fn next(&mut self) -> Option<Candidate> {
        while let Some(directory) = self.open.last_mut() {
            let Some(entry) = directory.entries.next() else {
                self.open.pop();
                continue;
            };
            let path = directory.path.join(&*entry.name);
            if !entry.is_directory {
                return Some(target(path));
            }
            if let Some(unreadable) = self.enter(path) {
                return Some(unreadable);
            }
        }
        None
    }

    /// Begins a directory; if it cannot be read to its end, that is a target that is refused.
    fn enter(&mut self, path: PathBuf) -> Option<Candidate> {
        let mut entries = Vec::new();
        let problem = read(&path, &mut entries).err().map(|error| {
            let bytes = path.clone().into_os_string().into_vec();
            Candidate::refused(&bytes, format!("cannot read the directory: {error}"))
        });
        entries.sort_unstable();
        self.open.push(Directory { path, entries: entries.into_iter() });
        problem
    }
}

fn target(path: PathBuf) -> Candidate {
    Candidate::good(path.into_os_string().into_vec())
}

fn read(path: &Path, entries: &mut Vec<Entry>) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let name: OsString = entry.file_name();
        let wanted = if kind.is_dir() {
            true
        } else if !is_page(Path::new(&name)) {
            false
        } else if kind.is_symlink() {
            // A link that leads nowhere is a page that cannot be read, and its record says so.
            fs::metadata(entry.path()).map_or(true, |metadata| metadata.is_file())
        } else {
            // Opening a pipe somebody left here would wait for ever.
            kind.is_file()
        };
        if wanted {
            entries.push(Entry { name: name.into_boxed_os_str(), is_directory: kind.is_dir() });
        }
    }
    Ok(())
}

fn is_page(name: &Path) -> bool {
    name.extension().is_some_and(|extension| {
        extension.eq_ignore_ascii_case("html") || extension.eq_ignore_ascii_case("htm")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(path: PathBuf) -> Vec<Candidate> {
        let (mut walk, mut next) = Walk::begin(path);
        let mut found = Vec::new();
        loop {
            match next.take().or_else(|| walk.next()) {
                Some(candidate) => found.push(candidate),
                None => return found,
            }
        }
    }

    fn names(root: &Path, found: &[Candidate]) -> Vec<String> {
        let root = format!("{}/", root.display());
        found.iter().map(|c| String::from_utf8_lossy(&c.input).replace(&root, "")).collect()
    }

    #[test]
    fn pages_come_sorted_and_nothing_else_does() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir_all(root.join("b/deep")).unwrap();
        fs::create_dir_all(root.join("empty.html")).unwrap();
        for name in
            ["c.html", "a.HTM", "b/2.html", "b/10.html", "b/deep/x.htm", "notes.txt", "html", "b.html"]
        {
            fs::write(root.join(name), "").unwrap();
        }
        std::os::unix::fs::symlink(root, root.join("b/loop")).unwrap();
        std::os::unix::fs::symlink(root, root.join("loop.html")).unwrap();
        std::os::unix::fs::symlink("c.html", root.join("link.html")).unwrap();
        std::os::unix::fs::symlink("gone", root.join("broken.html")).unwrap();
        nix::unistd::mkfifo(&root.join("pipe.html"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(
            names(root, &walk(root.to_owned())),
            [
                "a.HTM",
                "b/10.html",
                "b/2.html",
                "b/deep/x.htm",
                "b.html",
                "broken.html",
                "c.html",
                "link.html",
            ]
        );
    }

    #[test]
    fn a_named_path_is_a_target_whatever_it_is() {
        let root = tempfile::tempdir().unwrap();
        let named = root.path().join("page.txt");
        fs::write(&named, "").unwrap();
        for path in [named, root.path().join("missing.html")] {
            assert_eq!(walk(path.clone()), [target(path)]);
        }
        let link = root.path().join("link");
        std::os::unix::fs::symlink(root.path(), &link).unwrap();
        fs::write(root.path().join("a.html"), "").unwrap();
        assert_eq!(names(root.path(), &walk(link)), ["link/a.html"]);
    }

    #[test]
    fn a_directory_that_cannot_be_read_is_one_refused_target() {
        let root = tempfile::tempdir().unwrap();
        let mut walk = Walk { open: Vec::new() };
        let gone = root.path().join("gone");
        let problem = walk.enter(gone.clone()).unwrap();
        assert_eq!(problem.input, gone.into_os_string().into_vec());
        assert!(problem.refused.unwrap().contains("cannot read the directory: No such file"));
        assert_eq!(walk.next(), None);
    }
}
