//! `crawl`: a target is a URL, as for `fetch`. Its links become targets.

use std::collections::BTreeSet;

use shared::crawl::FollowSpec;
use shared::job::{CrawlSpec, Work};

use super::facts::{COMMAND, Fact};
use super::fetch::Fetch;
use super::{Kind, ProgressUnit, Rules, Spooled};
use crate::plan::Plan;
use crate::source::Targets;

/// A crawl.
pub(super) struct Crawl<'a>(pub(super) &'a CrawlSpec);

impl Crawl<'_> {
    const fn fetch(&self) -> Fetch<'_> {
        Fetch(&self.0.fetch)
    }
}

impl Kind for Crawl<'_> {
    fn rules(&self) -> Rules {
        Rules { progress: ProgressUnit::Found, crawls: true, ..self.fetch().rules() }
    }

    /// The pages that the user names.
    fn targets(&self, plan: &Plan, spooled: Spooled) -> Box<dyn Targets + Send> {
        self.fetch().targets(plan, spooled)
    }

    fn keeps_cookies(&self) -> bool {
        self.0.fetch.cookies
    }

    fn robots_token(&self) -> Option<&str> {
        Some(self.0.fetch.product_token())
    }

    fn secrets(&self) -> Option<String> {
        self.0.fetch.secrets()
    }

    fn facts(&self, plan: &Plan) -> Vec<Fact> {
        let FollowSpec {
            selectors,
            scope,
            // Follow from the inputs and the scope.
            homes: _,
            include,
            exclude,
            strip,
            depth_max,
            pages_max,
            host_pages_max,
            alike_max,
            obeys,
        } = &self.0.follow;
        let list =
            |values: &[String]| if values.is_empty() { "nothing".to_owned() } else { values.join(" ") };
        let limit =
            |limit: Option<u64>| limit.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
        let mut facts: Vec<_> =
            self.fetch().facts(plan).into_iter().filter(|fact| fact.flag != COMMAND).collect();
        facts.extend([
            Fact::new(COMMAND, "crawl"),
            Fact::new("--follow", list(selectors)),
            Fact::new("--scope", scope.name()),
            Fact::new("--include", list(include)),
            Fact::new("--exclude", list(exclude)),
            Fact::new("--strip-param", list(strip)),
            Fact::new("--depth", limit(depth_max.map(u64::from))),
            Fact::new("--pages-max", limit(*pages_max)),
            Fact::new("--host-pages-max", limit(*host_pages_max)),
            Fact::new("--alike-max", limit(*alike_max)),
            Fact::new("--robots", if *obeys { "obey" } else { "ignore" }),
        ]);
        facts
    }
}

/// Where the pages are that the user named.
#[derive(Debug, Default)]
pub(crate) struct Homes {
    /// What they are in the scope: hosts, domains or directories.
    pub(crate) of_scope: BTreeSet<String>,
    /// Their origins, which get the secrets of requests.
    pub(crate) origins: BTreeSet<String>,
}

/// Returns the work with what is known of the named pages.
pub(crate) fn at_home(work: &Work, homes: Homes) -> Work {
    let Work::Crawl(spec) = work else { return work.clone() };
    let mut spec = spec.clone();
    spec.follow.homes = homes.of_scope.into_iter().collect();
    let scope = &mut spec.fetch.header_scope;
    if !scope.only_these {
        scope.homes = homes.origins.into_iter().collect();
    }
    Work::Crawl(spec)
}
