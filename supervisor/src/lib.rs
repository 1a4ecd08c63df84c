//! The supervisor: starts the workers, hands out the work, gathers the results.
//!
//! Data moves one way, source → frontier → pool → (workers) → gather → sink.
//! `frontier`, `pool` and `gather` decide and are pure; `runtime` acts.

pub mod aggregate;
pub mod api;
mod archive;
mod cli;
mod client;
mod columns;
pub mod config;
mod descriptor;
mod engine;
pub mod format;
mod heading;
pub mod journal;
mod logs;
mod merge;
mod nearest;
pub mod objects;
mod outcome;
pub mod plan;
pub mod progress;
pub mod report;
pub mod runtime;
pub mod service;
pub mod sink;
pub mod source;
pub mod summary;
mod units;
#[cfg(feature = "objects")]
mod upload;
mod verbs;
pub mod view;
mod whole_file;

use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use cli::{Request, Surroundings};
use config::ServiceConfig;
use outcome::{Outcome, Refusal};

/// Runs the command line; what `main` is.
#[must_use]
pub fn run() -> ExitCode {
    let request = match typed() {
        Ok(request) => request,
        Err(refusal) => return refusal.report().into(),
    };
    let done = match request {
        Request::Completions(shell) => {
            cli::write_completions(shell, &mut io::stdout()).map(|()| Outcome::Done)
        }
        Request::ManPages(dir) => {
            return conclude(
                cli::write_man_pages(&dir)
                    .map(|()| Outcome::Done)
                    .with_context(|| format!("cannot write man pages into {}", dir.display())),
            );
        }
        Request::Run(plan) => return conclude(verbs::run(&plan)),
        Request::Csv(plan) => return conclude(verbs::csv(&plan)),
        Request::Serve(config, format, level) => {
            return match logs::begin(format, level) {
                Ok(()) => conclude(verbs::serve(*config, settings_again)),
                Err(error) => Refusal::Impossible(error.to_string()).report().into(),
            };
        }
        Request::Client(order) => return client::run(*order),
        Request::Compare(comparison) => return conclude(verbs::compare(&comparison)),
    };
    match done {
        // `| head` has read what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Outcome::Done.into(),
        Ok(outcome) => outcome.into(),
        Err(error) => Refusal::Impossible(format!("cannot write: {error}")).report().into(),
    }
}

/// What this process was asked for, as its settings are now.
fn typed() -> Result<Request, Refusal> {
    let around = Surroundings {
        variable: &|name| std::env::var_os(name),
        config: Path::new("/etc/muster/muster.toml"),
        stdin_is_terminal: io::stdin().is_terminal(),
        texts: cli::Texts::default(),
    };
    cli::parse(std::env::args_os().collect(), &around)
}

/// A service's settings, read again: what was typed is the same, what stands in the file may not be.
fn settings_again() -> Result<ServiceConfig, String> {
    match typed() {
        Ok(Request::Serve(config, ..)) => Ok(*config),
        Ok(_) => Err("this is no service any more".to_owned()),
        Err(refusal) => Err(refusal.to_string()),
    }
}

fn conclude(done: anyhow::Result<Outcome>) -> ExitCode {
    match done {
        Ok(outcome) => outcome.into(),
        Err(error) => Refusal::Impossible(format!("{error:#}")).report().into(),
    }
}
