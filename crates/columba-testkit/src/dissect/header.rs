//! The first bytes of every packet: its type, its flags and its length.

use columba_codec::{PacketType, Version};

use super::scan::Scan;
use super::{Bits, packets, words};

/// The whole packet, and what is behind it.
pub(super) fn read(scan: &mut Scan<'_>, version: Version) {
    if scan.is_empty() {
        return;
    }
    let Some(first) = scan.u8("Packet Type") else { return };
    let Some(packet) = PacketType::from_u8(first >> 4) else {
        scan.last().wrong("there is no packet of type 0");
        return;
    };
    let field = scan.last();
    packet.name().clone_into(&mut field.value);
    field.note(words::packet(packet));
    // Flags of a CONNECT depend on the version in it, which is read later.
    field.bits = flags(packet, first, version);
    if packet == PacketType::Auth && version < Version::V5 {
        field.wrong(format!("{version} has no such packet"));
        return;
    }
    let Some(len) = scan.varint("Remaining Length") else { return };
    let len = len as usize;
    let left = scan.left();
    scan.last().note(match len {
        0 => "nothing follows".to_owned(),
        1 => "1 byte follows".to_owned(),
        _ => format!("{len} bytes follow"),
    });
    if left < len {
        scan.last().wrong(format!("{len} bytes are to follow, {left} are here"));
    }
    let outer = scan.enter(len);
    // What is cut off has said so, and nothing follows it.
    let _ = packets::read(scan, packet, first, version);
    scan.leave(outer, "more than this packet has");
    if !scan.is_empty() {
        scan.rest("Behind the packet");
        scan.last().wrong("the packet ends before this");
    }
}

/// The first byte, bit by bit.
fn flags(packet: PacketType, first: u8, version: Version) -> Vec<Bits> {
    let kind = Bits::new(first, 0xf0, "Packet Type", packet.name());
    let qos = |note: &str| Bits::new(first, 0b0110, "QoS", note);
    if packet == PacketType::Publish {
        let level = first >> 1 & 3;
        let dup = first & 0b1000 != 0;
        return vec![
            kind,
            Bits::new(first, 0b1000, "DUP", if dup { "sent before" } else { "sent for the first time" })
                // [MQTT-3.3.1-2]; 3.1 has no such rule.
                .wrong_if(dup && level == 0 && version > Version::V3_1, "nothing is sent again at QoS 0"),
            // [MQTT-3.3.1-4]
            qos(words::qos(level)).wrong_if(level == 3, "there is no QoS 3"),
            Bits::new(
                first,
                0b0001,
                "RETAIN",
                if first & 1 == 0 {
                    "an ordinary message"
                } else {
                    "to a broker: to be kept for later subscribers; from one: kept until now, or passed on as published"
                },
            ),
        ];
    }
    let is_like_qos1 = matches!(packet, PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe);
    match (version, is_like_qos1) {
        // A CONNECT tells its version later, and is looked at again.
        (Version::V3_1, false) => {
            vec![kind, Bits::new(first, 0x0f, "Not used", "MQTT 3.1 gives it no meaning")]
        }
        (Version::V3_1, true) => vec![
            kind,
            Bits::new(
                first,
                0b1000,
                "DUP",
                if first & 8 == 0 { "sent for the first time" } else { "sent before" },
            ),
            qos("answered, as QoS 1 is").wrong_if(first & 0b0110 != 0b0010, "must be 1"),
            Bits::new(first, 0b0001, "Not used", "MQTT 3.1 gives it no meaning"),
        ],
        (_, true) => vec![kind, Bits::reserved(first, 0x0f, 0b0010)],
        (_, false) => vec![kind, Bits::reserved(first, 0x0f, 0)],
    }
}

/// The first byte of a CONNECT, now that its version is known.
pub(super) fn connect_flags(scan: &mut Scan<'_>, first: u8, version: Version) {
    if let Some(field) = scan.field(0) {
        field.bits = flags(PacketType::Connect, first, version);
    }
}
