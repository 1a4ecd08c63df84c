//! Tells the service's own workers from its clients.
//!
//! A worker of a fetch job may connect to any port of this machine, if its job may. Without a token, the API trusts
//! whoever is on this machine. A worker that was taken over is not meant by that, and neither is a page that has a
//! worker fetch the API. So the API looks up who holds the other end of a connection.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// Whether a process that this one started holds the other end of a connection between `peer` and `local`. If the
/// system does not say who does, nobody of ours does.
pub(super) fn is_of_a_worker(peer: SocketAddr, local: SocketAddr) -> bool {
    let (peer_ip, local_ip) = (peer.ip().to_canonical(), local.ip().to_canonical());
    // The two ends of a connection within this machine. Only these are in its table of sockets.
    if !(peer_ip.is_loopback() || peer_ip == local_ip) {
        return false;
    }
    let ends = [SocketAddr::new(peer_ip, peer.port()), SocketAddr::new(local_ip, local.port())];
    let Some(inode) = ["tcp", "tcp6"].iter().find_map(|table| inode(table, ends)) else { return false };
    let link = format!("socket:[{inode}]");
    children().any(|process| holds(process, &link))
}

/// Finds the socket with these ends.
fn inode(table: &str, ends: [SocketAddr; 2]) -> Option<u64> {
    let table = BufReader::new(fs::File::open(Path::new("/proc/self/net").join(table)).ok()?);
    table.lines().skip(1).map_while(Result::ok).find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let found = [words.nth(1)?, words.next()?];
        let inode = words.nth(6)?.parse().ok()?;
        (found.map(address) == ends.map(Some)).then_some(inode)
    })
}

/// Reads an address as the table has it: words of four bytes in the order of this machine, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let words = address.as_bytes().chunks(8).map(|word| {
        let word = std::str::from_utf8(word).ok().filter(|word| word.len() == 8)?;
        let word = u32::from_str_radix(word, 16).ok()?;
        Some(word.to_ne_bytes())
    });
    let bytes = words.collect::<Option<Vec<_>>>()?.concat();
    let address: IpAddr = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(v4) => v4.into(),
        Err(_) => <[u8; 16]>::try_from(bytes).ok()?.into(),
    };
    Some(SocketAddr::new(address.to_canonical(), u16::from_str_radix(port, 16).ok()?))
}

/// The processes that this one started.
fn children() -> impl Iterator<Item = u32> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
}

fn holds(process: u32, link: &str) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    descriptors
        .filter_map(|number| fs::read_link(number.path()).ok())
        .any(|target| target.as_os_str() == link)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn an_address_is_read_as_the_kernel_writes_it() {
        // Little-endian machines print each word reversed.
        if cfg!(target_endian = "little") {
            assert_eq!(address("0100007F:1F90"), Some("127.0.0.1:8080".parse().unwrap()));
            assert_eq!(address("00000000000000000000000001000000:0050"), Some("[::1]:80".parse().unwrap()));
            let mapped = address("0000000000000000FFFF00000100007F:0050");
            assert_eq!(mapped, Some("127.0.0.1:80".parse().unwrap()));
        }
        for nonsense in ["", "0100007F", "0100007F:", "01007F:50", "0100007G:50", "é100007:50"] {
            assert_eq!(address(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn only_a_connection_that_a_child_holds_is_of_a_worker() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(any) else { continue };
            let local = listener.local_addr().unwrap();
            let client = TcpStream::connect(local).unwrap();
            let peer = client.local_addr().unwrap();
            assert!(!is_of_a_worker(peer, local), "this process holds it");
            let held = Stdio::from(OwnedFd::from(client));
            let mut child = Command::new("cat").stdin(held).stdout(Stdio::null()).spawn().unwrap();
            assert!(is_of_a_worker(peer, local), "a child holds it");
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(!is_of_a_worker(peer, local), "nobody holds it");
        }
    }
}
