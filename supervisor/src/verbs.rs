//! Runs what a command asks for, and turns the result into messages and an exit code.

use std::io::{self, Write as _};
use std::path::Path;

use shared::clock;
use shared::job::Mode;
use shared::redact;

use crate::api;
use crate::config::ServiceConfig;
use crate::engine::{self, EngineError, JobReport, Kept, Report, Resume, RunContext};
use crate::journal::Complete;
use crate::outcome::Outcome;
use crate::plan::{Comparison, Output, Plan, PoolPlan, When};
use crate::progress::{Progress, Screen};
use crate::report;
use crate::runtime::cgroup::Leaves;
use crate::runtime::{Control, Workers};
use crate::service;
use crate::summary::{self, ModeRun};
use crate::units;
use crate::whole_file::{Readers, WriteError};

/// Runs one job.
///
/// # Errors
/// A message for the user if the job could not be run, or its results could not be written.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<Outcome> {
    let screen = Screen::stderr();
    let mut progress = Progress::new(plan.progress, screen).quiet(plan.quiet);
    let report = match alone(plan, u64::MAX, &mut progress)? {
        JobReport::Complete(complete) => return Ok(nothing_left(plan, &complete)),
        JobReport::Ran(report) => report,
    };
    if has_results(&report) {
        if let Some(path) = &plan.summary {
            report.run.summary.write(path, Readers::of(&plan.output))?;
        }
        if let (Some(path), Some(crawl)) = (&plan.traps, &report.run.summary.crawl) {
            crawl.write_traps(path, Readers::of(&plan.output))?;
        }
        if let Some(path) = &plan.report {
            write_report(path, Readers::of(&plan.output), std::slice::from_ref(&report.run))?;
        }
        if shows(plan, screen) {
            say(&summary::table(&report.run.summary, screen));
        }
    }
    failed_inputs(&report).iter().for_each(|line| notify(plan, line));
    conclude(plan, &report)
}

/// Whether there is something to sum up: the records of a run that did not fail, or a table.
const fn has_results(report: &Report) -> bool {
    match report.kept {
        Kept::Records(_) => report.ended.failure.is_none(),
        Kept::Table => true,
        Kept::Nothing { .. } => false,
    }
}

/// Says that an output is complete.
fn nothing_left(plan: &Plan, complete: &Complete) -> Outcome {
    let shown = match (&plan.object, &plan.output) {
        (Some(object), _) => object.url.to_string(),
        (None, Output::File { path, .. }) => path.display().to_string(),
        (None, Output::Stdout | Output::Discard) => "the output".to_owned(),
    };
    let records = units::counted(complete.records, "record");
    let text = format!("{shown} is complete already, with {records}: nothing is left to do");
    notify(plan, &text);
    let failed = summary::failed_inputs(complete.failed, complete.records, complete.told.errors());
    failed.iter().for_each(|line| notify(plan, line));
    if complete.failed == 0 { Outcome::Done } else { Outcome::InputsFailed }
}

/// Runs the service until it is told to stop.
///
/// # Errors
/// A message for the user if it cannot be started.
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
        // Discarded records are never complete already.
        let JobReport::Ran(report) = alone(&plan, targets_max, &mut progress)? else { continue };
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
        write_report(path, Readers::Owner, &runs)?;
    }
    Ok(worst)
}

/// Runs a job that has this process to itself, so that all its signals are the job's.
fn alone(plan: &Plan, targets_max: u64, progress: &mut Progress) -> Result<JobReport, EngineError> {
    let workers = Workers::find()?;
    let (controller, control) = Control::new(None);
    let mut context = RunContext {
        control: &control,
        signals: Some(controller),
        observer: progress,
        workers: &workers,
        hosts: None,
        robots: None,
        cookies: None,
        session: None,
        earlier: None,
        committed: None,
        targets_max,
    };
    engine::run_job(plan, &mut context)
}

/// Whether the summary table is shown: under the same conditions as the bar.
const fn shows(plan: &Plan, screen: Screen) -> bool {
    match plan.progress {
        _ if plan.quiet => false,
        When::Auto => screen.is_terminal,
        When::Always => true,
        When::Never => false,
    }
}

/// Returns how many inputs failed, and with which errors; nothing for a table, or if the reader of the records has
/// read enough (`| head`).
fn failed_inputs(report: &Report) -> Option<String> {
    let has_records = matches!(report.kept, Kept::Records(_)) && !report.reader_left;
    let summary = Some(&report.run.summary).filter(|_| has_records)?;
    summary::failed_inputs(summary.failed, summary.items, &summary.errors)
}

