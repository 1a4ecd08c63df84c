//! Keeps the program going: gives it lines, takes its answers, and watches its
//! timeouts. One thread and one `poll`, so that neither side can hold up the other.
//!
//! Many lines are with the program at once. The unanswered lines are limited, and so are
//! the waiting ones: a program that does not read stops the intake, a supervisor that
//! does not read stops the answers.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use shared::black_box::BlackBox;
use shared::clock;
use shared::encoder::Encoder;
use shared::job::MapSpec;

use super::Map;
use super::caution::Caution;
use super::child::{self, Child};
use super::complaints::Complaints;
use super::intake::{Item, Signal, Taker};
use super::life::{Killed, Life, Reading};
use super::queue::{Block, Queue};
use super::records::Records;
use crate::outbox::Voice;
use crate::shortage::Shortage;

/// Bytes that may wait here before no more is taken in; one line may be larger.
const QUEUE_BYTES_MAX: usize = 8 << 20;

/// Bytes that the program may have been given and not answered; one line may be larger.
const UNANSWERED_BYTES_MAX: usize = 1 << 20;

/// Lines put together for one write.
const OUTGOING_BYTES: usize = 128 * 1024;

/// How long a program that has read everything may be silent before it seems to hold answers back until more
/// input comes. Then its input is ended, which makes it give them. A program that took longer to start is given
/// that long, so that it never spends most of its time starting.
const PATIENCE: Duration = Duration::from_millis(250);

/// The same while it is given a few lines at a time, because each round may take this long.
const PATIENCE_WHEN_CAUTIOUS: Duration = Duration::from_millis(50);

/// Time between two attempts to start the program while the machine lacks descriptors, memory or processes.
const STARVED_DELAY: Duration = Duration::from_millis(200);

/// Longest time for such attempts.
const STARVED_MAX: Duration = Duration::from_secs(30);

/// How long a batch waits to be full while more may come.
const BATCH_LINGER: Duration = Duration::from_millis(250);

/// Longest time a program may take to end after its input, and to give the answers that it held back.
const END_GRACE: Duration = Duration::from_secs(5);

/// While a program has this many lines to answer, and answers some, it is left alone for [`REST`]:
/// a wake-up for every few answers would cost more than the answers.
const BUSY_LINES: usize = 512;

/// See [`BUSY_LINES`]: answers read at once. A program that answers one by one is read one by one.
const SOME_LINES: u64 = 16;

/// See [`BUSY_LINES`]. A pipe holds several times what the fastest program does in it.
const REST: Duration = Duration::from_millis(2);

/// How often the driver shows in the black box that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Keeps one program going.
pub(crate) struct Driver {
    pub(super) spec: MapSpec,
    environment: Vec<(OsString, OsString)>,
    pub(super) job_started_us: u64,
    pub(super) taker: Taker,
    pub(super) signal: Signal,
    pub(super) voice: Voice,
    pub(super) black_box: Arc<BlackBox>,
    pub(super) queue: Queue,
    pub(super) records: Records,
    pub(super) caution: Caution,
    pub(super) life: Option<Life>,
    /// When the next process may be started.
    pub(super) start_at: Instant,
    /// Since when none could be started, for lack of a descriptor, memory or a process.
    starved_since: Option<Instant>,
    /// Since when the first unanswered line is the first, and with the program.
    pub(super) first_since: Instant,
    /// How long the last process took to take its first line.
    startup: Option<Duration>,
    /// Since when a batch waits to be full.
    batch_since: Option<Instant>,
    buffer: Vec<u8>,
    /// Whether the program can be left alone for a moment.
    rests: bool,
    /// Whether it may be dead.
    ends: bool,
    /// Why this cannot go on.
    pub(super) failure: Option<String>,
    /// Sentences that were said: once is enough.
    pub(super) said: Vec<&'static str>,
}

impl Driver {
    pub(super) fn new(map: &Map, taker: Taker, voice: Voice, black_box: Arc<BlackBox>) -> Self {
        let now = clock::now();
        Self {
            spec: map.spec.clone(),
            environment: map.environment.clone(),
            job_started_us: map.job_started_us,
            taker,
            signal: Signal::default(),
            voice,
            black_box,
            queue: Queue::default(),
            records: Records { slot: map.slot, raw: map.spec.raw, encoder: Encoder::new(&map.encoding) },
            caution: Caution::new(map.spec.retries),
            life: None,
            start_at: now,
            starved_since: None,
            first_since: now,
            startup: None,
            batch_since: None,
            buffer: Vec::new(),
            rests: false,
            ends: false,
            failure: None,
            said: Vec::new(),
        }
    }

    /// Runs until the intake is closed and everything in it has its record, or the program is of no use.
    pub(crate) fn run(mut self) {
        loop {
            self.settle();
            // First: the program may have exited right after a surplus line.
            if let Some(why) = self.failure.take() {
                self.voice.give_up(why);
                return;
            }
            if self.signal.closed && self.queue.is_empty() && self.life.is_none() {
                return;
            }
            self.tend(clock::now());
            if self.failure.is_some() {
                continue;
            }
            self.wait(clock::now());
            self.hear(clock::now());
            self.black_box.advance();
            self.black_box.set_in_flight(self.queue.unanswered() as u64);
        }
    }

