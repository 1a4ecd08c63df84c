//! Adds or removes workers in the middle of a run. The slot whose worker has the least to finish is removed, and a new
//! slot gets the lowest number that is free. A slot that comes back continues its generations, because its last process
//! may still be leaving.

use std::cmp::Reverse;
use std::time::Instant;

use super::mutant::Mutant;
use super::seat::Seat;
use super::slot::{Role, Slot};
use super::{Command, Notice, Pool, PoolState};

/// Maximum workers in one pool, the same as at the start.
const SLOTS_MAX: usize = 1024;

impl Pool {
    /// Adds one slot because the user wants it.
    pub(super) fn grow_as_told(&mut self, now: Instant) {
        let before = self.slots.len();
        self.grow(now);
        self.report_size(now, before);
    }

    /// Removes one slot because the user wants it.
    pub(super) fn shrink_as_told(&mut self, now: Instant) {
        let before = self.slots.len();
        self.shrink(now);
        self.report_size(now, before);
    }

    fn report_size(&mut self, now: Instant, before: usize) {
        let count = self.slots.len();
        if count == before {
            return;
        }
        self.keep_workers(now);
        let workers = if count == 1 { "worker" } else { "workers" };
        self.commands.push_back(Command::Notice(Notice::new(format!("{count} {workers} now"))));
    }

    /// Adds one slot, which starts at once.
    pub(super) fn grow(&mut self, now: Instant) {
        if self.state != PoolState::Running {
            return;
        }
        let count = self.slots.len();
        // The slots before the first gap have the numbers of their places.
        let is_in_place = |(number, slot): &(u32, &Slot)| slot.seat.slot == *number;
        let place = (0..).zip(&self.slots).take_while(is_in_place).count();
        let Some(number) = u32::try_from(place).ok().filter(|_| count < SLOTS_MAX) else {
            return self.commands.push_back(Command::Notice(Notice::new(format!(
                "cannot add a worker: {count} is the maximum"
            ))));
        };
        let slot = self.next_process(now, number, Role::Seated);
        self.commands.push_back(Command::Spawn(slot.seat));
        self.slots.insert(place, slot);
        self.intensity.resize(self.slots.len());
    }

    /// Removes a slot. Its worker finishes what it has begun and is not replaced.
    pub(super) fn shrink(&mut self, now: Instant) {
        if self.state != PoolState::Running {
            return;
        }
        if self.slots.len() <= 1 && !self.is(Mutant::ShrinkToNone) {
            return self.commands.push_back(Command::Notice(Notice::new("cannot remove the last worker")));
        }
        let Some(place) = self.idlest() else { return };
        let slot = self.slots.remove(place);
        let seat = slot.seat;
        if slot.state.has_process() {
            self.unseated.push(Slot { role: Role::Leaving, ..slot });
            self.retire(now, seat);
        }
        // A successor that is starting for it goes too, however far it is.
        let successor = |other: &&mut Slot| other.seat.slot == seat.slot && other.role == Role::Successor;
        if let Some(successor) = self.unseated.iter_mut().find(successor) {
            successor.role = Role::Leaving;
            let seat = successor.seat;
            self.retire(now, seat);
        }
        self.intensity.resize(self.slots.len());
    }

    /// Returns the place of the slot whose worker holds the fewest targets; of equals, that of one without a process, or
    /// else of the last one.
    pub(super) fn idlest(&self) -> Option<usize> {
        let slots = self.slots.iter().enumerate();
        let cost = |slot: &Slot| (slot.credit.held(), slot.state.has_process());
        slots.min_by_key(|(place, slot)| (cost(slot), Reverse(*place))).map(|(place, _)| place)
    }

    /// Returns the place of the slot with this number. Slots are in the order of their numbers, which have gaps where
    /// slots were removed.
    pub(super) fn place_of(&self, number: u32) -> Option<usize> {
        self.slots.binary_search_by_key(&number, |slot| slot.seat.slot).ok()
    }

    /// Prepares a process for this slot, with a generation that was never used.
    pub(super) fn next_process(&mut self, now: Instant, number: u32, role: Role) -> Slot {
        let index = number as usize;
        if self.generations.len() <= index {
            self.generations.resize(index + 1, 0);
        }
        let generation = self.generations.get_mut(index).map_or(1, |last| {
            *last += 1;
            *last
        });
        let deadline = now + self.config.handshake_timeout;
        let seat = Seat { slot: number, generation };
        Slot::new(seat, role, now, self.config.credit(), deadline)
    }
}
