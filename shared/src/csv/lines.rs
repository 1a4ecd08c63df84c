//! Counts lines as an editor does: CR, LF and CRLF each end one.

use memchr::{memchr, memchr_iter, memmem};

/// Counts line ends, piece by piece.
#[derive(Debug, Clone, Copy, Default)]
pub struct LineCounter {
    ends: u64,
    /// The last piece ended with a CR, whose LF may begin the next piece.
    after_cr: bool,
}

impl LineCounter {
    /// Counts the next piece.
    pub fn add(&mut self, piece: &[u8]) {
        let Some(last) = piece.last() else { return };
        self.ends += memchr_iter(b'\n', piece).count() as u64;
        if self.after_cr && piece.first() == Some(&b'\n') {
            self.ends -= 1;
        }
        if memchr(b'\r', piece).is_some() {
            let pairs = memmem::find_iter(piece, b"\r\n").count() as u64;
            self.ends += memchr_iter(b'\r', piece).count() as u64 - pairs;
        }
        self.after_cr = *last == b'\r';
    }

    /// Returns the line number, from 1, of the byte after `piece`. Does not count `piece`.
    #[must_use]
    pub fn line_after(mut self, piece: &[u8]) -> u64 {
        self.add(piece);
        self.ends + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_end_counts_once_however_the_text_is_split() {
        for (text, want) in
            [("", 1), ("a", 1), ("a\n", 2), ("a\r\nb\r\n", 3), ("a\rb\r", 3), ("\r\r\n\n", 4), ("\n\r", 3)]
        {
            assert_eq!(LineCounter::default().line_after(text.as_bytes()), want, "{text:?}");
            for cut in 0..=text.len() {
                let (left, right) = text.as_bytes().split_at(cut);
                let mut counter = LineCounter::default();
                counter.add(left);
                assert_eq!(counter.line_after(right), want, "{text:?} at {cut}");
            }
        }
    }
}
