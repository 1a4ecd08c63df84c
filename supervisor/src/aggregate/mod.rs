//! The groups of a `csv` job: merging what the workers found, and writing it as a table.
//!
//! ```text
//! runtime → (in the order of the file) merge → output
//! ```
//! `merge` runs on the thread that writes records in other jobs, `output` encodes the table, and `rows` says
//! which rows were bad. Reports are merged in the order of the file. The groups of a file join the others only
//! once all of it has turned out good; until then they can be dropped.

mod merge;
mod output;
mod rows;

pub(crate) use self::merge::{AggregateError, Merge, Merged, OnePass};
pub(crate) use self::output::encode;
pub(crate) use self::rows::remarks;
