//! What shards tell each other, as bytes. Both ends are this crate; what cannot be read ends a batch and harms nothing.

use bytes::{Buf, BufMut, Bytes};
use columba_codec::{QoS, TopicName};

use super::{Gauges, Weight};
use crate::Time;
use crate::message::{NewMessage, SHARE_FROM};

/// What one shard has for another: many small frames in one piece, and large payloads that both share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// A header and frames.
    bytes: Vec<u8>,
    /// Payloads of frames that are marked `LINKED`, in order.
    links: Vec<Bytes>,
    linked: usize,
}

/// What every batch says of its sender.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Header {
    pub(super) clock: u64,
    pub(super) gauges: Gauges,
}

const HEADER: usize = 24;

#[derive(Debug)]
pub(super) enum Frame<'a> {
    /// A message for subscribers; with a stamp it is retained too.
    Message(NewMessage<'a>, Option<u64>),
    /// A message for one member of a shared subscription, and how often it has been passed on.
    ForGroup(&'a str, u8, NewMessage<'a>),
    /// From now on messages that match are of interest, or no longer.
    Wanted(&'a str),
    Unwanted(&'a str),
    /// How many members a shared subscription has here.
    Group(&'a str, Weight),
    /// Nothing is retained under this topic any more.
    Forget(&'a str, u64),
    /// To be answered once all before it is done.
    Sync(u64),
    Synced(u64),
}

mod kind {
    pub(super) const MESSAGE: u8 = 1;
    pub(super) const FOR_GROUP: u8 = 2;
    pub(super) const WANTED: u8 = 3;
    pub(super) const UNWANTED: u8 = 4;
    pub(super) const GROUP: u8 = 5;
    pub(super) const FORGET: u8 = 6;
    pub(super) const SYNC: u8 = 7;
    pub(super) const SYNCED: u8 = 8;
}

/// Bits of a message's flags, above the two of the QoS.
mod flag {
    pub(super) const RETAIN: u8 = 1 << 2;
    pub(super) const STAMPED: u8 = 1 << 3;
    pub(super) const LINKED: u8 = 1 << 4;
    pub(super) const EXPIRES: u8 = 1 << 5;
}

const QOS: u8 = 0b11;

impl Batch {
    /// Size in bytes, shared payloads included.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.linked
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Empty, and with the room it had, unless that was much more than it needed.
    pub(super) fn cleared(mut self) -> Self {
        if self.bytes.capacity() / 8 > self.bytes.len() {
            return Self::default();
        }
        self.bytes.clear();
        self.links = Vec::new();
        self.linked = 0;
        self
    }

    /// Writes the header, which is known last.
    pub(super) fn seal(&mut self, header: &Header) {
        self.begin();
        let mut room = &mut self.bytes[..HEADER];
        room.put_u64_le(header.clock);
        room.put_u32_le(header.gauges.connections);
        room.put_u32_le(header.gauges.sessions);
        room.put_u64_le(header.gauges.stored);
    }

    fn begin(&mut self) {
        if self.bytes.is_empty() {
            self.bytes.resize(HEADER, 0);
        }
    }

    pub(super) fn put(&mut self, frame: &Frame<'_>) {
        self.begin();
        let out = &mut self.bytes;
        match frame {
            Frame::Message(message, stamp) => {
                out.put_u8(kind::MESSAGE);
                self.put_message(message, *stamp);
            }
            Frame::ForGroup(filter, hops, message) => {
                out.put_u8(kind::FOR_GROUP);
                put_text(out, filter);
                out.put_u8(*hops);
                self.put_message(message, None);
            }
            Frame::Wanted(filter) => {
                out.put_u8(kind::WANTED);
                put_text(out, filter);
            }
            Frame::Unwanted(filter) => {
                out.put_u8(kind::UNWANTED);
                put_text(out, filter);
            }
            Frame::Group(filter, weight) => {
                out.put_u8(kind::GROUP);
                put_text(out, filter);
                out.put_u32_le(weight.members);
                out.put_u32_le(weight.ready);
            }
            Frame::Forget(topic, stamp) => {
                out.put_u8(kind::FORGET);
                put_text(out, topic);
                out.put_u64_le(*stamp);
            }
            Frame::Sync(number) => {
                out.put_u8(kind::SYNC);
                out.put_u64_le(*number);
            }
            Frame::Synced(number) => {
                out.put_u8(kind::SYNCED);
                out.put_u64_le(*number);
            }
        }
    }

    fn put_message(&mut self, message: &NewMessage<'_>, stamp: Option<u64>) {
        let out = &mut self.bytes;
        let shared = message.shared;
        let shared = shared.filter(|bytes| bytes.len() >= SHARE_FROM);
        let bit = |on: bool, bit: u8| if on { bit } else { 0 };
        out.put_u8(
            message.qos as u8
                | bit(message.retain, flag::RETAIN)
                | bit(stamp.is_some(), flag::STAMPED)
                | bit(shared.is_some(), flag::LINKED)
                | bit(message.expires.is_some(), flag::EXPIRES),
        );
        put_text(out, message.topic.as_str());
        out.put_u32_le(message.forwarded.len() as u32);
        out.put_slice(message.forwarded);
        if let Some(shared) = shared {
            self.linked += shared.len();
            self.links.push(shared.clone());
        } else {
            out.put_u32_le(message.payload.len() as u32);
            out.put_slice(message.payload);
        }
        if let Some(at) = message.expires {
            out.put_u64_le(at.as_micros());
        }
        if let Some(stamp) = stamp {
            out.put_u64_le(stamp);
        }
    }

    pub(super) fn open(&self) -> Option<(Header, Frames<'_>)> {
        let (mut header, rest) = self.bytes.split_at_checked(HEADER)?;
        let clock = header.get_u64_le();
        let gauges = Gauges {
            connections: header.get_u32_le(),
            sessions: header.get_u32_le(),
            stored: header.get_u64_le(),
        };
        Some((Header { clock, gauges }, Frames { rest, links: self.links.iter() }))
    }
}

/// The frames of a batch, in order.
pub(super) struct Frames<'a> {
    rest: &'a [u8],
    links: std::slice::Iter<'a, Bytes>,
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let frame = self.read();
        debug_assert!(frame.is_some(), "a shard writes what another can read");
        frame
    }
}

impl<'a> Frames<'a> {
    fn read(&mut self) -> Option<Frame<'a>> {
        Some(match self.rest.try_get_u8().ok()? {
            kind::MESSAGE => {
                let (message, stamp) = self.message()?;
                Frame::Message(message, stamp)
            }
            kind::FOR_GROUP => {
                let filter = self.text()?;
                let hops = self.rest.try_get_u8().ok()?;
                Frame::ForGroup(filter, hops, self.message()?.0)
            }
            kind::WANTED => Frame::Wanted(self.text()?),
            kind::UNWANTED => Frame::Unwanted(self.text()?),
            kind::GROUP => {
                let filter = self.text()?;
                Frame::Group(filter, Weight { members: self.number()?, ready: self.number()? })
            }
            kind::FORGET => Frame::Forget(self.text()?, self.long()?),
            kind::SYNC => Frame::Sync(self.long()?),
            kind::SYNCED => Frame::Synced(self.long()?),
            _ => return None,
        })
    }

    fn message(&mut self) -> Option<(NewMessage<'a>, Option<u64>)> {
        let flags = self.rest.try_get_u8().ok()?;
        let is_set = |bit: u8| flags & bit != 0;
        let qos = QoS::from_u8(flags & QOS)?;
        let topic = TopicName::parse(self.text()?).ok()?;
        let length = self.number()? as usize;
        let forwarded = self.bytes(length)?;
        let shared = if is_set(flag::LINKED) { Some(self.links.next()?) } else { None };
        let payload = if let Some(shared) = shared {
            &shared[..]
        } else {
            let length = self.number()? as usize;
            self.bytes(length)?
        };
        let expires = if is_set(flag::EXPIRES) { Some(Time::from_micros(self.long()?)) } else { None };
        let stamp = if is_set(flag::STAMPED) { Some(self.long()?) } else { None };
        let retain = is_set(flag::RETAIN);
        Some((NewMessage { topic, forwarded, payload, shared, qos, retain, expires }, stamp))
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.rest.try_get_u16_le().ok()?;
        std::str::from_utf8(self.bytes(usize::from(length))?).ok()
    }

    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.rest.try_get_u32_le().ok()
    }

    fn long(&mut self) -> Option<u64> {
        self.rest.try_get_u64_le().ok()
    }
}

/// Topics and filters, `$share/` included, came in packets that give their length in two bytes.
fn put_text(out: &mut Vec<u8>, text: &str) {
    out.put_u16_le(text.len() as u16);
    out.put_slice(text.as_bytes());
}
