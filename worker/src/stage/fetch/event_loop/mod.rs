//! Fetches many targets at once with hyper on a current-thread runtime, for the concurrent modes.
//!
//! hyper speaks HTTP/1.1 and HTTP/2 and pools connections. Here it follows no redirects, decodes nothing and has
//! no timeouts. One timer serves a whole target.

mod connections;
mod connector;
mod goaway;
mod stall;
mod tunnel;

use std::cell::{OnceCell, RefCell};
use std::error::Error;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use nix::sys::resource::{Resource, getrlimit};
use shared::clock;
use shared::job::FetchSpec;
use shared::kept::Kept;
use shared::protocol::Exit;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::connect::is_reset;
use super::cookies::Cookies;
use super::exchange::{Exchange, Flow, Turn};
use super::fault::Fault;
use super::proxy::{Route, Routes};
use super::recording::Recording;
use super::repair::{HEAD_BYTES_MAX, TIDY_BYTES_MAX};
use super::rules::{Rules, SpecError};
use super::tls::Tls;
use super::{Outcome, Wanted};
use crate::shortage::Shortages;
use connections::{Closer, Connections, Reading, WaitTime};
use connector::{Dial, Version, Via};
use goaway::Refusals;
pub(crate) use stall::Stall;

/// How long an idle connection is kept. Servers close theirs after 5 to 75 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Descriptors for everything but connections: channels, the event loop, lookups, certificates.
const DESCRIPTORS_RESERVED: u64 = 32;

/// How long to read a body only to keep its connection.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(250);

/// Fetches many URLs at once, on the runtime that polls it.
#[derive(Clone)]
pub(crate) struct Client {
    rules: Rc<Rules>,
    robots_rules: Rc<Rules>,
    login_rules: Rc<Rules>,
    direct: Rc<Pools>,
    /// Through each proxy, once it is used.
    proxied: Rc<[OnceCell<Pools>]>,
    routes: Rc<Routes>,
    refusals: Refusals,
    dial: Dial,
    stall: Stall,
    connections: Arc<Connections>,
}

impl Client {
    /// Creates a client for a job. Opens nothing yet, and needs no runtime yet. Other users share `shortages`.
    ///
    /// # Errors
    /// Requests cannot be made as the job says.
    pub(crate) fn new(spec: &FetchSpec, shortages: Shortages) -> Result<Self, SpecError> {
        let tls = Tls::of(&spec.transport, &["h2", "http/1.1"]);
        Ok(Self::build(Rules::new(spec)?, Routes::new(spec), tls, shortages))
    }

    #[cfg(test)]
    pub(super) fn with_tls(spec: &FetchSpec, tls: Tls) -> Result<Self, SpecError> {
        Ok(Self::build(Rules::new(spec)?, Routes::new(spec), tls, Shortages::default()))
    }

    #[cfg(test)]
    pub(super) fn with_rules(rules: Rules, spec: &FetchSpec, tls: Tls) -> Self {
        Self::build(rules, Routes::new(spec), tls, Shortages::default())
    }

    fn build(rules: Rules, routes: Routes, tls: Tls, shortages: Shortages) -> Self {
        let stall = Stall::default();
        let connections = Connections::new(connections_max(rules.saved.is_some()), shortages);
        let refusals = Refusals::default();
        let dial = Dial::new(tls, &rules, stall.clone(), Arc::clone(&connections), refusals.clone());
        let direct = Rc::new(Pools::new(&dial));
        let proxied = (0..routes.len()).map(|_| OnceCell::new()).collect();
        let routes = Rc::new(routes);
        let (robots_rules, login_rules) = (Rc::new(rules.of_robots()), Rc::new(rules.of_login()));
        let rules = Rc::new(rules);
        Self { rules, robots_rules, login_rules, direct, proxied, routes, refusals, dial, stall, connections }
    }

    /// Where the executor counts the time in which the event loop could not run.
    #[must_use]
    pub(crate) const fn stall(&self) -> &Stall {
        &self.stall
    }

    /// The cookies, if the job keeps them.
    pub(crate) fn cookies(&self) -> Option<Cookies> {
        self.rules.cookies.clone()
    }

    /// From now on, every response over a new connection carries the address that it came from.
    pub(crate) fn name_peers(&self) {
        self.dial.name_peers();
    }