    fn take_in(&mut self) {
        let (items, signal) = self.taker.take();
        self.signal = signal;
        for item in items {
            self.queue.push(match item {
                Item::Lines(target) => Block::of_lines(target),
                Item::Record(outcome, line, begun) => Block::of_record(outcome, line, begun),
            });
        }
        if signal.draining {
            self.queue.drop_unbegun();
        }
    }

    /// Does what is due: starts, gives, ends, kills.
    fn tend(&mut self, now: Instant) {
        if self.life.is_none() && self.queue.has_next() && self.start_at <= now {
            self.start(now);
        }
        let Some(mut life) = self.life.take() else { return };
        if life.is_open() {
            self.give(&mut life, now);
        }
        if life.is_open() && life.is_written() && self.is_to_end(&life, now) {
            life.end_input(now);
        }
        self.mind_time(&mut life, now);
        self.life = Some(life);
    }

    fn start(&mut self, now: Instant) {
        let started = Child::start(&self.spec, &self.environment, self.records.slot)
            .and_then(|(child, stderr)| Ok((child, Complaints::of(stderr, self.voice.clone())?)));
        match started {
            Ok((child, complaints)) => {
                self.starved_since = None;
                let mut life = Life::new(child, complaints, now);
                life.proving = self.caution.proves();
                self.life = Some(life);
            }
            // The limit on processes or descriptors is reached; others will end.
            Err(error) if self.starves(&error, now) => self.start_at = now + STARVED_DELAY,
            Err(error) => {
                self.failure = Some(format!("cannot start {}: {error}", child::shown(&self.spec.command)));
            }
        }
    }

    /// Whether it could not be started because of a shortage that may still pass.
    fn starves(&mut self, error: &std::io::Error, now: Instant) -> bool {
        let is_short = Shortage::of(error).is_some() || error.kind() == std::io::ErrorKind::WouldBlock;
        is_short && now.duration_since(*self.starved_since.get_or_insert(now)) < STARVED_MAX
    }

    /// How many lines it may be given now.
    fn allowance(&mut self, life: &Life, now: Instant) -> usize {
        let unanswered = self.queue.unanswered();
        if life.proving || self.caution.proves() {
            return usize::from(life.proving && life.given == 0);
        }
        let most = self.spec.in_flight_max.map_or(usize::MAX, |most| most.get() as usize);
        if let Some(limit) = self.caution.limit() {
            return if unanswered == 0 { limit.min(most) } else { 0 };
        }
        let Some(batch) = self.spec.batch else { return most.saturating_sub(unanswered) };
        if unanswered > 0 || !self.queue.has_next() {
            self.batch_since = None;
            return 0;
        }
        let since = *self.batch_since.get_or_insert(now);
        let full = self.queue.has_lines(batch.get() as usize);
        let waits =
            !full && !self.signal.flush && !self.signal.closed && now.duration_since(since) < BATCH_LINGER;
        if waits { 0 } else { batch.get() as usize }
    }

    fn give(&mut self, life: &mut Life, now: Instant) {
        let mut allowance = self.allowance(life, now);
        let waited = self.queue.unanswered() == 0;
        let now_us = clock::monotonic_us();
        while allowance > 0
            && life.outgoing().len() < OUTGOING_BYTES
            && (self.queue.unanswered_bytes() < UNANSWERED_BYTES_MAX || self.queue.unanswered() == 0)
            && self.queue.write_next(now_us, life.outgoing())
        {
            allowance -= 1;
            life.given += 1;
        }
        if waited && self.queue.unanswered() > 0 {
            self.first_since = now;
        }
        life.write(now);
    }

    /// Whether its input is to be ended: because nothing more comes, or to make it give what it keeps back.
    fn is_to_end(&mut self, life: &Life, now: Instant) -> bool {
        if life.proving {
            return life.given > 0;
        }
        // A line that is judged by itself needs a process of its own.
        if self.caution.proves() {
            return true;
        }
        let more = self.queue.has_next();
        if (self.signal.closed || self.signal.flush) && !more {
            return true;
        }
        let stuck = self.queue.unanswered() > 0 && self.stuck_at(life).is_some_and(|at| at <= now);
        if !stuck || life.is_prompt() || life.silent_for(now).is_none() {
            return false;
        }
        let startup = *self.startup.get_or_insert(now.duration_since(life.started));
        now.duration_since(life.stirred) >= startup
    }

    /// When it will have been silent for too long, if it says nothing and can be given nothing.
    fn stuck_at(&self, life: &Life) -> Option<Instant> {
        let patience = if self.caution.limit().is_some() { PATIENCE_WHEN_CAUTIOUS } else { PATIENCE };
        let patience = patience.max(self.startup.unwrap_or_default());
        (life.is_open() && life.is_written() && !life.is_prompt()).then(|| life.stirred + patience)
    }

    /// Longest time for the answers that come only when the input ends.
    fn grace(&self) -> Duration {
        END_GRACE.min(self.spec.timeout)
    }

