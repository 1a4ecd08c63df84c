//! Repairs HTTP/1 responses so that both clients read them alike.
//!
//! The two clients reject different heads and chunk lines, and browsers read most of what either rejects. So each
//! connection passes what it reads through a [`Repair`]. A tidy response passes unchanged after one scan. Any other
//! head is parsed here: the client gets a short head with the same framing, and takes the real one from the
//! [`Slot`]. Chunk lines lose extensions and padding, chunked bodies their trailers.
//!
//! Calling contract, for HTTP/1 only:
//!
//! ```text
//! on_write(bytes)     the client has sent bytes
//! take(max)           until it is empty; only then read from the connection:
//!   on_read(bytes)    true: the client may have them. false: they are kept, take() again
//!   on_end()          the peer has closed
//! ```

mod chunks;
mod framing;
mod gather;
mod head;
mod scan;
#[cfg(test)]
pub(super) mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use http::response::Parts;

use self::chunks::Chunks;
use self::gather::Gather;
pub(super) use self::head::Head;
use super::fault::Fault;

/// Maximum size of a response head, including interim responses. curl reads 300 KB.
pub(super) const HEAD_BYTES_MAX: usize = 512 * 1024;

/// Maximum header fields of a response. curl reads 5,000; `http` stores at most 24,576 names.
pub(super) const HEADERS_MAX: usize = 16 * 1024;

/// Maximum size of a head that is passed on unchanged.
pub(super) const TIDY_BYTES_MAX: usize = 64 * 1024;

/// Maximum header fields of a head that is passed on unchanged: hyper's limit, and below `ureq`'s.
const TIDY_HEADERS_MAX: usize = 100;

/// Maximum length that a client is told of. hyper rejects larger ones as malformed, and `ureq` takes them; no body is
/// that long.
const LENGTH_MAX: u64 = i64::MAX as u64;

/// The real head of the response that the client is reading, if it was replaced.
#[derive(Debug, Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Option<Box<Head>>>>);

