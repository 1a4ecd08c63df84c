//! Runs the workers of a job over its targets, pass after pass: picks the mode, runs a pool over
//! what is left of the source, and hands what the workers send to the job's consumer.

use std::ffi::OsString;

use shared::clock;
use shared::job::{JobSpec, RecordEncoding, SandboxSpec};
use supervisor_core::frontier::{Frontier, HostRef, HostShares, Learned};
use supervisor_core::gather::{Gather, Ordered};
use supervisor_core::load::total::{Room, Total};
use supervisor_core::pages::Lists;
use supervisor_core::pool::Pool;
use supervisor_core::proxies::Proxies;

use super::clocks::Started;
use super::limits::{frontier_config, pool_config, readable};
use super::logins;
use super::proxies;
use super::shape::Shape;
use super::{EngineError, RunContext};
use crate::journal::{Finished, Gate, HeldRecord, OutputError};
use crate::kinds::{self, Auto};
use crate::plan::Plan;
use crate::runtime::{self, Control, Ended, Feed, Paging, Queue, RunParts, Runtime, Writer};
use crate::source::{Host, HostFinder, Targets};
use crate::summary::ModeRun;

/// Takes in what the workers send: appends records, merges groups, or lists sitemaps.
pub(super) trait Consumer {
    /// What the writer's thread leaves at the end of a pass.
    type Left: Send + 'static;

    /// Ends a pass: has the writer finish, and says what comes next.
    ///
    /// # Errors
    /// [`EngineError`] if the results of the pass could not be taken in.
    fn end_pass(
        &mut self,
        writer: Writer<Self::Left>,
        end: &mut PassEnd<'_>,
        context: &mut RunContext<'_>,
    ) -> Result<Next<Self::Left>, EngineError>;
}

/// Some targets, and the writer that takes in their results.
pub(super) struct Pass<L> {
    pub(super) targets: Box<dyn Targets + Send>,
    /// Which of the targets are left to do.
    pub(super) gate: Gate,
    /// The first of them, if results are needed in order.
    pub(super) first_id: u64,
    /// Records of an earlier run that wait for one of these targets.
    pub(super) held: Vec<HeldRecord>,
    /// Targets that an earlier run may have sent, and that must not be sent twice.
    pub(super) uncertain: Finished,
    /// The lists of pages that its targets begin, if pages are followed.
    pub(super) lists: Option<Lists>,
    pub(super) writer: Writer<L>,
}

impl<L> Pass<L> {
    /// All of `targets`.
    pub(super) fn over(targets: Box<dyn Targets + Send>, writer: Writer<L>) -> Self {
        Self {
            targets,
            gate: Gate::default(),
            first_id: 0,
            held: Vec::new(),
            uncertain: Finished::default(),
            lists: None,
            writer,
        }
    }
}

/// What comes after a pass.
pub(super) enum Next<L> {
    /// Another pass.
    Pass(Box<Pass<L>>),
    /// Nothing.
    End,
    /// Nothing: the reader of the output went away, so the counts do not add up.
    ReaderLeft,
}

/// A pass whose pool has ended.
pub(super) struct PassEnd<'a> {
    pub(super) ended: &'a mut Ended,
    pub(super) feed: &'a Feed,
    control: &'a Control,
}

impl PassEnd<'_> {
    /// Whether every target has its result.
    pub(super) fn is_done(&self) -> bool {
        self.ended.is_complete() && self.ended.left == 0 && self.feed.is_exhausted()
    }

    /// Takes back a signal that came when everything was done and so stopped nothing.
    pub(super) fn take_back_late_signal(&mut self) {
        let signal = self.ended.signal.take();
        if !self.is_done() {
            self.ended.signal = signal;
        }
    }

    /// Waits for the writer, unless the user would not wait for it before; `complete` says that nothing
    /// is left to do.
    pub(super) fn finish<L: Send + 'static>(
        &self,
        writer: Writer<L>,
        complete: bool,
    ) -> Result<runtime::Finished<L>, OutputError> {
        match self.ended.signal.filter(|_| self.ended.abandoned) {
            Some(signal) => Ok(runtime::Finished::Abandoned(signal)),
            None => writer.finish(complete, self.control),
        }
    }
}

