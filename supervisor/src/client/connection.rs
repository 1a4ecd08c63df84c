//! A connection to a service, and its responses.

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

use super::{ClientError, ServiceAddress};

/// A request body.
pub(super) type Body = BoxBody<Bytes, Infallible>;

/// An open connection.
pub(super) struct Connection {
    sender: SendRequest<Body>,
    host: HeaderValue,
    authorization: Option<HeaderValue>,
    /// The name of the service in messages.
    name: String,
}

/// A complete response.
pub(super) struct Answer {
    pub(super) body: Bytes,
}

impl Answer {
    /// Returns the body as text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Parses the body as JSON.
    ///
    /// # Errors
    /// If the body does not have the expected form.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            ClientError::Unreachable(format!(
                "cannot read the answer of the service; its version may differ from this one's: {error}"
            ))
        })
    }
}

impl Connection {
    /// Connects to the service.
    ///
    /// # Errors
    /// If nothing listens there, or its certificate is not trusted.
    pub(super) async fn open(address: &ServiceAddress) -> Result<Self, ClientError> {
        match address {
            ServiceAddress::Socket(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| nobody(path, &error))?;
                let name = path.display().to_string();
                Self::over(stream, HeaderValue::from_static("localhost"), None, name).await
            }
            ServiceAddress::Url { url, token_file, ca } => {
                let authorization = token_file.as_deref().map(bearer).transpose()?;
                let broken = |why: &dyn std::fmt::Display| {
                    ClientError::Unreachable(format!("cannot connect to {url}: {why}"))
                };
                let (host, name, port) = host_and_port(url).ok_or_else(|| broken(&"the URL has no host"))?;
                let header = HeaderValue::from_str(&host).map_err(|error| broken(&error))?;
                let stream =
                    TcpStream::connect((name.as_str(), port)).await.map_err(|error| broken(&error))?;
                // Requests are small, and each waits for its response.
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

    /// Sends a request without a body.
    ///
    /// # Errors
    /// If there is no response, or it is an error.
    pub(super) async fn request(&mut self, method: Method, path: &str) -> Result<Answer, ClientError> {
        let response = self.send(method, path, HeaderMap::new(), Empty::new().boxed()).await?;
        self.whole(response).await
    }

    /// Sends a GET request.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(super) async fn get(&mut self, path: &str) -> Result<Answer, ClientError> {
        self.request(Method::GET, path).await
    }

    /// Sends a request and returns the response if it is a success.
    ///
    /// # Errors
    /// If there is no response, or it is an error.
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
            detail += "; give the token with --token-file";
        }
        Err(ClientError::Refused { status, detail })
    }

    /// Reads a response to its end.
    ///
    /// # Errors
    /// If the connection ends first.
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
    ClientError::Unreachable(format!("lost the connection to the service at {name}: {why}"))
}

/// Explains why a socket could not be opened, and what to do.
fn nobody(path: &Path, error: &io::Error) -> ClientError {
    let path = path.display();
    let is = |kind: io::ErrorKind| error.kind() == kind;
    ClientError::Unreachable(if is(io::ErrorKind::NotFound) || is(io::ErrorKind::ConnectionRefused) {
        format!("no service listens on {path}; start one with: supervisor serve")
    } else if is(io::ErrorKind::PermissionDenied) {
        format!("cannot connect to {path}: {error}; run this as the service's user, or join its group")
    } else {
        format!("cannot connect to the service at {path}: {error}")
    })
}

/// Returns the host for the request, the host for name resolution, and the port.
fn host_and_port(url: &Url) -> Option<(String, String, u16)> {
    let port = url.port_or_known_default()?;
    let name = match url.host()? {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    let shown = url.host_str()?;
    Some((url.port().map_or_else(|| shown.to_owned(), |port| format!("{shown}:{port}")), name, port))
}

/// Explains why the TLS handshake failed, and what to do.
fn explained(error: &io::Error) -> String {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(why @ rustls::Error::InvalidCertificate(_)) => {
            format!(
                "{}; if your own CA signed its certificate, give the CA's certificate with --ca",
                words(why)
            )
        }
        Some(why @ rustls::Error::InvalidMessage(_)) => {
            format!("{}; if the service does not use TLS, write http://", words(why))
        }
        Some(why) => words(why),
        None => error.to_string(),
    }
}

fn bearer(path: &Path) -> Result<HeaderValue, ClientError> {
    let refuse = |why: &dyn std::fmt::Display| {
        ClientError::Here(format!("cannot read a token from {}: {why}", path.display()))
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
        .map_err(|error| ClientError::Here(format!("cannot set up TLS: {}", words(&error))))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Returns the CA certificates of a file, or those of the system.
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
        return Err(refuse(&"it contains no certificate"));
    }
    Ok(trust)
}
