//! Workers that die all the time, over inputs of every kind: each input still has exactly one record.

use std::time::Duration;

use fastrand::Rng;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Dir, Origin, Process, Running, by_id, fetch, kind, parse_lines, wait_for};

/// Path, and the kind of its error.
const MIX: &[(&str, &str)] = &[
    ("/site/page/{}", ""),
    ("/delay/0.{}", ""),
    ("/redirect/3?{}", ""),
    ("/encoding/br?page={}", ""),
    ("/drip?bytes=40&seconds=0.3&{}", ""),
    ("/flaky/{}?failures=1", ""),
    ("/status/404?{}", "http_status"),
    ("/truncated?{}", "protocol"),
    ("/corrupt/gzip?page={}", "decode"),
    ("/bomb/zstd?{}", "too_large"),
];

/// What a worker may meet; `SIGSTOP` is a hang, ended by `SIGCONT`.
const SIGNALS: [Signal; 5] =
    [Signal::SIGKILL, Signal::SIGKILL, Signal::SIGTERM, Signal::SIGABRT, Signal::SIGSTOP];

/// Strikes a worker that has begun to work; a pool whose workers cannot even start gives up, rightly.
fn strike(run: &Running, rng: &mut Rng) -> Option<Process> {
    let busy: Vec<_> = run.workers().into_iter().filter(|worker| worker.cpu_ticks() > 0).collect();
    let worker = rng.choice(&busy)?.clone();
    let signal = rng.choice(SIGNALS).unwrap();
    worker.try_signal(signal);
    if signal == Signal::SIGSTOP {
        std::thread::park_timeout(Duration::from_millis(200));
        worker.try_signal(Signal::SIGCONT);
    }
    Some(worker)
}

fn storm(mode: &str, seed: u64) {
    let (origin, dir, mut rng) = (Origin::start(), Dir::new(), Rng::with_seed(seed));
    let inputs: Vec<_> = (0..400).map(|n| (n, rng.choice(MIX).unwrap())).collect();
    let urls = inputs.iter().map(|(n, (path, _))| origin.url(&path.replace("{}", &(n % 300).to_string())));
    let flags = ["--mode", mode, "--workers", "3", "--concurrency", "6", "--body-bytes-max", "1MiB", "-o"];
    let run = fetch()
        .args(flags)
        .arg(dir.path("out.jsonl"))
        .arg("--summary")
        .arg(dir.path("s.json"))
        .urls(urls)
        .spawn();
    for _ in 0..8 {
        std::thread::park_timeout(Duration::from_millis(rng.u64(50..250)));
        if run.has_ended() {
            break;
        }
        strike(&run, &mut rng);
    }
    // Pages that answer 503 at first, while workers die, slow the host down for a minute in one run out of six.
    let output = run.wait_within(Duration::from_secs(150)).exits(3);
    let records = by_id(parse_lines(dir.read("out.jsonl").as_bytes()));
    assert_eq!(
        records.keys().copied().collect::<Vec<_>>(),
        (0..400).collect::<Vec<_>>(),
        "seed {seed}: {output}"
    );
    for (record, (_, (path, expected))) in records.values().zip(&inputs) {
        let attempts = record["attempts"].as_u64().unwrap();
        // Three deaths over one input are possible, if not likely.
        let unlucky = kind(record).starts_with("worker_") && attempts == 3;
        assert!(kind(record) == *expected || unlucky, "seed {seed}: {path}: {record}");
    }
    let summary: Value = serde_json::from_str(&dir.read("s.json")).unwrap();
    assert_eq!(summary["items"], 400, "seed {seed}: {summary}");
}

#[test]
fn a_storm_of_signals_loses_nothing_on_event_loops() {
    storm("both", 1);
    storm("concurrent", 2);
}

#[test]
fn a_storm_of_signals_loses_nothing_on_blocking_workers() {
    storm("parallel", 3);
}

/// All workers at once, at every moment of their lives.
#[test]
fn workers_that_die_while_they_start_lose_nothing() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let urls = (0..40).map(|n| origin.url(&format!("/counted/{n}?delay=0.1")));
    let run = fetch()
        .args(["--mode", "both", "--concurrency", "2", "-o"])
        .arg(dir.path("out.jsonl"))
        .urls(urls)
        .spawn();
    // Fewer than the pool puts up with.
    for _ in 0..6 {
        let worker = wait_for("a worker", Duration::from_secs(20), || run.workers().into_iter().next());
        worker.try_signal(Signal::SIGKILL);
        run.until("its end", || (!worker.is_alive()).then_some(()));
    }
    let output = run.wait().exits(0);
    assert_eq!(by_id(parse_lines(dir.read("out.jsonl").as_bytes())).len(), 40, "{output}");
}
