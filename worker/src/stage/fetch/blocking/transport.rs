//! A connection for `ureq`, plain or TLS. Every read and write ends at one deadline, and every response arrives in
//! a form that `ureq` reads.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, recv};
use rustls::{ClientConnection, StreamOwned};
use shared::clock;
use ureq::unversioned::transport::{Buffers, LazyBuffers, NextTimeout, Transport};

use super::super::connect::{History, is_reset};
use super::super::fault::Fault;
use super::super::repair::{Repair, Slot, TIDY_BYTES_MAX};

/// Maximum bytes per read. A head that is passed on unchanged must fit, because `ureq` needs it whole.
const INPUT_BYTES: usize = 2 * TIDY_BYTES_MAX;

/// Initial size of the buffer for a request head. Most heads are a few hundred bytes; the buffer grows for longer
/// ones.
const OUTPUT_BYTES: usize = 16 * 1024;

/// Which timeout a deadline belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeoutKind {
    /// The whole target.
    Target,
    /// The connection attempt.
    Connect,
    /// A body that is read only to keep the connection.
    Drain,
}

/// The deadline of the target under way, and what is known of its request and response. The client and its
/// connections share it; one target at a time uses it.
pub(super) struct Watch {
    limit: Mutex<(Instant, TimeoutKind)>,
    /// Maximum size of the request head under way.
    request_bytes: AtomicUsize,
    /// The real head of the response, if `ureq` was given a replacement.
    slot: Slot,
    /// Whether to note the peer of each request.
    names_peers: AtomicBool,
    peer: Mutex<Option<IpAddr>>,
    /// When the newest connection could take its first request.
    opened: Mutex<Instant>,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            limit: Mutex::new((clock::now(), TimeoutKind::Target)),
            request_bytes: AtomicUsize::new(0),
            slot: Slot::default(),
            names_peers: AtomicBool::new(false),
            peer: Mutex::new(None),
            opened: Mutex::new(clock::now()),
        }
    }

    /// Notes that a connection has been opened.
    pub(super) fn note_opened(&self) {
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = clock::now();
    }

    /// Returns when the newest connection was opened.
    pub(super) fn opened(&self) -> Instant {
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the deadline for reads and writes.
    pub(super) fn set(&self, deadline: Instant, kind: TimeoutKind) {
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner) = (deadline, kind);
    }

    pub(super) fn limit(&self) -> (Instant, TimeoutKind) {
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the time left, or the fault of the timeout that has run out.
    pub(super) fn left(&self) -> Result<Duration, Fault> {
        let (deadline, kind) = self.limit();
        let left = deadline.saturating_duration_since(clock::now());
        match kind {
            _ if !left.is_zero() => Ok(left),
            TimeoutKind::Target => Err(Fault::Timeout),
            TimeoutKind::Connect => Err(Fault::ConnectTimeout),
            TimeoutKind::Drain => Err(Fault::Closed),
        }
    }

    /// From now on, notes the peer of each request.
    pub(super) fn name_peers(&self) {
        self.names_peers.store(true, Ordering::Relaxed);
    }

    /// Returns the peer of the request under way, if it is noted.
    pub(super) fn peer(&self) -> Option<IpAddr> {
        *self.peer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the peer of a request; `None` if it goes to a proxy.
    fn note_peer(&self, stream: Option<&TcpStream>) {
        if self.names_peers.load(Ordering::Relaxed) {
            let peer = stream.and_then(|stream| stream.peer_addr().ok()).map(|peer| peer.ip());
            *self.peer.lock().unwrap_or_else(PoisonError::into_inner) = peer;
        }
    }

    /// Announces a request whose head has up to `bytes` bytes.
    pub(super) fn expect_request(&self, bytes: usize) {
        self.request_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Returns the slot for the response's real head.
    pub(super) const fn slot(&self) -> &Slot {
        &self.slot
    }
}

/// A socket whose calls end at the watch's deadline.
pub(super) struct Socket {
    stream: TcpStream,
    watch: Arc<Watch>,
    read_timeout: Duration,
    write_timeout: Duration,
    /// Whether the peer is the server, and not a proxy.
    is_server: bool,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, watch: Arc<Watch>, is_server: bool) -> Self {
        Self { stream, watch, read_timeout: Duration::MAX, write_timeout: Duration::MAX, is_server }
    }

    /// Whether the connection is open and has nothing to read, as an idle connection should.
    fn is_quiet(&self) -> bool {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        matches!(recv(self.stream.as_raw_fd(), &mut [0], flags), Err(nix::Error::EAGAIN))
    }
}

/// Returns the new timeout for the kernel, if it must change. A change is a system call. So a timeout that is
/// slightly too long stays, and one that is too short is renewed when it fires.
fn correction(set: Duration, left: Duration) -> Option<Duration> {
    let slack = left / 64 + Duration::from_millis(2);
    (set > left + slack).then(|| left.max(Duration::from_millis(1)))
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.watch.left().map_err(Fault::into_io)?;
            if let Some(timeout) = correction(self.read_timeout, left) {
                self.stream.set_read_timeout(Some(timeout))?;
                self.read_timeout = timeout;
            }
            match self.stream.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.read_timeout = Duration::MAX,
                done => return done,
            }
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        loop {
            let left = self.watch.left().map_err(Fault::into_io)?;
            if let Some(timeout) = correction(self.write_timeout, left) {
                self.stream.set_write_timeout(Some(timeout))?;
                self.write_timeout = timeout;
            }
            match self.stream.write(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.write_timeout = Duration::MAX,
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a connection runs over.
pub(super) enum Link {
    /// A socket of its own.
    Socket(Socket),
    /// TLS to a proxy.
    Secured(Box<StreamOwned<ClientConnection, Socket>>),
}

impl Link {
    const fn socket(&self) -> &Socket {
        match self {
            Self::Socket(socket) => socket,
            Self::Secured(stream) => &stream.sock,
        }
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.read(buffer),
            Self::Secured(stream) => stream.read(buffer),
        }
    }
}

impl Write for Link {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.write(buffer),
            Self::Secured(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Socket(socket) => socket.flush(),
            Self::Secured(stream) => stream.flush(),
        }
    }
}

pub(super) enum Channel {
    Plain(Link),
    Tls(Box<StreamOwned<ClientConnection, Link>>),
}

impl Channel {
    const fn socket(&self) -> &Socket {
        match self {
            Self::Plain(link) => link.socket(),
            Self::Tls(stream) => stream.sock.socket(),
        }
    }
}

impl Read for Channel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(link) => link.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Channel {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(link) => link.write(buffer),
            Self::Tls(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(link) => link.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// The buffers between `ureq` and the connection. `ureq` needs a request head in one piece.
struct Space {
    input: LazyBuffers,
    output: Vec<u8>,
    watch: Arc<Watch>,
}

impl Space {
    fn new(watch: Arc<Watch>) -> Self {
        // `ureq` writes to `output`, but an empty buffer is not allowed.
        Self { input: LazyBuffers::new(INPUT_BYTES, 1), output: Vec::new(), watch }
    }

    fn make_room(&mut self) {
        let wanted = OUTPUT_BYTES.max(self.watch.request_bytes.load(Ordering::Relaxed));
        if self.output.len() < wanted {
            self.output.resize(wanted, 0);
        }
    }
}

impl Buffers for Space {
    fn output(&mut self) -> &mut [u8] {
        self.make_room();
        &mut self.output
    }

    fn input(&self) -> &[u8] {
        self.input.input()
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.input.input_append_buf()
    }

    fn input_appended(&mut self, amount: usize) {
        self.input.input_appended(amount);
    }

    fn input_consume(&mut self, amount: usize) {
        self.input.input_consume(amount);
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        self.make_room();
        (self.input.tmp_and_output().0, &mut self.output)
    }

    fn can_use_input(&self) -> bool {
        self.input.can_use_input()
    }
}

/// A connection in `ureq`'s pool.
pub(super) struct Pooled {
    channel: Channel,
    space: Space,
    history: History,
    repair: Repair,
    /// What request targets begin with, if a proxy reads them: `http://host:port`.
    absolute: Option<String>,
    /// What is written next begins a request.
    begins_request: bool,
}

impl Pooled {
    pub(super) fn new(channel: Channel, absolute: Option<String>) -> Self {
        let watch = Arc::clone(&channel.socket().watch);
        let repair = Repair::new(watch.slot.clone());
        let (space, history) = (Space::new(watch), History::default());
        Self { channel, space, history, repair, absolute, begins_request: true }
    }

    /// Reads until `ureq` can have something. Returns `false` at the end of the connection.
    fn read(&mut self) -> io::Result<bool> {
        loop {
            let room = self.space.input_append_buf();
            let kept = self.repair.take(room.len()).map_err(Fault::into_io)?;
            if !kept.is_empty() {
                room.iter_mut().zip(kept).for_each(|(to, from)| *to = *from);
                let bytes = kept.len();
                self.space.input_appended(bytes);
                return Ok(true);
            }
            let read = match self.channel.read(room) {
                Ok(0) => return self.end(None),
                Err(error) => return self.end(Some(error)),
                Ok(read) => read,
            };
            self.history.on_read();
            if self.repair.on_read(room.get(..read).unwrap_or_default()) {
                self.space.input_appended(read);
                return Ok(true);
            }
        }
    }

    /// `ureq` takes a reset for the end of a body, and accepts a chunked body without an end. The faults returned
    /// here tell these cases apart.
    fn end(&self, error: Option<io::Error>) -> io::Result<bool> {
        self.history.on_end(error)?;
        self.repair.on_end().map_err(Fault::into_io)?;
        Ok(false)
    }
}

/// Returns a request head whose target begins with `origin` (RFC 9112, 3.2.2).
fn absolute_form(origin: &str, head: &[u8]) -> Option<Vec<u8>> {
    let method = head.iter().position(|byte| *byte == b' ')? + 1;
    let (method, rest) = head.split_at_checked(method)?;
    Some([method, origin.as_bytes(), rest].concat())
}

impl Transport for Pooled {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.space
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        self.history.on_write();
        let socket = self.channel.socket();
        socket.watch.note_peer(Some(&socket.stream).filter(|_| socket.is_server));
        let output = self.space.output().get(..amount).unwrap_or_default();
        self.repair.on_write(output);
        let head = self.absolute.as_ref().filter(|_| self.begins_request);
        self.begins_request = false;
        let head = head.and_then(|origin| absolute_form(origin, output));
        let written = self.channel.write_all(head.as_deref().unwrap_or(output));
        match written.and_then(|()| self.channel.flush()) {
            // A server may answer before it has read all, and close. Its answer can still be read; if there is none,
            // the read says so.
            Err(error) if is_reset(&error) => Ok(()),
            written => Ok(written?),
        }
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        let is_input = self.read()?;
        self.begins_request = true;
        if !is_input {
            self.space.input_appended(0);
        }
        Ok(is_input)
    }

    fn is_open(&mut self) -> bool {
        !self.repair.is_over() && self.channel.socket().is_quiet()
    }

    fn is_tls(&self) -> bool {
        matches!(self.channel, Channel::Tls(_))
    }
}

impl fmt::Debug for Pooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pooled").field("tls", &self.is_tls()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_timeout_changes_only_when_it_would_fire_late() {
        let ms = Duration::from_millis;
        for (set, left, want) in [
            (Duration::MAX, ms(30_000), Some(ms(30_000))),
            (ms(30_000), ms(29_990), None),
            (ms(30_000), ms(20_000), Some(ms(20_000))),
            (ms(20_000), ms(30_000), None),
            (ms(50), Duration::from_micros(10), Some(ms(1))),
        ] {
            assert_eq!(correction(set, left), want, "{set:?} with {left:?} left");
        }
    }
}
