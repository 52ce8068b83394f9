//! Topic aliases (§ 3.3.2.3.4), both ways.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use columba_testkit::codec::{Connect, Packet, Publish, TopicName};
use columba_testkit::{Client, persistent};

use crate::exchange::{back, closed, lasting, messages_before, publish_of, raw_publish};
use crate::stage::{Group, Stage, not_run, tests};

pub(crate) const TESTS: &[Group] = &[tests!(ONLY_5 =>
    every_alias_up_to_the_maximum_works,
    an_alias_stands_for_the_topic_it_was_set_to_last,
    an_alias_is_the_affair_of_one_client,
    an_alias_above_the_maximum_closes_the_connection,
    alias_0_closes_the_connection,
    an_alias_ends_with_its_connection,
    an_alias_never_set_closes_the_connection,
    a_message_with_neither_topic_nor_alias_closes_the_connection,
    the_broker_uses_no_alias_where_none_is_allowed,
    the_broker_keeps_to_the_alias_maximum_of_the_client,
    the_broker_sets_its_aliases_anew_on_each_connection,
)];

/// [MQTT-3.3.2-12]
fn every_alias_up_to_the_maximum_works(stage: &Stage) {
    let subscriber = stage.connect("s", |_| ());
    subscriber.subscribe("alias/every/+", 0);
    let (publisher, maximum) = connect_for_aliases(stage, "p");
    // All of them where they are few, or else some of each size.
    let some = |&alias: &u16| alias <= 70 || alias == maximum || alias.is_power_of_two();
    for alias in (1..=maximum).filter(some) {
        publisher.publish_with(&format!("alias/every/{alias}"), 1, "set", with_alias(alias));
        subscriber.expect(&format!("PUBLISH alias/every/{alias}=set"));
    }
    for alias in (1..=maximum).filter(some) {
        publisher.publish_with("_", 1, "used", alias_alone(alias));
        subscriber.expect(&format!("PUBLISH alias/every/{alias}=used"));
    }
}

/// [MQTT-3.3.2-12]
fn an_alias_stands_for_the_topic_it_was_set_to_last(stage: &Stage) {
    let subscriber = stage.connect("s", |_| ());
    subscriber.subscribe("alias/last/+", 0);
    let (publisher, _) = connect_for_aliases(stage, "p");
    for topic in ["alias/last/a", "alias/last/b"] {
        publisher.publish_with(topic, 1, "set", with_alias(1));
        subscriber.expect(&format!("PUBLISH {topic}=set"));
        // Without the alias in between, and with it at every QoS.
        publisher.publish("alias/last/other", 1, "x");
        subscriber.expect("PUBLISH alias/last/other=x");
        for qos in 0..3 {
            publisher.publish_with("_", qos, "used", alias_alone(1));
            subscriber.expect(&format!("PUBLISH {topic}=used"));
        }
    }
}

/// [MQTT-3.3.2-12]
fn an_alias_is_the_affair_of_one_client(stage: &Stage) {
    let subscriber = stage.connect("s", |_| ());
    subscriber.subscribe("alias/own/+", 0);
    let (first, _) = connect_for_aliases(stage, "p1");
    let (second, _) = connect_for_aliases(stage, "p2");
    first.publish_with("alias/own/a", 1, "set", with_alias(1));
    subscriber.expect("PUBLISH alias/own/a=set");
    second.publish_with("alias/own/b", 1, "set", with_alias(1));
    subscriber.expect("PUBLISH alias/own/b=set");
    first.publish_with("_", 1, "used", alias_alone(1));
    subscriber.expect("PUBLISH alias/own/a=used");
    second.publish_with("_", 1, "used", alias_alone(1));
    subscriber.expect("PUBLISH alias/own/b=used");
}

/// [MQTT-3.3.2-9]
fn an_alias_above_the_maximum_closes_the_connection(stage: &Stage) {
    for alone in [false, true] {
        let (publisher, maximum) = connect(stage, "p");
        let Some(above) = maximum.checked_add(1) else { not_run("the broker allows every topic alias") };
        if alone {
            publisher.start("_", 0, "x", alias_alone(above));
        } else {
            publisher.start("alias/above", 0, "x", with_alias(above));
        }
        closed(&publisher, 0x94);
    }
}

/// [MQTT-3.3.2-8]
fn alias_0_closes_the_connection(stage: &Stage) {
    for topic in [b"alias/zero".as_slice(), b""] {
        let client = stage.connect("p", |_| ());
        client.send_bytes(&raw_publish(stage.version, 0, topic, b"\x23\x00\x00", b"x"));
        closed(&client, 0x94);
    }
}

/// Also where the session goes on. [MQTT-3.3.2-7]
fn an_alias_ends_with_its_connection(stage: &Stage) {
    lasting(stage, "lasting").disconnect();
    let subscriber = stage.connect("s", |_| ());
    subscriber.subscribe("alias/ends", 1);
    let publisher = stage.try_connect("lasting", persistent);
    if alias_maximum(&publisher) == 0 {
        not_run("the broker allows no topic aliases");
    }
    publisher.publish_with("alias/ends", 1, "1", with_alias(1));
    publisher.drop_link();
    let publisher = back(stage, "lasting");
    publisher.start("_", 0, "2", alias_alone(1));
    closed(&publisher, 0x82);
    stage.connect("p", |_| ()).publish("alias/ends", 1, "3");
    let found = messages_before(&subscriber, "alias/ends=3");
    subscriber.check(found == ["alias/ends=1"], || format!("{found:?}"));
}

