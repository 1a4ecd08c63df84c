//! What passes between the supervisor and one worker, whatever the job is.
//!
//! | module | holds |
//! |---|---|
//! | [`protocol`] | the messages, generic over the document that describes a job |
//! | [`codec`] | encodes messages in pieces small enough for a channel |
//! | [`record`] | one output record, and the kinds of error it can carry |
//! | [`crawl`] | where a crawl has found a page |
//! | [`cookie`] | a cookie, as either process keeps it |
//! | [`kept`] | what a target carries along into its record |
//! | [`pages`] | lists of pages that are followed from each to the next |
//! | [`json`] | JSON as others send it, kept as it stands |
//! | [`decimal`] | decimal numbers, compared digit by digit |
//! | [`mode`] | the four ways to use processes and waiting |
//! | [`black_box`] | the shared page that survives a worker's death |
//! | [`clock`] | the only module that reads the time |
//!
//! Nothing here knows HTML, CSV, compression or HTTP, so that the crate that decides can depend on this one alone.

pub mod black_box;
pub mod clock;
pub mod codec;
pub mod cookie;
pub mod crawl;
pub mod decimal;
pub mod json;
pub mod kept;
pub mod mode;
pub mod pages;
pub mod protocol;
pub mod record;
