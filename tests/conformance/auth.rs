//! AUTH and enhanced authentication. The broker's method is that of [`authenticator`](crate::authenticator).

use std::num::NonZeroU32;

use columba_testkit::codec::Packet;
use columba_testkit::{Client, ReasonCode};

use crate::authenticator::{self, ANSWER, ASK_AGAIN, METHOD, QUESTION, REFUSE, WELCOME};
use crate::stage::{Group, Stage, tests};
use crate::steps::{EITHER_ERROR, MALFORMED, ends, is_refused};

pub(crate) const TESTS: &[Group] = &[
    tests!(ONLY_5 =>
        a_method_the_broker_does_not_have_is_refused,
        without_a_method_connack_names_none,
        auth_without_a_method_ends_the_connection,
    ),
    tests!(ONLY_5 =>
        another_method_than_the_brokers_is_refused,
        the_broker_asks_for_more_with_continue_authentication,
        the_right_answer_lets_the_client_in,
        authentication_may_take_several_rounds,
        auth_and_connack_name_the_method_of_connect,
        a_client_without_a_method_gets_no_auth,
        auth_from_a_client_without_a_method_ends_the_connection,
        a_client_continues_with_continue_authentication_only,
        a_client_continues_with_its_method_only,
        authentication_that_fails_at_once_ends_the_connection,
        authentication_that_fails_later_ends_the_connection,
        auth_with_header_flags_ends_the_connection,
        auth_with_an_unknown_code_ends_the_connection,
        auth_fits_the_maximum_packet_size,
        a_client_may_authenticate_again,
        authenticating_again_takes_the_method_of_the_connection,
        failing_to_authenticate_again_at_once_ends_the_connection,
        failing_to_authenticate_again_later_ends_the_connection,
        messages_go_on_while_a_client_authenticates_again,
    )
    .asking(authenticator::verdict),
];

/// What CONNACK may say to a client whose authentication fails.
const NOT_AUTHENTICATED: &[u8] = &[0x80, 0x86, 0x87, 0x8c];
/// The same for one that breaks the rules of it.
const OUT_OF_TURN: &[u8] = &[0x80, 0x81, 0x82, 0x87, 0x8c];

fn start(stage: &Stage, method: &'static str, data: Option<&'static [u8]>) -> Client {
    stage.try_connect("authentic", |connect| {
        connect.properties.authentication_method = Some(method);
        connect.properties.authentication_data = data;
    })
}

/// A client that the broker has asked its question.
#[track_caller]
fn asked(stage: &Stage) -> Client {
    let client = start(stage, METHOD, None);
    client.expect(&format!("AUTH 18 {METHOD} {QUESTION}"));
    client
}

/// A client that is let in.
#[track_caller]
fn authenticated(stage: &Stage) -> Client {
    let client = asked(stage);
    client.auth(ReasonCode::ContinueAuthentication, Some(METHOD), Some(ANSWER));
    client.accepted();
    client
}

/// Any broker; this one knows no method at all. [MQTT-4.12.0-1]
fn a_method_the_broker_does_not_have_is_refused(stage: &Stage) {
    is_refused(&start(stage, "columba-has-no-such-method", None), &[0x80, 0x87, 0x8c]);
    is_refused(&start(stage, "columba-has-no-such-method", Some(b"data")), &[0x80, 0x87, 0x8c]);
}

/// [MQTT-4.12.0-6]
fn without_a_method_connack_names_none(stage: &Stage) {
    let client = stage.try_connect("plain", |_| ());
    let connack = client.accepted();
    client.check(method_of(&connack.packet()).is_none(), || format!("{:02x?}", connack.bytes()));
    client.expect_nothing();
}

/// [MQTT-4.12.0-7] [MQTT-4.13.1-1]
fn auth_without_a_method_ends_the_connection(stage: &Stage) {
    for reason in [ReasonCode::ContinueAuthentication, ReasonCode::ReAuthenticate, ReasonCode::Success] {
        let client = stage.connect("plain", |_| ());
        client.auth(reason, Some(METHOD), Some(ANSWER));
        ends(&client, &[0x80, 0x82, 0x8c]);
    }
}

/// [MQTT-4.12.0-1]
fn another_method_than_the_brokers_is_refused(stage: &Stage) {
    // Names are compared as they are.
    for method in ["TEST", "test ", "tes", "other"] {
        is_refused(&start(stage, method, Some(ANSWER)), &[0x80, 0x87, 0x8c]);
    }
}

/// [MQTT-4.12.0-2] [MQTT-3.15.2-1]
fn the_broker_asks_for_more_with_continue_authentication(stage: &Stage) {
    let client = start(stage, METHOD, None);
    let received = client.next();
    let fine =
        matches!(received.packet(), Packet::Auth(auth) if auth.reason == ReasonCode::ContinueAuthentication);
    client.check(fine, || received.text().to_owned());
    // It waits for the answer and says nothing meanwhile.
    client.expect_nothing();
    client.expect_open();
}

