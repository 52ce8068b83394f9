//! MQTT 3.1, the document of 2010: what it does otherwise than 3.1.1, and what a broker should take from its clients. It
//! has no numbered statements. What it has in common with 3.1.1 is tested where that is.

use columba_testkit::codec::PacketType;
use columba_testkit::{Client, persistent, will};

use crate::answers::{expect_sent_away, message, not_understood, refused, told_no};
use crate::raw::{self, ILL_FORMED, PASSWORD, RawConnect, USER_NAME, WILL, WILL_RETAIN};
use crate::stage::{Group, Stage, V3_1, V3_1_1, V5, tests};

pub(crate) const TESTS: &[Group] = &[
    tests!(ONLY_3_1 =>
        connack_is_two_zero_bytes,
        connack_says_nothing_of_a_session,
        name_and_level_are_judged_together,
        a_bridge_is_a_client,
        the_reserved_connect_flag_is_ignored,
        will_flags_without_a_will_are_ignored,
        a_will_at_qos_3_is_refused,
        a_user_name_that_is_announced_and_missing_is_absent,
        a_password_that_is_announced_and_missing_is_absent,
        a_password_flag_without_user_name_flag_is_refused,
        a_password_of_any_bytes_is_read,
        a_will_may_be_empty,
        no_client_identifier_is_refused,
        a_long_client_identifier_is_accepted_or_rejected,
        a_client_identifier_of_any_characters_is_accepted,
        a_client_identifier_that_is_not_text_is_refused,
    ),
    tests!(ONLY_3_1 =>
        unused_flags_of_pingreq_are_ignored,
        unused_flags_of_an_acknowledgement_are_ignored,
        unused_flags_of_disconnect_are_ignored,
        subscribe_may_be_marked_as_sent_again,
        unsubscribe_may_be_marked_as_sent_again,
        pubrel_may_be_marked_as_sent_again,
        a_subscribe_that_comes_twice_is_answered_twice,
        an_unsubscribe_that_comes_twice_is_answered_twice,
        a_message_at_qos_1_that_comes_twice_is_answered_twice,
        a_message_at_qos_2_that_comes_twice_goes_on_once,
        a_pubrel_that_comes_twice_is_answered_twice,
        the_mark_of_sending_again_is_not_passed_on,
        message_id_zero_closes_the_connection,
        publish_with_qos_3_closes_the_connection,
        subscribe_with_qos_3_closes_the_connection,
        wildcards_in_a_topic_name_close_the_connection,
        misplaced_wildcards_in_a_filter_close_the_connection,
        a_topic_that_is_not_text_closes_the_connection,
        what_is_not_acknowledged_comes_again_with_the_next_connection,
        an_empty_retained_message_clears_the_topic,
        wildcards_do_not_match_topics_that_begin_with_a_dollar,
        messages_go_to_the_other_versions_and_back,
    ),
    tests!(ONLY_3_1, |config| config.wildcard_subscriptions = false =>
        suback_never_says_failure,
    ),
];

/// Its second byte is reserved.
fn connack_is_two_zero_bytes(stage: &Stage) {
    assert_eq!(stage.try_connect("a", |_| ()).accepted().bytes(), [0x20, 2, 0, 0]);
}

fn connack_says_nothing_of_a_session(stage: &Stage) {
    stage.connect("a", persistent).drop_link();
    assert_eq!(stage.try_connect("a", persistent).accepted().bytes(), [0x20, 2, 0, 0]);
}

/// `MQIsdp` with another level, and `MQTT` with 3: refused with return code 1 or closed.
fn name_and_level_are_judged_together(stage: &Stage) {
    for (name, level) in [("MQIsdp", 4), ("MQIsdp", 2), ("MQIsdp", 6), ("MQTT", 3), ("MQISDP", 3)] {
        let connect =
            RawConnect { name: name.into(), level, ..RawConnect::new(V3_1, 0, &[b"version31name"]) };
        let client = stage.open("stranger");
        client.send_bytes(&connect.bytes());
        refused(&client, &[1]);
    }
}

/// Bridges of other brokers set bit 7 of the level. Not in the document.
fn a_bridge_is_a_client(stage: &Stage) {
    let id = stage.id("a");
    let connect = RawConnect { level: 0x83, ..RawConnect::new(V3_1, 0, &[id.as_bytes()]) };
    let client = stage.open("a");
    client.send_bytes(&connect.bytes());
    client.accepted();
    client.ping();
}

