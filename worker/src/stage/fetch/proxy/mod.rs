//! The way of a hop through a proxy: which one, what is said to it, and whose fault a failure is.
//!
//! The supervisor chooses the proxy of each target and decides when one is tried again. A worker only remembers which
//! proxies have failed it: targets that were sent before the supervisor knew do not connect to them again. A redirect
//! may lead to a proxy that the supervisor did not choose; the outcome says which, so that it counts for that one.

mod handshake;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::PROXY_AUTHORIZATION;
use http::response::Parts;
use http::{HeaderValue, Request, Uri};
use shared::address::AddressPolicy;
use shared::clock;
use shared::job::FetchSpec;
use shared::protocol::{Exit, ExitFault};
use shared::proxy::{Proxy, ProxyScheme, ProxySpec, Reach};
use tokio::sync::{Semaphore, SemaphorePermit};

pub(super) use self::handshake::{Handshake, Host, Step};
use super::connect::{Endpoint, Gate};
use super::fault::{Fault, ProxyFault};

/// How squid calls errors before it has a connection to the server. `ERR_ACCESS_DENIED` is not one of them: squid says
/// so of an answer that it does not pass on, too.
const NOT_CONNECTED: [&str; 3] = ["ERR_CONNECT_FAIL", "ERR_DNS_FAIL", "ERR_CACHE_ACCESS_DENIED"];

/// Bytes per read during a handshake.
pub(super) const HANDSHAKE_BYTES: usize = 1024;

/// Requests in a row whose connections ended without an answer, after which a proxy counts as failed. One may be the
/// fault of its server.
const BROKEN_MAX: u32 = 3;

/// How long a proxy that has failed is not used, unless the supervisor chooses to try it earlier. The supervisor lets
/// it rest at least as long; the limit is for redirects, which lead to proxies without being sent there.
const SHUNNED_FOR: Duration = Duration::from_secs(20);

/// The proxies of a job.
pub(super) struct Routes {
    spec: ProxySpec,
    list: Box<[Arc<Route>]>,
}

