//! What the supervisor and its workers share.
//!
//! | module | holds |
//! |---|---|
//! | [`job`] | the document that tells a worker what to do |
//! | [`csv`] | grouping and aggregation of CSV files |
//! | [`crawl`] | which links a crawl follows, and what workers send of them |
//! | [`cookies`] | cookies as browsers keep them, and `cookies.txt` |
//! | [`encoder`] | records in every form that they can leave a process in |
//! | [`table`], [`warc`] | records as rows and as records of a web archive |
//! | [`sitemap`] | what workers send of sitemaps |
//! | [`redact`] | what is shown of flags, URLs, headers and messages |
//! | [`since`] | what one run notes of pages for a later one |
//! | [`save`] | names of the files that bodies are kept as |
//! | [`robots`] | what a robots.txt says, and how it is read |
//! | [`framed`] | values in a stream of bytes |
//! | [`address`] | which addresses a job may connect to |
//! | [`proxy`] | proxies, and which requests go through which |
//! | [`request`], [`template`] | what requests send besides their URL, and texts with columns in them |
//! | [`transport`] | how servers are reached, and which are trusted |
//! | [`request_headers`] | which headers a user may set, and which of them are secrets |
//!
//! The crate `wire` holds what does not depend on a job: messages ([`protocol`]) and their framing ([`codec`]),
//! [`record`]s, [`json`] of other programs, [`decimal`] numbers, the [`black_box`] and the [`clock`]. Selectors and
//! field steps are the crate [`select`]. Nothing here depends on either binary, starts a process, opens a socket or
//! reads a file.

pub mod address;
pub mod balance;
pub mod cookies;
pub mod crawl;
pub mod csv;
pub mod domain;
pub mod encoder;
pub mod file_state;
pub mod framed;
pub mod gunzip;
pub mod job;
pub mod login;
pub mod path;
pub mod proxy;
pub mod redact;
pub mod request;
pub mod request_headers;
pub mod robots;
pub mod save;
pub mod since;
pub mod sitemap;
pub mod table;
pub mod template;
pub mod tls;
pub mod transport;
pub mod unzstd;
pub mod warc;

pub use select;
pub use wire::{black_box, clock, codec, decimal, json, kept, pages, record};

/// The messages, with the job's types filled in.
pub mod protocol {
    pub use wire::protocol::*;

    /// Supervisor → worker.
    pub type ToWorker = wire::protocol::ToWorker<crate::job::JobSpec>;
}

/// Identifies the build, which must be the same in both processes.
///
/// `bincode` data does not describe itself, so builds that disagree on a struct would misread each other. The
/// handshake compares this instead.
pub const BUILD_ID: &str = env!("MUSTER_BUILD_ID");
