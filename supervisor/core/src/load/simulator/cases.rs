//! What the controllers must reach, case by case. The bounds are those that users are promised.

use super::server::{Capacity, RateLimit, Server};
use super::*;
use crate::frontier::Learned;
use crate::load::total::{Bound, Room};

const SEEDS: u64 = 10;

fn one(server: &Server, targets: u64, seed: u64) -> Run {
    Run::new(config(PerHost::Auto), vec![(server.clone(), targets)], seed)
}

/// From `first` to `other` at this time.
fn turning(first: Server, at_s: f64, other: Server) -> Server {
    Server { turns: Some((at_s, Box::new(other))), ..first }
}

#[test]
fn a_host_that_only_waits_is_asked_for_more_each_round() {
    for seed in 0..SEEDS {
        let took_s = one(&unlimited(1.0), 2_000, seed).run(1e6);
        assert!(took_s <= 6.5, "seed {seed}: {took_s} s");
    }
}

#[test]
fn a_slow_host_is_sent_little_while_a_quick_one_begins() {
    for seed in 0..SEEDS {
        let servers = vec![(unlimited(5.0), 500), (unlimited(0.001), 5_000)];
        let mut run = Run::new(config(PerHost::Auto), servers, seed);
        run.run(0.09);
        let started = |host: usize| run.sites[host].starts_ns.len();
        assert!(started(0) == 8 && started(1) > 1_000, "seed {seed}: {} and {}", started(0), started(1));
    }
}

#[test]
fn a_knee_is_found_from_above_and_below() {
    // Far below the limit at the beginning, what is sent first takes long to come back, and the runs are short.
    for (at, factor) in [(16, 1.4), (32, 1.25), (48, 1.2), (64, 1.2), (100, 1.2), (128, 1.1)] {
        let server = knee(at, 0.05);
        let targets = u64::from(at) * 125;
        let (best_s, _) = best_fixed(&server, targets);
        for seed in 0..SEEDS {
            let mut run = one(&server, targets, seed);
            let took_s = run.run(1e6);
            assert!(took_s <= factor * best_s, "knee {at}, seed {seed}: {took_s} s, best {best_s} s");
            let limits = run.sites[0].limits(took_s * 0.7, took_s);
            assert!(*limits.last().unwrap() <= at * 3 / 2, "knee {at}, seed {seed}: {limits:?}");
        }
    }
}

#[test]
fn threads_are_kept_busy_without_a_queue() {
    for seed in 0..SEEDS {
        let mut run = one(&threads(8, 0.1), 1_600, seed);
        let took_s = run.run(1e6);
        assert!(1_600.0 / took_s >= 0.85 * 80.0, "seed {seed}: {took_s} s");
        let limits = run.sites[0].limits(took_s * 0.7, took_s);
        assert!(limits.last().is_some_and(|limit| *limit <= 24), "seed {seed}: {limits:?}");
    }
}

#[test]
fn a_rate_limit_is_found_and_kept_to() {
    for (per_s, burst) in [(20.0, 0), (30.0, 0), (30.0, 20)] {
        for seed in 0..SEEDS {
            let mut run = one(&Server::limited(per_s, burst), 1_000_000, seed);
            run.run(80.0);
            let site = &run.sites[0];
            let (served, refused) = (site.served_per_s(20.0, 80.0), site.refused_share(20.0, 80.0));
            assert!(served >= 0.9 * per_s, "{per_s}/s, burst {burst}, seed {seed}: {served}/s");
            assert!(refused < 0.01, "{per_s}/s, burst {burst}, seed {seed}: {refused} refused");
        }
    }
}

#[test]
fn a_limit_that_changes_is_followed() {
    for seed in 0..SEEDS {
        let server = turning(Server::limited(20.0, 0), 40.0, Server::limited(5.0, 0));
        let mut run = one(&server, 1_000_000, seed);
        run.run(100.0);
        let site = &run.sites[0];
        let (served, refused) = (site.served_per_s(55.0, 100.0), site.refused_share(55.0, 100.0));
        assert!(served >= 4.2 && refused < 0.03, "down, seed {seed}: {served}/s, {refused} refused");
        let server = turning(Server::limited(10.0, 0), 40.0, Server::limited(40.0, 0));
        let mut run = one(&server, 1_000_000, seed);
        run.run(140.0);
        let served = run.sites[0].served_per_s(100.0, 140.0);
        assert!(served >= 25.0, "up, seed {seed}: {served}/s");
    }
}

#[test]
fn what_was_learned_saves_the_search() {
    for seed in 0..SEEDS {
        let mut first = one(&Server::limited(20.0, 0), 1_000_000, seed);
        first.run(60.0);
        let learned: Vec<Learned> = first.frontier.learned(first.now());
        assert_eq!(learned.len(), 1);
        let mut second = Run::new(config(PerHost::Auto), Vec::new(), seed);
        second.frontier.teach(second.zero, HostRef { name: "host0", local: true }, &learned[0]);
        second.add(Server::limited(20.0, 0), 1_000_000);
        second.run(60.0);
        let site = &second.sites[0];
        assert!(site.refused(0.0, 60.0) < 5, "seed {seed}: {} refused", site.refused(0.0, 60.0));
        assert!(site.served_per_s(0.0, 60.0) > 16.0, "seed {seed}: {}/s", site.served_per_s(0.0, 60.0));
    }
}

