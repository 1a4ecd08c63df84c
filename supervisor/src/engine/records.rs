//! Jobs whose results are records: each is appended to the output, and the journal beside it says
//! which are certain.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use shared::clock;
use shared::job::Mode;
use supervisor_core::gather::Gather;
use supervisor_core::pages::Lists;

use super::clocks::Started;
use super::passes::{self, Consumer, Next, Pass, PassEnd, Passes, Start};
use super::report::{JobReport, Kept, Report, Resume};
use super::shape::Shape;
use super::sitemaps::{self, Listed};
use super::{EngineError, RunContext, logins, manifest};
use crate::cookies::Cookies;
use crate::crawl::{self, Book, Pages};
use crate::heading;
use crate::journal::{
    self, Destination, Gate, Journal, JournalError, Opened, OutputError, SpooledInput, State, Store,
};
use crate::kinds::{self, Spooled};
use crate::learned;
use crate::plan::{Output, Plan};
use crate::robots::RobotsCache;
use crate::runtime::{Ended, Feed, Finished, Signals, Writer};
use crate::saving::{self, Prepared};
use crate::since::{self, Keeper, Since, SinceEnd};
use crate::sink::SinkError;
use crate::sink::whole::Totals;
use crate::source::Targets;
use crate::summary::ModeRun;

/// Opens the output and runs the job, unless the output is complete already.
///
/// # Errors
/// As [`super::run_job`].
pub(super) fn run_job(plan: &Plan, context: &mut RunContext<'_>) -> Result<JobReport, EngineError> {
    match journal::open(plan).map_err(EngineError::output)? {
        Opened::Ready(destination) => run(plan, *destination, context),
        Opened::Complete(path) => {
            let complete = journal::check_complete(&path, plan).map_err(EngineError::NotOurs)?;
            clear(plan, context);
            manifest::write(plan, manifest::totals(&complete))?;
            Ok(JobReport::Complete(Box::new(complete)))
        }
    }
}

/// Runs the job, whose output is open.
///
/// # Errors
/// As [`super::run_job`].
pub(super) fn run(
    plan: &Plan,
    mut destination: Destination,
    context: &mut RunContext<'_>,
) -> Result<JobReport, EngineError> {
    if let Some(notice) = &destination.notice {
        context.observer.message(notice);
    }
    if let (Some(journal), Some(committed)) = (&mut destination.journal, &context.committed) {
        committed.store(journal.state.output_bytes, Ordering::Release);
        journal.store.report_to(Arc::clone(committed));
    }
    let is_recorded = destination.journal.is_some();
    let crawl = crawl::begin(plan, destination.journal.as_ref())?;
    let (book, plan) = match &crawl {
        Some((book, at_home)) => (Some(Arc::clone(book)), at_home),
        None => (None, plan),
    };
    let _unfinished = match kinds::saved(&plan.work) {
        Some(save) => {
            let Prepared { directory, work } = saving::prepare(save, &plan.output)?;
            if let Some(journal) = &mut destination.journal {
                journal.store.sync_files_of(directory);
            }
            Some(work)
        }
        None => None,
    };
    manifest::remove(plan)?;
    let (keeper, since) = begin_since(plan, destination.journal.as_ref(), context)?;
    let _signals = context.signals.take().map(Signals::to_run).transpose()?;
    let report = append(plan, destination, (keeper, book), context)?;
    context.observer.ended(&report.snapshot());
    // Without a journal, no run will go on with them.
    if report.ended.is_complete() || !is_recorded {
        clear(plan, context);
    }
    let notices = since.map(|since| since.conclude(report.ended.is_complete()));
    notices.into_iter().flatten().for_each(|notice| context.observer.message(&notice));
    if report.ended.is_complete() {
        let summary = &report.run.summary;
        manifest::write(plan, Totals { ok: summary.ok, failed: summary.failed })?;
    }
    Ok(JobReport::Ran(Box::new(report)))
}

/// Opens what an earlier run knows of pages, if they are compared with it, and what this run will note.
fn begin_since(
    plan: &Plan,
    journal: Option<&Journal>,
    context: &mut RunContext<'_>,
) -> Result<(Option<Keeper>, Option<SinceEnd>), EngineError> {
    let Some(spec) = kinds::since(&plan.work) else { return Ok((None, None)) };
    let resumes = journal.map(|journal| !journal.state.finished.is_empty());
    let Since { earlier, keeper, notices, end } = since::begin(plan, spec, resumes)?;
    notices.iter().for_each(|notice| context.observer.message(notice));
    context.earlier = earlier;
    Ok((keeper, Some(end)))
}

/// Removes what is left of unfinished files. All that was asked for is done without that.
fn clear(plan: &Plan, context: &mut RunContext<'_>) {
    if let Some(Err(error)) = kinds::saved(&plan.work).map(saving::clear) {
        context.observer.message(&error.to_string());
    }
}

