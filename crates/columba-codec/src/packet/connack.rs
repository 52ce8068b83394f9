//! CONNACK (§ 3.2). Says what the server decided, never decides it.

use std::num::{NonZeroU16, NonZeroU32};

use super::{check_reason, encodable, finish, read_reason};
use crate::check;
use crate::property::{Block, Holder};
use crate::wire::{Reader, Writer};
use crate::{
    DecodeError, EncodeError, Field, List, PacketType, Property, QoS, ReasonCode, UserProperty, Version,
};

/// The server's answer to CONNECT.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnAck<'a> {
    /// The server has a session for this client. Never sent as set to a 3.1 client.
    pub session_present: bool,
    /// 5.0 reason code; encoding for 3.1 and 3.1.1 maps it to the nearest return code.
    pub reason: ReasonCode,
    /// Properties of 5.0; the default for other versions.
    pub properties: ConnAckProperties<'a>,
}

/// Properties of CONNACK.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnAckProperties<'a> {
    /// Seconds, where the server decides another session expiry than the client asked for.
    pub session_expiry: Option<u32>,
    /// How many QoS 1 and 2 messages the client may leave unacknowledged. Absent means 65,535.
    pub receive_maximum: Option<NonZeroU16>,
    /// The highest QoS the server takes. Absent means 2; `ExactlyOnce` is never sent.
    pub maximum_qos: Option<QoS>,
    /// Whether retained messages are served. Absent means yes.
    pub retain_available: Option<bool>,
    /// The largest packet the server takes, in bytes with fixed header.
    pub maximum_packet_size: Option<NonZeroU32>,
    /// The client id the server assigned.
    pub assigned_client_id: Option<&'a str>,
    /// The highest topic alias the client may use. Absent means 0.
    pub topic_alias_maximum: Option<u16>,
    /// Text for people.
    pub reason_string: Option<&'a str>,
    /// Whether wildcard subscriptions are served. Absent means yes.
    pub wildcard_subscription_available: Option<bool>,
    /// Whether subscription identifiers are served. Absent means yes.
    pub subscription_ids_available: Option<bool>,
    /// Whether shared subscriptions are served. Absent means yes.
    pub shared_subscription_available: Option<bool>,
    /// Seconds; replaces the client's keep alive [MQTT-3.2.2-21].
    pub server_keep_alive: Option<u16>,
    /// The basis for response topics.
    pub response_information: Option<&'a str>,
    /// Another server to use.
    pub server_reference: Option<&'a str>,
    /// Name of the enhanced authentication method.
    pub authentication_method: Option<&'a str>,
    /// Data of that method.
    pub authentication_data: Option<&'a [u8]>,
    /// User properties.
    pub user_properties: List<'a, UserProperty<'a>>,
}

impl<'a> ConnAck<'a> {
    /// Decodes what follows the fixed header.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn decode(flags: u8, body: &'a [u8], version: Version) -> Result<Self, DecodeError> {
        let packet = PacketType::ConnAck;
        packet.check_flags(flags, version)?;
        let mut reader = Reader::new(body);
        let acknowledge_flags = match (version, reader.u8(Field::ConnAckFlags)?) {
            // 3.1 reserves the byte without saying what is in it.
            (Version::V3_1, _) => 0,
            // [MQTT-3.2.2-1]
            (_, flags @ 2..) => return Err(DecodeError::ConnAckFlags(flags)),
            (_, flags) => flags,
        };
        let session_present = acknowledge_flags != 0;
        let mut properties = ConnAckProperties::default();
        let reason = if version == Version::V5 {
            let reason = read_reason(packet, &mut reader)?;
            properties = ConnAckProperties::decode(&mut reader)?;
            reason
        } else {
            let code = reader.u8(Field::ReasonCode)?;
            let reason = ReasonCode::from_return_code(code);
            reason.ok_or(DecodeError::ReasonCode { packet, code })?
        };
        finish(packet, reader)?;
        if session_present && reason.is_error() {
            // [MQTT-3.2.2-6], [MQTT-3.2.2-4 of 3.1.1]
            return Err(DecodeError::SessionPresentWithError);
        }
        Ok(Self { session_present, reason, properties })
    }

    pub(super) fn check(&self, version: Version) -> Result<(), EncodeError> {
        check_connack_reason(self.reason, version)?;
        if self.session_present && self.reason.is_error() {
            // [MQTT-3.2.2-6], [MQTT-3.2.2-4 of 3.1.1]
            return Err(EncodeError::SessionPresentWithError);
        }
        if version == Version::V5 { self.properties.check() } else { Ok(()) }
    }

    fn write(&self, version: Version, writer: &mut Writer<'_>) {
        // The other bits are 0 [MQTT-3.2.2-1].
        writer.u8(u8::from(self.session_present && version > Version::V3_1));
        if version == Version::V5 {
            writer.u8(self.reason.code());
            writer.block(|writer| self.properties.write(writer));
        } else {
            writer.u8(self.reason.to_return_code());
        }
    }
}

