//! The first signal drains, the second ends at once, and the output is whole either way.

use std::os::unix::fs::symlink;
use std::time::Duration;

use nix::sys::signal::Signal;
use shared::clock;

use crate::harness::{
    Dir, Origin, Running, TestCommand, by_id, fetch, link_executable, parse_lines, supervisor,
    supervisor_path,
};

/// Longest that ending may take once nothing is waited for; far more than it does, and far less than all the
/// work that is left would.
const AT_ONCE: Duration = Duration::from_secs(5);

/// `count` waits of `delay_s` each, eight at a time, with records in `dir`.
fn start(origin: &Origin, dir: &Dir, mode: &str, count: u32, delay_s: f64) -> Running {
    let urls = (0..count).map(|n| origin.url(&format!("/counted/{n}?delay={delay_s}")));
    let flags = ["--mode", mode, "--concurrency", "4", "--workers", "2", "--timeout", "120s"];
    let run = fetch().args(flags).arg("--summary").arg(dir.path("s.json"));
    let run = run.arg("-o").arg(dir.path("out.jsonl")).urls(urls).spawn();
    run.until("requests", || {
        (origin.stats()["requests"].as_u64().unwrap() > 12.min(u64::from(count) / 2)).then_some(())
    });
    run
}

#[test]
fn the_first_signal_drains_and_says_what_is_left() {
    for (mode, signal, code) in [
        ("sequential", Signal::SIGINT, 130),
        ("both", Signal::SIGINT, 130),
        ("parallel", Signal::SIGTERM, 143),
    ] {
        let (origin, dir) = (Origin::start(), Dir::new());
        let run = start(&origin, &dir, mode, 300, 0.2);
        run.signal(signal);
        let begun = clock::now();
        let output = run.wait().exits(code);
        assert!(begun.elapsed() < AT_ONCE, "{output}");
        let records = by_id(parse_lines(dir.read("out.jsonl").as_bytes()));
        assert!((1..300).contains(&records.len()), "{output}");
        // What had begun was finished: every request that was made has its record.
        assert_eq!(origin.stats()["requests"], records.len(), "{output}");
        let output = output.says(&(300 - records.len()).to_string());
        let summary: serde_json::Value = serde_json::from_str(&dir.read("s.json")).unwrap();
        assert_eq!(summary["items"], records.len(), "{output}");
        assert_eq!(summary["ok"], records.len(), "{output}");
    }
}

#[test]
fn the_second_signal_ends_at_once() {
    for mode in ["sequential", "both", "parallel"] {
        let (origin, dir) = (Origin::start(), Dir::new());
        let run = start(&origin, &dir, mode, 1, 60.0);
        let workers = run.workers();
        run.signal(Signal::SIGINT);
        run.until("a word about the signal", || (!run.stderr_so_far().is_empty()).then_some(()));
        let begun = clock::now();
        run.signal(Signal::SIGINT);
        let output = run.wait().exits(130);
        assert!(begun.elapsed() < AT_ONCE, "{output}");
        assert!(parse_lines(dir.read("out.jsonl").as_bytes()).is_empty());
        assert!(!workers.is_empty() && workers.iter().all(|worker| !worker.is_alive()), "{output}");
    }
}

/// While the load still grows.
#[test]
fn a_signal_ends_a_run_whose_load_grows() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let run = start(&origin, &dir, "auto", 200, 0.5);
    run.signal(Signal::SIGINT);
    let output = run.wait().exits(130);
    let records = by_id(parse_lines(dir.read("out.jsonl").as_bytes()));
    assert_eq!(origin.stats()["requests"], records.len(), "{output}");
    assert!(records.len() < 200, "{output}");
}

/// Each leg is a run of its own; one signal ends them all.
#[test]
fn a_signal_ends_a_comparison() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let list: String =
        (0..300).map(|n| format!("{}\n", origin.url(&format!("/counted/{n}?delay=0.1")))).collect();
    let list = dir.write("urls.txt", list);
    let run = supervisor().args(["compare", "fetch", "-i"]).arg(list).spawn();
    run.until("requests", || (origin.stats()["requests"].as_u64() > Some(5)).then_some(()));
    run.signal(Signal::SIGINT);
    let begun = clock::now();
    let output = run.wait().exits(130);
    assert!(begun.elapsed() < AT_ONCE, "{output}");
}

/// There is no worker that could finish anything, and none to wait for.
#[test]
fn a_signal_while_no_worker_starts_ends_at_once() {
    let dir = Dir::new();
    link_executable(supervisor_path(), &dir.path("supervisor"));
    symlink("/bin/false", dir.path("worker")).unwrap();
    let run = TestCommand::new(dir.path("supervisor")).args(["fetch", "http://127.0.0.1:1/"]).spawn();
    run.until("a word about it", || run.stderr_so_far().contains("again").then_some(()));
    run.signal(Signal::SIGINT);
    let begun = clock::now();
    let output = run.wait().exits(130);
    assert!(begun.elapsed() < AT_ONCE, "{output}");
}

/// Nothing is in flight then: all targets wait for their retry.
#[test]
fn a_signal_does_not_wait_for_retries() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let urls = (0..4).map(|n| origin.url(&format!("/flaky/{n}?failures=9&retry_after=50")));
    let run = fetch().arg("-o").arg(dir.path("out.jsonl")).urls(urls).spawn();
    run.until("requests", || (origin.stats()["requests"] == 4).then_some(()));
    run.signal(Signal::SIGINT);
    let begun = clock::now();
    let output = run.wait().exits(130).says("4");
    assert!(begun.elapsed() < AT_ONCE, "{output}");
}

/// Its terminal is gone, and with it whoever would read a message.
#[test]
fn a_signal_before_the_first_worker_is_up_is_not_lost() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let urls = (0..2000).map(|n| origin.url(&format!("/counted/{n}?delay=0.05")));
    let run = fetch().args(["--mode", "sequential"]).arg("-o").arg(dir.path("out.jsonl")).urls(urls).spawn();
    run.until("the output", || dir.path("out.jsonl").exists().then_some(()));
    run.signal(Signal::SIGTERM);
    let output = run.wait();
    // Before the handlers are in place the signal itself ends it, which is as well.
    assert!(output.code == Some(143) || output.signal == Some(15), "{output}");
    assert!(output.elapsed < Duration::from_secs(20), "{output}");
}
