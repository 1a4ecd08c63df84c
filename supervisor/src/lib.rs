//! The supervisor: starts the workers, hands out the work, gathers the results.
//!
//! Data moves one way, source → frontier → pool → (workers) → gather → sink.
//! `frontier`, `pool` and `gather` decide and are pure; `runtime` acts.

#[cfg_attr(
    not(test),
    expect(dead_code, reason = "a run ends in more ways than there are yet")
)]
pub(crate) mod cli;
mod nearest;
pub mod plan;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "pulled by the runtime, which comes next")
)]
pub(crate) mod source;

use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::process::ExitCode;

use cli::{Outcome, Refusal, Request, Surroundings};

/// Runs the command line; what `main` is.
#[must_use]
pub fn run() -> ExitCode {
    let around = Surroundings {
        variable: &|name| std::env::var_os(name),
        config: Path::new("/etc/muster/muster.toml"),
        stdin_is_terminal: io::stdin().is_terminal(),
    };
    let done = match cli::parse(std::env::args_os().collect(), &around) {
        Err(refusal) => return refusal.report().into(),
        Ok(Request::Completions(shell)) => cli::write_completions(shell, &mut io::stdout()),
        Ok(Request::ManPages(dir)) => match cli::write_man_pages(&dir) {
            Ok(()) => Ok(()),
            Err(error) => {
                return Refusal::Impossible(format!("cannot write {}: {error}", dir.display()))
                    .report()
                    .into();
            }
        },
        Ok(Request::Run(_) | Request::Compare(_)) => Ok(()),
    };
    match done {
        Ok(()) => Outcome::Done.into(),
        // `| head` has read what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Outcome::Done.into(),
        Err(error) => Refusal::Impossible(format!("cannot write to standard output: {error}"))
            .report()
            .into(),
    }
}
