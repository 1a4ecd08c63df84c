//! Outputs that are objects in a store, `-o s3://BUCKET/KEY`: what was asked for, how the store is reached,
//! and what can go wrong. `upload` does it.

mod access;
mod error;
mod url;

use std::path::PathBuf;

pub use self::access::Access;
pub use self::error::ObjectError;
pub use self::url::ObjectUrl;
pub(crate) use self::url::located;

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
