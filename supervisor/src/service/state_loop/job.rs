//! A job in the state loop: its stored row, and what exists only while it runs.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shared::clock;
use shared::job::Mode;
use shared::redact;

use super::super::event::JobProgress;
use super::super::schedule::{Allocation, Claim, Stage};
use super::super::store::JobRow;
use crate::runtime::Controller;
use crate::view::{JobState, JobView};

/// How long a job is suspected that runs and writes nothing. What takes the memory of a service takes seconds.
const SUSPECTED_FOR: Duration = Duration::from_secs(60);

/// The same if several are suspected, which run alone one after the other while all other jobs wait.
const SUSPECTED_IN_TURN_FOR: Duration = Duration::from_secs(10);

/// Returns how long each of so many suspected jobs must run.
pub(super) const fn trial(suspects: usize) -> Duration {
    if suspects > 1 { SUSPECTED_IN_TURN_FOR } else { SUSPECTED_FOR }
}

/// What happens to a job after draining.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterDrain {
    /// It is paused.
    Pause,
    /// It is cancelled.
    Cancel,
    /// It is queued again.
    Queue,
}

impl AfterDrain {
    /// The state that is stored while the job drains, so that a crash cannot undo the request.
    pub(super) const fn state(self) -> JobState {
        match self {
            Self::Pause => JobState::Paused,
            Self::Cancel => JobState::Cancelled,
            Self::Queue => JobState::Queued,
        }
    }
}

impl fmt::Display for AfterDrain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pause => "paused",
            Self::Cancel => "cancelled",
            Self::Queue => "queued",
        })
    }
}

/// A running job.
#[derive(Debug)]
pub(super) struct RunningJob {
    pub(super) controller: Controller,
    allotted: Arc<AtomicU32>,
    pub(super) alive: u32,
    pub(super) wants: u32,
    pub(super) mode: Option<Mode>,
    /// What follows the draining, if the job was told to stop.
    pub(super) draining: Option<AfterDrain>,
    pub(super) progress: Option<JobProgress>,
    pub(super) since: Instant,
    /// Whether this run has shown that the service does not die of it.
    is_cleared: bool,
}

impl RunningJob {
    pub(super) fn new(controller: Controller, allotted: Arc<AtomicU32>) -> Self {
        Self {
            controller,
            allotted,
            alive: 0,
            wants: 1,
            mode: None,
            draining: None,
            progress: None,
            since: clock::now(),
            is_cleared: false,
        }
    }

    pub(super) fn allotted(&self) -> u32 {
        self.allotted.load(Ordering::Acquire)
    }

    pub(super) fn allot(&self, workers: u32) {
        self.allotted.store(workers, Ordering::Release);
    }
}

/// How long a job waits after a run that lacked descriptors, or a start that could not be stored, the first time.
const SHORT_WAIT: Duration = Duration::from_secs(1);

/// The longest wait. It doubles each time.
const SHORT_WAIT_MAX: Duration = Duration::from_secs(30);

/// Waits for descriptors in a row after which a job is paused: five minutes together.
const SHORT_WAITS_MAX: u32 = 14;

/// Returns how long a job waits that has waited so often before.
fn next_wait(waits: u32) -> Duration {
    (SHORT_WAIT * 2_u32.saturating_pow(waits)).min(SHORT_WAIT_MAX)
}

/// The waits of a job while descriptors are short, or its start cannot be stored. One is not the other: a job that
/// has waited for a full disk has not waited for descriptors.
#[derive(Debug, Default)]
pub(super) struct Shortage {
    /// Waits for descriptors in a row.
    for_descriptors: u32,
    /// Waits for the disk in a row.
    for_disk: u32,
    /// When the job may start again.
    pub(super) until: Option<Instant>,
}

impl Shortage {
    /// Begins the next wait for descriptors, and returns how long it is. After the last one, forgets all.
    pub(super) fn wait_for_descriptors(&mut self, now: Instant) -> Option<Duration> {
        if self.for_descriptors == SHORT_WAITS_MAX {
            *self = Self::default();
            return None;
        }
        let wait = next_wait(self.for_descriptors);
        self.for_descriptors += 1;
        self.until = Some(now + wait);
        Some(wait)
    }

    /// Begins the next wait for the disk, however many there were.
    pub(super) fn wait_for_disk(&mut self, now: Instant) {
        self.until = Some(now + next_wait(self.for_disk));
        self.for_disk = self.for_disk.saturating_add(1);
    }

    /// Notes that the start of the job was stored.
    pub(super) const fn has_stored(&mut self) {
        self.for_disk = 0;
    }
}

/// A job.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) row: JobRow,
    /// The committed bytes of its records, shared with their readers.
    pub(super) committed: Arc<AtomicU64>,
    pub(super) running: Option<RunningJob>,
    /// Whether the service died while it ran, and the job has not shown that it was not to blame.
    pub(super) suspected: bool,
    pub(super) shortage: Shortage,
    /// Whether it ends once its held records are in its output.
    pub(super) releasing: bool,
}

