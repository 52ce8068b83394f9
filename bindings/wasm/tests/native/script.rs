//! A client whose server is the test.

use std::num::NonZeroU16;

use columba_codec::{
    Ack, ConnAck, ConnAckProperties, Packet, PacketId, Publish, QoS, ReasonCode, TopicName, Version,
};
use columba_core::{Flow, Time};
use columba_wasm::client::{Client, ClientEvent, ClientOptions, DisconnectReason, State};

use crate::world::{name, split};

/// A client, and what it has sent.
pub(crate) struct Script {
    pub(crate) client: Client,
    pub(crate) now: Time,
    version: Version,
}

impl Script {
    /// Connected, without a session at the server.
    pub(crate) fn connected(options: ClientOptions) -> Self {
        Self::connected_with(options, false, |_| ())
    }

    pub(crate) fn connected_with(
        options: ClientOptions,
        session_present: bool,
        adjust: impl FnOnce(&mut ConnAckProperties<'_>),
    ) -> Self {
        let mut script = Self::opened(options);
        script.accept(session_present, adjust);
        script
    }

    /// CONNECT is sent.
    pub(crate) fn opened(options: ClientOptions) -> Self {
        let version = options.version;
        let client = Client::new(options).expect("the options are good");
        let mut script = Self { client, now: Time::from_secs(50), version };
        script.open();
        script
    }

    pub(crate) fn open(&mut self) {
        self.client.open(self.now);
        assert_eq!(self.sent(), ["CONNECT"]);
    }

    pub(crate) fn accept(&mut self, session_present: bool, adjust: impl FnOnce(&mut ConnAckProperties<'_>)) {
        let mut properties = ConnAckProperties::default();
        adjust(&mut properties);
        let reason = ReasonCode::Success;
        self.say(&Packet::ConnAck(Box::new(ConnAck { session_present, reason, properties })));
        assert_eq!(self.client.state(), State::Online);
        assert!(matches!(self.client.poll_event(), Some(ClientEvent::Connected { .. })));
    }

    /// The session goes on, and what happened before is of no interest.
    pub(crate) fn accept_again(&mut self) {
        self.events();
        self.accept(true, |_| ());
    }

    /// The server sends a packet.
    pub(crate) fn say(&mut self, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes).expect("the test sends what can be encoded");
        self.client.receive(self.now, &bytes);
    }

    /// The server publishes.
    pub(crate) fn publish(&mut self, topic: &str, qos: QoS, id: u16, adjust: impl FnOnce(&mut Publish<'_>)) {
        let mut publish = Publish::new(TopicName::parse(topic).expect("a topic"), b"x");
        publish.qos = qos;
        publish.packet_id = PacketId::new(id);
        adjust(&mut publish);
        self.say(&Packet::Publish(publish));
    }

    pub(crate) fn puback(&mut self, id: u16) {
        self.say(&Packet::PubAck(ack(id)));
    }

    /// What the client has sent since, packet by packet.
    pub(crate) fn packets(&mut self) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        while self.client.poll_transmit(self.now, &mut out) == Flow::More {}
        let mut rest = &out[..];
        let mut packets = Vec::new();
        while let Some((packet, after)) = split(rest) {
            rest = after;
            packets.push(packet.to_vec());
        }
        packets
    }

    /// The names of what the client has sent since, with DUP and identifiers of PUBLISH, and reason codes that are errors.
    pub(crate) fn sent(&mut self) -> Vec<String> {
        let version = self.version;
        self.packets().iter().map(|bytes| short(version, bytes)).collect()
    }

    pub(crate) fn events(&mut self) -> Vec<ClientEvent> {
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }

    /// The client has ended the connection because of a fault with this reason, and tells the server in MQTT 5.
    #[track_caller]
    pub(crate) fn expect_fault(&mut self, reason: ReasonCode) {
        let events = self.events();
        let ended = events.iter().find_map(|event| match event {
            ClientEvent::Disconnected { reason: DisconnectReason::Fault(fault), .. } => Some(fault.reason),
            _ => None,
        });
        assert_eq!(ended, Some(reason), "{events:?}");
        let sent = self.sent();
        if self.version == Version::V5 {
            assert_eq!(sent.last().map(String::as_str), Some(&*format!("DISCONNECT {:02x}", reason.code())));
        }
        assert_eq!(self.client.poll_transmit(self.now, &mut Vec::new()), Flow::Close);
        self.client.close(self.now);
        assert_eq!(self.client.state(), State::Offline);
        assert!(self.client.poll_event().is_none(), "one end is enough");
    }
}

pub(crate) fn ack(id: u16) -> Ack<'static> {
    Ack::new(PacketId::new(id).expect("not 0"))
}

pub(crate) fn alias(alias: u16) -> Option<NonZeroU16> {
    NonZeroU16::new(alias)
}

fn short(version: Version, bytes: &[u8]) -> String {
    let header = columba_codec::FixedHeader::read(bytes, usize::MAX).unwrap().unwrap();
    let packet = Packet::decode(header, &bytes[header.len..], version).expect("well-formed");
    let code = |reason: ReasonCode| {
        if reason.is_error() { format!(" {:02x}", reason.code()) } else { String::new() }
    };
    let rest = match packet {
        Packet::Publish(publish) => {
            let id = publish.packet_id.map_or(String::new(), |id| format!(" #{id}"));
            let topic = publish.topic.map_or("", TopicName::as_str);
            let alias = publish.topic_alias.map_or(String::new(), |alias| format!(" alias {alias}"));
            format!(" {topic}{id}{alias}{}", if publish.dup { " dup" } else { "" })
        }
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            format!(" #{}{}", ack.packet_id, code(ack.reason))
        }
        Packet::Disconnect(packet) => code(packet.reason),
        _ => String::new(),
    };
    format!("{}{rest}", name(bytes))
}
