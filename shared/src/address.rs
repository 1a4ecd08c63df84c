//! Decides which addresses a job may connect to. Pure; the only place that knows the special ranges.
//!
//! The denied ranges are those in IANA's special-purpose address registries (RFC 6890, as of 2025:
//! `iana-ipv4-special-registry`, `iana-ipv6-special-registry`) that are not globally reachable, multicast,
//! reserved space, and the metadata services of clouds. Of IPv6, only the global unicast space (`2000::/3`) is
//! public, so that ranges assigned in future are denied. The few globally reachable anycast addresses in
//! `192.0.0.0/24` and `2001::/23` serve no pages, and are denied with their block.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// Which addresses a job may connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressPolicy {
    /// Only addresses of the public internet.
    Public,
    /// Every address.
    Any,
}

impl AddressPolicy {
    /// Returns the kind of an address that this policy denies, or `None` if it allows the address.
    #[must_use]
    pub fn denial(self, address: IpAddr) -> Option<&'static str> {
        match self {
            Self::Public => special(address),
            Self::Any => None,
        }
    }
}

const METADATA: &str = "a cloud's metadata service";

/// The first match counts, so a narrow range must precede the range that contains it.
const V4: [(Ipv4Addr, u32, &str); 20] = [
    (Ipv4Addr::new(169, 254, 169, 254), 32, METADATA),
    (Ipv4Addr::new(169, 254, 170, 2), 32, METADATA),
    // Alibaba's is in the shared address space.
    (Ipv4Addr::new(100, 100, 100, 200), 32, METADATA),
    // Azure's is an ordinary address in the registry, but is reachable only from inside Azure.
    (Ipv4Addr::new(168, 63, 129, 16), 32, METADATA),
    // Oracle's is in the range for protocol assignments.
    (Ipv4Addr::new(192, 0, 0, 192), 32, METADATA),
    (Ipv4Addr::UNSPECIFIED, 8, "unspecified"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "shared address space"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "protocol assignment"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "6to4 relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarking"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

/// IPv6 ranges that embed an IPv4 address, and how many bits precede it. The embedded address is what counts,
/// because packets end there.
const CARRIERS: [(Ipv6Addr, u32); 3] = [
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
];

const V6: [(Ipv6Addr, u32, &str); 12] = [
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128, METADATA),
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified"),
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    (Ipv6Addr::UNSPECIFIED, 96, "IPv4-compatible"),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, "local translation"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "protocol assignment"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "documentation"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "documentation"),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "private"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local"),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "site-local"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast"),
];

const GLOBAL_UNICAST: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Returns the kind of an address that is not on the public internet.
fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => match carried(address) {
            Some(within) => special_v4(within),
            None => special_v6(address),
        },
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let within = |(range, bits, _): &&(Ipv4Addr, u32, &str)| {
        (address.to_bits() ^ range.to_bits()).leading_zeros() >= *bits
    };
    V4.iter().find(within).map(|(_, _, what)| *what)
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let found = V6.iter().find(|(range, bits, _)| is_within(address, *range, *bits));
    let (global, bits) = GLOBAL_UNICAST;
    match found {
        Some((_, _, what)) => Some(what),
        None if is_within(address, global, bits) => None,
        None => Some("reserved"),
    }
}

/// Returns the IPv4 address that packets to `address` reach.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let (_, before) = CARRIERS.iter().find(|(range, bits)| is_within(address, *range, *bits))?;
    let from_there = address.to_bits() << before;
    u32::try_from(from_there >> 96).ok().map(Ipv4Addr::from_bits)
}

fn is_within(address: Ipv6Addr, range: Ipv6Addr, bits: u32) -> bool {
    (address.to_bits() ^ range.to_bits()).leading_zeros() >= bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for (address, want) in [
            ("1.1.1.1", None),
            ("93.184.215.14", None),
            ("9.255.255.255", None),
            ("11.0.0.0", None),
            ("100.63.255.255", None),
            ("100.128.0.0", None),
            ("172.15.255.255", None),
            ("172.32.0.0", None),
            ("192.167.255.255", None),
            ("192.169.0.0", None),
            ("223.255.255.255", None),
            ("0.0.0.0", Some("unspecified")),
            ("0.1.2.3", Some("unspecified")),
            ("10.0.0.0", Some("private")),
            ("10.255.255.255", Some("private")),
            ("100.64.0.0", Some("shared address space")),
            ("100.127.255.255", Some("shared address space")),
            ("100.100.100.200", Some(METADATA)),
            ("127.0.0.1", Some("loopback")),
            ("127.255.255.255", Some("loopback")),
            ("168.63.129.16", Some(METADATA)),
            ("168.63.129.17", None),
            ("169.254.0.1", Some("link-local")),
            ("169.254.169.254", Some(METADATA)),
            ("169.254.170.2", Some(METADATA)),
            ("172.16.0.0", Some("private")),
            ("172.31.255.255", Some("private")),
            ("192.0.0.8", Some("protocol assignment")),
            ("192.0.0.192", Some(METADATA)),
            ("192.0.2.7", Some("documentation")),
            ("192.88.99.1", Some("6to4 relay")),
            ("192.168.0.0", Some("private")),
            ("198.18.0.0", Some("benchmarking")),
            ("198.19.255.255", Some("benchmarking")),
            ("198.51.100.1", Some("documentation")),
            ("203.0.113.255", Some("documentation")),
            ("224.0.0.1", Some("multicast")),
            ("239.255.255.255", Some("multicast")),
            ("240.0.0.0", Some("reserved")),
            ("255.255.255.255", Some("reserved")),
            ("2606:4700:4700::1111", None),
            ("2a00:1450:4001:80f::200e", None),
            ("2001:200::", None),
            ("::", Some("unspecified")),
            ("::1", Some("loopback")),
            ("::7f00:1", Some("IPv4-compatible")),
            ("::808:808", Some("IPv4-compatible")),
            ("::1:0:0:0", Some("reserved")),
            ("64:ff9b:1::808:808", Some("local translation")),
            ("100::1", Some("reserved")),
            ("2001::1", Some("protocol assignment")),
            ("2001:1ff:ffff::", Some("protocol assignment")),
            ("2001:db8::1", Some("documentation")),
            ("3fff:fff::1", Some("documentation")),
            ("4000::1", Some("reserved")),
            ("5f00::1", Some("reserved")),
            ("fc00::1", Some("private")),
            ("fd00:ec2::254", Some(METADATA)),
            ("fdff::1", Some("private")),
            ("fe80::1", Some("link-local")),
            ("fec0::1", Some("site-local")),
            ("ff02::1", Some("multicast")),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(AddressPolicy::Public.denial(address), want, "{address}");
            assert_eq!(AddressPolicy::Any.denial(address), None, "{address}");
        }
    }

    #[test]
    fn an_embedded_ipv4_address_decides() {
        for (v4, want) in [
            ("8.8.8.8", None),
            ("127.0.0.1", Some("loopback")),
            ("10.1.2.3", Some("private")),
            ("169.254.169.254", Some(METADATA)),
        ] {
            let [a, b, c, d] = v4.parse::<Ipv4Addr>().unwrap().octets();
            for address in [
                format!("::ffff:{v4}"),
                format!("64:ff9b::{v4}"),
                format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1"),
            ] {
                let address: IpAddr = address.parse().unwrap();
                assert_eq!(AddressPolicy::Public.denial(address), want, "{address}");
            }
        }
    }
}
