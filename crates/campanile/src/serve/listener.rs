use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

use super::limit;

/// A source of connections for [`Campanile::serve`](crate::Campanile::serve).
///
/// Tokio's `TcpListener` and `UnixListener` implement it. For TLS, see
/// [`with_handshake`](Self::with_handshake).
pub trait Listener: Send + 'static {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Waits for the next connection. Returns it with the client's address, if it has one.
    ///
    /// If it fails, the server logs the error and calls it again after 1 s, or at once if the kind
    /// is `ConnectionAborted` or `ConnectionReset`. It must be cancel-safe.
    fn accept(&mut self)
    -> impl Future<Output = io::Result<(Self::Io, Option<SocketAddr>)>> + Send;

    /// Returns the address for the log.
    ///
    /// Defaults to none.
    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }

    /// Closes the listener when the server stops. Returns the connections that the system has already
    /// accepted, so that the server can respond to their requests.
    ///
    /// Defaults to none.
    fn close(self) -> Vec<(Self::Io, Option<SocketAddr>)>
    where
        Self: Sized,
    {
        Vec::new()
    }

    /// Returns a listener that makes a handshake on each connection, such as that of TLS.
    ///
    /// The handshake runs in the connection's own task. If it fails, or is not complete within the
    /// [header timeout](crate::Serve::header_timeout), the connection is closed.
    ///
    /// With the `TlsAcceptor` of tokio-rustls:
    ///
    /// ```no_run
    /// use campanile::{Campanile, Listener};
    /// use tokio::net::TcpListener;
    /// # use tokio::net::TcpStream;
    ///
    /// # struct TlsAcceptor;
    /// # impl TlsAcceptor {
    /// #     fn accept(&self, stream: TcpStream) -> std::future::Ready<std::io::Result<TcpStream>> {
    /// #         std::future::ready(Ok(stream))
    /// #     }
    /// # }
    /// # async fn serve(campanile: Campanile, acceptor: TlsAcceptor, app: axum::Router) -> std::io::Result<()> {
    /// let listener = TcpListener::bind("0.0.0.0:8443").await?;
    /// let listener = listener.with_handshake(move |stream| acceptor.accept(stream));
    /// campanile.serve(listener, app).await
    /// # }
    /// ```
    fn with_handshake<F, H, T>(self, handshake: F) -> Handshake<Self, F>
    where
        Self: Sized,
        F: FnMut(Self::Io) -> H + Send + 'static,
        H: Future<Output = io::Result<T>> + Send + 'static,
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Handshake {
            listener: self,
            handshake,
        }
    }
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        let (stream, peer) = Self::accept(self).await?;
        limit::prepare(&stream);
        Ok((stream, Some(peer)))
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Self::local_addr(self).ok()
    }

    fn close(self) -> Vec<(TcpStream, Option<SocketAddr>)> {
        let Ok(listener) = self.into_std() else {
            return Vec::new();
        };
        limit::queued(|| {
            let (stream, peer) = listener.accept().ok()?;
            stream.set_nonblocking(true).ok()?;
            let stream = TcpStream::from_std(stream).ok()?;
            limit::prepare(&stream);
            Some((stream, Some(peer)))
        })
    }
}

#[cfg(unix)]
impl Listener for UnixListener {
    type Io = UnixStream;

    async fn accept(&mut self) -> io::Result<(UnixStream, Option<SocketAddr>)> {
        let (stream, _) = Self::accept(self).await?;
        Ok((stream, None))
    }

    fn close(self) -> Vec<(UnixStream, Option<SocketAddr>)> {
        let Ok(listener) = self.into_std() else {
            return Vec::new();
        };
        limit::queued(|| {
            let (stream, _) = listener.accept().ok()?;
            stream.set_nonblocking(true).ok()?;
            Some((UnixStream::from_std(stream).ok()?, None))
        })
    }
}

/// A [`Listener`] with a handshake; from [`Listener::with_handshake`].
pub struct Handshake<L, F> {
    listener: L,
    handshake: F,
}

impl<L, F, H, T> Listener for Handshake<L, F>
where
    L: Listener,
    F: FnMut(L::Io) -> H + Send + 'static,
    H: Future<Output = io::Result<T>> + Send + 'static,
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Io = HandshakeStream<T>;

    async fn accept(&mut self) -> io::Result<(HandshakeStream<T>, Option<SocketAddr>)> {
        let (stream, peer) = self.listener.accept().await?;
        Ok((HandshakeStream::new((self.handshake)(stream)), peer))
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr()
    }

    fn close(self) -> Vec<(HandshakeStream<T>, Option<SocketAddr>)> {
        let Self {
            listener,
            mut handshake,
        } = self;
        let queued = listener.close().into_iter();
        queued
            .map(|(stream, peer)| (HandshakeStream::new(handshake(stream)), peer))
            .collect()
    }
}

impl<L: fmt::Debug, F> fmt::Debug for Handshake<L, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

/// An error of a handshake, inside of the error that the connection's reads and writes return.
#[derive(Debug, thiserror::Error)]
#[error("handshake failed")]
pub(super) struct HandshakeError(#[source] io::Error);

/// A connection that makes its handshake with the first read or write.
pub struct HandshakeStream<T>(State<T>);

enum State<T> {
    Handshake(Pin<Box<dyn Future<Output = io::Result<T>> + Send>>),
    Open(T),
    Failed,
}

impl<T: Unpin> HandshakeStream<T> {
    fn new(handshake: impl Future<Output = io::Result<T>> + Send + 'static) -> Self {
        Self(State::Handshake(Box::pin(handshake)))
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut T>>> {
        if let State::Handshake(handshake) = &mut self.0 {
            match ready!(handshake.as_mut().poll(cx)) {
                Ok(stream) => self.0 = State::Open(stream),
                Err(error) => {
                    self.0 = State::Failed;
                    let error = io::Error::new(error.kind(), HandshakeError(error));
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(match &mut self.0 {
            State::Open(stream) => Ok(Pin::new(stream)),
            State::Handshake(_) | State::Failed => Err(io::ErrorKind::NotConnected.into()),
        })
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for HandshakeStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx))?.poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for HandshakeStream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx))?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx))?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            State::Open(stream) => stream.is_write_vectored(),
            State::Handshake(_) | State::Failed => false,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Open(stream) => Pin::new(stream).poll_flush(cx),
            // Nothing is written yet.
            State::Handshake(_) | State::Failed => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Open(stream) => Pin::new(stream).poll_shutdown(cx),
            State::Handshake(_) | State::Failed => Poll::Ready(Ok(())),
        }
    }
}

impl<T> fmt::Debug for HandshakeStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_open = matches!(self.0, State::Open(_));
        f.debug_struct("HandshakeStream")
            .field("is_open", &is_open)
            .finish_non_exhaustive()
    }
}
