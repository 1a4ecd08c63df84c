//! Sitemaps as they name each other, and what they list, in the order of the
//! documents. A sitemap that is named twice is read once, so a circle ends.
//!
//! Holds the sitemaps' URLs in memory, at most [`SITEMAPS_MAX`] of them; the
//! pages stay in the files that the workers' listings were written to.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};

use rustc_hash::FxHashSet;
use shared::framed;
use shared::sitemap::{Found, Listing, Pages};

use crate::source::Bytes;

/// Most sitemaps in all: what one full index names.
const SITEMAPS_MAX: usize = 50_000;

/// Most pages in all: a thousand full sitemaps, some gigabytes of URLs.
const PAGES_MAX: u64 = 50_000_000;

/// Why sitemaps give no pages. Only sitemaps have been fetched then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SitemapError {
    /// No sitemap can be read, or one cannot be read and all are needed.
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
    /// The kept listings cannot be written or read.
    #[error("cannot keep what the sitemaps list: {0}")]
    Kept(#[from] io::Error),
    /// What was kept of them has another form.
    #[error(
        "cannot resume: the pages that the sitemaps list were kept by another version of this program, in another \
         form; resume with that version, or start anew with --overwrite"
    )]
    OtherVersion,
    /// A worker sent something else.
    #[error("cannot read what a worker sent about a sitemap: it is malformed; this is a bug")]
    Listing,
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

    /// Gives up the sitemaps that were not read yet, because an index so far down names them.
    pub(super) fn too_deep(&mut self, depth: usize) {
        for (url, _) in self.sitemaps.iter().filter(|(_, has)| matches!(has, Has::Unread)) {
            let why = format!("an index {depth} levels down names it, where there should be pages");
            self.failures.push(Failure { url: url.clone(), why });
        }
    }

    /// Checks that enough can be read: every sitemap if `strict`, else at least one page.
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

    /// Takes the listings that the workers wrote about these sitemaps.
    pub(super) fn take_in(&mut self, numbers: &[usize], mut listings: File) -> Result<(), SitemapError> {
        listings.rewind()?;
        let mut listed = Listings { reader: BufReader::new(&listings), at: 0 };
        while let Some(Listing { id, found }) = listed.next()? {
            let number = usize::try_from(id).ok().and_then(|id| numbers.get(id)).copied();
            let number = number.ok_or(SitemapError::Listing)?;
            let has = match found {
                Found::Failed { kind, message } => {
                    let url = self.sitemaps.get(number).map(|(url, _)| url.clone()).unwrap_or_default();
                    self.failures.push(Failure { url, why: format!("{kind}: {message}") });
                    Has::Nothing
                }
                Found::Sitemaps(urls) => self.index(urls)?,
                Found::Pages(pages) => self.pages(&pages, listed.at)?,
            };
            if let Some((_, place)) = self.sitemaps.get_mut(number) {
                *place = has;
            }
        }
        drop(listed);
        self.files.push(listings);
        Ok(())
    }

    fn index(&mut self, urls: Vec<String>) -> Result<Has, SitemapError> {
        let mut named = Vec::new();
        for url in urls {
            named.extend(self.add(url));
            if self.sitemaps.len() > SITEMAPS_MAX {
                return Err(SitemapError::TooManySitemaps);
            }
        }
        Ok(Has::Sitemaps(named))
    }

    /// Notes where the entries are: they end their listing, which ends at `end`.
    fn pages(&mut self, pages: &Pages, end: u64) -> Result<Has, SitemapError> {
        self.pages += pages.count;
        if self.pages > PAGES_MAX {
            return Err(SitemapError::TooManyPages);
        }
        let bytes = pages.entries.len() as u64;
        Ok(Has::Pages(self.files.len(), end.saturating_sub(bytes), bytes))
    }

    /// Writes how many sitemaps cannot be read, then all pages, in the order of the documents.
    pub(super) fn write(&self, out: &mut File) -> io::Result<()> {
        let mut out = BufWriter::new(out);
        let mut head = Vec::new();
        framed::push(&(self.failures.len() as u64), &mut head);
        out.write_all(&head)?;
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

/// The first byte of what the version before this one kept, which was JSON. A length is never as large.
const JSON: u8 = b'{';

/// Reads what [`Tree::write`] wrote: how many sitemaps cannot be read, and the pages.
pub(super) fn read(written: Bytes) -> Result<(u64, Bytes), SitemapError> {
    let mut reader = BufReader::new(written);
    if reader.fill_buf()?.first() == Some(&JSON) {
        return Err(SitemapError::OtherVersion);
    }
    let mut head = vec![0; framed::LENGTH_BYTES];
    reader.read_exact(&mut head)?;
    let length = framed::length(&head).unwrap_or_default().saturating_sub(framed::LENGTH_BYTES as u64);
    (&mut reader).take(length).read_to_end(&mut head)?;
    let (failed, _) = framed::first(&head).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok((failed, Box::new(reader)))
}

/// The listings in a file, and how far they were read.
struct Listings<'a> {
    reader: BufReader<&'a File>,
    at: u64,
}

