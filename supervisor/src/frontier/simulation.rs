//! The frontier in virtual time: named cases first, then thousands of random
//! runs against a model that only counts. A failing run prints its seed.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;

use fastrand::Rng;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn config(per_host: PerHost, rate_per_s: Option<f64>) -> FrontierConfig {
    FrontierConfig::from(&Politeness {
        per_host,
        rate_per_s,
        retries: 2,
    })
}

fn limit(in_flight: u32) -> PerHost {
    PerHost::Limit(NonZeroU32::new(in_flight).unwrap())
}

fn host(name: &str) -> Option<HostRef<'_>> {
    Some(HostRef {
        name,
        loopback: false,
    })
}

/// Pops until nothing can go, and gives the ids.
fn pop_all(frontier: &mut Frontier, now: Instant) -> Vec<u64> {
    std::iter::from_fn(|| frontier.pop(now))
        .map(|(id, _)| id)
        .collect()
}

#[test]
fn the_limit_is_eight_for_a_network_host_and_none_for_loopback() {
    let now = shared::clock::now();
    let table = [
        (PerHost::Auto, host("example.org"), 8),
        (
            PerHost::Auto,
            Some(HostRef {
                name: "127.0.0.1",
                loopback: true,
            }),
            100,
        ),
        (PerHost::Auto, None, 100),
        (
            limit(3),
            Some(HostRef {
                name: "127.0.0.1",
                loopback: true,
            }),
            3,
        ),
        (limit(3), None, 100),
        (PerHost::Unlimited, host("example.org"), 100),
    ];
    for (per_host, host, expected) in table {
        let mut frontier = Frontier::new(config(per_host, None), 0);
        (0..100).for_each(|id| frontier.push(now, id, host));
        assert_eq!(
            pop_all(&mut frontier, now),
            (0..expected).collect::<Vec<_>>(),
            "{per_host:?} {host:?}"
        );
        assert_eq!(frontier.len(), 100 - expected as usize);
        assert_eq!(frontier.next_due(), None, "only a permit helps");
    }
}

#[test]
fn hosts_take_turns_however_much_one_of_them_has() {
    let now = shared::clock::now();
    let mut frontier = Frontier::new(config(PerHost::Unlimited, None), 0);
    (0..6).for_each(|id| frontier.push(now, id, host("big")));
    frontier.push(now, 10, host("small"));
    frontier.push(now, 11, host("small"));
    frontier.push(now, 20, host("tiny"));
    assert_eq!(pop_all(&mut frontier, now), [0, 10, 20, 1, 11, 2, 3, 4, 5]);
}

#[test]
fn a_permit_that_comes_back_lets_the_next_one_go() {
    let now = shared::clock::now();
    let mut frontier = Frontier::new(config(limit(1), None), 0);
    (0..3).for_each(|id| frontier.push(now, id, host("a")));
    let (_, a) = frontier.pop(now).unwrap();
    assert_eq!(frontier.pop(now), None);
    frontier.release(now, a);
    assert_eq!(frontier.pop(now), Some((1, a)));
}

#[test]
fn what_is_given_back_goes_first_and_in_order() {
    let now = shared::clock::now();
    for host in [host("a"), None] {
        let mut frontier = Frontier::new(config(limit(3), None), 0);
        (0..5).for_each(|id| frontier.push(now, id, host));
        let held: Vec<_> = (0..3).map(|_| frontier.pop(now).unwrap()).collect();
        for &(id, host) in held.iter().rev() {
            frontier.give_back(now, id, host);
        }
        assert_eq!(frontier.len(), 5);
        assert_eq!(pop_all(&mut frontier, now)[..3], [0, 1, 2]);
    }
}

#[test]
fn a_due_retry_goes_before_fresh_targets_and_waits_for_a_permit_like_them() {
    let now = shared::clock::now();
    for host in [host("a"), None] {
        let mut frontier = Frontier::new(config(limit(1), None), 3);
        (0..3).for_each(|id| frontier.push(now, id, host));
        let (id, seat) = frontier.pop(now).unwrap();
        let due = frontier.retry(now, id, seat, 1, None);
        assert_eq!((frontier.retrying(), frontier.len()), (1, 3));
        let (other, _) = frontier.pop(now).unwrap();
        assert_eq!(other, 1, "the host is not held up meanwhile");
        if host.is_some() {
            assert_eq!(frontier.pop(due), None, "the permit is taken");
        }
        frontier.release(due, seat);
        assert_eq!(frontier.pop(due), Some((0, seat)));
        assert_eq!((frontier.retrying(), frontier.len()), (0, 1));
    }
}

