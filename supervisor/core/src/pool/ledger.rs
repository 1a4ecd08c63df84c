//! Where every target is. A target is in exactly one state, the states sum to
//! the number submitted, and `Done` and `Quarantined` are final: those two are
//! only counted, so that memory holds what is live and not what is behind us.

use rustc_hash::FxHashMap;

use super::credit::Load;
use super::seat::Seat;
use crate::frontier::HostId;

/// A target that is not finished.
#[derive(Debug)]
pub(crate) struct Live {
    /// URL, path or lines, byte for byte.
    pub(crate) input: Box<[u8]>,
    /// How many inputs it is: lines, or one.
    pub(crate) inputs: u64,
    /// Carried along into its record; empty is nothing.
    pub(crate) kept: Box<[u8]>,
    /// Attempts that ended in a failure that may pass.
    pub(crate) retries: u32,
    /// Attempts on which its worker died with this target's stage running.
    pub(crate) crashes: u32,
    place: Place,
}

impl Live {
    /// The number of the attempt that runs now or next, from 1.
    pub(crate) fn attempt(&self) -> u32 {
        self.retries + self.crashes + 1
    }

    pub(crate) fn load(&self) -> Load {
        Load {
            targets: 1,
            inputs: usize::try_from(self.inputs).unwrap_or(usize::MAX),
            bytes: self.input.len(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the frontier, may go as soon as its host allows.
    Pending,
    /// In the frontier, not before its backoff is over.
    Retry,
    /// With a worker.
    Assigned(Seat, HostId),
}

/// How many targets are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All that were ever submitted.
    pub submitted: u64,
    /// Waiting for their turn.
    pub pending: u64,
    /// Waiting for their next attempt.
    pub retry: u64,
    /// With a worker.
    pub assigned: u64,
    /// Finished, with a record.
    pub done: u64,
    /// Set aside for good, with a record.
    pub quarantined: u64,
}

impl Counts {
    /// Targets without a record.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.pending + self.retry + self.assigned
    }
}

/// All live targets, and the counts of the rest.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    live: FxHashMap<u64, Live>,
    counts: Counts,
    /// Inputs of those that are live, and of those of them that are in the frontier.
    inputs_left: u64,
    inputs_waiting: u64,
    /// Bytes of the latter.
    bytes_waiting: usize,
}

impl Ledger {
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether the sums hold; the pool checks this after every event.
    pub(crate) fn balanced(&self) -> bool {
        let c = &self.counts;
        c.left() == self.live.len() as u64 && c.left() + c.done + c.quarantined == c.submitted
    }

    /// A new target; false when its id is already live.
    pub(crate) fn submit(&mut self, id: u64, input: Vec<u8>, kept: Vec<u8>, inputs: u64) -> bool {
        if self.live.contains_key(&id) {
            return false;
        }
        self.inputs_left += inputs;
        self.insert(id, input.into_boxed_slice(), kept.into_boxed_slice(), inputs);
        true
    }

    fn insert(&mut self, id: u64, input: Box<[u8]>, kept: Box<[u8]>, inputs: u64) {
        self.bytes_waiting += input.len();
        self.live.insert(id, Live { input, inputs, kept, retries: 0, crashes: 0, place: Place::Pending });
        self.counts.submitted += 1;
        self.counts.pending += 1;
        self.inputs_waiting += inputs;
    }

    /// Cuts a waiting target of more than `most` lines in two; the id of the second part, which
    /// is a target of its own from here on, and waits too.
    pub(crate) fn split(&mut self, id: u64, most: u64) -> Option<u64> {
        let live = self.live.get_mut(&id).filter(|live| live.inputs > most.max(1))?;
        if matches!(live.place, Place::Assigned(..)) {
            return None;
        }
        let first = most.max(1);
        let nth = usize::try_from(first - 1).unwrap_or(usize::MAX);
        let cut = memchr::memchr_iter(b'\n', &live.input).nth(nth)?;
        let rest_inputs = live.inputs - first;
        let rest: Box<[u8]> = live.input.get(cut + 1..)?.into();
        live.input = live.input.get(..cut)?.into();
        live.inputs = first;
        // The rest counts itself; the line feed between the two is gone.
        self.inputs_waiting -= rest_inputs;
        self.bytes_waiting -= rest.len() + 1;
        self.insert(id + first, rest, Box::default(), rest_inputs);
        Some(id + first)
    }

    /// Inputs without a record.
    pub(crate) fn inputs_left(&self) -> u64 {
        self.inputs_left
    }

    /// Inputs in the frontier.
    pub(crate) fn inputs_waiting(&self) -> u64 {
        self.inputs_waiting
    }

    /// Their bytes.
    pub(crate) fn bytes_waiting(&self) -> usize {
        self.bytes_waiting
    }

