//! CONNACK: when it comes, what it says, and that it is true.

use std::num::NonZeroU16;

use columba_testkit::codec::{ConnAckProperties, Will};
use columba_testkit::columba::{AuthRequest, QoS, Verdict};
use columba_testkit::{Client, ReasonCode, level, persistent, will};

use crate::answers::{MALFORMED, announced, is_present, message, refused, sent_away_with};
use crate::raw::{self, RawConnect};
use crate::stage::{Group, Stage, V3_1_1, V5, not_run, tests};

pub(crate) const TESTS: &[Group] = &[
    tests!(ALL =>
        connack_is_the_first_packet,
        an_accepted_connect_is_answered_with_code_0,
        a_connection_gets_one_connack,
    ),
    tests!(NUMBERED =>
        the_reserved_flags_of_connack_are_zero,
        a_refusal_claims_no_session,
    ),
    tests!(ALL => who_is_not_authenticated_is_refused, a_refusal_by_the_owner_claims_no_session)
        .asking(password),
    tests!(ONLY_5 =>
        a_refusal_has_a_reason_code_of_connack,
        authenticating_again_brings_no_second_connack,
    )
    .asking(by_number),
    tests!(OLD => a_refusal_has_a_return_code_of_connack).asking(by_number),
    tests!(ONLY_5 => a_topic_alias_above_the_announced_maximum_closes_the_connection),
    tests!(ONLY_5, |config| config.limits.topic_aliases_in = 3 =>
        topic_aliases_up_to_the_announced_maximum_are_taken,
    ),
    tests!(ONLY_5, |config| config.limits.topic_aliases_in = 0 =>
        where_no_topic_aliases_are_announced_any_closes_the_connection,
    ),
    tests!(ONLY_5, |config| config.maximum_qos = QoS::AtLeastOnce => maximum_qos_1_is_announced_and_held),
    tests!(ONLY_5, |config| config.maximum_qos = QoS::AtMostOnce =>
        maximum_qos_0_is_announced_and_held,
        subscriptions_may_ask_for_more_than_the_maximum_qos,
    ),
    tests!(ALL, |config| config.maximum_qos = QoS::AtLeastOnce => a_will_above_the_maximum_qos_is_refused),
    tests!(ALL, |config| config.retain_available = false =>
        a_retained_will_is_refused_where_retained_messages_are_not_available,
    ),
    tests!(ONLY_5, |config| config.retain_available = false =>
        a_retained_publish_closes_the_connection_where_retained_messages_are_not_available,
    ),
    tests!(ONLY_5, |config| config.limits.packet_size = 100 =>
        a_packet_larger_than_the_announced_maximum_closes_the_connection,
    ),
];

/// Even where messages are waiting. [MQTT-3.2.0-1] [MQTT-3.2.0-1 of 3.1.1]
fn connack_is_the_first_packet(stage: &Stage) {
    stage.connect("a", |_| ()).disconnect();
    let client = stage.connect("a", persistent);
    client.subscribe("connack/first", 1);
    client.drop_link();
    stage.connect("b", |_| ()).publish("connack/first", 1, "x");
    let client = stage.open("a");
    client.connect(&stage.id("a"), persistent);
    client.accepted();
    message(&client, "connack/first=x");
}

/// [MQTT-3.1.4-5] [MQTT-3.1.4-4 of 3.1.1]
fn an_accepted_connect_is_answered_with_code_0(stage: &Stage) {
    let client = stage.open("a");
    let id = stage.id("a");
    client.send_bytes(&RawConnect::new(stage.version, 0, &[id.as_bytes()]).bytes());
    let connack = client.next();
    if stage.version == V5 {
        assert_eq!(connack.bytes()[2..4], [0, 0]);
    } else {
        assert_eq!(connack.bytes(), [0x20, 2, 0, 0]);
    }
    client.ping();
}

/// Neither in the course of things nor for a second CONNECT. [MQTT-3.2.0-2]
fn a_connection_gets_one_connack(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    client.subscribe("connack/one", 1);
    client.publish("connack/one", 1, "x");
    message(&client, "connack/one=x");
    client.expect_nothing();
    client.connect(&stage.id("a"), |_| ());
    sent_away_with(&client, MALFORMED);
}

/// [MQTT-3.2.2-1]
fn the_reserved_flags_of_connack_are_zero(stage: &Stage) {
    stage.connect("a", |_| ()).disconnect();
    for flags in [0, 1] {
        let client = stage.try_connect("a", persistent);
        assert_eq!(client.accepted().bytes()[2], flags);
        client.drop_link();
    }
}

