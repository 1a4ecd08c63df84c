//! Which of the source's targets a resumed run takes, and whether they are
//! still the ones the first run took. Pure: it sees targets and reads nothing.
//!
//! A record is keyed by its target's position, so a list in which one line was
//! added on top would give every record the wrong id. Every run therefore
//! hashes the targets as it reads them, and each commit keeps the hash of all
//! that had been read by then. A resumed run reads through the same stretch
//! anyway, to skip it; it hands nothing out before the hash has come out equal.

use std::fmt;

use shared::kept::Kept;
use xxhash_rust::xxh3::Xxh3;

use super::Finished;
use crate::source::{SourceItem, TargetKind};

/// A stretch of targets from the first on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Prefix {
    /// How many there are.
    pub targets: u64,
    /// What they hash to, in order.
    pub digest: u128,
}

/// The targets are not those of the run that is to be resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// The inputs end earlier.
    Fewer {
        /// Targets the earlier run had read.
        had: u64,
        /// Targets there are.
        has: u64,
    },
    /// There are others among them.
    Others {
        /// Targets the earlier run had read.
        had: u64,
    },
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fewer { had, has } => write!(f, "they gave {had} targets or more, and now give {has}"),
            Self::Others { had } => write!(
                f,
                "their first {had} targets are not the same any more (one was changed, added, removed or renamed)"
            ),
        }
    }
}

/// Lets the targets of a source through, but for those that are done.
pub struct Gate {
    hasher: Xxh3,
    /// Whether targets are lines, in blocks that may be cut elsewhere the next time.
    lines: bool,
    targets: u64,
    finished: Finished,
    expected: Prefix,
    /// What one target carries along, as its record shows it.
    kept: Vec<u8>,
    /// Targets to be done, until it is certain that they are the right ones. No more than
    /// the frontier held when the earlier run was stopped.
    held: Vec<SourceItem>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("targets", &self.targets).field("expected", &self.expected).finish()
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new(TargetKind::Url, Finished::default(), Prefix::default())
    }
}

impl Gate {
    /// For a run after one that had read `expected` and left records for `finished`.
    #[must_use]
    pub fn new(kind: TargetKind, finished: Finished, expected: Prefix) -> Self {
        Self {
            hasher: Xxh3::new(),
            lines: kind == TargetKind::Lines,
            targets: 0,
            finished,
            expected,
            kept: Vec::new(),
            held: Vec::new(),
        }
    }

    /// How many targets may be read next, if `most` is what fits: what was
    /// expected ends with a batch, so that it can be compared.
    #[must_use]
    pub fn batch_max(&self, most: usize) -> usize {
        match self.expected.targets.saturating_sub(self.targets) {
            0 => most,
            left => usize::try_from(left).unwrap_or(usize::MAX).min(most),
        }
    }

    /// Takes the next targets of the source, at most [`batch_max`](Self::batch_max) of them, and
    /// gives those that are to be done now. `more` is false at the source's end.
    ///
    /// # Errors
    /// [`Changed`] when they are not the targets the earlier run had read.
    pub fn pass(&mut self, mut items: Vec<SourceItem>, more: bool) -> Result<Vec<SourceItem>, Changed> {
        let checking = self.targets < self.expected.targets;
        for item in &items {
            if self.lines {
                // However they were cut into blocks.
                self.hasher.update(&item.input);
                self.hasher.update(b"\n");
            } else {
                // The length keeps `ab`, `c` apart from `a`, `bc`.
                self.hasher.update(&(item.input.len() as u64).to_le_bytes());
                self.hasher.update(&item.input);
                // As the record shows them, which is how earlier versions carried them. Nothing kept adds nothing.
                if !item.kept.is_empty() {
                    self.kept.clear();
                    Kept(&item.kept).write_object(&mut self.kept);
                    self.hasher.update(&self.kept);
                }
            }
            self.targets += item.inputs;
        }
        if !self.finished.is_empty() {
            items = self.without_finished(items);
        }
        if !checking {
            return Ok(items);
        }
        self.held.append(&mut items);
        let had = self.expected.targets;
        if self.targets == had {
            let same = self.prefix() == self.expected;
            return if same { Ok(std::mem::take(&mut self.held)) } else { Err(Changed::Others { had }) };
        }
        if more { Ok(items) } else { Err(Changed::Fewer { had, has: self.targets }) }
    }

    /// What of `items` is to be done; of a block some lines may be.
    fn without_finished(&self, items: Vec<SourceItem>) -> Vec<SourceItem> {
        let mut left = Vec::with_capacity(items.len());
        for item in items {
            match self.finished.count(item.id..item.id + item.inputs) {
                0 => left.push(item),
                all if all == item.inputs => {}
                _ => {
                    let lines = (item.id..).zip(item.input.split(|&byte| byte == b'\n'));
                    let open = lines.filter(|(id, _)| !self.finished.contains(*id));
                    left.extend(open.map(|(id, line)| SourceItem {
                        id,
                        inputs: 1,
                        input: line.to_vec(),
                        kept: Vec::new(),
                        host: None,
                        refused: None,
                    }));
                }
            }
        }
        left
    }

