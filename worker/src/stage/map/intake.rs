//! What waits for the program: put in by the thread that reads slices, or by the
//! executor whose records go on to the program, taken out by the driver, which
//! hears of it through a pipe it polls together with the program's.

use std::collections::VecDeque;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::black_box::BlackBox;
use shared::protocol::{Outcome, Target};
use tokio::sync::Notify;

/// Bytes of records that may wait here before their executor takes on nothing new.
const ROOM_BYTES: usize = 8 << 20;

/// How often an executor that waits for room shows that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Something for the program.
#[derive(Debug)]
pub(crate) enum Item {
    /// Lines of the input.
    Lines(Target),
    /// A record that was made here, newline included, and what would have been said of it.
    Record(Outcome, Vec<u8>),
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Lines(target) => target.input.len(),
            Self::Record(_, line) => line.len(),
        }
    }
}

/// What the driver is told besides items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Nothing is to follow for now.
    pub(super) flush: bool,
    /// Nothing will follow.
    pub(super) closed: bool,
    /// What has not begun is not wanted any more.
    pub(super) draining: bool,
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
    told: Told,
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

/// The end that things are put in at.
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
            // A driver that is gone needs no waking; of one that is there the pipe is never full.
            let _ = (&self.wake).write(&[1]);
        }
    }

    /// Something for the program.
    pub(crate) fn give(&self, items: impl IntoIterator<Item = Item>) {
        self.change(|waiting| {
            for item in items {
                waiting.bytes += item.bytes();
                waiting.items.push_back(item);
            }
            waiting.told.flush = false;
        });
    }

    /// Nothing is to follow for now.
    pub(crate) fn flush(&self) {
        self.change(|waiting| waiting.told.flush = true);
    }

    /// Nothing will follow; with `draining`, what has not begun is not wanted any more.
    pub(crate) fn close(&self, draining: bool) {
        self.change(|waiting| {
            waiting.told.closed = true;
            waiting.told.draining = draining;
        });
    }

    /// Blocks until there is room for more.
    pub(crate) fn wait_for_room(&self, black_box: &BlackBox) {
        let mut waiting = self.shared.lock();
        while waiting.bytes >= ROOM_BYTES {
            // Waiting for the program is no hang; the driver minds its time.
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

/// The end that the driver takes things out at.
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

    /// Everything that waits, and what was told. To be called once when [`Self::woken`] is readable.
    pub(super) fn take(&mut self) -> (VecDeque<Item>, Told) {
        let mut waiting = self.shared.lock();
        if std::mem::take(&mut waiting.woken) {
            // Written under the same lock, so it is there.
            let _ = self.woken.read(&mut [0]);
        }
        let items = std::mem::take(&mut waiting.items);
        waiting.bytes = 0;
        let told = waiting.told;
        drop(waiting);
        self.shared.emptied.notify_all();
        self.shared.room.notify_waiters();
        (items, told)
    }
}
