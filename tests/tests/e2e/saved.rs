//! `--save`: each body is a file that is whole or absent, in both clients, over breaks, kills and resumed runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use e2e::origin::blobs::Content;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::{Dir, MODES, Origin, TestCommand, by_id, fetch, kind, normalised, parse_lines};

/// The hash of a file of the origin.
fn hash(name: &str, bytes: u64) -> String {
    Content::new(name, 0).sha256(bytes)
}

fn hash_of(path: &Path) -> String {
    hex(&Sha256::digest(fs::read(path).unwrap()))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All files below a directory, relative to it.
fn files(directory: &Path) -> BTreeSet<PathBuf> {
    let (mut found, mut left) = (BTreeSet::new(), vec![directory.to_owned()]);
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.insert(path.strip_prefix(directory).unwrap().to_owned());
            }
        }
    }
    found
}

/// Checks that the files are those that the records name, with their content, and nothing else.
#[track_caller]
fn check(directory: &Path, records: &[Value]) {
    let mut named = BTreeSet::new();
    for record in records.iter().filter(|record| record.get("error").is_none()) {
        let file = PathBuf::from(record["file"].as_str().unwrap());
        let path = directory.join(&file);
        assert_eq!(hash_of(&path), record["sha256"], "{record}");
        assert_eq!(fs::metadata(&path).unwrap().len(), record["bytes"], "{record}");
        named.insert(file);
    }
    assert_eq!(files(directory), named);
    assert!(!directory.join(".muster").exists());
}

fn save(dir: &Dir, name: &str, flags: &[&str]) -> TestCommand {
    fetch().current_dir(dir.root()).args(["--save", name]).args(flags)
}

#[test]
fn every_mode_saves_the_same_files() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let names = ["a", "b", "c/d.bin"];
    let sizes = [0, 5000, 3 << 20];
    let mut urls: Vec<String> = names
        .iter()
        .zip(sizes)
        .map(|(name, bytes)| origin.url(&format!("/blob/{name}?bytes={bytes}")))
        .collect();
    urls.extend(
        ["/site/page/1", "/redirect/2", "/status/404", "/encoding/gzip", "/site/page/1"]
            .map(|path| origin.url(path)),
    );
    let mut first = None;
    for mode in MODES {
        let out = format!("{mode}.d");
        let output = save(&dir, &out, &["--mode", mode, "--select", "t=title"]).urls(&urls).run().exits(3);
        let records = output.records();
        check(&dir.path(&out), &records);
        let records = normalised(records);
        for (id, (name, bytes)) in (0..).zip(names.iter().zip(sizes)) {
            assert_eq!(records[&id]["sha256"], hash(name, bytes), "{mode}");
        }
        assert_eq!(records[&3]["content_type"], "text/html");
        assert!(records[&3]["file"].as_str().unwrap().ends_with(".html"));
        assert!(records[&3]["fields"]["t"].is_string(), "{mode}: {}", records[&3]);
        assert_eq!(records[&3]["file"], records[&7]["file"]);
        let first = first.get_or_insert_with(|| records.clone());
        assert_eq!(*first, records, "{mode}");
    }
}

#[test]
fn names_come_from_the_template_and_no_two_inputs_share_one() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let urls = [
        "/blob/a/../b?bytes=1",
        "/blob/x?bytes=1&version=1",
        "/blob/x/y?bytes=1",
        "/blob/x?bytes=1&version=1#2",
        "/echo/%2e%2e%2f%2e%2e%2fetc",
        "/echo/con",
    ];
    let urls = urls.map(|path| origin.url(path));
    let flags = ["--save-name", "{host}/{path}", "-o", "o.csv", "--mode", "concurrent"];
    save(&dir, "d", &flags).urls(&urls).run().exits(0);
    let found = files(&dir.path("d"));
    assert_eq!(found.len(), 5, "{found:?}");
    let host = origin.host().replace(':', "+");
    assert!(found.contains(Path::new(&format!("{host}/blob/b%3Fbytes=1"))), "{found:?}");
    assert!(found.contains(Path::new(&format!("{host}/echo/_con"))), "{found:?}");
    assert!(dir.read("o.csv").lines().next().unwrap().contains(",charset,content_type,file,sha256,"));
    assert_eq!(dir.names(), ["d", "o.csv"]);
}

