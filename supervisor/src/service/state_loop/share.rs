//! Carries out the scheduler's decisions: starts jobs and gives them workers.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use shared::clock;
use shared::job::Mode;

use super::super::at_work::Assignment;
use super::super::event::JobEnd;
use super::super::request::Refused;
use super::super::schedule::{self, Change};
use super::super::store::JobRow;
use super::StateLoop;
use super::job::{AfterDrain, Job, RunningJob};
use crate::runtime::{Control, Steering, cpus, descriptors};
use crate::units;
use crate::view::{JobId, JobState};

/// Most worker processes, as on the command line.
const WORKERS_MAX: u32 = 1024;

/// Resolves the number of workers. The limit on open files must have room for all of them, spares included.
pub(super) fn count(workers: Option<NonZeroU32>) -> u32 {
    let wanted = workers.unwrap_or_else(cpus::usable_cpus).get();
    let fits = fitting(wanted);
    if fits < wanted {
        tracing::warn!(
            workers = fits,
            wanted,
            "fewer workers than configured: the limit on open files allows no more; raise it with ulimit -n"
        );
    }
    fits
}

/// Reduces a number of workers to what the limit on open files allows.
fn fitting(wanted: u32) -> u32 {
    descriptors::fit_service(descriptors::raise_limit(), wanted)
}

impl StateLoop {
    /// Carries out the scheduler's decisions.
    pub(super) fn share(&mut self) {
        if !self.stopping {
            self.note_records(None);
            self.clear_suspects();
            let claims = schedule::eligible(self.jobs.values().filter_map(super::Job::claim).collect());
            for act in schedule::changes(self.workers, self.parts.config.jobs_max.get(), &claims) {
                match act {
                    Change::Start(id, workers) => self.start(id, workers),
                    Change::Allot(id, workers) => {
                        if let Some(running) = self.jobs.get(&id).and_then(|job| job.running.as_ref()) {
                            running.allot(workers);
                            // Fails if the run has just ended; its event is on the way.
                            let _ = running.controller.steer(Steering::Allotted);
                        }
                    }
                    Change::Requeue(id) => self.drain(id, AfterDrain::Queue),
                }
            }
        }
        self.keep_spares();
    }

    /// Notes on disk, once, that a job has made a record, which the last progress of a job says, or the `result` of one
    /// that has ended: the service does not die of whatever it starts.
    pub(super) fn note_records(&mut self, result: Option<(JobId, u64)>) {
        let makes = |(id, job): (&JobId, &Job)| {
            let ended = result.filter(|(ended, _)| ended == id).map(|(_, done)| done);
            let progress = job.running.as_ref().and_then(|running| running.progress.as_ref());
            ended.or_else(|| progress.map(|progress| progress.counts.done)) > Some(job.row.counts.done)
        };
        if self.got_on || !self.jobs.iter().any(makes) {
            return;
        }
        self.got_on = true;
        if let Err(error) = self.parts.store.set_got_on() {
            tracing::error!(%error, "cannot store that a job has made a record");
        }
    }

    fn clear_suspects(&mut self) {
        let now = clock::now();
        for job in self.jobs.values_mut() {
            if job.clear(now, self.trial)
                && let Err(error) = self.parts.store.clear(job.row.id)
            {
                tracing::error!(job = job.row.id.0, %error, "cannot store that it is not to blame");
            }
        }
    }

    /// Keeps the workers that no job has as spares.
    fn keep_spares(&mut self) {
        let held: u32 = self
            .jobs
            .values()
            .filter_map(|job| job.running.as_ref())
            .map(|running| {
                if running.draining.is_some() { running.alive } else { running.alive.max(running.allotted()) }
            })
            .sum();
        let spare = if self.stopping { 0 } else { self.workers.saturating_sub(held) };
        if self.spares_requested != Some(spare) {
            self.spares_requested = Some(spare);
            self.parts.spares.keep(spare);
        }
    }

