//! Hosts that refuse requests, or do not answer.

use wire::protocol::{Reply, Target};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// How a host ends each request.
type Answer = (Verdict, Option<Reply>);

const SERVED: Answer =
    (Verdict::Ok, Some(Reply { first_byte_us: 1_000, status: 200, refused: false, requests: 1, page: None }));

/// A request that failed, on the last attempt or not.
fn fails(target: &Target, kind: ErrorKind, refused: bool) -> (Verdict, Option<Reply>) {
    let comes_back = target.may_retry || refused && target.may_defer;
    let verdict = if comes_back { Verdict::Retry { kind } } else { Verdict::Failed(kind) };
    (
        verdict,
        refused.then_some(Reply { first_byte_us: 1_000, status: 503, refused, requests: 1, page: None }),
    )
}

fn refuses(target: &Target) -> (Verdict, Option<Reply>) {
    fails(target, ErrorKind::HttpStatus, true)
}

/// A run over hosts that answer within 10 ms.
struct Run {
    rig: Rig,
    /// Requests, by the time since the run began, with their targets.
    asked: Vec<(Duration, u64)>,
    /// Final results.
    ended: Vec<(u64, Verdict)>,
    abandoned: Vec<Abandoned>,
}

impl Run {
    fn new(retries: u32, targets: &[(&str, std::ops::Range<u64>)]) -> Self {
        let limits = PoolConfig { concurrency: 64, retries, ..limits() };
        let mut rig = Rig::new(limits.clone());
        let politeness = Politeness {
            per_host: PerHost::Auto,
            rate_per_s: None,
            delay: None,
            obeys_robots: false,
            retries,
        };
        let frontier = Frontier::new(FrontierConfig::from(&politeness), 1);
        rig.pool = Pool::new(limits, frontier, rig.now, 1).anchored(rig.now, 0).dated(0);
        for (name, ids) in targets {
            for id in ids.clone() {
                let host = Some(HostRef { name, local: false });
                assert!(rig.pool.submit(rig.now, id, b"x".to_vec(), Vec::new(), host));
            }
        }
        rig.pool.handle_event(rig.now, Event::SourceEnded);
        rig.up(seat(0, 1));
        Self { rig, asked: Vec::new(), ended: Vec::new(), abandoned: Vec::new() }
    }

    /// Runs until every target has a record, and returns how long that took.
    fn run(&mut self, mut answers: impl FnMut(&Target) -> Answer) -> Duration {
        let began = self.rig.now;
        let mut held: Vec<Target> = Vec::new();
        while self.rig.pool.counts().left() > 0 {
            let at = self.rig.now - began;
            assert!(at < 60 * MINUTE, "{:?}", self.rig.pool.counts());
            for command in self.rig.asked() {
                if let Command::SendSlice(_, slice) = command {
                    held.extend(slice.targets);
                } else if let Command::Abandon(abandoned) = command {
                    self.abandoned.push(*abandoned);
                }
            }
            self.asked.extend(held.iter().map(|target| (at, target.id)));
            let step = if held.is_empty() { SECOND / 4 } else { SECOND / 100 };
            let mut progress = self.rig.now.elapsed().as_micros() as u64;
            self.rig.pass(step, |_| {
                progress += 1;
                reading(progress, None)
            });
            self.answer(std::mem::take(&mut held), &mut answers);
        }
        for command in self.rig.asked() {
            if let Command::Abandon(abandoned) = command {
                self.abandoned.push(*abandoned);
            }
        }
        self.rig.now - began
    }

    fn answer(&mut self, held: Vec<Target>, answers: &mut impl FnMut(&Target) -> Answer) {
        let outcomes: Vec<_> = held
            .into_iter()
            .map(|target| {
                let (verdict, reply) = answers(&target);
                if !matches!(verdict, Verdict::Retry { .. }) {
                    self.ended.push((target.id, verdict.clone()));
                }
                Outcome {
                    id: target.id,
                    verdict,
                    bytes: 0,
                    // One that may start at once counts as sent shortly before it is answered.
                    started_us: target.not_before_us.unwrap_or(u64::MAX),
                    elapsed_us: 9_000,
                    cpu_us: 0,
                    endings: None,
                    reply,
                    retry_after_ms: None,
                    exit_use: None,
                    over_budget: false,
                    session: None,
                    line_bytes: 0,
                    found_bytes: 0,
                    note_bytes: 0,
                }
            })
            .collect();
        let batch = Batch { slices_read: 0, outcomes, lines: Vec::new() };
        self.rig.pool.handle_batch(self.rig.now, seat(0, 1), &batch, &mut Vec::new());
        self.rig.listen();
    }

    fn asked_for(&self, ids: std::ops::Range<u64>) -> usize {
        self.asked.iter().filter(|(_, id)| ids.contains(id)).count()
    }

    fn last_asked(&self, ids: std::ops::Range<u64>) -> Duration {
        self.asked.iter().filter(|(_, id)| ids.contains(id)).map(|(at, _)| *at).max().unwrap_or_default()
    }
}

