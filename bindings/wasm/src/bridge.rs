//! Joins two brokers: one client towards the local broker and one towards the remote, and messages passed from one to the other.
//! It does no I/O and reads no clock; transports are opened and moved by its owner.
//!
//! # What is promised
//!
//! A message above QoS 0 is acknowledged to the broker it comes from only when the broker it goes to has acknowledged it. So
//! nothing is lost when a connection breaks, as long as the session at the source is kept: at QoS 1 a message may come twice, at
//! QoS 2 it does not while both sessions live. What waits for a connection waits in the source's session, but for
//! [`BridgeOptions::window`] messages; at QoS 0 it waits here, up to half the queue, and is dropped beyond.
//!
//! Properties and the retain flag go with a message, as far as the versions have them: a server before MQTT 5 sends live messages
//! without retain flag. A message that the other broker refuses, or cannot take, is dropped and counted; the source is not
//! told, as it could do nothing but send it again. A Response Topic is passed on as it is.
//!
//! # Loops
//!
//! A message that the bridge has published is not sent back by the broker it published it to: subscriptions are made with No
//! Local. A remote broker before MQTT 5 has no such thing; its echoes are recognised by counting (the module `echo` says what
//! that can and cannot do). Loops through other bridges are nobody's to see: two brokers should have one bridge between them.

mod backoff;
mod echo;
mod half;
mod options;
mod route;

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use columba_codec::{QoS, ReasonCode, TopicName, Version};
use columba_core::{Flow, Time};

use crate::client::{
    AckId, Client, ClientEvent, DisconnectReason, Message, OutgoingMessage, Properties, PublishError, State,
    Token,
};
use backoff::Backoff;
use echo::Echoes;
use half::{Half, Link};
use options::paths;

pub use options::{BridgeError, BridgeOptions};
pub use route::{Route, RouteError};

/// The two ends of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The broker in this program.
    Local,
    /// The other one.
    Remote,
}

/// News from a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeEvent {
    /// A transport to this side is wanted. [`Bridge::open`] says that there is one, [`Bridge::close`] that there is none.
    Open(Side),
    /// The state of one side.
    State {
        /// Which side.
        side: Side,
        /// Its state from now on.
        state: LinkState,
    },
    /// A broker did not make a subscription.
    NotSubscribed {
        /// Which one.
        side: Side,
        /// To which filter.
        filter: String,
        /// Why.
        reason: ReasonCode,
    },
}

/// How one side of a bridge stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// A connection is being made.
    Connecting,
    /// Messages pass.
    Connected,
    /// The connection is lost or was not made.
    Waiting {
        /// When the next attempt is made.
        until: Time,
        /// What ended it; `None` if there was no transport.
        reason: Option<DisconnectReason>,
    },
    /// The broker does not let the bridge in for a reason that will not go away by itself: it is tried seldom.
    Refused {
        /// When the next attempt is made.
        until: Time,
        /// What the broker said.
        reason: ReasonCode,
    },
    /// The bridge is closed.
    Closed,
}

/// A bridge between two brokers.
///
/// Its owner does with each [`Side`] what it would do with a [`Client`]: tells of opened and closed transports, of bytes and of
/// time, and takes events and bytes. A transport that is asked for and cannot be had counts as closed.
#[derive(Debug)]
pub struct Bridge {
    local: Half,
    remote: Half,
    events: VecDeque<BridgeEvent>,
    echoes: Echoes,
    received: u64,
    sent: u64,
    dropped: u64,
    clean_start: bool,
    is_closed: bool,
}

impl Side {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Local => Self::Remote,
            Self::Remote => Self::Local,
        }
    }
}

impl Bridge {
    /// A bridge that asks for transports to both sides. `seed` makes its waits its own.
    ///
    /// # Errors
    /// A route or the options are not possible.
    pub fn new(options: &BridgeOptions, seed: u64) -> Result<Self, BridgeError> {
        let half = |side: Side| {
            let client = Client::new(options.client(side)).map_err(BridgeError::Connect)?;
            let routes = match side {
                Side::Local => &options.routes_out,
                Side::Remote => &options.routes_in,
            };
            let (shortest, longest) = options.backoff;
            let backoff = Backoff::new(shortest, longest, seed ^ side as u64);
            Ok(Half::new(client, paths(side, routes)?, backoff))
        };
        let mut bridge = Self {
            local: half(Side::Local)?,
            remote: half(Side::Remote)?,
            events: VecDeque::new(),
            echoes: Echoes::default(),
            received: 0,
            sent: 0,
            dropped: 0,
            clean_start: options.clean_start,
            is_closed: false,
        };
        bridge.ask(Side::Local);
        bridge.ask(Side::Remote);
        Ok(bridge)
    }

