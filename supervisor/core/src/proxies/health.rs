//! One proxy: whether it works, what it has to do, and when it is tried again.

use std::time::{Duration, Instant};

use fastrand::Rng;
use wire::protocol::ExitFault;

/// How long a proxy rests after its first fault, and at most. Each rest is twice as long as the one before. With these,
/// a dead proxy is tried three times in the first minute, and less and less after that.
const REST_FIRST: Duration = Duration::from_secs(20);
const REST_MAX: Duration = Duration::from_secs(300);

/// Faults in a row after which a proxy is not expected to work again.
const HOPELESS_AFTER: u32 = 3;

/// Requests in a row without an answer, during each of which no other got one either, after which a proxy rests. One may
/// be the fault of its server.
const DOUBTS_MAX: u32 = 3;

/// Latencies that differ by less than this factor count as equal. Otherwise noise would decide which proxy gets more.
const LATENCY_FACTOR: f64 = 2.0;

/// The same for loads.
const LOAD_FACTOR: f64 = 1.5;

/// Requests in flight by which proxies that do the same differ.
const IN_FLIGHT_NOISE: f64 = 2.0;

/// Shortest latency that is told from another, in seconds.
const LATENCY_MIN_S: f64 = 0.005;

/// Weight of the newest latency in the average.
const NEWEST: f64 = 0.1;

/// Whether a proxy works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHealth {
    /// It was not used yet, or its first request is under way.
    Unchecked,
    /// It works.
    Good,
    /// It failed, and is not used until this instant.
    Resting(Instant),
    /// One target tries whether it works again.
    HalfOpen,
}

impl ProxyHealth {
    /// The state as shown to users.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::Good => "good",
            Self::Resting(_) => "resting",
            Self::HalfOpen => "half-open",
        }
    }
}

/// A proxy as shown to users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxySnapshot {
    /// Its URL without credentials.
    pub name: String,
    /// Whether it works.
    pub health: ProxyHealth,
    /// Requests through it that have ended.
    pub requests: u64,
    /// Those of them that a server answered.
    pub ok: u64,
    /// Those that failed because of the proxy.
    pub faults: u64,
    /// Requests that a server turned away, or that the proxy could not deliver.
    pub refused: u64,
    /// Requests under way.
    pub in_flight: u32,
}

/// One proxy.
#[derive(Debug)]
pub(super) struct Proxy {
    name: String,
    health: ProxyHealth,
    /// How often it was tried again, plus one.
    epoch: u32,
    in_flight: u32,
    /// Targets that were given to it.
    begun: u64,
    latency_s: f64,
    /// Since its last success.
    faults_in_a_row: u32,
    doubts: u32,
    last_ok: Option<Instant>,
    last_fault: Option<ExitFault>,
    rest: Duration,
    requests: u64,
    ok: u64,
    faults: u64,
    refused: u64,
}

