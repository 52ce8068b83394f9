//! Clients in the same process: what they send, what they get, and how they come and go.

use std::num::NonZeroU16;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use columba::codec::{PayloadFormat, TopicError};
use columba::{
    Broker, BrokerBuilder, Client, ClientError, Event, EventMask, Publish, QoS, ReasonCode, RetainHandling,
    SubscriptionId, SubscriptionOptions,
};
use futures::future::{BoxFuture, join_all, try_join_all};
use futures::{FutureExt, StreamExt};

use crate::world::{World, next, text, within_deadline};

const EVERY_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

async fn connect(broker: &Broker, id: &str) -> Client {
    broker.client(id).connect().await.expect("the broker accepts everybody")
}

#[test]
fn a_message_arrives_with_the_lower_of_both_qos() {
    let (broker, mut world) = World::new();
    world.run(async {
        let publisher = connect(&broker, "publisher").await;
        let subscriber = connect(&broker, "subscriber").await;
        for granted in EVERY_QOS {
            assert_eq!(subscriber.subscribe("a/+", granted).await, Ok(granted));
            for published in EVERY_QOS {
                let payload = format!("{published:?} to {granted:?}");
                publisher.send(Publish::new("a/b", payload.clone()).qos(published)).await.unwrap();
                let message = next(&subscriber).await;
                assert_eq!((message.topic(), text(&message)), ("a/b", payload.as_str()));
                assert_eq!(message.qos(), published.min(granted));
                assert!(!message.retain() && !message.dup());
                assert_eq!(message.subscription_ids().count(), 0);
            }
        }
    });
    world.settle();
    assert_eq!(world.run(broker.metrics()).unwrap().stored, 0, "everything is acknowledged");
}

#[test]
fn messages_of_one_publisher_keep_their_order() {
    let (broker, mut world) = World::new();
    world.run(async {
        let publisher = connect(&broker, "publisher").await;
        let subscriber = connect(&broker, "subscriber").await;
        for qos in EVERY_QOS {
            subscriber.subscribe("#", qos).await.unwrap();
            let sends =
                (0..3000).map(|number| publisher.send(Publish::new("n", number.to_string()).qos(qos)));
            try_join_all(sends).await.unwrap();
            for number in 0..3000 {
                assert_eq!(text(&next(&subscriber).await), number.to_string());
            }
        }
    });
}

#[test]
fn retained_messages_wait_for_subscribers() {
    let (broker, mut world) = World::new();
    world.run(async {
        let publisher = connect(&broker, "publisher").await;
        let early = connect(&broker, "early").await;
        early.subscribe("state", QoS::AtMostOnce).await.unwrap();
        publisher.send(Publish::new("state", "on").qos(QoS::AtLeastOnce).retain(true)).await.unwrap();
        let message = next(&early).await;
        assert!(!message.retain(), "{message:?} is not an old one");

        let late = connect(&broker, "late").await;
        late.subscribe("#", QoS::AtLeastOnce).await.unwrap();
        let message = next(&late).await;
        assert_eq!((text(&message), message.retain()), ("on", true));

        publisher.send(Publish::new("state", "").qos(QoS::AtLeastOnce).retain(true)).await.unwrap();
        assert_eq!(next(&late).await.payload().len(), 0);
        let last = connect(&broker, "last").await;
        last.subscribe("#", QoS::AtLeastOnce).await.unwrap();
        publisher.send(Publish::new("end", "end").qos(QoS::AtLeastOnce)).await.unwrap();
        assert_eq!(text(&next(&last).await), "end", "nothing was kept");
    });
}

