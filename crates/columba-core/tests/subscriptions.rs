//! Subscribing, matching and unsubscribing.

use columba_core::codec::{Packet, QoS, RetainHandling, SubscriptionId, SubscriptionOptions};

use crate::world::{ALL, V3_1, V3_1_1, V5, World, level, persistent};

fn at(qos: u8) -> SubscriptionOptions {
    SubscriptionOptions { qos: level(qos), ..SubscriptionOptions::default() }
}

/// [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.2-1] [MQTT-4.7.3-4] [MQTT-3.3.2-3] [MQTT-4.8.2-1] [MQTT-1.5.4-3]
/// [MQTT-4.7.2-1 of 3.1.1] [MQTT-4.7.3-4 of 3.1.1] [MQTT-3.3.2-3 of 3.1.1] [MQTT-1.5.3-3 of 3.1.1]
#[test]
fn filters_match_what_they_should() {
    let topics = [
        "a",
        "/",
        "/a",
        "a/",
        "a//b",
        "a/b",
        "a/b/c",
        "A/b",
        "ä/b",
        "ßeta",
        "日本/語",
        "$a",
        "$a/b",
        "a/$b",
        "$SYS/a",
        " ",
        "a b",
        "\u{feff}a",
        "$share",
        "$share/x",
    ];
    for (filter, expected) in [
        (
            "#",
            &[
                "a",
                "/",
                "/a",
                "a/",
                "a//b",
                "a/b",
                "a/b/c",
                "A/b",
                "ä/b",
                "ßeta",
                "日本/語",
                "a/$b",
                " ",
                "a b",
                "\u{feff}a",
            ][..],
        ),
        ("+", &["a", "ßeta", " ", "a b", "\u{feff}a"]),
        ("+/+", &["/", "/a", "a/", "a/b", "A/b", "ä/b", "日本/語", "a/$b"]),
        ("/+", &["/", "/a"]),
        ("/#", &["/", "/a"]),
        ("+/", &["/", "a/"]),
        ("a", &["a"]),
        ("a/#", &["a", "a/", "a//b", "a/b", "a/b/c", "a/$b"]),
        ("a/+", &["a/", "a/b", "a/$b"]),
        ("a/+/#", &["a/", "a//b", "a/b", "a/b/c", "a/$b"]),
        ("a/+/b", &["a//b"]),
        ("a//b", &["a//b"]),
        ("+/b/#", &["a/b", "a/b/c", "A/b", "ä/b"]),
        ("+/+/+", &["a//b", "a/b/c"]),
        ("日本/+", &["日本/語"]),
        ("ßeta", &["ßeta"]),
        ("$a/#", &["$a", "$a/b"]),
        ("$a/+", &["$a/b"]),
        ("$SYS/#", &["$SYS/a"]),
        ("a/$b", &["a/$b"]),
        ("$share", &["$share"]),
        ("$share/g/$share/#", &["$share", "$share/x"]),
        ("\u{feff}a", &["\u{feff}a"]),
    ] {
        let world = World::new();
        let client = world.connect("a", V5, |_| ());
        client.subscribe(filter, 0);
        let peer = columba_core::Peer { trusted: true, ..Default::default() };
        let publisher = world.open_from("p", V5, peer);
        publisher.connect("p", |_| ());
        publisher.accepted();
        for topic in topics {
            publisher.publish(topic, 0, "");
        }
        let expected: Vec<_> = expected.iter().map(|topic| format!("{topic}=")).collect();
        assert_eq!(client.messages(), expected, "{filter}");
    }
}

