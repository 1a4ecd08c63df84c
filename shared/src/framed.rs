//! Values that follow each other in one stream of bytes: each is its length in eight bytes, little-endian, and its
//! encoding.

use bincode::config::Configuration;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of a length.
pub const LENGTH_BYTES: usize = 8;

const CONFIG: Configuration = bincode::config::standard();

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

/// The first value in `bytes`, and what follows it; `None` if there is no such value.
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
