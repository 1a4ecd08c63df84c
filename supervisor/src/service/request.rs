//! Requests to the state loop, and their errors.

use std::path::PathBuf;

use crossbeam_channel::Sender;
use serde::{Deserialize, Serialize};

use crate::view::{JobAction, JobId, JobView};

/// A request for a change. The answer goes to the sender in it, whose receiver may be gone by then.
#[derive(Debug)]
pub enum Request {
    /// Submit a job.
    Submit(Box<Submission>, Sender<Result<Submitted, Refused>>),
    /// Act on a job.
    Act(JobId, JobAction, Sender<Result<JobView, Refused>>),
    /// Set the number of workers; `None` means one per CPU. The answer is the number.
    Scale(Option<u32>, Sender<Result<u32, Refused>>),
}

/// The answer to a submission.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// The job.
    pub job: JobView,
    /// Whether the job existed already under the same idempotency key.
    pub known: bool,
}

/// A submitted job. Its uploads are in a directory below the state directory, which becomes the job's.
#[derive(Debug)]
pub struct Submission {
    /// The job document. Its keys are the long names of the flags, as in a job file, with `command` for the
    /// command, `name` (text) and `priority` (−100 to 100; higher starts first).
    pub document: serde_json::Map<String, serde_json::Value>,
    /// The uploaded files.
    pub uploads: Vec<Upload>,
    /// Identifies a repeated submission, which makes no second job.
    pub idempotency: Option<Idempotency>,
    /// The sender, for the log: `uid 1000, pid 4711` or an address.
    pub sender: String,
    /// Whether it is a user of this machine, who does not wait for the submissions of strangers.
    pub is_local: bool,
}

/// An uploaded file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Its path, on the file system of the state directory.
    pub path: PathBuf,
    /// The sender's name for it, without directories. Its extension gives the format.
    pub name: String,
}

/// The idempotency key of a submission, with a digest of its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// The key.
    pub key: String,
    /// A digest of the document and the uploads. The same key with another digest is refused.
    pub digest: [u8; 32],
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The job does not exist.
    #[error("no job {0}")]
    NoJob(JobId),
    /// The job's state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// The document is wrong, or this service does not allow it.
    #[error("{0}")]
    Invalid(String),
    /// The idempotency key was used for a different submission.
    #[error("this Idempotency-Key was used for a different job; use a new key")]
    KeyReused,
    /// The queue is full.
    #[error("the queue is full: {0} jobs are waiting, which is the limit (--queue-max)")]
    Full(u64),
    /// The state directory cannot be written.
    #[error("cannot store the job: {0}")]
    Storage(String),
    /// The service is stopping.
    #[error("the service is stopping")]
    Stopping,
}
