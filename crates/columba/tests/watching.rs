//! Looking into a running broker from outside, and its events.

use std::time::Duration;

use columba::{
    Broker, BrokerGone, Cause, Event, EventMask, Publish, QoS, ReasonCode, RetainHandling, SubscriptionId,
    SubscriptionOptions, Version,
};
use futures::StreamExt;

use crate::world::{Wire, World, next, text};

#[test]
fn clients_are_listed_whether_here_or_away() {
    let (broker, mut world) = World::new();
    world.run(async {
        assert!(broker.clients().await.unwrap().is_empty());
        let here =
            broker.client("here").username("ada").will(Publish::new("w", ""), 5).connect().await.unwrap();
        let away = broker.client("away").session_expiry(3600).connect().await.unwrap();
        away.subscribe("a/#", QoS::AtLeastOnce).await.unwrap();
        away.disconnect().await.unwrap();
        let _wire = Wire::connect(&broker, "wire", Version::V3_1_1).await;
        for _ in 0..3 {
            here.send(Publish::new("a/b", "wait").qos(QoS::AtLeastOnce)).await.unwrap();
        }
        let mut clients = broker.clients().await.unwrap();
        clients.sort_by(|a, b| a.client_id.cmp(&b.client_id));
        let [away, here, wire] = &clients[..] else { panic!("{clients:?}") };

        assert_eq!(&*away.client_id, "away");
        assert!(away.connection.is_none());
        assert_eq!((away.session_expiry, away.subscriptions, away.queued), (3600, 1, 3));
        assert!(away.expires_in.is_some_and(|left| left <= Duration::from_hours(1)));
        assert!(away.queued_bytes > 3 * "a/b".len());

        let connection = here.connection.as_ref().unwrap();
        assert_eq!((connection.version, connection.username.as_deref()), (Version::V5, Some("ada")));
        assert!(connection.peer.trusted && here.has_will);
        assert_eq!(connection.peer.to_string(), "in-process");
        assert_eq!((here.session_expiry, here.expires_in, here.queued), (0, None, 0));

        let connection = wire.connection.as_ref().unwrap();
        assert_eq!((connection.version, connection.keep_alive), (Version::V3_1_1, 0));
        assert!(!connection.peer.trusted && !wire.has_will);
    });
}

#[test]
fn subscriptions_are_listed_as_they_were_asked_for() {
    let (broker, mut world) = World::new();
    world.run(async {
        let client = broker.client("client").connect().await.unwrap();
        let options = SubscriptionOptions {
            qos: QoS::ExactlyOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::SendIfNew,
        };
        client.subscribe_with("a/+/#", options, SubscriptionId::new(9)).await.unwrap();
        client.subscribe("$share/group/b", QoS::AtMostOnce).await.unwrap();
        let mut list = broker.subscriptions("client").await.unwrap();
        list.sort_by(|a, b| b.filter.cmp(&a.filter));
        let [wild, shared] = &list[..] else { panic!("{list:?}") };
        assert_eq!((wild.filter.as_str(), wild.id, wild.options), ("a/+/#", SubscriptionId::new(9), options));
        assert_eq!((shared.filter.as_str(), shared.id), ("$share/group/b", None));
        assert!(broker.subscriptions("nobody").await.unwrap().is_empty());
        client.unsubscribe("a/+/#").await.unwrap();
        assert_eq!(broker.subscriptions("client").await.unwrap().len(), 1);
    });
}

#[test]
fn metrics_count() {
    let (broker, mut world) = World::new();
    world.run(async {
        assert_eq!(broker.metrics().await.unwrap(), columba::Metrics::default());
        let a = broker.client("a").connect().await.unwrap();
        let b = broker.client("b").connect().await.unwrap();
        b.subscribe("t", QoS::AtLeastOnce).await.unwrap();
        for _ in 0..10 {
            a.send(Publish::new("t", "payload").qos(QoS::AtLeastOnce)).await.unwrap();
            next(&b).await;
        }
        a.send(Publish::new("kept", "x").qos(QoS::AtLeastOnce).retain(true)).await.unwrap();
        let metrics = broker.metrics().await.unwrap();
        assert_eq!((metrics.connections_opened, metrics.connects_accepted), (2, 2));
        assert_eq!((metrics.connections, metrics.sessions, metrics.subscriptions), (2, 2, 1));
        assert_eq!((metrics.publishes_received, metrics.publishes_sent), (11, 10));
        assert_eq!(metrics.retained, 1);
        assert!(metrics.bytes_sent > 10 * 7 && metrics.bytes_received > 11 * 7);
        a.disconnect().await.unwrap();
        b.disconnect().await.unwrap();
        while broker.metrics().await.unwrap().connections > 0 {}
        let metrics = broker.metrics().await.unwrap();
        assert_eq!((metrics.sessions, metrics.subscriptions, metrics.stored), (0, 0, crate::SHARDS));
    });
}

