//! Where records go: whole lines, nothing but records, and no file destroyed.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use crate::harness::{
    Dir, MODES, Origin, SmallDisk, TestCommand, by_id, fetch, ids, parse_lines, supervisor,
};

fn pages(origin: &Origin, count: u32) -> Vec<String> {
    (0..count).map(|n| origin.url(&format!("/site/page/{n}"))).collect()
}

#[test]
fn an_output_that_exists_is_not_touched_unless_asked() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let out = dir.write("out.jsonl", "precious\n");
    let run = |flags: &[&str]| fetch().args(flags).arg("-o").arg(&out).arg(origin.url("/counted/1")).run();
    run(&[]).exits(1).says("out.jsonl").says("--overwrite");
    assert_eq!(dir.read("out.jsonl"), "precious\n");
    assert_eq!(origin.requests("/counted/1"), 0);
    run(&["--overwrite"]).exits(0);
    assert_eq!(parse_lines(dir.read("out.jsonl").as_bytes()).len(), 1);
    assert_eq!(origin.requests("/counted/1"), 1);
    assert_eq!(dir.names(), ["out.jsonl"]);
}

#[test]
fn a_refused_run_leaves_the_old_output_alone_even_with_overwrite() {
    let dir = Dir::new();
    let out = dir.write("out.jsonl", "precious\n");
    fetch().args(["--overwrite", "-i", "/no/such/list", "-o"]).arg(&out).run().exits(1);
    fetch().args(["--overwrite", "--select", "x=[[", "http://127.0.0.1:1/", "-o"]).arg(&out).run().exits(2);
    assert_eq!(dir.read("out.jsonl"), "precious\n");
}

#[test]
fn an_output_that_cannot_be_is_refused() {
    let (origin, dir) = (Origin::start(), Dir::new());
    dir.write("file", "");
    for (path, words) in
        [("no/such/dir/out.jsonl", "no/such/dir"), ("", "directory"), ("file/out.jsonl", "file")]
    {
        let run = fetch().arg("-o").arg(dir.path(path)).arg(origin.url("/counted/1")).run();
        run.exits(1).says(words);
    }
    assert_eq!(origin.stats()["requests"], 0);
}

#[test]
fn nothing_but_records_goes_to_stdout() {
    let origin = Origin::shared();
    for mode in MODES {
        let run =
            fetch().args(["--mode", mode, "--select", "t=title"]).urls(pages(origin, 30)).run().exits(0);
        assert_eq!(by_id(run.records()).len(), 30, "{run}");
        let file = Dir::new();
        let flags = ["--mode", mode, "--select", "t=title", "-o"];
        let run = fetch().args(flags).arg(file.path("out.jsonl")).urls(pages(origin, 30)).run().exits(0);
        assert_eq!(run.text(), "");
        assert_eq!(by_id(parse_lines(file.read("out.jsonl").as_bytes())).len(), 30);
    }
}

#[test]
fn stderr_is_plain_text_when_piped() {
    let origin = Origin::shared();
    for flags in [&[][..], &["--progress", "never"], &["--progress", "always"]] {
        let run = fetch().args(flags).urls(pages(origin, 100)).run().exits(0);
        assert!(!run.stderr.contains(['\u{1b}', '\r', '\u{8}']), "{run}");
    }
}

#[test]
fn order_is_kept_if_asked() {
    let origin = Origin::shared();
    // The first takes longest.
    let urls: Vec<_> =
        (0..12).map(|n| origin.url(&format!("/delay/{}", 0.6 - 0.05 * f64::from(n)))).collect();
    for mode in ["concurrent", "both", "parallel"] {
        let run = fetch().args(["--mode", mode, "--ordered"]).urls(&urls).run().exits(0);
        assert_eq!(ids(&run.records()), (0..12).collect::<Vec<_>>(), "{mode}");
    }
    let run = fetch().args(["--mode", "concurrent"]).urls(&urls).run().exits(0);
    assert_eq!(run.records()[0]["id"], 11, "what is done first is written first: {run}");
    let retried = [origin.url("/status/503"), origin.url("/site/page/1")];
    let run = fetch().args(["--ordered", "--retries", "1"]).urls(retried).run().exits(3);
    assert_eq!(ids(&run.records()), [0, 1]);
}

#[test]
fn a_reader_that_leaves_ends_the_run_quietly() {
    let origin = Origin::start();
    for mode in ["sequential", "both"] {
        let urls: String =
            (0..500).map(|n| format!("{}\n", origin.url(&format!("/counted/{n}?delay=0.02")))).collect();
        let list = Dir::new();
        let list_path = list.write("urls.txt", urls);
        let mut command = fetch().args(["--mode", mode, "-i"]).arg(list_path).prepared();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'));
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        for word in ["panicked", "error", "broken pipe"] {
            assert!(!stderr.to_lowercase().contains(word), "{stderr}");
        }
        assert!(
            output.status.code().is_none_or(|code| matches!(code, 0 | 141)),
            "{:?}: {stderr}",
            output.status
        );
    }
    // It did not go on until the end.
    assert!(origin.stats()["requests"].as_u64().unwrap() < 900);
}

fn full_device() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

#[test]
fn a_full_device_ends_the_run_with_its_reason() {
    let origin = Origin::shared();
    for mode in ["sequential", "both"] {
        let run = || fetch().args(["--mode", mode, "--select", "l[]=a::attr(href)"]).urls(pages(origin, 50));
        run().args(["-o", "/dev/full"]).run().exits(1).says("full").says("/dev/full");
        run().run_into(full_device()).exits(1).says("full").says("standard output");
    }
    supervisor().args(["completions", "bash"]).run_into(full_device()).exits(1).says("space left");
}

#[test]
fn a_disk_that_fills_up_ends_the_run_with_whole_lines() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    // Only root may mount one; `/dev/full` above covers the rest.
    let Some(disk) = SmallDisk::mount(dir.path("disk"), 64) else { return };
    let out = disk.0.join("out.jsonl");
    let list = dir.write("urls.txt", pages(origin, 200).join("\n"));
    let flags = ["--mode", "both", "--select", "l[]=a::attr(href)", "-i"];
    let run = || fetch().args(flags).arg(&list).arg("-o").arg(&out);
    run().run().exits(1).says("full").says("out.jsonl").says("--resume does the rest");
    let written = std::fs::read(&out).unwrap();
    assert!(!by_id(parse_lines(&written)).is_empty());
    // Still full, and no worse for having been tried again.
    run().arg("--resume").run().exits(1).says("full");
    disk.grow();
    run().arg("--resume").run().exits(0);
    assert_eq!(by_id(parse_lines(&std::fs::read(&out).unwrap())).len(), 200);
}

#[test]
fn a_summary_or_report_that_cannot_be_written_is_said() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    for flag in ["--summary", "--report"] {
        let run = fetch().arg(flag).arg(dir.path("no/such/file")).arg(origin.url("/site/page/1")).run();
        run.exits(1).says("no/such");
    }
}

#[test]
fn an_output_may_be_a_pipe() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let pipe = dir.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let reader = TestCommand::new("cat").arg(&pipe).spawn();
    fetch().arg("-o").arg(Path::new(&pipe)).urls(pages(origin, 20)).run().exits(0);
    assert_eq!(by_id(reader.wait().exits(0).records()).len(), 20);
}
