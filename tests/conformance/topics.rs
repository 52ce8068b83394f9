//! Topic names and filters: what is one, and what matches what.

use columba_testkit::Version;
use columba_testkit::codec::{Packet, SubscriptionOptions};

use crate::raw::{field, packet};
use crate::stage::{Group, Stage, tests};
use crate::steps::{
    EITHER_ERROR, at, codes_of, ends_over, filter_is_refused, is_refused, raw_publish, raw_subscribe,
    raw_unsubscribe,
};

pub(crate) const TESTS: &[Group] = &[
    tests!(ALL =>
        a_wildcard_in_a_topic_name_ends_the_connection,
        a_wildcard_in_the_topic_of_a_will_is_refused,
        a_multi_level_wildcard_matches_its_parent_and_all_below,
        a_multi_level_wildcard_alone_matches_every_topic,
        a_single_level_wildcard_matches_one_level_wherever_it_is,
        a_single_level_wildcard_matches_a_level_that_is_empty,
        wildcards_may_be_combined,
        a_filter_without_wildcards_matches_its_topic_only,
        a_filter_that_begins_with_a_multi_level_wildcard_matches_no_dollar_topic,
        a_filter_that_begins_with_a_single_level_wildcard_matches_no_dollar_topic,
        retained_dollar_topics_are_matched_by_no_filter_that_begins_with_a_wildcard,
        topics_that_begin_with_a_dollar_are_matched_by_their_name,
        a_dollar_further_on_means_nothing,
        topics_are_not_normalised,
        filters_with_wildcards_are_not_normalised,
        characters_from_everywhere_arrive_as_they_are,
    ),
    tests!(NUMBERED =>
        a_multi_level_wildcard_has_its_places,
        a_single_level_wildcard_fills_a_level,
        an_empty_topic_name_ends_the_connection,
        an_empty_filter_is_refused,
        an_empty_filter_cannot_be_unsubscribed,
        the_topic_of_a_will_cannot_be_empty,
        a_zero_character_in_a_topic_name_ends_the_connection,
        a_zero_character_in_a_filter_ends_the_connection,
        a_topic_of_65535_bytes_passes,
    ),
];

/// What a broker may say of a topic name that is none.
const TOPIC_NAME: &[u8] = &[0x80, 0x81, 0x82, 0x90];
/// The same in CONNACK before 5.0, where there is a code for nothing of the kind.
const REFUSED: &[u8] = &[1, 2, 3, 4, 5, 0x80, 0x81, 0x82, 0x90];

/// [MQTT-4.7.0-1] [MQTT-4.7.1-1 of 3.1.1]
fn a_wildcard_in_a_topic_name_ends_the_connection(stage: &Stage) {
    for topic in ["#", "+", "topics/#", "topics/+", "+/topics", "topics/+/x", "topics/a#", "topics/a+b"] {
        ends_over(stage, &raw_publish(stage, topic.as_bytes()), TOPIC_NAME);
    }
}

/// [MQTT-4.7.0-1] [MQTT-4.7.1-1 of 3.1.1]
fn a_wildcard_in_the_topic_of_a_will_is_refused(stage: &Stage) {
    for topic in ["topics/#", "+/topics"] {
        let client = stage.open("breaker");
        client.send_bytes(&connect_with_will(stage, topic.as_bytes()));
        is_refused(&client, REFUSED);
    }
}

/// [MQTT-4.7.1-1] [MQTT-4.7.1-2 of 3.1.1]
fn a_multi_level_wildcard_matches_its_parent_and_all_below(stage: &Stage) {
    matches(
        stage,
        "topics/multi/#",
        &[
            ("topics/multi", true),
            ("topics/multi/", true),
            ("topics/multi/a", true),
            ("topics/multi/a/b/c", true),
            ("topics/multi//b", true),
            ("topics", false),
            ("topics/mult", false),
            ("topics/multis", false),
            ("topics/multis/a", false),
            ("/topics/multi/a", false),
        ],
    );
}

/// [MQTT-4.7.1-1] [MQTT-4.7.1-2 of 3.1.1]
fn a_multi_level_wildcard_alone_matches_every_topic(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    client.subscribe("#", 0);
    let publisher = stage.connect("publisher", |_| ());
    let topics = ["topics", "/", "/topics", "topics/", "topics//a", "topics/a/b/c/d"];
    for topic in topics {
        publisher.publish(topic, 0, "alone");
    }
    // Others may come, too: retained ones of other tests, in a broker that runs on.
    let mut found = client.messages();
    found.retain(|message| message.ends_with("=alone"));
    client.check(found == topics.map(|topic| format!("{topic}=alone")), || format!("{found:?}"));
}