/// [MQTT-4.12.0-3] [MQTT-4.12.0-5]
fn the_right_answer_lets_the_client_in(stage: &Stage) {
    let client = asked(stage);
    client.auth(ReasonCode::ContinueAuthentication, Some(METHOD), Some(ANSWER));
    let connack = client.accepted();
    match connack.packet() {
        Packet::ConnAck(ack) => {
            let data = ack.properties.authentication_data;
            client.check(data == Some(WELCOME.as_bytes()), || format!("{data:02x?}"));
        }
        _ => client.fail(connack.text()),
    }
    client.ping();
}

/// [MQTT-4.12.0-2] [MQTT-4.12.0-3]
fn authentication_may_take_several_rounds(stage: &Stage) {
    let client = asked(stage);
    for _ in 0..3 {
        client.auth(ReasonCode::ContinueAuthentication, Some(METHOD), Some(ASK_AGAIN));
        client.expect_all(&[format!("AUTH 18 {METHOD} {QUESTION}")]);
    }
    client.auth(ReasonCode::ContinueAuthentication, Some(METHOD), Some(ANSWER));
    client.accepted();
    client.ping();
}

/// [MQTT-4.12.0-5]
fn auth_and_connack_name_the_method_of_connect(stage: &Stage) {
    let client = start(stage, METHOD, None);
    let question = client.next();
    client.check(method_of(&question.packet()) == Some(METHOD), || question.text().to_owned());
    client.auth(ReasonCode::ContinueAuthentication, Some(METHOD), Some(ANSWER));
    let connack = client.accepted();
    client.check(method_of(&connack.packet()) == Some(METHOD), || format!("{:02x?}", connack.bytes()));
    client.auth(ReasonCode::ReAuthenticate, Some(METHOD), None);
    let question = client.next();
    client.check(method_of(&question.packet()) == Some(METHOD), || question.text().to_owned());
    client.auth(ReasonCode::ContinueAuthentication, Some(METHOD), Some(ANSWER));
    let last = client.next();
    client.check(method_of(&last.packet()) == Some(METHOD), || last.text().to_owned());
}

/// Even though the broker has one. [MQTT-4.12.0-6]
fn a_client_without_a_method_gets_no_auth(stage: &Stage) {
    without_a_method_connack_names_none(stage);
    let client = stage.try_connect("plain", |connect| {
        connect.username = Some("user");
        connect.password = Some(b"secret");
    });
    let connack = client.accepted();
    client.check(method_of(&connack.packet()).is_none(), || format!("{:02x?}", connack.bytes()));
    client.expect_nothing();
}

/// [MQTT-4.12.0-7] [MQTT-4.13.1-1]
fn auth_from_a_client_without_a_method_ends_the_connection(stage: &Stage) {
    auth_without_a_method_ends_the_connection(stage);
}

/// [MQTT-4.12.0-3]
fn a_client_continues_with_continue_authentication_only(stage: &Stage) {
    for reason in [ReasonCode::Success, ReasonCode::ReAuthenticate] {
        let client = asked(stage);
        client.auth(reason, Some(METHOD), Some(ANSWER));
        is_refused(&client, OUT_OF_TURN);
    }
}

/// [MQTT-4.12.0-5]
fn a_client_continues_with_its_method_only(stage: &Stage) {
    for method in [Some("other"), None] {
        let client = asked(stage);
        client.auth(ReasonCode::ContinueAuthentication, method, Some(ANSWER));
        is_refused(&client, OUT_OF_TURN);
    }
}

/// [MQTT-4.12.0-4]
fn authentication_that_fails_at_once_ends_the_connection(stage: &Stage) {
    is_refused(&start(stage, METHOD, Some(REFUSE)), NOT_AUTHENTICATED);
}

/// [MQTT-4.12.0-4]
fn authentication_that_fails_later_ends_the_connection(stage: &Stage) {
    for rounds in 0..3 {
        let client = asked(stage);
        for _ in 0..rounds {
            client.auth(ReasonCode::ContinueAuthentication, Some(METHOD), Some(ASK_AGAIN));
            client.expect(&format!("AUTH 18 {METHOD} {QUESTION}"));
        }
        client.auth(ReasonCode::ContinueAuthentication, Some(METHOD), Some(b"wrong"));
        is_refused(&client, NOT_AUTHENTICATED);
    }
}

/// AUTH with this first byte and reason code, the method and the right answer.
fn raw_auth(first: u8, code: u8) -> Vec<u8> {
    [&[first, 18, code, 16], &b"\x15\x00\x04test\x16\x00\x06answer"[..]].concat()
}