/// An unknown protocol level, with the identifier of a session. [MQTT-3.2.2-6] [MQTT-3.2.2-4 of 3.1.1]
/// [MQTT-3.2.2-7] [MQTT-3.2.2-5 of 3.1.1]
fn a_refusal_claims_no_session(stage: &Stage) {
    stage.connect("a", persistent).drop_link();
    let id = stage.id("a");
    let mut connect = RawConnect { level: 6, ..RawConnect::new(stage.version, 0, &[id.as_bytes()]) };
    connect.flags = 0;
    let client = stage.open_as(V3_1_1, "a");
    client.send_bytes(&connect.bytes());
    // It says no, if anything, and closes the connection.
    let answer = client.bytes_until_closed();
    assert!(answer.is_empty() || matches!(answer[..], [0x20, _, 0, code, ..] if code > 0), "{answer:02x?}");
}

/// Who says the password may come in.
fn password(request: &AuthRequest) -> Verdict {
    if request.username.as_deref() == Some("user") && request.password.as_deref() == Some(b"password") {
        Verdict::accept()
    } else {
        Verdict::reject(ReasonCode::BadUserNameOrPassword)
    }
}

/// [MQTT-3.1.4-2] [MQTT-3.2.2-7] [MQTT-3.2.2-5 of 3.1.1] [MQTT-3.1.3-1] [MQTT-3.1.3-1 of 3.1.1]
fn who_is_not_authenticated_is_refused(stage: &Stage) {
    let connect = |username, password| {
        stage.try_connect("a", |connect| {
            connect.username = username;
            connect.password = password;
        })
    };
    let codes: &[u8] = if stage.is_v5() { &[0x86, 0x87] } else { &[4, 5] };
    refused(&connect(None, None), codes);
    refused(&connect(Some("user"), None), codes);
    refused(&connect(Some("password"), Some(b"user")), codes);
    let client = connect(Some("user"), Some(b"password"));
    client.accepted();
    client.ping();
}

/// [MQTT-3.2.2-6] [MQTT-3.2.2-4 of 3.1.1] [MQTT-3.2.2-7] [MQTT-3.2.2-5 of 3.1.1]
fn a_refusal_by_the_owner_claims_no_session(stage: &Stage) {
    let connect = |password: &'static [u8]| {
        stage.try_connect("a", move |connect| {
            persistent(connect);
            connect.username = Some("user");
            connect.password = Some(password);
        })
    };
    let client = connect(b"password");
    client.accepted();
    client.drop_link();
    refused(&connect(b"wrong"), if stage.is_v5() { &[0x86, 0x87] } else { &[4, 5] });
    let resumed = connect(b"password").accepted();
    assert!(is_present(&resumed) || stage.version < V3_1_1, "the session is still there");
}

/// Refuses with the reason code that the user name is the number of.
fn by_number(request: &AuthRequest) -> Verdict {
    let number = request.username.as_deref().and_then(|name| name.parse().ok());
    match number.and_then(ReasonCode::from_u8) {
        Some(reason) => Verdict::reject(reason),
        None => Verdict::accept(),
    }
}

/// Whatever its owner says. [MQTT-3.2.2-8]
fn a_refusal_has_a_reason_code_of_connack(stage: &Stage) {
    let codes = [
        0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a,
        0x9b, 0x9c, 0x9d, 0x9f,
    ];
    for code in (0..=255u8).filter(|&code| ReasonCode::from_u8(code).is_some()) {
        refused(&numbered(stage, code), &codes);
    }
}

/// [MQTT-3.2.2-6 of 3.1.1]
fn a_refusal_has_a_return_code_of_connack(stage: &Stage) {
    for code in (0..=255u8).filter(|&code| ReasonCode::from_u8(code).is_some()) {
        refused(&numbered(stage, code), &[1, 2, 3, 4, 5]);
    }
}

/// A client that is to be refused with this reason code.
fn numbered(stage: &Stage, code: u8) -> Client {
    let client = stage.open("a");
    let (id, name) = (stage.id("a"), code.to_string());
    let fields = [id.as_bytes(), name.as_bytes()];
    client.send_bytes(&RawConnect::new(stage.version, raw::USER_NAME, &fields).bytes());
    client
}

/// [MQTT-3.2.0-2]
fn authenticating_again_brings_no_second_connack(stage: &Stage) {
    let client = stage.connect("a", |connect| connect.properties.authentication_method = Some("m"));
    client.auth(ReasonCode::ReAuthenticate, Some("m"), None);
    client.expect("AUTH 00 m");
    client.expect_nothing();
}

/// [MQTT-3.2.2-17] [MQTT-3.2.2-18]
fn a_topic_alias_above_the_announced_maximum_closes_the_connection(stage: &Stage) {
    let (client, is) = accepted(stage);
    match is.checked_add(1) {
        Some(beyond) => alias_is_refused(&client, beyond),
        None => not_run("the broker takes every topic alias"),
    }
}

/// [MQTT-3.2.2-17]
fn topic_aliases_up_to_the_announced_maximum_are_taken(stage: &Stage) {
    let (client, maximum) = accepted(stage);
    assert_eq!(maximum, 3);
    client.subscribe("connack/alias", 0);
    client.start("connack/alias", 0, "x", |publish| publish.topic_alias = NonZeroU16::new(3));
    message(&client, "connack/alias=x");
    alias_is_refused(&client, 4);
}

