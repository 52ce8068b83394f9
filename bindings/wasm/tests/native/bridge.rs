//! Two brokers and the bridge between them.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use columba_codec::{List, MessageProperties, QoS, ReasonCode, TopicError, Version};
use columba_core::{AuthRequest, Config, Core, Event, Time, Verdict};
use columba_wasm::bridge::{
    Bridge, BridgeError, BridgeEvent, BridgeOptions, LinkState, Route, RouteError, Side,
};
use columba_wasm::client::{ClientOptions, DisconnectReason, Properties};

use crate::world::{Cut, QOS, World, message, persistent, retained};

const BOTH: [Version; 2] = [Version::V3_1_1, Version::V5];
/// The bridge's ends, as clients of the world.
const LOCAL_END: usize = 0;
const REMOTE_END: usize = 1;

fn route(filter: &str, local: &str, remote: &str) -> Route {
    Route {
        filter: filter.into(),
        qos: QoS::ExactlyOnce,
        local_prefix: local.into(),
        remote_prefix: remote.into(),
    }
}

fn options(version: Version, routes_in: &[Route], routes_out: &[Route]) -> BridgeOptions {
    let mut options = BridgeOptions::new("bridge");
    options.version = version;
    options.routes_in = routes_in.to_vec();
    options.routes_out = routes_out.to_vec();
    options
}

/// Two brokers with the bridge connected, and a client at each that reads everything: the world, the local client, the remote.
fn connected(options: &BridgeOptions) -> (World, usize, usize) {
    let mut world = World::bridged([Config::default(), Config::default()], options);
    world.run();
    assert_eq!(states(&mut world, Side::Remote).last(), Some(&LinkState::Connected));
    let local = world.join_to(0, persistent(Version::V5, "local"));
    let remote = world.join_to(1, persistent(Version::V5, "remote"));
    for end in [local, remote] {
        world.subscribe(end, "#", QoS::ExactlyOnce);
    }
    (world, local, remote)
}

fn states(world: &mut World, side: Side) -> Vec<LinkState> {
    let state = |event: &BridgeEvent| match event {
        BridgeEvent::State { side: other, state } if *other == side => Some(state.clone()),
        _ => None,
    };
    world.bridge_events.iter().filter_map(state).collect()
}

/// Topics and payloads of what has come.
fn came(world: &mut World, end: usize) -> Vec<String> {
    let messages = world.messages(end);
    let text = |publish: &columba_codec::Publish<'_>| {
        let retain = if publish.retain { " retain" } else { "" };
        let topic = publish.topic.unwrap();
        format!("{topic}={} q{}{retain}", String::from_utf8_lossy(publish.payload), publish.qos as u8)
    };
    messages.iter().map(|message| text(&message.publish())).collect()
}

#[test]
fn messages_go_both_ways_and_prefixes_are_exchanged() {
    for version in BOTH {
        let routes_in = [route("a/#", "x/", ""), route("b", "", "far/")];
        let routes_out = [route("#", "up/", "from/here/"), route("plain/+", "", "")];
        let (mut world, local, remote) = connected(&options(version, &routes_in, &routes_out));
        for qos in QOS {
            let level = qos as u8;
            let mut check = |from: usize, topic: &str, to: usize, expected: Option<&str>| {
                world.publish(from, topic, qos, "m");
                let expected = expected.map(|topic| format!("{topic}=m q{level}"));
                assert_eq!(
                    came(&mut world, to),
                    expected.into_iter().collect::<Vec<_>>(),
                    "{version} {topic}"
                );
                assert_eq!(came(&mut world, from), [format!("{topic}=m q{level}")], "it came back");
            };
            check(remote, "a", local, Some("x/a"));
            check(remote, "a/b/c", local, Some("x/a/b/c"));
            check(remote, "far/b", local, Some("b"));
            check(remote, "b", local, None);
            check(remote, "far/b/c", local, None);
            check(local, "up/x", remote, Some("from/here/x"));
            check(local, "up/", remote, Some("from/here/"));
            check(local, "up", remote, None);
            check(local, "plain/x", remote, Some("plain/x"));
            check(local, "plain", remote, None);
        }
        let bridge = world.bridge();
        assert_eq!((bridge.received(), bridge.sent(), bridge.waiting()), (9, 9, 0));
    }
}

