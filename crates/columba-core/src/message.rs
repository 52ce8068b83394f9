//! Messages the broker holds: each stored once, with a plain count of those who wait for it. It knows sizes and
//! expiry; who gets a message is not its business.

use std::sync::Arc;

use bytes::Bytes;
use columba_codec::{QoS, TopicBuf, TopicName};

use crate::Time;
use crate::parcel::Content;
use crate::timers::{Due, TimerKey, Timers};

/// What a stored message is counted with beyond its topic, properties and payload, in bytes: roughly the memory
/// of its entry and of one delivery.
pub const MESSAGE_OVERHEAD: usize = 96;

/// A message's number in the store.
pub(crate) type MessageId = u32;

/// A payload of at least this many bytes is shared with the buffer it came in, a smaller one is copied: copying it
/// costs less than the bookkeeping, and it must not keep a large buffer alive.
pub(crate) const SHARE_FROM: usize = 8 * 1024;

#[derive(Debug)]
pub(crate) struct Messages {
    /// Written and emptied where they are: they are too large to be moved for every message. A free place has no
    /// references, and in `size` the next one that is free.
    places: Vec<Message>,
    /// The place that became free last, or `NO_PLACE`.
    free: MessageId,
    len: usize,
    bytes: usize,
}

const NO_PLACE: MessageId = MessageId::MAX;
/// Places that are kept when none is taken.
const KEPT_PLACES: usize = 1024;

#[derive(Debug)]
pub(crate) struct Message {
    references: u32,
    /// References that are deliveries already sent: they keep an expired message [MQTT-4.3.3-7].
    pins: u32,
    pub(crate) qos: QoS,
    /// The RETAIN flag as published.
    pub(crate) retain: bool,
    /// It is the retained message of its topic.
    pub(crate) retained: bool,
    expired: bool,
    topic_len: u16,
    properties_len: u32,
    /// As counted for every limit; stays when the bytes are gone.
    size: u32,
    body: Body,
    rare: Option<Box<Rare>>,
}

/// What a message contains.
#[derive(Debug)]
enum Body {
    /// Topic, then forwarded properties, then the payload unless that is shared with the buffer it came in.
    Packed(Box<[u8]>),
    /// It came from a client in the same process, or has been handed to one.
    Shared(Arc<Content>),
}

/// What few messages have; for the others it would be a third of their entry.
#[derive(Debug, Default)]
struct Rare {
    shared: Option<Bytes>,
    expiry: Option<(Time, TimerKey)>,
    /// Which of two retained messages is the later, where shards have to agree.
    stamp: u64,
}

/// What a message is made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewMessage<'a> {
    pub(crate) topic: TopicName<'a>,
    /// Properties as [`columba_codec::MessageProperties::encode_forwarded`] writes them.
    pub(crate) forwarded: &'a [u8],
    pub(crate) payload: &'a [u8],
    /// The payload where it may be shared.
    pub(crate) shared: Option<&'a Bytes>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) expires: Option<Time>,
}

impl<'a> NewMessage<'a> {
    pub(crate) fn of_content(content: &'a Content, qos: QoS, retain: bool, expires: Option<Time>) -> Self {
        Self {
            topic: content.topic(),
            forwarded: content.forwarded(),
            payload: content.payload(),
            shared: Some(content.payload()),
            qos,
            retain,
            expires,
        }
    }

    /// Its size as counted for every limit.
    pub(crate) fn size(&self) -> usize {
        self.topic.as_str().len() + self.forwarded.len() + self.payload.len() + MESSAGE_OVERHEAD
    }
}

/// What of a message does not depend on the form it is kept in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    expires: Option<Time>,
    topic_len: u16,
    properties_len: u32,
    size: u32,
}

impl Head {
    #[inline]
    pub(crate) fn of(new: &NewMessage<'_>) -> Self {
        Self {
            qos: new.qos,
            retain: new.retain,
            expires: new.expires,
            topic_len: new.topic.as_str().len() as u16,
            properties_len: new.forwarded.len() as u32,
            size: new.size() as u32,
        }
    }

    /// Its size as counted for every limit.
    pub(crate) const fn size(&self) -> usize {
        self.size as usize
    }
}

impl Default for Messages {
    fn default() -> Self {
        Self { places: Vec::new(), free: NO_PLACE, len: 0, bytes: 0 }
    }
}

