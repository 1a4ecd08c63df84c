//! Decides which target may start now: a budget per host over all workers together, a rate per
//! host, and retries that are not yet due.
//!
//! `source` pushes targets in; `pool` pops them and reports how each ended. Nothing here reads a
//! clock: every call is given `now`, which never goes backwards.
//!
//! Invariant: an id that was pushed comes out of [`Frontier::pop`] exactly once, and once more for
//! each [`Frontier::retry`] or [`Frontier::give_back`].

mod backoff;
mod config;
mod control;
mod giving_up;
mod health;
mod hearing;
mod host;
mod learned;
mod politeness;
mod rate;
mod refusals;
mod shares;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use backoff::BackoffConfig;
pub use config::FrontierConfig;
pub use control::Answer;
pub use giving_up::{GIVE_UP_AFTER, GIVE_UP_UNKNOWN_AFTER};
pub(crate) use health::Attempt;
pub use host::{HostId, HostRef, HostSnapshot};
pub use learned::Learned;
pub use politeness::{PerHost, Politeness};
pub use rate::LEAD;
pub use shares::{HostShare, HostShares};

use control::Control;
use host::{Host, HostPlace, Hosts, Lane};
use rate::Rate;
use shares::{Ask, End};

/// Hosts that are looked at one by one for the report.
const HOSTS_LOOKED_AT: usize = 10_000;

/// A target that may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The target.
    pub id: u64,
    /// Its host.
    pub host: HostId,
    /// It must not start before this instant, which is at most [`LEAD`] ahead. `None`: it may start at once.
    pub not_before: Option<Instant>,
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
    /// Hosts that were given up and may have targets waiting.
    hopeless: Vec<HostId>,
    /// Hosts whose targets wait for a login.
    barred: Vec<Arc<str>>,
    pending: usize,
    /// Set when other runs send requests to the same hosts.
    share: Option<HostShare>,
}

