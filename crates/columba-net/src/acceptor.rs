//! Listening sockets and their streams, on tokio or on a reactor: wherever they are first polled.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use columba::Transport;
use columba::tokio::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;

use crate::reactor::{self, Socket};

/// A stream that was accepted.
#[derive(Debug)]
pub(crate) enum Stream<T, M: mio::event::Source> {
    Tokio(T),
    Reactor(Socket<M>),
}

pub(crate) type TcpStream = Stream<tokio::net::TcpStream, mio::net::TcpStream>;
#[cfg(unix)]
pub(crate) type UnixStream = Stream<tokio::net::UnixStream, mio::net::UnixStream>;

/// Calls a method of whichever it is.
macro_rules! either {
    ($stream:expr, $method:ident($($argument:expr),*)) => {
        match $stream {
            Stream::Tokio(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Reactor(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl<T, M> Stream<T, M>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    M: reactor::Duplex,
{
    /// The stream as it is, without the choice.
    pub(crate) fn into_transport(self) -> Box<dyn Transport> {
        match self {
            Self::Tokio(stream) => Box::new(TokioIo::new(stream)),
            Self::Reactor(stream) => Box::new(TokioIo::new(stream)),
        }
    }
}

impl<T: AsyncRead + Unpin, M: reactor::Duplex> AsyncRead for Stream<T, M> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), poll_read(cx, buf))
    }
}

impl<T: AsyncWrite + Unpin, M: reactor::Duplex> AsyncWrite for Stream<T, M> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), poll_shutdown(cx))
    }
}

/// The two kinds of socket differ in their types only.
macro_rules! acceptor {
    ($name:ident, $std:ty, $tokio:ty, $mio:ty, $stream:ty, $address:expr, $peer:ty) => {
        /// A listening socket.
        #[derive(Debug)]
        pub(crate) enum $name {
            /// Nobody has asked for a connection so far.
            Bound(Option<$std>),
            Tokio($tokio),
            Reactor(Socket<$mio>),
        }

        impl $name {
            pub(crate) fn new(socket: $std) -> io::Result<Self> {
                socket.set_nonblocking(true)?;
                Ok(Self::Bound(Some(socket)))
            }

            pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<($stream, $peer)>> {
                if let Self::Bound(socket) = self {
                    *self = Self::settle(socket)?;
                }
                match self {
                    Self::Bound(..) => Poll::Pending,
                    Self::Tokio(socket) => socket
                        .poll_accept(cx)
                        .map_ok(|(stream, address)| (Stream::Tokio(stream), ($address)(address))),
                    Self::Reactor(socket) => {
                        socket.poll_take(cx, |socket, _| Ok((socket.accept()?, false))).map_ok(
                            |(stream, address)| (Stream::Reactor(Socket::new(stream)), ($address)(address)),
                        )
                    }
                }
            }

            fn settle(socket: &mut Option<$std>) -> io::Result<Self> {
                let nobody = || io::Error::other("a listener is polled without a reactor and without tokio");
                let here = reactor::is_current();
                if !here && Handle::try_current().is_err() {
                    return Err(nobody());
                }
                let socket = socket.take().ok_or_else(nobody)?;
                if here {
                    return Ok(Self::Reactor(Socket::new(<$mio>::from_std(socket))));
                }
                <$tokio>::from_std(socket).map(Self::Tokio)
            }
        }
    };
}

acceptor!(
    TcpAcceptor,
    std::net::TcpListener,
    tokio::net::TcpListener,
    mio::net::TcpListener,
    TcpStream,
    |address| address,
    std::net::SocketAddr
);

impl TcpAcceptor {
    /// The socket once more, while nobody waits for it.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Bound(Some(socket)) => socket.try_clone().map(|socket| Self::Bound(Some(socket))),
            _ => Err(io::Error::other("a listener that accepts already cannot be cloned")),
        }
    }
}

#[cfg(unix)]
acceptor!(
    UnixAcceptor,
    std::os::unix::net::UnixListener,
    tokio::net::UnixListener,
    mio::net::UnixListener,
    UnixStream,
    |_| (),
    ()
);
