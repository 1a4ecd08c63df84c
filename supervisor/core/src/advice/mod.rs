//! Which mode fits a job, how long it will take, and what bounds it: from a sample of its inputs.
//!
//! | module | does |
//! |---|---|
//! | `sample` | takes a sample, spread over the hosts |
//! | `phase` | holds what was seen of it, in one of two phases |
//! | `measure` | turns the phases into what one target takes |
//! | `saturation` | tells whether many targets in flight were too many, and for what |
//! | `bounds` | computes what each resource allows, in targets a second |
//! | `prediction` | predicts how long the whole input takes |
//!
//! Here the smallest bound becomes a recommendation: as many targets in flight as the bottleneck needs to stay busy
//! (Little, "A Proof for the Queuing Formula L = λW", 1961), and as many workers as they keep busy.

mod bounds;
mod measure;
mod phase;
mod prediction;
mod sample;
mod saturation;
mod statistics;

use wire::mode::Mode;

pub use bounds::{Bound, Host, Machine, Question, Resource};
pub use measure::{Around, Measured};
pub use phase::{Attempt, Phase};
pub use sample::{INPUTS_MAX, Sampler};
pub use saturation::Saturated;

use bounds::{plural, time};

/// Share of waiting below which interleaving does not pay.
const WAITING_SHARE_MIN: f64 = 0.2;

/// Share of a core that one event loop should use at most.
const BUSY_MAX: f64 = 0.7;

/// CPU time of a whole job below which another worker costs more than it brings, in seconds.
const SMALL_S: f64 = 0.05;

/// Targets in flight, in units of what the bottleneck needs on average.
const HEADROOM: f64 = 1.25;

/// The same where servers or the network are saturated: more could take them beyond what they do best.
const HEADROOM_OF_FULL: f64 = 1.1;

/// Targets in flight for a worker that computes all the time. Fewer would let it wait for single slow answers.
const CONCURRENCY_OF_BUSY: f64 = 32.0;

/// Most targets in flight in one worker.
const CONCURRENCY_MAX: u32 = 16_384;

/// What is advised.
#[derive(Debug, Clone, PartialEq)]
pub struct Advice {
    /// All bounds, the smallest first.
    pub bounds: Vec<Bound>,
    /// The mode.
    pub mode: Mode,
    /// The number of workers.
    pub workers: u32,
    /// Targets in flight in each of them.
    pub concurrency: u32,
    /// How long the job takes then, in seconds; `None` if the number of inputs is unknown.
    pub predicted_s: Option<f64>,
    /// Why, in a sentence.
    pub why: String,
}

impl Advice {
    /// What bounds the job.
    #[must_use]
    pub fn bottleneck(&self) -> Option<&Bound> {
        self.bounds.first()
    }
}

/// The number of workers, and of targets in flight in all of them.
#[derive(Debug, Clone, Copy)]
struct Shape {
    workers: u32,
    in_flight: u32,
}

/// Answers the question.
#[must_use]
pub fn advise(question: &Question<'_>) -> Advice {
    let bounds = question.bounds();
    let (resource, per_s) = bounds
        .first()
        .map_or((Resource::Cpu, 1.0), |bound| (bound.resource, bound.targets_per_s.unwrap_or(f64::INFINITY)));
    let shape = question.shape(resource, per_s);
    // Even the nearest server is waited for, so requests always overlap.
    let computes = !question.fetches;
    let mode = match (computes, shape.workers > 1) {
        (true, true) => Mode::Parallel,
        (true, false) => Mode::Sequential,
        (false, true) => Mode::Both,
        (false, false) if shape.in_flight > 1 => Mode::Concurrent,
        (false, false) => Mode::Sequential,
    };
    let concurrency =
        if computes { 1 } else { shape.in_flight.div_ceil(shape.workers).clamp(1, CONCURRENCY_MAX) };
    let why = question.why(resource, per_s, mode, shape);
    let predicted_s = question.predicted_s(&bounds, shape, computes);
    Advice { bounds, mode, workers: shape.workers, concurrency, predicted_s, why }
}

