//! Wills: when they are published, and as what.

use columba_testkit::codec::{Connect, List, Will};
use columba_testkit::{Client, ReasonCode, level, will};

use crate::answers::{next_publish, sent_away};
use crate::stage::{Group, Stage, tests};

pub(crate) const TESTS: &[Group] = &[
    tests!(ALL =>
        a_will_is_published_when_the_connection_fails,
        a_will_is_published_when_its_client_breaks_the_protocol,
        a_will_is_published_when_its_client_is_displaced,
        a_will_is_not_published_after_disconnect,
        a_will_is_published_once,
        a_will_that_was_revoked_does_not_come_back,
        without_a_will_none_is_published,
        a_will_is_published_at_its_qos,
        a_will_without_retain_flag_is_not_retained,
        a_will_with_retain_flag_is_retained,
    ),
    tests!(ONLY_5 =>
        a_will_is_published_after_disconnect_with_will,
        a_will_waits_for_its_delay,
        a_will_does_not_wait_longer_than_its_session,
        a_will_is_published_at_once_where_the_session_ends_with_the_connection,
        who_comes_back_within_the_delay_has_left_no_will,
        the_user_properties_of_a_will_keep_their_order,
    ),
];

/// [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-8 of 3.1.1]
fn a_will_is_published_when_the_connection_fails(stage: &Stage) {
    let watcher = watching(stage, "will/fails");
    with_will(stage, "will/fails").drop_link();
    watcher.expect_all(&["PUBLISH will/fails=gone"]);
}

/// [MQTT-3.1.2-8] [MQTT-3.1.2-8 of 3.1.1]
fn a_will_is_published_when_its_client_breaks_the_protocol(stage: &Stage) {
    let watcher = watching(stage, "will/breaks");
    let client = with_will(stage, "will/breaks");
    // PUBLISH with QoS 3.
    client.send_bytes(b"\x36\x06\x00\x01t\x00\x01\x00");
    sent_away(&client);
    watcher.expect_all(&["PUBLISH will/breaks=gone"]);
}

/// [MQTT-3.1.2-8] [MQTT-3.1.2-8 of 3.1.1]
fn a_will_is_published_when_its_client_is_displaced(stage: &Stage) {
    let watcher = watching(stage, "will/displaced");
    let _old = with_will(stage, "will/displaced");
    let _new = stage.connect("a", |_| ());
    watcher.expect_all(&["PUBLISH will/displaced=gone"]);
}

/// [MQTT-3.1.2-8] [MQTT-3.1.2-10] [MQTT-3.1.2-8 of 3.1.1] [MQTT-3.1.2-10 of 3.1.1]
fn a_will_is_not_published_after_disconnect(stage: &Stage) {
    let watcher = watching(stage, "will/goodbye");
    with_will(stage, "will/goodbye").disconnect();
    watcher.expect_nothing();
}

/// [MQTT-3.1.2-10] [MQTT-3.1.2-10 of 3.1.1]
fn a_will_is_published_once(stage: &Stage) {
    let watcher = watching(stage, "will/once");
    with_will(stage, "will/once").drop_link();
    watcher.expect("PUBLISH will/once=gone");
    stage.connect("a", |connect| connect.clean_start = false).drop_link();
    watcher.expect_nothing();
}

/// [MQTT-3.1.2-10] [MQTT-3.1.2-10 of 3.1.1] [MQTT-3.1.2-12 of 3.1.1]
fn a_will_that_was_revoked_does_not_come_back(stage: &Stage) {
    let watcher = watching(stage, "will/revoked");
    let client = stage.connect("a", |connect| {
        columba_testkit::persistent(connect);
        connect.will = Some(will("will/revoked", "gone"));
    });
    client.disconnect();
    stage.connect("a", columba_testkit::persistent).drop_link();
    watcher.expect_nothing();
}

/// [MQTT-3.1.2-12 of 3.1.1]
fn without_a_will_none_is_published(stage: &Stage) {
    let watcher = watching(stage, "will/none");
    with_will(stage, "will/none").disconnect();
    stage.connect("b", |_| ()).drop_link();
    stage.connect("a", |_| ()).drop_link();
    watcher.expect_nothing();
}

/// [MQTT-3.1.2-12] [MQTT-3.1.2-14 of 3.1.1]
fn a_will_is_published_at_its_qos(stage: &Stage) {
    let watcher = watching(stage, "will/qos");
    for qos in 0..3 {
        let client = stage.connect("a", |connect| {
            connect.will = Some(Will { qos: level(qos), ..will("will/qos", "gone") });
        });
        client.drop_link();
        assert_eq!(next_publish(&watcher, |publish| publish.qos), level(qos));
    }
}

