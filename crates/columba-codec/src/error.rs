//! What can be wrong with a packet that was received and with one that is to be sent. Owns the words; what follows
//! from an error is never decided here.

use std::fmt;

use crate::{PacketType, Property, ReasonCode, TopicError, Version};

/// A part of a packet, for errors to name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)] // the names are the documentation
pub enum Field {
    RemainingLength,
    ProtocolName,
    ProtocolLevel,
    ConnectFlags,
    KeepAlive,
    ClientId,
    WillTopic,
    WillPayload,
    Username,
    Password,
    ConnAckFlags,
    ReasonCode,
    TopicName,
    PacketId,
    TopicFilter,
    SubscriptionOptions,
    PropertyLength,
    PropertyId,
    Property(Property),
}

/// What is wrong with received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// Packet type 0, which is reserved (§ 2.1.2).
    PacketTypeZero,
    /// A Variable Byte Integer that goes on after its fourth byte (§ 1.5.5).
    VarintTooLong(Field),
    /// A Variable Byte Integer in more bytes than it needs [MQTT-1.5.5-1].
    VarintNotMinimal(Field),
    /// The packet would be larger than the receiver takes [MQTT-3.2.2-15].
    PacketTooLarge {
        /// Size of the whole packet in bytes.
        size: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A packet that this version does not have: AUTH before 5.0.
    PacketNotInVersion {
        /// Its type.
        packet: PacketType,
        /// The version of the connection.
        version: Version,
    },
    /// Flags in the fixed header other than the ones this packet must have [MQTT-2.1.3-1], [MQTT-2.2.2-2 of 3.1.1].
    ReservedFlags {
        /// Type of the packet.
        packet: PacketType,
        /// The flags it came with.
        flags: u8,
    },
    /// The packet, or the property block, ends before or inside this field.
    Truncated(Field),
    /// The packet is longer than what it contains.
    TrailingBytes {
        /// Type of the packet.
        packet: PacketType,
        /// How many bytes are left over.
        count: usize,
    },
    /// A string that is not UTF-8 [MQTT-1.5.4-1].
    IllFormedUtf8(Field),
    /// U+0000 in a string [MQTT-1.5.4-2].
    NullCharacter(Field),
    /// A topic name or filter that breaks a rule of topics (§ 4.7).
    Topic {
        /// Which one.
        field: Field,
        /// Which rule.
        error: TopicError,
    },
    /// CONNECT with a protocol name that is none of MQTT's [MQTT-3.1.2-1]: not a client of ours at all.
    ForeignProtocol,
    /// CONNECT of a version that is none of the three, or whose name and level are not a pair [MQTT-3.1.2-2].
    UnsupportedVersion {
        /// The protocol level as it was sent.
        level: u8,
    },
    /// Bit 0 of the Connect Flags [MQTT-3.1.2-3].
    ReservedConnectFlag,
    /// Will QoS or Will Retain without a will [MQTT-3.1.2-11] [MQTT-3.1.2-13].
    WillFlagsWithoutWill,
    /// Will QoS 3 [MQTT-3.1.2-12].
    WillQoS,
    /// A password without a user name, before 5.0 [MQTT-3.1.2-22 of 3.1.1].
    PasswordWithoutUsername,
    /// PUBLISH with QoS 3 [MQTT-3.3.1-4].
    PublishQoS,
    /// PUBLISH with DUP at QoS 0 [MQTT-3.3.1-2].
    DupAtQoS0,
    /// Packet identifier 0 [MQTT-2.2.1-3] [MQTT-2.2.1-4].
    PacketIdZero,
    /// PUBLISH with neither topic nor alias (§ 3.3.2.1).
    TopicMissing,
    /// Topic alias 0 [MQTT-3.3.2-8].
    TopicAliasZero,
    /// A property identifier that the standard does not know (§ 2.2.2.2).
    UnknownProperty(u32),
    /// A property in a packet that cannot have it (§ 2.2.2.2).
    MisplacedProperty {
        /// Which property.
        property: Property,
        /// In which packet.
        packet: PacketType,
    },
    /// A property among those of the will, which cannot have it (§ 3.1.3.2).
    MisplacedWillProperty(Property),
    /// A property that may occur once and came twice.
    RepeatedProperty(Property),
    /// A property with a value it must not have.
    PropertyValue {
        /// Which property.
        property: Property,
        /// Its value.
        value: u32,
    },
    /// Authentication Data in CONNECT or CONNACK without an Authentication Method (§ 3.1.2.11.10).
    AuthenticationDataWithoutMethod,
    /// A reserved bit in the Connect Acknowledge Flags [MQTT-3.2.2-1].
    ConnAckFlags(u8),
    /// CONNACK with an error and with Session Present [MQTT-3.2.2-6].
    SessionPresentWithError,
    /// A reason code that is not one of this packet's.
    ReasonCode {
        /// In which packet.
        packet: PacketType,
        /// The code.
        code: u8,
    },
    /// SUBSCRIBE or UNSUBSCRIBE without a topic filter [MQTT-3.8.3-2] [MQTT-3.10.3-2].
    NoFilters(PacketType),
    /// A reserved bit in the subscription options [MQTT-3.8.3-5]; before 5.0 QoS 3 too [MQTT-3.8.3-4 of 3.1.1].
    ReservedSubscriptionOptions(u8),
    /// Maximum QoS 3 in the subscription options (§ 3.8.3.1).
    SubscriptionQoS,
    /// Retain Handling 3 in the subscription options (§ 3.8.3.1).
    RetainHandling,
    /// No Local on a shared subscription [MQTT-3.8.3-4].
    NoLocalOnShared,
}

