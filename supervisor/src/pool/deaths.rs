//! How workers come and go, and who is to blame when one dies.
//!
//! The black box names the target whose stage was running. Only that target is
//! charged with the attempt; all else that was in flight goes back as it was.
//! Nothing is handed out again before the channel has ended *and* the process
//! is reaped: until both, a result may still be on its way. The one exception is
//! a channel that somebody else holds open; see `channel_overdue`.

use std::time::{Duration, Instant};

use nix::libc;
use shared::black_box::Phase;
use shared::record::{ErrorKind, Evidence};

use super::ledger::Live;
use super::mutant::Mutant;
use super::restart::Fall;
use super::seat::{Death, Exit, Seat};
use super::slot::{Ended, Role, State};
use super::{Command, Notice, Pool, Quarantined, Stage, restart};

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
        if let Some(slot) = self.current(seat)
            && matches!(slot.state, State::Spawning(_) | State::Killing(_))
            && !slot.greeted
        {
            slot.failures += 1;
            let role = slot.role;
            self.bury(now, seat, role, Fall::BeforeReady, None, &format!("cannot start a worker: {why}"));
        }
    }

    pub(super) fn hello(&mut self, seat: Seat) {
        if let Some(slot) = self.current(seat)
            && matches!(slot.state, State::Handshaking(_))
            && !slot.greeted
        {
            slot.greeted = true;
            self.commands.push_back(Command::SendJob(seat));
        }
    }

    pub(super) fn ready(&mut self, now: Instant, seat: Seat) {
        let lifetime = self.lifetime();
        let Some(slot) = self.current(seat).filter(|slot| matches!(slot.state, State::Handshaking(_))) else {
            return;
        };
        if !slot.greeted {
            self.garbled(now, seat, "it is ready for a job it was not told");
            return;
        }
        slot.state = State::Serving;
        slot.ready_at = Some(now);
        slot.progress.1 = now;
        slot.lifetime = lifetime;
        let succeeds = slot.role == Role::Successor;
        self.intensity.ready();
        if succeeds {
            self.take_seat(now, seat);
        }
    }

    pub(super) fn refused(&mut self, now: Instant, seat: Seat, why: String) {
        let Some(slot) = self.current(seat) else { return };
        if slot.ready_at.is_some() {
            self.garbled(now, seat, "it refuses the job it has taken");
        } else if slot.role != Role::Seated {
            // The one it was to follow could do the job, and still does.
            let notice = Notice::trouble(seat, None, format!("{seat} refuses the job: {why}"));
            self.let_go(now, seat);
            self.commands.push_back(Command::Notice(notice));
        } else if self.stage == Stage::Running {
            // While the run ends it does not matter any more: the others could do the job.
            self.give_up(now, why);
        }
    }

    /// What it works with is of no use, in this worker or any other.
    pub(super) fn gave_up(&mut self, now: Instant, seat: Seat, why: String) {
        // Also while the run ends: a worker may find out with its last answer that the earlier ones were wrong.
        if self.current(seat).is_some() {
            self.give_up(now, why);
        }
    }

    /// What it says cannot be trusted any more, so it has to go; that is no target's fault.
    pub(super) fn garbled(&mut self, now: Instant, seat: Seat, why: &str) {
        let deadline = now + self.config.terminate_grace;
        // Once is enough: a worker that is being killed may still send a lot of it.
        if let Some(slot) = self.current(seat)
            && !matches!(slot.state, State::Killing(_))
        {
            slot.ended.get_or_insert(Ended::Blameless);
            slot.state = State::Killing(deadline);
            let text = format!("{seat} broke the protocol and was killed: {why}");
            self.commands.push_back(Command::Notice(Notice::trouble(seat, None, text)));
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
        if self.is(Mutant::RequeueBeforeReap) {
            self.hand_back(now, seat, None);
        }
        self.settle_death(now, seat);
    }

    pub(super) fn reaped(&mut self, now: Instant, seat: Seat, death: Death) {
        let deadline = now + self.config.terminate_grace;
        let Some(slot) = self.current(seat).filter(|slot| slot.death.is_none()) else { return };
        slot.death = Some(death);
        // What it said last is still on its way. It comes within milliseconds, unless somebody else
        // holds the channel open; for that the deadline is.
        slot.state = State::Terminating(deadline);
        if self.is(Mutant::RequeueBeforeEof) {
            self.hand_back(now, seat, None);
        }
        self.settle_death(now, seat);
    }

    /// A process is gone, and its channel does not end: a child of its own must hold the other end.
    /// Nobody is left who could do its targets, so they need not wait any longer.
    pub(super) fn channel_overdue(&mut self, now: Instant, seat: Seat) {
        let Some(slot) = self.current(seat) else { return };
        slot.eof = true;
        let text = format!("{seat} is gone, but something holds its channel open; going on without it");
        self.commands.push_back(Command::Notice(Notice::trouble(seat, None, text)));
        self.settle_death(now, seat);
    }

    /// Settles the accounts of a process once nothing can come from it any more.
    fn settle_death(&mut self, now: Instant, seat: Seat) {
        let Some(slot) = self.current(seat) else { return };
        if !slot.eof {
            return;
        }
        let Some(death) = slot.death.take() else { return };
        let (ended, role) = (slot.ended, slot.role);
        let was_ready = slot.ready_at.is_some();
        if slot.ready_at.is_some_and(|at| now.duration_since(at) >= restart::HEALTHY_AFTER) {
            slot.failures = 0;
        }
        slot.failures += 1;
        let ended = ended.filter(|ended| *ended != Ended::Blameless || !self.is(Mutant::OwnKillBlames));
        let culprit = culprit(&death, ended)
            .filter(|id| self.ledger.held_by(*id, seat).is_some() && !self.is(Mutant::BlameNobody));
        let culprit = culprit.or_else(|| self.wrongly_blamed(seat, role));
        if role != Role::Leaving || !self.is(Mutant::LoseWorkAtRecycle) {
            for (id, live) in self.hand_back(now, seat, culprit) {
                self.quarantine(id, live, seat, &death, ended);
            }
        }
        let fall = match culprit {
            _ if !was_ready => Fall::BeforeReady,
            Some(_) => Fall::Blamed,
            None => Fall::InVain,
        };
        if role == Role::Leaving && ended.is_none() && death.exit != Exit::Code(0) {
            let text = format!("{seat}: {}, on its way out", epitaph(&death));
            self.commands.push_back(Command::Notice(Notice::trouble(seat, culprit, text)));
        }
        self.bury(now, seat, role, fall, culprit, &epitaph(&death));
    }

    /// Whom the mutant that takes a recycled worker's end for a crash would blame.
    fn wrongly_blamed(&self, seat: Seat, role: Role) -> Option<u64> {
        if role != Role::Leaving || !self.is(Mutant::BlameTheRecycled) {
            return None;
        }
        self.ledger.all_held_by(seat).first().map(|(id, _)| *id)
    }

    /// Nothing more can come from this process: what that means for its slot.
    fn bury(&mut self, now: Instant, seat: Seat, role: Role, fall: Fall, culprit: Option<u64>, why: &str) {
        match role {
            Role::Seated => self.vacate(now, seat, fall, culprit, why),
            Role::Successor => self.called_off(now, seat, why),
            Role::Leaving => self.gone(seat),
        }
    }

    /// Takes back everything `seat` holds. `culprit` gets the attempt, and is returned if it was its last.
    pub(super) fn hand_back(&mut self, now: Instant, seat: Seat, culprit: Option<u64>) -> Vec<(u64, Live)> {
        let mut set_aside = Vec::new();
        if let Some(slot) = self.current(seat) {
            let held = slot.credit.load();
            slot.credit.give_back(now, held);
        }
        // The last first: that keeps their order in the frontier.
        for (id, host) in self.ledger.all_held_by(seat).into_iter().rev() {
            let blamed = Some(id) == culprit || self.is(Mutant::BlameAll);
            let crashes_max =
                if self.is(Mutant::NeverQuarantine) { u32::MAX } else { self.config.crashes_max };
            if blamed && self.ledger.blame(id) >= crashes_max {
                self.frontier.release(now, host);
                set_aside.extend(self.ledger.quarantine(id).map(|live| (id, live)));
            } else {
                self.charged += u64::from(blamed);
                self.ledger.give_back(id);
                self.frontier.give_back(now, id, host);
            }
        }
        set_aside
    }

    fn quarantine(&mut self, id: u64, live: Live, seat: Seat, death: &Death, ended: Option<Ended>) {
        self.intensity.set_aside();
        let phase = death.reading.phase.name();
        let (kind, how) = match ended {
            Some(Ended::Hang(_)) => (ErrorKind::WorkerHang, "hung on it and was killed".to_owned()),
            Some(Ended::Blameless) | None if ran_out_of_memory(death) => {
                (ErrorKind::WorkerOom, "ran out of memory on it".to_owned())
            }
            // Not we killed it, each time in the same target's stage: that is how the kernel ends
            // a process when memory runs out.
            None if death.exit == Exit::Signal(libc::SIGKILL) => {
                (ErrorKind::WorkerOom, "was killed on it, most likely for want of memory,".to_owned())
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
            kept: live.kept.into_vec(),
            attempts,
            slot: seat.slot,
            kind,
            message: format!("a worker {how} on {} attempts, last in phase {phase}", live.crashes),
            evidence: Evidence {
                signal,
                phase: phase.to_owned(),
                rss_bytes: death.reading.rss_bytes,
                stderr: death.stderr.clone(),
            },
        })));
    }

    /// The seat is empty: fill it again, or not.
    fn vacate(&mut self, now: Instant, seat: Seat, fall: Fall, culprit: Option<u64>, why: &str) {
        self.commands.push_back(Command::Forget(seat));
        let running = self.stage == Stage::Running;
        let verdict =
            if running && !self.is(Mutant::NeverGiveUp) { self.intensity.death(now, fall) } else { None };
        let gave_up = matches!(self.stage, Stage::GaveUp(_));
        let Some(slot) = self.current(seat) else { return };
        if !running {
            slot.state = if gave_up { State::Failed } else { State::Stopped };
            return;
        }
        if fall == Fall::Blamed {
            // The input was at fault and not the worker: no reason to wait longer each time.
            slot.failures = 1;
        }
        let failures = slot.failures.saturating_sub(1);
        let mut delay = restart::delay(failures, &mut self.rng);
        if self.is(Mutant::NoBackoff) {
            delay = Duration::ZERO;
        }
        // Who was to follow it anyway follows it at once.
        let followed = verdict.is_none() && self.succeed(seat).is_some();
        if followed {
            self.restarts += 1;
        } else if let Some(slot) = self.current(seat) {
            slot.state = State::Backoff(now + delay);
        }
        let next = match verdict {
            Some(verdict) => return self.give_up(now, format!("{verdict}; the last one: {why}")),
            None if followed => "its replacement is on its way".to_owned(),
            None => format!("starting again in {} ms", delay.as_millis()),
        };
        let notice = Notice::trouble(seat, culprit, format!("{seat}: {why}; {next}"));
        self.commands.push_back(Command::Notice(notice));
    }
}

/// The target to blame for this death, if one is.
fn culprit(death: &Death, ended: Option<Ended>) -> Option<u64> {
    match ended {
        Some(Ended::Hang(target)) => target,
        // Someone asked this worker to end, from outside: that is no crash.
        _ if matches!(death.exit, Exit::Signal(libc::SIGTERM | libc::SIGINT | libc::SIGHUP)) => None,
        // Waiting for an answer gets no process killed: whoever did that, it was not the target.
        _ if death.exit == Exit::Signal(libc::SIGKILL) && death.reading.phase == Phase::Fetch => None,
        // This is what our own signals make of a worker. Any other exit is a crash that came first.
        Some(Ended::Blameless) if matches!(death.exit, Exit::Signal(libc::SIGKILL) | Exit::Code(_)) => None,
        Some(Ended::Blameless) | None => death.reading.target,
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
