//! What the pool tells workers and the load controllers about each other.

use std::num::NonZeroU32;

use wire::protocol::{Reply, Target, Verdict};

use super::*;
use crate::load::total::{Bound, Room, Total};

impl Rig {
    /// Makes the pool's frontier obey these limits, submits targets of one host, and makes the workers ready.
    fn of_host(politeness: Politeness, limits: PoolConfig, targets: u64, room: Option<Room>) -> Self {
        let mut rig = Self::new(limits.clone());
        let frontier = Frontier::new(FrontierConfig::from(&politeness), 1);
        rig.pool = Pool::new(limits, frontier, rig.now, 1).anchored(rig.now, 1_000_000);
        if let Some(room) = room {
            rig.pool = rig.pool.growing(Total::new(room, 1, rig.now));
        }
        let host = Some(HostRef { name: "a", local: false });
        for id in 0..targets {
            assert!(rig.pool.submit(rig.now, id, vec![b'x'], Vec::new(), host));
        }
        for event in [Event::Spawned, Event::Hello, Event::Ready] {
            rig.tell(event(seat(0, 1)));
        }
        rig
    }

    /// Takes the targets that were handed out since the last call.
    fn handed_out(&mut self) -> Vec<Target> {
        let slices = self.asked().into_iter().filter_map(|command| {
            if let Command::SendSlice(_, slice) = command { Some(slice.targets) } else { None }
        });
        slices.flatten().collect()
    }

    fn answers(&mut self, id: u64, verdict: Verdict, refused: bool) {
        let outcome = Outcome {
            id,
            verdict,
            bytes: 0,
            started_us: 0,
            elapsed_us: 0,
            cpu_us: 0,
            endings: None,
            reply: Some(Reply { first_byte_us: 1_000, status: 429, refused, requests: 1, page: None }),
            retry_after_ms: None,
            exit_use: None,
            over_budget: false,
            session: None,
            line_bytes: 0,
            found_bytes: 0,
            note_bytes: 0,
        };
        let batch = Batch { slices_read: 0, outcomes: vec![outcome], lines: Vec::new() };
        self.pool.handle_batch(self.now, seat(0, 1), &batch, &mut Vec::new());
        self.listen();
    }
}

fn unlimited() -> Politeness {
    Politeness {
        per_host: PerHost::Unlimited,
        rate_per_s: None,
        delay: None,
        obeys_robots: false,
        retries: 0,
    }
}

#[test]
fn paced_targets_carry_their_start() {
    let politeness = Politeness { rate_per_s: Some(200.0), ..unlimited() };
    let mut rig = Rig::of_host(politeness, PoolConfig { concurrency: 64, ..limits() }, 10, None);
    let starts: Vec<_> = rig.handed_out().iter().map(|target| target.not_before_us).collect();
    assert_eq!(starts, [None, Some(1_005_000), Some(1_010_000)], "those within the lead");
    rig.now += Duration::from_millis(10);
    rig.pool.handle_timeout(rig.now);
    rig.listen();
    let starts: Vec<_> = rig.handed_out().iter().map(|target| target.not_before_us).collect();
    assert_eq!(starts, [Some(1_015_000), Some(1_020_000)]);
}

#[test]
fn a_growing_pool_begins_with_few_and_doubles() {
    let room = Room { in_flight_max: 400, bound: Bound::Descriptors, workers_max: 1 };
    let limits = PoolConfig { concurrency: 1_000, ..limits() };
    let mut rig = Rig::of_host(unlimited(), limits, 2_000, Some(room));
    assert_eq!(rig.handed_out().len(), 256);
    rig.now += SECOND;
    for id in 0..256 {
        rig.answers(id, Verdict::Ok, false);
    }
    assert_eq!(rig.handed_out().len(), 400, "256 for those that ended, and as many more as the bound allows");
    assert_eq!(rig.pool.in_flight_max(), Some(400));
    assert!(
        rig.pool.load_report().is_some_and(|load| load.why.contains("bounded by the limit of open files"))
    );
    rig.tell(Event::Room(Room { in_flight_max: 10, ..room }));
    for id in 256..646 {
        rig.answers(id, Verdict::Ok, false);
    }
    assert!(rig.handed_out().is_empty(), "ten are still in flight");
}

#[test]
fn many_workers_are_sampled_in_turn() {
    let limits = PoolConfig { slots: 20, concurrency: 4, ..limits() };
    let mut rig = Rig::new(limits);
    let room = Room { in_flight_max: 80, bound: Bound::Descriptors, workers_max: 20 };
    rig.pool = rig.pool.growing(Total::new(room, 20, rig.now));
    rig.submit(0..40);
    (0..20).for_each(|slot| rig.up(seat(slot, 1)));
    let mut sampled = Vec::new();
    for _ in 0..5 {
        rig.asked();
        rig.now += Duration::from_millis(25);
        rig.pool.handle_timeout(rig.now);
        rig.listen();
        let seats = rig
            .asked()
            .into_iter()
            .filter_map(|command| if let Command::Sample(seat) = command { Some(seat.slot) } else { None });
        sampled.push(seats.collect::<Vec<_>>());
    }
    assert!(sampled.iter().all(|slots| slots.len() == 8), "{sampled:?}");
    let mut all = sampled.concat();
    all.sort_unstable();
    assert_eq!(all, (0..20).flat_map(|slot| [slot; 2]).collect::<Vec<_>>(), "each twice");
}

#[test]
fn a_named_limit_is_the_ceiling_of_an_adaptive_host() {
    let per_host = PerHost::AutoUpTo(NonZeroU32::new(3).unwrap());
    let limits = PoolConfig { concurrency: 64, ..limits() };
    let mut rig = Rig::of_host(Politeness { per_host, ..unlimited() }, limits, 100, None);
    for id in 0..50 {
        rig.now += SECOND;
        rig.answers(id, Verdict::Ok, false);
        assert!(rig.pool.counts().assigned <= 3);
    }
}
