use proptest::prelude::*;

use super::*;

fn waiting(id: u64, priority: i32) -> Claim {
    Claim { id: JobId(id), priority, suspected: false, stage: Stage::Waiting }
}

fn running(id: u64, priority: i32, allotted: u32, wants: u32) -> Claim {
    let stage = Stage::Running(Allocation { allotted, alive: allotted, wants });
    Claim { id: JobId(id), priority, suspected: false, stage }
}

#[track_caller]
fn check(workers: u32, jobs_max: u32, claims: &[Claim], want: &[Change]) {
    assert_eq!(changes(workers, jobs_max, claims), want);
}

#[test]
fn who_waits_gets_in_by_priority_and_then_by_order() {
    let queue = [waiting(1, 0), waiting(2, 5), waiting(3, 5), waiting(4, -1)];
    check(2, 2, &queue, &[Change::Start(JobId(2), 1), Change::Start(JobId(3), 1)]);
    check(
        8,
        3,
        &queue,
        &[Change::Start(JobId(2), 1), Change::Start(JobId(3), 1), Change::Start(JobId(1), 1)],
    );
    check(8, 1, &[waiting(1, 100), running(2, -100, 8, 8)], &[]);
}

#[test]
fn who_is_suspected_starts_alone_and_nobody_beside_it() {
    let suspected = |claim: Claim| Claim { suspected: true, ..claim };
    let check = |claims: &[Claim], want: &[u64]| {
        let ids: Vec<u64> = eligible(claims.to_vec()).iter().map(|claim| claim.id.0).collect();
        assert_eq!(ids, want, "{claims:?}");
    };
    check(&[waiting(1, 0), waiting(2, 0)], &[1, 2]);
    check(&[suspected(waiting(1, 0)), suspected(waiting(2, 0)), waiting(3, 0)], &[1]);
    check(&[suspected(running(1, 0, 1, 1)), suspected(waiting(2, 0)), waiting(3, 9)], &[1]);
    check(&[suspected(waiting(1, 0)), waiting(2, 9), waiting(3, 0)], &[2, 3]);
    check(&[running(1, 0, 1, 1), suspected(waiting(2, 0)), waiting(3, 0)], &[1, 2]);
}

#[test]
fn workers_are_shared_by_weight_and_by_need() {
    let even = [running(1, 0, 4, 8), running(2, 0, 4, 8)];
    check(8, 8, &even, &[]);
    check(9, 8, &even, &[Change::Allot(JobId(1), 5)]);
    let uneven = [running(1, 0, 4, 8), running(2, 10, 4, 8)];
    check(9, 8, &uneven, &[Change::Allot(JobId(2), 5), Change::Allot(JobId(1), 3)]);
    let modest = [running(1, 0, 4, 1), running(2, 0, 4, 8)];
    check(8, 8, &modest, &[Change::Allot(JobId(1), 1)]);
}

#[test]
fn nobody_grows_before_somebody_has_left() {
    let stage = |allotted, alive| Stage::Running(Allocation { allotted, alive, wants: 8 });
    let claim = |id, stage| Claim { id: JobId(id), priority: 0, suspected: false, stage };
    let started = [claim(1, stage(4, 4)), claim(2, stage(1, 1))];
    check(4, 4, &[started[0], waiting(2, 0)], &[Change::Allot(JobId(1), 3)]);
    check(4, 4, &[claim(1, stage(3, 4)), waiting(2, 0)], &[]);
    check(4, 4, &[claim(1, stage(3, 3)), waiting(2, 0)], &[Change::Start(JobId(2), 1)]);
    check(4, 4, &[claim(1, Stage::Leaving { alive: 4 }), started[1]], &[]);
    check(4, 4, &[claim(1, Stage::Leaving { alive: 2 }), started[1]], &[Change::Allot(JobId(2), 2)]);
}

#[test]
fn with_fewer_workers_than_jobs_the_last_ones_wait_again() {
    let jobs = [running(1, 0, 1, 4), running(2, 1, 1, 4), running(3, 0, 1, 4)];
    check(2, 4, &jobs, &[Change::Requeue(JobId(3))]);
}

