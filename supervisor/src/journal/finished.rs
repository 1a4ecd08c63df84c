//! The set of targets whose records are in the output. The journal stores one small set per commit, so a
//! commit costs as much as its new records. Pure.

use std::io;
use std::ops::Range;

use roaring::RoaringTreemap;

/// Ids of targets whose records are in the output.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Finished(RoaringTreemap);

impl Finished {
    /// Adds `id`.
    pub fn insert(&mut self, id: u64) {
        self.0.insert(id);
    }

    /// Adds all of `ids`.
    pub fn insert_range(&mut self, ids: Range<u64>) {
        self.0.insert_range(ids);
    }

    /// Returns how many of `ids` have a record.
    #[must_use]
    pub fn count(&self, ids: Range<u64>) -> u64 {
        // Only a few ids, and only when a run is resumed.
        ids.filter(|id| self.0.contains(*id)).count() as u64
    }

    /// Whether `id` has a record.
    #[must_use]
    pub fn contains(&self, id: u64) -> bool {
        self.0.contains(id)
    }

    /// Returns the ids, in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.0.iter()
    }

    /// Returns the number of ids.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the largest id below this one, if any.
    #[must_use]
    pub fn last_below(&self, end: u64) -> Option<u64> {
        let below = self.0.rank(end.checked_sub(1)?);
        self.0.select(below.checked_sub(1)?)
    }

    /// Adds all of `other`, and returns how many of them were in the set before.
    pub fn merge(&mut self, other: Self) -> u64 {
        let separate = self.len() + other.len();
        self.0 |= other.0;
        separate - self.len()
    }

    /// Removes `id`.
    pub fn remove_one(&mut self, id: u64) {
        self.0.remove(id);
    }

    /// Removes all of `other`.
    pub fn remove(&mut self, other: &Self) {
        self.0 -= &other.0;
    }

    /// Encodes the set. Neighbouring ids cost almost nothing, an isolated id about ten bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut compact = self.0.clone();
        compact.optimize();
        let mut bytes = Vec::with_capacity(compact.serialized_size());
        // Writing to a vector cannot fail.
        let _ = compact.serialize_into(&mut bytes);
        bytes
    }

    /// Decodes the output of [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// If the bytes are not an encoded set.
    pub fn from_bytes(bytes: &[u8]) -> io::Result<Self> {
        RoaringTreemap::deserialize_from(bytes).map(Self)
    }
}

impl FromIterator<u64> for Finished {
    fn from_iter<I: IntoIterator<Item = u64>>(ids: I) -> Self {
        Self(ids.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_sets_of_all_commits_are_the_set(commits in prop::collection::vec(
            prop::collection::btree_set(prop_oneof![0..200_u64, 0..u64::MAX], 0..50), 0..20,
        )) {
            let (mut whole, mut merged) = (BTreeSet::new(), Finished::default());
            for commit in &commits {
                let again = whole.intersection(commit).count() as u64;
                whole.extend(commit);
                let bytes = commit.iter().copied().collect::<Finished>().to_bytes();
                prop_assert_eq!(merged.merge(Finished::from_bytes(&bytes).unwrap()), again);
            }
            prop_assert_eq!(&merged, &whole.iter().copied().collect::<Finished>());
            prop_assert_eq!(merged.len(), whole.len() as u64);
            let end = merged.iter().nth(7).unwrap_or(u64::MAX);
            prop_assert_eq!(merged.last_below(end), whole.range(..end).next_back().copied());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Finished::from_bytes(&bytes);
        }
    }

    #[test]
    fn neighbours_cost_next_to_nothing() {
        let million: Finished = (0..1_000_000).collect();
        assert!(million.to_bytes().len() < 512, "{}", million.to_bytes().len());
        assert!((1..=1).collect::<Finished>().to_bytes().len() < 40);
    }
}
