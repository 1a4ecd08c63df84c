//! Proxies that fail and recover, in virtual time.

use std::collections::BTreeMap;

use super::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Targets begin when they are chosen.
fn begun_at(now: Instant) -> Instant {
    now.checked_sub(60 * SECOND).unwrap_or(now)
}

fn proxies(count: usize, change: impl FnOnce(&mut ProxiesConfig)) -> Proxies {
    let names = (0..count).map(|n| format!("http://p{n}:1")).collect();
    let mut config = ProxiesConfig { names, tiers: Vec::new(), sticky: Sticky::None, reach: None };
    change(&mut config);
    Proxies::new(config, 7)
}

/// Chooses for one target, which must start.
fn via(proxies: &mut Proxies, now: Instant, id: u64, host: &str) -> Exit {
    match proxies.choose(now, id, host, b"") {
        Choice::Via(exit) => exit,
        other @ (Choice::Direct | Choice::Wait(_) | Choice::Lost) => panic!("{id} does not start: {other:?}"),
    }
}

/// Ends a target whose last request went through its own proxy.
fn end(
    proxies: &mut Proxies,
    now: Instant,
    id: u64,
    fault: Option<ExitFault>,
    answered: Option<Duration>,
    is_final: bool,
) -> bool {
    let own = proxies.flights.get(&id).map(|flight| flight.exit.proxy);
    let used = own.map(|proxy| ExitUse { proxy, fault, worked: answered.is_some() });
    proxies.end(now, id, begun_at(now), used, answered, is_final)
}

fn succeed(proxies: &mut Proxies, now: Instant, id: u64) {
    assert!(!end(proxies, now, id, None, Some(10 * MS), true));
}

/// Has each proxy answer once.
fn check_all(proxies: &mut Proxies, now: Instant) {
    let count = proxies.list.len() as u64;
    for id in 0..count {
        via(proxies, now, 1_000_000 + id, "a");
    }
    for id in 0..count {
        succeed(proxies, now, 1_000_000 + id);
    }
}

#[test]
fn a_proxy_gets_one_target_until_it_has_answered() {
    let (mut all, now) = (proxies(2, |_| ()), wire::clock::now());
    let (one, other) = (via(&mut all, now, 0, "a"), via(&mut all, now, 1, "a"));
    assert_ne!(one.proxy, other.proxy);
    assert!(!all.has_room(now));
    assert!(matches!(all.choose(now, 2, "a", b""), Choice::Wait(_)));
    succeed(&mut all, now, 0);
    for id in 3..10 {
        assert_eq!(via(&mut all, now, id, "a").proxy, one.proxy);
    }
}

#[test]
fn equal_proxies_get_equal_shares_and_slow_ones_less() {
    let (mut all, now) = (proxies(8, |_| ()), wire::clock::now());
    check_all(&mut all, now);
    let mut seeded = fastrand::Rng::with_seed(3);
    let mut flying: Vec<(Duration, u64, u16)> = Vec::new();
    let mut counts = BTreeMap::<u16, u64>::new();
    let mut at = Duration::ZERO;
    for id in 0..20_000 {
        if flying.len() == 64 {
            flying.sort_unstable();
            let (done, ended, proxy) = flying.remove(0);
            at = at.max(done);
            let latency = if proxy == 7 { 100 * MS } else { 20 * MS };
            assert!(!end(&mut all, now + at, ended, None, Some(latency), true));
        }
        let proxy = via(&mut all, now + at, id, "a").proxy;
        *counts.entry(proxy).or_default() += 1;
        let latency = if proxy == 7 { 100 } else { 15 + seeded.u32(0..10) };
        flying.push((at + latency * MS, id, proxy));
    }
    let shares: Vec<u64> = (0..7).map(|proxy| counts[&proxy]).collect();
    let mean = shares.iter().sum::<u64>() / 7;
    assert!(shares.iter().all(|share| share.abs_diff(mean) * 10 <= mean), "{counts:?}");
    assert!(counts[&7] * 2 < mean, "{counts:?}");
}

