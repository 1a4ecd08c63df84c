//! `--ordered` while the first input waits: what was done before a stop is kept, and not asked for again.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Dir, Origin, Running, TestCommand, fetch, parse_lines};

/// Inputs behind the first one.
const BEHIND: u64 = 50;

/// A first input that a server asks to try again in 4 s, `failures` times, and others that are done at once.
pub(crate) fn urls(first: &Origin, others: &Origin, failures: u32) -> Vec<String> {
    let first = first.url(&format!("/flaky/0?failures={failures}&retry_after=4"));
    std::iter::once(first).chain((0..BEHIND).map(|n| others.url(&format!("/counted/{n}")))).collect()
}

fn command(dir: &Dir) -> TestCommand {
    fetch().current_dir(dir.root()).args(["--ordered", "--retries", "3", "-i", "urls.txt"])
}

/// Waits until everything but the first input is done.
fn all_but_the_first(run: &Running, others: &Origin) {
    run.until("the others", || (others.stats()["requests"] == BEHIND).then_some(()));
}

fn ids(output: &[u8]) -> Vec<u64> {
    parse_lines(output).iter().map(|record| record["id"].as_u64().unwrap()).collect()
}

#[test]
fn what_waits_for_an_earlier_record_outlives_stops_and_kills() {
    for name in ["out.jsonl", "out.csv", "out.jsonl.gz", "out.sqlite"] {
        let (first, others, dir) = (Origin::start(), Origin::start(), Dir::new());
        dir.write("urls.txt", urls(&first, &others, 3).join("\n"));
        let resumed = || command(&dir).args(["--resume", "--summary", "s.json", "-o", name]);
        let run = resumed().spawn();
        all_but_the_first(&run, &others);
        run.signal(Signal::SIGTERM);
        let output = run.wait().exits(143);
        let output = output.says("0 records written").says("50 kept in its journal").says("1 input left");
        let summary: Value = serde_json::from_str(&dir.read("s.json")).unwrap();
        assert_eq!(summary["items"], BEHIND, "{name}: {output}");
        // Killed after it was resumed: what was kept before still is.
        let run = resumed().spawn();
        run.until("the first one again", || (first.stats()["requests"].as_u64() >= Some(2)).then_some(()));
        run.signal(Signal::SIGKILL);
        run.wait();
        let output = resumed().run().exits(0);
        assert_eq!(others.stats()["requests"], BEHIND, "{name}: done again: {output}");
        let summary: Value = serde_json::from_str(&dir.read("s.json")).unwrap();
        assert_eq!(
            (&summary["items"], &summary["ok"]),
            (&(BEHIND + 1).into(), &(BEHIND + 1).into()),
            "{name}"
        );
        if name == "out.jsonl" {
            assert_eq!(ids(dir.read(name).as_bytes()), (0..=BEHIND).collect::<Vec<_>>());
        }
        if name == "out.csv" {
            assert_eq!(dir.read(name).lines().count() as u64, BEHIND + 2, "with its header");
        }
        assert!(!dir.path(format!("{name}.journal")).exists());
    }
}

#[test]
fn without_a_journal_it_is_written_behind_the_last_one_in_order() {
    let (first, others, dir) = (Origin::start(), Origin::start(), Dir::new());
    dir.write("urls.txt", urls(&first, &others, 3).join("\n"));
    let run = command(&dir).spawn();
    all_but_the_first(&run, &others);
    run.signal(Signal::SIGINT);
    let output = run.wait().exits(130).says("50 records written").says("1 input left");
    assert_eq!(ids(&output.stdout), (1..=BEHIND).collect::<Vec<_>>());
}
