//! Connections for hyper: lookup, connect and handshake, all within the connect timeout.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::Uri;
use http::response::Parts;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use shared::clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use super::super::connect::{ATTEMPT_DELAY, Attempts, Endpoint, Gate, History};
use super::super::dns::{Answer, Resolver, too_slow};
use super::super::fault::Fault;
use super::super::pins::Pins;
use super::super::proxy::{Host, Route};
use super::super::recording::Peer;
use super::super::repair::{Repair, Slot};
use super::super::rules::Rules;
use super::super::tls::{Tls, handshake_fault, server_name, session_fault};
use super::connections::{Closer, Connections, Permit};
use super::goaway::{GoAway, Refusals};
use super::stall::Stall;
use super::tunnel::{Link, Stage, ask};

/// Makes connections. Cheap to clone, because hyper clones it for every request.
#[derive(Clone)]
pub(super) struct Dial {
    inner: Arc<Inner>,
    /// Offers servers HTTP/1.1 only.
    http1_only: bool,
    /// Goes through this proxy.
    route: Option<Arc<Route>>,
}

struct Inner {
    resolver: Resolver,
    tls: Tls,
    proxy_tls: Tls,
    gate: Gate,
    pins: Pins,
    connect_timeout: Duration,
    stall: Stall,
    connections: Arc<Connections>,
    names_peers: AtomicBool,
    refusals: Refusals,
}

impl Dial {
    pub(super) fn new(
        tls: Tls,
        rules: &Rules,
        stall: Stall,
        connections: Arc<Connections>,
        refusals: Refusals,
    ) -> Self {
        let (gate, pins, connect_timeout) = (rules.gate, rules.pins.clone(), rules.connect_timeout);
        let inner = Inner {
            resolver: Resolver::system(),
            proxy_tls: tls.of_proxies(),
            tls,
            gate,
            pins,
            connect_timeout,
            stall,
            connections,
            names_peers: AtomicBool::new(false),
            refusals,
        };
        Self { inner: Arc::new(inner), http1_only: false, route: None }
    }

    /// Returns a connector for servers that offer HTTP/2 and then refuse it.
    pub(super) fn http1_only(&self) -> Self {
        Self { http1_only: true, ..self.clone() }
    }

    /// Returns a connector that goes through a proxy.
    pub(super) fn through(&self, route: &Arc<Route>) -> Self {
        Self { route: Some(Arc::clone(route)), ..self.clone() }
    }

    /// From now on, a response over a new connection carries a [`Peer`], which costs an allocation.
    pub(super) fn name_peers(&self) {
        self.inner.names_peers.store(true, Ordering::Relaxed);
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<Stream>;
    type Error = Fault;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Fault>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { inner, http1_only, route } = self.clone();
        Box::pin(async move { inner.dial(&uri, http1_only, route.as_deref()).await.map(TokioIo::new) })
    }
}

impl Inner {
    async fn dial(&self, uri: &Uri, http1_only: bool, route: Option<&Route>) -> Result<Stream, Fault> {
        let server = Endpoint::of(uri)?;
        let permit = self.connections.permit()?;
        let mut stage = Stage::Lookup;
        let work = self.open(&server, http1_only, route, &mut stage);
        match self.stall.within(self.connect_timeout, work).await {
            Some(Ok((channel, peer))) => {
                self.connections.granted();
                let mut stream = Stream::new(channel, peer, self.connections.closer(), permit);
                stream.is_proxy = route.is_some_and(|route| route.is_absolute(&server));
                stream.refusals = stream.is_h2.then(|| (self.refusals.clone(), uri.clone()));
                Ok(stream)
            }
            Some(Err(Fault::Shortage(shortage))) => Err(self.connections.refused(permit, shortage)),
            Some(Err(fault)) => Err(fault),
            None => Err(match (route, stage) {
                (_, Stage::Lookup) => too_slow(&server.host, self.connect_timeout),
                (Some(route), Stage::Turn) => route.occupied(),
                (Some(route), Stage::Proxy) => route.unreachable(Fault::ConnectTimeout),
                (Some(route), Stage::Handshake) => route.silent(),
                (_, Stage::Turn | Stage::Proxy | Stage::Handshake | Stage::Server) => Fault::ConnectTimeout,
            }),
        }
    }