#[test]
fn retry_after_holds_the_whole_host_and_only_it() {
    let now = shared::clock::now();
    let table = [(5, 5), (120, 120), (86_400, 120)];
    for (asked_s, held_s) in table {
        let mut frontier = Frontier::new(config(limit(4), None), 7);
        (0..3).for_each(|id| frontier.push(now, id, host("a")));
        let (id, a) = frontier.pop(now).unwrap();
        let (asked, held) = (SECOND * asked_s, SECOND * held_s);
        let due = frontier.retry(now, id, a, 1, Some(asked));
        assert!(due >= now + held && due <= now + held + held / 10, "{asked:?}");
        frontier.push(now, 9, host("b"));
        assert_eq!(pop_all(&mut frontier, now), [9]);
        assert_eq!(frontier.next_due(), Some(now + held));
        assert_eq!(frontier.pop(now + held - Duration::from_nanos(1)), None);
        assert_eq!(pop_all(&mut frontier, now + held), [1, 2]);
        assert_eq!(pop_all(&mut frontier, due), [0]);
    }
}

#[test]
fn a_retry_after_without_a_host_holds_only_its_target() {
    let now = shared::clock::now();
    let mut frontier = Frontier::new(config(PerHost::Auto, Some(1.0)), 0);
    (0..3).for_each(|id| frontier.push(now, id, None));
    let (id, none) = frontier.pop(now).unwrap();
    let due = frontier.retry(now, id, none, 1, Some(SECOND));
    assert_eq!(pop_all(&mut frontier, now), [1, 2]);
    assert_eq!(frontier.next_due(), Some(due));
    assert_eq!(pop_all(&mut frontier, due), [0]);
}

#[test]
fn a_host_is_forgotten_when_nothing_about_it_counts_any_more() {
    let now = shared::clock::now();
    let mut frontier = Frontier::new(config(limit(1), None), 0);
    for id in 0..1000 {
        frontier.push(now, id, host(&format!("host{id}")));
        let (_, seat) = frontier.pop(now).unwrap();
        assert_eq!(frontier.hosts_len(), 1);
        frontier.release(now, seat);
    }
    assert_eq!(frontier.hosts_len(), 0);
}

#[test]
fn an_idle_hosts_rate_and_pause_outlive_its_targets() {
    let now = shared::clock::now();
    let mut frontier = Frontier::new(config(limit(9), Some(0.5)), 0);
    frontier.push(now, 0, host("a"));
    let (_, a) = frontier.pop(now).unwrap();
    frontier.release(now, a);
    frontier.push(now, 1, host("a"));
    assert_eq!(frontier.pop(now), None, "a token was spent just now");
    assert_eq!(frontier.next_due(), Some(now + 2 * SECOND));
    let later = now + 2 * SECOND;
    let (_, a) = frontier.pop(later).unwrap();
    frontier.release(later, a);
    assert_eq!(frontier.next_due(), None, "nobody waits for this token");
    frontier.push(later + 2 * SECOND, 2, host("b"));
    assert_eq!(frontier.hosts_len(), 1, "a's bucket is full again");
}

/// What a run must never break, counted apart from the frontier.
struct Model {
    per_host_max: usize,
    /// Tokens that may start at once, and the spacing after that.
    rate: Option<(u32, Duration)>,
    hosts: HashMap<Option<String>, HostModel>,
    /// Ids in the frontier, each with the instant before which it must not come out.
    inside: HashMap<u64, Instant>,
    done: HashSet<u64>,
}

#[derive(Default)]
struct HostModel {
    in_flight: usize,
    starts: Vec<Instant>,
    paused_until: Option<Instant>,
    last_fresh: Option<u64>,
}

/// One target on its way, as the pool would hold it.
struct Held {
    id: u64,
    seat: HostId,
    attempt: u32,
}

