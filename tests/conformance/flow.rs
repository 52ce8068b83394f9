//! Flow control (§ 4.9): Receive Maximum, both ways.

use std::num::NonZeroU16;

use columba_testkit::codec::Packet;
use columba_testkit::codec::PacketType::{PubAck, PubComp, PubRec, PubRel};
use columba_testkit::columba::SubscriptionOptions;
use columba_testkit::{Client, ReasonCode, persistent};

use crate::exchange::{answered, closed, lasting, message};
use crate::stage::{Group, Stage, not_run, tests};

pub(crate) const TESTS: &[Group] = &[tests!(ONLY_5 =>
    the_broker_keeps_to_the_receive_maximum,
    the_broker_keeps_to_the_receive_maximum_when_it_sends_again,
    puback_makes_room,
    pubcomp_makes_room_and_pubrec_does_not,
    a_pubrec_that_refuses_makes_room,
    acknowledgements_of_nothing_make_no_room,
    a_full_window_holds_back_no_answers,
    a_full_window_holds_back_no_pubrel,
    a_client_may_fill_the_window_of_the_broker,
    a_client_that_exceeds_the_window_of_the_broker_is_disconnected,
)];

/// [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2]
fn the_broker_keeps_to_the_receive_maximum(stage: &Stage) {
    for maximum in 1..4 {
        let topic = format!("flow/keeps{maximum}");
        let (subscriber, publisher) = window(stage, &topic, maximum);
        // Both QoS count, together.
        for number in 0..5 {
            publisher.publish(&topic, 1 + number % 2, number.to_string());
        }
        for number in 0..maximum {
            let qos = 1 + number % 2;
            message(&subscriber, &format!("{topic}={number} q{qos}"));
        }
        subscriber.expect_nothing();
    }
}

/// [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2]
fn the_broker_keeps_to_the_receive_maximum_when_it_sends_again(stage: &Stage) {
    let subscriber = lasting(stage, "lasting");
    subscriber.subscribe("flow/again", 1);
    let publisher = stage.connect("p", |_| ());
    for payload in ["a", "b", "c"] {
        publisher.publish("flow/again", 1, payload);
        message(&subscriber, &format!("flow/again={payload} q1"));
    }
    subscriber.drop_link();
    let subscriber = stage.connect("lasting", |connect| {
        persistent(connect);
        connect.properties.receive_maximum = NonZeroU16::new(1);
    });
    for payload in ["a", "b", "c"] {
        let id = message(&subscriber, &format!("flow/again={payload} q1 dup"));
        subscriber.expect_nothing();
        subscriber.ack(PubAck, id);
    }
}

/// [MQTT-3.3.4-9] [MQTT-4.9.0-2]
fn puback_makes_room(stage: &Stage) {
    let (subscriber, publisher) = window(stage, "flow/puback", 2);
    (0..5).for_each(|number| publisher.publish("flow/puback", 1, number.to_string()));
    let first = message(&subscriber, "flow/puback=0 q1");
    let second = message(&subscriber, "flow/puback=1 q1");
    subscriber.ack(PubAck, second);
    message(&subscriber, "flow/puback=2 q1");
    subscriber.expect_nothing();
    subscriber.ack(PubAck, first);
    message(&subscriber, "flow/puback=3 q1");
    subscriber.expect_nothing();
}

/// [MQTT-3.3.4-9] [MQTT-4.9.0-2]
fn pubcomp_makes_room_and_pubrec_does_not(stage: &Stage) {
    let (subscriber, publisher) = window(stage, "flow/pubcomp", 1);
    (0..3).for_each(|number| publisher.publish("flow/pubcomp", 2, number.to_string()));
    for number in 0..2 {
        let id = message(&subscriber, &format!("flow/pubcomp={number} q2"));
        subscriber.ack(PubRec, id);
        subscriber.expect_all(&[format!("PUBREL #{id}")]);
        subscriber.ack(PubComp, id);
    }
    message(&subscriber, "flow/pubcomp=2 q2");
}

/// [MQTT-3.3.4-9] [MQTT-4.9.0-2]
fn a_pubrec_that_refuses_makes_room(stage: &Stage) {
    let (subscriber, publisher) = window(stage, "flow/refuses", 1);
    (0..3).for_each(|number| publisher.publish("flow/refuses", 2, number.to_string()));
    for number in 0..3 {
        let id = message(&subscriber, &format!("flow/refuses={number} q2"));
        subscriber.expect_nothing();
        subscriber.ack_with(PubRec, id, ReasonCode::QuotaExceeded);
    }
}