#[test]
fn a_host_that_refuses_everything_is_given_up_and_harms_no_other() {
    for retries in [0, 2] {
        let mut run = Run::new(retries, &[("bad", 0..1000), ("good", 1000..3000)]);
        let took = run.run(|target| if target.id < 1000 { refuses(target) } else { SERVED });
        assert!(took < 3 * MINUTE, "{took:?}");
        assert!(run.asked_for(0..1000) < 45, "{} requests", run.asked_for(0..1000));
        assert_eq!(run.asked_for(1000..3000), 2000);
        assert!(run.last_asked(1000..3000) < 10 * SECOND, "{:?}", run.last_asked(1000..3000));
        let abandoned = run.abandoned.last().unwrap();
        assert_eq!(abandoned.kind, ErrorKind::HttpStatus);
        assert!(abandoned.message.starts_with("bad refused "), "{}", abandoned.message);
        assert!(abandoned.message.ends_with(" minute; giving up on it"), "{}", abandoned.message);
        let untried = run.abandoned.iter().filter(|abandoned| abandoned.attempts == 0).count();
        assert!(untried > 900 && run.abandoned.len() + run.ended.len() == 3000, "{untried}");
    }
}

#[test]
fn a_host_that_answers_no_more_is_given_up_after_five_minutes() {
    let mut run = Run::new(2, &[("gone", 0..100_000)]);
    let took = run.run(|target| match target.id {
        0..1000 => SERVED,
        // Each attempt waits for its timeout, which this test makes short: the number is what counts.
        _ => fails(target, ErrorKind::Timeout, false),
    });
    assert!(took < 7 * MINUTE, "{took:?}");
    assert_eq!(run.abandoned.len() + run.ended.len(), 100_000);
}

#[test]
fn targets_of_a_host_that_was_given_up_end_at_once_and_it_is_tried_again_later() {
    let mut run = Run::new(2, &[("bad", 0..100)]);
    run.rig.pool.source_ended = false;
    run.run(refuses);
    let asked = run.asked.len();
    let host = Some(HostRef { name: "bad", local: false });
    assert!(run.rig.pool.submit(run.rig.now, 100, b"x".to_vec(), Vec::new(), host));
    run.rig.pool.handle_timeout(run.rig.now);
    run.rig.listen();
    assert_eq!(run.run(refuses), Duration::ZERO);
    assert_eq!((run.asked.len(), run.abandoned.last().map(|abandoned| abandoned.id)), (asked, Some(100)));
    run.rig.pass(6 * MINUTE, alive());
    assert!(run.rig.pool.submit(run.rig.now, 101, b"x".to_vec(), Vec::new(), host));
    run.rig.pool.handle_timeout(run.rig.now);
    run.rig.listen();
    run.run(|_| SERVED);
    assert_eq!(run.ended.last(), Some(&(101, Verdict::Ok)));
}

#[test]
fn broken_pages_fail_and_slow_no_others() {
    let mut run = Run::new(2, &[("a", 0..4000)]);
    let took = run.run(|target| if target.id % 20 == 7 { refuses(target) } else { SERVED });
    let failed = run.ended.iter().filter(|(_, verdict)| *verdict != Verdict::Ok).count();
    assert_eq!(failed + run.abandoned.len(), 200);
    assert!(run.abandoned.len() < 40, "{} given up", run.abandoned.len());
    assert!(run.asked.len() <= 3800 + 200 * 8, "{} requests", run.asked.len());
    let good = run.asked.iter().filter(|(_, id)| id % 20 != 7).map(|(at, _)| *at).max().unwrap();
    assert!(good < 2 * MINUTE, "{good:?}");
    // In the end only such pages are left, and nothing else comes back from the host.
    assert!(took < 8 * MINUTE, "{took:?}");
}

#[test]
fn a_few_pages_that_are_refused_at_first_cost_little_more_than_their_backoff() {
    // How many pages of how many, how many times each, and how long that may take.
    for (pages, others, times, most) in [
        (1, 0, 2, 2 * SECOND),
        (3, 0, 2, 8 * SECOND),
        (6, 0, 2, 15 * SECOND),
        (10, 0, 2, 30 * SECOND),
        (2, 200, 2, 4 * SECOND),
    ] {
        let mut run = Run::new(2, &[("a", 0..pages + others)]);
        let mut refusals = std::collections::HashMap::<u64, u32>::new();
        let took = run.run(|target| {
            let refused = refusals.entry(target.id).or_default();
            if target.id < pages && *refused < times {
                *refused += 1;
                return refuses(target);
            }
            SERVED
        });
        assert!(run.ended.iter().all(|(_, verdict)| *verdict == Verdict::Ok), "{:?}", run.ended);
        assert!(took < most, "{pages} of {}: {took:?}", pages + others);
    }
}

#[test]
fn the_retries_of_a_dying_host_are_a_fifth_of_its_requests() {
    let mut run = Run::new(5, &[("a", 0..2000)]);
    // An answer, so that it is alive; but each is an error.
    let error = |target: &Target| {
        let (verdict, _) = fails(target, ErrorKind::HttpStatus, false);
        (verdict, Some(Reply { first_byte_us: 1_000, status: 200, refused: false, requests: 1, page: None }))
    };
    run.run(error);
    assert!(run.asked.len() <= 2000 * 5 / 4 + 50, "{} requests", run.asked.len());
}
