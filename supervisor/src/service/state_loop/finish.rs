//! Handles progress and the end of runs, and stores the result.

use std::sync::atomic::Ordering;

use shared::{clock, redact};
use supervisor_core::pool::Notice;

use super::super::board::Update;
use super::super::event::{JobEnd, JobProgress, JobResult};
use super::super::request::Refused;
use super::super::store::JobRow;
use super::StateLoop;
use super::job::{AfterDrain, Job, Shortage};
use super::share::now;
use crate::journal;
use crate::outcome::Outcome;
use crate::view::{JobCounts, JobId, JobState};

impl StateLoop {
    /// Handles the end of a job's run.
    pub(super) fn handle_end(&mut self, id: JobId, end: JobEnd, bytes: u64) {
        if let JobEnd::Done(result, _) | JobEnd::Stopped(result) | JobEnd::Failed(_, Some(result)) = &end {
            self.note_records(Some((id, result.counts.done)));
        }
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let running = job.running.take();
        job.suspected = false;
        let gets_on = job.committed.load(Ordering::Acquire) > job.row.committed;
        let after = running.as_ref().and_then(|running| running.draining);
        let progress = running.and_then(|running| running.progress);
        if let JobEnd::Done(result, _) | JobEnd::Stopped(result) | JobEnd::Failed(_, Some(result)) = &end {
            let before = progress.as_ref().map(|progress| progress.latencies).unwrap_or_default();
            self.parts.service.board().metrics.latencies_grew(&before, &result.latencies);
        }
        if let Some(progress) = progress {
            self.restarts += progress.restarts;
            // The last known progress, unless the engine reported the final counts.
            job.row.counts = JobCounts { in_flight: 0, ..progress.counts };
            job.row.errors = progress.errors;
        }
        job.row.committed = job.committed.load(Ordering::Acquire);
        job.row.bytes = bytes;
        if gets_on || !matches!(end, JobEnd::Short(_)) {
            job.shortage = Shortage::default();
        }
        match end {
            JobEnd::Done(result, code) => {
                job.conclude(JobState::Done, Some(result), Some(code));
                tracing::info!(job = id.0, exit_code = code, "done");
            }
            JobEnd::Stopped(result) => match after {
                Some(AfterDrain::Cancel) => {
                    let code = Outcome::Stopped(15).code();
                    job.conclude(JobState::Cancelled, Some(result), Some(code));
                    tracing::info!(job = id.0, "cancelled");
                }
                Some(AfterDrain::Pause) => {
                    job.set_aside(JobState::Paused, result);
                    tracing::info!(job = id.0, "paused");
                }
                // Without a request of the user, only a stopping service or the scheduler stops a job.
                Some(AfterDrain::Queue) | None => {
                    job.set_aside(JobState::Queued, result);
                    tracing::info!(job = id.0, "queued again");
                }
            },
            JobEnd::Failed(why, result) => {
                tracing::warn!(job = id.0, %why, "failed");
                job.row.error = Some(why);
                job.conclude(JobState::Failed, result, Some(Outcome::Impossible.code()));
            }
            JobEnd::Blocked(why) => {
                tracing::warn!(job = id.0, %why, "paused, because it cannot continue");
                job.cannot_continue(why, after, JobState::Paused);
            }
            JobEnd::Short(why) => job.wait_for_descriptors(why, after),
        }
        if matches!(job.row.state, JobState::Cancelled | JobState::Failed) {
            return self.give_up(id);
        }
        self.expiry_due = clock::now();
        self.keep(id);
    }

    /// Ends a job that is not done and will not be resumed. Its held records come first. Until they are in its output, it
    /// is stored without the time of its end, so that a start after a kill does the rest, and shown as draining, so
    /// that whoever reads its records on gets them.
    pub(super) fn give_up(&mut self, id: JobId) {
        let records = self.parts.store.records(id);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.releasing = journal::may_hold(&records);
        if job.releasing {
            job.row.finished_at = None;
            self.parts.disk.release(id, records);
        } else {
            job.row.finished_at = Some(now());
        }
        self.expiry_due = clock::now();
        self.keep(id);
    }

