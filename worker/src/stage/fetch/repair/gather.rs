//! Collects a head that is untidy or incomplete until it is complete.

use memchr::memchr;

use super::super::fault::Fault;
use super::HEAD_BYTES_MAX;
use super::head::Head;

const PROTOCOL: &[u8] = b"HTTP/";

/// Maximum bytes of an incomplete first line to check for the protocol.
const START_BYTES: usize = 64;

/// What has been read since the request.
#[derive(Debug, Default)]
pub(super) struct Gather {
    raw: Vec<u8>,
    /// Start of the head, after blank lines and interim responses.
    head: usize,
    /// Start of the current, incomplete line.
    line: usize,
    /// End of the part that has been searched for line ends.
    searched: usize,
}

impl Gather {
    pub(super) const fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
    }

    /// Returns the final response's head and the bytes after it, once the head is complete.
    pub(super) fn head(&mut self) -> Result<Option<(Head, Vec<u8>)>, Fault> {
        while let Some(at) = memchr(b'\n', self.raw.get(self.searched..).unwrap_or_default()) {
            let end = self.searched + at;
            let is_blank = self.raw.get(self.line..end).is_some_and(|line| line.iter().all(|b| *b == b'\r'));
            let is_first = self.line == self.head;
            (self.searched, self.line) = (end + 1, end + 1);
            if !is_blank {
                if is_first {
                    Head::check_status_line(self.raw.get(self.head..end).unwrap_or_default())?;
                }
                continue;
            }
            if end >= HEAD_BYTES_MAX {
                return Err(Fault::HeadTooLarge);
            }
            let lines = self.raw.get(self.head..end).unwrap_or_default();
            self.head = end + 1;
            if is_first {
                continue;
            }
            let head = Head::read(lines)?;
            if !head.is_interim() {
                return Ok(Some((head, self.raw.split_off(self.head))));
            }
        }
        self.searched = self.raw.len();
        self.check_start()?;
        if self.raw.len() > HEAD_BYTES_MAX { Err(Fault::HeadTooLarge) } else { Ok(None) }
    }

    /// Rejects anything that is not HTTP at once, because its head might never end.
    fn check_start(&self) -> Result<(), Fault> {
        if self.line > self.head {
            return Ok(());
        }
        let start = self.raw.get(self.head..).unwrap_or_default();
        // Look at a bounded part only, because this is repeated with each piece.
        let start = start.get(..START_BYTES).unwrap_or(start).trim_ascii_start();
        let start = start.get(..PROTOCOL.len()).unwrap_or(start);
        let is_http = PROTOCOL.get(..start.len()).is_some_and(|known| known.eq_ignore_ascii_case(start));
        if is_http { Ok(()) } else { Err(Fault::Head) }
    }
}
