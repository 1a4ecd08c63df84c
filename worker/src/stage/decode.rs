//! Decodes `Content-Encoding` and gzip files, piece by piece, within limits on memory and time.
//!
//! [`super::fetch`] passes in the pieces as the network delivers them. However much a body expands, no more is
//! held than the size limit and one scratch buffer per coding. However long its data keeps a decoder busy, the caller
//! can look at its clock in between: [`Decoder::push`] returns after a bounded amount of work.
//!
//! What counts, in every layer and not only at the end of the stack:
//!
//! | limit | against |
//! |---|---|
//! | [`STACKED_MAX`] layers | stacks that multiply whatever else is allowed |
//! | the limit of the body, and 1/64 more between two layers | a small body behind gigabytes of the layers below |
//! | [`shared::balance`]: what comes out, for what goes in | empty blocks, members, frames and metadata |
//! | [`CPU_FREE`], and a little for each byte of the body | data that is slow to decode |

mod frames;
mod gzip;
mod inflate;
mod layer;

use std::time::Duration;

use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use shared::clock;

use layer::Layer;

/// Maximum codings on one body. Real servers use one, misconfigured proxies two; more is an attack.
const STACKED_MAX: usize = 3;

/// Maximum bytes that all layers together take in, and give out, before the caller gets its turn. The slowest data
/// known, with a code table for every few bytes, keeps a decoder busy for some milliseconds that long.
const TURN_BYTES_IN: usize = 32 * 1024;
const TURN_BYTES_OUT: usize = 256 * 1024;

/// CPU time for a body that comes to nothing.
const CPU_FREE: Duration = Duration::from_millis(250);

/// Further CPU time for each byte of the body: 4 MB per second. Decoders reach a hundred times as much.
const CPU_PER_BYTE: Duration = Duration::from_nanos(250);

/// A coding that this worker can decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// Why a body cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("content-encoding has {0} layers, more than {STACKED_MAX}")]
    Stacked(usize),
    #[error("the body is not valid {0}")]
    Corrupt(&'static str),
    #[error("the body's {0} data is truncated")]
    Truncated(&'static str),
    #[error("the body's {0} data is almost empty: what comes out of it is a small part of what goes in")]
    Hollow(&'static str),
    #[error("the body takes too long to decode: less than 4 MB in each second of CPU time")]
    Slow,
    /// The limit given to [`Decoder::push`] was exceeded.
    #[error("the decoded body is too large")]
    TooLarge,
}

/// Returns the codings of a response, in the order in which the server applied them. Returns none if one of them
/// is unknown: the body is then used as it is (Fetch standard, "handle content codings"). Servers write charsets,
/// `none` and `aws-chunked` there, without meaning a coding.
pub(crate) fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, DecodeError> {
    let mut found = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        for name in value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            if name.is_empty() || is("identity") {
                continue;
            }
            found.push(if is("gzip") || is("x-gzip") {
                Coding::Gzip
            } else if is("deflate") {
                Coding::Deflate
            } else if is("br") {
                Coding::Brotli
            } else if is("zstd") {
                Coding::Zstd
            } else {
                return Ok(Vec::new());
            });
        }
    }
    if found.len() > STACKED_MAX { Err(DecodeError::Stacked(found.len())) } else { Ok(found) }
}

/// Whether a decoder is done with what it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Progress {
    /// It needs more input.
    Done,
    /// It has work left: push again, even without input.
    More,
}

/// Decodes a stack of codings.
pub(crate) struct Decoder {
    /// The coding that was applied last comes first.
    layers: Vec<Layer>,
    turn: Turn,
    /// Bytes of the body that the caller has taken out of it.
    before: u64,
    /// CPU time of all turns but the first, which is too short to be worth a look at the clock.
    spent: Duration,
}

/// The work since the caller had its turn.
#[derive(Debug, Clone, Copy, Default)]
struct Turn {
    taken: usize,
    given: usize,
    /// Whether it is not the first turn of this body.
    is_later: bool,
}

