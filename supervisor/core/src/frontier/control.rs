//! What one host is asked for at most: requests in flight, and the pace of their starts.

use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::load::limit::{Limit, Range, Reply};
use crate::load::pace::Pace;

/// How long an unused limit is remembered. A host changes, and a fresh limit finds it again in a few rounds.
const LIMIT_KEPT: Duration = Duration::from_secs(60);

/// How long the pace of a host that refused requests is remembered. To find it again costs refusals.
const PACE_KEPT: Duration = Duration::from_secs(600);

/// Time after which a host's goodput is known.
const GOODPUT_FROM: Duration = Duration::from_secs(2);

/// How a host answered a request, as far as its load is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Nothing was learned: no request was sent, or its worker died.
    Unknown,
    /// It answered. The time from the request to the first byte, without connecting, if that is known.
    Served {
        /// Time to first byte.
        first_byte: Option<Duration>,
    },
    /// It refused a request that was sent at this instant: too many, or blocked.
    Refused {
        /// When the request was sent.
        sent_at: Instant,
    },
    /// No answer came: a timeout, or a broken connection.
    Lost,
}

/// The rule for the requests in flight to one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// At most this many; `u32::MAX` means no limit.
    Fixed(u32),
    /// As many as help.
    Adaptive(Range),
}

impl Gate {
    pub(super) fn is_adaptive(self) -> bool {
        matches!(self, Self::Adaptive(_))
    }
}

/// What was learned about one host.
#[derive(Debug, Clone, Default)]
pub(super) struct Control {
    limit: Option<Limit>,
    /// Set once the host has refused a request. Few hosts do, so it is kept apart.
    pace: Option<Box<Pace>>,
    /// When the first request started, and how many were answered since.
    first_at: Option<Instant>,
    served: u32,
    used_at: Option<Instant>,
    /// The limit that an earlier run has found.
    known: Option<u32>,
}

impl Control {
    /// Returns the maximum in flight under this rule.
    pub(super) fn in_flight_max(&mut self, now: Instant, gate: Gate) -> u32 {
        match gate {
            Gate::Fixed(max) => max,
            Gate::Adaptive(range) => {
                let fresh = || match self.known {
                    Some(limit) => Limit::resumed(range, limit, now),
                    None => Limit::new(range, now),
                };
                self.limit.get_or_insert_with(fresh).get().min(range.max)
            }
        }
    }

    /// Least time from a start at `at` to the next; zero if the host never refused a request.
    pub(super) fn interval(&self, at: Instant) -> Duration {
        self.pace.as_ref().map_or(Duration::ZERO, |pace| pace.interval(at))
    }

    /// Records a start at `start`, with `in_flight` others under way.
    pub(super) fn on_start(&mut self, start: Instant, in_flight: u32) {
        self.used_at = Some(start);
        self.first_at.get_or_insert(start);
        if let Some(limit) = &mut self.limit {
            limit.on_start(start, in_flight);
        }
        if let Some(pace) = &mut self.pace {
            pace.on_start(start);
        }
    }

    /// Records how one of `in_flight` requests ended. Returns an instant before which nothing may start.
    pub(super) fn on_end(
        &mut self,
        now: Instant,
        in_flight: u32,
        answer: Answer,
        rng: &mut Rng,
    ) -> Option<Instant> {
        self.used_at = Some(now);
        let reply = match answer {
            Answer::Unknown => return None,
            Answer::Served { first_byte } => Reply::Served(first_byte),
            Answer::Lost => Reply::Lost,
            Answer::Refused { sent_at } => return self.on_refused(now, in_flight, sent_at, rng),
        };
        if let Some(limit) = &mut self.limit {
            limit.on_end(now, in_flight, reply);
        }
        if let Reply::Served(_) = reply {
            self.served = self.served.saturating_add(1);
            if let Some(pace) = &mut self.pace {
                pace.on_served();
            }
        }
        None
    }

    /// Answers a second so far, if that is long enough to tell. A burst that was accepted at once says nothing.
    fn goodput(&self, now: Instant) -> Option<f64> {
        let lasted = now.saturating_duration_since(self.first_at?);
        (lasted >= GOODPUT_FROM).then(|| f64::from(self.served) / lasted.as_secs_f64())
    }

    fn on_refused(
        &mut self,
        now: Instant,
        in_flight: u32,
        sent_at: Instant,
        rng: &mut Rng,
    ) -> Option<Instant> {
        let goodput = self.goodput(now);
        if let Some(limit) = &mut self.limit {
            limit.on_refused(now, in_flight);
        }
        if let Some(pace) = &mut self.pace {
            return pace.on_refused(now, sent_at, rng);
        }
        let (pace, until) = Pace::refused_first(now, goodput, rng);
        self.pace = Some(Box::new(pace));
        Some(until)
    }

    /// Whether it has refused so much that it has a pace.
    pub(super) fn pace_per_s(&self, at: Instant) -> Option<f64> {
        Some(self.pace.as_ref()?.per_s(at))
    }

    /// Says whether refusals may have another cause than the pace, and how often the pauses may then be doubled.
    pub(super) fn set_doubt(&mut self, doublings_max: Option<u32>) {
        if let Some(pace) = &mut self.pace {
            pace.set_doubt(doublings_max);
        }
    }

    /// Forgets the pace, because nothing limits it.
    pub(super) fn forget_pace(&mut self) {
        self.pace = None;
    }

    /// When all of it may be forgotten; `None` if there is nothing to forget.
    pub(super) fn fades_at(&self) -> Option<Instant> {
        let kept = match (&self.pace, &self.limit) {
            (Some(_), _) => PACE_KEPT,
            (None, Some(limit)) if limit.is_learned() => LIMIT_KEPT,
            (None, None) if self.known.is_some() => PACE_KEPT,
            (None, Some(_) | None) => return None,
        };
        Some(self.used_at? + kept)
    }

    /// What is worth keeping for another run: the limit, and the pace.
    pub(super) fn learned(&self, now: Instant) -> (Option<u32>, Option<f64>) {
        let found = self.limit.as_ref().filter(|limit| limit.is_learned()).map(Limit::get);
        let limit = if self.limit.is_none() { self.known } else { found };
        (limit, self.pace.as_ref().map(|pace| pace.learned(now)))
    }

    /// Whether its pace is still searched for.
    pub(super) fn is_search(&self) -> bool {
        self.pace.as_ref().is_some_and(|pace| pace.is_search())
    }

    /// Continues from what an earlier run has learned.
    pub(super) fn resumed(now: Instant, known: Option<u32>, per_s: Option<f64>, is_search: bool) -> Self {
        let pace = per_s.map(|per_s| Box::new(Pace::resumed(now, per_s, is_search)));
        Self { known, pace, used_at: Some(now), ..Self::default() }
    }
}
