//! A budget of requests for all connections together, so that no crowd of
//! clients takes the CPUs that the jobs run on.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Requests a second, over all connections. Each costs some 30 µs of CPU, so that this is 15 % of one core at most;
/// of 64 clients that ask without pause each waits 64/5000 s, 13 ms.
const REQUESTS_PER_S: u32 = 5_000;

/// Requests that need not wait after a quiet time: a page with its parts, a script with a burst.
const BURST: u32 = 100;

/// When each request's turn is.
#[derive(Debug)]
pub(super) struct Pace {
    /// When the next one's turn is, had there been no quiet time.
    next: Mutex<Instant>,
    every: Duration,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { next: Mutex::new(now), every: Duration::from_secs(1) / REQUESTS_PER_S }
    }

    /// Until when a request that came `now` has to wait; `None` if not at all.
    pub(super) fn turn(&self, now: Instant) -> Option<Instant> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(self.every * BURST).unwrap_or(now);
        let turn = (*next).max(earliest);
        *next = turn + self.every;
        (turn > now).then_some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_a_crowd_at_its_pace() {
        let start = shared::clock::now() + Duration::from_secs(60);
        let pace = Pace::new(start - Duration::from_secs(10));
        let burst = (0..10_000).take_while(|_| pace.turn(start).is_none()).count();
        assert_eq!(burst, BURST as usize + 1);
        let last = (0..REQUESTS_PER_S).filter_map(|_| pace.turn(start)).last().unwrap();
        let waits = last - start;
        assert!(waits > Duration::from_millis(900) && waits < Duration::from_millis(1_100), "{waits:?}");
    }
}
