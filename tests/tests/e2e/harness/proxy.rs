//! A proxy for HTTP and SOCKS 5 in the test's own process, which can fail in the ways that real ones do.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What a proxy does to connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Works,
    /// Closes each connection at once.
    Dead,
    /// Accepts and never answers.
    Silent,
    /// Wants a login.
    Closed,
    /// Answers 403 in the name of every server.
    Forbids,
}

/// A running proxy.
#[derive(Debug)]
pub(crate) struct TestProxy {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    manner: Mutex<Manner>,
    accepted: AtomicU64,
    requests: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl TestProxy {
    pub(crate) fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            manner: Mutex::new(manner),
            accepted: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            open: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (state, stream) = (Arc::clone(&shared), stream.unwrap());
                state.accepted.fetch_add(1, Ordering::SeqCst);
                state.open.lock().unwrap().push(stream.try_clone().unwrap());
                thread::spawn(move || drop(state.serve(stream)));
            }
        });
        Self { address, state }
    }

    /// `scheme://address:port`.
    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }

    /// Connections so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// Requests and tunnels so far.
    pub(crate) fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// Ends all connections, and closes new ones at once. Connections are counted from now.
    pub(crate) fn kill(&self) {
        *self.state.manner.lock().unwrap() = Manner::Dead;
        for stream in std::mem::take(&mut *self.state.open.lock().unwrap()) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.state.accepted.store(0, Ordering::SeqCst);
    }
}

impl State {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let manner = *self.manner.lock().unwrap();
        if manner == Manner::Dead {
            return client.shutdown(Shutdown::Both);
        }
        if manner == Manner::Silent {
            return io::copy(&mut client, &mut io::sink()).map(drop);
        }
        let mut first = [0];
        client.read_exact(&mut first)?;
        if first == [5] { self.socks(client) } else { self.http(client, first[0], manner) }
    }

    fn http(&self, mut client: TcpStream, first: u8, manner: Manner) -> io::Result<()> {
        let mut head = vec![first];
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        self.requests.fetch_add(1, Ordering::SeqCst);
        let head = String::from_utf8(head).unwrap();
        let answer = match manner {
            Manner::Closed => "407 Proxy Authentication Required",
            Manner::Forbids => "403 Forbidden",
            Manner::Works | Manner::Dead | Manner::Silent => "",
        };
        if !answer.is_empty() {
            let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return client.write_all(answer.as_bytes());
        }
        let (method, rest) = head.split_once(' ').unwrap();
        let (target, rest) = rest.split_once(' ').unwrap();
        if method == "CONNECT" {
            let server = TcpStream::connect(target)?;
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
            return pass_on(client, server);
        }
        let target = target.strip_prefix("http://").expect("the target is in absolute form");
        let (authority, path) = target.split_at(target.find('/').unwrap());
        let mut server = TcpStream::connect(authority)?;
        let (line, fields) = rest.split_once("\r\n").unwrap();
        write!(server, "{method} {path} {line}\r\nConnection: close\r\n{fields}")?;
        io::copy(&mut server, &mut client)?;
        client.shutdown(Shutdown::Both)
    }

    fn socks(&self, mut client: TcpStream) -> io::Result<()> {
        let read = |count: u8| {
            let mut bytes = vec![0; count.into()];
            (&client).read_exact(&mut bytes).map(|()| bytes)
        };
        let methods = read(1)?[0];
        read(methods)?;
        (&client).write_all(&[5, 0])?;
        let kind = read(4)?[3];
        let host = if kind == 1 {
            read(4)?.iter().map(u8::to_string).collect::<Vec<_>>().join(".")
        } else {
            let length = read(1)?[0];
            String::from_utf8(read(length)?).unwrap()
        };
        let port = read(2)?;
        let server = TcpStream::connect((host, u16::from_be_bytes([port[0], port[1]])))?;
        self.requests.fetch_add(1, Ordering::SeqCst);
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
        pass_on(client, server)
    }
}

/// Passes bytes on both ways until both ends are closed.
fn pass_on(mut client: TcpStream, mut server: TcpStream) -> io::Result<()> {
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_server);
        to_server.shutdown(Shutdown::Write)
    });
    let _ = io::copy(&mut server, &mut client);
    client.shutdown(Shutdown::Both)
}
