//! The API over its real sockets, in front of a scripted state loop.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crossbeam_channel::unbounded;
use serde_json::{Value, json};

use super::*;
use crate::service::{Board, JobAction, Records, Refused, Request, Submission, Submitted, Update};
use crate::view::{JobId, JobState, JobView, ServiceView};

mod abuse;
mod looking;
mod streams;
mod submitting;

/// Time limit for what must happen.
const SOON: Duration = Duration::from_secs(20);

/// A response.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    /// Parses what a connection sent until it was closed.
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no response: {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut body = bytes[end + 4..].to_vec();
        if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            body = unchunked(&body);
        }
        Self { status, head, body }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let of =
            |line: &'_ str| line.split_once(": ").is_some_and(|(known, _)| known.eq_ignore_ascii_case(name));
        self.head.lines().find(|line| of(line)).map(|line| line.split_once(": ").unwrap().1)
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Checks that this is a complete problem document with this status, and that its detail
    /// contains `says`.
    #[track_caller]
    fn problem(&self, status: u16, says: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["type"], "about:blank");
        assert_eq!(problem["status"], status);
        assert!(!problem["title"].as_str().unwrap().is_empty());
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(says), "no {says:?} in {detail:?}");
    }
}

/// Decodes a chunked body.
fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        data.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 2 + size + 2..];
    }
    data
}

/// A service whose state loop accepts every submission, and allows each action that makes sense.
struct Bench {
    dir: tempfile::TempDir,
    service: Service,
    handle: Option<ApiHandle>,
    loop_thread: Option<std::thread::JoinHandle<()>>,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut ApiConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let board = Arc::new(Board::default());
        let (requests, asked) = unbounded();
        let service = Service::new(requests, Arc::clone(&board));
        let mut config = ApiConfig {
            socket: Some(dir.path().join("api.sock")),
            listen: vec![([127, 0, 0, 1], 0).into()],
            token_file: None,
            tls: None,
            trusted_proxies: Vec::new(),
            body_bytes_max: 4 << 20,
            connections_max: 64,
        };
        change(&mut config);
        *board.service.write().unwrap() = Some(Arc::new(ServiceView {
            version: "0.1.0".to_owned(),
            pid: 1,
            uptime_s: 1.0,
            workers: 2,
            jobs_max: 2,
            stopping: false,
            rss_bytes: 1,
            cpu_s: 0.5,
            restarts: 0,
            warnings: Vec::new(),
        }));
        let script = ScriptedLoop { board, keys: BTreeMap::new(), dir: dir.path().join("jobs") };
        let loop_thread = std::thread::spawn(move || script.run(&asked));
        let handle = start(service.clone(), &config, dir.path()).unwrap();
        Self { dir, service, handle: Some(handle), loop_thread: Some(loop_thread) }
    }

    fn tcp(&self) -> SocketAddr {
        self.handle.as_ref().unwrap().addresses()[0]
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("api.sock")
    }

    /// Number of directories left in the upload directory.
    fn left_over(&self) -> usize {
        fs::read_dir(self.dir.path().join("incoming")).unwrap().count()
    }

    /// Sends raw bytes over the socket.
    fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        // The service may close the connection while the client still sends.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Answer::parse(&answer)
    }

    fn request(&self, line: &str, headers: &str, body: &[u8]) -> Answer {
        let mut request =
            format!("{line} HTTP/1.1\r\nHost: muster\r\nConnection: close\r\n{headers}").into_bytes();
        if !body.is_empty() {
            request.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        self.raw(&request)
    }

    fn get(&self, path: &str) -> Answer {
        self.request(&format!("GET {path}"), "", b"")
    }

    fn post(&self, path: &str) -> Answer {
        self.request(&format!("POST {path}"), "", b"")
    }

    fn submit(&self, document: &Value) -> Answer {
        let json = "Content-Type: application/json\r\n";
        self.request("POST /v1/jobs", json, document.to_string().as_bytes())
    }

    /// Submits a job and returns its id.
    fn job(&self) -> u64 {
        let answer = self.submit(&json!({"command": "fetch", "urls": ["http://a/"]}));
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["id"].as_u64().unwrap()
    }

    /// Appends to a job's records, and commits them.
    fn record(&self, id: u64, lines: &str) {
        let (_, records) = self.service.job(JobId(id)).unwrap();
        let mut file = fs::OpenOptions::new().append(true).create(true).open(&records.path).unwrap();
        file.write_all(lines.as_bytes()).unwrap();
        records.committed.fetch_add(lines.len() as u64, std::sync::atomic::Ordering::Release);
    }

    fn set_state(&self, id: u64, state: JobState) {
        let mut jobs = self.service.board().jobs.write().unwrap();
        let (job, _) = jobs.get_mut(&JobId(id)).unwrap();
        Arc::make_mut(job).state = state;
        let job = Arc::clone(job);
        drop(jobs);
        self.service.publish(Update::Job(job));
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            drop(handle);
        }
        let (requests, _) = unbounded();
        self.service = Service::new(requests, Arc::new(Board::default()));
        if let Some(thread) = self.loop_thread.take()
            && !std::thread::panicking()
        {
            thread.join().unwrap();
        }
    }
}