/// Why a packet cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// A string or binary value of more than 65,535 bytes (§ 1.5.4, § 1.5.6).
    TooLong(Field),
    /// U+0000 in a string [MQTT-1.5.4-2].
    NullCharacter(Field),
    /// A text that is no topic name.
    Topic {
        /// Which one.
        field: Field,
        /// Which rule it breaks.
        error: TopicError,
    },
    /// A packet of more than 268,435,460 bytes (§ 2.1.4).
    PacketTooLarge {
        /// How many bytes come after the fixed header.
        remaining: usize,
    },
    /// A packet that this version does not have.
    NotInVersion {
        /// Its type.
        packet: PacketType,
        /// The version to be encoded for.
        version: Version,
    },
    /// PUBLISH with a packet identifier at QoS 0, or without one above [MQTT-2.2.1-2] [MQTT-2.2.1-3].
    PacketId,
    /// PUBLISH with DUP at QoS 0 [MQTT-3.3.1-2].
    DupAtQoS0,
    /// PUBLISH with neither topic nor alias; before 5.0, without topic.
    TopicMissing,
    /// A password without a user name, before 5.0 [MQTT-3.1.2-22 of 3.1.1].
    PasswordWithoutUsername,
    /// Authentication Data in CONNECT or CONNACK without an Authentication Method.
    AuthenticationDataWithoutMethod,
    /// CONNACK with an error and with Session Present [MQTT-3.2.2-6].
    SessionPresentWithError,
    /// Maximum QoS 2 in CONNACK, which is said by leaving it out (§ 3.2.2.3.4).
    MaximumQoS,
    /// A reason code that is not one of this packet's in this version.
    ReasonCode {
        /// In which packet.
        packet: PacketType,
        /// The reason code.
        reason: ReasonCode,
    },
    /// SUBSCRIBE or UNSUBSCRIBE without a topic filter [MQTT-3.8.3-2] [MQTT-3.10.3-2].
    NoFilters(PacketType),
    /// SUBACK or UNSUBACK without a reason code.
    NoReasons(PacketType),
    /// No Local on a shared subscription [MQTT-3.8.3-4].
    NoLocalOnShared,
}

