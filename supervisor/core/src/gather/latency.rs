//! How long targets took: a histogram of fixed size, exact to three digits.

use hdrhistogram::Histogram;

/// Longest distinguishable time: one hour in microseconds. Longer times count as this.
const LONGEST_US: u64 = 3_600_000_000;

/// Bins per decade of [`Latency::bins`]. Each bin is an eighth wider than the one before.
const BINS_PER_DECADE: f64 = 20.0;

/// Inclusive upper bounds of the buckets of [`Latencies`], in microseconds. A last bucket has no
/// bound.
pub const LATENCY_BOUNDS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000, 30_000_000,
];

/// How long inputs took, as a histogram that costs a few comparisons per record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latencies {
    /// Inputs in each bucket, not cumulative.
    pub counts: [u64; LATENCY_BOUNDS_US.len() + 1],
    /// Sum of all times.
    pub sum_us: u64,
}

impl Latencies {
    /// Records that `inputs` inputs took this long.
    pub fn observe(&mut self, elapsed_us: u64, inputs: u64) {
        let bucket = LATENCY_BOUNDS_US.partition_point(|bound| *bound < elapsed_us);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += inputs;
        }
        self.sum_us = self.sum_us.saturating_add(elapsed_us.saturating_mul(inputs));
    }

    /// Adds the difference between `after` and `before`, an earlier state of it.
    pub fn grow(&mut self, before: &Self, after: &Self) {
        for (count, (before, after)) in self.counts.iter_mut().zip(before.counts.iter().zip(&after.counts)) {
            *count += after.saturating_sub(*before);
        }
        self.sum_us = self.sum_us.saturating_add(after.sum_us.saturating_sub(before.sum_us));
    }
}

/// One bar of the distribution. Its bounds are a fixed ratio apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatencyBin {
    /// Lower bound in microseconds, inclusive.
    pub from_us: f64,
    /// Upper bound in microseconds, exclusive.
    pub to_us: f64,
    /// Targets within these bounds.
    pub count: u64,
}

/// The distribution of how long targets took, in microseconds.
#[derive(Debug, Clone)]
pub struct Latency {
    histogram: Histogram<u64>,
    /// Kept separately: the histogram would round it up to the end of its bucket.
    max_us: u64,
    /// The same times in a few buckets, cheap to copy and to compare.
    coarse: Latencies,
}

impl Latency {
    pub(super) fn new() -> Self {
        #[expect(clippy::expect_used, reason = "the bounds are constants, and every test makes one")]
        let histogram =
            Histogram::new_with_bounds(1, LONGEST_US, 3).expect("1 ≤ low, 2·low ≤ high, digits ≤ 5");
        Self { histogram, max_us: 0, coarse: Latencies::default() }
    }

    pub(super) fn record(&mut self, elapsed_us: u64) {
        self.record_many(elapsed_us, 1);
    }

    /// Records that `count` targets took this long.
    pub(super) fn record_many(&mut self, elapsed_us: u64, count: u64) {
        self.histogram.saturating_record_n(elapsed_us.max(1), count);
        self.max_us = self.max_us.max(elapsed_us);
        self.coarse.observe(elapsed_us, count);
    }

    /// Returns the time within which `quantile` (0 to 1) of the targets ended; 0 if there were
    /// none.
    #[must_use]
    pub fn quantile_us(&self, quantile: f64) -> u64 {
        // The histogram returns the upper end of a bucket, which may exceed the longest time.
        self.histogram.value_at_quantile(quantile).min(self.max_us)
    }

    /// Returns the distribution in a few buckets.
    #[must_use]
    pub fn coarse(&self) -> &Latencies {
        &self.coarse
    }

    /// Returns the longest time.
    #[must_use]
    pub fn max_us(&self) -> u64 {
        self.max_us
    }

    /// Returns the distribution over bins of equal ratio, from the shortest to the longest time,
    /// empty bins included.
    #[must_use]
    pub fn bins(&self) -> Vec<LatencyBin> {
        let mut bins: Vec<LatencyBin> = Vec::new();
        let bound = |index: f64| 10_f64.powf(index / BINS_PER_DECADE);
        for recorded in self.histogram.iter_recorded() {
            let value_us = recorded.value_iterated_to().max(1) as f64;
            // Rounding must not put a value that equals a bound below it.
            let index = (value_us.log10() * BINS_PER_DECADE + 1e-9).floor();
            let mut next = bins.last().map_or(bound(index), |last| last.to_us);
            while bins.is_empty() || next < bound(index + 0.5) {
                let to_us = next * bound(1.0);
                bins.push(LatencyBin { from_us: next, to_us, count: 0 });
                next = to_us;
            }
            if let Some(last) = bins.last_mut() {
                last.count += recorded.count_since_last_iteration();
            }
        }
        bins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[u64]) -> Latency {
        let mut latency = Latency::new();
        values.iter().for_each(|&value| latency.record(value));
        latency
    }

    #[test]
    fn quantiles_are_within_a_thousandth() {
        let latency = of(&(1..=100_000).collect::<Vec<_>>());
        for (quantile, expected) in [(0.5, 50_000.0), (0.9, 90_000.0), (0.99, 99_000.0)] {
            let found = latency.quantile_us(quantile) as f64;
            assert!((found / expected - 1.0).abs() < 1e-3, "{quantile}: {found}");
        }
        assert_eq!(of(&[]).quantile_us(0.5), 0);
        assert_eq!(of(&[0]).quantile_us(0.5), 0);
        assert_eq!(of(&[12_345]).quantile_us(0.99), 12_345);
        assert_eq!(of(&[u64::MAX]).max_us(), u64::MAX);
    }

    #[test]
    fn bins_are_contiguous_and_hold_every_target_once() {
        for values in [&[][..], &[1], &[10, 100, 1_000], &[1, 1, 999, 1_000_000, 3_599_000_000]] {
            let bins = of(values).bins();
            assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), values.len() as u64);
            for pair in bins.windows(2) {
                assert!((pair[0].to_us - pair[1].from_us).abs() < 1e-9 * pair[1].from_us);
            }
            for &value in values {
                // Values are recorded to three digits, so one may lie a thousandth outside its bin.
                let (low, high) = (value as f64 * 0.999, value as f64 * 1.001);
                assert!(
                    bins.iter().any(|bin| bin.count > 0 && bin.from_us <= high && low < bin.to_us),
                    "{value}: {bins:?}"
                );
            }
            assert!(bins.len() <= 200);
        }
    }

    #[test]
    fn latencies_fall_into_their_buckets() {
        let mut latencies = Latencies::default();
        for (elapsed_us, bucket) in [(0, 0), (100, 0), (101, 1), (30_000_000, 15), (u64::MAX, 16)] {
            let before = latencies.counts[bucket];
            latencies.observe(elapsed_us, 2);
            assert_eq!(latencies.counts[bucket], before + 2, "{elapsed_us}");
        }
        assert_eq!(of(&[5, 500_000]).coarse().counts.iter().sum::<u64>(), 2);
    }
}
