//! Registrable domains, by the public suffix list.

use std::net::IpAddr;

/// Returns the registrable domain of a name without a port; an address or a public suffix is its own.
#[must_use]
pub fn registrable(name: &str) -> &str {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    if bare.parse::<IpAddr>().is_ok() {
        return name;
    }
    psl::domain_str(name).unwrap_or(name)
}
