//! What each side allows the other, and what a client allows its owner.

use std::num::{NonZeroU16, NonZeroU32};

use columba_codec::{
    Packet, QoS, ReasonCode, SubscribeItem, SubscriptionId, SubscriptionOptions, TopicFilter, Version,
};
use columba_wasm::client::{Client, ClientEvent, ClientOptions, NotSent, PublishError, RequestError, State};

use crate::script::{Script, ack};
use crate::world::{ALL, World, message, persistent};

#[test]
fn receive_maximum_of_the_server_bounds_what_is_in_flight() {
    for resumes in [false, true] {
        let two = |said: &mut columba_codec::ConnAckProperties<'_>| said.receive_maximum = NonZeroU16::new(2);
        let mut script = Script::connected_with(persistent(Version::V5, "a"), false, two);
        for topic in ["a", "b", "c"] {
            script.client.publish(script.now, message(topic, QoS::AtLeastOnce, "x")).unwrap();
        }
        script.client.publish(script.now, message("d", QoS::AtMostOnce, "x")).unwrap();
        assert_eq!(script.sent(), ["PUBLISH a #1", "PUBLISH b #2"]);
        let filter = TopicFilter::parse("t").unwrap();
        script.client.unsubscribe(script.now, &[filter], &[]).unwrap();
        assert_eq!(script.sent(), ["UNSUBSCRIBE"], "a full window holds back messages only");
        if resumes {
            script.client.close(script.now);
            script.open();
            script.events();
            script.accept(true, |said| said.receive_maximum = NonZeroU16::new(1));
            assert_eq!(script.sent(), ["PUBLISH a #1 dup"]);
            script.puback(1);
            assert_eq!(script.sent(), ["PUBLISH b #2 dup"]);
            script.puback(2);
        } else {
            script.puback(2);
        }
        assert_eq!(script.sent(), ["PUBLISH c #4", "PUBLISH d"]);
    }
}

#[test]
fn receive_maximum_holds_against_the_core() {
    let mut world = World::with(|config| config.limits.receive_maximum = 3);
    let reader = world.join(ClientOptions::new(Version::V5, "reader"));
    world.subscribe(reader, "t", QoS::ExactlyOnce);
    let writer = world.join(ClientOptions::new(Version::V5, "writer"));
    let now = world.now;
    for number in 0..50 {
        let message = message("t", QoS::ExactlyOnce, &number.to_string());
        world.client(writer).publish(now, message).unwrap();
    }
    world.run();
    assert_eq!(world.payloads(reader), (0..50).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn receive_maximum_of_the_client_is_held() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut options = ClientOptions::new(Version::V5, "a");
        options.receive_maximum = NonZeroU16::new(2);
        options.manual_acks = true;
        let mut script = Script::connected(options);
        script.publish("t", qos, 1, |_| ());
        script.publish("t", qos, 2, |_| ());
        script.publish("t", QoS::AtMostOnce, 0, |_| ());
        if qos == QoS::ExactlyOnce {
            script.publish("t", qos, 2, |publish| publish.dup = true);
        }
        assert_eq!(script.events().len(), 3);
        script.publish("t", qos, 3, |_| ());
        script.expect_fault(ReasonCode::ReceiveMaximumExceeded);
    }
}

#[test]
fn receive_maximum_means_nothing_before_mqtt_5() {
    for version in [Version::V3_1, Version::V3_1_1] {
        let mut options = ClientOptions::new(version, "a");
        options.receive_maximum = NonZeroU16::new(2);
        options.manual_acks = true;
        let mut script = Script::connected(options);
        for id in 1..=u16::MAX {
            script.publish("t", QoS::AtLeastOnce, id, |_| ());
        }
        assert_eq!(script.events().len(), 65_535);
        script.publish("t", QoS::AtLeastOnce, 1, |_| ());
        script.expect_fault(ReasonCode::ProtocolError);
    }
}

#[test]
fn a_new_connection_has_the_whole_window() {
    let mut options = persistent(Version::V5, "a");
    options.receive_maximum = NonZeroU16::new(2);
    options.manual_acks = true;
    let mut script = Script::connected(options);
    for _ in 0..3 {
        script.publish("t", QoS::AtLeastOnce, 1, |_| ());
        script.publish("t", QoS::ExactlyOnce, 2, |_| ());
        assert_eq!(script.client.state(), State::Online);
        script.client.close(script.now);
        script.open();
        script.events();
        script.accept(true, |_| ());
    }
    // A resumed exchange fills the window as a new one does, and is over with its PUBREL.
    for _ in 0..2 {
        script.publish("t", QoS::ExactlyOnce, 2, |publish| publish.dup = true);
    }
    script.publish("t", QoS::AtLeastOnce, 1, |_| ());
    assert_eq!(script.client.state(), State::Online);
    script.publish("t", QoS::AtLeastOnce, 3, |_| ());
    script.expect_fault(ReasonCode::ReceiveMaximumExceeded);
}

