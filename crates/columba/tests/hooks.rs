//! Where a program has its say: who comes in, who may do what, and who watches.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use bytes::Bytes;
use columba::codec::{Auth, Connect, List, Packet};
use columba::{
    Action, AuthRequest, AuthStage, Broker, Cause, ClientIdentity, Event, EventMask, Grant, Publish, QoS,
    ReasonCode, Verdict, Version,
};
use futures::channel::oneshot;

use crate::world::{Wire, World, next, text};

/// A CONNECT with a name and a password.
async fn greet(wire: &mut Wire, id: &str, username: Option<&str>, password: Option<&str>, version: Version) {
    let mut packet = Connect::new(version, id);
    packet.username = username;
    packet.password = password.map(str::as_bytes);
    wire.send(&Packet::Connect(Box::new(packet))).await;
}

/// A CONNECT with enhanced authentication.
async fn greet_with_method(wire: &mut Wire, id: &str, data: &[u8]) {
    let mut packet = Connect::new(Version::V5, id);
    packet.properties.authentication_method = Some("RIDDLE");
    packet.properties.authentication_data = Some(data);
    wire.send(&Packet::Connect(Box::new(packet))).await;
}

fn auth(reason: ReasonCode, data: &[u8]) -> Packet<'_> {
    Packet::Auth(Auth {
        reason,
        method: Some("RIDDLE"),
        data: Some(data),
        reason_string: None,
        user_properties: List::EMPTY,
    })
}

/// Verdicts that a test gives when it likes: each question brings the way to its answer.
type Desk = mpsc::Receiver<(AuthRequest, oneshot::Sender<Verdict>)>;

fn parking() -> (columba::BrokerBuilder, Desk) {
    let (sender, desk) = mpsc::channel();
    let builder = Broker::builder().authenticate(move |request: AuthRequest| {
        let (answer, verdict) = oneshot::channel();
        sender.send((request, answer)).expect("the test goes on");
        async move { verdict.await.unwrap_or_else(|_| Verdict::reject(ReasonCode::ServerBusy)) }
    });
    (builder, desk)
}

#[test]
fn a_closure_decides_who_comes_in() {
    let (broker, mut world) =
        World::with(Broker::builder().authenticate(|request: AuthRequest| async move {
            assert_eq!(request.stage, AuthStage::Connect);
            match (request.username.as_deref(), request.password.as_deref()) {
                (Some("ada"), Some(b"secret")) => Verdict::accept(),
                (Some(_), Some(_)) => Verdict::reject(ReasonCode::BadUserNameOrPassword),
                _ => Verdict::Reject { reason: ReasonCode::Banned, text: "who are you?".into() },
            }
        }));
    world.run(async {
        for version in [Version::V3_1_1, Version::V5] {
            let mut wire = Wire::open(&broker, version);
            greet(&mut wire, "a", Some("ada"), Some("secret"), version).await;
            wire.accepted().await;
            let mut wire = Wire::open(&broker, version);
            greet(&mut wire, "b", Some("ada"), Some("wrong"), version).await;
            assert_eq!(wire.refused().await, ReasonCode::BadUserNameOrPassword);
        }
        let mut wire = Wire::open(&broker, Version::V5);
        greet(&mut wire, "c", None, None, Version::V5).await;
        let frame = wire.next().await;
        assert_eq!(frame.conn_ack().reason, ReasonCode::Banned);
        assert_eq!(frame.conn_ack().properties.reason_string, Some("who are you?"));
        wire.ended().await;
        broker.client("in-process").connect().await.expect("it is not asked to authenticate");
    });
}

#[test]
fn what_is_asked_says_who_asks() {
    let (builder, desk) = parking();
    let (broker, mut world) = World::with(builder);
    let mut wire = Wire::open(&broker, Version::V3_1_1);
    world.run(greet(&mut wire, "device 7", Some("ada"), Some("secret"), Version::V3_1_1));
    world.settle();
    let (request, _answer) = desk.try_recv().expect("the hook was asked");
    assert_eq!(request.stage, AuthStage::Connect);
    assert_eq!((&*request.client_id, request.version), ("device 7", Version::V3_1_1));
    assert_eq!(request.username.as_deref(), Some("ada"));
    assert_eq!(request.password, Some(Bytes::from("secret")));
    assert_eq!((request.method, request.data), (None, None));
    assert_eq!(request.peer.transport, "pipe");
}

