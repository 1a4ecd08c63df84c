//! What this machine runs out of: descriptors, ports, memory, threads. That is no target's fault, so
//! nothing fails for it: the work waits until there is some again, and its own timeout stands still.
//!
//! The supervisor sees in the black box that the worker waits. A want that does not end gives the
//! whole run up, in words: see [`Want::hopeless`].

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use shared::black_box::BlackBox;
use shared::clock;

/// Time without any success after which a want does not end any more. A port that a connection has
/// left is free again after one minute.
const PATIENCE: Duration = Duration::from_secs(120);

/// The same where nothing in this process holds what is wanting, so that only somebody else could help.
const PATIENCE_ALONE: Duration = Duration::from_secs(5);

/// Waits that follow each other within this time are one want: between two attempts, nobody waits.
const GAP: Duration = Duration::from_secs(2);

/// Time between the first two attempts; it doubles from one to the next.
const DELAY_MIN: Duration = Duration::from_millis(5);

/// Longest time between two attempts.
const DELAY_MAX: Duration = Duration::from_millis(500);

/// Something this machine has no more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// `EMFILE`: this process has as many descriptors as it may.
    Descriptors,
    /// `ENFILE`: all processes together have.
    SystemDescriptors,
    /// `EADDRNOTAVAIL`: every local port is taken, most by connections that were closed within a minute.
    Ports,
    /// `ENOMEM`, `ENOBUFS`.
    Memory,
    /// `EAGAIN`: as many threads as there may be.
    Threads,
}

impl Shortage {
    /// The shortage that made a system call fail, if it was one. `EAGAIN` and `EADDRNOTAVAIL` have other
    /// meanings too; callers that mean a shortage say so.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        match error.raw_os_error()? {
            libc::EMFILE => Some(Self::Descriptors),
            libc::ENFILE => Some(Self::SystemDescriptors),
            libc::ENOMEM | libc::ENOBUFS => Some(Self::Memory),
            _ => None,
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Descriptors => "too many open files in one worker; raise ulimit -n",
            Self::SystemDescriptors => "too many open files on this machine; raise fs.file-max",
            Self::Ports => {
                "no local port is free; widen net.ipv4.ip_local_port_range, or ask fewer hosts at once"
            }
            Self::Memory => "the system has no memory for sockets or files",
            Self::Threads => "no thread can be started; raise ulimit -u or the limit on tasks",
        })
    }
}

/// How this worker is off. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Want {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    black_box: Option<Arc<BlackBox>>,
    state: Mutex<State>,
    hopeless: OnceLock<String>,
}

#[derive(Debug, Default)]
struct State {
    /// How many wait.
    waiting: u64,
    /// Since when somebody does again and again, and nobody got anything.
    since: Option<Instant>,
    /// When somebody last waited.
    last: Option<Instant>,
}

impl Want {
    /// One that the supervisor sees.
    pub(crate) fn shown_in(black_box: Arc<BlackBox>) -> Self {
        Self { inner: Arc::new(Inner { black_box: Some(black_box), ..Inner::default() }) }
    }

    /// Somebody begins to wait, until the guard is dropped.
    pub(crate) fn begin(&self) -> Waiting {
        let (mut state, now) = (self.lock(), clock::now());
        let goes_on = state.waiting > 0 || state.last.is_some_and(|last| now.duration_since(last) < GAP);
        state.since = state.since.filter(|_| goes_on).or(Some(now));
        state.waiting += 1;
        self.show(state.waiting);
        Waiting { want: self.clone() }
    }

    /// Somebody got what was wanting: there is some.
    pub(crate) fn met(&self) {
        self.lock().since = None;
    }

    /// When to try again after so many attempts; `None` when there is no hope. `alone` says that nothing in
    /// this process could be given up for it.
    pub(crate) fn delay(&self, shortage: Shortage, attempt: u32, alone: bool) -> Option<Duration> {
        let patience = if alone && shortage == Shortage::Descriptors { PATIENCE_ALONE } else { PATIENCE };
        let waited = self.lock().since.map_or(Duration::ZERO, |since| clock::now().duration_since(since));
        if waited > patience {
            self.inner
                .hopeless
                .get_or_init(|| format!("nothing could be opened for {} s: {shortage}", waited.as_secs()));
        }
        if self.hopeless().is_some() {
            return None;
        }
        Some((DELAY_MIN * (1 << attempt.min(16))).min(DELAY_MAX))
    }

