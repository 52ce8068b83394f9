//! The place where an in-process client and its driver meet: packets one way, decoded messages and answers the
//! other. It knows the client's side of MQTT and nothing of the broker.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use columba_core::codec::{self, Ack, FixedHeader, Packet, PacketId, PacketType, QoS, ReasonCode, Version};
use columba_core::{Chunks, Parcel};
use futures::channel::oneshot;

use crate::client::ClientError;
use crate::message::Message;

/// Shared between the client's handles and the driver.
#[derive(Debug, Default)]
pub(crate) struct Local {
    state: Mutex<State>,
    /// Wakes the driver for this client, once there is one.
    driver: OnceLock<Waker>,
    /// The messages that wait fill the client's share. The driver sets it and the client takes it off, both with the
    /// lock held; the driver reads it without.
    blocked: AtomicBool,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// Packets for the broker.
    pub(crate) outgoing: VecDeque<Outgoing>,
    /// Messages for the client.
    messages: VecDeque<Parcel>,
    /// Payload bytes in `messages`.
    message_bytes: usize,
    /// Tasks that wait for a message.
    receivers: Vec<Waker>,
    /// Tasks that wait for room in `outgoing`.
    senders: Vec<Waker>,
    /// Whoever waits for an acknowledgement, by packet identifier.
    waiting: HashMap<PacketId, oneshot::Sender<Answer>>,
    /// Answers that have come and are to be handed over.
    answered: Vec<(oneshot::Sender<Answer>, Answer)>,
    /// How many more messages above QoS 0 the broker takes before it has acknowledged one [MQTT-3.3.4-7].
    quota: u16,
    last_id: u16,
    /// QoS 2 messages received whose PUBREL is due, so that one sent again is not taken for another.
    unreleased: Vec<PacketId>,
    connected: Option<oneshot::Sender<Answer>>,
    pub(crate) closed: Option<ClientError>,
}

/// A packet on its way to the broker. The others fit into what a parcel leaves, so that a thousand that wait are no larger
/// than their parcels.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Encoded(Box<[u8]>),
    Ack(PacketType, PacketId),
    Publish(Parcel),
}

/// What came back for a request.
#[derive(Debug)]
pub(crate) enum Answer {
    Connected { session_present: bool, client_id: Option<String> },
    Acknowledged(ReasonCode),
    Reasons(Vec<ReasonCode>),
}

const PINGREQ: [u8; 2] = [(PacketType::PingReq as u8) << 4, 0];
/// Packets that may wait for the broker.
const MAX_OUTGOING: usize = 1024;
/// Messages, and bytes of them, that may wait for the client before the broker keeps the rest in its session.
const MAX_MESSAGES: usize = 4096;
const MAX_MESSAGE_BYTES: usize = 16 << 20;

impl Local {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The driver that has taken this client in.
    pub(crate) fn set_driver(&self, driver: Waker) {
        // A client is taken in once.
        let _ = self.driver.set(driver);
    }

    pub(crate) fn wake_driver(&self) {
        if let Some(driver) = self.driver.get() {
            driver.wake_by_ref();
        }
    }

    /// Hands a PUBLISH at QoS 0 to the driver; gives it back if there is no room for it.
    #[inline]
    pub(crate) fn try_publish(&self, parcel: Parcel) -> Result<Option<Parcel>, ClientError> {
        let first = {
            let mut state = self.lock();
            if let Some(error) = &state.closed {
                return Err(error.clone());
            }
            if state.outgoing.len() >= MAX_OUTGOING {
                return Ok(Some(parcel));
            }
            state.outgoing.push_back(Outgoing::Publish(parcel));
            state.outgoing.len() == 1
        };
        if first {
            self.wake_driver();
        }
        Ok(None)
    }

    /// Hands a packet to the driver, if there is room for it.
    pub(crate) fn poll_send(
        &self,
        cx: &Context<'_>,
        packet: &mut Option<Outgoing>,
    ) -> Poll<Result<(), ClientError>> {
        let (outcome, first) = {
            let mut state = self.lock();
            let outcome = state.poll_send(cx, packet);
            (outcome, state.outgoing.len() == 1)
        };
        // What waits already has woken the driver, or the driver has left it there and comes back.
        if first && outcome == Poll::Ready(Ok(())) {
            self.wake_driver();
        }
        outcome
    }

    pub(crate) fn poll_message(&self, cx: &Context<'_>) -> Poll<Option<Message>> {
        let (message, unblocked) = {
            let mut state = self.lock();
            let message = state.poll_message(cx);
            (message, self.is_blocked() && state.has_room() && self.blocked.swap(false, Ordering::AcqRel))
        };
        if unblocked {
            self.wake_driver();
        }
        message
    }

    /// Shows the broker that the client is there.
    pub(crate) fn ping(&self) {
        self.lock().outgoing.push_back(Outgoing::Encoded(PINGREQ.into()));
        self.wake_driver();
    }

