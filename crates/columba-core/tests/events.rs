//! What the broker tells its owner: events, counters, and what can be looked up.

use bytes::Bytes;
use columba_core::codec::{QoS, ReasonCode};
use columba_core::{Action, Cause, CloseCause, Core, DropCause, Event, EventMask, Fault, Time};

use crate::world::{ALL, Client, V3_1_1, V5, World, level, persistent, will};

fn watching(mask: EventMask) -> World {
    World::with(|config| config.events = mask)
}

/// Events in short.
fn names(events: &[Event]) -> Vec<String> {
    let name = |event: &Event| match event {
        Event::Authenticate { request, .. } => format!("authenticate {}", request.client_id),
        Event::Connected { client_id, session_present, .. } => {
            format!("connected {client_id} {session_present}")
        }
        Event::Refused { cause, .. } => format!("refused: {cause}"),
        Event::Disconnected { client_id, cause, session_kept, .. } => {
            format!("disconnected {client_id} {session_kept}: {cause}")
        }
        Event::SessionEnded { client_id, expired } => format!("ended {client_id} {expired}"),
        Event::Subscribed { client_id, filter, qos } => {
            format!("subscribed {client_id} {filter} {}", *qos as u8)
        }
        Event::Unsubscribed { client_id, filter } => format!("unsubscribed {client_id} {filter}"),
        Event::Published { client_id, topic, payload, qos, retain } => {
            format!(
                "published {client_id} {topic}={} {} {retain}",
                String::from_utf8_lossy(payload),
                *qos as u8
            )
        }
        Event::Delivered { client_id, topic, qos, dup } => {
            format!("delivered {client_id} {topic} {} {dup}", *qos as u8)
        }
        Event::Dropped { client_id, topic, qos, cause } => {
            format!("dropped {client_id} {topic} {} {cause:?}", *qos as u8)
        }
        Event::QueueFull { client_id, messages, bytes } => {
            format!("queue full {client_id} {messages} {bytes}")
        }
        Event::StoreFull { client_id } => format!("store full {client_id}"),
        _ => "?".into(),
    };
    events.iter().map(name).collect()
}

#[test]
fn a_life_in_events() {
    for version in ALL {
        let world = watching(EventMask::ALL);
        let client = world.connect("a", version, persistent);
        client.subscribe("t", 2);
        client.publish("t", 1, "x");
        client.drop_link();
        let client = world.connect("a", version, persistent);
        assert_eq!(client.messages(), ["t=x"]);
        client.unsubscribe(&["t", "t"]);
        client.disconnect();
        let client = world.connect("a", version, |_| ());
        client.disconnect();
        let present = true;
        assert_eq!(
            names(&world.events()),
            [
                "connected a false".to_owned(),
                "subscribed a t 2".into(),
                "published a t=x 1 false".into(),
                "delivered a t 1 false".into(),
                "disconnected a true: the connection was lost".into(),
                format!("connected a {present}"),
                "delivered a t 1 true".into(),
                "unsubscribed a t".into(),
                "disconnected a true: the client disconnected".into(),
                "ended a false".into(),
                "connected a false".into(),
                "disconnected a false: the client disconnected".into(),
                "ended a false".into(),
            ]
        );
    }
}

/// Each kind comes if it is asked for and not otherwise; a question always.
#[test]
fn kinds_of_events_can_be_chosen() {
    let kinds = [
        EventMask::CLIENTS,
        EventMask::SUBSCRIPTIONS,
        EventMask::PRESSURE,
        EventMask::PUBLISHED,
        EventMask::DELIVERED,
        EventMask::DROPPED,
    ];
    for chosen in kinds.into_iter().chain([EventMask::NONE, EventMask::ALL]) {
        let world = World::with(|config| {
            config.events = chosen;
            config.authenticate = true;
            config.limits.queued_messages = 1;
        });
        let client = world.try_connect("a", V5, |_| ());
        world.answer(world.question().0, columba_core::Verdict::accept());
        client.accepted();
        client.subscribe("t", 1);
        client.stall();
        for _ in 0..3 {
            client.start("t", 1, "x", |_| ());
        }
        client.resume();
        client.drop_link();
        let events = world.events();
        for kind in kinds {
            let came = events.iter().any(|event| event.kind() == kind);
            assert_eq!(came, chosen.contains(kind), "{kind:?} of {chosen:?}: {events:?}");
        }
    }
}

#[test]
fn events_can_be_asked_for_later() {
    let world = watching(EventMask::NONE);
    let client = world.connect("a", V5, |_| ());
    client.publish("t", 0, "x");
    assert_eq!(world.events(), []);
    world.core(|core, _| core.enable_events(EventMask::PUBLISHED));
    client.publish("t", 0, "x");
    client.subscribe("t", 0);
    assert_eq!(names(&world.events()), ["published a t=x 0 false"]);
}