#[test]
fn subscription_options_reach_the_broker() {
    let (broker, mut world) = World::new();
    world.run(async {
        let client = connect(&broker, "client").await;
        client.send(Publish::new("kept", "kept").qos(QoS::AtLeastOnce).retain(true)).await.unwrap();
        let quiet = SubscriptionOptions {
            qos: QoS::AtLeastOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::DoNotSend,
        };
        client.subscribe_with("kept", quiet, SubscriptionId::new(7)).await.unwrap();
        client.send(Publish::new("kept", "mine").qos(QoS::AtLeastOnce)).await.unwrap();
        let other = connect(&broker, "other").await;
        other.send(Publish::new("kept", "other's").qos(QoS::AtLeastOnce).retain(true)).await.unwrap();
        let message = next(&client).await;
        assert_eq!((text(&message), message.retain()), ("other's", true));
        assert_eq!(message.subscription_ids().collect::<Vec<_>>(), [SubscriptionId::new(7).unwrap()]);

        assert_eq!(client.unsubscribe("kept").await, Ok(true));
        assert_eq!(client.unsubscribe("kept").await, Ok(false));
        other.send(Publish::new("kept", "too late").qos(QoS::AtLeastOnce)).await.unwrap();
        assert!(client.try_recv().is_none());
    });
}

