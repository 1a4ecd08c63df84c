//! The text of a file: unpacked, and decoded if commas could be parts of characters.

use std::fmt;
use std::io::{self, BufReader, Read};

use encoding_rs::{CoderResult, Decoder, Encoding, UTF_8};

use super::{CsvFile, Packing};
use crate::gunzip::Gunzip;
use crate::unzstd::Unzstd;

/// Bytes per read of packed or encoded data.
const BUFFER_BYTES: usize = 64 * 1024;

/// Maximum window of a packed file, as a power of two: that of `zstd --ultra -22`.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Whether text in this encoding can be split into cells before it is decoded: delimiters, quotes and line ends
/// are single bytes, and never part of another character.
#[must_use]
pub fn is_split_safe(encoding: &'static Encoding, delimiter: u8) -> bool {
    // The second bytes of East Asian encodings start at 0x30, and include letters from 0x40.
    let is_apart = delimiter < 0x30 || (0x3a..0x40).contains(&delimiter);
    encoding.is_ascii_compatible() && (encoding == UTF_8 || encoding.is_single_byte() || is_apart)
}

/// The text of a file, from its first byte.
pub struct Text<'a>(Box<dyn Read + 'a>);

impl<'a> Text<'a> {
    /// Reads `raw`, the file's data on disk, as `file` describes it.
    ///
    /// # Errors
    /// The unpacker cannot be set up.
    pub fn new(raw: impl Read + 'a, file: &CsvFile) -> io::Result<Self> {
        let unpacked: Box<dyn Read + 'a> = match file.packing {
            Packing::None => Box::new(raw),
            Packing::Gzip => Box::new(Gunzip::new(BufReader::with_capacity(BUFFER_BYTES, raw))),
            Packing::Zstd => {
                let packed = BufReader::with_capacity(BUFFER_BYTES, raw);
                Box::new(Unzstd::new(packed, ZSTD_WINDOW_LOG_MAX)?)
            }
        };
        let encoding = file.decode.as_ref().and_then(|name| Encoding::for_label(name.as_bytes()));
        Ok(Self(match encoding {
            None => unpacked,
            Some(encoding) => Box::new(Decoded::new(unpacked, encoding)),
        }))
    }
}

impl Read for Text<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Text")
    }
}

/// Reads text of any encoding as UTF-8. Invalid input becomes U+FFFD; a byte order mark is removed.
pub struct Decoded<R> {
    raw: R,
    decoder: Decoder,
    encoded: Vec<u8>,
    /// The part of `encoded` that is not decoded yet.
    at: usize,
    len: usize,
    at_end: bool,
    /// The decoder is finished and must not be called again.
    done: bool,
    /// Decoded bytes that did not fit into the caller's buffer: at most one character.
    rest: Vec<u8>,
}

impl<R: Read> Decoded<R> {
    /// Reads `raw`, which is in this encoding.
    pub fn new(raw: R, encoding: &'static Encoding) -> Self {
        Self {
            raw,
            decoder: encoding.new_decoder_with_bom_removal(),
            encoded: vec![0; BUFFER_BYTES],
            at: 0,
            len: 0,
            at_end: false,
            done: false,
            rest: Vec::new(),
        }
    }

    /// Decodes into `buffer`. Returns whether the text is complete.
    fn decode(&mut self, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
        if self.done {
            return Ok((0, true));
        }
        if self.at == self.len && !self.at_end {
            self.len = self.raw.read(&mut self.encoded)?;
            self.at = 0;
            self.at_end = self.len == 0;
        }
        let encoded = self.encoded.get(self.at..self.len).unwrap_or_default();
        let (result, read, written, _) = self.decoder.decode_to_utf8(encoded, buffer, self.at_end);
        self.at += read;
        self.done = self.at_end && result == CoderResult::InputEmpty;
        Ok((written, self.done))
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            // The decoder needs room for the longest character.
            if buffer.len() >= 16 {
                loop {
                    let (written, done) = self.decode(buffer)?;
                    if written > 0 || done {
                        return Ok(written);
                    }
                }
            }
            let mut small = [0; 16];
            loop {
                let (written, done) = self.decode(&mut small)?;
                self.rest.extend_from_slice(small.get(..written).unwrap_or_default());
                if written > 0 || done {
                    break;
                }
            }
        }
        let count = buffer.len().min(self.rest.len());
        for (to, from) in buffer.iter_mut().zip(self.rest.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(packing: Packing, decode: Option<&str>) -> CsvFile {
        CsvFile { packing, decode: decode.map(str::to_owned), ..CsvFile::default() }
    }

    fn read(raw: &[u8], file: &CsvFile, at_once: usize) -> String {
        let mut text = Text::new(raw, file).unwrap();
        let (mut all, mut buffer) = (Vec::new(), vec![0; at_once]);
        loop {
            let count = text.read(&mut buffer).unwrap();
            if count == 0 {
                return String::from_utf8(all).unwrap();
            }
            all.extend_from_slice(&buffer[..count]);
        }
    }

    #[test]
    fn text_is_unpacked_and_decoded_in_pieces_of_any_size() {
        let text = "name,city\nAnaïs,東京 \u{1f5fc}\n".repeat(40);
        let utf16: Vec<u8> =
            std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        let mut gzip = gzip.finish().unwrap();
        // Two members, as `cat a.gz b.gz` produces.
        gzip.extend(gzip.clone());
        let zstd = zstd::stream::encode_all(text.as_bytes(), 1).unwrap();
        for at_once in [1, 15, 16, 100, 1 << 16] {
            assert_eq!(read(text.as_bytes(), &file(Packing::None, None), at_once), text);
            assert_eq!(read(&utf16, &file(Packing::None, Some("UTF-16LE")), at_once), text);
            assert_eq!(read(&gzip, &file(Packing::Gzip, None), at_once), text.repeat(2));
            assert_eq!(read(&zstd, &file(Packing::Zstd, None), at_once), text);
        }
    }

    #[test]
    fn text_that_ends_in_half_a_character_ends() {
        for at_once in [1, 15, 16, 100] {
            assert_eq!(read(b"\xff\xfea\0b", &file(Packing::None, Some("UTF-16LE")), at_once), "a\u{fffd}");
            assert_eq!(read(b"a\x82", &file(Packing::None, Some("shift_jis")), at_once), "a\u{fffd}");
        }
    }

    #[test]
    fn a_comma_in_a_multibyte_character_does_not_split_cells() {
        let table = [
            ("utf-8", b'|', true),
            ("windows-1252", b'|', true),
            ("shift_jis", b',', true),
            ("shift_jis", b';', true),
            ("shift_jis", b'|', false),
            ("gb18030", b'5', false),
            ("utf-16le", b',', false),
            ("iso-2022-jp", b',', false),
        ];
        for (label, delimiter, want) in table {
            let encoding = Encoding::for_label(label.as_bytes()).unwrap();
            assert_eq!(is_split_safe(encoding, delimiter), want, "{label} {delimiter}");
        }
    }
}
