//! Prints the answers of a service as tables.

use std::time::Duration;

use comfy_table::{Attribute, Cell, CellAlignment};
use serde::Deserialize;

use super::ClientError;
use super::connection::Answer;
use crate::progress::Screen;
use crate::summary;
use crate::units;
use crate::view::{HostView, JobAction, JobId, JobState, JobView, ServiceView, WorkerState, WorkerView};

/// Most hosts in `status`, busiest first.
const HOSTS_MAX: usize = 10;

/// The response to `GET /v1/jobs`.
#[derive(Debug, Deserialize)]
pub(super) struct Jobs {
    jobs: Vec<JobView>,
}

/// The response to `GET /v1/workers`.
#[derive(Debug, Deserialize)]
pub(super) struct Workers {
    workers: Vec<WorkerView>,
}

/// The response to `GET /v1/hosts`.
#[derive(Debug, Deserialize)]
pub(super) struct Hosts {
    hosts: Vec<HostView>,
}

/// Lays out a table with a header; the columns in `right` are right-aligned.
fn table(head: &[&str], right: &[usize], rows: Vec<Vec<String>>, screen: Screen) -> String {
    let mut table = summary::new_table(screen);
    table.set_header(head.iter().map(|name| Cell::new(name).add_attribute(Attribute::Dim)));
    for row in rows {
        table.add_row(row);
    }
    for at in right {
        if let Some(column) = table.column_mut(*at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

/// Replaces control characters, so that foreign text cannot move the cursor.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// Formats progress, such as `4,211 of 100,000`. A tilde marks an estimate.
fn done(job: &JobView) -> String {
    let counts = job.counts;
    let done = units::count(counts.done);
    match counts.total {
        Some(total) if job.state == JobState::Done && total == counts.done => done,
        Some(total) if counts.total_exact => format!("{done} of {}", units::count(total)),
        Some(total) => format!("{done} of ~{}", units::count(total)),
        None => done,
    }
}

fn seconds(seconds: f64) -> String {
    units::clock(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// Formats a list of jobs.
pub(super) fn jobs(list: &Jobs, screen: Screen) -> String {
    if list.jobs.is_empty() {
        return "no jobs\n".to_owned();
    }
    let row = |job: &JobView| {
        let is_at_work = !job.state.has_ended();
        vec![
            job.id.to_string(),
            job.state.name().to_owned(),
            job.command.clone(),
            done(job),
            if job.counts.failed > 0 { units::count(job.counts.failed) } else { String::new() },
            if is_at_work && job.items_per_s > 0.0 {
                format!("{}/s", units::number(job.items_per_s))
            } else {
                String::new()
            },
            job.eta_s.filter(|_| is_at_work).map(seconds).unwrap_or_default(),
            job.submitted_at.clone(),
            printable(job.name.as_deref().unwrap_or_default()),
        ]
    };
    let head = ["job", "state", "command", "done", "failed", "rate", "left", "submitted", "name"];
    table(&head, &[0, 3, 4, 5, 6], list.jobs.iter().map(row).collect(), screen)
}

/// Formats a job.
pub(super) fn job(job: &JobView, screen: Screen) -> String {
    let mut rows = vec![("job", job.id.to_string())];
    rows.extend(job.name.as_deref().map(|name| ("name", printable(name))));
    rows.push(("command", job.command.clone()));
    rows.push(("state", job.state.name().to_owned()));
    rows.push(("priority", job.priority.to_string()));
    rows.push(("submitted", job.submitted_at.clone()));
    rows.extend(job.started_at.clone().map(|at| ("started", at)));
    rows.extend(job.finished_at.clone().map(|at| ("ended", at)));
    rows.push(("done", done(job)));
    let counts = [
        ("failed", job.counts.failed),
        ("quarantined", job.counts.quarantined),
        ("retries", job.counts.retries),
        ("in flight", job.counts.in_flight),
    ];
    rows.extend(counts.into_iter().filter(|(_, count)| *count > 0).map(|(name, n)| (name, units::count(n))));
    let errors: Vec<String> =
        job.errors.iter().map(|(kind, count)| format!("{kind} {}", units::count(*count))).collect();
    if !errors.is_empty() {
        rows.push(("errors", errors.join(", ")));
    }
    if !job.state.has_ended() {
        rows.push(("workers", job.workers.to_string()));
        rows.push(("rate", format!("{}/s", units::number(job.items_per_s))));
        rows.extend(job.eta_s.map(|left| ("left", seconds(left))));
    }
    rows.extend(job.retry_of.map(|id| ("retry of", id.to_string())));
    rows.extend(job.exit_code.map(|code| ("exit code", code.to_string())));
    rows.extend(job.error.as_deref().map(|error| ("error", printable(error))));
    let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    let text = table(&[], &[], rows, screen);
    match &job.summary {
        Some(summary) => text + "\n" + &summary::table(summary, screen),
        None => text,
    }
}

/// Formats the result of an action.
pub(super) fn act(id: JobId, action: JobAction, answer: &Answer) -> Result<String, ClientError> {
    Ok(match action {
        JobAction::Remove => format!("job {id} was removed\n"),
        JobAction::RetryFailed => format!("{}\n", answer.parse::<JobView>()?.id),
        JobAction::Pause | JobAction::Resume | JobAction::Cancel => {
            format!("job {id} is {}\n", answer.parse::<JobView>()?.state.name())
        }
    })
}

/// Formats the service with its workers, hosts and jobs.
pub(super) fn status(
    service: &ServiceView,
    workers: &Workers,
    hosts: &Hosts,
    list: &Jobs,
    screen: Screen,
) -> String {
    let ServiceView { version, pid, uptime_s, rss_bytes, cpu_s, restarts, stopping, .. } = service;
    let restarts =
        if *restarts > 0 { format!(", {}", units::counted(*restarts, "restart")) } else { String::new() };
    let mut text = format!(
        "muster {version}, pid {pid}, up {}, {}, {} CPU, {} of {}{restarts}{}\n",
        seconds(*uptime_s),
        units::bytes(*rss_bytes),
        seconds(*cpu_s),
        workers.workers.iter().filter(|worker| worker.state == WorkerState::Busy).count(),
        units::counted(u64::from(service.workers), "worker") + " busy",
        if *stopping { ", stopping" } else { "" },
    );
    for warning in &service.warnings {
        text += &format!("warning: {}\n", printable(warning));
    }
    if !workers.workers.is_empty() {
        text += "\n";
        let head = ["pid", "state", "job", "slot", "in flight", "phase", "target", "for", "rss", "cpu"];
        let rows = workers.workers.iter().map(worker).collect();
        text += &table(&head, &[0, 2, 3, 4, 6, 7, 8, 9], rows, screen);
    }
    if !hosts.hosts.is_empty() {
        text += "\n";
        let head = ["host", "in flight", "waiting", "paused", "pace", "refused"];
        text += &table(&head, &[1, 2, 3], hosts.hosts.iter().take(HOSTS_MAX).map(host).collect(), screen);
    }
    if !list.jobs.is_empty() {
        text += "\n";
        text += &jobs(list, screen);
    }
    text
}

fn worker(worker: &WorkerView) -> Vec<String> {
    let state = match worker.state {
        WorkerState::Starting => "starting",
        WorkerState::Idle => "idle",
        WorkerState::Busy => "busy",
        WorkerState::Leaving => "leaving",
    };
    let took = worker.target_ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1e3).ok());
    vec![
        worker.pid.to_string(),
        state.to_owned(),
        worker.job.map(|id| id.to_string()).unwrap_or_default(),
        worker.slot.map(|slot| slot.to_string()).unwrap_or_default(),
        units::count(worker.in_flight),
        printable(&worker.phase),
        worker.target.map(|target| target.to_string()).unwrap_or_default(),
        took.map(units::duration).unwrap_or_default(),
        units::bytes(worker.rss_bytes),
        seconds(worker.cpu_s),
    ]
}

fn host(host: &HostView) -> Vec<String> {
    let most = host.in_flight_max.map(|most| format!(" of {most}")).unwrap_or_default();
    vec![
        printable(&host.host),
        format!("{}{most}", host.in_flight),
        units::count(host.waiting),
        host.paused_ms.map(|ms| units::clock(Duration::from_millis(ms))).unwrap_or_default(),
        host.pace_per_s.map(|per_s| format!("{}/s", units::number(per_s))).unwrap_or_default(),
        units::count(host.refused),
    ]
}
