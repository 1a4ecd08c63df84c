//! What a seed determines in advance: the pool's limits, the targets and their behaviour, and what
//! the user and the machine do at which time.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use fastrand::Rng;
use nix::libc;

use super::{WITH_PROGRAM, WITH_RECYCLING};
use crate::frontier::PerHost;
use crate::frontier::{BackoffConfig, FrontierConfig};
use crate::load::total::{Bound, Room};
use crate::pool::{Ahead, Exit, PoolConfig};

/// How a target behaves in any worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// It comes back, one way or another.
    Good,
    /// Its stage ends the worker.
    Crashes(Exit),
    /// Its stage never ends.
    Hangs,
    /// It never comes back, while the worker continues.
    GetsLost,
    /// It ends the worker outside any stage, so the cause cannot be known.
    CrashesUnseen,
}

/// One target, and everything that will happen to it.
#[derive(Debug, Clone)]
pub(super) struct TargetPlan {
    pub(super) submitted_at: Duration,
    pub(super) input: Vec<u8>,
    pub(super) host: Option<usize>,
    /// Time waiting for the network.
    pub(super) wait: Duration,
    /// Time computing.
    pub(super) stage: Duration,
    pub(super) behaviour: Behaviour,
    /// Number of attempts that fail in a way that may be temporary.
    pub(super) failing: u32,
    /// The `Retry-After` that the server sends with a failure.
    pub(super) retry_after: Option<Duration>,
}

/// Why the supervisor does not read its workers' messages for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deafness {
    /// It was stopped (Ctrl-Z, swapped out) while the workers went on. It does not know.
    Stopped,
    /// Its output is blocked, so it reads no messages. It tells the pool for how long.
    Blocked,
    /// The whole machine stood still, and the clock jumped.
    Frozen,
}

/// Something that happens from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Submit(usize),
    SourceEnded,
    Drain,
    Kill,
    /// The worker in this slot gets a signal.
    Signal(u32, i32),
    Deafness(Deafness, Duration),
    Roll,
    Grow,
    Shrink,
}

/// The kind of run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Usual,
    /// Large inputs, many of them in flight: the limit of unread bytes matters.
    Fat,
    /// One worker that computes most of the time, for minutes: much else goes on while something is
    /// wrong.
    Crowd,
}

/// Everything that is determined before the run begins.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    pub(super) config: PoolConfig,
    pub(super) frontier: FrontierConfig,
    pub(super) targets: Vec<TargetPlan>,
    pub(super) acts: Vec<(Duration, Act)>,
    /// Percentage of processes that have a fault.
    pub(super) faulty_percent: u32,
    /// Whether no worker ever becomes ready.
    pub(super) broken: bool,
    /// How much a worker grows with every stage it runs.
    pub(super) growth_bytes: u64,
    /// Longest travel time of a message.
    pub(super) latency_max: Duration,
    /// What the machine allows, if the load is not fixed.
    pub(super) room: Option<Room>,
}

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl Scenario {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let kind = match rng.u32(0..24) {
            0..=1 => Kind::Fat,
            2..=3 => Kind::Crowd,
            _ => Kind::Usual,
        };
        let mut config = pool_config(&mut rng, kind);
        let frontier = frontier_config(&mut rng);
        let mut targets = targets(&mut rng, &config, kind);
        let mut acts = acts(&mut rng, &config, &targets);
        let (faulty_percent, broken) = (*rng.choice(&[0, 5, 20, 20, 50]).unwrap(), rng.u32(0..40) == 0);
        let latency_max = ms(*rng.choice(&[0, 2, 20, 200]).unwrap());
        if seed >= WITH_PROGRAM {
            pipe(&mut rng, &mut config, &mut targets);
        }
        if seed >= WITH_RECYCLING {
            recycle(&mut rng, &mut config, &mut acts);
        }
        Self {
            room: room(seed, &config),
            faulty_percent,
            broken,
            latency_max,
            growth_bytes: if rng.bool() { rng.u64(0..1 << 20) } else { 0 },
            config,
            frontier,
            targets,
            acts,
        }
    }

    pub(super) fn in_flight_max(&self) -> usize {
        match self.frontier.per_host {
            PerHost::Auto | PerHost::AutoUpTo(_) => 16,
            PerHost::Limit(limit) => limit.get() as usize,
            PerHost::Unlimited => usize::MAX,
        }
    }
}

