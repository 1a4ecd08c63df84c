//! Commits what is new about once a second, on a thread of its own: bringing
//! seconds of output to the disk takes long enough to hold up the next records.

use std::fs::File;
use std::io;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::store::Commit;
use super::{Final, Finished, JournalError, Prefix, State, Store, Tally};
use crate::sink::Outlet;
use crate::sink::whole::Totals;

/// Time between two commits: what a kill costs, in work done again.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// Time before the first commit. It doubles from one to the next: a run that is always
/// killed within a second gets somewhere too.
const FIRST_COMMIT: Duration = Duration::from_millis(100);

/// What there is to know about some lines of output besides the lines.
#[derive(Debug, Clone, Default)]
pub struct News {
    /// The targets whose records they are.
    pub finished: Vec<(u64, Final)>,
    /// Targets read by now, those among them.
    pub prefix: Prefix,
    /// Attempts that were not the last of their target, in all.
    pub retries: u64,
    /// Body bytes read, in all.
    pub bytes: u64,
}

/// Keeps account of the output, for the thread that writes it.
#[derive(Debug)]
pub struct Recorder {
    fresh: Finished,
    tally: Tally,
    prefix: Prefix,
    /// When there was last an attempt to commit.
    tried: Instant,
    every: Duration,
    /// To the thread that commits; a commit is taken only when it has nothing to do.
    commits: Sender<Commit>,
    thread: JoinHandle<Result<Store, JournalError>>,
}

impl Recorder {
    /// Starts the thread that commits to `store`, of which `state` was read. From here on the journal stays.
    ///
    /// # Errors
    /// When the output cannot be opened a second time, or no thread can be started.
    pub fn start(now: Instant, mut store: Store, state: &State, outlet: &Outlet) -> io::Result<Self> {
        let output = outlet.second_handle()?;
        store.keep();
        let (commits, queue) = bounded(0);
        let thread = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || commit_all(store, &output, &queue))?;
        Ok(Self {
            fresh: Finished::default(),
            tally: state.tally.clone(),
            prefix: state.prefix,
            tried: now,
            every: FIRST_COMMIT,
            commits,
            thread,
        })
    }

    /// These records were handed to the sink.
    pub fn add(&mut self, news: &News) {
        for &(id, ending) in &news.finished {
            match ending.targets() {
                1 => self.fresh.insert(id),
                several => self.fresh.insert_range(id..id + several),
            }
            self.tally.add(ending);
        }
        self.tally.counts.retries = news.retries;
        self.tally.counts.bytes = news.bytes;
        if news.prefix.targets > self.prefix.targets {
            self.prefix = news.prefix;
        }
    }

    /// When the next commit is due, if there is anything to commit.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        (!self.fresh.is_empty()).then(|| self.tried + self.every)
    }

    /// Commits everything added, of which the sink has written `output_bytes` and keeps nothing back;
    /// or does nothing, while the last commit is still under way.
    ///
    /// # Errors
    /// When an earlier commit failed. The recorder is of no more use then.
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
                Ok(())
            }
            Err(TrySendError::Disconnected(_)) => Err(Failed),
        }
    }

    /// What all records come to, those of earlier runs among them.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals { ok: self.tally.counts.ok, failed: self.tally.counts.failed }
    }

    /// Commits what is left and gives the journal back.
    ///
    /// # Errors
    /// When this commit or an earlier one failed.
    pub fn finish(mut self, output_bytes: u64) -> Result<Store, JournalError> {
        if !self.fresh.is_empty() {
            let commit = self.take(output_bytes);
            // If nobody takes it, the thread has ended, and says why below.
            let _ = self.commits.send(commit);
        }
        self.end()
    }

    /// Ends the thread; why it failed, if it did.
    ///
    /// # Errors
    /// When a commit failed.
    pub fn end(self) -> Result<Store, JournalError> {
        drop(self.commits);
        self.thread.join().unwrap_or(Err(JournalError::Panicked))
    }

    fn take(&mut self, output_bytes: u64) -> Commit {
        let fresh = std::mem::take(&mut self.fresh);
        Commit { fresh, tally: self.tally.clone(), prefix: self.prefix, output_bytes }
    }
}

/// The thread that commits has failed; [`Recorder::end`] says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed;

fn commit_all(mut store: Store, output: &File, queue: &Receiver<Commit>) -> Result<Store, JournalError> {
    store.settle()?;
    sync_directory(store.path());
    for commit in queue {
        output.sync_data().map_err(|cause| JournalError::Sync { path: store.output(), cause })?;
        store.commit(&commit)?;
    }
    Ok(store)
}

/// That the files are there at all must survive a power cut as well. Some file systems have
/// no such call and do not need it.
fn sync_directory(journal: &Path) {
    let parent = journal.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Ok(directory) = File::open(parent.unwrap_or(Path::new("."))) {
        let _ = directory.sync_all();
    }
}
