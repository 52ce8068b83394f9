//! How connections and sessions end: DISCONNECT, wills, expiry, takeover.

use std::hash::BuildHasher;
use std::sync::Arc;

use bytes::Bytes;
use columba_codec::{
    ConnAck, ConnAckProperties, Disconnect, List, Packet, PacketType, QoS, ReasonCode, TopicName, Version,
};

use crate::connection::Phase;
use crate::core::Core;
use crate::event::{Cause, DropCause, Event, EventMask, Fault};
use crate::inflight::State;
use crate::message::NewMessage;
use crate::session::{Delivery, Notes, Session, StoredWill};
use crate::timers::Due;

impl Core {
    /// DISCONNECT from a client.
    pub(crate) fn handle_disconnect(&mut self, index: u32, packet: &Disconnect<'_>) -> Result<(), Fault> {
        let connection = &self.connections[index];
        let Some(session) = connection.session else {
            // During authentication a client may give up.
            self.finish_silently(index, Cause::Client(packet.reason));
            return Ok(());
        };
        if let Some(expiry) = packet.session_expiry {
            if expiry > 0 && connection.expiry_was_zero {
                // § 3.14.2.2.2; this does not count as a DISCONNECT, so the will is published.
                let text = "DISCONNECT raised a session expiry that CONNECT had set to 0";
                return Err(Fault::new(ReasonCode::ProtocolError, text));
            }
            self.sessions[session].expiry =
                expiry.min(self.config.maximum_session_expiry.unwrap_or(u32::MAX));
        }
        if packet.reason == ReasonCode::Success {
            // [MQTT-3.14.4-3]
            self.discard_will(session);
        }
        // Nothing more is read [MQTT-3.14.4-1], and the connection closes [MQTT-3.14.4-2].
        self.end(index, Cause::Client(packet.reason));
        Ok(())
    }

    /// Ends a connection from the broker's side, with the reason in the packet that the client's version and the
    /// connection's state have for it. Safe to call on one that is closing.
    pub(crate) fn finish(&mut self, index: u32, reason: ReasonCode, text: &str, cause: Cause) {
        let connection = &self.connections[index];
        let v5 = connection.is_v5();
        let text = Some(text).filter(|text| !text.is_empty());
        match connection.phase {
            Phase::Closing => return,
            // Only after its CONNACK does a client get DISCONNECT [MQTT-3.14.0-1].
            Phase::Online if v5 => self.send_disconnect(index, reason, text),
            Phase::Online => {}
            // Nothing can be said to a client that has not sent CONNECT.
            Phase::AwaitingConnect if matches!(cause, Cause::ConnectTimeout | Cause::Shutdown) => {}
            _ => self.send_refusal(index, reason, text),
        }
        // Told or not [MQTT-4.13.2-1], nothing follows CONNACK [MQTT-3.2.2-7] [MQTT-3.2.0-2] or DISCONNECT
        // [MQTT-3.14.4-1] [MQTT-3.14.4-2] but the end.
        self.end(index, cause);
    }

    /// Ends a connection without a word.
    pub(crate) fn finish_silently(&mut self, index: u32, cause: Cause) {
        if self.connections[index].phase != Phase::Closing {
            self.end(index, cause);
        }
    }

    /// The connection is over, whatever is still to be sent: the session goes its own way from here.
    pub(crate) fn end(&mut self, index: u32, cause: Cause) {
        let connection = &mut self.connections[index];
        let handshaking = connection.is_handshaking();
        connection.phase = Phase::Closing;
        connection.authentication = None;
        connection.aliases = None;
        let session = connection.session.take();
        let key = self.connections.connection_key(index);
        self.arm(index, self.now.plus_secs(u64::from(self.config.limits.close_timeout)));
        self.mark_ready(index);
        if handshaking {
            self.handshakes -= 1;
            self.metrics.connects_refused += 1;
            self.emit(EventMask::CLIENTS, |core| {
                let peer = (*core.connections[index].peer).clone();
                Event::Refused { connection: key, peer, cause }
            });
        } else if let Some(session) = session {
            self.emit(EventMask::CLIENTS, |core| Event::Disconnected {
                connection: key,
                client_id: core.sessions[session].client_id.clone(),
                cause,
                session_kept: core.sessions[session].expiry > 0,
            });
            self.leave(session);
        }
    }

    /// The session loses its connection.
    fn leave(&mut self, index: u32) {
        self.members_changed(index);
        let session = &mut self.sessions[index];
        session.connection = None;
        let expiry = session.expiry;
        if expiry > 0 {
            // First of all: what is not kept takes no room from the will, which may be for this very session.
            self.drop_qos0(index);
        }
        let session = &mut self.sessions[index];
        if let Some(will) = &session.will {
            if will.delay == 0 || expiry == 0 {
                self.publish_will(index);
            } else {
                // [MQTT-3.1.2-8]: after the delay or with the session, whichever comes first.
                session.will_due = Some(self.now.plus_secs(u64::from(will.delay.min(expiry))));
            }
        }
        if expiry == 0 {
            return self.end_session(index, false);
        }
        // [MQTT-3.1.2-23]
        let session = &mut self.sessions[index];
        session.ends = (expiry < u32::MAX).then(|| self.now.plus_secs(u64::from(expiry)));
        self.arm_session(index);
        self.hand_over_shared(index, false);
        self.sessions[index].shrink();
    }