fn the_reserved_connect_flag_is_ignored(stage: &Stage) {
    let id = stage.id("a");
    taken(stage, &RawConnect::new(V3_1, 1, &[id.as_bytes()]));
}

fn will_flags_without_a_will_are_ignored(stage: &Stage) {
    let id = stage.id("a");
    taken(stage, &RawConnect::new(V3_1, WILL_RETAIN | 1 << 3, &[id.as_bytes()]));
}

fn a_will_at_qos_3_is_refused(stage: &Stage) {
    let fields: &[&[u8]] = &[b"version31will", b"version_3_1/will", b"gone"];
    let client = stage.open("stranger");
    client.send_bytes(&RawConnect::new(V3_1, WILL | 3 << 3, fields).bytes());
    not_understood(&client);
}

fn a_user_name_that_is_announced_and_missing_is_absent(stage: &Stage) {
    let id = stage.id("a");
    taken(stage, &RawConnect::new(V3_1, USER_NAME, &[id.as_bytes()]));
    taken(stage, &RawConnect::new(V3_1, USER_NAME | PASSWORD, &[id.as_bytes()]));
}

fn a_password_that_is_announced_and_missing_is_absent(stage: &Stage) {
    let id = stage.id("a");
    taken(stage, &RawConnect::new(V3_1, USER_NAME | PASSWORD, &[id.as_bytes(), b"user"]));
}

/// It may be refused for its password.
fn a_password_flag_without_user_name_flag_is_refused(stage: &Stage) {
    let client = stage.open("stranger");
    client.send_bytes(&RawConnect::new(V3_1, PASSWORD, &[b"version31", b"password"]).bytes());
    refused(&client, &[4, 5]);
}

fn a_password_of_any_bytes_is_read(stage: &Stage) {
    let id = stage.id("a");
    taken(stage, &RawConnect::new(V3_1, USER_NAME | PASSWORD, &[id.as_bytes(), b"user", b"\xff\0\xc0"]));
}

fn a_will_may_be_empty(stage: &Stage) {
    let watcher = stage.connect("watcher", |_| ());
    watcher.subscribe("version_3_1/empty", 0);
    stage.connect("a", |connect| connect.will = Some(will("version_3_1/empty", ""))).drop_link();
    watcher.expect_all(&["PUBLISH version_3_1/empty="]);
}

/// With a clean session or without.
fn no_client_identifier_is_refused(stage: &Stage) {
    for clean_start in [true, false] {
        told_no(&stage.try_connect("", |connect| connect.clean_start = clean_start), &[2]);
    }
}

/// The document allows 23 characters, and brokers take more.
fn a_long_client_identifier_is_accepted_or_rejected(stage: &Stage) {
    let client = stage.try_connect("more-than-twenty-three-characters", |_| ());
    let code = client.next().bytes()[3];
    assert!([0, 2].contains(&code), "{code}");
}

fn a_client_identifier_of_any_characters_is_accepted(stage: &Stage) {
    stage.connect("\u{e4} -_.:\u{20ac}", |_| ()).ping();
}

fn a_client_identifier_that_is_not_text_is_refused(stage: &Stage) {
    for text in ILL_FORMED.into_iter().chain([&b"a\0"[..]]) {
        let client = stage.open("stranger");
        client.send_bytes(&RawConnect::new(V3_1, 0, &[text]).bytes());
        refused(&client, &[2]);
    }
}

fn unused_flags_of_pingreq_are_ignored(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    for first in 0xc1..=0xcf {
        client.send_bytes(&[first, 0]);
        client.expect("PINGRESP");
    }
}

fn unused_flags_of_an_acknowledgement_are_ignored(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    client.subscribe("version_3_1/flags", 2);
    let publisher = stage.connect("b", |_| ());
    publisher.publish("version_3_1/flags", 1, "one");
    let [high, low] = message(&client, "version_3_1/flags=one").to_be_bytes();
    client.send_bytes(&[0x4f, 2, high, low]);
    publisher.publish("version_3_1/flags", 2, "two");
    let id = message(&client, "version_3_1/flags=two");
    let [high, low] = id.to_be_bytes();
    client.send_bytes(&[0x5f, 2, high, low]);
    client.expect(&format!("PUBREL #{id}"));
    client.send_bytes(&[0x7f, 2, high, low]);
    client.ping();
}

