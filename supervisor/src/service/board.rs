//! The state that the service publishes, and the handle to request changes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crossbeam_channel::{Sender, bounded};
use tokio::sync::broadcast;

use super::metrics::Metrics;
use super::request::{Refused, Request, Submission, Submitted};
use crate::view::{HostView, JobAction, JobId, JobView, ServiceView, WorkerView};

/// Number of updates that a slow listener may be behind before it misses some.
const UPDATES_KEPT: usize = 1024;

/// An update for listeners.
#[derive(Debug, Clone)]
pub enum Update {
    /// A job was submitted or has changed. Progress alone is sent at most four times a second per job.
    Job(Arc<JobView>),
    /// A job and its records were deleted.
    Removed(JobId),
    /// Workers, hosts and the service were refreshed. Sent twice a second while anyone listens.
    Pulse,
    /// A message, and the job that it is about.
    Said(Option<JobId>, Arc<str>),
}

/// The records of a job: the file, and how much of it is committed.
#[derive(Debug, Clone)]
pub struct Records {
    /// The file, in JSON lines.
    pub path: PathBuf,
    /// The committed bytes of the file, which never change again. Grows while the job runs.
    pub committed: Arc<AtomicU64>,
}

impl Records {
    /// Returns the bytes that may be read now.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }
}

/// The published state. Only the state loop writes it, and readers never wait for the loop.
#[derive(Debug, Default)]
pub struct Board {
    /// All jobs, by number.
    pub jobs: RwLock<BTreeMap<JobId, (Arc<JobView>, Records)>>,
    /// All worker processes.
    pub workers: RwLock<Arc<Vec<WorkerView>>>,
    /// Hosts with requests in flight or waiting: at most 200, busiest first.
    pub hosts: RwLock<Arc<Vec<HostView>>>,
    /// The service; `None` before the loop's first turn.
    pub service: RwLock<Option<Arc<ServiceView>>>,
    /// The counters since the start.
    pub metrics: Metrics,
}

/// A handle to the service, for any number of threads.
#[derive(Debug, Clone)]
pub struct Service {
    requests: Sender<Request>,
    board: Arc<Board>,
    updates: broadcast::Sender<Update>,
}

impl Service {
    /// Creates a handle that sends to `requests` and reads `board`.
    #[must_use]
    pub fn new(requests: Sender<Request>, board: Arc<Board>) -> Self {
        Self { requests, board, updates: broadcast::channel(UPDATES_KEPT).0 }
    }

    /// Returns the published state.
    #[must_use]
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Subscribes to all further updates.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Update> {
        self.updates.subscribe()
    }

    /// Whether anyone listens.
    #[must_use]
    pub fn has_listeners(&self) -> bool {
        self.updates.receiver_count() > 0
    }

    /// Sends an update to all listeners. Called by the state loop.
    pub fn publish(&self, update: Update) {
        // Fails if nobody listens.
        let _ = self.updates.send(update);
    }

    /// Returns a job.
    ///
    /// # Errors
    /// [`Refused::NoJob`].
    pub fn job(&self, id: JobId) -> Result<(Arc<JobView>, Records), Refused> {
        let jobs = self.board.jobs.read().unwrap_or_else(PoisonError::into_inner);
        jobs.get(&id).cloned().ok_or(Refused::NoJob(id))
    }

    /// Submits a job. Waits for the state loop and the disk.
    ///
    /// # Errors
    /// [`Refused`], except [`Refused::NoJob`].
    pub fn submit(&self, submission: Submission) -> Result<Submitted, Refused> {
        self.request(|reply| Request::Submit(Box::new(submission), reply))
    }

    /// Acts on a job. Waits for the state loop and the disk, but not for targets in flight.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn act(&self, id: JobId, action: JobAction) -> Result<JobView, Refused> {
        self.request(|reply| Request::Act(id, action, reply))
    }

    /// Changes the number of workers.
    ///
    /// # Errors
    /// [`Refused::Invalid`] for an impossible number, [`Refused::Stopping`].
    pub fn scale(&self, workers: Option<u32>) -> Result<u32, Refused> {
        self.request(|reply| Request::Scale(workers, reply))
    }

    fn request<T>(&self, request: impl FnOnce(Sender<Result<T, Refused>>) -> Request) -> Result<T, Refused> {
        let (reply, answer) = bounded(1);
        self.requests.send(request(reply)).map_err(|_| Refused::Stopping)?;
        answer.recv().unwrap_or(Err(Refused::Stopping))
    }
}