#[test]
fn a_slow_host_does_not_hold_up_a_fast_one() {
    let room = Room { in_flight_max: 4096, bound: Bound::Descriptors, workers_max: 2 };
    let fast = (threads(4, 0.001), 5_000);
    for seed in 0..SEEDS {
        let alone_s = {
            let mut run = Run::new(config(PerHost::Auto), vec![fast.clone()], seed);
            run.total = Some(Total::new(room, 1, run.zero));
            run.run(1e6)
        };
        let mut run = Run::new(config(PerHost::Auto), vec![(unlimited(5.0), 500), fast.clone()], seed);
        run.total = Some(Total::new(room, 1, run.zero));
        run.run(1e6);
        let done_s = run.sites[1].seen.last().unwrap().at_s;
        assert!(done_s <= 1.1 * alone_s, "seed {seed}: {done_s} s, alone {alone_s} s");
    }
}

#[test]
fn many_hosts_are_asked_at_once() {
    let room = Room { in_flight_max: 8192, bound: Bound::Descriptors, workers_max: 2 };
    let hosts: Vec<_> = (0..500).map(|_| (unlimited(1.0), 20)).collect();
    for seed in 0..3 {
        let mut run = Run::new(config(PerHost::Auto), hosts.clone(), seed);
        run.total = Some(Total::new(room, 1, run.zero));
        let took_s = run.run(1e6);
        // 2,000 in flight take 5 s.
        assert!(took_s <= 2.5 * 5.0, "seed {seed}: {took_s} s");
    }
}

#[test]
fn a_host_that_refuses_everything_is_left_alone_and_harms_no_other() {
    let nothing = Server { rate: Some(RateLimit::new(0.0, 0)), ..unlimited(0.003) };
    for seed in 0..SEEDS {
        let mut run =
            Run::new(config(PerHost::Auto), vec![(nothing.clone(), 1_000), (unlimited(0.01), 2_000)], seed);
        run.run(3600.0);
        let asked = run.sites[0].between(60.0, 3600.0).count();
        assert!(asked <= 90, "seed {seed}: {asked} requests in an hour");
        assert_eq!(run.sites[1].left, 0);
        assert!(run.sites[1].seen.last().unwrap().at_s < 1.0, "seed {seed}");
    }
}

#[test]
fn an_outage_is_survived() {
    for seed in 0..SEEDS {
        let server = Server { outage: Some((5.0, 35.0)), ..threads(8, 0.1) };
        let mut run = one(&server, 8_000, seed);
        run.run(140.0);
        let site = &run.sites[0];
        assert!(
            site.served_per_s(45.0, 100.0) >= 0.85 * 80.0,
            "seed {seed}: {}",
            site.served_per_s(45.0, 100.0)
        );
        let lost = site.between(5.0, 40.0).filter(|seen| seen.ending == Ending::Lost).count();
        assert!(lost <= 300, "seed {seed}: {lost} requests to a server that is down");
    }
}

#[test]
fn the_size_of_a_body_is_no_congestion() {
    for seed in 0..SEEDS {
        let server = Server { body_s: 2.0, ..Server::new(Capacity::Unlimited { each_s: 0.05 }) };
        let (best_s, _) = best_fixed(&server, 4_000);
        let took_s = one(&server, 4_000, seed).run(1e6);
        // Slow start alone takes six rounds of a second and a bit.
        assert!(took_s <= best_s + 9.0, "seed {seed}: {took_s} s, best {best_s} s");
    }
}

#[test]
fn a_503_now_and_then_does_not_slow_a_host() {
    for fails in [0.01, 0.1, 0.2] {
        for seed in 0..SEEDS {
            let server = threads(8, 0.05).failing(fails);
            let mut run = one(&server, 20_000, seed);
            let took_s = run.run(1e6);
            let per_s = run.sites[0].served_per_s(0.0, took_s);
            assert!(per_s > 0.75 * 160.0, "seed {seed}: {fails} fail, {per_s}/s");
        }
    }
}

#[test]
fn a_short_run_is_not_slowed_by_pages_that_answer_503_by_chance() {
    // The refused ones come back before the pages that were sent with them.
    for (fails, max) in [(0.1, 18), (0.1, 2000), (0.15, 18), (0.15, 2000), (0.2, 2000)] {
        for seed in 0..20 {
            let server = Server { jitter: 1.0, ..unlimited(0.02) }.failing(fails);
            let per_host = PerHost::AutoUpTo(NonZeroU32::new(max).unwrap());
            let took_s = Run::new(config(per_host), vec![(server, 400)], seed).run(1e6);
            assert!(took_s < 4.0, "{fails} fail, up to {max} in flight, seed {seed}: {took_s} s");
        }
    }
}

#[test]
fn a_limit_that_answers_503_is_found_and_followed() {
    let limited = |per_s, burst| Server { says_503: true, ..Server::limited(per_s, burst) };
    for (per_s, burst) in [(20.0, 0), (30.0, 20)] {
        for seed in 0..SEEDS {
            let mut run =
                one(&turning(limited(per_s, burst), 60.0, limited(per_s / 4.0, 0)), 1_000_000, seed);
            run.run(100.0);
            for (from_s, to_s, per_s) in [(20.0, 60.0, per_s), (75.0, 100.0, per_s / 4.0)] {
                let site = &run.sites[0];
                let (served, refused) = (site.served_per_s(from_s, to_s), site.refused_share(from_s, to_s));
                let case = format!("{per_s}/s, burst {burst}, seed {seed}: {served}/s, {refused} refused");
                assert!(served >= 0.85 * per_s && refused < 0.02, "{case}");
            }
        }
    }
}
