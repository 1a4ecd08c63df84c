//! By what an input is known again, cheaply: a list of 100 GB is not read
//! through before a run begins.
//!
//! Of a file: its size, and a hash of its content, of which only the two ends
//! are taken when it is large. Where it lies and when it was written do not
//! count, so a list that was copied or touched still serves. A change in the
//! middle of a large list that keeps its size is found by [`super::Gate`] if it
//! is in the part that had been read; in the rest it harms nothing.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::JournalError;
use crate::plan::{Columns, Input, Sitemaps};

/// A file up to this size is hashed whole: a million URLs, in a few milliseconds.
const WHOLE_BYTES_MAX: u64 = 64 << 20;

/// How much of each end of a larger file is hashed.
const END_BYTES: u64 = 1 << 20;

/// One of a job's inputs, or several targets that were typed one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// Targets on the command line.
    Typed {
        /// How many.
        count: u64,
        /// What they hash to.
        digest: String,
    },
    /// Standard input. What came from it is in the spool.
    Stdin,
    /// A file or directory that is walked; the names found there are hashed as they come.
    Tree {
        /// As it was given: it is part of every record.
        path: String,
    },
    /// Sitemaps. What they listed is in their spool.
    Sitemaps {
        /// Where they are.
        urls: Vec<String>,
        /// What of their entries goes into the records.
        keep: Vec<String>,
    },
    /// A list.
    List {
        /// Only for messages.
        path: String,
        /// Which column, if it has columns.
        column: Option<String>,
        /// Which others go into the records.
        #[serde(default)]
        keep: Vec<String>,
        /// `None` is a pipe, which is known by its targets alone.
        content: Option<Content>,
    },
}

