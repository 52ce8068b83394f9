//! What the core reports to its shell: questions that need an answer, and news that need none.

use std::fmt;
use std::ops::BitOr;
use std::sync::Arc;

use bytes::Bytes;
use columba_codec::{QoS, ReasonCode, Version};

use crate::auth::{AuthRequest, Peer};
use crate::keys::{ConnectionKey, SessionKey, Ticket};

/// Something that happened, in the order in which it did.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A client has to be authenticated: answer with [`Core::answer`](crate::Core::answer). Always reported where
    /// [`Config::authenticate`](crate::Config::authenticate) is on.
    Authenticate {
        /// To be given back with the answer.
        ticket: Ticket,
        /// Who asks, with what.
        request: Box<AuthRequest>,
    },
    /// A CONNECT was accepted.
    Connected {
        /// The connection.
        connection: ConnectionKey,
        /// Its session.
        session: SessionKey,
        /// The client id, assigned or sent.
        client_id: Arc<str>,
        /// The protocol version it speaks.
        version: Version,
        /// A session was found and goes on.
        session_present: bool,
        /// Where it comes from.
        peer: Peer,
    },
    /// A connection ended before a CONNECT was accepted.
    Refused {
        /// The connection.
        connection: ConnectionKey,
        /// Where it came from.
        peer: Peer,
        /// Why.
        cause: Cause,
    },
    /// A connection that had been accepted ended.
    Disconnected {
        /// The connection.
        connection: ConnectionKey,
        /// The client id.
        client_id: Arc<str>,
        /// Why.
        cause: Cause,
        /// The session goes on without it.
        session_kept: bool,
    },
    /// A session ended: it expired, was replaced by a clean start, or its connection ended and it was not to
    /// outlive that.
    SessionEnded {
        /// The client id.
        client_id: Arc<str>,
        /// True if it ended because its time was over while the client was away.
        expired: bool,
    },
    /// A subscription was made or replaced.
    Subscribed {
        /// The client id.
        client_id: Arc<str>,
        /// The topic filter.
        filter: Box<str>,
        /// The QoS granted.
        qos: QoS,
    },
    /// A subscription was ended by UNSUBSCRIBE.
    Unsubscribed {
        /// The client id.
        client_id: Arc<str>,
        /// The topic filter.
        filter: Box<str>,
    },
    /// A message was accepted from a client, or a will was published. Off by default.
    Published {
        /// The publisher's client id.
        client_id: Arc<str>,
        /// The topic name.
        topic: Box<str>,
        /// The payload.
        payload: Bytes,
        /// The QoS.
        qos: QoS,
        /// The RETAIN flag.
        retain: bool,
    },
    /// A message was handed to a connection for sending. Off by default.
    Delivered {
        /// The subscriber's client id.
        client_id: Arc<str>,
        /// The topic name.
        topic: Box<str>,
        /// The QoS it is sent with.
        qos: QoS,
        /// It had been sent before.
        dup: bool,
    },
    /// A message was lost to one session, refused altogether, or not retained. Off by default;
    /// [`Metrics`](crate::Metrics) counts it in any case.
    Dropped {
        /// The client id: the consumer's, or for [`DropCause::Refused`] and [`DropCause::NotRetained`] the
        /// publisher's.
        client_id: Arc<str>,
        /// The topic name.
        topic: Box<str>,
        /// The QoS it would have had.
        qos: QoS,
        /// Why.
        cause: DropCause,
    },
    /// A session's queue became full; the first drop since it was last empty.
    QueueFull {
        /// The client id.
        client_id: Arc<str>,
        /// Messages that wait.
        messages: usize,
        /// Their size in bytes, as counted for the limit.
        bytes: usize,
    },
    /// A publisher was refused at [`Limits::stored_bytes`](crate::Limits::stored_bytes), the first time since
    /// there was room.
    StoreFull {
        /// The publisher's client id.
        client_id: Arc<str>,
    },
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The client sent DISCONNECT with this reason.
    Client(ReasonCode),
    /// The transport ended or failed without a DISCONNECT.
    Transport,
    /// Nothing came for one and a half times the keep alive.
    KeepAlive,
    /// The same client id connected again.
    TakenOver,
    /// CONNECT did not come, or was not finished, in time.
    ConnectTimeout,
    /// The client broke a rule, or was refused; with the reason it was told, where its version has one, and words.
    Fault(Fault),
    /// The owner of the broker asked for it, with this reason.
    Administrative(ReasonCode),
    /// The broker was shut down.
    Shutdown,
}