#[test]
fn properties_make_the_round_trip() {
    let (broker, mut world) = World::new();
    world.run(async {
        let client = connect(&broker, "client").await;
        let ids = [1, 2].map(|id| SubscriptionId::new(id).unwrap());
        for (filter, id) in ["a/b", "a/#"].into_iter().zip(ids) {
            client.subscribe_with(filter, SubscriptionOptions::default(), Some(id)).await.unwrap();
        }
        let message = Publish::new("a/b", r#"{"degrees": 21.5}"#)
            .expiry(3600)
            .utf8()
            .content_type("application/json")
            .response_topic("answers/client")
            .correlation_data(&b"\x00\xFF"[..])
            .user_property("unit", "°C")
            .user_property("unit", "again")
            .user_property("", "");
        client.send(message).await.unwrap();
        let message = next(&client).await;
        let properties = message.properties();
        assert_eq!(properties.payload_format, Some(PayloadFormat::Utf8));
        assert_eq!(properties.message_expiry, Some(3600));
        assert_eq!(properties.content_type, Some("application/json"));
        assert_eq!(properties.response_topic, Some("answers/client"));
        assert_eq!(properties.correlation_data, Some(&b"\x00\xFF"[..]));
        let user: Vec<_> = properties.user_properties.iter().collect();
        assert_eq!(user, [("unit", "°C"), ("unit", "again"), ("", "")]);
        let mut matched: Vec<_> = message.subscription_ids().collect();
        matched.sort_unstable();
        assert_eq!(matched, ids);
    });
}

#[test]
fn a_large_payload_is_never_copied() {
    let (broker, mut world) = World::new();
    world.run(async {
        let publisher = connect(&broker, "publisher").await;
        let names: Vec<String> = (0..20).map(|number| format!("subscriber {number}")).collect();
        let subscribers = join_all(names.iter().map(|name| connect(&broker, name))).await;
        for (subscriber, qos) in subscribers.iter().zip(EVERY_QOS.into_iter().cycle()) {
            subscriber.subscribe("big", qos).await.unwrap();
        }
        for qos in EVERY_QOS {
            let payload = Bytes::from(vec![b'x'; 1 << 20]);
            // A neighbour on either side, so that its place among others does not matter.
            publisher.publish("big", "before").await.unwrap();
            publisher
                .send(Publish::new("big", payload.clone()).qos(qos).user_property("a", "b"))
                .await
                .unwrap();
            publisher.publish("big", "after").await.unwrap();
            for subscriber in &subscribers {
                assert_eq!(text(&next(subscriber).await), "before");
                let message = next(subscriber).await;
                assert_eq!(message.payload().len(), payload.len());
                assert_eq!(message.payload().as_ptr(), payload.as_ptr());
                assert_eq!(message.properties().user_properties.len(), 1);
                assert_eq!(text(&next(subscriber).await), "after");
            }
        }
    });
}

#[test]
fn payloads_of_every_size_arrive_whole() {
    let (broker, mut world) = World::new();
    world.run(async {
        let client = connect(&broker, "client").await;
        client.subscribe("#", QoS::AtLeastOnce).await.unwrap();
        let sizes = [0, 1, 100, 127, 128, 8191, 8192, 8193, 16_383, 16_384, 65_535, 65_536, 300_000];
        for (number, &size) in sizes.iter().enumerate() {
            let payload = Bytes::from(vec![number as u8; size]);
            client.send(Publish::new("t", payload).qos(QoS::AtLeastOnce)).await.unwrap();
        }
        for (number, &size) in sizes.iter().enumerate() {
            let message = next(&client).await;
            assert_eq!(message.payload().len(), size);
            assert!(message.payload().iter().all(|&byte| byte == number as u8));
        }
    });
}

#[test]
fn a_will_is_published_when_the_client_is_dropped() {
    let (broker, mut world) = World::new();
    world.run(async {
        let watcher = connect(&broker, "watcher").await;
        watcher.subscribe("gone/#", QoS::ExactlyOnce).await.unwrap();
        let will =
            Publish::new("gone/a", "bye").qos(QoS::ExactlyOnce).retain(true).content_type("text/plain");
        let client = broker.client("a").will(will, 0).connect().await.unwrap();
        let clone = client.clone();
        drop(client);
        clone.publish("elsewhere", "still here").await.unwrap();
        assert!(broker.clients().await.unwrap().iter().any(|info| &*info.client_id == "a" && info.has_will));
        drop(clone);
        let message = next(&watcher).await;
        assert_eq!((message.topic(), text(&message), message.qos()), ("gone/a", "bye", QoS::ExactlyOnce));
        assert_eq!(message.properties().content_type, Some("text/plain"));
        assert!(broker.clients().await.unwrap().iter().all(|info| &*info.client_id != "a"));
    });
}

#[test]
fn a_client_that_disconnects_leaves_no_will() {
    let (broker, mut world) = World::new();
    world.run(async {
        let watcher = connect(&broker, "watcher").await;
        watcher.subscribe("#", QoS::AtLeastOnce).await.unwrap();
        let client = broker.client("a").will(Publish::new("gone/a", "bye"), 0).connect().await.unwrap();
        let clone = client.clone();
        client.disconnect().await.unwrap();
        assert!(clone.recv().await.is_none(), "it has ended for the other handles, too");
        assert_eq!(clone.publish("t", "").await, Err(ClientError::Closed));
        watcher.send(Publish::new("end", "end").qos(QoS::AtLeastOnce)).await.unwrap();
        assert_eq!(text(&next(&watcher).await), "end");
    });
}

#[test]
fn what_was_published_before_leaving_arrives() {
    let (broker, mut world) = World::new();
    world.run(async {
        let watcher = connect(&broker, "watcher").await;
        watcher.subscribe("#", QoS::AtMostOnce).await.unwrap();
        for leave in [true, false] {
            let client = connect(&broker, "client").await;
            for number in 0..500 {
                client.publish("n", number.to_string()).await.unwrap();
            }
            if leave {
                client.disconnect().await.unwrap();
            } else {
                drop(client);
            }
            for number in 0..500 {
                assert_eq!(text(&next(&watcher).await), number.to_string());
            }
        }
    });
}

#[test]
fn a_session_outlives_its_client() {
    let (broker, mut world) = World::new();
    world.run(async {
        let publisher = connect(&broker, "publisher").await;
        let first = broker.client("device").session_expiry(3600).connect().await.unwrap();
        assert!(!first.session_present());
        first.subscribe("a", QoS::AtLeastOnce).await.unwrap();
        drop(first);
        while broker
            .clients()
            .await
            .unwrap()
            .iter()
            .any(|info| info.session_expiry > 0 && info.connection.is_some())
        {}
        for (payload, qos) in
            [("zero", QoS::AtMostOnce), ("one", QoS::AtLeastOnce), ("two", QoS::ExactlyOnce)]
        {
            publisher.send(Publish::new("a", payload).qos(qos)).await.unwrap();
        }

        let second = broker.client("device").resume().session_expiry(3600).connect().await.unwrap();
        assert!(second.session_present());
        assert_eq!(text(&next(&second).await), "one", "QoS 0 is not kept for a client that is away");
        assert_eq!(text(&next(&second).await), "two");
        publisher.publish("a", "live").await.unwrap();
        assert_eq!(text(&next(&second).await), "live", "the subscription goes on");

        let third = broker.client("device").connect().await.unwrap();
        assert!(!third.session_present(), "a clean start discards the session");
        assert!(broker.subscriptions("device").await.unwrap().is_empty());
        drop(third);
        let fourth = broker.client("device").resume().connect().await.unwrap();
        assert!(!fourth.session_present(), "without an expiry nothing is kept");
    });
}

#[test]
fn the_same_id_takes_over() {
    let (broker, mut world) = World::new();
    world.run(async {
        let first = connect(&broker, "same").await;
        first.subscribe("#", QoS::AtMostOnce).await.unwrap();
        first.publish("t", "before").await.unwrap();
        // The broker has delivered it before it hears of the second client.
        broker.metrics().await.unwrap();
        let second = connect(&broker, "same").await;
        assert_eq!(text(&next(&first).await), "before", "what came before is still there");
        assert!(first.recv().await.is_none());
        let error = ClientError::Disconnected(ReasonCode::SessionTakenOver);
        assert_eq!(first.subscribe("#", QoS::AtMostOnce).await, Err(error.clone()));
        assert_eq!(first.disconnect().await, Err(error));
        second.subscribe("#", QoS::AtMostOnce).await.unwrap();
        second.publish("t", "after").await.unwrap();
        assert_eq!(text(&next(&second).await), "after", "the first handle's end did not touch the second");
    });
}

#[test]
fn handles_share_one_client() {
    let (broker, mut world) = World::new();
    world.run(async {
        let client = connect(&broker, "shared").await;
        client.subscribe("#", QoS::AtLeastOnce).await.unwrap();
        let readers = [client.clone(), client.clone(), client.clone()];
        let publish = async {
            for number in 0..300 {
                client.send(Publish::new("n", number.to_string()).qos(QoS::AtLeastOnce)).await.unwrap();
            }
        };
        let reads = join_all(readers.iter().map(|reader| async move {
            let mut got = Vec::new();
            while got.len() < 100 {
                got.push(text(&next(reader).await).parse::<u32>().unwrap());
            }
            got
        }));
        let (got, ()) = futures::join!(reads, publish);
        assert!(got.iter().all(|numbers| numbers.is_sorted()), "each handle sees its share in order");
        let mut all = got.concat();
        all.sort_unstable();
        assert_eq!(all, (0..300).collect::<Vec<_>>(), "each message goes to one of them");
    });
}

#[test]
fn many_clients_talk_at_once() {
    const CLIENTS: usize = 2000;
    let (broker, mut world) = World::new();
    world.run(async {
        let clients = join_all((0..CLIENTS).map(|_| connect(&broker, ""))).await;
        let ids: std::collections::HashSet<&str> = clients.iter().map(Client::id).collect();
        assert_eq!(ids.len(), CLIENTS, "each was assigned an id of its own");
        join_all(clients.iter().map(|client| async {
            client.subscribe("to all", QoS::AtLeastOnce).await.unwrap();
            client.subscribe(&format!("to/{}", client.id()), QoS::AtLeastOnce).await.unwrap();
        }))
        .await;
        let pairs = clients.iter().zip(clients.iter().cycle().skip(1));
        join_all(pairs.map(|(client, neighbour)| {
            let message = Publish::new(format!("to/{}", neighbour.id()), client.id().to_owned());
            client.send(message.qos(QoS::AtLeastOnce))
        }))
        .await;
        clients[0].publish("to all", "hello").await.unwrap();
        for (client, neighbour) in clients.iter().zip(clients.iter().cycle().skip(1)) {
            assert_eq!(text(&next(neighbour).await), client.id());
            assert_eq!(text(&next(neighbour).await), "hello");
        }
    });
    world.settle();
    assert_eq!(world.run(broker.metrics()).unwrap().connections, 0, "all are gone when they are dropped");
}

#[test]
fn a_client_is_a_stream() {
    let (broker, mut world) = World::new();
    world.run(async {
        let mut client = connect(&broker, "client").await;
        client.subscribe("#", QoS::AtMostOnce).await.unwrap();
        for payload in ["one", "two", "three"] {
            client.publish("t", payload).await.unwrap();
        }
        let got: Vec<_> = client.by_ref().take(2).collect().await;
        assert_eq!(got.iter().map(text).collect::<Vec<_>>(), ["one", "two"]);
        broker.disconnect("client", ReasonCode::AdministrativeAction).await.unwrap();
        assert_eq!(
            client.by_ref().map(|message| text(&message).to_owned()).collect::<Vec<_>>().await,
            ["three"]
        );
        assert!(client.next().await.is_none(), "it stays at its end");
    });
}

#[test]
fn try_recv_takes_what_is_there() {
    let (broker, mut world) = World::new();
    let client = world.run(connect(&broker, "client"));
    assert!(client.try_recv().is_none());
    world.run(client.subscribe("#", QoS::AtMostOnce)).unwrap();
    world.run(client.publish("t", "here")).unwrap();
    world.settle();
    assert_eq!(text(&client.try_recv().unwrap()), "here");
    assert!(client.try_recv().is_none());
    // A task that waits is woken although somebody looked in between.
    let message = world.run(async {
        let mut message = Box::pin(next(&client));
        assert!(futures::poll!(message.as_mut()).is_pending());
        assert!(client.try_recv().is_none());
        client.publish("t", "there").await.unwrap();
        message.await
    });
    assert_eq!(text(&message), "there");
    world.drop_driver();
    assert!(client.try_recv().is_none());
}

#[test]
fn topics_and_filters_are_checked_before_anything_is_sent() {
    let (broker, mut world) = World::new();
    world.run(async {
        let client = connect(&broker, "client").await;
        let before = broker.metrics().await.unwrap().packets_received;
        assert_eq!(client.publish("a/+", "").await, Err(ClientError::Topic(TopicError::WildcardInName)));
        assert_eq!(client.publish("", "").await, Err(ClientError::Topic(TopicError::Empty)));
        let message = Publish::new("a\0b", "").qos(QoS::ExactlyOnce);
        assert!(matches!(client.send(message).await, Err(ClientError::Topic(_))));
        assert!(matches!(client.subscribe("a/#/b", QoS::AtMostOnce).await, Err(ClientError::Topic(_))));
        assert!(matches!(client.unsubscribe("a+").await, Err(ClientError::Topic(_))));
        let will = broker.client("other").will(Publish::new("#", ""), 0).connect().await;
        assert!(matches!(will, Err(ClientError::Topic(_))));
        assert_eq!(broker.metrics().await.unwrap().packets_received, before);
        client.publish("a/b", "").await.expect("the client is as good as before");
    });
}

#[test]
fn what_fits_into_no_packet_is_refused_before_it_is_sent() {
    let (broker, mut world) = World::new();
    world.run(async {
        let client = connect(&broker, "client").await;
        client.subscribe("#", QoS::AtLeastOnce).await.unwrap();
        let long = "x".repeat(65_536);
        let messages = [
            Publish::new("t", "").content_type(long.clone()),
            Publish::new("t", "").content_type("a\0b"),
            Publish::new("t", "").response_topic("a/#"),
            Publish::new("t", "").correlation_data(long.clone().into_bytes()),
            Publish::new("t", "").user_property("name", long.clone()),
            Publish::new("t", "").user_property("a\0b", ""),
            Publish::new("t", vec![0; 268_435_456]),
        ];
        for message in messages {
            for qos in EVERY_QOS {
                let result = client.send(message.clone().qos(qos)).await;
                assert!(matches!(result, Err(ClientError::Encode(_))), "{result:?}");
            }
            let will = broker.client("other").will(message, 0).connect().await;
            assert!(matches!(will, Err(ClientError::Encode(_))), "{will:?}");
        }
        for builder in [broker.client(long.clone()), broker.client("other").username(long)] {
            assert!(matches!(builder.connect().await, Err(ClientError::Encode(_))));
        }
        client.send(Publish::new("t", "fits").qos(QoS::AtLeastOnce)).await.unwrap();
        assert_eq!(text(&next(&client).await), "fits");
    });
}

#[test]
fn a_refused_client_learns_the_reason() {
    let limits = Broker::builder().configure(|config| {
        config.limits.client_id_len = 23;
        config.limits.sessions = 1;
    });
    let (broker, mut world) = World::with(limits);
    world.run(async {
        let refused = |reason| Err(ClientError::Refused(reason));
        let result = broker.client("x".repeat(24)).connect().await.map(drop);
        assert_eq!(result, refused(ReasonCode::ClientIdentifierNotValid));
        let _first = connect(&broker, "first").await;
        assert_eq!(broker.client("next").connect().await.map(drop), refused(ReasonCode::QuotaExceeded));
        assert_eq!(broker.metrics().await.unwrap().connections, 1, "the refused ones are gone");
    });
}

#[test]
fn what_the_broker_refuses_comes_back_with_its_reason() {
    let (broker, mut world) = World::with(picky());
    world.run(async {
        let client = connect(&broker, "client").await;
        assert_eq!(client.subscribe("open/#", QoS::AtMostOnce).await, Ok(QoS::AtMostOnce));
        let refused = ReasonCode::NotAuthorized;
        let result = client.subscribe("closed/#", QoS::AtMostOnce).await;
        assert_eq!(result, Err(ClientError::NotSubscribed(refused)));
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let result = client.send(Publish::new("closed/t", "").qos(qos)).await;
            assert_eq!(result, Err(ClientError::NotPublished(refused)));
        }
        client.publish("closed/t", "").await.expect("there is no answer at QoS 0");
        client
            .send(Publish::new("nobody", "").qos(QoS::AtLeastOnce))
            .await
            .expect("no subscriber is no error");
        let will = broker.client("other").will(Publish::new("closed/t", ""), 0).connect().await;
        assert_eq!(will.map(drop), Err(ClientError::Refused(refused)));
        assert_eq!(broker.metrics().await.unwrap().publishes_refused, 3);
    });
}

