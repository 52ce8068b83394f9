//! Who may come in and who may do what: questions and verdicts, enhanced authentication, authorisation.

use std::num::NonZeroU32;

use bytes::Bytes;
use columba_core::codec::{Packet, Publish, QoS, ReasonCode, SubscriptionOptions, Version};
use columba_core::{Action, AuthStage, Cause, Event, Grant, Peer, Verdict};

use crate::world::{ALL, Client, V3_1, V3_1_1, V5, World, name, persistent, will};

fn asking() -> World {
    World::with(|config| config.authenticate = true)
}

fn more(data: &'static str) -> Verdict {
    Verdict::Continue { data: Bytes::from_static(data.as_bytes()) }
}

/// A client of MQTT 5 that wants enhanced authentication, waiting for the first verdict.
fn by_method(world: &World) -> Client {
    world.try_connect("a", V5, |connect| {
        connect.properties.authentication_method = Some("m");
        connect.properties.authentication_data = Some(b"hello");
    })
}

/// The same, accepted and ready for more.
fn accepted_by_method(world: &World) -> Client {
    let client = by_method(world);
    world.answer(world.question().0, Verdict::accept());
    client.accepted();
    client
}

fn data_of(packet: &Packet<'_>) -> (Option<String>, Option<Vec<u8>>) {
    match packet {
        Packet::ConnAck(ack) => (
            ack.properties.authentication_method.map(str::to_owned),
            ack.properties.authentication_data.map(<[u8]>::to_vec),
        ),
        _ => (None, None),
    }
}

#[test]
fn the_broker_asks_with_everything_it_knows() {
    for version in ALL {
        let world = asking();
        let peer = Peer { transport: "test", address: Some("here".into()), ..Peer::default() };
        let client = world.open_from("a", version, peer.clone());
        client.connect("a", |connect| {
            connect.username = Some("user");
            connect.password = Some(b"secret");
        });
        client.expect_nothing();
        let (ticket, request) = world.question();
        assert_eq!(request.stage, AuthStage::Connect);
        assert_eq!((&*request.client_id, request.version), ("a", version));
        assert_eq!(request.username.as_deref(), Some("user"));
        assert_eq!(request.password.as_deref(), Some(&b"secret"[..]));
        assert_eq!((request.method, request.data), (None, None));
        assert_eq!(request.peer, peer);
        world.answer(ticket, Verdict::accept());
        client.accepted();
    }
}

/// [MQTT-3.1.4-2] [MQTT-4.12.0-4] [MQTT-3.2.2-6] [MQTT-3.2.2-7] [MQTT-3.2.2-8] [MQTT-4.13.2-1]
/// [MQTT-3.2.2-4 of 3.1.1] [MQTT-3.2.2-5 of 3.1.1]
#[test]
fn a_verdict_of_no_has_a_code() {
    for (reason, v5, v3) in [
        (ReasonCode::BadUserNameOrPassword, 0x86, 4),
        (ReasonCode::NotAuthorized, 0x87, 5),
        (ReasonCode::Banned, 0x8a, 5),
        (ReasonCode::ServerBusy, 0x89, 3),
        (ReasonCode::BadAuthenticationMethod, 0x8c, 5),
        // What CONNACK does not have, or what is no refusal at all.
        (ReasonCode::SessionTakenOver, 0x87, 5),
        (ReasonCode::Success, 0x87, 5),
    ] {
        for version in ALL {
            let world = asking();
            let client = world.try_connect("a", version, persistent);
            world.answer(world.question().0, Verdict::reject(reason));
            client.expect_refused(if version == V5 { v5 } else { v3 });
            assert_eq!(world.metrics().sessions, 0);
            let events = world.events();
            assert!(matches!(&events[..], [Event::Refused { cause: Cause::Fault(_), .. }]), "{events:?}");
        }
    }
}

