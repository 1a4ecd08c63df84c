//! One job from beginning to end: source, pool, output, and what is said about it
//! afterwards. `fetch`, `parse`, `map` and each run of `compare` go through `run`.
//! `csv` has a driver of its own in `aggregate`, which shares `Job::run_shape`.

mod limits;
mod shape;
mod sitemaps;
mod tree;

use std::ffi::OsString;
use std::time::{Duration, Instant};

use shared::clock;
use shared::job::{JobSpec, Mode, RecordEncoding, SandboxSpec, Work};
use supervisor_core::auto::{self, Measured};
use supervisor_core::frontier::{Frontier, FrontierConfig, HostShares};
use supervisor_core::gather::{Gather, Ordered, Unbalanced};
use supervisor_core::pool::Pool;

use self::limits::pool_config;
pub(crate) use self::limits::readable;
pub(crate) use self::shape::Shape;
use self::sitemaps::Listed;
use self::tree::SitemapError;
use crate::heading;
use crate::journal::{Destination, Gate, Journal, JournalError, OutputError, SpooledInput, State, Store};
use crate::plan::Plan;
use crate::runtime::{self, Control, Ended, Feed, Finished, NoWorkers, Observer, Runtime, Workers, Writer};
use crate::sink::SinkError;
use crate::source::{Source, TargetKind};
use crate::summary::{Facts, ModeRun};

/// What to do about a run that could not go on.
const HOW_TO_RESUME: &str =
    "\nnothing that is committed is lost: put that right, and the same command with --resume does the rest";