    /// Blocks until it is time for the next attempt; false when there is no hope.
    pub(crate) fn wait(&self, shortage: Shortage, attempt: u32) -> bool {
        let Some(delay) = self.delay(shortage, attempt, true) else { return false };
        let until = clock::now() + delay;
        while let Some(left) = until.checked_duration_since(clock::now()).filter(|left| !left.is_zero()) {
            thread::park_timeout(left);
        }
        if let Some(black_box) = &self.inner.black_box {
            black_box.advance();
        }
        true
    }

    /// Repeats `open` while it fails for a shortage, as long as there is hope.
    pub(crate) fn until_met<T>(&self, mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let (mut waiting, mut attempt) = (None, 0);
        loop {
            let opened = open();
            let shortage = opened.as_ref().err().and_then(Shortage::of);
            let Some(shortage) = shortage else {
                if attempt > 0 {
                    self.met();
                }
                return opened;
            };
            waiting.get_or_insert_with(|| self.begin());
            if !self.wait(shortage, attempt) {
                return opened;
            }
            attempt += 1;
        }
    }

    /// Why this worker cannot go on, if it cannot.
    pub(crate) fn hopeless(&self) -> Option<&str> {
        self.inner.hopeless.get().map(String::as_str)
    }

    fn show(&self, waiting: u64) {
        if let Some(black_box) = &self.inner.black_box {
            black_box.set_waiting(waiting);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody waits as long as this is there.
#[derive(Debug)]
pub(crate) struct Waiting {
    want: Want,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.want.lock();
        state.waiting -= 1;
        state.last = Some(clock::now());
        self.want.show(state.waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_told_from_other_failures() {
        for (code, want) in [
            (libc::EMFILE, Some(Shortage::Descriptors)),
            (libc::ENFILE, Some(Shortage::SystemDescriptors)),
            (libc::ENOBUFS, Some(Shortage::Memory)),
            (libc::ENOMEM, Some(Shortage::Memory)),
            (libc::ECONNREFUSED, None),
            (libc::EACCES, None),
            (libc::ENOENT, None),
        ] {
            assert_eq!(Shortage::of(&io::Error::from_raw_os_error(code)), want, "{code}");
        }
    }

    #[test]
    fn what_fails_for_a_shortage_is_tried_until_it_does_not() {
        let (black_box, page) = BlackBox::create().unwrap();
        drop(page);
        let black_box = Arc::new(black_box);
        let want = Want::shown_in(Arc::clone(&black_box));
        let mut codes = [libc::EMFILE, libc::ENFILE, libc::ENOMEM].into_iter();
        let opened = want.until_met(|| match codes.next() {
            Some(code) => {
                let waits = black_box.read().waiting > 0;
                assert_eq!(waits, code != libc::EMFILE, "shown from the first failure on");
                Err(io::Error::from_raw_os_error(code))
            }
            None => Ok(7),
        });
        assert_eq!((opened.unwrap(), black_box.read().waiting), (7, 0));
        let refused = want.until_met(|| Err::<(), _>(io::ErrorKind::NotFound.into())).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
        assert_eq!(want.hopeless(), None);
    }

    #[test]
    fn a_want_that_does_not_end_is_hopeless_and_one_that_is_met_is_not() {
        let want = Want::default();
        let waiting = want.begin();
        let long_ago = |by: Duration| want.lock().since = clock::now().checked_sub(by);
        long_ago(PATIENCE_ALONE * 2);
        assert!(want.delay(Shortage::Ports, 0, true).is_some(), "a port may come free by itself");
        assert!(want.delay(Shortage::Descriptors, 0, false).is_some(), "others may let go of theirs");
        want.met();
        assert!(want.delay(Shortage::Descriptors, 9, true).is_some_and(|delay| delay == DELAY_MAX));
        // One wait after the other is one want; a want long after it is another.
        long_ago(PATIENCE_ALONE * 2);
        drop(waiting);
        want.lock().last = clock::now().checked_sub(GAP * 2);
        let _waiting = want.begin();
        assert!(want.delay(Shortage::Descriptors, 0, true).is_some());
        long_ago(PATIENCE_ALONE * 2);
        drop(want.begin());
        assert_eq!(want.delay(Shortage::Descriptors, 0, true), None);
        assert!(want.hopeless().unwrap().contains("ulimit -n"));
    }
}
