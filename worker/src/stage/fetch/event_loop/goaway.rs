//! Origins that refuse HTTP/2 (RFC 9113, 7), and the frame that says so: `GOAWAY` with `HTTP_1_1_REQUIRED`.
//!
//! `h2` reports that code only for requests that the frame names as never processed. If a server counts a request
//! as processed and closes, that request only sees a broken connection, and requests that wait for the connection
//! see nothing. So the frame is looked for here.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Uri;
use http::uri::Authority;

/// Host and port of origins that refuse HTTP/2 although they have offered it.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusals(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Whether the set is not empty. Checked for each request.
    any: AtomicBool,
    origins: Mutex<HashSet<Authority>>,
}

impl Refusals {
    pub(super) fn add(&self, uri: &Uri) {
        self.lock().extend(uri.authority().cloned());
        self.0.any.store(true, Ordering::Relaxed);
    }

    pub(super) fn contains(&self, uri: &Uri) -> bool {
        self.0.any.load(Ordering::Relaxed)
            && uri.authority().is_some_and(|authority| self.lock().contains(authority))
    }

    // Only one thread uses it, but a connector must be `Send`.
    fn lock(&self) -> MutexGuard<'_, HashSet<Authority>> {
        self.0.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Size of a frame's header (RFC 9113, 4.1).
const HEAD_BYTES: usize = 9;

const GOAWAY: u8 = 7;

/// Size of a `GOAWAY` frame up to its error code (RFC 9113, 6.8).
const GOAWAY_BYTES: usize = HEAD_BYTES + 8;

const HTTP_1_1_REQUIRED: [u8; 4] = [0, 0, 0, 0x0d];

/// Finds `GOAWAY` frames in what one connection reads.
#[derive(Debug, Default)]
pub(super) struct GoAway {
    /// The start of the current frame, as far as it matters.
    frame: Vec<u8>,
    /// Bytes to skip before the next frame.
    skip: usize,
}

impl GoAway {
    /// Scans bytes from the server. Returns whether they contain the refusal.
    pub(super) fn on_read(&mut self, mut bytes: &[u8]) -> bool {
        let mut found = false;
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            let wanted = if self.frame.get(3) == Some(&GOAWAY) { GOAWAY_BYTES } else { HEAD_BYTES };
            let taken = (wanted - self.frame.len()).min(bytes.len() - skipped);
            self.frame.extend_from_slice(bytes.get(skipped..skipped + taken).unwrap_or_default());
            bytes = bytes.get(skipped + taken..).unwrap_or_default();
            found |= self.judge();
        }
        found
    }

    fn judge(&mut self) -> bool {
        let &[high, middle, low, kind, _, _, _, _, _, ref payload @ ..] = self.frame.as_slice() else {
            return false;
        };
        if kind == GOAWAY && payload.len() < GOAWAY_BYTES - HEAD_BYTES {
            return false;
        }
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        let is_refusal = payload.ends_with(&HTTP_1_1_REQUIRED);
        self.skip = length.saturating_sub(payload.len());
        self.frame.clear();
        is_refusal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, 0, 0, 0, 0, 1][..], payload].concat()
    }

    #[test]
    fn only_the_refusal_is_found_however_the_bytes_are_split() {
        let goaway = |code: u8| frame(GOAWAY, &[0, 0, 0, 1, 0, 0, 0, code, b'w', b'h', b'y']);
        let (settings, data) = (frame(4, &[]), frame(0, &[7, 0, 0, 0, 0x0d]));
        for (frames, want) in [
            ([settings.clone(), data.clone(), goaway(0x0d)].concat(), true),
            ([settings.clone(), goaway(0x0d), data.clone()].concat(), true),
            ([goaway(0), goaway(0x0d)].concat(), true),
            ([settings, data.clone(), goaway(0), data].concat(), false),
            (frame(3, &HTTP_1_1_REQUIRED), false),
        ] {
            for piece in [1, 2, 9, 10, usize::MAX] {
                let mut goaway = GoAway::default();
                let found = frames.chunks(piece).any(|piece| goaway.on_read(piece));
                assert_eq!(found, want, "{frames:?} in pieces of {piece}");
            }
        }
    }
}
