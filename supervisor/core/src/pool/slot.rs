//! One slot: which process sits in it and how far that process is.
//!
//! ```text
//! Spawning → Handshaking → Serving → Draining → Terminating → Killing → (dead)
//!     ↑                                                                   │
//!     └─────────────────────────── Backoff ←──────────────────────────────┤
//!                                              Stopped | Failed ←─────────┘
//! ```
//! `Serving` is both of the design's `Ready` and `Busy`: which one is whether
//! anything is held. A death can come in every state; it counts only once the
//! channel has ended *and* the process is reaped, since until then word from
//! it may still arrive.
//!
//! One slot may have several processes: the one in its seat, a successor that
//! gets ready to take it, and those that left it and finish what they have begun.
//! What becomes of a death is decided by the [`Role`].

use std::collections::VecDeque;
use std::time::Instant;

use wire::protocol::Target;

use super::credit::Credit;
use super::seat::{Death, Seat};

/// How far the process in a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Asked for; the runtime has not said that it runs.
    Spawning(Instant),
    /// Runs; has not said that it is ready for the job.
    Handshaking(Instant),
    /// Ready or busy.
    Serving,
    /// Told to finish what it has begun.
    Draining(Instant),
    /// Told to end, by us or by its own closing of the channel.
    Terminating(Instant),
    /// Killed; waiting for the kernel.
    Killing(Instant),
    /// Dead, to be started again then.
    Backoff(Instant),
    /// Dead, and not needed any more.
    Stopped,
    /// Dead, with the pool having given up.
    Failed,
}

impl State {
    /// When this state has lasted too long.
    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Spawning(at)
            | Self::Handshaking(at)
            | Self::Draining(at)
            | Self::Terminating(at)
            | Self::Killing(at)
            | Self::Backoff(at) => Some(at),
            Self::Serving | Self::Stopped | Self::Failed => None,
        }
    }

    /// Whether a process is (or may be) there.
    pub(crate) fn has_process(self) -> bool {
        match self {
            Self::Spawning(_)
            | Self::Handshaking(_)
            | Self::Serving
            | Self::Draining(_)
            | Self::Terminating(_)
            | Self::Killing(_) => true,
            Self::Backoff(_) | Self::Stopped | Self::Failed => false,
        }
    }
}

/// What a process is to its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It sits in the seat: it is given targets, and the seat is filled again when it dies.
    Seated,
    /// It gets ready to take the seat of one that is still at work.
    Successor,
    /// Its seat is taken, or gone: nobody follows it.
    Leaving,
}

/// Why the supervisor ended a worker itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It stood still, or one target was past its deadline. The target that was to blame, if known.
    Hang(Option<u64>),
    /// It broke the protocol, never finished its handshake, or the run is over: nobody is to blame.
    Blameless,
}

/// A target that was handed out, and by when it must be back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Watch {
    pub(crate) id: u64,
    /// The same target may come to the same worker again, with another deadline.
    pub(crate) attempt: u32,
    /// Not set while it waits inside the worker for its turn.
    pub(crate) deadline: Option<Instant>,
}

/// One slot, with the process that sits in it; or another process of such a slot.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) seat: Seat,
    pub(crate) role: Role,
    pub(crate) state: State,
    pub(crate) credit: Credit,
    /// Targets of the slice being put together.
    pub(crate) slice: Vec<Target>,
    pub(crate) slice_bytes: usize,
    /// Whether it knows that nothing follows what it has.
    pub(crate) flushed: bool,
    /// What was handed out, in order; entries outlive their targets until the next sample.
    pub(crate) watches: VecDeque<Watch>,
    /// Whether it has said hello and was told the job.
    pub(crate) greeted: bool,
    /// Whether the channel of this generation has ended.
    pub(crate) eof: bool,
    /// What was found when this generation was reaped.
    pub(crate) death: Option<Death>,
    /// Why we ended it, if we did.
    pub(crate) ended: Option<Ended>,
    /// When this generation became ready.
    pub(crate) ready_at: Option<Instant>,
    /// Starts in a row that led to nothing.
    pub(crate) failures: u32,
    /// The progress counter when it last moved, and when that was.
    pub(crate) progress: (u64, Instant),
    /// When the black box was last read.
    pub(crate) sampled_at: Option<Instant>,
    /// What it may still bring back before it is worn, if that is limited.
    pub(crate) lifetime: Option<u64>,
    /// The smallest resident set that was seen since it got ready.
    pub(crate) rss_baseline_bytes: Option<u64>,
    /// Since when it is to be replaced by a fresh process.
    pub(crate) worn_since: Option<Instant>,
}

impl Slot {
    pub(crate) fn new(seat: Seat, role: Role, now: Instant, credit: Credit, deadline: Instant) -> Self {
        Self {
            seat,
            role,
            state: State::Spawning(deadline),
            credit,
            slice: Vec::new(),
            slice_bytes: 0,
            flushed: false,
            watches: VecDeque::new(),
            greeted: false,
            eof: false,
            death: None,
            ended: None,
            ready_at: None,
            failures: 0,
            progress: (0, now),
            sampled_at: None,
            lifetime: None,
            rss_baseline_bytes: None,
            worn_since: None,
        }
    }

    /// Whether this slot takes targets or soon will: what fair shares are counted by.
    pub(crate) fn takes_part(&self) -> bool {
        match self.state {
            State::Serving => true,
            State::Spawning(_) | State::Handshaking(_) => self.seat.generation == 1,
            State::Draining(_)
            | State::Terminating(_)
            | State::Killing(_)
            | State::Backoff(_)
            | State::Stopped
            | State::Failed => false,
        }
    }
}
