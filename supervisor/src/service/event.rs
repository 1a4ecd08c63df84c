//! Events that the state loop receives from its threads.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crossbeam_channel::Sender;
use serde_json::{Map, Value};
use shared::job::Mode;
use shared::record::ErrorKind;
use supervisor_core::frontier::HostSnapshot;
use supervisor_core::gather::Latencies;
use supervisor_core::pool::Notice;

use super::request::{Idempotency, Refused, Submitted};
use crate::runtime::{Signal, WorkerSnapshot};
use crate::summary::{LatencyMs, PerProxy, Summary};
use crate::view::{JobCounts, JobId, JobView};

/// An event.
#[derive(Debug)]
pub(super) enum Event {
    /// A pool of a job started, in this mode, with work for this many workers.
    Started(JobId, Mode, u32),
    /// The number of processes of a job changed.
    Processes(JobId, u32),
    /// The progress of a job.
    Progress(JobId, Box<JobProgress>),
    /// A message about a job.
    Notice(JobId, Notice),
    /// A job's run ended; the number is the size of its directory in bytes.
    Ended(JobId, Box<JobEnd>, u64),
    /// The held records of a job that is not resumed were appended to its output, which has this many bytes now if
    /// there were any.
    Released(JobId, Result<Option<u64>, Refused>),
    /// A submitted job is checked and on disk, or refused.
    Prepared(Result<Box<Prepared>, Refused>, Reply),
    /// A signal arrived.
    Signal(Signal),
}

/// Where to send the answer about a submitted job.
#[derive(Debug)]
pub(super) enum Reply {
    /// To the sender of a submission.
    Submitted(Sender<Result<Submitted, Refused>>),
    /// To the sender of a `retry-failed`.
    Retried(Sender<Result<JobView, Refused>>),
}

impl Reply {
    /// Answers that the job is refused.
    pub(super) fn refuse(self, why: Refused) {
        // The requester may be gone.
        match self {
            Self::Submitted(reply) => drop(reply.send(Err(why))),
            Self::Retried(reply) => drop(reply.send(Err(why))),
        }
    }

    /// Answers that the job is accepted, or was before.
    pub(super) fn accept(self, job: JobView, known: bool) {
        match self {
            Self::Submitted(reply) => drop(reply.send(Ok(Submitted { job, known }))),
            Self::Retried(reply) => drop(reply.send(Ok(job))),
        }
    }
}

/// The progress of a job.
#[derive(Debug)]
pub(super) struct JobProgress {
    pub(super) counts: JobCounts,
    pub(super) errors: BTreeMap<ErrorKind, u64>,
    pub(super) latency_ms: Option<LatencyMs>,
    pub(super) latencies: Latencies,
    pub(super) items_per_s: f64,
    pub(super) eta_s: Option<f64>,
    pub(super) restarts: u64,
    pub(super) hosts: Vec<HostSnapshot>,
    pub(super) proxies: Vec<PerProxy>,
    pub(super) workers: Vec<WorkerSnapshot>,
}

/// The result of a run.
#[derive(Debug, Default)]
pub(super) struct JobResult {
    pub(super) counts: JobCounts,
    pub(super) errors: BTreeMap<ErrorKind, u64>,
    pub(super) summary: Option<Summary>,
    /// Latencies of the inputs that this run processed.
    pub(super) latencies: Latencies,
}

/// How a run ended.
#[derive(Debug)]
pub(super) enum JobEnd {
    /// Every input has a record; with the exit code.
    Done(JobResult, u8),
    /// The run was asked to stop; its records are kept.
    Stopped(JobResult),
    /// The job cannot be done; with the partial result, if it started.
    Failed(String, Option<JobResult>),
    /// The run cannot continue now, for example because the disk is full, but may later.
    Blocked(String),
    /// The run lacks descriptors, which others will close.
    Short(String),
}

/// A job that is ready to be accepted.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) document: Map<String, Value>,
    pub(super) command: &'static str,
    pub(super) name: Option<String>,
    pub(super) priority: i32,
    /// The directory of its uploads, if any, which becomes the job's.
    pub(super) incoming: Option<PathBuf>,
    /// The uploads, as paths within `incoming`.
    pub(super) uploads: Vec<PathBuf>,
    pub(super) idempotency: Option<Idempotency>,
    pub(super) retry_of: Option<JobId>,
    pub(super) sender: String,
}