#[test]
fn a_body_that_breaks_off_is_continued_within_its_attempts() {
    for (mode, flags, from) in
        [("sequential", "", 2 << 20), ("concurrent", "", 2 << 20), ("concurrent", "&whole=true", 0)]
    {
        let (origin, dir) = (Origin::start(), Dir::new());
        let path = "/blob/a";
        let url = origin.url(&format!("{path}?bytes=5000000&break_at={}{flags}", 2 << 20));
        let headers = ["--response-header", "content-length", "--response-header", "content-range"];
        let output = save(&dir, "d", &["--mode", mode]).args(headers).urls([url]).run().exits(0);
        let records = output.records();
        check(&dir.path("d"), &records);
        assert_eq!(records[0]["sha256"], hash("a", 5_000_000), "{mode}");
        assert_eq!(records[0]["headers"], json!({ "content-length": "5000000" }), "{mode}");
        assert_eq!(
            (&records[0]["attempts"], &records[0]["status"]),
            (&2.into(), &200.into()),
            "{mode}{from}"
        );
    }
}

#[test]
fn a_wrong_rest_is_not_joined_to_a_file() {
    for mode in ["sequential", "concurrent"] {
        for lie in ["version", "long", "short", "packed"] {
            let (origin, dir) = (Origin::start(), Dir::new());
            let url = origin.url(&format!("/blob/a?bytes=3000000&break_at={}&lie={lie}", 2 << 20));
            let records = save(&dir, "d", &["--mode", mode]).urls([url]).run().exits(0).records();
            check(&dir.path("d"), &records);
            assert_eq!(records[0]["sha256"], hash("a", 3_000_000), "{mode} {lie}");
            assert_eq!(records[0]["status"], 200, "{mode} {lie}");
        }
    }
}

#[test]
fn a_file_that_the_system_does_not_allow_is_too_large_and_the_others_are_saved() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    // Fetched to its end, the first one would take longer than the timeout.
    let urls = ["/blob/a?bytes=1000000000000", "/blob/b?bytes=1000"].map(|path| origin.url(path));
    for mode in ["sequential", "concurrent"] {
        let flags = ["--mode", mode, "-o", "-"];
        let run = save(&dir, mode, &flags).urls(&urls);
        let records =
            run.under(&["sh", "-c", "ulimit -f 2000 && exec \"$@\"", "sh"]).run().exits(3).records();
        check(&dir.path(mode), &records);
        let records = by_id(records);
        assert_eq!(kind(&records[&0]), "too_large", "{mode}");
        assert!(records[&0]["error"]["message"].as_str().unwrap().contains("ulimit -f"), "{mode}");
        assert_eq!(records[&1]["sha256"], hash("b", 1000), "{mode}");
    }
}

#[test]
fn killed_again_and_again_every_file_is_whole_in_the_end() {
    const COUNT: usize = 60;
    for mode in ["parallel", "both"] {
        let (origin, dir) = (Origin::start(), Dir::new());
        let size = |n: usize| if n.is_multiple_of(20) { 16 << 20 } else { 4096 << (n % 8) };
        let list: Vec<String> =
            (0..COUNT).map(|n| origin.url(&format!("/blob/{n}?bytes={}", size(n)))).collect();
        dir.write("urls.txt", list.join("\n"));
        let flags = ["-i", "urls.txt", "-o", "o.jsonl", "--resume", "--mode", mode, "--per-host", "4"];
        let requests = || origin.stats()["requests"].as_u64().unwrap();
        for n in 0..5 {
            let run = save(&dir, "d", &flags).spawn();
            let before = requests();
            run.until("requests", || (requests() >= before + 4 + n).then_some(()));
            run.signal(Signal::SIGKILL);
            run.wait();
        }
        save(&dir, "d", &flags).run().exits(0);
        let records = parse_lines(dir.read("o.jsonl").as_bytes());
        check(&dir.path("d"), &records);
        let records = by_id(records);
        for n in 0..COUNT {
            let id = u64::try_from(n).unwrap();
            assert_eq!(records[&id]["sha256"], hash(&n.to_string(), size(n) as u64), "{mode} {n}");
        }
    }
}

