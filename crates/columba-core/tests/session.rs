//! Sessions: how long they last, what they keep and who takes them over.

use columba_core::Event;
use columba_core::codec::PacketType::PubRel;
use columba_core::codec::{Connect, Packet, ReasonCode, Version};

use crate::world::{ALL, Received, V3_1, V3_1_1, V5, World, persistent, will};

/// For CONNECT: go on with the session, which is to last so long.
fn expiring_in(seconds: u32) -> impl Fn(&mut Connect<'_>) {
    move |connect| {
        connect.clean_start = false;
        connect.properties.session_expiry = Some(seconds);
    }
}

fn is_present(connack: &Received) -> bool {
    connack.text.ends_with("present")
}

/// Connects once more and says whether there was a session.
fn resumes(world: &World, id: &str, version: Version) -> bool {
    let client = world.try_connect(id, version, persistent);
    is_present(&client.accepted())
}

/// [MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.2.2-3], [MQTT-3.2.2-2 of 3.1.1] [MQTT-3.2.2-3 of 3.1.1]
/// [MQTT-3.1.2-4 of 3.1.1] [MQTT-3.1.3-2 of 3.1.1] [MQTT-4.1.0-1 of 3.1.1]
#[test]
fn a_session_goes_on_and_the_client_is_told_so() {
    for version in [V3_1_1, V5] {
        let world = World::new();
        assert!(!resumes(&world, "a", version));
        assert!(resumes(&world, "a", version));
        assert!(!resumes(&world, "A", version), "another client id, another session [MQTT-3.1.3-2]");
    }
}

/// 3.1 has a session but no word for its presence.
#[test]
fn a_client_of_3_1_is_never_told_of_its_session() {
    let world = World::new();
    world.connect("a", V3_1, persistent).subscribe("t", 1);
    world.connect("p", V5, |_| ()).publish("t", 1, "x");
    let client = world.try_connect("a", V3_1, persistent);
    assert_eq!(client.next().bytes, [0x20, 2, 0, 0]);
    client.expect_all(&["PUBLISH t=x q1 #1 dup"]);
}

/// Subscriptions, what waits, what is in flight and what is being received: nothing outlives a clean start.
/// [MQTT-3.1.2-4] [MQTT-3.2.2-2] [MQTT-3.1.4-4], [MQTT-3.1.2-6 of 3.1.1] [MQTT-3.1.4-3 of 3.1.1]
#[test]
fn clean_start_ends_the_old_session() {
    for version in ALL {
        let world = World::new();
        let publisher = world.connect("p", V5, |_| ());
        let client = world.connect("a", version, persistent);
        client.subscribe("t", 2);
        publisher.publish("t", 1, "in flight");
        client.start("own", 2, "x", |_| ());
        client.drop_link();
        publisher.publish("t", 1, "waits");

        let client = world.try_connect("a", version, |_| ());
        assert!(!is_present(&client.accepted()));
        client.expect_nothing();
        publisher.publish("t", 1, "y");
        client.ack(PubRel, 2);
        client.expect_all(&[if client.is_v5() { "PUBCOMP #2 92" } else { "PUBCOMP #2" }]);
        assert_eq!(world.metrics().stored, 0);
    }
}

/// [MQTT-3.1.2-23] [MQTT-4.1.0-2], [MQTT-3.1.2-6 of 3.1.1]
#[test]
fn a_session_that_is_not_to_last_ends_with_its_connection() {
    for version in ALL {
        for polite in [false, true] {
            let world = World::new();
            let client = world.connect("a", version, |connect| connect.clean_start = version < V5);
            client.subscribe("t", 1);
            if polite {
                client.disconnect();
            } else {
                client.drop_link();
            }
            assert_eq!((world.metrics().sessions, world.metrics().subscriptions), (0, 0));
            assert!(!resumes(&world, "a", version));
        }
    }
}

/// To the second, and not a moment earlier. [MQTT-4.1.0-2]
#[test]
fn a_session_expires_when_its_time_is_over() {
    for (seconds, kept) in [(99, true), (100, false)] {
        let world = World::new();
        world.connect("a", V5, expiring_in(100)).drop_link();
        world.advance(seconds);
        assert_eq!(world.metrics().sessions, usize::from(kept));
        assert_eq!(world.metrics().sessions_expired, u64::from(!kept));
        assert_eq!(resumes(&world, "a", V5), kept);
    }
}

