//! Results on their way to the supervisor. The executor gathers them into batches, and
//! a thread of their own sends them, so that a supervisor that is slow to read never
//! holds up a request in flight.
//!
//! A batch leaves when it is full, when it has lingered, or at once when the executor
//! has nothing else to do. What waits here is limited: an executor starts no new target
//! while there is no room.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use shared::black_box::BlackBox;
use shared::clock;
use shared::cookies::Cookie;
use shared::protocol::{Batch, COOKIES_MAX, FromWorker, OUTCOMES_MAX, Outcome};
use tokio::sync::Notify;

use crate::connection::Sender;

/// When a batch leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// How long a batch that is not full waits for more.
    linger: Duration,
    /// Outcomes that make it full.
    outcomes: usize,
    /// Bytes of records that make it full.
    bytes: usize,
}

impl Pace {
    /// Two milliseconds are lost in the noise of any network, and make batches of dozens out of a stream of small
    /// targets. A full batch fits one message with its headers.
    pub(crate) const USUAL: Self = Self { linger: Duration::from_millis(2), outcomes: 64, bytes: 24 * 1024 };

    /// A program has far more lines in hand than it answers in this time, and every batch wakes five threads,
    /// which would cost more than what is in it.
    pub(crate) const OF_PROGRAM: Self =
        Self { linger: Duration::from_millis(8), outcomes: 1024, bytes: 256 * 1024 };
}

/// Bytes that may wait here before the executor starts no new target.
const ROOM_BYTES: usize = 1024 * 1024;

/// Bytes of the program's messages that may wait here before the program is held up.
const SAID_BYTES: usize = 64 * 1024;

/// How often this process notes its use of memory and CPU; reading that takes about 20 µs.
const USAGE_EVERY: Duration = Duration::from_millis(200);

/// How often an executor that waits for room shows that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// The executor's handle.
#[derive(Debug)]
pub(crate) struct Outbox {
    shared: Arc<Shared>,
    writer: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    pending: Mutex<Pending>,
    /// The writer waits here for a batch worth sending.
    filled: Condvar,
    /// A blocking executor waits here for room.
    emptied: Condvar,
    /// An event loop waits here for room.
    room: Notify,
    slices_read: AtomicU64,
    pace: Pace,
}

