//! Keeps bodies as files: `--save`.
//!
//! ```text
//! exchange → FileSlot ─ pieces of 64 KiB → Desk → DIR/.muster/JOB/ID.part → DIR/NAME
//! ```
//! A [`FileSlot`] is the file of one target; the exchange passes the decoded body to it. The [`Desk`] does all calls
//! that may wait for the disk: on the calling thread if it blocks anyway, else on a thread of its own, so that the
//! event loop never waits. Invariant: a file has its name only when it is complete, and before its record exists.

mod desk;
mod digest;
mod directory;
mod sniff;
#[cfg(test)]
mod tests;
mod unfinished;

use std::fmt;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, IF_RANGE, RANGE};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use shared::job::Executor;
use shared::save::SaveSpec;
use tokio::sync::{Notify, oneshot};
use url::Url;

use self::desk::{Desk, Naming, Step};
use self::directory::Directory;
use self::unfinished::{Notes, Unfinished, validator};
use crate::shortage::Shortages;

/// Bytes that are written at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Bytes that may wait for the disk in one worker. Enough for a quarter of a second of a gigabit link.
const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Smallest announced body that is worth continuing.
const CONTINUED_BYTES_MIN: u64 = 1024 * 1024;

/// A complete file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Saved {
    /// Its name, relative to the directory of the files.
    pub(crate) file: String,
    /// Hash of its content, in hexadecimal digits.
    pub(crate) sha256: String,
    /// Type of its content.
    pub(crate) content_type: String,
    /// Its size.
    pub(crate) bytes: u64,
}

/// The files of one worker. Clones share their state.
#[derive(Clone)]
pub(crate) struct Files {
    inner: Arc<Inner>,
}

struct Inner {
    directory: Arc<Directory>,
    way: Way,
}

/// Who does the steps.
enum Way {
    /// The calling thread.
    Here(Mutex<Desk>),
    /// A thread of its own.
    Thread(DeskThread),
}

/// A thread that is started at the first step: one that exists before the sandbox is entered would not be in it.
struct DeskThread {
    sender: OnceLock<Sender<(u64, Step)>>,
    desk: Mutex<Option<Desk>>,
    backlog: Arc<Backlog>,
}

/// What waits for the disk.
#[derive(Debug, Default)]
struct Backlog {
    bytes: AtomicUsize,
    less: Notify,
}

impl Files {
    /// Opens the directory, which the supervisor has prepared.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn open(spec: &SaveSpec, executor: Executor, shortages: &Shortages) -> io::Result<Self> {
        let directory = Arc::new(Directory::open(spec)?);
        let desk = Desk::new(Arc::clone(&directory), shortages.clone());
        let way = match executor {
            Executor::Blocking => Way::Here(Mutex::new(desk)),
            Executor::EventLoop => Way::Thread(DeskThread {
                sender: OnceLock::new(),
                desk: Mutex::new(Some(desk)),
                backlog: Arc::default(),
            }),
        };
        Ok(Self { inner: Arc::new(Inner { directory, way }) })
    }

    /// The file of a target.
    pub(crate) fn slot(&self, id: u64) -> Box<FileSlot> {
        let directory = &self.inner.directory;
        // A page is extracted as a whole, so one that would be held in memory begins again.
        let is_usable = |unfinished: &Unfinished| unfinished.offset >= directory.spec.held_max;
        let unfinished = directory.unfinished(id).filter(is_usable);
        let state = State::Nothing;
        Box::new(FileSlot { files: self.clone(), id, unfinished, state, buffer: Vec::new(), saved: None })
    }

    fn send(&self, id: u64, step: Step) {
        match &self.inner.way {
            Way::Here(desk) => desk.lock().unwrap_or_else(PoisonError::into_inner).take(id, step),
            Way::Thread(thread) => thread.send(id, step),
        }
    }
}

impl DeskThread {
    fn send(&self, id: u64, step: Step) {
        if let Step::Write(bytes) = &step {
            self.backlog.bytes.fetch_add(bytes.len(), Ordering::AcqRel);
        }
        // The thread ends after the last sender, so it takes every step.
        let _ = self.sender().send((id, step));
    }

    fn sender(&self) -> &Sender<(u64, Step)> {
        self.sender.get_or_init(|| {
            let (sender, steps) = unbounded();
            let desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner).take();
            let backlog = Arc::clone(&self.backlog);
            if let Some(desk) = desk {
                let shortages = desk.shortages().clone();
                let started = thread::Builder::new()
                    .name("files".to_owned())
                    .spawn(move || do_steps(desk, &steps, &backlog));
                if let Err(error) = started {
                    shortages.give_up(format!("cannot start a thread that writes files: {error}"));
                }
            }
            sender
        })
    }
}

fn do_steps(mut desk: Desk, steps: &Receiver<(u64, Step)>, backlog: &Backlog) {
    for (id, step) in steps {
        let bytes = if let Step::Write(bytes) = &step { bytes.len() } else { 0 };
        desk.take(id, step);
        let before = backlog.bytes.fetch_sub(bytes, Ordering::AcqRel);
        if before >= WAITING_BYTES_MAX && before - bytes < WAITING_BYTES_MAX {
            backlog.less.notify_waiters();
        }
    }
}

