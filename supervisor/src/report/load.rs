//! What the load was limited to over time: targets in flight, requests to the busiest host, and the pace of a host that
//! refused requests; with the refusals below.

use supervisor_core::gather::{LoadSample, Point};

use super::overview::{HEIGHT, area};
use super::scale::{Scale, WIDTH};
use super::setup;
use crate::summary::ModeRun;
use crate::units;

/// Columns of the refusals, as many as those of the throughput.
const COLUMNS_MAX: usize = 120;

/// The section, if the load of any run was limited by something that changed.
pub(super) fn section(runs: &[ModeRun]) -> String {
    let charts: String = runs.iter().map(chart).collect();
    if charts.is_empty() {
        return charts;
    }
    format!(
        "<section id=load>\n<h2>Load over time</h2>\n\
         <p>What was in flight, and what it was limited to. Each run has its own scales.</p>\n\
         <ul class=legend><li><i class=wait></i>in flight<li><i class=limit></i>most in flight\
         <li><i class=host></i>most in flight to the busiest host<li><i class=pace></i>pace of a host that refused requests\
         <li><i class=fail></i>refusals</ul>\n<div class=multiples>\n{charts}</div></section>\n"
    )
}

fn chart(run: &ModeRun) -> String {
    let samples = run.load.samples();
    let limits = |sample: &LoadSample| [sample.in_flight_max, sample.host_in_flight_max];
    let adapts = samples.iter().any(|sample| limits(sample).iter().any(Option::is_some));
    let points = run.timeline.total();
    if !adapts && run.summary.refused == 0 || points.is_empty() {
        return String::new();
    }
    let width_us = run.timeline.width_us();
    let end_us = width_us * points.len() as u64;
    let group = points.len().div_ceil(COLUMNS_MAX).max(1);
    let step = WIDTH / points.len() as f64 * group as f64;
    let columns: Vec<Point> = points.chunks(group).map(average).collect();
    let in_flight = columns.iter().map(|column| column.in_flight).fold(1.0, f64::max);
    let most = samples.iter().flat_map(limits).flatten().map(f64::from).fold(in_flight, f64::max);
    let pace = samples.iter().filter_map(|sample| sample.pace_per_s).fold(0.0, f64::max);
    let refused = columns.iter().map(|column| column.refused).max().unwrap_or(0).max(1) as f64;
    let line = |class: &str, value: &dyn Fn(&LoadSample) -> Option<f64>| {
        let path = staircase(samples, end_us, value);
        if path.is_empty() { path } else { format!("<path class={class} d=\"{path}\"/>") }
    };
    let total = line("limit", &|sample| Some(f64::from(sample.in_flight_max?) / most));
    let host = line("host", &|sample| Some(f64::from(sample.host_in_flight_max?) / most));
    let paced = line("pace", &|sample| Some(sample.pace_per_s? / pace.max(f64::MIN_POSITIVE)));
    let paced_to =
        if pace > 0.0 { format!(", paced to at most {}/s", units::number(pace)) } else { String::new() };
    format!(
        "<figure><figcaption><b class={mode}>{mode}</b> <small>{}, limit up to {}{paced_to}, {} refused</small>\
         </figcaption>\n<svg class=load viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=none role=img \
         aria-label=\"Limits of the load over time, {mode}\"><path class=wait d=\"{}\"/>{total}{host}{paced}</svg>\
         <svg class=refusals viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=none role=img \
         aria-label=\"Refused requests over time, {mode}\"><path class=fail d=\"{}\"/></svg>{}</figure>\n",
        setup(run),
        units::number(most),
        units::count(run.summary.refused),
        area(columns.iter().map(|column| column.in_flight / most), step),
        area(columns.iter().map(|column| column.refused as f64 / refused), step),
        Scale::new(end_us).axis(),
        mode = run.summary.mode.name(),
    )
}

fn average(points: &[Point]) -> Point {
    let count = points.len().max(1) as f64;
    Point {
        refused: points.iter().map(|point| point.refused).sum(),
        in_flight: points.iter().map(|point| point.in_flight).sum::<f64>() / count,
        ..Point::default()
    }
}

/// A staircase through the values (0 to 1) of the samples, each of which holds until the next. It has gaps where there
/// is no value.
fn staircase(samples: &[LoadSample], end_us: u64, value: &dyn Fn(&LoadSample) -> Option<f64>) -> String {
    let x = |at_us: u64| (WIDTH * at_us.min(end_us) as f64 / end_us.max(1) as f64).round();
    let mut path = String::new();
    let mut drawn = false;
    let ends = samples.iter().skip(1).map(|next| next.at_us).chain([end_us]);
    for (sample, until_us) in samples.iter().zip(ends) {
        if let Some(value) = value(sample) {
            let y = ((1.0 - value.clamp(0.0, 1.0)) * HEIGHT).round();
            let begin = if drawn { format!("V{y}") } else { format!("M{} {y}", x(sample.at_us)) };
            path.push_str(&format!("{begin}H{}", x(until_us)));
            drawn = true;
        } else {
            drawn = false;
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_staircase_holds_each_value_and_has_gaps() {
        let at = |at_us, in_flight_max| LoadSample {
            at_us,
            in_flight_max,
            host_in_flight_max: None,
            pace_per_s: None,
        };
        let samples = [at(0, Some(1)), at(25, Some(2)), at(50, None), at(75, Some(2))];
        let value = |sample: &LoadSample| Some(f64::from(sample.in_flight_max?) / 2.0);
        let quarter = WIDTH / 4.0;
        assert_eq!(
            staircase(&samples, 100, &value),
            format!("M0 50H{quarter}V0H{}M{} 0H{WIDTH}", 2.0 * quarter, 3.0 * quarter)
        );
        assert_eq!(staircase(&[], 100, &value), "");
    }
}
