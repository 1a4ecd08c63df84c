//! gzip, zlib and raw deflate. The wrapper is read here, the data by `flate2`.
//!
//! A decoder that reads the wrapper itself does not say where the data ended. That is needed to tell a body
//! without its checksum from one that lost data.

use flate2::{Crc, Decompress, FlushDecompress, Status};
use zlib_rs::adler32::adler32;

use super::gzip::Head;

/// The Adler-32 checksum of no data (RFC 1950).
const ADLER_OF_NOTHING: u32 = 1;

/// What one step of a decoder came to.
pub(super) struct Step {
    pub(super) consumed: usize,
    pub(super) produced: usize,
    pub(super) ended: bool,
}

/// One compressed stream, including its wrapper.
pub(super) struct Inflate {
    data: Decompress,
    sum: Sum,
    stage: Stage,
}

/// The checksum at the end of a stream.
enum Sum {
    /// CRC-32 and length, eight bytes.
    Gzip(Crc),
    /// Adler-32, four bytes.
    Zlib(u32),
    /// Raw deflate has no checksum.
    None,
}

enum Stage {
    GzipHead(Head),
    /// `deflate`, until its first two bytes show whether it has zlib's wrapper. Holds the first byte.
    Sniff(Option<u8>),
    Data,
    /// The data is complete. Holds the part of the checksum that has arrived.
    Trailer(Vec<u8>),
}

impl Inflate {
    pub(super) fn gzip() -> Self {
        Self::new(Sum::Gzip(Crc::new()), Stage::GzipHead(Head::default()))
    }

    /// Creates a stream for `deflate`, with or without zlib's wrapper, because servers disagree about its meaning.
    pub(super) fn deflate() -> Self {
        Self::new(Sum::None, Stage::Sniff(None))
    }

    /// Begins another member of gzip data, without a new window.
    pub(super) fn restart_gzip(&mut self) {
        self.data.reset(false);
        (self.sum, self.stage) = (Sum::Gzip(Crc::new()), Stage::GzipHead(Head::default()));
    }

    fn new(sum: Sum, stage: Stage) -> Self {
        Self { data: Decompress::new(false), sum, stage }
    }

    /// Whether all data has been decoded, even if a part of the trailer is missing.
    pub(super) const fn has_all_data(&self) -> bool {
        matches!(self.stage, Stage::Trailer(_))
    }

    /// Whether the wrapper's header is still being read.
    pub(super) const fn in_head(&self) -> bool {
        matches!(self.stage, Stage::GzipHead(_))
    }

    /// Decodes some of `input` into `output`. Returns `None` if the data is invalid.
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Option<Step> {
        match &mut self.stage {
            Stage::GzipHead(head) => {
                let consumed = head.push(input)?;
                if head.is_complete() {
                    self.stage = Stage::Data;
                }
                Some(Step { consumed, produced: 0, ended: false })
            }
            Stage::Sniff(held) => {
                let (first, second) = match *held {
                    Some(first) => (Some(first), input.first()),
                    None => (input.first().copied(), input.get(1)),
                };
                let (Some(first), Some(second)) = (first, second.copied()) else {
                    *held = first;
                    return Some(Step { consumed: input.len(), produced: 0, ended: false });
                };
                let held = held.is_some();
                self.begin(first, second, held, input, output)
            }
            Stage::Data => self.inflate(input, output),
            Stage::Trailer(seen) => {
                let wanted = self.sum.bytes();
                let consumed = input.len().min(wanted.len().saturating_sub(seen.len()));
                seen.extend_from_slice(input.get(..consumed).unwrap_or_default());
                let ended = seen.len() == wanted.len();
                (!ended || *seen == wanted).then_some(Step { consumed, produced: 0, ended })
            }
        }
    }

    /// Handles the first two bytes of `deflate`. The first is no longer in `input` if it was `held`.
    fn begin(&mut self, first: u8, second: u8, held: bool, input: &[u8], output: &mut [u8]) -> Option<Step> {
        self.stage = Stage::Data;
        if is_zlib(first, second) {
            self.sum = Sum::Zlib(ADLER_OF_NOTHING);
            return Some(Step { consumed: if held { 1 } else { 2 }, produced: 0, ended: false });
        }
        if held {
            // One byte never suffices to produce output.
            self.inflate(&[first], output)?;
        }
        self.inflate(input, output)
    }

    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Option<Step> {
        let (read, written) = (self.data.total_in(), self.data.total_out());
        let status = self.data.decompress(input, output, FlushDecompress::None).ok()?;
        let consumed = usize::try_from(self.data.total_in() - read).ok()?;
        let produced = usize::try_from(self.data.total_out() - written).ok()?;
        self.sum.update(output.get(..produced)?);
        let is_end = matches!(status, Status::StreamEnd);
        if is_end {
            self.stage = Stage::Trailer(Vec::new());
        }
        Some(Step { consumed, produced, ended: is_end && matches!(self.sum, Sum::None) })
    }
}

impl Sum {
    fn update(&mut self, plain: &[u8]) {
        match self {
            Self::Gzip(crc) => crc.update(plain),
            Self::Zlib(adler) => *adler = adler32(*adler, plain),
            Self::None => {}
        }
    }

    /// Returns the trailer that the data requires.
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Gzip(crc) => [crc.sum().to_le_bytes(), crc.amount().to_le_bytes()].concat(),
            Self::Zlib(adler) => adler.to_be_bytes().to_vec(),
            Self::None => Vec::new(),
        }
    }
}

/// Whether two bytes are a zlib header (RFC 1950) without a dictionary.
const fn is_zlib(first: u8, second: u8) -> bool {
    first & 0x0f == 8
        && first >> 4 <= 7
        && second & 0x20 == 0
        && u16::from_be_bytes([first, second]).is_multiple_of(31)
}