fn picky() -> BrokerBuilder {
    Broker::builder().authorize(|_: columba::ClientIdentity<'_>, action: columba::Action<'_>| match action {
        columba::Action::Publish { topic, .. } => !topic.as_str().starts_with("closed/"),
        columba::Action::Subscribe { filter, .. } => !filter.as_str().starts_with("closed/"),
        _ => true,
    })
}

#[test]
fn errors_read_as_sentences() {
    let errors = [
        ClientError::Closed,
        ClientError::Refused(ReasonCode::QuotaExceeded),
        ClientError::Disconnected(ReasonCode::SessionTakenOver),
        ClientError::Topic(TopicError::Empty),
        ClientError::NotPublished(ReasonCode::NotAuthorized),
        ClientError::NotSubscribed(ReasonCode::NotAuthorized),
        ClientError::Encode(columba::codec::EncodeError::PacketId),
        ClientError::TooManyInFlight,
    ];
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    for (text, error) in texts.iter().zip(&errors) {
        assert!(text.len() > 10 && !text.ends_with('.'), "{error:?}: {text}");
    }
    assert_eq!(texts[1], "the broker refused the connection: Quota exceeded");
    let distinct: std::collections::HashSet<_> = texts.iter().collect();
    assert_eq!(distinct.len(), errors.len());
    assert_eq!(columba::BrokerGone.to_string(), "the broker has been shut down, or its driver dropped");
}

