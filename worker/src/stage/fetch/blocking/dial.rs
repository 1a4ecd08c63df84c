//! Connections for `ureq`: lookup, connect and handshakes, all within the connect timeout.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use rustls::{ClientConnection, StreamOwned};
use shared::clock;
use ureq::unversioned::transport::{ConnectionDetails, Connector};

use super::super::connect::{Attempts, Endpoint, Gate};
use super::super::dns::{Answer, Resolver, too_slow};
use super::super::fault::Fault;
use super::super::pins::Pins;
use super::super::proxy::{HANDSHAKE_BYTES, Host, Route, Step};
use super::super::tls::{Tls, handshake_fault, server_name};
use super::race;
use super::transport::{Channel, Link, Pooled, Socket, TimeoutKind, Watch};

/// Makes connections, through a proxy if there is one.
#[derive(Clone)]
pub(super) struct Dial {
    pub(super) resolver: Resolver,
    pub(super) tls: Arc<Tls>,
    pub(super) proxy_tls: Arc<Tls>,
    pub(super) gate: Gate,
    pub(super) pins: Pins,
    pub(super) connect_timeout: Duration,
    pub(super) watch: Arc<Watch>,
    pub(super) route: Option<Arc<Route>>,
}

impl Dial {
    fn dial(&self, uri: &Uri) -> Result<Pooled, Fault> {
        let server = Endpoint::of(uri)?;
        let (deadline, kind) = self.watch.limit();
        let ours = clock::now() + self.connect_timeout;
        if ours < deadline {
            self.watch.set(ours, TimeoutKind::Connect);
        }
        let channel = self.open(&server);
        self.watch.set(deadline, kind);
        self.watch.note_opened();
        let reads_requests = self.route.as_ref().is_some_and(|route| route.is_absolute(&server));
        let authority = uri.authority().filter(|_| reads_requests);
        channel.map(|channel| Pooled::new(channel, authority.map(|authority| format!("http://{authority}"))))
    }

    fn open(&self, server: &Endpoint) -> Result<Channel, Fault> {
        let link = match &self.route {
            None => Link::Socket(self.socket(server, self.gate, true)?),
            Some(route) => self.through(route, server)?,
        };
        if !server.tls {
            return Ok(Channel::Plain(link));
        }
        handshake(&self.tls, link, &server.host).map(|stream| Channel::Tls(Box::new(stream)))
    }

    /// Opens the way to a server through a proxy.
    fn through(&self, route: &Route, server: &Endpoint) -> Result<Link, Fault> {
        route.admit()?;
        let socket =
            self.socket(&route.endpoint, route.gate, false).map_err(|fault| route.unreachable(fault))?;
        let mut link = if route.endpoint.tls {
            let secured = handshake(&self.proxy_tls, socket, &route.endpoint.host);
            Link::Secured(Box::new(secured.map_err(|fault| route.unreachable(fault))?))
        } else {
            Link::Socket(socket)
        };
        if !route.is_absolute(server) {
            let host = if route.resolves() || self.pins.find(server).is_some() {
                route.address(self.gate, server, &self.resolve(server)?)?
            } else {
                Host::Name(server.host.clone())
            };
            self.ask(route, &mut link, &host, server.port)?;
            route.on_success();
        }
        Ok(link)
    }

    /// Has the proxy connect to a server.
    fn ask(&self, route: &Route, link: &mut Link, host: &Host, port: u16) -> Result<(), Fault> {
        let mut handshake = route.handshake(host, port)?;
        let mut buffer = [0; HANDSHAKE_BYTES];
        loop {
            let done = match handshake.step().map_err(|fault| route.failed_by(fault))? {
                Step::Done => return Ok(()),
                Step::Send(bytes) => link.write_all(&bytes).and_then(|()| link.flush()),
                Step::Receive => {
                    let read = link.read(&mut buffer);
                    read.map(|read| handshake.on_read(buffer.get(..read).unwrap_or_default()))
                }
            };
            done.map_err(|error| match Fault::within(&error) {
                Some(Fault::ConnectTimeout) => route.silent(),
                Some(fault) => fault,
                None => route.cut_short(),
            })?;
        }
    }

    fn resolve(&self, endpoint: &Endpoint) -> Answer {
        let host = &endpoint.host;
        if let Some(pinned) = self.pins.find(endpoint) {
            return Ok(pinned);
        }
        match (self.resolver.wait(host, self.watch.left()?), self.watch.limit()) {
            (Some(addresses), _) => addresses,
            (None, (_, TimeoutKind::Connect)) => Err(too_slow(host, self.connect_timeout)),
            (None, (_, TimeoutKind::Target | TimeoutKind::Drain)) => Err(Fault::Timeout),
        }
    }

    fn socket(&self, endpoint: &Endpoint, gate: Gate, is_server: bool) -> Result<Socket, Fault> {
        let stream = self.connect(endpoint, gate, &self.resolve(endpoint)?)?;
        // A request goes out in one write, so waiting to merge writes only delays it.
        stream.set_nodelay(true).map_err(|error| Fault::Connect(error.to_string()))?;
        Ok(Socket::new(stream, Arc::clone(&self.watch), is_server))
    }

    fn connect(&self, endpoint: &Endpoint, gate: Gate, addresses: &[IpAddr]) -> Result<TcpStream, Fault> {
        let stream = race::connect(Attempts::new(gate, endpoint, addresses)?, || self.watch.left())?;
        self.resolver.prefer(&endpoint.host, addresses, || stream.peer_addr());
        Ok(stream)
    }
}

fn handshake<S: Read + Write>(
    tls: &Tls,
    mut stream: S,
    host: &str,
) -> Result<StreamOwned<ClientConnection, S>, Fault> {
    let name = server_name(host)?;
    let mut session = ClientConnection::new(tls.config()?, name)
        .map_err(|error| handshake_fault(host, &io::Error::other(error)))?;
    while session.is_handshaking() {
        session
            .complete_io(&mut stream)
            .map_err(|error| Fault::within(&error).unwrap_or_else(|| handshake_fault(host, &error)))?;
    }
    Ok(StreamOwned::new(session, stream))
}

impl Connector for Dial {
    type Out = Pooled;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Pooled>, ureq::Error> {
        self.dial(details.uri).map(Some).map_err(|fault| ureq::Error::Other(Box::new(fault.unsent())))
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial").field("connect_timeout", &self.connect_timeout).finish_non_exhaustive()
    }
}
