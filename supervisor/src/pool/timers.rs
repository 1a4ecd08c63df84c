//! What is due when: deadlines of slots, samples of the black boxes, and the
//! frontier's own waiting.

use std::time::{Duration, Instant};

use shared::black_box::{Phase, Reading};

use super::seat::Seat;
use super::slot::{Ended, State};
use super::{Command, Pool, Stage};

/// How often the black boxes of busy workers are read. A hang is found this
/// much after its limit at worst; reading costs one cache line per worker.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

impl Pool {
    /// When [`Self::handle_timeout`] wants to be called, at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let frontier = if self.stage == Stage::Running { self.frontier.next_due() } else { None };
        self.slots
            .iter()
            .filter_map(|slot| slot.state.deadline())
            .chain(self.sample_due)
            .chain(frontier)
            .min()
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let overdue: Vec<Seat> = self
            .slots
            .iter()
            .filter(|slot| slot.state.deadline().is_some_and(|at| at <= now))
            .map(|slot| slot.seat)
            .collect();
        for seat in overdue {
            self.overdue(now, seat);
        }
        if self.sample_due.is_some_and(|at| at <= now) {
            self.sample_due = None;
            for slot in self.slots.iter().filter(|slot| watched(slot.state) && slot.credit.held() > 0) {
                self.commands.push_back(Command::Sample(slot.seat));
            }
            self.arm_sampling(now);
        }
        self.settle(now);
    }

    /// Makes sure that busy workers are looked at.
    pub(super) fn arm_sampling(&mut self, now: Instant) {
        let busy = self.slots.iter().any(|slot| watched(slot.state) && slot.credit.held() > 0);
        if busy && self.sample_due.is_none() {
            self.sample_due = Some(now + SAMPLE_EVERY);
        }
    }

    /// One slot's state has lasted too long: the next step is sterner.
    fn overdue(&mut self, now: Instant, seat: Seat) {
        let (handshake_timeout, grace) = (self.config.handshake_timeout, self.config.terminate_grace);
        let concurrency = self.config.concurrency as usize;
        let Some(slot) = self.slots.get_mut(seat.slot as usize).filter(|slot| slot.seat == seat) else {
            return;
        };
        match slot.state {
            State::Backoff(_) => {
                slot.next_generation(now, concurrency, now + handshake_timeout);
                self.restarts += 1;
                self.commands.push_back(Command::Spawn(slot.seat));
            }
            State::Draining(_) => {
                slot.ended.get_or_insert(Ended::Blameless);
                slot.state = State::Terminating(now + grace);
                self.commands.push_back(Command::Terminate(seat));
            }
            State::Spawning(_) | State::Handshaking(_) => {
                slot.ended.get_or_insert(Ended::Blameless);
                slot.state = State::Killing(now + grace);
                let limit = handshake_timeout.as_secs();
                self.commands.push_back(Command::Notice(format!(
                    "{seat} was not ready within {limit} s and was killed"
                )));
                self.commands.push_back(Command::Kill(seat));
            }
            State::Terminating(_) | State::Killing(_) => {
                // Only a process stuck in the kernel survives SIGKILL; ask again until it is gone.
                slot.ended.get_or_insert(Ended::Blameless);
                slot.state = State::Killing(now + grace);
                self.commands.push_back(Command::Kill(seat));
            }
            State::Serving | State::Stopped | State::Failed => {}
        }
    }

    /// Looks for a hang: a stage that runs too long, a target past its deadline, or no progress at all.
    pub(super) fn sampled(&mut self, now: Instant, seat: Seat, reading: &Reading, now_us: u64) {
        let (stage_timeout, stall_timeout) = (self.config.stage_timeout, self.config.stall_timeout);
        let grace = self.config.terminate_grace;
        let late = self.oldest_overdue(now, seat);
        let Some(slot) = self.current(seat) else { return };
        if reading.progress != slot.progress.0 {
            slot.progress = (reading.progress, now);
        }
        if !watched(slot.state) || slot.credit.held() == 0 {
            return;
        }
        let in_stage = matches!(reading.phase, Phase::Decode | Phase::Extract | Phase::Encode);
        let stage_time = Duration::from_micros(now_us.saturating_sub(reading.since_us));
        let stood_still = now.duration_since(slot.progress.1);
        let (culprit, why) = if in_stage && reading.target.is_some() && stage_time > stage_timeout {
            (
                reading.target,
                format!("is {} s into one stage ({})", stage_time.as_secs(), reading.phase.name()),
            )
        } else if stood_still > stall_timeout {
            (reading.target, format!("made no progress for {} s", stood_still.as_secs()))
        } else if let Some(id) = late {
            (reading.target.or(Some(id)), format!("holds input {id} past its deadline"))
        } else {
            return;
        };
        slot.ended.get_or_insert(Ended::Hang(culprit));
        slot.state = State::Terminating(now + grace);
        self.commands.push_back(Command::Notice(format!("{seat} {why} and is ended")));
        self.commands.push_back(Command::Terminate(seat));
    }

    /// The oldest target that `seat` still holds, if it is past its deadline.
    fn oldest_overdue(&mut self, now: Instant, seat: Seat) -> Option<u64> {
        let slot = self.slots.get_mut(seat.slot as usize).filter(|slot| slot.seat == seat)?;
        while let Some((id, deadline)) = slot.deadlines.front() {
            if self.ledger.held_by(*id, seat).is_some() {
                return (*deadline <= now).then_some(*id);
            }
            slot.deadlines.pop_front();
        }
        None
    }
}

/// Whether a worker in this state can hang on what it holds.
fn watched(state: State) -> bool {
    matches!(state, State::Serving | State::Draining(_))
}
