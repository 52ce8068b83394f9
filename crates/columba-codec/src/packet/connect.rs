//! CONNECT (§ 3.1). Finds out the version by itself; whether the client is welcome is never asked here.

use std::num::{NonZeroU16, NonZeroU32};

use super::{body_len, encode_body, finish};
use crate::check;
use crate::property::{Block, Holder};
use crate::wire::{Reader, Writer};
use crate::{
    DecodeError, EncodeError, Field, List, MessageProperties, PacketType, Property, QoS, TopicName,
    UserProperty, Version,
};

/// The first packet of a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Connect<'a> {
    /// The version asked for.
    pub version: Version,
    /// Bit 7 of the protocol level, by which some bridges announce themselves (not in any standard).
    pub bridge: bool,
    /// Clean Start of 5.0, Clean Session of 3.1 and 3.1.1.
    pub clean_start: bool,
    /// Seconds; 0 switches keep alive off.
    pub keep_alive: u16,
    /// May be empty where the version allows it: the server then assigns one.
    pub client_id: &'a str,
    /// The will, if the client leaves one.
    pub will: Option<Will<'a>>,
    /// User name.
    pub username: Option<&'a str>,
    /// Password: any bytes.
    pub password: Option<&'a [u8]>,
    /// Properties of 5.0; the default for other versions.
    pub properties: ConnectProperties<'a>,
}

/// Properties of CONNECT.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectProperties<'a> {
    /// Seconds the session outlives the connection; `0xFFFF_FFFF`: for ever. Absent means 0.
    pub session_expiry: Option<u32>,
    /// How many QoS 1 and 2 messages may be unacknowledged towards the client. Absent means 65,535.
    pub receive_maximum: Option<NonZeroU16>,
    /// The largest packet the client takes, in bytes with fixed header. Absent means no limit.
    pub maximum_packet_size: Option<NonZeroU32>,
    /// The highest topic alias the server may use. Absent means 0.
    pub topic_alias_maximum: Option<u16>,
    /// Whether the client asks for Response Information. Absent means no.
    pub request_response_information: Option<bool>,
    /// Whether reason strings and user properties are welcome on every packet. Absent means yes.
    pub request_problem_information: Option<bool>,
    /// Name of the enhanced authentication method.
    pub authentication_method: Option<&'a str>,
    /// Data of that method.
    pub authentication_data: Option<&'a [u8]>,
    /// User properties.
    pub user_properties: List<'a, UserProperty<'a>>,
}

/// The message to publish when the connection ends without a normal DISCONNECT.
#[derive(Clone, Debug, PartialEq)]
pub struct Will<'a> {
    /// Where it is published.
    pub topic: TopicName<'a>,
    /// What is published.
    pub payload: &'a [u8],
    /// At which QoS.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// Seconds between the end of the connection and the publication. Absent means 0.
    pub delay: Option<u32>,
    /// Properties that are published with it.
    pub properties: MessageProperties<'a>,
}

/// The protocol name of 3.1.1 and 5.0 [MQTT-3.1.2-1].
const NAME: &[u8] = b"MQTT";

/// The protocol name of 3.1.
const NAME_V3_1: &[u8] = b"MQIsdp";

/// By this bit of the protocol level bridges announce themselves.
const BRIDGE: u8 = 0x80;

/// The Connect Flags.
#[derive(Clone, Copy)]
struct Flags(u8);

impl<'a> Connect<'a> {
    /// A CONNECT with a clean start and without keep alive, will, user name, password and properties.
    pub fn new(version: Version, client_id: &'a str) -> Self {
        Self {
            version,
            bridge: false,
            clean_start: true,
            keep_alive: 0,
            client_id,
            will: None,
            username: None,
            password: None,
            properties: ConnectProperties::default(),
        }
    }

