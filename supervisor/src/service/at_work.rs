//! One job at work: the engine, on a thread of its own. It tells the state loop how far it is and,
//! once, how it ended; whatever happens to it, that word comes.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{io, mem};

use crossbeam_channel::Sender;
use shared::job::Mode;
use shared::record::ErrorKind;

use super::config::Allowed;
use super::news::News;
use super::store::{self, Errand};
use super::view::{JobCounts, JobId};
use crate::aggregate::{self, CsvReport};
use crate::cli::{self, JobPlan, Outcome};
use crate::engine::{self, EngineError, Outside, Report};
use crate::frontier::{HostLook, HostShares};
use crate::gather::Latencies;
use crate::journal::{self, Opened};
use crate::plan::{CsvPlan, Plan};
use crate::pool::{Notice, Quarantined};
use crate::progress::{Rate, Snapshot, Total, left};
use crate::runtime::{Control, Look, Observer, WorkerLook, Workers};
use crate::summary::{self, LatencyMs, Summary};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How far a job is.
#[derive(Debug)]
pub(super) struct Sight {
    pub(super) counts: JobCounts,
    pub(super) errors: BTreeMap<ErrorKind, u64>,
    pub(super) latency_ms: Option<LatencyMs>,
    pub(super) latencies: Latencies,
    pub(super) items_per_s: f64,
    pub(super) eta_s: Option<f64>,
    pub(super) restarts: u64,
    pub(super) hosts: Vec<HostLook>,
    pub(super) workers: Vec<WorkerLook>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Result {
    pub(super) counts: JobCounts,
    pub(super) errors: BTreeMap<ErrorKind, u64>,
    pub(super) summary: Option<Summary>,
    /// Of the inputs that this run did.
    pub(super) latencies: Latencies,
}

/// How it ended.
#[derive(Debug)]
pub(super) enum How {
    /// Every input has its record; with this exit code.
    Done(Result, u8),
    /// It was asked to stop; what was done is kept.
    Stopped(Result),
    /// It cannot be done.
    Failed(String, Result),
    /// It could not go on with things as they are (a full disk), and can later.
    Blocked(String),
}

/// Everything a job needs.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) id: JobId,
    pub(super) errand: Errand,
    /// Where its records go.
    pub(super) output: PathBuf,
    pub(super) allowed: Allowed,
    pub(super) memory_bytes_max: Option<u64>,
    pub(super) workers: Workers,
    pub(super) hosts: HostShares,
    pub(super) control: Control,
    pub(super) committed: Arc<AtomicU64>,
    pub(super) news: Sender<News>,
}

impl Assignment {
    /// Starts the job's thread.
    pub(super) fn start(self) -> io::Result<()> {
        thread::Builder::new().name(format!("job-{}", self.id)).spawn(move || {
            // Sent when this is dropped, so also if the engine panics.
            let mut ending = Ending { id: self.id, news: self.news.clone(), how: None, bytes: 0 };
            let how = self.run();
            ending.bytes = self.output.parent().map_or(0, store::size);
            ending.how = Some(how);
        })?;
        Ok(())
    }

    fn run(&self) -> How {
        let mut observer = Watch::new(self.id, self.news.clone());
        let mut outside = Outside {
            control: &self.control,
            observer: &mut observer,
            workers: &self.workers,
            hosts: Some(&self.hosts),
        };
        match cli::job(&self.errand.document, &self.errand.uploads, &self.output, &self.allowed) {
            Err(why) => How::Failed(why, Result::default()),
            Ok(JobPlan::Records(mut plan)) => {
                plan.pool.worker_memory_bytes = self.memory_bytes_max;
                self.records(&plan, &mut outside)
            }
            Ok(JobPlan::Table(mut csv)) => {
                csv.plan.pool.worker_memory_bytes = self.memory_bytes_max;
                self.table(&csv, &mut outside)
            }
        }
    }

    fn records(&self, plan: &Plan, outside: &mut Outside<'_>) -> How {
        let mut destination = match journal::open(plan) {
            Ok(Opened::Ready(destination)) => *destination,
            // All was done when the service was killed, and only the word of it was lost.
            Ok(Opened::Complete(path)) => return self.complete(plan, &path),
            Err(error) => return How::Failed(error.to_string(), Result::default()),
        };
        if let Some(notice) = &destination.notice {
            outside.observer.message(notice);
        }
        if let Some(journal) = &mut destination.journal {
            self.committed.store(journal.state.output_bytes, Ordering::Release);
            journal.store.report_to(Arc::clone(&self.committed));
        }
        match engine::run(plan, destination, u64::MAX, outside) {
            Ok(report) => self.concluded(report),
            Err(EngineError::Output { cause, resumable: true }) => How::Blocked(cause.to_string()),
            Err(error) => How::Failed(error.to_string(), Result::default()),
        }
    }

    fn complete(&self, plan: &Plan, path: &std::path::Path) -> How {
        let complete = match journal::check_complete(path, plan) {
            Ok(complete) => complete,
            Err(error) => return How::Failed(format!("{error:#}"), Result::default()),
        };
        self.all_is_certain();
        let facts = engine::facts_unseen(plan, &complete.told);
        let mut result = Result::of(Summary::new(&complete.told, &facts));
        (result.counts.total, result.counts.total_exact) = (Some(complete.records), true);
        How::Done(result, exit_code(complete.failed))
    }

