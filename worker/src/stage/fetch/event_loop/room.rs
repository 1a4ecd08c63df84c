//! Limits how many connections this process has open, and closes idle ones when it needs room.
//!
//! An idle connection is closed before anyone waits. If a connection fails because no descriptor is free, the
//! limit drops to the number of open connections. It grows again while nothing fails.
//!
//! Invariant: closing an idle connection costs no request. If the connection is handed out at that moment, its
//! request fails as on a pooled connection that was closed while idle, and is repeated.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use shared::clock;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::super::fault::Fault;
use crate::want::{Shortage, Want};

/// Time without a shortage after which the limit grows by an eighth.
const GROW_EVERY: Duration = Duration::from_secs(1);

/// The connections of one event loop, and their limit.
#[derive(Debug)]
pub(super) struct Room {
    /// Connections that are open or being opened.
    open: AtomicUsize,
    /// The current limit; the original limit is `limit`.
    max: AtomicUsize,
    limit: usize,
    /// Targets that wait for room.
    waiting: AtomicUsize,
    freed: Notify,
    state: Mutex<State>,
    want: Want,
}

#[derive(Debug, Default)]
struct State {
    /// Connections that were idle when added, the longest idle first. Some may be in use again.
    idle: VecDeque<Weak<Link>>,
    /// When the limit last changed.
    changed: Option<Instant>,
}

impl Room {
    pub(super) fn new(limit: usize, want: Want) -> Arc<Self> {
        let limit = limit.max(1);
        Arc::new(Self {
            open: AtomicUsize::new(0),
            max: AtomicUsize::new(limit),
            limit,
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
            state: Mutex::default(),
            want,
        })
    }

    /// Reserves room for one more connection.
    pub(super) fn seat(self: &Arc<Self>) -> Result<Seat, Fault> {
        if self.open() >= self.max.load(Ordering::Relaxed) {
            self.evict();
            return Err(Fault::Shortage(Shortage::Descriptors));
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Seat { room: Arc::clone(self), unused: false })
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Creates a link for a new connection, if room may become scarce. A link costs an allocation per response, so
    /// the first connections have none.
    pub(super) fn link(&self) -> Option<Arc<Link>> {
        (self.open() > self.max.load(Ordering::Relaxed) / 4).then(Arc::default)
    }

    /// Handles a connection that the system refused.
    pub(super) fn refused(&self, mut seat: Seat, shortage: Shortage) -> Fault {
        seat.unused = true;
        drop(seat);
        if shortage == Shortage::Descriptors {
            self.max.fetch_min(self.open().max(1), Ordering::Relaxed);
        }
        self.lock().changed = Some(clock::now());
        self.evict();
        Fault::Shortage(shortage)
    }

    /// Handles a connection that succeeded.
    pub(super) fn granted(&self) {
        let max = self.max.load(Ordering::Relaxed);
        self.want.met();
        if max < self.limit {
            let now = clock::now();
            let mut state = self.lock();
            if state.changed.is_none_or(|at| now.duration_since(at) >= GROW_EVERY) {
                state.changed = Some(now);
                self.max.store((max + max / 8 + 1).min(self.limit), Ordering::Relaxed);
            }
        }
    }

    /// Waits until the next attempt. Returns false if the run must end.
    pub(super) async fn wait(&self, shortage: Shortage, attempt: u32, waited: &Waited) -> bool {
        let _pause = waited.begin();
        let _waiting = self.want.begin();
        let Some(delay) = self.want.delay(shortage, attempt, self.open() == 0) else { return false };
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // Ends at the first of both: another connection may close before the delay is over.
        let _ = timeout(delay, self.freed.notified()).await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        true
    }

    /// Closes the connection that has been idle longest.
    fn evict(&self) {
        let mut state = self.lock();
        while let Some(link) = state.idle.pop_front() {
            let Some(link) = link.upgrade() else { continue };
            link.listed.store(false, Ordering::Relaxed);
            if link.is_idle() {
                return link.close();
            }
        }
    }

    /// Handles the end of a response.
    fn ended(&self, link: &Arc<Link>) {
        if !link.is_idle() {
            return;
        }
        if self.waiting.load(Ordering::Relaxed) > 0 {
            return link.close();
        }
        if !link.listed.swap(true, Ordering::Relaxed) {
            let mut state = self.lock();
            if state.idle.len() > 2 * self.limit {
                state.idle.retain(|link| link.strong_count() > 0);
            }
            state.idle.push_back(Arc::downgrade(link));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for one connection. Dropping it gives the room back.
#[derive(Debug)]
pub(super) struct Seat {
    room: Arc<Room>,
    /// The connection was refused, so giving back its room frees nothing. Waking a waiter would only cause another
    /// refusal.
    unused: bool,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.open.fetch_sub(1, Ordering::Relaxed);
        if !self.unused {
            self.room.freed.notify_one();
        }
    }
}

/// Lets others close a connection. Its responses carry it.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// A request has been sent, and its response has not begun.
    asked: AtomicBool,
    /// Responses being read.
    responses: AtomicUsize,
    /// Whether it is in the list of idle connections.
    listed: AtomicBool,
    closed: AtomicBool,
    reader: Mutex<Option<Waker>>,
}

impl Link {
    /// Notes that a request is being sent.
    pub(super) fn on_request(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Whether the connection must close. If not, its reader is woken when it must.
    pub(super) fn poll_closed(&self, context: &Context<'_>) -> bool {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if !reader.as_ref().is_some_and(|reader| reader.will_wake(context.waker())) {
            *reader = Some(context.waker().clone());
        }
        self.closed.load(Ordering::Relaxed)
    }

    fn is_idle(&self) -> bool {
        !self.asked.load(Ordering::Relaxed) && self.responses.load(Ordering::Relaxed) == 0
    }

    fn close(&self) {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.closed.store(true, Ordering::Relaxed);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// A response being read.
pub(super) struct Reading<'a> {
    room: &'a Room,
    link: Option<Arc<Link>>,
}

impl<'a> Reading<'a> {
    pub(super) fn begin(room: &'a Room, link: Option<&Arc<Link>>) -> Self {
        if let Some(link) = link {
            link.responses.fetch_add(1, Ordering::Relaxed);
            link.asked.store(false, Ordering::Relaxed);
        }
        Self { room, link: link.cloned() }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if let Some(link) = &self.link {
            link.responses.fetch_sub(1, Ordering::Relaxed);
            self.room.ended(link);
        }
    }
}

/// How long a target has waited for room. That time does not count against its timeout.
#[derive(Debug, Default)]
pub(super) struct Waited {
    before: Cell<Duration>,
    since: Cell<Option<Instant>>,
}

impl Waited {
    /// Returns the total so far.
    pub(super) fn total(&self) -> Duration {
        let now = self.since.get().map_or(Duration::ZERO, |since| clock::now().duration_since(since));
        self.before.get() + now
    }

    fn begin(&self) -> Pause<'_> {
        self.since.set(Some(clock::now()));
        Pause(self)
    }
}

struct Pause<'a>(&'a Waited);

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        self.0.before.set(self.0.total());
        self.0.since.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_connections_are_closed_first_and_busy_ones_stay() {
        let room = Room::new(2, Want::default());
        let seats = [(); 2].map(|()| room.seat().unwrap());
        let links = [(); 2].map(|()| Arc::new(Link::default()));
        links[0].on_request();
        drop(Reading::begin(&room, Some(&links[1])));
        assert_eq!(room.seat().unwrap_err(), Fault::Shortage(Shortage::Descriptors));
        let closed = || links.each_ref().map(|link| link.closed.load(Ordering::Relaxed));
        assert_eq!(closed(), [false, true]);
        // In use again since it was added to the list.
        drop(Reading::begin(&room, Some(&links[0])));
        links[0].on_request();
        room.seat().unwrap_err();
        assert_eq!(closed(), [false, true]);
        drop(seats);
        assert!(room.seat().is_ok());
    }

