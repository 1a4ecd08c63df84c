//! Decides which servers a TLS client of either process trusts, and words its failures.
//!
//! rustls checks certificates; this module adds one rule and the wording. The rule is that of OpenSSL, and so of
//! curl: a certificate that is trusted itself is valid for a server, whether it is a CA or not. Nothing else is
//! accepted that rustls rejects.

mod certificate;
mod insecure;
mod words;

use std::fmt::Debug;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

pub use insecure::accepting_any;
pub use words::words;

use certificate::Refused;

/// The certificates that a client trusts.
#[derive(Debug, Clone)]
pub struct Trust {
    roots: RootCertStore,
    /// The certificates as given, because a server may present one of them as its own.
    certificates: Vec<CertificateDer<'static>>,
}

impl Default for Trust {
    fn default() -> Self {
        Self { roots: RootCertStore::empty(), certificates: Vec::new() }
    }
}

impl Trust {
    /// Adds the certificates that can be parsed, and skips the others.
    pub fn add_readable(&mut self, certificates: Vec<CertificateDer<'static>>) {
        self.roots.add_parsable_certificates(certificates.iter().cloned());
        self.certificates.extend(certificates);
    }

    /// Adds one certificate.
    ///
    /// # Errors
    /// The certificate cannot be parsed.
    pub fn add(&mut self, certificate: CertificateDer<'static>) -> Result<(), Error> {
        self.roots.add(certificate.clone())?;
        self.certificates.push(certificate);
        Ok(())
    }

    /// Whether no certificate is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Returns the roots, so that others can be added.
    pub const fn roots_mut(&mut self) -> &mut RootCertStore {
        &mut self.roots
    }

    /// Creates a verifier for these certificates, with the algorithms of `provider`.
    #[must_use]
    pub fn verifier(self, provider: &CryptoProvider) -> Arc<dyn ServerCertVerifier> {
        Arc::new(Verifier { trust: self, algorithms: provider.signature_verification_algorithms })
    }
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let (roots, algorithms) = (&self.trust.roots, self.algorithms.all);
        let chain =
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms);
        if let Err(refusal) = chain {
            // The dates were checked before the CA flag is rejected.
            if !is_ca_refused(&refusal) || !self.trust.certificates.contains(end_entity) {
                return Err(refusal);
            }
            certificate::check_purpose(end_entity)?;
        }
        verify_server_name(&certificate, name)?;
        Ok(ServerCertVerified::assertion())
    }
}

fn is_ca_refused(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(OtherError(why))) = error else { return false };
    matches!(why.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, intermediates, server_name, now)
            .map_err(|refusal| Refused::explain(refusal, end_entity, intermediates))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Turns a variant's name into words: `NoCipherSuitesInCommon` becomes "no cipher suites in common". rustls's
/// lists of variants are long, open and well named.
fn spelled(variant: &dyn Debug) -> String {
    let name = format!("{variant:?}");
    let name: Vec<char> = name.chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
    let mut text = String::new();
    for (at, c) in name.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| name.get(before));
        let starts_word = c.is_ascii_uppercase()
            && (before.is_some_and(|before| !before.is_ascii_uppercase())
                || name.get(at + 1).is_some_and(char::is_ascii_lowercase));
        if starts_word && at > 0 {
            text.push(' ');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests;
