//! The disk threads. They do slow disk work for the state loop: they check submitted jobs and sync their
//! uploads, collect failed inputs from records, and remove directories.
//!
//! There are two. What a stranger hands in may take long to check, so users of this machine do not wait for it.

mod failed;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Component, Path, PathBuf};
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};
use serde_json::{Map, Value};

use super::event::{Event, Prepared, Reply};
use super::request::{Refused, Submission, Upload};
use super::store::{self, JobInput, RECORDS};
use crate::cli;
use crate::config::Allowed;
use crate::journal;
use crate::view::JobId;

pub(super) use self::failed::Retry;

/// Longest name of a job, in bytes, because names are shown in tables.
const NAME_BYTES_MAX: usize = 200;

/// Highest priority of a job, and lowest with a minus.
const PRIORITY_MAX: i64 = 100;

/// A handle to the disk threads.
#[derive(Debug)]
pub(super) struct DiskThread {
    errands: Sender<DiskTask>,
    /// Tasks that others can make long.
    strange_errands: Sender<DiskTask>,
}

#[derive(Debug)]
enum DiskTask {
    Prepare(Box<Submission>, Reply),
    Retry(Box<Retry>, Reply),
    Remove(PathBuf),
    Release(JobId, PathBuf),
    Allow(Allowed),
}

impl DiskThread {
    /// Starts the threads. They answer with [`Event::Prepared`].
    pub(super) fn start(allowed: Allowed, incoming: PathBuf, events: Sender<Event>) -> io::Result<Self> {
        let start = |name: &str| {
            let (errands, queue) = unbounded();
            let (allowed, incoming, events) = (allowed.clone(), incoming.clone(), events.clone());
            let mut disk_loop = DiskLoop { allowed, incoming, events };
            thread::Builder::new().name(name.to_owned()).spawn(move || disk_loop.work(&queue))?;
            io::Result::Ok(errands)
        };
        Ok(Self { errands: start("disk")?, strange_errands: start("disk-strangers")? })
    }

    /// Checks a job and syncs its files to disk.
    pub(super) fn prepare(&self, submission: Box<Submission>, reply: Reply) {
        let errands = if submission.is_local { &self.errands } else { &self.strange_errands };
        let _ = errands.send(DiskTask::Prepare(submission, reply));
    }

    /// Makes a new job from failed inputs. This may read the lists of strangers again.
    pub(super) fn retry(&self, retry: Retry, reply: Reply) {
        let _ = self.strange_errands.send(DiskTask::Retry(Box::new(retry), reply));
    }

    /// Sets what later jobs are allowed to do.
    pub(super) fn allow(&self, allowed: Allowed) {
        let _ = self.errands.send(DiskTask::Allow(allowed.clone()));
        let _ = self.strange_errands.send(DiskTask::Allow(allowed));
    }

    /// Appends the held records of a job that is not resumed to its output. Always answers with [`Event::Released`].
    pub(super) fn release(&self, id: JobId, records: PathBuf) {
        let _ = self.errands.send(DiskTask::Release(id, records));
    }

    /// Removes a directory.
    pub(super) fn remove(&self, directory: PathBuf) {
        let _ = self.errands.send(DiskTask::Remove(directory));
    }
}

/// Returns the directory of a submission's uploads.
pub(super) fn directory(uploads: &[Upload]) -> Option<PathBuf> {
    uploads.first().and_then(|upload| upload.path.parent()).map(Path::to_owned)
}

struct DiskLoop {
    allowed: Allowed,
    incoming: PathBuf,
    events: Sender<Event>,
}

impl DiskLoop {
    fn work(&mut self, tasks: &Receiver<DiskTask>) {
        for task in tasks {
            let (prepared, reply) = match task {
                DiskTask::Prepare(submission, reply) => (guarded(|| self.prepare(*submission, None)), reply),
                DiskTask::Retry(retry, reply) => (guarded(|| self.retry(&retry)), reply),
                DiskTask::Remove(directory) => {
                    if let Err(error) = store::remove(&directory) {
                        tracing::warn!(%error, "cannot remove a directory; the next start removes it");
                    }
                    continue;
                }
                DiskTask::Release(id, records) => {
                    let release =
                        || journal::release(&records).map_err(|error| Refused::Storage(error.to_string()));
                    drop(self.events.send(Event::Released(id, guarded(release))));
                    continue;
                }
                DiskTask::Allow(allowed) => {
                    self.allowed = allowed;
                    continue;
                }
            };
            if self.events.send(Event::Prepared(prepared.map(Box::new), reply)).is_err() {
                return;
            }
        }
    }

    fn prepare(&self, submission: Submission, retry_of: Option<JobId>) -> Result<Prepared, Refused> {
        let incoming = directory(&submission.uploads);
        let prepared = self.checked(submission, incoming.clone(), retry_of);
        if let (Err(_), Some(incoming)) = (&prepared, incoming) {
            // If this fails, the next start removes it.
            let _ = store::remove(&incoming);
        }
        prepared
    }

    fn checked(
        &self,
        submission: Submission,
        incoming: Option<PathBuf>,
        retry_of: Option<JobId>,
    ) -> Result<Prepared, Refused> {
        let Submission { document, uploads, idempotency, sender, is_local: _ } = submission;
        let name = name(&document)?;
        let priority = priority(&document)?;
        let command = cli::command(&document).map_err(Refused::Invalid)?;
        let placed = match &incoming {
            Some(incoming) => place(incoming, &uploads)?,
            None => Vec::new(),
        };
        let place = incoming.as_deref().unwrap_or(&self.incoming);
        let paths: Vec<PathBuf> = placed.iter().map(|path| place.join(path)).collect();
        // Messages must not show paths of the service.
        let here = format!("{}/", place.display());
        cli::check(&document, &paths, &place.join(RECORDS), &self.allowed).map_err(|no_job| {
            let why = no_job.why.replace(&here, "");
            if no_job.lacks_descriptors { Refused::Storage(why) } else { Refused::Invalid(why) }
        })?;
        Ok(Prepared {
            document,
            command,
            name,
            priority,
            incoming,
            uploads: placed,
            idempotency,
            retry_of,
            sender,
        })
    }

