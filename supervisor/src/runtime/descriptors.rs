//! File descriptors: raises their limit as far as allowed, and cuts the number of workers and
//! of targets in flight to what then fits.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors that a worker needs besides its connections: channels, event loop, resolver, libraries.
const WORKER_RESERVE: u64 = 32;

/// Descriptors that the supervisor needs besides its workers: inputs, output, journal, signals.
const SUPERVISOR_RESERVE: u64 = 48;

/// Descriptors that the supervisor keeps open for each worker: two channels, one of them twice,
/// standard error, and while it starts the page and the sockets at which it introduces itself.
const PER_WORKER: u64 = 8;

/// All clients of a service together get one in this many descriptors.
const CLIENTS_SHARE: u64 = 4;

/// The pools that clients are divided into: the socket, TCP from this machine, TCP from others, trusted proxies.
const CLIENT_POOLS: u64 = 4;

/// Most connections of a target at once: its own, and one kept alive to a host seen before.
const PER_TARGET: u64 = 2;

/// Fewest descriptors with which a run can begin: those of the supervisor in the smallest run, and of
/// one worker. With fewer, the run would fail later.
const NEEDED: u64 = 24;

/// There are too few descriptors for any run.
#[derive(Debug, thiserror::Error)]
#[error("the limit of {limit} open files is too low: at least {NEEDED} are needed; raise it with ulimit -n")]
pub struct TooFew {
    limit: u64,
}

/// Checks that a run can begin.
///
/// # Errors
/// [`TooFew`] if the limit on open files is too low.
pub fn check() -> Result<(), TooFew> {
    let limit = raise_limit();
    if limit < NEEDED { Err(TooFew { limit }) } else { Ok(()) }
}

/// Raises the soft limit to the hard one, for this process and the workers it starts. Returns how many
/// descriptors each may then have open.
#[must_use]
pub fn raise_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
}

/// Returns how many workers, and how many targets in flight in each, fit into a limit of `descriptors`.
#[must_use]
pub fn fit(descriptors: u64, workers: u32, concurrency: u32) -> (u32, u32) {
    let seats = descriptors.saturating_sub(SUPERVISOR_RESERVE) / PER_WORKER;
    let targets = descriptors.saturating_sub(WORKER_RESERVE) / PER_TARGET;
    let cut = |wanted: u32, fits: u64| wanted.min(u32::try_from(fits).unwrap_or(u32::MAX)).max(1);
    (cut(workers, seats), cut(concurrency, targets))
}

/// Returns how many connections of each pool fit beside the jobs of a service.
#[must_use]
pub fn fit_clients(descriptors: u64, wanted: u32) -> u32 {
    let fits = descriptors / CLIENTS_SHARE / CLIENT_POOLS;
    wanted.min(u32::try_from(fits).unwrap_or(u32::MAX)).max(1)
}

/// Returns how many workers of a service fit beside its clients.
#[must_use]
pub fn fit_service(descriptors: u64, workers: u32) -> u32 {
    fit(descriptors - descriptors / CLIENTS_SHARE, workers, 1).0
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
        for (descriptors, clients, workers) in [(1_048_576, 512, 200), (1024, 64, 90), (64, 4, 1), (3, 1, 1)]
        {
            let fits = (fit_clients(descriptors, 512), fit_service(descriptors, 200));
            assert_eq!(fits, (clients, workers), "{descriptors}");
            let needed =
                CLIENT_POOLS * u64::from(clients) + PER_WORKER * u64::from(workers) + SUPERVISOR_RESERVE;
            assert!(descriptors < 128 || needed <= descriptors, "{descriptors}");
        }
    }
}
