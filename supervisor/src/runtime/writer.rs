//! Takes in what workers send, on a thread of its own: appends records to the output, or merges groups.
//! So a slow reader of the output (`| less`) stops the flow of records but not the reaction to Ctrl-C.

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, never, unbounded};
use shared::clock;

use super::Control;
use crate::aggregate::Merge;
use crate::crawl::{Book, FoundLinks};
use crate::journal::{JournalError, Notes, OutputError, OutputProgress, Recorder, Reports, State, Store};
use crate::plan::Twice;
use crate::since::{Keeper, PageNotes};
use crate::sink::{Outlet, SinkError};

/// Chunks that may wait for the disk. Each is what the loop gathered in one turn.
const CHUNKS_WAITING: usize = 16;

/// The same if they are merged: the groups of one part may be as large as a message can be.
const REPORTS_WAITING: usize = 1;

/// Lines on their way to the writer, and whose they are.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) lines: Vec<u8>,
    /// Stays empty without a journal.
    pub(super) progress: OutputProgress,
    /// Stays empty unless pages are noted for a later run.
    pub(super) notes: PageNotes,
    /// What was found in pages, for a crawl.
    pub(super) found: FoundLinks,
    /// Bytes of that.
    pub(super) found_bytes: usize,
}

impl Chunk {
    /// Returns the bytes of what workers sent.
    pub(super) const fn bytes(&self) -> usize {
        self.lines.len() + self.found_bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        let OutputProgress { finished, hosts, held, .. } = &self.progress;
        let has_progress = !finished.is_empty() || hosts.is_some() || !held.is_empty();
        self.lines.is_empty() && !has_progress && self.notes.is_empty()
    }
}

/// The writer, as the loop sees it.
#[derive(Debug)]
pub struct Queue {
    chunks: Option<Sender<Chunk>>,
    ended: Receiver<()>,
    unwanted: Receiver<u32>,
    recorded: bool,
    /// Whether pages are noted for a later run.
    keeps_notes: bool,
    /// Notes targets before they are sent, if they must not be sent twice.
    notes: Option<Notes>,
    /// Targets whose records are committed, if a server may act on them twice otherwise.
    settled: Receiver<Vec<u64>>,
}

/// The thread that takes in what workers send, and that leaves a `T` at its end.
#[derive(Debug)]
pub struct Writer<T> {
    queue: Queue,
    /// Whether the run is complete, so that its journal is no longer needed. Set before the chunks end, unless the last
    /// of them were dropped because nobody wanted to wait for them.
    complete: Arc<OnceLock<bool>>,
    thread: Option<JoinHandle<Result<T, OutputError>>>,
}

/// How the writer ended.
#[derive(Debug)]
pub enum Finished<T> {
    /// Everything is written and, unless the run is complete, committed to the journal, if there is one.
    Written(T),
    /// This signal came during the wait for a slow reader.
    Abandoned(i32),
}

impl Writer<Option<Store>> {
    /// Starts appending to `outlet`, and recording that in the journal, which was left as the state says. Notes of pages
    /// go to `keeper`, if there is a journal, and what was found in them to the `book` of a crawl.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(crate) fn appending(
        outlet: Outlet,
        journal: Option<(Store, &State, Twice)>,
        keeper: Option<Keeper>,
        book: Option<Arc<Book>>,
    ) -> io::Result<Self> {
        let found = book.as_ref().map(|book| book.second_handle()).transpose()?;
        let (recorder, reports) = match journal {
            Some((store, state, twice)) => {
                let (recorder, reports) = Recorder::start(clock::now(), store, state, &outlet, twice, found)?;
                (Some(recorder), reports)
            }
            None => (None, Reports::default()),
        };
        let (recorded, keeps_notes) = (recorder.is_some(), recorder.is_some() && keeper.is_some());
        let complete = Arc::new(OnceLock::new());
        let is_complete = Arc::clone(&complete);
        let mut writer = Self::spawn(CHUNKS_WAITING, recorded, complete, move |queue, _| {
            // Dropped when this thread ends, early or not: then no more pages come.
            let book = book.map(Taking);
            match recorder {
                None => write_all(outlet, book.as_ref(), queue).map(|()| None),
                Some(recorder) => {
                    let kept = Kept { keeper, book: book.as_ref() };
                    write_and_record(outlet, recorder, kept, queue, &is_complete).map(Some)
                }
            }
        })?;
        writer.queue.keeps_notes = keeps_notes;
        (writer.queue.notes, writer.queue.settled) = (reports.notes, reports.settled);
        Ok(writer)
    }
}

