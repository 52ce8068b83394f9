//! Snapshots: a broker that dies and comes back is, to its clients, one that lost all connections for a while.

use std::num::NonZeroU16;
use std::time::Duration;

use columba_core::codec::PacketType::{PubAck, PubComp, PubRec, PubRel};
use columba_core::codec::{Connect, List, PayloadFormat, Publish, RetainHandling, SubscriptionOptions, Will};
use columba_core::{Config, Core, Event, RestoreError, Seed, Time};

use crate::world::{ALL, Client, V3_1, V3_1_1, V5, World, level, persistent, will};

/// For CONNECT: go on with the session, which is to last so long.
fn lasting(seconds: u32) -> impl Fn(&mut Connect<'_>) {
    move |connect| {
        connect.clean_start = false;
        connect.properties.session_expiry = Some(seconds);
    }
}

/// The same with a will that waits so long.
fn leaving(topic: &str, payload: &str, session: u32, delay: u32) -> impl Fn(&mut Connect<'_>) {
    let (topic, payload) = (topic.to_owned(), payload.to_owned());
    move |connect| {
        lasting(session)(connect);
        // The test ends before its text does.
        let (topic, payload) = (topic.clone().leak(), payload.clone().leak());
        connect.will = Some(Will { qos: level(1), delay: Some(delay), ..will(topic, payload) });
    }
}

fn with_expiry(seconds: u32) -> impl Fn(&mut Publish<'_>) {
    move |publish| publish.properties.message_expiry = Some(seconds)
}

fn retained(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    world.core(|core, _| {
        core.retained(None, |topic, payload| {
            found.push(format!("{topic}={}", String::from_utf8_lossy(payload)));
        });
    });
    found.sort();
    found
}

/// A session whose client is away.
fn away(world: &World, id: &str, filter: &str, qos: u8) {
    let client = world.connect(id, V5, persistent);
    client.subscribe(filter, qos);
    client.drop_link();
}

fn watched() -> World {
    let world = World::new();
    away(&world, "watcher", "will/#", 2);
    world
}

/// What the one that waits for wills has got so far.
fn wills(world: &World) -> Vec<String> {
    let watcher = world.connect("watcher", V5, persistent);
    let messages = watcher.messages();
    watcher.drop_link();
    messages
}

/// What goes on for as long as the broker does has nothing to do with what is kept.
fn gauges(world: &World) -> [usize; 6] {
    let metrics = world.metrics();
    [
        metrics.sessions,
        metrics.subscriptions,
        metrics.retained,
        metrics.retained_bytes,
        metrics.stored,
        metrics.stored_bytes,
    ]
}

/// Something of everything, with nobody online.
pub(crate) fn rich() -> World {
    let world = World::new();
    let publisher = world.connect("publisher", V5, |connect| {
        connect.clean_start = false;
        connect.properties.session_expiry = Some(u32::MAX);
        connect.will = Some(Will { delay: Some(600), qos: level(1), retain: true, ..will("gone", "p") });
    });
    publisher.retain("kept/1", 1, "old");
    publisher.publish_with("kept/2", 2, "new", |publish| {
        publish.retain = true;
        publish.properties.message_expiry = Some(500);
        publish.properties.content_type = Some("text");
        publish.properties.user_properties = List::from_slice(&[("k", "v")]);
    });
    let client = world.connect("subscriber", V5, |connect| {
        lasting(3600)(connect);
        connect.properties.receive_maximum = NonZeroU16::new(4);
    });
    client.subscribe_with("kept/#", 1, Some(3), |options| options.retain_as_published = true);
    client.subscribe_with("+/x", 2, Some(4), |options| options.no_local = true);
    client.subscribe_with("a/x", 2, Some(300), |_| ());
    client.subscribe_with("$share/g/job/+", 2, None, |_| ());
    for (number, topic) in ["a/x", "b/x", "job/1", "a/x", "c/x", "job/2", "a/x"].into_iter().enumerate() {
        publisher.publish_with(topic, 2, number.to_string(), with_expiry(900 + number as u32));
    }
    // Of four under way two are answered, so that two more are sent; each is in a state of its own.
    client.ack(PubAck, 1);
    client.ack(PubAck, 2);
    client.ack(PubRec, 3);
    client.start("own", 2, "x", |_| ());
    client.start("own", 2, "y", |_| ());
    client.drop_link();
    let old = world.connect("old", V3_1_1, persistent);
    old.subscribe("a/x", 1);
    old.subscribe("$share/g/job/+", 1);
    old.subscribe("$share/h/job/+", 1);
    old.drop_link();
    publisher.publish("a/x", 1, "both");
    publisher.publish("job/3", 1, "either");
    publisher.drop_link();
    world
}

