//! Uploads an output that is to be an object in a store.
//!
//! Nothing can be appended to an object, so the records go into a file on this
//! machine first, with a journal beside it as ever; when the run is complete
//! the thread that wrote it uploads it, and only then the journal goes. What was
//! killed before that is uploaded by the run that resumes it.
//!
//! Invariant: nothing on this machine is taken away before the store has said
//! that it has all of it.

mod begin;
mod delivery;
mod fault;
mod http;
mod remote;
#[cfg(test)]
mod tests;
mod working;

pub(crate) use self::begin::{Begun, Wish, begin};
pub(crate) use self::delivery::Upload;
pub(crate) use self::working::Working;
