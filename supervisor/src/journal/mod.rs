//! The journal, which makes a killed run resumable. It is the file `OUT.journal` beside the output, and says
//! how much of the output is committed and which targets have records in it. `verbs` opens it; the thread
//! that writes the output updates it.
//!
//! `finished`, `prefix`, `tally` and `identity` decide and are pure. `store`, `held`, `fingerprint`, `spool`
//! and `recorder` do I/O.
//!
//! Invariant: the records of a commit are on disk before the commit is. So at any instant the output up to
//! the committed length contains exactly the records of the committed ids, and the rest can be truncated and
//! redone.

mod complete;
mod error;
mod fingerprint;
mod finished;
mod held;
mod identity;
mod lists;
mod opening;
mod prefix;
mod reading;
mod recorder;
mod release;
mod spool;
mod started;
mod state;
mod store;
mod tally;
#[cfg(test)]
mod tests;

pub use complete::{Complete, check as check_complete, check_count};
pub use error::{JournalError, OutputError};
pub use finished::Finished;
pub use held::HeldRecord;
pub(crate) use identity::changes;
pub use lists::ListChanges;
pub use opening::{Destination, Journal, Opened, beside, committed, open};
pub use prefix::{Changed, Gate, Prefix};
pub use recorder::{OutputProgress, Recorder, Reports};
pub use release::{may_hold, release};
pub use spool::SpooledInput;
pub use started::Notes;
pub use state::State;
pub use store::Store;
pub use tally::{Final, Tally};