#[test]
fn an_empty_broker_comes_back_empty() {
    let world = World::new();
    let back = world.restarted(10);
    assert_eq!(back.metrics(), world.metrics());
    assert_eq!(back.snapshot(), world.snapshot());
}

/// Nothing happens, so nothing differs.
#[test]
fn a_snapshot_of_a_restored_broker_is_the_same() {
    let world = rich();
    let back = world.restarted(0);
    assert_eq!(back.snapshot(), world.snapshot());
    assert_eq!(gauges(&back), gauges(&world));
    for id in ["publisher", "subscriber", "old"] {
        let (before, after) = (world.core(|core, _| core.client(id)), back.core(|core, _| core.client(id)));
        assert_eq!(format!("{before:?}"), format!("{after:?}"));
        let list = |world: &World| world.core(|core, _| core.subscriptions(id));
        assert_eq!(list(&back), list(&world));
    }
}

#[test]
fn a_snapshot_changes_nothing() {
    let world = rich();
    let before = format!("{:?}", world.core(|core, now| (core.metrics(), core.snapshot(now))));
    assert_eq!(format!("{:?}", world.core(|core, now| (core.metrics(), core.snapshot(now)))), before);
    // Time does not go back, not here either.
    assert_eq!(world.core(|core, _| core.snapshot(Time::ZERO)), world.snapshot());
    world.connect("subscriber", V5, persistent).take("PUBREL #3");
}

/// [MQTT-3.1.2-7 of 3.1.1] [MQTT-3.3.1-5] [MQTT-3.3.2-17] [MQTT-3.3.2-18]
#[test]
fn what_is_retained_is_served_as_before() {
    let world = World::new();
    let publisher = world.connect("p", V5, |_| ());
    publisher.retain("large", 1, vec![b'x'; 100_000]);
    publisher.retain("a", 0, "0");
    publisher.publish_with("b", 2, "2", |publish| {
        publish.retain = true;
        publish.properties.payload_format = Some(PayloadFormat::Utf8);
        publish.properties.response_topic = Some("answer");
        publish.properties.correlation_data = Some(b"7");
        publish.properties.user_properties = List::from_slice(&[("b", "1"), ("a", "2"), ("b", "1")]);
    });
    let back = world.restarted(1_000_000);
    assert_eq!(gauges(&back), [0, 0, 3, gauges(&world)[3], 3, gauges(&world)[5]]);
    let client = back.connect("c", V5, |_| ());
    client.subscribe("b", 2);
    client.expect("PUBLISH b=2 q2 #1 retain format=1 response=answer correlation=7 b:1 a:2 b:1");
    client.ack(PubRec, 1);
    client.expect("PUBREL #1");
    client.ack(PubComp, 1);
    client.subscribe("large", 1);
    client.expect("PUBLISH large=<100000 bytes> q1 #2 retain");
    client.subscribe("a", 1);
    client.expect("PUBLISH a=0 retain");
    // And replaced, and cleared.
    client.retain("a", 1, "new");
    client.expect("PUBLISH a=new q1 #3");
    client.retain("large", 0, "");
    client.expect("PUBLISH large=");
    assert_eq!(retained(&back), ["a=new", "b=2"]);
}

/// [MQTT-3.3.2-5] [MQTT-3.3.2-6]
#[test]
fn a_retained_message_expires_while_nobody_runs() {
    for (seconds, left) in [(0, Some(10)), (9, Some(1)), (10, None), (1_000_000, None)] {
        let world = World::new();
        let publisher = world.connect("p", V5, |_| ());
        publisher.publish_with("t", 1, "x", |publish| {
            publish.retain = true;
            with_expiry(10)(publish);
        });
        let back = world.restarted(seconds);
        assert_eq!(back.metrics().stored, usize::from(left.is_some()));
        let client = back.connect("c", V5, |_| ());
        client.subscribe("t", 0);
        let expected = left.map(|left| format!("PUBLISH t=x retain expiry={left}"));
        client.expect_all(expected.as_slice());
        back.advance(left.unwrap_or(0));
        assert_eq!(back.metrics().stored, 0);
    }
}

