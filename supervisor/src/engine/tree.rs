//! Sitemaps as they name each other, and what they list, in the order of the
//! documents. A sitemap that is named twice is read once, so a circle ends.
//!
//! Holds the sitemaps' URLs in memory, at most [`SITEMAPS_MAX`] of them; the
//! pages stay in the files that the workers' lines were written to.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};

use rustc_hash::FxHashSet;
use serde::Deserialize;

/// Most sitemaps in all: what one full index names.
const SITEMAPS_MAX: usize = 50_000;

/// Most pages in all: a thousand full sitemaps, some gigabytes of URLs.
const PAGES_MAX: u64 = 50_000_000;

/// Why pages cannot be had from sitemaps. Nothing has been fetched but sitemaps then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SitemapError {
    /// One or more cannot be read.
    #[error("cannot read the sitemap {url}: {kind}: {message}{}; no page was fetched", and_more(*others))]
    Unreadable {
        /// The first of them.
        url: String,
        /// What is wrong with it.
        kind: String,
        /// The same in words.
        message: String,
        /// How many more there are.
        others: u64,
    },
    /// Indexes of indexes of indexes.
    #[error(
        "the sitemap {url} is named by an index {depth} levels down, where there should be pages; no page was fetched"
    )]
    TooDeep {
        /// One of them.
        url: String,
        /// How deep.
        depth: usize,
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

/// What is known of one sitemap.
enum Has {
    /// Not read yet.
    Unread,
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
}

/// The line about one sitemap: the worker's listing, or the record of one that failed.
#[derive(Deserialize)]
struct Head {
    id: usize,
    #[serde(default)]
    is_index: bool,
    #[serde(default)]
    entries: u64,
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
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
        };
        tree.roots = urls.iter().filter_map(|url| tree.add(url.clone())).collect();
        tree
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
        let mut failed: Option<SitemapError> = None;
        while lines.next()? {
            let head: Head = serde_json::from_slice(&lines.line).map_err(|_| SitemapError::Line)?;
            let number = *numbers.get(head.id).ok_or(SitemapError::Line)?;
            let has = match head.error {
                Some(failure) => {
                    self.failed(number, failure, &mut failed);
                    continue;
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
        failed.map_or(Ok(()), Err)
    }

    fn failed(&self, number: usize, failure: Failure, first: &mut Option<SitemapError>) {
        match first {
            Some(SitemapError::Unreadable { others, .. }) => *others += 1,
            Some(_) => {}
            None => {
                let url = self.sitemaps.get(number).map(|(url, _)| url.clone()).unwrap_or_default();
                let Failure { kind, message } = failure;
                *first = Some(SitemapError::Unreadable { url, kind, message, others: 0 });
            }
        }
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

    /// Writes all pages, in the order in which a person who reads the documents would meet them.
    pub(super) fn write(&self, out: &mut File) -> io::Result<()> {
        let mut out = BufWriter::new(out);
        let mut next: Vec<usize> = self.roots.iter().rev().copied().collect();
        while let Some(number) = next.pop() {
            match self.sitemaps.get(number).map(|(_, has)| has) {
                Some(Has::Sitemaps(named)) => next.extend(named.iter().rev()),
                Some(Has::Pages(file, at, bytes)) => {
                    let Some(mut file) = self.files.get(*file) else { continue };
                    file.seek(SeekFrom::Start(*at))?;
                    io::copy(&mut file.take(*bytes), &mut out)?;
                }
                Some(Has::Unread) | None => {}
            }
        }
        out.flush()
    }
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

    fn written(tree: &Tree) -> String {
        let mut out = tempfile::tempfile().unwrap();
        tree.write(&mut out).unwrap();
        out.rewind().unwrap();
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        text.lines().map(|line| line.split('"').nth(3).unwrap()).collect::<Vec<_>>().join(" ")
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
        assert_eq!(written(&tree), "a1 d1 d1 b1 b2");
    }

    #[test]
    fn what_cannot_be_read_is_named_and_counted() {
        let mut tree = Tree::new(&["x", "y", "z"].map(str::to_owned));
        let (numbers, _) = tree.unread();
        let error = |id| format!("{{\"id\":{id},\"error\":{{\"kind\":\"dns\",\"message\":\"no {id}\"}}}}\n");
        let lines = head(0, false, &["p"]) + &error(1) + &error(2);
        let error = tree.take_in(&numbers, file(&lines)).unwrap_err().to_string();
        assert_eq!(error, "cannot read the sitemap y: dns: no 1 (and 1 more); no page was fetched");
    }
}
