//! What can be seen of the service, in the very shapes that the API shows
//! (docs/API.md). Times are RFC 3339 in UTC, durations are in the unit of their name.

use std::collections::BTreeMap;
use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use shared::job::Mode;
use shared::record::ErrorKind;
use utoipa::ToSchema;

use crate::summary::{LatencyMs, Summary};

/// A job's number: from 1, in the order of submission, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Waiting for workers.
    Queued,
    /// At work.
    Running,
    /// Set aside by the user until resumed.
    Paused,
    /// Finishing what is in flight, to be paused, cancelled, or continued after a restart of the service.
    Draining,
    /// Every input has its record.
    Done,
    /// It could not be done: `error` says why.
    Failed,
    /// Stopped by the user for good; what was done is kept.
    Cancelled,
}

impl JobState {
    /// Whether it has, or had when the service ended, somebody at work on it.
    #[must_use]
    pub const fn is_at_work(self) -> bool {
        matches!(self, Self::Running | Self::Draining)
    }

    /// As the API says it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing will happen to it any more by itself or by `resume`.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobCounts {
    /// Inputs in all, once they have been read to the end; before that an estimate, or nothing.
    pub total: Option<u64>,
    /// Whether `total` is no estimate.
    pub total_exact: bool,
    /// Inputs with a record. For `csv` rows.
    pub done: u64,
    /// Of those, the ones without an error.
    pub ok: u64,
    /// The ones with an error, quarantined ones included.
    pub failed: u64,
    /// Set aside because their worker died on them, on every attempt.
    pub quarantined: u64,
    /// Attempts that were not the last of their input.
    pub retries: u64,
    /// Body bytes read.
    pub bytes: u64,
    /// Begun and not done.
    pub in_flight: u64,
}

/// One job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// Its number.
    pub id: JobId,
    /// What the user calls it.
    pub name: Option<String>,
    /// `fetch`, `parse`, `map` or `csv`.
    pub command: String,
    /// Where it is.
    pub state: JobState,
    /// Higher goes first.
    pub priority: i32,
    /// When it came.
    pub submitted_at: String,
    /// When it was first given workers.
    pub started_at: Option<String>,
    /// When it ended.
    pub finished_at: Option<String>,
    /// How far it is.
    pub counts: JobCounts,
    /// Worker processes it has now.
    pub workers: u32,
    /// The execution model, once it is decided.
    #[schema(value_type = Option<String>)]
    pub mode: Option<Mode>,
    /// Inputs a second, over the last few seconds.
    pub items_per_s: f64,
    /// Seconds until it is done, if that can be said.
    pub eta_s: Option<f64>,
    /// How long inputs took so far.
    pub latency_ms: Option<LatencyMs>,
    /// Failed records by kind.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub errors: BTreeMap<ErrorKind, u64>,
    /// What the same run on the command line would have exited with, once it has ended.
    pub exit_code: Option<u8>,
    /// Why it failed.
    pub error: Option<String>,
    /// The job whose failed inputs these are.
    pub retry_of: Option<JobId>,
    /// What it did, once it has ended.
    pub summary: Option<Summary>,
}

/// What a worker process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    /// Not ready yet.
    Starting,
    /// Ready, without a job.
    Idle,
    /// At a job.
    Busy,
    /// Finishing what it has begun, to be replaced or to go.
    Leaving,
}

/// One worker process, as its black box tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkerView {
    /// Its process.
    pub pid: u32,
    /// What it is doing.
    pub state: WorkerState,
    /// The job it belongs to.
    pub job: Option<JobId>,
    /// Its slot within that job.
    pub slot: Option<u32>,
    /// Inputs begun and not done.
    pub in_flight: u64,
    /// The stage that is using the CPU now: `fetch`, `extract`, `encode`; `idle` while all it has waits.
    pub phase: String,
    /// The input in that stage.
    pub target: Option<u64>,
    /// For how long, in milliseconds.
    pub target_ms: Option<f64>,
    /// Resident memory.
    pub rss_bytes: u64,
    /// CPU time so far.
    pub cpu_s: f64,
}

/// One host's budget, over all jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HostView {
    /// Its name.
    pub host: String,
    /// Requests in flight to it.
    pub in_flight: u32,
    /// Most of them; nothing is no limit.
    pub in_flight_max: Option<u32>,
    /// Inputs that wait for it.
    pub waiting: u64,
    /// For how much longer it asked to be left alone (`Retry-After`).
    pub paused_ms: Option<u64>,
}

/// The service as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceView {
    /// Of the programs.
    pub version: String,
    /// The supervisor's process.
    pub pid: u32,
    /// Since it was started.
    pub uptime_s: f64,
    /// Workers there are to be.
    pub workers: u32,
    /// Jobs that may run at once.
    pub jobs_max: u32,
    /// Whether new jobs are refused, because it is stopping.
    pub stopping: bool,
    /// The supervisor's resident memory.
    pub rss_bytes: u64,
    /// The supervisor's CPU time so far.
    pub cpu_s: f64,
    /// Workers that were started to replace one that died.
    pub restarts: u64,
    /// What was missing or damaged in the state directory when the service was started, and what was made of it.
    #[serde(default)]
    pub warnings: Vec<String>,
}
