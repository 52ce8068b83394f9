//! Properties of a message (§ 3.3.2.3): what is passed on, what counts down, what is refused.

use columba_testkit::Client;
use columba_testkit::codec::{List, MessageProperties, PayloadFormat};

use crate::exchange::{answered, back, closed, lasting, message, publish_of, raw_publish};
use crate::stage::{Group, Stage, tests};

pub(crate) const TESTS: &[Group] = &[tests!(ONLY_5 =>
    the_payload_format_is_passed_on,
    the_response_topic_is_passed_on,
    the_correlation_data_is_passed_on,
    the_content_type_is_passed_on,
    all_user_properties_are_passed_on_in_their_order,
    all_properties_are_passed_on_together,
    no_property_is_made_up,
    a_response_topic_that_is_not_utf_8_closes_the_connection,
    a_response_topic_with_wildcards_closes_the_connection,
    a_content_type_that_is_not_utf_8_closes_the_connection,
    a_message_that_expired_while_its_client_was_away_is_not_delivered,
    a_message_that_expired_for_one_client_was_delivered_to_another,
    expiry_counts_down_while_a_client_is_away,
    expiry_counts_down_while_a_message_is_retained,
    a_message_that_does_not_wait_keeps_its_expiry,
)];

/// [MQTT-3.3.2-4]
fn the_payload_format_is_passed_on(stage: &Stage) {
    for (number, format) in [PayloadFormat::Bytes, PayloadFormat::Utf8].into_iter().enumerate() {
        let properties = MessageProperties { payload_format: Some(format), ..MessageProperties::default() };
        passed_on(stage, &format!("format{number}"), &properties);
    }
}

/// [MQTT-3.3.2-15]
fn the_response_topic_is_passed_on(stage: &Stage) {
    let response_topic = Some("properties/answer/ä");
    passed_on(stage, "response", &MessageProperties { response_topic, ..MessageProperties::default() });
}

/// [MQTT-3.3.2-16]
fn the_correlation_data_is_passed_on(stage: &Stage) {
    for (number, data) in [b"\x00\xff\x80 any bytes".as_slice(), b""].into_iter().enumerate() {
        let properties = MessageProperties { correlation_data: Some(data), ..MessageProperties::default() };
        passed_on(stage, &format!("correlation{number}"), &properties);
    }
}

/// [MQTT-3.3.2-20]
fn the_content_type_is_passed_on(stage: &Stage) {
    let content_type = Some("text/plain; ä");
    passed_on(stage, "type", &MessageProperties { content_type, ..MessageProperties::default() });
}

/// [MQTT-3.3.2-17] [MQTT-3.3.2-18]
fn all_user_properties_are_passed_on_in_their_order(stage: &Stage) {
    let user_properties = List::from_slice(&[("b", "1"), ("a", "2"), ("b", "1"), ("", ""), ("b", "0")]);
    passed_on(stage, "user", &MessageProperties { user_properties, ..MessageProperties::default() });
}

/// [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-20]
fn all_properties_are_passed_on_together(stage: &Stage) {
    let properties = MessageProperties {
        payload_format: Some(PayloadFormat::Utf8),
        response_topic: Some("properties/answer"),
        correlation_data: Some(b"\x00"),
        content_type: Some("text"),
        user_properties: List::from_slice(&[("name", "value")]),
        ..MessageProperties::default()
    };
    passed_on(stage, "all", &properties);
}

/// [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-20]
fn no_property_is_made_up(stage: &Stage) {
    passed_on(stage, "none", &MessageProperties::default());
}

/// [MQTT-3.3.2-13]
fn a_response_topic_that_is_not_utf_8_closes_the_connection(stage: &Stage) {
    for text in NOT_UTF_8 {
        refused(stage, "properties/response-utf8", 0x08, text);
    }
}

/// [MQTT-3.3.2-14]
fn a_response_topic_with_wildcards_closes_the_connection(stage: &Stage) {
    for text in ["answer/+", "answer/#", "#", "a+"] {
        refused(stage, "properties/response-wild", 0x08, text.as_bytes());
    }
}

/// [MQTT-3.3.2-19]
fn a_content_type_that_is_not_utf_8_closes_the_connection(stage: &Stage) {
    for text in NOT_UTF_8 {
        refused(stage, "properties/type-utf8", 0x03, text);
    }
}

/// [MQTT-3.3.2-5]
fn a_message_that_expired_while_its_client_was_away_is_not_delivered(stage: &Stage) {
    let topic = "properties/expired";
    let subscriber = lasting(stage, "away");
    subscriber.subscribe(topic, 1);
    subscriber.disconnect();
    let publisher = stage.connect("p", |_| ());
    publisher.publish_with(topic, 1, "old", |publish| publish.properties.message_expiry = Some(1));
    publisher.publish(topic, 1, "lasts");
    stage.advance(2);
    let subscriber = back(stage, "away");
    message(&subscriber, &format!("{topic}=lasts q1"));
    subscriber.expect_nothing();
}