type Ending = fn(&World, &Client);

/// Why a connection ended: one cause for each way there is.
#[test]
fn disconnected_says_why() {
    let fault = |reason, text: &'static str| Cause::Fault(Fault { reason, text: text.into() });
    let endings: [(Cause, Ending); 8] = [
        (Cause::Client(ReasonCode::Success), |_, client| client.disconnect()),
        (Cause::Client(ReasonCode::DisconnectWithWill), |_, client| {
            client.disconnect_with(ReasonCode::DisconnectWithWill, None);
        }),
        (Cause::Transport, |_, client| client.drop_link()),
        (Cause::KeepAlive, |world, _| world.advance(15)),
        (Cause::TakenOver, |world, _| drop(world.connect("a", V5, persistent))),
        (Cause::Administrative(ReasonCode::ServerMoved), |world, _| {
            assert!(world.core(|core, now| core.disconnect(now, "a", ReasonCode::ServerMoved)));
        }),
        (Cause::Shutdown, |world, _| world.core(Core::shut_down)),
        (fault(ReasonCode::ProtocolError, "a second CONNECT"), |_, client| client.connect("a", |_| ())),
    ];
    for (expected, end) in endings {
        let world = watching(EventMask::CLIENTS);
        let client = world.connect("a", V5, |connect| {
            persistent(connect);
            connect.keep_alive = 10;
        });
        end(&world, &client);
        let cause = world.events().into_iter().find_map(|event| match event {
            Event::Disconnected { cause, session_kept: true, .. } => Some(cause),
            _ => None,
        });
        assert_eq!(cause, Some(expected));
    }
}

/// A will is published in its client's name, like any message.
#[test]
fn a_will_is_reported_as_published() {
    let world = watching(EventMask::PUBLISHED);
    for retain in [false, true] {
        let client = world.connect("a", V5, |connect| {
            connect.will = Some(columba_core::codec::Will { qos: level(1), retain, ..will("w", "x") });
        });
        client.drop_link();
        assert_eq!(names(&world.events()), [format!("published a w=x 1 {retain}")]);
    }
}

/// What is refused is not published.
#[test]
fn published_means_accepted() {
    let world = watching(EventMask::ALL);
    world.authorize(|_: columba_core::Client<'_>, action: Action<'_>| match action {
        Action::Publish { qos, .. } => qos == QoS::AtMostOnce,
        _ => true,
    });
    let client = world.connect("a", V5, |_| ());
    world.events();
    client.start("t", 0, "x", |_| ());
    client.start("t", 1, "x", |_| ());
    client.start("t", 2, "x", |_| ());
    assert_eq!(
        names(&world.events()),
        [
            "published a t=x 0 false",
            "dropped a t 1 Refused(NotAuthorized)",
            "dropped a t 2 Refused(NotAuthorized)"
        ]
    );
    assert_eq!(world.metrics().publishes_refused, 2);
}

/// A message at QoS 2 that is sent twice is published once.
#[test]
fn published_is_reported_once() {
    let world = watching(EventMask::PUBLISHED);
    let client = world.connect("a", V3_1_1, persistent);
    for _ in 0..3 {
        client.start("t", 2, "x", |publish| publish.packet_id = std::num::NonZeroU16::new(7));
    }
    assert_eq!(world.events().len(), 1);
}

/// What a session takes with it when it ends.
#[test]
fn messages_lost_with_their_session_are_reported() {
    let world = watching(EventMask::DROPPED);
    let client = world.connect("a", V3_1_1, persistent);
    client.subscribe("t", 1);
    client.drop_link();
    world.connect("p", V5, |_| ()).publish("t", 1, "x");
    world.connect("a", V3_1_1, |_| ()).expect_nothing();
    let events = world.events();
    assert!(matches!(&events[..], [Event::Dropped { cause: DropCause::SessionEnded, .. }]), "{events:?}");
}

#[test]
fn a_full_queue_is_reported_with_its_size() {
    let world = World::with(|config| config.limits.queued_messages = 2);
    let client = world.connect("a", V5, |_| ());
    client.subscribe("t", 0);
    client.stall();
    let publisher = world.connect("p", V5, |_| ());
    world.events();
    (0..4).for_each(|_| publisher.publish("t", 0, "xyz"));
    assert_eq!(
        names(&world.events()),
        [format!("queue full a 2 {}", 2 * (columba_core::MESSAGE_OVERHEAD + 4))]
    );
}

