//! Counts results, and restores their order if asked.
//!
//! The pool ensures that each target has one final result. Gather adds these up for the progress
//! bar, the summary and the report. It reads no clock, opens no file and knows no process, and its
//! memory does not grow with the number of records.
//!
//! Invariant: every submitted target is counted once, as ok, as failed, or as left
//! ([`Gather::balance`]).

mod latency;
mod load;
mod order;
mod timeline;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wire::protocol::{Endings, Outcome, Verdict};
use wire::record::ErrorKind;

pub use latency::{LATENCY_BOUNDS_US, Latencies, Latency, LatencyBin};
pub use load::{LoadCurve, LoadSample};
pub use order::{DuplicateId, Ordered};
pub use timeline::{BUCKETS_MAX, Ending, INTERVALS_MAX, Interval, Point, Timeline};

/// The counts do not add up: a target was lost or counted twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the counts do not add up: {earlier} finished by earlier runs + {submitted} taken by this run, \
     but {ok} ok + {failed} failed + {left} left; this is a bug in the supervisor"
)]
pub struct Unbalanced {
    /// Inputs that earlier runs of the job finished.
    pub earlier: u64,
    /// Inputs that this run took from the source.
    pub submitted: u64,
    /// Final results with fields, including those of earlier runs.
    pub ok: u64,
    /// Final results with an error, including quarantined ones and those of earlier runs.
    pub failed: u64,
    /// Inputs taken by this run that have no record yet.
    pub left: u64,
}

/// Number of targets by how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Final results with fields.
    pub ok: u64,
    /// Final results with an error, including quarantined ones.
    pub failed: u64,
    /// Targets set aside because their worker died on every attempt.
    pub quarantined: u64,
    /// Attempts that were followed by another one.
    pub retries: u64,
    /// Body bytes read, over all attempts.
    pub bytes: u64,
    /// Those final results with fields whose pages are as an earlier run has noted them.
    #[serde(default)]
    pub unchanged: u64,
}

impl Counts {
    /// Final results of either kind.
    #[must_use]
    pub const fn items(&self) -> u64 {
        self.ok + self.failed
    }
}

/// Counts of one slot, over all its generations.
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

/// The counts of one run.
#[derive(Debug)]
pub struct Gather {
    counts: Counts,
    /// Final results of earlier runs.
    before: u64,
    errors: BTreeMap<ErrorKind, u64>,
    latency: Latency,
    elapsed_us: u64,
    cpu_us: u64,
    restarts: u64,
    refused: u64,
    over_budget: u64,
    slots: Vec<SlotCounts>,
    timeline: Timeline,
    load: LoadCurve,
}

