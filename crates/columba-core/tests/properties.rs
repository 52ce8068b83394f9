//! Properties of MQTT 5 and what they promise: forwarding, expiry, topic aliases, flow control, packet sizes.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use columba_core::codec::PacketType::{PubAck, PubComp, PubRec};
use columba_core::codec::{List, Packet, PayloadFormat, Publish, ReasonCode, SubscriptionOptions};
use columba_core::{DropCause, Event, EventMask, Flow};

use crate::world::{ALL, Client, V3_1, V3_1_1, V5, World, persistent};

fn all_properties(publish: &mut Publish<'_>) {
    publish.properties.payload_format = Some(PayloadFormat::Utf8);
    publish.properties.content_type = Some("text/ä");
    publish.properties.response_topic = Some("answer/here");
    publish.properties.correlation_data = Some(b"\x00\xff");
    publish.properties.user_properties = List::from_slice(&[("b", "1"), ("a", "2"), ("b", "1"), ("", "")]);
}

/// [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]
#[test]
fn what_belongs_to_a_message_is_forwarded_unaltered() {
    let expected =
        "PUBLISH t=x format=1 type=text/ä response=answer/here correlation=<2 bytes> b:1 a:2 b:1 :";
    for size in [1, 10_000] {
        let world = World::new();
        let client = world.connect("a", V5, |_| ());
        client.subscribe("t", 0);
        let publisher = world.connect("p", V5, |_| ());
        publisher.publish_with("t", 0, vec![b'x'; size], all_properties);
        let received = client.next();
        if size == 1 {
            assert_eq!(received.text, expected);
        }
        let Packet::Publish(publish) = received.packet() else { panic!("{}", received.text) };
        let mut sent = Publish::new(crate::world::name("t"), b"");
        all_properties(&mut sent);
        assert_eq!(publish.properties, sent.properties);
        // And nothing is made up.
        publisher.publish("t", 0, "y");
        client.expect_all(&["PUBLISH t=y"]);
    }
}

/// An indicator of 0 is as good as none, and still forwarded.
#[test]
fn an_unspecified_format_is_forwarded_too() {
    let world = World::new();
    let client = world.connect("a", V5, |_| ());
    client.subscribe("t", 0);
    client.publish_with("t", 0, b"\xff", |publish| {
        publish.properties.payload_format = Some(PayloadFormat::Bytes);
    });
    client.expect("PUBLISH t=<1 bytes> format=0");
}

/// [MQTT-3.3.2-6]; a second that has begun counts as one that is left.
#[test]
fn expiry_counts_down_while_a_message_waits() {
    for (milliseconds, left) in [(0, 10), (999, 10), (1000, 9), (8500, 2), (9999, 1)] {
        let world = World::new();
        let client = world.connect("a", V5, persistent);
        client.subscribe("t", 1);
        client.drop_link();
        let publisher = world.connect("p", V5, |_| ());
        publisher.publish_with("t", 1, "x", |publish| publish.properties.message_expiry = Some(10));
        world.advance_by(Duration::from_millis(milliseconds));
        let client = world.connect("a", V5, persistent);
        client.expect_all(&[format!("PUBLISH t=x q1 #1 expiry={left}")]);
        // And when it is sent again.
        client.drop_link();
        world.advance(0);
        let client = world.connect("a", V5, persistent);
        client.expect_all(&[format!("PUBLISH t=x q1 #1 dup expiry={left}")]);
    }
}

#[test]
fn the_longest_expiry_counts_down_too() {
    let world = World::new();
    let client = world.connect("a", V5, |_| ());
    client.subscribe("t", 0);
    client.stall();
    client.publish_with("t", 0, "x", |publish| publish.properties.message_expiry = Some(u32::MAX));
    world.advance(u64::from(u32::MAX) - 1);
    client.resume();
    client.expect("PUBLISH t=x expiry=1");
}

