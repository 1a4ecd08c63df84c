//! Hosts that several runs fetch from at once: one budget and one rate for all of them.
//!
//! A run's own frontier decides as if it were alone, and then asks here. A refused run gets a place
//! in a queue and asks again soon. A released permit is reserved for the first run in the queue.
//! Otherwise a run with many requests in flight would take every permit again before another run
//! sees it free. When a host asks one run to wait (`Retry-After`), all runs wait.
//!
//! The limit is that of the run that asks. If limits differ, the stricter run waits until no more
//! requests are in flight than it allows. Runs without a fixed limit share one that adapts, because
//! what is learned about a host belongs to the host. The rate is the lowest that any run using the
//! host asks for. It also applies to runs that ask for none, because it protects the host.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustc_hash::FxHashMap;

use super::Learned;
use super::control::{Answer, Control, Gate};
use super::rate::{NextStart, Rate};

/// How soon a refused run asks again. Nothing notifies it when a permit is released.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// How long a run that does not ask again keeps its place in the queue.
const PLACE_KEPT: Duration = Duration::from_secs(1);

/// The budgets of all hosts, shared by any number of runs.
#[derive(Debug, Clone, Default)]
pub struct HostShares(Arc<Mutex<HostTable>>);

/// How long a start is reserved for the run that has waited longest, and when the next run looks whether it was taken.
const START_KEPT: Duration = Duration::from_millis(10);
const SOON_AFTER: Duration = Duration::from_millis(1);

/// Number of hosts below which no sweep for forgettable hosts is made.
const SWEEP_MIN: usize = 64;

#[derive(Debug, Default)]
struct HostTable {
    hosts: FxHashMap<Arc<str>, SharedHost>,
    runs: u64,
    /// Number of hosts at which the next sweep is made.
    sweep_at: usize,
}

impl HostTable {
    fn host(&mut self, now: Instant, name: &Arc<str>) -> &mut SharedHost {
        // Only this place adds hosts, so it also forgets old ones.
        if self.hosts.len() >= self.sweep_at.max(SWEEP_MIN) && !self.hosts.contains_key(name) {
            self.hosts.retain(|_, shared| !shared.is_forgettable(now));
            self.sweep_at = self.hosts.len() * 2;
        }
        self.hosts.entry(Arc::clone(name)).or_default()
    }

    /// Forgets a host whose state no longer matters.
    fn settle(&mut self, now: Instant, name: &Arc<str>) {
        if let Entry::Occupied(entry) = self.hosts.entry(Arc::clone(name))
            && entry.get().is_forgettable(now)
        {
            entry.remove();
        }
    }
}

/// The state of one host.
#[derive(Debug, Default)]
struct SharedHost {
    /// Permits in use, by run.
    held: FxHashMap<u64, u32>,
    /// Refused runs in order, each with the time by which it should have asked again.
    queue: VecDeque<(u64, Instant)>,
    /// Rates requested by the runs that use this host.
    rates: FxHashMap<u64, Rate>,
    /// The next start of any run; `None` if one is possible at once.
    next_start: Option<NextStart>,
    paused_until: Option<Instant>,
    control: Control,
}

/// What a run asks for when it takes a permit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    /// Its limit of requests in flight.
    pub(super) gate: Gate,
    /// When its target may start, as far as the run itself is concerned.
    pub(super) earliest: Instant,
    /// The rate that it was told.
    pub(super) rate: Option<&'a Rate>,
    /// The delay that the host asks for.
    pub(super) delay: Duration,
}

/// What is known about a target that has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// The limit of the run.
    pub(super) gate: Gate,
    /// What it says about the load of the host.
    pub(super) answer: Answer,
    /// When the last request was sent that has ended.
    pub(super) sent_at: Instant,
    /// The delay that the host asks for.
    pub(super) delay: Duration,
}

/// Permission to start one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Permit {
    /// When it may start.
    pub(super) start: Instant,
    /// The limit at present.
    pub(super) in_flight_max: u32,
}

/// What a run is told when it returns a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Returned {
    /// The limit from now on.
    pub(super) in_flight_max: u32,
    /// Nothing may start before this instant.
    pub(super) paused_until: Option<Instant>,
}

impl SharedHost {
    fn in_flight(&self) -> u32 {
        self.held.values().sum()
    }

