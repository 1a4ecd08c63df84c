//! How much runs over all hosts: targets in flight, and workers.
//!
//! Targets in flight grow as one host's limit does, round by round ([`limit`](super::limit)). Doubling must add 10 %
//! of throughput, but only where that can be told: up to `FEW` in flight, one slow host among fast ones would look
//! like a plateau, and so many cost nothing while the workers have time to spare. Each host's own limit protects the
//! host, so this one protects only this machine: it never steps down to find the least number that will do.
//!
//! Workers are doubled while their event loops are busy for more than `BUSY` of a core. Then what all that were added
//! have brought is measured once. If it is nothing (the supervisor, the network or the servers on the same machine are
//! the bottleneck), the last ones leave again.
//!
//! What the machine cannot hold (descriptors, ports, memory) is a [`Bound`]. Meeting one shrinks the number in flight;
//! no target fails for it.

use std::time::{Duration, Instant};

/// Targets in flight at the beginning: what several local hosts get, so that the first of them, if it is slow, does not
/// hold up the others.
pub const START: u32 = 256;

/// Targets in flight up to which growth need not prove that it helps, while workers are idle most of the time.
const FEW: u32 = 1024;

/// Throughput that doubling must add.
const GAIN: f64 = 0.10;

/// Share of a core above which an event loop counts as busy.
pub const BUSY: f64 = 0.7;

/// Share of the limit that must have been in flight for a round to count.
const FULL: f64 = 0.75;

/// Shortest round. Results come in batches, a few milliseconds apart.
const ROUND_LASTS_MIN: Duration = Duration::from_millis(50);

/// Longest round of an idle machine in which too few targets end.
const PATIENCE: Duration = Duration::from_millis(100);

/// Rounds until a plateau is questioned: at first, and at most.
const HOLD_MIN: u32 = 8;
const HOLD_MAX: u32 = 256;

/// Time in which new workers start, and after which it shows whether all are busy again.
const START_LASTS: Duration = Duration::from_millis(100);

/// Time after a change of the number of workers before its effect is measured, and for which it is measured.
const SETTLE: Duration = Duration::from_millis(300);
const MEASURE: Duration = Duration::from_millis(500);

/// Time, in seconds, after which a change of the throughput is seen for the most part: several batches.
const MEMORY_S: f64 = 0.1;

/// How long more workers are not tried again after they did not help.
const REST: Duration = Duration::from_secs(15);

/// Share of the throughput that a larger number of workers must add.
const WORKERS_GAIN: f64 = 0.03;

/// Part of what was in flight that may be after a bound was met, and how long until more is tried.
const SHRINK: f64 = 0.8;
const SHORT_LASTS: Duration = Duration::from_secs(5);

/// What keeps the number of targets in flight from growing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The user set it.
    Told,
    /// File descriptors.
    Descriptors,
    /// Ephemeral ports.
    Ports,
    /// Memory.
    Memory,
    /// One of them ran out while the run was under way.
    Shortage,
}

impl Bound {
    const fn name(self) -> &'static str {
        match self {
            Self::Told => "the maximum that was asked for",
            Self::Descriptors => "the limit of open files",
            Self::Ports => "the number of ephemeral ports",
            Self::Memory => "memory",
            Self::Shortage => "a shortage of descriptors, ports, memory or threads",
        }
    }
}

/// What this machine and the user allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Maximum targets in flight.
    pub in_flight_max: u32,
    /// What that maximum comes from.
    pub bound: Bound,
    /// Maximum workers.
    pub workers_max: u32,
}

/// How the number of targets in flight stands.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Growth {
    /// Doubling.
    Slow,
    /// Twice as many added too little; so many rounds until the next try.
    Knee(u32),
    /// Trying once more than at the knee.
    Probe,
}

/// How the number of workers stands.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Staff {
    Steady,
    /// Some were added: the number and the throughput before, when, and what ended since measuring began.
    Added {
        before: u32,
        throughput: f64,
        at: Instant,
        from: Option<(Instant, u64)>,
    },
    /// More did not help, until this instant.
    Rests(Instant),
}

/// What was measured since the last tick.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tick {
    /// Workers that serve.
    pub workers: u32,
    /// Mean share of a core for which they were busy.
    pub busy: f64,
    /// Targets that wait.
    pub waiting: u64,
    /// Targets in flight.
    pub in_flight: u32,
    /// Of these, the ones that are not with a slow host while others come and go.
    pub awake: u32,
}

/// The controller.
#[derive(Debug, Clone)]
pub struct Total {
    room: Room,
    limit: u32,
    growth: Growth,
    staff: Staff,
    /// Since when the round lasts, when the last target ended in it, how many ended and were lost, and the number in
    /// flight, summed over time.
    since: Instant,
    last_end: Instant,
    ended: u32,
    lost: u32,
    in_flight_s: f64,
    /// Throughput of the last round that counted.
    base: f64,
    /// Limit at the knee.
    home: u32,
    hold: u32,
    ended_ever: u64,
    ticked: Option<(Instant, u64)>,
    throughput: f64,
    busy: f64,
    workers: u32,
    workers_most: u32,
    /// Most targets in flight, and those at the last tick at which others waited.
    most: u32,
    at_last: Option<u32>,
    /// The bound that was met last, and until when.
    short: Option<(Bound, Instant)>,
    met: Option<Bound>,
}

