//! Blocks of lines for a program. Many lines form one target, because the supervisor's cost per target would
//! otherwise be most of the cost of a short line.
//!
//! Blank lines are skipped. A line that is too long is refused alone.

use std::io;

use super::Bytes;
use super::lines::LineReader;
use super::{Candidate, LINE_BYTES_MAX};

/// Most lines in a block. Their answers come back together.
const LINES_MAX: usize = 64;

/// Bytes after which a block is full. A few blocks fit into one message.
const BYTES_MAX: usize = 8 * 1024;

/// Collects lines into blocks.
pub(super) struct BlockFeed {
    pub(super) reader: LineReader,
    /// A line that was read but does not fit into the previous block.
    held: Option<Candidate>,
}

impl BlockFeed {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { reader: LineReader::new(bytes, LINE_BYTES_MAX), held: None }
    }

    /// Whether a block can be returned without waiting for the writer of the input.
    pub(super) fn is_ready(&self) -> bool {
        self.held.is_some() || self.reader.is_ready()
    }

    /// Returns the next lines, at most `lines_max`. Waits for the first one only.
    pub(super) fn next(&mut self, lines_max: usize) -> io::Result<Option<Candidate>> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        let lines_max = lines_max.min(LINES_MAX) as u64;
        let mut block = Vec::with_capacity(BYTES_MAX + BYTES_MAX / 8);
        let mut lines = 0;
        self.reader.each_ready(|line| {
            add(line.trim_ascii(), &mut block, &mut lines);
            lines < lines_max && block.len() < BYTES_MAX
        });
        while lines < lines_max && block.len() < BYTES_MAX && (lines == 0 || self.reader.is_ready()) {
            let Some((line, line_bytes)) = self.reader.next()? else { break };
            let line = line.trim_ascii();
            if line_bytes > LINE_BYTES_MAX as u64 {
                let refused = Candidate::line_too_long(line, line_bytes);
                if lines == 0 {
                    return Ok(Some(refused));
                }
                self.held = Some(refused);
                break;
            }
            add(line, &mut block, &mut lines);
        }
        Ok((lines > 0).then_some(Candidate { input: block, inputs: lines, kept: Vec::new(), refused: None }))
    }
}

/// Adds a line, unless it is blank.
fn add(line: &[u8], block: &mut Vec<u8>, lines: &mut u64) {
    if line.is_empty() {
        return;
    }
    if *lines > 0 {
        block.push(b'\n');
    }
    block.extend_from_slice(line);
    *lines += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8], max: usize, want: &[(u64, &str)]) {
        let mut feed = BlockFeed::new(Box::new(io::Cursor::new(text.to_vec())));
        let mut got = Vec::new();
        while let Some(block) = feed.next(max).unwrap() {
            got.push((block.inputs, String::from_utf8(block.input).unwrap()));
        }
        let want: Vec<_> = want.iter().map(|(lines, block)| (*lines, (*block).to_owned())).collect();
        assert_eq!(got, want, "{:?} by {max}", String::from_utf8_lossy(text));
    }

    #[test]
    fn lines_come_in_blocks() {
        check(b"", 9, &[]);
        check(b"\n \n\t\r\n", 9, &[]);
        check(b"1\r\n\n 2 \n3\n", 9, &[(3, "1\n2\n3")]);
        check(b"1\n2\n3\n", 2, &[(2, "1\n2"), (1, "3")]);
        // A line without line feed may not have arrived completely.
        check(b"1\n# 2", 9, &[(1, "1"), (1, "# 2")]);
    }

    #[test]
    fn a_block_is_bounded() {
        let lines = "{}\n".repeat(200);
        check(
            lines.as_bytes(),
            1000,
            &[
                (64, &"{}\n".repeat(64)[..191]),
                (64, &"{}\n".repeat(64)[..191]),
                (64, &"{}\n".repeat(64)[..191]),
                (8, &"{}\n".repeat(8)[..23]),
            ],
        );
        let long = "x".repeat(BYTES_MAX);
        check(format!("{long}\n1\n").as_bytes(), 9, &[(1, &long), (1, "1")]);
    }

    #[test]
    fn a_line_too_long_is_refused_in_its_place() {
        let mut text = b"1\n".to_vec();
        text.extend(vec![b'x'; LINE_BYTES_MAX + 1]);
        text.extend(b"\n2\n");
        let mut feed = BlockFeed::new(Box::new(io::Cursor::new(text)));
        let mut seen = Vec::new();
        while let Some(block) = feed.next(9).unwrap() {
            seen.push((block.inputs, block.refused.is_some(), block.input.len() > 1000));
        }
        assert_eq!(seen, [(1, false, false), (1, true, false), (1, false, false)]);
    }
}
