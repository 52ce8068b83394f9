//! Random packets. Their texts and lists are leaked, so that a packet can own nothing and still be a value of a
//! strategy; a test run leaks a few megabytes.

use std::num::{NonZeroU16, NonZeroU32};

use columba_codec::{
    Ack, Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect, List, MessageProperties,
    Packet, PacketId, PacketType, PayloadFormat, Publish, QoS, ReasonCode, RetainHandling, SubAck, Subscribe,
    SubscribeItem, SubscriptionId, SubscriptionOptions, TopicFilter, TopicName, UnsubAck, Unsubscribe,
    UserProperty, Version, Will,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

pub(crate) fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V3_1), Just(Version::V3_1_1), Just(Version::V5)]
}

/// A packet that `version` has and says in full: it comes back as it is.
pub(crate) fn packet(version: Version) -> BoxedStrategy<Packet<'static>> {
    let ack = |packet| ack(packet, version);
    let both = prop_oneof![
        2 => connect(version).prop_map(|packet| Packet::Connect(Box::new(packet))),
        1 => connack(version).prop_map(|packet| Packet::ConnAck(Box::new(packet))),
        4 => publish(version).prop_map(Packet::Publish),
        1 => ack(PacketType::PubAck).prop_map(Packet::PubAck),
        1 => ack(PacketType::PubRec).prop_map(Packet::PubRec),
        1 => ack(PacketType::PubRel).prop_map(Packet::PubRel),
        1 => ack(PacketType::PubComp).prop_map(Packet::PubComp),
        2 => subscribe(version).prop_map(Packet::Subscribe),
        1 => suback(version).prop_map(Packet::SubAck),
        1 => unsubscribe(version).prop_map(Packet::Unsubscribe),
        1 => unsuback(version).prop_map(Packet::UnsubAck),
        1 => prop_oneof![Just(Packet::PingReq), Just(Packet::PingResp)],
        1 => disconnect(version).prop_map(Packet::Disconnect),
    ];
    match version {
        Version::V5 => prop_oneof![14 => both, 1 => auth().prop_map(Packet::Auth)].boxed(),
        _ => both.boxed(),
    }
}

fn connect(version: Version) -> impl Strategy<Value = Connect<'static>> {
    let fields = (any::<bool>(), any::<bool>(), any::<u16>(), text(), option::of(will(version)));
    let secrets = (option::of(text()), option::of(binary()));
    (fields, secrets, connect_properties(version)).prop_map(
        move |((bridge, clean_start, keep_alive, client_id, will), (username, password), properties)| {
            let may = version == Version::V5 || username.is_some();
            let password = password.filter(|_| may);
            Connect {
                version,
                bridge,
                clean_start,
                keep_alive,
                client_id,
                will,
                username,
                password,
                properties,
            }
        },
    )
}

fn connect_properties(version: Version) -> BoxedStrategy<ConnectProperties<'static>> {
    if version < Version::V5 {
        return Just(ConnectProperties::default()).boxed();
    }
    let numbers =
        (any::<Option<u32>>(), option::of(nonzero_u16()), option::of(nonzero_u32()), any::<Option<u16>>());
    let rest = (any::<Option<bool>>(), any::<Option<bool>>(), authentication(), user_properties());
    (numbers, rest)
        .prop_map(|(numbers, (response, problem, (method, data), user_properties))| ConnectProperties {
            session_expiry: numbers.0,
            receive_maximum: numbers.1,
            maximum_packet_size: numbers.2,
            topic_alias_maximum: numbers.3,
            request_response_information: response,
            request_problem_information: problem,
            authentication_method: method,
            authentication_data: data,
            user_properties,
        })
        .boxed()
}

fn will(version: Version) -> impl Strategy<Value = Will<'static>> {
    let v5 = version == Version::V5;
    (topic_name(), binary(), qos(), any::<bool>(), any::<Option<u32>>(), message_properties()).prop_map(
        move |(topic, payload, qos, retain, delay, properties)| Will {
            topic,
            payload,
            qos,
            retain,
            delay: delay.filter(|_| v5),
            properties: if v5 { properties } else { MessageProperties::default() },
        },
    )
}

