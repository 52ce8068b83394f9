//! Output of one connection: what waits becomes bytes here, where the packet identifier, the alias, the remaining
//! expiry and the room the client has are known.

use columba_codec::{PacketId, PacketType, PublishHead, QoS, ReasonCode, SubscriptionId, Version};
use slab::Slab;

use crate::Time;
use crate::aliases::Choice;
use crate::chunks::Chunks;
use crate::connection::{Connection, Phase};
use crate::core::{Core, Flow};
use crate::event::{DropCause, Event, EventMask};
use crate::inflight::State;
use crate::keys::ConnectionKey;
use crate::message::Message;
use crate::parcel::Parcel;
use crate::session::{Delivery, Extra, Notes};

/// The largest packet there can be; a broker adds properties to what it forwards.
const LARGEST_PACKET: usize = 268_435_460;
/// A payload from which on a packet may come near that.
const CAN_OVERFLOW: usize = 128 << 20;

/// What became of a delivery that was taken off the queue.
enum Outcome {
    Written,
    /// The client does not take packets of that size.
    TooLarge,
}

/// Where what is sent goes.
trait Outlet {
    /// Bytes so far, as counted for the budget of a turn.
    fn len(&self) -> usize;

    /// Where packets other than PUBLISH go.
    fn bytes(&mut self) -> &mut Chunks;

    /// Takes a PUBLISH. One without a packet identifier is over with that: unless it is too large, the outlet lets go of
    /// the delivery.
    fn publish(&mut self, core: &mut Core, sending: &Sending) -> Outcome;
}

/// A delivery as it is sent this time.
struct Sending {
    connection: u32,
    delivery: Delivery,
    id: Option<PacketId>,
    dup: bool,
}

impl Outlet for Chunks {
    fn len(&self) -> usize {
        self.len()
    }

    fn bytes(&mut self) -> &mut Chunks {
        self
    }

    #[inline]
    fn publish(&mut self, core: &mut Core, sending: &Sending) -> Outcome {
        let connection = &mut core.connections[sending.connection];
        let message = core.messages.get(sending.delivery.message);
        let mut single = [SubscriptionId::MAX];
        let mut head = sending.head(message);
        if connection.version == Version::V5 {
            head.forwarded = message.forwarded();
            // [MQTT-3.3.2-6]
            head.message_expiry = message.remaining_expiry(core.now);
            head.subscription_ids = sending.subscription_ids(&core.extras, &mut single);
            if let Some(aliases) = &connection.aliases {
                match aliases.outgoing.choose(head.topic) {
                    Choice::Plain => {}
                    Choice::Set(alias) => head.topic_alias = Some(alias),
                    Choice::Use(alias) => {
                        head.topic_alias = Some(alias);
                        head.topic = "";
                    }
                }
            }
        }
        if is_too_large(connection, &head) {
            return Outcome::TooLarge;
        }
        head.encode(connection.version, self.tail());
        match message.shared() {
            Some(shared) => self.link(shared.clone()),
            None => self.put(message.payload()),
        }
        if let Some(aliases) = &mut connection.aliases {
            aliases.outgoing.commit(message.topic());
        }
        if sending.id.is_none() {
            core.let_go(&sending.delivery);
        }
        Outcome::Written
    }
}

/// Messages stay decoded, everything else becomes bytes.
struct Decoded<'a> {
    bytes: &'a mut Chunks,
    parcels: &'a mut Vec<Parcel>,
    payload_bytes: usize,
}

/// What a parcel counts beside its payload for the budget of a turn: about as much as its head would as bytes.
const PARCEL_HEAD: usize = 32;

impl Outlet for Decoded<'_> {
    fn len(&self) -> usize {
        self.bytes.len() + self.payload_bytes + self.parcels.len() * PARCEL_HEAD
    }

    fn bytes(&mut self) -> &mut Chunks {
        self.bytes
    }

    #[inline]
    fn publish(&mut self, core: &mut Core, sending: &Sending) -> Outcome {
        let connection = &core.connections[sending.connection];
        let v5 = connection.version == Version::V5;
        let message = core.messages.get(sending.delivery.message);
        if may_be_too_large(connection, message.size()) && sending.is_too_large(core) {
            return Outcome::TooLarge;
        }
        let mut single = [SubscriptionId::MAX];
        let ids = if v5 { sending.subscription_ids(&core.extras, &mut single) } else { &[] };
        let expiry = if v5 { message.remaining_expiry(core.now) } else { None };
        let content = match sending.id {
            Some(_) => core.messages.share(sending.delivery.message),
            None => core.messages.part_with(sending.delivery.message, &mut core.timers),
        };
        let content =
            if v5 || content.forwarded().is_empty() { content } else { content.without_properties().into() };
        self.payload_bytes += content.payload().len();
        let parcel = Parcel::new(content)
            .with_qos(sending.delivery.qos(), sending.id)
            .with_retain(sending.delivery.retain)
            .with_dup(sending.dup)
            .with_notes(expiry, ids);
        self.parcels.push(parcel);
        if sending.id.is_none() {
            core.let_go_notes(&sending.delivery);
        }
        Outcome::Written
    }
}

