//! What is said to a proxy until it passes bytes on: `CONNECT` (RFC 9110, 9.3.6) or SOCKS 5 (RFC 1928, RFC 1929).
//!
//! Uses no socket, so that both clients say the same. Calling contract:
//!
//! ```text
//! loop  step() → Send(bytes): send them.   → Receive: read some bytes, then on_read(bytes).   → Done: the end.
//! ```

use std::net::IpAddr;

use http::HeaderValue;
use shared::protocol::ExitFault;
use shared::proxy::{Credentials, Proxy};

use crate::stage::fetch::fault::ProxyFault;

/// Longest answer to `CONNECT`.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Most headers in it.
const HEADERS_MAX: usize = 64;

/// Version of SOCKS, and of its authentication by name and password.
const SOCKS: u8 = 5;
const SOCKS_AUTH: u8 = 1;

/// Ways to log in: none, and name and password.
const NO_LOGIN: u8 = 0;
const LOGIN: u8 = 2;

/// What a proxy is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::stage::fetch) enum Host {
    Name(String),
    Address(IpAddr),
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::stage::fetch) enum Step {
    Send(Vec<u8>),
    Receive,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The request was sent; an HTTP response follows.
    Http,
    /// The proxy chooses how to log in.
    Method,
    /// The proxy answers to name and password.
    Login,
    /// The proxy answers to the request.
    Reply,
    Done,
}

/// One handshake.
#[derive(Debug)]
pub(in crate::stage::fetch) struct Handshake<'a> {
    proxy: &'a Proxy,
    state: State,
    /// What is to be sent next; empty if nothing is.
    out: Vec<u8>,
    received: Vec<u8>,
    has_ended: bool,
    /// The request of SOCKS, which follows the login.
    request: Vec<u8>,
}

impl<'a> Handshake<'a> {
    /// Begins a handshake for a connection to this server. `login` is the value of `Proxy-Authorization`.
    pub(in crate::stage::fetch) fn new(
        proxy: &'a Proxy,
        login: Option<&HeaderValue>,
        host: &Host,
        port: u16,
    ) -> Result<Self, ProxyFault> {
        let (state, out, request) = if proxy.scheme.is_http() {
            (State::Http, connect(login, host, port), Vec::new())
        } else {
            let methods: &[u8] = if proxy.credentials.is_some() { &[NO_LOGIN, LOGIN] } else { &[NO_LOGIN] };
            let count = u8::try_from(methods.len()).unwrap_or_default();
            let request = socks_request(host, port).ok_or_else(|| {
                ProxyFault::new(proxy, ExitFault::Unreachable, "the host name is too long for SOCKS")
            })?;
            (State::Method, [&[SOCKS, count], methods].concat(), request)
        };
        Ok(Self { proxy, state, out, received: Vec::new(), has_ended: false, request })
    }

    /// Takes in what the proxy has sent; nothing means that it has closed the connection.
    pub(in crate::stage::fetch) fn on_read(&mut self, bytes: &[u8]) {
        self.has_ended |= bytes.is_empty();
        self.received.extend_from_slice(bytes);
    }

    /// Returns what to do next.
    pub(in crate::stage::fetch) fn step(&mut self) -> Result<Step, ProxyFault> {
        loop {
            if !self.out.is_empty() {
                return Ok(Step::Send(std::mem::take(&mut self.out)));
            }
            let advanced = match self.state {
                State::Http => self.on_http()?,
                State::Method => self.on_method()?,
                State::Login => self.on_login()?,
                State::Reply => self.on_reply()?,
                // Only the server speaks now, and none that we ask speaks first.
                State::Done if !self.received.is_empty() => {
                    return Err(self.fault(ExitFault::Proxy, "it sent data before it was asked for any"));
                }
                State::Done => return Ok(Step::Done),
            };
            if !advanced {
                return if self.has_ended {
                    Err(self.fault(ExitFault::Proxy, "it closed the connection during the handshake"))
                } else {
                    Ok(Step::Receive)
                };
            }
        }
    }

