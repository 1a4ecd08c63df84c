//! `map`: lines through a program of the user's own, whatever that does.

mod killed;
mod misbehaving;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::{Dir, Output, TestCommand, by_id, ids, parse_lines, supervisor, wait_for};

/// `supervisor map`, with two workers.
fn map() -> TestCommand {
    supervisor().args(["--workers", "2", "map"])
}

/// `{"n":0}`, `{"n":1}`, …
fn numbers(count: u64) -> String {
    (0..count).map(|n| format!("{{\"n\":{n}}}\n")).collect()
}

/// A Python program, which has `line` to deal with and `say` to answer with.
fn python(dir: &Dir, name: &str, body: &str) -> PathBuf {
    let body = body.replace('\n', "\n    ");
    let text = format!(
        "import json, os, signal, sys, time\n\
         def say(answer):\n    print(json.dumps(answer), flush=True)\n\
         count = 0\n\
         for line in sys.stdin:\n    count += 1\n    record = json.loads(line)\n    {body}\n"
    );
    dir.write(name, text)
}

/// The interpreter itself: what `python3` names may be a script that looks for it, which takes its time.
fn interpreter() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let asked = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
        String::from_utf8(asked.expect("python3 is there").stdout).unwrap().trim().to_owned()
    })
}

fn run_python(dir: &Dir, body: &str, lines: &str, flags: &[&str]) -> Output {
    let script = python(dir, "program.py", body);
    map().args(flags).args(["-i", "-", "--", interpreter()]).arg(script).stdin(lines).run()
}

/// The values by id; panics at an error.
fn values(output: &Output) -> BTreeMap<u64, Value> {
    let value = |(id, record): (u64, Value)| {
        assert!(record.get("error").is_none(), "{record}\n{output}");
        (id, record["value"].clone())
    };
    by_id(output.records()).into_iter().map(value).collect()
}

/// Checks that each of `count` lines has itself as its value, but for `bad`, whose records have errors.
#[track_caller]
fn check_echo(output: &Output, count: u64, bad: &[u64]) -> BTreeMap<u64, Value> {
    let records = by_id(output.records());
    assert_eq!(records.len() as u64, count, "{output}");
    for (id, record) in &records {
        if bad.contains(id) {
            assert_eq!(record["error"]["kind"], "child", "{record}\n{output}");
            assert!(record.get("value").is_none(), "{record}");
        } else {
            assert_eq!(*record, json!({"id": id, "value": {"n": id}}), "{output}");
        }
    }
    records
}

fn summary(dir: &Dir) -> Value {
    serde_json::from_str(&dir.read("s.json")).unwrap()
}

/// All living processes whose command line has `what` in it.
fn running(what: &str) -> Vec<i32> {
    let processes = fs::read_dir("/proc").unwrap();
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let named = |id: &i32| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).split('\0').any(|word| word == what)
    };
    ids.filter(named).collect()
}

#[test]
fn a_line_in_is_a_record_out_in_every_mode() {
    let lines = numbers(5000);
    for mode in ["auto", "sequential", "concurrent", "parallel", "both"] {
        let count = if mode == "sequential" { 300 } else { 5000 };
        let run = map().args(["--mode", mode, "-i", "-", "--", "cat"]).stdin(numbers(count)).run().exits(0);
        check_echo(&run, count, &[]);
    }
    let ordered = map().args(["--ordered", "-i", "-", "--", "cat"]).stdin(lines.clone()).run().exits(0);
    assert_eq!(ids(&ordered.records()), (0..5000).collect::<Vec<_>>());
    let raw = map().args(["--ordered", "--raw", "-i", "-", "--", "cat"]).stdin(lines.clone()).run().exits(0);
    assert_eq!(raw.text(), lines);
}

#[test]
fn inputs_are_put_together_and_the_last_line_needs_no_end() {
    let dir = Dir::new();
    let one = dir.write("one.jsonl", "\u{feff}1\r\n\n  \n \"two\" \n");
    let two = dir.write("two.jsonl", "[3]");
    let run = map().arg("-i").arg(one).arg("-i").arg(&two).args(["-i", "-", "--", "cat"]).stdin("4\n").run();
    let run = run.exits(0);
    assert_eq!(values(&run), [(0, json!(1)), (1, json!("two")), (2, json!([3])), (3, json!(4))].into());
    let raw = map().arg("-i").arg(two).args(["--raw", "--", "cat"]).run().exits(0);
    assert_eq!(raw.text(), "[3]\n");
}

