//! One side of a bridge: its client, its connection, and what is asked of its broker. Never touches the other side.

use std::collections::VecDeque;

use columba_codec::{RetainHandling, SubscribeItem, SubscriptionOptions, Version};
use columba_core::Time;

use super::backoff::Backoff;
use super::route::Path;
use crate::client::{AckId, Client, DisconnectReason, Token};

/// One side.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) client: Client,
    pub(super) link: Link,
    pub(super) backoff: Backoff,
    /// Topics of messages that come from here.
    pub(super) paths: Vec<Path>,
    /// Every path is subscribed to in this session.
    pub(super) subscribed: bool,
    /// Subscriptions that are not answered, with their paths.
    pub(super) asked: Vec<(Token, usize)>,
    /// Messages passed on to this side that wait for its acknowledgement, and what the other side then gets.
    pub(super) pending: VecDeque<(Token, AckId)>,
    /// A message from here was not taken, for want of room. No other is, until the connection is made anew and they all come
    /// again.
    pub(super) starved: bool,
    /// What ended the last connection.
    pub(super) ended: Option<DisconnectReason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// A transport is asked for.
    Opening,
    Open,
    /// Open, to be closed and opened again at once.
    Cycling,
    Waiting(Time),
    Closed,
}

impl Half {
    pub(super) fn new(client: Client, paths: Vec<Path>, backoff: Backoff) -> Self {
        Self {
            client,
            link: Link::Opening,
            backoff,
            paths,
            subscribed: false,
            asked: Vec::new(),
            pending: VecDeque::new(),
            starved: false,
            ended: None,
        }
    }

    /// Asks for all subscriptions, each in a packet of its own: so that a broker that refuses one does not refuse all.
    pub(super) fn subscribe(&mut self, now: Time) {
        let v5 = self.client.options().version == Version::V5;
        for (index, path) in self.paths.iter().enumerate() {
            let options = SubscriptionOptions {
                qos: path.qos,
                no_local: v5,
                retain_as_published: v5,
                retain_handling: RetainHandling::Send,
            };
            let Some(filter) = path.filter() else { continue };
            // There are fewer paths than requests may be unanswered, and none of an earlier connection is.
            if let Ok(token) = self.client.subscribe(now, &[SubscribeItem { filter, options }], None, &[]) {
                self.asked.push((token, index));
            }
        }
    }

    /// Whether a message at QoS 0 may wait: only in the first half of a queue, so that those above find room in any case.
    pub(super) fn has_room(&self) -> bool {
        let limits = &self.client.options().limits;
        self.client.queued() < limits.queued_messages / 2
            && self.client.queued_bytes() < limits.queued_bytes / 2
    }
}
