//! DISCONNECT, from either side.

use std::num::NonZeroU32;

use columba_testkit::codec::{Packet, Publish};
use columba_testkit::{Client, ReasonCode, name, persistent, will};

use crate::stage::{Group, Stage, tests};
use crate::steps::{EITHER_ERROR, ends, least_packet_size};

pub(crate) const TESTS: &[Group] = &[
    tests!(NUMBERED => a_disconnect_with_header_flags_ends_the_connection_as_an_error),
    tests!(ALL =>
        the_connection_closes_after_disconnect,
        what_follows_a_disconnect_has_no_effect,
        a_normal_disconnect_discards_the_will,
        a_connection_that_ends_without_disconnect_brings_the_will,
    ),
    tests!(ONLY_5 =>
        nobody_gets_disconnect_before_connack,
        the_broker_has_disconnect_codes_of_its_own,
        a_disconnect_with_an_unknown_code_is_no_normal_one,
        the_brokers_disconnect_has_no_session_expiry,
        disconnect_fits_the_maximum_packet_size,
        the_broker_sends_nothing_after_disconnect,
        the_broker_closes_after_its_disconnect,
        disconnect_with_will_brings_the_will,
        a_normal_disconnect_discards_a_will_that_would_wait,
    ),
];

/// [MQTT-3.14.1-1] [MQTT-3.14.1-1 of 3.1.1]
fn a_disconnect_with_header_flags_ends_the_connection_as_an_error(stage: &Stage) {
    let watcher = stage.connect("watcher", |_| ());
    watcher.subscribe("disconnect/flags", 0);
    for first in [0xe1, 0xe2, 0xe4, 0xe8, 0xef] {
        let client =
            stage.connect("leaving", |connect| connect.will = Some(will("disconnect/flags", "will")));
        client.send_bytes(&[first, 0]);
        ends(&client, &[0x81]);
        watcher.expect("PUBLISH disconnect/flags=will");
    }
}

/// [MQTT-3.14.4-2] [MQTT-3.14.4-1 of 3.1.1]
fn the_connection_closes_after_disconnect(stage: &Stage) {
    let client = stage.connect("leaving", |_| ());
    client.send_bytes(b"\xe0\x00");
    client.expect_closed();
}

/// [MQTT-3.14.4-1] [MQTT-3.14.4-2 of 3.1.1]
fn what_follows_a_disconnect_has_no_effect(stage: &Stage) {
    let watcher = stage.connect("watcher", |_| ());
    watcher.subscribe("disconnect/after/#", 0);
    let client = stage.connect("leaving", |_| ());
    let mut bytes = Vec::new();
    let publish = |topic, bytes: &mut Vec<u8>| {
        Publish::new(name(topic), b"x").encode(stage.version, bytes).expect("it can be encoded");
    };
    publish("disconnect/after/before", &mut bytes);
    bytes.extend_from_slice(b"\xe0\x00");
    publish("disconnect/after/after", &mut bytes);
    client.send_bytes(&bytes);
    client.expect_closed();
    watcher.expect_all(&["PUBLISH disconnect/after/before=x"]);
}

/// [MQTT-3.14.4-3] [MQTT-3.14.4-3 of 3.1.1]
fn a_normal_disconnect_discards_the_will(stage: &Stage) {
    let watcher = stage.connect("watcher", |_| ());
    watcher.subscribe("disconnect/will", 0);
    let client = stage.connect("leaving", |connect| connect.will = Some(will("disconnect/will", "will")));
    client.disconnect();
    watcher.expect_nothing();
}

/// So that the one before means something.
fn a_connection_that_ends_without_disconnect_brings_the_will(stage: &Stage) {
    let watcher = stage.connect("watcher", |_| ());
    watcher.subscribe("disconnect/without", 0);
    stage.connect("leaving", |connect| connect.will = Some(will("disconnect/without", "will"))).drop_link();
    watcher.expect("PUBLISH disconnect/without=will");
}

/// Whatever goes wrong before. [MQTT-3.14.0-1]
fn nobody_gets_disconnect_before_connack(stage: &Stage) {
    for bytes in [
        // Another packet first,
        &b"\xc0\x00"[..],
        b"\xe0\x00",
        b"\x82\x07\x00\x01\x00\x00\x01t\x00",
        b"\xf0\x06\x18\x04\x15\x00\x01m",
        // something that is no packet,
        b"\x00\x00",
        b"\x10\xff\xff\xff\xff\x7f",
        // a reserved flag in CONNECT, its header flags, a property it does not have, a name that is not MQTT's.
        b"\x10\x0d\x00\x04MQTT\x05\x03\x00\x0a\x00\x00\x00",
        b"\x11\x0d\x00\x04MQTT\x05\x02\x00\x0a\x00\x00\x00",
        b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x0a\x02\x01\x00\x00\x00",
        b"\x10\x0d\x00\x04MQTX\x05\x02\x00\x0a\x00\x00\x00",
    ] {
        let client = stage.open("early");
        client.send_bytes(bytes);
        for received in client.until_closed() {
            let refused = received.text().starts_with("CONNACK") && received.bytes()[3] >= 0x80;
            client.check(refused, || format!("{bytes:02x?}: {}", received.text()));
        }
    }
}

