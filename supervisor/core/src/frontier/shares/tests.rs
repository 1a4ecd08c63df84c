//! Guarantees of [`HostShare`], alone and under several frontiers, in virtual time.

use super::*;
use crate::frontier::PerHost;
use crate::frontier::tests::{SECOND, config, host as target, limit};
use crate::frontier::{Frontier, HostId, Start};
use crate::load::limit::Range;

fn host() -> Arc<str> {
    Arc::from("h")
}

fn rng() -> Rng {
    Rng::with_seed(1)
}

fn ask(now: Instant, limit: Option<u32>, rate: Option<&Rate>) -> Ask<'_> {
    Ask { gate: Gate::Fixed(limit.unwrap_or(u32::MAX)), earliest: now, rate, delay: Duration::ZERO }
}

/// Takes a permit, and returns when its target may start.
fn start(share: &HostShare, now: Instant, rate: Option<&Rate>) -> Result<Instant, Instant> {
    share.take(now, &host(), ask(now, None, rate), &mut rng()).map(|permit| permit.start)
}

fn take(share: &HostShare, now: Instant, limit: Option<u32>, rate: Option<&Rate>) -> Result<(), Instant> {
    share.take(now, &host(), ask(now, limit, rate), &mut rng()).map(|_| ())
}

fn end(gate: Gate, answer: Answer, sent_at: Instant) -> End {
    End { gate, answer, sent_at, delay: Duration::ZERO }
}

fn give_back(share: &HostShare, now: Instant) {
    share.give_back(now, &host(), end(Gate::Fixed(u32::MAX), Answer::Unknown, now), &mut rng());
}

#[test]
fn all_runs_share_one_limit() {
    let (shares, now) = (HostShares::default(), wire::clock::now());
    let (one, two) = (shares.share(), shares.share());
    for _ in 0..3 {
        assert_eq!(take(&one, now, Some(3), None), Ok(()));
    }
    assert!(take(&one, now, Some(3), None).is_err());
    assert!(take(&two, now, Some(3), None).is_err());
    drop(one);
    assert_eq!(take(&two, now, Some(3), None), Ok(()), "a run's permits are released when it ends");
}

#[test]
fn a_released_permit_goes_to_the_run_that_waited_longest() {
    let (shares, now) = (HostShares::default(), wire::clock::now());
    let (one, two) = (shares.share(), shares.share());
    assert_eq!(take(&one, now, Some(1), None), Ok(()));
    assert!(take(&two, now, Some(1), None).is_err());
    give_back(&one, now);
    assert!(take(&one, now, Some(1), None).is_err(), "another run waits");
    assert_eq!(take(&two, now, Some(1), None), Ok(()));
    give_back(&two, now);
    assert_eq!(take(&one, now, Some(1), None), Ok(()));
    give_back(&one, now);
    // A run that no longer wants it delays nobody.
    assert_eq!(take(&two, now, Some(1), None), Ok(()));
    assert!(take(&one, now, Some(1), None).is_err());
    one.leave(now, &host());
    give_back(&two, now);
    assert_eq!(take(&two, now, Some(1), None), Ok(()));
}

#[test]
fn a_pause_of_one_run_holds_for_all() {
    let (shares, now) = (HostShares::default(), wire::clock::now());
    let (one, two) = (shares.share(), shares.share());
    let until = now + Duration::from_secs(9);
    one.pause(&host(), until);
    drop(one);
    assert_eq!(take(&two, now, Some(8), None), Err(until));
    assert_eq!(take(&two, until, Some(8), None), Ok(()));
    give_back(&two, now);
    two.leave(until, &host());
    assert!(shares.table().hosts.is_empty());
}

