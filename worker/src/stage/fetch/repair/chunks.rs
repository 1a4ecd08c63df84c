//! Parses the framing of a chunked body (RFC 9112, 7.1) byte by byte.
//!
//! A client gets chunk sizes without extensions and padding, line ends of two bytes, and no trailers. The data is
//! unchanged.

use super::super::fault::Fault;

/// Maximum length of a chunk's size line and of a trailer line. Signed uploads have extensions of about a hundred
/// bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Maximum length of all trailers together.
const TRAILER_BYTES_MAX: usize = super::HEAD_BYTES_MAX;

/// Maximum bytes that a client does not get (extensions, zeros and trailers), beyond one for each byte of data.
/// Otherwise a server could send chunks of one byte with long extensions until the time is over.
const DROPPED_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Leading zeros that are passed on. With the 16 digits of a size they make up `ureq`'s limit of 20.
const ZEROS_MAX: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Size,
    /// Anything after the size on its line.
    Extension,
    ExtensionCr,
    SizeEnd,
    Data,
    DataEnd,
    DataEndLf,
    /// The start of a line after the last chunk.
    TrailerStart,
    Trailer,
    TrailersEnd,
    End,
}

/// What to do with a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Keep,
    Drop,
    /// Write a line end instead.
    LineEnd,
}

/// The state of a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunks {
    part: Part,
    /// The chunk's size as read so far, then the rest of its data.
    size: u64,
    /// Length of the current line, or of all trailers.
    line: usize,
    /// Data so far.
    data: u64,
    /// Bytes so far that a client does not get.
    dropped: u64,
    /// A line ended without CR. Other readers may not see a line end there.
    odd: bool,
}

impl Chunks {
    pub(super) const fn new() -> Self {
        Self { part: Part::Size, size: 0, line: 0, data: 0, dropped: 0, odd: false }
    }

    pub(super) fn is_end(&self) -> bool {
        self.part == Part::End
    }

    /// Whether readers may disagree on where this body ends.
    pub(super) const fn is_odd(&self) -> bool {
        self.odd
    }

    /// Advances over `bytes` and returns whether all of them are tidy. If not, the state is no longer valid.
    pub(super) fn passes(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            bytes = bytes.get(self.skip_data(bytes.len())..).unwrap_or_default();
            match bytes.split_first() {
                None => return true,
                Some(_) if self.is_end() => return false,
                Some((byte, rest)) => match self.step(*byte) {
                    Ok(Action::Keep) => bytes = rest,
                    Ok(Action::Drop | Action::LineEnd) | Err(_) => return false,
                },
            }
        }
    }

    /// Advances over `bytes` and writes what a client may have. Returns how many belong to the body.
    pub(super) fn rewrite(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Fault> {
        let mut at = 0;
        while !self.is_end() {
            let data = self.skip_data(bytes.len().saturating_sub(at));
            out.extend_from_slice(bytes.get(at..at + data).unwrap_or_default());
            at += data;
            let Some(byte) = bytes.get(at) else { break };
            match self.step(*byte)? {
                Action::Keep => out.push(*byte),
                Action::Drop => {}
                Action::LineEnd => out.extend_from_slice(b"\r\n"),
            }
            at += 1;
        }
        Ok(at)
    }

    /// Skips the data in the next `available` bytes and returns its length.
    fn skip_data(&mut self, available: usize) -> usize {
        if self.part != Part::Data {
            return 0;
        }
        let here = usize::try_from(self.size).unwrap_or(usize::MAX).min(available);
        self.size = self.size.saturating_sub(here as u64);
        self.data = self.data.saturating_add(here as u64);
        if self.size == 0 {
            self.part = Part::DataEnd;
        }
        here
    }

    fn step(&mut self, byte: u8) -> Result<Action, Fault> {
        match (self.part, byte) {
            (Part::Size, _) => self.size_byte(byte),
            (Part::SizeEnd | Part::Extension | Part::ExtensionCr, b'\n') => Ok(self.end_size()),
            (Part::Extension | Part::ExtensionCr, _) => {
                self.part = if byte == b'\r' { Part::ExtensionCr } else { Part::Extension };
                self.count(LINE_BYTES_MAX, Action::Drop)
            }
            (Part::DataEnd, b'\r') => Ok(self.go(Part::DataEndLf, Action::Keep)),
            (Part::DataEnd, b'\n') => {
                self.odd = true;
                Ok(self.begin_size(Action::LineEnd))
            }
            (Part::DataEndLf, b'\n') => Ok(self.begin_size(Action::Keep)),
            (Part::TrailerStart, b'\r') => Ok(self.go(Part::TrailersEnd, Action::Keep)),
            (Part::TrailerStart, b'\n') => {
                self.odd = true;
                Ok(self.go(Part::End, Action::LineEnd))
            }
            (Part::TrailersEnd, b'\n') => Ok(self.go(Part::End, Action::Keep)),
            (Part::TrailerStart | Part::Trailer, _) => {
                self.part = if byte == b'\n' { Part::TrailerStart } else { Part::Trailer };
                self.count(TRAILER_BYTES_MAX, Action::Drop)
            }
            (
                Part::SizeEnd | Part::Data | Part::DataEnd | Part::DataEndLf | Part::TrailersEnd | Part::End,
                _,
            ) => Err(Fault::Chunk),
        }
    }

    fn size_byte(&mut self, byte: u8) -> Result<Action, Fault> {
        let is_first = self.line == 0;
        match byte {
            b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                let size = self.size.checked_mul(16).and_then(|size| size.checked_add(digit.into()));
                self.size = size.ok_or(Fault::Chunk)?;
                let passes = self.size > 0 || self.line < ZEROS_MAX;
                self.count(LINE_BYTES_MAX, if passes { Action::Keep } else { Action::Drop })
            }
            _ if is_first => Err(Fault::Chunk),
            b'\r' => Ok(self.go(Part::SizeEnd, Action::Keep)),
            b'\n' => Ok(self.end_size()),
            b';' | b' ' | b'\t' => Ok(self.go(Part::Extension, Action::Drop)),
            _ => Err(Fault::Chunk),
        }
    }

    fn end_size(&mut self) -> Action {
        self.odd |= matches!(self.part, Part::Size | Part::Extension);
        let action = if self.part == Part::SizeEnd { Action::Keep } else { Action::LineEnd };
        self.line = 0;
        self.go(if self.size == 0 { Part::TrailerStart } else { Part::Data }, action)
    }

    fn begin_size(&mut self, action: Action) -> Action {
        self.line = 0;
        self.go(Part::Size, action)
    }

    fn go(&mut self, part: Part, action: Action) -> Action {
        self.part = part;
        action
    }

    fn count(&mut self, max: usize, action: Action) -> Result<Action, Fault> {
        self.line += 1;
        self.dropped += u64::from(action == Action::Drop);
        let is_over = self.line > max || self.dropped > self.data.saturating_add(DROPPED_BYTES_MAX);
        if is_over { Err(Fault::Chunk) } else { Ok(action) }
    }
}
