//! The service: jobs that are handed in, shared out, stopped, and found again
//! after whatever ended the service.

mod away;
mod disk;
mod found_again;
mod hostile;
mod killed;
mod lifecycle;
mod logins;
mod logs;
mod passed;
mod refused;
mod retried;
mod secure;
mod sharing;
mod signals;
mod suspects;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Dir, Origin, Running, TestCommand, parse_lines, supervisor, wait_for};

/// Longest anything that is awaited may take on a machine full of other tests.
const WITHIN: Duration = Duration::from_secs(60);

/// A state directory, and the service that runs on it at the moment.
struct Served {
    dir: Dir,
    flags: Vec<String>,
    running: Option<Running>,
}

impl Served {
    /// A service with these flags besides the usual ones, ready.
    fn start(flags: &[&str]) -> Self {
        let mut served = Self::on(Dir::new(), flags);
        served.start_again();
        served
    }

    /// The same in this directory, and not started yet.
    fn on(dir: Dir, flags: &[&str]) -> Self {
        Self { dir, flags: flags.iter().map(|&flag| flag.to_owned()).collect(), running: None }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path("s")
    }

    /// The command that starts it.
    fn command(&self) -> TestCommand {
        supervisor()
            .args(["--workers", "2", "serve", "--allow-private-addresses", "--state-dir"])
            .arg(self.dir.path("state"))
            .arg("--socket")
            .arg(self.socket())
            .args(&self.flags)
    }

    fn start_again(&mut self) {
        self.start_as(self.command());
    }

    /// Starts it by a command that differs from [`Self::command`] in something.
    fn start_as(&mut self, command: TestCommand) {
        assert!(self.running.is_none(), "it runs already");
        self.running = Some(command.spawn());
        wait_for("the service to be ready", WITHIN, || {
            let running = self.running();
            assert!(!running.has_ended(), "it has ended: {}", running.stderr_so_far());
            let answer = self.try_request("GET", "/readyz", None)?;
            (answer.status == 200).then_some(())
        });
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    /// Takes the process out, to wait for it or to kill it.
    fn take(&mut self) -> Running {
        self.running.take().expect("it runs")
    }

    fn try_request(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Answer> {
        let mut connection = UnixStream::connect(self.socket()).ok()?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: muster\r\nConnection: close\r\nContent-Type: \
             application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        connection.write_all(head.as_bytes()).ok()?;
        connection.write_all(body.as_bytes()).ok()?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).ok()?;
        Answer::parse(&answer)
    }

    #[track_caller]
    fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.try_request(method, path, body).unwrap_or_else(|| {
            panic!("{method} {path}: no answer; the service said:\n{}", self.running().stderr_so_far())
        })
    }

    /// The answer's JSON, which must come with this status.
    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: Option<&Value>, status: u16) -> Value {
        let answer = self.request(method, path, body);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, status, "{method} {path}: {text}");
        if answer.body.is_empty() { Value::Null } else { serde_json::from_str(&text).expect(&text) }
    }

    /// Hands in a job that fetches `urls`, with more of the document in `more`.
    #[track_caller]
    fn submit(&self, urls: &[String], more: &Value) -> u64 {
        let mut document = json!({"command": "fetch", "urls": urls, "select": ["title=title"]});
        for (key, value) in more.as_object().into_iter().flatten() {
            document[key] = value.clone();
        }
        self.ask("POST", "/v1/jobs", Some(&document), 201)["id"].as_u64().expect("an id")
    }

    #[track_caller]
    fn job(&self, id: u64) -> Value {
        self.ask("GET", &format!("/v1/jobs/{id}"), None, 200)
    }

    /// Waits until a job is in one of these states.
    #[track_caller]
    fn wait_for_state(&self, id: u64, states: &[&str]) -> Value {
        let mut last = Value::Null;
        let deadline = shared::clock::now() + WITHIN;
        loop {
            if let Some(answer) = self.try_request("GET", &format!("/v1/jobs/{id}"), None) {
                last = serde_json::from_slice(&answer.body).unwrap();
                if states.iter().any(|state| last["state"] == *state) {
                    return last;
                }
            }
            assert!(
                shared::clock::now() < deadline,
                "job {id} should be {states:?}: {last}\n{}",
                self.running().stderr_so_far()
            );
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Waits until so many of a job's inputs are done.
    #[track_caller]
    fn wait_for_done(&self, id: u64, count: u64) {
        wait_for(&format!("{count} records of job {id}"), WITHIN, || {
            (self.job(id)["counts"]["done"].as_u64()? >= count).then_some(())
        });
    }

    #[track_caller]
    fn records(&self, id: u64) -> Vec<Value> {
        let answer = self.request("GET", &format!("/v1/jobs/{id}/records"), None);
        assert_eq!(answer.status, 200);
        parse_lines(&answer.body)
    }
}

/// So many URLs that are answered after `seconds` each.
fn slow(origin: &Origin, seconds: f64, count: usize) -> Vec<String> {
    (0..count).map(|n| origin.url(&format!("/delay/{seconds}?n={n}"))).collect()
}

/// What came back of a request.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let (head, body) = bytes.split_at(end + 4);
        let head = String::from_utf8_lossy(head).to_lowercase();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let body = if head.contains("transfer-encoding: chunked") { dechunked(body)? } else { body.to_vec() };
        Some(Self { status, head, body })
    }
}

/// A chunked body without its joints; nothing if it was cut off.
fn dechunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(bytes.get(..end)?).ok()?.trim(), 16).ok()?;
        bytes = bytes.get(end + 2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size + 2..)?;
    }
}
