//! `csv`'s end of the flow: reports of parts are merged instead of written, and the groups are written at the end.
//!
//! ```text
//! runtime → (in order of the file) merge → output
//! ```
//! `merge` is fed by the thread that writes records in other jobs, `run` drives the passes, `output` writes
//! the table, `rows` says which rows were bad. Reports are merged in the order of the file, and a file's groups
//! join the others only when all of it is good: until then they can be dropped.

mod output;
mod rows;
mod run;

pub use output::write;
pub(crate) use run::{CsvReport, run, spec};
