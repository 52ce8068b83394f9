//! What a client does with packets, against the core and against a server that is the test.

use std::num::NonZeroU16;

use columba_codec::{Ack, List, MessageProperties, Packet, PacketId, QoS, ReasonCode, SubAck, Version};
use columba_wasm::client::{
    AckError, ClientEvent, ClientOptions, NotSent, OutgoingMessage, Properties, PublishError,
};

use crate::script::{Script, ack, alias};
use crate::world::{ALL, QOS, World, message, persistent};

#[test]
fn messages_go_both_ways_in_every_version_and_qos() {
    for version in ALL {
        for qos in QOS {
            let mut world = World::new();
            let a = world.join(ClientOptions::new(version, "a"));
            let b = world.join(ClientOptions::new(version, "b"));
            world.subscribe(b, "x/#", QoS::ExactlyOnce);
            for number in 0..10 {
                world.publish(a, "x/y", qos, &number.to_string());
            }
            let messages = world.messages(b);
            assert_eq!(messages.len(), 10);
            for (number, message) in messages.iter().enumerate() {
                let publish = message.publish();
                assert_eq!(publish.qos, qos);
                assert_eq!(publish.topic.unwrap().as_str(), "x/y");
                assert_eq!(message.payload(), number.to_string());
                assert_eq!(message.ack().is_some(), qos > QoS::AtMostOnce);
            }
            assert_eq!(world.outcomes(a), vec![Ok(ReasonCode::Success); 10]);
            let sender = world.client(a);
            assert_eq!((sender.inflight(), sender.queued(), sender.queued_bytes()), (0, 0, 0));
        }
    }
}

#[test]
fn properties_travel() {
    let mut world = World::new();
    let a = world.join(ClientOptions::new(Version::V5, "a"));
    world.subscribe(a, "t", QoS::AtMostOnce);
    let properties = MessageProperties {
        message_expiry: Some(30),
        content_type: Some("text"),
        response_topic: Some("answer"),
        correlation_data: Some(b"7"),
        user_properties: List::from_slice(&[("k", "v"), ("k", "w")]),
        ..MessageProperties::default()
    };
    let now = world.now;
    let mut out = message("t", QoS::AtMostOnce, "x");
    out.properties = Properties::new(&properties).unwrap();
    world.client(a).publish(now, out).unwrap();
    world.run();
    assert_eq!(world.messages(a)[0].publish().properties, properties);
    let wrong = MessageProperties { response_topic: Some("#"), ..MessageProperties::default() };
    assert!(Properties::new(&wrong).is_err());
}

