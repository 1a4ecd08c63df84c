//! What to do when this machine has no descriptors, ports, memory or threads left.
//!
//! A shortage is no target's fault, so no target fails for it. The work waits until the resource is available
//! again, and the target's timeout does not run meanwhile. The supervisor sees in the black box that the worker
//! waits. If a shortage lasts too long, the worker gives up, see [`Shortages::hopeless`]. The run ends when the next
//! worker gives up as well.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use shared::black_box::BlackBox;
use shared::clock;

/// How long a shortage may last before the worker gives up. The port of a closed connection is free again after one
/// minute.
const PATIENCE: Duration = Duration::from_secs(120);

/// The same, if nothing in this process holds the resource. Then only other processes can free it.
const PATIENCE_ALONE: Duration = Duration::from_secs(5);

/// Waits that are less than this apart belong to one shortage. Between two attempts nobody waits.
const GAP: Duration = Duration::from_secs(2);

/// Delay before the second attempt. It doubles with each further attempt.
const DELAY_MIN: Duration = Duration::from_millis(5);

/// Maximum delay between two attempts.
const DELAY_MAX: Duration = Duration::from_millis(500);

/// A resource that this machine has run out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// `EMFILE`: this process has reached its limit of open files.
    Descriptors,
    /// `ENFILE`: the whole system has reached its limit of open files.
    SystemDescriptors,
    /// `EADDRNOTAVAIL`: every local port is in use, most of them by connections closed within the last minute.
    Ports,
    /// `ENOMEM`, `ENOBUFS`.
    Memory,
    /// `EAGAIN`: the limit on threads is reached.
    Threads,
}

impl Shortage {
    /// Returns the shortage that made a system call fail, if one did. `EAGAIN` and `EADDRNOTAVAIL` have other
    /// meanings too, so the callers that know better handle them.
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
                "no local port is free; widen net.ipv4.ip_local_port_range, or fetch from fewer hosts at once"
            }
            Self::Memory => "the system has no memory for sockets or files",
            Self::Threads => "no thread can be started; raise ulimit -u or the limit on tasks",
        })
    }
}

/// The shortages of this worker. Clones share their state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shortages {
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
    /// Number of waiting operations.
    waiting: u64,
    /// Number of operations that lack nothing and take long all the same.
    long: u64,
    /// Start of the current shortage: since then operations have waited and none has succeeded.
    since: Option<Instant>,
    /// End of the last wait.
    last: Option<Instant>,
}

impl Shortages {
    /// Creates one that reports to the supervisor through the black box.
    pub(crate) fn shown_in(black_box: Arc<BlackBox>) -> Self {
        Self { inner: Arc::new(Inner { black_box: Some(black_box), ..Inner::default() }) }
    }

    /// Begins a wait, which lasts until the guard is dropped.
    pub(crate) fn begin(&self) -> Waiting {
        let (mut state, now) = (self.lock(), clock::now());
        let goes_on = state.waiting > 0 || state.last.is_some_and(|last| now.duration_since(last) < GAP);
        state.since = state.since.filter(|_| goes_on).or(Some(now));
        state.waiting += 1;
        self.show(&state);
        Waiting { shortages: self.clone() }
    }

    /// Begins an operation that may take longer than the supervisor allows a target, and that no target is to blame
    /// for. It lasts until the guard is dropped.
    pub(crate) fn begin_long(&self) -> Long {
        let mut state = self.lock();
        state.long += 1;
        self.show(&state);
        Long { shortages: self.clone() }
    }

    /// Notes a success: the resource is available again.
    pub(crate) fn met(&self) {
        self.lock().since = None;
    }

    /// Returns the delay before the next attempt, or `None` if the worker must give up. `alone` means that nothing in
    /// this process could free the resource.
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

    /// Blocks until the next attempt. Returns false if the worker must give up.
    pub(crate) fn wait(&self, shortage: Shortage, attempt: u32) -> bool {
        let Some(delay) = self.delay(shortage, attempt, true) else { return false };
        let until = clock::now() + delay;
        while let Some(left) = until.checked_duration_since(clock::now()).filter(|left| !left.is_zero()) {
            thread::park_timeout(left);
        }
        self.show_life();
        true
    }

