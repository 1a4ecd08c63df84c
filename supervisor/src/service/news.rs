//! What the state loop hears from the threads that work for it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crossbeam_channel::Sender;
use serde_json::{Map, Value};
use shared::job::Mode;
use shared::record::ErrorKind;
use supervisor_core::frontier::HostLook;
use supervisor_core::gather::Latencies;
use supervisor_core::pool::Notice;

use super::ask::{Idempotency, Refused, Submitted};
use crate::runtime::{Signal, WorkerLook};
use crate::summary::{LatencyMs, Summary};
use crate::view::{JobCounts, JobId, JobView};

/// One piece of news.
#[derive(Debug)]
pub(super) enum News {
    /// A pool of this job began, in this mode, with a use for so many workers.
    Began(JobId, Mode, u32),
    /// It has so many processes now.
    Processes(JobId, u32),
    /// How far it is.
    Seen(JobId, Box<Sight>),
    /// A line for a person.
    Said(JobId, Notice),
    /// It is over; its directory has so many bytes.
    Ended(JobId, Box<How>, u64),
    /// A job is ready to be taken in, or is refused.
    Prepared(Result<Box<Prepared>, Refused>, Reply),
    /// The system told this process.
    Signal(Signal),
}

/// Who waits for the job to be taken in.
#[derive(Debug)]
pub(super) enum Reply {
    /// Whoever submitted it.
    Submitted(Sender<Result<Submitted, Refused>>),
    /// Whoever wants failed inputs to be tried again.
    Retried(Sender<Result<JobView, Refused>>),
}

impl Reply {
    /// Nothing comes of it.
    pub(super) fn refuse(self, why: Refused) {
        // Whoever asked may be gone.
        match self {
            Self::Submitted(reply) => drop(reply.send(Err(why))),
            Self::Retried(reply) => drop(reply.send(Err(why))),
        }
    }

    /// It is taken in, or was before.
    pub(super) fn accept(self, job: JobView, known: bool) {
        match self {
            Self::Submitted(reply) => drop(reply.send(Ok(Submitted { job, known }))),
            Self::Retried(reply) => drop(reply.send(Ok(job))),
        }
    }
}

/// How far a job is.
#[derive(Debug)]
pub(super) struct Sight {
    pub(super) counts: JobCounts,
    pub(super) errors: BTreeMap<ErrorKind, u64>,
    pub(super) latency_ms: Option<LatencyMs>,
    pub(super) latencies: Latencies,
    pub(super) items_per_s: f64,
    pub(super) eta_s: Option<f64>,
    pub(super) restarts: u64,
    pub(super) hosts: Vec<HostLook>,
    pub(super) workers: Vec<WorkerLook>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct JobResult {
    pub(super) counts: JobCounts,
    pub(super) errors: BTreeMap<ErrorKind, u64>,
    pub(super) summary: Option<Summary>,
    /// Of the inputs that this run did.
    pub(super) latencies: Latencies,
}

/// How it ended.
#[derive(Debug)]
pub(super) enum How {
    /// Every input has its record; with this exit code.
    Done(JobResult, u8),
    /// It was asked to stop; what was done is kept.
    Stopped(JobResult),
    /// It cannot be done; with what was done in spite of it, if it got as far as to begin.
    Failed(String, Option<JobResult>),
    /// It could not go on with things as they are (a full disk), and can later.
    Blocked(String),
}

/// A job that can be taken in.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) document: Map<String, Value>,
    pub(super) command: &'static str,
    pub(super) name: Option<String>,
    pub(super) priority: i32,
    /// The directory that becomes the job's, if it has uploads.
    pub(super) incoming: Option<PathBuf>,
    /// Within it.
    pub(super) uploads: Vec<PathBuf>,
    pub(super) idempotency: Option<Idempotency>,
    pub(super) retry_of: Option<JobId>,
    pub(super) sender: String,
}
