//! Reads the inputs: takes a sample out of the first ones, and counts all of them and those of each host.

use std::ffi::OsStr;
use std::fs;
use std::hash::{BuildHasher as _, BuildHasherDefault};
use std::os::unix::ffi::OsStrExt as _;

use rustc_hash::{FxHashMap, FxHasher};
use supervisor_core::advice::{INPUTS_MAX, Sampler};
use url::{Host, Url};

use crate::kinds::{self, Spooled};
use crate::plan::{Input, Plan};
use crate::source::{SourceError, SourceItem, Targets};

/// Inputs read at once.
const BATCH: usize = 1_024;

/// How long a sample may last where a rate or a delay paces each host, in seconds.
pub(super) const PACED_LASTS_S: f64 = 10.0;

/// Hosts counted one by one, in about 50 MB. The inputs of later ones are counted with the first host.
const HOSTS_MAX: usize = 1_000_000;

/// One input of the sample.
pub(super) struct Sampled {
    /// The URL or path.
    pub(super) input: Vec<u8>,
    /// The number of its host.
    pub(super) host: usize,
}

/// How many inputs a host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HostInputs {
    pub(super) inputs: u64,
    /// Whether it is on the user's own network.
    pub(super) local: bool,
    /// Whether it is this machine.
    loopback: bool,
}

/// What was read.
pub(super) struct List {
    pub(super) sample: Vec<Sampled>,
    /// The hosts, in the order of their first inputs.
    pub(super) hosts: Vec<HostInputs>,
    /// Inputs that were read.
    pub(super) read: u64,
    /// Those of them that no worker can take.
    pub(super) unusable: u64,
    /// Inputs in all; `None` if reading them to the end could last for ever.
    pub(super) inputs: Option<u64>,
    /// The sizes of the first inputs, if they are files.
    pub(super) sizes: Vec<u64>,
}

impl List {
    /// Mean size of the first inputs, if they are files.
    pub(super) fn mean_bytes(&self) -> Option<f64> {
        let files = self.sizes.len();
        (files > 0).then(|| self.sizes.iter().sum::<u64>() as f64 / files as f64)
    }

    /// Share of the sample that is asked for over TLS.
    pub(super) fn secured(&self) -> f64 {
        let is_secured =
            |one: &&Sampled| one.input.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"https:"));
        self.sample.iter().filter(is_secured).count() as f64 / self.sample.len().max(1) as f64
    }

    /// Whether all servers run on this machine.
    pub(super) fn is_loopback(&self) -> bool {
        !self.hosts.is_empty() && self.hosts.iter().all(|host| host.loopback)
    }
}

/// Whether the local host of this name, with or without a port, is this machine and not one of its neighbours.
fn is_this_machine(name: &str) -> bool {
    let url = Url::parse(&format!("http://{name}"));
    match url.as_ref().ok().and_then(Url::host) {
        Some(Host::Domain(_)) => true,
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_unspecified(),
        Some(Host::Ipv6(address)) => address.is_loopback() || address.is_unspecified(),
        None => false,
    }
}

/// Reads the inputs of a plan for a sample of up to `targets`.
///
/// # Errors
/// If they cannot be read.
pub(super) fn read(plan: &Plan, targets: u64, seed: u64) -> Result<List, SourceError> {
    let mut source = kinds::of(&plan.work).targets(plan, Spooled::default());
    let targets = usize::try_from(targets.min(INPUTS_MAX)).unwrap_or(usize::MAX);
    let mut reader = Reader::new(targets, per_host_max(plan, targets), seed, !super::fetches(plan));
    let mut batch = Vec::new();
    loop {
        let more = source.next_batch(&mut batch, BATCH)?;
        batch.drain(..).for_each(|item| reader.take(item));
        // A pipe may have more inputs than anybody wants to wait for.
        if !more || reader.read >= INPUTS_MAX && !has_known_end(plan, source.as_ref()) {
            return Ok(reader.finish(!more));
        }
    }
}

/// Most inputs of one host: as many as its pace allows in a short time.
fn per_host_max(plan: &Plan, targets: usize) -> usize {
    let interval_s = plan.politeness.interval().as_secs_f64();
    if interval_s <= 0.0 {
        return targets;
    }
    let paced = (PACED_LASTS_S / interval_s).clamp(2.0, 1e6);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 2 to a million")]
    let paced = paced as usize;
    paced.min(targets)
}

fn has_known_end(plan: &Plan, source: &dyn Targets) -> bool {
    let is_tree = |input: &Input| matches!(input, Input::Tree(_));
    source.position().bytes_total.is_some() || plan.inputs.iter().all(is_tree)
}

struct Reader {
    sampler: Sampler<usize, Sampled>,
    /// The numbers of the hosts, by the hashes of their names.
    numbers: FxHashMap<u64, usize>,
    hosts: Vec<HostInputs>,
    read: u64,
    unusable: u64,
    are_files: bool,
    sizes: Vec<u64>,
}

impl Reader {
    fn new(targets: usize, per_host_max: usize, seed: u64, are_files: bool) -> Self {
        let sampler = Sampler::new(targets, per_host_max, seed);
        let numbers = FxHashMap::default();
        Self { sampler, numbers, hosts: Vec::new(), read: 0, unusable: 0, are_files, sizes: Vec::new() }
    }

    fn take(&mut self, item: SourceItem) {
        self.read += 1;
        let may_be_sampled = self.read <= INPUTS_MAX;
        if item.refused.is_some() {
            self.unusable += 1;
            return;
        }
        let host = match &item.host {
            Some(host) => self.number(&host.name, host.local),
            None => 0,
        };
        if let Some(host) = self.hosts.get_mut(host) {
            host.inputs += 1;
        }
        if may_be_sampled {
            if self.are_files
                && let Ok(file) = fs::metadata(OsStr::from_bytes(&item.input))
            {
                self.sizes.push(file.len());
            }
            self.sampler.offer(host, Sampled { input: item.input, host });
        }
    }

    fn number(&mut self, name: &str, local: bool) -> usize {
        let hash = BuildHasherDefault::<FxHasher>::default().hash_one(name);
        if let Some(number) = self.numbers.get(&hash) {
            return *number;
        }
        if self.hosts.len() >= HOSTS_MAX {
            return 0;
        }
        let number = self.hosts.len();
        self.numbers.insert(hash, number);
        self.hosts.push(HostInputs { inputs: 0, local, loopback: local && is_this_machine(name) });
        number
    }

    fn finish(self, is_all: bool) -> List {
        let Self { sampler, hosts, read, unusable, sizes, .. } = self;
        let inputs = is_all.then_some(read - unusable);
        List { sample: sampler.finish(), hosts, read, unusable, inputs, sizes }
    }
}
