//! Cheap fingerprints of inputs, so that a list of 100 GB is not read before a resumed run starts.
//!
//! The fingerprint of a file is its size and a hash of its content; of a large file, only the two ends are
//! hashed. Path and modification time are ignored, so a list may be copied or touched. A change in the middle
//! of a large list that keeps its size is found by [`super::Gate`] if that part had been read; in the rest it
//! does no harm.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::JournalError;
use crate::plan::{Columns, Input, Sitemaps};
use crate::units;

/// Largest file that is hashed completely: a million URLs, which takes a few milliseconds.
const WHOLE_BYTES_MAX: u64 = 64 << 20;

/// Bytes hashed at each end of a larger file.
const END_BYTES: u64 = 1 << 20;

/// The fingerprint of one input, or of consecutive targets on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fingerprint {
    /// Targets on the command line.
    Typed {
        /// Number of targets.
        count: u64,
        /// Hash of the targets.
        digest: String,
    },
    /// Standard input. Its content is in the spool.
    Stdin,
    /// A file or directory tree. The names in it are hashed while it is walked.
    Tree {
        /// The path as given, because it is part of every record.
        path: String,
    },
    /// Sitemaps. Their entries are in a spool.
    Sitemaps {
        /// Their URLs.
        urls: Vec<String>,
        /// The values of their entries that go into the records.
        keep: Vec<String>,
    },
    /// A list.
    List {
        /// The path, for messages only.
        path: String,
        /// The column of the inputs, if the list has columns.
        column: Option<String>,
        /// The columns that go into the records.
        #[serde(default)]
        keep: Vec<String>,
        /// `None` for a pipe, which is identified by its targets alone.
        content: Option<Content>,
    },
}

/// The fingerprint of a file's content.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Content {
    /// Size in bytes.
    size: u64,
    /// Modification time in seconds since 1970, for messages only.
    modified_s: u64,
    digest: String,
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.size == other.size && self.digest == other.digest
    }
}

impl Eq for Content {}

/// Takes the fingerprints of `inputs`.
///
/// # Errors
/// [`JournalError::Input`] if an input cannot be read.
pub(super) fn take(inputs: &[Input]) -> Result<Vec<Fingerprint>, JournalError> {
    let mut known = Vec::new();
    let mut typed = Typed::default();
    for input in inputs {
        if let Input::Literal(target) = input {
            typed.add(target);
            continue;
        }
        known.extend(typed.take());
        known.push(match input {
            Input::Literal(_) | Input::StdinLines => Fingerprint::Stdin,
            Input::Tree(path) => Fingerprint::Tree { path: path.display().to_string() },
            Input::Sitemaps(Sitemaps { urls, keep, strict: _ }) => {
                Fingerprint::Sitemaps { urls: urls.clone(), keep: keep.clone() }
            }
            Input::Lines(path) => list(path, None)?,
            Input::CsvColumn(path, columns)
            | Input::JsonColumn(path, columns)
            | Input::ParquetColumn(path, columns) => list(path, Some(columns))?,
        });
    }
    known.extend(typed.take());
    Ok(known)
}

#[derive(Default)]
struct Typed {
    count: u64,
    hasher: Xxh3,
}

impl Typed {
    fn add(&mut self, target: &[u8]) {
        self.count += 1;
        self.hasher.update(&(target.len() as u64).to_le_bytes());
        self.hasher.update(target);
    }

    fn take(&mut self) -> Option<Fingerprint> {
        let Self { count, hasher } = std::mem::take(self);
        (count > 0).then(|| Fingerprint::Typed { count, digest: hex(&hasher) })
    }
}

fn hex(hasher: &Xxh3) -> String {
    format!("{:032x}", hasher.digest128())
}

fn list(path: &Path, columns: Option<&Columns>) -> Result<Fingerprint, JournalError> {
    let content = content(path).map_err(|cause| JournalError::Input { path: path.to_owned(), cause })?;
    Ok(Fingerprint::List {
        path: path.display().to_string(),
        column: columns.and_then(|columns| columns.input.clone()),
        keep: columns.map(|columns| columns.keep.clone()).unwrap_or_default(),
        content,
    })
}

