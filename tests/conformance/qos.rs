//! The exchanges of QoS 1 and 2 (§ 4.3): with the broker as receiver, and with the broker as sender.
//!
//! A broker may hand on a QoS 2 message as soon as it comes or when it is released, so it is released first.

use columba_testkit::Client;
use columba_testkit::ReasonCode;
use columba_testkit::codec::PacketType::{PubAck, PubComp, PubRec, PubRel};
use columba_testkit::codec::{PacketId, Publish};

use crate::exchange::{answered, back, completed, lasting, message, messages_before, publish_of};
use crate::stage::{Group, Stage, not_run, tests};

pub(crate) const TESTS: &[Group] = &[
    tests!(ALL =>
        a_message_at_qos_1_is_answered_with_puback,
        after_puback_the_same_id_is_a_new_message,
        a_message_at_qos_2_is_answered_with_pubrec_and_pubcomp,
        a_message_sent_twice_at_qos_2_is_answered_twice_and_arrives_once,
        a_message_sent_twice_unmarked_at_qos_2_is_answered_twice_and_arrives_once,
        a_message_sent_again_on_the_next_connection_arrives_once,
        a_pubrel_sent_again_is_answered_again_and_brings_nothing,
        after_pubcomp_the_same_id_is_a_new_message,
        messages_in_flight_have_ids_of_their_own,
        a_released_message_keeps_its_id_until_pubcomp,
        a_message_at_qos_1_comes_with_an_id_and_unmarked,
        a_message_at_qos_2_comes_with_an_id_and_unmarked,
        a_message_at_qos_1_is_unacknowledged_until_puback,
        a_message_at_qos_2_is_unacknowledged_until_pubrec,
        pubrec_is_answered_with_pubrel_of_the_same_id,
        pubrel_is_unacknowledged_until_pubcomp,
        once_released_a_message_is_not_sent_again,
    ),
    tests!(NUMBERED => ids_that_are_free_again_pass_over_those_in_use),
    tests!(ONLY_5 =>
        after_a_pubrec_that_refuses_the_same_id_is_a_new_message,
        a_pubrec_that_refuses_is_not_answered_with_pubrel,
        a_message_that_was_sent_does_not_expire,
        the_handshake_with_a_subscriber_goes_on_after_the_message_expired,
        the_handshake_with_a_publisher_goes_on_after_the_message_expired,
    ),
    tests!(ONLY_5, |config| config.limits.topic_levels = 2 =>
        after_a_refusal_for_its_topic_the_same_id_is_a_new_message,
    ),
];

// The broker receives.

/// [MQTT-3.3.4-1] [MQTT-4.3.2-4] [MQTT-3.3.4-1 of 3.1.1] [MQTT-4.3.2-2 of 3.1.1]
fn a_message_at_qos_1_is_answered_with_puback(stage: &Stage) {
    let subscriber = stage.connect("s", |_| ());
    subscriber.subscribe("qos/puback", 0);
    let client = stage.connect("p", |_| ());
    for id in [7, 65_535, 1, 256] {
        client.start("qos/puback", 1, id.to_string(), with_id(id));
        answered(&client, "PUBACK", id);
        subscriber.expect(&format!("PUBLISH qos/puback={id}"));
    }
    client.expect_nothing();
}

/// [MQTT-4.3.2-5] [MQTT-4.3.2-2 of 3.1.1]
fn after_puback_the_same_id_is_a_new_message(stage: &Stage) {
    let subscriber = stage.connect("s", |_| ());
    subscriber.subscribe("qos/same-id", 0);
    let client = stage.connect("p", |_| ());
    for dup in [false, false, true] {
        client.start("qos/same-id", 1, "x", marked(dup));
        answered(&client, "PUBACK", 7);
        subscriber.expect("PUBLISH qos/same-id=x");
    }
}

/// [MQTT-3.3.4-1] [MQTT-4.3.3-8] [MQTT-4.3.3-11] [MQTT-3.3.4-1 of 3.1.1] [MQTT-4.3.3-2 of 3.1.1]
fn a_message_at_qos_2_is_answered_with_pubrec_and_pubcomp(stage: &Stage) {
    let subscriber = stage.connect("s", |_| ());
    subscriber.subscribe("qos/pubrec", 0);
    let client = stage.connect("p", |_| ());
    for id in [7, 65_535, 1, 256] {
        client.start("qos/pubrec", 2, id.to_string(), with_id(id));
        answered(&client, "PUBREC", id);
        client.ack(PubRel, id);
        client.expect(&format!("PUBCOMP #{id}"));
        subscriber.expect(&format!("PUBLISH qos/pubrec={id}"));
    }
    client.expect_nothing();
}