/// Reads the sitemaps, if there are any, then runs the targets.
fn append(
    plan: &Plan,
    destination: Destination,
    (keeper, book): (Option<Keeper>, Option<Arc<Book>>),
    context: &mut RunContext<'_>,
) -> Result<Report, EngineError> {
    let started = Started::now(context.control);
    let Destination { mut outlet, journal, .. } = destination;
    let (store, state, held, input) = match journal {
        Some(Journal { store, state, held, input }) => (Some(store), state, held, Some(input)),
        None => (None, State::default(), Vec::new(), None),
    };
    if kinds::of(&plan.work).keeps_cookies() {
        let beside = input.as_ref().map(SpooledInput::cookies);
        context.cookies = Some(match plan.cookie_jar.as_deref().or(beside) {
            // It only measures, and logs in again in each of its runs.
            Some(file) if matches!(plan.output, Output::Discard) => Cookies::read_from(file)?,
            Some(file) => Cookies::kept_at(file)?,
            None => Cookies::default(),
        });
    }
    let plan = &logins::begin(plan, input.as_ref().map(SpooledInput::session), context);
    let (sitemaps, sitemaps_failed) = match sitemaps::list(plan, context, input.as_ref())? {
        Listed::Nothing => (None, 0),
        Listed::Entries(entries, failed) => (Some(entries), failed),
        Listed::Over(ended) => return Ok(over_before_it_began(plan, &started, *ended)),
    };
    if plan.politeness.obeys_robots && context.robots.is_none() {
        let kept = input.as_ref().map(|input| RobotsCache::kept_at(input.robots()));
        context.robots = Some(kept.unwrap_or_default());
    }
    let encoding = heading::begin(plan, &mut outlet).map_err(|cause| EngineError::output(cause.into()))?;
    let (kind, kept) = (kinds::of(&plan.work), state.kept());
    let (targets, gate): (Box<dyn Targets + Send>, _) = match &book {
        Some(book) => (Box::new(Pages::new(Arc::clone(book), plan.host_key)), Gate::unordered()),
        None => {
            let stdin = input.as_ref().map_or(Ok(None), SpooledInput::open)?;
            let targets = kind.targets(plan, Spooled { stdin, sitemaps });
            (targets, Gate::new(kind.rules().target, state.done(), state.prefix))
        }
    };
    let start = Start {
        started,
        encoding,
        gather: Gather::resumed(kept.counts, kept.errors),
        targets_max: context.targets_max,
        learned: learned::read(clock::wall(), &state.hosts),
        pass: Pass {
            targets,
            gate,
            first_id: state.finished.len(),
            held,
            uncertain: state.uncertain.clone(),
            lists: kinds::next(&plan.work)
                .map(|next| Lists::resumed(next.pages_max, state.tally.lists, state.lists.clone())),
            writer: Writer::appending(
                outlet,
                store.map(|store| (store, &state, kind.rules().twice)),
                keeper,
                book.clone(),
            )?,
        },
    };
    let mut append = Append { plan, input, resume: None };
    let Passes { ended, reader_left, mut run } = passes::run(plan, start, &mut append, context)?;
    run.summary.sitemaps_failed = sitemaps_failed;
    run.summary.crawl = book.map(|book| book.report());
    Ok(Report { ended, reader_left, kept: Kept::Records(append.resume), run })
}

/// The report of a run that ended while its sitemaps were read: nothing was fetched.
fn over_before_it_began(plan: &Plan, started: &Started, ended: Ended) -> Report {
    let shape = Shape::new(plan, plan.pool.mode.unwrap_or(Mode::Concurrent));
    let gather = Gather::new(0);
    let facts = started.facts(shape, None, ended.sandbox.clone(), &gather);
    let ended = Ended { left: 0, unread: true, ..ended };
    Report { ended, reader_left: false, kept: Kept::Records(None), run: ModeRun::new(&gather, &facts) }
}

/// Appends records to the output.
struct Append<'a> {
    plan: &'a Plan,
    /// What is kept of standard input and of the sitemaps, beside the journal.
    input: Option<SpooledInput>,
    /// How to continue, once that is known.
    resume: Option<Resume>,
}

impl Consumer for Append<'_> {
    type Left = Option<Store>;

    fn end_pass(
        &mut self,
        writer: Writer<Option<Store>>,
        end: &mut PassEnd<'_>,
        context: &mut RunContext<'_>,
    ) -> Result<Next<Option<Store>>, EngineError> {
        end.take_back_late_signal();
        let complete = end.is_done();
        if let Some(object) = self.plan.object.as_ref().filter(|_| complete) {
            context.observer.message(&format!("uploading to {}", object.url));
        }
        match end.finish(writer, complete) {
            Ok(Finished::Written(store)) => {
                if let (Some(store), Some(input)) = (store, &self.input) {
                    self.resume = settle(complete, end.feed, store, input)?;
                }
            }
            Ok(Finished::Abandoned(signal)) => {
                end.ended.signal = Some(signal);
                self.resume = self.input.as_ref().map(resume);
            }
            Err(OutputError::Sink(SinkError::Closed { .. })) => return Ok(Next::ReaderLeft),
            Err(cause) => return Err(EngineError::Output { cause, resumable: self.input.is_some() }),
        }
        Ok(Next::End)
    }
}

/// How a run with this input can continue.
fn resume(input: &SpooledInput) -> Resume {
    if input.is_needed_again() { Resume::WithStdin } else { Resume::Alone }
}

/// Removes the journal of a complete run. Returns how any other run can continue.
fn settle(
    complete: bool,
    feed: &Feed,
    mut store: Store,
    input: &SpooledInput,
) -> Result<Option<Resume>, EngineError> {
    if let Some(changed) = feed.changed() {
        let mut changes = vec![format!("the inputs: {changed}")];
        if input.was_needed_again() {
            changes
                .push("standard input was not read to its end, so the same is needed once more".to_owned());
        }
        // This time's input was the wrong one; the next attempt must not find it kept.
        input.remove_inputs();
        return Err(EngineError::Changed(JournalError::JobChanged { output: store.output(), changes }));
    }
    if !complete {
        return Ok(Some(resume(input)));
    }
    store.complete().map_err(|cause| EngineError::Output { cause: cause.into(), resumable: true })?;
    input.remove();
    store.remove();
    Ok(None)
}
