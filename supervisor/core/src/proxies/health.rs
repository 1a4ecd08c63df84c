//! One proxy: whether it works, what it has to do, and when it is tried again.

use std::time::{Duration, Instant};

use fastrand::Rng;
use wire::protocol::ExitFault;

/// How long a proxy rests after its first fault, and at most. Each rest is twice as long as the one before. With these,
/// a dead proxy is tried three times in the first minute, and less and less after that.
const REST_FIRST: Duration = Duration::from_secs(20);
const REST_MAX: Duration = Duration::from_secs(300);

/// Rests in a row after which a proxy is not expected to work again, if the faults are surely its own.
const HOPELESS_AFTER: u32 = 3;

/// The same needs as many different hosts if each fault may be that of a host: of a proxy that has not delivered any
/// answer, or whose credentials are rejected, and of one that has. Otherwise the dead hosts at the end of a list would
/// make a proxy look dead that works.
const HOPELESS_HOSTS: usize = 5;
const HOPELESS_HOSTS_AFTER_ANSWERS: usize = 20;

/// Rests in a row after which a proxy that has not delivered any answer is not expected to, whatever the hosts: about
/// five minutes.
const HOPELESS_UNPROVEN: u32 = 5;

/// Requests in a row without an answer, during each of which no other got one either, after which a proxy rests. One may
/// be the fault of its server.
const DOUBTS_MAX: u32 = 3;

/// Different hosts that a proxy does not reach, with no answer in between, after which it rests.
const REFUSED_HOSTS_MAX: usize = 5;

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

/// How a request through a proxy ended.
#[derive(Debug)]
pub(super) struct End {
    /// What [`Proxy::begin`] returned.
    pub(super) epoch: u32,
    pub(super) host: u64,
    pub(super) begun: Instant,
    pub(super) fault: Option<ExitFault>,
    /// Whether the proxy passed on an answer, or opened a tunnel.
    pub(super) worked: bool,
    /// The time to the first byte of the answer.
    pub(super) answered: Option<Duration>,
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
    /// Since its last success: rests, faults that are surely its own (at most one an epoch counts), doubts since the
    /// last rest, and the hosts whose faults these may be.
    rests_in_a_row: u32,
    own_faults: u32,
    doubts: u32,
    suspects: Vec<u64>,
    /// The epoch in which a fault of its own last counted.
    counted_epoch: u32,
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
            rests_in_a_row: 0,
            own_faults: 0,
            doubts: 0,
            suspects: Vec::new(),
            counted_epoch: 0,
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