impl Messages {
    /// Size of all messages.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn get(&self, id: MessageId) -> &Message {
        let message = &self.places[id as usize];
        debug_assert!(message.references > 0, "whoever knows the number holds a reference");
        message
    }

    #[inline]
    fn get_mut(&mut self, id: MessageId) -> &mut Message {
        let message = &mut self.places[id as usize];
        debug_assert!(message.references > 0, "whoever knows the number holds a reference");
        message
    }

    /// All messages, in the order of their numbers.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (MessageId, &Message)> {
        let places = self.places.iter().enumerate().filter(|(_, message)| message.references > 0);
        places.map(|(id, message)| (id as MessageId, message))
    }

    /// Stores a message with one reference, the caller's.
    pub(crate) fn store(&mut self, new: &NewMessage<'_>, timers: &mut Timers) -> MessageId {
        let shared = new.shared.filter(|bytes| bytes.len() >= SHARE_FROM).cloned();
        let inline = if shared.is_some() { &[][..] } else { new.payload };
        let head = Head::of(new);
        let (id, place) = self.insert(&head);
        place.body = Body::pack(new.topic, new.forwarded, inline);
        if shared.is_some() {
            place.rare = Some(Box::new(Rare { shared, ..Rare::default() }));
        }
        self.begin_expiry(id, &head, timers);
        id
    }

    /// The same for one whose content is shared as it is.
    #[inline]
    pub(crate) fn store_content(
        &mut self,
        content: Arc<Content>,
        head: &Head,
        timers: &mut Timers,
    ) -> MessageId {
        let (id, place) = self.insert(head);
        place.body = Body::Shared(content);
        self.begin_expiry(id, head, timers);
        id
    }

    /// A place with everything but the body.
    #[inline]
    fn insert(&mut self, head: &Head) -> (MessageId, &mut Message) {
        if self.free == NO_PLACE {
            self.grow();
        }
        let id = self.free;
        let place = &mut self.places[id as usize];
        self.free = place.size;
        self.len += 1;
        self.bytes += head.size();
        place.references = 1;
        place.pins = 0;
        place.qos = head.qos;
        place.retain = head.retain;
        place.retained = false;
        place.expired = false;
        place.topic_len = head.topic_len;
        place.properties_len = head.properties_len;
        place.size = head.size;
        (id, place)
    }

    #[inline]
    fn begin_expiry(&mut self, id: MessageId, head: &Head, timers: &mut Timers) {
        if let Some(at) = head.expires {
            self.set_expiry(id, at, timers);
        }
    }

    /// One free place more.
    #[cold]
    fn grow(&mut self) {
        let id = self.places.len() as MessageId;
        self.places.push(Message {
            references: 0,
            pins: 0,
            qos: QoS::AtMostOnce,
            retain: false,
            retained: false,
            expired: false,
            topic_len: 0,
            properties_len: 0,
            size: std::mem::replace(&mut self.free, id),
            body: Body::default(),
            rare: None,
        });
    }

    #[inline]
    pub(crate) fn acquire(&mut self, id: MessageId) {
        self.get_mut(id).references += 1;
    }

    #[inline]
    pub(crate) fn release(&mut self, id: MessageId, timers: &mut Timers) {
        let message = self.get_mut(id);
        message.references -= 1;
        if message.references == 0 {
            self.remove(id, timers);
        }
    }

    /// Frees the place of a message without references.
    #[inline]
    fn remove(&mut self, id: MessageId, timers: &mut Timers) -> Body {
        let message = &mut self.places[id as usize];
        // Only expiry takes bytes away, so there is no need to count them.
        debug_assert!(message.expired || message.held() == message.size());
        self.bytes -= if message.expired { message.held() } else { message.size() };
        if let Some(rare) = message.rare.take()
            && let Some((_, timer)) = rare.expiry.filter(|_| !message.expired)
        {
            timers.cancel(timer);
        }
        let body = std::mem::take(&mut message.body);
        message.size = std::mem::replace(&mut self.free, id);
        self.len -= 1;
        if self.len == 0 && self.places.capacity() > KEPT_PLACES {
            *self = Self { bytes: self.bytes, ..Self::default() };
        }
        body
    }

    /// One of the references has been sent and must be able to be sent again.
    pub(crate) fn pin(&mut self, id: MessageId) {
        self.get_mut(id).pins += 1;
    }

    /// The opposite of [`pin`](Self::pin), before the release.
    pub(crate) fn unpin(&mut self, id: MessageId) {
        let message = self.get_mut(id);
        message.pins -= 1;
        if message.expired && message.pins == 0 {
            self.bytes -= message.empty();
        }
    }

    /// Gives an expiry to a message that was stored without.
    pub(crate) fn set_expiry(&mut self, id: MessageId, at: Time, timers: &mut Timers) {
        let expiry = Some((at, timers.set(at, Due::Message(id))));
        self.get_mut(id).rare.get_or_insert_default().expiry = expiry;
    }

    pub(crate) fn set_retained(&mut self, id: MessageId, retained: bool) {
        self.get_mut(id).retained = retained;
    }

    /// Says which change of its topic made a message the retained one.
    pub(crate) fn set_stamp(&mut self, id: MessageId, stamp: u64) {
        self.get_mut(id).rare.get_or_insert_default().stamp = stamp;
    }

    /// The expiry of a message is due. Its bytes go unless a delivery under way needs them [MQTT-3.3.2-5].
    pub(crate) fn expire(&mut self, id: MessageId) {
        let message = self.get_mut(id);
        message.expired = true;
        if message.pins == 0 {
            self.bytes -= message.empty();
        }
    }

    /// Copies a shared payload, so that it does not keep its buffer alive.
    pub(crate) fn unshare(&mut self, id: MessageId) {
        let message = self.get_mut(id);
        if let Body::Shared(content) = &message.body {
            let content = content.clone();
            let large = content.payload().len() >= SHARE_FROM;
            let inline = if large { &[][..] } else { content.payload() };
            message.body = Body::pack(content.topic(), content.forwarded(), inline);
            if large {
                message.rare.get_or_insert_default().shared = Some(content.payload().clone());
            }
        }
        if let Some(Rare { shared: Some(shared), .. }) = message.rare.as_deref_mut() {
            *shared = Bytes::copy_from_slice(shared);
        }
    }

    /// The content in the form that is shared with clients in the same process; it is kept in that from now on.
    #[inline]
    pub(crate) fn share(&mut self, id: MessageId) -> Arc<Content> {
        self.get_mut(id).share().clone()
    }

    /// The same in exchange for a reference: for the last one it is the content itself.
    #[inline]
    pub(crate) fn part_with(&mut self, id: MessageId, timers: &mut Timers) -> Arc<Content> {
        let message = self.get_mut(id);
        message.share();
        message.references -= 1;
        if message.references > 0 {
            return message.share().clone();
        }
        match self.remove(id, timers) {
            Body::Shared(content) => content,
            Body::Packed(_) => unreachable!("it has just been shared"),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::Packed(Box::default())
    }
}

