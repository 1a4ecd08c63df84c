//! Walks a directory for `*.html` and `*.htm` files, sorted by name, one directory at a time. It holds only
//! the names in the directories on the current path.
//!
//! Links to files and directories are followed, even out of the named directory. A link to a directory that
//! contains it is not followed, so there are no loops.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::vec;

use super::Candidate;
use crate::descriptor::{self, Resolved};
use crate::plan::Within;

/// A walk in progress.
#[derive(Default)]
pub(super) struct Walk {
    /// The directories on the current path, deepest last.
    open: Vec<Directory>,
    within: Within,
    /// The targets of links, if they are collected. Then pages that are not links are skipped.
    led_to: Option<Vec<PathBuf>>,
}

/// The rest of a directory.
struct Directory {
    path: PathBuf,
    entries: vec::IntoIter<Entry>,
}

/// A page or a directory. Other files are dropped before sorting.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    name: Box<std::ffi::OsStr>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Page,
    Directory,
    LinkedDirectory,
    /// A link that must not be followed.
    Refused(&'static str),
}

/// Why a job of the service does not follow a link. Broken links get the same message, so that jobs cannot
/// probe files.
const LEADS_OUT: &str =
    "it is a broken link, or a link out of the directories that jobs may read (--allow-path)";

/// Why a link to `/dev/stdin` or the like is not followed.
const LEADS_INTO_A_PROCESS: &str =
    "it is a link to a descriptor or into /proc/self, which means something else in each process";

impl Walk {
    /// Starts a walk. A named file is a target whatever its extension, and so is a missing path, whose
    /// record says that it could not be read.
    pub(super) fn begin(path: PathBuf, within: Within) -> (Self, Option<Candidate>) {
        Self { within, ..Self::default() }.started(path)
    }

    fn started(mut self, path: PathBuf) -> (Self, Option<Candidate>) {
        if !is_allowed(&path, &self.within) {
            let shown = path.into_os_string().into_vec();
            return (self, Some(Candidate::refused(&shown, LEADS_OUT.to_owned())));
        }
        let first = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => self.enter(path),
            Ok(_) | Err(_) => Some(target(path)),
        };
        (self, first)
    }

    pub(super) fn next(&mut self) -> Option<Candidate> {
        while let Some(directory) = self.open.last_mut() {
            let Some(entry) = directory.entries.next() else {
                self.open.pop();
                continue;
            };
            let path = directory.path.join(&*entry.name);
            let found = match entry.kind {
                Kind::Page => Some(target(path)),
                Kind::Directory => self.enter(path),
                Kind::LinkedDirectory if self.is_loop(&path) => None,
                Kind::LinkedDirectory => self.enter(path),
                Kind::Refused(why) => {
                    Some(Candidate::refused(path.into_os_string().as_encoded_bytes(), why.to_owned()))
                }
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Whether a directory is one of its own ancestors.
    fn is_loop(&self, path: &Path) -> bool {
        let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let Ok(linked) = fs::metadata(path).map(identity) else { return false };
        let mut above = self.open.iter().filter_map(|directory| fs::metadata(&directory.path).ok());
        above.any(|metadata| identity(metadata) == linked)
    }

    /// Enters a directory. If it cannot be read, returns a refused target.
    fn enter(&mut self, path: PathBuf) -> Option<Candidate> {
        let mut entries = Vec::new();
        let problem = self.read(&path, &mut entries).err().map(|error| {
            let bytes = path.clone().into_os_string().into_vec();
            Candidate::refused(&bytes, format!("cannot read the directory: {error}"))
        });
        entries.sort_unstable();
        self.open.push(Directory { path, entries: entries.into_iter() });
        problem
    }

    fn read(&mut self, path: &Path, entries: &mut Vec<Entry>) -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let found = if kind.is_dir() {
                Some(Kind::Directory)
            } else if kind.is_symlink() {
                self.linked(&entry.path())
            } else {
                // Opening a pipe would wait forever.
                let is_wanted = kind.is_file() && self.led_to.is_none();
                (is_wanted && is_page(Path::new(&entry.file_name()))).then_some(Kind::Page)
            };
            entries.extend(found.map(|kind| Entry { name: entry.file_name().into_boxed_os_str(), kind }));
        }
        Ok(())
    }

    /// Returns what a link leads to, if it is wanted.
    fn linked(&mut self, path: &Path) -> Option<Kind> {
        let metadata = fs::metadata(path);
        let kind = match &metadata {
            Ok(metadata) if metadata.is_dir() => Kind::LinkedDirectory,
            // A broken link is a page whose record says that it cannot be read.
            Err(_) if is_page(path) => Kind::Page,
            Ok(metadata) if metadata.is_file() && is_page(path) => Kind::Page,
            Ok(_) | Err(_) => return None,
        };
        if !is_allowed(path, &self.within) {
            return Some(Kind::Refused(LEADS_OUT));
        }
        if !matches!(descriptor::resolve(path), Resolved::Path(_)) {
            return Some(Kind::Refused(LEADS_INTO_A_PROCESS));
        }
        if let Some(led_to) = &mut self.led_to {
            led_to.extend(fs::canonicalize(path));
        }
        Some(kind)
    }
}