/// While a verdict is awaited nothing is read: what came with CONNECT is taken after a yes and dropped after a no.
/// [MQTT-3.1.4-6]
#[test]
fn input_waits_for_the_verdict() {
    for version in ALL {
        for yes in [true, false] {
            let world = asking();
            let watcher = world.open_from("w", V5, Peer { trusted: true, ..Peer::default() });
            watcher.connect("w", |_| ());
            watcher.accepted();
            watcher.subscribe("t", 0);
            let client = world.try_connect("a", version, |_| ());
            let mut bytes = Vec::new();
            Publish::new(name("t"), b"x").encode(version, &mut bytes).expect("it is one");
            client.send_bytes(&bytes);
            client.send_bytes(&bytes[..4]);
            watcher.expect_nothing();
            assert_eq!(world.metrics().packets_received, 3);
            let verdict = if yes { Verdict::accept() } else { Verdict::reject(ReasonCode::NotAuthorized) };
            world.answer(world.question().0, verdict);
            if yes {
                client.accepted();
                watcher.expect_all(&["PUBLISH t=x"]);
                client.send_bytes(&bytes[4..]);
                watcher.expect_all(&["PUBLISH t=x"]);
            } else {
                client.expect_refused(if version == V5 { 0x87 } else { 5 });
                watcher.expect_nothing();
            }
        }
    }
}

/// A verdict counts once, and only for the connection it was asked for.
#[test]
fn a_ticket_is_good_for_one_answer() {
    let world = asking();
    let client = world.try_connect("a", V5, |_| ());
    let (first, _) = world.question();
    client.drop_link();
    let client = world.try_connect("a", V5, |_| ());
    let (second, _) = world.question();
    world.answer(first, Verdict::accept());
    client.expect_nothing();
    world.answer(second, Verdict::accept());
    client.accepted();
    world.answer(second, Verdict::reject(ReasonCode::Banned));
    world.answer(first, Verdict::reject(ReasonCode::Banned));
    client.ping();
}

#[test]
fn a_verdict_that_does_not_come_is_a_no() {
    for version in ALL {
        let world = asking();
        let client = world.try_connect("a", version, |_| ());
        let (ticket, _) = world.question();
        world.advance(9);
        client.expect_nothing();
        client.expect_open();
        world.advance(1);
        assert!(client.next().bytes[3] != 0);
        client.expect_closed();
        world.answer(ticket, Verdict::accept());
        assert_eq!(world.metrics().connects_accepted, 0);
    }
}

/// Keep alive starts when the client is let in.
#[test]
fn a_slow_verdict_does_not_count_as_silence() {
    let world = asking();
    let client = world.try_connect("a", V5, |connect| connect.keep_alive = 4);
    world.advance(9);
    world.answer(world.question().0, Verdict::accept());
    client.accepted();
    world.advance(5);
    client.ping();
}

/// Part of the program around the broker.
#[test]
fn a_trusted_peer_is_not_asked() {
    let world = asking();
    let client = world.open_from("a", V5, Peer { trusted: true, ..Peer::default() });
    client.connect("a", |_| ());
    client.accepted();
    client.publish("$SYS/x", 1, "x");
    client.expect_nothing();
}

/// [MQTT-4.12.0-1]
#[test]
fn without_an_authenticator_there_is_no_enhanced_authentication() {
    let world = World::new();
    by_method(&world).expect_refused(0x8c);
}

/// [MQTT-4.12.0-2] [MQTT-4.12.0-3] [MQTT-4.12.0-5] [MQTT-3.15.2-1]
#[test]
fn enhanced_authentication_may_take_rounds() {
    for rounds in 0..3 {
        let world = asking();
        let client = by_method(&world);
        let (mut ticket, request) = world.question();
        assert_eq!(request.method.as_deref(), Some("m"));
        assert_eq!(request.data.as_deref(), Some(&b"hello"[..]));
        for _ in 0..rounds {
            world.answer(ticket, more("and?"));
            client.expect_all(&["AUTH 18 m and?"]);
            client.auth(ReasonCode::ContinueAuthentication, Some("m"), Some(b"this"));
            let request;
            (ticket, request) = world.question();
            assert_eq!((request.stage, &*request.client_id), (AuthStage::Continue, "a"));
            assert_eq!(request.data.as_deref(), Some(&b"this"[..]));
        }
        let grant = Grant { data: Some(Bytes::from_static(b"bye")), ..Grant::default() };
        world.answer(ticket, Verdict::Accept(grant));
        let connack = client.accepted();
        assert_eq!(data_of(&connack.packet()), (Some("m".into()), Some(b"bye".to_vec())));
        client.ping();
    }
}

