//! Fetches one target at a time with `ureq`, for the sequential and parallel modes.
//!
//! `ureq` speaks HTTP/1.1 and pools connections. Here it follows no redirects, decodes nothing and has no
//! timeouts. The connector resolves names, so a pooled connection needs no lookup.

mod dial;
mod race;
mod transport;

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use shared::clock;
use shared::job::FetchSpec;
use shared::kept::Kept;
use shared::protocol::Exit;
use ureq::config::Config;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver as UreqResolver};
use ureq::unversioned::transport::NextTimeout;
use ureq::{Agent, Body};

use super::connect::is_reset;
use super::cookies::Cookies;
use super::dns::Resolver;
use super::exchange::{Exchange, Flow, Turn};
use super::fault::Fault;
use super::proxy::{Route, Routes};
use super::recording::{Peer, Recording};
use super::repair::TIDY_BYTES_MAX;
use super::rules::{Rules, SpecError};
use super::tls::{Tls, session_fault};
use super::{Outcome, Wanted};
use crate::shortage::{Shortage, Shortages};
use dial::Dial;
use transport::{TimeoutKind, Watch};

/// Maximum idle connections. With one target at a time only the most recent hosts matter, and `ureq` searches the
/// pool linearly.
const IDLE_MAX: usize = 16;

/// Maximum idle connections to one host: the one in use, and the one that a redirect came from.
const IDLE_PER_HOST_MAX: usize = 2;

/// How long an idle connection is kept. Servers close theirs after 5 to 75 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// How long to read a body only to keep its connection.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(250);

/// Bytes of a request head besides URL and fields: method, version, `Host` and line ends.
const REQUEST_LINES_BYTES: usize = 128;

/// Bytes of the body per read.
const PIECE_BYTES: usize = 64 * 1024;

/// Fetches one URL at a time on the calling thread.
pub(crate) struct Client {
    rules: Rules,
    robots_rules: Rules,
    login_rules: Rules,
    agents: Agents,
    routes: Routes,
    watch: Arc<Watch>,
    shortages: Shortages,
    piece: Vec<u8>,
}

impl Client {
    /// Creates a client for a job. Opens nothing yet. Other users share `shortages`.
    ///
    /// # Errors
    /// Requests cannot be made as the job says.
    pub(crate) fn new(spec: &FetchSpec, shortages: Shortages) -> Result<Self, SpecError> {
        Ok(Self::build(
            Rules::new(spec)?,
            Routes::new(spec),
            Tls::of(&spec.transport, &["http/1.1"]),
            shortages,
        ))
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
        let watch = Arc::new(Watch::new());
        let dial = Dial {
            resolver: Resolver::system(),
            proxy_tls: Arc::new(tls.of_proxies()),
            tls: Arc::new(tls),
            gate: rules.gate,
            pins: rules.pins.clone(),
            connect_timeout: rules.connect_timeout,
            watch: Arc::clone(&watch),
            route: None,
        };
        let (robots_rules, login_rules) = (rules.of_robots(), rules.of_login());
        Self {
            rules,
            robots_rules,
            login_rules,
            agents: Agents::new(dial),
            routes,
            watch,
            shortages,
            piece: vec![0; PIECE_BYTES],
        }
    }

    /// The cookies, if the job keeps them.
    pub(crate) fn cookies(&self) -> Option<Cookies> {
        self.rules.cookies.clone()
    }

    /// From now on, every response carries the address that it came from.
    pub(crate) fn name_peers(&self) {
        self.watch.name_peers();
    }

    /// Fetches one URL through `exit`, including redirects, and records it on `recording`.
    ///
    /// # Errors
    /// Why there is no complete response below 400.
    pub(crate) fn fetch(
        &mut self,
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
        let mut deadline = clock::now() + rules.timeout;
        let mut attempt = 0;
        loop {
            let request = match exchange.turn() {
                Turn::Done(outcome) => return outcome,
                Turn::Request(request) => request,
            };
            let route = self.routes.of(exit, request.uri());
            exchange.goes_through(route.map(|(place, _)| place));
            self.watch.set(deadline, TimeoutKind::Target);
            let agent = self.agents.of(route);
            let route = route.map(|(_, route)| &**route);
            match hop(&mut exchange, agent, route, &self.watch, request, &mut self.piece) {
                Ok(()) => exchange.on_end(),
                Err(Fault::Shortage(shortage)) => {
                    self.agents.close_idle();
                    match await_room(&self.shortages, shortage, attempt) {
                        Some(waited) => deadline += waited,
                        None => return exchange.give_up(&Fault::Shortage(shortage)),
                    }
                    attempt += 1;
                    exchange.on_fault(&Fault::Shortage(shortage));
                    continue;
                }
                Err(fault) => exchange.on_fault(&fault),
            }
            if attempt > 0 {
                self.shortages.met();
                attempt = 0;
            }
        }
    }
}

/// Waits until the next attempt and returns how long that took, or `None` if the run must end.
fn await_room(shortages: &Shortages, shortage: Shortage, attempt: u32) -> Option<Duration> {
    let begun = clock::now();
    let _waiting = shortages.begin();
    shortages.wait(shortage, attempt).then(|| clock::now().duration_since(begun))
}