/// Whether `path` resolves to an allowed directory.
#[must_use]
pub fn is_allowed(path: &Path, within: &Within) -> bool {
    let Some(within) = within else { return true };
    fs::canonicalize(path).is_ok_and(|real| within.iter().any(|directory| real.starts_with(directory)))
}

/// Most link targets outside the named directory that workers get access to one by one: each costs every
/// worker one or two system calls at its start. If there are more, their directories are allowed instead.
const PLACES_MAX: usize = 1024;

/// Returns the targets of links below `root` that are outside it.
#[must_use]
pub fn led_out(root: &Path, within: &Within) -> Vec<PathBuf> {
    let Ok(real) = fs::canonicalize(root) else { return Vec::new() };
    let walk = Walk { within: within.clone(), led_to: Some(Vec::new()), ..Walk::default() };
    let (mut walk, _) = walk.started(root.to_owned());
    let mut places = Vec::new();
    loop {
        let more = walk.next().is_some();
        let led_to = walk.led_to.iter_mut().flat_map(|led_to| led_to.drain(..));
        places.extend(led_to.filter(|place| !place.starts_with(&real)));
        if places.len() > 2 * PLACES_MAX || !more {
            places = fewer(places, PLACES_MAX);
        }
        if !more {
            return places;
        }
    }
}

/// Reduces paths to at most `max` by replacing them with their directories, deepest first.
fn fewer(mut places: Vec<PathBuf>, max: usize) -> Vec<PathBuf> {
    loop {
        places.sort_unstable();
        // In sorted order, a path comes after its ancestors.
        places.dedup_by(|place, above| place.starts_with(above));
        let depth = places.iter().map(|place| place.components().count()).max().unwrap_or(0);
        if places.len() <= max || depth <= 1 {
            return places;
        }
        for place in &mut places {
            if place.components().count() == depth {
                place.pop();
            }
        }
    }
}

/// Returns the pages below `root`, or `root` itself if it is not a directory, as a run finds them. Omits what
/// is not a file, such as broken links.
///
/// # Errors
/// If a directory cannot be read.
pub fn pages(root: &Path) -> Result<Vec<PathBuf>, String> {
    let (mut walk, mut first) = Walk::begin(root.to_owned(), None);
    let mut pages = Vec::new();
    while let Some(Candidate { input, refused, .. }) = first.take().or_else(|| walk.next()) {
        let path = PathBuf::from(OsString::from_vec(input));
        match refused {
            Some(why) if path.is_dir() => return Err(format!("{}: {why}", path.display())),
            None if path.is_file() => pages.push(path),
            Some(_) | None => {}
        }
    }
    Ok(pages)
}

