//! Hosts that several runs ask at once: one budget and one rate for all of them.
//!
//! A run's own frontier decides as it does alone, and then asks here. Who is refused has a place in a
//! queue and asks again soon; a permit that comes back is kept for who is first in it, so that a run
//! with many requests in flight does not take every permit again before another one sees it free.
//! What one run was told to wait (`Retry-After`), all of them wait.
//!
//! The limit is that of whoever asks: with different ones, the stricter run waits until no more are in
//! flight than it allows itself. The rate is the lowest that any run asks for which has something to do
//! with the host, and holds for those as well that ask for none: it is the host that is to be spared.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use super::rate::{Bucket, Rate};

/// After which a run that was refused asks again: nobody tells it when a permit comes back.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// After which a run that has not asked again has no place in the queue any more.
const PLACE_KEPT: Duration = Duration::from_secs(1);

/// The budgets of all hosts, for as many runs as like.
#[derive(Debug, Clone, Default)]
pub struct HostShares(Arc<Mutex<Ledger>>);

/// How long a token is kept for the run that has waited longest for it.
const TOKEN_KEPT: Duration = Duration::from_millis(10);

/// Hosts below which nobody looks for some to forget.
const SWEEP_MIN: usize = 64;

#[derive(Debug, Default)]
struct Ledger {
    hosts: FxHashMap<Arc<str>, Shared>,
    runs: u64,
    /// So many hosts are looked through for some to forget.
    sweep_at: usize,
}

impl Ledger {
    fn host(&mut self, now: Instant, name: &Arc<str>) -> &mut Shared {
        // Where memory grows is where it is given back.
        if self.hosts.len() >= self.sweep_at.max(SWEEP_MIN) && !self.hosts.contains_key(name) {
            self.hosts.retain(|_, shared| !shared.is_forgettable(now));
            self.sweep_at = self.hosts.len() * 2;
        }
        self.hosts.entry(Arc::clone(name)).or_default()
    }

    /// Forgets a host of which nothing counts any more.
    fn settle(&mut self, now: Instant, name: &Arc<str>) {
        if let Entry::Occupied(entry) = self.hosts.entry(Arc::clone(name))
            && entry.get().is_forgettable(now)
        {
            entry.remove();
        }
    }
}

/// What is known of one host.
#[derive(Debug, Default)]
struct Shared {
    /// Permits out, by run.
    held: FxHashMap<u64, u32>,
    /// Runs that were refused, in that order, and when each may be expected to ask again.
    queue: VecDeque<(u64, Instant)>,
    /// What runs ask for that have something to do with it.
    rates: FxHashMap<u64, Rate>,
    /// Starts of all runs; `None` is full.
    bucket: Option<Bucket>,
    paused_until: Option<Instant>,
}

impl Shared {
    fn in_flight(&self) -> u32 {
        self.held.values().sum()
    }

    fn is_forgettable(&self, now: Instant) -> bool {
        let fades_at = self.paused_until.max(self.bucket.map(Bucket::full_at));
        let unused = self.held.is_empty() && self.queue.is_empty() && self.rates.is_empty();
        unused && fades_at.is_none_or(|at| at <= now)
    }

    /// The rate that holds now, if any does.
    fn rate(&self) -> Option<&Rate> {
        self.rates.values().max_by_key(|rate| rate.interval())
    }

    /// When a run with so many before it may start, as far as the rate goes.
    fn token_at(&self, now: Instant, before: usize) -> Option<Instant> {
        let at = self.bucket?.next_at(now, self.rate()?);
        // Who waits longer goes first, if it is there.
        Some(if before == 0 { at } else { at + TOKEN_KEPT })
    }
}

/// One run's part. All it holds comes back when the last copy of it is gone.
#[derive(Debug, Clone)]
pub struct HostShare(Arc<Claim>);

#[derive(Debug)]
struct Claim {
    shares: HostShares,
    run: u64,
}

