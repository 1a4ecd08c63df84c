//! Throughput over time, and the distribution of how long targets took.

use std::time::Duration;

use supervisor_core::gather::{LatencyBin, Point};

use super::overview::area;
use super::scale::{Scale, WIDTH, tick};
use super::setup;
use crate::summary::ModeRun;
use crate::units;

/// Columns of a throughput chart: enough to show a dip, few enough that each holds several results.
const COLUMNS_MAX: usize = 120;

/// Results per second over the run. Each run has its own scale.
pub(super) fn throughput(runs: &[ModeRun]) -> String {
    let charts: String = runs.iter().map(throughput_chart).collect();
    let each = if runs.len() > 1 { " Each run has its own scales." } else { "" };
    format!(
        "<section id=throughput>\n<h2>Throughput over time</h2>\n<p>Results per second.{each}</p>\n\
         <div class=multiples>\n{charts}</div></section>\n"
    )
}

fn throughput_chart(run: &ModeRun) -> String {
    let points = run.timeline.total();
    let group = points.len().div_ceil(COLUMNS_MAX).max(1);
    let width_us = run.timeline.width_us() * group as u64;
    let per_second = |results: u64| results as f64 * 1e6 / width_us as f64;
    let columns: Vec<_> = points.chunks(group).map(sum).collect();
    let most = columns.iter().map(|column| per_second(column.items)).fold(0.0, f64::max);
    if most == 0.0 {
        return String::new();
    }
    // The last column may extend past the end of the run. The axis ends with the columns.
    let scale = Scale::new(width_us * columns.len() as u64);
    let step = WIDTH / columns.len() as f64;
    let data: Vec<_> = columns.iter().map(|column| format!("{} {}", column.items, column.failed)).collect();
    format!(
        "<figure><figcaption><b class={mode}>{mode}</b> <small>{}, up to {} per second</small></figcaption>\n\
         <svg class=throughput viewBox=\"0 0 {WIDTH} 100\" preserveAspectRatio=none tabindex=0 role=img \
         aria-label=\"Results per second over time, {mode}\" data-step-us={width_us} data-columns=\"{}\">\
         <path class=items d=\"{}\"/><path class=fail d=\"{}\"/></svg>{}</figure>\n",
        setup(run),
        units::number(most),
        data.join(","),
        area(columns.iter().map(|column| per_second(column.items) / most), step),
        area(columns.iter().map(|column| per_second(column.failed) / most), step),
        scale.axis(),
        mode = run.summary.mode.name(),
    )
}

fn sum(points: &[Point]) -> Point {
    Point {
        items: points.iter().map(|point| point.items).sum(),
        failed: points.iter().map(|point| point.failed).sum(),
        ..Point::default()
    }
}

/// The distribution of how long targets took, on a logarithmic scale that all runs share.
pub(super) fn latency(runs: &[ModeRun]) -> String {
    let bins = || runs.iter().flat_map(|run| &run.latency);
    let Some(low) = bins().map(|bin| bin.from_us).min_by(f64::total_cmp) else {
        return String::new();
    };
    let high = bins().map(|bin| bin.to_us).fold(low, f64::max);
    let axis = LogAxis { low: low.log10(), high: high.log10().max(low.log10() + 1.0) };
    let charts: String = runs.iter().map(|run| latency_chart(run, axis)).collect();
    format!(
        "<section id=latency>\n<h2>How long a target took</h2>\n\
         <p>From its start to its result, waiting included, on a logarithmic scale.</p>\n<div class=multiples>\n{charts}</div></section>\n"
    )
}

#[derive(Clone, Copy)]
struct LogAxis {
    low: f64,
    high: f64,
}

impl LogAxis {
    /// From 0 at the left edge to 1 at the right edge.
    fn share(self, at_us: f64) -> f64 {
        ((at_us.max(1e-3).log10() - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    fn html(self) -> String {
        // With few powers of ten on the axis, intermediate ticks are needed to read off values.
        let factors: &[f64] = if self.high - self.low < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let decades = self.low.floor() as i32..=self.high.ceil() as i32;
        let ticks: String = decades
            .flat_map(|decade| factors.iter().map(move |factor| factor * 10_f64.powi(decade)))
            .filter(|at_us| (self.low - 1e-9..=self.high + 1e-9).contains(&at_us.log10()))
            .map(|at_us| {
                tick(self.share(at_us), &units::duration(Duration::from_nanos((at_us * 1e3) as u64)))
            })
            .collect();
        format!("<div class=axis aria-hidden=true>{ticks}</div>")
    }
}

fn latency_chart(run: &ModeRun, axis: LogAxis) -> String {
    let most = run.latency.iter().map(|bin| bin.count).max().unwrap_or(0);
    if most == 0 {
        return String::new();
    }
    let bars: String =
        run.latency.iter().filter(|bin| bin.count > 0).map(|bin| bar(bin, most, axis)).collect();
    let latency = run.summary.latency_ms;
    let marks = [("p50", latency.p50), ("p90", latency.p90), ("p99", latency.p99)];
    let lines: String = marks
        .iter()
        .map(|(name, ms)| format!("<path class={name} d=\"M{:.0} 0v100\"/>", WIDTH * axis.share(ms * 1e3)))
        .collect();
    let words: Vec<_> = marks
        .iter()
        .map(|(name, ms)| {
            let time = units::duration(Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default());
            format!("<span class={name}>{name} {time}</span>")
        })
        .collect();
    format!(
        "<figure><figcaption><b class={mode}>{mode}</b> <small>{}</small></figcaption>\n\
         <svg class=latency viewBox=\"0 0 {WIDTH} 100\" preserveAspectRatio=none role=img \
         aria-label=\"How long targets took, {mode}\">{bars}{lines}</svg>{}</figure>\n",
        words.join(" "),
        axis.html(),
        mode = run.summary.mode.name(),
    )
}

fn bar(bin: &LatencyBin, most: u64, axis: LogAxis) -> String {
    let (from, to) = (WIDTH * axis.share(bin.from_us), WIDTH * axis.share(bin.to_us));
    // A bin with one target among thousands must still be visible.
    let height = (100.0 * bin.count as f64 / most as f64).max(1.5);
    let time = |us: f64| units::duration(Duration::from_nanos((us * 1e3) as u64));
    format!(
        "<rect class=items x={from:.0} width={:.0} y={:.1} height={height:.1}><title>{} to {}: {}</title></rect>",
        (to - from - 12.0).max(8.0),
        100.0 - height,
        time(bin.from_us),
        time(bin.to_us),
        units::count(bin.count),
    )
}