/// One copy, with the highest QoS, the flag if any wants it, and every identifier. [MQTT-3.3.4-2] [MQTT-3.3.4-3]
/// [MQTT-3.3.4-4], [MQTT-3.3.5-1 of 3.1.1]
#[test]
fn overlapping_subscriptions_bring_one_copy() {
    for version in ALL {
        let world = World::new();
        let client = world.connect("a", version, |_| ());
        let id = |id| client.is_v5().then_some(id);
        client.subscribe_with("a/+", 0, id(3), |options| options.retain_as_published = true);
        client.subscribe_with("a/b", 2, None, |_| ());
        client.subscribe_with("a/#", 1, id(1), |_| ());
        client.subscribe_with("#", 1, id(268_435_455), |_| ());
        client.subscribe_with("other", 1, id(4), |_| ());
        let publisher = world.connect("p", V5, |_| ());
        publisher.retain("a/b", 2, "x");
        publisher.publish("a/c", 1, "y");
        publisher.publish("b", 2, "z");
        client.expect_all(&if client.is_v5() {
            [
                "PUBLISH a/b=x q2 #1 retain ids=1,3,268435455",
                "PUBLISH a/c=y q1 #2 ids=1,3,268435455",
                "PUBLISH b=z q1 #3 ids=268435455",
            ]
        } else {
            ["PUBLISH a/b=x q2 #1", "PUBLISH a/c=y q1 #2", "PUBLISH b=z q1 #3"]
        });
    }
}

/// Identifiers wait with their message, and come again with it. [MQTT-3.3.4-5]
#[test]
fn subscription_identifiers_are_kept() {
    let world = World::new();
    let client = world.connect("a", V5, persistent);
    client.subscribe_with("t", 1, Some(1), |_| ());
    client.subscribe_with("+", 1, Some(2), |_| ());
    client.drop_link();
    world.connect("p", V5, |_| ()).publish("t", 1, "x");
    for text in ["PUBLISH t=x q1 #1 ids=1,2", "PUBLISH t=x q1 #1 dup ids=1,2"] {
        let client = world.connect("a", V5, persistent);
        client.expect_all(&[text]);
        client.drop_link();
    }
}

/// [MQTT-3.8.3-3]
#[test]
fn no_local_keeps_a_clients_own_messages_away() {
    let world = World::new();
    let client = world.connect("a", V5, persistent);
    client.subscribe_with("t", 1, None, |options| options.no_local = true);
    client.publish("t", 1, "own");
    client.expect_nothing();
    world.connect("p", V5, |_| ()).publish("t", 0, "other");
    client.expect_all(&["PUBLISH t=other"]);
    // It belongs to the session, not to the connection.
    client.drop_link();
    let client = world.connect("a", V5, persistent);
    client.publish("t", 1, "own");
    client.expect_nothing();
    // Another subscription brings it all the same.
    client.subscribe_with("+", 0, Some(1), |_| ());
    client.publish("t", 1, "own");
    client.expect_all(&["PUBLISH t=own ids=1"]);
}

/// [MQTT-3.3.1-12] [MQTT-3.3.1-13], [MQTT-3.3.1-9 of 3.1.1]
#[test]
fn the_retain_flag_stays_where_it_is_wanted() {
    for (as_published, retain, expected) in [
        (false, false, "PUBLISH t=x"),
        (false, true, "PUBLISH t=x"),
        (true, false, "PUBLISH t=x"),
        (true, true, "PUBLISH t=x retain"),
    ] {
        let world = World::new();
        let client = world.connect("a", V5, |_| ());
        client.subscribe_with("t", 0, None, |options| options.retain_as_published = as_published);
        world.connect("p", V5, |_| ()).publish_with("t", 0, "x", |publish| publish.retain = retain);
        client.expect_all(&[expected]);
    }
    let world = World::new();
    let client = world.connect("a", V3_1_1, |_| ());
    client.subscribe("t", 0);
    world.connect("p", V5, |_| ()).retain("t", 0, "x");
    client.expect_all(&["PUBLISH t=x"]);
}

/// [MQTT-3.8.4-3], [MQTT-3.8.4-3 of 3.1.1]
#[test]
fn subscribing_again_replaces() {
    let world = World::new();
    let client = world.connect("a", V5, |_| ());
    let publisher = world.connect("p", V5, |_| ());
    client.subscribe_with("t", 2, Some(1), |options| options.no_local = true);
    client.subscribe_with("t", 1, Some(2), |_| ());
    publisher.publish("t", 2, "x");
    client.expect_all(&["PUBLISH t=x q1 #1 ids=2"]);
    client.subscribe_with("t", 0, None, |_| ());
    client.publish("t", 2, "y");
    client.expect_all(&["PUBLISH t=y"]);
    assert_eq!(world.metrics().subscriptions, 1);
    assert_eq!(client.unsubscribe(&["t"]), [0]);
    publisher.publish("t", 2, "z");
    client.expect_nothing();
}