impl DecodeError {
    /// The reason code to close the connection with [MQTT-4.13.1-1].
    pub const fn reason_code(&self) -> ReasonCode {
        match self {
            Self::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
            Self::UnsupportedVersion { .. } => ReasonCode::UnsupportedProtocolVersion,
            Self::TopicAliasZero => ReasonCode::TopicAliasInvalid,
            Self::TopicMissing
            | Self::RepeatedProperty(_)
            | Self::PropertyValue { .. }
            | Self::AuthenticationDataWithoutMethod
            | Self::SessionPresentWithError
            | Self::ReasonCode { .. }
            | Self::NoFilters(_)
            | Self::SubscriptionQoS
            | Self::RetainHandling
            | Self::NoLocalOnShared
            // A Response Topic is a value among others; the standard leaves its class open.
            | Self::Topic { field: Field::Property(_), .. } => ReasonCode::ProtocolError,
            Self::PacketTypeZero
            | Self::VarintTooLong(_)
            | Self::VarintNotMinimal(_)
            | Self::PacketNotInVersion { .. }
            | Self::ReservedFlags { .. }
            | Self::Truncated(_)
            | Self::TrailingBytes { .. }
            | Self::IllFormedUtf8(_)
            | Self::NullCharacter(_)
            | Self::Topic { .. }
            | Self::ForeignProtocol
            | Self::ReservedConnectFlag
            | Self::WillFlagsWithoutWill
            | Self::WillQoS
            | Self::PasswordWithoutUsername
            | Self::PublishQoS
            | Self::DupAtQoS0
            | Self::PacketIdZero
            | Self::UnknownProperty(_)
            | Self::MisplacedProperty { .. }
            | Self::MisplacedWillProperty(_)
            | Self::ConnAckFlags(_)
            | Self::ReservedSubscriptionOptions(_) => ReasonCode::MalformedPacket,
        }
    }

    /// Whether the packet cannot be parsed as the format says, rather than saying something that is not allowed.
    pub const fn is_malformed(&self) -> bool {
        matches!(self.reason_code(), ReasonCode::MalformedPacket)
    }
}