impl Question<'_> {
    /// Returns what keeps the bottleneck busy, and not more.
    fn shape(&self, resource: Resource, per_s: f64) -> Shape {
        let Measured { latency_s, cpu_s, .. } = *self.measured;
        let most = self.inputs.unwrap_or(u64::MAX);
        let cores = self.machine.workers.max(1);
        let workers = if self.is_small() {
            1
        } else if !self.fetches || resource == Resource::Cpu {
            cores
        } else {
            whole(per_s * cpu_s / BUSY_MAX).clamp(1, cores)
        };
        let workers = u32::try_from(most).unwrap_or(u32::MAX).clamp(1, workers);
        let needed = match resource {
            Resource::Hosts if !matches!(self.measured.saturated, Saturated::Servers(_)) => {
                self.hosts.iter().map(|host| u64::from(self.in_flight(host))).sum::<u64>() as f64
            }
            Resource::Cpu => (per_s * latency_s * HEADROOM).max(CONCURRENCY_OF_BUSY * f64::from(workers)),
            Resource::Hosts | Resource::Bandwidth if self.measured.saturated.is_full() => {
                (per_s * latency_s * HEADROOM_OF_FULL).max(2.0)
            }
            Resource::Hosts
            | Resource::Delays
            | Resource::Disk
            | Resource::Memory
            | Resource::Descriptors
            | Resource::Concurrency
            | Resource::Bandwidth => (per_s * latency_s * HEADROOM).max(2.0),
        };
        let fits = self.slots_in_memory().unwrap_or(f64::INFINITY);
        let each =
            self.machine.descriptors.min(self.concurrency.unwrap_or(CONCURRENCY_MAX)).min(CONCURRENCY_MAX);
        // One worker may not have room for what keeps it far from busy.
        let workers =
            whole(needed.min(fits).min(most as f64) / f64::from(each.max(1))).min(cores).max(workers);
        let room = f64::from(each) * f64::from(workers);
        let in_flight = whole(needed.min(fits).min(room).min(most as f64)).max(1);
        // Full rounds: nothing is gained by a last one with few targets.
        let even = self.inputs.map(|inputs| inputs.div_ceil(inputs.div_ceil(in_flight.into()).max(1)));
        let in_flight = even.and_then(|even| u32::try_from(even).ok()).map_or(in_flight, |even| even.max(1));
        Shape { workers, in_flight }
    }

    /// Whether another worker costs more than it brings.
    fn is_small(&self) -> bool {
        self.inputs.is_some_and(|inputs| inputs as f64 * self.measured.cpu_s < SMALL_S)
    }

    /// Says in a sentence why this mode fits.
    fn why(&self, resource: Resource, per_s: f64, mode: Mode, shape: Shape) -> String {
        let Measured { latency_s, cpu_s, .. } = *self.measured;
        let is_small = self.is_small();
        let size = match self.inputs {
            Some(inputs) => plural(inputs, "input"),
            None => "an unknown number of inputs".to_owned(),
        };
        let size = match is_small {
            true => {
                format!("small ({size}, {} of CPU in all)", time(cpu_s * self.inputs.unwrap_or(0) as f64))
            }
            false => format!("large ({size})"),
        };
        let waiting = self.waiting_share();
        let bound = match (waiting < WAITING_SHARE_MIN, resource) {
            (true, _) => "CPU-bound",
            (false, Resource::Cpu) => "CPU-bound once enough is in flight",
            (false, _) => "I/O-bound",
        };
        let facts = format!(
            "each waits {} and computes {} ({:.0} % waiting)",
            time((latency_s - cpu_s).max(0.0)),
            time(cpu_s),
            waiting * 100.0
        );
        let share = (per_s * cpu_s * 100.0 / f64::from(shape.workers)).min(100.0);
        let choice = match mode {
            Mode::Sequential => "one worker does one after another".to_owned(),
            Mode::Parallel => format!("{} processes compute side by side", shape.workers),
            Mode::Concurrent => {
                format!("one process keeps {} in flight at {share:.0} % of a core", shape.in_flight)
            }
            Mode::Both => {
                format!(
                    "{} processes share {} in flight, at {share:.0} % of a core each",
                    shape.workers, shape.in_flight
                )
            }
        };
        let is_unclear = self.measured.saturated == Saturated::Unclear;
        let unseen = if is_unclear { "; the sample was too short to see a limit of the servers" } else { "" };
        format!("{bound} and {size}: {facts}, so {choice}{unseen}")
    }
}

/// The least whole number that is not below `value`.
fn whole(value: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "what is too large becomes the largest number"
    )]
    let whole = value.ceil() as u32;
    whole
}

#[cfg(test)]
mod tests;
