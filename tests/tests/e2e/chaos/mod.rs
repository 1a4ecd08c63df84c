//! What process isolation is for: workers die in every way there is, and nothing
//! is lost, done twice or blamed on a neighbour.
//!
//! Small here, in every run; `scripts/chaos` sets `MUSTER_CHAOS` and runs the
//! same at full size.

mod hostile;
mod restarts;
mod stopped;
mod turnover;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use e2e::poison;
use nix::sys::signal::Signal;

use crate::harness::{Dir, Origin, by_id, fetch, kind, parse, wait_for};

/// How many times the usual size: 1, or what `MUSTER_CHAOS` says.
fn scale() -> usize {
    std::env::var("MUSTER_CHAOS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// What the record of a poisoned input must say.
fn expected(poison: &str) -> (&'static str, Option<&'static str>) {
    match poison {
        "segfault" => ("worker_crash", Some("SIGSEGV")),
        "abort" | "overflow" => ("worker_crash", Some("SIGABRT")),
        "spin" => ("worker_hang", None),
        _ => ("worker_oom", Some("SIGABRT")),
    }
}

fn exactly_the_poisoned_are_set_aside(mode: &str) {
    let (origin, dir) = (Origin::start(), Dir::new());
    // Twenty of each at full size, in ten thousand.
    let each = scale().min(20);
    let total = 500 * scale().min(20);
    let mut urls: Vec<String> = (0..total).map(|n| origin.url(&format!("/site/page/{}", n % 200))).collect();
    let mut poisoned = Vec::new();
    for (place, kind) in poison::KINDS.iter().cycle().take(each * poison::KINDS.len()).enumerate() {
        let id = (place + 1) * total / (each * poison::KINDS.len() + 1);
        if let Some(url) = urls.get_mut(id) {
            *url = origin.url(&format!("/site/page/{}?poison={kind}", id % 200));
        }
        poisoned.push((id as u64, *kind));
    }
    let output = fetch()
        .args(["--mode", mode, "--workers", "2", "--concurrency", "8", "--worker-memory", "512MiB"])
        .args(["--parse-timeout", "0.5s", "--retries", "0", "--select", "t=title", "--summary"])
        .arg(dir.path("s.json"))
        .urls(urls)
        .run()
        .exits(3);
    let records = by_id(output.records());
    assert_eq!(records.len(), total, "{output}");
    for (id, poison) in &poisoned {
        let record = &records[id];
        let (kind, signal) = expected(poison);
        assert_eq!(record["error"]["kind"], kind, "{poison}: {record}");
        if let Some(signal) = signal {
            assert_eq!(record["error"]["evidence"]["signal"], signal, "{poison}: {record}");
        }
        assert_eq!(record["error"]["evidence"]["phase"], "extract", "{poison}: {record}");
        assert_eq!(record["attempts"], 3, "{poison}: {record}");
    }
    let summary: serde_json::Value = serde_json::from_str(&dir.read("s.json")).unwrap();
    assert_eq!(summary["quarantined"], poisoned.len(), "{summary}");
    assert_eq!(summary["retries"], 2 * poisoned.len(), "two attempts of each before the last: {summary}");
    let set_aside: BTreeSet<u64> = poisoned.iter().map(|(id, _)| *id).collect();
    for (id, record) in records.iter().filter(|(id, _)| !set_aside.contains(id)) {
        assert_eq!([kind(record), &record["attempts"].to_string()], ["", "1"], "{id}: {record}");
    }
}

#[test]
fn exactly_the_poisoned_are_set_aside_by_event_loops() {
    exactly_the_poisoned_are_set_aside("both");
}

#[test]
fn exactly_the_poisoned_are_set_aside_by_blocking_workers() {
    exactly_the_poisoned_are_set_aside("parallel");
}

/// Decompression is part of the wait, and hostile bytes reach it before any parser.
#[test]
fn whoever_kills_while_it_is_waited_for_is_blamed_too() {
    for mode in ["both", "parallel"] {
        let origin = Origin::shared();
        let mut urls: Vec<String> = (0..60).map(|n| origin.url(&format!("/site/page/{n}"))).collect();
        urls[20] = origin.url("/site/page/20?early=segfault");
        urls[40] = origin.url("/site/page/40?early=abort");
        let flags = ["--mode", mode, "--workers", "2", "--concurrency", "8", "--retries", "0"];
        let output = fetch().args(flags).urls(urls).run().exits(3);
        let records = by_id(output.records());
        assert_eq!(records.len(), 60, "{output}");
        for (id, record) in &records {
            let (want, attempts) = if [20, 40].contains(id) { ("worker_crash", 3) } else { ("", 1) };
            assert_eq!(kind(record), want, "{mode}: {record}");
            assert_eq!(record["attempts"], attempts, "{mode}: {record}");
        }
        assert_eq!(records[&20]["error"]["evidence"]["phase"], "fetch", "{mode}");
    }
}

/// Counts the records in a file that grows, and that is not there at first.
fn records_in(path: PathBuf) -> impl FnMut() -> usize {
    let (mut file, mut bytes, mut count) = (None, Vec::new(), 0);
    move || {
        if file.is_none() {
            file = fs::File::open(&path).ok();
        }
        if let Some(file) = &mut file {
            bytes.clear();
            file.read_to_end(&mut bytes).unwrap();
            count += bytes.iter().filter(|byte| **byte == b'\n').count();
        }
        count
    }
}

#[test]
fn many_kills_lose_nothing_and_set_nobody_aside() {
    let dir = Dir::new();
    // Files, so that the work is in the workers and not in a server's answer.
    // At full size so much in each that the run outlasts its kills.
    let paragraphs = if scale() == 1 { 200 } else { 600 };
    let page = "<title>page</title>".to_owned() + &"<p>word word word</p>".repeat(paragraphs);
    for n in 0..200 {
        dir.write(format!("{n}.html"), &page);
    }
    let (total, kills) = (20_000 * scale().min(5), 40 * scale().min(25));
    let list: String =
        (0..total).map(|n| format!("{}\n", dir.path(format!("{}.html", n % 200)).display())).collect();
    let list = dir.write("list.txt", list);
    let run = parse()
        .args(["--mode", "parallel", "--workers", "8", "--select", "p[]=p:nth-child(2n)", "-i"])
        .arg(list)
        .args(["-o"])
        .arg(dir.path("out.jsonl"))
        .spawn();
    let mut random = fastrand::Rng::with_seed(7);
    let mut written = records_in(dir.path("out.jsonl"));
    let (mut killed, mut lines) = (0, 0);
    while killed < kills && !run.has_ended() {
        let workers = run.workers();
        if let Some(victim) = workers.get(random.usize(..workers.len().max(1))) {
            victim.signal(Signal::SIGKILL);
            killed += 1;
            let gone = || (!victim.is_alive() || run.has_ended()).then_some(());
            wait_for("the victim's death", Duration::from_secs(10), gone);
        }
        // At random moments of work, spread over half of it. A SIGKILL looks like the kernel's, which blames the
        // input in hand: on a busy machine, kills one upon the other can meet the same input three times.
        let next = lines + total / (2 * kills);
        run.until("more records", || (written() >= next || run.has_ended()).then_some(()));
        lines = written();
    }
    let output = run.wait().exits(0);
    let records = by_id(crate::harness::parse_lines(dir.read("out.jsonl").as_bytes()));
    assert_eq!(records.len(), total, "{output}");
    assert!(records.values().all(|record| kind(record).is_empty()), "someone was blamed: {output}");
    eprintln!("{killed} kills");
    let least = if scale() == 1 { 11 } else { kills };
    assert!(killed >= least, "the run was over before it was disturbed enough: {killed} kills");
}
