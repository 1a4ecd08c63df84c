//! Decides which target may go now: per-host budgets over all workers together,
//! a rate per host, and retries that are not yet due.
//!
//! `source` pushes targets in, `pool` pops them and says how each ended. Nothing
//! here reads a clock: every call is given `now`, which never goes backwards.
//!
//! Invariant: an id that was pushed comes out of [`Frontier::pop`] exactly once,
//! and once more for each [`Frontier::retry`] or [`Frontier::give_back`].

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
pub use host::{HostId, HostLook, HostRef};
pub use shares::{HostShare, HostShares};

use host::{Host, Hosts, Lane, Place};
pub use politeness::{PerHost, Politeness};
use rate::Rate;

/// In flight to one network host unless the user says otherwise: a little above the six
/// connections a browser opens, which is what servers are built to take from one client.
const NETWORK_IN_FLIGHT_MAX: u32 = 8;

/// How hosts are spared.
#[derive(Debug, Clone)]
pub struct FrontierConfig {
    /// Requests in flight to one host.
    pub per_host: PerHost,
    /// Starts per second and host, above 0; retries count as starts. `None` is no limit.
    pub rate_per_s: Option<f64>,
    /// How long a failed target waits.
    pub backoff: BackoffConfig,
    /// Longest `Retry-After` that is honoured in full; a longer one is cut to this.
    pub retry_after_max: Duration,
}

impl From<&Politeness> for FrontierConfig {
    fn from(politeness: &Politeness) -> Self {
        Self {
            per_host: politeness.per_host,
            rate_per_s: politeness.rate_per_s,
            backoff: BackoffConfig::default(),
            // Long enough for the usual `Retry-After: 60` and for clocks that count to the full
            // minute, short enough that one host that says "tomorrow" does not hold the run.
            retry_after_max: Duration::from_secs(120),
        }
    }
}

/// Targets not yet handed out, with their hosts' budgets.
///
/// Hosts that have work and budget are served round robin, first come first served within each.
/// A target that was popped holds one of its host's permits until exactly one of
/// [`release`](Self::release), [`retry`](Self::retry) or [`give_back`](Self::give_back) is called for it.
#[derive(Debug, Clone)]
pub struct Frontier {
    config: FrontierConfig,
    rate: Option<Rate>,
    rng: fastrand::Rng,
    /// Targets without a host. Served before any other: they cost no host anything.
    hostless: Lane,
    hosts: Hosts,
    /// Hosts in [`Place::Ring`], each once. One that was paused since it got in is found out when
    /// its turn comes; searching the ring for it would cost more.
    ring: VecDeque<HostId>,
    /// Hosts in [`Place::Timed`]. Ordered sets, not heaps: what a host waits for can move either
    /// way, and an entry left behind would make `next_due` wake its caller for nothing.
    timed: BTreeSet<(Instant, HostId)>,
    /// Hosts in [`Place::Fading`].
    fading: BTreeSet<(Instant, HostId)>,
    pending: usize,
    /// Where other runs ask the same hosts.
    share: Option<HostShare>,
}

impl Frontier {
    /// An empty frontier; the same seed and calls give the same answers.
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

    /// The same, and no host gets more than it may have from all runs together.
    #[must_use]
    pub fn sharing(self, share: Option<HostShare>) -> Self {
        Self { share, ..self }
    }

    /// At most so many hosts with targets in flight or waiting, the busiest first.
    #[must_use]
    pub fn busiest(&self, now: Instant, count: usize) -> Vec<HostLook> {
        let busy = self.hosts.all().map(|host| host.look(now));
        let mut busy: Vec<_> = busy.filter(|host| host.in_flight > 0 || host.waiting > 0).collect();
        let order = |host: &HostLook| std::cmp::Reverse((host.in_flight, host.waiting));
        if busy.len() > count {
            busy.select_nth_unstable_by_key(count, order);
            busy.truncate(count);
        }
        busy.sort_by_key(order);
        busy
    }

    /// Takes in a fresh target; without a host it is under no limit at all.
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

