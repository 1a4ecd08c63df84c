//! The way of a hop through a proxy: which one, what is said to it, and whose fault a failure is.
//!
//! The supervisor chooses the proxy of each target and decides when one is tried again. A worker only remembers which
//! proxies have failed it: targets that were sent before the supervisor knew do not connect to them again.

mod handshake;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::PROXY_AUTHORIZATION;
use http::response::Parts;
use http::{HeaderValue, Request, Uri};
use shared::address::AddressPolicy;
use shared::job::FetchSpec;
use shared::protocol::{Exit, ExitFault};
use shared::proxy::{Proxy, ProxyScheme, ProxySpec, Reach};
use tokio::sync::{Semaphore, SemaphorePermit};

pub(super) use self::handshake::{Handshake, Host, Step};
use super::connect::{Endpoint, Gate};
use super::fault::{Fault, ProxyFault};

/// Bytes per read during a handshake.
pub(super) const HANDSHAKE_BYTES: usize = 1024;

/// Requests in a row whose connections ended without an answer, after which a proxy counts as failed. One may be the
/// fault of its server.
const BROKEN_MAX: u32 = 2;

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
            // A target that the supervisor saw no need of a proxy for may lead to one that needs it.
            Reach::Any => exit.map_or(0, |exit| exit.proxy),
        };
        let route = self.list.get(usize::from(place))?;
        if let Some(exit) = exit.filter(|exit| exit.proxy == place) {
            route.seen.fetch_max(exit.epoch, Ordering::Relaxed);
        }
        Some((place, route))
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

    /// Notes how a request ended.
    pub(super) fn on_fault(&self, fault: &Fault) {
        if matches!(fault, Fault::Stale | Fault::Closed | Fault::Timeout) {
            self.on_broken();
        }
        if *fault == Fault::Closed && self.broken.fetch_add(1, Ordering::Relaxed) + 1 >= BROKEN_MAX {
            self.failed.fetch_max(self.seen.load(Ordering::Relaxed).max(1), Ordering::Relaxed);
        }
    }

    /// Returns the fault that a response stands for, if the proxy made the response itself.
    pub(super) fn fault_of_head(&self, uri: &Uri, head: &Parts) -> Option<Fault> {
        self.on_success();
        let server = Endpoint::of(uri).ok()?;
        if !self.is_absolute(&server) {
            return None;
        }
        if head.status.as_u16() == 407 {
            return Some(self.failed_by(handshake::login_fault(&self.proxy)));
        }
        // Of all proxies, only squid says that an error is its own. That of any other looks like the server's.
        let error = head.headers.get("x-squid-error").filter(|_| head.status.as_u16() >= 400)?;
        let error = error.to_str().unwrap_or_default();
        let why = format!("it answered with {} {error}", head.status.as_u16());
        Some(ProxyFault::new(&self.proxy, ExitFault::Unreachable, why.trim_end()).into())
    }

    /// Fails if the proxy has failed this worker since the supervisor last chose to try it.
    pub(super) fn admit(&self) -> Result<(), Fault> {
        let failed = self.failed.load(Ordering::Relaxed);
        if failed > 0 && failed >= self.seen.load(Ordering::Relaxed) {
            return Err(ProxyFault::new(&self.proxy, ExitFault::Proxy, "it has just failed").into());
        }
        Ok(())
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
            self.failed.fetch_max(self.seen.load(Ordering::Relaxed).max(1), Ordering::Relaxed);
            self.on_broken();
        }
        fault.into()
    }

    /// Returns the fault of a connection to the proxy itself that could not be made.
    pub(super) fn unreachable(&self, fault: Fault) -> Fault {
        match fault {
            Fault::Shortage(_) | Fault::Timeout | Fault::Proxy(_) => fault,
            fault @ (Fault::ConnectTimeout
            | Fault::Dns { .. }
            | Fault::AddressDenied(_)
            | Fault::Connect(_)
            | Fault::Tls { .. }
            | Fault::Stale
            | Fault::Http1Required
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
