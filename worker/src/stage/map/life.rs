//! One process of the program while it lives: what it was given, what it wrote, since
//! when it is silent, and whether its input was ended or it was killed.

use std::io;
use std::time::{Duration, Instant};

use super::child::Child;
use super::complaints::Complaints;

/// Longest answer. A value is held in memory, and a message has an end.
pub(super) const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Read at once: what its pipe holds.
const READ_BYTES: usize = 256 * 1024;

/// An answer shorter than any buffer a program keeps answers in.
const SHORT_BYTES: usize = 4096;

/// Answers that came one at a time, after which a program is known to hold none back.
const SINGLES: u32 = 2;

/// Why it was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Killed {
    /// It was silent for too long.
    Silent,
    /// Its answers cannot be matched with its lines.
    MixedUp,
    /// It wrote a line without end.
    Endless,
    /// It did not end when its input did.
    Lingers,
}

/// What came of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// That was all for now.
    Later,
    /// There may be more.
    More,
    /// Its output has ended.
    End,
}

/// One process.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) child: Child,
    pub(super) complaints: Complaints,
    pub(super) started: Instant,
    /// Lines it was given.
    pub(super) given: u64,
    /// Lines that were taken as answers.
    pub(super) answered: u64,
    /// Those of them that are values in records.
    pub(super) values: u64,
    /// Bytes on their way to it, and how many of them are written.
    outgoing: Vec<u8>,
    written: usize,
    /// The beginning of a line.
    partial: Vec<u8>,
    /// Answers that are judged together, or at its end.
    pub(super) held: Vec<Vec<u8>>,
    /// Whether it is given one line only, to which all that it writes belongs.
    pub(super) proving: bool,
    /// When it last took or gave something.
    pub(super) stirred: Instant,
    singles: u32,
    /// Since when its input is ended.
    pub(super) ending: Option<Instant>,
    pub(super) killed: Option<Killed>,
    /// Whether its output has ended.
    pub(super) mute: bool,
}

impl Life {
    pub(super) fn new(child: Child, complaints: Complaints, now: Instant) -> Self {
        Self {
            child,
            complaints,
            started: now,
            given: 0,
            answered: 0,
            values: 0,
            outgoing: Vec::new(),
            written: 0,
            partial: Vec::new(),
            held: Vec::new(),
            proving: false,
            stirred: now,
            singles: 0,
            ending: None,
            killed: None,
            mute: false,
        }
    }

    /// Where the next lines are to be put, and how many bytes wait there.
    pub(super) fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.outgoing
    }

    /// Whether everything it was to be given is in its pipe.
    pub(super) fn is_written(&self) -> bool {
        self.outgoing.len() == self.written
    }

    /// Whether it may be given more.
    pub(super) fn is_open(&self) -> bool {
        self.ending.is_none() && self.killed.is_none()
    }

    /// Whether it is known to hold no answers back.
    pub(super) fn is_prompt(&self) -> bool {
        self.singles >= SINGLES
    }

    /// Writes what fits into its pipe.
    pub(super) fn write(&mut self, now: Instant) {
        while let Some(bytes) = self.outgoing.get(self.written..).filter(|bytes| !bytes.is_empty()) {
            match self.child.write(bytes) {
                Ok(0) => break,
                Ok(count) => {
                    self.written += count;
                    self.stirred = now;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // It reads no more, but it may still write.
                Err(_) => {
                    self.end_input(now);
                    break;
                }
            }
        }
        if self.is_written() {
            self.outgoing.clear();
            self.written = 0;
        }
    }

    /// Tells it that nothing more will come.
    pub(super) fn end_input(&mut self, now: Instant) {
        self.outgoing.clear();
        self.written = 0;
        self.ending.get_or_insert(now);
        self.child.end_input();
    }

    /// Ends it.
    pub(super) fn kill(&mut self, why: Killed) {
        if self.killed.is_none() {
            self.killed = Some(why);
            self.child.kill();
        }
    }

    /// Reads what is there, once, and gives each whole line.
    pub(super) fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        now: Instant,
        mut line: impl FnMut(&mut Self, &[u8]),
    ) -> Reading {
        buffer.resize(READ_BYTES, 0);
        let count = match self.child.read(buffer) {
            Ok(0) => return Reading::End,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Reading::More,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Reading::Later,
            Err(_) => return Reading::End,
        };
        self.stirred = now;
        let mut bytes = buffer.get(..count).unwrap_or_default();
        let mut lines = 0;
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (head, rest) = bytes.split_at(end);
            lines += 1;
            if self.partial.is_empty() {
                line(self, head);
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(head);
                line(self, &whole);
            }
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.partial.extend_from_slice(bytes);
        if lines == 1 && count < SHORT_BYTES && self.partial.is_empty() {
            self.singles += 1;
        }
        if self.partial.len() > ANSWER_BYTES_MAX {
            self.partial = Vec::new();
            self.kill(Killed::Endless);
        }
        if count < READ_BYTES { Reading::Later } else { Reading::More }
    }

    /// A last line that has no line feed.
    pub(super) fn take_partial(&mut self) -> Option<Vec<u8>> {
        Some(std::mem::take(&mut self.partial)).filter(|partial| !partial.is_empty())
    }

    /// Since when it is silent, if it has taken all it was given.
    pub(super) fn silent_for(&self, now: Instant) -> Option<Duration> {
        (self.child.untaken() == 0).then(|| now.duration_since(self.stirred))
    }
}
