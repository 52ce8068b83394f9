//! What a scripted client speaks over: a link of a simulated world, or a socket.

use std::time::Duration;

use bytes::BytesMut;

/// One client's end of a connection.
pub(crate) trait Wire {
    /// Sends these bytes; nothing if the connection is closed.
    fn send(&mut self, bytes: &[u8]);

    /// Appends what has come to `buffer`. If nothing has, waits up to `patience`, where waiting makes sense.
    fn receive(&mut self, buffer: &mut BytesMut, patience: Duration);

    /// Time passes while it waits: it is a socket.
    fn waits(&self) -> bool;

    /// Nobody has closed it, as far as this end knows.
    fn is_open(&self) -> bool;

    /// Ends the connection without a word of MQTT.
    fn cut(&mut self);

    /// Whether to read nothing for now.
    fn stall(&mut self, stalled: bool);

    /// What to show when an expectation is not met.
    fn conversation(&self) -> String;
}
