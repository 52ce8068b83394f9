//! The fixed header (§ 2.1): type, flags and length of every packet, never what comes after.

use std::fmt;

use crate::wire::{varint, varint_len};
use crate::{DecodeError, Field, Version};

/// The type of a control packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // the names are the documentation
pub enum PacketType {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
    Auth = 15,
}

/// Type, flags and length of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedHeader {
    /// What follows.
    pub packet_type: PacketType,
    /// The low four bits of the first byte, not checked yet.
    pub flags: u8,
    /// Length of the fixed header itself: 2 to 5 bytes.
    pub len: usize,
    /// Remaining Length: bytes after the fixed header.
    pub remaining: usize,
}

impl PacketType {
    /// The type with this number, if it is 1 to 15.
    pub const fn from_u8(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    /// The name the standard gives it, as in "PUBLISH".
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }

    /// The first byte of such a packet; a PUBLISH adds its flags.
    pub(crate) const fn first_byte(self) -> u8 {
        (self as u8) << 4 | self.fixed_flags()
    }

    /// The flags of every packet but PUBLISH (table 2.2).
    const fn fixed_flags(self) -> u8 {
        match self {
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            _ => 0,
        }
    }

    /// Checks the flags of a packet other than PUBLISH: [MQTT-2.1.3-1], [MQTT-3.6.1-1], [MQTT-3.8.1-1],
    /// [MQTT-3.10.1-1], [MQTT-3.14.1-1], [MQTT-3.15.1-1], and [MQTT-2.2.2-1 of 3.1.1], [MQTT-2.2.2-2 of 3.1.1].
    #[inline]
    pub(crate) fn check_flags(self, flags: u8, version: Version) -> Result<(), DecodeError> {
        let expected = self.fixed_flags();
        let significant = match (version, expected) {
            // 3.1 says of most packets that these bits are not used. PUBREL, SUBSCRIBE and UNSUBSCRIBE have QoS 1
            // in them, beside a DUP that may be set.
            (Version::V3_1, 0) => 0,
            (Version::V3_1, _) => 0b0110,
            _ => 0b1111,
        };
        if flags & significant == expected {
            Ok(())
        } else {
            Err(DecodeError::ReservedFlags { packet: self, flags })
        }
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FixedHeader {
    /// Reads the fixed header at the start of `input`; `Ok(None)` if more bytes are needed to know it.
    /// Nothing is reserved: a packet that would be larger than `limit` bytes in all is refused right here.
    ///
    /// # Errors
    /// Packet type 0, a Remaining Length that is too long or not in its shortest form, or a packet over `limit`.
    #[inline]
    pub fn read(input: &[u8], limit: usize) -> Result<Option<Self>, DecodeError> {
        let Some((&first, length)) = input.split_first() else { return Ok(None) };
        let packet_type = PacketType::from_u8(first >> 4).ok_or(DecodeError::PacketTypeZero)?;
        let (remaining, len) = match length {
            [] => return Ok(None),
            // Most packets are short.
            [remaining @ 0..=0x7F, ..] => (u32::from(*remaining), 1),
            length => match varint(length, Field::RemainingLength)? {
                Some(known) => known,
                None => return Ok(None),
            },
        };
        let header = Self { packet_type, flags: first & 0x0F, len: 1 + len, remaining: remaining as usize };
        // [MQTT-3.2.2-15]
        if header.total() > limit {
            return Err(DecodeError::PacketTooLarge { size: header.total(), limit });
        }
        Ok(Some(header))
    }

    /// Length of the whole packet in bytes.
    pub const fn total(&self) -> usize {
        self.len + self.remaining
    }
}

/// Length of a packet with so many bytes after its fixed header.
#[inline]
pub(crate) const fn packet_len(remaining: usize) -> usize {
    1 + varint_len(remaining) + remaining
}
