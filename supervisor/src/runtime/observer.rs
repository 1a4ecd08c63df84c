//! Watching a run: by the bar on a terminal, or by the service.

use std::time::Instant;

use shared::black_box::Reading;
use shared::clock;
use shared::job::Mode;
use shared::protocol::Outcome;
use supervisor_core::frontier::HostSnapshot;
use supervisor_core::gather::Gather;
use supervisor_core::pool::{Notice, Quarantined, Seat, Standing};
use supervisor_core::proxies::ProxySnapshot;

use crate::progress::{Progress, Snapshot};

/// The state of a run, for its observer.
#[derive(Debug)]
pub struct Look<'a> {
    /// The main numbers.
    pub snapshot: Snapshot,
    /// All counts.
    pub gather: &'a Gather,
    /// Workers started to replace one that died.
    pub restarts: u64,
    /// The busiest hosts, if the run shares them with others.
    pub hosts: &'a [HostSnapshot],
    /// Its proxies, if the run shares hosts with others: those that fail before others, then those that were used most.
    pub proxies: &'a [ProxySnapshot],
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
    /// Its state.
    pub standing: Standing,
    /// Its black box.
    pub reading: Reading,
}

/// Watches a run. Called on the run's own loop, so it must not take long.
pub trait Observer: Send {
    /// Returns when the next [`Self::look`] is due; `None` is never.
    fn due(&self, now: Instant) -> Option<Instant>;

    /// Shows the state of the run.
    fn look(&mut self, now: Instant, look: &Look<'_>);

    /// Shows a line to a person.
    fn message(&mut self, text: &str);

    /// The same, with what the line is about.
    fn notice(&mut self, notice: &Notice);

    /// A target was quarantined; its record says the same.
    fn set_aside(&mut self, quarantined: &Quarantined);

    /// An attempt ended.
    fn attempted(&mut self, _: &Outcome) {}

    /// A robots.txt was asked for.
    fn asked_robots(&mut self, _: &Outcome) {}

    /// A pool begins in this mode, and can use this many workers.
    fn began(&mut self, mode: Mode, workers_max: u32);

    /// There are this many worker processes now.
    fn processes(&mut self, count: usize);

    /// The run is over; these are its last numbers.
    fn ended(&mut self, _: &Snapshot) {}
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

    fn ended(&mut self, snapshot: &Snapshot) {
        self.finish(clock::now(), snapshot);
    }
}