    /// A session for a client that connects [MQTT-3.1.4-4]: the one it has [MQTT-3.1.2-5] or a new one
    /// [MQTT-3.1.2-4] [MQTT-3.1.2-6]. A connection that it has already is taken over [MQTT-3.1.4-3].
    pub(crate) fn take_session(&mut self, client_id: &str, clean_start: bool) -> (u32, bool) {
        if let Some(old) = self.session_of(client_id)
            && let Some(connection) = self.sessions[old].connection
        {
            self.finish(connection, ReasonCode::SessionTakenOver, "", Cause::TakenOver);
        }
        match self.session_of(client_id) {
            Some(old) if clean_start => self.end_session(old, false),
            Some(old) => {
                // [MQTT-3.1.3-9]: whoever is back within the delay has left no will.
                self.discard_will(old);
                let session = &mut self.sessions[old];
                // While the client is here, its session does not end [MQTT-4.1.0-1].
                (session.ends, session.will_due) = (None, None);
                self.arm_session(old);
                return (old, true);
            }
            None => {}
        }
        (self.add_session(client_id), false)
    }

    /// A new session for a client id that has none.
    pub(crate) fn add_session(&mut self, client_id: &str) -> u32 {
        let index = self.sessions.insert(Session::new(Arc::from(client_id)));
        let Self { clients, sessions, hasher, .. } = self;
        let rehash = |&index: &u32| hasher.hash_one(&*sessions[index].client_id);
        clients.insert_unique(hasher.hash_one(client_id), index, rehash);
        index
    }

    /// A session's timer has fired.
    pub(crate) fn session_due(&mut self, index: u32) {
        let now = self.now;
        let session = &mut self.sessions[index];
        session.timer = None;
        if session.will_due.is_some_and(|due| due <= now) {
            session.will_due = None;
            self.publish_will(index);
        }
        if self.sessions[index].ends.is_some_and(|ends| ends <= now) {
            // [MQTT-4.1.0-2]
            self.metrics.sessions_expired += 1;
            self.end_session(index, true);
        } else {
            self.arm_session(index);
        }
    }

    /// Sets the one timer of a session, or withdraws it where nothing is due.
    pub(crate) fn arm_session(&mut self, index: u32) {
        let session = &mut self.sessions[index];
        if let Some(timer) = session.timer.take() {
            self.timers.cancel(timer);
        }
        let next = session.ends.into_iter().chain(session.will_due).min();
        session.timer = next.map(|at| self.timers.set(at, Due::Session(index)));
    }

    /// The session is over: nothing of it remains, but for messages of shared subscriptions that others can take.
    /// What is retained never was its own [MQTT-3.1.2-7 of 3.1.1].
    pub(crate) fn end_session(&mut self, index: u32, expired: bool) {
        // The session's end also ends the will's delay [MQTT-3.1.2-8].
        self.publish_will(index);
        self.emit(EventMask::CLIENTS, |core| Event::SessionEnded {
            client_id: core.sessions[index].client_id.clone(),
            expired,
        });
        self.unsubscribe_all(index);
        self.hand_over_shared(index, true);
        if let Some(timer) = self.sessions[index].timer.take() {
            self.timers.cancel(timer);
        }
        let hash = self.hasher.hash_one(&*self.sessions[index].client_id);
        if let Ok(entry) = self.clients.find_entry(hash, |&other| other == index) {
            entry.remove();
        }
        let session = self.sessions.remove(index);
        for delivery in session.queue.waiting {
            self.report_drop(&session.client_id, &delivery, DropCause::SessionEnded);
            self.let_go(&delivery);
        }
        for entry in session.inflight.iter().filter(|entry| entry.state == State::Published) {
            self.messages.unpin(entry.delivery.message);
            self.let_go(&entry.delivery);
        }
    }

    fn publish_will(&mut self, index: u32) {
        let session = &mut self.sessions[index];
        session.will_due = None;
        // [MQTT-3.1.2-10]
        let Some(will) = session.will.take() else {
            return;
        };
        self.will_bytes -= will.size();
        let client_id = session.client_id.clone();
        // The topic was a topic name when the will was left.
        let Ok(topic) = TopicName::parse(&will.topic) else {
            return;
        };
        let message = NewMessage {
            topic,
            // [MQTT-3.1.3-10]
            forwarded: &will.forwarded,
            payload: &will.payload,
            shared: None,
            qos: will.qos,
            // [MQTT-3.1.2-14] [MQTT-3.1.2-15]
            retain: will.retain,
            expires: will.expiry.map(|seconds| self.now.plus_secs(u64::from(seconds))),
        };
        match self.publish(index, &message) {
            Ok(_) => self.emit(EventMask::PUBLISHED, |_| Event::Published {
                client_id,
                topic: topic.as_str().into(),
                payload: Bytes::copy_from_slice(&will.payload),
                qos: will.qos,
                retain: will.retain,
            }),
            // Nobody can be told that there was no room; it is counted like any other refusal.
            Err(reason) => self.report_refusal(&client_id, topic, will.qos, reason),
        }
    }

