//! A target whose record is not certain keeps its place.

use super::*;
use crate::frontier::HostRef;

fn settling() -> PoolConfig {
    PoolConfig {
        slots: 2,
        concurrency: 2,
        ahead: Ahead { most: 0, ..Ahead::default() },
        settles: true,
        ..limits()
    }
}

fn ids(rig: &mut Rig) -> Vec<u64> {
    let given = rig.given().into_iter().flat_map(|(_, targets)| targets);
    let mut ids: Vec<_> = given.map(|(id, _)| id).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn the_pool_fills_a_place_when_its_record_is_certain() {
    let mut rig = Rig::serving(settling(), 20);
    let given: Vec<_> = rig
        .given()
        .into_iter()
        .flat_map(|(slot, targets)| targets.into_iter().map(move |(id, _)| (slot, id)))
        .collect();
    assert_eq!(given.len(), 4);
    let of = |slot| given.iter().filter(move |(by, _)| *by == slot).map(|(_, id)| *id).collect::<Vec<_>>();
    rig.returns(seat(0, 1), &of(0), &Verdict::Ok);
    rig.returns(seat(1, 1), &of(1), &Verdict::Failed(ErrorKind::Timeout));
    assert_eq!(ids(&mut rig), [] as [u64; 0]);
    rig.tell(Event::Settled(vec![of(1)[0], 999]));
    assert_eq!(ids(&mut rig), [4]);
    rig.tell(Event::Settled(vec![of(1)[0]]));
    assert_eq!(ids(&mut rig), [] as [u64; 0], "it has only one place");
    rig.tell(Event::Settled(vec![of(0)[0], of(0)[1], of(1)[1]]));
    assert_eq!(ids(&mut rig), [5, 6, 7]);
}

#[test]
fn what_is_tried_again_needs_its_own_place() {
    let mut rig = Rig::serving(PoolConfig { slots: 1, concurrency: 1, ..settling() }, 1);
    assert_eq!(ids(&mut rig), [0]);
    rig.returns(seat(0, 1), &[0], &Verdict::Retry { kind: ErrorKind::Connect });
    rig.pass(10 * SECOND, |_| reading(1, None));
    assert_eq!(ids(&mut rig), [0]);
}

#[test]
fn a_host_fills_a_place_when_its_record_is_certain() {
    let mut rig = Rig::new(settling());
    let politeness = Politeness {
        per_host: PerHost::Limit(std::num::NonZeroU32::MIN),
        rate_per_s: None,
        delay: None,
        obeys_robots: false,
        retries: 2,
    };
    let frontier = Frontier::new(FrontierConfig::from(&politeness), 1);
    rig.pool = Pool::new(settling(), frontier, rig.now, 1);
    let host = HostRef { name: "a.example", local: false };
    for id in [0, 1] {
        assert!(rig.pool.submit(rig.now, id, b"http://a.example/".to_vec(), Vec::new(), Some(host)));
    }
    rig.up(seat(0, 1));
    assert_eq!(ids(&mut rig), [0]);
    rig.returns(seat(0, 1), &[0], &Verdict::Ok);
    assert_eq!(ids(&mut rig), [] as [u64; 0]);
    rig.tell(Event::Settled(vec![0]));
    assert_eq!(ids(&mut rig), [1]);
    // The end does not wait for the last records.
    rig.tell(Event::SourceEnded);
    rig.returns(seat(0, 1), &[1], &Verdict::Ok);
    assert!(rig.asked().contains(&Command::SendDrain(seat(0, 1))));
}
