//! Killed at any instant and resumed, a job has every record exactly once.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Dir, Origin, Running, TestCommand, by_id, fetch, ids, parse_lines, wait_for};

/// How soon after its supervisor a worker must be gone.
const ORPHAN: Duration = Duration::from_secs(1);

/// A list of `count` pages that take `delay_s` each.
fn list(origin: &Origin, dir: &Dir, count: u32, delay_s: f64) {
    let urls: String =
        (0..count).map(|n| format!("{}\n", origin.url(&format!("/counted/{n}?delay={delay_s}")))).collect();
    dir.write("urls.txt", urls);
}

fn resume(dir: &Dir, flags: &[&str]) -> TestCommand {
    let command = fetch().current_dir(dir.root()).args(["-i", "urls.txt", "-o", "out.jsonl", "--resume"]);
    command.args(["--summary", "s.json"]).args(flags)
}

fn requests(origin: &Origin) -> u64 {
    origin.stats()["requests"].as_u64().unwrap()
}

/// Kills it once the origin has had `count` more requests; no worker outlives it for long.
fn kill(run: Running, origin: &Origin, count: u64) {
    let before = requests(origin);
    run.until("requests", || (requests(origin) >= before + count).then_some(()));
    let workers = run.workers();
    run.signal(Signal::SIGKILL);
    run.wait();
    assert!(!workers.is_empty());
    wait_for("the workers' end", ORPHAN, || workers.iter().all(|worker| !worker.is_alive()).then_some(()));
}

fn no_trace(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().all(|entry| {
        let name = entry.unwrap().file_name();
        !name.to_str().unwrap().contains("journal")
    })
}

#[test]
fn a_supervisor_killed_again_and_again_loses_nothing_and_does_nothing_twice() {
    const COUNT: u32 = 600;
    for flags in [&["--mode", "both"][..], &["--mode", "both", "--ordered"], &["--mode", "auto"]] {
        let (origin, dir) = (Origin::start(), Dir::new());
        list(&origin, &dir, COUNT, 0.02);
        for n in 0..8 {
            kill(resume(&dir, flags).spawn(), &origin, 3 + 17 * n);
        }
        let output = resume(&dir, flags).run().exits(0).says("resuming out.jsonl");
        let records = parse_lines(dir.read("out.jsonl").as_bytes());
        if flags.contains(&"--ordered") {
            assert!(ids(&records).is_sorted(), "{output}");
        }
        let records = by_id(records);
        assert_eq!(records.len(), COUNT as usize, "{output}");
        for (id, record) in &records {
            assert_eq!(record["url"], origin.url(&format!("/counted/{id}?delay=0.02")));
        }
        let summary: Value = serde_json::from_str(&dir.read("s.json")).unwrap();
        assert_eq!((&summary["items"], &summary["ok"]), (&COUNT.into(), &COUNT.into()));
        assert!(no_trace(dir.root()));
    }
}

#[test]
fn a_run_that_was_stopped_goes_on_and_ends_with_nothing_left_to_do() {
    let (origin, dir) = (Origin::start(), Dir::new());
    list(&origin, &dir, 300, 0.1);
    let run = resume(&dir, &["--mode", "concurrent", "--concurrency", "8"]).spawn();
    run.until("requests", || (requests(&origin) > 20).then_some(()));
    run.signal(Signal::SIGINT);
    let stopped = run.wait().exits(130).says("--resume does them");
    let done = parse_lines(dir.read("out.jsonl").as_bytes()).len();
    fetch()
        .current_dir(dir.root())
        .args(["-i", "urls.txt", "-o", "out.jsonl"])
        .run()
        .exits(1)
        .says("continue it with --resume");
    // Everything that had begun was committed: the resumed run asks for nothing again.
    let before = requests(&origin);
    resume(&dir, &["--mode", "both"]).run().exits(0).says(&format!("which has {done} records"));
    assert_eq!(requests(&origin) - before, 300 - done as u64, "{stopped}");
    resume(&dir, &[]).run().exits(0).says("complete already");
    assert_eq!(requests(&origin) - before, 300 - done as u64);
}

#[test]
fn failures_before_the_kill_count_in_the_end() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let urls: String = (0..200)
        .map(|n| if n < 5 { "nonsense\n".to_owned() } else { format!("{}\n", origin.url("/delay/0.05")) })
        .collect();
    dir.write("urls.txt", urls);
    let flags = ["--mode", "concurrent", "--concurrency", "4"];
    kill(resume(&dir, &flags).spawn(), &origin, 60);
    resume(&dir, &flags).run().exits(3);
    let summary: Value = serde_json::from_str(&dir.read("s.json")).unwrap();
    assert_eq!(summary["errors"], serde_json::json!({"invalid_url": 5}));
    assert_eq!((&summary["items"], &summary["failed"]), (&200.into(), &5.into()));
}