    fn is_forgettable(&self, now: Instant) -> bool {
        let fades_at = self.paused_until.max(self.next_start.map(NextStart::at)).max(self.control.fades_at());
        let unused = self.held.is_empty() && self.queue.is_empty() && self.rates.is_empty();
        unused && fades_at.is_none_or(|at| at <= now)
    }

    /// Returns the rate that currently applies, if any.
    fn rate(&self) -> Option<&Rate> {
        self.rates.values().max_by_key(|rate| rate.longest())
    }

    /// The next start, as far as the spacing is concerned, and when a run with `before` runs ahead of it may ask for it.
    fn next_start(&self, now: Instant, before: usize) -> (Instant, Instant) {
        let Some(next) = self.next_start.filter(|next| next.at() > now) else { return (now, now) };
        let ready_at = next.ready_at(now);
        // A run that has waited longer goes first, if it asks in time. Shortly after that, its place is known.
        let ahead = before.checked_sub(1).and_then(|place| self.queue.get(place));
        let reserved = match ahead {
            Some((_, again)) if now <= *again => *again + SOON_AFTER,
            Some((_, again)) => *again + START_KEPT,
            None => now,
        };
        (next.at(), ready_at.max(reserved))
    }

    /// Keeps the distance to the last request as it was sent, as one run alone does.
    fn keep_distance(&mut self, now: Instant, end: End) {
        let interval = self.rate().map_or(Duration::ZERO, Rate::least);
        let interval = interval.max(end.delay).max(self.control.interval(end.sent_at));
        if interval > Duration::ZERO {
            self.next_start.get_or_insert(NextStart::at_once(now)).take(end.sent_at, interval);
        }
    }

    /// Records a start at `start`.
    fn on_start(&mut self, now: Instant, start: Instant, delay: Duration, rng: &mut Rng) {
        let in_flight = self.in_flight();
        self.control.on_start(start, in_flight);
        let interval = self.rate().map_or(Duration::ZERO, |rate| rate.draw(rng));
        let interval = interval.max(delay).max(self.control.interval(start));
        if interval > Duration::ZERO {
            self.next_start.get_or_insert(NextStart::at_once(now)).take(start, interval);
        }
    }
}

/// One run's share. Everything it holds is released when its last copy is dropped.
#[derive(Debug, Clone)]
pub struct HostShare(Arc<Claim>);

#[derive(Debug)]
struct Claim {
    shares: HostShares,
    run: u64,
}

impl HostShares {
    /// Returns a share for a new run.
    #[must_use]
    pub fn share(&self) -> HostShare {
        let run = {
            let mut table = self.table();
            table.runs += 1;
            table.runs
        };
        HostShare(Arc::new(Claim { shares: self.clone(), run }))
    }

    /// Returns what was learned about the hosts that are still remembered.
    #[must_use]
    pub fn learned(&self, now: Instant) -> Vec<Learned> {
        let learned = |(name, shared): (&Arc<str>, &SharedHost)| {
            let (in_flight_max, pace_per_s) = shared.control.learned(now);
            let paused = shared.paused_until.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
            Learned::new(name, in_flight_max, pace_per_s, shared.control.is_search(), paused)
        };
        self.table().hosts.iter().filter_map(learned).collect()
    }

    /// Continues with what was learned earlier about hosts that no run has asked yet.
    pub fn teach(&self, now: Instant, learned: &[Learned]) {
        let mut table = self.table();
        for learned in learned {
            let Entry::Vacant(entry) = table.hosts.entry(Arc::from(learned.host.as_str())) else { continue };
            entry.insert(SharedHost {
                control: Control::resumed(now, learned.in_flight_max, learned.pace_per_s, learned.is_search),
                paused_until: Some(now + learned.paused()),
                ..SharedHost::default()
            });
        }
        table.sweep_at = table.hosts.len() * 2;
    }

