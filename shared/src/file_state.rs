//! Identifies a file and its state. A file that several processes read in parts must not change from the first
//! part to the last, or old and new rows would be mixed.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

use serde::{Deserialize, Serialize};

/// The identity and state of a file at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    dev: u64,
    ino: u64,
    bytes: u64,
    modified_s: i64,
    modified_ns: i64,
}

impl From<&Metadata> for FileState {
    fn from(metadata: &Metadata) -> Self {
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
            bytes: metadata.len(),
            modified_s: metadata.mtime(),
            modified_ns: metadata.mtime_nsec(),
        }
    }
}

impl FileState {
    /// Describes how the file has changed since, or returns `None` if it has not.
    #[must_use]
    pub fn change(&self, now: &Self) -> Option<String> {
        let what = if (self.dev, self.ino) != (now.dev, now.ino) {
            "another file replaced it".to_owned()
        } else if now.bytes > self.bytes {
            format!("it grew from {} to {} bytes", self.bytes, now.bytes)
        } else if now.bytes < self.bytes {
            format!("it became shorter: from {} to {} bytes", self.bytes, now.bytes)
        } else if self != now {
            "it was modified".to_owned()
        } else {
            return None;
        };
        Some(format!("it changed while it was read: {what}; run again when no program writes to it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_change_is_described() {
        let was = FileState { dev: 1, ino: 2, bytes: 100, modified_s: 7, modified_ns: 8 };
        for (now, want) in [
            (was, None),
            (FileState { ino: 3, ..was }, Some("another file replaced it")),
            (FileState { dev: 3, bytes: 1, ..was }, Some("another file replaced it")),
            (FileState { bytes: 101, modified_s: 9, ..was }, Some("it grew from 100 to 101 bytes")),
            (FileState { bytes: 99, ..was }, Some("it became shorter: from 100 to 99 bytes")),
            (FileState { modified_ns: 9, ..was }, Some("it was modified")),
        ] {
            let got = was.change(&now);
            assert_eq!(got.is_some(), want.is_some(), "{got:?}");
            assert!(want.is_none_or(|want| got.as_ref().unwrap().contains(want)), "{got:?}");
        }
    }
}
