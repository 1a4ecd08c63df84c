//! Fetches one URL: two thin clients under one layer that decides.
//!
//! `exchange` handles redirects, limits, content decoding and the classification of failures, and touches no
//! socket. [`blocking`] drives it with `ureq`, [`event_loop`] with hyper. What both need to make a connection
//! (`dns`, `connect`, `tls`) exists once. Invariant: both clients give the same outcome for the same URL.

pub mod blocking;
mod body;
mod connect;
mod dns;
pub mod event_loop;
mod exchange;
mod fault;
mod hop;
#[cfg(test)]
mod parity;
pub(crate) mod recording;
mod repair;
mod retry_after;
mod rules;
mod target;
mod tls;

use std::time::Duration;

use shared::record::ErrorKind;
use url::Url;

pub use rules::HeaderError;

/// A complete response with a status below 400.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// URL of the last redirect, without credentials.
    pub final_url: Url,
    /// Always below 400.
    pub status: u16,
    /// After content decoding.
    pub body: Vec<u8>,
    /// The `Content-Type` header as sent, with its `charset` parameter.
    pub content_type: Option<String>,
}

/// Why there is no such response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Kind of the error, as written to the record.
    pub kind: ErrorKind,
    /// What failed, on what, and why.
    pub message: String,
    /// URL of the hop that failed, without credentials. Absent if the input is not a URL.
    pub final_url: Option<Url>,
    /// Status of that hop, if its head had arrived.
    pub status: Option<u16>,
    /// Body bytes received, before decoding.
    pub bytes: u64,
    /// Whether another attempt could succeed.
    pub may_pass: bool,
    /// Delay that the server asked for, from now on.
    pub retry_after: Option<Duration>,
}

/// The outcome of a fetch. A failure is boxed because it is rare, and larger than a response head.
pub type Outcome = Result<Fetched, Box<Failure>>;
