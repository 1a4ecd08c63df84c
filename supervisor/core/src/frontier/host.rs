//! One host: the targets that wait for it, the requests in flight to it, and when the next one may
//! start.
//!
//! The frontier keeps a [`Host`] only as long as forgetting it would change a decision.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use wire::protocol::LOGIN_IDS;

use super::Learned;
use super::control::{Control, Gate};
use super::health::Health;
use super::rate::NextStart;

/// The host of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostRef<'a> {
    /// Name or address, as normalised by the URL parser.
    pub name: &'a str,
    /// Whether it is the user's own machine or network: a loopback address, or one of a private network.
    pub local: bool,
}

/// The state of a host at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSnapshot {
    /// Name of the host.
    pub name: Arc<str>,
    /// Requests in flight to it.
    pub in_flight: u32,
    /// Maximum requests in flight; `None` means no limit.
    pub in_flight_max: Option<u32>,
    /// Targets that wait for it.
    pub waiting: usize,
    /// Time between two starts; `None` while the host has refused nothing.
    pub interval: Option<Duration>,
    /// Requests that it refused.
    pub refused: u32,
    /// Remaining time of the pause that the host asked for.
    pub paused: Option<Duration>,
}

/// A host known to the frontier. Valid until every target popped for it is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(u32);

impl HostId {
    /// Stands for "no host".
    pub const NONE: Self = Self(u32::MAX);
}

/// Due retries after which the queue has its turn. Without that, a page that is always refused would be all that its host
/// is asked for while it has a pace.
const IN_A_ROW_MAX: u8 = 2;

/// Requests that a host is sent before it has answered one, and how long the others then wait for that answer. To open
/// a connection costs as much as fetching a small page. If it takes long, the pages of quick hosts come first.
const UNHEARD_MAX: u32 = 8;
const UNHEARD_LASTS: Duration = Duration::from_millis(100);

/// Whether a host gets all that its limit allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caution {
    /// It was sent nothing yet.
    Unasked,
    /// It has not answered yet. From this instant on that no longer matters.
    Unheard(Instant),
    /// It has answered, or its limit is not ours.
    Over,
}

/// Waiting targets, in order: those of a login or a check of the session that are due, retries that are due, then the
/// queue, which also has a turn after some retries.
#[derive(Debug, Clone, Default)]
pub(super) struct Lane {
    /// Those of a login or a check. They are taken although the host is barred.
    logins: BinaryHeap<Reverse<(Instant, u64)>>,
    queue: VecDeque<u64>,
    retries: BinaryHeap<Reverse<(Instant, u64)>>,
    /// Retries taken since the queue was last served.
    in_a_row: u8,
}

impl Lane {
    pub(super) fn push_back(&mut self, id: u64) {
        self.queue.push_back(id);
    }

    pub(super) fn push_front(&mut self, now: Instant, id: u64) {
        if id >= LOGIN_IDS { self.push_retry(now, id) } else { self.queue.push_front(id) }
    }

    pub(super) fn push_retry(&mut self, due: Instant, id: u64) {
        let heap = if id >= LOGIN_IDS { &mut self.logins } else { &mut self.retries };
        heap.push(Reverse((due, id)));
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len() + self.retries.len() + self.logins.len()
    }

    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.retries.peek().map(|Reverse((due, _))| *due)
    }

    /// Returns when a target can be taken; `None` if none can until something else happens.
    fn opens_at(&self, now: Instant, is_barred: bool) -> Option<Instant> {
        let login = self.logins.peek().map(|Reverse((due, _))| *due);
        let other = match is_barred {
            true => None,
            false if self.queue.is_empty() => self.next_retry(),
            false => Some(now),
        };
        login.into_iter().chain(other).min()
    }

    /// Takes everything, due or not.
    pub(super) fn take_all(&mut self) -> Vec<u64> {
        let retries = std::mem::take(&mut self.retries).into_iter().chain(std::mem::take(&mut self.logins));
        let retries = retries.map(|Reverse((_, id))| id);
        let mut all: Vec<_> = std::mem::take(&mut self.queue).into_iter().chain(retries).collect();
        all.sort_unstable();
        all
    }

    /// Takes the next target that is due; of a barred host, one of a login.
    pub(super) fn take(&mut self, now: Instant, is_barred: bool) -> Option<u64> {
        if self.logins.peek().is_some_and(|Reverse((due, _))| *due <= now) {
            return self.logins.pop().map(|Reverse((_, id))| id);
        }
        if is_barred {
            return None;
        }
        let is_due = self.next_retry().is_some_and(|due| due <= now);
        if is_due && (self.in_a_row < IN_A_ROW_MAX || self.queue.is_empty()) {
            self.in_a_row = self.in_a_row.saturating_add(1);
            return self.retries.pop().map(|Reverse((_, id))| id);
        }
        self.in_a_row = 0;
        self.queue.pop_front()
    }
}

