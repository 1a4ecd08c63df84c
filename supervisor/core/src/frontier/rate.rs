//! The time between two starts at one host, as the user set it, and the instant of the next start.
//!
//! The instant is the "theoretical arrival time" of the generic cell rate algorithm (GCRA, ITU-T I.371) with no
//! tolerance: starts are never closer than their spacing, so that a server which counts single requests refuses none.
//! High rates need no burst to be cheap, because targets are handed out [`LEAD`] ahead with their exact start.
//! It counts whole nanoseconds, so a target can start at exactly the instant which was announced.

use std::time::{Duration, Instant};

use fastrand::Rng;

use super::backoff::uniform;

/// Longest spacing, for rates close to zero. It keeps every sum of instants in range.
const INTERVAL_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long before its start a target is handed out, so that it is in a worker by then. It covers a busy supervisor
/// and the way to the worker; a longer lead would hold the places of targets that could start at once.
pub const LEAD: Duration = Duration::from_millis(10);

/// The spacing, the same for all hosts. If its ends differ, each gap is drawn anew between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rate {
    least: Duration,
    most: Duration,
}

impl Rate {
    /// Allows `per_s` starts a second, evenly spaced.
    pub(super) fn new(per_s: f64) -> Self {
        let interval_ns = (1e9 / per_s).ceil();
        // A rate of zero or less also ends here: as slow as possible.
        let interval = if interval_ns >= 0.0 && interval_ns < INTERVAL_MAX.as_nanos() as f64 {
            Duration::from_nanos(interval_ns as u64)
        } else {
            INTERVAL_MAX
        };
        Self { least: interval, most: interval }
    }

    /// Leaves `least` to `most` between two starts.
    pub(super) fn between(least: Duration, most: Duration) -> Self {
        let least = least.min(INTERVAL_MAX);
        Self { least, most: most.clamp(least, INTERVAL_MAX) }
    }

    /// The longer this is, the lower the rate.
    pub(super) fn longest(&self) -> Duration {
        self.most
    }

    /// What every gap is at least.
    pub(super) fn least(&self) -> Duration {
        self.least
    }

    /// Returns the time from a start to the next.
    pub(super) fn draw(&self, rng: &mut Rng) -> Duration {
        if self.least == self.most { self.least } else { self.least + uniform(rng, self.most - self.least) }
    }
}

/// When the next target of one host may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NextStart(Instant);

impl NextStart {
    pub(super) fn at_once(now: Instant) -> Self {
        Self(now)
    }

    /// The next start; not later than `now` if one is possible at once.
    pub(super) fn at(self) -> Instant {
        self.0
    }

    /// When a target for that start should be handed out. It leaves half a [`LEAD`], so that a high rate wakes its
    /// caller for several targets at once.
    pub(super) fn ready_at(self, now: Instant) -> Instant {
        if self.0 <= now + LEAD { now } else { self.0.checked_sub(LEAD / 2).unwrap_or(now) }
    }

    /// Records a start, after which nothing starts for `interval`.
    pub(super) fn take(&mut self, start: Instant, interval: Duration) {
        self.0 = self.0.max(start + interval.min(INTERVAL_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_never_closer_than_the_rate_and_handed_out_ahead() {
        for (per_s, spacing_us) in [(0.5, 2_000_000), (20.0, 50_000), (1000.0, 1_000)] {
            let rate = Rate::new(per_s);
            let mut rng = Rng::with_seed(1);
            let zero = wire::clock::now();
            let (mut now, mut next) = (zero, NextStart::at_once(zero));
            let mut wakes = 0;
            for n in 0..100_u32 {
                if next.ready_at(now) > now {
                    now = next.ready_at(now);
                    wakes += 1;
                }
                let start = now.max(next.at());
                assert_eq!(start, zero + Duration::from_micros(spacing_us) * n, "{per_s}/s");
                assert!(start <= now + LEAD);
                next.take(start, rate.draw(&mut rng));
            }
            assert!(wakes <= 99 && (per_s < 1000.0 || wakes <= 20), "{per_s}/s: {wakes} wakes");
        }
    }

    #[test]
    fn an_idle_host_saves_up_nothing() {
        let rate = Rate::new(50.0);
        let zero = wire::clock::now();
        let mut next = NextStart::at_once(zero);
        let later = zero + Duration::from_secs(3600);
        next.take(later, rate.draw(&mut Rng::with_seed(1)));
        assert_eq!(next.at(), later + Duration::from_millis(20));
    }

    #[test]
    fn drawn_delays_fill_their_range() {
        let (least, most) = (Duration::from_millis(100), Duration::from_millis(300));
        let rate = Rate::between(least, most);
        let mut rng = Rng::with_seed(1);
        let draws: Vec<_> = (0..1000).map(|_| rate.draw(&mut rng)).collect();
        assert!(draws.iter().all(|drawn| (least..=most).contains(drawn)));
        let mean = draws.iter().sum::<Duration>() / 1000;
        assert!((190..210).contains(&mean.as_millis()), "{mean:?}");
    }

    #[test]
    fn odd_rates_are_no_faster_than_asked() {
        let table = [
            (3.0, Duration::from_nanos(333_333_334)),
            (1e-12, INTERVAL_MAX),
            (0.0, INTERVAL_MAX),
            (-1.0, INTERVAL_MAX),
            (f64::NAN, INTERVAL_MAX),
            (f64::INFINITY, Duration::ZERO),
        ];
        for (per_s, interval) in table {
            assert_eq!(Rate::new(per_s).longest(), interval, "{per_s}/s");
        }
    }
}
