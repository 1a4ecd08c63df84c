//! What each command does once it is understood: run a job or compare the
//! modes, then say how it went.

#[cfg(feature = "objects")]
mod to_object;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use shared::clock;
use shared::job::Mode;

use crate::aggregate::{self, CsvReport};
use crate::api;
use crate::config::ServiceConfig;
use crate::engine::{self, EngineError, Outside, Report, Resume};
use crate::inherited;
use crate::journal::{self, Complete, Destination, Opened};
use crate::outcome::Outcome;
use crate::plan::{Comparison, CsvPlan, Output, Plan, PoolPlan, When};
use crate::progress::{Progress, Screen, Snapshot, Total};
use crate::report;
use crate::runtime::cgroup::Leaves;
use crate::runtime::{Control, Signals, Workers};
use crate::service;
use crate::sink::whole::{self, Totals};
use crate::sink::{Outlet, Sink};
use crate::summary::{self, ModeRun};
use crate::units;
use crate::whole_file::{self, WriteError};

/// Runs one job; how it ended, or why it could not be done.
///
/// # Errors
/// A message for the user when the job could not be run, or its results could not be written.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<Outcome> {
    #[cfg(feature = "objects")]
    if let Some(object) = &plan.object {
        return to_object::run(plan, object);
    }
    match journal::open(plan)? {
        Opened::Ready(destination) => run_to(plan, *destination),
        Opened::Complete(path) => {
            let complete = journal::check_complete(&path, plan)?;
            write_manifest(plan, totals(&complete))?;
            Ok(nothing_left(plan, &path.display().to_string(), &complete))
        }
    }
}

/// Says that an output is complete.
fn nothing_left(plan: &Plan, shown: &str, complete: &Complete) -> Outcome {
    let records = units::counted(complete.records, "record");
    let text = format!("{shown} is complete already, with {records}: nothing is left to do");
    notify(plan, &text);
    let failed = summary::failed_inputs(complete.failed, complete.records, complete.told.errors());
    failed.iter().for_each(|line| notify(plan, line));
    if complete.failed == 0 { Outcome::Done } else { Outcome::InputsFailed }
}

const fn totals(complete: &Complete) -> Totals {
    Totals { ok: complete.records - complete.failed, failed: complete.failed }
}

/// Runs one job whose output is open.
fn run_to(plan: &Plan, destination: Destination) -> anyhow::Result<Outcome> {
    let screen = Screen::stderr();
    let mut progress = Progress::new(plan.progress, screen).quiet(plan.quiet);
    if let Some(notice) = &destination.notice {
        progress.message(notice);
    }
    remove_manifest(plan)?;
    let report = run_shown(plan, destination, u64::MAX, progress)?;
    if report.ended.failure.is_some() {
        failed_inputs(&report).iter().for_each(|line| notify(plan, line));
        return conclude(plan, &report);
    }
    let summary = &report.run.summary;
    if report.ended.is_complete() {
        write_manifest(plan, Totals { ok: summary.ok, failed: summary.failed })?;
    }
    if let Some(path) = &plan.summary {
        summary.write(path)?;
    }
    if let Some(path) = &plan.report {
        write_report(path, std::slice::from_ref(&report.run))?;
    }
    if shows(plan, screen) {
        say(&summary::table(&report.run.summary, screen));
    }
    failed_inputs(&report).iter().for_each(|line| notify(plan, line));
    conclude(plan, &report)
}

/// Groups and aggregates; how it ended, or why it could not be done.
///
/// # Errors
/// A message for the user when the job could not be run, rows are bad that must not be, or the table could not be written.
pub(crate) fn csv(job: &CsvPlan) -> anyhow::Result<Outcome> {
    let CsvPlan { plan, strict } = job;
    let Some(spec) = aggregate::spec(plan) else {
        anyhow::bail!("this is no csv job; a bug in the supervisor")
    };
    #[cfg(feature = "objects")]
    let object = plan.object.as_deref().map(|object| to_object::table(plan, object)).transpose()?;
    let screen = Screen::stderr();
    let mut progress = Progress::new(plan.progress, screen).quiet(plan.quiet);
    let report = alone(&mut progress, |outside| aggregate::run(plan, spec, outside))?;
    let CsvReport { ended, tally, said, run } = report;
    let bytes = run.summary.bytes;
    let snapshot =
        Snapshot { done: tally.rows, failed: tally.bad, bytes, in_flight: 0, total: Total::Bytes(bytes) };
    progress.finish(clock::now(), &snapshot);
    if let Some(why) = ended.failure {
        anyhow::bail!("{why}\nnothing was written: what is missing would not show in the groups");
    }
    if let Some(signal) = ended.signal {
        let name = supervisor_core::pool::signal_name(signal).unwrap_or("a signal");
        say(&format!("stopped by {name}: nothing was written\n"));
        return Ok(Outcome::Stopped(u8::try_from(signal).unwrap_or(u8::MAX)));
    }
    // As the bar is gone, and cells may hold anything.
    said.iter().for_each(|line| progress.message(line));
    if *strict && tally.bad > 0 {
        anyhow::bail!("nothing was written: --strict, and {} bad", units::counted(tally.bad, "row"));
    }
    let outcome = write_table(&plan.output, &aggregate::write(spec, &tally.groups, plan.format)?)?;
    #[cfg(feature = "objects")]
    object.map_or(Ok(()), |object| object.deliver(plan))?;
    if let Some(path) = &plan.summary {
        run.summary.write(path)?;
    }
    if let Some(path) = &plan.report {
        write_report(path, std::slice::from_ref(&run))?;
    }
    if shows(plan, screen) {
        say(&summary::table(&run.summary, screen));
    }
    Ok(outcome)
}

