//! Content decoding: what `Content-Encoding` did to a body, undone piece by piece.
//!
//! Fed by [`super::fetch`], in whatever pieces the network delivers. However much
//! a body swells, no more than the size limit and one scratch buffer per coding is
//! ever held.

use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use flate2::{Decompress, FlushDecompress, Status};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, Operation as _};

/// Codings stacked on one body. Real servers use one, confused proxies two; more is an attack.
const STACKED_MAX: usize = 3;

/// What one coding may hand on at a time. Small enough to stay in the CPU's cache.
const SCRATCH_BYTES: usize = 32 * 1024;

/// RFC 9659 lets a content coding ask for a window of 8 MiB, no more.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Largest window of gzip and deflate, as a power of two.
const DEFLATE_WINDOW_LOG: u8 = 15;

/// A coding this worker can undo.
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
    #[error("content-encoding {0} is not one of gzip, deflate, br, zstd")]
    Unknown(String),
    #[error("content-encoding has {0} layers, more than {STACKED_MAX}")]
    Stacked(usize),
    #[error("the body is not valid {0}")]
    Corrupt(&'static str),
    #[error("the body's {0} data ends too early")]
    Truncated(&'static str),
    /// The limit given to [`Decoder::push`] was passed.
    #[error("the decoded body is too large")]
    TooLarge,
}

/// The codings of a response, in the order in which the server applied them.
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
                return Err(DecodeError::Unknown(String::from_utf8_lossy(name).into_owned()));
            });
        }
    }
    if found.len() > STACKED_MAX { Err(DecodeError::Stacked(found.len())) } else { Ok(found) }
}

/// Undoes a stack of codings.
pub(crate) struct Decoder {
    /// The coding applied last comes first.
    layers: Vec<Layer>,
}

impl Decoder {
    /// For codings in the order in which they were applied.
    pub(crate) fn new(codings: &[Coding]) -> Result<Self, DecodeError> {
        let layers = codings.iter().rev().map(|coding| Layer::new(*coding)).collect::<Result<_, _>>()?;
        Ok(Self { layers })
    }

    /// Decodes the next piece onto the end of `body`, which never grows past `bytes_max`.
    pub(crate) fn push(
        &mut self,
        input: &[u8],
        body: &mut Vec<u8>,
        bytes_max: u64,
    ) -> Result<(), DecodeError> {
        feed(&mut self.layers, input, body, bytes_max)
    }

    /// Checks that every coding came to its own end.
    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        // A response without a body may still name a coding; nothing was cut short then.
        match self.layers.iter().find(|layer| layer.begun && !layer.ended) {
            Some(layer) => Err(DecodeError::Truncated(layer.coding.name())),
            None => Ok(()),
        }
    }
}

fn feed(
    layers: &mut [Layer],
    mut input: &[u8],
    body: &mut Vec<u8>,
    bytes_max: u64,
) -> Result<(), DecodeError> {
    let Some((layer, below)) = layers.split_first_mut() else {
        if (body.len() as u64).saturating_add(input.len() as u64) > bytes_max {
            return Err(DecodeError::TooLarge);
        }
        body.extend_from_slice(input);
        return Ok(());
    };
    if input.is_empty() {
        return Ok(());
    }
    layer.begun = true;
    loop {
        if layer.ended && !layer.restart(input) {
            return Ok(());
        }
        let step = layer.codec.step(input, &mut layer.scratch);
        let step = step.ok_or(DecodeError::Corrupt(layer.coding.name()))?;
        input = input.get(step.consumed..).unwrap_or_default();
        layer.ended = step.ended;
        feed(below, layer.scratch.get(..step.produced).unwrap_or_default(), body, bytes_max)?;
        let more_inside = step.produced == layer.scratch.len() && !step.ended;
        if input.is_empty() && !more_inside {
            return Ok(());
        }
        if step.consumed == 0 && step.produced == 0 && !step.ended {
            // No decoder waits for more while it still has input.
            return Err(DecodeError::Corrupt(layer.coding.name()));
        }
    }
}

struct Layer {
    coding: Coding,
    codec: Codec,
    scratch: Box<[u8]>,
    begun: bool,
    ended: bool,
}

