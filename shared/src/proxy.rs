//! Proxies as users name them, and which requests go through which. Nothing here opens a socket.
//!
//! The supervisor chooses a proxy for each target. The worker asks the same [`ProxySpec`] where a redirect leads, so
//! both agree on what goes directly.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::address::AddressPolicy;

/// Most proxies of a job. An index of a proxy has 16 bits.
pub const PROXIES_MAX: usize = 10_000;

/// Longest user name or password: SOCKS has one byte for its length.
const CREDENTIAL_BYTES_MAX: usize = 255;

/// What is spoken to a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProxyScheme {
    /// HTTP: `http` URLs in absolute form, `https` URLs through a tunnel.
    Http,
    /// The same, over TLS.
    Https,
    /// SOCKS 5, given addresses.
    Socks5,
    /// SOCKS 5, given names.
    Socks5h,
}

impl ProxyScheme {
    /// The scheme as written in a URL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }

    /// Whether it is a proxy for HTTP.
    #[must_use]
    pub const fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Socks5 | Self::Socks5h => 1080,
        }
    }
}

/// User name and password for a proxy, decoded.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Credentials {
    /// The user name.
    pub user: Vec<u8>,
    /// The password; empty if there is none.
    pub password: Vec<u8>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

/// Which URLs a proxy serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Serves {
    /// All.
    #[default]
    All,
    /// Those that begin with `http:`.
    Http,
    /// Those that begin with `https:`.
    Https,
}

impl Serves {
    const fn allows(self, is_https: bool) -> bool {
        match self {
            Self::All => true,
            Self::Http => !is_https,
            Self::Https => is_https,
        }
    }
}

/// One proxy. It shows itself without its credentials.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Proxy {
    /// What is spoken to it.
    pub scheme: ProxyScheme,
    /// Its name or address; an IPv6 address has no brackets here.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What it is given to let us in.
    pub credentials: Option<Credentials>,
    /// Which URLs it serves.
    pub serves: Serves,
}

impl FromStr for Proxy {
    type Err = String;

    /// Parses a proxy's URL. Without a scheme, it is an HTTP proxy. Errors never repeat the text, which may hold a
    /// password.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&with_scheme).map_err(|error| format!("{error}; write http://host:port"))?;
        let scheme = match url.scheme() {
            "http" => ProxyScheme::Http,
            "https" => ProxyScheme::Https,
            "socks5" => ProxyScheme::Socks5,
            "socks5h" => ProxyScheme::Socks5h,
            other => {
                return Err(format!("scheme {other}: give http, https, socks5 or socks5h"));
            }
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err("a proxy has no path; write http://host:port".to_owned());
        }
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => name.to_ascii_lowercase(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(Host::Domain(_)) | None => {
                return Err("the host is missing; write http://host:port".to_owned());
            }
        };
        let port = url.port().unwrap_or_else(|| scheme.default_port());
        Ok(Self { scheme, host, port, credentials: credentials(&url, scheme)?, serves: Serves::All })
    }
}

fn credentials(url: &Url, scheme: ProxyScheme) -> Result<Option<Credentials>, String> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let user: Vec<u8> = percent_decode_str(url.username()).collect();
    let password: Vec<u8> = percent_decode_str(url.password().unwrap_or_default()).collect();
    if !scheme.is_http() && (user.is_empty() || user.len().max(password.len()) > CREDENTIAL_BYTES_MAX) {
        return Err(format!(
            "SOCKS needs a user name, and at most {CREDENTIAL_BYTES_MAX} bytes of each credential"
        ));
    }
    if scheme.is_http() && user.contains(&b':') {
        return Err("the user name contains a colon, which HTTP cannot send".to_owned());
    }
    Ok(Some(Credentials { user, password }))
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = if self.credentials.is_some() { "***@" } else { "" };
        let scheme = self.scheme.name();
        match self.host.parse() {
            Ok(IpAddr::V6(address)) => write!(f, "{scheme}://{user}[{address}]:{}", self.port),
            Ok(IpAddr::V4(_)) | Err(_) => write!(f, "{scheme}://{user}{}:{}", self.host, self.port),
        }
    }
}

