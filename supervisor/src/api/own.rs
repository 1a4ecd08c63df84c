//! Tells the service's own workers from its clients.
//!
//! A worker of a fetch job may connect to any port of this machine, if its job may. Without a token, the API trusts
//! whoever is on this machine. A worker that was taken over is not meant by that, and neither is a page that has a
//! worker fetch the API. So the API looks up who holds the other end of a connection, and serves it only if somebody
//! else does: a worker may send a request and close the connection at once, and nobody waits for that response.
//!
//! The limits of this: a program that a worker runs (`map`) is the user's own, and is not recognised. A connection
//! that the kernel redirects to another port within this machine is refused, because its two ends do not match.
//! Each look-up reads the machine's table of sockets up to the connection, and the descriptors of each worker; the
//! server makes one at a time.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Why a connection is not served.
#[derive(Debug)]
pub(super) enum Refusal {
    /// A process that this one started holds the other end.
    Worker,
    /// No process holds the other end any more.
    Nobody,
    /// The system does not say who holds it.
    Unknown(io::Error),
}

/// Returns why the connection between `peer` and `local` must not be served, if it must not.
pub(super) fn refusal(peer: SocketAddr, local: SocketAddr) -> Option<Refusal> {
    let (peer_ip, local_ip) = (peer.ip().to_canonical(), local.ip().to_canonical());
    // The two ends of a connection within this machine. Only these are in its table of sockets.
    if !(peer_ip.is_loopback() || peer_ip == local_ip) {
        return None;
    }
    let ends = [SocketAddr::new(peer_ip, peer.port()), SocketAddr::new(local_ip, local.port())];
    let held = match holder(ends) {
        Ok(None) => return Some(Refusal::Nobody),
        Ok(Some(inode)) => is_held_by_a_child(inode),
        Err(error) => Err(error),
    };
    match held {
        Ok(false) => None,
        Ok(true) => Some(Refusal::Worker),
        Err(error) => Some(Refusal::Unknown(error)),
    }
}

/// Returns the inode of the socket with these ends; `None` if there is none, or no process holds it any more.
fn holder(ends: [SocketAddr; 2]) -> io::Result<Option<u64>> {
    let found = match inode(ends)? {
        // The kernel may skip an entry while the table changes.
        None => inode(ends)?,
        found => found,
    };
    Ok(found.filter(|inode| *inode != 0))
}

/// Finds the socket with these ends. One that no process holds has the inode 0.
fn inode(ends: [SocketAddr; 2]) -> io::Result<Option<u64>> {
    if let [IpAddr::V4(peer), IpAddr::V4(local)] = ends.map(|end| end.ip()) {
        let [first, second] = ends.map(|end| end.port());
        let ends = [shown(&peer.octets(), first), shown(&local.octets(), second)];
        if let Some(inode) = inode_in("/proc/self/net/tcp", &ends)? {
            return Ok(Some(inode));
        }
    }
    // A socket for IPv6 may have a connection over IPv4.
    inode_in("/proc/self/net/tcp6", &ends.map(|end| shown(&v6(end.ip()).octets(), end.port())))
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// Returns an address as the tables have it: words of four bytes in the order of this machine, then the port.
fn shown(address: &[u8], port: u16) -> String {
    let (words, _) = address.as_chunks();
    let words: String = words.iter().map(|word| format!("{:08X}", u32::from_ne_bytes(*word))).collect();
    format!("{words}:{port:04X}")
}

fn inode_in(table: &str, ends: &[String; 2]) -> io::Result<Option<u64>> {
    let mut table = match fs::File::open(table) {
        Ok(table) => BufReader::new(table),
        // A kernel without IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut line = String::new();
    while table.read_line(&mut line)? > 0 {
        let mut words = line.split_ascii_whitespace().skip(1);
        if ends.iter().all(|end| words.next() == Some(end)) {
            return Ok(words.nth(6).and_then(|inode| inode.parse().ok()));
        }
        line.clear();
    }
    Ok(None)
}

/// Whether a process that this one started holds this socket.
fn is_held_by_a_child(inode: u64) -> io::Result<bool> {
    let link = format!("socket:[{inode}]");
    for thread in fs::read_dir("/proc/self/task")? {
        // A thread that has ended has no children.
        let Some(children) = if_there(fs::read_to_string(thread?.path().join("children")))? else { continue };
        for process in children.split_ascii_whitespace() {
            if holds(process, &link)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn holds(process: &str, link: &str) -> io::Result<bool> {
    let Some(descriptors) = if_there(fs::read_dir(format!("/proc/{process}/fd")))? else { return Ok(false) };
    for descriptor in descriptors {
        let Some(descriptor) = if_there(descriptor)? else { return Ok(false) };
        if if_there(fs::read_link(descriptor.path()))?.is_some_and(|target| target.as_os_str() == link) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `None` if what is read has gone: a process, a thread or a descriptor.
fn if_there<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn an_address_is_shown_as_the_kernel_writes_it() {
        // Little-endian machines print each word reversed.
        if cfg!(target_endian = "little") {
            assert_eq!(shown(&[127, 0, 0, 1], 8080), "0100007F:1F90");
            let [loopback, mapped] =
                ["::1", "::ffff:127.0.0.1"].map(|text| text.parse::<Ipv6Addr>().unwrap());
            assert_eq!(shown(&loopback.octets(), 80), "00000000000000000000000001000000:0050");
            assert_eq!(shown(&mapped.octets(), 80), "0000000000000000FFFF00000100007F:0050");
        }
    }

    #[test]
    fn only_a_connection_that_another_process_holds_is_of_no_worker() {
        for (listens, connects) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "127.0.0.1")]
        {
            let Ok(listener) = TcpListener::bind(listens) else { continue };
            let local = SocketAddr::new(connects.parse().unwrap(), listener.local_addr().unwrap().port());
            let client = TcpStream::connect(local).unwrap();
            let peer = client.local_addr().unwrap();
            assert!(refusal(peer, local).is_none(), "this process holds it");
            let held = Stdio::from(OwnedFd::from(client));
            let mut child = Command::new("cat").stdin(held).stdout(Stdio::null()).spawn().unwrap();
            assert!(matches!(refusal(peer, local), Some(Refusal::Worker)), "a child holds it");
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(matches!(refusal(peer, local), Some(Refusal::Nobody)), "nobody holds it");
        }
    }

    /// A worker may send a request, close the connection, and end.
    #[test]
    fn a_closed_connection_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(local).unwrap();
        let peer = client.local_addr().unwrap();
        client.write_all(b"POST /v1/jobs HTTP/1.1\r\n\r\n").unwrap();
        drop(client);
        assert!(
            matches!(refusal(peer, local), Some(Refusal::Nobody)),
            "the kernel keeps it without a process"
        );
        let (server, _) = listener.accept().unwrap();
        drop(server);
        assert!(matches!(refusal(peer, local), Some(Refusal::Nobody)), "the kernel does not know it");
    }

    #[test]
    fn another_machine_has_no_workers_of_ours() {
        assert!(refusal("192.0.2.1:4242".parse().unwrap(), "192.0.2.2:80".parse().unwrap()).is_none());
        assert!(refusal("192.0.2.2:1".parse().unwrap(), "192.0.2.2:80".parse().unwrap()).is_some());
    }
}
