//! The broker's state and the calls a shell makes. What a call leads to is in the modules beside this one.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use bytes::{Buf, Bytes, BytesMut};
use columba_codec::{DecodeError, FixedHeader, Packet, PacketType, Publish, ReasonCode};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use slab::Slab;

use crate::Time;
use crate::auth::{Authorize, Peer};
use crate::config::Config;
use crate::connection::{Connection, Phase};
use crate::event::{Cause, Event, EventMask, Fault};
use crate::ids::{Ids, Seed};
use crate::keys::{Arena, ConnectionKey, SessionKey};
use crate::message::{Messages, SHARE_FROM};
use crate::metrics::Metrics;
use crate::parcel::Parcel;
use crate::route::Scratch;
use crate::session::{Extra, Session};
use crate::shards::Joined;
use crate::timers::{Due, Timers};
use crate::topics::{Retained, Subscriptions};

/// One broker, or one shard of one. It does no I/O and never blocks: bytes, closings and time go in, bytes, events
/// and one deadline come out.
///
/// After any call that takes something in, the shell drains [`poll_event`](Self::poll_event),
/// [`poll_ready`](Self::poll_ready) and [`poll_abort`](Self::poll_abort) until all are empty, and asks
/// [`poll_timeout`](Self::poll_timeout) when it has to come back at the latest. Calls that are told the time, sending
/// included, first do what is due by then.
pub struct Core {
    pub(crate) config: Config,
    pub(crate) authorize: Option<Box<dyn Authorize>>,
    pub(crate) now: Time,
    pub(crate) connections: Arena<Connection>,
    pub(crate) sessions: Arena<Session>,
    /// Sessions by client id.
    pub(crate) clients: HashTable<u32>,
    pub(crate) hasher: FixedState,
    pub(crate) ids: Ids,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) retained: Retained,
    pub(crate) retained_bytes: usize,
    pub(crate) messages: Messages,
    pub(crate) will_bytes: usize,
    /// What some deliveries have to remember.
    pub(crate) extras: Slab<Extra>,
    pub(crate) timers: Timers,
    pub(crate) ready: VecDeque<u32>,
    pub(crate) aborts: VecDeque<ConnectionKey>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) metrics: Metrics,
    pub(crate) handshakes: usize,
    pub(crate) tickets: u32,
    /// A refusal at the ceiling of stored bytes has been reported.
    pub(crate) reported_store_full: bool,
    pub(crate) scratch: Scratch,
    /// What the call under way has cost so far, in units of a delivery.
    pub(crate) work: usize,
    /// Messages that have expired since the start; wraps.
    pub(crate) expiries: u32,
    /// Connections to be closed because their queue overflowed, with their sessions.
    pub(crate) overflowed: Vec<(u32, u32)>,
    /// Buffers for the control packets of connections that have none at the moment.
    pub(crate) spare: Vec<Vec<u8>>,
    /// The other shards, if this is one of several.
    pub(crate) shards: Joined,
}

/// What the shell should do with a connection's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Intake {
    /// All whole packets are taken; go on reading.
    Open,
    /// Stop reading and keep what is left: the connection has too much unsent output, waits for a verdict, or has
    /// had its turn. When
    /// [`Core::poll_ready`] names it again, call [`Core::receive`] again.
    Paused,
    /// The connection is closing; nothing more is read.
    Closed,
    /// The client belongs to the shard of this number. Its packet has not been taken: [`Core::release`] the connection,
    /// open it there and hand in the same input. Comes only where there are shards.
    Moved(usize),
}

/// What the shell should do after [`Core::poll_transmit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    /// That was all; [`Core::poll_ready`] names the connection when there is more.
    Idle,
    /// There is more; call again when the transport has taken these bytes.
    More,
    /// That was the last: send it, close the transport, then call [`Core::close`].
    Close,
}

/// Why the shell closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCause {
    /// The peer ended the stream, or the transport failed.
    Transport,
    /// The core had asked for it by [`Flow::Close`] or [`Core::poll_abort`].
    Asked,
}

/// Informational events that may wait; beyond, they are counted as lost.
const MAX_EVENTS: usize = 65_536;
/// Deliveries, filters, and places in the trees of topics, after which one connection's input waits for the others'.
const WORK_BUDGET: usize = 65_536;
/// Spare buffers worth keeping, and how large one may be.
const MAX_SPARE: usize = 64;
const MAX_SPARE_SIZE: usize = 16 << 10;

