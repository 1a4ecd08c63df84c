//! What the supervisor and its workers agree on.
//!
//! | module | holds |
//! |---|---|
//! | [`job`] | the document that tells a worker what to do |
//! | [`csv`] | grouping and aggregation of CSV files |
//! | [`encoder`] | records in every form that they can leave a process in |
//! | [`table`], [`warc`] | records as rows and as records of a web archive |
//! | [`sitemap`] | what workers tell of sitemaps |
//! | [`framed`] | values in a stream of bytes |
//! | [`address`] | which addresses may be connected to |
//!
//! The rest comes from the crate `wire`, which knows no job: messages ([`protocol`]), how they are framed
//! ([`codec`]), [`record`]s, [`json`] as others send it, [`decimal`] numbers, the [`black_box`] and the [`clock`].
//! Selectors and field steps are the crate [`select`]. Nothing here depends on either binary, and
//! nothing here starts a process, opens a socket or reads a file.

pub mod address;
pub mod csv;
pub mod encoder;
pub mod file_state;
pub mod framed;
pub mod gunzip;
pub mod job;
pub mod path;
pub mod sitemap;
pub mod table;
pub mod tls;
pub mod warc;

pub use select;
pub use wire::{black_box, clock, codec, decimal, json, kept, record};

/// The messages, with the job that they carry.
pub mod protocol {
    pub use wire::protocol::*;

    /// Supervisor → worker.
    pub type ToWorker = wire::protocol::ToWorker<crate::job::JobSpec>;
}

/// Names the build both processes must share.
///
/// `bincode` frames do not describe themselves, so two builds that disagree on
/// a struct would read garbage; the handshake compares this instead.
pub const BUILD_ID: &str = env!("MUSTER_BUILD_ID");
