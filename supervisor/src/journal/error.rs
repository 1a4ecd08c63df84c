//! Errors of recording and resuming a run.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::aggregate::AggregateError;
use crate::shortage;
use crate::sink::SinkError;

/// Why a run cannot be recorded or resumed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The output of an unfinished run exists, without `--resume` or `--overwrite`.
    #[error(
        "{} is the output of an unfinished run; continue it with --resume, or start over with --overwrite",
        output.display()
    )]
    Unfinished {
        /// The output.
        output: PathBuf,
    },
    /// The output exists, but its journal is empty.
    #[error(
                "cannot resume {}: its journal {} is empty, so it does not show that the records belong to this job; move \
                 one of the files away, or start over with --overwrite", output.display(), journal.display()
    )]
    Empty {
        /// The output.
        output: PathBuf,
        /// The journal.
        journal: PathBuf,
    },
    /// Another supervisor uses the journal.
    #[error("another supervisor is writing to {}; it has locked {}", output(path).display(), path.display())]
    Locked {
        /// The journal.
        path: PathBuf,
    },
    /// The file is not a journal.
    #[error("{} is not the journal of a run; move it away", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Files that a run would create exist, and there is no journal of a run that they could belong to.
    #[error(
        "a run would replace {}, but there is no journal of a run that left this; move it away, delete it{}, or \
         name another output",
        listed(paths),
        if *are_kept { "" } else { " with --overwrite" }
    )]
    Strays {
        /// The files.
        paths: Vec<PathBuf>,
        /// Whether `--overwrite` does not remove them: they are no files, or another user's.
        are_kept: bool,
    },
    /// A file of the journal is a link.
    #[error("{} is a symbolic link, which a run neither follows nor replaces; move it away", path.display())]
    Link {
        /// The file.
        path: PathBuf,
    },
    /// Another version wrote the journal.
    #[error(
                "another version of this program wrote {} (schema {schema}; this version supports {known}); \
                 resume with that version, or delete the file and start over with --overwrite", path.display()
    )]
    OtherSchema {
        /// The journal.
        path: PathBuf,
        /// The schema of the journal.
        schema: i32,
        /// The schema of this version.
        known: i32,
    },
    /// The content of the journal is inconsistent.
    #[error("{} is damaged: {why}; delete it and start over with --overwrite", path.display())]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The journal cannot be opened or created.
    #[error("cannot open {}: {cause}", path.display())]
    Open {
        /// The journal.
        path: PathBuf,
        /// The system's error, or that of SQLite.
        cause: io::Error,
    },
    /// The journal cannot be written.
    #[error("cannot write to {}: {cause}", path.display())]
    Write {
        /// The journal.
        path: PathBuf,
        /// The system's error.
        cause: String,
        /// Whether the disk is full.
        full: bool,
    },
    /// The output could not be synced to disk.
    #[error("cannot sync {} to disk: {cause}", path.display())]
    Sync {
        /// The output.
        path: PathBuf,
        /// The system's error.
        cause: io::Error,
    },
    /// An input cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Input {
        /// The input.
        path: PathBuf,
        /// The system's error.
        cause: io::Error,
    },
    /// The job or its inputs have changed.
    #[error(
                "cannot resume {}, because this job differs from the one that started it:{}\n\
                 undo the changes, or start over with --overwrite", output.display(), list(changes)
    )]
    JobChanged {
        /// The output.
        output: PathBuf,
        /// The changes, one sentence each.
        changes: Vec<String>,
    },
    /// The thread that writes the journal panicked.
    #[error("internal error, please report it: the thread that writes the journal panicked")]
    Panicked,
}

fn list(changes: &[String]) -> String {
    changes.iter().map(|change| format!("\n  {change}")).collect()
}

/// Lists files.
fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Returns the output that `journal` belongs to.
fn output(journal: &Path) -> PathBuf {
    journal.with_extension("")
}

impl JournalError {
    /// Converts an error of SQLite.
    pub(super) fn from_sqlite(path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked { path },
            Some(ErrorCode::NotADatabase) => Self::Foreign { path },
            Some(ErrorCode::DiskFull) => {
                Self::Write { path, cause: "the disk is full".to_owned(), full: true }
            }
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
                // SQLite does not say that there are no descriptors.
                let cause = shortage::now().unwrap_or_else(|| io::Error::other(error));
                Self::Open { path, cause }
            }
            Some(ErrorCode::SystemIoFailure) => Self::Write { path, cause: error.to_string(), full: false },
            // For example, a missing table or a value of the wrong type: the header is ours, the content is
            // not.
            _ => Self::Damaged { path, why: error.to_string() },
        }
    }
}

/// Why records cannot be written or recorded.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The output failed.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The groups of a `csv` job cannot be merged.
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
}

impl JournalError {
    /// Returns the system's error, if there is one.
    const fn system_error(&self) -> Option<&io::Error> {
        match self {
            Self::Open { cause, .. } | Self::Sync { cause, .. } | Self::Input { cause, .. } => Some(cause),
            Self::Unfinished { .. }
            | Self::Empty { .. }
            | Self::Locked { .. }
            | Self::Foreign { .. }
            | Self::Strays { .. }
            | Self::Link { .. }
            | Self::OtherSchema { .. }
            | Self::Damaged { .. }
            | Self::Write { .. }
            | Self::JobChanged { .. }
            | Self::Panicked => None,
        }
    }
}

impl OutputError {
    /// Returns the system's error, if there is one.
    pub(crate) const fn system_error(&self) -> Option<&io::Error> {
        match self {
            Self::Sink(SinkError::Open { cause, .. } | SinkError::Write { cause, .. }) => Some(cause),
            Self::Journal(error) => error.system_error(),
            Self::Sink(_) | Self::Aggregate(_) => None,
        }
    }

    /// Whether a later attempt may succeed with the same job, because the cause is temporary: a full
    /// disk, a lack of descriptors, or another writer.
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
                | JournalError::Strays { .. }
                | JournalError::Link { .. }
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
