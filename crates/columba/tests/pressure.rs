//! Clients that do not take their messages: they cost bounded memory, and nobody else waits for them.

use bytes::Bytes;
use columba::{Broker, Client, Config, Event, EventMask, Publish, QoS};
use futures::FutureExt;
use futures::future::try_join_all;

use crate::world::{World, next, text};

/// As many messages as a client in this process is handed before the rest waits in its session.
const HELD: usize = 4096;
const MESSAGES: usize = 100_000;

async fn connect(broker: &Broker, id: &str) -> Client {
    broker.client(id).connect().await.expect("the broker accepts everybody")
}

fn world(configure: impl FnOnce(&mut Config)) -> (Broker, World) {
    World::with(Broker::builder().configure(configure))
}

async fn publish_numbers(publisher: &Client, qos: QoS, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let message = Publish::new("n", number.to_string()).qos(qos);
        publisher.send(message).await.expect("the publisher is not the one who is slow");
    }
}

/// What the client has published is in every shard: they tell it so before a subscription is answered.
async fn all_has_come(client: &Client) {
    client.subscribe("nothing", QoS::AtMostOnce).await.expect("the client is online");
}

#[test]
fn a_client_that_does_not_read_holds_nobody_up() {
    for (qos, messages) in
        [(QoS::AtMostOnce, 20_000), (QoS::AtLeastOnce, MESSAGES), (QoS::ExactlyOnce, 20_000)]
    {
        let (broker, mut world) = World::new();
        world.run(async {
            let publisher = connect(&broker, "publisher").await;
            let slow = connect(&broker, "slow").await;
            let reader = connect(&broker, "reader").await;
            slow.subscribe("n", qos).await.unwrap();
            reader.subscribe("n", qos).await.unwrap();
            // The reader takes each block before the next is sent: it never has to wait for the one who is slow.
            for block in 0..messages / 1000 {
                let numbers = block * 1000..(block + 1) * 1000;
                publish_numbers(&publisher, qos, numbers.clone()).await;
                for number in numbers {
                    assert_eq!(text(&next(&reader).await), number.to_string());
                }
            }
            let queued = broker.metrics().await.unwrap().stored;
            assert!(queued >= messages - 2 * HELD, "{queued} wait in the session, the others at the client");
            // What the slow one asks for itself is answered.
            slow.send(Publish::new("mine", "").qos(QoS::AtLeastOnce)).await.unwrap();
            slow.send(Publish::new("mine", "").qos(QoS::ExactlyOnce)).await.unwrap();
            slow.subscribe("other", QoS::AtLeastOnce).await.unwrap();
            assert_eq!(slow.unsubscribe("other").await, Ok(true));
            for number in 0..messages {
                assert_eq!(text(&next(&slow).await), number.to_string(), "nothing is lost, in order");
            }
        });
        world.settle();
        assert_eq!(world.run(broker.metrics()).unwrap().stored, 0);
    }
}

#[test]
fn what_is_beyond_the_limits_is_dropped_and_counted() {
    let queue = 1000;
    let (broker, mut world) = world(|config| config.limits.queued_messages = queue);
    let events = broker.events(EventMask::PRESSURE).unwrap();
    world.run(async {
        let publisher = connect(&broker, "publisher").await;
        let slow = connect(&broker, "slow").await;
        slow.subscribe("n", QoS::AtLeastOnce).await.unwrap();
        publish_numbers(&publisher, QoS::AtLeastOnce, 0..MESSAGES).await;
        all_has_come(&publisher).await;
        let metrics = broker.metrics().await.unwrap();
        assert_eq!(metrics.stored, queue, "memory is bounded");
        let dropped = metrics.dropped_queue_full as usize;
        let kept = MESSAGES - dropped;
        assert!((HELD..2 * HELD).contains(&(kept - queue)), "{kept} were kept");
        let Some(Event::QueueFull { client_id, messages, .. }) = events.try_recv() else {
            panic!("a queue that becomes full is reported");
        };
        assert_eq!((&*client_id, messages), ("slow", queue));
        assert!(events.try_recv().is_none(), "once");
        for number in 0..kept {
            assert_eq!(text(&next(&slow).await), number.to_string(), "the newest were dropped");
        }
        publisher.publish("n", "again").await.unwrap();
        assert_eq!(text(&next(&slow).await), "again");
    });
}

