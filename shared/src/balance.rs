//! Tells compressed data from data that only keeps a decoder busy.
//!
//! Every compressed format can say nothing at length: empty deflate blocks, gzip members without data, skippable zstd
//! frames, brotli metadata. A decoder turns gigabytes of that into no bytes, so that no limit on its output ever
//! applies. Here, what goes in is weighed against what comes out.

use std::io;

/// Bytes that may come to nothing. A zstd block of 128 KiB is taken in whole before the first byte of it comes out.
const FREE_BYTES: u64 = 256 * 1024;

/// Bytes taken in, beyond the free ones, for each byte given out. A server that flushes its encoder after every byte
/// sends seven for one.
const RATIO: u64 = 8;

/// What one decoder has taken in and given out so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Balance {
    taken: u64,
    given: u64,
}

impl Balance {
    /// Counts what a step took in and gave out.
    pub const fn add(&mut self, taken: usize, given: usize) {
        self.taken = self.taken.saturating_add(taken as u64);
        self.given = self.given.saturating_add(given as u64);
    }

    /// Returns the bytes given out so far.
    #[must_use]
    pub const fn given(self) -> u64 {
        self.given
    }

    /// Whether more bytes went in than any encoder needs for what came out.
    #[must_use]
    pub const fn is_hollow(self) -> bool {
        self.taken > self.given.saturating_mul(RATIO).saturating_add(FREE_BYTES)
    }

    /// # Errors
    /// The data is hollow.
    pub fn check(self) -> io::Result<()> {
        if !self.is_hollow() {
            return Ok(());
        }
        let Self { taken, given } = self;
        let why = format!("it is almost empty: its first {taken} bytes decode to {given}");
        Err(io::Error::new(io::ErrorKind::InvalidData, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_data_that_comes_to_almost_nothing_is_hollow() {
        for (taken, given, is_hollow) in [
            (0, 0, false),
            (FREE_BYTES, 0, false),
            (FREE_BYTES + 1, 0, true),
            (FREE_BYTES + 800, 100, false),
            (FREE_BYTES + 801, 100, true),
            (u64::MAX, u64::MAX, false),
        ] {
            assert_eq!(Balance { taken, given }.is_hollow(), is_hollow, "{taken} → {given}");
        }
        let error = Balance { taken: 1 << 20, given: 3 }.check().unwrap_err();
        assert_eq!(error.to_string(), "it is almost empty: its first 1048576 bytes decode to 3");
    }
}
