//! When a dead worker's slot is filled again, and when the pool gives up.
//!
//! Four things can go wrong, and five counts limit them. A worker that dies before it is ready
//! will die again. Such deaths are counted within a minute and in a row; the limit in a row is
//! lower until the first worker was ready. A worker that dies at work has usually met a bad input,
//! and blame handles that. If workers keep dying, no target is to blame and none is finished, the
//! pool stops. It also stops after more than a thousand deaths in a row that each have a target to
//! blame, because then the inputs are not the cause. A worker that says that it cannot go on may
//! have been taken over by an input. It is believed when the next one says so too, with nothing
//! finished in between: what the machine lacks, all workers lack.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Shortest delay between two starts in one slot. Without it, a worker that dies on load would be
/// restarted as fast as the kernel can fork.
const DELAY_MIN: Duration = Duration::from_millis(100);

/// Longest delay between two starts in one slot.
const DELAY_MAX: Duration = Duration::from_secs(30);

/// A worker that lived this long resets its slot's count.
pub const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// Window in which deaths before `Ready` are counted.
const INTENSITY_WINDOW: Duration = Duration::from_secs(60);

/// Deaths before `Ready` in a row, over all slots, after which a small pool that has never had a
/// ready worker stops. That is about three seconds of one slot's backoff, for a user who is
/// waiting.
const FIRST_STARTS_MIN: usize = 5;

/// Deaths in a row, each with a target to blame and no target finished in between. A cluster of bad
/// inputs stays far below: three deaths for each of a few hundred.
const BLAMED_MAX: usize = 1000;

/// Workers in a row that give up without a target to blame, after which the pool stops.
const GAVE_UP_MAX: usize = 2;

/// The kind of a worker's death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeathKind {
    /// Before it was ready.
    BeforeReady,
    /// At work, with a target to blame.
    Blamed,
    /// At work, with no target to blame.
    Unexplained,
    /// It said that it cannot go on, with no target to blame.
    GaveUp,
}

/// Delay before start number `failures + 1`: `100 ms · 2ⁿ ≤ 30 s`, ± 25 % so that slots do not
/// restart in step.
pub fn restart_delay(failures: u32, rng: &mut fastrand::Rng) -> Duration {
    let exponent = failures.min(16);
    let delay = DELAY_MIN.saturating_mul(1 << exponent).min(DELAY_MAX);
    delay.mul_f64(0.75 + rng.f64() * 0.5)
}

/// Counts the deaths that mean that restarting will not help.
#[derive(Debug)]
pub(crate) struct Intensity {
    slots: usize,
    before_ready: VecDeque<Instant>,
    /// Deaths before `Ready` since a worker last became ready. With the backoff of a single slot,
    /// deaths are too far apart for the window.
    unready: usize,
    ever_ready: bool,
    unexplained: usize,
    blamed: usize,
    gave_up: usize,
}

