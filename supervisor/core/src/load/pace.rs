//! How fast requests to one host start, once it has refused some (429, 503, a blocked page).
//!
//! 1. The first refusal starts the *search*: from a low pace, half as fast again each second.
//! 2. The next refusal ends it. From then on the pace is *held* below the refused one: a cubic from 0.9 × it towards
//!    0.97 × it, flat there for 20 s or 200 requests, then slowly beyond (CUBIC, RFC 9438: concave, flat, convex).
//! 3. Each further refusal does the same from the pace that it met.
//!
//! What was sent before a cut says nothing about the pace after it, so refusals count once an epoch, as losses do in
//! TCP (RFC 5681 § 4.3). After a refusal nothing starts for a moment, which doubles, with jitter, while nothing but
//! refusals comes back: a host that blocks outright is asked once a minute.
//!
//! Rejected: to begin with the pace that was accepted before the first refusal. Too little had been sent by then to
//! tell, and the pace stays far too low for minutes. Rejected: additive increase. It crosses the limit every few
//! seconds, and a host that counts refusals (a ban) sees one each time.

use std::time::{Duration, Instant};

use fastrand::Rng;

/// Growth of the searching pace, per second.
const SEARCH_GROWTH: f64 = 1.5;

/// Pace at which the search begins if nothing is known, and its lowest beginning.
const SEARCH_FROM: f64 = 4.0;
const SEARCH_FROM_MIN: f64 = 1.0;

/// Share of the goodput before the first refusal at which the search begins.
const SEARCH_SHARE: f64 = 0.7;

/// Lowest pace, per second. The pauses after refusals are what makes a blocked host quiet.
const LOWEST: f64 = 0.2;

/// The held pace ends here, as a share of the refused one.
const PLATEAU: f64 = 0.97;

/// The held pace begins here: after a lone refusal, and after several in a row.
const CUT: f64 = 0.9;
const DEEP_CUT: f64 = 0.6;

/// The plateau lasts this long, or this number of requests, whichever is longer.
const PLATEAU_LASTS_S: f64 = 20.0;
const PLATEAU_REQUESTS: f64 = 200.0;

/// The pause after a refusal doubles from and to these.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Fastest pace, per second. It stands for none.
const FASTEST: f64 = 1e6;

/// A pace may be this many times as high as that of the starts, where something else limits them. A refusal says nothing
/// about what is beyond.
const UNUSED: f64 = 3.0;

/// Weight of the last gap between two starts in their mean.
const GAP_WEIGHT: f64 = 0.05;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Search { from: f64 },
    Hold { base: f64, plateau: f64 },
}

/// The pace of one host that has refused requests.
#[derive(Debug, Clone)]
pub struct Pace {
    phase: Phase,
    /// Since when the phase lasts, not counting times in which nothing was sent.
    since: Instant,
    started_at: Instant,
    /// Mean time between two starts, in seconds.
    gap_s: f64,
    /// Refusals of what was sent before do not count.
    epoch: Instant,
    /// Refusals in a row that counted.
    streak: u32,
    /// How often a pause is doubled at most, if refusals may have another cause.
    doubt: Option<u32>,
}

impl Pace {
    /// Creates the pace of a host that has just refused for the first time. `goodput` is what it answered per second
    /// until then, if known. Nothing may start before the returned instant.
    pub fn refused_first(now: Instant, goodput: Option<f64>, rng: &mut Rng) -> (Self, Instant) {
        let from = goodput.map_or(SEARCH_FROM, |goodput| (SEARCH_SHARE * goodput).max(SEARCH_FROM_MIN));
        let mut pace = Self {
            phase: Phase::Search { from },
            since: now,
            started_at: now,
            gap_s: 1.0 / from,
            epoch: now,
            streak: 1,
            doubt: None,
        };
        let until = pace.pause(now, rng);
        (pace, until)
    }

    /// Continues with a pace that was found earlier, or reached in a search that goes on.
    #[must_use]
    pub fn resumed(now: Instant, per_s: f64, is_search: bool) -> Self {
        let plateau = if per_s.is_finite() { per_s.clamp(LOWEST, FASTEST) } else { SEARCH_FROM };
        let held = Phase::Hold { base: CUT * plateau, plateau };
        Self {
            phase: if is_search { Phase::Search { from: plateau } } else { held },
            since: now,
            started_at: now,
            gap_s: 1.0 / plateau,
            epoch: now,
            streak: 0,
            doubt: None,
        }
    }

    /// Starts per second at this instant.
    #[must_use]
    pub fn per_s(&self, at: Instant) -> f64 {
        let elapsed_s = at.saturating_duration_since(self.since).as_secs_f64();
        let per_s = match self.phase {
            Phase::Search { from } => from * SEARCH_GROWTH.powf(elapsed_s * (from / SEARCH_FROM).min(1.0)),
            Phase::Hold { base, plateau } => {
                let lasts_s = PLATEAU_LASTS_S.max(PLATEAU_REQUESTS / plateau);
                let share = elapsed_s / lasts_s;
                if share < 1.0 {
                    plateau - (plateau - base) * (1.0 - share).powi(3)
                } else {
                    let beyond = (share - 1.0) * 20.0;
                    let cubic = 1.0 + 0.02 * beyond + 0.002 * beyond * beyond;
                    plateau * cubic.min(SEARCH_GROWTH.powf(elapsed_s - lasts_s))
                }
            }
        };
        per_s.min(FASTEST)
    }

