//! Packets to objects.

use columba_codec::{
    Ack, Auth, ConnAck, Connect, Disconnect, List, Packet, Property, Publish, ReasonCode, Subscribe,
    SubscribeItem, SubscriptionId, UserProperty, Version, Will,
};
use js_sys::Array;
use wasm_bindgen::JsValue;

use super::command;
use super::properties::PropertyRecord;
use crate::value::Record;

/// The packet as an object; `remaining` is its length without the fixed header.
pub(super) fn object(packet: &Packet<'_>, version: Version, remaining: usize) -> JsValue {
    let mut record = Record::new();
    record.set("cmd", command(packet.packet_type()));
    record.set("length", remaining as u32);
    match packet {
        Packet::Connect(connect) => write_connect(&mut record, connect),
        Packet::ConnAck(connack) => write_connack(&mut record, connack, version),
        Packet::Publish(publish) => write_publish(&mut record, publish),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            write_ack(&mut record, ack, version);
        }
        Packet::Subscribe(subscribe) => write_subscribe(&mut record, subscribe, version),
        Packet::SubAck(suback) => {
            record.set("messageId", suback.packet_id.get());
            record.set("granted", codes(suback.reasons));
            write_reason(&mut record, suback.reason_string, &suback.user_properties);
        }
        Packet::Unsubscribe(unsubscribe) => {
            record.set("messageId", unsubscribe.packet_id.get());
            let filters = unsubscribe.filters.iter().map(|filter| JsValue::from_str(filter.as_str()));
            record.set("unsubscriptions", filters.collect::<Array>());
            write_reason(&mut record, None, &unsubscribe.user_properties);
        }
        Packet::UnsubAck(unsuback) => {
            record.set("messageId", unsuback.packet_id.get());
            if version == Version::V5 {
                record.set("granted", codes(unsuback.reasons));
            }
            write_reason(&mut record, unsuback.reason_string, &unsuback.user_properties);
        }
        Packet::PingReq | Packet::PingResp => {}
        Packet::Disconnect(disconnect) => write_disconnect(&mut record, disconnect, version),
        Packet::Auth(auth) => write_auth(&mut record, auth),
    }
    record.into()
}

fn write_connect(record: &mut Record, connect: &Connect<'_>) {
    record.set("protocolId", if connect.version == Version::V3_1 { "MQIsdp" } else { "MQTT" });
    record.set("protocolVersion", connect.version.level());
    if connect.bridge {
        record.set("bridgeMode", true);
    }
    record.set("clean", connect.clean_start);
    record.set("clientId", connect.client_id);
    record.set("keepalive", connect.keep_alive);
    record.set_if("username", connect.username);
    if let Some(password) = connect.password {
        record.set_bytes("password", password);
    }
    if let Some(will) = &connect.will {
        record.set("will", will_object(will));
    }
    let from = &connect.properties;
    let mut properties = PropertyRecord::default();
    properties.put(Property::SessionExpiryInterval, from.session_expiry);
    properties.put(Property::ReceiveMaximum, from.receive_maximum.map(u16::from));
    properties.put(Property::MaximumPacketSize, from.maximum_packet_size.map(u32::from));
    properties.put(Property::TopicAliasMaximum, from.topic_alias_maximum);
    properties.put(Property::RequestResponseInformation, from.request_response_information);
    properties.put(Property::RequestProblemInformation, from.request_problem_information);
    properties.put(Property::AuthenticationMethod, from.authentication_method);
    properties.bytes(Property::AuthenticationData, from.authentication_data);
    properties.users(&from.user_properties);
    properties.set_in(record);
}

fn will_object(will: &Will<'_>) -> Record {
    let record = Record::new();
    record.set("topic", will.topic.as_str());
    record.set_bytes("payload", will.payload);
    record.set("qos", will.qos as u8);
    record.set("retain", will.retain);
    let mut properties = PropertyRecord::default();
    properties.put(Property::WillDelayInterval, will.delay);
    properties.message(&will.properties, None, List::EMPTY);
    properties.set_in(&record);
    record
}

