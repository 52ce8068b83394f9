//! SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK (§ 3.8 to 3.11). Never knows which subscriptions there are.

use super::{check_reason, encodable, finish, read_reason};
use crate::check;
use crate::property::{Block, Holder};
use crate::wire::{Reader, Writer};
use crate::{
    DecodeError, EncodeError, Field, List, PacketId, PacketType, Property, ReasonCode, SubscriptionId,
    SubscriptionOptions, TopicFilter, UserProperty, Version,
};

/// A request for subscriptions.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribe<'a> {
    /// Packet identifier.
    pub packet_id: PacketId,
    /// The identifier that comes back with every message these subscriptions match.
    pub subscription_id: Option<SubscriptionId>,
    /// User properties.
    pub user_properties: List<'a, UserProperty<'a>>,
    /// At least one [MQTT-3.8.3-2].
    pub filters: List<'a, SubscribeItem<'a>>,
}

/// One topic filter of a SUBSCRIBE with its options.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SubscribeItem<'a> {
    /// The topic filter, `$share/…` included.
    pub filter: TopicFilter<'a>,
    /// Its options.
    pub options: SubscriptionOptions,
}

/// The answer to SUBSCRIBE.
#[derive(Clone, Debug, PartialEq)]
pub struct SubAck<'a> {
    /// The packet identifier of the SUBSCRIBE [MQTT-3.8.4-2].
    pub packet_id: PacketId,
    /// Text for people.
    pub reason_string: Option<&'a str>,
    /// User properties.
    pub user_properties: List<'a, UserProperty<'a>>,
    /// One for each filter, in order [MQTT-3.9.3-1]. Encoding for 3.1.1 makes every failure 0x80
    /// [MQTT-3.9.3-2 of 3.1.1]; for 3.1, which has no failure, the caller must have replaced them.
    pub reasons: List<'a, ReasonCode>,
}

/// A request to end subscriptions.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsubscribe<'a> {
    /// Packet identifier.
    pub packet_id: PacketId,
    /// User properties.
    pub user_properties: List<'a, UserProperty<'a>>,
    /// At least one [MQTT-3.10.3-2].
    pub filters: List<'a, TopicFilter<'a>>,
}

/// The answer to UNSUBSCRIBE.
#[derive(Clone, Debug, PartialEq)]
pub struct UnsubAck<'a> {
    /// The packet identifier of the UNSUBSCRIBE [MQTT-3.10.4-5].
    pub packet_id: PacketId,
    /// Text for people.
    pub reason_string: Option<&'a str>,
    /// User properties.
    pub user_properties: List<'a, UserProperty<'a>>,
    /// One for each filter, in order [MQTT-3.11.3-1]; not sent before 5.0, and empty when decoded there.
    pub reasons: List<'a, ReasonCode>,
}

impl<'a> Subscribe<'a> {
    /// Decodes what follows the fixed header.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn decode(flags: u8, body: &'a [u8], version: Version) -> Result<Self, DecodeError> {
        let packet = PacketType::Subscribe;
        packet.check_flags(flags, version)?;
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        let mut subscription_id = None;
        let mut user_properties = List::default();
        if version == Version::V5 {
            let mut block = Block::read(&mut reader, Holder::Packet(packet))?;
            while let Some(property) = block.next()? {
                match property {
                    Property::SubscriptionIdentifier => {
                        subscription_id = Some(block.subscription_id()?);
                    }
                    _ => return Err(block.misplaced(property)),
                }
            }
            user_properties = block.user_properties();
        }
        let filters = List::from_encoded(reader.rest());
        if reader.is_empty() {
            // [MQTT-3.8.3-2], [MQTT-3.8.3-3 of 3.1.1]
            return Err(DecodeError::NoFilters(packet));
        }
        while !reader.is_empty() {
            let filter = reader.topic_filter()?;
            let bits = reader.u8(Field::SubscriptionOptions)?;
            if version == Version::V5 {
                check_options(bits, filter)?;
            } else if bits > SubscriptionOptions::MAX_BEFORE_V5 {
                // [MQTT-3.8.3-4 of 3.1.1]
                return Err(DecodeError::ReservedSubscriptionOptions(bits));
            }
        }
        Ok(Self { packet_id, subscription_id, user_properties, filters })
    }

    pub(super) fn check(&self, version: Version) -> Result<(), EncodeError> {
        if self.filters.is_empty() {
            // [MQTT-3.8.3-2], [MQTT-3.8.3-3 of 3.1.1]
            return Err(EncodeError::NoFilters(PacketType::Subscribe));
        }
        if version < Version::V5 {
            return Ok(());
        }
        let is_wrong = |item: &SubscribeItem<'_>| item.options.no_local && item.filter.share_name().is_some();
        if self.filters.unchecked().iter().any(is_wrong) {
            // [MQTT-3.8.3-4]
            return Err(EncodeError::NoLocalOnShared);
        }
        check::user_properties(&self.user_properties)
    }

    fn write(&self, version: Version, writer: &mut Writer<'_>) {
        writer.u16(self.packet_id.get());
        if version == Version::V5 {
            writer.block(|writer| {
                if let Some(id) = self.subscription_id {
                    writer.subscription_id_property(id);
                }
                self.user_properties.write(writer);
            });
        }
        for item in &self.filters {
            writer.binary(item.filter.as_str().as_bytes());
            let v5 = version == Version::V5;
            writer.u8(if v5 { item.options.to_bits() } else { item.options.qos as u8 });
        }
    }
}

