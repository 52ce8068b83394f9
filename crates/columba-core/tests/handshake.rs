//! From an open transport to a client that is online, and how a connection ends: CONNECT, CONNACK, time limits,
//! keep alive, shutdown.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::BytesMut;
use columba_core::codec::{
    ConnAckProperties, Connect, Disconnect, Packet, PacketId, Publish, QoS, ReasonCode, Version,
};
use columba_core::{Cause, Chunks, CloseCause, Config, Core, Event, Flow, Intake, Peer, Seed, Time};

use crate::world::{ALL, Client, Received, V3_1, V3_1_1, V5, World, name, persistent, will};

/// A changed setting, or a CONNECT, and what CONNACK says to it.
fn announced(
    settings: impl FnOnce(&mut Config),
    adjust: impl FnOnce(&mut Connect<'_>),
    check: impl FnOnce(&ConnAckProperties<'_>) -> bool,
) {
    let world = World::with(settings);
    let connack = world.try_connect("a", V5, adjust).accepted();
    let Packet::ConnAck(ack) = connack.packet() else { panic!("{}", connack.text) };
    assert!(check(&ack.properties), "{:?}", ack.properties);
}

fn assigned_id(connack: &Received) -> Option<String> {
    match connack.packet() {
        Packet::ConnAck(ack) => ack.properties.assigned_client_id.map(str::to_owned),
        _ => None,
    }
}

/// [MQTT-3.1.4-5] [MQTT-3.2.2-1], [MQTT-3.1.4-4 of 3.1.1] [MQTT-3.2.2-1 of 3.1.1] [MQTT-3.2.0-1]
/// [MQTT-3.1.3-2] [MQTT-3.2.0-1 of 3.1.1]
#[test]
fn connect_is_answered() {
    for version in ALL {
        let world = World::new();
        let connack = world.try_connect("a", version, |_| ()).accepted();
        if version < V5 {
            assert_eq!(connack.bytes, [0x20, 2, 0, 0]);
        } else {
            assert_eq!(connack.bytes[2..4], [0, 0]);
        }
        assert_eq!(world.metrics().connects_accepted, 1);
    }
}

/// What CONNACK does not say has the standard's value, and what differs from that is said.
/// [MQTT-3.2.2-9] [MQTT-3.2.2-21] [MQTT-2.2.2-1]
#[test]
fn connack_announces_what_differs_from_the_standard() {
    announced(
        |_| (),
        |_| (),
        |is| {
            *is == ConnAckProperties {
                receive_maximum: PacketId::new(1024),
                maximum_packet_size: NonZeroU32::new(16 << 20),
                topic_alias_maximum: Some(64),
                ..ConnAckProperties::default()
            }
        },
    );
    announced(|config| config.limits.receive_maximum = 65_535, |_| (), |is| is.receive_maximum.is_none());
    announced(
        |config| config.limits.receive_maximum = 7,
        |_| (),
        |is| is.receive_maximum == PacketId::new(7),
    );
    announced(|config| config.limits.topic_aliases_in = 0, |_| (), |is| is.topic_alias_maximum.is_none());
    announced(
        |config| config.maximum_qos = QoS::AtMostOnce,
        |_| (),
        |is| is.maximum_qos == Some(QoS::AtMostOnce),
    );
    announced(
        |config| config.maximum_qos = QoS::AtLeastOnce,
        |_| (),
        |is| is.maximum_qos == Some(QoS::AtLeastOnce),
    );
    announced(|config| config.retain_available = false, |_| (), |is| is.retain_available == Some(false));
    announced(
        |config| config.wildcard_subscriptions = false,
        |_| (),
        |is| is.wildcard_subscription_available == Some(false),
    );
    announced(
        |config| config.shared_subscriptions = false,
        |_| (),
        |is| is.shared_subscription_available == Some(false),
    );
    announced(
        |config| config.subscription_ids = false,
        |_| (),
        |is| is.subscription_ids_available == Some(false),
    );
    announced(|config| config.server_keep_alive = Some(30), |_| (), |is| is.server_keep_alive == Some(30));
}

/// [MQTT-3.1.2-28]
#[test]
fn response_information_comes_only_when_asked_for() {
    for (asked, comes) in [(None, false), (Some(false), false), (Some(true), true)] {
        announced(
            |config| config.response_information = Some("answers/".into()),
            |connect| connect.properties.request_response_information = asked,
            |is| is.response_information == comes.then_some("answers/"),
        );
    }
}

/// [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16]
#[test]
fn a_client_without_an_id_is_given_one() {
    let world = World::new();
    let mut ids = BTreeSet::new();
    for _ in 0..100 {
        let client = world.try_connect("", V5, |connect| {
            connect.clean_start = false;
            connect.properties.session_expiry = Some(10);
        });
        let id = assigned_id(&client.accepted()).expect("an id is assigned");
        assert!(id.len() <= 23 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
        assert!(ids.insert(id));
        client.drop_link();
    }
    // It is an id like any other.
    let id = ids.first().expect("there are some");
    let connack = world.try_connect(id, V5, persistent).accepted();
    assert_eq!(connack.text, "CONNACK 00 present");
    assert_eq!(assigned_id(&connack), None);
}

/// Different brokers give different ids, and none has a pattern to the next: nobody can take a session over by
/// guessing.
#[test]
fn assigned_ids_depend_on_the_seed_in_every_place() {
    let first_ids = |seed: u64| {
        let mut core = Core::new(Config::default(), Seed::from(seed));
        for _ in 0..20 {
            let key = core.open(Time::ZERO, Peer::default());
            let mut bytes = Vec::new();
            Connect::new(V3_1_1, "").encode(&mut bytes).expect("it is one");
            let _ = core.receive(Time::ZERO, key, &mut BytesMut::from(&bytes[..]));
        }
        core.clients().map(|client| client.client_id.to_string()).collect::<Vec<_>>()
    };
    let (one, other) = (first_ids(1), first_ids(2));
    assert_eq!(one, first_ids(1), "a replay gives the same");
    assert!(one.iter().all(|id| !other.contains(id)));
    for place in 0..20 {
        let digits: BTreeSet<_> = one.iter().map(|id| id.as_bytes()[place]).collect();
        assert!(digits.len() > 8, "place {place} of {one:?}");
    }
}

/// [MQTT-3.1.3-8], [MQTT-3.1.3-6 of 3.1.1] [MQTT-3.1.3-8 of 3.1.1] [MQTT-3.1.3-9 of 3.1.1]
/// [MQTT-3.2.2-4 of 3.1.1] [MQTT-3.2.2-5 of 3.1.1]
#[test]
fn who_may_come_without_an_id() {
    let refused = |assign, version, clean| {
        let world = World::with(|config| config.assign_client_ids = assign);
        let client = world.try_connect("", version, |connect| connect.clean_start = clean);
        let text = client.next();
        (text.bytes[3] != 0).then_some(text.bytes[3])
    };
    for (version, clean, expected) in [
        (V3_1, true, Some(2)),
        (V3_1, false, Some(2)),
        (V3_1_1, true, None),
        (V3_1_1, false, Some(2)),
        (V5, true, None),
        (V5, false, None),
    ] {
        assert_eq!(refused(true, version, clean), expected, "{version} {clean}");
        let code = if version == V5 { 0x85 } else { 2 };
        assert_eq!(refused(false, version, clean), Some(code), "{version} {clean}, none assigned");
    }
}

/// [MQTT-3.1.3-5]; longer ones and others are fine too, in 3.1 as well. [MQTT-3.1.3-5 of 3.1.1]
#[test]
fn any_client_id_is_accepted() {
    for version in ALL {
        let world = World::new();
        for id in
            ["0123456789abcdefABCDEFz", "ä/ö #+$", "a client id with more than twenty-three letters", " "]
        {
            world.connect(id, version, |_| ()).ping();
        }
    }
}

/// [MQTT-3.1.2-2], [MQTT-3.1.2-2 of 3.1.1]
#[test]
fn a_version_that_is_not_served_is_refused() {
    for connect in [
        &b"\x10\x0d\x00\x04MQTT\x06\x02\x00\x00\x00\x01a"[..],
        b"\x10\x0f\x00\x06MQIsdp\x04\x02\x00\x00\x00\x01a",
    ] {
        let world = World::new();
        let client = world.open("a", V3_1_1);
        client.send_bytes(connect);
        assert_eq!(client.next().bytes, [0x20, 2, 0, 1]);
        client.expect_closed();
    }
}

/// Bridges of other brokers announce themselves in the level. (They are clients like any other here.)
#[test]
fn a_bridge_is_welcome() {
    for version in [V3_1, V3_1_1] {
        World::new().connect("a", version, |connect| connect.bridge = true).ping();
    }
}

/// [MQTT-3.1.0-1], [MQTT-3.1.4-1 of 3.1.1]: without a CONNECT that can be read there is nobody to answer.
/// [MQTT-3.14.0-1] [MQTT-3.1.2-1] [MQTT-3.1.0-1 of 3.1.1] [MQTT-3.1.2-1 of 3.1.1]
#[test]
fn what_is_not_a_connect_is_closed_unanswered() {
    for bytes in [
        &b"\xc0\x00"[..],
        b"\x30\x03\x00\x01t",
        b"\xe0\x00",
        b"\xf0\x00",
        b"\x20\x02\x00\x00",
        b"\x00\x00",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x10\x0d\x00\x04mqtt\x04\x02\x00\x00\x00\x01a",
        // The reserved flag of 3.1.1 [MQTT-3.1.2-3 of 3.1.1].
        b"\x10\x0d\x00\x04MQTT\x04\x03\x00\x00\x00\x01a",
        b"\x10\xff\xff\xff\xff\x01",
        b"\x10\xff\xff\xff\x7f",
    ] {
        let world = World::new();
        let client = world.open("a", V3_1_1);
        client.send_bytes(bytes);
        client.expect_closed();
        assert_eq!(world.metrics().connects_refused, 1);
    }
}

/// [MQTT-3.1.4-1] [MQTT-4.13.1-1] [MQTT-3.1.2-3] [MQTT-3.2.2-6] [MQTT-3.2.2-7] [MQTT-3.2.2-8]
#[test]
fn a_connect_of_mqtt_5_that_is_wrong_is_told_so() {
    for (code, bytes) in [
        // A reserved flag [MQTT-3.1.2-3].
        (0x81, &b"\x10\x0e\x00\x04MQTT\x05\x03\x00\x00\x00\x00\x01a"[..]),
        // Will QoS without a will [MQTT-3.1.2-11].
        (0x81, b"\x10\x0e\x00\x04MQTT\x05\x0a\x00\x00\x00\x00\x01a"),
        // Ends too early.
        (0x81, b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01"),
        // Receive Maximum 0.
        (0x82, b"\x10\x11\x00\x04MQTT\x05\x02\x00\x00\x03\x21\x00\x00\x00\x01a"),
        // Session expiry twice.
        (0x82, b"\x10\x18\x00\x04MQTT\x05\x02\x00\x00\x0a\x11\x00\x00\x00\x01\x11\x00\x00\x00\x01\x00\x01a"),
        // Authentication data without a method.
        (0x82, b"\x10\x12\x00\x04MQTT\x05\x02\x00\x00\x04\x16\x00\x01x\x00\x01a"),
    ] {
        let world = World::new();
        let client = world.open("a", V5);
        client.send_bytes(bytes);
        client.expect_refused(code);
    }
}

/// [MQTT-3.1.0-2] [MQTT-3.1.0-2 of 3.1.1]
#[test]
fn a_second_connect_is_a_protocol_error() {
    for version in ALL {
        let world = World::new();
        let client = world.connect("a", version, |_| ());
        client.connect("a", |_| ());
        client.expect_disconnect(0x82);
    }
}

/// Nobody has to wait for CONNACK with what comes after CONNECT; but what follows a refused one is not looked at.
/// [MQTT-3.1.4-6], [MQTT-3.1.4-5 of 3.1.1]
#[test]
fn packets_may_follow_connect_at_once() {
    for version in ALL {
        for (id, accepted) in [("a", true), ("far too long an id to be accepted", false)] {
            let world = World::with(|config| config.limits.client_id_len = 23);
            let watcher = world.connect("w", V5, |_| ());
            watcher.subscribe("#", 0);
            let mut bytes = Vec::new();
            Connect::new(version, id).encode(&mut bytes).expect("it is one");
            Publish::new(name("t"), b"x").encode(version, &mut bytes).expect("it is one");
            Packet::Disconnect(Disconnect::new(ReasonCode::Success))
                .encode(version, &mut bytes)
                .expect("it is one");
            let client = world.open("a", version);
            client.send_bytes(&bytes);
            if accepted {
                client.accepted();
                client.expect_closed();
                watcher.expect_all(&["PUBLISH t=x"]);
            } else {
                client.expect_refused(if version == V5 { 0x85 } else { 2 });
                watcher.expect_nothing();
            }
        }
    }
}

/// A client that takes no packets larger than a few bytes could not be told that it is welcome. [MQTT-3.1.2-24]
/// [MQTT-3.2.0-1]
#[test]
fn a_client_that_cannot_take_its_connack_is_refused() {
    let world = World::new();
    world.connect("p", V5, |_| ()).subscribe("t", 0);
    let first = world.connect("a", V5, persistent);
    let size = {
        let client = world.try_connect("b", V5, |_| ());
        client.accepted().bytes.len() as u32
    };
    for too_small in [1, 4, 5, 10, size - 1] {
        let client = world.try_connect("a", V5, |connect| {
            connect.properties.maximum_packet_size = NonZeroU32::new(too_small);
        });
        if too_small >= 5 {
            client.expect_refused(0x95);
        }
        client.expect_closed();
    }
    first.ping();
    world.connect("b", V5, |connect| connect.properties.maximum_packet_size = NonZeroU32::new(size)).ping();
}

#[test]
fn connect_has_to_come_in_time() {
    for (milliseconds, open) in [(9_999, true), (10_000, false)] {
        let world = World::new();
        let client = world.open("a", V5);
        client.send_bytes(b"\x10");
        world.advance_by(Duration::from_millis(milliseconds));
        assert_eq!(client.is_open(), open);
        assert!(open || matches!(&world.events()[..], [Event::Refused { cause: Cause::ConnectTimeout, .. }]));
    }
}

/// A client that does not read what it is sent is given a few seconds to do so when the connection ends; then its
/// transport is given up.
#[test]
fn a_closing_connection_is_given_up_after_a_while() {
    let world = World::new();
    let client = world.connect("a", V5, |_| ());
    client.stall();
    client.send_bytes(b"\xff\x00");
    assert_eq!(world.next_deadline(), Some(5));
    world.advance(4);
    client.expect_open();
    world.advance(1);
    client.expect_closed();
    assert_eq!((world.metrics().connections, world.next_deadline()), (0, None));
}

/// [MQTT-3.1.2-22] [MQTT-3.2.2-22], [MQTT-3.1.2-24 of 3.1.1]
#[test]
fn keep_alive_is_one_and_a_half_times_what_the_client_says() {
    for version in ALL {
        for (milliseconds, open) in [(14_999, true), (15_000, false)] {
            let world = World::new();
            let client = world.connect("a", version, |connect| connect.keep_alive = 10);
            world.advance_by(Duration::from_millis(milliseconds));
            if open {
                client.expect_open();
            } else {
                client.expect_disconnect(0x8d);
            }
        }
    }
}

type Sending = fn(&Client);

/// Every whole packet from the client counts; a part of one does not, and nothing the broker sends does.
#[test]
fn what_keeps_a_client_alive() {
    let sending: [(bool, Sending); 6] = [
        (true, |client| client.ping()),
        (true, |client| client.publish("other", 0, "x")),
        (true, |client| client.ack(columba_core::codec::PacketType::PubAck, 9)),
        (false, |_| ()),
        (false, |client| client.send_bytes(b"\xc0")),
        (false, |client| client.send_bytes(b"\x30\x05\x00\x01t")),
    ];
    for (number, (alive, send)) in sending.into_iter().enumerate() {
        let world = World::new();
        let client = world.connect("a", V5, |connect| connect.keep_alive = 10);
        client.subscribe("t", 0);
        let publisher = world.connect("p", V5, |_| ());
        for _ in 0..5 {
            world.advance(10);
            if client.is_open() {
                send(&client);
            }
            publisher.publish("t", 0, "x");
        }
        assert_eq!(client.is_open(), alive, "case {number}");
    }
}

#[test]
fn a_keep_alive_of_zero_is_for_ever() {
    for version in ALL {
        let world = World::new();
        let client = world.connect("a", version, |_| ());
        assert_eq!(world.next_deadline(), None);
        world.advance(10_000_000);
        client.ping();
    }
}

#[test]
fn the_longest_keep_alive_is_kept() {
    let world = World::new();
    let client = world.connect("a", V3_1_1, |connect| connect.keep_alive = u16::MAX);
    world.advance(98_302);
    client.ping();
    world.advance(98_303);
    client.expect_closed();
}

/// MQTT 5 clients are told another keep alive and must use it; others cannot be told. [MQTT-3.1.2-21]
#[test]
fn the_broker_may_set_the_keep_alive() {
    for (version, asked, seconds) in
        [(V5, 1000, 15), (V5, 0, 15), (V5, 1, 15), (V3_1_1, 100, 150), (V3_1, 100, 150)]
    {
        let world = World::with(|config| config.server_keep_alive = Some(10));
        let client = world.connect("a", version, |connect| connect.keep_alive = asked);
        world.advance(seconds - 1);
        client.expect_open();
        world.advance(1);
        client.expect_disconnect(0x8d);
    }
}

/// [MQTT-3.12.4-1] [MQTT-3.12.4-1 of 3.1.1]
#[test]
fn pings_are_answered() {
    for version in ALL {
        World::new().connect("a", version, |_| ()).ping();
    }
}

/// [MQTT-3.14.4-1] and that nothing more is read. [MQTT-3.14.4-1 of 3.1.1]
#[test]
fn disconnect_ends_the_connection() {
    for version in ALL {
        let world = World::new();
        let watcher = world.connect("w", V5, |_| ());
        watcher.subscribe("t", 0);
        let client = world.connect("a", version, |_| ());
        let mut bytes = vec![0xe0, 0];
        Publish::new(name("t"), b"x").encode(version, &mut bytes).expect("it is one");
        client.send_bytes(&bytes);
        client.expect_closed();
        watcher.expect_nothing();
    }
}

#[test]
fn the_owner_may_send_a_client_away() {
    for version in ALL {
        for (reason, said) in [
            (ReasonCode::ServerMoved, 0x9d),
            (ReasonCode::Banned, 0x98),
            (ReasonCode::MessageRateTooHigh, 0x96),
        ] {
            let world = World::new();
            let watcher = world.connect("w", V5, |_| ());
            watcher.subscribe("will", 0);
            let client = world.connect("a", version, |connect| {
                persistent(connect);
                connect.will = Some(will("will", "x"));
            });
            assert!(world.core(|core, now| core.disconnect(now, "a", reason)));
            client.expect_disconnect(said);
            watcher.expect_all(&["PUBLISH will=x"]);
            assert!(!world.core(|core, now| core.disconnect(now, "a", reason)), "it is gone");
            assert!(!world.core(|core, now| core.disconnect(now, "nobody", reason)));
            assert_eq!(world.metrics().sessions, 2);
        }
    }
}

#[test]
fn shutdown_sends_everybody_away_and_keeps_sessions() {
    let world = World::new();
    let clients: Vec<_> =
        ALL.iter().map(|&version| world.connect(&version.to_string(), version, persistent)).collect();
    let silent = world.open("silent", V5);
    world.core(Core::shut_down);
    for client in clients {
        client.expect_disconnect(0x8b);
    }
    silent.expect_closed();
    assert_eq!((world.metrics().connections, world.metrics().sessions), (0, 3));
}

/// Packets that only a server sends.
#[test]
fn a_client_that_acts_as_a_server_is_sent_away() {
    for version in ALL {
        for bytes in [&b"\x20\x02\x00\x00"[..], b"\x90\x03\x00\x01\x00", b"\xb0\x02\x00\x01", b"\xd0\x00"] {
            let world = World::new();
            let client = world.connect("a", version, |_| ());
            client.send_bytes(bytes);
            if client.is_v5() {
                let reason = client.next();
                assert!(["DISCONNECT 81", "DISCONNECT 82"].contains(&&*reason.text), "{}", reason.text);
            }
            client.expect_closed();
        }
    }
}

/// A key of a connection that is gone reaches nobody, not even the next in its place.
#[test]
fn a_stale_key_is_ignored() {
    let world = World::new();
    let old = world.connect("a", V5, |_| ());
    old.drop_link();
    let new = world.connect("b", V5, |_| ());
    assert_eq!(new.key().index(), old.key().index());
    let key = old.key();
    world.core(|core, now| {
        let mut bytes = BytesMut::from(&b"\xe0\x00"[..]);
        assert_eq!(core.receive(now, key, &mut bytes), Intake::Closed);
        core.close(now, key, CloseCause::Transport);
        let mut out = Chunks::new();
        assert_eq!(core.poll_transmit(now, key, &mut out), Flow::Close);
        assert_eq!(core.poll_transmit_control(now, key, &mut out), Flow::Close);
        assert!(out.is_empty());
    });
    new.ping();
}

/// Nothing overflows where deadlines lie beyond the last point in time there is.
#[test]
fn the_end_of_time_is_a_time() {
    let mut core = Core::new(Config::default(), Seed::from(1));
    // Ten seconds more are needed for CONNECT.
    let now = Time::from_micros(u64::MAX - 11_000_000);
    let key = core.open(now, Peer::default());
    let mut bytes = Vec::new();
    let connect = Connect { keep_alive: 60, will: Some(will("w", "")), ..Connect::new(V5, "a") };
    connect.encode(&mut bytes).expect("it is one");
    let mut publish = Publish::new(name("t"), b"x");
    publish.retain = true;
    publish.properties.message_expiry = Some(20);
    publish.encode(V5, &mut bytes).expect("it is one");
    assert_eq!(core.receive(now, key, &mut BytesMut::from(&bytes[..])), Intake::Open);
    let end = Time::from_micros(u64::MAX);
    assert_eq!(core.poll_timeout(), Some(end));
    core.handle_timeout(end);
    core.close(end, key, CloseCause::Transport);
    assert_eq!((core.metrics().sessions, core.poll_timeout()), (0, None));
}

/// Time that goes backwards is taken for standing still.
#[test]
fn time_never_goes_backwards() {
    let world = World::new();
    let client = world.connect("a", V5, |connect| connect.keep_alive = 10);
    world.core(|core, _| core.handle_timeout(Time::ZERO));
    world.advance(14);
    client.ping();
    let version: Version = client.version();
    assert_eq!(version, V5);
}
