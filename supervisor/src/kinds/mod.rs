//! What the supervisor does differently for each kind of job, in one module per kind.
//!
//! [`of`] is the only place that tells kinds apart. Everything else asks a [`Kind`] for its [`Rules`],
//! its targets, or the facts that a resumed run must share with the first one. A new command is a new
//! module here, a stage in the worker and its flags.
//!
//! Kinds know nothing of the parts that ask them: the engine, the runtime and the journal.

mod crawl;
mod csv;
mod facts;
mod fetch;
mod map;
mod parse;
mod sitemap;

use std::path::PathBuf;
use std::time::Duration;

use shared::csv::CsvSpec;
use shared::job::{CrawlSpec, FetchSpec, MapSpec, NextSpec, Work};
use shared::proxy::ProxySpec;
use shared::record::ErrorKind;
use shared::request::RequestSpec;
use shared::save::SaveSpec;
use shared::since::SinceSpec;
use supervisor_core::pool::Quarantined;

pub(crate) use self::crawl::{Homes, at_home};
pub(crate) use self::facts::{COMMAND, Fact, hashed};
pub(crate) use self::sitemap::reading as reading_sitemaps;
use crate::plan::{Plan, Twice};
use crate::source::{Bytes, Source, TargetKind, Targets};

/// With ordered results, the number of targets between the oldest unfinished one and the newest one
/// in work.
const ORDERED_WINDOW: u64 = 8_192;

/// The kind of a job.
pub(crate) fn of(work: &Work) -> Box<dyn Kind + '_> {
    match work {
        Work::Fetch(spec) => Box::new(fetch::Fetch(spec)),
        Work::Crawl(spec) => Box::new(crawl::Crawl(spec)),
        Work::Parse(spec) => Box::new(parse::Parse(spec)),
        Work::Sitemap(spec) => Box::new(sitemap::Sitemap(spec)),
        Work::Csv(spec) => Box::new(csv::Csv(spec)),
        Work::Map(spec) => Box::new(map::Map(spec)),
    }
}

/// A kind of job.
pub(crate) trait Kind {
    /// Returns what holds for all its targets.
    fn rules(&self) -> Rules;

    /// Returns what decides the contents of a record, apart from the inputs and the output's format.
    /// A run can only be resumed by one with the same facts.
    fn facts(&self, plan: &Plan) -> Vec<Fact>;

    /// Returns the files and directories that workers may read; `None` is any.
    fn readable(&self, _: &Plan) -> Option<Vec<PathBuf>> {
        Some(Vec::new())
    }

    /// Returns the targets of the first pass.
    fn targets(&self, plan: &Plan, spooled: Spooled) -> Box<dyn Targets + Send> {
        let source = Source::of(plan, self.rules().target);
        Box::new(source.with_stdin(spooled.stdin).with_sitemaps(spooled.sitemaps))
    }

    /// Returns the grouping that results are merged into; `None` if they are records, which are
    /// appended to the output.
    fn grouping(&self) -> Option<&CsvSpec> {
        None
    }

    /// Whether cookies are kept and sent back.
    fn keeps_cookies(&self) -> bool {
        false
    }

    /// Returns the product token that a robots.txt names the job by, if its targets are pages of a site.
    fn robots_token(&self) -> Option<&str> {
        None
    }

    /// Returns what its requests may carry of the user's secrets, and to whom; `None` if there are none.
    fn secrets(&self) -> Option<String> {
        None
    }

    /// Returns the user's program, if the targets are its lines.
    fn program(&self) -> Option<&MapSpec> {
        None
    }

    /// Returns why the run must end when this target is quarantined; `None` if a record stands for it.
    fn fails_without(&self, _: &Quarantined) -> Option<String> {
        None
    }
}

/// The user's program in a job, whether its targets are lines or pages.
pub(crate) fn program(plan: &Plan) -> Option<MapSpec> {
    of(&plan.work).program().or(plan.then.as_ref()).cloned()
}

/// Returns how many redirects of one target are followed.
pub(crate) const fn redirects_max(work: &Work) -> u32 {
    match work {
        Work::Fetch(spec) | Work::Sitemap(spec) => spec.redirects_max,
        Work::Crawl(spec) => spec.fetch.redirects_max,
        Work::Parse(_) | Work::Csv(_) | Work::Map(_) => 0,
    }
}

