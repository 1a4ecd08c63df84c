//! How workers start and end, and which target is blamed when one dies.
//!
//! The black box names the target whose stage was running. Only that target is charged with an
//! attempt; everything else in flight goes back unchanged. No target is handed out again before the
//! channel has ended *and* the process is reaped, because until then a result may still arrive. The
//! one exception is a channel that another process holds open; see `channel_overdue`.

use std::time::{Duration, Instant};

use nix::libc;
use wire::black_box::{Begun, Phase};
use wire::record::{ErrorKind, Evidence};

use super::ledger::Live;
use super::mutant::Mutant;
use super::restart::DeathKind;
use super::seat::{Death, Exit, Seat};
use super::slot::{Ended, Role, State};
use super::{Command, Notice, Pool, PoolState, Quarantined, restart};
use crate::frontier::Answer;

/// Most of a worker's own words that are passed on.
const WHY_CHARS_MAX: usize = 500;

impl Pool {
    pub(super) fn spawned(&mut self, now: Instant, seat: Seat) {
        let deadline = now + self.config.handshake_timeout;
        if let Some(slot) = self.current(seat)
            && matches!(slot.state, State::Spawning(_))
        {
            slot.state = State::Handshaking(deadline);
        }
    }

    /// No process exists, so there is nothing to reap and no channel to wait for.
    pub(super) fn spawn_failed(&mut self, now: Instant, seat: Seat, why: &str) {
        if let Some(slot) = self.current(seat)
            && matches!(slot.state, State::Spawning(_) | State::Killing(_))
            && !slot.greeted
        {
            slot.failures += 1;
            let role = slot.role;
            self.process_gone(
                now,
                seat,
                role,
                DeathKind::BeforeReady,
                None,
                &format!("cannot start a worker: {why}"),
            );
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
            self.broke_protocol(now, seat, "it reported ready before it got the job");
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
            self.broke_protocol(now, seat, "it refused a job that it had accepted");
        } else if slot.role != Role::Seated {
            // The worker that it was to replace can do the job, and continues.
            let notice = Notice::trouble(seat, None, format!("{seat} refused the job: {why}"));
            self.retire(now, seat);
            self.commands.push_back(Command::Notice(notice));
        } else if self.state == PoolState::Running {
            // While the run is ending, a refusal no longer matters: the other workers could do the
            // job.
            self.give_up(now, why);
        }
    }

    /// Ends the run if the user's program cannot be used, in this worker or any other. Any other worker is replaced: it
    /// lacks something, or an input has taken it over. The run ends when the next one says so too, see [`Intensity`].
    ///
    /// [`Intensity`]: restart::Intensity
    pub(super) fn gave_up(&mut self, now: Instant, seat: Seat, why: &str) {
        let (deadline, piped) = (now + self.config.terminate_grace, self.config.piped);
        let why = plain(why);
        let Some(slot) = self.current(seat) else { return };
        if slot.ready_at.is_none() {
            self.broke_protocol(now, seat, "it gave up a job that it had not accepted");
        } else if piped {
            // Also while the run ends: a worker may learn with its last answer that earlier ones were wrong.
            self.give_up(now, why);
        } else if !matches!(slot.state, State::Killing(_)) {
            slot.ended.get_or_insert(Ended::GaveUp);
            slot.why = Some(format!("gave up: {why}"));
            slot.state = State::Killing(deadline);
            self.commands.push_back(Command::Kill(seat));
        }
    }

    /// Ends a worker that the supervisor has no channel to.
    pub(super) fn unreachable(&mut self, now: Instant, seat: Seat, why: String) {
        let deadline = now + self.config.terminate_grace;
        if let Some(slot) = self.current(seat)
            && !matches!(slot.state, State::Killing(_))
        {
            slot.ended.get_or_insert(Ended::Blameless);
            slot.why = Some(why);
            slot.state = State::Killing(deadline);
            self.commands.push_back(Command::Kill(seat));
        }
    }

    /// Kills a worker that broke the protocol. Its messages can no longer be trusted. Workers do not do that by
    /// themselves, so the input that it was computing is blamed.
    pub(super) fn broke_protocol(&mut self, now: Instant, seat: Seat, why: &str) {
        let deadline = now + self.config.terminate_grace;
        let Some(slot) = self.current(seat) else { return };
        slot.is_distrusted = true;
        // Report this once: a worker that is being killed may still send many such messages.
        if !matches!(slot.state, State::Killing(_)) {
            slot.ended.get_or_insert(Ended::Forged);
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
            // It closed its channel, so it is about to exit. If it does not, the deadline ends it.
            slot.state = State::Terminating(deadline);
        }
        if self.is(Mutant::RequeueBeforeReap) {
            self.hand_back(now, seat, None, &Begun::default());
        }
        self.settle_death(now, seat);
    }

