//! The oracle's view of seats: restarts, recycles, and slots that are added and removed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use wire::black_box::Reading;

use super::oracle::{Oracle, ProcessAccount};
use super::scenario::Scenario;
use crate::pool::{PoolConfig, Seat};

/// Shortest pause between two processes in one slot, or between two recycle attempts: 100 ms less a
/// quarter.
const BACKOFF_MIN: Duration = Duration::from_millis(75);

/// The process in each slot, and its successor.
#[derive(Debug)]
pub(super) struct Seats {
    /// The numbers of the wanted slots.
    slots: BTreeSet<u32>,
    seated: BTreeMap<u32, Seat>,
    generations: BTreeMap<u32, u32>,
    /// A slot that was requested and has no process yet.
    growing: Option<u32>,
    /// The one process that is starting to replace another.
    successor: Option<Seat>,
    replacement_failed_at: Option<Instant>,
    /// Starts that made up for a death, and those where this cannot be told from outside.
    restarts: u64,
    maybe_restarts: u64,
    pub(super) count_max: u32,
}

impl Seats {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let count = scenario.config.slots;
        Self {
            slots: (0..count).collect(),
            seated: BTreeMap::new(),
            generations: BTreeMap::new(),
            growing: None,
            successor: None,
            replacement_failed_at: None,
            restarts: 0,
            maybe_restarts: 0,
            count_max: count,
        }
    }

    pub(super) fn sits(&self, seat: Seat) -> bool {
        self.seated.get(&seat.slot) == Some(&seat)
    }

    pub(super) fn is_successor(&self, seat: Seat) -> bool {
        self.successor == Some(seat)
    }

    pub(super) fn check_restarts(&self, restarts: u64) {
        let range = self.restarts..=self.restarts + self.maybe_restarts;
        assert!(range.contains(&restarts), "{restarts} restarts are counted, and there were {range:?}");
    }
}

impl ProcessAccount {
    /// Whether nothing was said or done that ends it.
    fn continues(&self) -> bool {
        self.ended.is_none() && !self.eof && self.death.is_none()
    }

    /// Whether it may be replaced.
    fn is_worn(&self, limits: &PoolConfig) -> bool {
        let used_up = limits
            .recycle_after
            .is_some_and(|nominal| self.returned >= ((nominal.get() as f64 * 0.9).round() as u64).max(1));
        used_up || self.grown || self.rolled
    }

    /// Whether it is leaving: another process has its seat, or the slot is gone.
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
    /// A process is requested. There must be a reason for it, and enough time since the last one.
    pub(super) fn seat(&mut self, now: Instant, seat: Seat, scenario: &Scenario) {
        let last = self.seats.generations.insert(seat.slot, seat.generation);
        assert_eq!(seat.generation, last.unwrap_or(0) + 1, "{seat}: a generation was skipped");
        assert!(self.seats.slots.contains(&seat.slot), "{seat} has no slot");
        let sits = self.seats.seated.get(&seat.slot).copied();
        let Some(before) = sits else {
            let grows = self.seats.growing.take() == Some(seat.slot);
            assert!(grows || seat.generation == 1, "{seat} was not asked for");
            self.seats.seated.insert(seat.slot, seat);
            return;
        };
        let old = &self.processes[&before];
        if let Some(forgotten_at) = old.forgotten_at {
            assert!(now.duration_since(forgotten_at) >= BACKOFF_MIN, "{seat}: no pause since the last death");
            assert!(now.duration_since(old.spawned_at.unwrap()) >= BACKOFF_MIN, "{seat}: no pause");
            self.seats.restarts += 1;
            self.seats.seated.insert(seat.slot, seat);
            return;
        }
        assert!(
            old.ready && old.continues() && !old.drained,
            "{seat} is to replace a process that is not at work"
        );
        assert!(old.is_worn(&scenario.config), "{seat} is to replace a process that is not worn");
        assert_eq!(self.seats.successor, None, "{seat} is a second successor");
        let pause = self.seats.replacement_failed_at.map(|at| now.duration_since(at));
        assert!(pause.is_none_or(|pause| pause >= BACKOFF_MIN), "{seat}: no pause since the last attempt");
        for (other, process) in &self.processes {
            let still_there = process.replaced && process.forgotten_at.is_none();
            assert!(!still_there, "{seat} is recycled while {other} is not gone yet");
        }
        self.seats.successor = Some(seat);
    }

    /// A process is ready. If it is a successor, it takes the seat.
    pub(super) fn ready(&mut self, seat: Seat) {
        let process = self.processes.get_mut(&seat).unwrap();
        process.ready = true;
        if !self.seats.is_successor(seat) || !process.job_sent || !process.continues() || self.ending {
            return;
        }
        self.seats.successor = None;
        self.seats.replacement_failed_at = None;
        let before = self.seats.seated.insert(seat.slot, seat).expect("a successor has a predecessor");
        let old = self.processes.get_mut(&before).unwrap();
        old.replaced = true;
        self.seats.restarts += u64::from(!old.continues());
    }

    /// A process is gone and settled.
    pub(super) fn unseat(&mut self, now: Instant, seat: Seat) {
        if self.seats.is_successor(seat) {
            self.seats.successor = None;
            self.seats.replacement_failed_at = Some(now);
        } else if self.seats.sits(seat)
            && let Some(successor) = self.seats.successor.filter(|successor| successor.slot == seat.slot)
            && self.processes[&successor].continues()
        {
            self.seats.successor = None;
            self.seats.seated.insert(seat.slot, successor);
            // It does not matter whether the pool had noticed by then that the run was over.
            let counts = if self.ending { &mut self.seats.maybe_restarts } else { &mut self.seats.restarts };
            *counts += 1;
        }
    }

    /// A worker's black box was read.
    pub(super) fn weighed(&mut self, seat: Seat, reading: &Reading, scenario: &Scenario) {
        let process = self.process(seat);
        let first = *process.rss_first.get_or_insert(reading.rss_bytes);
        let allowance = scenario.config.rss_allowance_bytes;
        process.grown |= allowance.is_some_and(|allowance| reading.rss_bytes > first + allowance);
    }

    pub(super) fn roll(&mut self) {
        for process in self.processes.values_mut() {
            process.rolled = true;
        }
    }

    pub(super) fn grow(&mut self) {
        if !self.ending {
            let slots = &mut self.seats.slots;
            let free = (0..).find(|slot| !slots.contains(slot)).unwrap();
            slots.insert(free);
            self.seats.count_max = self.seats.count_max.max(slots.len() as u32);
            self.seats.growing = Some(free);
        }
    }

    /// The pool is about to remove this slot. No other worker may have less to finish, and none may go that has as little
    /// as a slot without one.
    pub(super) fn shrink(&mut self, slot: u32) {
        if self.ending || self.seats.slots.len() == 1 {
            return;
        }
        let cost = |slot: &u32| {
            self.seats.seated.get(slot).map_or((0, false), |seat| {
                let held = self.entries.iter().filter(|entry| entry.holder == Some(*seat)).count();
                (held, self.processes[seat].forgotten_at.is_none())
            })
        };
        let of_slot = cost(&slot);
        let least = self.seats.slots.iter().map(cost).min().unwrap_or_default();
        assert!(
            of_slot <= least,
            "slot {slot} is removed, and another costs less (targets, whether it has a process): {of_slot:?}, {least:?}"
        );
        self.seats.slots.remove(&slot);
        let successor = self.seats.successor.take_if(|successor| successor.slot == slot);
        for seat in self.seats.seated.remove(&slot).into_iter().chain(successor) {
            self.processes.get_mut(&seat).unwrap().unseated = true;
        }
    }
}
