//! The world in virtual time: carries out the pool's commands on simulated workers, and tells the
//! pool what happens, as the runtime would.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use fastrand::Rng;
use wire::protocol::Batch;

use super::deafness::Deaf;
use super::oracle::Oracle;
use super::scenario::{Act, Deafness, Scenario, ms};
use super::worker::{Fault, Step, Worker};
use crate::frontier::{Frontier, HostRef};
use crate::load::total::Total;
use crate::pool::mutant::Mutant;
use crate::pool::{Command, Death, Event, Pool, Seat};

/// Maximum events in one run. The longest correct run takes a fraction of this.
const EVENTS_MAX: u32 = 200_000;

/// Maximum virtual time of one run, not counting the time that the scenario itself wastes.
const RUN_MAX: Duration = Duration::from_secs(6 * 3600);

/// Number of trace lines kept.
const TRACE_LINES: usize = 80;

/// A message from a worker, in sending order.
#[derive(Debug, Clone)]
pub(super) enum Message {
    Hello,
    Ready,
    Refused,
    Malformed,
    Batch(Batch),
    Eof,
}

/// A scheduled event.
#[derive(Debug, Clone)]
pub(super) enum Scheduled {
    /// A worker's message reaches the supervisor.
    Heard(Seat, Message),
    /// The kernel reports an exit.
    Exit(Seat, Death),
    /// The fork is done, or has failed.
    Forked(Seat, bool),
    /// A stale event about a dead process.
    Stale(Seat, Event),
    Step(Seat, Step),
    /// SIGKILL takes effect.
    Killed(Seat, i32),
    Act(Act),
    HearsAgain,
}

/// One run.
pub(super) struct World {
    pub(super) start: Instant,
    pub(super) now: Instant,
    pub(super) rng: Rng,
    pub(super) scenario: Scenario,
    pub(super) pool: Pool,
    pub(super) oracle: Oracle,
    pub(super) queue: BinaryHeap<Reverse<(Instant, u32)>>,
    coming: BTreeMap<u32, Scheduled>,
    events: u32,
    scheduled: u32,
    pub(super) workers: BTreeMap<Seat, Worker>,
    pub(super) deaf: Option<Deaf>,
    pub(super) unheard: VecDeque<Scheduled>,
    /// The time by which a stopped run must be over.
    pub(super) stopped_by: Option<Instant>,
    trace: Option<VecDeque<String>>,
}

impl World {
    pub(super) fn new(seed: u64, mutant: Option<Mutant>, traced: bool) -> Self {
        let start = wire::clock::now();
        let scenario = Scenario::new(seed);
        let frontier = Frontier::new(scenario.frontier.clone(), seed);
        let mut pool = Pool::new(scenario.config.clone(), frontier, start, seed);
        if let Some(room) = scenario.room {
            pool = pool.growing(Total::new(room, scenario.config.slots, start));
        }
        pool = pool.anchored(start, 1);
        pool.mutant = mutant;
        let mut world = Self {
            start,
            now: start,
            rng: Rng::with_seed(!seed),
            pool,
            oracle: Oracle::new(&scenario),
            queue: BinaryHeap::new(),
            coming: BTreeMap::new(),
            events: 0,
            scheduled: 0,
            workers: BTreeMap::new(),
            deaf: None,
            unheard: VecDeque::new(),
            stopped_by: None,
            trace: traced.then(VecDeque::new),
            scenario,
        };
        for (at, act) in world.scenario.acts.clone() {
            world.schedule(start + at, Scheduled::Act(act));
        }
        world
    }

    /// Returns the last events, for display.
    pub(super) fn take_trace(&mut self) -> String {
        let lines = self.trace.take().unwrap_or_default();
        lines.iter().map(|line| format!("  {line}\n")).collect()
    }

    pub(super) fn note(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.trace.is_some() {
            let at = self.now.duration_since(self.start).as_secs_f64();
            let line = format!("{at:10.3}  {}", line(self));
            if let Some(trace) = &mut self.trace {
                trace.push_back(line);
                if trace.len() > TRACE_LINES {
                    trace.pop_front();
                }
            }
        }
    }

