//! Quality of service, both directions: who acknowledges what, what is sent again and what never is.

use columba_core::codec::PacketType::{PubAck, PubComp, PubRec, PubRel};
use columba_core::codec::{Packet, PacketId, Publish, ReasonCode};

use crate::world::{ALL, Client, V3_1_1, V5, World, level, persistent};

/// A subscriber to everything with a session that lasts, and a publisher.
fn pair(world: &World, qos: u8) -> (Client, Client) {
    let subscriber = world.connect("subscriber", V5, persistent);
    subscriber.subscribe("#", qos);
    (subscriber, world.connect("publisher", V5, |_| ()))
}

/// [MQTT-3.3.4-1] [MQTT-4.3.2-4] [MQTT-4.3.3-8] [MQTT-4.3.3-11] [MQTT-2.2.1-5] [MQTT-3.4.2-1]
/// [MQTT-3.5.2-1] [MQTT-3.7.2-1] [MQTT-3.3.4-1 of 3.1.1] [MQTT-2.3.1-6 of 3.1.1] [MQTT-4.3.2-2 of 3.1.1]
/// [MQTT-4.3.3-2 of 3.1.1]
#[test]
fn every_qos_is_answered_as_it_asks() {
    for version in ALL {
        let world = World::new();
        world.connect("subscriber", V5, |_| ()).subscribe("#", 0);
        let client = world.connect("a", version, |_| ());
        client.start("t", 0, "x", |_| ());
        client.expect_nothing();
        client.start("t", 1, "x", |_| ());
        client.expect("PUBACK #1");
        client.start("t", 2, "x", |_| ());
        client.expect("PUBREC #2");
        client.ack(PubRel, 2);
        client.expect_all(&["PUBCOMP #2"]);
    }
}

/// Only MQTT 5 has a word for it.
#[test]
fn a_publisher_is_told_that_nobody_listens() {
    for version in ALL {
        let world = World::new();
        let client = world.connect("a", version, |_| ());
        client.start("t", 1, "x", |_| ());
        client.start("t", 2, "x", |_| ());
        let expected =
            if client.is_v5() { ["PUBACK #1 10", "PUBREC #2 10"] } else { ["PUBACK #1", "PUBREC #2"] };
        client.expect_all(&expected);
        client.ack(PubRel, 2);
        client.expect("PUBCOMP #2");
    }
}

/// The QoS of a delivery is the lower of what was published and what was granted, never raised to the
/// latter. [MQTT-3.8.4-8], [MQTT-3.8.4-6 of 3.1.1] [MQTT-4.3.1-1] [MQTT-4.3.1-1 of 3.1.1]
#[test]
fn the_qos_of_a_delivery_is_the_lower_of_the_two() {
    for version in ALL {
        for published in 0..3 {
            for granted in 0..3 {
                let world = World::new();
                let subscriber = world.connect("s", version, |_| ());
                subscriber.subscribe("t", granted);
                world.connect("p", V5, |_| ()).publish("t", published, "x");
                subscriber.expect(match published.min(granted) {
                    0 => "PUBLISH t=x",
                    1 => "PUBLISH t=x q1 #1",
                    _ => "PUBLISH t=x q2 #1",
                });
            }
        }
    }
}

/// A message that waits for an absent client has the lower QoS too.
#[test]
fn the_qos_of_a_message_that_waited_is_the_lower_of_the_two() {
    for (published, granted, expected) in
        [(1, 2, "PUBLISH t=x q1 #1"), (2, 1, "PUBLISH t=x q1 #1"), (2, 2, "PUBLISH t=x q2 #1")]
    {
        let world = World::new();
        let (subscriber, publisher) = pair(&world, granted);
        subscriber.drop_link();
        publisher.publish("t", published, "x");
        let subscriber = world.connect("subscriber", V5, persistent);
        subscriber.expect_all(&[expected]);
    }
}

