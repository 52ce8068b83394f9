//! Every limit, at the limit and one past it; and what happens to messages that there is no room for.

use std::num::NonZeroU16;
use std::time::Duration;

use bytes::BytesMut;
use columba_core::codec::PacketType::{PubAck, PubRel};
use columba_core::codec::{Connect, Packet, PacketId, SubscriptionOptions, Version};
use columba_core::{
    Cause, DropCause, Event, EventMask, Flow, FullQueue, Intake, Limits, MESSAGE_OVERHEAD, Verdict,
};

use crate::world::{ALL, Client, V3_1, V3_1_1, V5, World, level, name, persistent, will};

fn limited(adjust: impl FnOnce(&mut Limits)) -> World {
    World::with(|config| {
        config.events = EventMask::ALL;
        adjust(&mut config.limits);
    })
}

/// The code of a refusal, or return code before 5.0.
fn quota(version: Version) -> u8 {
    if version == V5 { 0x97 } else { 3 }
}

/// A message of `t` that counts as so many bytes.
fn payload_for(size: usize) -> Vec<u8> {
    vec![b'x'; size - MESSAGE_OVERHEAD - "t".len()]
}

fn dropped(world: &World) -> Vec<(String, String, DropCause)> {
    let drop = |event| match event {
        Event::Dropped { client_id, topic, cause, .. } => {
            Some((client_id.to_string(), topic.to_string(), cause))
        }
        _ => None,
    };
    world.events().into_iter().filter_map(drop).collect()
}

fn count(events: &[Event], kind: EventMask) -> usize {
    events.iter().filter(|event| event.kind() == kind).count()
}

#[test]
fn connections() {
    for version in ALL {
        let world = limited(|limits| limits.connections = 2);
        let first = world.connect("1", version, |_| ());
        let _second = world.connect("2", version, |_| ());
        world.try_connect("3", version, |_| ()).expect_refused(quota(version));
        first.drop_link();
        world.connect("3", version, |_| ()).ping();
    }
}

#[test]
fn pending_handshakes() {
    let world = limited(|limits| limits.pending_handshakes = 2);
    let first = world.open("1", V5);
    let _second = world.open("2", V5);
    let third = world.open("3", V5);
    third.expect_closed();
    assert_eq!(world.metrics().connects_refused, 1);
    assert!(matches!(&world.events()[..], [Event::Refused { cause: Cause::Fault(_), .. }]));
    first.connect("1", |_| ());
    first.accepted();
    world.connect("3", V5, |_| ()).ping();
}

/// A place is free again whichever way a handshake ends.
#[test]
fn pending_handshakes_end() {
    let world = World::with(|config| {
        config.limits.pending_handshakes = 1;
        config.authenticate = true;
    });
    world.open("cut", V5).drop_link();
    world.open("no connect", V5).send_bytes(b"\xc0\x00");
    let client = world.open("times out", V5);
    world.advance(10);
    client.expect_closed();
    let client = world.try_connect("rejected", V5, |_| ());
    world.answer(world.question().0, Verdict::reject(columba_core::codec::ReasonCode::Banned));
    client.expect_refused(0x8a);
    world.try_connect("cut", V5, |_| ()).drop_link();
    let client = world.try_connect("accepted", V5, |_| ());
    let last = world.open("one too many", V5);
    last.expect_closed();
    world.events();
    assert!(client.is_open());
}

#[test]
fn sessions() {
    for version in ALL {
        let world = limited(|limits| limits.sessions = 2);
        world.connect("away", version, persistent).drop_link();
        let here = world.connect("here", version, |_| ());
        world.try_connect("more", version, |_| ()).expect_refused(quota(version));
        world.connect("away", version, persistent).drop_link();
        here.drop_link();
        world.connect("more", version, |_| ()).ping();
    }
}

/// Two that wait for a verdict at the same time have both found room.
#[test]
fn sessions_while_a_verdict_is_awaited() {
    let world = World::with(|config| {
        config.limits.sessions = 1;
        config.authenticate = true;
    });
    let clients = ["1", "2"].map(|id| world.try_connect(id, V5, |_| ()));
    for _ in 0..2 {
        world.answer(world.question().0, Verdict::accept());
    }
    clients[0].accepted();
    clients[1].expect_refused(0x97);
    assert_eq!(world.metrics().sessions, 1);
}

#[test]
fn client_id_len() {
    for version in ALL {
        let world = limited(|limits| limits.client_id_len = 30);
        world.connect(&"x".repeat(30), version, |_| ()).ping();
        let code = if version == V5 { 0x85 } else { 2 };
        world.try_connect(&"x".repeat(31), version, |_| ()).expect_refused(code);
        world.try_connect(&"ä".repeat(16), version, |_| ()).expect_refused(code);
    }
}

/// [MQTT-3.2.2-15] [MQTT-4.13.1-1]
#[test]
fn packet_size() {
    for version in ALL {
        let world = limited(|limits| limits.packet_size = 100);
        let client = world.connect("a", version, |_| ());
        let payload = |size: usize| vec![b'x'; size - 5 - usize::from(version == V5)];
        client.publish("t", 0, payload(100));
        client.ping();
        client.start("t", 0, payload(101), |_| ());
        client.expect_disconnect(0x95);
    }
}

