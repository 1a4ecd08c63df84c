//! How long the whole input takes with what is advised.
//!
//! A run starts a supervisor and workers, opens its connections, keeps the bottleneck busy, waits for what is last, and
//! ends:
//!
//! | part | is |
//! |---|---|
//! | starting and ending | what the sample took besides its targets |
//! | computing | the cores open all connections, as many as are in flight or as there are hosts, and do all targets |
//! | or waiting | the largest of the other bounds, and how far apart the targets in flight are |
//! | ending unevenly | how much longer the last worker computes if each file goes to the next free one, in list order |
//!
//! Computing and waiting overlap, so the larger of the two counts. Targets that begin together and take equally long end
//! in rounds. Those of a round are apart by what the cores take for each: to open its connection, and later to parse
//! its answer. Only the slower step counts, for it sets how fast the answers come.
//!
//! Not modelled: how the load of `--mode auto` grows, for what is advised is a fixed load; and what changes after the
//! sample, such as a server that slows down or files that leave the memory.

use super::Shape;
use super::bounds::{Bound, Question, Resource};
use super::measure::Measured;
use super::saturation::Saturated;

/// Coefficient of variation below which targets that begin together end together.
const EVEN: f64 = 0.1;

impl Question<'_> {
    /// Predicts how long the whole input takes, in seconds; `None` if the number of inputs is unknown.
    pub(super) fn predicted_s(&self, bounds: &[Bound], shape: Shape, computes: bool) -> Option<f64> {
        let inputs = self.inputs?;
        let Measured { latency_s, overhead_s, .. } = *self.measured;
        let in_flight = if computes { shape.workers } else { shape.in_flight };
        let by_bound = |of_cpu: bool| {
            let of_kind = bounds.iter().filter(move |bound| (bound.resource == Resource::Cpu) == of_cpu);
            of_kind.filter_map(|bound| self.bound_s(bound, inputs)).fold(0.0, f64::max)
        };
        // How long a file waits is a bound of its own.
        let in_rounds = if self.fetches { self.rounds_s(inputs, in_flight, latency_s) } else { 0.0 };
        let computes_s = self.connecting_s(shape) + by_bound(true);
        let waits_s = self.apart_s(shape) + by_bound(false).max(in_rounds);
        Some(overhead_s + computes_s.max(waits_s) + self.uneven_s(shape.workers))
    }

    /// How long all targets take if nothing but this bound held them up.
    fn bound_s(&self, bound: &Bound, inputs: u64) -> Option<f64> {
        let per_s = bound.targets_per_s?;
        let last_s = if self.fetches { self.measured.latency_s } else { 0.0 };
        let at_full_speed = inputs as f64 / per_s + last_s;
        Some(match (bound.resource, self.measured.saturated) {
            (Resource::Hosts, Saturated::Servers(_)) | (Resource::Delays, Saturated::Refused(_)) => {
                at_full_speed
            }
            (Resource::Hosts, _) => {
                let each =
                    self.each_host().map(|(host, s)| self.rounds_s(host.inputs, self.in_flight(host), s));
                each.fold(0.0, f64::max)
            }
            // The first one of each host starts at once.
            (Resource::Delays, _) => {
                let each =
                    self.hosts.iter().map(|host| host.inputs.saturating_sub(1) as f64 * host.interval_s);
                each.fold(0.0, f64::max) + last_s
            }
            // So many places, which targets take one after another.
            (Resource::Memory | Resource::Descriptors | Resource::Concurrency, _) if self.fetches => {
                self.rounds_s(inputs, super::whole(per_s * self.measured.latency_s), self.measured.latency_s)
            }
            (
                Resource::Cpu
                | Resource::Disk
                | Resource::Memory
                | Resource::Descriptors
                | Resource::Concurrency
                | Resource::Bandwidth,
                _,
            ) => at_full_speed,
        })
    }

    /// How long targets take that wait `s` each, with so many in flight.
    fn rounds_s(&self, inputs: u64, in_flight: u32, s: f64) -> f64 {
        let in_flight = in_flight.max(1);
        if self.measured.spread < EVEN {
            inputs.div_ceil(in_flight.into()) as f64 * s
        } else {
            inputs as f64 * s / f64::from(in_flight) + s
        }
    }

    /// How long the cores open all connections.
    fn connecting_s(&self, shape: Shape) -> f64 {
        let Measured { connect_s, accept_s, .. } = *self.measured;
        let connections = f64::from(shape.in_flight).max(self.hosts.len() as f64);
        connections * self.on_cores(shape, connect_s, accept_s)
    }

    /// How long after the first target in flight the last one is: each is asked for, and its answer is parsed, after
    /// those before it.
    fn apart_s(&self, shape: Shape) -> f64 {
        let Measured { cpu_s, other_cpu_s, .. } = *self.measured;
        let in_flight = f64::from(shape.in_flight);
        let parsed_s = in_flight * self.on_cores(shape, cpu_s, other_cpu_s);
        self.connecting_s(shape).max(parsed_s)
    }

    /// How long the cores take for this CPU time of a worker and that of a server, if it runs on this machine. A worker
    /// uses one core.
    fn on_cores(&self, shape: Shape, here_s: f64, there_s: f64) -> f64 {
        if !self.fetches {
            return 0.0;
        }
        let cores = self.machine.cores.max(1);
        let workers = shape.workers.clamp(1, cores);
        (here_s / f64::from(workers)).max((here_s + there_s) / f64::from(cores))
    }

    /// How much longer than the mean the last worker computes, if the next file goes to whoever is free (Graham,
    /// "Bounds on Multiprocessing Timing Anomalies", 1969). 0 if the sizes of all files are not known.
    fn uneven_s(&self, workers: u32) -> f64 {
        if self.inputs.is_none_or(|inputs| inputs > self.sizes.len() as u64) {
            return 0.0;
        }
        let Measured { cpu_s, cpu_s_per_byte, bytes, .. } = *self.measured;
        let mut free_at = vec![0.0_f64; workers.max(1) as usize];
        for size in self.sizes {
            let takes_s = (cpu_s + cpu_s_per_byte * (*size as f64 - bytes)).max(0.0);
            if let Some(first) = free_at.iter_mut().min_by(|a, b| a.total_cmp(b)) {
                *first += takes_s;
            }
        }
        let mean_s = free_at.iter().sum::<f64>() / free_at.len() as f64;
        free_at.into_iter().fold(0.0, f64::max) - mean_s
    }
}
