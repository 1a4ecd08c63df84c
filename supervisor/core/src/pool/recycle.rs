//! Replaces worn workers: after a number of targets, after too much growth, or because the user
//! asked for a roll.
//!
//! The replacement becomes ready first. Until then the old worker works as before, and if the
//! replacement fails to start, nothing changes. Then the old worker finishes what it has begun; its
//! other targets go back unchanged. Only one recycle runs at a time in the whole pool, so at most
//! one process exists beyond the slots.

use std::time::{Duration, Instant};

use super::mutant::Mutant;
use super::seat::Seat;
use super::slot::{Ended, Role, Slot, State};
use super::{Command, Notice, Pool, PoolState, restart};

/// When the next recycle may be tried.
#[derive(Debug)]
pub(super) struct Recycling {
    /// Replacements that failed to start, in a row.
    failures: u32,
    not_before: Instant,
}

impl Recycling {
    pub(super) fn new(now: Instant) -> Self {
        Self { failures: 0, not_before: now }
    }
}

impl Pool {
    /// Marks every current worker for replacement.
    pub(super) fn roll(&mut self, now: Instant) {
        if self.state != PoolState::Running {
            return;
        }
        // A successor that is starting may still run the old executable.
        for slot in self.all_mut().filter(|slot| slot.role != Role::Leaving && slot.state.has_process()) {
            slot.worn_since.get_or_insert(now);
        }
        self.commands.push_back(Command::Notice(Notice::new("replacing all workers, one at a time")));
    }

    /// Starts a replacement for the worker that has been worn the longest, if one may be started.
    pub(super) fn recycle(&mut self, now: Instant) {
        let Some(seat) = self.next_worn().filter(|_| self.recycling.not_before <= now) else { return };
        let successor = self.next_process(now, seat.slot, Role::Successor);
        self.commands.push_back(Command::Spawn(successor.seat));
        self.unseated.push(successor);
        if self.is(Mutant::DrainBeforeReady) {
            self.retire(now, seat);
        }
    }

    /// When [`Self::recycle`] has something to do.
    pub(super) fn recycle_due(&self) -> Option<Instant> {
        self.next_worn().map(|_| self.recycling.not_before)
    }

    /// Returns the worker to replace next, unless a replacement is under way.
    fn next_worn(&self) -> Option<Seat> {
        let others = if self.is(Mutant::TwoRecyclesAtOnce) { 1 } else { 0 };
        if self.state != PoolState::Running || self.unseated.len() > others {
            return None;
        }
        // When all remaining targets are handed out, a fresh worker would have nothing to do.
        let last = self.source_ended && self.backlog() == 0;
        let begun = self.config.concurrency as usize;
        let worn = self.slots.iter().filter(|slot| {
            slot.state == State::Serving
                && !(last && slot.credit.held() <= begun)
                && self.successor(slot.seat).is_none()
        });
        worn.filter_map(|slot| Some((slot.worn_since?, slot.seat))).min().map(|(_, seat)| seat)
    }

    /// Returns the index of the successor that is starting for this seat.
    pub(super) fn successor(&self, seat: Seat) -> Option<usize> {
        self.unseated.iter().position(|slot| {
            slot.role == Role::Successor
                && slot.seat.slot == seat.slot
                && matches!(slot.state, State::Spawning(_) | State::Handshaking(_) | State::Serving)
        })
    }

    /// Gives the seat to its successor, which is ready or whose predecessor is dead. Returns the
    /// predecessor.
    pub(super) fn promote_successor(&mut self, seat: Seat) -> Option<Slot> {
        let index = self.successor(seat)?;
        let place = self.place_of(seat.slot)?;
        let sits = self.slots.get_mut(place)?;
        let successor = self.unseated.swap_remove(index);
        let failures = sits.failures;
        Some(std::mem::replace(sits, Slot { role: Role::Seated, failures, ..successor }))
    }

