//! A running job: the engine, on a thread of its own. It tells the state loop how far it is and,
//! exactly once, how it ended, even if it panics.

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
use crate::cli::{self, NoJob};
use crate::config::Allowed;
use crate::engine::{self, EngineError, JobReport, Kept, Report, RunContext};
use crate::journal::Complete;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::robots::RobotsCache;
use crate::runtime::{Control, Workers};
use crate::summary::Summary;
use crate::view::{JobCounts, JobId};

/// Everything a job needs.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) id: JobId,
    pub(super) input: JobInput,
    /// The file for its records or its table.
    pub(super) output: PathBuf,
    pub(super) allowed: Allowed,
    pub(super) memory_bytes_max: Option<u64>,
    pub(super) workers: Workers,
    pub(super) hosts: HostShares,
    pub(super) robots: RobotsCache,
    pub(super) control: Control,
    pub(super) committed: Arc<AtomicU64>,
    pub(super) events: Sender<Event>,
}

impl Assignment {
    /// Starts the job's thread.
    pub(super) fn start(self) -> io::Result<()> {
        thread::Builder::new().name(format!("job-{}", self.id)).spawn(move || {
            // Sends when it is dropped, so also if the engine panics.
            let mut ending = Ending { id: self.id, events: self.events.clone(), end: None, bytes: 0 };
            let end = self.run();
            ending.bytes = self.output.parent().map_or(0, store::size);
            ending.end = Some(end);
        })?;
        Ok(())
    }

    fn run(&self) -> JobEnd {
        let document = &self.input.document;
        let mut plan = match cli::job(document, &self.input.uploads, &self.output, &self.allowed) {
            Ok(plan) => plan,
            Err(NoJob { why, lacks_descriptors: true }) => return JobEnd::Short(why),
            Err(NoJob { why, .. }) => return JobEnd::Failed(why, None),
        };
        plan.pool.worker_memory_bytes = self.memory_bytes_max;
        let mut observer = Watch::new(self.id, self.events.clone());
        let mut context = RunContext {
            control: &self.control,
            signals: None,
            observer: &mut observer,
            workers: &self.workers,
            hosts: Some(&self.hosts),
            robots: Some(self.robots.clone()),
            cookies: None,
            session: None,
            earlier: None,
            committed: Some(Arc::clone(&self.committed)),
            targets_max: u64::MAX,
        };
        match engine::run_job(&plan, &mut context) {
            Ok(JobReport::Ran(report)) => self.concluded(*report),
            Ok(JobReport::Complete(complete)) => self.complete(&plan, &complete),
            Err(error) => stuck(error),
        }
    }

    /// Everything was done when the service was killed; only the report of it was lost.
    fn complete(&self, plan: &Plan, complete: &Complete) -> JobEnd {
        let facts = engine::facts_unseen(plan, &complete.told);
        let mut result = JobResult::of(Summary::new(&complete.told, &facts));
        (result.counts.total, result.counts.total_exact) = (Some(complete.records), true);
        self.all_is_certain();
        JobEnd::Done(result, exit_code(complete.failed))
    }

    fn concluded(&self, report: Report) -> JobEnd {
        let Report { ended, kept, run, .. } = report;
        let failed = run.summary.failed + run.summary.sitemaps_failed;
        let mut result = JobResult { latencies: run.latencies, ..JobResult::of(run.summary) };
        if let Some(why) = ended.failure {
            if ended.lacks_descriptors {
                return JobEnd::Short(why);
            }
            if ended.lacks_proxies || ended.lacks_login {
                return JobEnd::Blocked(why);
            }
            return JobEnd::Failed(why, Some(result));
        }
        if ended.signal.is_some() {
            return JobEnd::Stopped(match kept {
                Kept::Records(_) => result,
                // Half a table is of no use; the next attempt begins anew.
                Kept::Table | Kept::Nothing { .. } => JobResult::default(),
            });
        }
        let exit_code = match kept {
            Kept::Records(_) => exit_code(failed),
            Kept::Table => Outcome::Done.code(),
            Kept::Nothing { bad_rows } => {
                let rows = bad_rows.unwrap_or_default();
                return JobEnd::Failed(format!("{rows} bad rows, and \"strict\" is set"), Some(result));
            }
        };
        self.all_is_certain();
        (result.counts.total, result.counts.total_exact) = (Some(result.counts.done), true);
        JobEnd::Done(result, exit_code)
    }

    /// All bytes of the output are certain.
    fn all_is_certain(&self) {
        let bytes = fs::metadata(&self.output).map_or(0, |metadata| metadata.len());
        self.committed.store(bytes, Ordering::Release);
    }
}

/// A job that the engine could not run to its end.
fn stuck(error: EngineError) -> JobEnd {
    match error {
        error if error.lacks_descriptors() => JobEnd::Short(error.to_string()),
        EngineError::Output { cause, resumable } if resumable || cause.may_pass() => {
            JobEnd::Blocked(cause.to_string())
        }
        // No thread, no descriptor, or no room on the disk.
        EngineError::SetUp(_) | EngineError::Table(_) | EngineError::Cookies(_) => {
            JobEnd::Blocked(error.to_string())
        }
        EngineError::NoWorkers(_)
        | EngineError::Output { .. }
        | EngineError::NotOurs(_)
        | EngineError::Changed(_)
        | EngineError::Sitemap(_)
        | EngineError::Crawl(_)
        | EngineError::Manifest(_)
        | EngineError::Saving(_)
        | EngineError::Since(_)
        | EngineError::Unbalanced(_) => JobEnd::Failed(error.to_string(), None),
        #[cfg(feature = "objects")]
        EngineError::Object(_) => JobEnd::Failed(error.to_string(), None),
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
            refused: summary.refused,
            bytes: summary.bytes,
            in_flight: 0,
        };
        Self { counts, errors: summary.errors.clone(), summary: Some(summary), ..Self::default() }
    }
}

/// Reports how the job ended, when it is dropped.
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
        // The loop ends only with the service.
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
        // Another supervisor is still writing to it.
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
            robots: RobotsCache::default(),
            control,
            committed: Arc::default(),
            events,
        };
        let end = assignment.run();
        assert!(matches!(&end, JobEnd::Blocked(why) if why.contains("locked")), "{end:?}");
    }

    #[test]
    fn a_job_waits_for_descriptors_and_not_for_words_about_them() {
        use crate::journal::{JournalError, OutputError};

        let none = || io::Error::from(nix::errno::Errno::EMFILE);
        let journal = |cause| {
            let cause = OutputError::Journal(JournalError::Open { path: "a".into(), cause });
            EngineError::Output { cause, resumable: true }
        };
        for error in [journal(none()), EngineError::SetUp(none())] {
            let end = stuck(error);
            assert!(matches!(&end, JobEnd::Short(why) if why.contains("os error 24")), "{end:?}");
        }
        let end = stuck(journal(io::Error::other(none().to_string())));
        assert!(matches!(&end, JobEnd::Blocked(why) if why.contains("os error 24")), "{end:?}");
    }
}