fn write_connack(record: &mut Record, connack: &ConnAck<'_>, version: Version) {
    record.set("sessionPresent", connack.session_present);
    if version == Version::V5 {
        record.set("reasonCode", connack.reason.code());
    } else {
        record.set("returnCode", connack.reason.to_return_code());
    }
    let from = &connack.properties;
    let mut properties = PropertyRecord::default();
    properties.put(Property::SessionExpiryInterval, from.session_expiry);
    properties.put(Property::ReceiveMaximum, from.receive_maximum.map(u16::from));
    properties.put(Property::MaximumQoS, from.maximum_qos.map(|qos| qos as u8));
    properties.put(Property::RetainAvailable, from.retain_available);
    properties.put(Property::MaximumPacketSize, from.maximum_packet_size.map(u32::from));
    properties.put(Property::AssignedClientIdentifier, from.assigned_client_id);
    properties.put(Property::TopicAliasMaximum, from.topic_alias_maximum);
    properties.put(Property::ReasonString, from.reason_string);
    properties.put(Property::WildcardSubscriptionAvailable, from.wildcard_subscription_available);
    properties.put(Property::SubscriptionIdentifiersAvailable, from.subscription_ids_available);
    properties.put(Property::SharedSubscriptionAvailable, from.shared_subscription_available);
    properties.put(Property::ServerKeepAlive, from.server_keep_alive);
    properties.put(Property::ResponseInformation, from.response_information);
    properties.put(Property::ServerReference, from.server_reference);
    properties.put(Property::AuthenticationMethod, from.authentication_method);
    properties.bytes(Property::AuthenticationData, from.authentication_data);
    properties.users(&from.user_properties);
    properties.set_in(record);
}

fn write_publish(record: &mut Record, publish: &Publish<'_>) {
    // An alias alone stands for a topic that the packet does not tell.
    record.set("topic", publish.topic.map_or("", |topic| topic.as_str()));
    record.set_bytes("payload", publish.payload);
    record.set("qos", publish.qos as u8);
    record.set("dup", publish.dup);
    record.set("retain", publish.retain);
    record.set_if("messageId", publish.packet_id.map(u16::from));
    let mut properties = PropertyRecord::default();
    properties.message(&publish.properties, publish.topic_alias, publish.subscription_ids);
    properties.set_in(record);
}

fn write_ack(record: &mut Record, ack: &Ack<'_>, version: Version) {
    record.set("messageId", ack.packet_id.get());
    if version == Version::V5 {
        record.set("reasonCode", ack.reason.code());
    }
    write_reason(record, ack.reason_string, &ack.user_properties);
}

fn write_subscribe(record: &mut Record, subscribe: &Subscribe<'_>, version: Version) {
    record.set("messageId", subscribe.packet_id.get());
    let subscription = |item: SubscribeItem<'_>| {
        let subscription = Record::new();
        subscription.set("topic", item.filter.as_str());
        subscription.set("qos", item.options.qos as u8);
        if version == Version::V5 {
            subscription.set("nl", item.options.no_local);
            subscription.set("rap", item.options.retain_as_published);
            subscription.set("rh", item.options.retain_handling as u8);
        }
        JsValue::from(subscription)
    };
    record.set("subscriptions", subscribe.filters.iter().map(subscription).collect::<Array>());
    let mut properties = PropertyRecord::default();
    properties.put(Property::SubscriptionIdentifier, subscribe.subscription_id.map(SubscriptionId::get));
    properties.users(&subscribe.user_properties);
    properties.set_in(record);
}

fn write_disconnect(record: &mut Record, disconnect: &Disconnect<'_>, version: Version) {
    if version == Version::V5 {
        record.set("reasonCode", disconnect.reason.code());
    }
    let mut properties = PropertyRecord::default();
    properties.put(Property::SessionExpiryInterval, disconnect.session_expiry);
    properties.put(Property::ServerReference, disconnect.server_reference);
    properties.put(Property::ReasonString, disconnect.reason_string);
    properties.users(&disconnect.user_properties);
    properties.set_in(record);
}

fn write_auth(record: &mut Record, auth: &Auth<'_>) {
    record.set("reasonCode", auth.reason.code());
    let mut properties = PropertyRecord::default();
    properties.put(Property::AuthenticationMethod, auth.method);
    properties.bytes(Property::AuthenticationData, auth.data);
    properties.put(Property::ReasonString, auth.reason_string);
    properties.users(&auth.user_properties);
    properties.set_in(record);
}

/// The properties of most packets.
fn write_reason(record: &mut Record, reason: Option<&str>, users: &List<'_, UserProperty<'_>>) {
    let mut properties = PropertyRecord::default();
    properties.put(Property::ReasonString, reason);
    properties.users(users);
    properties.set_in(record);
}

fn codes(reasons: List<'_, ReasonCode>) -> Array {
    reasons.iter().map(|reason| JsValue::from(reason.code())).collect()
}
