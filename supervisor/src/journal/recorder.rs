//! Commits new records to the journal about once a second, on its own thread, because syncing seconds of
//! output takes long enough to delay the next records.

use std::fs::File;
use std::io;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::store::Commit;
use super::{Final, Finished, HeldRecord, JournalError, Prefix, State, Store, Tally};
use crate::sink::Outlet;
use crate::sink::whole::Totals;

/// Time between two commits. A kill loses at most the work of this time.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// Time before the first commit. It doubles until [`COMMIT_EVERY`], so that a run that is always killed
/// within a second makes progress too.
const FIRST_COMMIT: Duration = Duration::from_millis(100);

/// The journal's data about some lines of output.
#[derive(Debug, Clone, Default)]
pub struct OutputProgress {
    /// The targets of these records.
    pub finished: Vec<(u64, Final)>,
    /// All targets read so far, including these.
    pub prefix: Prefix,
    /// Total attempts that were followed by another one.
    pub retries: u64,
    /// Total body bytes read.
    pub bytes: u64,
    /// What was learned about hosts, if that is news.
    pub hosts: Option<String>,
    /// Records that wait for an earlier one at the end of the run.
    pub held: Vec<HeldRecord>,
}

/// Records the progress of the output, for the thread that writes it.
#[derive(Debug)]
pub struct Recorder {
    fresh: Finished,
    held: Vec<HeldRecord>,
    tally: Tally,
    prefix: Prefix,
    /// What was learned about hosts since the last commit.
    hosts: Option<String>,
    /// The time of the last attempt to commit.
    tried: Instant,
    every: Duration,
    /// The channel to the commit thread, which accepts a commit only while it is idle.
    commits: Sender<Commit>,
    thread: JoinHandle<Result<Store, JournalError>>,
}

impl Recorder {
    /// Starts the thread that commits to `store`, which holds `state`. From here on the journal is kept.
    ///
    /// # Errors
    /// If the output cannot be opened a second time, or the thread cannot be started.
    pub fn start(now: Instant, mut store: Store, state: &State, outlet: &Outlet) -> io::Result<Self> {
        let output = outlet.second_handle()?;
        store.keep();
        let (commits, queue) = bounded(0);
        let thread = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || commit_all(store, &output, &queue))?;
        Ok(Self {
            fresh: Finished::default(),
            held: Vec::new(),
            tally: state.tally.clone(),
            prefix: state.prefix,
            hosts: None,
            tried: now,
            every: FIRST_COMMIT,
            commits,
            thread,
        })
    }

    /// Adds records that were passed to the sink.
    pub fn add(&mut self, progress: OutputProgress) {
        for (id, ending) in progress.finished {
            match ending.targets() {
                1 => self.fresh.insert(id),
                several => self.fresh.insert_range(id..id + several),
            }
            self.tally.add(ending);
        }
        self.tally.counts.retries = progress.retries;
        self.tally.counts.bytes = progress.bytes;
        if progress.hosts.is_some() {
            self.hosts = progress.hosts;
        }
        self.held.extend(progress.held);
        if progress.prefix.targets > self.prefix.targets {
            self.prefix = progress.prefix;
        }
    }

    /// Returns when the next commit is due, if there is anything to commit.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        (!self.fresh.is_empty()).then(|| self.tried + self.every)
    }

    /// Commits everything added, of which the sink has written `output_bytes` with nothing buffered. Does
    /// nothing while the last commit is in progress.
    ///
    /// # Errors
    /// If an earlier commit failed. The recorder is unusable then.
    pub fn commit(&mut self, now: Instant, output_bytes: u64) -> Result<(), Failed> {
        self.tried = now;
        let commit = self.take(output_bytes);
        match self.commits.try_send(commit) {
            Ok(()) => {
                self.every = (self.every * 2).min(COMMIT_EVERY);
                Ok(())
            }
            Err(TrySendError::Full(commit)) => {
                self.fresh = commit.fresh;
                self.hosts = commit.hosts;
                Ok(())
            }
            Err(TrySendError::Disconnected(_)) => Err(Failed),
        }
    }

    /// Returns the totals of all records, including those of earlier runs.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals { ok: self.tally.counts.ok, failed: self.tally.counts.failed }
    }

    /// Commits the rest and returns the journal.
    ///
    /// # Errors
    /// If this commit or an earlier one failed.
    pub fn finish(mut self, output_bytes: u64) -> Result<Store, JournalError> {
        if !self.fresh.is_empty() || !self.held.is_empty() {
            let mut commit = self.take(output_bytes);
            commit.held = std::mem::take(&mut self.held);
            // If sending fails, the thread has ended, and its error is returned below.
            let _ = self.commits.send(commit);
        }
        self.end()
    }

    /// Ends the thread and returns its result.
    ///
    /// # Errors
    /// If a commit failed.
    pub fn end(self) -> Result<Store, JournalError> {
        drop(self.commits);
        self.thread.join().unwrap_or(Err(JournalError::Panicked))
    }

    fn take(&mut self, output_bytes: u64) -> Commit {
        let fresh = std::mem::take(&mut self.fresh);
        let hosts = self.hosts.take();
        Commit {
            fresh,
            tally: self.tally.clone(),
            prefix: self.prefix,
            output_bytes,
            hosts,
            held: Vec::new(),
        }
    }
}

/// The commit thread has failed; [`Recorder::end`] returns its error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed;

fn commit_all(mut store: Store, output: &File, queue: &Receiver<Commit>) -> Result<Store, JournalError> {
    store.settle()?;
    sync_directory(store.path());
    for commit in queue {
        let synced = store.sync_files().and_then(|()| output.sync_data());
        synced.map_err(|cause| JournalError::Sync { path: store.output(), cause })?;
        store.commit(&commit)?;
    }
    Ok(store)
}

/// Syncs the directory, so that the files themselves survive a power failure. Some file systems have no such
/// call and do not need it.
fn sync_directory(journal: &Path) {
    let parent = journal.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Ok(directory) = File::open(parent.unwrap_or(Path::new("."))) {
        let _ = directory.sync_all();
    }
}
