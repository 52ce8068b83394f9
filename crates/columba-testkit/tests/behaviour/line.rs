//! Lines that a program moves itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use columba_testkit::codec::{Packet, PacketId, PacketType, Publish};
use columba_testkit::{
    Cargo, Direction, Entry, Line, Net, PublishError, QoS, ReasonCode, Version, What, name, on, on_any,
};

use Direction::{ToBroker, ToClient};

const V5: Version = Version::V5;
const START: Duration = Duration::ZERO;
const NOTHING: [u8; 0] = [];

fn encoded(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(V5, &mut bytes).unwrap();
    bytes
}

fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    encoded(&Packet::Publish(Publish::new(name(topic), payload)))
}

/// All that has arrived: bytes, and whether it ended.
fn arrived(line: &mut Line, now: Duration, direction: Direction) -> (Vec<u8>, Option<Cargo>) {
    let mut all = Vec::new();
    while let Some(cargo) = line.poll(now, direction) {
        match cargo {
            Cargo::Bytes(bytes) => all.extend_from_slice(&bytes),
            end => return (all, Some(end)),
        }
    }
    (all, None)
}

fn carry(line: &mut Line, bytes: &[u8]) -> Vec<u8> {
    line.carry(START, ToBroker, bytes, START);
    arrived(line, START, ToBroker).0
}

#[test]
fn faults_begin_at_the_next_packet_of_a_connection_that_was_joined() {
    let packet = publish("t", b"0123456789");
    for came in 0..packet.len() {
        let net = Net::new(1);
        let lost = net.add(on_any().lose());
        let mut line = Line::join(&net, "app", V5, &packet[..came], &[0xd0]);
        let rest = carry(&mut line, &packet[came..]);
        // Without a first byte there is nothing to finish.
        assert_eq!(rest, if came == 0 { &[][..] } else { &packet[came..] }, "{came}");
        assert_eq!(carry(&mut line, &packet), NOTHING);
        line.carry(START, ToClient, &[0, 0xd0, 0], START);
        assert_eq!(arrived(&mut line, START, ToClient), (vec![0], None));
        assert_eq!(lost.hits(), if came == 0 { 3 } else { 2 });
        assert_eq!((line.client(), &*line.name(), line.version()), ("app", "app", V5));
        assert_eq!(net.transcript().entries().len(), 4, "what was joined is recorded whole");
    }
}

#[test]
fn whatever_a_line_joins_goes_on() {
    // Whole packets, and what is no MQTT.
    let packet = publish("t", b"x");
    let net = Net::new(1);
    net.add(on_any().lose());
    let mut line = Line::join(&net, "", V5, &[packet.clone(), packet[..3].to_vec()].concat(), &[]);
    assert_eq!(carry(&mut line, &packet[3..]), packet[3..]);
    assert_eq!(carry(&mut line, &packet), NOTHING);
    let mut line = Line::join(&net, "", V5, &[0; 10], &[]);
    assert_eq!(carry(&mut line, b"GET / HTTP/1.1"), b"GET / HTTP/1.1");
}

#[test]
fn a_client_is_known_when_its_connect_came_in_pieces() {
    let net = Net::new(1);
    let mut line = Line::new(&net, "?", Version::V3_1_1);
    let connect = encoded(&Packet::Connect(Box::new(columba_testkit::codec::Connect::new(V5, "app"))));
    for byte in &connect {
        assert_eq!(carry(&mut line, &[*byte]), [*byte]);
    }
    assert_eq!((line.client(), line.version()), ("app", V5));
    assert_eq!(&*net.transcript().name_of(line.number()), "app");
}

