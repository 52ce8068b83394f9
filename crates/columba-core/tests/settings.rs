//! Settings with which a broker would break its promises: each counts as the least that keeps them.

use columba_core::Limits;
use columba_core::codec::Packet;
use columba_core::codec::PacketType::{PubAck, PubRel};

use crate::world::{ALL, V5, World};

fn limited(adjust: impl FnOnce(&mut Limits)) -> World {
    World::with(|config| adjust(&mut config.limits))
}

/// One message at a time is the least a subscriber can be sent, and all of them arrive.
#[test]
fn inflight_is_at_least_one() {
    for version in ALL {
        let world = limited(|limits| limits.inflight = 0);
        assert_eq!(world.core(|core, _| core.config().limits.inflight), 1);
        let client = world.connect("a", version, |_| ());
        client.subscribe("t", 2);
        let publisher = world.connect("p", V5, |_| ());
        for qos in [1, 2, 0] {
            publisher.publish("t", qos, qos.to_string());
        }
        client.expect("PUBLISH t=1 q1 #1");
        client.expect_nothing();
        client.ack(PubAck, 1);
        assert_eq!(client.messages(), ["t=2", "t=0"]);
    }
}

/// There is no Receive Maximum of 0, and its absence would promise 65,535. [MQTT-3.3.4-7]
#[test]
fn receive_maximum_is_at_least_one() {
    let world = limited(|limits| limits.receive_maximum = 0);
    let client = world.try_connect("a", V5, |_| ());
    match client.accepted().packet() {
        Packet::ConnAck(ack) => assert_eq!(ack.properties.receive_maximum.map(u16::from), Some(1)),
        _ => panic!("CONNACK is what was accepted"),
    }
    client.start("t", 2, "x", |_| ());
    client.expect("PUBREC #1 10");
    client.ack(PubRel, 1);
    client.expect("PUBCOMP #1");
    client.start("t", 2, "x", |_| ());
    client.expect("PUBREC #2 10");
    client.start("t", 2, "x", |_| ());
    client.expect_disconnect(0x93);
}

/// No broker may refuse what is that short. [MQTT-3.1.3-5], [MQTT-3.1.3-5 of 3.1.1]
#[test]
fn client_id_len_is_at_least_23() {
    for limit in [0, 22, 23] {
        for version in ALL {
            let world = limited(|limits| limits.client_id_len = limit);
            world.connect(&"x".repeat(23), version, |_| ()).ping();
            let code = if version == V5 { 0x85 } else { 2 };
            world.try_connect(&"x".repeat(24), version, |_| ()).expect_refused(code);
        }
    }
}

/// A call that hands out nothing would be made for ever.
#[test]
fn transmit_budget_is_at_least_one() {
    let world = limited(|limits| limits.transmit_budget = 0);
    assert_eq!(world.core(|core, _| core.config().limits.transmit_budget), 1);
    let client = world.connect("a", V5, |_| ());
    client.subscribe("t", 1);
    let publisher = world.connect("p", V5, |_| ());
    (0..3).for_each(|n| publisher.publish("t", 1, n.to_string()));
    assert_eq!(client.messages(), ["t=0", "t=1", "t=2"]);
}
