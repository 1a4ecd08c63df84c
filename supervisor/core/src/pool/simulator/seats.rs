//! The oracle's view of who sits where: restarts, recycles, and slots that come and go.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use wire::black_box::Reading;

use super::oracle::{Chair, Oracle};
use super::scenario::Scenario;
use crate::pool::{PoolConfig, Seat};

/// Shortest pause between two processes in one slot, or two tries at a recycle: 100 ms less a quarter.
const BACKOFF_MIN: Duration = Duration::from_millis(75);

/// Who sits in which slot, and who is to follow.
#[derive(Debug)]
pub(super) struct Seats {
    /// How many slots there are to be.
    count: u32,
    seated: BTreeMap<u32, Seat>,
    generations: BTreeMap<u32, u32>,
    /// A slot that was asked for and has no process yet.
    growing: Option<u32>,
    /// The one process that gets ready to replace another.
    heir: Option<Seat>,
    called_off_at: Option<Instant>,
    /// Starts that made up for a death, and those of which it cannot be told from outside.
    restarts: u64,
    maybe_restarts: u64,
    pub(super) count_max: u32,
}

impl Seats {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let count = scenario.config.slots;
        Self {
            count,
            seated: BTreeMap::new(),
            generations: BTreeMap::new(),
            growing: None,
            heir: None,
            called_off_at: None,
            restarts: 0,
            maybe_restarts: 0,
            count_max: count,
        }
    }

    pub(super) fn sits(&self, seat: Seat) -> bool {
        self.seated.get(&seat.slot) == Some(&seat)
    }

    pub(super) fn is_heir(&self, seat: Seat) -> bool {
        self.heir == Some(seat)
    }

    pub(super) fn check_restarts(&self, restarts: u64) {
        let range = self.restarts..=self.restarts + self.maybe_restarts;
        assert!(range.contains(&restarts), "{restarts} restarts are counted, and there were {range:?}");
    }
}

impl Chair {
    /// Whether nothing has been said or done that ends it.
    fn goes_on(&self) -> bool {
        self.ended.is_none() && !self.eof && self.death.is_none()
    }

    /// Whether it may be replaced.
    fn is_worn(&self, limits: &PoolConfig) -> bool {
        let used_up = limits
            .recycle_after
            .is_some_and(|nominal| self.returned >= ((nominal.get() as f64 * 0.9).round() as u64).max(1));
        used_up || self.grown || self.rolled
    }

    /// Whether it leaves: somebody else sits in its place, or the place is gone.
    pub(super) fn leaves(&self) -> bool {
        self.replaced || self.unseated
    }

    /// Whether it was let go so long ago that it may be ended.
    pub(super) fn lingers(&self, now: Instant, limits: &PoolConfig) -> bool {
        let grace = limits.drain_grace.max(limits.target_timeout);
        self.leaves() && self.drained_at.is_some_and(|at| now.duration_since(at) >= grace)
    }
}

impl Oracle {
    /// A process is asked for: it must have its reason and its time.
    pub(super) fn seat(&mut self, now: Instant, seat: Seat, scenario: &Scenario) {
        let last = self.seats.generations.insert(seat.slot, seat.generation);
        assert_eq!(seat.generation, last.unwrap_or(0) + 1, "{seat}: a generation was left out");
        assert!(seat.slot < self.seats.count, "{seat} has no slot");
        let sits = self.seats.seated.get(&seat.slot).copied();
        let Some(before) = sits else {
            let grows = self.seats.growing.take() == Some(seat.slot);
            assert!(grows || seat.generation == 1, "{seat} was not asked for");
            self.seats.seated.insert(seat.slot, seat);
            return;
        };
        let old = &self.chairs[&before];
        if let Some(forgotten_at) = old.forgotten_at {
            assert!(now.duration_since(forgotten_at) >= BACKOFF_MIN, "{seat}: no pause since the last death");
            assert!(now.duration_since(old.spawned_at.unwrap()) >= BACKOFF_MIN, "{seat}: no pause");
            self.seats.restarts += 1;
            self.seats.seated.insert(seat.slot, seat);
            return;
        }
        assert!(old.ready && old.goes_on() && !old.drained, "{seat} is to replace one that is not at work");
        assert!(old.is_worn(&scenario.config), "{seat} is to replace one that is not worn");
        assert_eq!(self.seats.heir, None, "{seat} is a second successor");
        let pause = self.seats.called_off_at.map(|at| now.duration_since(at));
        assert!(pause.is_none_or(|pause| pause >= BACKOFF_MIN), "{seat}: no pause since the last try");
        for (other, chair) in &self.chairs {
            let still_there = chair.replaced && chair.forgotten_at.is_none();
            assert!(!still_there, "{seat} is recycled while {other} is not gone yet");
        }
        self.seats.heir = Some(seat);
    }

    /// Somebody is ready, and if it is a successor the seat is its own.
    pub(super) fn ready(&mut self, seat: Seat) {
        let chair = self.chairs.get_mut(&seat).unwrap();
        chair.ready = true;
        if !self.seats.is_heir(seat) || !chair.job_sent || !chair.goes_on() || self.ending {
            return;
        }
        self.seats.heir = None;
        self.seats.called_off_at = None;
        let before = self.seats.seated.insert(seat.slot, seat).expect("a successor follows somebody");
        let old = self.chairs.get_mut(&before).unwrap();
        old.replaced = true;
        self.seats.restarts += u64::from(!old.goes_on());
    }

    /// A process is gone and settled.
    pub(super) fn unseat(&mut self, now: Instant, seat: Seat) {
        if self.seats.is_heir(seat) {
            self.seats.heir = None;
            self.seats.called_off_at = Some(now);
        } else if self.seats.sits(seat)
            && let Some(heir) = self.seats.heir.filter(|heir| heir.slot == seat.slot)
            && self.chairs[&heir].goes_on()
        {
            self.seats.heir = None;
            self.seats.seated.insert(seat.slot, heir);
            // Whether the pool had noticed by then that all was over does not matter.
            let counts = if self.ending { &mut self.seats.maybe_restarts } else { &mut self.seats.restarts };
            *counts += 1;
        }
    }

    /// A worker's black box was read.
    pub(super) fn weighed(&mut self, seat: Seat, reading: &Reading, scenario: &Scenario) {
        let chair = self.chair(seat);
        let first = *chair.rss_first.get_or_insert(reading.rss_bytes);
        let allowance = scenario.config.rss_allowance_bytes;
        chair.grown |= allowance.is_some_and(|allowance| reading.rss_bytes > first + allowance);
    }

    pub(super) fn roll(&mut self) {
        for chair in self.chairs.values_mut() {
            chair.rolled = true;
        }
    }

    pub(super) fn grow(&mut self) {
        if !self.ending {
            self.seats.growing = Some(self.seats.count);
            self.seats.count += 1;
            self.seats.count_max = self.seats.count_max.max(self.seats.count);
        }
    }

    pub(super) fn shrink(&mut self) {
        if self.ending || self.seats.count == 1 {
            return;
        }
        self.seats.count -= 1;
        let slot = self.seats.count;
        let heir = self.seats.heir.take_if(|heir| heir.slot == slot);
        for seat in self.seats.seated.remove(&slot).into_iter().chain(heir) {
            self.chairs.get_mut(&seat).unwrap().unseated = true;
        }
    }
}