#[test]
fn a_dead_proxy_is_tried_at_most_five_times_a_minute_and_costs_no_attempt() {
    let (mut all, begun) = (proxies(4, |_| ()), wire::clock::now());
    check_all(&mut all, begun);
    let mut tries = Vec::new();
    for tick in 0..6000_u32 {
        let now = begun + tick * 100 * MS;
        let id = u64::from(tick);
        let mut exit = via(&mut all, now, id, "a");
        if exit.proxy == 2 {
            tries.push(now);
            assert!(exit.may_move && end(&mut all, now, id, Some(ExitFault::Proxy), None, false));
            exit = via(&mut all, now, id, "a");
            assert_ne!(exit.proxy, 2);
        }
        succeed(&mut all, now, id);
    }
    assert!((4..10).contains(&tries.len()), "{}", tries.len());
    for first in &tries {
        let within = tries.iter().filter(|at| **at >= *first && **at < *first + 60 * SECOND).count();
        assert!(within <= 5, "{within}");
    }
    assert_eq!(all.look()[2].faults, tries.len() as u64);
    assert_eq!(all.failure(), None);
}

#[test]
fn faults_of_targets_that_were_under_way_together_count_once() {
    let (mut all, now) = (proxies(1, |_| ()), wire::clock::now());
    check_all(&mut all, now);
    for id in 0..16 {
        via(&mut all, now, id, "a");
    }
    for id in 0..16 {
        assert!(end(&mut all, now, id, Some(ExitFault::Proxy), None, false));
    }
    assert_eq!(all.failure(), None);
    let Choice::Wait(until) = all.choose(now, 20, "a", b"") else { panic!("it rests") };
    assert_eq!(Some(until), all.next_due());
    let probe = via(&mut all, until, 20, "a");
    assert_eq!(probe.epoch, 2);
    assert!(matches!(all.choose(until, 21, "a", b""), Choice::Wait(_)), "one target tries it");
    succeed(&mut all, until, 20);
    assert_eq!(via(&mut all, until, 21, "a").epoch, 2);
}

#[test]
fn if_no_proxy_works_the_run_ends() {
    let (mut all, mut now) = (proxies(2, |_| ()), wire::clock::now());
    for round in 0..3 {
        assert_eq!(all.failure(), None);
        for id in 0..2 {
            via(&mut all, now, id, "a");
        }
        for id in 0..2 {
            end(&mut all, now, id, Some(ExitFault::Proxy), None, false);
        }
        now += (100 << round) * SECOND;
    }
    let why = all.failure().unwrap();
    assert!(why.starts_with("no proxy works: http://p0:1 cannot be used, http://p1:1"), "{why}");
    let (mut all, now) = (proxies(1, |_| ()), wire::clock::now());
    via(&mut all, now, 0, "a");
    end(&mut all, now, 0, Some(ExitFault::Credentials), None, false);
    assert!(all.failure().unwrap().contains("wants other credentials"), "waiting does not help");
}

#[test]
fn a_target_that_many_proxies_failed_gets_its_error() {
    let (mut all, now) = (proxies(20, |_| ()), wire::clock::now());
    for _ in 0..MOVES_MAX {
        assert!(via(&mut all, now, 0, "a").may_move);
        assert!(end(&mut all, now, 0, Some(ExitFault::Proxy), None, false));
    }
    assert!(!via(&mut all, now, 0, "a").may_move);
    assert!(!end(&mut all, now, 0, Some(ExitFault::Proxy), None, true));
    assert!(all.tries.is_empty() && all.flights.is_empty());
}