/// Returns where bodies are kept as files, if they are.
pub(crate) fn saved(work: &Work) -> Option<&SaveSpec> {
    fetched(work)?.save.as_deref()
}

/// Returns the earlier run that pages are compared with, if there is one.
pub(crate) fn since(work: &Work) -> Option<&SinceSpec> {
    fetched(work)?.since.as_deref()
}

/// Returns how pages are followed to the next ones, if they are.
pub(crate) fn next(work: &Work) -> Option<&NextSpec> {
    fetched(work)?.next.as_deref()
}

/// Returns how pages are fetched, if the targets are pages.
pub(crate) const fn fetched(work: &Work) -> Option<&FetchSpec> {
    match work {
        Work::Fetch(spec) => Some(spec),
        Work::Crawl(spec) => Some(&spec.fetch),
        Work::Sitemap(_) | Work::Parse(_) | Work::Csv(_) | Work::Map(_) => None,
    }
}

/// Returns what a crawl is, if the job is one.
pub(crate) fn crawl(work: &Work) -> Option<&CrawlSpec> {
    match work {
        Work::Crawl(spec) => Some(spec),
        Work::Fetch(_) | Work::Sitemap(_) | Work::Parse(_) | Work::Csv(_) | Work::Map(_) => None,
    }
}

/// The same, to change it.
pub(crate) const fn fetched_mut(work: &mut Work) -> Option<&mut FetchSpec> {
    match work {
        Work::Fetch(spec) => Some(spec),
        Work::Crawl(spec) => Some(&mut spec.fetch),
        Work::Sitemap(_) | Work::Parse(_) | Work::Csv(_) | Work::Map(_) => None,
    }
}

/// Whether requests are made from the columns of a row.
pub(crate) fn needs_rows(work: &Work) -> bool {
    let needs = |request: &RequestSpec| request.url.is_some() || !request.columns().is_empty();
    fetched(work).and_then(|spec| spec.request.as_deref()).is_some_and(needs)
}

/// Whether headers of responses go into the records.
pub(crate) fn keeps_headers(work: &Work) -> bool {
    fetched(work).is_some_and(|spec| !spec.response_headers.is_empty())
}

/// Returns the proxies of a job.
pub(crate) const fn proxies(work: &Work) -> Option<&ProxySpec> {
    match work {
        Work::Fetch(spec) | Work::Sitemap(spec) => Some(&spec.proxies),
        Work::Crawl(spec) => Some(&spec.fetch.proxies),
        Work::Parse(_) | Work::Csv(_) | Work::Map(_) => None,
    }
}

/// Limits the redirects that are followed.
pub(crate) fn limit_redirects(work: &mut Work, max: u32) {
    match work {
        Work::Fetch(spec) | Work::Sitemap(spec) => spec.redirects_max = spec.redirects_max.min(max),
        Work::Crawl(spec) => spec.fetch.redirects_max = spec.fetch.redirects_max.min(max),
        Work::Parse(_) | Work::Csv(_) | Work::Map(_) => {}
    }
}

/// Inputs that can be read only once, as this run reads them.
#[derive(Default)]
pub(crate) struct Spooled {
    /// In place of standard input.
    pub(crate) stdin: Option<Bytes>,
    /// The pages that the sitemaps list: framed entries.
    pub(crate) sitemaps: Option<Bytes>,
}

/// What holds for all targets of one kind of job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// What a target is. It decides how lists are read, which member of a record names the input, and
    /// whether the budget of a host counts.
    pub(crate) target: TargetKind,
    /// Error of an input that no worker can take.
    pub(crate) refused_as: ErrorKind,
    /// How `auto` finds the mode.
    pub(crate) auto: Auto,
    /// Longest time for which a target may wait for a server.
    pub(crate) wait_max: Duration,
    /// Whether a target has a deadline. Without one, only a worker that makes no progress is ended.
    pub(crate) has_deadline: bool,
    /// Whether results are needed in the order of their targets even if the user does not ask for it.
    pub(crate) always_ordered: bool,
    /// How far targets run ahead of the oldest unfinished one when results are ordered.
    pub(crate) window: Window,
    /// Whether a page counts as blocked that a host gives for many targets.
    pub(crate) watches_repeats: bool,
    /// What progress is shown in.
    pub(crate) progress: ProgressUnit,
    /// What the first signal to stop means.
    pub(crate) first_signal: FirstSignal,
    /// What it means that a target is processed twice.
    pub(crate) twice: Twice,
    /// Whether targets are found on the way, in the pages of others.
    pub(crate) crawls: bool,
}