    /// Gives the seat to a successor that is ready, and lets its predecessor leave.
    pub(super) fn take_seat(&mut self, now: Instant, seat: Seat) {
        let Some(old) = self.promote_successor(seat) else { return };
        self.recycling = Recycling::new(now);
        // The predecessor was already ending, so this start makes up for its death.
        self.restarts += u64::from(old.state != State::Serving || self.is(Mutant::CountRecycleAsRestart));
        let seat = old.seat;
        self.unseated.push(Slot { role: Role::Leaving, ..old });
        self.retire(now, seat);
    }

    /// Lets a process finish what it has begun and exit. A process that never became ready is
    /// terminated.
    pub(super) fn retire(&mut self, now: Instant, seat: Seat) {
        let (drained_by, killed_by) = (now + self.leaving_grace(), now + self.config.terminate_grace);
        let Some(slot) = self.current(seat) else { return };
        match slot.state {
            State::Serving => {
                slot.state = State::Draining(drained_by);
                self.commands.push_back(Command::SendDrain(seat));
            }
            State::Spawning(_) | State::Handshaking(_) => {
                slot.ended = Some(Ended::Blameless);
                slot.state = State::Killing(killed_by);
                self.commands.push_back(Command::Kill(seat));
            }
            State::Draining(_)
            | State::Terminating(_)
            | State::Killing(_)
            | State::Backoff(_)
            | State::Stopped
            | State::Failed => {}
        }
    }

    /// How long a leaving process may take. The run does not wait for it, and each of its targets
    /// has its own deadline.
    fn leaving_grace(&self) -> Duration {
        self.config.drain_grace.max(self.config.target_timeout)
    }

    /// Handles a successor that died before it was ready. The old worker is not affected.
    pub(super) fn replacement_failed(&mut self, now: Instant, seat: Seat, why: &str) {
        self.remove_unseated(seat);
        if self.state != PoolState::Running {
            return;
        }
        let delay = restart::restart_delay(self.recycling.failures, &mut self.rng);
        self.recycling =
            Recycling { failures: self.recycling.failures.saturating_add(1), not_before: now + delay };
        let text = format!("replacement {seat}: {why}; trying again in {} ms", delay.as_millis());
        self.commands.push_back(Command::Notice(Notice::trouble(seat, None, text)));
        let sits = self.place_of(seat.slot).and_then(|place| self.slots.get(place)).map(|slot| slot.seat);
        if let Some(sits) = sits.filter(|_| self.is(Mutant::FailedReplacementEndsOld)) {
            self.broke_protocol(now, sits, "its replacement died");
        }
    }

    /// Removes a process without a seat that is dead and settled.
    pub(super) fn remove_unseated(&mut self, seat: Seat) {
        self.commands.push_back(Command::Forget(seat));
        self.unseated.retain(|slot| slot.seat != seat);
    }

    /// How many targets a worker that becomes ready now may finish before it is worn.
    pub(super) fn lifetime(&mut self) -> Option<u64> {
        let nominal = self.config.recycle_after?.get();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a positive count, and about is good enough"
        )]
        let jittered = (nominal as f64 * (0.9 + self.rng.f64() * 0.2)).round() as u64;
        Some(jittered.max(1))
    }
}

impl Slot {
    /// Counts finished targets towards its wear.
    pub(super) fn wear(&mut self, now: Instant, targets: usize) {
        let Some(left) = &mut self.lifetime else { return };
        *left = left.saturating_sub(targets as u64);
        if *left == 0 {
            self.worn_since.get_or_insert(now);
        }
    }

    /// Checks the size that its black box reports.
    pub(super) fn check_size(&mut self, now: Instant, rss_bytes: u64, allowance: u64) {
        if rss_bytes == 0 {
            return;
        }
        // The first sample may include part of a large page, so the smallest size counts.
        let baseline = self.rss_baseline_bytes.unwrap_or(rss_bytes).min(rss_bytes);
        self.rss_baseline_bytes = Some(baseline);
        if rss_bytes > baseline.saturating_add(allowance) {
            self.worn_since.get_or_insert(now);
        }
    }
}
