//! Mistakes that have been seen in brokers, each with a test of its own.

use std::collections::BTreeSet;
use std::num::NonZeroU16;

use columba_testkit::codec::PacketType::{PubAck, PubComp, PubRec, PubRel};
use columba_testkit::codec::{Packet, Publish};
use columba_testkit::columba::FullQueue;
use columba_testkit::{Client, ReasonCode, Received, name, persistent, will};

use crate::authenticator::{self, ANSWER, METHOD, QUESTION};
use crate::stage::{Group, Stage, tests};
use crate::steps::{at, delivered, ends, is_refused, lasting, own};

pub(crate) const TESTS: &[Group] = &[
    tests!(ALL =>
        a_topic_whose_first_character_is_long_is_served,
        a_delivery_while_a_packet_is_half_there_does_not_lose_the_place,
        a_clean_start_ends_old_subscriptions,
        qos_is_not_raised_to_the_subscriptions,
        a_message_waits_at_the_lower_qos,
        an_empty_message_that_is_not_retained_clears_nothing,
        unsubscribing_from_nothing_is_answered,
        keep_alive_0_is_no_time_limit,
        acknowledged_messages_arrive_however_many_wait,
        a_length_that_is_announced_is_not_reserved,
    ),
    tests!(NUMBERED => nothing_is_sent_again_while_the_connection_lives),
    tests!(ALL, |config| {
        config.limits.queued_messages = 3;
        config.full_queue = FullQueue::RefusePublisher;
    } => a_full_queue_loses_nothing_that_was_acknowledged),
    tests!(ALL, |config| config.limits.packet_size = 1_000 => a_packet_that_is_too_long_is_refused_by_its_header),
    tests!(ONLY_5 =>
        a_reconnect_cancels_a_will_that_waits,
        an_alias_stands_for_one_topic_and_not_for_a_filter,
        groups_with_the_same_name_and_other_filters_are_apart,
        assigned_client_ids_cannot_be_guessed,
        messages_beyond_receive_maximum_wait,
        messages_at_qos_2_beyond_receive_maximum_wait,
        a_topic_behind_an_alias_is_authorised_like_any_other,
        a_publish_at_qos_2_is_never_answered_with_puback,
        retained_messages_have_subscription_identifiers,
    ),
    tests!(ONLY_5 =>
        authentication_cannot_be_skipped_by_going_on,
        authentication_cannot_be_skipped_by_declaring_success,
    )
    .asking(authenticator::verdict),
];

/// A router that cuts topics at bytes ends in the middle of a character. [MQTT-4.7.3-4] [MQTT-4.7.3-4 of 3.1.1]
fn a_topic_whose_first_character_is_long_is_served(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    for first in ["\u{df}", "\u{65e5}", "\u{1f980}", "\u{7ff}"] {
        let topic = format!("{first}mistakes");
        client.subscribe(&topic, 0);
        stage.connect("publisher", |_| ()).publish(&topic, 0, "x");
        client.expect(&format!("PUBLISH {topic}=x"));
    }
}

/// Half a packet has come when something is sent: the other half belongs to it. [MQTT-4.2-1] [MQTT-7.1.1-1 of 3.1.1]
fn a_delivery_while_a_packet_is_half_there_does_not_lose_the_place(stage: &Stage) {
    let client = stage.connect("halves", |_| ());
    client.subscribe("mistakes/half/+", 0);
    let publisher = stage.connect("publisher", |_| ());
    let mut bytes = Vec::new();
    Publish::new(name("mistakes/half/own"), b"whole")
        .encode(stage.version, &mut bytes)
        .expect("it can be encoded");
    for cut in [1, 2, 5, bytes.len() - 1] {
        client.send_bytes(&bytes[..cut]);
        publisher.publish("mistakes/half/other", 1, "between");
        client.expect("PUBLISH mistakes/half/other=between");
        client.send_bytes(&bytes[cut..]);
        client.expect("PUBLISH mistakes/half/own=whole");
    }
}

