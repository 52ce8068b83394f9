//! Properties of MQTT 5.0 (§ 2.2.2): reading, checking and writing property blocks. Which packet may hold which
//! property is said by that packet's own module, never here.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use crate::check;
use crate::wire::{Reader, Writer};
use crate::{
    DecodeError, EncodeError, Field, List, PacketType, PayloadFormat, SubscriptionId, TopicName, UserProperty,
};

/// Writes the table of properties once and derives all that is known of each from it.
macro_rules! properties {
    ($($variant:ident = $id:literal, $kind:ident, $name:literal;)*) => {
        /// A property of MQTT 5.0.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[allow(missing_docs)] // the names are the standard's
        pub enum Property {
            $($variant = $id,)*
        }

        impl Property {
            /// The property with this identifier.
            pub const fn from_u8(id: u8) -> Option<Self> {
                match id {
                    $($id => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The name the standard gives it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            const fn kind(self) -> Kind {
                match self {
                    $(Self::$variant => Kind::$kind,)*
                }
            }
        }
    };
}

properties! {
    PayloadFormatIndicator = 0x01, Byte, "Payload Format Indicator";
    MessageExpiryInterval = 0x02, FourByte, "Message Expiry Interval";
    ContentType = 0x03, Binary, "Content Type";
    ResponseTopic = 0x08, Binary, "Response Topic";
    CorrelationData = 0x09, Binary, "Correlation Data";
    SubscriptionIdentifier = 0x0B, Variable, "Subscription Identifier";
    SessionExpiryInterval = 0x11, FourByte, "Session Expiry Interval";
    AssignedClientIdentifier = 0x12, Binary, "Assigned Client Identifier";
    ServerKeepAlive = 0x13, TwoByte, "Server Keep Alive";
    AuthenticationMethod = 0x15, Binary, "Authentication Method";
    AuthenticationData = 0x16, Binary, "Authentication Data";
    RequestProblemInformation = 0x17, Byte, "Request Problem Information";
    WillDelayInterval = 0x18, FourByte, "Will Delay Interval";
    RequestResponseInformation = 0x19, Byte, "Request Response Information";
    ResponseInformation = 0x1A, Binary, "Response Information";
    ServerReference = 0x1C, Binary, "Server Reference";
    ReasonString = 0x1F, Binary, "Reason String";
    ReceiveMaximum = 0x21, TwoByte, "Receive Maximum";
    TopicAliasMaximum = 0x22, TwoByte, "Topic Alias Maximum";
    TopicAlias = 0x23, TwoByte, "Topic Alias";
    MaximumQoS = 0x24, Byte, "Maximum QoS";
    RetainAvailable = 0x25, Byte, "Retain Available";
    UserProperty = 0x26, Pair, "User Property";
    MaximumPacketSize = 0x27, FourByte, "Maximum Packet Size";
    WildcardSubscriptionAvailable = 0x28, Byte, "Wildcard Subscription Available";
    SubscriptionIdentifiersAvailable = 0x29, Byte, "Subscription Identifiers Available";
    SharedSubscriptionAvailable = 0x2A, Byte, "Shared Subscription Available";
}

/// How a property's value is encoded.
#[derive(Clone, Copy)]
enum Kind {
    Byte,
    TwoByte,
    FourByte,
    Variable,
    /// A string or binary data: the two differ in what is allowed inside only.
    Binary,
    Pair,
}

impl Property {
    /// The identifier on the wire: a Variable Byte Integer, but all there are take one byte.
    pub const fn id(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The properties that belong to an application message and travel with it from publisher to subscriber,
/// in a PUBLISH and in a will alike.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MessageProperties<'a> {
    /// What the payload is said to be.
    pub payload_format: Option<PayloadFormat>,
    /// Seconds until the message is of no use any more.
    pub message_expiry: Option<u32>,
    /// What the payload contains, in the application's terms.
    pub content_type: Option<&'a str>,
    /// Where an answer should be published: a valid topic name without wildcards [MQTT-3.3.2-14].
    pub response_topic: Option<&'a str>,
    /// What ties an answer to its request.
    pub correlation_data: Option<&'a [u8]>,
    /// User properties in the order they were sent.
    pub user_properties: List<'a, UserProperty<'a>>,
}

impl<'a> MessageProperties<'a> {
    /// Appends the properties that a broker passes on unaltered ([MQTT-3.3.2-4], [MQTT-3.3.2-15], [MQTT-3.3.2-16],
    /// [MQTT-3.3.2-17], [MQTT-3.3.2-20]), user properties in their order [MQTT-3.3.2-18]. The message expiry is not
    /// among them, as it runs down. Appends nothing if there are none.
    ///
    /// Properties that came from a decoded packet always fit. Others have to pass [`check`](Self::check) first.
    pub fn encode_forwarded(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer
            .byte_property(Property::PayloadFormatIndicator, self.payload_format.map(|format| format as u8));
        writer.string_property(Property::ContentType, self.content_type);
        writer.string_property(Property::ResponseTopic, self.response_topic);
        writer.binary_property(Property::CorrelationData, self.correlation_data);
        self.user_properties.write(&mut writer);
    }

    /// Reads back what [`encode_forwarded`](Self::encode_forwarded) wrote.
    ///
    /// # Errors
    /// `bytes` come from somewhere else.
    pub fn decode_forwarded(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut properties = Self::default();
        let mut block = Block::new(bytes, Holder::Packet(PacketType::Publish));
        while let Some(property) = block.next()? {
            if property == Property::MessageExpiryInterval || !properties.take(property, &mut block)? {
                return Err(block.misplaced(property));
            }
        }
        properties.user_properties = block.user_properties();
        Ok(properties)
    }

    /// Whether these properties can be encoded.
    ///
    /// # Errors
    /// A text that is too long or has U+0000, or a Response Topic that is no topic name.
    pub fn check(&self) -> Result<(), EncodeError> {
        check::string_property(Property::ContentType, self.content_type)?;
        check::string_property(Property::ResponseTopic, self.response_topic)?;
        if let Some(topic) = self.response_topic {
            let field = Field::Property(Property::ResponseTopic);
            TopicName::parse(topic).map_err(|error| EncodeError::Topic { field, error })?;
        }
        check::binary_property(Property::CorrelationData, self.correlation_data)?;
        check::user_properties(&self.user_properties)
    }

    /// Takes the value of `property` off `block` if it is one of these.
    #[inline]
    pub(crate) fn take(&mut self, property: Property, block: &mut Block<'a>) -> Result<bool, DecodeError> {
        match property {
            Property::PayloadFormatIndicator => {
                let utf8 = block.flag()?;
                self.payload_format = Some(if utf8 { PayloadFormat::Utf8 } else { PayloadFormat::Bytes });
            }
            Property::MessageExpiryInterval => self.message_expiry = Some(block.u32()?),
            // [MQTT-3.3.2-19]
            Property::ContentType => self.content_type = Some(block.string()?),
            // [MQTT-3.3.2-13], [MQTT-3.3.2-14]
            Property::ResponseTopic => self.response_topic = Some(block.topic_name()?.as_str()),
            Property::CorrelationData => self.correlation_data = Some(block.binary()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(crate) fn write(&self, writer: &mut Writer<'_>) {
        writer
            .byte_property(Property::PayloadFormatIndicator, self.payload_format.map(|format| format as u8));
        writer.u32_property(Property::MessageExpiryInterval, self.message_expiry);
        writer.string_property(Property::ContentType, self.content_type);
        writer.string_property(Property::ResponseTopic, self.response_topic);
        writer.binary_property(Property::CorrelationData, self.correlation_data);
        self.user_properties.write(writer);
    }
}

/// Whose properties a block has, for errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    Packet(PacketType),
    Will,
}

/// A property block being read: [`next`](Self::next) says which property comes, then the method that fits takes
/// its value. User properties may be anywhere and are gathered on the way.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    whole: &'a [u8],
    reader: Reader<'a>,
    holder: Holder,
    current: Property,
    /// One bit for each identifier that has occurred.
    seen: u64,
    users: Stretch,
    subscriptions: Stretch,
}

/// From the first to behind the last of the properties that may repeat.
#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    start: usize,
    end: usize,
}

impl<'a> Block<'a> {
    pub(crate) const fn new(whole: &'a [u8], holder: Holder) -> Self {
        Self {
            whole,
            reader: Reader::new(whole),
            holder,
            current: Property::UserProperty,
            seen: 0,
            users: Stretch { start: 0, end: 0 },
            subscriptions: Stretch { start: 0, end: 0 },
        }
    }

    /// The block at the front of `reader`, behind its length.
    #[inline]
    pub(crate) fn read(reader: &mut Reader<'a>, holder: Holder) -> Result<Self, DecodeError> {
        let len = reader.varint(Field::PropertyLength)?;
        let whole = reader.take(len as usize, Field::PropertyLength)?;
        Ok(Self::new(whole, holder))
    }

    /// The next property other than a user property.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Property>, DecodeError> {
        while !self.reader.is_empty() {
            let start = self.position();
            let id = self.reader.varint(Field::PropertyId)?;
            let property = u8::try_from(id).ok().and_then(Property::from_u8);
            let property = property.ok_or(DecodeError::UnknownProperty(id))?;
            self.current = property;
            if property != Property::UserProperty {
                let bit = 1 << property.id();
                if self.seen & bit != 0 && !self.may_repeat(property) {
                    return Err(DecodeError::RepeatedProperty(property));
                }
                self.seen |= bit;
                return Ok(Some(property));
            }
            // [MQTT-1.5.7-1]
            self.string()?;
            self.string()?;
            self.users.extend(start, self.position());
        }
        Ok(None)
    }

    /// Reads a block that has a Reason String at most, besides user properties.
    pub(crate) fn reason_string(&mut self) -> Result<Option<&'a str>, DecodeError> {
        let mut reason_string = None;
        while let Some(property) = self.next()? {
            match property {
                Property::ReasonString => reason_string = Some(self.string()?),
                _ => return Err(self.misplaced(property)),
            }
        }
        Ok(reason_string)
    }

    pub(crate) fn user_properties(&self) -> List<'a, UserProperty<'a>> {
        List::from_encoded(self.users.of(self.whole))
    }

    /// Takes one of several subscription identifiers, which [`subscription_ids`](Self::subscription_ids) lists.
    pub(crate) fn note_subscription_id(&mut self) -> Result<(), DecodeError> {
        // The identifier of the property has just been read, and takes one byte.
        let start = self.position() - 1;
        self.subscription_id()?;
        self.subscriptions.extend(start, self.position());
        Ok(())
    }

    pub(crate) fn subscription_ids(&self) -> List<'a, SubscriptionId> {
        List::from_encoded(self.subscriptions.of(self.whole))
    }

    pub(crate) fn subscription_id(&mut self) -> Result<SubscriptionId, DecodeError> {
        let value = self.reader.varint(self.field())?;
        SubscriptionId::new(value).ok_or_else(|| self.bad_value(value))
    }

    /// A byte that is 0 or 1.
    pub(crate) fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.reader.u8(self.field())? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(self.bad_value(u32::from(value))),
        }
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.reader.u16(self.field())
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.reader.u32(self.field())
    }

    pub(crate) fn nonzero_u16(&mut self) -> Result<NonZeroU16, DecodeError> {
        NonZeroU16::new(self.u16()?).ok_or_else(|| self.bad_value(0))
    }

    pub(crate) fn nonzero_u32(&mut self) -> Result<NonZeroU32, DecodeError> {
        NonZeroU32::new(self.u32()?).ok_or_else(|| self.bad_value(0))
    }

    pub(crate) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        self.reader.binary(self.field())
    }

    pub(crate) fn string(&mut self) -> Result<&'a str, DecodeError> {
        self.reader.string(self.field())
    }

    pub(crate) fn topic_name(&mut self) -> Result<TopicName<'a>, DecodeError> {
        self.reader.topic_name(self.field())
    }

    /// The error for a property that this packet cannot have.
    #[cold]
    pub(crate) fn misplaced(&self, property: Property) -> DecodeError {
        match self.holder {
            Holder::Packet(packet) => DecodeError::MisplacedProperty { property, packet },
            Holder::Will => DecodeError::MisplacedWillProperty(property),
        }
    }

    #[cold]
    fn bad_value(&self, value: u32) -> DecodeError {
        DecodeError::PropertyValue { property: self.current, value }
    }

    const fn field(&self) -> Field {
        Field::Property(self.current)
    }

    fn position(&self) -> usize {
        self.whole.len() - self.reader.len()
    }

    /// A PUBLISH has one subscription identifier for each subscription that matched [MQTT-3.3.4-4].
    fn may_repeat(&self, property: Property) -> bool {
        property == Property::SubscriptionIdentifier && self.holder == Holder::Packet(PacketType::Publish)
    }
}

