//! What a job allows its workers: time, files and memory. Each is derived from the plan,
//! so that the supervisor's limits always lie beyond the workers' own.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use shared::job::{Executor, SandboxLevel};
use supervisor_core::frontier::FrontierConfig;
use supervisor_core::pool::{Ahead, PoolConfig};

use super::shape::Shape;
use crate::kinds;
use crate::plan::{Plan, Twice};
use crate::source::is_allowed;

/// From fork to ready, before a worker is taken for broken.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Between asking a process to end and killing it.
const TERMINATE_GRACE: Duration = Duration::from_secs(2);

/// What the supervisor allows on top of the worker's own limits before it ends the worker.
const MARGIN: Duration = Duration::from_secs(5);

/// Stands for no limit.
const ENDLESS: Duration = Duration::from_secs(365 * 24 * 3600);

/// Attempts that may kill their worker before the target is set aside.
const CRASHES_MAX: u32 = 3;

/// Returns what the workers may read; `None` is anything.
pub(super) fn readable(plan: &Plan) -> Option<Vec<OsString>> {
    if plan.sandbox == SandboxLevel::Off {
        return None;
    }
    // Without links: workers that start later must not be led to somewhere else.
    let real = |path: PathBuf| fs::canonicalize(path).ok().filter(|real| is_allowed(real, &plan.within));
    let paths = kinds::of(&plan.work).readable(plan)?;
    Some(paths.into_iter().filter_map(real).map(PathBuf::into_os_string).collect())
}

/// Returns the limits per host.
pub(super) fn frontier_config(plan: &Plan, shape: Shape) -> FrontierConfig {
    FrontierConfig {
        // A user who sets the mode or the concurrency gets that much at local addresses.
        adapts_local: plan.pool.mode.is_none() && plan.pool.concurrency.is_none(),
        in_flight_max: shape.in_flight_max(),
        ..FrontierConfig::from(&plan.politeness)
    }
}

/// Returns the deadlines and limits of the pool. `is_recorded` says whether a journal records which targets are done.
pub(super) fn pool_config(plan: &Plan, shape: Shape, is_recorded: bool) -> PoolConfig {
    let rules = kinds::of(&plan.work).rules();
    let parse_timeout = plan.parse_timeout;
    let program = kinds::program(plan);
    let batch = program.as_ref().and_then(|spec| spec.batch).map_or(1, |batch| batch.get() as usize);
    let program_timeout = program.as_ref().map_or(Duration::ZERO, |spec| spec.timeout);
    let deadline = |timeout| if rules.has_deadline { timeout } else { ENDLESS };
    PoolConfig {
        slots: shape.workers,
        concurrency: shape.concurrency,
        ahead: match rules.twice {
            // What a worker has when it dies may have been sent, so it gets only what it sends at once.
            Twice::Forbidden | Twice::Avoided => Ahead { most: 0, ..Ahead::default() },
            Twice::Harmless if program.is_some() => Ahead::of_program(batch),
            Twice::Harmless => Ahead::default(),
        },
        piped: program.is_some(),
        retries: plan.politeness.retries,
        crashes_max: CRASHES_MAX,
        handshake_timeout: HANDSHAKE_TIMEOUT,
        // The worker counts CPU time, and this is wall time: on a busy machine up to twice as much.
        stall_timeout: MARGIN
            + parse_timeout * 2
            + match shape.mode.executor() {
                // A blocking worker shows nothing while it waits.
                Executor::Blocking => rules.wait_max,
                Executor::EventLoop => Duration::ZERO,
            },
        stage_timeout: deadline(parse_timeout * 2 + MARGIN),
        // Other targets' parsing may delay this one, but not for ever.
        target_timeout: deadline((rules.wait_max + parse_timeout) * 2 + MARGIN),
        drain_grace: rules.wait_max + parse_timeout + program_timeout + MARGIN,
        terminate_grace: TERMINATE_GRACE,
        recycle_after: plan.pool.recycle_after,
        rss_allowance_bytes: plan.pool.worker_memory_bytes.map(|bytes| bytes / 2),
        settles: is_recorded && rules.twice != Twice::Harmless,
    }
}
