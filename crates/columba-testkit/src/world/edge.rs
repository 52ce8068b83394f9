//! What passes a broker's end of its links, in the order in which the broker sees it: for a model that follows along. It
//! never looks into what it records.

use std::time::Duration;

use bytes::Bytes;

/// One thing that passed the broker's end of a link.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EdgeEvent {
    /// Time since the world began.
    pub at: Duration,
    /// Number of the link: links of a world are counted from 0 in the order in which they were opened.
    pub link: usize,
    /// What it was.
    pub edge: Edge,
}

/// What can pass the broker's end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edge {
    /// These bytes have arrived and were handed to the broker: a part of a packet, or several.
    Arrived(Bytes),
    /// The client's end of the connection has arrived.
    Ended,
    /// The broker has sent these bytes: whole packets.
    Sent(Bytes),
    /// The broker has closed the connection.
    Closed,
}