fn connack(version: Version) -> BoxedStrategy<ConnAck<'static>> {
    if version < Version::V5 {
        let reason = prop_oneof![
            Just(ReasonCode::Success),
            Just(ReasonCode::UnsupportedProtocolVersion),
            Just(ReasonCode::ClientIdentifierNotValid),
            Just(ReasonCode::ServerUnavailable),
            Just(ReasonCode::BadUserNameOrPassword),
            Just(ReasonCode::NotAuthorized),
        ];
        let may = move |reason: ReasonCode| version > Version::V3_1 && !reason.is_error();
        let strategy = (any::<bool>(), reason).prop_map(move |(present, reason)| ConnAck {
            session_present: present && may(reason),
            reason,
            properties: ConnAckProperties::default(),
        });
        return strategy.boxed();
    }
    (any::<bool>(), reason(PacketType::ConnAck), connack_properties())
        .prop_map(|(present, reason, properties)| ConnAck {
            session_present: present && !reason.is_error(),
            reason,
            properties,
        })
        .boxed()
}

fn connack_properties() -> impl Strategy<Value = ConnAckProperties<'static>> {
    let numbers = (
        any::<Option<u32>>(),
        option::of(nonzero_u16()),
        option::of(prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce)]),
        option::of(nonzero_u32()),
        any::<Option<u16>>(),
        any::<Option<u16>>(),
    );
    let flags = any::<[Option<bool>; 4]>();
    let texts = (option::of(text()), option::of(text()), option::of(text()), option::of(text()));
    (numbers, flags, texts, authentication(), user_properties()).prop_map(
        |(numbers, flags, texts, (method, data), user_properties)| ConnAckProperties {
            session_expiry: numbers.0,
            receive_maximum: numbers.1,
            maximum_qos: numbers.2,
            retain_available: flags[0],
            maximum_packet_size: numbers.3,
            assigned_client_id: texts.0,
            topic_alias_maximum: numbers.4,
            reason_string: texts.1,
            wildcard_subscription_available: flags[1],
            subscription_ids_available: flags[2],
            shared_subscription_available: flags[3],
            server_keep_alive: numbers.5,
            response_information: texts.2,
            server_reference: texts.3,
            authentication_method: method,
            authentication_data: data,
            user_properties,
        },
    )
}

pub(crate) fn publish(version: Version) -> impl Strategy<Value = Publish<'static>> {
    let v5 = version == Version::V5;
    let flags = (any::<bool>(), qos(), any::<bool>());
    let names = (option::weighted(0.9, topic_name()), packet_id(), option::of(nonzero_u16()));
    (flags, names, subscription_ids(), message_properties(), binary()).prop_map(
        move |((dup, qos, retain), (topic, id, alias), subscription_ids, properties, payload)| {
            let fallback = || TopicName::parse("fallback").unwrap();
            let named = if v5 && alias.is_some() { topic } else { topic.or_else(|| Some(fallback())) };
            Publish {
                dup: dup && qos > QoS::AtMostOnce,
                qos,
                retain,
                topic: named,
                packet_id: (qos > QoS::AtMostOnce).then_some(id),
                topic_alias: alias.filter(|_| v5),
                subscription_ids: if v5 { subscription_ids } else { List::EMPTY },
                properties: if v5 { properties } else { MessageProperties::default() },
                payload,
            }
        },
    )
}

pub(crate) fn message_properties() -> impl Strategy<Value = MessageProperties<'static>> {
    let format = prop_oneof![Just(PayloadFormat::Bytes), Just(PayloadFormat::Utf8)];
    let response_topic = option::of(topic_name().prop_map(TopicName::as_str));
    let fields = (option::of(format), any::<Option<u32>>(), option::of(text()), response_topic);
    (fields, option::of(binary()), user_properties()).prop_map(
        |(
            (payload_format, message_expiry, content_type, response_topic),
            correlation_data,
            user_properties,
        )| {
            MessageProperties {
                payload_format,
                message_expiry,
                content_type,
                response_topic,
                correlation_data,
                user_properties,
            }
        },
    )
}