impl Listings<'_> {
    /// Reads the next listing; `None` at the end.
    fn next(&mut self) -> Result<Option<Listing>, SitemapError> {
        if self.reader.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut length = [0; framed::LENGTH_BYTES];
        self.reader.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        let mut body = Vec::new();
        (&mut self.reader).take(length).read_to_end(&mut body)?;
        self.at += framed::LENGTH_BYTES as u64 + length;
        framed::value(&body).map(Some).ok_or(SitemapError::Listing)
    }
}

#[cfg(test)]
mod tests {
    use shared::record::ErrorKind;
    use shared::sitemap::Entry;

    use super::*;

    fn file(listings: &[Listing]) -> File {
        let (mut file, mut bytes) = (tempfile::tempfile().unwrap(), Vec::new());
        listings.iter().for_each(|listing| framed::push(listing, &mut bytes));
        file.write_all(&bytes).unwrap();
        file
    }

    fn index(id: u64, urls: &[&str]) -> Listing {
        Listing { id, found: Found::Sitemaps(urls.iter().map(|&url| url.to_owned()).collect()) }
    }

    fn pages(id: u64, urls: &[&str]) -> Listing {
        let mut pages = Pages::default();
        for &url in urls {
            pages.push(&Entry { loc: url.to_owned(), ..Entry::default() });
        }
        Listing { id, found: Found::Pages(pages) }
    }

    fn failed(id: u64) -> Listing {
        Listing { id, found: Found::Failed { kind: ErrorKind::Dns, message: format!("no {id}") } }
    }

    /// The pages that are written, with the count that is written before them.
    fn written(tree: &Tree) -> (u64, String) {
        let mut out = tempfile::tempfile().unwrap();
        tree.write(&mut out).unwrap();
        out.rewind().unwrap();
        let (failed, mut pages) = read(Box::new(out)).unwrap();
        let (mut bytes, mut urls) = (Vec::new(), Vec::new());
        pages.read_to_end(&mut bytes).unwrap();
        let mut rest = bytes.as_slice();
        while let Some((entry, after)) = framed::first::<Entry>(rest) {
            urls.push(entry.loc);
            rest = after;
        }
        assert!(rest.is_empty());
        (failed, urls.join(" "))
    }

    #[test]
    fn what_an_earlier_version_kept_is_refused() {
        let error = read(Box::new(&b"{\"failed\":0}\n{\"loc\":\"http://a/\"}\n"[..])).err().unwrap();
        assert!(error.to_string().contains("--overwrite"), "{error}");
    }

    #[test]
    fn pages_come_in_the_order_of_the_documents_and_circles_end() {
        let urls = ["index", "b", "index"].map(str::to_owned);
        let mut tree = Tree::new(&urls);
        let (numbers, unread) = tree.unread();
        assert_eq!(unread, ["index", "b"]);
        let first = [index(0, &["a", "deep", "index", "b", "c"]), pages(1, &["b1", "b2"])];
        tree.take_in(&numbers, file(&first)).unwrap();
        let (numbers, unread) = tree.unread();
        assert_eq!(unread, ["a", "deep", "c"]);
        let second = [pages(0, &["a1"]), index(1, &["d", "a"]), pages(2, &[])];
        tree.take_in(&numbers, file(&second)).unwrap();
        let (numbers, unread) = tree.unread();
        assert_eq!(unread, ["d"]);
        tree.take_in(&numbers, file(&[pages(0, &["d1", "d1"])])).unwrap();
        assert!(tree.unread().1.is_empty());
        assert_eq!(written(&tree), (0, "a1 d1 d1 b1 b2".to_owned()));
    }

    #[test]
    fn what_cannot_be_read_is_named_and_counted_and_the_rest_is_used() {
        let mut tree = Tree::new(&["x", "y", "z"].map(str::to_owned));
        let (numbers, _) = tree.unread();
        tree.take_in(&numbers, file(&[index(0, &["p", "q"]), failed(1), failed(2)])).unwrap();
        let failure = |url: &str, why: &str| Failure { url: url.to_owned(), why: why.to_owned() };
        assert_eq!(tree.failures(), [failure("y", "dns: no 1"), failure("z", "dns: no 2")]);
        // Nothing is there yet.
        let why = "cannot read the sitemap y: dns: no 1 (and 1 more); no page was fetched";
        assert_eq!(tree.check(false).unwrap_err().to_string(), why);
        let (numbers, unread) = tree.unread();
        assert_eq!(unread, ["p", "q"]);
        tree.take_in(&numbers, file(&[pages(0, &["p1"]), index(1, &["deep"])])).unwrap();
        tree.check(false).unwrap();
        assert_eq!(tree.check(true).unwrap_err().to_string(), why);
        tree.too_deep(3);
        assert_eq!(tree.failures().len(), 3);
        assert!(tree.failures()[2].url == "deep" && tree.failures()[2].why.contains("3 levels down"));
        assert_eq!(written(&tree), (3, "p1".to_owned()));
    }
}
