//! SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK.

use super::{filter, id, rows};
use crate::{
    DecodeError as Error, Field, List, Packet, PacketType, Property, QoS, ReasonCode, RetainHandling, SubAck,
    Subscribe, SubscribeItem, SubscriptionId, SubscriptionOptions, TopicError, UnsubAck, Unsubscribe,
};

rows! {
    V3_1 "SUBSCRIBE" "82 08 0001 0003 'a/b' 01" is subscribe(&[("a/b", 1)]);
    V3_1_1 "SUBSCRIBE" "82 08 0001 0003 'a/b' 00" is subscribe(&[("a/b", 0)]);
    V5 "SUBSCRIBE" "82 09 0001 00 0003 'a/b' 02" is subscribe(&[("a/b", 2)]);
    V3_1_1 "SUBSCRIBE with three filters" "82 12 0001 0001 '#' 00 0001 '+' 01 0005 '+/x/#' 02" is subscribe(&[("#", 0), ("+", 1), ("+/x/#", 2)]);
    V3_1 "SUBSCRIBE, again" "8A 08 0001 0003 'a/b' 01" reads subscribe(&[("a/b", 1)]);
    V3_1 "SUBSCRIBE with an unused bit" "83 08 0001 0003 'a/b' 01" reads subscribe(&[("a/b", 1)]);
    V5 "SUBSCRIBE with every option" "82 09 0001 00 0003 'a/b' 2D"
        is with_options(SubscriptionOptions { qos: QoS::AtLeastOnce, no_local: true, retain_as_published: true, retain_handling: RetainHandling::DoNotSend });
    V5 "SUBSCRIBE for retained messages once" "82 09 0001 00 0003 'a/b' 10" is with_options(SubscriptionOptions { retain_handling: RetainHandling::SendIfNew, ..SubscriptionOptions::default() });
    V5 "SUBSCRIBE to a shared subscription" "82 14 0001 00 000E '$share/g/a/+/b' 01" is subscribe(&[("$share/g/a/+/b", 1)]);
    V3_1_1 "SUBSCRIBE to a shared subscription" "82 0D 0001 0008 '$share/g' 00"
        fails Error::Topic { field: Field::TopicFilter, error: TopicError::ShareFilter };
    V5 "SUBSCRIBE to what only looks shared" "82 0F 0001 00 0009 '$shared/x' 00" is subscribe(&[("$shared/x", 0)]);
    V5 "SUBSCRIBE with every property" "82 15 0001 0C 0B FFFFFF7F 26 0001 'k' 0001 'v' 0003 'a/b' 00"
        is Packet::Subscribe(Subscribe {
            packet_id: id(1),
            subscription_id: Some(SubscriptionId::MAX),
            user_properties: List::from_slice(&[("k", "v")]),
            filters: filters(&[("a/b", 0)]),
        });

    V5 "SUBSCRIBE without filter" "82 03 0001 00" fails Error::NoFilters(PacketType::Subscribe);
    V3_1_1 "SUBSCRIBE without filter" "82 02 0001" fails Error::NoFilters(PacketType::Subscribe);
    V3_1 "SUBSCRIBE without filter" "82 02 0001" fails Error::NoFilters(PacketType::Subscribe);
    V5 "SUBSCRIBE with packet identifier 0" "82 09 0000 00 0003 'a/b' 00" fails Error::PacketIdZero;
    V3_1_1 "SUBSCRIBE with packet identifier 0" "82 08 0000 0003 'a/b' 00" fails Error::PacketIdZero;
    V5 "SUBSCRIBE with the flags of others" "80 09 0001 00 0003 'a/b' 00" fails Error::ReservedFlags { packet: PacketType::Subscribe, flags: 0 };
    V3_1_1 "SUBSCRIBE with DUP" "8A 08 0001 0003 'a/b' 00" fails Error::ReservedFlags { packet: PacketType::Subscribe, flags: 0b1010 };
    V5 "SUBSCRIBE with QoS 3" "82 09 0001 00 0003 'a/b' 03" fails Error::SubscriptionQoS;
    V3_1_1 "SUBSCRIBE with QoS 3" "82 08 0001 0003 'a/b' 03" fails Error::ReservedSubscriptionOptions(3);
    V3_1 "SUBSCRIBE with QoS 3" "82 08 0001 0003 'a/b' 03" fails Error::ReservedSubscriptionOptions(3);
    V3_1_1 "SUBSCRIBE with the options of 5.0" "82 08 0001 0003 'a/b' 04" fails Error::ReservedSubscriptionOptions(4);
    V5 "SUBSCRIBE with a reserved option" "82 09 0001 00 0003 'a/b' 40" fails Error::ReservedSubscriptionOptions(0x40);
    V5 "SUBSCRIBE with the other reserved option" "82 09 0001 00 0003 'a/b' 80" fails Error::ReservedSubscriptionOptions(0x80);
    V5 "SUBSCRIBE with retain handling 3" "82 09 0001 00 0003 'a/b' 30" fails Error::RetainHandling;
    V5 "SUBSCRIBE with No Local to a shared subscription" "82 10 0001 00 000A '$share/g/a' 04" fails Error::NoLocalOnShared;
    V5 "SUBSCRIBE with subscription identifier 0" "82 0B 0001 02 0B 00 0003 'a/b' 00" fails Error::PropertyValue { property: Property::SubscriptionIdentifier, value: 0 };
    V5 "SUBSCRIBE with two subscription identifiers" "82 0D 0001 04 0B 01 0B 02 0003 'a/b' 00" fails Error::RepeatedProperty(Property::SubscriptionIdentifier);
    V5 "SUBSCRIBE with a reason string" "82 0C 0001 03 1F 0000 0003 'a/b' 00" fails Error::MisplacedProperty { property: Property::ReasonString, packet: PacketType::Subscribe };
    V5 "SUBSCRIBE to nothing" "82 06 0001 00 0000 00" fails Error::Topic { field: Field::TopicFilter, error: TopicError::Empty };
    V3_1_1 "SUBSCRIBE to a '#' before the end" "82 08 0001 0003 '#/a' 00" fails Error::Topic { field: Field::TopicFilter, error: TopicError::MisplacedHash };
    V5 "SUBSCRIBE to a '#' beside other characters" "82 08 0001 00 0002 'a#' 00" fails Error::Topic { field: Field::TopicFilter, error: TopicError::MisplacedHash };
    V3_1 "SUBSCRIBE to a '+' beside other characters" "82 09 0001 0004 'a/b+' 00" fails Error::Topic { field: Field::TopicFilter, error: TopicError::MisplacedPlus };
    V5 "SUBSCRIBE to a shared subscription without name" "82 0F 0001 00 0009 '$share//a' 00" fails Error::Topic { field: Field::TopicFilter, error: TopicError::ShareName };
    V5 "SUBSCRIBE to a shared subscription with a wildcard in its name" "82 10 0001 00 000A '$share/+/a' 00" fails Error::Topic { field: Field::TopicFilter, error: TopicError::ShareName };
    V5 "SUBSCRIBE to a shared subscription without filter" "82 0F 0001 00 0009 '$share/g/' 00" fails Error::Topic { field: Field::TopicFilter, error: TopicError::ShareFilter };
    V5 "SUBSCRIBE whose second filter is bad" "82 0C 0001 00 0001 'a' 00 0002 '+b' 00" fails Error::Topic { field: Field::TopicFilter, error: TopicError::MisplacedPlus };
    V5 "SUBSCRIBE to a filter with U+0000" "82 07 0001 00 0001 00 00" fails Error::NullCharacter(Field::TopicFilter);
    V3_1_1 "SUBSCRIBE to a filter that is not UTF-8" "82 07 0001 0002 C041 00" fails Error::IllFormedUtf8(Field::TopicFilter);
    V5 "SUBSCRIBE that ends before its options" "82 08 0001 00 0003 'a/b'" fails Error::Truncated(Field::SubscriptionOptions);
    V3_1_1 "SUBSCRIBE that ends in a filter" "82 07 0001 0004 'a/b'" fails Error::Truncated(Field::TopicFilter);
    V5 "SUBSCRIBE that ends in the length of its second filter" "82 08 0001 00 0001 'a' 00 00" fails Error::Truncated(Field::TopicFilter);
    V5 "SUBSCRIBE that ends before its properties" "82 02 0001" fails Error::Truncated(Field::PropertyLength);

    V3_1 "SUBACK" "90 05 0001 00 01 02" is suback(&[ReasonCode::Success, ReasonCode::GrantedQoS1, ReasonCode::GrantedQoS2]);
    V3_1_1 "SUBACK with a failure" "90 04 0001 02 80" is suback(&[ReasonCode::GrantedQoS2, ReasonCode::UnspecifiedError]);
    V5 "SUBACK" "90 06 0001 00 00 87 A2" is suback(&[ReasonCode::Success, ReasonCode::NotAuthorized, ReasonCode::WildcardSubscriptionsNotSupported]);
    V5 "SUBACK with properties" "90 11 0001 0D 1F 0003 'why' 26 0001 'k' 0001 'v' 01"
        is Packet::SubAck(SubAck { packet_id: id(1), reason_string: Some("why"), user_properties: List::from_slice(&[("k", "v")]), reasons: List::from_slice(&[ReasonCode::GrantedQoS1]) });
    V3_1 "SUBACK with a failure, which 3.1 does not have" "90 03 0001 80" fails Error::ReasonCode { packet: PacketType::SubAck, code: 0x80 };
    V3_1_1 "SUBACK with a reason of 5.0" "90 03 0001 87" fails Error::ReasonCode { packet: PacketType::SubAck, code: 0x87 };
    V5 "SUBACK with QoS 3" "90 04 0001 00 03" fails Error::ReasonCode { packet: PacketType::SubAck, code: 3 };
    V5 "SUBACK with a reason of UNSUBACK" "90 04 0001 00 11" fails Error::ReasonCode { packet: PacketType::SubAck, code: 0x11 };
    V5 "SUBACK without reasons" "90 03 0001 00" fails Error::Truncated(Field::ReasonCode);
    V3_1_1 "SUBACK without reasons" "90 02 0001" fails Error::Truncated(Field::ReasonCode);
    V5 "SUBACK with packet identifier 0" "90 04 0000 00 00" fails Error::PacketIdZero;
    V5 "SUBACK with flags" "92 04 0001 00 00" fails Error::ReservedFlags { packet: PacketType::SubAck, flags: 2 };
    V5 "SUBACK with a subscription identifier" "90 06 0001 02 0B 01 00" fails Error::MisplacedProperty { property: Property::SubscriptionIdentifier, packet: PacketType::SubAck };

    V3_1 "UNSUBSCRIBE" "A2 07 0001 0003 'a/b'" is unsubscribe(&["a/b"]);
    V3_1_1 "UNSUBSCRIBE" "A2 0A 0001 0001 '#' 0003 '+/b'" is unsubscribe(&["#", "+/b"]);
    V5 "UNSUBSCRIBE" "A2 0F 0001 00 000A '$share/g/a'" is unsubscribe(&["$share/g/a"]);
    V3_1 "UNSUBSCRIBE, again" "AA 07 0001 0003 'a/b'" reads unsubscribe(&["a/b"]);
    V5 "UNSUBSCRIBE with a user property" "A2 0D 0001 07 26 0001 'k' 0001 'v' 0001 'a'"
        is Packet::Unsubscribe(Unsubscribe { packet_id: id(1), user_properties: List::from_slice(&[("k", "v")]), filters: names(&["a"]) });
    V5 "UNSUBSCRIBE without filter" "A2 03 0001 00" fails Error::NoFilters(PacketType::Unsubscribe);
    V3_1_1 "UNSUBSCRIBE without filter" "A2 02 0001" fails Error::NoFilters(PacketType::Unsubscribe);
    V5 "UNSUBSCRIBE with packet identifier 0" "A2 06 0000 00 0001 'a'" fails Error::PacketIdZero;
    V5 "UNSUBSCRIBE with the flags of others" "A0 06 0001 00 0001 'a'" fails Error::ReservedFlags { packet: PacketType::Unsubscribe, flags: 0 };
    V3_1_1 "UNSUBSCRIBE with DUP" "AA 05 0001 0001 'a'" fails Error::ReservedFlags { packet: PacketType::Unsubscribe, flags: 0b1010 };
    V5 "UNSUBSCRIBE with a subscription identifier" "A2 08 0001 02 0B 01 0001 'a'" fails Error::MisplacedProperty { property: Property::SubscriptionIdentifier, packet: PacketType::Unsubscribe };
    V3_1_1 "UNSUBSCRIBE of a bad filter" "A2 06 0001 0002 'a#'" fails Error::Topic { field: Field::TopicFilter, error: TopicError::MisplacedHash };
    V5 "UNSUBSCRIBE that ends in a filter" "A2 06 0001 00 0002 'a'" fails Error::Truncated(Field::TopicFilter);

    V3_1 "UNSUBACK" "B0 02 0001" is unsuback(&[]);
    V3_1_1 "UNSUBACK" "B0 02 0001" is unsuback(&[]);
    V5 "UNSUBACK" "B0 05 0001 00 00 11" is unsuback(&[ReasonCode::Success, ReasonCode::NoSubscriptionExisted]);
    V5 "UNSUBACK with properties" "B0 10 0001 0C 1F 0002 'no' 26 0001 'k' 0001 'v' 87"
        is Packet::UnsubAck(UnsubAck { packet_id: id(1), reason_string: Some("no"), user_properties: List::from_slice(&[("k", "v")]), reasons: List::from_slice(&[ReasonCode::NotAuthorized]) });
    V3_1_1 "UNSUBACK with reasons" "B0 03 0001 00" fails Error::TrailingBytes { packet: PacketType::UnsubAck, count: 1 };
    V5 "UNSUBACK without reasons" "B0 03 0001 00" fails Error::Truncated(Field::ReasonCode);
    V5 "UNSUBACK with a reason of SUBACK" "B0 04 0001 00 01" fails Error::ReasonCode { packet: PacketType::UnsubAck, code: 1 };
    V5 "UNSUBACK with flags" "B1 04 0001 00 00" fails Error::ReservedFlags { packet: PacketType::UnsubAck, flags: 1 };
}

