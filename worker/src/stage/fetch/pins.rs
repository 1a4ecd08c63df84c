//! Addresses that the user gives in place of those that a name has (`--resolve`).

use std::net::IpAddr;
use std::sync::Arc;

use shared::transport::{Pin, TransportSpec};

use super::connect::Endpoint;

/// The addresses of some names. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Pins(Arc<[Pinned]>);

#[derive(Debug)]
struct Pinned {
    host: String,
    port: u16,
    addresses: Arc<[IpAddr]>,
}

impl Pins {
    pub(super) fn new(spec: &TransportSpec) -> Self {
        let pinned = |pin: &Pin| Pinned {
            host: pin.host.clone(),
            port: pin.port,
            addresses: pin.addresses.as_slice().into(),
        };
        Self(spec.pins.iter().map(pinned).collect())
    }

    /// Returns the addresses for an endpoint, if the user gives them. The last ones given count, as in curl.
    pub(super) fn find(&self, endpoint: &Endpoint) -> Option<Arc<[IpAddr]>> {
        let host = endpoint.host.trim_end_matches('.');
        let is_meant =
            |pinned: &&Pinned| pinned.port == endpoint.port && host.eq_ignore_ascii_case(&pinned.host);
        self.0.iter().rev().find(is_meant).map(|pinned| Arc::clone(&pinned.addresses))
    }
}
