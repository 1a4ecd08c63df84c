//! Flags for lists of pages.

use clap::Args;
use clap::builder::RangedU64ValueParser;
use shared::pages::PAGES_MAX;

#[derive(Debug, Args)]
#[command(next_help_heading = "Pages of a list")]
pub(in crate::cli) struct NextFlags {
    /// Follow this link from each page to the next one, as in --next 'a[rel=next]'
    ///
    /// A selector as in --select: CSS, JSONPath ('$.next') or XPath. CSS without a last step takes the href. Each page is
    /// a record of its own, with "page", and the id of the page before as "parent".
    #[arg(long, value_name = "SELECTOR")]
    pub(in crate::cli) next: Option<String>,
    /// Most pages that are fetched of each list, its first one included
    #[arg(long, value_name = "N", default_value_t = 1_000, requires = "next",
        value_parser = RangedU64ValueParser::<u32>::new().range(1..=u64::from(PAGES_MAX)))]
    pub(in crate::cli) pages_max: u32,
}
