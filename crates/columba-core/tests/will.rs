//! Wills: when they are sent, when they are not, and what they carry.

use std::num::NonZeroU16;

use columba_core::codec::{Connect, List, PayloadFormat, QoS, ReasonCode, Will};
use columba_core::{FullQueue, Peer, Verdict};

use crate::world::{ALL, Client, V3_1_1, V5, World, level, will};

/// A broker with somebody who waits for wills.
fn watched() -> (World, Client) {
    let world = World::new();
    let watcher = world.connect("watcher", V5, |_| ());
    watcher.subscribe("will/#", 2);
    (world, watcher)
}

/// For CONNECT: a session of so many seconds and a will that waits so long.
fn delayed(session: u32, delay: u32) -> impl Fn(&mut Connect<'_>) {
    move |connect| {
        connect.clean_start = false;
        connect.properties.session_expiry = Some(session);
        connect.will = Some(Will { delay: Some(delay), ..will("will/d", "x") });
    }
}

const WILL: [&str; 1] = ["PUBLISH will/d=x"];

type Ending = fn(&World, &Client);

/// Every way to end a connection but a proper goodbye. [MQTT-3.1.2-8] [MQTT-3.1.2-10] [MQTT-3.14.4-3],
/// [MQTT-3.1.2-8 of 3.1.1] [MQTT-3.14.4-3 of 3.1.1] [MQTT-3.1.2-7] [MQTT-3.1.2-10 of 3.1.1]
#[test]
fn a_will_is_sent_unless_its_client_says_goodbye() {
    let endings: [(bool, Ending); 7] = [
        (false, |_, client| client.disconnect()),
        (true, |_, client| client.drop_link()),
        (true, |world, _| world.advance(15)),
        (true, |_, client| client.send_bytes(b"\xff\xff\xff\xff\xff")),
        (true, |_, client| client.connect("a", |_| ())),
        (true, |world, client| drop(world.connect("a", client.version(), |_| ()))),
        (true, |world, _| {
            assert!(world.core(|core, now| core.disconnect(now, "a", ReasonCode::AdministrativeAction)));
        }),
    ];
    for version in ALL {
        for (number, (sent, end)) in endings.into_iter().enumerate() {
            let (world, watcher) = watched();
            let client = world.connect("a", version, |connect| {
                connect.keep_alive = 10;
                connect.will = Some(will("will/d", "x"));
            });
            end(&world, &client);
            assert!(!client.is_open());
            assert_eq!(watcher.messages().len(), usize::from(sent), "ending {number} in {version}");
            world.advance(100_000);
            watcher.expect_nothing();
        }
    }
}

/// Any reason but 0x00 leaves the will to be sent; 0x04 is there for it.
#[test]
fn a_goodbye_with_another_reason_sends_the_will() {
    for reason in [ReasonCode::DisconnectWithWill, ReasonCode::UnspecifiedError, ReasonCode::ProtocolError] {
        let (world, watcher) = watched();
        let client = world.connect("a", V5, |connect| connect.will = Some(will("will/d", "x")));
        client.disconnect_with(reason, None);
        client.expect_closed();
        watcher.expect_all(&WILL);
    }
}

/// The client that comes next brings its own will or none. [MQTT-3.1.2-10], [MQTT-3.1.2-12 of 3.1.1]
#[test]
fn a_will_is_sent_once() {
    let (world, watcher) = watched();
    for _ in 0..2 {
        world.connect("a", V5, |connect| connect.will = Some(will("will/d", "x"))).drop_link();
        watcher.expect_all(&WILL);
        world.connect("a", V5, |_| ()).drop_link();
        watcher.expect_nothing();
    }
}

#[test]
fn a_will_waits_for_its_delay() {
    for (seconds, sent) in [(0, false), (9, false), (10, true)] {
        let (world, watcher) = watched();
        world.connect("a", V5, delayed(100, 10)).drop_link();
        world.advance(seconds);
        assert_eq!(!watcher.texts().is_empty(), sent, "after {seconds}");
    }
}

/// [MQTT-3.1.3-9]
#[test]
fn who_is_back_in_time_has_left_no_will() {
    for with_new_will in [false, true] {
        let (world, watcher) = watched();
        world.connect("a", V5, delayed(100, 10)).drop_link();
        world.advance(9);
        let client = world.connect("a", V5, |connect| {
            delayed(100, 20)(connect);
            if !with_new_will {
                connect.will = None;
            }
        });
        world.advance(50);
        watcher.expect_nothing();
        client.drop_link();
        world.advance(19);
        watcher.expect_nothing();
        world.advance(1);
        assert_eq!(watcher.texts().len(), usize::from(with_new_will));
    }
}

