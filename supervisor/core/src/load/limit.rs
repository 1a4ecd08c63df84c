//! How many requests one host gets at once: the least number that keeps its goodput.
//!
//! *Slow start* doubles the limit each round while that adds at least 10 % of goodput, which is answers a second
//! (TCP's slow start, RFC 5681, with goodput in place of losses). Then *hill climbing* looks for the least limit that
//! keeps the goodput: it steps down by a fifth as long as the goodput stays within 3 %, and now and then up by a
//! quarter, which must add 6 %. The first step down goes straight to what fits into the host without a queue: goodput
//! × shortest time to first byte (the bandwidth-delay product of BBR, Cardwell et al., ACM Queue 2016), and the time
//! that a target spends on its way through our own processes. After a large step that changed little, and after a
//! doubling that did not help, the geometric mean is tried: the knee may lie between (one step of a search for the
//! maximum of a function with a single one). Netflix's Gradient2 compares latencies instead; it settles well above a
//! knee, and takes a slow page for a queue.
//!
//! Only goodput decides, so neither the size of a body nor a slow page looks like congestion. A round begins once what
//! was sent under the old limit has come back, and needs more answers the more their times differ. A round in which
//! the host was not kept full teaches nothing about its limit (RFC 7661).
//!
//! Each host has one of these, so it is small, and a call costs a few additions.

mod round;

use std::time::{Duration, Instant};

use self::round::Round;

/// Where a limit begins, and what it never exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The limit for an unknown host.
    pub start: u32,
    /// The largest limit. At least 1.
    pub max: u32,
}

/// What became of one request, as far as the number in flight is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// An answer: time from the request to its first byte, without connecting; `None` if that is not known.
    Served(Option<Duration>),
    /// No answer: a timeout or a broken connection.
    Lost,
}

/// Smallest limit that is tried, where the range allows it. One request at a time would leave the host idle during
/// each round trip.
const LEAST: u32 = 2;

/// Answers in the shortest round: of slow start, and of hill climbing.
const ROUND_MIN: u32 = 8;
const PROBE_MIN: u32 = 16;

/// Shortest round. Answers reach us in batches, a few milliseconds apart; within one, no time passes.
const ROUND_LASTS_MIN: Duration = Duration::from_millis(30);

/// Answers in the longest round that only noise makes longer.
const NOISY_ROUND_MAX: f32 = 400.0;

/// Bursts in a round of hill climbing: with a thirtieth, the error of a round is what a step down may cost.
const BURSTS: f32 = 33.0;

/// Mean time to first byte, in shortest ones, at which the first round looks like a queue.
const QUEUE: f32 = 3.0;

/// Goodput that doubling the limit must add.
const DOUBLING_GAIN: f32 = 0.10;

/// Goodput that a step down may cost, and the one that a step up must add.
const DOWN_LOSS_MAX: f32 = 0.03;
const UP_GAIN: f32 = 0.06;

/// Time, in seconds, that a target is in flight without being with the host: on its way to the worker, and its result
/// on its way back, in a batch. A host that answers within a millisecond needs more in flight for it.
const HANDLING_S: f32 = 0.005;

/// Mean time to first byte, in seconds, below which no lower limit is tried. A host that answers so soon has no queue
/// to speak of: what bounds the goodput is this machine, and a lower limit would only leave workers without targets.
const QUICK_S: f32 = 0.015;

/// The steps.
const DOWN: f32 = 0.8;
const UP: f32 = 1.25;

/// Share of the limit that must have been in flight for a round to count.
const FULL: f32 = 0.75;

/// Change of the goodput between two rounds at the same limit that says that the host is not what it was.
const SHIFT: f32 = 0.3;

/// Rounds between two probes: first, and after many that found nothing better.
const HOLD_MIN: u16 = 6;
const HOLD_MAX: u16 = 96;

/// Steps up in a row after which slow start takes over.
const CLIMB: u8 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Doubling.
    Slow,
    /// Measuring the goodput that later steps are compared with.
    Base,
    /// Trying a lower limit.
    Down,
    /// Trying a higher limit.
    Up,
    /// Waiting so many rounds for the next probe.
    Hold(u16),
}