impl Core {
    /// A broker without connections. Two with the same configuration, seed, authoriser and calls behave the same.
    /// Limits below what MQTT requires are raised to it ([`Limits`](crate::Limits) says which).
    pub fn new(mut config: Config, seed: Seed) -> Self {
        config.limits.raise();
        let ids = Ids::new(seed);
        let secret = ids.hash_secret();
        Self {
            config,
            authorize: None,
            now: Time::ZERO,
            connections: Arena::new(),
            sessions: Arena::new(),
            clients: HashTable::new(),
            hasher: FixedState::with_seed(secret),
            ids,
            subscriptions: Subscriptions::new(secret),
            retained: Retained::new(secret),
            retained_bytes: 0,
            messages: Messages::default(),
            will_bytes: 0,
            extras: Slab::new(),
            timers: Timers::default(),
            ready: VecDeque::new(),
            aborts: VecDeque::new(),
            events: VecDeque::new(),
            metrics: Metrics::default(),
            handshakes: 0,
            tickets: 0,
            reported_store_full: false,
            scratch: Scratch::default(),
            work: 0,
            expiries: 0,
            overflowed: Vec::new(),
            spare: Vec::new(),
            shards: Joined::default(),
        }
    }

    /// Lets `authorize` decide who may do what. Without it everybody may do everything.
    #[must_use]
    pub fn with_authorize(mut self, authorize: impl Authorize + 'static) -> Self {
        self.authorize = Some(Box::new(authorize));
        self
    }

    /// The same for a hook whose type is not known.
    pub fn set_authorize(&mut self, authorize: Box<dyn Authorize>) {
        self.authorize = Some(authorize);
    }

    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// A transport is open. The connection exists until [`close`](Self::close), whatever happens to it.
    pub fn open(&mut self, now: Time, peer: Peer) -> ConnectionKey {
        self.advance_to(now);
        self.metrics.connections_opened += 1;
        let index = self.connections.insert(Connection::new(peer, self.now));
        self.handshakes += 1;
        if self.handshakes > self.config.limits.pending_handshakes {
            let text = "too many connections that have not finished CONNECT";
            self.end(index, Cause::Fault(Fault::new(ReasonCode::ServerBusy, text)));
        } else {
            self.arm(index, self.now.plus_secs(u64::from(self.config.limits.connect_timeout)));
        }
        self.connections.connection_key(index)
    }

    /// Bytes came. Whole packets are taken off the front of `input`; a part of one stays for the next call. Unknown
    /// connections (closed ones, that is) are ignored, as in every call.
    pub fn receive(&mut self, now: Time, connection: ConnectionKey, input: &mut BytesMut) -> Intake {
        self.advance_to(now);
        let Some(index) = self.connections.resolve_connection(connection) else {
            input.clear();
            return Intake::Closed;
        };
        self.work = 0;
        let mut taken = 0;
        let intake = loop {
            if self.work > WORK_BUDGET && input.len() > taken {
                self.mark_ready(index);
                break Intake::Paused;
            }
            match self.intake(index) {
                Intake::Open => {}
                other => break other,
            }
            let header = match FixedHeader::read(&input[taken..], self.packet_limit(index)) {
                Ok(Some(header)) if self.is_premature(index, &header) => {
                    // Whatever it is, there is no need to wait for the rest of it.
                    self.frame(index, header, &[], None);
                    break Intake::Closed;
                }
                Ok(Some(header)) if self.is_too_large(&header) => {
                    let error = DecodeError::PacketTooLarge {
                        size: header.total(),
                        limit: self.config.limits.control_size as usize,
                    };
                    self.note_version(index, &input[taken..]);
                    self.fail_decode(index, &error);
                    break Intake::Closed;
                }
                Ok(Some(header)) if input.len() - taken >= header.total() => header,
                Ok(_) => break Intake::Open,
                Err(error) => {
                    self.note_version(index, &input[taken..]);
                    self.fail_decode(index, &error);
                    break Intake::Closed;
                }
            };
            if self.has_to_wait(index, header.packet_type) {
                break Intake::Paused;
            }
            if let Some(shard) =
                self.moves_to(index, &header, &input[taken + header.len..taken + header.total()])
            {
                break Intake::Moved(shard);
            }
            self.metrics.packets_received += 1;
            self.metrics.bytes_received += header.total() as u64;
            if header.total() >= SHARE_FROM && header.packet_type == PacketType::Publish {
                input.advance(std::mem::take(&mut taken));
                let frame = input.split_to(header.total()).freeze();
                self.frame(index, header, &frame[header.len..], Some(&frame));
            } else {
                let body = &input[taken + header.len..taken + header.total()];
                self.frame(index, header, body, None);
                taken += header.total();
            }
        };
        self.disconnect_overflowed();
        if intake == Intake::Closed {
            input.clear();
        } else {
            input.advance(taken);
        }
        intake
    }

