//! How many processes a run has and how many targets each may have in flight: as the plan says,
//! else as this machine allows.

use shared::job::{Executor, Mode};

use supervisor_core::load::total::{Report as LoadReport, Room};

use super::room;
use crate::plan::Plan;
use crate::runtime::{Control, cpus, descriptors};

/// Targets in flight in one event loop unless the user says otherwise: a loop is
/// busy long before, and a server's connection limits are rarely lower in sum.
const CONCURRENCY: u32 = 64;

/// Most workers of one run: as many as may be asked for on the command line.
const WORKERS_MAX: u32 = 1024;

/// The shape of one run's pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(super) mode: Mode,
    pub(super) workers: u32,
    /// Most workers that the run can use, if the service decides how many it gets.
    pub(super) workers_max: u32,
    /// Targets in flight per worker, at most.
    pub(super) concurrency: u32,
    /// What the machine and the user allow, if the load grows from few while that helps.
    pub(super) room: Option<Room>,
}

impl Shape {
    pub(crate) fn new(plan: &Plan, mode: Mode) -> Self {
        let workers = plan.pool.workers.unwrap_or_else(cpus::usable_cpus).get();
        let concurrency = plan.pool.concurrency.map_or(CONCURRENCY, std::num::NonZeroU32::get);
        let workers_max = plan.pool.workers.map_or(WORKERS_MAX, std::num::NonZeroU32::get);
        let (workers, workers_max) = if mode.many_workers() { (workers, workers_max) } else { (1, 1) };
        let concurrency = match mode.executor() {
            Executor::Blocking => 1,
            Executor::EventLoop => concurrency,
        };
        Self { mode, workers, workers_max, concurrency, room: None }
    }

    /// Returns the shape of a run whose targets wait for servers, and whose load grows from few while that helps.
    pub(super) fn growing(plan: &Plan, body_bytes_max: u64, control: &Control) -> Self {
        let shape = Self::new(plan, Mode::Both);
        let descriptors = descriptors::raise_limit();
        let fit = |workers, concurrency| descriptors::fit(descriptors, workers, concurrency);
        let (workers, _) = fit(shape.workers, 1);
        let (workers_max, _) = fit(shape.workers_max, 1);
        let (_, concurrency) = fit(1, plan.pool.concurrency.map_or(u32::MAX, std::num::NonZeroU32::get));
        let shape = Self { workers, workers_max, concurrency, ..shape };
        Self { room: Some(room::of(plan, body_bytes_max, shape.reach(control), concurrency)), ..shape }
    }

    /// Returns what a growing shape has become.
    pub(super) fn grown(self, load: &LoadReport) -> Self {
        let mode = if load.workers > 1 { Mode::Both } else { Mode::Concurrent };
        let concurrency = load.in_flight.div_ceil(load.workers.max(1)).max(1);
        Self { mode, workers: load.workers, concurrency, ..self }
    }

    /// Returns the shape of a run whose targets compute, and why it has this mode: `why`, or that there
    /// are at most `targets_max` targets.
    pub(super) fn computing(
        plan: &Plan,
        targets_max: Option<u32>,
        why: &str,
        control: &Control,
    ) -> (Self, String) {
        // A user who says how many workers there are gets them.
        let targets_max = targets_max.filter(|_| plan.pool.workers.is_none()).map(|max| max.max(1));
        let mut shape = Self::new(plan, Mode::Parallel);
        if let Some(max) = targets_max {
            (shape.workers, shape.workers_max) = (shape.workers.min(max), shape.workers_max.min(max));
        }
        if shape.reach(control) <= 1 {
            shape = Self::new(plan, Mode::Sequential);
        }
        let is_small = targets_max.is_some_and(|max| max < cpus::usable_cpus().get());
        let few = if is_small { ", and the input has one part for each worker" } else { "" };
        (shape, format!("{}: {why}{few}", shape.mode.name()))
    }

    /// Returns the most targets that may be in flight.
    pub(super) fn in_flight_max(self) -> u32 {
        self.room.map_or(self.workers_max.saturating_mul(self.concurrency), |room| room.in_flight_max)
    }

    /// Returns the most workers that it may have.
    pub(super) fn reach(self, control: &Control) -> u32 {
        if control.allotted().is_some() { self.workers_max } else { self.workers }
    }

    /// Returns the shape cut to what the limit on descriptors allows, and what to tell the user if that is less.
    pub(super) fn fitted(self) -> (Self, Option<String>) {
        if self.room.is_some() {
            return (self, None);
        }
        let descriptors = descriptors::raise_limit();
        let (workers, concurrency) = descriptors::fit(descriptors, self.workers, self.concurrency);
        let (workers_max, _) = descriptors::fit(descriptors, self.workers_max, self.concurrency);
        let fitted = Self { workers, workers_max, concurrency, ..self };
        let notice = ((workers, concurrency) != (self.workers, self.concurrency)).then(|| {
            format!(
                "the limit of {descriptors} open files leaves room for {workers} × {concurrency} in flight, not {} × \
                 {}; raise it with ulimit -n",
                self.workers, self.concurrency
            )
        });
        (fitted, notice)
    }
}
