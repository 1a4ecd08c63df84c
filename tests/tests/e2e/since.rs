//! `--since`: what has not changed is not sent again, and has the earlier fields, in every mode and form of output.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Dir, MODES, Origin, Output, SmallDisk, TestCommand, by_id, fetch, kind, parse_lines};

const TITLE: [&str; 2] = ["--select", "title=title"];

fn list(origin: &Origin, dir: &Dir, pages: &[&str]) {
    let urls: String = pages.iter().map(|page| origin.url(&format!("/version/{page}\n"))).collect();
    dir.write("urls.txt", urls);
}

fn run(dir: &Dir, output: &str, since: &str) -> TestCommand {
    let command = fetch().current_dir(dir.root()).args(["-i", "urls.txt", "-o", output, "--since", since]);
    command.args(TITLE).args(["--retries", "0", "--summary", "s.json"])
}

fn summary(dir: &Dir) -> Value {
    serde_json::from_str(&dir.read("s.json")).unwrap()
}

fn records(dir: &Dir, output: &str) -> Vec<Value> {
    by_id(parse_lines(dir.read(output).as_bytes())).into_values().collect()
}

/// Status and title of each record, or the kind of its error.
fn titles(dir: &Dir, output: &str) -> Vec<(u64, String)> {
    let title = |record: &Value| match kind(record) {
        "" => record["fields"]["title"].as_str().unwrap().to_owned(),
        kind => kind.to_owned(),
    };
    records(dir, output).iter().map(|record| (record["status"].as_u64().unwrap(), title(record))).collect()
}

fn own(list: &[(u64, &str)]) -> Vec<(u64, String)> {
    list.iter().map(|(status, title)| (*status, (*title).to_owned())).collect()
}

#[test]
fn an_unchanged_page_has_the_earlier_fields_in_every_mode() {
    let pages = [
        "tag/a",
        "tag/b",
        "weak/c",
        "suffix/d",
        "date/e",
        "date/f",
        "none/g",
        "moved/h",
        "gone/i",
        "untouched/j",
        "tag/a#x",
    ];
    for mode in MODES {
        let (origin, dir) = (Origin::start(), Dir::new());
        list(&origin, &dir, &pages[..10]);
        let mode = ["--mode", mode];
        let first = run(&dir, "mon.jsonl", "sun.jsonl").args(mode).run().exits(3);
        let first = first.says("sun.jsonl.validators does not exist; every page is fetched whole");
        first.says("what the next run needs is kept in mon.jsonl.validators");
        assert_eq!(summary(&dir).get("unchanged"), None);
        for page in ["b", "f", "i"] {
            origin.get(&format!("/change/{page}"));
        }
        list(&origin, &dir, &pages);
        let second = run(&dir, "tue.jsonl", "mon.jsonl").args(mode).run().exits(3);
        assert!(!second.stderr.contains("validators"), "{second}");
        let want = own(&[
            (304, "a, version 0"),
            (200, "b, version 1"),
            (304, "c, version 0"),
            (304, "d, version 0"),
            (304, "e, version 0"),
            (200, "f, version 1"),
            (200, "g, version 0"),
            (304, "h, version 0"),
            (404, "http_status"),
            (304, "http_status"),
            (304, "a, version 0"),
        ]);
        assert_eq!(titles(&dir, "tue.jsonl"), want, "{mode:?}: {second}");
        assert_eq!(summary(&dir)["unchanged"], 6, "{mode:?}");
        let records = records(&dir, "tue.jsonl");
        assert_eq!((&records[0]["bytes"], &records[0]["charset"]), (&json!(0), &json!("utf-8")));
        assert_eq!(records[7]["final_url"], origin.url("/version/tag/h"));
        assert_eq!(records[9]["error"]["message"], "304 Not Modified, although the request had no condition");
        // What was unchanged is known to the next run too.
        run(&dir, "wed.jsonl", "tue.jsonl").args(mode).run().exits(3);
        let unchanged = titles(&dir, "wed.jsonl").iter().filter(|(status, _)| *status == 304).count();
        assert_eq!(unchanged, 9, "{mode:?}");
    }
}

#[test]
fn what_fails_today_is_still_known_tomorrow() {
    let dir = Dir::new();
    let mut origin = Some(Origin::start());
    let host = origin.as_ref().unwrap().host().to_owned();
    let pages: Vec<_> = (0..40).map(|page| format!("tag/{page}")).collect();
    list(origin.as_ref().unwrap(), &dir, &pages.iter().map(String::as_str).collect::<Vec<_>>());
    for (is_up, unchanged) in [(true, Value::Null), (false, Value::Null), (true, json!(40))] {
        match (is_up, &origin) {
            (false, _) => origin = None,
            (true, None) => origin = Some(Origin::start_with(&["--listen", &host])),
            (true, Some(_)) => {}
        }
        // Most of its targets are given up with their host, and reach no worker.
        let output = run(&dir, "out.jsonl", "out.jsonl").arg("--overwrite").run();
        let output = output.exits(if is_up { 0 } else { 3 });
        assert_eq!(summary(&dir).get("unchanged").cloned().unwrap_or_default(), unchanged, "{output}");
    }
}