/// A file's content, as far as it is looked at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Content {
    /// Bytes in all.
    size: u64,
    /// Seconds since 1970; only for messages.
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
/// [`JournalError::Input`] when one cannot be read.
pub(super) fn take(inputs: &[Input]) -> Result<Vec<Known>, JournalError> {
    let mut known = Vec::new();
    let mut typed = Typed::default();
    for input in inputs {
        if let Input::Literal(target) = input {
            typed.add(target);
            continue;
        }
        known.extend(typed.take());
        known.push(match input {
            Input::Literal(_) | Input::StdinLines => Known::Stdin,
            Input::Tree(path) => Known::Tree { path: path.display().to_string() },
            Input::Sitemaps(Sitemaps { urls, keep, strict: _ }) => {
                Known::Sitemaps { urls: urls.clone(), keep: keep.clone() }
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

    fn take(&mut self) -> Option<Known> {
        let Self { count, hasher } = std::mem::take(self);
        (count > 0).then(|| Known::Typed { count, digest: hex(&hasher) })
    }
}

fn hex(hasher: &Xxh3) -> String {
    format!("{:032x}", hasher.digest128())
}

fn list(path: &Path, columns: Option<&Columns>) -> Result<Known, JournalError> {
    let content = content(path).map_err(|cause| JournalError::Input { path: path.to_owned(), cause })?;
    Ok(Known::List {
        path: path.display().to_string(),
        column: columns.map(|columns| columns.input.clone()),
        keep: columns.map(|columns| columns.keep.clone()).unwrap_or_default(),
        content,
    })
}

fn content(path: &Path) -> io::Result<Option<Content>> {
    // Not opened before it is known to be a file: opening a named pipe would wait, or use it up.
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

/// What differs between the inputs as they were and as they are, one sentence each. Pure.
#[must_use]
pub(super) fn changes(was: &[Known], is: &[Known]) -> Vec<String> {
    if was.len() != is.len() {
        return vec![format!("the inputs were {}, and are {}", names(was), names(is))];
    }
    was.iter().zip(is).filter_map(|(was, is)| change(was, is)).collect()
}

fn change(was: &Known, is: &Known) -> Option<String> {
    match (was, is) {
        (
            Known::List { column: had, keep: kept, content: before, .. },
            Known::List { path, column: has, keep: keeps, content: now },
        ) => {
            if kept != keeps {
                return Some(format!("--keep was {}, and is {}", kept_names(kept), kept_names(keeps)));
            }
            if let (Some(had), Some(has)) = (had, has)
                && had != has
            {
                return Some(format!("--column was {had}, and is {has}"));
            }
            match (before, now) {
                (Some(before), Some(now)) if before.size != now.size => Some(format!(
                    "{path} had {} bytes, and has {}{}",
                    before.size,
                    now.size,
                    times(before, now)
                )),
                (Some(before), Some(now)) if before != now => Some(format!(
                    "{path} has another content: its hash was {}, and is {}{}",
                    short(&before.digest),
                    short(&now.digest),
                    times(before, now)
                )),
                (Some(_), Some(_)) | (None, None) => None,
                (Some(_), None) | (None, Some(_)) => {
                    Some(format!("{path} was {}, and is {}", sort(before), sort(now)))
                }
            }
        }
        (Known::Sitemaps { urls: had, keep: kept }, Known::Sitemaps { urls: has, keep: keeps }) => {
            if had != has {
                return Some(format!("--sitemap was {}, and is {}", had.join(", "), has.join(", ")));
            }
            let kept_now = || format!("--keep was {}, and is {}", kept_names(kept), kept_names(keeps));
            (kept != keeps).then(kept_now)
        }
        (Known::Typed { count: had, .. }, Known::Typed { count: has, .. }) => match had == has {
            _ if was == is => None,
            true => Some("the targets on the command line are others".to_owned()),
            false => Some(format!("there were {had} targets on the command line, and now there are {has}")),
        },
        _ if was == is => None,
        _ => Some(format!("an input was {}, and is {}", name(was), name(is))),
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

fn name(known: &Known) -> String {
    match known {
        Known::Typed { count, .. } => format!("{count} on the command line"),
        Known::Stdin => "standard input".to_owned(),
        Known::Sitemaps { urls, .. } => format!("the sitemap {}", urls.join(", ")),
        Known::Tree { path } | Known::List { path, .. } => path.clone(),
    }
}

/// The first few; thousands of files may have been named.
fn names(known: &[Known]) -> String {
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
        let stored: Vec<Known> = serde_json::from_str(&serde_json::to_string(&was).unwrap()).unwrap();
        assert_eq!(stored, was);
        change(&path);
        let changes = changes(&stored, &take(&inputs).unwrap());
        assert_eq!(changes.len(), want.len(), "{changes:?}");
        for (change, want) in changes.iter().zip(want) {
            assert!(change.starts_with(&path.display().to_string()) && change.contains(want), "{change}");
        }
    }

    #[test]
    fn a_list_is_known_by_its_content() {
        check(|_| {}, &[]);
        check(|path| fs::write(path, "http://a/\nhttp://b/\n").unwrap(), &[]);
        let later = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        check(|path| File::options().append(true).open(path).unwrap().set_modified(later).unwrap(), &[]);
        check(|path| fs::write(path, "http://a/\nhttp://c/\n").unwrap(), &["its hash was "]);
        check(|path| fs::write(path, "http://a/\n").unwrap(), &["had 20 bytes, and has 10"]);
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
        // Sparse: no disk is used for it.
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
                Some("there were 1 targets on the command line, and now there are 2"),
            ),
            (
                &[literal("ab"), literal("c")],
                &[literal("a"), literal("bc")],
                Some("the targets on the command line are others"),
            ),
            (&[tree("x")], &[tree("y")], Some("an input was x, and is y")),
            (&[tree("x")], &[tree("x"), tree("y")], Some("the inputs were x, and are x, y")),
            (&[Input::StdinLines], &[tree("x")], Some("an input was standard input, and is x")),
            (
                &[Input::Lines("/dev/null".into())],
                &[Input::Lines("/etc/passwd".into())],
                Some("/etc/passwd was a pipe, and is a file"),
            ),
        ];
        for (was, is, want) in table {
            let changes = changes(&take(was).unwrap(), &take(is).unwrap());
            assert_eq!(changes.first().map(String::as_str), want);
        }
        assert!(matches!(take(&[Input::Lines("/none".into())]), Err(JournalError::Input { .. })));
    }
}