    #[test]
    fn a_refusal_lowers_the_limit_and_time_raises_it() {
        let room = Room::new(100, Want::default());
        let refuse = |shortage| room.refused(room.seat().unwrap(), shortage);
        let seats: Vec<_> = (0..10).map(|_| room.seat().unwrap()).collect();
        refuse(Shortage::Ports);
        assert_eq!(room.max.load(Ordering::Relaxed), 100, "fewer descriptors free no port");
        refuse(Shortage::Descriptors);
        assert_eq!(room.max.load(Ordering::Relaxed), 10);
        room.granted();
        assert_eq!(room.max.load(Ordering::Relaxed), 10, "not at once");
        room.lock().changed = clock::now().checked_sub(GROW_EVERY);
        room.granted();
        assert_eq!(room.max.load(Ordering::Relaxed), 12);
        drop(seats);
        refuse(Shortage::Descriptors);
        assert_eq!(room.max.load(Ordering::Relaxed), 1, "there is always room for one");
    }

    #[tokio::test]
    async fn a_refused_target_waits_and_does_not_wake_itself() {
        let room = Room::new(10, Want::default());
        let begun = clock::now();
        for attempt in 0..3 {
            room.refused(room.seat().unwrap(), Shortage::Ports);
            assert!(room.wait(Shortage::Ports, attempt, &Waited::default()).await);
        }
        assert!(begun.elapsed() >= Duration::from_millis(30), "{:?}", begun.elapsed());
        // A connection that closes wakes a waiter.
        let (seat, waited) = (room.seat().unwrap(), Waited::default());
        let woken = async {
            tokio::task::yield_now().await;
            drop(seat);
        };
        let (may_try, ()) = tokio::join!(room.wait(Shortage::Ports, 16, &waited), woken);
        assert!(may_try && waited.total() < Duration::from_millis(400), "{:?}", waited.total());
    }

    #[test]
    fn while_a_target_waits_connections_close_when_they_become_idle() {
        let room = Room::new(1, Want::default());
        let link = Arc::new(Link::default());
        drop(Reading::begin(&room, Some(&link)));
        assert!(!link.closed.load(Ordering::Relaxed));
        room.waiting.store(1, Ordering::Relaxed);
        drop(Reading::begin(&room, Some(&link)));
        assert!(link.closed.load(Ordering::Relaxed));
    }
}
