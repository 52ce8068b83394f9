//! What belongs to a session, how long it lasts, and the stream of bytes below it.

use columba_testkit::codec::PacketType::{PubAck, PubComp, PubRec, PubRel};
use columba_testkit::codec::Publish;
use columba_testkit::{ReasonCode, name, persistent};

use crate::stage::{Group, Stage, tests};
use crate::steps::{PROTOCOL_ERROR, delivered, ends, lasting, lasting_with};

pub(crate) const TESTS: &[Group] = &[
    tests!(ALL =>
        a_session_keeps_its_subscriptions,
        a_session_keeps_messages_that_come_meanwhile,
        a_session_that_is_cut_off_keeps_what_comes_meanwhile,
        a_session_keeps_what_is_not_acknowledged_at_qos_1,
        a_session_keeps_what_is_not_acknowledged_at_qos_2,
        a_session_keeps_what_is_half_acknowledged_at_qos_2,
        a_session_keeps_what_the_client_has_not_released,
        a_session_lasts_as_long_as_its_connection,
        bytes_arrive_in_whatever_pieces_they_are_sent,
        many_packets_arrive_in_their_order,
        every_byte_of_a_payload_arrives,
        a_client_needs_nothing_but_the_standard,
    ),
    tests!(NUMBERED => the_broker_says_whether_it_kept_the_session),
    tests!(ONLY_5 =>
        a_session_outlasts_its_expiry_while_the_client_is_there,
        a_session_that_goes_on_forgets_when_it_was_to_end,
        a_session_is_still_there_before_its_expiry,
        a_session_ends_when_its_expiry_has_passed,
        messages_do_not_outlast_their_session,
        a_session_without_expiry_ends_with_its_connection,
        disconnect_may_end_a_session,
        disconnect_may_prolong_a_session,
        disconnect_cannot_give_a_session_that_was_not_to_last,
    ),
];

/// [MQTT-4.1.0-1 of 3.1.1] [MQTT-4.1.0-1]
fn a_session_keeps_its_subscriptions(stage: &Stage) {
    let client = lasting(stage, "session");
    client.subscribe("session/subscribed/+", 0);
    client.subscribe("session/unsubscribed", 0);
    client.unsubscribe(&["session/unsubscribed"]);
    client.drop_link();
    let client = stage.connect("session", persistent);
    let publisher = stage.connect("publisher", |_| ());
    publisher.publish("session/subscribed/x", 0, "x");
    publisher.publish("session/unsubscribed", 0, "x");
    client.expect_all(&["PUBLISH session/subscribed/x=x"]);
}

/// [MQTT-4.1.0-1 of 3.1.1]
fn a_session_keeps_messages_that_come_meanwhile(stage: &Stage) {
    let client = lasting(stage, "session");
    client.subscribe("session/meanwhile", 2);
    client.disconnect();
    let publisher = stage.connect("publisher", |_| ());
    for qos in [1, 2, 1] {
        publisher.publish("session/meanwhile", qos, "x");
    }
    let client = stage.connect("session", persistent);
    for qos in [1, 2, 1] {
        delivered(&client, &format!("PUBLISH session/meanwhile=x q{qos} #n"));
    }
    client.expect_nothing();
}

/// [MQTT-4.1.0-1 of 3.1.1]
fn a_session_that_is_cut_off_keeps_what_comes_meanwhile(stage: &Stage) {
    let client = stage.connect("a", persistent);
    client.subscribe("kept/meanwhile", 1);
    client.drop_link();
    stage.connect("b", |_| ()).publish("kept/meanwhile", 1, "x");
    stage.connect("a", persistent).expect_all(&["PUBLISH kept/meanwhile=x q1 #1"]);
}