    fn discard_will(&mut self, index: u32) {
        let session = &mut self.sessions[index];
        session.will_due = None;
        self.will_bytes -= session.will.take().as_deref().map_or(0, StoredWill::size);
    }

    /// QoS 0 messages are not part of a session that waits for its client.
    fn drop_qos0(&mut self, index: u32) {
        if self.config.queue_qos0_offline {
            return;
        }
        let waiting = std::mem::take(&mut self.sessions[index].queue.waiting);
        let mut kept = std::collections::VecDeque::with_capacity(0);
        for delivery in waiting {
            if delivery.qos() == QoS::AtMostOnce {
                self.uncount(index, &delivery);
                self.let_go(&delivery);
            } else {
                kept.push_back(delivery);
            }
        }
        self.sessions[index].queue.waiting = kept;
    }

    /// Gives what a shared subscription brought this session, and what it has not acknowledged, to other members:
    /// to those online when its client is away, to any when the session ends. What was sent at QoS 2 stays with
    /// it, or is lost with it [MQTT-4.8.2-4] [MQTT-4.8.2-5].
    fn hand_over_shared(&mut self, index: u32, ended: bool) {
        let shared = |core: &Self, delivery: &Delivery| match delivery.notes() {
            Notes::Extra(extra) => core.extras[extra as usize].group,
            _ => None,
        };
        let session = &self.sessions[index];
        let sent = session.inflight.iter().filter(|entry| {
            entry.state == State::Published
                && entry.qos() == QoS::AtLeastOnce
                && shared(self, &entry.delivery).is_some()
        });
        let sent: Vec<_> = sent.map(|entry| (entry.id, entry.delivery)).collect();
        for (id, delivery) in sent {
            let Some(group) = shared(self, &delivery) else {
                continue;
            };
            if self.give_to_group(group, &delivery, ended)
                && let Some(id) = columba_codec::PacketId::new(id)
            {
                self.sessions[index].inflight.complete(id);
                self.messages.unpin(delivery.message);
                self.uncount(index, &delivery);
                self.let_go(&delivery);
            }
        }
        if !self.sessions[index].queue.waiting.iter().any(|delivery| shared(self, delivery).is_some()) {
            return;
        }
        let waiting = std::mem::take(&mut self.sessions[index].queue.waiting);
        let mut kept = std::collections::VecDeque::with_capacity(0);
        for delivery in waiting {
            if shared(self, &delivery).is_some_and(|group| self.give_to_group(group, &delivery, ended)) {
                self.uncount(index, &delivery);
                self.let_go(&delivery);
            } else {
                kept.push_back(delivery);
            }
        }
        self.sessions[index].queue.waiting = kept;
    }

    fn send_disconnect(&mut self, index: u32, reason: ReasonCode, text: Option<&str>) {
        // No user properties, which might be too much for the client [MQTT-3.14.2-4].
        let mut packet = Disconnect {
            reason,
            // [MQTT-3.14.2-2]
            session_expiry: None,
            server_reference: None,
            reason_string: text,
            user_properties: List::default(),
        };
        // [MQTT-3.14.2-3]
        let room = self.connections[index].maximum_packet_size as usize;
        if Packet::Disconnect(packet.clone()).encoded_len(Version::V5) > room {
            packet.reason_string = None;
        }
        self.send_last(index, &Packet::Disconnect(packet));
    }

    /// CONNACK with an error; Session Present is 0 in it [MQTT-3.2.2-6].
    fn send_refusal(&mut self, index: u32, reason: ReasonCode, text: Option<&str>) {
        let connection = &self.connections[index];
        let reason =
            if reason.is_valid_in(PacketType::ConnAck) { reason } else { ReasonCode::UnspecifiedError };
        // No user properties, which might be too much for the client [MQTT-3.2.2-20].
        let mut properties = ConnAckProperties::default();
        if connection.is_v5() {
            properties.reason_string = text;
        }
        let mut packet = ConnAck { session_present: false, reason, properties };
        // [MQTT-3.2.2-19]
        let room = connection.maximum_packet_size as usize;
        if Packet::ConnAck(Box::new(packet.clone())).encoded_len(connection.version) > room {
            packet.properties.reason_string = None;
        }
        self.send_last(index, &Packet::ConnAck(Box::new(packet)));
    }
}
