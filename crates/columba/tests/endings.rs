//! How a broker ends: everybody is told, and nothing is left.

use std::time::{Duration, Instant};

use columba::codec::{Connect, Packet};
use columba::{Broker, BrokerGone, ClientError, Peer, Publish, QoS, ReasonCode, Version};
use futures::FutureExt;

use crate::world::{DEADLINE, Door, Link, LinkState, Wire, World, encode, next, text};

/// Longer than any test may take: a shutdown that ends was not waiting for it.
const AGES: Duration = Duration::from_hours(1);

#[test]
fn everybody_is_told_and_nothing_is_left() {
    let (broker, mut world) = World::new();
    let door = Door::default();
    broker.serve(door.clone()).unwrap();
    let (silent, silent_state) = Link::new();
    broker.attach(silent, Peer::default()).unwrap();
    world.run(async {
        let client = broker.client("in-process").connect().await.unwrap();
        client.subscribe("t", QoS::AtMostOnce).await.unwrap();
        client.publish("t", "last").await.unwrap();
        broker.metrics().await.unwrap();
        let mut modern = Wire::connect(&broker, "modern", Version::V5).await;
        let mut old = Wire::connect(&broker, "old", Version::V3_1_1).await;

        broker.shutdown(AGES).await;
        assert_eq!(modern.disconnected().await, ReasonCode::ServerShuttingDown);
        old.ended().await;
        assert_eq!(text(&next(&client).await), "last", "what came before can still be taken");
        assert!(client.recv().await.is_none());
        let error = ClientError::Disconnected(ReasonCode::ServerShuttingDown);
        assert_eq!(client.publish("t", "").await, Err(error));
    });
    assert!(world.is_over() && broker.is_gone());
    assert_eq!(door.handles(), 1, "the listener is dropped");
    assert!(silent_state.lock().unwrap().dropped, "and so is a connection that never said a word");
    assert_eq!(broker.attach(Link::new().0, Peer::default()), Err(BrokerGone));
}

#[test]
fn a_shutdown_can_be_asked_for_more_than_once() {
    let (broker, mut world) = World::new();
    world.run(async {
        let _client = broker.client("a").connect().await.unwrap();
        let clone = broker.clone();
        futures::join!(broker.shutdown(AGES), clone.shutdown(AGES), broker.shutdown(Duration::ZERO));
        broker.shutdown(AGES).await;
    });
    assert!(world.is_over());
}

#[test]
fn a_shutdown_that_nobody_waits_for_happens_all_the_same() {
    let (broker, mut world) = World::new();
    assert!(broker.shutdown(Duration::ZERO).now_or_never().is_none());
    world.settle();
    assert!(world.is_over());
}

/// A connection whose peer takes no more bytes.
fn block(broker: &Broker, world: &mut World, id: &str) -> std::sync::Arc<std::sync::Mutex<LinkState>> {
    let (link, state) = Link::new();
    broker.attach(link, Peer::default()).unwrap();
    let connect = encode(&Packet::Connect(Box::new(Connect::new(Version::V5, id))), Version::V5);
    LinkState::change(&state, |state| state.incoming.extend_from_slice(&connect));
    world.settle();
    LinkState::change(&state, |state| state.room = Some(0));
    state
}

#[test]
fn a_peer_that_is_blocked_is_given_its_time_and_no_more() {
    let (broker, mut world) = World::new();
    let state = block(&broker, &mut world, "blocked");
    let grace = Duration::from_millis(50);
    let from = Instant::now();
    world.run(broker.shutdown(grace));
    assert!((grace..DEADLINE).contains(&from.elapsed()), "{:?}", from.elapsed());
    assert!(world.is_over() && state.lock().unwrap().dropped);
}

#[test]
fn a_second_shutdown_can_shorten_the_first() {
    let (broker, mut world) = World::new();
    let state = block(&broker, &mut world, "blocked");
    let mut first = Box::pin(broker.shutdown(AGES));
    assert!(world.poll(first.as_mut()).is_pending());
    world.settle();
    assert!(!world.is_over() && !state.lock().unwrap().dropped, "the first waits");
    world.run(broker.shutdown(Duration::ZERO));
    assert!(world.poll(first.as_mut()).is_ready());
    assert!(state.lock().unwrap().dropped);
}