impl Gather {
    /// Creates empty counts. A slot beyond `slots` is added when it is first used.
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
            refused: 0,
            over_budget: 0,
            slots: vec![SlotCounts::default(); slots],
            timeline: Timeline::new(slots),
            load: LoadCurve::default(),
        }
    }

    /// Starts from the counts of earlier runs. Times and latencies cover this run only.
    #[must_use]
    pub fn resumed(counts: Counts, errors: BTreeMap<ErrorKind, u64>) -> Self {
        Self { counts, before: counts.items(), errors, ..Self::new(0) }
    }

    /// Records the outcome of one attempt: final, or to be tried again ([`Verdict::Retry`]).
    pub fn record(&mut self, slot: u32, outcome: &Outcome) {
        let slot = to_index(slot);
        self.counts.bytes = self.counts.bytes.saturating_add(outcome.bytes);
        self.elapsed_us = self.elapsed_us.saturating_add(outcome.elapsed_us);
        self.cpu_us = self.cpu_us.saturating_add(outcome.cpu_us);
        self.refused += u64::from(outcome.reply.is_some_and(|reply| reply.refused));
        self.timeline.record(slot, outcome);
        self.over_budget += u64::from(outcome.over_budget);
        match &outcome.verdict {
            Verdict::Retry { .. } => {
                self.counts.retries += 1;
                return;
            }
            Verdict::Ok | Verdict::Failed(_) if outcome.endings.is_some() => {
                return self.record_several(slot, outcome, outcome.endings.unwrap_or_default());
            }
            Verdict::Ok => {
                self.counts.ok += 1;
                self.counts.unchanged += u64::from(outcome.is_unchanged());
            }
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
        // A worker may claim any number of these.
        self.counts.quarantined = self.counts.quarantined.saturating_add(endings.quarantined);
        self.counts.retries = self.counts.retries.saturating_add(endings.retries);
        for (kind, count) in [(ErrorKind::Parse, endings.parse), (ErrorKind::Child, endings.child)] {
            if count > 0 {
                *self.errors.entry(kind).or_default() += count;
            }
        }
        self.latency.record_many(outcome.elapsed_us, endings.records());
        self.slot(slot).items += endings.records();
    }

    /// Records attempts that ended without an outcome because the worker died, for targets that are
    /// tried again.
    pub fn retried(&mut self, times: u64) {
        self.counts.retries += times;
    }

    /// Records a target set aside for good, `at_us` after the job began. The worker in `slot` was
    /// the last to die on it.
    pub fn quarantined(&mut self, slot: u32, kind: ErrorKind, at_us: u64) {
        let slot = to_index(slot);
        self.counts.failed += 1;
        self.counts.quarantined += 1;
        *self.errors.entry(kind).or_default() += 1;
        self.slot(slot).items += 1;
        self.timeline.record_lost(slot, at_us);
    }

    /// Targets of this run that failed for good because the retry budget of their host was used up.
    #[must_use]
    pub const fn over_budget(&self) -> u64 {
        self.over_budget
    }

    /// Records a process started in `slot`.
    pub fn started(&mut self, slot: u32) {
        self.slot(to_index(slot)).starts += 1;
    }

    /// Records how many of the started processes replaced a dead one. Recycling does not count.
    pub fn restarted(&mut self, times: u64) {
        self.restarts += times;
    }

    /// Records that a process of `slot` was reaped, with the CPU time it used in total.
    pub fn reaped(&mut self, slot: u32, cpu: Duration) {
        let slot = self.slot(to_index(slot));
        slot.cpu = slot.cpu.saturating_add(cpu);
    }

    /// Records the resident set size of the process in `slot`.
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

    /// Returns the counts so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns the final results of this run alone.
    #[must_use]
    pub fn items_now(&self) -> u64 {
        self.counts.items() - self.before
    }

    /// Returns the final results that are errors, by kind.
    #[must_use]
    pub fn errors(&self) -> &BTreeMap<ErrorKind, u64> {
        &self.errors
    }

    /// Returns how long each target's last attempt took.
    #[must_use]
    pub fn latency(&self) -> &Latency {
        &self.latency
    }

    /// Returns the counts of each slot.
    #[must_use]
    pub fn slots(&self) -> &[SlotCounts] {
        &self.slots
    }

    /// Returns the time of all attempts together, in microseconds: the total, and the part spent
    /// computing.
    #[must_use]
    pub fn time_spent_us(&self) -> (u64, u64) {
        (self.elapsed_us, self.cpu_us)
    }

    /// Returns how many processes were started to replace one that died.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Returns what was in flight at which time.
    #[must_use]
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Returns how many requests of this run were refused by their server.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Returns what the load was limited to.
    #[must_use]
    pub fn load(&self) -> &LoadCurve {
        &self.load
    }

    /// Records what the load is limited to.
    pub fn load_is(&mut self, sample: LoadSample) {
        self.load.add(sample);
    }

    /// Returns the mean number of attempts in flight over a run that took `wall`.
    #[must_use]
    pub fn in_flight_mean(&self, wall: Duration) -> f64 {
        if wall.is_zero() { 0.0 } else { self.elapsed_us as f64 / 1e6 / wall.as_secs_f64() }
    }

    /// Returns the most attempts in flight, over all slots, at any boundary of the timeline's
    /// buckets.
    #[must_use]
    pub fn in_flight_peak(&self) -> u64 {
        let sampled = self.timeline.total().iter().map(|point| point.in_flight_at_end).max().unwrap_or(0);
        // A short attempt may start and end between two boundaries.
        u64::try_from(sampled).unwrap_or(0).max(u64::from(self.elapsed_us > 0))
    }

    /// Checks at the end of a run that nothing was lost or counted twice.
    ///
    /// # Errors
    /// [`Unbalanced`] if `submitted` is not the sum of this run's final results and `left`.
    pub fn balance(&self, submitted: u64, left: u64) -> Result<(), Unbalanced> {
        let Counts { ok, failed, .. } = self.counts;
        if submitted == self.items_now() + left {
            Ok(())
        } else {
            Err(Unbalanced { earlier: self.before, submitted, ok, failed, left })
        }
    }
}

// A slot number is limited by the CPUs of one machine, so it fits.
fn to_index(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
