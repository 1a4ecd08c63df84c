//! Connections: their number, their time limits, and how each is served.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use rustls::ServerConfig;
use shared::clock;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use super::auth::{self, Peer};
use super::guarded::StallGuard;
use super::listen::Listening;
use super::own::{self, Refusal};
use super::pools::Pools;
use super::problem::Problem;
use super::{Api, GRACE, forwarded, routes};
use crate::runtime::descriptors;

/// Time limit for a request's line and headers, counted from when the connection opens or the last
/// response was sent. So it also limits idle time. Other servers call it `--header-timeout`.
const HEADERS: Duration = Duration::from_secs(10);

/// Time limit for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Maximum bytes of a request's line and headers.
const HEADER_BYTES_MAX: usize = 32 * 1024;

/// Delay before the next attempt when no descriptor is left for a connection.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Response to a connection beyond the limit.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nConnection: close\r\n\
Content-Type: application/problem+json\r\nContent-Length: 108\r\n\r\n\
{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"too many connections; try again\"}";

/// Response to a request without TLS on a TLS port.
const NO_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/problem+json\r\n\
Content-Length: 105\r\n\r\n\
{\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,\"detail\":\"this port requires TLS; use https://\"}";

/// The first byte of a TLS connection: a record of type `handshake`.
const TLS_BEGINS: u8 = 22;

/// A socket that accepts connections.
pub(super) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    /// Registers it with the current event loop.
    pub(super) fn new(listening: Listening) -> io::Result<Self> {
        match listening {
            Listening::Unix(listener) => UnixListener::from_std(listener).map(Self::Unix),
            Listening::Tcp(listener) => TcpListener::from_std(listener).map(Self::Tcp),
        }
    }

    async fn accept(&self, proxies: &[IpNet]) -> io::Result<Connection> {
        match self {
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let peer = stream.peer_cred()?;
                Ok(Connection::Unix(stream, Peer::Unix { uid: peer.uid(), pid: peer.pid() }))
            }
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Events are small, and a person waits for them.
                let _ = stream.set_nodelay(true);
                let is_proxy = forwarded::is_trusted(proxies, address.ip());
                let peer = if is_proxy { Peer::Proxy(address) } else { Peer::Tcp(address) };
                Ok(Connection::Tcp(stream, peer))
            }
        }
    }
}

/// An accepted connection.
enum Connection {
    Unix(UnixStream, Peer),
    Tcp(TcpStream, Peer),
}

impl Connection {
    const fn peer(&self) -> &Peer {
        match self {
            Self::Unix(_, peer) | Self::Tcp(_, peer) => peer,
        }
    }

    /// Refuses a connection beyond the limit, without waiting until the peer has read the response.
    async fn refuse(self, tls: bool) {
        let (mut unix, mut tcp);
        let stream: &mut (dyn AsyncWrite + Unpin + Send) = match self {
            Self::Unix(stream, _) => {
                unix = stream;
                &mut unix
            }
            // A response would need a handshake first.
            Self::Tcp(..) if tls => return,
            Self::Tcp(stream, _) => {
                tcp = stream;
                &mut tcp
            }
        };
        // The response fits into the buffer of a new socket.
        let _ = timeout(Duration::from_millis(10), async {
            let _ = stream.write_all(TOO_MANY).await;
            let _ = stream.shutdown().await;
        })
        .await;
    }
}

/// Serves until the service stops.
pub(super) async fn run(api: &Arc<Api>, listeners: Vec<Listener>) {
    let router = routes::router(Arc::clone(api));
    let mut loops = JoinSet::new();
    let most = descriptors::fit_clients(descriptors::raise_limit(), api.config.connections_max);
    let room = Arc::new(Pools::new(usize::try_from(most).unwrap_or(usize::MAX)));
    for listener in listeners {
        loops.spawn(accept(Arc::clone(api), router.clone(), listener, Arc::clone(&room)));
    }
    while loops.join_next().await.is_some() {}
    // If all places are free, every connection is closed.
    let _ = timeout(GRACE, room.all_free()).await;
}

async fn accept(api: Arc<Api>, router: Router, listener: Listener, room: Arc<Pools>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept(&api.config.trusted_proxies) => accepted,
            () = api.stopped() => return,
        };
        let connection = match accepted {
            Ok(connection) => connection,
            Err(error) => {
                // A connection that was closed before it was accepted needs no delay; a machine
                // without descriptors does.
                if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
                {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(EXHAUSTED).await;
                }
                continue;
            }
        };
        let Some(place) = room.try_take(connection.peer()) else {
            api.http.refused();
            connection.refuse(api.config.tls.is_some()).await;
            continue;
        };
        let (api, router) = (Arc::clone(&api), router.clone());
        tokio::spawn(async move {
            // A connection costs as much as a request, and more with TLS.
            in_turn(&api, clock::now()).await;
            open(&api, router, connection).await;
            drop(place);
        });
    }
}

