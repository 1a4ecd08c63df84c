//! The progress of a job, as stored in its journal.

use std::collections::BTreeMap;

use supervisor_core::pages::OpenList;

use super::fingerprint::Fingerprint;
use super::finished::Finished;
use super::identity::Fact;
use super::prefix::Prefix;
use super::tally::{Final, Tally};

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
    /// Records that wait for an earlier one, by their first id, and how they ended.
    pub held: BTreeMap<u64, Final>,
    /// What was learned about hosts; empty if nothing.
    pub hosts: String,
    /// Targets that may have been sent and have no record, if they must not be sent twice.
    pub uncertain: Finished,
    /// Bytes of the file of a crawl's pages that count; 0 if there is none.
    pub found_bytes: u64,
    /// Lists of pages whose next page is open.
    pub lists: Vec<OpenList>,
}

impl State {
    /// Returns the counts of all records, including those that are held.
    #[must_use]
    pub fn kept(&self) -> Tally {
        let mut tally = self.tally.clone();
        self.held.values().for_each(|ending| tally.add(*ending));
        tally
    }

    /// Returns the targets that need not be processed again.
    #[must_use]
    pub fn done(&self) -> Finished {
        let mut done = self.finished.clone();
        for (&first, ending) in &self.held {
            done.insert_range(first..first + ending.targets());
        }
        done
    }
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
