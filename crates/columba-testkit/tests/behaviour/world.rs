//! The simulated world.

use std::time::Duration;

use columba_testkit::{Version, World, persistent};

#[test]
fn a_month_takes_no_time() {
    let world = World::new();
    let device = world.connect("device", Version::V5, |connect| {
        persistent(connect);
        connect.properties.session_expiry = Some(31 * 86_400);
    });
    device.subscribe("command", 1);
    device.drop_link();
    world.connect("app", Version::V3_1_1, |_| ()).publish("command", 1, "on");
    world.advance(Duration::from_hours(30 * 24));
    let device = world.connect("device", Version::V5, persistent);
    device.expect_all(&["PUBLISH command=on q1 #1"]);
    world.wind_down();
}

#[test]
fn latency_delays_and_keeps_the_order() {
    let world = World::with_options(|options| {
        options.latency = (Duration::from_millis(10), Duration::from_millis(50));
    });
    let client = world.try_connect("a", Version::V5, |_| ());
    client.expect_nothing();
    world.advance(Duration::from_millis(19));
    client.expect_nothing();
    world.advance(Duration::from_millis(81));
    client.accepted();
    for number in 0..100 {
        client.start("t", 1, number.to_string(), |_| ());
    }
    world.advance(Duration::from_millis(100));
    for number in 1..=100 {
        client.expect(&format!("PUBACK #{number} 10"));
    }
    client.expect_nothing();
    world.wind_down();
}
