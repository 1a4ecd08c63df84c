//! The summary as a table. Rows without information are left out.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};

use shared::record::ErrorKind;
use supervisor_core::pages::ListCounts;

use super::{LoginSummary, PerProxy, PerWorker, Summary};
use crate::crawl::CrawlSummary;
use crate::progress::Screen;
use crate::units;

/// Above this number of workers, one row shows their total.
const WORKERS_SHOWN_MAX: usize = 16;

/// Proxies that are shown; the summary file has all.
const PROXIES_SHOWN_MAX: usize = 32;

/// Formats the summary as text that ends in a newline.
#[must_use]
pub fn table(summary: &Summary, screen: Screen) -> String {
    let mut facts = new_table(screen);
    for (name, value, emphasis) in rows(summary) {
        let value = Cell::new(value);
        let value = match emphasis {
            Emphasis::Plain => value,
            Emphasis::Bold => value.add_attribute(Attribute::Bold),
            Emphasis::Bad => value.fg(Color::Red),
        };
        facts.add_row(vec![Cell::new(name).add_attribute(Attribute::Dim), value]);
    }
    let mut text = facts.trim_fmt();
    text.push('\n');
    if summary.per_worker.len() > 1 {
        text.push_str(&workers(&summary.per_worker, screen).trim_fmt());
        text.push('\n');
    }
    if !summary.proxies.is_empty() {
        text.push_str(&proxies(&summary.proxies, screen).trim_fmt());
        text.push('\n');
    }
    text
}

/// Formats what the proxies did.
fn proxies(list: &[PerProxy], screen: Screen) -> Table {
    let mut table = new_table(screen);
    let heading = ["proxy", "requests", "ok", "faults", "refused", "state"];
    table.set_header(heading.map(|name| Cell::new(name).add_attribute(Attribute::Dim)));
    for proxy in list.iter().take(PROXIES_SHOWN_MAX) {
        let PerProxy { proxy, requests, ok, faults, refused, state } = proxy;
        let counts = [requests, ok, faults, refused].map(|count| units::count(*count));
        let cells = [proxy.clone()].into_iter().chain(counts).chain([state.clone()]);
        table.add_row(cells.map(Cell::new).collect::<Vec<_>>());
    }
    table
}

enum Emphasis {
    Plain,
    Bold,
    Bad,
}

fn rows(summary: &Summary) -> Vec<(&'static str, String, Emphasis)> {
    use Emphasis::{Bad, Bold, Plain};
    let mut rows = vec![("mode", mode(summary), Plain)];
    if let Some(why) = &summary.why {
        rows.push(("why", why.clone(), Plain));
    }
    rows.push(("done", done(summary), Bold));
    if summary.failed > 0 {
        rows.push(("failed", failures(summary), Bad));
    }
    if summary.sitemaps_failed > 0 {
        let missing = format!("{} could not be read", units::counted(summary.sitemaps_failed, "sitemap"));
        rows.push(("missing", missing, Bad));
    }
    if let Some(crawl) = &summary.crawl {
        rows.push(("crawled", crawled(crawl), Plain));
        if !crawl.cut.is_empty() {
            let cut = crawl.cut.iter().map(|(reason, count)| format!("{} {reason}", units::count(*count)));
            rows.push(("not followed", cut.collect::<Vec<_>>().join(", "), Plain));
        }
    }
    if let Some(lists) = &summary.lists {
        rows.push(("lists", ends(lists), Plain));
    }
    let counts = [
        ("unchanged", summary.unchanged),
        ("quarantined", summary.quarantined),
        ("retries", summary.retries),
        ("refused", summary.refused),
        ("over budget", summary.retries_over_budget),
        ("restarts", summary.restarts),
    ];
    if let Some(login) = &summary.login {
        rows.push(("logins", logins(login), Plain));
    }
    rows.extend(counts.into_iter().filter(|(_, n)| *n > 0).map(|(name, n)| (name, units::count(n), Plain)));
    if !summary.sandbox.is_empty() {
        rows.push(("sandbox", summary.sandbox.clone(), Plain));
    }
    if summary.bytes > 0 {
        let rate = if summary.wall_s > 0.0 { summary.bytes as f64 / summary.wall_s } else { 0.0 };
        rows.push((
            "read",
            format!("{}, {} per second", units::bytes(summary.bytes), units::bytes(rate as u64)),
            Plain,
        ));
    }
    if summary.latency_ms.max > 0.0 {
        let latency = summary.latency_ms;
        let [p50, p90, p99, max] =
            [latency.p50, latency.p90, latency.p99, latency.max].map(|ms| seconds(ms / 1e3));
        rows.push(("latency", format!("p50 {p50}, p90 {p90}, p99 {p99}, max {max}"), Plain));
    }
    rows.push(("CPU", cpu(summary), Plain));
    rows
}

/// Formats what a crawl has found, such as `120 pages on 1 host, up to 4 links deep`.
fn crawled(crawl: &CrawlSummary) -> String {
    let deepest = u64::try_from(crawl.by_depth.len().saturating_sub(1)).unwrap_or(u64::MAX);
    let (pages, hosts) = (units::counted(crawl.known, "page"), units::counted(crawl.hosts, "host"));
    format!("{pages} known on {hosts}, up to {} deep", units::counted(deepest, "link"))
}