/// The DUP flag of the publisher is its own affair. [MQTT-3.3.1-3] [MQTT-3.3.1-3 of 3.1.1]
#[test]
fn dup_is_not_passed_on() {
    let world = World::new();
    let (subscriber, publisher) = pair(&world, 2);
    publisher.publish_with("t", 1, "x", |publish| publish.dup = true);
    publisher.publish_with("t", 2, "x", |publish| publish.dup = true);
    subscriber.expect_all(&["PUBLISH t=x q1 #1", "PUBLISH t=x q2 #2"]);
}

/// [MQTT-4.3.2-1] [MQTT-4.3.2-2] [MQTT-4.3.2-3] [MQTT-3.3.1-1] [MQTT-4.4.0-1] [MQTT-3.3.1-1 of 3.1.1]
/// [MQTT-4.3.2-1 of 3.1.1] [MQTT-4.4.0-1 of 3.1.1] [MQTT-2.3.1-4 of 3.1.1]
#[test]
fn an_unacknowledged_message_comes_again_with_its_id_when_its_client_is_back() {
    for version in ALL {
        let world = World::new();
        let subscriber = world.connect("s", version, persistent);
        subscriber.subscribe("t", 2);
        let publisher = world.connect("p", V5, |_| ());
        for (qos, payload) in [(1, "a"), (2, "b"), (1, "c"), (2, "d")] {
            publisher.publish("t", qos, payload);
        }
        subscriber.expect_all(&[
            "PUBLISH t=a q1 #1",
            "PUBLISH t=b q2 #2",
            "PUBLISH t=c q1 #3",
            "PUBLISH t=d q2 #4",
        ]);
        subscriber.ack(PubAck, 1);
        subscriber.ack(PubRec, 2);
        subscriber.expect_all(&["PUBREL #2"]);

        for _ in 0..3 {
            subscriber.drop_link();
            let subscriber = world.connect("s", version, persistent);
            subscriber.expect_all(&["PUBREL #2", "PUBLISH t=c q1 #3 dup", "PUBLISH t=d q2 #4 dup"]);
        }
        let subscriber = world.connect("s", version, persistent);
        assert_eq!(subscriber.texts().len(), 3);
        subscriber.expect("PUBREL #2");
        assert_eq!(subscriber.messages(), ["t=c", "t=d"]);
        subscriber.ack(PubComp, 2);
        subscriber.drop_link();
        world.connect("s", version, persistent).expect_nothing();
    }
}

/// What is new comes after what is sent again. [MQTT-4.6.0-5]
#[test]
fn messages_that_waited_come_after_those_sent_again() {
    let world = World::new();
    let (subscriber, publisher) = pair(&world, 1);
    publisher.publish("t", 1, "a");
    publisher.publish("t", 1, "b");
    subscriber.drop_link();
    publisher.publish("t", 1, "c");
    let subscriber = world.connect("subscriber", V5, |connect| {
        persistent(connect);
        connect.properties.receive_maximum = Some(PacketId::MIN);
    });
    for (id, text) in [(1, "PUBLISH t=a q1 #1 dup"), (2, "PUBLISH t=b q1 #2 dup"), (3, "PUBLISH t=c q1 #3")] {
        subscriber.expect_all(&[text]);
        subscriber.ack(PubAck, id);
    }
    subscriber.expect_nothing();
}

/// One after the other, as the client makes room, with nothing new behind to push it on.
#[test]
fn sending_again_goes_on_as_the_client_acknowledges() {
    let world = World::new();
    let (subscriber, publisher) = pair(&world, 1);
    (0..4).for_each(|n| publisher.publish("t", 1, n.to_string()));
    subscriber.drop_link();
    let subscriber = world.connect("subscriber", V5, |connect| {
        persistent(connect);
        connect.properties.receive_maximum = Some(PacketId::MIN);
    });
    for id in 1..=4 {
        subscriber.expect_all(&[format!("PUBLISH t={} q1 #{id} dup", id - 1)]);
        subscriber.ack(PubAck, id);
    }
    subscriber.expect_nothing();
}

