//! CONNECT: what is one and what is none.

use columba_testkit::Version;

use crate::answers::{expect_not_understood, refused, sent_away};
use crate::raw::{self, ILL_FORMED, PASSWORD, RawConnect, USER_NAME, WILL, WILL_RETAIN};
use crate::stage::{Group, Stage, V3_1_1, V5, tests};

pub(crate) const TESTS: &[Group] = &[
    tests!(ALL =>
        a_connection_that_does_not_begin_with_connect_is_closed,
        a_second_connect_closes_the_connection,
        a_second_connect_has_no_other_effect,
    ),
    tests!(NUMBERED =>
        another_protocol_name_is_not_served,
        an_unknown_protocol_level_is_refused,
        the_reserved_flag_has_to_be_zero,
        a_connect_that_ends_too_early_is_not_understood,
        a_connect_that_goes_on_too_long_is_not_understood,
        a_payload_without_client_identifier_is_not_understood,
        a_client_identifier_that_is_not_text_is_refused,
        a_user_name_that_is_not_text_is_refused,
        a_user_name_without_its_flag_is_not_understood,
        a_user_name_flag_without_user_name_is_not_understood,
        a_password_without_its_flag_is_not_understood,
        a_password_flag_without_password_is_not_understood,
        a_user_name_and_a_password_with_their_flags_are_read,
        a_will_qos_without_a_will_is_not_understood,
        a_will_retain_flag_without_a_will_is_not_understood,
        will_fields_without_a_will_flag_are_not_understood,
        a_will_flag_without_will_fields_is_not_understood,
        will_qos_3_is_not_understood,
        a_will_topic_that_is_not_text_is_not_understood,
        the_fields_are_read_in_their_order,
        what_follows_a_refused_connect_has_no_effect,
        what_follows_a_connect_that_is_not_understood_has_no_effect,
    ),
    tests!(ONLY_3_1_1 => a_password_without_user_name_is_not_understood),
    tests!(ONLY_5 =>
        a_connect_without_property_length_is_malformed,
        a_connect_with_a_wrong_property_is_not_understood,
        authentication_data_without_method_is_not_understood,
        properties_that_end_too_late_are_not_understood,
        a_will_without_will_properties_is_malformed,
        a_will_with_a_wrong_property_is_not_understood,
        a_password_may_come_without_user_name,
    ),
];

/// [MQTT-3.1.0-1] [MQTT-3.1.0-1 of 3.1.1]
fn a_connection_that_does_not_begin_with_connect_is_closed(stage: &Stage) {
    let version = stage.version;
    for bytes in [
        raw::publish(version, 0, b"connect/first", None, b"x"),
        raw::subscribe(version, 0x82, 1, b"connect/first", 0),
        raw::unsubscribe(version, 0xa2, 1, b"connect/first"),
        vec![0x40, 2, 0, 1],
        vec![0xc0, 0],
        vec![0xe0, 0],
        vec![0xf0, 0],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        expect_not_understood(stage, &bytes);
    }
}

/// [MQTT-3.1.0-2] [MQTT-3.1.0-2 of 3.1.1]
fn a_second_connect_closes_the_connection(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    client.connect(&stage.id("a"), |_| ());
    sent_away(&client);
}

/// [MQTT-3.1.0-2] [MQTT-3.1.0-2 of 3.1.1]
fn a_second_connect_has_no_other_effect(stage: &Stage) {
    let other = stage.connect("other", |_| ());
    let client = stage.connect("a", |_| ());
    client.connect(&stage.id("other"), |_| ());
    sent_away(&client);
    other.ping();
}

/// A broker may tell what it is; it has no way to know in which version. [MQTT-3.1.2-1] [MQTT-3.1.2-1 of 3.1.1]
fn another_protocol_name_is_not_served(stage: &Stage) {
    for name in ["mqtt", "MQTX", "MQT", "MQTTT", "", "MQIsd"] {
        let connect =
            RawConnect { name: name.into(), ..RawConnect::new(stage.version, 0, &[b"connectname"]) };
        let client = stage.open("stranger");
        client.send_bytes(&connect.bytes());
        let answer = client.bytes_until_closed();
        assert!(answer.is_empty() || says_unacceptable(&answer), "{name:?} is answered with {answer:02x?}");
    }
}

