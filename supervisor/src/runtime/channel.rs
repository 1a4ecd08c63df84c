//! One worker's channels: a reader and a writer thread each.
//!
//! There is no receiver set: ipc-channel blocks until the rest of a large message has
//! arrived, so one stopped worker would hold up all the others. Here it holds up only
//! its own reader.

use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, IpcOneShotServer};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use shared::codec::{self, Joiner};
use shared::protocol::{Bootstrap, FromWorker, ToWorker};
use supervisor_core::pool::Seat;

/// What a reader thread reports.
#[derive(Debug)]
pub(super) enum Heard {
    /// A message of the worker.
    Message(Seat, FromWorker),
    /// A message that cannot be decoded; nothing more is read from the worker.
    Malformed(Seat, String),
    /// The channel has ended.
    Eof(Seat),
}

/// The supervisor's side of one worker's channels.
#[derive(Debug)]
pub(super) struct Channel {
    /// For the writer thread. What is queued here is bounded by the pool's credit.
    outbox: Sender<ToWorker>,
    server_name: String,
    connected: Arc<AtomicBool>,
    /// Tells the reader which seat the worker has.
    adoption: Sender<(Seat, Sender<Heard>)>,
}

impl Channel {
    /// Opens the one-shot server that the worker will connect to, and starts the threads. Messages of
    /// the worker are not read before [`Self::adopt`].
    pub(super) fn open() -> io::Result<Self> {
        let (server, server_name) = IpcOneShotServer::<Bootstrap>::new()?;
        let (outbox, queue) = unbounded();
        let (adoption, adopted) = bounded(1);
        let connected = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&connected);
        thread::Builder::new().name("read".to_owned()).spawn(move || {
            // Only the bootstrap is kept: the receiver beside it would be inherited by workers started later.
            let accepted = server.accept().map(|(_, bootstrap)| bootstrap);
            flag.store(accepted.is_ok(), Ordering::Release);
            // Dropped before it got a seat.
            let Ok((seat, heard)) = adopted.recv() else { return };
            let last = match accepted {
                Ok(bootstrap) => converse(seat, bootstrap, queue, &heard),
                // It died before it connected, and the server was released.
                Err(_) => None,
            };
            if let Some(why) = last {
                let _ = heard.send(Heard::Malformed(seat, why));
            }
            let _ = heard.send(Heard::Eof(seat));
        })?;
        Ok(Self { outbox, server_name, connected, adoption })
    }

    /// Gives the worker a seat: from here on its messages go to `heard`. Called once.
    pub(super) fn adopt(&self, seat: Seat, heard: Sender<Heard>) {
        let _ = self.adoption.try_send((seat, heard));
    }

    /// Returns the name that the worker connects to.
    pub(super) fn server_name(&self) -> &str {
        &self.server_name
    }

    /// Queues a message. Messages to a dead worker are dropped; the reader reports its end.
    pub(super) fn send(&self, message: ToWorker) {
        let _ = self.outbox.send(message);
    }

    /// Ends a reader that still waits for a worker that will never connect.
    pub(super) fn release(&self) {
        if !self.connected.load(Ordering::Acquire) {
            // If nobody listens any more, there is nobody to wake.
            let _ = unblock_accept(&self.server_name);
        }
    }
}

/// Connects and disconnects. Not with ipc-channel, which never closes the socket of a refused connection.
fn unblock_accept(server_name: &str) -> nix::Result<()> {
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(server_name)?)
}

/// Reads until the channel ends. Returns why it had to stop earlier, if it had to.
fn converse(
    seat: Seat,
    bootstrap: Bootstrap,
    queue: Receiver<ToWorker>,
    heard: &Sender<Heard>,
) -> Option<String> {
    let Bootstrap { to_worker, from_worker } = bootstrap;
    let writer = thread::Builder::new().name("write".to_owned());
    if let Err(error) = writer.spawn(move || write_all(&to_worker, &queue)) {
        return Some(format!("no thread to write to it: {error}"));
    }
    read_all(seat, &from_worker, heard)
}

fn read_all(seat: Seat, from_worker: &IpcBytesReceiver, heard: &Sender<Heard>) -> Option<String> {
    let mut joiner = Joiner::default();
    while let Ok(piece) = from_worker.recv() {
        match joiner.push(&piece) {
            Ok(Some(message)) => heard.send(Heard::Message(seat, message)).ok()?,
            Ok(None) => {}
            Err(error) => return Some(error.to_string()),
        }
    }
    None
}

fn write_all(to_worker: &IpcBytesSender, queue: &Receiver<ToWorker>) {
    let mut scratch = Vec::new();
    for message in queue {
        let sent = codec::send(&message, &mut scratch, |piece| to_worker.send(piece));
        if !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use shared::clock;

    use super::*;

    fn sockets() -> usize {
        let links =
            fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    }

    fn until(what: &str, condition: impl Fn() -> bool) {
        let deadline = clock::now() + Duration::from_secs(10);
        while !condition() {
            assert!(clock::now() < deadline, "{what}");
            thread::yield_now();
        }
    }

    #[test]
    fn a_worker_that_dies_before_it_says_anything_leaves_no_socket() {
        let before = sockets();
        for connects in [false, true].repeat(20) {
            let channel = Channel::open().unwrap();
            if connects {
                unblock_accept(channel.server_name()).unwrap();
                until("nobody listens any more", || !Path::new(channel.server_name()).exists());
            }
            channel.release();
        }
        until("all are closed", || sockets() <= before);
    }
}