/// Why a job could not be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// There can be no workers.
    #[error(transparent)]
    NoWorkers(#[from] NoWorkers),
    /// The output or its journal cannot be written.
    #[error("{cause}{}", if *.resumable { HOW_TO_RESUME } else { "" })]
    Output {
        /// Why.
        cause: OutputError,
        /// Whether there is a journal that says how far it is good.
        resumable: bool,
    },
    /// The inputs are not those of the run that was to be resumed.
    #[error(transparent)]
    Changed(JournalError),
    /// The sitemaps cannot be read.
    #[error(transparent)]
    Sitemap(#[from] SitemapError),
    /// Threads or signal handlers cannot be set up.
    #[error("cannot set up threads and signals: {0}")]
    SetUp(#[from] std::io::Error),
    /// Our own bookkeeping is wrong.
    #[error(transparent)]
    Unbalanced(#[from] Unbalanced),
}

/// What came of a job.
#[derive(Debug)]
pub(crate) struct Report {
    /// How the last run of it ended.
    pub(crate) ended: Ended,
    /// Whether whoever read standard output went away.
    pub(crate) reader_left: bool,
    /// How to go on, if there is something left to do and a journal to do it by.
    pub(crate) resume: Option<Resume>,
    /// Numbers for the summary, the comparison and the HTML report.
    pub(crate) run: ModeRun,
}

/// How a run that was stopped can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// With the same command and `--resume`.
    Alone,
    /// The same, and the same standard input once more: it was not read to its end.
    WithStdin,
}

/// What a job has around it, alone on a command line or beside others in the service.
pub(crate) struct Outside<'a> {
    /// What is asked of it while it runs.
    pub(crate) control: &'a Control,
    /// Who watches it.
    pub(crate) observer: &'a mut dyn Observer,
    /// Where its worker processes come from.
    pub(crate) workers: &'a Workers,
    /// The budgets of hosts that other jobs ask as well.
    pub(crate) hosts: Option<&'a HostShares>,
}

/// Runs `plan`, writing records to `destination`; `targets_max` cuts the input short.
///
/// # Errors
/// [`EngineError`] when the job could not be begun or its output could not be written.
pub(crate) fn run(
    plan: &Plan,
    destination: Destination,
    targets_max: u64,
    outside: &mut Outside<'_>,
) -> Result<Report, EngineError> {
    let control = outside.control;
    let started = Started::now(control);
    let kind = TargetKind::of(&plan.work);
    let Destination { mut outlet, journal, .. } = destination;
    let (store, state, input) = match journal {
        Some(Journal { store, state, input }) => (Some(store), state, Some(input)),
        None => (None, State::default(), None),
    };
    let (entries, sitemaps_failed) = match sitemaps::list(plan, started.us, outside, input.as_ref())? {
        Listed::Nothing => (None, 0),
        Listed::Entries(entries, failed) => (Some(entries), failed),
        Listed::Over(ended) => return Ok(started.over_before_it_began(plan, *ended)),
    };
    let stdin = input.as_ref().map_or(Ok(None), SpooledInput::open)?;
    let source = Source::of(plan).with_stdin(stdin).with_sitemaps(entries);
    let mut job = Job {
        plan,
        started_us: started.us,
        readable: readable(plan),
        encoding: heading::begin(plan, &mut outlet)
            .map_err(|cause| EngineError::Output { cause: cause.into(), resumable: false })?,
        feed: Feed::start(source, Gate::new(kind, state.finished.clone(), state.prefix))?,
        // In order, what is done is what comes first.
        ordered: plan.ordered.then(|| Ordered::new(state.finished.len())),
        writer: Writer::start(outlet, store.map(|store| (store, &state)))?,
        gather: Gather::resumed(state.tally.counts, state.tally.errors),
        outside,
    };
    let (mut ended, shape, why) = job.run(targets_max);
    let Job { feed, writer, gather, outside, .. } = job;
    ended.unread = !feed.is_exhausted();
    let mut reader_left = false;
    let mut resume = None;
    take_back_late_signal(&mut ended, &feed);
    let complete = ended.is_complete() && ended.left == 0 && feed.is_exhausted();
    let again =
        |input: &SpooledInput| if input.is_needed_again() { Resume::WithStdin } else { Resume::Alone };
    let finished = match ended.signal.filter(|_| ended.abandoned) {
        Some(signal) => Ok(Finished::Abandoned(signal)),
        None => {
            if let Some(object) = plan.object.as_ref().filter(|_| complete) {
                outside.observer.message(&format!("uploading to {}", object.url));
            }
            writer.finish(complete, control)
        }
    };
    match finished {
        Ok(Finished::Written(store)) => {
            if let (Some(store), Some(input)) = (store, &input) {
                resume = settle(complete, &feed, store, input)?;
            }
        }
        Ok(Finished::Abandoned(signal)) => {
            ended.signal = Some(signal);
            resume = input.as_ref().map(again);
        }
        Err(OutputError::Sink(SinkError::Closed { .. })) => reader_left = true,
        Err(cause) => return Err(EngineError::Output { cause, resumable: input.is_some() }),
    }
    if !reader_left {
        gather.balance(feed.taken(), ended.left)?;
    }
    let facts = started.facts(shape, why, ended.sandbox.clone(), &gather);
    let mut run = ModeRun::new(&gather, &facts);
    run.summary.sitemaps_failed = sitemaps_failed;
    Ok(Report { ended, reader_left, resume, run })
}

/// A signal that came when everything was done stopped nothing.
fn take_back_late_signal(ended: &mut Ended, feed: &Feed) {
    let is_done = ended.left == 0 && feed.is_exhausted();
    if is_done && ended.failure.is_none() && !ended.abandoned && !ended.output_failed {
        ended.signal = None;
    }
}

/// Takes the journal of a complete run away; how to go on with any other.
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
        // What came this time was not it; the next attempt must not find it kept.
        input.remove();
        return Err(EngineError::Changed(JournalError::JobChanged { output: store.output(), changes }));
    }
    if !complete {
        return Ok(Some(if input.is_needed_again() { Resume::WithStdin } else { Resume::Alone }));
    }
    store.complete().map_err(|cause| EngineError::Output { cause: cause.into(), resumable: true })?;
    input.remove();
    store.remove();
    Ok(None)
}