/// The length alone is enough: nothing is waited for, let alone reserved.
#[test]
fn a_packet_is_refused_by_its_length() {
    for version in ALL {
        let world = World::new();
        let client = world.connect("a", version, |_| ());
        client.send_bytes(b"\x30\xff\xff\xff\x7f");
        client.expect_disconnect(0x95);
    }
}

/// The smaller of the two limits for CONNECT answers like the other.
#[test]
fn a_connect_above_the_control_size_is_told_so() {
    let world = limited(|limits| limits.control_size = 300);
    world.try_connect(&"x".repeat(400), V5, |_| ()).expect_refused(0x95);
}

#[test]
fn control_size() {
    for version in ALL {
        let world = limited(|limits| limits.control_size = 100);
        let client = world.connect("a", version, |_| ());
        let overhead = 2 + 2 + usize::from(version == V5) + 2 + 1;
        client.subscribe(&"x".repeat(100 - overhead), 0);
        client.publish("t", 0, vec![0; 200]);
        client.ping();
        client.send_bytes(b"\x82\x63");
        client.expect_disconnect(0x95);
    }
}

#[test]
fn connect_size() {
    for version in ALL {
        let connect = |padding: usize| {
            let mut bytes = Vec::new();
            let will = "x".repeat(padding);
            let connect = Connect { will: Some(will_of(&will)), ..Connect::new(version, "a") };
            connect.encode(&mut bytes).expect("it is one");
            bytes
        };
        let size = connect(200).len();
        let world = limited(|limits| limits.connect_size = size as u32);
        let client = world.open("a", version);
        client.send_bytes(&connect(200));
        client.accepted();
        client.publish("t", 0, vec![0; 2 * size]);
        client.ping();
        let client = world.open("b", version);
        client.send_bytes(&connect(201));
        if version == V5 {
            client.expect_refused(0x95);
        }
        client.expect_closed();
    }
}

fn will_of(payload: &str) -> columba_core::codec::Will<'_> {
    will("w", payload)
}

/// Before CONNACK an AUTH is as bounded as a CONNECT.
#[test]
fn connect_size_of_auth() {
    let world = World::with(|config| {
        config.limits.connect_size = 100;
        config.authenticate = true;
    });
    let client = world.try_connect("a", V5, |connect| connect.properties.authentication_method = Some("m"));
    world.answer(world.question().0, Verdict::Continue { data: "?".into() });
    client.expect("AUTH 18 m ?");
    client.auth(columba_core::codec::ReasonCode::ContinueAuthentication, Some("m"), Some(&[b'x'; 100]));
    client.expect_refused(0x95);
}

/// [MQTT-3.3.4-7]; retransmissions count once.
#[test]
fn receive_maximum() {
    let world = limited(|limits| limits.receive_maximum = 3);
    let client = world.connect("a", V5, persistent);
    for reason in [" 10", "", ""] {
        for id in 1..=3 {
            client.start("t", 2, "x", |publish| publish.packet_id = PacketId::new(id));
            client.expect(&format!("PUBREC #{id}{reason}"));
        }
    }
    client.start("t", 1, "x", |publish| publish.packet_id = PacketId::new(4));
    client.expect("PUBACK #4 10");
    client.ack(PubRel, 2);
    client.expect("PUBCOMP #2");
    client.start("t", 2, "x", |publish| publish.packet_id = PacketId::new(5));
    client.expect("PUBREC #5 10");
    client.start("t", 2, "x", |publish| publish.packet_id = PacketId::new(6));
    client.expect_disconnect(0x93);
}

/// Older clients know of no such number.
#[test]
fn receive_maximum_is_nothing_to_older_clients() {
    for version in [V3_1, V3_1_1] {
        let world = limited(|limits| limits.receive_maximum = 3);
        let client = world.connect("a", version, |_| ());
        (0..100).for_each(|_| {
            client.start("t", 2, "x", |_| ());
        });
        assert_eq!(client.texts().len(), 100);
    }
}

/// What is in flight to one client is the lesser of its Receive Maximum and the broker's limit; the rest
/// waits and is not lost. [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2] [MQTT-3.3.4-10]
#[test]
fn inflight() {
    for (limit, asked, expected) in [(5, None, 5), (5, Some(3), 3), (5, Some(5), 5), (5, Some(9), 5)] {
        for qos in [1, 2] {
            let world = limited(|limits| limits.inflight = limit);
            let client = world.connect("a", V5, |connect| {
                connect.properties.receive_maximum = asked.and_then(NonZeroU16::new);
            });
            client.subscribe("t", qos);
            let publisher = world.connect("p", V5, |_| ());
            (0..20).for_each(|n| publisher.publish("t", qos, n.to_string()));
            assert_eq!(client.texts().len(), expected);
            // Other packets do not wait [MQTT-4.9.0-3] [MQTT-3.3.4-10].
            client.send(&Packet::PingReq);
            client.take("PINGRESP");
            let messages = client.messages();
            assert_eq!(messages, (0..20).map(|n| format!("t={n}")).collect::<Vec<_>>());
        }
    }
}

/// A subscriber that takes one message at a time, and reads none for now.
fn slow(world: &World, version: Version) -> Client {
    let client = world.connect("slow", version, |connect| {
        persistent(connect);
        connect.properties.receive_maximum = Some(PacketId::MIN);
    });
    client.subscribe("t", 2);
    client.stall();
    client
}