#[test]
fn a_proxy_that_a_host_turns_away_serves_other_hosts() {
    let (mut all, now) = (proxies(2, |_| ()), wire::clock::now());
    check_all(&mut all, now);
    let first = via(&mut all, now, 0, "a");
    assert!(end(&mut all, now, 0, Some(ExitFault::Blocked), Some(MS), false));
    let second = via(&mut all, now, 0, "a");
    assert!(second.proxy != first.proxy && !second.may_divert);
    succeed(&mut all, now, 0);
    for id in 1..50 {
        assert_eq!(via(&mut all, now, id, "a").proxy, second.proxy);
        succeed(&mut all, now, id);
    }
    let others: Vec<u16> = (50..100).map(|id| via(&mut all, now, id, "b").proxy).collect();
    assert!(others.contains(&first.proxy));
    for id in 50..100 {
        succeed(&mut all, now, id);
    }
    // Where all are turned away, the least banned one is better than none.
    via(&mut all, now, 100, "a");
    assert!(end(&mut all, now, 100, Some(ExitFault::Blocked), Some(MS), false));
    via(&mut all, now, 100, "a");
}

#[test]
fn a_server_that_does_not_answer_is_not_the_proxys_fault() {
    let (mut all, now) = (proxies(2, |_| ()), wire::clock::now());
    check_all(&mut all, now);
    for id in 0..40 {
        let later = now + u32::try_from(id).unwrap() * SECOND;
        via(&mut all, later, 2 * id, "dead");
        via(&mut all, later, 2 * id + 1, "alive");
        succeed(&mut all, later + MS, 2 * id + 1);
        let fault = if id % 2 == 0 { ExitFault::Unreachable } else { ExitFault::Silent };
        end(&mut all, later + 2 * MS, 2 * id, Some(fault), None, true);
    }
    assert!(all.look().iter().any(|proxy| proxy.health == ProxyHealth::Good), "{:?}", all.look());
    assert_eq!(all.failure(), None);
}

#[test]
fn a_proxy_that_accepts_and_never_answers_rests() {
    let (mut all, now) = (proxies(2, |_| ()), wire::clock::now());
    let silent = via(&mut all, now, 0, "a");
    let good = via(&mut all, now, 1, "a");
    succeed(&mut all, now, 1);
    let late = now + 10 * SECOND;
    assert!(end(&mut all, late, 0, Some(ExitFault::Silent), None, false));
    assert!(matches!(all.look()[usize::from(silent.proxy)].health, ProxyHealth::Resting(_)));
    assert_eq!(via(&mut all, late, 0, "a").proxy, good.proxy);
}

#[test]
fn a_host_keeps_its_proxy_and_only_those_of_a_dead_one_move() {
    let (mut all, now) = (proxies(5, |config| config.sticky = Sticky::Host), wire::clock::now());
    let hosts: Vec<String> = (0..100).map(|n| format!("h{n}")).collect();
    let mut next = 0;
    let mut assigned = |all: &mut Proxies, now| -> Vec<u16> {
        let mut proxies = Vec::new();
        for host in &hosts {
            next += 1;
            proxies.push(via(all, now, next, host).proxy);
            succeed(all, now, next);
        }
        proxies
    };
    let before = assigned(&mut all, now);
    assert_eq!(before, assigned(&mut all, now));
    assert!((0..5).all(|proxy| before.contains(&proxy)));
    let host = &hosts[before.iter().position(|proxy| *proxy == 3).unwrap()];
    via(&mut all, now, 9999, host);
    end(&mut all, now, 9999, Some(ExitFault::Proxy), None, false);
    let after = assigned(&mut all, now);
    for (before, after) in before.iter().zip(&after) {
        assert!(if *before == 3 { *after != 3 } else { after == before });
    }
}

#[test]
fn the_next_tier_is_used_only_while_the_cheaper_one_fails() {
    let (mut all, now) = (proxies(3, |config| config.tiers = vec![1, 2]), wire::clock::now());
    assert_eq!(via(&mut all, now, 0, "a").proxy, 0);
    assert!(matches!(all.choose(now, 1, "a", b""), Choice::Wait(_)), "the cheap one is being tried");
    succeed(&mut all, now, 0);
    for id in 1..20 {
        assert_eq!(via(&mut all, now, id, "a").proxy, 0);
    }
    end(&mut all, now, 1, Some(ExitFault::Blocked), Some(MS), false);
    assert!(via(&mut all, now, 1, "a").proxy > 0);
    assert_eq!(via(&mut all, now, 30, "b").proxy, 0, "other hosts stay");
}

