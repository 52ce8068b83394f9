//! The bytes of a WebSocket connection, once it is open.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use columba::{Chunks, Transport};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::frames::{self, Deframer, Violation};

/// A stream that speaks WebSocket. What comes is unwrapped in the broker's own buffer, and what goes is written from where
/// it lies, so that an idle connection holds no buffer and nothing is copied for the frames' sake.
#[derive(Debug)]
pub(super) struct WebSocket<S> {
    stream: S,
    /// What came with the request, before anybody read it.
    early: BytesMut,
    deframer: Deframer,
    /// What the client did wrong, once it has.
    violation: Option<Violation>,
    /// The header of the frame that is being sent, and how far it is.
    header: [u8; 10],
    header_sent: usize,
    header_size: usize,
    /// Bytes of data that this frame still has to get.
    frame_left: usize,
    /// Control frames that wait for the end of the frame that is being sent.
    control: Vec<u8>,
    control_sent: usize,
    /// A close frame is in `control`, or was; nothing may come after it.
    close_queued: bool,
}

/// A batch of packets is one frame up to this size. Larger ones would not be faster, and some clients refuse them.
const MAX_FRAME: usize = 1 << 20;
/// Room for one read, if the caller leaves it open.
const READ_SIZE: usize = 4096;
/// Reads without data for MQTT before it is another connection's turn.
const TURNS: usize = 16;
/// How many pieces one vectored write takes, the frame's header included.
const PIECES: usize = 33;

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Takes over a stream on which the handshake is done.
    pub(super) fn new(stream: S, early: BytesMut) -> Self {
        Self {
            stream,
            early,
            deframer: Deframer::default(),
            violation: None,
            header: [0; 10],
            header_sent: 0,
            header_size: 0,
            frame_left: 0,
            control: Vec::new(),
            control_sent: 0,
            close_queued: false,
        }
    }

    /// Appends what there is to `buf`, frames and all; false at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<bool>> {
        if !self.early.is_empty() {
            buf.extend_from_slice(&std::mem::take(&mut self.early));
            return Poll::Ready(Ok(true));
        }
        if buf.capacity() == buf.len() {
            buf.reserve(READ_SIZE);
        }
        let count = ready!(pin!(self.stream.read_buf(buf)).poll(cx))?;
        Poll::Ready(Ok(count > 0))
    }

    fn queue_close(&mut self, code: u16) {
        if !self.close_queued {
            frames::put_close(&mut self.control, code);
            self.close_queued = true;
        }
    }

    /// Sends control frames, if no other frame is in the way.
    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_in_frame() {
            return Poll::Pending;
        }
        // A ping waits until there is room for its pong, and a later one takes its place: nobody makes pongs pile up.
        if self.control.is_empty()
            && let Some(payload) = self.deframer.take_ping()
            && !self.close_queued
        {
            frames::put_pong(&mut self.control, &payload);
        }
        if self.control.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.control_sent < self.control.len() {
            let rest = &self.control[self.control_sent..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.control_sent += count,
            }
        }
        self.control = Vec::new();
        self.control_sent = 0;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// The same for whoever cannot wait for it.
    fn push_control(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.poll_control(cx) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Ok(()),
        }
    }

    const fn is_in_frame(&self) -> bool {
        self.frame_left > 0 || self.header_sent < self.header_size
    }

    fn begin_frame(&mut self, length: usize) {
        self.frame_left = length.min(MAX_FRAME);
        (self.header, self.header_size) = frames::binary_header(self.frame_left);
        self.header_sent = 0;
    }

    /// Writes once, from the frame that is being sent.
    fn poll_write_frame(&mut self, cx: &mut Context<'_>, out: &mut Chunks) -> Poll<io::Result<()>> {
        let mut pieces = [IoSlice::new(&[]); PIECES - 1];
        let count = out.io_slices(&mut pieces);
        let mut slices = [IoSlice::new(&[]); PIECES];
        slices[0] = IoSlice::new(&self.header[self.header_sent..self.header_size]);
        let mut left = self.frame_left;
        for (slice, piece) in slices[1..].iter_mut().zip(&pieces[..count]) {
            let part = piece.len().min(left);
            *slice = IoSlice::new(&piece[..part]);
            left -= part;
        }
        let from = usize::from(slices[0].is_empty());
        let stream = Pin::new(&mut self.stream);
        let written = ready!(stream.poll_write_vectored(cx, &slices[from..=count]))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let of_header = written.min(self.header_size - self.header_sent);
        self.header_sent += of_header;
        self.frame_left -= written - of_header;
        out.advance(written - of_header);
        Poll::Ready(Ok(()))
    }
}

impl<S> Transport for WebSocket<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        for _ in 0..TURNS {
            self.push_control(cx)?;
            if self.close_queued {
                return Poll::Ready(match self.violation {
                    Some(violation) => Err(io::Error::new(io::ErrorKind::InvalidData, violation)),
                    None => Ok(0),
                });
            }
            let start = buf.len();
            if !ready!(self.poll_fill(cx, buf))? {
                return Poll::Ready(Ok(0));
            }
            let kept = match self.deframer.read(&mut buf[start..]) {
                Ok(kept) => kept,
                Err(violation) => {
                    self.violation = Some(violation);
                    self.queue_close(violation.code());
                    0
                }
            };
            buf.truncate(start + kept);
            if let Some(code) = self.deframer.closed() {
                self.queue_close(code);
            }
            if kept > 0 {
                self.push_control(cx)?;
                return Poll::Ready(Ok(kept));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut Chunks) -> Poll<io::Result<()>> {
        while !out.is_empty() {
            if !self.is_in_frame() {
                ready!(self.poll_control(cx))?;
                if self.close_queued {
                    return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                }
                self.begin_frame(out.len());
            }
            ready!(self.poll_write_frame(cx, out))?;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Within a frame, a close frame would be data.
        if !self.is_in_frame() {
            self.queue_close(frames::NORMAL);
            ready!(self.poll_control(cx))?;
        }
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        // The client answers with a close frame of its own, and takes it for an error if nobody is there to read it.
        let mut buf = BytesMut::new();
        for _ in 0..TURNS {
            buf.clear();
            if self.deframer.closed().is_some()
                || !ready!(self.poll_fill(cx, &mut buf))?
                || self.deframer.read(&mut buf).is_err()
            {
                return Poll::Ready(Ok(()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