/// [MQTT-4.1.0-1] [MQTT-4.1.0-2 of 3.1.1]
#[test]
fn a_session_does_not_expire_while_its_client_is_here() {
    let world = World::new();
    let client = world.connect("a", V5, expiring_in(10));
    client.drop_link();
    world.advance(9);
    let client = world.connect("a", V5, expiring_in(10));
    world.advance(86_400);
    client.ping();
    client.drop_link();
    world.advance(9);
    assert!(resumes(&world, "a", V5), "the time starts when the client leaves");
}

/// 0xFFFFFFFF, and every session of an older client that is to last.
#[test]
fn some_sessions_never_expire() {
    let world = World::new();
    world.connect("5", V5, expiring_in(u32::MAX)).drop_link();
    world.connect("4", V3_1_1, persistent).drop_link();
    world.connect("3", V3_1, persistent).drop_link();
    world.connect("long", V5, expiring_in(u32::MAX - 1)).drop_link();
    world.advance(u64::from(u32::MAX));
    let mut left = world.core(|core, _| core.clients().map(|client| client.client_id).collect::<Vec<_>>());
    left.sort();
    assert_eq!(left.iter().map(|id| &**id).collect::<Vec<_>>(), ["3", "4", "5"]);
    assert_eq!(world.next_deadline(), None);
}

#[test]
fn disconnect_may_change_the_expiry() {
    for (at_connect, at_disconnect, after, kept) in [
        (100, None, 99, true),
        (100, None, 100, false),
        (100, Some(0), 0, false),
        (100, Some(10), 9, true),
        (100, Some(10), 10, false),
        (100, Some(1000), 999, true),
        (100, Some(1000), 1000, false),
        (100, Some(u32::MAX), 1_000_000, true),
        (0, Some(0), 0, false),
    ] {
        let world = World::new();
        let client = world.connect("a", V5, expiring_in(at_connect));
        client.disconnect_with(ReasonCode::Success, at_disconnect);
        client.expect_closed();
        world.advance(after);
        let case = format!("{at_connect} then {at_disconnect:?} after {after}");
        assert_eq!(world.metrics().sessions, usize::from(kept), "{case}");
    }
}

/// It is a protocol error and does not count as a DISCONNECT, so the will is sent (§ 3.14.2.2.2).
#[test]
fn disconnect_cannot_raise_an_expiry_of_zero() {
    for explicit in [None, Some(0)] {
        let world = World::new();
        let watcher = world.connect("w", V5, |_| ());
        watcher.subscribe("will", 0);
        let client = world.connect("a", V5, |connect| {
            connect.properties.session_expiry = explicit;
            connect.will = Some(will("will", "x"));
        });
        client.disconnect_with(ReasonCode::Success, Some(1));
        client.expect_disconnect(0x82);
        watcher.expect_all(&["PUBLISH will=x"]);
        assert_eq!(world.metrics().sessions, 1);
    }
}

#[test]
fn the_broker_may_bound_the_expiry() {
    let announced = |world: &World, asked| {
        let client = world.try_connect("a", V5, expiring_in(asked));
        match client.accepted().packet() {
            Packet::ConnAck(ack) => ack.properties.session_expiry,
            _ => None,
        }
    };
    let world = World::with(|config| config.maximum_session_expiry = Some(100));
    assert_eq!(announced(&world, 0), None);
    assert_eq!(announced(&world, 100), None);
    assert_eq!(announced(&world, 101), Some(100));
    assert_eq!(announced(&world, u32::MAX), Some(100));
    let client = world.connect("a", V5, expiring_in(50));
    client.disconnect_with(ReasonCode::Success, Some(5000));
    for version in [V3_1, V3_1_1] {
        world.connect(&version.to_string(), version, persistent).drop_link();
    }
    world.advance(99);
    assert_eq!(world.metrics().sessions, 3);
    world.advance(1);
    assert_eq!(world.metrics().sessions, 0);
}