/// [MQTT-4.1.0-1 of 3.1.1]
fn a_session_keeps_what_is_not_acknowledged_at_qos_1(stage: &Stage) {
    let client = lasting(stage, "session");
    client.subscribe("session/qos1", 1);
    stage.connect("publisher", |_| ()).publish("session/qos1", 1, "x");
    let id = delivered(&client, "PUBLISH session/qos1=x q1 #n");
    client.drop_link();
    let client = stage.connect("session", persistent);
    client.expect_all(&[format!("PUBLISH session/qos1=x q1 #{id} dup")]);
    client.ack(PubAck, id);
    client.expect_nothing();
    client.drop_link();
    stage.connect("session", persistent).expect_nothing();
}

/// [MQTT-4.1.0-1 of 3.1.1]
fn a_session_keeps_what_is_not_acknowledged_at_qos_2(stage: &Stage) {
    let client = lasting(stage, "session");
    client.subscribe("session/qos2", 2);
    stage.connect("publisher", |_| ()).publish("session/qos2", 2, "x");
    let id = delivered(&client, "PUBLISH session/qos2=x q2 #n");
    client.drop_link();
    let client = stage.connect("session", persistent);
    client.expect_all(&[format!("PUBLISH session/qos2=x q2 #{id} dup")]);
}

/// [MQTT-4.1.0-1 of 3.1.1]
fn a_session_keeps_what_is_half_acknowledged_at_qos_2(stage: &Stage) {
    let client = lasting(stage, "session");
    client.subscribe("session/half", 2);
    stage.connect("publisher", |_| ()).publish("session/half", 2, "x");
    let id = delivered(&client, "PUBLISH session/half=x q2 #n");
    client.ack(PubRec, id);
    client.expect(&format!("PUBREL #{id}"));
    client.drop_link();
    let client = stage.connect("session", persistent);
    client.expect_all(&[format!("PUBREL #{id}")]);
    client.ack(PubComp, id);
    client.expect_nothing();
}

/// [MQTT-4.1.0-1 of 3.1.1]
fn a_session_keeps_what_the_client_has_not_released(stage: &Stage) {
    let watcher = stage.connect("watcher", |_| ());
    watcher.subscribe("session/released", 0);
    let client = lasting(stage, "session");
    let id = client.start("session/released", 2, "x", |_| ());
    client.expect(&format!("PUBREC #{id}"));
    client.drop_link();
    let client = stage.connect("session", persistent);
    client.start("session/released", 2, "x", |publish| {
        publish.dup = true;
        publish.packet_id = columba_testkit::codec::PacketId::new(id);
    });
    client.take_first(&format!("PUBREC #{id}"));
    client.ack(PubRel, id);
    client.take(&format!("PUBCOMP #{id}"));
    watcher.expect_all(&["PUBLISH session/released=x"]);
}

/// Also one that is to leave nothing behind. [MQTT-4.1.0-1] [MQTT-4.1.0-2 of 3.1.1]
fn a_session_lasts_as_long_as_its_connection(stage: &Stage) {
    let client = stage.connect("session", |connect| connect.keep_alive = 0);
    client.subscribe("session/long", 1);
    let publisher = stage.connect("publisher", |connect| connect.keep_alive = 0);
    publisher.publish("session/long", 1, "early");
    let id = delivered(&client, "PUBLISH session/long=early q1 #n");
    stage.advance(3);
    client.ack(PubAck, id);
    publisher.publish("session/long", 1, "late");
    delivered(&client, "PUBLISH session/long=late q1 #n");
}

/// [MQTT-4.2-1] [MQTT-7.1.1-1 of 3.1.1]
fn bytes_arrive_in_whatever_pieces_they_are_sent(stage: &Stage) {
    let client = stage.connect("pieces", |_| ());
    client.subscribe("session/pieces", 0);
    let mut bytes = Vec::new();
    for payload in [&b"first"[..], b"second", b"third"] {
        Publish::new(name("session/pieces"), payload)
            .encode(stage.version, &mut bytes)
            .expect("it can be encoded");
    }
    for piece in bytes.chunks(1).chain(bytes.chunks(7)).chain([&bytes[..]]) {
        client.send_bytes(piece);
    }
    let three = ["first", "second", "third"].map(|text| format!("PUBLISH session/pieces={text}"));
    client.expect_all(&three.iter().cycle().take(9).collect::<Vec<_>>());
}

