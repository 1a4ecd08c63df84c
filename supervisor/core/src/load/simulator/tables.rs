//! Prints what the controllers reach on each kind of server, when asked for:
//! `SHOW_LOAD=1 cargo test -p supervisor-core -- --nocapture show_`.

use std::num::NonZeroU32;

use super::server::Server;
use super::*;

fn is_asked_for() -> bool {
    std::env::var_os("SHOW_LOAD").is_some()
}

#[test]
fn show_limits() {
    if !is_asked_for() {
        return;
    }
    for jitter in [0.05, 0.5, 2.0] {
        for (name, server, targets) in [
            ("2,000 x 1 s, unlimited", unlimited(1.0), 2_000),
            ("20,000 x 20 ms, unlimited", unlimited(0.02), 20_000),
            ("8 threads x 100 ms", threads(8, 0.1), 2_000),
            ("64 threads x 100 ms", threads(64, 0.1), 10_000),
            ("knee 64 x 50 ms", knee(64, 0.05), 8_000),
            ("knee 48 x 50 ms", knee(48, 0.05), 8_000),
            ("knee 32 x 60 ms", knee(32, 0.06), 4_000),
            ("knee 16 x 50 ms", knee(16, 0.05), 4_000),
            ("knee 400 x 200 ms", knee(400, 0.2), 20_000),
        ] {
            let server = Server { jitter, ..server };
            let (best_s, best) = best_fixed(&server, targets);
            for max in [100_000] {
                let mut factors = Vec::new();
                let (mut ends, mut most) = (Vec::new(), 0);
                for seed in 0..10 {
                    let per_host = PerHost::AutoUpTo(NonZeroU32::new(max).unwrap());
                    let mut run = Run::new(config(per_host), vec![(server.clone(), targets)], seed);
                    let took_s = run.run(1e6);
                    let limits = run.sites[0].limits(took_s * 0.7, took_s);
                    ends.push(limits[limits.len() / 2]);
                    most = most.max(run.sites[0].in_flight_most);
                    factors.push(took_s / best_s);
                }
                factors.sort_by(f64::total_cmp);
                ends.sort_unstable();
                println!(
                    "{jitter:4} {name:28} best {best_s:6.2} s at {best:4} | max {max:6}: {:.2} {:.2} {:.2} ends {:?} most {most}",
                    factors[0],
                    factors[5],
                    factors[9],
                    [ends[0], ends[5], ends[9]]
                );
            }
        }
    }
}

#[test]
fn show_trace() {
    if !is_asked_for() {
        return;
    }
    for (name, server, targets) in [
        ("8 threads x 100 ms", threads(8, 0.1), 2_000),
        ("knee 16", knee(16, 0.05), 4_000),
        ("knee 32", knee(32, 0.06), 4_000),
        ("knee 48", knee(48, 0.05), 8_000),
        ("jitter", Server { jitter: 3.0, ..unlimited(0.5) }, 8_000),
    ] {
        for seed in 0..3 {
            let mut run = Run::new(config(PerHost::Auto), vec![(server.clone(), targets)], seed);
            let took = run.run(1e6);
            print!("{name} {took:.1} s:");
            let mut last = 0;
            for seen in &run.sites[0].seen {
                if seen.limit != last {
                    print!(" {:.1}:{}", seen.at_s, seen.limit);
                    last = seen.limit;
                }
            }
            println!();
        }
    }
}

#[test]
fn show_paces() {
    if !is_asked_for() {
        return;
    }
    let limited = Server::limited;
    let then = |first: Server, at: f64, other: Server| Server { turns: Some((at, Box::new(other))), ..first };
    for (name, server, until) in [
        ("30/s", limited(30.0, 0), 120.0),
        ("20/s", limited(20.0, 0), 120.0),
        ("100/s", limited(100.0, 0), 120.0),
        ("200/s", limited(200.0, 0), 120.0),
        ("5/s", limited(5.0, 0), 300.0),
        ("1/s", limited(1.0, 0), 600.0),
        ("30/s burst 20", limited(30.0, 20), 120.0),
        ("5/s burst 100", limited(5.0, 100), 300.0),
        ("20 -> 5", then(limited(20.0, 0), 60.0, limited(5.0, 0)), 160.0),
        ("10 -> 40", then(limited(10.0, 0), 60.0, limited(40.0, 0)), 300.0),
    ] {
        for (late_ms, tail) in [(0.3, (0.0, 0.0)), (1.0, (0.05, 8.0)), (1.0, (0.2, 5.0)), (3.0, (0.0, 0.0))] {
            let mut rows = Vec::new();
            for seed in 0..5 {
                let mut run = Run::new(config(PerHost::Auto), vec![(server.clone(), 1_000_000)], seed);
                run.late_ms = late_ms;
                run.tail = tail;
                run.run(until);
                let site = &run.sites[0];
                let part = |from, to| {
                    (
                        site.served_per_s(from, to),
                        100.0 * site.refused_share(from, to),
                        site.refused(from, to),
                    )
                };
                rows.push([
                    part(0.0, 20.0),
                    part(20.0, until / 2.0),
                    part(until / 2.0, until / 2.0 + 15.0),
                    part(until / 2.0 + 15.0, until),
                ]);
            }
            for n in 0..4 {
                let mean = |f: fn(&(f64, f64, usize)) -> f64| {
                    rows.iter().map(|row| f(&row[n])).sum::<f64>() / rows.len() as f64
                };
                print!(
                    "{:14} late {late_ms} {:6.2}/s {:5.2} % ({:.0}) |",
                    if n == 0 { name } else { "" },
                    mean(|p| p.0),
                    mean(|p| p.1),
                    mean(|p| p.2 as f64)
                );
            }
            println!();
        }
    }
}

#[test]
fn show_speed() {
    if !is_asked_for() {
        return;
    }
    let config = config(PerHost::Auto);
    for (hosts, targets) in
        [(10_000, 10_000_u64), (10_000, 1_000_000), (10_000, 5_000_000), (100_000, 100_000)]
    {
        let names: Vec<_> = (0..hosts).map(|host| format!("host{host}.example.org")).collect();
        let mut now = wire::clock::now();
        let mut frontier = Frontier::new(config.clone(), 1);
        let before = wire::clock::resident().now_bytes;
        let began = wire::clock::thread_cpu();
        for id in 0..targets {
            let name = &names[id as usize % hosts];
            frontier.push(now, id, Some(HostRef { name, local: false }));
        }
        let resident = wire::clock::resident().now_bytes.saturating_sub(before);
        let mut held = std::collections::VecDeque::new();
        let mut done = 0;
        while done < targets {
            while held.len() < 2_000
                && let Some(start) = frontier.pop(now)
            {
                held.push_back(start.host);
            }
            now += Duration::from_micros(10);
            let Some(host) = held.pop_front() else { continue };
            frontier.release(now, host, Answer::Served { first_byte: Some(Duration::from_millis(20)) });
            done += 1;
        }
        let per_s = targets as f64 / (wire::clock::thread_cpu() - began).as_secs_f64() / 1e6;
        println!("{hosts} hosts, {targets} targets: {per_s:.2} M/s, {} MiB", resident >> 20);
    }
}