/// [MQTT-3.1.2-23] [MQTT-4.1.0-1] [MQTT-4.1.0-2]
#[test]
fn a_session_expires_while_nobody_runs() {
    for online in [true, false] {
        for (seconds, kept) in [(0, true), (99, true), (100, false), (1_000_000, false)] {
            let world = World::new();
            let client = world.connect("a", V5, lasting(100));
            client.subscribe("t", 1);
            if !online {
                client.drop_link();
            }
            let back = world.restarted(seconds);
            let ended = |event: &Event| matches!(event, Event::SessionEnded { expired: true, .. });
            assert_eq!(back.events().iter().any(ended), !kept, "after {seconds} s");
            assert_eq!(back.metrics().subscriptions, usize::from(kept));
            back.advance((100 - seconds.min(100)).saturating_sub(1));
            assert_eq!(back.metrics().sessions, usize::from(kept));
            back.advance(1);
            assert_eq!(back.metrics().sessions, 0);
        }
    }
}

#[test]
fn a_session_without_end_has_none() {
    for version in ALL {
        let world = World::new();
        world.connect("a", version, |connect| {
            persistent(connect);
            connect.properties.session_expiry = (version == V5).then_some(u32::MAX);
        });
        let back = world.restarted(u64::from(u32::MAX) * 10);
        let client = back.connect("a", version, persistent);
        assert_eq!(back.metrics().sessions, 1);
        client.disconnect();
    }
}

/// [MQTT-3.1.2-6 of 3.1.1] [MQTT-4.1.0-2]
#[test]
fn a_session_that_is_not_to_last_is_gone() {
    for version in ALL {
        let world = World::new();
        let client = world.connect("a", version, |connect| connect.clean_start = version < V5);
        client.subscribe("t", 1);
        client.publish("t", 1, "x");
        let back = world.restarted(0);
        assert_eq!(gauges(&back), [0; 6]);
        assert_eq!(back.snapshot(), World::new().snapshot());
    }
}

/// All options, identifiers, wildcards, groups; the version they came by makes no difference.
#[test]
fn subscriptions_come_back_with_all_they_were_asked_for_with() {
    let world = World::new();
    let client = world.connect("a", V5, persistent);
    let handlings = [RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend];
    for (number, retain_handling) in handlings.into_iter().enumerate() {
        for bits in 0..4 {
            let filter = format!("{number}/{bits}/+/#");
            client.subscribe_with(&filter, number as u8, Some(1 + 500 * bits), |options| {
                options.no_local = bits & 1 > 0;
                options.retain_as_published = bits & 2 > 0;
                options.retain_handling = retain_handling;
            });
        }
    }
    client.subscribe_with("plain", 1, Some(268_435_455), |_| ());
    for filter in ["$share/g/plain", "$share/h/plain", "$share/g/+", "", "/", "+"] {
        let options = SubscriptionOptions::default();
        if !filter.is_empty() {
            client.ask(&[(filter, options)], None);
        }
    }
    let back = world.restarted(0);
    let list = |world: &World| world.core(|core, _| core.subscriptions("a"));
    assert_eq!(list(&back).len(), 18);
    assert_eq!(list(&back), list(&world));
    // And they match as before, each of them.
    let client = back.connect("a", V5, persistent);
    client.publish("2/1/x/y", 2, "own");
    client.expect_nothing();
    client.publish("1/2/x/y", 2, "x");
    client.expect("PUBLISH 1/2/x/y=x q1 #1 ids=1001");
    client.publish("plain", 0, "y");
    let mut texts = client.texts();
    texts.sort();
    let copies = ["PUBLISH plain=y", "PUBLISH plain=y", "PUBLISH plain=y", "PUBLISH plain=y"];
    assert_eq!(texts[..3], copies[..3]);
    assert!(texts.contains(&"PUBLISH plain=y ids=268435455".to_owned()), "{texts:?}");
    assert_eq!(client.unsubscribe(&["plain", "$share/h/plain", "+", "0/0/+/#"]), [0; 4]);
}