/// [MQTT-4.7.1-2] [MQTT-4.7.1-3 of 3.1.1]
fn a_single_level_wildcard_matches_one_level_wherever_it_is(stage: &Stage) {
    matches(
        stage,
        "+/topics/single",
        &[
            ("a/topics/single", true),
            ("b/topics/single", true),
            ("topics/single", false),
            ("a/b/topics/single", false),
            ("a/topics/single/b", false),
        ],
    );
    matches(
        stage,
        "topics/+/single",
        &[("topics/a/single", true), ("topics/single", false), ("topics/a/b/single", false)],
    );
    matches(
        stage,
        "topics/single/+",
        &[
            ("topics/single/a", true),
            ("topics/single/bcd", true),
            ("topics/single", false),
            ("topics/single/a/b", false),
        ],
    );
}

/// [MQTT-4.7.1-2] [MQTT-4.7.1-3 of 3.1.1]
fn a_single_level_wildcard_matches_a_level_that_is_empty(stage: &Stage) {
    matches(stage, "+/topics/empty", &[("/topics/empty", true), ("topics/empty", false)]);
    matches(stage, "topics/+/empty", &[("topics//empty", true), ("topics/empty", false)]);
    matches(stage, "topics/empty/+", &[("topics/empty/", true), ("topics/empty", false)]);
    matches(stage, "/+", &[("/topics-empty", true), ("topics-empty", false), ("/topics-empty/a", false)]);
}

/// [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.1-2 of 3.1.1] [MQTT-4.7.1-3 of 3.1.1]
fn wildcards_may_be_combined(stage: &Stage) {
    matches(
        stage,
        "+/topics/combined/#",
        &[
            ("a/topics/combined", true),
            ("a/topics/combined/b/c", true),
            ("topics/combined/b", false),
            ("a/b/topics/combined", false),
        ],
    );
    matches(
        stage,
        "topics/combined/+/+",
        &[
            ("topics/combined/a/b", true),
            ("topics/combined//", true),
            ("topics/combined/a", false),
            ("topics/combined/a/b/c", false),
        ],
    );
    matches(
        stage,
        "topics/combined/+/#",
        &[("topics/combined/a", true), ("topics/combined/a/b/c", true), ("topics/combined", false)],
    );
}

/// [MQTT-4.7.3-4] [MQTT-4.7.3-4 of 3.1.1]
fn a_filter_without_wildcards_matches_its_topic_only(stage: &Stage) {
    matches(
        stage,
        "topics/plain",
        &[
            ("topics/plain", true),
            ("topics/plain/", false),
            ("topics/plain/a", false),
            ("topics", false),
            ("plain", false),
            ("/topics/plain", false),
            ("a/topics/plain", false),
        ],
    );
}

/// [MQTT-4.7.2-1] [MQTT-4.7.2-1 of 3.1.1]
fn a_filter_that_begins_with_a_multi_level_wildcard_matches_no_dollar_topic(stage: &Stage) {
    no_dollar_topic(stage, "#");
}

/// [MQTT-4.7.2-1] [MQTT-4.7.2-1 of 3.1.1]
fn a_filter_that_begins_with_a_single_level_wildcard_matches_no_dollar_topic(stage: &Stage) {
    for filter in ["+", "+/topics", "+/topics/#", "+/+", "+/#", "+/+/#"] {
        no_dollar_topic(stage, filter);
    }
}

fn no_dollar_topic(stage: &Stage, filter: &str) {
    let client = stage.connect("subscriber", |_| ());
    client.subscribe(filter, 0);
    let publisher = stage.connect("publisher", |_| ());
    let topics = ["$topics", "$topics/topics", "$topics/topics/a", "$", "$/topics"];
    for topic in topics {
        publisher.publish(topic, 0, "dollar");
    }
    let found = client.messages();
    client.check(!found.iter().any(|message| message.starts_with('$')), || format!("{filter}: {found:?}"));
}

/// [MQTT-4.7.2-1] [MQTT-4.7.2-1 of 3.1.1]
fn retained_dollar_topics_are_matched_by_no_filter_that_begins_with_a_wildcard(stage: &Stage) {
    let publisher = stage.connect("publisher", |_| ());
    publisher.retain("$topics/retained", 1, "x");
    for filter in ["#", "+/retained", "+/#"] {
        let client = stage.connect("subscriber", |_| ());
        client.subscribe(filter, 0);
        let found = client.messages();
        client
            .check(!found.iter().any(|message| message.starts_with('$')), || format!("{filter}: {found:?}"));
    }
    publisher.retain("$topics/retained", 1, "");
}

