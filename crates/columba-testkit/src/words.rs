//! Packets in one line each: what a test expects and what a conversation is printed as. It never shows what is not in the
//! packet.

use std::fmt::Write;

use columba_codec::{Ack, List, Packet, Publish, ReasonCode, SubscriptionId, UserProperty};

/// A packet in short. What a test seldom asks about is left out: most properties of CONNACK, reason strings. Reason codes are
/// those of MQTT 5 in all versions: a CONNACK of 3.1.1 with return code 3 is `CONNACK 88`.
///
/// ```text
/// CONNACK 00 present          SUBACK #1 00 01 8f        DISCONNECT 8e
/// PUBLISH a/b=hello q1 #1     PUBACK #1 10              PUBLISH =hello alias=3 dup retain ids=1,2
/// ```
pub fn describe(packet: &Packet<'_>) -> String {
    let mut text = packet.packet_type().name().to_owned();
    match packet {
        Packet::Connect(connect) => {
            let _ = write!(text, " {:?} {}", connect.client_id, connect.version);
            push_if(&mut text, connect.clean_start, " clean");
            if let Some(will) = &connect.will {
                let _ = write!(text, " will={}", will.topic);
            }
        }
        Packet::ConnAck(ack) => {
            let _ = write!(text, " {:02x}", ack.reason.code());
            push_if(&mut text, ack.session_present, " present");
        }
        Packet::Publish(publish) => push_publish(&mut text, publish),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            push_ack(&mut text, ack);
        }
        Packet::Subscribe(subscribe) => {
            let _ = write!(text, " #{}", subscribe.packet_id);
            for item in &subscribe.filters {
                let _ = write!(text, " {}:q{}", item.filter, item.options.qos as u8);
            }
        }
        Packet::SubAck(ack) => push_reasons(&mut text, ack.packet_id.get(), &ack.reasons),
        Packet::Unsubscribe(unsubscribe) => {
            let _ = write!(text, " #{}", unsubscribe.packet_id);
            for filter in &unsubscribe.filters {
                let _ = write!(text, " {filter}");
            }
        }
        Packet::UnsubAck(ack) => push_reasons(&mut text, ack.packet_id.get(), &ack.reasons),
        Packet::PingReq | Packet::PingResp => {}
        Packet::Disconnect(disconnect) => {
            let _ = write!(text, " {:02x}", disconnect.reason.code());
        }
        Packet::Auth(auth) => {
            let _ = write!(text, " {:02x}", auth.reason.code());
            push_text(&mut text, "", auth.method);
            push_bytes(&mut text, "", auth.data);
        }
    }
    text
}

fn push_publish(text: &mut String, publish: &Publish<'_>) {
    let topic = publish.topic.map_or("", |topic| topic.as_str());
    let _ = write!(text, " {topic}={}", payload(publish.payload));
    if let Some(id) = publish.packet_id {
        let _ = write!(text, " q{} #{id}", publish.qos as u8);
    }
    push_if(text, publish.dup, " dup");
    push_if(text, publish.retain, " retain");
    if let Some(alias) = publish.topic_alias {
        let _ = write!(text, " alias={alias}");
    }
    if !publish.subscription_ids.is_empty() {
        let mut ids: Vec<u32> = publish.subscription_ids.iter().map(SubscriptionId::get).collect();
        // Their order means nothing [MQTT-3.3.4-4].
        ids.sort_unstable();
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let _ = write!(text, " ids={}", ids.join(","));
    }
    let properties = &publish.properties;
    if let Some(seconds) = properties.message_expiry {
        let _ = write!(text, " expiry={seconds}");
    }
    if let Some(format) = properties.payload_format {
        let _ = write!(text, " format={}", format as u8);
    }
    push_text(text, "type=", properties.content_type);
    push_text(text, "response=", properties.response_topic);
    push_bytes(text, "correlation=", properties.correlation_data);
    push_user_properties(text, &properties.user_properties);
}

fn push_ack(text: &mut String, ack: &Ack<'_>) {
    let _ = write!(text, " #{}", ack.packet_id);
    if ack.reason != ReasonCode::Success {
        let _ = write!(text, " {:02x}", ack.reason.code());
    }
}

fn push_reasons(text: &mut String, id: u16, reasons: &List<'_, ReasonCode>) {
    let _ = write!(text, " #{id}");
    for reason in reasons {
        let _ = write!(text, " {:02x}", reason.code());
    }
}

fn push_user_properties(text: &mut String, list: &List<'_, UserProperty<'_>>) {
    for (name, value) in list {
        let _ = write!(text, " {name}:{value}");
    }
}

fn push_if(text: &mut String, condition: bool, word: &str) {
    if condition {
        text.push_str(word);
    }
}

fn push_text(text: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        let _ = write!(text, " {name}{value}");
    }
}

fn push_bytes(text: &mut String, name: &str, value: Option<&[u8]>) {
    if let Some(value) = value {
        let _ = write!(text, " {name}{}", payload(value));
    }
}

fn payload(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= 40 => text.to_owned(),
        _ => format!("<{} bytes>", bytes.len()),
    }
}
