//! The fields of packets about subscriptions.

use columba_codec::{PacketType, TopicFilter, Version};

use super::packets::{packet_id, reason};
use super::properties::{self, Holder};
use super::scan::Scan;
use super::{Bits, Field, words};

pub(super) fn subscribe(scan: &mut Scan<'_>, version: Version) -> Option<()> {
    let packet = PacketType::Subscribe;
    packet_id(scan, words::packet_id(packet))?;
    if version == Version::V5 {
        properties::read(scan, "Property Length", Holder::Packet(packet))?;
    }
    let mut is_first = true;
    while (is_first || !scan.is_empty()) && scan.has_room() {
        is_first = false;
        scan.nested("Subscription", |scan| {
            let filter = filter(scan)?;
            let value = scan.last().value.clone();
            let name = if version == Version::V5 { "Subscription Options" } else { "Requested QoS" };
            let bits = scan.u8(name)?;
            let field = scan.last();
            field.value = format!("{bits:#04x}");
            field.bits = if version == Version::V5 { options(bits, filter) } else { requested(bits) };
            Some(((), format!("{value} at QoS {}", bits & 3)))
        })?;
    }
    Some(())
}

pub(super) fn unsubscribe(scan: &mut Scan<'_>, version: Version) -> Option<()> {
    let packet = PacketType::Unsubscribe;
    packet_id(scan, words::packet_id(packet))?;
    if version == Version::V5 {
        properties::read(scan, "Property Length", Holder::Packet(packet))?;
    }
    let mut is_first = true;
    while (is_first || !scan.is_empty()) && scan.has_room() {
        is_first = false;
        filter(scan)?;
    }
    Some(())
}

/// SUBACK and UNSUBACK.
pub(super) fn answer(scan: &mut Scan<'_>, packet: PacketType, version: Version) -> Option<()> {
    packet_id(scan, words::packet_id(packet))?;
    if version == Version::V5 {
        properties::read(scan, "Property Length", Holder::Packet(packet))?;
    } else if packet == PacketType::UnsubAck {
        return Some(());
    }
    let name = if version == Version::V5 { "Reason Code" } else { "Return Code" };
    let mut number = 0;
    while (number == 0 || !scan.is_empty()) && scan.has_room() {
        number += 1;
        let reason = reason(scan, name, packet)?;
        let code = reason.code();
        let field = scan.last();
        // [MQTT-3.9.3-2 of 3.1.1]
        let is_unknown = match version {
            Version::V3_1 => code > 2,
            Version::V3_1_1 => code > 2 && code != 0x80,
            Version::V5 => false,
        };
        field.wrong_if(is_unknown, &format!("{version} has no such return code"));
        let note = format!("filter {number}: {}", field.note);
        field.note(note);
    }
    Some(())
}

fn filter<'a>(scan: &mut Scan<'a>) -> Option<&'a str> {
    let text = scan.string("Topic Filter")?;
    let field = scan.last();
    describe_filter(field, text);
    Some(text)
}

fn describe_filter(field: &mut Field, text: &str) {
    let filter = match TopicFilter::parse(text) {
        Ok(filter) => filter,
        Err(error) => return field.wrong(error.to_string()),
    };
    let has_wildcard = text.contains(['+', '#']);
    let which = if has_wildcard { "all topics that match" } else { "one topic" };
    match filter.share_name() {
        Some(group) => {
            field.note(format!("{which}, shared: each message goes to one member of the group {group:?}"));
        }
        None => field.note(which),
    }
}

/// The options byte of 5.0.
fn options(bits: u8, filter: &str) -> Vec<Bits> {
    let is_shared = TopicFilter::parse(filter).is_ok_and(|filter| filter.share_name().is_some());
    let either = |mask, name, yes: &'static str, no: &'static str| {
        Bits::new(bits, mask, name, if bits & mask == 0 { no } else { yes })
    };
    let handling = bits >> 4 & 3;
    vec![
        // [MQTT-3.8.3-5]
        Bits::reserved(bits, 0xc0, 0),
        Bits::new(
            bits,
            0x30,
            "Retain Handling",
            match handling {
                0 => "retained messages come at once",
                1 => "retained messages come if the subscription is new",
                _ => "no retained messages come",
            },
        )
        .wrong_if(handling == 3, "only 0, 1 and 2 have a meaning"),
        either(
            0x08,
            "Retain As Published",
            "messages keep their RETAIN flag",
            "RETAIN marks what was kept before",
        ),
        either(0x04, "No Local", "not the client's own messages", "the client's own messages, too")
            // [MQTT-3.8.3-4]
            .wrong_if(is_shared && bits & 0x04 != 0, "not in a shared subscription"),
        highest_qos(bits),
    ]
}

/// The byte of versions before 5.0.
fn requested(bits: u8) -> Vec<Bits> {
    // [MQTT-3.8.3-4 of 3.1.1]
    vec![Bits::reserved(bits, 0xfc, 0), highest_qos(bits)]
}

fn highest_qos(bits: u8) -> Bits {
    let level = bits & 3;
    let note = format!("at most {}", words::qos(level));
    Bits::new(bits, 0x03, "QoS", note).wrong_if(level == 3, "there is no QoS 3")
}
