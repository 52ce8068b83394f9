//! Retained messages: what is kept, who gets it and when it goes.

use columba_core::codec::{Connect, PacketId, RetainHandling, SubscriptionOptions, Will};
use columba_core::{DropCause, Event, EventMask, Limits, MESSAGE_OVERHEAD};

use crate::world::{ALL, Client, V3_1_1, V5, World, level, name, persistent, will};

fn retained(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    world.core(|core, _| {
        core.retained(None, |topic, payload| {
            found.push(format!("{topic}={}", String::from_utf8_lossy(payload)));
        });
    });
    found.sort();
    found
}

/// What a new subscription to this filter brings.
fn brought(world: &World, filter: &str) -> Vec<String> {
    let client = world.connect("a new one", V5, |_| ());
    client.subscribe(filter, 0);
    let mut messages = client.messages();
    messages.sort();
    messages
}

/// [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-7] [MQTT-3.3.1-8], [MQTT-3.3.1-5 of 3.1.1] [MQTT-3.3.1-7 of 3.1.1]
/// [MQTT-3.3.1-10 of 3.1.1] [MQTT-3.3.1-11 of 3.1.1] [MQTT-3.3.1-12 of 3.1.1]
#[test]
fn the_last_retained_message_of_a_topic_is_kept() {
    for version in ALL {
        for qos in 0..3 {
            let world = World::new();
            let watcher = world.connect("w", V5, |_| ());
            watcher.subscribe("#", 0);
            let publisher = world.connect("p", version, |_| ());
            publisher.retain("t", qos, "first");
            publisher.retain("t", qos, "second");
            publisher.retain("u", qos, "other");
            publisher.publish("t", qos, "passing");
            publisher.publish("t", qos, "");
            assert_eq!(retained(&world), ["t=second", "u=other"]);
            publisher.retain("t", qos, "");
            publisher.retain("never", qos, "");
            assert_eq!(retained(&world), ["u=other"]);
            // Processed normally besides.
            let expected = ["t=first", "t=second", "u=other", "t=passing", "t=", "t=", "never="];
            assert_eq!(watcher.messages(), expected);
            assert_eq!(brought(&world, "#"), ["u=other"]);
        }
    }
}

/// [MQTT-3.3.1-6 of 3.1.1] [MQTT-3.3.1-8 of 3.1.1]
#[test]
fn a_retained_message_comes_with_its_flag_and_the_lower_qos() {
    for version in ALL {
        for published in 0..3 {
            for granted in 0..3 {
                let world = World::new();
                world.connect("p", V5, |_| ()).retain("t", published, "x");
                let client = world.connect("a", version, |_| ());
                client.subscribe("t", granted);
                client.expect_all(&[match published.min(granted) {
                    0 => "PUBLISH t=x retain",
                    1 => "PUBLISH t=x q1 #1 retain",
                    _ => "PUBLISH t=x q2 #1 retain",
                }]);
            }
        }
    }
}

/// [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] [MQTT-3.8.4-4]
#[test]
fn retain_handling_says_when_they_come() {
    for (handling, at_first, again) in [
        (RetainHandling::Send, true, true),
        (RetainHandling::SendIfNew, true, false),
        (RetainHandling::DoNotSend, false, false),
    ] {
        let world = World::new();
        world.connect("p", V5, |_| ()).retain("t", 0, "x");
        let client = world.connect("a", V5, persistent);
        let subscribe = |client: &Client, filter| {
            client.subscribe_with(filter, 1, None, |options| options.retain_handling = handling);
            client.messages().len()
        };
        assert_eq!(subscribe(&client, "t"), usize::from(at_first));
        assert_eq!(subscribe(&client, "t"), usize::from(again));
        assert_eq!(subscribe(&client, "+"), usize::from(at_first), "another filter is a new subscription");
        client.drop_link();
        let client = world.connect("a", V5, persistent);
        client.expect_nothing();
        assert_eq!(subscribe(&client, "t"), usize::from(again), "it lasts as long as the session");
        client.unsubscribe(&["t"]);
        assert_eq!(subscribe(&client, "t"), usize::from(at_first));
    }
}

