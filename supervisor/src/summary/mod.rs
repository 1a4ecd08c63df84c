//! The summary of a run: a JSON object (`--summary`) and a table on standard error.
//!
//! Built from [`supervisor_core::gather`] and facts about the processes. The JSON keys are part of the
//! product's contract, because scripts read them.

mod compare;
mod table;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::job::Mode;
use shared::record::ErrorKind;
use supervisor_core::gather::{Gather, Latencies, Latency, LatencyBin, LoadCurve, Timeline};
use supervisor_core::pages::ListCounts;
use utoipa::ToSchema;

use crate::crawl::CrawlSummary;
use crate::whole_file::{Readers, WriteError, replace};

pub use compare::table as compare_table;
pub(crate) use table::new_table;
pub use table::{failed_inputs, table};

/// Facts that `gather` does not know: the setup of the run and the resources of its processes.
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
    /// CPU time of all processes, including the supervisor.
    pub cpu: Duration,
    /// CPU time of the supervisor.
    pub supervisor_cpu: Duration,
    /// Largest resident set of the supervisor.
    pub supervisor_rss_bytes_max: u64,
    /// Why `--mode auto` chose this mode; `None` if the user chose it.
    pub why: Option<String>,
    /// The parts of the sandbox that were in force in the workers.
    pub sandbox: String,
}

/// The summary of a run. The file has these field names in this order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Summary {
    /// The execution model that ran.
    #[schema(value_type = String)]
    pub mode: Mode,
    /// Slots in the pool.
    pub workers: u32,
    /// Targets in flight per worker, at most; if `auto` sets it, those in flight at last while others still waited.
    pub concurrency: u32,
    /// Final results: ok + failed.
    pub items: u64,
    /// Records with fields.
    pub ok: u64,
    /// Records with an error, including quarantined ones.
    pub failed: u64,
    /// Targets set aside because a worker died on them on every attempt.
    pub quarantined: u64,
    /// Attempts that were followed by another one.
    pub retries: u64,
    /// Requests that servers refused (429, 503); absent if zero.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refused: u64,
    /// Targets that failed for good because the retry budget of their host was used up; absent if zero.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries_over_budget: u64,
    /// Records whose pages are as the earlier run of --since has noted them; absent if zero.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unchanged: u64,
    /// Body bytes read.
    pub bytes: u64,
    /// From the first process started to the last record committed, in seconds.
    pub wall_s: f64,
    /// CPU time of all processes, in seconds.
    pub cpu_s: f64,
    /// CPU time of the supervisor, in seconds.
    pub supervisor_cpu_s: f64,
    /// Items per second. A resumed run counts only its own items.
    pub items_per_s: f64,
    /// How long targets took, by the last attempt of each.
    pub latency_ms: LatencyMs,
    /// Failed records by kind.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub errors: BTreeMap<ErrorKind, u64>,
    /// How lists of pages ended (--next), by reason; absent if pages are not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, u64>>)]
    pub lists: Option<ListCounts>,
    /// Sitemaps that could not be read, whose pages are missing; absent if zero.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub sitemaps_failed: u64,
    /// What a crawl has found; absent for other jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crawl: Option<CrawlSummary>,
    /// One entry per slot, in order.
    pub per_worker: Vec<PerWorker>,
    /// One entry per proxy, in order; absent if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proxies: Vec<PerProxy>,
    /// What was done to log in; absent if the job does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginSummary>,
    /// The parts of the sandbox in force in the workers: `landlock, seccomp`, or `off`; empty if none
    /// started.
    #[serde(default)]
    pub sandbox: String,
    /// Processes started to replace a failed one.
    pub restarts: u64,
    /// Why `--mode auto` chose this mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Quantiles of how long targets took, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LatencyMs {
    /// 50 % of the targets took at most this long.
    pub p50: f64,
    /// 90 % of the targets took at most this long.
    pub p90: f64,
    /// 99 % of the targets took at most this long.
    pub p99: f64,
    /// The longest time.
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

/// The share of one slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PerWorker {
    /// The slot's number, from 0.
    pub slot: u32,
    /// Processes started in the slot.
    pub starts: u64,
    /// Final results from the slot.
    pub items: u64,
    /// CPU time of its processes, in seconds.
    pub cpu_s: f64,
    /// Largest resident set of any of its processes.
    pub rss_bytes_max: u64,
}

