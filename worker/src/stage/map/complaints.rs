//! What the program writes to standard error: whole lines are passed on to the user, and
//! the end is kept as evidence. It has a thread of its own, so that a slow reader of
//! these lines holds up the program, but not its answers.

use std::collections::VecDeque;
use std::io::Read as _;
use std::process::ChildStderr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use crate::outbox::Voice;

/// How much of its end is kept: a traceback fits.
const TAIL_BYTES_MAX: usize = 8 * 1024;

/// A longer line is passed on in pieces.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// How long the pipe may stay open after the program's end: a child of the program may hold it open.
const GRACE: Duration = Duration::from_millis(100);

/// The end of what one process of the program said.
#[derive(Debug)]
pub(super) struct Complaints {
    tail: Arc<Mutex<VecDeque<u8>>>,
    ended: Receiver<()>,
}

impl Complaints {
    /// Starts listening.
    pub(super) fn of(mut pipe: ChildStderr, voice: Voice) -> std::io::Result<Self> {
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let (ending, ended) = bounded::<()>(0);
        let kept = Arc::clone(&tail);
        thread::Builder::new().name("complaints".to_owned()).spawn(move || {
            let mut line = Vec::new();
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut bytes) {
                let fresh = bytes.get(..count).unwrap_or_default();
                keep(&mut kept.lock().unwrap_or_else(PoisonError::into_inner), fresh);
                cut(&mut line, fresh, |whole| voice.say(String::from_utf8_lossy(whole).into_owned()));
            }
            if !line.is_empty() {
                voice.say(String::from_utf8_lossy(&line).into_owned());
            }
            drop(ending);
        })?;
        Ok(Self { tail, ended })
    }

    /// Returns what is kept. Waits a moment for what is on its way.
    pub(super) fn take(&self) -> String {
        // The tail is read either way: an error is the end, or the end of the grace period.
        let _ = self.ended.recv_timeout(GRACE);
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(tail.make_contiguous()).into_owned()
    }
}

fn keep(tail: &mut VecDeque<u8>, fresh: &[u8]) {
    tail.extend(fresh);
    let surplus = tail.len().saturating_sub(TAIL_BYTES_MAX);
    tail.drain(..surplus);
}

/// Adds `fresh` to `line`, and gives every line that is whole, or too long.
fn cut(line: &mut Vec<u8>, fresh: &[u8], mut give: impl FnMut(&[u8])) {
    for part in fresh.split_inclusive(|&byte| byte == b'\n') {
        line.extend_from_slice(part);
        if part.ends_with(b"\n") {
            give(line.trim_ascii_end());
            line.clear();
        } else if line.len() >= LINE_BYTES_MAX {
            give(line);
            line.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_given_whole_however_they_come() {
        for step in [1, 2, 3, 100] {
            let (mut line, mut given) = (Vec::new(), Vec::new());
            for fresh in b"one\r\n\ntwo\nthr".chunks(step) {
                cut(&mut line, fresh, |whole| given.push(whole.to_vec()));
            }
            assert_eq!(given, [&b"one"[..], b"", b"two"], "{step}");
            assert_eq!(line, b"thr");
        }
    }

    #[test]
    fn a_line_without_end_is_given_in_pieces() {
        let (mut line, mut given) = (Vec::new(), 0);
        for _ in 0..5 {
            cut(&mut line, &[b'x'; 4096], |piece| given += piece.len());
        }
        assert_eq!((given, line.len()), (2 * LINE_BYTES_MAX, 4096));
    }

    #[test]
    fn the_end_is_kept() {
        let mut tail = VecDeque::new();
        keep(&mut tail, &[b'a'; TAIL_BYTES_MAX]);
        keep(&mut tail, b"end");
        assert_eq!(tail.len(), TAIL_BYTES_MAX);
        assert!(tail.make_contiguous().ends_with(b"aend"));
    }
}
