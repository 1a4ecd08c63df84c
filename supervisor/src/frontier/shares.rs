//! Hosts that several runs ask at once: one budget for all of them.
//!
//! A run's own frontier decides as it does alone, and then asks here. Who is refused has a place in a
//! queue and asks again soon; a permit that comes back is kept for who is first in it, so that a run
//! with many requests in flight does not take every permit again before another one sees it free.
//! Who does not ask again, since it ends or all its workers are busy, does not keep its place.
//! What one run was told to wait (`Retry-After`), all of them wait.
//!
//! The limit is that of whoever asks: with different ones, the stricter run waits until no more are in
//! flight than it allows itself.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

/// After which a run that was refused asks again: nobody tells it when a permit comes back.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// After which a run that has not asked again has no place in the queue any more.
const PLACE_KEPT: Duration = Duration::from_secs(1);

/// The budgets of all hosts, for as many runs as like.
#[derive(Debug, Clone, Default)]
pub struct HostShares(Arc<Mutex<Ledger>>);

#[derive(Debug, Default)]
struct Ledger {
    hosts: FxHashMap<Arc<str>, Shared>,
    runs: u64,
    /// When somebody last asked for a permit.
    asked: Option<Instant>,
}

/// What is known of one host.
#[derive(Debug, Default)]
struct Shared {
    /// Permits out, by run.
    held: FxHashMap<u64, u32>,
    /// Runs that were refused, in that order, and when they last asked.
    queue: VecDeque<(u64, Instant)>,
    paused_until: Option<Instant>,
}

impl Shared {
    fn in_flight(&self) -> u32 {
        self.held.values().sum()
    }

