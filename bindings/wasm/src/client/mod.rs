//! An MQTT client as a state machine: everything a client has to do for MQTT 3.1, 3.1.1 and 5.0, and no I/O, clock or
//! randomness. It serves the publishing and subscribing of the broker's own program, both halves of a bridge, and the clients of
//! a page.
//!
//! A plain verb or `handle_*` takes something in; `poll_*` hands something out; the rest looks and changes nothing. After every
//! call that takes something in, its owner drains [`Client::poll_event`] and [`Client::poll_transmit`] and asks
//! [`Client::poll_timeout`] when it has to come back at the latest.

mod event;
mod incoming;
mod message;
mod options;
mod outgoing;
mod packet_ids;
mod publish;
mod receive;
mod requests;
mod server;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use columba_codec::{
    Auth, DecodeError, Disconnect, EncodeError, FixedHeader, List, PacketType, ReasonCode, Version,
};
use columba_core::{Fault, Flow, Time};

use incoming::{Aliases, Incoming};
use outgoing::Outgoing;
use requests::Request;

pub use event::{
    AckError, AuthError, ClientEvent, DisconnectReason, NotSent, PublishError, RequestError, Token,
};
pub use message::{AckId, Message, OutgoingMessage, Properties, RawPacket};
pub use options::{ClientLimits, ClientOptions, WillOptions};
pub use server::Server;

/// One client: its session, and the connection it has or not.
///
/// The session's half that a client keeps is kept as long as the object, over any number of connections: QoS 1 and 2 messages
/// that are not acknowledged, and those received at QoS 2 and not released [MQTT-4.1.0-1]. What is published without a
/// connection waits for one.
#[derive(Debug)]
pub struct Client {
    options: ClientOptions,
    state: State,
    now: Time,
    server: Server,
    outgoing: Outgoing,
    requests: VecDeque<Request>,
    incoming: Incoming,
    /// Aliases that the server has set.
    aliases_in: Aliases,
    /// Aliases as the owner has given them, and as they have been sent: messages may wait in between.
    aliases_given: Aliases,
    aliases_sent: Aliases,
    /// The beginning of a packet.
    partial: Vec<u8>,
    /// Encoded and not handed out.
    out: Vec<u8>,
    /// How many bytes of it are messages.
    ahead: usize,
    events: VecDeque<ClientEvent>,
    tokens: u64,
    /// When CONNECT was sent, or the last AUTH came.
    waits_since: Time,
    last_sent: Time,
    last_received: Time,
    /// When the PINGREQ was sent that is not answered.
    pinged: Option<Time>,
    exchange: Exchange,
}

/// Where a client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No transport.
    Offline,
    /// CONNECT is on its way, CONNACK is due.
    Connecting,
    /// Connected.
    Online,
    /// It is over, but the transport is not closed yet.
    Closing,
}

/// Whose turn it is in enhanced authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exchange {
    Nobody,
    Client,
    Server,
}

/// Bytes that are encoded ahead of the transport: what waits beyond that waits as messages, which have identifiers and expiry
/// to gain.
const OUTPUT_BUDGET: usize = 64 << 10;

/// Bytes of answers that the transport has not taken, at which the connection is given up.
const MAX_OUTPUT: usize = 4 << 20;

impl Client {
    /// A client without a connection.
    ///
    /// # Errors
    /// These options make no CONNECT.
    pub fn new(options: ClientOptions) -> Result<Self, EncodeError> {
        options.encode_connect(&mut Vec::new())?;
        let server = Server::new(&options);
        Ok(Self {
            options,
            state: State::Offline,
            now: Time::ZERO,
            server,
            outgoing: Outgoing::default(),
            requests: VecDeque::new(),
            incoming: Incoming::default(),
            aliases_in: Aliases::default(),
            aliases_given: Aliases::default(),
            aliases_sent: Aliases::default(),
            partial: Vec::new(),
            out: Vec::new(),
            ahead: 0,
            events: VecDeque::new(),
            tokens: 0,
            waits_since: Time::ZERO,
            last_sent: Time::ZERO,
            last_received: Time::ZERO,
            pinged: None,
            exchange: Exchange::Nobody,
        })
    }

    /// A transport is open: CONNECT goes first [MQTT-3.1.0-1]. If there was another, it counts as closed.
    pub fn open(&mut self, now: Time) {
        self.close(now);
        self.state = State::Connecting;
        self.waits_since = self.now;
        self.last_sent = self.now;
        self.incoming.connected();
        if self.options.authentication_method.is_some() {
            self.exchange = Exchange::Server;
        }
        // They were encoded before, when the client was made; an assigned client id is a text too.
        let encoded = self.options.encode_connect(&mut self.out);
        debug_assert_eq!(encoded, Ok(()));
    }

