//! The numbers: a headline, tiles or the comparison, and a table of the workers.

use std::time::Duration;

use super::{html, setup};
use crate::summary::{ModeRun, Summary, baseline};
use crate::units;

fn seconds(value: f64) -> String {
    units::duration(Duration::try_from_secs_f64(value).unwrap_or_default())
}

/// The headline and the numbers below it.
pub(super) fn head(runs: &[ModeRun]) -> String {
    match runs {
        [] => "<p class=headline>Nothing was run.</p>".to_owned(),
        [run] => single(run),
        runs => comparison(runs),
    }
}

fn single(run: &ModeRun) -> String {
    let summary = &run.summary;
    let why = summary
        .why
        .as_ref()
        .map_or_else(String::new, |why| format!("<p class=why>{}</p>\n", html::escape(why)));
    format!(
        "<p class=headline>{} targets in <b>{}</b>, <b>{}</b> per second, <b class={mode}>{mode}</b> with {}.</p>\n{why}\
         <dl class=tiles>\n{}</dl>\n{}",
        units::count(summary.items),
        seconds(summary.wall_s),
        units::number(summary.items_per_s),
        setup(run),
        tiles(run),
        errors(summary),
        mode = summary.mode.name(),
    )
}

fn tiles(run: &ModeRun) -> String {
    let summary = &run.summary;
    let latency = summary.latency_ms;
    let busy = if summary.wall_s > 0.0 { summary.cpu_s / summary.wall_s } else { 0.0 };
    let mut tiles = vec![
        (
            "in flight",
            units::number(run.in_flight_mean),
            format!("on average, {} at most", units::count(run.in_flight_peak)),
        ),
        ("latency", seconds(latency.p50 / 1e3), format!("p99 {}", seconds(latency.p99 / 1e3))),
        (
            "CPU",
            seconds(summary.cpu_s),
            format!(
                "{} CPUs busy, {} the supervisor's",
                units::number(busy),
                seconds(summary.supervisor_cpu_s)
            ),
        ),
        ("peak memory", units::bytes(run.rss_bytes_max()), "all processes".to_owned()),
        ("failed", units::count(summary.failed), format!("of {}", units::count(summary.items))),
        ("read", units::bytes(summary.bytes), rate(summary)),
    ];
    if summary.retries > 0 {
        tiles.push(("retries", units::count(summary.retries), "attempts followed by another".to_owned()));
    }
    if let Some(login) = summary.login {
        let more = format!("{} failed", units::count(login.failed));
        tiles.push(("logins", units::count(login.logins), more));
    }
    if summary.restarts > 0 {
        tiles.push((
            "restarts",
            units::count(summary.restarts),
            format!("{} quarantined", units::count(summary.quarantined)),
        ));
    }
    tiles
        .iter()
        .map(|(name, value, more)| {
            format!("<div><dt>{name}</dt><dd>{value} <small>{more}</small></dd></div>\n")
        })
        .collect()
}

fn rate(summary: &Summary) -> String {
    let per_second = if summary.wall_s > 0.0 { summary.bytes as f64 / summary.wall_s } else { 0.0 };
    format!("{} per second", units::bytes(per_second as u64))
}

fn errors(summary: &Summary) -> String {
    if summary.errors.is_empty() {
        return String::new();
    }
    let mut kinds: Vec<_> = summary.errors.iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let kinds: String =
        kinds.iter().map(|(kind, count)| format!("<li><b>{}</b> {kind}", units::count(**count))).collect();
    format!("<ul class=errors aria-label=\"Failures by kind\">{kinds}</ul>\n")
}

fn comparison(runs: &[ModeRun]) -> String {
    let other = baseline(runs);
    let fastest = runs.iter().max_by(|a, b| a.summary.items_per_s.total_cmp(&b.summary.items_per_s));
    let headline =
        fastest.zip(other).and_then(|(fastest, other)| Some((fastest, other, fastest.speed_up(other)?)));
    let headline = headline.map_or_else(String::new, |(fastest, other, times)| {
        let mode = fastest.summary.mode.name();
        format!(
            "<p class=headline><b class={mode}>{mode}</b> was <b>{}× as fast</b> as {}: {} targets in {} instead of {}.</p>\n",
            units::number(times),
            other.summary.mode.name(),
            units::count(fastest.summary.items),
            seconds(fastest.summary.wall_s),
            seconds(other.summary.wall_s),
        )
    });
    let slowest_s = runs.iter().map(|run| run.summary.wall_s).fold(0.0, f64::max);
    let rows: String = runs.iter().map(|run| row(run, other, slowest_s)).collect();
    format!(
        "{headline}<div class=scroll tabindex=0 role=region aria-label=\"The modes compared\"><table class=modes>\n\
         <thead><tr><th scope=col>mode<th scope=col>workers<th scope=col class=wall>wall<th scope=col>items/s\
         <th scope=col>speed-up<th scope=col>CPU<th scope=col>peak memory<th scope=col>in flight<br><small>mean, peak</small>\
         <th scope=col>failed</tr></thead>\n<tbody>{rows}</tbody></table></div>\n"
    )
}

fn row(run: &ModeRun, other: Option<&ModeRun>, slowest_s: f64) -> String {
    let summary = &run.summary;
    let share = if slowest_s > 0.0 { 100.0 * summary.wall_s / slowest_s } else { 0.0 };
    let times = other.and_then(|other| run.speed_up(other));
    format!(
        "<tr><th scope=row class={mode}>{mode}<td>{}<td class=wall><i class={mode} style=\"width:{share:.2}%\"></i><span>{}</span>\
         <td>{}<td><b>{}</b><td>{}<td>{}<td>{}, {}<td{}>{}</tr>\n",
        setup(run).replace("workers", "").replace("worker", ""),
        seconds(summary.wall_s),
        units::number(summary.items_per_s),
        times.map_or_else(String::new, |times| format!("{}×", units::number(times))),
        seconds(summary.cpu_s),
        units::bytes(run.rss_bytes_max()),
        units::number(run.in_flight_mean),
        units::count(run.in_flight_peak),
        if summary.failed > 0 { " class=bad" } else { "" },
        units::count(summary.failed),
        mode = summary.mode.name(),
    )
}

/// What each worker did: the numbers behind the charts.
pub(super) fn workers(runs: &[ModeRun]) -> String {
    let rows: String = runs
        .iter()
        .flat_map(|run| run.summary.per_worker.iter().map(move |worker| (run, worker)))
        .map(|(run, worker)| {
            format!(
                "<tr><th scope=row class={mode}>{mode}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>\n",
                worker.slot,
                units::count(worker.items),
                seconds(worker.cpu_s),
                units::bytes(worker.rss_bytes_max),
                worker.starts,
                mode = run.summary.mode.name(),
            )
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "<section id=workers>\n<h2>Workers</h2>\n<div class=scroll tabindex=0 role=region aria-label=\"What each worker did\"><table>\n\
         <thead><tr><th scope=col>mode<th scope=col>worker<th scope=col>done<th scope=col>CPU<th scope=col>peak memory\
         <th scope=col>starts</tr></thead>\n<tbody>{rows}</tbody></table></div></section>\n"
    )
}
