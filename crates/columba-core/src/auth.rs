//! Who may come in and who may do what: the questions, the answers, and the trait for the second.
//! Authentication may take its time and is asked for by an event; authorisation is a pure function.

use std::fmt;

use bytes::Bytes;
use columba_codec::{QoS, ReasonCode, TopicFilter, TopicName, Version};

/// Where a connection comes from. The core passes it on and draws one conclusion only: a trusted peer may publish
/// to `$SYS`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The listener or transport, `tcp`, say. For people and for hooks.
    pub transport: &'static str,
    /// The remote address in the transport's own form, if it has one.
    pub address: Option<Box<str>>,
    /// The name in the client's TLS certificate, if it showed a valid one.
    pub certificate_name: Option<Box<str>>,
    /// Part of the program that embeds the broker; not asked to authenticate.
    pub trusted: bool,
}

/// A client that asks to be let in, or goes on asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthRequest {
    /// What this is about.
    pub stage: AuthStage,
    /// The client id; empty if the broker is to assign one.
    pub client_id: Box<str>,
    /// The protocol version.
    pub version: Version,
    /// User name of CONNECT.
    pub username: Option<Box<str>>,
    /// Password of CONNECT.
    pub password: Option<Bytes>,
    /// Authentication method of CONNECT (MQTT 5).
    pub method: Option<Box<str>>,
    /// Authentication data of this CONNECT or AUTH.
    pub data: Option<Bytes>,
    /// Where it comes from.
    pub peer: Peer,
}

/// The step of an authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthStage {
    /// A CONNECT.
    Connect,
    /// An AUTH with Continue authentication (0x18), after a [`Verdict::Continue`].
    Continue,
    /// An AUTH with Re-authenticate (0x19) on an accepted connection.
    ReAuthenticate,
}

/// The answer to an [`AuthRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Come in.
    Accept(Grant),
    /// Enhanced authentication needs another round: AUTH 0x18 with this data. Refused as a broken hook (0x83) if
    /// the client named no method.
    Continue {
        /// Authentication data.
        data: Bytes,
    },
    /// Stay out. A code that CONNACK (or DISCONNECT, on re-authentication) does not have becomes 0x87.
    Reject {
        /// Why.
        reason: ReasonCode,
        /// Why, for a person; may be empty.
        text: Box<str>,
    },
}

/// What comes with being let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// The name by which authorisation knows this client, if not the user name it sent.
    pub username: Option<Box<str>>,
    /// Last authentication data for the client (enhanced authentication only).
    pub data: Option<Bytes>,
}

/// Who wants to do something.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// Client id.
    pub id: &'a str,
    /// The name it was authenticated under.
    pub username: Option<&'a str>,
    /// Where it comes from.
    pub peer: &'a Peer,
}

/// What a client wants to do.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Action<'a> {
    /// Publish, or leave a will.
    Publish {
        /// The topic name, its alias resolved.
        topic: TopicName<'a>,
        /// QoS.
        qos: QoS,
        /// To be retained.
        retain: bool,
    },
    /// Subscribe.
    Subscribe {
        /// The topic filter, `$share/…` included.
        filter: TopicFilter<'a>,
        /// The highest QoS asked for.
        qos: QoS,
    },
}

/// Decides who may do what. Must be a pure function of its arguments: a recorded run is replayed with it. Called on
/// every PUBLISH, so it should be fast.
pub trait Authorize: Send {
    /// Whether `client` may do this. A refused PUBLISH is acknowledged with 0x87 in MQTT 5 and silently in older
    /// versions [MQTT-3.3.5-2 of 3.1.1]; a refused SUBSCRIBE gets 0x87 or 0x80.
    fn authorize(&self, client: Client<'_>, action: Action<'_>) -> bool;
}

impl<F> Authorize for F
where
    F: Fn(Client<'_>, Action<'_>) -> bool + Send,
{
    fn authorize(&self, client: Client<'_>, action: Action<'_>) -> bool {
        self(client, action)
    }
}

impl Verdict {
    /// Come in, nothing special.
    pub fn accept() -> Self {
        Self::Accept(Grant::default())
    }

    /// Stay out, with this reason.
    pub fn reject(reason: ReasonCode) -> Self {
        Self::Reject { reason, text: Box::default() }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Some(address) => write!(f, "{} {address}", self.transport),
            None => f.write_str(self.transport),
        }
    }
}
