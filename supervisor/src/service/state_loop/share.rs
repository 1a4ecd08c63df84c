//! Carries out the scheduler's decisions: starts jobs and gives them workers.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use shared::clock;
use shared::job::Mode;

use super::super::ask::Refused;
use super::super::at_work::Assignment;
use super::super::news::How;
use super::super::schedule::{self, Claim, Move};
use super::StateLoop;
use super::job::{After, Live};
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
    descriptors::fit(descriptors::raise_limit(), wanted, 1).0
}

impl StateLoop {
    /// Carries out the scheduler's decisions.
    pub(super) fn share(&mut self) {
        if !self.stopping {
            let claims: Vec<Claim> = self.jobs.values().filter_map(super::Job::claim).collect();
            for act in schedule::moves(self.workers, self.parts.config.jobs_max.get(), &claims) {
                match act {
                    Move::Start(id, workers) => self.start(id, workers),
                    Move::Allot(id, workers) => {
                        if let Some(live) = self.jobs.get(&id).and_then(|job| job.live.as_ref()) {
                            live.allot(workers);
                            // Fails if the run has just ended; its event is on the way.
                            let _ = live.controller.steer(Steering::Allotted);
                        }
                    }
                    Move::SendBack(id) => self.drain(id, After::Queue),
                }
            }
        }
        self.keep_spares();
    }

    /// Keeps the workers that no job has as spares.
    fn keep_spares(&mut self) {
        let held: u32 = self
            .jobs
            .values()
            .filter_map(|job| job.live.as_ref())
            .map(|live| if live.draining.is_some() { live.alive } else { live.alive.max(live.allotted()) })
            .sum();
        let spare = if self.stopping { 0 } else { self.workers.saturating_sub(held) };
        if self.spares_kept != Some(spare) {
            self.spares_kept = Some(spare);
            self.parts.spares.keep(spare);
        }
    }

    fn start(&mut self, id: JobId, workers: u32) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let allotted = Arc::new(AtomicU32::new(workers));
        let (controller, control) = Control::new(Some(Arc::clone(&allotted)));
        let errand = match self.parts.store.errand(id) {
            Ok(errand) => errand,
            Err(error) => {
                let how = How::Failed(error.to_string(), None);
                return self.ended(id, how, 0);
            }
        };
        job.kept.state = JobState::Running;
        job.kept.error = None;
        if job.kept.started_at.is_none() {
            job.kept.started_at = Some(now());
        }
        job.live = Some(Live::new(controller.clone(), allotted));
        let assignment = Assignment {
            id,
            errand,
            output: self.parts.store.records(id),
            allowed: self.parts.config.allowed.clone(),
            memory_bytes_max: self.parts.config.worker_memory_bytes,
            workers: self.parts.workers.clone(),
            hosts: self.hosts.clone(),
            control,
            committed: Arc::clone(&job.committed),
            news: self.parts.tell.clone(),
        };
        tracing::info!(job = id.0, workers, "started");
        self.tick_due = clock::now();
        self.listen(controller);
        self.keep(id);
        if let Err(error) = assignment.start() {
            let how = How::Blocked(format!("cannot start its thread: {error}"));
            self.ended(id, how, 0);
        }
    }

    /// Tells a job to finish its targets in flight.
    pub(super) fn drain(&mut self, id: JobId, after: After) {
        let Some(live) = self.jobs.get_mut(&id).and_then(|job| job.live.as_mut()) else { return };
        tracing::info!(job = id.0, then = %after, "finishing the targets in flight");
        if live.draining.replace(after).is_none() {
            // Fails if the run has just ended; its event is on the way.
            let _ = live.controller.stop(nix::libc::SIGTERM);
        }
        self.keep(id);
    }

    pub(super) fn began(&mut self, id: JobId, mode: Mode, wants: u32) {
        if let Some(live) = self.jobs.get_mut(&id).and_then(|job| job.live.as_mut()) {
            (live.mode, live.wants) = (Some(mode), wants);
        }
    }

    pub(super) fn counted(&mut self, id: JobId, alive: u32) {
        if let Some(live) = self.jobs.get_mut(&id).and_then(|job| job.live.as_mut()) {
            live.alive = alive;
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