    async fn open(
        &self,
        server: &Endpoint,
        http1_only: bool,
        route: Option<&Route>,
        stage: &mut Stage,
    ) -> Result<(Channel, Option<Peer>), Fault> {
        let link = match route {
            None => {
                let addresses = self.resolve(server).await?;
                *stage = Stage::Server;
                Link::Socket(self.connect(server, self.gate, &addresses).await?)
            }
            Some(route) => self.through(route, server, stage).await?,
        };
        *stage = Stage::Server;
        let peer = match &link {
            Link::Socket(stream) if route.is_none() && self.names_peers.load(Ordering::Relaxed) => {
                stream.peer_addr().ok().map(|peer| Peer(peer.ip()))
            }
            Link::Socket(_) | Link::Secured(_) => None,
        };
        if !server.tls {
            return Ok((Channel::Plain(link), peer));
        }
        let name = server_name(&server.host)?;
        let config = if http1_only { self.tls.http1_config() } else { self.tls.config() };
        let connector = TlsConnector::from(config?);
        let stream = connector.connect(name, link).await;
        let stream = stream.map_err(|error| handshake_fault(&server.host, &error))?;
        Ok((Channel::Tls(Box::new(stream)), peer))
    }

    async fn resolve(&self, endpoint: &Endpoint) -> Answer {
        match self.pins.find(endpoint) {
            Some(pinned) => Ok(pinned),
            None => self.resolver.resolve(&endpoint.host).await,
        }
    }

    /// Opens the way to a server through a proxy.
    async fn through(&self, route: &Route, server: &Endpoint, stage: &mut Stage) -> Result<Link, Fault> {
        *stage = Stage::Turn;
        let turn = route.turn().await?;
        *stage = Stage::Proxy;
        let mut link = self.reach(route).await.map_err(|fault| route.unreachable(fault))?;
        // How long the rest takes depends on the server.
        drop(turn);
        if !route.is_absolute(server) {
            let host = if route.resolves() || self.pins.find(server).is_some() {
                *stage = Stage::Lookup;
                route.address(self.gate, server, &self.resolve(server).await?)?
            } else {
                Host::Name(server.host.clone())
            };
            *stage = Stage::Handshake;
            ask(route, &mut link, &host, server.port).await?;
            route.on_success();
        }
        Ok(link)
    }

    /// Connects to a proxy.
    async fn reach(&self, route: &Route) -> Result<Link, Fault> {
        let addresses = self.resolve(&route.endpoint).await?;
        let stream = self.connect(&route.endpoint, route.gate, &addresses).await?;
        if !route.endpoint.tls {
            return Ok(Link::Socket(stream));
        }
        let name = server_name(&route.endpoint.host)?;
        let connector = TlsConnector::from(self.proxy_tls.config()?);
        let stream = connector.connect(name, stream).await;
        let stream = stream.map_err(|error| handshake_fault(&route.endpoint.host, &error))?;
        Ok(Link::Secured(Box::new(stream)))
    }

    async fn connect(
        &self,
        endpoint: &Endpoint,
        gate: Gate,
        addresses: &[IpAddr],
    ) -> Result<TcpStream, Fault> {
        let stream = race(Attempts::new(gate, endpoint, addresses)?).await?;
        self.resolver.prefer(&endpoint.host, addresses, || stream.peer_addr());
        // A request goes out in one write, so waiting to merge writes only delays it.
        stream.set_nodelay(true).map_err(|error| Fault::Connect(error.to_string()))?;
        Ok(stream)
    }
}