#[test]
fn one_who_waits_for_the_verdict_holds_nobody_up() {
    let (builder, desk) = parking();
    let (broker, mut world) = World::with(builder);
    let mut parked = Wire::open(&broker, Version::V5);
    world.run(greet(&mut parked, "parked", None, None, Version::V5));
    // It may send on at once; that is taken when it is in.
    let id = world.run(parked.publish("t", b"early", QoS::AtLeastOnce));
    world.settle();
    let (_, answer) = desk.try_recv().expect("the hook was asked");
    world.run(async {
        let client = broker.client("in-process").connect().await.unwrap();
        client.subscribe("#", QoS::AtLeastOnce).await.unwrap();
        for number in 0..100 {
            client.publish("n", number.to_string()).await.unwrap();
            assert_eq!(text(&next(&client).await), number.to_string());
        }
        assert_eq!(broker.clients().await.unwrap().len(), 1);

        answer.send(Verdict::accept()).unwrap();
        parked.accepted().await;
        assert_eq!(Some(parked.next().await.acknowledged()), id);
        assert_eq!(text(&next(&client).await), "early");
    });
}

#[test]
fn many_verdicts_come_in_any_order() {
    let (builder, desk) = parking();
    let (broker, mut world) = World::with(builder);
    let mut wires: Vec<Wire> = (0..100).map(|_| Wire::open(&broker, Version::V5)).collect();
    for (number, wire) in wires.iter_mut().enumerate() {
        world.run(greet(wire, &number.to_string(), None, None, Version::V5));
    }
    world.settle();
    let mut questions: Vec<_> = desk.try_iter().collect();
    assert_eq!(questions.len(), 100);
    questions.reverse();
    for (request, answer) in questions {
        let even = request.client_id.parse::<u32>().unwrap().is_multiple_of(2);
        let verdict = if even { Verdict::accept() } else { Verdict::reject(ReasonCode::NotAuthorized) };
        answer.send(verdict).unwrap();
    }
    world.run(async {
        for (number, wire) in wires.iter_mut().enumerate() {
            if number % 2 == 0 {
                wire.accepted().await;
            } else {
                assert_eq!(wire.refused().await, ReasonCode::NotAuthorized);
            }
        }
    });
}

#[test]
fn a_verdict_for_one_who_has_left_is_ignored() {
    let (builder, desk) = parking();
    let (broker, mut world) = World::with(builder);
    let events = broker.events(EventMask::CLIENTS).unwrap();
    let mut wire = Wire::open(&broker, Version::V5);
    world.run(greet(&mut wire, "gone", None, None, Version::V5));
    world.settle();
    let (_, answer) = desk.try_recv().expect("the hook was asked");
    drop(wire);
    world.settle();
    answer.send(Verdict::accept()).unwrap();
    world.settle();
    let metrics = world.run(broker.metrics()).unwrap();
    assert_eq!((metrics.connections, metrics.sessions), (0, 0));
    // Whether it was noticed before the verdict or after: what began has ended.
    let online: i32 = std::iter::from_fn(|| events.try_recv())
        .map(|event| match event {
            Event::Connected { .. } => 1,
            Event::Disconnected { cause, .. } => {
                assert_eq!(cause, Cause::Transport);
                -1
            }
            _ => 0,
        })
        .sum();
    assert_eq!(online, 0);
}

#[test]
fn one_whose_verdict_does_not_come_is_sent_away_in_time() {
    let (builder, desk) = parking();
    let (broker, mut world) = World::with(builder.configure(|config| config.limits.connect_timeout = 0));
    let mut wire = Wire::open(&broker, Version::V5);
    world.run(async {
        greet(&mut wire, "late", None, None, Version::V5).await;
        wire.rest().await;
    });
    // The hook's answer, if it was asked at all, comes too late and does no harm.
    for (_, answer) in desk.try_iter() {
        let _ = answer.send(Verdict::accept());
    }
    world.settle();
    assert_eq!(world.run(broker.metrics()).unwrap().connections, 0);
}

