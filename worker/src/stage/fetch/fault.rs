//! Transport faults, in terms that both clients share.
//!
//! A client reports a [`Fault`]; [`super::exchange`] knows how far the exchange had got, and makes the error
//! message.

use std::io;
use std::time::Duration;

use shared::protocol::ExitFault;
use shared::proxy::Proxy;

use crate::shortage::Shortage;

/// One failure between this worker and the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// This machine has run out of a resource that a connection needs. Nothing was sent.
    #[error("{0}")]
    Shortage(Shortage),
    /// The name has no address, or the lookup failed.
    #[error("{message}")]
    Dns { message: String, may_pass: bool },
    /// The address policy allows none of the host's addresses.
    #[error("{0}")]
    AddressDenied(String),
    /// A proxy failed, or failed to reach the server.
    #[error(transparent)]
    Proxy(#[from] ProxyFault),
    /// No address accepted a connection.
    #[error("{0}")]
    Connect(String),
    /// The connect timeout ran out.
    #[error("not connected in time")]
    ConnectTimeout,
    #[error("{message}")]
    Tls { message: String, may_pass: bool },
    /// The whole target's timeout ran out.
    #[error("out of time")]
    Timeout,
    /// The same, before anything of this request was sent.
    #[error("out of time before the request was sent")]
    TimeoutUnsent,
    /// The server closed a pooled connection, most likely while it was idle, before any byte of this response. A
    /// request that may be sent twice can be repeated.
    #[error("the pooled connection was closed while idle")]
    Stale,
    /// The connection ended before the server took this request on. Any request can be repeated.
    #[error("the connection was closed before the request was taken on")]
    Untouched,
    /// TLS failed after the handshake.
    #[error("{0}")]
    Session(String),
    /// The server refuses HTTP/2 for this request, and accepts it over HTTP/1.1.
    #[error("the server requires HTTP/1.1")]
    Http1Required,
    /// The connection ended, most likely because the server refuses HTTP/2. It may have acted on the request. One that
    /// may be sent twice can be repeated over HTTP/1.1.
    #[error("the connection was closed by a server that requires HTTP/1.1")]
    Http1Preferred,
    /// The connection ended before the response did.
    #[error("connection closed")]
    Closed,
    #[error("malformed response head")]
    Head,
    #[error("response head too large")]
    HeadTooLarge,
    #[error("malformed chunk")]
    Chunk,
    /// The response is HTTP, in a form that is not supported.
    #[error("{0}")]
    Unsupported(String),
    /// Any other failure that a client reports.
    #[error("{0}")]
    Protocol(String),
    /// No request can be made from this URL.
    #[error("{0}")]
    Url(String),
}

/// A failure at a proxy, or beyond it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct ProxyFault {
    pub(super) kind: ExitFault,
    /// Names the proxy, without its credentials.
    pub(super) message: String,
    /// Whether the proxy may have passed the request on.
    pub(super) was_sent: bool,
}

impl ProxyFault {
    pub(super) fn new(proxy: &Proxy, kind: ExitFault, why: &str) -> Self {
        Self { kind, message: format!("proxy {proxy}: {why}"), was_sent: false }
    }
}

impl Fault {
    /// Whether the server cannot have acted on the request.
    pub(super) const fn is_before_request(&self) -> bool {
        match self {
            Self::Shortage(_)
            | Self::Dns { .. }
            | Self::AddressDenied(_)
            | Self::Connect(_)
            | Self::ConnectTimeout
            | Self::Tls { .. }
            | Self::TimeoutUnsent
            | Self::Untouched
            | Self::Http1Required
            | Self::Url(_) => true,
            Self::Proxy(fault) => !fault.was_sent,
            Self::Session(_)
            | Self::Timeout
            | Self::Stale
            | Self::Http1Preferred
            | Self::Closed
            | Self::Head
            | Self::HeadTooLarge
            | Self::Chunk
            | Self::Unsupported(_)
            | Self::Protocol(_) => false,
        }
    }

    /// Whether the whole target's time is over.
    pub(super) const fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout | Self::TimeoutUnsent)
    }

    /// The same, if it came before anything of the request was sent.
    pub(super) fn unsent(self) -> Self {
        if self == Self::Timeout { Self::TimeoutUnsent } else { self }
    }

    /// Whether the request can be sent again over HTTP/1.1, if it may be sent twice.
    pub(super) const fn wants_http1(&self) -> bool {
        matches!(self, Self::Http1Required | Self::Http1Preferred)
    }

    /// Finds the fault that a connector wrapped into an error before it passed through a client.
    pub(super) fn within(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(fault) = error.downcast_ref::<Self>() {
                return Some(fault.clone());
            }
            // The source of an `io::Error` skips the error that it wraps, so look inside as well.
            let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            if let Some(fault) = inside.and_then(|inside| Self::within(inside)) {
                return Some(fault);
            }
            next = error.source();
        }
        None
    }

    /// Wraps the fault for layers that only pass `io::Error`.
    pub(super) fn into_io(self) -> io::Error {
        io::Error::other(self)
    }
}

/// Formats a duration for people: `30 s`, `1.5 s`, `250 ms`.
pub(super) fn human(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else if duration.subsec_millis() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_formatted_for_people() {
        for (ms, text) in [(30_000, "30 s"), (1500, "1.5 s"), (250, "250 ms"), (60_000, "60 s"), (0, "0 ms")]
        {
            assert_eq!(human(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn a_fault_is_found_under_layers_of_errors() {
        let deep = io::Error::other(io::Error::new(io::ErrorKind::NotFound, Fault::Stale));
        assert_eq!(Fault::within(&deep), Some(Fault::Stale));
        assert_eq!(Fault::within(&io::Error::other("else")), None);
    }
}