/// The largest amount of data that a limit on a body allows between two layers, or before the first. Incompressible
/// data grows a little when compressed.
pub(crate) const fn packed_bytes_max(bytes_max: u64) -> u64 {
    bytes_max.saturating_add(bytes_max / 64).saturating_add(1024)
}

impl Decoder {
    /// Creates a decoder for codings in the order in which they were applied.
    pub(crate) fn new(codings: &[Coding]) -> Result<Self, DecodeError> {
        let layers = codings.iter().rev().map(|coding| Layer::new(*coding)).collect::<Result<_, _>>()?;
        Ok(Self { layers, turn: Turn::default(), before: 0, spent: Duration::ZERO })
    }

    /// Tells that the caller has taken this many bytes out of the body. They count as a part of it.
    pub(crate) const fn taken_out(&mut self, bytes: u64) {
        self.before += bytes;
    }

    /// Decodes the next piece to the end of `body`, which never grows beyond `bytes_max`, and removes what it has
    /// taken from `input`. After [`Progress::More`], what is left of the input must be pushed again.
    pub(crate) fn push(
        &mut self,
        input: &mut &[u8],
        body: &mut Vec<u8>,
        bytes_max: u64,
    ) -> Result<Progress, DecodeError> {
        if !self.turn.is_later {
            return self.work(input, body, bytes_max);
        }
        let begun = clock::thread_cpu();
        let progress = self.work(input, body, bytes_max)?;
        self.spent += clock::thread_cpu().saturating_sub(begun);
        let bytes = u32::try_from(self.before.saturating_add(body.len() as u64)).unwrap_or(u32::MAX);
        if self.spent > CPU_FREE.saturating_add(CPU_PER_BYTE.saturating_mul(bytes)) {
            return Err(DecodeError::Slow);
        }
        Ok(progress)
    }

    /// Checks that every coding's data is complete. A missing checksum is accepted.
    pub(crate) fn finish(&mut self) -> Result<(), DecodeError> {
        // A response without a body may name a coding; it is still complete.
        match self.layers.iter_mut().find_map(|layer| layer.is_short().then_some(layer.name())) {
            Some(name) => Err(DecodeError::Truncated(name)),
            None => Ok(()),
        }
    }

    /// Decodes until nothing is left to do, or the caller should get its turn.
    fn work(
        &mut self,
        input: &mut &[u8],
        body: &mut Vec<u8>,
        bytes_max: u64,
    ) -> Result<Progress, DecodeError> {
        while self.step(input, body, bytes_max)? {
            if self.turn.taken >= TURN_BYTES_IN || self.turn.given >= TURN_BYTES_OUT {
                self.turn = Turn { is_later: true, ..Turn::default() };
                return Ok(Progress::More);
            }
        }
        Ok(Progress::Done)
    }

    /// Lets one layer work: the last one that can, so that no more than a buffer waits between two layers. Returns
    /// false if none can.
    fn step(&mut self, input: &mut &[u8], body: &mut Vec<u8>, bytes_max: u64) -> Result<bool, DecodeError> {
        for number in (0..self.layers.len()).rev() {
            let Some((before, [layer, after @ ..])) = self.layers.split_at_mut_checked(number) else { break };
            let above = before.last_mut();
            let Some((taken, given)) = layer.work(above.as_ref().map_or(*input, |above| above.ready()))?
            else {
                continue;
            };
            match above {
                Some(above) => above.take(taken),
                None => *input = input.get(taken..).unwrap_or_default(),
            }
            self.turn.taken += taken;
            self.turn.given += given;
            if after.is_empty() {
                let plain = layer.ready();
                let before = self.before.saturating_add(body.len() as u64);
                if before.saturating_add(plain.len() as u64) > bytes_max {
                    return Err(DecodeError::TooLarge);
                }
                body.extend_from_slice(plain);
                layer.take(plain.len());
            } else if layer.given() > packed_bytes_max(bytes_max) {
                return Err(DecodeError::TooLarge);
            }
            return Ok(true);
        }
        Ok(false)
    }
}

#[cfg(test)]
pub(crate) mod tests;
