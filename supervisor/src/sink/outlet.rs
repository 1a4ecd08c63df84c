//! What the thread that writes records writes them to: a sink, and what is done
//! to records on their way there or besides.
//!
//! Text is packed. Files that cannot be appended to (Parquet, SQLite, those of a
//! directory) are made of JSON lines, which the sink keeps meanwhile: so they are
//! as safe as any other output, and a file that a kill left behind half made is
//! simply made again.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};

use super::packed::{IDLE_BYTES, MEMBER_BYTES, Packer};
use super::whole::{Totals, Whole};
use super::{Sink, SinkError};
use crate::format::Packing;

/// Takes an output that is whole on this machine to where it was asked for.
pub trait Deliver: Debug + Send {
    /// Returns when it is there.
    ///
    /// # Errors
    /// When it cannot be brought there; what is on this machine stays as it is.
    fn deliver(self: Box<Self>, totals: Totals) -> Result<(), SinkError>;
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
    /// Records go into `sink` as they are, or packed.
    #[must_use]
    pub fn new(sink: Sink, packing: Option<Packing>) -> Self {
        Self { sink, packer: packing.map(Packer::new), whole: None, delivery: None }
    }

    /// Records are kept in `sink`, as JSON lines, until `whole` is made of them.
    #[must_use]
    pub fn keeping(sink: Sink, whole: Whole) -> Self {
        Self { sink, packer: None, whole: Some(Box::new(whole)), delivery: None }
    }

    /// The output is delivered when it is whole.
    #[must_use]
    pub fn delivered_by(self, delivery: Box<dyn Deliver>) -> Self {
        Self { delivery: Some(delivery), ..self }
    }

    /// Whether something is done once there are no more records, which may fail: files are made of them, or
    /// what they are in is delivered.
    #[must_use]
    pub const fn has_more_to_do(&self) -> bool {
        self.whole.is_some() || self.delivery.is_some()
    }

    /// Makes of the records that are kept already what this run adds to.
    ///
    /// # Errors
    /// [`SinkError`] when they cannot be read, or what is made of them not be written.
    pub fn catch_up(&mut self) -> Result<(), SinkError> {
        let Some(whole) = &mut self.whole else { return Ok(()) };
        let bytes = self.sink.committed_len();
        if bytes == 0 {
            return Ok(());
        }
        let path = whole.kept_at();
        let refused = |cause| SinkError::Open { path: path.clone(), cause };
        let mut lines = BufReader::with_capacity(1 << 20, File::open(&path).map_err(refused)?).take(bytes);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).map_err(refused)? > 0 {
            whole.take(&line)?;
            line.clear();
        }
        Ok(())
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
            let mut rest = records;
            while let Some(newline) = memchr::memchr(b'\n', rest) {
                let (line, after) = rest.split_at_checked(newline + 1).unwrap_or((rest, &[]));
                whole.take(line)?;
                rest = after;
            }
        }
        Ok(())
    }

    /// Nothing else is coming right now: whoever reads along should see what there is.
    ///
    /// # Errors
    /// As [`Sink::write`].
    pub fn flush(&mut self) -> Result<(), SinkError> {
        if self.packer.as_ref().is_some_and(|packer| packer.open_bytes() >= IDLE_BYTES) {
            self.end_member()?;
        }
        self.sink.flush()
    }

    /// Hands everything to the system, so that it can be named in a journal; the output's length with it.
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

    /// Closes what is appended to, puts the files that were made of it in their places, and delivers: there
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
