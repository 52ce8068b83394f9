//! A client that keeps the rules of MQTT over any number of connections: it sends again what was not acknowledged and
//! remembers which QoS 2 messages it has. It never judges what it gets; that is for the model, which sees the same bytes.

use std::collections::{BTreeSet, VecDeque};
use std::num::{NonZeroU16, NonZeroU32};

use columba_testkit::codec::{
    Ack, ConnAck, Disconnect, List, MessageProperties, Packet, PacketId, PacketType, Publish, Subscribe,
    SubscribeItem, SubscriptionId, SubscriptionOptions, TopicFilter, Unsubscribe, Will,
};
use columba_testkit::{Client, ReasonCode, Version, World, level, name};

use crate::op::{self, Answer};

/// Messages a client has under way at most. Less than any Receive Maximum of the broker here.
const MOST_UNDER_WAY: u16 = 8;
/// Packet identifiers from here on are for SUBSCRIBE and UNSUBSCRIBE.
const FIRST_REQUEST_ID: u16 = 100;

/// A client, with whatever connection it has.
pub(crate) struct Agent {
    pub(crate) id: String,
    version: Version,
    connection: Option<Connection>,
    /// Connections the client has forgotten about.
    forgotten: Vec<Client>,
    /// Published and not acknowledged, in order.
    outgoing: Vec<Outgoing>,
    /// Identifiers of QoS 2 messages that came and were not released.
    unreleased: BTreeSet<PacketId>,
    answer: Answer,
    next_request: u16,
}

struct Connection {
    client: Client,
    /// The number of its link.
    link: usize,
    accepted: bool,
    stalled: bool,
    chunk: usize,
    session_expiry: u32,
    clean: bool,
    aliases_allowed: u16,
    /// Topics by alias; the first is 1.
    aliases: Vec<&'static str>,
    /// Acknowledgements that are held back.
    owed: VecDeque<(PacketType, PacketId)>,
}

#[derive(Clone, Debug)]
struct Outgoing {
    id: PacketId,
    publish: op::Publish,
    /// PUBREC has come.
    received: bool,
}

impl Agent {
    pub(crate) fn new(number: usize, version: Version) -> Self {
        Self {
            id: format!("c{number}"),
            version,
            connection: None,
            forgotten: Vec::new(),
            outgoing: Vec::new(),
            unreleased: BTreeSet::new(),
            answer: Answer::Promptly,
            next_request: FIRST_REQUEST_ID,
        }
    }

    /// Opens a connection, which becomes link number `link`, and sends CONNECT.
    pub(crate) fn connect(&mut self, world: &World, link: usize, connect: &op::Connect) {
        self.forget();
        let v5 = self.version == Version::V5;
        let client = world.open(&self.id, self.version);
        let mut packet = columba_testkit::codec::Connect::new(self.version, &self.id);
        packet.clean_start = connect.clean;
        packet.keep_alive = connect.keep_alive;
        let payload = connect.will.as_ref().map(|will| payload(will.message, 0)).unwrap_or_default();
        packet.will = connect.will.as_ref().map(|will| Will {
            topic: name(will.topic),
            payload: &payload,
            qos: level(will.qos),
            retain: will.retain,
            delay: will.delay.filter(|_| v5),
            properties: MessageProperties {
                message_expiry: will.expiry.filter(|_| v5),
                ..MessageProperties::default()
            },
        });
        if v5 {
            packet.properties.session_expiry = connect.session_expiry;
            packet.properties.receive_maximum = connect.receive_maximum.and_then(NonZeroU16::new);
            packet.properties.maximum_packet_size = connect.maximum_packet_size.and_then(NonZeroU32::new);
            packet.properties.topic_alias_maximum = Some(connect.alias_maximum);
        }
        let packet = Packet::Connect(Box::new(packet));
        let connection = Connection {
            client,
            link,
            accepted: false,
            stalled: false,
            chunk: connect.chunk,
            session_expiry: connect.session_expiry.unwrap_or(0),
            clean: connect.clean,
            aliases_allowed: 0,
            aliases: Vec::new(),
            owed: VecDeque::new(),
        };
        connection.send(&packet);
        self.connection = Some(connection);
    }

    /// The connection stays as it is, and the client knows nothing of it any more.
    pub(crate) fn forget(&mut self) {
        self.forgotten.extend(self.connection.take().map(|connection| connection.client));
    }

    /// The same, and nothing is read there any more.
    pub(crate) fn vanish(&mut self) -> Option<usize> {
        let link = self.stall(true);
        self.forget();
        link
    }