/// Older clients get them whenever they subscribe. [MQTT-3.8.4-3 of 3.1.1]
#[test]
fn older_clients_get_them_each_time() {
    let world = World::new();
    world.connect("p", V5, |_| ()).retain("t", 0, "x");
    let client = world.connect("a", V3_1_1, |_| ());
    for _ in 0..2 {
        client.subscribe("t", 0);
        client.expect_all(&["PUBLISH t=x retain"]);
    }
}

/// The same filters, the same topics as for subscriptions. [MQTT-4.7.2-1]
#[test]
fn filters_bring_what_they_match() {
    let topics = ["a", "/", "/a", "a/", "a//b", "a/b", "a/b/c", "ä/b", "$a", "$a/b", "a/$b", "日本/語"];
    for filter in [
        "#", "+", "+/+", "/+", "/#", "+/", "a", "a/#", "a/+", "a/+/#", "a/+/b", "a//b", "+/b/#", "+/+/+",
        "$a/#", "$a/+", "x/#",
    ] {
        let world = World::new();
        let publisher = world.connect("p", V5, |_| ());
        for topic in topics {
            publisher.retain(topic, 0, "x");
        }
        let parsed = columba_core::codec::TopicFilter::parse(filter).expect("it is one");
        let mut expected: Vec<_> = topics
            .iter()
            .filter(|topic| parsed.matches(name(topic)))
            .map(|topic| format!("{topic}=x"))
            .collect();
        expected.sort();
        assert_eq!(brought(&world, filter), expected, "{filter}");
    }
}

/// With everything a message has; the flag stays, whatever Retain As Published says.
#[test]
fn a_retained_message_keeps_its_properties_and_brings_the_identifier() {
    for as_published in [false, true] {
        let world = World::new();
        world.connect("p", V5, |_| ()).publish_with("t", 1, "x", |publish| {
            publish.retain = true;
            publish.properties.content_type = Some("c");
            publish.properties.message_expiry = Some(100);
            publish.topic_alias = PacketId::new(3);
        });
        world.advance(40);
        let client = world.connect("a", V5, |_| ());
        client.subscribe_with("+", 1, Some(9), |options| options.retain_as_published = as_published);
        client.expect_all(&["PUBLISH t=x q1 #1 retain ids=9 expiry=60 type=c"]);
    }
}

#[test]
fn a_retained_message_expires() {
    for (seconds, kept) in [(9, true), (10, false)] {
        let world = World::new();
        let publisher = world.connect("p", V5, |_| ());
        publisher.publish_with("t", 0, "x", |publish| {
            (publish.retain, publish.properties.message_expiry) = (true, Some(10));
        });
        world.advance(seconds);
        assert_eq!(world.metrics().retained, usize::from(kept));
        assert_eq!(brought(&world, "t").len(), usize::from(kept));
        // What replaces it has its own time, or none.
        publisher.retain("t", 0, "y");
        world.advance(1000);
        assert_eq!(brought(&world, "t"), ["t=y"]);
    }
}

/// One that was on its way when it expired is finished where that has begun, and gone where not.
#[test]
fn a_retained_message_expires_in_the_queue() {
    let world = World::new();
    world.connect("p", V5, |_| ()).publish_with("t", 1, "x", |publish| {
        (publish.retain, publish.properties.message_expiry) = (true, Some(10));
    });
    let sent = world.connect("sent", V5, persistent);
    sent.subscribe("t", 1);
    sent.expect("PUBLISH t=x q1 #1 retain expiry=10");
    let waits = world.connect("waits", V5, |_| ());
    waits.subscribe("none", 1);
    waits.stall();
    waits.send_bytes(b"\x82\x07\x00\x09\x00\x00\x01t\x01");
    world.advance(10);
    waits.resume();
    waits.expect_all(&["SUBACK #9 01"]);
    sent.drop_link();
    world.connect("sent", V5, persistent).expect_all(&["PUBLISH t=x q1 #1 dup retain expiry=0"]);
    assert_eq!((world.metrics().retained, world.metrics().retained_bytes), (0, 0));
}

