//! Shared subscriptions. Which member gets a message is the broker's choice, so tests leave it none.

use columba_testkit::codec::PacketType::{PubAck, PubComp, PubRec};
use columba_testkit::{Client, ReasonCode, persistent};

use crate::stage::{Group, Stage, tests};
use crate::steps::{at, delivered, filter_is_refused, lasting};

pub(crate) const TESTS: &[Group] = &[tests!(ONLY_5 =>
    a_shared_filter_with_a_name_works,
    a_message_goes_to_one_member,
    a_shared_subscription_brings_no_retained_messages,
    a_shared_filter_without_a_name_is_refused,
    the_name_of_a_shared_filter_has_no_wildcards,
    a_shared_filter_needs_a_filter,
    the_filter_of_a_shared_one_is_checked_like_any_other,
    a_member_gets_no_more_than_the_qos_it_was_granted,
    a_member_gets_no_more_than_the_qos_of_the_message,
    a_message_at_qos_2_waits_for_its_member,
    a_message_released_at_qos_2_is_completed_by_its_member,
    a_message_at_qos_2_goes_to_nobody_else_when_its_session_ends,
    a_message_at_qos_2_goes_to_nobody_else_when_its_session_expires,
    a_message_refused_at_qos_1_goes_to_nobody_else,
    a_message_refused_at_qos_2_goes_to_nobody_else,
)];

/// A member of a group, with a session that lasts.
fn member(stage: &Stage, id: &str, filter: &str, qos: u8) -> Client {
    let client = lasting(stage, id);
    client.subscribe(filter, qos);
    client
}

/// A message on its way to the only member there is, then another member.
fn under_way(stage: &Stage, topic: &str, qos: u8) -> (Client, u16, Client) {
    let filter = format!("$share/group/{topic}");
    let first = member(stage, "first", &filter, qos);
    stage.connect("publisher", |_| ()).publish(topic, qos, "x");
    let id = delivered(&first, &format!("PUBLISH {topic}=x q{qos} #n"));
    let second = member(stage, "second", &filter, qos);
    (first, id, second)
}

/// [MQTT-4.8.2-1] [MQTT-4.8.2-2]
fn a_shared_filter_with_a_name_works(stage: &Stage) {
    for filter in ["$share/g/shared/works/x", "$share/$/shared/works/+", "$share/a name/shared/works/#"] {
        let client = stage.connect("member", |_| ());
        client.subscribe(filter, 0);
        stage.connect("publisher", |_| ()).publish("shared/works/x", 0, "x");
        client.expect_all(&["PUBLISH shared/works/x=x"]);
    }
}

/// [MQTT-4.8.2-1]
fn a_message_goes_to_one_member(stage: &Stage) {
    let members = ["first", "second", "third"].map(|id| member(stage, id, "$share/group/shared/one", 1));
    let publisher = stage.connect("publisher", |_| ());
    let mut wanted = Vec::new();
    for number in 10..40 {
        publisher.publish("shared/one", 1, number.to_string());
        wanted.push(format!("shared/one={number}"));
    }
    let mut found: Vec<_> = members.iter().flat_map(Client::messages).collect();
    found.sort();
    publisher.check(found == wanted, || format!("{found:?}"));
}

/// § 4.8.2
fn a_shared_subscription_brings_no_retained_messages(stage: &Stage) {
    stage.connect("publisher", |_| ()).retain("shared/retained", 1, "x");
    let client = stage.connect("member", |_| ());
    client.subscribe("$share/group/shared/retained", 1);
    client.expect_nothing();
}

/// [MQTT-4.8.2-1]
fn a_shared_filter_without_a_name_is_refused(stage: &Stage) {
    for filter in ["$share//shared", "$share//", "$share/", "$share//#"] {
        filter_is_refused(stage, filter.as_bytes());
    }
}

/// [MQTT-4.8.2-2]
fn the_name_of_a_shared_filter_has_no_wildcards(stage: &Stage) {
    for filter in
        ["$share/+/shared", "$share/#/shared", "$share/g+/shared", "$share/+g/shared", "$share/g#/shared"]
    {
        filter_is_refused(stage, filter.as_bytes());
    }
}

/// [MQTT-4.8.2-2]
fn a_shared_filter_needs_a_filter(stage: &Stage) {
    for filter in ["$share/group", "$share/group/"] {
        filter_is_refused(stage, filter.as_bytes());
    }
}

/// [MQTT-4.8.2-2] [MQTT-4.7.1-1] [MQTT-4.7.1-2]
fn the_filter_of_a_shared_one_is_checked_like_any_other(stage: &Stage) {
    for filter in
        ["$share/group/shared/#/x", "$share/group/shared#", "$share/group/shared+", "$share/group/##"]
    {
        filter_is_refused(stage, filter.as_bytes());
    }
}