    /// Shows the supervisor that work goes on, although it takes long.
    pub(crate) fn show_life(&self) {
        if let Some(black_box) = &self.inner.black_box {
            black_box.advance();
        }
    }

    /// Calls `open` until it no longer fails for a shortage, or the worker must give up.
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

    /// Makes the worker give up, because this machine cannot do what the job needs.
    pub(crate) fn give_up(&self, why: String) {
        self.inner.hopeless.get_or_init(|| why);
    }

    /// Returns why the worker must give up, if it must.
    pub(crate) fn hopeless(&self) -> Option<&str> {
        self.inner.hopeless.get().map(String::as_str)
    }

    fn show(&self, state: &State) {
        if let Some(black_box) = &self.inner.black_box {
            black_box.set_waiting(state.waiting + state.long);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    shortages: Shortages,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.shortages.lock();
        state.waiting -= 1;
        state.last = Some(clock::now());
        self.shortages.show(&state);
    }
}

/// An operation that takes long. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Long {
    shortages: Shortages,
}

impl Drop for Long {
    fn drop(&mut self) {
        let mut state = self.shortages.lock();
        state.long -= 1;
        self.shortages.show(&state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortages_are_recognised_by_their_error_codes() {
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
    fn an_operation_that_fails_for_a_shortage_is_repeated() {
        let (black_box, page) = BlackBox::create().unwrap();
        drop(page);
        let black_box = Arc::new(black_box);
        let shortages = Shortages::shown_in(Arc::clone(&black_box));
        let mut codes = [libc::EMFILE, libc::ENFILE, libc::ENOMEM].into_iter();
        let opened = shortages.until_met(|| match codes.next() {
            Some(code) => {
                let waits = black_box.read().waiting > 0;
                assert_eq!(waits, code != libc::EMFILE, "reported from the first failure on");
                Err(io::Error::from_raw_os_error(code))
            }
            None => Ok(7),
        });
        assert_eq!((opened.unwrap(), black_box.read().waiting), (7, 0));
        let refused = shortages.until_met(|| Err::<(), _>(io::ErrorKind::NotFound.into())).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
        assert_eq!(shortages.hopeless(), None);
    }

    #[test]
    fn a_long_operation_excuses_the_worker_and_is_no_shortage() {
        let (black_box, page) = BlackBox::create().unwrap();
        drop(page);
        let black_box = Arc::new(black_box);
        let shortages = Shortages::shown_in(Arc::clone(&black_box));
        let long = shortages.begin_long();
        assert_eq!((black_box.read().waiting, shortages.lock().since), (1, None));
        drop(shortages.begin());
        assert_eq!(black_box.read().waiting, 1, "the long one goes on");
        drop(long);
        assert_eq!(black_box.read().waiting, 0);
    }

    #[test]
    fn a_worker_gives_up_after_a_shortage_that_lasts_and_a_success_resets_it() {
        let shortages = Shortages::default();
        let waiting = shortages.begin();
        let long_ago = |by: Duration| shortages.lock().since = clock::now().checked_sub(by);
        long_ago(PATIENCE_ALONE * 2);
        assert!(shortages.delay(Shortage::Ports, 0, true).is_some(), "a port becomes free by itself");
        assert!(shortages.delay(Shortage::Descriptors, 0, false).is_some(), "others may free theirs");
        shortages.met();
        assert!(shortages.delay(Shortage::Descriptors, 9, true).is_some_and(|delay| delay == DELAY_MAX));
        // Consecutive waits are one shortage; a wait long after them starts another.
        long_ago(PATIENCE_ALONE * 2);
        drop(waiting);
        shortages.lock().last = clock::now().checked_sub(GAP * 2);
        let _waiting = shortages.begin();
        assert!(shortages.delay(Shortage::Descriptors, 0, true).is_some());
        long_ago(PATIENCE_ALONE * 2);
        drop(shortages.begin());
        assert_eq!(shortages.delay(Shortage::Descriptors, 0, true), None);
        assert!(shortages.hopeless().unwrap().contains("ulimit -n"));
    }
}