    /// Bytes came from the transport, cut anywhere.
    pub fn receive(&mut self, now: Time, mut bytes: &[u8]) {
        self.note(now);
        self.last_received = self.now;
        let limit = self.options.maximum_packet_size.map_or(usize::MAX, |size| size.get() as usize);
        while self.has_transport() {
            match take_frame(&mut self.partial, &mut bytes, limit) {
                Ok(Some((header, frame))) => self.frame(header, frame),
                Ok(None) => break,
                Err(error) => self.fail(Fault::from(&error)),
            }
            if self.out.len() - self.ahead > MAX_OUTPUT {
                self.fail(fault(
                    ReasonCode::QuotaExceeded,
                    "it does not take what it makes this client answer",
                ));
            }
        }
    }

    /// The transport is gone, or has been closed as [`poll_transmit`](Self::poll_transmit) asked. The session stays.
    pub fn close(&mut self, now: Time) {
        self.note(now);
        if self.state == State::Offline {
            return;
        }
        self.end(DisconnectReason::Transport, None);
        self.state = State::Offline;
        self.server = Server::new(&self.options);
        self.outgoing.disconnected();
        self.incoming.disconnected();
        // [MQTT-3.3.2-7]
        self.aliases_in.clear();
        self.aliases_given.clear();
        self.aliases_sent.clear();
        self.partial = Vec::new();
        self.out = Vec::new();
        self.ahead = 0;
        self.pinged = None;
        self.exchange = Exchange::Nobody;
        self.forget_requests();
    }

    /// Sends DISCONNECT and ends the connection. Messages that wait go on waiting. Before MQTT 5 the packet says nothing more.
    ///
    /// # Errors
    /// There is no connection, or no such DISCONNECT.
    pub fn disconnect(
        &mut self,
        now: Time,
        reason: ReasonCode,
        session_expiry: Option<u32>,
        reason_string: Option<&str>,
    ) -> Result<(), RequestError> {
        self.note(now);
        if !self.has_transport() {
            return Err(RequestError::NotConnected);
        }
        if session_expiry.is_some_and(|seconds| seconds > 0) && self.options.session_expiry.unwrap_or(0) == 0
        {
            return Err(RequestError::SessionExpiry);
        }
        self.pump();
        let mut packet = Disconnect { session_expiry, reason_string, ..Disconnect::new(reason) };
        let version = self.options.version;
        if packet.encoded_len(version) > self.server.maximum_packet_size {
            // [MQTT-3.14.2-3]
            packet.reason_string = None;
        }
        packet.encode(version, &mut self.out).map_err(RequestError::Encode)?;
        self.end(DisconnectReason::Asked, None);
        Ok(())
    }

    /// Sends AUTH (MQTT 5): [`ReasonCode::ContinueAuthentication`] after an AUTH of the server, or
    /// [`ReasonCode::ReAuthenticate`] at another time of a connection [MQTT-4.12.0-3] [MQTT-4.12.1-1].
    ///
    /// # Errors
    /// It is not the time for that, or there is no such AUTH.
    pub fn auth(&mut self, now: Time, reason: ReasonCode, data: Option<&[u8]>) -> Result<(), AuthError> {
        self.note(now);
        let method = self.options.authentication_method.as_deref();
        if self.options.version < Version::V5 || method.is_none() {
            return Err(AuthError::NoMethod);
        }
        let is_due = match reason {
            ReasonCode::ContinueAuthentication => self.exchange == Exchange::Client,
            ReasonCode::ReAuthenticate => self.exchange == Exchange::Nobody && self.state == State::Online,
            _ => false,
        };
        if !is_due || !self.has_transport() {
            return Err(AuthError::NotNow);
        }
        let user_properties = List::EMPTY;
        let packet = Auth { reason, method, data, reason_string: None, user_properties };
        packet.encode(self.options.version, &mut self.out).map_err(AuthError::Encode)?;
        self.exchange = Exchange::Server;
        Ok(())
    }

    /// Whether the next connections begin a new session.
    pub const fn set_clean_start(&mut self, clean_start: bool) {
        self.options.clean_start = clean_start;
    }