    /// Decodes what follows the fixed header.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn decode(flags: u8, body: &'a [u8]) -> Result<Self, DecodeError> {
        let packet = PacketType::Connect;
        let mut reader = Reader::new(body);
        // First of all, as an unknown version may mean anything by the rest [MQTT-3.1.2-2], [MQTT-3.1.2-2 of 3.1.1].
        let (version, bridge) = read_protocol(&mut reader)?;
        packet.check_flags(flags, version)?;
        let flags = Flags(reader.u8(Field::ConnectFlags)?);
        flags.check(version)?;
        let keep_alive = reader.u16(Field::KeepAlive)?;
        let properties = match version {
            Version::V5 => ConnectProperties::decode(&mut reader)?,
            _ => ConnectProperties::default(),
        };
        // The payload, in this order [MQTT-3.1.3-1]. The client id is there, even if it is empty [MQTT-3.1.3-3],
        // [MQTT-3.1.3-4].
        let client_id = reader.string(Field::ClientId)?;
        // [MQTT-3.1.2-9], [MQTT-3.1.2-9 of 3.1.1]
        let will =
            if flags.has(Flags::WILL) { Some(Will::decode(flags, version, &mut reader)?) } else { None };
        // 3.1 lets a packet end before a user name or password that its flags announce.
        let is_there = |reader: &Reader<'_>| version > Version::V3_1 || !reader.is_empty();
        let mut username = None;
        if flags.has(Flags::USERNAME) && is_there(&reader) {
            // [MQTT-3.1.2-17], [MQTT-3.1.3-12]; [MQTT-3.1.2-19 of 3.1.1], [MQTT-3.1.3-11 of 3.1.1]
            username = Some(reader.string(Field::Username)?);
        }
        let mut password = None;
        if flags.has(Flags::PASSWORD) && is_there(&reader) {
            // [MQTT-3.1.2-19], [MQTT-3.1.2-21 of 3.1.1]
            password = Some(reader.binary(Field::Password)?);
        }
        // [MQTT-3.1.2-16], [MQTT-3.1.2-18]; [MQTT-3.1.2-18 of 3.1.1], [MQTT-3.1.2-20 of 3.1.1]
        finish(packet, reader)?;
        let clean_start = flags.has(Flags::CLEAN_START);
        Ok(Self { version, bridge, clean_start, keep_alive, client_id, will, username, password, properties })
    }

    /// Appends the encoded packet to `out`, for the version it asks for; what that does not have is left out.
    ///
    /// # Errors
    /// What cannot be encoded; nothing has been appended then.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.check()?;
        encode_body(PacketType::Connect.first_byte(), out, |writer| self.write(writer))
    }

    /// Length of the encoded packet in bytes. For a packet that cannot be encoded the number means nothing.
    pub fn encoded_len(&self) -> usize {
        body_len(|writer| self.write(writer))
    }

    pub(super) fn check(&self) -> Result<(), EncodeError> {
        check::string(Field::ClientId, self.client_id)?;
        if let Some(username) = self.username {
            check::string(Field::Username, username)?;
        }
        if let Some(password) = self.password {
            check::binary(Field::Password, password)?;
            if self.username.is_none() && self.version < Version::V5 {
                // [MQTT-3.1.2-22 of 3.1.1]
                return Err(EncodeError::PasswordWithoutUsername);
            }
        }
        if let Some(will) = &self.will {
            will.check(self.version)?;
        }
        if self.version == Version::V5 { self.properties.check() } else { Ok(()) }
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.binary(if self.version == Version::V3_1 { NAME_V3_1 } else { NAME });
        writer.u8(self.version.level() | if self.bridge { BRIDGE } else { 0 });
        writer.u8(Flags::of(self).0);
        writer.u16(self.keep_alive);
        if self.version == Version::V5 {
            writer.block(|writer| self.properties.write(writer));
        }
        writer.binary(self.client_id.as_bytes());
        if let Some(will) = &self.will {
            will.write(self.version, writer);
        }
        if let Some(username) = self.username {
            writer.binary(username.as_bytes());
        }
        if let Some(password) = self.password {
            writer.binary(password);
        }
    }
}

impl<'a> ConnectProperties<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut properties = Self::default();
        let mut block = Block::read(reader, Holder::Packet(PacketType::Connect))?;
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
            Property::MaximumPacketSize => self.maximum_packet_size = Some(block.nonzero_u32()?),
            Property::TopicAliasMaximum => self.topic_alias_maximum = Some(block.u16()?),
            Property::RequestResponseInformation => {
                self.request_response_information = Some(block.flag()?);
            }
            Property::RequestProblemInformation => {
                self.request_problem_information = Some(block.flag()?);
            }
            Property::AuthenticationMethod => self.authentication_method = Some(block.string()?),
            Property::AuthenticationData => self.authentication_data = Some(block.binary()?),
            _ => return Err(block.misplaced(property)),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), EncodeError> {
        check::authentication(self.authentication_method, self.authentication_data)?;
        if self.authentication_data.is_some() && self.authentication_method.is_none() {
            return Err(EncodeError::AuthenticationDataWithoutMethod);
        }
        check::user_properties(&self.user_properties)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.u32_property(Property::SessionExpiryInterval, self.session_expiry);
        writer.u16_property(Property::ReceiveMaximum, self.receive_maximum.map(Into::into));
        writer.u32_property(Property::MaximumPacketSize, self.maximum_packet_size.map(Into::into));
        writer.u16_property(Property::TopicAliasMaximum, self.topic_alias_maximum);
        writer.flag_property(Property::RequestResponseInformation, self.request_response_information);
        writer.flag_property(Property::RequestProblemInformation, self.request_problem_information);
        writer.string_property(Property::AuthenticationMethod, self.authentication_method);
        writer.binary_property(Property::AuthenticationData, self.authentication_data);
        self.user_properties.write(writer);
    }
}