#[test]
fn a_run_that_does_not_ask_again_loses_its_place() {
    let (shares, now) = (HostShares::default(), wire::clock::now());
    let (one, two) = (shares.share(), shares.share());
    assert_eq!(take(&one, now, Some(1), None), Ok(()));
    assert!(take(&two, now, Some(1), None).is_err());
    give_back(&one, now);
    // It drains, or all its workers have enough to do.
    let mut at = now;
    while let Err(again) = take(&one, at, Some(1), None) {
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
                give_back(&runs[run], now);
            } else if take(&runs[run], now, Some(limit), None).is_ok() {
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
    assert_eq!(start(&fast, now, Some(&ten_a_second)), Ok(now));
    assert_eq!(start(&fast, now, Some(&ten_a_second)), Err(ms(95)));
    assert_eq!(start(&fast, ms(95), Some(&ten_a_second)), Ok(ms(100)), "handed out ahead");
    assert_eq!(start(&slow, ms(100), Some(&two_a_second)), Err(ms(195)));
    assert_eq!(start(&slow, ms(195), Some(&two_a_second)), Ok(ms(200)));
    assert_eq!(start(&fast, ms(300), Some(&ten_a_second)), Err(ms(695)), "the lower rate applies");
    let behind = ms(695) + SOON_AFTER;
    assert_eq!(start(&any, ms(300), None), Err(behind), "to all runs, and behind the run that waits longer");
    assert_eq!(start(&any, ms(705), None), Ok(ms(705)), "the first run did not ask in time");
    slow.leave(ms(706), &host());
    assert_eq!(start(&fast, ms(1_205), Some(&ten_a_second)), Ok(ms(1_205)));
    let after = start(&fast, ms(1_305), Some(&ten_a_second));
    assert_eq!(after, Ok(ms(1_305)), "the run with the lower rate is gone");
}

#[test]
fn runs_share_the_limit_that_one_of_them_has_learned() {
    let (shares, now) = (HostShares::default(), wire::clock::now());
    let (one, two) = (shares.share(), shares.share());
    let gate = Gate::Adaptive(Range { start: 4, max: 16 });
    let ask = Ask { gate, earliest: now, rate: None, delay: Duration::ZERO };
    let mut at = now;
    for _ in 0..4 {
        assert_eq!(one.take(at, &host(), ask, &mut rng()).unwrap().in_flight_max, 4);
    }
    for n in 0..8 {
        at += SECOND / 4;
        let served = Answer::Served { first_byte: None };
        let returned = one.give_back(at, &host(), end(gate, served, at), &mut rng());
        assert_eq!(returned.in_flight_max, if n < 7 { 4 } else { 8 });
        one.take(at, &host(), ask, &mut rng()).unwrap();
    }
    drop(one);
    assert_eq!(two.take(at, &host(), ask, &mut rng()).unwrap().in_flight_max, 8);
    two.give_back(at, &host(), end(gate, Answer::Refused { sent_at: at }, at), &mut rng());
    assert!(two.take(at, &host(), ask, &mut rng()).is_err(), "a refusal pauses the host");
    let three = shares.share();
    assert!(three.take(at, &host(), ask, &mut rng()).is_err(), "for all runs");
}

#[test]
fn hosts_are_forgotten_after_their_runs_ended() {
    let (shares, mut now) = (HostShares::default(), wire::clock::now());
    let rate = Rate::new(1.0);
    for name in 0..100 * SWEEP_MIN {
        let run = shares.share();
        let host = Arc::from(name.to_string());
        assert_eq!(run.take(now, &host, ask(now, Some(8), Some(&rate)), &mut rng()).map(|_| ()), Ok(()));
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
            self.frontiers[run].release(now, host, Answer::Served { first_byte: None });
        }
        for run in 0..self.frontiers.len() {
            while let Some(Start { host, not_before, .. }) = self.frontiers[run].pop(now) {
                let start = not_before.unwrap_or(now);
                self.starts.push((start, run));
                self.under_way.push((start + Duration::from_millis(rng.u64(1..50)), run, host));
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
        let mut starts: Vec<_> = together.starts.into_iter().filter(|(at, _)| *at > start).collect();
        starts.sort();
        let interval = SECOND.div_f64(lowest);
        for (i, (from, _)) in starts.iter().enumerate() {
            for (n, (to, _)) in (1_u32..200).zip(&starts[i..]) {
                let least = interval * (n - 1);
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

#[test]
fn what_was_learned_about_a_host_is_kept_for_the_next_service() {
    let (first, now) = (HostShares::default(), wire::clock::now());
    let share = first.share();
    let range = Range { start: 4, max: 16 };
    let ask = || Ask { gate: Gate::Adaptive(range), ..ask(now, None, None) };
    assert!(share.take(now, &host(), ask(), &mut rng()).is_ok());
    let refused = Answer::Refused { sent_at: now };
    share.give_back(now, &host(), end(Gate::Adaptive(range), refused, now), &mut rng());
    let learned = first.learned(now);
    assert_eq!(learned.len(), 1);
    assert!(learned[0].pace_per_s.is_some() && learned[0].paused_ms > 0, "{learned:?}");
    let second = HostShares::default();
    let known = Learned { in_flight_max: Some(9), ..learned[0].clone() };
    second.teach(now, &[known.clone(), Learned { host: "other".to_owned(), ..known.clone() }]);
    assert!(second.share().take(now, &host(), ask(), &mut rng()).is_err(), "it is still paused");
    let later = now + SECOND;
    let permit = second.share().take(later, &host(), Ask { earliest: later, ..ask() }, &mut rng()).unwrap();
    assert_eq!(permit.in_flight_max, 9);
    assert_eq!(second.learned(later).len(), 2);
}
