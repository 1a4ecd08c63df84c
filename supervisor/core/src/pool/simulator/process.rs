//! What simulated processes do: start, work on their targets, misbehave, and end.

use std::time::Duration;

use nix::libc;
use wire::black_box::Begun;
use wire::protocol::{Batch, Outcome, Slice, Target, Verdict};
use wire::record::ErrorKind;

use super::scenario::{Behaviour, ms};
use super::worker::{Fault, Step, Worker};
use super::world::{Message, Scheduled, World};
use crate::pool::{Death, Event, Exit, Seat};

impl World {
    pub(super) fn spawn(&mut self, seat: Seat) {
        let now = self.now;
        self.oracle.spawn(now, seat, &self.scenario);
        let fault = self.spawn_fault();
        let ignores_sigterm = self.rng.u32(0..6) == 0;
        self.note(|_| format!("   {seat}: {fault:?}, ignores SIGTERM: {ignores_sigterm}"));
        let mut worker = Worker::new(seat, fault, ignores_sigterm, self.scenario.growth_bytes, now);
        worker.alive = fault != Fault::CannotStart;
        self.workers.insert(seat, worker);
        // The runtime forks at once and reports it at once.
        self.happen(Scheduled::Forked(seat, fault != Fault::CannotStart));
        let handshake_ms = self.scenario.config.handshake_timeout.as_millis() as u64;
        if matches!(fault, Fault::CannotStart | Fault::NeverGreets) {
            return;
        }
        let greets_within = if fault == Fault::StartsSlowly { handshake_ms * 2 } else { 20 };
        let greets_after = ms(self.rng.u64(0..greets_within));
        let misbehaves_after =
            if fault == Fault::DiesBeforeHello { Some(greets_after) } else { fault.comes_after() };
        if let Some(after) = misbehaves_after {
            self.schedule(now + after, Scheduled::Step(seat, Step::Misbehave));
        }
        self.schedule(now + greets_after, Scheduled::Step(seat, Step::Greet));
    }

    /// The worker gets its job.
    pub(super) fn prepare(&mut self, seat: Seat) {
        let preparing = ms(self.rng.u64(0..20));
        let at = self.now + self.latency() + preparing;
        self.schedule(at, Scheduled::Step(seat, Step::Prepared));
    }

    /// Sends a message to a worker. All messages take equally long, so the channel keeps their
    /// order.
    pub(super) fn post(&mut self, seat: Seat, step: Step) {
        self.schedule(self.now + self.scenario.latency_max / 2, Scheduled::Step(seat, step));
    }

    fn say(&mut self, seat: Seat, word: Message) {
        let at = self.now + self.latency();
        let Some(worker) = self.workers.get_mut(&seat) else { return };
        let at = at.max(worker.last_word_at);
        worker.last_word_at = at;
        self.schedule(at, Scheduled::Heard(seat, word));
    }

    pub(super) fn step(&mut self, seat: Seat, step: Step) {
        let Some(worker) = self.workers.get_mut(&seat).filter(|worker| worker.alive && !worker.stands_still)
        else {
            return;
        };
        match step {
            Step::Greet if worker.fault == Fault::SkipsHello => self.say(seat, Message::Ready),
            Step::Greet => self.say(seat, Message::Hello),
            Step::Prepared => self.prepared(seat),
            Step::Arrived(slice) => {
                worker.unread.push_back(slice);
                if worker.fault == Fault::ReadsSlowly {
                    self.schedule(self.now + ms(500), Scheduled::Step(seat, Step::Read));
                } else {
                    self.read(seat);
                }
            }
            Step::Read => self.read(seat),
            Step::Drain => {
                worker.draining = true;
                worker.inbox.clear();
                worker.unread.clear();
                self.go_on(seat);
            }
            Step::Waited(id) => self.waited(seat, id),
            Step::StageEnds(id) => self.stage_ends(seat, id),
            Step::Crash => self.crash(seat),
            Step::Flush => self.flush(seat),
            Step::Misbehave => self.misbehave(seat),
        }
    }

