//! Whom we trust, and how TLS faults read. One configuration under both clients.

use std::io;
use std::sync::{Arc, OnceLock};

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

use super::fault::Fault;

/// A TLS configuration that is built when the first `https` URL needs it: reading the
/// system's certificates takes longer than a whole fetch over `http`.
pub(super) struct Tls {
    alpn: Vec<Vec<u8>>,
    roots: Option<RootCertStore>,
    config: OnceLock<Result<Arc<ClientConfig>, Fault>>,
}

impl Tls {
    /// Trusts what the system trusts (`SSL_CERT_FILE` included), else Mozilla's list.
    pub(super) fn system(alpn: &[&str]) -> Self {
        Self::new(alpn, None)
    }

    /// Trusts these roots only.
    #[cfg(test)]
    pub(super) fn trusting(alpn: &[&str], roots: RootCertStore) -> Self {
        Self::new(alpn, Some(roots))
    }

    fn new(alpn: &[&str], roots: Option<RootCertStore>) -> Self {
        let alpn = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self { alpn, roots, config: OnceLock::new() }
    }

    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, Fault> {
        self.config.get_or_init(|| self.build()).clone()
    }

    fn build(&self) -> Result<Arc<ClientConfig>, Fault> {
        let roots = self.roots.clone().unwrap_or_else(system_roots);
        // Named, not the process's default: whoever links us may have installed another.
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Fault::Tls { message: format!("TLS: {error}"), may_pass: false })?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(Arc::new(config))
    }
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // Certificates that cannot be read are the system's business; the rest still count.
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// The name the certificate has to match.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, Fault> {
    ServerName::try_from(host.to_owned()).map_err(|_| Fault::Tls {
        message: format!("TLS handshake with {host}: no certificate can name this host"),
        may_pass: false,
    })
}

/// A handshake that failed.
pub(super) fn handshake_fault(host: &str, error: &io::Error) -> Fault {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let (why, may_pass) = match tls {
        Some(error) => (error.to_string(), false),
        None => ("connection closed".to_owned(), true),
    };
    Fault::Tls { message: format!("TLS handshake with {host}: {why}"), may_pass }
}
