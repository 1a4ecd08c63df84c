//! A response's body while it arrives: counts it, decodes it and enforces the limit.

use std::mem;

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::limits::Limits;
use super::rules::Rules;
use crate::stage::content_length::content_length;
use crate::stage::decode::{DecodeError, Decoder, Progress, codings};
use crate::stage::save::{FileSlot, PIECE_BYTES};

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
    /// How much of `bytes` the file that it is saved as has.
    passed: usize,
    /// Bytes that are no longer held in memory.
    dropped: u64,
    limits: Limits,
}

impl Body {
    /// Begins the body that follows a response head. Fails if the head already shows that the body cannot be
    /// accepted.
    pub(super) fn begin(headers: &HeaderMap, rules: &Rules, limits: Limits) -> Result<Self, DecodeError> {
        let codings = codings(headers)?;
        let length = limits.rest.map(|rest| rest.bytes).or_else(|| content_length(headers));
        let offset = limits.rest.map_or(0, |rest| rest.offset);
        let bytes_max = if codings.is_empty() { limits.bytes_max } else { limits.wire_bytes_max() };
        if !rules.cuts && length.is_some_and(|length| length.saturating_add(offset) > bytes_max) {
            return Err(DecodeError::TooLarge);
        }
        let decoder = if codings.is_empty() { None } else { Some(Decoder::new(&codings)?) };
        Ok(Self {
            received: 0,
            length,
            content_type: content_type(headers),
            decoder,
            waiting: Vec::new(),
            bytes: Vec::with_capacity(announced(headers).min(limits.reserve_max())),
            passed: 0,
            dropped: offset,
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

    /// Passes what is decoded to the file that it is saved as, if that is worth a write, or `all`.
    pub(super) fn pass_on(&mut self, all: bool, file: &mut FileSlot) {
        if self.limits.held_max.is_none() || self.bytes.len() - self.passed < PIECE_BYTES && !all {
            return;
        }
        if self.dropped == 0 && self.bytes.len() <= self.limits.held_max() {
            file.push(self.bytes.get(self.passed..).unwrap_or_default().to_vec());
            self.passed = self.bytes.len();
            return;
        }
        let bytes = self.bytes.len() as u64;
        self.dropped = self.dropped.saturating_add(bytes);
        let mut piece =
            mem::replace(&mut self.bytes, Vec::with_capacity(if all { 0 } else { 2 * PIECE_BYTES }));
        piece.drain(..mem::take(&mut self.passed));
        file.push(piece);
        if let Some(decoder) = &mut self.decoder {
            decoder.taken_out(bytes);
        }
    }

    /// Largest body that is accepted.
    pub(super) const fn bytes_max(&self) -> u64 {
        self.limits.bytes_max
    }

    /// Whether the body has another length than was announced. It is then shorter, or not the rest of a file that it
    /// said it was.
    pub(super) fn is_short(&self) -> bool {
        self.length.is_some_and(|length| self.received != length)
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
pub(super) fn content_type(headers: &HeaderMap) -> Option<String> {
    let mut lines = headers.get_all(CONTENT_TYPE).iter().map(|line| String::from_utf8_lossy(line.as_bytes()));
    let first = lines.next()?.into_owned();
    Some(lines.fold(first, |list, line| list + ", " + &line))
}

/// Bytes to reserve for a body with this head, before decoding.
pub(super) fn announced(headers: &HeaderMap) -> usize {
    let length = content_length(headers).unwrap_or(0);
    usize::try_from(length.min(RESERVE_BYTES_MAX)).unwrap_or(0)
}
