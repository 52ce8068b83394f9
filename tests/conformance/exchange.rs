//! Steps that tests of several modules take: sessions to begin with, messages and endings as a broker may phrase them.

use columba_testkit::codec::{Packet, PacketId, PacketType, Publish};
use columba_testkit::{Client, QoS, Received, Version, persistent};

use crate::stage::Stage;

/// Connects with a session that lasts and holds nothing yet, whatever ran before against the same broker.
#[track_caller]
pub(crate) fn lasting(stage: &Stage, id: &str) -> Client {
    stage.connect(id, |_| ()).disconnect();
    back(stage, id)
}

/// Connects to the session that is there.
#[track_caller]
pub(crate) fn back(stage: &Stage, id: &str) -> Client {
    stage.connect(id, persistent)
}

/// Takes the next packet, a PUBLISH that reads like this without its packet identifier, and returns that: 0 at QoS 0.
#[track_caller]
pub(crate) fn message(client: &Client, expected: &str) -> u16 {
    let received = client.next();
    let (text, id) = without_id(received.text());
    client.check(text == format!("PUBLISH {expected}"), || {
        format!("expected {expected:?}, got {:?}", received.text())
    });
    id
}

/// The PUBLISH that this packet must be.
#[track_caller]
pub(crate) fn publish_of<'a>(client: &Client, received: &'a Received) -> Publish<'a> {
    match received.packet() {
        Packet::Publish(publish) => publish,
        _ => client.fail(&format!("expected a message, got {:?}", received.text())),
    }
}

/// Takes so many messages, acknowledging each, and reads them as [`message`] does; they are at QoS 0 or 1.
#[track_caller]
pub(crate) fn next_messages(client: &Client, count: usize) -> Vec<String> {
    let next = |_| {
        let received = client.next();
        acknowledge(client, &received);
        let (text, _) = without_id(received.text());
        text.strip_prefix("PUBLISH ")
            .map_or_else(|| client.fail(&format!("no message: {text}")), str::to_owned)
    };
    (0..count).map(next).collect()
}

/// Takes messages, acknowledging each, up to `last` and what has come meanwhile; `last` is left out. For no more than a
/// handful, as `last` may have to wait for acknowledgements otherwise.
#[track_caller]
pub(crate) fn messages_before(client: &Client, last: &str) -> Vec<String> {
    let received = client.take_first(&format!("PUBLISH {last}"));
    acknowledge(client, &received);
    client.messages()
}

/// Takes the answer to a PUBLISH, which must be one of success: MQTT 5 may add that nobody has subscribed.
#[track_caller]
pub(crate) fn answered(client: &Client, packet: &str, id: u16) {
    let received = client.next();
    let expected = format!("{packet} #{id}");
    let fine = received.text() == expected || (client.is_v5() && received.text() == format!("{expected} 10"));
    client.check(fine, || format!("expected {expected:?}, got {:?}", received.text()));
}

/// Takes the PUBCOMP to a PUBREL, where MQTT 5 may say that it knows nothing of the message.
#[track_caller]
pub(crate) fn completed(client: &Client, id: u16) {
    let received = client.next();
    let expected = format!("PUBCOMP #{id}");
    let fine = received.text() == expected || (client.is_v5() && received.text() == format!("{expected} 92"));
    client.check(fine, || format!("expected {expected:?}, got {:?}", received.text()));
}

/// The broker closes the connection. In MQTT 5 it may say why before: for this reason, or for a general one, that is
/// unspecified error, malformed packet or protocol error.
#[track_caller]
pub(crate) fn closed(client: &Client, reason: u8) {
    let last = client.drain();
    let fine = match last.as_slice() {
        [] => true,
        [only] => match only.packet() {
            Packet::Disconnect(disconnect) => {
                [reason, 0x80, 0x81, 0x82].contains(&disconnect.reason.code()) && client.is_v5()
            }
            _ => false,
        },
        _ => false,
    };
    let texts = || last.iter().map(Received::text).collect::<Vec<_>>();
    client.check(fine, || format!("expected the end, for {reason:02x}, got {:?}", texts()));
    client.expect_closed();
}

/// A PUBLISH as bytes. Without `properties` before 5.0; with packet identifier 1 where the flags call for one.
///
/// # Panics
/// If it has 128 bytes or more.
pub(crate) fn raw_publish(
    version: Version,
    flags: u8,
    topic: &[u8],
    properties: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let short = |len: usize| u8::try_from(len).ok().filter(|&len| len < 0x80).expect("a short packet");
    let mut body = vec![0, short(topic.len())];
    body.extend_from_slice(topic);
    if flags & 0b110 != 0 {
        body.extend_from_slice(&[0, 1]);
    }
    if version == Version::V5 {
        body.push(short(properties.len()));
        body.extend_from_slice(properties);
    }
    body.extend_from_slice(payload);
    let mut bytes = vec![0x30 | flags, short(body.len())];
    bytes.append(&mut body);
    bytes
}

/// Answers a PUBLISH as its QoS asks, with the first packet.
pub(crate) fn acknowledge(client: &Client, received: &Received) {
    if let Packet::Publish(publish) = received.packet() {
        match (publish.qos, publish.packet_id.map_or(0, PacketId::get)) {
            (QoS::AtMostOnce, _) => {}
            (QoS::AtLeastOnce, id) => client.ack(PacketType::PubAck, id),
            (QoS::ExactlyOnce, id) => client.ack(PacketType::PubRec, id),
        }
    }
}

/// The text of a packet without the packet identifier in it, and that; 0 if there is none.
pub(crate) fn without_id(text: &str) -> (String, u16) {
    let mut id = 0;
    let mut rest = Vec::new();
    for word in text.split(' ') {
        match word.strip_prefix('#').and_then(|digits| digits.parse().ok()) {
            Some(number) => id = number,
            None => rest.push(word),
        }
    }
    (rest.join(" "), id)
}
