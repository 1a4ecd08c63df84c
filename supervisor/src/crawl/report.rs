//! What the summary says about a crawl.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use shared::crawl::Reason;
use supervisor_core::crawl::Levels;
use utoipa::ToSchema;

use crate::whole_file::{Readers, WriteError, replace};

/// What a crawl has found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CrawlSummary {
    /// Pages that are known: fetched, or still to fetch.
    pub known: u64,
    /// Known pages by depth: the first number is that of the pages that the user named.
    pub by_depth: Vec<u64>,
    /// Hosts of these pages.
    pub hosts: u64,
    /// Links that were not followed, by why.
    pub cut: BTreeMap<String, u64>,
    /// Traps among them, at most 256; absent if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traps: Vec<Trap>,
}

/// Addresses that are made up without end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Trap {
    /// Why no more of them are fetched: `shape` or `repeats`.
    #[schema(value_type = String)]
    pub reason: Reason,
    /// What is alike in them.
    pub shape: String,
    /// Links that were not followed.
    pub links: u64,
    /// One of them.
    pub example: String,
}

impl CrawlSummary {
    /// Lists the traps in a file, an object for each.
    ///
    /// # Errors
    /// `WriteError` if the file cannot be written.
    pub(crate) fn write_traps(&self, path: &Path, readers: Readers<'_>) -> Result<(), WriteError> {
        let mut lines = Vec::new();
        for trap in &self.traps {
            // Plain data into memory: this does not fail.
            let _ = serde_json::to_writer(&mut lines, trap);
            lines.push(b'\n');
        }
        replace(path, readers, &lines)
    }

    pub(super) fn new(levels: &Levels, cut: &BTreeMap<Reason, u64>, traps: &[Trap], hosts: u64) -> Self {
        Self {
            known: levels.known(),
            by_depth: levels.by_depth(),
            hosts,
            cut: cut.iter().map(|(reason, count)| (reason.name().to_owned(), *count)).collect(),
            traps: traps.to_vec(),
        }
    }
}