/// A job while it runs.
pub(crate) struct Job<'a, 'b> {
    pub(crate) plan: &'a Plan,
    pub(crate) started_us: u64,
    /// What workers may read.
    pub(crate) readable: Option<Vec<OsString>>,
    pub(crate) encoding: RecordEncoding,
    pub(crate) feed: Feed,
    pub(crate) writer: Writer,
    pub(crate) gather: Gather,
    pub(crate) ordered: Option<Ordered>,
    pub(crate) outside: &'a mut Outside<'b>,
}

impl Job<'_, '_> {
    /// Runs in the mode that was asked for, or measures and picks one.
    fn run(&mut self, targets_max: u64) -> (Ended, Shape, Option<String>) {
        if let Some(mode) = self.plan.pool.mode {
            let shape = Shape::new(self.plan, mode);
            return (self.run_shape(shape, targets_max), shape, None);
        }
        if let Work::Map(_) = self.plan.work {
            // There is nothing to interleave: a program answers one line after the other.
            let both = Shape::new(self.plan, Mode::Parallel);
            let many = both.reach(self.outside.control) > 1;
            let mode = if many { Mode::Parallel } else { Mode::Sequential };
            let shape = Shape { mode, ..both };
            let programs = if many { "a program in each of the workers" } else { "one program" };
            let why = format!("{}: {programs} computes, and none of us waits for the network", mode.name());
            return (self.run_shape(shape, targets_max), shape, Some(why));
        }
        let mut probe = Shape::new(self.plan, Mode::Concurrent);
        probe.concurrency = probe.concurrency.min(u32::try_from(auto::PROBE_TARGETS).unwrap_or(u32::MAX));
        let ended = self.run_shape(probe, auto::PROBE_TARGETS.min(targets_max));
        let both = Shape::new(self.plan, Mode::Both);
        let choice = auto::choose(self.measured(), both.workers, both.concurrency);
        let rest = targets_max.saturating_sub(self.feed.taken());
        if !ended.is_complete() {
            return (ended, probe, None);
        }
        if rest == 0 || self.feed.is_exhausted() {
            let why = format!("{}: the measurement itself did all there was to do", probe.mode.name());
            return (ended, probe, Some(why));
        }
        let shape = Shape::new(self.plan, choice.mode);
        (self.run_shape(shape, rest), shape, Some(choice.why))
    }

    fn measured(&self) -> Measured {
        let targets = self.gather.items_now();
        let (elapsed_us, cpu_us) = self.gather.time_spent_us();
        #[expect(clippy::cast_precision_loss, reason = "a handful of targets, at most minutes each")]
        let mean_ms = |us: u64| us as f64 / 1e3 / targets.max(1) as f64;
        Measured { targets, wait_ms: mean_ms(elapsed_us.saturating_sub(cpu_us)), compute_ms: mean_ms(cpu_us) }
    }

    /// Runs one pool over what is left of the feed.
    pub(crate) fn run_shape(&mut self, shape: Shape, targets_max: u64) -> Ended {
        let (shape, notice) = shape.fitted();
        if let Some(notice) = notice {
            self.outside.observer.message(&notice);
        }
        let workers_max = shape.reach(self.outside.control);
        self.outside.observer.began(shape.mode, workers_max);
        let allotted = self.outside.control.allotted().unwrap_or(workers_max);
        let shape = Shape { workers: workers_max.min(allotted), ..shape };
        let now = clock::now();
        let seed = clock::monotonic_us();
        let share = self.outside.hosts.map(HostShares::share);
        let frontier = Frontier::new(FrontierConfig::from(&self.plan.politeness), seed).sharing(share);
        let pool = Pool::new(pool_config(self.plan, shape), frontier, now, seed);
        let job = JobSpec {
            slot: 0,
            executor: shape.mode.executor(),
            concurrency: shape.concurrency,
            started_us: self.started_us,
            work: self.plan.work.clone(),
            then: self.plan.then.clone(),
            fields: self.plan.fields.clone(),
            each: self.plan.each.clone(),
            presets: self.plan.presets.clone(),
            encoding: self.encoding.clone(),
            parse_timeout: self.plan.parse_timeout,
            sandbox: SandboxSpec { level: self.plan.sandbox, readable: self.readable.clone() },
            memory_bytes_max: self.plan.pool.worker_memory_bytes,
        };
        let stage = runtime::Stage {
            feed: &mut self.feed,
            writer: &mut self.writer,
            gather: &mut self.gather,
            ordered: self.ordered.as_mut(),
            control: self.outside.control,
            observer: self.outside.observer,
            workers: self.outside.workers,
        };
        Runtime::new(stage, job, pool, workers_max, targets_max).run()
    }
}

