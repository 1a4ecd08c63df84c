//! Commits new records to the journal about once a second, on its own thread, because syncing seconds of
//! output takes long enough to delay the next records.

use std::fs::File;
use std::io;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, never, unbounded};

use supervisor_core::pages::ListCounts;

use super::started::{self, Notes, NotesTaken};
use super::store::Commit;
use super::{Final, Finished, HeldRecord, JournalError, ListChanges, Prefix, State, Store, Tally};
use crate::plan::Twice;
use crate::sink::Outlet;
use crate::sink::whole::Totals;

/// Time between two commits. A kill loses at most the work of this time.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// The same if a server may act twice on what is lost: the next begins as soon as the last is on disk.
const COMMIT_SOON: Duration = Duration::from_millis(1);

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
    /// Total records whose pages are as an earlier run has noted them.
    pub unchanged: u64,
    /// What was learned about hosts, if that is news.
    pub hosts: Option<String>,
    /// Records that wait for an earlier one at the end of the run.
    pub held: Vec<HeldRecord>,
    /// What became of lists of pages.
    pub lists: ListChanges,
    /// Total lists that have ended.
    pub list_counts: ListCounts,
}

/// What the journal reports to the run.
#[derive(Debug)]
pub struct Reports {
    /// Which targets are noted as sent, if that must be before they are.
    pub notes: Option<Notes>,
    /// Targets whose records are committed, if a server may act on them twice otherwise.
    pub settled: Receiver<Vec<u64>>,
}

impl Default for Reports {
    /// Without a journal.
    fn default() -> Self {
        Self { notes: None, settled: never() }
    }
}

/// Records the progress of the output, for the thread that writes it.
#[derive(Debug)]
pub struct Recorder {
    fresh: Finished,
    held: Vec<HeldRecord>,
    lists: ListChanges,
    tally: Tally,
    prefix: Prefix,
    /// What was learned about hosts since the last commit.
    hosts: Option<String>,
    /// The time of the last attempt to commit.
    tried: Instant,
    every: Duration,
    every_max: Duration,
    /// Targets that earlier runs may have sent, and that have no record.
    uncertain: Finished,
    /// The length of the file of a crawl's pages, if it is one.
    found_bytes: Option<u64>,
    /// Whether targets are noted before they are sent.
    notes: bool,
    /// The channel to the commit thread, which accepts a commit only while it is idle.
    commits: Sender<Commit>,
    thread: JoinHandle<Result<Store, JournalError>>,
}

