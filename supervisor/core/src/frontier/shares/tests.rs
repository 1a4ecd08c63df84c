//! Guarantees of [`HostShare`], alone and under several frontiers, in virtual time.

use super::*;
use crate::frontier::PerHost;
use crate::frontier::tests::{SECOND, config, host as target, limit};
use crate::frontier::{Frontier, HostId};

fn host() -> Arc<str> {
    Arc::from("h")
}

#[test]
fn all_runs_share_one_limit() {
    let (shares, now) = (HostShares::default(), wire::clock::now());
    let (one, two) = (shares.share(), shares.share());
    for _ in 0..3 {
        assert_eq!(one.take(now, &host(), Some(3), None), Ok(()));
    }
    assert!(one.take(now, &host(), Some(3), None).is_err());
    assert!(two.take(now, &host(), Some(3), None).is_err());
    drop(one);
    assert_eq!(two.take(now, &host(), Some(3), None), Ok(()), "a run's permits are released when it ends");
}

#[test]
fn a_released_permit_goes_to_the_run_that_waited_longest() {
    let (shares, now) = (HostShares::default(), wire::clock::now());
    let (one, two) = (shares.share(), shares.share());
    assert_eq!(one.take(now, &host(), Some(1), None), Ok(()));
    assert!(two.take(now, &host(), Some(1), None).is_err());
    one.give_back(now, &host());
    assert!(one.take(now, &host(), Some(1), None).is_err(), "another run waits");
    assert_eq!(two.take(now, &host(), Some(1), None), Ok(()));
    two.give_back(now, &host());
    assert_eq!(one.take(now, &host(), Some(1), None), Ok(()));
    one.give_back(now, &host());
    // A run that no longer wants it delays nobody.
    assert_eq!(two.take(now, &host(), Some(1), None), Ok(()));
    assert!(one.take(now, &host(), Some(1), None).is_err());
    one.leave(now, &host());
    two.give_back(now, &host());
    assert_eq!(two.take(now, &host(), Some(1), None), Ok(()));
}

#[test]
fn a_pause_of_one_run_holds_for_all() {
    let (shares, now) = (HostShares::default(), wire::clock::now());
    let (one, two) = (shares.share(), shares.share());
    let until = now + Duration::from_secs(9);
    one.pause(&host(), until);
    drop(one);
    assert_eq!(two.take(now, &host(), Some(8), None), Err(until));
    assert_eq!(two.take(until, &host(), Some(8), None), Ok(()));
    two.give_back(now, &host());
    two.leave(until, &host());
    assert!(shares.table().hosts.is_empty());
}

#[test]
fn a_run_that_does_not_ask_again_loses_its_place() {
    let (shares, now) = (HostShares::default(), wire::clock::now());
    let (one, two) = (shares.share(), shares.share());
    assert_eq!(one.take(now, &host(), Some(1), None), Ok(()));
    assert!(two.take(now, &host(), Some(1), None).is_err());
    one.give_back(now, &host());
    // It drains, or all its workers have enough to do.
    let mut at = now;
    while let Err(again) = one.take(at, &host(), Some(1), None) {
        at = again;
        assert!(at < now + SECOND * 5, "a free permit is never given out");
    }
}

/// Runs take and release permits at random: the sum never exceeds the limit, and no run starves.
#[test]
fn no_run_starves_over_many_histories() {
    for seed in 0..500 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (shares, start) = (HostShares::default(), wire::clock::now());
        let limit = rng.u32(1..6);
        let runs: Vec<HostShare> = (0..rng.usize(2..6)).map(|_| shares.share()).collect();
        let mut held = vec![0_u32; runs.len()];
        let mut taken = vec![0_u32; runs.len()];
        for step in 0..2_000 {
            let now = start + Duration::from_millis(step);
            let run = rng.usize(0..runs.len());
            if held[run] > 0 && rng.bool() {
                held[run] -= 1;
                runs[run].give_back(now, &host());
            } else if runs[run].take(now, &host(), Some(limit), None).is_ok() {
                held[run] += 1;
                taken[run] += 1;
            }
            assert!(held.iter().sum::<u32>() <= limit, "seed {seed}");
        }
        let (least, most) = (taken.iter().min().unwrap(), taken.iter().max().unwrap());
        assert!(least * 3 > *most, "seed {seed}: {taken:?}");
    }
}