/// Of a run that nobody saw end, whose output is whole: what can be said besides what its records tell.
pub(crate) fn facts_unseen(plan: &Plan, told: &Gather) -> Facts {
    let slots = u32::try_from(told.slots().len()).unwrap_or(u32::MAX).max(1);
    let mode = plan.pool.mode.unwrap_or(if slots > 1 { Mode::Both } else { Mode::Concurrent });
    let guessed = if plan.pool.mode.is_none() { "; its mode is a guess" } else { "" };
    Facts {
        mode,
        workers: slots,
        concurrency: Shape::new(plan, mode).concurrency,
        wall: Duration::ZERO,
        cpu: Duration::ZERO,
        supervisor_cpu: Duration::ZERO,
        supervisor_rss_bytes_max: 0,
        why: Some(format!(
            "read off the records, for the service was killed before it could say how the job ended{guessed}"
        )),
        sandbox: String::new(),
    }
}

/// What the clocks said when the job began.
pub(crate) struct Started {
    at: Instant,
    pub(crate) us: u64,
    /// Whether other jobs use the same process: then only this thread's time and that of the job's
    /// own workers is the job's.
    shared: bool,
    cpu: Duration,
    children_cpu: Duration,
}

impl Started {
    pub(crate) fn now(control: &Control) -> Self {
        let shared = control.allotted().is_some();
        Self {
            at: clock::now(),
            us: clock::monotonic_us(),
            shared,
            cpu: if shared { clock::thread_cpu() } else { clock::process_cpu() },
            children_cpu: clock::children_cpu(),
        }
    }

    /// The report of a run that ended while its sitemaps were read: nothing was fetched.
    fn over_before_it_began(&self, plan: &Plan, ended: Ended) -> Report {
        let shape = Shape::new(plan, plan.pool.mode.unwrap_or(Mode::Concurrent));
        let gather = Gather::new(0);
        let facts = self.facts(shape, None, ended.sandbox.clone(), &gather);
        let run = ModeRun::new(&gather, &facts);
        Report { ended: Ended { left: 0, unread: true, ..ended }, reader_left: false, resume: None, run }
    }

    pub(crate) fn facts(&self, shape: Shape, why: Option<String>, sandbox: String, gather: &Gather) -> Facts {
        let cpu = if self.shared { clock::thread_cpu() } else { clock::process_cpu() };
        let supervisor_cpu = cpu.saturating_sub(self.cpu);
        let slots = u32::try_from(gather.slots().len()).unwrap_or(u32::MAX).max(1);
        let workers_cpu = if self.shared {
            gather.slots().iter().map(|slot| slot.cpu).sum()
        } else {
            clock::children_cpu().saturating_sub(self.children_cpu)
        };
        Facts {
            mode: shape.mode,
            // Where it changes, the most there ever were.
            workers: if self.shared { slots } else { shape.workers },
            concurrency: shape.concurrency,
            wall: clock::now().duration_since(self.at),
            cpu: supervisor_cpu + workers_cpu,
            supervisor_cpu,
            supervisor_rss_bytes_max: clock::resident().max_bytes,
            why,
            sandbox,
        }
    }
}