/// Where the frontier keeps a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostPlace {
    /// In no set: only a push or a returned permit changes anything.
    Waiting,
    /// Has work and budget, and takes its turn.
    Ring,
    /// Has work, and will have budget for it at this instant.
    Timed(Instant),
    /// Has no work, but its rate or pause still counts until this instant.
    Fading(Instant),
    /// Can be forgotten: a new entry would behave the same.
    Forgotten,
}

#[derive(Debug, Clone)]
pub(super) struct Host {
    name: Arc<str>,
    pub(super) lane: Lane,
    pub(super) place: HostPlace,
    pub(super) in_flight: u32,
    /// Requests that it refused.
    pub(super) refused: u32,
    pub(super) health: Health,
    /// The maximum at present; `u32::MAX` means no limit.
    pub(super) in_flight_max: u32,
    pub(super) gate: Gate,
    /// What this run has learned. Unused where runs share what they learn.
    pub(super) control: Control,
    /// No target starts before this instant: the latest `Retry-After`, or the pause after a refusal.
    pub(super) paused_until: Instant,
    /// No target starts before this instant: other runs use the host's whole budget.
    pub(super) refused_until: Instant,
    next_start: NextStart,
    caution: Caution,
    /// When the last request was sent that has ended.
    pub(super) sent_at: Instant,
    /// Least time between two starts that the host asks for (`Crawl-delay`).
    pub(super) delay: Duration,
    /// Whether its targets wait for a login.
    pub(super) is_barred: bool,
    /// Whether it is the user's own machine or network.
    pub(super) local: bool,
}

