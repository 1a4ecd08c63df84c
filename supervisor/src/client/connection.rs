//! One connection to a service, and what it answers.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde::de::DeserializeOwned;
use shared::tls::{Trust, words};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::{ClientError, Place};

/// Whatever is sent.
pub(super) type Body = BoxBody<Bytes, Infallible>;

/// A connection that is open.
pub(super) struct Connection {
    sender: SendRequest<Body>,
    host: HeaderValue,
    authorization: Option<HeaderValue>,
    /// What it is called in messages.
    name: String,
}

/// An answer that has come whole.
pub(super) struct Answer {
    pub(super) body: Bytes,
}

impl Answer {
    /// As it came.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What it says.
    ///
    /// # Errors
    /// When it is of another shape than this program knows.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            ClientError::Unreachable(format!("the service answers what this version does not know: {error}"))
        })
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody is there, or not who should be.
    pub(super) async fn open(place: &Place) -> Result<Self, ClientError> {
        match place {
            Place::Socket(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| nobody(path, &error))?;
                let name = path.display().to_string();
                Self::over(stream, HeaderValue::from_static("localhost"), None, name).await
            }
            Place::Url { url, token_file, ca } => {
                let authorization = token_file.as_deref().map(bearer).transpose()?;
                let broken = |why: &dyn std::fmt::Display| {
                    ClientError::Unreachable(format!("cannot talk to {url}: {why}"))
                };
                let (host, name, port) = address(url).ok_or_else(|| broken(&"there is no host in it"))?;
                let header = HeaderValue::from_str(&host).map_err(|error| broken(&error))?;
                let stream =
                    TcpStream::connect((name.as_str(), port)).await.map_err(|error| broken(&error))?;
                // What is sent is small, and is waited for.
                let _ = stream.set_nodelay(true);
                if url.scheme() == "http" {
                    return Self::over(stream, header, authorization, url.to_string()).await;
                }
                let server = ServerName::try_from(name).map_err(|error| broken(&error))?;
                let stream = TlsConnector::from(tls(ca.as_deref())?).connect(server, stream).await;
                let stream = stream.map_err(|error| broken(&explained(&error)))?;
                Self::over(stream, header, authorization, url.to_string()).await
            }
        }
    }

    async fn over<S>(
        stream: S,
        host: HeaderValue,
        authorization: Option<HeaderValue>,
        name: String,
    ) -> Result<Self, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| broke(&name, &error))?;
        tokio::spawn(connection);
        Ok(Self { sender, host, authorization, name })
    }

    /// Asks, with nothing but a path.
    ///
    /// # Errors
    /// When there is no answer, or it is no.
    pub(super) async fn ask(&mut self, method: Method, path: &str) -> Result<Answer, ClientError> {
        let response = self.send(method, path, HeaderMap::new(), Empty::new().boxed()).await?;
        self.whole(response).await
    }

    /// Asks for what is there.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(super) async fn get(&mut self, path: &str) -> Result<Answer, ClientError> {
        self.ask(Method::GET, path).await
    }

    /// Sends a request; the answer, if it is one that says yes.
    ///
    /// # Errors
    /// When there is none, or it says no.
    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Response<Incoming>, ClientError> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|error| broke(&self.name, &error))?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(header::HOST, self.host.clone());
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        self.sender.ready().await.map_err(|error| broke(&self.name, &error))?;
        let response = self.sender.send_request(request).await.map_err(|error| broke(&self.name, &error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let answer = self.whole(response).await?;
        let detail = serde_json::from_slice::<serde_json::Value>(&answer.body).ok();
        let detail = detail.as_ref().and_then(|problem| problem.get("detail")?.as_str());
        let mut detail = detail.unwrap_or(status.canonical_reason().unwrap_or("refused")).to_owned();
        if status == StatusCode::UNAUTHORIZED {
            detail += "; give it with --token-file";
        }
        Err(ClientError::Refused { status, detail })
    }

    /// Reads an answer to its end.
    ///
    /// # Errors
    /// When it breaks off.
    pub(super) async fn whole(&self, response: Response<Incoming>) -> Result<Answer, ClientError> {
        let body = response.into_body().collect().await.map_err(|error| broke(&self.name, &error))?;
        Ok(Answer { body: body.to_bytes() })
    }
}

fn broke(name: &str, error: &dyn std::error::Error) -> ClientError {
    let mut why = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        why += &format!(": {error}");
        cause = error.source();
    }
    ClientError::Unreachable(format!("the connection to the service at {name} broke: {why}"))
}

/// Why a socket could not be opened, and what to do about it.
fn nobody(path: &Path, error: &io::Error) -> ClientError {
    let path = path.display();
    let is = |kind: io::ErrorKind| error.kind() == kind;
    ClientError::Unreachable(if is(io::ErrorKind::NotFound) || is(io::ErrorKind::ConnectionRefused) {
        format!("no service listens on {path}; start one with: supervisor serve")
    } else if is(io::ErrorKind::PermissionDenied) {
        format!("may not open {path}: it is for the service's user and group; {error}")
    } else {
        format!("cannot talk to the service at {path}: {error}")
    })
}

/// How the host is called in a request, how it is looked up, and the port.
fn address(url: &Url) -> Option<(String, String, u16)> {
    let port = url.port_or_known_default()?;
    let name = match url.host()? {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    let shown = url.host_str()?;
    Some((url.port().map_or_else(|| shown.to_owned(), |port| format!("{shown}:{port}")), name, port))
}

/// Why there is no TLS, and what to do about it.
fn explained(error: &io::Error) -> String {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(why @ rustls::Error::InvalidCertificate(_)) => {
            format!("{}; if its authority is one of your own, name it with --ca", words(why))
        }
        Some(why @ rustls::Error::InvalidMessage(_)) => {
            format!("{}; if it speaks no TLS, ask with http://", words(why))
        }
        Some(why) => words(why),
        None => error.to_string(),
    }
}

fn bearer(path: &Path) -> Result<HeaderValue, ClientError> {
    let refuse = |why: &dyn std::fmt::Display| {
        ClientError::Here(format!("cannot take the token from {}: {why}", path.display()))
    };
    let text = fs::read_to_string(path).map_err(|error| refuse(&error))?;
    let token = text.lines().next().unwrap_or_default().trim();
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|error| refuse(&error))?;
    value.set_sensitive(true);
    Ok(value)
}

fn tls(ca: Option<&Path>) -> Result<Arc<ClientConfig>, ClientError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = trusted(ca)?.verifier(&provider);
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Here(format!("no TLS: {}", words(&error))))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The certificates in a file; without one, those that the system trusts.
fn trusted(ca: Option<&Path>) -> Result<Trust, ClientError> {
    let mut trust = Trust::default();
    let Some(path) = ca else {
        trust.add_readable(rustls_native_certs::load_native_certs().certs);
        return Ok(trust);
    };
    let refuse = |why: &dyn std::fmt::Display| ClientError::Here(format!("--ca {}: {why}", path.display()));
    let text = fs::read(path).map_err(|error| refuse(&error))?;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| refuse(&error))?;
        trust.add(certificate).map_err(|error| refuse(&words(&error)))?;
    }
    if trust.is_empty() {
        return Err(refuse(&"there is no certificate in it"));
    }
    Ok(trust)
}
