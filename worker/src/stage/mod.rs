//! What a worker does to its targets: one [`Stage`] for each kind of job.
//!
//! ```text
//! Stage ─┬ Fetch, Sitemap   wait for a response → compute ┐
//!        ├ Parse            open a file         → compute ├→ context: verdict, record
//!        ├ Csv              read a part         → compute ┘
//!        └ Map              the user's program, with a loop of its own
//! ```
//! Waiting and computing are apart because an event loop interleaves the first and cannot interleave the second.
//! Whatever goes wrong with a target ends as its record; nothing here fails as a whole once it is set up.

mod blocked;
mod content_length;
mod context;
pub(crate) mod csv;
mod decode;
mod fetch;
mod files;
mod findings;
mod kinds;
mod links;
mod login;
pub(crate) mod map;
mod media_type;
#[cfg(test)]
mod mutation;
mod next;
mod robots;
mod save;
mod sitemap;
mod warc;

use anyhow::Context as _;
use shared::job::{CrawlSpec, Executor, FetchSpec, JobSpec, Work};
use shared::protocol::Target;

use crate::outbox::Pace;
use crate::shortage::Shortages;

pub(crate) use self::context::{Computed, Context};
use self::csv::Csv;
pub(crate) use self::fetch::cookies::Cookies;
pub(crate) use self::fetch::since::Notes;
use self::fetch::{blocking, event_loop};
use self::kinds::{Fetch, Parse, Sitemap};
use self::links::Links;
use self::map::Map;

/// A job's work, ready to be done to one target after another.
pub(crate) enum Stage {
    /// A target is a URL: fetch it, then extract. A crawl finds its links, too.
    Fetch(ByClient<Fetch<blocking::Client>, Fetch<event_loop::Client>>),
    /// A target is a path: read it, then extract.
    Parse(Box<Parse>),
    /// A target is the URL of a sitemap: fetch it, then list what it names.
    Sitemap(ByClient<Sitemap<blocking::Client>, Sitemap<event_loop::Client>>),
    /// A target is a part of a CSV file: group and aggregate it.
    Csv(Box<Csv>),
    /// A target is a block of lines: pass them through the user's program.
    Map(Map),
}

/// Work that depends on which client fetches.
pub(crate) enum ByClient<B, E> {
    Blocking(Box<B>),
    EventLoop(Box<E>),
}

/// Computes the records of targets.
pub(crate) trait Compute {
    /// What the work before gives to this.
    type Answer;

    /// Appends the target's record, or whatever else the job makes of it, to `out`.
    fn compute(
        &self,
        context: &Context,
        target: &Target,
        answer: Self::Answer,
        out: &mut Vec<u8>,
    ) -> Computed;
}

/// Work that can be done on one target at a time, with blocking calls.
pub(crate) trait Blocking: Compute {
    /// Waits for what the target names.
    fn wait(&mut self, context: &Context, target: &Target) -> Self::Answer;
}

/// Work that can be done on many targets, interleaved on an event loop.
pub(crate) trait Interleaved: Compute {
    /// Waits for what the target names.
    async fn wait(&self, context: &Context, target: &Target) -> Self::Answer;
}

impl Stage {
    /// Sets up what `job` asks for: the only place in a worker that asks for the kind of a job, but for the sandbox.
    pub(crate) fn new(job: &JobSpec, shortages: &Shortages) -> anyhow::Result<Self> {
        Ok(match &job.work {
            Work::Fetch(spec) => Self::fetching(spec, None, job, shortages)?,
            Work::Crawl(spec) => Self::fetching(&spec.fetch, Some(spec), job, shortages)?,
            Work::Parse(spec) => Self::Parse(Box::new(Parse::new(spec, job, shortages.clone())?)),
            Work::Sitemap(spec) => Self::Sitemap(match client(spec, job.executor, shortages)? {
                ByClient::Blocking(client) => ByClient::Blocking(Box::new(Sitemap::new(*client, spec, job)?)),
                ByClient::EventLoop(client) => {
                    ByClient::EventLoop(Box::new(Sitemap::new(*client, spec, job)?))
                }
            }),
            Work::Csv(spec) => Self::Csv(Box::new(Csv::new((**spec).clone(), job.slot, shortages.clone()))),
            Work::Map(spec) => Self::Map(Map::new(spec, job)),
        })
    }

    /// Fetches pages, and finds their links if it crawls.
    fn fetching(
        spec: &FetchSpec,
        crawl: Option<&CrawlSpec>,
        job: &JobSpec,
        shortages: &Shortages,
    ) -> anyhow::Result<Self> {
        let links = crawl.map(|crawl| Links::new(crawl, job.parse_timeout)).transpose()?;
        Ok(Self::Fetch(match client(spec, job.executor, shortages)? {
            ByClient::Blocking(client) => {
                ByClient::Blocking(Box::new(Fetch::new(*client, spec, links, job, shortages)?))
            }
            ByClient::EventLoop(client) => {
                ByClient::EventLoop(Box::new(Fetch::new(*client, spec, links, job, shortages)?))
            }
        }))
    }

    /// The cookies, if the job keeps them.
    pub(crate) fn cookies(&self) -> Option<Cookies> {
        match self {
            Self::Fetch(ByClient::Blocking(stage)) => stage.cookies(),
            Self::Fetch(ByClient::EventLoop(stage)) => stage.cookies(),
            Self::Sitemap(ByClient::Blocking(stage)) => stage.cookies(),
            Self::Sitemap(ByClient::EventLoop(stage)) => stage.cookies(),
            Self::Parse(_) | Self::Csv(_) | Self::Map(_) => None,
        }
    }

    /// What an earlier run has noted of pages, if they are compared with it.
    pub(crate) fn notes(&self) -> Option<Notes> {
        match self {
            Self::Fetch(ByClient::Blocking(stage)) => stage.notes(),
            Self::Fetch(ByClient::EventLoop(stage)) => stage.notes(),
            Self::Sitemap(_) | Self::Parse(_) | Self::Csv(_) | Self::Map(_) => None,
        }
    }

    /// How results leave: those of a program come in streams.
    pub(crate) const fn pace(&self) -> Pace {
        match self {
            Self::Fetch(_) | Self::Parse(_) | Self::Sitemap(_) | Self::Csv(_) => Pace::USUAL,
            Self::Map(_) => Pace::OF_PROGRAM,
        }
    }
}

fn client(
    spec: &FetchSpec,
    executor: Executor,
    shortages: &Shortages,
) -> anyhow::Result<ByClient<blocking::Client, event_loop::Client>> {
    Ok(match executor {
        Executor::Blocking => {
            let client = blocking::Client::new(spec, shortages.clone())
                .context("cannot set up the blocking client")?;
            ByClient::Blocking(Box::new(client))
        }
        Executor::EventLoop => {
            let client = event_loop::Client::new(spec, shortages.clone())
                .context("cannot set up the event loop's client")?;
            ByClient::EventLoop(Box::new(client))
        }
    })
}