/// Neither side can go on, so the client does not wait for what it does not take. [MQTT-3.1.2-24]
#[test]
fn a_step_that_is_too_large_ends_the_authentication() {
    let small = |world: &World| {
        world.try_connect("a", V5, |connect| {
            connect.properties.authentication_method = Some("m");
            connect.properties.maximum_packet_size = NonZeroU32::new(40);
        })
    };
    for (len, fits) in [(29, true), (30, false)] {
        let data = Bytes::from(vec![b'x'; len]);
        let world = asking();
        let client = small(&world);
        world.answer(world.question().0, Verdict::Continue { data: data.clone() });
        if fits {
            assert_eq!(client.next().bytes.len(), 40);
            client.expect_open();
        } else {
            client.expect_refused(0x95);
        }

        let world = asking();
        let client = small(&world);
        world.answer(world.question().0, Verdict::accept());
        client.accepted();
        client.auth(ReasonCode::ReAuthenticate, Some("m"), None);
        world.answer(world.question().0, Verdict::Accept(Grant { data: Some(data), ..Grant::default() }));
        if fits {
            assert_eq!(client.next().bytes.len(), 40);
            client.ping();
        } else {
            client.expect_disconnect(0x95);
        }
    }
}

/// At each step: no. [MQTT-4.12.0-4]
#[test]
fn enhanced_authentication_may_fail_at_any_step() {
    for rounds in 0..2 {
        let world = asking();
        let client = by_method(&world);
        let mut ticket = world.question().0;
        for _ in 0..rounds {
            world.answer(ticket, more("?"));
            client.expect("AUTH 18 m ?");
            client.auth(ReasonCode::ContinueAuthentication, Some("m"), None);
            ticket = world.question().0;
        }
        world.answer(ticket, Verdict::reject(ReasonCode::NotAuthorized));
        client.expect_refused(0x87);
    }
}

/// Nothing but AUTH and DISCONNECT may come before CONNACK, and nothing else can end the wait.
/// [MQTT-3.1.2-30]
#[test]
fn authentication_cannot_be_skipped_half_way() {
    let attempts: [fn(&Client); 8] = [
        |client| client.send(&Packet::PingReq),
        |client| {
            client.start("t", 0, "x", |_| ());
        },
        |client| client.connect("a", |_| ()),
        |client| client.ack(columba_core::codec::PacketType::PubRel, 1),
        |client| client.auth(ReasonCode::ContinueAuthentication, Some("other"), None),
        |client| client.auth(ReasonCode::ContinueAuthentication, None, None),
        |client| client.auth(ReasonCode::ReAuthenticate, Some("m"), None),
        |client| client.auth(ReasonCode::Success, Some("m"), None),
    ];
    for attempt in attempts {
        let world = asking();
        let client = by_method(&world);
        world.answer(world.question().0, more("?"));
        client.expect("AUTH 18 m ?");
        attempt(&client);
        client.expect_refused(0x82);
        assert_eq!((world.metrics().connects_accepted, world.metrics().sessions), (0, 0));
    }
}

/// A client may give up in the middle of it.
#[test]
fn authentication_may_be_given_up() {
    let world = asking();
    let client = by_method(&world);
    world.answer(world.question().0, more("?"));
    client.expect("AUTH 18 m ?");
    client.disconnect_with(ReasonCode::Success, None);
    client.expect_closed();
    assert_eq!(world.metrics().connects_refused, 1);
}

