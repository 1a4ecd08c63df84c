//! What the load was limited to at which time, in memory that does not grow with the run.

/// Samples kept. When there are more, every other one is dropped, and the next ones are taken half as often.
const SAMPLES_MAX: usize = 512;

/// Time between the first samples, in microseconds.
const FIRST_EVERY_US: u64 = 50_000;

/// The limits at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadSample {
    /// Time since the job began.
    pub at_us: u64,
    /// Maximum targets in flight, over all hosts; `None` if that is fixed.
    pub in_flight_max: Option<u32>,
    /// Maximum requests in flight to the busiest host; `None` if it has no limit.
    pub host_in_flight_max: Option<u32>,
    /// Starts per second at the slowest of the hosts that have refused something.
    pub pace_per_s: Option<f64>,
}

/// The limits over the run.
#[derive(Debug, Clone)]
pub struct LoadCurve {
    samples: Vec<LoadSample>,
    every_us: u64,
}

impl Default for LoadCurve {
    fn default() -> Self {
        Self { samples: Vec::new(), every_us: FIRST_EVERY_US }
    }
}

impl LoadCurve {
    /// Whether a sample is due this long after the job began.
    #[must_use]
    pub fn is_due(&self, at_us: u64) -> bool {
        self.samples.last().is_none_or(|last| at_us >= last.at_us + self.every_us)
    }

    /// Adds a sample. Samples come in the order of their time.
    pub fn add(&mut self, sample: LoadSample) {
        self.samples.push(sample);
        if self.samples.len() > SAMPLES_MAX {
            let mut keep = false;
            self.samples.retain(|_| {
                keep = !keep;
                keep
            });
            self.every_us = self.every_us.saturating_mul(2);
        }
    }

    /// Returns the samples, in the order of their time.
    #[must_use]
    pub fn samples(&self) -> &[LoadSample] {
        &self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_keeps_as_many_samples_as_a_short_one_all_over_it() {
        let mut curve = LoadCurve::default();
        let end_us = 24 * 3_600 * 1_000_000_u64;
        for at_us in (0..end_us).step_by(25_000) {
            if curve.is_due(at_us) {
                curve.add(LoadSample {
                    at_us,
                    in_flight_max: None,
                    host_in_flight_max: None,
                    pace_per_s: None,
                });
            }
        }
        let at_us: Vec<u64> = curve.samples().iter().map(|sample| sample.at_us).collect();
        assert!((SAMPLES_MAX / 2..=SAMPLES_MAX).contains(&at_us.len()), "{}", at_us.len());
        assert!(at_us.is_sorted() && at_us[0] == 0 && *at_us.last().unwrap() > end_us / 100 * 99);
        let widest_us = at_us.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(widest_us <= Some(end_us / 100), "{widest_us:?}");
    }
}