    /// The pace that is known to be good, for the next run.
    #[must_use]
    pub fn learned(&self, now: Instant) -> f64 {
        match self.phase {
            Phase::Search { .. } => self.per_s(now),
            Phase::Hold { plateau, .. } => plateau.min(self.per_s(now)),
        }
    }

    /// Whether the pace that the host accepts is not found yet.
    #[must_use]
    pub fn is_search(&self) -> bool {
        matches!(self.phase, Phase::Search { .. })
    }

    /// Time between two starts at this instant.
    #[must_use]
    pub fn interval(&self, at: Instant) -> Duration {
        Duration::from_secs_f64(1.0 / self.per_s(at).max(LOWEST))
    }

    /// Records a start. Time in which the host had nothing to do does not make its pace grow (RFC 7661).
    pub fn on_start(&mut self, at: Instant) {
        let gap = at.saturating_duration_since(self.started_at);
        self.gap_s += GAP_WEIGHT * (gap.as_secs_f64() - self.gap_s);
        let usual = self.interval(at) * 2 + PAUSE_MIN;
        self.since = (self.since + gap.saturating_sub(usual)).min(at);
        self.started_at = self.started_at.max(at);
    }

    /// Records an answer that was no refusal.
    pub fn on_served(&mut self) {
        self.streak = 0;
    }

    /// Records a refusal of a request that was sent at `sent_at`. Returns the instant before which nothing may start,
    /// if it counts.
    pub fn on_refused(&mut self, now: Instant, sent_at: Instant, rng: &mut Rng) -> Option<Instant> {
        if sent_at < self.epoch {
            return None;
        }
        self.streak = self.streak.saturating_add(1);
        let met = self.per_s(sent_at).min(UNUSED / self.gap_s.max(1.0 / FASTEST)).max(LOWEST);
        let lone = self.streak < 2 || self.doubt.is_some();
        self.phase = match self.phase {
            Phase::Search { .. } => {
                let cut = if lone { 0.7 } else { 0.5 };
                Phase::Hold { base: (cut * met).max(LOWEST), plateau: met }
            }
            Phase::Hold { plateau, .. } => {
                let cut = if lone { CUT } else { DEEP_CUT };
                let share = if met < plateau { PLATEAU } else { 0.99 };
                Phase::Hold { base: (cut * met).max(LOWEST), plateau: (share * met).max(LOWEST) }
            }
        };
        Some(self.pause(now, rng))
    }

    /// Says whether refusals from now on may have another cause than the pace. If so, cuts are small, and pauses are
    /// doubled at most so often.
    pub fn set_doubt(&mut self, doublings_max: Option<u32>) {
        self.doubt = doublings_max;
    }

    /// Begins an epoch: for a moment nothing starts.
    fn pause(&mut self, now: Instant, rng: &mut Rng) -> Instant {
        let doubled = PAUSE_MIN.saturating_mul(
            1_u32.checked_shl((self.streak - 1).min(self.doubt.unwrap_or(u32::MAX))).unwrap_or(u32::MAX),
        );
        // At least the new interval: the request that was accepted last counts, too.
        self.since = now;
        let pause = doubled.min(PAUSE_MAX).max(self.interval(now));
        let until = now + pause.mul_f64(1.0 + 0.2 * rng.f64());
        self.since = until;
        self.started_at = until;
        self.epoch = until;
        until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_that_is_not_used_is_not_the_one_that_is_refused() {
        let mut rng = Rng::with_seed(1);
        let mut now = wire::clock::now();
        let (mut pace, _) = Pace::refused_first(now, None, &mut rng);
        for _ in 0..2 * 3600 * 50 {
            now += Duration::from_millis(20);
            pace.on_start(now);
        }
        pace.on_refused(now, now, &mut rng);
        let per_s = pace.per_s(now + Duration::from_secs(10));
        assert!((50.0..=150.0).contains(&per_s), "{per_s}/s after two hours with 50 starts a second");
    }

    #[test]
    fn a_pace_from_a_damaged_file_does_no_harm() {
        let mut rng = Rng::with_seed(1);
        let now = wire::clock::now();
        for per_s in [f64::MAX, f64::INFINITY, f64::NAN, -1.0, 0.0, f64::MIN_POSITIVE] {
            for is_search in [false, true] {
                let mut pace = Pace::resumed(now, per_s, is_search);
                let later = now + Duration::from_secs(24 * 3600);
                pace.on_start(later);
                pace.on_refused(later, later, &mut rng);
                assert!((LOWEST..=FASTEST).contains(&pace.per_s(later)), "{per_s}");
            }
        }
    }
}