    fn mind_time(&self, life: &mut Life, now: Instant) {
        if life.killed.is_some() {
            return;
        }
        if self.queue.unanswered() == 0 {
            if life.ending.is_some_and(|since| since + END_GRACE <= now) {
                life.kill(Killed::Lingers);
            }
            return;
        }
        if self.overdue_at(life) > now {
            return;
        }
        // The end of the input would make a whole line of half a line in its pipe.
        if life.ending.is_none() && life.is_written() {
            life.end_input(now);
        } else {
            life.kill(Killed::Silent);
        }
    }

    /// When the next step against its silence is due.
    fn overdue_at(&self, life: &Life) -> Instant {
        let due = self.first_since + self.spec.timeout;
        life.ending.map_or(due, |since| due.max(since + self.grace()))
    }

    /// When something is due, at the latest.
    fn due(&mut self, now: Instant) -> Instant {
        let heartbeat = now + HEARTBEAT;
        let Some(life) = &self.life else {
            return if self.queue.has_next() { self.start_at.min(heartbeat) } else { heartbeat };
        };
        let mut due = heartbeat;
        if self.queue.unanswered() > 0 {
            due = due.min(self.overdue_at(life));
            if let Some(stuck) = self.stuck_at(life) {
                // If it has not read everything by then, look again after a while.
                due = due.min(stuck.max(now + PATIENCE_WHEN_CAUTIOUS));
            }
        } else if let Some(since) = life.ending {
            due = due.min(since + END_GRACE);
        }
        if let Some(since) = self.batch_since {
            due = due.min(since + BATCH_LINGER);
        }
        due
    }

    /// Sleeps until something happens or is due.
    fn wait(&mut self, now: Instant) {
        if let Some(exit) = self.life.as_ref().and_then(|life| life.child.exit()).filter(|_| self.rests) {
            let rest = u8::try_from(REST.as_millis()).unwrap_or(u8::MAX);
            self.ends = poll(&mut [PollFd::new(exit, PollFlags::POLLIN)], PollTimeout::from(rest)) != Ok(0);
            if self.queue.bytes() < QUEUE_BYTES_MAX {
                self.take_in();
            }
            return;
        }
        let sleep = self.due(now).saturating_duration_since(now);
        // Rather a millisecond late than early again and again.
        let sleep = u16::try_from(sleep.as_millis() + u128::from(!sleep.is_zero())).unwrap_or(u16::MAX);
        // Nothing follows the close, and a pipe whose other end is gone is always readable.
        let takes = self.queue.bytes() < QUEUE_BYTES_MAX && !self.signal.closed;
        let mut fds = Vec::with_capacity(4);
        let exit = self.life.as_ref().and_then(|life| life.child.exit());
        fds.extend(exit.map(|exit| PollFd::new(exit, PollFlags::POLLIN)));
        if takes {
            fds.push(PollFd::new(self.taker.woken(), PollFlags::POLLIN));
        }
        if let Some(life) = &self.life {
            if !life.mute {
                fds.push(PollFd::new(life.child.output(), PollFlags::POLLIN));
            }
            let input = life.child.input().filter(|_| !life.is_written());
            fds.extend(input.map(|input| PollFd::new(input, PollFlags::POLLOUT)));
        }
        // Interrupted or not, everything is looked at next.
        let _ = poll(&mut fds, PollTimeout::from(sleep));
        let happened =
            |fd: Option<&PollFd<'_>>| fd.and_then(PollFd::revents).is_some_and(|events| !events.is_empty());
        let woken = takes && happened(fds.get(usize::from(exit.is_some())));
        // Where its end cannot be polled, look for it every time.
        let ends = exit.is_none() || happened(fds.first());
        drop(fds);
        self.ends = ends;
        if woken {
            self.take_in();
        }
    }

    /// Takes in what the program writes, and its end.
    fn hear(&mut self, now: Instant) {
        let Some(mut life) = self.life.take() else { return };
        // Looked at first: everything that it wrote before its end is there then.
        let status = if self.ends { life.child.try_reap() } else { None };
        let before = life.answered;
        let mut buffer = std::mem::take(&mut self.buffer);
        // Its output is read to the end only when nothing can follow.
        while !life.mute {
            match life.read(&mut buffer, now, |life, line| self.on_line(life, line, now)) {
                Reading::End => life.mute = true,
                Reading::More => {}
                Reading::Later => break,
            }
            if status.is_none() {
                break;
            }
        }
        self.buffer = buffer;
        self.accept_batch(&mut life, now);
        let lines = life.answered - before;
        self.rests = lines >= SOME_LINES && self.queue.unanswered() >= BUSY_LINES;
        if life.stirred == now {
            // Delivering its answers may have taken a while, in which it was not read.
            life.stirred = clock::now();
        }
        match status {
            Some(status) => self.ended(life, status, now),
            None => {
                if life.mute && life.ending.is_none() {
                    // Without an output it is of no use; wait for its end as for any other.
                    life.end_input(now);
                }
                self.life = Some(life);
            }
        }
    }
}
