//! What the state loop can be asked to do, and how it refuses.

use std::path::PathBuf;

use crossbeam_channel::Sender;
use serde::{Deserialize, Serialize};

use crate::view::{JobId, JobView};

/// A change that somebody wants. The answer goes into `reply`; who asked may be gone by then.
#[derive(Debug)]
pub enum Ask {
    /// Take in a job.
    Submit(Box<Submission>, Sender<Result<Submitted, Refused>>),
    /// Do something with a job.
    Act(JobId, Verb, Sender<Result<JobView, Refused>>),
    /// Have so many workers; `None` is one for each CPU. Answers with the number.
    Scale(Option<u32>, Sender<Result<u32, Refused>>),
}

/// What came of a submission.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// The job.
    pub job: JobView,
    /// Whether it was there already, by its idempotency key.
    pub known: bool,
}

/// What can be done with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Finish what is in flight, then wait; from `queued`, too.
    Pause,
    /// Go on with a paused job.
    Resume,
    /// Finish what is in flight, keep the records, never go on.
    Cancel,
    /// A new job of the inputs that failed in this one, which must have ended; answers with the new job.
    RetryFailed,
    /// Forget an ended job and its records.
    Remove,
}

/// A job on its way in. Its uploads lie in a directory of the state directory, which becomes the job's.
#[derive(Debug)]
pub struct Submission {
    /// The job document: keys are the flags' long names, as in a job file; `command` says which command.
    /// Besides those `name` (text), `priority` (−100 to 100; higher goes first).
    pub document: serde_json::Map<String, serde_json::Value>,
    /// Files that came along.
    pub uploads: Vec<Upload>,
    /// Makes sure that a submission sent twice is one job.
    pub idempotency: Option<Idempotency>,
    /// Who sent it, for the log: `uid 1000, pid 4711` or an address.
    pub sender: String,
}

/// A file that came with a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Where it lies, on the file system of the state directory.
    pub path: PathBuf,
    /// What the sender calls it; its extension says what it holds. No directories in it.
    pub name: String,
}

/// A submission's key and what was sent under it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// The key, as sent.
    pub key: String,
    /// A digest of the document and the uploads: the same key with another is refused.
    pub digest: [u8; 32],
}

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such job.
    #[error("there is no job {0}")]
    NoJob(JobId),
    /// The job is in a state in which that makes no sense.
    #[error("{0}")]
    Conflict(String),
    /// The document is wrong, or not allowed here.
    #[error("{0}")]
    Invalid(String),
    /// An idempotency key was used for something else.
    #[error("this Idempotency-Key was used for another job")]
    KeyReused,
    /// The queue is full.
    #[error("{0} jobs are waiting already, which is the most there may be")]
    Full(u64),
    /// The state directory cannot be written.
    #[error("cannot store the job: {0}")]
    Storage(String),
    /// The service is stopping.
    #[error("the service is stopping")]
    Stopping,
}
