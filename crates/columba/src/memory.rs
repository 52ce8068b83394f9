//! Two ends of a connection that never leaves the process. Each end is a transport for a broker, and a stream of
//! `futures::io` for a client.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use columba_core::Chunks;
use futures::io::{AsyncRead, AsyncWrite};

use crate::transport::Transport;

/// One end. Dropping it ends the stream for the other.
#[derive(Debug)]
pub struct Pipe {
    incoming: Arc<Mutex<Half>>,
    outgoing: Arc<Mutex<Half>>,
}

/// One direction.
#[derive(Debug)]
struct Half {
    bytes: BytesMut,
    capacity: usize,
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Who can go on, to be woken once the lock is released: a waker may drop the task it wakes, and a pipe in it.
    woken: [Option<Waker>; 2],
}

/// Two connected ends; each direction holds up to `capacity` bytes that the other end has not read.
///
/// # Panics
/// If `capacity` is 0.
pub fn pipe(capacity: usize) -> (Pipe, Pipe) {
    assert!(capacity > 0, "a pipe needs room for a byte");
    let half = || {
        Arc::new(Mutex::new(Half {
            bytes: BytesMut::new(),
            capacity,
            closed: false,
            reader: None,
            writer: None,
            woken: [None, None],
        }))
    };
    let (one, other) = (half(), half());
    (Pipe { incoming: one.clone(), outgoing: other.clone() }, Pipe { incoming: other, outgoing: one })
}

impl Pipe {
    fn with<R>(half: &Mutex<Half>, run: impl FnOnce(&mut Half) -> R) -> R {
        let (result, woken) = {
            let mut half = half.lock().unwrap_or_else(PoisonError::into_inner);
            (run(&mut half), std::mem::take(&mut half.woken))
        };
        woken.into_iter().flatten().for_each(Waker::wake);
        result
    }

    fn end(half: &Mutex<Half>) {
        Self::with(half, |half| {
            half.closed = true;
            half.wake_reader();
            half.wake_writer();
        });
    }
}

impl Half {
    fn wake_reader(&mut self) {
        self.woken[0] = self.reader.take().or(self.woken[0].take());
    }

    fn wake_writer(&mut self) {
        self.woken[1] = self.writer.take().or(self.woken[1].take());
    }

    /// Takes as much of `bytes` as fits; 0 is pending.
    fn accept(&mut self, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = self.capacity.saturating_sub(self.bytes.len()).min(bytes.len());
        if room == 0 && !bytes.is_empty() {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.bytes.extend_from_slice(&bytes[..room]);
        self.wake_reader();
        Poll::Ready(Ok(room))
    }

    /// Hands out what is there, up to `limit` bytes.
    fn supply(
        &mut self,
        cx: &Context<'_>,
        limit: usize,
        take: impl FnOnce(&[u8]),
    ) -> Poll<io::Result<usize>> {
        let count = self.bytes.len().min(limit);
        if count == 0 && limit > 0 && !self.closed {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        take(&self.bytes[..count]);
        self.bytes.advance(count);
        self.wake_writer();
        Poll::Ready(Ok(count))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        Self::end(&self.incoming);
        Self::end(&self.outgoing);
    }
}

impl Transport for Pipe {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        Self::with(&self.incoming, |half| half.supply(cx, usize::MAX, |bytes| buf.extend_from_slice(bytes)))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut Chunks) -> Poll<io::Result<()>> {
        Self::with(&self.outgoing, |half| {
            while !out.is_empty() {
                let count = std::task::ready!(half.accept(cx, out.chunk()))?;
                out.advance(count);
            }
            Poll::Ready(Ok(()))
        })
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::end(&self.outgoing);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Pipe {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Self::with(&self.incoming, |half| {
            let limit = buf.len();
            half.supply(cx, limit, |bytes| buf[..bytes.len()].copy_from_slice(bytes))
        })
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Self::with(&self.outgoing, |half| half.accept(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::end(&self.outgoing);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::future::join;
    use futures::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn bytes_pass_however_small_the_pipe() {
        let (mut one, mut other) = pipe(3);
        let sent = (0..=255).collect::<Vec<u8>>();
        let mut received = Vec::new();
        block_on(join(
            async {
                one.write_all(&sent).await.unwrap();
                one.close().await.unwrap();
            },
            async { other.read_to_end(&mut received).await.unwrap() },
        ));
        assert_eq!(received, sent);
    }

    #[test]
    fn dropping_one_end_ends_the_other() {
        let (one, mut other) = pipe(8);
        drop(one);
        block_on(async {
            assert_eq!(other.read(&mut [0; 8]).await.unwrap(), 0);
            assert_eq!(other.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        });
    }
}