fn ack(packet: PacketType, version: Version) -> impl Strategy<Value = Ack<'static>> {
    (packet_id(), reason(packet), option::of(text()), user_properties()).prop_map(
        move |(packet_id, reason, reason_string, user_properties)| match version {
            Version::V5 => Ack { packet_id, reason, reason_string, user_properties },
            _ => Ack::new(packet_id),
        },
    )
}

fn subscribe(version: Version) -> impl Strategy<Value = Subscribe<'static>> {
    let v5 = version == Version::V5;
    let filters = vec(subscribe_item(v5), 1..6).prop_map(list);
    (packet_id(), option::of(subscription_id()), user_properties(), filters).prop_map(
        move |(packet_id, subscription_id, user_properties, filters)| Subscribe {
            packet_id,
            subscription_id: subscription_id.filter(|_| v5),
            user_properties: if v5 { user_properties } else { List::EMPTY },
            filters,
        },
    )
}

fn subscribe_item(v5: bool) -> impl Strategy<Value = SubscribeItem<'static>> {
    let handling = prop_oneof![
        Just(RetainHandling::Send),
        Just(RetainHandling::SendIfNew),
        Just(RetainHandling::DoNotSend)
    ];
    (topic_filter(), qos(), any::<bool>(), any::<bool>(), handling).prop_map(
        move |(filter, qos, no_local, retain_as_published, retain_handling)| {
            let no_local = no_local && filter.share_name().is_none();
            let all = SubscriptionOptions { qos, no_local, retain_as_published, retain_handling };
            let options = if v5 { all } else { SubscriptionOptions { qos, ..Default::default() } };
            SubscribeItem { filter, options }
        },
    )
}

fn suback(version: Version) -> impl Strategy<Value = SubAck<'static>> {
    let simplify = move |reason: ReasonCode| match version {
        Version::V3_1 if reason.is_error() => ReasonCode::GrantedQoS1,
        Version::V3_1_1 if reason.is_error() => ReasonCode::UnspecifiedError,
        _ => reason,
    };
    let reasons = vec(reason(PacketType::SubAck).prop_map(simplify), 1..6).prop_map(list);
    (packet_id(), option::of(text()), user_properties(), reasons).prop_map(
        move |(packet_id, reason_string, user_properties, reasons)| match version {
            Version::V5 => SubAck { packet_id, reason_string, user_properties, reasons },
            _ => SubAck { packet_id, reason_string: None, user_properties: List::EMPTY, reasons },
        },
    )
}

fn unsubscribe(version: Version) -> impl Strategy<Value = Unsubscribe<'static>> {
    (packet_id(), user_properties(), vec(topic_filter(), 1..6).prop_map(list)).prop_map(
        move |(packet_id, user_properties, filters)| {
            let v5 = version == Version::V5;
            let user_properties = if v5 { user_properties } else { List::EMPTY };
            Unsubscribe { packet_id, user_properties, filters }
        },
    )
}

fn unsuback(version: Version) -> impl Strategy<Value = UnsubAck<'static>> {
    let reasons = vec(reason(PacketType::UnsubAck), 1..6).prop_map(list);
    (packet_id(), option::of(text()), user_properties(), reasons).prop_map(
        move |(packet_id, reason_string, user_properties, reasons)| match version {
            Version::V5 => UnsubAck { packet_id, reason_string, user_properties, reasons },
            _ => UnsubAck {
                packet_id,
                reason_string: None,
                user_properties: List::EMPTY,
                reasons: List::EMPTY,
            },
        },
    )
}

fn disconnect(version: Version) -> impl Strategy<Value = Disconnect<'static>> {
    let texts = (option::of(text()), option::of(text()));
    (reason(PacketType::Disconnect), any::<Option<u32>>(), texts, user_properties()).prop_map(
        move |(reason, session_expiry, (server_reference, reason_string), user_properties)| {
            let all = Disconnect { reason, session_expiry, server_reference, reason_string, user_properties };
            if version == Version::V5 { all } else { Disconnect::new(ReasonCode::Success) }
        },
    )
}

