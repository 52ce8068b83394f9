//! Where connections come from, and what happens when none can be had.

use columba::{Broker, BrokerGone, Listener, Version, memory};
use futures::future::join_all;

use crate::world::{Door, Wire, World};

fn open(broker: &Broker) -> Door {
    let door = Door::default();
    broker.serve(door.clone()).expect("the broker runs");
    door
}

/// A client that came through the door.
fn enter(door: &Door) -> Wire {
    let (theirs, ours) = memory::pipe(1000);
    door.arrive(theirs);
    Wire::new(ours, Version::V3_1_1)
}

async fn greet(wire: &mut Wire, id: &str) {
    let packet = columba::codec::Connect::new(Version::V3_1_1, id);
    wire.send(&columba::codec::Packet::Connect(Box::new(packet))).await;
    wire.accepted().await;
}

#[test]
fn connections_are_accepted_from_every_listener() {
    let (broker, mut world) = World::new();
    let doors = [open(&broker), open(&broker)];
    world.run(async {
        for (number, door) in doors.iter().cycle().take(10).enumerate() {
            let mut wire = enter(door);
            let id = format!("client {number}");
            greet(&mut wire, &id).await;
            let clients = broker.clients().await.unwrap();
            let [client] = &clients[..] else { panic!("{clients:?}") };
            let peer = &client.connection.as_ref().unwrap().peer;
            assert_eq!((&*client.client_id, peer.transport), (id.as_str(), "door"));
            wire.disconnect().await;
            wire.ended().await;
        }
    });
}

#[test]
fn a_crowd_is_let_in_at_once() {
    let (broker, mut world) = World::new();
    let door = open(&broker);
    world.settle();
    let mut wires: Vec<Wire> = (0..1000).map(|_| enter(&door)).collect();
    world.run(async {
        join_all(
            wires.iter_mut().zip(0..).map(async |(wire, number)| greet(wire, &format!("{number}")).await),
        )
        .await;
        assert_eq!(broker.metrics().await.unwrap().connections, 1000);
    });
    world.settle();
    assert!(door.asked() < 1100, "{} questions for a thousand connections", door.asked());
}

#[test]
fn a_failure_costs_one_connection() {
    let (broker, mut world) = World::new();
    let door = open(&broker);
    world.settle();
    for _ in 0..50 {
        door.fail_once();
    }
    let mut wire = enter(&door);
    world.settle();
    assert_eq!(door.asked(), 1 + 50 + 2, "a few failures are no reason to wait");
    world.run(greet(&mut wire, "after them"));
}

#[test]
fn a_listener_that_only_fails_does_not_keep_the_broker_busy() {
    let (broker, mut world) = World::new();
    let (broken, fine) = (open(&broker), open(&broker));
    broken.set_broken(true);
    world.settle();
    let asked = broken.asked();
    assert!((1..=1000).contains(&asked), "it was asked {asked} times without a pause");
    world.run(async {
        // Meanwhile everybody else is served.
        let mut wire = enter(&fine);
        greet(&mut wire, "elsewhere").await;
        // It is asked again after a while, and when it has recovered all is well.
        while broken.asked() == asked {
            wire.send(&columba::codec::Packet::PingReq).await;
            wire.next().await;
        }
        broken.set_broken(false);
        let mut wire = enter(&broken);
        greet(&mut wire, "at last").await;
    });
}

#[test]
fn listeners_go_when_the_broker_does() {
    let (broker, mut world) = World::new();
    let (served, unserved) = (open(&broker), Door::default());
    world.settle();
    assert_eq!(served.handles(), 2);
    broker.serve(unserved.clone()).unwrap();
    world.drop_driver();
    assert_eq!((served.handles(), unserved.handles()), (1, 1));
    assert_eq!(broker.serve(served.clone()), Err(BrokerGone));
    assert_eq!(served.handles(), 1);
}

#[test]
fn a_boxed_listener_is_a_listener() {
    let (broker, mut world) = World::new();
    let door = Door::default();
    let boxed: Box<dyn Listener> = Box::new(door.clone());
    assert_eq!(boxed.address(), "door");
    broker.serve(boxed).unwrap();
    let mut wire = enter(&door);
    world.run(greet(&mut wire, "a"));
}
