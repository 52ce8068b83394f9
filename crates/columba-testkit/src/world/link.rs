//! A link between one client and one broker: what is under way in each direction, and when it arrives. It never looks into
//! what it carries.

use std::collections::VecDeque;

use bytes::BytesMut;
use columba::Version;
use columba::codec::FixedHeader;
use columba::core::{ConnectionKey, Time};

use crate::promises::Promises;

/// One connection, with both ends.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) broker: usize,
    /// Its number in the transcript.
    pub(super) number: usize,
    pub(super) key: ConnectionKey,
    pub(super) version: Version,
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
    pub(super) up: Lane,
    pub(super) down: Lane,
    /// What the broker may send here.
    pub(super) promises: Promises,
    /// The beginning of a packet from the client that has not arrived whole.
    partial: BytesMut,
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Lane {
    under_way: VecDeque<(Time, Parcel)>,
}

#[derive(Debug)]
pub(super) enum Parcel {
    Bytes(Vec<u8>),
    /// The sender has closed.
    End,
}

impl Link {
    pub(super) fn new(broker: usize, number: usize, key: ConnectionKey, version: Version) -> Self {
        Self {
            broker,
            number,
            key,
            version,
            broker_open: true,
            client_open: true,
            stalled: false,
            input: BytesMut::new(),
            delivered: BytesMut::new(),
            up: Lane::default(),
            down: Lane::default(),
            promises: Promises::new(version),
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

    /// Nobody has closed it, as far as the client knows.
    pub(super) const fn is_open(&self) -> bool {
        self.client_open
    }

    /// When the next thing arrives.
    pub(super) fn next_arrival(&self) -> Option<Time> {
        let down = self.down.next_arrival().filter(|_| !self.stalled);
        [self.up.next_arrival(), down].into_iter().flatten().min()
    }
}

impl Lane {
    /// Sends something that arrives at `at`, or when what was sent before has arrived.
    pub(super) fn push(&mut self, at: Time, parcel: Parcel) {
        let at = self.under_way.back().map_or(at, |&(last, _)| last.max(at));
        self.under_way.push_back((at, parcel));
    }

    /// What has arrived.
    pub(super) fn pop(&mut self, now: Time) -> Option<Parcel> {
        self.under_way.pop_front_if(|(at, _)| *at <= now).map(|(_, parcel)| parcel)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.under_way.clear();
    }

    fn next_arrival(&self) -> Option<Time> {
        self.under_way.front().map(|&(at, _)| at)
    }
}
