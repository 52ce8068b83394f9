//! Packets from a client that is online, one at a time.

use bytes::Bytes;
use columba_codec::{
    Ack, DecodeError, FixedHeader, Packet, PacketId, PacketType, Publish, QoS, ReasonCode, TopicName,
};

use crate::Time;
use crate::aliases::{Incoming, Outgoing};
use crate::auth::Client;
use crate::connection::{Aliases, Phase};
use crate::core::Core;
use crate::event::{Cause, DropCause, Event, EventMask, Fault};
use crate::inflight::State;
use crate::message::{Head, NewMessage};
use crate::parcel::Parcel;
use crate::route::Admitted;
use crate::session::Delivery;

impl Core {
    /// One whole packet. `frame` is the buffer that `body` lies in, where payloads may be shared with it.
    pub(crate) fn frame(&mut self, index: u32, header: FixedHeader, body: &[u8], frame: Option<&Bytes>) {
        let connection = &mut self.connections[index];
        if connection.phase == Phase::AwaitingConnect {
            return self.first_frame(index, header, body);
        }
        // Whatever it is keeps the client alive, PINGREQ if there is nothing else [MQTT-3.1.2-20].
        connection.last_received = self.now;
        if let Err(fault) = self.decoded(index, header, body, frame) {
            self.fail(index, fault);
        }
    }

    /// The same for a PUBLISH that came decoded.
    pub(crate) fn decoded_publish(&mut self, index: u32, packet: &Publish<'_>, payload: &Bytes) {
        self.without_frame(index, |core| core.handle_publish(index, packet, Some(payload)));
    }

    /// The same for one whose content is shared.
    #[inline]
    pub(crate) fn parcel(&mut self, index: u32, parcel: Parcel) {
        self.without_frame(index, |core| {
            core.metrics.publishes_received += 1;
            core.check_publish(parcel.qos(), parcel.retain())?;
            core.accept_publish(index, parcel.qos(), parcel.packet_id(), |core, session| {
                core.publish_parcel(index, session, parcel)
            })
        });
    }

    #[inline]
    fn without_frame(&mut self, index: u32, publish: impl FnOnce(&mut Self) -> Result<(), Fault>) {
        let connection = &mut self.connections[index];
        if connection.phase != Phase::Online {
            let fault = Fault::new(ReasonCode::ProtocolError, "the first packet was not CONNECT");
            return self.finish_silently(index, Cause::Fault(fault));
        }
        connection.last_received = self.now;
        if let Err(fault) = publish(self) {
            self.fail(index, fault);
        }
    }

    #[inline]
    fn decoded(
        &mut self,
        index: u32,
        header: FixedHeader,
        body: &[u8],
        frame: Option<&Bytes>,
    ) -> Result<(), Fault> {
        let fault = |error: DecodeError| Fault::from(&error);
        let connection = &self.connections[index];
        let version = connection.version;
        match header.packet_type {
            PacketType::Publish if connection.phase == Phase::Online => {
                let publish = Publish::decode(header.flags, body, version).map_err(fault)?;
                self.handle_publish(index, &publish, frame)
            }
            _ => {
                let packet = Packet::decode(header, body, version).map_err(fault)?;
                if let (Packet::Subscribe(subscribe), Some(_)) = (&packet, self.shards.get())
                    && self.connections[index].phase == Phase::Online
                {
                    self.park_subscribe(index, header, body, subscribe);
                    return Ok(());
                }
                self.handle(index, &packet)
            }
        }
    }

