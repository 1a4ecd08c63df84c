//! Starts per second to one host: a token bucket, stored as one instant.
//!
//! The instant is when the bucket will be full again (the "theoretical arrival time" of the generic
//! cell rate algorithm). It counts whole nanoseconds, not fractions of tokens, so a token can be
//! taken at exactly the instant at which it was announced.

use std::time::{Duration, Instant};

/// Longest spacing, for rates close to zero. It keeps every sum of instants in range.
const INTERVAL_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The rate, the same for all hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rate {
    /// Time between two starts in the long run.
    interval: Duration,
    /// How far starts may run ahead of that spacing.
    ahead_max: Duration,
}

impl Rate {
    /// Allows `per_s` starts a second. A tenth of a second's worth may start at once, so that a
    /// high rate needs no wake-up per target. Below 20 a second, starts are evenly spaced.
    pub(super) fn new(per_s: f64) -> Self {
        let interval_ns = (1e9 / per_s).ceil();
        // A rate of zero or less also ends here: as slow as possible.
        let interval = if interval_ns >= 0.0 && interval_ns < INTERVAL_MAX.as_nanos() as f64 {
            Duration::from_nanos(interval_ns as u64)
        } else {
            INTERVAL_MAX
        };
        let burst = (per_s / 10.0).max(1.0) as u32;
        Self { interval, ahead_max: interval.saturating_mul(burst - 1) }
    }

    /// Time between two starts in the long run: the longer, the lower the rate.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }
}

/// The tokens of one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket {
    full_at: Instant,
}

impl Bucket {
    pub(super) fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// When the bucket is full again, so that earlier starts no longer matter.
    pub(super) fn full_at(self) -> Instant {
        self.full_at
    }

    /// When the next token can be taken. Not later than `now` if one is available.
    pub(super) fn next_at(self, now: Instant, rate: &Rate) -> Instant {
        self.full_at.checked_sub(rate.ahead_max).unwrap_or(now)
    }

    pub(super) fn take(&mut self, now: Instant, rate: &Rate) {
        self.full_at = self.full_at.max(now) + rate.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes tokens as fast as the bucket allows, and returns when each was taken, in milliseconds.
    fn starts_ms(per_s: f64, count: usize) -> Vec<u128> {
        let rate = Rate::new(per_s);
        let zero = wire::clock::now();
        let mut now = zero;
        let mut bucket = Bucket::full(now);
        let mut starts = Vec::new();
        for _ in 0..count {
            now = now.max(bucket.next_at(now, &rate));
            bucket.take(now, &rate);
            starts.push((now - zero).as_millis());
        }
        starts
    }

    #[test]
    fn tokens_come_at_the_rate_after_the_burst() {
        let table: [(f64, &[u128]); 5] = [
            (0.5, &[0, 2000, 4000]),
            (4.0, &[0, 250, 500, 750]),
            (10.0, &[0, 100, 200]),
            (20.0, &[0, 0, 50, 100, 150]),
            (50.0, &[0, 0, 0, 0, 0, 20, 40, 60]),
        ];
        for (per_s, expected) in table {
            assert_eq!(starts_ms(per_s, expected.len()), expected, "{per_s}/s");
        }
    }

    #[test]
    fn an_idle_host_saves_up_one_burst_and_no_more() {
        let rate = Rate::new(50.0);
        let zero = wire::clock::now();
        let mut bucket = Bucket::full(zero);
        let later = zero + Duration::from_secs(3600);
        for _ in 0..5 {
            assert!(bucket.next_at(later, &rate) <= later);
            bucket.take(later, &rate);
        }
        assert_eq!(bucket.next_at(later, &rate), later + Duration::from_millis(20));
        assert_eq!(bucket.full_at(), later + Duration::from_millis(100));
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
            assert_eq!(Rate::new(per_s).interval, interval, "{per_s}/s");
        }
    }
}