/// [MQTT-3.1.2-7 of 3.1.1]
#[test]
fn retained_messages_outlive_their_publisher() {
    for version in ALL {
        let world = World::new();
        world.connect("p", version, |_| ()).retain("t", 1, "x");
        let publisher = world.connect("p", version, |_| ());
        publisher.disconnect();
        world.advance(1_000_000);
        assert_eq!(brought(&world, "t"), ["t=x"]);
    }
}

/// A message that waits as a retained one is that message, whatever is retained meanwhile.
#[test]
fn what_waits_is_not_changed_by_what_comes() {
    let world = World::new();
    let publisher = world.connect("p", V5, |_| ());
    publisher.retain("t", 1, "old");
    let client = world.connect("a", V5, |_| ());
    client.stall();
    client.send_bytes(b"\x82\x07\x00\x09\x00\x00\x01t\x01");
    publisher.retain("t", 1, "new");
    publisher.retain("t", 1, "");
    client.resume();
    client.expect("SUBACK #9 01");
    client.expect_all(&["PUBLISH t=old q1 #1 retain", "PUBLISH t=new q1 #2", "PUBLISH t= q1 #3"]);
}

/// Large payloads are shared with the buffer they came in, but not those that stay.
#[test]
fn large_messages_are_retained_like_small_ones() {
    for size in [8191, 8192, 100_000] {
        let world = World::new();
        let publisher = world.connect("p", V5, |_| ());
        let payload = vec![b'x'; size];
        publisher.retain("t", 1, &payload);
        let metrics = world.metrics();
        assert_eq!(metrics.stored_bytes, metrics.retained_bytes);
        let client = world.connect("a", V5, |_| ());
        client.subscribe("t", 2);
        publisher.retain("t", 1, "");
        let first = client.next();
        assert_eq!(first.text, format!("PUBLISH t=<{size} bytes> q1 #1 retain"));
        client.ack(columba_core::codec::PacketType::PubAck, 1);
        client.expect("PUBLISH t= q1 #2");
    }
}

/// A broker with limits of retained messages and room for `t=small`, which it has.
fn tight(adjust: fn(&mut Limits)) -> World {
    let world = World::with(|config| {
        config.events = EventMask::ALL;
        adjust(&mut config.limits);
    });
    world.connect("first", V5, |_| ()).retain("t", 1, "small");
    world.events();
    world
}

/// Such limits, with a topic and a payload that are too much for them.
type Tight = (fn(&mut Limits), &'static str, &'static str);

const TIGHT: [Tight; 4] = [
    (|limits| limits.retained_payload = 5, "t", "large."),
    (|limits| limits.retained_bytes = MESSAGE_OVERHEAD + 6, "t", "large."),
    (|limits| limits.retained_messages = 1, "u", "more"),
    (|limits| limits.retained_levels = 1, "u", "more"),
];

/// At QoS 0 nobody can be told that there is no room to retain a message: it is delivered, what it was to replace is
/// gone, and the loss is counted and reported. [MQTT-3.3.1-5], [MQTT-3.3.1-7 of 3.1.1]
#[test]
fn at_qos_0_what_cannot_be_retained_is_delivered_and_ends_what_was() {
    for version in ALL {
        for (limits, topic, payload) in TIGHT {
            let world = tight(limits);
            let watcher = world.connect("w", V5, |_| ());
            watcher
                .subscribe_with("+", 1, None, |options| options.retain_handling = RetainHandling::DoNotSend);
            let publisher = world.connect("p", version, |_| ());
            world.events();
            publisher.retain(topic, 0, payload);
            assert_eq!(watcher.messages(), [format!("{topic}={payload}")]);
            let expected: &[&str] = if topic == "t" { &[] } else { &["t=small"] };
            assert_eq!(retained(&world), expected);
            let metrics = world.metrics();
            assert_eq!((metrics.not_retained, metrics.publishes_refused), (1, 0));
            let events = world.events();
            let lost = |event: &Event| match event {
                Event::Dropped { client_id, topic: lost, qos, cause: DropCause::NotRetained } => {
                    (&**client_id, &**lost, *qos) == ("p", topic, level(0))
                }
                _ => false,
            };
            assert_eq!(events.iter().filter(|&event| lost(event)).count(), 1, "{events:?}");
            assert_eq!(events.iter().filter(|event| event.kind() == EventMask::PUBLISHED).count(), 1);
            publisher.retain("t", 0, "again");
            assert_eq!(retained(&world), ["t=again"]);
            assert_eq!(world.metrics().not_retained, 1);
        }
    }
}

