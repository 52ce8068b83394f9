//! What a client may be sent, kept from what the broker has taken from it and given to it, packet by packet. It panics
//! where the broker breaks a rule, and never judges the client.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use columba_core::codec::{ConnAck, Connect, FixedHeader, Packet, PacketType, Publish, QoS, Version};

/// The exchanges towards one client, over its connections.
#[derive(Debug, Default)]
pub(crate) struct Session {
    entries: BTreeMap<u16, Exchange>,
    /// Exchanges may have ended without a word: handed to another member of a group, or too large to be sent again.
    pub(crate) may_forget: bool,
}

#[derive(Clone, Copy, Debug)]
struct Exchange {
    qos: QoS,
    /// PUBREC has come.
    released: bool,
    /// PUBLISH was sent on this connection: it counts for Receive Maximum.
    published: bool,
    /// PUBLISH or PUBREL was sent on this connection, or PUBREC came on it: nothing is to be sent again.
    current: bool,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Conversation {
    /// That of its CONNECT, once there is one.
    pub(crate) version: Option<Version>,
    /// CONNECT was accepted.
    pub(crate) connected: bool,
    /// A refusal or DISCONNECT was sent.
    over: bool,
    clean_start: bool,
    /// It goes on with a session that was there. Kept here, as CONNACK may be taken when another has that session already.
    pub(crate) resumes: bool,
    method: bool,
    maximum_packet_size: Option<usize>,
    pub(crate) receive_maximum: usize,
    alias_maximum: u16,
    aliases: BTreeSet<u16>,
    owed: VecDeque<Owed>,
    /// The client has sent what ends the connection, so that nothing more is owed.
    broken: bool,
}

/// An answer that the broker owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owed {
    packet: PacketType,
    id: u16,
    /// How many reasons it has, where it is an acknowledgement of several things.
    count: usize,
    /// It may be left out.
    optional: bool,
}

impl Session {
    /// The client is back: what is in flight is to be sent again.
    pub(crate) fn restart(&mut self) {
        self.entries.values_mut().for_each(|entry| (entry.published, entry.current) = (false, false));
    }

    /// The client ends an exchange, if it may.
    fn end(&mut self, id: u16, may: impl Fn(&Exchange) -> bool) {
        if self.entries.get(&id).is_some_and(may) {
            self.entries.remove(&id);
        }
    }

    /// Fewer are in flight on this connection than may be.
    pub(crate) fn has_room(&self, quota: usize) -> bool {
        self.entries.values().filter(|entry| entry.current).count() < quota
    }

    /// Nothing that came on an earlier connection is still to be sent again.
    pub(crate) fn is_resent(&self) -> bool {
        self.may_forget || self.entries.values().all(|entry| entry.current)
    }

    fn outstanding(&self) -> usize {
        self.entries.values().filter(|entry| entry.published).count()
    }

    fn publish(&mut self, publish: &Publish<'_>, id: u16) {
        let entry = self.entries.get(&id).copied();
        if publish.dup {
            let entry = entry.expect("DUP is set on a message that is not in flight");
            assert!(!entry.current, "packet identifier {id} is sent twice on one connection");
            assert!(!entry.released, "PUBLISH {id} is sent again after PUBREC");
            assert_eq!(entry.qos, publish.qos, "message {id} is sent again with another QoS");
        } else if let Some(entry) = entry {
            assert!(!entry.current && self.may_forget, "packet identifier {id} is in use: {entry:?}");
        }
        let entry = Exchange { qos: publish.qos, released: false, published: true, current: true };
        self.entries.insert(id, entry);
    }

    /// PUBREL, of the broker's own accord.
    fn resend_release(&mut self, id: u16) {
        let entry = self.entries.get_mut(&id).expect("PUBREL for what is not in flight");
        assert!(entry.released && !entry.current, "an unasked PUBREL {id}: {entry:?}");
        entry.current = true;
    }
}

impl Conversation {
    pub(crate) fn new() -> Self {
        Self {
            version: None,
            connected: false,
            over: false,
            clean_start: false,
            resumes: false,
            method: false,
            maximum_packet_size: None,
            receive_maximum: 65_535,
            alias_maximum: 0,
            aliases: BTreeSet::new(),
            owed: VecDeque::new(),
            broken: false,
        }
    }

    pub(crate) const fn has_maximum_packet_size(&self) -> bool {
        self.maximum_packet_size.is_some()
    }