/// Connections that stay open: without a proxy, and through each.
struct Agents {
    dial: Dial,
    direct: Agent,
    proxied: HashMap<u16, Agent>,
}

impl Agents {
    fn new(dial: Dial) -> Self {
        Self { direct: agent(dial.clone()), proxied: HashMap::new(), dial }
    }

    /// Returns the agent whose connections go this way.
    fn of(&mut self, route: Option<(u16, &Arc<Route>)>) -> &Agent {
        let Some((place, route)) = route else { return &self.direct };
        let dial = || Dial { route: Some(Arc::clone(route)), ..self.dial.clone() };
        self.proxied.entry(place).or_insert_with(|| agent(dial()))
    }

    fn close_idle(&mut self) {
        *self = Self::new(self.dial.clone());
    }
}

fn agent(dial: Dial) -> Agent {
    let config = Config::builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_response_header_size(TIDY_BYTES_MAX)
        .max_idle_connections(IDLE_MAX)
        .max_idle_connections_per_host(IDLE_PER_HOST_MAX)
        .max_idle_age(IDLE_TIMEOUT)
        .allow_non_standard_methods(true)
        .proxy(None)
        .build();
    Agent::with_parts(config, dial, Unresolved)
}

/// Sends one request and reads its response.
fn hop(
    exchange: &mut Exchange<'_>,
    agent: &Agent,
    route: Option<&Route>,
    watch: &Watch,
    mut request: Request<Bytes>,
    piece: &mut [u8],
) -> Result<(), Fault> {
    watch.left().map_err(Fault::unsent)?;
    let through = match route {
        Some(route) => Some((route, route.begin(&mut request)?)),
        None => None,
    };
    watch.expect_request(head_bytes(&request));
    let sent_at = clock::now();
    let response = send(agent, request).map_err(|error| match &through {
        Some((route, uri)) => route.on_fault(uri, head_fault(&error)),
        None => head_fault(&error),
    });
    let (mut head, body) = response?.into_parts();
    watch.slot().restore(&mut head);
    if let Some(fault) = through.and_then(|(route, uri)| route.fault_of_head(&uri, &head)) {
        return Err(fault);
    }
    if let Some(peer) = watch.peer() {
        head.extensions.insert(Peer(peer));
    }
    let first_byte = clock::now().duration_since(watch.opened().max(sent_at));
    if exchange.on_head(&head, first_byte) == Flow::Stop {
        return Ok(());
    }
    if exchange.draining() {
        let (deadline, _) = watch.limit();
        watch.set(deadline.min(clock::now() + DRAIN_TIMEOUT), TimeoutKind::Drain);
    }
    let mut body = body.into_reader();
    loop {
        let read = body.read(piece).map_err(|error| body_fault(&error))?;
        if read == 0 {
            break;
        }
        let mut flow = exchange.on_chunk(piece.get(..read).unwrap_or_default());
        while flow == Flow::Work {
            watch.left()?;
            flow = exchange.go_on();
        }
        if flow == Flow::Stop {
            return Ok(());
        }
    }
    Ok(())
}

/// Sends a request, with its body if it has one. `ureq` takes an empty body for one of length 0, and says so.
fn send(agent: &Agent, request: Request<Bytes>) -> Result<Response<Body>, ureq::Error> {
    let (head, body) = request.into_parts();
    if body.is_empty() {
        return agent.run(Request::from_parts(head, ()));
    }
    agent.run(Request::from_parts(head, &*body))
}

/// Returns an upper bound of the request head's size.
fn head_bytes(request: &Request<Bytes>) -> usize {
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let uri = request.uri();
    let host = uri.authority().map_or(0, |authority| authority.as_str().len());
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    REQUEST_LINES_BYTES + path + host + fields.sum::<usize>()
}

fn head_fault(error: &ureq::Error) -> Fault {
    if let ureq::Error::Io(error) = error {
        return io_fault(error);
    }
    if let ureq::Error::Other(error) = error
        && let Some(fault) = Fault::within(error.as_ref())
    {
        return fault;
    }
    if matches!(error, ureq::Error::Protocol(_)) {
        return Fault::Head;
    }
    Fault::Protocol(error.to_string())
}

fn io_fault(error: &io::Error) -> Fault {
    if let Some(fault) = Fault::within(error) {
        return fault;
    }
    if is_reset(error) {
        return Fault::Closed;
    }
    session_fault(error).unwrap_or_else(|| Fault::Protocol(error.to_string()))
}

fn body_fault(error: &io::Error) -> Fault {
    // After the head, only the chunks can be malformed.
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(ureq::Error::Protocol(_)) => Fault::Chunk,
        Some(_) | None => io_fault(error),
    }
}

/// A resolver that returns nothing. [`Dial`] resolves, and only for a new connection; `ureq` would resolve before
/// every request, even over a pooled connection.
#[derive(Debug)]
struct Unresolved;

impl UreqResolver for Unresolved {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}