/// Being taken over is to be back in time; but a will without delay is sent.
#[test]
fn takeover_and_wills() {
    for (delay, sent) in [(0, true), (1, false)] {
        let (world, watcher) = watched();
        let _old = world.connect("a", V5, delayed(100, delay));
        let new = world.connect("a", V5, |connect| {
            delayed(100, 0)(connect);
            connect.will = Some(will("will/new", "y"));
        });
        assert_eq!(watcher.messages().len(), usize::from(sent));
        world.advance(50);
        watcher.expect_nothing();
        new.drop_link();
        watcher.expect_all(&["PUBLISH will/new=y"]);
    }
}

/// The session's end ends the delay, however it comes.
#[test]
fn a_will_is_sent_at_the_end_of_the_session() {
    // It expires before the delay is over.
    let (world, watcher) = watched();
    world.connect("a", V5, delayed(5, 10)).drop_link();
    world.advance(4);
    watcher.expect_nothing();
    world.advance(1);
    watcher.expect_all(&WILL);
    world.advance(50);
    watcher.expect_nothing();
    // It ends with the connection.
    world.connect("a", V5, delayed(0, 10)).drop_link();
    watcher.expect_all(&WILL);
    // A clean start ends it.
    world.connect("a", V5, delayed(100, 10)).drop_link();
    watcher.expect_nothing();
    let _new = world.connect("a", V5, |_| ());
    watcher.expect_all(&WILL);
    // The client itself ends it with its last word.
    let client = world.connect("b", V5, delayed(100, 10));
    client.disconnect_with(ReasonCode::DisconnectWithWill, Some(0));
    watcher.expect_all(&WILL);
    // Delay and session end together.
    world.connect("c", V5, delayed(10, 10)).drop_link();
    world.advance(10);
    watcher.expect_all(&WILL);
    // Neither ever ends: only the delay counts.
    world.connect("d", V5, delayed(u32::MAX, 10)).drop_link();
    world.advance(10);
    watcher.expect_all(&WILL);
}

/// The longest delay and a session for ever.
#[test]
fn a_will_may_wait_as_long_as_it_likes() {
    let (world, watcher) = watched();
    world.connect("a", V5, delayed(u32::MAX, u32::MAX)).drop_link();
    world.advance(u64::from(u32::MAX) - 1);
    watcher.expect_nothing();
    world.advance(1);
    watcher.expect_all(&WILL);
}

/// [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-20] [MQTT-3.1.3-10]
#[test]
fn a_will_carries_its_properties() {
    let (world, watcher) = watched();
    let client = world.connect("a", V5, |connect| {
        let mut will = Will { qos: level(1), delay: Some(20), ..will("will/p", "x") };
        connect.properties.session_expiry = Some(100);
        will.properties.payload_format = Some(PayloadFormat::Utf8);
        will.properties.message_expiry = Some(30);
        will.properties.content_type = Some("text/plain");
        will.properties.response_topic = Some("answer");
        will.properties.correlation_data = Some(b"17");
        will.properties.user_properties = List::from_slice(&[("b", "1"), ("a", "2"), ("b", "3")]);
        connect.will = Some(will);
    });
    client.drop_link();
    world.advance(20);
    // Its time starts when it is sent.
    watcher.expect_all(&[
        "PUBLISH will/p=x q1 #1 expiry=30 format=1 type=text/plain response=answer correlation=17 b:1 a:2 b:3",
    ]);
}

/// [MQTT-3.1.2-14] [MQTT-3.1.2-15], [MQTT-3.1.2-16 of 3.1.1] [MQTT-3.1.2-17 of 3.1.1]
#[test]
fn a_will_may_be_retained_and_of_any_qos() {
    for version in ALL {
        for (qos, retain) in [(0, false), (1, true), (2, false), (2, true)] {
            let (world, watcher) = watched();
            let client = world.connect("a", version, |connect| {
                connect.will = Some(Will { qos: level(qos), retain, ..will("will/d", "x") });
            });
            client.drop_link();
            watcher.expect(&match qos {
                0 => "PUBLISH will/d=x".to_owned(),
                qos => format!("PUBLISH will/d=x q{qos} #1"),
            });
            let late = world.connect("late", V5, |_| ());
            late.subscribe("will/d", 0);
            let expected: &[&str] = if retain { &["PUBLISH will/d=x retain"] } else { &[] };
            late.expect_all(expected);
        }
    }
}

/// A retained will without payload clears what is retained, like any such message.
#[test]
fn an_empty_retained_will_clears() {
    let (world, watcher) = watched();
    watcher.retain("will/d", 0, "x");
    watcher.expect("PUBLISH will/d=x");
    world
        .connect("a", V3_1_1, |connect| connect.will = Some(Will { retain: true, ..will("will/d", "") }))
        .drop_link();
    watcher.expect_all(&["PUBLISH will/d="]);
    assert_eq!(world.metrics().retained, 0);
}

