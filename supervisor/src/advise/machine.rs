//! What this machine has: cores, memory, descriptors, and the speed of its network.

use std::fs;
use std::path::Path;
use std::time::Duration;

use procfs::{Current as _, Meminfo};
use supervisor_core::advice::Machine;

use crate::plan::PoolPlan;
use crate::runtime::{cgroup, cpus, descriptors};

/// Returns what a run of this plan could use now; `link` says that it uses the network.
pub(super) fn now(pool: &PoolPlan, link: bool) -> Machine {
    let workers = pool.workers.unwrap_or_else(cpus::usable_cpus).get();
    let system = Meminfo::current().ok().and_then(|memory| memory.mem_available);
    let memory = [system, cgroup::available_memory()].into_iter().flatten().min();
    let (workers, descriptors) = descriptors::fit(descriptors::raise_limit(), workers, u32::MAX);
    Machine {
        cores: cpus::usable_cpus().get(),
        workers,
        descriptors,
        memory_bytes: memory.map(|bytes| bytes as f64),
        worker_memory_bytes: pool.worker_memory_bytes.map(|bytes| bytes as f64),
        link_bytes_per_s: link.then(|| link_bytes_per_s(Path::new("/sys/class/net"))).flatten(),
    }
}

/// The speed of the fastest interface that is up. Virtual ones do not say theirs.
fn link_bytes_per_s(interfaces: &Path) -> Option<f64> {
    let read = |path: &Path, name| fs::read_to_string(path.join(name)).ok();
    let megabits = fs::read_dir(interfaces).ok()?.flatten().filter_map(|interface| {
        let path = interface.path();
        read(&path, "operstate").filter(|state| state.trim() == "up")?;
        read(&path, "speed")?.trim().parse::<i64>().ok().filter(|speed| *speed > 0)
    });
    megabits.max().map(|megabits| megabits as f64 * 1e6 / 8.0)
}

/// For how long the CPUs of the whole machine were idle since it started, summed up, and how many there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Idle {
    pub(super) time: Duration,
    pub(super) cpus: u32,
}

impl Idle {
    /// Reads the counters of the kernel; `None` if it does not show them.
    pub(super) fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?, procfs::ticks_per_second())
    }

    /// `cpu  USER NICE SYSTEM IDLE IOWAIT …`, then one such line for each CPU.
    fn parse(stat: &str, ticks_per_s: u64) -> Option<Self> {
        let mut words = stat.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace().skip(3);
        let mut ticks = || words.next()?.parse::<u64>().ok();
        let idle = ticks()?.checked_add(ticks()?)?;
        let cpus = stat.lines().skip(1).take_while(|line| line.starts_with("cpu")).count();
        let time = Duration::from_secs_f64(idle as f64 / ticks_per_s.max(1) as f64);
        Some(Self { time, cpus: u32::try_from(cpus).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_read_from_the_counters() {
        let stat = "cpu  100 20 30 4000 50 0 7 1 0 0\ncpu0 1 1 1 1\ncpu1 1 1 1 1\nintr 5\n";
        let idle = Idle::parse(stat, 100).unwrap();
        assert_eq!((idle.time, idle.cpus), (Duration::from_millis(40_500), 2));
        for broken in ["", "cpu ", "cpu  1 2 3 x 5\n", "intr 1\n"] {
            assert!(Idle::parse(broken, 100).is_none(), "{broken:?}");
        }
    }

    #[test]
    fn the_fastest_interface_that_is_up_counts() {
        let net = tempfile::tempdir().unwrap();
        for (name, state, speed) in [
            ("lo", "unknown", "99999"),
            ("eth0", "up", "1000"),
            ("eth1", "down", "9000"),
            ("tun0", "up", "-1"),
        ] {
            let path = net.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("operstate"), format!("{state}\n")).unwrap();
            fs::write(path.join("speed"), format!("{speed}\n")).unwrap();
        }
        assert_eq!(link_bytes_per_s(net.path()), Some(125e6));
        assert_eq!(link_bytes_per_s(&net.path().join("none")), None);
    }
}