/// How a job begins.
pub(super) struct Start<L> {
    pub(super) started: Started,
    /// As what results leave the workers.
    pub(super) encoding: RecordEncoding,
    /// The counts of earlier runs.
    pub(super) gather: Gather,
    /// Most inputs to take.
    pub(super) targets_max: u64,
    /// What an earlier run has learned about hosts.
    pub(super) learned: Vec<(Host, Learned)>,
    pub(super) pass: Pass<L>,
}

/// All passes of a job.
pub(super) struct Passes {
    /// How the last one ended.
    pub(super) ended: Ended,
    /// Whether the reader of the output went away.
    pub(super) reader_left: bool,
    pub(super) run: ModeRun,
}

/// Runs the passes of a job.
///
/// # Errors
/// [`EngineError`] if a pass could not begin, its results not be taken in, or the counts do not add up.
pub(super) fn run<C: Consumer>(
    plan: &Plan,
    start: Start<C::Left>,
    consumer: &mut C,
    context: &mut RunContext<'_>,
) -> Result<Passes, EngineError> {
    let Start { started, encoding, gather, targets_max, learned, mut pass } = start;
    let is_ordered = plan.ordered || kinds::of(&plan.work).rules().always_ordered;
    let readable = readable(plan);
    let mut job = Job { plan, started_us: started.us, targets_max, readable, encoding, gather, learned };
    let (mut taken, mut used) = (0, Vec::new());
    loop {
        let Pass { targets, gate, first_id, held, uncertain, lists, writer } = pass;
        let targets_max = targets.position().items_total.and_then(|targets| u32::try_from(targets).ok());
        let mut flow = Flow {
            feed: Feed::start(targets, gate)?,
            queue: writer.queue(),
            // In order, the inputs that are done are the first ones.
            ordered: is_ordered.then(|| Ordered::new(first_id)),
            held,
            uncertain,
            lists,
        };
        let (mut ended, shape, why) = job.run(&mut flow, targets_max, context);
        let feed = flow.feed;
        ended.unread = !feed.is_exhausted();
        taken += feed.taken() + ended.followed;
        proxies::add(&mut used, std::mem::take(&mut ended.proxies));
        let mut end = PassEnd { ended: &mut ended, feed: &feed, control: context.control };
        let next = consumer.end_pass(writer, &mut end, context)?;
        let reader_left = match next {
            Next::Pass(next) => {
                pass = *next;
                continue;
            }
            Next::End => false,
            Next::ReaderLeft => true,
        };
        if !reader_left {
            job.gather.balance(taken, ended.left)?;
        }
        let facts = started.facts(shape, why, ended.sandbox.clone(), &job.gather);
        let mut run = ModeRun::new(&job.gather, &facts);
        run.summary.proxies = proxies::summarize(&used);
        run.summary.login = logins::summarize(&ended);
        run.summary.lists = ended.lists;
        return Ok(Passes { ended, reader_left, run });
    }
}

/// Where the targets of a pass come from, and where its results go.
struct Flow<'a> {
    feed: Feed,
    queue: &'a Queue,
    ordered: Option<Ordered>,
    held: Vec<HeldRecord>,
    uncertain: Finished,
    lists: Option<Lists>,
}

/// A job during all its passes.
struct Job<'a> {
    plan: &'a Plan,
    started_us: u64,
    targets_max: u64,
    /// What workers may read.
    readable: Option<Vec<OsString>>,
    encoding: RecordEncoding,
    gather: Gather,
    /// What earlier runs have learned about hosts.
    learned: Vec<(Host, Learned)>,
}