#[test]
fn a_route_with_an_empty_filter_renames_one_topic() {
    let (mut world, local, remote) = connected(&options(Version::V5, &[route("", "here", "there/x")], &[]));
    world.publish(remote, "there/x", QoS::AtLeastOnce, "m");
    assert_eq!(came(&mut world, local), ["here=m q1"]);
    world.publish(remote, "there/x/y", QoS::AtLeastOnce, "m");
    assert!(came(&mut world, local).is_empty());
}

#[test]
fn the_route_bounds_the_qos_and_the_first_route_counts() {
    for version in BOTH {
        let mut low = route("a/b", "low/", "");
        low.qos = QoS::AtMostOnce;
        let routes = [low, route("a/#", "high/", "")];
        let (mut world, local, remote) = connected(&options(version, &routes, &[]));
        world.publish(remote, "a/b", QoS::ExactlyOnce, "m");
        world.publish(remote, "a/c", QoS::ExactlyOnce, "m");
        let mut came = came(&mut world, local);
        came.dedup();
        assert_eq!(came, ["low/a/b=m q0", "high/a/c=m q2"]);
    }
}

#[test]
fn properties_and_expiry_go_along() {
    let (mut world, local, remote) = connected(&options(Version::V5, &[], &[route("#", "", "")]));
    let properties = MessageProperties {
        message_expiry: Some(100),
        content_type: Some("text"),
        correlation_data: Some(b"1"),
        response_topic: Some("answer"),
        user_properties: List::from_slice(&[("a", "b"), ("a", "c")]),
        ..MessageProperties::default()
    };
    world.reachable = false;
    world.cut(REMOTE_END);
    let mut out = message("t", QoS::AtLeastOnce, "m");
    out.properties = Properties::new(&properties).unwrap();
    let now = world.now;
    world.client(local).publish(now, out).unwrap();
    world.run();
    world.advance(10);
    world.reachable = true;
    world.advance(60);
    let messages = world.messages(remote);
    let found = messages[0].publish().properties.clone();
    assert!(found.message_expiry.is_some_and(|left| (30..=90).contains(&left)), "{found:?}");
    assert_eq!(MessageProperties { message_expiry: Some(100), ..found }, properties);
}

#[test]
fn retained_messages_stay_retained() {
    for version in BOTH {
        let all = [route("#", "", "")];
        let mut world = World::bridged([Config::default(), Config::default()], &options(version, &all, &all));
        // Retained before the bridge is there.
        world.reachable = false;
        let local = world.join_to(0, persistent(Version::V5, "local"));
        let remote = world.join_to(1, persistent(Version::V5, "remote"));
        let now = world.now;
        world.client(local).publish(now, retained("from/local", "1")).unwrap();
        world.client(remote).publish(now, retained("from/remote", "2")).unwrap();
        world.run();
        world.reachable = true;
        world.advance(5);
        let now = world.now;
        world.client(local).publish(now, retained("live/local", "3")).unwrap();
        world.client(remote).publish(now, retained("live/remote", "4")).unwrap();
        world.run();
        for end in [local, remote] {
            world.subscribe(end, "#", QoS::ExactlyOnce);
            let mut came = came(&mut world, end);
            came.sort();
            let mut expected =
                vec!["from/local=1 q1 retain", "from/remote=2 q1 retain", "live/local=3 q1 retain"];
            // Before MQTT 5 a server does not say that a live message is retained.
            if version == Version::V5 || end == remote {
                expected.push("live/remote=4 q1 retain");
            }
            assert_eq!(came, expected, "{version}");
        }
    }
}

