//! The job document that a worker gets once, before its first slice: which work, how,
//! and within which limits. Targets come later, in slices.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use wire::mode::{Executor, Mode};

use crate::address::AddressPolicy;
use crate::codec::JOINED_BYTES_MAX;
use crate::csv::CsvSpec;
use crate::login::{LoginSpec, Profile};
use crate::protocol::RECORD_BYTES_MAX;
use crate::proxy::ProxySpec;
use crate::request::RequestSpec;
use crate::request_headers::{HeaderScope, is_harmless};
use crate::robots::product_token;
use crate::save::SaveSpec;
use crate::select::blocked::BlockedRules;
use crate::select::{Each, Field, Preset};
use crate::since::SinceSpec;
use crate::table::{Delimited, Typed};
use crate::transport::TransportSpec;

/// Largest sitemap in bytes, packed or not: what the sitemaps protocol allows.
pub const SITEMAP_BYTES_MAX: u64 = 50 << 20;

/// Most bytes of a message besides its largest record: the outcomes, and the smaller records before it.
const BESIDES_BYTES_MAX: usize = 4 << 20;

/// Everything a worker needs to know about the job it serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The slot of this worker; written into its records.
    pub slot: u32,
    /// Blocking or event loop.
    pub executor: Executor,
    /// Targets in flight at once in this worker; 1 for [`Executor::Blocking`].
    pub concurrency: u32,
    /// `CLOCK_MONOTONIC` in microseconds when the job began; outcomes count from it.
    pub started_us: u64,
    /// What is done to each target.
    pub work: Work,
    /// The program that each record is passed through afterwards ([`Work::Fetch`], [`Work::Parse`]).
    pub then: Option<MapSpec>,
    /// The fields extracted from each page, in the order they are written.
    pub fields: Vec<Field>,
    /// The elements from which the fields are taken, one object for each; `None` is the page itself.
    pub each: Option<Each>,
    /// Fields that need no selector, after the others.
    pub presets: Vec<Preset>,
    /// How records are encoded.
    pub encoding: RecordEncoding,
    /// CPU time one page's extraction may take before it ends as a `parse` error.
    pub parse_timeout: Duration,
    /// What the worker gives up before it touches the first target.
    pub sandbox: SandboxSpec,
    /// Most memory the worker may allocate, in bytes; past it, allocation fails and the worker dies.
    pub memory_bytes_max: Option<u64>,
    /// The environment of the user's program, if one runs. The worker's own holds nothing of the user's.
    pub environment: Vec<(OsString, OsString)>,
}

impl JobSpec {
    /// Largest message that a worker sends for this job, in bytes.
    #[must_use]
    pub const fn message_bytes_max(&self) -> usize {
        match (&self.work, &self.then) {
            (Work::Fetch(_) | Work::Parse(_) | Work::Sitemap(_), None) => {
                RECORD_BYTES_MAX + BESIDES_BYTES_MAX
            }
            (Work::Csv(_) | Work::Map(_), _) | (_, Some(_)) => JOINED_BYTES_MAX,
        }
    }

    /// Whether a request that may have been sent before a crash is never sent again.
    #[must_use]
    pub fn is_at_most_once(&self) -> bool {
        match &self.work {
            Work::Fetch(spec) => spec.request.as_ref().is_some_and(|request| request.at_most_once),
            Work::Sitemap(_) | Work::Parse(_) | Work::Csv(_) | Work::Map(_) => false,
        }
    }

    /// Whether pages are followed to the next ones.
    #[must_use]
    pub fn follows_pages(&self) -> bool {
        matches!(&self.work, Work::Fetch(spec) if spec.next.is_some())
    }

    /// The user's program that runs beside the worker, if one does.
    #[must_use]
    pub const fn program(&self) -> Option<&MapSpec> {
        match &self.work {
            Work::Map(spec) => Some(spec),
            Work::Fetch(_) | Work::Parse(_) | Work::Sitemap(_) | Work::Csv(_) => self.then.as_ref(),
        }
    }
}

/// What a worker gives up before it touches the first target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// How much must be in force.
    pub level: SandboxLevel,
    /// Files and directories of the job that may be read, with all below them;
    /// `None` if the job does not name its files beforehand, and anything may be read. Not paths, which serde
    /// writes as text.
    pub readable: Option<Vec<OsString>>,
}

/// How much of the sandbox must be in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxLevel {
    /// As much as this kernel has.
    Auto,
    /// All of it, or the job is refused.
    Require,
    /// Nothing.
    Off,
}

/// What is done to each target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Work {
    /// A target is a URL: fetch it, then extract.
    Fetch(FetchSpec),
    /// A target is a path: read it, then extract.
    Parse(ParseSpec),
    /// A target is a part of a CSV file: group and aggregate it.
    Csv(Box<CsvSpec>),
    /// A target is the URL of a sitemap: fetch it, then list what it names.
    Sitemap(FetchSpec),
    /// A target is a block of JSON lines with a line feed between two: pass them through the
    /// user's program. Its id is that of its first line.
    Map(MapSpec),
}

