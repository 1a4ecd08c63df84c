//! The certificate of the service: read at the start, and again on a reload.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::ApiError;
use crate::config::TlsFiles;

/// Loads the certificate chain and its key.
///
/// # Errors
/// The file that cannot be used, and why.
pub(super) fn load(files: &TlsFiles) -> Result<Arc<ServerConfig>, ApiError> {
    let refuse = |path: &Path, why: String| ApiError::Tls { path: path.to_owned(), why };
    let open = |path: &Path| match File::open(path) {
        Ok(file) => Ok(BufReader::new(file)),
        Err(error) => Err(refuse(path, error.to_string())),
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_reader_iter(open(&files.certificates)?).collect();
    let chain = chain.map_err(|error| refuse(&files.certificates, format!("not PEM: {error}")))?;
    if chain.is_empty() {
        return Err(refuse(&files.certificates, "it contains no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_reader(open(&files.key)?)
        .map_err(|error| refuse(&files.key, format!("it holds no private key in PEM: {error}")))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| refuse(&files.key, error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| refuse(&files.key, format!("the key does not match the certificate: {error}")))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
