//! The text of a list: its encoding, byte order mark and line ends, and invisible characters around inputs.

use std::io::{self, Cursor, Read};

use encoding_rs::{Encoding, UTF_8};
use memchr::{memchr, memchr2};
use shared::csv::Decoded;

use super::Bytes;

/// Longest byte order mark.
const MARK_BYTES_MAX: usize = 3;

/// Decodes `bytes` to UTF-8. A byte order mark takes precedence over `encoding`, and is removed.
pub(super) fn decoded(bytes: Bytes, encoding: Option<&'static Encoding>) -> Bytes {
    Box::new(Marked { bytes: Some(bytes), text: Box::new(io::empty()), encoding })
}

/// Returns the encoding that a byte order mark gives.
pub(super) fn marked(begin: &[u8]) -> Option<&'static Encoding> {
    Encoding::for_bom(begin).map(|(encoding, _)| encoding)
}

struct Marked {
    /// The input, until its first bytes have been read.
    bytes: Option<Bytes>,
    text: Bytes,
    encoding: Option<&'static Encoding>,
}

impl Read for Marked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(mut bytes) = self.bytes.take() {
            let begin = begin(&mut bytes)?;
            let mark = Encoding::for_bom(&begin);
            let rest = begin.get(mark.map_or(0, |(_, length)| length)..).unwrap_or_default().to_vec();
            let rest = Cursor::new(rest).chain(bytes);
            self.text = match mark.map(|(encoding, _)| encoding).or(self.encoding) {
                Some(encoding) if encoding != UTF_8 => Box::new(Decoded::new(rest, encoding)),
                Some(_) | None => Box::new(rest),
            };
        }
        self.text.read(buffer)
    }
}

