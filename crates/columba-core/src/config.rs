//! What the owner of a broker decides: limits, policies and the features it announces.

use columba_codec::QoS;

use crate::event::EventMask;

/// Settings of a broker. Everything has a default that suits a program which embeds it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// How much of everything there may be.
    pub limits: Limits,
    /// What happens when a session's queue is full.
    pub full_queue: FullQueue,
    /// Ask the shell about every CONNECT ([`Event::Authenticate`](crate::Event::Authenticate)). Off: everybody is
    /// let in, and a client that wants enhanced authentication is refused with 0x8C.
    pub authenticate: bool,
    /// The highest QoS that clients may publish with; announced as Maximum QoS [MQTT-3.2.2-9]. Default 2.
    pub maximum_qos: QoS,
    /// Whether retained messages are served. Default true. Off: 0x9A.
    pub retain_available: bool,
    /// Whether topic filters may have wildcards. Default true. Off: 0xA2.
    pub wildcard_subscriptions: bool,
    /// Whether subscriptions may have identifiers. Default true. Off: 0xA1.
    pub subscription_ids: bool,
    /// Whether `$share/…` is served. Default true. Off: 0x9E.
    pub shared_subscriptions: bool,
    /// Whether the broker invents a client id for a client that has none. Default true. Off: 0x85.
    pub assign_client_ids: bool,
    /// Seconds; replaces the keep alive of every MQTT 5 client [MQTT-3.1.2-21]. Older clients cannot be told and keep
    /// their own. Default none.
    pub server_keep_alive: Option<u16>,
    /// Seconds that a session may outlive its connection at the most. Default none: as the client asks, which for
    /// MQTT 3.1 and 3.1.1 without clean session means for ever.
    pub maximum_session_expiry: Option<u32>,
    /// Keep QoS 0 messages too for a session whose client is away. Default false.
    pub queue_qos0_offline: bool,
    /// The basis for response topics, returned to MQTT 5 clients that ask [MQTT-3.1.2-28]. Default none.
    pub response_information: Option<Box<str>>,
    /// Which events are reported. Default: all but those that come once per message.
    pub events: EventMask,
}

/// Upper bounds. Each says what a client is told that runs into it. Sizes are in bytes. A few cannot be too low: below
/// a floor, [`Core::new`](crate::Core::new) raises them to it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Open connections; a CONNECT beyond gets 0x97 Quota exceeded. Default 1,000,000.
    pub connections: usize,
    /// Connections that have not finished CONNECT; one beyond is closed unheard. Of several shards each has its own, and
    /// as many again may be on their way to it. Default 10,000.
    pub pending_handshakes: usize,
    /// Seconds from opening a connection to its accepted CONNECT; then it is closed. Default 10.
    pub connect_timeout: u16,
    /// Seconds a closing connection may take to send its last bytes. Default 5.
    pub close_timeout: u16,
    /// Sessions, of clients that are here and away; a CONNECT beyond gets 0x97. Default 1,000,000.
    pub sessions: usize,
    /// Length of a client id; a longer one gets 0x85. Default 1,024; less than 23 counts as 23, which every broker
    /// has to take [MQTT-3.1.3-5].
    pub client_id_len: usize,
    /// Size of a packet from a client, fixed header included; announced as Maximum Packet Size, and a larger
    /// one gets 0x95. Default 16 MiB.
    pub packet_size: u32,
    /// Size of a packet that is not a PUBLISH, where less than `packet_size`; 0x95. It bounds how long one packet
    /// can keep the broker busy. Default 1 MiB.
    pub control_size: u32,
    /// Size of a CONNECT, and of an AUTH before it is accepted, where less than `packet_size`; 0x95. It bounds what a
    /// stranger can make the broker hold. Default 256 KiB.
    pub connect_size: u32,
    /// QoS 2 messages from one client between PUBLISH and PUBREL; announced as Receive Maximum, and one beyond
    /// gets 0x93 [MQTT-3.3.4-7]. (QoS 1 messages are acknowledged at once.) Default 1,024; 0 counts as 1, as it can
    /// be neither announced nor kept to.
    pub receive_maximum: u16,
    /// Unacknowledged messages to one client, where it allows as many; others wait. Default 1,024; 0 counts as 1,
    /// or they would wait for ever.
    pub inflight: u16,
    /// Messages that wait for one session. Full: [`FullQueue`] decides. Default 1,000,000.
    pub queued_messages: usize,
    /// Size of the messages that wait for one session or are in flight to it, counted with topic, properties and
    /// [`MESSAGE_OVERHEAD`](crate::MESSAGE_OVERHEAD) each. Full: [`FullQueue`] decides. Default 64 MiB.
    pub queued_bytes: usize,
    /// Size of all messages the broker holds, each counted once however many wait for it, retained ones and
    /// wills included. At this ceiling a publisher is refused: 0x97 at QoS 1 and 2 of MQTT 5; a connection of an
    /// older version is closed without acknowledgement, so that the message is sent again; QoS 0 is dropped, and
    /// with it what it would have replaced as the retained message of its topic. Default 1 GiB.
    pub stored_bytes: usize,
    /// Subscriptions of one session; SUBACK 0x97. Default 100,000.
    pub subscriptions: usize,
    /// Levels of all filters with wildcards of one session; SUBACK 0x97. It bounds how long one message can keep the
    /// broker busy that comes by all of them, and what they hold, some 60 bytes for each level that no other filter
    /// begins with. Default 1,000,000: ten in each of 100,000 filters.
    pub wildcard_levels: usize,
    /// Levels in a topic name or filter; a PUBLISH gets 0x90, a SUBSCRIBE 0x8F. Default 128.
    pub topic_levels: usize,
    /// Retained messages; a PUBLISH that would add one is refused as with `stored_bytes`, but at QoS 0 it is
    /// delivered and only not retained, and what was retained under its topic before is gone. Default 1,000,000.
    pub retained_messages: usize,
    /// Levels of all topics under which messages are retained, each counted once where topics begin alike; beyond, as
    /// with `retained_messages`. It bounds how long one SUBSCRIBE can keep the broker busy that asks for all of them
    /// (`+/+/+/…`), some 15 ns each, and what they hold, some 60 bytes each. Default 5,000,000.
    pub retained_levels: usize,
    /// Size of all retained messages, counted as in `queued_bytes`; beyond, as with `retained_messages`. Default
    /// 512 MiB.
    pub retained_bytes: usize,
    /// Payload of one retained message; beyond, as with `retained_messages`. Default none beyond `packet_size`.
    pub retained_payload: usize,
    /// Topic aliases a client may use; announced as Topic Alias Maximum, and a higher one gets 0x94
    /// [MQTT-3.2.2-17]. Default 64.
    pub topic_aliases_in: u16,
    /// Topic aliases the broker uses towards a client that allows as many. Default 64.
    pub topic_aliases_out: u16,
    /// Bytes of acknowledgements and the like that wait for one connection; at this point the broker stops
    /// reading from it until it takes them. Default 64 KiB.
    pub output_backlog: usize,
    /// Bytes of output that one call of [`Core::poll_transmit`](crate::Core::poll_transmit) stops at. Default 64 KiB;
    /// 0 counts as 1, or there would be no end of calls.
    pub transmit_budget: usize,
}