fn auth() -> impl Strategy<Value = Auth<'static>> {
    let reason = reason(PacketType::Auth);
    let method = (option::of(text()), option::of(binary()));
    (reason, method, option::of(text()), user_properties()).prop_map(
        |(reason, (method, data), reason_string, user_properties)| Auth {
            reason,
            method,
            data,
            reason_string,
            user_properties,
        },
    )
}

/// A reason code that `packet` may have.
fn reason(packet: PacketType) -> impl Strategy<Value = ReasonCode> {
    let valid = ReasonCode::ALL.iter().copied().filter(|reason| reason.is_valid_in(packet));
    proptest::sample::select(valid.collect::<Vec<_>>())
}

fn authentication() -> impl Strategy<Value = (Option<&'static str>, Option<&'static [u8]>)> {
    option::of((text(), option::of(binary())))
        .prop_map(|both| (both.map(|both| both.0), both.and_then(|both| both.1)))
}

fn user_properties() -> impl Strategy<Value = List<'static, UserProperty<'static>>> {
    vec((text(), text()), 0..4).prop_map(list)
}

pub(crate) fn subscription_ids() -> impl Strategy<Value = List<'static, SubscriptionId>> {
    vec(subscription_id(), 0..4).prop_map(list)
}

fn subscription_id() -> impl Strategy<Value = SubscriptionId> {
    const EDGES: [u32; 8] = [1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455];
    let number = prop_oneof![proptest::sample::select(&EDGES[..]), 1..=268_435_455_u32];
    number.prop_map(|number| SubscriptionId::new(number).unwrap())
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    nonzero_u16()
}

fn nonzero_u16() -> impl Strategy<Value = NonZeroU16> {
    (1..=u16::MAX).prop_map(|number| NonZeroU16::new(number).unwrap())
}

fn nonzero_u32() -> impl Strategy<Value = NonZeroU32> {
    (1..=u32::MAX).prop_map(|number| NonZeroU32::new(number).unwrap())
}

pub(crate) fn qos() -> impl Strategy<Value = QoS> {
    (0..3_u8).prop_map(|number| QoS::from_u8(number).unwrap())
}

pub(crate) fn topic_name() -> impl Strategy<Value = TopicName<'static>> {
    let level = prop_oneof![Just(String::new()), "[a-z$]{1,8}", "[^\0+#/]{0,6}"];
    vec(level, 1..5)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("a topic name is not empty", |name| !name.is_empty())
        .prop_map(|name| TopicName::parse(name.leak()).unwrap())
}

pub(crate) fn topic_filter() -> impl Strategy<Value = TopicFilter<'static>> {
    let level = prop_oneof![Just("+".to_owned()), "[a-z$]{1,8}", "[^\0+#/]{0,6}"];
    let share = option::weighted(0.2, "[^\0+#/]{1,5}");
    (share, vec(level, 1..5), any::<bool>()).prop_filter_map("a filter", |(share, mut levels, hash)| {
        if hash {
            levels.push("#".to_owned());
        }
        let filter = levels.join("/");
        let filter = share.map(|name| format!("$share/{name}/{filter}")).unwrap_or(filter);
        TopicFilter::parse(filter.leak()).ok()
    })
}

fn text() -> impl Strategy<Value = &'static str> {
    let text = prop_oneof![4 => "[ -~]{0,12}", 2 => "[^\0]{0,8}", 1 => "[a-z]{100,300}"];
    text.prop_map(|text: String| &*text.leak())
}

pub(crate) fn binary() -> impl Strategy<Value = &'static [u8]> {
    let bytes = prop_oneof![4 => vec(any::<u8>(), 0..16), 1 => vec(any::<u8>(), 100..300)];
    bytes.prop_map(|bytes| &*bytes.leak())
}

fn list<T>(items: Vec<T>) -> List<'static, T> {
    List::from_slice(items.leak())
}
