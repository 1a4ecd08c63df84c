//! What a sample says about one target: how long it takes, what it costs, and whether the servers had enough.
//!
//! The sample runs in two phases, with few and with many targets in flight. Both pay the same for starting processes
//! and for the first target of each worker, which takes several times as long as the later ones. So the difference
//! between their costs is that of targets alone. If many in flight only make each target slower, something is
//! saturated: the throughput then is a bound, and not an estimate.
//!
//! CPU time is taken from the clocks of processes. The time that a worker notes for each target also runs while the
//! worker waits for a core, so it only says how the CPU time is distributed over the targets.

use std::time::Duration;

use rustc_hash::FxHashSet;

/// Growth of the time per target, from few to many in flight, that shows a queue.
const QUEUE: f64 = 1.5;

/// Targets without which a mean is taken over all, even those that had to connect first.
const ENOUGH: usize = 8;

/// Least number of targets in flight that is worth a phase of its own.
const WORTH_MIN: u32 = 16;

/// Share of refused targets above which a server's limit is the reason, and not a bad moment.
const REFUSED: f64 = 0.02;

/// Share of all cores that workers and supervisor must use for a saturated machine to be the reason of a queue: if the
/// servers are elsewhere, and if they run on the same machine.
const BUSY: f64 = 0.6;
const BUSY_BESIDE_SERVERS: f64 = 0.25;

/// CPU time of workers and supervisor to open one connection, in seconds: the difference between 175 tiny pages over 16
/// and over 40 connections on a core of 2.5 GHz. A phase has far fewer targets for each connection than the whole job.
pub(super) const CONNECT_S: f64 = 100e-6;

/// The same of a server on this machine.
pub(super) const ACCEPT_S: f64 = 30e-6;

/// CPU time of workers and supervisor for a request and its record, in seconds, without what the page takes. For pages
/// of a few bytes that is all there is, and a sample of 200 is too short for the clocks to show it.
const REQUEST_S: f64 = 20e-6;

/// Time to load the supervisor and to leave it, which it cannot see itself: that of `supervisor --version`, less what
/// its own clock shows.
const LOAD_S: f64 = 0.001;

/// One target of the sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attempt {
    /// The number of its host.
    pub host: usize,
    /// When it began, in microseconds.
    pub started_us: u64,
    /// Duration in microseconds.
    pub elapsed_us: u64,
    /// Time from the request to the first byte, in microseconds; `None` if there was no answer.
    pub first_byte_us: Option<u64>,
    /// Part of the duration that its worker computed, in microseconds.
    pub cpu_us: u64,
    /// Bytes of its body.
    pub bytes: u64,
    /// Whether it gave a record without an error.
    pub ok: bool,
    /// Whether its server asked for fewer requests.
    pub refused: bool,
}

impl Attempt {
    fn ended_us(&self) -> u64 {
        self.started_us.saturating_add(self.elapsed_us)
    }
}

/// One phase of the sample.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Phase {
    /// The targets.
    pub attempts: Vec<Attempt>,
    /// From the start of the first process to the end of the last.
    pub wall: Duration,
    /// CPU time of the supervisor and its workers.
    pub cpu: Duration,
    /// CPU time of all other processes, if it is known.
    pub other_cpu: Option<Duration>,
    /// Bytes that the workers read from a disk. What the kernel has in memory does not count.
    pub disk_bytes: u64,
    /// Largest resident set of a worker, in bytes.
    pub resident_bytes: u64,
}

impl Phase {
    /// The targets that began after others had ended: most of them found an open connection and a warm worker.
    /// Refusals are left out if anything else remains: they take less time than pages.
    fn settled(&self) -> Vec<&Attempt> {
        let first_end = self.attempts.iter().map(Attempt::ended_us).min().unwrap_or(0);
        let taken = || self.attempts.iter().filter(|one| !one.refused);
        let settled: Vec<_> = taken().filter(|one| one.started_us >= first_end).collect();
        if settled.len() >= ENOUGH {
            return settled;
        }
        let all: Vec<_> = taken().collect();
        if all.is_empty() { self.attempts.iter().collect() } else { all }
    }

