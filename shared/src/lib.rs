//! What the supervisor and its workers agree on.
//!
//! Messages ([`protocol`]), how they are framed ([`codec`]), what is to be done
//! ([`job`], [`select`], [`csv`]), what comes out ([`record`], [`table`], [`warc`]) and what survives a
//! worker's death ([`black_box`]). Nothing here depends on either binary, and
//! nothing here starts a process, opens a socket or reads a file.

pub mod address;
pub mod black_box;
pub mod clock;
pub mod codec;
pub mod csv;
pub mod job;
pub mod protocol;
pub mod record;
pub mod select;
pub mod table;
pub mod tls;
pub mod warc;

/// Names the build both processes must share.
///
/// `bincode` frames do not describe themselves, so two builds that disagree on
/// a struct would read garbage; the handshake compares this instead.
pub const BUILD_ID: &str = env!("MUSTER_BUILD_ID");
