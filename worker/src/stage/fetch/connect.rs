//! What both clients share between a URL and a connection.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use nix::libc;
use shared::address::AddressPolicy;

use super::fault::Fault;
use crate::shortage::Shortage;

/// How long an attempt may last before the next address is tried beside it (RFC 8305 § 5).
pub(super) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The server that a request goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// An IPv6 address has no brackets here.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
}

impl Endpoint {
    pub(super) fn of(uri: &Uri) -> Result<Self, Fault> {
        let host = uri.host().ok_or_else(|| Fault::Url(format!("{uri} has no host")))?;
        let tls = uri.scheme() == Some(&Scheme::HTTPS);
        Ok(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            tls,
        })
    }
}

/// The address policy: returns what is wrong with an address, if the job may not connect to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gate(fn(IpAddr) -> Option<&'static str>);

impl Gate {
    pub(super) const fn of(policy: AddressPolicy) -> Self {
        match policy {
            AddressPolicy::Public => Self(|address| AddressPolicy::Public.denial(address)),
            AddressPolicy::Any => Self(|_| None),
        }
    }

    /// Returns the addresses of a host that the job may connect to. Fails if there are none.
    pub(super) fn allowed(self, host: &str, addresses: &[IpAddr]) -> Result<Vec<IpAddr>, Fault> {
        let allowed: Vec<IpAddr> =
            addresses.iter().copied().filter(|address| (self.0)(*address).is_none()).collect();
        if allowed.is_empty() { Err(denied(self, host, addresses)) } else { Ok(allowed) }
    }

    /// For tests, because their servers are all on loopback.
    #[cfg(test)]
    pub(super) const fn with(denial: fn(IpAddr) -> Option<&'static str>) -> Self {
        Self(denial)
    }
}

/// The addresses of a host in the order of RFC 8305 ("happy eyeballs"), and the first failure. The system prefers the
/// first address, so its failure is the most useful.
///
/// Each client races them: the next address is tried once an attempt has failed or has lasted for [`ATTEMPT_DELAY`],
/// and the first connection wins. This is the only way to an address, so none bypasses the gate. The address that is
/// checked is the one that is connected to, so a DNS answer that changes in between has no effect.
///
/// As many sockets may be open for one connection as the resolver gives addresses, eight, if all of them stay silent. A
/// limit would give up addresses that are slow, or never come to the one that answers.
///
/// An attempt that fails for a [`Shortage`] says nothing about its address. Those under way then have one more
/// [`ATTEMPT_DELAY`]. If none succeeds, the race fails for the shortage, and the target waits and races again. Otherwise
/// it would wait until the timeout for an address that leads nowhere.
#[derive(Debug)]
pub(super) struct Attempts {
    addresses: std::vec::IntoIter<IpAddr>,
    port: u16,
    failed: Option<Fault>,
}

impl Attempts {
    /// Creates attempts at the endpoint's addresses that the gate allows. Fails if it allows none.
    pub(super) fn new(gate: Gate, endpoint: &Endpoint, addresses: &[IpAddr]) -> Result<Self, Fault> {
        let mut allowed = gate.allowed(&endpoint.host, addresses)?;
        alternate(&mut allowed);
        Ok(Self { addresses: allowed.into_iter(), port: endpoint.port, failed: None })
    }

    /// Returns the next address to try.
    pub(super) fn next(&mut self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.addresses.next()?, self.port))
    }

    /// Whether another address can still be tried.
    pub(super) fn has_next(&self) -> bool {
        self.addresses.len() > 0
    }

    /// Whether those under way should be waited for no longer than [`ATTEMPT_DELAY`].
    pub(super) fn is_urgent(&self) -> bool {
        self.has_next() || matches!(self.failed, Some(Fault::Shortage(_)))
    }

    pub(super) fn on_error(&mut self, address: SocketAddr, error: &io::Error) {
        let fault = connect_fault(address, error);
        if self.failed.is_none() || matches!(fault, Fault::Shortage(_)) {
            self.failed = Some(fault);
        }
    }

    /// Returns why there is no connection, once the race is lost.
    pub(super) fn fault(self) -> Fault {
        self.failed.unwrap_or(Fault::ConnectTimeout)
    }
}

/// Lets the two families take turns, each in its own order, beginning with that of the first address. So one family
/// that leads nowhere delays a connection once, however many addresses it has.
fn alternate(addresses: &mut [IpAddr]) {
    for at in 1..addresses.len() {
        let before = addresses.get(at - 1).map(IpAddr::is_ipv4);
        let rest = addresses.get_mut(at..).unwrap_or_default();
        if let Some(other) = rest.iter().position(|address| Some(address.is_ipv4()) != before) {
            rest.get_mut(..=other).unwrap_or_default().rotate_right(1);
        }
    }
}

