//! The worker: one process of the pool. It does what it is told, one job at a
//! time, and ends when its supervisor does.

pub mod stage;

use std::process::ExitCode;

/// Runs the worker; what `main` is.
#[must_use]
pub fn run() -> ExitCode {
    ExitCode::SUCCESS
}
