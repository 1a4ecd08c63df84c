//! `advise`: measures a sample of a job's inputs, and says what bounds the job, how long it takes and which mode fits.
//!
//! The sample runs as a job of its own ([`engine::run_job`]), with the user's limits, twice: with few targets in flight
//! and with many. Nothing is written, and no input is tried again. What the numbers mean is decided by
//! [`supervisor_core::advice`].

mod list;
mod machine;
mod phase;
mod robots;
mod show;
mod watch;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use rustc_hash::FxHashMap;
use shared::clock;
use shared::record::ErrorKind;
use supervisor_core::advice::{self, Advice, Around, Host, Measured, Question};

use self::list::List;
use self::phase::{Cost, Phases};
use crate::inherited;
use crate::kinds;
use crate::outcome::Outcome;
use crate::plan::{Plan, Survey};
use crate::progress::{Progress, Screen, printable};
use crate::runtime::Workers;
use crate::source::TargetKind;
use crate::summary;

/// Everything that is shown.
struct Findings {
    advice: Advice,
    list: List,
    measured: Measured,
    cost: Cost,
}

/// Samples the inputs, and prints what follows from them.
///
/// # Errors
/// A message for the user if the inputs cannot be read, or if nothing can be advised.
pub(crate) fn run(survey: &Survey) -> anyhow::Result<Outcome> {
    let plan = &survey.plan;
    // Until here, this process has only been starting.
    let start = clock::process_cpu();
    let list = list::read(plan, survey.sample.get(), clock::monotonic_us())?;
    if list.sample.is_empty() {
        anyhow::bail!("no advice: the inputs name no target that can be used");
    }
    let workers = Workers::find()?;
    let mut progress = Progress::new(plan.progress, Screen::stderr()).quiet(plan.quiet);
    let phases = phase::run_all(survey, &list, &workers, &mut progress)?;
    let Phases { few, many, cost, stopped, delays } = phases;
    if let Some(signal) = stopped {
        let name = supervisor_core::pool::signal_name(signal).unwrap_or("a signal");
        say(&format!("stopped by {name}: no advice"));
        return Ok(Outcome::Stopped(u8::try_from(signal).unwrap_or(u8::MAX)));
    }
    let machine = machine::now(&plan.pool, !list.is_loopback());
    // Nobody waits for what a robots.txt disallows.
    let allowed = 1.0 - cost.disallowed as f64 / cost.targets.max(1) as f64;
    let hosts = hosts(plan, &list, &delays, allowed);
    let around = Around {
        hosts: hosts.len(),
        cores: f64::from(machine.cores.min(machine.workers)),
        beside: list.is_loopback(),
        secured: list.secured(),
        mean_bytes: list.mean_bytes(),
        start,
    };
    let Some(measured) = Measured::of(&few, &many, &around) else {
        anyhow::bail!("no advice: {}", all_failed(&cost.errors, cost.targets));
    };
    let question = Question {
        fetches: fetches(plan),
        hosts: &hosts,
        inputs: list.inputs.map(|inputs| part(inputs, allowed)),
        sizes: &list.sizes,
        machine,
        concurrency: plan.pool.concurrency.map(std::num::NonZeroU32::get),
        measured: &measured,
    };
    let advice = advice::advise(&question);
    let failed = summary::failed_inputs(measured.failed as u64 + cost.disallowed, cost.targets, &cost.errors);
    if let Some(failed) = failed.filter(|_| !plan.quiet) {
        say(&format!("sample: {failed}"));
    }
    print(&Findings { advice, list, measured, cost }, survey.json)
}

/// Writes a line to standard error. If it is closed, nobody is there to tell.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", printable(text));
}

/// Whether targets are requests; else they are files.
fn fetches(plan: &Plan) -> bool {
    kinds::of(&plan.work).rules().target == TargetKind::Url
}

/// The hosts, of whose inputs this share is allowed. A host whose robots.txt was not read is taken to ask for the mean
/// delay of the others.
fn hosts(plan: &Plan, list: &List, delays: &FxHashMap<usize, Duration>, allowed: f64) -> Vec<Host> {
    let asked_s = delays.values().map(Duration::as_secs_f64).sum::<f64>() / delays.len().max(1) as f64;
    let host = |(number, host): (usize, &list::HostInputs)| Host {
        inputs: part(host.inputs, allowed),
        limit: plan.politeness.in_flight_max(host.local),
        interval_s: delays
            .get(&number)
            .map_or(asked_s, Duration::as_secs_f64)
            .max(plan.politeness.interval().as_secs_f64()),
    };
    list.hosts.iter().enumerate().map(host).collect()
}

/// This share of a number, rounded up.
fn part(of: u64, share: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "no more than the whole")]
    let part = (of as f64 * share).ceil() as u64;
    part
}

fn all_failed(errors: &BTreeMap<ErrorKind, u64>, targets: u64) -> String {
    let Some(failed) = summary::failed_inputs(targets, targets, errors) else {
        return "a robots.txt cannot be fetched, so it is not known what may be; try again later".to_owned();
    };
    format!("{failed} in the sample; run the job on a few of them to see why")
}

fn print(findings: &Findings, json: bool) -> anyhow::Result<Outcome> {
    let text = if json { show::json(findings)? } else { show::table(findings, Screen::stdout()) };
    let mut out = io::stdout();
    let written =
        inherited::check_stdout().and_then(|()| out.write_all(text.as_bytes())).and_then(|()| out.flush());
    match written {
        // `| head` has read what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Outcome::Done),
        written => written.map(|()| Outcome::Done).context("cannot write to standard output"),
    }
}
