//! What counts as one host (`--per-host-key`): a name with its port, a registrable domain, or an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs as _};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use shared::domain::registrable;

use crate::plan::HostKey;

/// The host whose budget a target uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Name or address in lower case, with the port if it is not the scheme's default; or what else stands for it
    /// (`--per-host-key`).
    pub name: Arc<str>,
    /// Whether it is this machine, or an address of a private network: no stranger is harmed by a high load.
    pub local: bool,
}

/// Hosts whose keys are remembered. Beyond, the memory is emptied, which only costs time.
const REMEMBERED_MAX: usize = 100_000;

/// Finds the budget that a host uses.
#[derive(Debug, Default)]
pub(super) struct Keys {
    key: HostKey,
    /// Addresses by host, because each look-up may ask a name server.
    addresses: FxHashMap<Arc<str>, Host>,
}

impl Keys {
    pub(super) fn new(key: HostKey) -> Self {
        Self { key, addresses: FxHashMap::default() }
    }

    /// Returns what stands for `host` in the limits per host.
    pub(super) fn of(&mut self, host: Host) -> Host {
        match self.key {
            HostKey::Host => host,
            HostKey::Domain => Host { name: Arc::from(registrable(without_port(&host.name))), ..host },
            HostKey::Ip => {
                self.address(host, |name| (name, 80).to_socket_addrs().ok()?.next().map(|a| a.ip()))
            }
        }
    }

    /// Returns the address of `host`, or its name if it has none: then its targets fail anyway.
    fn address(&mut self, host: Host, look_up: impl FnOnce(&str) -> Option<IpAddr>) -> Host {
        if let Some(known) = self.addresses.get(&host.name) {
            return known.clone();
        }
        let name = without_port(&host.name);
        let found = match bare(name).parse().ok().or_else(|| look_up(name)) {
            Some(IpAddr::V4(address)) => {
                Host { name: address.to_string().into(), local: is_local_ipv4(address) }
            }
            Some(IpAddr::V6(address)) => of_v6(address),
            None => Host { name: Arc::from(name), ..host.clone() },
        };
        if self.addresses.len() >= REMEMBERED_MAX {
            self.addresses.clear();
        }
        self.addresses.insert(host.name, found.clone());
        found
    }
}

fn of_v6(address: Ipv6Addr) -> Host {
    match address.to_ipv4_mapped() {
        Some(v4) => Host { name: v4.to_string().into(), local: is_local_ipv4(v4) },
        None => Host { name: format!("[{address}]").into(), local: is_local_ipv6(address) },
    }
}

fn without_port(name: &str) -> &str {
    let after_address = name.rfind(']').map_or(0, |end| end + 1);
    let port = name.get(after_address..).and_then(|rest| rest.rfind(':'));
    port.and_then(|port| name.get(..after_address + port)).unwrap_or(name)
}

fn bare(name: &str) -> &str {
    name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name)
}

/// This machine, or a network of RFC 1918.
pub(super) fn is_local_ipv4(address: Ipv4Addr) -> bool {
    address.is_loopback() || address.is_unspecified() || address.is_private()
}

/// This machine, a unique local address (RFC 4193), or the same link.
pub(super) fn is_local_ipv6(address: Ipv6Addr) -> bool {
    address.is_loopback()
        || address.is_unspecified()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || address.to_ipv4_mapped().is_some_and(is_local_ipv4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Host {
        Host { name: Arc::from(name), local: false }
    }

    #[test]
    fn domains_are_those_that_can_be_registered() {
        let mut keys = Keys::new(HostKey::Domain);
        for (name, domain) in [
            ("www.example.org", "example.org"),
            ("example.org:8080", "example.org"),
            ("a.b.example.co.uk", "example.co.uk"),
            ("someone.github.io", "someone.github.io"),
            ("a.someone.github.io", "someone.github.io"),
            ("xn--85x722f.com.cn", "xn--85x722f.com.cn"),
            ("co.uk", "co.uk"),
            ("localhost:80", "localhost"),
            ("192.0.2.1:8080", "192.0.2.1"),
            ("[2001:db8::1]:8080", "[2001:db8::1]"),
            ("[2001:db8::1]", "[2001:db8::1]"),
        ] {
            assert_eq!(&*keys.of(host(name)).name, domain, "{name}");
        }
    }

    #[test]
    fn names_with_one_address_are_one_host() {
        let mut keys = Keys::new(HostKey::Ip);
        let address: IpAddr = "192.0.2.7".parse().unwrap();
        for name in ["a.example", "b.example:8080", "192.0.2.7", "192.0.2.7:81", "[::ffff:192.0.2.7]"] {
            assert_eq!(&*keys.address(host(name), |_| Some(address)).name, "192.0.2.7", "{name}");
        }
        assert_eq!(&*keys.address(host("a.example"), |_| panic!("it is known")).name, "192.0.2.7");
        assert_eq!(&*keys.address(host("no.example:81"), |_| None).name, "no.example");
        let six = keys.address(host("six.example"), |_| Some("::1".parse().unwrap()));
        assert_eq!((&*six.name, six.local), ("[::1]", true));
    }
}
