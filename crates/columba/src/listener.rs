//! Where transports come from.

use std::io;
use std::task::{Context, Poll};

use columba_core::Peer;

use crate::transport::Transport;

/// Accepts connections. What takes time (a TLS or WebSocket handshake) is the transport's business, so that one slow
/// client never holds up the next.
pub trait Listener: Send + 'static {
    /// The next connection. `Pending` wakes the task when there may be one.
    ///
    /// # Errors
    /// One connection could not be accepted. The broker goes on with the next; a listener that does nothing but fail
    /// (out of file descriptors, say) is asked again a little later.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Box<dyn Transport>, Peer)>>;

    /// Where it listens, with the port it really has, in the form `tcp 127.0.0.1:1883`.
    fn address(&self) -> String;
}

impl Listener for Box<dyn Listener> {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Box<dyn Transport>, Peer)>> {
        (**self).poll_accept(cx)
    }

    fn address(&self) -> String {
        (**self).address()
    }
}
