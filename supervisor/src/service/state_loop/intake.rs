//! Accepts jobs, and loads stored jobs at the start.

use std::fs;

use crossbeam_channel::Sender;
use supervisor_core::gather::Counts;

use super::super::StoreError;
use super::super::disk_thread;
use super::super::event::Prepared;
use super::super::event::Reply;
use super::super::request::{Idempotency, Refused, Submission, Submitted};
use super::super::store::{self, Deaths, JobRow, NewJob};
use super::StateLoop;
use super::job::{self, Job};
use super::share::now;
use crate::journal;
use crate::outcome::Outcome;
use crate::view::{JobCounts, JobId, JobState, JobView};

impl StateLoop {
    /// Loads the jobs from the store. A job that was running when the service died is queued again, and continues from
    /// its journal when it starts, unless it seems to be what the service dies of.
    pub(super) fn take_over(&mut self) -> Result<(), StoreError> {
        let (mut lost, mut suspects) = (Vec::new(), 0);
        for mut row in self.parts.store.all()? {
            let id = row.id;
            // A service that was told to stop has queued its jobs, or is about to and has stored that.
            let was_running = row.state.is_at_work();
            if was_running {
                row.state = JobState::Queued;
            }
            if row.finished_at.is_none() {
                self.catch_up(&mut row);
            }
            let suspected = was_running && self.suspect(&mut row);
            suspects += usize::from(suspected);
            // The job was draining, or is set aside, or its held records were not in its output yet.
            let ends = row.state.has_ended() && row.finished_at.is_none();
            if ends {
                row.exit_code = row.exit_code.or(Some(Outcome::Stopped(15).code()));
                row.bytes = store::size(&self.parts.store.job_directory(id));
            }
            if was_running {
                self.store_or_say(&row);
            }
            if self.has_lost_records(&mut row) {
                lost.push(id);
            }
            self.jobs.insert(id, Job { suspected, ..Job::new(row) });
            if ends {
                self.give_up(id);
            } else {
                self.show_job(id);
            }
        }
        self.trial = job::trial(suspects);
        if !lost.is_empty() {
            let note =
                format!("records are missing or cut off in the files of these jobs: {}", store::named(&lost));
            tracing::warn!("{note}");
            self.parts.store.note(note);
        }
        Ok(())
    }

    /// Decides about a job that ran when the service died. Returns whether it is queued again and
    /// suspected.
    fn suspect(&self, row: &mut JobRow) -> bool {
        let id = row.id;
        if self.parts.store.rebooted() {
            tracing::info!(job = id.0, "queued again after a restart of the machine");
            return false;
        }
        let deaths = match self.parts.store.count_death(id, row.counts.done) {
            Ok(deaths) => deaths,
            Err(error) => {
                tracing::error!(job = id.0, %error, "cannot count the deaths of the service during it");
                Deaths::default()
            }
        };
        let count = deaths.silent.max(deaths.stuck);
        if !deaths.is_fatal() {
            tracing::info!(job = id.0, deaths = count, "queued again after a restart of the service");
            return true;
        }
        let why = format!(
            "the service died {count} times in a row while this job ran, and the job wrote no record in between; it is \
             set aside so that other jobs can run; journalctl -u muster and journalctl -k show how the service died, for \
             example for want of memory; submit the job again with smaller inputs, or on a service with more memory"
        );
        tracing::error!(job = id.0, deaths = count, %why, "failed");
        row.state = JobState::Failed;
        row.error = Some(why);
        row.exit_code = Some(Outcome::Impossible.code());
        false
    }

    /// Whether there is less of a job's records than was committed. Of a job that is done, all is committed.
    fn has_lost_records(&self, row: &mut JobRow) -> bool {
        let bytes = fs::metadata(self.parts.store.records(row.id)).map_or(0, |found| found.len());
        if row.state == JobState::Done {
            row.committed = row.committed.max(bytes);
        }
        bytes < row.committed
    }

    /// Updates the counts of a job from its journal, which may be newer than the row.
    fn catch_up(&self, row: &mut JobRow) {
        let state = match journal::committed(&self.parts.store.records(row.id)) {
            Ok(Some(state)) => state,
            Ok(None) => return,
            // The user gets this error when the job starts.
            Err(error) => return tracing::warn!(job = row.id.0, %error, "cannot read its journal"),
        };
        let kept = state.kept();
        let Counts { ok, failed, quarantined, retries, bytes, unchanged: _ } = kept.counts;
        let done = ok + failed;
        row.counts = JobCounts { done, ok, failed, quarantined, retries, bytes, in_flight: 0, ..row.counts };
        row.errors = kept.errors;
        row.committed = state.output_bytes;
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
            None => self.parts.disk.prepare(submission, reply),
        }
    }

    /// Returns why no job can be accepted now, if so.
    pub(super) fn refusal(&self) -> Option<Refused> {
        let waiting = self.jobs.values().filter(|job| job.row.state == JobState::Queued).count() as u64;
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
        if let Some(directory) = disk_thread::directory(&submission.uploads) {
            self.parts.disk.remove(directory);
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
    pub(super) fn handle_prepared(&mut self, prepared: Result<Box<Prepared>, Refused>, reply: Reply) {
        let prepared = match prepared {
            Ok(prepared) => *prepared,
            Err(refused) => return reply.refuse(refused),
        };
        let incoming = prepared.incoming.clone();
        match self.take_in(prepared) {
            Ok((job, known)) => {
                if let Some(incoming) = incoming.filter(|_| known) {
                    self.parts.disk.remove(incoming);
                }
                reply.accept(job, known);
            }
            Err(refused) => {
                if let Some(incoming) = incoming {
                    self.parts.disk.remove(incoming);
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
        let new = NewJob {
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
        let row = self.parts.store.insert(&new, incoming.as_deref());
        let row = row.map_err(|error| Refused::Storage(error.to_string()))?;
        let id: JobId = row.id;
        tracing::info!(job = id.0, command, sender, "accepted");
        let job = Job::new(row);
        let view = job.view();
        self.jobs.insert(id, job);
        self.parts.service.board().metrics.job_changed(None, &view);
        self.show_job(id);
        Ok((view, false))
    }
}
