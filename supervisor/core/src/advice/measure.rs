//! What a sample says about one target: how long it takes, and what it costs.
//!
//! The sample runs in two phases, with few and with many targets in flight. Both pay the same for starting processes
//! and for the first target of each worker, which takes several times as long as the later ones. So the difference
//! between their costs is that of connections and targets alone.

use std::time::Duration;

use super::phase::{Attempt, ENOUGH, Phase, REQUEST_S};
use super::saturation::{Load, Saturated};
use super::statistics::{Line, mean, median, seconds};

/// CPU time of workers and supervisor to open one connection, in seconds: the difference between 175 tiny pages over 16
/// and over 40 connections on a core of 2.5 GHz. A phase has far fewer targets for each connection than the whole job.
pub(super) const CONNECT_S: f64 = 100e-6;

/// The same of a server on this machine.
const ACCEPT_S: f64 = 30e-6;

/// Most that TLS adds to them. How much it does add is measured: with HTTP/2, a worker opens one connection to a host.
const HANDSHAKE_S: f64 = 600e-6;
const ACCEPT_HANDSHAKE_S: f64 = 1e-3;

/// [`REQUEST_S`] where answers are waited for: the worker falls asleep, and wakes up for each of them. In a sample they come
/// together, so it does not show that either.
const WAITED_REQUEST_S: f64 = 45e-6;

/// Wait from which workers fall asleep, in seconds.
const ASLEEP_FROM_S: f64 = 0.002;

/// Time to load the supervisor and to leave it, which it cannot see itself: that of `supervisor --version`, less what
/// its own clock shows.
const LOAD_S: f64 = 0.001;

/// Memory of a connection and its buffers.
const SLOT_BYTES: f64 = 64.0 * 1024.0;

/// What one target takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Targets of the sample, and how many of them failed.
    pub targets: usize,
    /// Those that gave an error.
    pub failed: usize,
    /// Median time to the first byte of an answer, in seconds.
    pub first_byte_s: Option<f64>,
    /// Mean time of a target without a queue, in seconds.
    pub latency_s: f64,
    /// How much longer a file takes when it is read from the disk, in seconds; 0 if none was.
    pub read_s: f64,
    /// The coefficient of variation of its time.
    pub spread: f64,
    /// CPU time of workers and supervisor, in seconds, without connecting.
    pub cpu_s: f64,
    /// By how much that grows with each byte of a file, in seconds.
    pub cpu_s_per_byte: f64,
    /// CPU time of the servers, if they run on this machine.
    pub other_cpu_s: f64,
    /// CPU time of workers and supervisor to open a connection, in seconds.
    pub connect_s: f64,
    /// The same of the servers, if they run on this machine.
    pub accept_s: f64,
    /// Bytes of a body.
    pub bytes: f64,
    /// Memory of one target in flight, in bytes.
    pub slot_bytes: f64,
    /// Memory of a worker with few targets in flight, in bytes.
    pub base_bytes: f64,
    /// Most targets in flight in the sample.
    pub tested: u32,
    /// Time that starting and ending a run takes, in seconds.
    pub overhead_s: f64,
    /// What was saturated.
    pub saturated: Saturated,
    /// Mean time of each host's targets, in seconds.
    pub hosts_s: Vec<Option<f64>>,
}

/// What a sample was taken of.
#[derive(Debug, Clone, Copy)]
pub struct Around {
    /// The number of hosts; 0 for files.
    pub hosts: usize,
    /// The cores of this machine that the run uses.
    pub cores: f64,
    /// Whether the servers run on this machine.
    pub beside: bool,
    /// Share of the sample that is asked for over TLS.
    pub secured: f64,
    /// Mean size of all inputs, if it is known. Sizes vary by orders of magnitude, so that of a sample is far off.
    pub mean_bytes: Option<f64>,
    /// What starting the supervisor took, before the first phase.
    pub start: Duration,
}

