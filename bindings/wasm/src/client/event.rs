//! What a client reports and what it refuses. Owns the words; never decides anything.

use std::fmt;

use columba_codec::{EncodeError, ReasonCode};
use columba_core::Fault;

use super::message::{Message, RawPacket};

/// Names what was published or asked for, in the event that tells its outcome. Never used twice by a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

/// News from a client.
#[derive(Clone, Debug)]
pub enum ClientEvent {
    /// The server has accepted the connection.
    Connected {
        /// Whether the server had the session. Without, there are no subscriptions. Never true in MQTT 3.1, which cannot say.
        session_present: bool,
        /// The CONNACK.
        packet: RawPacket,
    },
    /// The connection is over; the transport may still have to be closed. Nothing but outcomes follows until the next one.
    Disconnected {
        /// Why.
        reason: DisconnectReason,
        /// The server's CONNACK or DISCONNECT that says why.
        packet: Option<RawPacket>,
    },
    /// A message has come.
    Message(Message),
    /// A message was sent, at QoS 0, or acknowledged; or it never will be.
    Published {
        /// Which one.
        token: Token,
        /// What the server said, which may be an error too, or why the message was given up.
        outcome: Result<ReasonCode, NotSent>,
    },
    /// SUBSCRIBE was answered.
    Subscribed {
        /// Which one.
        token: Token,
        /// For each filter what was granted, or why not.
        codes: Vec<ReasonCode>,
    },
    /// UNSUBSCRIBE was answered.
    Unsubscribed {
        /// Which one.
        token: Token,
        /// For each filter what became of it; before MQTT 5 always success.
        codes: Vec<ReasonCode>,
    },
    /// The connection ended before a SUBSCRIBE or UNSUBSCRIBE was answered: the server may have done it or not.
    Unanswered {
        /// Which one.
        token: Token,
    },
    /// The server sent AUTH.
    Auth {
        /// The AUTH. If it says Continue authentication, it is the client's turn.
        packet: RawPacket,
    },
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DisconnectReason {
    /// [`Client::disconnect`](super::Client::disconnect) was called.
    Asked,
    /// The transport is gone, without a word.
    Transport,
    /// The server did not accept the connection.
    Refused(ReasonCode),
    /// The server sent DISCONNECT.
    Server(ReasonCode),
    /// The server broke a rule.
    Fault(Fault),
    /// No CONNACK came in time.
    ConnectTimeout,
    /// Nothing came for a whole keep alive after PINGREQ.
    KeepAlive,
}

/// Why a message is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// Its QoS is above the server's Maximum QoS.
    QoSNotSupported,
    /// The server keeps no retained messages.
    RetainNotSupported,
    /// It would be larger than the server's Maximum Packet Size.
    PacketTooLarge,
    /// Its topic alias was not set, or is above the server's Topic Alias Maximum.
    TopicAlias,
    /// It expired before it could be sent.
    Expired,
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// As many messages or bytes as [`ClientLimits`](super::ClientLimits) allows wait already.
    QueueFull,
    /// It could not be sent anyway.
    NotSent(NotSent),
}

/// Why something is not asked of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// As many as [`ClientLimits`](super::ClientLimits) allows are unanswered already.
    TooMany,
    /// There is no connection.
    NotConnected,
    /// It cannot be encoded.
    Encode(EncodeError),
    /// DISCONNECT cannot give an expiry to a session that CONNECT gave none (§ 3.14.2.2.2).
    SessionExpiry,
}

/// Why an acknowledgement is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckError {
    /// It is acknowledged already, or the connection (at QoS 1) or session (at QoS 2) in which it came is over.
    Stale,
    /// Not a reason code of PUBACK and PUBREC.
    ReasonCode(ReasonCode),
}

/// Why AUTH is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// There was no Authentication Method in CONNECT (§ 4.12).
    NoMethod,
    /// It is not the client's turn.
    NotNow,
    /// It cannot be encoded.
    Encode(EncodeError),
}

impl Token {
    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number, which counts up from 1.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl NotSent {
    /// The reason code that comes nearest.
    pub const fn reason_code(self) -> ReasonCode {
        match self {
            Self::QoSNotSupported => ReasonCode::QoSNotSupported,
            Self::RetainNotSupported => ReasonCode::RetainNotSupported,
            Self::PacketTooLarge => ReasonCode::PacketTooLarge,
            Self::TopicAlias => ReasonCode::TopicAliasInvalid,
            Self::Expired => ReasonCode::UnspecifiedError,
        }
    }
}

impl DisconnectReason {
    /// The server's reason code, or the one that the server's fault has; `None` if nobody named one.
    pub const fn reason_code(&self) -> Option<ReasonCode> {
        match self {
            Self::Refused(reason) | Self::Server(reason) => Some(*reason),
            Self::Fault(fault) => Some(fault.reason),
            Self::Asked | Self::Transport | Self::ConnectTimeout | Self::KeepAlive => None,
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "disconnected by this client",
            Self::Transport => "the connection was lost",
            Self::ConnectTimeout => "the server did not answer CONNECT",
            Self::KeepAlive => "the server does not answer any more",
            Self::Refused(reason) => return write!(f, "the server refused the connection: {reason}"),
            Self::Server(reason) => return write!(f, "the server ended the connection: {reason}"),
            Self::Fault(fault) => return write!(f, "the server broke a rule: {}", fault.text),
        })
    }
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::QoSNotSupported => "the QoS is above what the server supports",
            Self::RetainNotSupported => "the server keeps no retained messages",
            Self::PacketTooLarge => "the packet is larger than the server takes",
            Self::TopicAlias => "the topic alias is not set or too high",
            Self::Expired => "the message expired before it could be sent",
        })
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueFull => f.write_str("too many messages wait to be sent"),
            Self::NotSent(why) => fmt::Display::fmt(why, f),
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => f.write_str("too many requests wait for an answer"),
            Self::NotConnected => f.write_str("there is no connection"),
            Self::Encode(error) => fmt::Display::fmt(error, f),
            Self::SessionExpiry => f.write_str("a session expiry needs one other than 0 in CONNECT"),
        }
    }
}

impl fmt::Display for AckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale => f.write_str("the message does not wait for an acknowledgement"),
            Self::ReasonCode(reason) => write!(f, "{reason} is no reason to acknowledge with"),
        }
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMethod => f.write_str("CONNECT had no authentication method"),
            Self::NotNow => f.write_str("it is not this client's turn to authenticate"),
            Self::Encode(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for NotSent {}
impl std::error::Error for PublishError {}
impl std::error::Error for RequestError {}
impl std::error::Error for AckError {}
impl std::error::Error for AuthError {}
