//! PUBLISH packets that never become bytes: for clients in the same process, which share what a message contains.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use columba_codec::{MessageProperties, PacketId, QoS, SubscriptionId, TopicBuf, TopicName};

/// What a message contains, made once and shared by all who get it. Topic and properties are as a decoder would have
/// let them pass.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    topic: TopicBuf,
    /// Properties as [`MessageProperties::encode_forwarded`] writes them.
    forwarded: Box<[u8]>,
    payload: Bytes,
}

/// A PUBLISH in decoded form. Cloning it shares the content.
#[derive(Clone, PartialEq, Eq)]
pub struct Parcel {
    content: Arc<Content>,
    rare: Option<Box<Rare>>,
    subscription_id: Option<SubscriptionId>,
    packet_id: Option<PacketId>,
    qos: QoS,
    /// As in the fixed header, but for the QoS.
    flags: u8,
}

const RETAIN: u8 = 0b0001;
const DUP: u8 = 0b1000;

/// What few parcels have; for the others it would be half of their size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rare {
    expiry: Option<u32>,
    /// Subscription identifiers beyond the first.
    more: Box<[SubscriptionId]>,
}

impl Rare {
    #[cold]
    fn new(expiry: Option<u32>, ids: &[SubscriptionId]) -> Self {
        Self { expiry, more: ids.get(1..).unwrap_or_default().into() }
    }
}

impl Content {
    /// A message without properties.
    pub fn new(topic: TopicBuf, payload: Bytes) -> Self {
        Self { topic, forwarded: Box::default(), payload }
    }

    /// The same with these properties. The message expiry among them is left out, as it belongs to a [`Parcel`]: it runs
    /// down. They must have passed [`MessageProperties::check`].
    #[must_use]
    pub fn with_properties(mut self, properties: &MessageProperties<'_>) -> Self {
        let mut forwarded = Vec::new();
        properties.encode_forwarded(&mut forwarded);
        self.forwarded = forwarded.into();
        self
    }

    /// The same from what is stored.
    pub(crate) fn from_parts(topic: TopicBuf, forwarded: &[u8], payload: Bytes) -> Self {
        Self { topic, forwarded: forwarded.into(), payload }
    }

    /// The same for a receiver that knows no properties.
    pub(crate) fn without_properties(&self) -> Self {
        Self::new(self.topic.clone(), self.payload.clone())
    }

    /// The topic name.
    pub const fn topic(&self) -> TopicName<'_> {
        self.topic.name()
    }

    /// The payload.
    pub const fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Properties as [`MessageProperties::encode_forwarded`] writes them.
    pub(crate) const fn forwarded(&self) -> &[u8] {
        &self.forwarded
    }
}

impl Parcel {
    /// A message at QoS 0, not retained.
    pub fn new(content: impl Into<Arc<Content>>) -> Self {
        Self {
            content: content.into(),
            rare: None,
            subscription_id: None,
            packet_id: None,
            qos: QoS::AtMostOnce,
            flags: 0,
        }
    }

    /// At this QoS, with the packet identifier that all but QoS 0 need.
    #[must_use]
    pub const fn with_qos(mut self, qos: QoS, packet_id: Option<PacketId>) -> Self {
        self.qos = qos;
        self.packet_id = packet_id;
        self
    }

    /// With this RETAIN flag.
    #[must_use]
    pub const fn with_retain(mut self, retain: bool) -> Self {
        self.flags = self.flags & !RETAIN | retain as u8;
        self
    }

    /// Expires after this many seconds, if ever.
    #[must_use]
    pub fn with_expiry(mut self, seconds: Option<u32>) -> Self {
        if seconds.is_some() || self.rare.is_some() {
            self.rare.get_or_insert_default().expiry = seconds;
        }
        self
    }

    pub(crate) const fn with_dup(mut self, dup: bool) -> Self {
        self.flags = self.flags & !DUP | (dup as u8) << 3;
        self
    }

    /// What a subscriber is told besides.
    #[inline]
    pub(crate) fn with_notes(mut self, expiry: Option<u32>, ids: &[SubscriptionId]) -> Self {
        self.subscription_id = ids.first().copied();
        if expiry.is_some() || ids.len() > 1 {
            self.rare = Some(Box::new(Rare::new(expiry, ids)));
        }
        self
    }

    /// What the message contains.
    pub const fn content(&self) -> &Arc<Content> {
        &self.content
    }

    pub(crate) fn into_content(self) -> Arc<Content> {
        self.content
    }

    /// The QoS.
    pub const fn qos(&self) -> QoS {
        self.qos
    }

    /// The RETAIN flag.
    pub const fn retain(&self) -> bool {
        self.flags & RETAIN != 0
    }

    /// The DUP flag.
    pub const fn dup(&self) -> bool {
        self.flags & DUP != 0
    }

    /// The packet identifier; there is none at QoS 0.
    pub const fn packet_id(&self) -> Option<PacketId> {
        self.packet_id
    }

    /// Seconds after which it expires, or that remain until then.
    pub fn message_expiry(&self) -> Option<u32> {
        self.rare.as_ref()?.expiry
    }

    /// Identifiers of the subscriptions that it matched.
    pub fn subscription_ids(&self) -> impl Iterator<Item = SubscriptionId> {
        let more = self.rare.as_ref().map_or(&[][..], |rare| &rare.more);
        self.subscription_id.into_iter().chain(more.iter().copied())
    }

    /// The properties, the message expiry included. They are read on every call.
    pub fn properties(&self) -> MessageProperties<'_> {
        // What was encoded here, or was forwarded as it had been decoded, decodes.
        let properties = MessageProperties::decode_forwarded(&self.content.forwarded).unwrap_or_default();
        MessageProperties { message_expiry: self.message_expiry(), ..properties }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("topic", &self.topic)
            .field("payload", &self.payload)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parcel")
            .field("content", &self.content)
            .field("qos", &self.qos())
            .field("retain", &self.retain())
            .field("dup", &self.dup())
            .field("packet_id", &self.packet_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thousands of them may wait for one client.
    #[test]
    fn a_parcel_is_small() {
        assert_eq!(size_of::<Parcel>(), 24);
    }
}
