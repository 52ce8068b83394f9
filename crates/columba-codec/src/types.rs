//! The small values that packets are made of. Each is valid by construction; none knows the packet it is in.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

/// A packet identifier: 1 to 65,535 [MQTT-2.2.1-3].
pub type PacketId = NonZeroU16;

/// The protocol version a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Version {
    /// MQTT 3.1: protocol name `MQIsdp`, level 3.
    V3_1 = 3,
    /// MQTT 3.1.1: protocol name `MQTT`, level 4.
    V3_1_1 = 4,
    /// MQTT 5.0: protocol name `MQTT`, level 5.
    V5 = 5,
}

/// Quality of service of one delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0: sent once, never acknowledged.
    #[default]
    AtMostOnce = 0,
    /// QoS 1: acknowledged by PUBACK, may arrive more than once.
    AtLeastOnce = 1,
    /// QoS 2: PUBREC, PUBREL, PUBCOMP; arrives exactly once.
    ExactlyOnce = 2,
}

/// The value of the property Payload Format Indicator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PayloadFormat {
    /// Unspecified bytes, the same as no indicator.
    Bytes = 0,
    /// UTF-8 encoded text.
    Utf8 = 1,
}

/// When a SUBSCRIBE is answered with the matching retained messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    /// At every SUBSCRIBE [MQTT-3.3.1-9].
    #[default]
    Send = 0,
    /// Only if the subscription did not exist before [MQTT-3.3.1-10].
    SendIfNew = 1,
    /// Never [MQTT-3.3.1-11].
    DoNotSend = 2,
}

/// The options byte of one topic filter in a SUBSCRIBE. Versions before 5.0 have the QoS only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscriptionOptions {
    /// The highest QoS the subscriber wants.
    pub qos: QoS,
    /// Do not send back what this client published itself [MQTT-3.8.3-3].
    pub no_local: bool,
    /// Keep the RETAIN flag as published [MQTT-3.3.1-13].
    pub retain_as_published: bool,
    /// When to send retained messages.
    pub retain_handling: RetainHandling,
}

/// A subscription identifier: 1 to 268,435,455.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(NonZeroU32);

/// One user property: a name and a value. Names may repeat and their order matters [MQTT-3.3.2-18].
pub type UserProperty<'a> = (&'a str, &'a str);

impl Version {
    /// The protocol level byte of CONNECT.
    pub const fn level(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V3_1 => "MQTT 3.1",
            Self::V3_1_1 => "MQTT 3.1.1",
            Self::V5 => "MQTT 5.0",
        })
    }
}

impl QoS {
    /// The QoS with this number, if it is 0, 1 or 2.
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

impl RetainHandling {
    /// The value with this number, if it is 0, 1 or 2.
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Send),
            1 => Some(Self::SendIfNew),
            2 => Some(Self::DoNotSend),
            _ => None,
        }
    }
}

impl SubscriptionOptions {
    /// The bits that 5.0 leaves reserved.
    pub(crate) const RESERVED: u8 = 0b1100_0000;
    /// Where the QoS is.
    pub(crate) const QOS: u8 = 0b0000_0011;
    /// Before 5.0 there is the QoS alone.
    pub(crate) const MAX_BEFORE_V5: u8 = QoS::ExactlyOnce as u8;

    /// Options as 5.0 encodes them, which for a byte of an earlier version means: the QoS alone.
    pub(crate) const fn from_bits(bits: u8) -> Option<Self> {
        match (QoS::from_u8(bits & Self::QOS), RetainHandling::from_u8((bits >> 4) & 0b11)) {
            (Some(qos), Some(retain_handling)) => Some(Self {
                qos,
                no_local: bits & 0b100 != 0,
                retain_as_published: bits & 0b1000 != 0,
                retain_handling,
            }),
            _ => None,
        }
    }

    pub(crate) const fn to_bits(self) -> u8 {
        self.qos as u8
            | (self.no_local as u8) << 2
            | (self.retain_as_published as u8) << 3
            | (self.retain_handling as u8) << 4
    }
}

impl SubscriptionId {
    /// The largest subscription identifier.
    pub const MAX: Self = Self(NonZeroU32::new(268_435_455).expect("it is not zero"));

    /// A subscription identifier, if `value` is in range.
    pub const fn new(value: u32) -> Option<Self> {
        match NonZeroU32::new(value) {
            Some(number) if value <= Self::MAX.get() => Some(Self(number)),
            _ => None,
        }
    }

    /// The number itself.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}