/// [MQTT-4.3.3-10] [MQTT-4.3.3-2 of 3.1.1]
fn a_message_sent_twice_at_qos_2_is_answered_twice_and_arrives_once(stage: &Stage) {
    twice(stage, "qos/twice", [false, true, true]);
}

/// A sender should not do this, and yet: [MQTT-4.3.3-10] [MQTT-4.3.3-2 of 3.1.1]
fn a_message_sent_twice_unmarked_at_qos_2_is_answered_twice_and_arrives_once(stage: &Stage) {
    twice(stage, "qos/twice-unmarked", [false, false, false]);
}

/// [MQTT-4.3.3-10] [MQTT-4.3.3-2 of 3.1.1]
fn a_message_sent_again_on_the_next_connection_arrives_once(stage: &Stage) {
    let subscriber = stage.connect("s", |_| ());
    subscriber.subscribe("qos/again", 1);
    let client = lasting(stage, "lasting");
    client.start("qos/again", 2, "x", with_id(7));
    answered(&client, "PUBREC", 7);
    client.drop_link();
    let client = back(stage, "lasting");
    client.start("qos/again", 2, "x", marked(true));
    answered(&client, "PUBREC", 7);
    client.ack(PubRel, 7);
    client.expect("PUBCOMP #7");
    client.publish_with("qos/again", 1, "last", with_id(8));
    let found = messages_before(&subscriber, "qos/again=last");
    subscriber.check(found == ["qos/again=x"], || format!("{found:?}"));
}

/// [MQTT-4.3.3-11] [MQTT-4.3.3-2 of 3.1.1]
fn a_pubrel_sent_again_is_answered_again_and_brings_nothing(stage: &Stage) {
    let subscriber = stage.connect("s", |_| ());
    subscriber.subscribe("qos/pubrel", 1);
    let client = lasting(stage, "lasting");
    client.start("qos/pubrel", 2, "x", with_id(7));
    answered(&client, "PUBREC", 7);
    client.ack(PubRel, 7);
    client.expect("PUBCOMP #7");
    // As if the PUBCOMP had been lost with the connection.
    client.drop_link();
    let client = back(stage, "lasting");
    client.ack(PubRel, 7);
    completed(&client, 7);
    client.publish_with("qos/pubrel", 1, "last", with_id(8));
    let found = messages_before(&subscriber, "qos/pubrel=last");
    subscriber.check(found == ["qos/pubrel=x"], || format!("{found:?}"));
}

/// [MQTT-4.3.3-12] [MQTT-4.3.3-2 of 3.1.1]
fn after_pubcomp_the_same_id_is_a_new_message(stage: &Stage) {
    let subscriber = stage.connect("s", |_| ());
    subscriber.subscribe("qos/new", 0);
    let client = stage.connect("p", |_| ());
    for dup in [false, false, true] {
        client.start("qos/new", 2, "x", marked(dup));
        answered(&client, "PUBREC", 7);
        client.ack(PubRel, 7);
        client.expect("PUBCOMP #7");
        subscriber.expect("PUBLISH qos/new=x");
    }
}

/// [MQTT-4.3.3-9]
fn after_a_pubrec_that_refuses_the_same_id_is_a_new_message(stage: &Stage) {
    if !refused_and_then_new(stage, "$SYS/qos/refused", "qos/refused") {
        not_run("the broker refuses no message under $SYS/, or ends the connection");
    }
}

/// [MQTT-4.3.3-9]
fn after_a_refusal_for_its_topic_the_same_id_is_a_new_message(stage: &Stage) {
    assert!(refused_and_then_new(stage, "qos/too/deep", "qos/deep"), "not refused");
}

