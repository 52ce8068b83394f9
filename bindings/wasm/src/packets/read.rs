//! Objects to packets, and at once to bytes: a packet borrows what was read.

use columba_codec::{
    Ack, Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect, List, Packet, PacketId,
    PacketType, Property, Publish, QoS, ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeItem,
    SubscriptionOptions, TopicError, TopicFilter, TopicName, UnsubAck, Unsubscribe, Version, Will,
};
use wasm_bindgen::{JsError, JsValue};

use super::properties::Properties;
use super::{command, version_of};
use crate::value::{boolean, bytes, field, list, number, string, unsigned_16, wrong};

type Encoded = Result<Vec<u8>, JsError>;

/// The bytes of a packet that is given as an object. A CONNECT that says its version has that one.
pub(crate) fn encode_packet(version: Version, object: &JsValue) -> Encoded {
    let name = needed("cmd", string(object, "cmd")?)?;
    let mut types = (0..=u8::MAX).filter_map(PacketType::from_u8);
    let packet_type = types
        .find(|&packet_type| command(packet_type) == name)
        .ok_or_else(|| JsError::new(&format!("cmd cannot be '{name}'")))?;
    let version = match number(object, "protocolVersion", u64::MAX)? {
        Some(level) if packet_type == PacketType::Connect => version_of(level)?,
        _ => version,
    };
    let source = Source { object, version, packet_type, properties: Properties::read(object, version)? };
    match packet_type {
        PacketType::Connect => source.connect(),
        PacketType::ConnAck => source.connack(),
        PacketType::Publish => source.publish(),
        PacketType::PubAck | PacketType::PubRec | PacketType::PubRel | PacketType::PubComp => source.ack(),
        PacketType::Subscribe => source.subscribe(),
        PacketType::SubAck => source.suback(),
        PacketType::Unsubscribe => source.unsubscribe(),
        PacketType::UnsubAck => source.unsuback(),
        PacketType::PingReq => source.encode(&Packet::PingReq),
        PacketType::PingResp => source.encode(&Packet::PingResp),
        PacketType::Disconnect => source.disconnect(),
        PacketType::Auth => source.auth(),
    }
}

/// What a packet is made from.
struct Source<'a> {
    object: &'a JsValue,
    version: Version,
    packet_type: PacketType,
    properties: Properties,
}