/// No message is lost on the way. [MQTT-3.8.4-4]
#[test]
fn subscribing_again_loses_nothing() {
    let world = World::new();
    let client = world.connect("a", V5, |_| ());
    client.subscribe("t", 1);
    client.stall();
    let publisher = world.connect("p", V5, |_| ());
    publisher.publish("t", 1, "before");
    client.send(&Packet::PingReq);
    client.resume();
    client.take("PINGRESP");
    client.subscribe("t", 0);
    publisher.publish("t", 1, "after");
    client.expect_all(&["PUBLISH t=before q1 #1", "PUBLISH t=after"]);
}

/// One code for each filter, in order. [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-5] [MQTT-3.8.4-6]
/// [MQTT-3.8.4-7] [MQTT-3.9.3-1] [MQTT-3.9.3-2] [MQTT-2.2.1-6] [MQTT-3.8.4-1 of 3.1.1]
/// [MQTT-3.8.4-2 of 3.1.1] [MQTT-3.8.4-4 of 3.1.1] [MQTT-3.8.4-5 of 3.1.1] [MQTT-3.9.3-1 of 3.1.1]
/// [MQTT-3.9.3-2 of 3.1.1] [MQTT-2.3.1-7 of 3.1.1]
#[test]
fn suback_has_a_code_for_each_filter() {
    for version in ALL {
        let world = World::new();
        let client = world.connect("a", version, |_| ());
        let filters: Vec<_> = (0..60).map(|n| (format!("t/{n}"), at(n % 3))).collect();
        let filters: Vec<_> = filters.iter().map(|(filter, options)| (filter.as_str(), *options)).collect();
        let expected: Vec<_> = (0..60).map(|n| n % 3).collect();
        assert_eq!(client.ask(&filters, None), expected);
        assert_eq!(world.metrics().subscriptions, 60);
    }
}

/// The same filter twice in one packet is two subscriptions one after the other, the second of which stays.
#[test]
fn one_packet_is_as_good_as_many() {
    let world = World::new();
    let client = world.connect("a", V5, |_| ());
    world.connect("p", V5, |_| ()).retain("t", 1, "x");
    assert_eq!(client.ask(&[("t", at(0)), ("t", at(1))], None), [0, 1]);
    client.expect_all(&["PUBLISH t=x retain", "PUBLISH t=x q1 #1 retain"]);
    assert_eq!(client.unsubscribe(&["t", "t"]), [0, 0x11]);
}

/// [MQTT-3.2.2-10]; nothing above the maximum ever comes.
#[test]
fn a_broker_with_a_maximum_qos_grants_no_more() {
    for version in ALL {
        for (maximum, expected) in [(0, [0, 0, 0]), (1, [0, 1, 1]), (2, [0, 1, 2])] {
            let world = World::with(|config| config.maximum_qos = level(maximum));
            let client = world.connect("a", version, |_| ());
            assert_eq!(client.ask(&[("0", at(0)), ("1", at(1)), ("2", at(2))], None), expected);
        }
    }
}

/// [MQTT-3.2.2-11] [MQTT-3.2.2-14]
#[test]
fn publishing_beyond_what_is_announced_ends_the_connection() {
    for version in ALL {
        let world = World::with(|config| {
            config.maximum_qos = QoS::AtLeastOnce;
            config.retain_available = false;
        });
        let client = world.connect("a", version, |_| ());
        client.publish("t", 1, "x");
        client.start("t", 2, "x", |_| ());
        client.expect_disconnect(0x9b);
        let client = world.connect("a", version, |_| ());
        client.start("t", 0, "x", |publish| publish.retain = true);
        client.expect_disconnect(0x9a);
    }
}

