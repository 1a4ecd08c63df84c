//! Servers in virtual time: how long each takes for a request, and which it refuses or loses. Times are seconds since
//! the run began.

use fastrand::Rng;

/// How long a request takes in the server.
#[derive(Debug, Clone)]
pub(super) enum Capacity {
    /// Always the same, however many there are.
    Unlimited { each_s: f64 },
    /// So many at once, the others queue (gunicorn, php-fpm).
    Threads { count: u32, each_s: f64 },
    /// As fast as one alone up to the knee; beyond, each slows all others down, quadratically.
    Knee { at: u32, each_s: f64 },
}

/// nginx's `limit_req`, with its own arithmetic in milliseconds and thousandths of requests.
#[derive(Debug, Clone)]
pub(super) struct RateLimit {
    pub(super) per_s: f64,
    pub(super) burst: f64,
    last_ms: Option<u64>,
    excess: f64,
}

impl RateLimit {
    pub(super) fn new(per_s: f64, burst: u32) -> Self {
        Self { per_s, burst: f64::from(burst) * 1000.0, last_ms: None, excess: 0.0 }
    }

    fn accepts(&mut self, at_s: f64) -> bool {
        let ms = (at_s * 1000.0) as u64;
        let Some(last_ms) = self.last_ms else {
            self.last_ms = Some(ms);
            return true;
        };
        let elapsed_ms = ms.saturating_sub(last_ms) as f64;
        let excess = (self.excess - self.per_s * elapsed_ms + 1000.0).max(0.0);
        if excess > self.burst {
            return false;
        }
        (self.excess, self.last_ms) = (excess, Some(ms));
        true
    }
}

/// How a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Served,
    Refused,
    Lost,
}

/// What becomes of one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fate {
    pub(super) ending: Ending,
    pub(super) first_byte_at_s: f64,
    pub(super) done_at_s: f64,
}

/// One server.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) capacity: Capacity,
    pub(super) rate: Option<RateLimit>,
    /// The time of a round trip.
    pub(super) round_trip_s: f64,
    /// How much the times of single requests differ: each takes up to this share longer.
    pub(super) jitter: f64,
    /// Longest time for a body; each takes a part of it.
    pub(super) body_s: f64,
    /// Whether its refusals are plain 503s, which may be mishaps.
    pub(super) says_503: bool,
    /// Share of the requests that it answers with a 503, whatever their number.
    pub(super) fails: f64,
    /// It answers nothing from the first instant to the second.
    pub(super) outage: Option<(f64, f64)>,
    /// From this instant on it is another one.
    pub(super) turns: Option<(f64, Box<Server>)>,
    /// When each thread is free again.
    pub(super) free_at: Vec<f64>,
    pub(super) in_service: u32,
}

/// The client gives up after this time.
const TIMEOUT_S: f64 = 5.0;

impl Server {
    pub(super) fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            rate: None,
            round_trip_s: 0.001,
            jitter: 0.05,
            body_s: 0.0,
            says_503: false,
            fails: 0.0,
            outage: None,
            turns: None,
            free_at: Vec::new(),
            in_service: 0,
        }
    }

    pub(super) fn limited(per_s: f64, burst: u32) -> Self {
        let server = Self::new(Capacity::Unlimited { each_s: 0.003 });
        Self { rate: Some(RateLimit::new(per_s, burst)), ..server }
    }

    /// The same server, which answers this share of the requests with a 503.
    pub(super) fn failing(self, share: f64) -> Self {
        Self { fails: share, says_503: true, ..self }
    }

    /// A request arrives.
    pub(super) fn arrives(&mut self, at_s: f64, rng: &mut Rng) -> Fate {
        if self.turns.as_ref().is_some_and(|(from, _)| at_s >= *from)
            && let Some((_, other)) = self.turns.take()
        {
            let in_service = self.in_service;
            *self = Self { in_service, ..*other };
        }
        self.in_service += 1;
        let back_s = self.round_trip_s / 2.0 * (1.0 + self.jitter * rng.f64());
        let ends = |ending, at: f64| Fate { ending, first_byte_at_s: at, done_at_s: at };
        if self.outage.is_some_and(|(from, to)| (from..to).contains(&at_s)) {
            return ends(Ending::Lost, at_s + TIMEOUT_S);
        }
        if self.rate.as_mut().is_some_and(|rate| !rate.accepts(at_s)) {
            return ends(Ending::Refused, at_s + back_s);
        }
        if self.fails > 0.0 && rng.f64() < self.fails {
            return ends(Ending::Refused, at_s + back_s);
        }
        let factor = 1.0 + self.jitter * rng.f64();
        let first_byte_at_s = at_s + self.serves(at_s, factor) + back_s;
        let done_at_s = first_byte_at_s + self.body_s * rng.f64();
        Fate { ending: Ending::Served, first_byte_at_s, done_at_s }
    }

    fn serves(&mut self, at_s: f64, factor: f64) -> f64 {
        match self.capacity {
            Capacity::Unlimited { each_s } => each_s * factor,
            Capacity::Knee { at, each_s } => {
                let load = f64::from(self.in_service) / f64::from(at);
                each_s * factor * load.max(1.0).powi(2)
            }
            Capacity::Threads { count, each_s } => {
                self.free_at.resize(count as usize, 0.0);
                let first = self.free_at.iter_mut().min_by(|a, b| a.total_cmp(b)).unwrap();
                let from = first.max(at_s);
                *first = from + each_s * factor;
                *first - at_s
            }
        }
    }

    /// A request is over, one way or another.
    pub(super) fn is_left(&mut self) {
        self.in_service -= 1;
    }

    /// The most it can serve per second.
    pub(super) fn best_per_s(&self) -> f64 {
        let mean = 1.0 + self.jitter / 2.0;
        let by_capacity = match self.capacity {
            Capacity::Unlimited { .. } => f64::INFINITY,
            Capacity::Threads { count, each_s } => f64::from(count) / (each_s * mean),
            Capacity::Knee { at, each_s } => {
                // The bodies, too, keep requests in flight, but not in the server.
                f64::from(at) / (each_s * mean + self.round_trip_s)
            }
        };
        self.rate.as_ref().map_or(by_capacity, |rate| rate.per_s.min(by_capacity))
    }
}