#[test]
fn more_requests_than_identifiers_are_refused() {
    let (broker, mut world) = World::new();
    let client = world.run(connect(&broker, "client"));
    let send = || Box::pin(client.send(Publish::new("t", "").qos(QoS::AtLeastOnce)));
    // The driver does not run, so none is answered.
    let mut waiting: Vec<_> = (0..65_535).map(|_| send()).collect();
    assert!(waiting.iter_mut().all(|request| world.poll(request.as_mut()).is_pending()));
    assert_eq!(send().now_or_never(), Some(Err(ClientError::TooManyInFlight)));
    let subscribe = client.subscribe("t", QoS::AtMostOnce).now_or_never();
    assert_eq!(subscribe, Some(Err(ClientError::TooManyInFlight)));
    world.run(async {
        client.publish("t", "QoS 0 needs no identifier").await.unwrap();
        try_join_all(waiting).await.unwrap();
        send().await.unwrap();
    });
}

#[test]
fn requests_that_are_given_up_leave_nothing() {
    let (broker, mut world) = World::new();
    let client = world.run(connect(&broker, "client"));
    while client.publish("t", "").now_or_never().is_some() {}
    // There is no room, so none of these is ever sent.
    for _ in 0..70_000 {
        assert!(client.send(Publish::new("t", "").qos(QoS::AtLeastOnce)).now_or_never().is_none());
    }
    world.run(client.send(Publish::new("t", "").qos(QoS::AtLeastOnce))).unwrap();
    // These are sent and nobody waits for the answer.
    for _ in 0..100 {
        for _ in 0..1000 {
            assert!(client.send(Publish::new("t", "").qos(QoS::ExactlyOnce)).now_or_never().is_none());
        }
        world.settle();
    }
    world.run(client.send(Publish::new("t", "").qos(QoS::AtLeastOnce))).unwrap();
    assert_eq!(world.run(broker.metrics()).unwrap().publishes_received, 1024 + 2 + 100_000);
}