/// Nobody takes them: then they are counted, and nothing grows.
#[test]
fn events_that_nobody_takes_are_lost_and_counted() {
    let mut core = columba_core::Core::new(columba_core::Config::default(), columba_core::Seed::from(1));
    for _ in 0..70_000 {
        let key = core.open(Time::ZERO, columba_core::Peer::default());
        core.close(Time::ZERO, key, CloseCause::Transport);
    }
    let mut count = 0;
    while core.poll_event().is_some() {
        count += 1;
    }
    assert_eq!((count, core.metrics().events_lost), (65_536, 70_000 - 65_536));
    core.count_lost_event();
    assert_eq!(core.metrics().events_lost, 70_001 - 65_536);
}

#[test]
fn counters_count() {
    let world = World::new();
    let subscriber = world.connect("s", V3_1_1, |_| ());
    subscriber.subscribe("t", 1);
    let publisher = world.connect("p", V3_1_1, |_| ());
    publisher.publish("t", 0, "x");
    publisher.publish("t", 1, "xx");
    world.open("refused", V5).send_bytes(b"\x00\x00");
    let metrics = world.metrics();
    assert_eq!((metrics.connections_opened, metrics.connects_accepted, metrics.connects_refused), (3, 2, 1));
    assert_eq!((metrics.packets_received, metrics.publishes_received), (5, 2));
    assert_eq!((metrics.packets_sent, metrics.publishes_sent), (6, 2));
    assert_eq!(metrics.bytes_received, (2 + 13) * 2 + (2 + 6) + (2 + 4) + (2 + 7));
    assert_eq!(metrics.bytes_sent, 4 * 2 + 5 + (2 + 4) + (2 + 7) + 4);
    assert_eq!((metrics.connections, metrics.sessions, metrics.subscriptions, metrics.stored), (2, 2, 1, 1));
    subscriber.messages();
    assert_eq!(world.metrics().stored, 0);
}

#[test]
fn clients_can_be_looked_up() {
    let world = World::new();
    let client = world.connect("a", V5, |connect| {
        persistent(connect);
        connect.keep_alive = 30;
        connect.username = Some("user");
        connect.properties.receive_maximum = std::num::NonZeroU16::new(1);
        connect.will = Some(will("w", ""));
    });
    client.subscribe("t", 2);
    let publisher = world.connect("p", V5, |_| ());
    (0..3).for_each(|_| publisher.publish("t", 2, "x"));
    client.start("t", 2, "own", |_| ());
    let info = world.core(|core, _| core.client("a")).expect("it is there");
    assert_eq!((info.subscriptions, info.queued, info.inflight, info.incoming), (1, 3, 1, 1));
    assert_eq!(
        info.queued_bytes,
        3 * (columba_core::MESSAGE_OVERHEAD + 2) + columba_core::MESSAGE_OVERHEAD + 4
    );
    assert_eq!((info.session_expiry, info.expires_in, info.has_will), (3600, None, true));
    let connection = info.connection.expect("it is online");
    assert_eq!(
        (connection.version, connection.keep_alive, connection.username.as_deref()),
        (V5, 30, Some("user"))
    );
    client.drop_link();
    world.advance(600);
    let info = world.core(|core, _| core.client("a")).expect("it is kept");
    assert!(info.connection.is_none() && !info.has_will);
    // The time that the core knows of is that of its last call.
    world.core(Core::handle_timeout);
    let info = world.core(|core, _| core.client("a")).expect("it is kept");
    assert_eq!(info.expires_in.map(|left| left.as_secs()), Some(3000));
    assert!(world.core(|core, _| core.client("nobody")).is_none());
}

/// In the same process packets need no bytes: the payload is shared, and all else is the same.
#[test]
fn a_decoded_publish_is_a_publish() {
    for size in [10, 100_000] {
        let world = World::new();
        let publisher = world.connect("p", V5, |_| ());
        let client = world.connect("a", V3_1_1, |_| ());
        client.subscribe("t", 1);
        let payload = Bytes::from(vec![b'x'; size]);
        let mut publish = columba_core::codec::Publish::new(crate::world::name("t"), &payload);
        (publish.qos, publish.packet_id) = (level(1), std::num::NonZeroU16::new(3));
        let key = publisher.key();
        let intake = world.core(|core, now| core.receive_publish(now, key, &publish, &payload));
        assert_eq!(intake, columba_core::Intake::Open);
        publisher.expect_all(&["PUBACK #3"]);
        assert_eq!(client.messages(), [format!("t={}", "x".repeat(size))]);
        // Not before CONNECT, and not after the end.
        let stranger = world.open("stranger", V5);
        let key = stranger.key();
        let _ = world.core(|core, now| core.receive_publish(now, key, &publish, &payload));
        stranger.expect_closed();
        let intake = world.core(|core, now| core.receive_publish(now, key, &publish, &payload));
        assert_eq!(intake, columba_core::Intake::Closed);
    }
}
