//! Packets that are wrong: the connection ends, and nothing else does.

use columba_testkit::codec::{Packet, Publish};
use columba_testkit::{Version, name, persistent};

use crate::stage::{Group, Stage, tests};
use crate::steps::{
    EITHER_ERROR, MALFORMED, delivered, ends, ends_over, is_refused, lasting, raw_subscribe, raw_unsubscribe,
};

pub(crate) const TESTS: &[Group] = &[
    tests!(ALL =>
        a_packet_of_no_type_ends_the_connection,
        a_length_that_does_not_end_ends_the_connection,
        a_second_connect_ends_the_connection,
        a_packet_that_is_too_short_for_its_fields_ends_the_connection,
        a_mistake_costs_the_connection_and_not_the_session,
        a_mistake_disturbs_nobody_else,
        what_came_before_a_mistake_counts_and_what_comes_after_does_not,
        half_a_packet_is_no_mistake,
        a_connect_that_is_refused_ends_the_connection,
        what_follows_a_refused_connect_has_no_effect,
    ),
    tests!(OLD => auth_before_5_0_ends_the_connection),
    tests!(NUMBERED =>
        packets_that_only_brokers_send_end_the_connection,
        a_packet_with_more_than_its_fields_ends_the_connection,
        qos_3_ends_the_connection,
        packet_identifier_0_ends_the_connection,
    ),
    tests!(ONLY_3_1_1, |config| config.limits.stored_bytes = 4_000 =>
        a_message_there_is_no_room_for_ends_the_connection),
    tests!(ONLY_5 =>
        a_length_in_more_bytes_than_it_needs_ends_the_connection,
        properties_that_go_on_beyond_the_packet_end_the_connection,
        a_property_that_does_not_exist_ends_the_connection,
        a_property_of_another_packet_ends_the_connection,
        a_property_twice_ends_the_connection,
        a_property_with_a_value_it_cannot_have_ends_the_connection,
        a_reason_code_of_another_packet_ends_the_connection,
        an_alias_that_is_none_ends_the_connection,
        a_disconnect_of_the_broker_is_followed_by_the_end,
    ),
];

/// [MQTT-4.13.1-1] [MQTT-4.8.0-1 of 3.1.1]
fn a_packet_of_no_type_ends_the_connection(stage: &Stage) {
    ends_over(stage, b"\x00\x00", EITHER_ERROR);
    ends_over(stage, b"\x00\x02xx", EITHER_ERROR);
}

/// [MQTT-4.13.1-1] [MQTT-4.8.0-1 of 3.1.1]
fn a_length_that_does_not_end_ends_the_connection(stage: &Stage) {
    ends_over(stage, b"\x30\x80\x80\x80\x80\x01", EITHER_ERROR);
    ends_over(stage, b"\xc0\xff\xff\xff\xff\xff", EITHER_ERROR);
}

/// [MQTT-4.13.1-1] [MQTT-4.8.0-1 of 3.1.1]
fn a_second_connect_ends_the_connection(stage: &Stage) {
    let client = stage.connect("twice", |_| ());
    client.connect("twice", |_| ());
    ends(&client, EITHER_ERROR);
}

/// [MQTT-4.13.1-1] [MQTT-4.8.0-1 of 3.1.1]
fn packets_that_only_brokers_send_end_the_connection(stage: &Stage) {
    let (connack, suback, unsuback): (&[u8], &[u8], &[u8]) = if stage.is_v5() {
        (b"\x20\x03\x00\x00\x00", b"\x90\x04\x00\x01\x00\x00", b"\xb0\x04\x00\x01\x00\x00")
    } else {
        (b"\x20\x02\x00\x00", b"\x90\x03\x00\x01\x00", b"\xb0\x02\x00\x01")
    };
    for bytes in [connack, suback, unsuback, b"\xd0\x00"] {
        ends_over(stage, bytes, EITHER_ERROR);
    }
}

/// [MQTT-4.13.1-1] [MQTT-4.8.0-1 of 3.1.1]
fn a_packet_that_is_too_short_for_its_fields_ends_the_connection(stage: &Stage) {
    for bytes in [
        // PUBLISH: no topic, a topic that goes on beyond the end, no packet identifier.
        &b"\x30\x00"[..],
        b"\x30\x03\x00\x05t",
        b"\x32\x03\x00\x01t",
        // Acknowledgements and requests without a packet identifier, or with half of one.
        b"\x40\x00",
        b"\x62\x01\x00",
        b"\x82\x00",
        b"\xa2\x01\x00",
        // SUBSCRIBE without options behind its filter, with a filter that goes on beyond the end.
        b"\x82\x05\x00\x01\x00\x01t",
        b"\x82\x06\x00\x01\x00\x01\x00\x09",
    ] {
        ends_over(stage, bytes, EITHER_ERROR);
    }
}

