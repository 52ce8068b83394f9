//! Rules that hold for everything a broker sends, whatever a test is about. Every packet is held against them, so that
//! no test has to.

use std::collections::{BTreeMap, BTreeSet};

use columba_codec::{FixedHeader, Packet, Publish, QoS, Version};

use crate::words::describe;

/// What one client may be sent.
#[derive(Debug)]
pub(crate) struct Promises {
    version: Version,
    connected: bool,
    resumed: bool,
    over: bool,
    maximum_packet_size: usize,
    receive_maximum: usize,
    alias_maximum: u16,
    aliases: BTreeMap<u16, String>,
    /// Packet identifiers of messages that came on this connection and are not over.
    unfinished: BTreeSet<u16>,
    /// What the client has sent is understood, and so what it may be sent.
    follows: bool,
}

impl Promises {
    pub(crate) fn new(version: Version) -> Self {
        Self {
            version,
            connected: false,
            resumed: false,
            over: false,
            maximum_packet_size: usize::MAX,
            receive_maximum: 65_535,
            alias_maximum: 0,
            aliases: BTreeMap::new(),
            unfinished: BTreeSet::new(),
            follows: true,
        }
    }

    /// The client sends these bytes, one packet or whatever.
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        let header = FixedHeader::read(bytes, usize::MAX).ok().flatten();
        let whole = header.filter(|header| header.total() == bytes.len());
        let packet = whole.and_then(|header| Packet::decode(header, &bytes[header.len..], self.version).ok());
        let Some(packet) = packet else {
            // There may be acknowledgements in it: from here on nobody knows what is finished.
            self.follows = false;
            return;
        };
        match &packet {
            Packet::Connect(connect) if !self.connected => {
                let properties = &connect.properties;
                self.maximum_packet_size =
                    properties.maximum_packet_size.map_or(usize::MAX, |size| size.get() as usize);
                self.receive_maximum = properties.receive_maximum.map_or(65_535, |max| max.get().into());
                self.alias_maximum = properties.topic_alias_maximum.unwrap_or(0);
            }
            Packet::PubAck(ack) | Packet::PubComp(ack) => {
                self.unfinished.remove(&ack.packet_id.get());
            }
            Packet::PubRec(ack) if ack.reason.is_error() => {
                self.unfinished.remove(&ack.packet_id.get());
            }
            _ => {}
        }
    }

    /// The broker has sent this packet of `len` bytes; the rule it breaks, if it breaks one.
    pub(crate) fn received(&mut self, packet: &Packet<'_>, len: usize) -> Result<(), String> {
        let wrong = |text: &str| Err(format!("{}: {text}", describe(packet)));
        if len > self.maximum_packet_size {
            return wrong("larger than the client's Maximum Packet Size [MQTT-3.1.2-24]");
        }
        if self.over {
            return wrong("a packet after DISCONNECT or a refusal [MQTT-3.14.4-1]");
        }
        match packet {
            Packet::ConnAck(_) if self.connected => return wrong("a second CONNACK [MQTT-3.2.0-2]"),
            Packet::ConnAck(ack) => {
                self.connected = !ack.reason.is_error();
                // 3.1 does not say.
                self.resumed = ack.session_present || self.version == Version::V3_1;
                self.over = ack.reason.is_error();
            }
            Packet::Auth(_) if self.version == Version::V5 => {}
            _ if !self.connected => return wrong("a packet before CONNACK [MQTT-3.2.0-1]"),
            Packet::Disconnect(disconnect) => {
                if self.version < Version::V5 {
                    return wrong("before 5.0 a server has no DISCONNECT");
                }
                if disconnect.session_expiry.is_some() {
                    return wrong("session expiry from the server [MQTT-3.14.2-2]");
                }
                self.over = true;
            }
            Packet::Publish(publish) => {
                if let Err(problem) = self.publish(publish) {
                    return wrong(&problem);
                }
            }
            Packet::Connect(_) | Packet::Subscribe(_) | Packet::Unsubscribe(_) | Packet::PingReq => {
                return wrong("a packet that only clients send");
            }
            _ => {}
        }
        Ok(())
    }

    fn publish(&mut self, publish: &Publish<'_>) -> Result<(), String> {
        if let Some(alias) = publish.topic_alias {
            if alias.get() > self.alias_maximum {
                return Err("alias above the client's Topic Alias Maximum [MQTT-3.3.2-11]".into());
            }
            match publish.topic {
                Some(topic) => {
                    self.aliases.insert(alias.get(), topic.to_string());
                }
                None if self.aliases.contains_key(&alias.get()) => {}
                None => return Err("an alias that was never set [MQTT-3.3.2-7]".into()),
            }
        }
        let Some(id) = publish.packet_id else { return Ok(()) };
        if publish.qos == QoS::AtMostOnce && publish.dup {
            return Err("DUP at QoS 0 [MQTT-3.3.1-2]".into());
        }
        if publish.dup && !self.resumed {
            return Err("DUP without a session to go on with [MQTT-3.3.1-3]".into());
        }
        if !self.unfinished.insert(id.get()) && self.follows {
            // Also covers messages sent again on a live connection [MQTT-4.4.0-1].
            return Err("a packet identifier in use [MQTT-2.2.1-4]".into());
        }
        if self.unfinished.len() > self.receive_maximum && self.follows {
            return Err("more than the client's Receive Maximum [MQTT-3.3.4-9]".into());
        }
        Ok(())
    }
}