/// Where they do not end the connection. [MQTT-3.3.4-9] [MQTT-4.9.0-2]
fn acknowledgements_of_nothing_make_no_room(stage: &Stage) {
    let (subscriber, publisher) = window(stage, "flow/nothing", 2);
    (0..6).for_each(|number| publisher.publish("flow/nothing", 1, number.to_string()));
    let first = message(&subscriber, "flow/nothing=0 q1");
    message(&subscriber, "flow/nothing=1 q1");
    subscriber.ack(PubAck, first);
    let third = message(&subscriber, "flow/nothing=2 q1");
    // The same PUBACK once more, unless its identifier is in use again, and others for nothing at all.
    if third != first {
        subscriber.ack(PubAck, first);
    }
    subscriber.ack(PubAck, 4_711);
    subscriber.ack(PubComp, 4_712);
    let more = subscriber.drain();
    let fine = more.iter().all(|received| !received.text().starts_with("PUBLISH"));
    subscriber.check(fine, || format!("{more:?}"));
}

/// [MQTT-3.3.4-10] [MQTT-4.9.0-3]
fn a_full_window_holds_back_no_answers(stage: &Stage) {
    let (client, publisher) = window(stage, "flow/answers", 1);
    publisher.publish("flow/answers", 1, "0");
    publisher.publish("flow/answers", 1, "1");
    message(&client, "flow/answers=0 q1");
    client.send(&Packet::PingReq);
    client.expect("PINGRESP");
    let id = client.start_subscribe(&[("flow/answers/other", SubscriptionOptions::default())], None);
    client.expect(&format!("SUBACK #{id} 00"));
    let id = client.start_unsubscribe(&["flow/answers/other"]);
    client.expect(&format!("UNSUBACK #{id} 00"));
    let id = client.start("flow/answers/own", 1, "x", |_| ());
    answered(&client, "PUBACK", id);
    let id = client.start("flow/answers/own", 2, "x", |_| ());
    answered(&client, "PUBREC", id);
    client.ack(PubRel, id);
    client.expect(&format!("PUBCOMP #{id}"));
    client.expect_nothing();
}

/// [MQTT-3.3.4-10] [MQTT-4.9.0-3]
fn a_full_window_holds_back_no_pubrel(stage: &Stage) {
    let (subscriber, publisher) = window(stage, "flow/pubrel", 2);
    (0..4).for_each(|number| publisher.publish("flow/pubrel", 2, number.to_string()));
    let ids = [0, 1].map(|number| message(&subscriber, &format!("flow/pubrel={number} q2")));
    for id in ids {
        subscriber.ack(PubRec, id);
        subscriber.expect_all(&[format!("PUBREL #{id}")]);
    }
}

/// [MQTT-4.9.0-1] [MQTT-4.9.0-3]
fn a_client_may_fill_the_window_of_the_broker(stage: &Stage) {
    let (client, maximum) = filled(stage);
    // Full as it is, it takes everything else.
    client.publish("flow/fill", 0, "x");
    client.ping();
    for id in [1, maximum] {
        client.ack(PubRel, id);
        client.expect(&format!("PUBCOMP #{id}"));
        // And another instead.
        let id = client.start("flow/fill", 2, "x", |publish| publish.packet_id = NonZeroU16::new(id));
        answered(&client, "PUBREC", id);
    }
    client.expect_open();
}

/// [MQTT-3.3.4-7]
fn a_client_that_exceeds_the_window_of_the_broker_is_disconnected(stage: &Stage) {
    let (client, maximum) = filled(stage);
    client.start("flow/fill", 2, "x", |publish| publish.packet_id = NonZeroU16::new(maximum + 1));
    closed(&client, 0x93);
}

/// A client with as many QoS 2 messages that are not released as the broker allows, with the identifiers from 1 to that
/// number.
#[track_caller]
fn filled(stage: &Stage) -> (Client, u16) {
    let client = stage.try_connect("p", |_| ());
    let maximum = match client.accepted().packet() {
        Packet::ConnAck(ack) => ack.properties.receive_maximum.map_or(u16::MAX, NonZeroU16::get),
        _ => u16::MAX,
    };
    if maximum == u16::MAX {
        not_run("the broker allows as many messages as there are identifiers");
    }
    for id in 1..=maximum {
        client.start("flow/fill", 2, "x", |publish| publish.packet_id = NonZeroU16::new(id));
    }
    for id in 1..=maximum {
        answered(&client, "PUBREC", id);
    }
    client.expect_nothing();
    (client, maximum)
}

/// A subscriber to `topic` that allows so many unacknowledged messages, and a publisher.
#[track_caller]
fn window(stage: &Stage, topic: &str, maximum: u16) -> (Client, Client) {
    let subscriber =
        stage.connect("s", |connect| connect.properties.receive_maximum = NonZeroU16::new(maximum));
    subscriber.subscribe(topic, 2);
    (subscriber, stage.connect("p", |_| ()))
}
