//! Where every target is. A target is in exactly one state, the states sum to
//! the number submitted, and `Done` and `Quarantined` are final: those two are
//! only counted, so that memory holds what is live and not what is behind us.

use rustc_hash::FxHashMap;

use super::seat::Seat;
use crate::frontier::HostId;

/// A target that is not finished.
#[derive(Debug)]
pub(crate) struct Live {
    /// URL or path, byte for byte.
    pub(crate) input: Box<[u8]>,
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
    pub(crate) fn submit(&mut self, id: u64, input: Vec<u8>, kept: Vec<u8>) -> bool {
        let (input, kept) = (input.into_boxed_slice(), kept.into_boxed_slice());
        let live = Live { input, kept, retries: 0, crashes: 0, place: Place::Pending };
        if self.live.contains_key(&id) {
            return false;
        }
        self.live.insert(id, live);
        self.counts.submitted += 1;
        self.counts.pending += 1;
        true
    }

    /// The frontier let it go: it is with `seat` from here on.
    pub(crate) fn assign(&mut self, id: u64, seat: Seat, host: HostId) -> Option<&Live> {
        let live = self.live.get_mut(&id)?;
        match live.place {
            Place::Pending => self.counts.pending -= 1,
            Place::Retry => self.counts.retry -= 1,
            Place::Assigned(..) => return None,
        }
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
    pub(crate) fn finish(&mut self, id: u64) {
        if self.live.remove(&id).is_some() {
            self.counts.assigned -= 1;
            self.counts.done += 1;
        }
    }

    /// An assigned target failed in a way that may pass; the attempt that was.
    pub(crate) fn retry(&mut self, id: u64) -> u32 {
        let Some(live) = self.live.get_mut(&id) else { return 1 };
        live.place = Place::Retry;
        live.retries += 1;
        self.counts.assigned -= 1;
        self.counts.retry += 1;
        live.retries
    }

    /// An assigned target lost its worker through no fault of its own.
    pub(crate) fn give_back(&mut self, id: u64) {
        if let Some(live) = self.live.get_mut(&id) {
            live.place = Place::Pending;
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
        let live = self.live.remove(&id)?;
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