/// How `auto` finds the mode of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Auto {
    /// Targets wait for servers: one event loop, and more when it is busy, with as many targets in flight as help.
    Waits {
        /// Most bytes of a body, which is held in memory.
        body_bytes_max: u64,
    },
    /// Targets compute: a worker for each, one at a time.
    Computes {
        /// Most targets that there can be, if that is known and may be few.
        targets_max: Option<u32>,
        /// Why nothing is measured, for the summary.
        why: &'static str,
    },
}

/// How far targets run ahead of the oldest unfinished one when results are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    /// This many inputs.
    Inputs(u64),
    /// This many targets for each worker.
    PerWorker(u64),
}

/// What progress is shown in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgressUnit {
    /// Inputs done, of all inputs.
    Inputs,
    /// Bytes read, of the bytes of all inputs.
    Bytes,
    /// Inputs done, of those that are known so far.
    Found,
}

/// What the first signal to stop means; the second one always ends the run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstSignal {
    /// Finish what is in flight, because each record is of use.
    Finish,
    /// End at once, because nothing is of use without the rest.
    End,
}

#[cfg(test)]
mod tests {
    use shared::address::AddressPolicy;
    use shared::job::{FetchSpec, ParseSpec};
    use shared::record::Evidence;
    use shared::request_headers::HeaderScope;
    use shared::select::blocked::BlockedRules;
    use shared::transport::TransportSpec;

    use super::*;

    fn fetch() -> FetchSpec {
        FetchSpec {
            timeout: Duration::from_secs(7),
            connect_timeout: Duration::from_secs(1),
            body_bytes_max: 1,
            redirects_max: 1,
            headers: Vec::new(),
            header_scope: HeaderScope::default(),
            user_agent: String::new(),
            address_policy: AddressPolicy::Public,
            blocked: BlockedRules::default(),
            save: None,
            request: None,
            transport: TransportSpec::default(),
            response_headers: Vec::new(),
            cookies: false,
            proxies: ProxySpec::default(),
            since: None,
            login: None,
            profiles: Vec::new(),
            next: None,
        }
    }

    fn map() -> MapSpec {
        MapSpec {
            command: vec!["cat".into()],
            timeout: Duration::from_secs(1),
            retries: 0,
            raw: false,
            batch: None,
            in_flight_max: None,
        }
    }

    fn csv() -> CsvSpec {
        CsvSpec {
            files: Vec::new(),
            columns: Vec::new(),
            keys: Vec::new(),
            aggregates: Vec::new(),
            filters: Vec::new(),
            groups_max: 1,
            encoding: None,
        }
    }

    #[test]
    fn only_a_table_needs_every_part_and_is_worth_nothing_without() {
        let quarantined = |input: Vec<u8>| Quarantined {
            id: 0,
            slot: 0,
            input,
            kept: Vec::new(),
            attempts: 3,
            kind: ErrorKind::WorkerCrash,
            message: "killed".to_owned(),
            evidence: Evidence { signal: None, phase: String::new(), rss_bytes: 0, stderr: String::new() },
        };
        let kinds = [
            (Work::Fetch(fetch()), false),
            (Work::Parse(ParseSpec { body_bytes_max: 1, held: Vec::new() }), false),
            (Work::Sitemap(fetch()), false),
            (Work::Map(map()), false),
            (Work::Csv(Box::new(csv())), true),
        ];
        for (work, is_table) in kinds {
            let (kind, quarantined) = (of(&work), quarantined(b"x".to_vec()));
            assert_eq!(kind.grouping().is_some(), is_table, "{work:?}");
            assert_eq!(kind.fails_without(&quarantined).is_some(), is_table, "{work:?}");
            assert_eq!(kind.rules().first_signal == FirstSignal::End, is_table, "{work:?}");
            assert_eq!(!kind.rules().has_deadline, is_table, "{work:?}");
            assert_eq!(kind.program().is_some(), work == Work::Map(map()), "{work:?}");
        }
    }

    #[test]
    fn a_target_waits_as_long_as_its_server_may_take() {
        for (work, seconds) in [(Work::Fetch(fetch()), 7), (Work::Sitemap(fetch()), 7), (Work::Map(map()), 0)]
        {
            assert_eq!(of(&work).rules().wait_max, Duration::from_secs(seconds), "{work:?}");
        }
    }
}