/// Builds the message, which names every address and what is wrong with it.
fn denied(gate: Gate, host: &str, addresses: &[IpAddr]) -> Fault {
    let mut message = String::new();
    for address in addresses {
        let before = if message.is_empty() { "" } else { ", " };
        let what = (gate.0)(*address).unwrap_or_default();
        let _infallible = write!(message, "{before}{address} ({what})");
    }
    let whose = if host.parse::<IpAddr>().is_ok() { String::new() } else { format!("{host} is at ") };
    Fault::AddressDenied(format!("{whose}{message}, not public; --address-policy any would allow it"))
}

fn connect_fault(address: SocketAddr, error: &io::Error) -> Fault {
    use io::ErrorKind as Kind;
    if let Some(shortage) = shortage(address, error) {
        return Fault::Shortage(shortage);
    }
    if error.kind() == Kind::TimedOut {
        return Fault::ConnectTimeout;
    }
    Fault::Connect(if error.kind() == Kind::ConnectionRefused {
        format!("connection refused by {address}")
    } else if error.kind() == Kind::ConnectionReset {
        format!("connection reset by {address}")
    } else if matches!(error.kind(), Kind::HostUnreachable | Kind::NetworkUnreachable) {
        format!("{address} is unreachable")
    } else {
        format!("cannot connect to {address}: {error}")
    })
}

/// Returns the shortage that prevented a connection, if one did. Over IPv6, `EADDRNOTAVAIL` usually means that
/// this machine has no IPv6 address, which waiting does not change.
fn shortage(address: SocketAddr, error: &io::Error) -> Option<Shortage> {
    match error.raw_os_error() {
        Some(libc::EADDRNOTAVAIL | libc::EAGAIN) if address.is_ipv4() => Some(Shortage::Ports),
        _ => Shortage::of(error),
    }
}

/// Whether a read or write failed because the peer or the network ended the connection.
pub(super) fn is_reset(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe
            | Kind::NotConnected
            | Kind::UnexpectedEof
    )
}

/// What a connection has carried. This decides what its end means.
#[derive(Debug, Default)]
pub(super) struct History {
    /// A response has arrived for an earlier request.
    served: bool,
    /// A byte has arrived since the last request.
    answered: bool,
}

impl History {
    pub(super) const fn on_write(&mut self) {
        self.served |= self.answered;
        self.answered = false;
    }

    pub(super) const fn on_read(&mut self) {
        self.answered = true;
    }