#[test]
fn packed_lines_are_read_as_they_are() {
    let dir = Dir::new();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, numbers(3000).as_bytes()).unwrap();
    let path = dir.write("lines.jsonl.gz", packed.finish().unwrap());
    let run = map().arg("-i").arg(path).args(["--", "cat"]).run().exits(0);
    check_echo(&run, 3000, &[]);
}

#[test]
fn no_lines_are_no_records() {
    let run = map().args(["-i", "-", "--", "cat"]).stdin("\n\n").run().exits(0).says("name no target");
    assert_eq!(run.text(), "");
}

#[test]
fn a_line_that_is_no_json_is_never_given_to_the_program() {
    let lines = "1\nnope\n# no comment\n{\"a\":}\n\u{1F600}\n2\n";
    let run = map().args(["-i", "-", "--", "cat"]).stdin(lines).run().exits(3);
    let records = by_id(run.records());
    assert_eq!((&records[&0]["value"], &records[&5]["value"]), (&json!(1), &json!(2)));
    for id in 1..5 {
        assert_eq!(records[&id]["error"]["kind"], "parse", "{run}");
        assert!(records[&id]["error"]["message"].as_str().unwrap().contains("not JSON"), "{run}");
    }
}

#[test]
fn jq_keeps_answers_back_and_loses_none() {
    if Command::new("jq").arg("--version").output().is_err() {
        eprintln!("NOT TESTED: jq is not installed");
        return;
    }
    let flags: [&[&str]; 3] = [&[], &["--batch", "7"], &["--concurrency", "3"]];
    for flags in flags {
        let run = map().args(flags).args(["-i", "-", "--", "jq", "-c", "{n: .n}"]);
        let run = run.stdin(numbers(500)).run().exits(0);
        check_echo(&run, 500, &[]);
    }
}

#[test]
fn batches_are_given_as_such() {
    let dir = Dir::new();
    // It answers only when it has ten, or no more come.
    let script = dir.write(
        "batches.py",
        "import sys, itertools\nwhile True:\n    batch = list(itertools.islice(sys.stdin, 10))\n    if not batch:\n        break\n    assert len(batch) == 10 or not sys.stdin.readline(), batch\n    sys.stdout.write(''.join(batch))\n    sys.stdout.flush()\n",
    );
    let run =
        map().args(["--batch", "10", "-i", "-", "--", interpreter()]).arg(script).stdin(numbers(205)).run();
    check_echo(&run.exits(0), 205, &[]);
}

#[test]
fn large_lines_go_through_whole() {
    let large: String =
        (0..6).map(|n| format!("{{\"n\":{n},\"text\":\"{}\"}}\n", "x".repeat(1_000_000 + n))).collect();
    for program in
        [&["cat"][..], &[interpreter(), "-uc", "import sys\nfor line in sys.stdin: sys.stdout.write(line)"]]
    {
        let run =
            map().args(["--raw", "--ordered", "-i", "-", "--"]).args(program).stdin(large.clone()).run();
        assert!(run.exits(0).text() == large, "{program:?}");
    }
    // 16 MiB is the most; one byte more is a record with an error, and the others go on.
    let lines = format!("1\n\"{}\"\n2\n", "x".repeat(16 << 20));
    let run = map().args(["-i", "-", "--", "cat"]).stdin(lines).run().exits(3);
    let records = by_id(run.records());
    assert_eq!((&records[&0]["value"], &records[&2]["value"]), (&json!(1), &json!(2)));
    assert!(
        records[&1]["error"]["message"].as_str().unwrap().contains("at most 16777216"),
        "{}",
        records[&1]
    );
}

