//! What was seen of the sample: each target, and what a phase took as a whole.
//!
//! CPU time is taken from the clocks of processes. The time that a worker notes for each target also runs while the
//! worker waits for a core, so it only says how the CPU time is distributed over the targets.

use std::time::Duration;

use rustc_hash::FxHashSet;

use super::statistics::{Line, mean, seconds};

/// Targets without which a mean is taken over all, even those that had to connect first.
pub(super) const ENOUGH: usize = 8;

/// CPU time of workers and supervisor for a request and its record, in seconds, without what the page takes. For pages
/// of a few bytes that is all there is, and a sample of 200 is too short for the clocks to show it.
pub(super) const REQUEST_S: f64 = 20e-6;

/// Least number of targets in flight that is worth a phase of its own.
const WORTH_MIN: u32 = 16;

/// One target of the sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attempt {
    /// The number of its host.
    pub host: usize,
    /// When it began, in microseconds.
    pub started_us: u64,
    /// Duration in microseconds.
    pub elapsed_us: u64,
    /// Time from the request to the first byte, in microseconds; `None` if there was no answer.
    pub first_byte_us: Option<u64>,
    /// Part of the duration that its worker computed, in microseconds.
    pub cpu_us: u64,
    /// Bytes of its body.
    pub bytes: u64,
    /// Whether it gave a record without an error.
    pub ok: bool,
    /// Whether its server asked for fewer requests.
    pub refused: bool,
}

impl Attempt {
    fn ended_us(&self) -> u64 {
        self.started_us.saturating_add(self.elapsed_us)
    }
}

/// One phase of the sample.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Phase {
    /// The targets.
    pub attempts: Vec<Attempt>,
    /// From the start of the first process to the end of the last.
    pub wall: Duration,
    /// CPU time of the supervisor and its workers.
    pub cpu: Duration,
    /// CPU time of all other processes, if it is known.
    pub other_cpu: Option<Duration>,
    /// Bytes that the workers read from a disk. What the kernel has in memory does not count.
    pub disk_bytes: u64,
    /// Largest resident set of a worker, in bytes.
    pub resident_bytes: u64,
}

impl Phase {
    /// The targets that began after others had ended: most of them found an open connection and a warm worker.
    /// Refusals are left out if anything else remains: they take less time than pages.
    pub(super) fn settled(&self) -> Vec<&Attempt> {
        let first_end = self.attempts.iter().map(Attempt::ended_us).min().unwrap_or(0);
        let taken = || self.attempts.iter().filter(|one| !one.refused);
        let settled: Vec<_> = taken().filter(|one| one.started_us >= first_end).collect();
        if settled.len() >= ENOUGH {
            return settled;
        }
        let all: Vec<_> = taken().collect();
        if all.is_empty() { self.attempts.iter().collect() } else { all }
    }

    /// Mean of something about the settled targets, in seconds; if the mean size of all inputs is known, of inputs of
    /// that size.
    pub(super) fn expected_s(&self, of: fn(&Attempt) -> u64, mean_bytes: Option<f64>) -> f64 {
        let points: Vec<_> = self.settled().iter().map(|one| (one.bytes as f64, seconds(of(one)))).collect();
        match mean_bytes {
            Some(bytes) => Line::through(&points).at(bytes),
            None => mean(&points.iter().map(|(_, s)| *s).collect::<Vec<_>>()),
        }
    }

    /// Time that the workers noted for all targets, in seconds.
    pub(super) fn computed_s(&self) -> f64 {
        self.attempts.iter().map(|one| seconds(one.cpu_us)).sum()
    }

    /// Connections that were opened: one for each target that was in flight, or more if there are more hosts.
    pub(super) fn connections(&self) -> f64 {
        let hosts: FxHashSet<_> = self.attempts.iter().map(|one| one.host).collect();
        f64::from(self.in_flight()).max(hosts.len() as f64)
    }

    /// Whether the files came from a disk. The smallest one is in memory: the workers were started with it.
    pub(super) fn is_from_disk(&self) -> bool {
        let sizes = || self.attempts.iter().map(|one| one.bytes);
        let read = sizes().sum::<u64>() - sizes().min().unwrap_or(0);
        self.disk_bytes > read / 2
    }

    /// Share of the targets that were refused.
    pub(super) fn refused_share(&self) -> f64 {
        let refused = self.attempts.iter().filter(|one| one.refused).count();
        refused as f64 / self.attempts.len().max(1) as f64
    }

    /// Targets a second that are taken where others are refused: the most of any `ENOUGH` in a row in the second half
    /// of the phase. In the first half, a burst may have been taken, and the pace was still sought.
    pub(super) fn taken_per_s(&self) -> f64 {
        let first = self.attempts.iter().map(|one| one.started_us).min().unwrap_or(0);
        let last = self.attempts.iter().map(|one| one.started_us).max().unwrap_or(0);
        let middle = first.midpoint(last);
        let taken = self.attempts.iter().filter(|one| !one.refused && one.started_us >= middle);
        let mut starts: Vec<u64> = taken.map(|one| one.started_us).collect();
        starts.sort_unstable();
        let count = starts.len().min(ENOUGH);
        let spans = starts.windows(count.max(2)).filter_map(|row| row.last()?.checked_sub(*row.first()?));
        match spans.min() {
            Some(least) => count.saturating_sub(1) as f64 / seconds(least).max(1e-6),
            None => (starts.len().max(1)) as f64 / self.spanned_s().max(1e-6),
        }
    }

    /// How many targets the next phase should have in flight at most, to saturate what it can: four times what keeps
    /// the cores busy. More of them only wait for a core, and connecting them costs more than they show.
    #[must_use]
    pub fn worth_in_flight(&self, cores: u32) -> u32 {
        let cpu_s = self.expected_s(|one| one.cpu_us, None) + REQUEST_S;
        let latency_s = self.expected_s(|one| one.elapsed_us, None).max(cpu_s);
        super::whole(4.0 * f64::from(cores) * latency_s / cpu_s).max(WORTH_MIN)
    }

    /// The least time that a target waited: a server hardly computes longer for one.
    pub(super) fn least_wait_s(&self) -> f64 {
        let waits = self.attempts.iter().map(|one| one.elapsed_us.saturating_sub(one.cpu_us));
        seconds(waits.min().unwrap_or(0))
    }

    /// Targets a second over the whole phase. What is saturated is busy from the first start to the last end; within
    /// that time, ends come in bursts where all share one resource evenly.
    pub(super) fn throughput(&self) -> f64 {
        self.attempts.len() as f64 / self.spanned_s().max(1e-6)
    }

    /// Most targets that were in flight at one moment. A start at the moment of an end takes the freed place.
    pub(super) fn in_flight(&self) -> u32 {
        let mut moments: Vec<(u64, i32)> =
            self.attempts.iter().flat_map(|one| [(one.started_us, 1), (one.ended_us(), -1)]).collect();
        moments.sort_unstable();
        let counts = moments.iter().scan(0, |count, (_, change)| {
            *count += change;
            Some(*count)
        });
        counts.max().and_then(|most| u32::try_from(most).ok()).unwrap_or(0)
    }

    /// From the first start to the last end.
    pub(super) fn spanned_s(&self) -> f64 {
        let first = self.attempts.iter().map(|one| one.started_us).min().unwrap_or(0);
        let last = self.attempts.iter().map(Attempt::ended_us).max().unwrap_or(0);
        seconds(last.saturating_sub(first))
    }
}
