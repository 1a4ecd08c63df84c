//! What this machine has: cores, memory, descriptors, and the speed of its network.

use std::fs;
use std::path::Path;
use std::time::Duration;

use procfs::{Current as _, Meminfo};
use rustc_hash::FxHashMap;
use rustix::process::{Pid, getpriority_process};
use shared::clock;
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

/// The CPU time that each other process has used so far. The kernel's counters for the whole machine advance in steps of
/// 10 ms, which is as much as a short phase takes; these are exact.
#[derive(Debug, Default)]
pub(super) struct OtherProcesses(FxHashMap<u32, Duration>);

impl OtherProcesses {
    /// Reads the clocks of all processes that this one can see. Those of the job are no longer there, or not yet.
    pub(super) fn now() -> Self {
        let names = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.file_name());
        let pids = names.filter_map(|name| name.to_str()?.parse::<u32>().ok());
        let others = pids.filter(|pid| *pid != std::process::id());
        Self(others.filter_map(|pid| Some((pid, clock::cpu_of(pid)?))).collect())
    }

    /// CPU time of these processes since then; `None` if there are none. A process that ended in between does not count,
    /// nor does one that gives way to others: the job has its cores when it wants them.
    pub(super) fn cpu_since(&self, before: &Self) -> Option<Duration> {
        let since = |(pid, cpu): (&u32, &Duration)| {
            let taken = cpu.saturating_sub(before.0.get(pid).copied().unwrap_or_default());
            if taken.is_zero() || gives_way(*pid) { Duration::ZERO } else { taken }
        };
        self.0.iter().map(since).reduce(|sum, cpu| sum + cpu)
    }
}

/// Whether a process is nice.
fn gives_way(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| getpriority_process(Some(pid)).is_ok_and(|nice| nice > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_time_of_other_processes_is_counted() {
        let of = |cpus: &[(u32, u64)]| {
            OtherProcesses(cpus.iter().map(|&(pid, ms)| (pid, Duration::from_millis(ms))).collect())
        };
        let before = of(&[(1, 100), (2, 50), (3, 70)]);
        // One has ended, one has begun.
        let after = of(&[(1, 130), (2, 50), (4, 5)]);
        assert_eq!(after.cpu_since(&before), Some(Duration::from_millis(35)));
        assert_eq!(of(&[]).cpu_since(&before), None);
        assert!(!OtherProcesses::now().0.contains_key(&std::process::id()));
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