/// [MQTT-4.13.1-1] [MQTT-4.8.0-1 of 3.1.1]
fn a_packet_with_more_than_its_fields_ends_the_connection(stage: &Stage) {
    let more: &[&[u8]] = if stage.is_v5() {
        // Behind the properties there is nothing either.
        &[b"\x40\x05\x00\x01\x00\x00\x00", b"\xc0\x01\x00", b"\xe0\x03\x00\x00\x00"]
    } else {
        &[b"\x40\x03\x00\x01\x00", b"\xc0\x01\x00", b"\xe0\x01\x00"]
    };
    for bytes in more {
        ends_over(stage, bytes, EITHER_ERROR);
    }
}

/// [MQTT-4.13.1-1]
fn a_mistake_costs_the_connection_and_not_the_session(stage: &Stage) {
    let client = lasting(stage, "mistaken");
    client.subscribe("errors/session", 1);
    client.send_bytes(b"\x00\x00");
    ends(&client, EITHER_ERROR);
    stage.connect("publisher", |_| ()).publish("errors/session", 1, "x");
    delivered(&stage.connect("mistaken", persistent), "PUBLISH errors/session=x q1 #n");
}

/// [MQTT-4.13.1-1] closes the connection it came on. [MQTT-4.8.0-1 of 3.1.1]
fn a_mistake_disturbs_nobody_else(stage: &Stage) {
    let other = stage.connect("other", |_| ());
    other.subscribe("errors/others", 0);
    ends_over(stage, b"\x00\x00", EITHER_ERROR);
    other.publish("errors/others", 0, "x");
    other.expect_all(&["PUBLISH errors/others=x"]);
}

/// [MQTT-4.13.1-1] [MQTT-4.8.0-1 of 3.1.1]
fn what_came_before_a_mistake_counts_and_what_comes_after_does_not(stage: &Stage) {
    let watcher = stage.connect("watcher", |_| ());
    watcher.subscribe("errors/around/+", 0);
    let client = stage.connect("mistaken", |_| ());
    let mut bytes = Vec::new();
    let publish = |topic, bytes: &mut Vec<u8>| {
        Publish::new(name(topic), b"x").encode(stage.version, bytes).expect("it can be encoded");
    };
    publish("errors/around/before", &mut bytes);
    bytes.extend_from_slice(b"\x00\x00");
    publish("errors/around/after", &mut bytes);
    client.send_bytes(&bytes);
    ends(&client, EITHER_ERROR);
    watcher.expect_all(&["PUBLISH errors/around/before=x"]);
}

/// [MQTT-4.13.1-1] is about what is there.
fn half_a_packet_is_no_mistake(stage: &Stage) {
    let client = stage.connect("slow", |_| ());
    client.subscribe("errors/half", 0);
    let mut bytes = Vec::new();
    Publish::new(name("errors/half"), b"x").encode(stage.version, &mut bytes).expect("it can be encoded");
    for byte in &bytes[..bytes.len() - 1] {
        client.send_bytes(&[*byte]);
    }
    stage.advance(1);
    client.send_bytes(&bytes[bytes.len() - 1..]);
    client.expect_all(&["PUBLISH errors/half=x"]);
}

/// [MQTT-4.13.2-1] [MQTT-4.8.0-1 of 3.1.1]
fn a_connect_that_is_refused_ends_the_connection(stage: &Stage) {
    let client = stage.open("refused");
    client.send_bytes(refused(stage));
    is_refused(&client, REFUSED);
}

/// [MQTT-4.13.2-1] [MQTT-4.8.0-1 of 3.1.1]
fn what_follows_a_refused_connect_has_no_effect(stage: &Stage) {
    let watcher = stage.connect("watcher", |_| ());
    watcher.subscribe("errors/refused", 0);
    let client = stage.open("refused");
    let mut bytes = refused(stage).to_vec();
    Publish::new(name("errors/refused"), b"x").encode(stage.version, &mut bytes).expect("it can be encoded");
    client.send_bytes(&bytes);
    is_refused(&client, REFUSED);
    watcher.expect_nothing();
}

/// What a broker may say to the following.
const REFUSED: &[u8] = &[0x02, 0x80, 0x81, 0x82];

/// A CONNECT without client identifier that wants to keep its session; in 5.0, where that will do, one with a will at
/// QoS 3.
fn refused(stage: &Stage) -> &'static [u8] {
    match stage.version {
        Version::V3_1 => b"\x10\x0e\x00\x06MQIsdp\x03\x00\x00\x0a\x00\x00",
        Version::V3_1_1 => b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x0a\x00\x00",
        Version::V5 => b"\x10\x16\x00\x04MQTT\x05\x1e\x00\x0a\x00\x00\x02re\x00\x00\x01t\x00\x01w",
    }
}