    /// The broker has taken so many packets, which these bytes begin with.
    pub(crate) fn taken(&mut self, mut bytes: &[u8], count: u64, session: &mut Session) {
        for _ in 0..count {
            let header = FixedHeader::read(bytes, usize::MAX).ok().flatten();
            let header = header.filter(|header| header.total() <= bytes.len());
            let header = header.expect("the broker has counted packets that have not come");
            let (packet, rest) = bytes.split_at(header.total());
            bytes = rest;
            let version = self.version.unwrap_or(Version::V5);
            match Packet::decode(header, &packet[header.len..], version) {
                Ok(Packet::Connect(connect)) if self.version.is_none() => self.connect(&connect),
                Ok(packet) => self.taken_packet(&packet, session),
                Err(_) => self.broken = true,
            }
        }
    }

    fn connect(&mut self, connect: &Connect<'_>) {
        self.version = Some(connect.version);
        let properties = &connect.properties;
        self.clean_start = connect.clean_start;
        self.method = properties.authentication_method.is_some();
        self.maximum_packet_size = properties.maximum_packet_size.map(|size| size.get() as usize);
        self.receive_maximum = properties.receive_maximum.map_or(65_535, |max| max.get().into());
        self.alias_maximum = properties.topic_alias_maximum.unwrap_or(0);
    }

    /// The same for one packet.
    pub(crate) fn taken_packet(&mut self, packet: &Packet<'_>, session: &mut Session) {
        match packet {
            Packet::Publish(publish) => match (publish.qos, publish.packet_id) {
                (QoS::AtLeastOnce, Some(id)) => self.owe(PacketType::PubAck, id.get(), 0),
                (QoS::ExactlyOnce, Some(id)) => self.owe(PacketType::PubRec, id.get(), 0),
                _ => {}
            },
            Packet::PubAck(ack) => session.end(ack.packet_id.get(), |entry| entry.qos == QoS::AtLeastOnce),
            Packet::PubRec(ack) => self.taken_pubrec(ack.packet_id.get(), ack.reason.is_error(), session),
            Packet::PubComp(ack) => session.end(ack.packet_id.get(), |entry| entry.released),
            Packet::PubRel(ack) => self.owe(PacketType::PubComp, ack.packet_id.get(), 0),
            Packet::Subscribe(subscribe) => {
                let shares = |filter: &str| filter.starts_with("$share/");
                session.may_forget |= subscribe.filters.iter().any(|item| shares(item.filter.as_str()));
                self.owe(PacketType::SubAck, subscribe.packet_id.get(), subscribe.filters.len());
            }
            Packet::Unsubscribe(unsubscribe) => {
                self.owe(PacketType::UnsubAck, unsubscribe.packet_id.get(), unsubscribe.filters.len());
            }
            Packet::PingReq => self.owe(PacketType::PingResp, 0, 0),
            Packet::Auth(_) => {}
            _ => self.broken = true,
        }
    }

    fn taken_pubrec(&mut self, id: u16, refuses: bool, session: &mut Session) {
        let entry = session.entries.get_mut(&id);
        let is_known = entry.is_some();
        match entry {
            Some(entry) if !refuses => {
                (entry.released, entry.current) = (entry.qos == QoS::ExactlyOnce, true);
            }
            _ => session.end(id, |entry| entry.qos == QoS::ExactlyOnce),
        }
        // A refusal of what is in flight is the end of it, and has no answer.
        if !(refuses && is_known) || session.may_forget {
            self.owed.push_back(Owed { packet: PacketType::PubRel, id, count: 0, optional: refuses });
        }
    }

    fn owe(&mut self, packet: PacketType, id: u16, count: usize) {
        self.owed.push_back(Owed { packet, id, count, optional: false });
    }

    /// Takes the oldest such debt; `None` if there is none.
    fn pay(&mut self, packet: PacketType, id: u16) -> Option<Owed> {
        let matching = |owed: &&Owed| owed.packet == packet && owed.id == id;
        let oldest = self.owed.iter().filter(matching).find(|owed| !owed.optional);
        let oldest = *oldest.or_else(|| self.owed.iter().find(matching))?;
        let at = self.owed.iter().position(|owed| *owed == oldest)?;
        self.owed.remove(at)
    }

    /// All has been read and nothing moves any more: all that was asked has been answered.
    pub(crate) fn settled(&self) {
        let fits = self.maximum_packet_size.is_none() && !self.broken;
        let late = self.owed.iter().find(|owed| fits && self.connected && !owed.optional);
        assert!(late.is_none(), "not answered: {late:?}");
    }