impl Slot {
    /// Puts the real head in place of the client's, if they differ.
    pub(super) fn restore(&self, parts: &mut Parts) {
        if let Some(head) = self.lock().take() {
            parts.version = head.version;
            parts.headers = head.headers;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Box<Head>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// After this many more bytes.
    Length(u64),
    Chunked(Chunks),
    UntilClose,
}

#[derive(Debug)]
enum State {
    /// No response is expected.
    Idle,
    Head(Gather),
    Body(Body),
}

/// The state of what one HTTP/1 connection reads.
#[derive(Debug)]
pub(super) struct Repair {
    state: State,
    /// The request was a `HEAD`, so its response has no body.
    to_head: bool,
    /// Another reader might find another end of the response, so nothing after it is trusted.
    spoiled: bool,
    /// Rewritten bytes for the client.
    ready: Vec<u8>,
    /// How much of `ready` the client has taken.
    taken: usize,
    /// The fault to report after `ready`.
    fault: Option<Fault>,
    slot: Slot,
}

impl Repair {
    pub(super) const fn new(slot: Slot) -> Self {
        Self {
            state: State::Idle,
            to_head: false,
            spoiled: false,
            ready: Vec::new(),
            taken: 0,
            fault: None,
            slot,
        }
    }

    /// Handles bytes that the client has sent.
    pub(super) fn on_write(&mut self, bytes: &[u8]) {
        // Bytes written while a response arrives belong to its request.
        if matches!(self.state, State::Idle) {
            self.to_head = bytes.starts_with(b"HEAD ");
            self.state = State::Head(Gather::default());
            *self.slot.lock() = None;
        }
    }

    /// Whether the last response has ended and the connection must not be used again.
    pub(super) const fn is_over(&self) -> bool {
        self.spoiled && matches!(self.state, State::Idle)
    }

    /// Returns up to `max` bytes for the client, or the fault that follows them. Empty means: read more first.
    pub(super) fn take(&mut self, max: usize) -> Result<&[u8], Fault> {
        if self.taken == self.ready.len() {
            self.ready.clear();
            self.taken = 0;
            return self.fault.take().map_or(Ok(&[]), Err);
        }
        let end = self.taken.saturating_add(max).min(self.ready.len());
        let piece = self.ready.get(self.taken..end).unwrap_or_default();
        self.taken = end;
        Ok(piece)
    }

    /// Handles bytes that were read. Returns whether the client may have them unchanged; otherwise they are kept.
    pub(super) fn on_read(&mut self, bytes: &[u8]) -> bool {
        match &mut self.state {
            State::Idle => true,
            State::Head(gather) => {
                if gather.is_empty()
                    && let Some((length, body)) = scan::tidy(bytes, self.to_head)
                    && let Some((head, rest)) = bytes.split_at_checked(length)
                {
                    self.state = State::Body(body);
                    return self.on_body(head, rest);
                }
                gather.push(bytes);
                self.on_gathered();
                false
            }
            State::Body(_) => self.on_body(&[], bytes),
        }
    }

    /// Handles the end of the connection.
    pub(super) fn on_end(&self) -> Result<(), Fault> {
        match &self.state {
            State::Head(gather) if !gather.is_empty() => Err(Fault::Closed),
            State::Body(Body::Length(1..) | Body::Chunked(_)) => Err(Fault::Closed),
            State::Idle | State::Head(_) | State::Body(_) => Ok(()),
        }
    }

    /// Handles a piece of the body, after a tidy head if there is one. Returns whether both may pass unchanged.
    fn on_body(&mut self, head: &[u8], bytes: &[u8]) -> bool {
        let State::Body(body) = self.state else { return true };
        let mut ahead = body;
        if ahead.passes(bytes) {
            self.continue_with(ahead);
            return true;
        }
        self.ready.extend_from_slice(head);
        self.rewrite(bytes);
        false
    }

    /// Checks whether the collected head is complete, and starts its body.
    fn on_gathered(&mut self) {
        let State::Head(gather) = &mut self.state else { return };
        let (mut head, rest) = match gather.head() {
            Ok(Some(found)) => found,
            Ok(None) => return,
            Err(fault) => return self.fault = Some(fault),
        };
        let body = match framing::settle(&mut head, self.to_head, &mut self.ready) {
            Ok(body) => body,
            Err(fault) => return self.fault = Some(fault),
        };
        *self.slot.lock() = Some(Box::new(head));
        self.continue_with(body);
        self.rewrite(&rest);
    }

    /// Rewrites a piece of the body so that both clients read it.
    fn rewrite(&mut self, bytes: &[u8]) {
        let mut used = 0;
        if let State::Body(mut body) = self.state {
            match body.rewrite(bytes, &mut self.ready) {
                Ok(bytes) => used = bytes,
                Err(fault) => return self.fault = Some(fault),
            }
            self.spoiled |= matches!(&body, Body::Chunked(chunks) if chunks.is_odd());
            self.continue_with(body);
        }
        // Bytes after the body were not requested, and a client could take them for the next response.
        self.spoiled |= used < bytes.len();
    }

    fn continue_with(&mut self, body: Body) {
        let is_end = match &body {
            Body::Length(left) => *left == 0,
            Body::Chunked(chunks) => chunks.is_end(),
            Body::UntilClose => false,
        };
        self.state = if is_end { State::Idle } else { State::Body(body) };
    }
}

impl Body {
    /// Advances over `bytes` and returns whether all of them belong to the body unchanged.
    fn passes(&mut self, bytes: &[u8]) -> bool {
        match self {
            Self::Length(left) => {
                let rest = left.checked_sub(bytes.len() as u64);
                *left = rest.unwrap_or_default();
                rest.is_some()
            }
            Self::Chunked(chunks) => chunks.passes(bytes),
            Self::UntilClose => true,
        }
    }

    /// Advances over `bytes` and writes what the client may have. Returns how many belong to the body.
    fn rewrite(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Fault> {
        match self {
            Self::Length(left) => {
                let used = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= used as u64;
                out.extend_from_slice(bytes.get(..used).unwrap_or_default());
                Ok(used)
            }
            Self::UntilClose => {
                out.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            Self::Chunked(chunks) => chunks.rewrite(bytes, out),
        }
    }
}
