//! The fields of each type of packet but those about subscriptions, in their order.

use columba_codec::{PacketType, ReasonCode, TopicName, Version};

use super::properties::{self, Holder};
use super::scan::Scan;
use super::{Bits, Field, header, requests, words};

/// What follows the fixed header. `None` if it is cut off or not understood.
pub(super) fn read(scan: &mut Scan<'_>, packet: PacketType, first: u8, version: Version) -> Option<()> {
    match packet {
        PacketType::Connect => connect(scan, first),
        PacketType::ConnAck => connack(scan, version),
        PacketType::Publish => publish(scan, first, version),
        PacketType::PubAck | PacketType::PubRec | PacketType::PubRel | PacketType::PubComp => {
            packet_id(scan, words::packet_id(packet))?;
            optional_reason(scan, packet, version)
        }
        PacketType::Subscribe => requests::subscribe(scan, version),
        PacketType::SubAck | PacketType::UnsubAck => requests::answer(scan, packet, version),
        PacketType::Unsubscribe => requests::unsubscribe(scan, version),
        PacketType::PingReq | PacketType::PingResp => Some(()),
        PacketType::Disconnect => optional_reason(scan, packet, version),
        PacketType::Auth => {
            if !scan.is_empty() {
                reason(scan, "Reason Code", packet)?;
                properties::read(scan, "Property Length", Holder::Packet(packet))?;
            }
            Some(())
        }
    }
}

/// What a packet may end with in MQTT 5: a reason, and properties.
fn optional_reason(scan: &mut Scan<'_>, packet: PacketType, version: Version) -> Option<()> {
    if version == Version::V5 && !scan.is_empty() {
        reason(scan, "Reason Code", packet)?;
        if !scan.is_empty() {
            properties::read(scan, "Property Length", Holder::Packet(packet))?;
        }
    }
    Some(())
}

pub(super) fn packet_id(scan: &mut Scan<'_>, note: &str) -> Option<()> {
    let id = scan.u16("Packet Identifier")?;
    scan.last().note(note);
    // [MQTT-2.2.1-3], [MQTT-2.3.1-1 of 3.1.1]
    scan.last().wrong_if(id == 0, "no packet has the identifier 0");
    Some(())
}

pub(super) fn reason(scan: &mut Scan<'_>, name: &'static str, packet: PacketType) -> Option<ReasonCode> {
    let code = scan.u8(name)?;
    let field = scan.last();
    field.value = format!("{code:#04x}");
    let Some(reason) = ReasonCode::from_u8(code) else {
        field.wrong("there is no such reason code");
        return Some(ReasonCode::UnspecifiedError);
    };
    field.value = format!("{code:#04x} {}", words::reason_name(reason, packet));
    field.note(words::reason(reason, packet));
    field.wrong_if(!reason.is_valid_in(packet), &format!("{packet} has no such reason code"));
    Some(reason)
}

// CONNECT.

struct ConnectFlags(u8);

impl ConnectFlags {
    const fn has(&self, mask: u8) -> bool {
        self.0 & mask != 0
    }

    const fn has_will(&self) -> bool {
        self.has(0x04)
    }
}

fn connect(scan: &mut Scan<'_>, first: u8) -> Option<()> {
    let version = protocol(scan)?;
    header::connect_flags(scan, first, version);
    let flags = ConnectFlags(scan.u8("Connect Flags")?);
    connect_flags(scan.last(), &flags, version);
    let keep_alive = scan.u16("Keep Alive")?;
    let field = scan.last();
    field.value = words::duration(keep_alive.into());
    field.note(match keep_alive {
        0 => "switched off: the client may be silent for any time".to_owned(),
        _ => format!(
            "the longest time without a packet from the client; after {} the broker gives it up",
            words::one_and_a_half(keep_alive)
        ),
    });
    if version == Version::V5 {
        properties::read(scan, "Property Length", Holder::Packet(PacketType::Connect))?;
    }
    let id = scan.string("Client Identifier")?;
    let is_empty = id.is_empty();
    scan.last().note(if is_empty {
        "none of its own: the broker makes one up or refuses"
    } else {
        "who it is: its session is found by this name"
    });
    if flags.has_will() {
        will(scan, version)?;
    }
    // 3.1 lets a packet end before a user name or password that its flags announce.
    let is_there = |scan: &Scan<'_>| version > Version::V3_1 || !scan.is_empty();
    if flags.has(0x80) && is_there(scan) {
        scan.string("User Name")?;
        scan.last().note("who it says it is");
    }
    if flags.has(0x40) && is_there(scan) {
        let len = scan.binary("Password", "Secret")?.len();
        let field = scan.last();
        field.note("any bytes; not shown");
        field.value = format!("{len} bytes");
        for child in field.children.iter_mut().skip(1) {
            child.value = format!("{len} bytes");
        }
    }
    Some(())
}

/// Protocol name and version. `None` if nothing behind them can be understood.
fn protocol(scan: &mut Scan<'_>) -> Option<Version> {
    let name = scan.binary("Protocol Name", "Text")?;
    let is_new = name == b"MQTT";
    let field = scan.last();
    if !is_new && name != b"MQIsdp" {
        field.wrong("this is not MQTT");
        return None;
    }
    field.note(if is_new { "MQTT 3.1.1 or later" } else { "MQTT 3.1" });
    let level = scan.u8("Protocol Version")?;
    let version = match (is_new, level & 0x7f) {
        (false, 3) => Some(Version::V3_1),
        (true, 4) => Some(Version::V3_1_1),
        (true, 5) => Some(Version::V5),
        _ => None,
    };
    let field = scan.last();
    match version {
        Some(version) => field.note(version.to_string()),
        None => field.wrong("there is no such version under this name"),
    }
    if level & 0x80 != 0 && version.is_some() {
        field.bits = vec![
            Bits::new(level, 0x80, "Bridge", "another broker connects, by a convention that no standard has"),
            Bits::new(
                level,
                0x7f,
                "Version",
                version.map_or_else(String::new, |version| version.to_string()),
            ),
        ];
    }
    version
}

