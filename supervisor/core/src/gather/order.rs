//! Restores the order of ids, for `--ordered`.
//!
//! Results arrive in the order in which the workers finish. A line whose turn has come goes
//! straight to the output; the others wait here. The buffer never refuses a line, because the work
//! behind it is done. Instead, the code that hands out targets checks [`Ordered::is_full`] and
//! waits.

use std::collections::BTreeMap;

/// Bytes of lines waiting for an earlier one, beyond which no new target starts.
const HELD_BYTES_MAX: usize = 64 << 20;

/// Buffers kept for reuse, so that a steady run allocates nothing.
const SPARE_MAX: usize = 256;

/// Largest buffer kept for reuse. One huge record must not stay in memory for the rest of a run.
const SPARE_BYTES_MAX: usize = 16 << 10;

/// The line of this id was already written or is waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("record {0} arrived twice; this is a bug in the supervisor")]
pub struct DuplicateId(pub u64);

/// Lines that wait for an earlier one.
#[derive(Debug)]
struct Held {
    ids: u64,
    lines: Vec<u8>,
}

/// Releases lines in the order of their ids.
#[derive(Debug)]
pub struct Ordered {
    next_id: u64,
    /// Keyed by the first of their ids.
    held: BTreeMap<u64, Held>,
    held_bytes: usize,
    spare: Vec<Vec<u8>>,
}

impl Ordered {
    /// Creates an order whose first line is that of `first_id`.
    #[must_use]
    pub fn new(first_id: u64) -> Self {
        Self { next_id: first_id, held: BTreeMap::new(), held_bytes: 0, spare: Vec::new() }
    }

    /// Takes the line of `id`, newline included, and appends to `out` every line that is due now.
    ///
    /// # Errors
    /// [`DuplicateId`] if `id` was put before. Nothing changes then.
    pub fn put(&mut self, id: u64, line: &[u8], out: &mut Vec<u8>) -> Result<(), DuplicateId> {
        self.put_several(id, 1, line, out)
    }

    /// Takes the lines of `ids` consecutive ids, starting at `first`.
    ///
    /// # Errors
    /// As [`Self::put`], for `first`.
    pub fn put_several(
        &mut self,
        first: u64,
        ids: u64,
        lines: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), DuplicateId> {
        self.check_new(first)?;
        if first == self.next_id {
            out.extend_from_slice(lines);
            self.next_id += ids;
            self.release(out);
        } else {
            let mut buffer = self.spare.pop().unwrap_or_default();
            buffer.extend_from_slice(lines);
            self.held_bytes += lines.len();
            self.held.insert(first, Held { ids, lines: buffer });
        }
        Ok(())
    }

    fn check_new(&self, id: u64) -> Result<(), DuplicateId> {
        if id < self.next_id || self.held.contains_key(&id) { Err(DuplicateId(id)) } else { Ok(()) }
    }

    fn release(&mut self, out: &mut Vec<u8>) {
        while let Some(entry) = self.held.first_entry() {
            if *entry.key() != self.next_id {
                break;
            }
            let Held { ids, lines: mut line } = entry.remove();
            self.next_id += ids;
            out.extend_from_slice(&line);
            self.held_bytes -= line.len();
            if self.spare.len() < SPARE_MAX && line.capacity() <= SPARE_BYTES_MAX {
                line.clear();
                self.spare.push(line);
            }
        }
    }

    /// Returns the id that all held lines wait for. All earlier lines have been released.
    #[must_use]
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Returns the number of lines that wait for an earlier one.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held.values().map(|held| held.ids).sum()
    }

    /// Takes out the lines that wait for an earlier one, in order, each with its first id.
    pub fn take_held(&mut self) -> impl Iterator<Item = (u64, Vec<u8>)> + use<> {
        self.held_bytes = 0;
        std::mem::take(&mut self.held).into_iter().map(|(first, held)| (first, held.lines))
    }

    /// Whether new targets should wait until the line of [`Self::next_id`] has arrived.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.held_bytes >= HELD_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(id: u64) -> Vec<u8> {
        format!("{id}:{}\n", "x".repeat(usize::try_from(id % 7).unwrap())).into_bytes()
    }

    proptest! {
        #[test]
        fn lines_leave_in_id_order_whatever_their_arrival(
            order in (1_u64..200).prop_flat_map(|n| Just((0..n).collect::<Vec<_>>()).prop_shuffle())
        ) {
            let (mut ordered, mut out, mut arrived) = (Ordered::new(0), Vec::new(), Vec::new());
            for &id in &order {
                ordered.put(id, &line(id), &mut out).unwrap();
                arrived.push(id);
                let gap = (0..).find(|id| !arrived.contains(id)).unwrap();
                prop_assert_eq!(ordered.next_id(), gap);
                let expected: Vec<u8> = (0..gap).flat_map(line).collect();
                prop_assert_eq!(&out, &expected);
                let waiting: Vec<u64> = arrived.iter().copied().filter(|&id| id > gap).collect();
                prop_assert_eq!(ordered.held(), waiting.len() as u64);
                prop_assert_eq!(ordered.held_bytes, waiting.into_iter().map(|id| line(id).len()).sum::<usize>());
            }
            prop_assert_eq!((ordered.held(), ordered.held_bytes), (0, 0));
        }
    }

    #[test]
    fn a_second_line_for_an_id_is_refused_and_changes_nothing() {
        let (mut ordered, mut out) = (Ordered::new(10), Vec::new());
        ordered.put(11, b"b\n", &mut out).unwrap();
        for id in [11, 9] {
            assert_eq!(ordered.put(id, b"again\n", &mut out), Err(DuplicateId(id)));
        }
        assert_eq!((out.len(), ordered.held_bytes), (0, 2));
        ordered.put(10, b"a\n", &mut out).unwrap();
        assert_eq!(ordered.put(10, b"again\n", &mut out), Err(DuplicateId(10)));
        assert_eq!((out.as_slice(), ordered.next_id()), (b"a\nb\n".as_slice(), 12));
    }

    #[test]
    fn lines_of_several_ids_keep_their_place() {
        let (mut ordered, mut out) = (Ordered::new(0), Vec::new());
        ordered.put_several(3, 2, b"d\ne\n", &mut out).unwrap();
        ordered.put(5, b"f\n", &mut out).unwrap();
        ordered.put_several(0, 3, b"a\nb\nc\n", &mut out).unwrap();
        assert_eq!((out.as_slice(), ordered.next_id()), (b"a\nb\nc\nd\ne\nf\n".as_slice(), 6));
        assert_eq!(ordered.put(4, b"again\n", &mut out), Err(DuplicateId(4)));
    }

    #[test]
    fn what_waits_can_be_taken_out_in_order() {
        let (mut ordered, mut out) = (Ordered::new(0), Vec::new());
        for (first, line) in [(4, "e\n"), (1, "b\n"), (2, "c\n")] {
            ordered.put(first, line.as_bytes(), &mut out).unwrap();
        }
        let held: Vec<_> = ordered.take_held().collect();
        assert_eq!(held, [(1, b"b\n".to_vec()), (2, b"c\n".to_vec()), (4, b"e\n".to_vec())]);
        assert_eq!((ordered.held(), ordered.held_bytes, out.len()), (0, 0, 0));
    }

    #[test]
    fn it_is_full_until_the_gap_closes() {
        let (mut ordered, mut out) = (Ordered::new(0), Vec::new());
        ordered.put(1, &vec![b'x'; HELD_BYTES_MAX], &mut out).unwrap();
        assert!(ordered.is_full());
        ordered.put(0, b"\n", &mut out).unwrap();
        assert!(!ordered.is_full());
    }
}
