//! What a worker sends of the links of one page.

use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};

use super::Reason;
use crate::framed;

/// Most links that are kept of one page.
pub const LINKS_MAX: usize = 65_536;

/// Most bytes of them: a megabyte of links, each made absolute.
pub const FOUND_BYTES_MAX: usize = 8 << 20;

/// The links of one page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Canonical URLs that may be followed, in the order of the page, each once, with a line feed behind each.
    links: String,
    /// Other URLs of the page itself: what redirects led to, and its canonical link.
    pub aliases: Vec<String>,
    /// How many other links there are, by why they are not followed.
    pub cut: Vec<(Reason, u64)>,
    /// What the page is to the search for traps: hashes of the shape of its address, and of its words.
    pub kind: Option<(u64, u64)>,
    /// What was added already.
    #[serde(skip)]
    known: FxHashSet<Box<str>>,
}

impl Found {
    /// Adds a link, if it is new to the page and there is room.
    pub fn add(&mut self, link: &str) {
        if self.known.contains(link) {
            return;
        }
        self.known.insert(link.into());
        if self.known.len() > LINKS_MAX || self.links.len() + link.len() >= FOUND_BYTES_MAX {
            return self.cut(Reason::TooMany);
        }
        self.links.push_str(link);
        self.links.push('\n');
    }

    /// Counts a link that is not followed.
    pub fn cut(&mut self, reason: Reason) {
        match self.cut.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => self.cut.push((reason, 1)),
        }
    }

    /// Returns the links.
    pub fn links(&self) -> impl Iterator<Item = &str> {
        self.links.split_terminator('\n')
    }

    /// Returns how many links there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.links().count() as u64
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty() && self.aliases.is_empty() && self.cut.is_empty() && self.kind.is_none()
    }

    /// Leaves out the links that are known.
    pub fn retain(&mut self, mut is_new: impl FnMut(&str) -> bool) {
        let mut left = String::new();
        for link in self.links().filter(|link| is_new(link)) {
            left.push_str(link);
            left.push('\n');
        }
        self.links = left;
    }

    /// Appends it, with its length.
    pub fn encode(&self, out: &mut Vec<u8>) {
        framed::push(self, out);
    }

    /// Reads what [`Self::encode`] wrote; `None` if it is something else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (found, rest) = framed::first(bytes)?;
        rest.is_empty().then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_is_kept_once_in_order() {
        let mut found = Found::default();
        ["http://a/2", "http://a/1", "http://a/2"].iter().for_each(|link| found.add(link));
        found.cut(Reason::Scope);
        found.cut(Reason::Scope);
        assert_eq!(found.links().collect::<Vec<_>>(), ["http://a/2", "http://a/1"]);
        let mut bytes = Vec::new();
        found.encode(&mut bytes);
        let read = Found::decode(&bytes).unwrap();
        assert_eq!((read.len(), read.cut.as_slice()), (2, &[(Reason::Scope, 2)][..]));
        assert_eq!(Found::decode(bytes.get(1..).unwrap()), None);
        found.retain(|link| link.ends_with('1'));
        assert_eq!(found.links().collect::<Vec<_>>(), ["http://a/1"]);
    }

    #[test]
    fn a_page_of_links_has_an_end() {
        let mut found = Found::default();
        for n in 0..LINKS_MAX as u64 + 5 {
            found.add(&format!("http://a/{n}"));
        }
        assert_eq!((found.len(), found.cut.as_slice()), (LINKS_MAX as u64, &[(Reason::TooMany, 5)][..]));
        let (mut found, long) = (Found::default(), "x".repeat(super::super::LINK_BYTES_MAX));
        (0..2000).for_each(|n| found.add(&format!("{n}{long}")));
        let mut bytes = Vec::new();
        found.encode(&mut bytes);
        assert!(bytes.len() <= FOUND_BYTES_MAX + 64, "{}", bytes.len());
    }
}
