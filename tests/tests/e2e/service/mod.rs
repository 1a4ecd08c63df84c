//! The service's engine, in this process: jobs are handed to it as its API would.

mod client;
mod damaged;
mod http;
mod jobs;
mod killed;

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, raise};
use serde_json::{Map, Value, json};
use supervisor::config::{Allowed, ApiConfig, ServiceConfig};
use supervisor::runtime::Workers;
use supervisor::service::{self, JobAction, Refused, Service, StartError, Submission, Upload};
use supervisor::view::{JobId, JobState, JobView};

use crate::harness::{Dir, by_id, parse_lines, wait_for, worker_path};

/// How long a job of a test may take.
const JOB: Duration = Duration::from_secs(60);

/// A service in this process. Tests run in a process each, so the signals are its own.
pub(super) struct Running {
    pub(super) service: Service,
    pub(super) state: PathBuf,
    thread: Option<JoinHandle<Result<(), StartError>>>,
}

pub(super) fn config(dir: &Dir, workers: u32) -> ServiceConfig {
    ServiceConfig {
        state_dir: dir.path("state"),
        workers: NonZeroU32::new(workers),
        jobs_max: NonZeroU32::MAX,
        queue_max: 1000,
        keep_for: Duration::from_secs(3600),
        keep_bytes: 1 << 30,
        allowed: Allowed { private_addresses: true, ..Allowed::default() },
        worker_memory_bytes: None,
        api: ApiConfig {
            socket: None,
            listen: Vec::new(),
            token_file: None,
            tls: None,
            trusted_proxies: Vec::new(),
            body_bytes_max: 1 << 20,
            connections_max: 1,
        },
    }
}

impl Running {
    pub(super) fn start(config: ServiceConfig) -> Self {
        let state = config.state_dir.clone();
        let (sender, service) = mpsc::channel();
        let workers = Workers::at(worker_path().to_owned()).unwrap();
        let thread = thread::spawn(move || {
            let again = || Err("this test has no settings to read".to_owned());
            service::run(config, again, workers, |service, _| {
                sender.send(service.clone()).unwrap();
                Ok(None)
            })
        });
        let service = service.recv().expect("the service does not start");
        Self { service, state, thread: Some(thread) }
    }

    pub(super) fn try_submit(&self, document: &Value, lists: &[(&str, String)]) -> Result<JobView, Refused> {
        let document: Map<String, Value> = document.as_object().unwrap().clone();
        let incoming = self.state.join(format!("incoming/{}", fastrand::u64(..)));
        let uploads: Vec<Upload> = lists
            .iter()
            .map(|(name, text)| {
                fs::create_dir_all(&incoming).unwrap();
                let path = incoming.join(format!("{}", fastrand::u64(..)));
                fs::write(&path, text).unwrap();
                Upload { path, name: (*name).to_owned() }
            })
            .collect();
        let sender = "a test".to_owned();
        let submission = Submission { document, uploads, idempotency: None, sender, is_local: true };
        self.service.submit(submission).map(|submitted| submitted.job)
    }

    pub(super) fn submit(&self, document: &Value, lists: &[(&str, String)]) -> JobId {
        self.try_submit(document, lists).unwrap().id
    }

    /// A fetch of these URLs, in a list that comes along.
    pub(super) fn fetch(&self, urls: &[String]) -> JobId {
        self.submit(&json!({"command": "fetch", "mode": "both"}), &[("urls.txt", urls.join("\n"))])
    }

    pub(super) fn job(&self, id: JobId) -> Arc<JobView> {
        self.service.job(id).unwrap().0
    }

    pub(super) fn act(&self, id: JobId, action: JobAction) -> JobView {
        self.service.act(id, action).unwrap()
    }

    pub(super) fn wait(&self, id: JobId, state: JobState) -> Arc<JobView> {
        wait_for(&format!("job {id} to be {state:?}"), JOB, || {
            let job = self.job(id);
            assert!(job.state == state || !job.state.has_ended(), "{job:?}");
            (job.state == state).then_some(job)
        })
    }

    /// What is certain of a job's records, by id; none twice.
    pub(super) fn records(&self, id: JobId) -> BTreeMap<u64, Value> {
        let records = self.service.job(id).unwrap().1;
        let mut bytes = fs::read(&records.path).unwrap_or_default();
        bytes.truncate(usize::try_from(records.committed()).unwrap());
        by_id(parse_lines(&bytes))
    }

    /// SIGTERM, and all the way to the end.
    pub(super) fn stop(mut self) {
        raise(Signal::SIGTERM).unwrap();
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}
