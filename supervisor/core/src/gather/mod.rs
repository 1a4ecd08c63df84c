//! Counts what came back, and puts it in order if asked.
//!
//! The pool sees to it that each target has one final result; gather adds them
//! up for the progress bar, the summary and the report. Nothing here reads a
//! clock, opens a file or knows a process, and its memory does not grow with
//! the number of records. Invariant: every target submitted is counted once, as
//! ok, as failed, or as left ([`Gather::balance`]).

mod latency;
mod order;
mod timeline;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wire::protocol::{Endings, Outcome, Verdict};
use wire::record::ErrorKind;

pub use latency::{LATENCY_BOUNDS_US, Latencies, Latency, LatencyBin};
pub use order::{DuplicateId, Ordered};
pub use timeline::{BUCKETS_MAX, Ending, INTERVALS_MAX, Interval, Point, Timeline};

/// The counts do not add up: something was lost or counted twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{submitted} submitted, but {ok} ok + {failed} failed + {left} left; this is a bug in the supervisor"
)]
pub struct Unbalanced {
    /// Inputs that this run took from the source.
    pub submitted: u64,
    /// Final results with fields, those of earlier runs of the job included.
    pub ok: u64,
    /// Final results with an error, quarantined ones and those of earlier runs included.
    pub failed: u64,
    /// Inputs taken by this run that have no record yet.
    pub left: u64,
}

/// How many targets ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Final results with fields.
    pub ok: u64,
    /// Final results with an error, quarantined ones included.
    pub failed: u64,
    /// Set aside because their worker died on them, on every attempt.
    pub quarantined: u64,
    /// Attempts that were not the last of their target.
    pub retries: u64,
    /// Body bytes read, over all attempts.
    pub bytes: u64,
}

impl Counts {
    /// Final results of either kind.
    #[must_use]
    pub const fn items(&self) -> u64 {
        self.ok + self.failed
    }
}

/// What is known of one slot, over all its generations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SlotCounts {
    /// Processes started in it.
    pub starts: u64,
    /// Final results that came from it.
    pub items: u64,
    /// CPU time of its reaped processes.
    pub cpu: Duration,
    /// Largest resident set of any of its processes.
    pub rss_bytes_max: u64,
}

/// Adds up one run.
#[derive(Debug)]
pub struct Gather {
    counts: Counts,
    /// Final results that runs before this one had.
    before: u64,
    errors: BTreeMap<ErrorKind, u64>,
    latency: Latency,
    elapsed_us: u64,
    cpu_us: u64,
    restarts: u64,
    slots: Vec<SlotCounts>,
    timeline: Timeline,
}

impl Gather {
    /// Starts with nothing counted; a slot beyond `slots` is added when it is first named.
    #[must_use]
    pub fn new(slots: u32) -> Self {
        let slots = to_index(slots);
        Self {
            counts: Counts::default(),
            before: 0,
            errors: BTreeMap::new(),
            latency: Latency::new(),
            elapsed_us: 0,
            cpu_us: 0,
            restarts: 0,
            slots: vec![SlotCounts::default(); slots],
            timeline: Timeline::new(slots),
        }
    }

    /// Starts with what runs before this one had counted. Times and latencies remain this run's.
    #[must_use]
    pub fn resumed(counts: Counts, errors: BTreeMap<ErrorKind, u64>) -> Self {
        Self { counts, before: counts.items(), errors, ..Self::new(0) }
    }

    /// One attempt's outcome: final, or to be tried again ([`Verdict::Retry`]).
    pub fn record(&mut self, slot: u32, outcome: &Outcome) {
        let slot = to_index(slot);
        self.counts.bytes = self.counts.bytes.saturating_add(outcome.bytes);
        self.elapsed_us = self.elapsed_us.saturating_add(outcome.elapsed_us);
        self.cpu_us = self.cpu_us.saturating_add(outcome.cpu_us);
        self.timeline.record(slot, outcome);
        match &outcome.verdict {
            Verdict::Retry { .. } => {
                self.counts.retries += 1;
                return;
            }
            Verdict::Ok | Verdict::Failed(_) if outcome.endings.is_some() => {
                return self.record_several(slot, outcome, outcome.endings.unwrap_or_default());
            }
            Verdict::Ok => self.counts.ok += 1,
            Verdict::Failed(kind) => {
                self.counts.failed += 1;
                *self.errors.entry(*kind).or_default() += 1;
            }
        }
        self.latency.record(outcome.elapsed_us);
        self.slot(slot).items += 1;
    }

