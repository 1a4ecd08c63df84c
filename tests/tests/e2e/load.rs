//! Without a fixed load, what is in flight grows while that helps, and no further.

use std::path::Path;

use serde_json::Value;

use crate::harness::{Dir, Origin, TestCommand, fetch};

fn summarised(run: TestCommand) -> Value {
    let dir = Dir::new();
    let path = dir.path("summary.json");
    run.args(["--select", "t=title", "--summary"]).arg(&path).run().exits(0);
    read(&path)
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn in_flight_max(origin: &Origin) -> u64 {
    let hosts = origin.stats()["hosts"].as_object().unwrap().clone();
    hosts.values().map(|host| host["in_flight_max"].as_u64().unwrap()).max().unwrap()
}

#[test]
fn waits_of_one_local_host_overlap_more_with_each_round() {
    let origin = Origin::start();
    let urls: Vec<_> = (0..900).map(|n| origin.url(&format!("/delay/0.5?n={n}"))).collect();
    let summary = summarised(fetch().urls(&urls));
    assert!(in_flight_max(&origin) >= 256, "{summary}");
    // With 64 at once it would take 7 s.
    assert!(summary["wall_s"].as_f64() < Some(6.0), "{summary}");
    assert!(summary["why"].as_str().unwrap().contains("targets in flight"), "{summary}");
}

#[test]
fn many_local_hosts_are_asked_at_once() {
    let origin = Origin::start_with(&["--listen", "0.0.0.0:0"]);
    let port = origin.host().rsplit_once(':').unwrap().1.to_owned();
    let page = |n: usize| format!("http://127.3.0.{}:{port}/delay/0.5?n={n}", n % 200 + 1);
    let urls: Vec<_> = (0..2_000).map(page).collect();
    let summary = summarised(fetch().urls(&urls));
    // With 64 at once it would take 16 s.
    assert!(summary["wall_s"].as_f64() < Some(10.0), "{summary}");
}

#[test]
fn a_few_targets_get_one_worker_and_a_fixed_concurrency_is_kept() {
    let origin = Origin::start();
    let urls: Vec<_> = (0..3).map(|n| origin.url(&format!("/site/page/{n}"))).collect();
    let summary = summarised(fetch().urls(&urls));
    assert_eq!(summary["per_worker"].as_array().map(Vec::len), Some(1), "{summary}");
    assert_eq!((&summary["mode"], &summary["workers"]), (&"concurrent".into(), &1.into()), "{summary}");

    let origin = Origin::start();
    let urls: Vec<_> = (0..60).map(|n| origin.url(&format!("/delay/0.1?n={n}"))).collect();
    let summary = summarised(fetch().args(["--workers", "1", "--concurrency", "7"]).urls(&urls));
    assert_eq!(in_flight_max(&origin), 7, "{summary}");
    assert_eq!(summary["concurrency"], 7, "{summary}");
}

#[test]
fn a_slow_host_does_not_hold_up_a_fast_one() {
    let origin = Origin::start_with(&["--listen", "0.0.0.0:0"]);
    let port = origin.host().rsplit_once(':').unwrap().1.to_owned();
    let slow = (0..150).map(|n| format!("http://127.4.0.1:{port}/delay/5?n={n}"));
    let fast = (0..600).map(|n| format!("http://127.4.0.2:{port}/site/page/{}?n={n}", n % 300));
    let urls: Vec<_> = slow.chain(fast).collect();
    let run = fetch().args(["--select", "t=title"]).urls(&urls).run().exits(0);
    let is_slow = |record: &Value| record["url"].as_str().unwrap().contains("/delay/");
    let before = run.records().iter().take_while(|record| !is_slow(record)).count();
    assert!(before > 500, "{before} of 600 fast pages come before the first slow one");
}

#[test]
fn refusals_are_counted_and_drawn() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let urls: Vec<_> = (0..4).map(|n| origin.url(&format!("/flaky/{n}?failures=1&status=429"))).collect();
    let run = fetch().urls(&urls).arg("--report").arg(dir.path("report.html"));
    let summary = summarised(run);
    assert!(summary["refused"].as_u64() >= Some(4), "{summary}");
    let report = dir.read("report.html");
    assert!(report.contains("Load over time") && report.contains("class=refusals"));
}
