//! The visible state of the service, in exactly the shapes of the API (docs/API.md). Times are RFC
//! 3339 in UTC; durations have their unit in their name.

use std::collections::BTreeMap;
use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use shared::job::Mode;
use shared::record::ErrorKind;
use utoipa::ToSchema;

use crate::summary::{LatencyMs, PerProxy, Summary};

/// Id of a job: from 1, in the order of submission, never reused.
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

/// State of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Waiting for workers.
    Queued,
    /// Running.
    Running,
    /// Paused by the user until resumed.
    Paused,
    /// Finishing the inputs in flight. Then it is paused or cancelled, or continues after a restart
    /// of the service.
    Draining,
    /// Every input has its record.
    Done,
    /// The job could not be done; `error` says why.
    Failed,
    /// Cancelled by the user; the finished records are kept.
    Cancelled,
}

impl JobState {
    /// Whether workers are assigned to it, or were when the service ended.
    #[must_use]
    pub const fn is_at_work(self) -> bool {
        matches!(self, Self::Running | Self::Draining)
    }

    /// The name used in the API.
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

    /// Whether the job is over: it neither continues by itself nor can be resumed.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// An action on a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobAction {
    /// Finish the targets in flight, then pause. Also applies to queued jobs.
    Pause,
    /// Continue a paused job.
    Resume,
    /// Finish the targets in flight, keep the records, and end the job.
    Cancel,
    /// Submit a new job with the failed inputs of this one, which must have ended. The answer is the new job.
    RetryFailed,
    /// Delete an ended job and its records.
    Remove,
}

/// Progress of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobCounts {
    /// Total number of inputs, once all have been read. Before that an estimate, or null.
    pub total: Option<u64>,
    /// Whether `total` is exact.
    pub total_exact: bool,
    /// Inputs with a record; for `csv`, rows.
    pub done: u64,
    /// Inputs done without an error.
    pub ok: u64,
    /// Inputs done with an error, including quarantined ones.
    pub failed: u64,
    /// Inputs quarantined because their worker died on every attempt.
    pub quarantined: u64,
    /// Attempts that were followed by another one.
    pub retries: u64,
    /// Requests that servers refused (429, 503) since the job last started.
    #[serde(default)]
    pub refused: u64,
    /// Body bytes read.
    pub bytes: u64,
    /// Inputs begun and not done.
    pub in_flight: u64,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// Id of the job.
    pub id: JobId,
    /// Name given by the user.
    pub name: Option<String>,
    /// `fetch`, `parse`, `map` or `csv`.
    pub command: String,
    /// State of the job.
    pub state: JobState,
    /// Jobs with a higher priority start first.
    pub priority: i32,
    /// Time of submission.
    pub submitted_at: String,
    /// Time at which it first got workers.
    pub started_at: Option<String>,
    /// Time at which it ended.
    pub finished_at: Option<String>,
    /// Progress of the job.
    pub counts: JobCounts,
    /// Current number of worker processes.
    pub workers: u32,
    /// The execution mode, once it is decided.
    #[schema(value_type = Option<String>)]
    pub mode: Option<Mode>,
    /// Inputs per second, over the last few seconds.
    pub items_per_s: f64,
    /// Estimated seconds until it is done, if known.
    pub eta_s: Option<f64>,
    /// Latency of the inputs so far.
    pub latency_ms: Option<LatencyMs>,
    /// Failed records by kind.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub errors: BTreeMap<ErrorKind, u64>,
    /// The exit code that the same run on the command line would have had; set once the job has
    /// ended.
    pub exit_code: Option<u8>,
    /// Why the job failed.
    pub error: Option<String>,
    /// Id of the job whose failed inputs these are.
    pub retry_of: Option<JobId>,
    /// Its proxies while it runs, at most 32: those that fail before others, then those that were used most. Absent if
    /// there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proxies: Vec<PerProxy>,
    /// Summary, once the job has ended.
    pub summary: Option<Summary>,
}

/// State of a worker process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    /// Not ready yet.
    Starting,
    /// Ready, without a job.
    Idle,
    /// Working on a job.
    Busy,
    /// Finishing what it has begun, before it is replaced or removed.
    Leaving,
}

/// A worker process, according to its black box.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkerView {
    /// Process id.
    pub pid: u32,
    /// State of the process.
    pub state: WorkerState,
    /// Id of its job.
    pub job: Option<JobId>,
    /// Slot within that job.
    pub slot: Option<u32>,
    /// Inputs begun and not done.
    pub in_flight: u64,
    /// The running stage: `fetch`, `extract`, `encode`; `idle` while all inputs wait.
    pub phase: String,
    /// The input in that stage.
    pub target: Option<u64>,
    /// How long the stage has run, in milliseconds.
    pub target_ms: Option<f64>,
    /// Resident memory.
    pub rss_bytes: u64,
    /// CPU time used so far.
    pub cpu_s: f64,
}

/// Budget of a host, over all jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HostView {
    /// Name of the host.
    pub host: String,
    /// Requests in flight.
    pub in_flight: u32,
    /// Maximum requests in flight; null if there is no limit.
    pub in_flight_max: Option<u32>,
    /// Inputs that wait for the host.
    pub waiting: u64,
    /// Remaining time of the pause that the host asked for (`Retry-After`).
    pub paused_ms: Option<u64>,
    /// Starts per second to which the host is paced because it refused requests; null if it refused none.
    #[serde(default)]
    pub pace_per_s: Option<f64>,
    /// Requests that it refused.
    #[serde(default)]
    pub refused: u64,
}

/// The service as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceView {
    /// Version of the program.
    pub version: String,
    /// Process id of the supervisor.
    pub pid: u32,
    /// Time since the start.
    pub uptime_s: f64,
    /// Configured number of workers.
    pub workers: u32,
    /// Maximum concurrent jobs.
    pub jobs_max: u32,
    /// Whether the service is stopping and refuses new jobs.
    pub stopping: bool,
    /// Resident memory of the supervisor.
    pub rss_bytes: u64,
    /// CPU time used by the supervisor so far.
    pub cpu_s: f64,
    /// Workers started to replace one that died.
    pub restarts: u64,
    /// What was missing or damaged in the state directory when the service was started, and what was made of it.
    #[serde(default)]
    pub warnings: Vec<String>,
}
