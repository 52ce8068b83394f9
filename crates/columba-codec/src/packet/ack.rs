//! PUBACK, PUBREC, PUBREL and PUBCOMP (§ 3.4 to 3.7): four packets of one form. Which one answers which is never
//! decided here.

use super::{body_len, check_reason, encode_body, finish, read_reason};
use crate::check;
use crate::property::{Block, Holder};
use crate::wire::{Reader, Writer};
use crate::{
    DecodeError, EncodeError, List, PacketId, PacketType, Property, ReasonCode, UserProperty, Version,
};

/// A step in the acknowledgement of a PUBLISH.
#[derive(Clone, Debug, PartialEq)]
pub struct Ack<'a> {
    /// The packet identifier of the PUBLISH [MQTT-2.2.1-5].
    pub packet_id: PacketId,
    /// Always `Success` before 5.0.
    pub reason: ReasonCode,
    /// Text for people.
    pub reason_string: Option<&'a str>,
    /// User properties.
    pub user_properties: List<'a, UserProperty<'a>>,
}

/// Appends the acknowledgement of `packet_type` without properties, in its shortest form: 4 bytes, or 5 for a
/// `reason` other than `Success`, which is left out before 5.0.
#[inline]
pub fn encode_ack(
    packet_type: PacketType,
    packet_id: PacketId,
    reason: ReasonCode,
    version: Version,
    out: &mut Vec<u8>,
) {
    let [high, low] = packet_id.get().to_be_bytes();
    let first = packet_type.first_byte();
    if version == Version::V5 && reason != ReasonCode::Success {
        out.extend_from_slice(&[first, 3, high, low, reason.code()]);
    } else {
        out.extend_from_slice(&[first, 2, high, low]);
    }
}

impl<'a> Ack<'a> {
    /// Success, without properties.
    pub const fn new(packet_id: PacketId) -> Self {
        Self { packet_id, reason: ReasonCode::Success, reason_string: None, user_properties: List::EMPTY }
    }

    /// Decodes what follows the fixed header of a PUBACK, PUBREC, PUBREL or PUBCOMP.
    ///
    /// # Errors
    /// The first thing found wrong.
    #[inline]
    pub fn decode(
        packet_type: PacketType,
        flags: u8,
        body: &'a [u8],
        version: Version,
    ) -> Result<Self, DecodeError> {
        packet_type.check_flags(flags, version)?;
        let mut reader = Reader::new(body);
        let mut ack = Self::new(reader.packet_id()?);
        // Success without properties is left out (§ 3.4.2.1 and its siblings); before 5.0 there is no more.
        if reader.is_empty() {
            return Ok(ack);
        }
        if version < Version::V5 {
            finish(packet_type, reader)?;
        }
        ack.reason = read_reason(packet_type, &mut reader)?;
        if !reader.is_empty() {
            ack.read_properties(packet_type, &mut reader)?;
        }
        finish(packet_type, reader)?;
        Ok(ack)
    }

    /// Appends the encoded packet to `out`; what `version` does not have is left out.
    ///
    /// # Errors
    /// What cannot be encoded; nothing has been appended then.
    pub fn encode(
        &self,
        packet_type: PacketType,
        version: Version,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        self.check(packet_type, version)?;
        encode_body(packet_type.first_byte(), out, |writer| self.write(version, writer))
    }

    /// Length of the encoded packet in bytes. For a packet that cannot be encoded the number means nothing.
    pub fn encoded_len(&self, version: Version) -> usize {
        body_len(|writer| self.write(version, writer))
    }

    fn read_properties(
        &mut self,
        packet_type: PacketType,
        reader: &mut Reader<'a>,
    ) -> Result<(), DecodeError> {
        let mut block = Block::read(reader, Holder::Packet(packet_type))?;
        self.reason_string = block.reason_string()?;
        self.user_properties = block.user_properties();
        Ok(())
    }

    pub(super) fn check(&self, packet_type: PacketType, version: Version) -> Result<(), EncodeError> {
        if version < Version::V5 {
            return Ok(());
        }
        check_reason(packet_type, self.reason)?;
        check::reason_properties(self.reason_string, &self.user_properties)
    }

    fn write(&self, version: Version, writer: &mut Writer<'_>) {
        writer.u16(self.packet_id.get());
        let has_properties = self.reason_string.is_some() || !self.user_properties.is_empty();
        if version < Version::V5 || (self.reason == ReasonCode::Success && !has_properties) {
            return;
        }
        writer.u8(self.reason.code());
        if has_properties {
            writer.block(|writer| {
                writer.string_property(Property::ReasonString, self.reason_string);
                self.user_properties.write(writer);
            });
        }
    }
}
