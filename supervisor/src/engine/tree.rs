//! Sitemaps as they name each other, and what they list, in the order of the
//! documents. A sitemap that is named twice is read once, so a circle ends.
//!
//! Holds the sitemaps' URLs in memory, at most [`SITEMAPS_MAX`] of them; the
//! pages stay in the files that the workers' lines were written to.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};

use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};

use crate::source::Bytes;

/// Most sitemaps in all: what one full index names.
const SITEMAPS_MAX: usize = 50_000;

/// Most pages in all: a thousand full sitemaps, some gigabytes of URLs.
const PAGES_MAX: u64 = 50_000_000;

/// Why pages cannot be had from sitemaps. Nothing has been fetched but sitemaps then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SitemapError {
    /// None, or one of them where all are needed, can be read.
    #[error("cannot read the sitemap {}: {}{}; no page was fetched", failure.url, failure.why, and_more(*others))]
    Unreadable {
        /// The first of them.
        failure: Failure,
        /// How many more there are.
        others: u64,
    },
    /// Too many sitemaps.
    #[error(
        "the sitemaps name more than {SITEMAPS_MAX} others; name some of those with --sitemap; no page was fetched"
    )]
    TooManySitemaps,
    /// Too many pages.
    #[error(
        "the sitemaps list more than {PAGES_MAX} pages; name some of them with --sitemap; no page was fetched"
    )]
    TooManyPages,
    /// What was kept of them cannot be read back.
    #[error("cannot keep what the sitemaps list: {0}")]
    Kept(#[from] io::Error),
    /// Our own bookkeeping is wrong.
    #[error("a worker's line about a sitemap makes no sense; this is a bug")]
    Line,
}

fn and_more(count: u64) -> String {
    if count == 0 { String::new() } else { format!(" (and {count} more)") }
}

/// A sitemap that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Which.
    pub(crate) url: String,
    /// Why, in words.
    pub(crate) why: String,
}

/// What is known of one sitemap.
enum Has {
    /// Not read yet.
    Unread,
    /// It cannot be read.
    Nothing,
    /// Pages: in which file, from where, how many bytes.
    Pages(usize, u64, u64),
    /// Other sitemaps, by number.
    Sitemaps(Vec<usize>),
}

/// The sitemaps of a run.
pub(super) struct Tree {
    sitemaps: Vec<(String, Has)>,
    roots: Vec<usize>,
    seen: FxHashSet<String>,
    /// What the workers wrote, a file for each level.
    files: Vec<File>,
    pages: u64,
    failures: Vec<Failure>,
}

/// The line about one sitemap: the worker's listing, or the record of one that failed.
#[derive(Deserialize)]
struct Head {
    id: usize,
    #[serde(default)]
    is_index: bool,
    #[serde(default)]
    entries: u64,
    error: Option<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    kind: String,
    message: String,
}

#[derive(Deserialize)]
struct Entry {
    loc: String,
}

impl Tree {
    pub(super) fn new(urls: &[String]) -> Self {
        let mut tree = Self {
            sitemaps: Vec::new(),
            roots: Vec::new(),
            seen: FxHashSet::default(),
            files: Vec::new(),
            pages: 0,
            failures: Vec::new(),
        };
        tree.roots = urls.iter().filter_map(|url| tree.add(url.clone())).collect();
        tree
    }

    /// The sitemaps that cannot be read, in the order in which that was found.
    pub(super) fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// Gives up what was not read yet: an index so far down names it.
    pub(super) fn too_deep(&mut self, depth: usize) {
        for (url, _) in self.sitemaps.iter().filter(|(_, has)| matches!(has, Has::Unread)) {
            let why = format!("an index {depth} levels down names it, where there should be pages");
            self.failures.push(Failure { url: url.clone(), why });
        }
    }

