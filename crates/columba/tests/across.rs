//! What is only about shards: what passes between them, and that they end together.

use std::thread;
use std::time::Duration;

use columba::codec::{Connect, Packet};
use columba::core::Core;
use columba::{Broker, Client, ClientError, Config, Limits, Publish, QoS, Seed, Version, memory};
use futures::executor::block_on;
use futures::future::join_all;

use crate::world::{Door, Wire, World, next, text, within_deadline};

/// So many clients that each of three shards has some.
const CLIENTS: usize = 24;

async fn connect_all(broker: &Broker) -> Vec<Client> {
    let connect = |number: usize| broker.client(format!("client-{number}")).connect();
    let clients = join_all((0..CLIENTS).map(connect)).await;
    clients.into_iter().map(|client| client.expect("the broker accepts everybody")).collect()
}

#[test]
fn a_shard_that_was_woken_once_takes_all_that_has_come() {
    let (broker, mut world) = World::new();
    let clients = world.run(connect_all(&broker));
    world.run(join_all(clients.iter().map(|client| client.subscribe("t", QoS::AtMostOnce))));
    world.settle();
    for publisher in &clients {
        // One of these is where the publisher is: it has sent three batches before any other shard takes one.
        for payload in ["1", "2", "3"] {
            let mut publish = Box::pin(publisher.publish("t", payload));
            assert!(world.poll(publish.as_mut()).is_ready(), "there is room for it");
        }
        for shard in 0..crate::SHARDS {
            world.poll_shard(shard);
            let mut publish = Box::pin(publisher.publish("t", "4"));
            assert!(world.poll(publish.as_mut()).is_ready(), "there is room for it");
            world.poll_shard(shard);
        }
        world.follow();
        for client in &clients {
            let came: Vec<_> = std::iter::from_fn(|| client.try_recv()).collect();
            let came: Vec<_> = came.iter().map(text).collect();
            assert_eq!(came, ["1", "2", "3", "4", "4", "4"], "{} to {}", publisher.id(), client.id());
        }
    }
}

#[test]
fn when_one_driver_is_dropped_the_others_end() {
    for shard in 0..crate::SHARDS {
        let (broker, mut world) = World::new();
        let clients = world.run(connect_all(&broker));
        let mut silent = Wire::open(&broker, Version::V5);
        world.settle();
        world.drop_shard(shard);
        world.follow();
        assert!(world.is_over() && broker.is_gone());
        world.run(async {
            for client in &clients {
                assert_eq!(client.publish("t", "").await, Err(ClientError::Closed));
            }
            silent.ended().await;
            broker.shutdown(Duration::ZERO).await;
        });
    }
}

/// Of those who come while a shard takes nobody in, as many wait for it as may be without an answer.
#[test]
fn a_shard_that_takes_nobody_in_is_waited_for_by_few() {
    let few = |limits: &mut Limits| limits.pending_handshakes = 2;
    let (broker, mut world) = World::with(Broker::builder().configure(|config| few(&mut config.limits)));
    let door = Door::default();
    // The first listener is the first shard's.
    broker.serve(door.clone()).expect("the broker runs");
    let mut wires = Vec::new();
    for number in 0..CLIENTS {
        let (theirs, ours) = memory::pipe(1000);
        door.arrive(theirs);
        let mut wire = Wire::new(ours, Version::V5);
        let id = format!("client-{number}");
        let connect = Packet::Connect(Box::new(Connect::new(Version::V5, &id)));
        let mut greeting = Box::pin(wire.send(&connect));
        assert!(world.poll(greeting.as_mut()).is_ready(), "there is room for it");
        drop(greeting);
        while world.poll_shard(0) {}
        wires.push(wire);
    }
    let waits = |wire: &mut Wire| world.poll(Box::pin(wire.try_next()).as_mut()).is_pending();
    let waiting = wires.iter_mut().map(waits).filter(|&waits| waits).count();
    assert_eq!(waiting, 2 * (crate::SHARDS - 1));
    world.settle();
    let connected = world.run(broker.clients()).expect("the broker runs").len();
    let at_home = (0..CLIENTS).filter(|number| home_of(&format!("client-{number}")) == 0).count();
    assert_eq!(connected, at_home + waiting);
    // Who has arrived is no longer on the way.
    for number in 0..CLIENTS {
        wires.push(world.run(Wire::connect(&broker, &format!("late-{number}"), Version::V5)));
    }
}

