//! Counters since the service started, over all jobs, for `/metrics`. They never decrease, so they are not
//! computed from the board, where jobs expire.
//!
//! The state loop updates them a few times a second for each running job. So a lock is fast enough, and no
//! record is counted one by one here.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use shared::record::ErrorKind;
use supervisor_core::gather::Latencies;

use crate::view::{JobState, JobView};

/// The counters at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Jobs submitted.
    pub submitted: u64,
    /// Jobs that ended as `done`, `failed` and `cancelled`.
    pub ended: [u64; 3],
    /// Records without an error.
    pub ok: u64,
    /// Records with an error, including quarantined ones.
    pub failed: u64,
    /// Inputs set aside because workers died on them.
    pub quarantined: u64,
    /// Attempts that were followed by another one.
    pub retries: u64,
    /// Requests that servers refused.
    pub refused: u64,
    /// Body bytes read.
    pub bytes: u64,
    /// Records with an error, by kind.
    pub errors: BTreeMap<ErrorKind, u64>,
    /// How long inputs took.
    pub latencies: Latencies,
}

/// The counters, shared by one writer and several readers.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Totals>);

impl Metrics {
    /// Counts a change of a job: a new job if `before` is `None`, else from `before` to `after`. Not called
    /// for jobs found in the state directory at the start, which an earlier process counted.
    pub fn job_changed(&self, before: Option<&JobView>, after: &JobView) {
        let mut totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        totals.submitted += u64::from(before.is_none());
        let ended = |job: &JobView| match job.state {
            JobState::Done => Some(0),
            JobState::Failed => Some(1),
            JobState::Cancelled => Some(2),
            JobState::Queued | JobState::Running | JobState::Paused | JobState::Draining => None,
        };
        if before.and_then(ended).is_none()
            && let Some(count) = ended(after).and_then(|state: usize| totals.ended.get_mut(state))
        {
            *count += 1;
        }
        let was = before.map(|job| job.counts).unwrap_or_default();
        let is = after.counts;
        totals.ok += is.ok.saturating_sub(was.ok);
        totals.failed += is.failed.saturating_sub(was.failed);
        totals.quarantined += is.quarantined.saturating_sub(was.quarantined);
        totals.retries += is.retries.saturating_sub(was.retries);
        totals.refused += is.refused.saturating_sub(was.refused);
        totals.bytes += is.bytes.saturating_sub(was.bytes);
        for (kind, count) in &after.errors {
            let was = before.and_then(|job| job.errors.get(kind)).copied().unwrap_or(0);
            *totals.errors.entry(*kind).or_default() += count.saturating_sub(was);
        }
    }

    /// Adds the growth of a job's histogram from `before` to `after`. The histogram covers this process only.
    pub fn latencies_grew(&self, before: &Latencies, after: &Latencies) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).latencies.grow(before, after);
    }

    /// Returns the counters.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(state: &str, ok: u64, timeouts: u64) -> JobView {
        serde_json::from_value(serde_json::json!({
            "id": 1, "name": null, "command": "fetch", "state": state, "priority": 0, "submitted_at": "", "started_at": null,
            "finished_at": null, "counts": {"total": null, "total_exact": false, "done": ok + timeouts, "ok": ok,
            "failed": timeouts, "quarantined": 0, "retries": 0, "bytes": 10 * ok, "in_flight": 0}, "workers": 0, "mode": null,
            "items_per_s": 0.0, "eta_s": null, "latency_ms": null, "errors": {"timeout": timeouts}, "exit_code": null,
            "error": null, "retry_of": null, "summary": null
        }))
        .unwrap()
    }

    #[test]
    fn what_grows_is_counted_once() {
        let metrics = Metrics::default();
        let states = [job("queued", 0, 0), job("running", 5, 1), job("running", 5, 1), job("done", 7, 2)];
        let mut before = None;
        for state in &states {
            metrics.job_changed(before, state);
            before = Some(state);
        }
        // A removal is not counted, and a change of an ended job does not end it again.
        metrics.job_changed(before, &job("done", 7, 2));
        let totals = metrics.totals();
        assert_eq!((totals.submitted, totals.ended, totals.ok, totals.failed), (1, [1, 0, 0], 7, 2));
        assert_eq!((totals.bytes, totals.errors.get(&ErrorKind::Timeout)), (70, Some(&2)));
    }

    #[test]
    fn only_what_a_histogram_has_more_is_added() {
        let (metrics, mut latencies) = (Metrics::default(), Latencies::default());
        latencies.observe(100, 2);
        let half = latencies;
        latencies.observe(100, 1);
        metrics.latencies_grew(&half, &latencies);
        let totals = metrics.totals().latencies;
        assert_eq!((totals.counts[0], totals.sum_us), (1, 100));
    }
}