/// Says what did not go as asked for, and turns it into an outcome.
fn conclude(plan: &Plan, report: &Report) -> anyhow::Result<Outcome> {
    let Report { ended, reader_left, kept, run } = report;
    // Of a table, which counts rows and not parts, no number is shown.
    let done = run.summary.items.saturating_sub(ended.held_back);
    let (left, held) = (ended.left, held(ended.held_back));
    if let Some(why) = &ended.failure {
        let Kept::Records(resume) = kept else {
            anyhow::bail!("{why}\nnothing was written: what is missing would not show in the groups");
        };
        let how = if left > 0 || ended.unread { how(*resume) } else { "" };
        let (done, left) = (units::counted(done, "record"), units::counted(left, "input"));
        anyhow::bail!("{why}\n{done} written{held}, {left} left{how}");
    }
    if let Some(signal) = ended.signal {
        let name = supervisor_core::pool::signal_name(signal).unwrap_or("a signal");
        let what = match kept {
            Kept::Records(resume) => {
                let left = units::counted(left, "input");
                let left = if ended.unread { format!("{left} or more") } else { left };
                let (done, place, how) = (units::counted(done, "record"), place(plan), how(*resume));
                format!("{done} written{place}{held}, {left} left{how}")
            }
            Kept::Table | Kept::Nothing { .. } => "nothing was written".to_owned(),
        };
        say(&format!("stopped by {name}: {what}\n"));
        return Ok(Outcome::Stopped(u8::try_from(signal).unwrap_or(u8::MAX)));
    }
    match kept {
        Kept::Table => return Ok(Outcome::Done),
        Kept::Nothing { bad_rows } => {
            let rows = units::counted(bad_rows.unwrap_or_default(), "row");
            anyhow::bail!("nothing was written: --strict, and {rows} bad");
        }
        Kept::Records(_) => {}
    }
    if done == 0 && !reader_left {
        notify(plan, "nothing was done: the inputs name no target");
    }
    let all_done = run.summary.failed == 0 && run.summary.sitemaps_failed == 0;
    if *reader_left || all_done { Ok(Outcome::Done) } else { Ok(Outcome::InputsFailed) }
}

/// Says how many records are kept beside the output, because an earlier one is missing.
fn held(records: u64) -> String {
    if records == 0 {
        String::new()
    } else {
        format!(", {records} kept in its journal until earlier ones are done")
    }
}

/// Where the records of a run that was stopped are.
fn place(plan: &Plan) -> String {
    match &plan.output {
        Output::File { path, .. } => match &plan.object {
            Some(object) => format!(" in {}, and not uploaded to {}", path.display(), object.url),
            None => format!(" in {}", path.display()),
        },
        Output::Stdout | Output::Discard => String::new(),
    }
}

/// Says how to do what is left.
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
fn write_report(path: &Path, readers: Readers<'_>, runs: &[ModeRun]) -> Result<(), WriteError> {
    let typed: Vec<_> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let title = format!("supervisor {}", redact::command_line(typed.iter().map(String::as_str)));
    let when = humantime::format_rfc3339_seconds(clock::wall()).to_string();
    report::Page { title: &title, when: &when, runs }.write(path, readers)
}

/// Says something that is not an error, unless the user wants quiet.
fn notify(plan: &Plan, text: &str) {
    if !plan.quiet {
        say(&format!("{text}\n"));
    }
}

/// Writes to standard error. If it is closed, nobody is there to tell.
fn say(text: &str) {
    let _ = io::stderr().write_all(redact::text(text).as_bytes());
}

#[cfg(test)]
mod tests {
    use supervisor_core::gather::Gather;

    use super::*;
    use crate::cli;
    use crate::config::Allowed;
    use crate::runtime::Ended;

    /// A table counts rows, of which there may be none while parts are held back.
    #[test]
    fn a_table_ends_without_one_although_parts_were_held_back() {
        let directory = tempfile::tempdir().unwrap();
        let (page, output) = (directory.path().join("a.html"), directory.path().join("out"));
        std::fs::write(&page, "").unwrap();
        let document = serde_json::json!({"command": "parse", "select": ["t=title"]});
        let document = document.as_object().unwrap();
        let plan = cli::job(document, &[page], &output, &Allowed::default()).unwrap();
        let gather = Gather::new(0);
        let run = || ModeRun::new(&gather, &engine::facts_unseen(&plan, &gather));
        let kept = Kept::Nothing { bad_rows: None };
        let ended = Ended { failure: Some("a part".to_owned()), held_back: 7, ..Ended::default() };
        let failed = conclude(&plan, &Report { ended, reader_left: false, kept, run: run() });
        assert!(failed.unwrap_err().to_string().starts_with("a part\nnothing was written"));
        let ended = Ended { signal: Some(2), held_back: 7, ..Ended::default() };
        let stopped = conclude(&plan, &Report { ended, reader_left: false, kept, run: run() });
        assert_eq!(stopped.unwrap(), Outcome::Stopped(2));
    }
}
