//! The result of a job, before it is turned into an exit code and messages, or into the state of a job.

use crate::journal::Complete;
use crate::progress::{Snapshot, Total};
use crate::runtime::Ended;
use crate::summary::ModeRun;

/// The result of a job.
#[derive(Debug)]
pub(crate) enum JobReport {
    /// The job ran.
    Ran(Box<Report>),
    /// Nothing was left to do: the output was complete before.
    Complete(Box<Complete>),
}

/// The result of a job that ran.
#[derive(Debug)]
pub(crate) struct Report {
    /// How its last run ended.
    pub(crate) ended: Ended,
    /// Whether the reader of standard output went away.
    pub(crate) reader_left: bool,
    /// What is in the output.
    pub(crate) kept: Kept,
    /// Numbers for the summary, the comparison and the HTML report.
    pub(crate) run: ModeRun,
}

impl Report {
    /// The last numbers that progress shows.
    pub(super) fn snapshot(&self) -> Snapshot {
        let summary = &self.run.summary;
        let total = match self.kept {
            Kept::Records(_) => Total::Exact(summary.items),
            Kept::Table | Kept::Nothing { .. } => Total::Bytes(summary.bytes),
        };
        Snapshot {
            done: summary.items,
            failed: summary.failed,
            refused: summary.refused,
            load: None,
            proxies_failing: 0,
            bytes: summary.bytes,
            in_flight: 0,
            total,
        }
    }
}

/// What a job that ran has left in its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// A record for each input that is done; and how to continue, if something is left to do and a journal
    /// says what.
    Records(Option<Resume>),
    /// The table.
    Table,
    /// Nothing, because a table must cover all inputs.
    Nothing {
        /// Bad rows, if they are the reason: `--strict` refuses them.
        bad_rows: Option<u64>,
    },
}

/// How a run that was stopped can continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// With the same command and `--resume`.
    Alone,
    /// The same, with the same standard input again, because it was not read to its end.
    WithStdin,
}