/// Every state an exchange can be in, both ways, with the client online or away: it goes on with the same packet
/// identifiers, and a new message gets the next. [MQTT-4.4.0-1] [MQTT-4.6.0-1] [MQTT-3.3.1-1] [MQTT-4.3.3-10]
#[test]
fn exchanges_go_on() {
    for version in ALL {
        for online in [true, false] {
            let world = World::with(|config| config.limits.inflight = 6);
            let client = world.connect("a", version, persistent);
            client.subscribe("one", 1);
            client.subscribe("two", 2);
            let publisher = world.connect("p", V5, |_| ());
            for (number, topic) in ["one", "two", "two", "one", "two", "two", "one", "one"].iter().enumerate()
            {
                publisher.publish(topic, 2, number.to_string());
            }
            // 1: PUBLISH at QoS 1. 2: PUBLISH at QoS 2. 3: PUBREL. 4, 5: over. 6: PUBREL, not even sent perhaps.
            client.ack(PubRec, 3);
            client.ack(PubAck, 4);
            client.ack(PubRec, 5);
            client.ack(PubComp, 5);
            client.stall();
            client.ack(PubRec, 6);
            // Towards the broker: one acknowledged and not released, one over.
            let open = client.start("own", 2, "x", |_| ());
            client.resume();
            client.publish("own", 2, "y");
            if !online {
                client.drop_link();
            }

            let back = world.restarted(60);
            let client = back.connect("a", version, persistent);
            client.expect_all(&[
                "PUBLISH one=0 q1 #1 dup",
                "PUBLISH two=1 q2 #2 dup",
                "PUBREL #3",
                "PUBREL #6",
                "PUBLISH one=6 q1 #7 dup",
                "PUBLISH one=7 q1 #8 dup",
            ]);
            away(&back, "watcher", "own", 2);
            client.start("own", 2, "x", |publish| {
                publish.packet_id = NonZeroU16::new(open);
                publish.dup = true;
            });
            client.expect(&format!("PUBREC #{open}"));
            client.ack(PubRel, open);
            client.expect(&format!("PUBCOMP #{open}"));
            assert_eq!(back.connect("watcher", V5, persistent).messages(), [""; 0]);
            client.ack(PubComp, 3);
            client.ack(PubComp, 6);
            client.ack(PubAck, 1);
            client.ack(PubRec, 2);
            client.expect_all(&["PUBREL #2"]);
            client.ack(PubComp, 2);
            client.ack(PubAck, 7);
            client.ack(PubAck, 8);
            client.publish("one", 1, "next");
            client.expect_all(&["PUBLISH one=next q1 #9"]);
        }
    }
}

/// Identifiers that were passed over, and that begin again at 1.
#[test]
fn packet_identifiers_go_on_where_they_were() {
    let world = World::new();
    world.quiet();
    let client = world.connect("a", V5, persistent);
    client.subscribe("t", 1);
    let publisher = world.connect("p", V5, |_| ());
    for number in 1..=65_534_u16 {
        publisher.publish("t", 1, "x");
        if number != 2 && number != 60_000 {
            client.ack(PubAck, number);
        }
    }
    client.drop_link();
    (0..4).for_each(|_| publisher.publish("t", 1, "y"));
    let back = world.restarted(0);
    let client = back.connect("a", V5, persistent);
    client.expect_all(&[
        "PUBLISH t=x q1 #2 dup",
        "PUBLISH t=x q1 #60000 dup",
        "PUBLISH t=y q1 #65535",
        "PUBLISH t=y q1 #1",
        "PUBLISH t=y q1 #3",
        "PUBLISH t=y q1 #4",
    ]);
    for id in [60_000, 3, 2, 65_535, 4, 1] {
        client.ack(PubAck, id);
    }
    assert_eq!(back.metrics().stored, 0);
}

/// Few are listed and many are not.
#[test]
fn incoming_identifiers_are_remembered_however_many() {
    for count in [1, 16, 17, 1000_u16] {
        let world = World::new();
        let client = world.connect("a", V5, persistent);
        let id = |number: u16| NonZeroU16::new(65_535 - number * 63);
        for number in 0..count {
            client.start("t", 2, "x", |publish| publish.packet_id = id(number));
        }
        let back = world.restarted(0);
        assert_eq!(back.snapshot(), world.restarted(0).snapshot());
        let client = back.connect("a", V5, persistent);
        for number in 0..count {
            let id = id(number).map_or(0, NonZeroU16::get);
            client.ack(PubRel, id);
            client.expect(&format!("PUBCOMP #{id}"));
        }
        client.ack(PubRel, 3);
        client.expect("PUBCOMP #3 92");
    }
}

/// In order, with what each has to be sent with. [MQTT-4.6.0-5] [MQTT-3.3.4-3]
#[test]
fn what_waits_is_sent_in_order() {
    let world = World::new();
    let publisher = world.connect("p", V5, |_| ());
    publisher.retain("r", 1, "retained");
    let client = world.connect("a", V5, persistent);
    client.stall();
    let options =
        |qos| SubscriptionOptions { qos: level(qos), retain_as_published: true, ..Default::default() };
    client.start_subscribe(&[("r", options(1)), ("+", options(2))], Some(7));
    client.start_subscribe(&[("#", options(1))], Some(70_000));
    client.drop_link();
    publisher.publish("t", 2, "x");
    publisher.retain("t/u", 1, "y");
    publisher.publish_with("t", 1, "z", with_expiry(100));
    publisher.disconnect();
    let back = world.restarted(40);
    assert_eq!(gauges(&back), gauges(&world));
    back.connect("a", V5, persistent).expect_all(&[
        "PUBLISH r=retained q1 #1 retain ids=7",
        "PUBLISH r=retained q1 #2 retain ids=7",
        "PUBLISH r=retained q1 #3 retain ids=70000",
        "PUBLISH t=x q2 #4 ids=7,70000",
        "PUBLISH t/u=y q1 #5 retain ids=70000",
        "PUBLISH t=z q1 #6 ids=7,70000 expiry=60",
    ]);
}

