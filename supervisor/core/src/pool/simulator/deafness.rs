//! Periods in which the supervisor does not read its workers' messages.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::scenario::Deafness;
use super::world::{Scheduled, World};
use crate::pool::Event;

/// A period in which the supervisor reads no messages.
pub(super) struct Deaf {
    pub(super) kind: Deafness,
    /// The end of the period that the pool was told of so far.
    pub(super) told_until: Instant,
}

impl World {
    pub(super) fn stop_reading(&mut self, kind: Deafness, lasting: Duration) {
        if self.deaf.is_some() {
            return;
        }
        self.oracle.deaf_for += lasting;
        if kind != Deafness::Blocked {
            self.oracle.jumped_at = Some(self.now);
        }
        if let Some(by) = &mut self.stopped_by {
            *by += lasting;
        }
        if kind == Deafness::Frozen {
            self.now += lasting;
            let queue = std::mem::take(&mut self.queue);
            self.queue = queue.into_iter().map(|Reverse((at, n))| Reverse((at + lasting, n))).collect();
            return;
        }
        self.deaf = Some(Deaf { kind, told_until: self.now });
        self.schedule(self.now + lasting, Scheduled::HearsAgain);
    }

    /// A runtime whose output is blocked tells the pool before it asks for timeouts.
    pub(super) fn report_suspension(&mut self) {
        if let Some(deaf) = self.deaf.as_mut().filter(|deaf| deaf.kind == Deafness::Blocked) {
            let untold = self.now.duration_since(std::mem::replace(&mut deaf.told_until, self.now));
            self.event(Event::Suspended(untold));
        }
    }

    pub(super) fn read_again(&mut self) {
        self.report_suspension();
        self.deaf = None;
        // A loop that wakes up late may check its clock first, or its messages.
        if self.rng.bool() && self.pool.poll_timeout().is_some_and(|at| at <= self.now) {
            self.timeout();
        }
        for scheduled in std::mem::take(&mut self.unheard) {
            self.happen(scheduled);
            self.carry_out_all();
        }
    }
}