    fn handle(&mut self, index: u32, packet: &Packet<'_>) -> Result<(), Fault> {
        if self.connections[index].phase == Phase::AwaitingAuth {
            return match packet {
                Packet::Auth(auth) => self.handle_auth(index, auth),
                Packet::Disconnect(disconnect) => self.handle_disconnect(index, disconnect),
                // [MQTT-3.1.2-30]
                _ => Err(Fault::new(
                    ReasonCode::ProtocolError,
                    "only AUTH or DISCONNECT may come before CONNACK",
                )),
            };
        }
        match packet {
            Packet::Publish(publish) => self.handle_publish(index, publish, None),
            Packet::PubAck(ack) => self.handle_puback(index, ack),
            Packet::PubRec(ack) => self.handle_pubrec(index, ack),
            Packet::PubRel(ack) => {
                self.handle_pubrel(index, ack);
                Ok(())
            }
            Packet::PubComp(ack) => self.handle_pubcomp(index, ack),
            Packet::Subscribe(subscribe) => self.handle_subscribe(index, subscribe),
            Packet::Unsubscribe(unsubscribe) => self.handle_unsubscribe(index, unsubscribe),
            Packet::PingReq => {
                // [MQTT-3.12.4-1]
                self.send(index, &Packet::PingResp);
                Ok(())
            }
            Packet::Disconnect(disconnect) => self.handle_disconnect(index, disconnect),
            Packet::Auth(auth) => self.handle_auth(index, auth),
            // [MQTT-3.1.0-2]
            Packet::Connect(_) => Err(Fault::new(ReasonCode::ProtocolError, "a second CONNECT")),
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                Err(Fault::new(ReasonCode::ProtocolError, "a packet that only servers send"))
            }
        }
    }

    fn handle_publish(
        &mut self,
        index: u32,
        publish: &Publish<'_>,
        buffer: Option<&Bytes>,
    ) -> Result<(), Fault> {
        self.metrics.publishes_received += 1;
        if !publish.subscription_ids.is_empty() {
            // [MQTT-3.3.4-6]
            return Err(Fault::new(
                ReasonCode::ProtocolError,
                "PUBLISH from a client with a subscription identifier",
            ));
        }
        self.check_publish(publish.qos, publish.retain)?;
        let mut resolved = std::mem::take(&mut self.scratch.topic);
        let result = match self.resolve_topic(index, publish, &mut resolved) {
            Ok(Some(topic)) => self.accept_packet(index, publish, topic, buffer),
            Ok(None) => match TopicName::parse(&resolved) {
                Ok(topic) => self.accept_packet(index, publish, topic, buffer),
                Err(_) => Err(Fault::new(ReasonCode::ProtocolError, "PUBLISH without topic")),
            },
            Err(fault) => Err(fault),
        };
        resolved.clear();
        self.scratch.topic = resolved;
        result
    }

    /// What the codec cannot know to be wrong.
    fn check_publish(&self, qos: QoS, retain: bool) -> Result<(), Fault> {
        if qos > self.config.maximum_qos {
            // [MQTT-3.2.2-11]
            return Err(Fault::new(
                ReasonCode::QoSNotSupported,
                "PUBLISH above the Maximum QoS of this broker",
            ));
        }
        if retain && !self.config.retain_available {
            // [MQTT-3.2.2-14]
            return Err(Fault::new(ReasonCode::RetainNotSupported, "retained messages are not supported"));
        }
        Ok(())
    }

    /// The topic of a PUBLISH: its own, or `Ok(None)` with the one that its alias stands for in `resolved`.
    fn resolve_topic<'a>(
        &mut self,
        index: u32,
        publish: &Publish<'a>,
        resolved: &mut String,
    ) -> Result<Option<TopicName<'a>>, Fault> {
        let Some(alias) = publish.topic_alias else {
            return Ok(publish.topic);
        };
        if alias.get() > self.config.limits.topic_aliases_in {
            // [MQTT-3.3.2-9] [MQTT-3.2.2-17]; where the maximum is 0, that is any [MQTT-3.2.2-18].
            return Err(Fault::new(
                ReasonCode::TopicAliasInvalid,
                "topic alias above the Topic Alias Maximum",
            ));
        }
        let aliases = self.connections[index].aliases.get_or_insert_with(|| {
            Box::new(Aliases { incoming: Incoming::default(), outgoing: Outgoing::new(0) })
        });
        if let Some(topic) = publish.topic {
            // [MQTT-3.3.2-12]
            aliases.incoming.set(alias, topic.as_str());
            return Ok(Some(topic));
        }
        match aliases.incoming.get(alias) {
            Some(topic) => {
                resolved.push_str(topic);
                Ok(None)
            }
            None => {
                Err(Fault::new(ReasonCode::ProtocolError, "PUBLISH with a topic alias that was never set"))
            }
        }
    }

    fn accept_packet(
        &mut self,
        index: u32,
        packet: &Publish<'_>,
        topic: TopicName<'_>,
        buffer: Option<&Bytes>,
    ) -> Result<(), Fault> {
        self.accept_publish(index, packet.qos, packet.packet_id, |core, session| {
            core.publish_packet(index, session, packet, topic, buffer)
        })
    }

    /// Acknowledges what `publish` publishes, or does not.
    #[inline]
    fn accept_publish(
        &mut self,
        index: u32,
        qos: QoS,
        packet_id: Option<PacketId>,
        publish: impl FnOnce(&mut Self, u32) -> Result<bool, ReasonCode>,
    ) -> Result<(), Fault> {
        let Some(session) = self.connections[index].session else {
            return Ok(());
        };
        if qos == QoS::ExactlyOnce
            && let Some(id) = packet_id
        {
            let incoming = &self.sessions[session].incoming;
            if incoming.contains(id.get()) {
                // Sent again: acknowledged again, and not passed on [MQTT-4.3.3-10].
                self.send_ack(index, PacketType::PubRec, id, ReasonCode::Success);
                return Ok(());
            }
            let v5 = self.connections[index].is_v5();
            if v5 && incoming.len() >= usize::from(self.config.limits.receive_maximum) {
                // [MQTT-3.3.4-7]
                let text = "more QoS 2 messages in flight than the Receive Maximum of this broker";
                return Err(Fault::new(ReasonCode::ReceiveMaximumExceeded, text));
            }
        }
        let outcome = publish(self, session);
        self.stall(index);
        let reason = match outcome {
            Ok(true) => ReasonCode::Success,
            Ok(false) => ReasonCode::NoMatchingSubscribers,
            Err(reason) => {
                let v5 = self.connections[index].is_v5();
                if reason == ReasonCode::QuotaExceeded && !v5 && qos > QoS::AtMostOnce {
                    // Without a code for "no", an acknowledgement would be a lie: closed, the client sends it
                    // again [MQTT-4.8.0-2 of 3.1.1].
                    return Err(Fault::new(reason, "no room for the message"));
                }
                reason
            }
        };
        let Some(id) = packet_id else {
            return Ok(());
        };
        // [MQTT-3.3.4-1]
        match qos {
            QoS::AtMostOnce => {}
            // [MQTT-4.3.2-4]; the identifier is not kept, so it may come with another message [MQTT-4.3.2-5]
            // [MQTT-4.3.2-2 of 3.1.1].
            QoS::AtLeastOnce => self.send_ack(index, PacketType::PubAck, id, reason),
            QoS::ExactlyOnce => {
                // A refusal ends the exchange in MQTT 5 [MQTT-4.3.3-9]; before, it has no words and goes on.
                if !reason.is_error() || !self.connections[index].is_v5() {
                    self.sessions[session].incoming.insert(id.get());
                }
                // [MQTT-4.3.3-8] [MQTT-4.3.3-2 of 3.1.1]
                self.send_ack(index, PacketType::PubRec, id, reason);
            }
        }
        Ok(())
    }

    /// Publishes if the client may; the reason if not, and otherwise whether anybody matched.
    fn publish_packet(
        &mut self,
        index: u32,
        session: u32,
        packet: &Publish<'_>,
        topic: TopicName<'_>,
        buffer: Option<&Bytes>,
    ) -> Result<bool, ReasonCode> {
        let mut forwarded = std::mem::take(&mut self.scratch.forwarded);
        forwarded.clear();
        if self.connections[index].is_v5() {
            packet.properties.encode_forwarded(&mut forwarded);
        }
        let shared = buffer.and_then(|buffer| slice_of(buffer, packet.payload));
        let message = NewMessage {
            topic,
            forwarded: &forwarded,
            payload: packet.payload,
            shared: shared.as_ref(),
            qos: packet.qos,
            retain: packet.retain,
            expires: self.expires(packet.properties.message_expiry),
        };
        let outcome = self.admit_from(index, session, &message);
        if let Ok(admitted) = outcome {
            let head = Head::of(&message);
            self.distribute(admitted, &head, |messages, timers| messages.store(&message, timers));
            self.emit(EventMask::PUBLISHED, |core| core.published(session, &message));
        }
        self.scratch.forwarded = forwarded;
        outcome.map(|admitted| admitted.matched)
    }

    /// The same for a message that came as a parcel, whose content is stored as it is.
    #[inline(never)]
    fn publish_parcel(&mut self, index: u32, session: u32, parcel: Parcel) -> Result<bool, ReasonCode> {
        let (qos, retain, expires) = (parcel.qos(), parcel.retain(), self.expires(parcel.message_expiry()));
        let mut content = parcel.into_content();
        if !content.forwarded().is_empty() && !self.connections[index].is_v5() {
            // A client of before MQTT 5 has no properties to give.
            content = content.without_properties().into();
        }
        let message = NewMessage::of_content(&content, qos, retain, expires);
        let head = Head::of(&message);
        let admitted = self.admit_from(index, session, &message)?;
        let reported = self.config.events.contains(EventMask::PUBLISHED).then(|| content.clone());
        self.distribute(admitted, &head, |messages, timers| messages.store_content(content, &head, timers));
        if let Some(content) = reported {
            let message = NewMessage::of_content(&content, qos, retain, expires);
            self.emit(EventMask::PUBLISHED, |core| core.published(session, &message));
        }
        Ok(admitted.matched)
    }

    /// When a message goes that is of use for this many seconds.
    fn expires(&self, seconds: Option<u32>) -> Option<Time> {
        seconds.map(|seconds| self.now.plus_secs(u64::from(seconds)))
    }

    /// [`admit_message`](Self::admit_message) for a message of a client, if that may publish it. A refusal is reported.
    #[inline]
    fn admit_from(
        &mut self,
        index: u32,
        session: u32,
        message: &NewMessage<'_>,
    ) -> Result<Admitted, ReasonCode> {
        let allowed = self.check_client(index, session, message);
        let outcome = allowed.and_then(|()| self.admit_message(session, message));
        if let Err(reason) = outcome {
            self.report_refused(session, message, reason);
        }
        outcome
    }

    fn check_client(&self, index: u32, session: u32, message: &NewMessage<'_>) -> Result<(), ReasonCode> {
        let topic = message.topic;
        if topic.is_deeper_than(self.config.limits.topic_levels) {
            return Err(ReasonCode::TopicNameInvalid);
        }
        let connection = &self.connections[index];
        if self.authorize.is_some() || topic.as_str().starts_with('$') {
            let id = &*self.sessions[session].client_id;
            let client = Client { id, username: connection.username.as_deref(), peer: &connection.peer };
            if !self.may_publish(client, topic, message.qos, message.retain) {
                return Err(ReasonCode::NotAuthorized);
            }
        }
        Ok(())
    }

    fn published(&self, session: u32, message: &NewMessage<'_>) -> Event {
        Event::Published {
            client_id: self.sessions[session].client_id.clone(),
            topic: message.topic.as_str().into(),
            payload: message.shared.cloned().unwrap_or_else(|| Bytes::copy_from_slice(message.payload)),
            qos: message.qos,
            retain: message.retain,
        }
    }

    fn handle_puback(&mut self, index: u32, ack: &Ack<'_>) -> Result<(), Fault> {
        let Some(session) = self.connections[index].session else {
            return Ok(());
        };
        let inflight = &mut self.sessions[session].inflight;
        let entry = inflight.get_mut(ack.packet_id).map(|entry| *entry);
        match entry {
            // Refused or not, it is over [MQTT-4.4.0-2], and no other member's turn [MQTT-4.8.2-6].
            Some(entry) if entry.qos() == QoS::AtLeastOnce => self.complete(index, session, ack.packet_id),
            Some(_) => {
                return Err(Fault::new(ReasonCode::ProtocolError, "PUBACK for a QoS 2 message"));
            }
            // An acknowledgement for something long over is no fault (§ 4.3.2), but finding that out has its cost.
            None => self.work += self.sessions[session].inflight.len() / 8 + 1,
        }
        Ok(())
    }

    fn handle_pubrec(&mut self, index: u32, ack: &Ack<'_>) -> Result<(), Fault> {
        let Some(session) = self.connections[index].session else {
            return Ok(());
        };
        let id = ack.packet_id;
        let Some(entry) = self.sessions[session].inflight.get_mut(id) else {
            self.send_ack(index, PacketType::PubRel, id, ReasonCode::PacketIdentifierNotFound);
            return Ok(());
        };
        if entry.qos() != QoS::ExactlyOnce {
            return Err(Fault::new(ReasonCode::ProtocolError, "PUBREC for a QoS 1 message"));
        }
        if ack.reason.is_error() {
            // The exchange is over [MQTT-4.4.0-2], and no other member of a group gets it [MQTT-4.8.2-6].
            self.complete(index, session, id);
            return Ok(());
        }
        if let Some(delivery) = self.sessions[session].inflight.release(id) {
            // From here on only PUBREL is sent again [MQTT-4.3.3-6], so the message can go.
            self.let_go_sent(session, &delivery);
        }
        // [MQTT-4.3.3-4]; at once, so in the order of the PUBRECs [MQTT-4.6.0-4].
        self.send_ack(index, PacketType::PubRel, id, ReasonCode::Success);
        Ok(())
    }

    fn handle_pubcomp(&mut self, index: u32, ack: &Ack<'_>) -> Result<(), Fault> {
        let Some(session) = self.connections[index].session else {
            return Ok(());
        };
        let entry = self.sessions[session].inflight.get_mut(ack.packet_id).map(|entry| *entry);
        match entry {
            Some(entry) if entry.state == State::Released => self.complete(index, session, ack.packet_id),
            Some(_) => {
                return Err(Fault::new(ReasonCode::ProtocolError, "PUBCOMP before PUBREC"));
            }
            None => {}
        }
        Ok(())
    }

    fn handle_pubrel(&mut self, index: u32, ack: &Ack<'_>) {
        let Some(session) = self.connections[index].session else { return };
        // From here on the identifier stands for another message [MQTT-4.3.3-12]; whether the one it stood
        // for has expired meanwhile is not asked [MQTT-4.3.3-13].
        let known = self.sessions[session].incoming.remove(ack.packet_id.get());
        let reason = if known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
        // [MQTT-4.3.3-11]
        self.send_ack(index, PacketType::PubComp, ack.packet_id, reason);
    }

    /// An exchange towards the client is over.
    fn complete(&mut self, index: u32, session: u32, id: PacketId) {
        let Some(entry) = self.sessions[session].inflight.complete(id) else {
            return;
        };
        if entry.state == State::Published {
            self.let_go_sent(session, &entry.delivery);
        }
        let session = &self.sessions[session];
        if session.queue.len() > 0 || !session.inflight.all_resent() {
            self.mark_ready(index);
        }
    }

    /// The message of a delivery that had been sent is not needed for it any more.
    fn let_go_sent(&mut self, session: u32, delivery: &Delivery) {
        self.messages.unpin(delivery.message);
        self.uncount(session, delivery);
        self.let_go(delivery);
    }

    #[cold]
    fn report_refused(&mut self, session: u32, message: &NewMessage<'_>, reason: ReasonCode) {
        let client_id = self.sessions[session].client_id.clone();
        self.report_refusal(&client_id, message.topic, message.qos, reason);
    }

    /// Counts and reports a message that was refused.
    pub(crate) fn report_refusal(
        &mut self,
        client_id: &std::sync::Arc<str>,
        topic: TopicName<'_>,
        qos: QoS,
        reason: ReasonCode,
    ) {
        self.metrics.publishes_refused += 1;
        self.emit(EventMask::DROPPED, |_| Event::Dropped {
            client_id: client_id.clone(),
            topic: topic.as_str().into(),
            qos,
            cause: DropCause::Refused(reason),
        });
    }
}

/// `part` as a slice of `whole`, if it lies in it.
fn slice_of(whole: &Bytes, part: &[u8]) -> Option<Bytes> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    (start + part.len() <= whole.len()).then(|| whole.slice(start..start + part.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_shared_with_the_whole_it_lies_in() {
        let whole = Bytes::from_static(b"abcdef");
        for (from, to) in [(0, 6), (0, 0), (2, 5), (6, 6)] {
            let slice = slice_of(&whole, &whole[from..to]).unwrap();
            assert_eq!(slice, whole[from..to]);
            assert_eq!(slice.as_ptr(), whole[from..].as_ptr(), "it is no copy");
        }
        let middle = whole.slice(2..4);
        for outside in [&whole[0..2], &whole[4..6], &whole[3..5], &whole[1..3], &whole[0..6]] {
            let expected = (outside == &middle[..]).then(|| middle.clone());
            assert_eq!(slice_of(&middle, outside), expected);
        }
    }
}
