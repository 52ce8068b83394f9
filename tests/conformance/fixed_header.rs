//! The first bytes of a packet: flags, and the length that follows.

use columba_testkit::codec::{Packet, PacketId, PacketType, SubscriptionOptions};
use columba_testkit::{Client, level};

use crate::answers::{expect_not_understood, expect_sent_away, sent_away};
use crate::raw::{self, RawConnect};
use crate::stage::{Group, Stage, V5, tests};

pub(crate) const TESTS: &[Group] = &[
    tests!(NUMBERED =>
        wrong_flags_of_connect_are_not_understood,
        wrong_flags_of_an_acknowledgement_close_the_connection,
        wrong_flags_of_subscribe_close_the_connection,
        wrong_flags_of_unsubscribe_close_the_connection,
        wrong_flags_of_pingreq_close_the_connection,
        wrong_flags_of_disconnect_close_the_connection,
        the_broker_sets_the_flags_that_the_standard_lists,
    ),
    tests!(ALL =>
        a_packet_of_no_type_closes_the_connection,
        a_length_of_more_than_four_bytes_closes_the_connection,
        lengths_are_read_and_written_in_as_few_bytes_as_they_need,
    ),
    tests!(ONLY_5 =>
        wrong_flags_of_auth_close_the_connection,
        a_remaining_length_in_more_bytes_than_it_needs_is_malformed,
        a_property_length_in_more_bytes_than_it_needs_is_malformed,
        a_subscription_identifier_in_more_bytes_than_it_needs_is_malformed,
    ),
];

/// [MQTT-2.1.3-1] [MQTT-2.2.2-1 of 3.1.1] [MQTT-2.2.2-2 of 3.1.1]
fn wrong_flags_of_connect_are_not_understood(stage: &Stage) {
    for first in 0x11..=0x1f {
        let connect = RawConnect { first, ..RawConnect::new(stage.version, 0, &[b"flags"]) };
        expect_not_understood(stage, &connect.bytes());
    }
}

/// [MQTT-2.1.3-1] [MQTT-2.2.2-1 of 3.1.1] [MQTT-2.2.2-2 of 3.1.1]
fn wrong_flags_of_an_acknowledgement_close_the_connection(stage: &Stage) {
    for (packet, right) in [(0x40, 0), (0x50, 0), (0x60, 2), (0x70, 0)] {
        for flags in (0..16).filter(|&flags| flags != right) {
            expect_sent_away(stage, &[packet | flags, 2, 0, 1]);
        }
    }
}

/// [MQTT-2.1.3-1] [MQTT-2.2.2-1 of 3.1.1] [MQTT-2.2.2-2 of 3.1.1]
fn wrong_flags_of_subscribe_close_the_connection(stage: &Stage) {
    for flags in (0..16).filter(|&flags| flags != 2) {
        expect_sent_away(stage, &raw::subscribe(stage.version, 0x80 | flags, 1, b"fixed_header/flags", 0));
    }
}

/// [MQTT-2.1.3-1] [MQTT-2.2.2-1 of 3.1.1] [MQTT-2.2.2-2 of 3.1.1]
fn wrong_flags_of_unsubscribe_close_the_connection(stage: &Stage) {
    for flags in (0..16).filter(|&flags| flags != 2) {
        expect_sent_away(stage, &raw::unsubscribe(stage.version, 0xa0 | flags, 1, b"fixed_header/flags"));
    }
}

/// [MQTT-2.1.3-1] [MQTT-2.2.2-1 of 3.1.1] [MQTT-2.2.2-2 of 3.1.1]
fn wrong_flags_of_pingreq_close_the_connection(stage: &Stage) {
    for first in 0xc1..=0xcf {
        expect_sent_away(stage, &[first, 0]);
    }
}

/// It is no goodbye: the will is published. [MQTT-2.1.3-1] [MQTT-2.2.2-1 of 3.1.1] [MQTT-2.2.2-2 of 3.1.1]
fn wrong_flags_of_disconnect_close_the_connection(stage: &Stage) {
    let watcher = stage.connect("watcher", |_| ());
    watcher.subscribe("fixed_header/will", 0);
    for first in 0xe1..=0xef {
        let client = stage.connect("breaker", |connect| {
            connect.will = Some(columba_testkit::will("fixed_header/will", "x"));
        });
        client.send_bytes(&[first, 0]);
        sent_away(&client);
        watcher.expect("PUBLISH fixed_header/will=x");
    }
}

