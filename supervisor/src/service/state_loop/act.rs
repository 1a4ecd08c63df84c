//! Actions on jobs.

use std::sync::atomic::Ordering;

use crossbeam_channel::Sender;

use super::super::disk_thread::Retry;
use super::super::event::Reply;
use super::super::request::Refused;
use super::super::store;
use super::StateLoop;
use super::job::AfterDrain;
use crate::outcome::Outcome;
use crate::view::{JobAction, JobId, JobState, JobView};

impl StateLoop {
    pub(super) fn act(&mut self, id: JobId, action: JobAction, reply: Sender<Result<JobView, Refused>>) {
        // Read before the action, for the answer to a removal.
        let before = self.jobs.get(&id).map(super::Job::view);
        let answer = match action {
            JobAction::Pause => self.pause(id),
            JobAction::Resume => self.resume(id),
            JobAction::Cancel => self.cancel(id),
            JobAction::Remove => self.remove(id),
            JobAction::RetryFailed => {
                match self.failed_inputs(id) {
                    Ok(retry) => self.parts.disk.retry(retry, Reply::Retried(reply)),
                    // The requester may be gone.
                    Err(refused) => drop(reply.send(Err(refused))),
                }
                return;
            }
        };
        let after = self.jobs.get(&id).map(super::Job::view);
        let answer = answer.and_then(|()| after.or(before).ok_or(Refused::NoJob(id)));
        let _ = reply.send(answer);
    }

    fn state(&self, id: JobId) -> Result<JobState, Refused> {
        self.jobs.get(&id).map(super::Job::state).ok_or(Refused::NoJob(id))
    }

    fn pause(&mut self, id: JobId) -> Result<(), Refused> {
        match self.state(id)? {
            JobState::Queued => {
                self.change(id, JobState::Paused);
                tracing::info!(job = id.0, "paused");
            }
            JobState::Running => self.drain(id, AfterDrain::Pause),
            JobState::Draining if self.drains_to(id) == Some(AfterDrain::Queue) => {
                self.drain(id, AfterDrain::Pause)
            }
            state @ (JobState::Paused
            | JobState::Draining
            | JobState::Done
            | JobState::Failed
            | JobState::Cancelled) => return Err(conflict(id, state, "be paused")),
        }
        Ok(())
    }

    fn resume(&mut self, id: JobId) -> Result<(), Refused> {
        match self.state(id)? {
            JobState::Paused => {
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.row.error = None;
                }
                self.change(id, JobState::Queued);
                tracing::info!(job = id.0, "resumed");
            }
            JobState::Draining if self.drains_to(id) == Some(AfterDrain::Pause) => {
                self.drain(id, AfterDrain::Queue)
            }
            state @ (JobState::Queued
            | JobState::Running
            | JobState::Draining
            | JobState::Done
            | JobState::Failed
            | JobState::Cancelled) => return Err(conflict(id, state, "be resumed")),
        }
        Ok(())
    }

    fn cancel(&mut self, id: JobId) -> Result<(), Refused> {
        match self.state(id)? {
            JobState::Queued | JobState::Paused => {
                let bytes = store::size(&self.parts.store.job_directory(id));
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.row.state = JobState::Cancelled;
                    job.row.exit_code = Some(Outcome::Stopped(15).code());
                    job.row.error = None;
                    job.row.bytes = bytes;
                }
                tracing::info!(job = id.0, "cancelled");
                self.give_up(id);
            }
            JobState::Running | JobState::Draining => self.drain(id, AfterDrain::Cancel),
            state @ (JobState::Done | JobState::Failed | JobState::Cancelled) => {
                return Err(conflict(id, state, "be cancelled"));
            }
        }
        Ok(())
    }

    fn remove(&mut self, id: JobId) -> Result<(), Refused> {
        let state = self.state(id)?;
        if !state.has_ended() {
            return Err(conflict(id, state, "be removed before it has ended"));
        }
        self.forget(id).map_err(|error| Refused::Storage(error.to_string()))
    }

    fn failed_inputs(&self, id: JobId) -> Result<Retry, Refused> {
        let job = self.jobs.get(&id).ok_or(Refused::NoJob(id))?;
        if !job.state().has_ended() {
            return Err(conflict(id, job.state(), "be tried again before it has ended"));
        }
        if let Some(refused) = self.refusal() {
            return Err(refused);
        }
        let input = self.parts.store.input(id).map_err(|error| Refused::Storage(error.to_string()))?;
        Ok(Retry {
            of: id,
            command: job.row.command.clone(),
            input,
            records: self.parts.store.records(id),
            committed: job.committed.load(Ordering::Acquire),
            sender: format!("retry of job {id}"),
        })
    }

    fn drains_to(&self, id: JobId) -> Option<AfterDrain> {
        self.jobs.get(&id).and_then(|job| job.running.as_ref()).and_then(|running| running.draining)
    }

    fn change(&mut self, id: JobId, state: JobState) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.row.state = state;
        }
        self.keep(id);
    }
}

fn conflict(id: JobId, state: JobState, what: &str) -> Refused {
    Refused::Conflict(format!("job {id} is {}, and cannot {what}", state.name()))
}
