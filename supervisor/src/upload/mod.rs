//! Uploads an output that is to be an object in a store.
//!
//! Objects cannot be appended to, so the records first go into a file on this machine, with a
//! journal beside it as usual. When the run is complete, the writing thread uploads the file, and
//! only then removes the journal. If a run is killed before that, the run that resumes it uploads
//! the file.
//!
//! Invariant: nothing on this machine is removed before the store has confirmed that it has all of
//! it.

mod begin;
mod delivery;
mod fault;
mod http;
mod remote;
#[cfg(test)]
mod tests;
mod working;

pub(crate) use self::begin::{UploadOptions, UploadStart, begin};
pub(crate) use self::delivery::Upload;
pub(crate) use self::working::Working;
