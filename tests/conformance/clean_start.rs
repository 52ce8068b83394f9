//! Sessions: when one begins, goes on and ends.

use columba_testkit::codec::PacketType;
use columba_testkit::{Client, ReasonCode, persistent};

use crate::answers::{is_present, message};
use crate::stage::{Group, Stage, tests};

pub(crate) const TESTS: &[Group] = &[
    tests!(ALL =>
        a_clean_start_ends_the_subscriptions_of_the_session,
        a_clean_start_drops_the_messages_of_the_session,
        a_clean_start_leaves_no_session_behind,
        the_session_goes_on_with_its_subscriptions,
        the_session_goes_on_with_messages_of_qos_1_and_2_that_came_meanwhile,
        the_session_goes_on_with_what_was_not_acknowledged,
        the_session_goes_on_with_a_publish_that_was_not_released,
        the_session_goes_on_after_a_failure_as_after_a_disconnect,
        without_a_session_a_new_one_begins,
        retained_messages_outlive_the_session,
    ),
    tests!(NUMBERED =>
        after_a_clean_start_no_session_was_present,
        connack_tells_truly_whether_a_session_was_present,
        a_clean_session_cannot_be_resumed,
    ),
    tests!(ONLY_5 =>
        a_session_outlives_its_connection_for_its_expiry,
        a_session_that_never_expires_is_there_after_years,
        disconnect_may_let_the_session_last_longer,
        a_session_without_expiry_ends_with_its_connection,
    ),
];

/// [MQTT-3.1.2-4] [MQTT-3.1.2-6 of 3.1.1] [MQTT-3.1.4-4] [MQTT-3.1.4-3 of 3.1.1]
fn a_clean_start_ends_the_subscriptions_of_the_session(stage: &Stage) {
    subscribed(stage, "clean_start/subscribed", 1).drop_link();
    let client = stage.connect("a", |_| ());
    stage.connect("b", |_| ()).publish("clean_start/subscribed", 1, "x");
    client.expect_nothing();
}

/// [MQTT-3.1.2-4] [MQTT-3.1.2-6 of 3.1.1] [MQTT-3.1.4-4] [MQTT-3.1.4-3 of 3.1.1]
fn a_clean_start_drops_the_messages_of_the_session(stage: &Stage) {
    let client = subscribed(stage, "clean_start/queued", 2);
    let publisher = stage.connect("b", |_| ());
    publisher.publish("clean_start/queued", 1, "sent");
    message(&client, "clean_start/queued=sent");
    client.drop_link();
    publisher.publish("clean_start/queued", 2, "waits");
    stage.connect("a", |_| ()).expect_nothing();
}

/// [MQTT-3.1.2-4] [MQTT-3.1.2-6 of 3.1.1]
fn a_clean_start_leaves_no_session_behind(stage: &Stage) {
    subscribed(stage, "clean_start/behind", 1).drop_link();
    stage.connect("a", |_| ()).disconnect();
    let client = stage.try_connect("a", persistent);
    assert!(!is_present(&client.accepted()));
    stage.connect("b", |_| ()).publish("clean_start/behind", 1, "x");
    client.expect_nothing();
}

/// [MQTT-3.1.2-5] [MQTT-3.1.2-4 of 3.1.1] [MQTT-3.1.4-4] [MQTT-3.1.4-3 of 3.1.1]
fn the_session_goes_on_with_its_subscriptions(stage: &Stage) {
    subscribed(stage, "clean_start/goes_on", 1).drop_link();
    let client = stage.connect("a", persistent);
    stage.connect("b", |_| ()).publish("clean_start/goes_on", 1, "x");
    message(&client, "clean_start/goes_on=x");
}