impl Body {
    fn pack(topic: TopicName<'_>, forwarded: &[u8], payload: &[u8]) -> Self {
        let topic = topic.as_str().as_bytes();
        let mut body = Vec::with_capacity(topic.len() + forwarded.len() + payload.len());
        body.extend_from_slice(topic);
        body.extend_from_slice(forwarded);
        body.extend_from_slice(payload);
        Self::Packed(body.into_boxed_slice())
    }

    fn len(&self) -> usize {
        match self {
            Self::Packed(body) => body.len(),
            Self::Shared(content) => {
                content.topic().as_str().len() + content.forwarded().len() + content.payload().len()
            }
        }
    }
}

impl Message {
    pub(crate) fn topic(&self) -> &str {
        match &self.body {
            // The body begins with a topic name that was checked when the message was made.
            Body::Packed(body) => {
                std::str::from_utf8(&body[..usize::from(self.topic_len)]).unwrap_or_default()
            }
            Body::Shared(content) => content.topic().as_str(),
        }
    }

    pub(crate) fn forwarded(&self) -> &[u8] {
        let from = usize::from(self.topic_len);
        match &self.body {
            Body::Packed(body) => &body[from..from + self.properties_len as usize],
            Body::Shared(content) => content.forwarded(),
        }
    }

    pub(crate) fn payload(&self) -> &[u8] {
        match (&self.body, self.shared()) {
            (_, Some(shared)) => shared,
            (Body::Packed(body), None) => &body[usize::from(self.topic_len) + self.properties_len as usize..],
            (Body::Shared(content), None) => content.payload(),
        }
    }

