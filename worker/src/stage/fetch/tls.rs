//! Which certificates are trusted, and how TLS faults are worded. Both clients use the same configuration.

use std::io;
use std::sync::{Arc, OnceLock};

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use shared::tls::{Trust, accepting_any, words};
use shared::transport::{TransportSpec, add_authorities};

use super::fault::Fault;

type Config = Result<Arc<ClientConfig>, Fault>;

/// A TLS configuration, built when the first `https` URL needs it. Reading the system's certificates takes longer
/// than a whole fetch over `http`.
pub(super) struct Tls {
    alpn: Vec<Vec<u8>>,
    trust: Option<Trust>,
    transport: TransportSpec,
    config: OnceLock<Config>,
    http1_config: OnceLock<Config>,
}

impl Tls {
    /// Trusts what the system trusts (including `SSL_CERT_FILE`), otherwise Mozilla's list.
    pub(super) fn system(alpn: &[&str]) -> Self {
        Self::new(alpn, None)
    }

    /// The same, as a job wants it.
    pub(super) fn of(transport: &TransportSpec, alpn: &[&str]) -> Self {
        let alpn = if transport.http1 { &["http/1.1"] } else { alpn };
        Self { transport: transport.clone(), ..Self::system(alpn) }
    }

    /// The same for proxies, which get neither the job's certificate nor its leave to have any.
    pub(super) fn of_proxies(&self) -> Self {
        let transport = TransportSpec { ca: self.transport.ca.clone(), ..TransportSpec::default() };
        Self { transport, ..Self::new(&["http/1.1"], self.trust.clone()) }
    }

    /// Trusts only these certificates.
    #[cfg(test)]
    pub(super) fn trusting(alpn: &[&str], trust: Trust) -> Self {
        Self::new(alpn, Some(trust))
    }

    fn new(alpn: &[&str], trust: Option<Trust>) -> Self {
        let alpn = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let transport = TransportSpec::default();
        Self { alpn, trust, transport, config: OnceLock::new(), http1_config: OnceLock::new() }
    }

    pub(super) fn config(&self) -> Config {
        self.config.get_or_init(|| self.build()).clone()
    }

    /// Returns the configuration that offers only HTTP/1.1.
    pub(super) fn http1_config(&self) -> Config {
        let build = || {
            let mut config = ClientConfig::clone(&*self.config()?);
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok(Arc::new(config))
        };
        self.http1_config.get_or_init(build).clone()
    }

    fn build(&self) -> Config {
        // Names the provider, because a program that links this crate may have installed another default.
        let provider = Arc::new(ring::default_provider());
        let unfit = |why: String| Fault::Tls { message: format!("TLS: {why}"), may_pass: false };
        let verifier = if self.transport.insecure {
            accepting_any(&provider)
        } else {
            let mut trust = self.trust.clone().unwrap_or_else(system_trust);
            if !self.transport.ca.is_empty() {
                add_authorities(&self.transport.ca, &mut trust).map_err(unfit)?;
            }
            trust.verifier(&provider)
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unfit(words(&error)))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.transport.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = identity.parse().map_err(unfit)?;
                builder.with_client_auth_cert(chain, key).map_err(|error| unfit(words(&error)))?
            }
        };
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(Arc::new(config))
    }
}

fn system_trust() -> Trust {
    let mut trust = Trust::default();
    // Certificates that cannot be read are skipped; the others still count.
    trust.add_readable(rustls_native_certs::load_native_certs().certs);
    if trust.is_empty() {
        trust.roots_mut().extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    trust
}

/// Returns the name that the certificate must match.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, Fault> {
    ServerName::try_from(host.to_owned()).map_err(|_| Fault::Tls {
        message: format!("TLS handshake with {host}: no certificate can name this host"),
        may_pass: false,
    })
}

/// Returns the TLS error by which a session ended after the handshake: an alert, or data that is not TLS.
pub(super) fn session_fault(error: &io::Error) -> Option<Fault> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(Fault::Session(format!("TLS: {}", words(error))))
}

/// Words a failed handshake.
pub(super) fn handshake_fault(host: &str, error: &io::Error) -> Fault {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let (why, may_pass) = match tls {
        Some(error) => (words(error), false),
        None => ("connection closed".to_owned(), true),
    };
    Fault::Tls { message: format!("TLS handshake with {host}: {why}"), may_pass }
}
