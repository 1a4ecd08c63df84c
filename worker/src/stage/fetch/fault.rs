//! What can go wrong below HTTP's meaning, in words both clients share.
//!
//! A client says which [`Fault`] it met; [`super::exchange`] knows how far the
//! exchange had got and makes the message of it.

use std::io;
use std::time::Duration;

use crate::want::Shortage;

/// One thing that went wrong between us and the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// This machine has no more of what a connection needs: nobody's fault, and nothing was sent.
    #[error("{0}")]
    Shortage(Shortage),
    /// The name has no address, or nobody could say.
    #[error("{message}")]
    Dns { message: String, may_pass: bool },
    /// The address policy allows none of the host's addresses.
    #[error("{0}")]
    AddressDenied(String),
    /// Every address refused or was unreachable.
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
    /// A pooled connection was dead before it gave a byte: the server closed it while
    /// it was idle. Nobody's fault, and nothing was lost.
    #[error("the pooled connection was closed while idle")]
    Stale,
    /// The server refuses HTTP/2 for this request and takes it over HTTP/1.1.
    #[error("the server requires HTTP/1.1")]
    Http1Required,
    /// The connection ended before the response did.
    #[error("connection closed")]
    Closed,
    #[error("malformed response head")]
    Head,
    #[error("response head too large")]
    HeadTooLarge,
    #[error("malformed chunk")]
    Chunk,
    /// HTTP, but not what we can read.
    #[error("{0}")]
    Unsupported(String),
    /// Anything else a client can run into.
    #[error("{0}")]
    Protocol(String),
    /// The request could not be made from this URL.
    #[error("{0}")]
    Url(String),
}

impl Fault {
    /// The fault that a connector wrapped into an error on its way through a client.
    pub(super) fn within(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(fault) = error.downcast_ref::<Self>() {
                return Some(fault.clone());
            }
            // An io::Error's source skips what it wraps, so look inside as well.
            let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            if let Some(fault) = inside.and_then(|inside| Self::within(inside)) {
                return Some(fault);
            }
            next = error.source();
        }
        None
    }

    /// As an error that passes through layers which only know `io`.
    pub(super) fn into_io(self) -> io::Error {
        io::Error::other(self)
    }
}

/// A duration as a person writes it: `30 s`, `1.5 s`, `250 ms`.
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
    fn durations_read_as_written() {
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
