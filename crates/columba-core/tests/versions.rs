//! What differs from version to version, and what goes between them.

use columba_core::codec::{Packet, Version};

use crate::world::{ALL, Client, V3_1, V3_1_1, V5, World, persistent};

/// Sends raw bytes to a fresh client of this version, and returns what becomes of it.
fn send(version: Version, bytes: &[u8]) -> (World, Client) {
    let world = World::new();
    let client = world.connect("a", version, |_| ());
    client.send_bytes(bytes);
    (world, client)
}

/// Every publisher reaches every subscriber.
#[test]
fn messages_go_from_every_version_to_every_version() {
    for from in ALL {
        for to in ALL {
            let world = World::new();
            let subscriber = world.connect("s", to, persistent);
            subscriber.subscribe("t/+", 2);
            let publisher = world.connect("p", from, |_| ());
            for qos in 0..3 {
                publisher.publish("t/x", qos, "hello");
                publisher.retain("t/retained", qos, "hello");
            }
            assert_eq!(subscriber.messages(), ["t/x=hello", "t/retained=hello"].repeat(3));
            subscriber.subscribe("t/retained", 2);
            subscriber.expect("PUBLISH t/retained=hello q2 #5 retain");
        }
    }
}

/// A session may go on in another version. What is of MQTT 5 in it waits, and is left out where there is no word for
/// it.
#[test]
fn a_session_may_go_on_in_another_version() {
    for before in ALL {
        for after in ALL {
            let world = World::new();
            let client = world.connect("a", before, persistent);
            client.subscribe("t", 2);
            let publisher = world.connect("p", V5, |_| ());
            let with_properties = |publish: &mut columba_core::codec::Publish<'_>| {
                publish.properties.content_type = Some("c");
            };
            publisher.publish_with("t", 1, "sent", with_properties);
            client.drop_link();
            publisher.publish_with("t", 2, "waits", with_properties);
            let client = world.connect("a", after, persistent);
            let content_type = if after == V5 { " type=c" } else { "" };
            client.expect_all(&[
                format!("PUBLISH t=sent q1 #1 dup{content_type}"),
                format!("PUBLISH t=waits q2 #2{content_type}"),
            ]);
        }
    }
}

/// How long a session lasts is for the version it went on in to say.
#[test]
fn a_sessions_end_is_that_of_its_last_connection() {
    let world = World::new();
    world.connect("a", V5, persistent).drop_link();
    world.connect("a", V3_1_1, persistent).drop_link();
    world.advance(1_000_000);
    assert_eq!(world.metrics().sessions, 1);
    world.connect("a", V5, |connect| connect.clean_start = false).drop_link();
    assert_eq!(world.metrics().sessions, 0);
}

/// Byte for byte, as short as they are before 5.0.
#[test]
fn answers_have_the_form_of_the_version() {
    for version in [V3_1, V3_1_1] {
        for (sent, expected) in [
            (&b"\x82\x06\x00\x07\x00\x01t\x01"[..], &b"\x90\x03\x00\x07\x01"[..]),
            (b"\xa2\x05\x00\x07\x00\x01t", b"\xb0\x02\x00\x07"),
            (b"\x32\x05\x00\x01t\x00\x07", b"\x40\x02\x00\x07"),
            (b"\x34\x05\x00\x01t\x00\x07", b"\x50\x02\x00\x07"),
            (b"\x62\x02\x00\x07", b"\x70\x02\x00\x07"),
            (b"\x50\x02\x00\x07", b"\x62\x02\x00\x07"),
            (b"\xc0\x00", b"\xd0\x00"),
        ] {
            let (_world, client) = send(version, sent);
            assert_eq!(client.next().bytes, expected);
            client.expect_nothing();
        }
    }
}

