//! The WebSockets of tokio-tungstenite as transports. Opening them, and agreeing on `mqtt`, is their owner's business.

use columba::Transport;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::{Incoming, MessageStream};

/// A transport over a WebSocket that tokio-tungstenite has opened, as a server or as a client.
///
/// `WsListener` does not come by this way: it has bounds of its own on what a peer can make it
/// reserve. For a server of your own set `max_message_size` in its configuration to the largest packet, because most
/// clients send a packet as one message.
pub fn tungstenite<S>(socket: WebSocketStream<S>) -> impl Transport
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let incoming = |message| match message {
        Message::Binary(bytes) => Incoming::Bytes(bytes),
        // [MQTT-6.0.0-1]
        Message::Text(_) => Incoming::Invalid("a text message, where MQTT takes binary ones only"),
        Message::Close(_) => Incoming::End,
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Incoming::Nothing,
    };
    MessageStream::new(socket, incoming, Message::Binary)
}