/// [MQTT-4.8.2-3]
fn a_member_gets_no_more_than_the_qos_it_was_granted(stage: &Stage) {
    let publisher = stage.connect("publisher", |_| ());
    for qos in 0..3 {
        let client = stage.connect("member", |_| ());
        let granted = client.ask(&[("$share/group/shared/granted", at(qos))], None);
        client.check(granted == [qos], || format!("{granted:02x?}"));
        publisher.publish("shared/granted", 2, "x");
        delivered(
            &client,
            match qos {
                0 => "PUBLISH shared/granted=x",
                1 => "PUBLISH shared/granted=x q1 #n",
                _ => "PUBLISH shared/granted=x q2 #n",
            },
        );
        client.expect_nothing();
        client.unsubscribe(&["$share/group/shared/granted"]);
    }
}

/// [MQTT-4.8.2-3] [MQTT-3.8.4-8]
fn a_member_gets_no_more_than_the_qos_of_the_message(stage: &Stage) {
    let client = stage.connect("member", |_| ());
    client.subscribe("$share/group/shared/published", 2);
    let publisher = stage.connect("publisher", |_| ());
    publisher.publish("shared/published", 0, "x");
    publisher.publish("shared/published", 1, "x");
    delivered(&client, "PUBLISH shared/published=x");
    delivered(&client, "PUBLISH shared/published=x q1 #n");
}

/// [MQTT-4.8.2-4]
fn a_message_at_qos_2_waits_for_its_member(stage: &Stage) {
    let (first, id, second) = under_way(stage, "shared/waits", 2);
    first.drop_link();
    second.expect_nothing();
    let first = stage.connect("first", persistent);
    first.expect_all(&[format!("PUBLISH shared/waits=x q2 #{id} dup")]);
    first.ack(PubRec, id);
    first.expect(&format!("PUBREL #{id}"));
    first.ack(PubComp, id);
    first.expect_nothing();
    second.expect_nothing();
}

/// [MQTT-4.8.2-4]
fn a_message_released_at_qos_2_is_completed_by_its_member(stage: &Stage) {
    let (first, id, second) = under_way(stage, "shared/released", 2);
    first.ack(PubRec, id);
    first.expect(&format!("PUBREL #{id}"));
    first.drop_link();
    second.expect_nothing();
    let first = stage.connect("first", persistent);
    first.expect_all(&[format!("PUBREL #{id}")]);
    first.ack(PubComp, id);
}

/// [MQTT-4.8.2-5]
fn a_message_at_qos_2_goes_to_nobody_else_when_its_session_ends(stage: &Stage) {
    let (first, _, second) = under_way(stage, "shared/ends", 2);
    first.disconnect_with(ReasonCode::Success, Some(0));
    first.expect_closed();
    second.expect_nothing();
    // Not to one that comes later either.
    let third = member(stage, "third", "$share/group/shared/ends", 2);
    third.expect_nothing();
}

/// [MQTT-4.8.2-5]
fn a_message_at_qos_2_goes_to_nobody_else_when_its_session_expires(stage: &Stage) {
    let first = stage.connect("first", |connect| connect.properties.session_expiry = Some(1));
    first.subscribe("$share/group/shared/expires", 2);
    stage.connect("publisher", |_| ()).publish("shared/expires", 2, "x");
    delivered(&first, "PUBLISH shared/expires=x q2 #n");
    let second = stage.connect("second", |connect| connect.keep_alive = 0);
    second.subscribe("$share/group/shared/expires", 2);
    first.drop_link();
    stage.advance(3);
    second.expect_nothing();
}

/// [MQTT-4.8.2-6]
fn a_message_refused_at_qos_1_goes_to_nobody_else(stage: &Stage) {
    for reason in [ReasonCode::UnspecifiedError, ReasonCode::NotAuthorized, ReasonCode::QuotaExceeded] {
        let (first, id, second) = under_way(stage, "shared/refused/1", 1);
        first.ack_with(PubAck, id, reason);
        second.expect_nothing();
        first.disconnect();
        second.expect_nothing();
        second.unsubscribe(&["$share/group/shared/refused/1"]);
    }
}

/// [MQTT-4.8.2-6]
fn a_message_refused_at_qos_2_goes_to_nobody_else(stage: &Stage) {
    for reason in [ReasonCode::UnspecifiedError, ReasonCode::NotAuthorized, ReasonCode::QuotaExceeded] {
        let (first, id, second) = under_way(stage, "shared/refused/2", 2);
        first.ack_with(PubRec, id, reason);
        first.expect_nothing();
        second.expect_nothing();
        first.disconnect();
        second.expect_nothing();
        second.unsubscribe(&["$share/group/shared/refused/2"]);
    }
}