/// What the document of 2010 leaves open or calls unused is taken from a client of 3.1 and from no other.
#[test]
fn a_client_of_3_1_is_taken_as_it_is() {
    for (what, bytes, answer) in [
        ("SUBSCRIBE with DUP", &b"\x8a\x06\x00\x07\x00\x01t\x01"[..], &b"\x90\x03\x00\x07\x01"[..]),
        ("UNSUBSCRIBE with DUP", b"\xaa\x05\x00\x07\x00\x01t", b"\xb0\x02\x00\x07"),
        ("PUBREL with DUP", b"\x6a\x02\x00\x07", b"\x70\x02\x00\x07"),
        ("PINGREQ with flags", b"\xc7\x00", b"\xd0\x00"),
        ("PUBLISH with DUP at QoS 0", b"\x38\x03\x00\x01t", b""),
    ] {
        let (world, client) = send(V3_1, bytes);
        if !answer.is_empty() {
            assert_eq!(client.next().bytes, answer, "{what}");
        }
        client.ping();
        assert_eq!(world.metrics().connections, 1);
        let (_world, client) = send(V3_1_1, bytes);
        client.expect_closed();
    }
}

/// A CONNECT of 3.1 as some clients send it.
#[test]
fn a_connect_of_3_1_may_be_loose() {
    for (what, bytes, accepted) in [
        ("as it should be", &b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x00\x00\x01a"[..], true),
        ("the reserved flag", b"\x10\x0f\x00\x06MQIsdp\x03\x03\x00\x00\x00\x01a", true),
        ("will options without a will", b"\x10\x0f\x00\x06MQIsdp\x03\x2a\x00\x00\x00\x01a", true),
        ("no user name behind its flag", b"\x10\x0f\x00\x06MQIsdp\x03\x82\x00\x00\x00\x01a", true),
        ("a password without user name", b"\x10\x12\x00\x06MQIsdp\x03\x42\x00\x00\x00\x01a\x00\x01x", false),
        ("will QoS 3", b"\x10\x15\x00\x06MQIsdp\x03\x1e\x00\x00\x00\x01a\x00\x01w\x00\x01x", false),
    ] {
        let world = World::new();
        let client = world.open("a", V3_1);
        client.send_bytes(bytes);
        if accepted {
            assert_eq!(client.next().bytes, [0x20, 2, 0, 0], "{what}");
            client.ping();
        } else {
            client.expect_closed();
        }
    }
}

/// A resent SUBSCRIBE, as 3.1 allows it, is answered each time.
#[test]
fn a_request_that_is_sent_twice_is_answered_twice() {
    let (world, client) = send(V3_1, b"\x82\x06\x00\x07\x00\x01t\x01\x8a\x06\x00\x07\x00\x01t\x01");
    client.expect_all(&["SUBACK #7 01", "SUBACK #7 01"]);
    assert_eq!(world.metrics().subscriptions, 1);
}

/// The broker's own words are those of the version: the rules see to it that no older client is sent DISCONNECT or
/// AUTH, whatever happens.
#[test]
fn older_clients_are_closed_without_a_word() {
    for version in [V3_1, V3_1_1] {
        for bytes in [&b"\x36\x05\x00\x01t\x00\x07"[..], b"\xf0\x00", b"\xe0\x01\x00", b"\x30\x03\x00\x01+"] {
            let (_world, client) = send(version, bytes);
            client.expect_closed();
        }
    }
}

/// One port, all versions, at the same time.
#[test]
fn clients_of_all_versions_share_a_broker() {
    let world = World::new();
    let clients: Vec<_> =
        ALL.iter().map(|&version| world.connect(&version.to_string(), version, |_| ())).collect();
    for client in &clients {
        client.subscribe("t", 1);
    }
    for client in &clients {
        client.publish("t", 1, client.version().to_string());
    }
    for client in &clients {
        assert_eq!(client.messages(), ["t=MQTT 3.1", "t=MQTT 3.1.1", "t=MQTT 5.0"]);
        client.send(&Packet::PingReq);
        client.expect("PINGRESP");
    }
}
