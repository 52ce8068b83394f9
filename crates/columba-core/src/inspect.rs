//! Looking into a running broker: clients, their subscriptions, retained messages. Nothing here changes anything.

use std::sync::Arc;
use std::time::Duration;

use columba_codec::{SubscriptionId, SubscriptionOptions, TopicFilter, Version};

use crate::auth::Peer;
use crate::core::Core;
use crate::keys::ConnectionKey;

/// A session, with its connection if it has one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientInfo {
    /// The client id.
    pub client_id: Arc<str>,
    /// What the connection is, if there is one.
    pub connection: Option<ConnectionInfo>,
    /// Seconds the session outlives its connection; `u32::MAX` is for ever.
    pub session_expiry: u32,
    /// Time until the session ends, if its client is away and it will.
    pub expires_in: Option<Duration>,
    /// Number of subscriptions.
    pub subscriptions: usize,
    /// Messages that wait to be sent.
    pub queued: usize,
    /// Messages sent and not acknowledged.
    pub inflight: usize,
    /// Size of both in bytes, as counted for [`Limits::queued_bytes`](crate::Limits::queued_bytes).
    pub queued_bytes: usize,
    /// QoS 2 messages received and not released.
    pub incoming: usize,
    /// It has a will.
    pub has_will: bool,
}

/// A connection whose CONNECT was accepted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The protocol version it speaks.
    pub version: Version,
    /// The name it is authorised by.
    pub username: Option<Box<str>>,
    /// Where it comes from.
    pub peer: Peer,
    /// Keep alive in seconds; 0 is off.
    pub keep_alive: u16,
}

/// One subscription of a session.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SubscriptionInfo {
    /// The topic filter, `$share/…` included.
    pub filter: String,
    /// Subscription identifier.
    pub id: Option<SubscriptionId>,
    /// Options as asked for.
    pub options: SubscriptionOptions,
}

impl Core {
    /// All sessions, in no particular order. Of this shard, if it is one of several.
    pub fn clients(&self) -> impl Iterator<Item = ClientInfo> {
        let clients = self.sessions.iter().filter(|(_, session)| session.sibling.is_none());
        clients.map(|(index, _)| self.info(index))
    }

    /// The session of this client id.
    pub fn client(&self, client_id: &str) -> Option<ClientInfo> {
        self.session_of(client_id).map(|index| self.info(index))
    }

    /// The client id and the version of a connection whose CONNECT was accepted.
    pub fn client_of(&self, connection: ConnectionKey) -> Option<(&str, Version)> {
        let index = self.connections.resolve_connection(connection)?;
        let session = self.connections[index].session?;
        Some((&self.sessions[session].client_id, self.connections[index].version))
    }

    /// The subscriptions of this client id; none if it has no session.
    pub fn subscriptions(&self, client_id: &str) -> Vec<SubscriptionInfo> {
        let Some(session) = self.session_of(client_id) else {
            return Vec::new();
        };
        let entries = self.subscriptions.list(session);
        entries
            .map(|entry| SubscriptionInfo { filter: entry.filter, id: entry.id, options: entry.options })
            .collect()
    }

    /// Calls `found` with topic and payload of every retained message that matches, or of all.
    pub fn retained(&self, filter: Option<TopicFilter<'_>>, mut found: impl FnMut(&str, &[u8])) {
        let report = |id| {
            let message = self.messages.get(id);
            found(message.topic(), message.payload());
        };
        match filter {
            Some(filter) => {
                self.retained.matches(filter, report);
            }
            None => self.retained.for_each(report),
        }
    }

    fn info(&self, index: u32) -> ClientInfo {
        let session = &self.sessions[index];
        let connection = session.connection.map(|connection| {
            let connection = &self.connections[connection];
            ConnectionInfo {
                version: connection.version,
                username: connection.username.clone(),
                peer: (*connection.peer).clone(),
                keep_alive: connection.keep_alive,
            }
        });
        ClientInfo {
            client_id: session.client_id.clone(),
            connection,
            session_expiry: session.expiry,
            expires_in: session.ends.map(|ends| ends.since(self.now)),
            subscriptions: self.subscriptions.count_of(index),
            queued: session.queue.len(),
            inflight: session.inflight.len(),
            queued_bytes: session.queue.bytes,
            incoming: session.incoming.len(),
            has_will: session.will.is_some(),
        }
    }
}
