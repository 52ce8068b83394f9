//! What cannot be encoded, what is left out for older versions, and what lists and names look like from outside.
#![allow(missing_docs)]

use std::num::NonZeroU16;

use columba_codec::{
    Ack, Auth, ConnAck, ConnAckProperties, Connect, Disconnect, EncodeError, Field, FixedHeader, List,
    MessageProperties, Packet, PacketId, PacketType, Property, Publish, QoS, ReasonCode, SubAck, Subscribe,
    SubscribeItem, SubscriptionId, SubscriptionOptions, TopicError, TopicFilter, TopicName, UnsubAck,
    Unsubscribe, UserProperty, Version, Will,
};

const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];
const ID: PacketId = PacketId::MIN;

fn topic() -> TopicName<'static> {
    TopicName::parse("t").unwrap()
}

/// The error in each of the three versions.
#[track_caller]
fn check(packet: &Packet<'_>, expected: [Option<EncodeError>; 3]) {
    for (version, expected) in VERSIONS.into_iter().zip(expected) {
        let packet = match packet {
            Packet::Connect(connect) => Packet::Connect(Box::new(Connect { version, ..(**connect).clone() })),
            packet => packet.clone(),
        };
        let mut out = vec![1, 2, 3];
        let result = packet.encode(version, &mut out);
        assert_eq!(result.err(), expected, "{version}: {packet:?}");
        assert_eq!(packet.check(version).err(), expected);
        assert_eq!(out.len() == 3, expected.is_some(), "nothing is appended on an error");
        if let Some(error) = expected {
            assert!(!error.to_string().is_empty());
        }
    }
}

#[track_caller]
fn always(packet: &Packet<'_>, error: EncodeError) {
    check(packet, [Some(error); 3]);
}

#[track_caller]
fn in_v5(packet: &Packet<'_>, error: EncodeError) {
    check(packet, [None, None, Some(error)]);
}

#[track_caller]
fn before_v5(packet: &Packet<'_>, error: EncodeError) {
    check(packet, [Some(error), Some(error), None]);
}