/// [MQTT-3.1.2-5] [MQTT-3.1.2-4 of 3.1.1] [MQTT-3.1.2-5 of 3.1.1]
fn the_session_goes_on_with_messages_of_qos_1_and_2_that_came_meanwhile(stage: &Stage) {
    subscribed(stage, "clean_start/meanwhile", 2).drop_link();
    let publisher = stage.connect("b", |_| ());
    publisher.publish("clean_start/meanwhile", 1, "one");
    publisher.publish("clean_start/meanwhile", 2, "two");
    let messages = stage.connect("a", persistent).messages();
    assert_eq!(messages, ["clean_start/meanwhile=one", "clean_start/meanwhile=two"]);
}

/// [MQTT-3.1.2-5] [MQTT-3.1.2-4 of 3.1.1]
fn the_session_goes_on_with_what_was_not_acknowledged(stage: &Stage) {
    let client = subscribed(stage, "clean_start/unacknowledged", 2);
    let publisher = stage.connect("b", |_| ());
    publisher.publish("clean_start/unacknowledged", 1, "one");
    publisher.publish("clean_start/unacknowledged", 2, "two");
    message(&client, "clean_start/unacknowledged=one");
    let id = message(&client, "clean_start/unacknowledged=two");
    client.ack(PacketType::PubRec, id);
    client.expect(&format!("PUBREL #{id}"));
    client.drop_link();
    let client = stage.connect("a", persistent);
    client.take(&format!("PUBREL #{id}"));
    message(&client, "clean_start/unacknowledged=one");
    client.expect_nothing();
}

/// The client's half-sent message: it has PUBREC and not yet PUBCOMP. [MQTT-3.1.2-5] [MQTT-3.1.2-4 of 3.1.1]
fn the_session_goes_on_with_a_publish_that_was_not_released(stage: &Stage) {
    let watcher = stage.connect("b", |_| ());
    watcher.subscribe("clean_start/released", 0);
    let client = new_session(stage);
    let id = client.start("clean_start/released", 2, "x", |_| ());
    client.take_first(&format!("PUBREC #{id}"));
    client.drop_link();
    let client = stage.connect("a", persistent);
    client.start("clean_start/released", 2, "x", |publish| {
        publish.dup = true;
        publish.packet_id = columba_testkit::codec::PacketId::new(id);
    });
    client.take_first(&format!("PUBREC #{id}"));
    client.ack(PacketType::PubRel, id);
    client.take(&format!("PUBCOMP #{id}"));
    message(&watcher, "clean_start/released=x");
    watcher.expect_nothing();
}

/// [MQTT-3.1.2-4 of 3.1.1] [MQTT-3.1.2-23]
fn the_session_goes_on_after_a_failure_as_after_a_disconnect(stage: &Stage) {
    let endings: [fn(&Client); 3] = [Client::disconnect, Client::drop_link, |client| {
        // PUBLISH with QoS 3.
        client.send_bytes(b"\x36\x06\x00\x01t\x00\x01\x00");
        client.until_closed();
    }];
    for end in endings {
        end(&subscribed(stage, "clean_start/ending", 1));
        stage.connect("b", |_| ()).publish("clean_start/ending", 1, "x");
        assert_eq!(stage.connect("a", persistent).messages(), ["clean_start/ending=x"]);
    }
}

/// [MQTT-3.1.2-6] [MQTT-3.1.2-4 of 3.1.1]
fn without_a_session_a_new_one_begins(stage: &Stage) {
    stage.connect("a", |_| ()).disconnect();
    let client = stage.try_connect("a", persistent);
    assert!(!is_present(&client.accepted()));
    client.subscribe("clean_start/begins", 1);
    client.drop_link();
    stage.connect("b", |_| ()).publish("clean_start/begins", 1, "x");
    assert_eq!(stage.connect("a", persistent).messages(), ["clean_start/begins=x"]);
}

/// [MQTT-3.1.2-7 of 3.1.1]
fn retained_messages_outlive_the_session(stage: &Stage) {
    for adjust in [|_: &mut columba_testkit::codec::Connect<'_>| (), persistent] {
        stage.connect("a", |_| ()).disconnect();
        let client = stage.connect("a", adjust);
        client.retain("clean_start/retained", 1, "x");
        client.disconnect();
        stage.connect("a", |_| ()).disconnect();
        let late = stage.connect("b", |_| ());
        late.subscribe("clean_start/retained", 0);
        late.expect("PUBLISH clean_start/retained=x retain");
        late.retain("clean_start/retained", 0, "");
    }
}

