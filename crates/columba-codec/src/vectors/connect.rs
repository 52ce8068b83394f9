//! CONNECT and CONNACK.

use std::num::{NonZeroU16, NonZeroU32};

use super::{rows, topic};
use crate::{
    ConnAck, ConnAckProperties, Connect, ConnectProperties, DecodeError as Error, Field, List,
    MessageProperties, Packet, PacketType, PayloadFormat, Property, QoS, ReasonCode, TopicError, Version,
    Will,
};

rows! {
    V3_1 "CONNECT" "10 11 0006 'MQIsdp' 03 02 003C 0003 'abc'" is connect(Version::V3_1, |connect| connect.keep_alive = 60);
    V3_1_1 "CONNECT" "10 0F 0004 'MQTT' 04 02 003C 0003 'abc'" is connect(Version::V3_1_1, |connect| connect.keep_alive = 60);
    V5 "CONNECT" "10 10 0004 'MQTT' 05 02 003C 00 0003 'abc'" is connect(Version::V5, |connect| connect.keep_alive = 60);
    V3_1_1 "CONNECT to resume, without keep alive" "10 0F 0004 'MQTT' 04 00 0000 0003 'abc'"
        is connect(Version::V3_1_1, |connect| connect.clean_start = false);
    V5 "CONNECT with the greatest keep alive" "10 10 0004 'MQTT' 05 02 FFFF 00 0003 'abc'"
        is connect(Version::V5, |connect| connect.keep_alive = 65_535);
    V5 "CONNECT with an empty client id" "10 0D 0004 'MQTT' 05 02 0000 00 0000" is connect(Version::V5, |connect| connect.client_id = "");
    V5 "CONNECT with a client id beyond ASCII" "10 14 0004 'MQTT' 05 02 0000 00 0007 EFBBBF F09F9884"
        is connect(Version::V5, |connect| connect.client_id = "\u{FEFF}😄");
    V3_1 "CONNECT of a bridge" "10 11 0006 'MQIsdp' 83 02 0000 0003 'abc'" is connect(Version::V3_1, |connect| connect.bridge = true);
    V3_1_1 "CONNECT of a bridge" "10 0F 0004 'MQTT' 84 02 0000 0003 'abc'" is connect(Version::V3_1_1, |connect| connect.bridge = true);
    V5 "CONNECT of a bridge" "10 10 0004 'MQTT' 85 02 0000 00 0003 'abc'" is connect(Version::V5, |connect| connect.bridge = true);
    V3_1_1 "CONNECT with user name and password" "10 16 0004 'MQTT' 04 C2 0000 0003 'abc' 0001 'u' 0002 00FF"
        is connect(Version::V3_1_1, |connect| { connect.username = Some("u"); connect.password = Some(&[0, 255]); });
    V3_1_1 "CONNECT with an empty user name" "10 11 0004 'MQTT' 04 82 0000 0003 'abc' 0000"
        is connect(Version::V3_1_1, |connect| connect.username = Some(""));
    V5 "CONNECT with a password alone" "10 13 0004 'MQTT' 05 42 0000 00 0003 'abc' 0001 'p'"
        is connect(Version::V5, |connect| connect.password = Some(b"p"));
    V3_1_1 "CONNECT with a will" "10 19 0004 'MQTT' 04 36 0000 0003 'abc' 0003 'a/b' 0003 'bye'"
        is connect(Version::V3_1_1, |connect| connect.will = Some(will(QoS::ExactlyOnce, true)));
    V5 "CONNECT with a will" "10 1B 0004 'MQTT' 05 0E 0000 00 0003 'abc' 00 0003 'a/b' 0003 'bye'"
        is connect(Version::V5, |connect| connect.will = Some(will(QoS::AtLeastOnce, false)));
    V5 "CONNECT with an empty will payload" "10 18 0004 'MQTT' 05 06 0000 00 0003 'abc' 00 0003 'a/b' 0000"
        is connect(Version::V5, |connect| connect.will = Some(Will { payload: b"", ..will(QoS::AtMostOnce, false) }));
    V5 "CONNECT with every property of a will"
        "10 3D 0004 'MQTT' 05 06 0000 00 0003 'abc' 22 18 00000005 01 01 02 0000003C 03 0003 'c/t' 08 0001 'r' 09 0002 0001 26 0001 'k' 0001 'v' 0003 'a/b' 0003 'bye'"
        is connect(Version::V5, |connect| connect.will = Some(Will {
            delay: Some(5),
            properties: MessageProperties {
                payload_format: Some(PayloadFormat::Utf8),
                message_expiry: Some(60),
                content_type: Some("c/t"),
                response_topic: Some("r"),
                correlation_data: Some(&[0, 1]),
                user_properties: List::from_slice(&[("k", "v")]),
            },
            ..will(QoS::AtMostOnce, false)
        }));
    V5 "CONNECT with every property"
        "10 39 0004 'MQTT' 05 02 0000 29 11 FFFFFFFF 21 0001 27 00000001 22 FFFF 19 01 17 00 15 0001 'm' 16 0001 'd' 26 0001 'k' 0001 'v' 26 0001 'k' 0000 0003 'abc'"
        is connect(Version::V5, |connect| connect.properties = ConnectProperties {
            session_expiry: Some(u32::MAX),
            receive_maximum: NonZeroU16::new(1),
            maximum_packet_size: NonZeroU32::new(1),
            topic_alias_maximum: Some(65_535),
            request_response_information: Some(true),
            request_problem_information: Some(false),
            authentication_method: Some("m"),
            authentication_data: Some(b"d"),
            user_properties: List::from_slice(&[("k", "v"), ("k", "")]),
        });
    V5 "CONNECT with user properties around another property" "10 1C 0004 'MQTT' 05 02 0000 0F 26 0001 'a' 0000 22 0001 26 0001 'b' 0000 0000"
        reads connect(Version::V5, |connect| {
            connect.client_id = "";
            connect.properties.topic_alias_maximum = Some(1);
            connect.properties.user_properties = List::from_slice(&[("a", ""), ("b", "")]);
        });
    V3_1 "CONNECT with flags that mean nothing in 3.1" "1F 11 0006 'MQIsdp' 03 3B 0000 0003 'abc'" reads connect(Version::V3_1, |_| ());
    V3_1 "CONNECT without the user name and password it announces" "10 11 0006 'MQIsdp' 03 C2 0000 0003 'abc'" reads connect(Version::V3_1, |_| ());
    V3_1 "CONNECT without the password it announces" "10 14 0006 'MQIsdp' 03 C2 0000 0003 'abc' 0001 'u'"
        reads connect(Version::V3_1, |connect| connect.username = Some("u"));

    V5 "CONNECT of another protocol" "10 0D 0004 'HTTP' 05 02 0000 00 0000" fails Error::ForeignProtocol;
    V3_1_1 "CONNECT with its name in lower case" "10 0F 0004 'mqtt' 04 02 0000 0003 'abc'" fails Error::ForeignProtocol;
    V5 "CONNECT without protocol name" "10 09 0000 05 02 0000 00 0000" fails Error::ForeignProtocol;
    V5 "CONNECT with a level to come" "10 0D 0004 'MQTT' 06 02 0000 00 0000" fails Error::UnsupportedVersion { level: 6 };
    V5 "CONNECT with level 0" "10 0D 0004 'MQTT' 00 02 0000 00 0000" fails Error::UnsupportedVersion { level: 0 };
    V3_1_1 "CONNECT with the level of 3.1 under the other name" "10 0F 0004 'MQTT' 03 02 0000 0003 'abc'" fails Error::UnsupportedVersion { level: 3 };
    V3_1 "CONNECT with the level of 3.1.1 under the other name" "10 11 0006 'MQIsdp' 04 02 0000 0003 'abc'" fails Error::UnsupportedVersion { level: 4 };
    V3_1 "CONNECT with the level of 5.0 under the other name" "10 12 0006 'MQIsdp' 05 02 0000 00 0003 'abc'" fails Error::UnsupportedVersion { level: 5 };
    V5 "CONNECT of a bridge with an unknown level" "10 0D 0004 'MQTT' 86 02 0000 00 0000" fails Error::UnsupportedVersion { level: 0x86 };
    V5 "CONNECT with an unknown level, whatever follows" "1F 08 0004 'MQTT' 07 FF" fails Error::UnsupportedVersion { level: 7 };
    V5 "CONNECT with flags in its first byte" "11 0D 0004 'MQTT' 05 02 0000 00 0000" fails Error::ReservedFlags { packet: PacketType::Connect, flags: 1 };
    V3_1_1 "CONNECT with flags in its first byte" "12 0F 0004 'MQTT' 04 02 0000 0003 'abc'" fails Error::ReservedFlags { packet: PacketType::Connect, flags: 2 };
    V5 "CONNECT with the reserved flag" "10 0D 0004 'MQTT' 05 03 0000 00 0000" fails Error::ReservedConnectFlag;
    V3_1_1 "CONNECT with the reserved flag" "10 0F 0004 'MQTT' 04 03 0000 0003 'abc'" fails Error::ReservedConnectFlag;
    V5 "CONNECT with will QoS but no will" "10 0D 0004 'MQTT' 05 0A 0000 00 0000" fails Error::WillFlagsWithoutWill;
    V3_1_1 "CONNECT with will retain but no will" "10 0F 0004 'MQTT' 04 22 0000 0003 'abc'" fails Error::WillFlagsWithoutWill;
    V5 "CONNECT with will QoS 3" "10 13 0004 'MQTT' 05 1E 0000 00 0000 00 0001 'a' 0000" fails Error::WillQoS;
    V3_1 "CONNECT with will QoS 3" "10 16 0006 'MQIsdp' 03 1E 0000 0003 'abc' 0001 'a' 0000" fails Error::WillQoS;
    V3_1_1 "CONNECT with a password alone" "10 12 0004 'MQTT' 04 42 0000 0003 'abc' 0001 'p'" fails Error::PasswordWithoutUsername;
    V3_1 "CONNECT with a password alone" "10 14 0006 'MQIsdp' 03 42 0000 0003 'abc' 0001 'p'" fails Error::PasswordWithoutUsername;
    V5 "CONNECT that ends in its protocol name" "10 05 0004 'MQT'" fails Error::Truncated(Field::ProtocolName);
    V5 "CONNECT that ends before its level" "10 06 0004 'MQTT'" fails Error::Truncated(Field::ProtocolLevel);
    V5 "CONNECT that ends before its flags" "10 07 0004 'MQTT' 05" fails Error::Truncated(Field::ConnectFlags);
    V5 "CONNECT that ends in its keep alive" "10 09 0004 'MQTT' 05 02 00" fails Error::Truncated(Field::KeepAlive);
    V5 "CONNECT that ends before its properties" "10 0A 0004 'MQTT' 05 02 0000" fails Error::Truncated(Field::PropertyLength);
    V5 "CONNECT with properties beyond its end" "10 10 0004 'MQTT' 05 02 0000 0A 11 00000000" fails Error::Truncated(Field::PropertyLength);
    V3_1_1 "CONNECT that ends before its client id" "10 0A 0004 'MQTT' 04 02 0000" fails Error::Truncated(Field::ClientId);
    V3_1_1 "CONNECT that ends before its user name" "10 0F 0004 'MQTT' 04 82 0000 0003 'abc'" fails Error::Truncated(Field::Username);
    V3_1 "CONNECT that ends inside its user name" "10 14 0006 'MQIsdp' 03 82 0000 0003 'abc' 0002 'u'" fails Error::Truncated(Field::Username);
    V5 "CONNECT that ends inside its password" "10 12 0004 'MQTT' 05 42 0000 00 0000 0004 'pas'" fails Error::Truncated(Field::Password);
    V5 "CONNECT that ends before its will payload" "10 11 0004 'MQTT' 05 06 0000 00 0000 00 0001 'a'" fails Error::Truncated(Field::WillPayload);
    V5 "CONNECT with a user name it does not announce" "10 10 0004 'MQTT' 05 02 0000 00 0000 0001 'u'" fails Error::TrailingBytes { packet: PacketType::Connect, count: 3 };
    V3_1_1 "CONNECT with an ill-formed client id" "10 0E 0004 'MQTT' 04 02 0000 0002 C328" fails Error::IllFormedUtf8(Field::ClientId);
    V3_1 "CONNECT with an ill-formed client id" "10 10 0006 'MQIsdp' 03 02 0000 0002 C080" fails Error::IllFormedUtf8(Field::ClientId);
    V5 "CONNECT with a surrogate in its user name" "10 12 0004 'MQTT' 05 82 0000 00 0000 0003 EDA080" fails Error::IllFormedUtf8(Field::Username);
    V5 "CONNECT with U+0000 in its client id" "10 10 0004 'MQTT' 05 02 0000 00 0003 'a' 00 'b'" fails Error::NullCharacter(Field::ClientId);
    V5 "CONNECT with U+0000 in its will topic" "10 13 0004 'MQTT' 05 06 0000 00 0000 00 0001 00 0000" fails Error::NullCharacter(Field::WillTopic);
    V5 "CONNECT with a wildcard in its will topic" "10 15 0004 'MQTT' 05 06 0000 00 0000 00 0003 'a/+' 0000"
        fails Error::Topic { field: Field::WillTopic, error: TopicError::WildcardInName };
    V3_1_1 "CONNECT with an empty will topic" "10 11 0004 'MQTT' 04 06 0000 0001 'x' 0000 0000" fails Error::Topic { field: Field::WillTopic, error: TopicError::Empty };
    V5 "CONNECT with Receive Maximum 0" "10 10 0004 'MQTT' 05 02 0000 03 21 0000 0000" fails Error::PropertyValue { property: Property::ReceiveMaximum, value: 0 };
    V5 "CONNECT with Maximum Packet Size 0" "10 12 0004 'MQTT' 05 02 0000 05 27 00000000 0000" fails Error::PropertyValue { property: Property::MaximumPacketSize, value: 0 };
    V5 "CONNECT with Request Problem Information 2" "10 0F 0004 'MQTT' 05 02 0000 02 17 02 0000" fails Error::PropertyValue { property: Property::RequestProblemInformation, value: 2 };
    V5 "CONNECT with Request Response Information 255" "10 0F 0004 'MQTT' 05 02 0000 02 19 FF 0000" fails Error::PropertyValue { property: Property::RequestResponseInformation, value: 255 };
    V5 "CONNECT with Session Expiry Interval twice" "10 17 0004 'MQTT' 05 02 0000 0A 11 00000001 11 00000001 0000" fails Error::RepeatedProperty(Property::SessionExpiryInterval);
    V5 "CONNECT with authentication data alone" "10 11 0004 'MQTT' 05 02 0000 04 16 0001 'd' 0000" fails Error::AuthenticationDataWithoutMethod;
    V5 "CONNECT with a topic alias" "10 10 0004 'MQTT' 05 02 0000 03 23 0001 0000" fails Error::MisplacedProperty { property: Property::TopicAlias, packet: PacketType::Connect };
    V5 "CONNECT with a will delay outside its will" "10 12 0004 'MQTT' 05 02 0000 05 18 00000001 0000"
        fails Error::MisplacedProperty { property: Property::WillDelayInterval, packet: PacketType::Connect };
    V5 "CONNECT with a topic alias in its will" "10 16 0004 'MQTT' 05 06 0000 00 0000 03 23 0001 0001 'a' 0000" fails Error::MisplacedWillProperty(Property::TopicAlias);
    V5 "CONNECT with a will delay twice" "10 1D 0004 'MQTT' 05 06 0000 00 0000 0A 18 00000001 18 00000001 0001 'a' 0000" fails Error::RepeatedProperty(Property::WillDelayInterval);
    V5 "CONNECT with a payload format 2 in its will" "10 15 0004 'MQTT' 05 06 0000 00 0000 02 01 02 0001 'a' 0000" fails Error::PropertyValue { property: Property::PayloadFormatIndicator, value: 2 };
    V5 "CONNECT with an unknown property" "10 0F 0004 'MQTT' 05 02 0000 02 7F 00 0000" fails Error::UnknownProperty(0x7F);
    V5 "CONNECT with a property of two bytes" "10 10 0004 'MQTT' 05 02 0000 03 80 01 00 0000" fails Error::UnknownProperty(128);
    V5 "CONNECT with a property identifier too long for itself" "10 10 0004 'MQTT' 05 02 0000 03 91 00 00 0000" fails Error::VarintNotMinimal(Field::PropertyId);
    V5 "CONNECT with a property that its block cuts off" "10 10 0004 'MQTT' 05 02 0000 03 11 0000 0000" fails Error::Truncated(Field::Property(Property::SessionExpiryInterval));
    V5 "CONNECT with a property length that never ends" "10 0F 0004 'MQTT' 05 02 0000 FF FF FF FF 7F" fails Error::VarintTooLong(Field::PropertyLength);
    V5 "CONNECT with a property length too long for itself" "10 0E 0004 'MQTT' 05 02 0000 80 00 0000" fails Error::VarintNotMinimal(Field::PropertyLength);

    V3_1 "CONNACK" "20 02 00 00" is connack(false, ReasonCode::Success);
    V3_1_1 "CONNACK" "20 02 00 00" is connack(false, ReasonCode::Success);
    V5 "CONNACK" "20 03 00 00 00" is connack(false, ReasonCode::Success);
    V3_1_1 "CONNACK with a session" "20 02 01 00" is connack(true, ReasonCode::Success);
    V5 "CONNACK with a session" "20 03 01 00 00" is connack(true, ReasonCode::Success);
    V3_1 "CONNACK with what 3.1 reserves" "20 02 FF 00" reads connack(false, ReasonCode::Success);
    V3_1 "CONNACK with return code 1" "20 02 00 01" is connack(false, ReasonCode::UnsupportedProtocolVersion);
    V3_1_1 "CONNACK with return code 1" "20 02 00 01" is connack(false, ReasonCode::UnsupportedProtocolVersion);
    V3_1_1 "CONNACK with return code 2" "20 02 00 02" is connack(false, ReasonCode::ClientIdentifierNotValid);
    V3_1_1 "CONNACK with return code 3" "20 02 00 03" is connack(false, ReasonCode::ServerUnavailable);
    V3_1_1 "CONNACK with return code 4" "20 02 00 04" is connack(false, ReasonCode::BadUserNameOrPassword);
    V3_1_1 "CONNACK with return code 5" "20 02 00 05" is connack(false, ReasonCode::NotAuthorized);
    V5 "CONNACK with an error" "20 03 00 87 00" is connack(false, ReasonCode::NotAuthorized);
    V5 "CONNACK with every property"
        "20 40 00 00 3D 11 0000000A 21 000A 24 01 25 00 27 00010000 12 0001 'i' 22 000A 1F 0002 'ok' 28 00 29 00 2A 00 13 003C 1A 0001 'r' 1C 0001 's' 15 0001 'm' 16 0001 'd' 26 0001 'k' 0001 'v'"
        is Packet::ConnAck(Box::new(ConnAck {
            session_present: false,
            reason: ReasonCode::Success,
            properties: ConnAckProperties {
                session_expiry: Some(10),
                receive_maximum: NonZeroU16::new(10),
                maximum_qos: Some(QoS::AtLeastOnce),
                retain_available: Some(false),
                maximum_packet_size: NonZeroU32::new(65_536),
                assigned_client_id: Some("i"),
                topic_alias_maximum: Some(10),
                reason_string: Some("ok"),
                wildcard_subscription_available: Some(false),
                subscription_ids_available: Some(false),
                shared_subscription_available: Some(false),
                server_keep_alive: Some(60),
                response_information: Some("r"),
                server_reference: Some("s"),
                authentication_method: Some("m"),
                authentication_data: Some(b"d"),
                user_properties: List::from_slice(&[("k", "v")]),
            },
        }));
    V5 "CONNACK with reserved flags" "20 03 02 00 00" fails Error::ConnAckFlags(2);
    V3_1_1 "CONNACK with reserved flags" "20 02 80 00" fails Error::ConnAckFlags(0x80);
    V5 "CONNACK with a session and an error" "20 03 01 87 00" fails Error::SessionPresentWithError;
    V3_1_1 "CONNACK with a session and an error" "20 02 01 05" fails Error::SessionPresentWithError;
    V3_1_1 "CONNACK with return code 6" "20 02 00 06" fails Error::ReasonCode { packet: PacketType::ConnAck, code: 6 };
    V5 "CONNACK with the reason code of another packet" "20 03 00 8E 00" fails Error::ReasonCode { packet: PacketType::ConnAck, code: 0x8E };
    V5 "CONNACK with flags in its first byte" "21 03 00 00 00" fails Error::ReservedFlags { packet: PacketType::ConnAck, flags: 1 };
    V5 "CONNACK without properties" "20 02 00 00" fails Error::Truncated(Field::PropertyLength);
    V3_1_1 "CONNACK without a return code" "20 01 00" fails Error::Truncated(Field::ReasonCode);
    V5 "CONNACK without anything" "20 00" fails Error::Truncated(Field::ConnAckFlags);
    V3_1_1 "CONNACK with properties" "20 03 00 00 00" fails Error::TrailingBytes { packet: PacketType::ConnAck, count: 1 };
    V5 "CONNACK with Maximum QoS 2" "20 05 00 00 02 24 02" fails Error::PropertyValue { property: Property::MaximumQoS, value: 2 };
    V5 "CONNACK with Retain Available 2" "20 05 00 00 02 25 02" fails Error::PropertyValue { property: Property::RetainAvailable, value: 2 };
    V5 "CONNACK with a request of CONNECT" "20 05 00 00 02 17 01" fails Error::MisplacedProperty { property: Property::RequestProblemInformation, packet: PacketType::ConnAck };
    V5 "CONNACK with authentication data alone" "20 07 00 00 04 16 0001 'd'" fails Error::AuthenticationDataWithoutMethod;
    V5 "CONNACK with Receive Maximum 0" "20 06 00 00 03 21 0000" fails Error::PropertyValue { property: Property::ReceiveMaximum, value: 0 };
}

fn connect(version: Version, change: fn(&mut Connect<'static>)) -> Packet<'static> {
    let mut connect = Connect::new(version, "abc");
    change(&mut connect);
    Packet::Connect(Box::new(connect))
}

fn will(qos: QoS, retain: bool) -> Will<'static> {
    Will {
        topic: topic("a/b"),
        payload: b"bye",
        qos,
        retain,
        delay: None,
        properties: MessageProperties::default(),
    }
}

fn connack(session_present: bool, reason: ReasonCode) -> Packet<'static> {
    let properties = ConnAckProperties::default();
    Packet::ConnAck(Box::new(ConnAck { session_present, reason, properties }))
}
