//! Writes the figures of docs/LOAD.md as numbers, when asked for: `scripts/plots` draws them.

use std::fmt::Write as _;
use std::path::Path;

use super::server::Server;
use super::*;
use crate::load::total::{Bound, Room};

/// Time between two rows.
const STEP_S: f64 = 0.1;

/// Runs until all is done or until this time, and writes a row for each step.
fn write(dir: &Path, name: &str, mut run: Run, until_s: f64) {
    let mut rows = String::from("at_s,in_flight,limit,served,refused\n");
    let (mut at_s, mut counted) = (0.0, vec![0; run.sites.len()]);
    while at_s < until_s && run.sites.iter().any(|site| site.left > 0) {
        at_s += STEP_S;
        run.run(at_s);
        let (mut served, mut refused) = (0, 0);
        for (site, counted) in run.sites.iter().zip(&mut counted) {
            for seen in &site.seen[*counted..] {
                served += u32::from(seen.ending == Ending::Served);
                refused += u32::from(seen.ending == Ending::Refused);
            }
            *counted = site.seen.len();
        }
        let limit = run.total.as_ref().map_or_else(|| run.limit(0), Total::in_flight_max);
        let in_flight: u32 = run.sites.iter().map(|site| site.in_flight).sum();
        let _ = writeln!(rows, "{at_s:.1},{in_flight},{limit},{served},{refused}");
    }
    std::fs::write(dir.join(name).with_extension("csv"), rows).unwrap();
}

#[test]
fn write_plots() {
    let Some(dir) = std::env::var_os("MUSTER_PLOTS") else { return };
    let dir = Path::new(&dir);
    let alone = |server: Server, targets| Run::new(config(PerHost::Auto), vec![(server, targets)], 1);
    write(dir, "unlimited", alone(unlimited(1.0), 2_000), 60.0);
    write(dir, "threads", alone(threads(8, 0.1), 2_000), 60.0);
    write(dir, "knee", alone(knee(64, 0.05), 20_000), 60.0);
    let limited = Server::limited(20.0, 0);
    let at_noon = Server { turns: Some((60.0, Box::new(Server::limited(5.0, 0)))), ..limited };
    write(dir, "pace", alone(at_noon, 1_000_000), 120.0);
    let outage = Server { outage: Some((20.0, 40.0)), ..threads(8, 0.05) };
    write(dir, "outage", alone(outage, 10_000), 90.0);
    let room = Room { in_flight_max: 8192, bound: Bound::Descriptors, workers_max: 1 };
    let hosts = (0..500).map(|_| (unlimited(1.0), 20)).collect();
    let mut many = Run::new(config(PerHost::Auto), hosts, 1);
    many.total = Some(Total::new(room, 1, many.zero));
    write(dir, "total", many, 60.0);
}
