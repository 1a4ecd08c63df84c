//! Which headers a user may add to requests, and which of them may go to servers that the user did not name.
//!
//! Both processes ask this module: the supervisor when it reads flags and job documents, the worker before it
//! connects.

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::uri::Authority;
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

/// Why a header cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Not a header name. It is not shown, for it may be a secret without its name.
    #[error("what stands before the colon is not a header name; use letters, digits and -")]
    Name,
    /// Not a header value.
    #[error("a header value must be printable ASCII on one line; percent-encode other characters")]
    Value,
    /// A header about one connection, which is the client's own.
    #[error(
        "{0} cannot be set, because it controls the connection, which is shared by many requests; leave it out"
    )]
    Connection(String),
    /// A header about the body of a request.
    #[error(
        "{0} cannot be set, because it says how a request's body ends, and the client knows that; leave it out"
    )]
    Body(String),
    /// `Expect`.
    #[error(
        "{0} cannot be set, because the client would have to wait for a permission to go on; leave it out"
    )]
    Expect(String),
    /// `Upgrade`, and what belongs to it.
    #[error(
        "{0} cannot be set, because only HTTP can be fetched, and the client chooses its version; leave it out"
    )]
    Upgrade(String),
    /// A header for a proxy.
    #[error("{0} cannot be set, because it is for a proxy, and would reach the server; leave it out")]
    Proxy(String),
    /// `Host` with a value that is not one.
    #[error("'{0}' is not a host; give a name or an address, and a port if needed")]
    Host(String),
    /// `Host` twice.
    #[error("Host is given twice, and a request has one host; leave one out")]
    TwoHosts,
}

/// Checks a header that a user gives.
///
/// # Errors
/// It is malformed, or it is not the user's to set.
pub fn check(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), HeaderError> {
    let shown = || name.to_owned();
    let known = HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeaderError::Name)?;
    let is_printable = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte);
    if !value.bytes().all(is_printable) {
        return Err(HeaderError::Value);
    }
    // Case is ignored, because `HeaderName` is in lower case.
    match known.as_str() {
        "keep-alive" => return Err(HeaderError::Connection(shown())),
        "http2-settings" => return Err(HeaderError::Upgrade(shown())),
        name if name.starts_with("proxy-") => return Err(HeaderError::Proxy(shown())),
        _ if known == CONNECTION || known == TE => return Err(HeaderError::Connection(shown())),
        _ if [CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER].contains(&known) => {
            return Err(HeaderError::Body(shown()));
        }
        _ if known == EXPECT => return Err(HeaderError::Expect(shown())),
        _ if known == UPGRADE => return Err(HeaderError::Upgrade(shown())),
        _ if known == HOST && !is_host(value) => return Err(HeaderError::Host(value.to_owned())),
        _ => {}
    }
    let value = HeaderValue::from_str(value).map_err(|_| HeaderError::Value)?;
    Ok((known, value))
}

/// Checks headers that go out together.
///
/// # Errors
/// They contradict each other.
pub fn check_together<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<(), HeaderError> {
    let hosts = names.into_iter().filter(|name| name.eq_ignore_ascii_case("host"));
    if hosts.count() > 1 { Err(HeaderError::TwoHosts) } else { Ok(()) }
}

/// Which servers get the headers that may be secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderScope {
    /// How far from home they may go.
    pub reach: Reach,
    /// URLs at home, for targets that the user did not name. A target that the user named is at home itself.
    pub homes: Vec<String>,
    /// Whether these are the only homes, also for targets that the user named.
    pub only_these: bool,
}

/// How far from home headers that may be secrets are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// To the same scheme, host and port only.
    #[default]
    Origin,
    /// Also to other hosts of the same registrable domain, but never from https to http.
    Domain,
    /// To every server.
    Any,
}

fn is_host(value: &str) -> bool {
    value.parse::<Authority>().is_ok_and(|authority| !authority.as_str().contains('@'))
}

/// Whether a header says nothing about the user, so that any server may have it. All others may be secrets: keys of
/// APIs have names of their own on every site.
#[must_use]
pub fn is_harmless(name: &HeaderName) -> bool {
    const HARMLESS: [&str; 12] = [
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "dnt",
        "pragma",
        "priority",
        "save-data",
        "sec-gpc",
        "upgrade-insecure-requests",
        "user-agent",
    ];
    /// Families that browsers define: what a request is for, and client hints.
    const HARMLESS_FAMILIES: [&str; 2] = ["sec-fetch-", "sec-ch-"];
    let name = name.as_str();
    HARMLESS.contains(&name) || HARMLESS_FAMILIES.iter().any(|family| name.starts_with(family))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_client_are_refused_with_the_reason() {
        for (name, value, says) in [
            ("Connection", "close", "controls the connection"),
            ("keep-alive", "timeout=5", "controls the connection"),
            ("TE", "trailers", "controls the connection"),
            ("Content-Length", "5", "how a request's body ends"),
            ("Transfer-Encoding", "chunked", "how a request's body ends"),
            ("Trailer", "x", "how a request's body ends"),
            ("EXPECT", "100-continue", "wait for a permission"),
            ("Upgrade", "websocket", "only HTTP can be fetched"),
            ("HTTP2-Settings", "x", "only HTTP can be fetched"),
            ("Proxy-Authorization", "Basic x", "for a proxy"),
            ("Proxy-Connection", "close", "for a proxy"),
            ("Host", "a b", "not a host"),
            ("Host", "", "not a host"),
            ("Host", "u@a", "not a host"),
            ("Host", "a/b", "not a host"),
            ("A b", "x", "not a header name"),
            ("", "x", "not a header name"),
            ("A", "x\r\nB: y", "on one line"),
            ("A", "é", "ASCII"),
        ] {
            let error = check(name, value).expect_err(name).to_string();
            assert!(error.contains(says), "{name}: {error}");
        }
        for (name, value) in
            [("Host", "a.example:8080"), ("host", "[::1]:81"), ("Accept", ""), ("X-Key", "a\tb")]
        {
            assert!(check(name, value).is_ok(), "{name}: {value}");
        }
        assert_eq!(check_together(["Host", "x", "HOST"]), Err(HeaderError::TwoHosts));
        assert_eq!(check_together(["X", "x", "Host"]), Ok(()));
    }

    #[test]
    fn what_is_not_known_to_be_harmless_is_a_secret() {
        for (name, harmless) in [
            ("accept", true),
            ("accept-charset", true),
            ("accept-encoding", true),
            ("accept-language", true),
            ("user-agent", true),
            ("sec-ch-ua", true),
            ("sec-ch-ua-platform", true),
            ("sec-ch-prefers-color-scheme", true),
            ("sec-fetch-mode", true),
            ("sec-gpc", true),
            ("accept-key", false),
            ("sec-session-token", false),
            ("sec-websocket-key", false),
            ("sec-fetch", false),
            ("sec-chip", false),
            ("sec-gpc-token", false),
            ("authorization", false),
            ("cookie", false),
            ("x-api-key", false),
            ("private-token", false),
            ("referer", false),
        ] {
            assert_eq!(is_harmless(&HeaderName::from_static(name)), harmless, "{name}");
        }
    }
}
