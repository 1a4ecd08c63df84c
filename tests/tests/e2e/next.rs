//! `--next`: lists of pages, followed from each page to the next one.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Dir, MODES, Origin, TestCommand, by_id, fetch, kind, normalised, parse_lines};

/// Distance between the ids of two pages of a list.
const STEP: u64 = 1 << 40;

fn follow(dir: &Dir, urls: &[String]) -> TestCommand {
    dir.write("urls.txt", urls.join("\n"));
    fetch()
        .current_dir(dir.root())
        .args(["-i", "urls.txt", "-o", "out.jsonl", "--summary", "s.json", "--retries", "0"])
        .args(["--next", "a[rel=next]", "--select", "t=title"])
}

fn records(dir: &Dir) -> Vec<Value> {
    by_id(parse_lines(dir.read("out.jsonl").as_bytes())).into_values().collect()
}

fn lists(dir: &Dir) -> Value {
    let summary: Value = serde_json::from_str(&dir.read("s.json")).unwrap();
    summary["lists"].clone()
}

/// How lists ended: those that are not named are none.
fn ends(named: Value) -> Value {
    let mut all = json!({"end": 0, "pages-max": 0, "loop": 0, "no-link": 0, "error": 0});
    for (name, count) in named.as_object().unwrap() {
        all[name] = count.clone();
    }
    all
}

#[test]
fn every_page_is_a_record_in_every_mode() {
    let origin = Origin::start();
    let urls: Vec<_> = (0..40).map(|n| origin.url(&format!("/list/l{n}/1?of={}", n % 12 + 1))).collect();
    let mut first = None;
    for mode in MODES {
        let dir = Dir::new();
        let output = follow(&dir, &urls).args(["--mode", mode, "--workers", "2"]).run().exits(0);
        let records = records(&dir);
        assert_eq!(records.len(), (0..40).map(|n| n % 12 + 1).sum::<usize>(), "{mode}: {output}");
        for record in &records {
            let id = record["id"].as_u64().unwrap();
            let (input, page) = (id % STEP, id / STEP + 1);
            assert_eq!(record["fields"]["t"], format!("l{input}, page {page}"), "{record}");
            assert_eq!(record["page"], page, "{record}");
            let parent = id.checked_sub(STEP).map_or(Value::Null, Value::from);
            assert_eq!(record.get("parent").cloned().unwrap_or_default(), parent, "{record}");
        }
        assert_eq!(lists(&dir), ends(json!({"end": 40})), "{mode}");
        let all = normalised(records);
        assert_eq!(&all, first.get_or_insert_with(|| all.clone()), "{mode}");
    }
}

#[test]
fn killed_again_and_again_it_has_every_page_once() {
    const LISTS: u64 = 144;
    let (origin, dir) = (Origin::start(), Dir::new());
    let of = |n: u64| n % 12 + 1;
    let urls: Vec<_> =
        (0..LISTS).map(|n| origin.url(&format!("/list/l{n}/1?of={}&delay=0.02", of(n)))).collect();
    let requests = || origin.stats()["requests"].as_u64().unwrap();
    let run =
        || follow(&dir, &urls).args(["--resume", "--mode", "both", "--workers", "2", "--concurrency", "4"]);
    for n in 0..10 {
        let run = run().spawn();
        let before = requests();
        run.until("requests", || (requests() >= before + 12 + 5 * n).then_some(()));
        match n % 3 {
            // A worker dies first.
            0 => {
                run.wait_for_workers(2)[0].try_signal(Signal::SIGKILL);
                run.until("more requests", || (requests() >= before + 30 + 5 * n).then_some(()));
                run.signal(Signal::SIGKILL);
            }
            1 => run.signal(Signal::SIGKILL),
            _ => run.signal(Signal::SIGINT),
        }
        run.wait();
    }
    let output = run().run().exits(0);
    let lines = parse_lines(dir.read("out.jsonl").as_bytes());
    let ids: BTreeSet<_> = lines.iter().map(|record| record["id"].as_u64().unwrap()).collect();
    let want: BTreeSet<_> = (0..LISTS).flat_map(|n| (0..of(n)).map(move |page| page * STEP + n)).collect();
    assert_eq!(ids, want, "{output}");
    assert_eq!(lines.len() as u64, (0..LISTS).map(of).sum::<u64>(), "{output}");
    assert!(lines.iter().all(|record| record["fields"]["t"].is_string()));
    assert_eq!(lists(&dir), ends(json!({"end": LISTS})), "counted over all runs: {output}");
    // It is complete, and says so.
    run().run().exits(0).says("complete");
}