impl Writer<Merge> {
    /// Starts merging reports into `merge`.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn merging(mut merge: Merge) -> io::Result<Self> {
        Self::spawn(REPORTS_WAITING, false, Arc::default(), move |queue, unwanted| {
            for chunk in queue {
                for file in merge.take(&chunk.lines)? {
                    // After the end of a run nobody needs to know.
                    let _ = unwanted.send(file);
                }
            }
            Ok(merge)
        })
    }
}

impl<T: Send + 'static> Writer<T> {
    fn spawn(
        waiting: usize,
        recorded: bool,
        complete: Arc<OnceLock<bool>>,
        work: impl FnOnce(&Receiver<Chunk>, &Sender<u32>) -> Result<T, OutputError> + Send + 'static,
    ) -> io::Result<Self> {
        let (chunks, queue) = bounded(waiting);
        let (ending, ended) = bounded(0);
        let (unwanted_files, unwanted) = unbounded();
        let thread = thread::Builder::new().name("sink".to_owned()).spawn(move || {
            // Dropped when this thread ends, early or not: that is what wakes the loop.
            let _ending: Sender<()> = ending;
            work(&queue, &unwanted_files)
        })?;
        let queue = Queue {
            chunks: Some(chunks),
            ended,
            unwanted,
            recorded,
            keeps_notes: false,
            notes: None,
            settled: never(),
        };
        Ok(Self { queue, complete, thread: Some(thread) })
    }

    /// Returns the way to the writer, for a run.
    #[must_use]
    pub const fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Writes what is queued, commits it and closes the output; `complete` says that nothing is left to do.
    ///
    /// # Errors
    /// The first [`OutputError`] of the whole run.
    pub fn finish(mut self, complete: bool, control: &Control) -> Result<Finished<T>, OutputError> {
        self.complete.get_or_init(|| complete);
        self.queue.chunks = None;
        self.queue.notes = None;
        let impatience = control.impatience();
        crossbeam_channel::select! {
            recv(self.queue.ended) -> _ => {}
            recv(impatience) -> signal => return Ok(Finished::Abandoned(signal.unwrap_or_default())),
        }
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result.map(Finished::Written),
            Some(Err(_)) | None => Err(OutputError::Sink(SinkError::Write {
                records: None,
                output: "the output".to_owned(),
                cause: io::Error::other("the thread that writes it panicked"),
            })),
        }
    }
}

impl Queue {
    pub(super) fn chunks(&self) -> Option<&Sender<Chunk>> {
        self.chunks.as_ref()
    }

    /// Whether a journal records whose lines are written.
    pub(crate) fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// Whether pages are noted for a later run.
    pub(super) const fn keeps_notes(&self) -> bool {
        self.keeps_notes
    }

    /// Notes targets before they are sent, if they must not be sent twice.
    pub(super) const fn notes(&self) -> Option<&Notes> {
        self.notes.as_ref()
    }

    /// Targets whose records are committed, if a server may act on them twice otherwise. Disconnected if the journal
    /// cannot be written.
    pub(super) const fn settled(&self) -> &Receiver<Vec<u64>> {
        &self.settled
    }

    /// Disconnected once the thread has ended: before the end of a run, that is a failure.
    pub(super) fn ended(&self) -> &Receiver<()> {
        &self.ended
    }

    /// Input files of which no more parts are needed. Disconnected like [`Self::ended`].
    pub(super) fn unwanted(&self) -> &Receiver<u32> {
        &self.unwanted
    }
}

/// The book of a crawl, which is closed in the end.
struct Taking(Arc<Book>);

