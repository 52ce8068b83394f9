//! Where bytes come from and go to. A transport moves them and knows nothing of MQTT.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use columba_core::Chunks;
use futures::io::{AsyncRead, AsyncWrite};

/// One connection's stream of bytes, both ways, without loss and in order [MQTT-4.2-1].
///
/// After `Poll::Pending` the transport wakes the task when the call may get further, as futures do.
pub trait Transport: Send + 'static {
    /// Appends bytes that came to `buf`, as many as there are up to its spare capacity (some must be reserved if there
    /// is none), and returns how many; 0 is the end of the stream. `Pending` appends nothing.
    ///
    /// # Errors
    /// The stream is broken; the connection ends.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>>;

    /// Sends from the front of `out`, taking off what is accepted, and is ready when `out` is empty.
    ///
    /// # Errors
    /// The stream is broken; the connection ends.
    fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut Chunks) -> Poll<io::Result<()>>;

    /// Flushes, and tells the other side that nothing more comes. The transport is dropped afterwards.
    ///
    /// # Errors
    /// The stream is broken; it is dropped all the same.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Transport for Box<dyn Transport> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        (**self).poll_read(cx, buf)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut Chunks) -> Poll<io::Result<()>> {
        (**self).poll_write(cx, out)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_close(cx)
    }
}

/// A transport over anything that speaks the traits of `futures::io`: sockets of smol and async-std, TLS streams,
/// pipes.
#[derive(Debug)]
pub struct FuturesIo<T> {
    stream: T,
}

/// How many pieces one vectored write takes.
pub(crate) const PIECES: usize = 32;

/// What a read reserves if the caller has not.
pub(crate) const READ_SIZE: usize = 4096;

impl<T> FuturesIo<T>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    /// Wraps a stream.
    pub const fn new(stream: T) -> Self {
        Self { stream }
    }
}

impl<T> Transport for FuturesIo<T>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        // The trait reads into initialised memory only.
        let start = buf.len();
        let room = (buf.capacity() - start).clamp(READ_SIZE, 16 * READ_SIZE);
        buf.resize(start + room, 0);
        let outcome = Pin::new(&mut self.stream).poll_read(cx, &mut buf[start..]);
        let count = if let Poll::Ready(Ok(count)) = outcome { count } else { 0 };
        buf.truncate(start + count);
        outcome
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut Chunks) -> Poll<io::Result<()>> {
        write_all(out, |slices| Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        if !out.is_empty() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// Writes until `out` is empty or `write` is pending.
pub(crate) fn write_all(
    out: &mut Chunks,
    mut write: impl FnMut(&[IoSlice<'_>]) -> Poll<io::Result<usize>>,
) -> io::Result<()> {
    while !out.is_empty() {
        let mut slices = [IoSlice::new(&[]); PIECES];
        let count = out.io_slices(&mut slices);
        match write(&slices[..count]) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(written)) => out.advance(written),
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => break,
        }
    }
    Ok(())
}