    fn prepared(&mut self, seat: Seat) {
        let fault = self.workers[&seat].fault;
        if fault == Fault::DiesBeforeReady {
            self.die(seat, Exit::Code(1));
        } else if fault == Fault::Refuses {
            self.say(seat, Message::Refused);
        } else if fault != Fault::NeverReady {
            self.say(seat, Message::Ready);
        }
    }

    fn read(&mut self, seat: Seat) {
        let Some(worker) = self.workers.get_mut(&seat) else { return };
        if let Some(Slice { targets }) = worker.unread.pop_front() {
            worker.slices_read += 1;
            self.oracle.slice_read(seat);
            worker.inbox.extend(targets);
            // The credit is returned with the next batch.
            self.schedule(self.now + ms(2), Scheduled::Step(seat, Step::Flush));
            self.go_on(seat);
        }
    }

    /// Begins the targets it has room for, and ends when it was drained and nothing is left.
    fn go_on(&mut self, seat: Seat) {
        let concurrency = self.scenario.config.concurrency as usize;
        let Some(worker) = self.workers.get_mut(&seat) else { return };
        let mut begun = Vec::new();
        while worker.running.len() < concurrency
            && let Some(target) = worker.inbox.pop_front()
        {
            begun.push(target.id);
            worker.running.push(target);
        }
        let finished = worker.draining && worker.running.is_empty();
        for id in begun {
            let at = self.now + self.scenario.targets[id as usize].wait;
            self.schedule(at, Scheduled::Step(seat, Step::Waited(id)));
        }
        if finished {
            self.flush(seat);
            self.die(seat, Exit::Code(0));
        }
    }

    fn waited(&mut self, seat: Seat, id: u64) {
        let behaviour = self.scenario.targets[id as usize].behaviour;
        let now = self.now;
        let Some(worker) = self.workers.get_mut(&seat) else { return };
        match behaviour {
            Behaviour::GetsLost => {
                worker.lost.insert(id);
                worker.hung_since.get_or_insert(now);
            }
            Behaviour::CrashesUnseen if worker.stage.is_none() => self.die(seat, Exit::Signal(libc::SIGSEGV)),
            Behaviour::Good | Behaviour::Crashes(_) | Behaviour::Hangs | Behaviour::CrashesUnseen => {
                worker.stage_queue.push_back(id);
                self.next_stage(seat);
            }
        }
    }

    fn next_stage(&mut self, seat: Seat) {
        let now = self.now;
        let Some(worker) = self.workers.get_mut(&seat).filter(|worker| worker.stage.is_none()) else {
            return;
        };
        let Some(id) = worker.stage_queue.pop_front() else { return };
        worker.stage = Some((id, now));
        worker.stages += 1;
        worker.progress += 1;
        let (fault, stages) = (worker.fault, worker.stages);
        let plan = &self.scenario.targets[id as usize];
        let (behaviour, stage) = (plan.behaviour, plan.stage);
        let crashes = matches!(behaviour, Behaviour::Crashes(_) | Behaviour::CrashesUnseen)
            || fault == Fault::CrashesInStage(stages) && self.oracle.may_hit(id, &self.scenario);
        let hangs = behaviour == Behaviour::Hangs
            || fault == Fault::HangsInStage(stages) && self.oracle.may_hit(id, &self.scenario);
        let next = if crashes { Step::Crash } else { Step::StageEnds(id) };
        if !hangs {
            self.schedule(now + stage, Scheduled::Step(seat, next));
        } else if let Some(worker) = self.workers.get_mut(&seat) {
            worker.loops = true;
            worker.hung_since.get_or_insert(now);
        }
    }

    fn crash(&mut self, seat: Seat) {
        let named = self.workers[&seat].stage.map(|(id, _)| self.scenario.targets[id as usize].behaviour);
        match named {
            Some(Behaviour::Crashes(exit)) => self.die(seat, exit),
            _ => self.die(seat, Exit::Signal(libc::SIGSEGV)),
        }
    }

