//! The close-up: each target of the run's beginning as a bar in its worker's lane.
//!
//! It shows interleaving and parallel work. All runs share one time scale, counted from each run's
//! first target. Bars are strokes of a few long paths: a kilobyte of path draws a hundred bars, and
//! zooming only changes the view box.

use std::time::Duration;

use shared::job::Mode;
use supervisor_core::gather::{Ending, Interval};

use super::scale::{Scale, WIDTH};
use super::{WORKERS_SHOWN_MAX, setup};
use crate::summary::ModeRun;
use crate::units;

/// Bars on a page. At about 40 bytes each they are most of its size, which stays below a megabyte.
const BARS_MAX: usize = 18_000;

/// Number of typical targets that fit one after the other into the first view.
const TARGETS_IN_VIEW: u64 = 8;

/// Shortest bar in units, so that it is visible.
const BAR_MIN: i64 = 5;

/// Height of one worker's lanes in pixels, if there are many.
const WORKER_PX: f64 = 104.0;

/// The time covered by the close-up.
struct Plan {
    /// The initial view.
    view_us: u64,
    /// Limit for zooming out and moving right: up to here every run is complete.
    range_us: u64,
}

fn shown_slots(run: &ModeRun) -> std::ops::Range<usize> {
    0..run.timeline.slots().min(WORKERS_SHOWN_MAX)
}

fn intervals(run: &ModeRun) -> impl Iterator<Item = &Interval> {
    shown_slots(run).flat_map(|slot| run.timeline.intervals(slot))
}

fn first_us(run: &ModeRun) -> u64 {
    intervals(run).map(|interval| interval.started_us).min().unwrap_or(0)
}

/// Returns `None` if there is nothing to show.
fn plan(runs: &[ModeRun]) -> Option<Plan> {
    let (mut cut_us, mut end_us, mut typical_us) = (u64::MAX, 0, 0);
    for run in runs {
        let first_us = first_us(run);
        let mut starts: Vec<_> = intervals(run).map(|interval| interval.started_us).collect();
        let budget = BARS_MAX / runs.len().max(1);
        if starts.len() > budget {
            starts.sort_unstable();
            cut_us = cut_us.min(starts.get(budget).map_or(u64::MAX, |start| start.saturating_sub(first_us)));
        }
        if let Some(complete_us) = run.timeline.complete_before_us() {
            cut_us = cut_us.min(complete_us.saturating_sub(first_us));
        }
        let ends =
            intervals(run).map(|interval| interval.started_us - first_us + u64::from(interval.elapsed_us));
        end_us = end_us.max(ends.max().unwrap_or(0));
        let mut elapsed: Vec<_> = intervals(run).map(|interval| u64::from(interval.elapsed_us)).collect();
        elapsed.sort_unstable();
        typical_us = typical_us.max(elapsed.get(elapsed.len() / 2).copied().unwrap_or(0));
    }
    let range_us = cut_us.min(end_us);
    let view_us = (typical_us.max(1) * TARGETS_IN_VIEW).min(range_us);
    (range_us > 0)
        .then_some(Plan { view_us: if view_us * 3 >= range_us { range_us } else { view_us }, range_us })
}

/// Returns the whole section; empty if no target was ever in flight.
pub(super) fn section(runs: &[ModeRun]) -> String {
    let Some(plan) = plan(runs) else {
        return String::new();
    };
    let scale = Scale::new(plan.view_us);
    let view = units::duration(Duration::from_micros(plan.view_us));
    let blocks: String = runs.iter().map(|run| block(run, scale, &plan)).collect();
    let first = if runs.len() > 1 { "each run's first target" } else { "the first target" };
    let has_retries = runs.iter().flat_map(intervals).any(|interval| interval.ending == Ending::Retried);
    let retried = if has_retries { "<li><i class=retry></i>failed, tried again" } else { "" };
    format!(
        "<section id=closeup data-view-us={} data-range-us={} data-units-per-us={:.9}>\n\
         <h2>Target by target</h2>\n\
         <p>The first {view}, counted from {first}. A bar is one target in its worker; \
         its computing time is drawn at its end.</p>\n\
         <div class=bar-top><ul class=legend><li><i class=wait></i>waiting<li><i class=cpu></i>computing\
         <li><i class=fail></i>failed{retried}</ul>\n\
         <div class=zoom role=group aria-label=\"Move through time\">\
         <button type=button data-zoom=left title=\"Earlier (left arrow)\">◀</button>\
         <button type=button data-zoom=out title=\"Wider (minus)\">−</button>\
         <button type=button data-zoom=reset title=\"First view (0)\">reset</button>\
         <button type=button data-zoom=in title=\"Closer (plus)\">+</button>\
         <button type=button data-zoom=right title=\"Later (right arrow)\">▶</button></div></div>\n\
         <div class=lanes tabindex=0 role=group aria-label=\"Timeline of single targets; plus and minus zoom, arrows move\">\n\
         {blocks}<div class=row><span></span>{}</div>\n</div></section>\n",
        plan.view_us,
        plan.range_us,
        WIDTH / scale.span_us,
        scale.axis(),
    )
}

