//! Sockets that wait on the reactor of the thread that polls them, whichever that is.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use mio::event::Source;
use mio::{Interest, Token};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::park::{Entry, Reactor, Shared, with_current};

/// A socket, and where it is known.
#[derive(Debug)]
pub(crate) struct Socket<S: Source> {
    io: S,
    place: Option<Place>,
}

#[derive(Debug)]
struct Place {
    reactor: Arc<Shared>,
    key: usize,
}

/// A stream of bytes both ways.
pub(crate) trait Duplex: Source + Read + Write + Send + Unpin + 'static {
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
}

impl Duplex for mio::net::TcpStream {
    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }
}

#[cfg(unix)]
impl Duplex for mio::net::UnixStream {
    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }
}

/// A stream that yields less than was asked for has no more, and the system tells when there is more again: so it is with
/// epoll and kqueue. Elsewhere only a read that would block says that.
const SHORT_IS_ALL: bool = cfg!(any(
    target_os = "android",
    target_os = "dragonfly",
    target_os = "freebsd",
    target_os = "ios",
    target_os = "linux",
    target_os = "macos",
    target_os = "netbsd",
    target_os = "openbsd",
));

impl<S: Source> Socket<S> {
    pub(crate) const fn new(io: S) -> Self {
        Self { io, place: None }
    }

    pub(crate) const fn get_ref(&self) -> &S {
        &self.io
    }

    /// Tries `take` if something may have come. It returns also whether that was all there is.
    pub(crate) fn poll_take<T>(
        &mut self,
        cx: &Context<'_>,
        mut take: impl FnMut(&mut S, &mut Scratch<'_>) -> io::Result<(T, bool)>,
    ) -> Poll<io::Result<T>> {
        self.here(|io, key, reactor| {
            let entry = &mut reactor.sockets[key];
            if !entry.is_readable {
                entry.wait(cx);
                return Poll::Pending;
            }
            let mut scratch = Scratch { bytes: &mut reactor.scratch, has_much: entry.has_much };
            match retry(|| take(io, &mut scratch)) {
                Ok((taken, was_all)) => {
                    entry.has_much = scratch.has_much;
                    entry.is_readable = !was_all || entry.is_ended;
                    entry.is_drained = was_all && entry.is_ended;
                    Poll::Ready(Ok(taken))
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    entry.is_readable = false;
                    entry.is_ended = false;
                    entry.wait(cx);
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Err(error)),
            }
        })
    }

    /// Tries `give`, which returns how many bytes went, if there may be room for `wanted`.
    fn poll_give(
        &mut self,
        cx: &Context<'_>,
        wanted: usize,
        mut give: impl FnMut(&mut S) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.here(|io, key, reactor| {
            let entry = &mut reactor.sockets[key];
            let mut outcome = Poll::Pending;
            if entry.is_writable {
                match retry(|| give(io)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    done => outcome = Poll::Ready(done),
                }
                if matches!(outcome, Poll::Ready(Err(_))) {
                    return outcome;
                }
                entry.is_writable =
                    matches!(outcome, Poll::Ready(Ok(count)) if count >= wanted || !SHORT_IS_ALL);
            }
            if !entry.is_writable && !std::mem::replace(&mut entry.waits_to_write, true) {
                // Most connections never wait for room, and are spared the events about it.
                reactor.shared.registry.reregister(
                    io,
                    Token(key),
                    Interest::READABLE | Interest::WRITABLE,
                )?;
            }
            if outcome.is_pending() {
                entry.wait(cx);
            }
            outcome
        })
    }

    /// Whether all has been read and nothing more can come.
    fn is_drained(&self) -> bool {
        let Some(place) = &self.place else { return false };
        let drained = with_current(|reactor| {
            let entry =
                reactor.sockets.get(place.key).filter(|_| Arc::ptr_eq(&place.reactor, &reactor.shared));
            entry.is_some_and(|entry| entry.is_drained)
        });
        drained == Some(true)
    }

    /// Calls `f` with the place on this thread's reactor, which becomes the socket's if it was another's.
    fn here<T>(
        &mut self,
        f: impl FnOnce(&mut S, usize, &mut Reactor) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let outcome = with_current(|reactor| {
            let key = match &self.place {
                Some(place) if Arc::ptr_eq(&place.reactor, &reactor.shared) => place.key,
                _ => self.enter(reactor)?,
            };
            f(&mut self.io, key, reactor)
        });
        let nowhere = || io::Error::other("a socket of a reactor is polled on a thread without one");
        outcome.unwrap_or_else(|| Poll::Ready(Err(nowhere())))
    }

    fn enter(&mut self, reactor: &mut Reactor) -> io::Result<usize> {
        if let Some(place) = self.place.take() {
            // It fails if the socket is not known there any more, which is what it is for.
            let _ = place.reactor.registry.deregister(&mut self.io);
            place.reactor.leave(place.key);
        }
        let vacant = reactor.sockets.vacant_entry();
        let key = vacant.key();
        // What is there to be read already is an event, too.
        reactor.shared.registry.register(&mut self.io, Token(key), Interest::READABLE)?;
        vacant.insert(Entry::new());
        self.place = Some(Place { reactor: reactor.shared.clone(), key });
        Ok(key)
    }
}

impl<S: Source> Drop for Socket<S> {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        // The system forgets a socket that is closed; there is nothing to be told to it.
        let removed = with_current(|reactor| {
            Arc::ptr_eq(&place.reactor, &reactor.shared).then(|| reactor.sockets.try_remove(place.key))
        });
        if removed.flatten().is_none() {
            place.reactor.leave(place.key);
        }
    }
}

/// Where small reads go first.
pub(crate) struct Scratch<'a> {
    bytes: &'a mut [u8],
    has_much: bool,
}

impl Scratch<'_> {
    /// Reads once. Returns whether that was all.
    fn read(&mut self, io: &mut impl Read, buf: &mut ReadBuf<'_>) -> io::Result<bool> {
        let room = buf.remaining();
        let is_initialised = buf.initialized().len() == buf.capacity();
        // Memory has to be initialised before it can be read into. For a large read that costs little beside the read, for a
        // small one a copy costs less.
        let limit = if is_initialised || self.has_much { room } else { room.min(self.bytes.len()) };
        let count = if is_initialised || self.has_much {
            let count = io.read(buf.initialize_unfilled())?;
            buf.advance(count);
            count
        } else {
            let count = io.read(&mut self.bytes[..limit])?;
            buf.put_slice(&self.bytes[..count]);
            count
        };
        self.has_much = count >= self.bytes.len();
        Ok(SHORT_IS_ALL && count < limit)
    }
}

impl<S: Duplex> AsyncRead for Socket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        self.get_mut().poll_take(cx, |io, scratch| Ok(((), scratch.read(io, buf)?)))
    }
}

impl<S: Duplex> AsyncWrite for Socket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_give(cx, buf.len(), |io| io.write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [buf] = bufs {
            return self.poll_write(cx, buf);
        }
        let wanted = bufs.iter().map(|buf| buf.len()).sum();
        self.get_mut().poll_give(cx, wanted, |io| io.write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_drained() {
            // The socket is dropped next, and then the system says the same. It would say "reset" if anything were unread.
            return Poll::Ready(Ok(()));
        }
        match self.io.shutdown(Shutdown::Write) {
            // The other side was faster.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            outcome => Poll::Ready(outcome),
        }
    }
}

fn retry<T>(mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match operation() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}