#[test]
fn what_it_says_on_stderr_is_passed_on_in_whole_lines() {
    let dir = Dir::new();
    let body = "sys.stderr.write('about ' + str(record['n']) + '\\n' + 'half')\nsys.stderr.flush()\nsys.stderr.write(' and half\\n')\nsay(record)";
    for flags in [&["--progress", "never"][..], &["--progress", "always"]] {
        let run = run_python(&dir, body, &numbers(30), flags).exits(0);
        for n in 0..30 {
            let line = format!("about {n}");
            assert!(run.stderr.lines().any(|said| said == line), "{line}: {run}");
        }
        assert_eq!(run.stderr.lines().filter(|said| *said == "half and half").count(), 30, "{run}");
    }
}

/// Nothing of ours is open in it, it knows its slot, and it is in its worker's group.
#[test]
fn it_inherits_what_it_needs_and_nothing_else() {
    let dir = Dir::new();
    let body = "fds = sorted(int(fd) for fd in os.listdir('/proc/self/fd'))\nopen_fds = [fd for fd in fds if os.path.exists('/proc/self/fd/%d' % fd)]\n\
                say([open_fds, os.environ['MUSTER_WORKER_SLOT'], os.getpgid(0) == os.getppid(), signal.getsignal(signal.SIGPIPE) is not None])";
    let run = run_python(&dir, body, &numbers(4), &[]).exits(0);
    for value in values(&run).values() {
        let open: Vec<u64> = serde_json::from_value(value[0].clone()).unwrap();
        assert!(open.iter().all(|fd| *fd <= 3), "{value}");
        assert!(["0", "1"].contains(&value[1].as_str().unwrap()), "{value}");
        assert_eq!(value[2], true, "{value}");
    }
}

#[test]
fn a_slow_reader_of_the_output_stops_the_program_and_loses_nothing() {
    let count = 60_000;
    let dir = Dir::new();
    let fifo = dir.path("out");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let run = map().args(["--timeout", "200ms", "-i", "-", "-o"]).arg(&fifo).args(["--", "cat"]);
    let run = run.stdin(numbers(count)).spawn();
    let mut reader = fs::File::open(&fifo).unwrap();
    let mut first = [0; 1];
    std::io::Read::read_exact(&mut reader, &mut first).unwrap();
    // Longer than the timeout of a line, which is not the program's to answer for.
    let since = shared::clock::now();
    wait_for("its time to be over", Duration::from_secs(9), || {
        (since.elapsed() > Duration::from_secs(1)).then_some(())
    });
    let mut rest = first.to_vec();
    std::io::Read::read_to_end(&mut reader, &mut rest).unwrap();
    run.wait().exits(0);
    let records = by_id(parse_lines(&rest));
    assert_eq!(records.len() as u64, count);
    assert!(records.values().all(|record| record.get("error").is_none()));
}

#[test]
fn records_of_fetch_and_parse_go_through_a_program_in_the_same_job() {
    let dir = Dir::new();
    for n in 0..40 {
        dir.write(format!("tree/{n}.html"), format!("<title>Page {n}</title>"));
    }
    dir.write("tree/zz.html", "<title>poison</title>");
    let body = "title = record['fields']['title']\nif title == 'poison':\n    sys.exit(4)\nsay({'upper': title.upper()})";
    let script = python(&dir, "program.py", body);
    for mode in ["sequential", "parallel", "concurrent", "both", "auto"] {
        let line = format!("{} '{}'", interpreter(), script.display());
        let run = supervisor().args(["--workers", "2", "--mode", mode, "parse", "--select", "title=title"]);
        let run =
            run.arg(dir.path("tree")).arg(dir.path("missing.html")).args(["--map", &line]).run().exits(3);
        let records = by_id(run.records());
        assert_eq!(records.len(), 42, "{mode}: {run}");
        let mut failed: Vec<_> = Vec::new();
        for record in records.values() {
            if let Some(error) = record.get("error") {
                assert!(record.get("fields").is_none() && record.get("value").is_none(), "{record}");
                failed.push(error["kind"].as_str().unwrap().to_owned());
            } else {
                let title = record["fields"]["title"].as_str().unwrap();
                assert_eq!(record["value"], json!({"upper": title.to_uppercase()}), "{record}");
            }
        }
        failed.sort();
        assert_eq!(failed, ["child", "parse"], "{mode}: {run}");
    }
}
