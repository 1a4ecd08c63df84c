//! Races the addresses of a host for a connection, on the calling thread.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::super::connect::{ATTEMPT_DELAY, Attempts};
use super::super::fault::Fault;

/// Attempts under way, in the order in which they began.
type Running = Vec<(SocketAddr, TcpStream)>;

/// Returns the first connection. `left` tells how much time there is, or which timeout has run out.
pub(super) fn connect(
    mut attempts: Attempts,
    left: impl Fn() -> Result<Duration, Fault>,
) -> Result<TcpStream, Fault> {
    let mut running = Running::new();
    while let Some(address) = attempts.next() {
        if running.is_empty() && !attempts.is_urgent() {
            // Nothing to race with.
            match TcpStream::connect_timeout(&address, left()?) {
                Ok(stream) => return Ok(stream),
                Err(error) => attempts.on_error(address, &error),
            }
            break;
        }
        match begin(address) {
            Ok(stream) => running.push((address, stream)),
            Err(error) => attempts.on_error(address, &error),
        }
        if !running.is_empty() && attempts.has_next() {
            let patience = left()?.min(ATTEMPT_DELAY);
            if let Some(stream) = await_one(&mut running, &mut attempts, patience) {
                return Ok(stream);
            }
        }
    }
    while !running.is_empty() {
        let (is_urgent, under_way) = (attempts.is_urgent(), running.len());
        let patience = if is_urgent { left()?.min(ATTEMPT_DELAY) } else { left()? };
        if let Some(stream) = await_one(&mut running, &mut attempts, patience) {
            return Ok(stream);
        }
        if is_urgent && running.len() == under_way {
            break;
        }
    }
    left()?;
    Err(attempts.fault())
}

/// Begins a connection, and returns its socket.
fn begin(address: SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(error.into()),
    }
}

/// Waits until an attempt ends, for at most `patience`. Returns its connection if it has succeeded.
fn await_one(running: &mut Running, attempts: &mut Attempts, patience: Duration) -> Option<TcpStream> {
    let mut polled: Vec<PollFd<'_>> =
        running.iter().map(|(_, stream)| PollFd::new(stream.as_fd(), PollFlags::POLLOUT)).collect();
    // A wait of part of a millisecond would not wait at all.
    let patience = PollTimeout::try_from(patience + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
    // A signal only begins the next attempt a little sooner.
    let _ = poll(&mut polled, patience);
    let ended: Vec<bool> = polled.iter().map(|polled| polled.any().unwrap_or(false)).collect();
    let mut connected = None;
    for ((address, stream), has_ended) in std::mem::take(running).into_iter().zip(ended) {
        if !has_ended {
            running.push((address, stream));
        } else if connected.is_none() {
            match finish(stream) {
                Ok(stream) => connected = Some(stream),
                Err(error) => attempts.on_error(address, &error),
            }
        }
    }
    connected
}

fn finish(stream: TcpStream) -> io::Result<TcpStream> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    stream.set_nonblocking(false)?;
    Ok(stream)
}