impl Layer {
    fn new(coding: Coding) -> Result<Self, DecodeError> {
        let codec = match coding {
            Coding::Gzip => Codec::Inflate(Decompress::new_gzip(DEFLATE_WINDOW_LOG)),
            Coding::Deflate => Codec::Sniff(None),
            Coding::Brotli => Codec::Brotli(Box::new(BrotliState::new(
                StandardAlloc::default(),
                StandardAlloc::default(),
                StandardAlloc::default(),
            ))),
            Coding::Zstd => {
                let decoder = ZstdDecoder::new().and_then(|mut decoder| {
                    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
                    Ok(decoder)
                });
                Codec::Zstd(decoder.map_err(|_| DecodeError::Corrupt(coding.name()))?)
            }
        };
        let scratch = vec![0; SCRATCH_BYTES].into_boxed_slice();
        Ok(Self { coding, codec, scratch, begun: false, ended: false })
    }

    /// Whether what follows the end belongs to the body. The rest is padding that
    /// some servers send and every browser ignores.
    fn restart(&mut self, input: &[u8]) -> bool {
        match self.coding {
            Coding::Gzip if input.first() == Some(&0x1f) => {
                self.codec = Codec::Inflate(Decompress::new_gzip(DEFLATE_WINDOW_LOG));
                true
            }
            Coding::Zstd => true,
            Coding::Gzip | Coding::Deflate | Coding::Brotli => false,
        }
    }
}

struct Step {
    consumed: usize,
    produced: usize,
    ended: bool,
}

enum Codec {
    Inflate(Decompress),
    /// `deflate` before its first two bytes told zlib's framing from none; holds the first.
    Sniff(Option<u8>),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
    Zstd(ZstdDecoder<'static>),
}

impl Codec {
    /// Decodes some of `input` into `output`; `None` when the data is not valid.
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Option<Step> {
        match self {
            Self::Inflate(inflate) => step_inflate(inflate, input, output),
            Self::Sniff(held) => {
                let (first, second) = match *held {
                    Some(first) => (Some(first), input.first()),
                    None => (input.first().copied(), input.get(1)),
                };
                let (Some(first), Some(second)) = (first, second.copied()) else {
                    *held = first;
                    return Some(Step { consumed: input.len(), produced: 0, ended: false });
                };
                let mut inflate = Decompress::new(is_zlib(first, second));
                if held.is_some() {
                    // One byte is never enough to yield any output.
                    step_inflate(&mut inflate, &[first], output)?;
                }
                let step = step_inflate(&mut inflate, input, output);
                *self = Self::Inflate(inflate);
                step
            }
            Self::Brotli(state) => step_brotli(state, input, output),
            Self::Zstd(decoder) => {
                let status = decoder.run_on_buffers(input, output).ok()?;
                Some(Step {
                    consumed: status.bytes_read,
                    produced: status.bytes_written,
                    ended: status.remaining == 0,
                })
            }
        }
    }
}

fn step_inflate(inflate: &mut Decompress, input: &[u8], output: &mut [u8]) -> Option<Step> {
    let (read, written) = (inflate.total_in(), inflate.total_out());
    let status = inflate.decompress(input, output, FlushDecompress::None).ok()?;
    Some(Step {
        consumed: usize::try_from(inflate.total_in() - read).ok()?,
        produced: usize::try_from(inflate.total_out() - written).ok()?,
        ended: matches!(status, Status::StreamEnd),
    })
}

fn step_brotli(
    state: &mut BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    input: &[u8],
    output: &mut [u8],
) -> Option<Step> {
    let (mut left, mut consumed) = (input.len(), 0);
    let (mut room, mut produced) = (output.len(), 0);
    let mut total = 0;
    let result = BrotliDecompressStream(
        &mut left,
        &mut consumed,
        input,
        &mut room,
        &mut produced,
        output,
        &mut total,
        state,
    );
    match result {
        BrotliResult::ResultFailure => None,
        BrotliResult::ResultSuccess => Some(Step { consumed, produced, ended: true }),
        BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {
            Some(Step { consumed, produced, ended: false })
        }
    }
}

/// Whether two bytes are a zlib header (RFC 1950). Servers disagree on what `deflate` means.
const fn is_zlib(first: u8, second: u8) -> bool {
    first & 0x0f == 8 && first >> 4 <= 7 && u16::from_be_bytes([first, second]).is_multiple_of(31)
}

#[cfg(test)]
pub(crate) mod tests;
