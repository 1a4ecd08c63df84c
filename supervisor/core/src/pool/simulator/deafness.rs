//! Times in which the supervisor does not hear its workers, though they speak.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::scenario::Deafness;
use super::world::{Happening, World};
use crate::pool::Event;

/// A time in which the supervisor hears nothing.
pub(super) struct Deaf {
    pub(super) kind: Deafness,
    /// Until when the pool has been told of it.
    pub(super) told_until: Instant,
}

impl World {
    pub(super) fn fall_deaf(&mut self, kind: Deafness, lasting: Duration) {
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
        self.schedule(self.now + lasting, Happening::HearsAgain);
    }

    /// A runtime whose output is blocked says so before it asks the pool what is overdue.
    pub(super) fn tell_deafness(&mut self) {
        if let Some(deaf) = self.deaf.as_mut().filter(|deaf| deaf.kind == Deafness::Blocked) {
            let untold = self.now.duration_since(std::mem::replace(&mut deaf.told_until, self.now));
            self.event(Event::Suspended(untold));
        }
    }

    pub(super) fn hear_again(&mut self) {
        self.tell_deafness();
        self.deaf = None;
        // A loop that wakes up late may look at its clock first, or at its mail.
        if self.rng.bool() && self.pool.poll_timeout().is_some_and(|at| at <= self.now) {
            self.timeout();
        }
        for happening in std::mem::take(&mut self.unheard) {
            self.happen(happening);
            self.carry_out_all();
        }
    }
}