    /// Mean of something about the settled targets, in seconds; if the mean size of all inputs is known, of inputs of
    /// that size.
    fn expected_s(&self, of: fn(&Attempt) -> u64, mean_bytes: Option<f64>) -> f64 {
        let points: Vec<_> = self.settled().iter().map(|one| (one.bytes as f64, seconds(of(one)))).collect();
        match mean_bytes {
            Some(bytes) => Line::through(&points).at(bytes),
            None => mean(&points.iter().map(|(_, s)| *s).collect::<Vec<_>>()),
        }
    }

    /// Time that the workers noted for all targets, in seconds.
    fn computed_s(&self) -> f64 {
        self.attempts.iter().map(|one| seconds(one.cpu_us)).sum()
    }

    /// Connections that were opened: one for each target that was in flight, or more if there are more hosts.
    fn connections(&self) -> f64 {
        let hosts: FxHashSet<_> = self.attempts.iter().map(|one| one.host).collect();
        f64::from(self.in_flight()).max(hosts.len() as f64)
    }

    /// Share of the targets that were refused.
    fn refused_share(&self) -> f64 {
        let refused = self.attempts.iter().filter(|one| one.refused).count();
        refused as f64 / self.attempts.len().max(1) as f64
    }

    /// Targets a second that are taken where others are refused: the most of any `ENOUGH` in a row in the second half
    /// of the phase. In the first half, a burst may have been taken, and the pace was still sought.
    fn taken_per_s(&self) -> f64 {
        let first = self.attempts.iter().map(|one| one.started_us).min().unwrap_or(0);
        let last = self.attempts.iter().map(|one| one.started_us).max().unwrap_or(0);
        let middle = first.midpoint(last);
        let taken = self.attempts.iter().filter(|one| !one.refused && one.started_us >= middle);
        let mut starts: Vec<u64> = taken.map(|one| one.started_us).collect();
        starts.sort_unstable();
        let count = starts.len().min(ENOUGH);
        let spans = starts.windows(count.max(2)).filter_map(|row| row.last()?.checked_sub(*row.first()?));
        match spans.min() {
            Some(least) => count.saturating_sub(1) as f64 / seconds(least).max(1e-6),
            None => (starts.len().max(1)) as f64 / self.spanned_s().max(1e-6),
        }
    }

    /// How many targets the next phase should have in flight at most, to saturate what it can: four times what keeps
    /// the cores busy. More of them only wait for a core, and connecting them costs more than they show.
    #[must_use]
    pub fn worth_in_flight(&self, cores: u32) -> u32 {
        let cpu_s = self.expected_s(|one| one.cpu_us, None) + REQUEST_S;
        let latency_s = self.expected_s(|one| one.elapsed_us, None).max(cpu_s);
        super::whole(4.0 * f64::from(cores) * latency_s / cpu_s).max(WORTH_MIN)
    }

    /// The least time that a target waited: a server hardly computes longer for one.
    fn least_wait_s(&self) -> f64 {
        let waits = self.attempts.iter().map(|one| one.elapsed_us.saturating_sub(one.cpu_us));
        seconds(waits.min().unwrap_or(0))
    }

    /// Targets a second over the whole phase. What is saturated is busy from the first start to the last end; within
    /// that time, ends come in bursts where all share one resource evenly.
    fn throughput(&self) -> f64 {
        self.attempts.len() as f64 / self.spanned_s().max(1e-6)
    }

    /// Most targets that were in flight at one moment. A start at the moment of an end takes the freed place.
    fn in_flight(&self) -> u32 {
        let mut moments: Vec<(u64, i32)> =
            self.attempts.iter().flat_map(|one| [(one.started_us, 1), (one.ended_us(), -1)]).collect();
        moments.sort_unstable();
        let counts = moments.iter().scan(0, |count, (_, change)| {
            *count += change;
            Some(*count)
        });
        counts.max().and_then(|most| u32::try_from(most).ok()).unwrap_or(0)
    }

