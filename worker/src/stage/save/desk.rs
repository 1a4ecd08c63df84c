//! Does what has to be done on the disk: one step of one file after another.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use shared::save::Subject;
use tokio::sync::oneshot;
use url::Url;

use super::Saved;
use super::digest::Digest;
use super::directory::Directory;
use super::sniff;
use super::unfinished::{Notes, Unfinished};
use crate::shortage::Shortages;

/// Largest file that the thread which writes may read again.
const READ_AT_ONCE_MAX: u64 = 8 * 1024 * 1024;

/// A step of the file of one input.
#[derive(Debug)]
pub(super) enum Step {
    /// The body begins. Without notes, it cannot be continued if it breaks off. The flag is set if it becomes larger
    /// than the system allows.
    Begin(Option<Notes>, Arc<AtomicBool>),
    /// The body goes on where an unfinished file ends, with the same flag.
    Continue(Unfinished, Arc<AtomicBool>),
    /// The next piece.
    Write(Vec<u8>),
    /// The body has broken off; answers when nothing is left to do for it.
    BreakOff(oneshot::Sender<()>),
    /// The body is not wanted; answers when nothing is left of it.
    Discard(Option<oneshot::Sender<()>>),
    /// The body is complete; answers with what has become of the file.
    Finish(Naming, oneshot::Sender<Finished>),
}

/// What a file is named after, besides its content.
#[derive(Debug)]
pub(super) struct Naming {
    /// URL of the input.
    pub(super) url: Url,
    /// `Content-Type` of the response.
    pub(super) declared: Option<String>,
}

/// What has become of a complete body.
#[derive(Debug)]
pub(super) enum Finished {
    /// It is a file.
    Saved(Saved),
    /// The system allows no file of this size.
    TooLarge,
}

/// A file that is being written.
struct Part {
    file: File,
    /// Nothing, if the file was begun by an earlier attempt: it is hashed when it is complete.
    digest: Option<Digest>,
    /// Whether there are notes beside it.
    has_notes: bool,
    is_too_large: Arc<AtomicBool>,
}

/// The files under way.
pub(super) struct Desk {
    directory: Arc<Directory>,
    /// Nothing in place of a file that is larger than the system allows.
    parts: HashMap<u64, Option<Part>>,
    shortages: Shortages,
    /// Whether a file that takes long to finish gets a thread of its own.
    has_threads: bool,
}

impl Desk {
    pub(super) fn new(directory: Arc<Directory>, shortages: Shortages, has_threads: bool) -> Self {
        Self { directory, parts: HashMap::new(), shortages, has_threads }
    }

    pub(super) const fn shortages(&self) -> &Shortages {
        &self.shortages
    }

    /// Does a step. If the disk does not allow it, the worker gives up: no input is to blame. From then on nothing is
    /// done, so that no file has a hole.
    pub(super) fn take(&mut self, id: u64, step: Step) {
        if self.shortages.hopeless().is_some() {
            return;
        }
        if let Err(error) = self.step(id, step) {
            self.parts.remove(&id);
            give_up(&self.directory, &self.shortages, id, &error);
        }
    }

    fn step(&mut self, id: u64, step: Step) -> io::Result<()> {
        match step {
            Step::Begin(notes, is_too_large) => self.begin(id, notes.as_ref(), is_too_large),
            Step::Continue(unfinished, is_too_large) => self.go_on(id, &unfinished, is_too_large),
            Step::Write(bytes) => self.write(id, &bytes),
            Step::BreakOff(done) => {
                let part = self.parts.remove(&id).flatten();
                let has_begun = |part: &Part| part.digest.as_ref().is_none_or(|digest| digest.bytes() > 0);
                if !part.is_some_and(|part| part.has_notes && has_begun(&part)) {
                    self.directory.remove_unfinished(id)?;
                }
                // Nobody waits if the worker is at its end.
                let _ = done.send(());
                Ok(())
            }
            Step::Discard(done) => {
                self.parts.remove(&id);
                self.directory.remove_unfinished(id)?;
                if let Some(done) = done {
                    let _ = done.send(());
                }
                Ok(())
            }
            Step::Finish(naming, done) => {
                match self.parts.remove(&id) {
                    Some(Some(part)) => self.finish(id, part, naming, done)?,
                    Some(None) => drop(done.send(Finished::TooLarge)),
                    None => {}
                }
                Ok(())
            }
        }
    }

