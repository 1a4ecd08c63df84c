//! `map`: a target is a block of lines. Passes them through a program of the user,
//! one long-lived process of it in each worker: a JSON line in, a line out. Records
//! of other stages pass through it likewise.
//!
//! ```text
//! intake → queue → driver → the program → driver → outbox
//!                    └ caution, judge: whom to blame
//! ```
//! Neighbours: the executor feeds [`intake`], the outbox takes the records. A line
//! gets exactly one record, in the order of the lines, whatever the program does.

mod caution;
mod child;
mod complaints;
mod driver;
pub(crate) mod intake;
mod json;
mod judge;
mod life;
mod queue;
mod records;

use std::ffi::OsString;
use std::io;
use std::sync::Arc;

use shared::black_box::BlackBox;
use shared::job::{JobSpec, MapSpec, RecordEncoding};

use self::driver::Driver;
pub(crate) use self::intake::{Giver, Item};

use crate::outbox::Outbox;

/// The user's program, ready to be started.
pub(crate) struct Map {
    spec: MapSpec,
    encoding: RecordEncoding,
    slot: u32,
    job_started_us: u64,
    environment: Vec<(OsString, OsString)>,
}

impl Map {
    pub(crate) fn new(spec: &MapSpec, job: &JobSpec) -> Self {
        Self {
            spec: spec.clone(),
            encoding: job.encoding.clone(),
            slot: job.slot,
            job_started_us: job.started_us,
            environment: job.environment.clone(),
        }
    }

    /// A driver for the program, and the end at which it is given something to do.
    pub(crate) fn start(&self, outbox: &Outbox, black_box: &Arc<BlackBox>) -> io::Result<(Giver, Driver)> {
        let (giver, taker) = intake::intake()?;
        Ok((giver, Driver::new(self, taker, outbox.voice(), Arc::clone(black_box))))
    }
}
