//! AUTH (§ 3.15), 5.0 only. Never knows a method, nor whose turn it is.

use super::{check_reason, encodable, finish, read_reason};
use crate::check;
use crate::property::{Block, Holder};
use crate::wire::{Reader, Writer};
use crate::{DecodeError, EncodeError, List, PacketType, Property, ReasonCode, UserProperty, Version};

/// A step of enhanced authentication.
#[derive(Clone, Debug, PartialEq)]
pub struct Auth<'a> {
    /// `Success`, `ContinueAuthentication` or `ReAuthenticate`.
    pub reason: ReasonCode,
    /// Name of the method; its absence is a protocol error that the broker, not the codec, judges.
    pub method: Option<&'a str>,
    /// Data of the method.
    pub data: Option<&'a [u8]>,
    /// Text for people.
    pub reason_string: Option<&'a str>,
    /// User properties.
    pub user_properties: List<'a, UserProperty<'a>>,
}

impl<'a> Auth<'a> {
    /// Decodes what follows the fixed header.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn decode(flags: u8, body: &'a [u8], version: Version) -> Result<Self, DecodeError> {
        let packet = PacketType::Auth;
        if version < Version::V5 {
            return Err(DecodeError::PacketNotInVersion { packet, version });
        }
        packet.check_flags(flags, version)?;
        let mut reader = Reader::new(body);
        let mut auth = Self {
            reason: ReasonCode::Success,
            method: None,
            data: None,
            reason_string: None,
            user_properties: List::default(),
        };
        // An empty AUTH is Success (§ 3.15.2.1).
        if !reader.is_empty() {
            auth.reason = read_reason(packet, &mut reader)?;
            auth.read_properties(&mut reader)?;
        }
        finish(packet, reader)?;
        Ok(auth)
    }

    fn read_properties(&mut self, reader: &mut Reader<'a>) -> Result<(), DecodeError> {
        let mut block = Block::read(reader, Holder::Packet(PacketType::Auth))?;
        while let Some(property) = block.next()? {
            match property {
                Property::AuthenticationMethod => self.method = Some(block.string()?),
                Property::AuthenticationData => self.data = Some(block.binary()?),
                Property::ReasonString => self.reason_string = Some(block.string()?),
                _ => return Err(block.misplaced(property)),
            }
        }
        self.user_properties = block.user_properties();
        Ok(())
    }

    pub(super) fn check(&self, version: Version) -> Result<(), EncodeError> {
        let packet = PacketType::Auth;
        if version < Version::V5 {
            return Err(EncodeError::NotInVersion { packet, version });
        }
        check_reason(packet, self.reason)?;
        check::authentication(self.method, self.data)?;
        check::reason_properties(self.reason_string, &self.user_properties)
    }

    fn write(&self, _: Version, writer: &mut Writer<'_>) {
        let has_properties = self.method.is_some()
            || self.data.is_some()
            || self.reason_string.is_some()
            || !self.user_properties.is_empty();
        if self.reason == ReasonCode::Success && !has_properties {
            return;
        }
        writer.u8(self.reason.code());
        writer.block(|writer| {
            writer.string_property(Property::AuthenticationMethod, self.method);
            writer.binary_property(Property::AuthenticationData, self.data);
            writer.string_property(Property::ReasonString, self.reason_string);
            self.user_properties.write(writer);
        });
    }
}

encodable!(Auth);
