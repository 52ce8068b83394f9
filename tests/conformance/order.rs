//! The order of messages and acknowledgements (§ 4.6). At most ten messages are under way at a time, which every broker
//! should allow.

use columba_testkit::codec::PacketType::{PubAck, PubComp, PubRec, PubRel};
use columba_testkit::codec::{PacketId, Publish};
use columba_testkit::{Client, QoS, level, name};

use crate::exchange::{answered, back, lasting, message, publish_of};
use crate::stage::{Group, Stage, tests};

pub(crate) const TESTS: &[Group] = &[tests!(ALL =>
    messages_of_a_topic_come_in_order,
    messages_that_come_in_one_go_are_passed_on_in_order,
    messages_for_a_client_that_is_away_come_in_order,
    messages_that_wait_for_acknowledgements_come_in_order,
    what_is_sent_again_comes_in_the_order_it_was_sent,
    what_is_sent_again_comes_before_what_waited,
    pubrels_come_in_the_order_of_the_pubrecs,
)];

/// The payloads of ten messages.
const TEN: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// [MQTT-4.6.0-5] [MQTT-4.6.0-6] [MQTT-4.6.0-5 of 3.1.1] [MQTT-4.6.0-6 of 3.1.1]
fn messages_of_a_topic_come_in_order(stage: &Stage) {
    for qos in 0..3 {
        let topic = format!("order/live{qos}");
        let subscriber = stage.connect("s", |_| ());
        subscriber.subscribe(&topic, qos);
        let publisher = stage.connect("p", |_| ());
        publish(&publisher, &topic, qos, &TEN);
        expect_in_order(&subscriber, &TEN);
    }
}

/// [MQTT-4.6.0-5] [MQTT-4.6.0-6] [MQTT-4.6.0-5 of 3.1.1] [MQTT-4.6.0-6 of 3.1.1]
fn messages_that_come_in_one_go_are_passed_on_in_order(stage: &Stage) {
    for qos in 0..3 {
        let topic = format!("order/go{qos}");
        let subscriber = stage.connect("s", |_| ());
        subscriber.subscribe(&topic, qos);
        let publisher = stage.connect("p", |_| ());
        let mut bytes = Vec::new();
        // With identifiers that say nothing about the order.
        for (payload, id) in TEN.iter().zip((1..=10).rev()) {
            let mut publish = Publish::new(name(&topic), payload.as_bytes());
            publish.qos = level(qos);
            publish.packet_id = PacketId::new(id).filter(|_| qos > 0);
            publish.encode(stage.version, &mut bytes).expect("a packet");
        }
        publisher.send_bytes(&bytes);
        if qos == 2 {
            // Each as soon as its PUBREC comes, so that a broker that waits for PUBREL gets them in order.
            for id in (1..=10).rev() {
                answered(&publisher, "PUBREC", id);
                publisher.ack(PubRel, id);
                publisher.take(&format!("PUBCOMP #{id}"));
            }
        }
        expect_in_order(&subscriber, &TEN);
    }
}

/// [MQTT-4.6.0-5] [MQTT-4.6.0-6] [MQTT-4.6.0-5 of 3.1.1] [MQTT-4.6.0-6 of 3.1.1]
fn messages_for_a_client_that_is_away_come_in_order(stage: &Stage) {
    for qos in 1..3 {
        let topic = format!("order/away{qos}");
        let subscriber = lasting(stage, "lasting");
        subscriber.subscribe(&topic, qos);
        subscriber.disconnect();
        let publisher = stage.connect("p", |_| ());
        publish(&publisher, &topic, qos, &TEN[..8]);
        let subscriber = back(stage, "lasting");
        publish(&publisher, &topic, qos, &TEN[8..]);
        expect_in_order(&subscriber, &TEN);
    }
}

/// [MQTT-4.6.0-5] [MQTT-4.6.0-6] [MQTT-4.6.0-5 of 3.1.1] [MQTT-4.6.0-6 of 3.1.1]
fn messages_that_wait_for_acknowledgements_come_in_order(stage: &Stage) {
    for qos in 1..3 {
        let topic = format!("order/slow{qos}");
        let subscriber = stage.connect("s", |connect| {
            if stage.is_v5() {
                connect.properties.receive_maximum = PacketId::new(2);
            }
        });
        subscriber.subscribe(&topic, qos);
        let publisher = stage.connect("p", |_| ());
        publish(&publisher, &topic, qos, &TEN);
        expect_in_order(&subscriber, &TEN);
    }
}

