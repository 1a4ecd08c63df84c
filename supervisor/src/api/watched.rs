//! A request's body that may neither be too large nor come too slowly.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as HttpBody, Frame, SizeHint};
use shared::clock;
use tokio::time::{Sleep, sleep};

use super::problem::Problem;

/// Time in which at least [`WINDOW_BYTES`] must come. Whoever types its list by hand should end it first.
const WINDOW: Duration = Duration::from_secs(20);

/// Fewest bytes in a [`WINDOW`]: the slowest modem was ten times as fast.
const WINDOW_BYTES: u64 = 1_024;

const FINE: u8 = 0;
const TOO_LARGE: u8 = 1;
const TOO_SLOW: u8 = 2;

/// What went wrong with a body, if anything; whoever reads it through a parser would only hear that it broke.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    kind: Arc<AtomicU8>,
    bytes_max: u64,
}

impl Trouble {
    /// The answer to a body that could not be read, which failed with `error`.
    pub(super) fn problem(&self, error: &dyn fmt::Display) -> Problem {
        match self.kind.load(Ordering::Acquire) {
            TOO_LARGE => too_large(self.bytes_max),
            TOO_SLOW => Problem::new(StatusCode::REQUEST_TIMEOUT, "the body comes too slowly"),
            _ => Problem::bad(format_args!("the body broke off, or is not what Content-Type says: {error}")),
        }
    }
}

/// The answer to a body over the limit.
pub(super) fn too_large(bytes_max: u64) -> Problem {
    let detail =
        format_args!("the body is larger than {bytes_max} bytes, which is the most here; see --body-max");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// A body, under watch.
pub(super) struct Watched {
    inner: Body,
    bytes: u64,
    window_bytes: u64,
    window: Pin<Box<Sleep>>,
    trouble: Trouble,
}

impl Watched {
    pub(super) fn new(inner: Body, bytes_max: u64) -> Self {
        let trouble = Trouble { kind: Arc::new(AtomicU8::new(FINE)), bytes_max };
        Self { inner, bytes: 0, window_bytes: 0, window: Box::pin(sleep(WINDOW)), trouble }
    }

    /// Where to look when reading fails.
    pub(super) fn trouble(&self) -> Trouble {
        self.trouble.clone()
    }

    fn fail(&self, kind: u8) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.trouble.kind.store(kind, Ordering::Release);
        Poll::Ready(Some(Err(axum::Error::new(Stopped))))
    }
}

/// Reading was stopped; [`Trouble`] says why.
#[derive(Debug)]
struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopped")
    }
}

impl StdError for Stopped {}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.bytes += bytes;
                self.window_bytes += bytes;
                if self.bytes > self.trouble.bytes_max {
                    return self.fail(TOO_LARGE);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(other) => Poll::Ready(other),
            Poll::Pending => {
                while self.window.as_mut().poll(context).is_ready() {
                    if self.window_bytes < WINDOW_BYTES {
                        return self.fail(TOO_SLOW);
                    }
                    self.window_bytes = 0;
                    let end = clock::now() + WINDOW;
                    self.window.as_mut().reset(end.into());
                }
                Poll::Pending
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
