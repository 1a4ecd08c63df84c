//! Which servers a TLS client of either process trusts, and how its failures read.
//!
//! rustls checks certificates; this module adds one rule and the words. The rule is OpenSSL's, and
//! so curl's: a certificate that is itself trusted is good as a server's, CA or not. Nothing else
//! is accepted that rustls refuses.

mod certificate;
mod words;

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

pub use words::words;

use certificate::Refused;

/// The certificates that a client trusts.
#[derive(Debug, Clone)]
pub struct Trust {
    roots: RootCertStore,
    /// As they were given: a server may present one of them as its own.
    certificates: Vec<CertificateDer<'static>>,
}

impl Default for Trust {
    fn default() -> Self {
        Self { roots: RootCertStore::empty(), certificates: Vec::new() }
    }
}

impl Trust {
    /// Adds the certificates that can be read and skips the others.
    pub fn add_readable(&mut self, certificates: Vec<CertificateDer<'static>>) {
        self.roots.add_parsable_certificates(certificates.iter().cloned());
        self.certificates.extend(certificates);
    }

    /// Adds one certificate.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn add(&mut self, certificate: CertificateDer<'static>) -> Result<(), Error> {
        self.roots.add(certificate.clone())?;
        self.certificates.push(certificate);
        Ok(())
    }

    /// Whether nothing is trusted yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// The roots alone, for more to be added.
    pub const fn roots_mut(&mut self) -> &mut RootCertStore {
        &mut self.roots
    }

    /// Checks servers' certificates against what is trusted.
    ///
    /// # Errors
    /// Nothing is trusted.
    pub fn verifier(self, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Error> {
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(self.roots), provider)
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(Arc::new(Verifier { webpki, certificates: self.certificates }))
    }
}

#[derive(Debug)]
struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Verifier {
    /// A CA's certificate that a server presents as its own, and that is trusted as it is.
    fn verify_trusted(
        &self,
        end_entity: &CertificateDer<'_>,
        name: &ServerName<'_>,
        refusal: Error,
    ) -> Result<ServerCertVerified, Error> {
        // The dates have been checked before this is complained about.
        if !is_ca_refused(&refusal) || !self.certificates.contains(end_entity) {
            return Err(refusal);
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
        certificate::check_purpose(end_entity)?;
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
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.webpki
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .or_else(|refusal| self.verify_trusted(end_entity, server_name, refusal))
            .map_err(|refusal| Refused::explain(refusal, end_entity, intermediates))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests;