fn publish(change: impl FnOnce(&mut Publish<'_>)) -> Packet<'static> {
    let mut publish = Publish::new(topic(), b"p");
    change(&mut publish);
    Packet::Publish(publish)
}

fn connect(change: impl FnOnce(&mut Connect<'static>)) -> Packet<'static> {
    let mut connect = Connect::new(Version::V5, "c");
    change(&mut connect);
    Packet::Connect(Box::new(connect))
}

fn connack(reason: ReasonCode, change: impl FnOnce(&mut ConnAck<'static>)) -> Packet<'static> {
    let properties = ConnAckProperties::default();
    let mut connack = ConnAck { session_present: false, reason, properties };
    change(&mut connack);
    Packet::ConnAck(Box::new(connack))
}

#[test]
fn publish_errors() {
    always(&publish(|publish| publish.packet_id = Some(ID)), EncodeError::PacketId);
    always(&publish(|publish| publish.qos = QoS::AtLeastOnce), EncodeError::PacketId);
    always(&publish(|publish| publish.dup = true), EncodeError::DupAtQoS0);
    always(&publish(|publish| publish.topic = None), EncodeError::TopicMissing);
    let alias_alone = publish(|publish| {
        publish.topic = None;
        publish.topic_alias = NonZeroU16::new(1);
    });
    before_v5(&alias_alone, EncodeError::TopicMissing);
    let field = Field::Property(Property::ResponseTopic);
    for (text, error) in [("", TopicError::Empty), ("a/+", TopicError::WildcardInName)] {
        let packet = publish(|publish| publish.properties.response_topic = Some(text));
        in_v5(&packet, EncodeError::Topic { field, error });
    }
    let packet = publish(|publish| publish.properties.content_type = Some("\0"));
    in_v5(&packet, EncodeError::NullCharacter(Field::Property(Property::ContentType)));
}

#[test]
fn connect_errors() {
    always(&connect(|connect| connect.client_id = "\0"), EncodeError::NullCharacter(Field::ClientId));
    always(&connect(|connect| connect.username = Some("a\0")), EncodeError::NullCharacter(Field::Username));
    let alone = connect(|connect| connect.password = Some(b"p"));
    before_v5(&alone, EncodeError::PasswordWithoutUsername);
    let data = connect(|connect| connect.properties.authentication_data = Some(b"d"));
    in_v5(&data, EncodeError::AuthenticationDataWithoutMethod);
    let long: &'static [u8] = vec![0; 65_536].leak();
    let password = connect(|connect| {
        connect.username = Some("u");
        connect.password = Some(long);
    });
    always(&password, EncodeError::TooLong(Field::Password));
    let will = |payload, properties| Will {
        topic: topic(),
        payload,
        qos: QoS::AtMostOnce,
        retain: false,
        delay: None,
        properties,
    };
    let packet = connect(|connect| connect.will = Some(will(long, MessageProperties::default())));
    always(&packet, EncodeError::TooLong(Field::WillPayload));
    let user_properties = List::from_slice(&[("a", "b"), ("a\0", "b")]);
    let properties = MessageProperties { user_properties, ..MessageProperties::default() };
    let packet = connect(|connect| connect.will = Some(will(b"", properties)));
    in_v5(&packet, EncodeError::NullCharacter(Field::Property(Property::UserProperty)));
}

#[test]
fn connack_errors() {
    let packet = PacketType::ConnAck;
    let reason = ReasonCode::GrantedQoS1;
    always(&connack(reason, |_| ()), EncodeError::ReasonCode { packet, reason });
    // An error of another packet still has a return code before 5.0.
    let reason = ReasonCode::KeepAliveTimeout;
    in_v5(&connack(reason, |_| ()), EncodeError::ReasonCode { packet, reason });
    always(
        &connack(ReasonCode::NotAuthorized, |connack| connack.session_present = true),
        EncodeError::SessionPresentWithError,
    );
    let maximum = Some(QoS::ExactlyOnce);
    let packet = connack(ReasonCode::Success, |connack| connack.properties.maximum_qos = maximum);
    in_v5(&packet, EncodeError::MaximumQoS);
    let data = Some(&b"d"[..]);
    let packet = connack(ReasonCode::Success, |connack| connack.properties.authentication_data = data);
    in_v5(&packet, EncodeError::AuthenticationDataWithoutMethod);
}

#[test]
fn reasons_that_a_packet_cannot_have() {
    let reason = ReasonCode::TopicAliasInvalid;
    let ack = Ack { reason, ..Ack::new(ID) };
    for (packet, packet_type) in [
        (Packet::PubAck(ack.clone()), PacketType::PubAck),
        (Packet::PubRec(ack.clone()), PacketType::PubRec),
        (Packet::PubRel(ack.clone()), PacketType::PubRel),
        (Packet::PubComp(ack), PacketType::PubComp),
    ] {
        in_v5(&packet, EncodeError::ReasonCode { packet: packet_type, reason });
    }
    let reason = ReasonCode::ServerUnavailable;
    let packet = PacketType::Disconnect;
    in_v5(&Packet::Disconnect(Disconnect::new(reason)), EncodeError::ReasonCode { packet, reason });
    let suback = |reasons| {
        let user_properties = List::EMPTY;
        Packet::SubAck(SubAck { packet_id: ID, reason_string: None, user_properties, reasons })
    };
    always(&suback(List::EMPTY), EncodeError::NoReasons(PacketType::SubAck));
    let reason = ReasonCode::NotAuthorized;
    let packet = PacketType::SubAck;
    // 3.1 has no word for a failure, 3.1.1 has one.
    let failure = suback(List::from_slice(&[ReasonCode::Success, ReasonCode::NotAuthorized]));
    check(&failure, [Some(EncodeError::ReasonCode { packet, reason }), None, None]);
    let unsuback = |reasons| {
        let user_properties = List::EMPTY;
        Packet::UnsubAck(UnsubAck { packet_id: ID, reason_string: None, user_properties, reasons })
    };
    in_v5(&unsuback(List::EMPTY), EncodeError::NoReasons(PacketType::UnsubAck));
    let reason = ReasonCode::GrantedQoS1;
    in_v5(
        &unsuback(List::from_slice(&[ReasonCode::GrantedQoS1])),
        EncodeError::ReasonCode { packet: PacketType::UnsubAck, reason },
    );
}

#[test]
fn subscribe_errors() {
    let subscribe = |filters| {
        let (subscription_id, user_properties) = (None, List::EMPTY);
        Packet::Subscribe(Subscribe { packet_id: ID, subscription_id, user_properties, filters })
    };
    always(&subscribe(List::EMPTY), EncodeError::NoFilters(PacketType::Subscribe));
    let filter = TopicFilter::parse("$share/g/t").unwrap();
    let options = SubscriptionOptions { no_local: true, ..SubscriptionOptions::default() };
    let items = [SubscribeItem { filter, options }];
    in_v5(&subscribe((&items).into()), EncodeError::NoLocalOnShared);
    let filters = List::EMPTY;
    let unsubscribe = Unsubscribe { packet_id: ID, user_properties: List::EMPTY, filters };
    always(&Packet::Unsubscribe(unsubscribe), EncodeError::NoFilters(PacketType::Unsubscribe));
}

#[test]
fn auth_errors() {
    let packet = PacketType::Auth;
    let auth = |reason| {
        let user_properties = List::EMPTY;
        Packet::Auth(Auth { reason, method: None, data: None, reason_string: None, user_properties })
    };
    for version in [Version::V3_1, Version::V3_1_1] {
        let result = auth(ReasonCode::Success).encode(version, &mut Vec::new());
        assert_eq!(result, Err(EncodeError::NotInVersion { packet, version }));
    }
    let reason = ReasonCode::NotAuthorized;
    let result = auth(reason).encode(Version::V5, &mut Vec::new());
    assert_eq!(result, Err(EncodeError::ReasonCode { packet, reason }));
}

#[test]
fn older_versions_are_sent_what_they_know() {
    let encode = |packet: &Packet<'_>, version| {
        let mut out = Vec::new();
        packet.encode(version, &mut out).unwrap();
        assert_eq!(out.len(), packet.encoded_len(version));
        out
    };
    // Never Session Present to 3.1.
    let packet = connack(ReasonCode::Success, |connack| connack.session_present = true);
    assert_eq!(encode(&packet, Version::V3_1), [0x20, 2, 0, 0]);
    assert_eq!(encode(&packet, Version::V3_1_1), [0x20, 2, 1, 0]);
    // The nearest return code.
    for (reason, code) in [
        (ReasonCode::UnsupportedProtocolVersion, 1),
        (ReasonCode::ClientIdentifierNotValid, 2),
        (ReasonCode::ServerUnavailable, 3),
        (ReasonCode::ServerBusy, 3),
        (ReasonCode::QuotaExceeded, 3),
        (ReasonCode::ConnectionRateExceeded, 3),
        (ReasonCode::UnspecifiedError, 3),
        (ReasonCode::BadUserNameOrPassword, 4),
        (ReasonCode::NotAuthorized, 5),
        (ReasonCode::Banned, 5),
    ] {
        assert_eq!(encode(&connack(reason, |_| ()), Version::V3_1_1), [0x20, 2, 0, code]);
    }
    let disconnect = Packet::Disconnect(Disconnect::new(ReasonCode::ServerShuttingDown));
    assert_eq!(encode(&disconnect, Version::V3_1_1), [0xE0, 0]);
    assert_eq!(encode(&disconnect, Version::V5), [0xE0, 1, 0x8B]);
    let reason = ReasonCode::QuotaExceeded;
    let ack = Packet::PubRec(Ack { reason, reason_string: Some("full"), ..Ack::new(ID) });
    assert_eq!(encode(&ack, Version::V3_1), [0x50, 2, 0, 1]);
    let reasons = List::from_slice(&[ReasonCode::GrantedQoS2, ReasonCode::TopicFilterInvalid]);
    let user_properties = List::EMPTY;
    let suback = Packet::SubAck(SubAck { packet_id: ID, reason_string: None, user_properties, reasons });
    assert_eq!(encode(&suback, Version::V3_1_1), [0x90, 4, 0, 1, 2, 0x80]);
}

#[test]
fn lists_read_the_same_from_either_side() {
    const USER: [UserProperty<'static>; 2] = [("b", "1"), ("a", "")];
    let ids = [SubscriptionId::new(1).unwrap(), SubscriptionId::MAX];
    let mut publish = Publish::new(topic(), b"");
    publish.subscription_ids = (&ids).into();
    publish.properties.user_properties = (&USER).into();
    publish.properties.message_expiry = Some(1);
    let mut bytes = Vec::new();
    publish.encode(Version::V5, &mut bytes).unwrap();
    let header = FixedHeader::read(&bytes, usize::MAX).unwrap().unwrap();
    let decoded = Publish::decode(header.flags, &bytes[header.len..], Version::V5).unwrap();
    let list = decoded.properties.user_properties;
    assert_eq!((list.len(), list.is_empty()), (2, false));
    assert_eq!(list, List::from(&USER[..]));
    assert_ne!(list, List::EMPTY);
    assert_eq!(list.into_iter().collect::<Vec<_>>(), USER);
    assert_eq!(format!("{list:?}"), r#"[("b", "1"), ("a", "")]"#);
    let mut names = Vec::new();
    for (name, _) in &list {
        names.push(name);
    }
    assert_eq!(names, ["b", "a"]);
    assert!(decoded.subscription_ids.iter().eq(ids));
    assert!(List::<UserProperty<'_>>::default().is_empty());
}

#[test]
fn reason_codes_have_names_and_numbers() {
    for code in 0..=255 {
        if let Some(reason) = ReasonCode::from_u8(code) {
            assert_eq!(reason.code(), code);
            assert_eq!(reason.is_error(), code >= 0x80);
            assert_eq!(reason.to_string(), reason.name());
        }
    }
    assert_eq!(ReasonCode::ALL.len(), 43);
    assert_eq!(ReasonCode::QuotaExceeded.name(), "Quota exceeded");
    assert!(!ReasonCode::Success.is_valid_in(PacketType::Publish));
}

/// Table 7 of the reference, by how many codes each packet has.
#[test]
fn reason_codes_of_each_packet() {
    let count = |packet| ReasonCode::ALL.iter().filter(|reason| reason.is_valid_in(packet)).count();
    for (packet, expected) in [
        (PacketType::ConnAck, 22),
        (PacketType::PubAck, 9),
        (PacketType::PubRec, 9),
        (PacketType::PubRel, 2),
        (PacketType::PubComp, 2),
        (PacketType::SubAck, 12),
        (PacketType::UnsubAck, 7),
        // 29 in section 3.14, and 0x8C.
        (PacketType::Disconnect, 30),
        (PacketType::Auth, 3),
        (PacketType::Connect, 0),
        (PacketType::PingReq, 0),
    ] {
        assert_eq!(count(packet), expected, "{packet}");
    }
}

#[test]
fn packet_types_have_names_and_numbers() {
    for number in 0..=255 {
        let packet = PacketType::from_u8(number);
        assert_eq!(packet.map(|packet| packet as u8), (1..=15).contains(&number).then_some(number));
    }
    assert_eq!(PacketType::SubAck.to_string(), "SUBACK");
}