impl Job {
    pub(super) fn new(row: JobRow) -> Self {
        let committed = Arc::new(AtomicU64::new(row.committed));
        let shortage = Shortage::default();
        Self { row, committed, running: None, suspected: false, shortage, releasing: false }
    }

    /// Clears it of suspicion once it has made a record in this run, or has run for `trial`. Returns whether it does,
    /// which also forgets earlier deaths of the service.
    pub(super) fn clear(&mut self, now: Instant, trial: Duration) -> bool {
        let done = self.row.counts.done;
        let Some(running) = self.running.as_mut().filter(|running| !running.is_cleared) else { return false };
        let gets_on = running.progress.as_ref().is_some_and(|progress| progress.counts.done > done);
        running.is_cleared = gets_on || now.duration_since(running.since) >= trial;
        self.suspected &= !running.is_cleared;
        running.is_cleared
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.draining.is_some())
    }

    /// Returns the state to publish.
    pub(super) fn state(&self) -> JobState {
        match &self.running {
            Some(running) if running.draining.is_some() => JobState::Draining,
            Some(_) => JobState::Running,
            None if self.releasing => JobState::Draining,
            None => self.row.state,
        }
    }

    /// Returns the job for the scheduler; `None` if it is not to be scheduled.
    pub(super) fn claim(&self) -> Option<Claim> {
        let stage = match &self.running {
            Some(running) if running.draining.is_some() => Stage::Leaving { alive: running.alive },
            Some(running) => Stage::Running(Allocation {
                allotted: running.allotted(),
                alive: running.alive,
                wants: running.wants,
            }),
            None if self.row.state == JobState::Queued && self.shortage.until.is_none() => Stage::Waiting,
            None => return None,
        };
        Some(Claim { id: self.row.id, priority: self.row.priority, suspected: self.suspected, stage })
    }

    /// Returns the job as it is published.
    pub(super) fn view(&self) -> JobView {
        let row = &self.row;
        let progress = self.running.as_ref().and_then(|running| running.progress.as_ref());
        JobView {
            id: row.id,
            name: row.name.clone(),
            command: row.command.clone(),
            state: self.state(),
            priority: row.priority,
            submitted_at: row.submitted_at.clone(),
            started_at: row.started_at.clone(),
            finished_at: row.finished_at.clone(),
            counts: progress.map_or(row.counts, |progress| progress.counts),
            workers: self.running.as_ref().map_or(0, |running| running.alive),
            mode: match &self.running {
                Some(running) => running.mode,
                None => row.summary.as_ref().map(|summary| summary.mode),
            },
            items_per_s: match (progress, &row.summary) {
                (Some(progress), _) => progress.items_per_s,
                (None, Some(summary)) if row.state.has_ended() => summary.items_per_s,
                (None, _) => 0.0,
            },
            eta_s: progress.and_then(|progress| progress.eta_s),
            latency_ms: match progress {
                Some(progress) => progress.latency_ms,
                None => row.summary.as_ref().map(|summary| summary.latency_ms),
            },
            errors: progress.map_or_else(|| row.errors.clone(), |progress| progress.errors.clone()),
            exit_code: row.exit_code,
            error: row.error.as_deref().map(|error| redact::text(error).into_owned()),
            retry_of: row.retry_of,
            proxies: progress.map_or_else(Vec::new, |progress| progress.proxies.clone()),
            summary: row.summary.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_descriptors_grow_to_a_limit() {
        let (now, mut shortage) = (shared::clock::now(), Shortage::default());
        let waits: Vec<u64> =
            std::iter::from_fn(|| shortage.wait_for_descriptors(now)).map(|wait| wait.as_secs()).collect();
        assert_eq!((waits.len(), &waits[..7]), (14, &[1, 2, 4, 8, 16, 30, 30][..]));
        assert_eq!(waits.iter().sum::<u64>(), 301);
        assert_eq!(shortage.until, None);
        assert_eq!(shortage.wait_for_descriptors(now), Some(SHORT_WAIT));
    }

    #[test]
    fn a_full_disk_uses_up_no_waits_for_descriptors() {
        let (now, mut shortage) = (shared::clock::now(), Shortage::default());
        let after = |shortage: &Shortage| shortage.until.map(|until| until - now);
        for _ in 0..100 {
            shortage.wait_for_disk(now);
        }
        assert_eq!(after(&shortage), Some(SHORT_WAIT_MAX));
        shortage.has_stored();
        assert_eq!(shortage.wait_for_descriptors(now), Some(SHORT_WAIT), "its first lack of descriptors");
        shortage.wait_for_disk(now);
        assert_eq!(after(&shortage), Some(SHORT_WAIT));
        assert_eq!(shortage.wait_for_descriptors(now), Some(SHORT_WAIT * 2));
    }
}