/// [MQTT-3.3.2-5]
#[test]
fn what_waits_expires_while_nobody_runs() {
    let world = World::new();
    away(&world, "a", "t", 1);
    let publisher = world.connect("p", V5, |_| ());
    for seconds in [5, 20, 10] {
        publisher.publish_with("t", 1, seconds.to_string(), with_expiry(seconds));
    }
    world.advance(5);
    let back = world.restarted(5);
    assert_eq!(back.connect("a", V5, persistent).messages(), ["t=20"]);
    assert_eq!(back.metrics().dropped_expired, 1, "the first is not in the snapshot any more");
}

/// It has been sent, so it is sent again. [MQTT-4.4.0-1]
#[test]
fn what_has_been_sent_is_kept_though_it_expires() {
    for (before, away) in [(0, 20), (20, 0), (20, 20)] {
        let world = World::new();
        let client = world.connect("a", V5, persistent);
        client.subscribe("t", 1);
        world.connect("p", V5, |_| ()).publish_with("t", 1, "x", with_expiry(10));
        world.advance(before);
        let back = world.restarted(away);
        assert_eq!(back.restarted(0).snapshot(), back.snapshot());
        // How long ago it expired makes no difference.
        assert_eq!(back.snapshot() == world.snapshot(), away == 0);
        let client = back.connect("a", V5, persistent);
        client.expect_all(&["PUBLISH t=x q1 #1 dup expiry=0"]);
        client.ack(PubAck, 1);
        assert_eq!(back.metrics().stored, 0);
    }
}

/// As at the loss of a connection.
#[test]
fn qos_0_messages_are_kept_where_they_are_for_clients_away() {
    for kept in [false, true] {
        let world = World::with(|config| config.queue_qos0_offline = kept);
        let client = world.connect("a", V5, persistent);
        client.subscribe("t", 1);
        client.stall();
        let publisher = world.connect("p", V5, |_| ());
        publisher.publish("t", 0, "0");
        publisher.publish("t", 1, "1");
        let back = world.restarted(0);
        let expected: &[&str] = if kept { &["t=0", "t=1"] } else { &["t=1"] };
        assert_eq!(back.connect("a", V5, persistent).messages(), expected);
    }
}

/// Whoever waits for it, retained or not.
#[test]
fn a_message_is_kept_once() {
    let world = World::new();
    for number in 0..10 {
        away(&world, &number.to_string(), "t", 1);
    }
    let clean = world.connect("clean", V5, |_| ());
    clean.subscribe("t", 1);
    let publisher = world.connect("p", V5, |_| ());
    publisher.retain("t", 1, vec![b'x'; 50_000]);
    publisher.publish("t", 1, vec![b'y'; 5_000]);
    assert!(world.snapshot().len() < 56_000);
    let back = world.restarted(0);
    drop((clean, publisher));
    assert_eq!((back.metrics().stored, back.metrics().stored_bytes), (2, world.metrics().stored_bytes));
    for number in 0..10 {
        let client = back.connect(&number.to_string(), V5, persistent);
        assert_eq!(client.messages().len(), 2);
        assert_eq!(back.metrics().stored, if number < 9 { 2 } else { 1 });
    }
}

/// All connections are lost, so all wills without delay are sent. [MQTT-3.1.2-8] [MQTT-3.14.4-3]
#[test]
fn wills_of_those_online_are_published() {
    for version in ALL {
        for (number, lasts) in [false, true].into_iter().enumerate() {
            let world = watched();
            world.connect("polite", V5, leaving("will/polite", "x", 100, 0)).disconnect();
            world.connect("a", version, |connect| {
                connect.clean_start = !lasts;
                if version == V5 {
                    connect.properties.session_expiry = Some(100 * number as u32);
                }
                connect.will = Some(Will { qos: level(2), retain: true, ..will("will/a", "x") });
            });
            let before = world.metrics();
            let back = world.restarted(0);
            // Those of the watcher and of the polite one are there in any case.
            assert_eq!((back.metrics().sessions, back.metrics().stored), (2 + number, 1));
            assert_eq!(retained(&back), ["will/a=x"]);
            assert_eq!(wills(&back), ["will/a=x"]);
            assert_eq!(world.metrics(), before, "the broker that went on has published none");
        }
    }
}