fn pool_config(rng: &mut Rng, kind: Kind) -> PoolConfig {
    let mut seconds = |from, to| Duration::from_secs(rng.u64(from..=to));
    let (handshake_timeout, stall_timeout, stage_timeout) = (seconds(2, 10), seconds(3, 20), seconds(2, 10));
    let (target_timeout, drain_grace, terminate_grace) = (seconds(12, 60), seconds(1, 20), seconds(1, 5));
    PoolConfig {
        slots: if kind == Kind::Crowd { 1 } else { rng.u32(1..=5) },
        concurrency: if kind == Kind::Fat { 64 } else { rng.u32(1..=6) },
        ahead: Ahead::default(),
        piped: false,
        retries: rng.u32(0..=3),
        crashes_max: rng.u32(1..=3),
        handshake_timeout,
        stall_timeout,
        stage_timeout,
        target_timeout,
        drain_grace,
        terminate_grace,
        recycle_after: None,
        rss_allowance_bytes: None,
        settles: false,
    }
}

/// Workers pass their targets to a program. No target gets lost there, because the workers watch
/// that themselves.
fn pipe(rng: &mut Rng, config: &mut PoolConfig, targets: &mut [TargetPlan]) {
    config.piped = true;
    // The oracle applies one limit of unread bytes to all kinds.
    let unread_bytes = Ahead::default().unread_bytes;
    config.ahead = Ahead { unread_bytes, ..Ahead::of_program(rng.usize(1..40)) };
    for target in targets.iter_mut().filter(|target| target.behaviour == Behaviour::GetsLost) {
        target.behaviour = Behaviour::Good;
    }
}

/// Workers wear out, and the user asks for replacements.
fn recycle(rng: &mut Rng, config: &mut PoolConfig, acts: &mut Vec<(Duration, Act)>) {
    let after = rng.u64(1..=20);
    config.recycle_after = NonZeroU64::new(after).filter(|_| rng.u32(0..4) > 0);
    config.rss_allowance_bytes = Some(rng.u64(0..4 << 20)).filter(|_| rng.bool());
    let last = acts.iter().map(|(at, _)| *at).max().unwrap_or_default().min(Duration::from_secs(60));
    for _ in 0..rng.u32(0..6) {
        let at = ms(rng.u64(0..=last.as_millis() as u64 + 5_000));
        acts.push((at, *rng.choice(&[Act::Roll, Act::Grow, Act::Shrink]).unwrap()));
    }
}

/// Drawn apart from the rest, which stays what it was for each seed.
fn room(seed: u64, config: &PoolConfig) -> Option<Room> {
    let mut rng = Rng::with_seed(seed.rotate_left(32));
    let grows = !config.piped && rng.u32(0..4) == 0;
    grows.then(|| Room { in_flight_max: rng.u32(1..=40), bound: Bound::Told, workers_max: u32::MAX })
}

fn frontier_config(rng: &mut Rng) -> FrontierConfig {
    let limit = NonZeroU32::new(rng.u32(1..=6)).unwrap();
    FrontierConfig {
        per_host: *rng.choice(&[PerHost::Unlimited, PerHost::Auto, PerHost::Limit(limit)]).unwrap(),
        rate_per_s: *rng.choice(&[None, None, Some(2.0), Some(20.0)]).unwrap(),
        delay: None,
        adapts_local: false,
        in_flight_max: u32::MAX,
        backoff: BackoffConfig::default(),
        retry_after_max: Duration::from_secs(30),
    }
}

