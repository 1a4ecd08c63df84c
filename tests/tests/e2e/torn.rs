//! Ends at any moment, however early or ugly: what is left of the output is made whole.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Dir, Origin, TestCommand, by_id, fetch, ids, parse, parse_lines, supervisor};

/// A job of `count` short waits, its output in `dir`.
struct Job {
    origin: Origin,
    dir: Dir,
    list: PathBuf,
    count: u64,
    mode: &'static str,
}

impl Job {
    fn new(mode: &'static str, count: u64) -> Self {
        let (origin, dir) = (Origin::start(), Dir::new());
        let urls: String =
            (0..count).map(|n| format!("{}\n", origin.url(&format!("/counted/{n}?delay=0.02")))).collect();
        let list = dir.write("urls.txt", urls);
        Self { origin, dir, list, count, mode }
    }

    fn fetch(&self, flags: &[&str]) -> TestCommand {
        let common = ["--mode", self.mode, "--concurrency", "4", "--select", "t=title"];
        let run = fetch().args(common).args(flags).arg("-i").arg(&self.list);
        run.arg("-o").arg(self.dir.path("out.jsonl"))
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.dir.path("out.jsonl")).unwrap_or_default()
    }

    /// Every input once, in an output of whole lines, and nothing left beside it.
    fn is_whole(&self) -> Vec<Value> {
        let records = parse_lines(&self.bytes());
        assert_eq!(
            by_id(records.clone()).into_keys().collect::<Vec<_>>(),
            (0..self.count).collect::<Vec<_>>()
        );
        assert_eq!(self.dir.names(), ["out.jsonl", "urls.txt"]);
        records
    }
}

#[test]
fn a_supervisor_killed_over_and_over_loses_and_repeats_nothing() {
    for (mode, seed) in [("both", 1), ("sequential", 2)] {
        let job = Job::new(mode, 300);
        let mut rng = fastrand::Rng::with_seed(seed);
        for kills in 0.. {
            // More each time, so that it ends however slow the machine is.
            let patience = Duration::from_millis(rng.u64(0..150) + 60 * kills);
            let run = job.fetch(if kills == 0 { &[] } else { &["--resume"] }).spawn();
            std::thread::park_timeout(patience);
            if run.has_ended() {
                run.wait().exits(0);
                assert!(kills > 2, "it was over before it could be killed");
                break;
            }
            run.signal(Signal::SIGKILL);
            run.until("its end", || run.has_ended().then_some(()));
            // What an earlier kill left is cut off only when the run goes on: until then, whole lines and a tail.
            if !job.dir.path("out.jsonl.journal").exists() {
                // Killed before it began, or after it was done.
                if job.bytes().is_empty() {
                    let _ = fs::remove_file(job.dir.path("out.jsonl"));
                    continue;
                }
                break;
            }
        }
        job.is_whole();
    }
}

#[test]
fn order_is_kept_over_a_resume() {
    let job = Job::new("both", 200);
    let run = job.fetch(&["--ordered"]).spawn();
    run.until("records", || (job.bytes().len() > 4000).then_some(()));
    run.signal(Signal::SIGKILL);
    run.until("its end", || run.has_ended().then_some(()));
    job.fetch(&["--ordered", "--resume"]).run().exits(0);
    assert_eq!(ids(&job.is_whole()), (0..200).collect::<Vec<_>>());
}

/// Stopped with something left to do.
fn stopped(job: &Job) {
    let run = job.fetch(&[]).spawn();
    run.until("requests", || (job.origin.stats()["requests"].as_u64() > Some(10)).then_some(()));
    run.signal(Signal::SIGINT);
    run.wait().exits(130);
}

#[test]
fn the_mode_and_the_workers_may_change_between_runs() {
    let job = Job::new("sequential", 200);
    stopped(&job);
    let flags = ["fetch", "--resume", "--mode", "both", "--workers", "3", "--select", "t=title", "-i"];
    let run = supervisor().args(flags);
    run.arg(&job.list).arg("-o").arg(job.dir.path("out.jsonl")).run().exits(0);
    job.is_whole();
}

#[test]
fn an_output_cut_or_grown_by_others_is_noticed() {
    let job = Job::new("both", 300);
    stopped(&job);
    let whole = job.bytes();
    // Torn lines after the last commit are what a kill leaves: they are cut off.
    fs::write(job.dir.path("out.jsonl"), [&whole[..], b"{\"id\":7,\"url\":\"http://torn"].concat()).unwrap();
    job.fetch(&["--resume"]).run().exits(0);
    job.is_whole();
    let job = Job::new("both", 300);
    stopped(&job);
    // Records that were committed are gone: there is no way to go on that keeps the promise.
    fs::write(job.dir.path("out.jsonl"), &job.bytes()[..100]).unwrap();
    job.fetch(&["--resume"]).run().exits(1).says("out.jsonl");
}

#[test]
fn parsing_is_resumed_too() {
    let dir = Dir::new();
    for n in 0..400 {
        dir.write(format!("pages/{n:03}.html"), e2e::origin::site::page(n, 400));
    }
    let run = || {
        let run = parse().args(["--mode", "parallel", "--select", "t[]=a:not(.x)", "-o"]);
        run.arg(dir.path("out.jsonl")).arg(dir.path("pages"))
    };
    let first = run().spawn();
    let written = || fs::metadata(dir.path("out.jsonl")).map_or(0, |file| file.len());
    first.until("records", || (written() > 0 || first.has_ended()).then_some(()));
    if !first.has_ended() {
        first.signal(Signal::SIGKILL);
        first.until("its end", || first.has_ended().then_some(()));
    }
    if dir.path("out.jsonl.journal").exists() {
        run().arg("--resume").run().exits(0);
    }
    assert_eq!(by_id(parse_lines(dir.read("out.jsonl").as_bytes())).len(), 400);
}
