//! The worker: one process of the pool. It does one job, and ends when its
//! supervisor does.
//!
//! ```text
//! connection (reader thread) → executor (this thread) → outbox (writer thread)
//!                                   └ stage: fetch → decode → extract → encode
//! ```
//! Bad input never ends a worker: it becomes a record with an error. If a target
//! kills the worker all the same, the black box tells the supervisor which.

mod connection;
mod executor;
mod limits;
mod outbox;
pub mod sandbox;
mod shortage;
mod stage;

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Parser;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{dup2_stdin, getppid};
use shared::black_box::{BlackBox, Phase};
use shared::clock;
use shared::job::JobSpec;
use shared::protocol::{FromWorker, ToWorker};
use signal_hook::consts::SIGXFSZ;
use signal_hook::flag;

use crate::connection::Connection;
use crate::executor::Worker;
use crate::outbox::Outbox;
use crate::shortage::Shortages;
use crate::stage::{Context, Stage};

/// A worker of Muster's pool. It is started by `supervisor`, not by hand.
#[derive(Debug, Parser)]
#[command(name = "worker", version)]
struct Arguments {
    /// Name of the supervisor's one-shot server
    #[arg(long)]
    connect: String,
    /// Process id of the supervisor
    #[arg(long)]
    supervisor: i32,
    /// The slot this process fills; for people who read `ps`
    #[arg(long)]
    slot: Option<u32>,
}

/// Called with each input when it is first computed on in a phase, while the black box names it.
///
/// Only the test build of the worker has one: it crashes, hangs or leaks on
/// inputs that ask for it, at the place where a parser would.
pub type Hook = fn(Phase, &[u8]);

/// Runs the worker; what `main` is.
#[must_use]
pub fn run() -> ExitCode {
    run_with(None)
}

/// Runs the worker with a hook into the stage of every target.
#[must_use]
pub fn run_with(hook: Option<Hook>) -> ExitCode {
    // A file that reaches the limit on its size is an error of the write. An `exec` resets the handler, so the user's
    // program has the default. If there can be none, the signal ends this process, as any worker may end.
    let _ = flag::register(SIGXFSZ, Arc::default());
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing can be done about a standard error that is closed.
            let _ = error.print();
            return ExitCode::from(2);
        }
    };
    match serve(&arguments, hook) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use io::Write as _;
            let who = arguments.slot.map_or("worker".to_owned(), |slot| format!("worker {slot}"));
            let _ = writeln!(io::stderr(), "{who}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &Arguments, hook: Option<Hook>) -> anyhow::Result<()> {
    die_with_supervisor(arguments.supervisor)?;
    let page = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let black_box = Arc::new(BlackBox::open(&page).context("standard input is not the black box")?);
    drop(page);
    // From here on `/dev/stdin` is empty in this process, and never what a user has named.
    dup2_stdin(File::open("/dev/null").context("cannot open /dev/null")?)?;

    let mut connection = Connection::open(&arguments.connect).context("cannot reach the supervisor")?;
    // The end of the channel before a job came means that the run is over.
    let Some(first) = connection.receive()? else { return Ok(()) };
    let job = match first {
        ToWorker::Job(job) => job,
        ToWorker::Slice(_) | ToWorker::Flush | ToWorker::Cookies(_) | ToWorker::Notes(_) => {
            bail!("the supervisor sent something else before a job")
        }
        ToWorker::Drain => return Ok(()),
    };
    let (stage, context, sandbox) = match prepare(&job, &black_box, hook) {
        Ok(prepared) => prepared,
        Err(error) => {
            connection.send(&FromWorker::Refused(format!("{error:#}")))?;
            // Stay until the supervisor has read it and hangs up.
            while connection.receive()?.is_some() {}
            return Ok(());
        }
    };
    // So that the size before the first target is known, whatever that target does.
    black_box.set_usage(clock::resident(), clock::process_cpu());
    connection.send(&FromWorker::Ready { sandbox })?;
    let (sender, receiver) = connection.split();
    let outbox = Outbox::start(sender, black_box, stage.pace())?;
    let (cookies, notes) = (stage.cookies(), stage.notes());
    executor::run(Worker { context, outbox, cookies, notes, then: None }, stage, &job, receiver)
}

/// Sets up the job's stage and enters the sandbox, in that order: setting up may read what working may not.
fn prepare(
    job: &JobSpec,
    black_box: &Arc<BlackBox>,
    hook: Option<Hook>,
) -> anyhow::Result<(Stage, Context, String)> {
    limits::apply(job.memory_bytes_max)?;
    let shortages = Shortages::shown_in(Arc::clone(black_box));
    let stage = Stage::new(job, &shortages)?;
    let context = Context::new(job, Arc::clone(black_box), shortages, hook);
    let sandbox = sandbox::enter(job)?;
    Ok((stage, context, sandbox))
}

/// A worker must not outlive its supervisor, whatever ended that.
fn die_with_supervisor(supervisor: i32) -> anyhow::Result<()> {
    set_pdeathsig(Signal::SIGKILL).context("cannot ask for the parent-death signal")?;
    // It may have died before the signal was armed; then this process has another parent now.
    if getppid().as_raw() != supervisor {
        bail!(
            "its parent is not the supervisor (process {supervisor}): either that has ended, or the script or tool that \
             started this worker did not become it (exec)"
        );
    }
    Ok(())
}