    fn retry(&self, retry: &Retry) -> Result<Prepared, Refused> {
        let incoming = self.incoming.join(format!("retry-{}-{}", retry.of, shared::clock::monotonic_us()));
        let storage = |error: io::Error| Refused::Storage(error.to_string());
        DirBuilder::new().mode(0o700).create(&incoming).map_err(storage)?;
        let submission = failed::submission(retry, &incoming, &self.allowed);
        match submission {
            Ok(submission) => {
                if submission.uploads.is_empty() {
                    // All failed inputs are given by path, so there are no uploads.
                    let _ = store::remove(&incoming);
                }
                self.prepare(submission, Some(retry.of))
            }
            Err(why) => {
                let _ = store::remove(&incoming);
                Err(why)
            }
        }
    }
}

/// Catches panics, so that one job cannot stop a thread that all others need.
fn guarded<T>(work: impl FnOnce() -> Result<T, Refused>) -> Result<T, Refused> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Refused::Storage(
            "internal error, please report it: the check of the job or its files panicked".to_owned(),
        ))
    })
}

fn name(document: &Map<String, Value>) -> Result<Option<String>, Refused> {
    match document.get("name") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) if name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control) => {
            Ok(Some(name.clone()))
        }
        Some(_) => Err(Refused::Invalid(format!(
            "\"name\" must be one line of text, of at most {NAME_BYTES_MAX} bytes"
        ))),
    }
}

fn priority(document: &Map<String, Value>) -> Result<i32, Refused> {
    let Some(given) = document.get("priority") else { return Ok(0) };
    let number = given.as_i64().filter(|number| number.abs() <= PRIORITY_MAX);
    number.and_then(|number| i32::try_from(number).ok()).ok_or_else(|| {
        Refused::Invalid(format!(
            "\"priority\" must be a whole number from -{PRIORITY_MAX} to {PRIORITY_MAX}"
        ))
    })
}

/// Renames each upload to its sender's name, in a directory of its own, and syncs it to disk. Returns the
/// paths within `incoming`.
fn place(incoming: &Path, uploads: &[Upload]) -> Result<Vec<PathBuf>, Refused> {
    let storage = |error: io::Error| Refused::Storage(error.to_string());
    let mut placed = Vec::with_capacity(uploads.len());
    for (number, upload) in uploads.iter().enumerate() {
        let is_name = matches!(
            Path::new(&upload.name).components().collect::<Vec<_>>().as_slice(),
            [Component::Normal(only)] if only.to_str() == Some(upload.name.as_str())
        );
        if !is_name || upload.name.chars().any(char::is_control) {
            return Err(Refused::Invalid(format!("upload name {:?} is not a valid file name", upload.name)));
        }
        let own = incoming.join(format!("input-{number}"));
        DirBuilder::new().mode(0o700).create(&own).map_err(storage)?;
        let path = own.join(&upload.name);
        fs::rename(&upload.path, &path).map_err(storage)?;
        File::open(&path).and_then(|file| file.sync_all()).map_err(storage)?;
        File::open(&own).and_then(|directory| directory.sync_all()).map_err(storage)?;
        placed.push(Path::new(&format!("input-{number}")).join(&upload.name));
    }
    File::open(incoming).and_then(|directory| directory.sync_all()).map_err(storage)?;
    Ok(placed)
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;

    #[test]
    fn a_panic_is_an_answer() {
        let refused = guarded::<()>(|| panic!("a bug")).unwrap_err();
        assert!(matches!(refused, Refused::Storage(why) if why.contains("internal error")));
        assert_eq!(guarded(|| Ok(1)), Ok(1));
    }

    #[test]
    fn files_that_are_named_again_leave_no_directory_behind() {
        let directory = tempfile::tempdir().unwrap();
        let (incoming, page) = (directory.path().join("incoming"), directory.path().join("a.html"));
        let records = directory.path().join("1").join(RECORDS);
        fs::create_dir(&incoming).unwrap();
        fs::create_dir(directory.path().join("1")).unwrap();
        fs::write(&page, "<title>a</title>").unwrap();
        let record = serde_json::json!({"id": 0, "path": page, "error": {"kind": "parse", "message": "m"}});
        let record = format!("{record}\n");
        fs::write(&records, &record).unwrap();
        let document = serde_json::json!({"command": "parse", "paths": [page], "select": ["t=title"]});
        let document = document.as_object().unwrap().clone();
        let allowed = Allowed { paths: vec![directory.path().to_owned()], ..Allowed::default() };
        let (events, heard) = crossbeam_channel::unbounded();
        let disk = DiskThread::start(allowed, incoming.clone(), events).unwrap();
        let retry = Retry {
            of: JobId(1),
            command: "parse".to_owned(),
            input: JobInput { document: document.clone(), uploads: Vec::new() },
            records,
            committed: record.len() as u64,
            sender: "a test".to_owned(),
        };
        disk.retry(retry, Reply::Retried(bounded(1).0));
        let Event::Prepared(prepared, _) = heard.recv().unwrap() else { panic!("another event") };
        assert_eq!(prepared.unwrap().document, document);
        assert_eq!(fs::read_dir(&incoming).unwrap().count(), 0);
    }
}