/// [MQTT-4.3.3-13]
fn the_handshake_with_a_publisher_goes_on_after_the_message_expired(stage: &Stage) {
    let subscriber = lasting(stage, "away");
    subscriber.subscribe("qos/expires", 2);
    subscriber.disconnect();
    let client = stage.connect("p", |_| ());
    client.start("qos/expires", 2, "x", |publish| {
        publish.packet_id = PacketId::new(7);
        publish.properties.message_expiry = Some(1);
    });
    answered(&client, "PUBREC", 7);
    stage.advance(2);
    client.ack(PubRel, 7);
    client.expect("PUBCOMP #7");
}

// The broker sends.

/// [MQTT-4.3.2-1] [MQTT-4.3.3-1] [MQTT-4.3.2-1 of 3.1.1] [MQTT-4.3.3-1 of 3.1.1]
fn messages_in_flight_have_ids_of_their_own(stage: &Stage) {
    let (subscriber, publisher) = pair(stage, "qos/ids", 2);
    let mut ids = Vec::new();
    for number in 0..8 {
        let qos = 1 + number % 2;
        publisher.publish("qos/ids", qos, "x");
        ids.push(message(&subscriber, &format!("qos/ids=x q{qos}")));
    }
    let mut distinct = ids.clone();
    distinct.sort_unstable();
    distinct.dedup();
    subscriber.check(distinct.len() == 8 && !ids.contains(&0), || format!("{ids:?}"));
}

/// [MQTT-4.3.3-1] [MQTT-4.3.2-1] [MQTT-4.3.3-1 of 3.1.1] [MQTT-4.3.2-1 of 3.1.1]
fn a_released_message_keeps_its_id_until_pubcomp(stage: &Stage) {
    let (subscriber, publisher) = pair(stage, "qos/released-id", 2);
    publisher.publish("qos/released-id", 2, "first");
    let released = message(&subscriber, "qos/released-id=first q2");
    subscriber.ack(PubRec, released);
    subscriber.expect(&format!("PUBREL #{released}"));
    for number in 0..8 {
        let qos = 1 + number % 2;
        publisher.publish("qos/released-id", qos, "x");
        let id = message(&subscriber, &format!("qos/released-id=x q{qos}"));
        subscriber.check(id != released, || format!("{id} is in use"));
        subscriber.ack(if qos == 1 { PubAck } else { PubRec }, id);
        if qos == 2 {
            subscriber.expect(&format!("PUBREL #{id}"));
            subscriber.ack(PubComp, id);
        }
    }
}

/// One more message than there are identifiers, with two of them in use all the time.
/// [MQTT-4.3.2-1] [MQTT-4.3.3-1] [MQTT-4.3.2-1 of 3.1.1] [MQTT-4.3.3-1 of 3.1.1]
fn ids_that_are_free_again_pass_over_those_in_use(stage: &Stage) {
    const BATCH: u32 = 64;
    let (subscriber, publisher) = pair(stage, "qos/round", 2);
    publisher.publish("qos/round", 1, "first");
    let unacknowledged = message(&subscriber, "qos/round=first q1");
    publisher.publish("qos/round", 2, "first");
    let released = message(&subscriber, "qos/round=first q2");
    subscriber.ack(PubRec, released);
    subscriber.expect(&format!("PUBREL #{released}"));
    for _ in 0..=65_536 / BATCH {
        let sent: Vec<_> = (0..BATCH).map(|_| publisher.start("qos/round", 1, "x", |_| ())).collect();
        for id in sent {
            answered(&publisher, "PUBACK", id);
        }
        for _ in 0..BATCH {
            let id = message(&subscriber, "qos/round=x q1");
            subscriber.check(id != unacknowledged && id != released, || format!("{id} is in use"));
            subscriber.ack(PubAck, id);
        }
    }
}

/// [MQTT-4.3.2-2] [MQTT-4.3.2-1 of 3.1.1]
fn a_message_at_qos_1_comes_with_an_id_and_unmarked(stage: &Stage) {
    comes_unmarked(stage, "qos/first1", 1);
}

/// [MQTT-4.3.3-2] [MQTT-4.3.3-1 of 3.1.1]
fn a_message_at_qos_2_comes_with_an_id_and_unmarked(stage: &Stage) {
    comes_unmarked(stage, "qos/first2", 2);
}

