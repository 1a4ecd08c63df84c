//! Decides what each worker slot does next, and tracks every target. Nothing here reads a clock or
//! touches a process: a bug report is a seed, and replaying it is a unit test.
//!
//! The calling contract is that of a sans-I/O protocol. Feed events with [`Pool::handle_event`],
//! [`Pool::handle_batch`] and [`Pool::submit`]. When [`Pool::poll_timeout`] has passed, call
//! [`Pool::handle_timeout`]. After each of these calls, carry out everything [`Pool::poll_command`]
//! returns. The supervisor's `runtime` module does this.

mod credit;
mod deaths;
mod dispatch;
mod ending;
mod exchange;
mod exits;
mod ledger;
mod load;
mod mutant;
mod recycle;
mod repeats;
mod resize;
mod restart;
mod results;
mod seat;
mod sessions;
mod slot;
mod timers;
mod unsettled;

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

pub use self::credit::Ahead;
pub use self::exchange::{Abandoned, Command, Disposition, Event, Notice, Quarantined, SessionBegun};
pub use self::ledger::Counts;
pub use self::repeats::{Rejected, RejectedRecord};
pub use self::restart::{HEALTHY_AFTER, restart_delay};
pub use self::seat::{Death, Exit, Seat, Standing, signal_name};
pub use self::sessions::{CoversOf, LoginHost, LoginStep, SessionStart, SessionsConfig};

use self::credit::Credit;
use self::ledger::Ledger;
use self::load::Anchor;
use self::mutant::Mutant;
use self::recycle::Recycling;
use self::repeats::Repeats;
use self::restart::Intensity;
use self::sessions::PoolSessions;
use self::slot::{Role, Slot, State};
use self::unsettled::Unsettled;
use crate::frontier::{Frontier, HostId, HostRef, HostSnapshot, Learned};
use crate::load::total::Total;
use crate::proxies::Proxies;

/// Limits of one pool.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// Number of worker processes.
    pub slots: u32,
    /// Targets that run at once in each worker.
    pub concurrency: u32,
    /// How much each worker is sent in advance.
    pub ahead: Ahead,
    /// Whether workers pass targets to a program, in order. Then only the worker knows how long
    /// each may take, and it is told when no more follow.
    pub piped: bool,
    /// Attempts after the first, for failures that may be temporary.
    pub retries: u32,
    /// Attempts that may end in a dead worker before the target is quarantined.
    pub crashes_max: u32,
    /// Timeout from fork to ready.
    pub handshake_timeout: Duration,
    /// How long the progress counter of a worker with targets may stand still before the worker
    /// counts as hung.
    pub stall_timeout: Duration,
    /// How long one CPU stage may run before its worker is terminated.
    pub stage_timeout: Duration,
    /// How long one target may take once it runs. The worker's own timeouts are much shorter.
    pub target_timeout: Duration,
    /// Time to finish what is in flight when the run is stopped.
    pub drain_grace: Duration,
    /// Time between SIGTERM and SIGKILL.
    pub terminate_grace: Duration,
    /// Number of targets after which a worker is replaced, ± 10 %.
    pub recycle_after: Option<NonZeroU64>,
    /// How far a worker's resident set may grow beyond its smallest before it is replaced.
    pub rss_allowance_bytes: Option<u64>,
    /// Whether a target that has ended keeps its place until its record is certain ([`Event::Settled`]).
    pub settles: bool,
}

impl PoolConfig {
    fn credit(&self) -> Credit {
        Credit::new(self.concurrency as usize, self.ahead)
    }
}

/// The state of the pool as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
enum PoolState {
    /// Handing out targets.
    Running,
    /// All targets are done, or a drain was requested: workers are ending.
    Ending,
    /// It cannot go on: why.
    GaveUp(String),
}