#[test]
fn inputs_without_a_proxy_go_directly() {
    let reach = |input: &[u8]| match input {
        b"direct" => Reach::Direct,
        b"second" => Reach::Only(1),
        _ => Reach::Any,
    };
    let (mut all, now) = (proxies(2, |config| config.reach = Some(Arc::new(reach))), wire::clock::now());
    assert_eq!(all.choose(now, 0, "a", b"direct"), Choice::Direct);
    assert!(matches!(
        all.choose(now, 1, "a", b"second"),
        Choice::Via(Exit { proxy: 1, may_divert: false, .. })
    ));
    assert!(!end(&mut all, now, 0, None, None, true));
}

#[test]
fn what_a_worker_held_when_it_died_is_not_under_way() {
    let (mut all, now) = (proxies(1, |_| ()), wire::clock::now());
    via(&mut all, now, 0, "a");
    all.abandon(0);
    assert_eq!(all.look()[0].in_flight, 0);
    via(&mut all, now, 0, "a");
}

#[test]
fn random_faults_lose_no_count_and_end_no_run_that_has_a_good_proxy() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut all, begun) = (proxies(rng.usize(2..6), |_| ()), wire::clock::now());
        let faults = [
            ExitFault::Proxy,
            ExitFault::Silent,
            ExitFault::Unreachable,
            ExitFault::Broken,
            ExitFault::Blocked,
        ];
        let (mut at, mut flying) = (Duration::ZERO, Vec::new());
        for id in 0..500_u64 {
            at += rng.u32(0..300) * MS;
            let now = begun + at;
            if let Choice::Via(exit) = all.choose(now, id, ["a", "b"][rng.usize(0..2)], b"") {
                flying.push((id, exit.proxy));
            }
            while flying.len() > rng.usize(0..8) {
                let (id, proxy) = flying.swap_remove(rng.usize(0..flying.len()));
                // The first proxy always works.
                let fault = Some(faults[rng.usize(0..faults.len())]).filter(|_| proxy > 0 && rng.bool());
                end(&mut all, now, id, fault, fault.is_none().then_some(MS), rng.bool());
            }
        }
        let in_flight: u32 = all.look().iter().map(|proxy| proxy.in_flight).sum();
        assert_eq!(in_flight as usize, flying.len(), "seed {seed}");
        assert_eq!(all.failure(), None, "seed {seed}");
        assert_eq!(all.look()[0].health, ProxyHealth::Good, "seed {seed}");
    }
}

/// Tries a target until it may not go another way at no cost, which says how often that was.
fn moves(all: &mut Proxies, now: &mut Instant, id: u64, host: &str, fault: ExitFault) -> usize {
    for count in 0.. {
        let exit = loop {
            match all.choose(*now, id, host, b"") {
                Choice::Via(exit) => break exit,
                Choice::Wait(until) => *now = until,
                Choice::Lost => return count,
                Choice::Direct => panic!("{host} has proxies"),
            }
        };
        *now += 10 * SECOND;
        let used = ExitUse { proxy: exit.proxy, fault: Some(fault), worked: false };
        assert_eq!(end(all, *now, id, Some(fault), None, false), exit.leaves(used));
        if !exit.leaves(used) {
            return count;
        }
    }
    0
}

#[test]
fn dead_hosts_at_the_end_of_a_list_do_not_end_the_run() {
    for (count, has_worked) in [(1, true), (8, true), (8, false)] {
        for fault in [ExitFault::Silent, ExitFault::Broken, ExitFault::Unreachable] {
            let (mut all, mut now) = (proxies(count, |_| ()), wire::clock::now());
            if has_worked {
                check_all(&mut all, now);
            }
            for attempt in 0..6 {
                // The target is charged for all but these.
                let free = moves(&mut all, &mut now, 1, "dead", fault);
                assert!(free <= 8, "{fault:?} {count} {attempt}: {free}");
                assert_eq!(all.failure(), None, "{fault:?} {count} {has_worked}");
            }
        }
    }
}