/// [MQTT-3.1.2-4] [MQTT-3.1.2-6 of 3.1.1]
fn a_clean_start_ends_old_subscriptions(stage: &Stage) {
    let client = lasting(stage, "clean");
    client.subscribe("mistakes/clean", 1);
    client.disconnect();
    let client = stage.connect("clean", |_| ());
    stage.connect("publisher", |_| ()).publish("mistakes/clean", 1, "x");
    client.expect_nothing();
}

/// [MQTT-3.8.4-8] [MQTT-3.8.4-6 of 3.1.1]
fn qos_is_not_raised_to_the_subscriptions(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    client.subscribe("mistakes/raised", 2);
    let publisher = stage.connect("publisher", |_| ());
    publisher.publish("mistakes/raised", 0, "x");
    publisher.publish("mistakes/raised", 1, "x");
    delivered(&client, "PUBLISH mistakes/raised=x");
    delivered(&client, "PUBLISH mistakes/raised=x q1 #n");
}

/// [MQTT-3.8.4-8] [MQTT-3.8.4-6 of 3.1.1]
fn a_message_waits_at_the_lower_qos(stage: &Stage) {
    for (granted, published) in [(2, 1), (1, 2), (2, 2)] {
        let client = lasting(stage, "waiting");
        client.subscribe("mistakes/waits", granted);
        client.disconnect();
        stage.connect("publisher", |_| ()).publish("mistakes/waits", published, "x");
        let client = stage.connect("waiting", persistent);
        delivered(&client, &format!("PUBLISH mistakes/waits=x q{} #n", granted.min(published)));
        client.expect_nothing();
    }
}

/// Only an empty message that is to be retained does. [MQTT-3.3.1-8] [MQTT-3.3.1-12 of 3.1.1]
fn an_empty_message_that_is_not_retained_clears_nothing(stage: &Stage) {
    let topic = own(stage, "mistakes/cleared");
    let publisher = stage.connect("publisher", |_| ());
    publisher.retain(&topic, 1, "kept");
    publisher.publish(&topic, 1, "");
    let client = stage.connect("subscriber", |_| ());
    client.subscribe(&topic, 0);
    client.expect_all(&[format!("PUBLISH {topic}=kept retain")]);
}

/// [MQTT-3.10.4-5] [MQTT-3.10.4-5 of 3.1.1]
fn unsubscribing_from_nothing_is_answered(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    let codes = client.unsubscribe(&["mistakes/nothing"]);
    client.check(codes == if stage.is_v5() { &[0x11][..] } else { &[] }, || format!("{codes:02x?}"));
}

/// Not after a day either.
fn keep_alive_0_is_no_time_limit(stage: &Stage) {
    let client = stage.connect("silent", |connect| connect.keep_alive = 0);
    stage.advance(100_000);
    client.expect_open();
    client.ping();
}

/// [MQTT-4.5.0-1] [MQTT-4.5.0-1 of 3.1.1]
fn acknowledged_messages_arrive_however_many_wait(stage: &Stage) {
    let client = lasting(stage, "waiting");
    client.subscribe("mistakes/many", 1);
    client.disconnect();
    let publisher = stage.connect("publisher", |_| ());
    let wanted = acknowledged(stage, &publisher, "mistakes/many", 500);
    let found = stage.connect("waiting", persistent).messages();
    publisher.check(found == wanted, || format!("{} of {} arrive", found.len(), wanted.len()));
}

/// Where the queue is full the publisher has to be told, or cut off. [MQTT-4.5.0-1] [MQTT-4.5.0-1 of 3.1.1]
fn a_full_queue_loses_nothing_that_was_acknowledged(stage: &Stage) {
    if stage.has_shards() {
        // A publisher is not told of a full queue in another shard: so `build_shards` says.
        return;
    }
    let client = lasting(stage, "waiting");
    client.subscribe("mistakes/full", 1);
    client.disconnect();
    let publisher = stage.connect("publisher", |_| ());
    let wanted = acknowledged(stage, &publisher, "mistakes/full", 10);
    let found = stage.connect("waiting", persistent).messages();
    publisher.check(found == wanted, || format!("{found:?} instead of {wanted:?}"));
    publisher.check(!wanted.is_empty() && wanted.len() < 10, || format!("{} were taken", wanted.len()));
}