impl Taking {
    fn take_in(&self, chunk: &mut Chunk) -> Result<(), JournalError> {
        let ended = chunk.progress.finished.iter().map(|(id, _)| *id);
        self.0.take_in(std::mem::take(&mut chunk.found), ended)
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What is kept beside the records.
struct Kept<'a> {
    keeper: Option<Keeper>,
    book: Option<&'a Taking>,
}

fn write_all(mut outlet: Outlet, book: Option<&Taking>, queue: &Receiver<Chunk>) -> Result<(), OutputError> {
    for mut chunk in queue {
        outlet.write(&chunk.lines)?;
        book.map_or(Ok(()), |book| book.take_in(&mut chunk))?;
        if queue.is_empty() {
            outlet.flush()?;
        }
    }
    Ok(outlet.finish()?)
}

fn write_and_record(
    mut outlet: Outlet,
    mut recorder: Recorder,
    kept: Kept<'_>,
    queue: &Receiver<Chunk>,
    complete: &OnceLock<bool>,
) -> Result<Store, OutputError> {
    let Kept { mut keeper, book } = kept;
    outlet.catch_up()?;
    loop {
        let due = recorder.due();
        let next = match due {
            Some(due) => queue.recv_deadline(due),
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match next {
            Ok(mut chunk) => {
                outlet.write(&chunk.lines)?;
                book.map_or(Ok(()), |book| book.take_in(&mut chunk))?;
                recorder.add(chunk.progress);
                keeper.iter_mut().for_each(|keeper| keeper.add(&chunk.notes));
                if queue.is_empty() {
                    outlet.flush()?;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let now = clock::now();
        if recorder.due().is_some_and(|due| due <= now) {
            let bytes = outlet.settle()?;
            keeper.iter_mut().for_each(Keeper::commit);
            settle(book, &mut recorder)?;
            if recorder.commit(now, bytes).is_err() {
                return Ok(recorder.end()?);
            }
        }
    }
    let bytes = outlet.settle()?;
    // `None`: the last chunks were dropped, and their notes with them.
    let is_complete = complete.get() == Some(&true);
    settle(book, &mut recorder)?;
    keeper.into_iter().for_each(|keeper| keeper.close(is_complete));
    if !is_complete {
        let store = recorder.finish(bytes, complete.get().is_some())?;
        outlet.finish()?;
        return Ok(store);
    }
    if outlet.has_more_to_do() {
        // This may fail, and then nothing must have to be fetched again.
        let totals = recorder.totals();
        let store = recorder.finish(bytes, true)?;
        outlet.complete(totals)?;
        return Ok(store);
    }
    // The journal is about to be removed, so nothing is committed; but without it the output must be complete.
    let store = recorder.end()?;
    outlet.sync()?;
    outlet.finish()?;
    Ok(store)
}

/// Notes how much of the pages of a crawl belongs to the records so far.
fn settle(book: Option<&Taking>, recorder: &mut Recorder) -> Result<(), JournalError> {
    book.map_or(Ok(()), |book| book.0.settle().map(|bytes| recorder.found(bytes)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::journal::{Final, Prefix, beside};
    use crate::plan::Output;
    use crate::sink::Sink;

    fn start(output: &Path) -> Writer<Option<Store>> {
        let (mut store, _) = Store::open(&beside(output, ".journal")).unwrap();
        store.begin(&[], &[]).unwrap();
        let place = Output::File { path: output.to_owned(), overwrite: false, resume: false };
        let outlet = Outlet::new(Sink::open(&place).unwrap(), None);
        Writer::appending(outlet, Some((store, &State::default(), Twice::Harmless)), None, None).unwrap()
    }

    /// The `n`th ten records.
    fn chunk(n: u64) -> Chunk {
        let mut chunk = Chunk::default();
        for id in n * 10..(n + 1) * 10 {
            chunk.lines.extend(format!("{id}\n").into_bytes());
            chunk.progress.finished.push((id, Final::Ok));
        }
        chunk.progress.prefix = Prefix { targets: (n + 1) * 10, digest: 0 };
        chunk
    }

    /// Checks what a kill at this instant would leave. Returns how many records are committed.
    fn check_copy(output: &Path, copy: &Path) -> u64 {
        // The output last: it may only be ahead of the journal.
        for suffix in [".journal", ".journal-wal", ""] {
            fs::copy(beside(output, suffix), beside(copy, suffix)).unwrap();
        }
        let (_, recorded) = Store::open(&beside(copy, ".journal")).unwrap();
        let state = recorded.unwrap().state;
        let text = fs::read(copy).unwrap();
        let certain = text.get(..usize::try_from(state.output_bytes).unwrap()).expect("committed too early");
        let ids: crate::journal::Finished = certain
            .split(|&byte| byte == b'\n')
            .filter_map(|id| str::from_utf8(id).ok()?.parse().ok())
            .collect();
        assert_eq!(ids, state.finished);
        state.finished.len()
    }

    #[test]
    fn a_commit_names_what_is_in_the_output_and_no_more() {
        let directory = tempfile::tempdir().unwrap();
        let (output, copy) = (directory.path().join("out"), directory.path().join("copy"));
        let writer = start(&output);
        let mut seen = std::collections::BTreeSet::new();
        let mut n = 0;
        while seen.len() < 4 {
            writer.queue().chunks().unwrap().send(chunk(n)).unwrap();
            n += 1;
            seen.insert(check_copy(&output, &copy));
        }
        let (_controller, control) = Control::new(None);
        let Finished::Written(Some(store)) = writer.finish(false, &control).unwrap() else {
            panic!("abandoned")
        };
        assert_eq!(check_copy(&output, &copy), n * 10);
        drop(store);
    }

    /// The request may come at the moment at which the run ends by itself.
    #[test]
    fn a_run_of_the_service_that_is_through_is_not_abandoned() {
        let directory = tempfile::tempdir().unwrap();
        for n in 0..20 {
            let output = directory.path().join(n.to_string());
            let writer = start(&output);
            writer.queue().chunks().unwrap().send(chunk(0)).unwrap();
            let (controller, control) = Control::new(Some(Arc::default()));
            assert!(controller.stop(nix::libc::SIGTERM));
            let finished = writer.finish(true, &control).unwrap();
            assert!(matches!(finished, Finished::Written(Some(_))), "{finished:?}");
        }
    }

    /// Begins a journal that notes which targets may have been sent.
    fn noting(journal: &Path) -> Store {
        let (mut store, _) = Store::open(journal).unwrap();
        store.begin(&[], &[]).unwrap();
        store.keep();
        store
    }

    /// The targets that may have been sent, and that have no record.
    fn uncertain(journal: &Path) -> Vec<u64> {
        let (_, recorded) = Store::open(journal).unwrap();
        recorded.unwrap().state.uncertain.iter().collect()
    }

    #[test]
    fn an_early_end_keeps_what_earlier_runs_may_have_sent() {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("out");
        let journal = beside(&output, ".journal");
        let mut store = noting(&journal);
        store.note(&[1, 2, 700]).unwrap();
        drop(store);
        // Each run is stopped: one before it has read its inputs, one after the first of them.
        for (records, left) in [(&[][..], &[1, 2, 700][..]), (&[1], &[2, 700])] {
            let (store, recorded) = Store::open(&journal).unwrap();
            let state = recorded.unwrap().state;
            let place = Output::File { path: output.clone(), overwrite: output.exists(), resume: false };
            let outlet = Outlet::new(Sink::open(&place).unwrap(), None);
            let writer =
                Writer::appending(outlet, Some((store, &state, Twice::Forbidden)), None, None).unwrap();
            let mut chunk = Chunk::default();
            for id in records {
                chunk.lines.extend(format!("{id}\n").into_bytes());
                chunk.progress.finished.push((*id, Final::Ok));
            }
            chunk.progress.prefix = Prefix { targets: 1000, digest: 0 };
            writer.queue().chunks().unwrap().send(chunk).unwrap();
            let (_controller, control) = Control::new(None);
            let finished = writer.finish(false, &control).unwrap();
            assert!(matches!(finished, Finished::Written(Some(_))), "{finished:?}");
            drop(finished);
            assert_eq!(uncertain(&journal), left);
        }
    }

    /// A second signal drops the last records, and with them the proof that their targets are done.
    #[test]
    fn what_was_sent_stays_noted_if_the_last_records_are_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("out");
        let journal = beside(&output, ".journal");
        let store = noting(&journal);
        let place = Output::File { path: output, overwrite: false, resume: false };
        let outlet = Outlet::new(Sink::open(&place).unwrap(), None);
        let journaled = Some((store, &State::default(), Twice::Forbidden));
        let mut writer = Writer::appending(outlet, journaled, None, None).unwrap();
        let notes = writer.queue().notes().unwrap();
        notes.note(vec![10, 11, 700]);
        notes.noted().recv().unwrap();
        writer.queue().chunks().unwrap().send(chunk(1)).unwrap();
        writer.queue.chunks = None;
        writer.thread.take().unwrap().join().unwrap().unwrap();
        assert_eq!(uncertain(&journal), [700]);
    }

    #[test]
    fn without_records_the_output_is_begun_and_a_journal_gives_way() {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("out");
        let (_controller, control) = Control::new(None);
        let Finished::Written(Some(mut store)) = start(&output).finish(true, &control).unwrap() else {
            panic!("abandoned")
        };
        store.complete().unwrap();
        store.remove();
        assert_eq!(fs::read(&output).unwrap(), b"");
        assert!(!beside(&output, ".journal").exists());
    }
}