#[test]
fn nothing_goes_round_in_overlapping_routes() {
    for version in BOTH {
        for qos in QOS {
            let all = [route("a/#", "", ""), route("#", "", "")];
            let (mut world, local, remote) = connected(&options(version, &all, &all));
            for round in 0..5 {
                for (from, to) in [(local, remote), (remote, local)] {
                    // The same again and again, and the same from both sides.
                    world.publish(from, "a/b", qos, "same");
                    for end in [from, to] {
                        let expected = [format!("a/b=same q{}", qos as u8)];
                        assert_eq!(came(&mut world, end), expected, "{version} {qos:?} {round}");
                    }
                }
            }
            // Both at once.
            let now = world.now;
            for end in [local, remote] {
                world.client(end).publish(now, message("a/b", qos, "same")).unwrap();
            }
            world.run();
            assert_eq!((came(&mut world, local).len(), came(&mut world, remote).len()), (2, 2));
            assert_eq!((world.bridge().received(), world.bridge().sent()), (6, 6));
        }
    }
}

#[test]
fn an_echo_that_cannot_come_is_not_waited_for() {
    for loses_session in [false, true] {
        let all = [route("#", "", "")];
        let mut options = options(Version::V3_1_1, &all, &all);
        if !loses_session {
            // The broker keeps nothing at QoS 0 for a bridge that is away.
            options.routes_in[0].qos = QoS::AtMostOnce;
        }
        let (mut world, local, remote) = connected(&options);
        // PUBLISH and PUBACK.
        let after = world.ends[REMOTE_END].packets + 2;
        world.ends[REMOTE_END].cut = Some(Cut { after, lost: false });
        world.publish(local, "t", QoS::AtLeastOnce, "m");
        assert_eq!((world.bridge().sent(), world.bridge().waiting()), (1, 0));
        if loses_session {
            let mut thief = ClientOptions::new(Version::V3_1_1, "bridge");
            thief.clean_start = true;
            let thief = world.join_to(1, thief);
            world.cut(thief);
        }
        world.advance(5);
        came(&mut world, local);
        world.publish(remote, "t", QoS::AtLeastOnce, "m");
        assert_eq!(came(&mut world, local).len(), 1);
    }
}

/// Both directions, over connections that break after each packet in turn.
#[test]
fn nothing_is_lost_over_broken_connections() {
    for version in BOTH {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            for end in [LOCAL_END, REMOTE_END] {
                for (lost, overlaps) in [(false, false), (false, true), (true, false), (true, true)] {
                    for after in 1.. {
                        if !survives(version, qos, overlaps, end, Cut { after, lost }) {
                            break;
                        }
                    }
                }
            }
        }
    }
}

/// Whether the connection broke.
fn survives(version: Version, qos: QoS, overlaps: bool, end: usize, cut: Cut) -> bool {
    let all = route("#", "", "");
    let options = if overlaps {
        options(version, std::slice::from_ref(&all), std::slice::from_ref(&all))
    } else {
        options(version, &[route("in/#", "", "")], &[route("out/#", "", "")])
    };
    let (mut world, local, remote) = connected(&options);
    let before = world.ends[end].packets;
    world.ends[end].cut = Some(Cut { after: before + cut.after, ..cut });
    for number in 0..3 {
        let payload = number.to_string();
        world.publish(local, &format!("out/{number}"), qos, &payload);
        world.publish(remote, &format!("in/{number}"), qos, &payload);
    }
    let has_broken = world.ends[end].cut.is_none();
    world.advance(10);
    let context = format!("{version} {qos:?} {end} {cut:?} {:#?}", world.ends[end].log);
    for reader in [local, remote] {
        // What it has published itself comes from its own broker.
        let mut count = BTreeMap::new();
        for text in came(&mut world, reader) {
            *count.entry(text).or_insert(0) += 1;
        }
        let topics = |from: &str| (0..3).map(move |number| (from.to_owned(), number)).collect::<Vec<_>>();
        let expected = topics("in").into_iter().chain(topics("out"));
        let expected: Vec<_> =
            expected.map(|(from, number)| format!("{from}/{number}={number} q{}", qos as u8)).collect();
        assert_eq!(count.keys().cloned().collect::<Vec<_>>(), expected, "{context}");
        if qos == QoS::ExactlyOnce {
            assert!(count.values().all(|&count| count == 1), "{count:?} {context}");
        }
    }
    assert_eq!((world.bridge().waiting(), world.bridge().dropped()), (0, 0), "{context}");
    for (core, id) in [(0, "local.bridge"), (1, "bridge")] {
        let info = world.cores[core].client(id).expect("the session is there");
        assert_eq!((info.inflight, info.queued), (0, 0), "{context}");
    }
    has_broken
}