/// Races addresses for a connection. The caller limits the time.
async fn race(mut attempts: Attempts) -> Result<TcpStream, Fault> {
    let mut running = JoinSet::new();
    loop {
        match attempts.next() {
            Some(address) if running.is_empty() && !attempts.is_urgent() => {
                // Nothing to race with.
                match TcpStream::connect(address).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => attempts.on_error(address, &error),
                }
            }
            Some(address) => {
                running.spawn(async move { (address, TcpStream::connect(address).await) });
            }
            None if running.is_empty() => return Err(attempts.fault()),
            None => {}
        }
        let ended = if attempts.is_urgent() {
            timeout(ATTEMPT_DELAY, running.join_next()).await
        } else {
            Ok(running.join_next().await)
        };
        match ended {
            Ok(Some(Ok((_, Ok(stream))))) => return Ok(stream),
            Ok(Some(Ok((address, Err(error))))) => attempts.on_error(address, &error),
            Err(_) if !attempts.has_next() => return Err(attempts.fault()),
            Ok(Some(Err(_)) | None) | Err(_) => {}
        }
    }
}

/// What is known of a connection. Every response over it carries this: in one value, because each costs an allocation.
#[derive(Debug, Clone)]
pub(super) struct Via {
    /// When it could take its first request, so that the time to the first byte has no part of connecting.
    pub(super) opened: Instant,
    pub(super) version: Version,
}

/// The HTTP of a connection.
#[derive(Debug, Clone)]
pub(super) enum Version {
    /// HTTP/1.1, and where the head of its last response is if the client got a repaired one.
    Http1(Slot),
    /// HTTP/2.
    Http2(Http2),
}

impl Version {
    /// Notes a response over this connection, and gives it the head that the server sent. Returns what is known of the
    /// connection if it is HTTP/2.
    pub(super) fn on_answer(self, head: &mut Parts) -> Option<Http2> {
        match self {
            Self::Http1(slot) => {
                slot.restore(head);
                None
            }
            Self::Http2(http2) => {
                http2.0.answered.store(true, Ordering::Relaxed);
                Some(http2)
            }
        }
    }
}

/// What is known of an HTTP/2 connection. On HTTP/1.1 the connection's own history has it, at no cost.
#[derive(Debug, Clone, Default)]
pub(super) struct Http2(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The connection has answered a request.
    answered: AtomicBool,
    /// Why the connection ended, if the server said so. `h2` keeps only a text.
    fault: OnceLock<Fault>,
}

impl Http2 {
    /// Returns what a fault before a response means on this connection.
    pub(super) fn request_fault(&self, fault: Fault) -> Fault {
        let fault = self.body_fault(fault);
        // Only the connection knows whether it has answered before, and so came from the pool.
        let was_pooled = fault == Fault::Closed && self.0.answered.load(Ordering::Relaxed);
        if was_pooled { Fault::Stale } else { fault }
    }

    /// Returns what a fault within a response means on this connection.
    pub(super) fn body_fault(&self, fault: Fault) -> Fault {
        let is_end = matches!(
            fault,
            Fault::Closed | Fault::Stale | Fault::Untouched | Fault::Chunk | Fault::Protocol(_)
        );
        self.0.fault.get().filter(|_| is_end).cloned().unwrap_or(fault)
    }

    fn on_end(&self, fault: Fault) {
        // The first reason counts.
        let _ = self.0.fault.set(fault);
    }
}

enum Channel {
    Plain(Link),
    Tls(Box<TlsStream<Link>>),
}

/// A connection in hyper's pool.
pub(super) struct Stream {
    channel: Channel,
    is_h2: bool,
    /// Whether a proxy reads the requests, which then need their targets in absolute form.
    is_proxy: bool,
    http2: Http2,
    opened: Instant,
    goaway: GoAway,
    /// Where to note that this URL's server refuses HTTP/2.
    refusals: Option<(Refusals, Uri)>,
    peer: Option<Peer>,
    history: History,
    repair: Repair,
    slot: Slot,
    /// Lets a connection that needs the descriptor close this one.
    closer: Option<Arc<Closer>>,
    _permit: Permit,
}