#[test]
fn what_a_killed_run_leaves_for_nobody_is_removed_by_the_next() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let slow = origin.url("/drip?bytes=1000&seconds=1000");
    let run = save(&dir, "d", &[]).urls([slow]).spawn();
    let begun = || Some(()).filter(|()| dir.path("d").exists() && !files(&dir.path("d")).is_empty());
    run.until("unfinished file", begun);
    let other = || save(&dir, "d", &[]).urls([origin.url("/blob/b?bytes=1")]).run().exits(0).records();
    other();
    assert!(dir.path("d/.muster").exists(), "the first run is at work");
    let workers = run.workers();
    run.signal(Signal::SIGKILL);
    run.until("end of its workers", || workers.iter().all(|worker| !worker.is_alive()).then_some(()));
    run.wait();
    check(&dir.path("d"), &other());
}

#[test]
fn limits_and_failures_leave_no_file() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let urls = ["/blob/a?bytes=3000", "/blob/b?bytes=1000", "/status/500", "/huge?bytes=5000", "/truncated"];
    let urls = urls.map(|path| origin.url(path));
    for mode in ["sequential", "concurrent"] {
        let flags = ["--mode", mode, "--save-bytes-max", "2KB", "--retries", "0"];
        let records = save(&dir, mode, &flags).urls(&urls).run().exits(3).records();
        check(&dir.path(mode), &records);
        let records = by_id(records);
        assert_eq!(kind(&records[&0]), "too_large", "{mode}");
        assert_eq!(kind(&records[&3]), "too_large", "{mode}");
        assert_eq!(files(&dir.path(mode)).len(), 1, "{mode}");
    }
}

#[test]
fn bodies_are_extracted_up_to_the_limit_for_pages() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let urls = ["/huge?bytes=100000", "/huge?bytes=1000"].map(|path| origin.url(path));
    let page = ["--select", "t=title", "--body-bytes-max", "50KB", "--blocked-if", "css:#captcha"];
    // What is too large is not read at all, so nothing can be wrong with it.
    for (name, flags) in [("page", &page[..]), ("json", &["--select", "t=$.a", "--body-bytes-max", "500B"])] {
        let records = save(&dir, name, flags).urls(&urls).run().records();
        let records = by_id(records);
        assert_eq!(records[&0]["fields"]["t"], Value::Null, "{name}");
        assert!(records[&0].get("error").is_none(), "{name}: {}", records[&0]);
        assert!(records[&0]["file"].is_string(), "{name}");
        if name == "page" {
            assert_eq!(records[&1]["fields"]["t"], "Huge");
        }
    }
}

#[test]
fn runs_whose_outputs_keep_nothing_share_a_directory() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let flags = ["-o", "/dev/null"];
    let slow = origin.url("/drip?bytes=1000&seconds=1000");
    let run = save(&dir, "d", &flags).urls([slow]).spawn();
    let begun = || Some(()).filter(|()| dir.path("d").exists() && !files(&dir.path("d")).is_empty());
    run.until("unfinished file", begun);
    save(&dir, "d", &flags).urls([origin.url("/blob/b?bytes=1")]).run().exits(0);
    assert_eq!(files(&dir.path("d")).len(), 2, "the first run is at work");
    run.signal(Signal::SIGKILL);
    run.wait();
}

#[test]
fn what_cannot_be_is_refused_at_the_start() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    dir.write("file", "");
    let url = origin.url("/blob/a?bytes=1");
    for (flags, code, says) in [
        (&["--save", "d", "-o", "o.warc"][..], 2, "a web archive holds the bodies itself"),
        (&["--save", "file"], 1, "cannot save files to file: it is not a directory"),
        (&["--save", "no/such"], 1, "does not exist; create it first"),
        (&["--save", "d", "--save-name", "../{id}"], 2, "begins with a dot"),
        (&["--save-name", "{id}"], 2, "--save <DIR>"),
        (&["--save", "d", "--blocked-if", "repeats"], 2, "cannot be combined with --save"),
        (&["--save", ".", "-o", "o.jsonl"], 2, "where workers may write"),
    ] {
        fetch().current_dir(dir.root()).args(flags).urls([&url]).run().exits(code).says(says);
    }
    assert_eq!(dir.names(), ["file"]);
}

#[test]
fn a_full_sandbox_allows_what_saving_needs() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let urls = [origin.url("/blob/a?bytes=5000000"), origin.url("/site/page/1")];
    let records = [("auto", "a"), ("off", "b")].map(|(level, name)| {
        let flags = ["--sandbox", level, "--save-name", "{host}/{path}"];
        let records = save(&dir, name, &flags).urls(&urls).run().exits(0).records();
        check(&dir.path(name), &records);
        normalised(records)
    });
    assert_eq!(records[0], records[1]);
}
