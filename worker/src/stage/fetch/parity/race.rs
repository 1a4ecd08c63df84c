//! Hosts with an address that leads nowhere.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{Backlog, listen};
use shared::clock;

use super::*;

/// A listener that accepts nothing, with a full queue: the kernel drops further connection attempts. `localhost` has
/// its address before [`served`]'s.
struct Silent {
    listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl Silent {
    fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let queued = (0..4)
            .map_while(|_| TcpStream::connect_timeout(&address, Duration::from_millis(50)).ok())
            .collect();
        Self { listener, _queued: queued }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }
}

/// Serves pages on the other loopback address, one a connection.
fn served(port: u16) {
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\npage");
        }
    });
}

#[test]
fn a_silent_address_costs_a_quarter_of_a_second() {
    let silent = Silent::new();
    served(silent.port());
    let mut pair = Pair::new(&spec());
    let begun = clock::now();
    assert_eq!(pair.page(&format!("http://localhost:{}/", silent.port())).body, b"page");
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(500), "two fetches in sequence: {took:?}");
    // Well under the patience of a kernel or a user, on a busy machine too.
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn an_address_that_refuses_costs_nothing() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    served(port);
    let mut pair = Pair::new(&spec());
    let begun = clock::now();
    assert_eq!(pair.page(&format!("http://localhost:{port}/")).body, b"page");
    assert!(begun.elapsed() < Duration::from_millis(400), "{:?}", begun.elapsed());
}

#[test]
fn all_addresses_share_the_connect_timeout() {
    let silent = Silent::new();
    let timeout = Duration::from_millis(600);
    let mut pair = Pair::new(&FetchSpec { connect_timeout: timeout, ..spec() });
    let begun = clock::now();
    let failure = pair.failure(&format!("http://localhost:{}/", silent.port()));
    let took = begun.elapsed();
    // The other address refuses at once, and the silent one may still answer.
    assert_failure(&failure, ErrorKind::Timeout, "not connected within 600 ms", true);
    assert!(took >= 2 * timeout && took < 2 * timeout + Duration::from_secs(5), "{took:?}");
}