#[test]
fn standard_input_is_kept_and_asked_for_again_only_if_it_was_cut_short() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let urls: Vec<_> = (0..200).map(|n| origin.url(&format!("/counted/{n}?delay=0.05"))).collect();
    let flags = ["--mode", "concurrent", "--concurrency", "4", "-o", "out.jsonl", "--resume"];
    let command = || fetch().current_dir(dir.root()).args(flags);
    let run = command().urls(&urls).spawn();
    run.until("the whole input", || dir.path("out.jsonl.journal.input").exists().then_some(()));
    kill(run, &origin, 40);
    // Nothing is piped in this time.
    kill(command().args(["-i", "-"]).spawn(), &origin, 20);
    // The name it has until it is whole.
    std::fs::rename(dir.path("out.jsonl.journal.input"), dir.path("out.jsonl.journal.input.part")).unwrap();
    let refused = command().args(["-i", "-"]).run().exits(1).says("the same is needed once more");
    command().urls(&urls[..100]).run().exits(1).says("now give 100");
    assert!(!refused.stderr.contains("panicked"));
    command().urls(&urls).run().exits(0).says("resuming");
    assert_eq!(by_id(parse_lines(dir.read("out.jsonl").as_bytes())).len(), 200);
    assert!(no_trace(dir.root()));
}

#[test]
fn another_job_is_refused_with_what_changed() {
    let (origin, dir) = (Origin::start(), Dir::new());
    list(&origin, &dir, 200, 0.05);
    let flags = ["--mode", "concurrent", "--concurrency", "4"];
    kill(resume(&dir, &flags).spawn(), &origin, 40);
    let before = (dir.read("out.jsonl"), requests(&origin));
    resume(&dir, &["--select", "t=title"]).run().exits(1).says("--select was nothing");
    let list = dir.read("urls.txt");
    dir.write("urls.txt", format!("{list}http://127.0.0.1/\n"));
    resume(&dir, &flags).run().exits(1).says("urls.txt had").says("and now has");
    dir.write("urls.txt", list.replacen("/counted/0?", "/counted/x?", 1));
    resume(&dir, &flags).run().exits(1).says("content of urls.txt has changed");
    assert_eq!((dir.read("out.jsonl"), requests(&origin)), before);
    dir.write("urls.txt", list);
    resume(&dir, &flags).run().exits(0);
    assert_eq!(by_id(parse_lines(dir.read("out.jsonl").as_bytes())).len(), 200);
}

#[test]
fn a_directory_in_which_files_came_or_went_is_refused() {
    let dir = Dir::new();
    for n in 0..3000 {
        dir.write(format!("pages/{n:04}.html"), "<title>x</title>");
    }
    let command = || {
        let flags = ["parse", "pages", "--mode", "sequential", "-o", "out.jsonl", "--resume"];
        crate::harness::supervisor().current_dir(dir.root()).args(flags)
    };
    let run = command().spawn();
    run.until("records", || (dir.path("out.jsonl").metadata().is_ok_and(|it| it.len() > 0)).then_some(()));
    run.signal(Signal::SIGINT);
    let stopped = run.wait().exits(130);
    dir.write("pages/0000a.html", "new");
    command().run().exits(1).says("targets have changed");
    std::fs::remove_file(dir.path("pages/0000a.html")).unwrap();
    command().run().exits(0);
    assert_eq!(by_id(parse_lines(dir.read("out.jsonl").as_bytes())).len(), 3000, "{stopped}");
}

#[test]
fn two_supervisors_do_not_write_one_output() {
    let (origin, dir) = (Origin::start(), Dir::new());
    list(&origin, &dir, 40, 0.2);
    let run = resume(&dir, &["--mode", "concurrent", "--concurrency", "4"]).spawn();
    run.until("requests", || (requests(&origin) > 2).then_some(()));
    resume(&dir, &[]).run().exits(1).says("another supervisor is writing");
    let overwrite = ["-i", "urls.txt", "-o", "out.jsonl", "--overwrite"];
    fetch().current_dir(dir.root()).args(overwrite).run().exits(1).says("another supervisor is writing");
    run.wait().exits(0);
    assert_eq!(by_id(parse_lines(dir.read("out.jsonl").as_bytes())).len(), 40);
}
