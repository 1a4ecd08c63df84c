//! Decides which targets of the source a resumed run takes, and checks that the source still gives the same
//! targets. Pure: it sees targets and reads nothing.
//!
//! A record's id is the position of its target, so a line inserted at the top of a list would change all ids.
//! Therefore each run hashes the targets as it reads them, and each commit stores the hash of all targets
//! read so far. A resumed run reads the same targets anyway, to skip them. It hands out none before the
//! hashes match.

use std::fmt;

use shared::kept::Kept;
use xxhash_rust::xxh3::Xxh3;

use super::Finished;
use crate::source::{SourceItem, TargetKind};

/// The targets from the first up to some position.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Prefix {
    /// Number of targets.
    pub targets: u64,
    /// Hash of the targets, in order.
    pub digest: u128,
}

/// The targets differ from those of the earlier run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// The inputs have fewer targets.
    Fewer {
        /// Targets that the earlier run had read.
        had: u64,
        /// Targets that exist now.
        has: u64,
    },
    /// Some targets are different.
    Others {
        /// Targets that the earlier run had read.
        had: u64,
    },
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fewer { had, has } => write!(f, "they gave at least {had} targets and now give {has}"),
            Self::Others { had } => write!(
                f,
                "their first {had} targets have changed (a target was changed, added, removed or renamed)"
            ),
        }
    }
}

/// Passes on the targets of a source, except those that are finished.
pub struct Gate {
    hasher: Xxh3,
    /// Whether targets are blocks of lines, which may be divided differently in the next run.
    lines: bool,
    /// Whether targets come in any order, from a list of ours that is not checked.
    unordered: bool,
    targets: u64,
    finished: Finished,
    expected: Prefix,
    /// What one target carries along, as its record shows it.
    kept: Vec<u8>,
    /// Unfinished targets, until the hash shows that they are the right ones. At most as many as the
    /// frontier held when the earlier run was stopped.
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
    /// Creates a gate for a run after one that had read `expected` and left records of `finished`.
    #[must_use]
    pub fn new(kind: TargetKind, finished: Finished, expected: Prefix) -> Self {
        Self {
            hasher: Xxh3::new(),
            lines: kind == TargetKind::Lines,
            unordered: false,
            targets: 0,
            finished,
            expected,
            kept: Vec::new(),
            held: Vec::new(),
        }
    }

    /// Creates a gate for targets that come in any order, all of which are to be done. They are not checked.
    #[must_use]
    pub fn unordered() -> Self {
        Self { unordered: true, ..Self::default() }
    }

    /// Returns how many targets may be read next, at most `most`. A batch ends where `expected` ends, so
    /// that the hashes can be compared.
    #[must_use]
    pub fn batch_max(&self, most: usize) -> usize {
        match self.expected.targets.saturating_sub(self.targets) {
            0 => most,
            left => usize::try_from(left).unwrap_or(usize::MAX).min(most),
        }
    }

    /// Takes the next targets of the source, at most [`batch_max`](Self::batch_max), and returns those to
    /// process now. `more` is false at the end of the source.
    ///
    /// # Errors
    /// [`Changed`] if they differ from the targets that the earlier run had read.
    pub fn pass(&mut self, mut items: Vec<SourceItem>, more: bool) -> Result<Vec<SourceItem>, Changed> {
        if self.unordered {
            // As many as there must be.
            let most = items.iter().map(|item| item.id + item.inputs).max();
            self.targets = self.targets.max(most.unwrap_or_default());
            return Ok(items);
        }
        let checking = self.targets < self.expected.targets;
        for item in &items {
            if self.lines {
                // Independent of the division into blocks.
                self.hasher.update(&item.input);
                self.hasher.update(b"\n");
            } else {
                // The length distinguishes `ab`, `c` from `a`, `bc`.
                self.hasher.update(&(item.input.len() as u64).to_le_bytes());
                self.hasher.update(&item.input);
                // Hash what the record shows, which is how earlier versions carried it. Without kept columns, the
                // hash is the same as in versions that had none.
                let kept = Kept(&item.kept);
                if !kept.is_empty() {
                    self.kept.clear();
                    kept.write_object(&mut self.kept);
                    self.hasher.update(&self.kept);
                }
                if let Some(unshown) = kept.unshown() {
                    self.hasher.update(unshown);
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

    /// Returns the unfinished part of `items`. Of a block, only some lines may be unfinished.
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

    /// Returns the targets read so far.
    #[must_use]
    pub fn prefix(&self) -> Prefix {
        Prefix { targets: self.targets, digest: self.hasher.digest128() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::kept::{Value, push, push_found};

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

    /// Returns what passes if the targets are read in batches of at most `most`.
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

    /// Makes a block for each of `texts`.
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
    fn the_mark_of_a_found_target_is_not_hashed() {
        let digest = |kept: &[u8]| {
            let mut gate = Gate::default();
            let marked = items(&["a"]).into_iter().map(|item| SourceItem { kept: kept.to_vec(), ..item });
            gate.pass(marked.collect(), false).unwrap();
            gate.prefix()
        };
        let (mut bare, mut with_value) = (Vec::new(), Vec::new());
        push_found(&mut bare);
        assert_eq!(digest(&bare), digest(&[]));
        assert!(push("name", Value::Text("value"), &mut with_value));
        assert_eq!(digest(&[&bare[..], &with_value].concat()), digest(&with_value));
        assert_ne!(digest(&with_value), digest(&[]));
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