#[test]
fn a_long_absence_waits_in_the_session_of_the_source() {
    let mut options = options(Version::V5, &[], &[route("#", "", "")]);
    options.window = NonZeroU16::new(5).unwrap();
    let (mut world, local, remote) = connected(&options);
    world.reachable = false;
    world.cut(REMOTE_END);
    for number in 0..100 {
        world.publish(local, "t", QoS::AtLeastOnce, &number.to_string());
    }
    assert_eq!(world.bridge().waiting(), 5);
    assert_eq!(world.cores[0].client("local.bridge").unwrap().queued, 95);
    world.reachable = true;
    world.advance(60);
    assert_eq!(world.payloads(remote), (0..100).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn an_older_server_with_a_larger_window_is_no_fault() {
    let mut options = options(Version::V3_1_1, &[route("#", "", "")], &[]);
    options.window = NonZeroU16::new(2).unwrap();
    // The local broker is away, so nothing is acknowledged.
    let (mut world, _, remote) = connected(&options);
    world.bridge_events.clear();
    let now = world.now;
    world.bridge().close(now, Side::Local);
    for number in 0..10 {
        world.publish(remote, "t", QoS::ExactlyOnce, &number.to_string());
    }
    assert!(states(&mut world, Side::Remote).is_empty(), "{:?}", world.bridge_events);
    assert_eq!(world.bridge().client(Side::Local).queued(), 10);
}

#[test]
fn at_qos_0_what_finds_no_room_is_dropped() {
    let (mut world, local, remote) = connected(&options(Version::V5, &[], &[route("#", "", "")]));
    world.reachable = false;
    world.cut(REMOTE_END);
    let limit = world.bridge().client(Side::Remote).options().limits.queued_messages / 2;
    for _ in 0..limit + 7 {
        world.publish(local, "t", QoS::AtMostOnce, "m");
        world.messages(local);
    }
    world.publish(local, "t", QoS::AtLeastOnce, "counts");
    assert_eq!((world.bridge().waiting(), world.bridge().dropped()), (limit + 1, 7));
    world.reachable = true;
    world.advance(60);
    assert_eq!(came(&mut world, remote).last().unwrap(), "t=counts q1");
    assert_eq!(world.bridge().sent(), limit as u64 + 1);
}

#[test]
fn a_full_queue_loses_nothing_above_qos_0() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut options = options(Version::V5, &[], &[route("#", "", "")]);
        options.limits.queued_bytes = 64_000;
        let (mut world, local, remote) = connected(&options);
        world.reachable = false;
        world.cut(REMOTE_END);
        // More than the queue has bytes for, and fewer messages than the window.
        let large = "x".repeat(5000);
        for number in 0..20 {
            // The last ones would find room, but not before the others.
            let payload = if number < 15 { &large } else { "small" };
            world.publish(local, &format!("t/{number}"), qos, payload);
        }
        world.messages(local);
        assert!(world.bridge().waiting() < 20);
        assert!(world.bridge().client(Side::Remote).queued_bytes() <= 64_000);
        world.reachable = true;
        world.advance(120);
        let topics: Vec<String> = world
            .messages(remote)
            .iter()
            .map(|message| message.publish().topic.unwrap().to_string())
            .collect();
        assert_eq!(topics, (0..20).map(|number| format!("t/{number}")).collect::<Vec<_>>());
        assert_eq!((world.bridge().sent(), world.bridge().dropped()), (20, 0));
        let states = states(&mut world, Side::Local);
        let connected = states.iter().filter(|state| **state == LinkState::Connected).count();
        assert_eq!(connected, 2, "what was not taken comes over a new connection");
    }
}