    pub(super) fn schedule(&mut self, at: Instant, scheduled: Scheduled) {
        self.scheduled += 1;
        self.queue.push(Reverse((at, self.scheduled)));
        self.coming.insert(self.scheduled, scheduled);
    }

    pub(super) fn now_us(&self) -> u64 {
        // Some time after boot, as on a real machine.
        1_000_000_000 + self.now.duration_since(self.start).as_micros() as u64
    }

    /// Runs to the end; panics when an invariant breaks.
    pub(super) fn run(&mut self) {
        loop {
            self.carry_out_all();
            if self.pool.is_over() {
                break;
            }
            self.events += 1;
            assert!(self.events < EVENTS_MAX, "the run does not end");
            self.pass();
        }
        self.oracle.ending = true;
        self.nothing_follows();
        let dead = self.workers.values().all(|worker| !worker.alive);
        assert!(dead, "the run is over but a process is alive");
        let complete = self.stopped_by.is_none() && self.pool.failure().is_none();
        self.oracle.over(self.pool.counts(), self.pool.restarts(), complete, &self.scenario);
    }

    /// Processes the next scheduled event.
    fn pass(&mut self) {
        let next = self.queue.peek().map(|Reverse((at, _))| *at);
        let hears = self.deaf.as_ref().is_none_or(|deaf| deaf.kind == Deafness::Blocked);
        let due = self.pool.poll_timeout().filter(|_| hears);
        let at = next.into_iter().chain(due).min().expect("no event is left, but the run is not over");
        self.now = self.now.max(at);
        let spent = self.now.duration_since(self.start);
        assert!(spent < RUN_MAX + self.oracle.deaf_for, "the run does not end");
        assert!(self.stopped_by.is_none_or(|by| self.now <= by), "the run was stopped but goes on");
        if due == Some(at) && (next != Some(at) || self.rng.bool()) {
            self.timeout();
        } else if let Some(scheduled) = self.queue.pop().and_then(|Reverse((_, n))| self.coming.remove(&n)) {
            self.happen(scheduled);
        }
    }

    /// The pool's timer fires. The pool must not request the same instant again and again.
    pub(super) fn timeout(&mut self) {
        for _ in 0..3 {
            self.report_suspension();
            self.note(|_| "timeout".to_owned());
            self.pool.handle_timeout(self.now);
            if self.carry_out_all() || self.pool.poll_timeout().is_none_or(|at| at > self.now) {
                return;
            }
        }
        panic!("the pool requests an immediate timeout again and again, and does nothing");
    }

    pub(super) fn event(&mut self, event: Event) {
        self.note(|_| format!("→ {event:?}"));
        self.pool.handle_event(self.now, event);
    }

    pub(super) fn happen(&mut self, scheduled: Scheduled) {
        if let Some(deaf) = &self.deaf {
            let unheard = match scheduled {
                Scheduled::Heard(..) => true,
                Scheduled::Exit(..) | Scheduled::Forked(..) | Scheduled::Act(_) | Scheduled::Stale(..) => {
                    deaf.kind == Deafness::Stopped
                }
                Scheduled::Step(..) | Scheduled::Killed(..) | Scheduled::HearsAgain => false,
            };
            if unheard {
                self.unheard.push_back(scheduled);
                return;
            }
        }
        match scheduled {
            Scheduled::Heard(seat, word) => self.hear(seat, word),
            Scheduled::Exit(seat, death) => {
                self.oracle.reaped(self.now, seat, &death);
                self.event(Event::Reaped(seat, death));
            }
            Scheduled::Forked(seat, true) => self.event(Event::Spawned(seat)),
            Scheduled::Forked(seat, false) => {
                self.oracle.spawn_failed(self.now, seat);
                self.event(Event::SpawnFailed(seat, "no more processes".to_owned()));
            }
            Scheduled::Stale(seat, event) if self.oracle.is_forgotten(seat) => self.event(event),
            Scheduled::Stale(..) => {}
            Scheduled::Step(seat, step) => self.step(seat, step),
            Scheduled::Killed(seat, signal) => self.die(seat, crate::pool::Exit::Signal(signal)),
            Scheduled::Act(act) => self.act(act),
            Scheduled::HearsAgain => self.read_again(),
        }
    }

