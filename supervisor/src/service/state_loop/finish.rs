//! Handles progress and the end of runs, and stores the result.

use std::sync::atomic::Ordering;

use supervisor_core::pool::Notice;

use super::super::board::Event;
use super::super::news::{How, JobResult, Sight};
use super::StateLoop;
use super::job::{After, Job};
use super::share::now;
use crate::outcome::Outcome;
use crate::view::{JobCounts, JobId, JobState};

impl StateLoop {
    /// Handles the end of a job's run.
    pub(super) fn ended(&mut self, id: JobId, how: How, bytes: u64) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let live = job.live.take();
        let after = live.as_ref().and_then(|live| live.draining);
        let sight = live.and_then(|live| live.sight);
        if let How::Done(result, _) | How::Stopped(result) | How::Failed(_, Some(result)) = &how {
            let before = sight.as_ref().map(|sight| sight.latencies).unwrap_or_default();
            self.parts.service.board().metrics.latencies_grew(&before, &result.latencies);
        }
        if let Some(sight) = sight {
            self.restarts += sight.restarts;
            // The last known progress, unless the engine reported the final counts.
            job.kept.counts = JobCounts { in_flight: 0, ..sight.counts };
            job.kept.errors = sight.errors;
        }
        job.kept.committed = job.committed.load(Ordering::Acquire);
        job.kept.bytes = bytes;
        match how {
            How::Done(result, code) => {
                job.conclude(JobState::Done, Some(result), Some(code));
                tracing::info!(job = id.0, exit_code = code, "done");
            }
            How::Stopped(result) => match after {
                Some(After::Cancel) => {
                    let code = Outcome::Stopped(15).code();
                    job.conclude(JobState::Cancelled, Some(result), Some(code));
                    tracing::info!(job = id.0, "cancelled");
                }
                Some(After::Pause) => {
                    job.set_aside(JobState::Paused, result);
                    tracing::info!(job = id.0, "paused");
                }
                // Without a request of the user, only a stopping service or the scheduler stops a job.
                Some(After::Queue) | None => {
                    job.set_aside(JobState::Queued, result);
                    tracing::info!(job = id.0, "queued again");
                }
            },
            How::Failed(why, result) => {
                tracing::warn!(job = id.0, %why, "failed");
                job.kept.error = Some(why);
                job.conclude(JobState::Failed, result, Some(Outcome::Impossible.code()));
            }
            How::Blocked(why) => {
                tracing::warn!(job = id.0, %why, "paused, because it cannot continue");
                job.kept.error = Some(why);
                match after {
                    Some(After::Cancel) => {
                        job.conclude(JobState::Cancelled, None, Some(Outcome::Impossible.code()));
                    }
                    Some(After::Pause | After::Queue) | None => job.kept.state = JobState::Paused,
                }
            }
        }
        self.expiry_due = shared::clock::now();
        self.keep(id);
    }

    pub(super) fn seen(&mut self, id: JobId, sight: Sight) {
        let Some(live) = self.jobs.get_mut(&id).and_then(|job| job.live.as_mut()) else { return };
        let before = live.sight.as_ref().map(|sight| sight.latencies).unwrap_or_default();
        let metrics = &self.parts.service.board().metrics;
        metrics.latencies_grew(&before, &sight.latencies);
        live.sight = Some(sight);
        self.show_job(id);
    }

    pub(super) fn said(&self, id: JobId, notice: Notice) {
        let Notice { text, is_trouble, slot, target } = notice;
        if is_trouble {
            tracing::warn!(job = id.0, worker = slot, target = target, "{text}");
        } else {
            tracing::info!(job = id.0, worker = slot, target = target, "{text}");
        }
        self.parts.service.tell(Event::Said(Some(id), text.into()));
    }

    /// Stores and publishes a job. If storing fails, the next change tries again; until then, the state is
    /// lost if this process ends.
    pub(super) fn keep(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let mut kept = job.kept.clone();
        if let Some(after) = job.live.as_ref().and_then(|live| live.draining) {
            kept.state = after.state();
        }
        if let Err(error) = self.parts.store.update(&kept) {
            tracing::error!(job = id.0, %error, "cannot store its state");
            self.parts.service.tell(Event::Said(Some(id), error.to_string().into()));
        }
        self.show_job(id);
    }
}

impl Job {
    fn conclude(&mut self, state: JobState, result: Option<JobResult>, exit_code: Option<u8>) {
        if let Some(result) = result {
            self.take(result);
        }
        self.kept.state = state;
        self.kept.exit_code = exit_code;
        self.kept.finished_at = Some(now());
    }

    fn set_aside(&mut self, state: JobState, result: JobResult) {
        self.take(result);
        // The job has not ended.
        self.kept.summary = None;
        self.kept.state = state;
    }

    fn take(&mut self, result: JobResult) {
        let known = self.kept.counts;
        self.kept.counts = result.counts;
        if result.counts.total.is_none() {
            (self.kept.counts.total, self.kept.counts.total_exact) = (known.total, known.total_exact);
        }
        self.kept.errors = result.errors;
        self.kept.summary = result.summary;
    }
}
