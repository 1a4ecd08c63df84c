//! What goes into the pool and what comes out: events, commands, and what
//! became of each outcome. Plain data; nothing here decides anything.

use std::time::Duration;

use wire::black_box::Reading;
use wire::protocol::Slice;
use wire::record::{ErrorKind, Evidence};

use super::seat::{Death, Seat};

/// What the outside world did.
#[derive(Debug, Clone)]
pub enum Event {
    /// The process of this seat runs.
    Spawned(Seat),
    /// It could not be started.
    SpawnFailed(Seat, String),
    /// It said hello, from the right build.
    Hello(Seat),
    /// It took the job.
    Ready(Seat),
    /// It cannot do the job, and no other worker could: why.
    Refused(Seat, String),
    /// It took the job and found that it cannot be done, here or elsewhere: why.
    GaveUp(Seat, String),
    /// It sent what no worker of ours sends.
    Garbled(Seat, String),
    /// Its channel has ended: nothing more will come from it.
    Eof(Seat),
    /// It is gone and reaped.
    Reaped(Seat, Death),
    /// Its black box, and `CLOCK_MONOTONIC` in microseconds when it was read.
    Sampled(Seat, Reading, u64),
    /// The workers were not listened to for this long, until now, because the output was blocked:
    /// their time stands still meanwhile, or they would be called hung for our own slowness. To be
    /// told, in pieces, before each [`Pool::handle_timeout`](super::Pool::handle_timeout) while this lasts, and once when it is
    /// over, before what was waiting is told.
    Suspended(Duration),
    /// No more targets will be submitted.
    SourceEnded,
    /// Replace every worker by a fresh one, one at a time.
    Roll,
    /// One worker more.
    Grow,
    /// One worker less.
    Shrink,
    /// Finish what is in flight, begin nothing new.
    Drain,
    /// End every worker now.
    Kill,
}

/// What the outside world is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Start a process for this seat.
    Spawn(Seat),
    /// Tell it the job.
    SendJob(Seat),
    /// Give it targets.
    SendSlice(Seat, Slice),
    /// Tell it that nothing follows what it has.
    SendFlush(Seat),
    /// Tell it to finish and exit.
    SendDrain(Seat),
    /// SIGTERM to its process group.
    Terminate(Seat),
    /// SIGKILL to its process group.
    Kill(Seat),
    /// Read its black box.
    Sample(Seat),
    /// It is dead and settled: forget its handles.
    Forget(Seat),
    /// Write the record of a target that is set aside.
    Quarantine(Box<Quarantined>),
    /// Tell the user.
    Notice(Notice),
}

/// A line for a person, and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The line.
    pub text: String,
    /// Whether something went wrong.
    pub is_trouble: bool,
    /// The slot of the worker that it is about.
    pub slot: Option<u32>,
    /// The target that is to blame.
    pub target: Option<u64>,
}

impl Notice {
    /// About no worker in particular.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_trouble: false, slot: None, target: None }
    }

    /// Something went wrong with this worker; `target` is to blame, if any is.
    #[must_use]
    pub fn trouble(seat: Seat, target: Option<u64>, text: impl Into<String>) -> Self {
        Self { text: text.into(), is_trouble: true, slot: Some(seat.slot), target }
    }
}

/// A target that is set aside for good, with what is known about why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The input's position.
    pub id: u64,
    /// The input.
    pub input: Vec<u8>,
    /// What is carried along into its record.
    pub kept: Vec<u8>,
    /// Attempts made.
    pub attempts: u32,
    /// The slot of the last worker that died on it.
    pub slot: u32,
    /// `worker_crash`, `worker_hang` or `worker_oom`.
    pub kind: ErrorKind,
    /// One sentence.
    pub message: String,
    /// The evidence of the last death.
    pub evidence: Evidence,
}

/// What became of one outcome that a worker reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Its line is the target's record.
    Final,
    /// It will be tried again; there is no line.
    Retried,
    /// The worker does not hold this target (any more): its line is dropped.
    Stale,
}
