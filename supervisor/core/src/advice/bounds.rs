//! What each resource allows, in targets a second. The smallest bound is the bottleneck.

use super::measure::Measured;
use super::saturation::Saturated;

/// How far beyond the targets in flight of the sample a host without a limit is taken to cope.
const UNTESTED: u32 = 16;

/// A host of the input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Host {
    /// Its inputs.
    pub inputs: u64,
    /// Most requests that it gets at once; `None` is any number.
    pub limit: Option<u32>,
    /// Least time between two starts, in seconds; 0 if nothing paces them.
    pub interval_s: f64,
}

/// What this machine has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: u32,
    /// Most workers: as many as cores, unless the user says otherwise.
    pub workers: u32,
    /// Targets in flight that the descriptors of one worker allow.
    pub descriptors: u32,
    /// Memory that is free, in bytes, if known.
    pub memory_bytes: Option<f64>,
    /// Memory that each worker may take, in bytes, if the user says so.
    pub worker_memory_bytes: Option<f64>,
    /// Speed of the network in bytes a second, if it is known and used.
    pub link_bytes_per_s: Option<f64>,
}

/// What is to be advised on.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Whether targets are requests; else they are files.
    pub fetches: bool,
    /// The hosts, those of the sample first; none for files.
    pub hosts: &'a [Host],
    /// Inputs in all, if known.
    pub inputs: Option<u64>,
    /// The sizes of the first files, in their order; none for requests.
    pub sizes: &'a [u64],
    /// The machine.
    pub machine: Machine,
    /// Most targets in flight in one worker, if the user says so.
    pub concurrency: Option<u32>,
    /// The sample.
    pub measured: &'a Measured,
}

/// A resource that may be the bottleneck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Cores ÷ CPU time of a target.
    Cpu,
    /// Σ over hosts of what each may have in flight ÷ its time per target.
    Hosts,
    /// Σ over hosts of the starts that a rate or a delay allows.
    Delays,
    /// Workers ÷ time per file.
    Disk,
    /// Free memory ÷ memory of a target in flight ÷ time per target.
    Memory,
    /// Descriptors ÷ time per target.
    Descriptors,
    /// The user's limit on targets in flight ÷ time per target.
    Concurrency,
    /// The network's speed ÷ bytes of a target.
    Bandwidth,
}

impl Resource {
    /// Its name in tables and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Hosts => "hosts",
            Self::Delays => "delays",
            Self::Disk => "disk",
            Self::Memory => "memory",
            Self::Descriptors => "descriptors",
            Self::Concurrency => "concurrency",
            Self::Bandwidth => "bandwidth",
        }
    }
}

/// What one resource allows.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// The resource.
    pub resource: Resource,
    /// Targets a second; `None` if it sets no bound that is known.
    pub targets_per_s: Option<f64>,
    /// How that was computed.
    pub how: String,
}