/// Wherever it waits: with its client away, behind one that does not read, behind one that does not acknowledge.
/// [MQTT-3.3.2-5]
#[test]
fn what_has_expired_is_not_delivered() {
    let waits: [fn(&Client); 3] = [Client::drop_link, Client::stall, |_| ()];
    for version in ALL {
        for (number, wait) in waits.into_iter().enumerate() {
            let world = World::with(|config| {
                config.limits.inflight = 1;
                config.events = EventMask::DROPPED;
            });
            let client = world.connect("a", version, persistent);
            client.subscribe("#", 1);
            let publisher = world.connect("p", V5, |_| ());
            publisher.publish("first", 1, "");
            wait(&client);
            publisher.publish_with("t", 1, "x", |publish| publish.properties.message_expiry = Some(10));
            publisher.publish("last", 1, "");
            world.advance(10);
            let client = if number == 0 { world.connect("a", version, persistent) } else { client };
            client.resume();
            assert_eq!(client.messages(), ["first=", "last="]);
            assert_eq!(world.metrics().dropped_expired, 1);
            let events = world.events();
            assert!(
                matches!(&events[..], [Event::Dropped { topic, cause: DropCause::Expired, .. }] if &**topic == "t"),
                "{events:?}"
            );
            assert_eq!(world.metrics().stored, 0);
        }
    }
}

/// Also where nobody has told the broker yet that it is so late. [MQTT-3.3.2-5]
#[test]
fn what_has_expired_is_not_delivered_before_the_timer_says_so() {
    let world = World::new();
    let client = world.connect("a", V5, |_| ());
    client.subscribe("t", 1);
    client.stall();
    let publisher = world.connect("p", V5, |_| ());
    for qos in [0, 1] {
        publisher.publish_with("t", qos, "x", |publish| publish.properties.message_expiry = Some(10));
    }
    world.advance_asleep(Duration::from_millis(9_999));
    assert_eq!(client.transmit(), Flow::Idle);
    client.expect("PUBLISH t=x expiry=1");
    client.expect("PUBLISH t=x q1 #1 expiry=1");
    publisher.publish_with("t", 1, "y", |publish| publish.properties.message_expiry = Some(10));
    world.advance_asleep(Duration::from_secs(10));
    assert_eq!(client.transmit(), Flow::Idle);
    client.expect_nothing();
    assert_eq!(world.metrics().dropped_expired, 1);
}

/// Without waiting for anybody to ask: the bytes are given back when the time is over.
#[test]
fn what_has_expired_holds_no_payload() {
    let world = World::new();
    let client = world.connect("a", V5, persistent);
    client.subscribe("t", 1);
    client.drop_link();
    let publisher = world.connect("p", V5, |_| ());
    for size in [100, 20_000] {
        publisher.publish_with("t", 1, vec![0; size], |publish| publish.properties.message_expiry = Some(10));
    }
    assert!(world.metrics().stored_bytes > 20_000);
    world.advance(10);
    assert!(world.metrics().stored_bytes < 300, "{:?}", world.metrics());
}

/// It lives for no time at all: only who can be served at once gets it.
#[test]
fn an_expiry_of_zero_leaves_no_time_to_wait() {
    let world = World::new();
    let client = world.connect("a", V5, persistent);
    client.subscribe("t", 1);
    client.drop_link();
    let publisher = world.connect("p", V5, |_| ());
    publisher.publish_with("t", 1, "x", |publish| publish.properties.message_expiry = Some(0));
    world.advance(0);
    world.connect("a", V5, persistent).expect_nothing();
}

fn with_alias(alias: u16) -> impl Fn(&mut Publish<'_>) {
    move |publish| publish.topic_alias = NonZeroU16::new(alias)
}

fn alias_alone(alias: u16) -> impl Fn(&mut Publish<'_>) {
    move |publish| (publish.topic, publish.topic_alias) = (None, NonZeroU16::new(alias))
}