#[derive(Debug, Default)]
struct Pending {
    batch: Batch,
    /// Other messages, which go before the batch.
    said: Vec<FromWorker>,
    said_bytes: usize,
    /// Cookies that were set. They go before the batch, and make it no more urgent.
    cookies: Vec<Cookie>,
    /// The session that they belong to.
    session: u32,
    /// Slices were read since the last batch; the supervisor waits for that credit.
    credit_due: bool,
    /// Do not linger.
    urgent: bool,
    /// Send what there is and end.
    closing: bool,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.batch.outcomes.is_empty() && !self.credit_due && self.said.is_empty() && self.cookies.is_empty()
    }

    fn is_full(&self, pace: &Pace) -> bool {
        self.urgent
            || self.closing
            || !self.said.is_empty()
            || self.batch.outcomes.len() >= pace.outcomes
            || self.batch.lines.len() >= pace.bytes
    }

    fn has_room(&self) -> bool {
        self.batch.lines.len() < ROOM_BYTES
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, outcome: Outcome, line: &[u8], idle: bool) {
        let mut pending = self.lock();
        let was_empty = pending.is_empty();
        pending.batch.outcomes.push(outcome);
        pending.batch.lines.extend_from_slice(line);
        pending.urgent |= idle;
        // The writer sleeps in two places: for the first result, and lingering for a full batch.
        if was_empty || pending.is_full(&self.pace) {
            self.filled.notify_one();
        }
    }

    fn wait_for_room(&self, black_box: &BlackBox) {
        let mut pending = self.lock();
        while !pending.has_room() {
            // A wait for the supervisor is not a hang.
            black_box.advance();
            (pending, _) =
                self.emptied.wait_timeout(pending, HEARTBEAT).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Outbox {
    /// Starts the writer thread.
    pub(crate) fn start(sender: Sender, black_box: Arc<BlackBox>, pace: Pace) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            pending: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            room: Notify::new(),
            slices_read: AtomicU64::new(0),
            pace,
        });
        let writer = {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name("outbox".to_owned())
                .spawn(move || write(&shared, sender, &black_box))?
        };
        Ok(Self { shared, writer })
    }

    /// A handle for the thread that reads slices.
    pub(crate) fn credit(&self) -> Credit {
        Credit { shared: Arc::clone(&self.shared) }
    }

    /// A handle for the thread that keeps the user's program going.
    pub(crate) fn voice(&self) -> Voice {
        Voice { shared: Arc::clone(&self.shared) }
    }

    /// Queues one result. `idle` says that the executor has nothing else in hand, so that
    /// the supervisor should hear at once.
    pub(crate) fn push(&self, outcome: Outcome, line: &[u8], idle: bool) {
        self.shared.push(outcome, line, idle);
    }

    /// Queues cookies that were set. They leave before the outcomes that are queued after them.
    /// Those of an earlier session are dropped, because nobody wants them any more.
    pub(crate) fn push_cookies(&self, session: u32, cookies: Vec<Cookie>) {
        if cookies.is_empty() {
            return;
        }
        let mut pending = self.shared.lock();
        if std::mem::replace(&mut pending.session, session) != session {
            pending.cookies.clear();
        }
        let was_empty = pending.is_empty();
        pending.cookies.extend(cookies);
        if was_empty {
            self.shared.filled.notify_one();
        }
    }

    /// Blocks until there is room for more.
    pub(crate) fn wait_for_room(&self, black_box: &BlackBox) {
        self.shared.wait_for_room(black_box);
    }

    /// Completes when there is room for more.
    pub(crate) async fn room(&self) {
        loop {
            // Registered before the check, so that room made in between is not missed.
            let room = self.shared.room.notified();
            if self.shared.lock().has_room() {
                return;
            }
            room.await;
        }
    }

    /// Sends what is left and waits until it is on its way.
    pub(crate) fn close(self) {
        self.shared.lock().closing = true;
        self.shared.filled.notify_one();
        // A writer that panicked has already lost its channel, which ends this process too.
        let _ = self.writer.join();
    }
}

/// Tells the supervisor that slices were read.
#[derive(Debug)]
pub(crate) struct Credit {
    shared: Arc<Shared>,
}

impl Credit {
    /// One more slice is off the channel.
    pub(crate) fn slice_read(&self) {
        let mut pending = self.shared.lock();
        self.shared.slices_read.fetch_add(1, Ordering::Relaxed);
        let was_empty = pending.is_empty();
        pending.credit_due = true;
        if was_empty {
            self.shared.filled.notify_one();
        }
    }
}

/// Sends results and messages of the user's program.
#[derive(Debug, Clone)]
pub(crate) struct Voice {
    shared: Arc<Shared>,
}

impl Voice {
    /// As [`Outbox::push`].
    pub(crate) fn push(&self, outcome: Outcome, line: &[u8], idle: bool) {
        self.shared.push(outcome, line, idle);
    }

    /// As [`Outbox::wait_for_room`].
    pub(crate) fn wait_for_room(&self, black_box: &BlackBox) {
        self.shared.wait_for_room(black_box);
    }

    /// Passes on a line of the program; blocks while too many wait.
    pub(crate) fn say(&self, line: String) {
        let full = |pending: &mut Pending| pending.said_bytes >= SAID_BYTES;
        let pending = self.shared.lock();
        let pending = self.shared.emptied.wait_while(pending, full).unwrap_or_else(PoisonError::into_inner);
        self.add(pending, line.len(), FromWorker::Said(line));
    }

    /// Sends a message of the worker; never blocks.
    pub(crate) fn note(&self, line: String) {
        self.add(self.shared.lock(), line.len(), FromWorker::Said(line));
    }

