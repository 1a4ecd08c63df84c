//! Does what has to be done on the disk: one step of one file after another.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;

use shared::save::Subject;
use tokio::sync::oneshot;
use url::Url;

use super::Saved;
use super::digest::Digest;
use super::directory::Directory;
use super::sniff;
use super::unfinished::{Notes, Unfinished};
use crate::shortage::Shortages;

/// A step of the file of one input.
#[derive(Debug)]
pub(super) enum Step {
    /// The body begins. Without notes, it cannot be continued if it breaks off.
    Begin(Option<Notes>),
    /// The body goes on where an unfinished file ends.
    Continue(Unfinished),
    /// The next piece.
    Write(Vec<u8>),
    /// The body has broken off; answers when nothing is left to do for it.
    BreakOff(oneshot::Sender<()>),
    /// The body is not wanted.
    Discard,
    /// The body is complete; answers with the file, unless it could not be written.
    Finish(Naming, oneshot::Sender<Option<Saved>>),
}

/// What a file is named after, besides its content.
#[derive(Debug)]
pub(super) struct Naming {
    /// URL of the input.
    pub(super) url: Url,
    /// `Content-Type` of the response.
    pub(super) declared: Option<String>,
}

/// A file that is being written.
struct Part {
    file: File,
    digest: Digest,
    /// Whether there are notes beside it.
    has_notes: bool,
}

/// The files under way.
pub(super) struct Desk {
    directory: Arc<Directory>,
    parts: HashMap<u64, Part>,
    shortages: Shortages,
}

impl Desk {
    pub(super) fn new(directory: Arc<Directory>, shortages: Shortages) -> Self {
        Self { directory, parts: HashMap::new(), shortages }
    }

    pub(super) const fn shortages(&self) -> &Shortages {
        &self.shortages
    }

    /// Does a step. If the disk does not allow it, the worker gives up: no input is to blame.
    pub(super) fn take(&mut self, id: u64, step: Step) {
        if let Err(error) = self.step(id, step) {
            let place = self.directory.spec.directory.display();
            self.shortages.give_up(format!("cannot save to {place}: {error}"));
        }
    }

    fn step(&mut self, id: u64, step: Step) -> io::Result<()> {
        match step {
            Step::Begin(notes) => self.begin(id, notes.as_ref()),
            Step::Continue(unfinished) => self.go_on(id, &unfinished),
            Step::Write(bytes) => match self.parts.get_mut(&id) {
                Some(part) => {
                    part.digest.add(&bytes);
                    part.file.write_all(&bytes)
                }
                None => Ok(()),
            },
            Step::BreakOff(done) => {
                let is_kept =
                    self.parts.remove(&id).is_some_and(|part| part.has_notes && part.digest.bytes() > 0);
                let removed = if is_kept { Ok(()) } else { self.remove(id) };
                // Nobody waits if the worker is at its end.
                let _ = done.send(());
                removed
            }
            Step::Discard => {
                self.parts.remove(&id);
                self.remove(id)
            }
            Step::Finish(naming, done) => {
                let saved = self.finish(id, &naming);
                let (saved, result) = match saved {
                    Ok(saved) => (saved, Ok(())),
                    Err(error) => (None, Err(error)),
                };
                let _ = done.send(saved);
                result
            }
        }
    }

    fn begin(&mut self, id: u64, notes: Option<&Notes>) -> io::Result<()> {
        // Before the file, so that they never tell of other content.
        self.directory.remove_notes(id)?;
        let file = self.open(id, true)?;
        if let Some(notes) = notes {
            self.directory.write_notes(id, notes)?;
        }
        self.parts.insert(id, Part { file, digest: Digest::default(), has_notes: notes.is_some() });
        Ok(())
    }

    fn go_on(&mut self, id: u64, unfinished: &Unfinished) -> io::Result<()> {
        let mut file = self.open(id, false)?;
        let mut digest = Digest::default();
        digest.add_file(&file, unfinished.offset)?;
        file.set_len(unfinished.offset)?;
        file.seek(SeekFrom::Start(unfinished.offset))?;
        self.parts.insert(id, Part { file, digest, has_notes: true });
        Ok(())
    }

    fn open(&self, id: u64, fresh: bool) -> io::Result<File> {
        self.shortages.until_met(|| self.directory.open_part(id, fresh))
    }

    fn remove(&self, id: u64) -> io::Result<()> {
        self.directory.remove_notes(id)?;
        self.directory.remove_part(id)
    }

    fn finish(&mut self, id: u64, naming: &Naming) -> io::Result<Option<Saved>> {
        let Some(Part { file, digest, has_notes }) = self.parts.remove(&id) else { return Ok(None) };
        // Closed before the file has its name: some file systems report an error only then.
        drop(file);
        let sum = digest.sum();
        let content_type = sniff::content_type(&sum.head, naming.declared.as_deref());
        let extension = sniff::extension(&content_type, naming.url.path());
        let subject = Subject { id, url: &naming.url, sha256: &sum.sha256, extension };
        let name = self.directory.spec.name.name(subject);
        let name = self.shortages.until_met(|| self.directory.place(id, &name, &sum))?;
        if has_notes {
            self.directory.remove_notes(id)?;
        }
        Ok(Some(Saved { file: name.to_string(), sha256: sum.sha256, content_type, bytes: sum.bytes }))
    }
}
