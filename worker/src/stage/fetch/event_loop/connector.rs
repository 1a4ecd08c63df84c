//! Connections for hyper: name, address, handshake, all within the connect timeout.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use shared::clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use super::super::connect::{Attempts, Endpoint, Gate, History};
use super::super::dns::{Resolver, too_slow};
use super::super::fault::Fault;
use super::super::rules::Rules;
use super::super::tape::Peer;
use super::super::tls::{Tls, handshake_fault, server_name};
use super::room::{Link, Room, Seat};
use super::stall::Stall;

/// Makes connections; cheap to clone, as hyper does for every request.
#[derive(Clone)]
pub(super) struct Dial {
    inner: Arc<Inner>,
}

struct Inner {
    resolver: Resolver,
    tls: Tls,
    gate: Gate,
    connect_timeout: Duration,
    stall: Stall,
    room: Arc<Room>,
    names_peers: AtomicBool,
}

impl Dial {
    pub(super) fn new(tls: Tls, rules: &Rules, stall: Stall, room: Arc<Room>) -> Self {
        let (gate, connect_timeout) = (rules.gate, rules.connect_timeout);
        let resolver = Resolver::system();
        let names_peers = AtomicBool::new(false);
        Self { inner: Arc::new(Inner { resolver, tls, gate, connect_timeout, stall, room, names_peers }) }
    }

    /// From now on a response over a new connection carries a [`Peer`] along, at the cost of an allocation.
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
        let inner = Arc::clone(&self.inner);
        Box::pin(async move { inner.dial(&uri).await.map(TokioIo::new) })
    }
}

impl Inner {
    async fn dial(&self, uri: &Uri) -> Result<Stream, Fault> {
        let endpoint = Endpoint::of(uri)?;
        let seat = self.room.seat()?;
        let mut resolved = false;
        let work = async {
            let addresses = self.resolver.resolve(&endpoint.host).await?;
            resolved = true;
            self.open(&endpoint, &addresses).await
        };
        match self.stall.within(self.connect_timeout, work).await {
            Some(Ok((channel, peer))) => {
                self.room.granted();
                Ok(Stream::new(channel, peer, self.room.link(), seat))
            }
            Some(Err(Fault::Shortage(shortage))) => Err(self.room.refused(seat, shortage)),
            Some(Err(fault)) => Err(fault),
            None if resolved => Err(Fault::ConnectTimeout),
            None => Err(too_slow(&endpoint.host, self.connect_timeout)),
        }
    }

    async fn open(
        &self,
        endpoint: &Endpoint,
        addresses: &[IpAddr],
    ) -> Result<(Channel, Option<Peer>), Fault> {
        let stream = self.connect(endpoint, addresses).await?;
        // Requests go out in one write; waiting for more to send with it helps nobody.
        stream.set_nodelay(true).map_err(|error| Fault::Connect(error.to_string()))?;
        let names_peers = self.names_peers.load(Ordering::Relaxed);
        let peer = if names_peers { stream.peer_addr().ok().map(|peer| Peer(peer.ip())) } else { None };
        if !endpoint.tls {
            return Ok((Channel::Plain(stream), peer));
        }
        let name = server_name(&endpoint.host)?;
        let connector = TlsConnector::from(self.tls.config()?);
        let stream = connector.connect(name, stream).await;
        let stream = stream.map_err(|error| handshake_fault(&endpoint.host, &error))?;
        Ok((Channel::Tls(Box::new(stream)), peer))
    }

    async fn connect(&self, endpoint: &Endpoint, addresses: &[IpAddr]) -> Result<TcpStream, Fault> {
        let mut attempts = Attempts::new(self.gate, endpoint, addresses)?;
        let end = clock::now() + self.connect_timeout;
        while let Some((address, patience)) = attempts.next(end.saturating_duration_since(clock::now())) {
            match self.stall.within(patience, TcpStream::connect(address)).await {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => attempts.on_error(address, &error),
                None => attempts.on_error(address, &io::ErrorKind::TimedOut.into()),
            }
        }
        Err(attempts.fault())
    }
}

/// Whether an HTTP/2 connection has answered a request. Every response on it carries this
/// along; on HTTP/1.1 the connection's own history does, at no cost.
#[derive(Debug, Clone, Default)]
pub(super) struct Answered(Arc<AtomicBool>);

impl Answered {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

enum Channel {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection in hyper's pool.
pub(super) struct Stream {
    channel: Channel,
    is_h2: bool,
    peer: Option<Peer>,
    history: History,
    /// Whoever needs its descriptor more may close it by this.
    link: Option<Arc<Link>>,
    _seat: Seat,
}

impl Stream {
    fn new(channel: Channel, peer: Option<Peer>, link: Option<Arc<Link>>, seat: Seat) -> Self {
        let is_h2 = match &channel {
            Channel::Plain(_) => false,
            Channel::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        };
        Self { channel, is_h2, peer, history: History::default(), link, _seat: seat }
    }

    fn written(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                self.history.on_write();
                if let Some(link) = self.link.as_ref().filter(|_| !self.is_h2) {
                    link.on_request();
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
        let connected = if self.is_h2 {
            Connected::new().negotiated_h2().extra(Answered::default())
        } else {
            Connected::new()
        };
        let connected = match self.peer {
            Some(peer) => connected.extra(peer),
            None => connected,
        };
        match &self.link {
            Some(link) => connected.extra(Arc::clone(link)),
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
        if this.link.as_ref().is_some_and(|link| link.poll_closed(cx)) {
            return Poll::Ready(if this.is_h2 { Ok(()) } else { this.history.on_end(None) });
        }
        let before = buffer.filled().len();
        let read = match &mut this.channel {
            Channel::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Channel::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        match read {
            Poll::Ready(Ok(())) if buffer.filled().len() > before => {
                this.history.on_read();
                Poll::Ready(Ok(()))
            }
            // HTTP/2 says itself how a connection ends, and writes when nobody asked.
            Poll::Ready(ended) if this.is_h2 => Poll::Ready(ended),
            Poll::Ready(ended) => Poll::Ready(this.history.on_end(ended.err())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = match &mut this.channel {
            Channel::Plain(stream) => Pin::new(stream).poll_write(cx, buffer),
            Channel::Tls(stream) => Pin::new(stream).poll_write(cx, buffer),
        };
        this.written(written)
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
        this.written(written)
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