    /// Fetches one URL through `exit`, including redirects, and records it on `recording`.
    ///
    /// # Errors
    /// Why there is no complete response below 400.
    pub(crate) async fn fetch(
        &self,
        url: &str,
        wanted: Wanted,
        exit: Option<Exit>,
        kept: Kept<'_>,
        recording: &mut Recording,
    ) -> Outcome {
        let rules = match wanted {
            Wanted::Page | Wanted::Listed => &self.rules,
            Wanted::Robots { .. } => &self.robots_rules,
            Wanted::Check | Wanted::Login => &self.login_rules,
        };
        let mut exchange = Exchange::new(rules, url, wanted, kept, recording)?;
        let (waited, sent) = (WaitTime::default(), Sent::default());
        let work = self.drive(&mut exchange, exit, &waited, &sent);
        match self.stall.within_excusing(rules.timeout, || waited.total(), work).await {
            Some(outcome) => outcome,
            None => exchange.time_out(&sent.timeout()),
        }
    }

    async fn drive(
        &self,
        exchange: &mut Exchange<'_>,
        exit: Option<Exit>,
        waited: &WaitTime,
        sent: &Sent,
    ) -> Outcome {
        let mut attempt = 0;
        loop {
            let request = match exchange.turn() {
                Turn::Done(outcome) => return outcome,
                Turn::Request(request) => request,
            };
            let mut request = sent.watch(exchange, request.map(Full::new));
            let uri = request.uri().clone();
            let route = self.routes.of(exit, &uri);
            exchange.goes_through(route.map(|(place, _)| place));
            let http1_only = self.refusals.contains(&uri);
            let client = self.pools(route).client(http1_only);
            let route = route.map(|(_, route)| &**route);
            if let Some(Err(fault)) = route.map(|route| route.begin(&mut request)) {
                exchange.on_fault(&fault);
                continue;
            }
            let (sent_at, stalled) = (clock::now(), self.stall.total());
            let response = match client.request(request).await {
                Ok(response) => response,
                Err(error) => {
                    let fault = self.version_fault(&uri, http1_only, request_fault(&error));
                    if let Fault::Shortage(shortage) = fault
                        && !self.connections.wait(shortage, attempt, waited).await
                    {
                        return exchange.give_up(&fault);
                    }
                    attempt += 1;
                    let fault = match route {
                        Some(route) => route.on_fault(&uri, fault),
                        None => fault,
                    };
                    exchange.on_fault(&fault);
                    continue;
                }
            };
            attempt = 0;
            let (mut head, body) = response.into_parts();
            let _reading = Reading::begin(&self.connections, head.extensions.get::<Arc<Closer>>());
            let via = head.extensions.remove::<Via>();
            let sent_at = via.as_ref().map_or(sent_at, |via| via.opened.max(sent_at));
            let http2 = via.and_then(|via| via.version.on_answer(&mut head));
            if let Some(fault) = route.and_then(|route| route.fault_of_head(&uri, &head)) {
                exchange.on_fault(&fault);
                continue;
            }
            // What came while this thread was busy was noticed late.
            let stalled = self.stall.total().saturating_sub(stalled);
            let first_byte = clock::now().duration_since(sent_at).saturating_sub(stalled);
            if exchange.on_head(&head, first_byte) == Flow::Stop {
                continue;
            }
            let read = if exchange.draining() {
                let read = timeout(DRAIN_TIMEOUT, read_body(exchange, body)).await;
                read.unwrap_or(Err(Fault::Closed))
            } else {
                read_body(exchange, body).await
            };
            match read {
                Ok(()) => exchange.on_end(),
                Err(fault) => {
                    let fault = match http2 {
                        Some(http2) => http2.body_fault(fault),
                        None => fault,
                    };
                    exchange.on_fault(&self.version_fault(&uri, http1_only, fault));
                }
            }
        }
    }

    /// Returns the connections that go this way.
    fn pools(&self, route: Option<(u16, &Arc<Route>)>) -> &Pools {
        let through = |(place, route): (u16, &Arc<Route>)| {
            let pools = self.proxied.get(usize::from(place))?;
            Some(pools.get_or_init(|| Pools::new(&self.dial.through(route))))
        };
        route.and_then(through).unwrap_or(&self.direct)
    }

    /// Returns the fault, or that the server requires HTTP/1.1. A request under way may see only that its
    /// connection ends; then the server may have acted on it.
    fn version_fault(&self, uri: &Uri, http1_only: bool, fault: Fault) -> Fault {
        let is_known = !http1_only && self.refusals.contains(uri);
        if fault == Fault::Http1Required {
            self.refusals.add(uri);
        } else if is_known && fault == Fault::Untouched {
            return Fault::Http1Required;
        } else if is_known && matches!(fault, Fault::Closed | Fault::Stale) {
            return Fault::Http1Preferred;
        }
        fault
    }
}

/// Whether a request that must not be sent twice has reached a connection. Others need not know.
#[derive(Default)]
struct Sent(RefCell<Option<CaptureConnection>>);

impl Sent {
    /// Watches the next request.
    fn watch(&self, exchange: &Exchange<'_>, mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
        self.0.replace(exchange.once().map(|_| capture_connection(&mut request)));
        request
    }