    fn concluded(&self, report: Report) -> How {
        let Report { ended, run, .. } = report;
        let mut result = Result { latencies: run.latencies, ..Result::of(run.summary) };
        if let Some(why) = ended.failure {
            return How::Failed(why, result);
        }
        if ended.signal.is_some() {
            return How::Stopped(result);
        }
        self.all_is_certain();
        (result.counts.total, result.counts.total_exact) = (Some(result.counts.done), true);
        let code = exit_code(result.counts.failed);
        How::Done(result, code)
    }

    fn table(&self, csv: &CsvPlan, outside: &mut Outside<'_>) -> How {
        let CsvPlan { plan, strict } = csv;
        let Some(spec) = aggregate::spec(plan) else {
            return How::Failed("this is no csv job; a bug in the supervisor".to_owned(), Result::default());
        };
        let report = match aggregate::run(plan, spec, outside) {
            Ok(report) => report,
            Err(error) => return How::Failed(error.to_string(), Result::default()),
        };
        let CsvReport { ended, tally, said, run } = report;
        let mut result = Result::of(run.summary);
        if let Some(why) = ended.failure {
            return How::Failed(why, result);
        }
        if ended.signal.is_some() {
            // Half an aggregate is of no use; the next attempt begins anew.
            return How::Stopped(Result::default());
        }
        said.iter().for_each(|line| outside.observer.message(line));
        if *strict && tally.bad > 0 {
            return How::Failed(format!("{} bad rows, and \"strict\" is set", tally.bad), result);
        }
        let table = match aggregate::write(spec, &tally.groups, plan.format) {
            Ok(table) => table,
            Err(error) => return How::Failed(error.to_string(), result),
        };
        if let Err(error) = summary::replace(&self.output, &table) {
            return How::Blocked(error.to_string());
        }
        self.all_is_certain();
        (result.counts.total, result.counts.total_exact) = (Some(result.counts.done), true);
        How::Done(result, Outcome::Done.code())
    }

    /// The output is whole.
    fn all_is_certain(&self) {
        let bytes = fs::metadata(&self.output).map_or(0, |metadata| metadata.len());
        self.committed.store(bytes, Ordering::Release);
    }
}

fn exit_code(failed: u64) -> u8 {
    if failed == 0 { Outcome::Done.code() } else { Outcome::InputsFailed.code() }
}

impl Result {
    fn of(summary: Summary) -> Self {
        let counts = JobCounts {
            total: None,
            total_exact: false,
            done: summary.items,
            ok: summary.ok,
            failed: summary.failed,
            quarantined: summary.quarantined,
            retries: summary.retries,
            bytes: summary.bytes,
            in_flight: 0,
        };
        Self { counts, errors: summary.errors.clone(), summary: Some(summary), ..Self::default() }
    }
}

/// Says how the job ended when it is dropped.
struct Ending {
    id: JobId,
    news: Sender<News>,
    how: Option<How>,
    bytes: u64,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let how = self.how.take().unwrap_or_else(|| {
            How::Failed("internal error, please report it: the engine panicked".to_owned(), Result::default())
        });
        // The loop is gone only when the service is.
        let _ = self.news.send(News::Ended(self.id, Box::new(how), self.bytes));
    }
}

/// Tells the state loop what there is to see.
struct Watch {
    id: JobId,
    news: Sender<News>,
    looked: Option<Instant>,
    rate: Rate,
    alive: usize,
}

impl Watch {
    fn new(id: JobId, news: Sender<News>) -> Self {
        Self { id, news, looked: None, rate: Rate::default(), alive: 0 }
    }

    fn tell(&self, news: News) {
        let _ = self.news.send(news);
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
        let sight = Sight {
            counts: counts(look),
            errors: look.gather.errors().clone(),
            latency_ms: (look.gather.latency().max_us() > 0).then(|| look.gather.latency().into()),
            latencies: *look.gather.latency().coarse(),
            items_per_s,
            eta_s: eta.map(|eta| eta.as_secs_f64()),
            restarts: look.restarts,
            hosts: look.hosts.to_vec(),
            workers: look.workers.to_vec(),
        };
        self.tell(News::Seen(self.id, Box::new(sight)));
    }

    fn message(&mut self, text: &str) {
        self.notice(&Notice::new(text));
    }

    fn notice(&mut self, notice: &Notice) {
        self.tell(News::Said(self.id, notice.clone()));
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
        self.tell(News::Began(self.id, mode, workers_max));
    }

    fn processes(&mut self, count: usize) {
        if mem::replace(&mut self.alive, count) != count {
            self.tell(News::Processes(self.id, u32::try_from(count).unwrap_or(u32::MAX)));
        }
    }
}

fn counts(look: &Look<'_>) -> JobCounts {
    let counts = look.gather.counts();
    let Snapshot { done, failed, bytes, in_flight, total } = look.snapshot;
    let (total, total_exact) = match total {
        Total::Exact(total) => (Some(total), true),
        Total::About(total) => (Some(total), false),
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
        bytes,
        in_flight,
    }
}