fn connect_flags(field: &mut Field, flags: &ConnectFlags, version: Version) {
    let byte = flags.0;
    let either = |mask, name, yes: &'static str, no: &'static str| {
        Bits::new(byte, mask, name, if byte & mask == 0 { no } else { yes })
    };
    let level = byte >> 3 & 3;
    // In 3.1 flags about a will that there is not mean nothing.
    let is_stray = !flags.has_will() && version > Version::V3_1;
    let clean = if version == Version::V5 { "Clean Start" } else { "Clean Session" };
    field.value = format!("{byte:#04x}");
    field.bits = vec![
        either(0x80, "User Name Flag", "a user name follows", "no user name"),
        either(0x40, "Password Flag", "a password follows", "no password").wrong_if(
            // [MQTT-3.1.2-22 of 3.1.1]
            version < Version::V5 && flags.has(0x40) && !flags.has(0x80),
            "before MQTT 5 there is no password without a user name",
        ),
        either(0x20, "Will Retain", "the will is to be retained", "the will is not to be retained")
            // [MQTT-3.1.2-13]
            .wrong_if(is_stray && flags.has(0x20), "there is no will"),
        Bits::new(byte, 0x18, "Will QoS", words::qos(level))
            // [MQTT-3.1.2-11], [MQTT-3.1.2-12]
            .wrong_if(is_stray && level > 0, "there is no will")
            .wrong_if(flags.has_will() && level == 3, "there is no QoS 3"),
        either(0x04, "Will Flag", "the broker is to publish a message when the client is lost", "no will"),
        either(
            0x02,
            clean,
            if version == Version::V5 {
                "begins a new session; an old one is dropped"
            } else {
                "a new session, which ends with the connection"
            },
            "goes on with its session if there is one",
        ),
        if version == Version::V3_1 {
            Bits::new(byte, 0x01, "Not used", "MQTT 3.1 gives it no meaning")
        } else {
            // [MQTT-3.1.2-3]
            Bits::reserved(byte, 0x01, 0)
        },
    ];
}

fn will(scan: &mut Scan<'_>, version: Version) -> Option<()> {
    if version == Version::V5 {
        properties::read(scan, "Will Property Length", Holder::Will)?;
    }
    let topic = scan.string("Will Topic")?;
    let field = scan.last();
    field.note("where the will is published");
    topic_name(field, topic);
    scan.binary("Will Payload", "Payload")?;
    scan.last().note("what is published");
    Some(())
}

/// Says what is wrong with a topic name.
pub(super) fn topic_name(field: &mut Field, topic: &str) {
    if let Err(error) = TopicName::parse(topic) {
        field.wrong(error.to_string());
    }
}

// CONNACK.

fn connack(scan: &mut Scan<'_>, version: Version) -> Option<()> {
    let flags = scan.u8("Connect Acknowledge Flags")?;
    let is_present = flags & 1 != 0;
    let field = scan.last();
    field.value = format!("{flags:#04x}");
    field.bits = if version == Version::V3_1 {
        vec![Bits::new(flags, 0xff, "Not used", "MQTT 3.1 gives it no meaning")]
    } else {
        let note = if is_present { "the broker has a session of this client" } else { "a new session" };
        // [MQTT-3.2.2-1]
        vec![Bits::reserved(flags, 0xfe, 0), Bits::new(flags, 0x01, "Session Present", note)]
    };
    let number = scan.len() - 1;
    let is_error = if version == Version::V5 {
        let is_error = reason(scan, "Reason Code", PacketType::ConnAck)?.is_error();
        properties::read(scan, "Property Length", Holder::Packet(PacketType::ConnAck))?;
        is_error
    } else {
        let code = scan.u8("Return Code")?;
        let field = scan.last();
        field.value = format!("{code:#04x}");
        match words::return_code(code) {
            Some(note) => field.note(note),
            None => field.wrong("there is no such return code"),
        }
        code != 0
    };
    if is_present
        && is_error
        && version > Version::V3_1
        && let Some(field) = scan.field(number)
    {
        // [MQTT-3.2.2-6], [MQTT-3.2.2-4 of 3.1.1]
        field.wrong("who is refused has no session");
    }
    Some(())
}

// PUBLISH.

fn publish(scan: &mut Scan<'_>, first: u8, version: Version) -> Option<()> {
    let qos = first >> 1 & 3;
    let topic = scan.string("Topic Name")?;
    let (number, is_empty) = (scan.len() - 1, scan.last().range.len() == 2);
    let field = scan.last();
    field.note(if is_empty {
        "left out: the topic alias stands for it"
    } else {
        "where the message belongs"
    });
    if !is_empty || version < Version::V5 {
        topic_name(field, topic);
    }
    match qos {
        0 => {}
        3 => {
            scan.give_up("with a QoS that there is not nobody knows what follows");
            return None;
        }
        _ => packet_id(scan, words::packet_id(PacketType::Publish))?,
    }
    if version == Version::V5 {
        let found = properties::read(scan, "Property Length", Holder::Packet(PacketType::Publish))?;
        if is_empty
            && !found.has_topic_alias
            && let Some(field) = scan.field(number)
        {
            field.wrong("there is neither a topic nor an alias for one");
        }
    }
    if !scan.is_empty() {
        let len = scan.rest("Payload").len();
        scan.last().note(match len {
            1 => "the message: 1 byte".to_owned(),
            _ => format!("the message: {len} bytes"),
        });
    }
    Some(())
}
