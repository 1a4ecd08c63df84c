//! One job at work: the engine, on a thread of its own. It tells the state loop how far it is and,
//! once, how it ended; whatever happens to it, that word comes.

mod watch;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crossbeam_channel::Sender;
use supervisor_core::frontier::HostShares;

use self::watch::Watch;
use super::event::{Event, JobEnd, JobProgress, JobResult};
use super::store::{self, JobInput};
use crate::aggregate::{self, CsvReport};
use crate::cli::{self, JobPlan};
use crate::config::Allowed;
use crate::engine::{self, EngineError, Outside, Report};
use crate::journal::{self, Opened};
use crate::outcome::Outcome;
use crate::plan::{CsvPlan, Plan};
use crate::runtime::{Control, Workers};
use crate::summary::Summary;
use crate::view::{JobCounts, JobId};
use crate::whole_file;

/// Everything a job needs.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) id: JobId,
    pub(super) input: JobInput,
    /// Where its records go.
    pub(super) output: PathBuf,
    pub(super) allowed: Allowed,
    pub(super) memory_bytes_max: Option<u64>,
    pub(super) workers: Workers,
    pub(super) hosts: HostShares,
    pub(super) control: Control,
    pub(super) committed: Arc<AtomicU64>,
    pub(super) events: Sender<Event>,
}

impl Assignment {
    /// Starts the job's thread.
    pub(super) fn start(self) -> io::Result<()> {
        thread::Builder::new().name(format!("job-{}", self.id)).spawn(move || {
            // Sent when this is dropped, so also if the engine panics.
            let mut ending = Ending { id: self.id, events: self.events.clone(), end: None, bytes: 0 };
            let end = self.run();
            ending.bytes = self.output.parent().map_or(0, store::size);
            ending.end = Some(end);
        })?;
        Ok(())
    }

