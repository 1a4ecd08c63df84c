//! One accepted connection, which a handler can take away from the HTTP server.
//!
//! A library that serves HTTP cannot be made to break it, and a second port for broken responses would be a second
//! host for the client. So the broken endpoints let the server write its response, and replace the bytes on the
//! way out.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// What the peer receives instead of the server's response.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) bytes: Bytes,
    pub(super) then: Then,
}

/// What happens after the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// An orderly end of stream.
    Close,
    /// A TCP reset.
    Reset,
    /// Nothing, until the peer gives up.
    Hang,
}

/// A handler's access to the connection of its request.
#[derive(Debug, Clone, Default)]
pub(super) struct Sabotage(Arc<OnceLock<Script>>);

impl Sabotage {
    /// Replaces everything written to this connection from now on. Only the first call counts.
    pub(super) fn play(&self, script: Script) {
        let _ = self.0.set(script);
    }
}

/// With or without TLS.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp),
            Self::Tls(tls) => Pin::new(tls.as_mut()),
        }
    }

    fn reader(&mut self) -> Pin<&mut (dyn AsyncRead + Send + Unpin)> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp),
            Self::Tls(tls) => Pin::new(tls.as_mut()),
        }
    }
}

/// The connection as the HTTP server sees it.
pub(super) struct Wire {
    stream: Stream,
    sabotage: Sabotage,
    script_bytes_sent: usize,
}

impl Wire {
    pub(super) fn new(stream: Stream) -> (Self, Sabotage) {
        let sabotage = Sabotage::default();
        (Self { stream, sabotage: sabotage.clone(), script_bytes_sent: 0 }, sabotage)
    }

    /// Sends the rest of the script. Returns what follows it, or `None` if there is no script.
    fn poll_script(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Then>>> {
        let Some(script) = self.sabotage.0.get() else {
            return Poll::Ready(Ok(None));
        };
        while let Some(rest) = script.bytes.get(self.script_bytes_sent..).filter(|rest| !rest.is_empty()) {
            let sent = ready!(self.stream.writer().poll_write(cx, rest))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.script_bytes_sent += sent;
        }
        ready!(self.stream.writer().poll_flush(cx))?;
        Poll::Ready(Ok(Some(script.then)))
    }

    fn poll_peer_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [0; 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut space);
            ready!(self.stream.reader().poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream.reader().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(self.poll_script(cx))? {
            None => self.stream.writer().poll_write(cx, buffer),
            Some(_) => Poll::Ready(Ok(buffer.len())),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.poll_script(cx))? {
            None => self.stream.writer().poll_write_vectored(cx, buffers),
            Some(_) => Poll::Ready(Ok(buffers.iter().map(|buffer| buffer.len()).sum())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(tcp) => tcp.is_write_vectored(),
            Stream::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_script(cx))?;
        self.stream.writer().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(self.poll_script(cx))? {
            None | Some(Then::Close) => self.stream.writer().poll_shutdown(cx),
            Some(Then::Reset) => Poll::Ready(self.stream.tcp().set_zero_linger()),
            Some(Then::Hang) => self.poll_peer_gone(cx),
        }
    }
}
