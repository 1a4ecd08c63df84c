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

/// What makes two cookies one: a later cookie with the same key replaces the earlier.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CookieKey {
    domain: String,
    host_only: bool,
    path: String,
    name: String,
}

impl Cookie {
    /// Returns its key.
    #[must_use]
    pub fn key(&self) -> CookieKey {
        let Self { domain, host_only, path, name, .. } = self.clone();
        CookieKey { domain, host_only, path, name }
    }

    /// Whether one replaces the other.
    #[must_use]
    pub fn replaces(&self, other: &Self) -> bool {
        self.name == other.name
            && self.domain == other.domain
            && self.path == other.path
            && self.host_only == other.host_only
    }
}

/// What a worker's copy of the jar lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CookieUpdate {
    /// The session that they belong to. With a later one than before, the worker forgets all that it had.
    pub session: u32,
    /// Which of the job's header profiles goes with the session.
    pub profile: u16,
    /// How many of this worker's own changes the supervisor had taken in before. Where the worker has changed a cookie
    /// once more since, its own change is the later one.
    pub taken: u64,
    /// Whether these are all cookies, so that the worker forgets what it had.
    pub whole: bool,
    /// The cookies. One that has expired is to be deleted.
    pub cookies: Vec<Cookie>,
}

impl fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CookieKey({}{} {})", self.domain, self.path, self.name)
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cookie({}{} {}=***)", self.domain, self.path, self.name)
    }
}
