//! Passes lines through a program of the user's own, one long-lived process of it
//! in each worker: a JSON line in, a line out.
//!
//! ```text
//! intake → queue → driver → the program → driver → outbox
//!                    └ caution, judge: whom to blame
//! ```
//! Neighbours: the executor feeds [`intake`], the outbox takes what is done. A line
//! is answered exactly once, in the order of the lines, whatever the program does.

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

use std::io;
use std::sync::Arc;

use shared::black_box::BlackBox;
use shared::job::{JobSpec, MapSpec};

pub(crate) use self::driver::Driver;
pub(crate) use self::intake::{Giver, Item};

use crate::outbox::Voice;

/// A driver for the program of `job`, and the end at which it is given something to do.
pub(crate) fn prepare(
    job: &JobSpec,
    spec: &MapSpec,
    voice: Voice,
    black_box: Arc<BlackBox>,
) -> io::Result<(Giver, Driver)> {
    let (giver, taker) = intake::intake()?;
    Ok((giver, Driver::new(job, spec, taker, voice, black_box)))
}
