//! CONNECT, CONNACK, AUTH, DISCONNECT, and time.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;
use columba_codec::{
    Auth, ConnAck, ConnAckProperties, Disconnect, FixedHeader, List, MessageProperties, Packet, QoS,
    ReasonCode, Version,
};
use columba_core::Flow;
use columba_wasm::client::{
    AuthError, ClientEvent, ClientOptions, DisconnectReason, Properties, RequestError, State, WillOptions,
};

use crate::script::Script;
use crate::world::{ALL, World, message, persistent};

#[test]
fn everything_in_the_options_is_in_connect() {
    let mut options = ClientOptions::new(Version::V5, "me");
    options.keep_alive = 7;
    options.username = Some("user".into());
    options.password = Some(Bytes::from_static(b"pass"));
    options.session_expiry = Some(9);
    options.receive_maximum = NonZeroU16::new(10);
    options.maximum_packet_size = NonZeroU32::new(1000);
    options.topic_alias_maximum = Some(11);
    options.request_response_information = Some(true);
    options.request_problem_information = Some(false);
    options.authentication_method = Some("method".into());
    options.authentication_data = Some(Bytes::from_static(b"data"));
    options.user_properties = vec![("a".into(), "b".into()), ("a".into(), "c".into())];
    let properties = MessageProperties {
        message_expiry: Some(4),
        content_type: Some("text"),
        user_properties: List::from_slice(&[("k", "v")]),
        ..MessageProperties::default()
    };
    options.will = Some(WillOptions {
        topic: "will".into(),
        payload: Bytes::from_static(b"gone"),
        qos: QoS::AtLeastOnce,
        retain: true,
        delay: Some(3),
        properties: Properties::new(&properties).unwrap(),
    });
    let mut client = columba_wasm::client::Client::new(options).unwrap();
    let mut bytes = Vec::new();
    client.open(columba_core::Time::ZERO);
    assert_eq!(client.poll_transmit(columba_core::Time::ZERO, &mut bytes), Flow::Idle);
    let header = FixedHeader::read(&bytes, usize::MAX).unwrap().unwrap();
    let Ok(Packet::Connect(connect)) = Packet::decode(header, &bytes[header.len..], Version::V5) else {
        panic!("no CONNECT");
    };
    assert_eq!((connect.client_id, connect.keep_alive, connect.clean_start), ("me", 7, true));
    assert_eq!((connect.username, connect.password), (Some("user"), Some(&b"pass"[..])));
    let said = &connect.properties;
    assert_eq!((said.session_expiry, said.topic_alias_maximum), (Some(9), Some(11)));
    assert_eq!(
        (said.receive_maximum, said.maximum_packet_size),
        (NonZeroU16::new(10), NonZeroU32::new(1000))
    );
    assert_eq!(
        (said.request_response_information, said.request_problem_information),
        (Some(true), Some(false))
    );
    assert_eq!((said.authentication_method, said.authentication_data), (Some("method"), Some(&b"data"[..])));
    assert_eq!(said.user_properties.iter().collect::<Vec<_>>(), [("a", "b"), ("a", "c")]);
    let will = connect.will.expect("a will");
    assert_eq!((will.topic.as_str(), will.payload, will.delay), ("will", &b"gone"[..], Some(3)));
    assert_eq!((will.qos, will.retain, will.properties), (QoS::AtLeastOnce, true, properties));
}

#[test]
fn options_that_make_no_connect_are_refused() {
    let mut options = ClientOptions::new(Version::V3_1_1, "a");
    options.password = Some(Bytes::new());
    assert!(columba_wasm::client::Client::new(options).is_err());
    assert!(columba_wasm::client::Client::new(ClientOptions::new(Version::V5, "a\0")).is_err());
}

