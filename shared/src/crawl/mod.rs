//! Which links a crawl follows, and what a worker sends of them. Pure: the worker finds links and judges them, the
//! supervisor knows which of them are new.

mod fields;
mod found;
mod judge;
mod link;
pub mod shape;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::fields::link_fields;
pub use self::found::{FOUND_BYTES_MAX, Found, LINKS_MAX};
pub use self::judge::{Judge, Page, home};
pub use self::link::{LINK_BYTES_MAX, Strip, TRACKERS};
pub use wire::crawl::Place;

/// Which links are followed, and how far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowSpec {
    /// Selectors of the elements whose links are followed; empty is the default.
    pub selectors: Vec<String>,
    /// Which pages belong to the crawl.
    pub scope: Scope,
    /// What the pages that the user named are in that scope: hosts, domains, or prefixes. Each page adds its own.
    pub homes: Vec<String>,
    /// A link must match one of these regular expressions, if there are any.
    pub include: Vec<String>,
    /// A link must match none of these.
    pub exclude: Vec<String>,
    /// Names of parameters that are taken out of links, or their beginnings with a `*` behind them.
    pub strip: Vec<String>,
    /// Most links from a page that the user named to any other; `None` is any number.
    pub depth_max: Option<u32>,
    /// Most pages; `None` is any number.
    pub pages_max: Option<u64>,
    /// Most pages of one host; `None` is any number.
    pub host_pages_max: Option<u64>,
    /// Most pages that are alike and lead on to each other; `None` is any number.
    pub alike_max: Option<u64>,
    /// Whether `nofollow` and `noindex` are obeyed.
    pub obeys: bool,
}

/// Which pages belong to a crawl.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Those of the hosts of the named pages.
    #[default]
    Host,
    /// Those of their registrable domains.
    Domain,
    /// Those in the directories of the named pages, or below.
    Prefix,
    /// All.
    Any,
}

impl Scope {
    /// The name of the flag's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Domain => "domain",
            Self::Prefix => "prefix",
            Self::Any => "any",
        }
    }
}

/// Why a link is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It leads out of the scope.
    Scope,
    /// No `--include` matches it.
    Include,
    /// An `--exclude` matches it.
    Exclude,
    /// It says `nofollow`, or its page does.
    Nofollow,
    /// It is deeper than `--depth`.
    Depth,
    /// There are `--pages-max` pages.
    PagesMax,
    /// Its host has `--host-pages-max` pages.
    HostPagesMax,
    /// It is no http(s) URL: `mailto:`, `javascript:`, or nothing that can be parsed.
    NotHttp,
    /// It is longer than a request can be.
    TooLong,
    /// Its page has more links than are kept of one page.
    TooMany,
    /// All links of a page that is too large to be held in memory, and is only saved as a file.
    Unread,
    /// Its path repeats itself.
    Repeats,
    /// Pages with addresses of its shape are all alike.
    Shape,
}

impl Reason {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 13] = [
        Self::Scope,
        Self::Include,
        Self::Exclude,
        Self::Nofollow,
        Self::Depth,
        Self::PagesMax,
        Self::HostPagesMax,
        Self::NotHttp,
        Self::TooLong,
        Self::TooMany,
        Self::Unread,
        Self::Repeats,
        Self::Shape,
    ];

    /// The name in the summary.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scope => "scope",
            Self::Include => "include",
            Self::Exclude => "exclude",
            Self::Nofollow => "nofollow",
            Self::Depth => "depth",
            Self::PagesMax => "pages-max",
            Self::HostPagesMax => "host-pages-max",
            Self::NotHttp => "not-http",
            Self::TooLong => "too-long",
            Self::TooMany => "too-many",
            Self::Unread => "unread",
            Self::Repeats => "repeats",
            Self::Shape => "shape",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