#[test]
fn every_list_ends() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let urls = [
        "of=9",
        "of=4&end=1",
        "of=4&end=4",
        "of=4&end=3",
        "of=2&end=script",
        "of=2&end=long",
        "of=2&end=broken",
    ]
    .map(|query| origin.url(&format!("/list/l/1?{query}")));
    let output = follow(&dir, &urls).args(["--pages-max", "5"]).run().exits(3);
    let pages = |input: u64| {
        records(&dir).iter().filter(|record| record["id"].as_u64().unwrap() % STEP == input).count()
    };
    assert_eq!((0..7).map(pages).collect::<Vec<_>>(), [5, 4, 4, 4, 2, 2, 3], "{output}");
    let want = ends(json!({"pages-max": 1, "loop": 3, "no-link": 2, "error": 1}));
    assert_eq!(lists(&dir), want, "{output}");
    let failed: Vec<_> = records(&dir).into_iter().filter(|record| kind(record) == "http_status").collect();
    assert_eq!((failed.len(), &failed[0]["page"], &failed[0]["parent"]), (1, &json!(3), &json!(STEP + 6)));
    // One page of each is no list at all.
    follow(&dir, &urls).args(["--overwrite", "--pages-max", "1"]).run().exits(0);
    assert_eq!(lists(&dir), ends(json!({"pages-max": 7})));
    assert!(records(&dir).iter().all(|record| record["page"] == 1));
}

#[test]
fn links_are_found_in_json_and_beside_items() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let run = |selector: &str, query: &str, more: &[&str]| {
        let url = origin.url(&format!("/list/l/1?of=3{query}"));
        let command = fetch().current_dir(dir.root()).args([&url, "-o", "out.jsonl", "--overwrite"]);
        command.args(["--next", selector]).args(more).run().exits(0);
        records(&dir).iter().map(|record| record["fields"].clone()).collect::<Vec<_>>()
    };
    let numbers = run("$.next", "&json=1", &["--select", "n=$.page"]);
    assert_eq!(numbers, [json!({"n": 1}), json!({"n": 2}), json!({"n": 3})]);
    let items = run("//a[@rel='next']/@href", "", &["--each", "ul", "--select", "t[]=li"]);
    assert_eq!(items[2], json!({"items": [{"t": ["3a", "3b"]}]}), "{items:?}");
    assert_eq!(items.len(), 3);
    // The href is what a link is for.
    assert_eq!(run("a[rel=next] | re(.*)", "", &[]).len(), 3);
}

#[test]
fn tables_have_a_column_for_the_page() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let url = origin.url("/list/l/1?of=2");
    let command = fetch().current_dir(dir.root()).args([&url, "-o", "out.csv", "--next", "a[rel=next]"]);
    command.args(["--select", "t=title", "--concurrency", "1"]).run().exits(0);
    let text = dir.read("out.csv");
    let rows: Vec<Vec<_>> = text.lines().map(|line| line.split(',').take(4).collect()).collect();
    let second = url.replace("/1?", "/2?");
    assert_eq!(rows[0], ["id", "url", "parent", "page"]);
    assert_eq!(
        (&rows[1][..], &rows[2][..]),
        (&["0", &*url, "", "1"][..], &["1099511627776", &*second, "0", "2"][..])
    );
}

#[test]
fn what_it_does_not_go_with_is_refused() {
    for (flags, why) in [
        (&["-d", "x"][..], "the next pages are asked for with a plain GET"),
        (&["--ordered"], "how many pages come before an input is not known"),
        (&["--since", "out.jsonl"], "a page that has not changed brings no link"),
        (&["--map", "cat"], "run map on the records"),
        (&["--pages-max", "8193"], "8192"),
        (&["--pages-max", "0"], "1..=8192"),
    ] {
        fetch().args(["http://127.0.0.1:1/", "--next", "a"]).args(flags).run().exits(2).says(why);
    }
    fetch().args(["http://127.0.0.1:1/", "--next", "a[["]).run().exits(2).says("--next 'a[['");
    fetch().args(["http://127.0.0.1:1/", "--pages-max", "3"]).run().exits(2).says("--next");
}