/// [MQTT-3.2.2-2] [MQTT-3.2.2-1 of 3.1.1]
fn after_a_clean_start_no_session_was_present(stage: &Stage) {
    new_session(stage).drop_link();
    assert!(!is_present(&stage.try_connect("a", |_| ()).accepted()));
}

/// [MQTT-3.2.2-3] [MQTT-3.2.2-2 of 3.1.1] [MQTT-3.2.2-3 of 3.1.1] [MQTT-3.1.2-5] [MQTT-3.1.2-6]
fn connack_tells_truly_whether_a_session_was_present(stage: &Stage) {
    stage.connect("a", |_| ()).disconnect();
    let client = stage.try_connect("a", persistent);
    assert!(!is_present(&client.accepted()));
    client.drop_link();
    let client = stage.try_connect("a", persistent);
    assert!(is_present(&client.accepted()));
    client.disconnect();
    assert!(is_present(&stage.try_connect("a", persistent).accepted()));
}

/// [MQTT-3.1.2-6 of 3.1.1] [MQTT-3.2.2-3] [MQTT-3.2.2-3 of 3.1.1]
fn a_clean_session_cannot_be_resumed(stage: &Stage) {
    for end in [Client::disconnect, Client::drop_link] {
        let client = stage.connect("a", |_| ());
        client.subscribe("clean_start/over", 1);
        end(&client);
        stage.connect("b", |_| ()).publish("clean_start/over", 1, "x");
        let client = stage.try_connect("a", |connect| connect.clean_start = false);
        assert!(!is_present(&client.accepted()));
        client.expect_nothing();
        // Before 5.0 this one is there to stay.
        client.disconnect();
    }
}

/// [MQTT-3.1.2-23]
fn a_session_outlives_its_connection_for_its_expiry(stage: &Stage) {
    let client = stage.connect("a", |connect| connect.properties.session_expiry = Some(6));
    client.drop_link();
    stage.advance(4);
    let client = stage.try_connect("a", |connect| connect.clean_start = false);
    assert!(is_present(&client.accepted()));
}

/// [MQTT-3.1.2-23]
fn a_session_that_never_expires_is_there_after_years(stage: &Stage) {
    stage.connect("a", |connect| connect.properties.session_expiry = Some(u32::MAX)).drop_link();
    stage.advance(200 * 365 * 86_400);
    let client = stage.try_connect("a", |connect| connect.clean_start = false);
    assert!(is_present(&client.accepted()));
}

/// [MQTT-3.1.2-23]
fn disconnect_may_let_the_session_last_longer(stage: &Stage) {
    let client = stage.connect("a", |connect| connect.properties.session_expiry = Some(1));
    client.disconnect_with(ReasonCode::Success, Some(3600));
    client.expect_closed();
    stage.advance(4);
    let client = stage.try_connect("a", |connect| connect.clean_start = false);
    assert!(is_present(&client.accepted()));
}

/// [MQTT-3.2.2-3]
fn a_session_without_expiry_ends_with_its_connection(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    client.subscribe("clean_start/no_expiry", 1);
    client.drop_link();
    stage.connect("b", |_| ()).publish("clean_start/no_expiry", 1, "x");
    let client = stage.try_connect("a", |connect| connect.clean_start = false);
    assert!(!is_present(&client.accepted()));
    client.expect_nothing();
}

/// Client "a" in a session that lasts, with nothing in it.
#[track_caller]
fn new_session(stage: &Stage) -> Client {
    stage.connect("a", |_| ()).disconnect();
    stage.connect("a", persistent)
}

/// The same, subscribed.
#[track_caller]
fn subscribed(stage: &Stage, topic: &str, qos: u8) -> Client {
    let client = new_session(stage);
    client.subscribe(topic, qos);
    client
}