impl Sending {
    /// Whether the client would not take it as bytes, topic aliases aside.
    #[cold]
    fn is_too_large(&self, core: &Core) -> bool {
        let connection = &core.connections[self.connection];
        let message = core.messages.get(self.delivery.message);
        let mut single = [SubscriptionId::MAX];
        let mut head = self.head(message);
        if connection.version == Version::V5 {
            head.forwarded = message.forwarded();
            head.message_expiry = message.remaining_expiry(core.now);
            head.subscription_ids = self.subscription_ids(&core.extras, &mut single);
        }
        is_too_large(connection, &head)
    }

    /// What is the same in all versions of MQTT.
    #[inline]
    fn head<'a>(&self, message: &'a Message) -> PublishHead<'a> {
        PublishHead {
            // [MQTT-3.3.1-1] [MQTT-3.3.1-3]
            dup: self.dup,
            qos: self.delivery.qos(),
            retain: self.delivery.retain,
            topic: message.topic(),
            packet_id: self.id,
            topic_alias: None,
            message_expiry: None,
            subscription_ids: &[],
            forwarded: &[],
            payload_len: message.payload().len(),
        }
    }

    #[inline]
    fn subscription_ids<'a>(
        &self,
        extras: &'a Slab<Extra>,
        single: &'a mut [SubscriptionId; 1],
    ) -> &'a [SubscriptionId] {
        match self.delivery.notes() {
            Notes::None => &[],
            Notes::Id(id) => {
                single[0] = id;
                single
            }
            Notes::Extra(extra) => &extras[extra as usize].ids,
        }
    }
}

/// Whether the client, or the format, may take no packet with a payload of up to this size. [`is_too_large`] knows for
/// sure.
#[inline]
fn may_be_too_large(connection: &Connection, payload_len: usize) -> bool {
    connection.maximum_packet_size < u32::MAX || payload_len > CAN_OVERFLOW
}

/// [MQTT-3.1.2-24]
fn is_too_large(connection: &Connection, head: &PublishHead<'_>) -> bool {
    may_be_too_large(connection, head.payload_len)
        && head.encoded_len(connection.version) > LARGEST_PACKET.min(connection.maximum_packet_size as usize)
}

impl Core {
    /// Appends to `out` what the connection has to send, up to
    /// [`Limits::transmit_budget`](crate::Limits::transmit_budget) or a packet more.
    pub fn poll_transmit(&mut self, now: Time, connection: ConnectionKey, out: &mut Chunks) -> Flow {
        self.advance_to(now);
        let before = out.len();
        let flow = self.transmit(connection, out);
        self.metrics.bytes_sent += (out.len() - before) as u64;
        flow
    }

    /// The same for a client in the same process: PUBLISH packets are appended to `parcels`, decoded and without topic
    /// aliases, and all others to `out`, so that they go before.
    pub fn poll_transmit_parcels(
        &mut self,
        now: Time,
        connection: ConnectionKey,
        out: &mut Chunks,
        parcels: &mut Vec<Parcel>,
    ) -> Flow {
        self.advance_to(now);
        let before = out.len();
        let mut outlet = Decoded { bytes: out, parcels, payload_bytes: 0 };
        let flow = self.transmit(connection, &mut outlet);
        let payload_bytes = outlet.payload_bytes;
        self.metrics.bytes_sent += (out.len() - before + payload_bytes) as u64;
        flow
    }

    #[inline]
    fn transmit(&mut self, connection: ConnectionKey, out: &mut impl Outlet) -> Flow {
        let Some(index) = self.connections.resolve_connection(connection) else {
            return Flow::Close;
        };
        self.connections[index].ready = false;
        self.transmit_control(index, out.bytes());
        match (self.connections[index].phase, self.connections[index].session) {
            // After DISCONNECT or a refusal, messages that wait are not sent [MQTT-3.14.4-1].
            (Phase::Closing, _) => Flow::Close,
            (Phase::Online, Some(session)) => self.transmit_session(index, session, out),
            _ => Flow::Idle,
        }
    }

    /// Appends only what waits besides messages: acknowledgements and the like. For a client that takes no more
    /// messages for now and must not wait for its answers; [`poll_transmit`](Self::poll_transmit) goes on later.
    pub fn poll_transmit_control(&mut self, now: Time, connection: ConnectionKey, out: &mut Chunks) -> Flow {
        self.advance_to(now);
        let Some(index) = self.connections.resolve_connection(connection) else {
            return Flow::Close;
        };
        let before = out.len();
        self.connections[index].ready = false;
        self.transmit_control(index, out);
        self.metrics.bytes_sent += (out.len() - before) as u64;
        if self.connections[index].phase == Phase::Closing { Flow::Close } else { Flow::Idle }
    }

    /// What is not PUBLISH goes first, whatever the client has left unacknowledged [MQTT-3.3.4-10]
    /// [MQTT-4.9.0-3].
    fn transmit_control(&mut self, index: u32, out: &mut Chunks) {
        let connection = &mut self.connections[index];
        if connection.control.is_empty() {
            return;
        }
        self.metrics.packets_sent += u64::from(std::mem::take(&mut connection.control_packets));
        out.put(&connection.control);
        let buffer = std::mem::take(&mut connection.control);
        self.recycle(buffer);
    }