    fn on_http(&mut self) -> Result<bool, ProxyFault> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let length = match head.parse(&self.received) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if self.received.len() < ANSWER_BYTES_MAX => return Ok(false),
            Ok(httparse::Status::Partial) | Err(_) => {
                return Err(self.fault(ExitFault::Proxy, "it did not answer CONNECT with HTTP"));
            }
        };
        match head.code {
            Some(100..=199) => _ = self.received.drain(..length),
            Some(200..=299) => {
                self.received.drain(..length);
                self.state = State::Done;
            }
            Some(407) => return Err(login_fault(self.proxy)),
            code => {
                let reason = head.reason.unwrap_or_default();
                let why = format!("it answered CONNECT with {} {reason}", code.unwrap_or_default());
                return Err(self.fault(ExitFault::Unreachable, why.trim_end()));
            }
        }
        Ok(true)
    }

    fn on_method(&mut self) -> Result<bool, ProxyFault> {
        let Some([version, method]) = self.received.first_chunk() else { return Ok(false) };
        let (version, method) = (*version, *method);
        self.received.drain(..2);
        match (version, method, &self.proxy.credentials) {
            (SOCKS, NO_LOGIN, _) => {
                self.state = State::Reply;
                self.out = std::mem::take(&mut self.request);
            }
            (SOCKS, LOGIN, Some(credentials)) => {
                self.state = State::Login;
                self.out = socks_login(credentials);
            }
            (SOCKS, _, _) => return Err(login_fault(self.proxy)),
            (_, _, _) => return Err(self.fault(ExitFault::Proxy, "it does not speak SOCKS 5")),
        }
        Ok(true)
    }

    fn on_login(&mut self) -> Result<bool, ProxyFault> {
        let Some([_, status]) = self.received.first_chunk() else { return Ok(false) };
        if *status != 0 {
            return Err(login_fault(self.proxy));
        }
        self.received.drain(..2);
        self.state = State::Reply;
        self.out = std::mem::take(&mut self.request);
        Ok(true)
    }

    fn on_reply(&mut self) -> Result<bool, ProxyFault> {
        let Some([version, reply]) = self.received.first_chunk() else { return Ok(false) };
        if *version != SOCKS {
            return Err(self.fault(ExitFault::Proxy, "it does not speak SOCKS 5"));
        }
        if *reply != 0 {
            return Err(self.fault(ExitFault::Unreachable, refusal(*reply)));
        }
        let Some([_, _, _, kind]) = self.received.first_chunk() else { return Ok(false) };
        // The address that the proxy connects from, which does not matter here.
        let address = match (kind, self.received.get(4)) {
            (1, _) => 4,
            (4, _) => 16,
            (3, Some(length)) => 1 + usize::from(*length),
            (3, None) => return Ok(false),
            (_, _) => return Err(self.fault(ExitFault::Proxy, "it does not speak SOCKS 5")),
        };
        let length = 4 + address + 2;
        if self.received.len() < length {
            return Ok(false);
        }
        self.received.drain(..length);
        self.state = State::Done;
        Ok(true)
    }

    fn fault(&self, fault: ExitFault, why: &str) -> ProxyFault {
        ProxyFault::new(self.proxy, fault, why)
    }
}

/// The proxy rejects the credentials, or wants some.
pub(super) fn login_fault(proxy: &Proxy) -> ProxyFault {
    let why = if proxy.credentials.is_some() { "it rejects the credentials" } else { "it wants credentials" };
    ProxyFault::new(proxy, ExitFault::Credentials, why)
}