struct Run {
    rng: Rng,
    now: Instant,
    frontier: Frontier,
    model: Model,
    held: Vec<Held>,
    attempts: HashMap<u64, u32>,
    host_of: Vec<Option<String>>,
    began: HashSet<u64>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let in_flight_max = rng.u32(1..=9);
        let per_host = *rng
            .choice(&[PerHost::Unlimited, PerHost::Auto, limit(in_flight_max)])
            .unwrap();
        let rate_per_s = *rng
            .choice(&[None, Some(0.7), Some(5.0), Some(33.0), Some(200.0)])
            .unwrap();
        let per_host_max = match per_host {
            PerHost::Auto => 8,
            PerHost::Limit(limit) => limit.get() as usize,
            PerHost::Unlimited => usize::MAX,
        };
        let rate = rate_per_s.map(|per_s: f64| ((per_s / 10.0).max(1.0) as u32, SECOND.div_f64(per_s)));
        Self {
            now: shared::clock::now(),
            frontier: Frontier::new(config(per_host, rate_per_s), rng.u64(..)),
            model: Model {
                per_host_max,
                rate,
                hosts: HashMap::new(),
                inside: HashMap::new(),
                done: HashSet::new(),
            },
            held: Vec::new(),
            attempts: HashMap::new(),
            host_of: Vec::new(),
            began: HashSet::new(),
            rng,
        }
    }

    fn push(&mut self) {
        let id = self.host_of.len() as u64;
        let name = (self.rng.u32(0..10) > 0).then(|| format!("host{}", self.rng.u32(0..6)));
        self.frontier.push(self.now, id, name.as_deref().and_then(host));
        self.host_of.push(name);
        self.model.inside.insert(id, self.now);
    }

    /// Pops once and holds the answer against the model.
    fn pop(&mut self) -> bool {
        let Some((id, seat)) = self.frontier.pop(self.now) else {
            self.next_due_is_truthful();
            return false;
        };
        let due = self
            .model
            .inside
            .remove(&id)
            .expect("came out without having gone in");
        assert!(due <= self.now, "{id} was not due");
        let name = &self.host_of[id as usize];
        let of_host = self.model.hosts.entry(name.clone()).or_default();
        assert_eq!(name.is_none(), seat == HostId::NONE);
        if self.began.insert(id) {
            assert!(of_host.last_fresh.is_none_or(|last| last < id), "{id} overtook");
            of_host.last_fresh = Some(id);
        }
        if name.is_some() {
            of_host.in_flight += 1;
            assert!(
                of_host.in_flight <= self.model.per_host_max,
                "{} in flight",
                of_host.in_flight
            );
            assert!(
                of_host.paused_until.is_none_or(|until| until <= self.now),
                "{name:?} is paused"
            );
            of_host.starts.push(self.now);
        }
        let attempt = *self.attempts.entry(id).and_modify(|n| *n += 1).or_insert(1);
        self.held.push(Held { id, seat, attempt });
        true
    }

    /// One held target ends, one way or another.
    fn end_one(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let Held { id, seat, attempt } = self.held.swap_remove(self.rng.usize(0..self.held.len()));
        let name = self.host_of[id as usize].clone();
        let of_host = self.model.hosts.get_mut(&name).unwrap();
        of_host.in_flight = of_host.in_flight.saturating_sub(1);
        match self.rng.u32(0..10) {
            0..=1 if attempt < 4 => {
                let after = self.rng.bool().then(|| SECOND * self.rng.u32(0..200));
                let due = self.frontier.retry(self.now, id, seat, attempt, after);
                let after = after.unwrap_or_default().min(SECOND * 120);
                assert!(due >= self.now + after && due <= self.now + (after + after / 10).max(SECOND * 30));
                of_host.paused_until = of_host.paused_until.max(Some(self.now + after));
                self.model.inside.insert(id, due);
            }
            2 => {
                self.frontier.give_back(self.now, id, seat);
                *self.attempts.get_mut(&id).unwrap() -= 1;
                self.model.inside.insert(id, self.now);
            }
            _ => {
                self.frontier.release(self.now, seat);
                assert!(self.model.done.insert(id), "{id} was done twice");
            }
        }
    }

    /// `pop` has just given nothing: neither does it until `next_due`, and then it gives something.
    fn next_due_is_truthful(&mut self) {
        let Some(due) = self.frontier.next_due() else {
            assert_eq!(
                self.frontier.clone().pop(self.now + HOUR),
                None,
                "time alone helped"
            );
            return;
        };
        assert!(due > self.now);
        assert_eq!(
            self.frontier.clone().pop(due - Duration::from_nanos(1)),
            None,
            "earlier than said"
        );
        assert!(self.frontier.clone().pop(due).is_some(), "later than said");
    }

    fn pass_time(&mut self) {
        let until = self.now + Duration::from_millis(self.rng.u64(0..3000));
        let due = self.frontier.next_due().filter(|_| self.rng.bool());
        self.now = due.unwrap_or(until).max(self.now);
    }

    fn check_rate(&self) {
        let Some((burst, interval)) = self.model.rate else {
            return;
        };
        for (name, of_host) in &self.model.hosts {
            for (i, from) in of_host.starts.iter().enumerate() {
                for (n, to) in (1_u32..).zip(&of_host.starts[i..]) {
                    let least = interval * n.saturating_sub(burst);
                    assert!(
                        *to - *from >= least,
                        "{n} starts of {name:?} in {:?}",
                        *to - *from
                    );
                }
            }
        }
    }

    fn run(mut self) {
        for _ in 0..self.rng.u32(1..400) {
            match self.rng.u32(0..10) {
                0..=2 => self.push(),
                3..=5 => _ = self.pop(),
                6..=8 => self.end_one(),
                _ => self.pass_time(),
            }
            assert_eq!(self.frontier.len(), self.model.inside.len());
        }
        while self.model.done.len() < self.host_of.len() {
            while self.pop() {}
            if self.held.is_empty() {
                self.now = self
                    .frontier
                    .next_due()
                    .expect("targets are left, and nothing will ever come");
            }
            while !self.held.is_empty() {
                self.end_one();
            }
        }
        self.check_rate();
        assert_eq!((self.frontier.len(), self.frontier.retrying()), (0, 0));
        assert_eq!(self.frontier.next_due(), None);
        self.frontier.push(self.now + HOUR, u64::MAX, host("last"));
        assert_eq!(self.frontier.hosts_len(), 1, "hosts were not forgotten");
    }
}

#[test]
fn random_runs_keep_every_promise() {
    for seed in 0..2000 {
        let outcome = std::panic::catch_unwind(|| Run::new(seed).run());
        assert!(outcome.is_ok(), "seed {seed}");
    }
}