impl HostShares {
    /// A part for a run that begins.
    #[must_use]
    pub fn share(&self) -> HostShare {
        let run = {
            let mut ledger = self.ledger();
            ledger.runs += 1;
            ledger.runs
        };
        HostShare(Arc::new(Claim { shares: self.clone(), run }))
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostShare {
    /// Takes a permit of `host`, of which there are `limit` (or as many as anybody likes), and a token of
    /// its rate, for which this run asks for `rate`; or when to ask again.
    pub(super) fn take(
        &self,
        now: Instant,
        host: &Arc<str>,
        limit: Option<u32>,
        rate: Option<&Rate>,
    ) -> Result<(), Instant> {
        let Claim { shares, run } = &*self.0;
        let mut ledger = shares.ledger();
        let shared = ledger.host(now, host);
        if let Some(rate) = rate.filter(|_| !shared.rates.contains_key(run)) {
            shared.rates.insert(*run, rate.clone());
        }
        if let Some(until) = shared.paused_until.filter(|until| *until > now) {
            return Err(until);
        }
        let free = limit.map_or(usize::MAX, |limit| limit.saturating_sub(shared.in_flight()) as usize);
        shared.queue.retain(|(other, again)| other == run || now < *again + PLACE_KEPT);
        let place = shared.queue.iter().position(|(other, _)| other == run);
        let before = place.unwrap_or(shared.queue.len());
        let token_at = shared.token_at(now, before).filter(|at| *at > now);
        if before >= free || token_at.is_some() {
            let again = token_at.unwrap_or(now + ASK_AGAIN);
            match place.and_then(|place| shared.queue.get_mut(place)) {
                Some((_, expected)) => *expected = again,
                None => shared.queue.push_back((*run, again)),
            }
            return Err(again);
        }
        if let Some(place) = place {
            shared.queue.remove(place);
        }
        if let Some(rate) = shared.rate().cloned() {
            shared.bucket.get_or_insert(Bucket::full(now)).take(now, &rate);
        }
        if limit.is_some() {
            *shared.held.entry(*run).or_default() += 1;
        }
        Ok(())
    }

    /// A permit comes back.
    pub(super) fn give_back(&self, now: Instant, host: &Arc<str>) {
        let Claim { shares, run } = &*self.0;
        let mut ledger = shares.ledger();
        let Some(shared) = ledger.hosts.get_mut(host) else { return };
        if let Some(held) = shared.held.get_mut(run) {
            *held -= 1;
            if *held == 0 {
                shared.held.remove(run);
            }
        }
        ledger.settle(now, host);
    }

    /// The run has nothing that waits for `host` any more.
    pub(super) fn leave(&self, now: Instant, host: &Arc<str>) {
        let Claim { shares, run } = &*self.0;
        let mut ledger = shares.ledger();
        let Some(shared) = ledger.hosts.get_mut(host) else { return };
        shared.queue.retain(|(other, _)| other != run);
        shared.rates.remove(run);
        ledger.settle(now, host);
    }

    /// The host asked to be left alone until then.
    pub(super) fn pause(&self, host: &Arc<str>, until: Instant) {
        let mut ledger = self.0.shares.ledger();
        let paused = &mut ledger.hosts.entry(Arc::clone(host)).or_default().paused_until;
        *paused = Some(paused.map_or(until, |paused| paused.max(until)));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let run = self.run;
        self.shares.ledger().hosts.retain(|_, shared| {
            shared.held.remove(&run);
            shared.queue.retain(|(other, _)| *other != run);
            shared.rates.remove(&run);
            // A pause and what was started outlive the run; such hosts are forgotten when others are met.
            let counts = shared.paused_until.is_some() || shared.bucket.is_some();
            counts || !shared.held.is_empty() || !shared.queue.is_empty() || !shared.rates.is_empty()
        });
    }
}

#[cfg(test)]
mod tests;
