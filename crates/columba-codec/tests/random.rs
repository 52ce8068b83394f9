//! Random packets and random bytes. A failure prints its smallest case and stores its seed beside this file.
#![allow(missing_docs)]

mod common;

use columba_codec::packet::encode_ack;
use columba_codec::{
    Ack, DecodeError, FixedHeader, MessageProperties, Packet, PacketId, PacketType, Publish, PublishHead,
    QoS, ReasonCode, SubscriptionId, TopicName, Version,
};
use common::{binary, message_properties, packet, publish, subscription_ids, topic_name, version};
use proptest::prelude::*;

const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];

fn decode(bytes: &[u8], version: Version) -> Result<Option<Packet<'_>>, DecodeError> {
    match FixedHeader::read(bytes, usize::MAX)? {
        Some(header) if header.total() <= bytes.len() => {
            Packet::decode(header, &bytes[header.len..header.total()], version).map(Some)
        }
        _ => Ok(None),
    }
}

/// Whatever decodes can be printed, encodes, and decodes to the same. This also walks all its lists.
fn check_harmless(bytes: &[u8]) -> Result<(), TestCaseError> {
    for version in VERSIONS {
        let decoded = decode(bytes, version);
        let printed = format!("{decoded:?}");
        prop_assert!(!printed.is_empty());
        match decoded {
            Ok(Some(packet)) => {
                let mut again = Vec::new();
                let encoded = packet.encode(version, &mut again);
                prop_assert_eq!(encoded, Ok(()), "{:?}", packet);
                prop_assert_eq!(again.len(), packet.encoded_len(version));
                prop_assert_eq!(decode(&again, version), Ok(Some(packet)));
            }
            Ok(None) => {}
            Err(error) => {
                prop_assert!(error.reason_code().is_error());
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_packet_comes_back_as_it_was((version, packet) in version().prop_flat_map(|v| (Just(v), packet(v)))) {
        let mut bytes = vec![0xAA];
        prop_assert_eq!(packet.check(version), Ok(()));
        packet.encode(version, &mut bytes).unwrap();
        prop_assert_eq!(bytes[0], 0xAA, "encoding appends");
        let bytes = &bytes[1..];
        prop_assert_eq!(bytes.len(), packet.encoded_len(version));
        let decoded = decode(bytes, version).unwrap().unwrap();
        prop_assert_eq!(&decoded, &packet);
        // What is still encoded is encoded again as it came.
        let mut again = Vec::new();
        decoded.encode(version, &mut again).unwrap();
        prop_assert_eq!(&again, bytes);
        prop_assert_eq!(decoded.encoded_len(version), bytes.len());
    }

    #[test]
    fn a_part_of_a_packet_is_incomplete((version, packet) in version().prop_flat_map(|v| (Just(v), packet(v)))) {
        let mut bytes = Vec::new();
        packet.encode(version, &mut bytes).unwrap();
        let header = FixedHeader::read(&bytes, usize::MAX).unwrap().unwrap();
        for len in 0..bytes.len() {
            prop_assert_eq!(decode(&bytes[..len], version), Ok(None), "{} of {}", len, bytes.len());
            // The same bytes as the whole of a shorter packet: an error, or something shorter, never a panic.
            if len >= header.len {
                for version in VERSIONS {
                    let _ = format!("{:?}", Packet::decode(header, &bytes[header.len..len], version));
                }
            }
        }
    }

    #[test]
    fn damage_does_no_harm(
        (version, packet) in version().prop_flat_map(|v| (Just(v), packet(v))),
        damages in proptest::collection::vec((any::<prop::sample::Index>(), 0..4_u8, any::<u8>()), 1..4),
    ) {
        let mut bytes = Vec::new();
        packet.encode(version, &mut bytes).unwrap();
        for (index, kind, byte) in damages {
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes[at] ^= 1 << (byte % 8),
                2 => bytes.insert(at, byte),
                _ if bytes.len() > 1 => { bytes.remove(at); }
                _ => {}
            }
        }
        check_harmless(&bytes)?;
        // Also with a length that fits again, so that the damage reaches the fields.
        if let [_, length, body @ ..] = &mut bytes[..] && body.len() < 128 {
            *length = body.len() as u8;
            check_harmless(&bytes)?;
        }
    }

    #[test]
    fn noise_does_no_harm(first: u8, body in proptest::collection::vec(any::<u8>(), 0..64)) {
        check_harmless(&body)?;
        let mut bytes = vec![first, body.len() as u8];
        bytes.extend_from_slice(&body);
        check_harmless(&bytes)?;
    }

    #[test]
    fn noise_after_a_protocol_name_does_no_harm(level in 3..6_u8, body in proptest::collection::vec(any::<u8>(), 0..64)) {
        let name: &[u8] = if level == 3 { b"\0\x06MQIsdp" } else { b"\0\x04MQTT" };
        let mut bytes = vec![0x10, (name.len() + 1 + body.len()) as u8];
        bytes.extend_from_slice(name);
        bytes.push(level);
        bytes.extend_from_slice(&body);
        check_harmless(&bytes)?;
    }

    #[test]
    fn what_the_codec_agrees_to_encode_it_decodes(publish in wild_publish(), version in version()) {
        let packet = Packet::Publish(publish);
        let mut bytes = Vec::new();
        match packet.encode(version, &mut bytes) {
            Ok(()) => {
                let decoded = decode(&bytes, version);
                prop_assert!(matches!(decoded, Ok(Some(_))), "{:?}", decoded);
                if version == Version::V5 {
                    prop_assert_eq!(decoded, Ok(Some(packet)));
                }
            }
            Err(error) => {
                prop_assert!(bytes.is_empty());
                prop_assert_eq!(packet.check(version), Err(error));
            }
        }
    }

    #[test]
    fn a_head_is_the_beginning_of_its_publish(
        (version, publish) in version().prop_flat_map(|v| (Just(v), publish(v))),
    ) {
        let mut forwarded = Vec::new();
        publish.properties.encode_forwarded(&mut forwarded);
        let ids: Vec<SubscriptionId> = publish.subscription_ids.iter().collect();
        let head = PublishHead {
            dup: publish.dup,
            qos: publish.qos,
            retain: publish.retain,
            topic: publish.topic.map_or("", TopicName::as_str),
            packet_id: publish.packet_id,
            topic_alias: publish.topic_alias,
            message_expiry: publish.properties.message_expiry,
            subscription_ids: &ids,
            forwarded: &forwarded,
            payload_len: publish.payload.len(),
        };
        let mut bytes = Vec::new();
        head.encode(version, &mut bytes);
        bytes.extend_from_slice(publish.payload);
        prop_assert_eq!(bytes.len(), head.encoded_len(version));
        prop_assert_eq!(bytes.len(), publish.encoded_len(version));
        prop_assert_eq!(decode(&bytes, version), Ok(Some(Packet::Publish(publish))));
    }

    #[test]
    fn a_head_leaves_out_what_its_version_lacks(topic in topic_name(), properties in message_properties(), ids in subscription_ids()) {
        let mut forwarded = Vec::new();
        properties.encode_forwarded(&mut forwarded);
        let ids: Vec<SubscriptionId> = ids.iter().collect();
        let head = PublishHead {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: true,
            topic: topic.as_str(),
            packet_id: None,
            topic_alias: std::num::NonZeroU16::new(1),
            message_expiry: Some(1),
            subscription_ids: &ids,
            forwarded: &forwarded,
            payload_len: 0,
        };
        for version in [Version::V3_1, Version::V3_1_1] {
            let mut bytes = Vec::new();
            head.encode(version, &mut bytes);
            let mut expected = Publish::new(topic, b"");
            expected.retain = true;
            prop_assert_eq!(decode(&bytes, version), Ok(Some(Packet::Publish(expected))));
            prop_assert_eq!(bytes.len(), head.encoded_len(version));
        }
    }

    #[test]
    fn forwarded_properties_come_back_without_their_expiry(properties in message_properties()) {
        let mut bytes = vec![0xAA];
        properties.encode_forwarded(&mut bytes);
        let mut expected = properties;
        expected.message_expiry = None;
        let decoded = MessageProperties::decode_forwarded(&bytes[1..]);
        prop_assert_eq!(decoded.as_ref(), Ok(&expected));
        // And again from the encoded form.
        let mut again = Vec::new();
        decoded.unwrap().encode_forwarded(&mut again);
        prop_assert_eq!(&again[..], &bytes[1..]);
    }

    #[test]
    fn noise_among_forwarded_properties_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..32)) {
        let _ = format!("{:?}", MessageProperties::decode_forwarded(&bytes));
    }

    #[test]
    fn a_plain_ack_is_the_one_without_properties(id in 1..=u16::MAX, version in version(), kind in 4..8_u8) {
        let id = PacketId::new(id).unwrap();
        let packet_type = PacketType::from_u8(kind).unwrap();
        for &reason in ReasonCode::ALL.iter().filter(|reason| reason.is_valid_in(packet_type)) {
            let (mut plain, mut whole) = (Vec::new(), Vec::new());
            encode_ack(packet_type, id, reason, version, &mut plain);
            let ack = Ack { reason, ..Ack::new(id) };
            ack.encode(packet_type, version, &mut whole).unwrap();
            prop_assert_eq!(plain, whole);
        }
    }
}

/// A PUBLISH whose fields do not know of each other, and whose texts may have U+0000.
fn wild_publish() -> impl Strategy<Value = Publish<'static>> {
    let text = || prop::option::of("[a\0+#/]{0,4}".prop_map(|text: String| &*text.leak()));
    let alias = prop::option::of((1..=9_u16).prop_map(|n| std::num::NonZeroU16::new(n).unwrap()));
    let fields = (any::<bool>(), common::qos(), prop::option::of(topic_name()), any::<bool>(), alias);
    (fields, text(), text(), binary()).prop_map(
        |((dup, qos, topic, has_id, topic_alias), content_type, response_topic, payload)| {
            let mut publish = Publish::new(TopicName::parse("t").unwrap(), payload);
            publish.dup = dup;
            publish.qos = qos;
            publish.topic = topic;
            publish.packet_id = has_id.then_some(PacketId::MIN);
            publish.topic_alias = topic_alias;
            publish.properties.content_type = content_type;
            publish.properties.response_topic = response_topic;
            publish
        },
    )
}
