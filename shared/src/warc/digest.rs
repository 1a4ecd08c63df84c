//! Digests as readers of archives expect them: SHA-1 in base 32. They detect damaged
//! blocks and equal pages; they are not protection against forgery.

use sha1::{Digest as _, Sha1};

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// SHA-1 of the parts, one after the other.
pub(super) fn sha1_of(parts: &[&[u8]]) -> [u8; 20] {
    let mut hasher = Sha1::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// What SHA-1 works on at a time.
const STEP_BYTES: usize = 64;

/// SHA-1 of `head` and `payload` together, and of `payload` alone.
///
/// Both are computed side by side, a step of each in turn. A step depends on the one before, and the CPU does
/// the other's meanwhile: on real pages that takes 16 µs instead of 26.
pub(super) fn sha1_of_both(head: &[u8], payload: &[u8]) -> [[u8; 20]; 2] {
    let (mut both, mut alone) = (Sha1::new_with_prefix(head), Sha1::new());
    // The bytes that complete the head's last block, so that from there on both have whole blocks.
    let fill = head.len().next_multiple_of(STEP_BYTES) - head.len();
    let (first, rest) = payload.split_at(fill.min(payload.len()));
    both.update(first);
    let (steps, _) = rest.as_chunks::<STEP_BYTES>();
    let mut done = 0;
    for (of_both, of_alone) in steps.iter().zip(payload.as_chunks::<STEP_BYTES>().0) {
        both.update(of_both);
        alone.update(of_alone);
        done += STEP_BYTES;
    }
    both.update(rest.get(done..).unwrap_or_default());
    alone.update(payload.get(done..).unwrap_or_default());
    [both.finalize().into(), alone.finalize().into()]
}

/// RFC 4648's base 32 of a SHA-1, which needs no padding.
#[must_use]
pub fn base32(digest: &[u8; 20]) -> String {
    let mut text = String::with_capacity(32);
    for five in digest.chunks_exact(5) {
        let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        for place in (0..8).rev() {
            let digit = usize::try_from(bits >> (place * 5) & 31).unwrap_or(0);
            text.push(char::from(ALPHABET.get(digit).copied().unwrap_or(b'A')));
        }
    }
    text
}