    pub(super) fn reaped(&mut self, now: Instant, seat: Seat, death: Death) {
        let deadline = now + self.config.terminate_grace;
        let Some(slot) = self.current(seat).filter(|slot| slot.death.is_none()) else { return };
        slot.death = Some(death);
        // Its last messages are still in the channel. They arrive within milliseconds, unless
        // another process holds the channel open; the deadline is for that case.
        slot.state = State::Terminating(deadline);
        if self.is(Mutant::RequeueBeforeEof) {
            self.hand_back(now, seat, None, &Begun::default());
        }
        self.settle_death(now, seat);
    }

    /// Gives up on the channel of a reaped process: a child of that process must hold the other end
    /// open. No process is left that could do its targets, so they wait no longer.
    pub(super) fn channel_overdue(&mut self, now: Instant, seat: Seat) {
        let Some(slot) = self.current(seat) else { return };
        slot.eof = true;
        let text =
            format!("{seat} has exited, but another process holds its channel open; continuing without it");
        self.commands.push_back(Command::Notice(Notice::trouble(seat, None, text)));
        self.settle_death(now, seat);
    }

    /// Settles a process once nothing more can come from it.
    fn settle_death(&mut self, now: Instant, seat: Seat) {
        let Some(slot) = self.current(seat) else { return };
        if !slot.eof {
            return;
        }
        let Some(death) = slot.death.take() else { return };
        let (ended, role, why) = (slot.ended, slot.role, slot.why.take());
        let was_ready = slot.ready_at.is_some();
        if slot.ready_at.is_some_and(|at| now.duration_since(at) >= restart::HEALTHY_AFTER) {
            slot.failures = 0;
        }
        slot.failures += 1;
        let ended = ended.filter(|ended| *ended != Ended::Blameless || !self.is(Mutant::OwnKillBlames));
        let culprit = culprit(&death, ended)
            .filter(|id| self.ledger.held_by(*id, seat).is_some() && !self.is(Mutant::BlameNone));
        let culprit = culprit.or_else(|| self.wrongly_blamed(seat, role));
        if role != Role::Leaving || !self.is(Mutant::LoseWorkAtRecycle) {
            for (id, live) in self.hand_back(now, seat, culprit, &death.begun) {
                self.quarantine(id, live, seat, &death, ended);
            }
        }
        let kind = match culprit {
            _ if !was_ready => DeathKind::BeforeReady,
            Some(_) => DeathKind::Blamed,
            None if ended == Some(Ended::GaveUp) => DeathKind::GaveUp,
            None => DeathKind::Unexplained,
        };
        let why = why.unwrap_or_else(|| describe(&death));
        if role == Role::Leaving && ended.is_none() && death.exit != Exit::Code(0) {
            let text = format!("{seat}: {} while it was leaving", describe(&death));
            self.commands.push_back(Command::Notice(Notice::trouble(seat, culprit, text)));
        }
        self.process_gone(now, seat, role, kind, culprit, &why);
    }

    /// The target that would be blamed by the mutant that treats a recycled worker's end as a
    /// crash.
    fn wrongly_blamed(&self, seat: Seat, role: Role) -> Option<u64> {
        if role != Role::Leaving || !self.is(Mutant::BlameTheRecycled) {
            return None;
        }
        self.ledger.all_held_by(seat).first().map(|(id, _)| *id)
    }

    /// Handles the end of a process, by its role in the slot.
    fn process_gone(
        &mut self,
        now: Instant,
        seat: Seat,
        role: Role,
        kind: DeathKind,
        culprit: Option<u64>,
        why: &str,
    ) {
        match role {
            Role::Seated => self.vacate(now, seat, kind, culprit, why),
            Role::Successor => self.replacement_failed(now, seat, why),
            Role::Leaving => self.remove_unseated(seat),
        }
    }

