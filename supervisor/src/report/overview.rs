//! The whole run: how busy each worker was, with all runs on one time scale.
//!
//! It is drawn from the timeline's buckets, which are exact for any length of run.

use std::time::Duration;

use supervisor_core::gather::Point;

use super::scale::{Scale, WIDTH};
use super::{WORKERS_SHOWN_MAX, setup};
use crate::summary::{ModeRun, baseline};
use crate::units;

/// Narrowest column in units, about a pixel; finer ones would be invisible.
const COLUMN_MIN: f64 = 12.0;

/// Height of each curve in its own units.
pub(super) const HEIGHT: f64 = 100.0;

pub(super) fn section(runs: &[ModeRun]) -> String {
    let span_us = runs
        .iter()
        .map(|run| run.timeline.end_us().max((run.summary.wall_s * 1e6) as u64))
        .max()
        .unwrap_or(0);
    if span_us == 0 {
        return String::new();
    }
    let scale = Scale::new(span_us);
    let blocks: String = runs.iter().map(|run| block(run, runs, scale)).collect();
    let shared = if runs.len() > 1 { ", all on the same time scale" } else { "" };
    format!(
        "<section id=overview>\n<h2>The whole run</h2>\n\
         <p>How many targets each worker had in flight{shared}. Below each, the share of one CPU that it used.</p>\n\
         <ul class=legend><li><i class=wait></i>in flight<li><i class=cpu></i>computing<li><i class=fail></i>failures</ul>\n\
         {blocks}<div class=row><span></span>{}</div>\n</section>\n",
        scale.axis()
    )
}

fn block(run: &ModeRun, runs: &[ModeRun], scale: Scale) -> String {
    let mode = run.summary.mode.name();
    let wall = units::duration(Duration::try_from_secs_f64(run.summary.wall_s).unwrap_or_default());
    let times = baseline(runs)
        .filter(|other| other.summary.mode != run.summary.mode)
        .and_then(|other| run.speed_up(other));
    let times = times.map_or_else(String::new, |times| format!(", <b>{}× as fast</b>", units::number(times)));
    let slots = run.timeline.slots();
    let rows: String = (0..slots.min(WORKERS_SHOWN_MAX))
        .map(|slot| {
            let figure = figure(&run.timeline.series(slot), run, scale);
            format!("<div class=row><span class=who>worker {slot}</span>{figure}</div>\n")
        })
        .collect();
    let hidden = slots.saturating_sub(WORKERS_SHOWN_MAX);
    let more =
        if hidden > 0 { format!("<p class=more>and {hidden} more workers</p>\n") } else { String::new() };
    format!(
        "<h3 class={mode}><span>{mode}</span> <small>{}: {} in {wall}{times}</small></h3>\n{rows}{more}",
        setup(run),
        units::count(run.summary.items),
    )
}

fn figure(points: &[Point], run: &ModeRun, scale: Scale) -> String {
    let width = scale.units(run.timeline.width_us());
    let group = (COLUMN_MIN / width).ceil().max(1.0) as usize;
    let columns: Vec<_> = points.chunks(group).map(average).collect();
    let step = width * group as f64;
    // If the load was not fixed, more was in flight at times than at the end.
    let most = columns.iter().map(|column| column.in_flight).fold(0.0, f64::max);
    let concurrency = f64::from(run.summary.concurrency.max(1)).max(most);
    let failures: String = columns
        .iter()
        .zip(0_u32..)
        .filter(|(column, _)| column.failed > 0)
        .map(|(_, index)| format!("M{:.0} 0v30", (f64::from(index) + 0.5) * step))
        .collect();
    let failures =
        if failures.is_empty() { failures } else { format!("<path class=failures d=\"{failures}\"/>") };
    format!(
        "<div class=strip aria-hidden=true>\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=none><path class=wait d=\"{}\"/>{failures}</svg>\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=none><path class=cpu d=\"{}\"/></svg></div>",
        area(columns.iter().map(|column| column.in_flight / concurrency), step),
        area(columns.iter().map(|column| column.computing), step),
    )
}

fn average(points: &[Point]) -> Point {
    let count = points.len().max(1) as f64;
    Point {
        failed: points.iter().map(|point| point.failed).sum(),
        in_flight: points.iter().map(|point| point.in_flight).sum::<f64>() / count,
        computing: points.iter().map(|point| point.computing).sum::<f64>() / count,
        ..Point::default()
    }
}

/// A filled staircase of `shares` (0 to 1), each `step` units wide.
pub(super) fn area(shares: impl Iterator<Item = f64>, step: f64) -> String {
    let mut path = format!("M0 {HEIGHT}");
    let (mut x, mut y) = (0, HEIGHT as i64);
    for (index, share) in (1_u32..).zip(shares) {
        let next_y = ((1.0 - share.clamp(0.0, 1.0)) * HEIGHT).round() as i64;
        let next_x = (f64::from(index) * step).round() as i64;
        if next_y != y {
            path.push_str(&format!("v{}", next_y - y));
        }
        path.push_str(&format!("h{}", next_x - x));
        (x, y) = (next_x, next_y);
    }
    path.push_str(&format!("V{HEIGHT}z"));
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_is_a_closed_staircase() {
        assert_eq!(area([0.5, 0.5, 1.0, 0.0].into_iter(), 2.5), "M0 100v-50h3h2v-50h3v100h2V100z");
        assert_eq!(area([2.0, -1.0].into_iter(), 10.0), "M0 100v-100h10v100h10V100z");
    }
}