impl Stretch {
    fn extend(&mut self, start: usize, end: usize) {
        if self.end == 0 {
            self.start = start;
        }
        self.end = end;
    }

    fn of(self, whole: &[u8]) -> &[u8] {
        whole.get(self.start..self.end).unwrap_or_default()
    }
}

/// The next property of a checked block, with its identifier and value as they are encoded.
pub(crate) fn next_property<'a>(bytes: &mut &'a [u8]) -> Option<(Property, &'a [u8])> {
    let (&id, value) = bytes.split_first()?;
    let property = Property::from_u8(id)?;
    let field = Field::Property(property);
    let mut reader = Reader::new(value);
    match property.kind() {
        Kind::Byte => reader.take(1, field).ok()?,
        Kind::TwoByte => reader.take(2, field).ok()?,
        Kind::FourByte => reader.take(4, field).ok()?,
        Kind::Variable => reader.varint(field).map(|_| &[][..]).ok()?,
        Kind::Binary => reader.binary(field).ok()?,
        Kind::Pair => reader.binary(field).and_then(|_| reader.binary(field)).ok()?,
    };
    let (encoded, rest) = bytes.split_at(bytes.len() - reader.len());
    *bytes = rest;
    Some((property, encoded))
}

/// One optional property each.
impl Writer<'_> {
    pub(crate) fn byte_property(&mut self, property: Property, value: Option<u8>) {
        if let Some(value) = value {
            self.bytes(&[property.id(), value]);
        }
    }

    pub(crate) fn flag_property(&mut self, property: Property, value: Option<bool>) {
        self.byte_property(property, value.map(u8::from));
    }

    pub(crate) fn u16_property(&mut self, property: Property, value: Option<u16>) {
        if let Some(value) = value {
            self.u8(property.id());
            self.u16(value);
        }
    }

    pub(crate) fn u32_property(&mut self, property: Property, value: Option<u32>) {
        if let Some(value) = value {
            self.u8(property.id());
            self.u32(value);
        }
    }

    pub(crate) fn string_property(&mut self, property: Property, value: Option<&str>) {
        self.binary_property(property, value.map(str::as_bytes));
    }

    pub(crate) fn binary_property(&mut self, property: Property, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.u8(property.id());
            self.binary(value);
        }
    }

    pub(crate) fn subscription_id_property(&mut self, id: SubscriptionId) {
        self.u8(Property::SubscriptionIdentifier.id());
        self.varint(id.get() as usize);
    }
}