/// [MQTT-3.3.2-12]; the alias itself goes no further.
#[test]
fn an_alias_stands_for_the_topic_it_was_last_set_to() {
    let world = World::new();
    let client = world.connect("a", V5, |_| ());
    client.subscribe("#", 0);
    let publisher = world.connect("p", V5, |_| ());
    let other = world.connect("q", V5, |_| ());
    publisher.publish_with("first/topic", 0, "1", with_alias(1));
    publisher.publish_with("second/topic", 0, "2", with_alias(64));
    other.publish_with("third/topic", 0, "3", with_alias(1));
    for (sender, alias, topic) in
        [(&publisher, 1, "first/topic"), (&publisher, 64, "second/topic"), (&other, 1, "third/topic")]
    {
        sender.publish_with("_", 1, "again", alias_alone(alias));
        client.take(&format!("PUBLISH {topic}=again"));
    }
    publisher.publish_with("second/topic", 2, "4", with_alias(1));
    publisher.publish_with("_", 2, "5", alias_alone(1));
    client.expect_all(&[
        "PUBLISH first/topic=1",
        "PUBLISH second/topic=2",
        "PUBLISH third/topic=3",
        "PUBLISH second/topic=4",
        "PUBLISH second/topic=5",
    ]);
}

type Attempt = fn(&Client);

/// [MQTT-3.3.2-8]; none outlives its connection [MQTT-3.3.2-7].
#[test]
fn wrong_aliases() {
    let attempts: [(u8, Attempt); 5] = [
        (0x82, |client| {
            client.start("_", 0, "x", alias_alone(2));
        }),
        (0x82, |client| {
            client.start("_", 0, "x", alias_alone(1));
        }),
        (0x94, |client| {
            client.start("t", 0, "x", with_alias(65));
        }),
        (0x94, |client| client.send_bytes(b"\x30\x07\x00\x01t\x03\x23\x00\x00")),
        (0x82, |client| client.send_bytes(b"\x30\x04\x00\x00\x00x")),
    ];
    for (code, attempt) in attempts {
        let world = World::new();
        world.connect("a", V5, persistent).publish_with("t", 0, "x", with_alias(1));
        let client = world.connect("a", V5, persistent);
        attempt(&client);
        client.expect_disconnect(code);
    }
}

/// Many topics through one filter and few aliases: each message arrives under its own topic, and what repeats is
/// written short.
#[test]
fn aliases_towards_a_client_stand_for_topics() {
    for maximum in [1, 3, 1000] {
        let world = World::new();
        let client = world.connect("a", V5, |connect| {
            persistent(connect);
            connect.properties.topic_alias_maximum = Some(maximum);
        });
        client.subscribe("#", 1);
        let publisher = world.connect("p", V5, |_| ());
        let mut expected = Vec::new();
        for round in 0..20 {
            for topic in 0..5 {
                let topic = format!("topic/{topic}");
                publisher.publish(&topic, 1, round.to_string());
                expected.push(format!("{topic}={round}"));
            }
        }
        let short = client.texts().iter().filter(|text| text.starts_with("PUBLISH =")).count();
        assert!(short > 60 || maximum < 5, "{short} of 100 with {maximum} aliases");
        assert_eq!(client.messages(), expected);
        publisher.publish("topic/0", 1, "unacknowledged");
        client.drop_link();
        // They are not carried over [MQTT-3.3.2-7]; the rules see to it.
        let client = world.connect("a", V5, |connect| {
            persistent(connect);
            connect.properties.topic_alias_maximum = Some(1);
        });
        client.take("PUBLISH topic/0=unacknowledged q1 #101 dup");
        publisher.publish("topic/0", 1, "x");
        publisher.publish("topic/0", 1, "y");
        assert_eq!(client.messages(), ["topic/0=x", "topic/0=y"]);
    }
}

