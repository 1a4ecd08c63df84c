//! Runs the sample in two phases: with few targets in flight, then with many.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use shared::clock;
use shared::job::Mode;
use shared::record::ErrorKind;
use shared::robots::ROBOTS_REDIRECTS_MAX;
use supervisor_core::advice::{Attempt, Phase};

use super::list::{List, PACED_LASTS_S, Sampled};
use super::machine::OtherProcesses;
use super::robots::Known;
use super::watch::{Hops, Watch};
use crate::engine::{self, JobReport, Report, RunContext};
use crate::kinds;
use crate::plan::{Input, Plan, PoolPlan, Survey};
use crate::progress::Progress;
use crate::robots::RobotsCache;
use crate::runtime::{Control, Controller, Observer, Signal, Signals, Workers, cpus};

/// Targets in flight in the first phase, over all hosts.
const FEW: u32 = 8;

/// The part of the sample that runs in the first phase.
const FIRST_SHARE: usize = 8;

/// Hosts whose robots.txt are read before anything else.
const SCOUTS: usize = 8;

/// How long each core should parse in the second phase, for the clocks to be exact; and the longest first phase after
/// which they are.
const PARSE_LASTS: Duration = Duration::from_millis(500);

/// Most files of the second phase. They are those of the first one, again and again.
const FILES_MAX: usize = 20_000;

/// The two phases, and what they cost.
#[derive(Default)]
pub(super) struct Phases {
    pub(super) few: Phase,
    pub(super) many: Phase,
    pub(super) cost: Cost,
    /// The signal that stopped them.
    pub(super) stopped: Option<i32>,
    /// The delays that the hosts of the sample ask for, if their robots.txt were read.
    pub(super) delays: FxHashMap<usize, Duration>,
}

/// What the sample asked of others.
#[derive(Debug, Default)]
pub(super) struct Cost {
    /// Targets.
    pub(super) targets: u64,
    /// Requests that were answered, or that were the first of a target.
    pub(super) requests: u64,
    /// Requests that there may have been: without an answer, nothing says how often its target was redirected.
    requests_max: u64,
    /// Targets whose server asked for fewer requests.
    pub(super) refused: u64,
    /// Targets that a robots.txt disallows.
    pub(super) disallowed: u64,
    /// Errors of targets, by kind.
    pub(super) errors: BTreeMap<ErrorKind, u64>,
}

/// Runs both phases.
///
/// # Errors
/// A message for the user if the sample cannot be run.
pub(super) fn run_all(
    survey: &Survey,
    list: &List,
    workers: &Workers,
    progress: &mut Progress,
) -> anyhow::Result<Phases> {
    let (controller, control) = Control::new(None);
    let stopping = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stopping);
    let stopper = controller.clone();
    let _signals = Signals::start(move |signal| stop_at_once(&stopper, signal, &told))?;
    let plan = &survey.plan;
    let mut bench = Bench {
        plan,
        list,
        workers,
        control: &control,
        progress,
        stopping: &stopping,
        controller: &controller,
        spent: AtomicBool::new(false),
        robots: Known::of(plan),
        phases: Phases::default(),
    };
    if super::fetches(plan) {
        bench.fetch(survey.sample.get())?
    } else {
        bench.parse()?
    }
    let Bench { robots, mut phases, .. } = bench;
    if let Some(robots) = robots {
        let delays = list.sample.iter().filter_map(|one| Some((one.host, robots.delay(one)?)));
        phases.delays = delays.collect();
    }
    Ok(phases)
}

/// Nothing of a sample is worth finishing.
fn stop_at_once(controller: &Controller, signal: Signal, stopping: &AtomicBool) -> bool {
    match signal {
        Signal::Child => controller.child(),
        Signal::Stop(signal) => {
            stopping.store(true, Ordering::Relaxed);
            // The first one would finish what is in flight.
            controller.stop(signal) && controller.stop(signal)
        }
        Signal::Renew | Signal::Grow | Signal::Shrink => true,
    }
}

struct Bench<'a> {
    plan: &'a Plan,
    list: &'a List,
    workers: &'a Workers,
    control: &'a Control,
    progress: &'a mut Progress,
    stopping: &'a AtomicBool,
    controller: &'a Controller,
    /// Whether the sample ended early, because a robots.txt that could not be fetched would be asked for once more.
    spent: AtomicBool,
    robots: Option<Known>,
    phases: Phases,
}