    fn begin(&mut self, id: u64, notes: Option<&Notes>, is_too_large: Arc<AtomicBool>) -> io::Result<()> {
        // The notes before the file, so that they never tell of other content; and the file, so that no other name of
        // it, which some file systems need for a moment, is written to.
        self.directory.remove_unfinished(id)?;
        let file = self.open(id, true)?;
        if let Some(notes) = notes {
            self.directory.write_notes(id, notes)?;
        }
        let part = Part { file, digest: Some(Digest::default()), has_notes: notes.is_some(), is_too_large };
        self.parts.insert(id, Some(part));
        Ok(())
    }

    fn go_on(&mut self, id: u64, unfinished: &Unfinished, is_too_large: Arc<AtomicBool>) -> io::Result<()> {
        let mut file = self.open(id, false)?;
        if file.metadata()?.len() < unfinished.offset {
            let shorter = "an unfinished file has become shorter; only Muster may change what is in .muster";
            return Err(io::Error::other(shorter));
        }
        file.set_len(unfinished.offset)?;
        file.seek(SeekFrom::Start(unfinished.offset))?;
        self.parts.insert(id, Some(Part { file, digest: None, has_notes: true, is_too_large }));
        Ok(())
    }

    fn write(&mut self, id: u64, bytes: &[u8]) -> io::Result<()> {
        let Some(Some(part)) = self.parts.get_mut(&id) else { return Ok(()) };
        match part.file.write_all(bytes) {
            // A limit of the user or of the file system. No other input meets it.
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                part.is_too_large.store(true, Ordering::Release);
                self.parts.insert(id, None);
                self.directory.remove_unfinished(id)
            }
            written => {
                if let Some(digest) = &mut part.digest {
                    digest.add(bytes);
                }
                written
            }
        }
    }

    fn open(&self, id: u64, fresh: bool) -> io::Result<File> {
        self.shortages.until_met(|| self.directory.open_part(id, fresh))
    }

    /// Finishes a file, on a thread of its own if reading may take long: that of a file which an earlier attempt began,
    /// or that of the same content under the same name.
    fn finish(&self, id: u64, part: Part, naming: Naming, done: oneshot::Sender<Finished>) -> io::Result<()> {
        let (directory, shortages) = (Arc::clone(&self.directory), self.shortages.clone());
        let is_slow = part.digest.as_ref().is_none_or(|digest| digest.bytes() > READ_AT_ONCE_MAX);
        let work = move || match place(&directory, &shortages, id, part, &naming) {
            Ok(saved) => drop(done.send(Finished::Saved(saved))),
            Err(error) => {
                // Before the answer, or else the target could get a record that says nothing of an error.
                give_up(&directory, &shortages, id, &error);
                drop(done);
            }
        };
        if !(is_slow && self.has_threads) {
            work();
            return Ok(());
        }
        thread::Builder::new().name("file".to_owned()).spawn(work).map(drop)
    }
}

/// Gives a complete file its name.
fn place(
    directory: &Directory,
    shortages: &Shortages,
    id: u64,
    part: Part,
    naming: &Naming,
) -> io::Result<Saved> {
    let Part { mut file, digest, has_notes, .. } = part;
    let _long = shortages.begin_long();
    let digest = match digest {
        Some(digest) => digest,
        None => {
            file.seek(SeekFrom::Start(0))?;
            Digest::of(&file, || shortages.show_life())?
        }
    };
    // Closed before the file has its name: some file systems report an error only then.
    nix::unistd::close(file)?;
    let sum = digest.sum();
    let content_type = sniff::content_type(&sum.head, naming.declared.as_deref());
    let extension = sniff::extension(&content_type, naming.url.path());
    let subject = Subject { id, url: &naming.url, sha256: &sum.sha256, extension };
    let name = directory.spec.name.name(subject);
    let show_life = || shortages.show_life();
    let name = shortages.until_met(|| directory.place(id, &name, &sum, extension, &show_life))?;
    if has_notes {
        directory.remove_notes(id)?;
    }
    Ok(Saved { file: name.to_string(), sha256: sum.sha256, content_type, bytes: sum.bytes })
}

/// Ends this worker for an error of the disk. What is there of the file is not to be continued: nobody knows which
/// bytes are in it.
fn give_up(directory: &Directory, shortages: &Shortages, id: u64, error: &io::Error) {
    let place = directory.spec.directory.display();
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let advice = if full { "; free some space" } else { "" };
    shortages.give_up(format!("cannot save to {place}: {error}{advice}"));
    // It may fail as well. The file itself is of no use without its notes.
    let _ = directory.remove_unfinished(id);
}
