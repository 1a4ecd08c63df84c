//! The numbers of a run add up, in the file, in the table and in the exit code.

use serde_json::Value;

use crate::harness::{Dir, MODES, Origin, Output, TestCommand, fetch, kind, parse};

fn with_summary(command: TestCommand) -> (Output, Value) {
    let dir = Dir::new();
    let output = command.arg("--summary").arg(dir.path("s.json")).run();
    (output, serde_json::from_str(&dir.read("s.json")).unwrap())
}

fn number(summary: &Value, key: &str) -> u64 {
    summary[key].as_u64().unwrap_or_else(|| panic!("{key} of {summary}"))
}

fn adds_up(output: &Output, summary: &Value) {
    let records = output.records();
    let items = records.len() as u64;
    let failed = records.iter().filter(|record| !kind(record).is_empty()).count() as u64;
    assert_eq!(number(summary, "items"), items, "{summary}");
    assert_eq!(number(summary, "failed"), failed, "{summary}");
    assert_eq!(number(summary, "ok") + failed, items, "{summary}");
    let errors = summary["errors"].as_object().unwrap();
    for (name, count) in errors {
        let of_kind = records.iter().filter(|record| kind(record) == name).count();
        assert_eq!(count.as_u64(), Some(of_kind as u64), "{name} of {summary}");
    }
    assert_eq!(errors.values().filter_map(Value::as_u64).sum::<u64>(), failed, "{summary}");
    let per_worker = summary["per_worker"].as_array().unwrap();
    assert_eq!(per_worker.len() as u64, number(summary, "workers"), "{summary}");
    assert_eq!(per_worker.iter().map(|worker| number(worker, "items")).sum::<u64>(), items, "{summary}");
    for worker in per_worker {
        let slot = number(worker, "slot");
        let written = records.iter().filter(|record| record["worker"].as_u64() == Some(slot)).count() as u64;
        assert_eq!(number(worker, "items"), written, "{summary}");
        assert!(number(worker, "starts") >= 1 && number(worker, "rss_bytes_max") > 1 << 20, "{summary}");
    }
    let seconds = |key: &str| summary[key].as_f64().unwrap_or_else(|| panic!("{key} of {summary}"));
    assert!(seconds("wall_s") > 0.0 && seconds("wall_s") <= output.elapsed.as_secs_f64(), "{summary}");
    assert!(
        seconds("cpu_s") >= seconds("supervisor_cpu_s") && seconds("supervisor_cpu_s") > 0.0,
        "{summary}"
    );
    // Both are rounded to thousandths in the file.
    let wall_s = items as f64 / seconds("items_per_s");
    assert!(items == 0 || (seconds("wall_s") - wall_s).abs() < 0.001 + wall_s * 0.001, "{summary}");
    let latency = ["p50", "p90", "p99", "max"].map(|key| summary["latency_ms"][key].as_f64().unwrap());
    assert!(latency.is_sorted() && latency[0] > 0.0, "{summary}");
}

#[test]
fn numbers_add_up_in_every_mode() {
    let origin = Origin::shared();
    let paths = [
        "/site/page/1",
        "/site/page/2",
        "/status/404",
        "/status/500",
        "/drop",
        "/corrupt/gzip",
        "/delay/0.2",
    ];
    let mut urls: Vec<_> = paths.iter().map(|path| origin.url(path)).collect();
    urls.push("nonsense".to_owned());
    urls.push("http://127.0.0.1:1/".to_owned());
    for mode in MODES {
        let (output, summary) = with_summary(fetch().args(["--mode", mode, "--retries", "1"]).urls(&urls));
        let output = output.exits(3);
        adds_up(&output, &summary);
        assert_eq!(summary["mode"], mode);
        let (workers, concurrency) = match mode {
            "sequential" => (1, 1),
            "parallel" => (2, 1),
            "concurrent" => (1, number(&summary, "concurrency")),
            _ => (2, number(&summary, "concurrency")),
        };
        assert_eq!([number(&summary, "workers"), number(&summary, "concurrency")], [workers, concurrency]);
        assert!(matches!(mode, "sequential" | "parallel") || concurrency > 1, "{summary}");
        // 500, dropped and refused are tried twice.
        assert_eq!(number(&summary, "retries"), 3, "{summary}");
        let bytes: u64 = output.records().iter().filter_map(|record| record["bytes"].as_u64()).sum();
        assert!(number(&summary, "bytes") >= bytes, "{summary}");
        assert!(summary.get("why").is_none(), "nobody asked: {summary}");
    }
}

#[test]
fn exit_codes_tell_success_from_failed_inputs() {
    let origin = Origin::shared();
    let (good, bad) = (origin.url("/site/page/1"), origin.url("/status/404"));
    fetch().args([&good]).run().exits(0);
    fetch().args([&good, &bad]).run().exits(3);
    fetch().args([&bad]).run().exits(3);
}

#[test]
fn auto_picks_a_mode_and_says_why_with_numbers() {
    let origin = Origin::shared();
    let waits: Vec<_> = (0..120).map(|_| origin.url("/delay/0.1")).collect();
    let (output, summary) = with_summary(fetch().args(["--mode", "auto"]).urls(&waits));
    adds_up(&output.exits(0), &summary);
    let why = summary["why"].as_str().unwrap_or_else(|| panic!("no reason: {summary}"));
    assert!(why.contains(|c: char| c.is_ascii_digit()), "{why}");
    let mode = summary["mode"].as_str().unwrap();
    assert!(matches!(mode, "concurrent" | "both"), "this only waits: {summary}");

    let dir = Dir::new();
    for n in 0..200 {
        dir.write(format!("{n}.html"), e2e::origin::site::page(n, 200));
    }
    let (output, summary) =
        with_summary(parse().args(["--mode", "auto", "--select", "t[]=a:not(.x)"]).arg(dir.root()));
    adds_up(&output.exits(0), &summary);
    assert_eq!(summary["mode"], "parallel", "this only computes: {summary}");
}

#[test]
fn one_input_is_enough_for_auto() {
    let origin = Origin::shared();
    let (output, summary) = with_summary(fetch().arg(origin.url("/site/page/1")));
    adds_up(&output.exits(0), &summary);
    assert!(!summary["why"].as_str().unwrap().is_empty(), "{summary}");
}
