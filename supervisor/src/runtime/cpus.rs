//! How many CPUs this process may use: its affinity, limited by the CPU quota of its cgroups.
//!
//! In a container with two CPUs' worth of a 64-CPU machine the affinity says 64; 64 workers would then be
//! throttled for most of each period. The standard library knows quotas too, but rounds them down: with
//! `CPUQuota=150%` it leaves a third of the quota unused. So a quota of cgroup v2 is read here, and the rest
//! is left to [`std::thread::available_parallelism`]: cgroup v1, and machines without a quota.

use std::fs;
use std::num::NonZeroU32;
use std::path::Path;

use super::cgroup;

/// The CPUs of this process: its affinity or its CPU quota rounded up, whichever is less.
#[must_use]
pub fn usable_cpus() -> NonZeroU32 {
    let available = std::thread::available_parallelism().ok().and_then(|cpus| cpus.try_into().ok());
    let available = available.unwrap_or(NonZeroU32::MIN);
    match cgroup::own().and_then(|own| quota_cpus(&own)) {
        // Fails only on machines with more CPUs than the set has bits (1024).
        Some(quota) => affinity_cpus().map_or(available, |affinity| affinity.min(quota)),
        None => available,
    }
}

fn affinity_cpus() -> Option<NonZeroU32> {
    NonZeroU32::new(rustix::thread::sched_getaffinity(None).ok()?.count())
}

/// The smallest quota of a cgroup and its ancestors, as all of them apply. Directories above the mount point have
/// no `cpu.max`.
fn quota_cpus(cgroup: &Path) -> Option<NonZeroU32> {
    let limits = cgroup.ancestors().filter_map(|group| fs::read_to_string(group.join("cpu.max")).ok());
    limits.filter_map(|cpu_max| cpus(&cpu_max)).min()
}

/// Reads `cpu.max`: `QUOTA PERIOD` in microseconds, or `max PERIOD`.
fn cpus(cpu_max: &str) -> Option<NonZeroU32> {
    let (quota_us, period_us) = cpu_max.trim_end().split_once(' ')?;
    let quota_us: u64 = quota_us.parse().ok()?;
    let period_us: u64 = period_us.parse().ok().filter(|&us| us > 0)?;
    // Up, not down: with a quota of 1.5 a second worker still has half a CPU to use.
    NonZeroU32::new(u32::try_from(quota_us.div_ceil(period_us).max(1)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn count(cpus: u32) -> Option<NonZeroU32> {
        NonZeroU32::new(cpus)
    }

    #[test]
    fn quotas_are_rounded_up() {
        let table = [
            ("max 100000\n", None),
            ("200000 100000\n", count(2)),
            ("150000 100000\n", count(2)),
            ("200001 100000\n", count(3)),
            ("1000 100000\n", count(1)),
            ("0 100000\n", count(1)),
            ("50000 10000\n", count(5)),
            ("-1 100000\n", None),
            ("100000 0\n", None),
            ("99999999999999999999 1\n", None),
            ("100000\n", None),
            ("", None),
        ];
        for (cpu_max, expected) in table {
            assert_eq!(cpus(cpu_max), expected, "{cpu_max:?}");
        }
    }

    #[test]
    fn the_smallest_quota_up_to_the_mount_point_applies() {
        let (own, parent) = ("cgroup/a/b/cpu.max", "cgroup/a/cpu.max");
        let table: [(&[(&str, &str)], _); 6] = [
            (&[], None),
            (&[(own, "max 100000")], None),
            (&[(own, "300000 100000"), (parent, "max 100000")], count(3)),
            (&[(own, "max 100000"), (parent, "200000 100000")], count(2)),
            (&[(own, "300000 100000"), (parent, "120000 100000")], count(2)),
            (&[(own, "400000 100000"), ("cgroup/a/other/cpu.max", "1 100000")], count(4)),
        ];
        for (files, expected) in table {
            let root = tempfile::tempdir().unwrap();
            for (path, text) in files {
                let path = root.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            assert_eq!(quota_cpus(&root.path().join("cgroup/a/b")), expected, "{files:?}");
        }
    }

    #[test]
    fn this_machine_has_as_many_cpus_as_the_standard_library_sees() {
        // The standard library rounds a quota down, so it may be one below.
        let seen = u32::try_from(std::thread::available_parallelism().unwrap().get()).unwrap();
        assert!((seen..=seen + 1).contains(&usable_cpus().get()));
    }
}
