//! Steps that tests of several modules take.

use std::num::NonZeroU32;

use columba_testkit::codec::{Connect, Packet, PacketId, SubscriptionOptions};
use columba_testkit::{Client, ReasonCode, Received, level, persistent};

use crate::raw::{field, packet};
use crate::stage::Stage;

/// What a broker may say when it ends a connection over a packet that cannot be read.
pub(crate) const MALFORMED: &[u8] = &[0x80, 0x81];
/// What a broker may say when it ends a connection over a packet that is out of place.
pub(crate) const PROTOCOL_ERROR: &[u8] = &[0x80, 0x82];
/// The same where the standard does not say which of the two it is.
pub(crate) const EITHER_ERROR: &[u8] = &[0x80, 0x81, 0x82];

/// A subscription's options: this QoS and nothing else.
pub(crate) fn at(qos: u8) -> SubscriptionOptions {
    SubscriptionOptions { qos: level(qos), ..SubscriptionOptions::default() }
}

/// This topic for one version of the test only: a broker that runs on between them keeps retained messages.
pub(crate) fn own(stage: &Stage, topic: &str) -> String {
    format!("{topic}/{:?}", stage.version)
}

/// Connects with a new session that lasts beyond the connection.
#[track_caller]
pub(crate) fn lasting(stage: &Stage, id: &str) -> Client {
    lasting_with(stage, id, |_| ())
}

/// The same with other changes to CONNECT.
#[track_caller]
pub(crate) fn lasting_with(stage: &Stage, id: &str, adjust: impl FnOnce(&mut Connect<'_>)) -> Client {
    // What an earlier test has left behind in a broker that runs on.
    stage.connect(id, |_| ()).disconnect();
    stage.connect(id, |connect| {
        persistent(connect);
        adjust(connect);
    })
}

/// PUBLISH at QoS 0, whatever its topic is made of.
pub(crate) fn raw_publish(stage: &Stage, topic: &[u8]) -> Vec<u8> {
    packet(0x30, &[&field(topic), no_properties(stage), b"x"].concat())
}

/// SUBSCRIBE with this first byte, packet identifier and pairs of filter and options.
pub(crate) fn raw_subscribe(stage: &Stage, first: u8, id: u16, pairs: &[(&[u8], u8)]) -> Vec<u8> {
    let pairs = pairs.iter().map(|(filter, options)| [&field(filter)[..], &[*options]].concat());
    packet(first, &[&id.to_be_bytes(), no_properties(stage), &pairs.collect::<Vec<_>>().concat()].concat())
}

/// UNSUBSCRIBE with this first byte, packet identifier and filters.
pub(crate) fn raw_unsubscribe(stage: &Stage, first: u8, id: u16, filters: &[&[u8]]) -> Vec<u8> {
    let filters = filters.iter().map(field).collect::<Vec<_>>();
    packet(first, &[&id.to_be_bytes(), no_properties(stage), &filters.concat()].concat())
}

fn no_properties(stage: &Stage) -> &'static [u8] {
    if stage.is_v5() { &[0] } else { &[] }
}

/// A Maximum Packet Size with which the broker can let a client of MQTT 5 in: the size of its CONNACK.
#[track_caller]
pub(crate) fn least_packet_size(stage: &Stage) -> NonZeroU32 {
    let client = stage.open("small");
    client.connect("small", |_| ());
    let size = client.accepted().bytes().len();
    client.disconnect();
    NonZeroU32::new(size as u32).expect("it has a size")
}

/// The broker ends the connection. MQTT 5 lets it say why first, with one of these codes.
#[track_caller]
pub(crate) fn ends(client: &Client, codes: &[u8]) {
    for received in client.until_closed() {
        let fine =
            matches!(received.packet(), Packet::Disconnect(said) if codes.contains(&said.reason.code()));
        client.check(fine, || format!("expected the end, got {}", received.text()));
    }
}

/// The broker does not let the client in. It may say why, with one of these codes.
#[track_caller]
pub(crate) fn is_refused(client: &Client, codes: &[u8]) {
    for received in client.until_closed() {
        let fine = matches!(received.packet(), Packet::ConnAck(_)) && codes.contains(&received.bytes()[3]);
        client.check(fine, || format!("expected the end, got {}", received.text()));
    }
}

/// Connects, sends these bytes, and the broker ends the connection with one of these codes or none.
#[track_caller]
pub(crate) fn ends_over(stage: &Stage, bytes: &[u8], codes: &[u8]) {
    let client = stage.connect("breaker", |_| ());
    client.send_bytes(bytes);
    ends(&client, codes);
}

/// Takes the next packet, which must be this PUBLISH under whatever packet identifier, written `#n`. Returns that, or 0.
#[track_caller]
pub(crate) fn delivered(client: &Client, expected: &str) -> u16 {
    let received = client.next();
    let id = packet_id(&received);
    let fine = received.text() == expected.replace("#n", &format!("#{id}"));
    client.check(fine, || format!("expected {expected:?}, got {:?}", received.text()));
    id
}

/// The packet identifier of a PUBLISH; 0 if it has none.
pub(crate) fn packet_id(received: &Received) -> u16 {
    match received.packet() {
        Packet::Publish(publish) => publish.packet_id.map_or(0, PacketId::get),
        _ => 0,
    }
}

/// The reason codes of a SUBACK or UNSUBACK.
#[track_caller]
pub(crate) fn codes_of(received: &Received) -> Vec<u8> {
    match received.packet() {
        Packet::SubAck(ack) => ack.reasons.iter().map(ReasonCode::code).collect(),
        Packet::UnsubAck(ack) => ack.reasons.iter().map(ReasonCode::code).collect(),
        _ => panic!("{} is neither SUBACK nor UNSUBACK", received.text()),
    }
}

/// The broker does not take this filter: it ends the connection, or answers with a code of failure.
#[track_caller]
pub(crate) fn filter_is_refused(stage: &Stage, filter: &[u8]) {
    let client = stage.connect("breaker", |_| ());
    client.send_bytes(&raw_subscribe(stage, 0x82, 7, &[(filter, 0)]));
    let mut refused = false;
    for received in client.drain() {
        refused = match received.packet() {
            Packet::SubAck(ack) => ack.reasons.iter().all(ReasonCode::is_error),
            Packet::Disconnect(_) => true,
            _ => false,
        };
    }
    client.check(refused || !client.is_open(), || format!("{:?} is taken", String::from_utf8_lossy(filter)));
}