/// All of it or nothing: a file appears with its last byte in it.
fn write_table(output: &Output, table: &[u8]) -> anyhow::Result<Outcome> {
    match output {
        Output::File { path, .. } => whole_file::replace(path, table)?,
        Output::Stdout => match inherited::check_stdout()
            .and_then(|()| io::stdout().write_all(table))
            .and_then(|()| io::stdout().flush())
        {
            // `| head` has read what it wanted.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written.context("cannot write to standard output")?,
        },
        Output::Discard => {}
    }
    Ok(Outcome::Done)
}

/// Runs the service until it is told to stop.
///
/// # Errors
/// A message for the user when it cannot be started.
pub(crate) fn serve(config: ServiceConfig, again: service::ReloadSettings) -> anyhow::Result<Outcome> {
    let mut workers = Workers::find()?;
    match Leaves::open(config.worker_memory_bytes) {
        Ok(leaves) => workers = workers.in_leaves(leaves),
        Err(why) if why.is_a_surprise() || config.worker_memory_bytes.is_some() => {
            tracing::info!(%why, "workers have no cgroups of their own");
        }
        Err(why) => tracing::debug!(%why, "workers have no cgroups of their own"),
    }
    service::run(config, again, workers, |service, config| {
        let api = api::start(service.clone(), &config.api, &config.state_dir)?;
        let (places, state) = (api.places().join(" and "), config.state_dir.display());
        let message = format!("listening on {places}; jobs are kept in {state}");
        if Screen::stderr().is_terminal {
            say(&(message + "\n"));
        } else {
            tracing::info!("{message}");
        }
        anyhow::Ok(Some(Box::new(api)))
    })?;
    Ok(Outcome::Done)
}

/// Runs one job in every mode, its records going nowhere, and shows the difference.
///
/// # Errors
/// As [`run`].
pub(crate) fn compare(comparison: &Comparison) -> anyhow::Result<Outcome> {
    let screen = Screen::stderr();
    let targets_max = comparison.sample.map_or(u64::MAX, std::num::NonZeroU64::get);
    let (mut runs, mut failed): (Vec<ModeRun>, Vec<String>) = (Vec::new(), Vec::new());
    let mut worst = Outcome::Done;
    for mode in Mode::ALL {
        let pool = PoolPlan { mode: Some(mode), ..comparison.plan.pool };
        let plan = Plan { pool, ..comparison.plan.clone() };
        let mut progress = Progress::new(plan.progress, screen).quiet(plan.quiet);
        if shows(&plan, screen) {
            progress.message(&format!("{} …", mode.name()));
        }
        let nowhere = Destination::without_journal(Outlet::new(Sink::open(&Output::Discard)?, None));
        let report = run_shown(&plan, nowhere, targets_max, progress)?;
        let outcome = conclude(&plan, &report)?;
        failed.extend(failed_inputs(&report).map(|failed| format!("{}: {failed}", mode.name())));
        runs.push(report.run);
        if let Outcome::Stopped(_) = outcome {
            return Ok(outcome);
        }
        if outcome != Outcome::Done {
            worst = outcome;
        }
    }
    say(&summary::compare_table(&runs, screen));
    failed.iter().for_each(|line| notify(&comparison.plan, line));
    if let Some(path) = &comparison.plan.report {
        write_report(path, &runs)?;
    }
    Ok(worst)
}

/// Writes what is in an output that is whole, if that was asked for. A directory has its manifest already.
fn write_manifest(plan: &Plan, totals: Totals) -> anyhow::Result<()> {
    let (Some(manifest), Output::File { path, .. }) = (&plan.manifest, &plan.output) else { return Ok(()) };
    let records = totals.ok + totals.failed;
    whole::Manifest::of(plan.format, totals, [(path.as_path(), records)])
        .and_then(|contents| whole::write_manifest(manifest, &contents))
        .with_context(|| format!("cannot write {}", manifest.display()))
}

