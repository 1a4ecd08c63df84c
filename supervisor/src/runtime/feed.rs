//! Reads the source on a thread of its own, a few batches ahead, so that a slow disk or
//! an idle standard input does not stop the loop.

use std::collections::VecDeque;
use std::io;
use std::thread;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, unbounded};

use crate::journal::{Changed, Gate, Prefix};
use crate::source::{Progress as Position, SourceError, SourceItem, Targets};

/// Targets read at once.
const BATCH: usize = 1024;

/// Batches read ahead; with [`BATCH`] this limits what waits here.
const BATCHES_AHEAD: usize = 4;

type Read = Result<(Vec<SourceItem>, Position, Prefix), FeedError>;

/// Why no more targets come.
#[derive(Debug, thiserror::Error)]
pub(super) enum FeedError {
    /// The source cannot be read on.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It does not give the targets that the run to resume had.
    #[error("the inputs are not those of the run that is to be resumed: {0}")]
    Changed(Changed),
}

/// The source, as the loop sees it.
#[derive(Debug)]
pub struct Feed {
    incoming: Receiver<Read>,
    /// Input files of which no more parts are needed.
    unwanted: Sender<u32>,
    buffer: VecDeque<SourceItem>,
    position: Position,
    prefix: Prefix,
    ended: bool,
    taken: u64,
    next_id: u64,
    changed: Option<Changed>,
}

impl Feed {
    /// Starts reading `source`; `gate` lets through the targets that are left to do.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(mut source: Box<dyn Targets + Send>, mut gate: Gate) -> io::Result<Self> {
        let (batches, incoming) = bounded(BATCHES_AHEAD);
        let (unwanted, unwanted_files) = unbounded();
        thread::Builder::new().name("source".to_owned()).spawn(move || {
            loop {
                unwanted_files.try_iter().for_each(|file| source.leave_out(file));
                let (message, more) = match read(source.as_mut(), &mut gate) {
                    Ok((items, more)) => (Ok((items, source.position(), gate.prefix())), more),
                    Err(error) => (Err(error), false),
                };
                if batches.send(message).is_err() || !more {
                    return;
                }
            }
        })?;
        Ok(Self {
            incoming,
            unwanted,
            buffer: VecDeque::new(),
            position: Position::default(),
            prefix: Prefix::default(),
            ended: false,
            taken: 0,
            next_id: 0,
            changed: None,
        })
    }

    /// Wakes the loop when there may be targets to take.
    pub(super) fn incoming(&self) -> &Receiver<impl Sized + use<>> {
        &self.incoming
    }

    /// Returns the next target, if one has been read; never waits.
    ///
    /// # Errors
    /// [`FeedError`] if no more targets can come.
    pub(super) fn try_next(&mut self) -> Result<Option<SourceItem>, FeedError> {
        while self.buffer.is_empty() && !self.ended {
            match self.incoming.try_recv() {
                Ok(Ok((items, position, prefix))) => {
                    self.buffer.extend(items);
                    (self.position, self.prefix) = (position, prefix);
                }
                Ok(Err(error)) => {
                    self.ended = true;
                    if let FeedError::Changed(changed) = &error {
                        self.changed = Some(*changed);
                    }
                    return Err(error);
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.ended = true,
            }
        }
        let item = self.buffer.pop_front();
        if let Some(item) = &item {
            self.taken += item.inputs;
            self.next_id = item.id + item.inputs;
        }
        Ok(item)
    }

    /// Has the source give no more parts of this input file.
    pub(super) fn leave_out(&self, file: u32) {
        // At its end, the source gives nothing anyway.
        let _ = self.unwanted.send(file);
    }

    /// Whether every target has been taken.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.ended && self.buffer.is_empty()
    }

    /// Returns the number of inputs taken so far.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Returns the id after that of the last target taken.
    pub(super) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Returns the prefix of the source that has been read; every target taken is in it.
    pub(super) fn prefix(&self) -> Prefix {
        self.prefix
    }

    /// Returns how the source differs from that of the run to resume, if it does.
    #[must_use]
    pub fn changed(&self) -> Option<Changed> {
        self.changed
    }

    /// Returns how far the source has been read.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }
}

/// Reads the next targets to do. Returns whether there may be more.
fn read(source: &mut dyn Targets, gate: &mut Gate) -> Result<(Vec<SourceItem>, bool), FeedError> {
    let mut items = Vec::with_capacity(BATCH);
    let more = source.next_batch(&mut items, gate.batch_max(BATCH))?;
    let items = gate.pass(items, more).map_err(FeedError::Changed)?;
    Ok((items, more))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a part of file 0 again and again, until it is told to leave it out.
    struct Endless {
        left_out: bool,
    }

    impl Targets for Endless {
        fn next_batch(&mut self, out: &mut Vec<SourceItem>, _: usize) -> Result<bool, SourceError> {
            let input = b"part".to_vec();
            out.push(SourceItem { id: 0, inputs: 1, input, kept: Vec::new(), host: None, refused: None });
            Ok(!self.left_out)
        }

        fn position(&self) -> Position {
            Position::default()
        }

        fn leave_out(&mut self, file: u32) {
            self.left_out |= file == 0;
        }
    }

    #[test]
    fn a_request_to_leave_a_file_out_reaches_the_source() {
        let mut feed = Feed::start(Box::new(Endless { left_out: false }), Gate::default()).unwrap();
        feed.leave_out(1);
        feed.leave_out(0);
        let mut taken = 0;
        while !feed.is_exhausted() {
            match feed.try_next().unwrap() {
                Some(_) => taken += 1,
                None => thread::yield_now(),
            }
        }
        // The one that was being read, and those that waited to be taken.
        assert!((1..=BATCHES_AHEAD + 3).contains(&taken), "{taken}");
    }
}