    fn stage_ends(&mut self, seat: Seat, id: u64) {
        let Some(worker) = self.workers.get_mut(&seat) else { return };
        worker.stage = None;
        worker.progress += 1;
        let Some(at) = worker.running.iter().position(|target| target.id == id) else { return };
        let target = worker.running.remove(at);
        let plan = &self.scenario.targets[id as usize];
        worker.unsent.push(outcome(&target, plan.failing, plan.retry_after));
        if worker.fault == Fault::DiesBeforeBatch(worker.stages) {
            self.die(seat, Exit::Signal(libc::SIGSEGV));
            return;
        }
        let linger = ms(self.rng.u64(0..=2));
        self.schedule(self.now + linger, Scheduled::Step(seat, Step::Flush));
        self.next_stage(seat);
        self.go_on(seat);
    }

    fn flush(&mut self, seat: Seat) {
        let Some(worker) = self.workers.get_mut(&seat).filter(|worker| worker.alive && !worker.said_eof)
        else {
            return;
        };
        let mut slices_read = worker.slices_read;
        let named = worker.stage.map(|(id, _)| id);
        if worker.fault == Fault::ClaimsTooMuch
            && named.is_none_or(|id| self.oracle.may_hit(id, &self.scenario))
        {
            slices_read += 1_000;
            worker.broke_off = true;
            worker.forge(self.now);
        } else if worker.fault == Fault::ClaimsNothing {
            slices_read = 0;
        }
        let outcomes = std::mem::take(&mut worker.unsent);
        self.say(seat, Message::Batch(Batch { slices_read, outcomes, lines: Vec::new() }));
    }

    fn misbehave(&mut self, seat: Seat) {
        let now = self.now;
        let named = self.workers[&seat].stage.map(|(id, _)| id);
        let fault = self.workers[&seat].fault;
        let blamable = !matches!(fault, Fault::ClosesItsChannelAfter(_));
        if blamable && named.is_some_and(|id| !self.oracle.may_hit(id, &self.scenario)) {
            self.schedule(now + ms(10), Scheduled::Step(seat, Step::Misbehave));
            return;
        }
        let Some(worker) = self.workers.get_mut(&seat) else { return };
        if fault == Fault::DiesBeforeHello {
            self.die(seat, Exit::Signal(libc::SIGABRT));
        } else if matches!(fault, Fault::DiesAfter(_)) {
            self.die(seat, Exit::Signal(libc::SIGKILL));
        } else if matches!(fault, Fault::EndsCleanlyAfter(_)) {
            self.die(seat, Exit::Code(0));
        } else if matches!(fault, Fault::StandsStillAfter(_)) {
            worker.stand_still(now);
        } else if matches!(fault, Fault::GarblesAfter(_)) {
            worker.forge(now);
            self.say(seat, Message::Malformed);
            self.break_off(seat);
        } else {
            self.break_off(seat);
        }
    }

    /// Closes its side of the channel; the process lives on.
    fn break_off(&mut self, seat: Seat) {
        self.say(seat, Message::Eof);
        if let Some(worker) = self.workers.get_mut(&seat) {
            (worker.broke_off, worker.said_eof) = (true, true);
        }
    }

    pub(super) fn terminate(&mut self, seat: Seat) {
        self.order_to_end(seat, false);
        let worker = &self.workers[&seat];
        if !worker.stands_still && !worker.ignores_sigterm {
            self.signal_after_a_moment(seat, libc::SIGTERM);
        }
    }

    pub(super) fn kill(&mut self, seat: Seat) {
        self.order_to_end(seat, true);
        self.signal_after_a_moment(seat, libc::SIGKILL);
    }

    fn order_to_end(&mut self, seat: Seat, hard: bool) {
        let worker = self.workers.get(&seat).unwrap_or_else(|| panic!("{seat} was never spawned"));
        self.oracle.end(self.now, seat, hard, worker, &self.scenario);
    }

    fn signal_after_a_moment(&mut self, seat: Seat, signal: i32) {
        let at = self.now + self.delay();
        self.schedule(at, Scheduled::Killed(seat, signal));
    }

