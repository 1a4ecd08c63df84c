//! How a run ends: finished, drained, killed, or given up. In every case nothing more is handed out
//! or started, and the run is over only when the last process is gone.

use std::time::Instant;

use super::mutant::Mutant;
use super::slot::{Ended, State};
use super::{Command, Pool, PoolState};

impl Pool {
    pub(super) fn drain(&mut self, now: Instant) {
        if self.state == PoolState::Running && !self.is(Mutant::IgnoreStop) {
            self.end(now);
        }
    }

    /// Stops handing out targets. Workers finish what they have begun and exit.
    pub(super) fn end(&mut self, now: Instant) {
        self.let_go(now);
        self.state = PoolState::Ending;
        let (grace, terminate_grace) = (self.config.drain_grace, self.config.terminate_grace);
        for slot in self.slots.iter_mut().chain(&mut self.unseated) {
            match slot.state {
                State::Serving => {
                    slot.state = State::Draining(now + grace);
                    self.commands.push_back(Command::SendDrain(slot.seat));
                }
                State::Spawning(_) | State::Handshaking(_) => {
                    // It holds nothing and was never sent anything.
                    slot.ended = Some(Ended::Blameless);
                    slot.state = State::Killing(now + terminate_grace);
                    self.commands.push_back(Command::Kill(slot.seat));
                }
                State::Backoff(_) => slot.state = State::Stopped,
                // Its end did not delay anything before; now the run waits for it.
                State::Draining(at) => slot.state = State::Draining(at.min(now + grace)),
                State::Terminating(_) | State::Killing(_) | State::Stopped | State::Failed => {}
            }
        }
    }

    pub(super) fn kill_all(&mut self, now: Instant) {
        let grace = self.config.terminate_grace;
        for slot in self.slots.iter_mut().chain(&mut self.unseated) {
            if slot.state.has_process() && !matches!(slot.state, State::Killing(_)) {
                slot.ended.get_or_insert(Ended::Blameless);
                slot.state = State::Killing(now + grace);
                self.commands.push_back(Command::Kill(slot.seat));
            }
        }
        // No worker is left to drain, but slots in backoff must not start again.
        self.drain(now);
    }

    pub(super) fn give_up(&mut self, now: Instant, why: String) {
        if !matches!(self.state, PoolState::GaveUp(_)) {
            self.kill_all(now);
            self.state = PoolState::GaveUp(why);
        }
    }
}