/// [MQTT-4.8.0-1 of 3.1.1]
fn auth_before_5_0_ends_the_connection(stage: &Stage) {
    ends_over(stage, b"\xf0\x00", &[]);
    ends_over(stage, b"\xf0\x06\x18\x04\x15\x00\x01m", &[]);
}

/// [MQTT-4.13.1-1] [MQTT-4.8.0-1 of 3.1.1]
fn qos_3_ends_the_connection(stage: &Stage) {
    let publish: &[u8] =
        if stage.is_v5() { b"\x36\x06\x00\x01t\x00\x01\x00" } else { b"\x36\x05\x00\x01t\x00\x01" };
    ends_over(stage, publish, EITHER_ERROR);
}

/// [MQTT-4.13.1-1] [MQTT-4.8.0-1 of 3.1.1]
fn packet_identifier_0_ends_the_connection(stage: &Stage) {
    ends_over(stage, &raw_subscribe(stage, 0x82, 0, &[(b"errors/zero", 0)]), EITHER_ERROR);
    ends_over(stage, &raw_unsubscribe(stage, 0xa2, 0, &[b"errors/zero"]), EITHER_ERROR);
}

/// A publisher that cannot be told no is cut off, so that it sends the message again. [MQTT-4.8.0-2 of 3.1.1]
fn a_message_there_is_no_room_for_ends_the_connection(stage: &Stage) {
    let away = lasting(stage, "away");
    away.subscribe("errors/room", 1);
    away.drop_link();
    let client = stage.connect("publisher", |_| ());
    client.start("errors/room", 1, vec![b'x'; 5_000], |_| ());
    ends(&client, &[]);
}

/// [MQTT-4.13.1-1]
fn a_length_in_more_bytes_than_it_needs_ends_the_connection(stage: &Stage) {
    ends_over(stage, b"\x30\x05\x00\x01t\x80\x00", MALFORMED);
}

/// [MQTT-4.13.1-1]
fn properties_that_go_on_beyond_the_packet_end_the_connection(stage: &Stage) {
    ends_over(stage, b"\x30\x05\x00\x01t\x7fx", EITHER_ERROR);
    ends_over(stage, b"\x30\x08\x00\x01t\x04\x03\x00\x09x", EITHER_ERROR);
}

/// [MQTT-4.13.1-1]
fn a_property_that_does_not_exist_ends_the_connection(stage: &Stage) {
    ends_over(stage, b"\x30\x06\x00\x01t\x02\x04\x00", EITHER_ERROR);
}

/// [MQTT-4.13.1-1]
fn a_property_of_another_packet_ends_the_connection(stage: &Stage) {
    // Session expiry in PUBLISH, subscription identifier in UNSUBSCRIBE.
    ends_over(stage, b"\x30\x09\x00\x01t\x05\x11\x00\x00\x00\x01", EITHER_ERROR);
    ends_over(stage, b"\xa2\x08\x00\x01\x02\x0b\x01\x00\x01t", EITHER_ERROR);
}

/// [MQTT-4.13.1-1]
fn a_property_twice_ends_the_connection(stage: &Stage) {
    ends_over(stage, b"\x30\x08\x00\x01t\x04\x01\x00\x01\x00", EITHER_ERROR);
    ends_over(stage, b"\x82\x0b\x00\x01\x04\x0b\x01\x0b\x02\x00\x01t\x00", EITHER_ERROR);
}

/// [MQTT-4.13.1-1]
fn a_property_with_a_value_it_cannot_have_ends_the_connection(stage: &Stage) {
    // Payload format 2, subscription identifier 0.
    ends_over(stage, b"\x30\x06\x00\x01t\x02\x01\x02", EITHER_ERROR);
    ends_over(stage, b"\x82\x09\x00\x01\x02\x0b\x00\x00\x01t\x00", EITHER_ERROR);
}

/// [MQTT-4.13.1-1]
fn a_reason_code_of_another_packet_ends_the_connection(stage: &Stage) {
    ends_over(stage, b"\x40\x03\x00\x01\x8f", EITHER_ERROR);
}

/// [MQTT-4.13.1-1] [MQTT-4.13.2-1]
fn an_alias_that_is_none_ends_the_connection(stage: &Stage) {
    // 0, and one that was never set.
    ends_over(stage, b"\x30\x07\x00\x01t\x03\x23\x00\x00", &[0x80, 0x81, 0x82, 0x94]);
    ends_over(stage, b"\x30\x06\x00\x00\x03\x23\x00\x01", &[0x80, 0x82, 0x94]);
}

/// Whichever way the two meet. [MQTT-4.13.2-1]
fn a_disconnect_of_the_broker_is_followed_by_the_end(stage: &Stage) {
    let first = stage.connect("same", |_| ());
    let second = stage.connect("same", |_| ());
    ends(&first, &[0x80, 0x8e]);
    second.send(&Packet::PingReq);
    second.expect("PINGRESP");
    second.connect("same", |_| ());
    ends(&second, EITHER_ERROR);
}