impl Intensity {
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            slots,
            before_ready: VecDeque::new(),
            unready: 0,
            ever_ready: false,
            unexplained: 0,
            blamed: 0,
            gave_up: 0,
        }
    }

    /// Sets the number of slots.
    pub(crate) fn resize(&mut self, slots: usize) {
        self.slots = slots;
    }

    fn limit(&self, least: usize) -> usize {
        (3 * self.slots).max(least)
    }

    /// Records that a worker became ready: starting one is possible.
    pub(crate) fn ready(&mut self) {
        self.ever_ready = true;
        self.unready = 0;
    }

    /// Records that a target was finished: the pool makes progress. Then deaths before `Ready` are
    /// bad luck (someone kills workers and hits some that are starting), not a broken start. Without `resources`, the
    /// worker may still lack what other targets need.
    pub(crate) fn on_progress(&mut self, resources: bool) {
        self.unexplained = 0;
        self.blamed = 0;
        if resources {
            self.gave_up = 0;
        }
        self.unready = 0;
        self.before_ready.clear();
    }

    /// Records that a target was quarantined, so its deaths are over. Deaths with a target to blame
    /// keep counting.
    pub(crate) fn set_aside(&mut self) {
        self.unexplained = 0;
    }

    /// Records a death. Returns why the pool must stop, if it must.
    pub(crate) fn death(&mut self, now: Instant, kind: DeathKind) -> Option<&'static str> {
        let limit = self.limit(10);
        match kind {
            DeathKind::Blamed => {
                self.blamed += 1;
                (self.blamed > BLAMED_MAX).then_some("workers die on every input")
            }
            DeathKind::Unexplained => {
                self.unexplained += 1;
                (self.unexplained > limit).then_some("workers keep dying and nothing gets done")
            }
            DeathKind::GaveUp => {
                self.gave_up += 1;
                (self.gave_up >= GAVE_UP_MAX).then_some("no worker can go on")
            }
            DeathKind::BeforeReady => {
                self.unready += 1;
                self.before_ready.push_back(now);
                while self.before_ready.front().is_some_and(|at| now.duration_since(*at) > INTENSITY_WINDOW) {
                    self.before_ready.pop_front();
                }
                let in_a_row = if self.ever_ready { limit } else { self.limit(FIRST_STARTS_MIN) };
                let too_many = self.before_ready.len() > limit || self.unready > in_a_row;
                too_many.then_some("workers die before they are ready")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit_and_stay_within_a_quarter() {
        let mut rng = fastrand::Rng::with_seed(1);
        for (failures, nominal_ms) in [(0, 100), (1, 200), (5, 3_200), (9, 30_000), (60, 30_000)] {
            for _ in 0..100 {
                let got = restart_delay(failures, &mut rng);
                let nominal = Duration::from_millis(nominal_ms);
                assert!(got >= nominal.mul_f64(0.75) && got <= nominal.mul_f64(1.25), "{failures}: {got:?}");
            }
        }
    }

    #[test]
    fn unexplained_deaths_add_up_until_a_target_is_finished() {
        let now = wire::clock::now();
        let mut intensity = Intensity::new(1);
        for finished in [true, false] {
            for _ in 0..10 {
                assert_eq!(intensity.death(now, DeathKind::Unexplained), None);
            }
            if finished { intensity.on_progress(true) } else { intensity.set_aside() }
        }
        for n in 1..=11 {
            assert_eq!(intensity.death(now, DeathKind::Unexplained).is_some(), n > 10, "{n}");
        }
    }

    #[test]
    fn deaths_before_ready_are_forgiven_while_work_gets_done() {
        let now = wire::clock::now();
        let mut intensity = Intensity::new(8);
        for _ in 0..1_000 {
            assert_eq!(intensity.death(now, DeathKind::BeforeReady), None);
            intensity.on_progress(true);
        }
    }

    #[test]
    fn deaths_with_a_culprit_count_for_little() {
        let now = wire::clock::now();
        let mut intensity = Intensity::new(8);
        for n in 1..=1001 {
            assert_eq!(intensity.death(now, DeathKind::Blamed).is_some(), n > 1000, "{n}");
        }
    }

    /// Simulates starts that fail in every slot, one after the other, with the backoff in between.
    /// Returns how many it takes until the pool gives up.
    fn failing_starts(slots: usize, ever_ready: bool) -> (usize, Duration) {
        let start = wire::clock::now();
        let mut rng = fastrand::Rng::with_seed(7);
        let mut intensity = Intensity::new(slots);
        if ever_ready {
            intensity.ready();
        }
        let mut due: Vec<_> = (0..slots).map(|_| (start, 0)).collect();
        for n in 1..1000 {
            let slot = due.iter_mut().min().unwrap();
            let now = slot.0;
            if intensity.death(now, DeathKind::BeforeReady).is_some() {
                return (n, now - start);
            }
            *slot = (now + restart_delay(slot.1, &mut rng), slot.1 + 1);
        }
        panic!("{slots} slots never give up");
    }

    #[test]
    fn failing_starts_are_bounded_for_any_number_of_slots() {
        let table =
            [(1, false, 6, 4), (1, true, 11, 130), (3, false, 10, 2), (8, false, 25, 2), (8, true, 25, 2)];
        for (slots, ever_ready, starts, within_s) in table {
            let (got, after) = failing_starts(slots, ever_ready);
            assert_eq!(got, starts, "{slots} slots, ready before: {ever_ready}");
            assert!(after <= Duration::from_secs(within_s), "{slots} slots took {after:?}");
        }
    }

    #[test]
    fn a_ready_worker_forgives_failed_starts_far_apart() {
        let start = wire::clock::now();
        let mut intensity = Intensity::new(2);
        for n in 0..100u32 {
            assert_eq!(intensity.death(start + Duration::from_secs(10) * n, DeathKind::BeforeReady), None);
            intensity.ready();
        }
    }
}
