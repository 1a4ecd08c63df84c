//! File descriptors: the limit is raised as far as allowed, and what is asked
//! for is cut to what then fits, before a worker finds out the hard way.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What a worker needs besides its connections: channels, event loop, resolver, libraries.
const WORKER_RESERVE: u64 = 32;

/// What the supervisor needs besides its workers: inputs, output, journal, signals.
const SUPERVISOR_RESERVE: u64 = 48;

/// What the supervisor keeps open for each worker: two channels, standard error,
/// the page while starting, and the one-shot server.
const PER_WORKER: u64 = 8;

/// One of so many descriptors may be a client's, of each kind of listener.
const CLIENTS_SHARE: u64 = 4;

/// Connections a target may hold at once: its own, and one kept alive for a host seen before.
const PER_TARGET: u64 = 2;

/// Fewest descriptors with which a run can be begun: what the supervisor itself needs for the smallest
/// run, and one worker. With fewer, it would fail somewhere on its way.
const NEEDED: u64 = 24;

/// There are too few descriptors for any run.
#[derive(Debug, thiserror::Error)]
#[error("the limit of {limit} open files is too low: at least {NEEDED} are needed; raise it with ulimit -n")]
pub struct TooFew {
    limit: u64,
}

/// Makes sure that a run can be begun.
///
/// # Errors
/// [`TooFew`] when the limit on open files is too low.
pub fn check() -> Result<(), TooFew> {
    let limit = raise_limit();
    if limit < NEEDED { Err(TooFew { limit }) } else { Ok(()) }
}

/// Raises the soft limit to the hard one, for this process and the workers it
/// starts; how many descriptors each may then have open.
#[must_use]
pub fn raise_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
}

/// What fits into a limit of `descriptors`: at most these workers, and this many targets in flight in each.
#[must_use]
pub fn fit(descriptors: u64, workers: u32, concurrency: u32) -> (u32, u32) {
    let seats = descriptors.saturating_sub(SUPERVISOR_RESERVE) / PER_WORKER;
    let targets = descriptors.saturating_sub(WORKER_RESERVE) / PER_TARGET;
    let cut = |wanted: u32, fits: u64| wanted.min(u32::try_from(fits).unwrap_or(u32::MAX)).max(1);
    (cut(workers, seats), cut(concurrency, targets))
}

/// Connections to the service that fit beside its jobs: however many come in, what jobs need comes first.
#[must_use]
pub fn fit_clients(descriptors: u64, wanted: u32) -> u32 {
    wanted.min(u32::try_from(descriptors / CLIENTS_SHARE).unwrap_or(u32::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_cut_to_what_fits() {
        for (descriptors, workers, concurrency, fits) in [
            (1_048_576, 8, 64, (8, 64)),
            (1024, 200, 1000, (122, 496)),
            (64, 8, 64, (2, 16)),
            (10, 8, 64, (1, 1)),
        ] {
            assert_eq!(fit(descriptors, workers, concurrency), fits, "{descriptors}");
        }
    }

    #[test]
    fn clients_leave_room_for_jobs() {
        for (descriptors, fits) in [(1_048_576, 512), (1024, 256), (64, 16), (3, 1)] {
            assert_eq!(fit_clients(descriptors, 512), fits, "{descriptors}");
        }
    }
}
