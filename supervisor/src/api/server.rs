//! Connections: how many there may be, how long they may take, and how each is served.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use shared::clock;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use super::auth::{self, Peer};
use super::guarded::Guarded;
use super::listen::Listening;
use super::problem::Problem;
use super::{Api, GRACE, routes};
use crate::runtime::descriptors;

/// Longest time for a request's line and headers, counted from when the connection is open or the last answer is out;
/// so also how long a connection may be idle. What `--header-timeout` is to other servers.
const HEADERS: Duration = Duration::from_secs(10);

/// Longest time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Most bytes of a request's line and headers.
const HEADER_BYTES_MAX: usize = 32 * 1024;

/// Time before the next try when there is no descriptor left for a connection.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// What a connection too many is told.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nConnection: close\r\n\
Content-Type: application/problem+json\r\nContent-Length: 108\r\n\r\n\
{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"too many connections; try again\"}";

/// What a request without TLS is told where it is needed.
const NO_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/problem+json\r\n\
Content-Length: 106\r\n\r\n\
{\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,\"detail\":\"TLS is spoken here; ask with https://\"}";

/// The first byte of what begins a TLS connection: a record of the type `handshake`.
const TLS_BEGINS: u8 = 22;

/// A socket that connections come in on.
pub(super) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    /// Hands it to the event loop that is entered.
    pub(super) fn new(listening: Listening) -> io::Result<Self> {
        match listening {
            Listening::Unix(listener) => UnixListener::from_std(listener).map(Self::Unix),
            Listening::Tcp(listener) => TcpListener::from_std(listener).map(Self::Tcp),
        }
    }

    async fn accept(&self) -> io::Result<Connection> {
        match self {
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| Connection::Unix(stream)),
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // An event is small, and somebody waits for it.
                let _ = stream.set_nodelay(true);
                Ok(Connection::Tcp(stream, Peer::Tcp(address)))
            }
        }
    }
}

/// A connection that has come in.
enum Connection {
    Unix(UnixStream),
    Tcp(TcpStream, Peer),
}

impl Connection {
    /// Says that there are too many, without waiting for the peer to hear it.
    async fn refuse(self, tls: bool) {
        let (mut unix, mut tcp);
        let stream: &mut (dyn AsyncWrite + Unpin + Send) = match self {
            Self::Unix(stream) => {
                unix = stream;
                &mut unix
            }
            // It would take a handshake to say it.
            Self::Tcp(..) if tls => return,
            Self::Tcp(stream, _) => {
                tcp = stream;
                &mut tcp
            }
        };
        // Fits the buffer of a socket that is new.
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
    // Whoever crowds the network must not keep the machine's own users out.
    let most = descriptors::fit_clients(descriptors::raise_limit(), api.config.connections_max);
    let most = usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS);
    let (unix, tcp) = (Arc::new(Semaphore::new(most)), Arc::new(Semaphore::new(most)));
    for listener in listeners {
        let room = match &listener {
            Listener::Unix(_) => Arc::clone(&unix),
            Listener::Tcp(_) => Arc::clone(&tcp),
        };
        loops.spawn(accept(Arc::clone(api), router.clone(), listener, room));
    }
    while loops.join_next().await.is_some() {}
    // All places free: every connection is through.
    let all = u32::try_from(most).unwrap_or(u32::MAX);
    let _ =
        timeout(GRACE, async { tokio::join!(unix.acquire_many(all), tcp.acquire_many(all)).0.is_ok() }).await;
}

async fn accept(api: Arc<Api>, router: Router, listener: Listener, room: Arc<Semaphore>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = api.stopped() => return,
        };
        let connection = match accepted {
            Ok(connection) => connection,
            Err(error) => {
                // One that was gone before it was taken is no reason to wait; a machine without descriptors is.
                if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
                {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(EXHAUSTED).await;
                }
                continue;
            }
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
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
        Connection::Unix(stream) => {
            let Ok(peer) = stream.peer_cred() else { return };
            let peer = Peer::Unix { uid: peer.uid(), pid: peer.pid() };
            serve(api, router, stream, peer).await;
        }
        Connection::Tcp(stream, peer) => {
            let tls = api.tls.read().unwrap_or_else(PoisonError::into_inner).clone();
            match tls {
                None => serve(api, router, stream, peer).await,
                Some(tls) => match timeout(HANDSHAKE, shake_hands(stream, tls)).await {
                    Ok(Ok(Some(stream))) => serve(api, router, stream, peer).await,
                    Ok(Ok(None)) => tracing::debug!(%peer, "a connection without TLS"),
                    Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS handshake"),
                    Err(_) => tracing::debug!(%peer, "no TLS handshake in time"),
                },
            }
        }
    }
}

/// The connection once it is secured; nothing if the peer speaks no TLS, and has been told that it should.
async fn shake_hands(
    stream: TcpStream,
    tls: Arc<ServerConfig>,
) -> io::Result<Option<tokio_rustls::server::TlsStream<TcpStream>>> {
    let mut first = [TLS_BEGINS];
    stream.peek(&mut first).await?;
    if first == [TLS_BEGINS] {
        return TlsAcceptor::from(tls).accept(stream).await.map(Some);
    }
    let mut plain = Guarded::new(stream);
    plain.write_all(NO_TLS).await?;
    plain.shutdown().await?;
    Ok(None)
}

async fn serve<S>(api: &Arc<Api>, router: Router, stream: S, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let io = TokioIo::new(Guarded::new(stream));
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
        tracing::debug!(%peer, %error, "a connection broke");
    }
}

/// Waits for the turn of what came `now`.
async fn in_turn(api: &Api, now: Instant) {
    if let Some(turn) = api.pace.turn(now) {
        sleep_until(turn.into()).await;
    }
}

/// Answers one request, in its turn.
async fn answer(
    api: &Arc<Api>,
    mut router: Router,
    peer: &Peer,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let began = clock::now();
    in_turn(api, began).await;
    let (parts, body) = request.into_parts();
    let admitted = {
        let token = api.token.read().unwrap_or_else(PoisonError::into_inner);
        auth::admit(&parts, peer, token.as_ref())
    };
    let (method, route) = (parts.method.clone(), routes::label(parts.uri.path()));
    let mut response = match admitted {
        Err(problem) => problem.into_response(),
        Ok(()) if parts.uri.authority().is_some() && parts.method == http::Method::CONNECT => {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this is no proxy").into_response()
        }
        Ok(()) => {
            let mut request = Request::from_parts(parts, Body::new(body));
            request.extensions_mut().insert(peer.clone());
            let Ok(response) = router.call(request).await;
            response
        }
    };
    secure(&mut response);
    api.http.answered(&method, route, response.status(), clock::now().saturating_duration_since(began));
    Ok(response)
}

/// What every answer says to browsers, whatever it is.
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
    fn answers_that_are_written_here_are_as_long_as_they_say() {
        for text in [TOO_MANY, NO_TLS] {
            let text = std::str::from_utf8(text).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let length = format!("Content-Length: {}", body.len());
            assert!(head.lines().any(|line| line == length), "{length}");
        }
    }
}
