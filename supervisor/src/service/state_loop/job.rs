//! A job in the state loop: its stored row, and what exists only while it runs.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use shared::job::Mode;

use super::super::news::Sight;
use super::super::schedule::{Claim, Holding, Stage};
use super::super::store::Kept;
use crate::runtime::Controller;
use crate::view::{JobState, JobView};

/// What happens to a job after draining.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// It is paused.
    Pause,
    /// It is cancelled.
    Cancel,
    /// It is queued again.
    Queue,
}

impl After {
    /// The state that is stored while the job drains, so that a crash cannot undo the request.
    pub(super) const fn state(self) -> JobState {
        match self {
            Self::Pause => JobState::Paused,
            Self::Cancel => JobState::Cancelled,
            Self::Queue => JobState::Queued,
        }
    }
}

impl fmt::Display for After {
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
pub(super) struct Live {
    pub(super) controller: Controller,
    allotted: Arc<AtomicU32>,
    pub(super) alive: u32,
    pub(super) wants: u32,
    pub(super) mode: Option<Mode>,
    /// What follows the draining, if the job was told to stop.
    pub(super) draining: Option<After>,
    pub(super) sight: Option<Sight>,
}

impl Live {
    pub(super) fn new(controller: Controller, allotted: Arc<AtomicU32>) -> Self {
        Self { controller, allotted, alive: 0, wants: 1, mode: None, draining: None, sight: None }
    }

    pub(super) fn allotted(&self) -> u32 {
        self.allotted.load(Ordering::Acquire)
    }

    pub(super) fn allot(&self, workers: u32) {
        self.allotted.store(workers, Ordering::Release);
    }
}

/// A job.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) kept: Kept,
    /// The committed bytes of its records, shared with their readers.
    pub(super) committed: Arc<AtomicU64>,
    pub(super) live: Option<Live>,
}

impl Job {
    pub(super) fn new(kept: Kept) -> Self {
        let committed = Arc::new(AtomicU64::new(kept.committed));
        Self { kept, committed, live: None }
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.draining.is_some())
    }

    /// Returns the state to publish.
    pub(super) fn state(&self) -> JobState {
        match &self.live {
            Some(live) if live.draining.is_some() => JobState::Draining,
            Some(_) => JobState::Running,
            None => self.kept.state,
        }
    }

    /// Returns the job for the scheduler; `None` if it is not to be scheduled.
    pub(super) fn claim(&self) -> Option<Claim> {
        let stage = match &self.live {
            Some(live) if live.draining.is_some() => Stage::Leaving { alive: live.alive },
            Some(live) => {
                Stage::Running(Holding { allotted: live.allotted(), alive: live.alive, wants: live.wants })
            }
            None if self.kept.state == JobState::Queued => Stage::Waiting,
            None => return None,
        };
        Some(Claim { id: self.kept.id, priority: self.kept.priority, stage })
    }

    /// Returns the job as it is published.
    pub(super) fn view(&self) -> JobView {
        let kept = &self.kept;
        let sight = self.live.as_ref().and_then(|live| live.sight.as_ref());
        JobView {
            id: kept.id,
            name: kept.name.clone(),
            command: kept.command.clone(),
            state: self.state(),
            priority: kept.priority,
            submitted_at: kept.submitted_at.clone(),
            started_at: kept.started_at.clone(),
            finished_at: kept.finished_at.clone(),
            counts: sight.map_or(kept.counts, |sight| sight.counts),
            workers: self.live.as_ref().map_or(0, |live| live.alive),
            mode: match &self.live {
                Some(live) => live.mode,
                None => kept.summary.as_ref().map(|summary| summary.mode),
            },
            items_per_s: match (sight, &kept.summary) {
                (Some(sight), _) => sight.items_per_s,
                (None, Some(summary)) if kept.state.has_ended() => summary.items_per_s,
                (None, _) => 0.0,
            },
            eta_s: sight.and_then(|sight| sight.eta_s),
            latency_ms: match sight {
                Some(sight) => sight.latency_ms,
                None => kept.summary.as_ref().map(|summary| summary.latency_ms),
            },
            errors: sight.map_or_else(|| kept.errors.clone(), |sight| sight.errors.clone()),
            exit_code: kept.exit_code,
            error: kept.error.clone(),
            retry_of: kept.retry_of,
            summary: kept.summary.clone(),
        }
    }
}
