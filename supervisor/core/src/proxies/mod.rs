//! Decides which proxy each target goes through, and which proxies are worth a try.
//!
//! The one authority over all workers: the pool asks `Proxies::choose` for each target that it hands out, and reports
//! with `Proxies::end` how each went. Of two proxies drawn at random, the one with less to do gets the target, so load
//! follows what each can do. A proxy that fails rests; after that, one target at a time tries it.
//!
//! Faults are of three sorts. A proxy that cannot be reached, or talks nonsense, fails itself. Silence, and connections
//! that end, may be the fault of a server, so they make a working proxy rest only if several follow each other, and make
//! no proxy hopeless unless many different hosts are affected. A refusal to reach a host bans only the pair of both,
//! until there are many. Each request counts for the proxy that it went through, which after a redirect may be another
//! one than the target's.
//!
//! A target all of whose proxies are hopeless gets an error record. If no target has a way left, the run ends instead, so
//! that it can be resumed.
//!
//! Invariant: between two tries of a proxy that does not work lies at least its rest, whatever the number of targets.

mod draw;
mod health;
mod session;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::fmt;
use std::hash::BuildHasher as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::{FxBuildHasher, FxHashMap};
use wire::protocol::{Exit, ExitFault, ExitUse};

use self::health::{End, Proxy};
pub use self::health::{ProxyHealth, ProxySnapshot};
use self::session::SessionExit;

/// Faults of proxies after which a target has the error `proxy`. They cost it no attempt.
const MOVES_MAX: u8 = 8;

/// Faults that may be those of a server, after each of which a target goes through another proxy at no cost.
const DIVERTS_MAX: u8 = 1;

/// How long a proxy is not used for a host that turned it away, at first and at most.
const BAN_FIRST: Duration = Duration::from_secs(10);
const BAN_MAX: Duration = Duration::from_secs(600);

/// Bans that are remembered.
const BANS_MAX: usize = 100_000;

/// How long a target waits that no proxy can take, if nothing says when one can.
const WAIT: Duration = Duration::from_millis(100);

/// How an input is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Without a proxy.
    Direct,
    /// Through any proxy.
    Any,
    /// Through this proxy.
    Only(u16),
}

/// Says how an input is reached.
pub type ReachOf = Arc<dyn Fn(&[u8]) -> Reach + Send + Sync>;

/// What keeps its proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sticky {
    /// Nothing.
    None,
    /// A host, as long as the proxy works.
    Host,
    /// A session.
    Session,
}

/// The proxies of a job.
#[derive(Clone)]
pub struct ProxiesConfig {
    /// Their names, without credentials.
    pub names: Vec<String>,
    /// How many of them each tier has, the cheapest first. What is left over is a last tier.
    pub tiers: Vec<u16>,
    /// What keeps its proxy.
    pub sticky: Sticky,
    /// How an input is reached, if that differs between inputs.
    pub reach: Option<ReachOf>,
}

impl fmt::Debug for ProxiesConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxiesConfig")
            .field("names", &self.names)
            .field("tiers", &self.tiers)
            .finish_non_exhaustive()
    }
}

/// How a target starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Without a proxy.
    Direct,
    /// Through a proxy.
    Via(Exit),
    /// Not before this instant.
    Wait(Instant),
    /// Not at all: no proxy that it may use works.
    Lost,
}

/// A target under way.
#[derive(Debug, Clone, Copy)]
struct Flight {
    exit: Exit,
    host: u64,
    chosen: Instant,
}

/// What a target has met so far.
#[derive(Debug, Clone, Copy, Default)]
struct Tries {
    moves: u8,
    diverts: u8,
    last: u16,
}

#[derive(Debug, Clone, Copy)]
struct Ban {
    until: Instant,
    length: Duration,
}

/// All proxies of a job.
#[derive(Debug)]
pub struct Proxies {
    config: ProxiesConfig,
    list: Vec<Proxy>,
    tiers: Vec<Range<usize>>,
    flights: FxHashMap<u64, Flight>,
    tries: FxHashMap<u64, Tries>,
    /// Pairs of a proxy and a host.
    bans: FxHashMap<(usize, u64), Ban>,
    /// The proxy of the session, if sessions keep theirs.
    session: Option<SessionExit>,
    /// No target has a way left.
    is_over: bool,
    rng: fastrand::Rng,
}