/// The pool. The module's documentation says how to drive it.
#[derive(Debug)]
pub struct Pool {
    config: PoolConfig,
    /// The seated processes, by slot number.
    slots: Vec<Slot>,
    /// Processes without a seat: the successor that is starting, and those that are leaving.
    unseated: Vec<Slot>,
    /// The last generation of every slot that ever existed.
    generations: Vec<u32>,
    recycling: Recycling,
    ledger: Ledger,
    frontier: Frontier,
    intensity: Intensity,
    state: PoolState,
    source_ended: bool,
    sample_due: Option<Instant>,
    /// When the number of workers is next compared with their load.
    load_due: Option<Instant>,
    /// The slot whose turn it is to be sampled for that.
    sample_next: usize,
    /// When the pool was last called, or when waiting was last compensated for; see
    /// [`Event::Suspended`].
    called_at: Instant,
    /// When the supervisor last continued after having been stopped itself.
    listening_since: Option<Instant>,
    commands: VecDeque<Command>,
    /// Empty; kept between batches, so that none has to allocate it.
    reported: Vec<(HostId, u8)>,
    restarts: u64,
    /// Attempts charged for a worker's death to targets that are tried again.
    charged: u64,
    rng: fastrand::Rng,
    /// Decides how much is in flight and how many workers there are, unless these are fixed.
    total: Option<Total>,
    /// Notices pages that repeat, if wanted.
    repeats: Option<Repeats>,
    /// Targets that have ended, and keep their places.
    unsettled: Unsettled,
    /// Chooses the proxies of targets, if there are any.
    proxies: Option<Box<Proxies>>,
    /// When a proxy is next tried, while none can take a target.
    proxies_due: Option<Instant>,
    /// A target that has a way, when this was last asked.
    reachable: Option<u64>,
    /// The sessions, if the job logs in.
    sessions: Option<Box<PoolSessions>>,
    /// Targets that are with slow hosts, as of the last sample.
    asleep: usize,
    /// When it may be counted again.
    watch_due: Instant,
    /// Ties instants to the clock that workers read.
    anchor: Option<Anchor>,
    #[cfg(test)]
    mutant: Option<Mutant>,
}

impl Pool {
    /// Creates a pool whose workers start at once. `seed` determines all its jitter.
    #[must_use]
    pub fn new(mut config: PoolConfig, frontier: Frontier, now: Instant, seed: u64) -> Self {
        // With no slots or no concurrency, nothing would ever happen.
        config.slots = config.slots.max(1);
        config.concurrency = config.concurrency.max(1);
        let deadline = now + config.handshake_timeout;
        let first = |slot| Seat { slot, generation: 1 };
        let slots: Vec<_> = (0..config.slots)
            .map(|n| Slot::new(first(n), Role::Seated, now, config.credit(), deadline))
            .collect();
        let commands = slots.iter().map(|slot| Command::Spawn(slot.seat)).collect();
        Self {
            intensity: Intensity::new(slots.len()),
            generations: vec![1; slots.len()],
            slots,
            unseated: Vec::new(),
            recycling: Recycling::new(now),
            ledger: Ledger::default(),
            frontier,
            state: PoolState::Running,
            source_ended: false,
            sample_due: None,
            load_due: None,
            sample_next: 0,
            called_at: now,
            listening_since: None,
            commands,
            reported: Vec::new(),
            restarts: 0,
            charged: 0,
            rng: fastrand::Rng::with_seed(seed),
            config,
            total: None,
            repeats: None,
            unsettled: Unsettled::default(),
            proxies: None,
            proxies_due: None,
            reachable: None,
            sessions: None,
            asleep: 0,
            watch_due: now,
            anchor: None,
            #[cfg(test)]
            mutant: None,
        }
    }

    /// Adds a new target, with the data carried along into its record. Returns false if a target of
    /// this id is not finished yet.
    pub fn submit(
        &mut self,
        now: Instant,
        id: u64,
        input: Vec<u8>,
        kept: Vec<u8>,
        host: Option<HostRef<'_>>,
    ) -> bool {
        let fresh = self.ledger.submit(id, input, kept, 1);
        if fresh {
            self.frontier.push(now, id, host);
        }
        fresh
    }