    /// Handles that the held records of a job that is not resumed are in its output.
    pub(super) fn handle_release(&mut self, id: JobId, released: Result<Option<u64>, Refused>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.releasing = false;
        job.row.finished_at = Some(now());
        self.expiry_due = clock::now();
        match released {
            Ok(bytes) => {
                if let Some(bytes) = bytes {
                    job.committed.store(bytes, Ordering::Release);
                    job.row.committed = bytes;
                }
                self.keep(id);
            }
            Err(why) => {
                tracing::warn!(job = id.0, %why, "cannot append its held records; the next start tries again");
                // Stored without the time of its end.
                self.show_job(id);
            }
        }
    }

    pub(super) fn handle_progress(&mut self, id: JobId, progress: JobProgress) {
        let Some(running) = self.jobs.get_mut(&id).and_then(|job| job.running.as_mut()) else { return };
        let before = running.progress.as_ref().map(|progress| progress.latencies).unwrap_or_default();
        let metrics = &self.parts.service.board().metrics;
        metrics.latencies_grew(&before, &progress.latencies);
        running.progress = Some(progress);
        self.show_job(id);
    }

    pub(super) fn handle_notice(&self, id: JobId, notice: Notice) {
        let Notice { text, is_trouble, slot, target } = notice;
        let text = redact::text(&text).into_owned();
        if is_trouble {
            tracing::warn!(job = id.0, worker = slot, target = target, "{text}");
        } else {
            tracing::info!(job = id.0, worker = slot, target = target, "{text}");
        }
        self.parts.service.publish(Update::Said(Some(id), text.into()));
    }

    /// Stores and publishes a job. If storing fails, the next change tries again; until then, the state is
    /// lost if this process ends.
    pub(super) fn keep(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let mut row = job.row.clone();
        if let Some(after) = job.running.as_ref().and_then(|running| running.draining) {
            row.state = after.state();
        }
        self.store_or_say(&row);
        self.show_job(id);
    }

    /// Stores the row of a job. Returns why not, which is also logged, if that fails.
    pub(super) fn store_or_say(&self, row: &JobRow) -> Option<String> {
        let error = self.parts.store.update(row).err()?.to_string();
        tracing::error!(job = row.id.0, %error, "cannot store its state");
        self.parts.service.publish(Update::Said(Some(row.id), error.as_str().into()));
        Some(error)
    }
}

impl Job {
    fn conclude(&mut self, state: JobState, result: Option<JobResult>, exit_code: Option<u8>) {
        if let Some(result) = result {
            self.take(result);
        }
        self.row.state = state;
        self.row.exit_code = exit_code;
        self.row.finished_at = Some(now());
    }

    /// Stores why a run ended early. `otherwise` is the state if the user has asked for nothing else.
    fn cannot_continue(&mut self, why: String, after: Option<AfterDrain>, otherwise: JobState) {
        self.row.error = Some(why);
        match after {
            Some(AfterDrain::Cancel) => {
                self.conclude(JobState::Cancelled, None, Some(Outcome::Impossible.code()));
            }
            Some(AfterDrain::Pause) => self.row.state = JobState::Paused,
            Some(AfterDrain::Queue) | None => self.row.state = otherwise,
        }
    }

    /// Lets the job wait, or pauses it if that has not helped for long.
    fn wait_for_descriptors(&mut self, why: String, after: Option<AfterDrain>) {
        let id = self.row.id.0;
        match self.shortage.wait_for_descriptors(clock::now()) {
            Some(wait) => {
                tracing::warn!(job = id, %why, ?wait, "queued again, because there are too few descriptors");
                self.cannot_continue(why, after, JobState::Queued);
            }
            None => {
                tracing::warn!(job = id, %why, "paused, because there have been too few descriptors for minutes");
                self.cannot_continue(why, after, JobState::Paused);
            }
        }
    }

    fn set_aside(&mut self, state: JobState, result: JobResult) {
        self.take(result);
        // The job has not ended.
        self.row.summary = None;
        self.row.state = state;
    }

    fn take(&mut self, result: JobResult) {
        let known = self.row.counts;
        self.row.counts = result.counts;
        if result.counts.total.is_none() {
            (self.row.counts.total, self.row.counts.total_exact) = (known.total, known.total_exact);
        }
        self.row.errors = result.errors;
        self.row.summary = result.summary;
    }
}
