//! Words TLS failures for people.

use rustls::{AlertDescription, CertificateError, Error, OtherError};

use super::certificate::{Refused, complaint};
use super::spelled;

/// Says what went wrong. The text follows the name of the peer.
#[must_use]
pub fn words(error: &Error) -> String {
    if let Error::InvalidCertificate(error) = error {
        return of_certificate(error);
    }
    if let Error::AlertReceived(alert) = error {
        let why = if let AlertDescription::Unknown(code) = alert {
            format!("alert {code}")
        } else {
            spelled(alert)
        };
        return format!("the server refused the connection: {why}");
    }
    if let Error::PeerIncompatible(why) = error {
        return format!("TLS negotiation failed: {}", spelled(why));
    }
    if let Error::PeerMisbehaved(why) = error {
        return format!("the server broke the TLS protocol: {}", spelled(why));
    }
    if let Error::InvalidMessage(why) = error {
        return format!("the server's answer is not TLS: {}", spelled(why));
    }
    if let Error::General(text) = error {
        return text.clone();
    }
    if let Error::Other(OtherError(why)) = error {
        return why.to_string();
    }
    let plain = [
        (Error::NoCertificatesPresented, "the server presented no certificate"),
        (Error::UnsupportedNameType, "no certificate can name this host"),
        (Error::DecryptError, "a message of the server could not be decrypted"),
        (Error::NoApplicationProtocol, "the server supports no version of HTTP that this client supports"),
        (Error::PeerSentOversizedRecord, "the server sent more than TLS allows in a record"),
    ];
    match plain.iter().find(|(known, _)| known == error) {
        Some((_, text)) => (*text).to_owned(),
        None => spelled(error),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    if let CertificateError::Other(OtherError(why)) = error
        && let Some(refused) = why.downcast_ref::<Refused>()
    {
        return refused.to_string();
    }
    format!("the server's certificate {}", complaint(error))
}
