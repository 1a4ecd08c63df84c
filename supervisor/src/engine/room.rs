//! How many targets this machine can hold in flight: as many as there are descriptors, ephemeral ports and memory for.
//!
//! These are estimates, so that a shortage is seldom met. If one is met all the same, workers let their targets wait,
//! and the number in flight shrinks.

use std::fs;

use procfs::{Current as _, Meminfo};
use supervisor_core::load::total::{Bound, Room};

use crate::plan::Plan;
use crate::runtime::cgroup;

/// Ephemeral ports left to the other programs on this machine.
const PORTS_LEFT: u32 = 1000;

/// Ephemeral ports that Linux has by default, for a machine that does not say.
const PORTS: u32 = 28_232;

/// Memory of a target in flight besides its body: a connection with its buffers, and TLS.
const CONNECTION_BYTES: u64 = 64 * 1024;

/// Bytes of a body that are expected in memory on average. Most pages are smaller, and few are read at the same time.
const BODY_BYTES: u64 = 256 * 1024;

/// Part of the available memory that targets in flight may take.
const MEMORY_SHARE: u64 = 2;

/// Returns the room of a run with at most `workers_max` workers, each of which has descriptors for `concurrency`
/// targets in flight.
pub(super) fn of(plan: &Plan, body_bytes_max: u64, workers_max: u32, concurrency: u32) -> Room {
    let descriptors = concurrency.saturating_mul(workers_max);
    let bounds = if plan.pool.concurrency.is_some() {
        vec![(descriptors, Bound::Told)]
    } else {
        vec![
            (descriptors, Bound::Descriptors),
            (ports().saturating_sub(PORTS_LEFT), Bound::Ports),
            (held_in_memory(plan, body_bytes_max, workers_max), Bound::Memory),
        ]
    };
    let least = bounds.into_iter().min_by_key(|(in_flight_max, _)| *in_flight_max);
    let (in_flight_max, bound) = least.unwrap_or((1, Bound::Told));
    Room { in_flight_max: in_flight_max.max(1), bound, workers_max }
}

/// Targets in flight for which there is memory.
fn held_in_memory(plan: &Plan, body_bytes_max: u64, workers_max: u32) -> u32 {
    let limited = plan.pool.worker_memory_bytes.map(|bytes| bytes.saturating_mul(u64::from(workers_max)));
    let system = Meminfo::current().ok().and_then(|memory| memory.mem_available);
    let bytes = [limited, system, cgroup::available_memory()].into_iter().flatten().min();
    let each_bytes = body_bytes_max.min(BODY_BYTES) + CONNECTION_BYTES;
    bytes.map_or(u32::MAX, |bytes| u32::try_from(bytes / MEMORY_SHARE / each_bytes).unwrap_or(u32::MAX))
}

/// The number of ephemeral ports. Each connection to one address needs one of its own.
fn ports() -> u32 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    range.ok().and_then(|range| ports_in(&range)).unwrap_or(PORTS)
}

fn ports_in(range: &str) -> Option<u32> {
    let mut ends = range.split_ascii_whitespace().map(str::parse);
    let (first, last): (u32, u32) = (ends.next()?.ok()?, ends.next()?.ok()?);
    last.checked_sub(first).map(|ports| ports + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_ports_is_counted() {
        for (range, ports) in [
            ("32768\t60999\n", Some(28_232)),
            ("50000 50039", Some(40)),
            ("7 7", Some(1)),
            ("9 7", None),
            ("", None),
        ] {
            assert_eq!(ports_in(range), ports, "{range:?}");
        }
    }
}
