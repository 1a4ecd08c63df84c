//! Resolves names to addresses with the system's resolver, behind a cache. Each name has one lookup at a time.
//!
//! The system offers only a blocking call without a timeout (`getaddrinfo`). It runs on threads of its own here, so
//! that a caller can give up waiting. The answer is still cached for the next caller. A resolver in Rust would report
//! TTLs, but it does not know what else names a host on this machine: NSS modules such as those for containers,
//! directories and mDNS. A name must mean the same here as in every other program.
//!
//! A lookup that fails for now, such as after SERVFAIL, is repeated here. So it costs the target no attempt.

mod cache;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};
use shared::clock;
use tokio::sync::oneshot;

use self::cache::{Asked, Cache, Waiter};
use super::fault::{Fault, human};
use crate::shortage::Shortage;

/// Maximum concurrent lookups. A dead name server can hold each for ten seconds or more.
const THREADS_MAX: usize = 64;

/// Maximum lookups of one name in a row: with one SERVFAIL in twenty, fewer than one name in a million fails.
const LOOKUPS_MAX: u32 = 5;

/// What the C library says of a name without an address. It also says so if one server failed when asked for the IPv4
/// address, and answered that there is no IPv6 address.
const NO_DATA: &str = "No address associated with hostname";

/// Time between two of them.
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// Lookups that took this long in all are not repeated: the name server is silent rather than in trouble.
const RETRY_WITHIN: Duration = Duration::from_secs(4);

/// Maximum addresses to try for one host.
const ADDRESSES_MAX: usize = 8;

/// Stack of a lookup thread. `getaddrinfo` and its plugins need little; 64 times the default of 2 MiB would be
/// wasteful.
const STACK_BYTES: usize = 512 * 1024;

pub(super) type Answer = Result<Arc<[IpAddr]>, Fault>;
type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// The resolver. Clones are cheap and share the cache.
#[derive(Clone)]
pub(super) struct Resolver {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    lookup: Box<Lookup>,
    threads_max: usize,
    /// Wakes a thread that waits for a name to be due again.
    queued: Condvar,
}

#[derive(Default)]
struct State {
    cache: Cache,
    queue: VecDeque<Wanted>,
    /// Lookups to repeat, and when, the soonest first.
    again: VecDeque<(Instant, Wanted)>,
    threads: usize,
    /// Threads that wait for the next of `again`.
    idle: usize,
}

/// A name to look up.
struct Wanted {
    name: Arc<str>,
    /// Lookups so far, and when the first began.
    lookups: u32,
    begun: Option<Instant>,
}

impl Wanted {
    const fn new(name: Arc<str>) -> Self {
        Self { name, lookups: 0, begun: None }
    }

    /// Whether another lookup may have another answer.
    fn may_repeat(&self, answer: &Answer, now: Instant) -> bool {
        let is_doubtful = match answer {
            Err(Fault::Dns { message, may_pass }) => *may_pass || message.ends_with(NO_DATA),
            Ok(_) | Err(_) => false,
        };
        is_doubtful
            && self.lookups < LOOKUPS_MAX
            && self.begun.is_some_and(|begun| now.duration_since(begun) < RETRY_WITHIN)
    }
}

