//! Digests as every reader of archives expects them: SHA-1, in base 32. They
//! find a block that was damaged and pages that are the same; they prove nothing.

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