fn block(run: &ModeRun, scale: Scale, plan: &Plan) -> String {
    let first_us = first_us(run);
    let mode = run.summary.mode;
    let rows: String = shown_slots(run)
        .map(|slot| {
            let figure = figure(run.timeline.intervals(slot), first_us, scale, plan);
            format!("<div class=row><span class=who>worker {slot}</span>{figure}</div>\n")
        })
        .collect();
    let hidden = run.timeline.slots().saturating_sub(WORKERS_SHOWN_MAX);
    let more =
        if hidden > 0 { format!("<p class=more>and {hidden} more workers</p>\n") } else { String::new() };
    format!(
        "<h3 class={0}><span>{0}</span> <small>{1}. {2}</small></h3>\n{rows}{more}",
        mode.name(),
        setup(run),
        explanation(mode)
    )
}

const fn explanation(mode: Mode) -> &'static str {
    match mode {
        Mode::Sequential => "One target at a time: nothing else happens during a wait.",
        Mode::Concurrent => "Interleaved: many wait at once, but only one computes at any instant.",
        Mode::Parallel => "Simultaneous: the workers compute at the same instant, one target each.",
        Mode::Both => "Interleaved in each worker, and simultaneous across workers.",
    }
}

/// Bars of one kind, as one path of horizontal strokes.
#[derive(Default)]
struct Strokes {
    path: String,
    facts: Vec<String>,
    x: i64,
    y: i64,
}

impl Strokes {
    fn bar(&mut self, x: i64, y: i64, length: i64) {
        let length = length.max(BAR_MIN);
        self.path.push_str(&format!("m{} {}h{length}", x - self.x, y - self.y));
        (self.x, self.y) = (x + length, y);
    }

    fn element(&self, class: &str) -> String {
        if self.path.is_empty() {
            return String::new();
        }
        let facts = if self.facts.is_empty() {
            String::new()
        } else {
            format!(" data-bars=\"{}\"", self.facts.join(","))
        };
        format!("<path class={class} d=\"{}\"{facts}/>", self.path)
    }
}

fn figure(intervals: &[Interval], first_us: u64, scale: Scale, plan: &Plan) -> String {
    let mut shown: Vec<_> =
        intervals.iter().filter(|interval| interval.started_us - first_us < plan.range_us).collect();
    shown.sort_by_key(|interval| (interval.started_us, interval.id));
    let lanes = pack(&shown);
    let (mut wait, mut retry, mut fail, mut cpu) = Default::default();
    for (lane, bars) in (0_i64..).zip(&lanes) {
        let y = 2 * lane + 1;
        for interval in bars {
            let from = scale.units(interval.started_us - first_us).round() as i64;
            let length = scale.units(interval.elapsed_us.into()).round() as i64;
            let computing = scale.units(interval.cpu_us.into()).round() as i64;
            let strokes: &mut Strokes = match interval.ending {
                Ending::Ok => &mut wait,
                Ending::Retried => &mut retry,
                Ending::Failed => &mut fail,
            };
            strokes.bar(from, y, length);
            strokes.facts.push(format!("{} {} {}", interval.id, interval.elapsed_us, interval.cpu_us));
            let computing = computing.max(BAR_MIN);
            Strokes::bar(&mut cpu, (from + length - computing).max(from), y, computing);
        }
    }
    let lanes = lanes.len().max(1);
    let height = (WORKER_PX / lanes as f64).clamp(1.6, 18.0) * lanes as f64;
    format!(
        "<svg class=bars viewBox=\"0 0 {WIDTH} {}\" preserveAspectRatio=none style=\"height:{height:.0}px\" aria-hidden=true>{}{}{}{}</svg>",
        2 * lanes,
        wait.element("wait"),
        retry.element("retry"),
        fail.element("fail"),
        cpu.element("cpu"),
    )
}

/// Puts each interval, in the order of their start, into the first lane that is free at that time.
fn pack<'a>(intervals: &[&'a Interval]) -> Vec<Vec<&'a Interval>> {
    let mut lanes: Vec<Vec<&Interval>> = Vec::new();
    for interval in intervals {
        let is_free = |lane: &Vec<&Interval>| {
            lane.last().is_none_or(|last| last.started_us + u64::from(last.elapsed_us) <= interval.started_us)
        };
        match lanes.iter_mut().find(|lane| is_free(lane)) {
            Some(lane) => lane.push(interval),
            None => lanes.push(vec![interval]),
        }
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(id: u64, started_us: u64, elapsed_us: u32) -> Interval {
        Interval { id, started_us, elapsed_us, cpu_us: 1, ending: Ending::Ok }
    }

    #[test]
    fn overlapping_targets_get_separate_reusable_lanes() {
        let bars = [
            interval(0, 0, 10),
            interval(1, 5, 10),
            interval(2, 10, 10),
            interval(3, 12, 1),
            interval(4, 15, 9),
        ];
        let bars: Vec<_> = bars.iter().collect();
        let ids: Vec<Vec<_>> =
            pack(&bars).iter().map(|lane| lane.iter().map(|bar| bar.id).collect()).collect();
        assert_eq!(ids, [vec![0, 2], vec![1, 4], vec![3]]);
    }

    #[test]
    fn strokes_are_relative_to_the_end_of_the_last() {
        let mut strokes = Strokes::default();
        strokes.bar(100, 1, 50);
        strokes.bar(160, 1, 0);
        strokes.bar(10, 3, 20);
        assert_eq!(strokes.path, "m100 1h50m10 0h5m-155 2h20");
    }
}