/// What a run did to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LoginSummary {
    /// Logins that succeeded.
    pub logins: u64,
    /// Answers that looked logged out.
    pub logged_out: u64,
    /// Logins that failed.
    pub failed: u64,
}

/// What one proxy did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PerProxy {
    /// Its URL, without credentials.
    pub proxy: String,
    /// Targets that went through it.
    pub requests: u64,
    /// Those of them that a server answered.
    pub ok: u64,
    /// Those that failed because of the proxy. They went through another one.
    pub faults: u64,
    /// Those that a server turned away as blocked, or that the proxy could not deliver.
    pub refused: u64,
    /// `unchecked`, `good`, `resting` or `half-open`.
    pub state: String,
}

impl Summary {
    /// Summarizes a run.
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
            refused: gather.refused(),
            retries_over_budget: gather.over_budget(),
            unchanged: counts.unchanged,
            lists: None,
            bytes: counts.bytes,
            wall_s: thousandths(wall_s),
            cpu_s: thousandths(facts.cpu.as_secs_f64()),
            supervisor_cpu_s: thousandths(facts.supervisor_cpu.as_secs_f64()),
            items_per_s: if wall_s > 0.0 { thousandths(gather.items_now() as f64 / wall_s) } else { 0.0 },
            latency_ms: gather.latency().into(),
            errors: gather.errors().clone(),
            sitemaps_failed: 0,
            crawl: None,
            per_worker: (0..).zip(gather.slots()).map(PerWorker::from).collect(),
            proxies: Vec::new(),
            login: None,
            restarts: gather.restarts(),
            sandbox: facts.sandbox.clone(),
            why: facts.why.clone(),
        }
    }

    /// Writes the summary to `path` as JSON, atomically.
    ///
    /// # Errors
    /// `WriteError` if the file cannot be written.
    pub(crate) fn write(&self, path: &Path, readers: Readers<'_>) -> Result<(), WriteError> {
        let written = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
        let mut json = written.map_err(|source| WriteError { path: path.to_owned(), source })?;
        json.push(b'\n');
        replace(path, readers, &json)
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

/// A run with the data that the comparison and the report show.
#[derive(Debug, Clone)]
pub struct ModeRun {
    /// The summary.
    pub summary: Summary,
    /// Attempts in flight, averaged over the run.
    pub in_flight_mean: f64,
    /// Most attempts in flight at once.
    pub in_flight_peak: u64,
    /// Largest resident set of the supervisor, in bytes.
    pub supervisor_rss_bytes_max: u64,
    /// Attempts in flight over time.
    pub timeline: Timeline,
    /// What the load was limited to over time.
    pub load: LoadCurve,
    /// The distribution of how long targets took.
    pub latency: Vec<LatencyBin>,
    /// The same distribution in a few buckets.
    pub latencies: Latencies,
}

impl ModeRun {
    /// Collects the data of a run from its `Gather`.
    #[must_use]
    pub fn new(gather: &Gather, facts: &Facts) -> Self {
        Self {
            summary: Summary::new(gather, facts),
            in_flight_mean: gather.in_flight_mean(facts.wall),
            in_flight_peak: gather.in_flight_peak(),
            supervisor_rss_bytes_max: facts.supervisor_rss_bytes_max,
            timeline: gather.timeline().clone(),
            load: gather.load().clone(),
            latency: gather.latency().bins(),
            latencies: *gather.latency().coarse(),
        }
    }

    /// Returns the sum of the largest resident sets of all processes, in bytes.
    #[must_use]
    pub fn rss_bytes_max(&self) -> u64 {
        let workers = self.summary.per_worker.iter().map(|worker| worker.rss_bytes_max);
        workers.fold(self.supervisor_rss_bytes_max, u64::saturating_add)
    }

    /// Returns the ratio of items per second to those of `other`, if known.
    #[must_use]
    pub fn speed_up(&self, other: &Self) -> Option<f64> {
        (other.summary.items_per_s > 0.0).then(|| self.summary.items_per_s / other.summary.items_per_s)
    }
}

/// Returns the run to compare others with: the sequential one, else the first.
#[must_use]
pub fn baseline(runs: &[ModeRun]) -> Option<&ModeRun> {
    runs.iter().find(|run| run.summary.mode == Mode::Sequential).or_else(|| runs.first())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference to the field")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

// More digits would exceed the precision of the clocks.
fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests;
