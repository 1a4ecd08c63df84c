//! The framing of a chunked body (RFC 9112, 7.1), followed byte by byte.
//!
//! A client gets chunk sizes without extensions and padding, line ends of two bytes and no
//! trailers. The data is not touched.

use super::super::fault::Fault;

/// Longest line that holds a chunk's size, and longest trailer. Signed uploads carry extensions
/// of a hundred bytes; the rest is room.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of all trailers together.
const TRAILER_BYTES_MAX: usize = super::HEAD_BYTES_MAX;

/// Leading zeros of a size that may pass. With 16 digits of a size they make up `ureq`'s limit of 20.
const ZEROS_MAX: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Size,
    /// Whatever follows the size on its line.
    Extension,
    ExtensionCr,
    SizeEnd,
    Data,
    DataEnd,
    DataEndLf,
    /// Behind the last chunk, at the beginning of a line.
    TrailerStart,
    Trailer,
    TrailersEnd,
    End,
}

/// What becomes of a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Keep,
    Drop,
    /// It stands for a line's end.
    LineEnd,
}

/// How far a chunked body has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunks {
    part: Part,
    /// Of the chunk, as far as it has been read; then what is left of its data.
    size: u64,
    /// Bytes of the line so far, or of all trailers.
    line: usize,
    /// A line ended without CR. Other readers may not see a line's end there.
    odd: bool,
}

impl Chunks {
    pub(super) const fn new() -> Self {
        Self { part: Part::Size, size: 0, line: 0, odd: false }
    }

    pub(super) fn is_end(&self) -> bool {
        self.part == Part::End
    }

    /// Whether readers may disagree on where this body ends.
    pub(super) const fn is_odd(&self) -> bool {
        self.odd
    }

    /// Goes on over `bytes` while they are tidy. If not all are, what it has become is of no use.
    pub(super) fn passes(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            bytes = bytes.get(self.skip_data(bytes.len())..).unwrap_or_default();
            match bytes.split_first() {
                None => return true,
                Some(_) if self.is_end() => return false,
                Some((byte, rest)) => match self.step(*byte) {
                    Ok(Fate::Keep) => bytes = rest,
                    Ok(Fate::Drop | Fate::LineEnd) | Err(_) => return false,
                },
            }
        }
    }

    /// Goes on over `bytes` and writes what a client may have; returns how many were the body's.
    pub(super) fn rewrite(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Fault> {
        let mut at = 0;
        while !self.is_end() {
            let data = self.skip_data(bytes.len().saturating_sub(at));
            out.extend_from_slice(bytes.get(at..at + data).unwrap_or_default());
            at += data;
            let Some(byte) = bytes.get(at) else { break };
            match self.step(*byte)? {
                Fate::Keep => out.push(*byte),
                Fate::Drop => {}
                Fate::LineEnd => out.extend_from_slice(b"\r\n"),
            }
            at += 1;
        }
        Ok(at)
    }

    /// Passes over what is data in the next `available` bytes; returns how many.
    fn skip_data(&mut self, available: usize) -> usize {
        if self.part != Part::Data {
            return 0;
        }
        let here = usize::try_from(self.size).unwrap_or(usize::MAX).min(available);
        self.size = self.size.saturating_sub(here as u64);
        if self.size == 0 {
            self.part = Part::DataEnd;
        }
        here
    }

    fn step(&mut self, byte: u8) -> Result<Fate, Fault> {
        match (self.part, byte) {
            (Part::Size, _) => self.size_byte(byte),
            (Part::SizeEnd | Part::Extension | Part::ExtensionCr, b'\n') => Ok(self.end_size()),
            (Part::Extension | Part::ExtensionCr, _) => {
                self.part = if byte == b'\r' { Part::ExtensionCr } else { Part::Extension };
                self.count(LINE_BYTES_MAX, Fate::Drop)
            }
            (Part::DataEnd, b'\r') => Ok(self.go(Part::DataEndLf, Fate::Keep)),
            (Part::DataEnd, b'\n') => {
                self.odd = true;
                Ok(self.begin_size(Fate::LineEnd))
            }
            (Part::DataEndLf, b'\n') => Ok(self.begin_size(Fate::Keep)),
            (Part::TrailerStart, b'\r') => Ok(self.go(Part::TrailersEnd, Fate::Keep)),
            (Part::TrailerStart, b'\n') => {
                self.odd = true;
                Ok(self.go(Part::End, Fate::LineEnd))
            }
            (Part::TrailersEnd, b'\n') => Ok(self.go(Part::End, Fate::Keep)),
            (Part::TrailerStart | Part::Trailer, _) => {
                self.part = if byte == b'\n' { Part::TrailerStart } else { Part::Trailer };
                self.count(TRAILER_BYTES_MAX, Fate::Drop)
            }
            (
                Part::SizeEnd | Part::Data | Part::DataEnd | Part::DataEndLf | Part::TrailersEnd | Part::End,
                _,
            ) => Err(Fault::Chunk),
        }
    }

    fn size_byte(&mut self, byte: u8) -> Result<Fate, Fault> {
        let is_first = self.line == 0;
        match byte {
            b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                let size = self.size.checked_mul(16).and_then(|size| size.checked_add(digit.into()));
                self.size = size.ok_or(Fault::Chunk)?;
                let passes = self.size > 0 || self.line < ZEROS_MAX;
                self.count(LINE_BYTES_MAX, if passes { Fate::Keep } else { Fate::Drop })
            }
            _ if is_first => Err(Fault::Chunk),
            b'\r' => Ok(self.go(Part::SizeEnd, Fate::Keep)),
            b'\n' => Ok(self.end_size()),
            b';' | b' ' | b'\t' => Ok(self.go(Part::Extension, Fate::Drop)),
            _ => Err(Fault::Chunk),
        }
    }

    fn end_size(&mut self) -> Fate {
        self.odd |= matches!(self.part, Part::Size | Part::Extension);
        let fate = if self.part == Part::SizeEnd { Fate::Keep } else { Fate::LineEnd };
        self.line = 0;
        self.go(if self.size == 0 { Part::TrailerStart } else { Part::Data }, fate)
    }

    fn begin_size(&mut self, fate: Fate) -> Fate {
        self.line = 0;
        self.go(Part::Size, fate)
    }

    fn go(&mut self, part: Part, fate: Fate) -> Fate {
        self.part = part;
        fate
    }

    fn count(&mut self, max: usize, fate: Fate) -> Result<Fate, Fault> {
        self.line += 1;
        if self.line > max { Err(Fault::Chunk) } else { Ok(fate) }
    }
}
