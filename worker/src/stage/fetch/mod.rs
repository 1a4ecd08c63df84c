//! Fetches one URL: two thin clients under one layer that decides.
//!
//! `exchange` handles redirects, limits, content decoding and the classification of failures, and touches no
//! socket. [`blocking`] drives it with `ureq`, [`event_loop`] with hyper. What both need to make a connection
//! (`dns`, `connect`, `tls`) exists once. Invariant: both clients give the same outcome for the same URL.

mod blocked;
pub(crate) mod blocking;
mod body;
mod connect;
pub(crate) mod cookies;
mod dns;
pub(crate) mod event_loop;
mod exchange;
mod fault;
mod hop;
mod limits;
pub(crate) mod login;
#[cfg(test)]
mod parity;
mod pins;
mod proxy;
pub(crate) mod recording;
mod repair;
mod request;
mod retry_after;
mod rules;
mod scope;
pub(crate) mod since;
mod target;
mod tls;

use std::time::Duration;

use shared::kept::Kept;
use shared::protocol::Target;
use shared::record::ErrorKind;
use url::Url;

/// What is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// An input that the user named, within the limits of the job.
    Page,
    /// The same, of a sitemap, or a sitemap itself: others may have named it.
    Listed,
    /// A page that shows whether the session is alive, and that the user named for this: a GET, whatever the job sends.
    Check,
    /// A request of a login. What it carries along is the request, if that is more than a page.
    Login,
    /// A robots.txt, of which only the start is read.
    Robots {
        /// Whether the user named a page that it is read for.
        named: bool,
    },
}

impl Wanted {
    pub(crate) fn of(target: &Target) -> Self {
        if target.is_login() {
            return Self::Login;
        }
        // A page of the job's own carries along what its request needs.
        if target.is_check() && target.kept.is_empty() {
            return Self::Check;
        }
        let named = !Kept(&target.kept).is_found();
        match (target.is_robots(), named) {
            (true, named) => Self::Robots { named },
            (false, true) => Self::Page,
            (false, false) => Self::Listed,
        }
    }

    /// Whether the user named it, so that its origin may have the user's secrets.
    const fn is_named(self) -> bool {
        match self {
            Self::Page | Self::Check | Self::Login => true,
            Self::Listed => false,
            Self::Robots { named } => named,
        }
    }
}

/// A complete response with a status below 400.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// URL of the last redirect, without credentials.
    pub(crate) final_url: Url,
    /// Always below 400.
    pub(crate) status: u16,
    /// After content decoding.
    pub(crate) body: Vec<u8>,
    /// The `Content-Type` header as sent, with its `charset` parameter.
    pub(crate) content_type: Option<String>,
}

/// Why there is no such response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Kind of the error, as written to the record.
    pub(crate) kind: ErrorKind,
    /// What failed, on what, and why.
    pub(crate) message: String,
    /// URL of the hop that failed, without credentials. Absent if the input is not a URL.
    pub(crate) final_url: Option<Url>,
    /// Status of that hop, if its head had arrived.
    pub(crate) status: Option<u16>,
    /// Body bytes received, before decoding.
    pub(crate) bytes: u64,
    /// Whether another attempt could succeed.
    pub(crate) may_pass: bool,
    /// Delay that the server asked for, from now on.
    pub(crate) retry_after: Option<Duration>,
    /// The page that came with a status of 400 or above, if the job has rules for it.
    pub(crate) page: Option<ErrorPage>,
}

/// The page of a status of 400 or above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ErrorPage {
    /// After content decoding.
    pub(crate) body: Vec<u8>,
    /// The `Content-Type` header as sent.
    pub(crate) content_type: Option<String>,
}

pub(crate) use self::hop::{blocked_message, logged_out_message};
#[cfg(test)]
pub(crate) use self::rules::tests::spec as fetch_spec;

/// Whether a server answers with this status that it gets too many requests.
const fn is_refusal(status: u16) -> bool {
    matches!(status, 429 | 503)
}

/// The outcome of a fetch. A failure is boxed because it is rare, and larger than a response head.
pub(crate) type Outcome = Result<Fetched, Box<Failure>>;
