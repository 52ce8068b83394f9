//! A scripted client's end of a connection in memory: waits on a thread, without an executor.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use columba::memory::Pipe;
use columba::{Chunks, Transport};

use crate::transcript::Transcript;
use crate::wire::Wire;

pub(super) struct PipeWire {
    pipe: Option<Pipe>,
    output: Chunks,
    stalled: bool,
    transcript: Transcript,
}

struct Unpark(Thread);

impl PipeWire {
    pub(super) fn new(pipe: Pipe, transcript: Transcript) -> Self {
        Self { pipe: Some(pipe), output: Chunks::new(), stalled: false, transcript }
    }

    fn flush(&mut self, cx: &mut Context<'_>) {
        if let Some(pipe) = &mut self.pipe
            && let Poll::Ready(Err(_)) = Transport::poll_write(pipe, cx, &mut self.output)
        {
            // The broker is gone, which shows when reading: there may be a last word.
            self.output.clear();
        }
    }
}

impl Wire for PipeWire {
    fn send(&mut self, bytes: &[u8]) {
        self.output.put(bytes);
        self.flush(&mut Context::from_waker(Waker::noop()));
    }

    fn receive(&mut self, buffer: &mut BytesMut, patience: Duration) {
        if self.stalled {
            return;
        }
        let waker = Arc::new(Unpark(std::thread::current())).into();
        let mut cx = Context::from_waker(&waker);
        let deadline = Instant::now() + patience;
        let before = buffer.len();
        loop {
            self.flush(&mut cx);
            let Some(pipe) = &mut self.pipe else { return };
            match Transport::poll_read(pipe, &mut cx, buffer) {
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(_) => self.pipe = None,
                Poll::Pending => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if buffer.len() > before || left.is_zero() {
                        return;
                    }
                    std::thread::park_timeout(left);
                }
            }
        }
    }

    fn waits(&self) -> bool {
        !self.stalled
    }

    fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    fn cut(&mut self) {
        self.pipe = None;
    }

    fn stall(&mut self, stalled: bool) {
        self.stalled = stalled;
    }

    fn conversation(&self) -> String {
        self.transcript.tail()
    }
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
