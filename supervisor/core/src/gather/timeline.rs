//! What was in flight at which time, in memory that does not grow with the run.
//!
//! Each slot has two views. [`Bucket`]s cover the whole run and are exact: the number of attempts
//! running at each boundary, and the area under that curve. [`Interval`]s show single attempts, but
//! only from the beginning of the run. A sample thinned over the whole run would make a busy lane
//! look idle. Times are microseconds since the job began.

use wire::protocol::{Outcome, Verdict};

/// Single attempts kept per slot: 30 rounds of 128 in flight, 128 KiB.
pub const INTERVALS_MAX: usize = 4_096;

/// Room for attempts that began before the cut but ended after it.
const STRAGGLERS_MAX: usize = 1_024;

/// Buckets kept per slot. When a run outgrows them, neighbours merge and the width doubles.
pub const BUCKETS_MAX: usize = 512;

/// log₂ of the first bucket width in microseconds: about a millisecond, finer than any chart of a
/// run shows.
const FIRST_WIDTH_LOG2: u32 = 10;

/// How an attempt ended, as far as a chart shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With fields.
    Ok,
    /// With a final error.
    Failed,
    /// With an error that may be temporary; another attempt followed.
    Retried,
}

impl From<&Verdict> for Ending {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Ok => Self::Ok,
            Verdict::Failed(_) => Self::Failed,
            Verdict::Retry { .. } => Self::Retried,
        }
    }
}

/// One attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// The target's id.
    pub id: u64,
    /// When it began.
    pub started_us: u64,
    /// Duration; saturates at 71 minutes.
    pub elapsed_us: u32,
    /// The part of it spent computing.
    pub cpu_us: u32,
    /// How it ended.
    pub ending: Ending,
}

/// A curve of steps: its change within a bucket, and the area that those steps add to the bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Steps {
    change: i64,
    area_us: i64,
}

impl Steps {
    fn up(&mut self, to_bucket_end_us: u64) {
        self.change += 1;
        self.area_us = self.area_us.saturating_add_unsigned(to_bucket_end_us);
    }

    fn down(&mut self, to_bucket_end_us: u64) {
        self.change -= 1;
        self.area_us = self.area_us.saturating_sub_unsigned(to_bucket_end_us);
    }

    /// Merges the following bucket into this one. Both are `width_us` wide.
    fn join(&mut self, next: Self, width_us: u64) {
        let carried = self.change.saturating_mul(i64::try_from(width_us).unwrap_or(i64::MAX));
        self.area_us = self.area_us.saturating_add(carried).saturating_add(next.area_us);
        self.change += next.change;
    }
}

/// What happened in one slot during one bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Bucket {
    items: u64,
    failed: u64,
    refused: u64,
    bytes: u64,
    running: Steps,
    computing: Steps,
}

impl Bucket {
    fn join(&mut self, next: &Self, width_us: u64) {
        self.items += next.items;
        self.failed += next.failed;
        self.refused += next.refused;
        self.bytes += next.bytes;
        self.running.join(next.running, width_us);
        self.computing.join(next.computing, width_us);
    }
}

/// One bucket, ready for a chart.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Point {
    /// Final results that arrived in it.
    pub items: u64,
    /// Those of them that are errors.
    pub failed: u64,
    /// Attempts that ended in it because the server refused the request.
    pub refused: u64,
    /// Body bytes of the attempts that ended in it.
    pub bytes: u64,
    /// Mean number of attempts in flight.
    pub in_flight: f64,
    /// Mean number of attempts computing; the rest of `in_flight` waited.
    pub computing: f64,
    /// Attempts in flight at its last instant.
    pub in_flight_at_end: i64,
}

/// The timeline of one slot.
#[derive(Debug, Clone, Default)]
struct Lane {
    intervals: Vec<Interval>,
    /// Set once `intervals` is full. Every attempt that began before this instant is included.
    complete_before_us: Option<u64>,
    buckets: Vec<Bucket>,
}

impl Lane {
    fn keep(&mut self, interval: Interval) {
        match self.complete_before_us {
            None => {
                self.intervals.push(interval);
                if self.intervals.len() >= INTERVALS_MAX {
                    self.complete_before_us = self.intervals.iter().map(|kept| kept.started_us).max();
                }
            }
            Some(cut) if interval.started_us >= cut => {}
            Some(_) if self.intervals.len() < INTERVALS_MAX + STRAGGLERS_MAX => self.intervals.push(interval),
            Some(_) => self.complete_before_us = Some(interval.started_us),
        }
    }

    fn bucket(&mut self, index: usize) -> Option<&mut Bucket> {
        if index >= self.buckets.len() {
            self.buckets.resize(index + 1, Bucket::default());
        }
        self.buckets.get_mut(index)
    }

    fn halve(&mut self, width_us: u64) {
        let mut joined = Vec::with_capacity(self.buckets.capacity());
        for pair in self.buckets.chunks(2) {
            let [first, rest @ ..] = pair else { continue };
            let mut bucket = *first;
            bucket.join(&rest.first().copied().unwrap_or_default(), width_us);
            joined.push(bucket);
        }
        self.buckets = joined;
    }
}

/// What was in flight at which time, for every slot of a run.
#[derive(Debug, Clone)]
pub struct Timeline {
    width_log2: u32,
    lanes: Vec<Lane>,
    end_us: u64,
}

impl Timeline {
    pub(super) fn new(slots: usize) -> Self {
        Self { width_log2: FIRST_WIDTH_LOG2, lanes: vec![Lane::default(); slots], end_us: 0 }
    }