/// The new message is dropped, for the full session alone; counted, reported, and its being full reported once.
#[test]
fn queued_messages_drop_newest() {
    for version in ALL {
        let world = limited(|limits| limits.queued_messages = 3);
        let (slow, other) = (slow(&world, version), world.connect("other", V5, |_| ()));
        other.subscribe("t", 1);
        let publisher = world.connect("p", V5, |_| ());
        world.events();
        (0..3).for_each(|n| publisher.publish("t", 1, n.to_string()));
        assert_eq!(count(&world.events(), EventMask::DROPPED), 0);
        (3..6).for_each(|n| publisher.publish("t", 1, n.to_string()));
        let events = world.events();
        assert_eq!(count(&events, EventMask::PRESSURE), 1);
        assert_eq!(count(&events, EventMask::DROPPED), 3);
        assert_eq!(world.metrics().dropped_queue_full, 3);
        assert_eq!(other.messages().len(), 6, "others lose nothing");
        slow.resume();
        assert_eq!(slow.messages(), ["t=0", "t=1", "t=2"]);
        slow.stall();
        (6..10).for_each(|n| publisher.publish("t", 1, n.to_string()));
        let events = world.events();
        assert_eq!(count(&events, EventMask::PRESSURE), 1, "it was empty in between");
        assert_eq!(count(&events, EventMask::DROPPED), 1);
        slow.resume();
        assert_eq!(slow.messages(), ["t=6", "t=7", "t=8"]);
    }
}

#[test]
fn queued_messages_of_an_absent_client() {
    for (policy, expected) in [
        (FullQueue::DropNewest, ["t=0", "t=1", "t=2"]),
        (FullQueue::DropOldest, ["t=2", "t=3", "t=4"]),
        (FullQueue::DisconnectConsumer, ["t=0", "t=1", "t=2"]),
    ] {
        let world = World::with(|config| {
            config.limits.queued_messages = 3;
            config.full_queue = policy;
            config.events = EventMask::ALL;
        });
        slow(&world, V5).drop_link();
        let publisher = world.connect("p", V5, |_| ());
        (0..5).for_each(|n| publisher.publish("t", 1, n.to_string()));
        assert_eq!(world.metrics().dropped_queue_full, 2);
        let lost = ("slow".to_owned(), "t".to_owned(), DropCause::QueueFull);
        assert_eq!(dropped(&world), [lost.clone(), lost]);
        assert_eq!(world.connect("slow", V5, persistent).messages(), expected, "{policy:?}");
    }
}

#[test]
fn queued_messages_drop_oldest() {
    let world = World::with(|config| {
        config.limits.queued_messages = 2;
        config.full_queue = FullQueue::DropOldest;
        config.events = EventMask::ALL;
    });
    let slow = slow(&world, V5);
    slow.resume();
    let publisher = world.connect("p", V5, |_| ());
    (0..6).for_each(|n| publisher.publish("t", 1, n.to_string()));
    // The first is in flight and is not taken back.
    assert_eq!(world.metrics().dropped_queue_full, 3);
    assert_eq!(count(&world.events(), EventMask::PRESSURE), 1);
    assert_eq!(slow.messages(), ["t=0", "t=4", "t=5"]);
}

#[test]
fn queued_messages_disconnect_consumer() {
    for version in ALL {
        let world = World::with(|config| {
            config.limits.queued_messages = 2;
            config.full_queue = FullQueue::DisconnectConsumer;
            config.events = EventMask::ALL;
        });
        let (slow, other) = (slow(&world, version), world.connect("other", V5, |_| ()));
        other.subscribe("t", 1);
        let publisher = world.connect("p", V5, |_| ());
        (0..2).for_each(|n| publisher.publish("t", 1, n.to_string()));
        slow.expect_open();
        world.events();
        publisher.publish("t", 1, "2");
        let events = world.events();
        assert!(events.iter().any(|event| matches!(
            event,
            Event::Disconnected { cause: Cause::Fault(fault), session_kept: true, .. } if fault.reason.code() == 0x97
        )));
        slow.resume();
        slow.expect_disconnect(0x97);
        assert_eq!(world.connect("slow", version, persistent).messages(), ["t=0", "t=1"]);
        assert_eq!(other.messages(), ["t=0", "t=1", "t=2"]);
        assert_eq!(world.metrics().dropped_queue_full, 1);
    }
}

/// The publisher is refused for all, or at QoS 0 the message is dropped for the full session alone.
#[test]
fn queued_messages_refuse_publisher() {
    for version in ALL {
        for away in [false, true] {
            let world = World::with(|config| {
                config.limits.queued_messages = 2;
                config.full_queue = FullQueue::RefusePublisher;
            });
            let (slow, other) = (slow(&world, V5), world.connect("other", V5, |_| ()));
            if away {
                slow.drop_link();
            }
            other.subscribe("t", 1);
            let publisher = world.connect("p", version, |_| ());
            publisher.publish("t", 1, "0");
            publisher.publish("t", 2, "1");
            publisher.publish("t", 0, "2");
            publisher.ping();
            for qos in [1, 2] {
                let client = world.connect("p2", version, |_| ());
                client.start("t", qos, "3", |_| ());
                if version == V5 {
                    client.expect_all(&[if qos == 1 { "PUBACK #1 97" } else { "PUBREC #1 97" }]);
                    client.publish("elsewhere", qos, "x");
                } else {
                    client.expect_closed();
                }
            }
            assert_eq!(other.messages(), ["t=0", "t=1", "t=2"]);
            assert_eq!(world.metrics().publishes_refused, 2);
            assert_eq!(world.connect("slow", V5, persistent).messages(), ["t=0", "t=1"]);
        }
    }
}

