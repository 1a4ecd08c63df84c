//! Sitemaps (sitemaps.org, protocol 0.9): what a site says its pages are. Reads a
//! fetched body and returns its entries; the supervisor collects those of all
//! sitemaps and fetches what they name.
//!
//! Sitemaps are untrusted: they are read in the sandbox, in one pass, and no entity
//! of a document type is ever expanded. Limited by [`BYTES_MAX`] and [`ENTRIES_MAX`].

mod text;
mod xml;

use shared::record::ErrorKind;
use shared::sitemap::{Entry, Found, Pages};

use crate::stage::decode::{Coding, DecodeError, Decoder, Progress};

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
    Gzip(DecodeError),
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

impl From<DecodeError> for SitemapError {
    fn from(error: DecodeError) -> Self {
        if error == DecodeError::TooLarge { Self::TooLarge } else { Self::Gzip(error) }
    }
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

/// What a sitemap lists, as far as it was read.
#[derive(Debug, Default)]
struct Listed {
    /// Whether the entries are sitemaps themselves.
    is_index: bool,
    sitemaps: Vec<String>,
    pages: Pages,
}

impl Listed {
    fn is_empty(&self) -> bool {
        self.sitemaps.is_empty() && self.pages.count == 0
    }

    fn push(&mut self, entry: Entry) -> Result<(), SitemapError> {
        if self.pages.count + self.sitemaps.len() as u64 == ENTRIES_MAX {
            return Err(SitemapError::TooMany);
        }
        if self.is_index {
            self.sitemaps.push(entry.loc);
        } else {
            self.pages.push(&entry);
        }
        Ok(())
    }

    fn found(self) -> Found {
        if self.is_index { Found::Sitemaps(self.sitemaps) } else { Found::Pages(self.pages) }
    }
}

/// Reads a body as a sitemap: packed or not, XML or one URL a line.
pub(crate) fn read(body: &[u8]) -> Result<Found, SitemapError> {
    if body.starts_with(&GZIP) {
        return read_unpacked(&unpack(body)?);
    }
    read_unpacked(body)
}

fn unpack(mut packed: &[u8]) -> Result<Vec<u8>, SitemapError> {
    let mut unpacked = Vec::new();
    let mut decoder = Decoder::new(&[Coding::Gzip])?;
    // No deadline: the decoder's own limit on its CPU time ends it long before.
    while decoder.push(&mut packed, &mut unpacked, BYTES_MAX)? == Progress::More {}
    decoder.finish()?;
    Ok(unpacked)
}

fn read_unpacked(body: &[u8]) -> Result<Found, SitemapError> {
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