/// On a live connection nothing is ever sent again, however long an acknowledgement takes. [MQTT-4.4.0-1]
#[test]
fn nothing_is_sent_again_on_a_live_connection() {
    let world = World::new();
    let (subscriber, publisher) = pair(&world, 2);
    publisher.publish("t", 1, "a");
    publisher.publish("t", 2, "b");
    subscriber.expect_all(&["PUBLISH t=a q1 #1", "PUBLISH t=b q2 #2"]);
    world.advance(86_400);
    publisher.publish("t", 0, "c");
    subscriber.expect_all(&["PUBLISH t=c"]);
    subscriber.ack(PubRec, 2);
    subscriber.expect("PUBREL #2");
    world.advance(86_400);
    subscriber.expect_nothing();
}

/// [MQTT-4.3.3-1] [MQTT-4.3.3-2] [MQTT-4.3.3-3] [MQTT-4.3.3-4] [MQTT-4.3.3-5] [MQTT-4.3.3-6]
/// [MQTT-4.3.3-1 of 3.1.1]
#[test]
fn once_released_a_message_is_never_sent_again() {
    for version in ALL {
        let world = World::new();
        let subscriber = world.connect("s", version, persistent);
        subscriber.subscribe("t", 2);
        world.connect("p", V5, |_| ()).publish("t", 2, "x");
        subscriber.expect("PUBLISH t=x q2 #1");
        subscriber.drop_link();

        let subscriber = world.connect("s", version, persistent);
        subscriber.expect("PUBLISH t=x q2 #1 dup");
        subscriber.ack(PubRec, 1);
        subscriber.expect("PUBREL #1");
        subscriber.drop_link();

        let subscriber = world.connect("s", version, persistent);
        subscriber.expect_all(&["PUBREL #1"]);
        // A client that has lost its own note of it starts over.
        subscriber.ack(PubRec, 1);
        subscriber.expect_all(&["PUBREL #1"]);
        subscriber.ack(PubComp, 1);
        subscriber.drop_link();
        world.connect("s", version, persistent).expect_nothing();
    }
}

/// [MQTT-4.3.3-10] [MQTT-4.3.3-12] [MQTT-4.3.3-2 of 3.1.1]
#[test]
fn a_message_sent_twice_at_qos_2_arrives_once() {
    for version in ALL {
        let world = World::new();
        let subscriber = world.connect("s", V5, |_| ());
        subscriber.subscribe("t", 0);
        let same_id = |publish: &mut Publish<'_>| {
            publish.dup = true;
            publish.packet_id = PacketId::new(7);
        };
        let mut publisher = world.connect("p", version, persistent);
        for _ in 0..3 {
            // On the same connection (3.1 allows it) and on the next.
            publisher.start("t", 2, "x", same_id);
            publisher.start("t", 2, "x", same_id);
            publisher.expect_all(&["PUBREC #7", "PUBREC #7"]);
            publisher.drop_link();
            publisher = world.connect("p", version, persistent);
        }
        publisher.ack(PubRel, 7);
        publisher.expect("PUBCOMP #7");
        subscriber.expect_all(&["PUBLISH t=x"]);
        publisher.start("t", 2, "y", same_id);
        publisher.expect("PUBREC #7");
        subscriber.expect_all(&["PUBLISH t=y"]);
    }
}

/// A session that has ended remembers no packet identifiers.
#[test]
fn a_new_session_knows_nothing_of_the_old_ones_messages() {
    let world = World::new();
    let subscriber = world.connect("s", V5, |_| ());
    subscriber.subscribe("t", 0);
    for _ in 0..2 {
        let publisher = world.connect("p", V3_1_1, |_| ());
        publisher.start("t", 2, "x", |_| ());
        publisher.expect("PUBREC #1");
        publisher.drop_link();
    }
    subscriber.expect_all(&["PUBLISH t=x", "PUBLISH t=x"]);
}