    /// Requests through it that have ended.
    pub(super) const fn requests(&self) -> u64 {
        self.requests
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
    pub(super) fn is_hopeless(&self) -> bool {
        let is_tried = self.last_ok.is_some() && self.last_fault != Some(ExitFault::Credentials);
        let hosts = if is_tried { HOPELESS_HOSTS_AFTER_ANSWERS } else { HOPELESS_HOSTS };
        self.own_faults >= HOPELESS_AFTER
            || self.last_ok.is_none() && self.rests_in_a_row >= HOPELESS_UNPROVEN
            || self.rests_in_a_row >= HOPELESS_AFTER && self.suspects.len() >= hosts
    }

    /// Whether it has delivered an answer.
    pub(super) const fn has_worked(&self) -> bool {
        self.last_ok.is_some()
    }

    /// What is wrong with it.
    pub(super) fn trouble(&self) -> String {
        let what = match self.last_fault {
            Some(ExitFault::Credentials) => "wants other credentials",
            Some(ExitFault::Silent) => "does not answer",
            Some(ExitFault::Broken | ExitFault::Shunned) => "ends connections",
            Some(ExitFault::Unreachable) => "reaches no server",
            Some(ExitFault::Proxy | ExitFault::Blocked) | None => "cannot be used",
        };
        format!("{} {what}", self.name)
    }

    /// Whether it has less to do than another: requests in flight, times how long each takes, times how often it has
    /// failed since its last answer, because failures are fast. Between equals, the one that got fewer so far, so that
    /// proxies that can do the same get the same.
    pub(super) fn is_lighter_than(&self, other: &Self) -> bool {
        let (mine, its) =
            levelled(self.latency_s.max(LATENCY_MIN_S), other.latency_s.max(LATENCY_MIN_S), LATENCY_FACTOR);
        let load = |proxy: &Self, latency: f64| {
            let failures = f64::from(proxy.doubts) + proxy.suspects.len() as f64;
            (f64::from(proxy.in_flight) + IN_FLIGHT_NOISE) * latency * (1.0 + failures)
        };
        let (mine, its) = levelled(load(self, mine), load(other, its), LOAD_FACTOR);
        (mine, self.begun) < (its, other.begun)
    }

    /// Counts a target that starts. Returns the epoch.
    pub(super) fn begin(&mut self, now: Instant) -> u32 {
        self.wake(now);
        self.in_flight += 1;
        self.begun += 1;
        self.epoch
    }

    /// Has what begins now, or began unseen, try the proxy if its rest is over. Returns the epoch.
    pub(super) fn wake(&mut self, now: Instant) -> u32 {
        if self.rests_until().is_some_and(|until| until <= now) {
            self.health = ProxyHealth::HalfOpen;
            self.epoch = self.epoch.saturating_add(1);
        }
        self.epoch
    }

    /// Counts a target that is no longer under way.
    pub(super) const fn leave(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Handles the end of a request. Returns whether the pair of this proxy and the host is not to be used for a while.
    pub(super) fn end(&mut self, now: Instant, end: &End, rng: &mut Rng) -> bool {
        if end.fault != Some(ExitFault::Shunned) {
            self.requests += 1;
        }
        match end.fault {
            None => {
                // Otherwise nothing was sent through it: the name of the server could not be resolved, for example.
                if end.worked {
                    self.works(now, end.answered);
                }
                false
            }
            Some(ExitFault::Blocked) => {
                self.works(now, end.answered);
                self.refused += 1;
                true
            }
            Some(fault @ ExitFault::Proxy) => self.fails(now, end, fault, 1, rng),
            // A login that was never accepted will not be. After answers, it may be the server that asks for one.
            Some(fault @ ExitFault::Credentials) if self.last_ok.is_none() => {
                self.fails(now, end, fault, HOPELESS_AFTER, rng)
            }
            Some(fault @ (ExitFault::Credentials | ExitFault::Silent | ExitFault::Broken)) => {
                self.doubt(now, end, fault, rng)
            }
            Some(ExitFault::Unreachable) => self.refuses(now, end, rng),
            Some(ExitFault::Shunned) => {
                // Its worker does not use it before the next epoch.
                if self.is_current(end) {
                    self.rest(now, ExitFault::Broken, rng);
                }
                false
            }
        }
    }

    /// Whether a request belongs to the present time between two rests. Those that were under way together count once.
    fn is_current(&self, end: &End) -> bool {
        end.epoch == self.epoch && !matches!(self.health, ProxyHealth::Resting(_))
    }

    fn works(&mut self, now: Instant, latency: Option<Duration>) {
        self.ok += 1;
        self.last_ok = Some(now);
        self.doubts = 0;
        // A target that began before a rest says nothing about now.
        if !matches!(self.health, ProxyHealth::Resting(_)) {
            self.health = ProxyHealth::Good;
            self.suspects.clear();
            (self.rests_in_a_row, self.own_faults) = (0, 0);
            self.rest = REST_FIRST;
        }
        if let Some(latency) = latency.map(|latency| latency.as_secs_f64()) {
            let is_first = self.latency_s == 0.0;
            self.latency_s =
                if is_first { latency } else { self.latency_s + NEWEST * (latency - self.latency_s) };
        }
    }

    /// Handles a fault that is surely its own.
    fn fails(&mut self, now: Instant, end: &End, fault: ExitFault, weight: u32, rng: &mut Rng) -> bool {
        self.faults += 1;
        if end.epoch == self.epoch && self.counted_epoch != self.epoch {
            self.counted_epoch = self.epoch;
            self.own_faults = self.own_faults.saturating_add(weight);
            self.last_fault = Some(fault);
        }
        if self.is_current(end) {
            self.rest(now, fault, rng);
        }
        false
    }

    /// Handles a fault that may be its own or that of the server. While it is being tried, one is enough: otherwise
    /// what tries a dead proxy would try it several times.
    fn doubt(&mut self, now: Instant, end: &End, fault: ExitFault, rng: &mut Rng) -> bool {
        if self.last_ok.is_none_or(|at| at <= end.begun) && self.is_current(end) {
            self.doubts += 1;
            if self.doubts >= DOUBTS_MAX || self.health != ProxyHealth::Good {
                self.faults += 1;
                self.suspect(end.host);
                self.rest(now, fault, rng);
                return false;
            }
        }
        let is_for_host = matches!(fault, ExitFault::Silent | ExitFault::Credentials);
        self.refused += u64::from(is_for_host);
        is_for_host
    }

    /// Handles a server that it does not reach. It speaks, so it is tried with others, but not with any number.
    fn refuses(&mut self, now: Instant, end: &End, rng: &mut Rng) -> bool {
        self.refused += 1;
        if self.last_ok.is_none_or(|at| at <= end.begun) && self.is_current(end) {
            self.suspect(end.host);
            if self.suspects.len() >= REFUSED_HOSTS_MAX {
                self.rest(now, ExitFault::Unreachable, rng);
            } else {
                self.health = ProxyHealth::Good;
            }
        }
        true
    }

    fn suspect(&mut self, host: u64) {
        if self.suspects.len() < HOPELESS_HOSTS_AFTER_ANSWERS && !self.suspects.contains(&host) {
            self.suspects.push(host);
        }
    }

    fn rest(&mut self, now: Instant, fault: ExitFault, rng: &mut Rng) {
        self.last_fault = Some(fault);
        self.rests_in_a_row = self.rests_in_a_row.saturating_add(1);
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
