//! Jobs whose results are groups: they are merged, and written as one table at the end, all or nothing.

use std::fs;
use std::io::{self, Write as _};
#[cfg(feature = "objects")]
use std::path::PathBuf;

use shared::csv::{CsvFile, CsvSpec};
use shared::file_state::FileState;
use shared::job::RecordEncoding;
use shared::record::ErrorKind;
use supervisor_core::gather::Gather;

use super::clocks::Started;
use super::passes::{self, Consumer, Next, Pass, PassEnd, Passes, Start};
use super::report::{JobReport, Kept, Report};
use super::{EngineError, RunContext};
use crate::aggregate::{self, Merge, Merged, OnePass};
use crate::inherited;
use crate::kinds::{self, Spooled};
#[cfg(feature = "objects")]
use crate::objects::ObjectError;
use crate::plan::{Output, Plan};
use crate::runtime::{Finished, Signals, Writer};
use crate::source::Ranges;
use crate::summary::ModeRun;
use crate::whole_file::{self, Readers, WriteError};

/// Why a table cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    /// It cannot be compressed.
    #[error("cannot compress the table: {0}")]
    Compress(io::Error),
    /// The file cannot be written.
    #[error("{0}")]
    File(WriteError),
    /// Standard output cannot be written.
    #[error("cannot write to standard output: {0}")]
    Stdout(io::Error),
    /// The store does not take it; it stays on this machine.
    #[cfg(feature = "objects")]
    #[error("the table is in {}: {cause}", path.display())]
    Upload {
        /// The file on this machine.
        path: PathBuf,
        /// Error of the store.
        cause: ObjectError,
    },
}

impl TableError {
    /// Returns the system's error, if there is one.
    pub(super) const fn system_error(&self) -> Option<&io::Error> {
        match self {
            Self::Compress(error) | Self::Stdout(error) => Some(error),
            Self::File(error) => Some(&error.source),
            #[cfg(feature = "objects")]
            Self::Upload { .. } => None,
        }
    }
}

/// Runs the job and writes its table.
///
/// # Errors
/// As [`super::run_job`].
pub(super) fn run_job(
    plan: &Plan,
    spec: &CsvSpec,
    context: &mut RunContext<'_>,
) -> Result<JobReport, EngineError> {
    #[cfg(feature = "objects")]
    let object =
        plan.object.as_deref().map(|object| super::object::Table::begin(plan, object)).transpose()?;
    let signals = context.signals.take().map(Signals::to_run).transpose()?;
    let (mut report, merged, one_pass) = merge(plan, spec, context)?;
    // From here on a signal ends the process again: there is nothing to finish.
    drop(signals);
    context.observer.ended(&report.snapshot());
    if report.ended.is_complete() {
        let remarks = aggregate::remarks(spec, &merged, &one_pass);
        remarks.iter().for_each(|line| context.observer.message(line));
        if plan.strict && merged.bad > 0 {
            report.kept = Kept::Nothing { bad_rows: Some(merged.bad) };
        } else {
            let table = aggregate::encode(spec, &merged.groups, plan.format);
            write(&plan.output, &table.map_err(TableError::Compress)?)?;
            #[cfg(feature = "objects")]
            object.map_or(Ok(()), |object| deliver(plan, object))?;
            report.kept = Kept::Table;
        }
    }
    Ok(JobReport::Ran(Box::new(report)))
}

/// Writes all of the table or nothing: a file appears with its last byte in it.
fn write(output: &Output, table: &[u8]) -> Result<(), TableError> {
    match output {
        Output::File { path, .. } => {
            whole_file::replace(path, Readers::Usual, table).map_err(TableError::File)
        }
        Output::Stdout => match inherited::check_stdout()
            .and_then(|()| io::stdout().write_all(table))
            .and_then(|()| io::stdout().flush())
        {
            // `| head` has read what it wanted.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(TableError::Stdout),
        },
        Output::Discard => Ok(()),
    }
}