impl Resolver {
    pub(super) fn system() -> Self {
        Self::new(Box::new(|host| Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect())))
    }

    fn new(lookup: Box<Lookup>) -> Self {
        let (state, queued) = Default::default();
        Self { inner: Arc::new(Inner { state, lookup, threads_max: threads_max(), queued }) }
    }

    /// Waits on this thread, for at most `left`. Returns `None` if that time runs out.
    pub(super) fn wait(&self, host: &str, left: Duration) -> Option<Answer> {
        let (sender, receiver) = sync_channel(1);
        let waiter = Box::new(move |answer| drop(sender.send(answer)));
        match self.ask(host, waiter) {
            Some(answer) => Some(answer),
            None => receiver.recv_timeout(left).ok(),
        }
    }

    /// Waits on the event loop. Dropping the future gives up the wait.
    pub(super) async fn resolve(&self, host: &str) -> Answer {
        let (sender, receiver) = oneshot::channel();
        // A caller that has given up needs no answer.
        let waiter = Box::new(move |answer| drop(sender.send(answer)));
        match self.ask(host, waiter) {
            Some(answer) => answer,
            None => {
                receiver.await.unwrap_or_else(|_| Err(no_address(host, "the lookup was abandoned", true)))
            }
        }
    }

    /// Notes which of a host's addresses took a connection, so that the next one begins there: one that is dead costs
    /// time once, not with every connection.
    pub(super) fn prefer(
        &self,
        host: &str,
        addresses: &[IpAddr],
        winner: impl FnOnce() -> io::Result<SocketAddr>,
    ) {
        if addresses.len() > 1
            && let Ok(winner) = winner()
            && addresses.first() != Some(&winner.ip())
        {
            self.inner.lock().cache.prefer(host, winner.ip());
        }
    }

    fn ask(&self, host: &str, waiter: Waiter) -> Option<Answer> {
        if let Some(addresses) = literal(host) {
            return Some(Ok(addresses));
        }
        let mut state = self.inner.lock();
        match state.cache.ask(host, waiter, clock::now()) {
            Asked::Known(answer) => return Some(answer),
            Asked::Waiting => return None,
            Asked::First(name) => state.queue.push_back(Wanted::new(name)),
        }
        // One that waits for its name to be due again is taken away from it only if there can be no more.
        if state.threads < self.inner.threads_max {
            state.threads += 1;
            drop(state);
            self.start_thread();
        } else {
            self.inner.queued.notify_one();
        }
        None
    }

    fn start_thread(&self) {
        let inner = Arc::clone(&self.inner);
        let thread = thread::Builder::new().name("resolver".to_owned()).stack_size(STACK_BYTES);
        // Lookup threads are not joined: a lookup cannot be interrupted, and the process may exit during one.
        if let Err(error) = thread.spawn(move || inner.work()) {
            let mut state = self.inner.lock();
            state.threads -= 1;
            // Any other thread will take the lookup from the queue. Without a thread, fail it here.
            self.inner.queued.notify_one();
            if state.threads == 0 {
                let queue = std::mem::take(&mut state.queue);
                drop(state);
                let shortage = Shortage::of(&error).unwrap_or(Shortage::Threads);
                for wanted in queue {
                    self.inner.answer(&wanted.name, Err(Fault::Shortage(shortage)));
                }
            }
        }
    }
}

/// A lookup holds a few descriptors, so fewer run at once where descriptors are scarce.
fn threads_max() -> usize {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    usize::try_from(soft / 16).unwrap_or(usize::MAX).clamp(1, THREADS_MAX)
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(mut wanted) = self.next() {
            wanted.begun.get_or_insert_with(clock::now);
            wanted.lookups += 1;
            let answer = self.look_up(&wanted.name);
            let mut state = self.lock();
            let now = clock::now();
            if wanted.may_repeat(&answer, now) {
                state.again.push_back((now + RETRY_DELAY, wanted));
            } else {
                drop(state);
                self.answer(&wanted.name, answer);
            }
        }
    }

    /// Waits for the next name to look up. Returns `None` if there is none, and this thread is to end.
    fn next(&self) -> Option<Wanted> {
        let mut state = self.lock();
        loop {
            let now = clock::now();
            let due = match state.again.front() {
                Some((due, _)) if *due <= now => return state.again.pop_front().map(|(_, wanted)| wanted),
                again => again.map(|(due, _)| *due),
            };
            if let Some(wanted) = state.queue.pop_front() {
                return Some(wanted);
            }
            // One thread for each name that waits is enough.
            let Some(due) = due.filter(|_| state.idle < state.again.len()) else {
                state.threads -= 1;
                return None;
            };
            state.idle += 1;
            let waited = self.queued.wait_timeout(state, due.duration_since(now));
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    fn look_up(&self, name: &str) -> Answer {
        // A lookup that gets no descriptor reports that the name does not exist.
        let found = io::pipe().and_then(|spare| {
            drop(spare);
            (self.lookup)(name)
        });
        match found {
            Ok(found) if found.is_empty() => Err(no_address(name, "the name has no addresses", false)),
            Ok(found) => Ok(distinct(found)),
            Err(error) => Err(lookup_fault(name, &error)),
        }
    }

    fn answer(&self, name: &Arc<str>, answer: Answer) {
        let (answer, waiters) = self.lock().cache.answer(name, answer, clock::now());
        for waiter in waiters {
            waiter(answer.clone());
        }
    }
}

/// Returns the addresses of a host that needs no lookup. `localhost` is the loopback address (RFC 6761), whatever
/// the machine's files say.
fn literal(host: &str) -> Option<Arc<[IpAddr]>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(Arc::from([address]));
    }
    let is_local = host == "localhost" || host.ends_with(".localhost");
    is_local.then(|| Arc::from([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]))
}