    /// Whether the client is to be given no more messages for now.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Acquire)
    }

    /// Takes in what the broker sends.
    pub(crate) fn deliver(&self, out: &mut Chunks, parcels: &mut Vec<Parcel>) {
        let mut state = self.lock();
        if !out.is_empty() {
            state.take_packets(&out.to_vec());
            out.clear();
        }
        state.take_parcels(parcels);
        // Once it has enough, it has until it has taken half of it.
        if state.messages.len() >= MAX_MESSAGES || state.message_bytes >= MAX_MESSAGE_BYTES {
            self.blocked.store(true, Ordering::Release);
        }
        let acknowledges = !state.outgoing.is_empty();
        wake(state);
        if acknowledges {
            self.wake_driver();
        }
    }

    /// Nothing more comes.
    pub(crate) fn close(&self, why: ClientError) {
        let mut state = self.lock();
        state.closed.get_or_insert(why);
        // Dropped last: it tells those who wait.
        let _unanswered = (std::mem::take(&mut state.waiting), state.connected.take());
        wake(state);
    }
}

/// Wakes whoever can go on, outside of the lock: a waker may run the task it wakes, or drop it, and a client in it.
pub(crate) fn wake(mut state: MutexGuard<'_, State>) {
    let closed = state.closed.is_some();
    let receives = !state.receivers.is_empty() && (closed || !state.messages.is_empty());
    let sends = !state.senders.is_empty() && (closed || state.outgoing.len() < MAX_OUTGOING);
    // One task that reads is the usual case: the room for it is kept.
    let receiver = if receives { state.receivers.pop() } else { None };
    let more = receives && !state.receivers.is_empty();
    if !more && !sends && state.answered.is_empty() {
        drop(state);
        return receiver.into_iter().for_each(Waker::wake);
    }
    let more = if more { std::mem::take(&mut state.receivers) } else { Vec::new() };
    let senders = if sends { std::mem::take(&mut state.senders) } else { Vec::new() };
    let answered = std::mem::take(&mut state.answered);
    drop(state);
    for (waiting, answer) in answered {
        // Whoever asked may have given up.
        let _ = waiting.send(answer);
    }
    more.into_iter().chain(receiver).chain(senders).for_each(Waker::wake);
}

impl State {
    fn poll_send(
        &mut self,
        cx: &Context<'_>,
        packet: &mut Option<Outgoing>,
    ) -> Poll<Result<(), ClientError>> {
        if let Some(error) = &self.closed {
            return Poll::Ready(Err(error.clone()));
        }
        let counted = matches!(packet, Some(Outgoing::Publish(parcel)) if parcel.qos() > QoS::AtMostOnce);
        if self.outgoing.len() >= MAX_OUTGOING || (counted && self.quota == 0) {
            if !self.senders.last().is_some_and(|last| last.will_wake(cx.waker())) {
                self.senders.push(cx.waker().clone());
            }
            return Poll::Pending;
        }
        self.quota -= u16::from(counted);
        self.outgoing.extend(packet.take());
        Poll::Ready(Ok(()))
    }

    fn poll_message(&mut self, cx: &Context<'_>) -> Poll<Option<Message>> {
        let Some(parcel) = self.messages.pop_front() else {
            if self.closed.is_some() {
                return Poll::Ready(None);
            }
            if !self.receivers.iter().any(|waker| waker.will_wake(cx.waker())) {
                self.receivers.push(cx.waker().clone());
            }
            return Poll::Pending;
        };
        self.message_bytes -= parcel.content().payload().len();
        Poll::Ready(Some(Message::new(parcel)))
    }

    /// Whether the client has taken enough to be given more again.
    fn has_room(&self) -> bool {
        self.messages.len() < MAX_MESSAGES / 2 && self.message_bytes < MAX_MESSAGE_BYTES / 2
    }

