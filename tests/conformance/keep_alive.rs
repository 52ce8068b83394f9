//! Keep alive: who stays silent for too long is disconnected.

use std::time::Duration;

use columba_testkit::{Client, will};

use crate::answers::{announced, sent_away_with};
use crate::raw;
use crate::stage::{Group, Stage, tests};

pub(crate) const TESTS: &[Group] = &[
    tests!(ALL =>
        a_silent_client_is_disconnected,
        the_will_of_a_silent_client_is_published,
        pingreq_keeps_a_connection_alive,
        any_packet_keeps_a_connection_alive,
        part_of_a_packet_keeps_nothing_alive,
        what_the_broker_sends_keeps_nothing_alive,
        without_keep_alive_a_client_may_stay_silent,
    ),
    tests!(ONLY_5 => without_a_server_keep_alive_the_clients_own_holds),
    tests!(ONLY_5, |config| config.server_keep_alive = Some(10) =>
        the_server_keep_alive_is_announced,
        a_shorter_server_keep_alive_holds,
        a_longer_server_keep_alive_holds,
        a_server_keep_alive_holds_for_a_client_that_wanted_none,
    ),
];

/// How long a broker may take to look after its connections. The standard does not say.
const PATIENCE: Duration = Duration::from_secs(10);

/// [MQTT-3.1.2-22] [MQTT-3.1.2-24 of 3.1.1]
fn a_silent_client_is_disconnected(stage: &Stage) {
    let client = stage.connect("a", |connect| connect.keep_alive = 2);
    stage.advance(3);
    timed_out(&client);
}

/// As if the network had failed. [MQTT-3.1.2-22] [MQTT-3.1.2-24 of 3.1.1]
fn the_will_of_a_silent_client_is_published(stage: &Stage) {
    let watcher = stage.connect("watcher", |_| ());
    watcher.subscribe("keep_alive/will", 0);
    let client = stage.connect("a", |connect| {
        connect.keep_alive = 2;
        connect.will = Some(will("keep_alive/will", "gone"));
    });
    stage.advance(3);
    timed_out(&client);
    watcher.expect_all(&["PUBLISH keep_alive/will=gone"]);
}

/// [MQTT-3.1.2-20] [MQTT-3.1.2-23 of 3.1.1]
fn pingreq_keeps_a_connection_alive(stage: &Stage) {
    stays(stage, |client| client.ping());
}

/// [MQTT-3.1.2-22] [MQTT-3.1.2-24 of 3.1.1]
fn any_packet_keeps_a_connection_alive(stage: &Stage) {
    stays(stage, |client| client.publish("keep_alive/any", 0, "x"));
}

/// It is no packet before it is whole. [MQTT-3.1.2-22] [MQTT-3.1.2-24 of 3.1.1]
fn part_of_a_packet_keeps_nothing_alive(stage: &Stage) {
    let client = stage.connect("a", |connect| connect.keep_alive = 2);
    let publish = raw::publish(stage.version, 0, b"keep_alive/part", None, b"x");
    for byte in &publish[..3] {
        client.send_bytes(&[*byte]);
        stage.advance(1);
    }
    timed_out(&client);
}

/// [MQTT-3.1.2-22] [MQTT-3.1.2-24 of 3.1.1]
fn what_the_broker_sends_keeps_nothing_alive(stage: &Stage) {
    let client = stage.connect("a", |connect| connect.keep_alive = 3);
    client.subscribe("keep_alive/messages", 0);
    let publisher = stage.connect("b", |_| ());
    for _ in 0..4 {
        stage.advance(1);
        publisher.publish("keep_alive/messages", 0, "x");
        client.expect("PUBLISH keep_alive/messages=x");
    }
    stage.advance(1);
    timed_out(&client);
}

/// No id in either standard.
fn without_keep_alive_a_client_may_stay_silent(stage: &Stage) {
    let client = stage.connect("a", |connect| connect.keep_alive = 0);
    stage.advance(1_000_000);
    client.ping();
}

/// [MQTT-3.2.2-22]
fn without_a_server_keep_alive_the_clients_own_holds(stage: &Stage) {
    let client = stage.try_connect("a", |connect| connect.keep_alive = 2);
    let connack = client.accepted();
    if announced(&client, &connack).server_keep_alive.is_none() {
        stage.advance(3);
        timed_out(&client);
    }
}

/// [MQTT-3.1.2-21] [MQTT-3.2.2-21]
fn the_server_keep_alive_is_announced(stage: &Stage) {
    let client = stage.try_connect("a", |connect| connect.keep_alive = 1000);
    let connack = client.accepted();
    assert_eq!(announced(&client, &connack).server_keep_alive, Some(10));
}

/// [MQTT-3.1.2-21] [MQTT-3.2.2-21]
fn a_shorter_server_keep_alive_holds(stage: &Stage) {
    let client = stage.connect("a", |connect| connect.keep_alive = 1000);
    stage.advance(15);
    timed_out(&client);
}

/// [MQTT-3.1.2-21] [MQTT-3.2.2-21]
fn a_longer_server_keep_alive_holds(stage: &Stage) {
    let client = stage.connect("a", |connect| connect.keep_alive = 1);
    stage.advance(14);
    client.ping();
    stage.advance(15);
    timed_out(&client);
}

/// [MQTT-3.1.2-21] [MQTT-3.2.2-21]
fn a_server_keep_alive_holds_for_a_client_that_wanted_none(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    stage.advance(15);
    timed_out(&client);
}

/// The client is disconnected for its silence.
#[track_caller]
fn timed_out(client: &Client) {
    client.patience(PATIENCE);
    sent_away_with(client, &[0x8d, 0x80]);
}

/// A client with a keep alive of 2 seconds that does this every second.
#[track_caller]
fn stays(stage: &Stage, act: fn(&Client)) {
    let client = stage.connect("a", |connect| connect.keep_alive = 2);
    for _ in 0..5 {
        stage.advance(1);
        act(&client);
    }
    client.ping();
}
