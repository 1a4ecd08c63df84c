//! One slot: its process, and the state of that process.
//!
//! ```text
//! Spawning → Handshaking → Serving → Draining → Terminating → Killing → (dead)
//!     ↑                                                                   │
//!     └─────────────────────────── Backoff ←──────────────────────────────┤
//!                                              Stopped | Failed ←─────────┘
//! ```
//! `Serving` covers both "ready" and "busy"; the difference is whether anything is held. A process can die in
//! every state. Its death counts only once the channel has ended *and* the process is reaped, because until then
//! messages from it may still arrive.
//!
//! One slot may have several processes: the one in its seat, a successor that is starting, and those that left
//! the seat and finish what they have begun. The [`Role`] decides what a death means.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::time::Instant;

use rustc_hash::FxHashMap;

use wire::protocol::Target;

use super::credit::Credit;
use super::seat::{Death, Seat};
use crate::frontier::HostId;

/// The state of the process in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Requested; the runtime has not confirmed the start.
    Spawning(Instant),
    /// Running; not yet ready for the job.
    Handshaking(Instant),
    /// Ready or busy.
    Serving,
    /// Told to finish what it has begun.
    Draining(Instant),
    /// Ending: it was sent SIGTERM, or closed its channel.
    Terminating(Instant),
    /// Killed; not reaped yet.
    Killing(Instant),
    /// Dead; starts again at this instant.
    Backoff(Instant),
    /// Dead, and no longer needed.
    Stopped,
    /// Dead, and the pool gave up.
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

    /// Whether a process exists, or may exist.
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

/// The role of a process in its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Holds the seat: it gets targets, and the seat is filled again when it dies.
    Seated,
    /// Starting, to take the seat of a process that is still at work.
    Successor,
    /// Its seat is taken or removed; it is not replaced.
    Leaving,
}

/// Why the supervisor ended a worker itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It made no progress, or a target was past its deadline. Holds the target to blame, if known.
    Hang(Option<u64>),
    /// It broke the protocol. The target that its black box names is to blame.
    Forged,
    /// It said that it cannot go on. The target that its black box names, if any, is to blame.
    GaveUp,
    /// It never finished its handshake, or the run is over. No target is to blame.
    Blameless,
}

/// A target that was handed out, and its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Watch {
    pub(crate) id: u64,
    /// How many targets the worker was handed before it.
    pub(crate) number: u64,
    /// Tells attempts apart: the same target may come to the same worker again, with another
    /// deadline.
    pub(crate) attempt: u32,
    /// Not set while the target waits in the worker for its turn.
    pub(crate) deadline: Option<Instant>,
}

/// Targets that have overtaken another one, at least, for that one to count as asleep.
const OVERTAKEN_MIN: u64 = 16;

/// The CPU time of one worker at its last sample, and how busy it was before that.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CpuUse {
    cpu_us: u64,
    at_us: u64,
    share: Option<f64>,
}

impl CpuUse {
    /// Records its CPU time at this instant of `CLOCK_MONOTONIC`.
    pub(crate) fn sample(&mut self, cpu_us: u64, at_us: u64) {
        let elapsed_us = at_us.saturating_sub(self.at_us);
        let used_us = cpu_us.saturating_sub(self.cpu_us);
        let latest = (self.at_us > 0 && elapsed_us > 0).then(|| used_us as f64 / elapsed_us as f64);
        // Half old, half new: targets that began together also compute together.
        let share = latest.map(|latest| self.share.map_or(latest, |share| (share + latest) / 2.0));
        *self = Self { cpu_us, at_us, share };
    }

    /// Share of a core that it used, once two samples were taken.
    pub(crate) fn share(&self) -> Option<f64> {
        self.share
    }
}