/// [MQTT-3.1.2-8] [MQTT-3.1.3-9]
#[test]
fn a_wills_delay_goes_on() {
    // Session, delay, time before the broker dies, time away, time until the will.
    let cases = [
        (100, 30, 0, 0, 30),
        (100, 30, 0, 10, 20),
        (100, 30, 10, 10, 10),
        (100, 30, 10, 20, 0),
        (100, 30, 0, 50, 0),
        // The session's end is the delay's, at the latest.
        (20, 30, 0, 5, 15),
        (20, 30, 5, 50, 0),
        (0, 30, 0, 0, 0),
        (u32::MAX, 30, 0, 10, 20),
        (u32::MAX, u32::MAX, 0, 10, u64::from(u32::MAX) - 10),
    ];
    for (session, delay, before, away, left) in cases {
        let world = watched();
        let client = world.connect("a", V5, leaving("will/a", "x", session, delay));
        if before > 0 {
            client.drop_link();
            world.advance(before);
        }
        let back = world.restarted(away);
        if left > 0 {
            // The watcher's session is none that lasts for ever.
            away_for_ever(&back);
            back.advance(left - 1);
            assert_eq!(back.core(|core, _| core.client("a").map(|client| client.has_will)), Some(true));
            back.advance(1);
        }
        let gone =
            |world: &World| world.core(|core, _| core.client("a").is_none_or(|client| !client.has_will));
        assert!(gone(&back), "{session} {delay} {before} {away}");
        assert_eq!(wills(&back), ["will/a=x"], "{session} {delay} {before} {away}");
    }
}

fn away_for_ever(world: &World) {
    world.connect("watcher", V5, lasting(u32::MAX)).drop_link();
}

#[test]
fn who_is_back_in_time_has_left_no_will() {
    let world = watched();
    world.connect("a", V5, leaving("will/a", "x", 100, 30));
    let back = world.restarted(29);
    back.connect("a", V5, lasting(100)).drop_link();
    back.advance(50);
    assert_eq!(wills(&back), [""; 0]);
    assert_eq!(back.metrics().stored_bytes, 0);
}

/// With its properties and the expiry of a message that begins with it. [MQTT-3.1.3-10]
#[test]
fn a_will_is_published_as_it_was_left() {
    let world = watched();
    world.connect("a", V5, |connect| {
        lasting(100)(connect);
        let mut will = Will { delay: Some(5), qos: level(2), retain: true, ..will("will/a", "x") };
        will.properties.message_expiry = Some(60);
        will.properties.content_type = Some("t");
        will.properties.user_properties = List::from_slice(&[("k", "v")]);
        connect.will = Some(will);
    });
    let back = world.restarted(2);
    back.advance(13);
    back.connect("watcher", V5, persistent).expect_all(&["PUBLISH will/a=x q2 #1 expiry=50 type=t k:v"]);
    assert_eq!(retained(&back), ["will/a=x"]);
}

/// Whether the clock is younger than the snapshot or older.
#[test]
fn what_fell_due_is_done_in_the_order_of_its_deadlines() {
    let world = World::with(|config| config.limits.queued_messages = 1);
    away(&world, "watcher", "will/#", 1);
    for (id, delay) in [("a", 30), ("b", 50), ("c", 10), ("d", 40)] {
        world.connect(id, V5, |connect| {
            leaving("will/x", id, 100, delay)(connect);
            if let Some(will) = &mut connect.will {
                will.retain = true;
            }
        });
    }
    // What was in the queue of one expires after the first will has found it full.
    away(&world, "full", "+/x", 1);
    world.connect("p", V5, |_| ()).publish_with("t/x", 1, "", with_expiry(20));
    let snapshot = world.snapshot();
    for now in [0, 35, 1_000_000] {
        let mut config = Config::default();
        config.limits.queued_messages = 1;
        let away = Duration::from_secs(1000);
        let core = Core::restore(config, Seed::from(3), Time::from_secs(now), &snapshot, away).unwrap();
        let mut last = Vec::new();
        core.retained(None, |_, payload| last.extend_from_slice(payload));
        assert_eq!(last, b"b");
        let metrics = core.metrics();
        // "watcher" takes the first of four, "full" the second.
        assert_eq!((metrics.dropped_queue_full, metrics.dropped_expired), (3 + 3, 1), "{metrics:?}");
        assert_eq!(metrics.sessions, 2);
        assert_eq!(metrics.sessions_expired, 4);
    }
}