/// Codes of DISCONNECT that a server may use: those of the client alone and those of other packets are not among them.
const CODES_OF_SERVERS: &[u8] = &[
    0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97,
    0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
];

/// Each way in which a broker ends a connection that it has accepted.
const ENDINGS: &[fn(&Stage, &Client)] = &[
    // A packet of no type.
    |_, client| client.send_bytes(b"\x00\x00"),
    // A second CONNECT.
    |_, client| client.connect("ended", |_| ()),
    // The client comes a second time.
    |stage, _| stage.connect("ended", |_| ()).drop_link(),
    // A topic alias above any maximum.
    |_, client| client.send_bytes(b"\x30\x07\x00\x00\x03\x23\xff\xffx"),
    // A wildcard in a topic name.
    |_, client| client.send_bytes(b"\x30\x04\x00\x01#\x00"),
    // AUTH without a method.
    |_, client| client.send_bytes(b"\xf0\x06\x19\x04\x15\x00\x01m"),
];

fn ended(stage: &Stage, maximum: Option<NonZeroU32>, check: impl Fn(&Client, &[columba_testkit::Received])) {
    for end in ENDINGS {
        let client = stage.connect("ended", |connect| {
            connect.properties.session_expiry = Some(1);
            connect.properties.maximum_packet_size = maximum;
        });
        end(stage, &client);
        check(&client, &client.until_closed());
    }
}

/// [MQTT-3.14.2-1]
fn the_broker_has_disconnect_codes_of_its_own(stage: &Stage) {
    ended(stage, None, |client, all| {
        for received in all {
            let known = match received.packet() {
                Packet::Disconnect(said) => CODES_OF_SERVERS.contains(&said.reason.code()),
                _ => false,
            };
            client.check(known, || received.text().to_owned());
        }
    });
}

/// So the will is sent. [MQTT-3.14.2-1] [MQTT-3.14.4-3]
fn a_disconnect_with_an_unknown_code_is_no_normal_one(stage: &Stage) {
    let watcher = stage.connect("watcher", |_| ());
    watcher.subscribe("disconnect/unknown", 0);
    // Not defined at all, of CONNACK, of PUBACK, of AUTH.
    for code in [0x05, 0x84, 0x10, 0x18] {
        let client =
            stage.connect("leaving", |connect| connect.will = Some(will("disconnect/unknown", "will")));
        client.send_bytes(&[0xe0, 1, code]);
        ends(&client, EITHER_ERROR);
        watcher.expect("PUBLISH disconnect/unknown=will");
    }
}

/// [MQTT-3.14.2-2]
fn the_brokers_disconnect_has_no_session_expiry(stage: &Stage) {
    ended(stage, None, |client, all| {
        for received in all {
            let fine = matches!(received.packet(), Packet::Disconnect(said) if said.session_expiry.is_none());
            client.check(fine, || format!("{:02x?}", received.bytes()));
        }
    });
}

/// [MQTT-3.14.2-3] [MQTT-3.14.2-4]
fn disconnect_fits_the_maximum_packet_size(stage: &Stage) {
    let maximum = least_packet_size(stage);
    ended(stage, Some(maximum), |client, all| {
        for received in all {
            let length = received.bytes().len();
            client.check(length <= maximum.get() as usize, || format!("{length} bytes: {}", received.text()));
        }
    });
}

/// [MQTT-3.14.4-1]
fn the_broker_sends_nothing_after_disconnect(stage: &Stage) {
    let client = stage.connect("after", |_| ());
    client.subscribe("disconnect/nothing", 0);
    let other = stage.connect("after", |_| ());
    other.publish("disconnect/nothing", 0, "x");
    client.send(&Packet::PingReq);
    let texts: Vec<_> = client.until_closed().iter().map(|received| received.text().to_owned()).collect();
    client.check(texts.is_empty() || texts == ["DISCONNECT 8e"], || format!("{texts:?}"));
}

/// [MQTT-3.14.4-2] [MQTT-4.13.2-1]
fn the_broker_closes_after_its_disconnect(stage: &Stage) {
    // What is looked for here is that the end is reached.
    ended(stage, None, |_, _| ());
}

/// [MQTT-3.14.4-3] holds for the normal code alone.
fn disconnect_with_will_brings_the_will(stage: &Stage) {
    let watcher = stage.connect("watcher", |_| ());
    watcher.subscribe("disconnect/with", 0);
    let client = stage.connect("leaving", |connect| connect.will = Some(will("disconnect/with", "will")));
    client.disconnect_with(ReasonCode::DisconnectWithWill, None);
    client.expect_closed();
    watcher.expect("PUBLISH disconnect/with=will");
}

/// [MQTT-3.14.4-3]
fn a_normal_disconnect_discards_a_will_that_would_wait(stage: &Stage) {
    let watcher = stage.connect("watcher", |_| ());
    watcher.subscribe("disconnect/delayed", 0);
    let client = stage.connect("leaving", |connect| {
        persistent(connect);
        let mut will = will("disconnect/delayed", "will");
        will.delay = Some(1);
        connect.will = Some(will);
    });
    client.disconnect();
    stage.advance(3);
    watcher.expect_nothing();
}