/// 3.1.1 wants an answer, 5.0 leaves it open; both may have it in their own form.
/// [MQTT-3.1.2-2] [MQTT-3.1.2-2 of 3.1.1]
fn an_unknown_protocol_level_is_refused(stage: &Stage) {
    for level in [0, 6, 7, 0x7f] {
        let connect = RawConnect { level, ..RawConnect::new(stage.version, 0, &[b"connectlevel"]) };
        // What comes back is likely to be in the form that every version before 5.0 has.
        let client = stage.open_as(V3_1_1, "stranger");
        client.send_bytes(&connect.bytes());
        let answer = client.bytes_until_closed();
        let fine = says_unacceptable(&answer) || (stage.is_v5() && answer.is_empty());
        assert!(fine, "level {level} is answered with {answer:02x?}");
    }
}

/// A CONNACK that says unacceptable protocol level or unsupported protocol version.
fn says_unacceptable(answer: &[u8]) -> bool {
    answer == [0x20, 2, 0, 1]
        || matches!(answer, [0x20, length, 0, 0x84, rest @ ..] if usize::from(*length) == rest.len() + 2)
}

/// [MQTT-3.1.2-3] [MQTT-3.1.2-3 of 3.1.1] [MQTT-3.2.2-6 of 3.1.1]
fn the_reserved_flag_has_to_be_zero(stage: &Stage) {
    with_flags(stage, 1, &[b"connectflag"]);
}

/// Cut off after every byte, with a length that agrees.
/// [MQTT-3.1.4-1] [MQTT-3.1.4-1 of 3.1.1] [MQTT-3.1.2-9] [MQTT-3.1.2-9 of 3.1.1] [MQTT-3.2.2-6 of 3.1.1]
fn a_connect_that_ends_too_early_is_not_understood(stage: &Stage) {
    let flags = WILL | USER_NAME | PASSWORD;
    let fields: &[&[u8]] = &[b"connectshort", b"connect/will", b"gone", b"user", b"password"];
    let body = RawConnect::new(stage.version, flags, fields).body();
    // Before the level there is nothing to tell the version by, and 3.1 has another name.
    for length in 0..body.len() {
        expect_not_understood(stage, &raw::packet(0x10, &body[..length]));
    }
}

/// [MQTT-3.1.4-1] [MQTT-3.1.4-1 of 3.1.1] [MQTT-3.2.2-6 of 3.1.1]
fn a_connect_that_goes_on_too_long_is_not_understood(stage: &Stage) {
    let mut connect = RawConnect::new(stage.version, 0, &[b"connectlong"]);
    connect.payload.push(0);
    expect_not_understood(stage, &connect.bytes());
}

/// [MQTT-3.1.3-3] [MQTT-3.1.3-3 of 3.1.1]
fn a_payload_without_client_identifier_is_not_understood(stage: &Stage) {
    with_flags(stage, 0, &[]);
}

/// It may be refused as a client identifier. [MQTT-3.1.3-4] [MQTT-3.1.3-4 of 3.1.1] [MQTT-1.5.4-1] [MQTT-1.5.4-2]
/// [MQTT-1.5.3-1 of 3.1.1] [MQTT-1.5.3-2 of 3.1.1]
fn a_client_identifier_that_is_not_text_is_refused(stage: &Stage) {
    for text in ILL_FORMED.into_iter().chain([&b"a\0"[..]]) {
        let client = stage.open("stranger");
        client.send_bytes(&RawConnect::new(stage.version, 0, &[text]).bytes());
        refused(&client, if stage.is_v5() { &[0x80, 0x81, 0x82, 0x85] } else { &[2] });
    }
}

/// It may be refused as a bad user name. [MQTT-3.1.3-12] [MQTT-3.1.3-11 of 3.1.1]
fn a_user_name_that_is_not_text_is_refused(stage: &Stage) {
    for text in ILL_FORMED.into_iter().chain([&b"a\0"[..]]) {
        let client = stage.open("stranger");
        client.send_bytes(&RawConnect::new(stage.version, USER_NAME, &[b"connectuser", text]).bytes());
        refused(&client, if stage.is_v5() { &[0x80, 0x81, 0x82, 0x86] } else { &[4] });
    }
}

/// [MQTT-3.1.2-16] [MQTT-3.1.2-18 of 3.1.1]
fn a_user_name_without_its_flag_is_not_understood(stage: &Stage) {
    with_flags(stage, 0, &[b"connectuser", b"user"]);
}

/// [MQTT-3.1.2-17] [MQTT-3.1.2-19 of 3.1.1]
fn a_user_name_flag_without_user_name_is_not_understood(stage: &Stage) {
    with_flags(stage, USER_NAME, &[b"connectuser"]);
}

/// [MQTT-3.1.2-18] [MQTT-3.1.2-20 of 3.1.1]
fn a_password_without_its_flag_is_not_understood(stage: &Stage) {
    with_flags(stage, USER_NAME, &[b"connectuser", b"user", b"password"]);
}

