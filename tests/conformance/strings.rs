//! Text: UTF-8 without the zero character, and nothing of it changed.

use crate::answers::{expect_sent_away, message, next_publish};
use crate::raw::{self, ILL_FORMED};
use crate::stage::{Group, Stage, tests};

pub(crate) const TESTS: &[Group] = &[
    tests!(NUMBERED =>
        a_topic_name_that_is_not_utf_8_closes_the_connection,
        a_topic_filter_that_is_not_utf_8_closes_the_connection,
        a_filter_to_unsubscribe_from_that_is_not_utf_8_closes_the_connection,
        a_topic_name_with_a_zero_character_closes_the_connection,
        a_topic_filter_with_a_zero_character_closes_the_connection,
        a_filter_to_unsubscribe_from_with_a_zero_character_closes_the_connection,
        characters_of_every_length_pass_unchanged,
        a_byte_order_mark_is_part_of_a_topic,
        a_byte_order_mark_makes_another_topic,
    ),
    tests!(ONLY_5 =>
        text_in_a_property_that_is_not_utf_8_closes_the_connection,
        text_in_a_property_with_a_zero_character_closes_the_connection,
        the_name_of_a_user_property_is_text,
        the_value_of_a_user_property_is_text,
        user_properties_pass_unchanged,
        a_byte_order_mark_in_a_property_stays,
    ),
];

/// [MQTT-1.5.4-1] [MQTT-1.5.3-1 of 3.1.1]
fn a_topic_name_that_is_not_utf_8_closes_the_connection(stage: &Stage) {
    for text in ILL_FORMED {
        expect_sent_away(stage, &raw::publish(stage.version, 0, text, None, b"x"));
    }
}

/// [MQTT-1.5.4-1] [MQTT-1.5.3-1 of 3.1.1]
fn a_topic_filter_that_is_not_utf_8_closes_the_connection(stage: &Stage) {
    for text in ILL_FORMED {
        expect_sent_away(stage, &raw::subscribe(stage.version, 0x82, 1, text, 0));
    }
}

/// [MQTT-1.5.4-1] [MQTT-1.5.3-1 of 3.1.1]
fn a_filter_to_unsubscribe_from_that_is_not_utf_8_closes_the_connection(stage: &Stage) {
    for text in ILL_FORMED {
        expect_sent_away(stage, &raw::unsubscribe(stage.version, 0xa2, 1, text));
    }
}

/// [MQTT-1.5.4-2] [MQTT-1.5.3-2 of 3.1.1]
fn a_topic_name_with_a_zero_character_closes_the_connection(stage: &Stage) {
    expect_sent_away(stage, &raw::publish(stage.version, 0, b"strings/\0", None, b"x"));
}

/// [MQTT-1.5.4-2] [MQTT-1.5.3-2 of 3.1.1]
fn a_topic_filter_with_a_zero_character_closes_the_connection(stage: &Stage) {
    expect_sent_away(stage, &raw::subscribe(stage.version, 0x82, 1, b"strings/\0", 0));
}

/// [MQTT-1.5.4-2] [MQTT-1.5.3-2 of 3.1.1]
fn a_filter_to_unsubscribe_from_with_a_zero_character_closes_the_connection(stage: &Stage) {
    expect_sent_away(stage, &raw::unsubscribe(stage.version, 0xa2, 1, b"strings/\0"));
}

/// The neighbours of what is no text. [MQTT-1.5.4-1] [MQTT-1.5.3-1 of 3.1.1]
fn characters_of_every_length_pass_unchanged(stage: &Stage) {
    let topic = "strings/a/\u{e4}/\u{20ac}/\u{d7ff}/\u{e000}/\u{fffd}/\u{10000}/\u{1f54a}/\u{10fffd}";
    let client = stage.connect("a", |_| ());
    client.subscribe(topic, 0);
    client.publish(topic, 0, "x");
    message(&client, &format!("{topic}=x"));
}

/// [MQTT-1.5.4-3] [MQTT-1.5.3-3 of 3.1.1]
fn a_byte_order_mark_is_part_of_a_topic(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    for topic in ["\u{feff}strings/mark", "strings/\u{feff}mark", "strings/mark\u{feff}"] {
        client.subscribe(topic, 0);
        client.publish(topic, 0, "x");
        message(&client, &format!("{topic}=x"));
    }
}

/// [MQTT-1.5.4-3] [MQTT-1.5.3-3 of 3.1.1]
fn a_byte_order_mark_makes_another_topic(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    client.subscribe("strings/bare", 0);
    client.publish("\u{feff}strings/bare", 0, "x");
    client.publish("strings/bare\u{feff}", 0, "x");
    client.expect_nothing();
}

/// Content Type and Response Topic of PUBLISH. [MQTT-1.5.4-1]
fn text_in_a_property_that_is_not_utf_8_closes_the_connection(stage: &Stage) {
    for id in [0x03, 0x08] {
        for text in ILL_FORMED {
            publish_with(stage, &[&[id][..], &raw::field(text)].concat());
        }
    }
}

/// [MQTT-1.5.4-2]
fn text_in_a_property_with_a_zero_character_closes_the_connection(stage: &Stage) {
    for id in [0x03, 0x08] {
        publish_with(stage, &[&[id][..], &raw::field("a\0")].concat());
    }
}

/// [MQTT-1.5.7-1]
fn the_name_of_a_user_property_is_text(stage: &Stage) {
    for text in ILL_FORMED.into_iter().chain([&b"a\0"[..]]) {
        publish_with(stage, &[&[0x26][..], &raw::field(text), &raw::field("value")].concat());
    }
}

/// [MQTT-1.5.7-1]
fn the_value_of_a_user_property_is_text(stage: &Stage) {
    for text in ILL_FORMED.into_iter().chain([&b"a\0"[..]]) {
        publish_with(stage, &[&[0x26][..], &raw::field("name"), &raw::field(text)].concat());
    }
}

/// [MQTT-1.5.7-1]
fn user_properties_pass_unchanged(stage: &Stage) {
    user_property_passes(stage, "strings/user", "\u{e4}\u{20ac}", "\u{1f54a}");
}

/// [MQTT-1.5.4-3]
fn a_byte_order_mark_in_a_property_stays(stage: &Stage) {
    user_property_passes(stage, "strings/user/mark", "\u{feff}name", "\u{feff}value\u{feff}");
}

fn publish_with(stage: &Stage, properties: &[u8]) {
    let publish = raw::publish_with(stage.version, 0, b"strings/property", None, properties, b"x");
    expect_sent_away(stage, &publish);
}

fn user_property_passes(stage: &Stage, topic: &str, name: &str, value: &str) {
    let client = stage.connect("a", |_| ());
    client.subscribe(topic, 0);
    let property = [&[0x26][..], &raw::field(name), &raw::field(value)].concat();
    client.send_bytes(&raw::publish_with(stage.version, 0, topic.as_bytes(), None, &property, b"x"));
    let found = next_publish(&client, |publish| {
        let list = &publish.properties.user_properties;
        list.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
    });
    assert_eq!(found, [(name.to_owned(), value.to_owned())]);
}