    fn record_several(&mut self, slot: usize, outcome: &Outcome, endings: Endings) {
        self.counts.ok += endings.ok;
        self.counts.failed += endings.parse + endings.child;
        self.counts.quarantined += endings.quarantined;
        self.counts.retries += endings.retries;
        for (kind, count) in [(ErrorKind::Parse, endings.parse), (ErrorKind::Child, endings.child)] {
            if count > 0 {
                *self.errors.entry(kind).or_default() += count;
            }
        }
        self.latency.record_many(outcome.elapsed_us, endings.records());
        self.slot(slot).items += endings.records();
    }

    /// Targets went back with an attempt counted against them, without an outcome: their workers died on them.
    pub fn retried(&mut self, times: u64) {
        self.counts.retries += times;
    }

    /// A target is set aside for good at `at_us` since the job began: the worker in `slot` was the last to die on it.
    pub fn quarantined(&mut self, slot: u32, kind: ErrorKind, at_us: u64) {
        let slot = to_index(slot);
        self.counts.failed += 1;
        self.counts.quarantined += 1;
        *self.errors.entry(kind).or_default() += 1;
        self.slot(slot).items += 1;
        self.timeline.record_lost(slot, at_us);
    }

    /// A process was started in `slot`.
    pub fn started(&mut self, slot: u32) {
        self.slot(to_index(slot)).starts += 1;
    }

    /// So many of the processes that were started replaced one that had died; recycled ones had not.
    pub fn restarted(&mut self, times: u64) {
        self.restarts += times;
    }

    /// A process of `slot` was reaped, having used this much CPU in all.
    pub fn reaped(&mut self, slot: u32, cpu: Duration) {
        let slot = self.slot(to_index(slot));
        slot.cpu = slot.cpu.saturating_add(cpu);
    }

    /// The process in `slot` has been this large.
    pub fn resident(&mut self, slot: u32, rss_bytes: u64) {
        let slot = self.slot(to_index(slot));
        slot.rss_bytes_max = slot.rss_bytes_max.max(rss_bytes);
    }

    fn slot(&mut self, index: usize) -> &mut SlotCounts {
        if index >= self.slots.len() {
            self.slots.resize(index + 1, SlotCounts::default());
        }
        #[expect(clippy::indexing_slicing, reason = "made long enough right above")]
        &mut self.slots[index]
    }

    /// The counts so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Final results of this run alone.
    #[must_use]
    pub fn items_now(&self) -> u64 {
        self.counts.items() - self.before
    }

    /// Final results that are errors, by kind.
    #[must_use]
    pub fn errors(&self) -> &BTreeMap<ErrorKind, u64> {
        &self.errors
    }

    /// How long each target's last attempt took.
    #[must_use]
    pub fn latency(&self) -> &Latency {
        &self.latency
    }

    /// What is known of each slot.
    #[must_use]
    pub fn slots(&self) -> &[SlotCounts] {
        &self.slots
    }

    /// Time of all attempts together, in microseconds: all of it, and the part spent computing.
    #[must_use]
    pub fn time_spent_us(&self) -> (u64, u64) {
        (self.elapsed_us, self.cpu_us)
    }

    /// Processes started to replace one that died.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// What was in flight when.
    #[must_use]
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Attempts in flight on average over a run that took `wall`.
    #[must_use]
    pub fn in_flight_mean(&self, wall: Duration) -> f64 {
        if wall.is_zero() { 0.0 } else { self.elapsed_us as f64 / 1e6 / wall.as_secs_f64() }
    }

    /// Most attempts in flight, over all slots, at any boundary of the timeline's buckets.
    #[must_use]
    pub fn in_flight_peak(&self) -> u64 {
        let sampled = self.timeline.total().iter().map(|point| point.in_flight_at_end).max().unwrap_or(0);
        // Between two boundaries a short attempt may come and go unseen.
        u64::try_from(sampled).unwrap_or(0).max(u64::from(self.elapsed_us > 0))
    }

    /// Checks that nothing was lost or counted twice, at the end of a run.
    ///
    /// # Errors
    /// [`Unbalanced`] if `submitted` is not the sum of this run's final results and `left`.
    pub fn balance(&self, submitted: u64, left: u64) -> Result<(), Unbalanced> {
        let Counts { ok, failed, .. } = self.counts;
        if submitted == self.items_now() + left {
            Ok(())
        } else {
            Err(Unbalanced { submitted, ok, failed, left })
        }
    }
}

// Slots count the CPUs of one machine; they fit everywhere.
fn to_index(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