/// Publishes messages at QoS 1 and returns those the broker takes.
fn acknowledged(stage: &Stage, publisher: &Client, topic: &str, count: usize) -> Vec<String> {
    let mut taken = Vec::new();
    for number in 0..count {
        let id = publisher.start(topic, 1, number.to_string(), |_| ());
        for received in publisher.drain() {
            let fine = match received.packet() {
                Packet::PubAck(ack) => ack.packet_id.get() == id && !ack.reason.is_error(),
                _ => false,
            };
            if fine {
                taken.push(format!("{topic}={number}"));
            }
        }
        if !publisher.is_open() {
            publisher.check(!stage.is_v5(), || "MQTT 5 has a code for this".to_owned());
            break;
        }
    }
    taken
}

/// Many connections announce a packet of 256 MB each and send none of it; the others are served.
fn a_length_that_is_announced_is_not_reserved(stage: &Stage) {
    let other = stage.connect("other", |_| ());
    other.subscribe("mistakes/announced", 0);
    let announcing: Vec<_> = (0..30).map(|n| stage.connect(&format!("announcing{n}"), |_| ())).collect();
    for client in &announcing {
        client.send_bytes(b"\x30\xff\xff\xff\x7f\x00\x01t");
    }
    other.publish("mistakes/announced", 0, "x");
    other.expect_all(&["PUBLISH mistakes/announced=x"]);
    // Before CONNECT, too.
    let strangers: Vec<_> = (0..30).map(|n| stage.open(&format!("stranger{n}"))).collect();
    for client in &strangers {
        client.send_bytes(b"\x10\xff\xff\xff\x7f\x00\x04MQTT");
    }
    other.publish("mistakes/announced", 0, "x");
    other.expect_all(&["PUBLISH mistakes/announced=x"]);
}

/// Before any of the rest has come. [MQTT-4.13.1-1] [MQTT-4.8.0-2 of 3.1.1]
fn a_packet_that_is_too_long_is_refused_by_its_header(stage: &Stage) {
    let client = stage.connect("long", |_| ());
    // 998 bytes with a header of three are one too many.
    client.send_bytes(b"\x30\xe6\x07");
    ends(&client, &[0x80, 0x95]);
}

/// [MQTT-4.4.0-1]
fn nothing_is_sent_again_while_the_connection_lives(stage: &Stage) {
    let client = stage.connect("patient", |connect| connect.keep_alive = 0);
    client.subscribe("mistakes/again", 2);
    let publisher = stage.connect("publisher", |_| ());
    publisher.publish("mistakes/again", 1, "x");
    publisher.publish("mistakes/again", 2, "x");
    publisher.publish("mistakes/again", 2, "x");
    delivered(&client, "PUBLISH mistakes/again=x q1 #n");
    delivered(&client, "PUBLISH mistakes/again=x q2 #n");
    let id = delivered(&client, "PUBLISH mistakes/again=x q2 #n");
    client.ack(PubRec, id);
    client.expect(&format!("PUBREL #{id}"));
    stage.advance(4);
    client.expect_nothing();
}

/// [MQTT-3.1.3-9]
fn a_reconnect_cancels_a_will_that_waits(stage: &Stage) {
    let watcher = stage.connect("watcher", |connect| connect.keep_alive = 0);
    watcher.subscribe("mistakes/will", 0);
    let client = lasting(stage, "willing");
    client.disconnect();
    let client = stage.connect("willing", |connect| {
        persistent(connect);
        let mut will = will("mistakes/will", "will");
        will.delay = Some(2);
        connect.will = Some(will);
    });
    client.drop_link();
    let client = stage.connect("willing", persistent);
    stage.advance(4);
    watcher.expect_nothing();
    client.expect_open();
}