    /// Says why the job cannot go on.
    pub(crate) fn give_up(&self, why: String) {
        self.add(self.shared.lock(), why.len(), FromWorker::GaveUp(why));
    }

    fn add(&self, mut pending: MutexGuard<'_, Pending>, bytes: usize, message: FromWorker) {
        pending.said_bytes += bytes + 1;
        pending.said.push(message);
        self.shared.filled.notify_one();
    }
}

fn write(shared: &Shared, mut sender: Sender, black_box: &BlackBox) {
    let mut due = None;
    loop {
        let next = next_batch(shared);
        let last = next.as_ref().is_some_and(|(_, _, last)| *last);
        if last || due.is_none_or(|due| clock::now() >= due) {
            due = Some(clock::now() + USAGE_EVERY);
            black_box.set_usage(clock::resident(), clock::process_cpu());
        }
        let Some((said, batch, _)) = next else { continue };
        // Only what has been sent is no longer uncertain if this process dies.
        let mut reported = Vec::new();
        if black_box.notes_begun() {
            reported.extend(batch.outcomes.iter().map(|outcome| outcome.id));
        }
        let heard = said.iter().all(|message| sender.send(message).is_ok());
        let sent = heard
            && (batch.outcomes.is_empty() && batch.slices_read == 0
                || sender.send(&FromWorker::Batch(batch)).is_ok());
        if sent {
            black_box.reported(reported.into_iter());
        }
        shared.emptied.notify_all();
        shared.room.notify_waiters();
        // Without a supervisor there is nobody to send to; the reader thread ends the process.
        if last || !sent {
            return;
        }
    }
}

/// Waits for a batch worth sending. Returns it with the messages that go before it, and whether it is the last one.
/// `None` after [`USAGE_EVERY`] without one: a single input may be growing all the while.
fn next_batch(shared: &Shared) -> Option<(Vec<FromWorker>, Batch, bool)> {
    let mut pending = shared.lock();
    while pending.is_empty() && !pending.closing {
        let (waited, timeout) =
            shared.filled.wait_timeout(pending, USAGE_EVERY).unwrap_or_else(PoisonError::into_inner);
        pending = waited;
        if timeout.timed_out() && pending.is_empty() && !pending.closing {
            return None;
        }
    }
    if !pending.is_full(&shared.pace) {
        (pending, _) = shared
            .filled
            .wait_timeout_while(pending, shared.pace.linger, |pending| !pending.is_full(&shared.pace))
            .unwrap_or_else(PoisonError::into_inner);
    }
    let mut batch = std::mem::take(&mut pending.batch);
    pending.batch = split_off_surplus(&mut batch);
    batch.slices_read = shared.slices_read.load(Ordering::Relaxed);
    pending.credit_due = false;
    pending.said_bytes = 0;
    let cookies = std::mem::take(&mut pending.cookies);
    let session = pending.session;
    let message = |some: &[Cookie]| FromWorker::Cookies { session, set: some.to_vec() };
    let mut said: Vec<_> = cookies.chunks(COOKIES_MAX).map(message).collect();
    said.append(&mut pending.said);
    // What is left over is waited for already.
    pending.urgent = !pending.batch.outcomes.is_empty();
    let last = pending.closing && pending.batch.outcomes.is_empty();
    Some((said, batch, last))
}

/// Leaves in `batch` what makes one message, at least one outcome; returns the rest.
/// There is a rest when the supervisor did not read for a while.
fn split_off_surplus(batch: &mut Batch) -> Batch {
    let mut bytes = 0;
    let fits = batch.outcomes.iter().take(OUTCOMES_MAX).take_while(|outcome| {
        let fits = bytes == 0 || bytes < ROOM_BYTES;
        bytes += if fits { usize::try_from(outcome.line_bytes).unwrap_or(usize::MAX) } else { 0 };
        fits
    });
    let count = fits.count();
    Batch {
        outcomes: batch.outcomes.split_off(count),
        lines: batch.lines.split_off(bytes.min(batch.lines.len())),
        slices_read: 0,
    }
}
