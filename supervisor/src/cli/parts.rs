//! Parts of a plan that several commands share: output, pool, sandbox and politeness.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use shared::job::{Executor, Mode, SandboxLevel};
use supervisor_core::frontier::{PerHost, Politeness};

use super::disk::OutputPlan;
use super::flags::{
    CookiesFlag, ModeFlag, NetworkFlags, OutputFlags, PerHostKeyFlag, PoolFlags, RobotsFlag, SandboxFlag,
    SideFlags, WhenFlag,
};
use super::problem::Problem;
use super::values::Limit;
use super::{Environment, disk};
use crate::plan::{HostKey, Output, PoolPlan, When};
use crate::sink::whole;

/// Resolves the output, and checks that no other file of the run has the same path.
pub(super) fn place(
    flags: &OutputFlags,
    inputs: &[&Path],
    env: &Environment<'_>,
) -> Result<OutputPlan, Problem> {
    check_side_files(&flags.output, &flags.side, inputs)?;
    if let Some(manifest) = &flags.manifest {
        disk::check_side_file("--manifest", manifest, inputs)?;
        if flags.split.is_some() {
            return Err(Problem::Usage(format!(
                "--manifest: --split writes the manifest as {} in the directory; leave the flag out",
                whole::MANIFEST
            )));
        }
        check_apart("--manifest", manifest, flags)?;
    }
    let place = disk::output(flags, inputs, env)?;
    let is_file = matches!(&place.output, Output::File { path, .. } if disk::will_be_file(path));
    if place.manifest.is_some() && !is_file {
        return Err(Problem::Usage(
            "--manifest needs an output that is a file; name one with --output FILE".to_owned(),
        ));
    }
    Ok(place)
}

/// Checks that another file of the run is not the output, the summary or the report.
fn check_apart(flag: &str, path: &Path, flags: &OutputFlags) -> Result<(), Problem> {
    let side = [
        ("--output", Some(&flags.output)),
        ("--summary", flags.side.summary.as_ref()),
        ("--report", flags.side.report.as_ref()),
    ];
    for (other_flag, other) in side {
        if let Some(other) = other {
            disk::check_distinct(&[(flag, path), (other_flag, other)])?;
        }
    }
    Ok(())
}

/// Resolves `--cookie-jar`: a run with an output writes it.
pub(super) fn cookie_jar(
    network: Option<&NetworkFlags>,
    output: Option<&OutputFlags>,
    inputs: &[&Path],
) -> Result<Option<PathBuf>, Problem> {
    const FLAG: &str = "--cookie-jar";
    let Some(NetworkFlags { cookie_jar: Some(jar), cookies, .. }) = network else { return Ok(None) };
    if matches!(cookies, Some(CookiesFlag::Off)) {
        return Err(Problem::Usage(format!("{FLAG} needs cookies, and --cookies is off")));
    }
    disk::check_side_file(FLAG, jar, inputs)?;
    if let Some(flags) = output {
        check_apart(FLAG, jar, flags)?;
        if let Some(manifest) = &flags.manifest {
            disk::check_distinct(&[(FLAG, jar), ("--manifest", manifest)])?;
        }
    }
    Ok(Some(jar.clone()))
}

pub(super) fn check_side_files(output: &Path, side: &SideFlags, inputs: &[&Path]) -> Result<(), Problem> {
    let mut files: Vec<(&str, &Path)> = Vec::new();
    if output != Path::new("-") {
        files.push(("--output", output));
    }
    for (flag, path) in [("--summary", &side.summary), ("--report", &side.report)] {
        if let Some(path) = path {
            disk::check_side_file(flag, path, inputs)?;
            files.push((flag, path));
        }
    }
    disk::check_distinct(&files)
}

/// Resolves the pool flags. A mode with one worker or one target at a time overrides the other flags, so that
/// changing only the mode of a job is enough.
pub(super) fn pool_plan(flags: &PoolFlags) -> PoolPlan {
    let mode = match flags.mode {
        ModeFlag::Auto => None,
        ModeFlag::Sequential => Some(Mode::Sequential),
        ModeFlag::Concurrent => Some(Mode::Concurrent),
        ModeFlag::Parallel => Some(Mode::Parallel),
        ModeFlag::Both => Some(Mode::Both),
    };
    let one_worker = mode.is_some_and(|mode| !mode.many_workers());
    let one_target = mode.is_some_and(|mode| mode.executor() == Executor::Blocking);
    PoolPlan {
        workers: if one_worker { Some(NonZeroU32::MIN) } else { flags.workers.0 },
        mode,
        concurrency: if one_target { Some(NonZeroU32::MIN) } else { flags.concurrency.0 },
        worker_memory_bytes: flags.worker_memory,
        recycle_after: flags.recycle,
    }
}

pub(super) const fn when(flag: WhenFlag) -> When {
    match flag {
        WhenFlag::Auto => When::Auto,
        WhenFlag::Always => When::Always,
        WhenFlag::Never => When::Never,
    }
}

pub(super) fn sandbox(flags: &PoolFlags) -> SandboxLevel {
    match flags.sandbox {
        SandboxFlag::Auto => SandboxLevel::Auto,
        SandboxFlag::Require => SandboxLevel::Require,
        SandboxFlag::Off => SandboxLevel::Off,
    }
}

pub(super) fn politeness(network: Option<&NetworkFlags>) -> Politeness {
    match network {
        // A file has no host to spare, and reading it again gives the same result.
        None => Politeness {
            per_host: PerHost::Unlimited,
            rate_per_s: None,
            delay: None,
            obeys_robots: false,
            retries: 0,
        },
        Some(flags) => Politeness {
            per_host: match flags.per_host {
                Limit::Auto => PerHost::Auto,
                Limit::AutoUpTo(n) => PerHost::AutoUpTo(n),
                Limit::AtMost(n) => PerHost::Limit(n),
                Limit::Unlimited => PerHost::Unlimited,
            },
            rate_per_s: flags.rate.map(|rate| rate.0),
            delay: flags.delay.map(|delay| (delay.least, delay.most)),
            obeys_robots: match flags.robots {
                RobotsFlag::Obey => true,
                RobotsFlag::Ignore => false,
            },
            retries: flags.retries,
        },
    }
}

pub(super) fn host_key(network: Option<&NetworkFlags>) -> HostKey {
    match network.map(|flags| flags.per_host_key) {
        Some(PerHostKeyFlag::Host) | None => HostKey::Host,
        Some(PerHostKeyFlag::Domain) => HostKey::Domain,
        Some(PerHostKeyFlag::Ip) => HostKey::Ip,
    }
}