    fn run(&self) -> JobEnd {
        let mut observer = Watch::new(self.id, self.events.clone());
        let mut outside = Outside {
            control: &self.control,
            observer: &mut observer,
            workers: &self.workers,
            hosts: Some(&self.hosts),
        };
        match cli::job(&self.input.document, &self.input.uploads, &self.output, &self.allowed) {
            Err(why) => JobEnd::Failed(why, None),
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

    fn records(&self, plan: &Plan, outside: &mut Outside<'_>) -> JobEnd {
        let mut destination = match journal::open(plan) {
            Ok(Opened::Ready(destination)) => *destination,
            // All was done when the service was killed, and only the word of it was lost.
            Ok(Opened::Complete(path)) => return self.complete(plan, &path),
            Err(error) if error.may_pass() => return JobEnd::Blocked(error.to_string()),
            Err(error) => return JobEnd::Failed(error.to_string(), None),
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
            Err(error) => stuck(error),
        }
    }

    fn complete(&self, plan: &Plan, path: &std::path::Path) -> JobEnd {
        let complete = match journal::check_complete(path, plan) {
            Ok(complete) => complete,
            Err(error) => return JobEnd::Failed(format!("{error:#}"), None),
        };
        self.all_is_certain();
        let facts = engine::facts_unseen(plan, &complete.told);
        let mut result = JobResult::of(Summary::new(&complete.told, &facts));
        (result.counts.total, result.counts.total_exact) = (Some(complete.records), true);
        JobEnd::Done(result, exit_code(complete.failed))
    }

    fn concluded(&self, report: Report) -> JobEnd {
        let Report { ended, run, .. } = report;
        let missing = run.summary.failed + run.summary.sitemaps_failed;
        let mut result = JobResult { latencies: run.latencies, ..JobResult::of(run.summary) };
        if let Some(why) = ended.failure {
            return JobEnd::Failed(why, Some(result));
        }
        if ended.signal.is_some() {
            return JobEnd::Stopped(result);
        }
        self.all_is_certain();
        (result.counts.total, result.counts.total_exact) = (Some(result.counts.done), true);
        JobEnd::Done(result, exit_code(missing))
    }

    fn table(&self, csv: &CsvPlan, outside: &mut Outside<'_>) -> JobEnd {
        let CsvPlan { plan, strict } = csv;
        let Some(spec) = aggregate::spec(plan) else {
            return JobEnd::Failed("this is no csv job; a bug in the supervisor".to_owned(), None);
        };
        let report = match aggregate::run(plan, spec, outside) {
            Ok(report) => report,
            Err(error) => return stuck(error),
        };
        let CsvReport { ended, tally, said, run } = report;
        let mut result = JobResult::of(run.summary);
        if let Some(why) = ended.failure {
            return JobEnd::Failed(why, Some(result));
        }
        if ended.signal.is_some() {
            // Half an aggregate is of no use; the next attempt begins anew.
            return JobEnd::Stopped(JobResult::default());
        }
        said.iter().for_each(|line| outside.observer.message(line));
        if *strict && tally.bad > 0 {
            return JobEnd::Failed(format!("{} bad rows, and \"strict\" is set", tally.bad), Some(result));
        }
        let table = match aggregate::write(spec, &tally.groups, plan.format) {
            Ok(table) => table,
            Err(error) => return JobEnd::Failed(error.to_string(), Some(result)),
        };
        if let Err(error) = whole_file::replace(&self.output, &table) {
            return JobEnd::Blocked(error.to_string());
        }
        self.all_is_certain();
        (result.counts.total, result.counts.total_exact) = (Some(result.counts.done), true);
        JobEnd::Done(result, Outcome::Done.code())
    }

    /// The output is whole.
    fn all_is_certain(&self) {
        let bytes = fs::metadata(&self.output).map_or(0, |metadata| metadata.len());
        self.committed.store(bytes, Ordering::Release);
    }
}

/// A job that the engine could not do.
fn stuck(error: EngineError) -> JobEnd {
    match error {
        EngineError::Output { cause, resumable } if resumable || cause.may_pass() => {
            JobEnd::Blocked(cause.to_string())
        }
        // No thread, no descriptor, no room for what is kept meanwhile.
        EngineError::SetUp(_) => JobEnd::Blocked(error.to_string()),
        EngineError::NoWorkers(_)
        | EngineError::Output { .. }
        | EngineError::Changed(_)
        | EngineError::Sitemap(_)
        | EngineError::Unbalanced(_) => JobEnd::Failed(error.to_string(), None),
    }
}

fn exit_code(failed: u64) -> u8 {
    if failed == 0 { Outcome::Done.code() } else { Outcome::InputsFailed.code() }
}

impl JobResult {
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
    events: Sender<Event>,
    end: Option<JobEnd>,
    bytes: u64,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let end = self.end.take().unwrap_or_else(|| {
            JobEnd::Failed("internal error, please report it: the engine panicked".to_owned(), None)
        });
        // The loop is gone only when the service is.
        let _ = self.events.send(Event::Ended(self.id, Box::new(end), self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::*;
    use crate::journal::{Store, beside};

    #[test]
    fn what_may_pass_pauses_a_job_and_does_not_fail_it() {
        let directory = tempfile::tempdir().unwrap();
        let (page, output) = (directory.path().join("a.html"), directory.path().join("records.jsonl"));
        fs::write(&page, "<title>a</title>").unwrap();
        // Somebody is still at it.
        let _writing = Store::open(&beside(&output, ".journal")).unwrap();
        let (events, _heard) = unbounded();
        let (_controller, control) = Control::new(Some(Arc::default()));
        let document = serde_json::json!({"command": "parse", "select": ["t=title"]});
        let assignment = Assignment {
            id: JobId(1),
            input: JobInput { document: document.as_object().unwrap().clone(), uploads: vec![page] },
            output,
            allowed: Allowed::default(),
            memory_bytes_max: None,
            workers: Workers::at("/nowhere".into()).unwrap(),
            hosts: HostShares::default(),
            control,
            committed: Arc::default(),
            events,
        };
        let end = assignment.run();
        assert!(matches!(&end, JobEnd::Blocked(why) if why.contains("locked")), "{end:?}");
    }
}