impl Source<'_> {
    fn connect(&self) -> Encoded {
        let object = self.object;
        let name = if self.version == Version::V3_1 { "MQIsdp" } else { "MQTT" };
        if string(object, "protocolId")?.is_some_and(|id| id != name) {
            return Err(wrong("protocolId", &format!("{name} in {}", self.version)));
        }
        let client_id = string(object, "clientId")?.unwrap_or_default();
        let username = string(object, "username")?;
        let password = bytes(object, "password")?;
        let will = field(object, "will").unwrap_or_default();
        let will_topic = string(&will, "topic")?;
        let will_payload = bytes(&will, "payload")?.unwrap_or_default();
        let will_properties = Properties::read(&will, self.version)?;
        let will_users = will_properties.users();
        let users = self.properties.users();
        let mut connect = Connect::new(self.version, &client_id);
        connect.bridge = boolean(object, "bridgeMode")?.unwrap_or(false);
        connect.clean_start = boolean(object, "clean")?.unwrap_or(true);
        connect.keep_alive = unsigned_16(object, "keepalive")?.unwrap_or(0);
        connect.username = username.as_deref();
        connect.password = password.as_deref();
        connect.properties = self.connect_properties()?;
        connect.properties.user_properties = List::from_slice(&users);
        if !will.is_undefined() {
            let topic = needed("will.topic", will_topic.as_deref())?;
            let topic = TopicName::parse(topic).map_err(|error| broken("will.topic", error))?;
            connect.will = Some(Will {
                topic,
                payload: &will_payload,
                qos: qos(&will)?,
                retain: boolean(&will, "retain")?.unwrap_or(false),
                delay: will_properties.unsigned_32(Property::WillDelayInterval)?,
                properties: will_properties.message(&will_users)?,
            });
            will_properties.finish("a will")?;
        }
        self.encode(&Packet::Connect(Box::new(connect)))
    }

    fn connect_properties(&self) -> Result<ConnectProperties<'_>, JsError> {
        let from = &self.properties;
        Ok(ConnectProperties {
            session_expiry: from.unsigned_32(Property::SessionExpiryInterval)?,
            receive_maximum: from.nonzero_16(Property::ReceiveMaximum)?,
            maximum_packet_size: from.nonzero_32(Property::MaximumPacketSize)?,
            topic_alias_maximum: from.unsigned_16(Property::TopicAliasMaximum)?,
            request_response_information: from.flag(Property::RequestResponseInformation)?,
            request_problem_information: from.flag(Property::RequestProblemInformation)?,
            authentication_method: from.text(Property::AuthenticationMethod)?,
            authentication_data: from.bytes(Property::AuthenticationData)?,
            user_properties: List::EMPTY,
        })
    }

    fn connack(&self) -> Encoded {
        let users = self.properties.users();
        let reason = if self.version == Version::V5 {
            needed("reasonCode", self.reason()?)?
        } else {
            let code = needed("returnCode", number(self.object, "returnCode", 5)?)?;
            ReasonCode::from_return_code(code as u8).unwrap_or(ReasonCode::Success)
        };
        let mut properties = self.connack_properties()?;
        properties.user_properties = List::from_slice(&users);
        let session_present = boolean(self.object, "sessionPresent")?.unwrap_or(false);
        self.encode(&Packet::ConnAck(Box::new(ConnAck { session_present, reason, properties })))
    }

    fn connack_properties(&self) -> Result<ConnAckProperties<'_>, JsError> {
        let from = &self.properties;
        let maximum_qos = from.number(Property::MaximumQoS, 0, 1)?;
        Ok(ConnAckProperties {
            session_expiry: from.unsigned_32(Property::SessionExpiryInterval)?,
            receive_maximum: from.nonzero_16(Property::ReceiveMaximum)?,
            maximum_qos: maximum_qos.and_then(|qos| QoS::from_u8(qos as u8)),
            retain_available: from.flag(Property::RetainAvailable)?,
            maximum_packet_size: from.nonzero_32(Property::MaximumPacketSize)?,
            assigned_client_id: from.text(Property::AssignedClientIdentifier)?,
            topic_alias_maximum: from.unsigned_16(Property::TopicAliasMaximum)?,
            reason_string: from.text(Property::ReasonString)?,
            wildcard_subscription_available: from.flag(Property::WildcardSubscriptionAvailable)?,
            subscription_ids_available: from.flag(Property::SubscriptionIdentifiersAvailable)?,
            shared_subscription_available: from.flag(Property::SharedSubscriptionAvailable)?,
            server_keep_alive: from.unsigned_16(Property::ServerKeepAlive)?,
            response_information: from.text(Property::ResponseInformation)?,
            server_reference: from.text(Property::ServerReference)?,
            authentication_method: from.text(Property::AuthenticationMethod)?,
            authentication_data: from.bytes(Property::AuthenticationData)?,
            user_properties: List::EMPTY,
        })
    }

    fn publish(&self) -> Encoded {
        let object = self.object;
        let topic = string(object, "topic")?.unwrap_or_default();
        // Without a topic there has to be an alias, as the codec knows.
        let topic = match topic.as_str() {
            "" => None,
            topic => Some(TopicName::parse(topic).map_err(|error| broken("topic", error))?),
        };
        let payload = bytes(object, "payload")?.unwrap_or_default();
        let qos = qos(object)?;
        let users = self.properties.users();
        let ids = self.properties.subscription_ids()?;
        self.encode(&Packet::Publish(Publish {
            dup: boolean(object, "dup")?.unwrap_or(false),
            qos,
            retain: boolean(object, "retain")?.unwrap_or(false),
            topic,
            // Clients number their messages before they know whether a number is needed.
            packet_id: if qos == QoS::AtMostOnce { None } else { Some(self.packet_id()?) },
            topic_alias: self.properties.topic_alias()?,
            subscription_ids: List::from_slice(&ids),
            properties: self.properties.message(&users)?,
            payload: &payload,
        }))
    }

    fn ack(&self) -> Encoded {
        let users = self.properties.users();
        let ack = Ack {
            packet_id: self.packet_id()?,
            reason: self.reason()?.unwrap_or(ReasonCode::Success),
            reason_string: self.properties.text(Property::ReasonString)?,
            user_properties: List::from_slice(&users),
        };
        self.encode(&match self.packet_type {
            PacketType::PubRec => Packet::PubRec(ack),
            PacketType::PubRel => Packet::PubRel(ack),
            PacketType::PubComp => Packet::PubComp(ack),
            _ => Packet::PubAck(ack),
        })
    }

    fn subscribe(&self) -> Encoded {
        let item = |object: &JsValue| -> Result<(String, SubscriptionOptions), JsError> {
            let rh = number(object, "rh", 2)?.unwrap_or(0);
            let options = SubscriptionOptions {
                qos: qos(object)?,
                no_local: boolean(object, "nl")?.unwrap_or(false),
                retain_as_published: boolean(object, "rap")?.unwrap_or(false),
                retain_handling: RetainHandling::from_u8(rh as u8).unwrap_or_default(),
            };
            Ok((needed("subscriptions[].topic", string(object, "topic")?)?, options))
        };
        let items = list(self.object, "subscriptions")?;
        let items = items.iter().map(item).collect::<Result<Vec<_>, _>>()?;
        let mut filters = Vec::with_capacity(items.len());
        for (topic, options) in &items {
            filters.push(SubscribeItem { filter: filter(topic)?, options: *options });
        }
        let users = self.properties.users();
        let id = match self.properties.subscription_ids()?.as_slice() {
            [] => None,
            [id] => Some(*id),
            _ => return Err(wrong("subscriptionIdentifier", "one number")),
        };
        self.encode(&Packet::Subscribe(Subscribe {
            packet_id: self.packet_id()?,
            subscription_id: id,
            user_properties: List::from_slice(&users),
            filters: List::from_slice(&filters),
        }))
    }

    fn suback(&self) -> Encoded {
        let users = self.properties.users();
        let reasons = self.granted()?;
        self.encode(&Packet::SubAck(SubAck {
            packet_id: self.packet_id()?,
            reason_string: self.properties.text(Property::ReasonString)?,
            user_properties: List::from_slice(&users),
            reasons: List::from_slice(&reasons),
        }))
    }

    fn unsubscribe(&self) -> Encoded {
        let texts = list(self.object, "unsubscriptions")?.iter().map(JsValue::as_string).collect();
        let texts: Option<Vec<String>> = texts;
        let texts = texts.ok_or_else(|| wrong("unsubscriptions", "an array of strings"))?;
        let filters = texts.iter().map(|text| filter(text)).collect::<Result<Vec<_>, _>>()?;
        let users = self.properties.users();
        self.encode(&Packet::Unsubscribe(Unsubscribe {
            packet_id: self.packet_id()?,
            user_properties: List::from_slice(&users),
            filters: List::from_slice(&filters),
        }))
    }

    fn unsuback(&self) -> Encoded {
        let users = self.properties.users();
        let reasons = self.granted()?;
        self.encode(&Packet::UnsubAck(UnsubAck {
            packet_id: self.packet_id()?,
            reason_string: self.properties.text(Property::ReasonString)?,
            user_properties: List::from_slice(&users),
            reasons: List::from_slice(&reasons),
        }))
    }

    fn disconnect(&self) -> Encoded {
        let users = self.properties.users();
        self.encode(&Packet::Disconnect(Disconnect {
            reason: self.reason()?.unwrap_or(ReasonCode::Success),
            session_expiry: self.properties.unsigned_32(Property::SessionExpiryInterval)?,
            server_reference: self.properties.text(Property::ServerReference)?,
            reason_string: self.properties.text(Property::ReasonString)?,
            user_properties: List::from_slice(&users),
        }))
    }

    fn auth(&self) -> Encoded {
        let users = self.properties.users();
        self.encode(&Packet::Auth(Auth {
            reason: self.reason()?.unwrap_or(ReasonCode::Success),
            method: self.properties.text(Property::AuthenticationMethod)?,
            data: self.properties.bytes(Property::AuthenticationData)?,
            reason_string: self.properties.text(Property::ReasonString)?,
            user_properties: List::from_slice(&users),
        }))
    }

    fn packet_id(&self) -> Result<PacketId, JsError> {
        let id = needed("messageId", unsigned_16(self.object, "messageId")?)?;
        PacketId::new(id).ok_or_else(|| wrong("messageId", "from 1 to 65535"))
    }

    fn reason(&self) -> Result<Option<ReasonCode>, JsError> {
        let Some(code) = number(self.object, "reasonCode", 255)? else { return Ok(None) };
        let reason = ReasonCode::from_u8(code as u8);
        reason.map(Some).ok_or_else(|| JsError::new(&format!("reasonCode cannot be {code}")))
    }

    fn granted(&self) -> Result<Vec<ReasonCode>, JsError> {
        let code = |value: &JsValue| {
            let is_it = |reason: &&ReasonCode| value.as_f64() == Some(f64::from(reason.code()));
            let reason = ReasonCode::ALL.iter().find(is_it);
            reason.copied().ok_or_else(|| wrong("granted", "an array of reason codes"))
        };
        list(self.object, "granted")?.iter().map(code).collect()
    }

    /// When all has been read: a property that was not taken has no place in this packet.
    fn encode(&self, packet: &Packet<'_>) -> Encoded {
        self.properties.finish(self.packet_type.name())?;
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes)?;
        Ok(bytes)
    }
}

fn needed<T>(name: &str, value: Option<T>) -> Result<T, JsError> {
    value.ok_or_else(|| JsError::new(&format!("{name} is missing")))
}

fn broken(name: &str, error: TopicError) -> JsError {
    JsError::new(&format!("{name} {error}"))
}

fn qos(object: &JsValue) -> Result<QoS, JsError> {
    let qos = number(object, "qos", 2)?;
    Ok(qos.and_then(|qos| QoS::from_u8(qos as u8)).unwrap_or_default())
}

fn filter(text: &str) -> Result<TopicFilter<'_>, JsError> {
    TopicFilter::parse(text).map_err(|error| broken("a topic filter", error))
}