/// Formats logins, such as `41, 60 answers looked logged out, 1 failed`.
fn logins(login: &LoginSummary) -> String {
    let mut text = units::count(login.logins);
    if login.logged_out > 0 {
        text.push_str(&format!(", {} looked logged out", units::counted(login.logged_out, "answer")));
    }
    if login.failed > 0 {
        text.push_str(&format!(", {} failed", units::count(login.failed)));
    }
    text
}

/// Formats the mode, such as `both: 2 workers × 64 in flight`.
fn mode(summary: &Summary) -> String {
    let plural = if summary.workers == 1 { "" } else { "s" };
    let each = if summary.concurrency > 1 {
        format!(" × {} in flight", summary.concurrency)
    } else {
        String::new()
    };
    format!("{}: {} worker{plural}{each}", summary.mode.name(), summary.workers)
}

/// Formats the items, such as `10,000 in 2.61 s, 3,831 per second`.
fn done(summary: &Summary) -> String {
    let (items, rate) = (units::count(summary.items), units::number(summary.items_per_s));
    format!("{items} in {}, {rate} per second", seconds(summary.wall_s))
}

/// Formats failures, such as `12: 8 timeout, 4 http_status`, most frequent first.
fn failures(summary: &Summary) -> String {
    format!("{}: {}", units::count(summary.failed), kinds(&summary.errors))
}

/// Formats how lists of pages ended, such as `12 ended: 10 at their last page, 2 at --pages-max`.
fn ends(lists: &ListCounts) -> String {
    let ways = [
        (lists.end, "at their last page"),
        (lists.pages_max, "at --pages-max"),
        (lists.looped, "at a page that they had before"),
        (lists.no_link, "where the next link was none"),
        (lists.error, "at a page with an error"),
    ];
    let ways = ways.into_iter().filter(|(count, _)| *count > 0);
    let ways: Vec<_> = ways.map(|(count, way)| format!("{} {way}", units::count(count))).collect();
    let colon = if ways.is_empty() { "" } else { ": " };
    format!("{} ended{colon}{}", units::count(lists.all()), ways.join(", "))
}

/// Formats failed inputs, such as `12 of 200 inputs failed: 8 timeout, 4 http_status`; `None` if none failed.
#[must_use]
pub fn failed_inputs(failed: u64, inputs: u64, errors: &BTreeMap<ErrorKind, u64>) -> Option<String> {
    let kinds = if errors.is_empty() { String::new() } else { format!(": {}", kinds(errors)) };
    (failed > 0)
        .then(|| format!("{} of {} failed{kinds}", units::count(failed), units::counted(inputs, "input")))
}

/// Formats error kinds, such as `8 timeout, 4 http_status`, most frequent first.
fn kinds(errors: &BTreeMap<ErrorKind, u64>) -> String {
    let mut kinds: Vec<_> = errors.iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let kinds: Vec<_> =
        kinds.into_iter().map(|(kind, count)| format!("{} {kind}", units::count(*count))).collect();
    kinds.join(", ")
}

fn cpu(summary: &Summary) -> String {
    let mut text = seconds(summary.cpu_s);
    if summary.cpu_s > 0.0 {
        let share = 100.0 * summary.supervisor_cpu_s / summary.cpu_s;
        text.push_str(&format!(", {} % of it in the supervisor", units::number(share.round())));
    }
    if summary.wall_s > 0.0 {
        text.push_str(&format!(", {} CPUs busy", units::number(summary.cpu_s / summary.wall_s)));
    }
    text
}

fn workers(per_worker: &[PerWorker], screen: Screen) -> Table {
    let mut table = new_table(screen);
    table.set_header(
        ["worker", "done", "CPU", "memory", "starts"]
            .map(|name| Cell::new(name).add_attribute(Attribute::Dim)),
    );
    if per_worker.len() <= WORKERS_SHOWN_MAX {
        table.add_rows(per_worker.iter().map(|worker| worker_row(worker.slot.to_string(), worker)));
    } else {
        let all = PerWorker {
            slot: 0,
            starts: per_worker.iter().map(|worker| worker.starts).sum(),
            items: per_worker.iter().map(|worker| worker.items).sum(),
            cpu_s: per_worker.iter().map(|worker| worker.cpu_s).sum(),
            rss_bytes_max: per_worker.iter().map(|worker| worker.rss_bytes_max).sum(),
        };
        table.add_row(worker_row(format!("all {}", per_worker.len()), &all));
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn worker_row(name: String, worker: &PerWorker) -> Vec<String> {
    vec![
        name,
        units::count(worker.items),
        seconds(worker.cpu_s),
        units::bytes(worker.rss_bytes_max),
        worker.starts.to_string(),
    ]
}

/// Creates a table without borders, for the width and colours of the screen.
pub(crate) fn new_table(screen: Screen) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(screen.width);
    // `screen` considers NO_COLOR and standard error. The table's own check looks at standard output.
    table.force_no_tty();
    if screen.colour {
        table.enforce_styling();
    }
    table
}

pub(super) fn seconds(value: f64) -> String {
    units::duration(Duration::try_from_secs_f64(value).unwrap_or_default())
}
