//! Reads the source on a thread of its own, a few batches ahead: a slow disk or
//! a standard input that nobody types into must not stop the loop.

use std::collections::VecDeque;
use std::io;
use std::thread;

use crossbeam_channel::{Receiver, TryRecvError, bounded};

use crate::source::{Progress as Position, Source, SourceError, SourceItem};

/// Targets read at once.
const BATCH: usize = 1024;

/// Batches read ahead; with [`BATCH`] this bounds what waits here.
const BATCHES_AHEAD: usize = 4;

type Read = Result<(Vec<SourceItem>, Position), SourceError>;

/// The source, as the loop sees it.
#[derive(Debug)]
pub struct Feed {
    incoming: Receiver<Read>,
    buffer: VecDeque<SourceItem>,
    position: Position,
    ended: bool,
    taken: u64,
}

impl Feed {
    /// Starts reading `source`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(mut source: Source) -> io::Result<Self> {
        let (batches, incoming) = bounded(BATCHES_AHEAD);
        thread::Builder::new().name("source".to_owned()).spawn(move || {
            loop {
                let mut items = Vec::with_capacity(BATCH);
                let read = source.next_batch(&mut items, BATCH);
                let (message, more) = match read {
                    Ok(more) => (Ok((items, source.position())), more),
                    Err(error) => (Err(error), false),
                };
                if batches.send(message).is_err() || !more {
                    return;
                }
            }
        })?;
        Ok(Self { incoming, buffer: VecDeque::new(), position: Position::default(), ended: false, taken: 0 })
    }

    /// Wakes the loop when there may be something to take.
    pub(super) fn incoming(&self) -> &Receiver<impl Sized + use<>> {
        &self.incoming
    }

    /// The next target, if one has been read; never waits.
    ///
    /// # Errors
    /// [`SourceError`] when the source cannot be read any further.
    pub(super) fn try_next(&mut self) -> Result<Option<SourceItem>, SourceError> {
        while self.buffer.is_empty() && !self.ended {
            match self.incoming.try_recv() {
                Ok(Ok((items, position))) => {
                    self.buffer.extend(items);
                    self.position = position;
                }
                Ok(Err(error)) => {
                    self.ended = true;
                    return Err(error);
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.ended = true,
            }
        }
        let item = self.buffer.pop_front();
        self.taken += u64::from(item.is_some());
        Ok(item)
    }

    /// Whether every target has been taken.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.ended && self.buffer.is_empty()
    }

    /// Targets taken so far.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// How far the source has been read.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }
}
