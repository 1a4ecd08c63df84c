//! One simulated worker process: its targets, its black box, and its fault. It knows nothing of the
//! pool.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use fastrand::Rng;
use wire::black_box::{Phase, Reading};
use wire::protocol::{Outcome, Slice, Target};

use super::scenario::{Scenario, ms};
use crate::pool::Seat;

/// The fault of a process. Numbers count the stages it has run; durations count from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Nothing,
    CannotStart,
    DiesBeforeHello,
    DiesBeforeReady,
    NeverGreets,
    NeverReady,
    StartsSlowly,
    SkipsHello,
    Refuses,
    DiesAfter(Duration),
    EndsCleanlyAfter(Duration),
    StandsStillAfter(Duration),
    CrashesInStage(u32),
    HangsInStage(u32),
    DiesBeforeBatch(u32),
    GarblesAfter(Duration),
    ClosesItsChannelAfter(Duration),
    ClaimsTooMuch,
    ClaimsNothing,
    ReadsSlowly,
}

impl Fault {
    pub(super) fn draw(rng: &mut Rng, scenario: &Scenario) -> Self {
        if scenario.broken {
            let faults = [
                Self::CannotStart,
                Self::DiesBeforeHello,
                Self::DiesBeforeReady,
                Self::NeverGreets,
                Self::NeverReady,
            ];
            return *rng.choice(&faults).unwrap();
        }
        if rng.u32(0..100) >= scenario.faulty_percent {
            return Self::Nothing;
        }
        let after = ms(rng.u64(0..8000));
        let nth = rng.u32(1..6);
        match rng.u32(0..40) {
            0..=1 => Self::CannotStart,
            2..=3 => Self::DiesBeforeHello,
            4..=5 => Self::DiesBeforeReady,
            6 => Self::NeverGreets,
            7 => Self::NeverReady,
            8..=9 => Self::StartsSlowly,
            10 => Self::SkipsHello,
            11 if rng.u32(0..10) == 0 => Self::Refuses,
            11..=13 => Self::DiesAfter(after),
            14..=15 => Self::EndsCleanlyAfter(after),
            16..=18 => Self::StandsStillAfter(after),
            19..=22 => Self::CrashesInStage(nth),
            23..=25 => Self::HangsInStage(nth),
            26..=28 => Self::DiesBeforeBatch(nth),
            29..=30 => Self::GarblesAfter(after),
            31..=32 => Self::ClosesItsChannelAfter(after),
            33..=34 => Self::ClaimsTooMuch,
            35..=36 => Self::ClaimsNothing,
            _ => Self::ReadsSlowly,
        }
    }
}

impl Fault {
    /// When the fault takes effect, for faults with a time.
    pub(super) fn comes_after(self) -> Option<Duration> {
        if let Self::DiesAfter(after)
        | Self::EndsCleanlyAfter(after)
        | Self::StandsStillAfter(after)
        | Self::GarblesAfter(after)
        | Self::ClosesItsChannelAfter(after) = self
        {
            Some(after)
        } else {
            None
        }
    }
}

/// The next step of a worker.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Greet,
    Prepared,
    Arrived(Slice),
    Read,
    Drain,
    Waited(u64),
    StageEnds(u64),
    Crash,
    Flush,
    Misbehave,
}

/// One process.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) seat: Seat,
    pub(super) fault: Fault,
    pub(super) alive: bool,
    /// Stopped for good: it makes no progress, and only SIGKILL ends it.
    pub(super) stands_still: bool,
    /// Whether it has sent what no worker sends.
    pub(super) forges: bool,
    pub(super) ignores_sigterm: bool,
    pub(super) draining: bool,
    pub(super) unread: VecDeque<Slice>,
    pub(super) slices_read: u64,
    pub(super) inbox: VecDeque<Target>,
    /// Begun, not finished.
    pub(super) running: Vec<Target>,
    pub(super) stage_queue: VecDeque<u64>,
    pub(super) stage: Option<(u64, Instant)>,
    pub(super) stages: u32,
    /// Whether the running stage will never end.
    pub(super) loops: bool,
    pub(super) lost: BTreeSet<u64>,
    pub(super) unsent: Vec<Outcome>,
    pub(super) progress: u64,
    growth_bytes: u64,
    /// When its last message arrives; the channel keeps the order.
    pub(super) last_word_at: Instant,
    /// Whether it closed its channel, broke the protocol or lied.
    pub(super) broke_off: bool,
    /// Whether the end of its channel is under way.
    pub(super) said_eof: bool,
    /// Since when the pool has had a reason to end it.
    pub(super) hung_since: Option<Instant>,
}

impl Worker {
    pub(super) fn new(
        seat: Seat,
        fault: Fault,
        ignores_sigterm: bool,
        growth_bytes: u64,
        now: Instant,
    ) -> Self {
        Self {
            seat,
            fault,
            alive: false,
            stands_still: false,
            forges: false,
            ignores_sigterm,
            draining: false,
            unread: VecDeque::new(),
            slices_read: 0,
            inbox: VecDeque::new(),
            running: Vec::new(),
            stage_queue: VecDeque::new(),
            stage: None,
            stages: 0,
            loops: false,
            lost: BTreeSet::new(),
            unsent: Vec::new(),
            progress: 0,
            growth_bytes,
            last_word_at: now,
            broke_off: false,
            said_eof: false,
            hung_since: None,
        }
    }

    /// Returns the contents of its black box. Reading it also advances the progress counter if the
    /// worker is alive.
    pub(super) fn reading(&mut self, now: Instant, now_us: u64) -> Reading {
        if self.alive && !self.stands_still && self.stage.is_none() {
            self.progress += 1;
        }
        Reading {
            progress: self.progress,
            target: self.stage.map(|(id, _)| id),
            since_us: self
                .stage
                .map_or(0, |(_, since)| now_us.saturating_sub(now.duration_since(since).as_micros() as u64)),
            phase: if self.stage.is_some() { Phase::Extract } else { Phase::Idle },
            rss_bytes: (1 << 20) + u64::from(self.stages) * self.growth_bytes,
            rss_bytes_max: 1 << 20,
            cpu_us: 1,
            in_flight: self.running.len() as u64,
            bytes: 0,
            waiting: 0,
        }
    }

    /// Does nothing from here on.
    pub(super) fn stand_still(&mut self, now: Instant) {
        self.stands_still = true;
        self.hung_since.get_or_insert(now);
    }

    /// Sends what no worker sends, and nothing from here on.
    pub(super) fn forge(&mut self, now: Instant) {
        self.forges = true;
        self.stand_still(now);
    }

    /// Whether the pool may rightly end it while the run goes on.
    pub(super) fn deserves_an_end(&self) -> bool {
        let of_no_use = matches!(
            self.fault,
            Fault::NeverGreets | Fault::NeverReady | Fault::StartsSlowly | Fault::SkipsHello | Fault::Refuses
        );
        !self.alive || self.broke_off || of_no_use || self.is_hung()
    }

    pub(super) fn is_hung(&self) -> bool {
        self.stands_still || self.loops || !self.lost.is_empty()
    }

    /// The targets that a supervisor may blame when it finds this worker hung, and whether it may
    /// blame none.
    pub(super) fn suspects(&self) -> (Vec<u64>, bool) {
        let mut suspects: Vec<_> = self.lost.iter().copied().collect();
        let named = self.stage.filter(|_| self.stands_still || self.loops || !self.alive).map(|(id, _)| id);
        suspects.extend(named);
        (suspects, !self.alive || self.stands_still && named.is_none())
    }
}