fn content(path: &Path) -> io::Result<Option<Content>> {
    // Checked before opening: opening a named pipe would wait or consume it.
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let size = metadata.len();
    let mut file = File::open(path)?;
    let mut hasher = Xxh3::new();
    if size <= WHOLE_BYTES_MAX {
        hash(&mut file, size, &mut hasher)?;
    } else {
        hash(&mut file, END_BYTES, &mut hasher)?;
        file.seek(SeekFrom::Start(size - END_BYTES))?;
        hash(&mut file, END_BYTES, &mut hasher)?;
    }
    let modified = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Ok(Some(Content { size, modified_s: modified.as_secs(), digest: hex(&hasher) }))
}

fn hash(file: &mut File, bytes: u64, hasher: &mut Xxh3) -> io::Result<()> {
    let mut file = file.take(bytes);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => hasher.update(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Returns the differences between the earlier and the current inputs, one sentence each. Pure.
#[must_use]
pub(super) fn changes(was: &[Fingerprint], is: &[Fingerprint]) -> Vec<String> {
    if was.len() != is.len() {
        return vec![format!("the inputs were {} and are now {}", names(was), names(is))];
    }
    was.iter().zip(is).filter_map(|(was, is)| change(was, is)).collect()
}

fn change(was: &Fingerprint, is: &Fingerprint) -> Option<String> {
    match (was, is) {
        (
            Fingerprint::List { column: had, keep: kept, content: before, .. },
            Fingerprint::List { path, column: has, keep: keeps, content: now },
        ) => {
            if kept != keeps {
                return Some(format!("--keep was {} and is now {}", kept_names(kept), kept_names(keeps)));
            }
            if let (Some(had), Some(has)) = (had, has)
                && had != has
            {
                return Some(format!("--column was {had} and is now {has}"));
            }
            match (before, now) {
                (Some(before), Some(now)) if before.size != now.size => Some(format!(
                    "{path} had {} bytes and now has {}{}",
                    before.size,
                    now.size,
                    times(before, now)
                )),
                (Some(before), Some(now)) if before != now => Some(format!(
                    "the content of {path} has changed: its hash was {} and is now {}{}",
                    short(&before.digest),
                    short(&now.digest),
                    times(before, now)
                )),
                (Some(_), Some(_)) | (None, None) => None,
                (Some(_), None) | (None, Some(_)) => {
                    Some(format!("{path} was {} and is now {}", sort(before), sort(now)))
                }
            }
        }
        (
            Fingerprint::Sitemaps { urls: had, keep: kept },
            Fingerprint::Sitemaps { urls: has, keep: keeps },
        ) => {
            if had != has {
                return Some(format!("--sitemap was {} and is now {}", had.join(", "), has.join(", ")));
            }
            let kept_now = || format!("--keep was {} and is now {}", kept_names(kept), kept_names(keeps));
            (kept != keeps).then(kept_now)
        }
        (Fingerprint::Typed { count: had, .. }, Fingerprint::Typed { count: has, .. }) => match had == has {
            _ if was == is => None,
            true => Some("the targets on the command line have changed".to_owned()),
            false => {
                Some(format!("the command line had {} and now has {has}", units::counted(*had, "target")))
            }
        },
        _ if was == is => None,
        _ => Some(format!("an input was {} and is now {}", name(was), name(is))),
    }
}

fn kept_names(keep: &[String]) -> String {
    if keep.is_empty() { "nothing".to_owned() } else { keep.join(",") }
}

fn times(was: &Content, is: &Content) -> String {
    if was.modified_s == is.modified_s {
        return String::new();
    }
    let [was, is] = [was, is].map(|content| {
        humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(content.modified_s))
    });
    format!(" (written {was}, then {is})")
}

fn short(digest: &str) -> &str {
    digest.get(..8).unwrap_or(digest)
}

const fn sort(content: &Option<Content>) -> &'static str {
    if content.is_some() { "a file" } else { "a pipe" }
}

fn name(known: &Fingerprint) -> String {
    match known {
        Fingerprint::Typed { count, .. } => format!("{count} on the command line"),
        Fingerprint::Stdin => "standard input".to_owned(),
        Fingerprint::Sitemaps { urls, .. } => format!("the sitemap {}", urls.join(", ")),
        Fingerprint::Tree { path } | Fingerprint::List { path, .. } => path.clone(),
    }
}