impl Job<'_> {
    /// Runs a pass in the mode that the user asked for, or in one that suits the job.
    fn run(
        &mut self,
        flow: &mut Flow<'_>,
        targets_max: Option<u32>,
        context: &mut RunContext<'_>,
    ) -> (Ended, Shape, Option<String>) {
        let (mut shape, mut why) = match (self.plan.pool.mode, kinds::of(&self.plan.work).rules().auto) {
            (Some(mode), _) => (Shape::new(self.plan, mode), None),
            (None, Auto::Waits { body_bytes_max }) => {
                (Shape::growing(self.plan, body_bytes_max, context.control), None)
            }
            (None, Auto::Computes { targets_max: parts_max, why }) => {
                let targets_max = targets_max.into_iter().chain(parts_max).min();
                let (shape, why) = Shape::computing(self.plan, targets_max, why, context.control);
                (shape, Some(why))
            }
        };
        let ended = self.run_pool(flow, shape, context);
        if let Some(load) = &ended.load {
            shape = shape.grown(load);
            let host = self.gather.load().samples().last().and_then(|sample| sample.host_in_flight_max);
            let host = host.map(|most| format!("; at most {most} at once to the busiest host"));
            why = Some(format!("{}: {}{}", shape.mode.name(), load.why, host.unwrap_or_default()));
        }
        (ended, shape, why)
    }

    /// Runs one pool over what is left of the feed.
    fn run_pool(&mut self, flow: &mut Flow<'_>, shape: Shape, context: &mut RunContext<'_>) -> Ended {
        let (shape, notice) = shape.fitted();
        if let Some(notice) = notice {
            context.observer.message(&notice);
        }
        let workers_max = shape.reach(context.control);
        context.observer.began(shape.mode, workers_max);
        let allotted = workers_max.min(context.control.allotted().unwrap_or(workers_max));
        let room = shape.room.map(|room| Room { workers_max: allotted, ..room });
        // A growing pool begins with one worker: a small job needs no more, and a busy one has more in no time.
        let workers = if room.is_some() { 1 } else { allotted };
        let shape = Shape { workers, ..shape };
        let now = clock::now();
        let seed = clock::monotonic_us();
        let share = context.hosts.map(HostShares::share);
        let mut frontier = Frontier::new(frontier_config(self.plan, shape), seed).sharing(share);
        for (host, learned) in &self.learned {
            frontier.teach(now, HostRef { name: &host.name, local: host.local }, learned);
        }
        // Both clocks are read at one moment, so that workers keep the starts of a paced host.
        let mut pool =
            Pool::new(pool_config(self.plan, shape, flow.queue.is_recorded()), frontier, now, seed)
                .anchored(now, seed)
                .dated(self.started_us);
        if let Some(proxies) = proxies::config(&self.plan.work) {
            pool = pool.through(Proxies::new(proxies, seed));
        }
        if let Some(exit) = context.session.as_ref().and_then(|session| session.start().exit) {
            pool = pool.in_session(Some(exit));
        }
        if let Some(sessions) = logins::config(self.plan, context.session.as_ref()) {
            pool = pool.logging_in(sessions);
        }
        if let Some(room) = room {
            pool = pool.growing(Total::new(room, workers, now));
        }
        let parts = RunParts {
            feed: &mut flow.feed,
            queue: flow.queue,
            gather: &mut self.gather,
            ordered: flow.ordered.as_mut(),
            held: std::mem::take(&mut flow.held),
            uncertain: std::mem::take(&mut flow.uncertain),
            control: context.control,
            observer: context.observer,
            workers: context.workers,
        };
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
            environment: Vec::new(),
        };
        let hosts = HostFinder::keyed(self.plan.host_key);
        let paging = flow.lists.take().map(|lists| Paging::new(lists, hosts));
        let robots = context.robots.clone().filter(|_| self.plan.politeness.obeys_robots);
        Runtime::new(parts, job, pool, workers_max, self.targets_max)
            .obeying(robots)
            .keeping(context.cookies.clone())
            .in_session(context.session.clone(), self.plan.host_key)
            .since(context.earlier.clone())
            .following(paging)
            .run()
    }
}