#[test]
fn a_tenth_of_the_bytes_comes_when_a_tenth_has_changed() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let pages: Vec<_> = (0..500).map(|page| format!("tag/{page}")).collect();
    list(&origin, &dir, &pages.iter().map(String::as_str).collect::<Vec<_>>());
    run(&dir, "1.jsonl", "0.jsonl").run().exits(0);
    let (before, bytes) = (records(&dir, "1.jsonl"), summary(&dir)["bytes"].as_f64().unwrap());
    for page in 0..5 {
        origin.get(&format!("/change/{}", page * 100));
    }
    run(&dir, "2.jsonl", "1.jsonl").run().exits(0);
    let (after, summary) = (records(&dir, "2.jsonl"), summary(&dir));
    assert_eq!(summary["unchanged"], 495);
    assert!(summary["bytes"].as_f64().unwrap() <= 0.03 * bytes, "{summary}");
    let differ: Vec<_> =
        (0..500).filter(|id| before[*id]["fields"] != after[*id]["fields"]).map(|id| id % 100).collect();
    assert_eq!(differ, [0; 5]);
}

#[test]
fn one_output_is_compared_with_itself_and_replaced() {
    let (origin, dir) = (Origin::start(), Dir::new());
    list(&origin, &dir, &["tag/a", "tag/b"]);
    for (changes, want) in [
        (false, [(200, "a, version 0"), (200, "b, version 0")]),
        (false, [(304, "a, version 0"), (304, "b, version 0")]),
        (true, [(200, "a, version 1"), (304, "b, version 0")]),
        (false, [(304, "a, version 1"), (304, "b, version 0")]),
    ] {
        if changes {
            origin.get("/change/a");
        }
        run(&dir, "out.jsonl", "out.jsonl").arg("--overwrite").run().exits(0);
        assert_eq!(titles(&dir, "out.jsonl"), own(&want));
        assert_eq!(dir.names(), ["out.jsonl", "out.jsonl.validators", "s.json", "urls.txt"]);
    }
    let mode = fs::metadata(dir.path("out.jsonl.validators")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn every_form_of_output_can_be_compared_with_every_other() {
    let (origin, dir) = (Origin::start(), Dir::new());
    list(&origin, &dir, &["tag/a", "date/b"]);
    let mut since = "nothing".to_owned();
    for output in ["o.jsonl.gz", "o.csv", "o.parquet", "o.db", "o.warc.gz", "o.tsv", "o.jsonl"] {
        run(&dir, output, &since).run().exits(0);
        let unchanged = if since == "nothing" { Value::Null } else { json!(2) };
        assert_eq!(summary(&dir)["unchanged"], unchanged, "{output}");
        since = output.to_owned();
    }
    run(&dir, "parts", &since).args(["--split", "1"]).run().exits(0);
    assert_eq!(summary(&dir)["unchanged"], 2);
    run(&dir, "-", "parts/").run().exits(0).says("keeps nothing for a next run: the output is not a file");
    assert_eq!(summary(&dir)["unchanged"], 2);
    let csv = dir.read("o.csv");
    assert!(csv.lines().skip(1).all(|row| row.contains(",304,") && row.contains("version 0")), "{csv}");
    assert_eq!(titles(&dir, "o.jsonl"), own(&[(304, "a, version 0"), (304, "b, version 0")]));
}

#[test]
fn what_decides_the_fields_must_be_the_same() {
    let (origin, dir) = (Origin::start(), Dir::new());
    list(&origin, &dir, &["tag/a"]);
    run(&dir, "1.jsonl", "0").run().exits(0);
    for (n, (flags, says)) in [
        (&["--select", "text=p"][..], Some("--select was 'title=title::text'")),
        (&["--header", "Accept-Language: de"], Some("--header was nothing")),
        (&["--blocked-if", "body~nothing"], Some("--blocked-if was ")),
        (&["--response-header", "etag"], Some("--response-header was not there, and is etag")),
        (&["--blocked-if", "none", "--blocked-if", "vendors"], Some("--blocked-if was ")),
        (&["--cookies", "on"], Some("--cookies was not kept, and is kept")),
        (&["--header-scope", "any"], Some("--header-scope was ")),
        (&["--insecure"], Some("--ca, --insecure or --cert was ")),
        (&["--resolve", "a.example:80:127.0.0.1"], Some("--resolve was ")),
        (&["--ordered", "--timeout", "20s", "--workers", "1"], None),
    ]
    .into_iter()
    .enumerate()
    {
        let output = run(&dir, &format!("2-{n}.jsonl"), "1.jsonl").args(flags).run().exits(0);
        let unchanged = if says.is_some() { Value::Null } else { json!(1) };
        assert_eq!(summary(&dir)["unchanged"], unchanged, "{output}");
        if let Some(says) = says {
            output.says("1.jsonl.validators is of no use").says(says);
        }
    }
    let proxied = run(&dir, "3.jsonl", "1.jsonl").args(["--proxy", "http://127.0.0.1:9"]);
    proxied.env("NO_PROXY", "127.0.0.1").run().exits(0).says("--proxy was ");
}

#[test]
fn headers_and_kept_columns_are_those_of_today() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let flags = ["--column", "url", "--keep", "day", "--response-header", "etag", "--response-header"];
    for (day, output, since) in
        [("mon", "1.jsonl", "0"), ("tue", "2.jsonl", "1.jsonl"), ("wed", "3.jsonl", "2.jsonl")]
    {
        dir.write("urls.csv", format!("url,day\n{},{day}\n", origin.url("/version/tag/a")));
        let command =
            fetch().current_dir(dir.root()).args(["-i", "urls.csv", "-o", output, "--since", since]);
        command.args(TITLE).args(flags).arg("content-type").run().exits(0);
    }
    let record = &records(&dir, "3.jsonl")[0];
    assert_eq!((&record["status"], &record["keep"]["day"]), (&json!(304), &json!("wed")));
    assert_eq!(record["headers"]["etag"], "\"a-0\"");
    assert!(record["headers"]["content-type"].as_str().unwrap().starts_with("text/html"), "{record}");
}

#[test]
fn a_killed_run_is_resumed_with_what_it_knew() {
    const COUNT: usize = 200;
    let (origin, dir) = (Origin::start(), Dir::new());
    let pages: Vec<_> = (0..COUNT).map(|page| format!("tag/{page}?delay=0.02")).collect();
    list(&origin, &dir, &pages.iter().map(String::as_str).collect::<Vec<_>>());
    let killed_twice = |output: &str, since: &str| {
        let command = || run(&dir, output, since).args(["--mode", "both", "--concurrency", "4", "--resume"]);
        for _ in 0..2 {
            let before = origin.stats()["requests"].as_u64().unwrap();
            let run = command().spawn();
            let enough = || origin.stats()["requests"].as_u64().unwrap() > before + 60;
            run.until("requests", || enough().then_some(()));
            run.signal(Signal::SIGKILL);
            run.wait();
        }
        command().run().exits(0)
    };
    killed_twice("1.jsonl", "0");
    origin.get("/change/7");
    let output = killed_twice("2.jsonl", "1.jsonl");
    assert_eq!(summary(&dir)["unchanged"], COUNT - 1, "{output}");
    let records = records(&dir, "2.jsonl");
    assert_eq!(records.len(), COUNT);
    for (page, record) in records.iter().enumerate() {
        let (status, version) = if page == 7 { (200, 1) } else { (304, 0) };
        assert_eq!(record["status"], status, "{record}");
        assert_eq!(record["fields"]["title"], format!("{page}, version {version}"));
    }
    assert!(
        !dir.names().iter().any(|name| name.contains("part") || name.contains("-wal")),
        "{:?}",
        dir.names()
    );
    // It knows all pages, those of before the kills too.
    run(&dir, "3.jsonl", "2.jsonl").run().exits(0);
    assert_eq!(summary(&dir)["unchanged"], COUNT);
    // Another earlier run would be another job.
    let run = run(&dir, "4.jsonl", "3.jsonl").args(["--mode", "sequential"]).spawn();
    run.until("the journal", || dir.path("4.jsonl.journal").exists().then_some(()));
    run.signal(Signal::SIGINT);
    run.wait();
    let other = self::run(&dir, "4.jsonl", "1.jsonl").arg("--resume").run().exits(1);
    other.says("--since was 3.jsonl, and is 1.jsonl");
}

/// The file of this run's notes is complete by then, and must not be taken for that of the earlier run.
#[test]
fn a_run_that_is_compared_with_itself_is_resumed_after_its_end_has_failed() {
    let (origin, dir) = (Origin::start(), Dir::new());
    list(&origin, &dir, &["tag/a?delay=0.5", "tag/b"]);
    let daily = || run(&dir, "out.parquet", "out.parquet");
    daily().run().exits(0);
    origin.get("/change/b");
    // Something takes the place of the output before it can be replaced.
    let second = daily().arg("--overwrite").spawn();
    second.until("the journal", || dir.path("out.parquet.journal").exists().then_some(()));
    fs::remove_file(dir.path("out.parquet")).unwrap();
    fs::create_dir_all(dir.path("out.parquet/in the way")).unwrap();
    second.wait();
    assert!(dir.path("out.parquet.validators.part").exists(), "{:?}", dir.names());
    fs::remove_dir_all(dir.path("out.parquet")).unwrap();
    let requests = || origin.stats()["requests"].clone();
    let before = requests();
    daily().arg("--resume").run().exits(0);
    assert_eq!(requests(), before);
    assert_eq!(dir.names(), ["out.parquet", "out.parquet.validators", "s.json", "urls.txt"]);
    daily().arg("--overwrite").run().exits(0);
    assert_eq!(summary(&dir)["unchanged"], 2);
}

#[test]
fn what_is_wrong_with_the_validators_costs_only_requests() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let pages: Vec<_> = (0..300).map(|page| format!("tag/{page}")).collect();
    list(&origin, &dir, &pages.iter().map(String::as_str).collect::<Vec<_>>());
    run(&dir, "1.jsonl", "0").run().exits(0);
    let whole = fs::read(dir.path("1.jsonl.validators")).unwrap();
    let check = |name: &str, bytes: &[u8]| -> Output {
        dir.write("1.jsonl.validators", bytes);
        let output = run(&dir, &format!("{name}.jsonl"), "1.jsonl").run().exits(0);
        assert!(titles(&dir, &format!("{name}.jsonl")).iter().all(|(_, title)| title.ends_with("version 0")));
        output
    };
    // Changed fields, whose checksums tell. SQLite does not see them.
    let mut changed = whole.clone();
    for at in 0..changed.len() {
        if changed[at..].starts_with(b", version ") {
            changed[at] = b'!';
        }
    }
    check("changed", &changed).says("is damaged (a checksum is wrong)");
    assert_eq!(summary(&dir).get("unchanged"), None);
    check("cut", &whole[..whole.len() / 2]).says("is damaged");
    check("header", &[&whole[..4096], &vec![0xff; whole.len() - 4096]].concat()).says("is damaged");
    check("empty", b"").says("every page is fetched whole");
    dir.write("1.jsonl.validators", "a diary, for example");
    let refused = run(&dir, "foreign.jsonl", "1.jsonl").run().exits(1);
    refused.says("1.jsonl.validators was not written by this program");
    assert_eq!(dir.read("1.jsonl.validators"), "a diary, for example");
    dir.write("mine.jsonl.validators.part", "a diary, for example");
    run(&dir, "mine.jsonl", "0")
        .run()
        .exits(1)
        .says("mine.jsonl.validators.part was not written by this program");
    assert_eq!(dir.read("mine.jsonl.validators.part"), "a diary, for example");
}