#[test]
fn a_peer_that_reads_again_gets_the_rest() {
    let (broker, mut world) = World::new();
    let state = block(&broker, &mut world, "blocked");
    let before = state.lock().unwrap().sent.len();
    let mut shutdown = Box::pin(broker.shutdown(AGES));
    assert!(world.poll(shutdown.as_mut()).is_pending());
    world.settle();
    assert!(!world.is_over());
    LinkState::change(&state, |state| state.room = None);
    world.run(shutdown);
    assert_eq!(state.lock().unwrap().sent[before..], *b"\xE0\x01\x8B");
    assert!(state.lock().unwrap().closed);
}

#[test]
fn nobody_comes_in_while_the_broker_shuts_down() {
    let (broker, mut world) = World::new();
    let state = block(&broker, &mut world, "blocked");
    let mut shutdown = Box::pin(broker.shutdown(AGES));
    assert!(world.poll(shutdown.as_mut()).is_pending());
    world.settle();
    let door = Door::default();
    let (link, late) = Link::new();
    // The broker is not gone yet, but it is as good as gone.
    broker.serve(door.clone()).unwrap();
    broker.attach(link, Peer::default()).unwrap();
    assert_eq!(world.run(broker.client("late").connect()).map(drop), Err(ClientError::Closed));
    assert!(late.lock().unwrap().dropped);
    assert_eq!((door.handles(), door.asked()), (1, 0));
    assert_eq!(world.run(broker.metrics()).unwrap().connections, 1, "questions are answered to the end");
    LinkState::change(&state, |state| state.write_error = true);
    world.run(shutdown);
}

#[test]
fn a_client_that_does_not_read_does_not_delay_the_end() {
    let (broker, mut world) = World::new();
    world.run(async {
        let slow = broker.client("slow").connect().await.unwrap();
        slow.subscribe("t", QoS::AtLeastOnce).await.unwrap();
        for _ in 0..10_000 {
            slow.send(Publish::new("t", "").qos(QoS::AtLeastOnce)).await.unwrap();
        }
        broker.shutdown(AGES).await;
        assert!(slow.recv().await.is_some(), "what it was handed is still there");
    });
    assert!(world.is_over());
}

#[test]
fn dropping_the_driver_ends_everything_at_once() {
    let (broker, mut world) = World::new();
    let door = Door::default();
    broker.serve(door.clone()).unwrap();
    let client = world.run(broker.client("in-process").connect()).unwrap();
    let mut wire = world.run(Wire::connect(&broker, "wire", Version::V5));
    let events = broker.events(columba::EventMask::ALL).unwrap();
    let mut message = Box::pin(client.recv());
    assert!(world.poll(message.as_mut()).is_pending());
    let mut shutdown = Box::pin(broker.shutdown(AGES));
    world.settle();
    world.drop_driver();
    assert!(world.poll(shutdown.as_mut()).is_ready(), "what is gone needs no shutdown");
    world.run(async {
        assert!(message.await.is_none());
        assert_eq!(client.publish("t", "").await, Err(ClientError::Closed));
        wire.ended().await;
        assert!(events.recv().await.is_none());
        assert_eq!(broker.metrics().await.err(), Some(BrokerGone));
    });
    assert_eq!(door.handles(), 1);
    assert!(broker.is_gone());
}

#[test]
fn dropping_all_handles_leaves_the_broker_running() {
    let (broker, mut world) = World::new();
    let mut wire = world.run(Wire::connect(&broker, "wire", Version::V5));
    drop(broker);
    world.run(async {
        wire.subscribe("t", QoS::AtMostOnce).await;
        wire.publish("t", b"on and on", QoS::AtMostOnce).await;
        assert_eq!(wire.next().await.publish().payload, b"on and on");
    });
    assert!(!world.is_over());
}
