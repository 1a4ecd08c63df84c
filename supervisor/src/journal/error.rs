//! Why a run cannot be recorded or resumed.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::aggregate::AggregateError;
use crate::sink::SinkError;

/// Why a run cannot be recorded or resumed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// There is an unfinished run's output, and nobody said what to do with it.
    #[error(
        "{} is the output of a run that was not finished: --resume does the rest, --overwrite starts anew",
        output.display()
    )]
    Unfinished {
        /// The output.
        output: PathBuf,
    },
    /// There is an output of which the journal, which is empty, says nothing.
    #[error(
        "cannot resume {}: its journal {} is empty, so nothing says that these records are this job's; move either \
         out of the way, or start anew with --overwrite", output.display(), journal.display()
    )]
    Empty {
        /// The output.
        output: PathBuf,
        /// The journal.
        journal: PathBuf,
    },
    /// Another supervisor is at it.
    #[error("another supervisor is writing to {} now: it has locked {}", output(path).display(), path.display())]
    Locked {
        /// The journal.
        path: PathBuf,
    },
    /// There is a file of that name that is no journal.
    #[error("{} is not the journal of a run; move it out of the way", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It was written by another version.
    #[error(
        "{} was written by another version of this program (schema {schema}, this one knows {known}); \
         resume with that one, or delete the file to start anew with --overwrite", path.display()
    )]
    OtherSchema {
        /// The journal.
        path: PathBuf,
        /// Its schema.
        schema: i32,
        /// Ours.
        known: i32,
    },
    /// What is in it cannot be.
    #[error("{} is damaged: {why}; delete it to start anew with --overwrite", path.display())]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// In which way.
        why: String,
    },
    /// It cannot be opened or created.
    #[error("cannot open {}: {cause}", path.display())]
    Open {
        /// The journal.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// It cannot be written.
    #[error("cannot write to {}: {cause}", path.display())]
    Write {
        /// The journal.
        path: PathBuf,
        /// What the system said.
        cause: String,
        /// Whether that is for want of space.
        full: bool,
    },
    /// The output could not be brought to the disk.
    #[error("cannot bring {} to the disk: {cause}", path.display())]
    Sync {
        /// The output.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// An input cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Input {
        /// The input.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The job or its inputs are not the same any more.
    #[error(
        "cannot resume {}, for this is another job than the one it was begun with:{}\n\
         undo that, or start anew with --overwrite", output.display(), list(changes)
    )]
    JobChanged {
        /// The output.
        output: PathBuf,
        /// What changed, one sentence each.
        changes: Vec<String>,
    },
    /// The thread that writes the journal ended.
    #[error("the thread that writes the journal panicked")]
    Panicked,
}

fn list(changes: &[String]) -> String {
    changes.iter().map(|change| format!("\n  {change}")).collect()
}

/// The output beside which `journal` lies.
fn output(journal: &Path) -> PathBuf {
    journal.with_extension("")
}

impl JournalError {
    /// What SQLite's error means for the user.
    pub(super) fn from_sqlite(path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked { path },
            Some(ErrorCode::NotADatabase) => Self::Foreign { path },
            Some(ErrorCode::DiskFull) => {
                Self::Write { path, cause: "the disk is full".to_owned(), full: true }
            }
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
                Self::Open { path, cause: error.to_string() }
            }
            Some(ErrorCode::SystemIoFailure) => Self::Write { path, cause: error.to_string(), full: false },
            // No such table, a text where a number belongs: it is ours by its header, and not by its content.
            _ => Self::Damaged { path, why: error.to_string() },
        }
    }
}

/// Why records cannot be written, or not be kept account of.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The output.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The journal beside it.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The groups cannot be merged.
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
}

impl OutputError {
    /// Whether the same may succeed later, although nothing about the job has changed: there is room on
    /// the disk again, or a descriptor; whoever was still writing is through.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Sink(error) => match error {
                SinkError::Full { .. }
                | SinkError::Write { .. }
                | SinkError::Open { .. }
                | SinkError::Object(_) => true,
                SinkError::Exists { .. }
                | SinkError::Directory { .. }
                | SinkError::NoDirectory { .. }
                | SinkError::Changed { .. }
                | SinkError::Closed { .. } => false,
            },
            Self::Journal(error) => match error {
                JournalError::Locked { .. }
                | JournalError::Open { .. }
                | JournalError::Write { .. }
                | JournalError::Sync { .. } => true,
                JournalError::Unfinished { .. }
                | JournalError::Empty { .. }
                | JournalError::Foreign { .. }
                | JournalError::OtherSchema { .. }
                | JournalError::Damaged { .. }
                | JournalError::Input { .. }
                | JournalError::JobChanged { .. }
                | JournalError::Panicked => false,
            },
            Self::Aggregate(_) => false,
        }
    }
}
