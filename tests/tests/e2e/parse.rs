//! `parse`: saved pages, from files, directories and lists.

use std::os::unix::fs::symlink;
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use crate::harness::{Dir, MODES, by_id, kind, normalised, parse, supervisor};

const TITLE: [&str; 2] = ["--select", "title=title"];

fn titled(title: &str) -> String {
    format!("<!DOCTYPE html><title>{title}</title><a href=/x>{title}</a>")
}

/// The file name of each record's path, with its title or the kind of its error.
fn seen(records: Vec<Value>) -> Vec<(String, String)> {
    let mut seen: Vec<_> = by_id(records)
        .into_values()
        .map(|record| {
            let path = Path::new(record["path"].as_str().expect("a path")).to_owned();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let title = record["fields"]["title"].as_str().unwrap_or_else(|| kind(&record)).to_owned();
            (name, title)
        })
        .collect();
    seen.sort();
    seen
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, title)| ((*name).to_owned(), (*title).to_owned())).collect()
}

#[test]
fn a_directory_is_walked_for_pages() {
    let dir = Dir::new();
    dir.write("tree/a.html", titled("A"));
    dir.write("tree/b.HTM", titled("B"));
    dir.write("tree/deep/er/c.htm", titled("C"));
    dir.write("tree/notes.txt", titled("not a page"));
    dir.write("tree/empty.html", "");
    symlink("../gone.html", dir.path("tree/dangling.html")).unwrap();
    // A loop of links would be walked for ever.
    symlink(".", dir.path("tree/deep/again")).unwrap();
    // Nobody writes to this one: reading it would wait for ever.
    mkfifo(&dir.path("tree/pipe.html"), Mode::S_IRWXU).unwrap();
    let mut runs = MODES.map(|mode| {
        let run = parse().args(["--mode", mode]).args(TITLE).arg(dir.path("tree")).run().exits(3);
        let expected =
            [("a.html", "A"), ("b.HTM", "B"), ("c.htm", "C"), ("dangling.html", "parse"), ("empty.html", "")];
        assert_eq!(seen(run.records()), pairs(&expected), "{mode}: {run}");
        normalised(run.records())
    });
    let first = std::mem::take(&mut runs[0]);
    assert!(runs[1..].iter().all(|records| *records == first));
}

#[test]
fn what_cannot_be_read_is_a_record() {
    let dir = Dir::new();
    let good = dir.write("good.html", titled("Good"));
    let paths = [good.clone(), dir.path("missing.html"), dir.path("good.html/below"), good];
    let run = parse().args(TITLE).args(paths).run().exits(3);
    let expected =
        [("below", "parse"), ("good.html", "Good"), ("good.html", "Good"), ("missing.html", "parse")];
    assert_eq!(seen(run.records()), pairs(&expected), "{run}");
    assert!(run.records().iter().all(|record| record.get("url").is_none() && record.get("status").is_none()));
}

#[test]
fn names_need_not_be_utf8() {
    let dir = Dir::new();
    dir.write_named(b"tree/caf\xe9.html", titled("Latin"));
    dir.write_named("tree/東京 \"quoted\"\n.html".as_bytes(), titled("Kanji"));
    let run = parse().args(TITLE).arg(dir.path("tree")).run().exits(0);
    let titles: Vec<_> = seen(run.records()).into_iter().map(|(_, title)| title).collect();
    assert_eq!(titles.len(), 2, "{run}");
    assert!(titles.contains(&"Latin".to_owned()) && titles.contains(&"Kanji".to_owned()), "{run}");
}

#[test]
fn a_list_names_files() {
    let dir = Dir::new();
    dir.write("one.html", titled("One"));
    dir.write("two.page", titled("Two"));
    let list = dir.write("list.txt", "# pages\n\none.html\ntwo.page\n");
    let run = parse().current_dir(dir.root()).args(TITLE).arg("-i").arg(list).run().exits(0);
    assert_eq!(seen(run.records()), pairs(&[("one.html", "One"), ("two.page", "Two")]), "{run}");
}

#[test]
fn sizes_and_charsets_are_minded() {
    let dir = Dir::new();
    dir.write("tree/big.html", titled("Big").repeat(200));
    dir.write("tree/fits.html", titled("Fits"));
    dir.write("tree/koi8.html", [&b"<meta charset=koi8-r><title>\xf4\xc5\xd3\xd4</title>"[..]].concat());
    dir.write("tree/zeros.html", [0; 500]);
    let run = parse().args(TITLE).args(["--body-bytes-max", "1KiB"]).arg(dir.path("tree")).run().exits(3);
    let expected =
        [("big.html", "too_large"), ("fits.html", "Fits"), ("koi8.html", "Тест"), ("zeros.html", "")];
    assert_eq!(seen(run.records()), pairs(&expected), "{run}");
}

#[test]
fn records_tell_size_and_charset() {
    let dir = Dir::new();
    let page = titled("Ten");
    let file = dir.write("ten.html", &page);
    let record = &parse().args(TITLE).arg(&file).run().exits(0).records()[0];
    assert_eq!(record["path"], file.to_str().unwrap());
    assert_eq!(record["bytes"], page.len());
    assert_eq!(record["id"], 0);
    assert!(record["elapsed_ms"].is_number() && record["charset"].is_string(), "{record}");
    assert_eq!(record["attempts"], 1);
}

#[test]
fn an_empty_directory_is_no_input_and_no_failure() {
    let dir = Dir::new();
    let run = supervisor().arg("parse").args(TITLE).arg(dir.root()).run().exits(0);
    assert_eq!(run.text(), "");
}
