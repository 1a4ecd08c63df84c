//! Decides which proxy each target goes through, and which proxies are worth a try.
//!
//! The one authority over all workers: the pool asks [`Proxies::choose`] for each target that it hands out, and reports
//! with [`Proxies::end`] how each went. Of two proxies drawn at random, the one with less to do gets the target, so load
//! follows what each can do. A proxy that fails rests; after that, one target at a time tries it.
//!
//! Invariant: between two tries of a proxy that does not work lies at least its rest, whatever the number of targets.

mod health;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::BuildHasher as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::{FxBuildHasher, FxHashMap};
use wire::protocol::{Exit, ExitFault};

use self::health::Proxy;
pub use self::health::{ProxyHealth, ProxySnapshot};

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

/// Draws to find a proxy that can take a target, before all of them are looked at.
const DRAWS: usize = 8;

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

/// The proxies of a job.
#[derive(Clone)]
pub struct ProxiesConfig {
    /// Their names, without credentials.
    pub names: Vec<String>,
    /// How many of them each tier has, the cheapest first. What is left over is a last tier.
    pub tiers: Vec<u16>,
    /// Whether a host keeps its proxy.
    pub is_sticky: bool,
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
        Self { config, list, tiers, flights, tries, bans, rng: fastrand::Rng::with_seed(seed) }
    }

    /// Returns the state of all proxies.
    #[must_use]
    pub fn look(&self) -> Vec<ProxySnapshot> {
        self.list.iter().map(Proxy::look).collect()
    }

    /// Returns the number of proxies that failed and have not answered since.
    pub(crate) fn failing(&self) -> usize {
        self.list.iter().filter(|proxy| proxy.is_failing()).count()
    }

    /// Why no proxy will work, if none will.
    pub(crate) fn failure(&self) -> Option<String> {
        if self.list.is_empty() || !self.list.iter().all(Proxy::is_hopeless) {
            return None;
        }
        let shown: Vec<String> = self.list.iter().take(3).map(Proxy::trouble).collect();
        let more = self.list.len().saturating_sub(shown.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Some(format!("no proxy works: {}{more}; check the proxies, then resume", shown.join(", ")))
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
        let reach = self.config.reach.as_ref().map_or(Reach::Any, |reach| reach(input));
        let only = match reach {
            Reach::Direct => return Choice::Direct,
            Reach::Any => None,
            Reach::Only(place) => Some(usize::from(place)),
        };
        let tries = self.tries.get(&id).copied();
        let avoided = tries.map(|tries| usize::from(tries.last));
        let best = match only {
            Some(place) => self.list.get(place).filter(|proxy| proxy.is_ready(now)).map(|_| place),
            None => self.best(now, host, avoided),
        };
        // Better through a proxy that was turned away, or that failed this target, than not at all.
        let best = best.or_else(|| if only.is_none() { self.least_banned(now, host, avoided) } else { None });
        let Some(place) = best else {
            let until = self.next_due().filter(|_| !self.awaits_probe()).unwrap_or(now + WAIT);
            return Choice::Wait(until.max(now + Duration::from_millis(1)));
        };
        let tries = tries.unwrap_or_default();
        let has_others = only.is_none() && self.list.len() > 1;
        let Some(proxy) = self.list.get_mut(place) else { return Choice::Wait(now + WAIT) };
        let exit = Exit {
            proxy: u16::try_from(place).unwrap_or(u16::MAX),
            epoch: proxy.begin(now),
            may_move: tries.moves < MOVES_MAX,
            may_divert: tries.diverts < DIVERTS_MAX && has_others,
        };
        self.flights.insert(id, Flight { exit, host, chosen: now });
        Choice::Via(exit)
    }

    /// Handles the end of a target's way, which its worker began at `begun`. `fault` is what the worker reports, and
    /// `answered` the time to the first byte of the server's answer, if one came. Returns whether the target goes another way, at no cost.
    pub(crate) fn end(
        &mut self,
        now: Instant,
        id: u64,
        begun: Instant,
        fault: Option<ExitFault>,
        answered: Option<Duration>,
        is_final: bool,
    ) -> bool {
        let Some(Flight { exit, host, chosen }) = self.flights.remove(&id) else { return false };
        let begun = begun.max(chosen);
        let place = usize::from(exit.proxy);
        let Some(proxy) = self.list.get_mut(place) else { return false };
        let bans = proxy.end(now, exit.epoch, begun, fault, answered, &mut self.rng);
        if bans {
            self.ban(now, place, host);
        } else if fault.is_none() && answered.is_some() {
            self.bans.remove(&(place, host));
        }
        let Some(fault) = fault.filter(|fault| !is_final && exit.leaves(*fault)) else {
            if is_final {
                self.tries.remove(&id);
            }
            return false;
        };
        let tries = self.tries.entry(id).or_default();
        tries.last = exit.proxy;
        match fault {
            // The proxy works, so the server is likely to be the one that does not answer.
            ExitFault::Silent if bans => tries.moves = tries.moves.saturating_add(MOVES_MAX / 2),
            ExitFault::Proxy | ExitFault::Credentials | ExitFault::Silent => {
                tries.moves = tries.moves.saturating_add(1)
            }
            ExitFault::Unreachable | ExitFault::Broken | ExitFault::Blocked => {
                tries.diverts = tries.diverts.saturating_add(1)
            }
        }
        true
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

    /// Returns the proxy for a host: of the first tier that has one to offer.
    fn best(&mut self, now: Instant, host: u64, avoided: Option<usize>) -> Option<usize> {
        for tier in 0..self.tiers.len() {
            let range = self.tiers.get(tier)?.clone();
            let best = if self.config.is_sticky {
                self.sticky(now, host, range.clone(), avoided)
            } else {
                self.less_busy(now, host, range.clone(), avoided)
            };
            if best.is_some() {
                return best;
            }
            // A proxy that is being tried for the first time is worth the wait: the next tier costs more.
            let in_tier = self.list.get(range).unwrap_or_default();
            if self.tiers.len() > 1 && in_tier.iter().any(Proxy::is_unknown) {
                return None;
            }
        }
        None
    }

    fn takes(&self, now: Instant, place: usize, host: u64, avoided: Option<usize>) -> bool {
        Some(place) != avoided
            && self.list.get(place).is_some_and(|proxy| proxy.is_ready(now))
            && self.bans.get(&(place, host)).is_none_or(|ban| ban.until <= now)
    }

    /// Draws two proxies, and returns the one with less to do.
    fn less_busy(
        &mut self,
        now: Instant,
        host: u64,
        tier: Range<usize>,
        avoided: Option<usize>,
    ) -> Option<usize> {
        let mut found = [None, None];
        for _ in 0..DRAWS {
            let drawn = self.rng.usize(tier.clone());
            if found.contains(&Some(drawn)) || !self.takes(now, drawn, host, avoided) {
                continue;
            }
            let [first, second] = &mut found;
            if first.is_none() {
                *first = Some(drawn);
            } else {
                *second = Some(drawn);
                break;
            }
        }
        match found {
            [Some(one), Some(other)] => Some(self.lighter(one, other)),
            [None, _] | [_, None] => {
                // Few can take it, so each is looked at.
                let able = tier.filter(|place| self.takes(now, *place, host, avoided));
                able.reduce(|one, other| self.lighter(one, other))
            }
        }
    }

    fn lighter(&self, one: usize, other: usize) -> usize {
        match (self.list.get(one), self.list.get(other)) {
            (Some(a), Some(b)) if b.is_lighter_than(a) => other,
            (_, _) => one,
        }
    }

    /// Returns the proxy that a host keeps: the one whose number, mixed with the host's, is highest. If a proxy fails,
    /// only its own hosts move (rendezvous hashing).
    fn sticky(&self, now: Instant, host: u64, tier: Range<usize>, avoided: Option<usize>) -> Option<usize> {
        let rank = |place: &usize| mix(host ^ mix(*place as u64));
        let able = |place: &usize| {
            self.takes(now, *place, host, avoided)
                // It is being tried for the first time, and its hosts wait for that.
                || Some(*place) != avoided && self.list.get(*place).is_some_and(Proxy::is_unknown)
        };
        tier.filter(able).max_by_key(rank).filter(|place| self.takes(now, *place, host, avoided))
    }

    /// Returns the proxy whose ban for a host ends first, if none is being tried that may be better. One that failed this
    /// target counts as banned.
    fn least_banned(&self, now: Instant, host: u64, avoided: Option<usize>) -> Option<usize> {
        if self.awaits_probe() {
            return None;
        }
        let ban = |place: &usize| self.bans.get(&(*place, host)).map(|ban| ban.until);
        let is_ready = |place: &usize| self.list.get(*place).is_some_and(|proxy| proxy.is_ready(now));
        let refused = |place: &usize| Some(*place) == avoided || ban(place).is_some_and(|until| until > now);
        (0..self.list.len()).filter(|place| is_ready(place) && refused(place)).min_by_key(ban)
    }

    /// Whether a proxy is being tried, so that more may be known soon.
    fn awaits_probe(&self) -> bool {
        self.list.iter().any(Proxy::is_probed)
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

/// Mixes all bits of a number (the finalizer of `SplitMix64`), so that ranks of neighbours have nothing in common.
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