impl Bench<'_> {
    /// Fetches a few pages, to see whether they redirect; then as many as the number of requests allows.
    fn fetch(&mut self, requests_max: u64) -> anyhow::Result<()> {
        let mut hops = Hops {
            target: u64::from(kinds::redirects_max(&self.plan.work)) + 1,
            robots: u64::from(self.robots.is_some()) * (u64::from(ROBOTS_REDIRECTS_MAX) + 1),
        };
        let mut rest: Vec<&Sampled> = self.list.sample.iter().collect();
        if self.robots.is_some() {
            rest = self.scout(rest, requests_max, &mut hops)?;
        }
        let left = requests_max.saturating_sub(self.phases.cost.requests_max);
        hops.target = hops.target.min(left);
        if self.is_over() || rest.is_empty() || left == 0 {
            return Ok(());
        }
        let share = self.list.sample.len().div_ceil(FIRST_SHARE).min(rest.len());
        let many = rest.split_off(share.min(hops.fit(left)));
        (self.phases.few, hops) = self.run(rest, FEW, hops)?;
        let left = requests_max.saturating_sub(self.phases.cost.requests_max);
        let many = many.get(..hops.fit(left).min(many.len())).unwrap_or_default();
        if !self.is_over() && !many.is_empty() {
            let half = u32::try_from(many.len().div_ceil(2)).unwrap_or(u32::MAX);
            let in_flight = half.min(self.phases.few.worth_in_flight(self.cores()));
            self.phases.many = self.run(many.iter().copied(), in_flight, hops)?.0;
        }
        Ok(())
    }

    /// Fetches one page of each of a few hosts, which shows what their robots.txt ask for. Returns the targets that
    /// are left, with no more of each host than its delay allows in a short time.
    fn scout<'s>(
        &mut self,
        targets: Vec<&'s Sampled>,
        requests_max: u64,
        hops: &mut Hops,
    ) -> anyhow::Result<Vec<&'s Sampled>> {
        if requests_max < 2 {
            anyhow::bail!("no advice: a page and its robots.txt are two requests; give --sample 2 or more");
        }
        hops.target = hops.target.min(requests_max.saturating_sub(hops.robots)).max(1);
        let most = hops.fit(requests_max).clamp(1, SCOUTS);
        let mut seen = FxHashMap::default();
        let (first, mut rest): (Vec<_>, Vec<_>) = targets.into_iter().partition(|one| {
            let is_new = seen.len() < most && !seen.contains_key(&one.host);
            is_new.then(|| seen.insert(one.host, 0_u32)).is_some()
        });
        (self.phases.few, *hops) = self.run(first, FEW, *hops)?;
        let Some(robots) = &self.robots else { return Ok(rest) };
        rest.retain(|one| {
            let interval_s = robots.delay(one).unwrap_or_default().as_secs_f64();
            let count = seen.entry(one.host).or_default();
            *count += 1;
            f64::from(*count) * interval_s <= PACED_LASTS_S
        });
        if robots.unknown(rest.iter().copied()) == 0 {
            hops.robots = 0;
        }
        Ok(rest)
    }

    /// Whether no other phase may begin.
    fn is_over(&self) -> bool {
        self.phases.stopped.is_some() || self.spent.load(Ordering::Relaxed)
    }

    /// Parses the smallest file, to have the workers in memory; then all of the sample; then the same again, now that
    /// they are in memory, too.
    fn parse(&mut self) -> anyhow::Result<()> {
        let cores = self.cores();
        let sample: Vec<&Sampled> = self.list.sample.iter().collect();
        let hops = Hops { target: 1, robots: 0 };
        // Workers that start for the first time may be read from the disk, too, and that is no file of the sample.
        let size =
            |one: &&&Sampled| fs::metadata(OsStr::from_bytes(&one.input)).map_or(u64::MAX, |file| file.len());
        self.run(sample.iter().min_by_key(size).copied(), 1, hops)?;
        if self.is_over() {
            return Ok(());
        }
        self.phases.cost = Cost::default();
        self.phases.few = self.run(sample.iter().copied(), cores, hops)?.0;
        let took: Duration =
            self.phases.few.attempts.iter().map(|one| Duration::from_micros(one.cpu_us)).sum();
        if self.phases.stopped.is_some() || took > PARSE_LASTS * cores {
            return Ok(());
        }
        let once = took.as_secs_f64().max(1e-6);
        let files = (PARSE_LASTS * cores).as_secs_f64() / once * sample.len() as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
        let files = (files as usize).clamp(sample.len(), FILES_MAX);
        let again = sample.iter().copied().cycle().take(files);
        let cost = std::mem::take(&mut self.phases.cost);
        self.phases.many = self.run(again, cores, hops)?.0;
        self.phases.cost = cost;
        Ok(())
    }

    fn cores(&self) -> u32 {
        self.plan.pool.workers.unwrap_or_else(cpus::usable_cpus).get()
    }

    /// Runs these targets, with so many in flight, and up to so many requests each. Returns what was measured, and
    /// the most requests that one of them took, and one robots.txt.
    fn run<'s>(
        &mut self,
        targets: impl IntoIterator<Item = &'s Sampled>,
        in_flight: u32,
        hops_max: Hops,
    ) -> anyhow::Result<(Phase, Hops)> {
        let targets: Vec<&Sampled> = targets.into_iter().collect();
        let in_flight = in_flight.min(u32::try_from(targets.len()).unwrap_or(u32::MAX)).max(1);
        let inputs = targets.iter().map(|one| Input::Literal(one.input.clone())).collect();
        let plan = self.plan_of(inputs, in_flight, hops_max.target);
        let robots_left = self.robots.as_ref().map_or(0, |robots| robots.unknown(targets.iter().copied()));
        let mut watch = Watch {
            progress: self.progress,
            stopping: self.stopping,
            controller: self.controller,
            spent: &self.spent,
            hosts: targets.iter().map(|one| one.host).collect(),
            hops_max,
            robots_left,
            attempts: Vec::new(),
            requests: 0,
            requests_max: 0,
            longest: Hops { target: 1, robots: u64::from(self.robots.is_some()) },
            refused: 0,
        };
        let before = Clocks::now();
        let cache = self.robots.as_ref().map(Known::cache);
        let report = run_job(&plan, &mut watch, self.control, self.workers, cache)?;
        let Watch { attempts, requests, requests_max, longest, refused, .. } = watch;
        let cost = &mut self.phases.cost;
        let summary = &report.run.summary;
        let disallowed = summary.errors.get(&ErrorKind::Robots).copied().unwrap_or(0);
        cost.disallowed += disallowed;
        cost.targets += attempts.len() as u64 + disallowed;
        cost.requests += requests;
        cost.requests_max += requests_max;
        cost.refused += refused;
        for (kind, count) in &summary.errors {
            *cost.errors.entry(*kind).or_default() += count;
        }
        self.phases.stopped = report.ended.signal.filter(|_| self.stopping.load(Ordering::Relaxed));
        if let Some(why) = &report.ended.failure {
            anyhow::bail!("{why}\nno advice: the sample could not be run");
        }
        let resident_bytes = summary.per_worker.iter().map(|worker| worker.rss_bytes_max).max().unwrap_or(0);
        Ok((before.phase(attempts, resident_bytes), longest))
    }

    fn plan_of(&self, inputs: Vec<Input>, in_flight: u32, hops_max: u64) -> Plan {
        let mut plan = Plan { inputs, ..self.plan.clone() };
        let redirects_max = u32::try_from(hops_max.saturating_sub(1)).unwrap_or(u32::MAX);
        kinds::limit_redirects(&mut plan.work, redirects_max);
        let fetches = super::fetches(self.plan);
        let mode = if fetches { Mode::Both } else { Mode::Parallel };
        let workers = NonZeroU32::new(self.cores().min(in_flight));
        let each = in_flight.div_ceil(workers.map_or(1, NonZeroU32::get));
        let most = self.plan.pool.concurrency.map_or(u32::MAX, NonZeroU32::get);
        let concurrency = NonZeroU32::new(if fetches { each.min(most) } else { 1 });
        plan.pool = PoolPlan { mode: Some(mode), workers, concurrency, ..plan.pool };
        plan
    }
}

