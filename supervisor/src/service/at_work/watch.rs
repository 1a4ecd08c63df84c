//! Reports the progress of a job to the state loop.

use std::mem;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use shared::job::Mode;
use supervisor_core::pool::{Notice, Quarantined};

use super::super::event::Event;
use super::JobProgress;
use crate::engine;
use crate::progress::{Rate, Snapshot, Total, left};
use crate::runtime::{Look, Observer};
use crate::units;
use crate::view::{JobCounts, JobId};

/// Time between two reports.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Most lines for a person between two reports. The log must keep up with a program that complains about every
/// line.
const LINES_MAX: u64 = 100;

/// Reports to the state loop.
pub(super) struct Watch {
    id: JobId,
    events: Sender<Event>,
    looked: Option<Instant>,
    rate: Rate,
    alive: usize,
    /// Lines since the last report.
    lines: u64,
}

impl Watch {
    pub(super) fn new(id: JobId, events: Sender<Event>) -> Self {
        Self { id, events, looked: None, rate: Rate::default(), alive: 0, lines: 0 }
    }

    fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }
}

impl Observer for Watch {
    fn due(&self, now: Instant) -> Option<Instant> {
        Some(self.looked.map_or(now, |looked| looked + LOOK_EVERY))
    }

    fn look(&mut self, now: Instant, look: &Look<'_>) {
        self.looked = Some(now);
        self.rate.sample(now, &look.snapshot);
        let (items_per_s, bytes_per_s) = self.rate.per_second(now, &look.snapshot);
        let in_bytes = matches!(look.snapshot.total, Total::Bytes(_));
        let eta = left(&look.snapshot, if in_bytes { bytes_per_s } else { items_per_s });
        let progress = JobProgress {
            counts: counts(look),
            errors: look.gather.errors().clone(),
            latency_ms: (look.gather.latency().max_us() > 0).then(|| look.gather.latency().into()),
            latencies: *look.gather.latency().coarse(),
            items_per_s,
            eta_s: eta.map(|eta| eta.as_secs_f64()),
            restarts: look.restarts,
            hosts: look.hosts.to_vec(),
            proxies: engine::proxies::summarize(look.proxies),
            workers: look.workers.to_vec(),
        };
        self.tell(Event::Progress(self.id, Box::new(progress)));
        let more = mem::take(&mut self.lines).saturating_sub(LINES_MAX);
        if more > 0 {
            let text = format!("… and {}", units::counted(more, "more line"));
            self.tell(Event::Notice(self.id, Notice::new(&text)));
        }
    }

    fn message(&mut self, text: &str) {
        self.notice(&Notice::new(text));
    }

    fn notice(&mut self, notice: &Notice) {
        self.lines += 1;
        if self.lines <= LINES_MAX {
            self.tell(Event::Notice(self.id, notice.clone()));
        }
    }

    fn set_aside(&mut self, quarantined: &Quarantined) {
        let Quarantined { id, slot, kind, message, .. } = quarantined;
        self.notice(&Notice {
            text: format!("input {id} is set aside ({}): {message}", kind.name()),
            is_trouble: true,
            slot: Some(*slot),
            target: Some(*id),
        });
    }

    fn began(&mut self, mode: Mode, workers_max: u32) {
        self.tell(Event::Started(self.id, mode, workers_max));
    }

    fn processes(&mut self, count: usize) {
        if mem::replace(&mut self.alive, count) != count {
            self.tell(Event::Processes(self.id, u32::try_from(count).unwrap_or(u32::MAX)));
        }
    }
}

fn counts(look: &Look<'_>) -> JobCounts {
    let counts = look.gather.counts();
    let Snapshot { done, failed, refused, bytes, in_flight, total, load: _, proxies_failing: _ } =
        look.snapshot;
    let (total, total_exact) = match total {
        Total::Exact(total) => (Some(total), true),
        Total::About(total) | Total::Found(total) => (Some(total), false),
        Total::Bytes(_) | Total::Unknown => (None, false),
    };
    JobCounts {
        total,
        total_exact,
        done,
        ok: counts.ok,
        failed,
        quarantined: counts.quarantined,
        retries: counts.retries,
        refused,
        bytes,
        in_flight,
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::*;
    use supervisor_core::gather::Gather;

    #[test]
    fn a_program_that_complains_about_every_line_does_not_fill_the_memory() {
        let (events, heard) = unbounded();
        let mut watch = Watch::new(JobId(1), events);
        let gather = Gather::new(0);
        let snapshot = Snapshot {
            done: 0,
            failed: 0,
            refused: 0,
            load: None,
            proxies_failing: 0,
            bytes: 0,
            in_flight: 0,
            total: Total::Unknown,
        };
        let look = Look { snapshot, gather: &gather, restarts: 0, hosts: &[], proxies: &[], workers: &[] };
        for _ in 0..2 {
            (0..100_000).for_each(|n| watch.message(&format!("line {n}")));
            assert_eq!(heard.try_iter().count(), 100);
            watch.look(shared::clock::now(), &look);
            let last = heard.try_iter().last();
            assert!(
                matches!(&last, Some(Event::Notice(_, line)) if line.text.contains("99,900")),
                "{last:?}"
            );
        }
    }
}
