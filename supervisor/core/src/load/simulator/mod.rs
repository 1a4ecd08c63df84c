//! Whole runs of a [`Frontier`] against simulated servers, in virtual time. A run is a seed.
//!
//! Time against the best fixed limit, from a start of 64 (`tables`, ten seeds, 5 % and 50 % jitter): 8 threads × 100 ms
//! 1.02×, settles at 8 in flight; knee 64 × 50 ms 1.04×, at 64; knee 48 × 50 ms 1.10×, at 46; knee 16 × 50 ms 1.27×, at 14;
//! 2,000 × 1 s without any limit 5.9 s. Accepted per second and refused after 20 s by nginx's `limit_req` without
//! burst: 28.3 of 30 and 0.2 %; 19.3 of 20 and 0.3 %; after a drop from 20 to 5, 4.8 and 0.6 % from 15 s later on.

mod cases;
mod plots;
mod random;
mod server;
mod tables;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use fastrand::Rng;

use wire::record::ErrorKind;

use crate::frontier::{
    Answer, Attempt, Frontier, FrontierConfig, HostId, HostRef, PerHost, Politeness, Start,
};
use crate::load::total::{Tick, Total};
use server::{Capacity, Ending, Fate, Server};

fn config(per_host: PerHost) -> FrontierConfig {
    let politeness = Politeness { per_host, rate_per_s: None, delay: None, obeys_robots: false, retries: 2 };
    FrontierConfig { adapts_local: true, ..FrontierConfig::from(&politeness) }
}

fn fixed(in_flight: u32) -> PerHost {
    PerHost::Limit(NonZeroU32::new(in_flight).unwrap())
}

fn unlimited(each_s: f64) -> Server {
    Server::new(Capacity::Unlimited { each_s })
}

fn threads(count: u32, each_s: f64) -> Server {
    Server::new(Capacity::Threads { count, each_s })
}

fn knee(at: u32, each_s: f64) -> Server {
    Server::new(Capacity::Knee { at, each_s })
}