/// A machine on which workers start and exit with delays.
#[derive(Debug)]
struct World {
    rng: fastrand::Rng,
    workers: u32,
    jobs_max: u32,
    claims: Vec<Claim>,
    next_id: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (workers, jobs_max) = (rng.u32(1..12), rng.u32(1..12));
        Self { rng, workers, jobs_max, claims: Vec::new(), next_id: 1 }
    }

    fn apply(&mut self) -> usize {
        let changes = changes(self.workers, self.jobs_max, &self.claims);
        for act in &changes {
            match *act {
                Change::Start(id, given) => {
                    let claim = self.claims.iter_mut().find(|claim| claim.id == id).unwrap();
                    assert_eq!(claim.stage, Stage::Waiting);
                    claim.stage = Stage::Running(Allocation { allotted: given, alive: 0, wants: 1 });
                }
                Change::Allot(id, given) => {
                    let claim = self.claims.iter_mut().find(|claim| claim.id == id).unwrap();
                    let Stage::Running(allocation) = &mut claim.stage else { panic!("{claim:?}") };
                    assert!(given > 0 && given != allocation.allotted);
                    allocation.allotted = given;
                }
                Change::Requeue(id) => {
                    let claim = self.claims.iter_mut().find(|claim| claim.id == id).unwrap();
                    claim.stage = Stage::Leaving { alive: claim.stage.held() };
                }
            }
        }
        changes.len()
    }

    fn happen(&mut self) {
        let index = self.rng.usize(0..self.claims.len().max(1));
        match self.rng.u32(0..10) {
            0 => {
                self.claims.push(waiting(self.next_id, self.rng.i32(-30..30)));
                self.next_id += 1;
            }
            1 => {
                if let Some(claim) = self.claims.get_mut(index)
                    && let Stage::Running(allocation) = claim.stage
                {
                    claim.stage = Stage::Leaving { alive: allocation.held() };
                }
            }
            2 => {
                let wants = self.rng.u32(1..14);
                if let Some(Claim { stage: Stage::Running(allocation), .. }) = self.claims.get_mut(index) {
                    allocation.wants = wants;
                }
            }
            3 => self.workers = self.rng.u32(1..12),
            _ => self.get_on(index),
        }
    }

    /// A process starts or exits.
    fn get_on(&mut self, index: usize) {
        let Some(claim) = self.claims.get_mut(index) else { return };
        match &mut claim.stage {
            Stage::Waiting => {}
            Stage::Running(allocation) if allocation.alive < allocation.allotted => allocation.alive += 1,
            Stage::Running(allocation) if allocation.alive > allocation.allotted => allocation.alive -= 1,
            Stage::Running(_) => {}
            Stage::Leaving { alive: 0 } => drop(self.claims.remove(index)),
            Stage::Leaving { alive } => *alive -= 1,
        }
    }

    fn held(&self) -> u32 {
        self.claims.iter().map(|claim| claim.stage.held()).sum()
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut still = self.apply() == 0;
            for index in (0..self.claims.len()).rev() {
                let before = self.claims.clone();
                self.get_on(index);
                still &= before == self.claims;
            }
            if still {
                return;
            }
        }
        panic!("the schedule does not become stable: {self:?}");
    }
}

/// Plays a history from a seed. There are never too many processes or jobs, and when events stop, each job
/// gets its share.
fn play(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..200 {
        let before = world.held();
        let workers = world.workers;
        world.happen();
        world.apply();
        // If the number of workers falls, processes exit and none is added.
        assert!(world.held() <= workers.max(world.workers).max(before), "seed {seed}: {world:?}");
        if before <= world.workers {
            assert!(world.held() <= world.workers, "seed {seed}: {world:?}");
        }
    }
    world.settle();
    let room = world.workers.min(world.jobs_max).max(1) as usize;
    let at_work: Vec<Allocation> = world
        .claims
        .iter()
        .filter_map(
            |claim| if let Stage::Running(allocation) = claim.stage { Some(allocation) } else { None },
        )
        .collect();
    assert_eq!(at_work.len(), room.min(world.claims.len()), "seed {seed}: {world:?}");
    assert!(
        at_work.iter().all(|allocation| allocation.allotted >= 1 && allocation.alive == allocation.allotted)
    );
    assert!(
        at_work.iter().all(|allocation| allocation.allotted <= allocation.wants.max(1)),
        "seed {seed}: {world:?}"
    );
    let (given, wanted) = at_work.iter().fold((0, 0), |(given, wanted), allocation| {
        (given + allocation.allotted, wanted + allocation.wants.max(1))
    });
    assert_eq!(given, wanted.min(world.workers), "seed {seed}: workers left over: {world:?}");
    let waiting = world.claims.iter().filter(|claim| claim.stage == Stage::Waiting).count();
    assert_eq!(waiting + at_work.len(), world.claims.len());
}

#[test]
fn shares_hold_over_thousands_of_histories() {
    for seed in 0..3_000 {
        play(seed);
    }
}

proptest! {
    #[test]
    fn a_share_is_one_at_least_and_all_of_them_are_no_more_than_there_are(
        workers in 1_u32..64,
        jobs in prop::collection::vec((-100_i32..=100, 1_u32..64), 1..16),
    ) {
        let claims: Vec<Claim> =
            jobs.iter().zip(1..).map(|(&(priority, wants), id)| running(id, priority, 1, wants)).collect();
        let shares = shares(workers, &claims.iter().collect::<Vec<_>>());
        prop_assert!(shares.iter().all(|share| *share >= 1));
        let all: u32 = shares.iter().sum();
        prop_assert!(all <= workers.max(u32::try_from(jobs.len()).unwrap()));
        for ((a, &(priority_a, _)), share_a) in claims.iter().zip(&jobs).zip(&shares) {
            for ((b, &(priority_b, wants_b)), share_b) in claims.iter().zip(&jobs).zip(&shares) {
                // No job of the same or less weight has more than one worker more than a job that could use
                // it.
                if a.id != b.id && priority_a <= priority_b && *share_b < wants_b {
                    prop_assert!(*share_a <= share_b + 1, "{a:?} {share_a}, {b:?} {share_b}");
                }
            }
        }
    }
}
