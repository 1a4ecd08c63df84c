//! Whether many targets in flight saturate something, and what.
//!
//! If many in flight make each target slower, there is a queue. It is one of this machine if its cores were busy
//! meanwhile. Else it is one of the servers, or of the network to them, and the throughput that was seen is their most.
//! That needs evidence: workers do not begin at the same moment, all connections are opened at the beginning, and a
//! scheduler gives out cores in steps of milliseconds. In a phase of a few milliseconds, these alone look like a queue.

use super::phase::{Attempt, ENOUGH, Phase};
use super::statistics::{mean, seconds};

/// Growth of the time per target, from few to many in flight, that shows a queue.
const QUEUE: f64 = 1.5;

/// Share of refused targets above which a server's limit is the reason, and not a bad moment.
const REFUSED: f64 = 0.02;

/// Share of the free cores that the targets must have kept busy for the cores to be the reason of a queue. No more than
/// that is needed: a phase is short, and some of it passes before all workers have their targets.
const BUSY: f64 = 0.5;

/// The least share of the cores that strangers leave to the run: a scheduler gives each process its part.
const FREE_MIN: f64 = 0.25;

/// Time that the cores must leave unexplained for the servers to be the reason of a queue, in seconds: several times
/// what a worker may begin later than another, and what the scheduler may let a process wait.
const UNEXPLAINED_MIN_S: f64 = 0.025;

/// What is saturated when many targets are in flight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Saturated {
    /// Nothing that was seen.
    Nothing,
    /// Targets took longer, but for too short a time to tell why.
    Unclear,
    /// The cores of this machine, at this throughput.
    Cores(f64),
    /// The servers, at this throughput.
    Servers(f64),
    /// The network, at this throughput: answers begin as soon as before, and take longer.
    Network(f64),
    /// Nothing, but servers refuse more requests than this throughput.
    Refused(f64),
}

/// What the cores did in the phase with many targets in flight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// CPU time that its targets and connections need on this machine, in seconds; also that of servers.
    pub(super) needed_s: f64,
    /// CPU time of all other processes, in seconds.
    pub(super) strangers_s: f64,
    /// The cores of this machine that the run uses.
    pub(super) cores: f64,
}

impl Load {
    /// The share of the cores that strangers left to the run which it kept busy for so long.
    fn busy(&self, lasts_s: f64) -> f64 {
        let all_s = (lasts_s * self.cores).max(1e-6);
        let free = (1.0 - self.strangers_s / all_s).max(FREE_MIN);
        self.needed_s / all_s / free
    }
}

impl Saturated {
    /// Compares the phase with few targets in flight to the one with many.
    pub(super) fn of(few: &Phase, many: &Phase, load: &Load) -> Self {
        if let Some(refusing) = [many, few].into_iter().find(|phase| phase.refused_share() > REFUSED) {
            return Self::Refused(refusing.taken_per_s());
        }
        if many.attempts.len() < ENOUGH || few.attempts.is_empty() {
            return Self::Nothing;
        }
        let part = |phase: &Phase, of: fn(&Attempt) -> u64| {
            mean(&phase.settled().iter().map(|one| seconds(of(one))).collect::<Vec<_>>()).max(1e-6)
        };
        let growth = |of| part(many, of) / part(few, of);
        if growth(|one| one.elapsed_us) < QUEUE {
            return Self::Nothing;
        }
        let throughput = many.throughput();
        let lasts_s = many.spanned_s();
        let busy = load.busy(lasts_s);
        if busy >= BUSY {
            return Self::Cores(throughput);
        }
        if lasts_s * (1.0 - busy) < UNEXPLAINED_MIN_S {
            return Self::Unclear;
        }
        let before = |one: &Attempt| one.first_byte_us.unwrap_or(one.elapsed_us);
        let after =
            |one: &Attempt| one.elapsed_us.saturating_sub(one.first_byte_us.unwrap_or(one.elapsed_us));
        let (added_before, added_after) =
            (part(many, before) - part(few, before), part(many, after) - part(few, after));
        if added_after > added_before { Self::Network(throughput) } else { Self::Servers(throughput) }
    }

    /// Whether the servers, or the network to them, had all that they can take.
    pub(super) const fn is_full(self) -> bool {
        matches!(self, Self::Servers(_) | Self::Network(_))
    }
}

#[cfg(test)]
mod tests {
    use std::mem::discriminant;

    use super::*;

    /// A phase whose targets take turns, so many at once.
    fn phase(count: u32, in_flight: u32, first_byte_us: u64, body_us: u64) -> Phase {
        let attempt = |n: u32| Attempt {
            host: 0,
            started_us: u64::from(n / in_flight) * (first_byte_us + body_us),
            elapsed_us: first_byte_us + body_us,
            first_byte_us: Some(first_byte_us),
            cpu_us: 20,
            bytes: 200,
            ok: true,
            refused: false,
        };
        Phase { attempts: (0..count).map(attempt).collect(), ..Phase::default() }
    }

    #[test]
    fn a_queue_is_one_of_the_servers_only_if_the_cores_do_not_explain_it() {
        // Times to the first byte with few and with many in flight, in microseconds; targets; CPU times in milliseconds.
        let cases = [
            ("no queue", 200_000, 210_000, 182, (10.0, 0.0), Saturated::Nothing),
            ("eight threads of 100 ms", 100_000, 1_100_000, 182, (40.0, 0.0), Saturated::Servers(0.0)),
            ("the same beside a build", 100_000, 1_100_000, 182, (40.0, 4_200.0), Saturated::Servers(0.0)),
            ("a server on one core of two", 7_000, 80_000, 182, (20.0, 160.0), Saturated::Servers(0.0)),
            ("32 at once for 10 ms", 10_000, 28_000, 182, (25.0, 30.0), Saturated::Servers(0.0)),
            ("pages of 20 kB", 1_300, 30_000, 182, (150.0, 10.0), Saturated::Cores(0.0)),
            ("pages of 200 bytes", 200, 9_000, 182, (18.0, 0.0), Saturated::Unclear),
            ("the same beside a build", 200, 25_000, 182, (18.0, 120.0), Saturated::Cores(0.0)),
            ("2,000 of them", 200, 1_200, 2_000, (50.0, 0.0), Saturated::Cores(0.0)),
        ];
        for (name, few_us, many_us, count, (needed_ms, strangers_ms), expected) in cases {
            let load = Load { needed_s: needed_ms / 1e3, strangers_s: strangers_ms / 1e3, cores: 2.0 };
            let saturated = Saturated::of(&phase(18, 8, few_us, 20), &phase(count, 91, many_us, 20), &load);
            assert_eq!(discriminant(&saturated), discriminant(&expected), "{name}: {saturated:?}");
        }
    }

    #[test]
    fn answers_that_begin_as_soon_as_before_wait_for_the_network() {
        let load = Load { needed_s: 0.01, strangers_s: 0.0, cores: 2.0 };
        let saturated = Saturated::of(&phase(18, 8, 5_000, 45_000), &phase(182, 91, 5_000, 450_000), &load);
        assert!(matches!(saturated, Saturated::Network(_)), "{saturated:?}");
    }
}