    /// Appends what is to be sent. [`Flow::More`]: there is more, once this is sent. [`Flow::Close`]: send it, close the
    /// transport, then call [`close`](Self::close) [MQTT-3.14.4-2].
    pub fn poll_transmit(&mut self, now: Time, out: &mut Vec<u8>) -> Flow {
        self.note(now);
        self.pump();
        if !self.out.is_empty() {
            self.last_sent = self.now;
            out.append(&mut self.out);
            self.ahead = 0;
            self.outgoing.transmitted();
        }
        match self.state {
            State::Closing => Flow::Close,
            State::Online if self.can_send() => Flow::More,
            _ => Flow::Idle,
        }
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has to be called at the latest, if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let keep_alive = Duration::from_secs(u64::from(self.server.keep_alive));
        match (self.state, self.pinged) {
            (State::Connecting, _) => {
                Some(self.waits_since + Duration::from_secs(u64::from(self.options.limits.connect_timeout)))
            }
            (State::Online, _) if self.server.keep_alive == 0 => None,
            (State::Online, None) => Some(self.last_sent + keep_alive),
            // A large packet may be on its way before PINGRESP: as long as anything comes, the server is there.
            (State::Online, Some(pinged)) => Some(pinged.max(self.last_received) + keep_alive),
            _ => None,
        }
    }

    /// Time has reached what [`poll_timeout`](Self::poll_timeout) said.
    pub fn handle_timeout(&mut self, now: Time) {
        self.note(now);
        if self.poll_timeout().is_none_or(|at| at > self.now) {
            return;
        }
        match (self.state, self.pinged) {
            (State::Online, None) => {
                // [MQTT-3.1.2-20]
                self.out.extend_from_slice(&[(PacketType::PingReq as u8) << 4, 0]);
                self.pinged = Some(self.now);
            }
            (State::Online, Some(_)) => self.end(DisconnectReason::KeepAlive, None),
            _ => self.end(DisconnectReason::ConnectTimeout, None),
        }
    }

    /// Where it stands.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Its settings; the client id is the assigned one, if the server has assigned one.
    pub const fn options(&self) -> &ClientOptions {
        &self.options
    }

    /// The client id; empty until the server has assigned one, if it is to.
    pub fn client_id(&self) -> &str {
        &self.options.client_id
    }

    /// What the server allows; what all servers do, while there is no connection.
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// Messages sent at QoS 1 and 2 whose exchange is not over.
    pub fn inflight(&self) -> usize {
        self.outgoing.inflight()
    }

    /// Messages that have not been sent.
    pub fn queued(&self) -> usize {
        self.outgoing.waiting()
    }

    /// Bytes of the messages that have not been sent or may have to be sent again.
    pub fn queued_bytes(&self) -> usize {
        self.outgoing.bytes()
    }

    fn has_transport(&self) -> bool {
        matches!(self.state, State::Connecting | State::Online)
    }

    fn note(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    fn token(&mut self) -> Token {
        self.tokens += 1;
        Token::new(self.tokens)
    }

    /// The connection is over.
    fn end(&mut self, reason: DisconnectReason, packet: Option<RawPacket>) {
        if self.has_transport() {
            self.state = State::Closing;
            self.events.push_back(ClientEvent::Disconnected { reason, packet });
        }
    }

    /// The server broke a rule; in MQTT 5 it is told so [MQTT-4.13.1-1].
    fn fail(&mut self, fault: Fault) {
        if self.options.version == Version::V5 && self.has_transport() {
            let is_valid = fault.reason.is_valid_in(PacketType::Disconnect);
            let reason = if is_valid { fault.reason } else { ReasonCode::ProtocolError };
            let encoded = Disconnect::new(reason).encode(Version::V5, &mut self.out);
            debug_assert_eq!(encoded, Ok(()));
        }
        self.end(DisconnectReason::Fault(fault), None);
    }
}

fn fault(reason: ReasonCode, text: &'static str) -> Fault {
    Fault { reason, text: text.into() }
}

/// A whole packet: from the bytes that came with a call, or put together from several calls.
type Frame<'b> = (FixedHeader, Cow<'b, [u8]>);

/// Takes the next whole packet off `bytes`; a part of one is kept in `partial`, which grows only as bytes come.
fn take_frame<'b>(
    partial: &mut Vec<u8>,
    bytes: &mut &'b [u8],
    limit: usize,
) -> Result<Option<Frame<'b>>, DecodeError> {
    if partial.is_empty()
        && let Some(header) = FixedHeader::read(bytes, limit)?
        && let Some((frame, rest)) = bytes.split_at_checked(header.total())
    {
        *bytes = rest;
        return Ok(Some((header, Cow::Borrowed(frame))));
    }
    loop {
        let header = FixedHeader::read(partial, limit)?;
        let wanted = header.map_or(partial.len() + 1, |header| header.total());
        let missing = wanted - partial.len();
        let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
        partial.extend_from_slice(taken);
        *bytes = rest;
        match header {
            _ if taken.len() < missing => return Ok(None),
            Some(header) => return Ok(Some((header, Cow::Owned(std::mem::take(partial))))),
            None => {}
        }
    }
}