/// Only who would get the message counts: not a session with a full queue that gets nothing at QoS 0 while away.
#[test]
fn a_full_queue_refuses_only_what_would_go_into_it() {
    let world = World::with(|config| {
        config.limits.queued_messages = 1;
        config.full_queue = FullQueue::RefusePublisher;
    });
    let client = world.connect("a", V5, persistent);
    client.subscribe("fills", 1);
    client.subscribe("passes", 0);
    client.drop_link();
    let publisher = world.connect("p", V5, |_| ());
    publisher.publish("fills", 1, "");
    publisher.publish("passes", 1, "");
    publisher.start("fills", 1, "", |_| ());
    publisher.expect_all(&["PUBACK #3 97"]);
}

/// What has expired takes no room from what has not, whatever the policy.
#[test]
fn expired_messages_make_room() {
    for policy in [
        FullQueue::DropNewest,
        FullQueue::DropOldest,
        FullQueue::DisconnectConsumer,
        FullQueue::RefusePublisher,
    ] {
        let world = World::with(|config| {
            config.limits.queued_messages = 3;
            config.full_queue = policy;
            config.events = EventMask::ALL;
        });
        let slow = slow(&world, V5);
        let publisher = world.connect("p", V5, |_| ());
        publisher.publish("t", 1, "stays");
        for _ in 0..2 {
            publisher.publish_with("t", 1, "goes", |publish| publish.properties.message_expiry = Some(10));
        }
        world.advance(10);
        world.events();
        publisher.publish("t", 1, "new");
        publisher.publish("t", 1, "newer");
        let gone = ("slow".to_owned(), "t".to_owned(), DropCause::Expired);
        assert_eq!(dropped(&world), [gone.clone(), gone], "{policy:?}");
        let metrics = world.metrics();
        assert_eq!(
            (metrics.dropped_expired, metrics.dropped_queue_full, metrics.publishes_refused),
            (2, 0, 0)
        );
        slow.resume();
        assert_eq!(slow.messages(), ["t=stays", "t=new", "t=newer"]);
    }
}

/// Also when it was looked for a moment before and nothing had expired.
#[test]
fn expired_messages_make_room_at_once() {
    let world = World::with(|config| config.limits.queued_messages = 1);
    let slow = slow(&world, V5);
    let publisher = world.connect("p", V5, |_| ());
    publisher.publish_with("t", 1, "goes", |publish| publish.properties.message_expiry = Some(10));
    world.advance_by(Duration::from_millis(9_999));
    publisher.publish("t", 1, "finds no room");
    world.advance_by(Duration::from_millis(1));
    publisher.publish("t", 1, "finds room");
    slow.resume();
    assert_eq!(slow.messages(), ["t=finds room"]);
}

/// But a long queue is not looked through for every message: 10 microseconds pass for each that waits.
#[test]
fn a_long_queue_is_seldom_looked_through_for_expired_messages() {
    let world = World::with(|config| config.limits.queued_messages = 100);
    let slow = slow(&world, V5);
    let publisher = world.connect("p", V5, |_| ());
    let expiring = || {
        publisher.publish_with("t", 1, "goes", |publish| publish.properties.message_expiry = Some(10));
    };
    expiring();
    world.advance_by(Duration::from_micros(999));
    expiring();
    (0..98).for_each(|_| publisher.publish("t", 1, "stays"));
    world.advance_by(Duration::from_micros(9_999_001));
    publisher.publish("t", 1, "finds room");
    // The second has expired when less than 100 times 10 microseconds have passed.
    world.advance_by(Duration::from_micros(999));
    publisher.publish("t", 1, "finds none");
    world.advance_by(Duration::from_micros(1));
    publisher.publish("t", 1, "finds room again");
    slow.resume();
    let messages = slow.messages();
    assert_eq!(messages.len(), 100);
    assert_eq!(messages[98..], ["t=finds room", "t=finds room again"]);
}

/// Counted with what is in flight.
#[test]
fn queued_bytes() {
    for in_flight in [false, true] {
        let world = limited(|limits| limits.queued_bytes = 3 * 200);
        let slow = slow(&world, V5);
        if in_flight {
            slow.resume();
        }
        let publisher = world.connect("p", V5, |_| ());
        (0..3).for_each(|_| publisher.publish("t", 1, payload_for(200)));
        assert_eq!(world.metrics().dropped_queue_full, 0);
        publisher.publish("t", 1, "");
        assert_eq!(world.metrics().dropped_queue_full, 1);
        slow.resume();
        let left = || world.core(|core, _| core.client("slow").map(|client| client.queued_bytes));
        slow.ack(PubAck, 1);
        assert_eq!(left(), Some(400));
        slow.ack(PubAck, 2);
        assert_eq!(left(), Some(200));
        slow.ack(PubAck, 3);
        assert_eq!(left(), Some(0));
    }
}

