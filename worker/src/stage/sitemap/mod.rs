//! Sitemaps (sitemaps.org, protocol 0.9): what a site says its pages are. Fed
//! with a fetched body, gives lines for the supervisor, which spools them and
//! fetches what they name.
//!
//! Everything here was written by strangers: it is read in the sandbox, in one
//! pass, and no entity of a document type is ever expanded. Bounded by
//! [`BYTES_MAX`] and [`ENTRIES_MAX`].

mod text;
mod xml;

use std::io::Read as _;

use serde::Serialize;
use shared::gunzip::Gunzip;
use shared::record::ErrorKind;

/// Largest sitemap, unpacked: what the protocol allows.
pub(crate) const BYTES_MAX: u64 = shared::job::SITEMAP_BYTES_MAX;

/// Most entries in one sitemap: what the protocol allows.
const ENTRIES_MAX: u64 = 50_000;

/// The first bytes of gzip data. Neither the name nor the content type can be relied on.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Why a body cannot be read as a sitemap.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SitemapError {
    #[error("its gzip data is broken: {0}")]
    Gzip(String),
    #[error("it unpacks to more than {BYTES_MAX} bytes, the most that a sitemap may have")]
    TooLarge,
    #[error(
        "it has more than {ENTRIES_MAX} entries, the most that a sitemap may have; an index can name several"
    )]
    TooMany,
    #[error("it is empty")]
    Empty,
    #[error("it is neither XML nor a list of URLs")]
    Neither,
    #[error("its outermost element is <{0}>; that of a sitemap is <urlset> or <sitemapindex>")]
    Root(String),
    #[error("it is not well-formed XML, at byte {at}: {why}")]
    Malformed { at: u64, why: String },
    #[error("it ends in the middle of <{0}>")]
    CutShort(String),
}

impl SitemapError {
    pub(crate) const fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge | Self::TooMany => ErrorKind::TooLarge,
            Self::Gzip(_) => ErrorKind::Decode,
            Self::Empty | Self::Neither | Self::Root(_) | Self::Malformed { .. } | Self::CutShort(_) => {
                ErrorKind::Parse
            }
        }
    }
}

/// What a sitemap lists.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// Whether the entries are sitemaps themselves.
    is_index: bool,
    count: u64,
    /// One JSON object a line.
    entries: Vec<u8>,
}

/// One entry; an absent part is left out.
#[derive(Debug, Default, Serialize)]
struct Entry {
    /// Empty is an entry without a URL, which becomes a record that says so.
    loc: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    lastmod: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changefreq: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<String>,
}

/// The line before the entries.
#[derive(Debug, Serialize)]
struct Head {
    id: u64,
    is_index: bool,
    entries: u64,
}

impl Listing {
    fn push(&mut self, entry: &Entry) -> Result<(), SitemapError> {
        if self.count == ENTRIES_MAX {
            return Err(SitemapError::TooMany);
        }
        self.count += 1;
        // A vector takes whatever it is given.
        let _ = serde_json::to_writer(&mut self.entries, entry);
        self.entries.push(b'\n');
        Ok(())
    }

    /// Appends what sitemap `id` lists: a line about it, then the entries.
    pub(crate) fn write(&self, id: u64, out: &mut Vec<u8>) {
        let head = Head { id, is_index: self.is_index, entries: self.count };
        let _ = serde_json::to_writer(&mut *out, &head);
        out.push(b'\n');
        out.extend_from_slice(&self.entries);
    }
}

/// Reads a body as a sitemap: packed or not, XML or one URL a line.
pub(crate) fn read(body: &[u8]) -> Result<Listing, SitemapError> {
    if body.starts_with(&GZIP) {
        let mut unpacked = Vec::new();
        let decoder = Gunzip::new(body);
        decoder
            .take(BYTES_MAX + 1)
            .read_to_end(&mut unpacked)
            .map_err(|error| SitemapError::Gzip(error.to_string()))?;
        return read_unpacked(&unpacked);
    }
    read_unpacked(body)
}

fn read_unpacked(body: &[u8]) -> Result<Listing, SitemapError> {
    if body.len() as u64 > BYTES_MAX {
        return Err(SitemapError::TooLarge);
    }
    let text = text::decode(body);
    match text.trim_start().chars().next() {
        None => Err(SitemapError::Empty),
        Some('<') => xml::read(text.trim_start()),
        Some(_) => text::read(&text),
    }
}

#[cfg(test)]
mod tests;