    fn hear(&mut self, seat: Seat, word: Message) {
        let event = match word {
            Message::Hello => {
                self.oracle.greeted(seat);
                Event::Hello(seat)
            }
            Message::Ready => {
                self.oracle.ready(seat);
                Event::Ready(seat)
            }
            Message::Refused => {
                self.oracle.refused = true;
                Event::Refused(seat, "it does not know this kind of job".to_owned())
            }
            Message::Malformed => Event::Malformed(seat, "a piece of a message is malformed".to_owned()),
            Message::Eof => {
                self.oracle.eof(self.now, seat);
                Event::Eof(seat)
            }
            Message::Batch(batch) => return self.hear_batch(seat, &batch),
        };
        self.event(event);
    }

    fn hear_batch(&mut self, seat: Seat, batch: &Batch) {
        self.note(|_| {
            let outcomes: Vec<_> = batch.outcomes.iter().map(|o| (o.id, &o.verdict)).collect();
            format!("→ batch of {seat}, {} slices read: {outcomes:?}", batch.slices_read)
        });
        let cap = self.scenario.frontier.retry_after_max;
        let outcomes = batch.outcomes.iter();
        let expected: Vec<_> = outcomes.map(|o| self.oracle.outcome(self.now, seat, o, cap)).collect();
        let mut dispositions = Vec::new();
        self.pool.handle_batch(self.now, seat, batch, &mut dispositions);
        assert_eq!(dispositions, expected, "a batch of {seat}");
    }

    fn act(&mut self, act: Act) {
        self.note(|_| format!("!! {act:?}"));
        let limits = &self.scenario.config;
        let slack = limits.terminate_grace * 4 + self.scenario.latency_max * 2 + Duration::from_secs(30);
        match act {
            Act::Submit(index) => self.submit(index),
            Act::SourceEnded => {
                self.oracle.source_ended();
                self.event(Event::SourceEnded);
            }
            Act::Drain => {
                self.stopped_by.get_or_insert(self.now + limits.drain_grace + slack);
                self.oracle.ending = true;
                self.event(Event::Drain);
            }
            Act::Kill => {
                let by = self.now + slack;
                self.stopped_by = Some(self.stopped_by.map_or(by, |at| at.min(by)));
                self.oracle.ending = true;
                self.event(Event::Kill);
            }
            Act::Signal(slot, signal) => self.signal_from_outside(slot, signal),
            Act::Deafness(kind, lasting) => self.stop_reading(kind, lasting),
            Act::Roll => {
                self.oracle.roll();
                self.event(Event::Roll);
            }
            Act::Grow => {
                self.oracle.grow();
                self.event(Event::Grow);
            }
            Act::Shrink => {
                let place = self.pool.idlest().unwrap();
                self.oracle.shrink(self.pool.slots[place].seat.slot);
                self.event(Event::Shrink);
            }
        }
    }

    fn submit(&mut self, index: usize) {
        let plan = &self.scenario.targets[index];
        let name = plan.host.map(|host| format!("host{host}.example"));
        let host = name.as_deref().map(|name| HostRef { name, local: false });
        self.oracle.submitted(index);
        assert!(self.pool.submit(self.now, index as u64, plan.input.clone(), Vec::new(), host));
        assert!(!self.pool.submit(self.now, index as u64, Vec::new(), Vec::new(), host), "submitted twice");
        self.pool.handle_timeout(self.now);
    }

    /// Late events about dead processes must not change a pool that is over.
    fn nothing_follows(&mut self) {
        while let Some(Reverse((at, n))) = self.queue.pop() {
            self.now = self.now.max(at);
            let Some(scheduled) = self.coming.remove(&n) else { continue };
            match scheduled {
                Scheduled::Heard(..) | Scheduled::Stale(..) | Scheduled::Exit(..) => self.happen(scheduled),
                Scheduled::Forked(..) | Scheduled::Step(..) | Scheduled::Killed(..) => {}
                Scheduled::Act(_) | Scheduled::HearsAgain => {}
            }
            assert_eq!(self.pool.poll_command(), None, "a command after the end");
        }
        assert_eq!(self.pool.poll_timeout(), None, "something is still due after the end");
    }