/// [MQTT-3.1.2-19] [MQTT-3.1.2-21 of 3.1.1]
fn a_password_flag_without_password_is_not_understood(stage: &Stage) {
    with_flags(stage, USER_NAME | PASSWORD, &[b"connectuser", b"user"]);
}

/// The password is not text. [MQTT-3.1.2-17] [MQTT-3.1.2-19] [MQTT-3.1.2-19 of 3.1.1] [MQTT-3.1.2-21 of 3.1.1]
fn a_user_name_and_a_password_with_their_flags_are_read(stage: &Stage) {
    let client = stage.open("a");
    let id = stage.id("a");
    let fields: &[&[u8]] = &[id.as_bytes(), b"user", b"\xff\0"];
    client.send_bytes(&RawConnect::new(stage.version, USER_NAME | PASSWORD, fields).bytes());
    client.accepted();
}

/// [MQTT-3.1.2-11] [MQTT-3.1.2-11 of 3.1.1] [MQTT-3.1.2-13 of 3.1.1]
fn a_will_qos_without_a_will_is_not_understood(stage: &Stage) {
    for qos in 1..=3 {
        with_flags(stage, qos << 3, &[b"connectwill"]);
    }
}

/// [MQTT-3.1.2-13] [MQTT-3.1.2-11 of 3.1.1] [MQTT-3.1.2-15 of 3.1.1]
fn a_will_retain_flag_without_a_will_is_not_understood(stage: &Stage) {
    with_flags(stage, WILL_RETAIN, &[b"connectwill"]);
}

/// [MQTT-3.1.2-11 of 3.1.1] [MQTT-3.1.4-1]
fn will_fields_without_a_will_flag_are_not_understood(stage: &Stage) {
    with_flags(stage, 0, &[b"connectwill", b"connect/will", b"gone"]);
}

/// [MQTT-3.1.2-9] [MQTT-3.1.2-9 of 3.1.1]
fn a_will_flag_without_will_fields_is_not_understood(stage: &Stage) {
    with_flags(stage, WILL, &[b"connectwill"]);
    with_flags(stage, WILL, &[b"connectwill", b"connect/will"]);
}

/// [MQTT-3.1.2-12] [MQTT-3.1.2-14 of 3.1.1]
fn will_qos_3_is_not_understood(stage: &Stage) {
    with_flags(stage, WILL | 3 << 3, &[b"connectwill", b"connect/will", b"gone"]);
}

/// [MQTT-3.1.3-11] [MQTT-3.1.3-10 of 3.1.1]
fn a_will_topic_that_is_not_text_is_not_understood(stage: &Stage) {
    for text in ILL_FORMED.into_iter().chain([&b"a\0"[..]]) {
        with_flags(stage, WILL, &[b"connectwill", text, b"gone"]);
    }
}

/// Each field is one that no other can be taken for. [MQTT-3.1.3-1] [MQTT-3.1.3-3]
/// [MQTT-3.1.3-1 of 3.1.1] [MQTT-3.1.3-3 of 3.1.1] [MQTT-3.1.2-9] [MQTT-3.1.2-9 of 3.1.1]
fn the_fields_are_read_in_their_order(stage: &Stage) {
    let watcher = stage.connect("watcher", |_| ());
    watcher.subscribe("connect/#", 0);
    let id = stage.id("a");
    let fields: &[&[u8]] = &[id.as_bytes(), b"connect/order", b"gone", b"user", b"password"];
    let client = stage.open("a");
    client.send_bytes(&RawConnect::new(stage.version, WILL | USER_NAME | PASSWORD, fields).bytes());
    client.accepted();
    // It is taken over by the identifier it gave, and leaves the will it gave.
    let _next = stage.connect("a", |_| ());
    watcher.expect("PUBLISH connect/order=gone");
}

/// An unknown level, which every broker refuses. [MQTT-3.1.4-6] [MQTT-3.1.4-5 of 3.1.1]
fn what_follows_a_refused_connect_has_no_effect(stage: &Stage) {
    let connect = RawConnect { level: 6, ..RawConnect::new(stage.version, 0, &[b"connectafter"]) };
    nothing_follows(stage, V3_1_1, &connect);
}

/// [MQTT-3.1.4-6] [MQTT-3.1.4-5 of 3.1.1]
fn what_follows_a_connect_that_is_not_understood_has_no_effect(stage: &Stage) {
    nothing_follows(stage, stage.version, &RawConnect::new(stage.version, 1, &[b"connectafter"]));
}

