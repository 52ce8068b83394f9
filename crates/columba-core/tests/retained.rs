//! Retained messages: what is kept, who gets it and when it goes.

use columba_core::codec::{PacketId, RetainHandling, SubscriptionOptions};

use crate::world::{ALL, Client, V3_1_1, V5, World, level, name, persistent};

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
