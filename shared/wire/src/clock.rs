//! The only module that reads the time.
//!
//! The code that decides (`pool`, `frontier`, `gather`) is given `now` instead, so that a test can
//! replay an hour in a millisecond.

use std::time::{Duration, Instant, SystemTime};

use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// Returns the current instant of the monotonic clock.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Returns the wall-clock time, for names and timestamps that people read; never for deadlines.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
#[must_use]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// Returns the wall-clock time in seconds since 1970, for what others date: cookies. Never for deadlines.
#[must_use]
pub fn wall_s() -> u64 {
    wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Returns `CLOCK_MONOTONIC` in microseconds, which is the same for every process of the machine.
///
/// An [`Instant`] cannot cross a process boundary; this can.
#[must_use]
pub fn monotonic_us() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |t| {
        u64::try_from(t.tv_sec()).unwrap_or(0) * 1_000_000 + u64::try_from(t.tv_nsec()).unwrap_or(0) / 1_000
    })
}

/// Returns the CPU time this process has used so far, user and system together.
#[must_use]
pub fn process_cpu() -> Duration {
    usage_cpu(UsageWho::RUSAGE_SELF)
}

/// Returns the CPU time the calling thread has used so far, user and system together.
#[must_use]
pub fn thread_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Returns the CPU time that another process has used so far; `None` if there is no such process.
#[must_use]
pub fn cpu_of(pid: u32) -> Option<Duration> {
    let pid = i32::try_from(pid).ok()?;
    let clock = clock_getcpuclockid(Pid::from_raw(pid)).ok()?;
    clock_gettime(clock).ok().map(Duration::from)
}

/// Returns for how long the main thread of another process was ready to run so far, but had no core; `None` if there is
/// no such process, or this kernel does not count it.
#[must_use]
pub fn core_wait_of(pid: u32) -> Option<Duration> {
    // Time on a core, time waited for one, and how often it got one (Documentation/scheduler/sched-stats.rst).
    let stat = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    let waited_ns = stat.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(Duration::from_nanos(waited_ns))
}

/// Returns the CPU time of all children reaped so far.
#[must_use]
pub fn children_cpu() -> Duration {
    usage_cpu(UsageWho::RUSAGE_CHILDREN)
}

/// Returns how many bytes all children reaped so far read from disks. What the kernel had in memory does not count.
#[must_use]
pub fn children_disk_bytes() -> u64 {
    // The kernel counts in units of 512 bytes, whatever the block size is.
    getrusage(UsageWho::RUSAGE_CHILDREN)
        .map_or(0, |usage| u64::try_from(usage.block_reads()).unwrap_or(0) * 512)
}

/// Resident memory of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resident {
    /// Current size in bytes.
    pub now_bytes: u64,
    /// Largest size so far in bytes.
    pub max_bytes: u64,
}

/// Returns the resident memory of this process; zeros if `/proc` is not mounted.
///
/// Not `getrusage`: its maximum survives `exec`, so that a small program started by a large one
/// looks large.
#[must_use]
pub fn resident() -> Resident {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
    };
    Resident { now_bytes: bytes("VmRSS:").unwrap_or(0), max_bytes: bytes("VmHWM:").unwrap_or(0) }
}

fn usage_cpu(who: UsageWho) -> Duration {
    getrusage(who).map_or(Duration::ZERO, |usage| {
        [usage.user_time(), usage.system_time()]
            .iter()
            .map(|t| {
                Duration::from_secs(u64::try_from(t.tv_sec()).unwrap_or(0))
                    + Duration::from_micros(u64::try_from(t.tv_usec()).unwrap_or(0))
            })
            .sum()
    })
}