/// An alias that stood for the filter would give the second topic the name of the first.
fn an_alias_stands_for_one_topic_and_not_for_a_filter(stage: &Stage) {
    let client = stage.connect("aliases", |connect| connect.properties.topic_alias_maximum = Some(10));
    client.subscribe("mistakes/alias/+", 0);
    let publisher = stage.connect("publisher", |_| ());
    let mut wanted = Vec::new();
    for number in 0..12 {
        let topic = format!("mistakes/alias/{}", number % 3);
        publisher.publish(&topic, 0, number.to_string());
        wanted.push(format!("{topic}={number}"));
    }
    // They come with the topics their aliases stand for.
    let found = client.messages();
    client.check(found == wanted, || format!("{found:?}"));
}

/// [MQTT-4.8.2-1] [MQTT-4.8.2-2]
fn groups_with_the_same_name_and_other_filters_are_apart(stage: &Stage) {
    let members = [
        ("exact", "$share/same/mistakes/group"),
        ("wild", "$share/same/mistakes/+"),
        ("other", "$share/same/mistakes/other"),
    ]
    .map(|(id, filter)| {
        let client = stage.connect(id, |_| ());
        client.subscribe(filter, 0);
        client
    });
    let publisher = stage.connect("publisher", |_| ());
    publisher.publish("mistakes/group", 0, "x");
    publisher.publish("mistakes/group", 0, "y");
    let both = ["PUBLISH mistakes/group=x", "PUBLISH mistakes/group=y"];
    members[0].expect_all(&both);
    members[1].expect_all(&both);
    members[2].expect_nothing();
}

/// Somebody who has one must not know the others: they differ in more than a counter. [MQTT-3.2.2-16]
fn assigned_client_ids_cannot_be_guessed(stage: &Stage) {
    let mut ids = BTreeSet::new();
    for _ in 0..10 {
        let client = stage.try_connect("", |_| ());
        let connack = client.accepted();
        let Packet::ConnAck(ack) = connack.packet() else { client.fail(connack.text()) };
        let id = ack.properties.assigned_client_id.unwrap_or_default().to_owned();
        client.check(!id.is_empty() && ids.insert(id), || "it has no name of its own".to_owned());
    }
    let ids: Vec<_> = ids.iter().map(String::as_bytes).collect();
    for pair in ids.windows(2) {
        let same = pair[0].iter().zip(pair[1]).filter(|(a, b)| a == b).count();
        let differing = pair[0].len().max(pair[1].len()) - same;
        assert!(differing >= 6, "{} and {}", pair[0].escape_ascii(), pair[1].escape_ascii());
    }
}

/// [MQTT-3.3.4-9] [MQTT-4.5.0-1]
fn messages_beyond_receive_maximum_wait(stage: &Stage) {
    let client = stage.connect("narrow", |connect| connect.properties.receive_maximum = NonZeroU16::new(2));
    client.subscribe("mistakes/window", 1);
    let publisher = stage.connect("publisher", |_| ());
    (0..10).for_each(|number| publisher.publish("mistakes/window", 1, number.to_string()));
    for number in [0, 2, 4, 6, 8] {
        let first = delivered(&client, &format!("PUBLISH mistakes/window={number} q1 #n"));
        let second = delivered(&client, &format!("PUBLISH mistakes/window={} q1 #n", number + 1));
        client.expect_nothing();
        client.send_bytes(
            &[b"\x40\x02", &first.to_be_bytes()[..], b"\x40\x02", &second.to_be_bytes()].concat(),
        );
    }
    client.expect_nothing();
}

/// [MQTT-3.3.4-9] [MQTT-4.5.0-1]
fn messages_at_qos_2_beyond_receive_maximum_wait(stage: &Stage) {
    let client = stage.connect("narrow", |connect| connect.properties.receive_maximum = NonZeroU16::new(1));
    client.subscribe("mistakes/window/2", 2);
    let publisher = stage.connect("publisher", |_| ());
    (0..4).for_each(|number| publisher.publish("mistakes/window/2", 2, number.to_string()));
    for number in 0..4 {
        let id = delivered(&client, &format!("PUBLISH mistakes/window/2={number} q2 #n"));
        client.expect_nothing();
        client.ack(PubRec, id);
        client.expect_all(&[format!("PUBREL #{id}")]);
        client.ack(PubComp, id);
    }
    client.expect_nothing();
}