#[test]
fn all_runs_share_the_lowest_rate() {
    let (shares, now) = (HostShares::default(), wire::clock::now());
    let (slow, fast, any) = (shares.share(), shares.share(), shares.share());
    let (two_a_second, ten_a_second) = (Rate::new(2.0), Rate::new(10.0));
    let ms = |ms| now + Duration::from_millis(ms);
    assert_eq!(fast.take(now, &host(), None, Some(&ten_a_second)), Ok(()));
    assert_eq!(fast.take(now, &host(), None, Some(&ten_a_second)), Err(ms(100)));
    assert_eq!(fast.take(ms(100), &host(), None, Some(&ten_a_second)), Ok(()));
    assert_eq!(slow.take(ms(100), &host(), None, Some(&two_a_second)), Err(ms(200)));
    assert_eq!(slow.take(ms(200), &host(), None, Some(&two_a_second)), Ok(()));
    assert_eq!(
        fast.take(ms(300), &host(), None, Some(&ten_a_second)),
        Err(ms(700)),
        "the lower rate applies"
    );
    assert_eq!(
        any.take(ms(300), &host(), None, None),
        Err(ms(710)),
        "to all runs, and behind the run that waits longer"
    );
    assert_eq!(any.take(ms(710), &host(), None, None), Ok(()), "the first run did not ask in time");
    slow.leave(ms(711), &host());
    assert_eq!(fast.take(ms(1_210), &host(), None, Some(&ten_a_second)), Ok(()));
    assert_eq!(
        fast.take(ms(1_310), &host(), None, Some(&ten_a_second)),
        Ok(()),
        "the run with the lower rate is gone"
    );
}

#[test]
fn hosts_are_forgotten_after_their_runs_ended() {
    let (shares, mut now) = (HostShares::default(), wire::clock::now());
    let rate = Rate::new(1.0);
    for name in 0..100 * SWEEP_MIN {
        let run = shares.share();
        let host = Arc::from(name.to_string());
        assert_eq!(run.take(now, &host, Some(8), Some(&rate)), Ok(()));
        drop(run);
        now += SECOND;
    }
    let kept = shares.table().hosts.len();
    assert!(kept <= 2 * SWEEP_MIN, "{kept}");
}

/// Several frontiers that share one host, in virtual time.
struct Together {
    now: Instant,
    frontiers: Vec<Frontier>,
    /// When each target comes back, and to which frontier.
    under_way: Vec<(Instant, usize, HostId)>,
    starts: Vec<(Instant, usize)>,
}

impl Together {
    fn turn(&mut self, rng: &mut fastrand::Rng) {
        let now = self.now;
        let (over, under_way) = self.under_way.iter().partition(|(at, ..)| *at <= now);
        self.under_way = under_way;
        for (_, run, host) in over {
            self.frontiers[run].release(now, host);
        }
        for run in 0..self.frontiers.len() {
            while let Some((_, host)) = self.frontiers[run].pop(now) {
                self.starts.push((now, run));
                self.under_way.push((now + Duration::from_millis(rng.u64(1..50)), run, host));
            }
        }
        let due = self.frontiers.iter().filter_map(Frontier::next_due);
        self.now = due.chain(self.under_way.iter().map(|(at, ..)| *at)).min().expect("targets are left");
        assert!(self.now > now, "time stands still");
    }
}

#[test]
fn frontiers_together_keep_to_the_lowest_rate_and_share_it() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (shares, start) = (HostShares::default(), wire::clock::now());
        let count = rng.usize(2..5);
        let mut rates: Vec<Option<f64>> = (0..count)
            .map(|_| *rng.choice(&[None, Some(3.0), Some(15.0), Some(40.0), Some(200.0)]).unwrap())
            .collect();
        let Some(lowest) = rates.iter().flatten().copied().min_by(f64::total_cmp) else { continue };
        // The lowest rate comes first; otherwise runs without a rate would take all their targets
        // at once.
        rates.sort_by(|a, b| a.unwrap_or(f64::MAX).total_cmp(&b.unwrap_or(f64::MAX)));
        let frontiers = rates.iter().map(|rate| {
            let per_host = *rng.choice(&[PerHost::Unlimited, PerHost::Auto, limit(12)]).unwrap();
            let mut frontier = Frontier::new(config(per_host, *rate), seed).sharing(Some(shares.share()));
            (0..5_000).for_each(|id| frontier.push(start, id, target("h")));
            frontier
        });
        let frontiers = frontiers.collect();
        let mut together = Together { now: start, frontiers, under_way: Vec::new(), starts: Vec::new() };
        let until = start + SECOND.mul_f64(60.0 * count as f64 / lowest);
        while together.now < until {
            together.turn(&mut rng);
        }
        // At the very beginning the first run cannot know who else will ask.
        let starts: Vec<_> = together.starts.into_iter().filter(|(at, _)| *at > start).collect();
        let (burst, interval) = ((lowest / 10.0).max(1.0) as u32, SECOND.div_f64(lowest));
        for (i, (from, _)) in starts.iter().enumerate() {
            for (n, (to, _)) in (1_u32..200).zip(&starts[i..]) {
                let least = interval * n.saturating_sub(burst);
                assert!(*to - *from >= least, "seed {seed}: {n} starts in {:?}, {rates:?}", *to - *from);
            }
        }
        let of_each: Vec<_> =
            (0..count).map(|run| starts.iter().filter(|(_, other)| *other == run).count()).collect();
        let (least, most) = (of_each.iter().min().unwrap(), of_each.iter().max().unwrap());
        assert!(least * 3 > *most, "seed {seed}: {of_each:?}, {rates:?}");
        assert!(starts.len() > 40 * count, "seed {seed}: {} starts, {rates:?}", starts.len());
    }
}