    pub(super) fn signal_from_outside(&mut self, slot: u32, signal: i32) {
        let Some(worker) =
            self.workers.values().rev().find(|worker| worker.seat.slot == slot && worker.alive)
        else {
            return;
        };
        let (seat, named) = (worker.seat, worker.stage.map(|(id, _)| id));
        if signal != libc::SIGKILL && worker.stands_still {
            return;
        }
        // SIGTERM by itself blames no target. But if the exit is reported late, it looks like a
        // hang.
        if named.is_none_or(|id| self.oracle.may_hit(id, &self.scenario)) {
            self.die(seat, Exit::Signal(signal));
        }
    }

    /// The process ends. Its last messages still arrive, then the end of its channel. Its exit is
    /// reported before or after that, and sometimes a dead process is reported again.
    pub(super) fn die(&mut self, seat: Seat, exit: Exit) {
        let (now, now_us) = (self.now, self.now_us());
        let Some(worker) = self.workers.get_mut(&seat).filter(|worker| worker.alive) else { return };
        worker.alive = false;
        let reading = worker.reading(now, now_us);
        let said_eof = std::mem::replace(&mut worker.said_eof, true);
        self.note(|_| format!("   {seat} ends: {exit}"));
        let death = Death { exit, reading, begun: Begun::default(), stderr: "its last output\n".to_owned() };
        let reaped_at = now + self.delay();
        self.schedule(reaped_at, Scheduled::Exit(seat, death.clone()));
        // A grandchild may hold the channel open for ever.
        let never = self.rng.u32(0..60) == 0;
        if !said_eof && !never {
            let delay = self.delay();
            let at = self.workers[&seat].last_word_at.max(now + delay);
            self.schedule(at, Scheduled::Heard(seat, Message::Eof));
        }
        if self.rng.u32(0..3) == 0 {
            let again_at = reaped_at + ms(self.rng.u64(0..2));
            self.schedule(again_at, Scheduled::Exit(seat, death));
        }
        self.send_stale(seat);
    }

    /// Sends stale events. If they come late enough, their generation was replaced long ago.
    fn send_stale(&mut self, seat: Seat) {
        if self.rng.u32(0..3) > 0 {
            return;
        }
        let wait =
            self.scenario.config.terminate_grace * 4 + Duration::from_secs(1) + ms(self.rng.u64(0..8000));
        let at = self.now + wait + self.scenario.latency_max * 4;
        let held = self.workers[&seat].running.iter();
        let outcomes: Vec<_> = held.map(|target| outcome(target, 0, None)).collect();
        self.schedule(
            at,
            Scheduled::Heard(seat, Message::Batch(Batch { slices_read: 1, outcomes, lines: Vec::new() })),
        );
        self.schedule(at, Scheduled::Heard(seat, Message::Eof));
        let ghost = match self.rng.u32(0..6) {
            0 => Event::Hello(seat),
            1 => Event::Ready(seat),
            2 => Event::Malformed(seat, "late".to_owned()),
            3 => Event::SpawnFailed(seat, "late".to_owned()),
            4 => Event::Spawned(seat),
            _ => Event::Refused(seat, "late".to_owned()),
        };
        self.schedule(at, Scheduled::Stale(seat, ghost));
    }
}

fn outcome(target: &Target, failing: u32, retry_after: Option<Duration>) -> Outcome {
    // Deaths count as attempts too, so a target that fails often may succeed sooner. That is fine.
    let fails = target.attempt <= failing;
    let verdict = match (fails, target.may_retry) {
        (true, true) => Verdict::Retry { kind: ErrorKind::Timeout },
        (true, false) => Verdict::Failed(ErrorKind::Timeout),
        (false, _) => Verdict::Ok,
    };
    Outcome {
        id: target.id,
        verdict,
        bytes: 0,
        started_us: 0,
        elapsed_us: 0,
        cpu_us: 0,
        endings: None,
        reply: None,
        retry_after_ms: retry_after.filter(|_| fails).map(|after| after.as_millis() as u64),
        exit_use: None,
        over_budget: false,
        session: None,
        line_bytes: 0,
        found_bytes: 0,
        note_bytes: 0,
    }
}