/// What ends an exchange gives its place to the next message, and nothing else does. [MQTT-3.3.4-9] [MQTT-4.9.0-2]
#[test]
fn what_makes_room_within_receive_maximum() {
    let world = World::new();
    let client = world.connect("a", V5, |connect| connect.properties.receive_maximum = NonZeroU16::new(2));
    client.subscribe("t", 2);
    let publisher = world.connect("p", V5, |_| ());
    (0..6).for_each(|n| publisher.publish("t", 2, n.to_string()));
    client.expect_all(&["PUBLISH t=0 q2 #1", "PUBLISH t=1 q2 #2"]);
    client.ack(PubRec, 1);
    client.expect_all(&["PUBREL #1"]);
    client.ack(PubComp, 1);
    client.expect_all(&["PUBLISH t=2 q2 #3"]);
    client.ack_with(PubRec, 2, ReasonCode::UnspecifiedError);
    client.expect_all(&["PUBLISH t=3 q2 #4"]);
    client.ack(PubAck, 77);
    client.ack(PubComp, 1);
    client.expect_nothing();
}

/// QoS 0 is not counted, and goes through as long as nothing waits before it.
#[test]
fn receive_maximum_does_not_stop_qos_0() {
    let world = World::new();
    let client = world.connect("a", V5, |connect| connect.properties.receive_maximum = NonZeroU16::new(1));
    client.subscribe("#", 1);
    let publisher = world.connect("p", V5, |_| ());
    publisher.publish("t", 1, "counts");
    publisher.publish("t", 0, "passes");
    client.expect_all(&["PUBLISH t=counts q1 #1", "PUBLISH t=passes"]);
    publisher.publish("t", 1, "waits");
    publisher.publish("t", 0, "in order");
    client.expect_nothing();
    client.ack(PubAck, 1);
    client.expect_all(&["PUBLISH t=waits q1 #2", "PUBLISH t=in order"]);
}

/// Length of the CONNACK that a client gets: no Maximum Packet Size can be smaller.
fn connack_len() -> u32 {
    World::new().try_connect("a", V5, |_| ()).accepted().bytes.len() as u32
}

/// [MQTT-3.1.2-24] [MQTT-3.1.2-25]
#[test]
fn a_message_too_large_for_a_client_is_dropped_as_if_it_had_been_sent() {
    for qos in 0..3 {
        let world = World::with(|config| config.events = EventMask::DROPPED);
        let client = world.connect("small", V5, |connect| {
            connect.properties.maximum_packet_size = NonZeroU32::new(100);
            connect.properties.receive_maximum = NonZeroU16::new(1);
        });
        client.subscribe("t", qos);
        let other = world.connect("other", V5, |_| ());
        other.subscribe("t", qos);
        let publisher = world.connect("p", V5, |_| ());
        let fits = vec![b'x'; 100 - 6 - if qos > 0 { 2 } else { 0 }];
        let mut too_large = fits.clone();
        too_large.push(b'x');
        for _ in 0..3 {
            publisher.publish("t", qos, &too_large);
        }
        publisher.publish("t", qos, &fits);
        publisher.publish("t", qos, "y");
        assert_eq!(client.messages().len(), 2);
        assert_eq!(other.messages().len(), 5);
        assert_eq!(world.metrics().dropped_too_large, 3);
        let events = world.events();
        assert_eq!(events.len(), 3);
        assert!(
            matches!(&events[0], Event::Dropped { client_id, cause: DropCause::TooLarge, .. } if &**client_id == "small")
        );
        assert_eq!(world.metrics().stored, 0);
    }
}

/// A client may come back with less room than before.
#[test]
fn what_was_sent_may_be_too_large_to_be_sent_again() {
    let world = World::new();
    let client = world.connect("a", V5, persistent);
    client.subscribe("t", 2);
    let publisher = world.connect("p", V5, |_| ());
    for qos in [1, 2] {
        publisher.publish("t", qos, vec![b'x'; 100]);
        publisher.publish("t", qos, "y");
    }
    client.drop_link();
    let client = world.connect("a", V5, |connect| {
        persistent(connect);
        connect.properties.maximum_packet_size = NonZeroU32::new(60);
    });
    client.expect_all(&["PUBLISH t=y q1 #2 dup", "PUBLISH t=y q2 #4 dup"]);
    assert_eq!((world.metrics().dropped_too_large, world.metrics().stored), (2, 2));
}

