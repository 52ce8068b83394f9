//! What the broker keeps for one client, with or without a connection: its queue, what is in flight both ways, its
//! will and its end. (Its subscriptions are in the index.)

use std::collections::VecDeque;
use std::sync::Arc;

use columba_codec::{QoS, SubscriptionId};
use smallvec::SmallVec;

use crate::Time;
use crate::config::Limits;
use crate::inflight::Inflight;
use crate::lazy::Lazy;
use crate::message::MessageId;
use crate::packet_ids::PacketIds;
use crate::timers::TimerKey;
use crate::topics::GroupKey;

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client_id: Arc<str>,
    /// The connection's number while there is one.
    pub(crate) connection: Option<u32>,
    /// Seconds the session outlives its connection; `u32::MAX` is for ever.
    pub(crate) expiry: u32,
    /// When it ends, while the client is away.
    pub(crate) ends: Option<Time>,
    /// When the will is published, while the client is away.
    pub(crate) will_due: Option<Time>,
    /// The earlier of the two.
    pub(crate) timer: Option<TimerKey>,
    pub(crate) will: Option<Box<StoredWill>>,
    pub(crate) queue: Queue,
    pub(crate) inflight: Lazy<Inflight>,
    /// Packet identifiers of QoS 2 messages received and not released.
    pub(crate) incoming: Lazy<PacketIds>,
    /// The number of the last message that matched, and the place of that match: so overlapping subscriptions
    /// find each other without a table.
    pub(crate) stamp: u64,
    pub(crate) stamp_at: u32,
    /// It is no client's, but stands for the shard of this number.
    pub(crate) sibling: Option<u8>,
}

/// A will as it waits: a stored message that nobody has been given yet.
#[derive(Debug)]
pub(crate) struct StoredWill {
    pub(crate) topic: Box<str>,
    pub(crate) payload: Box<[u8]>,
    pub(crate) forwarded: Box<[u8]>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) delay: u32,
    pub(crate) expiry: Option<u32>,
}

/// Messages that wait for a session, in order.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) waiting: VecDeque<Delivery>,
    /// Size of what waits and of what is in flight.
    pub(crate) bytes: usize,
    /// Expired messages are not looked for before.
    pub(crate) purge_from: Time,
    /// The broker's count of expiries when they were last looked for.
    pub(crate) purged: u32,
    /// A drop has been reported since the queue was last empty.
    pub(crate) reported_full: bool,
}

/// One message for one session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    pub(crate) message: MessageId,
    /// 0, a subscription identifier, or with `EXTRA` set the number of an [`Extra`].
    notes: u32,
    qos: QoS,
    pub(crate) retain: bool,
    /// It is retained and came by a SUBSCRIBE: the session holds no copy of its own.
    pub(crate) replay: bool,
}

/// What a delivery has to remember beyond one subscription identifier.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extra {
    pub(crate) ids: SmallVec<[SubscriptionId; 2]>,
    /// The shared subscription it came by.
    pub(crate) group: Option<GroupKey>,
}

/// Places an empty queue keeps: bursts should not allocate each time, idle sessions should not hold much.
const KEPT_CAPACITY: usize = 256;

const EXTRA: u32 = 1 << 31;

/// How a delivery's subscription identifiers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notes {
    None,
    Id(SubscriptionId),
    /// The number of an [`Extra`].
    Extra(u32),
}

impl Session {
    pub(crate) fn new(client_id: Arc<str>) -> Self {
        Self {
            client_id,
            connection: None,
            expiry: 0,
            ends: None,
            will_due: None,
            timer: None,
            will: None,
            queue: Queue::default(),
            inflight: Lazy::default(),
            incoming: Lazy::default(),
            stamp: 0,
            stamp_at: 0,
            sibling: None,
        }
    }

    /// Whether it is a client's, with room for a message of this size.
    pub(crate) fn has_room(&self, limits: &Limits, size: usize) -> bool {
        self.sibling.is_none() && !self.queue.is_full(limits, size)
    }

    /// Whether its client is here and it has room.
    pub(crate) fn is_ready(&self, limits: &Limits, size: usize) -> bool {
        self.connection.is_some() && !self.queue.is_full(limits, size)
    }

    /// Gives memory back that a session without traffic does not need.
    pub(crate) fn shrink(&mut self) {
        self.queue.shrink();
        if let Some(incoming) = self.incoming.changed() {
            incoming.shrink();
        }
    }
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a message of this size is too much.
    pub(crate) fn is_full(&self, limits: &Limits, size: usize) -> bool {
        self.len() >= limits.queued_messages || self.bytes + size > limits.queued_bytes
    }

    /// Gives memory back once a long queue is empty.
    pub(crate) fn shrink(&mut self) {
        if self.waiting.is_empty() {
            self.reported_full = false;
            if self.waiting.capacity() > KEPT_CAPACITY {
                self.waiting = VecDeque::new();
            }
        }
    }
}

impl Delivery {
    pub(crate) const fn new(message: MessageId, qos: QoS, retain: bool, notes: Notes) -> Self {
        let notes = match notes {
            Notes::None => 0,
            Notes::Id(id) => id.get(),
            Notes::Extra(number) => number | EXTRA,
        };
        Self { message, notes, qos, retain, replay: false }
    }

    pub(crate) const fn qos(&self) -> QoS {
        self.qos
    }

    pub(crate) const fn notes(&self) -> Notes {
        if self.notes & EXTRA != 0 {
            return Notes::Extra(self.notes & !EXTRA);
        }
        match SubscriptionId::new(self.notes) {
            Some(id) => Notes::Id(id),
            None => Notes::None,
        }
    }
}

impl StoredWill {
    pub(crate) fn size(&self) -> usize {
        self.topic.len() + self.payload.len() + self.forwarded.len() + crate::message::MESSAGE_OVERHEAD
    }
}
