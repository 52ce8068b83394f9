//! From a message to PUBLISH: what is taken, in which order it goes, and what of it a server can have.

use columba_codec::{PacketId, PublishHead, QoS, ReasonCode, Version};
use columba_core::Time;

use super::event::{ClientEvent, NotSent, PublishError, Token};
use super::incoming::Aliases;
use super::message::OutgoingMessage;
use super::outgoing::Waiting;
use super::{Client, OUTPUT_BUDGET, State};

/// One PUBLISH to be written.
#[derive(Clone, Copy)]
struct Sending<'a> {
    waiting: &'a Waiting,
    qos: QoS,
    id: Option<PacketId>,
    dup: bool,
}

impl Client {
    /// Publishes a message: at once if there is a connection with room for it, and later otherwise, always after those
    /// before it. [`ClientEvent::Published`] tells the outcome; every message that is taken has one.
    ///
    /// # Errors
    /// The queue is full, or the message cannot be sent to the server there is.
    pub fn publish(&mut self, now: Time, mut message: OutgoingMessage) -> Result<Token, PublishError> {
        self.note(now);
        self.prepare(&mut message).map_err(PublishError::NotSent)?;
        let limits = &self.options.limits;
        let (waiting, bytes) = (self.outgoing.waiting(), self.outgoing.bytes());
        let is_alone = bytes == 0;
        if waiting >= limits.queued_messages.max(1)
            || (bytes + message.size() > limits.queued_bytes && !is_alone)
        {
            return Err(PublishError::QueueFull);
        }
        self.aliases_given.note(&message);
        let token = self.token();
        self.outgoing.push(Waiting { token, message, since: self.now });
        self.pump();
        Ok(token)
    }

    /// Encodes what may be sent now, up to a budget.
    pub(super) fn pump(&mut self) {
        while self.out.len() < OUTPUT_BUDGET && self.can_send() {
            let before = self.out.len();
            if self.outgoing.next_again().is_some() {
                self.send_again();
            } else {
                self.send_next();
            }
            self.ahead += self.out.len() - before;
        }
    }

    /// Whether the next message may be sent: not above QoS 0 while as many are unacknowledged as the server allows
    /// [MQTT-4.9.0-2] [MQTT-3.3.4-7]. Those behind it wait too, so that all stay in order.
    pub(super) fn can_send(&self) -> bool {
        if self.state != State::Online {
            return false;
        }
        let maximum = self.server.receive_maximum.min(self.options.limits.inflight.max(1));
        let has_room = self.outgoing.outstanding() < usize::from(maximum);
        if self.outgoing.next_again().is_some() {
            return has_room;
        }
        let may_count = has_room && !self.outgoing.ids.is_exhausted();
        let next = self.outgoing.front();
        next.is_some_and(|next| may_count || self.qos_of(&next.message) == QoS::AtMostOnce)
    }

    /// Sends a message again that the last connection of this session left unacknowledged [MQTT-4.4.0-1].
    fn send_again(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        let written = self.outgoing.next_again().map(|(waiting, id, qos)| {
            // [MQTT-3.3.1-1]
            let sending = Sending { waiting, qos, id: Some(id), dup: true };
            self.allow(&waiting.message, qos)?;
            self.write(sending, &mut out)
        });
        self.out = out;
        match written {
            Some(Ok(())) => self.outgoing.sent_again(),
            Some(Err(why)) => {
                let token = self.outgoing.drop_again();
                self.give_up(token, why);
            }
            None => {}
        }
    }

    /// Sends the next message for the first time [MQTT-4.3.1-1] [MQTT-4.3.2-2] [MQTT-4.3.3-2].
    fn send_next(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        let counts = |waiting: &Waiting| self.qos_of(&waiting.message) > QoS::AtMostOnce;
        // There is one that is free, or this would not have been called.
        let id = if self.outgoing.front().is_some_and(counts) { self.outgoing.ids.take() } else { None };
        let written = self.outgoing.front().map(|waiting| {
            let qos = self.qos_of(&waiting.message);
            self.check(&waiting.message)?;
            self.write(Sending { waiting, qos, id, dup: false }, &mut out)?;
            Ok((qos, id))
        });
        self.out = out;
        if let (Some(Ok((qos, Some(id)))), Some(waiting)) = (&written, self.outgoing.front()) {
            self.aliases_sent.note(&waiting.message);
            return self.outgoing.encoded(*id, *qos);
        }
        if let Some(id) = id {
            self.outgoing.ids.release(id);
        }
        let Some(Waiting { token, message, .. }) = self.outgoing.pop() else {
            return;
        };
        if let Some(Err(why)) = written {
            return self.give_up(Some(token), why);
        }
        self.aliases_sent.note(&message);
        let outcome = Ok(ReasonCode::Success);
        self.events.push_back(ClientEvent::Published { token, outcome });
    }