/// [MQTT-3.3.2-1]
fn an_alias_never_set_closes_the_connection(stage: &Stage) {
    let (publisher, maximum) = connect_for_aliases(stage, "p");
    publisher.start("_", 0, "x", alias_alone(maximum));
    closed(&publisher, 0x82);
}

/// [MQTT-3.3.2-1]
fn a_message_with_neither_topic_nor_alias_closes_the_connection(stage: &Stage) {
    let client = stage.connect("p", |_| ());
    client.send_bytes(&raw_publish(stage.version, 0, b"", b"", b"x"));
    closed(&client, 0x82);
}

/// [MQTT-3.3.2-11]
fn the_broker_uses_no_alias_where_none_is_allowed(stage: &Stage) {
    for maximum in [None, Some(0)] {
        let subscriber = stage.connect("s", |connect| connect.properties.topic_alias_maximum = maximum);
        subscriber.subscribe("alias/none", 0);
        let publisher = stage.connect("p", |_| ());
        for _ in 0..3 {
            publisher.publish("alias/none", 1, "x");
            subscriber.expect("PUBLISH alias/none=x");
        }
    }
}

/// [MQTT-3.3.2-8] [MQTT-3.3.2-11]
fn the_broker_keeps_to_the_alias_maximum_of_the_client(stage: &Stage) {
    for maximum in [1, 3] {
        let subscriber = stage.connect("s", allowing(maximum));
        subscriber.subscribe("alias/keeps/+", 0);
        let publisher = stage.connect("p", |_| ());
        let mut aliases = BTreeMap::new();
        // Each topic so often that an alias is worth it, and then all once more.
        for number in [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 0, 1, 2, 3, 4] {
            let topic = format!("alias/keeps/{number}");
            publisher.publish(&topic, 1, "x");
            expect_topic(&subscriber, &topic, maximum, &mut aliases);
        }
    }
}

/// Also where the session goes on, and with what is sent again. [MQTT-3.3.2-7]
fn the_broker_sets_its_aliases_anew_on_each_connection(stage: &Stage) {
    lasting(stage, "lasting").disconnect();
    let publisher = stage.connect("p", |_| ());
    for round in 0..3 {
        let subscriber = stage.connect("lasting", |connect| {
            persistent(connect);
            allowing(10)(connect);
        });
        let mut aliases = BTreeMap::new();
        // What the rounds before left unacknowledged.
        for _ in 0..3 * round {
            expect_topic(&subscriber, "alias/anew", 10, &mut aliases);
        }
        subscriber.subscribe("alias/anew", 1);
        for _ in 0..3 {
            publisher.publish("alias/anew", 1, "x");
            expect_topic(&subscriber, "alias/anew", 10, &mut aliases);
        }
        subscriber.drop_link();
    }
}

/// Connects with a clean start; with the Topic Alias Maximum of the broker.
#[track_caller]
fn connect(stage: &Stage, id: &str) -> (Client, u16) {
    let client = stage.try_connect(id, |_| ());
    let maximum = alias_maximum(&client);
    (client, maximum)
}

/// The same, where the broker allows aliases at all.
#[track_caller]
fn connect_for_aliases(stage: &Stage, id: &str) -> (Client, u16) {
    let (client, maximum) = connect(stage, id);
    if maximum == 0 {
        not_run("the broker allows no topic aliases");
    }
    (client, maximum)
}

/// Takes the CONNACK, for its Topic Alias Maximum.
#[track_caller]
fn alias_maximum(client: &Client) -> u16 {
    match client.accepted().packet() {
        Packet::ConnAck(ack) => ack.properties.topic_alias_maximum.unwrap_or(0),
        _ => 0,
    }
}

/// The next packet is a message of this topic, by name or by an alias that was set to it before.
#[track_caller]
fn expect_topic(client: &Client, expected: &str, maximum: u16, aliases: &mut BTreeMap<u16, String>) {
    let received = client.next();
    let publish = publish_of(client, &received);
    let alias = publish.topic_alias.map(NonZeroU16::get);
    client.check(alias.is_none_or(|alias| alias <= maximum), || {
        format!("above {maximum}: {}", received.text())
    });
    if let (Some(topic), Some(alias)) = (publish.topic, alias) {
        aliases.insert(alias, topic.to_string());
    }
    let known = alias.and_then(|alias| aliases.get(&alias)).map(String::as_str);
    let topic = publish.topic.map(TopicName::as_str).or(known);
    client.check(topic == Some(expected), || format!("{topic:?} instead of {expected}"));
}

fn allowing(maximum: u16) -> impl Fn(&mut Connect<'_>) {
    move |connect| connect.properties.topic_alias_maximum = Some(maximum)
}

fn with_alias(alias: u16) -> impl Fn(&mut Publish<'_>) {
    move |publish| publish.topic_alias = NonZeroU16::new(alias)
}

fn alias_alone(alias: u16) -> impl Fn(&mut Publish<'_>) {
    move |publish| (publish.topic, publish.topic_alias) = (None, NonZeroU16::new(alias))
}