#[cfg(feature = "objects")]
fn deliver(plan: &Plan, object: super::object::Table) -> Result<(), TableError> {
    let Output::File { path, .. } = &plan.output else { return Ok(()) };
    object.deliver().map_err(|cause| TableError::Upload { path: path.clone(), cause })
}

/// Runs all passes. Returns the merged groups, and the files that were read in one pass.
fn merge(
    plan: &Plan,
    spec: &CsvSpec,
    context: &mut RunContext<'_>,
) -> Result<(Report, Merged, Vec<OnePass>), EngineError> {
    let targets = kinds::of(&plan.work).targets(plan, Spooled::default());
    let start = Start {
        started: Started::now(context.control),
        // There are no records to encode.
        encoding: RecordEncoding::JsonLine,
        gather: Gather::new(0),
        targets_max: u64::MAX,
        learned: Vec::new(),
        pass: Pass::over(targets, Writer::merging(Merge::new(spec))?),
    };
    let mut groups = Grouping { spec, merge: None };
    let Passes { ended, reader_left, mut run } = passes::run(plan, start, &mut groups, context)?;
    let (merged, one_pass) = groups.merge.map(Merge::finish).unwrap_or_default();
    count_rows(&mut run, spec, &merged);
    let report = Report { ended, reader_left, kept: Kept::Nothing { bad_rows: None }, run };
    Ok((report, merged, one_pass))
}

/// Merges the groups of parts.
struct Grouping<'a> {
    spec: &'a CsvSpec,
    /// The result, after the last pass.
    merge: Option<Merge>,
}

impl Consumer for Grouping<'_> {
    type Left = Merge;

    fn end_pass(
        &mut self,
        writer: Writer<Merge>,
        end: &mut PassEnd<'_>,
        _: &mut RunContext<'_>,
    ) -> Result<Next<Merge>, EngineError> {
        let mut merge = match end.finish(writer, true).map_err(EngineError::output)? {
            Finished::Written(merge) => merge,
            // The groups lack what is still being merged.
            Finished::Abandoned(signal) => {
                end.ended.signal = Some(signal);
                return Ok(Next::End);
            }
        };
        if end.is_done() {
            let again = merge.end_pass().map_err(|cause| EngineError::output(cause.into()))?;
            if !again.is_empty() {
                let targets = Box::new(Ranges::whole(self.spec.files.clone(), &again));
                let pass = Pass::over(targets, Writer::merging(merge)?);
                return Ok(Next::Pass(Box::new(pass)));
            }
            end.ended.failure = self.spec.files.iter().find_map(changed);
        }
        self.merge = Some(merge);
        Ok(Next::End)
    }
}

/// Says how a file differs from what it was when its header was read. Workers have checked what they read, but
/// not whether the name still stands for it.
fn changed(file: &CsvFile) -> Option<String> {
    let what = match fs::metadata(&file.at) {
        Ok(now) => file.state.change(&FileState::from(&now))?,
        Err(error) => format!("it changed while it was read: {error}"),
    };
    Some(format!("{}: {what}", file.path.display()))
}

/// Puts rows and bytes in the place of parts: the user counts rows, and each byte once, however the files were
/// cut and whatever was read again.
fn count_rows(run: &mut ModeRun, spec: &CsvSpec, merged: &Merged) {
    let summary = &mut run.summary;
    (summary.items, summary.failed) = (merged.rows, merged.bad);
    summary.ok = merged.rows - merged.bad;
    summary.bytes = spec.files.iter().map(|file| file.bytes).sum();
    summary.items_per_s =
        if summary.wall_s > 0.0 { (merged.rows as f64 / summary.wall_s).round() } else { 0.0 };
    summary.errors.clear();
    if merged.bad > 0 {
        summary.errors.insert(ErrorKind::Parse, merged.bad);
    }
    for worker in &mut summary.per_worker {
        worker.items = merged.by_slot.get(&worker.slot).copied().unwrap_or(0);
    }
}
