//! The HTTP client for the store: hyper over our own TLS, so that the program has only one TLS
//! implementation.
//!
//! It follows no redirects and uses no proxy. Whether an unencrypted address is allowed is decided
//! earlier, in `access`.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use http::Uri;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpResponseBody, HttpService,
};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use shared::tls::{Trust, words};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service;

/// Timeout for name resolution, connecting and handshakes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Timeout for a response to a request without a body.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The slowest connection on which a part can be uploaded.
const BYTES_PER_S_MIN: u64 = 32 * 1024;

/// Stores close idle connections after some seconds, so later reuse seldom works.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Creates the clients: one for the store, one for the source of credentials.
#[derive(Debug)]
pub(super) struct Connector {
    tls: Arc<ClientConfig>,
}

impl Connector {
    /// Creates a connector that trusts the system's certificates.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub(super) fn new() -> Result<Self, rustls::Error> {
        let mut trust = Trust::default();
        trust.add_readable(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = trust.verifier(&provider);
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(Self { tls: Arc::new(config) })
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .build(Dialer { tls: Arc::clone(&self.tls) });
        Ok(HttpClient::new(Client(client)))
    }
}

#[derive(Debug)]
struct Client(legacy::Client<Dialer, HttpRequestBody>);

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let bytes = u64::try_from(request.body().content_length()).unwrap_or(u64::MAX);
        let patience = ANSWER_TIMEOUT + Duration::from_secs(bytes / BYTES_PER_S_MIN);
        let response = match timeout(patience, self.0.request(request)).await {
            Ok(response) => response.map_err(failed)?,
            Err(_) => {
                let why = format!("no answer within {} s", patience.as_secs());
                return Err(HttpError::new(
                    HttpErrorKind::Timeout,
                    io::Error::new(io::ErrorKind::TimedOut, why),
                ));
            }
        };
        let broke = |error: hyper::Error| HttpError::new(HttpErrorKind::Interrupted, error);
        Ok(response.map(|body| HttpResponseBody::new(body.map_err(broke))))
    }
}

/// Sets the kind of the error, which decides whether it is retried.
fn failed(error: legacy::Error) -> HttpError {
    if error.is_connect() {
        return HttpError::new(HttpErrorKind::Connect, error);
    }
    let closed = error
        .source()
        .and_then(|source| source.downcast_ref::<hyper::Error>())
        .is_some_and(|error| error.is_closed() || error.is_canceled() || error.is_incomplete_message());
    let kind = if closed { HttpErrorKind::Request } else { HttpErrorKind::Interrupted };
    HttpError::new(kind, error)
}

/// Makes connections.
#[derive(Debug, Clone)]
struct Dialer {
    tls: Arc<ClientConfig>,
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = Arc::clone(&self.tls);
        Box::pin(async move {
            let dialled = timeout(CONNECT_TIMEOUT, dial(&uri, tls)).await;
            let slow = || io::Error::new(io::ErrorKind::TimedOut, "the connection timed out");
            dialled.map_err(|_| slow())?.map(TokioIo::new)
        })
    }
}

async fn dial(uri: &Uri, tls: Arc<ClientConfig>) -> io::Result<Stream> {
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why.to_owned());
    let host = uri.host().ok_or_else(|| invalid("the URL has no host"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let is_tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    if !is_tls {
        return Ok(Stream(Box::new(stream)));
    }
    let name = ServerName::try_from(host).map_err(|error| invalid(&error.to_string()))?;
    let stream = TlsConnector::from(tls).connect(name, stream).await.map_err(in_words)?;
    Ok(Stream(Box::new(stream)))
}

/// A failed handshake as a person reads it.
fn in_words(error: io::Error) -> io::Error {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    tls.map(|why| io::Error::new(error.kind(), words(why))).unwrap_or(error)
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A connection in hyper's pool.
struct Stream(Box<dyn Wire>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}
