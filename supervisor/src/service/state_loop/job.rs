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
        }
    }

    pub(super) fn allotted(&self) -> u32 {
        self.allotted.load(Ordering::Acquire)
    }

    pub(super) fn allot(&self, workers: u32) {
        self.allotted.store(workers, Ordering::Release);
    }
}

/// How long a job waits after a run that lacked descriptors, the first time.
const SHORT_WAIT: Duration = Duration::from_secs(1);

/// The longest wait. It doubles each time.
const SHORT_WAIT_MAX: Duration = Duration::from_secs(30);

/// What a job waits for while descriptors are short.
#[derive(Debug, Default)]
pub(super) struct Shortage {
    last: Option<Duration>,
    /// When the job may start again.
    pub(super) until: Option<Instant>,
}

impl Shortage {
    /// Begins the next wait, and returns how long it is.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        let wait = self.last.map_or(SHORT_WAIT, |last| (last * 2).min(SHORT_WAIT_MAX));
        (self.last, self.until) = (Some(wait), Some(now + wait));
        wait
    }
}

/// A job.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) row: JobRow,
    /// The committed bytes of its records, shared with their readers.
    pub(super) committed: Arc<AtomicU64>,
    pub(super) running: Option<RunningJob>,
    /// The inputs that were done when the service died while it ran; `None` if it did not, or once the job has shown
    /// that it was not to blame.
    pub(super) suspected: Option<u64>,
    pub(super) shortage: Shortage,
}

impl Job {
    pub(super) fn new(row: JobRow) -> Self {
        let committed = Arc::new(AtomicU64::new(row.committed));
        Self { row, committed, running: None, suspected: None, shortage: Shortage::default() }
    }

    /// Clears it of suspicion if it has made a record since, or has run for a while. Returns whether it has made one.
    pub(super) fn clear(&mut self, now: Instant) -> bool {
        let (Some(done), Some(running)) = (self.suspected, &self.running) else { return false };
        let gets_on = running.progress.as_ref().is_some_and(|progress| progress.counts.done > done);
        if gets_on || now.duration_since(running.since) >= SUSPECTED_FOR {
            self.suspected = None;
        }
        gets_on
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.draining.is_some())
    }

    /// Returns the state to publish.
    pub(super) fn state(&self) -> JobState {
        match &self.running {
            Some(running) if running.draining.is_some() => JobState::Draining,
            Some(_) => JobState::Running,
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
        let suspected = self.suspected.is_some();
        Some(Claim { id: self.row.id, priority: self.row.priority, suspected, stage })
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
        let waits: Vec<u64> = (0..7).map(|_| shortage.wait(now).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(shortage.until, Some(now + SHORT_WAIT_MAX));
    }
}
