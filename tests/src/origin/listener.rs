//! Accepts connections, with or without TLS, and passes them to the HTTP server.
//!
//! A TLS handshake runs in its connection's own task, so that a peer that stalls in one blocks nobody else.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::options::Options;
use super::wire::{Sabotage, Stream, Wire};

/// Maximum connections that are ready for HTTP and wait for the server.
const READY_MAX: usize = 1024;

/// The listening side, in the form that `axum::serve` needs.
#[derive(Debug)]
pub(super) struct Incoming {
    ready: mpsc::Receiver<(Wire, Sabotage)>,
    address: SocketAddr,
    scheme: &'static str,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

impl Incoming {
    pub(super) async fn bind(options: &Options) -> anyhow::Result<Self> {
        let tls = options.tls_ca.as_deref().map(|file| acceptor(file, options.tls_serve_ca)).transpose()?;
        let listener = TcpListener::bind(options.listen)
            .await
            .with_context(|| format!("cannot listen on {}", options.listen))?;
        let address = listener.local_addr()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (sender, ready) = mpsc::channel(READY_MAX);
        tokio::spawn(accept(listener, tls, sender));
        Ok(Self { ready, address, scheme })
    }

    /// `http` or `https`, because an HTTP/1 request does not say it.
    pub(super) fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// Address of this server for clients.
    pub(super) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }
}

impl Connected<IncomingStream<'_, Incoming>> for Sabotage {
    fn connect_info(stream: IncomingStream<'_, Incoming>) -> Self {
        stream.remote_addr().clone()
    }
}

impl axum::serve::Listener for Incoming {
    type Io = Wire;
    type Addr = Sabotage;

    async fn accept(&mut self) -> (Wire, Sabotage) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The accepting task never ends by itself. At shutdown nothing waits for connections.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Sabotage> {
        Ok(Sabotage::default())
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, ready: mpsc::Sender<(Wire, Sabotage)>) {
    loop {
        let Ok((tcp, _)) = listener.accept().await else {
            // No descriptors are free. Some will be soon, and until then no connection can be accepted.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Responses are complete when written, so waiting to merge writes only adds latency.
        let _ = tcp.set_nodelay(true);
        match &tls {
            None => {
                if ready.send(Wire::new(Stream::Plain(tcp))).await.is_err() {
                    return;
                }
            }
            Some(acceptor) => {
                tokio::spawn(handshake(acceptor.clone(), tcp, ready.clone()));
            }
        }
    }
}

async fn handshake(acceptor: TlsAcceptor, tcp: TcpStream, ready: mpsc::Sender<(Wire, Sabotage)>) {
    // The client reports a failed handshake.
    if let Ok(stream) = acceptor.accept(tcp).await {
        let _ = ready.send(Wire::new(Stream::Tls(Box::new(stream)))).await;
    }
}

/// Creates a CA and a certificate for loopback addresses. Writes the CA's certificate to `ca_file`.
fn acceptor(ca_file: &Path, serve_ca: bool) -> anyhow::Result<TlsAcceptor> {
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let mut ca = CertificateParams::new(if serve_ca { names.to_vec() } else { Vec::new() })?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "origin CA");
    let ca_key = KeyPair::generate()?;
    let ca_key_der = ca_key.serialize_der();
    let ca = CertifiedIssuer::self_signed(ca, ca_key)?;
    let key = KeyPair::generate()?;
    let mut certificate = CertificateParams::new(names)?;
    // With the default name, which is the issuer's, it would look self-signed.
    certificate.distinguished_name.push(DnType::CommonName, "origin");
    let certificate = certificate.signed_by(&key, &ca)?;
    std::fs::write(ca_file, ca.pem()).with_context(|| format!("cannot write {}", ca_file.display()))?;
    let (certificate, key) =
        if serve_ca { (ca.der(), ca_key_der) } else { (certificate.der(), key.serialize_der()) };
    let private_key = PrivateKeyDer::try_from(key).map_err(anyhow::Error::msg)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], private_key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