/// The shard of a client in a world's broker.
fn home_of(id: &str) -> usize {
    let mut core = Core::new(Config::default(), Seed::from(1));
    core.join_shards(0, crate::SHARDS);
    core.placement().shard_of(id)
}

/// Everything that clients in different shards can have to do with each other.
async fn meet(broker: &Broker) {
    let clients = connect_all(broker).await;
    for client in &clients {
        assert_eq!(client.subscribe("all", QoS::AtLeastOnce).await, Ok(QoS::AtLeastOnce));
        assert_eq!(client.subscribe("$share/crew/work", QoS::AtLeastOnce).await, Ok(QoS::AtLeastOnce));
    }
    for publisher in &clients {
        publisher.send(Publish::new("all", publisher.id().to_owned()).qos(QoS::ExactlyOnce)).await.unwrap();
        for client in &clients {
            assert_eq!(text(&next(client).await), publisher.id());
        }
    }

    // Each of the crew gets one, whoever sends them.
    for number in 0..CLIENTS {
        let job = Publish::new("work", number.to_string()).qos(QoS::AtLeastOnce);
        clients[0].send(job).await.unwrap();
    }
    let shares = join_all(clients.iter().map(next)).await;
    let mut jobs: Vec<usize> = shares.iter().map(|job| text(job).parse().expect("a number")).collect();
    jobs.sort_unstable();
    assert_eq!(jobs, (0..CLIENTS).collect::<Vec<_>>());

    // What is retained is everywhere before anybody is told that it has been taken back.
    clients[1].send(Publish::new("kept", "1").qos(QoS::AtLeastOnce).retain(true)).await.unwrap();
    clients[1].subscribe("barrier", QoS::AtMostOnce).await.unwrap();
    for client in &clients {
        client.subscribe("kept", QoS::AtMostOnce).await.unwrap();
        let message = next(client).await;
        assert_eq!((text(&message), message.retain()), ("1", true));
    }
    clients[2].send(Publish::new("kept", "").qos(QoS::AtLeastOnce).retain(true)).await.unwrap();
    for client in &clients {
        assert!(next(client).await.payload().is_empty());
    }

    // Wills, and sessions that are taken over, by in-process clients and by others.
    for number in 0..CLIENTS {
        let id = format!("mortal-{number}");
        let mortal = broker.client(&*id).will(Publish::new("all", id.clone()).qos(QoS::AtLeastOnce), 0);
        let mortal = mortal.connect().await.unwrap();
        let mut successor = Wire::connect(broker, &id, Version::V5).await;
        assert!(mortal.recv().await.is_none(), "it is sent away");
        for client in &clients {
            assert_eq!(text(&next(client).await), id);
        }
        successor.disconnect().await;
    }

    let listed = broker.clients().await.unwrap();
    assert!(clients.iter().all(|client| listed.iter().any(|one| &*one.client_id == client.id())));
    let metrics = broker.metrics().await.unwrap();
    assert_eq!((metrics.subscriptions, metrics.retained), (3 * CLIENTS + 1, 0));
    assert_eq!(metrics.dropped_queue_full, 0);
}

#[test]
fn clients_of_all_shards_meet_on_one_thread() {
    let (broker, mut world) = World::new();
    world.run(meet(&broker));
    world.run(broker.shutdown(Duration::from_mins(1)));
    assert!(world.is_over());
}

#[test]
fn clients_of_all_shards_meet_on_threads() {
    within_deadline(|| {
        let (broker, drivers) = Broker::builder().build_shards(crate::SHARDS);
        let threads: Vec<_> =
            drivers.into_iter().map(|driver| thread::spawn(move || block_on(driver))).collect();
        block_on(async {
            meet(&broker).await;
            broker.shutdown(Duration::from_mins(1)).await;
        });
        assert!(broker.is_gone());
        for thread in threads {
            thread.join().expect("no driver panics");
        }
    });
}
