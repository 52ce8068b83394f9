//! Transports and listeners that do what a test tells them.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use columba::{Chunks, Listener, Peer, Transport};

/// A transport that the test controls through its [`LinkState`].
pub(crate) struct Link {
    state: Arc<Mutex<LinkState>>,
}

/// What a [`Link`] does, and what was done to it.
#[derive(Default)]
pub(crate) struct LinkState {
    /// Bytes for the broker.
    pub(crate) incoming: BytesMut,
    /// Reading fails, once `incoming` is taken.
    pub(crate) read_error: bool,
    /// Appends these bytes and fails all the same, or says pending: what no transport should do.
    pub(crate) stray: Option<(Vec<u8>, bool)>,
    pub(crate) reads: usize,
    /// The largest buffer that was offered for reading.
    pub(crate) offered: usize,
    /// Bytes that the broker has sent.
    pub(crate) sent: Vec<u8>,
    /// How many more bytes are accepted; `None` is all.
    pub(crate) room: Option<usize>,
    pub(crate) write_error: bool,
    /// Accepts bytes at once, but is not ready until this is taken back: a stream with a buffer of its own.
    pub(crate) flushing: bool,
    /// Accepted, and not flushed yet.
    pub(crate) buffered: Vec<u8>,
    pub(crate) close_pending: bool,
    pub(crate) closed: bool,
    pub(crate) dropped: bool,
    waker: Option<Waker>,
}

impl Link {
    pub(crate) fn new() -> (Self, Arc<Mutex<LinkState>>) {
        let state = Arc::default();
        (Self { state: Arc::clone(&state) }, state)
    }

    fn lock(&self) -> MutexGuard<'_, LinkState> {
        // A test that has failed with the lock goes on to drop the transport.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LinkState {
    /// Changes it and wakes the broker.
    pub(crate) fn change(state: &Mutex<Self>, change: impl FnOnce(&mut Self)) {
        let waker = {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut state);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn wait(&mut self, cx: &Context<'_>) {
        self.waker = Some(cx.waker().clone());
    }
}

impl Transport for Link {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        state.reads += 1;
        state.offered = state.offered.max(buf.capacity());
        if !state.incoming.is_empty() {
            let bytes = std::mem::take(&mut state.incoming);
            buf.extend_from_slice(&bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        if let Some((bytes, fails)) = state.stray.take() {
            buf.extend_from_slice(&bytes);
            if fails {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
        }
        if state.read_error {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        state.wait(cx);
        Poll::Pending
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut Chunks) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        if state.write_error {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if state.flushing {
            let bytes = out.to_vec();
            state.buffered.extend_from_slice(&bytes);
            out.clear();
            state.wait(cx);
            return Poll::Pending;
        }
        let buffered = std::mem::take(&mut state.buffered);
        state.sent.extend_from_slice(&buffered);
        while !out.is_empty() {
            let count = out.chunk().len().min(state.room.unwrap_or(usize::MAX));
            if count == 0 {
                state.wait(cx);
                return Poll::Pending;
            }
            state.sent.extend_from_slice(&out.chunk()[..count]);
            state.room = state.room.map(|room| room - count);
            out.advance(count);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        if state.close_pending {
            state.wait(cx);
            return Poll::Pending;
        }
        state.closed = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.lock().dropped = true;
    }
}

/// A listener that accepts what the test puts there, errors included.
#[derive(Clone, Default)]
pub(crate) struct Door {
    state: Arc<Mutex<DoorState>>,
}

#[derive(Default)]
struct DoorState {
    arrivals: VecDeque<io::Result<Box<dyn Transport>>>,
    /// Every accept fails.
    broken: bool,
    asked: usize,
    waker: Option<Waker>,
}

impl Door {
    fn with<T>(&self, run: impl FnOnce(&mut DoorState) -> T) -> T {
        run(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut DoorState)) {
        let waker = self.with(|state| {
            change(state);
            state.waker.take()
        });
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn arrive(&self, transport: impl Transport) {
        self.change(|state| state.arrivals.push_back(Ok(Box::new(transport))));
    }

    pub(crate) fn fail_once(&self) {
        self.change(|state| state.arrivals.push_back(Err(io::ErrorKind::ConnectionAborted.into())));
    }

    pub(crate) fn set_broken(&self, broken: bool) {
        self.change(|state| state.broken = broken);
    }

    /// How often the broker has asked for a connection.
    pub(crate) fn asked(&self) -> usize {
        self.with(|state| state.asked)
    }

    /// How many handles there are: one is left when the broker has dropped its own.
    pub(crate) fn handles(&self) -> usize {
        Arc::strong_count(&self.state)
    }
}

impl Listener for Door {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Box<dyn Transport>, Peer)>> {
        self.with(|state| {
            state.asked += 1;
            if state.broken {
                return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
            }
            match state.arrivals.pop_front() {
                Some(Ok(transport)) => {
                    let peer = Peer { transport: "door", ..Peer::default() };
                    Poll::Ready(Ok((transport, peer)))
                }
                Some(Err(error)) => Poll::Ready(Err(error)),
                None => {
                    state.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
    }

    fn address(&self) -> String {
        "door".into()
    }
}
