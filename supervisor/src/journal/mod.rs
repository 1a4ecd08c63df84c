//! What makes a run that was killed worth resuming: beside the output lies
//! `OUT.journal`, which says how much of it is certain and whose records those
//! are. Opened by `verbs`, written by the thread that writes the output.
//!
//! `finished`, `prefix`, `tally` and `identity` decide and are pure; `store`,
//! `fingerprint`, `spool` and `recorder` act.
//!
//! Invariant: what a commit names is on the disk before the commit is. So at
//! any instant the output up to the committed length holds exactly the records
//! of the committed ids, and what lies beyond can be cut off and done again.

mod complete;
mod error;
mod fingerprint;
mod finished;
mod identity;
mod opening;
mod prefix;
mod reading;
mod recorder;
mod spool;
mod state;
mod store;
mod tally;
#[cfg(test)]
mod tests;

pub use complete::{Complete, check as check_complete, check_count};
pub use error::{JournalError, OutputError};
pub use finished::Finished;
pub use opening::{Destination, Journal, Opened, beside, committed, open};
pub use prefix::{Changed, Gate, Prefix};
pub use recorder::{News, Recorder};
pub use spool::SpooledInput;
pub use state::State;
pub use store::Store;
pub use tally::{Final, Tally};
