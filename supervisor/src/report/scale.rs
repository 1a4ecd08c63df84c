//! The time axis: positions and labels of its ticks.

use std::time::Duration;

use crate::units;

/// Width of every figure in its own units; about seven units are a pixel on a wide screen.
pub(super) const WIDTH: f64 = 10_000.0;

/// Approximate number of ticks on an axis.
const TICKS: f64 = 5.0;

/// A span of time as wide as a figure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    /// The time that the whole width stands for.
    pub(super) span_us: f64,
}

impl Scale {
    pub(super) fn new(span_us: u64) -> Self {
        Self { span_us: span_us.max(1) as f64 }
    }

    /// Returns the distance from the left edge, in units.
    pub(super) fn units(self, at_us: u64) -> f64 {
        at_us as f64 * WIDTH / self.span_us
    }

    /// Returns the axis. Its labels are placed in per cent, so that they stay in place at any
    /// width.
    pub(super) fn axis(self) -> String {
        let step = step(self.span_us);
        let ticks: String = (0..)
            .map(|n| f64::from(n) * step)
            .take_while(|at| *at <= self.span_us * 1.000_001)
            .map(|at| tick(at / self.span_us, &label(at)))
            .collect();
        format!("<div class=axis aria-hidden=true>{ticks}</div>")
    }
}

/// One label, `share` of the way from the left edge. Near the right edge it is placed on the other
/// side of its tick.
pub(super) fn tick(share: f64, label: &str) -> String {
    let side = if share > 0.9 { " class=end" } else { "" };
    format!("<span{side} style=\"left:{:.3}%\">{label}</span>", share * 100.0)
}

/// Returns 1, 2 or 5 times a power of ten, so that about [`TICKS`] fit.
fn step(span_us: f64) -> f64 {
    let rough = span_us / TICKS;
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough)
        .unwrap_or(10.0 * power)
}

fn label(at_us: f64) -> String {
    if at_us == 0.0 { "0".to_owned() } else { units::duration(Duration::from_nanos((at_us * 1e3) as u64)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        for (span_us, expected) in
            [(1_000_000.0, 200_000.0), (45_700_000.0, 10_000_000.0), (567_000.0, 200_000.0), (3.0, 1.0)]
        {
            assert!((step(span_us) / expected - 1.0).abs() < 1e-9, "{span_us}: {}", step(span_us));
        }
        let axis = Scale::new(1_000_000).axis();
        for part in ["left:0.000%\">0<", "left:20.000%\">200 ms<", "left:100.000%\">1 s<"] {
            assert!(axis.contains(part), "{part}: {axis}");
        }
    }
}
