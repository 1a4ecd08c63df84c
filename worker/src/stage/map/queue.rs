//! The lines a program has been given and those it is yet to be given, in order.
//!
//! Three positions move along them: the answered lines, the written lines, and all lines.
//! Answers come in the order of the lines, so an answer always belongs to the first
//! unanswered line. When a program dies, the lines that it was given and has not answered
//! are written again. Knows no process and no clock.

use std::collections::VecDeque;

use shared::encoder::Begun;
use shared::protocol::{Endings, Outcome, Target};

use super::json;

/// One line of a block.
#[derive(Debug, Clone, Copy)]
struct Line {
    /// Where it ends in the block's bytes; the next begins after the line feed that follows.
    end: usize,
    /// Whether it is JSON. Other lines are never given to the program.
    good: bool,
}

/// Lines that came as one target, and what has become of them.
#[derive(Debug)]
pub(super) struct Block {
    /// The id of its first line.
    pub(super) id: u64,
    bytes: Vec<u8>,
    lines: Vec<Line>,
    answered: usize,
    /// The record that it is, if it is not lines of the input: its outcome without a program, and how to end it.
    pub(super) record: Option<(Outcome, Begun)>,
    /// When its first line was written, in microseconds.
    pub(super) begun_us: Option<u64>,
    /// Its records so far.
    pub(super) records: Vec<u8>,
    pub(super) endings: Endings,
}

impl Block {
    /// Lines of the input.
    pub(super) fn of_lines(target: Target) -> Self {
        let bytes = target.input;
        let mut lines = Vec::with_capacity(64);
        let mut start = 0;
        while start <= bytes.len() {
            let rest = bytes.get(start..).unwrap_or_default();
            let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let good = json::is_one(rest.get(..length).unwrap_or_default());
            lines.push(Line { end: start + length, good });
            start += length + 1;
        }
        let records = Vec::with_capacity(bytes.len() + lines.len() * 28);
        Self::new(target.id, bytes, lines, None, records)
    }

    /// A record that was made here.
    pub(super) fn of_record(outcome: Outcome, line: Vec<u8>, begun: Begun) -> Self {
        let lines = vec![Line { end: line.len(), good: true }];
        let started_us = outcome.started_us;
        let mut block = Self::new(outcome.id, line, lines, Some((outcome, begun)), Vec::new());
        block.begun_us = Some(started_us);
        block
    }

    fn new(
        id: u64,
        bytes: Vec<u8>,
        lines: Vec<Line>,
        record: Option<(Outcome, Begun)>,
        records: Vec<u8>,
    ) -> Self {
        Self { id, bytes, lines, answered: 0, record, begun_us: None, records, endings: Endings::default() }
    }

    fn line(&self, index: usize) -> &[u8] {
        let start =
            index.checked_sub(1).and_then(|before| self.lines.get(before)).map_or(0, |line| line.end + 1);
        self.lines.get(index).and_then(|line| self.bytes.get(start..line.end)).unwrap_or_default()
    }

    fn is_good(&self, index: usize) -> bool {
        self.lines.get(index).is_some_and(|line| line.good)
    }

    /// Its size as it came.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The id of the first line without an answer.
    pub(super) fn first_id(&self) -> u64 {
        self.id + self.answered as u64
    }

    /// The first line without an answer.
    pub(super) fn first_line(&self) -> &[u8] {
        self.line(self.answered)
    }
}

/// A line, by its block's place in the queue and its own in the block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Place {
    block: usize,
    line: usize,
}