/// Reads as many bytes as a byte order mark can have. They may arrive separately.
fn begin(bytes: &mut Bytes) -> io::Result<Vec<u8>> {
    let mut begin = Vec::with_capacity(MARK_BYTES_MAX);
    while begin.len() < MARK_BYTES_MAX
        && begin.first().is_none_or(|first| matches!(first, 0xef | 0xfe | 0xff))
    {
        let mut room = [0; MARK_BYTES_MAX];
        match bytes.read(room.get_mut(begin.len()..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(count) => begin.extend(room.iter().skip(begin.len()).take(count).copied().collect::<Vec<_>>()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(begin)
}

/// Which carriage returns end a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CarriageReturns {
    /// All of them, because inputs cannot contain one.
    End,
    /// All of them, if the first line ends in one.
    MayEnd,
    /// None without a line feed.
    Stay,
}

/// Replaces each carriage return that ends a line, with or without a line feed, by a line feed.
pub(super) fn line_feeds(bytes: Bytes, returns: CarriageReturns) -> Bytes {
    Box::new(LineFeeds { bytes, returns, held: false })
}

struct LineFeeds {
    bytes: Bytes,
    returns: CarriageReturns,
    /// Whether the last byte was a carriage return whose successor is not read yet.
    held: bool,
}

impl Read for LineFeeds {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.returns != CarriageReturns::Stay {
            let from = usize::from(self.held);
            let Some((first, room)) = buffer.split_first_mut().filter(|(_, room)| !room.is_empty()) else {
                break;
            };
            *first = b'\r';
            let count = if self.held { self.bytes.read(room)? } else { self.bytes.read(buffer)? };
            if count == 0 {
                return Ok(self.ended(buffer));
            }
            let text = buffer.get_mut(..from + count).unwrap_or_default();
            self.held = text.last() == Some(&b'\r');
            self.translate(text);
            // The byte after a final carriage return is unknown yet. It does not matter if carriage returns
            // stay.
            self.held &= self.returns != CarriageReturns::Stay;
            let known = from + count - usize::from(self.held);
            if known > 0 {
                return Ok(known);
            }
        }
        self.bytes.read(buffer)
    }
}

impl LineFeeds {
    fn ended(&mut self, buffer: &mut [u8]) -> usize {
        match buffer.first_mut().filter(|_| std::mem::take(&mut self.held)) {
            Some(first) => {
                *first = b'\n';
                1
            }
            None => 0,
        }
    }

    fn translate(&mut self, text: &mut [u8]) {
        let mut at = 0;
        if self.returns == CarriageReturns::MayEnd {
            let Some(end) = memchr2(b'\r', b'\n', text) else { return };
            match text.get(end..end + 2) {
                Some([b'\r', b'\n']) => self.returns = CarriageReturns::Stay,
                Some([b'\r', _]) => self.returns = CarriageReturns::End,
                // The next byte decides.
                None if self.held => return,
                Some(_) | None => self.returns = CarriageReturns::Stay,
            }
            if self.returns == CarriageReturns::Stay {
                return;
            }
            at = end;
        }
        while let Some(found) = text.get(at..).and_then(|rest| memchr(b'\r', rest)) {
            at += found + 1;
            match (text.get(at), at.checked_sub(1)) {
                (Some(next), Some(before)) if *next != b'\n' => {
                    if let Some(end) = text.get_mut(before) {
                        *end = b'\n';
                    }
                }
                _ => {}
            }
        }
    }
}

/// Trims invisible characters around an input: spaces of any kind, marks and control characters.
pub(super) fn trimmed(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii();
    let is_plain = |byte: Option<&u8>| byte.is_none_or(|byte| matches!(byte, b'!'..=b'~'));
    if is_plain(text.first()) && is_plain(text.last()) {
        return text;
    }
    str::from_utf8(text).map_or(text, |text| text.trim_matches(is_unseen).as_bytes())
}

fn is_unseen(letter: char) -> bool {
    letter.is_whitespace()
        || letter.is_control()
        || matches!(
            letter,
            // The soft hyphen, zero-width characters, direction marks, and byte order marks of concatenated
            // files.
            '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns this many bytes at a time.
    struct Slowly(Vec<u8>, usize);

    impl Read for Slowly {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Ok(count)
        }
    }

    fn read(of: impl Fn(Bytes) -> Bytes, bytes: &[u8], want: &[u8]) {
        for at_once in [1, 2, 3, 5, 100] {
            let mut text = Vec::new();
            let mut reader = io::BufReader::with_capacity(7, of(Box::new(Slowly(bytes.to_vec(), at_once))));
            reader.read_to_end(&mut text).unwrap();
            let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert_eq!(shown(&text), shown(want), "{:?} by {at_once}", shown(bytes));
        }
    }

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn a_mark_says_the_encoding_and_goes() {
        let text = "http://a/é\n";
        let le = utf16(&format!("\u{feff}{text}"), u16::to_le_bytes);
        let be = utf16(&format!("\u{feff}{text}"), u16::to_be_bytes);
        let latin = b"http://a/\xe9\n".as_slice();
        let encoding = |name: &str| Encoding::for_label(name.as_bytes());
        let table: [(Option<&'static Encoding>, &[u8], &[u8]); 10] = [
            (None, text.as_bytes(), text.as_bytes()),
            (None, latin, latin),
            (None, &[b"\xef\xbb\xbf", text.as_bytes()].concat(), text.as_bytes()),
            (encoding("latin1"), latin, text.as_bytes()),
            (encoding("latin1"), &[b"\xef\xbb\xbf", text.as_bytes()].concat(), text.as_bytes()),
            (None, &le, text.as_bytes()),
            (encoding("utf-16be"), &le, text.as_bytes()),
            (encoding("utf-16le"), &be, text.as_bytes()),
            (encoding("utf-16le"), &utf16(text, u16::to_le_bytes), text.as_bytes()),
            (None, b"\xef", b"\xef"),
        ];
        for (encoding, bytes, want) in table {
            read(|bytes| decoded(bytes, encoding), bytes, want);
        }
    }

    #[test]
    fn carriage_returns_end_lines_where_they_may() {
        use CarriageReturns::{End, MayEnd, Stay};
        let table: [(CarriageReturns, &str, &str); 14] = [
            (End, "a\rb\rc", "a\nb\nc"),
            (End, "a\r\nb\r\n", "a\r\nb\r\n"),
            (End, "a\r\rb\r", "a\n\nb\n"),
            (End, "a\nb\rc\r\n", "a\nb\nc\r\n"),
            (End, "\r", "\n"),
            (End, "", ""),
            (MayEnd, "a\rb\r", "a\nb\n"),
            (MayEnd, "a\rb\nc", "a\nb\nc"),
            (MayEnd, "a\r\nb\rc\r\n", "a\r\nb\rc\r\n"),
            (MayEnd, "a\nb\rc\n", "a\nb\rc\n"),
            (MayEnd, "\r\n\rb", "\r\n\rb"),
            (MayEnd, "no end", "no end"),
            (MayEnd, "at the end\r", "at the end\n"),
            (Stay, "a\rb\r", "a\rb\r"),
        ];
        for (returns, text, want) in table {
            read(|bytes| line_feeds(bytes, returns), text.as_bytes(), want.as_bytes());
        }
    }

    #[test]
    fn what_is_not_seen_is_taken_off() {
        let url = "http://a/\u{a0}b";
        for around in [
            "",
            " ",
            "\t\r",
            "\u{a0}",
            "\u{feff}",
            "\u{200b}\u{a0} ",
            "\u{202f}\u{3000}",
            "\u{0}\u{1b}",
            "\u{ad}",
        ] {
            let text = format!("{around}{url}{around}");
            assert_eq!(str::from_utf8(trimmed(text.as_bytes())).unwrap(), url, "{around:?}");
        }
        assert_eq!(trimmed(b"http://a/\xa0"), b"http://a/\xa0");
        assert_eq!(trimmed("\u{a0}\u{feff}".as_bytes()), b"");
        assert_eq!(trimmed("http://é".as_bytes()), "http://é".as_bytes());
    }
}
