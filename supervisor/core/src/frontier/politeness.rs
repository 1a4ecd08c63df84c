//! What a user says of how hosts are treated.

use std::num::NonZeroU32;

/// How hosts are spared, over all workers together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Politeness {
    /// Requests in flight to one host.
    pub per_host: PerHost,
    /// Requests begun per second to one host; `None` is as many as there are.
    pub rate_per_s: Option<f64>,
    /// Attempts after the first, for failures that may pass.
    pub retries: u32,
}

/// How many requests may be in flight to one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PerHost {
    /// 8 for a host on the network, no limit for a loopback address, which is the user's own machine.
    Auto,
    /// This many.
    Limit(NonZeroU32),
    /// No limit.
    Unlimited,
}