    pub(super) fn record(&mut self, slot: usize, outcome: &Outcome) {
        let end_us = outcome.started_us.saturating_add(outcome.elapsed_us);
        let cpu_us = outcome.cpu_us.min(outcome.elapsed_us);
        let ending = Ending::from(&outcome.verdict);
        let last = self.make_room(slot, end_us);
        let (shift, width_us) = (self.width_log2, self.width_us());
        let Some(lane) = self.lanes.get_mut(slot) else {
            return;
        };

        // It is not known when within an attempt the computing happened. Parsing follows waiting,
        // so it is drawn as the last part of the attempt.
        let computing_from_us = end_us - cpu_us;
        let left = |at_us: u64| width_us - (at_us & (width_us - 1));
        if let Some(bucket) = lane.bucket(last) {
            let is_final = ending != Ending::Retried;
            let (items, failed) = match &outcome.endings {
                Some(endings) => (endings.records(), endings.parse + endings.child),
                None => (u64::from(is_final), u64::from(ending == Ending::Failed)),
            };
            bucket.items += items;
            bucket.failed += failed;
            bucket.refused += u64::from(outcome.reply.is_some_and(|reply| reply.refused));
            bucket.bytes = bucket.bytes.saturating_add(outcome.bytes);
            bucket.running.down(left(end_us));
            bucket.computing.down(left(end_us));
        }
        if let Some(bucket) = lane.bucket(index(outcome.started_us, shift)) {
            bucket.running.up(left(outcome.started_us));
        }
        if let Some(bucket) = lane.bucket(index(computing_from_us, shift)) {
            bucket.computing.up(left(computing_from_us));
        }
        lane.keep(Interval {
            id: outcome.id,
            started_us: outcome.started_us,
            elapsed_us: u32::try_from(outcome.elapsed_us).unwrap_or(u32::MAX),
            cpu_us: u32::try_from(cpu_us).unwrap_or(u32::MAX),
            ending,
        });
    }

    /// Records a final result that no worker reported, because the worker died.
    pub(super) fn record_lost(&mut self, slot: usize, at_us: u64) {
        let last = self.make_room(slot, at_us);
        if let Some(bucket) = self.lanes.get_mut(slot).and_then(|lane| lane.bucket(last)) {
            bucket.items += 1;
            bucket.failed += 1;
        }
    }

    /// Ensures that the slot has a lane and `at_us` a bucket, and returns the bucket's index.
    fn make_room(&mut self, slot: usize, at_us: u64) -> usize {
        if slot >= self.lanes.len() {
            self.lanes.resize(slot + 1, Lane::default());
        }
        self.end_us = self.end_us.max(at_us);
        while index(at_us, self.width_log2) >= BUCKETS_MAX {
            let width_us = self.width_us();
            self.lanes.iter_mut().for_each(|lane| lane.halve(width_us));
            self.width_log2 += 1;
        }
        index(at_us, self.width_log2)
    }

    /// Number of slots that have a lane, busy or not.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.lanes.len()
    }

    /// When the last attempt ended.
    #[must_use]
    pub fn end_us(&self) -> u64 {
        self.end_us
    }

    /// Width of every [`Point`].
    #[must_use]
    pub fn width_us(&self) -> u64 {
        1 << self.width_log2
    }

    /// Returns the attempts kept for one slot, in the order in which they ended.
    #[must_use]
    pub fn intervals(&self, slot: usize) -> &[Interval] {
        self.lanes.get(slot).map_or(&[], |lane| &lane.intervals)
    }

    /// The intervals include every attempt, of any slot, that began before this instant; `None`
    /// means all attempts.
    #[must_use]
    pub fn complete_before_us(&self) -> Option<u64> {
        self.lanes.iter().filter_map(|lane| lane.complete_before_us).min()
    }

    /// Returns one slot over the whole run, one point per [`Self::width_us`].
    #[must_use]
    pub fn series(&self, slot: usize) -> Vec<Point> {
        let buckets = self.lanes.get(slot).map_or(&[][..], |lane| &lane.buckets);
        points(buckets.iter().copied(), self.width_us())
    }

    /// Returns all slots together over the whole run.
    #[must_use]
    pub fn total(&self) -> Vec<Point> {
        let mut sum: Vec<Bucket> = Vec::new();
        for lane in &self.lanes {
            if sum.len() < lane.buckets.len() {
                sum.resize(lane.buckets.len(), Bucket::default());
            }
            for (total, bucket) in sum.iter_mut().zip(&lane.buckets) {
                // Width 0, because these two buckets cover the same time, not neighbouring times.
                total.join(bucket, 0);
            }
        }
        points(sum.into_iter(), self.width_us())
    }
}

fn index(at_us: u64, width_log2: u32) -> usize {
    usize::try_from(at_us >> width_log2).unwrap_or(usize::MAX)
}

fn points(buckets: impl Iterator<Item = Bucket>, width_us: u64) -> Vec<Point> {
    let (mut running, mut computing) = (0_i64, 0_i64);
    let average = |level: &mut i64, steps: Steps| {
        let area = *level as f64 + steps.area_us as f64 / width_us as f64;
        *level += steps.change;
        area.max(0.0)
    };
    buckets
        .map(|bucket| Point {
            items: bucket.items,
            failed: bucket.failed,
            refused: bucket.refused,
            bytes: bucket.bytes,
            in_flight: average(&mut running, bucket.running),
            computing: average(&mut computing, bucket.computing),
            in_flight_at_end: running,
        })
        .collect()
}