#[test]
fn a_driver_that_is_dropped_drops_what_waits() {
    let (builder, desk) = parking();
    let (broker, mut world) = World::with(builder);
    let mut wire = Wire::open(&broker, Version::V5);
    world.run(greet(&mut wire, "parked", None, None, Version::V5));
    world.settle();
    let (_, answer) = desk.try_recv().expect("the hook was asked");
    world.drop_driver();
    assert!(answer.is_canceled(), "nobody waits for the verdict any more");
    world.run(wire.ended());
    assert!(desk.recv().is_err(), "the hook itself is dropped");
}

#[test]
fn a_shutdown_does_not_wait_for_verdicts() {
    let (builder, desk) = parking();
    let (broker, mut world) = World::with(builder);
    let mut wire = Wire::open(&broker, Version::V5);
    world.run(greet(&mut wire, "parked", None, None, Version::V5));
    world.settle();
    let (_, answer) = desk.try_recv().expect("the hook was asked");
    world.run(broker.shutdown(std::time::Duration::from_hours(1)));
    assert!(answer.is_canceled());
    world.run(wire.refused());
}

#[test]
fn without_a_hook_nobody_is_let_in_where_authentication_is_asked_for() {
    let (broker, mut world) = World::with(Broker::builder().configure(|config| config.authenticate = true));
    world.run(async {
        let mut wire = Wire::open(&broker, Version::V5);
        greet(&mut wire, "a", Some("ada"), Some("secret"), Version::V5).await;
        assert_eq!(wire.refused().await, ReasonCode::ServerUnavailable);
    });
}

/// Asks for the answer to a riddle, at every step.
async fn riddle(request: AuthRequest) -> Verdict {
    assert_eq!(request.method.as_deref(), Some("RIDDLE"));
    match (request.stage, request.data.as_deref()) {
        (AuthStage::Connect, _) => Verdict::Continue { data: "what walks on four legs?".into() },
        (AuthStage::Continue, Some(b"man")) => {
            Verdict::Accept(Grant { username: Some("oedipus".into()), data: Some("pass".into()) })
        }
        (AuthStage::ReAuthenticate, _) => Verdict::Continue { data: "again?".into() },
        _ => Verdict::reject(ReasonCode::NotAuthorized),
    }
}

#[test]
fn enhanced_authentication_goes_back_and_forth() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let names = seen.clone();
    let builder =
        Broker::builder().authenticate(riddle).authorize(move |client: ClientIdentity<'_>, _: Action<'_>| {
            names.lock().unwrap().push(client.username.map(str::to_owned));
            true
        });
    let (broker, mut world) = World::with(builder);
    world.run(async {
        let mut wire = Wire::open(&broker, Version::V5);
        greet_with_method(&mut wire, "a", b"hello").await;
        assert_eq!(
            wire.next().await.packet(),
            auth(ReasonCode::ContinueAuthentication, b"what walks on four legs?")
        );
        wire.send(&auth(ReasonCode::ContinueAuthentication, b"man")).await;
        let frame = wire.accepted().await;
        assert_eq!(frame.conn_ack().properties.authentication_method, Some("RIDDLE"));
        assert_eq!(frame.conn_ack().properties.authentication_data, Some(&b"pass"[..]));
        wire.subscribe("t", QoS::AtMostOnce).await;
        let mut names = seen.lock().unwrap().clone();
        // Several shards ask more than once.
        names.dedup();
        assert_eq!(names, [Some("oedipus".to_owned())]);

        // Again, later; everything else goes on meanwhile.
        wire.send(&auth(ReasonCode::ReAuthenticate, b"")).await;
        assert_eq!(wire.next().await.packet(), auth(ReasonCode::ContinueAuthentication, b"again?"));
        wire.publish("t", b"meanwhile", QoS::AtMostOnce).await;
        assert_eq!(wire.next().await.publish().payload, b"meanwhile");
        wire.send(&auth(ReasonCode::ContinueAuthentication, b"man")).await;
        assert_eq!(wire.next().await.packet(), auth(ReasonCode::Success, b"pass"));

        // A wrong answer ends it.
        wire.send(&auth(ReasonCode::ReAuthenticate, b"")).await;
        wire.next().await;
        wire.send(&auth(ReasonCode::ContinueAuthentication, b"a dog")).await;
        assert_eq!(wire.disconnected().await, ReasonCode::NotAuthorized);

        let mut wire = Wire::open(&broker, Version::V5);
        greet_with_method(&mut wire, "b", b"").await;
        wire.next().await;
        wire.send(&auth(ReasonCode::ContinueAuthentication, b"a cat")).await;
        assert_eq!(wire.refused().await, ReasonCode::NotAuthorized);
    });
}

