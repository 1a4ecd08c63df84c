//! The current hop of an exchange, and how failures there are reported.

use http::HeaderMap;
use shared::clock;
use shared::protocol::ExitFault;
use shared::record::ErrorKind;
use url::Url;

use super::body::Body;
use super::fault::{Fault, human};
use super::repair::{HEAD_BYTES_MAX, HEADERS_MAX};
use super::retry_after::retry_after;
use super::rules::Rules;
use super::{Failure, target};
use crate::stage::decode::DecodeError;
use crate::stage::save::FileTooLarge;

/// The current hop of an exchange.
pub(super) struct CurrentHop<'a> {
    pub(super) rules: &'a Rules,
    /// Includes credentials and fragment.
    pub(super) url: Url,
    /// Status of this hop, once its head has arrived.
    pub(super) status: Option<u16>,
}

impl CurrentHop<'_> {
    /// Reports an input that is not a URL.
    pub(super) fn nowhere(message: String) -> Box<Failure> {
        Box::new(Failure {
            kind: ErrorKind::InvalidUrl,
            message,
            final_url: None,
            status: None,
            bytes: 0,
            may_pass: false,
            retry_after: None,
            page: None,
        })
    }

    /// Reports that the session of the target was over before anything was sent for it.
    pub(super) fn unsent() -> Box<Failure> {
        let failure = *Self::nowhere("its session is over".to_owned());
        Box::new(Failure { kind: ErrorKind::Login, may_pass: true, ..failure })
    }

    /// Reports an answer to somebody who is not logged in.
    pub(super) fn logged_out(&self, status: http::StatusCode, rule: &str) -> Box<Failure> {
        self.failure(ErrorKind::Login, logged_out_message(status, rule), true)
    }

    pub(super) fn failure(&self, kind: ErrorKind, message: String, may_pass: bool) -> Box<Failure> {
        Box::new(Failure {
            kind,
            message,
            final_url: Some(target::public(self.url.clone())),
            status: self.status,
            bytes: 0,
            may_pass,
            retry_after: None,
            page: None,
        })
    }

    /// Reports a status of 400 or above.
    pub(super) fn refused(&self, status: http::StatusCode, headers: &HeaderMap) -> Box<Failure> {
        let may_pass = matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504);
        let mut failure = self.failure(ErrorKind::HttpStatus, in_words(status), may_pass);
        failure.retry_after = retry_after(headers, clock::wall);
        failure
    }

    /// Reports an answer that counts as blocked. Later, the host may answer again.
    pub(super) fn blocked(&self, status: http::StatusCode, headers: &HeaderMap, rule: &str) -> Box<Failure> {
        let message = blocked_message(status, rule);
        let mut failure = self.failure(ErrorKind::Blocked, message, true);
        failure.retry_after = retry_after(headers, clock::wall);
        failure
    }

    /// Reports a body that cannot be accepted.
    pub(super) fn undecodable(&self, error: &DecodeError, received: u64, bytes_max: u64) -> Box<Failure> {
        let mut failure = if *error == DecodeError::TooLarge {
            let message = format!("body over the limit of {bytes_max} bytes");
            self.failure(ErrorKind::TooLarge, message, false)
        } else {
            self.failure(ErrorKind::Decode, error.to_string(), false)
        };
        failure.bytes = received;
        failure
    }

    /// Reports that the body, of which `received` bytes have come, cannot be a file.
    pub(super) fn unsavable(&self, error: FileTooLarge, received: u64) -> Box<Failure> {
        let mut failure = self.failure(ErrorKind::TooLarge, error.to_string(), false);
        failure.bytes = received;
        failure
    }

    /// Reports a fault of the connection. `body` is the body that it interrupted, if any.
    pub(super) fn explain(&self, fault: &Fault, body: Option<&Body>) -> Box<Failure> {
        let (kind, message, may_pass) = match fault {
            Fault::Dns { message, may_pass } => (ErrorKind::Dns, message.clone(), *may_pass),
            // Reported only when the whole run is given up.
            Fault::Shortage(shortage) => (ErrorKind::Connect, shortage.to_string(), true),
            Fault::AddressDenied(message) => (ErrorKind::AddressDenied, message.clone(), false),
            Fault::Connect(message) => (ErrorKind::Connect, message.clone(), true),
            Fault::Proxy(fault) => match fault.kind {
                ExitFault::Unreachable => (ErrorKind::Connect, fault.message.clone(), true),
                ExitFault::Proxy
                | ExitFault::Credentials
                | ExitFault::Silent
                | ExitFault::Broken
                | ExitFault::Shunned
                | ExitFault::Blocked => (ErrorKind::Proxy, fault.message.clone(), true),
            },
            Fault::ConnectTimeout => (
                ErrorKind::Timeout,
                format!("not connected within {}", human(self.rules.connect_timeout)),
                true,
            ),
            Fault::Tls { message, may_pass } => (ErrorKind::Tls, message.clone(), *may_pass),
            Fault::Session(message) => (ErrorKind::Tls, message.clone(), true),
            Fault::Timeout | Fault::TimeoutUnsent => (ErrorKind::Timeout, self.late(body), true),
            Fault::Stale | Fault::Untouched | Fault::Http1Preferred | Fault::Closed => {
                (ErrorKind::Protocol, cut_short(body), true)
            }
            Fault::Http1Required => {
                let message = "the server requires HTTP/1.1, but rejects it".to_owned();
                (ErrorKind::Protocol, message, false)
            }
            Fault::Head => (ErrorKind::Protocol, "malformed response head".to_owned(), false),
            Fault::HeadTooLarge => {
                let message = format!(
                    "response head over the limit of {HEAD_BYTES_MAX} bytes or {HEADERS_MAX} headers"
                );
                (ErrorKind::Protocol, message, false)
            }
            Fault::Chunk => (ErrorKind::Protocol, "malformed chunk in the body".to_owned(), false),
            Fault::Unsupported(message) => (ErrorKind::Protocol, message.clone(), false),
            Fault::Protocol(message) => (ErrorKind::Protocol, message.clone(), true),
            Fault::Url(message) => (ErrorKind::InvalidUrl, message.clone(), false),
        };
        let mut failure = self.failure(kind, message, may_pass);
        failure.bytes = body.map_or(0, |body| body.received);
        failure
    }

    fn late(&self, body: Option<&Body>) -> String {
        let within = human(self.rules.timeout);
        match body {
            None => format!("no response head within {within}"),
            Some(body) => {
                format!("no complete response within {within}: {} bytes of the body so far", body.received)
            }
        }
    }
}

/// The message of an answer that counts as blocked by this rule.
pub(crate) fn blocked_message(status: http::StatusCode, rule: &str) -> String {
    format!("{}: the answer matches --blocked-if '{rule}'", in_words(status))
}

/// The message of an answer to somebody who is not logged in, by this rule.
pub(crate) fn logged_out_message(status: http::StatusCode, rule: &str) -> String {
    format!("{}: the answer matches logged-out-if '{rule}'", in_words(status))
}

fn in_words(status: http::StatusCode) -> String {
    let code = status.as_u16();
    status.canonical_reason().map_or_else(|| code.to_string(), |reason| format!("{code} {reason}"))
}

fn cut_short(body: Option<&Body>) -> String {
    match body {
        None => "connection closed before the response".to_owned(),
        Some(Body { received, length: None, .. }) => format!("connection closed after {received} body bytes"),
        Some(Body { received, length: Some(length), .. }) => {
            format!("connection closed after {received} of {length} body bytes")
        }
    }
}
