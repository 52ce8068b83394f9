//! PUBLISH (§ 3.3): its flags and its topic.

use columba_testkit::Client;

use crate::exchange::{answered, closed, message, messages_before, raw_publish};
use crate::stage::{Group, Stage, tests};

pub(crate) const TESTS: &[Group] = &[
    tests!(ALL =>
        a_message_at_qos_0_is_not_answered,
        the_duplicate_mark_of_a_publisher_is_not_passed_on,
        a_message_at_qos_0_is_never_marked_as_a_duplicate,
        a_message_with_both_qos_bits_closes_the_connection,
        what_the_broker_sends_begins_with_the_topic,
        a_message_too_short_for_its_topic_closes_the_connection,
        a_topic_that_is_not_utf_8_closes_the_connection,
        a_topic_with_wildcards_closes_the_connection,
        a_client_gets_what_its_filter_matches_and_nothing_else,
    ),
    tests!(NUMBERED => a_duplicate_at_qos_0_closes_the_connection),
    tests!(OLD => a_message_that_is_not_allowed_is_acknowledged_or_ends_the_connection),
];

/// [MQTT-3.3.4-1] [MQTT-3.3.4-1 of 3.1.1]
fn a_message_at_qos_0_is_not_answered(stage: &Stage) {
    let client = stage.connect("p", |_| ());
    client.start("publish/unanswered", 0, "x", |_| ());
    client.expect_nothing();
}

/// [MQTT-3.3.1-3] [MQTT-3.3.1-3 of 3.1.1]
fn the_duplicate_mark_of_a_publisher_is_not_passed_on(stage: &Stage) {
    let subscriber = stage.connect("s", |_| ());
    subscriber.subscribe("publish/dup", 2);
    let publisher = stage.connect("p", |_| ());
    publisher.publish_with("publish/dup", 1, "a", |publish| publish.dup = true);
    message(&subscriber, "publish/dup=a q1");
    publisher.publish_with("publish/dup", 2, "b", |publish| publish.dup = true);
    message(&subscriber, "publish/dup=b q2");
}

/// [MQTT-3.3.1-2] [MQTT-4.3.1-1] [MQTT-3.3.1-2 of 3.1.1] [MQTT-4.3.1-1 of 3.1.1]
fn a_message_at_qos_0_is_never_marked_as_a_duplicate(stage: &Stage) {
    let subscriber = stage.connect("s", |_| ());
    subscriber.subscribe("publish/dup0", 0);
    let publisher = stage.connect("p", |_| ());
    for qos in 0..3 {
        publisher.publish_with("publish/dup0", qos, "x", |publish| publish.dup = qos > 0);
        let received = subscriber.next();
        subscriber.check(received.text() == "PUBLISH publish/dup0=x", || received.text().to_owned());
        // The flags as they are on the wire, as a reader of 3.1 may pass over DUP at QoS 0.
        subscriber.check(received.bytes()[0] == 0x30, || format!("flags {:02x}", received.bytes()[0]));
    }
}

/// [MQTT-3.3.1-2] [MQTT-3.3.1-2 of 3.1.1]
fn a_duplicate_at_qos_0_closes_the_connection(stage: &Stage) {
    refused(stage, "publish/own-dup0", |client| {
        client.send_bytes(&raw_publish(stage.version, 0b1000, b"publish/own-dup0", b"", b"x"));
    });
}

/// [MQTT-3.3.1-4] [MQTT-3.3.1-4 of 3.1.1]
fn a_message_with_both_qos_bits_closes_the_connection(stage: &Stage) {
    refused(stage, "publish/qos3", |client| {
        client.send_bytes(&raw_publish(stage.version, 0b0110, b"publish/qos3", b"", b"x"));
    });
}

/// [MQTT-3.3.2-1] [MQTT-3.3.2-1 of 3.1.1]
fn what_the_broker_sends_begins_with_the_topic(stage: &Stage) {
    let topic = "publish/begin/ä€𝄞";
    let subscriber = stage.connect("s", |_| ());
    subscriber.subscribe(topic, 2);
    let publisher = stage.connect("p", |_| ());
    for qos in 0..3 {
        publisher.publish(topic, qos, "x");
        let received = subscriber.next();
        let mut expected = vec![0, topic.len() as u8];
        expected.extend_from_slice(topic.as_bytes());
        let found = &received.bytes()[2..2 + expected.len()];
        subscriber.check(found == expected, || format!("{found:02x?} instead of {expected:02x?}"));
    }
}

/// [MQTT-3.3.2-1] [MQTT-3.3.2-1 of 3.1.1]
fn a_message_too_short_for_its_topic_closes_the_connection(stage: &Stage) {
    let short: [&[u8]; 4] = [b"\x30\x00", b"\x30\x01\x00", b"\x30\x03\x00\x05p", b"\x32\x04\x00\x09pu"];
    for bytes in short {
        refused(stage, "publish/short", |client| client.send_bytes(bytes));
    }
}

