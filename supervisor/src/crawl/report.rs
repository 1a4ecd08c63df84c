//! What the summary says about a crawl.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::crawl::Reason;
use supervisor_core::crawl::Levels;
use utoipa::ToSchema;

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
}

impl CrawlSummary {
    pub(super) fn new(levels: &Levels, cut: &BTreeMap<Reason, u64>, hosts: u64) -> Self {
        Self {
            known: levels.known(),
            by_depth: levels.by_depth(),
            hosts,
            cut: cut.iter().map(|(reason, count)| (reason.name().to_owned(), *count)).collect(),
        }
    }
}
