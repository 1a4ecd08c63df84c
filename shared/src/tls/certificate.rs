//! Describes what is wrong with which certificate.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use humantime::format_rfc3339_seconds;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error, OtherError};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Name};

use super::spelled;

/// Maximum length of a certificate's name in a message. The server chooses the name.
const NAME_CHARS_MAX: usize = 100;

/// Maximum number of a certificate's names in a message.
const NAMES_SHOWN: usize = 5;

/// A rejected certificate and the reason. Passed on inside a TLS error.
#[derive(Debug)]
pub(super) struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl Refused {
    /// Adds the certificate to a rejection that is about one. Other rejections stay as they are.
    pub(super) fn explain(
        refusal: Error,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Error {
        let Error::InvalidCertificate(error) = &refusal else { return refusal };
        let refused = Self(describe(error, end_entity, intermediates));
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
    }
}

/// A certificate that lists purposes must list this one (RFC 5280, 4.2.1.12).
pub(super) fn check_purpose(certificate: &CertificateDer<'_>) -> Result<(), Error> {
    let bad = Error::InvalidCertificate(CertificateError::BadEncoding);
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Err(bad) };
    match parsed.extended_key_usage() {
        Ok(Some(purposes)) if !purposes.value.server_auth && !purposes.value.any => {
            Err(Error::InvalidCertificate(CertificateError::InvalidPurpose))
        }
        Ok(_) => Ok(()),
        Err(_) => Err(bad),
    }
}

fn describe(
    error: &CertificateError,
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> String {
    let chain: Vec<_> = std::iter::once(end_entity)
        .chain(intermediates)
        .filter_map(|der| X509Certificate::from_der(der).ok())
        .map(|(_, certificate)| certificate)
        .collect();
    let first = chain.first();
    let named = |certificate: Option<&X509Certificate<'_>>| match certificate {
        Some(certificate) => format!("certificate {}", name(certificate.subject())),
        None => "certificate".to_owned(),
    };
    let dated = |at: &UnixTime, is_it: fn(&X509Certificate<'_>, i64) -> bool| {
        let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
        named(chain.iter().find(|certificate| is_it(certificate, seconds)).or(first))
    };
    if let CertificateError::ExpiredContext { not_after, .. } = error {
        let which = dated(not_after, |it, at| it.validity().not_after.timestamp() == at);
        return format!("{which} expired on {}", date(*not_after));
    }
    if let CertificateError::NotValidYetContext { not_before, .. } = error {
        let which = dated(not_before, |it, at| it.validity().not_before.timestamp() == at);
        return format!("{which} is not valid before {}", date(*not_before));
    }
    if *error == CertificateError::UnknownIssuer {
        return unknown_issuer(&chain);
    }
    format!("{} {}", named(first), complaint(error))
}

/// Reports a chain that does not end at a trusted certificate, and names the issuer of its last certificate.
fn unknown_issuer(chain: &[X509Certificate<'_>]) -> String {
    let (Some(first), Some(last)) = (chain.first(), chain.last()) else {
        return "certificate of an issuer that is not trusted".to_owned();
    };
    let subject = name(first.subject());
    if first.subject() == first.issuer() {
        format!("certificate {subject} is self-signed and not trusted")
    } else if last.subject() == last.issuer() {
        format!("certificate {subject} leads to {}, which is not trusted", name(last.subject()))
    } else {
        format!("certificate {subject} was issued by {}, which is not trusted", name(last.issuer()))
    }
}

/// Words what is wrong with a certificate. The text follows the certificate's name.
pub(super) fn complaint(error: &CertificateError) -> String {
    if let CertificateError::NotValidForNameContext { expected, presented } = error {
        return match presented.as_slice() {
            [] => format!("is not valid for {}: it names no host", expected.to_str()),
            names => format!("is not valid for {}, only for {}", expected.to_str(), hosts(names)),
        };
    }
    if let CertificateError::ExpiredContext { not_after, .. } = error {
        return format!("expired on {}", date(*not_after));
    }
    if let CertificateError::NotValidYetContext { not_before, .. } = error {
        return format!("is not valid before {}", date(*not_before));
    }
    let plain = [
        (CertificateError::BadEncoding, "is malformed"),
        (CertificateError::Expired, "has expired"),
        (CertificateError::NotValidYet, "is not valid yet"),
        (CertificateError::Revoked, "has been revoked"),
        (CertificateError::UnknownIssuer, "was issued by an authority that is not trusted"),
        (CertificateError::BadSignature, "is not signed by its issuer"),
        (CertificateError::NotValidForName, "is not valid for this host"),
        (CertificateError::InvalidPurpose, "is not meant for a server"),
        (CertificateError::UnhandledCriticalExtension, "has a critical extension that is not supported"),
    ];
    if let Some((_, text)) = plain.iter().find(|(known, _)| known == error) {
        return (*text).to_owned();
    }
    if matches!(error, CertificateError::InvalidPurposeContext { .. }) {
        return "is not meant for a server".to_owned();
    }
    if let CertificateError::Other(OtherError(why)) = error {
        return why.downcast_ref::<webpki::Error>().map_or_else(|| why.to_string(), of_webpki);
    }
    format!("is rejected: {}", spelled(error))
}

fn of_webpki(error: &webpki::Error) -> String {
    if *error == webpki::Error::CaUsedAsEndEntity {
        return "belongs to a CA, and is not trusted itself".to_owned();
    }
    format!("is rejected: {}", spelled(error))
}

fn hosts(names: &[String]) -> String {
    // webpki formats a name as `DnsName("a.example")`.
    let shown: Vec<_> = names.iter().take(NAMES_SHOWN).map(|name| bare(name)).collect();
    let rest = names.len().saturating_sub(NAMES_SHOWN);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    shown.join(", ") + &more
}

fn bare(name: &str) -> &str {
    name.split_once('(').map_or(name, |(_, name)| name).trim_matches(['(', ')', '"'])
}

/// Returns the common name, otherwise the whole name, shortened and without control characters.
fn name(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().find_map(|common| common.as_str().ok());
    let text = common.map_or_else(|| name.to_string(), ToOwned::to_owned);
    let clean: String = text.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect();
    if clean.is_empty() { "without a name".to_owned() } else { format!("\"{clean}\"") }
}

fn date(at: UnixTime) -> String {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(at.as_secs());
    format_rfc3339_seconds(at).to_string()
}