/// Polls until a condition holds.
#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = clock::now() + SOON;
    while !holds() {
        assert!(clock::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// The scripted state loop.
struct ScriptedLoop {
    board: Arc<Board>,
    keys: BTreeMap<String, ([u8; 32], JobId)>,
    dir: PathBuf,
}

impl ScriptedLoop {
    fn run(mut self, requests: &crossbeam_channel::Receiver<Request>) {
        fs::create_dir_all(&self.dir).unwrap();
        for request in requests {
            match request {
                Request::Submit(submission, reply) => drop(reply.send(self.submit(*submission))),
                Request::Act(id, action, reply) => drop(reply.send(self.act(id, action))),
                Request::Scale(Some(0), reply) => {
                    drop(reply.send(Err(Refused::Invalid("there must be a worker".to_owned()))));
                }
                Request::Scale(workers, reply) => drop(reply.send(Ok(workers.unwrap_or(2)))),
            }
        }
    }

    fn submit(&mut self, submission: Submission) -> Result<Submitted, Refused> {
        let Submission { document, uploads, idempotency, sender, is_local: _ } = submission;
        assert!(!sender.is_empty());
        if let Some(key) = &idempotency
            && let Some((digest, id)) = self.keys.get(&key.key)
        {
            if *digest != key.digest {
                return Err(Refused::KeyReused);
            }
            let jobs = self.board.jobs.read().unwrap();
            return Ok(Submitted { job: (*jobs[id].0).clone(), known: true });
        }
        let command = match document.get("command").and_then(Value::as_str) {
            Some("full") => return Err(Refused::Full(3)),
            Some("disk") => return Err(Refused::Storage("No space left on device".to_owned())),
            Some("stopping") => return Err(Refused::Stopping),
            Some(command) => command.to_owned(),
            None => return Err(Refused::Invalid("which command?".to_owned())),
        };
        let id = JobId(self.board.jobs.read().unwrap().len() as u64 + 1);
        if let Some(first) = uploads.first() {
            fs::rename(first.path.parent().unwrap(), self.dir.join(id.to_string())).unwrap();
        }
        let mut job = view(id, &command);
        // Lets a test see what arrived.
        job.name = Some(
            json!({"document": document, "uploads": uploads.iter().map(|upload| {
            let path = self.dir.join(id.to_string()).join(upload.path.file_name().unwrap());
            (upload.name.clone(), fs::read_to_string(path).unwrap())
        }).collect::<Vec<_>>()})
            .to_string(),
        );
        if let Some(key) = idempotency {
            self.keys.insert(key.key, (key.digest, id));
        }
        let records =
            Records { path: self.dir.join(format!("{id}.jsonl")), committed: Arc::new(AtomicU64::new(0)) };
        self.board.jobs.write().unwrap().insert(id, (Arc::new(job.clone()), records));
        self.board.metrics.job_changed(None, &job);
        Ok(Submitted { job, known: false })
    }

    fn act(&mut self, id: JobId, action: JobAction) -> Result<JobView, Refused> {
        let mut jobs = self.board.jobs.write().unwrap();
        let (job, _) = jobs.get_mut(&id).ok_or(Refused::NoJob(id))?;
        let state = match (action, job.state) {
            (JobAction::Remove, _) => return Ok((*jobs.remove(&id).unwrap().0).clone()),
            (JobAction::Pause, JobState::Queued) => JobState::Paused,
            (JobAction::Resume, JobState::Paused) => JobState::Queued,
            (JobAction::Cancel, _) => JobState::Cancelled,
            (JobAction::RetryFailed, JobState::Done) => JobState::Done,
            (_, state) => return Err(Refused::Conflict(format!("job {id} is {state:?}"))),
        };
        let job = Arc::make_mut(job);
        job.state = state;
        Ok(job.clone())
    }
}

fn view(id: JobId, command: &str) -> JobView {
    serde_json::from_value(json!({
        "id": id, "name": null, "command": command, "state": "queued", "priority": 0, "submitted_at": "", "started_at": null,
        "finished_at": null, "counts": {"total": null, "total_exact": false, "done": 0, "ok": 0, "failed": 0,
        "quarantined": 0, "retries": 0, "bytes": 0, "in_flight": 0}, "workers": 0, "mode": null, "items_per_s": 0.0,
        "eta_s": null, "latency_ms": null, "errors": {}, "exit_code": null, "error": null, "retry_of": null, "summary": null
    }))
    .unwrap()
}
