//! Whether a host refuses requests because of their number. A 503 may also be a mishap: any large site has some, whatever
//! its load.
//!
//! A limit refuses much of what exceeds it, and nothing far below. So it is the *share* of the latest requests that tells.
//! A refusal comes back sooner than a page, so of those that begin together, the first to come back are the refused ones.
//! Therefore refusals are compared with what was sent, and not with what has come back. That is counted in rounds, as
//! [`load::limit`](crate::load::limit) does: a round begins once as many have come back as were in flight when the last
//! one began.

use std::time::{Duration, Instant};

/// Requests in the shortest round. If a fifth of the pages fails by chance, a third of 64 does once in 200 rounds.
const ROUND: u32 = 64;

/// A host has a limit if it refuses at least one of so many of its latest requests.
const LIMITED_BY_ONE_OF: u32 = 3;

/// The same for a host with less than a round of requests so far: this number, and at least two of three.
const EARLY_LIMIT_FROM: u32 = 3;

/// A host that served and now refuses so many in a row, and as many as are in flight, has a limit or is out of order. The
/// share of its latest requests would show that only after rounds of refusals.
const ROW: u32 = 12;

/// Share of the pace at which a host was refused before, below which a limit would not refuse it.
const FAR_BELOW: f64 = 0.6;

/// Refusals in a row at so low a pace that show that it has nothing to do with them.
const FAR_BELOW_FROM: u8 = 2;

/// How long a host whose refusals had nothing to do with its pace gets none again, unless it refuses one of so many.
const ACQUITTED_FOR: Duration = Duration::from_secs(300);
const LIMITED_AGAIN_BY_ONE_OF: u32 = 2;

/// What happened in one round.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    /// Requests in flight when it began.
    in_flight: u32,
    sent: u32,
    refused: u32,
}

/// What is known about the refusals of one host.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusals {
    /// The last round, and this one.
    before: Round,
    round: Round,
    /// Requests in flight when this round began that have not come back.
    stale: u32,
    /// Requests in flight when the last one was sent, with that one.
    in_flight: u32,
    /// Refusals since the last answer that was none.
    row: u32,
    /// The highest pace at which it refused a request since it last refused many; 0 if it has none.
    refused_per_s: f64,
    /// Refusals in a row far below that pace.
    far_below: u8,
    /// Until when its refusals are known to have nothing to do with its pace.
    acquitted_until: Option<Instant>,
}

impl Refusals {
    /// Records a request, with so many others in flight.
    pub(super) fn on_start(&mut self, in_flight: u32) {
        if self.round.sent >= ROUND && self.stale == 0 {
            self.before = self.round;
            self.round = Round { in_flight, ..Round::default() };
            self.stale = in_flight;
        }
        self.round.sent = self.round.sent.saturating_add(1);
        self.in_flight = in_flight.saturating_add(1);
    }

    /// Records that a request has come back.
    pub(super) fn on_end(&mut self, refused: bool) {
        self.stale = self.stale.saturating_sub(1);
        self.round.refused = self.round.refused.saturating_add(u32::from(refused));
        self.row = if refused { self.row.saturating_add(1) } else { 0 };
    }

    /// Whether a refusal that may be a mishap is put down to the load, at this pace.
    ///
    /// A host that refuses a few requests, and goes on when its pace has fallen far, has no limit.
    pub(super) fn blame_load(&mut self, now: Instant, pace_per_s: Option<f64>) -> bool {
        let limited = self.look_limited(now);
        let Some(per_s) = pace_per_s else {
            (self.refused_per_s, self.far_below) = (0.0, 0);
            return limited;
        };
        if limited {
            (self.refused_per_s, self.far_below) = (per_s, 0);
            return true;
        }
        self.refused_per_s = self.refused_per_s.max(per_s);
        if per_s >= FAR_BELOW * self.refused_per_s {
            self.far_below = 0;
            return true;
        }
        // One may be late, or a neighbour's doing. Without a pace, as many as the limit allows would start at once.
        self.far_below += 1;
        if self.far_below < FAR_BELOW_FROM {
            return true;
        }
        self.far_below = 0;
        self.acquitted_until = Some(now + ACQUITTED_FOR);
        false
    }

    /// Whether so much is refused that it must be a limit.
    fn look_limited(&self, now: Instant) -> bool {
        if self.row >= self.in_flight.max(ROW) {
            return true;
        }
        let Round { in_flight, sent, .. } = self.before;
        let sent = in_flight.saturating_add(sent).saturating_add(self.round.sent);
        let refused = self.before.refused.saturating_add(self.round.refused);
        let is_one_of = |many: u32| refused.saturating_mul(many) >= sent;
        match self.acquitted_until {
            Some(until) if now < until => sent >= ROUND && is_one_of(LIMITED_AGAIN_BY_ONE_OF),
            Some(_) | None if sent >= ROUND => is_one_of(LIMITED_BY_ONE_OF),
            Some(_) | None => {
                refused >= EARLY_LIMIT_FROM && refused.saturating_mul(3) >= sent.saturating_mul(2)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends requests to a host, always as many at once, of which those that come back first are refused.
    fn refused_until_blamed(refusals: &mut Refusals, in_flight: u32) -> u32 {
        let now = wire::clock::now();
        (0..in_flight).for_each(|before| refusals.on_start(before));
        let mut count = 0;
        loop {
            refusals.on_end(true);
            count += 1;
            if refusals.blame_load(now, None) {
                return count;
            }
            refusals.on_start(in_flight - 1);
        }
    }

    #[test]
    fn a_host_that_serves_no_more_is_found_out_after_what_was_in_flight() {
        for in_flight in [1, 16, 100, 1000] {
            let mut refusals = Refusals::default();
            for _ in 0..3000 {
                refusals.on_start(0);
                refusals.on_end(false);
            }
            let count = refused_until_blamed(&mut refusals, in_flight);
            assert!(count <= in_flight.max(ROW), "{count} with {in_flight} in flight");
        }
    }

    #[test]
    fn refusals_that_come_back_before_the_pages_are_no_limit() {
        let (now, mut refusals) = (wire::clock::now(), Refusals::default());
        (0..64).for_each(|before| refusals.on_start(before));
        // A fifth is refused, and so is a fifth of what takes their places, before the first page is there.
        for _ in 0..16 {
            refusals.on_end(true);
            refusals.on_start(63);
            assert!(!refusals.blame_load(now, None));
        }
    }
}
