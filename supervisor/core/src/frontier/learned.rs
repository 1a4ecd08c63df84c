//! What a run has learned about a host. The journal keeps it for a resumed run, and the service for the next job.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What was learned about one host, for the next run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// Name of the host.
    pub host: String,
    /// Requests in flight that it took.
    pub in_flight_max: Option<u32>,
    /// Starts per second that it accepted, if it refused more.
    pub pace_per_s: Option<f64>,
    /// Whether that pace was reached in a search that had not ended.
    #[serde(default)]
    pub is_search: bool,
    /// Remaining time of its pause, in milliseconds; 0 if there is none.
    pub paused_ms: u64,
}

impl Learned {
    /// Longest pause that counts, whatever a file says.
    const PAUSE_MAX: Duration = Duration::from_secs(3600);

    /// Returns what is worth keeping, if anything is.
    pub(super) fn new(
        host: &str,
        in_flight_max: Option<u32>,
        pace_per_s: Option<f64>,
        is_search: bool,
        paused: Duration,
    ) -> Option<Self> {
        let paused_ms = u64::try_from(paused.as_millis()).unwrap_or(u64::MAX);
        let any = in_flight_max.is_some() || pace_per_s.is_some() || paused_ms > 0;
        any.then(|| Self { host: host.to_owned(), in_flight_max, pace_per_s, is_search, paused_ms })
    }

    pub(super) fn paused(&self) -> Duration {
        Duration::from_millis(self.paused_ms).min(Self::PAUSE_MAX)
    }
}