#[test]
fn acknowledgements_go_in_the_order_of_the_messages() {
    let mut options = persistent(Version::V5, "a");
    options.manual_acks = true;
    let mut script = Script::connected(options);
    for (qos, ids) in [(QoS::AtLeastOnce, 1..4), (QoS::ExactlyOnce, 11..14)] {
        for id in ids {
            script.publish("t", qos, id, |_| ());
        }
    }
    let acks: Vec<_> = script
        .events()
        .iter()
        .map(|event| match event {
            ClientEvent::Message(message) => message.ack().unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(script.sent().is_empty());
    let now = script.now;
    let wrong = ReasonCode::PacketTooLarge;
    assert_eq!(script.client.acknowledge(now, acks[0], wrong), Err(AckError::ReasonCode(wrong)));
    for index in [1, 2, 5, 4] {
        script.client.acknowledge(now, acks[index], ReasonCode::Success).unwrap();
        assert_eq!(script.client.acknowledge(now, acks[index], ReasonCode::Success), Err(AckError::Stale));
        assert!(script.sent().is_empty());
    }
    script.client.acknowledge(now, acks[0], ReasonCode::NotAuthorized).unwrap();
    assert_eq!(script.sent(), ["PUBACK #1 87", "PUBACK #2", "PUBACK #3"]);
    script.client.acknowledge(now, acks[3], ReasonCode::QuotaExceeded).unwrap();
    assert_eq!(script.sent(), ["PUBREC #11 97", "PUBREC #12", "PUBREC #13"]);
    // A refusal ends the exchange: the same identifier is another message.
    script.publish("t", QoS::ExactlyOnce, 11, |_| ());
    script.publish("t", QoS::ExactlyOnce, 12, |publish| publish.dup = true);
    assert_eq!(script.events().len(), 1);
}

#[test]
fn a_late_acknowledgement_is_stale_at_qos_1_and_stays_at_qos_2() {
    let mut options = persistent(Version::V5, "a");
    options.manual_acks = true;
    let mut script = Script::connected(options);
    script.publish("t", QoS::AtLeastOnce, 1, |_| ());
    script.publish("t", QoS::ExactlyOnce, 2, |_| ());
    let acks: Vec<_> = script
        .events()
        .iter()
        .filter_map(|event| match event {
            ClientEvent::Message(message) => message.ack(),
            _ => None,
        })
        .collect();
    script.client.close(script.now);
    assert_eq!(script.client.acknowledge(script.now, acks[0], ReasonCode::Success), Err(AckError::Stale));
    script.client.acknowledge(script.now, acks[1], ReasonCode::Success).unwrap();
    script.open();
    script.events();
    script.accept(true, |_| ());
    assert!(script.sent().is_empty());
    script.publish("t", QoS::AtLeastOnce, 1, |publish| publish.dup = true);
    script.publish("t", QoS::ExactlyOnce, 2, |publish| publish.dup = true);
    assert_eq!(script.sent(), ["PUBREC #2"]);
    assert_eq!(script.events().len(), 1, "the one at QoS 1 again");
    // Another session knows nothing of it.
    script.client.close(script.now);
    script.open();
    script.events();
    script.accept(false, |_| ());
    script.publish("t", QoS::ExactlyOnce, 2, |_| ());
    assert_eq!(script.events().len(), 1);
    assert_eq!(script.client.acknowledge(script.now, acks[1], ReasonCode::Success), Err(AckError::Stale));
}

#[test]
fn what_comes_back_is_sent_again_in_order() {
    for version in [Version::V3_1_1, Version::V5] {
        let mut script = Script::connected(persistent(version, "a"));
        for (topic, qos) in [("a", 2), ("b", 1), ("c", 2), ("d", 2), ("e", 1)] {
            script.client.publish(script.now, message(topic, QoS::from_u8(qos).unwrap(), "x")).unwrap();
        }
        script.say(&Packet::PubRec(ack(3)));
        script.say(&Packet::PubRec(ack(1)));
        assert_eq!(script.sent()[5..], ["PUBREL #3", "PUBREL #1"]);
        script.say(&Packet::PubRec(ack(3)));
        assert_eq!(script.sent(), ["PUBREL #3"]);
        script.client.close(script.now);
        script.client.publish(script.now, message("f", QoS::AtLeastOnce, "x")).unwrap();
        script.open();
        script.events();
        script.accept(true, |_| ());
        let expected = [
            "PUBREL #3",
            "PUBREL #1",
            "PUBLISH b #2 dup",
            "PUBLISH d #4 dup",
            "PUBLISH e #5 dup",
            "PUBLISH f #6",
        ];
        assert_eq!(script.sent(), expected);
        script.client.close(script.now);
        script.open();
        script.events();
        script.accept(false, |_| ());
        assert_eq!(script.sent(), ["PUBLISH b #7", "PUBLISH d #8", "PUBLISH e #9", "PUBLISH f #10"]);
        let done = script.events();
        assert_eq!(done.len(), 2, "the server has taken two: {done:?}");
    }
}

#[test]
fn refusals_end_the_exchange() {
    let mut script = Script::connected(ClientOptions::new(Version::V5, "a"));
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        script.client.publish(script.now, message("t", qos, "x")).unwrap();
    }
    script.packets();
    script.say(&Packet::PubAck(Ack { reason: ReasonCode::NotAuthorized, ..ack(1) }));
    script.say(&Packet::PubRec(Ack { reason: ReasonCode::QuotaExceeded, ..ack(2) }));
    let outcomes: Vec<_> = script
        .events()
        .iter()
        .map(|event| match event {
            ClientEvent::Published { outcome, .. } => *outcome,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(outcomes, [Ok(ReasonCode::NotAuthorized), Ok(ReasonCode::QuotaExceeded)]);
    assert_eq!((script.client.inflight(), script.client.queued_bytes()), (0, 0));
    assert!(script.sent().is_empty());
}

#[test]
fn acknowledgements_out_of_place_are_faults_and_unknown_ones_are_not() {
    type Say = fn(Ack<'static>) -> Packet<'static>;
    let wrong: [(QoS, Say); 3] = [
        (QoS::AtLeastOnce, Packet::PubRec),
        (QoS::ExactlyOnce, Packet::PubAck),
        (QoS::ExactlyOnce, Packet::PubComp),
    ];
    for (qos, say) in wrong {
        let mut script = Script::connected(ClientOptions::new(Version::V5, "a"));
        script.client.publish(script.now, message("t", qos, "x")).unwrap();
        script.packets();
        script.say(&say(ack(1)));
        script.expect_fault(ReasonCode::ProtocolError);
    }
    let mut script = Script::connected(ClientOptions::new(Version::V5, "a"));
    script.say(&Packet::PubAck(ack(9)));
    script.say(&Packet::PubComp(ack(9)));
    assert!(script.sent().is_empty());
    script.say(&Packet::PubRec(ack(9)));
    script.say(&Packet::PubRel(ack(9)));
    assert_eq!(script.sent(), ["PUBREL #9 92", "PUBCOMP #9 92"]);
    let reasons = List::from_slice(&[ReasonCode::Success]);
    let user_properties = List::EMPTY;
    script.say(&Packet::SubAck(SubAck {
        packet_id: PacketId::MIN,
        reason_string: None,
        user_properties,
        reasons,
    }));
    script.expect_fault(ReasonCode::ProtocolError);
}

#[test]
fn aliases_of_the_server_are_resolved() {
    let mut options = ClientOptions::new(Version::V5, "a");
    options.topic_alias_maximum = Some(2);
    let mut script = Script::connected(options);
    script.publish("one", QoS::AtMostOnce, 0, |publish| publish.topic_alias = alias(2));
    script.publish("t", QoS::AtMostOnce, 0, |publish| {
        publish.topic = None;
        publish.topic_alias = alias(2);
    });
    script.publish("two", QoS::AtMostOnce, 0, |publish| publish.topic_alias = alias(2));
    script.publish("t", QoS::AtLeastOnce, 1, |publish| {
        publish.topic = None;
        publish.topic_alias = alias(2);
    });
    let topics: Vec<_> = script
        .events()
        .iter()
        .map(|event| match event {
            ClientEvent::Message(message) => message.publish().topic.unwrap().to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(topics, ["one", "one", "two", "two"]);
    script.packets();
    script.publish("t", QoS::AtMostOnce, 0, |publish| {
        publish.topic = None;
        publish.topic_alias = alias(1);
    });
    script.expect_fault(ReasonCode::ProtocolError);
    script.open();
    script.accept(false, |_| ());
    script.publish("t", QoS::AtMostOnce, 0, |publish| publish.topic_alias = alias(3));
    script.expect_fault(ReasonCode::TopicAliasInvalid);
}

#[test]
fn aliases_come_from_the_core_too() {
    let mut world = World::new();
    let mut options = ClientOptions::new(Version::V5, "a");
    options.topic_alias_maximum = Some(5);
    let a = world.join(options);
    world.subscribe(a, "a/long/topic", QoS::AtMostOnce);
    for _ in 0..4 {
        world.publish(a, "a/long/topic", QoS::AtMostOnce, "x");
    }
    let messages = world.messages(a);
    assert_eq!(messages.len(), 4);
    for message in &messages {
        assert_eq!(message.publish().topic.unwrap().as_str(), "a/long/topic");
    }
    assert!(world.ends[a].log.iter().any(|line| line.contains("PUBLISH =x alias")));
}

#[test]
fn own_aliases_are_set_and_used_as_given() {
    let mut script = Script::connected_with(persistent(Version::V5, "a"), false, |said| {
        said.topic_alias_maximum = Some(2);
    });
    let one = NonZeroU16::MIN;
    let by_alias = || OutgoingMessage::by_alias(one, "x");
    let result = script.client.publish(script.now, by_alias());
    assert_eq!(result, Err(PublishError::NotSent(NotSent::TopicAlias)));
    let mut sets = message("t", QoS::AtMostOnce, "x");
    sets.topic_alias = Some(one);
    script.client.publish(script.now, sets.clone()).unwrap();
    script.client.publish(script.now, by_alias()).unwrap();
    let mut counted = by_alias();
    counted.qos = QoS::AtLeastOnce;
    script.client.publish(script.now, counted).unwrap();
    assert_eq!(script.sent(), ["PUBLISH t alias 1", "PUBLISH  alias 1", "PUBLISH  #1 alias 1"]);
    sets.topic_alias = NonZeroU16::new(3);
    assert_eq!(script.client.publish(script.now, sets), Err(PublishError::NotSent(NotSent::TopicAlias)));
    // On another connection the alias means nothing, but the message has its topic.
    script.client.close(script.now);
    script.open();
    script.events();
    script.accept(true, |_| ());
    assert_eq!(script.sent(), ["PUBLISH t #1 dup"]);
    let result = script.client.publish(script.now, by_alias());
    assert_eq!(result, Err(PublishError::NotSent(NotSent::TopicAlias)));
}

#[test]
fn aliases_end_with_their_connection() {
    let adjust = |said: &mut columba_codec::ConnAckProperties<'_>| {
        said.topic_alias_maximum = Some(1);
        said.receive_maximum = NonZeroU16::new(1);
    };
    let mut options = persistent(Version::V5, "a");
    options.topic_alias_maximum = Some(1);
    let mut script = Script::connected_with(options, false, adjust);
    let mut sets = message("t", QoS::AtLeastOnce, "x");
    sets.topic_alias = alias(1);
    script.client.publish(script.now, sets).unwrap();
    // It waits for the first, and by then the server has forgotten the alias.
    let mut waits = OutgoingMessage::by_alias(NonZeroU16::MIN, "x");
    waits.qos = QoS::AtLeastOnce;
    script.client.publish(script.now, waits).unwrap();
    assert_eq!(script.sent(), ["PUBLISH t #1 alias 1"]);
    script.publish("u", QoS::AtMostOnce, 0, |publish| publish.topic_alias = alias(1));
    script.client.close(script.now);
    script.open();
    script.events();
    script.accept(true, adjust);
    assert_eq!(script.sent(), ["PUBLISH t #1 dup"]);
    script.puback(1);
    assert_eq!(script.sent(), ["PUBLISH t #2 alias 1"]);
    script.publish("u", QoS::AtMostOnce, 0, |publish| {
        publish.topic = None;
        publish.topic_alias = alias(1);
    });
    script.expect_fault(ReasonCode::ProtocolError);
}

#[test]
fn waiting_uses_up_the_expiry() {
    let mut script = Script::opened(persistent(Version::V5, "a"));
    for (topic, seconds, qos) in [("a", 5, QoS::AtMostOnce), ("b", 30, QoS::AtLeastOnce)] {
        let mut message = message(topic, qos, "x");
        message.properties.message_expiry = Some(seconds);
        script.client.publish(script.now, message).unwrap();
    }
    script.now = script.now + std::time::Duration::from_secs(10);
    script.accept(false, |_| ());
    let expiry = |packets: &[Vec<u8>]| {
        let header = columba_codec::FixedHeader::read(&packets[0], usize::MAX).unwrap().unwrap();
        match Packet::decode(header, &packets[0][header.len..], Version::V5) {
            Ok(Packet::Publish(publish)) => publish.properties.message_expiry,
            other => panic!("{other:?}"),
        }
    };
    let packets = script.packets();
    assert_eq!((packets.len(), expiry(&packets)), (1, Some(20)));
    let events = script.events();
    assert!(matches!(events[0], ClientEvent::Published { outcome: Err(NotSent::Expired), .. }));
    // What has been sent does not expire.
    script.client.close(script.now);
    script.now = script.now + std::time::Duration::from_secs(100);
    script.open();
    script.events();
    script.accept(true, |_| ());
    assert_eq!(expiry(&script.packets()), Some(1));
}
