//! Writes the output on a thread of its own, so that a reader of ours that is
//! slow (`| less`) stops the flow of records but not the reaction to Ctrl-C.

use std::io;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::sink::{Sink, SinkError};

/// Buffers that may wait for the disk. Each is what the loop gathered in one turn.
const BUFFERS_WAITING: usize = 16;

/// The output, as the loop sees it.
#[derive(Debug)]
pub struct Writer {
    buffers: Option<Sender<Vec<u8>>>,
    failed: Receiver<()>,
    thread: Option<JoinHandle<Result<(), SinkError>>>,
}

impl Writer {
    /// Starts writing to `sink`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(mut sink: Sink) -> io::Result<Self> {
        let (buffers, queue) = bounded::<Vec<u8>>(BUFFERS_WAITING);
        let (failing, failed) = bounded(0);
        let thread = thread::Builder::new().name("sink".to_owned()).spawn(move || {
            // Dropped when this thread ends, early or not: that is what wakes the loop.
            let _failing: Sender<()> = failing;
            for buffer in &queue {
                sink.write(&buffer)?;
                if queue.is_empty() {
                    // Nothing else is coming right now: whoever reads along should see this.
                    sink.flush()?;
                }
            }
            sink.finish()
        })?;
        Ok(Self { buffers: Some(buffers), failed, thread: Some(thread) })
    }

    pub(super) fn buffers(&self) -> Option<&Sender<Vec<u8>>> {
        self.buffers.as_ref()
    }

    /// Disconnected once the thread has ended: before the end of a run, that is a failure.
    pub(super) fn failed(&self) -> &Receiver<()> {
        &self.failed
    }

    /// Writes what is queued and closes the output.
    ///
    /// # Errors
    /// The first [`SinkError`] of the whole run.
    pub fn finish(mut self) -> Result<(), SinkError> {
        self.buffers = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) | None => Err(SinkError::Write {
                records: 0,
                output: "the output".to_owned(),
                cause: io::Error::other("the thread that writes it panicked"),
            }),
        }
    }
}
