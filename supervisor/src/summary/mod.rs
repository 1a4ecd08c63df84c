//! What a run did, in one JSON object (`--summary`) and one table on stderr.
//!
//! Built from [`supervisor_core::gather`] and a few facts about the processes. The keys
//! are part of the product's contract: scripts read them.

mod compare;
mod table;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::job::Mode;
use shared::record::ErrorKind;
use supervisor_core::gather::{Gather, Latencies, Latency, LatencyBin, Timeline};
use utoipa::ToSchema;

use crate::whole_file::{WriteError, replace};

pub use compare::table as compare_table;
pub(crate) use table::new_table;
pub use table::{failed_inputs, table};

/// What gather cannot know: how the run was set up and what its processes used.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The execution model that ran, chosen or measured.
    pub mode: Mode,
    /// Slots in the pool.
    pub workers: u32,
    /// Targets in flight per worker, at most.
    pub concurrency: u32,
    /// From the first process started to the last record committed.
    pub wall: Duration,
    /// CPU time of all processes, the supervisor's included.
    pub cpu: Duration,
    /// The supervisor's part of it.
    pub supervisor_cpu: Duration,
    /// Largest resident set of the supervisor.
    pub supervisor_rss_bytes_max: u64,
    /// Why `--mode auto` picked this mode; `None` when the user did.
    pub why: Option<String>,
    /// What of the sandbox was in force in the workers.
    pub sandbox: String,
}

/// What a run did. Field order and names are the file's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Summary {
    /// The execution model that ran.
    #[schema(value_type = String)]
    pub mode: Mode,
    /// Slots in the pool.
    pub workers: u32,
    /// Targets in flight per worker, at most.
    pub concurrency: u32,
    /// Final results: ok + failed.
    pub items: u64,
    /// Records with fields.
    pub ok: u64,
    /// Records with an error, quarantined ones included.
    pub failed: u64,
    /// Set aside because their worker died on them, on every attempt.
    pub quarantined: u64,
    /// Attempts that were not the last of their target.
    pub retries: u64,
    /// Body bytes read.
    pub bytes: u64,
    /// From the first process started to the last record committed, in seconds.
    pub wall_s: f64,
    /// CPU time of all processes, in seconds.
    pub cpu_s: f64,
    /// The supervisor's part of it.
    pub supervisor_cpu_s: f64,
    /// `items` over `wall_s`; in a resumed run, of the items it did itself.
    pub items_per_s: f64,
    /// How long targets took; the last attempt of each.
    pub latency_ms: LatencyMs,
    /// Failed records by kind.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub errors: BTreeMap<ErrorKind, u64>,
    /// Sitemaps that could not be read, and whose pages are left out; absent if all could.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub sitemaps_failed: u64,
    /// One entry for each slot, in order.
    pub per_worker: Vec<PerWorker>,
    /// What of the sandbox was in force in the workers: `landlock, seccomp`, or `off`; empty if none started.
    #[serde(default)]
    pub sandbox: String,
    /// Processes started to replace another.
    pub restarts: u64,
    /// Why `--mode auto` picked this mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Quantiles of how long targets took, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LatencyMs {
    /// Half of the targets were at most this long.
    pub p50: f64,
    /// Nine in ten.
    pub p90: f64,
    /// 99 in 100.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl From<&Latency> for LatencyMs {
    fn from(latency: &Latency) -> Self {
        let quantile_ms = |quantile| thousandths(latency.quantile_us(quantile) as f64 / 1e3);
        Self {
            p50: quantile_ms(0.5),
            p90: quantile_ms(0.9),
            p99: quantile_ms(0.99),
            max: thousandths(latency.max_us() as f64 / 1e3),
        }
    }
}

/// One slot's part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PerWorker {
    /// Its number, from 0.
    pub slot: u32,
    /// Processes started in it.
    pub starts: u64,
    /// Final results that came from it.
    pub items: u64,
    /// CPU time of its processes, in seconds.
    pub cpu_s: f64,
    /// Largest resident set of any of its processes.
    pub rss_bytes_max: u64,
}

