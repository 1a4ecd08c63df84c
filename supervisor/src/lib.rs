//! The supervisor: starts the workers, hands out the work, gathers the results.
//!
//! Data moves one way, source → frontier → pool → (workers) → gather → sink.
//! `frontier`, `pool` and `gather` decide and are pure; `runtime` acts.

pub mod gather;
pub mod plan;
pub mod progress;
pub mod report;
pub mod summary;

use std::process::ExitCode;

/// Runs the command line; what `main` is.
#[must_use]
pub fn run() -> ExitCode {
    ExitCode::SUCCESS
}