    /// Whether what can be read is enough: all of it if that was asked for, else something.
    pub(super) fn check(&self, strict: bool) -> Result<(), SitemapError> {
        match self.failures.first() {
            Some(failure) if strict || self.pages == 0 => {
                let others = self.failures.len() as u64 - 1;
                Err(SitemapError::Unreadable { failure: failure.clone(), others })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// A sitemap's number, if it is new.
    fn add(&mut self, url: String) -> Option<usize> {
        self.seen.insert(url.clone()).then(|| {
            self.sitemaps.push((url, Has::Unread));
            self.sitemaps.len() - 1
        })
    }

    /// The sitemaps that were not read yet: their numbers and URLs.
    pub(super) fn unread(&self) -> (Vec<usize>, Vec<String>) {
        let unread = self.sitemaps.iter().enumerate().filter(|(_, (_, has))| matches!(has, Has::Unread));
        unread.map(|(number, (url, _))| (number, url.clone())).unzip()
    }

    /// Takes what the workers wrote about these sitemaps.
    pub(super) fn take_in(&mut self, numbers: &[usize], mut listings: File) -> Result<(), SitemapError> {
        listings.rewind()?;
        let mut lines = Lines { reader: BufReader::new(&listings), line: Vec::new(), at: 0 };
        while lines.next()? {
            let head: Head = serde_json::from_slice(&lines.line).map_err(|_| SitemapError::Line)?;
            let number = *numbers.get(head.id).ok_or(SitemapError::Line)?;
            let has = match head.error {
                Some(Problem { kind, message }) => {
                    let url = self.sitemaps.get(number).map(|(url, _)| url.clone()).unwrap_or_default();
                    self.failures.push(Failure { url, why: format!("{kind}: {message}") });
                    Has::Nothing
                }
                None if head.is_index => self.index(head.entries, &mut lines)?,
                None => self.pages(head.entries, &mut lines)?,
            };
            if let Some((_, place)) = self.sitemaps.get_mut(number) {
                *place = has;
            }
        }
        drop(lines);
        self.files.push(listings);
        Ok(())
    }

    fn index(&mut self, entries: u64, lines: &mut Lines<'_>) -> Result<Has, SitemapError> {
        let mut named = Vec::new();
        for _ in 0..entries {
            lines.next()?;
            let entry: Entry = serde_json::from_slice(&lines.line).map_err(|_| SitemapError::Line)?;
            named.extend(self.add(entry.loc));
            if self.sitemaps.len() > SITEMAPS_MAX {
                return Err(SitemapError::TooManySitemaps);
            }
        }
        Ok(Has::Sitemaps(named))
    }

    fn pages(&mut self, entries: u64, lines: &mut Lines<'_>) -> Result<Has, SitemapError> {
        let begin = lines.at;
        for _ in 0..entries {
            lines.next()?;
        }
        self.pages += entries;
        if self.pages > PAGES_MAX {
            return Err(SitemapError::TooManyPages);
        }
        Ok(Has::Pages(self.files.len(), begin, lines.at - begin))
    }

    /// Writes how many sitemaps cannot be read, then all pages, in the order in which a person who reads the
    /// documents would meet them.
    pub(super) fn write(&self, out: &mut File) -> io::Result<()> {
        let mut out = BufWriter::new(out);
        serde_json::to_writer(&mut out, &Written { failed: self.failures.len() as u64 })?;
        out.write_all(b"\n")?;
        let mut next: Vec<usize> = self.roots.iter().rev().copied().collect();
        while let Some(number) = next.pop() {
            match self.sitemaps.get(number).map(|(_, has)| has) {
                Some(Has::Sitemaps(named)) => next.extend(named.iter().rev()),
                Some(Has::Pages(file, at, bytes)) => {
                    let Some(mut file) = self.files.get(*file) else { continue };
                    file.seek(SeekFrom::Start(*at))?;
                    io::copy(&mut file.take(*bytes), &mut out)?;
                }
                Some(Has::Unread | Has::Nothing) | None => {}
            }
        }
        out.flush()
    }
}

/// The line before the pages.
#[derive(Serialize, Deserialize)]
struct Written {
    failed: u64,
}

/// What [`Tree::write`] wrote: how many sitemaps cannot be read, and the pages.
pub(super) fn read(written: Bytes) -> io::Result<(u64, Bytes)> {
    let mut reader = BufReader::new(written);
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    let Written { failed } = serde_json::from_slice(&line)?;
    Ok((failed, Box::new(reader)))
}

/// The lines of a file, and how far they were read.
struct Lines<'a> {
    reader: BufReader<&'a File>,
    line: Vec<u8>,
    at: u64,
}

impl Lines<'_> {
    /// Reads the next line; false at the end.
    fn next(&mut self) -> io::Result<bool> {
        self.line.clear();
        let bytes = self.reader.read_until(b'\n', &mut self.line)?;
        self.at += bytes as u64;
        Ok(bytes > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn head(id: usize, is_index: bool, entries: &[&str]) -> String {
        let lines: String = entries.iter().map(|loc| format!("{{\"loc\":\"{loc}\"}}\n")).collect();
        format!("{{\"id\":{id},\"is_index\":{is_index},\"entries\":{}}}\n{lines}", entries.len())
    }

    /// The pages that are written, with the count that is written before them.
    fn written(tree: &Tree) -> (u64, String) {
        let mut out = tempfile::tempfile().unwrap();
        tree.write(&mut out).unwrap();
        out.rewind().unwrap();
        let (failed, mut pages) = read(Box::new(out)).unwrap();
        let mut text = String::new();
        pages.read_to_string(&mut text).unwrap();
        (failed, text.lines().map(|line| line.split('"').nth(3).unwrap()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn pages_come_in_the_order_of_the_documents_and_circles_end() {
        let urls = ["index", "b", "index"].map(str::to_owned);
        let mut tree = Tree::new(&urls);
        let (numbers, unread) = tree.unread();
        assert_eq!(unread, ["index", "b"]);
        let first = head(0, true, &["a", "deep", "index", "b", "c"]) + &head(1, false, &["b1", "b2"]);
        tree.take_in(&numbers, file(&first)).unwrap();
        let (numbers, unread) = tree.unread();
        assert_eq!(unread, ["a", "deep", "c"]);
        let second = head(0, false, &["a1"]) + &head(1, true, &["d", "a"]) + &head(2, false, &[]);
        tree.take_in(&numbers, file(&second)).unwrap();
        let (numbers, unread) = tree.unread();
        assert_eq!(unread, ["d"]);
        tree.take_in(&numbers, file(&head(0, false, &["d1", "d1"]))).unwrap();
        assert!(tree.unread().1.is_empty());
        assert_eq!(written(&tree), (0, "a1 d1 d1 b1 b2".to_owned()));
    }

    #[test]
    fn what_cannot_be_read_is_named_and_counted_and_the_rest_is_used() {
        let mut tree = Tree::new(&["x", "y", "z"].map(str::to_owned));
        let (numbers, _) = tree.unread();
        let error = |id| format!("{{\"id\":{id},\"error\":{{\"kind\":\"dns\",\"message\":\"no {id}\"}}}}\n");
        let lines = head(0, true, &["p", "q"]) + &error(1) + &error(2);
        tree.take_in(&numbers, file(&lines)).unwrap();
        let failure = |url: &str, why: &str| Failure { url: url.to_owned(), why: why.to_owned() };
        assert_eq!(tree.failures(), [failure("y", "dns: no 1"), failure("z", "dns: no 2")]);
        // Nothing is there yet.
        let why = "cannot read the sitemap y: dns: no 1 (and 1 more); no page was fetched";
        assert_eq!(tree.check(false).unwrap_err().to_string(), why);
        let (numbers, unread) = tree.unread();
        assert_eq!(unread, ["p", "q"]);
        tree.take_in(&numbers, file(&(head(0, false, &["p1"]) + &head(1, true, &["deep"])))).unwrap();
        tree.check(false).unwrap();
        assert_eq!(tree.check(true).unwrap_err().to_string(), why);
        tree.too_deep(3);
        assert_eq!(tree.failures().len(), 3);
        assert!(tree.failures()[2].url == "deep" && tree.failures()[2].why.contains("3 levels down"));
        assert_eq!(written(&tree), (3, "p1".to_owned()));
    }
}