/// The answer is in this version, if there is one.
fn nothing_follows(stage: &Stage, answer: Version, connect: &RawConnect) {
    let watcher = stage.connect("watcher", |_| ());
    watcher.subscribe("connect/after", 0);
    let client = stage.open_as(answer, "stranger");
    let publish = raw::publish(stage.version, 1, b"connect/after", None, b"x");
    client.send_bytes(&[connect.bytes(), publish].concat());
    client.bytes_until_closed();
    watcher.expect_nothing();
    let late = stage.connect("late", |_| ());
    late.subscribe("connect/after", 0);
    late.expect_nothing();
}

/// [MQTT-3.1.2-22 of 3.1.1]
fn a_password_without_user_name_is_not_understood(stage: &Stage) {
    with_flags(stage, PASSWORD, &[b"connectpassword", b"password"]);
}

/// A CONNECT like that of 3.1.1. [MQTT-2.2.2-1] [MQTT-3.1.4-1]
fn a_connect_without_property_length_is_malformed(stage: &Stage) {
    let connect =
        RawConnect { properties: Vec::new(), ..RawConnect::new(stage.version, 0, &[b"connectlength"]) };
    expect_not_understood(stage, &connect.bytes());
}

/// [MQTT-3.1.4-1]
fn a_connect_with_a_wrong_property_is_not_understood(stage: &Stage) {
    for wrong in [
        // Receive Maximum 0, Maximum Packet Size 0, flags that are neither 0 nor 1.
        &b"\x21\x00\x00"[..],
        b"\x27\x00\x00\x00\x00",
        b"\x17\x02",
        b"\x19\x02",
        // Twice.
        b"\x11\x00\x00\x00\x01\x11\x00\x00\x00\x01",
        b"\x21\x00\x01\x21\x00\x01",
        // Properties of other packets, one of none, and one that ends too early.
        b"\x02\x00\x00\x00\x01",
        b"\x12\x00\x01x",
        b"\x1f\x00\x01x",
        b"\x7e\x00",
        b"\x11\x00\x00",
    ] {
        let properties = raw::properties(V5, wrong);
        let connect = RawConnect { properties, ..RawConnect::new(stage.version, 0, &[b"connectproperty"]) };
        expect_not_understood(stage, &connect.bytes());
    }
}

/// [MQTT-3.1.4-1]
fn authentication_data_without_method_is_not_understood(stage: &Stage) {
    let properties = raw::properties(V5, b"\x16\x00\x01x");
    let connect = RawConnect { properties, ..RawConnect::new(stage.version, 0, &[b"connectdata"]) };
    expect_not_understood(stage, &connect.bytes());
}

/// [MQTT-3.1.4-1]
fn properties_that_end_too_late_are_not_understood(stage: &Stage) {
    let properties = b"\x7f\x11\x00\x00\x00\x01".to_vec();
    let connect = RawConnect { properties, ..RawConnect::new(stage.version, 0, &[b"connectend"]) };
    expect_not_understood(stage, &connect.bytes());
}

/// [MQTT-3.1.2-9]
fn a_will_without_will_properties_is_malformed(stage: &Stage) {
    let mut connect = RawConnect::new(stage.version, WILL, &[b"connectwill"]);
    connect.payload.extend(raw::field("connect/will"));
    connect.payload.extend(raw::field("gone"));
    expect_not_understood(stage, &connect.bytes());
}

/// [MQTT-3.1.4-1]
fn a_will_with_a_wrong_property_is_not_understood(stage: &Stage) {
    for wrong in [
        &b"\x18\x00\x00\x00\x01\x18\x00\x00\x00\x01"[..],
        b"\x11\x00\x00\x00\x01",
        b"\x23\x00\x01",
        b"\x18\x00",
    ] {
        let mut connect = RawConnect::new(stage.version, WILL, &[b"connectwill"]);
        connect.payload.extend(raw::properties(V5, wrong));
        connect.payload.extend(raw::field("connect/will"));
        connect.payload.extend(raw::field("gone"));
        expect_not_understood(stage, &connect.bytes());
    }
}

/// Unlike before. No id.
fn a_password_may_come_without_user_name(stage: &Stage) {
    let client = stage.open("a");
    let id = stage.id("a");
    client.send_bytes(&RawConnect::new(stage.version, PASSWORD, &[id.as_bytes(), b"password"]).bytes());
    client.accepted();
}

/// Such a CONNECT is not understood.
#[track_caller]
fn with_flags(stage: &Stage, flags: u8, fields: &[&[u8]]) {
    expect_not_understood(stage, &RawConnect::new(stage.version, flags, fields).bytes());
}
