//! Packet identifiers: who has one, which, and for how long.

use std::collections::BTreeSet;

use columba_testkit::codec::{Packet, PacketId, PacketType, SubscriptionOptions};
use columba_testkit::{Client, persistent};

use crate::answers::{expect_sent_away, message};
use crate::raw;
use crate::stage::{Group, Stage, tests};

pub(crate) const TESTS: &[Group] = &[
    tests!(NUMBERED =>
        a_message_at_qos_0_comes_without_a_packet_identifier,
        a_message_at_qos_0_is_read_without_a_packet_identifier,
        a_publish_with_packet_identifier_zero_closes_the_connection,
        a_subscribe_with_packet_identifier_zero_closes_the_connection,
        an_unsubscribe_with_packet_identifier_zero_closes_the_connection,
        messages_that_are_not_acknowledged_have_different_packet_identifiers,
        an_identifier_is_in_use_until_pubcomp,
        a_message_is_sent_again_under_its_packet_identifier,
        pubrel_is_sent_again_under_its_packet_identifier,
        puback_repeats_the_packet_identifier,
        pubrec_and_pubcomp_repeat_the_packet_identifier,
        pubrel_repeats_the_packet_identifier,
        suback_repeats_the_packet_identifier,
        unsuback_repeats_the_packet_identifier,
    ),
    tests!(ONLY_5 =>
        a_packet_without_properties_says_so,
        a_packet_without_a_property_length_is_malformed,
    ),
];

const IDS: [u16; 3] = [1, 0x1234, 65_535];

/// [MQTT-2.2.1-2] [MQTT-2.3.1-5 of 3.1.1]
fn a_message_at_qos_0_comes_without_a_packet_identifier(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    client.subscribe("packet_ids/out", 0);
    client.publish("packet_ids/out", 1, "x");
    assert_eq!(client.next().bytes(), raw::publish(stage.version, 0, b"packet_ids/out", None, b"x"));
}

/// [MQTT-2.2.1-2] [MQTT-2.3.1-5 of 3.1.1]
fn a_message_at_qos_0_is_read_without_a_packet_identifier(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    client.subscribe("packet_ids/in", 0);
    client.publish("packet_ids/in", 0, "\0\x07x");
    message(&client, "packet_ids/in=\0\x07x");
}

/// [MQTT-2.2.1-3] [MQTT-2.3.1-1 of 3.1.1]
fn a_publish_with_packet_identifier_zero_closes_the_connection(stage: &Stage) {
    for flags in [2, 4] {
        expect_sent_away(stage, &raw::publish(stage.version, flags, b"packet_ids/zero", Some(0), b"x"));
    }
}

/// [MQTT-2.2.1-3] [MQTT-2.3.1-1 of 3.1.1]
fn a_subscribe_with_packet_identifier_zero_closes_the_connection(stage: &Stage) {
    expect_sent_away(stage, &raw::subscribe(stage.version, 0x82, 0, b"packet_ids/zero", 0));
}

/// [MQTT-2.2.1-3] [MQTT-2.3.1-1 of 3.1.1]
fn an_unsubscribe_with_packet_identifier_zero_closes_the_connection(stage: &Stage) {
    expect_sent_away(stage, &raw::unsubscribe(stage.version, 0xa2, 0, b"packet_ids/zero"));
}

/// [MQTT-2.2.1-4] [MQTT-2.3.1-1 of 3.1.1]
fn messages_that_are_not_acknowledged_have_different_packet_identifiers(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    client.subscribe("packet_ids/many", 2);
    let publisher = stage.connect("b", |_| ());
    let mut ids = BTreeSet::new();
    for number in 0..10 {
        publisher.publish("packet_ids/many", 1 + number % 2, "x");
        let id = message(&client, "packet_ids/many=x");
        assert!(id > 0 && ids.insert(id), "{id} after {ids:?}");
    }
}

/// [MQTT-2.2.1-4] [MQTT-2.3.1-4 of 3.1.1]
fn an_identifier_is_in_use_until_pubcomp(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    client.subscribe("packet_ids/used", 2);
    let publisher = stage.connect("b", |_| ());
    publisher.publish("packet_ids/used", 2, "first");
    let first = message(&client, "packet_ids/used=first");
    client.ack(PacketType::PubRec, first);
    client.expect(&format!("PUBREL #{first}"));
    for _ in 0..5 {
        publisher.publish("packet_ids/used", 1, "next");
        let next = message(&client, "packet_ids/used=next");
        assert_ne!(next, first);
        client.ack(PacketType::PubAck, next);
    }
}

/// [MQTT-2.3.1-4 of 3.1.1]
fn a_message_is_sent_again_under_its_packet_identifier(stage: &Stage) {
    for qos in [1, 2] {
        let client = new_session(stage);
        client.subscribe("packet_ids/again", qos);
        let publisher = stage.connect("b", |_| ());
        // So that the one in question is not the first.
        publisher.publish("packet_ids/again", 1, "done");
        client.ack(PacketType::PubAck, message(&client, "packet_ids/again=done"));
        publisher.publish("packet_ids/again", qos, "x");
        let id = message(&client, "packet_ids/again=x");
        client.drop_link();
        let client = stage.connect("a", persistent);
        assert_eq!(message(&client, "packet_ids/again=x"), id);
    }
}