impl Measured {
    /// Measures the targets in the two phases of a sample; `None` if no target succeeded.
    #[must_use]
    pub fn of(few: &Phase, many: &Phase, around: &Around) -> Option<Self> {
        let Around { hosts, cores, beside, secured, mean_bytes, start } = *around;
        let all = || few.attempts.iter().chain(&many.attempts);
        let targets = all().count();
        let failed = all().filter(|one| !one.ok).count();
        if failed == targets {
            return None;
        }
        let full = if many.attempts.is_empty() { few } else { many };
        let Costs { target, connect_s } = Costs::of(few, full, around);
        let cpu_s = target.at(mean_bytes.unwrap_or(0.0));
        let accept_s = if beside { ACCEPT_S + secured * ACCEPT_HANDSHAKE_S } else { 0.0 };
        let known_s = if beside { other_cpu_s(full, accept_s) } else { 0.0 };
        let theirs_s = known_s.min(cpu_s);
        let load = load(full, (cpu_s, connect_s), (theirs_s, accept_s), cores);
        let saturated = Saturated::of(few, many, &load);
        // Times in a queue are not those of the targets; and files come from memory the second time.
        let calm = if saturated == Saturated::Nothing && hosts > 0 { full } else { few };
        let latency_s = calm.expected_s(|one| one.elapsed_us, mean_bytes);
        let again_s = full.expected_s(|one| one.elapsed_us, mean_bytes);
        let is_from_disk = few.is_from_disk();
        let calm_s: Vec<f64> = calm.settled().iter().map(|one| seconds(one.elapsed_us)).collect();
        let variance = mean(&calm_s.iter().map(|s| (s - latency_s).powi(2)).collect::<Vec<_>>());
        let others_s = match saturated {
            Saturated::Cores(_) => known_s,
            Saturated::Nothing
            | Saturated::Unclear
            | Saturated::Servers(_)
            | Saturated::Network(_)
            | Saturated::Refused(_) => theirs_s,
        };
        let slots = f64::from(full.in_flight().saturating_sub(few.in_flight())).max(1.0);
        let grown = full.resident_bytes.saturating_sub(few.resident_bytes) as f64 / slots;
        let sampled = || mean(&all().filter(|one| one.ok).map(|one| one.bytes as f64).collect::<Vec<_>>());
        let bytes = mean_bytes.unwrap_or_else(sampled);
        Some(Self {
            targets,
            failed,
            first_byte_s: median(few.attempts.iter().filter_map(|one| one.first_byte_us).collect()),
            latency_s,
            read_s: if is_from_disk { (latency_s - again_s).max(0.0) } else { 0.0 },
            spread: variance.sqrt() / latency_s.max(1e-9),
            cpu_s,
            cpu_s_per_byte: target.slope,
            other_cpu_s: others_s.min(few.least_wait_s()),
            connect_s,
            accept_s,
            bytes,
            slot_bytes: grown.max(2.0 * bytes).max(SLOT_BYTES),
            base_bytes: few.resident_bytes as f64,
            tested: full.in_flight(),
            overhead_s: LOAD_S + start.as_secs_f64() + (full.wall.as_secs_f64() - full.spanned_s()).max(0.0),
            saturated,
            hosts_s: hosts_s(&calm.attempts, hosts),
        })
    }
}

/// What the workers and the supervisor compute.
struct Costs {
    /// For one target, by its size.
    target: Line,
    /// For one connection, in seconds.
    connect_s: f64,
}

impl Costs {
    /// The difference between two phases leaves out what the processes need to start. The times that the workers noted,
    /// scaled to fit that difference, use all targets of the sample.
    fn of(few: &Phase, many: &Phase, around: &Around) -> Self {
        let Around { hosts, secured, mean_bytes, .. } = *around;
        let fetches = hosts > 0;
        let (plain_s, least) = match fetches {
            true if few.least_wait_s() >= ASLEEP_FROM_S => (CONNECT_S, WAITED_REQUEST_S),
            true => (CONNECT_S, REQUEST_S),
            false => (0.0, 0.0),
        };
        let points = |phase: &Phase| -> Vec<_> {
            phase.settled().iter().map(|one| (one.bytes as f64, seconds(one.cpu_us))).collect()
        };
        let line = |points: &[(f64, f64)]| match mean_bytes {
            Some(_) => Line::through(points),
            None => Line { start: mean(&points.iter().map(|(_, s)| *s).collect::<Vec<_>>()), slope: 0.0 },
        };
        let more = many.attempts.len().saturating_sub(few.attempts.len());
        // A difference of two phases of nearly one size is mostly chance.
        if more < few.attempts.len().max(2 * ENOUGH) {
            let Line { start, slope } = line(&points(many));
            // No target computed longer than the processes did.
            let scale = (many.cpu.as_secs_f64() / many.computed_s().max(1e-9)).min(1.0);
            let target = Line { start: start * scale + least, slope: slope * scale };
            return Self { target, connect_s: plain_s + secured * HANDSHAKE_S };
        }
        let took = (many.cpu.as_secs_f64() - few.cpu.as_secs_f64()).max(0.0);
        let noted = (many.computed_s() - few.computed_s()).max(1e-9);
        let connections = (many.connections() - few.connections()).max(0.0);
        let connect_s = if secured > 0.0 {
            // What neither the pages nor their requests took.
            let rest = (took - noted - more as f64 * REQUEST_S).max(0.0);
            (rest / connections.max(1.0)).min(CONNECT_S + secured * HANDSHAKE_S)
        } else {
            plain_s
        };
        let took = (took - connections * connect_s).max(0.0);
        let Line { start, slope } = line(&[points(few), points(many)].concat());
        let scale = (took / noted).min(1.0);
        let besides = (took - noted).max(0.0) / more as f64;
        let target = Line { start: (start * scale + besides).max(least), slope: slope * scale };
        Self { target, connect_s }
    }
}