/// [MQTT-4.3.2-3] [MQTT-4.3.2-1 of 3.1.1]
fn a_message_at_qos_1_is_unacknowledged_until_puback(stage: &Stage) {
    let (subscriber, publisher) = lasting_pair(stage, "qos/until-puback", 1);
    publisher.publish("qos/until-puback", 1, "x");
    let id = message(&subscriber, "qos/until-puback=x q1");
    subscriber.drop_link();
    for _ in 0..2 {
        let subscriber = back(stage, "lasting");
        subscriber.check(message(&subscriber, "qos/until-puback=x q1 dup") == id, || "another id".into());
        subscriber.drop_link();
    }
    let subscriber = back(stage, "lasting");
    message(&subscriber, "qos/until-puback=x q1 dup");
    subscriber.ack(PubAck, id);
    subscriber.disconnect();
    back(stage, "lasting").expect_nothing();
}

/// [MQTT-4.3.3-3] [MQTT-4.3.3-1 of 3.1.1]
fn a_message_at_qos_2_is_unacknowledged_until_pubrec(stage: &Stage) {
    let (subscriber, publisher) = lasting_pair(stage, "qos/until-pubrec", 2);
    publisher.publish("qos/until-pubrec", 2, "x");
    let id = message(&subscriber, "qos/until-pubrec=x q2");
    subscriber.drop_link();
    for _ in 0..2 {
        let subscriber = back(stage, "lasting");
        subscriber.check(message(&subscriber, "qos/until-pubrec=x q2 dup") == id, || "another id".into());
        subscriber.drop_link();
    }
}

/// [MQTT-4.3.3-4] [MQTT-4.3.3-1 of 3.1.1]
fn pubrec_is_answered_with_pubrel_of_the_same_id(stage: &Stage) {
    let (subscriber, publisher) = pair(stage, "qos/pubrel-id", 2);
    let ids: Vec<_> = (0..3)
        .map(|_| {
            publisher.publish("qos/pubrel-id", 2, "x");
            message(&subscriber, "qos/pubrel-id=x q2")
        })
        .collect();
    for index in [1, 2, 0] {
        subscriber.ack(PubRec, ids[index]);
        subscriber.expect_all(&[format!("PUBREL #{}", ids[index])]);
    }
}

/// [MQTT-4.3.3-4]
fn a_pubrec_that_refuses_is_not_answered_with_pubrel(stage: &Stage) {
    let (subscriber, publisher) = pair(stage, "qos/pubrec-refuses", 2);
    publisher.publish("qos/pubrec-refuses", 2, "x");
    let id = message(&subscriber, "qos/pubrec-refuses=x q2");
    subscriber.ack_with(PubRec, id, ReasonCode::UnspecifiedError);
    subscriber.expect_nothing();
}

/// [MQTT-4.3.3-5] [MQTT-4.3.3-1 of 3.1.1]
fn pubrel_is_unacknowledged_until_pubcomp(stage: &Stage) {
    let (subscriber, publisher) = lasting_pair(stage, "qos/until-pubcomp", 2);
    publisher.publish("qos/until-pubcomp", 2, "x");
    let id = message(&subscriber, "qos/until-pubcomp=x q2");
    subscriber.ack(PubRec, id);
    let pubrel = format!("PUBREL #{id}");
    subscriber.expect(&pubrel);
    subscriber.drop_link();
    for _ in 0..2 {
        let subscriber = back(stage, "lasting");
        subscriber.expect(&pubrel);
        subscriber.drop_link();
    }
    let subscriber = back(stage, "lasting");
    subscriber.expect(&pubrel);
    subscriber.ack(PubComp, id);
    subscriber.disconnect();
    back(stage, "lasting").expect_nothing();
}

/// [MQTT-4.3.3-6] [MQTT-4.3.3-1 of 3.1.1]
fn once_released_a_message_is_not_sent_again(stage: &Stage) {
    let (subscriber, publisher) = lasting_pair(stage, "qos/released", 2);
    publisher.publish("qos/released", 2, "x");
    let id = message(&subscriber, "qos/released=x q2");
    subscriber.ack(PubRec, id);
    subscriber.expect(&format!("PUBREL #{id}"));
    subscriber.drop_link();
    for _ in 0..2 {
        let subscriber = back(stage, "lasting");
        subscriber.expect_all(&[format!("PUBREL #{id}")]);
        subscriber.drop_link();
    }
}