/// [MQTT-4.2-1] [MQTT-7.1.1-1 of 3.1.1]
fn many_packets_arrive_in_their_order(stage: &Stage) {
    let client = stage.connect("many", |_| ());
    client.subscribe("session/many", 1);
    let publisher = stage.connect("publisher", |_| ());
    let mut wanted = Vec::new();
    for number in 0..300 {
        publisher.start("session/many", 1, number.to_string(), |_| ());
        wanted.push(format!("session/many={number}"));
    }
    for id in 1..=300 {
        publisher.take(&format!("PUBACK #{id}"));
    }
    let messages = client.messages();
    client.check(messages == wanted, || format!("{messages:?}"));
}

/// Lengths around which the length of a packet changes its own. [MQTT-4.2-1] [MQTT-7.1.1-1 of 3.1.1]
fn every_byte_of_a_payload_arrives(stage: &Stage) {
    let client = stage.connect("payload", |_| ());
    client.subscribe("session/payload", 0);
    let publisher = stage.connect("publisher", |_| ());
    for length in [0, 1, 100, 127, 128, 16_366, 16_383, 16_384, 200_000] {
        let payload: Vec<u8> = (0..length).map(|at: u32| (at * 31 + at / 256) as u8).collect();
        publisher.publish("session/payload", 0, &payload);
        let received = client.next();
        match received.packet() {
            columba_testkit::codec::Packet::Publish(publish) => {
                client.check(publish.payload == payload, || format!("{length} bytes arrive otherwise"));
            }
            _ => client.fail(received.text()),
        }
    }
    client.expect_nothing();
}

/// By hand, without any of what is optional. [MQTT-7.0.0-2 of 3.1.1]
fn a_client_needs_nothing_but_the_standard(stage: &Stage) {
    let client = stage.open("bare");
    client.send_bytes(match stage.version {
        columba_testkit::Version::V3_1 => b"\x10\x12\x00\x06MQIsdp\x03\x02\x00\x00\x00\x04bare",
        columba_testkit::Version::V3_1_1 => b"\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04bare",
        columba_testkit::Version::V5 => b"\x10\x11\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x04bare",
    });
    client.accepted();
    client.send_bytes(&crate::steps::raw_subscribe(stage, 0x82, 1, &[(b"session/bare", 0)]));
    client.send_bytes(&crate::steps::raw_publish(stage, b"session/bare"));
    client.send_bytes(b"\xc0\x00");
    client.take("SUBACK #1 00");
    client.take("PUBLISH session/bare=x");
    client.take("PINGRESP");
    client.send_bytes(b"\xe0\x00");
    client.expect_closed();
}

/// [MQTT-4.1.0-1 of 3.1.1] [MQTT-4.1.0-2]
fn the_broker_says_whether_it_kept_the_session(stage: &Stage) {
    lasting(stage, "session").drop_link();
    let client = stage.try_connect("session", persistent);
    client.expect("CONNACK 00 present");
    client.drop_link();
    let client = stage.try_connect("session", |_| ());
    client.expect("CONNACK 00");
    client.drop_link();
    // That one was not to last.
    let client = stage.try_connect("session", persistent);
    client.expect("CONNACK 00");
}

/// [MQTT-4.1.0-1]
fn a_session_outlasts_its_expiry_while_the_client_is_there(stage: &Stage) {
    let client = lasting_with(stage, "session", |connect| connect.properties.session_expiry = Some(2));
    client.subscribe("session/outlasts", 1);
    stage.advance(3);
    stage.connect("publisher", |_| ()).publish("session/outlasts", 1, "x");
    let id = delivered(&client, "PUBLISH session/outlasts=x q1 #n");
    client.drop_link();
    let client = stage.try_connect("session", persistent);
    client.expect("CONNACK 00 present");
    client.expect_all(&[format!("PUBLISH session/outlasts=x q1 #{id} dup")]);
}