impl Frontier {
    /// Creates an empty frontier. The same seed and the same calls give the same answers.
    #[must_use]
    pub fn new(config: FrontierConfig, seed: u64) -> Self {
        Self {
            rate: config.rate(),
            config,
            rng: fastrand::Rng::with_seed(seed),
            hostless: Lane::default(),
            hosts: Hosts::default(),
            ring: VecDeque::new(),
            timed: BTreeSet::new(),
            fading: BTreeSet::new(),
            hopeless: Vec::new(),
            barred: Vec::new(),
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

    /// Returns the limit of the host with the most requests in flight, and the longest time between two starts at a
    /// host that has refused requests; nothing where there are so many hosts that no single one matters.
    #[must_use]
    pub fn strictest(&self, now: Instant) -> (Option<u32>, Option<Duration>) {
        if self.hosts.seats() > HOSTS_LOOKED_AT {
            return (None, None);
        }
        let busiest = self.hosts.all().max_by_key(|host| host.in_flight);
        let limit = busiest.map(|host| host.in_flight_max).filter(|max| *max < u32::MAX);
        let intervals = self.hosts.all().map(|host| host.control.interval(now));
        (limit, intervals.max().filter(|interval| *interval > Duration::ZERO))
    }

    /// Returns the state of one host.
    #[cfg(test)]
    pub(crate) fn look(&self, now: Instant, name: &str) -> Option<HostSnapshot> {
        Some(self.hosts.get(self.hosts.find(name)?)?.look(now))
    }

    /// Adds a fresh target. A target without a host has no limit.
    pub fn push(&mut self, now: Instant, id: u64, host: Option<HostRef<'_>>) {
        self.add(now, host, |lane| lane.push_back(id));
    }

    /// Adds a fresh target that goes before all others of its host.
    pub fn push_first(&mut self, now: Instant, id: u64, host: Option<HostRef<'_>>) {
        self.add(now, host, |lane| lane.push_front(now, id));
    }

    fn add(&mut self, now: Instant, host: Option<HostRef<'_>>, add: impl FnOnce(&mut Lane)) {
        self.pending += 1;
        let Some(host) = host else { return add(&mut self.hostless) };
        let host = self.intern(now, host);
        if let Some(host) = self.hosts.get_mut(host) {
            add(&mut host.lane);
        }
        self.note_hopeless(now, host);
        self.settle(now, host);
    }

    /// Returns the next target that may start now or within [`LEAD`]. It holds a permit of its host, and no other
    /// target of the host gets the same start.
    pub fn pop(&mut self, now: Instant) -> Option<Start> {
        if let Some(id) = self.hostless.take(now, false) {
            self.pending -= 1;
            return Some(Start { id, host: HostId::NONE, not_before: None });
        }
        self.wake(now);
        while let Some(host) = self.ring.pop_front() {
            let taken = self.take_from(now, host);
            self.settle(now, host);
            if let Some((id, start)) = taken {
                self.pending -= 1;
                return Some(Start { id, host, not_before: Some(start).filter(|start| *start > now) });
            }
        }
        None
    }

    /// Takes a target from a host whose turn it is, unless its budget was used up since.
    fn take_from(&mut self, now: Instant, id: HostId) -> Option<(u64, Instant)> {
        let host = self.hosts.get_mut(id)?;
        host.place = HostPlace::Waiting;
        if host.belongs(now) != HostPlace::Ring {
            return None;
        }
        let mut start = host.next_start(now);
        // Ask for the shared permit last: if another check failed afterwards, the permit would have to be returned.
        if let Some(share) = &self.share {
            let ask = Ask { gate: host.gate, earliest: start, rate: self.rate.as_ref(), delay: host.delay };
            match share.take(now, host.name(), ask, &mut self.rng) {
                Ok(permit) => {
                    start = permit.start;
                    host.in_flight_max = permit.in_flight_max;
                }
                Err(until) => {
                    host.refused_until = until;
                    return None;
                }
            }
        }
        let interval = self.rate.as_ref().map_or(Duration::ZERO, |rate| rate.draw(&mut self.rng));
        Some((host.take(now, start, interval)?, start))
    }

    /// Returns the name of a host.
    pub(crate) fn name(&self, host: HostId) -> Option<&Arc<str>> {
        self.hosts.get(host).map(Host::name)
    }

    /// Whether a host is the user's own machine or network.
    pub(crate) fn is_local(&self, host: HostId) -> bool {
        self.hosts.get(host).is_some_and(|host| host.local)
    }

    /// Adds a target again that holds no permit any more. It waits like one that failed for the first time. Another
    /// target must hold a permit of the host.
    pub(crate) fn requeue(&mut self, now: Instant, id: u64, host: HostId) {
        self.pending += 1;
        let due = now + self.config.backoff.delay(&mut self.rng, 1);
        let known = self.hosts.get_mut(host).map(|host| &mut host.lane);
        known.unwrap_or(&mut self.hostless).push_retry(due, id);
        self.note_hopeless(now, host);
        self.settle(now, host);
    }

    /// Settles a popped target: it is finished for good, or was set aside because its worker died.
    pub fn release(&mut self, now: Instant, host: HostId, answer: Answer) {
        self.end(now, host, answer);
        self.settle(now, host);
    }

    /// Returns the permit of a popped target, and learns from how it ended.
    fn end(&mut self, now: Instant, id: HostId, answer: Answer) {
        let Some(host) = self.hosts.get_mut(id) else { return };
        let until = if let Some(share) = &self.share {
            let end = End { gate: host.gate, answer, sent_at: host.sent_at, delay: host.delay };
            let returned = share.give_back(now, host.name(), end, &mut self.rng);
            host.in_flight_max = returned.in_flight_max;
            returned.paused_until
        } else {
            host.keep_distance(self.rate.as_ref().map_or(Duration::ZERO, Rate::least));
            let until = host.control.on_end(now, host.in_flight, answer, &mut self.rng);
            host.in_flight_max = host.control.in_flight_max(now, host.gate);
            until
        };
        if answer != Answer::Unknown {
            host.lift_caution();
        }
        host.release();
        host.paused_until = host.paused_until.max(until.unwrap_or(now));
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
        answer: Answer,
    ) -> Instant {
        let after = after.unwrap_or_default().min(self.config.retry_after_max);
        // Targets that got the same `Retry-After` should not all come back at once.
        let asked = after + backoff::uniform(&mut self.rng, after / 10);
        let due = now + self.config.backoff.delay(&mut self.rng, attempt).max(asked);
        self.pending += 1;
        self.end(now, host, answer);
        if let Some(host) = self.hosts.get_mut(host) {
            host.lane.push_retry(due, id);
        } else {
            self.hostless.push_retry(due, id);
        }
        self.pause(now, host, after);
        self.note_hopeless(now, host);
        self.settle(now, host);
        due
    }

    /// Starts nothing at this host for so long (`Retry-After`), within reason.
    pub(crate) fn pause(&mut self, now: Instant, host: HostId, after: Duration) {
        let Some(host) = self.hosts.get_mut(host).filter(|_| after > Duration::ZERO) else { return };
        let until = now + after.min(self.config.retry_after_max);
        host.paused_until = host.paused_until.max(until);
        if let Some(share) = &self.share {
            share.pause(host.name(), until);
        }
    }

    /// Takes back a popped target that never started because its worker is gone. Its permit is
    /// released, and it goes before the fresh targets of its host.
    ///
    /// To keep the order of several targets, give back the last one first. Its start counts all the same, because a
    /// request may have been sent.
    pub fn give_back(&mut self, now: Instant, id: u64, host: HostId) {
        self.ask_again(now, id, host, Answer::Unknown);
    }

    /// Adds a request of a login, or a check of a session. It goes before all others of its host, and may start although
    /// the host is barred.
    pub(crate) fn push_login(&mut self, now: Instant, id: u64, host: HostRef<'_>) {
        self.pending += 1;
        let host = self.intern(now, host);
        if let Some(host) = self.hosts.get_mut(host) {
            host.lane.push_retry(now, id);
        }
        self.note_hopeless(now, host);
        self.settle(now, host);
    }

    /// Starts nothing at this host but logins and checks, until [`Self::unbar`].
    pub(crate) fn bar(&mut self, now: Instant, id: HostId) {
        let Some(host) = self.hosts.get_mut(id) else { return };
        if !std::mem::replace(&mut host.is_barred, true) {
            self.barred.push(Arc::clone(host.name()));
        }
        self.settle(now, id);
    }

    /// Lets the targets of all hosts start again.
    pub(crate) fn unbar(&mut self, now: Instant) {
        for name in std::mem::take(&mut self.barred) {
            let Some(id) = self.hosts.find(&name) else { continue };
            if let Some(host) = self.hosts.get_mut(id) {
                host.is_barred = false;
            }
            self.settle(now, id);
        }
    }

    /// Takes back a popped target that is to be asked for once more, at no cost. `answer` is what its end says about the
    /// host.
    pub(crate) fn ask_again(&mut self, now: Instant, id: u64, host: HostId, answer: Answer) {
        self.pending += 1;
        self.end(now, host, answer);
        if let Some(host) = self.hosts.get_mut(host) {
            host.lane.push_front(now, id);
        } else {
            self.hostless.push_front(now, id);
        }
        self.note_hopeless(now, host);
        self.settle(now, host);
    }

    /// Takes back a popped target that cannot start before `due`, for a reason that has nothing to do with its host.
    pub(crate) fn postpone(&mut self, now: Instant, id: u64, host: HostId, due: Instant) {
        self.pending += 1;
        self.end(now, host, Answer::Unknown);
        let known = self.hosts.get_mut(host).map(|host| &mut host.lane);
        known.unwrap_or(&mut self.hostless).push_retry(due, id);
        self.note_hopeless(now, host);
        self.settle(now, host);
    }

    /// Leaves at least `delay` between two starts at this host, besides what the user asked for (`Crawl-delay`).
    pub fn set_delay(&mut self, now: Instant, host: HostRef<'_>, delay: Duration) {
        let id = self.intern(now, host);
        if let Some(host) = self.hosts.get_mut(id) {
            // Several authorities may share the budget.
            host.delay = host.delay.max(delay);
        }
        self.settle(now, id);
    }

    /// Returns what was learned about the hosts that are still remembered.
    #[must_use]
    pub fn learned(&self, now: Instant) -> Vec<Learned> {
        let worth_keeping = |host: &Host| host.learned(now);
        self.hosts.all().filter_map(worth_keeping).collect()
    }

    /// Continues with what an earlier run has learned about a host. Call this before its first target is pushed.
    pub fn teach(&mut self, now: Instant, host: HostRef<'_>, learned: &Learned) {
        let id = self.intern(now, host);
        if let Some(host) = self.hosts.get_mut(id) {
            host.control =
                Control::resumed(now, learned.in_flight_max, learned.pace_per_s, learned.is_search);
            host.in_flight_max = host.control.in_flight_max(now, host.gate);
            host.health.is_known(now);
            host.lift_caution();
            host.paused_until = now + learned.paused().min(self.config.retry_after_max);
        }
        self.settle(now, id);
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

    /// Number of remembered hosts: those with targets waiting or in flight, and those whose rate,
    /// pause or load still counts.
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
        let gate = self.config.gate(host);
        self.hosts.insert(host.name, |name| Host::new(name, host.local, gate, now))
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
        let new = host.belongs(now);
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
