//! How workers come and go, and who is to blame when one dies.
//!
//! The black box names the target whose stage was running. Only that target is
//! charged with the attempt; all else that was in flight goes back as it was.
//! Nothing is handed out again before the channel has ended *and* the process
//! is reaped: until both, a result may still be on its way.

use std::time::Instant;

use shared::record::{ErrorKind, Evidence};

use super::seat::{Death, Exit, Seat};
use super::slot::{Ended, State};
use super::{Command, Pool, Quarantined, Stage, restart};

impl Pool {
    pub(super) fn spawned(&mut self, now: Instant, seat: Seat) {
        let deadline = now + self.config.handshake_timeout;
        if let Some(slot) = self.current(seat)
            && matches!(slot.state, State::Spawning(_))
        {
            slot.state = State::Handshaking(deadline);
        }
    }

    /// There is no process: nothing to reap, no channel to wait for.
    pub(super) fn spawn_failed(&mut self, now: Instant, seat: Seat, why: &str) {
        if let Some(slot) = self.current(seat) {
            slot.failures += 1;
            self.vacate(now, seat, false, &format!("cannot start a worker: {why}"));
        }
    }

    pub(super) fn hello(&mut self, seat: Seat) {
        if let Some(slot) = self.current(seat)
            && matches!(slot.state, State::Handshaking(_))
        {
            self.commands.push_back(Command::SendJob(seat));
        }
    }

    pub(super) fn ready(&mut self, now: Instant, seat: Seat) {
        if let Some(slot) = self.current(seat)
            && matches!(slot.state, State::Handshaking(_))
        {
            slot.state = State::Serving;
            slot.ready_at = Some(now);
            slot.progress.1 = now;
        }
    }

    pub(super) fn refused(&mut self, now: Instant, seat: Seat, why: String) {
        if self.current(seat).is_some() {
            self.give_up(now, why);
        }
    }

    /// What it says cannot be trusted any more, so it has to go; that is no target's fault.
    pub(super) fn garbled(&mut self, now: Instant, seat: Seat, why: &str) {
        let deadline = now + self.config.terminate_grace;
        if let Some(slot) = self.current(seat) {
            slot.ended.get_or_insert(Ended::Blameless);
            slot.state = State::Killing(deadline);
            self.commands
                .push_back(Command::Notice(format!("{seat} broke the protocol and was killed: {why}")));
            self.commands.push_back(Command::Kill(seat));
        }
    }

    pub(super) fn eof(&mut self, now: Instant, seat: Seat) {
        let deadline = now + self.config.terminate_grace;
        let Some(slot) = self.current(seat) else { return };
        slot.eof = true;
        if !matches!(slot.state, State::Terminating(_) | State::Killing(_)) {
            // It closed its channel, so it is on its way out; if not, the deadline helps.
            slot.state = State::Terminating(deadline);
        }
        self.settle_death(now, seat);
    }

    pub(super) fn reaped(&mut self, now: Instant, seat: Seat, death: Death) {
        let deadline = now + self.config.terminate_grace;
        let Some(slot) = self.current(seat) else { return };
        slot.death = Some(death);
        if !slot.eof && !matches!(slot.state, State::Terminating(_) | State::Killing(_)) {
            slot.state = State::Terminating(deadline);
        }
        self.settle_death(now, seat);
    }

    /// Settles the accounts of a process once nothing can come from it any more.
    fn settle_death(&mut self, now: Instant, seat: Seat) {
        let Some(slot) = self.current(seat) else { return };
        if !slot.eof {
            return;
        }
        let Some(death) = slot.death.take() else { return };
        let ended = slot.ended;
        let was_ready = slot.ready_at.is_some();
        if slot.ready_at.is_some_and(|at| now.duration_since(at) >= restart::HEALTHY_AFTER) {
            slot.failures = 0;
        }
        slot.failures += 1;
        let held = slot.credit.held();
        slot.credit.give_back(now, held);
        let culprit = culprit(&death, ended);
        for (id, host) in self.ledger.all_held_by(seat) {
            if Some(id) == culprit && self.ledger.blame(id) >= self.config.crashes_max {
                self.frontier.release(now, host);
                self.quarantine(id, seat, &death, ended);
            } else {
                self.ledger.give_back(id);
                self.frontier.give_back(now, id, host);
            }
        }
        let why = epitaph(&death);
        self.vacate(now, seat, was_ready, &why);
    }

