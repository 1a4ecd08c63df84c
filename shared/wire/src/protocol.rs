//! The messages between the supervisor and one worker.
//!
//! ```text
//! worker:      Bootstrap (its two channels) → Hello → Ready | Refused → Batch …
//! supervisor:                                 Job   → Slice … [Flush]  → Drain
//! ```
//! The worker ends when its channel does: it never outlives its supervisor.

use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender};
use serde::{Deserialize, Serialize};

use crate::record::ErrorKind;

/// Version of this conversation; goes up when a message changes its meaning.
pub const PROTOCOL: u32 = 2;

/// First and only message on the one-shot server: the ends the supervisor keeps.
#[derive(Debug, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Carries [`ToWorker`].
    pub to_worker: IpcBytesSender,
    /// Carries [`FromWorker`].
    pub from_worker: IpcBytesReceiver,
}

/// Supervisor → worker. `J` describes a job; nothing here looks into it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToWorker<J> {
    /// What to do with the targets that follow; sent once.
    Job(Box<J>),
    /// More targets.
    Slice(Slice),
    /// Nothing is left to follow for now: a program that keeps answers back should be made to give them.
    Flush,
    /// Finish what has begun, drop what has not, send what is finished, exit 0.
    Drain,
}

/// The unit of work sent over IPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// In the order in which they should begin.
    pub targets: Vec<Target>,
}

/// One input, as handed to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The input's position, from 0.
    pub id: u64,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Whether a failure that may pass (a timeout, a 503) comes back as [`Verdict::Retry`].
    pub may_retry: bool,
    /// The URL, path or lines, byte for byte as they were given.
    #[serde(with = "serde_bytes")]
    pub input: Vec<u8>,
    /// What is carried along into its record, as an encoded JSON object; empty is nothing.
    #[serde(with = "serde_bytes")]
    pub kept: Vec<u8>,
}

/// Worker → supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromWorker {
    /// I am up; compare builds before sending me anything.
    Hello(Hello),
    /// The job can be done; send slices. Names what of the sandbox is in force.
    Ready {
        /// For the summary: `landlock, seccomp`, or `off`.
        sandbox: String,
    },
    /// The job cannot be done by this worker or any other: why.
    Refused(String),
    /// The job cannot go on, in this worker or any other: why.
    GaveUp(String),
    /// A line for the user, from the program that runs in this worker.
    Said(String),
    /// Results.
    Batch(Batch),
}

/// Who is on the other end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`] of the worker.
    pub protocol: u32,
    /// The build of the worker; both processes must be of the same.
    pub build: String,
    /// Its process id.
    pub pid: u32,
}

/// Results, and the credit that goes back with them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Slices this worker has read off its channel so far.
    pub slices_read: u64,
    /// One entry per finished attempt, in the order of `lines`.
    pub outcomes: Vec<Outcome>,
    /// The encoded records, one after the other; `Outcome::line_bytes` cuts them apart.
    #[serde(with = "serde_bytes")]
    pub lines: Vec<u8>,
}

/// How one attempt at one target ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The target's id.
    pub id: u64,
    /// How it ended.
    pub verdict: Verdict,
    /// Body bytes read.
    pub bytes: u64,
    /// When the attempt began, in microseconds since the job began.
    pub started_us: u64,
    /// How long it took, in microseconds.
    pub elapsed_us: u64,
    /// How much of that was this process computing, in microseconds; the rest was waiting.
    pub cpu_us: u64,
    /// How its records ended, when it was a stretch of lines or a program had a part in it.
    pub endings: Option<Endings>,
    /// Length of its line in [`Batch::lines`]; 0 when there is none ([`Verdict::Retry`]).
    pub line_bytes: u64,
}

/// How one attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// A record with fields.
    Ok,
    /// A record with an error; final.
    Failed(ErrorKind),
    /// No record yet: this may pass.
    Retry {
        /// What would have been the record's error.
        kind: ErrorKind,
        /// What the server asked for in `Retry-After`, in milliseconds from now.
        after_ms: Option<u64>,
    },
}

/// How the records of one target ended, one by one, when there may be several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endings {
    /// Records with a value.
    pub ok: u64,
    /// Lines that are no JSON.
    pub parse: u64,
    /// Lines that the program failed on.
    pub child: u64,
    /// Those of them that it died on, or did not answer, on every attempt.
    pub quarantined: u64,
    /// Attempts after which a line was tried again.
    pub retries: u64,
}

impl Endings {
    /// Records in all.
    #[must_use]
    pub const fn records(&self) -> u64 {
        self.ok + self.parse + self.child
    }
}
