//! Messages to the server: those that wait, and those whose exchange is not over. Never writes a packet, nor knows what the
//! server allows.

use std::collections::VecDeque;

use columba_codec::{PacketId, QoS, ReasonCode};
use columba_core::Time;

use super::event::Token;
use super::message::OutgoingMessage;
use super::packet_ids::PacketIds;

#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// For SUBSCRIBE and UNSUBSCRIBE too.
    pub(super) ids: PacketIds,
    /// Not sent in this session.
    waiting: VecDeque<Waiting>,
    /// PUBLISH sent, PUBACK or PUBREC due, in the order in which they were sent first [MQTT-4.6.0-1].
    published: VecDeque<Published>,
    /// How many of `published`, from the first, have been sent on this connection.
    fresh: usize,
    /// PUBREL sent, PUBCOMP due, in the order in which the PUBRECs came [MQTT-4.6.0-4].
    released: VecDeque<Released>,
    /// Size of the messages in `waiting` and `published`.
    bytes: usize,
}

/// A message that has no packet identifier yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) token: Token,
    pub(super) message: OutgoingMessage,
    /// Since when, for its expiry.
    pub(super) since: Time,
}

#[derive(Debug)]
struct Published {
    id: PacketId,
    waiting: Waiting,
    qos: QoS,
    /// It has been handed to a transport.
    sent: bool,
}

#[derive(Debug)]
struct Released {
    id: PacketId,
    token: Token,
    /// What PUBREC said.
    reason: ReasonCode,
}

/// What an acknowledgement was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acked {
    /// The exchange of this message is over.
    Done(Token),
    /// It goes on with PUBREL.
    Release,
    /// There is no such exchange.
    Unknown,
    /// It is not the acknowledgement that is due.
    Wrong,
}

impl Outgoing {
    /// Messages that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes of messages held.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Exchanges that are not over.
    pub(super) fn inflight(&self) -> usize {
        self.published.len() + self.released.len()
    }

    /// Those of them that this connection has seen, and so what Receive Maximum bounds [MQTT-3.3.4-7]. Those in their second
    /// half are all counted: a server may do so, and they are over soon.
    pub(super) fn outstanding(&self) -> usize {
        self.fresh + self.released.len()
    }

    pub(super) fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.message.size();
        self.waiting.push_back(waiting);
    }

    /// The next message that has to be sent again on this connection.
    pub(super) fn next_again(&self) -> Option<(&Waiting, PacketId, QoS)> {
        let entry = self.published.get(self.fresh)?;
        Some((&entry.waiting, entry.id, entry.qos))
    }

    /// It was sent again.
    pub(super) const fn sent_again(&mut self) {
        self.fresh += 1;
    }

    /// It is given up.
    pub(super) fn drop_again(&mut self) -> Option<Token> {
        let entry = self.published.remove(self.fresh)?;
        Some(self.forget(&entry))
    }

    /// The next message to be sent for the first time.
    pub(super) fn front(&self) -> Option<&Waiting> {
        self.waiting.front()
    }

    /// It was sent, or is given up.
    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.waiting.pop_front()?;
        self.bytes -= waiting.message.size();
        Some(waiting)
    }

    /// It was encoded with this identifier and has to be acknowledged. All that had to be sent again has been.
    pub(super) fn encoded(&mut self, id: PacketId, qos: QoS) {
        if let Some(waiting) = self.waiting.pop_front() {
            self.published.push_back(Published { id, waiting, qos, sent: false });
            self.fresh += 1;
        }
    }

    /// PUBACK [MQTT-4.3.2-3].
    pub(super) fn puback(&mut self, id: PacketId) -> Acked {
        match self.position(id) {
            Some(at) if self.published[at].qos == QoS::AtLeastOnce => self.complete(at),
            Some(_) => Acked::Wrong,
            None if self.is_released(id) => Acked::Wrong,
            None => Acked::Unknown,
        }
    }

    /// PUBREC. The message need not be kept any longer: from here on PUBREL is what is sent again [MQTT-4.3.3-6].
    pub(super) fn pubrec(&mut self, id: PacketId, reason: ReasonCode) -> Acked {
        let Some(at) = self.position(id) else {
            // Perhaps the answer to a PUBLISH that was sent again just before its PUBREC came.
            return if self.is_released(id) { Acked::Release } else { Acked::Unknown };
        };
        if self.published[at].qos != QoS::ExactlyOnce {
            return Acked::Wrong;
        }
        if reason.is_error() {
            // [MQTT-4.4.0-2]
            return self.complete(at);
        }
        if let Some(entry) = self.take(at) {
            self.bytes -= entry.waiting.message.size();
            self.released.push_back(Released { id, token: entry.waiting.token, reason });
        }
        Acked::Release
    }

    /// PUBCOMP. With what its PUBREC said.
    pub(super) fn pubcomp(&mut self, id: PacketId) -> (Acked, ReasonCode) {
        if let Some(at) = self.released.iter().position(|entry| entry.id == id)
            && let Some(entry) = self.released.remove(at)
        {
            self.ids.release(id);
            return (Acked::Done(entry.token), entry.reason);
        }
        let acked = if self.position(id).is_some() { Acked::Wrong } else { Acked::Unknown };
        (acked, ReasonCode::Success)
    }

    /// All that is encoded has been handed to the transport.
    pub(super) fn transmitted(&mut self) {
        for entry in self.published.iter_mut().rev().take_while(|entry| !entry.sent) {
            entry.sent = true;
        }
    }

    /// The connection is over: everything has to be sent again, but for what was encoded and never sent.
    pub(super) fn disconnected(&mut self) {
        self.fresh = 0;
        while let Some(entry) = self.published.pop_back_if(|entry| !entry.sent) {
            self.wait_again(entry);
        }
    }

    /// The PUBRELs that a new connection to the same session begins with [MQTT-4.4.0-1].
    pub(super) fn released(&self) -> impl Iterator<Item = PacketId> {
        self.released.iter().map(|entry| entry.id)
    }

    /// The session is over. What is not acknowledged waits again, as a new message and before the others; messages that the
    /// server has taken with PUBREC are done, and returned.
    pub(super) fn discard(&mut self) -> Vec<(Token, ReasonCode)> {
        self.fresh = 0;
        while let Some(entry) = self.published.pop_back() {
            self.wait_again(entry);
        }
        let done = std::mem::take(&mut self.released);
        let done = done.into_iter().map(|entry| {
            self.ids.release(entry.id);
            (entry.token, entry.reason)
        });
        done.collect()
    }

    /// Acknowledgements come in order, so it is one of the first.
    fn position(&self, id: PacketId) -> Option<usize> {
        self.published.iter().position(|entry| entry.id == id)
    }

    fn is_released(&self, id: PacketId) -> bool {
        self.released.iter().any(|entry| entry.id == id)
    }

    fn wait_again(&mut self, entry: Published) {
        self.ids.release(entry.id);
        self.waiting.push_front(entry.waiting);
    }

    fn complete(&mut self, at: usize) -> Acked {
        self.take(at).map_or(Acked::Unknown, |entry| Acked::Done(self.forget(&entry)))
    }

    fn take(&mut self, at: usize) -> Option<Published> {
        self.fresh -= usize::from(at < self.fresh);
        self.published.remove(at)
    }

    fn forget(&mut self, entry: &Published) -> Token {
        self.ids.release(entry.id);
        self.bytes -= entry.waiting.message.size();
        entry.waiting.token
    }
}