    /// Takes back everything `seat` holds. `culprit` is charged with the attempt. Returns the
    /// targets that used up their attempts, and those that had begun and must not be done twice.
    pub(super) fn hand_back(
        &mut self,
        now: Instant,
        seat: Seat,
        culprit: Option<u64>,
        begun: &Begun,
    ) -> Vec<(u64, Live)> {
        let mut set_aside = Vec::new();
        if let Some(slot) = self.current(seat) {
            let held = slot.credit.load();
            slot.credit.give_back(now, held);
            slot.hosts.clear();
        }
        // Give back the last one first, which keeps their order in the frontier.
        for (id, host) in self.ledger.all_held_by(seat).into_iter().rev() {
            if let Some(proxies) = &mut self.proxies {
                proxies.abandon(id);
            }
            let blamed = Some(id) == culprit || self.is(Mutant::BlameAll);
            let crashes_max =
                if self.is(Mutant::NeverQuarantine) { u32::MAX } else { self.config.crashes_max };
            if begun.contains(id) || blamed && self.ledger.blame(id) >= crashes_max {
                self.free_place(now, id, host, Answer::Unknown);
                self.forget_way(id);
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
        let is_uncertain = death.begun.contains(id);
        if !is_uncertain {
            self.intensity.set_aside();
        }
        let phase = death.reading.phase.name();
        let (kind, how) = match ended {
            Some(Ended::Hang(_)) => {
                (ErrorKind::WorkerHang, "hung while processing it and was killed".to_owned())
            }
            Some(Ended::Forged) => {
                (ErrorKind::WorkerCrash, "broke the protocol while processing it and was killed".to_owned())
            }
            Some(Ended::GaveUp) => (ErrorKind::WorkerCrash, "gave up while processing it".to_owned()),
            Some(Ended::Blameless) | None if ran_out_of_memory(death) => {
                (ErrorKind::WorkerOom, "ran out of memory while processing it".to_owned())
            }
            // We did not kill it, and it happened each time in this target's stage. That is how the
            // kernel's OOM killer ends a process.
            None if death.exit == Exit::Signal(libc::SIGKILL) => (
                ErrorKind::WorkerOom,
                "was killed while processing it, probably by the OOM killer,".to_owned(),
            ),
            Some(Ended::Blameless) | None => {
                (ErrorKind::WorkerCrash, format!("died while processing it ({})", death.exit))
            }
        };
        let (kind, message) = if is_uncertain {
            let message = format!(
                "its request may have been sent before {seat} ended ({}); not sent again",
                death.exit
            );
            (ErrorKind::Uncertain, message)
        } else {
            (kind, format!("a worker {how} on {} attempts, most recently in phase {phase}", live.crashes))
        };
        let attempts = if is_uncertain { live.attempt() } else { live.retries + live.crashes };
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
            message,
            evidence: Evidence {
                signal,
                phase: phase.to_owned(),
                rss_bytes: death.reading.rss_bytes,
                stderr: death.stderr.clone(),
            },
        })));
    }

    /// The seat is empty: fills it again if the run goes on.
    fn vacate(&mut self, now: Instant, seat: Seat, kind: DeathKind, culprit: Option<u64>, why: &str) {
        self.commands.push_back(Command::Forget(seat));
        let running = self.state == PoolState::Running;
        let verdict =
            if running && !self.is(Mutant::NeverGiveUp) { self.intensity.death(now, kind) } else { None };
        let gave_up = matches!(self.state, PoolState::GaveUp(_));
        let Some(slot) = self.current(seat) else { return };
        if !running {
            slot.state = if gave_up { State::Failed } else { State::Stopped };
            return;
        }
        if kind == DeathKind::Blamed {
            // The input was at fault, not the worker, so the delay need not grow each time.
            slot.failures = 1;
        }
        let failures = slot.failures.saturating_sub(1);
        let mut delay = restart::restart_delay(failures, &mut self.rng);
        if self.is(Mutant::NoBackoff) {
            delay = Duration::ZERO;
        }
        // A successor that is already starting takes the seat at once.
        let followed = verdict.is_none() && self.promote_successor(seat).is_some();
        if followed {
            self.restarts += 1;
        } else if let Some(slot) = self.current(seat) {
            slot.state = State::Backoff(now + delay);
        }
        let next = match verdict {
            Some(verdict) => return self.give_up(now, format!("{verdict}; the last one: {why}")),
            None if followed => "its replacement is starting".to_owned(),
            None => format!("starting again in {} ms", delay.as_millis()),
        };
        let notice = Notice::trouble(seat, culprit, format!("{seat}: {why}; {next}"));
        self.commands.push_back(Command::Notice(notice));
    }
}

/// Returns the target to blame for this death, if any.
fn culprit(death: &Death, ended: Option<Ended>) -> Option<u64> {
    match ended {
        Some(Ended::Hang(target)) => target,
        Some(Ended::Forged | Ended::GaveUp) => death.reading.target,
        // Someone outside asked this worker to end; that is no crash.
        _ if matches!(death.exit, Exit::Signal(libc::SIGTERM | libc::SIGINT | libc::SIGHUP)) => None,
        // A process is not killed for waiting on the network, so the target did not cause this.
        _ if death.exit == Exit::Signal(libc::SIGKILL) && death.reading.phase == Phase::Fetch => None,
        // This is how a worker ends on our own signals. Any other exit is a crash that came first.
        Some(Ended::Blameless) if matches!(death.exit, Exit::Signal(libc::SIGKILL) | Exit::Code(_)) => None,
        Some(Ended::Blameless) | None => death.reading.target,
    }
}

/// What a worker says, short enough and without control characters: it may be an attacker's text.
fn plain(text: &str) -> String {
    let letters = text.chars().take(WHY_CHARS_MAX);
    letters.map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// Rust's allocation error handler prints this before it aborts.
fn ran_out_of_memory(death: &Death) -> bool {
    death.stderr.contains("memory allocation of")
}

fn describe(death: &Death) -> String {
    let last = death.stderr.lines().rev().find(|line| !line.trim().is_empty());
    match last {
        Some(line) => format!("died with {}, last output: {}", death.exit, line.trim()),
        None => format!("died with {}", death.exit),
    }
}