fn connect(login: Option<&HeaderValue>, host: &Host, port: u16) -> Vec<u8> {
    let host = match host {
        Host::Name(name) => name.clone(),
        Host::Address(IpAddr::V4(address)) => address.to_string(),
        Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
    };
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
    if let Some(login) = login {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(login.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request
}

/// `None` if the name is too long.
fn socks_request(host: &Host, port: u16) -> Option<Vec<u8>> {
    let mut request = vec![SOCKS, 1, 0];
    match host {
        Host::Address(IpAddr::V4(address)) => {
            request.push(1);
            request.extend_from_slice(&address.octets());
        }
        Host::Address(IpAddr::V6(address)) => {
            request.push(4);
            request.extend_from_slice(&address.octets());
        }
        Host::Name(name) => {
            request.extend_from_slice(&[3, u8::try_from(name.len()).ok()?]);
            request.extend_from_slice(name.as_bytes());
        }
    }
    request.extend_from_slice(&port.to_be_bytes());
    Some(request)
}

fn socks_login(credentials: &Credentials) -> Vec<u8> {
    // The lengths were checked when the proxy's URL was parsed.
    let length = |text: &[u8]| u8::try_from(text.len()).unwrap_or(u8::MAX);
    let Credentials { user, password } = credentials;
    [&[SOCKS_AUTH, length(user)], user.as_slice(), &[length(password)], password].concat()
}

const fn refusal(reply: u8) -> &'static str {
    match reply {
        2 => "its rules do not allow the connection",
        3 => "it cannot reach the network",
        4 => "it cannot reach the host",
        5 => "the server refused its connection",
        6 => "its connection to the server took too many hops",
        7 => "it does not support connections",
        8 => "it does not support this type of address",
        _ => "it failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type End = Result<(), (ExitFault, String)>;

    /// Runs a handshake against a proxy that answers each send with one of these, byte by byte.
    fn run(proxy: &str, host: &Host, answers: &[&[u8]]) -> (Vec<Vec<u8>>, End) {
        let proxy: Proxy = proxy.parse().unwrap();
        let login = super::super::basic(&proxy);
        let mut sent = Vec::new();
        let mut waiting: Vec<u8> = Vec::new();
        let mut handshake = Handshake::new(&proxy, login.as_ref(), host, 443).unwrap();
        loop {
            match handshake.step() {
                Ok(Step::Send(bytes)) => {
                    waiting.extend(answers.get(sent.len()).copied().unwrap_or_default());
                    sent.push(bytes);
                }
                Ok(Step::Receive) if waiting.is_empty() => handshake.on_read(&[]),
                Ok(Step::Receive) => handshake.on_read(&[waiting.remove(0)]),
                Ok(Step::Done) => return (sent, Ok(())),
                Err(fault) => return (sent, Err((fault.kind, fault.message))),
            }
        }
    }

    fn name() -> Host {
        Host::Name("a.example".into())
    }

    #[test]
    fn connect_names_the_server_and_the_login() {
        let (sent, end) = run("http://u:p@p:1", &name(), &[b"HTTP/1.1 200 Connection established\r\n\r\n"]);
        assert_eq!(end, Ok(()));
        let says = "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\nProxy-Authorization: Basic dTpw\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&sent[0]), says);
        let (sent, _) = run("http://p:1", &Host::Address("::1".parse().unwrap()), &[]);
        assert!(sent[0].starts_with(b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n"));
    }

    #[test]
    fn what_a_proxy_answers_to_connect_says_whose_fault_it_is() {
        for (answer, kind, says) in [
            (
                &b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..],
                ExitFault::Credentials,
                "wants credentials",
            ),
            (
                b"HTTP/1.0 503 Service Unavailable\r\n\r\n",
                ExitFault::Unreachable,
                "CONNECT with 503 Service Unavailable",
            ),
            (b"HTTP/1.1 403 Forbidden\r\n\r\n", ExitFault::Unreachable, "CONNECT with 403 Forbidden"),
            (b"SSH-2.0-OpenSSH\r\n", ExitFault::Proxy, "did not answer CONNECT with HTTP"),
            (b"HTTP/1.1 200", ExitFault::Proxy, "closed the connection during the handshake"),
            (b"", ExitFault::Proxy, "closed the connection during the handshake"),
        ] {
            let (_, end) = run("http://p:1", &name(), &[answer]);
            let (got, message) = end.unwrap_err();
            assert_eq!(got, kind, "{message}");
            assert!(message.contains(says) && message.starts_with("proxy http://p:1: "), "{message}");
        }
        let interim = b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(run("http://p:1", &name(), &[interim]).1, Ok(()));
    }

    #[test]
    fn socks_is_given_names_or_addresses() {
        let reply = [5, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let (sent, end) = run("socks5h://p", &name(), &[&[5, 0], &reply]);
        assert_eq!(end, Ok(()));
        let named = [&[5, 1, 0, 3, 9][..], b"a.example", &[1, 187]].concat();
        assert_eq!(sent, [vec![5, 1, 0], named]);
        let (sent, end) =
            run("socks5://u:pw@p", &Host::Address([127, 0, 0, 1].into()), &[&[5, 2], &[1, 0], &reply]);
        assert_eq!(end, Ok(()));
        let login = [&[1, 1][..], b"u", &[2], b"pw"].concat();
        assert_eq!(sent, [vec![5, 2, 0, 2], login, vec![5, 1, 0, 1, 127, 0, 0, 1, 1, 187]]);
    }

    #[test]
    fn what_a_socks_proxy_answers_says_whose_fault_it_is() {
        for (proxy, answers, kind) in [
            ("socks5://p", &[&[5, 255][..]][..], ExitFault::Credentials),
            ("socks5://u@p", &[&[5, 2], &[1, 1]], ExitFault::Credentials),
            ("socks5://p", &[&[5, 2]], ExitFault::Credentials),
            ("socks5://p", &[b"HTTP/1.1 400 Bad Request\r\n\r\n"], ExitFault::Proxy),
            ("socks5://p", &[&[5, 0], &[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]], ExitFault::Unreachable),
            ("socks5://p", &[&[5, 0], &[5, 1]], ExitFault::Unreachable),
            ("socks5://p", &[&[5, 0], &[5, 0, 0, 9, 0]], ExitFault::Proxy),
            ("socks5://p", &[&[5, 0], &[5, 0, 0, 3, 9, 1]], ExitFault::Proxy),
        ] {
            assert_eq!(run(proxy, &name(), answers).1.unwrap_err().0, kind, "{proxy} {answers:?}");
        }
        let long = Host::Name("a".repeat(256));
        let proxy: Proxy = "socks5h://p".parse().unwrap();
        assert_eq!(Handshake::new(&proxy, None, &long, 1).unwrap_err().kind, ExitFault::Unreachable);
    }

    proptest::proptest! {
        #[test]
        fn no_answer_is_a_panic(
            scheme in "http|socks5",
            answers in proptest::collection::vec(proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40), 0..4),
        ) {
            let answers: Vec<&[u8]> = answers.iter().map(Vec::as_slice).collect();
            let _ = run(&format!("{scheme}://u:p@h"), &name(), &answers);
        }
    }
}
