//! The user's settings for load per host.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::load::limit::Range;

/// Requests in flight to one network host under `PerHost::Auto`: at first, which is less than the six connections
/// that a browser opens, and at most.
pub(super) const NETWORK: Range = Range { start: 4, max: 16 };

/// Limits per host, over all workers together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Politeness {
    /// Requests in flight to one host.
    pub per_host: PerHost,
    /// Requests started per second to one host; `None` means no limit.
    pub rate_per_s: Option<f64>,
    /// Least and most time between two starts at one host, drawn anew each time; instead of a rate.
    pub delay: Option<(Duration, Duration)>,
    /// Whether what a robots.txt disallows is not fetched.
    pub obeys_robots: bool,
    /// Attempts after the first, for failures that may be temporary.
    pub retries: u32,
}

/// Maximum requests in flight to one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PerHost {
    /// As many as help: from 4 to at most 16 for a public host; for a loopback or private address, which is
    /// the user's own machine or network, from 64 to what the machine allows, or no limit where the concurrency is fixed.
    Auto,
    /// The same, with this maximum.
    AutoUpTo(NonZeroU32),
    /// A fixed number.
    Limit(NonZeroU32),
    /// No limit.
    Unlimited,
}

impl Politeness {
    /// Returns the most requests that one host may get at once, where mode and concurrency are fixed; `None` is any number.
    #[must_use]
    pub fn in_flight_max(&self, local: bool) -> Option<u32> {
        match self.per_host {
            PerHost::Auto if local => None,
            PerHost::Auto => Some(NETWORK.max),
            PerHost::AutoUpTo(max) | PerHost::Limit(max) => Some(max.get()),
            PerHost::Unlimited => None,
        }
    }

    /// Returns the mean time between two starts at one host; zero if nothing paces them.
    #[must_use]
    pub fn interval(&self) -> Duration {
        match (self.delay, self.rate_per_s) {
            (Some((least, most)), _) => (least + most) / 2,
            (None, Some(rate)) => Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX),
            (None, None) => Duration::ZERO,
        }
    }
}
