//! How far a job has come, as its journal says.

use super::fingerprint::Known;
use super::finished::Finished;
use super::identity::Fact;
use super::prefix::Prefix;
use super::tally::Tally;

/// How far a job has come.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// Targets whose records are in the output.
    pub finished: Finished,
    /// Counts of those records.
    pub tally: Tally,
    /// Targets that had been read.
    pub prefix: Prefix,
    /// Length of the output with exactly those records.
    pub output_bytes: u64,
}

/// What is kept of a job that was begun.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// What it was to do.
    pub flags: Vec<Fact>,
    /// With which inputs.
    pub inputs: Vec<Known>,
    /// How far it came.
    pub state: State,
    /// Whether nothing was left to do but to take the journal away.
    pub complete: bool,
}
