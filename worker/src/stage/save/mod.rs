//! Keeps bodies as files: `--save`.
//!
//! ```text
//! exchange → FileSlot ─ pieces → Desk → DIR/.muster/JOB/ID.part → DIR/NAME
//! ```
//! A [`FileSlot`] is the file of one target; the exchange passes the decoded body to it. The [`Desk`] writes it: on
//! the calling thread if that blocks anyway, else on a thread of its own, so that the event loop waits for no write. Invariant: a file has its name only when it is complete, and before its record exists.

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
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, unbounded};
use http::header::{IF_RANGE, RANGE};
use http::response::Parts;
use http::{HeaderValue, Method, Request, StatusCode};
use shared::job::Executor;
use shared::save::SaveSpec;
use tokio::sync::{Notify, oneshot};
use url::Url;

use self::desk::{Desk, Finished, Naming, Step};
use self::directory::Directory;
use self::unfinished::{Notes, Unfinished, is_encoded, validator};
use crate::shortage::Shortages;
use crate::stage::content_length::content_length;

/// Bytes of a body that are written at once.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

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
    shortages: Shortages,
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
        let has_threads = executor == Executor::EventLoop;
        let desk = Desk::new(Arc::clone(&directory), shortages.clone(), has_threads);
        let way = match executor {
            Executor::Blocking => Way::Here(Mutex::new(desk)),
            Executor::EventLoop => Way::Thread(DeskThread {
                sender: OnceLock::new(),
                desk: Mutex::new(Some(desk)),
                backlog: Arc::default(),
            }),
        };
        Ok(Self { inner: Arc::new(Inner { directory, shortages: shortages.clone(), way }) })
    }

    /// The file of a target.
    pub(crate) fn slot(&self, id: u64) -> Box<FileSlot> {
        let directory = &self.inner.directory;
        // A page is extracted as a whole, so one that would be held in memory begins again.
        let is_usable = |unfinished: &Unfinished| unfinished.offset >= directory.spec.held_max;
        let unfinished = directory.unfinished(id).filter(is_usable);
        Box::new(FileSlot {
            files: self.clone(),
            id,
            unfinished,
            is_plain: true,
            asked: false,
            is_open: false,
            is_too_large: Arc::default(),
            bytes: 0,
            saved: None,
        })
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
    /// What an earlier attempt has left, as long as it can be continued.
    unfinished: Option<Unfinished>,
    /// Whether the request under way is a GET without a body.
    is_plain: bool,
    /// Whether the request under way asks only for the rest of it.
    asked: bool,
    /// Whether a body has begun.
    is_open: bool,
    /// Set when the body has become larger than the system allows.
    is_too_large: Arc<AtomicBool>,
    /// Size of the body so far.
    bytes: u64,
    saved: Option<Saved>,
}

impl fmt::Debug for FileSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSlot")
            .field("id", &self.id)
            .field("is_open", &self.is_open)
            .finish_non_exhaustive()
    }
}

/// The rest of an unfinished file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::stage) struct Rest {
    /// How much is there already.
    pub(in crate::stage) offset: u64,
    /// How much is missing.
    pub(in crate::stage) bytes: u64,
}

/// The system allows no file of this size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the file is larger than the file system or the limit of the process (ulimit -f) allows")]
pub(in crate::stage) struct FileTooLarge;

impl FileSlot {
    /// Adds the headers that ask for the rest of an unfinished file, if it is one of `url`. Only what a plain GET gets
    /// has a rest.
    pub(in crate::stage) fn ask_for_rest(&mut self, url: &Url, request: &mut Request<Bytes>) {
        self.asked = false;
        self.is_plain = request.method() == Method::GET && request.body().is_empty();
        if !self.is_plain {
            return;
        }
        let Some(unfinished) = self.unfinished.as_ref().filter(|unfinished| unfinished.is_of(url)) else {
            return;
        };
        let range = HeaderValue::from_str(&format!("bytes={}-", unfinished.offset));
        if let (Ok(range), Ok(validator)) = (range, HeaderValue::from_str(&unfinished.notes.validator)) {
            request.headers_mut().insert(RANGE, range);
            request.headers_mut().insert(IF_RANGE, validator);
            self.asked = true;
        }
    }