    fn table(&self) -> MutexGuard<'_, HostTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostShare {
    /// Takes a permit of `host`, and the next start. On refusal, returns when to ask again.
    pub(super) fn take(
        &self,
        now: Instant,
        host: &Arc<str>,
        ask: Ask<'_>,
        rng: &mut Rng,
    ) -> Result<Permit, Instant> {
        let Claim { shares, run } = &*self.0;
        let mut table = shares.table();
        let shared = table.host(now, host);
        if let Some(rate) = ask.rate.filter(|_| !shared.rates.contains_key(run)) {
            shared.rates.insert(*run, rate.clone());
        }
        if let Some(until) = shared.paused_until.filter(|until| *until > now) {
            return Err(until);
        }
        let in_flight_max = shared.control.in_flight_max(now, ask.gate);
        let free = in_flight_max.saturating_sub(shared.in_flight()) as usize;
        shared.queue.retain(|(other, again)| other == run || now < *again + PLACE_KEPT);
        let place = shared.queue.iter().position(|(other, _)| other == run);
        let before = place.unwrap_or(shared.queue.len());
        let (start, ready_at) = shared.next_start(now, before);
        if before >= free || ready_at > now {
            let again = if ready_at > now { ready_at } else { now + ASK_AGAIN };
            match place.and_then(|place| shared.queue.get_mut(place)) {
                Some((_, expected)) => *expected = again,
                None => shared.queue.push_back((*run, again)),
            }
            return Err(again);
        }
        if let Some(place) = place {
            shared.queue.remove(place);
        }
        let start = start.max(ask.earliest);
        shared.on_start(now, start, ask.delay, rng);
        *shared.held.entry(*run).or_default() += 1;
        Ok(Permit { start, in_flight_max })
    }

    /// Releases a permit, and learns from how its target ended.
    pub(super) fn give_back(&self, now: Instant, host: &Arc<str>, end: End, rng: &mut Rng) -> Returned {
        let Claim { shares, run } = &*self.0;
        let mut table = shares.table();
        let shared = table.host(now, host);
        let in_flight = shared.in_flight();
        shared.keep_distance(now, end);
        let paused_until = shared.control.on_end(now, in_flight, end.answer, rng);
        shared.paused_until = shared.paused_until.max(paused_until);
        if let Some(held) = shared.held.get_mut(run) {
            *held -= 1;
            if *held == 0 {
                shared.held.remove(run);
            }
        }
        let in_flight_max = shared.control.in_flight_max(now, end.gate);
        table.settle(now, host);
        Returned { in_flight_max, paused_until }
    }

    /// Records that the run has no more targets waiting for `host`.
    pub(super) fn leave(&self, now: Instant, host: &Arc<str>) {
        let Claim { shares, run } = &*self.0;
        let mut table = shares.table();
        let Some(shared) = table.hosts.get_mut(host) else { return };
        shared.queue.retain(|(other, _)| other != run);
        shared.rates.remove(run);
        table.settle(now, host);
    }

    /// Whether the host has a pace.
    pub(super) fn pace_per_s(&self, at: Instant, host: &Arc<str>) -> Option<f64> {
        self.0.shares.table().hosts.get(host)?.control.pace_per_s(at)
    }

    /// Says whether refusals may have another cause than the pace, and how often the pauses may then be doubled.
    pub(super) fn set_doubt(&self, host: &Arc<str>, doublings_max: Option<u32>) {
        if let Some(shared) = self.0.shares.table().hosts.get_mut(host) {
            shared.control.set_doubt(doublings_max);
        }
    }

    /// Forgets the pace of the host, because nothing limits it.
    pub(super) fn forget_pace(&self, host: &Arc<str>) {
        if let Some(shared) = self.0.shares.table().hosts.get_mut(host) {
            shared.control.forget_pace();
        }
    }

    /// Records that the host asked for a pause until `until`.
    pub(super) fn pause(&self, host: &Arc<str>, until: Instant) {
        let mut table = self.0.shares.table();
        let paused = &mut table.hosts.entry(Arc::clone(host)).or_default().paused_until;
        *paused = Some(paused.map_or(until, |paused| paused.max(until)));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let run = self.run;
        self.shares.table().hosts.retain(|_, shared| {
            shared.held.remove(&run);
            shared.queue.retain(|(other, _)| *other != run);
            shared.rates.remove(&run);
            // Pauses, starts and what was learned outlive the run. Such hosts are forgotten in a later sweep.
            let learned = shared.control.fades_at().is_some();
            let counts = learned || shared.paused_until.is_some() || shared.next_start.is_some();
            counts || !shared.held.is_empty() || !shared.queue.is_empty() || !shared.rates.is_empty()
        });
    }
}

#[cfg(test)]
mod tests;
