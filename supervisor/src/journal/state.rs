//! The progress of a job, as stored in its journal.

use super::fingerprint::Fingerprint;
use super::finished::Finished;
use super::identity::Fact;
use super::prefix::Prefix;
use super::tally::Tally;

/// The progress of a job.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// Targets whose records are in the output.
    pub finished: Finished,
    /// The counts of those records.
    pub tally: Tally,
    /// The targets that had been read.
    pub prefix: Prefix,
    /// The length of the output with exactly those records.
    pub output_bytes: u64,
    /// What was learned about hosts; empty if nothing.
    pub hosts: String,
}

/// The content of a journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The flags of the job.
    pub flags: Vec<Fact>,
    /// The inputs of the job.
    pub inputs: Vec<Fingerprint>,
    /// The progress of the job.
    pub state: State,
    /// Whether the job is complete and only the journal was left to remove.
    pub complete: bool,
}
