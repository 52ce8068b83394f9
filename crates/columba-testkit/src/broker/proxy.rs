//! What stands between a client's transport and the broker, and moves the bytes of both through a [`Line`]. It decides
//! nothing: the line does.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use columba::memory::Pipe;
use columba::{Chunks, Transport};
use futures::task::AtomicWaker;

use super::clock::{Alarm, Clock};
use crate::line::{Cargo, Line};
use crate::transcript::Direction;

/// Room for one read.
const READ_SIZE: usize = 16 << 10;

/// A line and who moves it.
#[derive(Debug)]
pub(super) struct Connection {
    line: Mutex<Line>,
    waker: AtomicWaker,
    /// The broker's end is closed.
    ended: AtomicBool,
}

/// Moves one connection's bytes until both ends are closed.
pub(super) struct Proxy {
    connection: Arc<Connection>,
    clock: Clock,
    alarm: Alarm,
    client: End<Box<dyn Transport>>,
    broker: End<Pipe>,
}

/// One end, and what is to be written to it.
struct End<T> {
    transport: Option<T>,
    /// More may come from it.
    reads: bool,
    /// The line has ended towards it.
    closes: bool,
    output: Chunks,
    input: BytesMut,
}

impl Connection {
    pub(super) fn new(line: Line) -> Self {
        Self { line: Mutex::new(line), waker: AtomicWaker::new(), ended: AtomicBool::new(false) }
    }

    /// Does something to the line, and has the consequences carried out.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Line) -> T) -> T {
        let result = change(&mut self.line());
        self.waker.wake();
        result
    }

    /// Cuts it, and says so in the transcript.
    pub(super) fn cut(&self, now: Duration) {
        self.change(|line| {
            line.note(now, Direction::ToBroker, "cut");
            line.cut(now);
        });
    }

    /// The broker's end is closed, whether or not the broker has looked.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// When the next thing arrives.
    pub(super) fn next_arrival(&self) -> Option<Duration> {
        let line = self.line();
        let both = [Direction::ToBroker, Direction::ToClient].map(|direction| line.next_arrival(direction));
        both.into_iter().flatten().min()
    }

    pub(super) fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proxy {
    pub(super) fn new(
        connection: Arc<Connection>,
        clock: Clock,
        client: Box<dyn Transport>,
        broker: Pipe,
    ) -> Self {
        Self {
            connection,
            clock,
            alarm: Alarm::default(),
            client: End::new(client),
            broker: End::new(broker),
        }
    }

    /// Moves what can be moved. False if there was nothing.
    fn turn(&mut self, cx: &mut Context<'_>) -> bool {
        let now = self.clock.now();
        let mut line = self.connection.line();
        let mut busy = self.client.read(cx, &mut line, now, Direction::ToBroker);
        busy |= self.broker.read(cx, &mut line, now, Direction::ToClient);
        busy |= self.broker.take(&mut line, now, Direction::ToBroker);
        busy |= self.client.take(&mut line, now, Direction::ToClient);
        drop(line);
        busy |= self.broker.write(cx);
        busy |= self.client.write(cx);
        if self.broker.transport.is_none() {
            self.connection.ended.store(true, Ordering::Release);
        }
        busy
    }

    /// Nobody will ever notice what happens to this connection.
    fn is_over(&self) -> bool {
        let is_over = self.client.is_over() && self.broker.is_over();
        is_over && self.connection.next_arrival().is_none()
    }
}

impl Future for Proxy {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.connection.waker.register(cx.waker());
        while this.turn(cx) {}
        if this.is_over() {
            return Poll::Ready(());
        }
        if this.connection.line().is_held() {
            this.connection.line().wake_when_released(cx.waker());
            // It may have been released meanwhile.
            while this.turn(cx) {}
        }
        if let Some(at) = this.connection.next_arrival() {
            this.clock.wake_at(at, &mut this.alarm, cx);
            // A clock that the test moves may have been moved meanwhile.
            while this.turn(cx) {}
        }
        Poll::Pending
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.connection.ended.store(true, Ordering::Release);
    }
}

impl<T: Transport> End<T> {
    fn new(transport: T) -> Self {
        Self {
            transport: Some(transport),
            reads: true,
            closes: false,
            output: Chunks::new(),
            input: BytesMut::new(),
        }
    }

    fn read(&mut self, cx: &mut Context<'_>, line: &mut Line, now: Duration, direction: Direction) -> bool {
        let Some(transport) = self.transport.as_mut().filter(|_| self.reads && !line.is_full(direction))
        else {
            return false;
        };
        self.input.reserve(READ_SIZE);
        match transport.poll_read(cx, &mut self.input) {
            Poll::Ready(Ok(count)) if count > 0 => {
                line.carry(now, direction, &self.input, Duration::ZERO);
                self.input.clear();
            }
            Poll::Ready(_) => {
                self.reads = false;
                line.note(now, direction, "closed");
                line.end(now, direction, Duration::ZERO);
            }
            Poll::Pending => return false,
        }
        true
    }

    /// Takes what has arrived for this end.
    fn take(&mut self, line: &mut Line, now: Duration, direction: Direction) -> bool {
        // What it has not taken stays under way, so that the sender waits.
        if !self.output.is_empty() {
            return false;
        }
        let mut busy = false;
        while let Some(cargo) = line.poll(now, direction) {
            busy = true;
            match cargo {
                // One at a time, so that single bytes are written as such.
                Cargo::Bytes(bytes) => {
                    if self.transport.is_some() {
                        self.output.put(&bytes);
                    }
                    break;
                }
                Cargo::End => self.closes = true,
                // No goodbye: over WebSocket there would be a close frame.
                Cargo::Cut => self.transport = None,
            }
        }
        busy
    }

    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(transport) = &mut self.transport else {
            self.output.clear();
            return false;
        };
        let is_waiting = !self.output.is_empty();
        if is_waiting {
            match transport.poll_write(cx, &mut self.output) {
                Poll::Ready(Ok(())) => return true,
                Poll::Ready(Err(_)) => {
                    // It is gone: whoever reads from it finds out.
                    self.output.clear();
                    return true;
                }
                Poll::Pending => return false,
            }
        }
        if self.closes && transport.poll_close(cx).is_ready() {
            self.transport = None;
            return true;
        }
        false
    }

    const fn is_over(&self) -> bool {
        self.transport.is_none() || !self.reads
    }
}