encodable!(ConnAck);

impl<'a> ConnAckProperties<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut properties = Self::default();
        let mut block = Block::read(reader, Holder::Packet(PacketType::ConnAck))?;
        while let Some(property) = block.next()? {
            properties.take(property, &mut block)?;
        }
        properties.user_properties = block.user_properties();
        if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
            return Err(DecodeError::AuthenticationDataWithoutMethod);
        }
        Ok(properties)
    }

    fn take(&mut self, property: Property, block: &mut Block<'a>) -> Result<(), DecodeError> {
        match property {
            Property::SessionExpiryInterval => self.session_expiry = Some(block.u32()?),
            Property::ReceiveMaximum => self.receive_maximum = Some(block.nonzero_u16()?),
            Property::MaximumQoS => {
                let qos = if block.flag()? { QoS::AtLeastOnce } else { QoS::AtMostOnce };
                self.maximum_qos = Some(qos);
            }
            Property::RetainAvailable => self.retain_available = Some(block.flag()?),
            Property::MaximumPacketSize => self.maximum_packet_size = Some(block.nonzero_u32()?),
            Property::AssignedClientIdentifier => self.assigned_client_id = Some(block.string()?),
            Property::TopicAliasMaximum => self.topic_alias_maximum = Some(block.u16()?),
            Property::ReasonString => self.reason_string = Some(block.string()?),
            Property::WildcardSubscriptionAvailable => {
                self.wildcard_subscription_available = Some(block.flag()?);
            }
            Property::SubscriptionIdentifiersAvailable => {
                self.subscription_ids_available = Some(block.flag()?);
            }
            Property::SharedSubscriptionAvailable => {
                self.shared_subscription_available = Some(block.flag()?);
            }
            Property::ServerKeepAlive => self.server_keep_alive = Some(block.u16()?),
            Property::ResponseInformation => self.response_information = Some(block.string()?),
            Property::ServerReference => self.server_reference = Some(block.string()?),
            Property::AuthenticationMethod => self.authentication_method = Some(block.string()?),
            Property::AuthenticationData => self.authentication_data = Some(block.binary()?),
            _ => return Err(block.misplaced(property)),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), EncodeError> {
        if self.maximum_qos == Some(QoS::ExactlyOnce) {
            return Err(EncodeError::MaximumQoS);
        }
        check::string_property(Property::AssignedClientIdentifier, self.assigned_client_id)?;
        check::string_property(Property::ResponseInformation, self.response_information)?;
        check::string_property(Property::ServerReference, self.server_reference)?;
        check::authentication(self.authentication_method, self.authentication_data)?;
        if self.authentication_data.is_some() && self.authentication_method.is_none() {
            return Err(EncodeError::AuthenticationDataWithoutMethod);
        }
        check::reason_properties(self.reason_string, &self.user_properties)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.u32_property(Property::SessionExpiryInterval, self.session_expiry);
        writer.u16_property(Property::ReceiveMaximum, self.receive_maximum.map(Into::into));
        writer.byte_property(Property::MaximumQoS, self.maximum_qos.map(|qos| qos as u8));
        writer.flag_property(Property::RetainAvailable, self.retain_available);
        writer.u32_property(Property::MaximumPacketSize, self.maximum_packet_size.map(Into::into));
        writer.string_property(Property::AssignedClientIdentifier, self.assigned_client_id);
        writer.u16_property(Property::TopicAliasMaximum, self.topic_alias_maximum);
        writer.string_property(Property::ReasonString, self.reason_string);
        writer.flag_property(Property::WildcardSubscriptionAvailable, self.wildcard_subscription_available);
        writer.flag_property(Property::SubscriptionIdentifiersAvailable, self.subscription_ids_available);
        writer.flag_property(Property::SharedSubscriptionAvailable, self.shared_subscription_available);
        writer.u16_property(Property::ServerKeepAlive, self.server_keep_alive);
        writer.string_property(Property::ResponseInformation, self.response_information);
        writer.string_property(Property::ServerReference, self.server_reference);
        writer.string_property(Property::AuthenticationMethod, self.authentication_method);
        writer.binary_property(Property::AuthenticationData, self.authentication_data);
        self.user_properties.write(writer);
    }
}

/// Before 5.0 every error has a return code that comes near it.
fn check_connack_reason(reason: ReasonCode, version: Version) -> Result<(), EncodeError> {
    if version < Version::V5 && reason.is_error() {
        return Ok(());
    }
    check_reason(PacketType::ConnAck, reason)
}