fn distinct(found: Vec<IpAddr>) -> Arc<[IpAddr]> {
    let mut addresses: Vec<IpAddr> = Vec::with_capacity(found.len().min(ADDRESSES_MAX));
    for address in found {
        if addresses.len() < ADDRESSES_MAX && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Arc::from(addresses)
}

fn no_address(host: &str, why: &str, may_pass: bool) -> Fault {
    Fault::Dns { message: format!("no address for {host}: {why}"), may_pass }
}

/// The connect timeout ran out before the lookup ended.
pub(super) fn too_slow(host: &str, timeout: Duration) -> Fault {
    no_address(host, &format!("no answer within {}", human(timeout)), true)
}

fn lookup_fault(host: &str, error: &io::Error) -> Fault {
    if let Some(shortage) = Shortage::of(error) {
        return Fault::Shortage(shortage);
    }
    // The standard library keeps only the C library's text for the error code. The text is English, because this
    // process never sets a locale.
    let text = error.to_string();
    let why = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    let may_pass = why.starts_with("Temporary failure") || why.starts_with("System error");
    no_address(host, why, may_pass)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn found() -> Answer {
        Ok(Arc::from([IpAddr::from([192, 0, 2, 1])]))
    }

    /// Asks for a name that is not known.
    fn ask(resolver: &Resolver, host: &str) -> mpsc::Receiver<Answer> {
        let (sender, receiver) = mpsc::channel();
        let waiter = Box::new(move |answer| drop(sender.send(answer)));
        assert_eq!(resolver.ask(host, waiter), None);
        receiver
    }

    #[test]
    fn concurrent_callers_share_one_lookup() {
        let asked = Arc::new(AtomicUsize::new(0));
        let (open, gate) = mpsc::channel::<()>();
        let (counter, gate) = (Arc::clone(&asked), Mutex::new(gate));
        let resolver = Resolver::new(Box::new(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            gate.lock().unwrap().recv().unwrap();
            Ok(vec![IpAddr::from([192, 0, 2, 7]); 3])
        }));
        assert_eq!(
            resolver.wait("slow.example", Duration::from_millis(1)),
            None,
            "the caller gives up in time"
        );
        let waiting = [(); 8].map(|()| ask(&resolver, "slow.example"));
        open.send(()).unwrap();
        for receiver in waiting {
            let addresses = receiver.recv().unwrap().unwrap();
            assert_eq!(*addresses, [IpAddr::from([192, 0, 2, 7])], "duplicates are dropped");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn addresses_and_localhost_need_no_lookup() {
        let resolver = Resolver::new(Box::new(|host| panic!("looked up {host}")));
        for (host, first) in [
            ("127.0.0.9", "127.0.0.9"),
            ("::1", "::1"),
            ("localhost", "127.0.0.1"),
            ("a.localhost", "127.0.0.1"),
        ] {
            let addresses = resolver.wait(host, Duration::ZERO).unwrap().unwrap();
            assert_eq!(addresses.first().copied(), first.parse().ok());
        }
    }

    #[test]
    fn a_shortage_is_not_cached() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let resolver = Resolver::new(Box::new(move |_| match counter.fetch_add(1, Ordering::SeqCst) {
            0 => Err(io::Error::from_raw_os_error(nix::libc::EMFILE)),
            _ => Ok(vec![IpAddr::from([192, 0, 2, 1])]),
        }));
        let first = resolver.wait("a.example", SECOND).unwrap();
        assert_eq!(first, Err(Fault::Shortage(Shortage::Descriptors)));
        assert_eq!(resolver.wait("a.example", SECOND).unwrap(), found());
    }

    #[test]
    fn temporary_lookup_failures_are_recognised() {
        for (text, message, passes) in [
            (
                "failed to lookup address information: Name or service not known",
                "no address for h: Name or service not known",
                false,
            ),
            (
                "failed to lookup address information: Temporary failure in name resolution",
                "no address for h: Temporary failure in name resolution",
                true,
            ),
        ] {
            let fault = lookup_fault("h", &io::Error::other(text));
            assert_eq!(fault, Fault::Dns { message: message.into(), may_pass: passes });
        }
    }

    #[test]
    fn a_lookup_that_fails_for_now_is_repeated_and_waits_alone() {
        for (failure, failures, want) in [
            ("Temporary failure in name resolution", 0, Some(1)),
            ("Temporary failure in name resolution", 4, Some(5)),
            ("Temporary failure in name resolution", 5, None),
            (NO_DATA, 4, Some(5)),
        ] {
            let asked = Arc::new(AtomicUsize::new(0));
            let counter = Arc::clone(&asked);
            let resolver = Resolver::new(Box::new(move |host| {
                if host == "other.example" || counter.fetch_add(1, Ordering::SeqCst) >= failures {
                    return Ok(vec![IpAddr::from([192, 0, 2, 1])]);
                }
                Err(io::Error::other(failure))
            }));
            // Begins the lookup.
            let _ = resolver.wait("a.example", Duration::ZERO);
            assert_eq!(resolver.wait("other.example", 10 * SECOND), Some(found()), "no retry holds it up");
            let answer = resolver.wait("a.example", 10 * SECOND).unwrap();
            match want {
                Some(lookups) => {
                    assert_eq!(answer, found());
                    assert_eq!(asked.load(Ordering::SeqCst), lookups);
                }
                None => assert!(matches!(answer, Err(Fault::Dns { may_pass: true, .. })), "{answer:?}"),
            }
        }
    }

    /// Slow names that are asked for in a burst while another name waits for its next lookup.
    #[test]
    fn slow_names_hold_up_neither_each_other_nor_a_repeated_one() {
        let (seen, lookups) = mpsc::channel();
        let (open, gate) = mpsc::channel::<()>();
        let asked = Arc::new(AtomicUsize::new(0));
        let (counter, gate) = (Arc::clone(&asked), Mutex::new(gate));
        let resolver = Resolver::new(Box::new(move |host| {
            seen.send(host.to_owned()).unwrap();
            if host != "again.example" {
                let _closed = gate.lock().unwrap().recv();
            } else if counter.fetch_add(1, Ordering::SeqCst) == 0 {
                return Err(io::Error::other("Temporary failure in name resolution"));
            }
            Ok(vec![IpAddr::from([192, 0, 2, 1])])
        }));
        let again = ask(&resolver, "again.example");
        while resolver.inner.lock().idle == 0 && asked.load(Ordering::SeqCst) < 2 {
            thread::yield_now();
        }
        let slow = ["a", "b", "c"].map(|name| ask(&resolver, name));
        assert_eq!(again.recv_timeout(10 * SECOND), Ok(found()));
        let mut names: Vec<String> =
            std::iter::from_fn(|| lookups.recv_timeout(10 * SECOND).ok()).take(5).collect();
        names.sort_unstable();
        assert_eq!(names, ["a", "again.example", "again.example", "b", "c"]);
        drop(open);
        for answer in slow {
            assert_eq!(answer.recv_timeout(10 * SECOND), Ok(found()));
        }
    }

    #[test]
    fn a_name_that_does_not_exist_is_asked_for_once() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let resolver = Resolver::new(Box::new(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            Err(io::Error::other("Name or service not known"))
        }));
        for _ in 0..3 {
            let answer = resolver.wait("a.example", 10 * SECOND).unwrap();
            assert!(matches!(answer, Err(Fault::Dns { may_pass: false, .. })));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn the_address_that_answered_comes_first() {
        let resolver =
            Resolver::new(Box::new(|_| Ok([1, 2, 3].map(|n| IpAddr::from([192, 0, 2, n])).into())));
        let ask = || resolver.wait("a.example", 10 * SECOND).unwrap().unwrap();
        let addresses = ask();
        resolver.prefer("a.example", &addresses, || Ok(SocketAddr::from(([192, 0, 2, 3], 80))));
        assert_eq!(*ask(), [3, 1, 2].map(|n| IpAddr::from([192, 0, 2, n])));
    }
}
