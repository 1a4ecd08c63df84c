//! Addresses that the job must not connect to.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shared::address::AddressPolicy;

use super::server::{Reply, serve};
use super::*;

#[test]
fn only_public_addresses_are_connected_to_if_the_job_says_so() {
    // Nothing accepts here, so a connection attempt would time out.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut pair = Pair::new(&FetchSpec { address_policy: AddressPolicy::Public, ..spec() });
    for (host, at) in [
        ("127.0.0.1", "127.0.0.1 (loopback)"),
        ("0x7f.1", "127.0.0.1 (loopback)"),
        ("2130706433", "127.0.0.1 (loopback)"),
        ("[::1]", "::1 (loopback)"),
        ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1 (loopback)"),
        ("[64:ff9b::a01:203]", "64:ff9b::a01:203 (private)"),
        ("169.254.169.254", "169.254.169.254 (a cloud's metadata service)"),
        ("0.0.0.0", "0.0.0.0 (unspecified)"),
        ("localhost", "localhost is at 127.0.0.1 (loopback), ::1 (loopback)"),
        ("a.localhost", "a.localhost is at 127.0.0.1 (loopback), ::1 (loopback)"),
    ] {
        for scheme in ["http", "https"] {
            let failure = pair.failure(&format!("{scheme}://{host}:{port}/"));
            let message = format!("{at}, not public; --address-policy any would allow it");
            assert_failure(&failure, ErrorKind::AddressDenied, &message, false);
        }
    }
}

#[test]
fn redirects_to_denied_addresses_fail() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let inside = serve(move |_, _| {
        counter.fetch_add(1, Ordering::SeqCst);
        Reply::ok(b"secret")
    });
    // The same server at a denied address.
    let inside = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), inside.port()));
    let open = serve(move |_, _| Reply::redirect(302, &format!("http://{inside}/")));
    let mut pair = Pair::gated(|address| (address == Ipv4Addr::new(127, 0, 0, 2)).then_some("inside"));
    let failure = pair.failure(&format!("http://{open}/"));
    let message = "127.0.0.2 (inside), not public; --address-policy any would allow it";
    assert_failure(&failure, ErrorKind::AddressDenied, message, false);
    assert_eq!(failure.final_url.unwrap().as_str(), format!("http://{inside}/"));
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}
