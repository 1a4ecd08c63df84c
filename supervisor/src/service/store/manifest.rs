//! The files in a job's directory that describe the job, so that it can be recovered if its row is lost.
//!
//! `job.json` is the submission. It is on disk before the submission is answered, and never changes.
//! `state.json` is a copy of the row. It is not synced, because the row is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::request::Idempotency;
use super::{JobRow, NewJob};
use crate::view::{JobCounts, JobId, JobState};

/// The submission.
const JOB: &str = "job.json";

/// The copy of the row.
const STATE: &str = "state.json";

/// A submitted job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct JobFile {
    pub(super) id: JobId,
    pub(super) name: Option<String>,
    pub(super) command: String,
    pub(super) priority: i32,
    pub(super) submitted_at: String,
    pub(super) retry_of: Option<JobId>,
    pub(super) sender: String,
    pub(super) idempotency: Option<Idempotency>,
    pub(super) document: Map<String, Value>,
    pub(super) uploads: Vec<PathBuf>,
}

impl JobFile {
    pub(super) fn of(id: JobId, new: &NewJob<'_>) -> Self {
        Self {
            id,
            name: new.name.map(str::to_owned),
            command: new.command.to_owned(),
            priority: new.priority,
            submitted_at: new.submitted_at.to_owned(),
            retry_of: new.retry_of,
            sender: new.sender.to_owned(),
            idempotency: new.idempotency.cloned(),
            document: new.document.clone(),
            uploads: new.uploads.to_vec(),
        }
    }

    /// Returns the initial row of this job.
    pub(super) fn queued(&self) -> JobRow {
        JobRow {
            id: self.id,
            name: self.name.clone(),
            command: self.command.clone(),
            priority: self.priority,
            state: JobState::Queued,
            submitted_at: self.submitted_at.clone(),
            started_at: None,
            finished_at: None,
            counts: JobCounts::default(),
            errors: std::collections::BTreeMap::new(),
            summary: None,
            exit_code: None,
            error: None,
            retry_of: self.retry_of,
            committed: 0,
            bytes: 0,
        }
    }
}

/// Writes and syncs `job.json`.
pub(super) fn write_job(directory: &Path, job: &JobFile) -> io::Result<()> {
    replace(directory, JOB, &serde_json::to_vec(job)?, true)?;
    File::open(directory)?.sync_all()
}

/// Writes both files for a job whose row is on disk.
pub(super) fn write_both(directory: &Path, job: &JobFile, state: &JobRow) -> io::Result<()> {
    replace(directory, JOB, &serde_json::to_vec(job)?, false)?;
    write_state(directory, state)
}

/// Writes `state.json`.
pub(super) fn write_state(directory: &Path, state: &JobRow) -> io::Result<()> {
    replace(directory, STATE, &serde_json::to_vec(state)?, false)
}

/// Reads `job.json`, if possible.
pub(super) fn read_job(directory: &Path) -> Option<JobFile> {
    serde_json::from_slice(&fs::read(directory.join(JOB)).ok()?).ok()
}

/// Whether `job.json` exists.
pub(super) fn has_job(directory: &Path) -> bool {
    directory.join(JOB).exists()
}

/// Reads `state.json`, if possible.
pub(super) fn read_state(directory: &Path) -> Option<JobRow> {
    serde_json::from_slice(&fs::read(directory.join(STATE)).ok()?).ok()
}

/// Replaces a file atomically: after a crash it has its old or its new content.
fn replace(directory: &Path, name: &str, contents: &[u8], sync: bool) -> io::Result<()> {
    let new = directory.join(format!("{name}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(contents)?;
    if sync {
        file.sync_all()?;
    }
    fs::rename(new, directory.join(name))
}
