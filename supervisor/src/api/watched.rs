//! A request body with limits on its size and on how slowly it may arrive.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as HttpBody, Frame, SizeHint};
use shared::clock;
use tokio::time::{Sleep, sleep};

use super::problem::Problem;

/// Time in which at least [`WINDOW_BYTES`] must arrive. Users who type a list by hand should finish
/// it first.
const WINDOW: Duration = Duration::from_secs(20);

/// Minimum bytes per [`WINDOW`]: 512 a second, as other servers demand. A slower body would hold a
/// place for uploads for hours.
const WINDOW_BYTES: u64 = 10 * 1_024;

const FINE: u8 = 0;
const TOO_LARGE: u8 = 1;
const TOO_SLOW: u8 = 2;

/// Why a body failed, if it did. A parser that reads the body would only report that it broke off.
#[derive(Debug, Clone)]
pub(super) struct BodyFailure {
    kind: Arc<AtomicU8>,
    bytes_max: u64,
}

impl BodyFailure {
    /// The response to a body that could not be read and failed with `error`.
    pub(super) fn problem(&self, error: &dyn fmt::Display) -> Problem {
        match self.kind.load(Ordering::Acquire) {
            TOO_LARGE => too_large(self.bytes_max),
            TOO_SLOW => Problem::new(StatusCode::REQUEST_TIMEOUT, "the body arrives too slowly"),
            _ => {
                Problem::bad(format_args!("the body broke off, or does not match its Content-Type: {error}"))
            }
        }
    }
}

/// The response to a body over the limit.
pub(super) fn too_large(bytes_max: u64) -> Problem {
    let detail =
        format_args!("the body is larger than {bytes_max} bytes, the limit of this service; see --body-max");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// A body with limits.
pub(super) struct LimitedBody {
    inner: Body,
    bytes: u64,
    window: Duration,
    /// Bytes received in this window.
    window_bytes: u64,
    /// Time used of the window. It counts only while nothing was available to read: a slow disk, or
    /// a wait for other requests, is not the sender's fault.
    waited: Duration,
    /// Since when nothing has been available to read.
    waits_since: Option<Instant>,
    window_ends: Pin<Box<Sleep>>,
    failure: BodyFailure,
}

impl LimitedBody {
    pub(super) fn new(inner: Body, bytes_max: u64) -> Self {
        Self::with(inner, bytes_max, WINDOW)
    }

    fn with(inner: Body, bytes_max: u64, window: Duration) -> Self {
        let failure = BodyFailure { kind: Arc::new(AtomicU8::new(FINE)), bytes_max };
        Self {
            inner,
            bytes: 0,
            window,
            window_bytes: 0,
            waited: Duration::ZERO,
            waits_since: None,
            window_ends: Box::pin(sleep(window)),
            failure,
        }
    }

    /// Returns a handle that says why reading failed.
    pub(super) fn failure(&self) -> BodyFailure {
        self.failure.clone()
    }

    /// Handles a read that found nothing.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.waits_since.is_none() {
            let now = clock::now();
            let end = now + self.window.saturating_sub(self.waited);
            self.waits_since = Some(now);
            self.window_ends.as_mut().reset(end.into());
        }
        while self.window_ends.as_mut().poll(context).is_ready() {
            if self.window_bytes < WINDOW_BYTES {
                return self.fail(TOO_SLOW);
            }
            let now = clock::now();
            (self.window_bytes, self.waited, self.waits_since) = (0, Duration::ZERO, Some(now));
            let end = now + self.window;
            self.window_ends.as_mut().reset(end.into());
        }
        Poll::Pending
    }

    fn fail(&self, kind: u8) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.failure.kind.store(kind, Ordering::Release);
        Poll::Ready(Some(Err(axum::Error::new(Stopped))))
    }
}

/// Reading was stopped; [`BodyFailure`] says why.
#[derive(Debug)]
struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopped")
    }
}

impl StdError for Stopped {}

impl HttpBody for LimitedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(frame) => frame,
            Poll::Pending => return self.wait(context),
        };
        if let Some(since) = self.waits_since.take() {
            self.waited += clock::now().saturating_duration_since(since);
        }
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            self.bytes += bytes;
            self.window_bytes += bytes;
            if self.bytes > self.failure.bytes_max {
                return self.fail(TOO_LARGE);
            }
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use axum::body::to_bytes;
    use http_body_util::BodyExt as _;
    use http_body_util::channel::{Channel, Sender};

    use super::*;

    const SHORT: Duration = Duration::from_millis(40);

    fn watched(bytes_max: u64) -> (Sender<Bytes, io::Error>, LimitedBody, BodyFailure) {
        let (sender, inner) = Channel::new(1);
        let watched = LimitedBody::with(Body::new(inner), bytes_max, SHORT);
        let failure = watched.failure();
        (sender, watched, failure)
    }

    #[tokio::test]
    async fn a_stalled_body_fails_in_its_first_slow_window() {
        for (bytes, windows) in [(0, 1), (WINDOW_BYTES - 1, 1), (WINDOW_BYTES, 2)] {
            let (mut sender, watched, failure) = watched(u64::MAX);
            sender.send_data(vec![0; usize::try_from(bytes).unwrap()].into()).await.unwrap();
            let began = clock::now();
            let error = to_bytes(Body::new(watched), usize::MAX).await.unwrap_err();
            assert!(clock::now() - began >= SHORT * windows, "{bytes} bytes");
            let problem = failure.problem(&error);
            assert_eq!(problem.status, StatusCode::REQUEST_TIMEOUT);
            assert!(problem.detail.contains("too slowly"), "{problem:?}");
        }
    }

    #[tokio::test]
    async fn our_own_slow_reading_is_not_the_senders_fault() {
        let (mut sender, mut watched, failure) = watched(10);
        for bytes in ["12345", "67890"] {
            sender.send_data(bytes.into()).await.unwrap();
            assert_eq!(watched.frame().await.unwrap().unwrap().into_data().unwrap(), bytes);
            let until = clock::now() + SHORT * 2;
            while clock::now() < until {
                tokio::task::yield_now().await;
            }
        }
        let reading = tokio::spawn(async move { watched.frame().await.unwrap().unwrap_err() });
        // It polls, finds nothing, and waits.
        tokio::task::yield_now().await;
        sender.send_data("!".into()).await.unwrap();
        let error = reading.await.unwrap();
        assert_eq!(failure.problem(&error).status, StatusCode::PAYLOAD_TOO_LARGE);
    }
}
