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
use crate::shortage::{Shortage, Shortages};

/// Time without a shortage after which the limit grows by an eighth.
const GROW_EVERY: Duration = Duration::from_secs(1);

/// The connections of one event loop, and their limit.
#[derive(Debug)]
pub(super) struct Connections {
    /// Connections that are open or being opened.
    open: AtomicUsize,
    /// The current limit; the original limit is `limit`.
    max: AtomicUsize,
    limit: usize,
    /// Targets that wait for room.
    waiting: AtomicUsize,
    freed: Notify,
    state: Mutex<State>,
    shortages: Shortages,
}

#[derive(Debug, Default)]
struct State {
    /// Connections that were idle when added, the longest idle first. Some may be in use again.
    idle: VecDeque<Weak<Closer>>,
    /// When the limit last changed.
    changed: Option<Instant>,
}

impl Connections {
    pub(super) fn new(limit: usize, shortages: Shortages) -> Arc<Self> {
        let limit = limit.max(1);
        Arc::new(Self {
            open: AtomicUsize::new(0),
            max: AtomicUsize::new(limit),
            limit,
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
            state: Mutex::default(),
            shortages,
        })
    }

    /// Reserves room for one more connection.
    pub(super) fn permit(self: &Arc<Self>) -> Result<Permit, Fault> {
        if self.open() >= self.max.load(Ordering::Relaxed) {
            self.evict();
            return Err(Fault::Shortage(Shortage::Descriptors));
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Permit { connections: Arc::clone(self), unused: false })
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Creates a closer for a new connection, if room may become scarce. It costs an allocation per response, so
    /// the first connections have none.
    pub(super) fn closer(&self) -> Option<Arc<Closer>> {
        (self.open() > self.max.load(Ordering::Relaxed) / 4).then(Arc::default)
    }

    /// Handles a connection that the system refused.
    pub(super) fn refused(&self, mut permit: Permit, shortage: Shortage) -> Fault {
        permit.unused = true;
        drop(permit);
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
        self.shortages.met();
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
    pub(super) async fn wait(&self, shortage: Shortage, attempt: u32, waited: &WaitTime) -> bool {
        let _pause = waited.begin();
        let _waiting = self.shortages.begin();
        let Some(delay) = self.shortages.delay(shortage, attempt, self.open() == 0) else { return false };
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // Ends at the first of both: another connection may close before the delay is over.
        let _ = timeout(delay, self.freed.notified()).await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        true
    }

    /// Closes the connection that has been idle longest.
    fn evict(&self) {
        let mut state = self.lock();
        while let Some(closer) = state.idle.pop_front() {
            let Some(closer) = closer.upgrade() else { continue };
            closer.listed.store(false, Ordering::Relaxed);
            if closer.is_idle() {
                return closer.close();
            }
        }
    }

    /// Handles the end of a response.
    fn ended(&self, closer: &Arc<Closer>) {
        if !closer.is_idle() {
            return;
        }
        if self.waiting.load(Ordering::Relaxed) > 0 {
            return closer.close();
        }
        if !closer.listed.swap(true, Ordering::Relaxed) {
            let mut state = self.lock();
            if state.idle.len() > 2 * self.limit {
                state.idle.retain(|closer| closer.strong_count() > 0);
            }
            state.idle.push_back(Arc::downgrade(closer));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Permission for one connection. Dropping it gives the room back.
#[derive(Debug)]
pub(super) struct Permit {
    connections: Arc<Connections>,
    /// The connection was refused, so giving back its room frees nothing. Waking a waiter would only cause another
    /// refusal.
    unused: bool,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.connections.open.fetch_sub(1, Ordering::Relaxed);
        if !self.unused {
            self.connections.freed.notify_one();
        }
    }
}

/// Lets others close a connection. Its responses carry it.
#[derive(Debug, Default)]
pub(super) struct Closer {
    /// A request has been sent, and its response has not begun.
    asked: AtomicBool,
    /// Responses being read.
    responses: AtomicUsize,
    /// Whether it is in the list of idle connections.
    listed: AtomicBool,
    closed: AtomicBool,
    reader: Mutex<Option<Waker>>,
}

impl Closer {
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
    connections: &'a Connections,
    closer: Option<Arc<Closer>>,
}

impl<'a> Reading<'a> {
    pub(super) fn begin(connections: &'a Connections, closer: Option<&Arc<Closer>>) -> Self {
        if let Some(closer) = closer {
            closer.responses.fetch_add(1, Ordering::Relaxed);
            closer.asked.store(false, Ordering::Relaxed);
        }
        Self { connections, closer: closer.cloned() }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if let Some(closer) = &self.closer {
            closer.responses.fetch_sub(1, Ordering::Relaxed);
            self.connections.ended(closer);
        }
    }
}

/// How long a target has waited for room. That time does not count against its timeout.
#[derive(Debug, Default)]
pub(super) struct WaitTime {
    before: Cell<Duration>,
    since: Cell<Option<Instant>>,
}

impl WaitTime {
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

struct Pause<'a>(&'a WaitTime);

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
        let connections = Connections::new(2, Shortages::default());
        let permits = [(); 2].map(|()| connections.permit().unwrap());
        let closers = [(); 2].map(|()| Arc::new(Closer::default()));
        closers[0].on_request();
        drop(Reading::begin(&connections, Some(&closers[1])));
        assert_eq!(connections.permit().unwrap_err(), Fault::Shortage(Shortage::Descriptors));
        let closed = || closers.each_ref().map(|closer| closer.closed.load(Ordering::Relaxed));
        assert_eq!(closed(), [false, true]);
        // In use again since it was added to the list.
        drop(Reading::begin(&connections, Some(&closers[0])));
        closers[0].on_request();
        connections.permit().unwrap_err();
        assert_eq!(closed(), [false, true]);
        drop(permits);
        assert!(connections.permit().is_ok());
    }

    #[test]
    fn a_refusal_lowers_the_limit_and_time_raises_it() {
        let connections = Connections::new(100, Shortages::default());
        let refuse = |shortage| connections.refused(connections.permit().unwrap(), shortage);
        let permits: Vec<_> = (0..10).map(|_| connections.permit().unwrap()).collect();
        refuse(Shortage::Ports);
        assert_eq!(connections.max.load(Ordering::Relaxed), 100, "fewer descriptors free no port");
        refuse(Shortage::Descriptors);
        assert_eq!(connections.max.load(Ordering::Relaxed), 10);
        connections.granted();
        assert_eq!(connections.max.load(Ordering::Relaxed), 10, "not at once");
        connections.lock().changed = clock::now().checked_sub(GROW_EVERY);
        connections.granted();
        assert_eq!(connections.max.load(Ordering::Relaxed), 12);
        drop(permits);
        refuse(Shortage::Descriptors);
        assert_eq!(connections.max.load(Ordering::Relaxed), 1, "one connection is always allowed");
    }

    #[tokio::test]
    async fn a_refused_target_waits_and_does_not_wake_itself() {
        let connections = Connections::new(10, Shortages::default());
        let begun = clock::now();
        for attempt in 0..3 {
            connections.refused(connections.permit().unwrap(), Shortage::Ports);
            assert!(connections.wait(Shortage::Ports, attempt, &WaitTime::default()).await);
        }
        assert!(begun.elapsed() >= Duration::from_millis(30), "{:?}", begun.elapsed());
        // A connection that closes wakes a waiter.
        let (permit, waited) = (connections.permit().unwrap(), WaitTime::default());
        let woken = async {
            tokio::task::yield_now().await;
            drop(permit);
        };
        let (may_try, ()) = tokio::join!(connections.wait(Shortage::Ports, 16, &waited), woken);
        assert!(may_try && waited.total() < Duration::from_millis(400), "{:?}", waited.total());
    }

    #[test]
    fn while_a_target_waits_connections_close_when_they_become_idle() {
        let connections = Connections::new(1, Shortages::default());
        let closer = Arc::new(Closer::default());
        drop(Reading::begin(&connections, Some(&closer)));
        assert!(!closer.closed.load(Ordering::Relaxed));
        connections.waiting.store(1, Ordering::Relaxed);
        drop(Reading::begin(&connections, Some(&closer)));
        assert!(closer.closed.load(Ordering::Relaxed));
    }
}
