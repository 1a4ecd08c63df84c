//! The supervisor: starts the workers, hands out the work, gathers the results.
//!
//! Data moves one way, source → frontier → pool → (workers) → gather → sink.
//! `frontier`, `pool` and `gather` decide and are pure; `runtime` acts.

mod auto;
mod engine;
pub mod frontier;
pub mod gather;
mod nearest;
pub mod plan;
pub mod pool;
pub mod progress;
pub mod runtime;
pub mod sink;
pub mod source;
pub mod summary;

use std::process::ExitCode;

/// Runs the command line; what `main` is.
#[must_use]
pub fn run() -> ExitCode {
    ExitCode::SUCCESS
}
