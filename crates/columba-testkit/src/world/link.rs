//! A link between one client and one broker of a world: its two ends, and the line between them. It never looks into what it
//! carries.

use std::time::Duration;

use bytes::BytesMut;
use columba_codec::FixedHeader;
use columba_core::ConnectionKey;

use crate::line::Line;
use crate::promises::Promises;
use crate::transcript::Direction;

/// One connection, with both ends.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) broker: usize,
    /// Where in the broker the connection is.
    pub(super) shard: usize,
    pub(super) key: ConnectionKey,
    pub(super) line: Line,
    /// The broker has the connection.
    pub(super) broker_open: bool,
    /// The client has it.
    pub(super) client_open: bool,
    /// The client reads nothing for now.
    pub(super) stalled: bool,
    /// Has arrived at the broker and is not taken.
    pub(super) input: BytesMut,
    /// Has arrived at the client and is not taken.
    pub(super) delivered: BytesMut,
    /// What the broker may send here.
    pub(super) promises: Promises,
    /// The beginning of a packet from the client that has not arrived whole.
    partial: BytesMut,
}

impl Link {
    pub(super) fn new(broker: usize, shard: usize, key: ConnectionKey, line: Line) -> Self {
        let promises = Promises::new(line.version());
        Self {
            broker,
            shard,
            key,
            line,
            broker_open: true,
            client_open: true,
            stalled: false,
            input: BytesMut::new(),
            delivered: BytesMut::new(),
            promises,
            partial: BytesMut::new(),
        }
    }

    /// Tells the promises what has arrived from the client, packet by packet however it was split.
    pub(super) fn promise(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        loop {
            match FixedHeader::read(&self.partial, usize::MAX) {
                Ok(Some(header)) if header.total() <= self.partial.len() => {
                    let packet = self.partial.split_to(header.total());
                    self.promises.sent(&packet);
                }
                Ok(_) => return,
                Err(_) => {
                    self.promises.sent(&self.partial);
                    self.partial.clear();
                    return;
                }
            }
        }
    }

    /// When the next thing arrives at an end that takes it.
    pub(super) fn next_arrival(&self) -> Option<Duration> {
        let up = self.line.next_arrival(Direction::ToBroker).filter(|_| self.broker_open);
        let down = self.line.next_arrival(Direction::ToClient).filter(|_| self.client_open && !self.stalled);
        [up, down].into_iter().flatten().min()
    }
}