/// [MQTT-4.5.0-1], [MQTT-3.1.2-5 of 3.1.1] [MQTT-4.5.0-1 of 3.1.1]
#[test]
fn messages_wait_for_an_absent_client() {
    for version in ALL {
        let world = World::new();
        let client = world.connect("a", version, persistent);
        client.subscribe("t/#", 2);
        client.disconnect();
        let publisher = world.connect("p", V5, |_| ());
        for qos in [0, 1, 2] {
            publisher.publish(&format!("t/{qos}"), qos, "x");
        }
        world.advance(1000);
        let client = world.connect("a", version, persistent);
        client.expect_all(&["PUBLISH t/1=x q1 #1", "PUBLISH t/2=x q2 #2"]);
    }
}

#[test]
fn qos_0_waits_too_if_the_broker_is_told_so() {
    let world = World::with(|config| config.queue_qos0_offline = true);
    let client = world.connect("a", V3_1_1, persistent);
    client.subscribe("t", 2);
    client.stall();
    let publisher = world.connect("p", V5, |_| ());
    publisher.publish("t", 0, "unsent");
    client.drop_link();
    publisher.publish("t", 1, "waits");
    publisher.publish("t", 0, "waits as well");
    let client = world.connect("a", V3_1_1, persistent);
    client.expect_all(&["PUBLISH t=unsent", "PUBLISH t=waits q1 #1", "PUBLISH t=waits as well"]);
}

/// [MQTT-3.1.4-3], [MQTT-3.1.4-2 of 3.1.1]
#[test]
fn a_second_connection_takes_the_session_over() {
    for old in ALL {
        for new in ALL {
            let world = World::new();
            let first = world.connect("a", old, persistent);
            first.subscribe("t", 1);
            let second = world.try_connect("a", new, persistent);
            assert_eq!(is_present(&second.accepted()), new > V3_1);
            first.expect_disconnect(0x8e);
            world.connect("p", V5, |_| ()).publish("t", 1, "x");
            second.expect_all(&["PUBLISH t=x q1 #1"]);
            assert_eq!(world.metrics().connections, 2);
        }
    }
}

/// What was in flight on the connection that is taken over comes again on the new one.
#[test]
fn takeover_sends_again_what_was_in_flight() {
    let world = World::new();
    let first = world.connect("a", V5, persistent);
    first.subscribe("t", 1);
    let publisher = world.connect("p", V5, |_| ());
    publisher.publish("t", 1, "x");
    first.expect("PUBLISH t=x q1 #1");
    first.stall();
    publisher.publish("t", 1, "y");
    let second = world.connect("a", V5, persistent);
    second.expect_all(&["PUBLISH t=x q1 #1 dup", "PUBLISH t=y q1 #2"]);
    // The old connection is still there, unread; nothing it sends counts any more.
    first.ack(columba_core::codec::PacketType::PubAck, 2);
    first.resume();
    first.expect_disconnect(0x8e);
    assert_eq!(world.metrics().stored, 2);
}

/// A session of a client that meant to leave nothing behind ends when its connection is taken over.
#[test]
fn a_session_that_was_not_to_last_is_not_taken_over() {
    for version in ALL {
        let world = World::new();
        let first = world.connect("a", version, |connect| connect.clean_start = version < V5);
        first.subscribe("t", 1);
        assert!(!resumes(&world, "a", V5));
        first.expect_disconnect(0x8e);
        assert_eq!(world.metrics().subscriptions, 0);
    }
}

#[test]
fn a_clean_start_takes_the_connection_over_and_not_the_session() {
    let world = World::new();
    let first = world.connect("a", V5, persistent);
    first.subscribe("t", 1);
    let _second = world.connect("a", V5, |_| ());
    first.expect_disconnect(0x8e);
    assert_eq!((world.metrics().subscriptions, world.metrics().sessions), (0, 1));
    let ended = |event: &Event| matches!(event, Event::SessionEnded { expired: false, .. });
    assert_eq!(world.events().iter().filter(|event| ended(event)).count(), 1);
}

/// A refused CONNECT disturbs nobody. [MQTT-3.1.4-2]
#[test]
fn a_refused_connect_takes_nothing_over() {
    let world = World::with(|config| config.maximum_qos = columba_core::codec::QoS::AtMostOnce);
    let first = world.connect("a", V5, persistent);
    let second = world.try_connect("a", V5, |connect| {
        connect.will = Some(columba_core::codec::Will { qos: crate::world::level(1), ..will("w", "x") });
    });
    second.expect_refused(0x9b);
    first.ping();
}