    /// The fault of a target whose time is over.
    fn timeout(&self) -> Fault {
        let unsent = |capture: &CaptureConnection| capture.connection_metadata().is_none();
        if self.0.borrow().as_ref().is_some_and(unsent) { Fault::TimeoutUnsent } else { Fault::Timeout }
    }
}

/// Connections that stay open.
struct Pools {
    client: legacy::Client<Dial, Full<Bytes>>,
    /// For servers that refuse HTTP/2.
    http1_client: legacy::Client<Dial, Full<Bytes>>,
}

impl Pools {
    fn new(dial: &Dial) -> Self {
        let head_bytes_max = u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX);
        let build = |dial| {
            legacy::Client::builder(TokioExecutor::new())
                .pool_idle_timeout(IDLE_TIMEOUT)
                .pool_timer(TokioTimer::new())
                .http1_max_buf_size(TIDY_BYTES_MAX)
                .http1_writev(false)
                .http2_max_header_list_size(head_bytes_max)
                .build(dial)
        };
        Self { client: build(dial.clone()), http1_client: build(dial.http1_only()) }
    }

    const fn client(&self, http1_only: bool) -> &legacy::Client<Dial, Full<Bytes>> {
        if http1_only { &self.http1_client } else { &self.client }
    }
}

async fn read_body(exchange: &mut Exchange<'_>, mut body: Incoming) -> Result<(), Fault> {
    while let Some(frame) = body.frame().await {
        // A frame without data holds trailers, which are not used.
        let Ok(chunk) = frame.map_err(|error| fault(&error))?.into_data() else { continue };
        let mut flow = exchange.on_chunk(&chunk);
        while flow == Flow::Work {
            // The timer and the other targets have their turn.
            yield_now().await;
            if let Some(file) = exchange.file_ahead() {
                file.caught_up().await;
            }
            flow = exchange.go_on();
        }
        if flow == Flow::Stop {
            return Ok(());
        }
        if let Some(file) = exchange.file_ahead() {
            file.caught_up().await;
        }
    }
    Ok(())
}

/// Maximum connections that leave descriptors for lookups, and for the files that the bodies become.
fn connections_max(saves: bool) -> usize {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let free = soft.saturating_sub(DESCRIPTORS_RESERVED);
    usize::try_from(if saves { free / 2 } else { free }).unwrap_or(usize::MAX)
}

/// Returns why there is no response head.
fn request_fault(error: &legacy::Error) -> Fault {
    let fault = fault(error);
    let Some(connection) = error.connect_info() else {
        return fault;
    };
    let mut extras = http::Extensions::new();
    connection.get_extras(&mut extras);
    match extras.get::<Via>() {
        Some(Via { version: Version::Http2(http2), .. }) => http2.request_fault(fault),
        Some(_) | None => fault,
    }
}

/// Turns an error of hyper into a fault.
fn fault(error: &(dyn Error + 'static)) -> Fault {
    if let Some(fault) = Fault::within(error) {
        return fault;
    }
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(fault) = error.downcast_ref().and_then(h2_fault) {
            return fault;
        }
        if let Some(fault) = error.downcast_ref().and_then(hyper_fault) {
            return fault;
        }
        if let Some(fault) = error.downcast_ref().and_then(io_fault) {
            return fault;
        }
        cause = error.source();
    }
    Fault::Protocol(deepest(error).to_string())
}

fn hyper_fault(error: &hyper::Error) -> Option<Fault> {
    if error.is_parse() || error.is_parse_status() {
        Some(Fault::Head)
    } else if error.is_incomplete_message() || error.is_canceled() || error.is_closed() || error.is_user() {
        // hyper calls it a user error if a connection ends with our request in its queue. A request whose body is all
        // there can cause no other.
        Some(Fault::Closed)
    } else {
        None
    }
}

/// A server that closes a connection gracefully, as many do after 1000 requests, refuses the remaining streams. It
/// has not processed those, so they are like requests on a stale HTTP/1.1 connection.
fn h2_fault(error: &h2::Error) -> Option<Fault> {
    if error.is_remote() && error.reason() == Some(h2::Reason::HTTP_1_1_REQUIRED) {
        return Some(Fault::Http1Required);
    }
    let wound_down = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
    if error.is_remote() && (wound_down || error.reason() == Some(h2::Reason::REFUSED_STREAM)) {
        return Some(Fault::Untouched);
    }
    error.get_io().is_some_and(is_reset).then_some(Fault::Closed)
}

fn io_fault(error: &io::Error) -> Option<Fault> {
    if is_reset(error) {
        return Some(Fault::Closed);
    }
    // After the head, only the chunks can be malformed.
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData).then_some(Fault::Chunk)
}

fn deepest<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest
}
