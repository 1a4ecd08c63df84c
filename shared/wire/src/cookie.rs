//! A cookie on its way between the processes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A cookie as a jar keeps it (RFC 6265bis § 5.7). Its value is a secret: it is in no text that is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cookie {
    /// The host that it is sent to, in lower case, without a leading dot.
    pub domain: String,
    /// Whether that host alone gets it, and no host below.
    pub host_only: bool,
    /// Where its paths begin.
    pub path: String,
    /// Whether it is only sent over TLS.
    pub secure: bool,
    /// Whether scripts of a page may not read it. Kept for other programs that read the file.
    pub http_only: bool,
    /// When it expires, in seconds since 1970; `None` is at the end of the session. One in the past deletes.
    pub expires: Option<u64>,
    /// May be empty.
    pub name: String,
    /// Anything but control characters.
    pub value: String,
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cookie({}{} {}=***)", self.domain, self.path, self.name)
    }
}
