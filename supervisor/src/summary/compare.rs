//! The table of `compare`: one row per mode, compared with the sequential mode.

use comfy_table::{Attribute, Cell, CellAlignment, Color};

use super::table::{new_table, seconds};
use super::{ModeRun, baseline};
use crate::progress::Screen;
use crate::units;

const HEADER: [&str; 9] = [
    "mode",
    "workers",
    "wall",
    "items/s",
    "speed-up",
    "CPU",
    "peak memory",
    "in flight\nmean, peak",
    "failed",
];

/// Formats the four modes as a table that ends in a newline.
#[must_use]
pub fn table(runs: &[ModeRun], screen: Screen) -> String {
    let mut table = new_table(screen);
    table.set_header(HEADER.map(|name| Cell::new(name).add_attribute(Attribute::Dim)));
    let fastest = runs.iter().map(|run| run.summary.items_per_s).fold(0.0, f64::max);
    for run in runs {
        let is_fastest = run.summary.items_per_s >= fastest;
        table.add_row(row(run, runs).into_iter().enumerate().map(|(column, text)| {
            let cell = Cell::new(text);
            match HEADER.get(column) {
                Some(&"speed-up") if is_fastest => cell.fg(Color::Green).add_attribute(Attribute::Bold),
                Some(&"failed") if run.summary.failed > 0 => cell.fg(Color::Red),
                _ => cell,
            }
        }));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

fn row(run: &ModeRun, runs: &[ModeRun]) -> [String; 9] {
    let summary = &run.summary;
    let speed_up = baseline(runs).and_then(|other| run.speed_up(other));
    [
        summary.mode.name().to_owned(),
        if summary.concurrency > 1 {
            format!("{} × {}", summary.workers, summary.concurrency)
        } else {
            summary.workers.to_string()
        },
        seconds(summary.wall_s),
        units::number(summary.items_per_s),
        speed_up.map_or_else(|| "-".to_owned(), |times| format!("{}×", units::number(times))),
        seconds(summary.cpu_s),
        units::bytes(run.rss_bytes_max()),
        format!("{}, {}", units::number(run.in_flight_mean), units::count(run.in_flight_peak)),
        units::count(summary.failed),
    ]
}