    fn give_up(&mut self, token: Option<Token>, why: NotSent) {
        let event = token.map(|token| ClientEvent::Published { token, outcome: Err(why) });
        self.events.extend(event);
    }

    /// The QoS a message is sent with.
    fn qos_of(&self, message: &OutgoingMessage) -> QoS {
        if self.options.adapt { message.qos.min(self.server.maximum_qos) } else { message.qos }
    }

    /// Puts the topic where only its alias is, and checks what can be checked already.
    fn prepare(&self, message: &mut OutgoingMessage) -> Result<(), NotSent> {
        if message.by_alias {
            let topic = message.topic_alias.and_then(|alias| self.aliases_given.get(alias));
            message.topic = topic.ok_or(NotSent::TopicAlias)?.into();
        }
        if self.state != State::Online {
            return Ok(());
        }
        let is_v5 = self.options.version == Version::V5;
        if is_v5 && message.topic_alias.is_some_and(|alias| alias.get() > self.server.topic_alias_maximum) {
            // [MQTT-3.3.2-9] [MQTT-3.2.2-17]
            return Err(NotSent::TopicAlias);
        }
        self.check(message)
    }

    /// Whether the server there is takes this message.
    fn check(&self, message: &OutgoingMessage) -> Result<(), NotSent> {
        let qos = self.qos_of(message);
        self.allow(message, qos)?;
        // As large as it may be: with topic and alias.
        let id = PacketId::new(1).filter(|_| qos > QoS::AtMostOnce);
        let alias = message.topic_alias;
        self.fit(&PublishHead { topic: &message.topic, topic_alias: alias, ..head(message, qos, id) })
    }

    fn allow(&self, message: &OutgoingMessage, qos: QoS) -> Result<(), NotSent> {
        if qos > self.server.maximum_qos {
            // [MQTT-3.2.2-11]
            return Err(NotSent::QoSNotSupported);
        }
        if message.retain && !self.server.retain && !self.options.adapt {
            // [MQTT-3.2.2-14]
            return Err(NotSent::RetainNotSupported);
        }
        Ok(())
    }

    fn fit(&self, head: &PublishHead<'_>) -> Result<(), NotSent> {
        // [MQTT-3.2.2-15]
        let fits = head.encoded_len(self.options.version) <= self.server.maximum_packet_size;
        if fits { Ok(()) } else { Err(NotSent::PacketTooLarge) }
    }

    fn write(&self, sending: Sending<'_>, out: &mut Vec<u8>) -> Result<(), NotSent> {
        let Sending { waiting: Waiting { message, since, .. }, qos, id, dup } = sending;
        let mut head = PublishHead { dup, ..head(message, qos, id) };
        head.retain &= self.server.retain;
        head.message_expiry = match message.properties.message_expiry {
            Some(seconds) => {
                let waited = self.now.since(*since).as_secs();
                let left = u64::from(seconds).saturating_sub(waited) as u32;
                if left == 0 && waited > 0 && !dup {
                    return Err(NotSent::Expired);
                }
                // What has been sent is sent again, however late [MQTT-4.3.3-7]; 1 as 0 would be news to the server.
                Some(if waited > 0 { left.max(1) } else { left })
            }
            None => None,
        };
        // A message that is sent again may come before the one that set its alias.
        if let Some(alias) = message.topic_alias.filter(|_| !dup)
            && alias.get() <= self.server.topic_alias_maximum
        {
            // [MQTT-3.3.2-9] [MQTT-3.2.2-17]
            head.topic_alias = Some(alias);
            if message.by_alias && self.aliases_sent.get(alias) == Some(&message.topic) {
                head.topic = "";
            }
        }
        self.fit(&head)?;
        head.encode(self.options.version, out);
        out.extend_from_slice(&message.payload);
        Ok(())
    }
}

impl Aliases {
    fn note(&mut self, message: &OutgoingMessage) {
        if let Some(alias) = message.topic_alias {
            self.set(alias, &message.topic);
        }
    }
}

fn head(message: &OutgoingMessage, qos: QoS, packet_id: Option<PacketId>) -> PublishHead<'_> {
    PublishHead {
        dup: false,
        qos,
        retain: message.retain,
        topic: &message.topic,
        packet_id,
        topic_alias: None,
        message_expiry: message.properties.message_expiry,
        subscription_ids: &[],
        forwarded: message.properties.forwarded(),
        payload_len: message.payload.len(),
    }
}
