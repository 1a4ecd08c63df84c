//! Picks an execution mode from a short measurement: how long targets wait, and how long they
//! compute. Pure: it takes numbers and returns a choice with its reason.

use wire::mode::Mode;

/// Targets to measure: enough for a mean, few enough to finish quickly.
pub const PROBE_TARGETS: u64 = 16;

/// Smallest share of waiting at which interleaving pays off.
const WAITING_SHARE_MIN: f64 = 0.2;

/// Share of one core above which one process can no longer keep its waits in flight.
const ONE_CORE_MAX: f64 = 0.5;

/// Means over the measured targets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Number of targets measured.
    pub targets: u64,
    /// Waiting time per target, in milliseconds.
    pub wait_ms: f64,
    /// Computing time per target, in milliseconds.
    pub compute_ms: f64,
}

/// The chosen mode, and a sentence that says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The mode that fits.
    pub mode: Mode,
    /// The reason, with the numbers behind it.
    pub why: String,
}

/// Chooses a mode for `workers` processes with `concurrency` waits each.
pub fn choose(measured: Measured, workers: u32, concurrency: u32) -> Choice {
    let Measured { targets, wait_ms, compute_ms } = measured;
    let total_ms = wait_ms + compute_ms;
    let waiting_share = if total_ms > 0.0 { wait_ms / total_ms } else { 0.0 };
    // The load that one event loop would put on its core if the network kept up with its waits.
    let one_core = if total_ms > 0.0 { f64::from(concurrency) * compute_ms / total_ms } else { 0.0 };
    let facts = format!(
        "{targets} targets waited {wait_ms:.2} ms and computed {compute_ms:.2} ms each on average ({:.0} % waiting)",
        waiting_share * 100.0
    );
    let (mode, because) = if waiting_share < WAITING_SHARE_MIN {
        if workers > 1 {
            (
                Mode::Parallel,
                format!("so there is little to interleave and {workers} processes compute side by side"),
            )
        } else {
            (Mode::Sequential, "so there is little to interleave, and one CPU to compute on".to_owned())
        }
    } else if one_core > ONE_CORE_MAX && workers > 1 {
        let share = (one_core * 100.0).min(999.0);
        (
            Mode::Both,
            format!(
                "so {concurrency} interleaved waits would take {share:.0} % of one core: {workers} processes share them"
            ),
        )
    } else {
        let share = (one_core * 100.0).min(999.0);
        (
            Mode::Concurrent,
            format!("so one process keeps {concurrency} waits going at about {share:.1} % of a core"),
        )
    };
    Choice { mode, why: format!("{}: {facts}, {because}", mode.name()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_follows_waiting_and_computing() {
        for (wait_ms, compute_ms, workers, mode) in [
            (1000.0, 0.4, 8, Mode::Concurrent),
            (0.4, 1.2, 8, Mode::Both),
            (40.0, 4.0, 2, Mode::Both),
            (40.0, 4.0, 1, Mode::Concurrent),
            (0.02, 1.5, 4, Mode::Parallel),
            (0.02, 1.5, 1, Mode::Sequential),
            (0.0, 0.0, 2, Mode::Parallel),
        ] {
            let choice = choose(Measured { targets: 16, wait_ms, compute_ms }, workers, 64);
            assert_eq!(choice.mode, mode, "{wait_ms} {compute_ms} {workers}: {}", choice.why);
            assert!(
                choice.why.starts_with(mode.name()) && choice.why.contains("16 targets"),
                "{}",
                choice.why
            );
        }
    }
}