#[test]
fn unanswered_requests_give_their_identifiers_back() {
    let mut options = persistent(Version::V5, "a");
    options.limits.requests = 40_000;
    let mut script = Script::connected(options);
    let filter = TopicFilter::parse("t").unwrap();
    for _ in 0..2 {
        for _ in 0..40_000 {
            script.client.unsubscribe(script.now, &[filter], &[]).unwrap();
        }
        script.client.close(script.now);
        assert_eq!(script.events().len(), 40_001);
        script.open();
        script.accept(true, |_| ());
    }
}

#[test]
fn what_the_server_does_not_have_is_refused_or_left_out() {
    for adapt in [false, true] {
        let mut options = ClientOptions::new(Version::V5, "a");
        options.adapt = adapt;
        let mut script = Script::opened(options);
        // Before the server is known, everything may turn out to be possible.
        let mut retained = message("r", QoS::AtMostOnce, "x");
        retained.retain = true;
        script.client.publish(script.now, message("q", QoS::ExactlyOnce, "x")).unwrap();
        script.client.publish(script.now, retained.clone()).unwrap();
        script.accept(false, |said| {
            said.maximum_qos = Some(QoS::AtLeastOnce);
            said.retain_available = Some(false);
        });
        let sent = script.packets();
        if adapt {
            assert_eq!((sent[0][0], sent[1][0]), (0x32, 0x30));
            script.client.publish(script.now, retained).unwrap();
            continue;
        }
        assert!(sent.is_empty());
        let outcomes: Vec<_> = script
            .events()
            .into_iter()
            .map(|event| match event {
                ClientEvent::Published { outcome, .. } => outcome,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(outcomes, [Err(NotSent::QoSNotSupported), Err(NotSent::RetainNotSupported)]);
        let result = script.client.publish(script.now, retained);
        assert_eq!(result, Err(PublishError::NotSent(NotSent::RetainNotSupported)));
    }
}

#[test]
fn packets_too_large_for_the_server_are_not_sent() {
    let size = |bytes| {
        move |said: &mut columba_codec::ConnAckProperties<'_>| {
            said.maximum_packet_size = NonZeroU32::new(bytes);
        }
    };
    let mut script = Script::connected_with(ClientOptions::new(Version::V5, "a"), false, size(20));
    // Header, topic, properties: 2 + 3 + 1.
    script.client.publish(script.now, message("t", QoS::AtMostOnce, &"x".repeat(14))).unwrap();
    let result = script.client.publish(script.now, message("t", QoS::AtMostOnce, &"x".repeat(15)));
    assert_eq!(result, Err(PublishError::NotSent(NotSent::PacketTooLarge)));
    assert_eq!(script.sent().len(), 1);
    let filter = "f".repeat(30);
    let filter = TopicFilter::parse(&filter).unwrap();
    script.client.unsubscribe(script.now, &[filter], &[]).unwrap();
    script
        .client
        .disconnect(script.now, ReasonCode::Success, None, Some("a reason that is too long"))
        .unwrap();
    let packets = script.packets();
    assert_eq!(packets, [[0xE0, 0]]);
    let events = script.events();
    let is_told = |event: &ClientEvent| {
        matches!(event,
        ClientEvent::Unsubscribed { codes, .. } if *codes == [ReasonCode::PacketTooLarge])
    };
    assert!(events.iter().any(is_told), "{events:?}");
}

#[test]
fn packets_too_large_for_the_client_end_the_connection() {
    for version in ALL {
        let mut options = ClientOptions::new(version, "a");
        options.maximum_packet_size = NonZeroU32::new(50);
        let mut script = Script::connected(options);
        // The header alone is enough to know.
        script.client.receive(script.now, &[0x30, 0x31]);
        script.expect_fault(ReasonCode::PacketTooLarge);
    }
}

#[test]
fn subscriptions_the_server_does_not_serve_are_not_asked_for() {
    let mut script = Script::connected_with(ClientOptions::new(Version::V5, "a"), false, |said| {
        said.wildcard_subscription_available = Some(false);
        said.shared_subscription_available = Some(false);
        said.subscription_ids_available = Some(false);
    });
    let now = script.now;
    let mut ask = |filter: &str, id| {
        let item = SubscribeItem {
            filter: TopicFilter::parse(filter).unwrap(),
            options: SubscriptionOptions::default(),
        };
        script.client.subscribe(now, &[item, item], id, &[]).unwrap();
        match script.client.poll_event() {
            Some(ClientEvent::Subscribed { codes, .. }) => Some((codes[0], codes.len())),
            _ => None,
        }
    };
    let id = SubscriptionId::new(1);
    assert_eq!(ask("a/#", None), Some((ReasonCode::WildcardSubscriptionsNotSupported, 2)));
    assert_eq!(ask("$share/g/a", None), Some((ReasonCode::SharedSubscriptionsNotSupported, 2)));
    assert_eq!(ask("a", id), Some((ReasonCode::SubscriptionIdentifiersNotSupported, 2)));
    assert_eq!(ask("a", None), None);
    assert_eq!(script.sent(), ["SUBSCRIBE"]);
}

#[test]
fn requests_have_a_limit_and_wait_for_a_connection() {
    let mut options = persistent(Version::V5, "a");
    options.limits.requests = 2;
    let mut client = Client::new(options).unwrap();
    let now = columba_core::Time::ZERO;
    let filter = TopicFilter::parse("t").unwrap();
    client.unsubscribe(now, &[filter], &[]).unwrap();
    client.unsubscribe(now, &[filter], &[]).unwrap();
    assert_eq!(client.unsubscribe(now, &[filter], &[]), Err(RequestError::TooMany));
    assert!(matches!(client.unsubscribe(now, &[], &[]), Err(RequestError::TooMany)));
    assert!(client.poll_event().is_none());
    let mut world = World::new();
    let end = world.add(persistent(Version::V5, "b"));
    world.client(end).unsubscribe(now, &[filter], &[]).unwrap();
    assert!(matches!(world.client(end).unsubscribe(now, &[], &[]), Err(RequestError::Encode(_))));
    world.connect(end);
    assert!(world.ends[end].events.iter().any(|event| matches!(event, ClientEvent::Unsubscribed { .. })));
}

#[test]
fn the_queue_has_limits() {
    let mut options = ClientOptions::new(Version::V5, "a");
    options.limits.queued_messages = 3;
    let mut client = Client::new(options.clone()).unwrap();
    let now = columba_core::Time::ZERO;
    for _ in 0..3 {
        client.publish(now, message("t", QoS::AtMostOnce, "x")).unwrap();
    }
    let result = client.publish(now, message("t", QoS::AtMostOnce, "x"));
    assert_eq!((result, client.queued()), (Err(PublishError::QueueFull), 3));
    options.limits.queued_bytes = 1000;
    let mut client = Client::new(options).unwrap();
    client.publish(now, message("t", QoS::AtLeastOnce, &"x".repeat(2000))).unwrap();
    assert!(client.queued_bytes() > 2000, "one alone is always taken");
    assert_eq!(client.publish(now, message("t", QoS::AtMostOnce, "")), Err(PublishError::QueueFull));
}

#[test]
fn identifiers_go_round_and_pass_over_those_in_use() {
    let mut options = persistent(Version::V5, "a");
    options.limits.inflight = 4;
    let mut script = Script::connected(options);
    script.client.publish(script.now, message("kept", QoS::AtLeastOnce, "x")).unwrap();
    assert_eq!(script.sent(), ["PUBLISH kept #1"]);
    for expected in (2..=65_535).chain(2..10) {
        script.client.publish(script.now, message("t", QoS::AtLeastOnce, "x")).unwrap();
        assert_eq!(script.packets()[0][5..7], u16::to_be_bytes(expected));
        script.puback(expected);
        script.events();
    }
}

#[test]
fn identifiers_that_are_all_in_use_hold_nothing_up_for_ever() {
    let mut options = persistent(Version::V5, "a");
    options.limits.inflight = u16::MAX;
    options.limits.queued_messages = 70_000;
    let mut script = Script::connected(options);
    for _ in 0..65_536 {
        script.client.publish(script.now, message("t", QoS::AtLeastOnce, "")).unwrap();
    }
    script.client.publish(script.now, message("t", QoS::AtMostOnce, "")).unwrap();
    assert_eq!(script.packets().len(), 65_535);
    let filter = TopicFilter::parse("t").unwrap();
    assert_eq!(script.client.unsubscribe(script.now, &[filter], &[]), Err(RequestError::TooMany));
    script.client.close(script.now);
    script.open();
    script.accept_again();
    assert_eq!(script.packets().len(), 65_535);
    script.puback(7);
    assert_eq!(script.sent(), ["PUBLISH t #7", "PUBLISH t"]);
}

#[test]
fn what_is_encoded_ahead_is_bounded() {
    let mut script = Script::connected(ClientOptions::new(Version::V5, "a"));
    for _ in 0..1000 {
        script.client.publish(script.now, message("t", QoS::AtMostOnce, &"x".repeat(1000))).unwrap();
    }
    assert!(script.client.queued() > 900);
    let mut out = Vec::new();
    assert_eq!(script.client.poll_transmit(script.now, &mut out), columba_core::Flow::More);
    assert!(out.len() < 70_000);
    assert!(script.sent().len() > 900);
    assert_eq!((script.client.queued(), script.client.state()), (0, State::Online));
}

#[test]
fn a_large_message_on_its_way_is_no_answer() {
    let mut script = Script::connected(ClientOptions::new(Version::V5, "a"));
    script.client.publish(script.now, message("t", QoS::AtMostOnce, &"x".repeat(5 << 20))).unwrap();
    script.publish("t", QoS::AtLeastOnce, 1, |_| ());
    assert_eq!(script.client.state(), State::Online);
    assert_eq!(script.sent(), ["PUBLISH t", "PUBACK #1"]);
}

#[test]
fn a_server_that_takes_no_answers_is_given_up() {
    let mut script = Script::connected(ClientOptions::new(Version::V5, "a"));
    let mut bytes = Vec::new();
    Packet::PubRel(ack(9)).encode(Version::V5, &mut bytes).unwrap();
    let bytes = bytes.repeat(100_000);
    for _ in 0..10 {
        script.client.receive(script.now, &bytes);
    }
    script.expect_fault(ReasonCode::QuotaExceeded);
}