/// [MQTT-4.3.3-7]
fn a_message_that_was_sent_does_not_expire(stage: &Stage) {
    let (subscriber, publisher) = lasting_pair(stage, "qos/sent", 2);
    publisher.publish_with("qos/sent", 2, "x", |publish| publish.properties.message_expiry = Some(1));
    let received = subscriber.next();
    let id = publish_of(&subscriber, &received).packet_id;
    stage.advance(2);
    subscriber.drop_link();
    let subscriber = back(stage, "lasting");
    let received = subscriber.next();
    let publish = publish_of(&subscriber, &received);
    let same = publish.packet_id == id && publish.dup && publish.payload == b"x";
    subscriber.check(same, || received.text().to_owned());
}

/// [MQTT-4.3.3-7] [MQTT-4.3.3-4]
fn the_handshake_with_a_subscriber_goes_on_after_the_message_expired(stage: &Stage) {
    let (subscriber, publisher) = pair(stage, "qos/goes-on", 2);
    publisher.publish_with("qos/goes-on", 2, "x", |publish| publish.properties.message_expiry = Some(1));
    let received = subscriber.next();
    let id = publish_of(&subscriber, &received).packet_id.map_or(0, PacketId::get);
    stage.advance(2);
    subscriber.ack(PubRec, id);
    subscriber.expect_all(&[format!("PUBREL #{id}")]);
    subscriber.ack(PubComp, id);
    subscriber.expect_nothing();
}

/// A subscriber to `topic` and a publisher.
#[track_caller]
fn pair(stage: &Stage, topic: &str, qos: u8) -> (Client, Client) {
    let subscriber = stage.connect("s", |_| ());
    subscriber.subscribe(topic, qos);
    (subscriber, stage.connect("p", |_| ()))
}

/// The same, where the session of the subscriber, `lasting`, lasts.
#[track_caller]
fn lasting_pair(stage: &Stage, topic: &str, qos: u8) -> (Client, Client) {
    let subscriber = lasting(stage, "lasting");
    subscriber.subscribe(topic, qos);
    (subscriber, stage.connect("p", |_| ()))
}

/// A message to `topic` comes, and then another, each with an identifier and without DUP.
#[track_caller]
fn comes_unmarked(stage: &Stage, topic: &str, qos: u8) {
    let (subscriber, publisher) = pair(stage, topic, qos);
    for payload in ["a", "b"] {
        publisher.publish(topic, qos, payload);
        let id = message(&subscriber, &format!("{topic}={payload} q{qos}"));
        subscriber.check(id != 0, || "no packet identifier".into());
    }
}

/// The same message three times, with or without DUP, before it is released: it comes once.
#[track_caller]
fn twice(stage: &Stage, topic: &str, dups: [bool; 3]) {
    let (subscriber, client) = pair(stage, topic, 1);
    for dup in dups {
        client.start(topic, 2, "x", marked(dup));
        answered(&client, "PUBREC", 7);
    }
    client.ack(PubRel, 7);
    client.expect("PUBCOMP #7");
    client.publish_with(topic, 1, "last", with_id(8));
    let found = messages_before(&subscriber, &format!("{topic}=last"));
    subscriber.check(found == [format!("{topic}=x")], || format!("{found:?}"));
}

/// After a message to `wrong` that is refused, the next with the same identifier, to `topic`, is a new one. False if it is
/// not refused, or with the end of the connection.
#[track_caller]
fn refused_and_then_new(stage: &Stage, wrong: &str, topic: &str) -> bool {
    let (subscriber, client) = pair(stage, topic, 0);
    client.start(wrong, 2, "x", with_id(7));
    let answer = client.drain();
    let refused =
        answer.first().is_some_and(|received| received.bytes().get(4).is_some_and(|&code| code >= 0x80));
    if !client.is_open() || !refused {
        return false;
    }
    client.start(topic, 2, "y", with_id(7));
    answered(&client, "PUBREC", 7);
    client.ack(PubRel, 7);
    client.expect("PUBCOMP #7");
    subscriber.expect(&format!("PUBLISH {topic}=y"));
    true
}

fn with_id(id: u16) -> impl Fn(&mut Publish<'_>) {
    move |publish| publish.packet_id = PacketId::new(id)
}

/// With identifier 7, and with DUP or without.
fn marked(dup: bool) -> impl Fn(&mut Publish<'_>) {
    move |publish| (publish.dup, publish.packet_id) = (dup, PacketId::new(7))
}
