//! Packets of a client, as the bytes of a fuzzer choose them: well formed, and as good or bad as they come.

use std::num::{NonZeroU16, NonZeroU32};

use columba_core::codec::{
    Ack, Auth, Connect, Disconnect, List, MessageProperties, Packet, PacketId, PacketType, PayloadFormat,
    Publish, QoS, ReasonCode, RetainHandling, Subscribe, SubscribeItem, SubscriptionId, SubscriptionOptions,
    TopicFilter, TopicName, Unsubscribe, Version, Will,
};

use crate::source::Source;

pub(crate) const IDS: [&str; 4] = ["a", "b", "c", ""];
const TOPICS: [&str; 7] = ["a", "a/b", "b/c/d", "$x", "$SYS/x", "a/long/topic/of/many/levels", "ä"];
const FILTERS: [&str; 11] = [
    "#",
    "a",
    "a/+",
    "+/+",
    "$share/g/#",
    "$share/g/a",
    "$share/h/+/b",
    "$x",
    "$SYS/#",
    "+",
    "a/long/topic/of/many/levels",
];
const LEVELS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
const X: [u8; 9000] = [b'x'; 9000];

/// CONNECT.
pub(crate) fn connect<'a>(source: &mut Source<'a>, version: Version) -> Option<Packet<'a>> {
    let id = source.text_or(&IDS)?;
    let mut connect = Connect::new(version, id);
    let choice = source.byte()?;
    connect.clean_start = choice & 1 != 0;
    if choice & 2 != 0 {
        connect.will = will(source);
    }
    if choice & 4 != 0 {
        connect.keep_alive = source.pick(&[0, 1, 10, 100, u16::MAX])?;
    }
    if choice & 8 != 0 {
        connect.username = Some(source.text()?);
        connect.password = Some(source.bytes()?);
    }
    let properties = &mut connect.properties;
    properties.session_expiry = (version == Version::V5).then_some(100);
    if version == Version::V5 && choice & 16 != 0 {
        properties.session_expiry = source.pick(&[None, Some(0), Some(20), Some(100), Some(u32::MAX)])?;
        properties.receive_maximum = NonZeroU16::new(source.pick(&[0, 1, 2, 100])?);
        properties.topic_alias_maximum = source.pick(&[None, Some(1), Some(100)])?;
    }
    if version == Version::V5 && choice & 32 != 0 {
        properties.maximum_packet_size = NonZeroU32::new(source.pick(&[0, 1, 4, 10, 20, 30, 50, 1000])?);
        properties.request_problem_information = source.pick(&[None, Some(false), Some(true)])?;
        properties.request_response_information = source.pick(&[None, Some(false), Some(true)])?;
    }
    if version == Version::V5 && choice & 64 != 0 {
        properties.authentication_method = Some(source.pick(&["m", "n", ""])?);
        properties.authentication_data = source.pick(&[None, Some(&b"data"[..])])?;
    }
    Some(Packet::Connect(Box::new(connect)))
}

fn will<'a>(source: &mut Source<'a>) -> Option<Will<'a>> {
    let topic = TopicName::parse(source.text_or(&TOPICS)?).ok()?;
    Some(Will {
        topic,
        payload: payload(source)?,
        qos: source.pick(&LEVELS)?,
        retain: source.one_in(3)?,
        delay: source.pick(&[None, Some(0), Some(5), Some(50), Some(u32::MAX)])?,
        properties: message_properties(source)?,
    })
}

/// PUBLISH, at the alias's or the topic's address.
pub(crate) fn publish<'a>(source: &mut Source<'a>, version: Version) -> Option<Publish<'a>> {
    let topic = source.text_or(&TOPICS)?;
    let choice = source.byte()?;
    let mut publish = Publish::new(TopicName::parse(topic).ok()?, payload(source)?);
    publish.qos = LEVELS[usize::from(choice & 3).min(2)];
    publish.retain = choice & 4 != 0;
    if publish.qos > QoS::AtMostOnce {
        publish.packet_id = PacketId::new(source.pick(&[1, 2, 3, 4, u16::MAX])?);
        publish.dup = choice & 8 != 0;
    }
    if choice & 16 != 0 {
        publish.properties = message_properties(source)?;
    }
    if version == Version::V5 && choice & 32 != 0 {
        publish.topic_alias = NonZeroU16::new(source.pick(&[1, 2, 3, 64, 65])?);
        if choice & 64 != 0 {
            publish.topic = None;
        }
    }
    Some(publish)
}

fn payload<'a>(source: &mut Source<'a>) -> Option<&'a [u8]> {
    match source.byte()? % 8 {
        0 | 1 => Some(b"x"),
        2 => Some(b""),
        3 => Some(&X[..100]),
        4 => Some(&X[..400]),
        5 => Some(&X),
        _ => source.bytes(),
    }
}