/// What was due and not done, as the broker was not told the time, comes first.
#[test]
fn what_was_overdue_is_done_too() {
    let world = watched();
    let _online = world.connect("a", V5, leaving("will/x", "later", 100, 0));
    world.connect("b", V5, leaving("will/x", "late", 100, 10)).drop_link();
    world.advance_asleep(Duration::from_secs(50));
    let back = world.restarted(0);
    assert_eq!(wills(&back), ["will/x=late", "will/x=later"]);
    back.advance(49);
    assert_eq!(back.metrics().sessions, 3);
    back.advance(1);
    assert_eq!(back.metrics().sessions, 2);
}

/// Nobody is online who could take them: they stay, and are handed over when their session ends. [MQTT-4.8.2-4]
#[test]
fn messages_of_a_shared_subscription_stay_with_their_session() {
    let world = World::new();
    let members = ["a", "b"].map(|id| {
        let client = world.connect(id, V5, lasting(if id == "a" { 50 } else { 1000 }));
        client.subscribe_with("$share/g/t", 1, Some(id.as_bytes()[0].into()), |_| ());
        client.subscribe_with("$share/h/+", 1, None, |_| ());
        client
    });
    let publisher = world.connect("p", V5, |_| ());
    (0..2).for_each(|number| publisher.publish("t", 1, number.to_string()));
    let sent = members.each_ref().map(Client::texts);
    assert_eq!(sent.each_ref().map(Vec::len), [2, 2]);

    let back = world.restarted(10);
    assert_eq!(gauges(&back), [2, 4, 0, 0, 2, world.metrics().stored_bytes]);
    let b = back.connect("b", V5, lasting(1000));
    // The last word of a text is its identifiers, where there are some.
    let again = |text: &String| match text.split_once(" ids") {
        Some((text, ids)) => format!("{text} dup ids{ids}"),
        None => format!("{text} dup"),
    };
    b.expect_all(&sent[1].iter().map(again).collect::<Vec<_>>());
    back.advance(40);
    // The session of "a" is over: "b" gets what it had not acknowledged, as new messages by its own subscriptions.
    let handed = b.texts();
    assert_eq!(handed.len(), 2, "{handed:?}");
    assert!(handed.iter().all(|text| !text.contains("dup")), "{handed:?}");
    assert_eq!(handed.iter().filter(|text| text.contains("ids=98")).count(), 1, "{handed:?}");
    // And both groups go on.
    back.connect("p", V5, |_| ()).publish("t", 1, "2");
    assert_eq!(b.texts().len(), 4);
}

/// A member that leaves nothing behind but what others of its group can take. [MQTT-4.8.2-5]
#[test]
fn messages_of_a_member_that_is_gone_go_to_the_others() {
    let world = World::new();
    away(&world, "stays", "$share/g/t", 2);
    let (first, second) = (world.connect("1", V5, |_| ()), world.connect("2", V5, |_| ()));
    first.subscribe("$share/g/t", 2);
    second.subscribe("$share/g/t", 2);
    second.subscribe("$share/other/t", 2);
    let publisher = world.connect("p", V5, |_| ());
    first.stall();
    publisher.publish("t", 1, "a");
    publisher.publish("t", 2, "lost");
    publisher.publish("t", 1, "c");
    publisher.publish("t", 0, "d");
    assert!(!world.snapshot().windows(4).any(|part| part == b"lost"), "nobody will get it");
    let back = world.restarted(0);
    assert_eq!(back.metrics().sessions, 1);
    // The first had "a" and "c", unsent. What was sent at QoS 2 stays with its member and is lost with it.
    assert!(second.texts().contains(&"PUBLISH t=lost q2 #2".to_owned()), "{:?}", second.texts());
    assert_eq!(back.connect("stays", V5, persistent).messages(), ["t=a", "t=c"]);
    assert_eq!(back.metrics().stored, 0);
}

