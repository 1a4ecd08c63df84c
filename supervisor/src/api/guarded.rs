//! A stream that gives up on a peer that does not read, and that does not close before a peer that
//! is still sending can have read the response.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long a peer may accept no bytes of a response. A laptop that was shut returns with a new
/// connection.
const STALL: Duration = Duration::from_secs(30);

/// How long to keep reading after the response was sent. Closing a socket with unread data resets
/// the connection. Then a peer that is still sending its gigabyte never sees the 413 response.
const LINGER: Duration = Duration::from_secs(1);

/// Bytes discarded at a time meanwhile.
const DISCARD_BYTES: usize = 16 * 1024;

/// A stream whose writes fail once the peer has accepted nothing for [`STALL`].
pub(super) struct StallGuard<S> {
    inner: S,
    stalled: Option<Pin<Box<Sleep>>>,
    after: Duration,
    /// When to stop reading; set once the writing side is shut down.
    linger: Option<Pin<Box<Sleep>>>,
}

impl<S> StallGuard<S> {
    pub(super) const fn new(inner: S) -> Self {
        Self::with(inner, STALL)
    }

    const fn with(inner: S, after: Duration) -> Self {
        Self { inner, stalled: None, after, linger: None }
    }

    /// Passes a write's result on, unless writes have been stuck for too long.
    fn watched<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let after = self.after;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(after)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => {
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read")))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StallGuard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for StallGuard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.watched(written, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        self.watched(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            let shut = Pin::new(&mut this.inner).poll_shutdown(context);
            std::task::ready!(this.watched(shut, context))?;
        }
        let linger = this.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if linger.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        loop {
            let mut discarded = [0; DISCARD_BYTES];
            let mut into = ReadBuf::new(&mut discarded);
            let read = std::task::ready!(Pin::new(&mut this.inner).poll_read(context, &mut into));
            if read.is_err() || into.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.watched(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn only_a_peer_that_reads_nothing_is_given_up() {
        let (near, mut far) = tokio::io::duplex(8);
        let mut guarded = StallGuard::with(near, Duration::from_millis(20));
        let mut read = [0; 8];
        for _ in 0..3 {
            guarded.write_all(b"12345678").await.unwrap();
            far.read_exact(&mut read).await.unwrap();
        }
        guarded.write_all(b"12345678").await.unwrap();
        let error = guarded.write_all(b"9").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_still_sends_is_read_until_it_has_the_response() {
        let (near, mut far) = tokio::io::duplex(8);
        let closing = tokio::spawn(async move { StallGuard::new(near).shutdown().await });
        far.write_all(&[0; 10_000]).await.unwrap();
        assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
        drop(far);
        closing.await.unwrap().unwrap();
    }
}