/// [MQTT-2.3.1-4 of 3.1.1]
fn pubrel_is_sent_again_under_its_packet_identifier(stage: &Stage) {
    let client = new_session(stage);
    client.subscribe("packet_ids/release", 2);
    stage.connect("b", |_| ()).publish("packet_ids/release", 2, "x");
    let id = message(&client, "packet_ids/release=x");
    client.ack(PacketType::PubRec, id);
    client.expect(&format!("PUBREL #{id}"));
    client.drop_link();
    stage.connect("a", persistent).expect(&format!("PUBREL #{id}"));
}

/// [MQTT-2.2.1-5] [MQTT-2.3.1-6 of 3.1.1]
fn puback_repeats_the_packet_identifier(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    for id in IDS {
        client.send_bytes(&raw::publish(stage.version, 2, b"packet_ids/in", Some(id), b"x"));
        answered(&client, "PUBACK", id);
    }
}

/// [MQTT-2.2.1-5] [MQTT-2.3.1-6 of 3.1.1]
fn pubrec_and_pubcomp_repeat_the_packet_identifier(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    for id in IDS {
        client.send_bytes(&raw::publish(stage.version, 4, b"packet_ids/in", Some(id), b"x"));
        answered(&client, "PUBREC", id);
        client.ack(PacketType::PubRel, id);
        answered(&client, "PUBCOMP", id);
    }
}

/// [MQTT-2.2.1-5] [MQTT-2.3.1-6 of 3.1.1]
fn pubrel_repeats_the_packet_identifier(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    client.subscribe("packet_ids/pubrel", 2);
    let publisher = stage.connect("b", |_| ());
    publisher.publish("packet_ids/pubrel", 2, "first");
    publisher.publish("packet_ids/pubrel", 2, "second");
    let first = message(&client, "packet_ids/pubrel=first");
    let second = message(&client, "packet_ids/pubrel=second");
    for id in [second, first] {
        client.ack(PacketType::PubRec, id);
        client.expect(&format!("PUBREL #{id}"));
    }
}

/// [MQTT-2.2.1-6] [MQTT-2.3.1-7 of 3.1.1]
fn suback_repeats_the_packet_identifier(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    for id in IDS {
        client.send_bytes(&raw::subscribe(stage.version, 0x82, id, b"packet_ids/suback", 0));
        client.expect(&format!("SUBACK #{id} 00"));
    }
}

/// [MQTT-2.2.1-6] [MQTT-2.3.1-7 of 3.1.1]
fn unsuback_repeats_the_packet_identifier(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    for id in IDS {
        client.send_bytes(&raw::unsubscribe(stage.version, 0xa2, id, b"packet_ids/suback"));
        answered(&client, "UNSUBACK", id);
    }
}

/// The acknowledgements of messages may leave the length out where nothing follows. [MQTT-2.2.2-1]
fn a_packet_without_properties_says_so(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    let id = client.start_subscribe(&[("packet_ids/properties", SubscriptionOptions::default())], None);
    let suback = client.take_first(&format!("SUBACK #{id}"));
    has_length(suback.bytes(), 4, 1);
    client.publish("packet_ids/properties", 0, "x");
    has_length(client.next().bytes(), 4 + "packet_ids/properties".len(), 1);
    let id = client.start_unsubscribe(&["packet_ids/properties"]);
    let unsuback = client.take_first(&format!("UNSUBACK #{id}"));
    has_length(unsuback.bytes(), 4, 1);
    let connack = stage.try_connect("b", |_| ()).accepted();
    has_length(connack.bytes(), 4, 0);
}

/// A packet in the form of 3.1.1 on a connection of 5.0. [MQTT-2.2.2-1]
fn a_packet_without_a_property_length_is_malformed(stage: &Stage) {
    expect_sent_away(stage, b"\x82\x06\x00\x01\x00\x01t\x00");
    expect_sent_away(stage, b"\xa2\x05\x00\x01\x00\x01t");
    expect_sent_away(stage, b"\x30\x03\x00\x01t");
}

/// The packet has its property length at this place, with so many bytes after the properties.
#[track_caller]
fn has_length(bytes: &[u8], at: usize, after: usize) {
    assert!(bytes.len() < 128, "its lengths are of one byte");
    assert_eq!(at + 1 + usize::from(bytes[at]) + after, bytes.len(), "{bytes:02x?}");
}

/// A session that lasts, with nothing in it.
fn new_session(stage: &Stage) -> Client {
    stage.connect("a", |_| ()).disconnect();
    stage.connect("a", persistent)
}

/// The next packet is this one, whatever its reason code.
#[track_caller]
fn answered(client: &Client, packet: &str, id: u16) {
    let received = client.next();
    let fine = received.text().strip_prefix(&format!("{packet} #{id}"));
    client.check(fine.is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')), || {
        format!("expected {packet} #{id}, got {}", received.text())
    });
    if let Packet::UnsubAck(ack) = received.packet() {
        assert_eq!(ack.packet_id, PacketId::new(id).expect("not 0"));
    }
}