    /// What has been read so far.
    #[must_use]
    pub fn prefix(&self) -> Prefix {
        Prefix { targets: self.targets, digest: self.hasher.digest128() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn items(inputs: &[&str]) -> Vec<SourceItem> {
        (0..)
            .zip(inputs)
            .map(|(id, input)| SourceItem {
                id,
                inputs: 1,
                input: input.as_bytes().to_vec(),
                kept: Vec::new(),
                host: None,
                refused: None,
            })
            .collect()
    }

    /// What comes through when the targets are read in batches of at most `most`.
    fn through(gate: &mut Gate, mut items: Vec<SourceItem>, most: usize) -> Result<Vec<u64>, Changed> {
        let mut ids = Vec::new();
        loop {
            let rest = items.split_off(items.len().min(gate.batch_max(most)));
            let more = !rest.is_empty();
            ids.extend(gate.pass(items, more)?.iter().map(|item| item.id));
            if !more {
                return Ok(ids);
            }
            items = rest;
        }
    }

    proptest! {
        #[test]
        fn what_is_done_is_skipped_and_the_rest_comes_in_order(
            inputs in prop::collection::vec("[ab]{0,3}", 0..60),
            (read, done) in (0..60_usize, prop::collection::btree_set(0..60_u64, 0..60)),
            (first, second) in (1..9_usize, 1..9_usize),
        ) {
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            let read = read.min(inputs.len());
            let done: Finished = done.into_iter().filter(|&id| id < read as u64).collect();
            let mut gate = Gate::default();
            through(&mut gate, items(&inputs[..read]), first).unwrap();
            let mut again = Gate::new(TargetKind::Url, done.clone(), gate.prefix());
            let wanted: Vec<u64> = (0..inputs.len() as u64).filter(|&id| !done.contains(id)).collect();
            prop_assert_eq!(through(&mut again, items(&inputs), second), Ok(wanted));
        }
    }

    /// A block for each of `texts`, cut where the slices end.
    fn blocks(texts: &[&[&str]]) -> Vec<SourceItem> {
        let mut id = 0;
        let block = texts.iter().map(|lines| {
            let (first, inputs) = (id, lines.len() as u64);
            id += inputs;
            SourceItem {
                id: first,
                inputs,
                input: lines.join("\n").into_bytes(),
                kept: Vec::new(),
                host: None,
                refused: None,
            }
        });
        block.collect()
    }

    #[test]
    fn lines_may_be_cut_into_other_blocks_the_next_time() {
        let mut gate = Gate::new(TargetKind::Lines, Finished::default(), Prefix::default());
        gate.pass(blocks(&[&["a", "b", "c"], &["d"]]), true).unwrap();
        let done: Finished = [1, 3].into_iter().collect();
        let mut again = Gate::new(TargetKind::Lines, done, gate.prefix());
        assert_eq!(again.batch_max(100), 4);
        let left = again.pass(blocks(&[&["a", "b"], &["c", "d"]]), true).unwrap();
        let left: Vec<_> = left.iter().map(|item| (item.id, item.inputs, item.input.as_slice())).collect();
        assert_eq!(left, [(0, 1, &b"a"[..]), (2, 1, b"c")]);
        let mut others = Gate::new(TargetKind::Lines, Finished::default(), gate.prefix());
        assert_eq!(others.pass(blocks(&[&["a", "bc"], &["d", "e"]]), true), Err(Changed::Others { had: 4 }));
    }

    fn check(had: &[&str], has: &[&str], done: &[u64], want: Result<&[u64], Changed>) {
        let mut gate = Gate::default();
        through(&mut gate, items(had), 2).unwrap();
        let mut again = Gate::new(TargetKind::Url, done.iter().copied().collect(), gate.prefix());
        assert_eq!(through(&mut again, items(has), 3), want.map(<[u64]>::to_vec), "{had:?} {has:?}");
    }

    #[test]
    fn a_change_within_what_was_read_is_refused() {
        check(&["a", "b", "c"], &["a", "b", "c"], &[1], Ok(&[0, 2]));
        check(&["a", "b"], &["a", "b", "new"], &[0, 1], Ok(&[2]));
        check(&[], &["a"], &[], Ok(&[0]));
        check(&[], &[], &[], Ok(&[]));
        check(&["a", "b", "c"], &["a", "x", "c"], &[0, 1], Err(Changed::Others { had: 3 }));
        check(&["a", "b", "c"], &["new", "a", "b", "c"], &[0], Err(Changed::Others { had: 3 }));
        check(&["ab", "c"], &["a", "bc"], &[], Err(Changed::Others { had: 2 }));
        check(&["a", "b", "c"], &["a", "b"], &[0], Err(Changed::Fewer { had: 3, has: 2 }));
        check(&["a"], &[], &[0], Err(Changed::Fewer { had: 1, has: 0 }));
    }
}
