//! The limits of a frontier, and what they are for one host.

use std::time::Duration;

use super::backoff::BackoffConfig;
use super::control::Gate;
use super::host::HostRef;
use super::politeness::{NETWORK, PerHost, Politeness};
use super::rate::Rate;
use crate::load::limit::Range;

/// Requests in flight to an address of the user's own machine or network under `PerHost::Auto`: at first, and at most
/// unless the machine allows less. One address can be reached from 28,000 ephemeral ports by default.
const LOCAL: Range = Range { start: 64, max: 16_384 };

/// Limits per host.
#[derive(Debug, Clone)]
pub struct FrontierConfig {
    /// Requests in flight to one host.
    pub per_host: PerHost,
    /// Starts per second and host, above 0. Retries count as starts. `None` means no limit.
    pub rate_per_s: Option<f64>,
    /// Least and most time between two starts at one host, drawn anew each time; instead of a rate.
    pub delay: Option<(Duration, Duration)>,
    /// Whether `PerHost::Auto` also adapts for local addresses. Otherwise they have no limit: a user who sets the
    /// concurrency gets that much.
    pub adapts_local: bool,
    /// Requests in flight that this machine can hold (descriptors, ports, memory).
    pub in_flight_max: u32,
    /// How long a failed target waits.
    pub backoff: BackoffConfig,
    /// Longest `Retry-After` that is honoured in full; a longer one is shortened to this.
    pub retry_after_max: Duration,
}

impl From<&Politeness> for FrontierConfig {
    fn from(politeness: &Politeness) -> Self {
        Self {
            per_host: politeness.per_host,
            rate_per_s: politeness.rate_per_s,
            delay: politeness.delay,
            adapts_local: false,
            in_flight_max: u32::MAX,
            backoff: BackoffConfig::default(),
            // Long enough for the usual `Retry-After: 60` and for servers that count to the full
            // minute. Short enough that one host that says "tomorrow" does not delay the run.
            retry_after_max: Duration::from_secs(120),
        }
    }
}

impl FrontierConfig {
    pub(super) fn rate(&self) -> Option<Rate> {
        match (self.delay, self.rate_per_s) {
            (Some((least, most)), _) => Some(Rate::between(least, most)),
            (None, rate) => rate.map(Rate::new),
        }
    }

    pub(super) fn gate(&self, host: HostRef<'_>) -> Gate {
        let within = |range: Range| {
            let max = range.max.min(self.in_flight_max).max(1);
            Gate::Adaptive(Range { start: range.start.min(max), max })
        };
        match self.per_host {
            PerHost::Auto if host.local && !self.adapts_local => Gate::Fixed(u32::MAX),
            PerHost::Auto if host.local => within(LOCAL),
            PerHost::Auto => within(NETWORK),
            PerHost::AutoUpTo(max) if host.local => within(Range { max: max.get(), ..LOCAL }),
            PerHost::AutoUpTo(max) => within(Range { max: max.get(), ..NETWORK }),
            PerHost::Limit(limit) => Gate::Fixed(limit.get()),
            PerHost::Unlimited => Gate::Fixed(u32::MAX),
        }
    }
}