impl std::error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Topic { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl std::error::Error for EncodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Topic { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RemainingLength => "the remaining length",
            Self::ProtocolName => "the protocol name",
            Self::ProtocolLevel => "the protocol level",
            Self::ConnectFlags => "the connect flags",
            Self::KeepAlive => "the keep alive",
            Self::ClientId => "the client id",
            Self::WillTopic => "the will topic",
            Self::WillPayload => "the will payload",
            Self::Username => "the user name",
            Self::Password => "the password",
            Self::ConnAckFlags => "the acknowledge flags",
            Self::ReasonCode => "the reason code",
            Self::TopicName => "the topic name",
            Self::PacketId => "the packet identifier",
            Self::TopicFilter => "the topic filter",
            Self::SubscriptionOptions => "the subscription options",
            Self::PropertyLength => "the properties",
            Self::PropertyId => "a property identifier",
            Self::Property(property) => return write!(f, "the property {property}"),
        })
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PacketTypeZero => "packet type 0 is reserved",
            Self::VarintTooLong(field) => return write!(f, "{field} has more than four bytes"),
            Self::VarintNotMinimal(field) => {
                return write!(f, "{field} is written in more bytes than it needs");
            }
            Self::PacketTooLarge { size, limit } => {
                return write!(f, "a packet of {size} bytes where {limit} are allowed");
            }
            Self::PacketNotInVersion { packet, version } => {
                return write!(f, "{packet} does not exist in {version}");
            }
            Self::ReservedFlags { packet, flags } => {
                return write!(f, "{packet} with the flags {flags:04b} in its first byte");
            }
            Self::Truncated(field) => return write!(f, "the packet ends before {field} does"),
            Self::TrailingBytes { packet, count } => {
                return write!(f, "{packet} has {count} bytes more than its content");
            }
            Self::IllFormedUtf8(field) => return write!(f, "{field} is not UTF-8"),
            Self::NullCharacter(field) => return write!(f, "{field} contains U+0000"),
            Self::Topic { field, error } => return write!(f, "{field} {error}"),
            Self::ForeignProtocol => "the protocol name is not one of MQTT",
            Self::UnsupportedVersion { level } => {
                return write!(f, "the protocol level {level} is not served under this name");
            }
            Self::ReservedConnectFlag => "the reserved connect flag is set",
            Self::WillFlagsWithoutWill => "will QoS or will retain is set without a will",
            Self::WillQoS => "the will has QoS 3",
            Self::PasswordWithoutUsername => "a password without a user name",
            Self::PublishQoS => "PUBLISH with QoS 3",
            Self::DupAtQoS0 => "PUBLISH is marked as a duplicate at QoS 0",
            Self::PacketIdZero => "the packet identifier is 0",
            Self::TopicMissing => "PUBLISH with neither topic nor topic alias",
            Self::TopicAliasZero => "the topic alias is 0",
            Self::UnknownProperty(id) => return write!(f, "there is no property {id:#04x}"),
            Self::MisplacedProperty { property, packet } => {
                return write!(f, "the property {property} has no place in {packet}");
            }
            Self::MisplacedWillProperty(property) => {
                return write!(f, "the property {property} has no place in a will");
            }
            Self::RepeatedProperty(property) => {
                return write!(f, "the property {property} comes more than once");
            }
            Self::PropertyValue { property, value } => {
                return write!(f, "the property {property} cannot be {value}");
            }
            Self::AuthenticationDataWithoutMethod => "authentication data without a method",
            Self::ConnAckFlags(flags) => {
                return write!(f, "reserved bits in the acknowledge flags {flags:#04x}");
            }
            Self::SessionPresentWithError => "CONNACK with an error says that a session is present",
            Self::ReasonCode { packet, code } => {
                return write!(f, "{packet} has no reason code {code:#04x}");
            }
            Self::NoFilters(packet) => return write!(f, "{packet} without a topic filter"),
            Self::ReservedSubscriptionOptions(options) => {
                return write!(f, "QoS 3 or reserved bits in the subscription options {options:#04x}");
            }
            Self::SubscriptionQoS => "SUBSCRIBE with QoS 3",
            Self::RetainHandling => "SUBSCRIBE with retain handling 3",
            Self::NoLocalOnShared => "a shared subscription with the option No Local",
        })
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong(field) => return write!(f, "{field} has more than 65,535 bytes"),
            Self::NullCharacter(field) => return write!(f, "{field} contains U+0000"),
            Self::Topic { field, error } => return write!(f, "{field} {error}"),
            Self::PacketTooLarge { remaining } => {
                return write!(f, "{remaining} bytes are too many for one packet");
            }
            Self::NotInVersion { packet, version } => {
                return write!(f, "{packet} does not exist in {version}");
            }
            Self::PacketId => "a packet identifier belongs to QoS 1 and 2, and to no other",
            Self::DupAtQoS0 => "a message of QoS 0 cannot be marked as a duplicate",
            Self::TopicMissing => "PUBLISH needs a topic",
            Self::PasswordWithoutUsername => "a password without a user name",
            Self::AuthenticationDataWithoutMethod => "authentication data without a method",
            Self::SessionPresentWithError => "CONNACK with an error cannot have a session present",
            Self::MaximumQoS => "a maximum QoS of 2 is said by leaving it out",
            Self::ReasonCode { packet, reason } => {
                return write!(f, "{packet} cannot have the reason \"{reason}\"");
            }
            Self::NoFilters(packet) => return write!(f, "{packet} without a topic filter"),
            Self::NoReasons(packet) => return write!(f, "{packet} without a reason code"),
            Self::NoLocalOnShared => "a shared subscription cannot have the option No Local",
        })
    }
}
