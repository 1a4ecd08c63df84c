//! Thousands of workers, one after the other: nothing of them stays.

use std::fs;

use super::scale;
use crate::harness::{Dir, Origin, Running, by_id, fetch, kind, parse_lines};

/// What could pile up: descriptors and threads of the supervisor, children not reaped, files in its directory for sockets.
fn holdings(run: &Running, dir: &Dir) -> Option<[usize; 4]> {
    let count = |path: String| Some(fs::read_dir(path).ok()?.count());
    let own = |what| count(format!("/proc/{}/{what}", run.id()));
    let files = count(dir.path("tmp").display().to_string())?;
    Some([own("fd")?, own("task")?, run.zombies(), files])
}

#[test]
fn thousands_of_recycles_leave_nothing_behind() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let recycles = if scale() == 1 { 100 } else { 400 * scale() };
    // One at a time, each in the time of a few targets; those that come meanwhile live longer.
    let total = recycles * 8;
    dir.write("list.txt", format!("{}\n", origin.url("/delay/0.02")).repeat(total));
    fs::create_dir(dir.path("tmp")).unwrap();
    let flags = ["--mode", "parallel", "--workers", "4", "--recycle", "2"];
    let run = fetch()
        .current_dir(dir.root())
        .env("TMPDIR", dir.path("tmp"))
        .args(flags)
        .args(["-i", "list.txt", "-o", "out.jsonl", "--summary", "s.json"])
        .spawn();
    let lines = || {
        fs::read(dir.path("out.jsonl")).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count())
    };
    // The most of each in a tenth of the run, early and late.
    let most = |from: usize, to: usize| {
        let mut most = [0; 4];
        run.until("its turn", || (lines() >= from || run.has_ended()).then_some(()));
        run.until("a tenth of the run", || {
            for (most, now) in most.iter_mut().zip(holdings(&run, &dir)?) {
                *most = now.max(*most);
            }
            (lines() >= to || run.has_ended()).then_some(())
        });
        most
    };
    let early = most(total / 10, total * 2 / 10);
    let late = most(total * 8 / 10, total * 9 / 10);
    let output = run.wait().exits(0);
    let records = by_id(parse_lines(dir.read("out.jsonl").as_bytes()));
    assert_eq!(records.len(), total, "{output}");
    assert!(records.values().all(|record| kind(record).is_empty()), "{output}");
    let summary: serde_json::Value = serde_json::from_str(&dir.read("s.json")).unwrap();
    let workers = summary["per_worker"].as_array().unwrap();
    let starts: u64 = workers.iter().map(|worker| worker["starts"].as_u64().unwrap()).sum();
    eprintln!(
        "{starts} workers; descriptors, threads, zombies, files: at most {early:?} early, {late:?} late"
    );
    // On a machine that does other things as well a start takes longer than eight targets.
    let least = if scale() == 1 { recycles / 4 } else { recycles };
    assert!(starts as usize > least, "{summary}");
    for (early, late) in early.into_iter().zip(late) {
        // A worker that starts while another leaves, seen or not seen.
        assert!(late <= early + 8, "{early:?} early, {late:?} late");
    }
}
