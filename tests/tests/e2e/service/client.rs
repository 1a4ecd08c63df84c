//! `serve` as it is installed, and the commands that talk to it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Dir, Origin, Output, Running, TestCommand, by_id, parse_lines, supervisor};

/// A service in a process of its own.
struct Served {
    dir: Dir,
    running: Running,
}

impl Served {
    fn start() -> Self {
        let dir = Dir::new();
        let socket = dir.path("api.sock");
        let mut serve =
            supervisor().args(["serve", "--workers", "2", "--allow-private-addresses", "--allow-programs"]);
        serve = serve.arg("--state-dir").arg(dir.path("state")).arg("--socket").arg(&socket);
        let running = serve.spawn();
        running.until("the socket", || {
            fs::metadata(&socket).ok().filter(|found| found.file_type().is_socket()).map(|_| ())
        });
        let served = Self { dir, running };
        served
            .running
            .until("an answer", || (served.client(&["status"]).run().code == Some(0)).then_some(()));
        served
    }

    fn socket(&self) -> PathBuf {
        self.dir.path("api.sock")
    }

    fn client(&self, args: &[&str]) -> TestCommand {
        supervisor().args(args).env("MUSTER_SOCKET", self.socket())
    }

    /// Runs a client that must do it.
    #[track_caller]
    fn ask(&self, args: &[&str]) -> Output {
        let output = self.client(args).run();
        assert_eq!(output.code, Some(0), "{args:?}: {}", output.stderr);
        output
    }

    fn stop(self) {
        self.running.signal(Signal::SIGTERM);
        let socket = self.socket();
        let ended = self.running.wait();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(!socket.exists(), "the socket is left behind");
    }
}

fn number(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.trim().parse::<u64>().unwrap_or_else(|error| panic!("{error}: {text:?}")).to_string()
}

#[test]
fn a_job_is_submitted_waited_for_and_read() {
    let served = Served::start();
    let origin = Origin::shared();
    let urls: String = (0..50).map(|n| origin.url(&format!("/site/page/{n}")) + "\n").collect();
    let list = served.dir.write("urls.txt", &urls);
    let list = list.to_str().unwrap();
    let waited =
        served.client(&["submit", "fetch", "-i", list, "--select", "t=title", "--wait", "--name", "n"]).run();
    assert_eq!(waited.code, Some(0), "{}", waited.stderr);
    let id = number(&waited);
    let records = by_id(parse_lines(&served.ask(&["results", &id]).stdout));
    assert_eq!(records.len(), 50);
    assert!(records.values().all(|record| record["fields"]["t"].is_string()), "{records:?}");
    // The same over standard input, followed.
    let piped = served.client(&["submit", "fetch", "-i", "-"]).stdin(urls).run();
    let followed = served.ask(&["results", &number(&piped), "-f"]);
    assert_eq!(by_id(parse_lines(&followed.stdout)).len(), 50);
    let rest = served.ask(&["results", &id, "--from", "49"]);
    assert_eq!(parse_lines(&rest.stdout).len(), 1);
    let listed: Value = serde_json::from_slice(&served.ask(&["jobs", "--json"]).stdout).unwrap();
    assert_eq!(
        (listed["jobs"][1]["name"].as_str(), listed["jobs"][1]["state"].as_str()),
        (Some("n"), Some("done"))
    );
    let status: Value = serde_json::from_slice(&served.ask(&["status", "--json"]).stdout).unwrap();
    assert!(status["service"]["pid"].is_number() && status["workers"].is_array(), "{status}");
    served.stop();
}

#[test]
fn an_answer_that_cannot_be_written_is_an_error() {
    let served = Served::start();
    let page = Origin::shared().url("/site/page/1");
    let id = number(&served.client(&["submit", "fetch", &page, "--wait"]).run());
    let answers = [
        &["status"][..],
        &["status", "--json"],
        &["status", &id],
        &["jobs"],
        &["results", &id],
        &["submit", "fetch", &page],
    ];
    for args in answers {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        served.client(args).run_into(full).exits(1).says("standard output");
        let closed = served.client(args).under(&["sh", "-c", "exec >&-; exec \"$@\"", "sh"]);
        closed.run().exits(1).says("standard output");
    }
    served.stop();
}

#[test]
fn the_exit_status_is_the_jobs() {
    let served = Served::start();
    let refused = Origin::shared().url("/status/404");
    let failed = served.client(&["submit", "fetch", &refused, "--retries", "0", "--wait"]).run();
    assert_eq!(failed.code, Some(3), "{}", failed.stderr);
    let id = number(&failed);
    assert_eq!(failed.stderr, format!("job {id}: 1 of 1 input failed: 1 http_status\n"));
    let quiet = served.client(&["submit", "-q", "fetch", &refused, "--retries", "0", "--wait"]).run();
    assert_eq!((quiet.code, quiet.stderr.as_str()), (Some(3), ""));
    let only = served.ask(&["results", &id, "--only", "failed"]);
    assert_eq!(parse_lines(&only.stdout)[0]["error"]["kind"], "http_status");
    let again = number(&served.ask(&["jobs", "retry-failed", &id]));
    served.running.until("the retry", || {
        let job = served.ask(&["status", &again, "--json"]);
        let job: Value = serde_json::from_slice(&job.stdout).unwrap();
        (job["state"] == "done").then_some(())
    });
    let misused = served.client(&["submit", "fetch", "http://a/", "--select", "t="]).run();
    assert_eq!(misused.code, Some(2), "{}", misused.stderr);
    let ended = served.client(&["cancel", &id]).run();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("cannot be cancelled"), "{}", ended.stderr);
    // It has its records still.
    assert_eq!(parse_lines(&served.ask(&["results", &id]).stdout).len(), 1);
    served.ask(&["jobs", "remove", &id]);
    assert_eq!(served.client(&["results", &id]).run().code, Some(1));
    served.stop();
}

#[test]
fn without_a_service_it_says_how_to_start_one() {
    let dir = Dir::new();
    let output = supervisor().args(["jobs", "--socket"]).arg(dir.path("none.sock")).run();
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("none.sock; start one with: supervisor serve"), "{}", output.stderr);
}

/// `promtool` says what is against the conventions; a machine without it, and without the right to install it, skips this.
#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    if Command::new("promtool").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err()
    {
        println!("skipped: there is no promtool here; it comes with Debian's prometheus");
        return;
    }
    let served = Served::start();
    let refused = Origin::shared().url("/status/404");
    served.client(&["submit", "fetch", &refused, "--retries", "0", "--wait"]).run();
    let mut stream = std::os::unix::net::UnixStream::connect(served.socket()).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    let (_, metrics) = answer.split_once("\r\n\r\n").unwrap();
    for line in [
        "muster_records_total{result=\"error\"} 1",
        "muster_record_errors_total{kind=\"http_status\"} 1",
        "muster_record_duration_seconds_count 1",
        "muster_jobs_ended_total{state=\"done\"} 1",
    ] {
        assert!(metrics.lines().any(|shown| shown == line), "no {line}: {metrics}");
    }
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let said = [said.stdout, said.stderr].concat();
    assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
    served.stop();
}
