//! Whoever watches a run: the bar on a terminal, or the service's board.

use std::time::Instant;

use shared::black_box::Reading;
use shared::job::Mode;
use supervisor_core::frontier::HostSnapshot;
use supervisor_core::gather::Gather;
use supervisor_core::pool::{Notice, Quarantined, Seat, Standing};

use crate::progress::{Progress, Snapshot};

/// How far a run is, for whoever watches.
#[derive(Debug)]
pub struct Look<'a> {
    /// In short.
    pub snapshot: Snapshot,
    /// All counts.
    pub gather: &'a Gather,
    /// Workers that were started to replace one that died.
    pub restarts: u64,
    /// The busiest hosts, where the run shares them with others.
    pub hosts: &'a [HostSnapshot],
    /// All worker processes.
    pub workers: &'a [WorkerSnapshot],
}

/// One worker process of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerSnapshot {
    /// Its place in the pool.
    pub seat: Seat,
    /// Its process.
    pub pid: u32,
    /// How far it is.
    pub standing: Standing,
    /// What its black box says.
    pub reading: Reading,
}

/// Watches a run. Called on the run's own loop, so it must not take long.
pub trait Observer: Send {
    /// When the next [`Self::look`] is wanted; `None` is never.
    fn due(&self, now: Instant) -> Option<Instant>;

    /// How far the run is.
    fn look(&mut self, now: Instant, look: &Look<'_>);

    /// A line for a person.
    fn message(&mut self, text: &str);

    /// The same, and what it is about.
    fn notice(&mut self, notice: &Notice);

    /// A target is set aside for good; its record says the same.
    fn set_aside(&mut self, quarantined: &Quarantined);

    /// A pool begins: in this mode, with a use for so many workers.
    fn began(&mut self, mode: Mode, workers_max: u32);

    /// There are so many processes now.
    fn processes(&mut self, count: usize);
}

impl Observer for Progress {
    fn due(&self, now: Instant) -> Option<Instant> {
        Self::due(self, now)
    }

    fn look(&mut self, now: Instant, look: &Look<'_>) {
        self.tick(now, &look.snapshot);
    }

    fn message(&mut self, text: &str) {
        Self::message(self, text);
    }

    fn notice(&mut self, notice: &Notice) {
        Self::message(self, &notice.text);
    }

    fn set_aside(&mut self, _: &Quarantined) {}

    fn began(&mut self, _: Mode, _: u32) {}

    fn processes(&mut self, _: usize) {}
}