/// What the controller came to, for the summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The most workers there were.
    pub workers: u32,
    /// Targets in flight at last, while others still waited. If others never waited for long: the most there were.
    pub in_flight: u32,
    /// Where the knee was, and what bounded it.
    pub why: String,
}

impl Total {
    /// Creates the controller of a run that begins with `workers` workers. What the user asked for is allowed from
    /// the start.
    #[must_use]
    pub fn new(room: Room, workers: u32, now: Instant) -> Self {
        let start = if room.bound == Bound::Told { u32::MAX } else { START };
        let limit = start.min(room.in_flight_max).max(1);
        Self {
            room,
            limit,
            growth: Growth::Slow,
            staff: Staff::Steady,
            since: now,
            last_end: now,
            ended: 0,
            lost: 0,
            in_flight_s: 0.0,
            base: 0.0,
            home: limit,
            hold: HOLD_MIN,
            ended_ever: 0,
            ticked: None,
            throughput: 0.0,
            busy: 0.0,
            workers,
            workers_most: workers,
            most: 0,
            at_last: None,
            short: None,
            met: None,
        }
    }

    /// Maximum targets in flight now.
    #[must_use]
    pub fn in_flight_max(&self) -> u32 {
        self.limit
    }

    /// Records that a target starts while `in_flight` others are under way.
    pub fn on_start(&mut self, now: Instant, in_flight: u32) {
        self.most = self.most.max(in_flight + 1);
        if in_flight == 0 {
            self.begin_round(now);
        }
    }

    /// Records that one of `in_flight` targets ended. It was `lost` if its server gave no answer.
    pub fn on_end(&mut self, now: Instant, in_flight: u32, lost: bool) {
        self.ended += 1;
        self.ended_ever += 1;
        self.lost += u32::from(lost);
        // Targets that end together are reported one after the other, at one instant.
        let gap = now.saturating_duration_since(self.last_end);
        self.in_flight_s += f64::from(in_flight) * gap.as_secs_f64();
        self.last_end = now;
        if self.ended >= self.limit.max(16) && now >= self.since + ROUND_LASTS_MIN {
            self.finish_round(now);
        }
    }

    fn begin_round(&mut self, now: Instant) {
        (self.since, self.last_end) = (now, now);
        (self.ended, self.lost, self.in_flight_s) = (0, 0, 0.0);
    }