    /// The payload, if it is to be linked rather than copied.
    pub(crate) fn shared(&self) -> Option<&Bytes> {
        match &self.body {
            Body::Packed(_) => self.rare.as_ref()?.shared.as_ref(),
            Body::Shared(content) => Some(content.payload()).filter(|payload| payload.len() >= SHARE_FROM),
        }
    }

    /// Its size as counted for every limit.
    pub(crate) const fn size(&self) -> usize {
        self.size as usize
    }

    /// Size of what is still there.
    fn held(&self) -> usize {
        let apart = self.rare.as_ref().and_then(|rare| rare.shared.as_ref()).map_or(0, Bytes::len);
        self.body.len() + apart + MESSAGE_OVERHEAD
    }

    /// Expired and not to be sent any more, unless it has been sent before.
    pub(crate) const fn is_expired(&self) -> bool {
        self.expired
    }

    /// When it expires.
    pub(crate) fn expires(&self) -> Option<Time> {
        self.expiry().map(|(at, _)| at)
    }

    fn expiry(&self) -> Option<(Time, TimerKey)> {
        self.rare.as_ref()?.expiry
    }

    /// What [`Messages::set_stamp`] said.
    pub(crate) fn stamp(&self) -> u64 {
        self.rare.as_ref().map_or(0, |rare| rare.stamp)
    }

    /// Seconds that remain until it expires, rounded up [MQTT-3.3.2-6].
    pub(crate) fn remaining_expiry(&self, now: Time) -> Option<u32> {
        let (at, _) = self.expiry()?;
        Some(u32::try_from(at.since(now).as_micros().div_ceil(1_000_000)).unwrap_or(u32::MAX))
    }

    /// Lets go of the bytes but for the topic, by which its end is reported; returns how many were counted.
    fn empty(&mut self) -> usize {
        let before = self.held();
        self.body = Body::Packed(self.topic().as_bytes().into());
        if let Some(rare) = &mut self.rare {
            rare.shared = None;
        }
        self.properties_len = 0;
        before - self.held()
    }

    /// Changes to the form that is shared.
    #[inline]
    fn share(&mut self) -> &Arc<Content> {
        if let Body::Packed(_) = self.body {
            self.unpack();
        }
        match &self.body {
            Body::Shared(content) => content,
            Body::Packed(_) => unreachable!("it has just been unpacked"),
        }
    }

    /// A large payload is shared already.
    #[cold]
    fn unpack(&mut self) {
        let payload = self.shared().cloned().unwrap_or_else(|| Bytes::copy_from_slice(self.payload()));
        // What is stored is a topic name.
        let topic = TopicName::parse(self.topic()).expect("it was checked when the message was made");
        let content = Content::from_parts(TopicBuf::from(topic), self.forwarded(), payload);
        self.body = Body::Shared(Arc::new(content));
        if let Some(rare) = &mut self.rare {
            rare.shared = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_small() {
        assert_eq!((size_of::<Body>(), size_of::<Message>()), (16, 48));
    }

    #[test]
    fn places_are_used_again_and_given_back_after_a_burst() {
        let (mut messages, mut timers) = (Messages::default(), Timers::default());
        let store = |messages: &mut Messages| {
            let content = Arc::new(Content::new(TopicBuf::parse("a".into()).unwrap(), Bytes::new()));
            let head = Head::of(&NewMessage::of_content(&content, QoS::AtMostOnce, false, None));
            messages.store_content(content, &head, &mut Timers::default())
        };
        let ids: Vec<_> = (0..3).map(|_| store(&mut messages)).collect();
        assert_eq!(ids, [0, 1, 2]);
        messages.release(0, &mut timers);
        messages.release(1, &mut timers);
        assert_eq!(messages.iter().map(|(id, _)| id).collect::<Vec<_>>(), [2]);
        assert_eq!((store(&mut messages), store(&mut messages), store(&mut messages)), (1, 0, 3));
        assert_eq!((messages.len(), messages.bytes()), (4, 4 * (MESSAGE_OVERHEAD + 1)));
        let burst: Vec<_> = (0..2 * KEPT_PLACES).map(|_| store(&mut messages)).collect();
        for id in (0..4).chain(burst) {
            messages.release(id, &mut timers);
        }
        assert_eq!((messages.len(), messages.bytes(), messages.places.capacity()), (0, 0, 0));
        assert_eq!(store(&mut messages), 0);
    }
}