/// A message that can never fit costs those that wait nothing.
#[test]
fn a_message_larger_than_the_queue_pushes_nothing_out() {
    for policy in [FullQueue::DropNewest, FullQueue::DropOldest] {
        let world = World::with(|config| {
            config.limits.queued_bytes = 1000;
            config.full_queue = policy;
        });
        let slow = slow(&world, V5);
        let publisher = world.connect("p", V5, |_| ());
        publisher.publish("t", 1, "small");
        publisher.publish("t", 1, payload_for(1001));
        assert_eq!(world.metrics().dropped_queue_full, 1);
        slow.resume();
        assert_eq!(slow.messages(), ["t=small"]);
    }
}

/// The ceiling for everything the broker holds: refused with words, or, where there are none, so that the message
/// comes again later.
#[test]
fn stored_bytes() {
    for version in ALL {
        for qos in 0..3 {
            let world = limited(|limits| limits.stored_bytes = 400);
            let slow = slow(&world, V5);
            let publisher = world.connect("p", version, |_| ());
            (0..2).for_each(|_| publisher.publish("t", 1, payload_for(200)));
            assert_eq!((world.metrics().stored_bytes, world.metrics().publishes_refused), (400, 0));
            world.events();
            publisher.start("t", qos, "one too many", |_| ());
            match (version, qos) {
                (_, 0) => publisher.ping(),
                (V5, 1) => publisher.expect_all(&["PUBACK #3 97"]),
                (V5, _) => publisher.expect_all(&["PUBREC #3 97"]),
                _ => publisher.expect_closed(),
            }
            assert_eq!(world.metrics().publishes_refused, 1);
            let events = world.events();
            assert_eq!((count(&events, EventMask::PRESSURE), count(&events, EventMask::DROPPED)), (1, 1));
            world.connect("q", V5, |_| ()).start("t", 1, "another", |_| ());
            assert_eq!(count(&world.events(), EventMask::PRESSURE), 0, "it is reported once");
            slow.resume();
            assert_eq!(slow.messages().len(), 2);
            let publisher = world.connect("q", version, |_| ());
            publisher.publish("t", 1, payload_for(400));
            publisher.ping();
            assert_eq!(slow.messages().len(), 1);
        }
    }
}

/// One message for many is one message.
#[test]
fn stored_bytes_count_a_message_once() {
    let world = limited(|limits| limits.stored_bytes = 200);
    let clients: Vec<_> = (0..10)
        .map(|n| {
            let client = world.connect(&n.to_string(), V5, persistent);
            client.subscribe("t", 1);
            client.stall();
            client
        })
        .collect();
    world.connect("p", V5, |_| ()).publish("t", 1, payload_for(200));
    assert_eq!((world.metrics().stored, world.metrics().stored_bytes), (1, 200));
    for client in clients {
        client.resume();
        assert_eq!(client.messages().len(), 1);
    }
    assert_eq!(world.metrics().stored, 0);
}

/// What frees room must be possible where there is none.
#[test]
fn retained_messages_can_be_cleared_at_the_ceiling() {
    for version in ALL {
        let world = limited(|limits| limits.stored_bytes = 200);
        let client = world.connect("a", version, |_| ());
        client.retain("t", 1, payload_for(200));
        client.retain("t", 1, "");
        client.ping();
        assert_eq!((world.metrics().retained, world.metrics().stored_bytes), (0, 0));
        client.retain("t", 1, payload_for(200));
    }
}

/// A will has to have room when it is left, so that it can be published when it is due.
#[test]
fn stored_bytes_count_wills() {
    for version in ALL {
        let size = MESSAGE_OVERHEAD + 2;
        let world = limited(|limits| limits.stored_bytes = 2 * size);
        let watcher = world.connect("watcher", V5, |_| ());
        watcher.subscribe("w", 0);
        let connect = |id| world.try_connect(id, version, |connect| connect.will = Some(will("w", "x")));
        let (first, second) = (connect("1"), connect("2"));
        first.accepted();
        second.accepted();
        assert_eq!(world.metrics().stored_bytes, 2 * size);
        connect("3").expect_refused(quota(version));
        watcher.start("t", 1, "", |_| ());
        watcher.expect("PUBACK #2 97");
        first.drop_link();
        watcher.expect_all(&["PUBLISH w=x"]);
        second.disconnect();
        assert_eq!(world.metrics().stored_bytes, 0);
        watcher.expect_nothing();
    }
}

#[test]
fn subscriptions() {
    let ask = |client: &Client, filters: &[&str]| {
        let filters: Vec<_> =
            filters.iter().map(|&filter| (filter, SubscriptionOptions::default())).collect();
        client.ask(&filters, None)
    };
    for version in ALL {
        let world = limited(|limits| limits.subscriptions = 2);
        let client = world.connect("a", version, |_| ());
        let code = match version {
            V3_1 => 0,
            V3_1_1 => 0x80,
            V5 => 0x97,
        };
        assert_eq!(ask(&client, &["1", "$share/g/2", "3"]), [0, 0, code]);
        assert_eq!(ask(&client, &["1"]), [0], "one that is there can be replaced");
        assert_eq!(world.metrics().subscriptions, 2);
        client.unsubscribe(&["1"]);
        assert_eq!(ask(&client, &["3"]), [0]);
        assert_eq!(ask(&world.connect("b", version, |_| ()), &["1", "2", "3"]), [0, 0, code]);
    }
}

