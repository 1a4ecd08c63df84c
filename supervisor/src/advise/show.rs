//! The advice as a table, and as JSON whose keys scripts rely on.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{Attribute, Cell, CellAlignment};
use serde::Serialize;
use shared::record::ErrorKind;
use supervisor_core::advice::{Bound, Measured, Saturated};

use super::Findings;
use crate::progress::Screen;
use crate::summary::new_table;
use crate::units;

/// Greatest width of the table: that of the help.
const WIDTH_MAX: u16 = 80;

#[derive(Debug, Serialize)]
struct Document<'a> {
    inputs: Option<u64>,
    inputs_read: u64,
    inputs_unusable: u64,
    hosts: usize,
    sample: Sample<'a>,
    measured: PerTarget,
    bounds: Vec<BoundShown<'a>>,
    bottleneck: Option<&'static str>,
    targets_per_s: Option<f64>,
    predicted_s: Option<f64>,
    recommended: Recommended,
    why: &'a str,
}

#[derive(Debug, Serialize)]
struct BoundShown<'a> {
    resource: &'static str,
    targets_per_s: Option<f64>,
    how: &'a str,
}

impl<'a> From<&'a Bound> for BoundShown<'a> {
    fn from(bound: &'a Bound) -> Self {
        let targets_per_s = bound.targets_per_s.map(thousandths);
        Self { resource: bound.resource.name(), targets_per_s, how: &bound.how }
    }
}

#[derive(Debug, Serialize)]
struct Sample<'a> {
    targets: u64,
    requests: u64,
    failed: usize,
    refused: u64,
    errors: &'a BTreeMap<ErrorKind, u64>,
    in_flight_max: u32,
}

