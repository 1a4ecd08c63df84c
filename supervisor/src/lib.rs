//! The supervisor: starts the workers, hands out the work, gathers the results.
//!
//! Data moves one way, source → frontier → pool → (workers) → gather → sink.
//! `frontier`, `pool` and `gather` decide and are pure; `runtime` acts.

mod advise;
mod aggregate;
pub mod api;
mod archive;
mod cli;
mod client;
mod columns;
pub mod config;
mod cookies;
mod crawl;
mod descriptor;
mod engine;
pub mod format;
#[cfg(test)]
mod fuzz;
mod heading;
mod inherited;
pub mod journal;
mod kinds;
mod learned;
mod logs;
mod nearest;
pub mod objects;
mod outcome;
pub mod plan;
pub mod progress;
pub mod report;
mod robots;
pub mod runtime;
mod saving;
pub mod service;
mod session;
mod shortage;
mod side_file;
mod since;
pub mod sink;
pub mod source;
pub mod summary;
mod units;
#[cfg(feature = "objects")]
mod upload;
mod verbs;
pub mod view;
mod whole_file;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use cli::{Environment, Invocation};
use config::ServiceConfig;
use outcome::{Outcome, Refusal};

/// Runs the command line; what `main` is.
#[must_use]
pub fn run() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == source::READER) {
        return source::read_list();
    }
    if let Err(error) = inherited::settle() {
        return Refusal::Impossible(format!("cannot set up signals: {error}")).report().into();
    }
    let request = match typed() {
        Ok(request) => request,
        Err(refusal) => return refusal.report().into(),
    };
    let done = match request {
        Invocation::Completions(shell) => completions(shell),
        Invocation::ManPages(dir) => cli::write_man_pages(&dir)
            .map(|()| Outcome::Done)
            .with_context(|| format!("cannot write man pages into {}", dir.display())),
        Invocation::Client(order) => return client::run(*order),
        Invocation::Run(plan) => with_descriptors(|| verbs::run(&plan)),
        Invocation::Advise(survey) => with_descriptors(|| advise::run(&survey)),
        Invocation::Compare(comparison) => with_descriptors(|| verbs::compare(&comparison)),
        Invocation::Serve(config, format, level) => logs::begin(format, level)
            .map_err(anyhow::Error::from)
            .and_then(|()| with_descriptors(|| verbs::serve(*config, settings_again))),
    };
    conclude(done)
}

/// Does what needs workers, if there are descriptors enough for one.
fn with_descriptors(work: impl FnOnce() -> anyhow::Result<Outcome>) -> anyhow::Result<Outcome> {
    runtime::descriptors::check()?;
    work()
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<Outcome> {
    let mut out = io::stdout();
    let written = inherited::check_stdout()
        .and_then(|()| cli::write_completions(shell, &mut out))
        .and_then(|()| out.flush());
    match written {
        // `| head` has read what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Outcome::Done),
        written => written.map(|()| Outcome::Done).context("cannot write to standard output"),
    }
}

/// What this process was asked for, as its settings are now.
fn typed() -> Result<Invocation, Refusal> {
    let env = Environment {
        variable: &|name| std::env::var_os(name),
        config: Path::new("/etc/muster/muster.toml"),
        stdin_is_terminal: io::stdin().is_terminal(),
        isolates_lists: false,
        readable: None,
        headers_max: usize::MAX,
        texts: cli::Texts::default(),
    };
    cli::parse(std::env::args_os().collect(), &env)
}

/// A service's settings, read again: what was typed is the same, what stands in the file may not be.
fn settings_again() -> Result<ServiceConfig, String> {
    match typed() {
        Ok(Invocation::Serve(config, ..)) => Ok(*config),
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