#[test]
fn a_will_of_zero_bytes_is_a_message() {
    for version in ALL {
        let (world, watcher) = watched();
        world.connect("a", version, |connect| connect.will = Some(will("will/d", ""))).drop_link();
        watcher.expect_all(&["PUBLISH will/d="]);
    }
}

/// [MQTT-3.2.2-12] [MQTT-3.2.2-13]
#[test]
fn a_will_that_is_not_supported_is_refused_with_its_client() {
    for version in ALL {
        let world = World::with(|config| {
            config.maximum_qos = QoS::AtLeastOnce;
            config.retain_available = false;
        });
        let connect = |qos, retain| {
            world.try_connect("a", version, |connect| {
                connect.will = Some(Will { qos: level(qos), retain, ..will("w", "x") });
            })
        };
        let v5 = version == V5;
        connect(2, false).expect_refused(if v5 { 0x9b } else { 3 });
        connect(0, true).expect_refused(if v5 { 0x9a } else { 3 });
        connect(1, false).accepted();
    }
}

/// Who may not publish it may not leave it either.
#[test]
fn a_will_needs_the_right_to_publish_it() {
    for version in ALL {
        let (world, watcher) = watched();
        world.authorize(|client: columba_core::Client<'_>, action: columba_core::Action<'_>| match action {
            columba_core::Action::Publish { topic, .. } => client.id == "a" && topic.as_str() == "will/mine",
            _ => true,
        });
        let connect =
            |topic| world.try_connect("a", version, move |connect| connect.will = Some(will(topic, "x")));
        connect("will/other").expect_refused(if version == V5 { 0x87 } else { 5 });
        connect("$SYS/x").expect_refused(if version == V5 { 0x87 } else { 5 });
        let client = connect("will/mine");
        client.accepted();
        client.drop_link();
        watcher.expect_all(&["PUBLISH will/mine=x"]);
    }
}

/// The will of a client that is still subscribed itself waits for it like any message; with No Local it does not.
#[test]
fn a_will_may_go_to_its_own_session() {
    for no_local in [false, true] {
        let world = World::new();
        let connect = |connect: &mut Connect<'_>| {
            delayed(100, 0)(connect);
            connect.will = Some(Will { qos: level(1), ..will("will/d", "x") });
        };
        let client = world.connect("a", V5, connect);
        client.subscribe_with("will/d", 1, None, |options| options.no_local = no_local);
        client.drop_link();
        let expected = usize::from(!no_local);
        assert_eq!(world.connect("a", V5, connect).messages().len(), expected);
    }
}

/// Messages at QoS 0, which a client that is away does not get, take no room from its own will.
#[test]
fn a_will_finds_the_room_that_its_clients_going_makes() {
    let world = World::with(|config| config.limits.queued_messages = 1);
    let connect = |connect: &mut Connect<'_>| {
        delayed(100, 0)(connect);
        connect.will = Some(Will { qos: level(1), ..will("will/d", "x") });
    };
    let client = world.connect("a", V5, connect);
    client.subscribe("will/d", 1);
    client.stall();
    world.connect("p", V5, |_| ()).publish("will/d", 0, "passing");
    client.drop_link();
    assert_eq!(world.connect("a", V5, connect).messages(), ["will/d=x"]);
}

/// A will that overflows somebody's queue is dropped like any message, and a consumer that is to be sent away for it
/// is, whatever brought the will about.
#[test]
fn a_will_can_overflow_a_queue() {
    let endings: [fn(&World); 4] = [
        |world| world.advance(15),
        |world| assert!(world.core(|core, now| core.disconnect(now, "a", ReasonCode::AdministrativeAction))),
        // Takeover, by one that is trusted and by one that is let in.
        |world| drop(trusted(world, "a", |_| ())),
        |world| {
            let _client = world.try_connect("a", V5, |_| ());
            world.answer(world.question().0, Verdict::accept());
        },
    ];
    for end in endings {
        let world = World::with(|config| {
            config.limits.queued_messages = 1;
            config.full_queue = FullQueue::DisconnectConsumer;
            config.authenticate = true;
        });
        let slow =
            trusted(&world, "slow", |connect| connect.properties.receive_maximum = Some(NonZeroU16::MIN));
        slow.subscribe("will/d", 1);
        slow.stall();
        trusted(&world, "p", |_| ()).publish("will/d", 1, "first");
        let _client = trusted(&world, "a", |connect| {
            connect.keep_alive = 10;
            connect.will = Some(Will { qos: level(1), ..will("will/d", "x") });
        });
        end(&world);
        slow.resume();
        slow.expect_disconnect(0x97);
        assert_eq!(world.metrics().dropped_queue_full, 1);
    }
}

fn trusted(world: &World, id: &str, adjust: impl FnOnce(&mut Connect<'_>)) -> Client {
    let client = world.open_from(id, V5, Peer { trusted: true, ..Peer::default() });
    client.connect(id, adjust);
    client.accepted();
    client
}