/// Takes away what an earlier run said of an output that is now written to: where a manifest is, everything is there.
fn remove_manifest(plan: &Plan) -> anyhow::Result<()> {
    let is_file = |path: &&PathBuf| fs::metadata(path).is_ok_and(|found| found.is_file());
    let Some(manifest) = plan.manifest.as_ref().filter(is_file) else { return Ok(()) };
    fs::remove_file(manifest).with_context(|| format!("cannot remove {}", manifest.display()))
}

/// Runs a job under its bar, which is gone before anything else is said.
fn run_shown(
    plan: &Plan,
    destination: Destination,
    targets_max: u64,
    mut progress: Progress,
) -> Result<Report, EngineError> {
    let report = alone(&mut progress, |outside| engine::run(plan, destination, targets_max, outside))?;
    let summary = &report.run.summary;
    let snapshot = Snapshot {
        done: summary.items,
        failed: summary.failed,
        bytes: summary.bytes,
        in_flight: 0,
        total: Total::Exact(summary.items),
    };
    progress.finish(clock::now(), &snapshot);
    Ok(report)
}

/// Runs a job that has this process for itself: all signals are its own.
fn alone<T>(
    progress: &mut Progress,
    run: impl FnOnce(&mut Outside<'_>) -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    let workers = Workers::find()?;
    let (controller, control) = Control::new(None);
    let _signals = Signals::to_run(controller)?;
    run(&mut Outside { control: &control, observer: progress, workers: &workers, hosts: None })
}

/// Whether the table is for a person to see: what holds for the bar holds for it.
const fn shows(plan: &Plan, screen: Screen) -> bool {
    match plan.progress {
        _ if plan.quiet => false,
        When::Auto => screen.is_terminal,
        When::Always => true,
        When::Never => false,
    }
}

/// How many inputs failed, and of what; nothing to somebody who has read enough (`| head`).
fn failed_inputs(report: &Report) -> Option<String> {
    let summary = Some(&report.run.summary).filter(|_| !report.reader_left)?;
    summary::failed_inputs(summary.failed, summary.items, &summary.errors)
}

/// Says what did not go as asked for, and turns it into an outcome.
fn conclude(plan: &Plan, report: &Report) -> anyhow::Result<Outcome> {
    let Report { ended, reader_left, resume, run } = report;
    // What an order keeps back is done and not written: the next run does it again.
    let done = run.summary.items - ended.held_back;
    let left = ended.left + ended.held_back;
    if let Some(why) = &ended.failure {
        let how = if left > 0 || ended.unread { how(*resume) } else { "" };
        let (done, left) = (units::counted(done, "record"), units::counted(left, "input"));
        anyhow::bail!("{why}\n{done} written, {left} left{how}");
    }
    if let Some(signal) = ended.signal {
        let name = supervisor_core::pool::signal_name(signal).unwrap_or("a signal");
        let left = units::counted(left, "input");
        let left = if ended.unread { format!("{left} or more") } else { left };
        let place = match &plan.output {
            Output::File { path, .. } => match &plan.object {
                Some(object) => format!(" in {}, and not uploaded to {}", path.display(), object.url),
                None => format!(" in {}", path.display()),
            },
            Output::Stdout | Output::Discard => String::new(),
        };
        let how = how(*resume);
        let done = units::counted(done, "record");
        say(&format!("stopped by {name}: {done} written{place}, {left} left{how}\n"));
        return Ok(Outcome::Stopped(u8::try_from(signal).unwrap_or(u8::MAX)));
    }
    if done == 0 && !reader_left {
        notify(plan, "nothing was done: the inputs name no target");
    }
    let all_done = run.summary.failed == 0 && run.summary.sitemaps_failed == 0;
    if *reader_left || all_done { Ok(Outcome::Done) } else { Ok(Outcome::InputsFailed) }
}

/// How what is left can be done.
const fn how(resume: Option<Resume>) -> &'static str {
    match resume {
        None => "",
        Some(Resume::Alone) => "; the same command with --resume does them",
        Some(Resume::WithStdin) => {
            "; the same command with --resume does them, if the same standard input is piped in once more"
        }
    }
}

/// Writes the HTML report of `runs`.
fn write_report(path: &Path, runs: &[ModeRun]) -> Result<(), WriteError> {
    let typed: Vec<_> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let title = format!("supervisor {}", typed.join(" "));
    let when = humantime::format_rfc3339_seconds(clock::wall()).to_string();
    report::Page { title: &title, when: &when, runs }.write(path)
}

/// Says something that is no error, if it is wanted.
fn notify(plan: &Plan, text: &str) {
    if !plan.quiet {
        say(&format!("{text}\n"));
    }
}

/// Writes to standard error; one that is closed has nobody to tell.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