/// What a client did wrong, or what it was refused for.
#[derive(Clone, PartialEq, Eq)]
pub struct Fault {
    /// The reason code of MQTT 5.
    pub reason: ReasonCode,
    /// The same for a person; sent as Reason String where there is room.
    pub text: std::borrow::Cow<'static, str>,
}

/// Why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropCause {
    /// The session's queue was full.
    QueueFull,
    /// The message expired before it could be sent.
    Expired,
    /// It is larger than the client's Maximum Packet Size [MQTT-3.1.2-25].
    TooLarge,
    /// The publisher was refused with this reason code.
    Refused(ReasonCode),
    /// The session ended with the message in its queue.
    SessionEnded,
    /// It was delivered at QoS 0, but a limit of retained messages left no room to retain it; what was retained
    /// under its topic before is gone [MQTT-3.3.1-5].
    NotRetained,
}

/// A set of kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventMask(u8);

impl Event {
    /// The kind of this event; [`EventMask::NONE`] for a question.
    pub const fn kind(&self) -> EventMask {
        match self {
            Self::Authenticate { .. } => EventMask::NONE,
            Self::Connected { .. }
            | Self::Refused { .. }
            | Self::Disconnected { .. }
            | Self::SessionEnded { .. } => EventMask::CLIENTS,
            Self::Subscribed { .. } | Self::Unsubscribed { .. } => EventMask::SUBSCRIPTIONS,
            Self::Published { .. } => EventMask::PUBLISHED,
            Self::Delivered { .. } => EventMask::DELIVERED,
            Self::Dropped { .. } => EventMask::DROPPED,
            Self::QueueFull { .. } | Self::StoreFull { .. } => EventMask::PRESSURE,
        }
    }
}

impl EventMask {
    /// Nothing but [`Event::Authenticate`].
    pub const NONE: Self = Self(0);
    /// Connections and sessions: connected, refused, disconnected, session ended.
    pub const CLIENTS: Self = Self(1);
    /// Subscribed and unsubscribed.
    pub const SUBSCRIPTIONS: Self = Self(2);
    /// Queue full and store full.
    pub const PRESSURE: Self = Self(4);
    /// Published: once per message.
    pub const PUBLISHED: Self = Self(8);
    /// Delivered: once per message and subscriber.
    pub const DELIVERED: Self = Self(16);
    /// Dropped: once per message and subscriber.
    pub const DROPPED: Self = Self(32);
    /// Everything.
    pub const ALL: Self = Self(63);

    /// Whether all of `other` are in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl Default for EventMask {
    fn default() -> Self {
        Self::CLIENTS | Self::SUBSCRIPTIONS | Self::PRESSURE
    }
}

impl BitOr for EventMask {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Fault {
    pub(crate) const fn new(reason: ReasonCode, text: &'static str) -> Self {
        Self { reason, text: std::borrow::Cow::Borrowed(text) }
    }

    /// What the client waits for is more than it takes.
    pub(crate) const fn answer_too_large() -> Self {
        Self::new(
            ReasonCode::PacketTooLarge,
            "the answer is larger than the Maximum Packet Size of this client",
        )
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:02X} {}", self.reason.code(), self.reason.name())?;
        if self.text.is_empty() { Ok(()) } else { write!(f, ": {}", self.text) }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(ReasonCode::Success) => f.write_str("the client disconnected"),
            Self::Client(reason) => {
                write!(f, "the client disconnected with 0x{:02X} {}", reason.code(), reason.name())
            }
            Self::Transport => f.write_str("the connection was lost"),
            Self::KeepAlive => f.write_str("keep alive timed out"),
            Self::TakenOver => f.write_str("the same client id connected again"),
            Self::ConnectTimeout => f.write_str("no complete CONNECT came in time"),
            Self::Fault(fault) => fault.fmt(f),
            Self::Administrative(reason) => {
                write!(f, "closed by the broker's owner with {}", reason.name())
            }
            Self::Shutdown => f.write_str("the broker shut down"),
        }
    }
}
