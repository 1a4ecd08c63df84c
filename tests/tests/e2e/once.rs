//! What a server sees twice of a job whose requests have an effect, when the job or a worker is killed.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Dir, Origin, TestCommand, by_id, fetch, parse_lines};
use crate::requests::echoed;

const COUNT: usize = 1000;

/// Requests in flight at once.
const IN_FLIGHT: usize = 8;

/// Writes the list, in which the request of one row may take three seconds.
fn list(dir: &Dir, slow: Option<usize>) {
    let delay = |n| if Some(n) == slow { "3" } else { "0.03" };
    let rows: String = (0..COUNT).map(|n| format!("{n},{}\n", delay(n))).collect();
    dir.write("rows.csv", format!("n,delay\n{rows}"));
}

fn post(origin: &Origin, dir: &Dir, flags: &[&str]) -> TestCommand {
    let url = origin.url("/sent?delay={delay}");
    let command =
        fetch().current_dir(dir.root()).args(["-i", "rows.csv", "--url", &url, "--json", r#"{"n":{n}}"#]);
    let command = command.args(["-o", "out.jsonl", "--resume", "--summary", "s.json"]);
    command.args(["--mode", "both", "--concurrency", &(IN_FLIGHT / 2).to_string()]).args(flags)
}

/// How often each body arrived.
fn arrivals(origin: &Origin) -> BTreeMap<String, usize> {
    let mut arrivals = BTreeMap::new();
    for request in echoed(origin) {
        *arrivals.entry(request["body"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    arrivals
}

/// Runs it to its end, killed `kills` times on the way; `code` is how it ends. Returns its records.
fn killed(origin: &Origin, dir: &Dir, flags: &[&str], kills: usize, code: i32) -> BTreeMap<u64, Value> {
    for _ in 0..kills {
        let before = echoed(origin).len();
        let run = post(origin, dir, flags).spawn();
        run.until("requests", || (echoed(origin).len() >= before + 30).then_some(()));
        run.signal(Signal::SIGKILL);
        run.wait();
    }
    let output = post(origin, dir, flags).run().exits(code);
    let records = by_id(parse_lines(dir.read("out.jsonl").as_bytes()));
    assert_eq!(records.len(), COUNT, "{output}");
    records
}

#[test]
fn only_what_was_in_flight_at_a_kill_arrives_twice() {
    const KILLS: usize = 6;
    let (origin, dir) = (Origin::start(), Dir::new());
    list(&dir, None);
    let records = killed(&origin, &dir, &[], KILLS, 0);
    assert!(records.values().all(|record| record["status"] == 200));
    let arrivals = arrivals(&origin);
    assert_eq!(arrivals.len(), COUNT);
    let more: usize = arrivals.values().map(|count| count - 1).sum();
    // What has been answered and is not committed counts as in flight.
    assert!(more <= KILLS * IN_FLIGHT, "{more} more than once");
}

#[test]
fn at_most_once_nothing_arrives_twice() {
    let (origin, dir) = (Origin::start(), Dir::new());
    list(&dir, None);
    let records = killed(&origin, &dir, &["--at-most-once"], 6, 3);
    let arrivals = arrivals(&origin);
    assert!(arrivals.values().all(|count| *count == 1), "{arrivals:?}");
    let mut uncertain = 0;
    for (id, record) in &records {
        if record["status"] == 200 {
            assert!(arrivals.contains_key(&format!("{{\"n\":{id}}}")), "{record}");
        } else {
            assert_eq!(record["error"]["kind"], "uncertain", "{record}");
            uncertain += 1;
        }
    }
    assert!((1..=6 * IN_FLIGHT).contains(&uncertain), "{uncertain}");
}

#[test]
fn at_most_once_a_workers_end_leaves_uncertain_records() {
    const SLOW: usize = 40;
    let (origin, dir) = (Origin::start(), Dir::new());
    list(&dir, Some(SLOW));
    let run = post(&origin, &dir, &["--at-most-once"]).spawn();
    let body = format!("{{\"n\":{SLOW}}}");
    run.until("the slow request", || arrivals(&origin).contains_key(&body).then_some(()));
    run.workers().iter().for_each(|worker| worker.signal(Signal::SIGKILL));
    let output = run.wait().exits(3);
    assert!(arrivals(&origin).values().all(|count| *count == 1), "{output}");
    let records = by_id(parse_lines(dir.read("out.jsonl").as_bytes()));
    let uncertain = records.values().filter(|record| record["error"]["kind"] == "uncertain").count();
    assert!(records.len() == COUNT && (1..=IN_FLIGHT).contains(&uncertain), "{uncertain}: {output}");
    let message = records.values().find_map(|record| record["error"]["message"].as_str()).unwrap();
    assert!(message.contains("its request may have been sent before worker"), "{message}");
}

#[test]
fn at_most_once_an_orderly_stop_leaves_nothing_uncertain() {
    let (origin, dir) = (Origin::start(), Dir::new());
    list(&dir, None);
    let run = post(&origin, &dir, &["--at-most-once"]).spawn();
    run.until("requests", || (echoed(&origin).len() > 40).then_some(()));
    run.signal(Signal::SIGINT);
    run.wait().exits(130);
    post(&origin, &dir, &["--at-most-once"]).run().exits(0);
    assert_eq!(echoed(&origin).len(), COUNT);
}
