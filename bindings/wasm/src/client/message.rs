//! Messages on their way out and as they came, in forms that own what they hold. Never who gets them.

use std::num::NonZeroU16;

use bytes::Bytes;
use columba_codec::{
    EncodeError, FixedHeader, MessageProperties, Packet, PacketId, Publish, QoS, TopicError, TopicName,
    Version,
};
use columba_core::MESSAGE_OVERHEAD;

/// The properties that travel with a message, checked once and kept as the bytes they are sent as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// Seconds until the message is of no use any more. Waiting in the client uses them up.
    pub message_expiry: Option<u32>,
    forwarded: Bytes,
}

/// A message to be published.
#[derive(Clone, Debug)]
pub struct OutgoingMessage {
    /// Empty only while `topic_alias` is to stand for it.
    pub(super) topic: Box<str>,
    /// The message itself.
    pub payload: Bytes,
    /// Quality of service.
    pub qos: QoS,
    /// Whether the server is to keep it for later subscribers.
    pub retain: bool,
    /// What travels with it (MQTT 5).
    pub properties: Properties,
    /// An alias to set, or to use if the message has no topic (MQTT 5). The client never sets one by itself.
    pub topic_alias: Option<NonZeroU16>,
    /// It was given by its alias alone, and is sent so where the server still knows the alias.
    pub(super) by_alias: bool,
}

/// A packet as it came.
#[derive(Clone, Debug)]
pub struct RawPacket {
    version: Version,
    bytes: Bytes,
}

/// A message from the server.
#[derive(Clone, Debug)]
pub struct Message {
    packet: RawPacket,
    /// The topic, where the packet has only an alias for it.
    topic: Option<Box<str>>,
    ack: Option<AckId>,
}

/// Names one message for its acknowledgement. Of no use any more once the server sends the message again: at QoS 1 with the
/// connection, at QoS 2 with the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckId {
    /// The packet identifier of the PUBLISH.
    pub packet_id: PacketId,
    pub(super) qos: QoS,
    /// Counts connections at QoS 1, sessions at QoS 2.
    pub(super) epoch: u32,
}

impl Properties {
    /// Checks and takes over properties.
    ///
    /// # Errors
    /// What cannot be encoded.
    pub fn new(properties: &MessageProperties<'_>) -> Result<Self, EncodeError> {
        properties.check()?;
        let mut forwarded = Vec::new();
        properties.encode_forwarded(&mut forwarded);
        Ok(Self { message_expiry: properties.message_expiry, forwarded: forwarded.into() })
    }

    /// The properties as the codec has them.
    pub fn decode(&self) -> MessageProperties<'_> {
        let properties = MessageProperties::decode_forwarded(&self.forwarded)
            .expect("these bytes come from encode_forwarded");
        MessageProperties { message_expiry: self.message_expiry, ..properties }
    }

    pub(super) fn forwarded(&self) -> &[u8] {
        &self.forwarded
    }
}

impl OutgoingMessage {
    /// A message at QoS 0, not retained, without properties.
    ///
    /// # Errors
    /// `topic` is no topic name.
    pub fn new(topic: &str, payload: impl Into<Bytes>) -> Result<Self, TopicError> {
        TopicName::parse(topic)?;
        Ok(Self::unchecked(topic, payload.into(), None))
    }

    /// The same, for a topic whose alias was given before on this connection.
    pub fn by_alias(alias: NonZeroU16, payload: impl Into<Bytes>) -> Self {
        Self::unchecked("", payload.into(), Some(alias))
    }

    /// The topic name; empty if an alias is to stand for it.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    fn unchecked(topic: &str, payload: Bytes, topic_alias: Option<NonZeroU16>) -> Self {
        Self {
            topic: topic.into(),
            payload,
            qos: QoS::AtMostOnce,
            retain: false,
            properties: Properties::default(),
            topic_alias,
            by_alias: topic_alias.is_some(),
        }
    }

    /// Bytes it counts for.
    pub(super) fn size(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.forwarded.len() + MESSAGE_OVERHEAD
    }
}

impl RawPacket {
    /// `bytes` are one whole packet that has decoded.
    pub(super) const fn new(version: Version, bytes: Bytes) -> Self {
        Self { version, bytes }
    }

    /// The packet.
    ///
    /// # Panics
    /// Never: it decoded when it came.
    pub fn decode(&self) -> Packet<'_> {
        let header = self.header();
        Packet::decode(header, &self.bytes[header.len..], self.version).expect("decoded when it came")
    }

    /// The version it is of.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The whole packet as it was on the wire.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    fn header(&self) -> FixedHeader {
        FixedHeader::read(&self.bytes, usize::MAX).ok().flatten().expect("decoded when it came")
    }
}

impl Message {
    pub(super) const fn new(packet: RawPacket, topic: Option<Box<str>>, ack: Option<AckId>) -> Self {
        Self { packet, topic, ack }
    }

    /// The PUBLISH, its topic in any case among what it says.
    ///
    /// # Panics
    /// Never: it decoded when it came.
    pub fn publish(&self) -> Publish<'_> {
        let header = self.packet.header();
        let body = &self.packet.bytes[header.len..];
        let mut publish =
            Publish::decode(header.flags, body, self.packet.version).expect("decoded when it came");
        if let Some(topic) = &self.topic {
            publish.topic = TopicName::parse(topic).ok();
        }
        publish
    }

    /// The payload, which shares the packet's memory.
    pub fn payload(&self) -> Bytes {
        let len = self.publish().payload.len();
        self.packet.bytes.slice(self.packet.bytes.len() - len..)
    }

    /// The packet as it was on the wire, where an alias may stand for the topic.
    pub const fn packet(&self) -> &RawPacket {
        &self.packet
    }

    /// For the acknowledgement; at QoS 0 there is none.
    pub const fn ack(&self) -> Option<AckId> {
        self.ack
    }
}
