//! `--progress` and `--report` for every command: records are counted, and for `csv` the bytes of its files.

use crate::compare::is_self_contained;
use crate::harness::{Dir, Origin, Output, TestCommand, fetch, parse, supervisor};

/// Runs `command` with both; the lines that tell how far it is, and the page.
fn watched(dir: &Dir, command: TestCommand) -> (Output, Vec<String>, String) {
    let report = dir.path("report.html");
    // Not as flags: those would be the program's where one stands last.
    let run = command.env("MUSTER_PROGRESS", "always").env("MUSTER_REPORT", &report).run().exits(0);
    let lines = run.stderr.lines().filter(|line| line.contains("/s  ") || line.ends_with("/s"));
    let lines = lines.map(str::to_owned).collect();
    let html = dir.read("report.html");
    std::fs::remove_file(report).unwrap();
    (run, lines, html)
}

/// The last line counts everything, and the page shows the same with something to look at.
#[track_caller]
fn check(dir: &Dir, command: TestCommand, all: &str, done: &str) {
    let (run, lines, html) = watched(dir, command);
    assert!(lines.last().is_some_and(|line| line.starts_with(all)), "no {all:?} at the end of {run}");
    assert!(run.stderr.contains(&format!("{done} in ")), "no {done:?} in {run}");
    assert!(html.contains(&format!("{done} targets in ")), "no {done:?} in the report of {run}");
    assert!(is_self_contained(&html) && html.contains("<svg"), "{run}");
}

#[test]
fn every_command_tells_how_far_it_is_and_reports() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let urls = (0..40).map(|n| origin.url(&format!("/site/page/{n}")));
    check(&dir, fetch().urls(urls), "40/40  ", "40");
    for n in 0..30 {
        dir.write(format!("pages/{n}.html"), e2e::origin::site::page(n, 30));
    }
    check(&dir, parse().arg(dir.path("pages")), "30/30  ", "30");
    let lines: String = (0..2_000).map(|n| format!("{n}\n")).collect();
    let map = supervisor().args(["--workers", "2", "map", "-i"]).arg(dir.write("n.jsonl", &lines));
    check(&dir, map.args(["--", "cat"]), "2,000/2,000  ", "2,000");
    let csv = dir.write("n.csv", format!("n\n{}", lines.repeat(200)));
    assert_eq!(csv.metadata().unwrap().len(), 1_778_002);
    check(&dir, supervisor().args(["--workers", "2", "csv"]).arg(csv), "1.78 MB of 1.78 MB  ", "400,000");
}
