//! What a broker may answer where the standard leaves it a choice.

use columba_testkit::codec::{ConnAckProperties, Packet, PacketId, Publish};
use columba_testkit::{Client, Received};

use crate::stage::Stage;

/// Malformed packet, protocol error, and unspecified error, which fits everything.
pub(crate) const MALFORMED: &[u8] = &[0x80, 0x81, 0x82];

/// A client that was let in is sent away over something it sent. MQTT 5 may say so first.
#[track_caller]
pub(crate) fn sent_away(client: &Client) {
    sent_away_with(client, MALFORMED);
}

/// The same, with one of these reason codes if any.
#[track_caller]
pub(crate) fn sent_away_with(client: &Client, codes: &[u8]) {
    let last = client.until_closed();
    let fine = match &last[..] {
        [] => true,
        [only] => match only.packet() {
            Packet::Disconnect(disconnect) => codes.contains(&disconnect.reason.code()),
            _ => false,
        },
        _ => false,
    };
    client.check(fine, || format!("expected the end, got {:?}", texts(&last)));
}

/// A CONNECT is not understood: the connection is closed, and MQTT 5 alone may answer before.
#[track_caller]
pub(crate) fn not_understood(client: &Client) {
    let codes: &[u8] = if client.is_v5() { MALFORMED } else { &[] };
    refused(client, codes);
}

/// A CONNECT is refused: the connection is closed, after CONNACK with one of these codes if any.
#[track_caller]
pub(crate) fn refused(client: &Client, codes: &[u8]) {
    let last = client.until_closed();
    let fine = match &last[..] {
        [] => true,
        [only] => is_refusal(only, codes),
        _ => false,
    };
    client.check(fine, || format!("expected the end, got {:?}", texts(&last)));
}

/// A CONNECT is refused with CONNACK and one of these codes.
#[track_caller]
pub(crate) fn told_no(client: &Client, codes: &[u8]) {
    let last = client.until_closed();
    client.check(matches!(&last[..], [only] if is_refusal(only, codes)), || {
        format!("expected CONNACK {codes:02x?} and the end, got {:?}", texts(&last))
    });
}

/// CONNACK with one of these codes and no session present.
fn is_refusal(received: &Received, codes: &[u8]) -> bool {
    // Acknowledge flags and code are in the same place in all versions.
    matches!(received.packet(), Packet::ConnAck(_))
        && received.bytes()[2] == 0
        && codes.contains(&received.bytes()[3])
}

/// Sends these bytes as the first of a connection, to which the broker must not listen.
#[track_caller]
pub(crate) fn expect_not_understood(stage: &Stage, bytes: &[u8]) {
    let client = stage.open("stranger");
    client.send_bytes(bytes);
    not_understood(&client);
}

/// Sends these bytes after a proper CONNECT, which must end the connection.
#[track_caller]
pub(crate) fn expect_sent_away(stage: &Stage, bytes: &[u8]) {
    let client = stage.connect("breaker", |_| ());
    client.send_bytes(bytes);
    sent_away(&client);
}

/// The properties of a CONNACK.
#[track_caller]
pub(crate) fn announced<'a>(client: &Client, connack: &'a Received) -> ConnAckProperties<'a> {
    match connack.packet() {
        Packet::ConnAck(ack) => ack.properties,
        _ => client.fail(&format!("expected CONNACK, got {}", connack.text())),
    }
}

/// Whether a CONNACK says that there was a session.
pub(crate) fn is_present(connack: &Received) -> bool {
    connack.bytes()[2] == 1
}

/// The PUBLISH that comes next.
#[track_caller]
pub(crate) fn next_publish<T>(client: &Client, look: impl FnOnce(&Publish<'_>) -> T) -> T {
    let received = client.next();
    match received.packet() {
        Packet::Publish(publish) => look(&publish),
        _ => client.fail(&format!("expected a message, got {}", received.text())),
    }
}

/// Takes the next message, which must read `topic=payload`, and returns its packet identifier, 0 at QoS 0.
#[track_caller]
pub(crate) fn message(client: &Client, expected: &str) -> u16 {
    let (found, id) = next_publish(client, |publish| {
        let topic = publish.topic.map_or("", |topic| topic.as_str());
        let payload = String::from_utf8_lossy(publish.payload);
        (format!("{topic}={payload}"), publish.packet_id.map_or(0, PacketId::get))
    });
    client.check(found == expected, || format!("expected {expected:?}, got {found:?}"));
    id
}

fn texts(packets: &[Received]) -> Vec<&str> {
    packets.iter().map(Received::text).collect()
}