/// The file of one target.
pub(crate) struct FileSlot {
    files: Files,
    id: u64,
    /// What an earlier attempt has left, as long as it is of use.
    unfinished: Option<Unfinished>,
    state: State,
    /// Bytes that are not worth a step yet.
    buffer: Vec<u8>,
    saved: Option<Saved>,
}

impl fmt::Debug for FileSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSlot").field("id", &self.id).field("state", &self.state).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No body has begun.
    Nothing,
    /// A body has begun.
    Open,
}

impl FileSlot {
    /// Adds the headers that ask for the rest of an unfinished file, if it is one of `url`.
    pub(in crate::stage) fn ask_for_rest(&self, url: &str, headers: &mut HeaderMap) {
        let Some(unfinished) = self.unfinished.as_ref().filter(|unfinished| unfinished.notes.url == url)
        else {
            return;
        };
        let range = HeaderValue::from_str(&format!("bytes={}-", unfinished.offset));
        if let (Ok(range), Ok(validator)) = (range, HeaderValue::from_str(&unfinished.notes.validator)) {
            headers.insert(RANGE, range);
            headers.insert(IF_RANGE, validator);
        }
    }

    /// Whether a response is of no use, because only the rest of a file was asked for, and this is not it. From now on
    /// the whole is asked for.
    pub(in crate::stage) fn refuses(&mut self, head: &Parts) -> bool {
        let is_useless = self.unfinished.as_ref().is_some_and(|unfinished| match head.status {
            StatusCode::PARTIAL_CONTENT => !unfinished.is_continued_by(&head.headers),
            StatusCode::RANGE_NOT_SATISFIABLE => true,
            _ => false,
        });
        if is_useless {
            self.unfinished = None;
        }
        is_useless
    }

    /// Begins the body of a response from `url`. Returns how much of it is there already.
    pub(in crate::stage) fn begin(&mut self, url: &str, head: &Parts) -> u64 {
        self.discard();
        self.state = State::Open;
        let unfinished = self.unfinished.take();
        if let Some(unfinished) = unfinished.filter(|_| head.status == StatusCode::PARTIAL_CONTENT) {
            let offset = unfinished.offset;
            self.files.send(self.id, Step::Continue(unfinished));
            return offset;
        }
        self.files.send(self.id, Step::Begin(self.notes(url, head)));
        0
    }

    /// What makes it possible to continue this body, if it is worth it.
    fn notes(&self, url: &str, head: &Parts) -> Option<Notes> {
        let headers = &head.headers;
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        // The parts of an encoded body cannot be decoded by themselves.
        if head.status != StatusCode::OK
            || headers.contains_key(CONTENT_ENCODING)
            || length.is_some_and(|length| length < CONTINUED_BYTES_MIN)
        {
            return None;
        }
        let boot = self.files.inner.directory.spec.boot.clone();
        Some(Notes { url: url.to_owned(), validator: validator(headers)?, total: length, boot })
    }

    /// Takes in the next bytes of the body.
    pub(in crate::stage) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.buffer.is_empty() {
            self.files.send(self.id, Step::Write(mem::take(&mut self.buffer)));
        }
    }

    /// Whether so much waits for the disk that no more should be read.
    pub(in crate::stage) fn is_ahead(&self) -> bool {
        match &self.files.inner.way {
            Way::Here(_) => false,
            Way::Thread(thread) => thread.backlog.bytes.load(Ordering::Acquire) >= WAITING_BYTES_MAX,
        }
    }

    /// Waits until less waits for the disk.
    pub(in crate::stage) async fn caught_up(&self) {
        let Way::Thread(thread) = &self.files.inner.way else { return };
        loop {
            let less = thread.backlog.less.notified();
            if !self.is_ahead() {
                return;
            }
            less.await;
        }
    }

    /// Drops what has come of a body.
    pub(in crate::stage) fn discard(&mut self) {
        self.buffer.clear();
        if mem::replace(&mut self.state, State::Nothing) == State::Open {
            self.files.send(self.id, Step::Discard);
        }
    }

    /// Drops what has come of a body, and waits until nothing is left of it.
    pub(in crate::stage) async fn give_up(&mut self) {
        if self.state == State::Open {
            self.discard();
            self.state = State::Open;
            self.break_off().await;
        }
    }

    /// Ends the body of a target that has failed. What has come of it is kept if a later attempt can continue it.
    pub(in crate::stage) async fn break_off(&mut self) {
        if mem::replace(&mut self.state, State::Nothing) == State::Open {
            self.flush();
            let (done, is_done) = oneshot::channel();
            self.files.send(self.id, Step::BreakOff(done));
            let _ = is_done.await;
        }
    }

    /// Ends the complete body of the input `url`, and gives the file its name.
    pub(in crate::stage) async fn finish(&mut self, url: Url, declared: Option<String>) {
        if mem::replace(&mut self.state, State::Nothing) == State::Open {
            self.flush();
            let (done, is_done) = oneshot::channel();
            self.files.send(self.id, Step::Finish(Naming { url, declared }, done));
            self.saved = is_done.await.ok().flatten();
        }
    }

    /// The file, once it is complete.
    pub(in crate::stage) const fn saved(&self) -> Option<&Saved> {
        self.saved.as_ref()
    }
}
