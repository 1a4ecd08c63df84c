//! What goes into the pool and what comes out: events, commands, and the disposition of each
//! outcome. Plain data, no decisions.

use std::time::Duration;

use wire::black_box::Reading;
use wire::protocol::Slice;
use wire::record::{ErrorKind, Evidence};

use super::repeats::Rejected;
use super::seat::{Death, Seat};
use crate::load::total::Room;

/// Something that happened outside the pool.
#[derive(Debug, Clone)]
pub enum Event {
    /// The process of this seat was started.
    Spawned(Seat),
    /// The process could not be started: why.
    SpawnFailed(Seat, String),
    /// The worker said hello, and is from the right build.
    Hello(Seat),
    /// The worker accepted the job.
    Ready(Seat),
    /// The worker cannot do the job, and no other worker could: why.
    Refused(Seat, String),
    /// The worker accepted the job and says that it cannot go on, here or elsewhere: why.
    GaveUp(Seat, String),
    /// The worker sent a message that breaks the protocol: why.
    Malformed(Seat, String),
    /// The supervisor cannot talk to the worker, which is not the worker's fault: why.
    Unreachable(Seat, String),
    /// The worker's channel has ended: nothing more will come from it.
    Eof(Seat),
    /// The process has exited and is reaped.
    Reaped(Seat, Death),
    /// The contents of its black box, and `CLOCK_MONOTONIC` in microseconds when it was read.
    Sampled(Seat, Reading, u64),
    /// The supervisor did not read the workers' messages for this long, until now, because the
    /// output was blocked. The workers' time limits are extended by it; otherwise they would be
    /// called hung because of our own delay. While this lasts, send it, in pieces, before each
    /// [`Pool::handle_timeout`](super::Pool::handle_timeout). When it is over, send it once more
    /// before the waiting messages.
    Suspended(Duration),
    /// The records of these targets are certain: no crash has them done again.
    Settled(Vec<u64>),
    /// No more targets will be submitted.
    SourceEnded,
    /// Replace every worker with a fresh one, one at a time.
    Roll,
    /// The machine or the user allows more or less than before.
    Room(Room),
    /// Add one worker.
    Grow,
    /// Remove one worker.
    Shrink,
    /// Finish what is in flight, start nothing new.
    Drain,
    /// Kill every worker now.
    Kill,
}

/// Something that the pool wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Start a process for this seat.
    Spawn(Seat),
    /// Send it the job.
    SendJob(Seat),
    /// Send it targets.
    SendSlice(Seat, Slice),
    /// Tell it that no more targets follow.
    SendFlush(Seat),
    /// Tell it to finish and exit.
    SendDrain(Seat),
    /// Send SIGTERM to its process group.
    Terminate(Seat),
    /// Send SIGKILL to its process group.
    Kill(Seat),
    /// Read its black box.
    Sample(Seat),
    /// It is dead and settled: drop its handles.
    Forget(Seat),
    /// Write the record of a target whose outcome was [`Disposition::Held`].
    Accept(u64),
    /// Drop the record of such a target: its page counts as blocked.
    Reject(Box<Rejected>),
    /// Write the record of a quarantined target.
    Quarantine(Box<Quarantined>),
    /// Write the record of a target whose host was given up.
    Abandon(Box<Abandoned>),
    /// Show this to the user.
    Notice(Notice),
    /// A session begins: what is sent from now on belongs to it.
    BeginSession(SessionBegun),
    /// The session is logged in. Its proxy, if it keeps one.
    LoggedIn(Option<u16>),
    /// Logins fail, so the run must end: why.
    LoginFailed(String),
}

/// A session that begins with a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionBegun {
    /// Its number.
    pub number: u32,
    /// Which of the header profiles it has; 0 if there are none.
    pub profile: u16,
    /// Whether it is the first of the job, which begins with the cookies that are there.
    pub is_first: bool,
}

/// A message for the user, and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The message, one line.
    pub text: String,
    /// Whether something went wrong.
    pub is_trouble: bool,
    /// The slot of the worker concerned.
    pub slot: Option<u32>,
    /// The target to blame.
    pub target: Option<u64>,
}

impl Notice {
    /// Creates a notice about no particular worker.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_trouble: false, slot: None, target: None }
    }

    /// Creates a notice that something went wrong with this worker; `target` is to blame, if any.
    #[must_use]
    pub fn trouble(seat: Seat, target: Option<u64>, text: impl Into<String>) -> Self {
        Self { text: text.into(), is_trouble: true, slot: Some(seat.slot), target }
    }
}

/// A quarantined target, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Position of the input.
    pub id: u64,
    /// The input.
    pub input: Vec<u8>,
    /// Data carried along into its record.
    pub kept: Vec<u8>,
    /// Attempts made.
    pub attempts: u32,
    /// Slot of the last worker that died on it.
    pub slot: u32,
    /// `worker_crash`, `worker_hang` or `worker_oom`.
    pub kind: ErrorKind,
    /// Explanation, one sentence.
    pub message: String,
    /// Evidence from the last death.
    pub evidence: Evidence,
}

/// A target whose host was given up while it waited, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abandoned {
    /// Position of the input.
    pub id: u64,
    /// The input.
    pub input: Vec<u8>,
    /// Data carried along into its record.
    pub kept: Vec<u8>,
    /// Attempts made; 0 if there was none.
    pub attempts: u32,
    /// Kind of the host's last error.
    pub kind: ErrorKind,
    /// Explanation, one sentence.
    pub message: String,
}

/// What the pool did with an outcome reported by a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Its line is the target's record.
    Final,
    /// The target is tried again; there is no line.
    Retried,
    /// Its line must be kept until a command says what becomes of it.
    Held,
    /// The worker does not hold this target (any more): its line is dropped.
    Stale,
}
