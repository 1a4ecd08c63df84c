//! Named cases, one guarantee of [`Frontier`] each, in virtual time.

use std::num::NonZeroU32;

use super::*;

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn config(per_host: PerHost, rate_per_s: Option<f64>) -> FrontierConfig {
    FrontierConfig::from(&Politeness { per_host, rate_per_s, delay: None, obeys_robots: false, retries: 2 })
}

pub(super) fn limit(in_flight: u32) -> PerHost {
    PerHost::Limit(NonZeroU32::new(in_flight).unwrap())
}

fn up_to(in_flight: u32) -> PerHost {
    PerHost::AutoUpTo(NonZeroU32::new(in_flight).unwrap())
}

pub(super) fn host(name: &str) -> Option<HostRef<'_>> {
    Some(HostRef { name, local: false })
}

/// Pops one target, and returns it with its host.
pub(super) fn pop(frontier: &mut Frontier, now: Instant) -> Option<(u64, HostId)> {
    frontier.pop(now).map(|start| (start.id, start.host))
}

/// Pops until no target may start, and returns the ids.
fn pop_all(frontier: &mut Frontier, now: Instant) -> Vec<u64> {
    std::iter::from_fn(|| frontier.pop(now)).map(|start| start.id).collect()
}

#[test]
fn network_hosts_begin_with_four_and_local_ones_are_unlimited() {
    let now = wire::clock::now();
    let table = [
        (PerHost::Auto, host("example.org"), 4),
        (PerHost::Auto, Some(HostRef { name: "127.0.0.1", local: true }), 100),
        (up_to(2), host("example.org"), 2),
        (PerHost::Auto, None, 100),
        (limit(3), Some(HostRef { name: "127.0.0.1", local: true }), 3),
        (limit(3), None, 100),
        (PerHost::Unlimited, host("example.org"), 100),
    ];
    for (per_host, host, expected) in table {
        let mut frontier = Frontier::new(config(per_host, None), 0);
        (0..100).for_each(|id| frontier.push(now, id, host));
        assert_eq!(pop_all(&mut frontier, now), (0..expected).collect::<Vec<_>>(), "{per_host:?} {host:?}");
        assert_eq!(frontier.len(), 100 - expected as usize);
        assert_eq!(frontier.next_due(), None, "only a released permit helps");
    }
}

#[test]
fn a_local_host_gets_eight_requests_until_it_answers_or_time_passes() {
    let zero = wire::clock::now();
    let local = Some(HostRef { name: "127.0.0.1", local: true });
    let config = FrontierConfig { adapts_local: true, ..config(PerHost::Auto, None) };
    let later = zero + Duration::from_millis(100);
    let fresh = || {
        let mut frontier = Frontier::new(config.clone(), 0);
        (0..100).for_each(|id| frontier.push(zero, id, local));
        frontier
    };
    let mut silent = fresh();
    assert_eq!(pop_all(&mut silent, zero).len(), 8);
    assert_eq!(silent.next_due(), Some(later));
    assert_eq!(pop_all(&mut silent, later).len(), 56);
    assert_eq!(silent.next_due(), None);
    for (answer, more) in [
        (Answer::Served { first_byte: Some(Duration::from_millis(1)) }, 57),
        (Answer::Lost, 57),
        (Answer::Unknown, 1),
    ] {
        let mut frontier = fresh();
        let (_, host) = pop(&mut frontier, zero).unwrap();
        assert_eq!(pop_all(&mut frontier, zero).len(), 7);
        frontier.release(zero, host, answer);
        assert_eq!(pop_all(&mut frontier, zero).len(), more, "{answer:?}");
    }
}

#[test]
fn hosts_take_turns_whatever_their_backlog() {
    let now = wire::clock::now();
    let mut frontier = Frontier::new(config(PerHost::Unlimited, None), 0);
    (0..6).for_each(|id| frontier.push(now, id, host("big")));
    frontier.push(now, 10, host("small"));
    frontier.push(now, 11, host("small"));
    frontier.push(now, 20, host("tiny"));
    assert_eq!(pop_all(&mut frontier, now), [0, 10, 20, 1, 11, 2, 3, 4, 5]);
}

#[test]
fn a_host_with_a_new_token_queues_behind_waiting_hosts() {
    let zero = wire::clock::now();
    let mut frontier = Frontier::new(config(PerHost::Unlimited, Some(1.0)), 0);
    for (id, name) in [(10, "a"), (11, "a"), (20, "b"), (21, "b"), (30, "c"), (31, "c")] {
        frontier.push(zero, id, host(name));
    }
    // The test pops once a second, while each host could start one a second.
    let popped: Vec<_> = (0..6).map(|s| pop(&mut frontier, zero + SECOND * s).unwrap().0).collect();
    assert_eq!(popped, [10, 20, 30, 11, 21, 31]);
}

#[test]
fn a_released_permit_starts_the_next_target() {
    let now = wire::clock::now();
    let mut frontier = Frontier::new(config(limit(1), None), 0);
    (0..3).for_each(|id| frontier.push(now, id, host("a")));
    let (_, a) = pop(&mut frontier, now).unwrap();
    assert_eq!(pop(&mut frontier, now), None);
    frontier.release(now, a, Answer::Unknown);
    assert_eq!(pop(&mut frontier, now), Some((1, a)));
}

