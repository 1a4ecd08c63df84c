//! `crawl` finds the same pages whatever happens to it, and does what pages ask of robots.

use std::collections::BTreeMap;

use e2e::origin::linked::TREE;
use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use crate::harness::{Dir, MODES, Origin, TestCommand, by_id, kind, normalised, parse_lines, supervisor};

fn crawl() -> TestCommand {
    supervisor().args(["--workers", "2", "crawl"])
}

/// The pages with their depths and errors, by path.
fn pages(origin: &Origin, records: &[Value]) -> BTreeMap<String, (u64, String)> {
    let home = origin.url("");
    let pages = records.iter().map(|record| {
        let url = record["url"].as_str().unwrap();
        let path = url.strip_prefix(&home).unwrap_or(url).to_owned();
        (path, (record["depth"].as_u64().unwrap(), kind(record).to_owned()))
    });
    let map: BTreeMap<_, _> = pages.collect();
    assert_eq!(map.len(), records.len(), "a page is there twice: {records:?}");
    map
}

/// The same as lines, for pages below `/linked/`.
fn listed(origin: &Origin, records: &[Value]) -> Vec<String> {
    let line = |(path, (depth, error)): (&String, &(u64, String))| {
        format!("{depth} {} {error}", path.strip_prefix("/linked/").unwrap_or(path)).trim_end().to_owned()
    };
    pages(origin, records).iter().map(line).collect()
}

fn summary(dir: &Dir) -> Value {
    serde_json::from_str(&dir.read("s.json")).unwrap()
}

#[test]
fn links_are_followed_as_pages_ask() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let run = crawl().current_dir(dir.root()).arg(origin.url("/linked/#top")).args(["--summary", "s.json"]);
    let run = run.args(["--select", "title=title"]).run().exits(3);
    assert_eq!(
        listed(&origin, &run.records()),
        [
            "0",
            "1 a",
            "1 b",
            "2 based/x",
            "2 deep/1 robots",
            "3 deep/2",
            "3 end",
            "1 frame",
            "2 jump",
            "1 map",
            "2 missing http_status",
            "2 refreshed",
            "2 round/1 too_many_redirects",
            "1 two",
        ]
    );
    let crawl = summary(&dir)["crawl"].clone();
    assert_eq!(crawl["by_depth"], serde_json::json!([1, 5, 6, 2]), "{crawl}");
    let cut = serde_json::json!({"nofollow": 3, "not-http": 2, "scope": 1});
    assert_eq!((&crawl["known"], &crawl["cut"]), (&serde_json::json!(14), &cut), "{crawl}");
    let records = by_id(run.records());
    assert!(records[&0].get("parent").is_none(), "{}", records[&0]);
    assert_eq!((&records[&0]["found"], &records[&1]["parent"]), (&6.into(), &0.into()));
    for path in ["/linked/hidden", "/linked/copy-of-frame", "/linked/style.css", "/linked/image.png"] {
        assert_eq!(origin.requests(path), 0, "{path}");
    }
}

#[test]
fn who_ignores_robots_follows_all() {
    let origin = Origin::shared();
    let run = crawl().arg(origin.url("/linked/")).args(["--robots", "ignore"]).run().exits(3);
    let listed = listed(origin, &run.records());
    for page in ["1 hidden http_status", "2 deep/1"] {
        assert!(listed.contains(&page.to_owned()), "{page}: {listed:?}");
    }
}

#[test]
fn all_modes_find_the_same_pages_with_the_same_ids() {
    let origin = Origin::shared();
    let url = origin.url("/linked/tree/0?delay=0.001");
    let mut first: Option<BTreeMap<u64, Value>> = None;
    for mode in MODES {
        let run = crawl().arg(&url).args(["--mode", mode, "--workers", "2"]).run().exits(0);
        let records = normalised(run.records());
        assert_eq!(records.len() as u64, TREE, "{mode}: {run}");
        match &first {
            None => first = Some(records),
            Some(first) => assert_eq!(*first, records, "{mode}"),
        }
    }
}

#[test]
fn scopes_depth_and_numbers_limit_a_crawl() {
    let origin = Origin::shared();
    let run = |flags: &[&str]| {
        let run = crawl().arg(origin.url("/linked/")).args(["--retries", "0"]).args(flags).run();
        listed(origin, &run.records())
    };
    let whole = run(&[]).len();
    assert_eq!(run(&["--depth", "0"]), ["0"]);
    assert_eq!(run(&["--depth", "1"]), ["0", "1 a", "1 b", "1 frame", "1 map", "1 two"]);
    assert_eq!(run(&["--pages-max", "3"]), ["0", "1 a", "1 b"]);
    assert_eq!(run(&["--host-pages-max", "2"]), ["0", "1 a"]);
    assert_eq!(run(&["--include", "/(a|deep/1)$"]), ["0", "1 a", "2 deep/1 robots"]);
    assert_eq!(run(&["--exclude", "/b$", "--exclude", "map"]).len(), whole - 7);
    assert_eq!(run(&["--follow", "map > *"]), ["0", "1 map"]);
    let any = run(&["--scope", "any", "--depth", "1", "--resolve", "elsewhere.invalid:80:127.0.0.1:1"]);
    assert!(any.is_empty() || any.iter().any(|line| line.contains("elsewhere")), "{any:?}");
    let prefix = crawl().arg(origin.url("/linked/deep/1")).args(["--scope", "prefix"]).run();
    assert_eq!(listed(origin, &prefix.records()), ["0 deep/1 robots", "1 deep/2"]);
}

