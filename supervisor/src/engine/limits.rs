//! What a job allows its workers: time, files, and what they hold. Each is derived from the
//! plan, so that the supervisor's limits always lie beyond the workers' own.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use shared::job::{Executor, SandboxLevel, Work};
use supervisor_core::pool::{Ahead, PoolConfig};

use super::Shape;
use crate::plan::{Input, Plan};
use crate::source::{is_allowed, led_out};

/// From fork to ready, before a worker is taken for broken.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Between asking a process to end and killing it.
const TERMINATE_GRACE: Duration = Duration::from_secs(2);

/// What the supervisor allows on top of the worker's own limits before it ends the worker.
const MARGIN: Duration = Duration::from_secs(5);

/// Longer than anything takes.
const ENDLESS: Duration = Duration::from_secs(365 * 24 * 3600);

/// Attempts that may kill their worker before the target is set aside.
const CRASHES_MAX: u32 = 3;

/// What the workers may read: what is named, and what links in it lead to. A list of paths is read as it goes,
/// so then anything.
pub(crate) fn readable(plan: &Plan) -> Option<Vec<OsString>> {
    if plan.sandbox == SandboxLevel::Off {
        return None;
    }
    let paths: Option<Vec<PathBuf>> = match plan.work {
        Work::Fetch(_) | Work::Sitemap(_) | Work::Map(_) => Some(Vec::new()),
        Work::Csv(ref spec) => {
            Some(spec.files.iter().filter(|file| !file.held).map(|file| file.at.clone()).collect())
        }
        Work::Parse(_) => plan
            .inputs
            .iter()
            .map(|input| match input {
                Input::Tree(path) => Some(path),
                Input::Literal(_)
                | Input::Lines(_)
                | Input::StdinLines
                | Input::CsvColumn(..)
                | Input::JsonColumn(..)
                | Input::ParquetColumn(..)
                | Input::Sitemaps(_) => None,
            })
            .collect::<Option<Vec<_>>>()
            .map(|trees| {
                let led_out = trees.iter().flat_map(|tree| led_out(tree, &plan.within));
                led_out.chain(trees.iter().map(|tree| (*tree).clone())).collect()
            }),
    };
    // Without links: workers that start later must not be led to somewhere else.
    let real = |path: PathBuf| fs::canonicalize(path).ok().filter(|real| is_allowed(real, &plan.within));
    paths.map(|paths| paths.into_iter().filter_map(real).map(PathBuf::into_os_string).collect())
}

/// Its deadlines and its bounds.
pub(super) fn pool_config(plan: &Plan, shape: Shape) -> PoolConfig {
    let timeout = match &plan.work {
        Work::Fetch(fetch) | Work::Sitemap(fetch) => fetch.timeout,
        Work::Parse(_) | Work::Map(_) | Work::Csv(_) => Duration::ZERO,
    };
    let parse_timeout = plan.parse_timeout;
    let program = plan.program();
    let batch = program.and_then(|spec| spec.batch).map_or(1, |batch| batch.get() as usize);
    let program_timeout = program.map_or(Duration::ZERO, |spec| spec.timeout);
    // A part may be a whole file and take hours. It shows that it goes on; only standing still is a hang.
    let endless = matches!(plan.work, Work::Csv(_)).then_some(ENDLESS);
    PoolConfig {
        slots: shape.workers,
        concurrency: shape.concurrency,
        ahead: if program.is_some() { Ahead::of_program(batch) } else { Ahead::default() },
        piped: program.is_some(),
        retries: plan.politeness.retries,
        crashes_max: CRASHES_MAX,
        handshake_timeout: HANDSHAKE_TIMEOUT,
        // The worker counts CPU time and this is wall time: on a crowded machine that is twice as much.
        stall_timeout: MARGIN
            + parse_timeout * 2
            + match shape.mode.executor() {
                // A blocking worker shows nothing while it waits.
                Executor::Blocking => timeout,
                Executor::EventLoop => Duration::ZERO,
            },
        stage_timeout: endless.unwrap_or(parse_timeout * 2 + MARGIN),
        // Other targets' parsing may delay this one, but not for ever.
        target_timeout: endless.unwrap_or((timeout + parse_timeout) * 2 + MARGIN),
        drain_grace: timeout + parse_timeout + program_timeout + MARGIN,
        terminate_grace: TERMINATE_GRACE,
        recycle_after: plan.pool.recycle_after,
        rss_allowance_bytes: plan.pool.worker_memory_bytes.map(|bytes| bytes / 2),
    }
}
