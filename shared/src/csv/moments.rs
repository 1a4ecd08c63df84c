//! Mean and variance in one pass, mergeable across parts.
//!
//! Within a part: Welford's recurrence. Across parts: T. F. Chan, G. H. Golub and R. J. LeVeque, "Updating
//! Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979. Parts are merged in the order of the
//! file, so every run gives the same last digit.

use serde::{Deserialize, Serialize};

/// Count, mean and the sum of squared differences from the mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Adds a value.
    #[inline]
    pub fn add(&mut self, value: f64) {
        self.count += 1.0;
        let off = value - self.mean;
        self.mean += off / self.count;
        self.squares += off * (value - self.mean);
    }

    /// Merges the values of the next part.
    pub fn merge(&mut self, next: &Self) {
        if self.count == 0.0 {
            *self = *next;
        } else if next.count > 0.0 {
            let count = self.count + next.count;
            let apart = next.mean - self.mean;
            self.mean += apart * next.count / count;
            self.squares += next.squares + apart * apart * self.count * next.count / count;
            self.count = count;
        }
    }

    /// Returns the sample variance (over n − 1), or `None` for fewer than two values.
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        (self.count >= 2.0).then(|| self.squares / (self.count - 1.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64]) -> Moments {
        let mut moments = Moments::default();
        values.iter().for_each(|value| moments.add(*value));
        moments
    }

    #[test]
    fn the_variance_is_that_of_a_sample() {
        assert_eq!(of(&[]).variance(), None);
        assert_eq!(of(&[3.0]).variance(), None);
        assert_eq!(of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).variance(), Some(32.0 / 7.0));
        // Here a sum of squares would lose every significant digit.
        let far = of(&[1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0]);
        assert_eq!(far.variance(), Some(30.0));
    }

    proptest! {
        #[test]
        fn parts_together_are_the_whole(
            values in proptest::collection::vec(-1e6..1e6_f64, 2..80),
            cut in 0..80_usize,
        ) {
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut merged = of(left);
            merged.merge(&of(right));
            let (got, want) = (merged.variance().unwrap(), of(&values).variance().unwrap());
            prop_assert!((got - want).abs() <= 1e-9 * want.max(1.0), "{got} {want}");
        }
    }
}
