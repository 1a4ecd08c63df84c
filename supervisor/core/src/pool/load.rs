//! When paced targets start on the workers' clock, and what an outcome says about the load of its host.

use std::time::{Duration, Instant};

use wire::protocol::{Outcome, Verdict};
use wire::record::ErrorKind;

use super::Pool;
use crate::frontier::Answer;

/// One moment on two clocks: that of this process, and `CLOCK_MONOTONIC` in microseconds, which all processes share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Anchor {
    now: Instant,
    now_us: u64,
}

impl Anchor {
    /// Returns the first whole microsecond that is not before `at`.
    pub(super) fn us(self, at: Instant) -> Option<u64> {
        let later = at.checked_duration_since(self.now)?;
        Some(self.now_us + u64::try_from(later.as_nanos().div_ceil(1000)).ok()?)
    }
}

impl Pool {
    /// Lets targets carry their earliest start. `now_us` is `CLOCK_MONOTONIC` at `now`. Without it, targets of a paced
    /// host start when they reach their worker, up to [`LEAD`](crate::frontier::LEAD) early.
    #[must_use]
    pub fn anchored(self, now: Instant, now_us: u64) -> Self {
        Self { anchor: Some(Anchor { now, now_us }), ..self }
    }
}

/// What an outcome says about the load of its host.
pub(super) fn answer(now: Instant, outcome: &Outcome) -> Answer {
    if let Some(reply) = outcome.reply {
        if reply.refused {
            let sent_at = now.checked_sub(Duration::from_micros(outcome.elapsed_us)).unwrap_or(now);
            return Answer::Refused { sent_at };
        }
        return Answer::Served { first_byte: Some(Duration::from_micros(u64::from(reply.first_byte_us))) };
    }
    match &outcome.verdict {
        Verdict::Ok => Answer::Served { first_byte: None },
        Verdict::Failed(kind) | Verdict::Retry { kind, .. }
            if matches!(kind, ErrorKind::Connect | ErrorKind::Timeout | ErrorKind::Protocol) =>
        {
            Answer::Lost
        }
        Verdict::Failed(_) | Verdict::Retry { .. } => Answer::Unknown,
    }
}
