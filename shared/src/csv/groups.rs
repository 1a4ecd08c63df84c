//! The groups of one part or of all parts: their keys, their numbers of rows, and what is kept of each column. The
//! worker fills them, the supervisor merges them; both look up keys in the same way.

use std::hash::Hasher as _;

use hashbrown::HashTable;
use rustc_hash::FxHasher;
use serde::{Deserialize, Serialize};

use super::CsvSpec;
use super::column::Column;

/// There are more groups than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupsFull;

/// Groups, with the values of each.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Groups {
    /// Not sent: the receiver handles the groups in sequence.
    #[serde(skip)]
    index: HashTable<u32>,
    #[serde(with = "serde_bytes")]
    keys: Vec<u8>,
    /// End of each group's key in `keys`.
    ends: Vec<usize>,
    /// Number of rows of each group.
    pub rows: Vec<u64>,
    /// Kept values, in the order of [`CsvSpec::kept`].
    pub columns: Vec<Column>,
}

impl Groups {
    /// Creates an empty set of groups. Without columns to group by it has one group, even if there are no rows.
    #[must_use]
    pub fn new(spec: &CsvSpec) -> Self {
        let mut groups = Self { columns: spec.kept(), ..Self::default() };
        if spec.keys.is_empty() {
            let _ = groups.find(&[], 1);
        }
        groups
    }

    /// Returns the number of groups.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no groups.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Creates the one group of a table without keys. It exists even without rows.
    pub fn ensure_one(&mut self) {
        if self.is_empty() && self.insert(hash(b""), b"", 1).is_ok() {
            self.columns.iter_mut().for_each(|column| column.grow(1));
        }
    }

    /// Returns the key of a group.
    #[must_use]
    pub fn key(&self, group: usize) -> &[u8] {
        let ends = |group: usize| self.ends.get(group).copied().unwrap_or(0);
        let start = group.checked_sub(1).map_or(0, ends);
        self.keys.get(start..ends(group)).unwrap_or_default()
    }

    /// Returns the group with this key, and creates it if necessary. The caller must then grow the columns.
    ///
    /// # Errors
    /// [`GroupsFull`] if this would exceed `groups_max`.
    #[inline]
    pub fn find(&mut self, key: &[u8], groups_max: u64) -> Result<u32, GroupsFull> {
        let hash = hash(key);
        let Self { index, keys, ends, .. } = self;
        let is_it = |group: &u32| is_same(key_at(keys, ends, *group), key);
        if let Some(group) = index.find(hash, is_it) {
            return Ok(*group);
        }
        self.insert(hash, key, groups_max)
    }

    #[cold]
    fn insert(&mut self, hash_of_key: u64, key: &[u8], groups_max: u64) -> Result<u32, GroupsFull> {
        let group = u32::try_from(self.rows.len()).map_err(|_| GroupsFull)?;
        if u64::from(group) >= groups_max {
            return Err(GroupsFull);
        }
        self.keys.extend_from_slice(key);
        self.ends.push(self.keys.len());
        self.rows.push(0);
        let Self { index, keys, ends, .. } = self;
        index.insert_unique(hash_of_key, group, |group| hash(key_at(keys, ends, *group)));
        Ok(group)
    }

    /// Merges the groups of the next part.
    ///
    /// # Errors
    /// [`GroupsFull`] if this would exceed `groups_max`. The result so far is then unusable.
    pub fn merge(&mut self, next: Self, groups_max: u64) -> Result<(), GroupsFull> {
        let mut places = Vec::with_capacity(next.len());
        for group in 0..next.len() {
            places.push(self.find(next.key(group), groups_max)?);
        }
        for (rows, place) in next.rows.iter().zip(&places) {
            if let Some(ours) = self.rows.get_mut(*place as usize) {
                *ours += rows;
            }
        }
        let groups = self.len();
        for (column, next) in self.columns.iter_mut().zip(next.columns) {
            column.grow(groups);
            column.merge(next, &places);
        }
        Ok(())
    }
}

#[inline]
fn key_at<'a>(keys: &'a [u8], ends: &[usize], group: u32) -> &'a [u8] {
    let group = group as usize;
    let start = group.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
    let end = ends.get(group).copied().unwrap_or(0);
    keys.get(start..end).unwrap_or_default()
}

/// Compares keys. Most are short, and a call to `memcmp` costs more than comparing them here.
#[inline]
fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    // The first and the last bytes overlap if the key is shorter than both together.
    match one.len() {
        4..8 => ends_differ::<4>(one, other, |bytes| u64::from(u32::from_le_bytes(*bytes))) == 0,
        8..=16 => ends_differ::<8>(one, other, |bytes| u64::from_le_bytes(*bytes)) == 0,
        _ => one == other,
    }
}