async fn open(api: &Arc<Api>, router: Router, connection: Connection) {
    match connection {
        Connection::Unix(stream, peer) => serve(api, router, stream, peer).await,
        Connection::Tcp(stream, peer) => {
            match own_refusal(api, &stream).await {
                None => {}
                Some(Refusal::Worker) => {
                    return tracing::warn!(%peer, "a worker connected to the API; its connection was closed");
                }
                // A check whether the port is open does this.
                Some(Refusal::Nobody) => return tracing::debug!(%peer, "a connection was closed at once"),
                Some(Refusal::Unknown(error)) => {
                    return tracing::warn!(%peer, %error, "cannot find out who connected; the connection was closed");
                }
            }
            let tls = api.tls.read().unwrap_or_else(PoisonError::into_inner).clone();
            match tls {
                None => serve(api, router, stream, peer).await,
                Some(tls) => match timeout(HANDSHAKE, tls_handshake(stream, tls)).await {
                    Ok(Ok(Some(stream))) => serve(api, router, stream, peer).await,
                    Ok(Ok(None)) => tracing::debug!(%peer, "a connection did not use TLS"),
                    Ok(Err(error)) => tracing::debug!(%peer, %error, "the TLS handshake failed"),
                    Err(_) => tracing::debug!(%peer, "the TLS handshake timed out"),
                },
            }
        }
    }
}

/// Returns why a connection that needs no token must not be served, if it must not.
async fn own_refusal(api: &Api, stream: &TcpStream) -> Option<Refusal> {
    if api.token.read().unwrap_or_else(PoisonError::into_inner).is_some() {
        return None;
    }
    let (peer, local) = match (stream.peer_addr(), stream.local_addr()) {
        (Ok(peer), Ok(local)) => (peer, local),
        // It was reset.
        (Err(_), _) | (_, Err(_)) => return Some(Refusal::Nobody),
    };
    let _turn = api.look_ups.lock().await;
    let looked_up = spawn_blocking(move || own::refusal(peer, local)).await;
    looked_up.unwrap_or_else(|error| Some(Refusal::Unknown(error.into())))
}

/// Returns the connection with TLS, or nothing if the peer does not use TLS and was told to.
async fn tls_handshake(
    stream: TcpStream,
    tls: Arc<ServerConfig>,
) -> io::Result<Option<tokio_rustls::server::TlsStream<TcpStream>>> {
    let mut first = [TLS_BEGINS];
    stream.peek(&mut first).await?;
    if first == [TLS_BEGINS] {
        return TlsAcceptor::from(tls).accept(stream).await.map(Some);
    }
    let mut plain = StallGuard::new(stream);
    plain.write_all(NO_TLS).await?;
    plain.shutdown().await?;
    Ok(None)
}

async fn serve<S>(api: &Arc<Api>, router: Router, stream: S, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let io = TokioIo::new(StallGuard::new(stream));
    let service = service_fn(|request: Request<Incoming>| answer(api, router.clone(), &peer, request));
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS)
            .max_buf_size(HEADER_BYTES_MAX)
            .serve_connection(io, service)
    );
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = api.stopped() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "a connection failed");
    }
}

/// Returns whose request this is, which may not be who sent it.
fn requester(api: &Api, peer: &Peer, headers: &HeaderMap) -> Peer {
    let Peer::Proxy(proxy) = *peer else { return peer.clone() };
    // Any client can make its proxy send headers that name nobody, so that is worth no more than one client's share.
    let client = forwarded::client(headers, &api.config.trusted_proxies).unwrap_or_else(|| proxy.ip());
    Peer::Forwarded { client, proxy }
}

/// Waits for the turn of a request that arrived at `now`.
async fn in_turn(api: &Api, now: Instant) {
    if let Some(turn) = api.pace.turn(now) {
        sleep_until(turn.into()).await;
    }
}

/// Answers one request in its turn.
async fn answer(
    api: &Arc<Api>,
    mut router: Router,
    peer: &Peer,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let began = clock::now();
    in_turn(api, began).await;
    let (parts, body) = request.into_parts();
    let peer = requester(api, peer, &parts.headers);
    let admitted = {
        let token = api.token.read().unwrap_or_else(PoisonError::into_inner);
        auth::admit(&parts, &peer, token.as_ref())
    };
    let (method, route) = (parts.method.clone(), routes::label(parts.uri.path()));
    let mut response = match admitted {
        // Who is not admitted does not keep the connection.
        Err(problem) => ([(header::CONNECTION, "close")], problem).into_response(),
        Ok(()) if parts.uri.authority().is_some() && parts.method == http::Method::CONNECT => {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this service is not a proxy").into_response()
        }
        Ok(()) => {
            let mut request = Request::from_parts(parts, Body::new(body));
            request.extensions_mut().insert(peer);
            let Ok(response) = router.call(request).await;
            response
        }
    };
    secure(&mut response);
    api.http.answered(&method, route, response.status(), clock::now().saturating_duration_since(began));
    Ok(response)
}

/// Adds the security headers that every response carries.
fn secure(response: &mut Response) {
    let headers = response.headers_mut();
    let set = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in set {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_responses_have_the_stated_length() {
        for text in [TOO_MANY, NO_TLS] {
            let text = std::str::from_utf8(text).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let length = format!("Content-Length: {}", body.len());
            assert!(head.lines().any(|line| line == length), "{length}");
        }
    }
}