/// A will is a message like any other.
#[test]
fn a_will_at_qos_0_that_cannot_be_retained_ends_what_was() {
    let world = tight(TIGHT[0].0);
    let watcher = world.connect("w", V5, |_| ());
    watcher.subscribe("t", 0);
    watcher.expect("PUBLISH t=small retain");
    let connect =
        |connect: &mut Connect<'_>| connect.will = Some(Will { retain: true, ..will("t", "large.") });
    world.connect("a", V5, connect).drop_link();
    watcher.expect_all(&["PUBLISH t=large."]);
    assert_eq!((world.metrics().retained, world.metrics().not_retained), (0, 1));
}

/// Above QoS 0 the publisher is refused, so nothing changes and nobody gets the message.
#[test]
fn at_qos_1_and_2_what_cannot_be_retained_is_refused() {
    for version in ALL {
        for (limits, topic, payload) in TIGHT {
            for qos in [1, 2] {
                let world = tight(limits);
                let watcher = world.connect("w", V5, |_| ());
                let options = |options: &mut SubscriptionOptions| {
                    options.retain_handling = RetainHandling::DoNotSend;
                };
                watcher.subscribe_with("+", 1, None, options);
                let publisher = world.connect("p", version, |_| ());
                publisher.start(topic, qos, payload, |publish| publish.retain = true);
                match (version, qos) {
                    (V5, 1) => publisher.expect_all(&["PUBACK #1 97"]),
                    (V5, _) => publisher.expect_all(&["PUBREC #1 97"]),
                    _ => publisher.expect_closed(),
                }
                watcher.expect_nothing();
                assert_eq!(retained(&world), ["t=small"]);
                let metrics = world.metrics();
                assert_eq!((metrics.not_retained, metrics.publishes_refused), (0, 1));
            }
        }
    }
}

/// What a message at QoS 0 replaces makes room for it at the ceiling of everything stored, and goes also where that is
/// not enough. [MQTT-3.3.1-5], [MQTT-3.3.1-7 of 3.1.1]
#[test]
fn at_qos_0_what_was_retained_goes_also_at_the_ceiling() {
    for version in ALL {
        for (size, fits) in [(200, true), (201, false)] {
            let payload = |size: usize| vec![b'x'; size - MESSAGE_OVERHEAD - "t".len()];
            let world = World::with(|config| config.limits.stored_bytes = 400);
            let slow = world.connect("slow", V5, |_| ());
            slow.subscribe("s", 1);
            slow.stall();
            let watcher = world.connect("w", V5, |_| ());
            watcher.subscribe("t", 0);
            let publisher = world.connect("p", version, |_| ());
            publisher.publish("s", 1, payload(200));
            publisher.retain("t", 1, payload(200));
            assert_eq!(watcher.messages().len(), 1);
            publisher.retain("t", 0, payload(size));
            publisher.ping();
            assert_eq!(watcher.messages().len(), usize::from(fits));
            let metrics = world.metrics();
            assert_eq!((metrics.retained, metrics.stored), (usize::from(fits), 1 + usize::from(fits)));
            assert_eq!((metrics.not_retained, metrics.publishes_refused), (0, u64::from(!fits)));
            slow.resume();
        }
    }
}

/// A retained message is counted once, with its replays on the way.
#[test]
fn retained_bytes_are_what_is_retained() {
    let world = World::new();
    let publisher = world.connect("p", V5, |_| ());
    for round in 0..3 {
        for topic in 0..10 {
            publisher.retain(&format!("t/{topic}"), 1, vec![b'x'; round * 1000]);
        }
        let client = world.connect("a", V5, |_| ());
        client.subscribe("#", 1);
        let metrics = world.metrics();
        assert_eq!(metrics.retained, if round == 0 { 0 } else { 10 });
        assert_eq!(metrics.retained_bytes, metrics.stored_bytes);
    }
    let options = SubscriptionOptions { qos: level(0), ..SubscriptionOptions::default() };
    assert_eq!(publisher.ask(&[("t/1", options)], None), [0]);
}
