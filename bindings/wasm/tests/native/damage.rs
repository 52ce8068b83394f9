//! Bytes that no server should send.

use columba_codec::{
    ConnAck, ConnAckProperties, FixedHeader, Packet, PacketId, Publish, QoS, ReasonCode, TopicFilter,
    TopicName, Version, vectors,
};
use columba_core::Flow;
use columba_wasm::bridge::{Bridge, BridgeOptions, Route, Side};
use columba_wasm::client::{ClientOptions, State};

use crate::script::Script;
use crate::world::{ALL, message, persistent};

/// Small and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, limit: usize) -> usize {
        self.next() as usize % limit
    }
}

fn options(version: Version) -> ClientOptions {
    let mut options = persistent(version, "a");
    options.topic_alias_maximum = Some(10);
    options.authentication_method = Some("m".into());
    options
}

/// A client in the middle of everything it can be in the middle of.
fn busy(version: Version) -> Script {
    let mut script = Script::connected(options(version));
    for qos in [1, 2, 2] {
        script.client.publish(script.now, message("t", QoS::from_u8(qos).unwrap(), "x")).unwrap();
    }
    script.say(&Packet::PubRec(crate::script::ack(3)));
    script.publish("t", QoS::ExactlyOnce, 5, |_| ());
    let filter = TopicFilter::parse("t").unwrap();
    script.client.unsubscribe(script.now, &[filter], &[]).unwrap();
    script.packets();
    script.events();
    script
}

/// The client goes on or has ended the connection in good order.
fn check(script: &mut Script) {
    let packets = script.packets();
    for bytes in &packets {
        FixedHeader::read(bytes, usize::MAX).unwrap().unwrap();
    }
    script.events();
    let state = script.client.state();
    let flow = script.client.poll_transmit(script.now, &mut Vec::new());
    assert_eq!(flow == Flow::Close, state == State::Closing);
    script.client.close(script.now);
    assert_eq!(script.client.state(), State::Offline);
}

#[test]
fn random_bytes_are_survived() {
    let mut random = Random(1);
    for round in 0..20_000 {
        let version = ALL[round % 3];
        let mut script = if round % 2 == 0 { busy(version) } else { Script::opened(options(version)) };
        let mut bytes: Vec<u8> = (0..random.below(40)).map(|_| random.next() as u8).collect();
        if random.below(2) == 0 && bytes.len() > 2 {
            // One that has the length it says.
            bytes[1] = bytes.len() as u8 - 2;
        }
        script.client.receive(script.now, &bytes);
        check(&mut script);
    }
}

#[test]
fn every_vector_whole_cut_off_and_in_single_bytes() {
    for vector in vectors::all() {
        for version in ALL {
            for busy_first in [false, true] {
                let start = || if busy_first { busy(version) } else { Script::opened(options(version)) };
                for len in 0..=vector.bytes.len() {
                    let mut script = start();
                    script.client.receive(script.now, &vector.bytes[..len]);
                    let (state, inflight) = (script.client.state(), script.client.inflight());
                    let mut single = start();
                    for byte in &vector.bytes[..len] {
                        single.client.receive(single.now, &[*byte]);
                    }
                    assert_eq!(
                        (single.client.state(), single.client.inflight()),
                        (state, inflight),
                        "{vector:?}"
                    );
                    check(&mut script);
                }
            }
        }
    }
}

#[test]
fn damaged_packets_are_survived() {
    let mut random = Random(2);
    let all: Vec<_> = vectors::all().filter(|vector| !vector.bytes.is_empty()).collect();
    for round in 0..30_000 {
        let vector = all[random.below(all.len())];
        let mut bytes = vector.bytes.to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        let mut script =
            if round % 2 == 0 { busy(vector.version) } else { Script::opened(options(vector.version)) };
        script.client.receive(script.now, &bytes);
        check(&mut script);
    }
}

#[test]
fn a_bridge_survives_random_bytes() {
    let mut random = Random(3);
    let route = Route {
        filter: "#".into(),
        qos: QoS::ExactlyOnce,
        local_prefix: "x/".into(),
        remote_prefix: String::new(),
    };
    for round in 0..5_000 {
        let mut options = BridgeOptions::new("a");
        options.version = ALL[1 + round % 2];
        options.routes_in = vec![route.clone()];
        options.routes_out = vec![route.clone()];
        let mut bridge = Bridge::new(&options, 1).unwrap();
        let mut now = columba_core::Time::ZERO;
        for _ in 0..random.below(30) {
            let side = if random.below(2) == 0 { Side::Local } else { Side::Remote };
            let version = if side == Side::Local { Version::V5 } else { options.version };
            match random.below(6) {
                0 => bridge.open(now, side),
                1 => bridge.close(now, side),
                2 => {
                    let mut bytes = Vec::new();
                    let (reason, properties) = (ReasonCode::Success, ConnAckProperties::default());
                    let connack = ConnAck { session_present: random.below(2) == 0, reason, properties };
                    connack.encode(version, &mut bytes).unwrap();
                    bridge.receive(now, side, &bytes);
                }
                3 => {
                    let mut bytes = Vec::new();
                    let mut publish = Publish::new(TopicName::parse("x/y").unwrap(), b"m");
                    publish.qos = QoS::from_u8(random.below(3) as u8).unwrap();
                    publish.packet_id =
                        PacketId::new(random.below(4) as u16 + 1).filter(|_| publish.qos > QoS::AtMostOnce);
                    publish.encode(version, &mut bytes).unwrap();
                    bridge.receive(now, side, &bytes);
                }
                4 => {
                    let bytes: Vec<u8> = (0..random.below(20)).map(|_| random.next() as u8).collect();
                    bridge.receive(now, side, &bytes);
                }
                _ => {
                    now = now + std::time::Duration::from_secs(random.below(40) as u64);
                    bridge.handle_timeout(now);
                }
            }
            for side in [Side::Local, Side::Remote] {
                let _ = bridge.poll_transmit(now, side, &mut Vec::new());
            }
            while bridge.poll_event().is_some() {}
        }
        bridge.shut_down(now);
    }
}

#[test]
fn a_header_reserves_nothing() {
    let mut script = Script::connected(ClientOptions::new(Version::V5, "a"));
    script.client.receive(script.now, &[0x30, 0xFF, 0xFF, 0xFF, 0x7F]);
    script.client.receive(script.now, &[0; 10]);
    assert_eq!(script.client.state(), State::Online);
    assert!(script.sent().is_empty());
}

#[test]
fn malformed_packets_are_answered_with_their_reason() {
    let mut script = Script::connected(ClientOptions::new(Version::V5, "a"));
    script.client.receive(script.now, &[0x36, 0]);
    script.expect_fault(ReasonCode::MalformedPacket);
    // A CONNECT of a version that does not exist, from a server: its reason is none that DISCONNECT has.
    let mut script = Script::connected(ClientOptions::new(Version::V5, "a"));
    script.client.receive(script.now, b"\x10\x0C\x00\x04MQTT\x09\x02\x00\x00\x00\x00");
    assert_eq!(script.sent(), ["DISCONNECT 82"]);
}