/// [MQTT-3.2.2-18]
fn where_no_topic_aliases_are_announced_any_closes_the_connection(stage: &Stage) {
    let (client, maximum) = accepted(stage);
    assert_eq!(maximum, 0);
    alias_is_refused(&client, 1);
}

/// A client, and the highest topic alias it may use.
#[track_caller]
fn accepted(stage: &Stage) -> (Client, u16) {
    let client = stage.try_connect("a", |_| ());
    let connack = client.accepted();
    let maximum = announced(&client, &connack).topic_alias_maximum.unwrap_or(0);
    (client, maximum)
}

#[track_caller]
fn alias_is_refused(client: &Client, alias: u16) {
    let property = [&[0x23][..], &alias.to_be_bytes()].concat();
    client.send_bytes(&raw::publish_with(V5, 0, b"connack/alias/beyond", None, &property, b"x"));
    sent_away_with(client, &[0x94, 0x80, 0x81, 0x82]);
}

/// [MQTT-3.2.2-9] [MQTT-3.2.2-11]
fn maximum_qos_1_is_announced_and_held(stage: &Stage) {
    announces(stage, |is| is.maximum_qos == Some(QoS::AtLeastOnce));
    stage.connect("a", |_| ()).publish("connack/qos", 1, "x");
    publish_is_refused(stage, 2);
}

/// [MQTT-3.2.2-9] [MQTT-3.2.2-11]
fn maximum_qos_0_is_announced_and_held(stage: &Stage) {
    announces(stage, |is| is.maximum_qos == Some(QoS::AtMostOnce));
    publish_is_refused(stage, 1);
    publish_is_refused(stage, 2);
}

/// What they are granted is up to the broker. [MQTT-3.2.2-10]
fn subscriptions_may_ask_for_more_than_the_maximum_qos(stage: &Stage) {
    let client = stage.connect("a", |_| ());
    for qos in 0..3 {
        let options = columba_testkit::columba::SubscriptionOptions { qos: level(qos), ..Default::default() };
        let granted = client.ask(&[("connack/asked", options)], None);
        assert!(granted.len() == 1 && granted[0] <= qos, "{granted:02x?} for {qos}");
    }
    client.publish("connack/asked", 0, "x");
    message(&client, "connack/asked=x");
}

#[track_caller]
fn publish_is_refused(stage: &Stage, qos: u8) {
    let client = stage.connect("breaker", |_| ());
    client.start("connack/qos", qos, "x", |_| ());
    sent_away_with(&client, &[0x9b, 0x80, 0x82]);
}

/// [MQTT-3.2.2-12]
fn a_will_above_the_maximum_qos_is_refused(stage: &Stage) {
    let connect = |qos| {
        stage.try_connect("a", |connect| {
            connect.will = Some(Will { qos: level(qos), ..will("connack/will", "x") });
        })
    };
    refused(&connect(2), if stage.is_v5() { &[0x9b, 0x80, 0x82, 0x83] } else { &[3, 5] });
    connect(1).accepted();
}

/// [MQTT-3.2.2-13]
fn a_retained_will_is_refused_where_retained_messages_are_not_available(stage: &Stage) {
    let connect = |retain| {
        stage.try_connect("a", |connect| {
            connect.will = Some(Will { retain, ..will("connack/will", "x") });
        })
    };
    refused(&connect(true), if stage.is_v5() { &[0x9a, 0x80, 0x82, 0x83] } else { &[3, 5] });
    connect(false).accepted();
}

/// [MQTT-3.2.2-14]
fn a_retained_publish_closes_the_connection_where_retained_messages_are_not_available(stage: &Stage) {
    announces(stage, |is| is.retain_available == Some(false));
    let client = stage.connect("a", |_| ());
    client.start("connack/retain", 0, "x", |publish| publish.retain = true);
    sent_away_with(&client, &[0x9a, 0x80, 0x82]);
}

/// [MQTT-3.2.2-15]
fn a_packet_larger_than_the_announced_maximum_closes_the_connection(stage: &Stage) {
    announces(stage, |is| is.maximum_packet_size.is_some_and(|size| size.get() == 100));
    let client = stage.connect("a", |_| ());
    client.subscribe("connack/size", 0);
    // The fixed header has two bytes, the topic's and the properties' lengths three.
    let fits = vec![b'x'; 95 - "connack/size".len()];
    client.publish("connack/size", 0, &fits);
    assert_eq!(client.next().bytes().len(), 100);
    client.publish("connack/size", 0, [&fits[..], b"x"].concat());
    sent_away_with(&client, &[0x95, 0x80, 0x81, 0x82]);
}

#[track_caller]
fn announces(stage: &Stage, check: impl FnOnce(&ConnAckProperties<'_>) -> bool) {
    let client = stage.try_connect("a", |_| ());
    let connack = client.accepted();
    let properties = announced(&client, &connack);
    assert!(check(&properties), "{properties:?}");
}
