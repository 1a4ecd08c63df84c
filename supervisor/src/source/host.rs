//! Finds the host of a URL in one spelling, so that all its targets share one budget. Computed here because
//! the deciding thread has no time to parse.
//!
//! Agrees with the URL parser: the fast path handles simple URLs, and all others go through the parser.

use std::net::Ipv4Addr;
use std::sync::Arc;

use url::{Host as UrlHost, Url};

use super::host_key::{Host, Keys, is_local_ipv4, is_local_ipv6};
use crate::plan::HostKey;

impl Host {
    /// Returns the host of this name, as in [`Self::name`]; `None` if there can be none.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let host = HostFinder::default().find(format!("http://{name}/").as_bytes())?;
        (*host.name == *name).then_some(host)
    }
}

impl Host {
    /// Returns what stands for the host of a URL under this key; `None` if it is not an absolute http(s) URL.
    pub(crate) fn of_url(url: &[u8], key: HostKey) -> Option<Self> {
        HostFinder::keyed(key).find(url)
    }
}

/// Finds hosts, and remembers the last one, because neighbours in a list mostly share it.
#[derive(Debug, Default)]
pub(crate) struct HostFinder {
    /// The last one as it is spelled, and what stands for it.
    last: Option<(Arc<str>, Host)>,
    /// How the last URL began, if all URLs that begin like this have its host; else empty.
    beginning: Vec<u8>,
    spelling: String,
    keys: Keys,
}

impl HostFinder {
    /// Creates one that returns what stands for a host under this key.
    pub(crate) fn keyed(key: HostKey) -> Self {
        Self { keys: Keys::new(key), ..Self::default() }
    }

    /// Returns the host of `url`; `None` if it is not an absolute http(s) URL.
    pub(crate) fn find(&mut self, url: &[u8]) -> Option<Host> {
        if let Some((_, host)) = &self.last
            && !self.beginning.is_empty()
            && url.starts_with(&self.beginning)
        {
            return Some(host.clone());
        }
        self.beginning.clear();
        self.spelling.clear();
        let local = short_way(url, &mut self.spelling).or_else(|| long_way(url, &mut self.spelling))?;
        self.beginning.extend_from_slice(beginning(url).unwrap_or_default());
        if let Some((last, host)) = &self.last
            && **last == *self.spelling
        {
            return Some(host.clone());
        }
        let name: Arc<str> = Arc::from(self.spelling.as_str());
        let host = self.keys.of(Host { name: Arc::clone(&name), local });
        self.last = Some((name, host.clone()));
        Some(host)
    }
}

/// Returns the part of a URL that alone decides on its host; `None` if the parser might skip a byte of it.
fn beginning(url: &[u8]) -> Option<&[u8]> {
    let (rest, _) = after_scheme(url)?;
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
    let end = rest.iter().position(|b| !is_plain(b)).filter(|end| *end > 0)?;
    let after = rest.get(end)?;
    matches!(after, b'/' | b'?' | b'#').then(|| url.get(..=url.len() - rest.len() + end))?
}

/// Returns what follows `http(s)://`, and the scheme's own port.
fn after_scheme(url: &[u8]) -> Option<(&[u8], u16)> {
    let http = strip_scheme(url, b"http://").map(|rest| (rest, 80));
    http.or_else(|| strip_scheme(url, b"https://").map(|rest| (rest, 443)))
}

/// The fast path: handles `http(s)://plain-name[:port]` without allocating, and returns `None` for all else.
fn short_way(url: &[u8], spelling: &mut String) -> Option<bool> {
    let (rest, own_port) = after_scheme(url)?;
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#' | b'\\')).unwrap_or(rest.len());
    let authority = str::from_utf8(rest.get(..end)?).ok()?;
    let (name, port) = authority.split_once(':').unwrap_or((authority, ""));
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if !plain || !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // If the last label begins with a digit, the host is an IPv4 address, maybe in an unusual spelling.
    let named =
        name.rsplit('.').next().is_some_and(|label| label.starts_with(|c: char| c.is_ascii_alphabetic()));
    let address: Option<Ipv4Addr> = if named { None } else { Some(name.parse().ok()?) };
    let port: Option<u16> = if port.is_empty() { None } else { Some(port.parse().ok()?) };
    spelling.push_str(name);
    spelling.make_ascii_lowercase();
    let local = address.map_or_else(|| is_localhost(spelling), is_local_ipv4);
    push_port(spelling, port.filter(|port| *port != own_port));
    Some(local)
}

fn strip_scheme<'a>(url: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = url.split_at_checked(scheme.len())?;
    head.eq_ignore_ascii_case(scheme).then_some(rest)
}

fn long_way(url: &[u8], spelling: &mut String) -> Option<bool> {
    let url = Url::parse(str::from_utf8(url).ok()?).ok()?;
    if !matches!(url.scheme(), "http" | "https") {
        return None;
    }
    let local = match url.host()? {
        UrlHost::Domain(name) => {
            // `example.com.` is the same host as `example.com`.
            spelling.push_str(name.strip_suffix('.').unwrap_or(name));
            is_localhost(spelling)
        }
        UrlHost::Ipv4(address) => {
            spelling.push_str(url.host_str()?);
            is_local_ipv4(address)
        }
        UrlHost::Ipv6(address) => {
            spelling.push_str(url.host_str()?);
            is_local_ipv6(address)
        }
    };
    push_port(spelling, url.port());
    Some(local)
}

