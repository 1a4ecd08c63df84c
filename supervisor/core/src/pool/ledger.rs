//! The state of every target. A target is in exactly one state, and the states sum to the number
//! submitted. `Done` and `Quarantined` are final and are only counted, so that memory holds live
//! targets only.

use rustc_hash::FxHashMap;
use wire::protocol::{Outcome, Verdict};

use super::credit::Load;
use super::seat::Seat;
use crate::frontier::HostId;

/// A target that is not finished.
#[derive(Debug)]
pub(crate) struct Live {
    /// URL, path or lines, byte for byte.
    pub(crate) input: Box<[u8]>,
    /// Number of inputs in it: the number of lines, or one.
    pub(crate) inputs: u64,
    /// Data carried along into its record; empty if none.
    pub(crate) kept: Box<[u8]>,
    /// Attempts that ended in a failure that may be temporary.
    pub(crate) retries: u32,
    /// Attempts that the host refused, and that are not counted.
    pub(crate) deferrals: u32,
    /// Attempts that the host refused, counted or not.
    refusals: u8,
    /// Whether a refusal of the attempt under way is not counted.
    pub(crate) may_defer: bool,
    /// Attempts on which the worker died while this target's stage was running.
    pub(crate) crashes: u32,
    /// Whether the attempt under way has a result.
    is_reported: bool,
    place: TargetPlace,
}

impl Live {
    /// Number of the current or next attempt, from 1.
    pub(crate) fn attempt(&self) -> u32 {
        self.retries + self.deferrals + self.crashes + 1
    }

    pub(crate) fn load(&self) -> Load {
        Load {
            targets: 1,
            inputs: usize::try_from(self.inputs).unwrap_or(usize::MAX),
            bytes: self.input.len(),
        }
    }
}

/// A failure that may be temporary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The host refused the request.
    Refused {
        /// Whether it may be left uncounted.
        may_defer: bool,
    },
    /// The proxy failed, or may have. It is not counted.
    Exit,
    /// Anything else.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TargetPlace {
    /// In the frontier; may start as soon as its host allows.
    Pending,
    /// In the frontier; waits for its backoff.
    Retry,
    /// Held by a worker.
    Assigned(Seat, HostId),
    /// Its record waits until its page is judged.
    Held,
}

/// Number of targets in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All targets ever submitted.
    pub submitted: u64,
    /// Waiting for their turn.
    pub pending: u64,
    /// Waiting for their next attempt.
    pub retry: u64,
    /// Held by a worker.
    pub assigned: u64,
    /// Computed, but the record waits until its page is judged.
    pub held: u64,
    /// Finished, with a record.
    pub done: u64,
    /// Quarantined, with a record.
    pub quarantined: u64,
}

impl Counts {
    /// Targets without a record.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.pending + self.retry + self.assigned + self.held
    }
}

/// All live targets, and the counts of the others.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    live: FxHashMap<u64, Live>,
    counts: Counts,
    /// Inputs of all live targets, then of those in the frontier.
    inputs_left: u64,
    inputs_waiting: u64,
    /// Input bytes of the targets in the frontier.
    bytes_waiting: usize,
}

impl Ledger {
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether the sums hold. The pool checks this after every event.
    pub(crate) fn balanced(&self) -> bool {
        let c = &self.counts;
        c.left() == self.live.len() as u64 && c.left() + c.done + c.quarantined == c.submitted
    }