/// The limit of one host.
#[derive(Debug, Clone)]
pub struct Limit {
    range: Range,
    limit: u32,
    phase: Phase,
    round: Round,
    /// The limit known to be good while another one is tried, or the one before the last doubling.
    home: u32,
    /// The goodput to compare with; 0 if unknown.
    base: f32,
    hold: u16,
    /// Whether the next probe goes up.
    up_next: bool,
    /// Steps up in a row that helped.
    climbed: u8,
    /// Whether the jump to the bandwidth-delay product was tried since the last slow start.
    jumped: bool,
    /// A limit that was seen to be past the knee; slow start does not go there again.
    worse: u32,
    /// Whether slow start goes on if that jump was wrong.
    doubles_on: bool,
    /// Whether the step up is to the middle between two limits that were tried.
    between: bool,
    shortest_s: f32,
    /// Mean time to first byte of the last round.
    mean_s: f32,
}

impl Limit {
    /// Creates the limit of a host of which nothing is known.
    #[must_use]
    pub fn new(range: Range, now: Instant) -> Self {
        let max = range.max.max(1);
        let range = Range { start: range.start.clamp(1, max), max };
        Self {
            range,
            limit: range.start,
            phase: Phase::Slow,
            round: Round::new(now, 0),
            home: range.start,
            base: 0.0,
            hold: HOLD_MIN,
            up_next: true,
            climbed: 0,
            jumped: false,
            worse: u32::MAX,
            doubles_on: false,
            between: false,
            shortest_s: f32::INFINITY,
            mean_s: 0.0,
        }
    }

    /// Continues with a limit that was found earlier.
    #[must_use]
    pub fn resumed(range: Range, limit: u32, now: Instant) -> Self {
        let fresh = Self::new(range, now);
        let limit = limit.clamp(1, fresh.range.max);
        Self { limit, home: limit, phase: Phase::Base, jumped: true, ..fresh }
    }

    /// Maximum requests in flight now.
    #[must_use]
    pub fn get(&self) -> u32 {
        self.limit
    }

    /// Whether it found something that a new limit would not know.
    #[must_use]
    pub fn is_learned(&self) -> bool {
        self.phase != Phase::Slow || self.limit != self.range.start
    }

    /// Records that a request starts while `in_flight` others are under way.
    pub fn on_start(&mut self, now: Instant, in_flight: u32) {
        if in_flight == 0 {
            // The time without requests must not count.
            self.round = Round::new(now, 0);
        }
    }

    /// Records how a request ended; it was one of `in_flight`.
    pub fn on_end(&mut self, now: Instant, in_flight: u32, reply: Reply) {
        if self.round.stale > 0 {
            self.round.stale -= 1;
            if self.round.stale == 0 {
                self.round = Round::new(now, 0);
            }
            return;
        }
        let round = &mut self.round;
        round.count(now, in_flight);
        match reply {
            Reply::Lost => round.lost += 1,
            Reply::Served(first_byte) => {
                round.served += 1;
                if let Some(seconds) = first_byte.map(|time| time.as_secs_f32()) {
                    round.timed += 1;
                    round.seconds += seconds;
                    round.squares += seconds * seconds;
                    self.shortest_s = self.shortest_s.min(seconds);
                }
            }
        }
        let lasted = now.saturating_duration_since(self.round.since);
        if lasted >= ROUND_LASTS_MIN && (self.round.ended() >= self.needed() || self.is_clear(now)) {
            self.finish_round(now, in_flight.saturating_sub(1));
        }
    }

    /// Records that the host refused a request: it limits something else than the number in flight, so more of them
    /// do not help for now.
    pub fn on_refused(&mut self, now: Instant, in_flight: u32) {
        if self.phase == Phase::Slow {
            self.base = 0.0;
            self.go(now, in_flight, Phase::Base, self.limit);
        }
    }

    /// Answers that the current round needs.
    fn needed(&self) -> u32 {
        let spread = self.round.spread();
        if self.phase == Phase::Slow {
            let noisy = (100.0 * spread).min(4.0 * self.limit as f32) as u32;
            return self.limit.max(ROUND_MIN).max(noisy);
        }
        let noisy = (NOISY_ROUND_MAX * spread).max(BURSTS * self.round.burst()).min(NOISY_ROUND_MAX) as u32;
        // What was sent together may come back together: count whole turns.
        self.limit.saturating_mul(2).max(PROBE_MIN).max(noisy).next_multiple_of(self.limit.max(1))
    }

