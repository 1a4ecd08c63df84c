//! What everybody may look at, and the way to ask for changes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crossbeam_channel::{Sender, bounded};
use tokio::sync::broadcast;

use super::ask::{Ask, Refused, Submission, Submitted, Verb};
use super::metrics::Metrics;
use crate::view::{HostView, JobId, JobView, ServiceView, WorkerView};

/// Events that a slow listener may be behind before it misses some.
const EVENTS_KEPT: usize = 1024;

/// Something that listeners hear of at once.
#[derive(Debug, Clone)]
pub enum Event {
    /// A job came, or changed. At most four times a second for one job that only gets on.
    Job(Arc<JobView>),
    /// A job and its records are gone.
    Removed(JobId),
    /// Workers, hosts and the service as they are now; twice a second while somebody listens.
    Pulse,
    /// A line for a person, and the job it is about.
    Said(Option<JobId>, Arc<str>),
}

/// A job's records: the file, and how much of it is certain.
#[derive(Debug, Clone)]
pub struct Records {
    /// JSON lines.
    pub path: PathBuf,
    /// Bytes of it that will never be taken back; grows while the job runs.
    pub committed: Arc<AtomicU64>,
}

impl Records {
    /// Bytes that may be shown now.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }
}

/// What the state loop shows. Written by it alone; reading never waits for it to do anything.
#[derive(Debug, Default)]
pub struct Board {
    /// All jobs, by number.
    pub jobs: RwLock<BTreeMap<JobId, (Arc<JobView>, Records)>>,
    /// All worker processes.
    pub workers: RwLock<Arc<Vec<WorkerView>>>,
    /// Hosts with requests in flight or waiting; at most 200, the busiest first.
    pub hosts: RwLock<Arc<Vec<HostView>>>,
    /// The service; nothing before the loop's first turn.
    pub service: RwLock<Option<Arc<ServiceView>>>,
    /// What has been counted since the start.
    pub metrics: Metrics,
}

/// A handle to the service, for as many threads as like.
#[derive(Debug, Clone)]
pub struct Service {
    asks: Sender<Ask>,
    board: Arc<Board>,
    events: broadcast::Sender<Event>,
}

impl Service {
    /// A handle that sends to `asks` and shows `board`.
    #[must_use]
    pub fn new(asks: Sender<Ask>, board: Arc<Board>) -> Self {
        Self { asks, board, events: broadcast::channel(EVENTS_KEPT).0 }
    }

    /// What there is to see.
    #[must_use]
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// All that happens from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Whether anybody listens.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.events.receiver_count() > 0
    }

    /// Tells whoever listens; for the state loop.
    pub fn tell(&self, event: Event) {
        // Nobody listens: then nobody misses anything.
        let _ = self.events.send(event);
    }

    /// One job.
    ///
    /// # Errors
    /// [`Refused::NoJob`].
    pub fn job(&self, id: JobId) -> Result<(Arc<JobView>, Records), Refused> {
        let jobs = self.board.jobs.read().unwrap_or_else(PoisonError::into_inner);
        jobs.get(&id).cloned().ok_or(Refused::NoJob(id))
    }

    /// Hands a job in; waits for the state loop and the disk.
    ///
    /// # Errors
    /// [`Refused`], for any reason but [`Refused::NoJob`].
    pub fn submit(&self, submission: Submission) -> Result<Submitted, Refused> {
        self.ask(|reply| Ask::Submit(Box::new(submission), reply))
    }

    /// Does something with a job; waits for the state loop and the disk, not for what is in flight.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn act(&self, id: JobId, verb: Verb) -> Result<JobView, Refused> {
        self.ask(|reply| Ask::Act(id, verb, reply))
    }

    /// Changes the number of workers.
    ///
    /// # Errors
    /// [`Refused::Invalid`] for a number that cannot be, [`Refused::Stopping`].
    pub fn scale(&self, workers: Option<u32>) -> Result<u32, Refused> {
        self.ask(|reply| Ask::Scale(workers, reply))
    }

    fn ask<T>(&self, ask: impl FnOnce(Sender<Result<T, Refused>>) -> Ask) -> Result<T, Refused> {
        let (reply, answer) = bounded(1);
        self.asks.send(ask(reply)).map_err(|_| Refused::Stopping)?;
        answer.recv().unwrap_or(Err(Refused::Stopping))
    }
}