    /// Adds a new target. Returns false if its id is already live.
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
        self.live.insert(
            id,
            Live {
                input,
                inputs,
                kept,
                retries: 0,
                deferrals: 0,
                refusals: 0,
                may_defer: false,
                crashes: 0,
                is_reported: false,
                place: TargetPlace::Pending,
            },
        );
        self.counts.submitted += 1;
        self.counts.pending += 1;
        self.inputs_waiting += inputs;
    }

    /// Cuts a waiting target of more than `most` lines in two. Returns the id of the second part,
    /// which from then on is a waiting target of its own.
    pub(crate) fn split(&mut self, id: u64, most: u64) -> Option<u64> {
        let live = self.live.get_mut(&id).filter(|live| live.inputs > most.max(1))?;
        if matches!(live.place, TargetPlace::Assigned(..) | TargetPlace::Held) {
            return None;
        }
        let first = most.max(1);
        let nth = usize::try_from(first - 1).unwrap_or(usize::MAX);
        let cut = memchr::memchr_iter(b'\n', &live.input).nth(nth)?;
        let rest_inputs = live.inputs - first;
        let rest: Box<[u8]> = live.input.get(cut + 1..)?.into();
        live.input = live.input.get(..cut)?.into();
        live.inputs = first;
        // `insert` counts the rest again; the line feed between the two parts is dropped.
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

    /// Bytes of the inputs in the frontier.
    pub(crate) fn bytes_waiting(&self) -> usize {
        self.bytes_waiting
    }

    /// The load of a live target.
    pub(crate) fn load(&self, id: u64) -> Load {
        self.live.get(&id).map_or_else(Load::default, Live::load)
    }

    /// Removes a target that has its record.
    fn forget(&mut self, id: u64) -> Option<Live> {
        let live = self.live.remove(&id)?;
        self.inputs_left -= live.inputs;
        Some(live)
    }

    /// Assigns a target, popped from the frontier, to `seat`. A refusal is not counted as an attempt while it has met
    /// no more than `patience`; with 0, none is.
    pub(crate) fn assign(&mut self, id: u64, seat: Seat, host: HostId, patience: u8) -> Option<&Live> {
        let live = self.live.get_mut(&id)?;
        match live.place {
            TargetPlace::Pending => self.counts.pending -= 1,
            TargetPlace::Retry => self.counts.retry -= 1,
            TargetPlace::Assigned(..) | TargetPlace::Held => return None,
        }
        self.inputs_waiting -= live.inputs;
        self.bytes_waiting -= live.input.len();
        live.may_defer = patience > 0 && live.refusals <= patience;
        live.is_reported = false;
        live.place = TargetPlace::Assigned(seat, host);
        self.counts.assigned += 1;
        Some(live)
    }

    /// Returns the host of `id` if `seat` holds it. Every report of a worker passes this check,
    /// which rejects stale ones.
    pub(crate) fn held_by(&self, id: u64, seat: Seat) -> Option<HostId> {
        match self.live.get(&id)?.place {
            TargetPlace::Assigned(holder, host) if holder == seat => Some(host),
            TargetPlace::Assigned(..) | TargetPlace::Pending | TargetPlace::Retry | TargetPlace::Held => None,
        }
    }

    /// Whether `seat` is at exactly this attempt at `id`. It may have held the same target before.
    pub(crate) fn is_at(&self, id: u64, attempt: u32, seat: Seat) -> bool {
        self.held_by(id, seat).is_some() && self.live.get(&id).is_some_and(|live| live.attempt() == attempt)
    }

    /// Records that an assigned target has its record.
    pub(crate) fn finish(&mut self, id: u64) -> Load {
        let Some(live) = self.forget(id) else { return Load::default() };
        self.counts.assigned -= 1;
        self.counts.done += 1;
        live.load()
    }

    /// The input of a live target; empty if there is none.
    pub(crate) fn input(&self, id: u64) -> &[u8] {
        self.live.get(&id).map_or(&[], |live| &live.input)
    }

    /// The input of a live target, and the data carried along into its record.
    pub(crate) fn content(&self, id: u64) -> Option<(&[u8], &[u8])> {
        self.live.get(&id).map(|live| (&*live.input, &*live.kept))
    }

    /// Returns a target that has no record yet, and its input.
    pub(crate) fn find(&self, id: u64) -> Option<(u64, &[u8])> {
        self.live.get(&id).map(|live| (id, &*live.input))
    }

    /// Returns all targets that have no record yet, and their inputs.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.live.iter().map(|(id, live)| (*id, &*live.input))
    }

    /// Lets the record of an assigned target wait.
    pub(crate) fn hold(&mut self, id: u64) {
        if let Some(live) = self.live.get_mut(&id) {
            live.place = TargetPlace::Held;
            self.counts.assigned -= 1;
            self.counts.held += 1;
        }
    }

    /// Records that a held target has its record.
    pub(crate) fn accept(&mut self, id: u64) -> Option<Live> {
        let live = self.forget(id)?;
        self.counts.held -= 1;
        self.counts.done += 1;
        Some(live)
    }

    /// Takes back a held target as if it had not been fetched.
    pub(crate) fn take_back(&mut self, id: u64) -> bool {
        let Some(live) = self.live.get_mut(&id) else { return false };
        live.place = TargetPlace::Pending;
        self.inputs_waiting += live.inputs;
        self.bytes_waiting += live.input.len();
        self.counts.held -= 1;
        self.counts.pending += 1;
        true
    }

    /// Lets a held target wait for another attempt, as one that was refused. Returns whether the attempt counts as a
    /// retry, or `None` if it was the last of `retries_max` after the first.
    pub(crate) fn recall(&mut self, id: u64, retries_max: u32) -> Option<bool> {
        let live = self.live.get_mut(&id)?;
        let counts = !live.may_defer;
        if !counts {
            live.deferrals += 1;
        } else if live.retries < retries_max {
            live.retries += 1;
        } else {
            return None;
        }
        live.refusals = live.refusals.saturating_add(1);
        live.place = TargetPlace::Retry;
        self.inputs_waiting += live.inputs;
        self.bytes_waiting += live.input.len();
        self.counts.held -= 1;
        self.counts.retry += 1;
        Some(counts)
    }

    /// Notes that `seat` reports this. Returns the host and the number of earlier refusals of the target if `seat`
    /// holds it, has not reported it before, and can report this.
    pub(crate) fn reported_by(&mut self, outcome: &Outcome, seat: Seat) -> Option<(HostId, u8)> {
        let live = self.live.get_mut(&outcome.id)?;
        match live.place {
            TargetPlace::Assigned(holder, host) if holder == seat && !live.is_reported => {
                live.is_reported = true;
                let is_final = !matches!(outcome.verdict, Verdict::Retry { .. });
                let is_whole = !is_final || outcome.records() == Some(live.inputs);
                is_whole.then_some((host, live.refusals))
            }
            TargetPlace::Assigned(..) | TargetPlace::Pending | TargetPlace::Held | TargetPlace::Retry => None,
        }
    }

    /// Records a failure that may be temporary, and returns the number of such failures, and whether this one is
    /// among them. A refusal is not, if it may be deferred.
    pub(crate) fn retry(&mut self, id: u64, failure: Failure) -> (u32, bool) {
        let Some(live) = self.live.get_mut(&id) else { return (1, false) };
        live.place = TargetPlace::Retry;
        self.inputs_waiting += live.inputs;
        self.bytes_waiting += live.input.len();
        if matches!(failure, Failure::Refused { .. }) {
            live.refusals = live.refusals.saturating_add(1);
        }
        let deferred =
            failure == Failure::Exit || live.may_defer && failure == (Failure::Refused { may_defer: true });
        if deferred {
            live.deferrals += 1;
        } else {
            live.retries += 1;
        }
        self.counts.assigned -= 1;
        self.counts.retry += 1;
        (live.retries.max(1), !deferred)
    }

    /// Ends a target that waits in the frontier without another attempt.
    pub(crate) fn abandon(&mut self, id: u64) -> Option<Live> {
        let live = self.forget(id)?;
        match live.place {
            TargetPlace::Pending => self.counts.pending -= 1,
            TargetPlace::Retry => self.counts.retry -= 1,
            // Those are not in the frontier.
            TargetPlace::Assigned(..) => self.counts.assigned -= 1,
            TargetPlace::Held => self.counts.held -= 1,
        }
        self.inputs_waiting -= live.inputs;
        self.bytes_waiting -= live.input.len();
        self.counts.done += 1;
        Some(live)
    }

    /// Takes back an assigned target that lost its worker through no fault of its own.
    pub(crate) fn give_back(&mut self, id: u64) {
        if let Some(live) = self.live.get_mut(&id) {
            live.place = TargetPlace::Pending;
            self.inputs_waiting += live.inputs;
            self.bytes_waiting += live.input.len();
            self.counts.assigned -= 1;
            self.counts.pending += 1;
        }
    }

    /// Charges a worker's death to the target, and returns how often that has happened.
    pub(crate) fn blame(&mut self, id: u64) -> u32 {
        self.live.get_mut(&id).map_or(0, |live| {
            live.crashes += 1;
            live.crashes
        })
    }

    /// Sets an assigned target aside for good.
    pub(crate) fn quarantine(&mut self, id: u64) -> Option<Live> {
        let live = self.forget(id)?;
        self.counts.assigned -= 1;
        self.counts.quarantined += 1;
        Some(live)
    }

    /// Returns everything `seat` holds, in input order. Scans all live targets, so it is only for
    /// deaths.
    pub(crate) fn all_held_by(&self, seat: Seat) -> Vec<(u64, HostId)> {
        let mut held: Vec<_> = self
            .live
            .iter()
            .filter_map(|(id, live)| match live.place {
                TargetPlace::Assigned(holder, host) if holder == seat => Some((*id, host)),
                TargetPlace::Assigned(..) | TargetPlace::Pending | TargetPlace::Retry | TargetPlace::Held => {
                    None
                }
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
        assert!(ledger.assign(10, seat, HostId::NONE, 0).is_some());
        assert_eq!((ledger.split(10, 1), ledger.inputs_waiting()), (None, 1));
        assert_eq!((ledger.finish(10), ledger.inputs_left(), ledger.bytes_waiting()), (load(2, 4), 1, 3));
        assert!(ledger.balanced());
    }

    fn load(inputs: usize, bytes: usize) -> Load {
        Load { targets: 1, inputs, bytes }
    }
}