/// One slot with the process in its seat, or another process of that slot.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) seat: Seat,
    pub(crate) role: Role,
    pub(crate) state: State,
    pub(crate) credit: Credit,
    /// Targets of the slice that is being built.
    pub(crate) slice: Vec<Target>,
    pub(crate) slice_bytes: usize,
    /// Whether it was told that no more targets follow.
    pub(crate) flushed: bool,
    /// Targets handed out, in order. Entries outlive their targets until the next sample.
    pub(crate) watches: VecDeque<Watch>,
    /// Targets handed out to this process.
    pub(crate) handed: u64,
    /// How many targets of each host it holds.
    pub(crate) hosts: FxHashMap<HostId, u32>,
    /// Of what it holds, what is with a slow host, as of the last sample.
    pub(crate) asleep: usize,
    /// Whether it has said hello and was sent the job.
    pub(crate) greeted: bool,
    /// Whether the channel of this generation has ended.
    pub(crate) eof: bool,
    /// What was found when this generation was reaped.
    pub(crate) death: Option<Death>,
    /// Why the supervisor ended it, if it did.
    pub(crate) ended: Option<Ended>,
    /// The same in words, where the end of its process says less.
    pub(crate) why: Option<String>,
    /// Whether it broke the protocol, so that none of its results counts any more.
    pub(crate) is_distrusted: bool,
    /// When this generation became ready.
    pub(crate) ready_at: Option<Instant>,
    /// Failed starts in a row.
    pub(crate) failures: u32,
    /// The progress counter when it last moved, and when that was.
    pub(crate) progress: (u64, Instant),
    /// When the black box was last read.
    pub(crate) sampled_at: Option<Instant>,
    /// Targets it may still finish before it is worn, if that is limited.
    pub(crate) lifetime: Option<u64>,
    /// The smallest resident set seen since it became ready.
    pub(crate) rss_baseline_bytes: Option<u64>,
    /// When it was marked for replacement.
    pub(crate) worn_since: Option<Instant>,
    /// How busy it is.
    pub(crate) cpu_use: CpuUse,
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
            handed: 0,
            hosts: FxHashMap::default(),
            asleep: 0,
            greeted: false,
            eof: false,
            death: None,
            ended: None,
            why: None,
            is_distrusted: false,
            ready_at: None,
            failures: 0,
            progress: (0, now),
            sampled_at: None,
            lifetime: None,
            rss_baseline_bytes: None,
            worn_since: None,
            cpu_use: CpuUse::default(),
        }
    }

    /// Inputs that it holds and that will keep it busy soon.
    pub(crate) fn awake(&self) -> usize {
        self.credit.load().inputs.saturating_sub(self.asleep)
    }

    /// Targets of this host that it holds.
    pub(crate) fn of_host(&self, host: HostId) -> u32 {
        self.hosts.get(&host).copied().unwrap_or(0)
    }

    /// Counts a target of this host that it was handed.
    pub(crate) fn takes(&mut self, host: HostId) {
        if host != HostId::NONE {
            *self.hosts.entry(host).or_default() += 1;
        }
    }

    /// Counts that it no longer holds a target of this host.
    pub(crate) fn gives_back(&mut self, host: HostId) {
        if let Entry::Occupied(mut held) = self.hosts.entry(host) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
    }

    /// Starts to watch a target that is handed out.
    pub(crate) fn watch(&mut self, id: u64, attempt: u32, deadline: Option<Instant>) {
        self.watches.push_back(Watch { id, number: self.handed, attempt, deadline });
        self.handed += 1;
    }

    /// Counts what waits for a slow host: targets that were overtaken by as many others as this worker holds. To be
    /// old is not enough, because all targets of a worker that cannot keep up are.
    pub(crate) fn count_asleep(&mut self) {
        let held = self.watches.len() as u64;
        let enough = held.max(OVERTAKEN_MIN);
        let later = |(place, watch): (u64, &Watch)| (self.handed - watch.number, held - place);
        let lengths = (0..).zip(&self.watches).map(later);
        self.asleep = lengths.filter(|(handed, held)| handed.saturating_sub(*held) >= enough).count();
    }

    /// Whether this slot gets targets now or soon. Fair shares are computed from these slots.
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
