//! Resolves names to addresses with the system's resolver, behind a cache. Each name has one lookup at a time.
//!
//! The system offers only a blocking call without a timeout. It runs on threads of its own here, so that a caller
//! can give up waiting. The answer is still cached for the next caller.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs as _};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};
use shared::clock;
use tokio::sync::oneshot;

use super::fault::{Fault, human};
use crate::shortage::Shortage;

/// How long an address stays cached. The system does not report the record's TTL; browsers use a minute.
const POSITIVE_TTL: Duration = Duration::from_secs(60);

/// How long a failure stays cached: long enough for a burst of URLs of one dead host.
const NEGATIVE_TTL: Duration = Duration::from_secs(5);

/// Maximum names in the cache, at about 150 bytes each.
const NAMES_MAX: usize = 20_000;

/// Maximum concurrent lookups. A dead name server can hold each for ten seconds or more.
const THREADS_MAX: usize = 64;

/// Maximum addresses to try for one host.
const ADDRESSES_MAX: usize = 8;

/// Stack of a lookup thread. `getaddrinfo` and its plugins need little; 64 times the default of 2 MiB would be
/// wasteful.
const STACK_BYTES: usize = 512 * 1024;

pub(super) type Answer = Result<Arc<[IpAddr]>, Fault>;
type Waiter = Box<dyn FnOnce(Answer) + Send>;
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
}

#[derive(Default)]
struct State {
    cache: Cache,
    queue: VecDeque<Arc<str>>,
    threads: usize,
}

impl Resolver {
    pub(super) fn system() -> Self {
        Self::new(Box::new(|host| Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect())))
    }

    fn new(lookup: Box<Lookup>) -> Self {
        Self { inner: Arc::new(Inner { state: Mutex::default(), lookup, threads_max: threads_max() }) }
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

    fn ask(&self, host: &str, waiter: Waiter) -> Option<Answer> {
        if let Some(addresses) = literal(host) {
            return Some(Ok(addresses));
        }
        let mut state = self.inner.lock();
        match state.cache.ask(host, waiter, clock::now()) {
            Asked::Known(answer) => return Some(answer),
            Asked::Waiting => return None,
            Asked::First(name) => state.queue.push_back(name),
        }
        if state.threads < self.inner.threads_max {
            state.threads += 1;
            drop(state);
            self.start_thread();
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
            // Any running thread will take the lookup from the queue. Without a thread, fail it here.
            if state.threads == 0 {
                let names = std::mem::take(&mut state.queue);
                drop(state);
                let shortage = Shortage::of(&error).unwrap_or(Shortage::Threads);
                for name in names {
                    self.inner.answer(&name, Err(Fault::Shortage(shortage)));
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
        loop {
            let mut state = self.lock();
            let Some(name) = state.queue.pop_front() else {
                state.threads -= 1;
                return;
            };
            drop(state);
            // A lookup that gets no descriptor reports that the name does not exist.
            let answer = match io::pipe().and_then(|spare| {
                drop(spare);
                (self.lookup)(&name)
            }) {
                Ok(found) if found.is_empty() => Err(no_address(&name, "the name has no addresses", false)),
                Ok(found) => Ok(distinct(found)),
                Err(error) => Err(lookup_fault(&name, &error)),
            };
            self.answer(&name, answer);
        }
    }

    fn answer(&self, name: &Arc<str>, answer: Answer) {
        let waiters = self.lock().cache.answer(name, answer.clone(), clock::now());
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

/// Known answers and pending lookups. Reads no clock.
#[derive(Default)]
struct Cache {
    names: HashMap<Arc<str>, Entry>,
}

enum Entry {
    Known { answer: Answer, until: Instant },
    Asked(Vec<Waiter>),
}

enum Asked {
    Known(Answer),
    Waiting,
    /// No lookup of this name is pending: the caller must start one.
    First(Arc<str>),
}

impl Cache {
    fn ask(&mut self, host: &str, waiter: Waiter, now: Instant) -> Asked {
        match self.names.get_mut(host) {
            Some(Entry::Known { answer, until }) if *until > now => Asked::Known(answer.clone()),
            Some(Entry::Asked(waiters)) => {
                waiters.push(waiter);
                Asked::Waiting
            }
            Some(Entry::Known { .. }) | None => {
                self.make_room(now);
                let name: Arc<str> = Arc::from(host);
                self.names.insert(Arc::clone(&name), Entry::Asked(vec![waiter]));
                Asked::First(name)
            }
        }
    }

    fn answer(&mut self, name: &Arc<str>, answer: Answer, now: Instant) -> Vec<Waiter> {
        let ttl = match &answer {
            Ok(_) => POSITIVE_TTL,
            // A shortage says nothing about the name.
            Err(Fault::Shortage(_)) => Duration::ZERO,
            Err(_) => NEGATIVE_TTL,
        };
        let entry = Entry::Known { answer, until: now + ttl };
        match self.names.insert(Arc::clone(name), entry) {
            Some(Entry::Asked(waiters)) => waiters,
            Some(Entry::Known { .. }) | None => Vec::new(),
        }
    }

    fn make_room(&mut self, now: Instant) {
        if self.names.len() < NAMES_MAX {
            return;
        }
        self.names.retain(|_, entry| !matches!(entry, Entry::Known { until, .. } if *until <= now));
        if self.names.len() >= NAMES_MAX {
            self.names.retain(|_, entry| matches!(entry, Entry::Asked(_)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn nobody() -> Waiter {
        Box::new(|_| ())
    }

    fn found() -> Answer {
        Ok(Arc::from([IpAddr::from([192, 0, 2, 1])]))
    }

    #[test]
    fn an_answer_is_cached_until_it_expires() {
        for (answer, ttl) in [(found(), POSITIVE_TTL), (Err(no_address("a", "none", false)), NEGATIVE_TTL)] {
            let (mut cache, now) = (Cache::default(), clock::now());
            let Asked::First(name) = cache.ask("a", nobody(), now) else { panic!("nobody asked yet") };
            assert!(matches!(cache.ask("a", nobody(), now), Asked::Waiting));
            assert_eq!(cache.answer(&name, answer.clone(), now).len(), 2);
            assert!(matches!(cache.ask("a", nobody(), now + ttl - SECOND), Asked::Known(a) if a == answer));
            assert!(matches!(cache.ask("a", nobody(), now + ttl), Asked::First(_)));
        }
    }

    #[test]
    fn a_full_cache_keeps_the_names_that_are_waited_for() {
        let (mut cache, now) = (Cache::default(), clock::now());
        let Asked::First(_) = cache.ask("waiting", nobody(), now) else { panic!("nobody asked yet") };
        for i in 0..=NAMES_MAX {
            let Asked::First(name) = cache.ask(&i.to_string(), nobody(), now) else { panic!("{i} is new") };
            cache.answer(&name, found(), now);
        }
        assert!(cache.names.len() <= NAMES_MAX);
        assert!(matches!(cache.ask("waiting", nobody(), now), Asked::Waiting));
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
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let (sender, receiver) = mpsc::channel();
                let waiter = Box::new(move |answer| drop(sender.send(answer)));
                assert_eq!(resolver.ask("slow.example", waiter), None);
                receiver
            })
            .collect();
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
}