/// Hosts that are reached without a proxy, as in `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bypass {
    /// Every host.
    All,
    /// A name and all names below it.
    Name(String),
    /// The addresses that share this many bits with this one.
    Network(IpAddr, u8),
}

impl Bypass {
    /// Parses a list with commas or spaces between its entries. Entries that mean nothing are skipped, as curl does.
    #[must_use]
    pub fn parse_list(text: &str) -> Vec<Self> {
        if text.trim() == "*" {
            return vec![Self::All];
        }
        let entries = text.split([',', ' ', '\t']).map(str::trim).filter(|entry| !entry.is_empty());
        entries.filter_map(Self::parse).collect()
    }

    fn parse(entry: &str) -> Option<Self> {
        let bare = entry.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Some(Self::Network(address, bits_of(address)));
        }
        if let Some((address, bits)) = entry.split_once('/')
            && let (Ok(address), Ok(bits)) = (address.parse::<IpAddr>(), bits.parse::<u8>())
        {
            return (bits <= bits_of(address)).then_some(Self::Network(address, bits));
        }
        let name = entry.trim_start_matches('.').trim_end_matches('.').to_ascii_lowercase();
        (!name.is_empty()).then_some(Self::Name(name))
    }

    fn matches(&self, host: &str) -> bool {
        match self {
            Self::All => true,
            Self::Name(name) => {
                // Addresses have no names below them.
                let before = host.strip_suffix(name.as_str()).filter(|_| host.parse::<IpAddr>().is_err());
                before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
            }
            Self::Network(network, bits) => {
                host.parse::<IpAddr>().is_ok_and(|address| shares_bits(*network, address, *bits))
            }
        }
    }
}

const fn bits_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn shares_bits(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    let wide = |address| match address {
        IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
        IpAddr::V6(address) => u128::from(address),
    };
    let differing = (wide(one) ^ wide(other)).leading_zeros();
    one.is_ipv4() == other.is_ipv4() && differing >= u32::from(bits)
}

/// What stays the same for several requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sticky {
    /// Nothing: each request goes through the proxy with the least to do.
    #[default]
    None,
    /// The proxy of a host, as long as it works.
    Host,
    /// The proxy of a session.
    Session,
}

/// How a URL is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Without a proxy.
    Direct,
    /// Through any proxy.
    Any,
    /// Through this proxy.
    Only(u16),
}

/// The proxies of a job, and what goes through them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxySpec {
    /// All proxies. Targets name them by position.
    pub list: Vec<Proxy>,
    /// How many of them each tier has, the cheapest tier first.
    pub tiers: Vec<u16>,
    /// What keeps its proxy.
    pub sticky: Sticky,
    /// What is reached without one.
    pub bypass: Vec<Bypass>,
    /// Which addresses a proxy itself may have.
    pub policy: AddressPolicy,
}

impl Default for ProxySpec {
    fn default() -> Self {
        Self {
            list: Vec::new(),
            tiers: Vec::new(),
            sticky: Sticky::None,
            bypass: Vec::new(),
            policy: AddressPolicy::Any,
        }
    }
}

impl ProxySpec {
    /// Whether everything goes directly.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether the URL decides how it is reached.
    #[must_use]
    pub fn depends_on_url(&self) -> bool {
        !self.bypass.is_empty() || self.list.iter().any(|proxy| proxy.serves != Serves::All)
    }

    /// Returns how a server is reached. `host` is a name in lower case or an address, without brackets.
    #[must_use]
    pub fn reach(&self, is_https: bool, host: &str) -> Reach {
        let host = host.trim_end_matches('.');
        if self.list.is_empty() || self.bypass.iter().any(|bypass| bypass.matches(host)) {
            return Reach::Direct;
        }
        if self.list.iter().all(|proxy| proxy.serves == Serves::All) {
            return Reach::Any;
        }
        let serves = self.list.iter().position(|proxy| proxy.serves.allows(is_https));
        serves.and_then(|place| u16::try_from(place).ok()).map_or(Reach::Direct, Reach::Only)
    }

