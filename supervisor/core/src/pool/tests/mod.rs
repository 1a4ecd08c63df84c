//! Tests of the pool through its public interface, in virtual time: one guarantee each.

mod blaming;
mod dispatching;
mod ending;
mod exits;
mod growing;
mod hosts;
mod logging_in;
mod piping;
mod recycling;
mod repeating;
mod settling;
mod watching;

use nix::libc;
use wire::black_box::{Begun, Phase, Reading};
use wire::protocol::{Batch, Endings, Outcome, Verdict};
use wire::record::ErrorKind;

use super::*;
use crate::frontier::FrontierConfig;
use crate::frontier::{PerHost, Politeness};

const SECOND: Duration = Duration::from_secs(1);

fn limits() -> PoolConfig {
    PoolConfig {
        slots: 1,
        concurrency: 1,
        ahead: Ahead::default(),
        piped: false,
        retries: 2,
        crashes_max: 3,
        handshake_timeout: 5 * SECOND,
        stall_timeout: 20 * SECOND,
        stage_timeout: 10 * SECOND,
        target_timeout: 30 * SECOND,
        drain_grace: 15 * SECOND,
        terminate_grace: 2 * SECOND,
        recycle_after: None,
        rss_allowance_bytes: None,
        settles: false,
    }
}

/// A change applied to a rig.
type Act = fn(&mut Rig);

/// A pool, its clock, and the commands since they were last taken.
struct Rig {
    pool: Pool,
    now: Instant,
    asked: Vec<Command>,
}

impl Rig {
    fn new(limits: PoolConfig) -> Self {
        let now = wire::clock::now();
        let politeness = Politeness {
            per_host: PerHost::Unlimited,
            rate_per_s: None,
            delay: None,
            obeys_robots: false,
            retries: 2,
        };
        let frontier = Frontier::new(FrontierConfig::from(&politeness), 1);
        Self { pool: Pool::new(limits, frontier, now, 1), now, asked: Vec::new() }
    }

    /// Starts a pool with all workers ready and `targets` targets submitted.
    fn serving(limits: PoolConfig, targets: u64) -> Self {
        let mut rig = Self::new(limits);
        rig.submit(0..targets);
        for slot in 0..rig.pool.config.slots {
            rig.up(seat(slot, 1));
        }
        rig
    }

    fn submit(&mut self, ids: std::ops::Range<u64>) {
        for id in ids {
            assert!(self.pool.submit(self.now, id, format!("input {id}").into_bytes(), Vec::new(), None));
        }
        self.pool.handle_timeout(self.now);
        self.listen();
    }

    fn up(&mut self, seat: Seat) {
        for event in [Event::Spawned(seat), Event::Hello(seat), Event::Ready(seat)] {
            self.tell(event);
        }
    }

    fn tell(&mut self, event: Event) {
        self.pool.handle_event(self.now, event);
        self.listen();
    }

    fn listen(&mut self) {
        self.asked.extend(std::iter::from_fn(|| self.pool.poll_command()));
    }

    /// Lets time pass; the worker's black box, when sampled, returns `read`.
    fn pass(&mut self, time: Duration, mut read: impl FnMut(u64) -> Reading) {
        let until = self.now + time;
        while let Some(due) = self.pool.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.pool.handle_timeout(self.now);
            let before = self.asked.len();
            self.listen();
            for command in self.asked.split_off(before) {
                if let Command::Sample(seat) = command {
                    let now_us = self.now_us(until, time);
                    self.pool.handle_event(self.now, Event::Sampled(seat, read(now_us), now_us));
                    self.listen();
                } else {
                    self.asked.push(command);
                }
            }
        }
        self.now = until;
    }

    /// Microseconds since this pool began, on a clock that began an hour earlier.
    fn now_us(&self, until: Instant, time: Duration) -> u64 {
        3_600_000_000 + (time - (until - self.now)).as_micros() as u64
    }

    fn returns(&mut self, seat: Seat, ids: &[u64], verdict: &Verdict) -> Vec<Disposition> {
        let outcomes = ids.iter().map(|id| outcome(*id, verdict)).collect();
        let batch = Batch { slices_read: 0, outcomes, lines: Vec::new() };
        let mut dispositions = Vec::new();
        self.pool.handle_batch(self.now, seat, &batch, &mut dispositions);
        self.listen();
        dispositions
    }

    fn dies(&mut self, seat: Seat, exit: Exit, target: Option<u64>, stderr: &str) {
        let death =
            Death { exit, reading: reading(9, target), begun: Begun::default(), stderr: stderr.to_owned() };
        self.tell(Event::Eof(seat));
        self.tell(Event::Reaped(seat, death));
    }

    /// Takes the commands since the last call.
    fn asked(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.asked)
    }

    /// Takes the ids (and attempts) given to each slot since the last call.
    fn given(&mut self) -> Vec<(u32, Vec<(u64, u32)>)> {
        let slice = |command| {
            let Command::SendSlice(seat, slice) = command else { return None };
            Some((seat.slot, slice.targets.iter().map(|t| (t.id, t.attempt)).collect()))
        };
        self.asked().into_iter().filter_map(slice).collect()
    }

    fn notices(&mut self) -> Vec<String> {
        let notice = |command| if let Command::Notice(notice) = command { Some(notice.text) } else { None };
        self.asked().into_iter().filter_map(notice).collect()
    }
}

fn outcome(id: u64, verdict: &Verdict) -> Outcome {
    Outcome {
        id,
        verdict: verdict.clone(),
        bytes: 0,
        started_us: 0,
        elapsed_us: 0,
        cpu_us: 0,
        endings: None,
        reply: None,
        retry_after_ms: None,
        exit_use: None,
        over_budget: false,
        session: None,
        line_bytes: 0,
        found_bytes: 0,
        note_bytes: 0,
    }
}

fn seat(slot: u32, generation: u32) -> Seat {
    Seat { slot, generation }
}

fn reading(progress: u64, target: Option<u64>) -> Reading {
    let phase = if target.is_some() { Phase::Extract } else { Phase::Idle };
    Reading {
        progress,
        target,
        since_us: u64::MAX,
        phase,
        rss_bytes: 4096,
        rss_bytes_max: 4096,
        cpu_us: 0,
        in_flight: 0,
        bytes: 0,
        waiting: 0,
    }
}

/// A black box that has advanced each time, with no stage running.
fn alive() -> impl FnMut(u64) -> Reading {
    let mut progress = 0;
    move |_| {
        progress += 1;
        reading(progress, None)
    }
}