    /// A packet identifier nobody waits for, and the place where its answer will come.
    pub(crate) fn expect(&mut self) -> Option<(PacketId, oneshot::Receiver<Answer>)> {
        if self.waiting.len() >= usize::from(u16::MAX) {
            return None;
        }
        let id = loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            match PacketId::new(self.last_id) {
                Some(id) if !self.waiting.contains_key(&id) => break id,
                _ => {}
            }
        };
        let (sender, receiver) = oneshot::channel();
        self.waiting.insert(id, sender);
        Some((id, receiver))
    }

    /// The request with this packet identifier is not made after all.
    pub(crate) fn forget(&mut self, id: PacketId) {
        self.waiting.remove(&id);
    }

    pub(crate) fn expect_connected(&mut self) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        self.connected = Some(sender);
        receiver
    }

    /// Packets one after the other, none of which is PUBLISH.
    fn take_packets(&mut self, mut bytes: &[u8]) {
        while let Ok(Some(header)) = FixedHeader::read(bytes, usize::MAX) {
            let body = &bytes[header.len..header.total()];
            match Packet::decode(header, body, Version::V5) {
                Ok(packet) => self.take_answer(&packet),
                Err(_) => debug_assert!(false, "the broker sends packets that decode"),
            }
            bytes = &bytes[header.total()..];
        }
    }

    fn take_parcels(&mut self, parcels: &mut Vec<Parcel>) {
        if parcels.iter().any(|parcel| parcel.packet_id().is_some()) {
            parcels.retain(|parcel| self.answer_publish(parcel));
        }
        self.message_bytes += parcels.iter().map(|parcel| parcel.content().payload().len()).sum::<usize>();
        let room = self.messages.capacity().max(2 * parcels.len());
        if self.messages.is_empty() && parcels.capacity() <= room {
            // All at once, for the room that has become free; but nobody keeps much more of it than was needed.
            let free = std::mem::replace(&mut self.messages, std::mem::take(parcels).into());
            *parcels = free.into();
        } else {
            self.messages.extend(parcels.drain(..));
        }
    }

    /// Acknowledges a PUBLISH where it asks for that; false if it has come before.
    fn answer_publish(&mut self, parcel: &Parcel) -> bool {
        let Some(id) = parcel.packet_id() else {
            return true;
        };
        if parcel.qos() == QoS::AtLeastOnce {
            self.acknowledge(PacketType::PubAck, id);
            return true;
        }
        let is_new = !self.unreleased.contains(&id);
        if is_new {
            self.unreleased.push(id);
        }
        self.acknowledge(PacketType::PubRec, id);
        is_new
    }

    fn acknowledge(&mut self, packet: PacketType, id: PacketId) {
        // Whether there is room or not: acknowledgements never outnumber messages.
        self.outgoing.push_back(Outgoing::Ack(packet, id));
    }

    fn take_answer(&mut self, packet: &Packet<'_>) {
        match packet {
            Packet::ConnAck(packet) if packet.reason == ReasonCode::Success => {
                self.quota = packet.properties.receive_maximum.map_or(u16::MAX, Into::into);
                let answer = Answer::Connected {
                    session_present: packet.session_present,
                    client_id: packet.properties.assigned_client_id.map(Into::into),
                };
                self.answered.extend(self.connected.take().map(|waiting| (waiting, answer)));
            }
            Packet::ConnAck(packet) => self.closed = Some(ClientError::Refused(packet.reason)),
            Packet::PubAck(ack) | Packet::PubComp(ack) => self.acknowledged(ack),
            Packet::PubRec(ack) if ack.reason.is_error() => self.acknowledged(ack),
            Packet::PubRec(ack) => self.acknowledge(PacketType::PubRel, ack.packet_id),
            Packet::PubRel(ack) => {
                self.unreleased.retain(|id| *id != ack.packet_id);
                self.acknowledge(PacketType::PubComp, ack.packet_id);
            }
            Packet::SubAck(ack) => self.reasons(ack.packet_id, &ack.reasons),
            Packet::UnsubAck(ack) => self.reasons(ack.packet_id, &ack.reasons),
            Packet::Disconnect(packet) => self.closed = Some(ClientError::Disconnected(packet.reason)),
            _ => {}
        }
    }

    fn acknowledged(&mut self, ack: &Ack<'_>) {
        self.quota = self.quota.saturating_add(1);
        self.answer(ack.packet_id, Answer::Acknowledged(ack.reason));
    }

    fn reasons(&mut self, id: PacketId, reasons: &codec::List<'_, ReasonCode>) {
        self.answer(id, Answer::Reasons(reasons.iter().collect()));
    }

    fn answer(&mut self, id: PacketId, answer: Answer) {
        self.answered.extend(self.waiting.remove(&id).map(|waiting| (waiting, answer)));
    }
}

#[cfg(test)]
mod tests {
    use columba_core::Content;
    use columba_core::codec::TopicBuf;

    use super::*;

    #[test]
    fn a_packet_is_no_larger_than_a_parcel() {
        assert_eq!(size_of::<Outgoing>(), size_of::<Parcel>());
        assert_eq!(size_of::<Option<Outgoing>>(), size_of::<Parcel>());
    }

    #[test]
    fn a_client_keeps_no_more_room_than_it_needed() {
        let parcel = Parcel::new(Content::new(TopicBuf::parse("a".into()).unwrap(), "hello".into()));
        let mut parcels = Vec::with_capacity(1000);
        let (few, many) = (Local::default(), Local::default());
        parcels.push(parcel.clone());
        few.deliver(&mut Chunks::new(), &mut parcels);
        assert!(parcels.is_empty() && parcels.capacity() >= 1000, "the driver keeps it");
        assert!(few.lock().messages.capacity() < 100);
        parcels.extend(std::iter::repeat_n(parcel, 1000));
        many.deliver(&mut Chunks::new(), &mut parcels);
        assert!(parcels.is_empty());
        let state = many.lock();
        assert_eq!((state.messages.len(), state.message_bytes), (1000, 5000));
    }
}