    pub(crate) fn cut(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.client.drop_link();
        }
    }

    /// Ends all connections it has forgotten.
    pub(crate) fn cut_forgotten(&mut self) {
        for client in self.forgotten.drain(..) {
            client.resume();
            client.drop_link();
        }
    }

    /// Returns the link it is about.
    pub(crate) fn stall(&mut self, stalled: bool) -> Option<usize> {
        let connection = self.connection.as_mut()?;
        connection.stalled = stalled;
        if stalled {
            connection.client.stall();
        } else {
            connection.client.resume();
        }
        Some(connection.link)
    }

    pub(crate) fn disconnect(&mut self, with_will: bool, session_expiry: Option<u32>) {
        let Some(connection) = self.connection.as_ref().filter(|connection| connection.accepted) else {
            return;
        };
        let mut packet = Disconnect::new(ReasonCode::Success);
        if self.version == Version::V5 {
            if with_will {
                packet.reason = ReasonCode::DisconnectWithWill;
            }
            // A session that was to end with the connection cannot be prolonged (§ 3.14.2.2.2).
            packet.session_expiry = session_expiry.filter(|_| connection.session_expiry > 0);
        }
        connection.send(&Packet::Disconnect(packet));
        self.cut();
    }

    pub(crate) fn publish(&mut self, publish: &op::Publish) {
        let Some(connection) = self.connection.as_mut().filter(|connection| connection.accepted) else {
            return;
        };
        if publish.qos == 0 {
            return connection.publish(self.version, publish, None, false);
        }
        let used = |id: u16| self.outgoing.iter().any(|message| message.id.get() == id);
        let free = (1..=MOST_UNDER_WAY).find(|&id| !used(id)).and_then(PacketId::new);
        if let Some(id) = free {
            self.outgoing.push(Outgoing { id, publish: publish.clone(), received: false });
            connection.publish(self.version, publish, Some(id), false);
        }
    }

    pub(crate) fn subscribe(&mut self, id: Option<u32>, filters: &[op::Filter]) {
        let packet_id = self.request_id();
        let items: Vec<_> = filters
            .iter()
            .map(|item| {
                let mut options =
                    SubscriptionOptions { qos: level(item.qos), ..SubscriptionOptions::default() };
                if self.version == Version::V5 {
                    options.no_local = item.no_local;
                    options.retain_as_published = item.retain_as_published;
                    options.retain_handling = item.retain_handling;
                }
                SubscribeItem { filter: filter(item.text), options }
            })
            .collect();
        let subscription_id = id.filter(|_| self.version == Version::V5).and_then(SubscriptionId::new);
        self.send(&Packet::Subscribe(Subscribe {
            packet_id,
            subscription_id,
            user_properties: List::EMPTY,
            filters: List::from_slice(&items),
        }));
    }

    pub(crate) fn unsubscribe(&mut self, text: &str) {
        let packet_id = self.request_id();
        let filters = [filter(text)];
        self.send(&Packet::Unsubscribe(Unsubscribe {
            packet_id,
            user_properties: List::EMPTY,
            filters: List::from_slice(&filters),
        }));
    }

    pub(crate) fn ping(&self) {
        self.send(&Packet::PingReq);
    }

    /// From here on it acknowledges like this. What it owes is sent as far as that means at once.
    pub(crate) fn answer(&mut self, how: Answer) {
        self.answer = how;
        if how != Answer::Later {
            self.acknowledge(usize::MAX, false);
        }
    }

    /// Sends acknowledgements that it owes.
    pub(crate) fn acknowledge(&mut self, count: usize, latest: bool) {
        let with_error = self.answer == Answer::WithError && self.version == Version::V5;
        let Some(connection) = &mut self.connection else { return };
        for _ in 0..count {
            let next = if latest { connection.owed.pop_back() } else { connection.owed.pop_front() };
            let Some((kind, id)) = next else { return };
            let mut ack = Ack::new(id);
            if with_error && matches!(kind, PacketType::PubAck | PacketType::PubRec) {
                ack.reason = ReasonCode::UnspecifiedError;
            }
            connection.send(&match kind {
                PacketType::PubAck => Packet::PubAck(ack),
                PacketType::PubRec => {
                    if ack.reason.is_error() {
                        self.unreleased.remove(&id);
                    }
                    Packet::PubRec(ack)
                }
                _ => Packet::PubComp(ack),
            });
        }
    }

    /// Takes what has come, after `before`; false if that is nothing.
    pub(crate) fn read(&mut self, before: impl Fn()) -> bool {
        let mut busy = false;
        while let Some(received) = self.next() {
            if !busy {
                before();
            }
            busy = true;
            self.take(&received.packet());
        }
        // A connection that the broker has closed.
        if self.connection.as_ref().is_some_and(|connection| !connection.client.is_open()) {
            self.connection = None;
        }
        busy
    }

    /// It has a connection that is accepted.
    pub(crate) fn is_online(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.accepted)
    }

    /// What it has published and the broker has not acknowledged.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.outgoing.len()
    }

    fn next(&self) -> Option<columba_testkit::Received> {
        let connection = self.connection.as_ref().filter(|connection| !connection.stalled)?;
        connection.client.try_next()
    }

    fn take(&mut self, packet: &Packet<'_>) {
        match packet {
            Packet::ConnAck(ack) => self.accepted(ack),
            Packet::Publish(publish) => {
                let Some(id) = publish.packet_id else { return };
                let exactly_once = publish.qos == level(2);
                if exactly_once {
                    self.unreleased.insert(id);
                }
                self.owe(if exactly_once { PacketType::PubRec } else { PacketType::PubAck }, id);
            }
            Packet::PubRel(ack) => {
                self.unreleased.remove(&ack.packet_id);
                self.owe(PacketType::PubComp, ack.packet_id);
            }
            Packet::PubRec(ack) if !ack.reason.is_error() => {
                for message in self.outgoing.iter_mut().filter(|message| message.id == ack.packet_id) {
                    message.received = true;
                }
                self.send(&Packet::PubRel(Ack::new(ack.packet_id)));
            }
            Packet::PubAck(ack) | Packet::PubComp(ack) | Packet::PubRec(ack) => {
                self.outgoing.retain(|message| message.id != ack.packet_id);
            }
            _ => {}
        }
    }

    /// The session goes on or begins: what was not acknowledged is sent again, or forgotten.
    fn accepted(&mut self, ack: &ConnAck<'_>) {
        let Some(connection) = &mut self.connection else { return };
        connection.accepted = true;
        if self.version == Version::V5 {
            connection.aliases_allowed = ack.properties.topic_alias_maximum.unwrap_or(0);
        }
        // MQTT 3.1 does not say whether there was a session.
        let goes_on = !connection.clean && (ack.session_present || self.version == Version::V3_1);
        if !goes_on {
            self.outgoing.clear();
            self.unreleased.clear();
        }
        for message in &self.outgoing {
            if message.received {
                connection.send(&Packet::PubRel(Ack::new(message.id)));
            } else {
                connection.publish(self.version, &message.publish, Some(message.id), true);
            }
        }
    }

    fn owe(&mut self, kind: PacketType, id: PacketId) {
        if let Some(connection) = &mut self.connection {
            connection.owed.push_back((kind, id));
        }
        if self.answer != Answer::Later {
            self.acknowledge(usize::MAX, false);
        }
    }

    fn send(&self, packet: &Packet<'_>) {
        if let Some(connection) = self.connection.as_ref().filter(|connection| connection.accepted) {
            connection.send(packet);
        }
    }

    const fn request_id(&mut self) -> PacketId {
        self.next_request += 1;
        PacketId::new(self.next_request).expect("scripts are not that long")
    }
}