    /// Handles the end of the stream or a failed read. `Ok` means that the peer closed in an orderly way.
    pub(super) fn on_end(&self, error: Option<io::Error>) -> io::Result<()> {
        match error {
            Some(error) if !is_reset(&error) => Err(error),
            // The server closed the idle connection before it saw this request.
            _ if self.served && !self.answered => Err(Fault::Stale.into_io()),
            // With `UnexpectedEof`, a TLS peer closed without a close alert. It has closed all the same.
            Some(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(Fault::Closed.into_io()),
            _ => Ok(()),
        }
    }

    /// Handles a failed write.
    pub(super) fn on_write_error(&self, error: io::Error) -> io::Error {
        match () {
            () if !is_reset(&error) => error,
            () if self.served => Fault::Stale.into_io(),
            () => Fault::Closed.into_io(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_parsed_from_the_uri() {
        for (uri, host, port, tls) in [
            ("http://a/", "a", 80, false),
            ("https://a/", "a", 443, true),
            ("https://[::1]:8443/", "::1", 8443, true),
            ("http://127.0.0.1:81/", "127.0.0.1", 81, false),
        ] {
            let got = Endpoint::of(&uri.parse().unwrap()).unwrap();
            assert_eq!(got, Endpoint { host: host.into(), port, tls }, "{uri}");
        }
    }

    #[test]
    fn only_an_end_without_an_answer_on_a_used_connection_is_stale() {
        use io::ErrorKind as Kind;
        let mut history = History::default();
        history.on_write();
        let ended = |history: &History, kind: Option<Kind>| {
            history.on_end(kind.map(io::Error::from)).map_err(|error| Fault::within(&error))
        };
        assert_eq!(ended(&history, None), Ok(()), "a connection is not idle at its first request");
        assert_eq!(ended(&history, Some(Kind::ConnectionReset)), Err(Some(Fault::Closed)));
        history.on_read();
        assert_eq!(ended(&history, None), Ok(()));
        assert_eq!(ended(&history, Some(Kind::UnexpectedEof)), Ok(()));
        history.on_write();
        for kind in [None, Some(Kind::ConnectionReset), Some(Kind::UnexpectedEof)] {
            assert_eq!(ended(&history, kind), Err(Some(Fault::Stale)), "{kind:?}");
        }
        assert_eq!(Fault::within(&history.on_write_error(Kind::BrokenPipe.into())), Some(Fault::Stale));
        history.on_read();
        assert_eq!(ended(&history, Some(Kind::ConnectionReset)), Err(Some(Fault::Closed)));
        assert_eq!(ended(&history, Some(Kind::Other)), Err(None), "other errors pass through");
    }

    #[test]
    fn shortages_of_this_machine_are_not_faults_of_the_target() {
        let (v4, v6) = ("192.0.2.1:80".parse().unwrap(), "[2001:db8::1]:80".parse().unwrap());
        for (address, code, want) in [
            (v4, libc::EMFILE, Some(Shortage::Descriptors)),
            (v6, libc::ENFILE, Some(Shortage::SystemDescriptors)),
            (v4, libc::EADDRNOTAVAIL, Some(Shortage::Ports)),
            (v4, libc::EAGAIN, Some(Shortage::Ports)),
            (v6, libc::EADDRNOTAVAIL, None),
            (v4, libc::ENOBUFS, Some(Shortage::Memory)),
            (v4, libc::ECONNREFUSED, None),
            (v4, libc::EACCES, None),
        ] {
            let fault = connect_fault(address, &io::Error::from_raw_os_error(code));
            let got = if let Fault::Shortage(shortage) = fault { Some(shortage) } else { None };
            assert_eq!(got, want, "{address} {code}");
        }
    }

    fn attempts(gate: Gate, host: &str, addresses: &[&str]) -> Result<Attempts, Fault> {
        let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Attempts::new(gate, &Endpoint { host: host.to_owned(), port: 80, tls: false }, &addresses)
    }

    #[test]
    fn only_allowed_addresses_are_tried() {
        let public = Gate::of(AddressPolicy::Public);
        let mut some = attempts(public, "a", &["10.0.0.1", "1.1.1.1", "::1", "2606:4700::1"]).unwrap();
        let tried: Vec<String> =
            std::iter::from_fn(|| some.next()).map(|address| address.to_string()).collect();
        assert_eq!(tried, ["1.1.1.1:80", "[2606:4700::1]:80"]);
        for (host, addresses, message) in [
            (
                "169.254.169.254",
                &["169.254.169.254"][..],
                "169.254.169.254 (a cloud's metadata service), not public; --address-policy any would allow it",
            ),
            (
                "intranet",
                &["10.0.0.1", "fd00::1"],
                "intranet is at 10.0.0.1 (private), fd00::1 (private), not public; --address-policy any would allow it",
            ),
        ] {
            let fault = attempts(public, host, addresses).unwrap_err();
            assert_eq!(fault, Fault::AddressDenied(message.to_owned()));
            assert!(attempts(Gate::of(AddressPolicy::Any), host, addresses).is_ok());
        }
    }

    #[test]
    fn families_take_turns_in_the_order_of_the_system() {
        for (addresses, order) in [
            ("::1 ::2 ::3 1.0.0.1 1.0.0.2", "::1 1.0.0.1 ::2 1.0.0.2 ::3"),
            ("1.0.0.1 1.0.0.2 ::1", "1.0.0.1 ::1 1.0.0.2"),
            ("1.0.0.1 ::1 ::2 ::3", "1.0.0.1 ::1 ::2 ::3"),
            ("1.0.0.1 1.0.0.2", "1.0.0.1 1.0.0.2"),
        ] {
            let mut addresses: Vec<IpAddr> = addresses.split(' ').map(|text| text.parse().unwrap()).collect();
            alternate(&mut addresses);
            assert_eq!(addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" "), order);
        }
    }

    #[test]
    fn the_first_failure_is_reported() {
        let any = Gate::of(AddressPolicy::Any);
        let mut attempts = attempts(any, "a", &["192.0.2.1", "192.0.2.2"]).unwrap();
        let (first, second) = (attempts.next().unwrap(), attempts.next().unwrap());
        assert!(!attempts.has_next() && attempts.next().is_none());
        attempts.on_error(first, &io::ErrorKind::ConnectionRefused.into());
        attempts.on_error(second, &io::ErrorKind::TimedOut.into());
        assert_eq!(attempts.fault(), Fault::Connect("connection refused by 192.0.2.1:80".into()));
    }

    #[test]
    fn a_shortage_counts_before_the_faults_of_addresses() {
        let any = Gate::of(AddressPolicy::Any);
        let mut attempts = attempts(any, "a", &["192.0.2.1", "192.0.2.2", "192.0.2.3"]).unwrap();
        let (first, second, _) = (attempts.next().unwrap(), attempts.next().unwrap(), attempts.next());
        attempts.on_error(first, &io::ErrorKind::ConnectionRefused.into());
        assert!(!attempts.is_urgent(), "the third address may answer");
        attempts.on_error(second, &io::Error::from_raw_os_error(libc::EADDRNOTAVAIL));
        assert!(attempts.is_urgent(), "the second address is to be tried again");
        assert_eq!(attempts.fault(), Fault::Shortage(Shortage::Ports));
    }
}