    /// The broker has sent this packet.
    pub(crate) fn sent<'a>(&mut self, bytes: &'a [u8], session: &mut Session) -> Packet<'a> {
        let packet = self.decode(bytes);
        assert!(!self.over, "a packet after DISCONNECT or a refusal: {packet:?}");
        if let Some(maximum) = self.maximum_packet_size {
            assert!(bytes.len() <= maximum, "larger than {maximum}: {packet:?}");
        }
        match &packet {
            Packet::ConnAck(ack) => self.connack(ack),
            Packet::Auth(_) => assert!(self.method, "AUTH to a client without authentication method"),
            _ => {
                assert!(self.connected, "before CONNACK: {packet:?}");
                self.sent_online(&packet, session);
            }
        }
        packet
    }

    fn connack(&mut self, ack: &ConnAck<'_>) {
        assert!(!self.connected, "a second CONNACK");
        assert!(self.version.is_some() || ack.reason.is_error(), "accepted without CONNECT");
        self.over = ack.reason.is_error();
        self.connected = !self.over;
        // 3.1 does not say.
        let says = self.version > Some(Version::V3_1);
        let is_present = self.connected && self.resumes && says;
        assert_eq!(ack.session_present, is_present, "{ack:?}");
        assert!(!(self.connected && self.clean_start && self.resumes), "a session for a clean start");
    }

    fn sent_online(&mut self, packet: &Packet<'_>, session: &mut Session) {
        let (kind, id, count) = match packet {
            Packet::Disconnect(disconnect) => {
                assert_eq!(self.version, Some(Version::V5), "DISCONNECT from the server");
                assert!(disconnect.session_expiry.is_none() && disconnect.reason.is_error(), "{packet:?}");
                self.over = true;
                return;
            }
            Packet::Publish(publish) => return self.publish(publish, session),
            Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack) => {
                (packet.packet_type(), ack.packet_id.get(), 0)
            }
            Packet::PubRel(ack) => {
                let id = ack.packet_id.get();
                if self.pay(PacketType::PubRel, id).is_none() {
                    session.resend_release(id);
                }
                return;
            }
            Packet::SubAck(ack) => (PacketType::SubAck, ack.packet_id.get(), ack.reasons.len()),
            Packet::UnsubAck(ack) => (PacketType::UnsubAck, ack.packet_id.get(), ack.reasons.len()),
            Packet::PingResp => (PacketType::PingResp, 0, 0),
            other => panic!("a packet that only clients send: {other:?}"),
        };
        let owed = self.pay(kind, id);
        let owed = owed.unwrap_or_else(|| panic!("an answer to nothing: {packet:?}"));
        // UNSUBACK has no reasons before 5.0.
        let has_reasons = kind == PacketType::SubAck || self.version == Some(Version::V5);
        assert!(!has_reasons || owed.count == count, "{count} reasons for {owed:?}");
    }

    fn publish(&mut self, publish: &Publish<'_>, session: &mut Session) {
        match (publish.topic_alias, publish.topic) {
            (None, topic) => assert!(topic.is_some(), "neither topic nor alias: {publish:?}"),
            (Some(alias), topic) => {
                assert!(alias.get() <= self.alias_maximum, "alias {alias} of {}", self.alias_maximum);
                assert!(!self.aliases.insert(alias.get()) || topic.is_some(), "alias {alias} was never set");
            }
        }
        let Some(id) = publish.packet_id else {
            assert!(!publish.dup, "DUP at QoS 0");
            return;
        };
        session.publish(publish, id.get());
        let outstanding = session.outstanding();
        assert!(outstanding <= self.receive_maximum, "{outstanding} of {}", self.receive_maximum);
    }

    fn decode<'a>(&self, bytes: &'a [u8]) -> Packet<'a> {
        let header = FixedHeader::read(bytes, usize::MAX).ok().flatten().expect("a whole packet");
        let decode = |version| Packet::decode(header, &bytes[header.len..], version);
        // A refused CONNECT is answered in what it seemed to be.
        let sniffed = || decode(Version::V5).or_else(|_| decode(Version::V3_1_1));
        match self.version.map_or_else(sniffed, decode) {
            Ok(packet) => packet,
            Err(error) => panic!("the broker sent something that is no packet: {error}: {bytes:02x?}"),
        }
    }
}