#[test]
fn wildcard_levels() {
    let world = limited(|limits| limits.wildcard_levels = 5);
    let client = world.connect("a", V5, |_| ());
    let ask = |client: &Client, filters: &[&str]| {
        let filters: Vec<_> =
            filters.iter().map(|&filter| (filter, SubscriptionOptions::default())).collect();
        client.ask(&filters, None)
    };
    assert_eq!(ask(&client, &["+/a/b", "$share/g/a/#", "+"]), [0, 0, 0x97]);
    assert_eq!(ask(&client, &["+/a/b", "$share/g/a/#"]), [0, 0], "what is there can be replaced");
    assert_eq!(ask(&client, &["1/2/3/4/5/6"]), [0], "without a wildcard it does not count");
    client.unsubscribe(&["+/a/b", "1/2/3/4/5/6"]);
    assert_eq!(ask(&client, &["+/+/+/+", "#", "+/+", "+"]), [0x97, 0, 0, 0x97]);
    assert_eq!(ask(&world.connect("b", V5, |_| ()), &["+/+/+/+/+/+", "+/+/+/+/+", "#"]), [0x97, 0, 0x97]);
}

#[test]
fn topic_levels() {
    let world = limited(|limits| limits.topic_levels = 3);
    let client = world.connect("a", V5, |_| ());
    client.subscribe("a/+/#", 1);
    client.subscribe("$share/g/a/b/c", 1);
    assert_eq!(client.ask(&[("a/b/c/d", SubscriptionOptions::default())], None), [0x8f]);
    assert_eq!(client.ask(&[("///", SubscriptionOptions::default())], None), [0x8f]);
    client.start("a/b/c", 1, "x", |_| ());
    client.take("PUBACK #5");
    client.start("a/b/c/d", 1, "x", |_| ());
    client.take("PUBACK #6 90");
    client.start("a/b/c/d", 2, "x", |_| ());
    client.take("PUBREC #7 90");
    let old = world.connect("old", V3_1_1, |_| ());
    old.publish("a/b/c/d", 1, "x");
    assert_eq!(client.messages(), ["a/b/c=x", "a/b/c=x"]);
    let with_will =
        |topic: &'static str| world.try_connect("b", V5, move |connect| connect.will = Some(will(topic, "")));
    with_will("a/b/c").accepted();
    with_will("a/b/c/d").expect_refused(0x90);
}

#[test]
fn retained_limits() {
    let retain = |client: &Client, topic: &str, payload: &[u8]| {
        let id = client.start(topic, 1, payload, |publish| publish.retain = true);
        let received = client.next();
        received.text == format!("PUBACK #{id} 10") || received.text == format!("PUBACK #{id}")
    };
    let world = limited(|limits| limits.retained_messages = 2);
    let client = world.connect("a", V5, |_| ());
    assert!(retain(&client, "1", b"x") && retain(&client, "2", b"x"));
    assert!(!retain(&client, "3", b"x"));
    assert!(retain(&client, "2", b"y"), "what is replaced makes room");
    assert!(retain(&client, "1", b"") && retain(&client, "3", b"x"));

    let world = limited(|limits| limits.retained_levels = 4);
    let client = world.connect("a", V5, |_| ());
    assert!(retain(&client, "a/b/c", b"x") && retain(&client, "a/d", b"x"));
    assert!(!retain(&client, "e", b"x"));
    assert!(retain(&client, "a/b", b"x") && retain(&client, "a/d", b"y"), "no level is new");
    assert!(retain(&client, "a/d", b"") && retain(&client, "e", b"x"));
    assert!(retain(&client, "a/b/c", b"") && !retain(&client, "a/d/f", b"x"));

    let world = limited(|limits| limits.retained_bytes = 400);
    let client = world.connect("a", V5, |_| ());
    assert!(retain(&client, "t", &payload_for(200)) && retain(&client, "u", &payload_for(200)));
    assert!(retain(&client, "v", b""), "an empty one is not retained and needs no room");
    assert!(!retain(&client, "v", b"x"));
    assert!(!retain(&client, "t", &payload_for(201)));
    assert!(retain(&client, "t", &payload_for(200)));
    assert_eq!(world.metrics().retained_bytes, 400);

    let world = limited(|limits| limits.retained_payload = 10);
    let client = world.connect("a", V5, |_| ());
    assert!(retain(&client, "t", &[0; 10]));
    assert!(!retain(&client, "u", &[0; 11]));
    client.publish("u", 1, [0; 11]);
    assert_eq!(world.metrics().retained, 1);
    // Refused as a whole: the code is 0x97.
    client.start("u", 2, [0; 11], |publish| publish.retain = true);
    assert!(client.next().text.ends_with(" 97"));
}

/// Retained messages that a subscription brings wait in the same queue.
#[test]
fn retained_messages_do_not_overflow_a_queue() {
    let world = limited(|limits| limits.queued_messages = 3);
    let publisher = world.connect("p", V5, |_| ());
    (0..5).for_each(|n| publisher.retain(&format!("t/{n}"), 1, "x"));
    let client = world.connect("a", V5, |_| ());
    world.events();
    client.subscribe("t/+", 1);
    assert_eq!(client.messages().len(), 3);
    let drops = dropped(&world);
    assert_eq!(drops.len(), 2, "each is reported");
    assert!(
        drops
            .iter()
            .all(|(id, topic, cause)| id == "a" && topic.starts_with("t/") && *cause == DropCause::QueueFull)
    );
    assert_eq!(world.metrics().dropped_queue_full, 2);
}