impl<'a> Will<'a> {
    fn decode(flags: Flags, version: Version, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        // [MQTT-3.1.2-12], [MQTT-3.1.2-14 of 3.1.1]
        let qos = QoS::from_u8(flags.will_qos()).ok_or(DecodeError::WillQoS)?;
        let mut delay = None;
        let mut properties = MessageProperties::default();
        if version == Version::V5 {
            let mut block = Block::read(reader, Holder::Will)?;
            while let Some(property) = block.next()? {
                if property == Property::WillDelayInterval {
                    delay = Some(block.u32()?);
                } else if !properties.take(property, &mut block)? {
                    return Err(block.misplaced(property));
                }
            }
            properties.user_properties = block.user_properties();
        }
        // [MQTT-3.1.3-11], [MQTT-3.1.3-10 of 3.1.1]
        let topic = reader.topic_name(Field::WillTopic)?;
        let payload = reader.binary(Field::WillPayload)?;
        Ok(Self { topic, payload, qos, retain: flags.has(Flags::WILL_RETAIN), delay, properties })
    }

    fn check(&self, version: Version) -> Result<(), EncodeError> {
        check::binary(Field::WillPayload, self.payload)?;
        if version == Version::V5 { self.properties.check() } else { Ok(()) }
    }

    fn write(&self, version: Version, writer: &mut Writer<'_>) {
        if version == Version::V5 {
            writer.block(|writer| {
                writer.u32_property(Property::WillDelayInterval, self.delay);
                self.properties.write(writer);
            });
        }
        writer.binary(self.topic.as_str().as_bytes());
        writer.binary(self.payload);
    }
}

impl Flags {
    const USERNAME: u8 = 1 << 7;
    const PASSWORD: u8 = 1 << 6;
    const WILL_RETAIN: u8 = 1 << 5;
    const WILL_QOS: u8 = 3 << 3;
    const WILL: u8 = 1 << 2;
    const CLEAN_START: u8 = 1 << 1;
    const RESERVED: u8 = 1;

    /// What the flags alone can break. In 3.1 bit 0 and those about a will that there is not mean nothing.
    fn check(self, version: Version) -> Result<(), DecodeError> {
        if version < Version::V5 && self.has(Self::PASSWORD) && !self.has(Self::USERNAME) {
            // [MQTT-3.1.2-22 of 3.1.1]
            return Err(DecodeError::PasswordWithoutUsername);
        }
        if version == Version::V3_1 {
            return Ok(());
        }
        if self.has(Self::RESERVED) {
            // [MQTT-3.1.2-3], [MQTT-3.1.2-3 of 3.1.1]
            return Err(DecodeError::ReservedConnectFlag);
        }
        if !self.has(Self::WILL) && self.has(Self::WILL_QOS | Self::WILL_RETAIN) {
            // [MQTT-3.1.2-11], [MQTT-3.1.2-13]; [MQTT-3.1.2-11 of 3.1.1], [MQTT-3.1.2-13 of 3.1.1],
            // [MQTT-3.1.2-15 of 3.1.1]
            return Err(DecodeError::WillFlagsWithoutWill);
        }
        Ok(())
    }

    fn of(connect: &Connect<'_>) -> Self {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let will = connect
            .will
            .as_ref()
            .map_or(0, |will| Self::WILL | flag(will.retain, Self::WILL_RETAIN) | (will.qos as u8) << 3);
        Self(
            will | flag(connect.username.is_some(), Self::USERNAME)
                | flag(connect.password.is_some(), Self::PASSWORD)
                | flag(connect.clean_start, Self::CLEAN_START),
        )
    }

    /// Whether any of these is set.
    const fn has(self, flags: u8) -> bool {
        self.0 & flags != 0
    }

    const fn will_qos(self) -> u8 {
        (self.0 & Self::WILL_QOS) >> 3
    }
}

/// Protocol name and level: the version, and whether a bridge speaks.
fn read_protocol(reader: &mut Reader<'_>) -> Result<(Version, bool), DecodeError> {
    let name = reader.binary(Field::ProtocolName)?;
    if name != NAME && name != NAME_V3_1 {
        // [MQTT-3.1.2-1]
        return Err(DecodeError::ForeignProtocol);
    }
    let level = reader.u8(Field::ProtocolLevel)?;
    let version = match (name == NAME, level & !BRIDGE) {
        (false, 3) => Version::V3_1,
        (true, 4) => Version::V3_1_1,
        (true, 5) => Version::V5,
        // [MQTT-3.1.2-2]; name and level are judged together.
        _ => return Err(DecodeError::UnsupportedVersion { level }),
    };
    Ok((version, level & BRIDGE != 0))
}