/// Filters with their QoS. Rows live as long as the program, and so may what they are made of.
fn filters(texts: &[(&'static str, u8)]) -> List<'static, SubscribeItem<'static>> {
    let item = |&(text, qos): &(&'static str, u8)| {
        let qos = QoS::from_u8(qos).expect("a row has a QoS that does not exist");
        SubscribeItem {
            filter: filter(text),
            options: SubscriptionOptions { qos, ..SubscriptionOptions::default() },
        }
    };
    List::from_slice(texts.iter().map(item).collect::<Vec<_>>().leak())
}

fn names(texts: &[&'static str]) -> List<'static, crate::TopicFilter<'static>> {
    List::from_slice(texts.iter().map(|text| filter(text)).collect::<Vec<_>>().leak())
}

fn subscribe(texts: &[(&'static str, u8)]) -> Packet<'static> {
    let filters = filters(texts);
    Packet::Subscribe(Subscribe {
        packet_id: id(1),
        subscription_id: None,
        user_properties: List::EMPTY,
        filters,
    })
}

fn with_options(options: SubscriptionOptions) -> Packet<'static> {
    let filters = List::from_slice(vec![SubscribeItem { filter: filter("a/b"), options }].leak());
    Packet::Subscribe(Subscribe {
        packet_id: id(1),
        subscription_id: None,
        user_properties: List::EMPTY,
        filters,
    })
}

fn suback(reasons: &'static [ReasonCode]) -> Packet<'static> {
    Packet::SubAck(SubAck {
        packet_id: id(1),
        reason_string: None,
        user_properties: List::EMPTY,
        reasons: reasons.into(),
    })
}

fn unsubscribe(texts: &[&'static str]) -> Packet<'static> {
    Packet::Unsubscribe(Unsubscribe { packet_id: id(1), user_properties: List::EMPTY, filters: names(texts) })
}

fn unsuback(reasons: &'static [ReasonCode]) -> Packet<'static> {
    Packet::UnsubAck(UnsubAck {
        packet_id: id(1),
        reason_string: None,
        user_properties: List::EMPTY,
        reasons: reasons.into(),
    })
}
