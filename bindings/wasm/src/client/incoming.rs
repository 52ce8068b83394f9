//! Messages from the server whose exchange is not over, and the topics that their aliases stand for. Never passes a message on.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU16;

use columba_codec::{PacketId, PacketType, QoS, ReasonCode};

use super::message::AckId;

#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// QoS 2 messages between PUBLISH and PUBREL. Part of the session [MQTT-4.1.0-1].
    received: BTreeMap<PacketId, Received>,
    /// QoS 1 messages in the order in which they came, and what to say in their PUBACK, once that is known.
    pubacks: VecDeque<(PacketId, Option<ReasonCode>)>,
    /// QoS 2 messages in the order in which they came, whose PUBREC is due.
    pubrecs: VecDeque<PacketId>,
    /// Messages that came on this connection and are not over: what Receive Maximum bounds [MQTT-3.3.4-9].
    outstanding: u32,
    /// Counts connections.
    connection: u32,
    /// Counts sessions.
    session: u32,
}

#[derive(Debug)]
struct Received {
    /// Its PUBLISH came on this connection the last time.
    connection: u32,
    /// Its PUBREC is due.
    due: bool,
    /// What PUBREC says, once that is decided.
    verdict: Option<ReasonCode>,
}

/// What a PUBLISH is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// A message to pass on.
    New(AckId),
    /// One that was passed on before.
    Again,
    /// One more than Receive Maximum.
    TooMany,
}

/// What a PUBREL is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Release {
    Done,
    /// There is no such exchange.
    Unknown,
    /// Its PUBREC has not been sent.
    TooEarly,
}

impl Incoming {
    /// A connection begins.
    pub(super) const fn connected(&mut self) {
        self.connection = self.connection.wrapping_add(1);
    }

    /// The connection is over. At QoS 1 the server sends again what was not acknowledged, as if new.
    pub(super) fn disconnected(&mut self) {
        self.pubacks.clear();
        while let Some(id) = self.pubrecs.pop_front() {
            if let Some(entry) = self.received.get_mut(&id) {
                entry.due = false;
            }
        }
        self.outstanding = 0;
    }

    /// The session is over.
    pub(super) fn discard(&mut self) {
        self.received.clear();
        self.session = self.session.wrapping_add(1);
    }

    /// PUBLISH at QoS 1: whatever its identifier, it may be a new message [MQTT-4.3.2-5].
    pub(super) fn at_least_once(&mut self, id: PacketId, maximum: u16) -> Arrival {
        if !self.has_room(maximum) {
            return Arrival::TooMany;
        }
        self.outstanding += 1;
        self.pubacks.push_back((id, None));
        Arrival::New(AckId { packet_id: id, qos: QoS::AtLeastOnce, epoch: self.connection })
    }

    /// PUBLISH at QoS 2: until PUBREL, the same identifier is the same message [MQTT-4.3.3-10].
    pub(super) fn exactly_once(&mut self, id: PacketId, maximum: u16) -> Arrival {
        let has_room = self.has_room(maximum);
        let arrival = match self.received.get_mut(&id) {
            Some(entry) if entry.connection == self.connection => {
                if !entry.due {
                    entry.due = true;
                    self.pubrecs.push_back(id);
                }
                return Arrival::Again;
            }
            _ if !has_room => return Arrival::TooMany,
            Some(entry) => {
                entry.connection = self.connection;
                entry.due = true;
                Arrival::Again
            }
            None => {
                let entry = Received { connection: self.connection, due: true, verdict: None };
                self.received.insert(id, entry);
                Arrival::New(AckId { packet_id: id, qos: QoS::ExactlyOnce, epoch: self.session })
            }
        };
        self.outstanding += 1;
        self.pubrecs.push_back(id);
        arrival
    }

    /// The message may be acknowledged with this. False if it does not wait for that.
    pub(super) fn acknowledge(&mut self, ack: AckId, reason: ReasonCode) -> bool {
        let id = ack.packet_id;
        let slot = if ack.qos == QoS::ExactlyOnce {
            let entry = self.received.get_mut(&id).filter(|_| ack.epoch == self.session);
            entry.map(|entry| &mut entry.verdict)
        } else {
            let mut entries =
                self.pubacks.iter_mut().filter(|entry| entry.0 == id && ack.epoch == self.connection);
            entries.find(|entry| entry.1.is_none()).map(|entry| &mut entry.1)
        };
        match slot {
            Some(verdict @ None) => {
                *verdict = Some(reason);
                true
            }
            _ => false,
        }
    }

    /// The message counts as not received. Its place in the order of acknowledgements stays, so none goes past it.
    pub(super) fn decline(&mut self, ack: AckId) {
        let is_due = |entry: &Received| entry.verdict.is_none();
        if ack.qos == QoS::ExactlyOnce
            && ack.epoch == self.session
            && self.received.get(&ack.packet_id).is_some_and(is_due)
        {
            self.received.remove(&ack.packet_id);
        }
    }

    /// The next acknowledgement to be sent. PUBACKs go in the order in which the messages came, and so do PUBRECs
    /// [MQTT-4.6.0-2] [MQTT-4.6.0-3]: one that is decided waits for those before it. `errors_end`: PUBREC with an error ends
    /// the exchange, as it does in MQTT 5.
    pub(super) fn next_ack(&mut self, errors_end: bool) -> Option<(PacketType, PacketId, ReasonCode)> {
        if let Some(&(id, Some(reason))) = self.pubacks.front() {
            self.pubacks.pop_front();
            self.outstanding = self.outstanding.saturating_sub(1);
            return Some((PacketType::PubAck, id, reason));
        }
        let &id = self.pubrecs.front()?;
        let entry = self.received.get_mut(&id)?;
        let reason = entry.verdict?;
        self.pubrecs.pop_front();
        entry.due = false;
        if reason.is_error() && errors_end {
            // [MQTT-4.3.3-9]
            self.remove(id);
        }
        Some((PacketType::PubRec, id, reason))
    }

    /// PUBREL: the identifier may come with another message from now on [MQTT-4.3.3-11].
    pub(super) fn release(&mut self, id: PacketId) -> Release {
        match self.received.get(&id) {
            None => Release::Unknown,
            Some(entry) if entry.due || entry.verdict.is_none() => Release::TooEarly,
            Some(_) => {
                self.remove(id);
                Release::Done
            }
        }
    }

    fn has_room(&self, maximum: u16) -> bool {
        self.outstanding < u32::from(maximum)
    }

    fn remove(&mut self, id: PacketId) {
        if self.received.remove(&id).is_some_and(|entry| entry.connection == self.connection) {
            self.outstanding = self.outstanding.saturating_sub(1);
        }
    }
}

/// Topics by alias; for one connection [MQTT-3.3.2-7].
#[derive(Debug, Default)]
pub(super) struct Aliases(Vec<Option<Box<str>>>);

impl Aliases {
    pub(super) fn get(&self, alias: NonZeroU16) -> Option<&str> {
        self.0.get(usize::from(alias.get()) - 1)?.as_deref()
    }

    pub(super) fn set(&mut self, alias: NonZeroU16, topic: &str) {
        let at = usize::from(alias.get()) - 1;
        if self.0.len() <= at {
            self.0.resize(at + 1, None);
        }
        self.0[at] = Some(topic.into());
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