/// [MQTT-3.3.2-9] [MQTT-3.3.2-12] [MQTT-3.2.2-17] [MQTT-3.2.2-18]
#[test]
fn topic_aliases_in() {
    for (limit, alias, code) in [(3, 3, None), (3, 4, Some(0x94)), (0, 1, Some(0x94)), (65_535, 65_535, None)]
    {
        let world = limited(|limits| limits.topic_aliases_in = limit);
        let client = world.connect("a", V5, |_| ());
        client.start("t", 0, "x", |publish| publish.topic_alias = NonZeroU16::new(alias));
        match code {
            Some(code) => client.expect_disconnect(code),
            None => client.ping(),
        }
    }
}

/// [MQTT-3.1.2-26] [MQTT-3.3.2-11] are among the rules each packet is held against. [MQTT-3.1.2-27]
#[test]
fn topic_aliases_out() {
    for (limit, asked, used) in
        [(0, Some(9), false), (9, None, false), (9, Some(0), false), (1, Some(9), true), (9, Some(1), true)]
    {
        let world = limited(|limits| limits.topic_aliases_out = limit);
        let client = world.connect("a", V5, |connect| connect.properties.topic_alias_maximum = asked);
        client.subscribe("#", 0);
        let publisher = world.connect("p", V5, |_| ());
        (0..9).for_each(|_| publisher.publish("a/longer/topic", 0, ""));
        let aliases: Vec<_> = client.texts().into_iter().filter(|text| text.contains("alias=")).collect();
        assert_eq!(aliases.is_empty(), !used, "{limit} {asked:?}");
        assert!(aliases.iter().all(|text| text.contains("alias=1")));
    }
}

/// A client that sends and does not read is not read from any more, until it does. Nothing is lost.
#[test]
fn output_backlog() {
    let world = limited(|limits| limits.output_backlog = 1000);
    world.quiet();
    let client = world.connect("a", V5, |_| ());
    client.stall();
    let mut bytes = Vec::new();
    (0..10_000).for_each(|_| bytes.extend_from_slice(b"\xc0\x00"));
    client.send_bytes(&bytes);
    let taken = world.metrics().packets_received - 1;
    assert!((500..=501).contains(&taken), "{taken}");
    client.resume();
    assert_eq!(client.texts().len(), 10_000);
}

/// One call hands out no more than this, or a packet more.
#[test]
fn transmit_budget() {
    let world = limited(|limits| limits.transmit_budget = 1000);
    let client = world.connect("a", V5, |_| ());
    client.subscribe("t", 1);
    client.stall();
    let publisher = world.connect("p", V5, |_| ());
    (0..50).for_each(|_| publisher.publish("t", 1, vec![0; 100]));
    assert_eq!(client.transmit(), Flow::More);
    let first = client.drain();
    let len: usize = first.iter().map(|received| received.bytes.len()).sum();
    assert!((1000..1110).contains(&len), "{len}");
    client.resume();
    assert_eq!(first.len() + client.drain().len(), 50);
}

/// One client's input waits when it has kept the broker busy for long enough, so that others have their turn.
#[test]
fn a_turn_has_an_end() {
    let world = World::new();
    world.quiet();
    let subscribers: Vec<_> = (0..100)
        .map(|number| {
            let client = world.connect(&number.to_string(), V3_1_1, |_| ());
            client.subscribe("t", 0);
            client
        })
        .collect();
    let publisher = world.connect("p", V3_1_1, |_| ());
    let mut bytes = BytesMut::new();
    (0..1000).for_each(|_| bytes.extend_from_slice(b"\x30\x03\x00\x01t"));
    let key = publisher.key();
    let first = world.core(|core, now| core.receive(now, key, &mut bytes));
    let taken = world.metrics().publishes_received;
    assert_eq!(first, Intake::Paused);
    assert!((600..700).contains(&taken), "{taken}");
    assert_eq!(world.core(|core, now| core.receive(now, key, &mut bytes)), Intake::Open);
    assert!(subscribers.iter().all(|client| client.texts().len() == 1000));
}

/// Filters that match a topic but for its last level cost time, though nobody gets anything: the same holds.
#[test]
fn a_turn_has_an_end_where_nothing_matches() {
    const LEVELS: u32 = 10;
    let world = World::new();
    world.quiet();
    let client = world.connect("a", V3_1_1, |_| ());
    for mask in 0..1_u32 << LEVELS {
        let levels = (0..LEVELS).map(|level| if mask >> level & 1 == 0 { "a/" } else { "+/" });
        client.subscribe(&levels.chain(["x"]).collect::<String>(), 0);
    }
    let topic = format!("{}y", "a/".repeat(LEVELS as usize));
    let mut publish = vec![0x30, topic.len() as u8 + 2, 0, topic.len() as u8];
    publish.extend_from_slice(topic.as_bytes());
    let mut bytes = BytesMut::from(&*publish.repeat(1000));
    let key = client.key();
    let first = world.core(|core, now| core.receive(now, key, &mut bytes));
    let taken = world.metrics().publishes_received;
    assert_eq!(first, Intake::Paused);
    // Each of them comes by 2,047 places, out of 65,536.
    assert_eq!(taken, 33);
    // Other topics do not come by any of them.
    let mut bytes = BytesMut::from(&*b"\x30\x03\x00\x01b".repeat(10_000));
    assert_eq!(world.core(|core, now| core.receive(now, key, &mut bytes)), Intake::Open);
    assert!(client.texts().is_empty());
}

