//! What waits for the program. The thread that reads slices puts it in, or the executor
//! whose records go on to the program. The driver takes it out; a pipe wakes it, which
//! it polls together with those of the program.

use std::collections::VecDeque;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::black_box::BlackBox;
use shared::encoder::Begun;
use shared::protocol::{Outcome, Target};
use tokio::sync::Notify;

/// Bytes of records that may wait here before their executor starts no new target.
const ROOM_BYTES: usize = 8 << 20;

/// How often an executor that waits for room shows that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Something for the program.
#[derive(Debug)]
pub(crate) enum Item {
    /// Lines of the input.
    Lines(Target),
    /// A record that was made here: its outcome without a program, its line without a newline, and what is needed to
    /// end it.
    Record(Outcome, Vec<u8>, Begun),
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Lines(target) => target.input.len(),
            Self::Record(_, line, _) => line.len(),
        }
    }
}

/// What the driver has to know besides items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Signal {
    /// Nothing follows for now.
    pub(super) flush: bool,
    /// Nothing will follow.
    pub(super) closed: bool,
    /// Lines that have not begun are no longer wanted.
    pub(super) draining: bool,
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
    signal: Signal,
    /// Whether the driver has been woken and has not looked yet.
    woken: bool,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    emptied: Condvar,
    room: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both ends.
pub(crate) fn intake() -> io::Result<(Giver, Taker)> {
    let (reader, writer) = io::pipe()?;
    let shared = Arc::new(Shared { waiting: Mutex::default(), emptied: Condvar::new(), room: Notify::new() });
    Ok((Giver { shared: Arc::clone(&shared), wake: writer }, Taker { shared, woken: reader }))
}

/// The end for putting things in.
#[derive(Debug)]
pub(crate) struct Giver {
    shared: Arc<Shared>,
    wake: PipeWriter,
}

impl Giver {
    fn change(&self, change: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.shared.lock();
        change(&mut waiting);
        if !std::mem::replace(&mut waiting.woken, true) {
            // A driver that is gone needs no waking; the pipe of one that is there is never full.
            let _ = (&self.wake).write(&[1]);
        }
    }

    /// Gives the program something to do.
    pub(crate) fn give(&self, items: impl IntoIterator<Item = Item>) {
        self.change(|waiting| {
            for item in items {
                waiting.bytes += item.bytes();
                waiting.items.push_back(item);
            }
            waiting.signal.flush = false;
        });
    }

    /// Says that nothing follows for now.
    pub(crate) fn flush(&self) {
        self.change(|waiting| waiting.signal.flush = true);
    }

    /// Says that nothing will follow; with `draining`, that lines which have not begun are no longer wanted.
    pub(crate) fn close(&self, draining: bool) {
        self.change(|waiting| {
            waiting.signal.closed = true;
            waiting.signal.draining = draining;
        });
    }

    /// Blocks until there is room for more.
    pub(crate) fn wait_for_room(&self, black_box: &BlackBox) {
        let mut waiting = self.shared.lock();
        while waiting.bytes >= ROOM_BYTES {
            // A wait for the program is not a hang; the driver watches its time.
            black_box.advance();
            (waiting, _) =
                self.shared.emptied.wait_timeout(waiting, HEARTBEAT).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Completes when there is room for more.
    pub(crate) async fn room(&self) {
        loop {
            // Registered before the check, so that room made in between is not missed.
            let room = self.shared.room.notified();
            if self.shared.lock().bytes < ROOM_BYTES {
                return;
            }
            room.await;
        }
    }
}

/// The end for taking things out.
#[derive(Debug)]
pub(crate) struct Taker {
    shared: Arc<Shared>,
    woken: PipeReader,
}

impl Taker {
    /// Readable when there is something to take.
    pub(super) fn woken(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }

    /// Everything that waits, and the signal. To be called once when [`Self::woken`] is readable.
    pub(super) fn take(&mut self) -> (VecDeque<Item>, Signal) {
        let mut waiting = self.shared.lock();
        if std::mem::take(&mut waiting.woken) {
            // Written under the same lock, so it is there.
            let _ = self.woken.read(&mut [0]);
        }
        let items = std::mem::take(&mut waiting.items);
        waiting.bytes = 0;
        let signal = waiting.signal;
        drop(waiting);
        self.shared.emptied.notify_all();
        self.shared.room.notify_waiters();
        (items, signal)
    }
}