#[test]
fn large_messages_are_bounded_by_their_size() {
    let size = 1 << 20;
    let (broker, mut world) = world(|config| config.limits.queued_bytes = 8 << 20);
    world.run(async {
        let publisher = connect(&broker, "publisher").await;
        let slow = connect(&broker, "slow").await;
        slow.subscribe("big", QoS::AtMostOnce).await.unwrap();
        let payload = Bytes::from(vec![0; size]);
        for _ in 0..100 {
            publisher.send(Publish::new("big", payload.clone()).qos(QoS::AtLeastOnce)).await.unwrap();
        }
        all_has_come(&publisher).await;
        let metrics = broker.metrics().await.unwrap();
        let kept = 100 - metrics.dropped_queue_full as usize;
        assert!(metrics.stored_bytes <= 8 << 20, "{}", metrics.stored_bytes);
        assert!(
            (16 + 7..=16 + 9).contains(&kept),
            "{kept} of 1 MiB: 16 MiB at the client, 8 MiB in the session"
        );
        for _ in 0..kept {
            assert_eq!(next(&slow).await.payload().len(), size);
        }
        assert!(slow.try_recv().is_none());
    });
}

#[test]
fn answers_to_a_client_that_reads_slowly_do_not_stop_its_messages() {
    let (broker, mut world) = World::new();
    world.run(async {
        let publisher = connect(&broker, "publisher").await;
        let slow = connect(&broker, "slow").await;
        slow.subscribe("n", QoS::AtMostOnce).await.unwrap();
        publish_numbers(&publisher, QoS::AtMostOnce, 0..MESSAGES / 10).await;
        publisher.send(Publish::new("end", "").qos(QoS::AtLeastOnce)).await.unwrap();
        for number in 0..MESSAGES / 10 {
            if number == HELD / 4 {
                // It has taken some, but has more than half of its share still, when the answer comes.
                slow.send(Publish::new("mine", "").qos(QoS::AtLeastOnce)).await.unwrap();
            }
            assert_eq!(text(&next(&slow).await), number.to_string());
        }
    });
}

#[test]
fn a_small_backlog_delays_and_loses_nothing() {
    for backlog in [0, 1, 8, 100] {
        let (broker, mut world) = world(|config| config.limits.output_backlog = backlog);
        let events = broker.events(EventMask::SUBSCRIPTIONS).unwrap();
        world.run(async {
            let client = connect(&broker, "client").await;
            client.subscribe("n", QoS::ExactlyOnce).await.unwrap();
            assert!(matches!(events.try_recv(), Some(Event::Subscribed { .. })));
            assert!(events.try_recv().is_none(), "a packet is taken once, however full it is");
            for block in 0..6 {
                // More than the client holds: requests of one that does not read are answered all the same.
                let numbers = block * 1000..(block + 1) * 1000;
                let sends = numbers
                    .map(|number| client.send(Publish::new("n", number.to_string()).qos(QoS::ExactlyOnce)));
                try_join_all(sends).await.unwrap();
            }
            for number in 0..6000 {
                assert_eq!(text(&next(&client).await), number.to_string());
            }
        });
    }
}

#[test]
fn a_publisher_waits_for_a_broker_that_does_not_run() {
    let (broker, mut world) = World::new();
    let client = world.run(connect(&broker, "client"));
    world.run(client.subscribe("n", QoS::AtMostOnce)).unwrap();
    let mut sent = 0;
    while client.publish("n", sent.to_string()).now_or_never().is_some() {
        sent += 1;
    }
    assert_eq!(sent, 1024, "as many packets as may wait for the broker");
    let mut waiting = Box::pin(client.publish("n", "more"));
    assert!(world.poll(waiting.as_mut()).is_pending());
    world.settle();
    assert!(world.poll(waiting.as_mut()).is_ready());
    world.settle();
    for number in 0..sent {
        assert_eq!(text(&client.try_recv().unwrap()), number.to_string());
    }
    assert_eq!(text(&client.try_recv().unwrap()), "more");
    assert!(client.try_recv().is_none());
}

#[test]
fn a_client_that_is_full_can_be_sent_away() {
    let (broker, mut world) = World::new();
    world.run(async {
        let publisher = connect(&broker, "publisher").await;
        let slow = broker.client("slow").will(Publish::new("gone", "slow"), 0).connect().await.unwrap();
        slow.subscribe("n", QoS::AtMostOnce).await.unwrap();
        publisher.subscribe("gone", QoS::AtLeastOnce).await.unwrap();
        publish_numbers(&publisher, QoS::AtMostOnce, 0..MESSAGES / 10).await;
        let reason = columba::ReasonCode::AdministrativeAction;
        assert_eq!(broker.disconnect("slow", reason).await, Ok(true));
        assert_eq!(text(&next(&publisher).await), "slow");
        let mut taken = 0;
        while let Some(message) = slow.recv().await {
            assert_eq!(text(&message), taken.to_string());
            taken += 1;
        }
        assert!((HELD..2 * HELD).contains(&taken), "{taken} it had already");
        assert_eq!(slow.publish("n", "").await, Err(columba::ClientError::Disconnected(reason)));
        assert_eq!(broker.metrics().await.unwrap().stored, 0);
    });
}