    fn quarantine(&mut self, id: u64, seat: Seat, death: &Death, ended: Option<Ended>) {
        let Some(live) = self.ledger.quarantine(id) else { return };
        let phase = death.reading.phase.name();
        let (kind, how) = match ended {
            Some(Ended::Hang(_)) => (ErrorKind::WorkerHang, "hung on it and was killed".to_owned()),
            Some(Ended::Blameless) | None if ran_out_of_memory(death) => {
                (ErrorKind::WorkerOom, "ran out of memory on it".to_owned())
            }
            Some(Ended::Blameless) | None => (ErrorKind::WorkerCrash, format!("died on it ({})", death.exit)),
        };
        let attempts = live.retries + live.crashes;
        let signal = match death.exit {
            Exit::Signal(_) => Some(death.exit.to_string()),
            Exit::Code(_) => None,
        };
        self.commands.push_back(Command::Quarantine(Box::new(Quarantined {
            id,
            input: live.input.into_vec(),
            attempts,
            slot: seat.slot,
            kind,
            message: format!("a worker {how} on {} attempts, last in phase {phase}", live.crashes),
            evidence: Evidence {
                signal,
                phase: phase.to_owned(),
                rss_bytes: death.reading.rss_bytes_max,
                stderr: death.stderr.clone(),
            },
        })));
    }

    /// The seat is empty: fill it again, or not.
    fn vacate(&mut self, now: Instant, seat: Seat, was_ready: bool, why: &str) {
        self.commands.push_back(Command::Forget(seat));
        let running = self.stage == Stage::Running;
        let verdict = if running { self.intensity.death(now, was_ready) } else { None };
        let gave_up = matches!(self.stage, Stage::GaveUp(_));
        let Some(slot) = self.current(seat) else { return };
        if !running {
            slot.state = if gave_up { State::Failed } else { State::Stopped };
            return;
        }
        let failures = slot.failures.saturating_sub(1);
        let delay = restart::delay(failures, &mut self.rng);
        if let Some(slot) = self.current(seat) {
            slot.state = State::Backoff(now + delay);
        }
        if let Some(verdict) = verdict {
            self.give_up(now, format!("{verdict}; the last one: {why}"));
        } else {
            let notice = format!("{seat}: {why}; starting again in {} ms", delay.as_millis());
            self.commands.push_back(Command::Notice(notice));
        }
    }
}

/// The target to blame for this death, if one is.
fn culprit(death: &Death, ended: Option<Ended>) -> Option<u64> {
    match ended {
        Some(Ended::Hang(target)) => target,
        Some(Ended::Blameless) => None,
        None => match death.exit {
            // Someone asked this worker to end, from outside: that is no crash.
            Exit::Signal(nix::libc::SIGTERM | nix::libc::SIGINT | nix::libc::SIGHUP) => None,
            Exit::Signal(_) | Exit::Code(_) => death.reading.target,
        },
    }
}

/// Rust's allocation error handler says so before it aborts.
fn ran_out_of_memory(death: &Death) -> bool {
    death.stderr.contains("memory allocation of")
}

fn epitaph(death: &Death) -> String {
    let last = death.stderr.lines().rev().find(|line| !line.trim().is_empty());
    match last {
        Some(line) => format!("died with {}, its last words: {}", death.exit, line.trim()),
        None => format!("died with {}", death.exit),
    }
}
