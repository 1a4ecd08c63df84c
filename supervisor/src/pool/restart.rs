//! When a dead worker's slot is filled again, and when the pool gives up.
//!
//! Two limits, because two things go wrong. A worker that dies before it is
//! ready will die again: after too many of those the pool stops, loudly. A
//! worker that dies at work has usually met a bad input, which blame deals
//! with; but if deaths go on and nothing is ever finished, nobody is to blame
//! and the pool must stop as well.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Shortest time between two starts in one slot. Without it, a worker that
/// dies on load would respawn as fast as the kernel can fork.
const DELAY_MIN: Duration = Duration::from_millis(100);

/// Longest time between two starts in one slot.
const DELAY_MAX: Duration = Duration::from_secs(30);

/// A worker that lived this long starts its slot's count anew.
pub(crate) const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// Window in which deaths before `Ready` are counted.
const INTENSITY_WINDOW: Duration = Duration::from_secs(60);

/// Delay before start number `failures + 1`: `100 ms · 2ⁿ ≤ 30 s`, ± 25 % so that slots do not move in step.
pub(crate) fn delay(failures: u32, rng: &mut fastrand::Rng) -> Duration {
    let exponent = failures.min(16);
    let delay = DELAY_MIN.saturating_mul(1 << exponent).min(DELAY_MAX);
    delay.mul_f64(0.75 + rng.f64() * 0.5)
}

/// Counts the deaths that mean "this will not get better".
#[derive(Debug)]
pub(crate) struct Intensity {
    limit: usize,
    before_ready: VecDeque<Instant>,
    fruitless: usize,
}

impl Intensity {
    pub(crate) fn new(slots: usize) -> Self {
        Self { limit: (3 * slots).max(10), before_ready: VecDeque::new(), fruitless: 0 }
    }

    /// A target was finished: the pool as a whole moves.
    pub(crate) fn fruit(&mut self) {
        self.fruitless = 0;
    }

    /// A worker died; why the pool must stop, if it must.
    pub(crate) fn death(&mut self, now: Instant, was_ready: bool) -> Option<&'static str> {
        if was_ready {
            self.fruitless += 1;
            return (self.fruitless > self.limit).then_some("workers keep dying and nothing gets done");
        }
        self.before_ready.push_back(now);
        while self.before_ready.front().is_some_and(|at| now.duration_since(*at) > INTENSITY_WINDOW) {
            self.before_ready.pop_front();
        }
        (self.before_ready.len() > self.limit).then_some("workers die before they are ready")
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
                let got = delay(failures, &mut rng);
                let nominal = Duration::from_millis(nominal_ms);
                assert!(got >= nominal.mul_f64(0.75) && got <= nominal.mul_f64(1.25), "{failures}: {got:?}");
            }
        }
    }

    #[test]
    fn the_pool_gives_up_only_on_deaths_close_together() {
        let start = shared::clock::now();
        let mut slow = Intensity::new(2);
        let mut fast = Intensity::new(2);
        for n in 0..100u32 {
            assert_eq!(slow.death(start + Duration::from_secs(10) * n, false), None);
            let verdict = fast.death(start + Duration::from_millis(10) * n, false);
            assert_eq!(verdict.is_some(), n >= 10, "after {n} deaths");
        }
    }

    #[test]
    fn one_finished_target_forgives_the_deaths_before_it() {
        let now = shared::clock::now();
        let mut intensity = Intensity::new(1);
        for _ in 0..10 {
            assert_eq!(intensity.death(now, true), None);
        }
        intensity.fruit();
        assert_eq!(intensity.death(now, true), None);
    }
}