/// [MQTT-4.12.0-6] [MQTT-4.12.0-7]
#[test]
fn without_a_method_there_is_no_auth() {
    for version in ALL {
        // The authenticator wants more from a client that cannot give it.
        let world = asking();
        let client = world.try_connect("a", version, |_| ());
        world.answer(world.question().0, more("?"));
        client.expect_refused(if version == V5 { 0x83 } else { 3 });
        // It has last words for a client that did not ask for them.
        let client = world.try_connect("a", version, |_| ());
        let grant = Grant { data: Some(Bytes::from_static(b"bye")), ..Grant::default() };
        world.answer(world.question().0, Verdict::Accept(grant));
        assert_eq!(data_of(&client.accepted().packet()), (None, None));
        // The client starts by itself; before 5.0 there is no such packet.
        client.send_bytes(b"\xf0\x06\x19\x04\x15\x00\x01m");
        client.expect_disconnect(0x82);
    }
}

/// [MQTT-4.12.1-1]; traffic goes on meanwhile.
#[test]
fn a_client_may_authenticate_again() {
    let world = asking();
    let client = accepted_by_method(&world);
    for _ in 0..2 {
        client.auth(ReasonCode::ReAuthenticate, Some("m"), Some(b"again"));
        let (ticket, request) = world.question();
        assert_eq!((request.stage, &*request.client_id), (AuthStage::ReAuthenticate, "a"));
        assert_eq!(request.data.as_deref(), Some(&b"again"[..]));
        client.ping();
        world.answer(ticket, more("and?"));
        client.expect_all(&["AUTH 18 m and?"]);
        client.publish("t", 1, "x");
        client.auth(ReasonCode::ContinueAuthentication, Some("m"), Some(b"this"));
        let (ticket, request) = world.question();
        assert_eq!(request.stage, AuthStage::Continue);
        let grant = Grant { data: Some(Bytes::from_static(b"bye")), ..Grant::default() };
        world.answer(ticket, Verdict::Accept(grant));
        client.expect_all(&["AUTH 00 m bye"]);
    }
}

/// [MQTT-4.12.1-2]; the will is sent, as the client has not said goodbye.
#[test]
fn failing_to_authenticate_again_ends_the_connection() {
    for (reason, said) in [(ReasonCode::NotAuthorized, 0x87), (ReasonCode::BadUserNameOrPassword, 0x87)] {
        let world = asking();
        let watcher = world.open_from("w", V5, Peer { trusted: true, ..Peer::default() });
        watcher.connect("w", |_| ());
        watcher.accepted();
        watcher.subscribe("w", 0);
        let client = world.try_connect("a", V5, |connect| {
            connect.properties.authentication_method = Some("m");
            connect.will = Some(will("w", "x"));
        });
        world.answer(world.question().0, Verdict::accept());
        client.accepted();
        client.auth(ReasonCode::ReAuthenticate, Some("m"), None);
        world.answer(world.question().0, Verdict::reject(reason));
        client.expect_disconnect(said);
        watcher.expect_all(&["PUBLISH w=x"]);
    }
}

#[test]
fn wrong_turns_of_authenticating_again() {
    let attempts: [fn(&Client); 6] = [
        |client| client.auth(ReasonCode::ReAuthenticate, Some("other"), None),
        |client| client.auth(ReasonCode::ReAuthenticate, None, None),
        |client| client.auth(ReasonCode::ContinueAuthentication, Some("m"), None),
        |client| client.auth(ReasonCode::Success, Some("m"), None),
        |client| {
            // Twice, before the first is answered.
            client.auth(ReasonCode::ReAuthenticate, Some("m"), None);
            client.auth(ReasonCode::ReAuthenticate, Some("m"), None);
        },
        |client| client.send_bytes(b"\xf0\x00"),
    ];
    for attempt in attempts {
        let world = asking();
        let client = accepted_by_method(&world);
        attempt(&client);
        client.expect_disconnect(0x82);
    }
}

/// While the broker waits for the client's next AUTH, a new start is not its turn.
#[test]
fn authenticating_again_cannot_be_restarted_half_way() {
    let world = asking();
    let client = accepted_by_method(&world);
    client.auth(ReasonCode::ReAuthenticate, Some("m"), None);
    world.answer(world.question().0, more("?"));
    client.expect("AUTH 18 m ?");
    client.auth(ReasonCode::ReAuthenticate, Some("m"), None);
    client.expect_disconnect(0x82);
}