    /// A PUBLISH came in decoded form, from a client in the same process: the same as [`receive`](Self::receive) of
    /// its encoding, but that the payload, which must be all of `payload`, is shared instead of copied. Anything but
    /// [`Intake::Open`] means that the packet was not taken.
    pub fn receive_publish(
        &mut self,
        now: Time,
        connection: ConnectionKey,
        packet: &Publish<'_>,
        payload: &Bytes,
    ) -> Intake {
        self.advance_to(now);
        let Some(index) = self.connections.resolve_connection(connection) else {
            return Intake::Closed;
        };
        let intake = self.intake(index);
        if intake == Intake::Open {
            self.metrics.packets_received += 1;
            self.metrics.bytes_received += payload.len() as u64;
            self.decoded_publish(index, packet, payload);
            self.disconnect_overflowed();
        }
        intake
    }

    /// The same for PUBLISH packets whose content is shared with all who get the message, topic and properties included.
    /// A payload that is part of a larger buffer keeps that alive until the last of them has let go of it; only what is
    /// retained is copied. As many are taken off the iterator as the connection takes for now, so [`Intake::Open`] means
    /// all.
    pub fn receive_parcels(
        &mut self,
        now: Time,
        connection: ConnectionKey,
        parcels: impl IntoIterator<Item = Parcel>,
    ) -> Intake {
        self.advance_to(now);
        let Some(index) = self.connections.resolve_connection(connection) else {
            return Intake::Closed;
        };
        let mut parcels = parcels.into_iter();
        loop {
            let intake = self.intake(index);
            if intake != Intake::Open {
                return intake;
            }
            let Some(parcel) = parcels.next() else {
                return intake;
            };
            self.metrics.packets_received += 1;
            self.metrics.bytes_received += parcel.content().payload().len() as u64;
            self.parcel(index, parcel);
            self.disconnect_overflowed();
        }
    }

    /// The transport is closed. Without a DISCONNECT before, this publishes the will [MQTT-3.1.2-8].
    pub fn close(&mut self, now: Time, connection: ConnectionKey, _cause: CloseCause) {
        self.advance_to(now);
        let Some(index) = self.connections.resolve_connection(connection) else {
            return;
        };
        if self.connections[index].phase != Phase::Closing {
            self.end(index, Cause::Transport);
            self.disconnect_overflowed();
        }
        self.disarm(index);
        let connection = self.connections.remove(index);
        self.recycle(connection.control);
    }

    /// Time has reached what [`poll_timeout`](Self::poll_timeout) said. Every other call that is told the time begins
    /// with the same.
    pub fn handle_timeout(&mut self, now: Time) {
        self.advance_to(now);
    }

    /// Sends every client away with DISCONNECT 0x8B where its version has one. Sessions stay as they are.
    pub fn shut_down(&mut self, now: Time) {
        self.advance_to(now);
        let open: Vec<u32> = self.connections.iter().map(|(index, _)| index).collect();
        for index in open {
            if self.connections[index].phase != Phase::Closing {
                self.finish(index, ReasonCode::ServerShuttingDown, "", Cause::Shutdown);
            }
        }
        self.disconnect_overflowed();
    }

    /// Sends one client away with this reason. False if it has no connection.
    pub fn disconnect(&mut self, now: Time, client_id: &str, reason: ReasonCode) -> bool {
        self.advance_to(now);
        let session = self.session_of(client_id);
        let Some(index) = session.and_then(|session| self.sessions[session].connection) else {
            return false;
        };
        let reason = if reason.is_valid_in(PacketType::Disconnect) {
            reason
        } else {
            ReasonCode::AdministrativeAction
        };
        self.finish(index, reason, "", Cause::Administrative(reason));
        self.disconnect_overflowed();
        true
    }

    /// The next connection that has something to send or takes input again.
    #[must_use]
    pub fn poll_ready(&mut self) -> Option<ConnectionKey> {
        while let Some(index) = self.ready.pop_front() {
            if let Some(connection) = self.connections.get_mut(index)
                && std::mem::take(&mut connection.ready)
            {
                return Some(self.connections.connection_key(index));
            }
        }
        None
    }

