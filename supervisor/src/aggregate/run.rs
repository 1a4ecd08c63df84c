//! Runs a `csv` job: all files in ranges, then those that did not keep to the rules once more, each as a whole.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::csv::{CsvFile, CsvSpec};
use shared::file_state::FileState;
use shared::job::{Mode, RecordEncoding, Work};
use shared::record::ErrorKind;
use supervisor_core::gather::{Gather, Ordered};

use super::rows;
use crate::engine::{EngineError, Job, Outside, Shape, Started, readable};
use crate::journal::{Finished as NoIds, Gate, OutputError, Prefix};
use crate::merge::{Merge, Tally};
use crate::plan::Plan;
use crate::runtime::{Control, Ended, Feed, Finished, Writer, cpus};
use crate::source::{Ranges, TargetKind};
use crate::summary::ModeRun;

/// What came of a `csv` job.
#[derive(Debug)]
pub(crate) struct CsvReport {
    /// How the last pass ended.
    pub(crate) ended: Ended,
    /// What everything comes to; of use only if all was done.
    pub(crate) tally: Tally,
    /// What the user should hear of the rows and files.
    pub(crate) said: Vec<String>,
    /// Numbers for the summary and the HTML report.
    pub(crate) run: ModeRun,
}

/// Runs `plan`, which is for `spec`.
///
/// # Errors
/// [`EngineError`] when the job could not be begun, or its parts not be merged.
pub(crate) fn run(plan: &Plan, spec: &CsvSpec, outside: &mut Outside<'_>) -> Result<CsvReport, EngineError> {
    let control = outside.control;
    let started = Started::now(control);
    let spec = Arc::new(spec.clone());
    let merge = Arc::new(Mutex::new(Merge::new(Arc::clone(&spec))));
    let abandoned = lock(&merge).abandoned();
    let (shape, why) = shape(plan, &spec, control);
    let first = Ranges::all(spec.files.clone(), Arc::clone(&abandoned));
    let mut job = Job {
        plan,
        started_us: started.us,
        readable: readable(plan),
        // Of records, of which there are none.
        encoding: RecordEncoding::JsonLine,
        feed: start(first)?,
        ordered: Some(Ordered::new(0)),
        writer: Writer::merging(Arc::clone(&merge))?,
        gather: Gather::new(0),
        outside,
    };
    let mut taken = 0;
    let ended = loop {
        let mut ended = job.run_shape(shape, u64::MAX);
        taken += job.feed.taken();
        let writer = std::mem::replace(&mut job.writer, Writer::merging(Arc::clone(&merge))?);
        match writer.finish(true, control) {
            Ok(Finished::Written(_)) => {}
            // The groups lack what is still being merged.
            Ok(Finished::Abandoned(signal)) => ended.signal = Some(signal),
            Err(cause) => return Err(EngineError::Output { cause, resumable: false }),
        }
        if !ended.is_complete() || ended.left > 0 {
            break ended;
        }
        let again = lock(&merge).end_pass().map_err(OutputError::from);
        let again = again.map_err(|cause| EngineError::Output { cause, resumable: false })?;
        if again.is_empty() {
            ended.failure = spec.files.iter().find_map(changed);
            break ended;
        }
        job.feed = start(Ranges::whole(spec.files.clone(), Arc::clone(&abandoned), &again))?;
        job.ordered = Some(Ordered::new(0));
    };
    let gather = job.gather;
    gather.balance(taken, ended.left)?;
    let (tally, one_pass) = lock(&merge).finish();
    let mut said: Vec<String> = one_pass
        .iter()
        .filter_map(|(file, stray)| Some(rows::one_pass(spec.files.get(*file as usize)?, *stray)))
        .collect();
    said.extend(rows::bad(&spec, &tally));
    let mut run = ModeRun::new(&gather, &started.facts(shape, why, ended.sandbox.clone(), &gather));
    count_rows(&mut run, &spec, &tally);
    Ok(CsvReport { ended, tally, said, run })
}

/// How a file differs from what it was when its header was read. Workers have checked what they read, and not
/// whether that is still what the name stands for.
fn changed(file: &CsvFile) -> Option<String> {
    let what = match std::fs::metadata(&file.at) {
        Ok(now) => file.state.change(&FileState::from(&now))?,
        Err(error) => format!("it changed while it was read: {error}"),
    };
    Some(format!("{}: {what}", file.path.display()))
}

fn start(ranges: Ranges) -> std::io::Result<Feed> {
    Feed::start(ranges, Gate::new(TargetKind::Path, NoIds::default(), Prefix::default()))
}

fn lock(merge: &Mutex<Merge>) -> MutexGuard<'_, Merge> {
    merge.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nothing here waits but for the disk, so there is nothing to measure; and a file of one part needs one worker.
fn shape(plan: &Plan, spec: &CsvSpec, control: &Control) -> (Shape, Option<String>) {
    if let Some(mode) = plan.pool.mode {
        return (Shape::new(plan, mode), None);
    }
    let parts = u32::try_from(Ranges::parts_max(&spec.files)).unwrap_or(u32::MAX).max(1);
    let given = plan.pool.workers.is_some();
    let many = Shape::new(plan, Mode::Parallel);
    let many = if given { many } else { many.of_parts(parts) };
    let mode = if many.reach(control) > 1 { Mode::Parallel } else { Mode::Sequential };
    let because = if !given && parts < cpus::usable_cpus().get() {
        "the input is one part for each worker"
    } else {
        "nothing was measured"
    };
    let why = format!("{}: aggregating computes and does not wait, and {because}", mode.name());
    let shape = if mode == Mode::Parallel { many } else { Shape::new(plan, mode) };
    (shape, Some(why))
}

/// What the user counts is rows, and bytes once, however the files were cut and whatever was done again.
fn count_rows(run: &mut ModeRun, spec: &CsvSpec, tally: &Tally) {
    let summary = &mut run.summary;
    (summary.items, summary.failed) = (tally.rows, tally.bad);
    summary.ok = tally.rows - tally.bad;
    summary.bytes = spec.files.iter().map(|file| file.bytes).sum();
    summary.items_per_s =
        if summary.wall_s > 0.0 { (tally.rows as f64 / summary.wall_s).round() } else { 0.0 };
    summary.errors.clear();
    if tally.bad > 0 {
        summary.errors.insert(ErrorKind::Parse, tally.bad);
    }
    for worker in &mut summary.per_worker {
        worker.items = tally.by_slot.get(&worker.slot).copied().unwrap_or(0);
    }
}

/// The spec of a plan that is for `csv`.
pub(crate) fn spec(plan: &Plan) -> Option<&CsvSpec> {
    match &plan.work {
        Work::Csv(spec) => Some(spec),
        Work::Fetch(_) | Work::Parse(_) | Work::Map(_) | Work::Sitemap(_) => None,
    }
}