#[test]
fn connecting_that_is_given_up_leaves_nothing() {
    let (broker, mut world) = World::new();
    let events = broker.events(EventMask::CLIENTS).unwrap();
    // Before the driver has heard of it, and between CONNECT and CONNACK.
    assert!(broker.client("early").connect().now_or_never().is_none());
    let mut connecting = Box::pin(broker.client("late").will(Publish::new("gone", ""), 0).connect());
    assert!(world.poll(connecting.as_mut()).is_pending());
    world.settle();
    drop(connecting);
    world.settle();
    assert_eq!(world.run(broker.clients()).unwrap().len(), 0);
    let metrics = world.run(broker.metrics()).unwrap();
    assert_eq!((metrics.connections, metrics.sessions, metrics.stored), (0, 0, 0));
    let mut ended = Vec::new();
    while let Some(event) = events.try_recv() {
        if let Event::Disconnected { client_id, .. } = event {
            ended.push(client_id.to_string());
        }
    }
    assert_eq!(ended, ["early", "late"]);
}

#[test]
fn the_brokers_receive_maximum_is_kept() {
    let (broker, mut world) =
        World::with(Broker::builder().configure(|config| config.limits.receive_maximum = 2));
    world.run(async {
        let client = connect(&broker, "client").await;
        client.subscribe("#", QoS::ExactlyOnce).await.unwrap();
        let sends =
            (0..100).map(|number| client.send(Publish::new("n", number.to_string()).qos(QoS::ExactlyOnce)));
        try_join_all(sends).await.expect("the broker is not given more than it takes");
        for number in 0..100 {
            assert_eq!(text(&next(&client).await), number.to_string());
        }
    });
}

