//! What the supervisor and its workers share.
//!
//! | module | holds |
//! |---|---|
//! | [`job`] | the document that tells a worker what to do |
//! | [`select`] | selectors and field steps, parsed |
//! | [`csv`] | grouping and aggregation of CSV files |
//! | [`decimal`] | numbers compared digit by digit |
//! | [`table`], [`warc`] | records as rows and as records of a web archive |
//! | [`address`] | which addresses a job may connect to |
//!
//! The crate `wire` holds what does not depend on a job: messages ([`protocol`]) and their framing ([`codec`]),
//! [`record`]s, [`json`] of other programs, the [`black_box`] and the [`clock`]. Nothing here depends on either
//! binary, starts a process, opens a socket or reads a file.

pub mod address;
pub mod csv;
pub mod decimal;
pub mod file_state;
pub mod gunzip;
pub mod job;
pub mod path;
pub mod select;
pub mod table;
pub mod tls;
pub mod warc;

pub use wire::{black_box, clock, codec, json, record};

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
