//! What may pass is tried again, later and later, and not more often than asked.

use serde_json::json;

use crate::harness::{Dir, MODES, Origin, fetch, kind};

#[test]
fn failures_that_pass_are_retried_in_every_mode() {
    let origin = Origin::start();
    for mode in MODES {
        for (failures, attempts, error) in
            [(0, 1, ""), (1, 2, ""), (2, 3, ""), (3, 3, "http_status"), (9, 3, "http_status")]
        {
            let path = format!("/flaky/{mode}-{failures}");
            let run =
                fetch().args(["--mode", mode]).arg(origin.url(&format!("{path}?failures={failures}"))).run();
            let run = run.exits(if error.is_empty() { 0 } else { 3 });
            let record = &run.records()[0];
            assert_eq!(kind(record), error, "{mode}: {record}");
            assert_eq!(record["attempts"], attempts, "{mode}: {record}");
            assert_eq!(origin.requests(&path), attempts, "{mode}: {record}");
        }
    }
}

#[test]
fn what_will_not_pass_is_tried_once() {
    let origin = Origin::start();
    for path in ["/status/404", "/status/400", "/corrupt/gzip", "/huge", "/redirect/loop"] {
        let run = fetch().arg(origin.url(&format!("{path}?bytes=20000000"))).run().exits(3);
        assert_eq!(run.records()[0]["attempts"], 1, "{path}: {run}");
    }
    assert_eq!(origin.requests("/status/404"), 1);
    assert_eq!(origin.requests("/huge"), 1);
}

/// Dropped connections, timeouts and overload may pass.
#[test]
fn each_attempt_that_may_pass_is_a_request() {
    let origin = Origin::start();
    for path in ["/drop", "/truncated", "/status/429", "/status/500", "/status/502", "/status/503", "/hang"] {
        let run = fetch().args(["--retries", "1", "--timeout", "500ms"]).arg(origin.url(path)).run().exits(3);
        assert_eq!(run.records()[0]["attempts"], 2, "{path}: {run}");
        assert_eq!(origin.requests(path), 2, "{path}: {run}");
    }
}

#[test]
fn retry_after_is_waited_for() {
    let origin = Origin::start();
    for mode in ["sequential", "both"] {
        let path = format!("/flaky/{mode}");
        let url = origin.url(&format!("{path}?failures=2&retry_after=1"));
        fetch().args(["--mode", mode]).arg(url).run().exits(0);
        let times = origin.times_s(&path);
        for pair in times.windows(2) {
            assert!((1.0..6.0).contains(&(pair[1] - pair[0])), "{mode}: {times:?}");
        }
        assert_eq!(times.len(), 3, "{mode}");
    }
}

#[test]
fn other_targets_do_not_wait_for_a_retry() {
    let origin = Origin::start();
    let mut urls = vec![origin.url("/flaky/slow?failures=1&status=500&retry_after=2")];
    urls.extend((0..20).map(|n| origin.url(&format!("/counted/{n}"))));
    let run = fetch().args(["--mode", "sequential"]).urls(&urls).run().exits(0);
    let last = *origin.times_s("/counted/").last().unwrap();
    let retried = *origin.times_s("/flaky/").last().unwrap();
    assert!(last < retried, "{run}");
    assert_eq!(run.records().last().unwrap()["id"], 0, "{run}");
}

#[test]
fn retries_are_counted() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let urls: Vec<_> = (0..10).map(|n| origin.url(&format!("/flaky/{n}?failures={}", n % 3))).collect();
    let run = fetch().arg("--summary").arg(dir.path("s.json")).urls(&urls).run().exits(0);
    let attempts: u64 = run.records().iter().map(|record| record["attempts"].as_u64().unwrap()).sum();
    let summary: serde_json::Value = serde_json::from_str(&dir.read("s.json")).unwrap();
    assert_eq!(attempts, 10 + 9);
    assert_eq!(summary["retries"], json!(9), "{summary}");
    assert_eq!(origin.stats()["requests"], json!(attempts));
}

#[test]
fn an_absurd_retry_after_is_no_reason_to_wait() {
    let origin = Origin::start();
    for (key, value) in
        [("minus", "-1"), ("text", "soon"), ("past", "Sun,%2006%20Nov%201994%2008:49:37%20GMT")]
    {
        let url = origin.url(&format!("/flaky/{key}?failures=2&retry_after={value}"));
        let run = fetch().arg(url).run().exits(0);
        assert_eq!(run.records()[0]["attempts"], 3, "{key}: {run}");
        assert!(run.elapsed.as_secs_f64() < 20.0, "{key}: {run}");
    }
}

#[test]
fn retries_keep_to_their_budget() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let urls = (0..400).map(|n| origin.url(&format!("/status/500?{n}")));
    let flags = ["--mode", "both", "--retries", "5", "--per-host", "4", "--summary"];
    let run = fetch().args(flags).arg(dir.path("s.json")).urls(urls).run().exits(3);
    let requests = origin.stats()["requests"].as_u64().unwrap();
    assert!((400..=400 * 5 / 4 + 20).contains(&requests), "{requests} requests");
    let summary: serde_json::Value = serde_json::from_str(&dir.read("s.json")).unwrap();
    let spent = "; not retried, for the retry budget of its host is used up";
    let said = run
        .records()
        .into_iter()
        .filter(|record| record["error"]["message"].as_str().is_some_and(|message| message.ends_with(spent)));
    assert_eq!(summary["retries_over_budget"], json!(said.count()), "{summary}");
    assert!(summary["retries_over_budget"].as_u64() > Some(300), "{summary}");
}