    /// From the first start to the last end.
    fn spanned_s(&self) -> f64 {
        let first = self.attempts.iter().map(|one| one.started_us).min().unwrap_or(0);
        let last = self.attempts.iter().map(Attempt::ended_us).max().unwrap_or(0);
        seconds(last.saturating_sub(first))
    }
}

/// What is saturated when many targets are in flight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Saturated {
    /// Nothing that was seen.
    Nothing,
    /// The cores of this machine, at this throughput.
    Cores(f64),
    /// The servers, at this throughput.
    Servers(f64),
    /// The network, at this throughput: answers begin as soon as before, and take longer.
    Network(f64),
    /// Nothing, but servers refuse more requests than this throughput.
    Refused(f64),
}

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
    /// Mean size of all inputs, if it is known. Sizes vary by orders of magnitude, so that of a sample is far off.
    pub mean_bytes: Option<f64>,
    /// What starting the supervisor took, before the first phase.
    pub start: Duration,
}

impl Measured {
    /// Measures the targets in the two phases of a sample; `None` if no target succeeded.
    #[must_use]
    pub fn of(few: &Phase, many: &Phase, around: &Around) -> Option<Self> {
        let Around { hosts, cores, beside, mean_bytes, start } = *around;
        let all = || few.attempts.iter().chain(&many.attempts);
        let targets = all().count();
        let failed = all().filter(|one| !one.ok).count();
        if failed == targets {
            return None;
        }
        let full = if many.attempts.is_empty() { few } else { many };
        let cpu = cpu(few, full, mean_bytes, hosts > 0);
        let cpu_s = cpu.at(mean_bytes.unwrap_or(0.0));
        // Targets that wait for a core which others have show a busy machine, too.
        let noted_s = full.computed_s() / full.attempts.len().max(1) as f64;
        let saturated = saturated(few, many, cpu_s.max(noted_s) / cores, beside);
        // Times in a queue are not those of the targets; and files come from memory the second time.
        let calm = if saturated == Saturated::Nothing && hosts > 0 { full } else { few };
        let latency_s = calm.expected_s(|one| one.elapsed_us, mean_bytes);
        let again_s = full.expected_s(|one| one.elapsed_us, mean_bytes);
        let read: u64 = few.attempts.iter().map(|one| one.bytes).sum();
        let is_from_disk = few.disk_bytes > read / 2;
        let calm_s: Vec<f64> = calm.settled().iter().map(|one| seconds(one.elapsed_us)).collect();
        let variance = mean(&calm_s.iter().map(|s| (s - latency_s).powi(2)).collect::<Vec<_>>());
        let others_s = if beside { other_cpu_s(full, cpu_s, saturated).min(few.least_wait_s()) } else { 0.0 };
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
            cpu_s_per_byte: cpu.slope,
            other_cpu_s: others_s,
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

impl Measured {
    /// Whether the servers, or the network to them, had all that they can take.
    pub(super) const fn is_full(&self) -> bool {
        matches!(self.saturated, Saturated::Servers(_) | Saturated::Network(_))
    }
}

/// Memory of a connection and its buffers.
const SLOT_BYTES: f64 = 64.0 * 1024.0;

/// CPU time of one target, as a line over the size of files. The difference between two phases leaves out what the
/// processes need to start. The times that the workers noted, scaled to fit that difference, use all targets of the
/// sample.
fn cpu(few: &Phase, many: &Phase, mean_bytes: Option<f64>, connects: bool) -> Line {
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
        return line(&points(many));
    }
    let connecting = if connects { CONNECT_S * (many.connections() - few.connections()) } else { 0.0 };
    let took = (many.cpu.as_secs_f64() - few.cpu.as_secs_f64() - connecting).max(0.0);
    let noted = (many.computed_s() - few.computed_s()).max(1e-9);
    let Line { start, slope } = line(&[points(few), points(many)].concat());
    let scale = (took / noted).min(1.0);
    let besides = (took - noted).max(0.0) / more as f64;
    let least = if connects { REQUEST_S } else { 0.0 };
    Line { start: (start * scale + besides).max(least), slope: slope * scale }
}

/// CPU time of servers on this machine for one target. Other processes may be busy too, and only a saturated machine
/// tells how much of it matters.
fn other_cpu_s(full: &Phase, cpu_s: f64, saturated: Saturated) -> f64 {
    let of = |phase: &Phase| {
        let taken = phase.other_cpu.unwrap_or_default().as_secs_f64();
        (taken - ACCEPT_S * phase.connections()).max(0.0)
    };
    let known = of(full) / full.attempts.len().max(1) as f64;
    match saturated {
        Saturated::Cores(_) => known,
        Saturated::Nothing | Saturated::Servers(_) | Saturated::Network(_) | Saturated::Refused(_) => {
            known.min(cpu_s)
        }
    }
}

fn saturated(few: &Phase, many: &Phase, cpu_s_of_cores: f64, beside: bool) -> Saturated {
    if let Some(refusing) = [many, few].into_iter().find(|phase| phase.refused_share() > REFUSED) {
        return Saturated::Refused(refusing.taken_per_s());
    }
    if many.attempts.len() < ENOUGH || few.attempts.is_empty() {
        return Saturated::Nothing;
    }
    let part = |phase: &Phase, of: fn(&Attempt) -> u64| {
        mean(&phase.settled().iter().map(|one| seconds(of(one))).collect::<Vec<_>>()).max(1e-6)
    };
    let growth = |of| part(many, of) / part(few, of);
    if growth(|one| one.elapsed_us) < QUEUE {
        return Saturated::Nothing;
    }
    let throughput = many.throughput();
    let busy = throughput * cpu_s_of_cores;
    if busy >= if beside { BUSY_BESIDE_SERVERS } else { BUSY } {
        return Saturated::Cores(throughput);
    }
    let before = |one: &Attempt| one.first_byte_us.unwrap_or(one.elapsed_us);
    let after = |one: &Attempt| one.elapsed_us.saturating_sub(one.first_byte_us.unwrap_or(one.elapsed_us));
    let (added_before, added_after) =
        (part(many, before) - part(few, before), part(many, after) - part(few, after));
    if added_after > added_before { Saturated::Network(throughput) } else { Saturated::Servers(throughput) }
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

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// What a target takes, by its size.
#[derive(Debug, Clone, Copy)]
struct Line {
    start: f64,
    slope: f64,
}

impl Line {
    /// The line through these points: least squares, where the variance grows as `x` does. Neither its start nor its
    /// slope is negative.
    fn through(points: &[(f64, f64)]) -> Self {
        let weight = |x: f64| 1.0 / x.max(1.0);
        let sum =
            |of: &dyn Fn(f64, f64) -> f64| points.iter().map(|&(x, y)| weight(x) * of(x, y)).sum::<f64>();
        let total = sum(&|_, _| 1.0).max(1e-12);
        let (x_mean, y_mean) = (sum(&|x, _| x) / total, sum(&|_, y| y) / total);
        let spread = sum(&|x, _| (x - x_mean).powi(2));
        let plain = mean(&points.iter().map(|(_, y)| *y).collect::<Vec<_>>());
        let slope = if spread > 1e-9 { sum(&|x, y| (x - x_mean) * (y - y_mean)) / spread } else { 0.0 };
        match (slope > 0.0, y_mean - slope * x_mean) {
            (false, _) => Self { start: plain, slope: 0.0 },
            (true, start) if start >= 0.0 => Self { start, slope },
            (true, _) => Self { start: 0.0, slope: y_mean / x_mean.max(1e-12) },
        }
    }

    fn at(self, x: f64) -> f64 {
        self.start + self.slope * x
    }
}

fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

fn median(mut values: Vec<u64>) -> Option<f64> {
    values.sort_unstable();
    values.get(values.len() / 2).map(|us| seconds(*us))
}