#[test]
fn returned_targets_go_first_and_in_order() {
    let now = wire::clock::now();
    for host in [host("a"), None] {
        let mut frontier = Frontier::new(config(limit(3), None), 0);
        (0..5).for_each(|id| frontier.push(now, id, host));
        let held: Vec<_> = (0..3).map(|_| pop(&mut frontier, now).unwrap()).collect();
        for &(id, host) in held.iter().rev() {
            frontier.give_back(now, id, host);
        }
        assert_eq!(frontier.len(), 5);
        assert_eq!(pop_all(&mut frontier, now)[..3], [0, 1, 2]);
    }
}

#[test]
fn a_due_retry_goes_before_fresh_targets_and_waits_for_a_permit_like_them() {
    let now = wire::clock::now();
    for host in [host("a"), None] {
        let mut frontier = Frontier::new(config(limit(1), None), 3);
        (0..3).for_each(|id| frontier.push(now, id, host));
        let (id, seat) = pop(&mut frontier, now).unwrap();
        let due = frontier.retry(now, id, seat, 1, None, Answer::Unknown);
        assert_eq!(frontier.len(), 3);
        let (other, _) = pop(&mut frontier, now).unwrap();
        assert_eq!(other, 1, "the host is not blocked meanwhile");
        if host.is_some() {
            assert_eq!(pop(&mut frontier, due), None, "the permit is taken");
        }
        frontier.release(due, seat, Answer::Unknown);
        assert_eq!(pop(&mut frontier, due), Some((0, seat)));
        assert_eq!(frontier.len(), 1);
    }
}

#[test]
fn retry_after_pauses_exactly_one_host() {
    let now = wire::clock::now();
    let table = [(5, 5), (120, 120), (86_400, 120)];
    for (asked_s, held_s) in table {
        let mut frontier = Frontier::new(config(limit(4), None), 7);
        (0..3).for_each(|id| frontier.push(now, id, host("a")));
        let (id, a) = pop(&mut frontier, now).unwrap();
        let (asked, held) = (SECOND * asked_s, SECOND * held_s);
        let due = frontier.retry(now, id, a, 1, Some(asked), Answer::Unknown);
        assert!(due >= now + held && due <= now + held + held / 10, "{asked:?}");
        frontier.push(now, 9, host("b"));
        assert_eq!(pop_all(&mut frontier, now), [9]);
        assert_eq!(frontier.next_due(), Some(now + held));
        assert_eq!(pop(&mut frontier, now + held - Duration::from_nanos(1)), None);
        assert_eq!(pop_all(&mut frontier, now + held), [1, 2]);
        assert_eq!(pop_all(&mut frontier, due), [0]);
    }
}

#[test]
fn retry_after_without_a_host_delays_only_its_target() {
    let now = wire::clock::now();
    let mut frontier = Frontier::new(config(PerHost::Auto, Some(1.0)), 0);
    (0..3).for_each(|id| frontier.push(now, id, None));
    let (id, none) = pop(&mut frontier, now).unwrap();
    let due = frontier.retry(now, id, none, 1, Some(SECOND), Answer::Unknown);
    assert_eq!(pop_all(&mut frontier, now), [1, 2]);
    assert_eq!(frontier.next_due(), Some(due));
    assert_eq!(pop_all(&mut frontier, due), [0]);
}

#[test]
fn a_host_is_forgotten_once_its_state_no_longer_matters() {
    let now = wire::clock::now();
    let mut frontier = Frontier::new(config(limit(1), None), 0);
    for id in 0..1000 {
        frontier.push(now, id, host(&format!("host{id}")));
        let (_, seat) = pop(&mut frontier, now).unwrap();
        assert_eq!(frontier.hosts_len(), 1);
        frontier.release(now, seat, Answer::Unknown);
    }
    assert_eq!(frontier.hosts_len(), 0);
}

#[test]
fn an_idle_hosts_rate_and_pause_outlive_its_targets() {
    let now = wire::clock::now();
    let mut frontier = Frontier::new(config(limit(9), Some(0.5)), 0);
    frontier.push(now, 0, host("a"));
    let (_, a) = pop(&mut frontier, now).unwrap();
    frontier.release(now, a, Answer::Unknown);
    frontier.push(now, 1, host("a"));
    assert_eq!(pop(&mut frontier, now), None, "the token was just spent");
    assert_eq!(frontier.next_due(), Some(now + 2 * SECOND - LEAD / 2));
    let later = now + 2 * SECOND;
    let (_, a) = pop(&mut frontier, later).unwrap();
    frontier.release(later, a, Answer::Unknown);
    assert_eq!(frontier.next_due(), None, "nobody waits for this token");
    frontier.push(later + 2 * SECOND, 2, host("b"));
    assert_eq!(frontier.hosts_len(), 1, "a's bucket is full again");
}

#[test]
fn a_request_that_was_sent_late_moves_the_next_start() {
    let zero = wire::clock::now();
    let mut frontier = Frontier::new(config(PerHost::Unlimited, Some(20.0)), 0);
    (0..3).for_each(|id| frontier.push(zero, id, host("a")));
    let first = frontier.pop(zero).unwrap();
    // Its worker got no core for 8 ms.
    let sent_at = zero + SECOND / 125;
    let answer = Answer::Served { first_byte: None };
    let attempt = Attempt { sent_at, answer, failure: None, is_sure: true };
    let now = zero + SECOND / 100;
    frontier.hear(now, first.host, &attempt, 0);
    frontier.release(now, first.host, answer);
    let due = frontier.next_due().unwrap();
    let second = frontier.pop(due).unwrap();
    assert_eq!(second.not_before, Some(sent_at + SECOND / 20));
}
