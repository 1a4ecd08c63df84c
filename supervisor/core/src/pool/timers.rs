//! Timed work: deadlines of slots, samples of the black boxes, and retries in the frontier.

use std::time::{Duration, Instant};

use wire::black_box::{Begun, Phase, Reading};

use super::load::WEIGH_EVERY;
use super::mutant::Mutant;
use super::repeats::Repeats;
use super::seat::Seat;
use super::slot::{CpuUse, Ended, Role, Slot, State};
use super::{Command, Notice, Pool, PoolState};

/// How often the black boxes of busy workers are read. A hang is found at most this long after its
/// limit. Reading costs one cache line per worker.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Sampling interval while memory growth is watched: a leak of a few hundred MiB a second must be
/// noticed in time.
const SAMPLE_EVERY_WHEN_WEIGHED: Duration = Duration::from_millis(250);

/// Least time between two looks at all targets that are held, for each of them: a look takes some 50 ns.
const WATCH_EACH: Duration = Duration::from_micros(10);

/// How late a call may be before it counts as our own delay, and the most time it takes to read the
/// messages that arrived meanwhile.
const LATE: Duration = Duration::from_secs(1);

impl Pool {
    /// The latest time at which [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        // Without a worker that has room, nothing could be done when a frontier target is due. Its
        // instant would stay in the past, and a loop that waits for it would spin.
        let a_worker_has = || {
            let share = self.fair_share();
            self.slots.iter().any(|slot| self.takes_one(slot, share))
        };
        let has_room = || self.has_room() && a_worker_has() || self.is(Mutant::SpinWithoutRoom);
        let frontier = (self.state == PoolState::Running).then(|| self.frontier.next_due()).flatten();
        let held = self.repeats.as_ref().and_then(Repeats::due);
        let proxies = self.proxies_due.filter(|_| self.state == PoolState::Running && self.backlog() > 0);
        // While no proxy can take a target, nothing could be done when one is due.
        let frontier = proxies.or_else(|| frontier.filter(|_| self.proxies_are_open()));
        self.own_due().into_iter().chain(frontier.filter(|_| has_room())).chain(held).min()
    }

    /// The same, without the frontier's timer.
    fn own_due(&self) -> Option<Instant> {
        let deadlines = self.all().filter_map(|slot| self.deadline(slot));
        deadlines.chain(self.sample_due).chain(self.load_due).chain(self.recycle_due()).min()
    }

    fn deadline(&self, slot: &Slot) -> Option<Instant> {
        slot.state.deadline().filter(|_| !self.overlooks(slot))
    }

    /// Does everything that is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.compensate_absence(now, Duration::ZERO);
        let overdue: Vec<Seat> = self
            .all()
            .filter(|slot| self.deadline(slot).is_some_and(|at| at <= now))
            .map(|slot| slot.seat)
            .collect();
        for seat in overdue {
            self.overdue(now, seat);
        }
        if self.sample_due.is_some_and(|at| at <= now) {
            self.sample_due = None;
            self.watch_targets(now);
            for slot in self.slots.iter().chain(&self.unseated).filter(|slot| is_watched(slot)) {
                self.commands.push_back(Command::Sample(slot.seat));
            }
            self.arm_sampling(now);
        }
        self.weigh_all(now);
        self.settle(now);
    }

    /// Ensures that busy workers are sampled.
    pub(super) fn arm_sampling(&mut self, now: Instant) {
        let weighed = self.config.rss_allowance_bytes.is_some();
        let every = if weighed { SAMPLE_EVERY_WHEN_WEIGHED } else { SAMPLE_EVERY };
        if !self.all().any(is_watched) {
            (self.sample_due, self.load_due) = (None, None);
            return;
        }
        self.sample_due.get_or_insert(now + every);
        if self.total.is_some() && self.load_due.is_none() {
            self.load_due = Some(now + WEIGH_EVERY);
            // Nothing was under way until now, so what was seen before says nothing.
            self.slots.iter_mut().for_each(|slot| slot.cpu_use = CpuUse::default());
        }
    }

    /// Extends time limits by the time during which the supervisor did not read the workers'
    /// messages: the time it was told of, or the time it notices itself.
    ///
    /// If [`Self::handle_timeout`] should have been called long before any other call, then this
    /// process was stopped, or the machine was, or the clock jumped.
    pub(super) fn compensate_absence(&mut self, now: Instant, reported: Duration) {
        let due = self.own_due().map(|due| due.max(self.called_at));
        let noticed = due.is_some_and(|due| now.duration_since(due) > LATE);
        let absence = if noticed { now.duration_since(self.called_at) } else { Duration::ZERO };
        if absence > reported {
            self.listening_since = Some(now);
        }
        let lasting = reported.max(absence);
        if lasting > Duration::ZERO {
            self.suspended(now, lasting);
        }
    }

    /// Extends every wait for a message from a worker by `lasting`. Waits for a process to exit are
    /// not extended, nor is the grace of a drain, which was promised to the user who stopped the
    /// run.
    fn suspended(&mut self, now: Instant, lasting: Duration) {
        self.called_at = now;
        if self.is(Mutant::BlameOwnDelay) {
            return;
        }
        // This also avoids waking a caller that still does not read messages every other
        // microsecond.
        let heard_by = now + LATE;
        for slot in self.slots.iter_mut().chain(&mut self.unseated) {
            slot.progress.1 = (slot.progress.1 + lasting).min(now);
            for deadline in slot.watches.iter_mut().filter_map(|watch| watch.deadline.as_mut()) {
                *deadline += lasting;
            }
            let running = self.state == PoolState::Running;
            let channel_only = slot.death.is_some() && running;
            match &mut slot.state {
                State::Spawning(at) | State::Handshaking(at) => *at = (*at + lasting).max(heard_by),
                State::Terminating(at) | State::Killing(at) if channel_only => {
                    *at = (*at + lasting).max(heard_by);
                }
                // It could not report what it has finished. While the run goes on, nothing depends
                // on its end.
                State::Draining(at) if running => *at = (*at + lasting).max(heard_by),
                State::Terminating(_)
                | State::Killing(_)
                | State::Draining(_)
                | State::Backoff(_)
                | State::Serving
                | State::Stopped
                | State::Failed => {}
            }
        }
    }

    /// Drops targets that are back, and starts the clock of those that have begun. Workers begin
    /// targets in the order in which they got them, as many at once as the concurrency allows.
    pub(super) fn watch_targets(&mut self, now: Instant) {
        let concurrency = self.config.concurrency as usize;
        for slot in self.slots.iter_mut().chain(&mut self.unseated) {
            let seat = slot.seat;
            slot.watches.retain(|watch| self.ledger.is_at(watch.id, watch.attempt, seat));
            for watch in slot.watches.iter_mut().take(concurrency) {
                watch.deadline.get_or_insert(now + self.config.target_timeout);
            }
            slot.count_asleep();
        }
        self.asleep = self.all().map(|slot| slot.asleep).sum();
        let watched: usize = self.all().map(|slot| slot.watches.len()).sum();
        self.watch_due = now + WATCH_EACH * u32::try_from(watched).unwrap_or(u32::MAX);
    }

    /// Handles a slot whose state has lasted too long, by taking the next, harder step.
    fn overdue(&mut self, now: Instant, seat: Seat) {
        let (handshake_timeout, grace) = (self.config.handshake_timeout, self.config.terminate_grace);
        let Some(slot) = self.place(seat) else { return };
        match slot.state {
            State::Terminating(_) | State::Killing(_) if slot.death.is_some() => {
                self.channel_overdue(now, seat)
            }
            State::Backoff(_) => {
                let failures = slot.failures;
                let next = self.next_process(now, seat.slot, Role::Seated);
                self.restarts += 1;
                self.commands.push_back(Command::Spawn(next.seat));
                if let Some(slot) = self.place(seat) {
                    *slot = Slot { failures, ..next };
                }
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
                let text = format!("{seat} was not ready within {limit} s and was killed");
                self.commands.push_back(Command::Notice(Notice::trouble(seat, None, text)));
                self.commands.push_back(Command::Kill(seat));
            }
            State::Terminating(_) | State::Killing(_) => {
                // Only a process stuck in the kernel survives SIGKILL. Repeat it until the process
                // is gone.
                slot.ended.get_or_insert(Ended::Blameless);
                slot.state = State::Killing(now + grace);
                self.commands.push_back(Command::Kill(seat));
            }
            State::Serving | State::Stopped | State::Failed => {}
        }
    }

    /// Terminates a worker that hangs.
    pub(super) fn sampled(&mut self, now: Instant, seat: Seat, reading: &Reading, now_us: u64) {
        let deadline = now + self.config.terminate_grace;
        if reading.waiting > 0 {
            self.excuse(now, seat);
        }
        self.weigh(now, seat, reading, now_us);
        let hang = self.find_hang(now, seat, reading, now_us);
        let allowance = self.config.rss_allowance_bytes;
        let Some(slot) = self.current(seat) else { return };
        if reading.progress != slot.progress.0 {
            slot.progress = (reading.progress, now);
        }
        slot.sampled_at = Some(now);
        if let Some(allowance) = allowance {
            slot.check_size(now, reading.rss_bytes, allowance);
        }
        let Some((culprit, why)) = hang else { return };
        slot.ended.get_or_insert(Ended::Hang(culprit));
        slot.state = State::Terminating(deadline);
        let notice = Notice::trouble(seat, culprit, format!("{seat} {why}; terminating it"));
        self.commands.push_back(Command::Notice(notice));
        self.commands.push_back(Command::Terminate(seat));
        if self.is(Mutant::RequeueBeforeDeath) {
            self.hand_back(now, seat, None, &Begun::default());
        }
    }

    /// It waits for something its machine has no more of. That is not its targets' time; it gives up by
    /// itself, and says so, if that does not end.
    fn excuse(&mut self, now: Instant, seat: Seat) {
        let Some(slot) = self.current(seat) else { return };
        let since = slot.sampled_at.unwrap_or(now);
        slot.progress.1 = now;
        for deadline in slot.watches.iter_mut().filter_map(|watch| watch.deadline.as_mut()) {
            *deadline += now.duration_since(since);
        }
    }

    /// Looks for a hang: a stage that runs too long, no progress at all, or a target past its
    /// deadline. Returns the target to blame, if any, and the reason.
    fn find_hang(
        &self,
        now: Instant,
        seat: Seat,
        reading: &Reading,
        now_us: u64,
    ) -> Option<(Option<u64>, String)> {
        let slot = self.all().find(|slot| slot.seat == seat).filter(|slot| is_watched(slot))?;
        let (stage_timeout, stall_timeout) = (self.config.stage_timeout, self.config.stall_timeout);
        let moves = reading.progress != slot.progress.0;
        let in_stage = matches!(reading.phase, Phase::Extract | Phase::Encode);
        let stage_time = Duration::from_micros(now_us.saturating_sub(reading.since_us));
        // A stage may seem long only because the clock jumped.
        let listened = self.listening_since.is_none_or(|since| now.duration_since(since) > stage_timeout);
        let stood_still = if moves { Duration::ZERO } else { now.duration_since(slot.progress.1) };
        if self.is(Mutant::NoHangCheck) {
            None
        } else if in_stage && reading.target.is_some() && stage_time > stage_timeout && listened {
            let phase = reading.phase.name();
            Some((reading.target, format!("has been in one stage ({phase}) for {} s", stage_time.as_secs())))
        } else if stood_still > stall_timeout {
            Some((reading.target, format!("made no progress for {} s", stood_still.as_secs())))
        } else {
            // While the worker makes no progress at all, it is unknown which target holds it up.
            let id = self.overdue_at_last_sample(slot).filter(|_| moves)?;
            // The stage that is running now is not the one that is late.
            let runs = reading.target.filter(|_| self.is(Mutant::BlameRunningForOverdue));
            Some((runs.or(Some(id)), format!("holds input {id}, which is past its deadline")))
        }
    }

    /// Returns a target that is still held and was already past its deadline at the last sample. If
    /// the worker has made progress since, it did so without finishing this target.
    fn overdue_at_last_sample(&self, slot: &Slot) -> Option<u64> {
        let sampled_at = slot.sampled_at?;
        slot.watches
            .iter()
            .filter(|watch| self.ledger.is_at(watch.id, watch.attempt, slot.seat))
            .filter_map(|watch| Some((watch.deadline.filter(|at| *at <= sampled_at)?, watch.id)))
            .min()
            .map(|(_, id)| id)
    }
}

/// Whether this worker can hang on what it holds.
fn is_watched(slot: &Slot) -> bool {
    matches!(slot.state, State::Serving | State::Draining(_)) && slot.credit.held() > 0
}
