//! PINGREQ and PINGRESP.

use crate::stage::{Group, Stage, tests};
use crate::steps::delivered;

pub(crate) const TESTS: &[Group] = &[tests!(ALL =>
    a_ping_is_answered,
    every_ping_is_answered,
    a_ping_is_answered_while_a_message_is_not_acknowledged,
)];

/// [MQTT-3.12.4-1] [MQTT-3.12.4-1 of 3.1.1]
fn a_ping_is_answered(stage: &Stage) {
    let client = stage.connect("pinger", |_| ());
    client.send_bytes(b"\xc0\x00");
    client.expect_all(&["PINGRESP"]);
}

/// [MQTT-3.12.4-1] [MQTT-3.12.4-1 of 3.1.1]
fn every_ping_is_answered(stage: &Stage) {
    let client = stage.connect("pinger", |_| ());
    client.send_bytes(&b"\xc0\x00".repeat(5));
    client.expect_all(&["PINGRESP"; 5]);
}

/// [MQTT-3.12.4-1] [MQTT-3.12.4-1 of 3.1.1]
fn a_ping_is_answered_while_a_message_is_not_acknowledged(stage: &Stage) {
    let client = stage.connect("pinger", |_| ());
    client.subscribe("ping/waits", 2);
    stage.connect("publisher", |_| ()).publish("ping/waits", 2, "x");
    delivered(&client, "PUBLISH ping/waits=x q2 #n");
    client.send_bytes(b"\xc0\x00");
    client.expect_all(&["PINGRESP"]);
}
