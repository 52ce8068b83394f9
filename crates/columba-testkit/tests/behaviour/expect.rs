//! Conditions, and what a failure says.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use columba_testkit::codec::PacketType;
use columba_testkit::{
    Condition, QoS, ReasonCode, Version, World, connected, delivered, disconnected, on, persistent,
    published, sequence, session, subscribed, will,
};

const V5: Version = Version::V5;

/// What the panic says when this is expected and is not so.
fn failure(world: &World, condition: impl Into<Condition>) -> String {
    let condition = condition.into();
    let outcome = catch_unwind(AssertUnwindSafe(|| world.expect(condition)));
    *outcome.expect_err("it is not so").downcast::<String>().expect("a panic with a text")
}

fn stage() -> World {
    let world = World::new();
    let a = world.connect("a", V5, |connect| {
        persistent(connect);
        connect.keep_alive = 30;
        connect.will = Some(will("gone/a", "x"));
    });
    a.subscribe("t/#", 1);
    let b = world.connect("b", Version::V3_1_1, |_| ());
    b.publish("t/1", 1, "hello");
    b.disconnect();
    world
}

#[test]
fn what_is_so_is_accepted() {
    let world = stage();
    world.expect(published("t/+").client("b").payload("hello").qos(QoS::AtLeastOnce).retain(false).times(1));
    world.expect(delivered("#").client("a").dup(false).matching(|publish| publish.packet_id.is_some()));
    world.expect(published("nothing/here").times(0));
    world.expect(connected("a").version(V5).clean_start(false).keep_alive(30).will("gone/a"));
    world.expect(disconnected("b").reason(ReasonCode::Success));
    world.expect(subscribed("a", "t/#").qos(QoS::AtLeastOnce));
    world.expect(session("a").connected(true).inflight(1).queued(0).subscriptions(1));
    world.expect(session("b").absent());
    world.expect(sequence(
        "b",
        &["-> CONNECT", "<- CONNACK 00", "-> PUBLISH t/1=hello q1", "<- PUBACK #1", "-> DISCONNECT 00"],
    ));
}

#[test]
fn what_is_not_so_is_shown_with_what_is() {
    let world = stage();
    let text = failure(&world, published("t/1").payload("other"));
    assert!(text.contains("a message published on t/1, payload \"other\""), "{text}");
    assert!(text.contains("PUBLISH t/1=hello q1"), "{text}");
    assert!(text.contains("CONNACK 00"), "the transcript is shown: {text}");
    assert!(failure(&world, disconnected("a")).contains("it is connected"));
    assert!(failure(&world, disconnected("b").reason(ReasonCode::NotAuthorized)).contains("87"));
    assert!(failure(&world, disconnected("c")).contains("never connected"));
    assert!(failure(&world, subscribed("a", "t/1")).contains("t/# at QoS 1"));
    assert!(failure(&world, session("a").queued(3)).contains("3 queued"));
    assert!(failure(&world, session("c")).contains("there is none"));
    assert!(failure(&world, connected("a").keep_alive(31)).contains("keep alive 31"));
    assert!(failure(&world, sequence("b", &["-> CONNECT"])).contains("<- PUBACK #1"));
}

#[test]
fn a_world_runs_until_it_is_so() {
    let world = stage();
    assert!(world.cut("a"));
    world.expect_within(Duration::from_hours(1), session("a").absent());
    assert_eq!(world.now(), Duration::from_hours(1));
    let c = world.connect("c", V5, |_| ());
    c.subscribe("slow", 0);
    world.fault(on(PacketType::Publish).from_broker().delay(Duration::from_secs(10)));
    c.publish("slow", 0, "x");
    world.expect_quiet("d", Duration::from_secs(20));
    c.expect("PUBLISH slow=x");
}

#[test]
fn a_fault_is_waited_for() {
    let world = stage();
    let lost = world.fault(on(PacketType::PubAck).from_broker().lose());
    assert!(failure(&world, lost.happened(1)).contains("it has happened 0 times"));
    let c = world.connect("c", V5, |_| ());
    c.start("t/2", 1, "x", |_| ());
    c.start("t/2", 1, "y", |_| ());
    world.expect(lost.happened(1));
    world.expect(lost.happened(2));
    assert!(failure(&world, lost.happened(3)).contains("a fault to happen 3 times"));
    lost.remove();
    assert_eq!(lost.hits(), 2, "what has happened stays so");
}
