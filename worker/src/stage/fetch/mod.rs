//! Fetching one URL: two thin clients under one layer that decides.
//!
//! `exchange` owns redirects, limits, content decoding and the classification of
//! failures, and touches no socket; [`blocking`] drives it over `ureq`, [`event_loop`]
//! over hyper. Whatever both need on the way to a connection (`dns`, `connect`, `tls`)
//! exists once. Invariant: for the same URL both clients give the same outcome.

pub(crate) mod blocking;
mod body;
mod connect;
mod dns;
pub(crate) mod event_loop;
mod exchange;
mod fault;
#[cfg(test)]
mod parity;
mod place;
mod retry_after;
mod rules;
pub(crate) mod tape;
mod target;
mod tls;
mod wire;

use std::time::Duration;

use shared::record::ErrorKind;
use url::Url;

/// A complete response that is not an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// Where the redirects ended, without credentials.
    pub(crate) final_url: Url,
    /// Below 400.
    pub(crate) status: u16,
    /// After content decoding.
    pub(crate) body: Vec<u8>,
    /// The `Content-Type` header as sent; what follows `charset=` is the label.
    pub(crate) content_type: Option<String>,
}

/// Why there is no such response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Which of the contract's kinds.
    pub(crate) kind: ErrorKind,
    /// What happened, on what, for a person.
    pub(crate) message: String,
    /// The hop that failed, without credentials; absent when the input was no URL.
    pub(crate) final_url: Option<Url>,
    /// Of that hop, when its head had arrived.
    pub(crate) status: Option<u16>,
    /// Body bytes that had arrived, before decoding.
    pub(crate) bytes: u64,
    /// Whether another attempt could end differently.
    pub(crate) may_pass: bool,
    /// What the server asked for, from now.
    pub(crate) retry_after: Option<Duration>,
}

/// How a fetch ends. Failures are rarer and larger than pages' heads, hence the box.
pub(crate) type Outcome = Result<Fetched, Box<Failure>>;
