//! PUBLISH and its acknowledgements.

use std::num::NonZeroU16;

use super::{id, rows, topic};
use crate::{
    Ack, DecodeError as Error, Field, List, MessageProperties, Packet, PacketType, PayloadFormat, Property,
    Publish, QoS, ReasonCode, SubscriptionId, TopicError,
};

rows! {
    V3_1 "PUBLISH" "30 07 0003 'a/b' 'hi'" is publish(|_| ());
    V3_1_1 "PUBLISH" "30 07 0003 'a/b' 'hi'" is publish(|_| ());
    V5 "PUBLISH" "30 08 0003 'a/b' 00 'hi'" is publish(|_| ());
    V3_1_1 "PUBLISH without payload" "31 05 0003 'a/b'" is publish(|publish| { publish.retain = true; publish.payload = b""; });
    V3_1_1 "PUBLISH at QoS 1" "32 09 0003 'a/b' 0001 'hi'" is publish(|publish| { publish.qos = QoS::AtLeastOnce; publish.packet_id = Some(id(1)); });
    V5 "PUBLISH at QoS 2 with the greatest identifier, again" "3C 0A 0003 'a/b' FFFF 00 'hi'"
        is publish(|publish| { publish.dup = true; publish.qos = QoS::ExactlyOnce; publish.packet_id = Some(id(65_535)); });
    V5 "PUBLISH to a topic that begins beyond ASCII" "30 09 0004 C3A4 '/b' 00 'hi'" is publish(|publish| publish.topic = Some(topic("ä/b")));
    V5 "PUBLISH to the shortest topic of levels" "30 06 0001 '/' 00 'hi'" is publish(|publish| publish.topic = Some(topic("/")));
    V3_1 "PUBLISH at QoS 0 with DUP, which means nothing in 3.1" "38 07 0003 'a/b' 'hi'" reads publish(|_| ());
    V5 "PUBLISH that sets an alias" "30 0B 0003 'a/b' 03 23 0001 'hi'" is publish(|publish| publish.topic_alias = NonZeroU16::new(1));
    V5 "PUBLISH with an alias alone" "30 08 0000 03 23 FFFF 'hi'" is publish(|publish| { publish.topic = None; publish.topic_alias = NonZeroU16::new(65_535); });
    V5 "PUBLISH with subscription identifiers" "30 12 0003 'a/b' 0A 0B 01 0B 8001 0B FFFFFF7F 'hi'"
        is publish(|publish| publish.subscription_ids = List::from_slice(const { &[SubscriptionId::new(1).unwrap(), SubscriptionId::new(128).unwrap(), SubscriptionId::MAX] }));
    V5 "PUBLISH with every property" "30 2A 0003 'a/b' 22 23 0002 0B 07 01 00 02 0000003C 03 0001 't' 08 0003 'r/t' 09 0002 FF00 26 0001 'k' 0001 'v' 'hi'"
        is publish(|publish| {
            publish.topic_alias = NonZeroU16::new(2);
            publish.subscription_ids = List::from_slice(const { &[SubscriptionId::new(7).unwrap()] });
            publish.properties = MessageProperties {
                payload_format: Some(PayloadFormat::Bytes),
                message_expiry: Some(60),
                content_type: Some("t"),
                response_topic: Some("r/t"),
                correlation_data: Some(&[255, 0]),
                user_properties: List::from_slice(&[("k", "v")]),
            };
        });
    V5 "PUBLISH with properties in another order" "30 18 0003 'a/b' 10 26 0001 'b' 0000 0B 05 01 01 26 0001 'a' 0000 'hi'"
        reads publish(|publish| {
            publish.subscription_ids = List::from_slice(const { &[SubscriptionId::new(5).unwrap()] });
            publish.properties.payload_format = Some(PayloadFormat::Utf8);
            publish.properties.user_properties = List::from_slice(&[("b", ""), ("a", "")]);
        });
    V5 "PUBLISH with empty properties" "30 13 0003 'a/b' 0B 03 0000 09 0000 26 0000 0000 'hi'"
        is publish(|publish| {
            publish.properties.content_type = Some("");
            publish.properties.correlation_data = Some(b"");
            publish.properties.user_properties = List::from_slice(&[("", "")]);
        });

    V5 "PUBLISH at QoS 3" "36 08 0003 'a/b' 0001 00" fails Error::PublishQoS;
    V3_1_1 "PUBLISH at QoS 3" "36 07 0003 'a/b' 0001" fails Error::PublishQoS;
    V3_1 "PUBLISH at QoS 3" "36 07 0003 'a/b' 0001" fails Error::PublishQoS;
    V5 "PUBLISH at QoS 0 with DUP" "38 06 0003 'a/b' 00" fails Error::DupAtQoS0;
    V3_1_1 "PUBLISH at QoS 0 with DUP" "39 05 0003 'a/b'" fails Error::DupAtQoS0;
    V5 "PUBLISH with packet identifier 0" "32 08 0003 'a/b' 0000 00" fails Error::PacketIdZero;
    V3_1_1 "PUBLISH with packet identifier 0" "34 07 0003 'a/b' 0000" fails Error::PacketIdZero;
    V3_1 "PUBLISH with packet identifier 0" "34 07 0003 'a/b' 0000" fails Error::PacketIdZero;
    V5 "PUBLISH without topic and alias" "30 05 0000 00 'hi'" fails Error::TopicMissing;
    V3_1_1 "PUBLISH without topic" "30 04 0000 'hi'" fails Error::Topic { field: Field::TopicName, error: TopicError::Empty };
    V3_1 "PUBLISH without topic" "30 04 0000 'hi'" fails Error::Topic { field: Field::TopicName, error: TopicError::Empty };
    V5 "PUBLISH with alias 0" "30 09 0003 'a/b' 03 23 0000" fails Error::TopicAliasZero;
    V5 "PUBLISH with alias 0 alone" "30 06 0000 03 23 0000" fails Error::TopicAliasZero;
    V5 "PUBLISH to a '#'" "30 06 0003 'a/#' 00" fails Error::Topic { field: Field::TopicName, error: TopicError::WildcardInName };
    V3_1_1 "PUBLISH to a '+'" "30 05 0003 'a/+'" fails Error::Topic { field: Field::TopicName, error: TopicError::WildcardInName };
    V3_1 "PUBLISH to a '+' inside a level" "30 05 0003 'a+b'" fails Error::Topic { field: Field::TopicName, error: TopicError::WildcardInName };
    V5 "PUBLISH to a topic with U+0000" "30 06 0003 'a' 00 'b' 00" fails Error::NullCharacter(Field::TopicName);
    V3_1_1 "PUBLISH to a topic that is not UTF-8" "30 04 0002 FFFE" fails Error::IllFormedUtf8(Field::TopicName);
    V3_1 "PUBLISH to a topic with a surrogate" "30 05 0003 EDBFBF" fails Error::IllFormedUtf8(Field::TopicName);
    V5 "PUBLISH to a topic with an overlong slash" "30 05 0002 C0AF 00" fails Error::IllFormedUtf8(Field::TopicName);
    V5 "PUBLISH without anything" "30 00" fails Error::Truncated(Field::TopicName);
    V3_1_1 "PUBLISH that ends inside its topic" "30 05 0004 'a/b'" fails Error::Truncated(Field::TopicName);
    V3_1_1 "PUBLISH that ends inside its identifier" "32 06 0003 'a/b' 00" fails Error::Truncated(Field::PacketId);
    V5 "PUBLISH that ends before its properties" "30 05 0003 'a/b'" fails Error::Truncated(Field::PropertyLength);
    V5 "PUBLISH with properties beyond its end" "30 06 0003 'a/b' 01" fails Error::Truncated(Field::PropertyLength);
    V5 "PUBLISH with an expiry cut off" "30 0A 0003 'a/b' 04 02 000000" fails Error::Truncated(Field::Property(Property::MessageExpiryInterval));
    V5 "PUBLISH with a content type beyond its block" "30 0A 0003 'a/b' 03 03 0001 't'" fails Error::Truncated(Field::Property(Property::ContentType));
    V5 "PUBLISH with correlation data beyond its block" "30 08 0003 'a/b' 02 09 00" fails Error::Truncated(Field::Property(Property::CorrelationData));
    V5 "PUBLISH with a user property without value" "30 0A 0003 'a/b' 04 26 0001 'k'" fails Error::Truncated(Field::Property(Property::UserProperty));
    V5 "PUBLISH with payload format 2" "30 08 0003 'a/b' 02 01 02" fails Error::PropertyValue { property: Property::PayloadFormatIndicator, value: 2 };
    V5 "PUBLISH with subscription identifier 0" "30 08 0003 'a/b' 02 0B 00" fails Error::PropertyValue { property: Property::SubscriptionIdentifier, value: 0 };
    V5 "PUBLISH with a subscription identifier of five bytes" "30 0C 0003 'a/b' 06 0B FFFFFFFF 01" fails Error::VarintTooLong(Field::Property(Property::SubscriptionIdentifier));
    V5 "PUBLISH with a subscription identifier too long for itself" "30 09 0003 'a/b' 03 0B 8100" fails Error::VarintNotMinimal(Field::Property(Property::SubscriptionIdentifier));
    V5 "PUBLISH with payload format twice" "30 0A 0003 'a/b' 04 01 00 01 00" fails Error::RepeatedProperty(Property::PayloadFormatIndicator);
    V5 "PUBLISH with expiry twice" "30 10 0003 'a/b' 0A 02 00000001 02 00000001" fails Error::RepeatedProperty(Property::MessageExpiryInterval);
    V5 "PUBLISH with content type twice" "30 0C 0003 'a/b' 06 03 0000 03 0000" fails Error::RepeatedProperty(Property::ContentType);
    V5 "PUBLISH with response topic twice" "30 0E 0003 'a/b' 08 08 0001 'r' 08 0001 'r'" fails Error::RepeatedProperty(Property::ResponseTopic);
    V5 "PUBLISH with correlation data twice" "30 0C 0003 'a/b' 06 09 0000 09 0000" fails Error::RepeatedProperty(Property::CorrelationData);
    V5 "PUBLISH with alias twice" "30 0C 0003 'a/b' 06 23 0001 23 0001" fails Error::RepeatedProperty(Property::TopicAlias);
    V5 "PUBLISH with a wildcard in its response topic" "30 0A 0003 'a/b' 04 08 0001 '#'" fails Error::Topic { field: Field::Property(Property::ResponseTopic), error: TopicError::WildcardInName };
    V5 "PUBLISH with an empty response topic" "30 09 0003 'a/b' 03 08 0000" fails Error::Topic { field: Field::Property(Property::ResponseTopic), error: TopicError::Empty };
    V5 "PUBLISH with a content type that is not UTF-8" "30 0A 0003 'a/b' 04 03 0001 80" fails Error::IllFormedUtf8(Field::Property(Property::ContentType));
    V5 "PUBLISH with U+0000 in a user property" "30 0C 0003 'a/b' 06 26 0001 00 0000" fails Error::NullCharacter(Field::Property(Property::UserProperty));
    V5 "PUBLISH with a reason string" "30 09 0003 'a/b' 03 1F 0000" fails Error::MisplacedProperty { property: Property::ReasonString, packet: PacketType::Publish };
    V5 "PUBLISH with property 0" "30 08 0003 'a/b' 02 00 00" fails Error::UnknownProperty(0);

    V3_1 "PUBACK" "40 02 1234" is Packet::PubAck(Ack::new(id(0x1234)));
    V3_1_1 "PUBACK" "40 02 1234" is Packet::PubAck(Ack::new(id(0x1234)));
    V5 "PUBACK" "40 02 1234" is Packet::PubAck(Ack::new(id(0x1234)));
    V5 "PUBREC" "50 02 1234" is Packet::PubRec(Ack::new(id(0x1234)));
    V5 "PUBREL" "62 02 1234" is Packet::PubRel(Ack::new(id(0x1234)));
    V5 "PUBCOMP" "70 02 1234" is Packet::PubComp(Ack::new(id(0x1234)));
    V3_1_1 "PUBREC" "50 02 0001" is Packet::PubRec(Ack::new(id(1)));
    V3_1_1 "PUBREL" "62 02 0001" is Packet::PubRel(Ack::new(id(1)));
    V3_1_1 "PUBCOMP" "70 02 0001" is Packet::PubComp(Ack::new(id(1)));
    V3_1 "PUBREL, again" "6A 02 0001" reads Packet::PubRel(Ack::new(id(1)));
    V3_1 "PUBREL with an unused bit" "63 02 0001" reads Packet::PubRel(Ack::new(id(1)));
    V3_1 "PUBACK with unused bits" "4F 02 0001" reads Packet::PubAck(Ack::new(id(1)));
    V5 "PUBACK with a reason" "40 03 0001 10" is Packet::PubAck(ack(ReasonCode::NoMatchingSubscribers));
    V5 "PUBREC with an error" "50 03 0001 97" is Packet::PubRec(ack(ReasonCode::QuotaExceeded));
    V5 "PUBREL for something unknown" "62 03 0001 92" is Packet::PubRel(ack(ReasonCode::PacketIdentifierNotFound));
    V5 "PUBCOMP for something unknown" "70 03 0001 92" is Packet::PubComp(ack(ReasonCode::PacketIdentifierNotFound));
    V5 "PUBACK with success spelled out" "40 03 0001 00" reads Packet::PubAck(Ack::new(id(1)));
    V5 "PUBACK with no properties spelled out" "40 04 0001 00 00" reads Packet::PubAck(Ack::new(id(1)));
    V5 "PUBACK with properties" "40 12 0001 80 0E 1F 0004 'oops' 26 0001 'k' 0001 'v'"
        is Packet::PubAck(Ack { reason_string: Some("oops"), user_properties: List::from_slice(&[("k", "v")]), ..ack(ReasonCode::UnspecifiedError) });
    V5 "PUBCOMP with success and a property" "70 09 0001 00 05 1F 0002 'ok'" is Packet::PubComp(Ack { reason_string: Some("ok"), ..Ack::new(id(1)) });

    V5 "PUBACK with packet identifier 0" "40 02 0000" fails Error::PacketIdZero;
    V3_1_1 "PUBREL with packet identifier 0" "62 02 0000" fails Error::PacketIdZero;
    V3_1 "PUBREC with packet identifier 0" "50 02 0000" fails Error::PacketIdZero;
    V5 "PUBACK that ends in its identifier" "40 01 00" fails Error::Truncated(Field::PacketId);
    V3_1_1 "PUBCOMP without anything" "70 00" fails Error::Truncated(Field::PacketId);
    V3_1_1 "PUBACK with a reason" "40 03 0001 00" fails Error::TrailingBytes { packet: PacketType::PubAck, count: 1 };
    V5 "PUBACK with bytes behind its properties" "40 05 0001 00 00 00" fails Error::TrailingBytes { packet: PacketType::PubAck, count: 1 };
    V5 "PUBACK with properties beyond its end" "40 05 0001 00 05 1F" fails Error::Truncated(Field::PropertyLength);
    V5 "PUBREL with the flags of others" "60 02 0001" fails Error::ReservedFlags { packet: PacketType::PubRel, flags: 0 };
    V3_1_1 "PUBREL with DUP" "6A 02 0001" fails Error::ReservedFlags { packet: PacketType::PubRel, flags: 0b1010 };
    V3_1 "PUBREL without the QoS 1 it has in 3.1" "60 02 0001" fails Error::ReservedFlags { packet: PacketType::PubRel, flags: 0 };
    V5 "PUBACK with flags" "42 02 0001" fails Error::ReservedFlags { packet: PacketType::PubAck, flags: 2 };
    V5 "PUBREC with flags" "51 02 0001" fails Error::ReservedFlags { packet: PacketType::PubRec, flags: 1 };
    V3_1_1 "PUBCOMP with flags" "78 02 0001" fails Error::ReservedFlags { packet: PacketType::PubComp, flags: 8 };
    V5 "PUBACK with a reason of PUBREL" "40 03 0001 92" fails Error::ReasonCode { packet: PacketType::PubAck, code: 0x92 };
    V5 "PUBREL with a reason of PUBACK" "62 03 0001 10" fails Error::ReasonCode { packet: PacketType::PubRel, code: 0x10 };
    V5 "PUBREC with a reason that does not exist" "50 03 0001 03" fails Error::ReasonCode { packet: PacketType::PubRec, code: 3 };
    V5 "PUBCOMP with the last byte there is" "70 03 0001 FF" fails Error::ReasonCode { packet: PacketType::PubComp, code: 0xFF };
    V5 "PUBACK with a reason string twice" "40 0A 0001 00 06 1F 0000 1F 0000" fails Error::RepeatedProperty(Property::ReasonString);
    V5 "PUBREC with a property of others" "50 09 0001 00 05 11 00000001" fails Error::MisplacedProperty { property: Property::SessionExpiryInterval, packet: PacketType::PubRec };
    V5 "PUBREL with an unknown property" "62 06 0001 00 02 04 00" fails Error::UnknownProperty(4);
    V5 "PUBCOMP with a reason string that is not UTF-8" "70 08 0001 00 04 1F 0001 FF" fails Error::IllFormedUtf8(Field::Property(Property::ReasonString));
}

fn publish(change: fn(&mut Publish<'static>)) -> Packet<'static> {
    let mut publish = Publish::new(topic("a/b"), b"hi");
    change(&mut publish);
    Packet::Publish(publish)
}

fn ack(reason: ReasonCode) -> Ack<'static> {
    Ack { reason, ..Ack::new(id(1)) }
}