fn run_job(
    plan: &Plan,
    observer: &mut dyn Observer,
    control: &Control,
    workers: &Workers,
    robots: Option<RobotsCache>,
) -> anyhow::Result<Box<Report>> {
    let mut context = RunContext {
        control,
        signals: None,
        observer,
        workers,
        hosts: None,
        robots,
        cookies: None,
        session: None,
        earlier: None,
        committed: None,
        targets_max: u64::MAX,
    };
    match engine::run_job(plan, &mut context)? {
        JobReport::Ran(report) => Ok(report),
        JobReport::Complete(_) => anyhow::bail!("a sample writes nothing, and yet its output is complete"),
    }
}

/// The clocks at the beginning of a phase.
struct Clocks {
    at: Instant,
    cpu: Duration,
    disk_bytes: u64,
    others: OtherProcesses,
}

impl Clocks {
    fn now() -> Self {
        // First, for it takes a while.
        let others = OtherProcesses::now();
        Self { at: clock::now(), cpu: cpu_taken(), disk_bytes: clock::children_disk_bytes(), others }
    }

    /// Returns what a phase took that ends now.
    fn phase(&self, attempts: Vec<Attempt>, resident_bytes: u64) -> Phase {
        Phase {
            attempts,
            wall: clock::now().duration_since(self.at),
            cpu: cpu_taken().saturating_sub(self.cpu),
            other_cpu: OtherProcesses::now().cpu_since(&self.others),
            disk_bytes: clock::children_disk_bytes().saturating_sub(self.disk_bytes),
            resident_bytes,
        }
    }
}

/// CPU time of this process and of the workers that have ended.
fn cpu_taken() -> Duration {
    clock::process_cpu() + clock::children_cpu()
}
