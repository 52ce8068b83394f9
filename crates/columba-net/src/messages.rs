//! MQTT over anything that carries messages, and bytes in them.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use columba::{Chunks, Transport};
use futures::{Sink, Stream};

/// What a message of a [`MessageStream`] means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// Bytes of MQTT: part of a packet, a packet, or several.
    Bytes(Bytes),
    /// Nothing to MQTT, a ping of the carrier, say.
    Nothing,
    /// The other side says that nothing more comes.
    End,
    /// It should not have come, which ends the connection: text, for one [MQTT-6.0.0-1].
    Invalid(&'static str),
}

/// A transport over a stream and sink of messages, such as the WebSocket of an HTTP server that is there already. Two
/// functions translate: one says what a message means, the other makes one from bytes.
///
/// ```
/// use columba::{Broker, Peer};
/// use columba_net::{Incoming, MessageStream};
/// // The messages of axum, warp and others look the same.
/// use tokio_tungstenite::tungstenite::Message;
/// # use tokio_tungstenite::WebSocketStream;
///
/// fn attach(broker: &Broker, socket: WebSocketStream<tokio::net::TcpStream>) -> Result<(), columba::BrokerGone> {
///     let incoming = |message| match message {
///         Message::Binary(bytes) => Incoming::Bytes(bytes),
///         Message::Text(_) => Incoming::Invalid("text"),
///         Message::Close(_) => Incoming::End,
///         _ => Incoming::Nothing,
///     };
///     let peer = Peer { transport: "ws", ..Peer::default() };
///     broker.attach(MessageStream::new(socket, incoming, Message::Binary), peer)
/// }
/// # let _ = attach;
/// ```
///
/// The handshake has to agree on the subprotocol `mqtt` [MQTT-6.0.0-3], and the largest message that the stream accepts
/// should hold the largest packet, [`Limits::packet_size`](columba::Limits::packet_size), because most clients send a
/// packet as one message.
#[derive(Debug)]
pub struct MessageStream<S, R, W> {
    stream: S,
    receive: R,
    send: W,
    /// Of the last message that came, what did not fit.
    unread: Bytes,
    /// Of a large payload, what the messages so far did not take.
    unsent: Bytes,
}

/// Small pieces are gathered into one message up to this size.
const GATHERED: usize = 64 << 10;
/// From this size on, a piece is a message of its own rather than copied.
const LARGE: usize = 16 << 10;
/// No message is larger.
const LARGEST: usize = 1 << 20;
/// Messages without bytes for MQTT before it is another connection's turn.
const TURNS: usize = 32;

impl<S, R, W> MessageStream<S, R, W> {
    /// Wraps a stream: `receive` says what its messages mean, `send` makes them from bytes.
    pub const fn new(stream: S, receive: R, send: W) -> Self {
        Self { stream, receive, send, unread: Bytes::new(), unsent: Bytes::new() }
    }

    /// The bytes of the next message.
    fn take(&mut self, out: &mut Chunks) -> Bytes {
        if self.unsent.is_empty() {
            if out.chunk().len() >= LARGE || out.chunk().len() == out.len() {
                self.unsent = out.take_chunk().unwrap_or_default();
            } else {
                return gather(out);
            }
        }
        self.unsent.split_to(self.unsent.len().min(LARGEST))
    }
}

/// Copies the small pieces at the front.
fn gather(out: &mut Chunks) -> Bytes {
    let mut bytes = BytesMut::with_capacity(out.len().min(GATHERED));
    while !out.is_empty() && out.chunk().len() < LARGE && bytes.len() < GATHERED {
        let count = out.chunk().len().min(GATHERED - bytes.len());
        bytes.extend_from_slice(&out.chunk()[..count]);
        out.advance(count);
    }
    bytes.freeze()
}