#[test]
fn waits_grow_and_a_connection_ends_them() {
    let mut world = World::bridged(
        [Config::default(), Config::default()],
        &options(Version::V5, &[route("#", "", "")], &[]),
    );
    world.reachable = false;
    world.run();
    world.advance(300);
    let states = states(&mut world, Side::Remote);
    let waits = states.iter().filter(|state| matches!(state, LinkState::Waiting { reason: None, .. }));
    // 1, 2, 4, …, 60, 60, less up to half.
    assert!((8..=14).contains(&waits.count()), "{states:?}");
    world.reachable = true;
    world.advance(60);
    assert_eq!(self::states(&mut world, Side::Remote).last(), Some(&LinkState::Connected));
    assert_eq!(self::states(&mut world, Side::Local), [LinkState::Connecting, LinkState::Connected]);
    world.bridge_events.clear();
    world.advance(120);
    world.cut(REMOTE_END);
    let now = world.now;
    let states = self::states(&mut world, Side::Remote);
    let [LinkState::Waiting { until, reason }] = &states[..] else { panic!("{states:?}") };
    assert_eq!(*reason, Some(DisconnectReason::Transport));
    assert!(*until - now <= std::time::Duration::from_secs(1));
}

/// Answers a core that asks who may come in.
fn judge(core: &mut Core, now: Time, verdict: impl Fn(&AuthRequest) -> Verdict) {
    while let Some(event) = core.poll_event() {
        if let Event::Authenticate { ticket, request, .. } = event {
            core.answer(now, ticket, verdict(&request));
        }
    }
}

#[test]
fn a_refusal_is_told_and_tried_seldom() {
    for version in BOTH {
        let mut strict = Config::default();
        strict.authenticate = true;
        let mut world =
            World::bridged([Config::default(), strict], &options(version, &[route("#", "", "")], &[]));
        world.judge = Some(Box::new(|core, now| {
            judge(core, now, |_| Verdict::reject(ReasonCode::BadUserNameOrPassword));
        }));
        world.run();
        let states = states(&mut world, Side::Remote);
        let [LinkState::Connecting, LinkState::Refused { until, reason }] = &states[..] else {
            panic!("{states:?}");
        };
        assert_eq!(*reason, ReasonCode::BadUserNameOrPassword);
        assert!(*until - world.now >= std::time::Duration::from_secs(30));
        world.judge = Some(Box::new(|core, now| judge(core, now, |_| Verdict::accept())));
        world.advance(61);
        assert_eq!(self::states(&mut world, Side::Remote).last(), Some(&LinkState::Connected));
    }
}

#[test]
fn a_clean_start_is_clean_once() {
    let mut options = options(Version::V5, &[route("#", "", "")], &[]);
    options.clean_start = true;
    let (mut world, local, remote) = connected(&options);
    world.reachable = false;
    world.cut(REMOTE_END);
    world.publish(remote, "t", QoS::AtLeastOnce, "m");
    world.reachable = true;
    world.advance(10);
    assert_eq!(came(&mut world, local), ["t=m q1"]);
}

#[test]
fn a_retained_message_is_no_echo() {
    let all = [route("#", "", "")];
    let (mut world, local, remote) = connected(&options(Version::V3_1_1, &all, &[route("#", "", "")]));
    world.reachable = false;
    // The session ends too.
    let mut thief = ClientOptions::new(Version::V3_1_1, "bridge");
    thief.clean_start = true;
    let thief = world.join_to(1, thief);
    world.cut(thief);
    let now = world.now;
    world.client(remote).publish(now, retained("t", "m")).unwrap();
    world.publish(local, "t", QoS::AtLeastOnce, "m");
    world.reachable = true;
    world.advance(10);
    let late = world.join_to(0, persistent(Version::V5, "late"));
    world.subscribe(late, "#", QoS::ExactlyOnce);
    assert_eq!(came(&mut world, late), ["t=m q1 retain"]);
}

#[test]
fn a_lost_session_is_subscribed_anew() {
    for version in BOTH {
        let (mut world, local, remote) = connected(&options(version, &[route("#", "", "")], &[]));
        let mut thief = ClientOptions::new(version, "bridge");
        thief.clean_start = true;
        world.join_to(1, thief);
        world.advance(5);
        world.publish(remote, "t", QoS::AtLeastOnce, "m");
        assert_eq!(came(&mut world, local), ["t=m q1"], "{version}");
    }
}

