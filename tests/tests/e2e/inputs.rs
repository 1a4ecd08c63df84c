//! Where targets come from: lists, columns, pipes, and lists that are mostly rubbish.

use std::io::Write as _;

use serde_json::Value;

use crate::harness::{Dir, Origin, by_id, fetch, ids, kind};

/// The URL of each record, by id.
fn urls_of(records: Vec<Value>) -> Vec<String> {
    by_id(records).into_values().map(|record| record["url"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_list_skips_blank_lines_and_comments_and_takes_any_line_end() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let (one, two, three) =
        (origin.url("/site/page/1"), origin.url("/site/page/2"), origin.url("/site/page/3"));
    let list = format!("\u{feff}{one}\n\n# a comment\r\n   \n{two}\r\n  # another\n\t{three}  ");
    let file = dir.write("list.txt", list);
    let run = fetch().arg("-i").arg(file).run().exits(0);
    assert_eq!(urls_of(run.records()), [one, two, three], "{run}");
}

#[test]
fn arguments_come_first_then_files_in_order() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let urls: Vec<_> = (0..6).map(|n| origin.url(&format!("/site/page/{n}"))).collect();
    let first = dir.write("first.txt", format!("{}\n{}\n", urls[2], urls[3]));
    let run = fetch().arg(&urls[0]).arg("-i").arg(first).arg(&urls[1]).args(["-i", "-"]);
    let run = run.stdin(format!("{}\n{}", urls[4], urls[5])).run().exits(0);
    assert_eq!(urls_of(run.records()), urls, "{run}");
}

#[test]
fn the_same_url_twice_is_two_records() {
    let origin = Origin::start();
    let url = origin.url("/counted/twice");
    let run = fetch().args([&url, &url, &url]).run().exits(0);
    assert_eq!(by_id(run.records()).len(), 3);
    assert_eq!(origin.requests("/counted/twice"), 3);
}

#[test]
fn a_column_of_a_csv_file() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let urls: Vec<_> = (0..3).map(|n| origin.url(&format!("/site/page/{n}?a,b"))).collect();
    let rows = format!(
        "id,\"the \"\"page\"\"\",note\r\n1,\"{}\",\"two\nlines, and a comma\"\r\n2,\"{}\",\n3,\"{}\",\"\"\n",
        urls[0], urls[1], urls[2]
    );
    let file = dir.write("pages.csv", rows);
    let run = fetch().arg("-i").arg(file).args(["--column", "the \"page\""]).run().exits(0);
    assert_eq!(urls_of(run.records()), urls, "{run}");
}

#[test]
fn a_key_of_a_json_lines_file() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let urls: Vec<_> = (0..3).map(|n| origin.url(&format!("/site/page/{n}"))).collect();
    let lines: String =
        urls.iter().map(|url| format!("{{\"n\": 1, \"link\": \"{}\"}}\n", url.replace('/', "\\/"))).collect();
    let file = dir.write("pages.jsonl", lines);
    let run = fetch().arg("-i").arg(file).args(["--column", "link"]).run().exits(0);
    assert_eq!(urls_of(run.records()), urls, "{run}");
}

/// A row without its value is a record that says so, not a hole in the output.
#[test]
fn rows_that_cannot_be_read_are_records() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let url = origin.url("/site/page/1");
    let csv = dir.write("rows.csv", format!("n,url\n1,{url}\n2\n3,\n4,{url}\n"));
    let jsonl =
        dir.write("rows.jsonl", format!("{{\"url\":\"{url}\"}}\nnot json\n{{\"other\":1}}\n{{\"url\":7}}\n"));
    for (file, expected) in [
        (csv, vec!["", "invalid_url", "invalid_url", ""]),
        (jsonl, vec!["", "invalid_url", "invalid_url", "invalid_url"]),
    ] {
        let run = fetch().arg("-i").arg(&file).args(["--column", "url"]).run().exits(3);
        let records = by_id(run.records());
        assert_eq!(records.values().map(kind).collect::<Vec<_>>(), expected, "{run}");
    }
}

#[test]
fn a_missing_column_names_the_nearest_and_starts_nothing() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let file = dir.write("pages.csv", format!("id,address\n1,{}\n", origin.url("/counted/1")));
    let run = fetch().arg("-i").arg(file).args(["--column", "adress"]).run();
    assert!(matches!(run.code, Some(1 | 2)), "{run}");
    let run = run.says("adress").says("address");
    assert_eq!(run.text(), "");
    assert_eq!(origin.stats()["requests"], 0);
}

