//! Which page is how deep. Pages of one depth have consecutive ids, because they are found while the level before them
//! is taken in, page by page.

use serde::{Deserialize, Serialize};

/// The levels of a crawl, and how far it has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Levels {
    /// The id after the last page of each level whose pages are all known.
    ends: Vec<u64>,
    /// Pages that are known, from the first id on.
    known: u64,
    /// Pages that have ended and whose links are taken in, from the first id on.
    taken: u64,
}

impl Levels {
    /// Knows another page, and returns its id. Before the first [`Self::advance`], it is one that the user named.
    pub const fn add(&mut self) -> u64 {
        self.known += 1;
        self.known - 1
    }

    /// The next page has ended, and its links are taken in.
    pub const fn take(&mut self) {
        self.taken += 1;
    }

    /// Begins the next level if all pages of the last one are taken in, and returns the id after its last page. `None`
    /// if there is nothing to begin.
    pub fn advance(&mut self) -> Option<u64> {
        let end = self.end();
        if self.taken < end || self.known == end {
            return None;
        }
        self.ends.push(self.known);
        Some(self.known)
    }

    /// Returns the id after the last page that may begin.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.ends.last().copied().unwrap_or_default()
    }

    /// Whether every known page is taken in.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.taken == self.known
    }

    /// Returns how deep a page is.
    #[must_use]
    pub fn depth(&self, id: u64) -> u32 {
        self.ends.partition_point(|end| *end <= id).try_into().unwrap_or(u32::MAX)
    }

    /// Returns the number of known pages.
    #[must_use]
    pub const fn known(&self) -> u64 {
        self.known
    }

    /// Returns the id of the next page whose links are taken in.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.taken
    }

    /// Returns how many pages are known of each depth.
    #[must_use]
    pub fn by_depth(&self) -> Vec<u64> {
        let mut from = 0;
        let ends = self.ends.iter().copied().chain((self.known > self.end()).then_some(self.known));
        ends.map(|end| end - std::mem::replace(&mut from, end)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_begins_when_the_one_before_is_taken_in() {
        let mut levels = Levels::default();
        assert!(levels.is_over());
        assert_eq!([levels.add(), levels.add()], [0, 1]);
        assert_eq!((levels.advance(), levels.advance()), (Some(2), None));
        levels.take();
        assert_eq!((levels.add(), levels.advance(), levels.depth(2)), (2, None, 1));
        levels.take();
        assert_eq!((levels.advance(), levels.depth(0), levels.depth(1), levels.depth(2)), (Some(3), 0, 0, 1));
        assert_eq!(levels.add(), 3);
        assert_eq!((levels.depth(3), levels.by_depth()), (2, vec![2, 1, 1]));
        levels.take();
        assert_eq!((levels.advance(), levels.is_over(), levels.next()), (Some(4), false, 3));
        levels.take();
        assert!(levels.is_over() && levels.advance().is_none());
    }
}
