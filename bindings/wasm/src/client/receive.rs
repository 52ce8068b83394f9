//! Packets from the server, one at a time, and the acknowledgements that answer them.

use std::borrow::Cow;

use bytes::Bytes;
use columba_codec::{
    Ack, Auth, ConnAck, DecodeError, FixedHeader, Packet, PacketId, PacketType, Publish, QoS, ReasonCode,
    TopicName, Version, packet::encode_ack,
};
use columba_core::{Fault, Time};

use super::event::{AckError, ClientEvent, DisconnectReason};
use super::incoming::{Arrival, Release};
use super::message::{AckId, Message, RawPacket};
use super::outgoing::Acked;
use super::requests::Kind;
use super::server::Server;
use super::{Client, Exchange, State, fault};

impl Client {
    /// Acknowledges a message, where [`ClientOptions::manual_acks`](super::ClientOptions::manual_acks) says that it waits for
    /// it. Acknowledgements go in the order of the messages, so this one may wait for those before it. An error refuses the
    /// message; before MQTT 5 nobody learns that.
    ///
    /// # Errors
    /// The message does not wait for it, or this is no reason code for it.
    pub fn acknowledge(&mut self, now: Time, ack: AckId, reason: ReasonCode) -> Result<(), AckError> {
        self.note(now);
        if !reason.is_valid_in(PacketType::PubAck) {
            return Err(AckError::ReasonCode(reason));
        }
        if !self.incoming.acknowledge(ack, reason) {
            return Err(AckError::Stale);
        }
        self.send_acks();
        Ok(())
    }

    /// The message is not taken after all, and never acknowledged: when the server sends it again, on the next connection, it
    /// comes as a new one. Until then nothing that came after it is acknowledged either. With manual acknowledgements.
    pub fn decline(&mut self, ack: AckId) {
        self.incoming.decline(ack);
    }

    /// One whole packet.
    pub(super) fn frame(&mut self, header: FixedHeader, frame: Cow<'_, [u8]>) {
        let result = match (self.state, header.packet_type) {
            (State::Connecting, PacketType::ConnAck | PacketType::Auth) => self.packet(header, &frame),
            (State::Connecting, _) => Err(broken("another packet came before CONNACK")),
            (_, PacketType::Publish) => self.publish_came(header, frame),
            _ => self.packet(header, &frame),
        };
        if let Err(fault) = result {
            self.fail(fault);
        }
    }