    /// Returns how an input is reached. What is not a URL needs no proxy.
    #[must_use]
    pub fn reach_input(&self, input: &[u8]) -> Reach {
        let url = std::str::from_utf8(input).ok().and_then(|input| Url::parse(input).ok());
        let Some((url, host)) = url.as_ref().and_then(|url| Some((url, url.host_str()?))) else {
            return Reach::Direct;
        };
        self.reach(url.scheme() == "https", host.trim_start_matches('[').trim_end_matches(']'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_parsed_and_shown_without_credentials() {
        for (text, shown) in [
            ("http://a:3128", "http://a:3128"),
            ("a:3128", "http://a:3128"),
            ("HTTPS://A/", "https://a:443"),
            ("socks5://u:p%40ss@[::1]", "socks5://***@[::1]:1080"),
            ("socks5h://u@10.0.0.1:9", "socks5h://***@10.0.0.1:9"),
        ] {
            assert_eq!(text.parse::<Proxy>().unwrap().to_string(), shown, "{text}");
        }
        let proxy: Proxy = "socks5://us%3Aer:p%40ss@h".parse().unwrap();
        let credentials = proxy.credentials.clone().unwrap();
        assert_eq!((credentials.user, credentials.password), (b"us:er".to_vec(), b"p@ss".to_vec()));
        assert!(!format!("{proxy:?}").contains("p@ss"));
    }

    #[test]
    fn malformed_proxies_are_refused_without_their_password() {
        for (text, says) in [
            ("ftp://h:1", "scheme ftp: give http, https, socks5 or socks5h"),
            ("http://u:secret@h:1/path", "a proxy has no path"),
            ("http://u:secret@h:99999", "invalid port number"),
            ("http://", "empty host"),
            ("socks5://:secret@h", "SOCKS needs a user name"),
            ("http://a%3Ab:secret@h", "contains a colon"),
        ] {
            let error = text.parse::<Proxy>().unwrap_err();
            assert!(error.contains(says) && !error.contains("secret"), "{text}: {error}");
        }
    }

    fn spec(proxies: &[(&str, Serves)], bypass: &str) -> ProxySpec {
        let list = proxies.iter().map(|(url, serves)| Proxy { serves: *serves, ..url.parse().unwrap() });
        ProxySpec { list: list.collect(), bypass: Bypass::parse_list(bypass), ..ProxySpec::default() }
    }

    #[test]
    fn hosts_of_no_proxy_are_reached_directly() {
        let spec = spec(&[("p:1", Serves::All)], ".local, example.org 10.0.0.0/8,[::1], 192.0.2.7");
        for (url, reach) in [
            ("http://example.org/", Reach::Direct),
            ("http://www.EXAMPLE.org./", Reach::Direct),
            ("http://badexample.org/", Reach::Any),
            ("https://a.local:8080/", Reach::Direct),
            ("http://10.1.2.3/", Reach::Direct),
            ("http://11.1.2.3/", Reach::Any),
            ("http://[::1]/", Reach::Direct),
            ("http://[::2]/", Reach::Any),
            ("http://192.0.2.7:81/", Reach::Direct),
            ("http://192.0.2.8/", Reach::Any),
            ("not a url", Reach::Direct),
        ] {
            assert_eq!(spec.reach_input(url.as_bytes()), reach, "{url}");
        }
        for (no_proxy, host) in [("0.0.1", "127.0.0.1"), ("10.0.0.1/33", "10.0.0.1"), ("*,a", "b")] {
            let spec = self::spec(&[("p:1", Serves::All)], no_proxy);
            assert_eq!(spec.reach(false, host), Reach::Any, "{no_proxy} {host}");
        }
        assert_eq!(self::spec(&[("p:1", Serves::All)], "*").reach(false, "a"), Reach::Direct);
        assert_eq!(ProxySpec::default().reach(false, "a"), Reach::Direct);
    }

    #[test]
    fn a_proxy_for_one_scheme_serves_no_other() {
        let one = spec(&[("p:1", Serves::Https)], "");
        assert_eq!((one.reach(true, "a"), one.reach(false, "a")), (Reach::Only(0), Reach::Direct));
        let two = spec(&[("p:1", Serves::Http), ("q:1", Serves::Https)], "");
        assert_eq!((two.reach(true, "a"), two.reach(false, "a")), (Reach::Only(1), Reach::Only(0)));
    }
}