#[test]
fn an_assigned_client_id_is_kept() {
    let mut world = World::new();
    let mut options = persistent(Version::V5, "");
    options.clean_start = false;
    let end = world.join(options);
    let id = world.client(end).client_id().to_owned();
    assert!(!id.is_empty());
    world.cut(end);
    world.connect(end);
    assert_eq!(world.client(end).client_id(), id);
    let connected = world.ends[end].events.iter().filter_map(|event| match event {
        ClientEvent::Connected { session_present, .. } => Some(*session_present),
        _ => None,
    });
    assert_eq!(connected.collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_refusal_tells_why() {
    for version in ALL {
        let mut script = Script::opened(ClientOptions::new(version, "a"));
        let reason = ReasonCode::NotAuthorized;
        let properties = ConnAckProperties::default();
        script.say(&Packet::ConnAck(Box::new(ConnAck { session_present: false, reason, properties })));
        let event = script.client.poll_event();
        let Some(ClientEvent::Disconnected { reason: why, packet: Some(packet) }) = event else {
            panic!("{event:?}");
        };
        assert_eq!(why, DisconnectReason::Refused(reason));
        assert!(matches!(packet.decode(), Packet::ConnAck(_)));
        assert!(script.sent().is_empty());
        assert_eq!(script.client.poll_transmit(script.now, &mut Vec::new()), Flow::Close);
        script.client.close(script.now);
        assert!(script.events().is_empty());
    }
}

#[test]
fn a_session_after_a_clean_start_is_a_fault() {
    for version in [Version::V3_1_1, Version::V5] {
        let mut script = Script::opened(ClientOptions::new(version, "a"));
        let reason = ReasonCode::Success;
        let properties = ConnAckProperties::default();
        script.say(&Packet::ConnAck(Box::new(ConnAck { session_present: true, reason, properties })));
        script.expect_fault(ReasonCode::ProtocolError);
    }
}

#[test]
fn an_idle_client_pings_and_notices_a_dead_server() {
    for version in ALL {
        let mut options = ClientOptions::new(version, "a");
        options.keep_alive = 10;
        let mut script = Script::connected(options);
        let start = script.now;
        let after = |seconds| start + std::time::Duration::from_secs(seconds);
        assert_eq!(script.client.poll_timeout(), Some(after(10)));
        script.now = after(9);
        script.client.handle_timeout(script.now);
        assert!(script.sent().is_empty());
        // What it sends instead of PINGREQ counts.
        script.client.publish(script.now, message("t", QoS::AtMostOnce, "x")).unwrap();
        assert_eq!(script.sent().len(), 1);
        assert_eq!(script.client.poll_timeout(), Some(after(19)));
        script.now = after(19);
        script.client.handle_timeout(script.now);
        assert_eq!(script.sent(), ["PINGREQ"]);
        script.now = after(20);
        script.say(&Packet::PingResp);
        assert_eq!(script.client.poll_timeout(), Some(after(29)));
        script.now = after(29);
        script.client.handle_timeout(script.now);
        assert_eq!(script.sent(), ["PINGREQ"]);
        script.events();
        script.now = after(39);
        assert_eq!(script.client.poll_timeout(), Some(script.now));
        script.client.handle_timeout(script.now);
        let events = script.events();
        let is_dead = |event: &ClientEvent| {
            matches!(event, ClientEvent::Disconnected { reason: DisconnectReason::KeepAlive, packet: None })
        };
        assert!(events.iter().any(is_dead), "{events:?}");
        assert_eq!(script.client.poll_transmit(script.now, &mut Vec::new()), Flow::Close);
        assert_eq!(script.client.poll_timeout(), None);
    }
}

#[test]
fn a_large_packet_on_its_way_keeps_the_connection() {
    let mut options = ClientOptions::new(Version::V5, "a");
    options.keep_alive = 10;
    let mut script = Script::connected(options);
    let mut packet = vec![0x30, 0xFF, 0xFF, 0x03, 0, 1, b't', 0];
    packet.resize(4 + 65_535, b'x');
    for part in packet.chunks(10_000) {
        script.now = script.now + std::time::Duration::from_secs(9);
        script.client.handle_timeout(script.now);
        script.sent();
        script.client.receive(script.now, part);
    }
    assert_eq!(script.client.state(), State::Online);
    assert!(matches!(script.client.poll_event(), Some(ClientEvent::Message(_))));
}

#[test]
fn keep_alive_is_the_servers_or_off() {
    let options = || ClientOptions::new(Version::V5, "a");
    let script = Script::connected_with(options(), false, |said| said.server_keep_alive = Some(5));
    assert_eq!(script.client.poll_timeout(), Some(script.now + std::time::Duration::from_secs(5)));
    let script = Script::connected_with(options(), false, |said| said.server_keep_alive = Some(0));
    assert_eq!(script.client.poll_timeout(), None);
    let mut off = options();
    off.keep_alive = 0;
    assert_eq!(Script::connected(off).client.poll_timeout(), None);
}

#[test]
fn the_core_keeps_an_idle_client() {
    for version in ALL {
        let mut world = World::new();
        let mut options = ClientOptions::new(version, "a");
        options.keep_alive = 3;
        let end = world.join(options);
        world.advance(60);
        assert_eq!(world.client(end).state(), State::Online);
        assert!(world.ends[end].packets > 30);
    }
}

#[test]
fn a_server_that_does_not_answer_connect_is_given_up() {
    let mut script = Script::opened(ClientOptions::new(Version::V5, "a"));
    let limit = u64::from(script.client.options().limits.connect_timeout);
    let at = script.now + std::time::Duration::from_secs(limit);
    assert_eq!(script.client.poll_timeout(), Some(at));
    script.now = at;
    script.client.handle_timeout(at);
    let event = script.client.poll_event();
    assert!(matches!(
        event,
        Some(ClientEvent::Disconnected { reason: DisconnectReason::ConnectTimeout, .. })
    ));
}

#[test]
fn disconnect_is_the_last_packet() {
    for version in ALL {
        let mut script = Script::connected(persistent(version, "a"));
        script.client.publish(script.now, message("t", QoS::AtLeastOnce, "x")).unwrap();
        script.client.disconnect(script.now, ReasonCode::DisconnectWithWill, Some(5), Some("bye")).unwrap();
        script.client.publish(script.now, message("t", QoS::AtLeastOnce, "y")).unwrap();
        let packets = script.packets();
        let last = packets.last().unwrap();
        assert_eq!(packets.len(), 2);
        let header = FixedHeader::read(last, usize::MAX).unwrap().unwrap();
        let decoded = Packet::decode(header, &last[header.len..], version).unwrap();
        let mut expected = Disconnect::new(ReasonCode::Success);
        if version == Version::V5 {
            expected = Disconnect {
                session_expiry: Some(5),
                reason_string: Some("bye"),
                ..Disconnect::new(ReasonCode::DisconnectWithWill)
            };
        }
        assert_eq!(decoded, Packet::Disconnect(expected));
        assert_eq!(script.client.poll_transmit(script.now, &mut Vec::new()), Flow::Close);
        let events = script.events();
        assert!(matches!(&events[..], [ClientEvent::Disconnected { reason: DisconnectReason::Asked, .. }]));
        script.client.close(script.now);
        assert_eq!((script.client.inflight(), script.client.queued()), (1, 1));
    }
}

#[test]
fn disconnect_gives_no_expiry_to_a_session_that_had_none() {
    let mut script = Script::connected(ClientOptions::new(Version::V5, "a"));
    let result = script.client.disconnect(script.now, ReasonCode::Success, Some(5), None);
    assert_eq!(result, Err(RequestError::SessionExpiry));
    script.client.disconnect(script.now, ReasonCode::Success, Some(0), None).unwrap();
    let result = script.client.disconnect(script.now, ReasonCode::Success, None, None);
    assert_eq!(result, Err(RequestError::NotConnected));
}

#[test]
fn the_servers_disconnect_ends_the_connection() {
    let mut script = Script::connected(ClientOptions::new(Version::V5, "a"));
    script.say(&Packet::Disconnect(Disconnect::new(ReasonCode::ServerShuttingDown)));
    // Nothing that follows is listened to.
    script.publish("t", QoS::AtMostOnce, 0, |_| ());
    let events = script.events();
    let [ClientEvent::Disconnected { reason, packet: Some(_) }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(*reason, DisconnectReason::Server(ReasonCode::ServerShuttingDown));
    assert!(script.sent().is_empty());
    for version in [Version::V3_1, Version::V3_1_1] {
        let mut script = Script::connected(ClientOptions::new(version, "a"));
        script.say(&Packet::Disconnect(Disconnect::new(ReasonCode::Success)));
        script.expect_fault(ReasonCode::ProtocolError);
    }
}

fn auth(reason: ReasonCode) -> Packet<'static> {
    let user_properties = List::EMPTY;
    Packet::Auth(Auth { reason, method: Some("m"), data: Some(b"d"), reason_string: None, user_properties })
}

fn with_method() -> ClientOptions {
    let mut options = ClientOptions::new(Version::V5, "a");
    options.authentication_method = Some("m".into());
    options
}

#[test]
fn enhanced_authentication_goes_in_turns() {
    let mut script = Script::opened(with_method());
    let go_on = ReasonCode::ContinueAuthentication;
    assert_eq!(script.client.auth(script.now, go_on, None), Err(AuthError::NotNow));
    for _ in 0..2 {
        script.say(&auth(go_on));
        assert!(matches!(script.client.poll_event(), Some(ClientEvent::Auth { .. })));
        assert_eq!(script.client.auth(script.now, ReasonCode::ReAuthenticate, None), Err(AuthError::NotNow));
        script.client.auth(script.now, go_on, Some(b"more")).unwrap();
        assert_eq!(script.client.auth(script.now, go_on, None), Err(AuthError::NotNow));
        assert_eq!(script.sent(), ["AUTH"]);
    }
    script.accept(false, |_| ());
    script.client.auth(script.now, ReasonCode::ReAuthenticate, None).unwrap();
    script.say(&auth(go_on));
    script.client.auth(script.now, go_on, None).unwrap();
    script.say(&auth(ReasonCode::Success));
    assert_eq!(script.sent(), ["AUTH", "AUTH"]);
    assert_eq!(script.events().len(), 2);
    script.say(&auth(go_on));
    script.expect_fault(ReasonCode::ProtocolError);
}

#[test]
fn auth_out_of_turn_is_a_fault() {
    let mut script = Script::connected(ClientOptions::new(Version::V5, "a"));
    assert_eq!(script.client.auth(script.now, ReasonCode::ReAuthenticate, None), Err(AuthError::NoMethod));
    script.say(&auth(ReasonCode::ContinueAuthentication));
    script.expect_fault(ReasonCode::ProtocolError);
    for reason in [ReasonCode::Success, ReasonCode::ReAuthenticate] {
        let mut script = Script::opened(with_method());
        script.say(&auth(reason));
        script.expect_fault(ReasonCode::ProtocolError);
    }
    let mut options = with_method();
    options.authentication_method = Some("another".into());
    let mut script = Script::opened(options);
    script.say(&auth(ReasonCode::ContinueAuthentication));
    script.expect_fault(ReasonCode::ProtocolError);
}

#[test]
fn nothing_but_connack_and_auth_comes_first() {
    for version in ALL {
        let mut script = Script::opened(ClientOptions::new(version, "a"));
        script.say(&Packet::PingResp);
        script.expect_fault(ReasonCode::ProtocolError);
    }
}

#[test]
fn opening_again_ends_what_was_open() {
    let mut script = Script::connected(persistent(Version::V5, "a"));
    script.client.publish(script.now, message("t", QoS::AtLeastOnce, "x")).unwrap();
    assert_eq!(script.sent(), ["PUBLISH t #1"]);
    script.open();
    let events = script.events();
    assert!(matches!(&events[..], [ClientEvent::Disconnected { reason: DisconnectReason::Transport, .. }]));
    script.accept(true, |_| ());
    assert_eq!(script.sent(), ["PUBLISH t #1 dup"]);
}
