//! A budget of requests over all connections, so that a crowd of clients does not take the CPUs
//! that the jobs run on.
//!
//! A request over the budget is answered at the next tick, together with all other waiting
//! requests. A thread that wakes for each request takes the CPU from a worker each time, and so do
//! its clients. A thread that wakes once for fifty requests does so a fiftieth as often.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two ticks: the longest wait of a request in a crowd within the budget.
const TICK: Duration = Duration::from_millis(13);

/// Requests answered per tick; 5,000 a second. 64 clients that send without pause are all answered
/// at the next tick, so within 20 ms including the delays of a busy machine. Each request costs
/// about 20 µs of CPU, which is a tenth of a core at most.
const REQUESTS_PER_TICK: u32 = 65;

/// Unused ticks that are carried over, for a page with its assets or a script's burst.
const TICKS_KEPT: u32 = 1;

/// Decides when each request is answered.
#[derive(Debug)]
pub(super) struct Pace(Mutex<Tick>);

/// The tick whose budget is being given away. If it is in the future, requests wait for it.
#[derive(Debug)]
struct Tick {
    at: Instant,
    left: u32,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self(Mutex::new(Tick { at: now, left: REQUESTS_PER_TICK }))
    }

    /// Returns until when a request that arrived at `now` has to wait; `None` if it need not.
    pub(super) fn turn(&self, now: Instant) -> Option<Instant> {
        let mut tick = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= tick.at + TICK * (TICKS_KEPT + 1) {
            // It was quiet. The carried-over budget must not expire with the next request, but a
            // tick later.
            let at = now.checked_sub(TICK * TICKS_KEPT).unwrap_or(now);
            *tick = Tick { at, left: REQUESTS_PER_TICK };
        } else if tick.left == 0 {
            *tick = Tick { at: tick.at + TICK, left: REQUESTS_PER_TICK };
        }
        tick.left -= 1;
        (tick.at > now).then_some(tick.at)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const CLIENTS: usize = 64;

    #[test]
    fn bursts_pass_at_once_and_crowds_are_paced() {
        let start = shared::clock::now() + Duration::from_secs(60);
        let pace = Pace::new(start - Duration::from_secs(10));
        let burst = (0..10_000).take_while(|_| pace.turn(start).is_none()).count();
        assert_eq!(burst, (REQUESTS_PER_TICK * (TICKS_KEPT + 1)) as usize);
        let last = (0..5_000).filter_map(|_| pace.turn(start)).last().unwrap();
        let waits = last - start;
        assert!(waits > Duration::from_millis(950) && waits < Duration::from_millis(1_050), "{waits:?}");
    }

    #[test]
    fn no_request_pattern_exceeds_the_budget() {
        let start = shared::clock::now() + Duration::from_secs(60);
        let budget = 5_000 + u64::from(REQUESTS_PER_TICK * (TICKS_KEPT + 2));
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let pace = Pace::new(start);
            let (mut now, mut answered) = (start, 0);
            let (burst_max, pause_us_max) = (random.u64(1..300), random.u64(1..30_000));
            while now < start + Duration::from_secs(1) {
                for _ in 0..random.u64(1..=burst_max) {
                    // No request waits longer than a second, so all turns within that second are
                    // known.
                    if pace.turn(now).unwrap_or(now) < start + Duration::from_secs(1) {
                        answered += 1;
                    }
                    now += Duration::from_nanos(random.u64(0..3_000));
                }
                now += Duration::from_micros(random.u64(0..pause_us_max));
            }
            assert!(answered <= budget, "seed {seed}: {answered} of at most {budget}");
        }
    }

    #[test]
    fn clients_without_pause_are_all_answered_at_the_next_tick() {
        let start = shared::clock::now() + Duration::from_secs(60);
        let pace = Pace::new(start);
        let mut now = start;
        let mut turns: BTreeMap<Instant, usize> = BTreeMap::new();
        let (mut asking, mut answered) = (CLIENTS, 0);
        for _ in 0..1_000 {
            // Each client sends again as soon as it is answered.
            while asking > 0 {
                match pace.turn(now) {
                    None => answered += 1,
                    Some(turn) => {
                        *turns.entry(turn).or_default() += 1;
                        asking -= 1;
                    }
                }
            }
            let (turn, waited) = turns.pop_first().unwrap();
            assert!(turns.is_empty(), "one is to wait for a second tick");
            assert!(turn - now <= TICK, "{:?}", turn - now);
            answered += waited;
            (now, asking) = (turn, waited);
        }
        assert!(answered >= 1_000 * CLIENTS && answered <= 1_001 * REQUESTS_PER_TICK as usize, "{answered}");
    }
}