/// [MQTT-4.6.0-1] [MQTT-4.6.0-1 of 3.1.1]
fn what_is_sent_again_comes_in_the_order_it_was_sent(stage: &Stage) {
    let subscriber = lasting(stage, "lasting");
    subscriber.subscribe("order/again/+", 2);
    let publisher = stage.connect("p", |_| ());
    // Of two topics and at both QoS.
    let sent: Vec<_> = [1, 1, 2, 2, 1, 2, 1]
        .into_iter()
        .zip(TEN)
        .map(|(qos, payload)| {
            let text = format!("order/again/{}={payload} q{qos}", if qos == 1 { "a" } else { "b" });
            publisher.publish(if qos == 1 { "order/again/a" } else { "order/again/b" }, qos, payload);
            (message(&subscriber, &text), text)
        })
        .collect();
    subscriber.ack(PubAck, sent[1].0);
    subscriber.expect_nothing();
    subscriber.drop_link();
    for _ in 0..2 {
        let subscriber = back(stage, "lasting");
        for (number, (id, text)) in sent.iter().enumerate() {
            if number != 1 {
                let found = message(&subscriber, &format!("{text} dup"));
                subscriber.check(found == *id, || format!("#{found} instead of #{id}"));
            }
        }
        subscriber.expect_nothing();
        subscriber.drop_link();
    }
}

/// [MQTT-4.6.0-5] [MQTT-4.6.0-6 of 3.1.1]
fn what_is_sent_again_comes_before_what_waited(stage: &Stage) {
    for qos in 1..3 {
        let topic = format!("order/before{qos}");
        let subscriber = lasting(stage, "lasting");
        subscriber.subscribe(&topic, qos);
        let publisher = stage.connect("p", |_| ());
        for payload in &TEN[..2] {
            publisher.publish(&topic, qos, payload);
            message(&subscriber, &format!("{topic}={payload} q{qos}"));
        }
        subscriber.disconnect();
        publish(&publisher, &topic, qos, &TEN[2..4]);
        expect_in_order(&back(stage, "lasting"), &TEN[..4]);
    }
}

/// [MQTT-4.6.0-4] [MQTT-4.6.0-4 of 3.1.1]
fn pubrels_come_in_the_order_of_the_pubrecs(stage: &Stage) {
    let subscriber = stage.connect("s", |_| ());
    subscriber.subscribe("order/pubrel", 2);
    let publisher = stage.connect("p", |_| ());
    let ids = [(); 5].map(|()| {
        publisher.publish("order/pubrel", 2, "x");
        message(&subscriber, "order/pubrel=x q2")
    });
    let order = [3, 0, 4, 2, 1].map(|index| ids[index]);
    for id in order {
        subscriber.ack(PubRec, id);
    }
    subscriber.expect_all(&order.map(|id| format!("PUBREL #{id}")));
}

#[track_caller]
fn publish(publisher: &Client, topic: &str, qos: u8, payloads: &[&str]) {
    for payload in payloads {
        publisher.publish(topic, qos, payload);
    }
}

/// Messages with these payloads come in this order, each acknowledged when it comes; and nothing else.
#[track_caller]
fn expect_in_order(client: &Client, payloads: &[&str]) {
    for payload in payloads {
        let received = client.next();
        let publish = publish_of(client, &received);
        let fine = publish.payload == payload.as_bytes();
        client.check(fine, || format!("expected {payload}, got {}", received.text()));
        match (publish.qos, publish.packet_id.map_or(0, PacketId::get)) {
            (QoS::AtMostOnce, _) => {}
            (QoS::AtLeastOnce, id) => client.ack(PubAck, id),
            (QoS::ExactlyOnce, id) => {
                client.ack(PubRec, id);
                client.take(&format!("PUBREL #{id}"));
                client.ack(PubComp, id);
            }
        }
    }
    client.expect_nothing();
}
