//! Cookies as browsers keep them (RFC 6265bis), and the file format of `curl` and `wget` for them.
//!
//! | module | holds |
//! |---|---|
//! | `set_cookie` | reads a `Set-Cookie` header |
//! | `date` | reads dates in the many forms in which servers write them |
//! | `jar` | keeps cookies and picks those for a request |
//! | `netscape` | reads and writes `cookies.txt` |
//!
//! Reads no clock: callers pass the seconds since 1970. `SameSite` means nothing here, because every request is one of
//! the user's own.

mod date;
mod jar;
mod netscape;
mod set_cookie;

use url::{Host, Url};

pub use wire::cookie::{Cookie, CookieKey, CookieUpdate};

pub use self::jar::{DOMAIN_COOKIES_MAX, JAR_COOKIES_MAX, Jar};
pub use self::netscape::{NetscapeError, parse as parse_netscape, write as write_netscape};
pub use self::set_cookie::is_settable;

/// Longest name and value together, in bytes (RFC 6265bis § 5.6).
pub const COOKIE_BYTES_MAX: usize = 4096;

/// Longest value of an attribute, in bytes.
const ATTRIBUTE_BYTES_MAX: usize = 1024;

/// Returns the host of a URL as a jar names it.
fn host_of(url: &Url) -> Option<String> {
    Some(match url.host()? {
        Host::Domain(name) => name.trim_end_matches('.').to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    })
}

/// Whether `host` is `domain` or below it. Both are in lower case.
fn is_within(host: &str, domain: &str) -> bool {
    host == domain
        || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
            && host.parse::<std::net::IpAddr>().is_err()
}

/// Whether a cookie with the path `path` belongs to a request for `requested`.
fn covers(path: &str, requested: &str) -> bool {
    requested
        .strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || path.ends_with('/') || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_paths_are_matched_at_their_boundaries() {
        for (host, domain, want) in [
            ("a.example", "a.example", true),
            ("www.a.example", "a.example", true),
            ("ba.example", "a.example", false),
            ("a.example", "www.a.example", false),
            ("127.0.0.1", "0.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
        ] {
            assert_eq!(is_within(host, domain), want, "{host} {domain}");
        }
        for (path, requested, want) in [
            ("/", "/", true),
            ("/", "/a", true),
            ("/a", "/a", true),
            ("/a", "/a/b", true),
            ("/a", "/ab", false),
            ("/a/", "/a/b", true),
            ("/a/", "/a", false),
        ] {
            assert_eq!(covers(path, requested), want, "{path} {requested}");
        }
    }
}
