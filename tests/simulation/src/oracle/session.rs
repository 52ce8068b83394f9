//! What a session is to the model: subscriptions, what is due to it, what is under way. It never decides whether a packet
//! was right.

use std::collections::BTreeSet;
use std::rc::Rc;

use columba_testkit::Version;

/// Microseconds since the world began.
pub(super) type Micros = u64;

/// A message as it was accepted. The same PUBLISH accepted twice, as QoS 1 allows, is two of them.
#[derive(Debug)]
pub(super) struct Message {
    /// Place in the order in which the broker accepted messages.
    pub(super) order: u64,
    /// The same of its first copy.
    pub(super) first: u64,
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) publisher: usize,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) expires: Option<Micros>,
}

/// The session of one client.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) version: Version,
    /// Seconds; `u32::MAX` is for ever.
    pub(super) expiry: u32,
    /// The number of its link.
    pub(super) link: Option<usize>,
    pub(super) ends: Option<Micros>,
    pub(super) will: Option<Will>,
    pub(super) subscriptions: Vec<Subscription>,
    /// Shared subscriptions as they were until they were changed or ended.
    pub(super) former_shares: Vec<Former>,
    /// Not sent yet.
    pub(super) due: Vec<Due>,
    /// Sent and not acknowledged, in the order of first sending.
    pub(super) inflight: Vec<Inflight>,
    /// QoS 2 messages from the client that are not released.
    pub(super) incoming: BTreeSet<u16>,
    /// The latest message sent for the first time.
    pub(super) latest: Latest,
}

#[derive(Debug)]
pub(super) struct Will {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) qos: u8,
    pub(super) retain: bool,
    /// Seconds.
    pub(super) delay: u32,
    pub(super) expiry: Option<u32>,
    /// When it is published; only while the client is away.
    pub(super) at: Option<Micros>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Subscription {
    /// As in SUBSCRIBE, `$share/…` included.
    pub(super) filter: String,
    pub(super) qos: u8,
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
    pub(super) id: Option<u32>,
}

/// A shared subscription that is not like this any more.
#[derive(Debug)]
pub(super) struct Former {
    pub(super) filter: String,
    pub(super) id: Option<u32>,
    /// Place of its end in the order of messages.
    pub(super) until: u64,
}

/// A message that a session is to get.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) message: Rc<Message>,
    pub(super) form: Form,
    /// It must come; without this it may.
    pub(super) must: bool,
}

/// What a delivery looks like.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) qos: u8,
    /// The RETAIN flag; `None` where the standard leaves it open.
    pub(super) retain: Option<bool>,
    /// Subscription identifiers, sorted.
    pub(super) ids: Vec<u32>,
    /// Sent because of a SUBSCRIBE.
    pub(super) retained: bool,
}

#[derive(Debug)]
pub(super) struct Inflight {
    pub(super) id: u16,
    pub(super) message: Rc<Message>,
    pub(super) form: Form,
    /// The link on which it was sent last.
    pub(super) link: usize,
    /// PUBREC has come; place in the order in which these came.
    pub(super) received: Option<u64>,
    /// It was sent for a shared subscription.
    pub(super) share: Option<String>,
    /// Nobody is owed it any more: it need not be sent again, and its identifier is free.
    pub(super) loose: bool,
}

/// The latest message by publisher, topic, QoS published and QoS delivered.
#[derive(Debug, Default)]
pub(super) struct Latest(Vec<((usize, String, u8, u8), u64)>);

impl Session {
    pub(super) const fn new(version: Version) -> Self {
        Self {
            version,
            expiry: 0,
            link: None,
            ends: None,
            will: None,
            subscriptions: Vec::new(),
            former_shares: Vec::new(),
            due: Vec::new(),
            inflight: Vec::new(),
            incoming: BTreeSet::new(),
            latest: Latest(Vec::new()),
        }
    }

    /// What must come at once if the client can take it.
    pub(super) fn missing(&self, now: Micros) -> Option<&Due> {
        self.due.iter().find(|due| due.must && !due.message.is_expired(now))
    }

    pub(super) fn subscription(&self, filter: &str) -> Option<&Subscription> {
        self.subscriptions.iter().find(|subscription| subscription.filter == filter)
    }
}

impl Message {
    /// Whether its time is over, or just ends.
    pub(super) fn is_expired(&self, now: Micros) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether its time is over beyond doubt.
    pub(super) fn is_long_expired(&self, now: Micros) -> bool {
        self.expires.is_some_and(|expires| expires < now)
    }

    pub(super) fn text(&self) -> String {
        format!("{}={} q{}", self.topic, String::from_utf8_lossy(&self.payload), self.qos)
    }
}

impl Latest {
    /// Whether `message` may come after what came before; notes that it did. [MQTT-4.6.0-6]
    pub(super) fn follows(&mut self, message: &Message, qos: u8) -> bool {
        let follows = self.is_before(message, qos);
        if let Some(at) = self.find(message, qos) {
            self.0[at].1 = self.0[at].1.max(message.order);
        } else {
            let key = (message.publisher, message.topic.clone(), message.qos, qos);
            self.0.push((key, message.order));
        }
        follows
    }

    /// Whether it came before `message` was published.
    pub(super) fn is_before(&self, message: &Message, qos: u8) -> bool {
        self.find(message, qos).is_none_or(|at| self.0[at].1 < message.order)
    }

    fn find(&self, message: &Message, qos: u8) -> Option<usize> {
        self.0.iter().position(|((publisher, topic, published, delivered), _)| {
            *publisher == message.publisher
                && *topic == message.topic
                && *published == message.qos
                && *delivered == qos
        })
    }
}