impl<'a> SubAck<'a> {
    /// Decodes what follows the fixed header.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn decode(flags: u8, body: &'a [u8], version: Version) -> Result<Self, DecodeError> {
        let packet = PacketType::SubAck;
        let (packet_id, reason_string, user_properties, mut reader) =
            read_answer(packet, flags, body, version)?;
        let reasons = List::from_encoded(reader.rest());
        // One for each filter, of which there is at least one.
        loop {
            let reason = read_reason(packet, &mut reader)?;
            if !is_suback_code(reason, version) {
                return Err(DecodeError::ReasonCode { packet, code: reason.code() });
            }
            if reader.is_empty() {
                return Ok(Self { packet_id, reason_string, user_properties, reasons });
            }
        }
    }

    pub(super) fn check(&self, version: Version) -> Result<(), EncodeError> {
        let packet = PacketType::SubAck;
        check_reasons(packet, &self.reasons)?;
        match version {
            // There is no failure to say.
            Version::V3_1 => match self.reasons.iter().find(|reason| reason.is_error()) {
                Some(reason) => Err(EncodeError::ReasonCode { packet, reason }),
                None => Ok(()),
            },
            Version::V3_1_1 => Ok(()),
            Version::V5 => check::reason_properties(self.reason_string, &self.user_properties),
        }
    }

    fn write(&self, version: Version, writer: &mut Writer<'_>) {
        write_answer(self.packet_id, self.reason_string, &self.user_properties, version, writer);
        for reason in &self.reasons {
            // [MQTT-3.9.3-2 of 3.1.1]
            let vague = version < Version::V5 && reason.is_error();
            writer.u8(if vague { ReasonCode::UnspecifiedError.code() } else { reason.code() });
        }
    }
}

impl<'a> Unsubscribe<'a> {
    /// Decodes what follows the fixed header.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn decode(flags: u8, body: &'a [u8], version: Version) -> Result<Self, DecodeError> {
        let packet = PacketType::Unsubscribe;
        packet.check_flags(flags, version)?;
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        let mut user_properties = List::default();
        if version == Version::V5 {
            let mut block = Block::read(&mut reader, Holder::Packet(packet))?;
            if let Some(property) = block.next()? {
                return Err(block.misplaced(property));
            }
            user_properties = block.user_properties();
        }
        let filters = List::from_encoded(reader.rest());
        if reader.is_empty() {
            // [MQTT-3.10.3-2]
            return Err(DecodeError::NoFilters(packet));
        }
        while !reader.is_empty() {
            reader.topic_filter()?;
        }
        Ok(Self { packet_id, user_properties, filters })
    }

    pub(super) fn check(&self, version: Version) -> Result<(), EncodeError> {
        if self.filters.is_empty() {
            // [MQTT-3.10.3-2]
            return Err(EncodeError::NoFilters(PacketType::Unsubscribe));
        }
        if version < Version::V5 { Ok(()) } else { check::user_properties(&self.user_properties) }
    }

    fn write(&self, version: Version, writer: &mut Writer<'_>) {
        writer.u16(self.packet_id.get());
        if version == Version::V5 {
            writer.block(|writer| self.user_properties.write(writer));
        }
        for filter in &self.filters {
            writer.binary(filter.as_str().as_bytes());
        }
    }
}

