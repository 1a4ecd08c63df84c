//! Thousands of random runs in virtual time against a model that only counts.
//! A failing run prints its seed.

use std::collections::{HashMap, HashSet};

use fastrand::Rng;

use super::tests::{SECOND, config, host, limit};
use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// What a run must never break, counted apart from the frontier.
struct Model {
    per_host_max: usize,
    /// The least time between two starts.
    rate: Option<Duration>,
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
        let per_host = *rng.choice(&[PerHost::Unlimited, PerHost::Auto, limit(in_flight_max)]).unwrap();
        let rate_per_s = *rng.choice(&[None, Some(0.7), Some(5.0), Some(33.0), Some(200.0)]).unwrap();
        let per_host_max = match per_host {
            PerHost::Auto | PerHost::AutoUpTo(_) => 16,
            PerHost::Limit(limit) => limit.get() as usize,
            PerHost::Unlimited => usize::MAX,
        };
        let rate = rate_per_s.map(|per_s: f64| SECOND.div_f64(per_s));
        Self {
            now: wire::clock::now(),
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
        let Some(Start { id, host: seat, not_before }) = self.frontier.pop(self.now) else {
            self.next_due_is_truthful();
            return false;
        };
        let start = not_before.unwrap_or(self.now);
        assert!(start >= self.now && start <= self.now + LEAD);
        let due = self.model.inside.remove(&id).expect("came out without having gone in");
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
            assert!(of_host.in_flight <= self.model.per_host_max, "{} in flight", of_host.in_flight);
            assert!(of_host.paused_until.is_none_or(|until| until <= self.now), "{name:?} is paused");
            of_host.starts.push(start);
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
        let answer = self.answer();
        let of_host = self.model.hosts.get_mut(&name).unwrap();
        of_host.in_flight = of_host.in_flight.saturating_sub(1);
        match self.rng.u32(0..10) {
            0..=1 if attempt < 4 => {
                let after = self.rng.bool().then(|| SECOND * self.rng.u32(0..200));
                let due = self.frontier.retry(self.now, id, seat, attempt, after, answer);
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
                self.frontier.release(self.now, seat, answer);
                assert!(self.model.done.insert(id), "{id} was done twice");
            }
        }
    }

    fn answer(&mut self) -> Answer {
        let first_byte = self.rng.bool().then(|| Duration::from_millis(self.rng.u64(1..500)));
        match self.rng.u32(0..20) {
            0 => Answer::Refused { sent_at: self.now - Duration::from_millis(self.rng.u64(0..500)) },
            1 => Answer::Lost,
            2 => Answer::Unknown,
            _ => Answer::Served { first_byte },
        }
    }

    /// `pop` has just given nothing: neither does it until `next_due`, and then it gives something.
    fn next_due_is_truthful(&mut self) {
        let Some(due) = self.frontier.next_due() else {
            assert_eq!(self.frontier.clone().pop(self.now + HOUR), None, "time alone helped");
            return;
        };
        assert!(due > self.now);
        assert_eq!(self.frontier.clone().pop(due - Duration::from_nanos(1)), None, "earlier than said");
        assert!(self.frontier.clone().pop(due).is_some(), "later than said");
    }

    fn pass_time(&mut self) {
        let until = self.now + Duration::from_millis(self.rng.u64(0..3000));
        let due = self.frontier.next_due().filter(|_| self.rng.bool());
        self.now = due.unwrap_or(until).max(self.now);
    }

    fn check_rate(&self) {
        let Some(interval) = self.model.rate else {
            return;
        };
        for (name, of_host) in &self.model.hosts {
            for (i, from) in of_host.starts.iter().enumerate() {
                for (n, to) in (1_u32..).zip(&of_host.starts[i..]) {
                    let least = interval * (n - 1);
                    assert!(*to - *from >= least, "{n} starts of {name:?} in {:?}", *to - *from);
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
                self.now = self.frontier.next_due().expect("targets are left, and nothing will ever come");
            }
            while !self.held.is_empty() {
                self.end_one();
            }
        }
        self.check_rate();
        assert_eq!(self.frontier.len(), 0);
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
