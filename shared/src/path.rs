//! Paths in messages, as bytes like in the kernel. serde writes a path as text and fails on one that is not UTF-8,
//! so the message could not be sent.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

/// Serializes a path, for `#[serde(with = "crate::path")]`.
///
/// # Errors
/// Errors of the serializer.
pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    OsStr::serialize(path.as_os_str(), serializer)
}

/// Deserializes a path.
///
/// # Errors
/// Errors of the deserializer.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    OsString::deserialize(deserializer).map(PathBuf::from)
}
