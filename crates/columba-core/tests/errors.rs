//! What clients do wrong: the broker says so where it can, closes, and nobody else notices.

use std::num::NonZeroU32;

use columba_core::codec::vectors::{self, Expect, Vector};
use columba_core::codec::{DecodeError, PacketType, SubscriptionOptions, Version};
use columba_core::{Cause, Event};

use crate::world::{ALL, V3_1_1, V5, World, persistent};

/// The codec's table of packets, each sent over a connection: what it refuses is answered with the reason
/// it gives where the version has one, and closed; what it takes never upsets the broker. [MQTT-4.13.1-1]
/// [MQTT-1.5.3-1 of 3.1.1] [MQTT-2.2.2-2 of 3.1.1]
#[test]
fn every_packet_that_is_wrong_ends_its_connection() {
    let mut wrong = 0;
    for vector in vectors::all() {
        let is_connect = vector.bytes.first().is_some_and(|first| first >> 4 == PacketType::Connect as u8);
        let version = if is_connect && !announces_v5(vector) { V3_1_1 } else { vector.version };
        let world = World::new();
        let watcher = world.connect("w", V5, |_| ());
        let client =
            if is_connect { world.open(vector.name, version) } else { world.connect("a", version, |_| ()) };
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

/// What ends a connection of MQTT 5, with the code it ends with. [MQTT-4.13.1-1] [MQTT-4.13.2-1] [MQTT-3.14.2-1]
const WRONG: &[(&str, u8, &[u8])] = &[
    ("a packet of type 0", 0x81, b"\x00\x00"),
    ("a length of five bytes", 0x81, b"\x30\x80\x80\x80\x80\x01"),
    // Flags that are reserved.
    ("[MQTT-2.1.3-1]", 0x81, b"\xc1\x00"),
    ("[MQTT-3.6.1-1]", 0x81, b"\x60\x02\x00\x01"),
    ("[MQTT-3.8.1-1]", 0x81, b"\x80\x07\x00\x01\x00\x00\x01t\x00"),
    ("[MQTT-3.10.1-1]", 0x81, b"\xa0\x06\x00\x01\x00\x00\x01t"),
    ("[MQTT-3.14.1-1]", 0x81, b"\xe1\x00"),
    ("[MQTT-3.15.1-1]", 0x81, b"\xf1\x06\x19\x04\x15\x00\x01m"),
    // PUBLISH.
    ("QoS 3 [MQTT-3.3.1-4]", 0x81, b"\x36\x06\x00\x01t\x00\x01\x00"),
    ("DUP at QoS 0 [MQTT-3.3.1-2]", 0x81, b"\x38\x04\x00\x01t\x00"),
    ("packet identifier 0 [MQTT-2.2.1-3]", 0x81, b"\x32\x06\x00\x01t\x00\x00\x00"),
    ("a wildcard [MQTT-3.3.2-2] [MQTT-4.7.0-1]", 0x81, b"\x30\x04\x00\x01#\x00"),
    ("U+0000 [MQTT-1.5.4-2] [MQTT-4.7.3-2]", 0x81, b"\x30\x04\x00\x01\x00\x00"),
    ("ill-formed UTF-8 [MQTT-1.5.4-1] [MQTT-3.3.2-1]", 0x81, b"\x30\x04\x00\x01\xff\x00"),
    ("a surrogate [MQTT-1.5.4-1]", 0x81, b"\x30\x06\x00\x03\xed\xa0\x80\x00"),
    ("neither topic nor alias [MQTT-4.7.3-1]", 0x82, b"\x30\x03\x00\x00\x00"),
    ("a subscription identifier [MQTT-3.3.4-6]", 0x82, b"\x30\x07\x00\x01t\x02\x0b\x01x"),
    ("a wildcard in the response topic [MQTT-3.3.2-14]", 0x82, b"\x30\x08\x00\x01t\x04\x08\x00\x01#"),
    ("an ill-formed response topic [MQTT-3.3.2-13]", 0x81, b"\x30\x08\x00\x01t\x04\x08\x00\x01\xff"),
    ("an ill-formed content type [MQTT-3.3.2-19]", 0x81, b"\x30\x08\x00\x01t\x04\x03\x00\x01\xff"),
    ("a length in too many bytes [MQTT-1.5.5-1]", 0x81, b"\x30\x05\x00\x01t\x80\x00"),
    ("a property of another packet", 0x81, b"\x30\x09\x00\x01t\x05\x11\x00\x00\x00\x01"),
    ("a property twice", 0x82, b"\x30\x08\x00\x01t\x04\x01\x00\x01\x00"),
    // SUBSCRIBE and UNSUBSCRIBE.
    ("no filter [MQTT-3.8.3-2]", 0x82, b"\x82\x03\x00\x01\x00"),
    ("no filter [MQTT-3.10.3-2]", 0x82, b"\xa2\x03\x00\x01\x00"),
    ("an ill-formed filter [MQTT-3.8.3-1]", 0x81, b"\x82\x07\x00\x01\x00\x00\x01\xff\x00"),
    ("an ill-formed filter [MQTT-3.10.3-1]", 0x81, b"\xa2\x06\x00\x01\x00\x00\x01\xff"),
    ("a misplaced # [MQTT-4.7.1-1]", 0x81, b"\x82\x08\x00\x01\x00\x00\x02a#\x00"),
    ("a misplaced + [MQTT-4.7.1-2]", 0x81, b"\x82\x08\x00\x01\x00\x00\x02a+\x00"),
    ("an empty filter [MQTT-4.7.3-1]", 0x81, b"\x82\x06\x00\x01\x00\x00\x00\x00"),
    ("no share name [MQTT-4.8.2-1]", 0x81, b"\x82\x0f\x00\x01\x00\x00\x09$share//t\x00"),
    ("no shared filter [MQTT-4.8.2-2]", 0x81, b"\x82\x0e\x00\x01\x00\x00\x08$share/g\x00"),
    ("No Local on a shared one [MQTT-3.8.3-4]", 0x82, b"\x82\x10\x00\x01\x00\x00\x0a$share/g/t\x04"),
    ("reserved options [MQTT-3.8.3-5]", 0x81, b"\x82\x07\x00\x01\x00\x00\x01t\x40"),
    ("QoS 3 in the options", 0x82, b"\x82\x07\x00\x01\x00\x00\x01t\x03"),
    ("retain handling 3", 0x82, b"\x82\x07\x00\x01\x00\x00\x01t\x30"),
    ("subscription identifier 0", 0x82, b"\x82\x09\x00\x01\x02\x0b\x00\x00\x01t\x00"),
    // The others.
    ("AUTH out of place [MQTT-4.12.0-7]", 0x82, b"\xf0\x06\x18\x04\x15\x00\x01m"),
    ("DISCONNECT with a reason of CONNACK", 0x82, b"\xe0\x01\x84"),
    ("PUBACK with a reason of SUBACK", 0x82, b"\x40\x03\x00\x01\x8f"),
    ("PUBREL with a reason of PUBREC", 0x82, b"\x62\x03\x00\x01\x97"),
];

#[test]
fn mistakes_have_their_code() {
    for &(what, code, bytes) in WRONG {
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
        let told = fault.is_some_and(|fault| fault.reason.code() == code && !fault.text.is_empty());
        assert!(told, "{what}: {events:?}");
    }
}

/// The same before 5.0, where there is nothing to say.
#[test]
fn mistakes_of_older_clients_end_their_connection() {
    for bytes in [
        // Reserved flags [MQTT-2.2.2-1 of 3.1.1] [MQTT-2.2.2-2 of 3.1.1]: of PUBREL [MQTT-3.6.1-1 of 3.1.1],
        // SUBSCRIBE [MQTT-3.8.1-1 of 3.1.1], UNSUBSCRIBE [MQTT-3.10.1-1 of 3.1.1], DISCONNECT
        // [MQTT-3.14.1-1 of 3.1.1] and a packet of no type.
        &b"\x60\x02\x00\x01"[..],
        b"\x80\x06\x00\x01\x00\x01t\x00",
        b"\xa0\x05\x00\x01\x00\x01t",
        b"\xe1\x00",
        b"\x00\x00",
        // PUBLISH with QoS 3 [MQTT-3.3.1-4 of 3.1.1], DUP at QoS 0 [MQTT-3.3.1-2 of 3.1.1], packet identifier 0
        // [MQTT-2.3.1-1 of 3.1.1], a wildcard [MQTT-3.3.2-2 of 3.1.1], no topic [MQTT-4.7.3-1 of 3.1.1], U+0000
        // [MQTT-1.5.3-2 of 3.1.1] [MQTT-4.7.3-2 of 3.1.1], ill-formed UTF-8 [MQTT-1.5.3-1 of 3.1.1]
        // [MQTT-3.3.2-1 of 3.1.1].
        b"\x36\x05\x00\x01t\x00\x01",
        b"\x38\x03\x00\x01t",
        b"\x32\x05\x00\x01t\x00\x00",
        b"\x30\x03\x00\x01+",
        b"\x30\x02\x00\x00",
        b"\x30\x03\x00\x01\x00",
        b"\x30\x03\x00\x01\xff",
        // SUBSCRIBE without filter [MQTT-3.8.3-3 of 3.1.1], with QoS 3 or reserved bits [MQTT-3.8.3-4 of 3.1.1],
        // with filters that are none [MQTT-4.7.1-2 of 3.1.1] [MQTT-4.7.1-3 of 3.1.1] [MQTT-3.8.3-1 of 3.1.1].
        b"\x82\x02\x00\x01",
        b"\x82\x06\x00\x01\x00\x01t\x03",
        b"\x82\x06\x00\x01\x00\x01t\x04",
        b"\x82\x07\x00\x01\x00\x02a#\x00",
        b"\x82\x07\x00\x01\x00\x02a+\x00",
        b"\x82\x06\x00\x01\x00\x01\xff\x00",
        // UNSUBSCRIBE without filter [MQTT-3.10.3-2 of 3.1.1] and with one that is none [MQTT-3.10.3-1 of 3.1.1].
        b"\xa2\x02\x00\x01",
        b"\xa2\x05\x00\x01\x00\x01\xff",
        // What only MQTT 5 has.
        b"\xf0\x00",
        b"\xe0\x01\x00",
        b"\x40\x03\x00\x01\x00",
    ] {
        let world = World::new();
        let client = world.connect("a", V3_1_1, |_| ());
        client.send_bytes(bytes);
        assert!(!client.is_open(), "{bytes:02x?}");
        client.expect_closed();
    }
}

/// A client that would wait for ever for an answer that it does not take is told so, and nothing is done that it would
/// not hear of. [MQTT-3.8.4-1] [MQTT-3.10.4-4] [MQTT-3.1.2-24]
#[test]
fn an_answer_that_is_too_large_ends_the_connection() {
    let filters: Vec<String> = (0..40).map(|number| format!("{number}")).collect();
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    let connect = |world: &World| {
        world.connect("a", V5, |connect| {
            persistent(connect);
            connect.properties.maximum_packet_size = NonZeroU32::new(30);
        })
    };
    let ask = |count: usize| -> Vec<_> {
        filters[..count].iter().map(|&filter| (filter, SubscriptionOptions::default())).collect()
    };
    let world = World::new();
    let mut client = connect(&world);
    // Five bytes, and one for each filter.
    assert_eq!(client.ask(&ask(25), None).len(), 25);
    assert_eq!(client.unsubscribe(&filters[..25]).len(), 25);
    client.subscribe("stays", 1);
    for count in [26, 40] {
        client = connect(&world);
        client.start_subscribe(&ask(count), None);
        client.expect_disconnect(0x95);
        client = connect(&world);
        client.start_unsubscribe(&[&["stays"], &filters[1..count]].concat());
        client.expect_disconnect(0x95);
        assert_eq!(world.metrics().subscriptions, 1);
    }
    let told = |event: &Event| match event {
        Event::Disconnected { cause: Cause::Fault(fault), .. } => fault.reason.code() == 0x95,
        _ => false,
    };
    assert_eq!(world.events().iter().filter(|&event| told(event)).count(), 4);
}

/// Whoever takes a CONNACK takes every other short answer too.
#[test]
fn small_answers_always_fit() {
    let mut accepted = 0;
    for size in 1..40 {
        let world = World::new();
        let client = world.try_connect("a", V5, |connect| {
            connect.properties.maximum_packet_size = NonZeroU32::new(size);
        });
        if !client.is_open() {
            continue;
        }
        accepted += 1;
        client.accepted();
        client.ping();
        client.start("t", 1, "", |_| ());
        client.start("t", 2, "", |_| ());
        client.ack(PacketType::PubRec, 9);
        client.ack(PacketType::PubRel, 9);
        client.expect_all(&["PUBACK #1 10", "PUBREC #2 10", "PUBREL #9 92", "PUBCOMP #9 92"]);
        client.send_bytes(b"\x00\x00");
        client.expect_disconnect(0x81);
    }
    assert!(accepted > 10);
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
