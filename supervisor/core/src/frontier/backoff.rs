//! How long a failed target waits: exponential backoff with full jitter.
//!
//! Full jitter draws from zero to the whole step, not from a step ± 25 %. Targets that failed
//! together, because their host was down, should not come back together.

use std::time::Duration;

use fastrand::Rng;

/// The backoff steps: `base · 2ⁿ`, at most `cap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffConfig {
    /// Longest wait after the first attempt.
    pub base: Duration,
    /// Longest wait after any attempt.
    pub cap: Duration,
}

impl Default for BackoffConfig {
    /// Half a second is a few round trips and the restart of a small service. Beyond half a minute,
    /// a longer wait no longer relieves the host; it only delays the end of the run.
    fn default() -> Self {
        Self { base: Duration::from_millis(500), cap: Duration::from_secs(30) }
    }
}

impl BackoffConfig {
    /// Returns the wait after failed attempt number `attempt`, counted from 1.
    pub(super) fn delay(&self, rng: &mut Rng, attempt: u32) -> Duration {
        uniform(rng, self.longest(attempt))
    }

    fn longest(&self, attempt: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }
}

/// Draws a duration from zero to `longest`.
pub(super) fn uniform(rng: &mut Rng, longest: Duration) -> Duration {
    Duration::from_nanos(rng.u64(0..=u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_double_up_to_the_cap() {
        let table = [
            (0, 500),
            (1, 500),
            (2, 1000),
            (3, 2000),
            (6, 16_000),
            (7, 30_000),
            (33, 30_000),
            (u32::MAX, 30_000),
        ];
        for (attempt, expected_ms) in table {
            assert_eq!(
                BackoffConfig::default().longest(attempt),
                Duration::from_millis(expected_ms),
                "attempt {attempt}"
            );
        }
    }

    #[test]
    fn jitter_is_spread_over_the_whole_step() {
        let mut rng = Rng::with_seed(1);
        let backoff = BackoffConfig::default();
        let longest = backoff.longest(3);
        let mut quarters = [0_u32; 4];
        for _ in 0..4000 {
            let delay = backoff.delay(&mut rng, 3);
            assert!(delay <= longest);
            quarters[(delay.as_nanos() * 4 / (longest.as_nanos() + 1)) as usize] += 1;
        }
        assert!(quarters.iter().all(|count| (900..1100).contains(count)), "{quarters:?}");
    }
}