/// What is refused by name is refused by alias, and what is allowed is allowed. A topic of the broker's own is one that
/// clients may not publish to, if there is any.
fn a_topic_behind_an_alias_is_authorised_like_any_other(stage: &Stage) {
    let client = stage.connect("aliasing", |_| ());
    client.start("$SYS/broker/mistakes", 1, "x", |publish| publish.topic_alias = NonZeroU16::new(1));
    let by_name = answer(&client.drain());
    client.start("$SYS/broker/mistakes", 1, "x", |publish| {
        publish.topic = None;
        publish.topic_alias = NonZeroU16::new(1);
    });
    let by_alias = answer(&client.drain());
    // A broker that has ended the connection has refused both.
    client.check(by_name == by_alias || !client.is_open(), || format!("{by_name:02x?} and {by_alias:02x?}"));
}

/// Success with or without subscribers, or the code of a failure.
fn answer(all: &[Received]) -> Option<u8> {
    all.iter().find_map(|received| match received.packet() {
        Packet::PubAck(ack) => Some(if ack.reason.is_error() { ack.reason.code() } else { 0 }),
        _ => None,
    })
}

/// Not even one that is refused. [MQTT-4.3.3-8]
fn a_publish_at_qos_2_is_never_answered_with_puback(stage: &Stage) {
    let client = stage.connect("refused", |_| ());
    for topic in ["$SYS/broker/mistakes", "mistakes/taken"] {
        let id = client.start(topic, 2, "x", |_| ());
        let mut answered = false;
        for received in client.drain() {
            let (fine, goes_on) = match received.packet() {
                Packet::PubRec(ack) => (ack.packet_id.get() == id, !ack.reason.is_error()),
                Packet::Disconnect(_) => (true, false),
                _ => (false, false),
            };
            client.check(fine, || received.text().to_owned());
            answered = true;
            if goes_on {
                client.ack(PubRel, id);
                client.take(&format!("PUBCOMP #{id}"));
            }
        }
        if !client.is_open() {
            return;
        }
        client.check(answered, || format!("no answer for {topic}"));
    }
}

/// [MQTT-3.3.4-3]
fn retained_messages_have_subscription_identifiers(stage: &Stage) {
    stage.connect("publisher", |_| ()).retain("mistakes/identifier/x", 1, "x");
    let client = stage.connect("subscriber", |_| ());
    client.subscribe_with("mistakes/identifier/+", 1, Some(7), |_| ());
    let id = delivered(&client, "PUBLISH mistakes/identifier/x=x q1 #n retain ids=7");
    client.ack(PubAck, id);
}

/// [MQTT-4.12.0-4] [MQTT-3.1.2-30]
fn authentication_cannot_be_skipped_by_going_on(stage: &Stage) {
    let watcher = stage.connect("watcher", |_| ());
    watcher.subscribe("mistakes/skipped", 0);
    let attempts: [fn(&Client); 4] = [
        |client| client.send(&Packet::PingReq),
        |client| {
            client.start("mistakes/skipped", 0, "x", |_| ());
        },
        |client| {
            client.start_subscribe(&[("mistakes/skipped", at(0))], None);
        },
        |client| client.connect("skipping", |_| ()),
    ];
    for attempt in attempts {
        let client = asked(stage);
        attempt(&client);
        is_refused(&client, &[0x80, 0x81, 0x82, 0x87, 0x8c]);
        watcher.expect_nothing();
    }
}

/// [MQTT-4.12.0-3] [MQTT-4.12.0-4]
fn authentication_cannot_be_skipped_by_declaring_success(stage: &Stage) {
    for data in [None, Some(ANSWER)] {
        let client = asked(stage);
        client.auth(ReasonCode::Success, Some(METHOD), data);
        is_refused(&client, &[0x80, 0x81, 0x82, 0x87, 0x8c]);
    }
}

fn asked(stage: &Stage) -> Client {
    let client =
        stage.try_connect("skipping", |connect| connect.properties.authentication_method = Some(METHOD));
    client.expect(&format!("AUTH 18 {METHOD} {QUESTION}"));
    client
}