/// What the cores did in a phase, by what workers and servers on this machine need for a target and for a connection.
fn load(phase: &Phase, (cpu_s, connect_s): (f64, f64), (theirs_s, accept_s): (f64, f64), cores: f64) -> Load {
    let (targets, connections) = (phase.attempts.len() as f64, phase.connections());
    // Targets that wait for a core which others have show a busy machine, too.
    let here_s = (targets * cpu_s).max(phase.computed_s()) + connections * connect_s;
    let there_s = targets * theirs_s + connections * accept_s;
    let other_s = phase.other_cpu.unwrap_or_default().as_secs_f64();
    Load { needed_s: here_s + there_s, strangers_s: (other_s - there_s).max(0.0), cores }
}

/// CPU time of servers on this machine for one target. What others compute meanwhile counts as well, for it holds up a
/// run on the same machine too.
fn other_cpu_s(full: &Phase, accept_s: f64) -> f64 {
    let taken = full.other_cpu.unwrap_or_default().as_secs_f64();
    (taken - accept_s * full.connections()).max(0.0) / full.attempts.len().max(1) as f64
}

fn hosts_s(attempts: &[Attempt], hosts: usize) -> Vec<Option<f64>> {
    let mut sums = vec![(0_u64, 0_u64); hosts];
    for one in attempts {
        if let Some((us, times)) = sums.get_mut(one.host) {
            (*us, *times) = (*us + one.elapsed_us, *times + 1);
        }
    }
    sums.into_iter().map(|(us, times)| (times > 0).then(|| seconds(us) / times as f64)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: f64 = 1e-3;

    const AROUND: Around =
        Around { hosts: 1, cores: 2.0, beside: false, secured: 1.0, mean_bytes: None, start: Duration::ZERO };

    /// A phase of pages that compute 0.3 ms and wait 50 ms, whose processes took this CPU time.
    fn phase(count: u64, in_flight: u64, cpu_s: f64) -> Phase {
        let attempt = |n: u64| Attempt {
            host: 0,
            started_us: n / in_flight * 50_000,
            elapsed_us: 50_000,
            first_byte_us: Some(50_000),
            cpu_us: 300,
            bytes: 20_000,
            ok: true,
            refused: false,
        };
        let attempts: Vec<_> = (0..count).map(attempt).collect();
        Phase { attempts, cpu: Duration::from_secs_f64(cpu_s), ..Phase::default() }
    }

    #[test]
    fn what_a_connection_takes_is_measured_where_it_is_secured() {
        // Processes start in 15 ms. With HTTP/2, each of two workers opens one connection.
        let taken = |count: u64, connections: u64, handshake_ms: f64| {
            (15.0 + count as f64 * 0.32 + connections as f64 * handshake_ms) * MS
        };
        for (name, few, many, connect_ms) in [
            ("HTTP/1.1", taken(18, 8, 0.5), taken(182, 92, 0.5), 0.5),
            ("HTTP/2", taken(18, 2, 0.5), taken(182, 2, 0.5), 0.0),
        ] {
            let measured = Measured::of(&phase(18, 8, few), &phase(182, 92, many), &AROUND).unwrap();
            assert!((measured.cpu_s / MS - 0.32).abs() < 0.01, "{name}: {measured:?}");
            assert!((measured.connect_s / MS - connect_ms).abs() < 0.02, "{name}: {measured:?}");
        }
    }

    #[test]
    fn a_small_sample_counts_requests_and_no_waiting_either() {
        for (noted, cpu_s, expected_ms) in
            [("all of it", 20.0 * MS, 0.345), ("twice as much", 2.7 * MS, 0.195)]
        {
            let measured = Measured::of(&phase(9, 8, cpu_s), &phase(18, 8, cpu_s), &AROUND).unwrap();
            assert!((measured.cpu_s / MS - expected_ms).abs() < 0.01, "{noted}: {measured:?}");
        }
    }

    #[test]
    fn the_file_that_workers_start_with_is_in_memory() {
        let sizes = |sizes: &[u64], disk_bytes| {
            let attempts =
                sizes.iter().map(|bytes| Attempt { bytes: *bytes, ..phase(1, 1, 0.0).attempts[0] });
            Phase { attempts: attempts.collect(), disk_bytes, ..Phase::default() }
        };
        for (files, disk_bytes, is_from_disk) in [
            (vec![50_000], 0, false),
            (vec![50_000, 50_000], 50_000, true),
            (vec![50_000, 10_000, 20_000], 70_000, true),
            (vec![50_000, 10_000, 20_000], 20_000, false),
        ] {
            assert_eq!(sizes(&files, disk_bytes).is_from_disk(), is_from_disk, "{files:?}");
        }
    }
}