#[test]
fn the_clients_receive_maximum_is_kept() {
    let (broker, mut world) = World::new();
    world.run(async {
        let maximum = NonZeroU16::new(1).unwrap();
        let client = broker.client("client").receive_maximum(maximum).connect().await.unwrap();
        client.subscribe("#", QoS::ExactlyOnce).await.unwrap();
        let qos = [QoS::ExactlyOnce, QoS::AtLeastOnce, QoS::AtMostOnce];
        let sends =
            (0..90).map(|number| client.send(Publish::new("n", number.to_string()).qos(qos[number % 3])));
        try_join_all(sends).await.unwrap();
        for number in 0..90 {
            assert_eq!(text(&next(&client).await), number.to_string());
        }
    });
}

#[test]
fn a_broker_that_is_gone_says_so() {
    let (broker, mut world) = World::new();
    let client = world.run(connect(&broker, "client"));
    let mut waiting = Box::pin(client.send(Publish::new("t", "").qos(QoS::AtLeastOnce)));
    assert!(world.poll(waiting.as_mut()).is_pending());
    let mut connecting = Box::pin(broker.client("other").connect());
    assert!(world.poll(connecting.as_mut()).is_pending());
    world.drop_driver();
    assert_eq!(world.run(waiting), Err(ClientError::Closed));
    assert_eq!(world.run(connecting).map(drop), Err(ClientError::Closed));
    assert_eq!(world.run(client.publish("t", "")), Err(ClientError::Closed));
    assert_eq!(world.run(client.unsubscribe("t")), Err(ClientError::Closed));
    assert!(world.run(client.recv()).is_none());
    assert_eq!(world.run(broker.client("late").connect()).map(drop), Err(ClientError::Closed));
}

