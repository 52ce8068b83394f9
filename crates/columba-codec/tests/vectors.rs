//! The table of packets, each decoded and, where it is one, encoded again; and the limits, which are too large for
//! a table.
#![allow(missing_docs)]

use std::collections::BTreeSet;

use columba_codec::vectors::{self, Expect, Vector};
use columba_codec::{
    DecodeError, EncodeError, Field, FixedHeader, Packet, Publish, ReasonCode, TopicName, Version,
};

/// The largest packet there is.
const MAX_PACKET: usize = 268_435_460;

const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];

#[test]
fn every_vector_is_what_it_is_said_to_be() {
    let failures: Vec<String> = vectors::all().filter_map(|vector| check(vector).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn check(vector: &Vector) -> Result<(), String> {
    let Vector { name, version, bytes, expect } = vector;
    let fail = |text: String| Err(format!("{version:?} {name}: {text}"));
    let decoded = match decode(bytes, *version) {
        Ok(None) if matches!(expect, Expect::Incomplete) => return Ok(()),
        Ok(None) => return fail("is incomplete".into()),
        Ok(Some(packet)) => Ok(packet),
        Err(error) => Err(error),
    };
    match (expect, decoded) {
        (Expect::Is(expected) | Expect::Reads(expected), Ok(packet)) => {
            let expected = expected();
            if packet != expected {
                return fail(format!("is {packet:?}"));
            }
            let mut encoded = Vec::new();
            for packet in [&packet, &expected] {
                encoded.clear();
                if let Err(error) = packet.encode(*version, &mut encoded) {
                    return fail(format!("does not encode: {error}"));
                }
                if packet.encoded_len(*version) != encoded.len() {
                    return fail(format!("is not {} bytes", packet.encoded_len(*version)));
                }
            }
            match expect {
                Expect::Is(_) if encoded != *bytes => fail(format!("encodes to {encoded:02X?}")),
                Expect::Reads(_) if encoded == *bytes => fail("is the usual form".into()),
                _ if decode(&encoded, *version) != Ok(Some(expected)) => fail("reads otherwise".into()),
                _ => Ok(()),
            }
        }
        (Expect::Fails(expected), Err(error)) if *expected == error => {
            let said = error.to_string();
            if said.is_empty() || said.ends_with('.') { fail(format!("says {said:?}")) } else { Ok(()) }
        }
        (expect, decoded) => fail(format!("{expect:?} expected, got {decoded:?}")),
    }
}

/// A packet that fills `bytes`.
fn decode(bytes: &[u8], version: Version) -> Result<Option<Packet<'_>>, DecodeError> {
    match FixedHeader::read(bytes, MAX_PACKET)? {
        None => Ok(None),
        Some(header) if header.total() > bytes.len() => Ok(None),
        Some(header) => {
            assert_eq!(header.total(), bytes.len(), "a row is one packet: {bytes:02X?}");
            Packet::decode(header, &bytes[header.len..], version).map(Some)
        }
    }
}

#[test]
fn names_are_unique_and_there_are_many() {
    let mut seen = BTreeSet::new();
    for vector in vectors::all() {
        assert!(seen.insert((vector.version, vector.name)), "{:?} {}", vector.version, vector.name);
    }
    assert!(seen.len() >= 300, "{}", seen.len());
}

/// Reads the names of the variants off the source: whoever adds one is reminded to add a row.
#[test]
fn every_error_has_a_vector() {
    let source = include_str!("../src/error.rs");
    let body = source.split_once("pub enum DecodeError {").unwrap().1.split_once("\n}\n").unwrap().0;
    let variants = body.lines().filter_map(|line| {
        let name = line.strip_prefix("    ")?;
        name.starts_with(|first: char| first.is_ascii_uppercase()).then(|| word(name))
    });
    let mut tested: BTreeSet<String> = vectors::all()
        .filter_map(|vector| match vector.expect {
            Expect::Fails(error) => Some(word(&format!("{error:?}")).to_owned()),
            _ => None,
        })
        .collect();
    // Depends on the limit: see `a_packet_at_the_limit_and_one_past_it`.
    tested.insert("PacketTooLarge".to_owned());
    let variants: BTreeSet<String> = variants.map(str::to_owned).collect();
    assert!(variants.len() > 30, "{variants:?}");
    assert_eq!(variants, tested);
}

fn word(text: &str) -> &str {
    text.split(|next: char| !next.is_ascii_alphanumeric()).next().unwrap_or_default()
}

#[test]
fn every_packet_has_a_vector_in_every_version() {
    for version in VERSIONS {
        let packets: BTreeSet<u8> = vectors::all()
            .filter(|vector| vector.version == version && matches!(vector.expect, Expect::Is(_)))
            .map(|vector| vector.bytes[0] >> 4)
            .collect();
        let all: Vec<u8> = if version == Version::V5 { (1..=15).collect() } else { (1..=14).collect() };
        let acks = |number: &u8| version == Version::V3_1 && (5..=7).contains(number);
        let all: BTreeSet<u8> = all.into_iter().filter(|number| !acks(number)).collect();
        assert!(packets.is_superset(&all), "{version}: {packets:?}");
    }
}

#[test]
fn reasons_are_the_ones_of_the_standard() {
    let reason = |name: &str| {
        let vector = vectors::all().find(|vector| vector.name == name && vector.version == Version::V5);
        match vector.map(|vector| vector.expect) {
            Some(Expect::Fails(error)) => (error.reason_code(), error.is_malformed()),
            other => panic!("{name}: {other:?}"),
        }
    };
    let malformed = (ReasonCode::MalformedPacket, true);
    let protocol_error = (ReasonCode::ProtocolError, false);
    for (name, expected) in [
        ("packet type 0", malformed),
        ("PUBLISH at QoS 3", malformed),
        ("PUBLISH to a '#'", malformed),
        ("PUBLISH with property 0", malformed),
        ("PUBLISH with a reason string", malformed),
        ("SUBSCRIBE with a reserved option", malformed),
        ("SUBSCRIBE to a '#' beside other characters", malformed),
        ("CONNECT of another protocol", malformed),
        ("PUBLISH without topic and alias", protocol_error),
        ("PUBLISH with expiry twice", protocol_error),
        ("PUBLISH with a wildcard in its response topic", protocol_error),
        ("SUBSCRIBE with QoS 3", protocol_error),
        ("SUBSCRIBE without filter", protocol_error),
        ("SUBSCRIBE with No Local to a shared subscription", protocol_error),
        ("DISCONNECT with a reason of CONNACK", protocol_error),
        ("CONNECT with Receive Maximum 0", protocol_error),
        ("PUBLISH with alias 0", (ReasonCode::TopicAliasInvalid, false)),
        ("CONNECT with a level to come", (ReasonCode::UnsupportedProtocolVersion, false)),
    ] {
        assert_eq!(reason(name), expected, "{name}");
    }
}

#[test]
fn a_packet_at_the_limit_and_one_past_it() {
    // 2 + 2 + 6 bytes.
    let bytes = [0x30, 8, 0, 3, b'a', b'/', b'b', b'x', b'y', b'z'];
    let header = FixedHeader::read(&bytes, 10).unwrap().unwrap();
    assert_eq!((header.len, header.remaining, header.total()), (2, 8, 10));
    let error = FixedHeader::read(&bytes, 9).unwrap_err();
    assert_eq!(error, DecodeError::PacketTooLarge { size: 10, limit: 9 });
    assert_eq!((error.reason_code(), error.is_malformed()), (ReasonCode::PacketTooLarge, false));
    // As soon as the length is known, and not before.
    assert_eq!(FixedHeader::read(&bytes[..2], 9), Err(error));
    assert_eq!(FixedHeader::read(&bytes[..1], 9), Ok(None));
    let greatest = [0x30, 0xFF, 0xFF, 0xFF, 0x7F];
    assert_eq!(FixedHeader::read(&greatest, MAX_PACKET).unwrap().unwrap().total(), MAX_PACKET);
    let size = MAX_PACKET;
    let error = DecodeError::PacketTooLarge { size, limit: size - 1 };
    assert_eq!(FixedHeader::read(&greatest, size - 1), Err(error));
}

#[test]
fn lengths_at_the_edges_of_their_encoding() {
    for (remaining, len) in [(127, 2), (128, 3), (16_383, 3), (16_384, 4), (2_097_151, 4), (2_097_152, 5)] {
        let payload = vec![0; remaining - 3];
        let packet = Packet::Publish(Publish::new(TopicName::parse("t").unwrap(), &payload));
        let mut bytes = Vec::new();
        packet.encode(Version::V3_1_1, &mut bytes).unwrap();
        let header = FixedHeader::read(&bytes, MAX_PACKET).unwrap().unwrap();
        assert_eq!((header.len, header.remaining), (len, remaining));
        assert_eq!(packet.encoded_len(Version::V3_1_1), bytes.len());
        assert_eq!(decode(&bytes, Version::V3_1_1), Ok(Some(packet)));
    }
}

#[test]
fn strings_at_the_limit_and_one_past_it() {
    let topic = "t".repeat(65_535);
    let payload = b"p";
    let packet = Packet::Publish(Publish::new(TopicName::parse(&topic).unwrap(), payload));
    for version in VERSIONS {
        let mut bytes = Vec::new();
        packet.encode(version, &mut bytes).unwrap();
        assert_eq!(decode(&bytes, version), Ok(Some(packet.clone())));
    }
    let text = "x".repeat(65_536);
    for (len, expected) in [(65_535, Ok(())), (65_536, Err(EncodeError::TooLong(Field::ClientId)))] {
        let connect = columba_codec::Connect::new(Version::V5, &text[..len]);
        let mut bytes = vec![7];
        assert_eq!(connect.encode(&mut bytes), expected);
        assert_eq!(bytes.len() == 1, expected.is_err(), "nothing is appended on an error");
    }
}

#[test]
fn a_payload_at_the_limit_and_one_past_it() {
    let payload = vec![0; MAX_PACKET - 5 - 3 + 1];
    let topic = TopicName::parse("t").unwrap();
    let mut bytes = Vec::new();
    let too_large = Publish::new(topic, &payload).encode(Version::V3_1_1, &mut bytes);
    assert_eq!(too_large, Err(EncodeError::PacketTooLarge { remaining: 268_435_456 }));
    assert!(bytes.is_empty());
    Publish::new(topic, &payload[1..]).encode(Version::V3_1_1, &mut bytes).unwrap();
    assert_eq!(bytes.len(), MAX_PACKET);
}