    /// Carries out all of the pool's commands. Returns whether there were any.
    pub(super) fn carry_out_all(&mut self) -> bool {
        let mut any = false;
        while let Some(command) = self.pool.poll_command() {
            any = true;
            if let Some(why) = self.pool.failure().map(str::to_owned) {
                self.oracle.gave_up(self.now, &why);
            }
            self.carry_out(command);
        }
        any
    }

    fn carry_out(&mut self, command: Command) {
        self.note(|_| format!("← {}", brief(&command)));
        let now = self.now;
        match command {
            Command::Spawn(seat) => self.spawn(seat),
            Command::SendJob(seat) => {
                self.oracle.job(seat);
                self.prepare(seat);
            }
            Command::SendSlice(seat, slice) => {
                if let Some(worker) = self.workers.get(&seat) {
                    self.oracle.slice(now, seat, &slice, worker, &self.scenario);
                    self.post(seat, Step::Arrived(slice));
                } else {
                    panic!("a slice for {seat}, which was never spawned");
                }
            }
            Command::SendFlush(seat) => self.oracle.flush(seat),
            Command::SendDrain(seat) => {
                self.oracle.drain(now, seat);
                self.post(seat, Step::Drain);
            }
            Command::Terminate(seat) => self.terminate(seat),
            Command::Kill(seat) => self.kill(seat),
            Command::Sample(seat) => self.sample(seat),
            Command::Forget(seat) => self.oracle.forgotten(now, seat, &self.scenario),
            Command::Quarantine(quarantined) => self.oracle.quarantined(now, &quarantined, &self.scenario),
            Command::Accept(id) => panic!("{id} is accepted, but nothing was held"),
            Command::Reject(rejected) => panic!("{} is rejected, but nothing was held", rejected.id),
            Command::Abandon(abandoned) => self.oracle.abandoned(&abandoned, &self.scenario),
            Command::Notice(notice) => assert!(!notice.text.is_empty()),
            Command::BeginSession(_) | Command::LoggedIn(_) | Command::LoginFailed(_) => {
                panic!("nothing logs in here")
            }
        }
    }

    fn sample(&mut self, seat: Seat) {
        let now_us = self.now_us();
        let worker = self.workers.get_mut(&seat).unwrap_or_else(|| panic!("{seat} was never spawned"));
        let reading = worker.reading(self.now, now_us);
        self.oracle.weighed(seat, &reading, &self.scenario);
        self.event(Event::Sampled(seat, reading, now_us));
    }

    /// Returns a random travel time.
    pub(super) fn latency(&mut self) -> Duration {
        let longest = self.scenario.latency_max.as_micros() as u64;
        Duration::from_micros(self.rng.u64(0..=longest))
    }

    /// Mostly immediate, sometimes delayed, rarely longer than every grace period.
    pub(super) fn delay(&mut self) -> Duration {
        match self.rng.u32(0..30) {
            0 => self.scenario.config.terminate_grace * 3,
            1..=4 => ms(self.rng.u64(0..3000)),
            _ => ms(self.rng.u64(0..5)),
        }
    }

    pub(super) fn spawn_fault(&mut self) -> Fault {
        Fault::draw(&mut self.rng, &self.scenario)
    }
}

/// Formats a command on one line, without the bytes of its inputs.
fn brief(command: &Command) -> String {
    match command {
        Command::SendSlice(seat, slice) => {
            let targets: Vec<_> = slice.targets.iter().map(|t| (t.id, t.attempt)).collect();
            format!("SendSlice({seat}, (id, attempt): {targets:?})")
        }
        Command::Quarantine(q) => format!("Quarantine({}, {} attempts: {})", q.id, q.attempts, q.message),
        Command::Spawn(_)
        | Command::SendJob(_)
        | Command::SendFlush(_)
        | Command::SendDrain(_)
        | Command::Terminate(_)
        | Command::Kill(_)
        | Command::Sample(_)
        | Command::Forget(_)
        | Command::Accept(_)
        | Command::Reject(_)
        | Command::Abandon(_)
        | Command::Notice(_)
        | Command::BeginSession(_)
        | Command::LoggedIn(_)
        | Command::LoginFailed(_) => format!("{command:?}"),
    }
}