/// A client that takes no messages for now, in the way of a shell that can tell, is still answered.
#[test]
fn answers_can_go_before_messages() {
    let world = World::new();
    let client = world.connect("a", V5, |_| ());
    client.subscribe("t", 0);
    client.stall();
    world.connect("p", V5, |_| ()).publish("t", 0, "x");
    client.send(&Packet::PingReq);
    assert_eq!(client.transmit_control(), Flow::Idle);
    client.expect_all(&["PINGRESP"]);
    client.resume();
    client.expect_all(&["PUBLISH t=x"]);
}

/// The floor: when everybody has left and every session has ended, the broker holds nothing and waits for nothing.
/// (Each world of these tests ends in the same way.)
#[test]
fn nothing_is_left_when_all_have_gone() {
    let world = World::new();
    let clients: Vec<_> = (0..20)
        .map(|number| {
            let client = world.connect(&number.to_string(), V5, |connect| {
                persistent(connect);
                connect.keep_alive = 60;
                connect.will = Some(will("w/x", "gone"));
                connect.properties.receive_maximum = NonZeroU16::new(3);
            });
            for filter in ["#", "t/+", "$share/g/#", "$share/h/t/x"] {
                client.subscribe(filter, 2);
            }
            client
        })
        .collect();
    for (number, client) in (0_u8..).zip(&clients) {
        client.start("t/x", number % 3, vec![b'x'; 1000 * usize::from(number)], |publish| {
            publish.properties.message_expiry = (number % 2 == 0).then_some(100);
        });
    }
    for client in clients {
        client.drop_link();
    }
    assert!(world.metrics().stored > 10);
    world.advance(3600);
    let metrics = world.metrics();
    assert_eq!((metrics.connections, metrics.sessions, metrics.subscriptions), (0, 0, 0));
    assert_eq!((metrics.stored, metrics.stored_bytes, metrics.retained), (0, 0, 0));
    assert_eq!(world.next_deadline(), None);
}

/// An acknowledged message is a promise: with the limits as they are, a burst behind a subscriber is kept.
#[test]
fn fifty_thousand_messages_behind_a_subscriber_are_kept() {
    for away in [false, true] {
        let world = World::new();
        world.quiet();
        let subscriber = world.connect("s", V3_1_1, persistent);
        subscriber.subscribe("t", 1);
        subscriber.stall();
        if away {
            subscriber.drop_link();
        }
        let publisher = world.connect("p", V3_1_1, |_| ());
        let mut bytes = Vec::new();
        for number in 0..50_000_u32 {
            let payload = number.to_be_bytes();
            let mut publish = columba_core::codec::Publish::new(name("t"), &payload);
            (publish.qos, publish.packet_id) = (level(1), PacketId::new(1));
            publish.encode(V3_1_1, &mut bytes).expect("it is one");
        }
        publisher.send_bytes(&bytes);
        assert_eq!(publisher.texts().len(), 50_000);
        let subscriber = if away { world.connect("s", V3_1_1, persistent) } else { subscriber };
        subscriber.resume();
        for number in 0..50_000_u32 {
            let received = subscriber.next();
            let Packet::Publish(publish) = received.packet() else { panic!("{}", received.text) };
            assert_eq!(publish.payload, number.to_be_bytes());
            subscriber.ack(PubAck, publish.packet_id.map_or(0, PacketId::get));
        }
        subscriber.expect_nothing();
        let metrics = world.metrics();
        assert_eq!((metrics.dropped_queue_full, metrics.publishes_refused, metrics.stored), (0, 0, 0));
    }
}

/// Clients that read nothing, in every number: the one that reads gets everything at once.
#[test]
fn slow_consumers_do_not_affect_others() {
    for policy in [FullQueue::DropNewest, FullQueue::DropOldest, FullQueue::DisconnectConsumer] {
        let world = World::with(|config| {
            config.limits.queued_bytes = 10_000;
            config.full_queue = policy;
        });
        world.quiet();
        let stalled: Vec<_> = (0..10)
            .map(|number| {
                let client = world.connect(&number.to_string(), V5, |_| ());
                client.subscribe("#", number % 3);
                client.stall();
                client
            })
            .collect();
        let reader = world.connect("reader", V5, |_| ());
        reader.subscribe("#", 2);
        let publisher = world.connect("p", V5, |_| ());
        for number in 0..200_u8 {
            publisher.publish("t", number % 3, number.to_string());
            assert_eq!(reader.messages(), [format!("t={number}")]);
        }
        let metrics = world.metrics();
        assert!(metrics.stored_bytes <= 20_000, "{metrics:?}");
        assert!(metrics.dropped_queue_full > 0);
        assert_eq!(stalled.len(), 10);
    }
}
