//! The pages that sitemaps list: the entries that workers read out of the sitemaps, one after the other.

use std::io::{self, BufRead as _, BufReader, Read as _};

use shared::framed;
use shared::sitemap::Entry;

use super::kept::KeptColumns;
use super::text::trimmed;
use super::{Bytes, Candidate, LINE_BYTES_MAX};

/// Bytes read at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// Reads the URL of every entry, and the parts that are kept beside it.
pub(super) struct ListedFeed {
    reader: BufReader<Bytes>,
    keep: Vec<String>,
    kept: KeptColumns,
    entry: Vec<u8>,
    pub(super) bytes_read: u64,
    /// Entries read so far.
    pub(super) number: u64,
}

impl ListedFeed {
    pub(super) fn new(bytes: Bytes, keep: &[String]) -> Self {
        Self {
            reader: BufReader::with_capacity(BUFFER_BYTES, bytes),
            keep: keep.to_vec(),
            kept: KeptColumns::of_found(keep),
            entry: Vec::new(),
            bytes_read: 0,
            number: 0,
        }
    }

    /// Whether the next entry is already here, so that reading it does not wait.
    pub(super) fn is_ready(&self) -> bool {
        framed::length(self.reader.buffer()).is_some_and(|length| self.reader.buffer().len() as u64 >= length)
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Candidate>> {
        let Some(entry) = self.entry()? else { return Ok(None) };
        self.number += 1;
        self.kept.begin();
        for (number, name) in self.keep.iter().enumerate() {
            if let Some(part) = entry.part(name) {
                self.kept.set_text(number, part.as_bytes(), part.len() as u64);
            }
        }
        let number = self.number;
        let candidate =
            Candidate::cell(trimmed(entry.loc.as_bytes()), || format!("line {number} has an empty \"loc\""));
        Ok(Some(candidate.with(self.kept.encode())))
    }

    fn entry(&mut self) -> io::Result<Option<Entry>> {
        if self.reader.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut length = [0; framed::LENGTH_BYTES];
        self.reader.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        // A sitemap has at most 50 MiB, so that no entry is larger.
        if length > 4 * LINE_BYTES_MAX as u64 {
            return Err(malformed());
        }
        self.entry.clear();
        (&mut self.reader).take(length).read_to_end(&mut self.entry)?;
        self.bytes_read += framed::LENGTH_BYTES as u64 + length;
        framed::value(&self.entry).map(Some).ok_or_else(malformed)
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "an entry is malformed")
}

#[cfg(test)]
mod tests {
    use shared::sitemap::Pages;

    use super::super::kept::shown;
    use super::*;

    #[test]
    fn every_entry_is_a_target_with_what_is_kept_of_it() {
        let mut pages = Pages::default();
        let entry = |loc: &str, lastmod: Option<&str>| Entry {
            loc: loc.to_owned(),
            lastmod: lastmod.map(str::to_owned),
            ..Entry::default()
        };
        pages.push(&entry("http://a/", Some("\"2024\"")));
        pages.push(&entry("", None));
        let keep = ["lastmod", "loc", "other"].map(str::to_owned);
        let mut feed = ListedFeed::new(Box::new(io::Cursor::new(pages.entries.clone())), &keep);
        for (input, kept, refused) in [
            ("http://a/", r#"{"lastmod":"\"2024\"","loc":"http://a/","other":null}"#, None),
            ("", r#"{"lastmod":null,"loc":"","other":null}"#, Some("line 2 has an empty \"loc\"")),
        ] {
            let candidate = feed.next().unwrap().unwrap();
            assert_eq!(
                (candidate.input.as_slice(), candidate.refused.as_deref()),
                (input.as_bytes(), refused)
            );
            assert_eq!(shown(&candidate.kept), kept);
        }
        assert!(feed.next().unwrap().is_none());
        assert_eq!((feed.number, feed.bytes_read), (2, pages.entries.len() as u64));
        for cut in [5, 12] {
            let cut = pages.entries.get(..cut).unwrap().to_vec();
            assert!(ListedFeed::new(Box::new(io::Cursor::new(cut)), &keep).next().is_err());
        }
    }
}