/// It is a goodbye all the same.
fn unused_flags_of_disconnect_are_ignored(stage: &Stage) {
    let watcher = stage.connect("watcher", |_| ());
    watcher.subscribe("version_3_1/goodbye", 0);
    let client = stage.connect("a", |connect| connect.will = Some(will("version_3_1/goodbye", "gone")));
    client.send_bytes(&[0xef, 0]);
    client.expect_closed();
    watcher.expect_nothing();
}

fn subscribe_may_be_marked_as_sent_again(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    client.send_bytes(&raw::subscribe(V3_1, 0x8a, 7, b"version_3_1/again", 1));
    client.expect("SUBACK #7 01");
}

fn unsubscribe_may_be_marked_as_sent_again(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    client.send_bytes(&raw::unsubscribe(V3_1, 0xaa, 7, b"version_3_1/again"));
    client.expect("UNSUBACK #7");
}

fn pubrel_may_be_marked_as_sent_again(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    let id = client.start("version_3_1/again", 2, "x", |_| ());
    client.expect(&format!("PUBREC #{id}"));
    let [high, low] = id.to_be_bytes();
    client.send_bytes(&[0x6a, 2, high, low]);
    client.expect(&format!("PUBCOMP #{id}"));
}

/// On the same connection: clients of 3.1 repeat what takes long.
fn a_subscribe_that_comes_twice_is_answered_twice(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    client.send_bytes(&raw::subscribe(V3_1, 0x82, 7, b"version_3_1/twice", 1));
    client.send_bytes(&raw::subscribe(V3_1, 0x82, 7, b"version_3_1/twice", 1));
    client.expect_all(&["SUBACK #7 01", "SUBACK #7 01"]);
    stage.connect("b", |_| ()).publish("version_3_1/twice", 1, "x");
    message(&client, "version_3_1/twice=x");
    client.expect_nothing();
}

fn an_unsubscribe_that_comes_twice_is_answered_twice(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    client.send_bytes(&raw::unsubscribe(V3_1, 0xa2, 7, b"version_3_1/twice"));
    client.send_bytes(&raw::unsubscribe(V3_1, 0xa2, 7, b"version_3_1/twice"));
    client.expect_all(&["UNSUBACK #7", "UNSUBACK #7"]);
}

fn a_message_at_qos_1_that_comes_twice_is_answered_twice(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    for flags in [0x2, 0xa] {
        client.send_bytes(&raw::publish(V3_1, flags, b"version_3_1/twice", Some(7), b"x"));
        client.expect("PUBACK #7");
    }
}

fn a_message_at_qos_2_that_comes_twice_goes_on_once(stage: &Stage) {
    let watcher = stage.connect("watcher", |_| ());
    watcher.subscribe("version_3_1/once", 0);
    let client = stage.connect("a", |_| ());
    for flags in [0x4, 0xc] {
        client.send_bytes(&raw::publish(V3_1, flags, b"version_3_1/once", Some(7), b"x"));
        client.expect("PUBREC #7");
    }
    client.ack(PacketType::PubRel, 7);
    client.expect("PUBCOMP #7");
    watcher.expect_all(&["PUBLISH version_3_1/once=x"]);
}

fn a_pubrel_that_comes_twice_is_answered_twice(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    client.send_bytes(&raw::publish(V3_1, 4, b"version_3_1/twice", Some(7), b"x"));
    client.expect("PUBREC #7");
    for _ in 0..2 {
        client.ack(PacketType::PubRel, 7);
        client.expect("PUBCOMP #7");
    }
}

fn the_mark_of_sending_again_is_not_passed_on(stage: &Stage) {
    let watcher = stage.connect("watcher", |_| ());
    watcher.subscribe("version_3_1/mark", 1);
    let client = stage.connect("a", |_| ());
    client.send_bytes(&raw::publish(V3_1, 0xa, b"version_3_1/mark", Some(7), b"x"));
    client.expect("PUBACK #7");
    assert_eq!(watcher.next().bytes()[0], 0x32);
}