fn targets(rng: &mut Rng, config: &PoolConfig, kind: Kind) -> Vec<TargetPlan> {
    let count = match rng.u32(0..20) {
        _ if kind != Kind::Usual => rng.usize(50..150),
        0 => 0,
        1..=9 => rng.usize(1..10),
        _ => rng.usize(1..60),
    };
    let poison_percent = *rng.choice(&[0, 0, 3, 10, 30, 100]).unwrap();
    let hosts = rng.usize(1..5);
    let trickle = if kind == Kind::Crowd { 1500 } else { rng.u64(0..=300) * u64::from(rng.bool()) };
    let slow = rng.u64(1..=3000);
    // All lanes of a worker compute on one thread, and together they must stay below the deadlines.
    let heavy = kind == Kind::Crowd || kind == Kind::Usual && rng.u32(0..4) == 0;
    let longest_us = config.stage_timeout.as_micros() as u64 / 10;
    let stage_us = if heavy { longest_us / 2..=longest_us } else { 0..=20_000 };
    let fat = kind == Kind::Fat;
    let mut at = Duration::ZERO;
    (0..count)
        .map(|_| {
            at += ms(rng.u64(0..=trickle));
            let poisoned = rng.u32(0..100) < poison_percent;
            let bytes = match rng.u32(0..100) {
                0 if fat => 40_000,
                _ if fat => rng.usize(500..4000),
                _ => rng.usize(10..60),
            };
            TargetPlan {
                submitted_at: at,
                input: vec![b'x'; bytes],
                host: (rng.u32(0..5) > 0).then(|| rng.usize(0..hosts)),
                wait: ms(rng.u64(0..=slow)),
                stage: Duration::from_micros(rng.u64(stage_us.clone())),
                behaviour: if poisoned { behaviour(rng) } else { Behaviour::Good },
                failing: if rng.u32(0..5) == 0 { rng.u32(1..5) } else { 0 },
                retry_after: rng.bool().then(|| ms(rng.u64(0..60_000))),
            }
        })
        .collect()
}

fn behaviour(rng: &mut Rng) -> Behaviour {
    match rng.u32(0..20) {
        0..=6 => Behaviour::Crashes(Exit::Signal(*rng.choice(&[libc::SIGSEGV, libc::SIGABRT]).unwrap())),
        7..=8 => Behaviour::Crashes(Exit::Signal(libc::SIGKILL)),
        9..=10 => Behaviour::Crashes(Exit::Code(rng.i32(0..=1))),
        11..=14 => Behaviour::Hangs,
        15..=18 => Behaviour::GetsLost,
        _ => Behaviour::CrashesUnseen,
    }
}

fn acts(rng: &mut Rng, config: &PoolConfig, targets: &[TargetPlan]) -> Vec<(Duration, Act)> {
    let mut acts: Vec<_> =
        targets.iter().enumerate().map(|(index, target)| (target.submitted_at, Act::Submit(index))).collect();
    let last = targets.last().map_or(Duration::ZERO, |target| target.submitted_at);
    acts.push((last + ms(rng.u64(0..=2000) * u64::from(rng.bool())), Act::SourceEnded));
    let some_time = |rng: &mut Rng| ms(rng.u64(0..=last.as_millis() as u64 + 10_000));
    for (one_in, act) in [(8, Act::Drain), (12, Act::Kill), (30, Act::Drain), (30, Act::Kill)] {
        if rng.u32(0..one_in) == 0 {
            acts.push((some_time(rng), act));
        }
    }
    for _ in 0..rng.u32(0..3) {
        let signal = *rng.choice(&[libc::SIGTERM, libc::SIGINT, libc::SIGKILL]).unwrap();
        acts.push((some_time(rng), Act::Signal(rng.u32(0..config.slots), signal)));
    }
    for _ in 0..rng.u32(0..6).saturating_sub(3) {
        let kind = *rng.choice(&[Deafness::Stopped, Deafness::Blocked, Deafness::Frozen]).unwrap();
        let longest = *rng.choice(&[500, 5_000, 60_000, 3_600_000]).unwrap();
        acts.push((some_time(rng), Act::Deafness(kind, ms(rng.u64(1..=longest)))));
    }
    acts
}
