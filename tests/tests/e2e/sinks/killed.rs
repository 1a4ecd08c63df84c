//! Killed at any instant and resumed, every format has every record once, in a file that opens.

use nix::sys::signal::Signal;
use serde_json::Value;

use super::read::rows;
use crate::harness::{Dir, Origin, TestCommand, fetch};

const COUNT: u32 = 300;

fn list(origin: &Origin, dir: &Dir) {
    let urls: String =
        (0..COUNT).map(|n| format!("{}\n", origin.url(&format!("/counted/{n}?delay=0.02")))).collect();
    dir.write("urls.txt", urls);
}

/// So slow that what is done before a kill is committed, and the next run goes on from there.
fn resuming(dir: &Dir, output: &[&str]) -> TestCommand {
    let command = fetch().current_dir(dir.root()).args(["-i", "urls.txt", "--resume", "-o"]).args(output);
    command.args(["--mode", "both", "--concurrency", "4", "--select", "title=title", "--summary", "s.json"])
}

/// Its manifest says that an output is whole, and what is in it.
#[test]
fn an_output_that_is_being_replaced_has_no_manifest() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let fetch = || fetch().current_dir(dir.root()).args(["-o", "out.jsonl", "--manifest", "m.json"]);
    fetch().arg(origin.url("/site/page/1")).run().exits(0);
    assert!(dir.path("m.json").exists());
    list(&origin, &dir);
    let run = fetch().args(["-i", "urls.txt", "--overwrite", "--concurrency", "2"]).spawn();
    run.until("requests", || (origin.stats()["requests"].as_u64().unwrap() >= 30).then_some(()));
    run.signal(Signal::SIGKILL);
    run.wait();
    assert!(!dir.path("m.json").exists(), "{}", dir.read("m.json"));
}

#[test]
fn a_file_of_any_format_is_whole_in_the_end() {
    for output in [
        &["out.csv"][..],
        &["out.tsv", "--ordered"],
        &["out.jsonl.gz"],
        &["out.csv.zst"],
        &["out.csv.gz", "--ordered"],
        &["out.parquet"],
        &["out.parquet", "--ordered"],
        &["out.sqlite"],
        &["out", "--split", "70", "--format", "csv.gz"],
        &["out", "--split", "70", "--format", "parquet"],
    ] {
        let (origin, dir) = (Origin::start(), Dir::new());
        list(&origin, &dir);
        let requests = || origin.stats()["requests"].as_u64().unwrap();
        for n in 0..4 {
            let before = requests();
            let run = resuming(&dir, output).spawn();
            run.until("requests", || (requests() >= before + 25 + 15 * n).then_some(()));
            run.signal(Signal::SIGKILL);
            run.wait();
            // What is there must not look whole: a file that is made as a whole is not there at all.
            let is_whole = output[0].ends_with("parquet") || output[0].ends_with("sqlite");
            assert!(!is_whole || !dir.path(output[0]).exists(), "{output:?}");
            assert!(!dir.path("out/manifest.json").exists());
        }
        fetch()
            .current_dir(dir.root())
            .args(["-i", "urls.txt", "-o"])
            .args(output)
            .run()
            .exits(1)
            .says("--resume");
        let run = resuming(&dir, output).run().exits(0).says(&format!("resuming {}", output[0]));
        assert!(!run.stderr.contains(": 0 records"), "nothing was committed: {run}");
        let mut ids = Vec::new();
        if output.contains(&"--split") {
            let manifest: Value = serde_json::from_str(&dir.read("out/manifest.json")).unwrap();
            let files = manifest["files"].as_array().unwrap();
            assert_eq!(files.len(), 5);
            for file in files {
                ids.extend(rows(&dir.path(format!("out/{}", file["name"].as_str().unwrap()))).into_keys());
            }
            ids.sort_unstable();
        } else {
            ids.extend(rows(&dir.path(output[0])).into_keys());
        }
        assert_eq!(ids, (0..u64::from(COUNT)).collect::<Vec<_>>(), "{output:?}: {run}");
        let summary: Value = serde_json::from_str(&dir.read("s.json")).unwrap();
        assert_eq!((&summary["items"], &summary["ok"]), (&COUNT.into(), &COUNT.into()));
        assert_eq!(dir.names().len(), 3, "{:?}", dir.names());
        resuming(&dir, output).run().exits(0).says("complete already, with 300 records");
    }
}

#[test]
fn a_run_that_was_stopped_leaves_what_the_next_one_needs() {
    let (origin, dir) = (Origin::start(), Dir::new());
    list(&origin, &dir);
    let requests = || origin.stats()["requests"].as_u64().unwrap();
    let run = resuming(&dir, &["out.parquet"]).spawn();
    run.until("requests", || (requests() > 40).then_some(()));
    run.signal(Signal::SIGINT);
    run.wait().exits(130).says("--resume does them");
    assert_eq!(dir.names(), ["out.parquet.journal", "out.parquet.journal.records", "s.json", "urls.txt"]);
    // The records are there already: another format is made of the same.
    resuming(&dir, &["out.parquet", "--format", "sqlite"]).run().exits(0).says("resuming out.parquet");
    assert_eq!(requests(), u64::from(COUNT));
}

/// The version before this one kept JSON lines, and its journals say nothing of a form.
#[test]
fn records_that_were_kept_in_another_form_are_refused() {
    let (origin, dir) = (Origin::start(), Dir::new());
    list(&origin, &dir);
    let run = resuming(&dir, &["out.parquet"]).spawn();
    run.until("requests", || (origin.stats()["requests"].as_u64().unwrap() > 40).then_some(()));
    run.signal(Signal::SIGINT);
    run.wait().exits(130);
    let journal = rusqlite::Connection::open(dir.path("out.parquet.journal")).unwrap();
    let forget = "UPDATE job SET flags = (SELECT json_group_array(json(value)) FROM json_each(flags)
        WHERE value ->> 'flag' NOT LIKE '%kept records')";
    assert_eq!(journal.execute(forget, []).unwrap(), 1);
    journal.close().unwrap();
    let refused = "the form of the kept records was not there, and is typed rows";
    resuming(&dir, &["out.parquet"]).run().exits(1).says(refused).says("--overwrite");
    assert!(!dir.path("out.parquet").exists());
}

#[test]
fn an_old_file_stays_until_the_new_one_is_whole() {
    let (origin, dir) = (Origin::start(), Dir::new());
    list(&origin, &dir);
    dir.write("out.parquet", "precious");
    let requests = || origin.stats()["requests"].as_u64().unwrap();
    let command = fetch().current_dir(dir.root()).args(["-i", "urls.txt", "-o", "out.parquet"]);
    command.clone().run().exits(1).says("--overwrite");
    let run = command.clone().arg("--overwrite").spawn();
    run.until("requests", || (requests() > 40).then_some(()));
    run.signal(Signal::SIGKILL);
    run.wait();
    assert_eq!(dir.read("out.parquet"), "precious");
    command.clone().run().exits(1).says("continue it with --resume");
    command.arg("--resume").run().exits(0);
    assert_eq!(rows(&dir.path("out.parquet")).len(), COUNT as usize);
}