/// [MQTT-3.3.2-5]
fn a_message_that_expired_for_one_client_was_delivered_to_another(stage: &Stage) {
    let topic = "properties/expired-for-one";
    let away = lasting(stage, "away");
    away.subscribe(topic, 1);
    away.disconnect();
    let here = stage.connect("s", |_| ());
    here.subscribe(topic, 0);
    let publisher = stage.connect("p", |_| ());
    publisher.publish_with(topic, 1, "x", |publish| publish.properties.message_expiry = Some(1));
    let received = here.next();
    here.check(received.text().starts_with(&format!("PUBLISH {topic}=x")), || received.text().to_owned());
    stage.advance(2);
    back(stage, "away").expect_nothing();
}

/// [MQTT-3.3.2-6]
fn expiry_counts_down_while_a_client_is_away(stage: &Stage) {
    let topic = "properties/waits";
    let subscriber = lasting(stage, "away");
    subscriber.subscribe(topic, 1);
    subscriber.disconnect();
    let publisher = stage.connect("p", |_| ());
    publisher.publish_with(topic, 1, "x", |publish| publish.properties.message_expiry = Some(100));
    stage.advance(2);
    let subscriber = back(stage, "away");
    expect_expiry(&subscriber, 90, 98);
}

/// [MQTT-3.3.2-6]
fn expiry_counts_down_while_a_message_is_retained(stage: &Stage) {
    let topic = "properties/waits-retained";
    let publisher = stage.connect("p", |_| ());
    publisher.publish_with(topic, 1, "x", |publish| {
        publish.retain = true;
        publish.properties.message_expiry = Some(100);
    });
    stage.advance(2);
    let subscriber = stage.connect("s", |_| ());
    subscriber.subscribe(topic, 1);
    expect_expiry(&subscriber, 90, 98);
    publisher.retain(topic, 1, "");
}

/// [MQTT-3.3.2-6]
fn a_message_that_does_not_wait_keeps_its_expiry(stage: &Stage) {
    let topic = "properties/does-not-wait";
    let subscriber = stage.connect("s", |_| ());
    subscriber.subscribe(topic, 1);
    let publisher = stage.connect("p", |_| ());
    publisher.publish_with(topic, 1, "x", |publish| publish.properties.message_expiry = Some(100));
    expect_expiry(&subscriber, 95, 100);
    publisher.publish_with(topic, 1, "x", |publish| publish.properties.message_expiry = Some(u32::MAX));
    expect_expiry(&subscriber, u32::MAX - 5, u32::MAX);
}

/// A byte that begins nothing, a sequence that ends too early, an overlong form and half a surrogate pair.
const NOT_UTF_8: [&[u8]; 4] = [b"a\xff", b"a\xc3", b"\xc0\xaf", b"\xed\xa0\x80"];

/// A message with these properties comes with these and no others: to a client that is there, to one that was away,
/// and to one that subscribes later.
#[track_caller]
fn passed_on(stage: &Stage, name: &str, properties: &MessageProperties<'static>) {
    let topic = format!("properties/{name}");
    let publisher = stage.connect("p", |_| ());
    publisher.retain(&topic, 1, "");
    let away = lasting(stage, "away");
    away.subscribe(&topic, 1);
    away.disconnect();
    let here = stage.connect("here", |_| ());
    here.subscribe(&topic, 1);
    publisher.publish_with(&topic, 1, "x", |publish| {
        publish.retain = true;
        publish.properties = properties.clone();
    });
    let away = back(stage, "away");
    let later = stage.connect("later", |_| ());
    later.subscribe(&topic, 1);
    for client in [&here, &away, &later] {
        let received = client.next();
        let publish = publish_of(client, &received);
        let same = publish.properties == *properties && publish.payload == b"x";
        client.check(same, || format!("{:?} instead of {properties:?}", publish.properties));
    }
    publisher.retain(&topic, 1, "");
}

/// A message with this text as this property closes the connection of its sender and reaches nobody.
#[track_caller]
fn refused(stage: &Stage, topic: &str, property: u8, text: &[u8]) {
    let subscriber = stage.connect("s", |_| ());
    subscriber.subscribe(topic, 0);
    let client = stage.connect("refused", |_| ());
    let property = [&[property, 0, text.len() as u8], text].concat();
    client.send_bytes(&raw_publish(stage.version, 0, topic.as_bytes(), &property, b"x"));
    // 0x90, topic name invalid, says what is wrong with a response topic.
    closed(&client, 0x90);
    let publisher = stage.connect("p", |_| ());
    let id = publisher.start(topic, 1, "last", |_| ());
    answered(&publisher, "PUBACK", id);
    subscriber.expect_all(&[format!("PUBLISH {topic}=last")]);
}

/// The next packet is a message with so many seconds left.
#[track_caller]
fn expect_expiry(client: &Client, least: u32, most: u32) {
    let received = client.next();
    let left = publish_of(client, &received).properties.message_expiry;
    let fine = left.is_some_and(|left| (least..=most).contains(&left));
    client.check(fine, || format!("{left:?} instead of {least} to {most}"));
}
