//! Who a reverse proxy says that it asks for: `Forwarded` (RFC 7239) and `X-Forwarded-For`.
//!
//! Anyone can send these headers, and a proxy appends to what its client sent. So they are read only if a trusted proxy
//! (`--trusted-proxy`) sent the request, and from the right: the first address that is not that of a trusted proxy is
//! the client's. A header that cannot be read up to there says nothing, and the request counts as the proxy's own, with the
//! share of one client.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

/// Whether an address is that of a trusted proxy.
pub(super) fn is_trusted(proxies: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    proxies.iter().any(|network| network.contains(&address))
}

/// Returns the client of a request that a trusted proxy sent, if its headers name one.
pub(super) fn client(headers: &HeaderMap, proxies: &[IpNet]) -> Option<IpAddr> {
    let standard = rightmost(headers, "forwarded", proxies, forwarded_for);
    let usual = rightmost(headers, "x-forwarded-for", proxies, node);
    match (standard, usual) {
        (Some(one), None) | (None, Some(one)) => one,
        // Most proxies set one, and pass the other on as their client sent it.
        (Some(one), Some(other)) => one.filter(|_| one == other),
        (None, None) => None,
    }
}

/// Returns what the lines of a header say, read from the right; `None` within it if they cannot be read, and `None` if
/// there are none. If all are trusted proxies, the first of them asks for itself.
fn rightmost(
    headers: &HeaderMap,
    name: &str,
    proxies: &[IpNet],
    address: impl Fn(&str) -> Option<IpAddr>,
) -> Option<Option<IpAddr>> {
    let mut client = None;
    for line in headers.get_all(name).iter().rev() {
        // To the left of the client there may be any bytes.
        for element in line.as_bytes().rsplit(|byte| *byte == b',') {
            client = Some(str::from_utf8(element.trim_ascii()).ok().and_then(&address));
            let is_proxy = |found: Option<IpAddr>| found.is_some_and(|found| is_trusted(proxies, found));
            if !client.is_some_and(is_proxy) {
                return client;
            }
        }
    }
    client
}

/// Returns the address of an element of `Forwarded`. No address contains a comma, a semicolon, a quote or a backslash.
/// So the elements are divided without regard to quotes, and one with half of a quoted text is refused.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in element.split(';') {
        let (name, value) = pair.trim_ascii().split_once('=')?;
        let inner = value.strip_prefix('"').map_or(Some(value), |rest| rest.strip_suffix('"'))?;
        if inner.contains(['"', '\\']) {
            return None;
        }
        if name.eq_ignore_ascii_case("for") && found.replace(node(inner)?).is_some() {
            return None;
        }
    }
    found
}

/// Returns an address that may have a port, and brackets.
fn node(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    Some(bare.parse::<IpAddr>().ok().or_else(with_port)?.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[track_caller]
    fn check(lines: &[(&str, &str)], want: Option<&str>) {
        let proxies = ["10.0.0.0/8", "2001:db8:1::/48"].map(|network| network.parse().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(name.parse::<HeaderName>().unwrap(), value);
        }
        let want = want.map(|address| address.parse().unwrap());
        assert_eq!(client(&headers, &proxies), want, "{lines:?}");
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_not_trusted() {
        const OURS: &str = "x-forwarded-for";
        check(&[], None);
        check(&[(OURS, "192.0.2.1")], Some("192.0.2.1"));
        check(&[(OURS, "203.0.113.9, 192.0.2.1 ,10.1.2.3,[2001:db8:1::7]:99")], Some("192.0.2.1"));
        check(&[(OURS, "203.0.113.9"), (OURS, "192.0.2.1"), (OURS, "10.1.2.3")], Some("192.0.2.1"));
        check(&[(OURS, "192.0.2.1:4711")], Some("192.0.2.1"));
        check(&[(OURS, "2001:db8::1")], Some("2001:db8::1"));
        check(&[(OURS, "::ffff:192.0.2.1, ::ffff:10.0.0.1")], Some("192.0.2.1"));
        check(&[(OURS, "10.0.0.2, 10.0.0.1")], Some("10.0.0.2"));
        for bad in ["", "unknown", "192.0.2.1,", "192.0.2.1, x, 10.0.0.1", "1.2.3", "192.0.2.1 192.0.2.2"] {
            check(&[(OURS, bad)], None);
        }
        // What stands to the left of the client is its own word.
        for own in ["nonsense", "\"=;", "é", "é, 192.0.2.9"] {
            check(&[(OURS, &format!("{own}, 192.0.2.1"))], Some("192.0.2.1"));
            check(&[(OURS, &format!("{own},192.0.2.1,10.0.0.1"))], Some("192.0.2.1"));
        }
        check(&[(OURS, "192.0.2.1, é")], None);
    }

    #[test]
    fn the_standard_header_is_read_and_its_quotes_hide_nothing() {
        for (value, want) in [
            ("for=192.0.2.1", Some("192.0.2.1")),
            ("For=\"[2001:db8::1]:4711\";proto=https, for=10.0.0.1;by=10.0.0.2", Some("2001:db8::1")),
            ("for=192.0.2.1 ; host=a.example", Some("192.0.2.1")),
            ("for=\"evil, for=192.0.2.1", Some("192.0.2.1")),
            ("for=é, for=192.0.2.1;proto=https", Some("192.0.2.1")),
            ("for=192.0.2.1;host=é", Some("192.0.2.1")),
            ("for=192.0.2.1;host=\"x, for=203.0.113.9, y\"", None),
            ("for=192.0.2.1;host=\"x, for=203.0.113.9;a=\"", None),
            (r#"for=192.0.2.1;host="x,for=203.0.113.9;a=\"\"""#, None),
            ("for=unknown", None),
            ("for=_hidden", None),
            ("for=192.0.2.1;for=203.0.113.9", None),
            ("proto=https", None),
            ("192.0.2.1", None),
        ] {
            check(&[("forwarded", value)], want);
        }
    }

    #[test]
    fn two_headers_count_if_they_agree() {
        let both = |one, other| [("forwarded", one), ("x-forwarded-for", other)];
        check(&both("for=192.0.2.1", "203.0.113.9, 192.0.2.1"), Some("192.0.2.1"));
        check(&both("for=203.0.113.9", "192.0.2.1"), None);
        check(&both("for=unknown", "192.0.2.1"), None);
    }
}