#[test]
fn a_full_disk_costs_the_notes_and_not_the_records() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let Some(_disk) = SmallDisk::mount(dir.path("small"), 512) else { return };
    let pages: Vec<_> = (0..400).map(|page| format!("tag/{page}")).collect();
    list(&origin, &dir, &pages.iter().map(String::as_str).collect::<Vec<_>>());
    // Records become small when they are compressed, notes do not.
    let output = run(&dir, "small/1.jsonl.gz", "0").args(["--select", "text=p"]).run().exits(0);
    output.says("cannot keep what the next run needs in small/1.jsonl.gz.validators: the disk is full");
    assert_eq!(summary(&dir)["ok"], 400);
    assert_eq!(fs::read_dir(dir.path("small")).unwrap().count(), 1);
}

#[test]
fn what_cannot_be_combined_is_said() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    list(origin, &dir, &["tag/a"]);
    for (flags, says) in [
        (&["--save", "d"][..], "--since cannot be combined with --save"),
        (&["--map", "cat"], "--since cannot be combined with --map"),
        (&["--data", "a"], "--since cannot be combined with --method, --data or --json"),
        (&["--method", "PUT"], "--since cannot be combined with --method, --data or --json"),
    ] {
        run(&dir, "o.jsonl", "0").args(flags).run().exits(2).says(says);
    }
    dir.write("rows.csv", format!("url,lang\n{},de\n", origin.url("/version/tag/a")));
    let rows = fetch().current_dir(dir.root()).args(["-i", "rows.csv", "--column", "url", "--since", "0"]);
    let rows = rows.args(["--header", "Accept-Language: {lang}", "-o", "o.jsonl"]).args(TITLE);
    rows.run().exits(2).says("--since cannot be combined with columns in --header");
    run(&dir, "o.jsonl", "-").run().exits(2).says("--since needs the name of an earlier output");
    run(&dir, "o.jsonl", "0").args(["--method", "GET"]).run().exits(0);
}
