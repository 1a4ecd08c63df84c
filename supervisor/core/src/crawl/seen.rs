//! The set of known URLs, as hashes of 128 bits: two different URLs have one hash with a chance that can be neglected.
//!
//! Open addressing over many small tables. Each grows by a quarter on its own, so that there is never much more memory
//! in use than the hashes need: at most 25 bytes for each.

/// Tables, each for the hashes with the same first byte.
const TABLES: usize = 256;

/// Places of a new table.
const PLACES_MIN: usize = 16;

/// Hashes in a table at most, for each 5 places: more of them make long ways.
const FULL_OF_5: usize = 4;

/// The hashes of known URLs.
#[derive(Debug)]
pub struct Seen {
    tables: Vec<HashTable>,
    len: u64,
}

#[derive(Debug, Clone, Default)]
struct HashTable {
    /// 0 is a free place.
    places: Vec<u128>,
    len: usize,
}

impl Default for Seen {
    fn default() -> Self {
        Self { tables: vec![HashTable::default(); TABLES], len: 0 }
    }
}

impl Seen {
    /// Adds a hash. Returns whether it is new.
    pub fn insert(&mut self, hash: u128) -> bool {
        let hash = hash.max(1);
        let is_new = self.tables.get_mut(table_of(hash)).is_some_and(|table| table.insert(hash));
        self.len += u64::from(is_new);
        is_new
    }

    /// Whether a hash is in the set.
    #[must_use]
    pub fn contains(&self, hash: u128) -> bool {
        let hash = hash.max(1);
        self.tables.get(table_of(hash)).is_some_and(|table| table.find(hash).is_ok())
    }

    /// Returns the number of hashes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the memory that the hashes take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.tables.iter().map(|table| table.places.capacity() * size_of::<u128>()).sum()
    }
}

fn table_of(hash: u128) -> usize {
    // The highest byte.
    usize::try_from(hash >> 120).unwrap_or_default()
}

impl HashTable {
    /// Returns the place of a hash, or where it belongs: `None` if there is no room.
    fn find(&self, hash: u128) -> Result<usize, Option<usize>> {
        let places = self.places.len();
        // The lower half, scaled to the number of places.
        let first = ((hash & u128::from(u64::MAX)) * places as u128) >> 64;
        let first = usize::try_from(first).unwrap_or_default();
        for place in (first..places).chain(0..first) {
            match self.places.get(place) {
                Some(0) => return Err(Some(place)),
                Some(known) if *known == hash => return Ok(place),
                Some(_) | None => {}
            }
        }
        Err(None)
    }

    fn insert(&mut self, hash: u128) -> bool {
        if (self.len + 1) * 5 > self.places.len() * FULL_OF_5 {
            if self.find(hash).is_ok() {
                return false;
            }
            self.grow();
        }
        match self.find(hash) {
            Err(Some(place)) => {
                if let Some(free) = self.places.get_mut(place) {
                    *free = hash;
                    self.len += 1;
                }
                true
            }
            Ok(_) | Err(None) => false,
        }
    }

    fn grow(&mut self) {
        let places = (self.places.len() + self.places.len() / 4).max(PLACES_MIN);
        let old = std::mem::replace(&mut self.places, vec![0; places]);
        for hash in old.into_iter().filter(|hash| *hash != 0) {
            if let Err(Some(place)) = self.find(hash)
                && let Some(free) = self.places.get_mut(place)
            {
                *free = hash;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use wire::clock;

    use super::*;

    /// Spreads numbers as a good hash does.
    fn hash(n: u64) -> u128 {
        let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        (u128::from(next()) << 64) | u128::from(next())
    }

    proptest! {
        #[test]
        fn it_is_a_set(hashes in prop::collection::vec(prop_oneof![0..40_u128, any::<u128>()], 0..500)) {
            let (mut seen, mut known) = (Seen::default(), BTreeSet::new());
            for hash in hashes {
                // 0 and 1 are one.
                let hash = hash.max(1);
                prop_assert_eq!(seen.contains(hash), known.contains(&hash));
                prop_assert_eq!(seen.insert(hash), known.insert(hash));
            }
            prop_assert_eq!(seen.len(), known.len() as u64);
        }
    }

    /// The bar for ten million URLs: `MUSTER_BAR=1` runs it with that many.
    #[test]
    fn many_urls_take_little_memory_and_time() {
        let many = if std::env::var_os("MUSTER_BAR").is_some() { 10_000_000 } else { 100_000 };
        let (mut seen, begun) = (Seen::default(), clock::now());
        assert!((0..many).all(|n| seen.insert(hash(n))));
        let took = begun.elapsed();
        assert!((0..many).all(|n| !seen.insert(hash(n)) && !seen.contains(hash(n + many))));
        assert_eq!(seen.len(), many);
        println!("{many} URLs: {} MB, {took:?}, then {:?}", seen.bytes() / 1_000_000, begun.elapsed() - took);
        assert!(seen.bytes() as u64 <= many * 26, "{}", seen.bytes());
    }
}