/// [MQTT-3.1.2-14] [MQTT-3.1.2-16 of 3.1.1]
fn a_will_without_retain_flag_is_not_retained(stage: &Stage) {
    let watcher = watching(stage, "will/passes");
    with_will(stage, "will/passes").drop_link();
    watcher.expect("PUBLISH will/passes=gone");
    let late = stage.connect("late", |_| ());
    late.subscribe("will/passes", 0);
    late.expect_nothing();
}

/// [MQTT-3.1.2-15] [MQTT-3.1.2-17 of 3.1.1]
fn a_will_with_retain_flag_is_retained(stage: &Stage) {
    let watcher = watching(stage, "will/stays");
    let client = stage.connect("a", |connect| {
        connect.will = Some(Will { retain: true, ..will("will/stays", "gone") });
    });
    client.drop_link();
    watcher.expect("PUBLISH will/stays=gone");
    let late = stage.connect("late", |_| ());
    late.subscribe("will/stays", 0);
    late.expect_all(&["PUBLISH will/stays=gone retain"]);
}

/// [MQTT-3.1.2-8]
fn a_will_is_published_after_disconnect_with_will(stage: &Stage) {
    let watcher = watching(stage, "will/wanted");
    let client = with_will(stage, "will/wanted");
    client.disconnect_with(ReasonCode::DisconnectWithWill, None);
    client.expect_closed();
    watcher.expect_all(&["PUBLISH will/wanted=gone"]);
}

/// [MQTT-3.1.2-8] [MQTT-3.1.2-7]
fn a_will_waits_for_its_delay(stage: &Stage) {
    let watcher = watching(stage, "will/delay");
    stage.connect("a", delayed("will/delay", 3, 60)).drop_link();
    stage.advance(1);
    watcher.expect_nothing();
    stage.advance(3);
    watcher.expect_all(&["PUBLISH will/delay=gone"]);
}

/// [MQTT-3.1.2-8]
fn a_will_does_not_wait_longer_than_its_session(stage: &Stage) {
    let watcher = watching(stage, "will/session");
    stage.connect("a", delayed("will/session", 60, 2)).drop_link();
    watcher.expect_nothing();
    stage.advance(4);
    watcher.expect_all(&["PUBLISH will/session=gone"]);
}

/// [MQTT-3.1.2-8]
fn a_will_is_published_at_once_where_the_session_ends_with_the_connection(stage: &Stage) {
    let watcher = watching(stage, "will/at_once");
    stage.connect("a", delayed("will/at_once", 60, 0)).drop_link();
    watcher.expect_all(&["PUBLISH will/at_once=gone"]);
}

/// [MQTT-3.1.3-9] [MQTT-3.1.2-8]
fn who_comes_back_within_the_delay_has_left_no_will(stage: &Stage) {
    let watcher = watching(stage, "will/back");
    stage.connect("a", delayed("will/back", 3, 60)).drop_link();
    stage.advance(1);
    let _back = stage.connect("a", |connect| {
        connect.clean_start = false;
        connect.properties.session_expiry = Some(60);
    });
    stage.advance(5);
    watcher.expect_nothing();
}

const PROPERTIES: [(&str, &str); 5] = [("b", "1"), ("a", "2"), ("b", "1"), ("c", ""), ("a", "1")];

/// [MQTT-3.1.3-10]
fn the_user_properties_of_a_will_keep_their_order(stage: &Stage) {
    let watcher = watching(stage, "will/properties");
    let client = stage.connect("a", |connect| {
        let mut will = will("will/properties", "gone");
        will.properties.user_properties = List::from_slice(&PROPERTIES);
        connect.will = Some(will);
    });
    client.drop_link();
    next_publish(&watcher, |publish| {
        let found: Vec<_> = publish.properties.user_properties.iter().collect();
        assert_eq!(found, PROPERTIES);
    });
}

/// A client that waits for wills.
#[track_caller]
fn watching(stage: &Stage, topic: &str) -> Client {
    let client = stage.connect("watcher", |_| ());
    client.subscribe(topic, 2);
    client
}

/// Client "a" with a will under this topic.
#[track_caller]
fn with_will(stage: &Stage, topic: &'static str) -> Client {
    stage.connect("a", move |connect| connect.will = Some(will(topic, "gone")))
}

/// For CONNECT: a will that waits, in a session that lasts so many seconds.
fn delayed(topic: &'static str, delay: u32, session: u32) -> impl FnOnce(&mut Connect<'_>) {
    move |connect| {
        connect.properties.session_expiry = Some(session);
        connect.will = Some(Will { delay: Some(delay), ..will(topic, "gone") });
    }
}