#[test]
fn a_proxy_that_is_silent_for_many_hosts_is_hopeless() {
    let (mut all, mut now) = (proxies(1, |_| ()), wire::clock::now());
    for host in ["a", "b", "c", "d", "e"] {
        assert_eq!(all.failure(), None);
        moves(&mut all, &mut now, 1, host, ExitFault::Silent);
    }
    assert!(all.failure().unwrap().contains("does not answer"));
}

#[test]
fn a_proxy_that_never_answers_is_hopeless_after_minutes_whatever_the_hosts() {
    for fault in [ExitFault::Silent, ExitFault::Broken] {
        let (mut all, begun) = (proxies(1, |_| ()), wire::clock::now());
        let mut now = begun;
        while all.failure().is_none() {
            moves(&mut all, &mut now, 1, "only", fault);
        }
        let took = now - begun;
        assert!((200..400).contains(&took.as_secs()), "{fault:?}: {took:?}");
    }
}

#[test]
fn a_server_that_asks_for_a_login_does_not_make_a_proxy_hopeless_that_has_worked() {
    let (mut all, mut now) = (proxies(1, |_| ()), wire::clock::now());
    check_all(&mut all, now);
    for id in 0..4 {
        via(&mut all, now, id, "asks");
        end(&mut all, now, id, Some(ExitFault::Credentials), None, true);
        assert_eq!(all.failure(), None);
        now = all.next_due().unwrap_or(now);
    }
    via(&mut all, now, 9, "other");
    succeed(&mut all, now, 9);
    assert_eq!(all.look()[0].health, ProxyHealth::Good);
}

#[test]
fn what_a_redirect_leads_to_counts_for_the_proxy_that_was_used() {
    let reach = |input: &[u8]| if input == b"direct" { Reach::Direct } else { Reach::Only(0) };
    let (mut all, now) = (proxies(2, |config| config.reach = Some(Arc::new(reach))), wire::clock::now());
    let dead = ExitUse { proxy: 1, fault: Some(ExitFault::Proxy), worked: false };
    for (id, input) in [(0, &b"direct"[..]), (1, b"http")] {
        all.choose(now, id, "a", input);
        assert!(!all.end(now, id, begun_at(now), Some(dead), None, false), "moving would not help");
        assert!(matches!(all.look()[1].health, ProxyHealth::Resting(_)));
    }
    let look = all.look();
    assert_eq!((look[0].health, look[0].ok, look[0].faults), (ProxyHealth::Good, 1, 0), "it redirected");
    assert_eq!((look[1].faults, look[1].in_flight), (2, 0));
    // An answer without a proxy after a redirect.
    via(&mut all, now, 2, "a");
    assert!(!all.end(now, 2, begun_at(now), None, Some(SECOND), true));
    assert_eq!(all.look()[0].ok, 2);
    // Later, what a redirect leads to tries it.
    let later = now + 60 * SECOND;
    all.end(later, 3, begun_at(later), Some(ExitUse { fault: None, worked: true, ..dead }), Some(MS), true);
    assert_eq!(all.look()[1].health, ProxyHealth::Good);
}

#[test]
fn a_target_whose_only_proxy_is_hopeless_has_no_way() {
    let reach = |input: &[u8]| match input {
        b"direct" => Reach::Direct,
        b"https" => Reach::Only(1),
        _ => Reach::Only(0),
    };
    let (mut all, now) = (proxies(2, |config| config.reach = Some(Arc::new(reach))), wire::clock::now());
    assert!(matches!(all.choose(now, 0, "a", b"https"), Choice::Via(_)));
    end(&mut all, now, 0, Some(ExitFault::Credentials), None, false);
    assert_eq!(all.choose(now, 0, "a", b"https"), Choice::Lost);
    assert_eq!((all.has_way(b"https"), all.has_way(b"http"), all.has_way(b"direct")), (false, true, true));
    assert_eq!((all.failure(), all.trouble()), (None, "http://p1:1 wants other credentials".to_owned()));
}