    /// Adds a target, as [`Self::submit`] does, that goes before all others of its host.
    pub fn submit_first(
        &mut self,
        now: Instant,
        id: u64,
        input: Vec<u8>,
        kept: Vec<u8>,
        host: Option<HostRef<'_>>,
    ) -> bool {
        let fresh = self.ledger.submit(id, input, kept, 1);
        if fresh {
            self.frontier.push_first(now, id, host);
        }
        fresh
    }

    /// Returns the input of a target that has no record yet, and the values that it carries along.
    #[must_use]
    pub fn given(&self, id: u64) -> Option<(&[u8], &[u8])> {
        self.ledger.content(id)
    }

    /// Leaves at least `delay` between two starts at this host. It lasts while the host has targets.
    pub fn set_delay(&mut self, now: Instant, host: HostRef<'_>, delay: Duration) {
        self.frontier.set_delay(now, host, delay);
    }

    /// Adds a target of `lines` lines, the first of which has this id. Returns false as
    /// [`Self::submit`] does.
    pub fn submit_lines(&mut self, now: Instant, id: u64, input: Vec<u8>, lines: u64) -> bool {
        let fresh = self.ledger.submit(id, input, Vec::new(), lines);
        if fresh {
            self.frontier.push(now, id, None);
        }
        fresh
    }

    /// Handles an event. Afterwards call [`Self::poll_command`] until it returns `None`.
    pub fn handle_event(&mut self, now: Instant, event: Event) {
        let reported = if let Event::Suspended(lasting) = event { lasting } else { Duration::ZERO };
        self.compensate_absence(now, reported);
        match event {
            Event::Spawned(seat) => self.spawned(now, seat),
            Event::SpawnFailed(seat, why) => self.spawn_failed(now, seat, &why),
            Event::Hello(seat) => self.hello(seat),
            Event::Ready(seat) => self.ready(now, seat),
            Event::Refused(seat, why) => self.refused(now, seat, why),
            Event::GaveUp(seat, why) => self.gave_up(now, seat, &why),
            Event::Malformed(seat, why) => self.broke_protocol(now, seat, &why),
            Event::Unreachable(seat, why) => self.unreachable(now, seat, why),
            Event::Eof(seat) => self.eof(now, seat),
            Event::Reaped(seat, death) => self.reaped(now, seat, death),
            Event::Sampled(seat, reading, now_us) => self.sampled(now, seat, &reading, now_us),
            Event::Suspended(_) => {}
            Event::Settled(ids) => self.settled(now, &ids),
            Event::SourceEnded => self.source_ended = true,
            Event::Roll => self.roll(now),
            Event::Room(room) => self.set_room(now, room),
            Event::Grow => self.grow_as_told(now),
            Event::Shrink => self.shrink_as_told(now),
            Event::Drain => self.drain(now),
            Event::Kill => self.kill_all(now),
        }
        self.settle(now);
    }