    /// The transport that was asked for is open.
    pub fn open(&mut self, now: Time, side: Side) {
        let half = self.half(side);
        if half.link == Link::Opening {
            half.link = Link::Open;
            half.client.open(now);
            self.drain(now);
        }
    }

    /// Bytes came from a side.
    pub fn receive(&mut self, now: Time, side: Side, bytes: &[u8]) {
        self.half(side).client.receive(now, bytes);
        self.drain(now);
    }

    /// The transport to a side is gone, has been closed as [`poll_transmit`](Self::poll_transmit) asked, or could not be
    /// opened.
    pub fn close(&mut self, now: Time, side: Side) {
        let link = self.half(side).link;
        if matches!(link, Link::Waiting(_)) {
            return;
        }
        self.half(side).client.close(now);
        self.drain(now);
        if side == Side::Remote {
            self.echoes.disconnected();
        }
        let half = self.half(side);
        // All of them come again.
        half.starved = false;
        let reason = half.ended.take();
        if half.link == Link::Closed {
            return;
        }
        if link == Link::Cycling {
            return self.ask(side);
        }
        let refused = match reason {
            Some(DisconnectReason::Refused(reason)) if is_permanent(reason) => Some(reason),
            _ => None,
        };
        let until = now + half.backoff.wait(now, refused.is_some());
        half.link = Link::Waiting(until);
        let state = match refused {
            Some(reason) => LinkState::Refused { until, reason },
            None => LinkState::Waiting { until, reason },
        };
        self.events.push_back(BridgeEvent::State { side, state });
    }

    /// Ends the bridge: both sides send DISCONNECT, and whatever transports there are have to be closed then. The local session
    /// ends with what waits in it, the remote one stays unless [`BridgeOptions::clean_start`] says otherwise; a side that has
    /// no connection keeps its session until that expires.
    pub fn shut_down(&mut self, now: Time) {
        if self.is_closed {
            return;
        }
        self.is_closed = true;
        for side in [Side::Local, Side::Remote] {
            let ends = side == Side::Local || self.clean_start;
            let half = self.half(side);
            // Without a connection there is nobody to tell.
            let _ = half.client.disconnect(now, ReasonCode::Success, ends.then_some(0), None);
            half.link = Link::Closed;
            self.events.push_back(BridgeEvent::State { side, state: LinkState::Closed });
        }
        self.drain(now);
    }

    /// Time has reached what [`poll_timeout`](Self::poll_timeout) said.
    pub fn handle_timeout(&mut self, now: Time) {
        for side in [Side::Local, Side::Remote] {
            let half = self.half(side);
            half.client.handle_timeout(now);
            if matches!(half.link, Link::Waiting(at) if at <= now) {
                self.ask(side);
            }
        }
        self.drain(now);
    }

    /// Appends what is to be sent to a side; as [`Client::poll_transmit`]. What one side sends can give the other something to
    /// send: it is over when neither has anything.
    pub fn poll_transmit(&mut self, now: Time, side: Side, out: &mut Vec<u8>) -> Flow {
        let flow = self.half(side).client.poll_transmit(now, out);
        self.drain(now);
        flow
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<BridgeEvent> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has to be called at the latest, if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let of = |half: &Half| match half.link {
            Link::Waiting(at) => Some(at),
            _ => half.client.poll_timeout(),
        };
        of(&self.local).into_iter().chain(of(&self.remote)).min()
    }

    /// Messages that came from the remote broker and were published at the local one.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Messages that came from the local broker and were published at the remote one.
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Messages that matched a route and were not passed on: refused by the other broker, or at QoS 0 without room to wait.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Messages for the remote broker that it does not have.
    pub fn waiting(&self) -> usize {
        self.remote.client.queued() + self.remote.client.inflight()
    }