impl Proxy {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            health: ProxyHealth::Unchecked,
            epoch: 1,
            in_flight: 0,
            begun: 0,
            latency_s: 0.0,
            faults_in_a_row: 0,
            doubts: 0,
            last_ok: None,
            last_fault: None,
            rest: REST_FIRST,
            requests: 0,
            ok: 0,
            faults: 0,
            refused: 0,
        }
    }

    pub(super) fn look(&self) -> ProxySnapshot {
        ProxySnapshot {
            name: self.name.clone(),
            health: self.health,
            requests: self.requests,
            ok: self.ok,
            faults: self.faults,
            refused: self.refused,
            in_flight: self.in_flight,
        }
    }

    /// Whether it can take a target.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        match self.health {
            ProxyHealth::Good => true,
            ProxyHealth::Unchecked | ProxyHealth::HalfOpen => self.in_flight == 0,
            ProxyHealth::Resting(until) => until <= now,
        }
    }

    /// Whether it failed and has not answered since.
    pub(super) const fn is_failing(&self) -> bool {
        matches!(self.health, ProxyHealth::Resting(_) | ProxyHealth::HalfOpen)
    }

    /// When its rest ends.
    pub(super) const fn rests_until(&self) -> Option<Instant> {
        match self.health {
            ProxyHealth::Resting(until) => Some(until),
            ProxyHealth::Good | ProxyHealth::Unchecked | ProxyHealth::HalfOpen => None,
        }
    }

    /// Whether its first request is under way.
    pub(super) fn is_unknown(&self) -> bool {
        self.health == ProxyHealth::Unchecked && self.in_flight > 0
    }

    /// Whether a target tries it.
    pub(super) fn is_probed(&self) -> bool {
        matches!(self.health, ProxyHealth::Unchecked | ProxyHealth::HalfOpen) && self.in_flight > 0
    }

    /// Whether it is not expected to work again.
    pub(super) const fn is_hopeless(&self) -> bool {
        self.faults_in_a_row >= HOPELESS_AFTER
    }

    /// What is wrong with it.
    pub(super) fn trouble(&self) -> String {
        let what = match self.last_fault {
            Some(ExitFault::Credentials) => "wants other credentials",
            Some(ExitFault::Silent) => "does not answer",
            Some(ExitFault::Broken) => "ends connections",
            Some(ExitFault::Proxy | ExitFault::Unreachable | ExitFault::Blocked) | None => "cannot be used",
        };
        format!("{} {what}", self.name)
    }

    /// Whether it has less to do than another: requests in flight, times how long each takes. Between equals, the one
    /// that got fewer so far, so that proxies that can do the same get the same.
    pub(super) fn is_lighter_than(&self, other: &Self) -> bool {
        let (mine, its) =
            levelled(self.latency_s.max(LATENCY_MIN_S), other.latency_s.max(LATENCY_MIN_S), LATENCY_FACTOR);
        let load = |in_flight: u32, latency: f64| (f64::from(in_flight) + IN_FLIGHT_NOISE) * latency;
        let (mine, its) = levelled(load(self.in_flight, mine), load(other.in_flight, its), LOAD_FACTOR);
        (mine, self.begun) < (its, other.begun)
    }

    /// Counts a target that starts. Returns the epoch.
    pub(super) fn begin(&mut self, now: Instant) -> u32 {
        if self.rests_until().is_some_and(|until| until <= now) {
            self.health = ProxyHealth::HalfOpen;
            self.epoch = self.epoch.saturating_add(1);
        }
        self.in_flight += 1;
        self.begun += 1;
        self.epoch
    }

    /// Counts a target that ended without a word about the proxy.
    pub(super) const fn leave(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Handles the end of a target that began at `begun`. Returns whether the pair of this proxy and the target's host
    /// is not to be used for a while.
    pub(super) fn end(
        &mut self,
        now: Instant,
        epoch: u32,
        begun: Instant,
        fault: Option<ExitFault>,
        answered: Option<Duration>,
        rng: &mut Rng,
    ) -> bool {
        self.leave();
        self.requests += 1;
        let worked_since = self.last_ok.is_some_and(|at| at > begun);
        match (fault, answered) {
            // Nothing was sent through it: the name of the server could not be resolved, for example.
            (None, None) => false,
            (None, Some(latency)) => {
                self.works(now, Some(latency));
                false
            }
            (Some(ExitFault::Blocked), _) => {
                self.works(now, answered);
                self.refused += 1;
                true
            }
            (Some(ExitFault::Proxy), _) => {
                self.fails(now, epoch, 1, ExitFault::Proxy, rng);
                false
            }
            (Some(ExitFault::Credentials), _) => {
                self.fails(now, epoch, HOPELESS_AFTER, ExitFault::Credentials, rng);
                false
            }
            (Some(ExitFault::Silent), _) if !worked_since => {
                self.fails(now, epoch, 1, ExitFault::Silent, rng);
                false
            }
            (Some(ExitFault::Broken), _) if !worked_since => {
                self.doubts += 1;
                if self.doubts >= DOUBTS_MAX {
                    self.fails(now, epoch, 1, ExitFault::Broken, rng);
                }
                false
            }
            (Some(ExitFault::Broken), _) => false,
            (Some(ExitFault::Unreachable), _) => {
                self.refused += 1;
                // It speaks, so it can be tried with other hosts.
                if matches!(self.health, ProxyHealth::Unchecked | ProxyHealth::HalfOpen) {
                    self.health = ProxyHealth::Good;
                }
                true
            }
            (Some(ExitFault::Silent), _) => {
                self.refused += 1;
                true
            }
        }
    }

    fn works(&mut self, now: Instant, latency: Option<Duration>) {
        self.ok += 1;
        self.last_ok = Some(now);
        self.doubts = 0;
        // A target that began before a rest says nothing about now.
        if !matches!(self.health, ProxyHealth::Resting(_)) {
            self.health = ProxyHealth::Good;
            self.faults_in_a_row = 0;
            self.rest = REST_FIRST;
        }
        if let Some(latency) = latency.map(|latency| latency.as_secs_f64()) {
            let is_first = self.ok == 1;
            self.latency_s =
                if is_first { latency } else { self.latency_s + NEWEST * (latency - self.latency_s) };
        }
    }

    fn fails(&mut self, now: Instant, epoch: u32, weight: u32, fault: ExitFault, rng: &mut Rng) {
        self.faults += 1;
        self.last_fault = Some(fault);
        // Targets that were under way together count once.
        if epoch != self.epoch || matches!(self.health, ProxyHealth::Resting(_)) {
            return;
        }
        self.faults_in_a_row = self.faults_in_a_row.saturating_add(weight);
        self.doubts = 0;
        let jitter = self.rest.mul_f64(0.1 * rng.f64());
        self.health = ProxyHealth::Resting(now + self.rest + jitter);
        self.rest = (self.rest * 2).min(REST_MAX);
    }
}

/// Makes two values equal that differ by less than a factor.
fn levelled(one: f64, other: f64, factor: f64) -> (f64, f64) {
    if one.max(other) < factor * one.min(other) { (1.0, 1.0) } else { (one, other) }
}