#[test]
fn a_client_can_be_sent_away() {
    let (broker, mut world) = World::new();
    world.run(async {
        assert_eq!(broker.disconnect("nobody", ReasonCode::NotAuthorized).await, Ok(false));
        let mut modern = Wire::connect(&broker, "modern", Version::V5).await;
        let mut old = Wire::connect(&broker, "old", Version::V3_1_1).await;
        assert_eq!(broker.disconnect("modern", ReasonCode::QuotaExceeded).await, Ok(true));
        assert_eq!(modern.disconnected().await, ReasonCode::QuotaExceeded);
        assert_eq!(broker.disconnect("modern", ReasonCode::QuotaExceeded).await, Ok(false));
        assert_eq!(broker.disconnect("old", ReasonCode::QuotaExceeded).await, Ok(true));
        old.ended().await;
        // A reason that DISCONNECT cannot have becomes one that it can.
        let mut other = Wire::connect(&broker, "other", Version::V5).await;
        assert_eq!(broker.disconnect("other", ReasonCode::GrantedQoS1).await, Ok(true));
        assert_eq!(other.disconnected().await, ReasonCode::AdministrativeAction);
    });
}

#[test]
fn events_come_as_a_stream_that_ends_with_the_broker() {
    let (broker, mut world) = World::new();
    let mut events = broker.events(EventMask::CLIENTS | EventMask::PUBLISHED).unwrap();
    world.run(async {
        let client = broker.client("a").connect().await.unwrap();
        client.subscribe("t", QoS::AtMostOnce).await.unwrap();
        client.send(Publish::new("t", "hello").qos(QoS::AtLeastOnce).retain(true)).await.unwrap();
        let Some(Event::Connected { client_id, version, session_present, .. }) = events.next().await else {
            panic!("the first thing that happened");
        };
        assert_eq!((&*client_id, version, session_present), ("a", Version::V5, false));
        let Some(Event::Published { client_id, topic, payload, qos, retain }) = events.next().await else {
            panic!("no subscription was asked for");
        };
        assert_eq!((&*client_id, &*topic, &payload[..]), ("a", "t", &b"hello"[..]));
        assert_eq!((qos, retain), (QoS::AtLeastOnce, true));
        broker.shutdown(Duration::ZERO).await;
        let rest: Vec<Event> = events.by_ref().collect().await;
        assert!(matches!(&rest[0], Event::Disconnected { cause: Cause::Shutdown, .. }), "{rest:?}");
        assert!(events.recv().await.is_none() && events.try_recv().is_none());
    });
    assert_eq!(broker.events(EventMask::ALL).err(), Some(BrokerGone));
}

#[test]
fn one_who_asks_late_hears_what_comes_then() {
    let (broker, mut world) = World::new();
    world.run(async {
        let _early = broker.client("early").connect().await.unwrap();
        let events = broker.events(EventMask::CLIENTS).unwrap();
        let _late = broker.client("late").connect().await.unwrap();
        let Some(Event::Connected { client_id, .. }) = events.recv().await else { panic!("it is reported") };
        assert_eq!(&*client_id, "late");
    });
}

#[test]
fn one_who_does_not_listen_loses_events_and_slows_nobody() {
    let (broker, mut world) = World::new();
    let lazy = broker.events(EventMask::PUBLISHED).unwrap();
    let eager = broker.events(EventMask::PUBLISHED).unwrap();
    drop(broker.events(EventMask::PUBLISHED).unwrap());
    world.run(async {
        let client = broker.client("a").connect().await.unwrap();
        for number in 0..10_000 {
            client.send(Publish::new("t", number.to_string()).qos(QoS::AtLeastOnce)).await.unwrap();
            let Some(Event::Published { payload, .. }) = eager.recv().await else { panic!("it is reported") };
            assert_eq!(payload, number.to_string());
        }
        assert_eq!(broker.metrics().await.unwrap().events_lost, 10_000 - 4096);
        for number in 0..4096 {
            let Some(Event::Published { payload, .. }) = lazy.try_recv() else { panic!("these were kept") };
            assert_eq!(payload, number.to_string(), "the newest are lost");
        }
        assert!(lazy.try_recv().is_none());
        client.publish("t", "again").await.unwrap();
        assert!(lazy.recv().await.is_some());
    });
}

#[test]
fn several_brokers_are_strangers_to_each_other() {
    let (one, mut first) = World::new();
    let (other, mut second) = World::new();
    first.run(async {
        let here = one.client("same id").connect().await.unwrap();
        here.subscribe("t", QoS::AtMostOnce).await.unwrap();
        let there = async {
            let there = other.client("same id").connect().await.unwrap();
            there.subscribe("t", QoS::AtMostOnce).await.unwrap();
            there.publish("t", "there").await.unwrap();
            assert_eq!(text(&next(&there).await), "there");
            other.shutdown(Duration::ZERO).await;
        };
        second.run(there);
        here.publish("t", "here").await.unwrap();
        assert_eq!(text(&next(&here).await), "here");
        assert!(other.is_gone() && !one.is_gone());
        assert_eq!(one.clients().await.unwrap().len(), 1);
    });
}

#[test]
fn questions_to_a_broker_that_is_gone_are_answered() {
    let (broker, mut world) = World::new();
    let mut waiting = Box::pin(broker.clients());
    assert!(world.poll(waiting.as_mut()).is_pending());
    world.drop_driver();
    assert_eq!(world.run(waiting).err(), Some(BrokerGone));
    world.run(async {
        assert_eq!(broker.clients().await.err(), Some(BrokerGone));
        assert_eq!(broker.subscriptions("a").await.err(), Some(BrokerGone));
        assert_eq!(broker.metrics().await.err(), Some(BrokerGone));
        assert_eq!(broker.disconnect("a", ReasonCode::NotAuthorized).await, Err(BrokerGone));
        broker.shutdown(Duration::from_hours(1)).await;
    });
    assert!(Broker::clone(&broker).is_gone());
}
