//! How the servers of a job are reached: addresses in place of those that names have, and who is trusted.
//!
//! The supervisor reads the files and checks them here; the worker builds its connections from the same values.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};

use crate::tls::{Trust, words};

/// How connections are made, where it differs from the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportSpec {
    /// Addresses to use in place of those of a name.
    pub pins: Vec<Pin>,
    /// Certificates that are trusted besides those of the system, in PEM.
    pub ca: Vec<u8>,
    /// Whether any certificate is accepted.
    pub insecure: bool,
    /// Whether servers are offered HTTP/1.1 only.
    pub http1: bool,
    /// What this client shows to servers that ask for a certificate.
    pub identity: Option<Identity>,
}

/// The addresses of one name and port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The name, as URLs have it, without a dot at its end.
    pub host: String,
    /// The port.
    pub port: u16,
    /// In the order in which they are tried.
    pub addresses: Vec<IpAddr>,
}

/// A certificate of this client, with its key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The certificate and those that it is signed with, in PEM.
    #[serde(with = "serde_bytes")]
    pub certificate: Vec<u8>,
    /// The private key, in PEM.
    #[serde(with = "serde_bytes")]
    pub key: Vec<u8>,
}

// The key is a secret.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Pin {
    /// Parses `HOST:PORT:ADDRESS[,ADDRESS]…`, with or without brackets around IPv6.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let form = "give HOST:PORT:ADDRESS, such as example.com:443:127.0.0.1";
        let mut parts = text.splitn(3, ':');
        let (Some(host), Some(port), Some(addresses)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(form.to_owned());
        };
        let port = port.parse().ok().filter(|port| *port > 0);
        let (Some(port), false) = (port, host.is_empty()) else { return Err(form.to_owned()) };
        let address = |text: &str| {
            let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
            bare.parse().map_err(|_| format!("'{text}' is not an IP address; {form}"))
        };
        let addresses = addresses.split(',').map(address).collect::<Result<_, _>>()?;
        // As URLs have it.
        let host = url::Host::parse(host).map_err(|error| format!("'{host}' is not a host: {error}"))?;
        Ok(Self { host: host.to_string().trim_end_matches('.').to_owned(), port, addresses })
    }
}

/// Adds the certificates of a PEM file to those that are trusted.
///
/// # Errors
/// It holds none, or one that cannot be read.
pub fn add_authorities(pem: &[u8], trust: &mut Trust) -> Result<(), String> {
    for certificate in certificates(pem)? {
        trust.add(certificate).map_err(|error| format!("a certificate in it cannot be used: {error}"))?;
    }
    Ok(())
}

impl Identity {
    /// Parses it.
    ///
    /// # Errors
    /// What is missing or cannot be read.
    pub fn parse(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
        let chain = certificates(&self.certificate)?;
        if self.key.windows(ENCRYPTED.len()).any(|found| found == ENCRYPTED) {
            return Err("the key is encrypted; decrypt it, with openssl pkey -in FILE -out FILE".to_owned());
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| "there is no private key in PEM; give the file with the key as --key".to_owned())?;
        Ok((chain, key))
    }
}

impl Identity {
    /// Checks that it can be used: that the key is that of the certificate.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn check(&self) -> Result<(), String> {
        let (chain, key) = self.parse()?;
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| words(&error))?
            .with_root_certificates(RootCertStore::empty());
        builder.with_client_auth_cert(chain, key).map(drop).map_err(|error| words(&error))
    }
}

/// Marks an encrypted key, in either of its forms.
const ENCRYPTED: &[u8] = b"ENCRYPTED";

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("there is no certificate in PEM".to_owned()),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("it is not PEM: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn pins_name_a_host_a_port_and_addresses() {
        for (text, host, port, addresses) in [
            ("Example.com:443:127.0.0.1", "example.com", 443, &["127.0.0.1"][..]),
            ("a:80:::1", "a", 80, &["::1"]),
            ("Bücher.example.:80:::1", "xn--bcher-kva.example", 80, &["::1"]),
            ("a:80:[::1],10.0.0.1", "a", 80, &["::1", "10.0.0.1"]),
        ] {
            let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
            assert_eq!(Pin::parse(text), Ok(Pin { host: host.to_owned(), port, addresses }), "{text}");
        }
        for (text, says) in [
            ("a:80", "give HOST:PORT:ADDRESS"),
            (":80:1.1.1.1", "give HOST:PORT:ADDRESS"),
            ("a:0:1.1.1.1", "give HOST:PORT:ADDRESS"),
            ("a:x:1.1.1.1", "give HOST:PORT:ADDRESS"),
            ("a b:80:1.1.1.1", "'a b' is not a host"),
            ("a:80:b", "'b' is not an IP address"),
            ("a:80:1.1.1.1,", "'' is not an IP address"),
        ] {
            let error = Pin::parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn files_in_pem_are_read_or_explained() {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["a".to_owned()]).unwrap().self_signed(&key).unwrap();
        let (certificate, key) = (certificate.pem().into_bytes(), key.serialize_pem().into_bytes());
        let mut trust = Trust::default();
        add_authorities(&[certificate.clone(), certificate.clone()].concat(), &mut trust).unwrap();
        assert!(!trust.is_empty());
        assert!(add_authorities(b"x", &mut trust).unwrap_err().contains("no certificate"));
        let identity = |certificate: &[u8], key: &[u8]| {
            let identity = Identity { certificate: certificate.to_vec(), key: key.to_vec() };
            identity.parse().map(|(chain, _)| chain.len())
        };
        assert_eq!(identity(&certificate, &key), Ok(1));
        let other = KeyPair::generate().unwrap().serialize_pem().into_bytes();
        let mixed = Identity { certificate: certificate.clone(), key: other };
        assert!(mixed.check().is_err());
        assert_eq!(Identity { certificate: certificate.clone(), key: key.clone() }.check(), Ok(()));
        assert!(identity(&key, &key).unwrap_err().contains("no certificate"));
        assert!(identity(&certificate, &certificate).unwrap_err().contains("no private key"));
        let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMA==\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert!(identity(&certificate, encrypted).unwrap_err().contains("encrypted"));
    }
}
