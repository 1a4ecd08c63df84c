//! One worker's channels: a reader and a writer thread each.
//!
//! There is no receiver set: a worker that is stopped in the middle of a large message
//! holds up only its own reader.
//!
//! Each message passes the [`Gate`] before ipc-channel receives it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender};
use shared::codec::{self, Joiner};
use shared::protocol::{Bootstrap, FromWorker, ToWorker};
use supervisor_core::pool::Seat;

use super::door::{self, Absent, Door, Gate};

/// Pieces of a message that says something to the user: room for a command line and the end of standard error.
const PIECES_MAX: u32 = 8;

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
    /// Tells the reader which process may connect.
    expectation: Sender<u32>,
    /// Tells the reader which seat the worker has.
    adoption: Sender<(Seat, Sender<Heard>)>,
}

impl Channel {
    /// Opens the socket that the worker will connect to, and starts the reader. Nobody may connect before
    /// [`Self::expect`], and messages of the worker are not read before [`Self::adopt`].
    pub(super) fn open() -> io::Result<Self> {
        let door = Door::open()?;
        let server_name = door.name().to_owned();
        let (outbox, queue) = unbounded();
        let (expectation, expected) = bounded(1);
        let (adoption, adopted) = bounded(1);
        let connected = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&connected);
        thread::Builder::new().name("read".to_owned()).spawn(move || {
            // Dropped before there was a process.
            let Ok(worker) = expected.recv() else { return };
            let welcomed = door.welcome(worker, || flag.store(true, Ordering::Release));
            // Dropped before it got a seat.
            let Ok((seat, heard)) = adopted.recv() else { return };
            let ending = Ending { seat, heard };
            let last = match welcomed {
                Ok((bootstrap, gate)) => converse(seat, bootstrap, gate, queue, &ending.heard),
                Err(Absent::Gone) => None,
                Err(Absent::Foreign(why)) => Some(why),
            };
            if let Some(why) = last {
                let _ = ending.heard.send(Heard::Malformed(seat, why));
            }
        })?;
        Ok(Self { outbox, server_name, connected, expectation, adoption })
    }

    /// Lets the process `worker` connect. Called once.
    pub(super) fn expect(&self, worker: u32) {
        let _ = self.expectation.try_send(worker);
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
            let _ = door::ring(&self.server_name);
        }
    }
}

/// Reports the end of a channel when its reader ends, whatever ended that.
struct Ending {
    seat: Seat,
    heard: Sender<Heard>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.heard.send(Heard::Eof(self.seat));
    }
}

/// Reads until the channel ends. Returns why it had to stop earlier, if it had to.
fn converse(
    seat: Seat,
    bootstrap: Bootstrap,
    gate: Gate,
    queue: Receiver<ToWorker>,
    heard: &Sender<Heard>,
) -> Option<String> {
    let Bootstrap { to_worker, from_worker } = bootstrap;
    let writer = thread::Builder::new().name("write".to_owned());
    if let Err(error) = writer.spawn(move || write_all(&to_worker, &queue)) {
        return Some(format!("no thread to write to it: {error}"));
    }
    read_all(seat, &gate, &from_worker, heard).err()
}

/// Reads to the end of the channel.
///
/// # Errors
/// Why it stops earlier.
fn read_all(
    seat: Seat,
    gate: &Gate,
    from_worker: &IpcBytesReceiver,
    heard: &Sender<Heard>,
) -> Result<(), String> {
    let (mut joiner, mut pieces) = (Joiner::default(), 0_u32);
    while gate.look()?
        && let Ok(piece) = from_worker.recv()
    {
        pieces = pieces.saturating_add(1);
        let Some(message) = joiner.push(&piece).map_err(|error| error.to_string())? else { continue };
        check(&message, std::mem::take(&mut pieces))?;
        if heard.send(Heard::Message(seat, message)).is_err() {
            break;
        }
    }
    Ok(())
}

/// Checks what no decoder does.
///
/// # Errors
/// What is wrong with it.
fn check(message: &FromWorker, pieces: u32) -> Result<(), String> {
    let (may_be_long, adds_up) = match message {
        FromWorker::Batch(batch) => (true, batch.adds_up()),
        FromWorker::Said(_) => (true, true),
        FromWorker::Hello(_) | FromWorker::Ready { .. } | FromWorker::Refused(_) | FromWorker::GaveUp(_) => {
            (false, true)
        }
    };
    if !adds_up {
        return Err("the lengths of its records do not add up to what it sent".to_owned());
    }
    if pieces > PIECES_MAX && !may_be_long {
        return Err("it sent a message that is far too long".to_owned());
    }
    Ok(())
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
    use shared::protocol::Batch;

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
    fn messages_that_decode_may_still_be_none_of_a_worker() {
        let unclaimed = FromWorker::Batch(Batch { lines: vec![0], ..Batch::default() });
        let batch = FromWorker::Batch(Batch::default());
        let said = FromWorker::Said("long".to_owned());
        let refused = FromWorker::Refused("long".to_owned());
        for (message, pieces, passes) in [
            (&unclaimed, 1, false),
            (&batch, 1, true),
            (&batch, 9, true),
            (&said, 9, true),
            (&refused, PIECES_MAX, true),
            (&refused, PIECES_MAX + 1, false),
        ] {
            assert_eq!(check(message, pieces).is_ok(), passes, "{message:?} in {pieces} pieces");
        }
    }

    #[test]
    fn a_worker_that_dies_before_it_says_anything_leaves_no_socket() {
        let before = sockets();
        for connects in [false, true].repeat(20) {
            let channel = Channel::open().unwrap();
            // This process stands for the worker.
            channel.expect(if connects { std::process::id() } else { 1 });
            if connects {
                door::ring(channel.server_name()).unwrap();
                until("nobody listens any more", || !Path::new(channel.server_name()).exists());
            }
            channel.release();
        }
        until("all are closed", || sockets() <= before);
    }
}