/// What there is stays; what comes meets the limit.
#[test]
fn what_is_beyond_new_limits_is_kept() {
    let world = World::new();
    let client = world.connect("a-client-with-a-name-that-is-rather-long", V5, persistent);
    client.subscribe("#", 2);
    client.subscribe("$share/g/t", 0);
    let publisher = world.connect("p", V5, |_| ());
    (0..5).for_each(|number| publisher.retain(&format!("t/{number}/x"), 2, "x"));
    client.drop_link();
    away(&world, "b", "#", 1);
    (0..5).for_each(|number| publisher.publish("u", 2, number.to_string()));
    publisher.disconnect();
    let back = world.restarted_with(0, |config| {
        config.maximum_qos = level(0);
        config.retain_available = false;
        config.shared_subscriptions = false;
        config.wildcard_subscriptions = false;
        config.maximum_session_expiry = Some(1);
        let limits = &mut config.limits;
        (limits.sessions, limits.client_id_len, limits.inflight) = (3, 23, 2);
        (limits.queued_messages, limits.queued_bytes, limits.topic_levels) = (1, 1, 1);
        (limits.retained_messages, limits.retained_bytes, limits.subscriptions) = (1, 1, 1);
    });
    assert_eq!(gauges(&back), gauges(&world));
    let publisher = back.connect("p", V5, |_| ());
    publisher.publish("u", 0, "late");
    let client = back.connect("b", V5, lasting(3600));
    assert_eq!(client.messages().len(), 10);
    assert_eq!(back.core(|core, _| core.client("b").map(|client| client.session_expiry)), Some(1));
    assert!(!back.try_connect("a-client-with-a-name-that-is-rather-long", V5, |_| ()).is_open());
    assert_eq!(client.ask(&[("new", SubscriptionOptions::default())], None), [0x97]);
    // Its owner can still let it go.
    let last = back.restarted_with(3600, |config| *config = Config::default());
    assert_eq!(last.metrics().sessions, 0);
    assert_eq!(last.metrics().retained, 5);
    // The world cannot wind down by itself what its limits forbid to touch.
    std::mem::forget(back);
}

/// Hash tables have another secret, so their order is another one; nobody sees it.
#[test]
fn a_broker_can_come_back_again_and_again() {
    let mut world = rich();
    let first = world.snapshot();
    for _ in 0..5 {
        world = world.restarted(0);
        assert_eq!(world.snapshot(), first);
    }
    world = world.restarted(10);
    let texts = world.connect("subscriber", V5, persistent).texts();
    assert!(texts.contains(&"PUBREL #3".to_owned()), "{texts:?}");
    assert_eq!(texts.len(), 9);
}

#[test]
fn assigned_client_ids_are_new_ones() {
    let world = World::new();
    let first = world.connect("", V5, persistent);
    let snapshot = world.core(|core, now| core.snapshot(now));
    drop(first);
    // Even with the seed of before.
    let mut core =
        Core::restore(Config::default(), Seed::from(1), Time::ZERO, &snapshot, Duration::ZERO).unwrap();
    assert_eq!(core.metrics().sessions, 1);
    let key = core.open(Time::ZERO, columba_core::Peer::default());
    let mut connect = bytes::BytesMut::from(&b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00"[..]);
    assert_eq!(core.receive(Time::ZERO, key, &mut connect), columba_core::Intake::Open);
    assert_eq!(core.metrics().sessions, 2);
}

#[test]
fn an_authoriser_is_set_afterwards() {
    let world = World::new();
    let client = world.connect("a", V3_1, persistent);
    client.subscribe("t", 1);
    world.authorize(|_: columba_core::Client<'_>, _: columba_core::Action<'_>| false);
    let back = world.restarted(0);
    let client = back.connect("a", V3_1, persistent);
    client.publish("t", 1, "x");
    client.expect("PUBLISH t=x q1 #1");
    back.authorize(|_: columba_core::Client<'_>, _: columba_core::Action<'_>| false);
    client.publish("t", 1, "y");
    client.expect_nothing();
}

#[test]
fn errors_say_what_to_do() {
    let restore = |bytes: &[u8]| {
        let error = World::restore(Config::default(), bytes, Duration::ZERO).err().expect("it is none");
        (error, error.to_string())
    };
    for bytes in [&b""[..], b"colum", b"{}", b"columba", b"columba\0 whatever it is"] {
        let (error, text) = restore(bytes);
        assert_eq!(error, RestoreError::NotASnapshot);
        assert!(text.contains("no snapshot"), "{text}");
    }
    let mut snapshot = World::new().snapshot();
    assert_eq!(snapshot.len(), 7 + 1 + 2 + 8);
    snapshot[7] = 2;
    let (error, text) = restore(&snapshot);
    assert_eq!(error, RestoreError::NewerVersion { found: 2, known: 1 });
    assert!(text.contains("version 2") && text.contains("up to 1"), "{text}");
    snapshot[7] = 1;
    snapshot[9] ^= 1;
    let (error, text) = restore(&snapshot);
    assert!(matches!(error, RestoreError::Damaged { offset: 10, .. }), "{error:?}");
    assert!(text.contains("byte 10") && text.contains("checksum"), "{text}");
    assert!(matches!(restore(&snapshot[..9]).0, RestoreError::Damaged { .. }));
}
