//! A broker whose clients are always there, read all and acknowledge all.

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;
use columba_core::codec::{
    Ack, Connect, FixedHeader, Packet, Publish, QoS, ReasonCode, SubscriptionId, TopicName, Version,
};
use columba_core::{Chunks, CloseCause, Config, ConnectionKey, Core, Flow, Intake, Peer, Seed, Time};

use crate::world::print;

pub(crate) const CLIENTS: usize = 4;

const NAMES: [&str; CLIENTS] = ["0", "1", "2", "3"];
/// Turns after which a loop of the shell does not end.
const MAX_TURNS: usize = 10_000;

pub(crate) struct Bus {
    pub(crate) core: Core,
    links: Vec<Link>,
}

struct Link {
    key: ConnectionKey,
    /// What its aliases stand for.
    aliases: BTreeMap<u16, String>,
}

/// A message as a client got it, or as it was published.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Delivery {
    pub(crate) client: usize,
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) ids: BTreeSet<u32>,
}

impl Bus {
    pub(crate) fn new() -> Self {
        let core = Core::new(Config::default(), Seed::from(1));
        let mut bus = Self { core, links: Vec::new() };
        for client in 0..CLIENTS {
            let link = bus.connect(client);
            bus.links.push(link);
            let _ = bus.drain();
        }
        bus
    }

    pub(crate) const fn id(client: usize) -> &'static str {
        NAMES[client]
    }

    /// The client takes its own place, and begins anew.
    pub(crate) fn reconnect(&mut self, client: usize) {
        self.links[client] = self.connect(client);
        let _ = self.drain();
    }

    /// Sends a packet and returns the reasons in the answers to it, and all messages that somebody got.
    pub(crate) fn call(&mut self, client: usize, packet: &Packet<'_>) -> (Vec<ReasonCode>, Vec<Delivery>) {
        print(|| format!("{client} -> {packet:?}"));
        self.send(self.links[client].key, packet);
        self.drain()
    }

    fn connect(&mut self, client: usize) -> Link {
        let key = self.core.open(Time::ZERO, Peer::default());
        let mut connect = Connect::new(Version::V5, Self::id(client));
        connect.clean_start = true;
        // None, few, enough.
        connect.properties.topic_alias_maximum = [None, Some(1), Some(3), Some(100)][client];
        self.send(key, &Packet::Connect(Box::new(connect)));
        Link { key, aliases: BTreeMap::new() }
    }

    fn send(&mut self, key: ConnectionKey, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(Version::V5, &mut bytes).expect("the script sends what can be encoded");
        let mut input = BytesMut::from(&bytes[..]);
        assert_eq!(self.core.receive(Time::ZERO, key, &mut input), Intake::Open, "{packet:?}");
    }

    fn drain(&mut self) -> (Vec<ReasonCode>, Vec<Delivery>) {
        let (mut reasons, mut deliveries) = (Vec::new(), Vec::new());
        for _ in 0..MAX_TURNS {
            while self.core.poll_event().is_some() {}
            let Some(key) = self.core.poll_ready() else { return (reasons, deliveries) };
            let mut out = Chunks::new();
            let flow = self.core.poll_transmit(Time::ZERO, key, &mut out);
            if flow == Flow::Close {
                // It has been taken over.
                self.core.close(Time::ZERO, key, CloseCause::Asked);
            }
            if let Some(client) = self.links.iter().position(|link| link.key == key) {
                assert_eq!(flow, Flow::Idle);
                self.take(client, &out.to_vec(), &mut reasons, &mut deliveries);
            }
        }
        panic!("there is always something to do");
    }

    fn take(
        &mut self,
        client: usize,
        mut bytes: &[u8],
        reasons: &mut Vec<ReasonCode>,
        deliveries: &mut Vec<Delivery>,
    ) {
        while !bytes.is_empty() {
            let header = FixedHeader::read(bytes, usize::MAX).ok().flatten().expect("a whole packet");
            let (packet, rest) = bytes.split_at(header.total());
            bytes = rest;
            let packet = Packet::decode(header, &packet[header.len..], Version::V5).expect("a packet");
            print(|| format!("{client} <- {packet:?}"));
            match packet {
                Packet::Publish(publish) => deliveries.push(self.delivery(client, &publish)),
                Packet::PubAck(ack) => reasons.push(ack.reason),
                Packet::SubAck(ack) => reasons.extend(&ack.reasons),
                Packet::UnsubAck(ack) => reasons.extend(&ack.reasons),
                Packet::ConnAck(ack) => assert_eq!(ack.reason, ReasonCode::Success),
                other => panic!("nobody has asked for {other:?}"),
            }
        }
    }

    /// A message has come, and is acknowledged.
    fn delivery(&mut self, client: usize, publish: &Publish<'_>) -> Delivery {
        let link = &mut self.links[client];
        let alias = publish.topic_alias.map(std::num::NonZeroU16::get);
        if let (Some(alias), Some(topic)) = (alias, publish.topic) {
            link.aliases.insert(alias, topic.to_string());
        }
        let known = alias.and_then(|alias| link.aliases.get(&alias)).map(String::as_str);
        let topic = publish.topic.map(TopicName::as_str).or(known).expect("a topic or a known alias");
        let delivery = Delivery {
            client,
            topic: topic.to_owned(),
            payload: publish.payload.to_vec(),
            qos: publish.qos,
            retain: publish.retain,
            ids: publish.subscription_ids.iter().map(SubscriptionId::get).collect(),
        };
        assert_eq!(publish.packet_id.is_some(), publish.qos == QoS::AtLeastOnce);
        if let Some(id) = publish.packet_id {
            let key = link.key;
            assert!(!publish.dup);
            self.send(key, &Packet::PubAck(Ack::new(id)));
        }
        delivery
    }
}