impl Connection {
    fn publish(&mut self, version: Version, publish: &op::Publish, id: Option<PacketId>, dup: bool) {
        let payload = payload(publish.message, publish.padding);
        let mut packet = Publish::new(name(publish.topic), &payload);
        packet.qos = level(publish.qos);
        packet.packet_id = id;
        packet.dup = dup;
        packet.retain = publish.retain;
        if version == Version::V5 {
            packet.properties.message_expiry = publish.expiry;
            if publish.alias {
                self.use_alias(&mut packet, publish.topic);
            }
        }
        self.send(&Packet::Publish(packet));
    }

    fn use_alias(&mut self, packet: &mut Publish<'_>, topic: &'static str) {
        let known = self.aliases.iter().position(|&other| other == topic);
        if known.is_some() {
            packet.topic = None;
        } else if self.aliases.len() < usize::from(self.aliases_allowed) {
            self.aliases.push(topic);
        } else {
            return;
        }
        let alias = known.map_or(self.aliases.len(), |at| at + 1);
        packet.topic_alias = u16::try_from(alias).ok().and_then(NonZeroU16::new);
    }

    fn send(&self, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(self.client.version(), &mut bytes).expect("what clients send can be encoded");
        match self.chunk {
            0 => self.client.send_bytes(&bytes),
            chunk => bytes.chunks(chunk).for_each(|bytes| self.client.send_bytes(bytes)),
        }
    }
}

/// What tells a message from others, with so much beyond it; number 0 is nothing at all.
pub(crate) fn payload(message: u32, padding: usize) -> Vec<u8> {
    if message == 0 {
        return Vec::new();
    }
    format!("m{message}{:.<padding$}", "").into_bytes()
}

fn filter(text: &str) -> TopicFilter<'_> {
    TopicFilter::parse(text).expect("scripts have filters that can be parsed")
}