    /// The next target that may start now, with a permit of its host and a token of its rate.
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
            host.place = Place::Waiting;
            // With the others last: a permit of theirs that is not used would have to go back.
            if let Some(share) = &self.share
                && host.belongs(now, self.rate.as_ref()) == Place::Ring
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

    /// A popped target is over: finished for good, or blamed for the death of its worker and set aside.
    pub fn release(&mut self, now: Instant, host: HostId) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.release();
            give_back(self.share.as_ref(), now, host);
        }
        self.settle(now, host);
    }

    /// A popped target failed in a way that may pass: its permit comes back, and it will be popped
    /// again at the returned instant or, if its host has no budget then, later.
    ///
    /// `attempt` is the one that failed, from 1. `after` is the server's `Retry-After`: the target does
    /// not go before it, nor does any other of the host.
    pub fn retry(
        &mut self,
        now: Instant,
        id: u64,
        host: HostId,
        attempt: u32,
        after: Option<Duration>,
    ) -> Instant {
        let after = after.unwrap_or_default().min(self.config.retry_after_max);
        // The targets that were told the same `Retry-After` should not come back as one.
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

    /// A popped target never began, its worker being gone: its permit comes back and it goes before
    /// the fresh targets of its host.
    ///
    /// Of several, give back the last first and they keep their order. The rate's token stays spent:
    /// nobody can be sure that nothing was sent.
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

    /// When `pop` will give something by the mere passing of time; `None` if only a call can help.
    ///
    /// Exact once `pop` has given `None`. While something can go at once this says when the next
    /// thing *becomes* ready, which may have passed: with no room for more targets, do not wait on it.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let hosts = self.timed.first().map(|&(at, _)| at);
        let hostless = self.hostless.next_retry();
        hosts.into_iter().chain(hostless).min()
    }

    /// Targets in here: fresh, given back, or waiting for another attempt.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending
    }

    /// Whether nothing is in here; targets in flight may still come back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending == 0
    }

    /// Hosts remembered: those with targets in here or in flight, and those whose rate or pause still counts.
    #[cfg(test)]
    fn hosts_len(&self) -> usize {
        self.hosts.len()
    }

    fn intern(&mut self, now: Instant, host: HostRef<'_>) -> HostId {
        if let Some(id) = self.hosts.find(host.name) {
            return id;
        }
        // Memory grows only here, so here is where it is given back.
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

    /// Hosts whose time has come join the ring.
    fn wake(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.timed.first()
            && at <= now
        {
            self.timed.pop_first();
            if let Some(host) = self.hosts.get_mut(id) {
                host.place = Place::Ring;
                self.ring.push_back(id);
            }
        }
    }

    /// Puts a host where it now belongs; to be called after every change to one.
    fn settle(&mut self, now: Instant, id: HostId) {
        let Some(host) = self.hosts.get_mut(id) else {
            return;
        };
        let old = host.place;
        if old == Place::Ring {
            return;
        }
        let new = host.belongs(now, self.rate.as_ref());
        if let (Some(share), Place::Forgotten | Place::Fading(_)) = (&self.share, new) {
            share.leave(now, host.name());
        }
        if new == old {
            return;
        }
        host.place = new;
        match old {
            Place::Timed(at) => _ = self.timed.remove(&(at, id)),
            Place::Fading(at) => _ = self.fading.remove(&(at, id)),
            Place::Waiting | Place::Ring | Place::Forgotten => {}
        }
        match new {
            Place::Ring => self.ring.push_back(id),
            Place::Timed(at) => _ = self.timed.insert((at, id)),
            Place::Fading(at) => _ = self.fading.insert((at, id)),
            Place::Forgotten => self.hosts.forget(id),
            Place::Waiting => {}
        }
    }
}

/// A permit goes back to the other runs, if it was theirs too.
fn give_back(share: Option<&HostShare>, now: Instant, host: &Host) {
    if let Some(share) = share.filter(|_| host.in_flight_max().is_some()) {
        share.give_back(now, host.name());
    }
}