#[test]
fn an_input_that_is_missing_is_named() {
    let dir = Dir::new();
    let run = fetch().arg("-i").arg(dir.path("nope.txt")).arg("-o").arg(dir.path("out.jsonl")).run();
    run.exits(1).says("nope.txt");
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn an_empty_input_is_done_at_once() {
    let dir = Dir::new();
    let list = dir.write("empty.txt", "# nothing\n\n");
    let run = fetch().arg("-i").arg(list).arg("--summary").arg(dir.path("s.json")).run().exits(0);
    assert_eq!(run.text(), "");
    let summary: Value = serde_json::from_str(&dir.read("s.json")).unwrap();
    assert_eq!(summary["items"], 0);
}

/// Targets are begun while the list is still being written.
#[test]
fn a_pipe_is_not_read_to_its_end_first() {
    let origin = Origin::start();
    let url = origin.url("/counted/early");
    // More than any first measurement takes, and then silence.
    let script = format!("for n in $(seq 100); do echo {url}; done; sleep 3; echo {url}");
    let dir = Dir::new();
    let pipe = dir.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let writer =
        crate::harness::TestCommand::new("sh").args(["-c", &format!("({script}) >{}", pipe.display())]);
    let writer = writer.spawn();
    let run = fetch().args(["--mode", "both", "-i"]).arg(&pipe).spawn();
    run.wait_for_lines(100);
    assert_eq!(origin.requests("/counted/early"), 100);
    writer.wait().exits(0);
    assert_eq!(by_id(run.wait().exits(0).records()).len(), 101);
}

/// Lines as people paste them: half of them wrong in a way of their own.
fn rubbish(origin: &Origin, lines: usize) -> (Vec<u8>, usize) {
    let mut rng = fastrand::Rng::with_seed(7);
    let (mut list, mut targets) = (Vec::new(), 0);
    for _ in 0..lines {
        let page = rng.u32(0..origin.pages());
        let line: Vec<u8> = match rng.u8(..14) {
            0 => Vec::new(),
            1 => format!("# {page}").into_bytes(),
            2 => std::iter::repeat_with(|| rng.u8(..))
                .filter(|byte| !b"\r\n".contains(byte))
                .take(40)
                .collect(),
            3 => format!("http://127.0.0.1:1/{page}").into_bytes(),
            4 => format!("http://{}/{page}", "a".repeat(rng.usize(1..400)))
                .into_bytes()
                .split_off(rng.usize(0..6)),
            5 => format!("{}{}", origin.url("/status/404?"), "x".repeat(rng.usize(0..3000))).into_bytes(),
            6 => format!("ftp://example.org/{page}").into_bytes(),
            7 => format!("{}/\u{202e}\u{1f682} {page}", origin.url("/site")).into_bytes(),
            8 => b"http://[::1".to_vec(),
            9 => format!("\t {}\r", origin.url(&format!("/site/page/{page}"))).into_bytes(),
            10 => format!("{}\0{page}", origin.url("/empty?")).into_bytes(),
            _ => origin.url(&format!("/site/page/{page}")).into_bytes(),
        };
        let blank = line.iter().all(u8::is_ascii_whitespace);
        targets += usize::from(!blank && line.trim_ascii_start().first() != Some(&b'#'));
        list.extend(line);
        list.push(b'\n');
    }
    (list, targets)
}

#[test]
fn ten_thousand_lines_of_rubbish_are_one_record_each() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let (list, targets) = rubbish(&origin, 10_000);
    let file = dir.write("rubbish.txt", list);
    let flags = ["--mode", "both", "--retries", "0", "--timeout", "5s", "--select", "t=title"];
    let run = fetch().args(flags).arg("-i").arg(file).arg("--summary").arg(dir.path("s.json")).run().exits(3);
    let records = run.records();
    assert_eq!(
        by_id(records.clone()).keys().copied().collect::<Vec<_>>(),
        (0..targets as u64).collect::<Vec<_>>()
    );
    let summary: Value = serde_json::from_str(&dir.read("s.json")).unwrap();
    assert_eq!(summary["items"], targets, "{summary}");
    let ok = records.iter().filter(|record| kind(record).is_empty()).count();
    assert_eq!(summary["ok"], ok, "{summary}");
    assert!((targets / 4..targets / 2).contains(&ok), "{ok} of {targets}");
    assert_eq!(summary["restarts"], 0, "{summary}");
}

/// Each with a budget of its own in the frontier.
#[test]
fn thousands_of_hosts_are_no_trouble() {
    let urls = (0..5000).map(|n| format!("http://127.{}.{}.9:1/", n % 250, n / 250));
    let run = fetch().args(["--mode", "both", "--retries", "0", "--per-host", "1"]).urls(urls).run().exits(3);
    assert_eq!(by_id(run.records()).len(), 5000);
    assert!(run.records().iter().all(|record| kind(record) == "connect"));
}

/// One line may be longer than any buffer or message.
#[test]
fn a_line_of_megabytes_is_one_failed_record() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let mut list = std::fs::File::create(dir.path("long.txt")).unwrap();
    writeln!(list, "{}", origin.url("/site/page/1")).unwrap();
    writeln!(list, "{}{}", origin.url("/site/page/2?"), "y".repeat(5 << 20)).unwrap();
    writeln!(list, "{}", origin.url("/site/page/3")).unwrap();
    let run = fetch().arg("--ordered").arg("-i").arg(dir.path("long.txt")).run().exits(3);
    let records = run.records();
    assert_eq!(ids(&records), [0, 1, 2]);
    assert_eq!([kind(&records[0]), kind(&records[2])], ["", ""]);
    assert_ne!(kind(&records[1]), "");
}
