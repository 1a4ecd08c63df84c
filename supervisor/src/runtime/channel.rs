//! One worker's channels: a reader and a writer thread each.
//!
//! There is no receiver set: a worker that is stopped in the middle of a large message
//! holds up only its own reader.
//!
//! ipc-channel sends, and the [`Gate`] receives.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use ipc_channel::ipc::IpcBytesSender;
use shared::codec::{self, Joiner, MESSAGE_BYTES_MAX};
use shared::protocol::{COOKIES_MAX, FromWorker, ToWorker};
use shared::since::SLICE_NOTES_BYTES_MAX;
use supervisor_core::pool::Seat;

use super::door::{self, Absent, Door, Gate};
use crate::shortage;
use crate::since::Earlier;

/// Most bytes of a message that says something to the user: room for a command line and the end of standard error.
const SHORT_BYTES_MAX: usize = 8 * MESSAGE_BYTES_MAX;

/// Targets whose notes are looked up at once. A note may be large, so those of a slice together may be too large.
const NOTES_AT_ONCE: usize = 32;

/// What a reader thread reports.
#[derive(Debug)]
pub(super) enum Heard {
    /// A message of the worker.
    Message(Seat, FromWorker),
    /// A message that cannot be decoded; nothing more is read from the worker.
    Malformed(Seat, String),
    /// There is no channel to the worker, through no fault of an input.
    Unreachable { seat: Seat, why: String, lacks_descriptors: bool },
    /// The channel has ended.
    Eof(Seat),
}

/// Who is told what a worker says.
#[derive(Debug)]
pub(super) struct Listener {
    /// Where it goes.
    pub(super) heard: Sender<Heard>,
    /// Most bytes of one message of the worker.
    pub(super) message_bytes_max: usize,
    /// What an earlier run knows of pages, if they are compared with it. Looked up by the writer, so that the disk does
    /// not stop the loop.
    pub(super) earlier: Option<Arc<Earlier>>,
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
    adoption: Sender<(Seat, Listener)>,
}

impl Channel {
    /// Opens the socket that the worker will connect to, and starts both threads. Nobody may connect before
    /// [`Self::expect`], and messages of the worker are not read before [`Self::adopt`].
    pub(super) fn open() -> io::Result<Self> {
        let door = Door::open()?;
        let server_name = door.name().to_owned();
        let (outbox, queue) = unbounded();
        let (expectation, expected) = bounded(1);
        let (adoption, adopted) = bounded(1);
        let (connection, writable) = bounded::<(IpcBytesSender, Option<Arc<Earlier>>)>(1);
        let connected = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&connected);
        thread::Builder::new().name("write".to_owned()).spawn(move || {
            if let Ok((to_worker, earlier)) = writable.recv() {
                write_all(&to_worker, &queue, earlier.as_deref());
            }
        })?;
        thread::Builder::new().name("read".to_owned()).spawn(move || {
            // Dropped before there was a process.
            let Ok(worker) = expected.recv() else { return };
            let welcomed = door.welcome(worker, || flag.store(true, Ordering::Release));
            // Dropped before it got a seat.
            let Ok((seat, listener)) = adopted.recv() else { return };
            let ending = Ending { seat, listener };
            let last = match welcomed {
                Ok((to_worker, gate)) => {
                    let _ = connection.try_send((to_worker, ending.listener.earlier.clone()));
                    let read = read_all(seat, gate, &ending.listener);
                    read.err().map(|why| Heard::Malformed(seat, why))
                }
                Err(Absent::Gone) => None,
                Err(Absent::Foreign(why)) => Some(Heard::Malformed(seat, why)),
                Err(Absent::Unreachable(why)) => {
                    let lacks_descriptors = shortage::now().is_some();
                    Some(Heard::Unreachable { seat, why, lacks_descriptors })
                }
            };
            if let Some(last) = last {
                let _ = ending.listener.heard.send(last);
            }
        })?;
        Ok(Self { outbox, server_name, connected, expectation, adoption })
    }

    /// Lets the process `worker` connect. Called once.
    pub(super) fn expect(&self, worker: u32) {
        let _ = self.expectation.try_send(worker);
    }

    /// Gives the worker a seat: from here on its messages go to `listener`. Called once.
    pub(super) fn adopt(&self, seat: Seat, listener: Listener) {
        let _ = self.adoption.try_send((seat, listener));
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
    listener: Listener,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.listener.heard.send(Heard::Eof(self.seat));
    }
}

/// Reads to the end of the channel.
///
/// # Errors
/// Why it stops earlier.
fn read_all(seat: Seat, mut gate: Gate, listener: &Listener) -> Result<(), String> {
    let limit = |start: &[u8]| {
        if FromWorker::may_be_long(start) { listener.message_bytes_max } else { SHORT_BYTES_MAX }
    };
    let mut joiner = Joiner::default();
    while let Some(piece) = gate.receive()? {
        let joined = joiner.push_below(piece, limit).map_err(|error| error.to_string())?;
        let Some(message) = joined else { continue };
        check(&message)?;
        if listener.heard.send(Heard::Message(seat, message)).is_err() {
            break;
        }
    }
    Ok(())
}

