//! A server that sends exactly the given bytes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

/// The response to one request.
pub(super) struct Reply {
    bytes: Vec<u8>,
    then: Then,
}

enum Then {
    Keep,
    Close,
    Reset,
    /// Send nothing more, and wait until the client gives up.
    Hang,
    /// Repeat this byte until the client gives up.
    Drip(u8),
    /// Repeat these bytes, as fast as the client reads.
    Flood(Vec<u8>),
}

impl Reply {
    pub(super) fn keep(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), then: Then::Keep }
    }

    pub(super) fn close(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), then: Then::Close }
    }

    pub(super) fn reset(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), then: Then::Reset }
    }

    pub(super) fn hang(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), then: Then::Hang }
    }

    pub(super) fn drip(bytes: impl Into<Vec<u8>>, byte: u8) -> Self {
        Self { bytes: bytes.into(), then: Then::Drip(byte) }
    }

    pub(super) fn flood(bytes: impl Into<Vec<u8>>, again: impl AsRef<[u8]>) -> Self {
        Self { bytes: bytes.into(), then: Then::Flood(again.as_ref().repeat(100)) }
    }

    pub(super) fn ok(body: &[u8]) -> Self {
        Self::with("", body)
    }

    /// A complete response with these header lines, each with its line end.
    pub(super) fn with(headers: &str, body: &[u8]) -> Self {
        let head = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        Self::keep([head.as_bytes(), body].concat())
    }

    pub(super) fn redirect(status: u16, location: &str) -> Self {
        let head =
            format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 5\r\n\r\nmoved");
        Self::keep(head)
    }
}

/// Serves on loopback until the test process ends. `answer` gets the request, with its body, and the number of earlier
/// requests on the connection.
pub(super) fn serve(answer: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> SocketAddr {
    let answer = Arc::new(answer);
    accept(move |mut stream| {
        let mut before = 0;
        while let Some(mut request) = read_head(&mut stream) {
            read_body(&mut stream, &mut request);
            let reply = answer(&request, before);
            before += 1;
            if !send(&mut stream, reply) {
                break;
            }
        }
    })
}

/// Passes every connection to `handle` on a thread of its own.
pub(super) fn accept(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handle = Arc::new(handle);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let handle = Arc::clone(&handle);
            thread::spawn(move || handle(stream.unwrap()));
        }
    });
    address
}

/// Reads up to the empty line. Returns `None` when the client has closed.
pub(super) fn read_head(stream: &mut impl Read) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8(head).unwrap())
}

/// Reads the body that the head announces, and appends it.
fn read_body(stream: &mut impl Read, request: &mut String) {
    let lower = request.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    if stream.read_exact(&mut body).is_ok() {
        request.push_str(std::str::from_utf8(&body).unwrap());
    }
}

fn send(stream: &mut TcpStream, reply: Reply) -> bool {
    if stream.write_all(&reply.bytes).is_err() {
        return false;
    }
    match reply.then {
        Then::Keep => return true,
        Then::Close => {}
        Then::Reset => {
            let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
            setsockopt(stream, sockopt::Linger, &linger).unwrap();
        }
        Then::Hang => drop(io::copy(stream, &mut io::sink())),
        Then::Drip(byte) => {
            stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
            while stream.read(&mut [0]).is_err() && stream.write_all(&[byte]).is_ok() {}
        }
        Then::Flood(again) => while stream.write_all(&again).is_ok() {},
    }
    false
}
