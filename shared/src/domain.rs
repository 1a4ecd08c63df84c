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

/// Whether a name is one below which anyone may register: `com`, `co.uk`, `github.io`.
#[must_use]
pub fn is_public_suffix(name: &str) -> bool {
    name.parse::<IpAddr>().is_err() && psl::domain_str(name).is_none()
}