impl Routes {
    pub(super) fn new(spec: &FetchSpec) -> Self {
        let checks = spec.address_policy == AddressPolicy::Public;
        let gate = Gate::of(spec.proxies.policy);
        let route = |proxy: &Proxy| Arc::new(Route::new(proxy.clone(), gate, checks));
        Self { spec: spec.proxies.clone(), list: spec.proxies.list.iter().map(route).collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns the proxy of a hop and its position; `None` if the hop goes directly. A redirect keeps the target's
    /// proxy, if that serves where it leads.
    pub(super) fn of(&self, exit: Option<Exit>, uri: &Uri) -> Option<(u16, &Arc<Route>)> {
        if self.list.is_empty() {
            return None;
        }
        let endpoint = Endpoint::of(uri).ok()?;
        let place = match self.spec.reach(endpoint.tls, &endpoint.host) {
            Reach::Direct => return None,
            Reach::Only(place) => place,
            Reach::Any => exit.map_or_else(|| self.working(&endpoint.host), |exit| exit.proxy),
        };
        let route = self.list.get(usize::from(place))?;
        if let Some(exit) = exit.filter(|exit| exit.proxy == place) {
            route.see(exit.epoch);
        }
        Some((place, route))
    }

    /// Returns a proxy for a redirect that needs one, of a target that needed none: the same for all of a host, and one
    /// that works as far as this worker knows.
    fn working(&self, host: &str) -> u16 {
        let sum = host.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let first = sum % self.list.len().max(1);
        let mut places = (first..self.list.len()).chain(0..first);
        let works = |place: &usize| self.list.get(*place).is_some_and(|route| route.admit().is_ok());
        u16::try_from(places.find(works).unwrap_or(first)).unwrap_or_default()
    }
}

/// A proxy, and what this worker knows of it.
pub(super) struct Route {
    pub(super) proxy: Proxy,
    /// Where it is.
    pub(super) endpoint: Endpoint,
    /// Which addresses it may have.
    pub(super) gate: Gate,
    /// Whether servers are given to it as addresses that were checked here.
    checks: bool,
    login: Option<HeaderValue>,
    /// The highest [`Exit::epoch`] so far, and that in which it last failed.
    seen: AtomicU32,
    failed: AtomicU32,
    /// When that was, on the monotonic clock.
    failed_at_us: AtomicU64,
    /// Whether it has passed on an answer, or opened a tunnel.
    has_worked: AtomicBool,
    /// Whether a connection through it has ended since one was last made.
    in_doubt: AtomicBool,
    /// Requests in a row whose connections ended without an answer.
    broken: AtomicU32,
    /// While it is in doubt, one connection at a time is made.
    turn: Semaphore,
}

impl Route {
    fn new(proxy: Proxy, gate: Gate, checks: bool) -> Self {
        Self {
            endpoint: Endpoint {
                host: proxy.host.clone(),
                port: proxy.port,
                tls: proxy.scheme == ProxyScheme::Https,
            },
            login: basic(&proxy),
            proxy,
            gate,
            checks,
            seen: AtomicU32::new(0),
            failed: AtomicU32::new(0),
            failed_at_us: AtomicU64::new(0),
            has_worked: AtomicBool::new(false),
            in_doubt: AtomicBool::new(false),
            broken: AtomicU32::new(0),
            turn: Semaphore::new(1),
        }
    }

    /// Whether requests to this server are sent to the proxy itself, in absolute form. A proxy that was given a name
    /// would look it up, so where addresses are checked there is a tunnel to a checked one.
    pub(super) const fn is_absolute(&self, server: &Endpoint) -> bool {
        self.proxy.scheme.is_http() && !server.tls && !self.checks
    }

    /// Whether the names of servers are resolved here.
    pub(super) const fn resolves(&self) -> bool {
        self.checks || matches!(self.proxy.scheme, ProxyScheme::Socks5)
    }

    /// Begins the handshake for a connection to a server.
    pub(super) fn handshake(&self, host: &Host, port: u16) -> Result<Handshake<'_>, Fault> {
        Ok(Handshake::new(&self.proxy, self.login.as_ref(), host, port)?)
    }

    /// Returns the address that the proxy is asked for: one that the job may connect to. Many proxies have no IPv6, so
    /// an IPv4 address is preferred.
    pub(super) fn address(&self, gate: Gate, server: &Endpoint, addresses: &[IpAddr]) -> Result<Host, Fault> {
        let allowed = gate.allowed(&server.host, addresses)?;
        let first = allowed.iter().find(|address| address.is_ipv4()).or(allowed.first());
        first.copied().map(Host::Address).ok_or(Fault::ConnectTimeout)
    }

    /// Begins a request: adds what the proxy needs, if it reads the request. Returns where the request goes.
    pub(super) fn begin<B>(&self, request: &mut Request<B>) -> Result<Uri, Fault> {
        self.admit()?;
        let uri = request.uri().clone();
        if let Some(login) = &self.login
            && self.is_absolute(&Endpoint::of(&uri)?)
        {
            request.headers_mut().insert(PROXY_AUTHORIZATION, login.clone());
        }
        Ok(uri)
    }

    /// Notes that a target was sent here in this epoch.
    fn see(&self, epoch: u32) {
        if self.seen.fetch_max(epoch, Ordering::Relaxed) < epoch {
            self.broken.store(0, Ordering::Relaxed);
        }
    }

    fn fail(&self) {
        self.failed.fetch_max(self.seen.load(Ordering::Relaxed).max(1), Ordering::Relaxed);
        self.failed_at_us.store(clock::monotonic_us(), Ordering::Relaxed);
        self.on_broken();
    }

    /// Notes that a request ended without an answer. Returns the fault that this means: what is no HTTP does not come
    /// from a server, if the proxy reads the requests and has never passed on an answer.
    pub(super) fn on_fault(&self, uri: &Uri, fault: Fault) -> Fault {
        if fault.is_timeout() || matches!(fault, Fault::Stale | Fault::Untouched | Fault::Closed) {
            self.on_broken();
        }
        if fault == Fault::Closed && self.broken.fetch_add(1, Ordering::Relaxed) + 1 >= BROKEN_MAX {
            self.fail();
        }
        let is_garbage = matches!(fault, Fault::Head | Fault::HeadTooLarge | Fault::Protocol(_));
        let reads_requests = Endpoint::of(uri).is_ok_and(|server| self.is_absolute(&server));
        if is_garbage && reads_requests && !self.has_worked.load(Ordering::Relaxed) {
            let why = "it did not answer with HTTP";
            let fault = ProxyFault::new(&self.proxy, ExitFault::Proxy, why);
            return self.failed_by(ProxyFault { was_sent: true, ..fault });
        }
        fault
    }

    /// Returns the fault that a response stands for, if the proxy made the response itself.
    pub(super) fn fault_of_head(&self, uri: &Uri, head: &Parts) -> Option<Fault> {
        let is_absolute = Endpoint::of(uri).is_ok_and(|server| self.is_absolute(&server));
        if is_absolute && head.status.as_u16() == 407 {
            let fault = handshake::login_fault(&self.proxy);
            // After answers, it may be the server that asks. The supervisor sees whether all servers do.
            let has_worked = self.has_worked.load(Ordering::Relaxed);
            return Some(if has_worked { fault.into() } else { self.failed_by(fault) });
        }
        self.on_success();
        if !is_absolute {
            return None;
        }
        // Of all proxies, only squid says that an error is its own. That of any other looks like the server's.
        let error = head.headers.get("x-squid-error").filter(|_| head.status.as_u16() >= 400)?;
        let error = error.to_str().unwrap_or_default();
        let why = format!("it answered with {} {error}", head.status.as_u16());
        let fault = ProxyFault::new(&self.proxy, ExitFault::Unreachable, why.trim_end());
        let was_sent = !NOT_CONNECTED.iter().any(|name| error.starts_with(name));
        Some(ProxyFault { was_sent, ..fault }.into())
    }

    /// Fails if the proxy has failed this worker since the supervisor last chose to try it.
    pub(super) fn admit(&self) -> Result<(), Fault> {
        let failed = self.failed.load(Ordering::Relaxed);
        if failed == 0 || failed < self.seen.load(Ordering::Relaxed) {
            return Ok(());
        }
        let since_us = clock::monotonic_us().saturating_sub(self.failed_at_us.load(Ordering::Relaxed));
        if Duration::from_micros(since_us) >= SHUNNED_FOR {
            return Ok(());
        }
        Err(ProxyFault::new(&self.proxy, ExitFault::Shunned, "it has just failed").into())
    }

    /// Waits until a connection may be made. While others find out whether the proxy works, that takes a while.
    pub(super) async fn turn(&self) -> Result<Option<SemaphorePermit<'_>>, Fault> {
        self.admit()?;
        if !self.in_doubt.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let turn = self.turn.acquire().await.ok();
        self.admit()?;
        Ok(turn.filter(|_| self.in_doubt.load(Ordering::Relaxed)))
    }

