//! Reads a `Set-Cookie` header (RFC 6265bis § 5.6 and 5.7).

use url::{Host, Url};

use super::{ATTRIBUTE_BYTES_MAX, COOKIE_BYTES_MAX, Cookie, date, host_of, is_within};
use crate::domain::is_public_suffix;

/// Longest time that a cookie is kept: 400 days.
const AGE_S_MAX: u64 = 400 * 86_400;

/// The attributes of a header; of each, the last counts.
#[derive(Default)]
struct Attributes<'a> {
    expires: Option<u64>,
    max_age: Option<u64>,
    domain: &'a str,
    path: Option<&'a str>,
    secure: bool,
    http_only: bool,
}

/// Returns the cookie that a header in the answer to `url` sets, `now` in seconds since 1970. `None` if it must be
/// ignored.
#[must_use]
pub(super) fn parse(header: &str, url: &Url, now: u64) -> Option<Cookie> {
    if header.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return None;
    }
    let mut parts = header.split(';');
    let pair = parts.next()?;
    let (name, value) = pair.split_once('=').unwrap_or(("", pair));
    let (name, value) = (trim(name), trim(value));
    let is_nothing = name.is_empty() && value.is_empty();
    if is_nothing || name.len() + value.len() > COOKIE_BYTES_MAX {
        return None;
    }
    let attributes = attributes(parts, now);
    let host = host_of(url)?;
    let (domain, host_only) = domain_of(attributes.domain, host)?;
    let path = attributes.path.map_or_else(|| default_path(url), str::to_owned);
    let cookie = Cookie {
        domain,
        host_only,
        path,
        secure: attributes.secure,
        http_only: attributes.http_only,
        expires: attributes.max_age.or(attributes.expires),
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let is_allowed = (!cookie.secure || url.scheme() == "https") && keeps_promise(&cookie);
    is_allowed.then_some(cookie)
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn attributes<'a>(parts: impl Iterator<Item = &'a str>, now: u64) -> Attributes<'a> {
    let latest = now.saturating_add(AGE_S_MAX);
    let mut read = Attributes::default();
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let (name, value) = (trim(name), trim(value));
        if value.len() > ATTRIBUTE_BYTES_MAX {
            continue;
        }
        if name.eq_ignore_ascii_case("expires") {
            read.expires = date::parse(value).map(|at| at.min(latest)).or(read.expires);
        } else if name.eq_ignore_ascii_case("max-age") {
            read.max_age = max_age(value, now).map(|at| at.min(latest)).or(read.max_age);
        } else if name.eq_ignore_ascii_case("domain") {
            read.domain = value.strip_prefix('.').unwrap_or(value);
        } else if name.eq_ignore_ascii_case("path") {
            read.path = Some(value).filter(|path| path.starts_with('/'));
        } else if name.eq_ignore_ascii_case("secure") {
            read.secure = true;
        } else if name.eq_ignore_ascii_case("httponly") {
            read.http_only = true;
        }
    }
    read
}

/// Returns when a cookie of this `Max-Age` expires.
fn max_age(value: &str, now: u64) -> Option<u64> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if digits.len() < value.len() {
        return Some(0);
    }
    match digits.parse().unwrap_or(u64::MAX) {
        0 => Some(0),
        seconds => Some(now.saturating_add(seconds)),
    }
}