    /// What a live target weighs.
    pub(crate) fn load(&self, id: u64) -> Load {
        self.live.get(&id).map_or_else(Load::default, Live::load)
    }

    /// A target has its record.
    fn forget(&mut self, id: u64) -> Option<Live> {
        let live = self.live.remove(&id)?;
        self.inputs_left -= live.inputs;
        Some(live)
    }

    /// The frontier let it go: it is with `seat` from here on.
    pub(crate) fn assign(&mut self, id: u64, seat: Seat, host: HostId) -> Option<&Live> {
        let live = self.live.get_mut(&id)?;
        match live.place {
            Place::Pending => self.counts.pending -= 1,
            Place::Retry => self.counts.retry -= 1,
            Place::Assigned(..) => return None,
        }
        self.inputs_waiting -= live.inputs;
        self.bytes_waiting -= live.input.len();
        live.place = Place::Assigned(seat, host);
        self.counts.assigned += 1;
        Some(live)
    }

    /// The host of `id`, if `seat` holds it: the one question that keeps stale news out.
    pub(crate) fn held_by(&self, id: u64, seat: Seat) -> Option<HostId> {
        match self.live.get(&id)?.place {
            Place::Assigned(holder, host) if holder == seat => Some(host),
            Place::Assigned(..) | Place::Pending | Place::Retry => None,
        }
    }

    /// Whether `seat` is at this very attempt at `id`: it may have had the same target before.
    pub(crate) fn is_at(&self, id: u64, attempt: u32, seat: Seat) -> bool {
        self.held_by(id, seat).is_some() && self.live.get(&id).is_some_and(|live| live.attempt() == attempt)
    }

    /// An assigned target has its record.
    pub(crate) fn finish(&mut self, id: u64) -> Load {
        let Some(live) = self.forget(id) else { return Load::default() };
        self.counts.assigned -= 1;
        self.counts.done += 1;
        live.load()
    }

    /// An assigned target failed in a way that may pass; the attempt that was.
    pub(crate) fn retry(&mut self, id: u64) -> u32 {
        let Some(live) = self.live.get_mut(&id) else { return 1 };
        live.place = Place::Retry;
        self.inputs_waiting += live.inputs;
        self.bytes_waiting += live.input.len();
        live.retries += 1;
        self.counts.assigned -= 1;
        self.counts.retry += 1;
        live.retries
    }

    /// An assigned target lost its worker through no fault of its own.
    pub(crate) fn give_back(&mut self, id: u64) {
        if let Some(live) = self.live.get_mut(&id) {
            live.place = Place::Pending;
            self.inputs_waiting += live.inputs;
            self.bytes_waiting += live.input.len();
            self.counts.assigned -= 1;
            self.counts.pending += 1;
        }
    }

    /// Its worker died on it; how often that has happened to it now.
    pub(crate) fn blame(&mut self, id: u64) -> u32 {
        self.live.get_mut(&id).map_or(0, |live| {
            live.crashes += 1;
            live.crashes
        })
    }

    /// An assigned target is set aside for good.
    pub(crate) fn quarantine(&mut self, id: u64) -> Option<Live> {
        let live = self.forget(id)?;
        self.counts.assigned -= 1;
        self.counts.quarantined += 1;
        Some(live)
    }

    /// Everything `seat` holds, in input order. Reads all that is live: only for deaths.
    pub(crate) fn all_held_by(&self, seat: Seat) -> Vec<(u64, HostId)> {
        let mut held: Vec<_> = self
            .live
            .iter()
            .filter_map(|(id, live)| match live.place {
                Place::Assigned(holder, host) if holder == seat => Some((*id, host)),
                Place::Assigned(..) | Place::Pending | Place::Retry => None,
            })
            .collect();
        held.sort_unstable_by_key(|(id, _)| *id);
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        assert!(ledger.submit(10, b"a\nbb\nccc".to_vec(), Vec::new(), 3));
        ledger
    }

    #[test]
    fn a_waiting_block_is_cut_between_lines() {
        let mut ledger = ledger();
        let seat = Seat { slot: 0, generation: 1 };
        assert_eq!(ledger.split(10, 3), None);
        assert_eq!(ledger.split(10, 2), Some(12));
        assert_eq!((ledger.load(10), ledger.load(12)), (load(2, 4), load(1, 3)));
        assert_eq!((ledger.inputs_left(), ledger.inputs_waiting(), ledger.bytes_waiting()), (3, 3, 7));
        assert!(ledger.assign(10, seat, HostId::NONE).is_some());
        assert_eq!((ledger.split(10, 1), ledger.inputs_waiting()), (None, 1));
        assert_eq!((ledger.finish(10), ledger.inputs_left(), ledger.bytes_waiting()), (load(2, 4), 1, 3));
        assert!(ledger.balanced());
    }

    fn load(inputs: usize, bytes: usize) -> Load {
        Load { targets: 1, inputs, bytes }
    }
}
