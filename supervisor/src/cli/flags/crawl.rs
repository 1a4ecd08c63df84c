//! Flags of `crawl`: those of `fetch`, and which links are followed.

use std::ffi::OsString;
use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use shared::crawl::Scope;

use super::{ExtractFlags, ListFlags, NetworkFlags, OutputFlags, SaveFlags, ShownFlags};
use crate::cli::values::{self, Many};

/// `crawl`.
#[derive(Debug, Args)]
pub(in crate::cli) struct CrawlFlags {
    /// URLs to begin with, before those of the input files
    #[arg(value_name = "URL", value_hint = ValueHint::Url)]
    pub(in crate::cli) urls: Vec<OsString>,
    #[command(flatten)]
    pub(in crate::cli) follow: FollowFlags,
    #[command(flatten)]
    pub(in crate::cli) lists: ListFlags,
    #[command(flatten)]
    pub(in crate::cli) extract: ExtractFlags,
    #[command(flatten)]
    pub(in crate::cli) network: Box<NetworkFlags>,
    #[command(flatten)]
    pub(in crate::cli) save: SaveFlags,
    #[command(flatten)]
    pub(in crate::cli) output: OutputFlags,
    #[command(flatten)]
    pub(in crate::cli) shown: ShownFlags,
}

/// Which links are followed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Links")]
pub(in crate::cli) struct FollowFlags {
    /// Follow the links of the elements that this CSS selector matches (repeatable)
    ///
    /// The link is the element's href or src. [default: a[href], area[href], link[rel=next], iframe[src]]
    #[arg(long, value_name = "SEL")]
    pub(in crate::cli) follow: Vec<String>,
    /// Which pages belong to the crawl, as seen from the URLs that are named
    #[arg(long, value_name = "SCOPE", value_enum, default_value = "host")]
    pub(in crate::cli) scope: ScopeFlag,
    /// Follow only links that match this regular expression, or another --include (repeatable)
    ///
    /// It is searched anywhere in the URL. The URLs that are named need not match.
    #[arg(long, value_name = "REGEX")]
    pub(in crate::cli) include: Vec<String>,
    /// Do not follow links that match this regular expression (repeatable)
    #[arg(long, value_name = "REGEX")]
    pub(in crate::cli) exclude: Vec<String>,
    /// Follow at most N links in a row from a named URL; 0 follows none [default: no limit]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32))]
    pub(in crate::cli) depth: Option<u32>,
    /// Fetch at most N pages, the nearest first [default: no limit]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = values::sample)]
    pub(in crate::cli) pages_max: Option<NonZeroU64>,
    /// Fetch at most N pages of each host [default: no limit]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = values::sample)]
    pub(in crate::cli) host_pages_max: Option<NonZeroU64>,
    /// Fetch at most N pages that differ in numbers only and lead on to each other, as those of a calendar do
    #[arg(long, value_name = "N|unlimited", default_value = "1000", allow_negative_numbers = true,
        value_parser = values::number_or_unlimited)]
    pub(in crate::cli) alike_max: Many,
    /// List the links that lead into traps in this file, a JSON object for each kind
    ///
    /// Traps are pages beyond --alike-max, and addresses in which a part of the path follows itself three times.
    #[arg(long, value_name = "FILE.jsonl", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) traps: Option<PathBuf>,
    /// Take this parameter out of links before they are compared and followed (repeatable)
    ///
    /// NAME* stands for all names that begin with NAME. trackers stands for utm_*, gclid, fbclid and others that only
    /// tell a site where its visitors come from.
    #[arg(long, value_name = "NAME|NAME*|trackers")]
    pub(in crate::cli) strip_param: Vec<String>,
}

/// `--scope`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ScopeFlag {
    /// The same host and port, over http and https
    Host,
    /// The same registrable domain, with all its subdomains and ports
    Domain,
    /// The directory of a named URL, and all below it
    Prefix,
    /// All hosts
    Any,
}

impl ScopeFlag {
    pub(in crate::cli) const fn scope(self) -> Scope {
        match self {
            Self::Host => Scope::Host,
            Self::Domain => Scope::Domain,
            Self::Prefix => Scope::Prefix,
            Self::Any => Scope::Any,
        }
    }
}