#[test]
fn what_cannot_be_is_refused() {
    for (flags, why) in [
        (&["--ordered"][..], "--ordered does not go with crawl"),
        (&["--data", "x"], "--data does not go with crawl"),
        (&["--include", "("], "--include: "),
        (&["--follow", "a::text"], "--follow 'a::text'"),
        (&["--depth", "-1"], "--depth"),
        (&["--map"], "--map"),
    ] {
        crawl().arg("http://127.0.0.1:1/").args(flags).run().exits(2).says(why);
    }
}

#[test]
fn a_crawl_comes_out_of_traps() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let run = crawl().current_dir(dir.root()).arg(origin.url("/linked/calendar/2024/1"));
    let run = run.arg(origin.url("/linked/again/x")).args(["--alike-max", "50", "--traps", "traps.jsonl"]);
    let run = run.args(["--summary", "s.json", "--per-host", "4"]).run().exits(0);
    let count = |path: &str| {
        run.records().iter().filter(|record| record["url"].as_str().unwrap().contains(path)).count()
    };
    // Both ways from the first month, and the pages that are on their way when it is noticed.
    assert!((51..60).contains(&count("/calendar/")), "{run}");
    assert_eq!(count("/again/"), 2, "{run}");
    let traps = parse_lines(dir.read("traps.jsonl").as_bytes());
    let named: Vec<_> = traps.iter().map(|trap| (&trap["reason"], trap["shape"].as_str().unwrap())).collect();
    assert_eq!(named.len(), 2, "{traps:?}");
    assert!(
        named.contains(&(&"repeats".into(), &*origin.url("/linked/again/again/again/again/x"))),
        "{traps:?}"
    );
    assert_eq!(summary(&dir)["crawl"]["traps"], Value::from(traps));
}

/// The pages of the tree with their depths and parents, as a run leaves them that nobody disturbs.
fn undisturbed(url: &str) -> BTreeMap<u64, Value> {
    normalised(crawl().arg(url).run().exits(0).records())
}

#[test]
fn killed_at_any_time_it_finds_the_same_pages() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let url = origin.url("/linked/tree/0?delay=0.05");
    let want = undisturbed(&url);
    let start = || {
        let flags =
            ["--mode", "both", "--concurrency", "2", "--resume", "-o", "out.jsonl", "--summary", "s.json"];
        crawl().current_dir(dir.root()).arg(&url).args(flags).spawn()
    };
    let requests = || origin.stats()["requests"].as_u64().unwrap();
    let mut committed = 0;
    for n in 0..10 {
        let before = requests();
        let run = start();
        run.until("requests", || (run.has_ended() || requests() >= before + 15 + 7 * n).then_some(()));
        if n % 3 == 1 {
            for worker in run.workers() {
                // It may have ended.
                let _ = kill(worker.pid(), Signal::SIGKILL);
            }
        }
        if run.has_ended() {
            break;
        }
        run.signal(Signal::SIGKILL);
        run.wait();
        committed += usize::from(dir.path("out.jsonl.journal").exists());
    }
    assert!(committed > 3, "it was too fast to be killed");
    let run = start().wait().exits(0);
    let records = normalised(parse_lines(dir.read("out.jsonl").as_bytes()));
    assert_eq!(records, want, "{run}");
    assert_eq!(summary(&dir)["crawl"]["known"], TREE, "{run}");
    for left in ["out.jsonl.journal", "out.jsonl.journal.found"] {
        assert!(!dir.path(left).exists(), "{left} is left");
    }
    start().wait().exits(0);
}

#[test]
fn a_signal_stops_it_and_another_run_goes_on() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let url = origin.url("/linked/tree/0?delay=0.02");
    let start = || crawl().current_dir(dir.root()).arg(&url).args(["--resume", "-o", "out.csv"]);
    let run = start().args(["--concurrency", "4"]).spawn();
    run.until("requests", || (origin.stats()["requests"].as_u64().unwrap() >= 40).then_some(()));
    run.signal(Signal::SIGINT);
    assert_eq!(run.wait().code, Some(130));
    start().args(["--depth", "3"]).run().exits(1).says("--depth was no limit, and is 3");
    start().run().exits(0).says("resuming");
    let table = dir.read("out.csv");
    assert_eq!(table.lines().count() as u64, TREE + 1);
    assert!(table.starts_with("id,url,depth,parent,found,final_url,status,"), "{table}");
}

#[test]
fn a_page_may_have_a_megabyte_of_links_to_many_hosts() {
    let origin = Origin::shared();
    let run =
        crawl().arg(origin.url("/linked/links?count=20000")).args(["--pages-max", "500"]).run().exits(0);
    let records = by_id(run.records());
    assert_eq!((records.len(), &records[&0]["found"]), (500, &20_000.into()));
    assert_eq!(records[&499]["url"], origin.url("/linked/leaf/498"));
    // Nobody listens there.
    let port = origin.host().split_once(':').unwrap().1;
    let hosts = crawl().arg(origin.url(&format!("/linked/links?count=10000&port={port}")));
    let flags = ["--scope", "any", "--robots", "ignore", "--retries", "0", "--depth", "1"];
    let run = hosts.args(flags).run().exits(3);
    assert_eq!(run.records().len(), 10_001);
}
