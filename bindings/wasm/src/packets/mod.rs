//! Packets as plain JavaScript objects, in the form that mqtt-packet has made common, and back. Owns the names of the
//! fields; what makes a packet valid is the codec's to say.

mod properties;
mod read;
mod write;

use std::num::NonZeroU16;

use columba_codec::{FixedHeader, List, MessageProperties, Packet, PacketType, SubscriptionId, Version};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsError, JsValue};

pub(crate) use read::encode_packet;

use properties::{Properties, PropertyRecord};

/// The packet that `bytes` are, as an object.
///
/// # Errors
/// Says what is wrong if the bytes are not exactly one whole, well-formed packet.
#[wasm_bindgen(js_name = decodePacket)]
pub fn decode_packet_js(version: u8, bytes: &[u8]) -> Result<JsValue, JsError> {
    decode_packet(version_of(version.into())?, bytes)
}

/// The bytes of a packet that is given as an object.
///
/// # Errors
/// Says which field is wrong, and why.
#[wasm_bindgen(js_name = encodePacket)]
pub fn encode_packet_js(version: u8, packet: &JsValue) -> Result<Vec<u8>, JsError> {
    encode_packet(version_of(version.into())?, packet)
}

/// The packet that `bytes` are, as an object.
pub(crate) fn decode_packet(version: Version, bytes: &[u8]) -> Result<JsValue, JsError> {
    let error = |text: String| Err(JsError::new(&text));
    let Some(header) = FixedHeader::read(bytes, usize::MAX)? else {
        return error(format!("{} bytes are not a whole packet", bytes.len()));
    };
    match bytes.len().checked_sub(header.total()) {
        None => error(format!("the packet has {} bytes, and {} are here", header.total(), bytes.len())),
        Some(0) => {
            let packet = Packet::decode(header, &bytes[header.len..], version)?;
            Ok(write::object(&packet, version, header.remaining))
        }
        Some(more) => error(format!("{more} bytes follow after the packet")),
    }
}

/// The packet as an object, with the length that it has when it is encoded.
pub(crate) fn to_js(packet: &Packet<'_>, version: Version) -> JsValue {
    let total = packet.encoded_len(version);
    // The fixed header has a byte, and one more for each seven bits of what remains.
    let header = match total {
        0..=129 => 2,
        130..=16_386 => 3,
        16_387..=2_097_155 => 4,
        _ => 5,
    };
    write::object(packet, version, total - header)
}

/// The version with this protocol level.
pub(crate) fn version_of(level: u64) -> Result<Version, JsError> {
    let versions = [Version::V3_1, Version::V3_1_1, Version::V5];
    let version = versions.into_iter().find(|version| u64::from(version.level()) == level);
    version.ok_or_else(|| JsError::new("the version has to be 3 (MQTT 3.1), 4 (3.1.1) or 5 (5.0)"))
}

/// The properties of a message as an object, which is empty if there are none.
pub(crate) fn message_properties_to_js(
    properties: &MessageProperties<'_>,
    subscription_ids: List<'_, SubscriptionId>,
    topic_alias: Option<NonZeroU16>,
) -> JsValue {
    let mut record = PropertyRecord::default();
    record.message(properties, topic_alias, subscription_ids);
    record.into_value()
}

/// Reads user properties: an object whose values are strings or arrays of strings.
pub(crate) fn user_properties(value: &JsValue) -> Result<Vec<(String, String)>, JsError> {
    properties::read_users(value)
}

/// Reads the properties of a message from an object; undefined and null are none.
pub(crate) fn message_properties_from_js(value: &JsValue) -> Result<OwnedProperties, JsError> {
    let properties = Properties::of(value)?;
    let users = properties.users();
    let mut owned = OwnedProperties {
        topic_alias: properties.topic_alias()?,
        subscription_ids: properties.subscription_ids()?,
        ..OwnedProperties::default()
    };
    let message = properties.message(&users)?;
    properties.finish("a message")?;
    message.check()?;
    message.encode_forwarded(&mut owned.forwarded);
    owned.message_expiry = message.message_expiry;
    Ok(owned)
}

/// Properties of a message that are valid and borrow nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnedProperties {
    pub(crate) topic_alias: Option<NonZeroU16>,
    pub(crate) subscription_ids: Vec<SubscriptionId>,
    message_expiry: Option<u32>,
    /// All others, as the codec writes them.
    forwarded: Vec<u8>,
}

impl OwnedProperties {
    /// The properties that travel with the message.
    pub(crate) fn lend(&self) -> MessageProperties<'_> {
        // The codec reads what it wrote.
        let properties = MessageProperties::decode_forwarded(&self.forwarded).unwrap_or_default();
        MessageProperties { message_expiry: self.message_expiry, ..properties }
    }
}

/// What `cmd` says.
fn command(packet_type: PacketType) -> String {
    packet_type.name().to_ascii_lowercase()
}