/// How long `targets` take with the best fixed limit, and which that is.
fn best_fixed(server: &Server, targets: u64) -> (f64, u32) {
    let limits = [2, 4, 8, 10, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1000, 2000];
    let time =
        |limit: u32| (Run::new(config(fixed(limit)), vec![(server.clone(), targets)], 1).run(1e6), limit);
    limits.into_iter().map(time).min_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

/// Time between two ticks.
const TICK_NS: u64 = 100_000_000;

/// One moment of one host.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at_s: f64,
    ending: Ending,
    limit: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    /// A request reaches its server.
    Arrives(Sent),
    /// The client knows how it ended.
    Ended(Sent, Ending, Option<Duration>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Sent {
    id: u64,
    seat: HostId,
    host: usize,
    at_ns: u64,
}

/// One host: its server, and what was seen of it.
#[derive(Debug)]
struct Site {
    name: String,
    server: Server,
    /// Targets of this host that are not done.
    left: u64,
    in_flight: u32,
    in_flight_most: u32,
    starts_ns: Vec<u64>,
    seen: Vec<Seen>,
}

/// A run.
struct Run {
    rng: Rng,
    zero: Instant,
    now_ns: u64,
    frontier: Frontier,
    sites: Vec<Site>,
    /// Which host a target belongs to.
    host_of: Vec<usize>,
    /// How often each target was refused.
    refusals: Vec<u8>,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    what: Vec<What>,
    /// How late a worker may send a request.
    late_ms: f64,
    /// Share of the requests that are later than that, and by how much at most.
    tail: (f64, f64),
    /// What limits the number in flight over all hosts.
    total: Option<Total>,
    under_way: u32,
}

impl Run {
    /// Each server gets so many targets.
    fn new(config: FrontierConfig, servers: Vec<(Server, u64)>, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let zero = wire::clock::now();
        let mut run = Self {
            frontier: Frontier::new(config, rng.u64(..)),
            rng,
            zero,
            now_ns: 0,
            sites: Vec::new(),
            host_of: Vec::new(),
            refusals: Vec::new(),
            events: BinaryHeap::new(),
            what: Vec::new(),
            late_ms: 0.3,
            tail: (0.0, 0.0),
            total: None,
            under_way: 0,
        };
        for (server, targets) in servers {
            run.add(server, targets);
        }
        run
    }

    /// Adds a server with so many targets.
    fn add(&mut self, server: Server, targets: u64) {
        let index = self.sites.len();
        let name = format!("host{index}");
        for _ in 0..targets {
            let id = self.host_of.len() as u64;
            self.host_of.push(index);
            self.refusals.push(0);
            self.frontier.push(self.zero, id, Some(HostRef { name: &name, local: true }));
        }
        let (in_flight, in_flight_most) = (0, 0);
        let (starts_ns, seen) = (Vec::new(), Vec::new());
        self.sites.push(Site { name, server, left: targets, in_flight, in_flight_most, starts_ns, seen });
    }

    fn now(&self) -> Instant {
        self.zero + Duration::from_nanos(self.now_ns)
    }

    fn now_s(&self) -> f64 {
        self.now_ns as f64 / 1e9
    }

    fn schedule(&mut self, at_ns: u64, what: What) {
        self.events.push(Reverse((at_ns, self.what.len() as u64)));
        self.what.push(what);
    }

    /// Runs until all is done, or until this time. Returns when that was.
    fn run(&mut self, until_s: f64) -> f64 {
        let until_ns = (until_s * 1e9) as u64;
        while self.sites.iter().any(|site| site.left > 0) {
            self.start_all();
            let due = self.frontier.next_due().filter(|_| self.has_room());
            let due = due.map(|due| (due - self.zero).as_nanos() as u64);
            let next = self.events.peek().map(|Reverse((at, _))| *at);
            let tick = self.total.is_some().then(|| (self.now_ns / TICK_NS + 1) * TICK_NS);
            let at_ns = due
                .into_iter()
                .chain(next)
                .chain(tick)
                .min()
                .expect("targets are left, and nothing will ever come");
            if at_ns >= until_ns {
                self.now_ns = until_ns;
                break;
            }
            self.now_ns = self.now_ns.max(at_ns);
            if tick.is_some_and(|tick| tick <= self.now_ns) {
                self.ticks();
            }
            while let Some(&Reverse((at, index))) = self.events.peek()
                && at <= self.now_ns
            {
                self.events.pop();
                self.happens(self.what[index as usize]);
            }
        }
        self.now_s()
    }

    /// The machine is idle.
    fn ticks(&mut self) {
        let (now, in_flight) = (self.now(), self.under_way);
        let tick =
            Tick { workers: 1, busy: 0.0, waiting: self.frontier.len() as u64, in_flight, awake: in_flight };
        if let Some(total) = &mut self.total {
            total.on_tick(now, tick);
        }
    }

    fn has_room(&self) -> bool {
        self.total.as_ref().is_none_or(|total| self.under_way < total.in_flight_max())
    }

    fn start_all(&mut self) {
        let now = self.now();
        while self.has_room()
            && let Some(Start { id, host: seat, not_before }) = self.frontier.pop(now)
        {
            if let Some(total) = &mut self.total {
                total.on_start(now, self.under_way);
            }
            self.under_way += 1;
            let host = self.host_of[id as usize];
            let start_ns = (not_before.unwrap_or(now) - self.zero).as_nanos() as u64;
            let site = &mut self.sites[host];
            site.in_flight += 1;
            site.in_flight_most = site.in_flight_most.max(site.in_flight);
            site.starts_ns.push(start_ns);
            let tail_ms = if self.rng.f64() < self.tail.0 { self.tail.1 * self.rng.f64() } else { 0.0 };
            let late_ns = ((self.late_ms * self.rng.f64() + tail_ms) * 1e6) as u64;
            let half_ns = (site.server.round_trip_s * 5e8) as u64;
            let sent = Sent { id, seat, host, at_ns: start_ns + late_ns };
            self.schedule(sent.at_ns + half_ns, What::Arrives(sent));
        }
    }

    fn happens(&mut self, what: What) {
        match what {
            What::Arrives(sent) => {
                let now_s = self.now_s();
                let Fate { ending, first_byte_at_s, done_at_s } =
                    self.sites[sent.host].server.arrives(now_s, &mut self.rng);
                let first_byte = Duration::from_secs_f64(first_byte_at_s - sent.at_ns as f64 / 1e9);
                self.schedule((done_at_s * 1e9) as u64, What::Ended(sent, ending, Some(first_byte)));
            }
            What::Ended(sent, ending, first_byte) => self.ends(sent, ending, first_byte),
        }
    }

    fn ends(&mut self, sent: Sent, ending: Ending, first_byte: Option<Duration>) {
        let (now, at_s) = (self.now(), self.now_s());
        let site = &mut self.sites[sent.host];
        site.server.is_left();
        site.in_flight -= 1;
        if let Some(total) = &mut self.total {
            total.on_end(now, self.under_way, ending == Ending::Lost);
        }
        self.under_way -= 1;
        let sent_at = self.zero + Duration::from_nanos(sent.at_ns);
        let (answer, failure) = match ending {
            Ending::Served => (Answer::Served { first_byte }, None),
            Ending::Refused => (Answer::Refused { sent_at }, Some(ErrorKind::HttpStatus)),
            Ending::Lost => (Answer::Lost, Some(ErrorKind::Timeout)),
        };
        let refusals = &mut self.refusals[sent.id as usize];
        let is_sure = !site.server.says_503;
        let attempt = Attempt { sent_at, answer, failure, is_sure };
        let answer = self.frontier.hear(now, sent.seat, &attempt, *refusals);
        *refusals = refusals.saturating_add(u8::from(ending == Ending::Refused));
        if ending == Ending::Served {
            site.left -= 1;
            self.frontier.release(now, sent.seat, answer);
        } else {
            self.frontier.retry(now, sent.id, sent.seat, 1, None, answer);
        }
        let limit = self.limit(sent.host);
        self.sites[sent.host].seen.push(Seen { at_s, ending, limit });
    }

    fn limit(&self, host: usize) -> u32 {
        let name = &self.sites[host].name;
        self.frontier.look(self.now(), name).and_then(|look| look.in_flight_max).unwrap_or(u32::MAX)
    }
}

impl Site {
    fn between(&self, from_s: f64, to_s: f64) -> impl Iterator<Item = &Seen> {
        self.seen.iter().filter(move |seen| (from_s..to_s).contains(&seen.at_s))
    }

    /// Answers per second in this time.
    fn served_per_s(&self, from_s: f64, to_s: f64) -> f64 {
        let served = self.between(from_s, to_s).filter(|seen| seen.ending == Ending::Served).count();
        served as f64 / (to_s - from_s)
    }

    fn refused(&self, from_s: f64, to_s: f64) -> usize {
        self.between(from_s, to_s).filter(|seen| seen.ending == Ending::Refused).count()
    }

    /// Share of the answers in this time that refused.
    fn refused_share(&self, from_s: f64, to_s: f64) -> f64 {
        self.refused(from_s, to_s) as f64 / self.between(from_s, to_s).count().max(1) as f64
    }

    /// The limits of this time, the least first.
    fn limits(&self, from_s: f64, to_s: f64) -> Vec<u32> {
        let mut limits: Vec<_> = self.between(from_s, to_s).map(|seen| seen.limit).collect();
        limits.sort_unstable();
        limits
    }
}
