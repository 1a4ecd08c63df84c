//! Lines of a file or pipe of any length. Uses one buffer, which never grows beyond the longest accepted
//! line.

use std::io::{self, BufRead as _, BufReader};

use super::Bytes;
use super::text::trimmed;
use super::{Candidate, TargetKind};

/// Bytes read at a time. A pipe holds 64 KiB; four times as much saves system calls on files.
const BUFFER_BYTES: usize = 256 * 1024;

/// Splits a stream into lines.
pub(super) struct LineReader {
    reader: BufReader<Bytes>,
    /// Longest line that is kept completely. Of a longer one, only the beginning is.
    line_bytes_max: usize,
    line: Vec<u8>,
    pub(super) bytes_read: u64,
    /// Number of the last line read, from 1.
    pub(super) number: u64,
}

impl LineReader {
    pub(super) fn new(bytes: Bytes, line_bytes_max: usize) -> Self {
        Self {
            reader: BufReader::with_capacity(BUFFER_BYTES, bytes),
            line_bytes_max,
            line: Vec::new(),
            bytes_read: 0,
            number: 0,
        }
    }

    /// Whether the next line is in the buffer, so that reading it does not wait.
    pub(super) fn is_ready(&self) -> bool {
        memchr::memchr(b'\n', self.reader.buffer()).is_some()
    }

    /// Passes complete lines of the buffer to `take`, without their line feeds, until `take` returns
    /// false. They are shorter than the buffer.
    pub(super) fn each_ready(&mut self, mut take: impl FnMut(&[u8]) -> bool) {
        let mut used = 0;
        let buffer = self.reader.buffer();
        for end in memchr::memchr_iter(b'\n', buffer) {
            let line = buffer.get(used..end).unwrap_or_default();
            used = end + 1;
            self.number += 1;
            if !take(line) {
                break;
            }
        }
        self.reader.consume(used);
        self.bytes_read += used as u64;
    }

    /// Returns the next line without its line feed, cut at `line_bytes_max` bytes, and its full length.
    /// `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<(&[u8], u64)>> {
        self.line.clear();
        let mut line_bytes = 0u64;
        let mut ended = false;
        while !ended {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                break;
            }
            let newline = memchr::memchr(b'\n', buffer);
            let (part, _) = buffer.split_at(newline.unwrap_or(buffer.len()));
            let room = self.line_bytes_max.saturating_sub(self.line.len());
            self.line.extend_from_slice(part.get(..room).unwrap_or(part));
            line_bytes += part.len() as u64;
            ended = newline.is_some();
            let used = part.len() + usize::from(ended);
            self.reader.consume(used);
            self.bytes_read += used as u64;
        }
        if !ended && line_bytes == 0 {
            return Ok(None);
        }
        self.number += 1;
        Ok(Some((self.line.as_slice(), line_bytes)))
    }
}

/// Reads one target per line, and skips blank lines and `#` comments.
pub(super) struct LineFeed {
    pub(super) reader: LineReader,
    kind: TargetKind,
}

impl LineFeed {
    pub(super) fn new(bytes: Bytes, kind: TargetKind) -> Self {
        Self { reader: LineReader::new(bytes, super::TARGET_BYTES_MAX), kind }
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Candidate>> {
        while let Some((line, line_bytes)) = self.reader.next()? {
            let trimmed = trimmed(line);
            if trimmed.is_empty() || trimmed.starts_with(b"#") {
                continue;
            }
            if line_bytes > super::TARGET_BYTES_MAX as u64 {
                return Ok(Some(Candidate::too_long(trimmed, line_bytes)));
            }
            let input = match self.kind {
                TargetKind::Url => trimmed,
                // A file name may begin or end with a space.
                TargetKind::Path | TargetKind::Lines => line.strip_suffix(b"\r").unwrap_or(line),
            };
            return Ok(Some(Candidate::good(input.to_vec())));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// Returns one byte at a time, each after an interrupted read.
    struct Trickle(Vec<u8>, bool);

    impl Read for Trickle {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            if self.0.is_empty() {
                return Ok(0);
            }
            out[0] = self.0.remove(0);
            Ok(1)
        }
    }

    fn check(kind: TargetKind, text: &[u8], want: &[&[u8]]) {
        let whole: Bytes = Box::new(io::Cursor::new(text.to_vec()));
        for bytes in [whole, Box::new(Trickle(text.to_vec(), false))] {
            let mut feed = LineFeed::new(bytes, kind);
            let mut got = Vec::new();
            while let Some(candidate) = feed.next().unwrap() {
                assert_eq!(candidate.refused, None);
                got.push(candidate.input);
            }
            assert_eq!(got, want, "{:?}", String::from_utf8_lossy(text));
            assert_eq!(feed.reader.bytes_read, text.len() as u64);
        }
    }

    #[test]
    fn lines_become_targets() {
        use TargetKind::{Path, Url};
        check(Url, b"", &[]);
        check(Url, b"\n\n", &[]);
        check(Url, b"a\nb", &[b"a", b"b"]);
        check(Url, b"a\nb\n", &[b"a", b"b"]);
        check(Url, b"a\r\n\r\n \t\r\nb\r\n", &[b"a", b"b"]);
        check(Url, b"\xef\xbb\xbfa\nb\n", &[b"a", b"b"]);
        check(Url, b"\xef\xbb\xbf# note\nb\n", &[b"b"]);
        check(Url, b"# one\n  # two\nhttp://a/#x\n", &[b"http://a/#x"]);
        check(Url, b"  a \n\tb\t\n", &[b"a", b"b"]);
        check(Url, "\u{a0}a\u{200b}\n\u{a0}\n\u{feff}# note\n\u{feff}b".as_bytes(), &[b"a", b"b"]);
        check(Path, "\u{a0}a\n".as_bytes(), &["\u{a0}a".as_bytes()]);
        check(Url, b"a\xff\n", &[b"a\xff"]);
        check(Path, b" a.html \r\nb.html\n", &[b" a.html ", b"b.html"]);
    }

    #[test]
    fn a_line_too_long_is_refused_and_the_next_one_is_not() {
        let mut text = vec![b'x'; 3 * BUFFER_BYTES];
        text.extend_from_slice(b"\nhttp://a/\n");
        let mut feed = LineFeed::new(Box::new(io::Cursor::new(text)), TargetKind::Url);
        let long = feed.next().unwrap().unwrap();
        assert!(long.refused.as_deref().unwrap().contains("786432 bytes"), "{long:?}");
        assert!(long.input.len() < 1024);
        assert_eq!(feed.next().unwrap().unwrap().input, b"http://a/");
        assert_eq!(feed.next().unwrap().map(|c| c.input), None);
    }

    #[test]
    fn the_longest_allowed_line_is_a_target() {
        let text = vec![b'x'; super::super::TARGET_BYTES_MAX];
        let mut feed = LineFeed::new(Box::new(io::Cursor::new(text.clone())), TargetKind::Url);
        assert_eq!(feed.next().unwrap(), Some(Candidate::good(text)));
    }

    #[test]
    fn a_line_is_ready_only_when_whole() {
        let mut reader = LineReader::new(Box::new(io::Cursor::new(b"a\nb\nc".to_vec())), 10);
        assert!(!reader.is_ready());
        reader.next().unwrap();
        assert!(reader.is_ready());
        reader.next().unwrap();
        assert!(!reader.is_ready());
    }
}