    fn finish_round(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.since).as_secs_f64().max(1e-6);
        let throughput = f64::from(self.ended - self.lost) / seconds;
        let full = self.in_flight_s >= FULL * f64::from(self.limit) * seconds;
        let lossy = self.lost * 4 > self.ended;
        self.begin_round(now);
        // While workers are being added, they are what makes the throughput grow.
        if !full || matches!(self.staff, Staff::Added { .. }) {
            return;
        }
        if lossy {
            // More in flight does not bring more answers.
            self.base = throughput;
            self.growth = Growth::Knee(self.hold);
            return;
        }
        let idle = self.busy < BUSY && self.limit < FEW;
        let helps = throughput >= self.base * (1.0 + GAIN);
        match self.growth {
            Growth::Slow | Growth::Probe if helps || idle => {
                (self.base, self.home) = (throughput, self.limit);
                self.growth = Growth::Slow;
                self.grow(now);
            }
            Growth::Slow | Growth::Probe => {
                self.hold =
                    if self.growth == Growth::Probe { (self.hold * 2).min(HOLD_MAX) } else { HOLD_MIN };
                self.growth = Growth::Knee(self.hold);
                self.limit = self.home.min(self.limit);
            }
            Growth::Knee(0) => {
                (self.base, self.home) = (throughput, self.limit);
                self.growth = Growth::Probe;
                self.grow(now);
            }
            Growth::Knee(rounds) => self.growth = Growth::Knee(rounds - 1),
        }
    }

    fn grow(&mut self, now: Instant) {
        let short = self.short.filter(|(_, until)| *until > now);
        if let Some((bound, _)) = short {
            self.met = Some(bound);
            return;
        }
        self.limit = self.limit.saturating_mul(2).min(self.room.in_flight_max.max(1));
        self.met = (self.limit >= self.room.in_flight_max).then_some(self.room.bound);
    }

    /// Records that the machine had no more of something while `in_flight` targets were under way.
    pub fn on_short(&mut self, now: Instant, bound: Bound, in_flight: u32) {
        let fresh = self.short.is_none_or(|(_, until)| until < now + SHORT_LASTS / 2);
        if fresh {
            self.limit = ((f64::from(in_flight.min(self.limit)) * SHRINK) as u32).max(1);
            self.home = self.limit;
            self.begin_round(now);
        }
        self.short = Some((bound, now + SHORT_LASTS));
        self.met = Some(bound);
    }

    /// Changes what the machine and the user allow.
    pub fn on_room(&mut self, room: Room) {
        self.room = room;
        self.limit = self.limit.min(room.in_flight_max.max(1));
        self.home = self.home.min(self.limit);
    }

    /// Returns what the machine and the user allow.
    #[must_use]
    pub fn room(&self) -> Room {
        self.room
    }

    /// Returns the wanted number of workers. Call this at least ten times a second.
    pub fn on_tick(&mut self, now: Instant, tick: Tick) -> u32 {
        let last = self.ticked.replace((now, self.ended_ever));
        if let Some((at, ended)) = last {
            let seconds = now.saturating_duration_since(at).as_secs_f64().max(1e-3);
            let latest = (self.ended_ever - ended) as f64 / seconds;
            let weight = if self.throughput > 0.0 { 1.0 - (-seconds / MEMORY_S).exp() } else { 1.0 };
            self.throughput += weight * (latest - self.throughput);
        }
        (self.busy, self.workers) = (tick.busy, tick.workers);
        self.workers_most = self.workers_most.max(tick.workers);
        if tick.waiting > 0 {
            self.at_last = Some(tick.in_flight);
        }
        let stands_still = now >= self.since + PATIENCE && self.ended < self.limit;
        if stands_still && tick.awake >= self.limit && tick.busy < BUSY && self.limit < FEW {
            // All that is in flight may be with slow hosts, while fast ones wait.
            self.begin_round(now);
            self.grow(now);
        }
        let max = self.room.workers_max.max(1);
        // The rest is done before another worker is ready.
        let nearly_done = (tick.waiting as f64) < self.throughput * SETTLE.as_secs_f64();
        let wants_more = tick.busy >= BUSY && !nearly_done && tick.workers < max && last.is_some();
        match self.staff {
            Staff::Rests(until) if now < until => tick.workers.min(max),
            Staff::Added { before, throughput, at, .. } if wants_more && now >= at + START_LASTS => {
                self.add(now, tick.workers, max, (before, throughput))
            }
            Staff::Added { before, throughput, at, from } => {
                self.judge(now, tick.workers, before, throughput, at, from).min(max)
            }
            Staff::Steady | Staff::Rests(_) if wants_more => {
                self.add(now, tick.workers, max, (tick.workers, self.throughput))
            }
            Staff::Steady | Staff::Rests(_) => tick.workers.min(max),
        }
    }

    /// Doubles the number of workers, and what is in flight, so that the new ones have something to do.
    fn add(&mut self, now: Instant, workers: u32, max: u32, (before, throughput): (u32, f64)) -> u32 {
        let wanted = workers.saturating_mul(2).min(max);
        self.staff = Staff::Added { before, throughput, at: now, from: None };
        self.limit = self.limit.max((START * wanted).min(self.room.in_flight_max).max(1));
        self.home = self.home.max(self.limit);
        wanted
    }

    /// Decides whether added workers stay.
    fn judge(
        &mut self,
        now: Instant,
        workers: u32,
        before: u32,
        throughput: f64,
        at: Instant,
        from: Option<(Instant, u64)>,
    ) -> u32 {
        let Some((since, ended)) = from else {
            if now >= at + SETTLE {
                let from = Some((now, self.ended_ever));
                self.staff = Staff::Added { before, throughput, at, from };
            }
            return workers;
        };
        if now < since + MEASURE {
            return workers;
        }
        let after = (self.ended_ever - ended) as f64 / now.saturating_duration_since(since).as_secs_f64();
        if after >= throughput * (1.0 + WORKERS_GAIN) {
            self.staff = Staff::Steady;
            // What was a plateau with fewer workers need not be one now.
            (self.growth, self.base) = (Growth::Slow, 0.0);
            return workers;
        }
        self.staff = Staff::Rests(now + REST);
        before
    }

    /// Returns what it came to.
    #[must_use]
    pub fn report(&self) -> Report {
        let in_flight = self.at_last.unwrap_or(self.most);
        Report { workers: self.workers_most, in_flight, why: self.why() }
    }

    /// Explains the choice in one sentence: where the knee was, and what bounded it.
    #[must_use]
    pub fn why(&self) -> String {
        let busy = self.busy * 100.0;
        let loops = match self.workers_most {
            1 => format!("one event loop, busy for {busy:.0} % of a core"),
            n => format!("{n} event loops, busy for {busy:.0} % of a core each"),
        };
        let limit = self.limit;
        let flight = match (self.met, self.growth) {
            (Some(bound), _) => format!("up to {limit} targets in flight, bounded by {}", bound.name()),
            (None, Growth::Slow) => match self.at_last {
                Some(at_last) => format!("{at_last} targets in flight at last, as many as their hosts take"),
                None => format!("up to {limit} targets in flight, which were never all needed"),
            },
            (None, Growth::Knee(_) | Growth::Probe) => {
                format!("{} targets in flight, for twice as many added less than 10 %", self.home)
            }
        };
        format!("{flight}; {loops}")
    }
}

#[cfg(test)]
mod tests;