    /// A connection whose transport must be closed at once, sent or not. Call [`close`](Self::close) then.
    #[must_use]
    pub fn poll_abort(&mut self) -> Option<ConnectionKey> {
        self.aborts.pop_front()
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Reports these kinds of events too, from now on.
    pub fn enable_events(&mut self, kinds: EventMask) {
        self.config.events = self.config.events | kinds;
    }

    /// Counts an event that the shell could not pass on.
    pub fn count_lost_event(&mut self) {
        self.metrics.events_lost += 1;
    }

    /// When [`handle_timeout`](Self::handle_timeout) has to be called at the latest, if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Counters and gauges.
    pub fn metrics(&self) -> Metrics {
        Metrics {
            connections: self.connections.len(),
            sessions: self.client_sessions(),
            subscriptions: self.client_subscriptions(),
            retained: self.retained.len(),
            retained_bytes: self.retained_bytes,
            stored: self.messages.len(),
            stored_bytes: self.messages.bytes() + self.will_bytes,
            ..self.metrics.clone()
        }
    }

    /// The session that a client id stands for [MQTT-3.1.3-2].
    pub(crate) fn session_of(&self, client_id: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(client_id);
        self.clients.find(hash, |&index| *self.sessions[index].client_id == *client_id).copied()
    }

    pub(crate) fn session_key(&self, index: u32) -> SessionKey {
        self.sessions.session_key(index)
    }

    /// Puts the connection on the list of those with something to do.
    #[inline]
    pub(crate) fn mark_ready(&mut self, index: u32) {
        if !self.connections[index].ready {
            self.make_ready(index);
        }
    }

    #[inline(never)]
    fn make_ready(&mut self, index: u32) {
        self.connections[index].ready = true;
        self.ready.push_back(index);
    }

    /// Reports an event of a kind that is asked for; `event` is made only then.
    #[inline]
    pub(crate) fn emit(&mut self, kind: EventMask, event: impl FnOnce(&Self) -> Event) {
        if !self.config.events.contains(kind) {
            return;
        }
        if self.events.len() >= MAX_EVENTS {
            self.metrics.events_lost += 1;
            return;
        }
        let event = event(self);
        self.events.push_back(event);
    }

    /// Sets the one timer of a connection.
    pub(crate) fn arm(&mut self, index: u32, at: Time) {
        self.disarm(index);
        self.connections[index].timer = Some(self.timers.set(at, Due::Connection(index)));
    }

    pub(crate) fn disarm(&mut self, index: u32) {
        if let Some(timer) = self.connections[index].timer.take() {
            self.timers.cancel(timer);
        }
    }

    /// Sends a packet other than PUBLISH. The client waits for it, and would for ever if it is larger than the
    /// client takes [MQTT-3.1.2-24]: then the connection ends instead.
    pub(crate) fn send(&mut self, index: u32, packet: &Packet<'_>) {
        if self.fits(index, packet) {
            self.put(index, packet);
        } else {
            self.fail(index, Fault::answer_too_large());
        }
    }

    /// Sends a last word, or leaves it out where the client does not take so many bytes [MQTT-3.1.2-24]; callers have
    /// taken optional properties off before.
    pub(crate) fn send_last(&mut self, index: u32, packet: &Packet<'_>) {
        if self.fits(index, packet) {
            self.put(index, packet);
        }
    }

    /// Whether the client takes packets of that size.
    pub(crate) fn fits(&self, index: u32, packet: &Packet<'_>) -> bool {
        let connection = &self.connections[index];
        let room = connection.maximum_packet_size;
        room == u32::MAX || packet.encoded_len(connection.version) <= room as usize
    }

    fn put(&mut self, index: u32, packet: &Packet<'_>) {
        let connection = &mut self.connections[index];
        if connection.control.capacity() == 0 {
            connection.control = self.spare.pop().unwrap_or_default();
        }
        // What this module builds is always encodable; if not, nothing is appended.
        if packet.encode(connection.version, &mut connection.control).is_ok() {
            connection.control_packets += 1;
        }
        self.mark_ready(index);
    }

    /// Sends an acknowledgement: the one packet that comes once per message. It has no reason string or user
    /// properties, which the client might not want [MQTT-3.1.2-29] or not have room for [MQTT-3.4.2-2]
    /// [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3] [MQTT-3.6.2-2] [MQTT-3.6.2-3] [MQTT-3.7.2-2]
    /// [MQTT-3.7.2-3]. So it is no larger than the smallest CONNACK, which the client did take [MQTT-3.1.2-24].
    #[inline]
    pub(crate) fn send_ack(
        &mut self,
        index: u32,
        packet: PacketType,
        id: columba_codec::PacketId,
        reason: ReasonCode,
    ) {
        let connection = &mut self.connections[index];
        if connection.control.capacity() == 0 {
            connection.control = self.spare.pop().unwrap_or_default();
        }
        columba_codec::packet::encode_ack(packet, id, reason, connection.version, &mut connection.control);
        connection.control_packets += 1;
        self.mark_ready(index);
    }

    /// Takes an emptied buffer back.
    pub(crate) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() > 0 && buffer.capacity() <= MAX_SPARE_SIZE && self.spare.len() < MAX_SPARE {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// The client broke a rule: the connection ends with a reason where its version and state have one
    /// [MQTT-4.13.1-1].
    pub(crate) fn fail(&mut self, index: u32, fault: Fault) {
        let text = fault.text.clone();
        self.finish(index, fault.reason, &text, Cause::Fault(fault));
    }

    fn fail_decode(&mut self, index: u32, error: &DecodeError) {
        if self.connections[index].is_handshaking() {
            self.refuse_undecoded(index, error);
        } else {
            self.fail(index, Fault::from(error));
        }
    }

    /// Whether more input of this connection may be taken now.
    fn intake(&self, index: u32) -> Intake {
        let connection = &self.connections[index];
        match connection.phase {
            // What follows a refused CONNECT [MQTT-3.1.4-6] or a DISCONNECT [MQTT-3.14.4-1] is not looked at.
            Phase::Closing => Intake::Closed,
            Phase::Deciding => Intake::Paused,
            _ if connection.held || connection.stalled => Intake::Paused,
            _ if connection.control.len() > self.config.limits.output_backlog => Intake::Paused,
            _ => Intake::Open,
        }
    }

    fn packet_limit(&self, index: u32) -> usize {
        let limits = &self.config.limits;
        if self.connections[index].is_handshaking() {
            limits.connect_size.min(limits.packet_size) as usize
        } else {
            limits.packet_size as usize
        }
    }

    /// A packet that comes before CONNECT.
    fn is_premature(&self, index: u32, header: &FixedHeader) -> bool {
        header.packet_type != PacketType::Connect && self.connections[index].phase == Phase::AwaitingConnect
    }

    /// A packet without payload that is larger than any of use.
    fn is_too_large(&self, header: &FixedHeader) -> bool {
        header.packet_type != PacketType::Publish && header.total() > self.config.limits.control_size as usize
    }

    /// Time goes on, never back, and what is due by now comes before anything else: a session that has expired is
    /// not resumed [MQTT-4.1.0-2] and a will that is due is not taken back [MQTT-3.1.2-8], however late the shell is.
    #[inline]
    pub(crate) fn advance_to(&mut self, now: Time) {
        self.now = self.now.max(now);
        if self.timers.next().is_some_and(|at| at <= self.now) {
            self.do_what_is_due();
        }
    }

    #[cold]
    fn do_what_is_due(&mut self) {
        while let Some(due) = self.timers.pop(self.now) {
            match due {
                Due::Connection(index) => self.connection_due(index),
                Due::Session(index) => self.session_due(index),
                Due::Message(id) => self.message_due(id),
            }
            self.disconnect_overflowed();
        }
    }

    fn connection_due(&mut self, index: u32) {
        let connection = &mut self.connections[index];
        connection.timer = None;
        match connection.phase {
            Phase::AwaitingConnect | Phase::Deciding | Phase::AwaitingAuth => {
                self.finish(index, ReasonCode::MaximumConnectTime, "", Cause::ConnectTimeout);
            }
            Phase::Online => match connection.keep_alive_deadline() {
                Some(deadline) if deadline > self.now => self.arm(index, deadline),
                Some(_) => self.finish(index, ReasonCode::KeepAliveTimeout, "", Cause::KeepAlive),
                None => {}
            },
            Phase::Closing => {
                let key = self.connections.connection_key(index);
                self.aborts.push_back(key);
            }
        }
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("now", &self.now)
            .field("metrics", &self.metrics())
            .finish_non_exhaustive()
    }
}

impl From<&DecodeError> for Fault {
    fn from(error: &DecodeError) -> Self {
        Self { reason: error.reason_code(), text: error.to_string().into() }
    }
}