impl<'a> UnsubAck<'a> {
    /// Decodes what follows the fixed header.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn decode(flags: u8, body: &'a [u8], version: Version) -> Result<Self, DecodeError> {
        let packet = PacketType::UnsubAck;
        let (packet_id, reason_string, user_properties, mut reader) =
            read_answer(packet, flags, body, version)?;
        let reasons = List::from_encoded(reader.rest());
        if version < Version::V5 {
            finish(packet, reader)?;
        } else {
            // One for each filter, of which there is at least one.
            read_reason(packet, &mut reader)?;
            while !reader.is_empty() {
                read_reason(packet, &mut reader)?;
            }
        }
        Ok(Self { packet_id, reason_string, user_properties, reasons })
    }

    pub(super) fn check(&self, version: Version) -> Result<(), EncodeError> {
        if version < Version::V5 {
            return Ok(());
        }
        check_reasons(PacketType::UnsubAck, &self.reasons)?;
        check::reason_properties(self.reason_string, &self.user_properties)
    }

    fn write(&self, version: Version, writer: &mut Writer<'_>) {
        write_answer(self.packet_id, self.reason_string, &self.user_properties, version, writer);
        if version == Version::V5 {
            for reason in &self.reasons {
                writer.u8(reason.code());
            }
        }
    }
}

encodable!(Subscribe);
encodable!(SubAck);
encodable!(Unsubscribe);
encodable!(UnsubAck);

/// The options of one filter as 5.0 has them.
fn check_options(bits: u8, filter: TopicFilter<'_>) -> Result<(), DecodeError> {
    if bits & SubscriptionOptions::RESERVED != 0 {
        // [MQTT-3.8.3-5]
        return Err(DecodeError::ReservedSubscriptionOptions(bits));
    }
    match SubscriptionOptions::from_bits(bits) {
        None if bits & SubscriptionOptions::QOS == SubscriptionOptions::QOS => {
            Err(DecodeError::SubscriptionQoS)
        }
        None => Err(DecodeError::RetainHandling),
        // [MQTT-3.8.3-4]
        Some(options) if options.no_local && filter.share_name().is_some() => {
            Err(DecodeError::NoLocalOnShared)
        }
        Some(_) => Ok(()),
    }
}

/// What SUBACK and UNSUBACK have before their reason codes.
type Answer<'a> = (PacketId, Option<&'a str>, List<'a, UserProperty<'a>>, Reader<'a>);

fn read_answer(
    packet: PacketType,
    flags: u8,
    body: &[u8],
    version: Version,
) -> Result<Answer<'_>, DecodeError> {
    packet.check_flags(flags, version)?;
    let mut reader = Reader::new(body);
    let packet_id = reader.packet_id()?;
    if version < Version::V5 {
        return Ok((packet_id, None, List::default(), reader));
    }
    let mut block = Block::read(&mut reader, Holder::Packet(packet))?;
    let reason_string = block.reason_string()?;
    Ok((packet_id, reason_string, block.user_properties(), reader))
}

fn write_answer(
    packet_id: PacketId,
    reason_string: Option<&str>,
    user_properties: &List<'_, UserProperty<'_>>,
    version: Version,
    writer: &mut Writer<'_>,
) {
    writer.u16(packet_id.get());
    if version == Version::V5 {
        writer.block(|writer| {
            writer.string_property(Property::ReasonString, reason_string);
            user_properties.write(writer);
        });
    }
}

fn check_reasons(packet: PacketType, reasons: &List<'_, ReasonCode>) -> Result<(), EncodeError> {
    if reasons.is_empty() {
        return Err(EncodeError::NoReasons(packet));
    }
    reasons.iter().try_for_each(|reason| check_reason(packet, reason))
}

/// Whether `version` has this code in SUBACK, given that 5.0 has it.
const fn is_suback_code(reason: ReasonCode, version: Version) -> bool {
    match version {
        Version::V3_1 => !reason.is_error(),
        // [MQTT-3.9.3-2 of 3.1.1]
        Version::V3_1_1 => !reason.is_error() || matches!(reason, ReasonCode::UnspecifiedError),
        Version::V5 => true,
    }
}
