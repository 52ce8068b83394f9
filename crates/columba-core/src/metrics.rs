//! Counters and gauges of one broker.

/// Figures since the start, and figures of now. Counters wrap after 2^64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Connections opened.
    pub connections_opened: u64,
    /// CONNECT packets accepted.
    pub connects_accepted: u64,
    /// Connections that ended without an accepted CONNECT.
    pub connects_refused: u64,
    /// Sessions that expired.
    pub sessions_expired: u64,
    /// Packets of all types received.
    pub packets_received: u64,
    /// Packets of all types handed out for sending.
    pub packets_sent: u64,
    /// Bytes received in whole packets; of a PUBLISH that came decoded, those of its payload.
    pub bytes_received: u64,
    /// Bytes handed out for sending; of a PUBLISH that is handed out decoded, those of its payload.
    pub bytes_sent: u64,
    /// PUBLISH packets received, repeated ones included.
    pub publishes_received: u64,
    /// PUBLISH packets handed out, repeated ones included.
    pub publishes_sent: u64,
    /// Deliveries dropped because a session's queue was full.
    pub dropped_queue_full: u64,
    /// Deliveries dropped because the message expired.
    pub dropped_expired: u64,
    /// Deliveries dropped because the client does not take packets of that size.
    pub dropped_too_large: u64,
    /// QoS 0 messages that were delivered and not retained, as there was no room to retain them.
    pub not_retained: u64,
    /// PUBLISH packets refused.
    pub publishes_refused: u64,
    /// Informational events lost because nobody took them.
    pub events_lost: u64,

    /// Connections open now.
    pub connections: usize,
    /// Sessions alive now, of clients here and away.
    pub sessions: usize,
    /// Subscriptions now, shared ones included.
    pub subscriptions: usize,
    /// Retained messages now.
    pub retained: usize,
    /// Size of the retained messages, as counted for the limit.
    pub retained_bytes: usize,
    /// Messages held now, retained, queued or in flight, each once.
    pub stored: usize,
    /// Their size, as counted for [`Limits::stored_bytes`](crate::Limits::stored_bytes).
    pub stored_bytes: usize,
}

impl Metrics {
    /// These and those of another shard of the same broker. What is retained is in both, and counted once.
    #[must_use]
    pub fn with_shard(mut self, other: &Self) -> Self {
        macro_rules! add {
            ($($field:ident),*) => { $(self.$field += other.$field;)* };
        }
        add!(connections_opened, connects_accepted, connects_refused, sessions_expired);
        add!(packets_received, packets_sent, bytes_received, bytes_sent, publishes_received, publishes_sent);
        add!(dropped_queue_full, dropped_expired, dropped_too_large, not_retained, publishes_refused);
        add!(events_lost, connections, sessions, subscriptions, stored, stored_bytes);
        self
    }
}