#[test]
fn packets_over_the_limit_go_on_as_they_come() {
    let (limit, at, over) = (100, publish("t", &[7; 94]), publish("t", &[7; 95]));
    assert_eq!((at.len(), over.len()), (limit, limit + 1));
    let input = [&over[..], &at, &over].concat();
    for portion in [1, 7, 99, 100, 1000] {
        let net = Net::new(1);
        net.limit_packets(limit);
        let mut line = Line::new(&net, "app", V5);
        let mut carry_all =
            || input.chunks(portion).flat_map(|bytes| carry(&mut line, bytes)).collect::<Vec<_>>();
        let lost = net.add(on_any().lose());
        assert_eq!(carry_all(), [&over[..], &over].concat(), "{portion}");
        assert_eq!(lost.hits(), 1, "{portion}");
        lost.remove();
        assert_eq!(carry_all(), input, "{portion}");
        let entries = net.transcript().entries();
        assert_eq!(entries.len(), 6);
        assert!(entries[0].fate.as_deref().is_some_and(|fate| fate.starts_with("101 bytes")), "{entries:?}");
        let is_short =
            |entry: &Entry| matches!(&entry.what, What::Packet { bytes, .. } if bytes.len() <= limit);
        assert!(entries.iter().all(is_short));
    }
}

#[test]
fn faults_by_hand() {
    let net = Net::new(1);
    let line = || {
        let mut line = Line::new(&net, "app", V5);
        line.carry(START, ToBroker, &[0xc0, 0], START);
        line.carry(START, ToClient, &[0xd0, 0], START);
        line
    };
    let mut cut = line();
    cut.cut(START);
    for direction in [ToBroker, ToClient] {
        assert_eq!(arrived(&mut cut, START, direction), (vec![], Some(Cargo::Cut)));
    }
    let mut half = line();
    half.half_open(START);
    half.end(START, ToBroker, START);
    assert_eq!(arrived(&mut half, START, ToBroker), (vec![0xc0, 0], None), "the broker is not told");
    assert_eq!(arrived(&mut half, START, ToClient), (vec![], Some(Cargo::Cut)));
    let mut hole = line();
    hole.blackhole();
    hole.end(START, ToClient, START);
    for direction in [ToBroker, ToClient] {
        hole.carry(START, direction, &[0xc0, 0], START);
        assert_eq!(arrived(&mut hole, START, direction), (vec![], None));
        assert_eq!(hole.next_arrival(direction), None);
    }
    let mut slow = line();
    slow.slow(ToClient, 1000);
    slow.carry(START, ToClient, &publish("t", &[0; 993]), START);
    assert_eq!(arrived(&mut slow, START, ToClient).0, [0xd0, 0]);
    assert_eq!(slow.next_arrival(ToClient), Some(Duration::from_secs(1)));
    assert_eq!(slow.next_arrival(ToBroker), Some(START));
}

#[test]
fn what_is_published_in_a_clients_name_is_bounded() {
    let net = Net::new(1);
    let mut line = Line::join(&net, "app", V5, &[], &[]);
    let mut message = Publish::new(name("t"), b"");
    message.qos = QoS::AtLeastOnce;
    for _ in 0..u16::MAX {
        line.publish(START, &message).unwrap();
    }
    assert_eq!(line.publish(START, &message), Err(PublishError::NoPacketId));
    // Its acknowledgement is not for the client, in however many pieces it comes.
    for byte in encoded(&Packet::PubAck(columba_testkit::codec::Ack::new(PacketId::new(7).unwrap()))) {
        line.carry(START, ToClient, &[byte], START);
    }
    assert_eq!(arrived(&mut line, START, ToClient), (vec![], None));
    line.publish(START, &message).unwrap();
    message.topic = None;
    assert!(matches!(line.publish(START, &message), Err(PublishError::NoPacketId | PublishError::Encode(_))));
    let answer = Packet::PubAck(columba_testkit::codec::Ack {
        reason: ReasonCode::Success,
        ..columba_testkit::codec::Ack::new(PacketId::new(1).unwrap())
    });
    line.inject(START, ToClient, &answer).unwrap();
    assert_eq!(arrived(&mut line, START, ToClient).0, encoded(&answer));
}