impl Host {
    pub(super) fn new(name: Arc<str>, local: bool, gate: Gate, now: Instant) -> Self {
        let mut control = Control::default();
        let caution = if gate.is_adaptive() { Caution::Unasked } else { Caution::Over };
        Self {
            name,
            lane: Lane::default(),
            place: HostPlace::Waiting,
            in_flight: 0,
            refused: 0,
            health: Health::new(),
            in_flight_max: control.in_flight_max(now, gate),
            gate,
            control,
            paused_until: now,
            refused_until: now,
            next_start: NextStart::at_once(now),
            caution,
            sent_at: now,
            delay: Duration::ZERO,
            is_barred: false,
            local,
        }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns its state at `now`.
    pub(super) fn look(&self, now: Instant) -> HostSnapshot {
        HostSnapshot {
            name: Arc::clone(&self.name),
            in_flight: self.in_flight,
            in_flight_max: (self.in_flight_max < u32::MAX).then_some(self.in_flight_max),
            waiting: self.lane.len(),
            interval: Some(self.control.interval(now)).filter(|interval| *interval > Duration::ZERO),
            refused: self.refused,
            paused: (self.paused_until > now).then(|| self.paused_until - now),
        }
    }

    /// Returns what is worth keeping for another run, if anything is.
    pub(super) fn learned(&self, now: Instant) -> Option<Learned> {
        let (in_flight_max, pace_per_s) = self.control.learned(now);
        let paused = self.paused_until.saturating_duration_since(now);
        Learned::new(&self.name, in_flight_max, pace_per_s, self.control.is_search(), paused)
    }

    pub(super) fn release(&mut self) {
        debug_assert!(self.in_flight > 0, "a permit of {} was released twice", self.name);
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Lets it have all that its limit allows: it has answered, or is known from an earlier run.
    pub(super) fn lift_caution(&mut self) {
        self.caution = Caution::Over;
    }

    /// When the next target may start, as far as its spacing is concerned.
    pub(super) fn next_start(&self, now: Instant) -> Instant {
        self.next_start.at().max(now)
    }

    /// Takes the next target, which starts at `start`. Nothing else starts for `interval` after that.
    pub(super) fn take(&mut self, now: Instant, start: Instant, interval: Duration) -> Option<u64> {
        let taken = self.lane.take(now, self.is_barred)?;
        self.control.on_start(start, self.in_flight);
        self.health.on_start(self.in_flight);
        if self.caution == Caution::Unasked {
            self.caution = Caution::Unheard(start + UNHEARD_LASTS);
        }
        self.in_flight += 1;
        let interval = interval.max(self.delay).max(self.control.interval(start));
        if interval > Duration::ZERO {
            self.next_start.take(start, interval);
        }
        Some(taken)
    }

    /// Keeps the distance to the last request as it was sent, at least `interval`. A worker that gets no core in time
    /// sends later than it was told.
    pub(super) fn keep_distance(&mut self, interval: Duration) {
        let interval = interval.max(self.delay).max(self.control.interval(self.sent_at));
        if interval > Duration::ZERO {
            self.next_start.take(self.sent_at, interval);
        }
    }

    pub(super) fn belongs(&self, now: Instant) -> HostPlace {
        if self.lane.len() == 0 {
            let learned = self.control.fades_at().unwrap_or(now);
            let given_up = self.health.given_up_until().unwrap_or(now);
            let fades_at = self.paused_until.max(self.next_start.at()).max(learned).max(given_up);
            return match self.in_flight {
                0 if fades_at <= now => HostPlace::Forgotten,
                0 => HostPlace::Fading(fades_at),
                _ => HostPlace::Waiting,
            };
        }
        let Some(opens_at) = self.lane.opens_at(now, self.is_barred) else { return HostPlace::Waiting };
        if self.in_flight >= self.in_flight_max {
            return HostPlace::Waiting;
        }
        let heard_by = match self.caution {
            Caution::Unheard(until) if self.in_flight >= UNHEARD_MAX => until,
            Caution::Unheard(_) | Caution::Unasked | Caution::Over => now,
        };
        let ready_at = self.next_start.ready_at(now).max(heard_by);
        let at = opens_at.max(self.paused_until).max(self.refused_until).max(ready_at);
        if at <= now { HostPlace::Ring } else { HostPlace::Timed(at) }
    }
}

/// All hosts, by name and by id. The id of a forgotten host is reused.
#[derive(Debug, Clone, Default)]
pub(super) struct Hosts {
    by_name: FxHashMap<Arc<str>, HostId>,
    seats: Vec<Option<Host>>,
    free: Vec<HostId>,
}

impl Hosts {
    pub(super) fn find(&self, name: &str) -> Option<HostId> {
        self.by_name.get(name).copied()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: HostId) -> Option<&mut Host> {
        self.seats.get_mut(id.0 as usize)?.as_mut()
    }

    pub(super) fn get(&self, id: HostId) -> Option<&Host> {
        self.seats.get(id.0 as usize)?.as_ref()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Host> {
        self.seats.iter().flatten()
    }

    /// Number of hosts there were at once, at most.
    pub(super) fn seats(&self) -> usize {
        self.seats.len()
    }

    pub(super) fn insert(&mut self, name: &str, host: impl FnOnce(Arc<str>) -> Host) -> HostId {
        let name: Arc<str> = Arc::from(name);
        let host = host(Arc::clone(&name));
        let id = self.free.pop().unwrap_or_else(|| {
            self.seats.push(None);
            // Four billion hosts do not fit into memory.
            HostId(u32::try_from(self.seats.len() - 1).unwrap_or(u32::MAX))
        });
        if let Some(seat) = self.seats.get_mut(id.0 as usize) {
            *seat = Some(host);
        }
        self.by_name.insert(name, id);
        id
    }

    pub(super) fn forget(&mut self, id: HostId) {
        if let Some(host) = self.seats.get_mut(id.0 as usize).and_then(Option::take) {
            self.by_name.remove(&host.name);
            self.free.push(id);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }
}