/// The name that counts is the one the authenticator gives, also after authenticating again.
#[test]
fn authorisation_goes_by_the_granted_name() {
    let world = asking();
    world.authorize(|client: columba_core::Client<'_>, action: Action<'_>| match action {
        Action::Publish { topic, .. } => Some(topic.as_str()) == client.username,
        _ => true,
    });
    let client = world.try_connect("a", V5, |connect| {
        connect.username = Some("sent");
        connect.properties.authentication_method = Some("m");
    });
    let named = |name: &str| Verdict::Accept(Grant { username: Some(name.into()), ..Grant::default() });
    world.answer(world.question().0, named("first"));
    client.accepted();
    let may = |topic| {
        let id = client.start(topic, 1, "", |_| ());
        let received = client.next().text;
        received == format!("PUBACK #{id} 10")
    };
    assert!(may("first") && !may("sent") && !may("second"));
    client.auth(ReasonCode::ReAuthenticate, Some("m"), None);
    world.answer(world.question().0, named("second"));
    client.expect("AUTH 00 m");
    assert!(may("second") && !may("first"));
    // Without a name of its own the one that was sent counts.
    let client = world.try_connect("b", V3_1_1, |connect| connect.username = Some("sent"));
    world.answer(world.question().0, Verdict::accept());
    client.accepted();
    assert_eq!(
        world.core(|core, _| core.client("b")).and_then(|info| info.connection?.username).as_deref(),
        Some("sent")
    );
}

/// What a hook is asked about: the topic behind an alias, the QoS, the flag; and the whole of a shared filter.
#[test]
fn authorisation_sees_what_is_meant() {
    let world = World::new();
    world.authorize(|client: columba_core::Client<'_>, action: Action<'_>| match action {
        Action::Publish { topic, qos, retain } => {
            topic.as_str() != "secret" && !(qos == QoS::ExactlyOnce && retain) && client.id == "a"
        }
        Action::Subscribe { filter, qos } => {
            filter.as_str() != "$share/g/secret" && filter.as_str() != "secret" && qos < QoS::ExactlyOnce
        }
        _ => false,
    });
    let client = world.connect("a", V5, |_| ());
    let alias = |publish: &mut Publish<'_>| publish.topic_alias = std::num::NonZeroU16::new(1);
    client.start("secret", 1, "x", alias);
    client.expect("PUBACK #1 87");
    client.start("t", 1, "x", |publish| {
        alias(publish);
        publish.topic = None;
    });
    client.expect("PUBACK #2 87");
    client.start("t", 2, "x", |publish| publish.retain = true);
    client.expect("PUBREC #3 87");
    client.start("t", 2, "x", |_| ());
    client.expect("PUBREC #4 10");
    client.start("$SYS/x", 1, "x", |_| ());
    client.expect("PUBACK #5 87");
    let ask = |filter, qos| {
        client.ask(
            &[(filter, SubscriptionOptions { qos: crate::world::level(qos), ..Default::default() })],
            None,
        )
    };
    assert_eq!(ask("secret", 0), [0x87]);
    assert_eq!(ask("$share/g/secret", 0), [0x87]);
    assert_eq!(ask("$share/g/other", 1), [1]);
    assert_eq!(ask("other", 2), [0x87]);
}

/// 3.1.1 has one code for every refusal, 3.1 has none and says what was asked for; no subscription is made.
#[test]
fn a_refused_subscription_in_each_version() {
    let expected = |version: Version| match version {
        V3_1 => 1,
        V3_1_1 => 0x80,
        V5 => 0x87,
    };
    for version in ALL {
        let world = World::new();
        world.authorize(|_: columba_core::Client<'_>, _: Action<'_>| false);
        let client = world.connect("a", version, |_| ());
        let options = SubscriptionOptions { qos: crate::world::level(1), ..Default::default() };
        assert_eq!(client.ask(&[("t", options)], None), [expected(version)]);
        assert_eq!(world.metrics().subscriptions, 0);
    }
}
