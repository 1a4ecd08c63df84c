//! Values that follow each other in one stream of bytes: each is its length in eight bytes, little-endian, and its
//! encoding.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::codec::JOINED_BYTES_MAX;

/// Bytes of a length.
pub const LENGTH_BYTES: usize = 8;

/// Most bytes that a value may claim, at 8 for a number that is encoded as one. Without a limit, a length that a
/// compromised worker invents would be allocated, and end the supervisor.
const CLAIMED_BYTES_MAX: usize = 8 * JOINED_BYTES_MAX;

const CONFIG: Configuration<LittleEndian, Varint, Limit<CLAIMED_BYTES_MAX>> =
    bincode::config::standard().with_limit::<CLAIMED_BYTES_MAX>();

/// Appends a value.
pub fn push<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    // Plain data into memory: this does not fail.
    let _ = bincode::serde::encode_into_std_write(value, out, CONFIG);
    let bytes = (out.len() - start - LENGTH_BYTES) as u64;
    if let Some(length) = out.get_mut(start..start + LENGTH_BYTES) {
        length.copy_from_slice(&bytes.to_le_bytes());
    }
}

/// The length of the first value in `bytes` with what stands before it, if that much is there.
#[must_use]
pub fn length(bytes: &[u8]) -> Option<u64> {
    let (length, _) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    u64::from_le_bytes(*length).checked_add(LENGTH_BYTES as u64)
}

/// Splits off the first value in `bytes`. Returns `None` if `bytes` does not begin with a whole one.
#[must_use]
pub fn first<T: DeserializeOwned>(bytes: &[u8]) -> Option<(T, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    let (body, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    value(body).map(|value| (value, rest))
}

/// A value, without its length.
#[must_use]
pub fn value<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    let (value, used) = bincode::serde::decode_from_slice(body, CONFIG).ok()?;
    (used == body.len()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invented_length_is_refused_and_not_allocated() {
        for length in [1 << 31, 1 << 46, u64::MAX] {
            let body = bincode::serde::encode_to_vec(length, CONFIG).unwrap();
            assert_eq!(value::<String>(&body), None, "{length}");
            assert_eq!(value::<Vec<String>>(&body), None, "{length}");
            assert_eq!(value::<serde_bytes::ByteBuf>(&body), None, "{length}");
        }
        let mut framed = Vec::new();
        push(&vec!["a".to_owned(); 3], &mut framed);
        assert_eq!(first(&framed), Some((vec!["a".to_owned(); 3], &[][..])));
    }
}