/// [MQTT-2.1.3-1]
fn wrong_flags_of_auth_close_the_connection(stage: &Stage) {
    for first in 0xf1..=0xff {
        expect_sent_away(stage, &[first, 2, 0x19, 0]);
    }
}

/// [MQTT-2.1.3-1] [MQTT-2.2.2-1 of 3.1.1]
fn the_broker_sets_the_flags_that_the_standard_lists(stage: &Stage) {
    let client = stage.open("a");
    client.connect(&stage.id("a"), |_| ());
    assert_eq!(client.accepted().bytes()[0], 0x20);
    let id = client.start_subscribe(&[("fixed_header/out", two())], None);
    first_byte(&client, &format!("SUBACK #{id}"), 0x90);
    let id = client.start("fixed_header/out", 1, "x", |_| ());
    first_byte(&client, &format!("PUBACK #{id}"), 0x40);
    let id = client.start("fixed_header/out", 2, "x", |_| ());
    first_byte(&client, &format!("PUBREC #{id}"), 0x50);
    client.ack(PacketType::PubRel, id);
    first_byte(&client, &format!("PUBCOMP #{id}"), 0x70);
    // DUP 0, the QoS, RETAIN 0.
    first_byte(&client, "PUBLISH", 0x32);
    let received = client.take_first("PUBLISH");
    assert_eq!(received.bytes()[0], 0x34);
    let Packet::Publish(publish) = received.packet() else { unreachable!("it was taken as one") };
    client.ack(PacketType::PubRec, publish.packet_id.map_or(0, PacketId::get));
    first_byte(&client, "PUBREL", 0x62);
    let id = client.start_unsubscribe(&["fixed_header/out"]);
    first_byte(&client, &format!("UNSUBACK #{id}"), 0xb0);
    client.send(&Packet::PingReq);
    first_byte(&client, "PINGRESP", 0xd0);
}

/// No id in either standard, which forbid type 0, and before 5.0 also type 15.
fn a_packet_of_no_type_closes_the_connection(stage: &Stage) {
    expect_not_understood(stage, b"\x00\x00");
    expect_sent_away(stage, b"\x00\x00");
    if stage.version < V5 {
        expect_sent_away(stage, b"\xf0\x00");
    }
}

/// No id in any standard.
fn a_length_of_more_than_four_bytes_closes_the_connection(stage: &Stage) {
    expect_not_understood(stage, b"\x10\xff\xff\xff\xff\x7f");
    expect_sent_away(stage, b"\x30\xff\xff\xff\xff\x01");
}

/// Remaining lengths on both sides of where another byte is needed. [MQTT-1.5.5-1]
fn lengths_are_read_and_written_in_as_few_bytes_as_they_need(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    client.subscribe("fixed_header/length", 0);
    let around = "fixed_header/length".len() + 2 + usize::from(stage.is_v5());
    for (remaining, header) in [(127, 2), (128, 3), (16_383, 3), (16_384, 4)] {
        let payload = vec![b'x'; remaining - around];
        client.publish("fixed_header/length", 0, &payload);
        let received = client.next();
        assert_eq!(received.bytes().len(), header + remaining);
        let Packet::Publish(publish) = received.packet() else { panic!("{}", received.text()) };
        assert_eq!(publish.payload, payload);
    }
}

/// [MQTT-1.5.5-1]
fn a_remaining_length_in_more_bytes_than_it_needs_is_malformed(stage: &Stage) {
    expect_sent_away(stage, b"\xc0\x80\x00");
    expect_sent_away(stage, b"\x30\x86\x80\x00\x00\x01t\x00xy");
}

/// [MQTT-1.5.5-1]
fn a_property_length_in_more_bytes_than_it_needs_is_malformed(stage: &Stage) {
    expect_sent_away(stage, b"\x30\x06\x00\x01t\x80\x00x");
}

/// [MQTT-1.5.5-1]
fn a_subscription_identifier_in_more_bytes_than_it_needs_is_malformed(stage: &Stage) {
    expect_sent_away(stage, b"\x82\x0a\x00\x01\x03\x0b\x81\x00\x00\x01t\x00");
}

/// A subscription's options.
fn two() -> SubscriptionOptions {
    SubscriptionOptions { qos: level(2), ..SubscriptionOptions::default() }
}

#[track_caller]
fn first_byte(client: &Client, words: &str, expected: u8) {
    assert_eq!(client.take_first(words).bytes()[0], expected, "{words}");
}
