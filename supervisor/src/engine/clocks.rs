//! How long a job took and what it cost, read off the clocks at its beginning and its end.

use std::time::{Duration, Instant};

use shared::clock;
use shared::job::Mode;
use supervisor_core::gather::Gather;

use super::shape::Shape;
use crate::plan::Plan;
use crate::runtime::Control;
use crate::summary::Facts;

/// What the clocks said when the job began.
pub(super) struct Started {
    at: Instant,
    pub(super) us: u64,
    /// Whether other jobs use the same process. Then only the time of this thread and of the job's own
    /// workers is the job's.
    shared: bool,
    cpu: Duration,
    children_cpu: Duration,
}

impl Started {
    pub(super) fn now(control: &Control) -> Self {
        let shared = control.allotted().is_some();
        Self {
            at: clock::now(),
            us: clock::monotonic_us(),
            shared,
            cpu: if shared { clock::thread_cpu() } else { clock::process_cpu() },
            children_cpu: clock::children_cpu(),
        }
    }

    pub(super) fn facts(&self, shape: Shape, why: Option<String>, sandbox: String, gather: &Gather) -> Facts {
        let cpu = if self.shared { clock::thread_cpu() } else { clock::process_cpu() };
        let supervisor_cpu = cpu.saturating_sub(self.cpu);
        let slots = u32::try_from(gather.slots().len()).unwrap_or(u32::MAX).max(1);
        let workers_cpu = if self.shared {
            gather.slots().iter().map(|slot| slot.cpu).sum()
        } else {
            clock::children_cpu().saturating_sub(self.children_cpu)
        };
        Facts {
            mode: shape.mode,
            // If the number changes during the run, the largest one.
            workers: if self.shared { slots } else { shape.workers },
            concurrency: shape.concurrency,
            wall: clock::now().duration_since(self.at),
            cpu: supervisor_cpu + workers_cpu,
            supervisor_cpu,
            supervisor_rss_bytes_max: clock::resident().max_bytes,
            why,
            sandbox,
        }
    }
}

/// Returns the facts about a run that was complete before anybody saw it end: what its records do not tell.
pub(crate) fn facts_unseen(plan: &Plan, told: &Gather) -> Facts {
    let slots = u32::try_from(told.slots().len()).unwrap_or(u32::MAX).max(1);
    let mode = plan.pool.mode.unwrap_or(if slots > 1 { Mode::Both } else { Mode::Concurrent });
    let guessed = if plan.pool.mode.is_none() { "; its mode is a guess" } else { "" };
    Facts {
        mode,
        workers: slots,
        concurrency: Shape::new(plan, mode).concurrency,
        wall: Duration::ZERO,
        cpu: Duration::ZERO,
        supervisor_cpu: Duration::ZERO,
        supervisor_rss_bytes_max: 0,
        why: Some(format!(
            "read off the records, because the service was killed before it could say how the job ended{guessed}"
        )),
        sandbox: String::new(),
    }
}
