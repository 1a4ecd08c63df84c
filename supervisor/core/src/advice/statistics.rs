//! Means, medians and lines through points.

/// Microseconds as seconds.
pub(super) fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// What a target takes, by its size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub(super) start: f64,
    pub(super) slope: f64,
}

impl Line {
    /// The line through these points: least squares, where the variance grows as `x` does. Neither its start nor its
    /// slope is negative.
    pub(super) fn through(points: &[(f64, f64)]) -> Self {
        let weight = |x: f64| 1.0 / x.max(1.0);
        let sum =
            |of: &dyn Fn(f64, f64) -> f64| points.iter().map(|&(x, y)| weight(x) * of(x, y)).sum::<f64>();
        let total = sum(&|_, _| 1.0).max(1e-12);
        let (x_mean, y_mean) = (sum(&|x, _| x) / total, sum(&|_, y| y) / total);
        let spread = sum(&|x, _| (x - x_mean).powi(2));
        let plain = mean(&points.iter().map(|(_, y)| *y).collect::<Vec<_>>());
        let slope = if spread > 1e-9 { sum(&|x, y| (x - x_mean) * (y - y_mean)) / spread } else { 0.0 };
        match (slope > 0.0, y_mean - slope * x_mean) {
            (false, _) => Self { start: plain, slope: 0.0 },
            (true, start) if start >= 0.0 => Self { start, slope },
            (true, _) => Self { start: 0.0, slope: y_mean / x_mean.max(1e-12) },
        }
    }

    pub(super) fn at(self, x: f64) -> f64 {
        self.start + self.slope * x
    }
}

pub(super) fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

pub(super) fn median(mut values: Vec<u64>) -> Option<f64> {
    values.sort_unstable();
    values.get(values.len() / 2).map(|us| seconds(*us))
}
