//! The real executables against a real server on loopback.
//!
//! One file for each promise of the product; `harness` is how tests start and
//! watch processes. Every wait has a deadline, every process is gone when its
//! test is, and no test depends on another.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where and stop"
)]

mod addresses;
mod advise;
mod as_sent;
mod bans;
mod chaos;
mod charsets;
mod compare;
mod cookies;
mod crawl;
mod csv;
mod csv_numbers;
mod extraction;
mod extraction_depth;
mod failed_inputs;
mod feeds;
mod files;
mod harness;
mod hostile;
mod inherited;
mod inputs;
mod lists;
mod load;
mod login;
mod map;
mod modes;
mod next;
mod once;
mod ordered;
mod output;
mod parse;
mod politeness;
mod processes;
mod progress;
mod proxies;
mod recycle;
mod requests;
mod resume;
mod retries;
mod robots;
mod sandbox;
mod saved;
mod served;
mod service;
mod shortage;
mod since;
mod sinks;
mod sources;
mod stopping;
mod storm;
mod streams;
mod summary;
mod taken_over;
mod terminal;
mod tls;
mod torn;
mod usage;
mod warc;
