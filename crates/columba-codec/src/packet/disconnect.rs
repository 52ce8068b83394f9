//! DISCONNECT (§ 3.14). Which side sent it is never known here.

use super::{check_reason, encodable, finish, read_reason};
use crate::check;
use crate::property::{Block, Holder};
use crate::wire::{Reader, Writer};
use crate::{DecodeError, EncodeError, List, PacketType, Property, ReasonCode, UserProperty, Version};

/// The last packet of a connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Disconnect<'a> {
    /// Always `Success` (normal disconnection) before 5.0.
    pub reason: ReasonCode,
    /// Seconds; from a client only, replaces the session expiry of CONNECT [MQTT-3.14.2-2].
    pub session_expiry: Option<u32>,
    /// Another server to use; from a server only.
    pub server_reference: Option<&'a str>,
    /// Text for people.
    pub reason_string: Option<&'a str>,
    /// User properties.
    pub user_properties: List<'a, UserProperty<'a>>,
}

impl<'a> Disconnect<'a> {
    /// A DISCONNECT without properties.
    pub const fn new(reason: ReasonCode) -> Self {
        Self {
            reason,
            session_expiry: None,
            server_reference: None,
            reason_string: None,
            user_properties: List::EMPTY,
        }
    }

    /// Decodes what follows the fixed header.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn decode(flags: u8, body: &'a [u8], version: Version) -> Result<Self, DecodeError> {
        let packet = PacketType::Disconnect;
        packet.check_flags(flags, version)?;
        let mut reader = Reader::new(body);
        let mut disconnect = Self::new(ReasonCode::Success);
        if version == Version::V5 {
            // Either part may be left out from the end (§ 3.14.2.1, § 3.14.2.2.1).
            if !reader.is_empty() {
                disconnect.reason = read_reason(packet, &mut reader)?;
            }
            if !reader.is_empty() {
                disconnect.read_properties(&mut reader)?;
            }
        }
        finish(packet, reader)?;
        Ok(disconnect)
    }

    fn read_properties(&mut self, reader: &mut Reader<'a>) -> Result<(), DecodeError> {
        let mut block = Block::read(reader, Holder::Packet(PacketType::Disconnect))?;
        while let Some(property) = block.next()? {
            match property {
                Property::SessionExpiryInterval => self.session_expiry = Some(block.u32()?),
                Property::ServerReference => self.server_reference = Some(block.string()?),
                Property::ReasonString => self.reason_string = Some(block.string()?),
                _ => return Err(block.misplaced(property)),
            }
        }
        self.user_properties = block.user_properties();
        Ok(())
    }

    pub(super) fn check(&self, version: Version) -> Result<(), EncodeError> {
        if version < Version::V5 {
            return Ok(());
        }
        check_reason(PacketType::Disconnect, self.reason)?;
        check::string_property(Property::ServerReference, self.server_reference)?;
        check::reason_properties(self.reason_string, &self.user_properties)
    }

    fn write(&self, version: Version, writer: &mut Writer<'_>) {
        let has_properties = self.session_expiry.is_some()
            || self.server_reference.is_some()
            || self.reason_string.is_some()
            || !self.user_properties.is_empty();
        if version < Version::V5 || (self.reason == ReasonCode::Success && !has_properties) {
            return;
        }
        writer.u8(self.reason.code());
        if has_properties {
            writer.block(|writer| {
                writer.u32_property(Property::SessionExpiryInterval, self.session_expiry);
                writer.string_property(Property::ServerReference, self.server_reference);
                writer.string_property(Property::ReasonString, self.reason_string);
                self.user_properties.write(writer);
            });
        }
    }
}

encodable!(Disconnect);