#[derive(Debug, Serialize)]
struct PerTarget {
    first_byte_ms: Option<f64>,
    latency_ms: f64,
    cpu_ms: f64,
    server_cpu_ms: f64,
    bytes: u64,
    memory_bytes: u64,
    saturated: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Recommended {
    mode: &'static str,
    workers: u32,
    concurrency: u32,
    flags: String,
}

/// Formats the findings as JSON that ends in a newline.
///
/// # Errors
/// Never in practice: all of it can be written as JSON.
pub(super) fn json(findings: &Findings) -> serde_json::Result<String> {
    let Findings { advice, list, measured, cost } = findings;
    let bottleneck = advice.bottleneck();
    let document = Document {
        inputs: list.inputs,
        inputs_read: list.read,
        inputs_unusable: list.unusable,
        hosts: list.hosts.len(),
        sample: Sample {
            targets: cost.targets,
            requests: cost.requests,
            failed: measured.failed,
            refused: cost.refused,
            errors: &cost.errors,
            in_flight_max: measured.tested,
        },
        measured: PerTarget {
            first_byte_ms: measured.first_byte_s.map(milliseconds),
            latency_ms: milliseconds(measured.latency_s),
            cpu_ms: milliseconds(measured.cpu_s),
            server_cpu_ms: milliseconds(measured.other_cpu_s),
            bytes: measured.bytes as u64,
            memory_bytes: measured.slot_bytes as u64,
            saturated: match measured.saturated {
                Saturated::Nothing => None,
                Saturated::Unclear => Some("unclear"),
                Saturated::Cores(_) => Some("cores"),
                Saturated::Servers(_) | Saturated::Refused(_) => Some("servers"),
                Saturated::Network(_) => Some("network"),
            },
        },
        bounds: advice.bounds.iter().map(BoundShown::from).collect(),
        bottleneck: bottleneck.map(|bound| bound.resource.name()),
        targets_per_s: bottleneck.and_then(|bound| bound.targets_per_s).map(thousandths),
        predicted_s: advice.predicted_s.map(thousandths),
        recommended: Recommended {
            mode: advice.mode.name(),
            workers: advice.workers,
            concurrency: advice.concurrency,
            flags: flags(findings),
        },
        why: &advice.why,
    };
    serde_json::to_string_pretty(&document).map(|text| text + "\n")
}

fn milliseconds(seconds: f64) -> f64 {
    thousandths(seconds * 1e3)
}

// More digits would exceed the precision of the sample.
fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// Formats the findings as three tables that end in a newline.
pub(super) fn table(findings: &Findings, screen: Screen) -> String {
    let screen = Screen { width: screen.width.min(WIDTH_MAX), ..screen };
    let mut text = facts(screen, &measured_rows(findings));
    text.push('\n');
    text.push_str(&bounds(screen, &findings.advice.bounds));
    text.push('\n');
    text.push_str(&facts(screen, &advice_rows(findings)));
    text
}

fn facts(screen: Screen, rows: &[(&str, String)]) -> String {
    let mut table = new_table(screen);
    for (name, value) in rows {
        table.add_row(vec![Cell::new(name).add_attribute(Attribute::Dim), Cell::new(value)]);
    }
    table.trim_fmt() + "\n"
}

fn bounds(screen: Screen, bounds: &[Bound]) -> String {
    let mut table = new_table(screen);
    table.set_header(["bound", "targets/s", "how"].map(|name| Cell::new(name).add_attribute(Attribute::Dim)));
    for (number, bound) in bounds.iter().enumerate() {
        let per_s = bound.targets_per_s.map_or_else(|| "none".to_owned(), units::number);
        let cells = [bound.resource.name().to_owned(), per_s, bound.how.clone()].map(Cell::new);
        table.add_row(cells.map(|cell| if number == 0 { cell.add_attribute(Attribute::Bold) } else { cell }));
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt() + "\n"
}

fn measured_rows(findings: &Findings) -> Vec<(&'static str, String)> {
    let Findings { list, measured, cost, .. } = findings;
    let of = match list.inputs {
        Some(inputs) => units::counted(inputs, "input"),
        None => format!("the first {}", units::counted(list.read, "input")),
    };
    let hosts = match list.hosts.len() as u64 {
        0 => String::new(),
        hosts => {
            format!(" on {}, {}", units::counted(hosts, "host"), units::counted(cost.requests, "request"))
        }
    };
    let mut rows = vec![("sample", format!("{} of {of}{hosts}", units::count(cost.targets)))];
    if list.unusable > 0 {
        rows.push((
            "unusable",
            format!("{} left out; a run says why", units::counted(list.unusable, "input")),
        ));
    }
    if cost.refused > 0 {
        let refused = units::counted(cost.refused, "request");
        rows.push(("refused", format!("{refused}, because there were too many (429, 503); give a --rate")));
    }
    rows.push(("a target", target(measured)));
    rows.push(("in flight", format!("up to {}; {}", units::count(measured.tested.into()), coped(measured))));
    rows
}

fn target(measured: &Measured) -> String {
    let seconds = |s: f64| units::duration(Duration::try_from_secs_f64(s).unwrap_or_default());
    let first_byte =
        measured.first_byte_s.map_or_else(String::new, |s| format!(" ({} to the first byte)", seconds(s)));
    let beside = match measured.other_cpu_s {
        s if s > 0.0 => format!(" (and {} of the servers)", seconds(s)),
        _ => String::new(),
    };
    let (cpu, memory) = (seconds(measured.cpu_s), units::bytes(measured.slot_bytes as u64));
    let (latency, bytes) = (seconds(measured.latency_s), units::bytes(measured.bytes as u64));
    format!("{latency}{first_byte}, {cpu} of CPU{beside}, {bytes}, {memory} of memory")
}

const fn coped(measured: &Measured) -> &'static str {
    match measured.saturated {
        Saturated::Nothing if measured.tested > 1 => "no target took longer for it",
        Saturated::Nothing => "more was not tried",
        Saturated::Unclear => {
            "targets took longer, but the sample was too short to tell why; give a larger --sample"
        }
        Saturated::Cores(_) => "the cores were busy",
        Saturated::Servers(_) => "the servers were busy",
        Saturated::Network(_) => "the network was busy",
        Saturated::Refused(_) => "servers refused some",
    }
}

fn advice_rows(findings: &Findings) -> Vec<(&'static str, String)> {
    let Findings { advice, list, .. } = findings;
    let time = match (advice.predicted_s, list.inputs) {
        (Some(s), Some(inputs)) => {
            let time = units::duration(Duration::try_from_secs_f64(s).unwrap_or_default());
            format!("about {time} for {}", units::counted(inputs, "input"))
        }
        _ => match advice.bottleneck().and_then(|bound| bound.targets_per_s) {
            Some(per_s) => format!("up to {} inputs a second; their number is unknown", units::number(per_s)),
            None => "unknown".to_owned(),
        },
    };
    let bottleneck = advice.bottleneck().map_or("none", |bound| bound.resource.name());
    vec![
        ("bottleneck", bottleneck.to_owned()),
        ("time", time),
        ("advice", flags(findings)),
        ("why", advice.why.clone()),
    ]
}

fn flags(findings: &Findings) -> String {
    let advice = &findings.advice;
    format!("--mode {} --workers {} --concurrency {}", advice.mode.name(), advice.workers, advice.concurrency)
}
