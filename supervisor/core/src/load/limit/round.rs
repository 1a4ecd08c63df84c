//! What is measured in one round of requests under the same limit.

use std::time::Instant;

/// What was seen in the current round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    pub(super) since: Instant,
    /// Answers to requests of an earlier limit, which do not count.
    pub(super) stale: u32,
    pub(super) served: u32,
    pub(super) lost: u32,
    /// The number in flight, summed over time: what ends together is reported together, one after the other.
    pub(super) in_flight_s: f32,
    /// The last end, in seconds since the round began, and the sum of the squares of the times between two ends.
    pub(super) last_s: f32,
    pub(super) gaps: f32,
    /// Answers with a known time, their sum and the sum of their squares, in seconds.
    pub(super) timed: u32,
    pub(super) seconds: f32,
    pub(super) squares: f32,
}

impl Round {
    pub(super) fn new(since: Instant, stale: u32) -> Self {
        Self {
            since,
            stale,
            served: 0,
            lost: 0,
            in_flight_s: 0.0,
            last_s: 0.0,
            gaps: 0.0,
            timed: 0,
            seconds: 0.0,
            squares: 0.0,
        }
    }

    pub(super) fn ended(&self) -> u32 {
        self.served + self.lost
    }

    pub(super) fn goodput(&self, now: Instant) -> f32 {
        self.served as f32 / now.saturating_duration_since(self.since).as_secs_f32().max(1e-6)
    }

    pub(super) fn count(&mut self, now: Instant, in_flight: u32) {
        let at_s = now.saturating_duration_since(self.since).as_secs_f32();
        let gap_s = at_s - self.last_s;
        self.in_flight_s += in_flight as f32 * gap_s;
        self.gaps += gap_s.powi(2);
        self.last_s = at_s;
    }

    /// Mean time to first byte; 0 if unknown.
    pub(super) fn mean_s(&self) -> f32 {
        self.seconds / self.timed.max(1) as f32
    }

    /// Square of the coefficient of variation of the times to first byte.
    pub(super) fn spread(&self) -> f32 {
        let mean = self.mean_s();
        let variance = self.squares / self.timed.max(1) as f32 - mean * mean;
        if mean > 0.0 { (variance / (mean * mean)).max(0.0) } else { 0.0 }
    }

    /// How many answers come together, as threads that began together end together. A round that begins or ends
    /// within such a burst is wrong by as much.
    pub(super) fn burst(&self) -> f32 {
        if self.last_s > 0.0 { self.ended() as f32 * self.gaps / (self.last_s * self.last_s) } else { 1.0 }
    }
}
