//! What the writer thread writes records to: a sink, and what is done to records on
//! their way there.
//!
//! Text is packed. Files that cannot be appended to (Parquet, SQLite, those of a
//! directory) are built from records that the sink keeps meanwhile: so the records
//! are as safe as in any other output, and a file that a kill left half built is
//! built again.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Read as _};

use super::packed::{IDLE_BYTES, MEMBER_BYTES, Packer};
use super::whole::{Totals, Whole};
use super::{Sink, SinkError};
use crate::format::Packing;

/// Delivers an output that is whole on this machine.
pub trait Deliver: Debug + Send {
    /// Returns when it is delivered.
    ///
    /// # Errors
    /// When it cannot be delivered; what is on this machine stays as it is.
    fn deliver(self: Box<Self>, totals: Totals) -> Result<(), SinkError>;
}

/// Why nothing can be built from the kept records.
enum Stop {
    /// They cannot be read.
    Kept(io::Error),
    /// What is built from them cannot be written.
    Whole(SinkError),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Kept(error)
    }
}

/// The output of a run.
#[derive(Debug)]
pub struct Outlet {
    sink: Sink,
    packer: Option<Packer>,
    whole: Option<Box<Whole>>,
    delivery: Option<Box<dyn Deliver>>,
}

impl Outlet {
    /// Writes records to `sink`, packed if asked for.
    #[must_use]
    pub fn new(sink: Sink, packing: Option<Packing>) -> Self {
        Self { sink, packer: packing.map(Packer::new), whole: None, delivery: None }
    }

    /// Keeps records in `sink`, in the form that `whole` is built from.
    #[must_use]
    pub fn keeping(sink: Sink, whole: Whole) -> Self {
        Self { sink, packer: None, whole: Some(Box::new(whole)), delivery: None }
    }

    /// The output is delivered when it is whole.
    #[must_use]
    pub fn delivered_by(self, delivery: Box<dyn Deliver>) -> Self {
        Self { delivery: Some(delivery), ..self }
    }

    /// Whether something is done once there are no more records, which may fail: files are built from them, or
    /// the output is delivered.
    #[must_use]
    pub const fn has_more_to_do(&self) -> bool {
        self.whole.is_some() || self.delivery.is_some()
    }

    /// Builds what this run adds to, from the records that are kept already.
    ///
    /// # Errors
    /// When they cannot be read, or what is built from them cannot be written.
    pub fn catch_up(&mut self) -> Result<(), SinkError> {
        let Some(whole) = &mut self.whole else { return Ok(()) };
        let bytes = self.sink.committed_len();
        if bytes == 0 {
            return Ok(());
        }
        let path = whole.kept_at();
        let refused = |cause| SinkError::Open { path: path.clone(), cause };
        let records = File::open(&path).map_err(refused)?.take(bytes);
        let cut = whole.cut();
        cut.each(records, |record| whole.take(record).map_err(Stop::Whole)).map_err(|stop| match stop {
            Stop::Kept(cause) => refused(cause),
            Stop::Whole(error) => error,
        })
    }

    /// Appends whole records.
    ///
    /// # Errors
    /// As [`Sink::write`].
    pub fn write(&mut self, records: &[u8]) -> Result<(), SinkError> {
        if let Some(packer) = &mut self.packer {
            packer.write(records).map_err(|cause| self.sink.unwritten(cause))?;
            return if packer.open_bytes() >= MEMBER_BYTES { self.end_member() } else { Ok(()) };
        }
        self.sink.write(records)?;
        if let Some(whole) = &mut self.whole {
            let (cut, mut rest) = (whole.cut(), records);
            while let Some((record, after)) = cut.first(rest) {
                whole.take(record)?;
                rest = after;
            }
        }
        Ok(())
    }

    /// Nothing follows right now: makes everything visible to a reader of the output.
    ///
    /// # Errors
    /// As [`Sink::write`].
    pub fn flush(&mut self) -> Result<(), SinkError> {
        if self.packer.as_ref().is_some_and(|packer| packer.open_bytes() >= IDLE_BYTES) {
            self.end_member()?;
        }
        self.sink.flush()
    }

    /// Hands everything to the system, so that a journal can name it. Returns the output's length.
    ///
    /// # Errors
    /// As [`Sink::write`].
    pub fn settle(&mut self) -> Result<u64, SinkError> {
        self.end_member()?;
        self.sink.flush()?;
        Ok(self.sink.committed_len())
    }

    fn end_member(&mut self) -> Result<(), SinkError> {
        let Some(packer) = &mut self.packer else { return Ok(()) };
        let member = packer.end().map_err(|cause| self.sink.unwritten(cause))?;
        self.sink.write(&member)
    }

    /// Closes what is appended to.
    ///
    /// # Errors
    /// As [`Sink::finish`].
    pub fn finish(mut self) -> Result<(), SinkError> {
        if let Some(packer) = &mut self.packer {
            let is_empty = self.sink.is_empty();
            let member = packer.end_file(is_empty).map_err(|cause| self.sink.unwritten(cause))?;
            self.sink.write(&member)?;
        }
        self.sink.finish()
    }

    /// Closes what is appended to, puts the files that were built from it in their places, and delivers: there
    /// are no more records.
    ///
    /// # Errors
    /// As [`Sink::finish`], or when a file cannot be written or the output not be delivered.
    pub fn complete(mut self, totals: Totals) -> Result<(), SinkError> {
        let (whole, delivery) = (self.whole.take(), self.delivery.take());
        self.finish()?;
        whole.map_or(Ok(()), |whole| whole.finish(totals))?;
        delivery.map_or(Ok(()), |delivery| delivery.deliver(totals))
    }

    /// As [`Sink::sync`].
    ///
    /// # Errors
    /// As [`Sink::sync`].
    pub fn sync(&self) -> Result<(), SinkError> {
        self.sink.sync()
    }

    /// As [`Sink::second_handle`].
    ///
    /// # Errors
    /// As [`Sink::second_handle`].
    pub fn second_handle(&self) -> io::Result<File> {
        self.sink.second_handle()
    }

    /// Bytes handed to the system by this run and those before: 0 is a new output.
    #[must_use]
    pub fn committed_len(&self) -> u64 {
        self.sink.committed_len()
    }
}