/// [MQTT-4.7.2-1] keeps nothing else away. [MQTT-4.7.2-1 of 3.1.1]
fn topics_that_begin_with_a_dollar_are_matched_by_their_name(stage: &Stage) {
    matches(stage, "$topics/named/x", &[("$topics/named/x", true), ("topics/named/x", false)]);
    matches(stage, "$topics/named/#", &[("$topics/named", true), ("$topics/named/x", true)]);
    matches(stage, "$topics/+/x", &[("$topics/named/x", true)]);
}

/// [MQTT-4.7.2-1] is about the first character. [MQTT-4.7.2-1 of 3.1.1]
fn a_dollar_further_on_means_nothing(stage: &Stage) {
    matches(stage, "+/topics-dollar/#", &[("a$/topics-dollar", true), ("a/topics-dollar/$b", true)]);
    matches(stage, "+/$topics/further", &[("a/$topics/further", true)]);
    matches(stage, "topics/further/+", &[("topics/further/$SYS", true)]);
}

/// Each of these is another topic than all the others. [MQTT-4.7.3-4] [MQTT-4.7.3-4 of 3.1.1]
fn topics_are_not_normalised(stage: &Stage) {
    let topics = [
        "topics/normal/a",
        "topics/normal/A",
        "Topics/normal/a",
        "topics//normal/a",
        "topics/normal/a/",
        "/topics/normal/a",
        "topics/normal/ a",
        "topics/normal/a ",
        "topics/./normal/a",
        "topics/x/../normal/a",
        "topics%2Fnormal/a",
        "topics\\normal\\a",
        // One character, two that look the same, a ligature, a fullwidth letter, a mark that is not seen.
        "topics/normal/\u{e4}",
        "topics/normal/a\u{308}",
        "topics/normal/\u{fb01}",
        "topics/normal/fi",
        "topics/normal/\u{ff41}",
        "topics/normal/\u{feff}a",
        "topics/normal/a\u{200d}",
    ];
    let publisher = stage.connect("publisher", |_| ());
    let clients: Vec<_> =
        (0..topics.len()).map(|n| stage.connect(&format!("subscriber{n}"), |_| ())).collect();
    for (client, topic) in clients.iter().zip(topics) {
        client.subscribe(topic, 0);
    }
    for topic in topics {
        publisher.publish(topic, 0, "x");
    }
    for (client, topic) in clients.iter().zip(topics) {
        client.expect_all(&[format!("PUBLISH {topic}=x")]);
    }
}

/// [MQTT-4.7.3-4] [MQTT-4.7.3-4 of 3.1.1]
fn filters_with_wildcards_are_not_normalised(stage: &Stage) {
    matches(stage, "topics/\u{e4}/+", &[("topics/\u{e4}/x", true), ("topics/a\u{308}/x", false)]);
    matches(stage, "topics/Case/#", &[("topics/Case/x", true), ("topics/case/x", false)]);
    matches(stage, "topics//+/x", &[("topics//a/x", true), ("topics/a/x", false)]);
}

/// [MQTT-4.7.3-4] [MQTT-4.7.3-4 of 3.1.1]
fn characters_from_everywhere_arrive_as_they_are(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    client.subscribe("topics/everywhere/+", 0);
    let publisher = stage.connect("publisher", |_| ());
    for last in ["\u{fc}", "\u{65e5}\u{672c}", "\u{1f980}", "\u{feff}", "e\u{301}", "\u{fffd}", " "] {
        let topic = format!("topics/everywhere/{last}");
        publisher.publish(&topic, 0, "x");
        client.expect(&format!("PUBLISH {topic}=x"));
    }
}

/// [MQTT-4.7.1-1] [MQTT-4.7.1-2 of 3.1.1]
fn a_multi_level_wildcard_has_its_places(stage: &Stage) {
    for filter in
        ["topics/#/a", "topics#", "topics/a#", "#/topics", "topics/##", "##", "topics/#/", "#+", "topics/+#"]
    {
        filter_is_refused(stage, filter.as_bytes());
    }
}

/// [MQTT-4.7.1-2] [MQTT-4.7.1-3 of 3.1.1]
fn a_single_level_wildcard_fills_a_level(stage: &Stage) {
    for filter in [
        "topics+",
        "+topics",
        "topics/a+",
        "topics/+a",
        "topics/a+b",
        "topics/++",
        "topics/a+/b",
        "+a/topics",
    ] {
        filter_is_refused(stage, filter.as_bytes());
    }
}

/// [MQTT-4.7.3-1] [MQTT-4.7.3-1 of 3.1.1]
fn an_empty_topic_name_ends_the_connection(stage: &Stage) {
    ends_over(stage, &raw_publish(stage, b""), TOPIC_NAME);
}