fn message_id_zero_closes_the_connection(stage: &Stage) {
    expect_sent_away(stage, &raw::publish(V3_1, 2, b"version_3_1/zero", Some(0), b"x"));
    expect_sent_away(stage, &raw::subscribe(V3_1, 0x82, 0, b"version_3_1/zero", 0));
    expect_sent_away(stage, &raw::unsubscribe(V3_1, 0xa2, 0, b"version_3_1/zero"));
}

fn publish_with_qos_3_closes_the_connection(stage: &Stage) {
    expect_sent_away(stage, &raw::publish(V3_1, 6, b"version_3_1/three", Some(1), b"x"));
}

fn subscribe_with_qos_3_closes_the_connection(stage: &Stage) {
    expect_sent_away(stage, &raw::subscribe(V3_1, 0x82, 1, b"version_3_1/three", 3));
}

fn wildcards_in_a_topic_name_close_the_connection(stage: &Stage) {
    for topic in ["version_3_1/+", "version_3_1/#", "+", "#"] {
        expect_sent_away(stage, &raw::publish(V3_1, 0, topic.as_bytes(), None, b"x"));
    }
}

fn misplaced_wildcards_in_a_filter_close_the_connection(stage: &Stage) {
    for filter in ["version_3_1/#/x", "version_3_1/x#", "version_3_1/x+", "version_3_1/+x/y"] {
        expect_sent_away(stage, &raw::subscribe(V3_1, 0x82, 1, filter.as_bytes(), 0));
    }
}

/// The document does not say; other clients must not be sent such a string.
fn a_topic_that_is_not_text_closes_the_connection(stage: &Stage) {
    for text in ILL_FORMED.into_iter().chain([&b"a\0"[..]]) {
        expect_sent_away(stage, &raw::publish(V3_1, 0, text, None, b"x"));
        expect_sent_away(stage, &raw::subscribe(V3_1, 0x82, 1, text, 0));
    }
}

/// Marked as sent again or not: the mark is a hint.
fn what_is_not_acknowledged_comes_again_with_the_next_connection(stage: &Stage) {
    let client = lasting(stage);
    client.subscribe("version_3_1/resent", 1);
    stage.connect("b", |_| ()).publish("version_3_1/resent", 1, "x");
    let id = message(&client, "version_3_1/resent=x");
    client.drop_link();
    assert_eq!(message(&stage.connect("a", persistent), "version_3_1/resent=x"), id);
}

fn an_empty_retained_message_clears_the_topic(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    client.retain("version_3_1/cleared", 1, "x");
    client.retain("version_3_1/cleared", 1, "");
    client.subscribe("version_3_1/cleared", 1);
    client.expect_nothing();
}

/// The document does not say; 3.1.1 does.
fn wildcards_do_not_match_topics_that_begin_with_a_dollar(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    client.subscribe("#", 0);
    client.subscribe("+/version_3_1", 0);
    client.publish("$version_3_1/version_3_1", 1, "x");
    client.publish("$version/version_3_1", 1, "x");
    client.expect_nothing();
}

fn messages_go_to_the_other_versions_and_back(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    for other in [V3_1_1, V5] {
        let peer = stage.connect_as(other, "b", |_| ());
        for qos in 0..3 {
            client.subscribe("version_3_1/here", qos);
            peer.subscribe("version_3_1/there", qos);
            client.publish("version_3_1/there", qos, "x");
            message(&peer, "version_3_1/there=x");
            peer.publish("version_3_1/here", qos, "y");
            message(&client, "version_3_1/here=y");
        }
        peer.drop_link();
    }
}

/// It has only the three levels of QoS to say.
fn suback_never_says_failure(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    client.send_bytes(&raw::subscribe(V3_1, 0x82, 7, b"version_3_1/#", 1));
    if client.is_open() {
        let answer = client.next();
        assert!(answer.bytes()[4] < 3, "{}", answer.text());
    }
}

/// Client "a" in a session that lasts, with nothing in it.
#[track_caller]
fn lasting(stage: &Stage) -> Client {
    stage.connect("a", |_| ()).disconnect();
    stage.connect("a", persistent)
}

/// Such a CONNECT is accepted.
#[track_caller]
fn taken(stage: &Stage, connect: &RawConnect) {
    let client = stage.open("a");
    client.send_bytes(&connect.bytes());
    assert_eq!(client.next().bytes(), [0x20, 2, 0, 0]);
    client.ping();
    client.disconnect();
}