/// An alias is set by a packet that is sent, not by one that is not. (The rules see to it that none is unknown.)
#[test]
fn a_message_that_is_not_sent_sets_no_alias() {
    let world = World::new();
    let client = world.connect("a", V5, |connect| {
        connect.properties.maximum_packet_size = NonZeroU32::new(60);
        connect.properties.topic_alias_maximum = Some(1);
    });
    client.subscribe("#", 0);
    let publisher = world.connect("p", V5, |_| ());
    for round in 0..10 {
        publisher.publish("a/long/topic", 0, vec![b'x'; if round % 2 == 0 { 100 } else { 1 }]);
    }
    assert_eq!(client.messages(), ["a/long/topic=x"; 5]);
}

/// [MQTT-3.2.2-19] [MQTT-3.14.2-3] [MQTT-3.2.2-20] [MQTT-3.14.2-4]
#[test]
fn a_reason_string_gives_way_to_the_packets_size() {
    let reason_string = |client: &Client| {
        let received = client.next();
        match received.packet() {
            Packet::Disconnect(disconnect) => disconnect.reason_string.map(str::to_owned),
            Packet::ConnAck(ack) => ack.properties.reason_string.map(str::to_owned),
            _ => panic!("{}", received.text),
        }
    };
    for (size, comes) in [(None, true), (NonZeroU32::new(connack_len()), false)] {
        let world = World::with(|config| config.limits.client_id_len = 23);
        let client = world.connect("a", V5, |connect| connect.properties.maximum_packet_size = size);
        client.connect("a", |_| ());
        assert_eq!(reason_string(&client).is_some(), comes);
        let long = "x".repeat(24);
        let client = world.try_connect(&long, V5, |connect| connect.properties.maximum_packet_size = size);
        assert_eq!(reason_string(&client).is_some(), comes);
    }
}

/// [MQTT-3.1.2-29] [MQTT-3.4.2-2] [MQTT-3.5.2-2] [MQTT-3.6.2-2] [MQTT-3.7.2-2] [MQTT-3.9.2-1]
/// [MQTT-3.11.2-1] [MQTT-3.15.2-2]: only CONNACK and DISCONNECT ever carry reason strings or user
/// properties of the broker's. [MQTT-3.4.2-3] [MQTT-3.5.2-3] [MQTT-3.6.2-3] [MQTT-3.7.2-3] [MQTT-3.9.2-2]
/// [MQTT-3.11.2-2] [MQTT-3.15.2-3]
#[test]
fn problem_information_comes_only_where_it_may() {
    for wanted in [None, Some(true), Some(false)] {
        let world = World::new();
        world.authorize(|_: columba_core::Client<'_>, _: columba_core::Action<'_>| false);
        let client =
            world.connect("a", V5, |connect| connect.properties.request_problem_information = wanted);
        client.start("t", 1, "x", |_| ());
        client.start("t", 2, "x", |_| ());
        client.ack(PubRec, 9);
        client.ack(columba_core::codec::PacketType::PubRel, 9);
        for text in ["PUBACK #1 87", "PUBREC #2 87", "PUBREL #9 92", "PUBCOMP #9 92"] {
            let received = client.next();
            assert_eq!((received.text.as_str(), received.bytes.len()), (text, 5));
        }
        assert_eq!(client.ask(&[("t", SubscriptionOptions::default())], None), [0x87]);
        assert_eq!(client.unsubscribe(&["t"]), [0x11]);
    }
}

/// What MQTT 5 adds to a message stays there; what older clients send has none of it.
#[test]
fn properties_are_for_mqtt_5() {
    let world = World::new();
    for version in [V3_1, V3_1_1] {
        let old = world.connect("old", version, |_| ());
        old.subscribe("t", 0);
        let new = world.connect("new", V5, |_| ());
        new.subscribe("t", 0);
        new.publish_with("t", 0, "x", |publish| {
            all_properties(publish);
            publish.properties.message_expiry = Some(5);
        });
        old.expect_all(&["PUBLISH t=x"]);
        let _ = new.next();
        old.publish("t", 0, "y");
        new.expect_all(&["PUBLISH t=y"]);
    }
}
