//! Thousands of random servers, and an oracle that says what must hold on each. A failing run prints its seed.

use super::server::{Capacity, RateLimit, Server};
use super::*;

/// What a seed determines.
#[derive(Debug)]
struct Scenario {
    server: Server,
    targets: u64,
    max: u32,
    rate_per_s: Option<f64>,
    late_ms: f64,
}

fn between(rng: &mut Rng, least: f64, most: f64) -> f64 {
    least * (most / least).powf(rng.f64())
}

fn server(rng: &mut Rng) -> Server {
    let each_s = between(rng, 0.005, 0.3);
    let capacity = match rng.u32(0..3) {
        0 => Capacity::Unlimited { each_s },
        1 => Capacity::Threads { count: rng.u32(1..40), each_s },
        _ => Capacity::Knee { at: rng.u32(8..80), each_s },
    };
    let mut server = Server::new(capacity);
    server.jitter = *rng.choice(&[0.01, 0.1, 0.5, 1.0]).unwrap();
    server.round_trip_s = between(rng, 0.0005, 0.05);
    if rng.u32(0..3) == 0 {
        server.rate = Some(RateLimit::new(between(rng, 2.0, 100.0), *rng.choice(&[0, 0, 3, 30]).unwrap()));
    }
    if rng.u32(0..4) == 0 {
        server.body_s = between(rng, 0.01, 0.5);
    }
    server
}

impl Scenario {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut first = server(&mut rng);
        match rng.u32(0..5) {
            0 => {
                let at = between(&mut rng, 1.0, 20.0);
                first.outage = Some((at, at + between(&mut rng, 1.0, 60.0)));
            }
            1 => first.turns = Some((between(&mut rng, 1.0, 20.0), Box::new(server(&mut rng)))),
            _ => {}
        }
        Self {
            server: first,
            targets: rng.u64(1..800),
            max: *rng.choice(&[1, 2, 16, 64, 2000]).unwrap(),
            rate_per_s: (rng.u32(0..4) == 0).then(|| between(&mut rng, 3.0, 500.0)),
            late_ms: *rng.choice(&[0.0, 0.3]).unwrap(),
        }
    }

    /// The most that this server serves to this client per second.
    fn best_per_s(&self) -> f64 {
        let latest = self.server.turns.as_ref().map(|(_, other)| &**other);
        let of = |server: &Server| {
            let alone_s = match server.capacity {
                Capacity::Unlimited { each_s }
                | Capacity::Threads { each_s, .. }
                | Capacity::Knee { each_s, .. } => each_s * (1.0 + server.jitter / 2.0),
            };
            let each_s = alone_s + server.round_trip_s + server.body_s / 2.0;
            server
                .best_per_s()
                .min(f64::from(self.max) / each_s)
                .min(self.rate_per_s.unwrap_or(f64::INFINITY))
        };
        latest.map_or(f64::INFINITY, of).min(of(&self.server))
    }

    fn runs(&self, seed: u64) {
        let per_host = PerHost::AutoUpTo(NonZeroU32::new(self.max).unwrap());
        let config = FrontierConfig { rate_per_s: self.rate_per_s, ..config(per_host) };
        let mut run = Run::new(config, vec![(self.server.clone(), self.targets)], seed);
        run.late_ms = self.late_ms;
        // Three times what the best could do, and a minute for each thing that went wrong.
        let outage_s = self.server.outage.map_or(0.0, |(_, to)| to + 60.0);
        let turned_s = self.server.turns.as_ref().map_or(0.0, |(at, _)| at + 60.0);
        let limited = self.server.rate.is_some() || self.server.turns.is_some();
        let search_s = if limited { 60.0 } else { 0.0 };
        let bound_s = 3.0 * self.targets as f64 / self.best_per_s() + outage_s + turned_s + search_s + 20.0;
        let took_s = run.run(bound_s);
        let site = &run.sites[0];
        assert_eq!(site.left, 0, "{} targets are left after {took_s} s, bound {bound_s} s", site.left);
        assert!(site.in_flight_most <= self.max, "{} in flight", site.in_flight_most);
        if let Some(per_s) = self.rate_per_s {
            let least_ns = (1e9 / per_s) as u64;
            let closest = site.starts_ns.windows(2).map(|pair| pair[1] - pair[0]).min();
            assert!(closest.is_none_or(|gap| gap >= least_ns), "{closest:?} ns between two starts");
        }
        self.settles(site, took_s);
    }

    /// In the second half of a long run against a server that stays what it is, few requests are refused.
    fn settles(&self, site: &Site, took_s: f64) {
        let steady = self.server.turns.is_none() && self.server.outage.is_none();
        if steady && took_s > 60.0 {
            let refused = site.refused(took_s / 2.0, took_s);
            let share = site.refused_share(took_s / 2.0, took_s);
            assert!(refused < 10 || share < 0.03, "{refused} refused, {:.1} %", share * 100.0);
        }
    }
}

#[test]
fn random_servers_are_served_whole_within_what_was_told() {
    let mut failed = Vec::new();
    for seed in 0..3_000 {
        let scenario = Scenario::new(seed);
        if std::panic::catch_unwind(|| scenario.runs(seed)).is_err() {
            println!("seed {seed}: {scenario:?}");
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "{} seeds: {failed:?}", failed.len());
}