/// [MQTT-4.7.3-1] [MQTT-4.7.3-1 of 3.1.1]
fn an_empty_filter_is_refused(stage: &Stage) {
    filter_is_refused(stage, b"");
}

/// [MQTT-4.7.3-1] [MQTT-4.7.3-1 of 3.1.1]
fn an_empty_filter_cannot_be_unsubscribed(stage: &Stage) {
    let client = stage.connect("breaker", |_| ());
    client.send_bytes(&raw_unsubscribe(stage, 0xa2, 5, &[b""]));
    for received in client.drain() {
        let refused = match received.packet() {
            Packet::Disconnect(_) => true,
            Packet::UnsubAck(_) => codes_of(&received).iter().all(|&code| code >= 0x80) && stage.is_v5(),
            _ => false,
        };
        client.check(refused, || received.text().to_owned());
    }
    client.check(!client.is_open() || stage.is_v5(), || "the connection is still open".to_owned());
}

/// [MQTT-4.7.3-1] [MQTT-4.7.3-1 of 3.1.1]
fn the_topic_of_a_will_cannot_be_empty(stage: &Stage) {
    let client = stage.open("breaker");
    client.send_bytes(&connect_with_will(stage, b""));
    is_refused(&client, REFUSED);
}

/// [MQTT-4.7.3-2] [MQTT-4.7.3-2 of 3.1.1]
fn a_zero_character_in_a_topic_name_ends_the_connection(stage: &Stage) {
    for topic in [&b"\x00"[..], b"topics/\x00", b"topics/a\x00b"] {
        ends_over(stage, &raw_publish(stage, topic), TOPIC_NAME);
    }
    let client = stage.open("breaker");
    client.send_bytes(&connect_with_will(stage, b"topics/\x00"));
    is_refused(&client, REFUSED);
}

/// [MQTT-4.7.3-2] [MQTT-4.7.3-2 of 3.1.1]
fn a_zero_character_in_a_filter_ends_the_connection(stage: &Stage) {
    for filter in [&b"\x00"[..], b"topics/\x00", b"topics/a\x00/+"] {
        ends_over(stage, &raw_subscribe(stage, 0x82, 1, &[(filter, 0)]), EITHER_ERROR);
        ends_over(stage, &raw_unsubscribe(stage, 0xa2, 1, &[filter]), EITHER_ERROR);
    }
}

/// [MQTT-4.7.3-3] [MQTT-4.7.3-3 of 3.1.1]
fn a_topic_of_65535_bytes_passes(stage: &Stage) {
    let topic = format!("topics/{}", "x".repeat(65_535 - 7));
    let publisher = stage.connect("publisher", |_| ());
    for filter in [topic.as_str(), "topics/+"] {
        let client = stage.connect("subscriber", |_| ());
        let code = client.ask(&[(filter, SubscriptionOptions::default())], None);
        client.check(code == [0], || format!("{code:02x?}"));
        publisher.publish(&topic, 0, "long");
        let received = client.next();
        let whole = match received.packet() {
            Packet::Publish(publish) => publish.topic.is_some_and(|name| name.as_str() == topic),
            _ => false,
        };
        client.check(whole, || format!("{} bytes of another packet", received.bytes().len()));
        client.expect_nothing();
    }
}

/// Subscribes to `filter`, publishes to each topic, and what comes is what is marked.
#[track_caller]
fn matches(stage: &Stage, filter: &str, topics: &[(&str, bool)]) {
    let client = stage.connect("subscriber", |_| ());
    let code = client.ask(&[(filter, at(0))], None);
    client.check(code == [0], || format!("{filter}: {code:02x?}"));
    client.drain();
    let publisher = stage.connect("publisher", |_| ());
    for (topic, _) in topics {
        publisher.publish(topic, 0, "x");
    }
    let wanted: Vec<_> =
        topics.iter().filter(|(_, comes)| *comes).map(|(topic, _)| format!("{topic}=x")).collect();
    let found = client.messages();
    client.check(found == wanted, || format!("{filter}: {found:?} instead of {wanted:?}"));
}

/// CONNECT with a will for this topic.
fn connect_with_will(stage: &Stage, topic: &[u8]) -> Vec<u8> {
    let head: &[u8] = match stage.version {
        Version::V3_1 => b"\x00\x06MQIsdp\x03\x06\x00\x00",
        Version::V3_1_1 => b"\x00\x04MQTT\x04\x06\x00\x00",
        Version::V5 => b"\x00\x04MQTT\x05\x06\x00\x00\x00",
    };
    let properties: &[u8] = if stage.is_v5() { &[0] } else { &[] };
    packet(0x10, &[head, &field(b"breaker"), properties, &field(topic), &field(b"will")].concat())
}
