//! Accepts jobs, and loads stored jobs at the start.

use crossbeam_channel::Sender;
use supervisor_core::gather::Counts;

use super::super::StoreError;
use super::super::ask::{Idempotency, Refused, Submission, Submitted};
use super::super::clerk;
use super::super::news::Prepared;
use super::super::news::Reply;
use super::super::store::{self, Kept, New};
use super::StateLoop;
use super::job::Job;
use super::share::now;
use crate::journal;
use crate::view::{JobCounts, JobId, JobState, JobView};

impl StateLoop {
    /// Loads the jobs from the store. A job that was running when the service ended is queued again, and
    /// continues from its journal when it starts.
    pub(super) fn take_over(&mut self) -> Result<(), StoreError> {
        for mut kept in self.parts.store.all()? {
            let id = kept.id;
            if kept.state.is_at_work() {
                kept.state = JobState::Queued;
                tracing::info!(job = id.0, "queued again after a restart of the service");
            }
            let drained = kept.state == JobState::Cancelled && kept.finished_at.is_none();
            if drained || !kept.state.has_ended() {
                self.catch_up(&mut kept);
            }
            if drained {
                // The job was draining.
                kept.finished_at = Some(now());
                kept.exit_code = Some(crate::outcome::Outcome::Stopped(15).code());
                kept.bytes = store::size(&self.parts.store.job_directory(id));
                self.parts.store.update(&kept)?;
            }
            self.jobs.insert(id, Job::new(kept));
            self.show_job(id);
        }
        Ok(())
    }

    /// Updates the counts of a job from its journal, which may be newer than the row.
    fn catch_up(&self, kept: &mut Kept) {
        let state = match journal::committed(&self.parts.store.records(kept.id)) {
            Ok(Some(state)) => state,
            Ok(None) => return,
            // The user gets this error when the job starts.
            Err(error) => return tracing::warn!(job = kept.id.0, %error, "cannot read its journal"),
        };
        let Counts { ok, failed, quarantined, retries, bytes } = state.tally.counts;
        let done = ok + failed;
        kept.counts =
            JobCounts { done, ok, failed, quarantined, retries, bytes, in_flight: 0, ..kept.counts };
        kept.errors = state.tally.errors;
        kept.committed = state.output_bytes;
    }

    pub(super) fn submit(&mut self, submission: Box<Submission>, reply: Sender<Result<Submitted, Refused>>) {
        let reply = Reply::Submitted(reply);
        let refused = match self.known(submission.idempotency.as_ref()) {
            Ok(Some(job)) => {
                self.discard(&submission);
                return reply.accept(job, true);
            }
            Err(refused) => Some(refused),
            Ok(None) => self.refusal(),
        };
        match refused {
            Some(refused) => {
                self.discard(&submission);
                reply.refuse(refused);
            }
            None => self.parts.clerk.prepare(submission, reply),
        }
    }

    /// Returns why no job can be accepted now, if so.
    pub(super) fn refusal(&self) -> Option<Refused> {
        let waiting = self.jobs.values().filter(|job| job.kept.state == JobState::Queued).count() as u64;
        let queue_max = self.parts.config.queue_max;
        if self.stopping {
            Some(Refused::Stopping)
        } else if waiting >= queue_max {
            Some(Refused::Full(waiting))
        } else {
            None
        }
    }

    fn discard(&self, submission: &Submission) {
        if let Some(directory) = clerk::directory(&submission.uploads) {
            self.parts.clerk.remove(directory);
        }
    }

    /// Returns the job that was submitted earlier with this key, if any.
    fn known(&self, idempotency: Option<&Idempotency>) -> Result<Option<JobView>, Refused> {
        let Some(Idempotency { key, digest }) = idempotency else { return Ok(None) };
        let found = self.parts.store.by_key(key).map_err(|error| Refused::Storage(error.to_string()))?;
        match found {
            Some((_, other)) if other != *digest => Err(Refused::KeyReused),
            Some((id, _)) => Ok(self.jobs.get(&id).map(Job::view)),
            None => Ok(None),
        }
    }

    /// Handles a job that the disk thread has checked.
    pub(super) fn prepared(&mut self, prepared: Result<Box<Prepared>, Refused>, reply: Reply) {
        let prepared = match prepared {
            Ok(prepared) => *prepared,
            Err(refused) => return reply.refuse(refused),
        };
        let incoming = prepared.incoming.clone();
        match self.take_in(prepared) {
            Ok((job, known)) => {
                if let Some(incoming) = incoming.filter(|_| known) {
                    self.parts.clerk.remove(incoming);
                }
                reply.accept(job, known);
            }
            Err(refused) => {
                if let Some(incoming) = incoming {
                    self.parts.clerk.remove(incoming);
                }
                reply.refuse(refused);
            }
        }
    }

    fn take_in(&mut self, prepared: Prepared) -> Result<(JobView, bool), Refused> {
        // The same submission may have been accepted meanwhile.
        if let Some(job) = self.known(prepared.idempotency.as_ref())? {
            return Ok((job, true));
        }
        if let Some(refused) = self.refusal() {
            return Err(refused);
        }
        let Prepared { document, command, name, priority, incoming, uploads, idempotency, retry_of, sender } =
            prepared;
        let new = New {
            name: name.as_deref(),
            command,
            priority,
            document: &document,
            uploads: &uploads,
            submitted_at: &now(),
            retry_of,
            idempotency: idempotency.as_ref(),
            sender: &sender,
        };
        let kept = self.parts.store.insert(&new, incoming.as_deref());
        let kept = kept.map_err(|error| Refused::Storage(error.to_string()))?;
        let id: JobId = kept.id;
        tracing::info!(job = id.0, command, sender, "accepted");
        let job = Job::new(kept);
        let view = job.view();
        self.jobs.insert(id, job);
        self.parts.service.board().metrics.job_changed(None, &view);
        self.show_job(id);
        Ok((view, false))
    }
}