impl<S, M, E, R, W> Transport for MessageStream<S, R, W>
where
    S: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Send + Unpin + 'static,
    E: Into<Box<dyn Error + Send + Sync>>,
    R: FnMut(M) -> Incoming + Send + 'static,
    W: FnMut(Bytes) -> M + Send + 'static,
{
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        for _ in 0..TURNS {
            if !self.unread.is_empty() {
                if buf.capacity() == buf.len() {
                    buf.reserve(self.unread.len().min(GATHERED));
                }
                let count = self.unread.len().min(buf.capacity() - buf.len());
                buf.extend_from_slice(&self.unread[..count]);
                self.unread.advance(count);
                if self.unread.is_empty() {
                    // What is left of a message would keep all of it.
                    self.unread = Bytes::new();
                }
                return Poll::Ready(Ok(count));
            }
            let Some(message) = ready!(Pin::new(&mut self.stream).poll_next(cx)) else {
                return Poll::Ready(Ok(0));
            };
            match (self.receive)(message.map_err(io::Error::other)?) {
                Incoming::Bytes(bytes) => self.unread = bytes,
                Incoming::Nothing => {}
                Incoming::End => return Poll::Ready(Ok(0)),
                Incoming::Invalid(what) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, what)));
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut Chunks) -> Poll<io::Result<()>> {
        while !out.is_empty() || !self.unsent.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_ready(cx)).map_err(io::Error::other)?;
            let bytes = self.take(out);
            let message = (self.send)(bytes);
            Pin::new(&mut self.stream).start_send(message).map_err(io::Error::other)?;
        }
        Pin::new(&mut self.stream).poll_flush(cx).map_err(io::Error::other)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::task::Waker;

    use super::*;

    /// Messages to be received, and those that were sent. Takes as many as `room` says.
    #[derive(Default)]
    struct Fake {
        incoming: VecDeque<Incoming>,
        sent: Vec<Bytes>,
        room: usize,
    }

    enum Message {
        In(Incoming),
        Out(Bytes),
    }

    impl Stream for Fake {
        type Item = Result<Message, Infallible>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            self.incoming
                .pop_front()
                .map_or(Poll::Pending, |message| Poll::Ready(Some(Ok(Message::In(message)))))
        }
    }

    impl Sink<Message> for Fake {
        type Error = Infallible;

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            if self.sent.len() < self.room { Poll::Ready(Ok(())) } else { Poll::Pending }
        }

        fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Infallible> {
            if let Message::Out(bytes) = message {
                self.sent.push(bytes);
            }
            Ok(())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }
    }

    type Stream_ = MessageStream<Fake, fn(Message) -> Incoming, fn(Bytes) -> Message>;

    fn stream(room: usize, incoming: impl IntoIterator<Item = Incoming>) -> Stream_ {
        let receive = |message| match message {
            Message::In(incoming) => incoming,
            Message::Out(_) => Incoming::Nothing,
        };
        let fake = Fake { incoming: incoming.into_iter().collect(), room, ..Fake::default() };
        MessageStream::new(fake, receive, Message::Out)
    }

    fn read(stream: &mut Stream_, buf: &mut BytesMut) -> Poll<Result<usize, io::ErrorKind>> {
        stream.poll_read(&mut Context::from_waker(Waker::noop()), buf).map_err(|error| error.kind())
    }

    fn write(stream: &mut Stream_, out: &mut Chunks) -> bool {
        stream.poll_write(&mut Context::from_waker(Waker::noop()), out).is_ready()
    }

    #[test]
    fn a_message_is_read_as_there_is_room() {
        let mut stream = stream(0, [Incoming::Nothing, Incoming::Bytes(vec![7; 100].into())]);
        let mut buf = BytesMut::with_capacity(64);
        let room = buf.capacity();
        assert_eq!(read(&mut stream, &mut buf), Poll::Ready(Ok(room)));
        assert_eq!(read(&mut stream, &mut buf), Poll::Ready(Ok(100 - room)));
        assert_eq!(read(&mut stream, &mut buf), Poll::Pending);
        assert_eq!(buf, vec![7; 100]);
    }

    #[test]
    fn ends_are_told_apart() {
        let mut buf = BytesMut::new();
        assert_eq!(read(&mut stream(0, [Incoming::End]), &mut buf), Poll::Ready(Ok(0)));
        let invalid = read(&mut stream(0, [Incoming::Invalid("text")]), &mut buf);
        assert_eq!(invalid, Poll::Ready(Err(io::ErrorKind::InvalidData)));
    }

    #[test]
    fn small_pieces_share_a_message_and_large_ones_are_not_copied() {
        let large = Bytes::from(vec![1; LARGE]);
        let mut out = Chunks::new();
        out.put(b"one");
        out.link(Bytes::from_static(b"two"));
        out.put(b"head");
        out.link(large.clone());
        out.put(b"tail");
        let mut stream = stream(usize::MAX, []);
        assert!(write(&mut stream, &mut out));
        let sent = &stream.stream.sent;
        assert_eq!(sent.iter().map(Bytes::len).collect::<Vec<_>>(), [10, LARGE, 4]);
        assert_eq!(sent[1].as_ptr(), large.as_ptr());
    }

    #[test]
    fn no_message_is_larger_than_allowed() {
        let mut out = Chunks::new();
        out.link(vec![1; LARGEST + 1].into());
        let mut stream = stream(1, []);
        assert!(!write(&mut stream, &mut out));
        stream.stream.room = 2;
        assert!(write(&mut stream, &mut out));
        assert_eq!(stream.stream.sent.iter().map(Bytes::len).collect::<Vec<_>>(), [LARGEST, 1]);
    }
}