#[test]
fn what_is_held_is_released_with_its_fault() {
    let held = |release: fn(&Net, &columba_testkit::FaultHandle)| {
        let net = Net::new(1);
        let fault = net.add(on(PacketType::PingReq).hold());
        let mut line = Line::new(&net, "app", V5);
        let wakes = Arc::new(Wakes::default());
        assert_eq!(carry(&mut line, &[0xc0, 0]), NOTHING);
        assert!(line.is_held() && line.next_arrival(ToBroker).is_none());
        line.wake_when_released(&Waker::from(wakes.clone()));
        release(&net, &fault);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert_eq!(arrived(&mut line, START, ToBroker).0, [0xc0, 0]);
        assert!(!line.is_held());
    };
    held(|_, fault| fault.release());
    held(|_, fault| fault.remove());
    held(|net, _| net.clear());
}

#[test]
fn a_line_that_is_gone_wakes_nobody() {
    let net = Net::new(1);
    net.add(on_any().hold());
    let wakes = Arc::new(Wakes::default());
    for _ in 0..1000 {
        let line = Line::new(&net, "app", V5);
        line.wake_when_released(&Waker::from(wakes.clone()));
    }
    assert_eq!(Arc::strong_count(&wakes), 1);
    net.clear();
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
}

#[test]
fn a_packet_is_behind_those_of_other_lines() {
    let net = Net::new(1);
    net.add(on_any().client("late").behind(2));
    let mut late = Line::join(&net, "late", V5, &[], &[]);
    let mut other = Line::join(&net, "other", V5, &[], &[]);
    carry(&mut other, &[0xc0, 0]);
    assert_eq!(carry(&mut late, &[0xc0, 0]), NOTHING);
    carry(&mut other, &[0xc0, 0]);
    assert_eq!(late.poll(START, ToBroker), None);
    // What comes on a line that is gone counts, too.
    let mut gone = Line::join(&net, "gone", V5, &[], &[]);
    carry(&mut gone, &[0xc0, 0]);
    drop(gone);
    assert_eq!(arrived(&mut late, START, ToBroker).0, [0xc0, 0]);
}

#[test]
fn a_topic_is_known_by_its_alias_as_long_as_there_is_room() {
    let aliased = |topic: Option<&str>, alias: u16| {
        let mut publish = Publish::new(name("t"), b"");
        publish.topic = topic.map(name);
        publish.topic_alias = std::num::NonZeroU16::new(alias);
        encoded(&Packet::Publish(publish))
    };
    let net = Net::new(1);
    let seen = net.add(
        on(PacketType::Publish)
            .topic("#")
            .matching(|packet| matches!(packet, Packet::Publish(publish) if publish.topic.is_none()))
            .lose(),
    );
    let mut line = Line::new(&net, "app", V5);
    let long = "x".repeat(60_000);
    let mut hits = |alias| {
        let before = seen.hits();
        carry(&mut line, &aliased(Some(&long), alias));
        carry(&mut line, &aliased(None, alias));
        seen.hits() - before
    };
    assert_eq!((1..=10).map(&mut hits).sum::<u64>(), 4, "256 KiB are full");
    assert_eq!(hits(2), 1, "a topic in place of another");
    let mut line = Line::new(&net, "app", V5);
    carry(&mut line, &aliased(Some("t"), 1));
    let before = seen.hits();
    carry(&mut line, &aliased(None, 1));
    assert_eq!(seen.hits() - before, 1, "other lines have their own");
}

#[test]
fn names_live_as_long_as_something_refers_to_them() {
    let net = Net::new(1);
    let transcript = net.transcript();
    let line = Line::new(&net, "app", V5);
    let number = line.number();
    line.note(START, ToBroker, "opened");
    drop(line);
    assert_eq!(&*transcript.name_of(number), "app");
    let taken = transcript.take();
    assert_eq!((taken.len(), transcript.entries().len()), (1, 0));
    assert_eq!(&*transcript.name_of(number), "app");
    assert_eq!(&*taken[0].client(), "app");
    drop(taken);
    assert_eq!(&*transcript.name_of(number), "?");
    transcript.switch_off();
    let line = Line::new(&net, "quiet", V5);
    line.note(START, ToBroker, "opened");
    transcript.switch_on();
    line.note(START, ToBroker, "closed");
    assert_eq!(transcript.take()[0].text(), "(closed)");
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