/// [MQTT-3.3.2-1] [MQTT-3.3.2-1 of 3.1.1]
fn a_topic_that_is_not_utf_8_closes_the_connection(stage: &Stage) {
    // A byte that begins nothing, a sequence that ends too early, an overlong form, half a surrogate pair, and beyond
    // the last code point.
    let wrong: [&[u8]; 5] = [b"\xff", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"];
    for bytes in wrong {
        let topic = [b"publish/utf8/", bytes].concat();
        refused(stage, "publish/utf8/#", |client| {
            client.send_bytes(&raw_publish(stage.version, 0, &topic, b"", b"x"));
        });
    }
}

/// [MQTT-3.3.2-2] [MQTT-3.3.2-2 of 3.1.1]
fn a_topic_with_wildcards_closes_the_connection(stage: &Stage) {
    for topic in
        ["publish/wild/+", "publish/wild/#", "publish/wild/+/x", "publish/wild/a+", "publish/wild/a#"]
    {
        refused(stage, "publish/wild/#", |client| {
            client.send_bytes(&raw_publish(stage.version, 0, topic.as_bytes(), b"", b"x"));
        });
    }
}

/// [MQTT-3.3.2-3] [MQTT-3.3.2-3 of 3.1.1]
fn a_client_gets_what_its_filter_matches_and_nothing_else(stage: &Stage) {
    let topics = ["a", "a/", "a/b", "a/b/", "a/b/c", "A/b", "ab", "c/b", "/a/b", "a//b"];
    let cases: [(&str, &[&str]); 6] = [
        ("a/b", &["a/b"]),
        ("a/+", &["a/", "a/b"]),
        ("a/#", &["a", "a/", "a//b", "a/b", "a/b/", "a/b/c"]),
        ("+/b", &["A/b", "a/b", "c/b"]),
        ("+/+/b", &["/a/b", "a//b"]),
        ("a/+/b", &["a//b"]),
    ];
    let publisher = stage.connect("p", |_| ());
    for (number, (filter, expected)) in cases.into_iter().enumerate() {
        let root = format!("publish/match{number}");
        let subscriber = stage.connect("s", |_| ());
        subscriber.subscribe(&format!("{root}/{filter}"), 1);
        subscriber.subscribe(&format!("{root}/the/last/of/them"), 1);
        for topic in topics {
            publisher.publish(&format!("{root}/{topic}"), 1, "x");
        }
        publisher.publish(&format!("{root}/the/last/of/them"), 1, "x");
        let mut found = messages_before(&subscriber, &format!("{root}/the/last/of/them=x"));
        // Across topics there is no order.
        found.sort();
        let mut expected: Vec<_> = expected.iter().map(|topic| format!("{root}/{topic}=x")).collect();
        expected.sort();
        subscriber.check(found == expected, || format!("{filter}: {found:?} instead of {expected:?}"));
    }
}

/// Nobody but the broker publishes under `$SYS/`; where one allows it, it acknowledges as well.
/// [MQTT-3.3.5-2 of 3.1.1]
fn a_message_that_is_not_allowed_is_acknowledged_or_ends_the_connection(stage: &Stage) {
    for (qos, answer) in [(1, "PUBACK"), (2, "PUBREC")] {
        let client = stage.connect("p", |_| ());
        let id = client.start("$SYS/conformance/publish", qos, "x", |_| ());
        let texts: Vec<_> = client.drain().iter().map(|received| received.text().to_owned()).collect();
        let fine = if client.is_open() { texts == [format!("{answer} #{id}")] } else { texts.is_empty() };
        client.check(fine, || format!("{texts:?}"));
    }
    let client = stage.connect("p", |_| ());
    client.publish("publish/allowed", 1, "x");
}

/// The connection is closed for what `send` sends, and none of it reaches a client that subscribes to `filter`.
#[track_caller]
fn refused(stage: &Stage, filter: &str, send: impl FnOnce(&Client)) {
    let subscriber = stage.connect("s", |_| ());
    subscriber.subscribe(filter, 0);
    let client = stage.connect("refused", |_| ());
    send(&client);
    // 0x90, topic name invalid, is for names that are well-formed, and so a hair's breadth from those with wildcards.
    closed(&client, 0x90);
    let topic = filter.replace('#', "last");
    let publisher = stage.connect("p", |_| ());
    let id = publisher.start(&topic, 1, "last", |_| ());
    answered(&publisher, "PUBACK", id);
    subscriber.expect_all(&[format!("PUBLISH {topic}=last")]);
}
