//! What no client may do, whatever happens to its connections.

use std::collections::{BTreeMap, BTreeSet};

use columba_codec::{FixedHeader, Packet, PacketId, Publish, QoS, Version};

use crate::world::name;

/// What one client has sent, as someone sees it who looks at the wire.
pub(crate) struct Rules {
    version: Version,
    /// Unacknowledged messages by identifier, with what they say.
    published: BTreeMap<PacketId, String>,
    released: BTreeSet<PacketId>,
    requests: BTreeSet<PacketId>,
    /// Sent on this connection and not over.
    outstanding: BTreeSet<PacketId>,
    receive_maximum: usize,
    clean: bool,
}

impl Rules {
    pub(crate) fn new(version: Version) -> Self {
        Self {
            version,
            published: BTreeMap::new(),
            released: BTreeSet::new(),
            requests: BTreeSet::new(),
            outstanding: BTreeSet::new(),
            receive_maximum: usize::MAX,
            clean: false,
        }
    }

    /// One packet; what it is in short.
    pub(crate) fn check(&mut self, bytes: &[u8], to_core: bool, arrives: bool) -> String {
        let header = FixedHeader::read(bytes, usize::MAX).unwrap().unwrap();
        let packet = Packet::decode(header, &bytes[header.len..], self.version).expect("well-formed");
        match (&packet, to_core) {
            (Packet::Connect(connect), true) => {
                self.outstanding.clear();
                self.requests.clear();
                self.clean = connect.clean_start;
            }
            (Packet::ConnAck(connack), false) if arrives => {
                let resumes = connack.session_present || (self.version == Version::V3_1 && !self.clean);
                if !resumes {
                    self.published.clear();
                    self.released.clear();
                }
                let maximum = connack.properties.receive_maximum;
                self.receive_maximum = maximum.map_or(65_535, |maximum| usize::from(maximum.get()));
            }
            (Packet::Publish(publish), true) => self.publish(publish),
            (Packet::PubRel(ack), true) => {
                assert!(self.released.contains(&ack.packet_id), "PUBREL {} out of nothing", ack.packet_id);
            }
            (Packet::Subscribe(subscribe), true) => self.request(subscribe.packet_id),
            (Packet::Unsubscribe(unsubscribe), true) => self.request(unsubscribe.packet_id),
            (Packet::PubRec(ack), false) if arrives && !ack.reason.is_error() => {
                self.published.remove(&ack.packet_id);
                self.released.insert(ack.packet_id);
            }
            (Packet::PubAck(ack) | Packet::PubComp(ack) | Packet::PubRec(ack), false) if arrives => {
                self.published.remove(&ack.packet_id);
                self.released.remove(&ack.packet_id);
                self.outstanding.remove(&ack.packet_id);
            }
            (Packet::SubAck(ack), false) if arrives => assert!(self.requests.remove(&ack.packet_id)),
            (Packet::UnsubAck(ack), false) if arrives => assert!(self.requests.remove(&ack.packet_id)),
            _ => {}
        }
        describe(&packet, bytes)
    }

    fn publish(&mut self, publish: &Publish<'_>) {
        let Some(id) = publish.packet_id else { return };
        assert!(!self.requests.contains(&id) && !self.released.contains(&id), "{id} is in use");
        let said = format!("{:?} {} {:?} {:?}", publish.qos, publish.retain, publish.topic, publish.payload);
        match self.published.insert(id, said.clone()) {
            Some(before) => {
                assert_eq!(before, said, "{id} is in use");
                assert!(publish.dup, "sent again without DUP");
            }
            None => assert!(!publish.dup, "DUP for what was never sent"),
        }
        self.outstanding.insert(id);
        assert!(self.outstanding.len() <= self.receive_maximum, "above Receive Maximum");
    }

    fn request(&mut self, id: PacketId) {
        let is_used = self.published.contains_key(&id) || self.released.contains(&id);
        assert!(!is_used && self.requests.insert(id), "{id} is in use");
    }
}

/// A packet in short.
fn describe(packet: &Packet<'_>, bytes: &[u8]) -> String {
    match packet {
        Packet::Publish(publish) => {
            let payload = String::from_utf8_lossy(publish.payload);
            let topic = publish.topic.map_or(String::new(), |topic| topic.to_string());
            let marks = match (publish.dup, publish.retain) {
                (false, false) => "",
                (true, false) => " dup",
                (false, true) => " retain",
                (true, true) => " dup retain",
            };
            let id = publish.packet_id.map_or(String::new(), |id| format!(" #{id}"));
            let alias = publish.topic_alias.map_or(String::new(), |alias| format!(" alias {alias}"));
            let payload =
                if payload.len() > 40 { format!("{} bytes", payload.len()) } else { payload.into() };
            let qos = if publish.qos == QoS::AtMostOnce {
                String::new()
            } else {
                format!(" q{}", publish.qos as u8)
            };
            format!("PUBLISH {topic}={payload}{qos}{marks}{id}{alias}")
        }
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            let reason = ack.reason.code();
            let reason = if reason == 0 { String::new() } else { format!(" {reason:02x}") };
            format!("{} #{}{reason}", name(bytes), ack.packet_id)
        }
        Packet::Disconnect(packet) => format!("DISCONNECT {:02x}", packet.reason.code()),
        Packet::ConnAck(packet) => {
            format!(
                "CONNACK {:02x}{}",
                packet.reason.code(),
                if packet.session_present { " present" } else { "" }
            )
        }
        _ => name(bytes).to_owned(),
    }
}