/// What happens to a message for a session whose queue is full. It is counted and reported in any case, and
/// never costs another session anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FullQueue {
    /// The new message is dropped for this session.
    #[default]
    DropNewest,
    /// The oldest messages that are not in flight make room.
    DropOldest,
    /// The consumer's connection is closed with 0x97 and the message dropped for it; a session whose client is
    /// away drops the new message.
    DisconnectConsumer,
    /// The publisher is refused, for all subscribers, as with [`Limits::stored_bytes`]; at QoS 0 the message is
    /// dropped for the session that is full.
    RefusePublisher,
}

impl Limits {
    /// Raises what would make the broker break its promises.
    pub(crate) fn raise(&mut self) {
        // [MQTT-3.1.3-5]
        self.client_id_len = self.client_id_len.max(23);
        self.receive_maximum = self.receive_maximum.max(1);
        self.inflight = self.inflight.max(1);
        self.transmit_budget = self.transmit_budget.max(1);
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            full_queue: FullQueue::default(),
            authenticate: false,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            wildcard_subscriptions: true,
            subscription_ids: true,
            shared_subscriptions: true,
            assign_client_ids: true,
            server_keep_alive: None,
            maximum_session_expiry: None,
            queue_qos0_offline: false,
            response_information: None,
            events: EventMask::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_000_000,
            pending_handshakes: 10_000,
            connect_timeout: 10,
            close_timeout: 5,
            sessions: 1_000_000,
            client_id_len: 1024,
            packet_size: 16 << 20,
            control_size: 1 << 20,
            connect_size: 256 << 10,
            receive_maximum: 1024,
            inflight: 1024,
            queued_messages: 1_000_000,
            queued_bytes: 64 << 20,
            stored_bytes: 1 << 30,
            subscriptions: 100_000,
            wildcard_levels: 1_000_000,
            topic_levels: 128,
            retained_messages: 1_000_000,
            retained_levels: 5_000_000,
            retained_bytes: 512 << 20,
            retained_payload: usize::MAX,
            topic_aliases_in: 64,
            topic_aliases_out: 64,
            output_backlog: 64 << 10,
            transmit_budget: 64 << 10,
        }
    }
}
