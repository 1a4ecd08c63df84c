//! Outputs that are objects in a store: `-o s3://BUCKET/KEY`.
//!
//! Nothing can be appended to an object, so the records go into a file on this
//! machine first, with a journal beside it as ever; when the run is complete
//! the thread that wrote it uploads it, and only then the journal goes. What was
//! killed before that is uploaded by the run that resumes it.
//!
//! Invariant: nothing on this machine is taken away before the store has said
//! that it has all of it.

mod access;
mod error;
mod url;

#[cfg(feature = "objects")]
mod begin;
#[cfg(feature = "objects")]
mod fault;
#[cfg(feature = "objects")]
mod http;
#[cfg(feature = "objects")]
mod remote;
#[cfg(feature = "objects")]
#[cfg(test)]
mod tests;
#[cfg(feature = "objects")]
mod upload;
#[cfg(feature = "objects")]
mod working;

use std::path::PathBuf;

pub use self::access::Access;
#[cfg(feature = "objects")]
pub(crate) use self::begin::{Begun, Wish, begin};
pub use self::error::ObjectError;
#[cfg(feature = "objects")]
pub(crate) use self::upload::Upload;
pub use self::url::ObjectUrl;
pub(crate) use self::url::located;
#[cfg(feature = "objects")]
pub(crate) use self::working::Working;

/// An output that becomes an object, or the objects under a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What was asked for.
    pub url: ObjectUrl,
    /// How the store is reached.
    pub access: Access,
    /// Where the records and all about them are kept until they are uploaded. Nothing else is in it.
    pub directory: PathBuf,
}