#[test]
fn a_closure_decides_who_may_do_what() {
    let builder = Broker::builder().authorize(|client: ClientIdentity<'_>, action: Action<'_>| {
        let own = |text: &str| text.split('/').next() == client.username;
        match action {
            Action::Publish { topic, retain, .. } => own(topic.as_str()) && !retain,
            Action::Subscribe { filter, qos } => own(filter.filter()) && qos < QoS::ExactlyOnce,
            _ => false,
        }
    });
    let (broker, mut world) = World::with(builder);
    world.run(async {
        let ada = broker.client("1").username("ada").connect().await.unwrap();
        assert_eq!(ada.subscribe("ada/#", QoS::AtLeastOnce).await, Ok(QoS::AtLeastOnce));
        let refused = Err(columba::ClientError::NotSubscribed(ReasonCode::NotAuthorized));
        assert_eq!(ada.subscribe("ada/#", QoS::ExactlyOnce).await, refused);
        assert_eq!(ada.subscribe("bob/#", QoS::AtMostOnce).await, refused);
        ada.send(Publish::new("ada/t", "mine").qos(QoS::AtLeastOnce)).await.unwrap();
        let refused = Err(columba::ClientError::NotPublished(ReasonCode::NotAuthorized));
        assert_eq!(ada.send(Publish::new("ada/t", "").qos(QoS::AtLeastOnce).retain(true)).await, refused);
        assert_eq!(ada.send(Publish::new("bob/t", "").qos(QoS::AtLeastOnce)).await, refused);
        let nobody = broker.client("2").connect().await.unwrap();
        assert_eq!(nobody.send(Publish::new("ada/t", "").qos(QoS::AtLeastOnce)).await, refused);
        assert_eq!(text(&next(&ada).await), "mine");
        assert!(ada.try_recv().is_none());
    });
}

#[test]
fn an_observer_sees_what_it_asked_for_in_order() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::new(AtomicUsize::new(0));
    let (list, count) = (seen.clone(), all.clone());
    let builder = Broker::builder()
        .observe(EventMask::CLIENTS | EventMask::PUBLISHED, move |event: &Event| {
            list.lock().unwrap().push(match event {
                Event::Connected { client_id, .. } => format!("{client_id} came"),
                Event::Disconnected { client_id, cause, .. } => format!("{client_id} left: {cause}"),
                Event::Published { client_id, topic, .. } => format!("{client_id} published to {topic}"),
                Event::SessionEnded { client_id, .. } => format!("{client_id}'s session ended"),
                other => format!("{other:?}"),
            });
        })
        .observe(EventMask::ALL, move |_: &Event| {
            count.fetch_add(1, Ordering::Relaxed);
        });
    let (broker, mut world) = World::with(builder);
    world.run(async {
        let client = broker.client("a").connect().await.unwrap();
        client.subscribe("t", QoS::AtMostOnce).await.unwrap();
        client.publish("t", "").await.unwrap();
        next(&client).await;
        client.disconnect().await.unwrap();
        while broker.metrics().await.unwrap().connections > 0 {}
    });
    let expected = ["a came", "a published to t", "a left: the client disconnected", "a's session ended"];
    assert_eq!(*seen.lock().unwrap(), expected);
    assert_eq!(all.load(Ordering::Relaxed), expected.len() + 2, "subscribed and delivered besides");
    world.drop_driver();
    assert_eq!(Arc::strong_count(&seen), 1, "the observer is dropped with the driver");
}
