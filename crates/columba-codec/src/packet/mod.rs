//! One type per packet, the same for every version: what a version lacks is `None` or empty. Owns which fields a
//! packet has and in which order they lie, never what a packet means to a connection.

mod ack;
mod auth;
mod connack;
mod connect;
mod disconnect;
mod header;
mod publish;
mod subscribe;

pub use ack::{Ack, encode_ack};
pub use auth::Auth;
pub use connack::{ConnAck, ConnAckProperties};
pub use connect::{Connect, ConnectProperties, Will};
pub use disconnect::Disconnect;
pub use header::{FixedHeader, PacketType};
pub use publish::{Publish, PublishHead};
pub use subscribe::{SubAck, Subscribe, SubscribeItem, UnsubAck, Unsubscribe};

use crate::wire::{MAX_VARINT, Reader, Writer};
use crate::{DecodeError, EncodeError, Field, ReasonCode, Version};

/// Any MQTT control packet.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet<'a> {
    /// CONNECT, client to server. Boxed: it is an order of magnitude larger than the others and comes once.
    Connect(Box<Connect<'a>>),
    /// CONNACK, server to client.
    ConnAck(Box<ConnAck<'a>>),
    /// PUBLISH, both ways.
    Publish(Publish<'a>),
    /// PUBACK, both ways.
    PubAck(Ack<'a>),
    /// PUBREC, both ways.
    PubRec(Ack<'a>),
    /// PUBREL, both ways.
    PubRel(Ack<'a>),
    /// PUBCOMP, both ways.
    PubComp(Ack<'a>),
    /// SUBSCRIBE, client to server.
    Subscribe(Subscribe<'a>),
    /// SUBACK, server to client.
    SubAck(SubAck<'a>),
    /// UNSUBSCRIBE, client to server.
    Unsubscribe(Unsubscribe<'a>),
    /// UNSUBACK, server to client.
    UnsubAck(UnsubAck<'a>),
    /// PINGREQ, client to server.
    PingReq,
    /// PINGRESP, server to client.
    PingResp,
    /// DISCONNECT, client to server and, from version 5.0 on, server to client.
    Disconnect(Disconnect<'a>),
    /// AUTH, both ways, version 5.0 only.
    Auth(Auth<'a>),
}

impl<'a> Packet<'a> {
    /// Decodes the packet that `header` announced. `body` are the bytes after the fixed header, all of them and no
    /// more. `version` is the one the connection speaks; a CONNECT says its own.
    ///
    /// # Errors
    /// The first thing found wrong. Only what this packet alone can break is found: whether it may come now, and
    /// from this side, is for the connection to judge.
    pub fn decode(header: FixedHeader, body: &'a [u8], version: Version) -> Result<Self, DecodeError> {
        let flags = header.flags;
        let packet_type = header.packet_type;
        let ack = || Ack::decode(packet_type, flags, body, version);
        Ok(match packet_type {
            PacketType::Connect => Self::Connect(Box::new(Connect::decode(flags, body)?)),
            PacketType::ConnAck => Self::ConnAck(Box::new(ConnAck::decode(flags, body, version)?)),
            PacketType::Publish => Self::Publish(Publish::decode(flags, body, version)?),
            PacketType::PubAck => Self::PubAck(ack()?),
            PacketType::PubRec => Self::PubRec(ack()?),
            PacketType::PubRel => Self::PubRel(ack()?),
            PacketType::PubComp => Self::PubComp(ack()?),
            PacketType::Subscribe => Self::Subscribe(Subscribe::decode(flags, body, version)?),
            PacketType::SubAck => Self::SubAck(SubAck::decode(flags, body, version)?),
            PacketType::Unsubscribe => Self::Unsubscribe(Unsubscribe::decode(flags, body, version)?),
            PacketType::UnsubAck => Self::UnsubAck(UnsubAck::decode(flags, body, version)?),
            PacketType::PingReq => {
                decode_empty(packet_type, flags, body, version)?;
                Self::PingReq
            }
            PacketType::PingResp => {
                decode_empty(packet_type, flags, body, version)?;
                Self::PingResp
            }
            PacketType::Disconnect => Self::Disconnect(Disconnect::decode(flags, body, version)?),
            PacketType::Auth => Self::Auth(Auth::decode(flags, body, version)?),
        })
    }

    /// Appends the encoded packet to `out`. What `version` does not have, such as properties before 5.0, is left
    /// out. A CONNECT is encoded for its own version.
    ///
    /// Everything that this encodes decodes again.
    ///
    /// # Errors
    /// What cannot be encoded; nothing has been appended then.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Connect(packet) => packet.encode(out),
            Self::ConnAck(packet) => packet.encode(version, out),
            Self::Publish(packet) => packet.encode(version, out),
            Self::PubAck(ack) => ack.encode(PacketType::PubAck, version, out),
            Self::PubRec(ack) => ack.encode(PacketType::PubRec, version, out),
            Self::PubRel(ack) => ack.encode(PacketType::PubRel, version, out),
            Self::PubComp(ack) => ack.encode(PacketType::PubComp, version, out),
            Self::Subscribe(packet) => packet.encode(version, out),
            Self::SubAck(packet) => packet.encode(version, out),
            Self::Unsubscribe(packet) => packet.encode(version, out),
            Self::UnsubAck(packet) => packet.encode(version, out),
            Self::PingReq | Self::PingResp => {
                out.extend_from_slice(&[self.packet_type().first_byte(), 0]);
                Ok(())
            }
            Self::Disconnect(packet) => packet.encode(version, out),
            Self::Auth(packet) => packet.encode(version, out),
        }
    }

    /// Length of the encoded packet in bytes. For a packet that cannot be encoded the number means nothing.
    pub fn encoded_len(&self, version: Version) -> usize {
        match self {
            Self::Connect(packet) => packet.encoded_len(),
            Self::ConnAck(packet) => packet.encoded_len(version),
            Self::Publish(packet) => packet.encoded_len(version),
            Self::PubAck(ack) | Self::PubRec(ack) | Self::PubRel(ack) | Self::PubComp(ack) => {
                ack.encoded_len(version)
            }
            Self::Subscribe(packet) => packet.encoded_len(version),
            Self::SubAck(packet) => packet.encoded_len(version),
            Self::Unsubscribe(packet) => packet.encoded_len(version),
            Self::UnsubAck(packet) => packet.encoded_len(version),
            Self::PingReq | Self::PingResp => 2,
            Self::Disconnect(packet) => packet.encoded_len(version),
            Self::Auth(packet) => packet.encoded_len(version),
        }
    }

    /// Whether the packet can be encoded, apart from its size: all that [`encode`](Self::encode) checks first.
    ///
    /// # Errors
    /// What cannot be encoded.
    pub fn check(&self, version: Version) -> Result<(), EncodeError> {
        match self {
            Self::Connect(packet) => packet.check(),
            Self::ConnAck(packet) => packet.check(version),
            Self::Publish(packet) => packet.check(version),
            Self::PubAck(ack) => ack.check(PacketType::PubAck, version),
            Self::PubRec(ack) => ack.check(PacketType::PubRec, version),
            Self::PubRel(ack) => ack.check(PacketType::PubRel, version),
            Self::PubComp(ack) => ack.check(PacketType::PubComp, version),
            Self::Subscribe(packet) => packet.check(version),
            Self::SubAck(packet) => packet.check(version),
            Self::Unsubscribe(packet) => packet.check(version),
            Self::UnsubAck(packet) => packet.check(version),
            Self::PingReq | Self::PingResp => Ok(()),
            Self::Disconnect(packet) => packet.check(version),
            Self::Auth(packet) => packet.check(version),
        }
    }

    /// Its type.
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }
}

/// Gives a packet of a fixed first byte its public methods for encoding, from its `check` and `write`.
macro_rules! encodable {
    ($packet:ident) => {
        impl $packet<'_> {
            /// Appends the encoded packet to `out`; what `version` does not have is left out.
            ///
            /// # Errors
            /// What cannot be encoded; nothing has been appended then.
            pub fn encode(
                &self,
                version: crate::Version,
                out: &mut Vec<u8>,
            ) -> Result<(), crate::EncodeError> {
                self.check(version)?;
                let first = crate::PacketType::$packet.first_byte();
                crate::packet::encode_body(first, out, |writer| self.write(version, writer))
            }

            /// Length of the encoded packet in bytes. For a packet that cannot be encoded the number means nothing.
            pub fn encoded_len(&self, version: crate::Version) -> usize {
                crate::packet::body_len(|writer| self.write(version, writer))
            }
        }
    };
}
use encodable;

/// Appends a packet whose content has been checked and is what `write` writes.
fn encode_body(first: u8, out: &mut Vec<u8>, write: impl Fn(&mut Writer<'_>)) -> Result<(), EncodeError> {
    let remaining = Writer::count(&write);
    if remaining > MAX_VARINT {
        return Err(EncodeError::PacketTooLarge { remaining });
    }
    out.reserve(header::packet_len(remaining));
    let mut writer = Writer::new(out);
    writer.u8(first);
    writer.varint(remaining);
    write(&mut writer);
    Ok(())
}

/// Length of a packet whose content is what `write` writes.
fn body_len(write: impl FnOnce(&mut Writer<'_>)) -> usize {
    header::packet_len(Writer::count(write))
}

/// PINGREQ and PINGRESP: nothing but a fixed header.
fn decode_empty(packet: PacketType, flags: u8, body: &[u8], version: Version) -> Result<(), DecodeError> {
    packet.check_flags(flags, version)?;
    finish(packet, Reader::new(body))
}

/// All fields have been read: nothing must be left.
#[inline]
fn finish(packet: PacketType, reader: Reader<'_>) -> Result<(), DecodeError> {
    match reader.len() {
        0 => Ok(()),
        count => Err(DecodeError::TrailingBytes { packet, count }),
    }
}

/// A reason code that `packet` may have.
#[inline]
fn read_reason(packet: PacketType, reader: &mut Reader<'_>) -> Result<ReasonCode, DecodeError> {
    let code = reader.u8(Field::ReasonCode)?;
    let reason = ReasonCode::from_u8(code).filter(|reason| reason.is_valid_in(packet));
    reason.ok_or(DecodeError::ReasonCode { packet, code })
}

/// Whether `packet` may have `reason`.
fn check_reason(packet: PacketType, reason: ReasonCode) -> Result<(), EncodeError> {
    if reason.is_valid_in(packet) { Ok(()) } else { Err(EncodeError::ReasonCode { packet, reason }) }
}
