//! Decides which target may start now: a budget per host over all workers together, a rate per
//! host, and retries that are not yet due.
//!
//! `source` pushes targets in; `pool` pops them and reports how each ended. Nothing here reads a
//! clock: every call is given `now`, which never goes backwards.
//!
//! Invariant: an id that was pushed comes out of [`Frontier::pop`] exactly once, and once more for
//! each [`Frontier::retry`] or [`Frontier::give_back`].

mod backoff;
mod host;
mod politeness;
mod rate;
mod shares;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

pub use backoff::BackoffConfig;
pub use host::{HostId, HostRef, HostSnapshot};
pub use shares::{HostShare, HostShares};

use host::{Host, HostPlace, Hosts, Lane};
pub use politeness::{PerHost, Politeness};
use rate::Rate;

/// Default maximum of requests in flight to one network host. It is a little above the six
/// connections that a browser opens, which servers are built to accept from one client.
const NETWORK_IN_FLIGHT_MAX: u32 = 8;

/// Limits per host.
#[derive(Debug, Clone)]
pub struct FrontierConfig {
    /// Requests in flight to one host.
    pub per_host: PerHost,
    /// Starts per second and host, above 0. Retries count as starts. `None` means no limit.
    pub rate_per_s: Option<f64>,
    /// How long a failed target waits.
    pub backoff: BackoffConfig,
    /// Longest `Retry-After` that is honoured in full; a longer one is shortened to this.
    pub retry_after_max: Duration,
}

impl From<&Politeness> for FrontierConfig {
    fn from(politeness: &Politeness) -> Self {
        Self {
            per_host: politeness.per_host,
            rate_per_s: politeness.rate_per_s,
            backoff: BackoffConfig::default(),
            // Long enough for the usual `Retry-After: 60` and for servers that count to the full
            // minute. Short enough that one host that says "tomorrow" does not delay the run.
            retry_after_max: Duration::from_secs(120),
        }
    }
}

/// Targets not yet handed out, with their hosts' budgets.
///
/// Hosts that have work and budget are served round robin; within a host, first come, first served.
/// A popped target holds one of its host's permits until exactly one of [`release`](Self::release),
/// [`retry`](Self::retry) or [`give_back`](Self::give_back) is called for it.
#[derive(Debug, Clone)]
pub struct Frontier {
    config: FrontierConfig,
    rate: Option<Rate>,
    rng: fastrand::Rng,
    /// Targets without a host. They are served first, because they use no host's budget.
    hostless: Lane,
    hosts: Hosts,
    /// Hosts in [`HostPlace::Ring`], each once. A host that was paused after it joined is found
    /// when its turn comes; searching the ring for it would cost more.
    ring: VecDeque<HostId>,
    /// Hosts in [`HostPlace::Timed`]. These are ordered sets, not heaps: the instant a host waits
    /// for can move either way, and a stale entry would make `next_due` wake its caller for
    /// nothing.
    timed: BTreeSet<(Instant, HostId)>,
    /// Hosts in [`HostPlace::Fading`].
    fading: BTreeSet<(Instant, HostId)>,
    pending: usize,
    /// Set when other runs send requests to the same hosts.
    share: Option<HostShare>,
}

impl Frontier {
    /// Creates an empty frontier. The same seed and the same calls give the same answers.
    #[must_use]
    pub fn new(config: FrontierConfig, seed: u64) -> Self {
        Self {
            rate: config.rate_per_s.map(Rate::new),
            config,
            rng: fastrand::Rng::with_seed(seed),
            hostless: Lane::default(),
            hosts: Hosts::default(),
            ring: VecDeque::new(),
            timed: BTreeSet::new(),
            fading: BTreeSet::new(),
            pending: 0,
            share: None,
        }
    }

    /// Makes this frontier respect the limits that all runs share per host.
    #[must_use]
    pub fn sharing(self, share: Option<HostShare>) -> Self {
        Self { share, ..self }
    }

    /// Returns at most `count` hosts with targets in flight or waiting, the busiest first.
    #[must_use]
    pub fn busiest(&self, now: Instant, count: usize) -> Vec<HostSnapshot> {
        let busy = self.hosts.all().map(|host| host.look(now));
        let mut busy: Vec<_> = busy.filter(|host| host.in_flight > 0 || host.waiting > 0).collect();
        let order = |host: &HostSnapshot| std::cmp::Reverse((host.in_flight, host.waiting));
        if busy.len() > count {
            busy.select_nth_unstable_by_key(count, order);
            busy.truncate(count);
        }
        busy.sort_by_key(order);
        busy
    }

    /// Adds a fresh target. A target without a host has no limit.
    pub fn push(&mut self, now: Instant, id: u64, host: Option<HostRef<'_>>) {
        self.pending += 1;
        let Some(host) = host else {
            self.hostless.push_back(id);
            return;
        };
        let host = self.intern(now, host);
        if let Some(host) = self.hosts.get_mut(host) {
            host.lane.push_back(id);
        }
        self.settle(now, host);
    }

    /// Returns the next target that may start now. It holds a permit of its host and has used a
    /// token of its rate.
    pub fn pop(&mut self, now: Instant) -> Option<(u64, HostId)> {
        if let Some(taken) = self.hostless.take(now) {
            self.pending -= 1;
            return Some((taken, HostId::NONE));
        }
        self.wake(now);
        while let Some(id) = self.ring.pop_front() {
            let Some(host) = self.hosts.get_mut(id) else {
                continue;
            };
            host.place = HostPlace::Waiting;
            // Ask for the shared permit last: if another check failed afterwards, the permit would
            // have to be returned.
            if let Some(share) = &self.share
                && host.belongs(now, self.rate.as_ref()) == HostPlace::Ring
                && let Err(until) = share.take(now, host.name(), host.in_flight_max(), self.rate.as_ref())
            {
                host.refused_until = until;
                self.settle(now, id);
                continue;
            }
            let taken = host.start(now, self.rate.as_ref());
            self.settle(now, id);
            if let Some(taken) = taken {
                self.pending -= 1;
                return Some((taken, id));
            }
        }
        None
    }