    /// Whether a probe has its answer early: the goodput differs from the one before by more than it may be wrong. A
    /// doubling has failed once all answers of its round, if they came now, would be less goodput than before: past a
    /// knee they may take many times as long as the round before, and so would requests sent before then.
    fn is_clear(&self, now: Instant) -> bool {
        let round = &self.round;
        if self.base <= 0.0 {
            return false;
        }
        if self.phase == Phase::Slow {
            let lasted_s = now.saturating_duration_since(round.since).as_secs_f32();
            return (self.needed() as f32) < self.base * lasted_s;
        }
        if round.ended() < self.limit.saturating_mul(2).max(PROBE_MIN) {
            return false;
        }
        let n = round.ended() as f32;
        let error = 1.5 * round.burst() / n + 2.0 * (round.spread() / n).sqrt();
        let gain = round.goodput(now) / self.base - 1.0;
        match self.phase {
            Phase::Down => gain - error > DOUBLING_GAIN || gain + error < -DOWN_LOSS_MAX,
            Phase::Up => gain - error > UP_GAIN || gain + error < UP_GAIN,
            Phase::Slow | Phase::Base | Phase::Hold(_) => false,
        }
    }

    fn finish_round(&mut self, now: Instant, in_flight: u32) {
        let round = std::mem::replace(&mut self.round, Round::new(now, 0));
        if round.lost > round.served {
            // It no longer copes, or is gone: as TCP after a timeout, come back from less.
            self.base = 0.0;
            self.jumped = false;
            self.go(now, in_flight, Phase::Slow, self.limit / 2);
            return;
        }
        if round.in_flight_s < FULL * self.limit as f32 * round.last_s {
            return;
        }
        let goodput = round.goodput(now);
        self.mean_s = round.mean_s();
        match self.phase {
            Phase::Slow => self.after_doubling(now, in_flight, goodput),
            Phase::Base => {
                self.base = goodput;
                self.probe_down(now, in_flight);
            }
            Phase::Down => self.after_down(now, in_flight, goodput),
            Phase::Up => self.after_up(now, in_flight, goodput),
            Phase::Hold(rounds) => self.after_hold(now, in_flight, goodput, rounds),
        }
    }

    fn after_doubling(&mut self, now: Instant, in_flight: u32, goodput: f32) {
        let queues = self.mean_s > QUICK_S.max(QUEUE * self.shortest_s);
        if self.base <= 0.0 && !self.jumped && queues {
            // A queue, or pages that differ. To double would be to bet on the latter, and costs most where it is lost.
            self.base = goodput;
            self.home = self.limit;
            self.jumped = true;
            self.doubles_on = true;
            let lower = self.fits().min(self.limit);
            return self.go(now, in_flight, Phase::Down, lower);
        }
        let step = self.limit as f32 / self.home.max(1) as f32 - 1.0;
        if self.base > 0.0 && goodput < self.base * (1.0 + DOUBLING_GAIN * step) {
            let (lower, upper) = (self.home, self.limit);
            if goodput < self.base && !self.jumped {
                // Past the knee, which may be below the limit before, too.
                self.limit = lower;
                return self.probe_down(now, in_flight);
            }
            return self.try_between(now, in_flight, lower, upper);
        }
        self.base = self.base.max(goodput);
        self.home = self.limit;
        let next = self.limit.saturating_mul(2).min(self.range.max);
        if next == self.limit || next >= self.worse {
            self.worse = u32::MAX;
            return self.probe_down(now, in_flight);
        }
        // Not `go`: what comes back in the next round was sent under the limit that this round has proved.
        self.limit = next;
    }

    /// Tries a lower limit, or waits if there is none.
    fn probe_down(&mut self, now: Instant, in_flight: u32) {
        self.home = self.limit;
        let step = (self.limit as f32 * DOWN) as u32;
        let lower = if self.jumped { step } else { self.fits().min(step) };
        self.jumped = true;
        let lower = lower.max(LEAST.min(self.range.max));
        if lower >= self.limit || self.mean_s < QUICK_S {
            return self.hold(now, in_flight, false);
        }
        self.go(now, in_flight, Phase::Down, lower);
    }

    /// What is in flight without a queue, and a little more.
    fn fits(&self) -> u32 {
        ((self.base * (self.shortest_s + HANDLING_S) * UP).ceil() as u32).saturating_add(1)
    }