#[test]
fn a_subscription_that_is_refused_is_told() {
    let mut narrow = Config::default();
    narrow.wildcard_subscriptions = false;
    let routes = [route("a/#", "", ""), route("b", "", "")];
    let mut world = World::bridged([Config::default(), narrow], &options(Version::V5, &routes, &[]));
    world.run();
    let expected = BridgeEvent::NotSubscribed {
        side: Side::Remote,
        filter: "a/#".into(),
        reason: ReasonCode::WildcardSubscriptionsNotSupported,
    };
    assert!(world.bridge_events.contains(&expected), "{:?}", world.bridge_events);
    let subscriptions = world.cores[1].subscriptions("bridge").len();
    assert_eq!(subscriptions, 1);
}

#[test]
fn a_lower_maximum_qos_is_kept_to() {
    let mut low = Config::default();
    low.maximum_qos = QoS::AtLeastOnce;
    low.retain_available = false;
    let mut world =
        World::bridged([Config::default(), low], &options(Version::V5, &[], &[route("#", "", "")]));
    let local = world.join_to(0, persistent(Version::V5, "local"));
    let remote = world.join_to(1, persistent(Version::V5, "remote"));
    world.subscribe(remote, "#", QoS::AtLeastOnce);
    let now = world.now;
    let mut out = retained("t", "m");
    out.qos = QoS::ExactlyOnce;
    world.client(local).publish(now, out).unwrap();
    world.run();
    assert_eq!(came(&mut world, remote), ["t=m q1"]);
}

#[test]
fn what_the_other_broker_refuses_is_dropped_and_not_tried_again() {
    let (mut world, local, _) = connected(&options(Version::V5, &[], &[route("#", "", "")]));
    world.cores[1].set_authorize(Box::new(|_: columba_core::Client<'_>, _: columba_core::Action<'_>| false));
    world.publish(local, "t", QoS::AtLeastOnce, "m");
    world.publish(local, "t", QoS::ExactlyOnce, "m");
    assert_eq!((world.bridge().sent(), world.bridge().dropped()), (0, 2));
    let info = world.cores[0].client("local.bridge").unwrap();
    assert_eq!((info.inflight, info.queued), (0, 0));
}

#[test]
fn shutting_down_ends_the_local_session_and_keeps_the_remote_one() {
    for clean_start in [false, true] {
        let mut options = options(Version::V5, &[route("#", "", "")], &[route("#", "", "")]);
        options.clean_start = clean_start;
        let (mut world, ..) = connected(&options);
        let now = world.now;
        world.bridge().shut_down(now);
        world.run();
        assert!(world.cores[0].client("local.bridge").is_none());
        assert_eq!(world.cores[1].client("bridge").is_some(), !clean_start);
        assert_eq!(states(&mut world, Side::Local).last(), Some(&LinkState::Closed));
        assert_eq!(states(&mut world, Side::Remote).last(), Some(&LinkState::Closed));
        assert_eq!(world.bridge().poll_timeout(), None);
        world.advance(300);
        assert_eq!(states(&mut world, Side::Remote).last(), Some(&LinkState::Closed));
    }
}

#[test]
fn impossible_routes_are_refused() {
    let refused = |route: Route| match Bridge::new(&options(Version::V5, &[route], &[]), 1) {
        Err(BridgeError::Route { error, .. }) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(route("a#", "", "")), RouteError::Filter(TopicError::MisplacedHash));
    assert_eq!(refused(route("", "x", "")), RouteError::Filter(TopicError::Empty));
    assert_eq!(refused(route("#", "x", "")), RouteError::Filter(TopicError::MisplacedHash));
    assert_eq!(refused(route("#", "+/", "")), RouteError::Prefix(TopicError::WildcardInName));
    assert_eq!(refused(route("$share/g/a", "", "")), RouteError::Shared);
    let many = vec![route("a", "", ""); 1001];
    let result = Bridge::new(&options(Version::V5, &many, &[]), 1);
    assert_eq!(result.err(), Some(BridgeError::TooManyRoutes));
}
