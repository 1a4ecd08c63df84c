//! The way to a server: a socket of its own, or one through a proxy.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::super::fault::Fault;
use super::super::proxy::{HANDSHAKE_BYTES, Host, Route, Step};

/// How far a connection has come, which says what a timeout means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The server's name is looked up.
    Lookup,
    /// Another connection finds out whether the proxy works.
    Turn,
    /// The proxy is connected to.
    Proxy,
    /// The proxy is asked for the server.
    Handshake,
    /// The server is connected to.
    Server,
}

/// What a connection runs over.
pub(super) enum Link {
    /// A socket of its own.
    Socket(TcpStream),
    /// TLS to a proxy.
    Secured(Box<TlsStream<TcpStream>>),
}

/// Has the proxy connect to a server.
pub(super) async fn ask(route: &Route, link: &mut Link, host: &Host, port: u16) -> Result<(), Fault> {
    let mut handshake = route.handshake(host, port)?;
    let mut buffer = [0; HANDSHAKE_BYTES];
    loop {
        let done: io::Result<()> = match handshake.step().map_err(|fault| route.failed_by(fault))? {
            Step::Done => return Ok(()),
            Step::Send(bytes) => {
                async {
                    link.write_all(&bytes).await?;
                    link.flush().await
                }
                .await
            }
            Step::Receive => {
                let read = link.read(&mut buffer).await;
                read.map(|read| handshake.on_read(buffer.get(..read).unwrap_or_default()))
            }
        };
        done.map_err(|_| route.cut_short())?;
    }
}

impl AsyncRead for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Secured(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Socket(stream) => Pin::new(stream).poll_write(cx, buffer),
            Self::Secured(stream) => Pin::new(stream).poll_write(cx, buffer),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Socket(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
            Self::Secured(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Socket(stream) => stream.is_write_vectored(),
            Self::Secured(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(stream) => Pin::new(stream).poll_flush(cx),
            Self::Secured(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Secured(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