/// [MQTT-4.3.2-5] [MQTT-4.3.2-2 of 3.1.1]
#[test]
fn at_qos_1_the_same_id_is_a_new_message() {
    let world = World::new();
    let (subscriber, publisher) = pair(&world, 0);
    for dup in [false, true] {
        publisher.start("t", 1, "x", |publish| {
            publish.dup = dup;
            publish.packet_id = PacketId::new(7);
        });
        publisher.expect_all(&["PUBACK #7"]);
        subscriber.expect_all(&["PUBLISH t=x"]);
    }
}

/// [MQTT-4.4.0-2]
#[test]
fn an_error_ends_an_exchange() {
    let world = World::new();
    let (subscriber, publisher) = pair(&world, 2);
    publisher.publish("t", 1, "a");
    publisher.publish("t", 2, "b");
    subscriber.expect_all(&["PUBLISH t=a q1 #1", "PUBLISH t=b q2 #2"]);
    subscriber.ack_with(PubAck, 1, ReasonCode::QuotaExceeded);
    subscriber.ack_with(PubRec, 2, ReasonCode::UnspecifiedError);
    subscriber.expect_nothing();
    subscriber.drop_link();
    world.connect("subscriber", V5, persistent).expect_nothing();
}

/// Acknowledgements of something long over are answered where they ask for it, and are no fault.
/// [MQTT-3.6.2-1] [MQTT-3.7.2-1]
#[test]
fn unknown_packet_ids_are_no_fault() {
    for version in ALL {
        let world = World::new();
        let client = world.connect("a", version, |_| ());
        client.ack(PubAck, 5);
        client.ack(PubComp, 5);
        client.expect_nothing();
        client.ack(PubRec, 5);
        client.ack(PubRel, 6);
        let expected =
            if client.is_v5() { ["PUBREL #5 92", "PUBCOMP #6 92"] } else { ["PUBREL #5", "PUBCOMP #6"] };
        client.expect_all(&expected);
        client.expect_open();
    }
}

#[test]
fn an_acknowledgement_of_the_wrong_kind_is_a_protocol_error() {
    for (qos, wrong) in [(1, PubRec), (1, PubComp), (2, PubAck), (2, PubComp)] {
        let world = World::new();
        let (subscriber, publisher) = pair(&world, 2);
        publisher.publish("t", qos, "x");
        let _ = subscriber.next();
        subscriber.ack(wrong, 1);
        subscriber.expect_disconnect(0x82);
        // The exchange itself is not over.
        let subscriber = world.connect("subscriber", V5, persistent);
        assert_eq!(subscriber.messages(), ["t=x"]);
    }
}

/// Acknowledgements keep the order of what they acknowledge. [MQTT-4.6.0-2] [MQTT-4.6.0-3] [MQTT-4.6.0-4],
/// [MQTT-4.6.0-2 of 3.1.1] [MQTT-4.6.0-3 of 3.1.1] [MQTT-4.6.0-4 of 3.1.1]
#[test]
fn acknowledgements_come_in_order() {
    for version in ALL {
        let world = World::new();
        let subscriber = world.connect("s", version, |_| ());
        subscriber.subscribe("t", 2);
        let publisher = world.connect("p", version, |_| ());
        let mut bytes = Vec::new();
        for (id, qos) in [(3, 1), (2, 2), (9, 1), (1, 2)] {
            let mut publish = Publish::new(crate::world::name("t"), b"");
            (publish.qos, publish.packet_id) = (level(qos), PacketId::new(id));
            publish.encode(version, &mut bytes).expect("it is one");
        }
        publisher.send_bytes(&bytes);
        publisher.expect_all(&["PUBACK #3", "PUBREC #2", "PUBACK #9", "PUBREC #1"]);
        subscriber.ack(PubRec, 4);
        subscriber.ack(PubRec, 2);
        assert_eq!(subscriber.texts()[4..], ["PUBREL #4", "PUBREL #2"]);
    }
}

