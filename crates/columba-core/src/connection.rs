//! What the broker keeps for one network connection, from its opening until the shell says it is closed.

use std::time::Duration;

use columba_codec::Version;

use crate::Time;
use crate::aliases::{Incoming, Outgoing};
use crate::auth::Peer;
use crate::timers::TimerKey;

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) phase: Phase,
    pub(crate) version: Version,
    pub(crate) peer: Box<Peer>,
    /// The session's number once the client is online.
    pub(crate) session: Option<u32>,
    /// The name authorisation goes by.
    pub(crate) username: Option<Box<str>>,
    /// When the last whole packet came.
    pub(crate) last_received: Time,
    /// Seconds; 0 is off.
    pub(crate) keep_alive: u16,
    pub(crate) timer: Option<TimerKey>,
    /// Encoded packets other than PUBLISH that wait to be sent; they go before any PUBLISH.
    pub(crate) control: Vec<u8>,
    pub(crate) control_packets: u32,
    /// QoS 1 and 2 messages the client takes unacknowledged [MQTT-3.3.4-9], or fewer if the broker so decides.
    pub(crate) send_maximum: u16,
    /// The largest packet the client takes [MQTT-3.1.2-24].
    pub(crate) maximum_packet_size: u32,
    pub(crate) aliases: Option<Box<Aliases>>,
    pub(crate) authentication: Option<Box<Authentication>>,
    /// It is in the list of those that have something to send.
    pub(crate) ready: bool,
    /// The session expiry of CONNECT was zero, so DISCONNECT cannot raise it.
    pub(crate) expiry_was_zero: bool,
    /// A SUBSCRIBE of it waits for other shards.
    pub(crate) held: bool,
    /// It publishes more than another shard takes.
    pub(crate) stalled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing but CONNECT may come [MQTT-3.1.0-1].
    AwaitingConnect,
    /// The hook has a question about CONNECT or AUTH; nothing is read meanwhile.
    Deciding,
    /// The client has to go on with AUTH.
    AwaitingAuth,
    Online,
    /// Last bytes are being sent; nothing is read any more.
    Closing,
}

#[derive(Debug)]
pub(crate) struct Aliases {
    pub(crate) incoming: Incoming,
    pub(crate) outgoing: Outgoing,
}

/// Enhanced authentication, or a question to the hook.
#[derive(Debug, Default)]
pub(crate) struct Authentication {
    /// The authentication method of CONNECT [MQTT-4.12.0-5].
    pub(crate) method: Option<Box<str>>,
    /// The question under way.
    pub(crate) ticket: Option<u32>,
    /// A re-authentication is under way on an accepted connection.
    pub(crate) repeated: bool,
    /// CONNECT, without its fixed header, until it is answered.
    pub(crate) connect: Box<[u8]>,
}

impl Connection {
    pub(crate) fn new(peer: Peer, now: Time) -> Self {
        Self {
            phase: Phase::AwaitingConnect,
            version: Version::V3_1_1,
            peer: Box::new(peer),
            session: None,
            username: None,
            last_received: now,
            keep_alive: 0,
            timer: None,
            control: Vec::new(),
            control_packets: 0,
            send_maximum: u16::MAX,
            maximum_packet_size: u32::MAX,
            aliases: None,
            authentication: None,
            ready: false,
            expiry_was_zero: false,
            held: false,
            stalled: false,
        }
    }

    pub(crate) const fn is_v5(&self) -> bool {
        matches!(self.version, Version::V5)
    }

    /// CONNECT has not been accepted, and may still be.
    pub(crate) const fn is_handshaking(&self) -> bool {
        matches!(self.phase, Phase::AwaitingConnect | Phase::Deciding | Phase::AwaitingAuth)
    }

    /// When the client is taken for gone if nothing comes: one and a half times keep alive [MQTT-3.1.2-22].
    pub(crate) fn keep_alive_deadline(&self) -> Option<Time> {
        (self.keep_alive > 0)
            .then(|| self.last_received + Duration::from_millis(u64::from(self.keep_alive) * 1500))
    }
}