    /// Whether a response is of no use, because only the rest of a file was asked for, and this is not it. From now on
    /// the whole is asked for.
    pub(in crate::stage) fn refuses(&mut self, head: &Parts) -> bool {
        let is_rest = self.asked && head.status == StatusCode::PARTIAL_CONTENT;
        let is_useless = self.asked && head.status == StatusCode::RANGE_NOT_SATISFIABLE
            || is_rest && self.rest(head).is_none();
        if is_useless {
            (self.unfinished, self.asked) = (None, false);
        }
        is_useless
    }

    /// Which part of an unfinished file this response is the rest of, if it is.
    pub(in crate::stage) fn rest(&self, head: &Parts) -> Option<Rest> {
        let unfinished = self.unfinished.as_ref()?;
        let is_rest = self.asked && head.status == StatusCode::PARTIAL_CONTENT;
        let total = unfinished.total_of_rest(&head.headers).filter(|_| is_rest)?;
        Some(Rest { offset: unfinished.offset, bytes: total - unfinished.offset })
    }

    /// Begins the body of a response from `url`.
    pub(in crate::stage) fn begin(&mut self, url: &Url, head: &Parts) {
        self.discard();
        self.is_open = true;
        self.is_too_large = Arc::default();
        let rest = self.rest(head);
        self.bytes = rest.map_or(0, |rest| rest.offset);
        let step = match self.unfinished.take().filter(|_| rest.is_some()) {
            Some(unfinished) => Step::Continue(unfinished, Arc::clone(&self.is_too_large)),
            None => Step::Begin(self.notes(url, head), Arc::clone(&self.is_too_large)),
        };
        self.files.send(self.id, step);
    }

    /// What makes it possible to continue this body, if it is worth it.
    fn notes(&self, url: &Url, head: &Parts) -> Option<Notes> {
        let headers = &head.headers;
        let total = content_length(headers);
        // The parts of an encoded body cannot be decoded by themselves.
        if !self.is_plain
            || head.status != StatusCode::OK
            || is_encoded(headers)
            || total.is_some_and(|total| total < CONTINUED_BYTES_MIN)
        {
            return None;
        }
        let boot = self.files.inner.directory.spec.boot.clone();
        Some(Notes { url: url.clone(), validator: validator(headers)?, total, boot })
    }

    /// Takes in the next bytes of the body.
    pub(in crate::stage) fn push(&mut self, bytes: Vec<u8>) {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if !bytes.is_empty() {
            self.files.send(self.id, Step::Write(bytes));
        }
    }

    /// Whether nothing can be saved any more.
    pub(in crate::stage) fn is_lost(&self) -> bool {
        self.files.inner.shortages.hopeless().is_some()
    }

    /// Whether the system allows no file of this size, so that the rest is not needed.
    pub(in crate::stage) fn too_large(&self) -> Option<FileTooLarge> {
        self.is_too_large.load(Ordering::Acquire).then_some(FileTooLarge)
    }

    /// Whether the whole page is also held in memory, to be read.
    pub(in crate::stage) fn is_held(&self) -> bool {
        let held_max = self.files.inner.directory.spec.held_max;
        held_max > 0 && self.bytes <= held_max
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
    fn discard(&mut self) {
        if mem::take(&mut self.is_open) {
            self.files.send(self.id, Step::Discard(None));
        }
    }

    /// Drops what has come of a body, and waits until nothing is left of it.
    pub(in crate::stage) async fn give_up(&mut self) {
        if mem::take(&mut self.is_open) {
            let (done, is_done) = oneshot::channel();
            self.files.send(self.id, Step::Discard(Some(done)));
            let _ = is_done.await;
        }
    }

    /// Ends the body of a target that has failed. What has come of it is kept if a later attempt can continue it.
    pub(in crate::stage) async fn break_off(&mut self) {
        if mem::take(&mut self.is_open) {
            let (done, is_done) = oneshot::channel();
            self.files.send(self.id, Step::BreakOff(done));
            let _ = is_done.await;
        }
    }

    /// Ends the complete body of the input `url`, and gives the file its name.
    pub(in crate::stage) async fn finish(
        &mut self,
        url: Url,
        declared: Option<String>,
    ) -> Result<(), FileTooLarge> {
        if mem::take(&mut self.is_open) {
            let (done, is_done) = oneshot::channel();
            self.files.send(self.id, Step::Finish(Naming { url, declared }, done));
            match is_done.await {
                Ok(Finished::Saved(saved)) => self.saved = Some(saved),
                Ok(Finished::TooLarge) => return Err(FileTooLarge),
                // The worker is at its end.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// The file, once it is complete.
    pub(in crate::stage) const fn saved(&self) -> Option<&Saved> {
        self.saved.as_ref()
    }
}