    /// Notes that the proxy works: it has agreed to a tunnel, or passed on an answer.
    pub(super) fn on_success(&self) {
        self.has_worked.store(true, Ordering::Relaxed);
        self.broken.store(0, Ordering::Relaxed);
        self.in_doubt.store(false, Ordering::Relaxed);
    }

    /// Notes that a connection through the proxy ended.
    fn on_broken(&self) {
        self.in_doubt.store(true, Ordering::Relaxed);
    }

    /// Returns the fault of a connection that could not be made, after noting it.
    pub(super) fn failed_by(&self, fault: ProxyFault) -> Fault {
        if matches!(fault.kind, ExitFault::Proxy | ExitFault::Credentials) {
            self.fail();
        }
        fault.into()
    }

    /// Returns the fault of a connection to the proxy itself that could not be made.
    pub(super) fn unreachable(&self, fault: Fault) -> Fault {
        match fault {
            Fault::Shortage(_) | Fault::Timeout | Fault::TimeoutUnsent | Fault::Proxy(_) => fault,
            fault @ (Fault::ConnectTimeout
            | Fault::Dns { .. }
            | Fault::AddressDenied(_)
            | Fault::Connect(_)
            | Fault::Tls { .. }
            | Fault::Session(_)
            | Fault::Stale
            | Fault::Untouched
            | Fault::Http1Required
            | Fault::Http1Preferred
            | Fault::Closed
            | Fault::Head
            | Fault::HeadTooLarge
            | Fault::Chunk
            | Fault::Unsupported(_)
            | Fault::Protocol(_)
            | Fault::Url(_)) => {
                self.failed_by(ProxyFault::new(&self.proxy, ExitFault::Proxy, &fault.to_string()))
            }
        }
    }

