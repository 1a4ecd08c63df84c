//! Outputs that are objects in a store, `-o s3://BUCKET/KEY`: their names, how to reach the store,
//! and the errors. The upload itself is in `upload`.

mod access;
mod error;
mod url;

use std::path::PathBuf;

pub use self::access::Access;
pub use self::error::ObjectError;
pub use self::url::ObjectUrl;
pub(crate) use self::url::located;

/// An output that becomes an object, or several objects under a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Address of the output.
    pub url: ObjectUrl,
    /// How to reach the store.
    pub access: Access,
    /// Directory for the records and everything about them until they are uploaded. It holds
    /// nothing else.
    pub directory: PathBuf,
}