/// A refusal ends the exchange: with PUBREC, not PUBACK; and the identifier is free again. [MQTT-4.3.3-9]
#[test]
fn a_refused_message_leaves_nothing_behind() {
    let world = World::new();
    world.authorize(|_: columba_core::Client<'_>, _: columba_core::Action<'_>| false);
    let client = world.connect("a", V5, |_| ());
    for _ in 0..2 {
        client.start("t", 2, "x", |publish| publish.packet_id = PacketId::new(3));
        client.expect_all(&["PUBREC #3 87"]);
    }
    client.start("t", 1, "x", |_| ());
    client.expect_all(&["PUBACK #3 87"]);
    client.ack(PubRel, 3);
    client.expect_all(&["PUBCOMP #3 92"]);
}

/// Before 5.0 there is no way to say no: the exchange goes its usual way. [MQTT-3.3.5-2 of 3.1.1]
#[test]
fn a_refused_message_of_an_older_client_is_acknowledged_and_dropped() {
    for version in [crate::world::V3_1, V3_1_1] {
        let world = World::new();
        let subscriber = world.connect("s", V5, |_| ());
        subscriber.subscribe("t", 2);
        world.authorize(|_: columba_core::Client<'_>, _: columba_core::Action<'_>| false);
        let client = world.connect("a", version, |_| ());
        client.publish("t", 0, "x");
        client.publish("t", 1, "x");
        client.publish("t", 2, "x");
        client.expect_nothing();
        subscriber.expect_nothing();
        assert_eq!(world.metrics().publishes_refused, 3);
    }
}

/// [MQTT-4.6.0-5] [MQTT-4.6.0-6] [MQTT-4.6.0-5 of 3.1.1] [MQTT-4.6.0-6 of 3.1.1]
#[test]
fn messages_of_a_topic_come_in_order() {
    for qos in 0..3 {
        let world = World::new();
        let (subscriber, publisher) = pair(&world, qos);
        let numbers = |range: std::ops::Range<u32>| range.map(|n| format!("t={n}")).collect::<Vec<_>>();
        (0..50).for_each(|n| publisher.publish("t", qos, n.to_string()));
        subscriber.stall();
        (50..100).for_each(|n| publisher.publish("t", qos, n.to_string()));
        subscriber.resume();
        assert_eq!(subscriber.messages(), numbers(0..100));
        subscriber.stall();
        (100..110).for_each(|n| publisher.publish("t", qos, n.to_string()));
        subscriber.drop_link();
        (110..120).for_each(|n| publisher.publish("t", qos, n.to_string()));
        let subscriber = world.connect("subscriber", V5, persistent);
        (120..130).for_each(|n| publisher.publish("t", qos, n.to_string()));
        // At QoS 0 what could not be sent in time is gone.
        assert_eq!(subscriber.messages(), numbers(if qos == 0 { 120 } else { 100 }..130));
    }
}

/// The identifiers of what is still in flight are passed over, round after round. (That none is used twice is among
/// the rules each packet is held against.) [MQTT-2.2.1-4]
#[test]
fn packet_ids_in_flight_are_never_reused() {
    let world = World::new();
    world.quiet();
    let (subscriber, publisher) = pair(&world, 2);
    let send = |qos, count: u32| {
        for _ in 0..count {
            publisher.start("t", qos, "x", |publish| publish.packet_id = PacketId::new(1));
            publisher.ack(PubRel, 1);
        }
    };
    // Three stay: one unacknowledged at each QoS, one released.
    send(1, 1);
    send(2, 2);
    subscriber.expect_all(&["PUBLISH t=x q1 #1", "PUBLISH t=x q2 #2", "PUBLISH t=x q2 #3"]);
    subscriber.ack(PubRec, 3);
    subscriber.expect("PUBREL #3");
    let mut ids = Vec::new();
    for _ in 0..65_534 {
        publisher.start("t", 1, "x", |publish| publish.packet_id = PacketId::new(1));
        let id = match subscriber.next().packet() {
            Packet::Publish(publish) => publish.packet_id.map_or(0, PacketId::get),
            _ => 0,
        };
        ids.push(id);
        subscriber.ack(PubAck, id);
    }
    assert_eq!((ids[0], ids[65_531], &ids[65_532..]), (4, 65_535, &[4, 5][..]));
    subscriber.drop_link();
    let subscriber = world.connect("subscriber", V5, persistent);
    subscriber.expect_all(&["PUBLISH t=x q1 #1 dup", "PUBLISH t=x q2 #2 dup", "PUBREL #3"]);
}

