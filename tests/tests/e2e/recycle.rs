//! Workers are replaced, added and taken away in the middle of a run, and nobody notices but `ps`.

use std::collections::BTreeSet;
use std::fs;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Dir, Origin, Running, by_id, fetch, kind};

/// `count` waits of `delay_s` each on `workers` workers, with a summary in `dir`.
fn start(origin: &Origin, dir: &Dir, flags: &[&str], count: u32, delay_s: f64) -> Running {
    let list: String =
        (0..count).map(|n| format!("{}\n", origin.url(&format!("/counted/{n}?delay={delay_s}")))).collect();
    let run = fetch().args(flags).arg("--summary").arg(dir.path("s.json"));
    run.arg("-i").arg(dir.write("urls.txt", list)).spawn()
}

/// Ends the run and checks that every target has its one good record at its first attempt.
fn loses_nothing(run: Running, dir: &Dir, count: usize) -> Value {
    let output = run.wait().exits(0);
    let records = by_id(output.records());
    assert_eq!(records.len(), count, "{output}");
    for record in records.values() {
        assert_eq!([kind(record), &record["attempts"].to_string()], ["", "1"], "{record}");
    }
    let summary: Value = serde_json::from_str(&dir.read("s.json")).unwrap();
    let figures = [&summary["ok"], &summary["restarts"], &summary["retries"], &summary["quarantined"]];
    assert_eq!(figures.map(|figure| figure.as_u64().unwrap()), [count as u64, 0, 0, 0], "{summary}");
    summary
}

fn starts(summary: &Value) -> u64 {
    summary["per_worker"].as_array().unwrap().iter().map(|worker| worker["starts"].as_u64().unwrap()).sum()
}

/// Open descriptors and threads of the supervisor.
fn holdings(run: &Running) -> Option<[usize; 2]> {
    let count = |what| Some(fs::read_dir(format!("/proc/{}/{what}", run.id())).ok()?.count());
    Some([count("fd")?, count("task")?])
}

fn pids(run: &Running) -> BTreeSet<i32> {
    run.workers().iter().map(|worker| worker.id).collect()
}

#[test]
fn recycling_loses_nothing_and_leaves_nothing_behind() {
    for mode in ["parallel", "both"] {
        let (origin, dir) = (Origin::start(), Dir::new());
        let flags =
            ["--mode", mode, "--workers", "2", "--concurrency", "4", "--recycle", "100", "--retries", "0"];
        let run = start(&origin, &dir, &flags, 2000, 0.002);
        run.wait_for_lines(300);
        let early = run.until("a quiet moment", || quiet(&run));
        run.wait_for_lines(1500);
        // A replacement that is starting or leaving holds a few of each; what leaks never comes down again.
        let no_more = |late: &[usize; 2]| late.iter().zip(early).all(|(late, early)| *late <= early + 4);
        run.until("as little held as early on", || quiet(&run).filter(no_more));
        assert!(run.zombies() <= 1, "{mode}: each is reaped before the next");
        let summary = loses_nothing(run, &dir, 2000);
        assert!(starts(&summary) > 10, "{mode}: {summary}");
    }
}

/// What the supervisor holds while it has just its two workers.
fn quiet(run: &Running) -> Option<[usize; 2]> {
    let before = pids(run);
    let holdings = holdings(run)?;
    (before.len() == 2 && pids(run) == before).then_some(holdings)
}

#[test]
fn a_worker_that_leaks_is_replaced_long_before_it_reaches_its_limit() {
    for mode in ["parallel", "both"] {
        let (origin, dir) = (Origin::start(), Dir::new());
        // 16 MiB each, no faster than a worker is weighed; half of the limit above its own baseline ends its life.
        let list: String = (0..100)
            .map(|n| format!("{}\n", origin.url(&format!("/counted/{n}?delay=0.1&poison=leak"))))
            .collect();
        let flags = ["--mode", mode, "--workers", "2", "--concurrency", "2", "--worker-memory", "512MiB"];
        let run = fetch().args(flags).arg("--summary").arg(dir.path("s.json"));
        let run = run.arg("-i").arg(dir.write("urls.txt", list)).spawn();
        let summary = loses_nothing(run, &dir, 100);
        assert!(starts(&summary) >= 4, "{mode}: {summary}");
    }
}

#[test]
fn hup_rolls_all_workers_one_at_a_time() {
    for mode in ["parallel", "both"] {
        let (origin, dir) = (Origin::start(), Dir::new());
        let flags = ["--mode", mode, "--workers", "3", "--concurrency", "2"];
        let run = start(&origin, &dir, &flags, 600, 0.03);
        run.wait_for_workers(3);
        run.wait_for_lines(20);
        let before = pids(&run);
        run.signal(Signal::SIGHUP);
        run.until("other workers", || {
            let now = pids(&run);
            assert!((3..=4).contains(&now.len()), "{mode}: {now:?}");
            (now.len() == 3 && now.is_disjoint(&before)).then_some(())
        });
        assert!(run.stderr_so_far().contains("replacing all workers"), "{}", run.stderr_so_far());
        let summary = loses_nothing(run, &dir, 600);
        assert_eq!(starts(&summary), 6, "{mode}: {summary}");
    }
}

#[test]
fn ttin_adds_a_worker_and_ttou_removes_one() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let flags = ["--mode", "both", "--workers", "2", "--concurrency", "2"];
    let run = start(&origin, &dir, &flags, 600, 0.04);
    run.wait_for_workers(2);
    run.wait_for_lines(20);
    run.signal(Signal::SIGTTIN);
    let three = run.wait_for_workers(3);
    run.until("a word about it", || run.stderr_so_far().contains("3 workers now").then_some(()));
    let lines = run.lines_so_far();
    run.wait_for_lines(lines + 50);
    run.signal(Signal::SIGTTOU);
    run.until("one to leave", || three.iter().any(|worker| !worker.is_alive()).then_some(()));
    run.until("a word about it", || run.stderr_so_far().contains("2 workers now").then_some(()));
    assert_eq!(run.workers().len(), 2);
    let summary = loses_nothing(run, &dir, 600);
    assert_eq!(starts(&summary), 3, "{summary}");
    let items: Vec<_> =
        summary["per_worker"].as_array().unwrap().iter().map(|w| w["items"].clone()).collect();
    assert!(items.len() == 3 && items.iter().all(|items| items.as_u64() > Some(5)), "{summary}");
}

#[test]
fn the_last_worker_stays() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let run = start(&origin, &dir, &["--mode", "concurrent", "--concurrency", "2"], 100, 0.02);
    run.wait_for_lines(10);
    let before = pids(&run);
    run.signal(Signal::SIGTTOU);
    run.until("a word about it", || {
        run.stderr_so_far().contains("cannot remove the last worker").then_some(())
    });
    assert_eq!(pids(&run), before);
    loses_nothing(run, &dir, 100);
}