    fn start(&mut self, id: JobId, workers: u32) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let allotted = Arc::new(AtomicU32::new(workers));
        let (controller, control) = Control::new(Some(Arc::clone(&allotted)));
        let input = match self.parts.store.input(id) {
            Ok(input) => input,
            Err(error) => {
                let (end, bytes) = (JobEnd::Failed(error.to_string(), None), job.row.bytes);
                return self.handle_end(id, end, bytes);
            }
        };
        let started_at = job.row.started_at.clone().unwrap_or_else(now);
        let row =
            JobRow { state: JobState::Running, error: None, started_at: Some(started_at), ..job.row.clone() };
        let bytes = row.bytes;
        let assignment = Assignment {
            id,
            input,
            output: self.parts.store.records(id),
            allowed: self.parts.config.allowed.clone(),
            memory_bytes_max: self.parts.config.worker_memory_bytes,
            workers: self.parts.workers.clone(),
            hosts: self.hosts.clone(),
            robots: self.robots.clone(),
            control,
            committed: Arc::clone(&job.committed),
            events: self.parts.event_sender.clone(),
        };
        self.tick_due = clock::now();
        // On disk before the job opens anything, so that a service that dies of it knows what it died of.
        if let Some(error) = self.store_or_say(&row) {
            return self.put_off(id, error);
        }
        if let Some(job) = self.jobs.get_mut(&id) {
            job.row = row;
            job.shortage.has_stored();
            job.running = Some(RunningJob::new(controller.clone(), allotted));
        }
        tracing::info!(job = id.0, workers, "started");
        self.listen(controller);
        self.show_job(id);
        if let Err(error) = assignment.start() {
            let end = JobEnd::Blocked(format!("cannot start its thread: {error}"));
            self.handle_end(id, end, bytes);
        }
    }

    /// Leaves a job in the queue whose start cannot be stored. The disk may be full, and have room later.
    fn put_off(&mut self, id: JobId, why: String) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.row.error = Some(why);
            job.shortage.wait_for_disk(clock::now());
        }
        self.show_job(id);
    }

    /// Tells a job to finish its targets in flight.
    pub(super) fn drain(&mut self, id: JobId, after: AfterDrain) {
        let Some(running) = self.jobs.get_mut(&id).and_then(|job| job.running.as_mut()) else { return };
        tracing::info!(job = id.0, then = %after, "finishing the targets in flight");
        if running.draining.replace(after).is_none() {
            // Fails if the run has just ended; its event is on the way.
            let _ = running.controller.stop(nix::libc::SIGTERM);
        }
        self.keep(id);
    }

    pub(super) fn handle_start(&mut self, id: JobId, mode: Mode, wants: u32) {
        if let Some(running) = self.jobs.get_mut(&id).and_then(|job| job.running.as_mut()) {
            (running.mode, running.wants) = (Some(mode), wants);
        }
    }

    pub(super) fn handle_processes(&mut self, id: JobId, alive: u32) {
        if let Some(running) = self.jobs.get_mut(&id).and_then(|job| job.running.as_mut()) {
            running.alive = alive;
        }
    }

    /// Sets the number of workers.
    pub(super) fn scale(&mut self, workers: Option<u32>) -> Result<u32, Refused> {
        if self.stopping {
            return Err(Refused::Stopping);
        }
        let wanted = workers.unwrap_or_else(|| count(None));
        if !(1..=WORKERS_MAX).contains(&wanted) {
            return Err(Refused::Invalid(format!(
                "\"count\" must be auto or a whole number from 1 to {WORKERS_MAX}, not {wanted}"
            )));
        }
        let fits = fitting(wanted);
        if fits < wanted {
            return Err(Refused::Invalid(format!(
                "cannot run {wanted} workers: the limit on open files allows {}; raise it with ulimit -n",
                units::counted(fits.into(), "worker")
            )));
        }
        self.workers = wanted;
        tracing::info!(workers = wanted, "scaled");
        self.tick_due = clock::now();
        Ok(wanted)
    }
}

/// The current time as RFC 3339.
pub(super) fn now() -> String {
    humantime::format_rfc3339_seconds(clock::wall()).to_string()
}