fn target(path: PathBuf) -> Candidate {
    Candidate::good(path.into_os_string().into_vec())
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
        walk_within(path, None)
    }

    fn walk_within(path: PathBuf, within: Within) -> Vec<Candidate> {
        let (mut walk, mut next) = Walk::begin(path, within);
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
        let mut walk = Walk::default();
        let gone = root.path().join("gone");
        let problem = walk.enter(gone.clone()).unwrap();
        assert_eq!(problem.input, gone.into_os_string().into_vec());
        assert!(problem.refused.unwrap().contains("cannot read the directory: No such file"));
        assert_eq!(walk.next(), None);
    }

    /// A tree with links out of it, into it and to itself, and the targets of these links.
    fn linked() -> (tempfile::TempDir, tempfile::TempDir) {
        let (tree, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let link = |target: &Path, name: &str| {
            std::os::unix::fs::symlink(target, tree.path().join(name)).unwrap();
        };
        fs::create_dir_all(tree.path().join("sub/deep")).unwrap();
        fs::create_dir_all(outside.path().join("dir/below")).unwrap();
        for name in ["dir/1.html", "dir/below/2.html", "3.bin", "notes.txt"] {
            fs::write(outside.path().join(name), "").unwrap();
        }
        fs::write(tree.path().join("sub/real.html"), "").unwrap();
        link(&outside.path().join("3.bin"), "a.html");
        link(Path::new("a.html"), "b.html");
        link(&outside.path().join("notes.txt"), "c.txt");
        link(&outside.path().join("dir"), "d");
        link(Path::new(".."), "sub/deep/up");
        link(tree.path(), "sub/root.html");
        link(Path::new("sub"), "alias");
        link(Path::new("/proc/self/status"), "e.html");
        link(Path::new("nowhere"), "f.html");
        std::os::unix::fs::symlink(tree.path(), outside.path().join("dir/back")).unwrap();
        (tree, outside)
    }

    #[test]
    fn links_are_followed_and_loops_are_not() {
        let (tree, _outside) = linked();
        let found = walk(tree.path().to_owned());
        assert_eq!(
            names(tree.path(), &found),
            [
                "a.html",
                "alias/real.html",
                "b.html",
                "d/1.html",
                "d/below/2.html",
                "e.html",
                "f.html",
                "sub/real.html"
            ]
        );
        let refused: Vec<_> = found.iter().filter_map(|found| found.refused.as_deref()).collect();
        assert_eq!(refused, [LEADS_INTO_A_PROCESS]);
    }

    #[test]
    fn pages_to_send_are_those_that_a_run_reads() {
        let (tree, _outside) = linked();
        let found = pages(tree.path()).unwrap();
        let found: Vec<_> = found.iter().map(|page| page.strip_prefix(tree.path()).unwrap()).collect();
        let want = ["a.html", "alias/real.html", "b.html", "d/1.html", "d/below/2.html", "sub/real.html"];
        assert_eq!(found, want.map(Path::new));
        assert_eq!(pages(&tree.path().join("sub/real.html")).unwrap().len(), 1);
    }

    #[test]
    fn where_links_lead_to_is_known_before() {
        let (tree, outside) = linked();
        let mut want = vec![outside.path().join("3.bin"), outside.path().join("dir")];
        want.sort();
        assert_eq!(led_out(tree.path(), &None), want);
        assert!(led_out(&tree.path().join("sub/real.html"), &None).is_empty());
        assert!(led_out(&tree.path().join("gone"), &None).is_empty());
    }

    #[test]
    fn a_job_stays_where_it_may_read() {
        let (tree, outside) = linked();
        let real = fs::canonicalize(tree.path()).unwrap();
        let within: Within = Some([real].into());
        let found = walk_within(tree.path().to_owned(), within.clone());
        let is_refused = |found: &Candidate| found.refused.as_deref() == Some(LEADS_OUT);
        let (refused, read): (Vec<_>, Vec<_>) = found.into_iter().partition(is_refused);
        assert_eq!(names(tree.path(), &refused), ["a.html", "b.html", "d", "e.html", "f.html"]);
        assert_eq!(names(tree.path(), &read), ["alias/real.html", "sub/real.html"]);
        assert!(led_out(tree.path(), &within).is_empty());
        // A walk does not start outside either, for example if a link was changed after the check.
        let within: Within = Some([fs::canonicalize(outside.path()).unwrap()].into());
        let root = tree.path().as_os_str().as_encoded_bytes();
        let found = walk_within(tree.path().to_owned(), within);
        assert_eq!(found, [Candidate::refused(root, LEADS_OUT.to_owned())]);
        let both = [tree.path(), outside.path()].map(|path| fs::canonicalize(path).unwrap());
        assert!(led_out(tree.path(), &Some(both.into())).len() == 2);
    }

    #[test]
    fn many_places_become_the_directories_that_they_are_in() {
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        let many = paths(&["/a/b/1", "/a/b/2", "/a/c/3", "/d", "/a/c/3/x", "/a/b/1"]);
        assert_eq!(fewer(many.clone(), 4), paths(&["/a/b/1", "/a/b/2", "/a/c/3", "/d"]));
        assert_eq!(fewer(many.clone(), 3), paths(&["/a/b", "/a/c", "/d"]));
        assert_eq!(fewer(many.clone(), 2), paths(&["/a", "/d"]));
        assert_eq!(fewer(many, 1), paths(&["/"]));
    }
}