impl Stream {
    fn new(channel: Channel, peer: Option<Peer>, closer: Option<Arc<Closer>>, permit: Permit) -> Self {
        let is_h2 = match &channel {
            Channel::Plain(_) => false,
            Channel::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        };
        let slot = Slot::default();
        let repair = Repair::new(slot.clone());
        let (http2, goaway, history) = Default::default();
        // Requests share an HTTP/2 connection, and only its frames show whether one is under way. So it closes by
        // hyper's idle timeout, never to free its descriptor.
        let closer = closer.filter(|_| !is_h2);
        Self {
            channel,
            is_h2,
            is_proxy: false,
            http2,
            opened: clock::now(),
            goaway,
            refusals: None,
            peer,
            history,
            repair,
            slot,
            closer,
            _permit: permit,
        }
    }

    fn poll_channel(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = match &mut self.channel {
            Channel::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Channel::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        read.map_err(|error| session_fault(&error).map_or(error, Fault::into_io))
    }

    /// Reads until hyper can have something, or the connection has ended.
    fn poll_http1(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        loop {
            let kept = self.repair.take(buffer.remaining()).map_err(Fault::into_io)?;
            if !kept.is_empty() {
                buffer.put_slice(kept);
                return Poll::Ready(Ok(()));
            }
            if self.repair.is_over() {
                return Poll::Ready(Ok(()));
            }
            let read = ready!(self.poll_channel(cx, buffer));
            if read.is_err() || buffer.filled().len() == before {
                self.history.on_end(read.err())?;
                return Poll::Ready(self.repair.on_end().map_err(Fault::into_io));
            }
            self.history.on_read();
            if self.repair.on_read(buffer.filled().get(before..).unwrap_or_default()) {
                return Poll::Ready(Ok(()));
            }
            buffer.set_filled(before);
        }
    }

    /// Handles the result of writing `sent`, some of which may have been written.
    fn written(&mut self, sent: &[u8], written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                self.history.on_write();
                if !self.is_h2 {
                    if let Some(closer) = &self.closer {
                        closer.on_request();
                    }
                    self.repair.on_write(sent);
                }
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.history.on_write_error(error))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let (connected, version) = if self.is_h2 {
            (Connected::new().negotiated_h2(), Version::Http2(self.http2.clone()))
        } else {
            (Connected::new().proxy(self.is_proxy), Version::Http1(self.slot.clone()))
        };
        let connected = connected.extra(Via { opened: self.opened, version });
        let connected = match self.peer {
            Some(peer) => connected.extra(peer),
            None => connected,
        };
        match &self.closer {
            Some(closer) => connected.extra(Arc::clone(closer)),
            None => connected,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.closer.as_ref().is_some_and(|closer| closer.poll_closed(cx)) {
            return Poll::Ready(this.history.on_end(None));
        }
        if !this.is_h2 {
            return this.poll_http1(cx, buffer);
        }
        // HTTP/2 itself says how a connection ends, and writes without a request.
        let before = buffer.filled().len();
        let read = this.poll_channel(cx, buffer);
        let bytes = buffer.filled().get(before..).unwrap_or_default();
        if !bytes.is_empty() {
            this.history.on_read();
        }
        if this.goaway.on_read(bytes)
            && let Some((refusals, uri)) = &this.refusals
        {
            refusals.add(uri);
        }
        if let Poll::Ready(Err(error)) = &read
            && let Some(fault) = Fault::within(error)
        {
            this.http2.on_end(fault);
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.repair.is_over() {
            return Poll::Ready(Err(Fault::Untouched.into_io()));
        }
        let written = match &mut this.channel {
            Channel::Plain(stream) => Pin::new(stream).poll_write(cx, buffer),
            Channel::Tls(stream) => Pin::new(stream).poll_write(cx, buffer),
        };
        this.written(buffer, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = match &mut this.channel {
            Channel::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
            Channel::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
        };
        this.written(buffers.first().map_or(&[], |buffer| buffer), written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.channel {
            Channel::Plain(stream) => stream.is_write_vectored(),
            Channel::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().channel {
            Channel::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Channel::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().channel {
            Channel::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Channel::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
