//! Messages as programs send and receive them in-process.

use std::fmt;

use bytes::Bytes;
use columba_core::codec::{
    self, EncodeError, MessageProperties, PacketId, PayloadFormat, QoS, SubscriptionId, TopicBuf, TopicName,
    Version,
};
use columba_core::{Content, Parcel};

use crate::client::ClientError;

/// A message to be published. Made from a topic and a payload; everything else is optional.
///
/// ```
/// use columba::{Publish, QoS};
///
/// let message = Publish::new("kitchen/temperature", "21.5").qos(QoS::AtLeastOnce).retain(true);
/// # drop(message);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Publish {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) properties: Option<Box<Properties>>,
}

/// Properties of MQTT 5 that go with a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Properties {
    utf8: bool,
    expiry: Option<u32>,
    content_type: Option<String>,
    response_topic: Option<String>,
    correlation_data: Option<Bytes>,
    user: Vec<(String, String)>,
}

/// A message that came. It is shared with the broker and all others who got it; cloning copies nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Message(Parcel);

/// A fixed header, and a packet, cannot be larger.
const LARGEST_HEADER: usize = 5;
const LARGEST: usize = 268_435_455 + LARGEST_HEADER;
/// A payload that leaves room for any topic.
const SURELY_FITS: usize = LARGEST - (128 << 10);

impl Publish {
    /// A message at QoS 0. The payload is shared, not copied, where it is [`Bytes`].
    pub fn new(topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self { topic: topic.into(), payload: payload.into(), ..Self::default() }
    }

    /// Quality of service.
    pub const fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// Keep the message for later subscribers; an empty payload forgets the one that is kept.
    pub const fn retain(mut self, retain: bool) -> Self {
        self.retain = retain;
        self
    }

    /// Seconds after which the message is of no use any more.
    pub fn expiry(mut self, seconds: u32) -> Self {
        self.properties().expiry = Some(seconds);
        self
    }

    /// The payload is UTF-8 text.
    pub fn utf8(mut self) -> Self {
        self.properties().utf8 = true;
        self
    }

    /// What the payload contains, in the application's terms.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.properties().content_type = Some(content_type.into());
        self
    }

    /// Where an answer should be published.
    pub fn response_topic(mut self, topic: impl Into<String>) -> Self {
        self.properties().response_topic = Some(topic.into());
        self
    }

    /// What ties an answer to its request.
    pub fn correlation_data(mut self, data: impl Into<Bytes>) -> Self {
        self.properties().correlation_data = Some(data.into());
        self
    }

    /// Adds a user property; they keep their order.
    pub fn user_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties().user.push((name.into(), value.into()));
        self
    }

    fn properties(&mut self) -> &mut Properties {
        self.properties.get_or_insert_default()
    }

    /// The message as it is handed to the broker, with a packet identifier to come where it needs one.
    #[inline]
    pub(crate) fn into_parcel(self) -> Result<Parcel, ClientError> {
        let Self { topic, payload, qos, retain, properties } = self;
        let topic = TopicBuf::parse(topic).map_err(ClientError::Topic)?;
        let parcel = match properties {
            None if payload.len() < SURELY_FITS => Parcel::new(Content::new(topic, payload)),
            properties => with_properties(topic, payload, qos, &properties.unwrap_or_default())?,
        };
        Ok(parcel.with_qos(qos, None).with_retain(retain))
    }

    /// Runs `run` with the message as a will.
    pub(crate) fn with_will<R>(&self, delay: u32, run: impl FnOnce(Option<codec::Will<'_>>) -> R) -> R {
        let Ok(topic) = TopicName::parse(&self.topic) else {
            return run(None);
        };
        let user = self.properties.as_ref().map(|properties| properties.user_pairs()).unwrap_or_default();
        run(Some(codec::Will {
            topic,
            payload: &self.payload,
            qos: self.qos,
            retain: self.retain,
            delay: Some(delay),
            properties: self
                .properties
                .as_ref()
                .map(|properties| properties.borrow(&user))
                .unwrap_or_default(),
        }))
    }
}

/// A message that not every subscriber can be sent for sure.
#[inline(never)]
fn with_properties(
    topic: TopicBuf,
    payload: Bytes,
    qos: QoS,
    properties: &Properties,
) -> Result<Parcel, ClientError> {
    let user = properties.user_pairs();
    let mut packet = codec::Publish::new(topic.name(), &payload);
    packet.qos = qos;
    packet.packet_id = (qos > QoS::AtMostOnce).then_some(PacketId::MIN);
    packet.properties = properties.borrow(&user);
    packet.check(Version::V5).map_err(ClientError::Encode)?;
    let len = packet.encoded_len(Version::V5);
    if len > LARGEST {
        let remaining = len - LARGEST_HEADER;
        return Err(ClientError::Encode(EncodeError::PacketTooLarge { remaining }));
    }
    let content = Content::new(topic, payload).with_properties(&properties.borrow(&user));
    Ok(Parcel::new(content).with_expiry(properties.expiry))
}

impl Properties {
    fn user_pairs(&self) -> Vec<(&str, &str)> {
        self.user.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    fn borrow<'a>(&'a self, user: &'a [(&'a str, &'a str)]) -> MessageProperties<'a> {
        MessageProperties {
            payload_format: self.utf8.then_some(PayloadFormat::Utf8),
            message_expiry: self.expiry,
            content_type: self.content_type.as_deref(),
            response_topic: self.response_topic.as_deref(),
            correlation_data: self.correlation_data.as_deref(),
            user_properties: user.into(),
        }
    }
}

impl Message {
    pub(crate) const fn new(parcel: Parcel) -> Self {
        Self(parcel)
    }

    /// The topic name.
    pub fn topic(&self) -> &str {
        self.0.content().topic().as_str()
    }

    /// The payload. Cloning [`Bytes`] shares it.
    pub fn payload(&self) -> &Bytes {
        self.0.content().payload()
    }

    /// The QoS it came with.
    pub const fn qos(&self) -> QoS {
        self.0.qos()
    }

    /// It was kept for this subscription, or was published to be kept and the subscription wants to know.
    pub const fn retain(&self) -> bool {
        self.0.retain()
    }

    /// It may have come before.
    pub const fn dup(&self) -> bool {
        self.0.dup()
    }

    /// Its properties. They are decoded on every call.
    pub fn properties(&self) -> MessageProperties<'_> {
        self.0.properties()
    }

    /// Identifiers of the subscriptions that it matched.
    pub fn subscription_ids(&self) -> impl Iterator<Item = SubscriptionId> {
        self.0.subscription_ids()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic())
            .field("payload", self.payload())
            .field("qos", &self.qos())
            .field("retain", &self.retain())
            .finish_non_exhaustive()
    }
}
