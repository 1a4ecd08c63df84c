//! What workers tell of sitemaps: a [`Listing`] for each, framed as [`framed`](crate::framed) says. The pages stay
//! encoded, since there may be millions of them: the supervisor copies them into one list, from which the run that
//! fetches them reads one [`Entry`] after the other.

use serde::{Deserialize, Serialize};

use crate::framed;
use crate::record::ErrorKind;

/// What is known of one sitemap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Its target's id.
    pub id: u64,
    /// What was found.
    pub found: Found,
}

/// What was found in place of a sitemap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Found {
    /// An index: the URLs of other sitemaps.
    Sitemaps(Vec<String>),
    /// Pages.
    Pages(Pages),
    /// It cannot be read.
    Failed {
        /// The kind of the error.
        kind: ErrorKind,
        /// What happened.
        message: String,
    },
}

/// The pages that a sitemap lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pages {
    /// How many they are.
    pub count: u64,
    /// Framed entries. They end the encoding of their listing.
    #[serde(with = "serde_bytes")]
    pub entries: Vec<u8>,
}

/// One page of a sitemap.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its URL. One that is empty becomes a record that says so.
    pub loc: String,
    /// When it last changed.
    pub lastmod: Option<String>,
    /// How often it changes.
    pub changefreq: Option<String>,
    /// How important it is.
    pub priority: Option<String>,
}

impl Pages {
    /// Adds a page.
    pub fn push(&mut self, entry: &Entry) {
        self.count += 1;
        framed::push(entry, &mut self.entries);
    }
}

impl Entry {
    /// The part of this name, if the protocol has such a part.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<&str> {
        match name {
            "loc" => Some(&self.loc),
            "lastmod" => self.lastmod.as_deref(),
            "changefreq" => self.changefreq.as_deref(),
            "priority" => self.priority.as_deref(),
            _ => None,
        }
    }
}