    fn packet(&mut self, header: FixedHeader, frame: &[u8]) -> Result<(), Fault> {
        let version = self.options.version;
        let decoded = Packet::decode(header, &frame[header.len..], version);
        let raw = || RawPacket::new(version, Bytes::copy_from_slice(frame));
        match decoded.map_err(|error| malformed(&error))? {
            Packet::ConnAck(packet) => return self.connack(&packet, raw()),
            Packet::PubAck(ack) => {
                let acked = self.outgoing.puback(ack.packet_id);
                return self.acknowledged(acked, ack.reason, "PUBACK for a message that is not at QoS 1");
            }
            Packet::PubRec(ack) => return self.pubrec(&ack),
            Packet::PubRel(ack) => return self.pubrel(ack.packet_id),
            Packet::PubComp(ack) => {
                let (acked, reason) = self.outgoing.pubcomp(ack.packet_id);
                return self.acknowledged(acked, reason, "PUBCOMP before PUBREL");
            }
            Packet::SubAck(ack) => {
                let codes = Some(ack.reasons.iter().collect());
                if !self.answered(Kind::Subscribe, ack.packet_id, codes) {
                    return Err(broken("SUBACK that answers no SUBSCRIBE"));
                }
            }
            Packet::UnsubAck(ack) => {
                let codes = (version == Version::V5).then(|| ack.reasons.iter().collect());
                if !self.answered(Kind::Unsubscribe, ack.packet_id, codes) {
                    return Err(broken("UNSUBACK that answers no UNSUBSCRIBE"));
                }
            }
            Packet::PingResp => self.pinged = None,
            Packet::Disconnect(packet) if version == Version::V5 => {
                self.end(DisconnectReason::Server(packet.reason), Some(raw()));
            }
            Packet::Auth(packet) => {
                self.auth_came(&packet)?;
                self.events.push_back(ClientEvent::Auth { packet: raw() });
            }
            Packet::Connect(_)
            | Packet::Publish(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq
            | Packet::Disconnect(_) => return Err(broken("a packet came that only clients send")),
        }
        Ok(())
    }

    fn connack(&mut self, packet: &ConnAck<'_>, raw: RawPacket) -> Result<(), Fault> {
        if self.state != State::Connecting {
            return Err(broken("a second CONNACK"));
        }
        if packet.reason.is_error() {
            self.end(DisconnectReason::Refused(packet.reason), Some(raw));
            return Ok(());
        }
        if packet.session_present && self.options.clean_start {
            // [MQTT-3.2.2-4]
            return Err(broken("a session is present after a clean start"));
        }
        self.server = Server::from_properties(&self.options, &packet.properties);
        if let Some(id) = packet.properties.assigned_client_id
            && self.options.client_id.is_empty()
        {
            // [MQTT-3.2.2-16]
            self.options.client_id = id.into();
        }
        self.state = State::Online;
        self.exchange = Exchange::Nobody;
        let session_present = packet.session_present;
        self.events.push_back(ClientEvent::Connected { session_present, packet: raw });
        // 3.1 cannot say whether there is a session. To go on with one that is gone costs less than to begin anew in one that
        // is there.
        let is_unknown = self.options.version == Version::V3_1 && !self.options.clean_start;
        if session_present || is_unknown {
            self.resume();
        } else {
            self.discard();
        }
        self.send_requests(0);
        self.pump();
        Ok(())
    }

    /// The session goes on: what was released is released again, and what was published will be published again
    /// [MQTT-4.4.0-1].
    fn resume(&mut self) {
        let Self { outgoing, out, options, .. } = self;
        for id in outgoing.released() {
            // [MQTT-4.6.0-4]
            encode_ack(PacketType::PubRel, id, ReasonCode::Success, options.version, out);
        }
    }

    /// The session begins, so this half of it does too [MQTT-3.2.2-5].
    fn discard(&mut self) {
        self.incoming.discard();
        for (token, reason) in self.outgoing.discard() {
            self.events.push_back(ClientEvent::Published { token, outcome: Ok(reason) });
        }
    }

    fn publish_came(&mut self, header: FixedHeader, frame: Cow<'_, [u8]>) -> Result<(), Fault> {
        let version = self.options.version;
        let packet = Publish::decode(header.flags, &frame[header.len..], version);
        let packet = packet.map_err(|error| malformed(&error))?;
        let (qos, id) = (packet.qos, packet.packet_id);
        let topic = self.topic_of(&packet)?;
        // Before MQTT 5 the server knows of no maximum, and only the identifiers come to an end.
        let maximum = self.options.receive_maximum.filter(|_| version == Version::V5);
        let maximum = maximum.map_or(u16::MAX, Into::into);
        let arrival = match (qos, id) {
            (QoS::AtLeastOnce, Some(id)) => Some(self.incoming.at_least_once(id, maximum)),
            (QoS::ExactlyOnce, Some(id)) => Some(self.incoming.exactly_once(id, maximum)),
            _ => None,
        };
        let ack = match arrival {
            None => None,
            Some(Arrival::New(ack)) => Some(ack),
            Some(Arrival::Again) => {
                self.send_acks();
                return Ok(());
            }
            Some(Arrival::TooMany) if version == Version::V5 => {
                // [MQTT-3.3.4-9]
                let text = "more messages are unacknowledged than Receive Maximum";
                return Err(fault(ReasonCode::ReceiveMaximumExceeded, text));
            }
            Some(Arrival::TooMany) => {
                return Err(broken("more messages are unacknowledged than there are identifiers"));
            }
        };
        let raw = RawPacket::new(version, frame.into_owned().into());
        self.events.push_back(ClientEvent::Message(Message::new(raw, topic, ack)));
        if let Some(ack) = ack
            && !self.options.manual_acks
        {
            self.incoming.acknowledge(ack, ReasonCode::Success);
            self.send_acks();
        }
        Ok(())
    }

    /// The topic of a PUBLISH that has only an alias; sets the alias of one that has both.
    fn topic_of(&mut self, packet: &Publish<'_>) -> Result<Option<Box<str>>, Fault> {
        let Some(alias) = packet.topic_alias else {
            return Ok(None);
        };
        if alias.get() > self.options.topic_alias_maximum.unwrap_or(0) {
            // [MQTT-3.1.2-26] [MQTT-3.1.2-27]
            return Err(fault(ReasonCode::TopicAliasInvalid, "a topic alias above Topic Alias Maximum"));
        }
        if let Some(topic) = packet.topic.map(TopicName::as_str) {
            self.aliases_in.set(alias, topic);
            return Ok(None);
        }
        let topic = self.aliases_in.get(alias);
        topic.map(|topic| Some(topic.into())).ok_or_else(|| broken("a topic alias that was never set"))
    }

    /// Sends the acknowledgements whose turn it is, if there is a connection.
    fn send_acks(&mut self) {
        let version = self.options.version;
        while self.state == State::Online
            && let Some((packet, id, reason)) = self.incoming.next_ack(version == Version::V5)
        {
            // [MQTT-4.3.2-4] [MQTT-4.3.3-8]
            encode_ack(packet, id, reason, version, &mut self.out);
        }
    }

    fn pubrec(&mut self, ack: &Ack<'_>) -> Result<(), Fault> {
        let acked = self.outgoing.pubrec(ack.packet_id, ack.reason);
        let reason = match acked {
            Acked::Release => ReasonCode::Success,
            // Nothing is known of it, and the server can let it go.
            Acked::Unknown if ack.reason.is_error() => return Ok(()),
            Acked::Unknown => ReasonCode::PacketIdentifierNotFound,
            _ => return self.acknowledged(acked, ack.reason, "PUBREC for a message that is not at QoS 2"),
        };
        // [MQTT-4.3.3-4]
        encode_ack(PacketType::PubRel, ack.packet_id, reason, self.options.version, &mut self.out);
        Ok(())
    }

    fn pubrel(&mut self, id: PacketId) -> Result<(), Fault> {
        let reason = match self.incoming.release(id) {
            Release::Done => ReasonCode::Success,
            Release::Unknown => ReasonCode::PacketIdentifierNotFound,
            Release::TooEarly => return Err(broken("PUBREL before PUBREC")),
        };
        // [MQTT-4.3.3-11]
        encode_ack(PacketType::PubComp, id, reason, self.options.version, &mut self.out);
        Ok(())
    }

    /// An acknowledgement of something long over is no fault (§ 4.3.2).
    fn acknowledged(&mut self, acked: Acked, reason: ReasonCode, wrong: &'static str) -> Result<(), Fault> {
        match acked {
            Acked::Done(token) => {
                self.events.push_back(ClientEvent::Published { token, outcome: Ok(reason) });
                Ok(())
            }
            Acked::Wrong => Err(broken(wrong)),
            Acked::Release | Acked::Unknown => Ok(()),
        }
    }

    /// Whether AUTH may come now and says what it has to.
    fn auth_came(&mut self, packet: &Auth<'_>) -> Result<(), Fault> {
        let method = self.options.authentication_method.as_deref();
        if method.is_none() || packet.method.is_some_and(|named| Some(named) != method) {
            // [MQTT-4.12.0-5] [MQTT-4.12.0-6]
            return Err(broken("AUTH of a method that was not asked for"));
        }
        self.exchange = match packet.reason {
            _ if self.exchange != Exchange::Server => return Err(broken("AUTH that nothing led to")),
            // [MQTT-4.12.0-2]
            ReasonCode::ContinueAuthentication => Exchange::Client,
            ReasonCode::Success if self.state == State::Online => Exchange::Nobody,
            _ => return Err(broken("AUTH with a reason code that is not its turn")),
        };
        self.waits_since = self.now;
        Ok(())
    }
}

fn broken(text: &'static str) -> Fault {
    fault(ReasonCode::ProtocolError, text)
}

fn malformed(error: &DecodeError) -> Fault {
    Fault::from(error)
}