impl Question<'_> {
    /// Returns all bounds, the smallest first.
    #[must_use]
    pub fn bounds(&self) -> Vec<Bound> {
        let of_targets = if self.fetches {
            vec![self.hosts_bound(), self.delays(), self.descriptors(), self.bandwidth()]
        } else {
            vec![self.disk()]
        };
        let mut bounds = vec![self.cpu(), self.memory()];
        bounds.extend(of_targets);
        bounds.extend(self.asked());
        bounds.sort_by(|a, b| {
            let value = |bound: &Bound| bound.targets_per_s.unwrap_or(f64::INFINITY);
            value(a).total_cmp(&value(b))
        });
        bounds
    }

    fn cpu(&self) -> Bound {
        let Measured { cpu_s, other_cpu_s, saturated, .. } = *self.measured;
        let cores = self.machine.cores.min(self.machine.workers);
        let computed = (f64::from(self.machine.cores) / (cpu_s + other_cpu_s).max(1e-9))
            .min(f64::from(cores) / cpu_s.max(1e-9));
        let beside = if other_cpu_s > 0.0 {
            format!(" + {} in servers on this machine", time(other_cpu_s))
        } else {
            String::new()
        };
        let how = format!("{cores} cores ÷ {} of CPU{beside}", time(cpu_s));
        // Other processes may have had a part of the machine for a while, but not of this throughput.
        let seen = if let Saturated::Cores(throughput) = saturated { throughput } else { 0.0 };
        Bound { resource: Resource::Cpu, targets_per_s: Some(computed.max(seen)), how }
    }

    fn hosts_bound(&self) -> Bound {
        let count = plural(self.hosts.len() as u64, "host");
        let how = match self.measured.saturated {
            Saturated::Servers(per_s) => {
                let how =
                    format!("{count}: more in flight than {:.0} only queue", per_s * self.measured.latency_s);
                return Bound { resource: Resource::Hosts, targets_per_s: Some(per_s), how };
            }
            Saturated::Nothing
            | Saturated::Unclear
            | Saturated::Cores(_)
            | Saturated::Network(_)
            | Saturated::Refused(_) => {
                let widest = self.hosts.iter().map(|host| self.in_flight(host)).max().unwrap_or(0);
                let guess = if widest == self.untested() {
                    format!(", {UNTESTED} × the sample's,")
                } else {
                    String::new()
                };
                let is_unclear = self.measured.saturated == Saturated::Unclear;
                let unseen = if is_unclear { "; the sample was too short to see their limit" } else { "" };
                let each = time(self.measured.latency_s);
                format!("{count} × up to {widest} in flight{guess} ÷ {each}{unseen}")
            }
        };
        let sum: f64 = self.each_host().map(|(host, s)| f64::from(self.in_flight(host)) / s).sum();
        // With few large hosts among many small ones, the large ones are what lasts.
        let slowest =
            self.each_host().map(|(host, s)| host.inputs as f64 * s / f64::from(self.in_flight(host)));
        let per_s = match self.inputs {
            Some(inputs) => sum.min(inputs as f64 / slowest.fold(1e-9, f64::max)),
            None => sum,
        };
        Bound { resource: Resource::Hosts, targets_per_s: Some(per_s), how }
    }

    fn delays(&self) -> Bound {
        let resource = Resource::Delays;
        let paced = || self.hosts.iter().filter(|host| host.interval_s > 0.0);
        let slowest = paced().map(|host| host.inputs as f64 * host.interval_s).fold(0.0, f64::max);
        // A host without a pace takes the rest.
        let sum = match paced().count() {
            count if count < self.hosts.len() => f64::INFINITY,
            _ => paced().map(|host| 1.0 / host.interval_s).sum(),
        };
        let kept = self.inputs.map_or(sum, |inputs| sum.min(inputs as f64 / slowest.max(1e-9)));
        let refused =
            if let Saturated::Refused(per_s) = self.measured.saturated { per_s } else { f64::INFINITY };
        let interval = paced().map(|host| host.interval_s).fold(0.0, f64::max);
        let how = match (refused < kept, slowest > 0.0) {
            (true, _) => format!("the servers refuse more than {refused:.1} a second"),
            (false, true) => {
                let count = plural(paced().count() as u64, "host");
                format!("{count} ÷ up to {} between two starts", time(interval))
            }
            (false, false) => "no rate and no delay".to_owned(),
        };
        let per_s =
            Some(kept.min(refused)).filter(|per_s| per_s.is_finite() && (slowest > 0.0 || refused < kept));
        Bound { resource, targets_per_s: per_s, how }
    }

    fn disk(&self) -> Bound {
        let Measured { latency_s, .. } = *self.measured;
        let workers = self.machine.workers;
        let how = format!(
            "{} ÷ {} to read and parse a file that is not in memory",
            plural(workers.into(), "worker"),
            time(latency_s)
        );
        // On a busy machine files wait for a core as well, but the second time as long as the first.
        let waits = self.measured.read_s > latency_s / 2.0;
        let per_s = waits.then(|| f64::from(workers) / latency_s.max(1e-9));
        Bound {
            resource: Resource::Disk,
            targets_per_s: per_s,
            how: if waits { how } else { "files hardly wait".to_owned() },
        }
    }

    fn memory(&self) -> Bound {
        let slot = self.measured.slot_bytes;
        let per_s = self.slots_in_memory().map(|slots| slots / self.measured.latency_s.max(1e-9));
        let fits = self.slots_in_memory().unwrap_or(0.0);
        let how = format!("{fits:.0} of {:.0} kB in flight ÷ {}", slot / 1e3, time(self.measured.latency_s));
        Bound { resource: Resource::Memory, targets_per_s: per_s, how }
    }

    fn descriptors(&self) -> Bound {
        let slots = f64::from(self.machine.descriptors) * f64::from(self.machine.workers);
        let how = format!("{slots:.0} connections ÷ {}", time(self.measured.latency_s));
        let per_s = slots / self.measured.latency_s.max(1e-9);
        Bound { resource: Resource::Descriptors, targets_per_s: Some(per_s), how }
    }

    fn bandwidth(&self) -> Bound {
        let (resource, bytes) = (Resource::Bandwidth, self.measured.bytes);
        if let Saturated::Network(per_s) = self.measured.saturated {
            let how = format!("{:.1} MB/s seen, {:.1} kB per target", per_s * bytes / 1e6, bytes / 1e3);
            return Bound { resource, targets_per_s: Some(per_s), how };
        }
        let per_s = self.machine.link_bytes_per_s.map(|link| link / bytes.max(1.0));
        let how = match self.machine.link_bytes_per_s {
            Some(link) => format!("a link of {:.0} MB/s ÷ {:.1} kB", link / 1e6, bytes / 1e3),
            None => "never reached in the sample".to_owned(),
        };
        Bound { resource, targets_per_s: per_s, how }
    }

    fn asked(&self) -> Option<Bound> {
        let slots = f64::from(self.concurrency.filter(|_| self.fetches)?) * f64::from(self.machine.workers);
        let how = format!("{slots:.0} in flight, as asked for, ÷ {}", time(self.measured.latency_s));
        let per_s = slots / self.measured.latency_s.max(1e-9);
        Some(Bound { resource: Resource::Concurrency, targets_per_s: Some(per_s), how })
    }

    /// Targets that fit into half of the free memory, or of what each worker may take.
    pub(super) fn slots_in_memory(&self) -> Option<f64> {
        let Machine { memory_bytes, worker_memory_bytes, workers, .. } = self.machine;
        let limited =
            worker_memory_bytes.map(|most| (most - self.measured.base_bytes).max(0.0) * f64::from(workers));
        let free = [memory_bytes, limited].into_iter().flatten().reduce(f64::min)?;
        Some((free / 2.0 / self.measured.slot_bytes).max(1.0))
    }

    /// Share of a target's time in which it waits.
    pub(super) fn waiting_share(&self) -> f64 {
        (1.0 - self.measured.cpu_s / self.measured.latency_s.max(1e-9)).clamp(0.0, 1.0)
    }

    /// Most requests that a host gets at once: no more than it has inputs.
    pub(super) fn in_flight(&self, host: &Host) -> u32 {
        let inputs =
            if self.inputs.is_some() { u32::try_from(host.inputs).unwrap_or(u32::MAX) } else { u32::MAX };
        host.limit.unwrap_or_else(|| self.untested()).min(inputs).max(1)
    }

    /// Each host, and the time of its targets: the mean over all hosts for one that is not in the sample.
    pub(super) fn each_host(&self) -> impl Iterator<Item = (&Host, f64)> {
        let known = self.measured.hosts_s.iter().copied().chain(std::iter::repeat(None));
        let latency_s = self.measured.latency_s;
        // A host with few targets in the sample may have had a bad moment.
        self.hosts.iter().zip(known).map(move |(host, s)| {
            let s = if self.hosts.len() == 1 { latency_s } else { s.unwrap_or(latency_s) };
            (host, s.max(1e-6))
        })
    }

    /// Most requests that a host without a limit gets at once.
    const fn untested(&self) -> u32 {
        self.measured.tested.saturating_mul(UNTESTED)
    }
}

/// `1.2 s`, `12.3 ms`, `0.08 ms`.
pub(super) fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 0.001 => format!("{:.1} ms", s * 1e3),
        s => format!("{:.3} ms", s * 1e3),
    }
}

/// `1 host`, `2 hosts`.
pub(super) fn plural(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
