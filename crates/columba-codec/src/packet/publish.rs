//! PUBLISH (§ 3.3), the packet that everything is about. Never touches a payload, nor knows what an alias stands for.

use std::num::NonZeroU16;

use super::{body_len, encode_body, header};
use crate::property::{Block, Holder};
use crate::wire::{Reader, Writer, varint_bytes, varint_len};
use crate::{
    DecodeError, EncodeError, Field, List, MessageProperties, PacketId, PacketType, Property, QoS,
    SubscriptionId, TopicError, TopicName, Version,
};

/// An application message on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish<'a> {
    /// This is a second try. Never set at QoS 0 [MQTT-3.3.1-2].
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// To the server: keep this message for later subscribers. To a client: this is a kept message.
    pub retain: bool,
    /// `None` only in 5.0, where `topic_alias` stands for it.
    pub topic: Option<TopicName<'a>>,
    /// Present exactly at QoS 1 and 2 [MQTT-2.2.1-2].
    pub packet_id: Option<PacketId>,
    /// Topic alias. (An alias of 0 does not decode.)
    pub topic_alias: Option<NonZeroU16>,
    /// From a server only: identifiers of the subscriptions that matched.
    pub subscription_ids: List<'a, SubscriptionId>,
    /// What travels with the message.
    pub properties: MessageProperties<'a>,
    /// The message itself.
    pub payload: &'a [u8],
}

/// Everything of a PUBLISH before its payload, ready to be written for one receiver. A broker keeps the
/// properties it forwards as bytes ([`MessageProperties::encode_forwarded`]) and so writes them without looking.
#[derive(Clone, Copy, Debug)]
pub struct PublishHead<'a> {
    /// As in [`Publish`].
    pub dup: bool,
    /// As in [`Publish`].
    pub qos: QoS,
    /// As in [`Publish`].
    pub retain: bool,
    /// The topic name, or empty where the alias is known to the receiver. Not checked again.
    pub topic: &'a str,
    /// As in [`Publish`].
    pub packet_id: Option<PacketId>,
    /// As in [`Publish`]; left out before 5.0, like all below but the length.
    pub topic_alias: Option<NonZeroU16>,
    /// What remains of the message expiry, in seconds.
    pub message_expiry: Option<u32>,
    /// As in [`Publish`].
    pub subscription_ids: &'a [SubscriptionId],
    /// Properties as [`MessageProperties::encode_forwarded`] wrote them.
    pub forwarded: &'a [u8],
    /// Length of the payload that will follow, in bytes.
    pub payload_len: usize,
}

const DUP: u8 = 0b1000;
const RETAIN: u8 = 0b0001;

impl<'a> Publish<'a> {
    /// A message at QoS 0, not retained, without properties.
    pub fn new(topic: TopicName<'a>, payload: &'a [u8]) -> Self {
        Self {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: Some(topic),
            packet_id: None,
            topic_alias: None,
            subscription_ids: List::EMPTY,
            properties: MessageProperties::default(),
            payload,
        }
    }

    /// Decodes what follows the fixed header.
    ///
    /// # Errors
    /// The first thing found wrong.
    #[inline]
    pub fn decode(flags: u8, body: &'a [u8], version: Version) -> Result<Self, DecodeError> {
        // [MQTT-3.3.1-4]
        let qos = QoS::from_u8((flags >> 1) & 0b11).ok_or(DecodeError::PublishQoS)?;
        let mut dup = flags & DUP != 0;
        if dup && qos == QoS::AtMostOnce {
            // [MQTT-3.3.1-2]; 3.1 has no such rule, and there the flag means nothing then.
            if version > Version::V3_1 {
                return Err(DecodeError::DupAtQoS0);
            }
            dup = false;
        }
        let mut reader = Reader::new(body);
        // [MQTT-3.3.2-1]
        let topic = read_topic(&mut reader, version)?;
        // [MQTT-2.2.1-2], [MQTT-2.3.1-5 of 3.1.1]
        let packet_id = if qos == QoS::AtMostOnce { None } else { Some(reader.packet_id()?) };
        let mut publish = Self {
            dup,
            qos,
            retain: flags & RETAIN != 0,
            topic,
            packet_id,
            topic_alias: None,
            subscription_ids: List::default(),
            properties: MessageProperties::default(),
            payload: &[],
        };
        if version == Version::V5 {
            publish.read_properties(&mut reader)?;
        }
        publish.payload = reader.rest();
        Ok(publish)
    }