fn message_properties<'a>(source: &mut Source<'a>) -> Option<MessageProperties<'a>> {
    let mut properties = MessageProperties::default();
    let choice = source.byte()?;
    if choice & 1 != 0 {
        properties.message_expiry = source.pick(&[Some(0), Some(1), Some(5), Some(1000), Some(u32::MAX)])?;
    }
    if choice & 2 != 0 {
        properties.user_properties = List::from_slice(&[("k", "v"), ("", "w")]);
    }
    if choice & 4 != 0 {
        properties.content_type = Some(source.text()?);
        properties.correlation_data = Some(source.bytes()?);
    }
    if choice & 8 != 0 {
        properties.response_topic = Some(source.text_or(&TOPICS)?);
        properties.payload_format = Some(PayloadFormat::Utf8);
    }
    Some(properties)
}

/// SUBSCRIBE or UNSUBSCRIBE, encoded.
pub(crate) fn filters(
    source: &mut Source<'_>,
    version: Version,
    subscribes: bool,
    out: &mut Vec<u8>,
) -> Option<()> {
    let choice = source.byte()?;
    let mut items = Vec::new();
    for _ in 0..=choice % 4 {
        let filter = TopicFilter::parse(source.text_or(&FILTERS)?);
        let options = source.byte()?;
        let options = SubscriptionOptions {
            qos: LEVELS[usize::from(options & 3).min(2)],
            no_local: options & 4 != 0,
            retain_as_published: options & 8 != 0,
            retain_handling: match options >> 4 & 3 {
                0 | 1 => RetainHandling::Send,
                2 => RetainHandling::SendIfNew,
                _ => RetainHandling::DoNotSend,
            },
        };
        items.extend(filter.map(|filter| SubscribeItem { filter, options }));
    }
    let packet_id = PacketId::new(u16::from(choice) + 1)?;
    let names: Vec<_> = items.iter().map(|item| item.filter).collect();
    let packet = if subscribes {
        let subscription_id = if choice & 4 == 0 { None } else { SubscriptionId::new(u32::from(choice)) };
        let filters = List::from_slice(&items);
        Packet::Subscribe(Subscribe { packet_id, subscription_id, user_properties: List::EMPTY, filters })
    } else {
        let filters = List::from_slice(&names);
        Packet::Unsubscribe(Unsubscribe { packet_id, user_properties: List::EMPTY, filters })
    };
    encode(&packet, version, out);
    Some(())
}

/// An acknowledgement.
pub(crate) fn ack(packet: PacketType, id: u16, reason: ReasonCode) -> Option<Packet<'static>> {
    let ack = Ack { reason, ..Ack::new(PacketId::new(id)?) };
    Some(match packet {
        PacketType::PubAck => Packet::PubAck(ack),
        PacketType::PubRec => Packet::PubRec(ack),
        PacketType::PubRel => Packet::PubRel(ack),
        _ => Packet::PubComp(ack),
    })
}

/// The rarer packets.
pub(crate) fn other<'a>(source: &mut Source<'a>, version: Version) -> Option<Packet<'a>> {
    Some(match source.byte()? % 8 {
        0..=2 => Packet::PingReq,
        3 | 4 => {
            let reason = source.pick(&[ReasonCode::Success, ReasonCode::DisconnectWithWill])?;
            let session_expiry = source.pick(&[None, Some(0), Some(20), Some(u32::MAX)])?;
            Packet::Disconnect(Disconnect { session_expiry, ..Disconnect::new(reason) })
        }
        5 | 6 => Packet::Auth(Auth {
            reason: source.pick(&[ReasonCode::ReAuthenticate, ReasonCode::ContinueAuthentication])?,
            method: source.pick(&[Some("m"), Some("n"), None])?,
            data: Some(source.bytes()?),
            reason_string: None,
            user_properties: List::EMPTY,
        }),
        _ => connect(source, version)?,
    })
}

/// Any of the above, encoded.
pub(crate) fn any(source: &mut Source<'_>, version: Version, out: &mut Vec<u8>) -> Option<()> {
    let packet = match source.byte()? % 8 {
        0 | 1 => Packet::Publish(publish(source, version)?),
        2 => return filters(source, version, true, out),
        3 => return filters(source, version, false, out),
        4 => connect(source, version)?,
        5 | 6 => {
            let kinds = [PacketType::PubAck, PacketType::PubRec, PacketType::PubRel, PacketType::PubComp];
            let reason = source.pick(&[ReasonCode::Success, ReasonCode::UnspecifiedError])?;
            ack(source.pick(&kinds)?, source.pick(&[1, 2, 3, 9, u16::MAX])?, reason)?
        }
        _ => other(source, version)?,
    };
    encode(&packet, version, out);
    Some(())
}

/// What cannot be encoded is left out.
pub(crate) fn encode(packet: &Packet<'_>, version: Version, out: &mut Vec<u8>) {
    let _ = packet.encode(version, out);
}
