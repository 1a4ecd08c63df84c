//! One job from beginning to end: opens the output, runs workers over the source, concludes.
//!
//! [`run_job`] is the only way to run a job, for the command line and for the service. They differ
//! in the [`RunContext`] that they pass, and in what they make of the [`JobReport`].
//!
//! ```text
//! run_job ─┬─ object ─┐
//!          ├──────────┴─ records (append) ──┬─ passes ─ pool, runtime
//!          │             └─ sitemaps (list) ┤
//!          └─ table (merge) ────────────────┘
//! ```
//! `passes` runs a pool over the targets and hands what the workers send to a consumer. A consumer
//! says after each pass whether there are targets to run again: files of a `csv` job that were cut at
//! wrong places, or the sitemaps that an index names.

mod clocks;
mod limits;
mod logins;
mod manifest;
#[cfg(feature = "objects")]
mod object;
mod passes;
pub(crate) mod proxies;
mod records;
mod report;
mod room;
mod shape;
mod sitemaps;
mod table;
mod tree;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use supervisor_core::frontier::HostShares;
use supervisor_core::gather::Unbalanced;

pub(crate) use self::clocks::facts_unseen;
use self::manifest::ManifestError;
pub(crate) use self::report::{JobReport, Kept, Report, Resume};
use self::table::TableError;
use self::tree::SitemapError;
use crate::cookies::{Cookies, JarError};
use crate::crawl::CrawlError;
use crate::journal::{JournalError, OutputError};
use crate::kinds;
#[cfg(feature = "objects")]
use crate::objects::ObjectError;
use crate::plan::Plan;
use crate::robots::RobotsCache;
use crate::runtime::{Control, Controller, NoWorkers, Observer, Workers};
use crate::saving::SavingError;
use crate::session::Session;
use crate::shortage;
use crate::since::{Earlier, SinceError};

/// What to do about a run that could not continue.
const HOW_TO_RESUME: &str =
    "\nnothing that is committed is lost: put that right, and the same command with --resume does the rest";

/// Why a job could not be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// There can be no workers.
    #[error(transparent)]
    NoWorkers(#[from] NoWorkers),
    /// The output or its journal cannot be opened or written.
    #[error("{cause}{}", if *.resumable { HOW_TO_RESUME } else { "" })]
    Output {
        /// Why.
        cause: OutputError,
        /// Whether a journal says which records are certain.
        resumable: bool,
    },
    /// The output has no journal, and is not what this job would have written.
    #[error("{0:#}")]
    NotOurs(anyhow::Error),
    /// The object cannot or must not be written.
    #[cfg(feature = "objects")]
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The inputs are not those of the run that was to be resumed.
    #[error(transparent)]
    Changed(JournalError),
    /// The sitemaps cannot be read.
    #[error(transparent)]
    Sitemap(#[from] SitemapError),
    /// The crawl cannot begin.
    #[error(transparent)]
    Crawl(#[from] CrawlError),
    /// The table cannot be written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The manifest of the output cannot be written, or that of an earlier run not be removed.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The directory of saved files cannot be used.
    #[error(transparent)]
    Saving(#[from] SavingError),
    /// What an earlier run knows cannot be read, or what the next one needs not be kept.
    #[error(transparent)]
    Since(#[from] SinceError),
    /// The cookies cannot be kept.
    #[error(transparent)]
    Cookies(#[from] JarError),
    /// Threads or signal handlers cannot be set up.
    #[error("cannot set up threads and signals: {0}")]
    SetUp(#[from] std::io::Error),
    /// The counts of the supervisor are wrong.
    #[error(transparent)]
    Unbalanced(#[from] Unbalanced),
}

impl EngineError {
    /// The output could not be opened, or is not worth resuming.
    const fn output(cause: OutputError) -> Self {
        Self::Output { cause, resumable: false }
    }

    /// Whether descriptors are short, which others will close.
    pub(crate) fn lacks_descriptors(&self) -> bool {
        let error = match self {
            Self::Output { cause, .. } => cause.system_error(),
            Self::Sitemap(SitemapError::Kept(error)) | Self::SetUp(error) => Some(error),
            Self::Table(error) => error.system_error(),
            Self::Saving(SavingError::Io { cause, .. }) => Some(cause),
            Self::Manifest(ManifestError::Write { cause, .. } | ManifestError::Remove { cause, .. }) => {
                Some(cause)
            }
            Self::Crawl(CrawlError::Book { cause, .. }) => Some(cause),
            Self::NoWorkers(_)
            | Self::Crawl(_)
            | Self::NotOurs(_)
            | Self::Changed(_)
            | Self::Saving(SavingError::Taken { .. })
            | Self::Sitemap(_)
            | Self::Since(_)
            | Self::Cookies(_)
            | Self::Unbalanced(_) => None,
            #[cfg(feature = "objects")]
            Self::Object(_) => None,
        };
        error.is_some_and(shortage::is_meant)
    }
}

/// What surrounds a job: a command line that runs it alone, or the service that runs it beside others.
pub(crate) struct RunContext<'a> {
    /// Requests to stop, resize or go on with other workers.
    pub(crate) control: &'a Control,
    /// The other end of `control`, if the job has this process to itself: the signals of the process go
    /// there while the job runs. Before and after that they end the process.
    pub(crate) signals: Option<Controller>,
    /// Watches the job.
    pub(crate) observer: &'a mut dyn Observer,
    /// The source of worker processes.
    pub(crate) workers: &'a Workers,
    /// The budgets of hosts that other jobs ask as well.
    pub(crate) hosts: Option<&'a HostShares>,
    /// What is known of robots.txt files, if the job shares that with others.
    pub(crate) robots: Option<RobotsCache>,
    /// The cookies, from when the job begins, if it keeps them.
    pub(crate) cookies: Option<Cookies>,
    /// The session, from when the job begins, if it is more than a jar.
    pub(crate) session: Option<Session>,
    /// What an earlier run knows of pages, from when the job begins, if they are compared with it.
    pub(crate) earlier: Option<Arc<Earlier>>,
    /// Where to count the bytes of the output that are certain.
    pub(crate) committed: Option<Arc<AtomicU64>>,
    /// Most inputs to take.
    pub(crate) targets_max: u64,
}

/// Runs the job of `plan`: opens its output, runs it, and concludes it.
///
/// # Errors
/// [`EngineError`] if the job could not begin, or its output could not be written.
pub(crate) fn run_job(plan: &Plan, context: &mut RunContext<'_>) -> Result<JobReport, EngineError> {
    if let Some(spec) = kinds::of(&plan.work).grouping() {
        return table::run_job(plan, spec, context);
    }
    #[cfg(feature = "objects")]
    if let Some(object) = &plan.object {
        return object::run_job(plan, object, context);
    }
    records::run_job(plan, context)
}