/// Drops what it holds when it is woken, as an executor does that has ended meanwhile.
struct Reaper<T>(Mutex<Option<T>>);

impl<T: Send> Wake for Reaper<T> {
    fn wake(self: Arc<Self>) {
        drop(self.0.lock().unwrap().take());
    }
}

#[test]
fn a_client_can_be_dropped_by_its_own_waker() {
    within_deadline(|| {
        let (broker, mut world) = World::new();
        let publisher = world.run(connect(&broker, "publisher"));
        // One that waits for a message, one that waits for an answer, one that waits for room.
        let waits: [fn(Client) -> BoxFuture<'static, ()>; 3] = [
            |client| async move { drop(client.recv().await) }.boxed(),
            |client| {
                async move { drop(client.send(Publish::new("t", "").qos(QoS::ExactlyOnce)).await) }.boxed()
            },
            |client| async move { while client.publish("t", "").await.is_ok() {} }.boxed(),
        ];
        for wait in waits {
            let client = world.run(connect(&broker, "client"));
            world.run(client.subscribe("to client", QoS::AtMostOnce)).unwrap();
            let reaper = Arc::new(Reaper(Mutex::new(None)));
            let waker = Waker::from(reaper.clone());
            let mut task = wait(client);
            assert!(task.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
            *reaper.0.lock().unwrap() = Some(task);
            world.run(publisher.publish("to client", "")).unwrap();
            world.settle();
            assert!(reaper.0.lock().unwrap().is_none());
            assert_eq!(world.run(broker.metrics()).unwrap().connections, 1);
        }
    });
}

#[test]
fn a_driver_can_be_dropped_by_what_a_client_wakes() {
    within_deadline(|| {
        let (broker, mut driver) = Broker::builder().build();
        let reaper = Arc::new(Reaper(Mutex::new(None)));
        let waker = Waker::from(reaper.clone());
        let mut connecting = Box::pin(broker.client("client").connect());
        let noop = &mut Context::from_waker(Waker::noop());
        assert!(connecting.poll_unpin(noop).is_pending());
        // Twice: the first time it wakes itself.
        for _ in 0..2 {
            assert!(driver.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        }
        let Poll::Ready(Ok(client)) = connecting.poll_unpin(noop) else { panic!("the driver has seen it") };
        *reaper.0.lock().unwrap() = Some(driver);
        client.publish("t", "").now_or_never().expect("there is room").unwrap();
        assert!(broker.is_gone());
        assert_eq!(client.recv().now_or_never().map(|message| message.is_none()), Some(true));
    });
}
