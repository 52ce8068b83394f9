//! Owns the bytes of PUBLISH packets that go out: heads encoded beforehand, packets one behind the other in a buffer, of which
//! only what differs is written for each message. Never knows who publishes.

use columba_codec::{PacketId, PublishHead, QoS, Version};

use crate::ws;

/// One write has up to so many bytes, or one packet.
const WRITE: usize = 32 << 10;

/// What a message says about itself, at the beginning of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Of this run; others may publish to the same topics.
    pub(crate) run: u32,
    /// One publisher's messages on one topic.
    pub(crate) lane: u32,
    /// In the lane, from 0 on.
    pub(crate) number: u64,
    /// When it was sent, or should have been, in nanoseconds.
    pub(crate) time: u64,
}

/// How the messages of a run look, apart from their topics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) version: Version,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Bytes, at least [`Stamp::LEN`].
    pub(crate) payload: usize,
    pub(crate) is_ws: bool,
}

#[derive(Debug)]
pub(crate) struct Batch {
    shape: Shape,
    /// The heads of all topics, which are of one length.
    heads: Vec<u8>,
    head_len: usize,
    id_at: usize,
    /// Where a frame's payload begins, if there are frames: the key counts from there.
    frame_at: usize,
    packet_len: usize,
    bytes: Vec<u8>,
    count: usize,
}

impl Stamp {
    pub(crate) const LEN: usize = 24;

    fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&self.run.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.lane.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..].copy_from_slice(&self.time.to_le_bytes());
        bytes
    }

    /// The stamp of a payload; `None` if that is too short for one.
    #[inline]
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let (run, rest) = payload.split_first_chunk()?;
        let (lane, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let time = rest.first_chunk()?;
        Some(Self {
            run: u32::from_le_bytes(*run),
            lane: u32::from_le_bytes(*lane),
            number: u64::from_le_bytes(*number),
            time: u64::from_le_bytes(*time),
        })
    }
}

/// What the rest of a payload is made of: the byte at this place.
#[inline]
pub(crate) const fn filler(at: usize) -> u8 {
    (at as u8).wrapping_mul(29) ^ 0xA5
}

impl Batch {
    /// For messages to `topics`, which have to be of one length.
    pub(crate) fn new(shape: Shape, topics: impl IntoIterator<Item = String>) -> Self {
        let (mut heads, mut head_len, mut frame_at) = (Vec::new(), 0, 0);
        for topic in topics {
            let head = PublishHead {
                dup: false,
                qos: shape.qos,
                retain: shape.retain,
                topic: &topic,
                packet_id: (shape.qos > QoS::AtMostOnce).then_some(PacketId::MIN),
                topic_alias: None,
                message_expiry: None,
                subscription_ids: &[],
                forwarded: &[],
                payload_len: shape.payload,
            };
            let begin = heads.len();
            if shape.is_ws {
                ws::header(head.encoded_len(shape.version), &mut heads);
                frame_at = heads.len() - begin;
            }
            head.encode(shape.version, &mut heads);
            if shape.is_ws {
                ws::mask(&mut heads[begin + frame_at..], 0);
            }
            debug_assert!(head_len == 0 || head_len == heads.len() - begin, "topics are of one length");
            head_len = heads.len() - begin;
        }
        let properties = usize::from(shape.version == Version::V5);
        let packet_len = head_len + shape.payload;
        let count = (WRITE / packet_len).max(1);
        let mut packet = heads[..head_len].to_vec();
        packet.extend((0..shape.payload).map(filler));
        if shape.is_ws {
            ws::mask(&mut packet[head_len..], head_len - frame_at);
        }
        Self {
            shape,
            heads,
            head_len,
            // The identifier is the last of the head but for the length of the properties, of which there are none.
            id_at: head_len - 2 - properties,
            frame_at,
            packet_len,
            bytes: packet.repeat(count),
            count,
        }
    }

    pub(crate) const fn shape(&self) -> Shape {
        self.shape
    }

    /// How many messages one write takes.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    pub(crate) const fn packet_len(&self) -> usize {
        self.packet_len
    }

    /// Makes the packet at `place` a message to topic number `topic`.
    #[inline]
    pub(crate) fn set(&mut self, place: usize, topic: usize, id: Option<PacketId>, stamp: Stamp) {
        let begin = place * self.packet_len;
        let packet = &mut self.bytes[begin..begin + self.packet_len];
        let head = &self.heads[topic * self.head_len..(topic + 1) * self.head_len];
        packet[..self.head_len].copy_from_slice(head);
        if let Some(id) = id {
            packet[self.id_at..self.id_at + 2].copy_from_slice(&id.get().to_be_bytes());
            if self.shape.is_ws {
                ws::mask(&mut packet[self.id_at..self.id_at + 2], self.id_at - self.frame_at);
            }
        }
        let stamped = &mut packet[self.head_len..self.head_len + Stamp::LEN];
        stamped.copy_from_slice(&stamp.to_bytes());
        if self.shape.is_ws {
            ws::mask(stamped, self.head_len - self.frame_at);
        }
    }

    /// The first so many packets.
    pub(crate) fn bytes(&self, packets: usize) -> &[u8] {
        &self.bytes[..packets * self.packet_len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use columba_codec::{FixedHeader, Packet};

    #[test]
    fn packets_are_what_the_codec_understands() {
        for version in [Version::V3_1, Version::V3_1_1, Version::V5] {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                for (is_ws, payload) in [(false, 24), (true, 24), (false, 500), (true, 500), (true, 70_000)] {
                    check(Shape { version, qos, retain: qos == QoS::AtLeastOnce, payload, is_ws });
                }
            }
        }
    }

    fn check(shape: Shape) {
        let mut batch = Batch::new(shape, ["a/0".to_owned(), "a/1".to_owned()]);
        let id = PacketId::new(0x1234).filter(|_| shape.qos > QoS::AtMostOnce);
        let stamp = Stamp { run: 1, lane: 2, number: 3, time: 4 };
        let last = batch.count() - 1;
        batch.set(last, 1, id, stamp);
        let mut packet = batch.bytes(batch.count())[last * batch.packet_len()..].to_vec();
        if shape.is_ws {
            packet.drain(..batch.frame_at);
            ws::mask(&mut packet, 0);
        }
        let header = FixedHeader::read(&packet, packet.len()).unwrap().unwrap();
        assert_eq!(header.total(), packet.len());
        let Ok(Packet::Publish(publish)) = Packet::decode(header, &packet[header.len..], shape.version)
        else {
            panic!("{shape:?}: no PUBLISH");
        };
        assert_eq!((publish.qos, publish.retain, publish.packet_id), (shape.qos, shape.retain, id));
        assert_eq!(publish.topic.unwrap().as_str(), "a/1");
        assert_eq!(publish.payload.len(), shape.payload);
        assert_eq!(Stamp::read(publish.payload), Some(stamp));
        assert!((Stamp::LEN..shape.payload).all(|at| publish.payload[at] == filler(at)));
    }
}
