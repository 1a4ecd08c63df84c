//! How many processes a run has and what each may have in flight: as the plan says, else as this
//! machine allows.

use shared::job::{Executor, Mode};

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
    /// Workers it has a use for where it is given them by somebody else: as many as there are, unless
    /// the plan says how many.
    pub(super) workers_max: u32,
    pub(super) concurrency: u32,
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
        Self { mode, workers, workers_max, concurrency }
    }

    /// The same, where no more than `parts` can have something to do.
    pub(crate) fn of_parts(self, parts: u32) -> Self {
        Self { workers: self.workers.min(parts), workers_max: self.workers_max.min(parts), ..self }
    }

    /// Workers that it may come to have.
    pub(crate) fn reach(self, control: &Control) -> u32 {
        if control.allotted().is_some() { self.workers_max } else { self.workers }
    }

    /// Cut to what the limit on descriptors allows, and what to tell the user if that is less.
    pub(super) fn fitted(self) -> (Self, Option<String>) {
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
