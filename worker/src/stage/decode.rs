//! Decodes `Content-Encoding`, piece by piece.
//!
//! [`super::fetch`] passes in the pieces as the network delivers them. However much a body expands, no more is
//! held than the size limit and one scratch buffer per coding.

mod gzip;
mod inflate;

use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, Operation as _};

use inflate::Inflate;

/// Maximum codings on one body. Real servers use one, misconfigured proxies two; more is an attack.
const STACKED_MAX: usize = 3;

/// Maximum bytes that one coding passes on at once. Small enough to stay in the CPU's cache.
const SCRATCH_BYTES: usize = 32 * 1024;

/// RFC 9659 limits the window of the zstd content coding to 8 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Size of the optional checksum after a zstd frame.
const ZSTD_CHECKSUM_BYTES: usize = 4;

/// libzstd's error for a frame whose data is complete and whose checksum differs.
const ZSTD_CHECKSUM_WRONG: &str = "Restored data doesn't match checksum";

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

/// Decodes a stack of codings.
pub(crate) struct Decoder {
    /// The coding that was applied last comes first.
    layers: Vec<Layer>,
}

impl Decoder {
    /// Creates a decoder for codings in the order in which they were applied.
    pub(crate) fn new(codings: &[Coding]) -> Result<Self, DecodeError> {
        let layers = codings.iter().rev().map(|coding| Layer::new(*coding)).collect::<Result<_, _>>()?;
        Ok(Self { layers })
    }

    /// Decodes the next piece to the end of `body`, which never grows beyond `bytes_max`.
    pub(crate) fn push(
        &mut self,
        input: &[u8],
        body: &mut Vec<u8>,
        bytes_max: u64,
    ) -> Result<(), DecodeError> {
        feed(&mut self.layers, input, body, bytes_max)
    }

    /// Checks that every coding's data is complete. A missing checksum is accepted.
    pub(crate) fn finish(&mut self) -> Result<(), DecodeError> {
        // A response without a body may name a coding; it is still complete.
        match self.layers.iter_mut().find_map(|layer| layer.is_short().then_some(layer.coding)) {
            Some(coding) => Err(DecodeError::Truncated(coding.name())),
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
        let Some(step) = layer.codec.step(input, &mut layer.scratch) else {
            return layer.refuse();
        };
        input = input.get(step.consumed..).unwrap_or_default();
        layer.ended = step.ended;
        feed(below, layer.scratch.get(..step.produced).unwrap_or_default(), body, bytes_max)?;
        let more_inside = step.produced == layer.scratch.len() && !step.ended;
        if input.is_empty() && !more_inside {
            return Ok(());
        }
        if step.consumed == 0 && step.produced == 0 && !step.ended {
            // A decoder consumes all its input before it waits for more.
            return Err(DecodeError::Corrupt(layer.coding.name()));
        }
    }
}

struct Layer {
    coding: Coding,
    codec: Codec,
    scratch: Box<[u8]>,
    begun: bool,
    /// A stream has ended; another one may follow.
    ended: bool,
    /// Only padding follows the last stream.
    over: bool,
    /// More than one stream has begun.
    restarted: bool,
}

impl Layer {
    fn new(coding: Coding) -> Result<Self, DecodeError> {
        let codec = match coding {
            Coding::Gzip => Codec::Inflate(Inflate::gzip()),
            Coding::Deflate => Codec::Inflate(Inflate::deflate()),
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
        Ok(Self { coding, codec, scratch, begun: false, ended: false, over: false, restarted: false })
    }

    /// Whether another stream follows the end of a stream. Otherwise the rest is padding, which some servers send
    /// and gzip and every browser ignore.
    fn restart(&mut self, input: &[u8]) -> bool {
        let is_next = match (self.coding, input.first()) {
            (_, None) => false,
            (Coding::Gzip, Some(byte)) => *byte == 0x1f,
            // A frame, or a skippable frame (RFC 8878, 3.1).
            (Coding::Zstd, Some(byte)) => *byte == 0x28 || byte & 0xf0 == 0x50,
            (Coding::Deflate | Coding::Brotli, Some(_)) => false,
        };
        if self.over || !is_next {
            self.over = true;
            return false;
        }
        if self.coding == Coding::Gzip {
            self.codec = Codec::Inflate(Inflate::gzip());
        }
        self.restarted = true;
        true
    }

    /// Handles invalid data. After a complete stream, anything that is not another stream is padding.
    fn refuse(&mut self) -> Result<(), DecodeError> {
        if self.in_later_head() {
            (self.ended, self.over) = (true, true);
            return Ok(());
        }
        Err(DecodeError::Corrupt(self.coding.name()))
    }

    /// Whether no data of a possible further stream has arrived yet.
    fn in_later_head(&self) -> bool {
        self.restarted && matches!(&self.codec, Codec::Inflate(inflate) if inflate.in_head())
    }

    /// Whether data is missing.
    fn is_short(&mut self) -> bool {
        self.begun && !self.ended && !self.in_later_head() && !self.codec.has_all_data()
    }
}

struct Step {
    consumed: usize,
    produced: usize,
    ended: bool,
}

enum Codec {
    Inflate(Inflate),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
    Zstd(ZstdDecoder<'static>),
}

impl Codec {
    /// Decodes some of `input` into `output`. Returns `None` if the data is invalid.
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Option<Step> {
        match self {
            Self::Inflate(inflate) => inflate.step(input, output),
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

    /// Whether a stream that has not ended lacks only its checksum.
    fn has_all_data(&mut self) -> bool {
        match self {
            Self::Inflate(inflate) => inflate.has_all_data(),
            Self::Brotli(_) => false,
            Self::Zstd(decoder) => lacks_checksum_only(decoder),
        }
    }
}

/// libzstd does not say where a frame's data ended. But it compares the checksum only after the data. So a made-up
/// checksum reveals it: if libzstd reports the checksum and decodes nothing, the data was complete.
fn lacks_checksum_only(decoder: &mut ZstdDecoder<'static>) -> bool {
    let mut output = [0; 1];
    for _ in 0..ZSTD_CHECKSUM_BYTES {
        match decoder.run_on_buffers(&[0], &mut output) {
            Ok(status) if status.bytes_written == 0 && status.remaining > 0 => {}
            Ok(status) => return status.bytes_written == 0,
            Err(error) => return error.to_string() == ZSTD_CHECKSUM_WRONG,
        }
    }
    false
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

#[cfg(test)]
pub(crate) mod tests;