/// RFC 6761: every name under `localhost` is this machine.
fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

fn push_port(spelling: &mut String, port: Option<u16>) {
    if let Some(port) = port {
        spelling.push(':');
        spelling.push_str(&port.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, want: Option<(&str, bool)>) {
        let found = HostFinder::default().find(url.as_bytes());
        assert_eq!(found.as_ref().map(|host| (&*host.name, host.local)), want, "{url}");
    }

    #[test]
    fn one_spelling_for_one_host() {
        for url in [
            "http://example.com",
            "HTTP://EXAMPLE.com/",
            "http://example.com:80/a?b",
            "http://example.com:/",
            "http://user:pw@example.com/x",
            "http://example.com./",
            "http:example.com",
            "http:\\\\example.com\\x",
            "http://example.com?q=a/b@c",
            "https://example.com:443#x",
            "http://ex%61mple.com/",
            "http://exam\tple.com/",
        ] {
            check(url, Some(("example.com", false)));
        }
        check("http://example.com:8080/", Some(("example.com:8080", false)));
        check("https://example.com:80/", Some(("example.com:80", false)));
        check("http://bücher.example/", Some(("xn--bcher-kva.example", false)));
        check("http://a_b.example/", Some(("a_b.example", false)));
        check("http://11.0.0.1/", Some(("11.0.0.1", false)));
        check("http://[2001:DB8::1]:81/", Some(("[2001:db8::1]:81", false)));
    }

    #[test]
    fn this_machine_in_all_its_names() {
        for (url, name) in [
            ("http://localhost:8080/x", "localhost:8080"),
            ("http://LocalHost/", "localhost"),
            ("http://a.localhost/", "a.localhost"),
            ("http://127.0.0.1/", "127.0.0.1"),
            ("http://127.1:81/", "127.0.0.1:81"),
            ("http://0x7f.1/", "127.0.0.1"),
            ("http://2130706433/", "127.0.0.1"),
            ("http://0.0.0.0/", "0.0.0.0"),
            ("http://[::1]:9/", "[::1]:9"),
            ("http://[::ffff:127.0.0.1]/", "[::ffff:7f00:1]"),
        ] {
            check(url, Some((name, true)));
        }
        check("http://notlocalhost/", Some(("notlocalhost", false)));
    }

    #[test]
    fn addresses_of_private_networks_are_local_and_their_neighbours_are_not() {
        for (address, local) in [
            ("9.255.255.255", false),
            ("10.0.0.1", true),
            ("10.255.255.255", true),
            ("172.15.255.255", false),
            ("172.16.0.1", true),
            ("172.31.255.255", true),
            ("172.32.0.0", false),
            ("192.167.255.255", false),
            ("192.168.0.1", true),
            ("192.169.0.0", false),
            ("127.200.3.4", true),
            ("128.0.0.0", false),
            ("[fbff::1]", false),
            ("[fc00::1]", true),
            ("[fdff::1]", true),
            ("[fe00::1]", false),
            ("[fe80::1]", true),
            ("[febf::1]", true),
            ("[fec0::1]", false),
        ] {
            check(&format!("http://{address}/"), Some((address, local)));
        }
    }

    #[test]
    fn what_is_not_an_http_url_has_no_host() {
        for url in [
            "",
            "example.com",
            "/x",
            "ftp://example.com/",
            "mailto:a@b",
            "http://",
            "http://a:99999/",
            "http://[::1/",
        ] {
            check(url, None);
        }
        assert_eq!(HostFinder::default().find(b"http:// \xff/"), None);
    }

    #[test]
    fn a_neighbour_changes_nothing() {
        let urls = [
            "http://a.example/",
            "http://a.example/x?y",
            "http://a.example?x",
            "http://a.example#x",
            "http://a.example:81/",
            "http://a.example:80/",
            "http://a.example",
            "http://a.example.org/",
            "http://a.example@b.example/",
            "http://a.example:81@b.example/",
            "http://a.example\\x",
            "http://a.exam\tple/",
            "HTTP://a.example/",
            "https://a.example/",
            "http:///a.example/",
            "http:///b.example/",
            "http://\t/a.example/",
            "http://\t/b.example/",
            "http://:80/",
            "http://127.0.0.1/",
            "http://127.0.0.1:81/",
            "http://127.0.0.01/",
            "http://127.0.0.256/",
            "http://8.8.8.8/",
            "http://a.8/",
            "",
        ];
        for first in urls {
            for second in urls {
                let mut finder = HostFinder::default();
                let _ = finder.find(first.as_bytes());
                let fresh = HostFinder::default().find(second.as_bytes());
                assert_eq!(finder.find(second.as_bytes()), fresh, "{second} after {first}");
                let mut spelling = String::new();
                let local = long_way(second.as_bytes(), &mut spelling);
                let parsed = local.map(|local| Host { name: spelling.into(), local });
                assert_eq!(fresh, parsed, "{second} as the parser reads it");
            }
        }
    }

    #[test]
    fn neighbours_share_one_allocation() {
        let mut finder = HostFinder::default();
        let a = finder.find(b"http://a.example/1").unwrap();
        let b = finder.find(b"http://A.example/2").unwrap();
        assert!(Arc::ptr_eq(&a.name, &b.name));
        assert_eq!(&*finder.find(b"http://b.example/").unwrap().name, "b.example");
    }
}