    /// One of its two clients.
    pub const fn client(&self, side: Side) -> &Client {
        match side {
            Side::Local => &self.local.client,
            Side::Remote => &self.remote.client,
        }
    }

    const fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Local => &mut self.local,
            Side::Remote => &mut self.remote,
        }
    }

    /// Asks for a transport.
    fn ask(&mut self, side: Side) {
        self.half(side).link = Link::Opening;
        self.events.push_back(BridgeEvent::State { side, state: LinkState::Connecting });
        self.events.push_back(BridgeEvent::Open(side));
    }

    /// Does what the clients' events call for, until there are none.
    fn drain(&mut self, now: Time) {
        loop {
            let mut is_over = true;
            for side in [Side::Local, Side::Remote] {
                while let Some(event) = self.half(side).client.poll_event() {
                    self.handle(now, side, event);
                    is_over = false;
                }
            }
            if is_over {
                return;
            }
        }
    }

    fn handle(&mut self, now: Time, side: Side, event: ClientEvent) {
        match event {
            ClientEvent::Connected { session_present, .. } => self.connected(now, side, session_present),
            ClientEvent::Disconnected { reason, .. } => self.half(side).ended = Some(reason),
            ClientEvent::Message(message) => self.pass(now, side, &message),
            ClientEvent::Published { token, outcome } => {
                let is_sent = outcome.is_ok_and(|reason| !reason.is_error());
                self.published(now, side, token, is_sent);
            }
            ClientEvent::Subscribed { token, codes } => self.subscribed(side, token, &codes),
            ClientEvent::Unanswered { token } => self.half(side).asked.retain(|asked| asked.0 != token),
            ClientEvent::Unsubscribed { .. } | ClientEvent::Auth { .. } => {}
        }
    }

    fn connected(&mut self, now: Time, side: Side, session_present: bool) {
        if side == Side::Remote {
            self.echoes.connected(now, session_present);
        }
        let half = self.half(side);
        half.backoff.connected(now);
        if half.client.options().version == Version::V5 {
            // From here on the session is the bridge's own.
            half.client.set_clean_start(false);
        }
        half.subscribed &= session_present;
        if !half.subscribed {
            half.subscribe(now);
        }
        self.events.push_back(BridgeEvent::State { side, state: LinkState::Connected });
    }

    fn subscribed(&mut self, side: Side, token: Token, codes: &[ReasonCode]) {
        let half = self.half(side);
        let Some(at) = half.asked.iter().position(|asked| asked.0 == token) else {
            return;
        };
        let (_, path) = half.asked.swap_remove(at);
        half.subscribed = half.asked.is_empty();
        let reason = codes.iter().copied().find(|code| code.is_error());
        let filter = half.paths[path].filter.clone();
        self.events.extend(reason.map(|reason| BridgeEvent::NotSubscribed { side, filter, reason }));
    }

    /// Passes a message on, or acknowledges it where there is nothing to pass on.
    fn pass(&mut self, now: Time, from: Side, message: &Message) {
        if let (Some(ack), true) = (message.ack(), self.half(from).starved) {
            return self.half(from).client.decline(ack);
        }
        if let Some(outgoing) = self.outgoing(now, from, message) {
            let to = from.other();
            if message.ack().is_none() && !self.half(to).has_room() {
                self.dropped += 1;
                return;
            }
            let echo = self.echo_of(to, &outgoing);
            let published = self.half(to).client.publish(now, outgoing);
            match (published, message.ack()) {
                (Ok(token), ack) => {
                    if let Some((topic, payload, fragile)) = echo {
                        self.echoes.expect(token, &topic, &payload, fragile);
                    }
                    self.half(to).pending.extend(ack.map(|ack| (token, ack)));
                    return;
                }
                (Err(PublishError::QueueFull), Some(ack)) => {
                    let half = self.half(from);
                    half.starved = true;
                    return half.client.decline(ack);
                }
                (Err(_), _) => self.dropped += 1,
            }
        }
        if let Some(ack) = message.ack() {
            self.acknowledge(now, from, ack);
        }
    }

    /// What a message is on the other side, if it goes there.
    fn outgoing(&mut self, now: Time, from: Side, message: &Message) -> Option<OutgoingMessage> {
        let publish = message.publish();
        let topic = publish.topic?;
        let path = self.half(from).paths.iter().find(|path| path.matches(topic))?;
        let (mapped, qos) = (path.map(topic)?, path.qos.min(publish.qos));
        let is_echo = from == Side::Remote
            && self.remote.client.options().version < Version::V5
            && !publish.retain
            && self.echoes.take(now, topic.as_str(), publish.payload);
        if is_echo {
            return None;
        }
        let outgoing = OutgoingMessage::new(&mapped, message.payload()).ok();
        // What came in a packet can go into one, and only a topic may have become too long.
        let properties = Properties::new(&publish.properties).ok();
        let Some((mut outgoing, properties)) = outgoing.zip(properties) else {
            self.dropped += 1;
            return None;
        };
        outgoing.qos = qos;
        outgoing.retain = publish.retain;
        outgoing.properties = properties;
        Some(outgoing)
    }

    /// What will come back of a message that is about to be published, if it will: topic, payload, and whether at QoS 0.
    fn echo_of(&self, to: Side, outgoing: &OutgoingMessage) -> Option<(String, Bytes, bool)> {
        if to == Side::Local || self.remote.client.options().version == Version::V5 {
            return None;
        }
        let topic = TopicName::parse(outgoing.topic()).ok()?;
        let paths = self.remote.paths.iter().filter(|path| path.matches(topic));
        let qos = paths.map(|path| path.qos).max()?.min(outgoing.qos);
        Some((topic.to_string(), outgoing.payload.clone(), qos == QoS::AtMostOnce))
    }

    /// A side has acknowledged a message, or never will.
    fn published(&mut self, now: Time, side: Side, token: Token, is_sent: bool) {
        match (side, is_sent) {
            (_, false) => self.dropped += 1,
            (Side::Local, true) => self.received += 1,
            (Side::Remote, true) => self.sent += 1,
        }
        if side == Side::Remote {
            self.echoes.published(now, token, is_sent);
        }
        let pending = &mut self.half(side).pending;
        // Mostly the first.
        let at = pending.iter().position(|(waiting, _)| *waiting == token);
        if let Some((_, ack)) = at.and_then(|at| pending.remove(at)) {
            self.acknowledge(now, side.other(), ack);
        }
        self.feed(now, side.other());
    }

    fn acknowledge(&mut self, now: Time, side: Side, ack: AckId) {
        // Stale at QoS 1, if the connection has broken meanwhile: the message comes again then.
        let _ = self.half(side).client.acknowledge(now, ack, ReasonCode::Success);
    }

    /// Connects a starved side anew once the other has room, so that what was not taken comes again.
    fn feed(&mut self, now: Time, side: Side) {
        let other = self.half(side.other());
        // With nothing at all there, any message is taken.
        let is_empty = other.pending.is_empty() && other.client.queued_bytes() == 0;
        let half = self.half(side);
        if half.starved && is_empty && half.client.state() == State::Online && half.link == Link::Open {
            half.link = Link::Cycling;
            // It is online, and a DISCONNECT without anything can be encoded.
            let _ = half.client.disconnect(now, ReasonCode::Success, None, None);
        }
    }
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting => f.write_str("connecting"),
            Self::Connected => f.write_str("connected"),
            Self::Waiting { reason: Some(reason), .. } => fmt::Display::fmt(reason, f),
            Self::Waiting { reason: None, .. } => f.write_str("no connection could be made"),
            Self::Refused { reason, .. } => fmt::Display::fmt(&DisconnectReason::Refused(*reason), f),
            Self::Closed => f.write_str("closed"),
        }
    }
}

/// Whether trying again soon would be of no use.
const fn is_permanent(reason: ReasonCode) -> bool {
    matches!(
        reason,
        ReasonCode::UnsupportedProtocolVersion
            | ReasonCode::ClientIdentifierNotValid
            | ReasonCode::BadUserNameOrPassword
            | ReasonCode::NotAuthorized
            | ReasonCode::Banned
            | ReasonCode::BadAuthenticationMethod
    )
}
