//! The supervisor itself is killed, frozen, and has its clock set.

use std::fs;
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use nix::sys::signal::Signal;

use super::scale;
use crate::harness::{Dir, TestCommand, by_id, kind, parse, parse_lines, wait_for};

/// Small pages, and a list that names them over and over.
fn pages(dir: &Dir, count: usize) -> TestCommand {
    for n in 0..50 {
        dir.write(format!("{n}.html"), format!("<title>page {n}</title>"));
    }
    dir.write("list.txt", (0..count).map(|n| format!("{}.html\n", n % 50)).collect::<String>());
    resume(dir)
}

fn resume(dir: &Dir) -> TestCommand {
    let flags = ["--mode", "parallel", "--workers", "4", "--select", "t=title", "-i", "list.txt"];
    parse().current_dir(dir.root()).args(flags).args(["-o", "out.jsonl", "--resume"])
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

#[test]
fn a_supervisor_killed_a_hundred_times_leaves_an_exact_output() {
    let (dir, kills, total) = (Dir::new(), 4 * scale(), 8_000 * scale());
    let command = pages(&dir, total);
    let mut random = Rng::with_seed(11);
    for n in 0..kills {
        let run = command.clone().spawn();
        run.until("workers", || (run.workers().len() == 4 || run.has_ended()).then_some(()));
        // The first cut of what was not committed makes it shorter; then it grows.
        let (from, growth) = (length(&dir.path("out.jsonl")), random.u64(1..400_000));
        let grown = || length(&dir.path("out.jsonl")).abs_diff(from) >= growth;
        run.until("progress", || (grown() || run.has_ended()).then_some(()));
        assert!(
            !run.has_ended(),
            "kill {n}: over before it was killed often enough: {}",
            run.stderr_so_far()
        );
        let workers = run.workers();
        run.signal(Signal::SIGKILL);
        run.wait();
        let gone = || workers.iter().all(|worker| !worker.is_alive()).then_some(());
        wait_for("the workers' end", Duration::from_secs(1), gone);
    }
    let output = command.run().exits(0).says("resuming");
    let records = by_id(parse_lines(dir.read("out.jsonl").as_bytes()));
    assert_eq!(records.len(), total, "{output}");
    for (id, record) in &records {
        assert_eq!(record["fields"]["t"], format!("page {}", id % 50), "{record}");
    }
}

/// For the supervisor, being frozen is a clock that jumps: its workers have been silent for longer than any deadline.
#[test]
fn a_supervisor_that_was_frozen_blames_nobody() {
    let dir = Dir::new();
    let flags = ["--parse-timeout", "0.5s", "--summary", "s.json"];
    let run = pages(&dir, 60_000).args(flags).spawn();
    run.until("records", || (length(&dir.path("out.jsonl")) > 0).then_some(()));
    run.signal(Signal::SIGSTOP);
    // Longer than the stall limit and the deadline of a target: 5 s and the parse timeout twice.
    std::thread::park_timeout(Duration::from_secs(8));
    assert!(!run.has_ended());
    run.signal(Signal::SIGCONT);
    let output = run.wait().exits(0);
    let records = by_id(parse_lines(dir.read("out.jsonl").as_bytes()));
    assert_eq!(records.len(), 60_000, "{output}");
    assert!(records.values().all(|record| kind(record).is_empty() && record["attempts"] == 1), "{output}");
    let summary: serde_json::Value = serde_json::from_str(&dir.read("s.json")).unwrap();
    assert_eq!(summary["restarts"], 0, "{summary}\n{output}");
}

/// Where the library that fakes the wall clock is, if it is installed (Debian's `libfaketime`).
fn faketime() -> Option<String> {
    let dirs = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"];
    let at = dirs.map(|dir| format!("{dir}/faketime/libfaketime.so.1"));
    at.into_iter().find(|path| Path::new(path).exists())
}

/// The wall clock is set by an hour, forth and back, while the job runs.
#[test]
fn a_wall_clock_that_jumps_changes_nothing() {
    let Some(library) = faketime() else {
        assert_eq!(scale(), 1, "scripts/chaos installs libfaketime");
        return;
    };
    let dir = Dir::new();
    let rate = dir.write("clock", "+0\n");
    let run = pages(&dir, 40_000)
        .args(["--recycle", "2000", "--summary", "s.json"])
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", rate)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .spawn();
    for (n, jump) in ["+3600", "-3600", "+86400", "+0"].iter().enumerate() {
        let enough = (n as u64 + 1) * 200_000;
        let grown = || (length(&dir.path("out.jsonl")) > enough || run.has_ended()).then_some(());
        run.until("records", grown);
        dir.write("clock", format!("{jump}\n"));
    }
    let output = run.wait().exits(0);
    let records = by_id(parse_lines(dir.read("out.jsonl").as_bytes()));
    assert_eq!(records.len(), 40_000, "{output}");
    assert!(records.values().all(|record| kind(record).is_empty() && record["attempts"] == 1), "{output}");
    let summary: serde_json::Value = serde_json::from_str(&dir.read("s.json")).unwrap();
    assert_eq!(summary["restarts"], 0, "{summary}\n{output}");
    assert!(summary["wall_s"].as_f64().unwrap() < 3000.0, "{summary}");
}