    /// Settles a popped target: it is finished for good, or was set aside because its worker died.
    pub fn release(&mut self, now: Instant, host: HostId) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.release();
            give_back(self.share.as_ref(), now, host);
        }
        self.settle(now, host);
    }

    /// Takes back a popped target whose failure may be temporary. Its permit is released, and it is
    /// popped again at the returned instant, or later if its host has no budget then.
    ///
    /// `attempt` is the one that failed, counted from 1. `after` is the server's `Retry-After`:
    /// neither this target nor any other of the host starts before it.
    pub fn retry(
        &mut self,
        now: Instant,
        id: u64,
        host: HostId,
        attempt: u32,
        after: Option<Duration>,
    ) -> Instant {
        let after = after.unwrap_or_default().min(self.config.retry_after_max);
        // Targets that got the same `Retry-After` should not all come back at once.
        let asked = after + backoff::uniform(&mut self.rng, after / 10);
        let due = now + self.config.backoff.delay(&mut self.rng, attempt).max(asked);
        self.pending += 1;
        if let Some(host) = self.hosts.get_mut(host) {
            host.release();
            give_back(self.share.as_ref(), now, host);
            host.paused_until = host.paused_until.max(now + after);
            if let Some(share) = self.share.as_ref().filter(|_| after > Duration::ZERO) {
                share.pause(host.name(), now + after);
            }
            host.lane.push_retry(due, id);
        } else {
            self.hostless.push_retry(due, id);
        }
        self.settle(now, host);
        due
    }

    /// Takes back a popped target that never started because its worker is gone. Its permit is
    /// released, and it goes before the fresh targets of its host.
    ///
    /// To keep the order of several targets, give back the last one first. The rate's token stays
    /// spent, because a request may have been sent.
    pub fn give_back(&mut self, now: Instant, id: u64, host: HostId) {
        self.pending += 1;
        if let Some(host) = self.hosts.get_mut(host) {
            host.release();
            give_back(self.share.as_ref(), now, host);
            host.lane.push_front(id);
        } else {
            self.hostless.push_front(id);
        }
        self.settle(now, host);
    }

    /// Returns when `pop` will return a target just because time passes; `None` if that takes a
    /// call.
    ///
    /// Exact once `pop` has returned `None`. While a target can start at once, this is when the
    /// next one *becomes* ready, which may be in the past. So do not wait on it while there is no
    /// room for more targets.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let hosts = self.timed.first().map(|&(at, _)| at);
        let hostless = self.hostless.next_retry();
        hosts.into_iter().chain(hostless).min()
    }

    /// Number of targets in the frontier: fresh, given back, or waiting for another attempt.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending
    }

    /// Whether the frontier is empty. Targets in flight may still come back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending == 0
    }

    /// Number of remembered hosts: those with targets waiting or in flight, and those whose rate or
    /// pause still counts.
    #[cfg(test)]
    fn hosts_len(&self) -> usize {
        self.hosts.len()
    }

    fn intern(&mut self, now: Instant, host: HostRef<'_>) -> HostId {
        if let Some(id) = self.hosts.find(host.name) {
            return id;
        }
        // Only this place adds hosts, so it also forgets old ones.
        while let Some(&(at, id)) = self.fading.first()
            && at <= now
        {
            self.fading.pop_first();
            self.hosts.forget(id);
        }
        let in_flight_max = match self.config.per_host {
            PerHost::Auto if host.loopback => u32::MAX,
            PerHost::Auto => NETWORK_IN_FLIGHT_MAX,
            PerHost::Limit(limit) => limit.get(),
            PerHost::Unlimited => u32::MAX,
        };
        self.hosts.insert(host.name, |name| Host::new(name, in_flight_max, now))
    }

    /// Moves hosts that have become ready into the ring.
    fn wake(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.timed.first()
            && at <= now
        {
            self.timed.pop_first();
            if let Some(host) = self.hosts.get_mut(id) {
                host.place = HostPlace::Ring;
                self.ring.push_back(id);
            }
        }
    }

    /// Puts a host where it now belongs. Call this after every change to a host.
    fn settle(&mut self, now: Instant, id: HostId) {
        let Some(host) = self.hosts.get_mut(id) else {
            return;
        };
        let old = host.place;
        if old == HostPlace::Ring {
            return;
        }
        let new = host.belongs(now, self.rate.as_ref());
        if let (Some(share), HostPlace::Forgotten | HostPlace::Fading(_)) = (&self.share, new) {
            share.leave(now, host.name());
        }
        if new == old {
            return;
        }
        host.place = new;
        match old {
            HostPlace::Timed(at) => _ = self.timed.remove(&(at, id)),
            HostPlace::Fading(at) => _ = self.fading.remove(&(at, id)),
            HostPlace::Waiting | HostPlace::Ring | HostPlace::Forgotten => {}
        }
        match new {
            HostPlace::Ring => self.ring.push_back(id),
            HostPlace::Timed(at) => _ = self.timed.insert((at, id)),
            HostPlace::Fading(at) => _ = self.fading.insert((at, id)),
            HostPlace::Forgotten => self.hosts.forget(id),
            HostPlace::Waiting => {}
        }
    }
}

/// Returns a permit to the other runs, if the permit was shared.
fn give_back(share: Option<&HostShare>, now: Instant, host: &Host) {
    if let Some(share) = share.filter(|_| host.in_flight_max().is_some()) {
        share.give_back(now, host.name());
    }
}