/// [MQTT-4.1.0-1]
fn a_session_that_goes_on_forgets_when_it_was_to_end(stage: &Stage) {
    let client = lasting_with(stage, "session", |connect| connect.properties.session_expiry = Some(2));
    client.subscribe("session/goes/on", 0);
    client.drop_link();
    let client = stage.connect("session", |connect| {
        persistent(connect);
        connect.properties.session_expiry = Some(2);
        connect.keep_alive = 0;
    });
    stage.advance(4);
    stage.connect("publisher", |_| ()).publish("session/goes/on", 0, "x");
    client.expect_all(&["PUBLISH session/goes/on=x"]);
}

/// [MQTT-4.1.0-2]
fn a_session_is_still_there_before_its_expiry(stage: &Stage) {
    let client = lasting_with(stage, "session", |connect| connect.properties.session_expiry = Some(4));
    client.subscribe("session/before", 0);
    client.drop_link();
    stage.advance(2);
    let client = stage.try_connect("session", persistent);
    client.expect("CONNACK 00 present");
    stage.connect("publisher", |_| ()).publish("session/before", 0, "x");
    client.expect_all(&["PUBLISH session/before=x"]);
}

/// [MQTT-4.1.0-2]
fn a_session_ends_when_its_expiry_has_passed(stage: &Stage) {
    let client = lasting_with(stage, "session", |connect| connect.properties.session_expiry = Some(1));
    client.subscribe("session/ends", 1);
    client.drop_link();
    stage.advance(3);
    let client = stage.try_connect("session", persistent);
    client.expect("CONNACK 00");
    stage.connect("publisher", |_| ()).publish("session/ends", 1, "x");
    client.expect_nothing();
}

/// [MQTT-4.1.0-2]
fn messages_do_not_outlast_their_session(stage: &Stage) {
    let client = lasting_with(stage, "session", |connect| connect.properties.session_expiry = Some(1));
    client.subscribe("session/messages", 2);
    let publisher = stage.connect("publisher", |_| ());
    publisher.publish("session/messages", 2, "sent");
    delivered(&client, "PUBLISH session/messages=sent q2 #n");
    client.drop_link();
    publisher.publish("session/messages", 2, "waits");
    stage.advance(3);
    stage.connect("session", persistent).expect_nothing();
}

/// [MQTT-4.1.0-2]
fn a_session_without_expiry_ends_with_its_connection(stage: &Stage) {
    for expiry in [None, Some(0)] {
        let client = lasting_with(stage, "session", |connect| connect.properties.session_expiry = expiry);
        client.subscribe("session/none", 1);
        client.drop_link();
        // Not at the same instant: the broker has to learn that the connection has failed.
        stage.advance(1);
        stage.connect("publisher", |_| ()).publish("session/none", 1, "x");
        let client = stage.try_connect("session", persistent);
        client.expect("CONNACK 00");
        client.expect_nothing();
    }
}

/// [MQTT-4.1.0-2]
fn disconnect_may_end_a_session(stage: &Stage) {
    let client = lasting(stage, "session");
    client.disconnect_with(ReasonCode::Success, Some(0));
    client.expect_closed();
    stage.try_connect("session", persistent).expect("CONNACK 00");
}

/// [MQTT-4.1.0-2]
fn disconnect_may_prolong_a_session(stage: &Stage) {
    let client = lasting_with(stage, "session", |connect| connect.properties.session_expiry = Some(1));
    client.disconnect_with(ReasonCode::Success, Some(100));
    client.expect_closed();
    stage.advance(3);
    stage.try_connect("session", persistent).expect("CONNACK 00 present");
}

/// [MQTT-4.13.1-1]
fn disconnect_cannot_give_a_session_that_was_not_to_last(stage: &Stage) {
    let client = stage.connect("session", |_| ());
    client.disconnect_with(ReasonCode::Success, Some(100));
    ends(&client, PROTOCOL_ERROR);
    stage.try_connect("session", persistent).expect("CONNACK 00");
}