impl Recorder {
    /// Starts the thread that commits to `store`, which holds `state`. From here on the journal is kept. `twice` says
    /// how often it commits, and what it reports to the run; `found` is the file of a crawl's pages.
    ///
    /// # Errors
    /// If the output cannot be opened a second time, or the thread cannot be started.
    pub fn start(
        now: Instant,
        mut store: Store,
        state: &State,
        outlet: &Outlet,
        twice: Twice,
        found: Option<File>,
    ) -> io::Result<(Self, Reports)> {
        let files = Files { output: outlet.second_handle()?, found };
        store.keep();
        // Where notes are written as well, a commit must not wait until the thread happens to be idle.
        let (commits, queue) = bounded(usize::from(twice == Twice::Forbidden));
        let soon = twice != Twice::Harmless;
        let (notes, taken) = started::notes();
        let (settled, committed) = unbounded();
        let settled = Some(settled).filter(|_| soon);
        let thread = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || commit_all(store, &files, &queue, &taken, settled.as_ref()))?;
        let reports = Reports {
            notes: Some(notes).filter(|_| twice == Twice::Forbidden),
            settled: if soon { committed } else { never() },
        };
        let recorder = Self {
            fresh: Finished::default(),
            held: Vec::new(),
            lists: ListChanges::new(),
            tally: state.tally.clone(),
            prefix: state.prefix,
            hosts: None,
            tried: now,
            every: if soon { COMMIT_SOON } else { FIRST_COMMIT },
            every_max: if soon { COMMIT_SOON } else { COMMIT_EVERY },
            uncertain: state.uncertain.clone(),
            found_bytes: None,
            notes: reports.notes.is_some(),
            commits,
            thread,
        };
        Ok((recorder, reports))
    }

    /// Adds records that were passed to the sink.
    pub fn add(&mut self, progress: OutputProgress) {
        for (id, ending) in progress.finished {
            self.uncertain.remove_one(id);
            match ending.targets() {
                1 => self.fresh.insert(id),
                several => self.fresh.insert_range(id..id + several),
            }
            self.tally.add(ending);
        }
        self.tally.counts.retries = progress.retries;
        self.tally.counts.bytes = progress.bytes;
        self.tally.counts.unchanged = progress.unchanged;
        self.tally.lists = progress.list_counts;
        self.lists.extend(progress.lists);
        if progress.hosts.is_some() {
            self.hosts = progress.hosts;
        }
        for held in progress.held {
            self.uncertain.remove_one(held.first);
            self.held.push(held);
        }
        if progress.prefix.targets > self.prefix.targets {
            self.prefix = progress.prefix;
        }
    }

    /// Says how long the file of a crawl's pages is, with all that belongs to the records that were added.
    pub const fn found(&mut self, bytes: u64) {
        self.found_bytes = Some(bytes);
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
                self.every = (self.every * 2).min(self.every_max);
                Ok(())
            }
            Err(TrySendError::Full(commit)) => {
                self.fresh = commit.fresh;
                self.hosts = commit.hosts;
                self.lists = commit.lists;
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

    /// Commits the rest and returns the journal. `has_all` says that every record of the run was added.
    ///
    /// # Errors
    /// If this commit or an earlier one failed.
    pub fn finish(mut self, output_bytes: u64, has_all: bool) -> Result<Store, JournalError> {
        if !self.fresh.is_empty() || !self.held.is_empty() || self.notes {
            let mut commit = self.take(output_bytes);
            if has_all {
                // All workers have ended, and what they may have sent has a record.
                commit.uncertain = Some(std::mem::take(&mut self.uncertain));
            }
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
            uncertain: None,
            found_bytes: self.found_bytes,
            lists: std::mem::take(&mut self.lists),
        }
    }
}

/// The files that must be on disk before a commit is.
struct Files {
    output: File,
    /// The pages of a crawl, if it is one.
    found: Option<File>,
}

impl Files {
    fn sync(&self) -> io::Result<()> {
        self.output.sync_data()?;
        self.found.as_ref().map_or(Ok(()), File::sync_data)
    }
}

/// The commit thread has failed; [`Recorder::end`] returns its error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed;

fn commit_all(
    mut store: Store,
    files: &Files,
    queue: &Receiver<Commit>,
    notes: &NotesTaken,
    settled: Option<&Sender<Vec<u64>>>,
) -> Result<Store, JournalError> {
    store.settle()?;
    sync_directory(store.path());
    let never = never();
    let mut wanted = &notes.wanted;
    loop {
        crossbeam_channel::select! {
            recv(queue) -> commit => {
                let Ok(commit) = commit else { return Ok(store) };
                let synced = store.sync_files().and_then(|()| files.sync());
                synced.map_err(|cause| JournalError::Sync { path: store.output(), cause })?;
                store.commit(&commit)?;
                // The run may have ended meanwhile.
                settled.map(|settled| settled.send(commit.fresh.iter().collect()));
            }
            recv(wanted) -> ids => match ids {
                Ok(ids) => {
                    store.note(&ids)?;
                    // The run may have ended meanwhile.
                    let _ = notes.noted.send(());
                }
                Err(_) => wanted = &never,
            }
        }
    }
}

/// Syncs the directory, so that the files themselves survive a power failure. Some file systems have no such
/// call and do not need it.
fn sync_directory(journal: &Path) {
    let parent = journal.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Ok(directory) = File::open(parent.unwrap_or(Path::new("."))) {
        let _ = directory.sync_all();
    }
}