    fn after_down(&mut self, now: Instant, in_flight: u32, goodput: f32) {
        let doubles_on = std::mem::take(&mut self.doubles_on);
        let far = self.home > self.limit.saturating_mul(2);
        if goodput > self.base * (1.0 + DOUBLING_GAIN) && far {
            // Less in flight is more goodput: the host was past its knee. Look for the knee from here.
            self.worse = self.home;
            self.base = goodput;
            self.home = self.limit;
            self.phase = Phase::Slow;
            self.limit = self.limit.saturating_mul(2).min(self.range.max);
        } else if goodput >= self.base * (1.0 - DOWN_LOSS_MAX) {
            // Not below what the first step was compared with: many small losses must not add up.
            self.base = goodput.max(self.base * (1.0 - DOWN_LOSS_MAX / 2.0));
            self.hold = HOLD_MIN;
            if far {
                let (lower, upper) = (self.limit, self.home);
                return self.try_between(now, in_flight, lower, upper);
            }
            self.probe_down(now, in_flight);
        } else if doubles_on {
            // It was no queue.
            self.phase = Phase::Slow;
            self.limit = self.home.saturating_mul(2).min(self.range.max);
        } else {
            self.limit = self.home;
            self.hold(now, in_flight, false);
        }
    }

    /// Tries the geometric mean of two limits, of which `lower` is the better one so far.
    fn try_between(&mut self, now: Instant, in_flight: u32, lower: u32, upper: u32) {
        self.home = lower;
        let middle = (lower as f32 * upper as f32).sqrt().round() as u32;
        if middle <= lower {
            return self.go(now, in_flight, Phase::Base, lower);
        }
        self.between = true;
        self.go(now, in_flight, Phase::Up, middle);
    }

    fn after_up(&mut self, now: Instant, in_flight: u32, goodput: f32) {
        let between = std::mem::take(&mut self.between);
        if goodput < self.base * (1.0 + UP_GAIN) {
            if between {
                let home = self.home;
                return self.go(now, in_flight, Phase::Base, home);
            }
            self.limit = self.home;
            return self.hold(now, in_flight, false);
        }
        self.base = goodput;
        self.home = self.limit;
        self.climbed += 1;
        if self.climbed >= CLIMB {
            self.phase = Phase::Slow;
            self.limit = self.limit.saturating_mul(2).min(self.range.max);
            return;
        }
        self.hold = HOLD_MIN;
        self.probe_up(now, in_flight);
    }

    fn after_hold(&mut self, now: Instant, in_flight: u32, goodput: f32, rounds: u16) {
        let shift = goodput / self.base.max(f32::MIN_POSITIVE) - 1.0;
        if shift.abs() > SHIFT {
            self.base = goodput;
            self.hold = HOLD_MIN;
            self.jumped = false;
            self.shortest_s = f32::INFINITY;
            if shift > 0.0 {
                self.probe_up(now, in_flight);
            } else {
                self.probe_down(now, in_flight);
            }
            return;
        }
        self.base = 0.7 * self.base + 0.3 * goodput;
        self.phase = Phase::Hold(rounds.saturating_sub(1));
        if rounds > 1 {
            return;
        }
        self.up_next = !self.up_next;
        self.hold = (self.hold * 2).min(HOLD_MAX);
        if self.up_next {
            self.probe_down(now, in_flight);
        } else {
            self.probe_up(now, in_flight);
        }
    }

    fn probe_up(&mut self, now: Instant, in_flight: u32) {
        self.home = self.limit;
        let higher = (self.limit as f32 * UP).ceil() as u32;
        if self.limit >= self.range.max {
            return self.hold(now, in_flight, true);
        }
        self.go(now, in_flight, Phase::Up, higher.min(self.range.max));
    }

    fn hold(&mut self, now: Instant, in_flight: u32, keep_round: bool) {
        self.climbed = 0;
        let phase = Phase::Hold(self.hold);
        if keep_round {
            self.phase = phase;
        } else {
            self.go(now, in_flight, phase, self.limit);
        }
    }

    /// Enters a phase with a new limit. Answers to what is in flight do not count.
    fn go(&mut self, now: Instant, in_flight: u32, phase: Phase, limit: u32) {
        self.phase = phase;
        self.limit = limit.clamp(LEAST.min(self.range.max), self.range.max);
        self.round = Round::new(now, in_flight);
    }
}
