//! How large a body may be.

use crate::stage::decode::packed_bytes_max;
use crate::stage::save::{PIECE_BYTES, Rest};

/// How large a body may be, and how much of it is held in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Largest body, after decoding.
    pub(super) bytes_max: u64,
    /// How much of a body that is saved is held besides; `None` if it is not saved, and all is held.
    pub(super) held_max: Option<u64>,
    /// The part that is missing, if the rest was there before.
    pub(super) rest: Option<Rest>,
}

impl Limits {
    /// Most bytes that are held in memory.
    pub(super) fn held_max(self) -> usize {
        usize::try_from(self.held_max.unwrap_or(u64::MAX)).unwrap_or(usize::MAX)
    }

    /// Most bytes of memory to reserve at first.
    pub(super) fn reserve_max(self) -> usize {
        if self.held_max == Some(0) { 2 * PIECE_BYTES } else { self.held_max() }
    }

    /// Maximum body bytes before decoding. Without this limit a server could send data for ever that decodes to
    /// nothing.
    pub(super) const fn wire_bytes_max(self) -> u64 {
        packed_bytes_max(self.bytes_max)
    }
}
