//! Notes what happens to each target of a phase, and how many requests it takes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use nix::sys::signal::Signal as Posix;
use shared::job::Mode;
use shared::protocol::{Outcome, Verdict};
use supervisor_core::advice::Attempt;
use supervisor_core::pool::{Notice, Quarantined};

use crate::progress::{Progress, Snapshot};
use crate::runtime::{Controller, Look, Observer};

/// The signal that a sample is stopped by when it has no more requests.
const STOP_SIGNAL: i32 = Posix::SIGTERM as i32;

/// Most requests that one target takes, and that the robots.txt of its host takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hops {
    pub(super) target: u64,
    pub(super) robots: u64,
}

impl Hops {
    /// How many targets fit into so many requests.
    pub(super) fn fit(self, requests: u64) -> usize {
        usize::try_from(requests / (self.target + self.robots).max(1)).unwrap_or(usize::MAX)
    }
}

/// Notes each attempt, and passes on the rest to the progress bar.
pub(super) struct Watch<'a> {
    pub(super) progress: &'a mut Progress,
    /// Whether a signal stops the sample, which is said once it is over.
    pub(super) stopping: &'a AtomicBool,
    pub(super) controller: &'a Controller,
    pub(super) spent: &'a AtomicBool,
    pub(super) hosts: Vec<usize>,
    pub(super) hops_max: Hops,
    /// The robots.txt that were not asked for yet.
    pub(super) robots_left: u64,
    pub(super) attempts: Vec<Attempt>,
    pub(super) requests: u64,
    pub(super) requests_max: u64,
    pub(super) longest: Hops,
    pub(super) refused: u64,
}

impl Observer for Watch<'_> {
    fn due(&self, now: Instant) -> Option<Instant> {
        Observer::due(self.progress, now)
    }

    fn look(&mut self, now: Instant, look: &Look<'_>) {
        self.progress.look(now, look);
    }

    fn message(&mut self, text: &str) {
        if !self.stopping.load(Ordering::Relaxed) && !self.spent.load(Ordering::Relaxed) {
            Observer::message(self.progress, text);
        }
    }

    fn notice(&mut self, notice: &Notice) {
        self.progress.notice(notice);
    }

    fn set_aside(&mut self, quarantined: &Quarantined) {
        self.progress.set_aside(quarantined);
    }

    fn attempted(&mut self, outcome: &Outcome) {
        // Without descriptors, memory or ports, a target comes back before it asks anybody.
        if outcome.reply.is_none() && matches!(outcome.verdict, Verdict::Retry { .. }) {
            return;
        }
        let requests = outcome.reply.map(|reply| u64::from(reply.requests));
        self.requests += requests.unwrap_or(1);
        self.requests_max += requests.unwrap_or(self.hops_max.target);
        self.longest.target = self.longest.target.max(requests.unwrap_or(1));
        let refused = outcome.reply.is_some_and(|reply| reply.refused);
        self.refused += u64::from(refused);
        let host = usize::try_from(outcome.id).ok().and_then(|id| self.hosts.get(id)).copied().unwrap_or(0);
        self.attempts.push(Attempt {
            host,
            started_us: outcome.started_us,
            elapsed_us: outcome.elapsed_us,
            first_byte_us: outcome.reply.map(|reply| u64::from(reply.first_byte_us)),
            cpu_us: outcome.cpu_us,
            bytes: outcome.bytes,
            ok: outcome.verdict == Verdict::Ok,
            refused,
        });
    }

    fn asked_robots(&mut self, outcome: &Outcome) {
        let requests = outcome.reply.map(|reply| u64::from(reply.requests));
        self.requests += requests.unwrap_or(1);
        self.requests_max += requests.unwrap_or(self.hops_max.robots);
        self.longest.robots = self.longest.robots.max(requests.unwrap_or(1));
        match self.robots_left.checked_sub(1) {
            Some(left) => self.robots_left = left,
            // One that cannot be fetched is asked for until it can be, and the sample has no requests for that.
            None if !self.spent.swap(true, Ordering::Relaxed) => {
                let _ = self.controller.stop(STOP_SIGNAL) && self.controller.stop(STOP_SIGNAL);
            }
            None => {}
        }
    }

    fn began(&mut self, mode: Mode, workers_max: u32) {
        self.progress.began(mode, workers_max);
    }

    fn processes(&mut self, count: usize) {
        self.progress.processes(count);
    }

    fn ended(&mut self, snapshot: &Snapshot) {
        self.progress.ended(snapshot);
    }
}