    fn transmit_session(&mut self, index: u32, session: u32, out: &mut impl Outlet) -> Flow {
        let limit = out.len() + self.config.limits.transmit_budget;
        let quota = self.connections[index].send_maximum;
        if !self.sessions[session].inflight.all_resent() && !self.resend(index, session, quota, limit, out) {
            return if out.len() >= limit { Flow::More } else { Flow::Idle };
        }
        loop {
            if out.len() >= limit {
                return Flow::More;
            }
            let state = &mut self.sessions[session];
            let Some(&delivery) = state.queue.waiting.front() else {
                let was_full = state.queue.reported_full;
                state.queue.shrink();
                if was_full {
                    self.members_changed(session);
                }
                return Flow::Idle;
            };
            let may_send = || state.inflight.outstanding() < quota && state.inflight.has_free_id();
            if delivery.qos() > QoS::AtMostOnce && !may_send() {
                // [MQTT-3.3.4-9] [MQTT-4.9.0-2]: an acknowledgement sets this going again.
                return Flow::Idle;
            }
            state.queue.waiting.pop_front();
            self.transmit_new(index, session, delivery, out);
        }
    }

    /// Sends again what was not acknowledged on an earlier connection, in the order it was first sent
    /// [MQTT-4.4.0-1]. True when nothing is left to send again.
    fn resend(&mut self, index: u32, session: u32, quota: u16, limit: usize, out: &mut impl Outlet) -> bool {
        while out.len() < limit {
            let Some(entry) = self.sessions[session].inflight.next_resend(quota) else {
                return self.sessions[session].inflight.all_resent();
            };
            let Some(id) = PacketId::new(entry.id) else {
                continue;
            };
            if entry.state == State::Released {
                let version = self.connections[index].version;
                columba_codec::packet::encode_ack(
                    PacketType::PubRel,
                    id,
                    ReasonCode::Success,
                    version,
                    out.bytes().tail(),
                );
                self.metrics.packets_sent += 1;
            } else if let Outcome::TooLarge = self.write(index, session, &entry.delivery, Some(id), true, out)
            {
                self.drop_too_large(session, &entry.delivery, Some(id));
            }
        }
        self.sessions[session].inflight.all_resent()
    }

    /// Sends a delivery for the first time: not marked as a duplicate, and at QoS 1 and 2 with an identifier
    /// that is free [MQTT-4.3.1-1] [MQTT-4.3.2-2] [MQTT-4.3.3-2].
    #[inline]
    fn transmit_new(&mut self, index: u32, session: u32, delivery: Delivery, out: &mut impl Outlet) {
        if self.messages.get(delivery.message).is_expired() {
            // [MQTT-3.3.2-5]
            return self.drop_one_expired(session, &delivery);
        }
        let id = (delivery.qos() > QoS::AtMostOnce).then(|| {
            self.messages.pin(delivery.message);
            self.sessions[session].inflight.push(delivery)
        });
        if id.is_none() {
            self.uncount(session, &delivery);
        }
        if let Outcome::TooLarge = self.write(index, session, &delivery, id, false, out) {
            self.drop_too_large(session, &delivery, id);
        }
    }

    /// As if it had been sent and acknowledged [MQTT-3.1.2-25].
    #[cold]
    fn drop_too_large(&mut self, session: u32, delivery: &Delivery, id: Option<PacketId>) {
        let client_id = self.sessions[session].client_id.clone();
        self.report_drop(&client_id, delivery, DropCause::TooLarge);
        if let Some(id) = id {
            self.sessions[session].inflight.complete(id);
            self.messages.unpin(delivery.message);
            self.uncount(session, delivery);
        }
        self.let_go(delivery);
    }

    #[inline]
    fn write(
        &mut self,
        index: u32,
        session: u32,
        delivery: &Delivery,
        id: Option<PacketId>,
        dup: bool,
        out: &mut impl Outlet,
    ) -> Outcome {
        let topic = self.config.events.contains(EventMask::DELIVERED).then(|| self.topic_of(delivery));
        let sending = Sending { connection: index, delivery: *delivery, id, dup };
        if let Outcome::TooLarge = out.publish(self, &sending) {
            return Outcome::TooLarge;
        }
        self.metrics.packets_sent += 1;
        self.metrics.publishes_sent += 1;
        if let Some(topic) = topic {
            self.report_delivered(session, topic, delivery.qos(), dup);
        }
        Outcome::Written
    }

    #[cold]
    fn report_delivered(&mut self, session: u32, topic: Box<str>, qos: QoS, dup: bool) {
        self.emit(EventMask::DELIVERED, |core| Event::Delivered {
            client_id: core.sessions[session].client_id.clone(),
            topic,
            qos,
            dup,
        });
    }

    #[cold]
    fn topic_of(&self, delivery: &Delivery) -> Box<str> {
        self.messages.get(delivery.message).topic().into()
    }
}