/// Names the first few inputs, because there may be thousands.
fn names(known: &[Fingerprint]) -> String {
    const SHOWN: usize = 5;
    let mut names: Vec<String> = known.iter().take(SHOWN).map(name).collect();
    match known.len() {
        0 => return "none".to_owned(),
        all if all > SHOWN => names.push(format!("{} more", all - SHOWN)),
        _ => {}
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn check(change: impl Fn(&Path), want: &[&str]) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("urls.txt");
        fs::write(&path, "http://a/\nhttp://b/\n").unwrap();
        let inputs = [Input::Lines(path.clone())];
        let was = take(&inputs).unwrap();
        let stored: Vec<Fingerprint> = serde_json::from_str(&serde_json::to_string(&was).unwrap()).unwrap();
        assert_eq!(stored, was);
        change(&path);
        let changes = changes(&stored, &take(&inputs).unwrap());
        assert_eq!(changes.len(), want.len(), "{changes:?}");
        for (change, want) in changes.iter().zip(want) {
            assert!(change.contains(&path.display().to_string()) && change.contains(want), "{change}");
        }
    }

    #[test]
    fn a_list_is_known_by_its_content() {
        check(|_| {}, &[]);
        check(|path| fs::write(path, "http://a/\nhttp://b/\n").unwrap(), &[]);
        let later = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        check(|path| File::options().append(true).open(path).unwrap().set_modified(later).unwrap(), &[]);
        check(|path| fs::write(path, "http://a/\nhttp://c/\n").unwrap(), &["its hash was "]);
        check(|path| fs::write(path, "http://a/\n").unwrap(), &["had 20 bytes and now has 10"]);
        check(
            |path| {
                fs::write(path, "").unwrap();
                File::options().append(true).open(path).unwrap().set_modified(later).unwrap();
            },
            &["then 2033-05-18T03:33:20Z"],
        );
    }

    #[test]
    fn a_large_list_is_known_by_its_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("large");
        // A sparse file, which uses no disk space.
        let file = File::create(&path).unwrap();
        file.set_len(WHOLE_BYTES_MAX + 3 * END_BYTES).unwrap();
        let inputs = [Input::Lines(path)];
        let was = take(&inputs).unwrap();
        for at in [0, END_BYTES - 1, WHOLE_BYTES_MAX + 2 * END_BYTES, WHOLE_BYTES_MAX + 3 * END_BYTES - 1] {
            std::os::unix::fs::FileExt::write_at(&file, b"x", at).unwrap();
            assert_eq!(changes(&was, &take(&inputs).unwrap()).len(), 1, "{at}");
            std::os::unix::fs::FileExt::write_at(&file, b"\0", at).unwrap();
            assert_eq!(changes(&was, &take(&inputs).unwrap()).len(), 0, "{at}");
        }
    }

    #[test]
    fn other_inputs_are_named() {
        let literal = |text: &str| Input::Literal(text.as_bytes().to_vec());
        let tree = |path: &str| Input::Tree(PathBuf::from(path));
        let table: [(&[Input], &[Input], Option<&str>); 7] = [
            (&[literal("a"), literal("b")], &[literal("a"), literal("b")], None),
            (
                &[literal("a")],
                &[literal("a"), literal("b")],
                Some("the command line had 1 target and now has 2"),
            ),
            (
                &[literal("ab"), literal("c")],
                &[literal("a"), literal("bc")],
                Some("the targets on the command line have changed"),
            ),
            (&[tree("x")], &[tree("y")], Some("an input was x and is now y")),
            (&[tree("x")], &[tree("x"), tree("y")], Some("the inputs were x and are now x, y")),
            (&[Input::StdinLines], &[tree("x")], Some("an input was standard input and is now x")),
            (
                &[Input::Lines("/dev/null".into())],
                &[Input::Lines("/etc/passwd".into())],
                Some("/etc/passwd was a pipe and is now a file"),
            ),
        ];
        for (was, is, want) in table {
            let changes = changes(&take(was).unwrap(), &take(is).unwrap());
            assert_eq!(changes.first().map(String::as_str), want);
        }
        assert!(matches!(take(&[Input::Lines("/none".into())]), Err(JournalError::Input { .. })));
    }
}
