//! What clients do wrong: the broker says so where it can, closes, and nobody else notices.

use columba_core::codec::vectors::{self, Expect, Vector};
use columba_core::codec::{DecodeError, PacketType, Version};
use columba_core::{Cause, Event};

use crate::world::{ALL, V3_1_1, V5, World, persistent};

/// The codec's table of packets, each sent over a connection: what it refuses is answered with the reason it gives
/// where the version has one, and closed; what it takes never upsets the broker. [MQTT-4.13.1-1]
#[test]
fn every_packet_that_is_wrong_ends_its_connection() {
    let mut wrong = 0;
    for vector in vectors::all() {
        let is_connect = vector.bytes.first().is_some_and(|first| first >> 4 == PacketType::Connect as u8);
        let version = if is_connect && !announces_v5(vector) { V3_1_1 } else { vector.version };
        let world = World::new();
        let watcher = world.connect("w", V5, |_| ());
        let client = if is_connect {
            world.open(vector.name, version)
        } else {
            world.connect("a", version, |_| ())
        };
        if let Expect::Fails(error) = vector.expect {
            wrong += 1;
            client.send_bytes(vector.bytes);
            assert!(!client.is_open(), "{} of {}", vector.name, vector.version);
            let last = client.texts().pop();
            assert_eq!(last, said(vector, &error, is_connect), "{} of {}", vector.name, vector.version);
        } else if !is_connect {
            client.send_bytes(vector.bytes);
        }
        watcher.ping();
    }
    assert!(wrong > 100, "{wrong}");
}

fn announces_v5(vector: &Vector) -> bool {
    vector.bytes.windows(5).any(|bytes| bytes == b"MQTT\x05")
}

/// The broker's last words.
fn said(vector: &Vector, error: &DecodeError, is_connect: bool) -> Option<String> {
    let code = error.reason_code().code();
    let v5 = if is_connect { announces_v5(vector) } else { vector.version == Version::V5 };
    match (is_connect, v5) {
        (true, true) => Some(format!("CONNACK {code:02x}")),
        (true, false) if matches!(error, DecodeError::UnsupportedVersion { .. }) => Some("CONNACK 84".into()),
        (false, true) => Some(format!("DISCONNECT {code:02x}")),
        _ => None,
    }
}

/// What is whole in itself and wrong in this place. [MQTT-4.13.1-1]
#[test]
fn protocol_errors_have_their_code() {
    for (what, code, bytes) in [
        // A subscription identifier from a client [MQTT-3.3.4-6].
        ("PUBLISH with subscription identifier", 0x82, &b"\x30\x07\x00\x01t\x02\x0b\x01x"[..]),
        ("PUBLISH without topic or alias", 0x82, b"\x30\x03\x00\x00\x00"),
        ("PUBLISH with packet identifier 0", 0x81, b"\x32\x06\x00\x01t\x00\x00\x00"),
        ("PUBLISH with a wildcard", 0x81, b"\x30\x04\x00\x01#\x00"),
        ("SUBSCRIBE without a filter", 0x82, b"\x82\x03\x00\x01\x00"),
        ("UNSUBSCRIBE without a filter", 0x82, b"\xa2\x03\x00\x01\x00"),
        ("No Local on a shared subscription", 0x82, b"\x82\x10\x00\x01\x00\x00\x0a$share/g/t\x04"),
        ("a filter that is none", 0x81, b"\x82\x08\x00\x01\x00\x00\x02a#\x00"),
        ("AUTH out of place", 0x82, b"\xf0\x06\x18\x04\x15\x00\x01m"),
        ("a packet of type 0", 0x81, b"\x00\x00"),
        ("a length of five bytes", 0x81, b"\x30\x80\x80\x80\x80\x01"),
        ("DISCONNECT with a reserved flag", 0x81, b"\xe1\x00"),
        ("DISCONNECT with a reason of CONNACK", 0x82, b"\xe0\x01\x84"),
    ] {
        let world = World::new();
        let client = world.connect("a", V5, |_| ());
        client.send_bytes(bytes);
        let text = client.next().text;
        assert_eq!(text, format!("DISCONNECT {code:02x}"), "{what}");
        client.expect_closed();
        let events = world.events();
        let fault = events.iter().find_map(|event| match event {
            Event::Disconnected { cause: Cause::Fault(fault), .. } => Some(fault),
            _ => None,
        });
        assert!(fault.is_some_and(|fault| fault.reason.code() == code && !fault.text.is_empty()), "{what}: {events:?}");
    }
}

/// What came before the mistake counts, what comes after does not.
#[test]
fn a_mistake_ends_the_input_where_it_is() {
    for version in ALL {
        let world = World::new();
        let watcher = world.connect("w", V5, |_| ());
        watcher.subscribe("#", 0);
        let client = world.connect("a", version, |_| ());
        let mut bytes = Vec::new();
        let publish = |text| columba_core::codec::Publish::new(crate::world::name(text), b"");
        publish("before").encode(version, &mut bytes).expect("it is one");
        bytes.extend_from_slice(b"\x00\x00");
        publish("after").encode(version, &mut bytes).expect("it is one");
        client.send_bytes(&bytes);
        client.expect_disconnect(0x81);
        watcher.expect_all(&["PUBLISH before="]);
    }
}

/// A connection that ends in an error leaves the session as any other does.
#[test]
fn a_mistake_costs_the_connection_and_not_the_session() {
    for version in ALL {
        let world = World::new();
        let client = world.connect("a", version, persistent);
        client.subscribe("t", 1);
        client.send_bytes(b"\x00\x00");
        client.expect_disconnect(0x81);
        world.connect("p", V3_1_1, |_| ()).publish("t", 1, "x");
        world.connect("a", version, persistent).expect_all(&["PUBLISH t=x q1 #1"]);
    }
}

/// A packet that is not whole yet is waited for, at no cost to others.
#[test]
fn half_a_packet_is_no_mistake() {
    for version in ALL {
        let world = World::new();
        let client = world.connect("a", version, |_| ());
        client.subscribe("t", 0);
        let mut bytes = Vec::new();
        let payload = vec![b'x'; 20_000];
        let publish = columba_core::codec::Publish::new(crate::world::name("t"), &payload);
        publish.encode(version, &mut bytes).expect("it is one");
        client.send_bytes(&bytes[..bytes.len() - 1]);
        world.advance(1_000_000);
        world.connect("p", V5, |_| ()).publish("t", 0, "between");
        client.expect_all(&["PUBLISH t=between"]);
        client.send_bytes(&bytes[bytes.len() - 1..]);
        client.expect_all(&["PUBLISH t=<20000 bytes>"]);
    }
}