impl Summary {
    /// Sums up a run.
    #[must_use]
    pub fn new(gather: &Gather, facts: &Facts) -> Self {
        let counts = gather.counts();
        let wall_s = facts.wall.as_secs_f64();
        Self {
            mode: facts.mode,
            workers: facts.workers,
            concurrency: facts.concurrency,
            items: counts.items(),
            ok: counts.ok,
            failed: counts.failed,
            quarantined: counts.quarantined,
            retries: counts.retries,
            bytes: counts.bytes,
            wall_s: thousandths(wall_s),
            cpu_s: thousandths(facts.cpu.as_secs_f64()),
            supervisor_cpu_s: thousandths(facts.supervisor_cpu.as_secs_f64()),
            items_per_s: if wall_s > 0.0 { thousandths(gather.items_now() as f64 / wall_s) } else { 0.0 },
            latency_ms: gather.latency().into(),
            errors: gather.errors().clone(),
            sitemaps_failed: 0,
            per_worker: (0..).zip(gather.slots()).map(PerWorker::from).collect(),
            restarts: gather.restarts(),
            sandbox: facts.sandbox.clone(),
            why: facts.why.clone(),
        }
    }

    /// Writes it to `path` as JSON, all or nothing.
    ///
    /// # Errors
    /// `WriteError` if the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), WriteError> {
        let written = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
        let mut json = written.map_err(|source| WriteError { path: path.to_owned(), source })?;
        json.push(b'\n');
        replace(path, &json)
    }
}

impl From<(u32, &supervisor_core::gather::SlotCounts)> for PerWorker {
    fn from((slot, counts): (u32, &supervisor_core::gather::SlotCounts)) -> Self {
        Self {
            slot,
            starts: counts.starts,
            items: counts.items,
            cpu_s: thousandths(counts.cpu.as_secs_f64()),
            rss_bytes_max: counts.rss_bytes_max,
        }
    }
}

/// A run with what the comparison and the report show of it.
#[derive(Debug, Clone)]
pub struct ModeRun {
    /// The same as `--summary`'s.
    pub summary: Summary,
    /// Attempts in flight, averaged over the run.
    pub in_flight_mean: f64,
    /// Most attempts in flight at once.
    pub in_flight_peak: u64,
    /// Largest resident set of the supervisor, in bytes.
    pub supervisor_rss_bytes_max: u64,
    /// What was in flight when.
    pub timeline: Timeline,
    /// The distribution of how long targets took.
    pub latency: Vec<LatencyBin>,
    /// The same in a few buckets.
    pub latencies: Latencies,
}

impl ModeRun {
    /// Takes what is shown of a run out of its gather.
    #[must_use]
    pub fn new(gather: &Gather, facts: &Facts) -> Self {
        Self {
            summary: Summary::new(gather, facts),
            in_flight_mean: gather.in_flight_mean(facts.wall),
            in_flight_peak: gather.in_flight_peak(),
            supervisor_rss_bytes_max: facts.supervisor_rss_bytes_max,
            timeline: gather.timeline().clone(),
            latency: gather.latency().bins(),
            latencies: *gather.latency().coarse(),
        }
    }

    /// Largest resident sets of all processes together, in bytes.
    #[must_use]
    pub fn rss_bytes_max(&self) -> u64 {
        let workers = self.summary.per_worker.iter().map(|worker| worker.rss_bytes_max);
        workers.fold(self.supervisor_rss_bytes_max, u64::saturating_add)
    }

    /// How many times as many items per second as `other`, if that is known.
    #[must_use]
    pub fn speed_up(&self, other: &Self) -> Option<f64> {
        (other.summary.items_per_s > 0.0).then(|| self.summary.items_per_s / other.summary.items_per_s)
    }
}

/// The run that others are measured against: the sequential one, else the first.
#[must_use]
pub fn baseline(runs: &[ModeRun]) -> Option<&ModeRun> {
    runs.iter().find(|run| run.summary.mode == Mode::Sequential).or_else(|| runs.first())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference to the field")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

// More digits than the clocks behind these numbers have would only look exact.
fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests;