#[test]
fn a_proxy_that_reaches_no_host_rests_and_gets_less_before() {
    let (mut all, now) = (proxies(2, |_| ()), wire::clock::now());
    check_all(&mut all, now);
    let mut tries = 0;
    for id in 0..200 {
        let host = format!("h{id}");
        let exit = via(&mut all, now, id, &host);
        if exit.proxy == 1 {
            tries += 1;
            end(&mut all, now + MS, id, Some(ExitFault::Unreachable), None, true);
        } else {
            succeed(&mut all, now + 100 * MS, id);
        }
    }
    assert!(tries <= 5, "{tries}");
    let (mut all, mut now) = (proxies(1, |_| ()), wire::clock::now());
    for id in 0..7 {
        assert_eq!(all.failure(), None, "{id}");
        via(&mut all, now, id, &format!("h{id}"));
        end(&mut all, now, id, Some(ExitFault::Unreachable), None, true);
        now = all.next_due().unwrap_or(now);
    }
    assert!(all.failure().unwrap().contains("reaches no server"));
}

#[test]
fn what_ends_while_a_proxy_is_tried_makes_it_rest_at_once() {
    for fault in [ExitFault::Broken, ExitFault::Silent] {
        let (mut all, begun) = (proxies(1, |_| ()), wire::clock::now());
        let mut tries = 0;
        for tick in 0..60 {
            let now = begun + tick * SECOND;
            if let Choice::Via(_) = all.choose(now, 0, "a", b"") {
                tries += 1;
                end(&mut all, now, 0, Some(fault), None, false);
            }
        }
        assert!(tries <= 3, "{fault:?}: {tries}");
    }
}

#[test]
fn what_a_worker_did_not_send_makes_no_proxy_hopeless() {
    let (mut all, mut now) = (proxies(1, |_| ()), wire::clock::now());
    check_all(&mut all, now);
    for id in 0..10 {
        via(&mut all, now, id, "a");
        assert!(end(&mut all, now, id, Some(ExitFault::Shunned), None, false));
        let Some(due) = all.next_due() else { panic!("it waits for the next epoch") };
        now = due;
    }
    assert_eq!((all.failure(), all.look()[0].faults), (None, 0));
    // A redirect that was not sent through a proxy that works by now.
    via(&mut all, now, 20, "a");
    succeed(&mut all, now, 20);
    let shunned = ExitUse { proxy: 0, fault: Some(ExitFault::Shunned), worked: false };
    all.end(now, 21, begun_at(now), Some(shunned), None, false);
    assert_eq!(all.look()[0].health, ProxyHealth::Good);
}

#[test]
fn a_tunnel_is_a_success_of_the_proxy() {
    let (mut all, now) = (proxies(1, |_| ()), wire::clock::now());
    via(&mut all, now, 0, "a");
    let used = ExitUse { proxy: 0, fault: None, worked: true };
    all.end(now, 0, begun_at(now), Some(used), None, true);
    assert_eq!(all.look()[0].health, ProxyHealth::Good);
}

#[test]
fn of_many_proxies_those_that_fail_are_shown_and_those_in_use() {
    let (now, mut proxies) = (wire::clock::now(), proxies(5, |_| ()));
    check_all(&mut proxies, now);
    let names = |proxies: &Proxies, count| -> Vec<String> {
        proxies.look_at(count).into_iter().map(|proxy| proxy.name).collect()
    };
    for id in 0..3 {
        let exit = via(&mut proxies, now, id, "a");
        if id == 0 {
            let own = ExitUse { proxy: exit.proxy, fault: Some(ExitFault::Proxy), worked: false };
            proxies.end(now, id, begun_at(now), Some(own), None, true);
        } else {
            succeed(&mut proxies, now, id);
        }
    }
    let failing = proxies.look().into_iter().find(|proxy| proxy.faults > 0).unwrap().name;
    assert_eq!(names(&proxies, 1), [failing]);
    let all: Vec<String> = proxies.look().into_iter().map(|proxy| proxy.name).collect();
    assert_eq!(names(&proxies, 5), all);
    let busy: Vec<String> =
        proxies.look().into_iter().filter(|proxy| proxy.requests > 1).map(|proxy| proxy.name).collect();
    assert_eq!(names(&proxies, 3), busy, "in their order");
}