/// More than one portion of output, more than the client takes at once, in the order first sent.
/// [MQTT-4.6.0-1] [MQTT-4.6.0-1 of 3.1.1]
#[test]
fn many_messages_are_sent_again_in_order() {
    let world = World::with(|config| {
        config.limits.transmit_budget = 1000;
        config.limits.inflight = 500;
    });
    world.quiet();
    let (subscriber, publisher) = pair(&world, 2);
    let payload = |number: u32| format!("{number} {}", "x".repeat(100));
    for number in 0..1000 {
        publisher.publish("t", 1 + (number % 2) as u8, payload(number));
    }
    assert_eq!(subscriber.texts().len(), 500);
    subscriber.drop_link();
    let subscriber = world.connect("subscriber", V5, |connect| {
        persistent(connect);
        connect.properties.receive_maximum = PacketId::new(20);
    });
    assert_eq!(subscriber.texts().len(), 20);
    let expected: Vec<_> = (0..1000).map(|number| format!("t={}", payload(number))).collect();
    assert_eq!(subscriber.messages(), expected);
}

/// An acknowledgement that was on its way when the connection broke counts on the next, whatever is sent again yet.
#[test]
fn an_acknowledgement_may_come_before_the_message_is_sent_again() {
    let world = World::new();
    let (subscriber, publisher) = pair(&world, 2);
    for payload in ["a", "b", "c"] {
        publisher.publish("t", 2, payload);
    }
    subscriber.drop_link();
    let subscriber = world.connect("subscriber", V5, |connect| {
        persistent(connect);
        connect.properties.receive_maximum = Some(PacketId::MIN);
    });
    subscriber.expect_all(&["PUBLISH t=a q2 #1 dup"]);
    subscriber.ack_with(PubRec, 2, ReasonCode::UnspecifiedError);
    subscriber.ack(PubRec, 3);
    subscriber.expect("PUBREL #3");
    subscriber.ack(PubComp, 3);
    subscriber.expect_nothing();
    subscriber.ack(PubRec, 1);
    subscriber.expect_all(&["PUBREL #1"]);
    subscriber.ack(PubComp, 1);
    subscriber.expect_nothing();
    assert_eq!(world.metrics().stored, 0);
}

/// A PUBREL takes none of the room that a client leaves for messages: it comes at once to one that is back, though a
/// message before it in line has to wait. [MQTT-3.3.4-10] [MQTT-4.9.0-3]
#[test]
fn a_release_does_not_wait_for_room() {
    let world = World::new();
    let (subscriber, publisher) = pair(&world, 2);
    for payload in ["a", "b", "c", "d", "e"] {
        publisher.publish("t", 2, payload);
    }
    assert_eq!(subscriber.texts().len(), 5);
    subscriber.ack(PubRec, 3);
    subscriber.ack(PubRec, 5);
    subscriber.drop_link();
    publisher.publish("t", 2, "new");

    let subscriber = world.connect("subscriber", V5, |connect| {
        persistent(connect);
        connect.properties.receive_maximum = Some(PacketId::MIN);
    });
    subscriber.expect_all(&["PUBLISH t=a q2 #1 dup", "PUBREL #3", "PUBREL #5"]);
    // No message of this connection is over with it.
    subscriber.ack(PubComp, 5);
    subscriber.expect_nothing();
    for (id, next) in [(1, "PUBLISH t=b q2 #2 dup"), (2, "PUBLISH t=d q2 #4 dup"), (4, "PUBLISH t=new q2 #6")]
    {
        subscriber.ack(PubRec, id);
        subscriber.expect_all(&[format!("PUBREL #{id}")]);
        subscriber.ack(PubComp, id);
        subscriber.expect_all(&[next]);
    }
    // What has gone ahead is sent again to the next connection, as it was not answered.
    subscriber.drop_link();
    world.connect("subscriber", V5, persistent).expect_all(&["PUBREL #3", "PUBLISH t=new q2 #6 dup"]);
}