    fn is_forgettable(&self, now: Option<Instant>) -> bool {
        let paused = self.paused_until.is_some_and(|until| now.is_none_or(|now| until > now));
        self.held.is_empty() && self.queue.is_empty() && !paused
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
    /// Takes a permit of `host`, of which there are `limit`; or when to ask again.
    pub(super) fn take(&self, now: Instant, host: &Arc<str>, limit: u32) -> Result<(), Instant> {
        let Claim { shares, run } = &*self.0;
        let mut ledger = shares.ledger();
        ledger.asked = ledger.asked.max(Some(now));
        let shared = ledger.hosts.entry(Arc::clone(host)).or_default();
        if let Some(until) = shared.paused_until.filter(|until| *until > now) {
            return Err(until);
        }
        let is_there = |asked: Instant| now.saturating_duration_since(asked) < PLACE_KEPT;
        shared.queue.retain(|(other, asked)| other == run || is_there(*asked));
        let free = limit.saturating_sub(shared.in_flight()) as usize;
        let place = shared.queue.iter().position(|(other, _)| other == run);
        if place.unwrap_or(shared.queue.len()) < free {
            if let Some(place) = place {
                shared.queue.remove(place);
            }
            *shared.held.entry(*run).or_default() += 1;
            return Ok(());
        }
        match place.and_then(|place| shared.queue.get_mut(place)) {
            Some((_, asked)) => *asked = now,
            None => shared.queue.push_back((*run, now)),
        }
        Err(now + ASK_AGAIN)
    }

    /// A permit comes back.
    pub(super) fn give_back(&self, host: &Arc<str>) {
        let Claim { shares, run } = &*self.0;
        let mut ledger = shares.ledger();
        let Some(shared) = ledger.hosts.get_mut(host) else { return };
        if let Some(held) = shared.held.get_mut(run) {
            *held -= 1;
            if *held == 0 {
                shared.held.remove(run);
            }
        }
        if shared.is_forgettable(None) {
            ledger.hosts.remove(host);
        }
    }

    /// The run has nothing that waits for `host` any more.
    pub(super) fn leave(&self, now: Instant, host: &Arc<str>) {
        let Claim { shares, run } = &*self.0;
        let mut ledger = shares.ledger();
        let Some(shared) = ledger.hosts.get_mut(host) else { return };
        shared.queue.retain(|(other, _)| other != run);
        if shared.is_forgettable(Some(now)) {
            ledger.hosts.remove(host);
        }
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
        let mut ledger = self.shares.ledger();
        let asked = ledger.asked;
        ledger.hosts.retain(|_, shared| {
            shared.held.remove(&run);
            shared.queue.retain(|(other, _)| *other != run);
            // A pause outlives the run that was told; it is forgotten by the next one to leave after it.
            !shared.is_forgettable(asked)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Arc<str> {
        Arc::from("h")
    }

    #[test]
    fn all_runs_together_have_no_more_than_one_may() {
        let (shares, now) = (HostShares::default(), shared::clock::now());
        let (one, two) = (shares.share(), shares.share());
        for _ in 0..3 {
            assert_eq!(one.take(now, &host(), 3), Ok(()));
        }
        assert!(one.take(now, &host(), 3).is_err());
        assert!(two.take(now, &host(), 3).is_err());
        drop(one);
        assert_eq!(two.take(now, &host(), 3), Ok(()), "what a run held comes back with its end");
    }

    #[test]
    fn a_permit_that_comes_back_is_for_who_waited_longest() {
        let (shares, now) = (HostShares::default(), shared::clock::now());
        let (one, two) = (shares.share(), shares.share());
        assert_eq!(one.take(now, &host(), 1), Ok(()));
        assert!(two.take(now, &host(), 1).is_err());
        one.give_back(&host());
        assert!(one.take(now, &host(), 1).is_err(), "somebody waits");
        assert_eq!(two.take(now, &host(), 1), Ok(()));
        two.give_back(&host());
        assert_eq!(one.take(now, &host(), 1), Ok(()));
        one.give_back(&host());
        // One that does not want it any more holds up nobody.
        assert_eq!(two.take(now, &host(), 1), Ok(()));
        assert!(one.take(now, &host(), 1).is_err());
        one.leave(now, &host());
        two.give_back(&host());
        assert_eq!(two.take(now, &host(), 1), Ok(()));
    }

    #[test]
    fn what_one_run_was_told_to_wait_all_wait() {
        let (shares, now) = (HostShares::default(), shared::clock::now());
        let (one, two) = (shares.share(), shares.share());
        let until = now + Duration::from_secs(9);
        one.pause(&host(), until);
        drop(one);
        assert_eq!(two.take(now, &host(), 8), Err(until));
        assert_eq!(two.take(until, &host(), 8), Ok(()));
        two.give_back(&host());
        two.leave(until, &host());
        assert!(shares.ledger().hosts.is_empty());
    }

    #[test]
    fn who_does_not_ask_again_holds_up_nobody() {
        let (shares, now) = (HostShares::default(), shared::clock::now());
        let (one, two) = (shares.share(), shares.share());
        assert_eq!(one.take(now, &host(), 1), Ok(()));
        assert!(two.take(now, &host(), 1).is_err());
        one.give_back(&host());
        // It drains, or all its workers have enough to do.
        let mut at = now;
        while one.take(at, &host(), 1).is_err() {
            at += ASK_AGAIN;
            assert!(at < now + Duration::from_secs(5), "a permit that is free is given to nobody");
        }
    }

    #[test]
    fn a_pause_that_is_over_is_forgotten_with_the_runs() {
        let (shares, now) = (HostShares::default(), shared::clock::now());
        let (one, two, three) = (shares.share(), shares.share(), shares.share());
        one.pause(&host(), now + Duration::from_secs(1));
        drop(one);
        let later = now + Duration::from_secs(2);
        assert_eq!(two.take(now, &Arc::from("other"), 1), Ok(()));
        drop(two);
        assert!(three.take(now, &host(), 1).is_err(), "all runs wait");
        assert_eq!(three.take(later, &Arc::from("other"), 1), Ok(()));
        drop(three);
        assert!(shares.ledger().hosts.is_empty());
    }

    /// Runs take and give back as they like: the sum is never above the limit, and nobody starves.
    #[test]
    fn over_many_histories_nobody_starves() {
        for seed in 0..500 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (shares, start) = (HostShares::default(), shared::clock::now());
            let limit = rng.u32(1..6);
            let runs: Vec<HostShare> = (0..rng.usize(2..6)).map(|_| shares.share()).collect();
            let mut held = vec![0_u32; runs.len()];
            let mut taken = vec![0_u32; runs.len()];
            for step in 0..2_000 {
                let run = rng.usize(0..runs.len());
                if held[run] > 0 && rng.bool() {
                    held[run] -= 1;
                    runs[run].give_back(&host());
                } else if runs[run].take(start + Duration::from_millis(step), &host(), limit).is_ok() {
                    held[run] += 1;
                    taken[run] += 1;
                }
                assert!(held.iter().sum::<u32>() <= limit, "seed {seed}");
            }
            let (least, most) = (taken.iter().min().unwrap(), taken.iter().max().unwrap());
            assert!(least * 3 > *most, "seed {seed}: {taken:?}");
        }
    }
}