/// § 3.2.2.3.11 to 13, [MQTT-3.8.3-2 of 3.1.1]
#[test]
fn what_is_switched_off_is_refused_filter_by_filter() {
    let code = |version, code| match version {
        V3_1 => 1,
        V3_1_1 => 0x80,
        V5 => code,
    };
    for version in ALL {
        let world = World::with(|config| {
            config.wildcard_subscriptions = false;
            config.shared_subscriptions = false;
        });
        let client = world.connect("a", version, |_| ());
        let filters = [("a/+", at(1)), ("t", at(1)), ("#", at(1)), ("$share/g/t", at(1))];
        let (wildcard, shared) = (code(version, 0xa2), code(version, 0x9e));
        assert_eq!(client.ask(&filters, None), [wildcard, 1, wildcard, shared]);
        assert_eq!(world.metrics().subscriptions, 1);
    }
    let world = World::with(|config| config.subscription_ids = false);
    let client = world.connect("a", V5, |_| ());
    assert_eq!(client.ask(&[("t", at(1))], Some(1)), [0xa1]);
    assert_eq!(client.ask(&[("t", at(1))], None), [1]);
}

/// [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6] [MQTT-3.11.3-1]
/// [MQTT-3.11.3-2] [MQTT-3.10.4-1 of 3.1.1] [MQTT-3.10.4-2 of 3.1.1] [MQTT-3.10.4-4 of 3.1.1]
/// [MQTT-3.10.4-5 of 3.1.1] [MQTT-3.10.4-6 of 3.1.1]
#[test]
fn unsubscribing_is_always_answered() {
    for version in ALL {
        let world = World::new();
        let client = world.connect("a", version, |_| ());
        client.subscribe("a/+", 0);
        client.subscribe("#", 0);
        let reasons = client.unsubscribe(&["nothing", "a/+", "a/#", "A/+", "a/+"]);
        assert_eq!(reasons, if version == V5 { &[0x11, 0, 0x11, 0x11, 0x11][..] } else { &[] });
        assert_eq!(world.metrics().subscriptions, 1);
        let publisher = world.connect("p", V5, |_| ());
        publisher.publish("a/b", 0, "x");
        client.expect_all(&["PUBLISH a/b=x"]);
        client.unsubscribe(&["#"]);
        publisher.publish("a/b", 0, "x");
        client.expect_nothing();
        client.unsubscribe(&["#"]);
    }
}

/// What was on its way still comes. [MQTT-3.10.4-3] [MQTT-3.10.4-3 of 3.1.1]
#[test]
fn unsubscribing_takes_nothing_back() {
    let world = World::new();
    let client = world.connect("a", V5, |connect| {
        persistent(connect);
        connect.properties.receive_maximum = std::num::NonZeroU16::new(1);
    });
    client.subscribe("t", 2);
    let publisher = world.connect("p", V5, |_| ());
    publisher.publish("t", 1, "sent");
    publisher.publish("t", 2, "waits");
    client.expect("PUBLISH t=sent q1 #1");
    assert_eq!(client.unsubscribe(&["t"]), [0]);
    client.drop_link();
    let client = world.connect("a", V5, persistent);
    client.expect_all(&["PUBLISH t=sent q1 #1 dup", "PUBLISH t=waits q2 #2"]);
}

/// What the core shows of itself.
#[test]
fn subscriptions_are_listed_as_asked_for() {
    let world = World::new();
    let client = world.connect("a", V5, |_| ());
    let all = |options: &mut SubscriptionOptions| {
        (options.no_local, options.retain_as_published) = (true, true);
        options.retain_handling = RetainHandling::DoNotSend;
    };
    client.subscribe_with("a/+//#", 1, Some(5), all);
    client.subscribe("$share/g/+/x", 2);
    client.subscribe("$share/g/x", 2);
    client.subscribe("x", 0);
    let mut list = world.core(|core, _| core.subscriptions("a"));
    list.sort_by(|a, b| a.filter.cmp(&b.filter));
    let filters: Vec<_> = list.iter().map(|info| info.filter.as_str()).collect();
    assert_eq!(filters, ["$share/g/+/x", "$share/g/x", "a/+//#", "x"]);
    let mut expected = at(1);
    all(&mut expected);
    assert_eq!((list[2].id, list[2].options), (SubscriptionId::new(5), expected));
    assert!(world.core(|core, _| core.subscriptions("nobody")).is_empty());
}