/// The same with more of them than one portion of output holds.
#[test]
fn many_releases_do_not_wait_for_room() {
    let world = World::with(|config| config.limits.transmit_budget = 50);
    let (subscriber, publisher) = pair(&world, 2);
    (0..100).for_each(|n| publisher.publish("t", 2, n.to_string()));
    (2..=100).filter(|id| id % 2 == 0).for_each(|id| subscriber.ack(PubRec, id));
    subscriber.drop_link();
    let subscriber = world.connect("subscriber", V5, |connect| {
        persistent(connect);
        connect.properties.receive_maximum = Some(PacketId::MIN);
    });
    subscriber.expect("PUBLISH t=0 q2 #1 dup");
    let released: Vec<_> = (1..=50).map(|n| format!("PUBREL #{}", 2 * n)).collect();
    assert_eq!(subscriber.texts(), released);
    subscriber.ack(PubRec, 1);
    let rest: Vec<_> = (1..50).map(|n| format!("t={}", 2 * n)).collect();
    assert_eq!(subscriber.messages(), rest);
    assert_eq!(world.metrics().stored, 0);
}

/// [MQTT-4.3.3-7] [MQTT-4.3.3-13]
#[test]
fn expiry_does_not_end_an_exchange_that_has_begun() {
    let world = World::new();
    let (subscriber, publisher) = pair(&world, 2);
    publisher.start("t", 2, "x", |publish| publish.properties.message_expiry = Some(10));
    publisher.expect("PUBREC #1");
    subscriber.expect("PUBLISH t=x q2 #1 expiry=10");
    world.advance(20);
    publisher.ack(PubRel, 1);
    publisher.expect("PUBCOMP #1");
    subscriber.drop_link();
    let subscriber = world.connect("subscriber", V5, persistent);
    subscriber.expect("PUBLISH t=x q2 #1 dup expiry=0");
    subscriber.ack(PubRec, 1);
    subscriber.expect("PUBREL #1");
    subscriber.ack(PubComp, 1);
    assert_eq!(world.metrics().stored, 0);
}

/// Nothing depends on how packets are cut into reads, nor on a delivery in the middle of one.
#[test]
fn a_packet_may_come_in_any_pieces() {
    for version in ALL {
        let world = World::new();
        let client = world.connect("a", version, |_| ());
        client.subscribe("#", 0);
        let other = world.connect("b", V5, |_| ());
        let mut bytes = Vec::new();
        for number in 0..3 {
            let text = number.to_string();
            let mut publish = Publish::new(crate::world::name("own"), text.as_bytes());
            (publish.qos, publish.packet_id) = (level(1), PacketId::new(number + 1));
            publish.encode(version, &mut bytes).expect("it is one");
        }
        for (number, byte) in bytes.iter().enumerate() {
            client.send_bytes(&[*byte]);
            other.publish("t", 0, number.to_string());
        }
        let texts = client.texts();
        let own: Vec<_> = texts.iter().filter(|text| !text.starts_with("PUBLISH t=")).collect();
        let acknowledged =
            ["PUBACK #1", "PUBLISH own=0", "PUBACK #2", "PUBLISH own=1", "PUBACK #3", "PUBLISH own=2"];
        assert_eq!(own, acknowledged.iter().collect::<Vec<_>>());
        assert_eq!(texts.len() - own.len(), bytes.len());
    }
}