impl Proxies {
    /// Creates the authority. The same seed and the same calls give the same answers.
    #[must_use]
    pub fn new(config: ProxiesConfig, seed: u64) -> Self {
        let count = config.names.len();
        let mut tiers = Vec::new();
        let mut begin = 0;
        for size in config.tiers.iter().map(|size| usize::from(*size)).chain([count]) {
            let end = (begin + size).min(count);
            if begin < end {
                tiers.push(begin..end);
            }
            begin = end;
        }
        let list = config.names.iter().map(|name| Proxy::new(name)).collect();
        let (flights, tries, bans) = Default::default();
        let session = (config.sticky == Sticky::Session).then(SessionExit::default);
        Self {
            config,
            list,
            tiers,
            session,
            flights,
            tries,
            bans,
            is_over: false,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Returns the state of all proxies.
    #[must_use]
    pub fn look(&self) -> Vec<ProxySnapshot> {
        self.list.iter().map(Proxy::look).collect()
    }

    /// Returns the state of at most `count` proxies, in their order: those that fail before others, then those that were
    /// used most.
    #[must_use]
    pub(crate) fn look_at(&self, count: usize) -> Vec<ProxySnapshot> {
        let mut list: Vec<(usize, &Proxy)> = self.list.iter().enumerate().collect();
        if list.len() > count {
            list.sort_by_key(|(_, proxy)| Reverse((proxy.is_failing(), proxy.requests())));
            list.truncate(count);
            list.sort_unstable_by_key(|(place, _)| *place);
        }
        list.into_iter().map(|(_, proxy)| proxy.look()).collect()
    }

    /// Returns the number of proxies that failed and have not answered since.
    pub(crate) fn failing(&self) -> usize {
        self.list.iter().filter(|proxy| proxy.is_failing()).count()
    }

    /// Why no target will start any more, if none will.
    pub(crate) fn failure(&self) -> Option<String> {
        let is_over = self.is_over || self.config.reach.is_none() && self.is_lost(Reach::Any);
        (is_over && !self.list.is_empty())
            .then(|| format!("no proxy works: {}; check the proxies, then resume", self.trouble()))
    }

    /// Notes that no target has a way left.
    pub(crate) const fn end_run(&mut self) {
        self.is_over = true;
    }

    /// What is wrong with the proxies that do not work.
    pub(crate) fn trouble(&self) -> String {
        let hopeless: Vec<&Proxy> = self.list.iter().filter(|proxy| proxy.is_hopeless()).collect();
        let shown: Vec<String> = hopeless.iter().take(3).map(|proxy| proxy.trouble()).collect();
        let more = hopeless.len().saturating_sub(shown.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}", shown.join(", "))
    }

    /// Whether some proxy may work.
    pub(crate) fn has_hope(&self) -> bool {
        !self.is_lost(Reach::Any)
    }

    /// Whether an input can be reached.
    pub(crate) fn has_way(&self, input: &[u8]) -> bool {
        !self.is_lost(self.reach(input))
    }

    fn reach(&self, input: &[u8]) -> Reach {
        self.config.reach.as_ref().map_or(Reach::Any, |reach| reach(input))
    }

    fn is_lost(&self, reach: Reach) -> bool {
        match reach {
            Reach::Direct => false,
            Reach::Any => self.list.iter().all(Proxy::is_hopeless),
            Reach::Only(place) => self.list.get(usize::from(place)).is_some_and(Proxy::is_hopeless),
        }
    }

    /// Whether some target may start. Costs little while a proxy works.
    pub(crate) fn has_room(&self, now: Instant) -> bool {
        self.config.reach.is_some() || self.list.iter().any(|proxy| proxy.is_ready(now))
    }

    /// Returns when a target may start just because time passes.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.list.iter().filter_map(Proxy::rests_until).min()
    }

    /// Chooses the way of a target of the host with this name, and counts it as under way.
    pub(crate) fn choose(&mut self, now: Instant, id: u64, host: &str, input: &[u8]) -> Choice {
        let host = FxBuildHasher.hash_one(host);
        let reach = self.reach(input);
        if self.is_lost(reach) {
            return Choice::Lost;
        }
        let tries = self.tries.get(&id).copied();
        let only = match reach {
            Reach::Direct => return Choice::Direct,
            Reach::Any if self.session.is_some() => {
                match self.of_session(now, tries.map(|tries| usize::from(tries.last))) {
                    Ok(place) => Some(place),
                    Err(until) => return Choice::Wait(until),
                }
            }
            Reach::Any => None,
            Reach::Only(place) => Some(usize::from(place)),
        };
        let avoided = tries.map(|tries| usize::from(tries.last));
        let best = match only {
            Some(place) => self.list.get(place).filter(|proxy| proxy.is_ready(now)).map(|_| place),
            None => self.best(now, host, avoided),
        };
        // Better through a proxy that was turned away, or that failed this target, than not at all.
        let best = best.or_else(|| if only.is_none() { self.least_banned(now, host, avoided) } else { None });
        let Some(place) = best else {
            let due = match only {
                Some(place) => self.list.get(place).and_then(Proxy::rests_until),
                None => self.next_due().filter(|_| !self.awaits_probe()),
            };
            let until = due.unwrap_or(now + WAIT);
            return Choice::Wait(until.max(now + Duration::from_millis(1)));
        };
        let tries = tries.unwrap_or_default();
        let mut others = self.list.iter().enumerate().filter(|(other, _)| *other != place);
        let has_others = only.is_none() && others.any(|(_, other)| !other.is_hopeless());
        let Some(proxy) = self.list.get_mut(place) else { return Choice::Wait(now + WAIT) };
        let exit = Exit {
            proxy: u16::try_from(place).unwrap_or(u16::MAX),
            epoch: proxy.begin(now),
            may_move: tries.moves < MOVES_MAX,
            may_divert: tries.diverts < DIVERTS_MAX && tries.moves < MOVES_MAX && has_others,
        };
        self.flights.insert(id, Flight { exit, host, chosen: now });
        Choice::Via(exit)
    }

    /// Handles the end of a target's way, which its worker began at `begun`. `used` is what its last request says about
    /// the proxy, and `answered` the time to the first byte of the server's answer, if one came. Returns whether the
    /// target goes another way, at no cost.
    pub(crate) fn end(
        &mut self,
        now: Instant,
        id: u64,
        begun: Instant,
        used: Option<ExitUse>,
        answered: Option<Duration>,
        is_final: bool,
    ) -> bool {
        let flight = self.flights.remove(&id);
        let own = flight.filter(|flight| used.is_some_and(|used| used.proxy == flight.exit.proxy));
        if let Some(flight) = flight {
            self.leave(now, flight, own.is_none() && (answered.is_some() || used.is_some()));
        }
        let has_worked = used.is_some_and(|used| self.has_worked(used.proxy));
        if let Some(used) = used {
            self.book(now, used, own, begun, answered);
        }
        let moves = own.zip(used).filter(|(flight, used)| !is_final && flight.exit.leaves(*used));
        let Some((_, used)) = moves else {
            if is_final {
                self.tries.remove(&id);
            }
            return false;
        };
        let tries = self.tries.entry(id).or_default();
        tries.last = used.proxy;
        match used.fault {
            Some(ExitFault::Unreachable | ExitFault::Broken | ExitFault::Blocked) => {
                tries.diverts = tries.diverts.saturating_add(1);
            }
            // The proxy works, so the server is likely to be the one that does not answer.
            Some(ExitFault::Silent) if has_worked => tries.diverts = tries.diverts.saturating_add(1),
            Some(ExitFault::Silent | ExitFault::Proxy | ExitFault::Credentials | ExitFault::Shunned)
            | None => tries.moves = tries.moves.saturating_add(1),
        }
        true
    }

    /// Counts a target as no longer under way. If a redirect led it away from its proxy, then that has delivered the
    /// redirect.
    fn leave(&mut self, now: Instant, flight: Flight, was_redirected: bool) {
        let Some(proxy) = self.list.get_mut(usize::from(flight.exit.proxy)) else { return };
        proxy.leave();
        if was_redirected {
            let Flight { exit, host, chosen } = flight;
            let end =
                End { epoch: exit.epoch, host, begun: chosen, fault: None, worked: true, answered: None };
            proxy.end(now, &end, &mut self.rng);
        }
    }

    /// Whether a proxy has delivered an answer in this run.
    pub(crate) fn has_worked(&self, proxy: u16) -> bool {
        self.list.get(usize::from(proxy)).is_some_and(Proxy::has_worked)
    }

    /// Counts a request for the proxy that it went through. `flight` is that of its target, if the target was given to
    /// this proxy.
    fn book(
        &mut self,
        now: Instant,
        used: ExitUse,
        flight: Option<Flight>,
        begun: Instant,
        answered: Option<Duration>,
    ) {
        let place = usize::from(used.proxy);
        let Some(proxy) = self.list.get_mut(place) else { return };
        let ExitUse { fault, worked, .. } = used;
        // After a redirect, the host is another one than the target's, and the proxy was used without being chosen.
        let Some(Flight { exit, host, chosen }) = flight else {
            // Nothing was sent. The fault for which its worker avoids the proxy is counted already.
            if fault == Some(ExitFault::Shunned) {
                return;
            }
            let end = End { epoch: proxy.wake(now), host: 0, begun, fault, worked, answered };
            proxy.end(now, &end, &mut self.rng);
            return;
        };
        let end = End { epoch: exit.epoch, host, begun: begun.max(chosen), fault, worked, answered };
        if proxy.end(now, &end, &mut self.rng) {
            self.ban(now, place, host);
        } else if fault.is_none() && answered.is_some() {
            self.bans.remove(&(place, host));
        }
    }

    /// Handles a target whose worker is gone.
    pub(crate) fn abandon(&mut self, id: u64) {
        let Some(flight) = self.flights.remove(&id) else { return };
        if let Some(proxy) = self.list.get_mut(usize::from(flight.exit.proxy)) {
            proxy.leave();
        }
    }

    /// Forgets what a target has met, because it is finished.
    pub(crate) fn forget(&mut self, id: u64) {
        self.tries.remove(&id);
    }

    fn ban(&mut self, now: Instant, place: usize, host: u64) {
        if self.bans.len() >= BANS_MAX {
            self.bans.retain(|_, ban| ban.until > now);
        }
        if self.bans.len() >= BANS_MAX {
            return;
        }
        let ban = self.bans.entry((place, host)).or_insert(Ban { until: now, length: BAN_FIRST });
        // Requests that were under way together count once.
        if ban.until <= now {
            ban.until = now + ban.length;
            ban.length = (ban.length * 2).min(BAN_MAX);
        }
    }
}
