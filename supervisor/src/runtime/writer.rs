//! Writes the output on a thread of its own, so that a reader of ours that is
//! slow (`| less`) stops the flow of records but not the reaction to Ctrl-C.

use std::io;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::Signals;
use crate::sink::{Sink, SinkError};

/// Buffers that may wait for the disk. Each is what the loop gathered in one turn.
const BUFFERS_WAITING: usize = 16;

/// The output, as the loop sees it.
#[derive(Debug)]
pub struct Writer {
    buffers: Option<Sender<Vec<u8>>>,
    ended: Receiver<()>,
    thread: Option<JoinHandle<Result<(), SinkError>>>,
}

/// How the output was left.
#[derive(Debug)]
pub enum Finished {
    /// Everything is written.
    Complete,
    /// This signal came while a slow reader was being waited for.
    Abandoned(i32),
}

impl Writer {
    /// Starts writing to `sink`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(mut sink: Sink) -> io::Result<Self> {
        let (buffers, queue) = bounded::<Vec<u8>>(BUFFERS_WAITING);
        let (ending, ended) = bounded(0);
        let thread = thread::Builder::new().name("sink".to_owned()).spawn(move || {
            // Dropped when this thread ends, early or not: that is what wakes the loop.
            let _ending: Sender<()> = ending;
            for buffer in &queue {
                sink.write(&buffer)?;
                if queue.is_empty() {
                    // Nothing else is coming right now: whoever reads along should see this.
                    sink.flush()?;
                }
            }
            sink.finish()
        })?;
        Ok(Self { buffers: Some(buffers), ended, thread: Some(thread) })
    }

    pub(super) fn buffers(&self) -> Option<&Sender<Vec<u8>>> {
        self.buffers.as_ref()
    }

    /// Disconnected once the thread has ended: before the end of a run, that is a failure.
    pub(super) fn ended(&self) -> &Receiver<()> {
        &self.ended
    }

    /// Writes what is queued and closes the output.
    ///
    /// # Errors
    /// The first [`SinkError`] of the whole run.
    pub fn finish(mut self, signals: &Signals) -> Result<Finished, SinkError> {
        self.buffers = None;
        crossbeam_channel::select! {
            recv(self.ended) -> _ => {}
            recv(signals.stopping()) -> signal => return Ok(Finished::Abandoned(signal.unwrap_or_default())),
        }
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result.map(|()| Finished::Complete),
            Some(Err(_)) | None => Err(SinkError::Write {
                records: 0,
                output: "the output".to_owned(),
                cause: io::Error::other("the thread that writes it panicked"),
            }),
        }
    }
}