    /// Returns the fault of a proxy that did not finish the handshake in time.
    pub(super) fn silent(&self) -> Fault {
        self.on_broken();
        ProxyFault::new(&self.proxy, ExitFault::Silent, "no answer to the handshake in time").into()
    }

    /// Returns the fault of a connection that was not begun, because another one took too long.
    pub(super) fn occupied(&self) -> Fault {
        let why = "another connection to it took too long";
        ProxyFault::new(&self.proxy, ExitFault::Shunned, why).into()
    }

    /// Returns the fault of a handshake that ended with an error of the connection.
    pub(super) fn cut_short(&self) -> Fault {
        self.failed_by(ProxyFault::new(
            &self.proxy,
            ExitFault::Proxy,
            "it closed the connection during the handshake",
        ))
    }
}

/// The value of `Proxy-Authorization`, if an HTTP proxy wants one.
fn basic(proxy: &Proxy) -> Option<HeaderValue> {
    let credentials = proxy.credentials.as_ref().filter(|_| proxy.scheme.is_http())?;
    let pair = [credentials.user.as_slice(), b":", &credentials.password].concat();
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::fetch::rules::tests::spec;

    fn route() -> (Routes, Uri) {
        let list = vec!["http://u:p@127.0.0.1:1".parse().unwrap()];
        let proxies = ProxySpec { list, ..ProxySpec::default() };
        (Routes::new(&FetchSpec { proxies, ..spec() }), Uri::from_static("http://a/"))
    }

    fn exit(epoch: u32) -> Option<Exit> {
        Some(Exit { proxy: 0, epoch, may_move: true, may_divert: true })
    }

    #[test]
    fn a_proxy_that_failed_is_used_again_when_the_supervisor_says_so() {
        let (routes, uri) = route();
        let (_, route) = routes.of(exit(1), &uri).unwrap();
        assert_eq!(route.admit(), Ok(()));
        let Fault::Proxy(_) = route.unreachable(Fault::Connect("refused".into())) else {
            panic!("not its fault")
        };
        for (epoch, is_admitted) in [(1, false), (2, true), (1, true)] {
            routes.of(exit(epoch), &uri);
            assert_eq!(route.admit().is_ok(), is_admitted, "{epoch}");
        }
    }

    #[tokio::test]
    async fn while_a_proxy_is_in_doubt_one_connection_at_a_time_is_made() {
        let (routes, uri) = route();
        let (_, route) = routes.of(exit(1), &uri).unwrap();
        assert!(route.turn().await.unwrap().is_none());
        route.on_broken();
        let first = route.turn().await.unwrap();
        assert!(first.is_some());
        let second = async {
            let turn = route.turn().await;
            turn.map(|turn| turn.is_some())
        };
        let fails = async {
            tokio::task::yield_now().await;
            route.cut_short();
            drop(first);
        };
        let (second, ()) = tokio::join!(second, fails);
        assert!(second.is_err(), "the second does not try what has just failed");
    }

    #[test]
    fn the_login_goes_only_to_a_proxy_that_reads_the_request() {
        let (routes, _) = route();
        for (url, is_sent) in [("http://a/", true), ("https://a/", false)] {
            let mut request = Request::new(());
            *request.uri_mut() = url.parse().unwrap();
            routes.list[0].begin(&mut request).unwrap();
            assert_eq!(request.headers().contains_key(PROXY_AUTHORIZATION), is_sent, "{url}");
        }
    }
}