/// Returns the domain of a cookie that `host` sets with this attribute, and whether it is for that host only.
fn domain_of(attribute: &str, host: String) -> Option<(String, bool)> {
    if attribute.is_empty() {
        return Some((host, true));
    }
    let domain = match Host::parse(attribute).ok()? {
        Host::Domain(name) => name.trim_end_matches('.').to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    if is_public_suffix(&domain) {
        // Only a host that is itself a suffix may name it, and gets it alone.
        return (domain == host).then_some((host, true));
    }
    is_within(&host, &domain).then_some((domain, false))
}

/// The path of a cookie without one: that of the page, up to its last slash, or to an earlier one if that is too long.
fn default_path(url: &Url) -> String {
    let mut path = url.path();
    while let Some((directory, _)) = path.rsplit_once('/').filter(|(directory, _)| !directory.is_empty()) {
        if directory.len() <= ATTRIBUTE_BYTES_MAX {
            return directory.to_owned();
        }
        path = directory;
    }
    "/".to_owned()
}

/// Whether some server may set this cookie: no public suffix gets one for all names below it, and it is what its name
/// promises. For cookies that another process has read from a header.
#[must_use]
pub fn is_settable(cookie: &Cookie) -> bool {
    (cookie.host_only || !is_public_suffix(&cookie.domain)) && keeps_promise(cookie)
}

/// Whether a cookie is what its name promises: `__Secure-` and `__Host-`.
fn keeps_promise(cookie: &Cookie) -> bool {
    let starts = |text: &str, prefix: &str| {
        text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    if cookie.name.is_empty() {
        return !starts(&cookie.value, "__Secure-") && !starts(&cookie.value, "__Host-");
    }
    if starts(&cookie.name, "__Host-") {
        return cookie.secure && cookie.host_only && cookie.path == "/";
    }
    cookie.secure || !starts(&cookie.name, "__Secure-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    #[track_caller]
    fn check(url: &str, header: &str, want: Option<&str>) {
        let cookie = parse(header, &Url::parse(url).unwrap(), NOW);
        let shown = cookie.map(|cookie| {
            let Cookie { domain, host_only, path, secure, http_only, expires, name, value } = cookie;
            let flag = |on: bool, text: &'static str| if on { text } else { "" };
            let expires = expires.map_or(String::new(), |at| format!(" until {at}"));
            let only = flag(!host_only, "*.");
            format!(
                "{only}{domain}{path} {name}={value}{}{}{expires}",
                flag(secure, " secure"),
                flag(http_only, " http")
            )
        });
        assert_eq!(shown.as_deref(), want, "{url}: {header}");
    }

    #[test]
    fn pairs_and_attributes_are_read_as_browsers_read_them() {
        let check = |header, want| check("https://www.a.example/d/page?x", header, want);
        check("a=b", Some("www.a.example/d a=b"));
        check("  a = b c \t; x", Some("www.a.example/d a=b c"));
        check("a=b=c; Path=/", Some("www.a.example/ a=b=c"));
        check("a=\"b\"; PATH=/x; path=/y; path=z", Some("www.a.example/d a=\"b\""));
        check("a=; Secure; HttpOnly", Some("www.a.example/d a= secure http"));
        check("alone", Some("www.a.example/d =alone"));
        check("=b", Some("www.a.example/d =b"));
        check("a=b; SameSite=Strict; Partitioned; Priority=High", Some("www.a.example/d a=b"));
        for header in ["", "=", "; a=b", "a=b\u{1}", "a=b\r\nX: y", "a=b\u{7f}"] {
            check(header, None);
        }
        let long = "x".repeat(COOKIE_BYTES_MAX - 1);
        assert!(parse(&format!("a={long}"), &Url::parse("http://a/").unwrap(), NOW).is_some());
        assert!(parse(&format!("ab={long}"), &Url::parse("http://a/").unwrap(), NOW).is_none());
    }

    #[test]
    fn times_end_within_400_days_and_max_age_counts_first() {
        let check = |header, want| check("http://a.example/", header, want);
        check("a=b; Max-Age=60", Some("a.example/ a=b until 1800000060"));
        check(
            "a=b; max-age=60; expires=Wed, 21 Oct 2015 07:28:00 GMT",
            Some("a.example/ a=b until 1800000060"),
        );
        check(
            "a=b; max-age=x; expires=Wed, 21 Oct 2015 07:28:00 GMT",
            Some("a.example/ a=b until 1445412480"),
        );
        check("a=b; expires=never", Some("a.example/ a=b"));
        check("a=b; max-age=-1", Some("a.example/ a=b until 0"));
        check("a=b; max-age=0", Some("a.example/ a=b until 0"));
        check("a=b; max-age=99999999999999999999", Some("a.example/ a=b until 1834560000"));
        check("a=b; expires=Fri, 31 Dec 9999 23:59:59 GMT", Some("a.example/ a=b until 1834560000"));
    }

    #[test]
    fn a_domain_reaches_from_the_host_up_to_its_registrable_domain() {
        for (url, domain, want) in [
            ("http://www.a.example/", "a.example", Some("*.a.example/ a=b")),
            ("http://www.a.example/", ".A.Example", Some("*.a.example/ a=b")),
            ("http://a.example/", "a.example", Some("*.a.example/ a=b")),
            ("http://a.example/", "", Some("a.example/ a=b")),
            ("http://a.example/", "www.a.example", None),
            ("http://a.example/", "b.example", None),
            ("http://a.example/", "example", None),
            ("http://www.a.co.uk/", "co.uk", None),
            ("http://www.a.co.uk/", "a.co.uk", Some("*.a.co.uk/ a=b")),
            ("http://a.github.io/", "github.io", None),
            ("http://github.io/", "github.io", Some("github.io/ a=b")),
            ("http://localhost/", "localhost", Some("localhost/ a=b")),
            ("http://127.0.0.1/", "127.0.0.1", Some("*.127.0.0.1/ a=b")),
            ("http://127.0.0.1/", "0.0.1", None),
            ("http://bücher.example/", "bücher.example", Some("*.xn--bcher-kva.example/ a=b")),
        ] {
            check(url, &format!("a=b; Domain={domain}"), want);
        }
    }

    #[test]
    fn a_default_path_that_is_too_long_ends_earlier() {
        let long = "x".repeat(ATTRIBUTE_BYTES_MAX);
        check(&format!("http://a.example/d/{long}/page"), "a=b", Some("a.example/d a=b"));
        check(&format!("http://a.example/{long}/page"), "a=b", Some("a.example/ a=b"));
    }

    #[test]
    fn what_another_process_read_is_judged_again() {
        let cookie = |header: &str| parse(header, &Url::parse("https://a.co.uk/").unwrap(), NOW).unwrap();
        let host = cookie("__Host-a=b; Secure; Path=/");
        let below = cookie("a=b; Domain=a.co.uk");
        assert!(is_settable(&host) && is_settable(&below));
        let for_all = Cookie { domain: "co.uk".to_owned(), ..below.clone() };
        let open = Cookie { secure: false, ..host.clone() };
        let lower = Cookie { name: "__secure-a".to_owned(), ..below };
        let wide = Cookie { host_only: false, ..host };
        for cookie in [for_all, open, lower, wide] {
            assert!(!is_settable(&cookie), "{cookie:?}");
        }
    }

    #[test]
    fn secure_cookies_come_over_tls_and_prefixes_are_promises() {
        for (url, header, is_kept) in [
            ("http://a.example/", "a=b; Secure", false),
            ("https://a.example/", "a=b; Secure", true),
            ("https://a.example/", "__Secure-a=b; Secure", true),
            ("https://a.example/", "__secure-a=b", false),
            ("https://a.example/", "__Host-a=b; Secure; Path=/", true),
            ("https://a.example/d/", "__Host-a=b; Secure", false),
            ("https://a.example/", "__Host-a=b; Secure; Path=/; Domain=a.example", false),
            ("https://a.example/", "__Host-a", false),
        ] {
            assert_eq!(parse(header, &Url::parse(url).unwrap(), NOW).is_some(), is_kept, "{header}");
        }
    }
}