/// [MQTT-3.15.1-1]
fn auth_with_header_flags_ends_the_connection(stage: &Stage) {
    for first in [0xf1, 0xf2, 0xf4, 0xf8] {
        let client = asked(stage);
        client.send_bytes(&raw_auth(first, 0x18));
        is_refused(&client, MALFORMED);
        let client = authenticated(stage);
        client.send_bytes(&raw_auth(first, 0x19));
        ends(&client, MALFORMED);
    }
    // The same bytes without flags do it.
    let client = asked(stage);
    client.send_bytes(&raw_auth(0xf0, 0x18));
    client.accepted();
}

/// [MQTT-3.15.2-1] [MQTT-4.13.1-1]
fn auth_with_an_unknown_code_ends_the_connection(stage: &Stage) {
    for code in [0x01, 0x17, 0x1a, 0x87] {
        let client = asked(stage);
        client.send_bytes(&raw_auth(0xf0, code));
        is_refused(&client, EITHER_ERROR);
        let client = authenticated(stage);
        client.send_bytes(&raw_auth(0xf0, code));
        ends(&client, EITHER_ERROR);
    }
}

/// The maximum is what CONNACK needs, and AUTH has to do with less room than it might like. [MQTT-3.15.2-2]
/// [MQTT-3.15.2-3]
fn auth_fits_the_maximum_packet_size(stage: &Stage) {
    let client = asked(stage);
    client.auth(ReasonCode::ContinueAuthentication, Some(METHOD), Some(ANSWER));
    let maximum = client.accepted().bytes().len();
    client.disconnect();
    let client = stage.try_connect("small", |connect| {
        connect.properties.authentication_method = Some(METHOD);
        connect.properties.maximum_packet_size = NonZeroU32::new(maximum as u32);
    });
    let question = client.next();
    client.check(question.bytes().len() <= maximum, || format!("{:02x?}", question.bytes()));
    client.auth(ReasonCode::ContinueAuthentication, Some(METHOD), Some(ANSWER));
    client.accepted();
    client.auth(ReasonCode::ReAuthenticate, Some(METHOD), Some(REFUSE));
    for received in client.until_closed() {
        client.check(received.bytes().len() <= maximum, || format!("{:02x?}", received.bytes()));
    }
}

/// [MQTT-4.12.1-1] [MQTT-3.15.2-1]
fn a_client_may_authenticate_again(stage: &Stage) {
    let client = authenticated(stage);
    for _ in 0..2 {
        client.auth(ReasonCode::ReAuthenticate, Some(METHOD), Some(b"again"));
        client.expect_all(&[format!("AUTH 18 {METHOD} {QUESTION}")]);
        client.auth(ReasonCode::ContinueAuthentication, Some(METHOD), Some(ANSWER));
        client.expect_all(&[format!("AUTH 00 {METHOD} {WELCOME}")]);
    }
    client.ping();
}

/// [MQTT-4.12.1-1]
fn authenticating_again_takes_the_method_of_the_connection(stage: &Stage) {
    for method in [Some("other"), Some("TEST"), None] {
        let client = authenticated(stage);
        client.auth(ReasonCode::ReAuthenticate, method, Some(ANSWER));
        ends(&client, OUT_OF_TURN);
    }
}

/// [MQTT-4.12.1-2]
fn failing_to_authenticate_again_at_once_ends_the_connection(stage: &Stage) {
    let client = authenticated(stage);
    client.auth(ReasonCode::ReAuthenticate, Some(METHOD), Some(REFUSE));
    ends(&client, &[0x80, 0x87, 0x8c]);
}

/// [MQTT-4.12.1-2]
fn failing_to_authenticate_again_later_ends_the_connection(stage: &Stage) {
    let client = authenticated(stage);
    client.auth(ReasonCode::ReAuthenticate, Some(METHOD), None);
    client.expect(&format!("AUTH 18 {METHOD} {QUESTION}"));
    client.auth(ReasonCode::ContinueAuthentication, Some(METHOD), Some(b"wrong"));
    ends(&client, &[0x80, 0x87, 0x8c]);
}

/// [MQTT-4.12.1-1]
fn messages_go_on_while_a_client_authenticates_again(stage: &Stage) {
    let client = authenticated(stage);
    client.subscribe("auth/again", 0);
    client.auth(ReasonCode::ReAuthenticate, Some(METHOD), None);
    client.expect(&format!("AUTH 18 {METHOD} {QUESTION}"));
    client.publish("auth/again", 1, "x");
    client.expect_all(&["PUBLISH auth/again=x"]);
    client.auth(ReasonCode::ContinueAuthentication, Some(METHOD), Some(ANSWER));
    client.expect_all(&[format!("AUTH 00 {METHOD} {WELCOME}")]);
}

fn method_of<'a>(packet: &Packet<'a>) -> Option<&'a str> {
    match packet {
        Packet::ConnAck(ack) => ack.properties.authentication_method,
        Packet::Auth(auth) => auth.method,
        _ => None,
    }
}