    /// Returns the next command, until there is none.
    #[must_use]
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Returns the number of targets in each state.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.ledger.counts()
    }

    /// Workers started again after a death. Recycling does not count.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Attempts that ended with the worker's death without the target being quarantined.
    #[must_use]
    pub fn charged(&self) -> u64 {
        self.charged
    }

    /// Targets that wait in the frontier. When this is low, it is time to read more of the source.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        let counts = self.ledger.counts();
        counts.pending + counts.retry
    }

    /// Inputs without a record. If targets hold several lines each, this exceeds the number of
    /// targets.
    #[must_use]
    pub fn inputs_left(&self) -> u64 {
        self.ledger.inputs_left()
    }

    /// Bytes of the inputs that wait in the frontier.
    #[must_use]
    pub fn backlog_bytes(&self) -> usize {
        self.ledger.bytes_waiting()
    }

    /// Whether the run is over: no process is left and none will be started.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state != PoolState::Running && self.all().all(|slot| !slot.state.has_process())
    }

    /// The wanted number of workers.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.slots.len()
    }

    /// Returns at most `count` hosts with targets in flight or waiting, the busiest first.
    #[must_use]
    pub fn busiest(&self, now: Instant, count: usize) -> Vec<HostSnapshot> {
        self.frontier.busiest(now, count)
    }

    /// Returns what was learned about hosts that are still remembered.
    #[must_use]
    pub fn learned(&self, now: Instant) -> Vec<Learned> {
        self.frontier.learned(now)
    }

    /// Returns the state of the process in `seat`, for display.
    #[must_use]
    pub fn standing(&self, seat: Seat) -> Standing {
        match self.all().find(|slot| slot.seat == seat).map(|slot| (slot.state, slot.credit.held())) {
            Some((State::Spawning(_) | State::Handshaking(_), _)) => Standing::Starting,
            Some((State::Serving, 0)) => Standing::Idle,
            Some((State::Serving, _)) => Standing::Busy,
            Some(_) | None => Standing::Leaving,
        }
    }

    /// Why the pool gave up, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        match &self.state {
            PoolState::GaveUp(why) => Some(why),
            PoolState::Running | PoolState::Ending => None,
        }
    }

    /// Follows up on any event: hands out targets, ends the run when all is done, checks the
    /// invariants.
    fn settle(&mut self, now: Instant) {
        if self.state == PoolState::Running {
            self.give_up_hosts(now);
            self.end_broken_session(now);
            if !self.lacks_proxies() || self.has_only_held_left() {
                self.go_on(now);
            }
            if let Some(why) = self.proxies.as_ref().and_then(|proxies| proxies.failure())
                && !self.is_done()
            {
                self.give_up(now, why);
            }
        }
        self.arm_sampling(now);
        self.called_at = now;
        if let Some(broken) = self.broken_invariant() {
            self.give_up(now, format!("internal error, please report it: {broken}"));
        }
    }

    /// Ends the run when all is done, and hands out targets until then.
    fn go_on(&mut self, now: Instant) {
        self.accept_held(now, self.has_only_held_left());
        if !self.is_done() {
            // It also ends targets that no proxy can take.
            self.dispatch(now);
        }
        if self.is_done() {
            self.end(now);
        } else {
            self.flush_programs();
            self.recycle(now);
        }
    }

    /// Whether nothing more will come by which held pages could be judged.
    fn has_only_held_left(&self) -> bool {
        let counts = self.ledger.counts();
        self.source_ended && counts.left() == counts.held
    }

    /// Whether each input has its record, and no more will come.
    fn is_done(&self) -> bool {
        self.source_ended && self.ledger.counts().left() == 0
    }

    /// All processes, seated or not.
    fn all(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().chain(&self.unseated)
    }

    /// All processes, mutably.
    fn all_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut().chain(&mut self.unseated)
    }

    /// Returns the process of `seat`, unless the seat was filled again or given up since.
    fn place(&mut self, seat: Seat) -> Option<&mut Slot> {
        let any = self.is(Mutant::NoGenerationCheck);
        let place = self.place_of(seat.slot);
        match place.and_then(|place| self.slots.get_mut(place)).filter(|slot| slot.seat == seat || any) {
            Some(slot) => Some(slot),
            None => self.unseated.iter_mut().find(|slot| slot.seat == seat),
        }
    }

    /// Returns the process of `seat`, unless it is gone.
    fn current(&mut self, seat: Seat) -> Option<&mut Slot> {
        self.place(seat).filter(|slot| slot.state.has_process())
    }

    /// Returns the first invariant that does not hold. It costs a few additions per event, so
    /// release builds check it too.
    fn broken_invariant(&self) -> Option<&'static str> {
        let counts = self.ledger.counts();
        let held: usize = self.all().map(|slot| slot.credit.held()).sum();
        if !self.ledger.balanced() {
            return Some("the target states do not sum to the number submitted");
        }
        if held as u64 != counts.assigned {
            return Some("the workers do not hold the number of targets that were assigned");
        }
        if self.frontier.len() as u64 != counts.pending + counts.retry {
            return Some("the frontier does not hold the number of targets that are waiting");
        }
        None
    }
}

#[cfg(test)]
mod simulator;
#[cfg(test)]
mod tests;