    /// Appends the encoded packet to `out`; what `version` does not have is left out.
    ///
    /// # Errors
    /// What cannot be encoded; nothing has been appended then.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.check(version)?;
        let first = first_byte(self.dup, self.qos, self.retain);
        encode_body(first, out, |writer| self.write(version, writer))
    }

    /// Length of the encoded packet in bytes. For a packet that cannot be encoded the number means nothing.
    pub fn encoded_len(&self, version: Version) -> usize {
        body_len(|writer| self.write(version, writer))
    }

    /// Whether the packet can be encoded, apart from its size.
    ///
    /// # Errors
    /// What cannot be encoded.
    pub fn check(&self, version: Version) -> Result<(), EncodeError> {
        if self.packet_id.is_some() != (self.qos > QoS::AtMostOnce) {
            // [MQTT-2.2.1-2], [MQTT-2.2.1-3], [MQTT-2.2.1-4]
            return Err(EncodeError::PacketId);
        }
        if self.dup && self.qos == QoS::AtMostOnce {
            // [MQTT-3.3.1-2]
            return Err(EncodeError::DupAtQoS0);
        }
        if self.topic.is_none() && (version < Version::V5 || self.topic_alias.is_none()) {
            return Err(EncodeError::TopicMissing);
        }
        if version == Version::V5 { self.properties.check() } else { Ok(()) }
    }

    #[inline]
    fn read_properties(&mut self, reader: &mut Reader<'a>) -> Result<(), DecodeError> {
        let mut block = Block::read(reader, Holder::Packet(PacketType::Publish))?;
        while let Some(property) = block.next()? {
            match property {
                Property::TopicAlias => {
                    // [MQTT-3.3.2-8]
                    let alias = NonZeroU16::new(block.u16()?).ok_or(DecodeError::TopicAliasZero)?;
                    self.topic_alias = Some(alias);
                }
                Property::SubscriptionIdentifier => block.note_subscription_id()?,
                _ => {
                    if !self.properties.take(property, &mut block)? {
                        return Err(block.misplaced(property));
                    }
                }
            }
        }
        self.subscription_ids = block.subscription_ids();
        self.properties.user_properties = block.user_properties();
        if self.topic.is_none() && self.topic_alias.is_none() {
            return Err(DecodeError::TopicMissing);
        }
        Ok(())
    }

    fn write(&self, version: Version, writer: &mut Writer<'_>) {
        writer.binary(self.topic.map_or("", TopicName::as_str).as_bytes());
        if let Some(id) = self.packet_id {
            writer.u16(id.get());
        }
        if version == Version::V5 {
            writer.block(|writer| {
                writer.u16_property(Property::TopicAlias, self.topic_alias.map(Into::into));
                for id in &self.subscription_ids {
                    writer.subscription_id_property(id);
                }
                self.properties.write(writer);
            });
        }
        writer.bytes(self.payload);
    }
}

impl PublishHead<'_> {
    /// Appends everything up to the payload to `out`.
    ///
    /// The caller answers for the content: a topic of at most 65,535 bytes, a packet identifier exactly at QoS 1
    /// and 2, and a packet of at most 268,435,460 bytes.
    #[inline]
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        let properties = if version == Version::V5 { Some(self.properties_len()) } else { None };
        let remaining = self.remaining(properties);
        out.reserve(header::packet_len(remaining) - self.payload_len);
        // [MQTT-3.3.1-3]: DUP is the caller's word about this very delivery.
        let [high, low] = (self.topic.len() as u16).to_be_bytes();
        let first = first_byte(self.dup, self.qos, self.retain);
        if let Ok(short @ 0..=0x7F) = u8::try_from(remaining) {
            out.extend_from_slice(&[first, short, high, low]);
        } else {
            let (length, len) = varint_bytes(remaining);
            out.push(first);
            out.extend_from_slice(&length[..len]);
            out.extend_from_slice(&[high, low]);
        }
        out.extend_from_slice(self.topic.as_bytes());
        if let Some(id) = self.packet_id {
            out.extend_from_slice(&id.get().to_be_bytes());
        }
        if let Some(len) = properties {
            self.encode_properties(len, out);
        }
    }

    /// Length of the whole packet in bytes, the payload included.
    #[inline]
    pub fn encoded_len(&self, version: Version) -> usize {
        let properties = if version == Version::V5 { Some(self.properties_len()) } else { None };
        header::packet_len(self.remaining(properties))
    }

    #[inline]
    fn remaining(&self, properties: Option<usize>) -> usize {
        let id = if self.packet_id.is_some() { 2 } else { 0 };
        let properties = properties.map_or(0, |len| varint_len(len) + len);
        2 + self.topic.len() + id + properties + self.payload_len
    }

    #[inline]
    fn properties_len(&self) -> usize {
        let alias = if self.topic_alias.is_some() { 3 } else { 0 };
        let expiry = if self.message_expiry.is_some() { 5 } else { 0 };
        let ids = self.subscription_ids.iter().map(|id| 1 + varint_len(id.get() as usize));
        alias + expiry + ids.sum::<usize>() + self.forwarded.len()
    }

    #[inline]
    fn encode_properties(&self, len: usize, out: &mut Vec<u8>) {
        if len == 0 {
            // [MQTT-2.2.2-1]
            return out.push(0);
        }
        let mut writer = Writer::new(out);
        writer.varint(len);
        writer.u16_property(Property::TopicAlias, self.topic_alias.map(Into::into));
        writer.u32_property(Property::MessageExpiryInterval, self.message_expiry);
        for &id in self.subscription_ids {
            writer.subscription_id_property(id);
        }
        writer.bytes(self.forwarded);
    }
}

/// The topic name; an empty one is for 5.0 only, where an alias must stand for it.
#[inline]
fn read_topic<'a>(reader: &mut Reader<'a>, version: Version) -> Result<Option<TopicName<'a>>, DecodeError> {
    let mut ahead = *reader;
    if ahead.u16(Field::TopicName)? > 0 {
        // [MQTT-3.3.2-2]
        return reader.topic_name(Field::TopicName).map(Some);
    }
    *reader = ahead;
    if version == Version::V5 {
        return Ok(None);
    }
    // [MQTT-4.7.3-1]
    Err(DecodeError::Topic { field: Field::TopicName, error: TopicError::Empty })
}

#[inline]
const fn first_byte(dup: bool, qos: QoS, retain: bool) -> u8 {
    PacketType::Publish.first_byte()
        | if dup { DUP } else { 0 }
        | (qos as u8) << 1
        | if retain { RETAIN } else { 0 }
}
