//! Hashes a body while it is written, and keeps its first bytes.

use std::fmt::Write as _;
use std::io::{self, Read};

use ring::digest::{Context, SHA256};

use super::sniff::HEAD_BYTES;

/// Bytes per read of an existing file.
const PIECE_BYTES: usize = 256 * 1024;

/// The hash of a body so far.
pub(super) struct Digest {
    context: Context,
    bytes: u64,
    head: Vec<u8>,
}

/// What a complete body is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) bytes: u64,
    /// In hexadecimal digits.
    pub(super) sha256: String,
    /// Its first bytes, to tell its type.
    pub(super) head: Vec<u8>,
}

impl Default for Digest {
    fn default() -> Self {
        Self { context: Context::new(&SHA256), bytes: 0, head: Vec::new() }
    }
}

impl Digest {
    /// The hash of a file from its position on. `step` is called again and again meanwhile.
    pub(super) fn of(mut file: impl Read, step: impl Fn()) -> io::Result<Self> {
        let (mut digest, mut piece) = (Self::default(), vec![0; PIECE_BYTES]);
        loop {
            match file.read(&mut piece) {
                Ok(0) => return Ok(digest),
                Ok(read) => digest.add(piece.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            step();
        }
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        let missing = HEAD_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(bytes.get(..missing).unwrap_or_default());
        self.context.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn sum(self) -> Sum {
        let digest = self.context.finish();
        let sha256 = digest.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a text does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        Sum { bytes: self.bytes, sha256, head: self.head }
    }
}