/// Checks what no decoder does.
///
/// # Errors
/// What is wrong with it.
fn check(message: &FromWorker) -> Result<(), String> {
    if let FromWorker::Batch(batch) = message
        && !batch.adds_up()
    {
        return Err("the lengths of its records do not add up to what it sent".to_owned());
    }
    if let FromWorker::Cookies { set: cookies, .. } = message
        && cookies.len() > COOKIES_MAX
    {
        return Err(format!("it sent {} cookies in one message; at most {COOKIES_MAX} fit", cookies.len()));
    }
    Ok(())
}

fn write_all(to_worker: &IpcBytesSender, queue: &Receiver<ToWorker>, earlier: Option<&Earlier>) {
    let mut scratch = Vec::new();
    let mut send = |message: &ToWorker| {
        let sent = codec::send(message, &mut scratch, |piece| to_worker.send(piece));
        matches!(sent, Ok(Ok(())))
    };
    for message in queue {
        if let (Some(earlier), ToWorker::Slice(slice)) = (earlier, &message) {
            let mut room = SLICE_NOTES_BYTES_MAX;
            for targets in slice.targets.chunks(NOTES_AT_ONCE) {
                let notes = earlier.notes(targets, &mut room);
                if !notes.is_empty() && !send(&ToWorker::Notes(notes)) {
                    return;
                }
            }
        }
        if !send(&message) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use ipc_channel::ipc::{IpcSender, bytes_channel};
    use shared::clock;
    use shared::cookies::Cookie;
    use shared::protocol::{Batch, Bootstrap, Outcome, Verdict};

    use super::*;

    const SEAT: Seat = Seat { slot: 0, generation: 1 };
    const LONG: usize = 4 * SHORT_BYTES_MAX;
    const OUTCOME: Outcome = Outcome {
        id: 0,
        verdict: Verdict::Ok,
        bytes: 0,
        started_us: 0,
        elapsed_us: 0,
        cpu_us: 0,
        endings: None,
        reply: None,
        retry_after_ms: None,
        exit_use: None,
        over_budget: false,
        session: None,
        line_bytes: 0,
        found_bytes: 0,
        note_bytes: 0,
    };

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

    /// What comes of messages that a worker sends after its introduction.
    fn heard_of(messages: Vec<FromWorker>) -> Vec<Heard> {
        let channel = Channel::open().unwrap();
        let (name, (heard, incoming)) = (channel.server_name().to_owned(), unbounded());
        channel.expect(std::process::id());
        channel.adopt(SEAT, Listener { heard, message_bytes_max: LONG, earlier: None });
        let worker = thread::spawn(move || {
            let (to_worker, _inbound) = bytes_channel().unwrap();
            let (outbound, from_worker) = bytes_channel().unwrap();
            IpcSender::connect(name).unwrap().send(Bootstrap { to_worker, from_worker }).unwrap();
            for message in messages {
                let _ = codec::send(&message, &mut Vec::new(), |piece| outbound.send(piece));
            }
        });
        let heard = incoming.iter().collect();
        worker.join().unwrap();
        heard
    }

    #[test]
    fn what_no_worker_of_the_job_sends_ends_the_conversation() {
        let batch = |bytes: usize| {
            let outcomes = vec![Outcome { line_bytes: bytes as u64, ..OUTCOME }];
            FromWorker::Batch(Batch { outcomes, lines: vec![0; bytes], ..Batch::default() })
        };
        let unclaimed = FromWorker::Batch(Batch { lines: vec![0], ..Batch::default() });
        let text = |bytes| "x".repeat(bytes);
        let cookies = |count| {
            let cookie = Cookie {
                domain: "a.example".to_owned(),
                host_only: true,
                path: "/".to_owned(),
                secure: false,
                http_only: false,
                expires: None,
                name: "a".to_owned(),
                value: "b".to_owned(),
            };
            FromWorker::Cookies { session: 0, set: vec![cookie; count] }
        };
        for (what, message, passes) in [
            ("a short batch", batch(1), true),
            ("a long batch", batch(LONG - MESSAGE_BYTES_MAX), true),
            ("a batch that is too long", batch(LONG + 1), false),
            ("lines of no outcome", unclaimed, false),
            ("cookies", cookies(COOKIES_MAX), true),
            ("too many cookies", cookies(COOKIES_MAX + 1), false),
            ("a long line of a program", FromWorker::Said(text(2 * SHORT_BYTES_MAX)), true),
            ("a reason", FromWorker::Refused(text(SHORT_BYTES_MAX / 2)), true),
            ("a reason that is too long", FromWorker::Refused(text(SHORT_BYTES_MAX)), false),
            ("another", FromWorker::GaveUp(text(SHORT_BYTES_MAX)), false),
        ] {
            let heard = heard_of(vec![message]);
            let [first, Heard::Eof(SEAT)] = &heard[..] else { panic!("{what}: {} heard", heard.len()) };
            assert_eq!(matches!(first, Heard::Message(..)), passes, "{what}");
            assert_eq!(matches!(first, Heard::Malformed(..)), !passes, "{what}");
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
