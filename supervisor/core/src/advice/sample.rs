//! A sample of the inputs, spread over their hosts.
//!
//! Each host has a reservoir of its own (algorithm R of Vitter, "Random Sampling with a Reservoir", ACM TOMS 11(1),
//! 1985). So every input of a host is as likely as any other to be in the sample, although the inputs are seen once
//! and their number is unknown. While new hosts appear, reservoirs shrink: a random part of a random sample is one.

use std::hash::Hash;

use fastrand::Rng;
use rustc_hash::FxHashMap;

/// Inputs that a sample is taken from: the first ones, so that reading a list of any size takes no time.
pub const INPUTS_MAX: u64 = 10_000;

/// Inputs of one host, if there are enough hosts.
const PER_HOST: usize = 2;

/// The inputs kept for one host.
#[derive(Debug)]
struct Reservoir<T> {
    seen: u64,
    kept: Vec<T>,
}

impl<T> Reservoir<T> {
    fn shrink(&mut self, most: usize, rng: &mut Rng) {
        while self.kept.len() > most {
            self.kept.swap_remove(rng.usize(..self.kept.len()));
        }
    }
}

/// Takes a sample out of inputs that are offered one by one.
#[derive(Debug)]
pub struct Sampler<H, T> {
    targets: usize,
    per_host_max: usize,
    hosts: FxHashMap<H, Reservoir<T>>,
    rng: Rng,
}

impl<H: Eq + Hash, T> Sampler<H, T> {
    /// Takes up to `targets` inputs, and never more than `per_host_max` of one host.
    #[must_use]
    pub fn new(targets: usize, per_host_max: usize, seed: u64) -> Self {
        Self { targets, per_host_max, hosts: FxHashMap::default(), rng: Rng::with_seed(seed) }
    }

    /// Offers the next input, which is one of `host`.
    pub fn offer(&mut self, host: H, input: T) {
        let hosts = self.hosts.len() + usize::from(!self.hosts.contains_key(&host));
        let most = self.per_host(hosts);
        let rng = &mut self.rng;
        let reservoir = self.hosts.entry(host).or_insert_with(|| Reservoir { seen: 0, kept: Vec::new() });
        reservoir.shrink(most, rng);
        reservoir.seen += 1;
        if reservoir.kept.len() < most {
            return reservoir.kept.push(input);
        }
        let place = usize::try_from(rng.u64(..reservoir.seen)).unwrap_or(usize::MAX);
        if let Some(kept) = reservoir.kept.get_mut(place) {
            *kept = input;
        }
    }

    /// Returns the sample, in random order.
    #[must_use]
    pub fn finish(mut self) -> Vec<T> {
        let most = self.per_host(self.hosts.len());
        let mut sample = Vec::new();
        for mut reservoir in self.hosts.into_values() {
            reservoir.shrink(most, &mut self.rng);
            sample.append(&mut reservoir.kept);
        }
        self.rng.shuffle(&mut sample);
        sample.truncate(self.targets);
        sample
    }

    /// Most inputs of one of so many hosts: two, or as many as a full sample needs of each.
    fn per_host(&self, hosts: usize) -> usize {
        self.targets.div_ceil(hosts.max(1)).max(PER_HOST).min(self.per_host_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offers as many inputs of each host as `hosts` says; returns how many of each are in the sample.
    fn sample(targets: usize, per_host_max: usize, hosts: &[usize], seed: u64) -> Vec<usize> {
        let mut sampler = Sampler::new(targets, per_host_max, seed);
        for (host, inputs) in hosts.iter().enumerate() {
            (0..*inputs).for_each(|input| sampler.offer(host, (host, input)));
        }
        let sample = sampler.finish();
        (0..hosts.len()).map(|host| sample.iter().filter(|(of, _)| *of == host).count()).collect()
    }

    #[test]
    fn a_sample_is_spread_over_the_hosts() {
        for (targets, per_host_max, hosts, expected) in [
            (200, 200, vec![2_000], vec![200]),
            (200, 200, vec![50], vec![50]),
            (200, 20, vec![2_000], vec![20]),
            (4, 9, vec![10, 10], vec![2, 2]),
            (8, 9, vec![10, 1], vec![4, 1]),
            (200, 200, vec![20; 100], vec![2; 100]),
            (5, 5, vec![], vec![]),
        ] {
            assert_eq!(sample(targets, per_host_max, &hosts, 7), expected, "{targets} of {hosts:?}");
        }
        for seed in 0..100 {
            let many = sample(200, 200, &[3; 1_000], seed);
            assert_eq!(many.iter().sum::<usize>(), 200);
            assert!(many.iter().all(|of_host| *of_host <= 2));
        }
    }

    #[test]
    fn every_input_is_as_likely_as_any_other() {
        let mut times = [0_u32; 50];
        for seed in 0..4_000 {
            let mut sampler = Sampler::new(10, 10, seed);
            (0..50).for_each(|input| {
                sampler.offer(0, input);
                // A second host makes the reservoir of the first one shrink.
                if input == 25 {
                    sampler.offer(1, 99);
                }
            });
            for input in sampler.finish().into_iter().filter(|input| *input < 50_usize) {
                times[input] += 1;
            }
        }
        // 5 of 50 each time: 400 on average, with a standard deviation of 19.
        assert!(times.iter().all(|times| (310..490).contains(times)), "{times:?}");
    }
}
