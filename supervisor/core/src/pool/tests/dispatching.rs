//! Which worker gets which target, and when.

use super::*;
use crate::load::total::{Bound, Room, Total};

#[test]
fn the_first_targets_are_spread_evenly() {
    for (slots, concurrency, targets, expected) in [
        (4, 8, 100, [8, 8, 8, 8]),
        (4, 8, 8, [2, 2, 2, 2]),
        (4, 8, 10, [3, 3, 3, 1]),
        (4, 1, 3, [1, 1, 1, 0]),
    ] {
        let mut rig = Rig::serving(PoolConfig { slots, concurrency, ..limits() }, targets);
        let mut got = [0; 4];
        for (slot, given) in rig.given() {
            got[slot as usize] += given.len();
        }
        assert_eq!(got, expected, "{targets} targets over {slots} workers of {concurrency}");
    }
}

#[test]
fn a_fast_worker_leaves_the_last_targets_to_an_idle_one() {
    let mut rig = Rig::serving(PoolConfig { slots: 2, concurrency: 1, ..limits() }, 30);
    // Worker 0 answers every millisecond and so is sent more in advance; worker 1 takes its time.
    for id in 0..10 {
        rig.now += Duration::from_millis(1);
        let holds: Vec<_> = (0..30).filter(|id| rig.pool.ledger.held_by(*id, seat(0, 1)).is_some()).collect();
        assert_eq!(rig.returns(seat(0, 1), &holds[..1], &Verdict::Ok), [Disposition::Final], "{id}");
    }
    let held = |rig: &Rig, slot| {
        (0..30).filter(|id| rig.pool.ledger.held_by(*id, seat(slot, 1)).is_some()).count() as u64
    };
    let counts = rig.pool.counts();
    assert!(held(&rig, 0) > 1, "it is sent more in advance");
    assert!(held(&rig, 0) <= (counts.pending + counts.assigned).div_ceil(2), "but no more than its share");
    assert_eq!(held(&rig, 1), 1);
}

#[test]
fn a_lost_workers_targets_go_first_and_in_order() {
    let mut rig = Rig::serving(PoolConfig { concurrency: 4, ..limits() }, 9);
    assert_eq!(rig.given(), [(0, (0..4).map(|id| (id, 1)).collect())]);
    rig.dies(seat(0, 1), Exit::Signal(libc::SIGKILL), None, "");
    assert_eq!(rig.given(), [], "there is no worker to give it to");
    rig.pass(SECOND, alive());
    rig.up(seat(0, 2));
    assert_eq!(rig.given(), [(0, (0..4).map(|id| (id, 1)).collect())]);
}

#[test]
fn the_frontiers_timer_wakes_only_a_pool_with_room() {
    let mut rig = Rig::serving(limits(), 1);
    // Slow enough that nothing is sent in advance.
    rig.now += SECOND;
    rig.returns(seat(0, 1), &[0], &Verdict::Retry { kind: ErrorKind::Timeout });
    let retry_at = rig.pool.poll_timeout().expect("the pool waits for the retry");
    rig.submit(1..2);
    rig.pass(retry_at - rig.now + Duration::from_millis(1), alive());
    assert!(rig.pool.poll_timeout().unwrap() > rig.now, "due, but the only worker is busy");
    rig.asked();
    rig.returns(seat(0, 1), &[1], &Verdict::Ok);
    assert_eq!(rig.given(), [(0, vec![(0, 2)])]);
}

#[test]
fn a_pool_has_at_least_one_worker() {
    let mut rig = Rig::serving(PoolConfig { slots: 0, concurrency: 0, ..limits() }, 1);
    rig.up(seat(0, 1));
    assert_eq!(rig.given(), [(0, vec![(0, 1)])]);
}

fn submit(rig: &mut Rig, name: &str, ids: std::ops::Range<u64>) {
    for id in ids {
        let host = Some(HostRef { name, local: false });
        assert!(rig.pool.submit(rig.now, id, b"x".to_vec(), Vec::new(), host));
    }
    rig.pool.handle_timeout(rig.now);
    rig.listen();
}

#[test]
fn what_is_with_a_slow_host_counts_neither_for_its_worker_nor_for_the_load() {
    let room = Room { in_flight_max: 4096, bound: Bound::Descriptors, workers_max: 2 };
    let mut rig = Rig::new(PoolConfig { slots: 2, concurrency: 4096, ..limits() });
    rig.pool = rig.pool.growing(Total::new(room, 2, rig.now));
    // Worker 0 gets 64 targets that take long, and then both get others, which take a moment.
    submit(&mut rig, "slow", 0..128);
    rig.up(seat(0, 1));
    assert_eq!(rig.given(), [(0, (0..64).map(|id| (id, 1)).collect())]);
    rig.up(seat(1, 1));
    submit(&mut rig, "fast", 128..10_000);
    let mut got = [0; 2];
    for _ in 0..4 {
        got = [0; 2];
        for (slot, given) in rig.given() {
            got[slot as usize] += given.len();
            let ids: Vec<_> = given.iter().map(|(id, _)| *id).filter(|id| *id >= 64).collect();
            rig.now += Duration::from_millis(1);
            rig.returns(seat(slot, 1), &ids, &Verdict::Ok);
        }
        rig.pass(Duration::from_millis(20), alive());
    }
    assert!(got[0].abs_diff(got[1]) <= 1 && got[0] > 64, "{got:?}");
    let counts = rig.pool.counts();
    assert_eq!(rig.pool.in_flight_max().map(|max| u64::from(max) + 64), Some(counts.assigned), "{counts:?}");
}