/// What stands at the front of the queue.
#[derive(Debug)]
pub(super) enum Front<'a> {
    /// A line that the program has been given, or is to be.
    Asked(&'a mut Block),
    /// A line that is not JSON, to which no answer will come.
    NoJson(&'a mut Block),
    /// All of its lines have their records.
    Done(Box<Block>),
    /// Nothing is there.
    Empty,
}

/// All blocks that are not done.
#[derive(Debug, Default)]
pub(super) struct Queue {
    blocks: VecDeque<Block>,
    /// The next line to be written.
    next: Place,
    unanswered: usize,
    unanswered_bytes: usize,
    bytes: usize,
}

impl Queue {
    pub(super) fn push(&mut self, block: Block) {
        self.bytes += block.bytes.len();
        self.blocks.push_back(block);
    }

    /// Bytes of all that is here.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Lines that were written and have no answer.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// Their bytes.
    pub(super) fn unanswered_bytes(&self) -> usize {
        self.unanswered_bytes
    }

    /// Whether there is a line that was not written.
    pub(super) fn has_next(&mut self) -> bool {
        self.skip();
        self.next.block < self.blocks.len()
    }

    /// Whether as many as `count` lines were not written.
    pub(super) fn has_lines(&self, count: usize) -> bool {
        let ahead = self.blocks.iter().skip(self.next.block);
        let mut lines = 0;
        for (index, block) in ahead.enumerate() {
            let from = if index == 0 { self.next.line } else { 0 };
            lines += block.lines.iter().skip(from).filter(|line| line.good).count();
            if lines >= count {
                return true;
            }
        }
        false
    }

    /// Moves on to the next line that may be written.
    fn skip(&mut self) {
        while let Some(block) = self.blocks.get(self.next.block) {
            if self.next.line >= block.lines.len() {
                self.next = Place { block: self.next.block + 1, line: 0 };
            } else if block.is_good(self.next.line) {
                return;
            } else {
                self.next.line += 1;
            }
        }
    }

    /// Appends the next line to `out`, with its line feed; false when there is none.
    pub(super) fn write_next(&mut self, now_us: u64, out: &mut Vec<u8>) -> bool {
        self.skip();
        let Some(block) = self.blocks.get_mut(self.next.block) else { return false };
        block.begun_us.get_or_insert(now_us);
        let line = block.line(self.next.line);
        out.extend_from_slice(line);
        out.push(b'\n');
        self.unanswered += 1;
        self.unanswered_bytes += line.len() + 1;
        self.next.line += 1;
        true
    }

    /// The program that had been given lines is gone: they are to be written again.
    pub(super) fn rewind(&mut self) {
        self.next = Place { block: 0, line: self.blocks.front().map_or(0, |block| block.answered) };
        self.unanswered = 0;
        self.unanswered_bytes = 0;
    }

    /// What stands first.
    pub(super) fn front(&mut self) -> Front<'_> {
        if self.blocks.front().is_some_and(|block| block.answered >= block.lines.len()) {
            let Some(done) = self.blocks.pop_front() else { return Front::Empty };
            self.bytes -= done.bytes.len();
            match self.next.block.checked_sub(1) {
                Some(block) => self.next.block = block,
                None => self.next = Place::default(),
            }
            return Front::Done(Box::new(done));
        }
        match self.blocks.front_mut() {
            Some(block) if block.is_good(block.answered) => Front::Asked(block),
            Some(block) => Front::NoJson(block),
            None => Front::Empty,
        }
    }

    /// The first line has its record. `written` says that the program had been given it.
    pub(super) fn advance(&mut self, written: bool) {
        let Some(block) = self.blocks.front_mut() else { return };
        if written {
            self.unanswered -= 1;
            self.unanswered_bytes -= block.first_line().len() + 1;
        }
        block.answered += 1;
        if self.next.block == 0 {
            self.next.line = self.next.line.max(block.answered);
        }
    }

    /// Drops the blocks of which nothing has been written.
    pub(super) fn drop_unbegun(&mut self) {
        let begun = self.blocks.iter().take_while(|block| block.begun_us.is_some() || block.answered > 0);
        let keep = begun.count();
        for block in self.blocks.drain(keep..) {
            self.bytes -= block.bytes.len();
        }
        if self.next.block >= keep {
            self.next = Place { block: keep, line: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(id: u64, text: &str) -> Block {
        Block::of_lines(Target {
            id,
            attempt: 1,
            may_retry: true,
            input: text.as_bytes().to_vec(),
            ..Target::default()
        })
    }

    fn written(queue: &mut Queue) -> String {
        let mut out = Vec::new();
        while queue.write_next(1, &mut out) {}
        String::from_utf8(out).unwrap()
    }

    /// Answers everything; which lines were asked, which were no JSON (`!`), and which blocks done (`|`).
    fn answered(queue: &mut Queue, given: bool) -> String {
        let mut seen = String::new();
        loop {
            match queue.front() {
                Front::Asked(block) => {
                    seen += &format!("{} ", block.first_id());
                    queue.advance(given);
                }
                Front::NoJson(block) => {
                    seen += &format!("!{} ", block.first_id());
                    queue.advance(false);
                }
                Front::Done(block) => seen += &format!("|{} ", block.id),
                Front::Empty => return seen.trim_end().to_owned(),
            }
        }
    }

    #[test]
    fn lines_are_written_and_answered_in_order() {
        let mut queue = Queue::default();
        queue.push(block(0, "1\n2"));
        queue.push(block(2, "oops\n3\nagain"));
        queue.push(block(5, ""));
        assert!(queue.has_lines(3) && !queue.has_lines(4));
        assert_eq!(written(&mut queue), "1\n2\n3\n");
        assert_eq!((queue.unanswered(), queue.unanswered_bytes()), (3, 6));
        assert_eq!(answered(&mut queue, true), "0 1 |0 !2 3 !4 |2 !5 |5");
        assert_eq!((queue.unanswered(), queue.unanswered_bytes(), queue.bytes()), (0, 0, 0));
        queue.push(block(6, "7"));
        assert_eq!(written(&mut queue), "7\n");
    }

    #[test]
    fn what_has_no_answer_is_written_again() {
        let mut queue = Queue::default();
        queue.push(block(0, "1\n2\n3"));
        queue.push(block(3, "4"));
        written(&mut queue);
        assert!(matches!(queue.front(), Front::Asked(_)));
        queue.advance(true);
        queue.rewind();
        assert_eq!(queue.unanswered(), 0);
        assert_eq!(written(&mut queue), "2\n3\n4\n");
        assert_eq!(answered(&mut queue, true), "1 2 |0 3 |3");
    }

    #[test]
    fn only_what_has_not_begun_is_dropped() {
        let mut queue = Queue::default();
        queue.push(block(0, "1\n2"));
        queue.push(block(2, "3"));
        let mut out = Vec::new();
        assert!(queue.write_next(1, &mut out));
        queue.drop_unbegun();
        assert_eq!(written(&mut queue), "2\n");
        assert_eq!(answered(&mut queue, true), "0 1 |0");
        assert!(queue.is_empty() && !queue.has_next());
    }

    #[test]
    fn a_line_given_up_before_it_is_written_again_is_passed_over() {
        let mut queue = Queue::default();
        queue.push(block(0, "1\n2"));
        written(&mut queue);
        queue.rewind();
        assert!(matches!(queue.front(), Front::Asked(_)));
        queue.advance(false);
        assert_eq!(written(&mut queue), "2\n");
    }
}