/// Returns the bits in which the first N or the last N bytes of two keys differ. Both keys have the same length,
/// at least N.
#[inline]
fn ends_differ<const N: usize>(one: &[u8], other: &[u8], number: impl Fn(&[u8; N]) -> u64) -> u64 {
    let pair = |one: Option<&[u8; N]>, other: Option<&[u8; N]>| match (one, other) {
        (Some(one), Some(other)) => number(one) ^ number(other),
        _ => u64::MAX,
    };
    pair(one.first_chunk(), other.first_chunk()) | pair(one.last_chunk(), other.last_chunk())
}

#[inline]
fn hash(key: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(key);
    hasher.finish()
}

/// Appends a cell to a key with several cells. Each cell but the last is preceded by its length; otherwise `a,bc`
/// and `ab,c` would be the same key.
pub fn push_key_cell(key: &mut Vec<u8>, cell: &[u8], last: bool) {
    if !last {
        // A cell has at most CELL_BYTES_MAX bytes.
        let length = u32::try_from(cell.len()).unwrap_or(u32::MAX);
        key.extend_from_slice(&length.to_le_bytes());
    }
    key.extend_from_slice(cell);
}

/// Splits a key into its `count` cells.
#[must_use]
pub fn cells_of_key(key: &[u8], count: usize) -> Vec<&[u8]> {
    let mut cells = Vec::with_capacity(count);
    let mut rest = key;
    for left in (0..count).rev() {
        if left == 0 {
            cells.push(rest);
        } else if let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
            let (cell, after) = after.split_at(length.min(after.len()));
            cells.push(cell);
            rest = after;
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csv::{Aggregate, Function};

    fn spec() -> CsvSpec {
        let aggregate = |function| Aggregate { name: String::new(), function, column: Some(0) };
        CsvSpec {
            files: Vec::new(),
            columns: vec!["x".to_owned()],
            keys: vec![0],
            aggregates: vec![aggregate(Function::Count), aggregate(Function::Sum), aggregate(Function::Mean)],
            filters: Vec::new(),
            groups_max: 3,
            encoding: None,
        }
    }

    #[test]
    fn aggregates_of_one_column_share_their_values() {
        assert_eq!(spec().kept().len(), 2);
    }

    #[test]
    fn groups_are_found_again_and_bounded() {
        let mut groups = Groups::new(&spec());
        for (key, want) in
            [("a", Ok(0)), ("", Ok(1)), ("a", Ok(0)), ("b", Ok(2)), ("c", Err(GroupsFull)), ("b", Ok(2))]
        {
            assert_eq!(groups.find(key.as_bytes(), 3), want, "{key}");
        }
        assert_eq!((groups.key(0), groups.key(1), groups.key(2)), (&b"a"[..], &b""[..], &b"b"[..]));
        let mut more = Groups::new(&spec());
        more.find(b"d", 3).unwrap();
        assert_eq!(groups.merge(more, 3), Err(GroupsFull));
    }

    #[test]
    fn keys_of_every_length_are_distinguished() {
        for length in 0..40 {
            let key: Vec<u8> = (0..length).collect();
            assert!(is_same(&key, &key.clone()));
            for at in 0..key.len() {
                let mut other = key.clone();
                other[at] ^= 128;
                assert!(!is_same(&key, &other), "{length} {at}");
            }
            assert!(!is_same(&key, &[&key[..], b"x"].concat()));
        }
    }

    #[test]
    fn merging_adds_rows_of_equal_keys() {
        let of = |keys: &[&str]| {
            let mut groups = Groups::new(&spec());
            for key in keys {
                let group = groups.find(key.as_bytes(), 9).unwrap();
                groups.rows[group as usize] += 1;
            }
            let count = groups.len();
            groups.columns.iter_mut().for_each(|column| column.grow(count));
            groups
        };
        let mut merged = of(&["a", "b"]);
        merged.merge(of(&["c", "b", "b"]), 9).unwrap();
        assert_eq!((merged.len(), merged.rows.as_slice()), (3, &[1, 3, 1][..]));
    }

    #[test]
    fn a_key_of_several_cells_can_be_split() {
        for cells in [vec![&b"a"[..], b"bc"], vec![b"ab", b"c"], vec![b"", b"", b""], vec![b"one"], vec![]] {
            let mut key = Vec::new();
            for (n, cell) in cells.iter().enumerate() {
                push_key_cell(&mut key, cell, n + 1 == cells.len());
            }
            assert_eq!(cells_of_key(&key, cells.len()), cells);
        }
    }
}
