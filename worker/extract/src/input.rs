//! A page's bytes, and the UTF-8 text decoded from them, one piece at a time.
//!
//! A body in UTF-8 is used in place, in memory or in the reader's buffer. Bodies in
//! other encodings are decoded into a buffer.

use std::io::{self, BufRead, Seek, SeekFrom};

use encoding_rs::{Encoding, UTF_8};

/// The source of a page's bytes.
///
/// It is rewound only if a page that was being streamed
/// needs a tree. A body in memory is a `Cursor<&[u8]>`, which needs
/// no copy; a file is a `BufReader<File>`.
pub trait Body: BufRead + Seek {}

impl<T: BufRead + Seek + ?Sized> Body for T {}

/// The bytes of a body, with a look-ahead of any length.
pub(crate) struct Input<'b> {
    body: &'b mut dyn Body,
    /// Bytes taken from `body` by a look-ahead that was larger than its buffer.
    ahead: Vec<u8>,
    /// The number of bytes of `ahead` that are consumed.
    ahead_at: usize,
    /// The offset of the text, after any byte order mark.
    start: u64,
}

impl<'b> Input<'b> {
    pub(crate) fn new(body: &'b mut dyn Body) -> Self {
        Self { body, ahead: Vec::new(), ahead_at: 0, start: 0 }
    }

    /// Returns the next `want` bytes, or all that are left, without consuming them.
    ///
    /// # Errors
    /// Fails if the body cannot be read.
    pub(crate) fn peek(&mut self, want: usize) -> io::Result<&[u8]> {
        if self.ahead.is_empty() && self.body.fill_buf()?.len() >= want {
            let buffered = self.body.fill_buf()?;
            return Ok(buffered.get(..want).unwrap_or(buffered));
        }
        while self.ahead.len() - self.ahead_at < want {
            let piece = self.body.fill_buf()?;
            if piece.is_empty() {
                break;
            }
            let taken = piece.len();
            self.ahead.extend_from_slice(piece);
            self.body.consume(taken);
        }
        let ahead = self.ahead.get(self.ahead_at..).unwrap_or_default();
        Ok(ahead.get(..want).unwrap_or(ahead))
    }

    /// Removes the first `bytes` bytes, which were peeked, for good.
    pub(crate) fn skip_mark(&mut self, bytes: usize) {
        self.start = u64::try_from(bytes).unwrap_or(0);
        self.consume(bytes);
    }

    /// Returns bytes to read next; none at the end of the body.
    ///
    /// # Errors
    /// Fails if the body cannot be read.
    pub(crate) fn fill(&mut self) -> io::Result<&[u8]> {
        if self.ahead_at < self.ahead.len() {
            return Ok(self.ahead.get(self.ahead_at..).unwrap_or_default());
        }
        self.body.fill_buf()
    }

    /// Consumes `bytes` of what [`Self::fill`] returned.
    pub(crate) fn consume(&mut self, bytes: usize) {
        if self.ahead_at < self.ahead.len() {
            self.ahead_at += bytes;
        } else {
            self.body.consume(bytes);
        }
    }

    /// Continues at the first byte of the text.
    ///
    /// # Errors
    /// Fails if the body cannot be rewound, such as a pipe.
    pub(crate) fn rewind(&mut self) -> io::Result<()> {
        self.ahead.clear();
        self.ahead_at = 0;
        self.body.seek(SeekFrom::Start(self.start)).map(|_| ())
    }

    /// Continues at the first byte of the body, including any byte order mark.
    ///
    /// # Errors
    /// Fails if the body cannot be rewound, such as a pipe.
    pub(crate) fn start_over(&mut self) -> io::Result<()> {
        self.start = 0;
        self.rewind()
    }
}

/// Decodes a body into UTF-8, in pieces of limited size.
pub(crate) struct Decoder {
    decoder: encoding_rs::Decoder,
    text: String,
    /// Maximum bytes of input decoded at once.
    piece_bytes: usize,
    ended: bool,
}

impl Decoder {
    /// Creates a decoder of input without a byte order mark.
    pub(crate) fn new(encoding: &'static Encoding, piece_bytes: usize) -> Self {
        let decoder = encoding.new_decoder_without_bom_handling();
        // Room for the worst case, because decoding stops at a full buffer.
        let room = decoder.max_utf8_buffer_length(piece_bytes).unwrap_or(piece_bytes * 4);
        Self { decoder, text: String::with_capacity(room), piece_bytes, ended: false }
    }

    /// Returns the next piece of text, or `None` at the end.
    ///
    /// # Errors
    /// Fails if the body cannot be read.
    pub(crate) fn next<'a>(&'a mut self, input: &mut Input<'_>) -> io::Result<Option<&'a str>> {
        self.text.clear();
        while self.text.is_empty() && !self.ended {
            let bytes = input.fill()?;
            let piece = bytes.get(..self.piece_bytes).unwrap_or(bytes);
            self.ended = piece.is_empty();
            let (_, read, _) = self.decoder.decode_to_string(piece, &mut self.text, self.ended);
            input.consume(read);
        }
        Ok(if self.text.is_empty() { None } else { Some(&self.text) })
    }
}

/// Whether bytes in this encoding are read as UTF-8, in place.
pub(crate) fn is_utf8(encoding: &'static Encoding) -> bool {
    encoding == UTF_8
}
