//! A response's body while it arrives: counts it, decodes it and enforces the limit.

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};

use super::limits::Limits;
use super::rules::Rules;
use crate::stage::decode::{DecodeError, Decoder, Progress, codings};
use crate::stage::save::FileSlot;

/// Maximum bytes to reserve for a body because of its `Content-Length` alone.
const RESERVE_BYTES_MAX: u64 = 256 * 1024;

/// A body, as far as it has been received.
pub(super) struct Body {
    /// Bytes received, before decoding.
    pub(super) received: u64,
    /// Bytes announced by the head.
    pub(super) length: Option<u64>,
    pub(super) content_type: Option<String>,
    decoder: Option<Decoder>,
    /// What the decoder has not taken yet, after [`Progress::More`].
    waiting: Vec<u8>,
    /// What is held in memory of it.
    bytes: Vec<u8>,
    /// Bytes that are no longer held in memory.
    dropped: u64,
    limits: Limits,
}

impl Body {
    /// Begins the body that follows a response head. Fails if the head already shows that the body cannot be
    /// accepted.
    pub(super) fn begin(headers: &HeaderMap, rules: &Rules, limits: Limits) -> Result<Self, DecodeError> {
        let codings = codings(headers)?;
        let length = content_length(headers);
        let bytes_max = if codings.is_empty() { limits.bytes_max } else { limits.wire_bytes_max() };
        if !rules.cuts && length.is_some_and(|length| length.saturating_add(limits.offset) > bytes_max) {
            return Err(DecodeError::TooLarge);
        }
        let decoder = if codings.is_empty() { None } else { Some(Decoder::new(&codings)?) };
        Ok(Self {
            received: 0,
            length,
            content_type: content_type(headers),
            decoder,
            waiting: Vec::new(),
            bytes: Vec::with_capacity(announced(headers).min(limits.held_max())),
            dropped: limits.offset,
            limits,
        })
    }

    /// Takes in the next piece. After [`Progress::More`], [`Self::go_on`] must come before the next one.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<Progress, DecodeError> {
        self.received = self.received.saturating_add(chunk.len() as u64);
        let bytes_max = self.limits.bytes_max;
        match &mut self.decoder {
            Some(_) if self.received > self.limits.wire_bytes_max() => Err(DecodeError::TooLarge),
            Some(decoder) => {
                let mut rest = chunk;
                let progress = decoder.push(&mut rest, &mut self.bytes, bytes_max)?;
                self.waiting = rest.to_vec();
                Ok(progress)
            }
            None => {
                let room = bytes_max.saturating_sub(self.dropped.saturating_add(self.bytes.len() as u64));
                let fits = usize::try_from(room).unwrap_or(usize::MAX).min(chunk.len());
                self.bytes.extend_from_slice(chunk.get(..fits).unwrap_or_default());
                if fits < chunk.len() { Err(DecodeError::TooLarge) } else { Ok(Progress::Done) }
            }
        }
    }

    /// Goes on with what is left of the last piece.
    pub(super) fn go_on(&mut self) -> Result<Progress, DecodeError> {
        let Some(decoder) = &mut self.decoder else { return Ok(Progress::Done) };
        let mut rest = self.waiting.as_slice();
        let progress = decoder.push(&mut rest, &mut self.bytes, self.limits.bytes_max)?;
        let taken = self.waiting.len() - rest.len();
        self.waiting.drain(..taken);
        Ok(progress)
    }

    /// Passes what was decoded since the last call to the file that it is saved as.
    pub(super) fn pass_on(&mut self, passed: usize, file: &mut FileSlot) {
        file.push(self.bytes.get(passed..).unwrap_or_default());
        if self.dropped > 0 || self.bytes.len() > self.limits.held_max() {
            let bytes = self.bytes.len() as u64;
            self.dropped = self.dropped.saturating_add(bytes);
            self.bytes.clear();
            if let Some(decoder) = &mut self.decoder {
                decoder.taken_out(bytes);
            }
        }
    }

    /// Whether it is saved as a file.
    pub(super) const fn is_saved(&self) -> bool {
        self.limits.held_max.is_some()
    }

    /// Bytes held in memory.
    pub(super) const fn held(&self) -> usize {
        self.bytes.len()
    }

    /// Largest body that is accepted.
    pub(super) const fn bytes_max(&self) -> u64 {
        self.limits.bytes_max
    }

    /// Whether the body ended before its announced length.
    pub(super) fn is_short(&self) -> bool {
        self.length.is_some_and(|length| self.received < length)
    }

    /// Returns the bytes decoded so far.
    pub(super) fn cut(self) -> Vec<u8> {
        self.bytes
    }

    /// Returns the decoded bytes, if every coding has come to its end.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, DecodeError> {
        if let Some(decoder) = &mut self.decoder {
            decoder.finish()?;
        }
        Ok(self.bytes)
    }
}

/// The `Content-Type`. Several lines become one list.
fn content_type(headers: &HeaderMap) -> Option<String> {
    let mut lines = headers.get_all(CONTENT_TYPE).iter().map(|line| String::from_utf8_lossy(line.as_bytes()));
    let first = lines.next()?.into_owned();
    Some(lines.fold(first, |list, line| list + ", " + &line))
}

/// Bytes to reserve for a body with this head, before decoding.
pub(super) fn announced(headers: &HeaderMap) -> usize {
    let length = content_length(headers).unwrap_or(0);
    usize::try_from(length.min(RESERVE_BYTES_MAX)).unwrap_or(0)
}

/// The content length. Both clients have already rejected repeated or contradictory ones.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return None;
    }
    let value = headers.get(CONTENT_LENGTH)?.to_str().ok()?;
    value.split(',').next()?.trim().parse().ok()
}