/// How records are encoded, by the workers and by the supervisor: see [`Encoder`](crate::encoder::Encoder).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordEncoding {
    /// One JSON object and a newline.
    JsonLine,
    /// A row of CSV or the like.
    Row(Delimited),
    /// A row with typed cells, from which the supervisor builds Parquet or SQLite.
    Typed(Typed),
    /// Records of a web archive: what was sent, what came back, and the JSON object.
    Warc(WarcSpec),
    /// What a sitemap lists, for the run that reads sitemaps.
    Listing,
}

/// How records of a web archive are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarcSpec {
    /// Whether each of them is a gzip member of its own.
    pub gzip: bool,
    /// The id of the archive's first record, from which all others' ids are made.
    pub info: [u8; 16],
}

/// Limits and headers of every request a fetch job makes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FetchSpec {
    /// Longest time a whole target may take, redirects included.
    pub timeout: Duration,
    /// Longest time to resolve, connect and finish the TLS handshake, per hop.
    pub connect_timeout: Duration,
    /// Largest body in bytes, measured after decompression.
    pub body_bytes_max: u64,
    /// Redirects followed before the target fails with `too_many_redirects`.
    pub redirects_max: u32,
    /// Extra request headers, in order; a name given twice is sent twice.
    pub headers: Vec<(String, String)>,
    /// Which servers get those that may be secrets.
    pub header_scope: HeaderScope,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// Which addresses may be connected to, at every hop.
    pub address_policy: AddressPolicy,
    /// Which answers count as blocked.
    pub blocked: BlockedRules,
    /// Where bodies are kept as files, if they are.
    pub save: Option<Box<SaveSpec>>,
    /// What is sent besides the URL and these headers; `None` is a GET without a body.
    pub request: Option<Box<RequestSpec>>,
    /// How connections are made, where it differs from the default.
    pub transport: TransportSpec,
    /// Response headers that go into the records, in lower case.
    pub response_headers: Vec<String>,
    /// Whether cookies are kept and sent back.
    pub cookies: bool,
    /// Proxies, and what goes through them.
    pub proxies: ProxySpec,
    /// The earlier run that pages are compared with, if there is one. Pages are noted for the next run then.
    pub since: Option<Box<SinceSpec>>,
    /// How the job logs in, if it does.
    pub login: Option<Box<LoginSpec>>,
    /// The header profiles. Each session gets one of them at random; there may be none.
    pub profiles: Vec<Profile>,
    /// How pages are followed to the next ones, if they are.
    pub next: Option<Box<NextSpec>>,
}

/// How lists of pages are followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextSpec {
    /// Finds the link to the next page.
    pub link: Field,
    /// Most pages of a list, from 1 to [`PAGES_MAX`](crate::pages::PAGES_MAX).
    pub pages_max: u32,
}

impl FetchSpec {
    /// The product token that a robots.txt names this job by.
    #[must_use]
    pub fn product_token(&self) -> &str {
        let given = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("user-agent"));
        product_token(given.map_or(&self.user_agent, |(_, agent)| agent))
    }

    /// What its requests may carry of the user's secrets, to whom, and whom it trusts, in words that differ if any of
    /// that does: another server may answer then. `None` if all is as in other jobs. For comparison only: never shown.
    #[must_use]
    pub fn secrets(&self) -> Option<String> {
        let headers: Vec<_> = self.headers.iter().filter(|(name, _)| may_be_secret(name)).collect();
        let are_homes_secret = self.header_scope.homes.iter().any(|home| home.contains('@'));
        let TransportSpec { pins, ca, insecure, http1: _, identity } = &self.transport;
        let identity = identity.as_ref().map(|identity| &identity.certificate);
        let is_elsewhere = !pins.is_empty() || !ca.is_empty() || *insecure || identity.is_some();
        let has_own = !headers.is_empty() || are_homes_secret || is_elsewhere;
        has_own
            .then(|| format!("{headers:?} {:?} {pins:?} {ca:?} {insecure} {identity:?}", self.header_scope))
    }
}

fn may_be_secret(name: &str) -> bool {
    !name.parse().is_ok_and(|name| is_harmless(&name))
}

/// Limits of a parse job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParseSpec {
    /// Largest file in bytes; a larger one fails with `too_large`.
    pub body_bytes_max: u64,
    /// Files whose names mean something only in the supervisor.
    pub held: Vec<HeldFile>,
}

/// A file that the supervisor holds open, because its name means something else in a worker: `/dev/stdin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldFile {
    /// Its path as given.
    #[serde(with = "crate::path")]
    pub path: PathBuf,
    /// A descriptor of the supervisor, which the sandbox hides: it is opened before that.
    #[serde(with = "crate::path")]
    pub at: PathBuf,
}

/// The user's program, and what is expected of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapSpec {
    /// Its name and its arguments.
    pub command: Vec<OsString>,
    /// Longest time it may take for one line, from when it has answered all before it.
    pub timeout: Duration,
    /// Attempts after the first at a line it died on.
    pub retries: u32,
    /// Whether a record is its line alone, whatever that is.
    pub raw: bool,
    /// How many lines it is given at once, if it works in batches.
    pub batch: Option<NonZeroU32>,
    /// Lines it may have been given and not answered; `None` is as many as keep it busy.
    pub in_flight_max: Option<NonZeroU32>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::codec::Joiner;
    use crate::protocol::ToWorker;

    proptest! {
        #[test]
        fn garbage_is_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Joiner::default().push::<ToWorker>(&bytes);
        }
    }
}
